//! What the service says to the supervisor that started it (sd_notify(3)): one datagram each, to the
//! socket that `NOTIFY_SOCKET` names. Without one there is nobody to tell, and nothing is said.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg_addr, socket_with, socketpair, sockopt,
};

use crate::limits::NOTIFY_TIMEOUT;

/// The way to the supervisor. Cloned for every thread that has something to say.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    way: Option<(OwnedFd, SocketAddrUnix)>,
    /// Another process is the one to be heard now.
    silent: AtomicBool,
}

impl Notifier {
    /// To the address in `NOTIFY_SOCKET`: an absolute path, or `@` and an abstract name (unix(7)).
    pub fn new(address: Option<&OsStr>) -> io::Result<Self> {
        let way = match address.map(OsStr::as_bytes) {
            None | Some([]) => None,
            Some([b'@', name @ ..]) => Some(SocketAddrUnix::new_abstract_name(name)?),
            Some(path @ [b'/', ..]) => Some(SocketAddrUnix::new(path)?),
            Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let way = way.map(|address| Ok::<_, io::Error>((datagram_socket()?, address))).transpose()?;
        Ok(Self(Arc::new(Inner { way, silent: AtomicBool::new(false) })))
    }

    /// Says nothing, ever.
    pub fn to_nobody() -> Self {
        Self(Arc::new(Inner { way: None, silent: AtomicBool::new(true) }))
    }

    /// Sends assignments, one a line, say `READY=1`.
    pub fn tell(&self, state: &str) -> io::Result<()> {
        self.send(state, &[])
    }

    /// Waits until the supervisor has taken note of all that it was told, so that this process may end.
    pub fn wait_until_heard(&self) -> io::Result<()> {
        if self.0.way.is_none() {
            return Ok(());
        }
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        self.send("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        // The supervisor closes its copy when it has come to this message.
        let timeout = Timespec { tv_sec: NOTIFY_TIMEOUT.as_secs() as i64, tv_nsec: 0 };
        let mut ended = [PollFd::new(&ours, PollFlags::HUP)];
        match retry_on_intr(|| poll(&mut ended, Some(&timeout)))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// From here on another process speaks for the service.
    pub fn fall_silent(&self) {
        self.0.silent.store(true, SeqCst);
    }

    /// False once another process speaks for the service.
    pub fn speaks(&self) -> bool {
        !self.0.silent.load(SeqCst)
    }

    fn send(&self, state: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some((socket, address)) = self.0.way.as_ref().filter(|_| self.speaks()) else {
            return Ok(());
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let text = [IoSlice::new(state.as_bytes())];
        retry_on_intr(|| sendmsg_addr(socket, address, &text, &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }
}

/// A supervisor that hangs must not hang the service with it.
fn datagram_socket() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(NOTIFY_TIMEOUT))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn what_is_said_arrives_until_another_process_speaks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.as_os_str())).unwrap();
        notifier.tell("READY=1\nSTATUS=Serving").unwrap();
        assert_eq!(heard(&supervisor), "READY=1\nSTATUS=Serving");
        notifier.fall_silent();
        notifier.tell("STOPPING=1").unwrap();
        supervisor.set_nonblocking(true).unwrap();
        assert!(supervisor.recv(&mut [0]).is_err());
    }

    #[test]
    fn a_barrier_ends_when_the_supervisor_has_come_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.as_os_str())).unwrap();
        // Read without room for descriptors, which closes them.
        let reader = std::thread::spawn(move || heard(&supervisor));
        notifier.wait_until_heard().unwrap();
        assert_eq!(reader.join().unwrap(), "BARRIER=1");
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name_or_none() {
        for none in [None, Some(OsStr::new(""))] {
            Notifier::new(none).unwrap().tell("READY=1").unwrap();
        }
        assert!(Notifier::new(Some(OsStr::new("@name"))).is_ok());
        assert!(Notifier::new(Some(OsStr::new("relative"))).is_err());
        assert!(Notifier::new(Some(OsStr::new("/nobody/listens"))).unwrap().tell("READY=1").is_err());
    }
}
