//! An authority names a host, perhaps with a port, as `Host` or a URL carries it (RFC 3986, section 3.2).
//!
//! Strict: a name that two parsers could take for two hosts is none. So there is no user before an `@`, which
//! HTTP does not know (RFC 9110, section 4.2.4), and no comma, with which an intermediary joins two headers.

use std::net::Ipv6Addr;

/// True for a name, an IPv4 address, or an IPv6 address in brackets, and for each with a port behind it.
pub fn is_valid(authority: &str) -> bool {
    let (is_host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (is_name(name.as_bytes()), port)
        }
    };
    is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// The host of a valid authority in the one form in which two that are the same are equal: in lower case,
/// without the dot that ends a full name, an IPv6 address as RFC 5952 writes it in its brackets.
pub fn host(authority: &str) -> String {
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address
            .parse::<Ipv6Addr>()
            .map_or_else(|_| authority.to_owned(), |address| format!("[{address}]"));
    }
    let name = authority.split(':').next().unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// RFC 3986, section 3.2.2, without the comma.
fn is_name(name: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = name.get(at) {
        at += match byte {
            b'%' if name.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) => 3,
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte) => 1,
            _ => return false,
        };
    }
    !name.is_empty()
}

/// An empty one is the default one (RFC 3986, section 3.2.3).
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_host_has_one_form() {
        for (authority, of) in [
            ("LocalHost:8000", "localhost"),
            ("example.org.", "example.org"),
            ("127.0.0.1", "127.0.0.1"),
            ("[2001:DB8:0:0::1]:443", "[2001:db8::1]"),
        ] {
            assert_eq!(host(authority), of);
        }
    }

    #[test]
    fn a_host_has_a_name_and_perhaps_a_port() {
        for good in [
            "localhost",
            "localhost:8000",
            "localhost:",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::1]:443",
            "a_b.example",
            "x--y.example.",
            "%2Frun%2Fsocket",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            " ",
            ":8000",
            "a b",
            "a\tb",
            "a@b",
            "user:password@b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "é",
            "localhost:x",
            "localhost:+1",
            "localhost:65536",
            "localhost:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[v1.a]",
            "[]",
            "%2",
            "%zz",
            "<script>",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
