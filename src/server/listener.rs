//! The listener is bound to TCP or a Unix path, or inherited from systemd.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, acceptfrom_with, sockopt};

use super::unix_socket::SocketFile;
use crate::client::Client;
use crate::config::{ListenAddr, reachable_at};
use crate::limits::LISTEN_BACKLOG;
use crate::os;

/// A socket that is listening. A Unix path that we made goes away with it.
pub struct Listener {
    socket: OwnedFd,
    address: String,
    _file: Option<SocketFile>,
    /// Somebody else holds the socket, so that clients may wait for whoever comes after us.
    outlives_us: bool,
}

/// Why there is nothing to listen on.
#[derive(Debug)]
pub struct BindError {
    address: String,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; stop it or set LISTEN_ADDR",
            io::ErrorKind::PermissionDenied => "this user may not listen there; set LISTEN_ADDR",
            io::ErrorKind::InvalidInput => "pass one listening socket, or none and set LISTEN_ADDR",
            _ => "set LISTEN_ADDR to an address of this machine",
        };
        write!(f, "cannot listen on {}: {}; {hint}", self.address, self.error)
    }
}

impl BindError {
    /// True if trying again would not mend it.
    pub fn is_wrong_setting(&self) -> bool {
        self.error.kind() == io::ErrorKind::InvalidInput
    }
}

impl Listener {
    /// The socket that systemd passed, or else one bound to `address`, with this mode if it is a file. To be called before a second
    /// thread is started ([`os::inherited_socket`]).
    pub fn open(address: &ListenAddr, unix_mode: u32) -> Result<Self, BindError> {
        if let Some(listener) = Self::inherited()? {
            return Ok(listener);
        }
        let shown = match address {
            ListenAddr::Tcp(address) => address.to_string(),
            ListenAddr::Unix(path) => format!("unix:{}", path.display()),
        };
        let opened = match address {
            ListenAddr::Tcp(address) => TcpListener::bind(address).and_then(Self::tcp),
            ListenAddr::Unix(path) => SocketFile::bind(path, unix_mode)
                .and_then(|(socket, file)| Self::listening(socket, shown.clone(), Some(file))),
        };
        opened.map_err(|error| BindError { address: shown, error })
    }

    /// The socket that systemd passed to this process, if it did.
    pub fn inherited() -> Result<Option<Self>, BindError> {
        let passed = |error| BindError { address: "LISTEN_FDS".into(), error };
        let socket = os::inherited_socket().map_err(passed)?;
        socket.map(Self::passed).transpose().map_err(passed)
    }

    fn tcp(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?.to_string();
        // Inherited by every connection that is accepted.
        sockopt::set_tcp_nodelay(&listener, true)?;
        Self::listening(listener.into(), address, None)
    }

    /// A socket that somebody else has made and keeps.
    fn passed(socket: OwnedFd) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the passed descriptor is not a listening socket",
            ));
        }
        let mut listener = match sockopt::socket_domain(&socket)? {
            AddressFamily::INET | AddressFamily::INET6 => Self::tcp(TcpListener::from(socket))?,
            _ => Self::listening(socket, "a socket passed by systemd".into(), None)?,
        };
        listener.outlives_us = true;
        Ok(listener)
    }

    fn listening(socket: OwnedFd, address: String, file: Option<SocketFile>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::net::listen(&socket, LISTEN_BACKLOG)?;
        Ok(Self { socket, address, _file: file, outlives_us: false })
    }

    /// True if whoever connects now may wait for another process to be served.
    pub(super) fn outlives_us(&self) -> bool {
        self.outlives_us
    }

    /// Where this machine reaches it, likeliest first.
    pub fn own_addresses(&self) -> rustix::io::Result<Vec<SocketAddrAny>> {
        let bound = rustix::net::getsockname(&self.socket)?;
        Ok(match SocketAddr::try_from(bound.clone()) {
            Ok(address) => reachable_at(address),
            Err(_) => vec![bound],
        })
    }

    /// True if whoever connects to `address` reaches it. A socket that was passed can be elsewhere.
    pub fn is_at(&self, address: &ListenAddr) -> rustix::io::Result<bool> {
        let bound = rustix::net::getsockname(&self.socket)?;
        Ok(match (address, SocketAddr::try_from(bound.clone())) {
            (ListenAddr::Tcp(address), Ok(bound)) => holds(bound, *address),
            (ListenAddr::Unix(path), Err(_)) => {
                SocketAddrUnix::try_from(bound)? == SocketAddrUnix::new(path)?
            }
            _ => false,
        })
    }

    /// True if other machines reach it, as far as its address tells.
    pub fn is_public(&self) -> rustix::io::Result<bool> {
        let address = SocketAddr::try_from(rustix::net::getsockname(&self.socket)?);
        Ok(address.is_ok_and(|address| !address.ip().to_canonical().is_loopback()))
    }

    /// Where clients connect to, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next connection that waits, and its peer. Never blocks.
    pub(super) fn accept(&self) -> rustix::io::Result<(OwnedFd, Client)> {
        let (socket, peer) = acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        let address = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok((socket, address.map_or(Client::Unix, |address| Client::of(address.ip()))))
    }
}

/// True if a socket bound to the one address is reached by the other: all of IPv6 holds IPv4 as well (ipv6(7), `IPV6_V6ONLY`).
fn holds(bound: SocketAddr, address: SocketAddr) -> bool {
    let (bound_ip, ip) = (bound.ip().to_canonical(), address.ip().to_canonical());
    let is_among_all = bound_ip.is_unspecified() && (bound_ip.is_ipv6() || ip.is_ipv4());
    bound.port() == address.port() && (bound_ip == ip || is_among_all)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reached_by_its_port_and_by_itself_or_all_of_its_family() {
        for (bound, address, expected) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", true),
            ("127.0.0.1:8000", "127.0.0.1:8001", false),
            ("127.0.0.1:8000", "0.0.0.0:8000", false),
            ("0.0.0.0:8000", "10.0.0.11:8000", true),
            ("0.0.0.0:8000", "[::1]:8000", false),
            ("[::]:8000", "10.0.0.11:8000", true),
            ("[::]:8000", "[::1]:8000", true),
            ("[::1]:8000", "[::]:8000", false),
            ("[::ffff:127.0.0.1]:8000", "127.0.0.1:8000", true),
        ] {
            assert_eq!(
                holds(bound.parse().unwrap(), address.parse().unwrap()),
                expected,
                "{bound} {address}"
            );
        }
    }
}
