//! The registry of consumers knows who reads the feed, where each stands, when it was seen last (contract, section
//! 12).
//!
//! It is read by a scrape and written to by requests without a lock. Names are few and stay until the service ends, so
//! nobody can add series without end: who comes when it is full is served and not listed.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Characters of a name (contract, section 12).
pub const MAX_NAME_CHARS: usize = 64;

/// Names that are known since the start (contract, section 12).
const MAX_CONSUMERS: usize = 64;

/// The position that everything is behind.
const BEFORE_ALL: i64 = i64::MIN;

/// True for a character that a name may have (contract, section 12).
pub fn is_of_a_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
}

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
    /// That of the cursor that it asked with last. Everything is behind one that does not fit.
    position: AtomicI64,
    /// Milliseconds since the start.
    seen: AtomicU64,
}

/// A consumer as a scrape sees it.
#[derive(Debug, PartialEq)]
pub struct ConsumerReading<'a> {
    pub name: &'a str,
    /// What it has not heard of is behind this one.
    pub position: i64,
    /// Seconds since it has asked with a cursor that fits, or was answered.
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
            position: AtomicI64::new(BEFORE_ALL),
            seen: AtomicU64::new(self.now()),
        };
        // Of two that come at once for one place, one goes on to the next.
        let place = self.known.iter().position(|one| one.get_or_init(new).name == name);
        place.map(ConsumerId)
    }

    /// It has asked for what is behind a position.
    pub fn asked(&self, consumer: ConsumerId, position: i64) {
        if let Some(known) = self.known[consumer.0].get() {
            known.position.store(position, Relaxed);
            known.seen.store(self.now(), Relaxed);
        }
    }

    /// It has asked with a cursor that does not fit: it gets nothing, however often it asks, which is not to look like
    /// one that keeps up.
    pub fn refused(&self, consumer: ConsumerId) {
        if let Some(known) = self.known[consumer.0].get() {
            known.position.store(BEFORE_ALL, Relaxed);
        }
    }

    /// It has waited until now.
    pub fn waited(&self, consumer: ConsumerId) {
        if let Some(known) = self.known[consumer.0].get() {
            known.seen.store(self.now(), Relaxed);
        }
    }

    /// All of them.
    pub fn read(&self) -> impl Iterator<Item = ConsumerReading<'_>> {
        let now = self.now();
        self.known.iter().map_while(OnceLock::get).map(move |known| ConsumerReading {
            name: &known.name,
            position: known.position.load(Relaxed),
            seen_seconds: now.saturating_sub(known.seen.load(Relaxed)) as f64 / 1000.0,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_stands_where_it_asked_last_and_at_the_beginning_while_its_cursor_does_not_fit() {
        let consumers = Consumers::default();
        let positions = || consumers.read().map(|one| (one.name, one.position)).collect::<Vec<_>>();
        assert_eq!(positions(), []);
        let (a, b) = (consumers.id("a").unwrap(), consumers.id("b").unwrap());
        assert_eq!((consumers.id("a"), consumers.id("b")), (Some(a), Some(b)));
        consumers.asked(a, 3);
        assert_eq!(positions(), [("a", 3), ("b", BEFORE_ALL)]);
        consumers.asked(b, 7);
        consumers.waited(b);
        consumers.refused(a);
        assert_eq!(positions(), [("a", BEFORE_ALL), ("b", 7)]);
    }

    #[test]
    fn a_name_more_than_there_are_places_is_not_listed() {
        let consumers = Consumers::default();
        let ids: Vec<_> = (0..=MAX_CONSUMERS).map(|number| consumers.id(&number.to_string())).collect();
        assert!(ids[..MAX_CONSUMERS].iter().all(Option::is_some) && ids[MAX_CONSUMERS].is_none());
        assert_eq!(consumers.read().count(), MAX_CONSUMERS);
        assert_eq!(consumers.id("0"), ids[0]);
    }
}
