//! `healthcheck`: asks the service at `LISTEN_ADDR` whether it is ready, for containers without curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use super::Failure;
use crate::config::ListenAddr;
use crate::limits::HEALTHCHECK_TIMEOUT;

/// What a health check of a container ends with when the service is not ready.
const NOT_READY: u8 = 1;

const REQUEST: &[u8] = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

pub(super) fn check(listen: &ListenAddr) -> Result<(), Failure> {
    let answer = match listen {
        ListenAddr::Tcp(address) => ask_tcp(*address),
        ListenAddr::Unix(path) => UnixStream::connect(path).and_then(|mut stream| {
            stream.set_read_timeout(Some(HEALTHCHECK_TIMEOUT))?;
            stream.set_write_timeout(Some(HEALTHCHECK_TIMEOUT))?;
            ask(&mut stream)
        }),
    };
    let answer =
        answer.map_err(|error| Failure::new(NOT_READY, format!("the service does not answer: {error}")))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(Failure::new(NOT_READY, format!("not ready: {body}")))
}

fn ask_tcp(mut address: SocketAddr) -> io::Result<String> {
    // Who listens everywhere is asked at home.
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&address, HEALTHCHECK_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTHCHECK_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTHCHECK_TIMEOUT))?;
    ask(&mut stream)
}

fn ask(stream: &mut (impl Read + Write)) -> io::Result<String> {
    stream.write_all(REQUEST)?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    Ok(answer)
}
