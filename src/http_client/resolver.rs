//! The resolver finds the addresses of a host: written as such, in `/etc/hosts`, or asked of a name server.
//!
//! Our own, because that of a static C library costs 177 KB and loads shared libraries of the machine at run time.

mod dns_message;
mod name_servers;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::HttpClientError;
use super::wait::Wait;

const HOSTS: &str = "/etc/hosts";
const SETTINGS: &str = "/etc/resolv.conf";

/// The addresses of `host`, likeliest first; at least one.
pub(super) fn look_up(host: &str, wait: &Wait<'_>) -> Result<Vec<IpAddr>, HttpClientError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let found = match in_hosts(&read(HOSTS), host) {
        found if !found.is_empty() => found,
        _ if is_loopback(host) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        _ => name_servers::Settings::parse(&read(SETTINGS)).ask(host, wait)?,
    };
    match found.as_slice() {
        [] => Err(unknown(host)),
        _ => Ok(found),
    }
}

fn unknown(host: &str) -> HttpClientError {
    let what = format!("neither {HOSTS} nor a name server knows {host}");
    HttpClientError::Connect(io::Error::new(io::ErrorKind::NotFound, what))
}

/// Names that mean this machine, whoever is asked (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// The addresses that stand before a name (hosts(5)), those of IPv4 first: that is where a program that was told
/// no address listens.
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|name| name.eq_ignore_ascii_case(host))
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hosts_are_found_under_each_of_their_names() {
        let text = "# 192.0.2.9 app\n::1 localhost ip6-localhost\n127.0.0.1\tlocalhost\n\
                    192.0.2.1 app.internal App # 192.0.2.2 app\nnonsense app\n192.0.2.1 app\n";
        let found = |host| in_hosts(text, host).iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(found("app"), ["192.0.2.1"]);
        assert_eq!(found("APP.internal."), ["192.0.2.1"]);
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert!(found("internal").is_empty() && found("192.0.2.1").is_empty());
    }

    #[test]
    fn what_means_this_machine_is_asked_of_nobody() {
        let wait = Wait::new(Instant::now() + Duration::from_secs(30), None);
        for host in ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.2", "::1"] {
            assert!(look_up(host, &wait).unwrap().iter().all(IpAddr::is_loopback), "{host}");
        }
        assert!(!is_loopback("notlocalhost") && !is_loopback("localhost.example"));
    }
}
