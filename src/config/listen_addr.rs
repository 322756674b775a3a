//! A listen address is an IP address with a port, or the path of a Unix socket.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use super::environment::can_be_meant;

/// What `LISTEN_ADDR` takes, for whoever has set it to something else.
pub(super) const TAKES: &str = "it takes IP:PORT, [IPv6]:PORT, localhost:PORT or unix:/path (other names are not looked up: where to listen is an address)";

/// Where the service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddr {
    /// `None` for what is none of the forms that [`TAKES`] names.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            // sun_path holds 108 bytes with its closing NUL (unix(7)).
            let fits = path.starts_with('/') && !path.ends_with('/') && path.len() < 108;
            return (fits && can_be_meant(OsStr::new(path))).then(|| Self::Unix(PathBuf::from(path)));
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            return port.parse().ok().map(|port| Self::Tcp(SocketAddr::new(loopback, port)));
        }
        text.parse().ok().map(Self::Tcp)
    }

    /// Where this machine reaches a service that listens here, likeliest first.
    pub fn own_addresses(&self) -> rustix::io::Result<Vec<SocketAddrAny>> {
        match self {
            Self::Tcp(address) => Ok(reachable_at(*address)),
            Self::Unix(path) => Ok(vec![SocketAddrUnix::new(path)?.into()]),
        }
    }
}

/// Where this machine reaches a socket bound to `address`, likeliest first. A wildcard address is reached by the
/// loopback: that of IPv6 by `::1`, or by 127.0.0.1 on a machine without `::1` (ipv6(7), `IPV6_V6ONLY`).
pub fn reachable_at(address: SocketAddr) -> Vec<SocketAddrAny> {
    let hosts: &[IpAddr] = match address.ip() {
        ip if !ip.is_unspecified() => &[ip],
        IpAddr::V4(_) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(_) => &[IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)],
    };
    hosts.iter().map(|host| SocketAddr::new(*host, address.port()).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_reaches_what_is_bound_to_all_by_its_loopback() {
        for (bound, reached) in [
            ("192.0.2.1:80", &["192.0.2.1:80"][..]),
            ("0.0.0.0:80", &["127.0.0.1:80"]),
            ("[::]:80", &["[::1]:80", "127.0.0.1:80"]),
            ("[2001:db8::1]:80", &["[2001:db8::1]:80"]),
        ] {
            let found: Vec<_> = reachable_at(bound.parse().unwrap());
            let expected: Vec<SocketAddrAny> =
                reached.iter().map(|address| address.parse::<SocketAddr>().unwrap().into()).collect();
            assert_eq!(found, expected, "{bound}");
        }
    }
}
