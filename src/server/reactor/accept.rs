//! The reactor accepts connections up to `MAX_CONNECTIONS`; past it one gives way, or the newcomer is answered 503.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

use super::super::completions::ConnectionId;
use super::super::connection::{Connection, SEND_FLAGS};
use super::super::rejected_request::RejectedRequest;
use super::super::sources::SourceId;
use super::{LISTENER, Reactor};
use crate::client::Client;
use crate::metrics::CloseCause;
use crate::routes::RequestError;

/// Pause after `accept` failed for want of descriptors or memory; meanwhile connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Reactor {
    /// Takes in those who wait, up to so many.
    pub(super) fn accept(&mut self, most: usize) {
        for _ in 0..most {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok((socket, peer)) => self.welcome(socket, peer),
                Err(Errno::AGAIN) => return,
                // The client was gone before it was accepted.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM) => {}
                Err(_) => {
                    self.app.metrics.accept_errors.fetch_add(1, Relaxed);
                    if !self.make_room(None) {
                        self.pause_accepting();
                        return;
                    }
                }
            }
        }
    }

    /// Takes a connection in.
    fn welcome(&mut self, socket: OwnedFd, peer: Client) {
        self.app.metrics.accepted.fetch_add(1, Relaxed);
        if self.connections.len() >= self.bounds.max_connections && !self.make_room(Some(peer)) {
            return self.turn_away(&socket, peer);
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if epoll::add(&self.poll, &socket, epoll::EventData::new_u64(key as u64), flags).is_err() {
            self.app.metrics.closed(CloseCause::Capacity).fetch_add(1, Relaxed);
            return;
        }
        let number = self.sources.add(peer);
        let is_proxy = self.app.trusted_proxies.trust(peer);
        let source = if is_proxy { SourceId::Proxy(number) } else { SourceId::Direct(number) };
        let id = ConnectionId { key, serial: self.next_serial };
        entry.insert(Connection::new(socket, peer, source, id));
        self.next_serial += 1;
        self.app.metrics.connections.fetch_add(1, Relaxed);
        self.drive(key);
    }

    /// Answers somebody for whom there is no place. Best effort: this client costs nothing more than these
    /// few calls.
    fn turn_away(&mut self, socket: &OwnedFd, peer: Client) {
        let answer = RejectedRequest::of(RequestError::Overloaded, None).render_and_log(&self.app, peer);
        let _ = rustix::net::send(socket, &answer.bytes, SEND_FLAGS);
        let _ = rustix::net::shutdown(socket, Shutdown::Write);
        // To close upon what was not read would reset the connection, and the answer with it.
        let _ = rustix::net::recv(socket, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT);
        self.app.metrics.closed(CloseCause::Capacity).fetch_add(1, Relaxed);
    }

    fn pause_accepting(&mut self) {
        // Level-triggered: without this the loop would spin on what it cannot accept.
        self.listen_for(epoll::EventFlags::empty());
        self.accept_pause = Some(Instant::now() + ACCEPT_PAUSE);
    }

    pub(super) fn end_accept_pause(&mut self, now: Instant) {
        if self.accept_pause.is_some_and(|until| until <= now) {
            self.accept_pause = None;
            self.listen_for(epoll::EventFlags::IN);
        }
    }

    fn listen_for(&self, events: epoll::EventFlags) {
        if let Some(listener) = &self.listener {
            let _ = epoll::modify(&self.poll, listener, epoll::EventData::new_u64(LISTENER), events);
        }
    }
}
