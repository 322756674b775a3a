//! The door: accepting connections, and making room for them.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::super::connection::{Connection, Phase};
use super::super::exchange::refuse;
use super::{Edge, LISTENER};
use crate::client::Client;
use crate::limits::ACCEPT_PAUSE;
use crate::metrics::CloseCause;
use crate::routes::Refusal;

impl Edge {
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
                    if !self.make_room() {
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
        if self.connections.len() >= self.bounds.max_connections && !self.make_room() {
            let answer = refuse(&self.app, &Refusal::Overloaded.into(), peer);
            // Best effort: this client costs nothing more than this one call.
            let _ = rustix::net::send(&socket, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            self.app.metrics.closed(CloseCause::Capacity);
            return;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if epoll::add(&self.poll, &socket, epoll::EventData::new_u64(key as u64), flags).is_err() {
            self.app.metrics.closed(CloseCause::Capacity);
            return;
        }
        let until = Instant::now() + self.bounds.idle_timeout;
        entry.insert(Connection::new((socket, peer), serial, until));
        self.app.metrics.connections.fetch_add(1, Relaxed);
        self.drive(key);
    }

    /// Ends the connection that has kept its place without a request for longest, first of all one
    /// that never made any. False if every connection has something going on.
    pub(super) fn make_room(&mut self) -> bool {
        let idle = self.connections.iter().filter(|(_, c)| c.is_idle());
        let longest_idle = idle.min_by_key(|(_, c)| (c.served, c.deadline)).map(|(key, _)| key);
        // Of those that have begun to send, the one that has had most of its time.
        let slowest = || {
            let receiving = self.connections.iter().filter(|(_, c)| c.phase == Phase::Receiving);
            let oldest = receiving.min_by_key(|(_, c)| c.deadline)?;
            let fair = Instant::now() + self.bounds.request_timeout.saturating_sub(Duration::from_secs(1));
            (oldest.1.deadline < fair).then_some(oldest.0)
        };
        match longest_idle.or_else(slowest) {
            Some(key) => {
                self.close(key, CloseCause::Capacity);
                true
            }
            None => false,
        }
    }

    pub(super) fn pause_accepting(&mut self) {
        if let Some(listener) = &self.listener {
            // Level-triggered: without this the loop would spin on what it cannot accept.
            let _ = epoll::modify(
                &self.poll,
                listener,
                epoll::EventData::new_u64(LISTENER),
                epoll::EventFlags::empty(),
            );
            self.accept_pause = Some(Instant::now() + ACCEPT_PAUSE);
        }
    }

    pub(super) fn end_accept_pause(&mut self, now: Instant) {
        if self.accept_pause.is_some_and(|until| until <= now) {
            self.accept_pause = None;
            if let Some(listener) = &self.listener {
                let _ = epoll::modify(
                    &self.poll,
                    listener,
                    epoll::EventData::new_u64(LISTENER),
                    epoll::EventFlags::IN,
                );
            }
        }
    }
}
