//! Succession: connections go from this process to the one that takes its place, and come to this one
//! from the process before it.
//!
//! - A connection is passed on between two requests. What the client has sent since waits in the
//!   kernel and goes with it.
//! - Passing on never waits for the other process; what it cannot take now is served here meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll;
use rustix::fd::AsFd;
use rustix::io::Errno;

use super::super::listener;
use super::{Edge, HEIR, PREDECESSOR};
use crate::limits::{ACCEPTS_PER_TURN, DRAIN_TIMEOUT};

impl Edge {
    /// True while there is a process to pass connections on to.
    pub(super) fn has_heir(&self) -> bool {
        self.orders.heir.get().is_some() && !self.heir_is_lost
    }

    pub(super) fn begin_to_hand_over(&mut self) {
        self.drain_until = Some(Instant::now() + DRAIN_TIMEOUT);
        if let Some(listener) = &self.listener {
            listener.leave_to_another();
        }
        self.stop_listening();
        if let Some(heir) = self.orders.heir.get() {
            // Tells when there is room for more. Without it the next tick tries again.
            let flags = epoll::EventFlags::OUT | epoll::EventFlags::ET;
            let _ = epoll::add(&self.poll, heir, epoll::EventData::new_u64(HEIR), flags);
        }
        self.hand_over_idle();
    }

    pub(super) fn hand_over_idle(&mut self) {
        if !self.has_heir() || self.drain_until.is_none() {
            return;
        }
        let idle: Vec<usize> =
            self.connections.iter().filter(|(_, c)| c.is_idle()).map(|(key, _)| key).collect();
        for key in idle {
            if !self.hand_over(key) {
                return;
            }
        }
    }

    /// Passes an idle connection on. False if it stays here.
    pub(super) fn hand_over(&mut self, key: usize) -> bool {
        let (Some(heir), Some(connection)) = (self.orders.heir.get(), self.connections.get(key)) else {
            return false;
        };
        match heir.take(connection.socket.as_fd(), connection.served) {
            Ok(()) => {
                // Closing it is not enough: the other process has it as well (epoll(7), question 6).
                let _ = epoll::delete(&self.poll, &connection.socket);
                self.forget(key)
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => {
                // What is left is closed in the way of any other stop.
                self.heir_is_lost = true;
                self.app.stopping.store(true, Relaxed);
                false
            }
        }
    }

    /// Begins to listen to the process that was here before.
    pub(super) fn meet_predecessor(&mut self) {
        if self.has_predecessor {
            return;
        }
        if let Some(predecessor) = self.orders.predecessor.get() {
            let event = epoll::EventData::new_u64(PREDECESSOR);
            self.has_predecessor = epoll::add(&self.poll, predecessor, event, epoll::EventFlags::IN).is_ok();
        }
    }

    /// Takes in what was passed on.
    pub(super) fn take_in(&mut self) {
        let orders = Arc::clone(&self.orders);
        let Some(predecessor) = orders.predecessor.get() else {
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            match predecessor.connection() {
                Ok(Some((socket, served))) => {
                    let peer = listener::peer_of(&socket);
                    self.welcome((socket, peer), served);
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(None) | Err(_) => {
                    let _ = epoll::delete(&self.poll, predecessor);
                    return;
                }
            }
        }
    }
}
