//! A probe asks the service on this machine for one path, within a time.

use std::time::{Duration, Instant};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect, recv, send, socket_with, sockopt,
};

/// More than any answer to a probe.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The answer, head and body, of the first address at which somebody listens. Each of connecting, sending and
/// receiving may take `timeout`, and receiving all of it not more than twice that.
pub(super) fn get(
    addresses: &[SocketAddrAny],
    path: &str,
    request_id: &str,
    timeout: Duration,
) -> rustix::io::Result<Vec<u8>> {
    let mut connected = Err(Errno::ADDRNOTAVAIL);
    for address in addresses {
        let socket = socket_with(address.address_family(), SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Bounds connect(2) as well (socket(7)).
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(timeout))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(timeout))?;
        connected = connect(&socket, address).map(|()| socket);
        if connected.is_ok() {
            break;
        }
    }
    let socket = connected?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
    );
    send(&socket, request.as_bytes(), SendFlags::NOSIGNAL)?;
    let deadline = Instant::now() + timeout;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer.len() < MAX_ANSWER_BYTES {
        match retry_on_intr(|| recv(&socket, &mut buffer, RecvFlags::empty()))? {
            (0, _) => break,
            (length, _) => answer.extend_from_slice(&buffer[..length]),
        }
        if Instant::now() > deadline {
            return Err(Errno::TIMEDOUT);
        }
    }
    Ok(answer)
}
