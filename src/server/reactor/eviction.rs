//! Eviction closes what [`super::super::eviction_policy`] chooses, to make room for others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::connection::Connection;
use super::super::eviction_policy::{Activity, Candidate, hoarder, victims};
use super::super::protocol::Phase;
use super::super::sources::SourceId;
use super::Reactor;
use crate::client::Client;
use crate::metrics::CloseCause;

/// Connections chosen at one scan of all of them, so that in a flood each newcomer costs little.
const CHOSEN_AT_ONCE: usize = 64;
/// Where a scan has found nobody, how long until the next one for the same source.
const IN_VAIN: Duration = Duration::from_millis(10);
/// Scans for all sources together in a fifth of a second, the time of a tick. At 8192 connections each takes
/// some tenths of a millisecond.
const SCANS_PER_TICK: u32 = 200;

/// Who was chosen and has not been closed yet, and how often the connections were scanned in this tick.
#[derive(Default)]
pub(super) struct Chosen {
    connections: VecDeque<Candidate>,
    scans: u32,
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
        if !self.may_scan(number, now) {
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
        self.note_scan(number, found, now);
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

    /// Where too many bytes are held, closes those that hold most of them, and do not read their answers or do not
    /// come to an end with their requests. False if no more may be held for this source even so.
    pub(super) fn make_room_for_bytes(&mut self, source: SourceId) -> bool {
        let number = source.number();
        let now = Instant::now();
        while self.completions.buffered().is_full() {
            if !self.may_scan(Some(number), now) {
                return !self.completions.buffered().is_full_for(number);
            }
            let is_holding = |c: &Connection| {
                c.counted > 0 && matches!(c.protocol.phase, Phase::Sending { .. } | Phase::Receiving { .. })
            };
            let holding = self.connections.iter().filter(|(_, c)| is_holding(c));
            let held: Vec<Candidate> = holding.map(|(key, c)| standing(key, c, c.counted)).collect();
            let own = held.iter().filter(|one| one.source == source && !source.is_proxy());
            let asks = own.map(|one| one.share).sum();
            self.completions.buffered().now_hoarding(hoarder(&held));
            let victims = victims(&held, asks, now, CHOSEN_AT_ONCE);
            self.note_scan(Some(number), !victims.is_empty(), now);
            for Candidate { key, state, .. } in victims {
                if !self.completions.buffered().is_full() {
                    break;
                }
                let is_unread = state == Activity::Unread;
                self.close(key, if is_unread { CloseCause::SlowReader } else { CloseCause::SlowRequest });
            }
        }
        true
    }

    fn may_scan(&self, source: Option<usize>, now: Instant) -> bool {
        self.chosen.scans < SCANS_PER_TICK && source.is_none_or(|source| self.sources.may_ask(source, now))
    }

    fn note_scan(&mut self, source: Option<usize>, found: bool, now: Instant) {
        self.chosen.scans += 1;
        if let Some(source) = source.filter(|_| !found) {
            self.sources.asks_in_vain(source, now + IN_VAIN);
        }
    }

    /// To be called with every tick.
    pub(super) fn allow_scans_again(&mut self) {
        self.chosen.scans = 0;
    }
}

fn standing(key: usize, connection: &Connection, share: usize) -> Candidate {
    let (state, since) = connection.protocol.activity();
    Candidate { key, source: connection.source, share, state, since }
}
