//! From one process to the next without a connection refused or dropped: what an old process passes to
//! the one that it has started to take its place.
//!
//! Between them is a pair of connected sockets, of which the new process finds its end as its standard
//! input. In this order:
//!
//! 1. the listening socket, before the new process is started;
//! 2. back: that the new process serves;
//! 3. that the new process is the service from here on;
//! 4. every connection, as soon as no request is under way on it.
//!
//! Whatever ends before the third step leaves the old process as it was.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

use super::listener::Listener;
use crate::limits::{UPGRADE_GO_TIMEOUT, UPGRADE_START_TIMEOUT};

/// Nobody else's standard input begins with this. The path of a Unix socket follows, if it is ours.
const OWN_LISTENER: &[u8] = b"lyftr-webhook listener of its own ";
/// The same, of a socket that outlives both processes.
const PASSED_LISTENER: &[u8] = b"lyftr-webhook listener of systemd ";
const SERVING: &[u8] = b"serving";
const GO: &[u8] = b"go";
/// A connection on which no request was answered yet, and one that has proved useful.
const FRESH: &[u8] = b"connection";
const SERVED: &[u8] = b"connection served";
/// The longest message is the first one, with the path of a Unix socket (unix(7): 108 bytes).
const MESSAGE_BYTES: usize = 256;

/// The new process, as the old one sees it.
pub struct Heir(OwnedFd);

impl Heir {
    /// The old process's end with the listening socket on its way, and the new one's standard input.
    pub fn of(listener: &Listener) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let path = listener.path().map_or(&[][..], |path| path.as_os_str().as_bytes());
        let whose = if listener.outlives_us() { PASSED_LISTENER } else { OWN_LISTENER };
        send(&ours, &[whose, path].concat(), Some(listener.as_fd()))?;
        Ok((Self(ours), theirs))
    }

    /// Waits until the new process serves. False if it ended instead.
    pub fn serves(&self) -> io::Result<bool> {
        Ok(receive_within(&self.0, UPGRADE_START_TIMEOUT)?.is_some_and(|message| message.is(SERVING)))
    }

    /// Tells the new process that it is the service now.
    pub fn go(&self) -> io::Result<()> {
        Ok(send(&self.0, GO, None)?)
    }

    /// Passes a connection on. Never waits: [`Errno::AGAIN`] if the new process has to take others first.
    pub(super) fn take(&self, connection: BorrowedFd<'_>, served: bool) -> rustix::io::Result<()> {
        match send(&self.0, if served { SERVED } else { FRESH }, Some(connection)) {
            // The kernel allows no more descriptors on their way (unix(7)).
            Err(Errno::TOOMANYREFS | Errno::NOBUFS) => Err(Errno::AGAIN),
            other => other,
        }
    }
}

impl AsFd for Heir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The old process, as the new one sees it.
pub struct Predecessor(OwnedFd);

impl Predecessor {
    /// The process whose place this one is to take, and its listening socket; `None` if this process
    /// was started in another way. Leaves the standard input empty.
    pub fn of_this_process() -> io::Result<Option<(Self, Listener)>> {
        let stdin = io::stdin();
        let is_channel = matches!(sockopt::socket_type(&stdin), Ok(SocketType::SEQPACKET))
            && matches!(sockopt::socket_domain(&stdin), Ok(AddressFamily::UNIX));
        if !is_channel {
            return Ok(None);
        }
        let channel = fcntl_dupfd_cloexec(&stdin, 3)?;
        let Ok(Some(Message { text, descriptor: Some(socket) })) = receive(&channel, RecvFlags::DONTWAIT)
        else {
            return Ok(None);
        };
        let listener = if text == PASSED_LISTENER {
            Listener::passed(socket)?
        } else if let Some(path) = text.strip_prefix(OWN_LISTENER) {
            Listener::handed_over(socket, Path::new(OsStr::from_bytes(path)))?
        } else {
            return Ok(None);
        };
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(Some((Self(channel), listener)))
    }

    /// Tells the old process that this one serves, and waits for its word. If it has ended, or says
    /// nothing for too long, this process is the service all the same: it has the socket.
    pub fn relieve(&self) {
        if send(&self.0, SERVING, None).is_ok() {
            let _ = receive_within(&self.0, UPGRADE_GO_TIMEOUT);
        }
    }

    /// The next connection, and whether it was served before. Never waits; `Ok(None)` when the old
    /// process has ended.
    pub(super) fn connection(&self) -> rustix::io::Result<Option<(OwnedFd, bool)>> {
        loop {
            match receive(&self.0, RecvFlags::DONTWAIT)? {
                None => return Ok(None),
                Some(Message { text, descriptor: Some(socket) }) => {
                    return Ok(Some((socket, text == SERVED)));
                }
                // A word that came too late to be waited for.
                Some(_) => {}
            }
        }
    }
}

impl AsFd for Predecessor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

struct Message {
    text: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Message {
    fn is(&self, text: &[u8]) -> bool {
        self.text == text
    }
}

fn send(channel: &OwnedFd, text: &[u8], descriptor: Option<BorrowedFd<'_>>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &descriptor {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
    }
    sendmsg(channel, &[IoSlice::new(text)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One message; `None` when the other side has ended.
fn receive(channel: &OwnedFd, flags: RecvFlags) -> rustix::io::Result<Option<Message>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; MESSAGE_BYTES];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)?;
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next();
        }
    }
    let text = buffer[..received.bytes].to_vec();
    Ok((!text.is_empty()).then_some(Message { text, descriptor }))
}

fn receive_within(channel: &OwnedFd, timeout: Duration) -> io::Result<Option<Message>> {
    sockopt::set_socket_timeout(channel, sockopt::Timeout::Recv, Some(timeout))?;
    match rustix::io::retry_on_intr(|| receive(channel, RecvFlags::empty())) {
        // A process that was killed with our message unread.
        Err(Errno::CONNRESET) => Ok(None),
        Err(Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
        other => Ok(other?),
    }
}
