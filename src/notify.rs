//! A notifier tells the supervisor that started the process how it is (sd_notify(3)), in datagrams to the socket that
//! `NOTIFY_SOCKET` names.
//!
//! Without one there is nobody to tell, and nothing is said.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with, sockopt,
};

/// How long the supervisor may take to hear a word. It has other services to listen to.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// The way to the supervisor, if there is one. Cloned for every thread that has something to say.
#[derive(Clone)]
pub struct Notifier(Option<Arc<(OwnedFd, SocketAddrUnix)>>);

impl Notifier {
    /// To an address as `NOTIFY_SOCKET` has it: an absolute path, or `@` and an abstract name (unix(7)).
    pub fn new(address: Option<&OsStr>) -> io::Result<Self> {
        let address = match address.map(OsStr::as_bytes) {
            None | Some([]) => return Ok(Self::to_nobody()),
            Some([b'@', name @ ..]) => SocketAddrUnix::new_abstract_name(name)?,
            Some(path @ [b'/', ..]) => SocketAddrUnix::new(path)?,
            Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(Self(Some(Arc::new((datagram_socket()?, address)))))
    }

    /// To whom `NOTIFY_SOCKET` names, or to nobody. Of an address that cannot be used `say` hears, once.
    pub fn from_env(say: impl FnOnce(&str)) -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET");
        Self::new(address.as_deref()).unwrap_or_else(|error| {
            say(&format!("NOTIFY_SOCKET: {error}"));
            Self::to_nobody()
        })
    }

    /// Says nothing, ever.
    pub fn to_nobody() -> Self {
        Self(None)
    }

    /// Sends assignments, one a line, say `READY=1`.
    pub fn tell(&self, state: &str) -> io::Result<()> {
        if let Some((socket, address)) = self.0.as_deref() {
            retry_on_intr(|| sendto(socket, state.as_bytes(), SendFlags::NOSIGNAL, address))?;
        }
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
    fn what_is_said_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.as_os_str())).unwrap();
        notifier.tell("READY=1\nSTATUS=Serving").unwrap();
        assert_eq!(heard(&supervisor), "READY=1\nSTATUS=Serving");
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
