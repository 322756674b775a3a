//! A connection sends a request and receives its answer, on a socket that never blocks.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect, recv, send, socket_with, sockopt,
};

use super::response_reader::ResponseReader;
use super::wait::Wait;
use super::{ClientResponse, HttpClientError, WantedBody};

/// Bytes taken from the socket in one call: a page of the feed comes in a few.
const READ_BYTES: usize = 64 << 10;
/// How long the rest of a body is waited for whose status alone counts, so that the connection can be kept.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// Pause before the next try where a Unix socket has no room for one more connection: the kernel tells nobody
/// when there is some.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

pub(super) struct ClientConnection {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl ClientConnection {
    /// To the first of the addresses at which somebody listens. Where there are several, one that is silent leaves
    /// time for those behind it.
    pub(super) fn open(addresses: &[SocketAddrAny], wait: &Wait<'_>) -> Result<Self, HttpClientError> {
        let mut last = HttpClientError::Connect(Errno::ADDRNOTAVAIL.into());
        for (at, address) in addresses.iter().enumerate() {
            let share = wait.left() / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            match connected(address, &wait.at_most(share)) {
                Ok(socket) => return Ok(Self { socket, buffer: vec![0; READ_BYTES] }),
                Err(HttpClientError::Interrupted) => return Err(HttpClientError::Interrupted),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// True if the other end has neither closed it nor sent what nobody has asked for.
    pub(super) fn is_open(&self) -> bool {
        let mut byte = [0];
        recv(&self.socket, &mut byte, RecvFlags::PEEK) == Err(Errno::AGAIN)
    }

    /// Sends `request` and reads until the answer is whole, also where it comes before all is sent. The answer, and
    /// whether the connection can take another request.
    pub(super) fn exchange(
        &mut self,
        request: &[u8],
        reader: &mut ResponseReader,
        wanted: WantedBody,
        wait: &Wait<'_>,
    ) -> Result<(ClientResponse, bool), HttpClientError> {
        let mut wait = *wait;
        let mut unsent = request;
        let mut is_intact = true;
        loop {
            while is_intact && !unsent.is_empty() {
                match send(&self.socket, unsent, SendFlags::NOSIGNAL) {
                    Ok(count) => unsent = &unsent[count..],
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    // It takes no more; why, it may have said before.
                    Err(_) => is_intact = false,
                }
            }
            let is_sending = is_intact && !unsent.is_empty();
            let events = if is_sending { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            wait.until(self.socket.as_fd(), events)?;
            let had_head = reader.has_head();
            let whole = match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => reader.end()?,
                Ok((count, _)) => reader.push(&self.buffer[..count])?,
                Err(Errno::AGAIN | Errno::INTR) => None,
                Err(_) => return Err(HttpClientError::Closed),
            };
            if let Some((response, is_reusable)) = whole {
                return Ok((response, is_reusable && is_intact && unsent.is_empty()));
            }
            if wanted == WantedBody::Beginning && !had_head && reader.has_head() {
                wait = wait.at_most(BODY_PATIENCE);
            }
        }
    }
}

fn connected(address: &SocketAddrAny, wait: &Wait<'_>) -> Result<OwnedFd, HttpClientError> {
    let failed = |error: Errno| HttpClientError::Connect(error.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(address.address_family(), SocketType::STREAM, flags, None).map_err(failed)?;
    loop {
        match connect(&socket, address) {
            Ok(()) | Err(Errno::ISCONN) => break,
            // Of a Unix socket alone (connect(2)).
            Err(Errno::AGAIN) => wait.pause(BACKLOG_PAUSE)?,
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => {
                wait.until(socket.as_fd(), PollFlags::OUT)?;
                sockopt::socket_error(&socket).map_err(failed)?.map_err(failed)?;
                break;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    // A request that is sent in two parts does not wait for the first to be acknowledged. A Unix socket knows no
    // such option, and needs none.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    Ok(socket)
}
