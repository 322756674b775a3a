//! The client of a request is the peer of its connection or, behind a trusted proxy, whom `X-Forwarded-For`
//! names.
//!
//! Anybody can write that header. So it is read from its end, where the nearest proxy has added its
//! own peer, and only as far as each hop was named by one that is trusted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

/// The other end: of a connection, or of the chain of proxies before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Ip(IpAddr),
    /// A process on this machine, by a Unix socket: it has no address.
    Unix,
}

impl Client {
    /// An IPv4 client of an IPv6 socket is taken for what it is (RFC 4291, section 2.5.5.2).
    pub fn of(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    /// Those of IPv4 as the part of IPv6 that they are mapped to.
    networks: Vec<Ipv6Net>,
    unix: bool,
}

impl TrustedProxies {
    /// Addresses and networks (`10.0.0.0/8`) and the word `unix`, separated by commas; nothing at all for nobody.
    /// `None` for anything else, such as a list that names nobody.
    pub fn parse(text: &str) -> Option<Self> {
        let mut trusted = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if part.eq_ignore_ascii_case("unix") {
                trusted.unix = true;
            } else {
                trusted.networks.push(network(part)?);
            }
        }
        let names_somebody = trusted.unix || !trusted.networks.is_empty();
        (names_somebody || text.is_empty()).then_some(trusted)
    }

    /// Who is at the far end, given the values of `X-Forwarded-For` in the order they came. What is
    /// no address ends the walk at the proxy that passed it on.
    pub fn client<'a>(&self, peer: Client, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> Client {
        let mut hops = forwarded.rev().flat_map(|value| value.rsplit(',')).map(str::trim);
        let mut client = peer;
        while self.trust(client) {
            // Empty elements of a list mean nothing (RFC 9110, section 5.6.1).
            match hops.find(|hop| !hop.is_empty()).and_then(address) {
                Some(next) => client = Client::of(next),
                None => break,
            }
        }
        client
    }

    /// True of a proxy that many clients may stand behind.
    pub fn trust(&self, client: Client) -> bool {
        match client {
            Client::Ip(address) => self.networks.iter().any(|network| network.contains(&as_ipv6(address))),
            Client::Unix => self.unix,
        }
    }
}

/// A network, or the one of a single address.
fn network(text: &str) -> Option<Ipv6Net> {
    // `IpNet` alone takes 010 for 10, which others take for 8.
    let address: IpAddr = text.split('/').next()?.parse().ok()?;
    let network = if text.contains('/') { text.parse().ok()? } else { IpNet::from(address) };
    match network {
        IpNet::V4(network) => Ipv6Net::new(network.addr().to_ipv6_mapped(), 96 + network.prefix_len()).ok(),
        IpNet::V6(network) => Some(network),
    }
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// One hop as proxies write it: an address, in brackets or not, with a port or without.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Client {
        Client::of(text.parse().unwrap())
    }

    fn client(trusted: &str, peer: Client, forwarded: &[&str]) -> String {
        TrustedProxies::parse(trusted).unwrap().client(peer, forwarded.iter().copied()).to_string()
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        assert_eq!(client("", ip("192.0.2.1"), &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("192.0.2.2, unix", ip("192.0.2.1"), &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("0.0.0.0/0", Client::Unix, &["198.51.100.7"]), "unix");
    }

    #[test]
    fn the_header_is_walked_from_its_end_past_trusted_hops() {
        let forged = ["203.0.113.66", "198.51.100.7, 10.0.0.2"];
        assert_eq!(client("10.0.0.0/8", ip("10.0.0.1"), &forged), "198.51.100.7");
        assert_eq!(client("10.0.0.1", ip("10.0.0.1"), &forged), "10.0.0.2");
        assert_eq!(client("unix,10.0.0.0/8", Client::Unix, &forged), "198.51.100.7");
        // Everybody is trusted: the farthest is as far as it goes.
        assert_eq!(client("0.0.0.0/0", ip("10.0.0.1"), &forged), "203.0.113.66");
        assert_eq!(client("unix", Client::Unix, &[]), "unix");
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for garbage in ["unknown", "_hidden", "1.2.3", "1.2.3.4.5", "\"", "unix:", "[::1", "1.2.3.4:99999"] {
            let value = format!("198.51.100.7, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.0/8", ip("10.0.0.1"), &[&value]), "10.0.0.2", "{garbage}");
        }
        assert_eq!(client("10.0.0.0/8", ip("10.0.0.1"), &["198.51.100.7, ,", "", " , "]), "198.51.100.7");
    }

    #[test]
    fn hops_are_read_as_proxies_write_them() {
        for (hop, shown) in [
            ("198.51.100.7:1234", "198.51.100.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(client("10.0.0.1", ip("::ffff:10.0.0.1"), &[hop]), shown);
        }
    }

    #[test]
    fn networks_hold_the_addresses_that_begin_alike() {
        let holds = |network: &str, address: &str| TrustedProxies::parse(network).unwrap().trust(ip(address));
        assert!(holds("192.0.2.77/24", "192.0.2.1") && !holds("192.0.2.0/24", "192.0.3.1"));
        assert!(holds("192.0.2.128/25", "192.0.2.129") && !holds("192.0.2.128/25", "192.0.2.127"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1") && holds("::ffff:10.0.0.0/104", "10.1.2.3"));
    }

    #[test]
    fn only_addresses_networks_and_unix_are_a_setting() {
        for good in ["", "unix", " UNIX , ::1 ,", "127.0.0.1,10.0.0.0/8,fd00::/8"] {
            assert!(TrustedProxies::parse(good).is_some(), "{good}");
        }
        for bad in [
            " ",
            ",",
            "localhost",
            "10.0.0.0/33",
            "010.0.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.1:80",
            "10.0.0.0/8 ::1",
            "*",
        ] {
            assert!(TrustedProxies::parse(bad).is_none(), "{bad}");
        }
    }
}
