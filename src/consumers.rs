//! The registry of consumers knows who reads the feed, how far behind each was when it asked last (contract, section 12).
//!
//! It is read by a scrape and written to by requests without a lock. Names are few and stay until the service ends, so
//! nobody can add series without end: who comes when it is full is served and not listed.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Names that are known since the start (contract, section 12).
const MAX_CONSUMERS: usize = 64;

/// Everybody who has given a name.
#[derive(Debug)]
pub struct Consumers {
    known: [OnceLock<Consumer>; MAX_CONSUMERS],
    started: Instant,
}

/// One of them, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerId(usize);

#[derive(Debug)]
struct Consumer {
    name: String,
    /// Messages behind the cursor that it asked with last.
    lag: AtomicU64,
    /// The end of the order then.
    head: AtomicI64,
    /// Milliseconds since the start.
    seen: AtomicU64,
}

/// A consumer as a scrape sees it.
#[derive(Debug, PartialEq)]
pub struct ConsumerReading<'a> {
    pub name: &'a str,
    pub lag: u64,
    /// Seconds since it has asked or was answered.
    pub seen_seconds: f64,
}

impl Default for Consumers {
    fn default() -> Self {
        Self { known: array::from_fn(|_| OnceLock::new()), started: Instant::now() }
    }
}

impl Consumers {
    /// The place of a name, which is taken if it is a new one. `None` where all are.
    pub fn id(&self, name: &str) -> Option<ConsumerId> {
        let new = || Consumer {
            name: name.to_owned(),
            lag: AtomicU64::new(0),
            head: AtomicI64::new(i64::MAX),
            seen: AtomicU64::new(self.now()),
        };
        // Of two that come at once for one place, one goes on to the next.
        let place = self.known.iter().position(|one| one.get_or_init(new).name == name);
        place.map(ConsumerId)
    }

    /// It has asked, and so many messages were behind its cursor when the order ended there.
    pub fn asked(&self, consumer: ConsumerId, lag: u64, head: i64) {
        if let Some(known) = self.known[consumer.0].get() {
            known.lag.store(lag, Relaxed);
            known.head.store(head, Relaxed);
            known.seen.store(self.now(), Relaxed);
        }
    }

    /// It has waited until now.
    pub fn waited(&self, consumer: ConsumerId) {
        if let Some(known) = self.known[consumer.0].get() {
            known.seen.store(self.now(), Relaxed);
        }
    }

    /// All of them, where the order ends here now. What has come since each has asked adds to its lag.
    pub fn read(&self, head: i64) -> impl Iterator<Item = ConsumerReading<'_>> {
        let now = self.now();
        self.known.iter().map_while(OnceLock::get).map(move |known| {
            let since = head.saturating_sub(known.head.load(Relaxed)).max(0).unsigned_abs();
            let seen_seconds = now.saturating_sub(known.seen.load(Relaxed)) as f64 / 1000.0;
            ConsumerReading { name: &known.name, lag: known.lag.load(Relaxed) + since, seen_seconds }
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lags(consumers: &Consumers, head: i64) -> Vec<(&str, u64)> {
        consumers.read(head).map(|one| (one.name, one.lag)).collect()
    }

    #[test]
    fn a_lag_is_what_was_behind_the_cursor_and_what_has_come_since() {
        let consumers = Consumers::default();
        assert_eq!(lags(&consumers, 9), []);
        let (a, b) = (consumers.id("a").unwrap(), consumers.id("b").unwrap());
        assert_eq!((consumers.id("a"), consumers.id("b")), (Some(a), Some(b)));
        assert_eq!(lags(&consumers, 9), [("a", 0), ("b", 0)], "neither has asked yet");
        consumers.asked(a, 3, 10);
        consumers.asked(b, 0, 12);
        // What is known of the end may lag behind what a snapshot has shown.
        for (head, expected) in [(9, [3, 0]), (12, [5, 0]), (20, [13, 8])] {
            assert_eq!(lags(&consumers, head), [("a", expected[0]), ("b", expected[1])], "{head}");
        }
        consumers.asked(a, 0, 20);
        consumers.waited(b);
        assert_eq!(lags(&consumers, 21), [("a", 1), ("b", 9)]);
    }

    #[test]
    fn a_name_more_than_there_are_places_is_not_listed() {
        let consumers = Consumers::default();
        let ids: Vec<_> = (0..=MAX_CONSUMERS).map(|number| consumers.id(&number.to_string())).collect();
        assert!(ids[..MAX_CONSUMERS].iter().all(Option::is_some) && ids[MAX_CONSUMERS].is_none());
        assert_eq!(consumers.read(0).count(), MAX_CONSUMERS);
        assert_eq!(consumers.id("0"), ids[0]);
    }
}
