//! Eviction closes what [`super::super::eviction_policy`] chooses, to make room for others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::connection::Connection;
use super::super::eviction_policy::{Activity, Candidate, hoarder, victims};
use super::super::protocol::Phase;
use super::Reactor;
use crate::client::Client;
use crate::metrics::CloseCause;

/// Connections chosen at one look through all of them, so that in a flood each newcomer costs little.
const CHOSEN_AT_ONCE: usize = 64;
/// Where a look has found nobody, how long until the next one for the same source.
const IN_VAIN: Duration = Duration::from_millis(10);
/// Looks for all sources together in a fifth of a second, the time of a tick. At 8192 connections each takes
/// some tenths of a millisecond.
const LOOKS_PER_TICK: u32 = 200;

/// Who was chosen and has not been closed yet, and how often it may still be looked for more.
#[derive(Default)]
pub(super) struct Chosen {
    connections: VecDeque<Candidate>,
    looks: u32,
}

impl Reactor {
    /// Closes a connection to make room for one from this client, or, where it is the machine that has no
    /// room, for anybody. False if nobody is to give way.
    pub(super) fn make_room(&mut self, newcomer: Option<Client>) -> bool {
        if self.close_chosen() {
            return true;
        }
        let number = newcomer.and_then(|client| self.sources.number_of(client));
        let now = Instant::now();
        if !self.may_look(number, now) {
            return false;
        }
        let is_proxy = newcomer.is_some_and(|client| self.app.trusted_proxies.trust(client));
        let asks = match newcomer {
            // It may be more of the same.
            None => usize::MAX,
            Some(_) if is_proxy => 0,
            Some(_) => number.map_or(0, |number| self.sources.connections(number)),
        };
        let held: Vec<Candidate> = self.connections.iter().map(|(key, c)| standing(key, c, 1)).collect();
        self.chosen.connections.extend(victims(&held, asks, now, CHOSEN_AT_ONCE));
        let found = self.close_chosen();
        self.note_look(number, found, now);
        found
    }

    /// Closes the next one that was chosen. What has gone on since then may stay.
    fn close_chosen(&mut self) -> bool {
        while let Some(Candidate { key, state, since, .. }) = self.chosen.connections.pop_front() {
            if self.connections.get(key).is_some_and(|c| c.protocol.activity() == (state, since)) {
                self.close(key, CloseCause::Capacity);
                return true;
            }
        }
        false
    }

    /// True if more bytes may be held for this source. Otherwise those are closed that hold most of them, and
    /// do not read their answers or do not come to an end with their requests.
    pub(super) fn has_room(&mut self, source: usize) -> bool {
        let now = Instant::now();
        while self.completion_sender.buffered().is_full() {
            if !self.may_look(Some(source), now) {
                return !self.completion_sender.buffered().is_full_for(Some(source));
            }
            let is_holding = |c: &Connection| {
                c.counted > 0 && matches!(c.protocol.phase, Phase::Sending { .. } | Phase::Receiving { .. })
            };
            let holding = self.connections.iter().filter(|(_, c)| is_holding(c));
            let held: Vec<Candidate> = holding.map(|(key, c)| standing(key, c, c.counted)).collect();
            let own = held.iter().filter(|one| one.source == source && !one.is_proxy);
            let asks = own.map(|one| one.share).sum();
            self.completions.buffered().now_hoarding(hoarder(&held));
            let victims = victims(&held, asks, now, CHOSEN_AT_ONCE);
            self.note_look(Some(source), !victims.is_empty(), now);
            for Candidate { key, state, .. } in victims {
                if !self.completion_sender.buffered().is_full() {
                    break;
                }
                let is_unread = state == Activity::Unread;
                self.close(key, if is_unread { CloseCause::SlowReader } else { CloseCause::SlowRequest });
            }
        }
        true
    }

    fn may_look(&self, source: Option<usize>, now: Instant) -> bool {
        self.chosen.looks < LOOKS_PER_TICK && source.is_none_or(|source| self.sources.may_ask(source, now))
    }

    fn note_look(&mut self, source: Option<usize>, found: bool, now: Instant) {
        self.chosen.looks += 1;
        if let Some(source) = source.filter(|_| !found) {
            self.sources.asks_in_vain(source, now + IN_VAIN);
        }
    }

    /// To be called with every tick.
    pub(super) fn look_again(&mut self) {
        self.chosen.looks = 0;
    }
}

fn standing(key: usize, connection: &Connection, share: usize) -> Candidate {
    let (state, since) = connection.protocol.activity();
    let (source, is_proxy) = (connection.source, connection.is_proxy);
    Candidate { key, source, is_proxy, share, state, since }
}
