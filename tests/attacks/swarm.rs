//! Many sockets of one attacker, held by one thread: none of them is ever waited for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SocketType};

use crate::service::Service;

/// How long one connection attempt may take; a full backlog makes the kernel try again after a second.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection whose close leaves nothing behind in the kernel, so that ports do not run out.
pub(crate) fn connect(service: &Service) -> io::Result<TcpStream> {
    let address: SocketAddr = service.address.host_and_port().parse().expect("an address with its port");
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

/// The same from this address of the machine.
fn connect_from(service: &Service, from: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = service.address.host_and_port().parse().expect("an address with its port");
    let from: SocketAddr = format!("{from}:0").parse().expect("an address");
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(CONNECT))?;
    rustix::net::bind(&socket, &from)?;
    rustix::net::connect(&socket, &address)?;
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    Ok(socket.into())
}

#[derive(Debug)]
pub(crate) struct Bee {
    stream: TcpStream,
    /// Sent so far, of whatever this one is sending.
    pub(crate) sent: usize,
    pub(crate) received: Vec<u8>,
    pub(crate) closed: bool,
}

impl Bee {
    /// Sends what the kernel takes at once. True if that was everything.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write(bytes) {
            Ok(count) => {
                self.sent += count;
                count == bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.closed = true;
                false
            }
        }
    }

    /// Takes what has arrived, and notices the end.
    pub(crate) fn receive(&mut self) {
        let mut buffer = [0; 16 << 10];
        while !self.closed {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
    }

    /// True if the other side has reset the connection, without reading what it sent.
    pub(crate) fn has_hung_up(&self) -> bool {
        let mut poll = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|count| count > 0)
    }

    pub(crate) fn status(&self) -> Option<u16> {
        status_of(&self.received)
    }
}

/// The status of the first answer in these bytes.
pub(crate) fn status_of(received: &[u8]) -> Option<u16> {
    let digits = received.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(crate) struct Swarm {
    pub(crate) bees: Vec<Bee>,
    /// Connections that the service or the kernel did not take.
    pub(crate) refused: usize,
}

impl Swarm {
    pub(crate) fn connect(service: &Service, count: usize) -> Self {
        Self::of(count, || connect(service))
    }

    pub(crate) fn connect_from(service: &Service, from: &str, count: usize) -> Self {
        Self::of(count, || connect_from(service, from))
    }

    fn of(count: usize, connect: impl Fn() -> io::Result<TcpStream>) -> Self {
        let mut swarm = Self { bees: Vec::with_capacity(count), refused: 0 };
        for _ in 0..count {
            match connect().and_then(|stream| stream.set_nonblocking(true).map(|()| stream)) {
                Ok(stream) => {
                    swarm.bees.push(Bee { stream, sent: 0, received: Vec::new(), closed: false });
                }
                Err(_) => swarm.refused += 1,
            }
        }
        swarm
    }

    pub(crate) fn each(&mut self, act: impl FnMut(&mut Bee)) {
        self.bees.iter_mut().filter(|bee| !bee.closed).for_each(act);
    }

    pub(crate) fn receive(&mut self) {
        self.each(Bee::receive);
    }

    pub(crate) fn closed(&self) -> usize {
        self.bees.iter().filter(|bee| bee.closed).count()
    }

    pub(crate) fn answered(&self, status: u16) -> usize {
        self.bees.iter().filter(|bee| bee.status() == Some(status)).count()
    }

    /// Acts again and again, at this pace, for this long or until all are closed.
    pub(crate) fn keep(&mut self, time: Duration, pace: Duration, mut act: impl FnMut(&mut Bee)) {
        let end = Instant::now() + time;
        while Instant::now() < end && self.closed() < self.bees.len() {
            let next = Instant::now() + pace;
            self.each(&mut act);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits until every connection has ended, but not for ever. True if they have.
    pub(crate) fn all_close(&mut self, patience: Duration) -> bool {
        self.keep(patience, Duration::from_millis(50), Bee::receive);
        self.closed() == self.bees.len()
    }
}
