//! Allowed hosts are the names that a request may be sent to.
//!
//! A browser that was led here under a name of somebody else's, whose address that is said to be this
//! machine's (DNS rebinding), sends that name along.

use std::net::Ipv6Addr;

use crate::authority;

/// The names, or none for any.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Names and addresses without a port, separated by commas; nothing at all for any. `None` for anything else,
    /// such as a list that names nobody, which would let everybody in.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let names = parts.map(name).collect::<Option<Vec<_>>>()?;
        (!names.is_empty()).then_some(Self(names))
    }

    /// True for what `Host` says, or a URL, with a port or without.
    pub fn allow(&self, authority: Option<&str>) -> bool {
        self.0.is_empty() || authority.map(authority::host).is_some_and(|host| self.0.contains(&host))
    }
}

fn name(text: &str) -> Option<String> {
    // People write an IPv6 address as it is, and in brackets.
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    // More than that may stand in a URL, but in no name that is found.
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name.then(|| authority::host(text)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_of_the_names_in_any_case_and_with_any_port() {
        let hosts = AllowedHosts::parse(" Example.org, 127.0.0.1 ,[::1],,2001:DB8::1 ").unwrap();
        for good in [
            "example.org",
            "EXAMPLE.ORG:8000",
            "example.org.",
            "example.org:",
            "127.0.0.1:80",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:8000",
            "[2001:db8:0::1]",
        ] {
            assert!(hosts.allow(Some(good)), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "example.org.evil",
            "sub.example.org",
            "localhost",
            "127.0.0.2",
            "[::2]",
            "::1",
        ] {
            assert!(!hosts.allow(Some(bad)), "{bad}");
        }
        assert!(!hosts.allow(None));
    }

    #[test]
    fn without_a_list_any_host_is_served() {
        let hosts = AllowedHosts::parse("").unwrap();
        assert!(hosts.allow(None) && hosts.allow(Some("evil.example")));
    }

    #[test]
    fn what_no_host_can_be_is_no_setting() {
        for bad in [
            " ",
            ", ,",
            "example.org:8000",
            "[::1]:80",
            "*",
            "*.example.org",
            "a b",
            "http://x",
            "x/y",
            "a;b",
            ".",
            "[::1",
            "é",
            "a@b",
        ] {
            assert!(AllowedHosts::parse(bad).is_none(), "{bad}");
        }
    }
}
