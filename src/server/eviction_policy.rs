//! The eviction policy chooses the connections that are closed when room is needed for others.
//!
//! Whoever holds most gives way, so that one address cannot lock the others out. Among what it holds:
//!
//! 1. what keeps the service waiting: a request that has been arriving for more than a second, an answer
//!    that has been left unread for half a second, a client that does not close;
//! 2. a connection on which nothing was ever asked;
//! 3. one that was served and is idle;
//! 4. one that waits for messages to come: it goes on from the same cursor;
//! 5. one that has just begun, if somebody who holds less asks for the room;
//! 6. one whose request is at work, on the same condition.
//!
//! In each the one that has been so for longest comes first. Behind a proxy that is trusted stand many
//! clients: its connections are chosen from whatever it holds, and only from the first four.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::sources::SourceId;

/// How long a request may take to arrive before its connection may be closed for want of room.
const SLOW_SENDER: Duration = Duration::from_secs(1);
/// The same of an answer that is left unread, and of a client that does not close.
const SLOW_READER: Duration = Duration::from_millis(500);

/// An open connection, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) key: usize,
    pub(super) source: SourceId,
    /// What it takes of that of which there is too little: connections or bytes.
    pub(super) share: usize,
    pub(super) state: Activity,
    /// When that began.
    pub(super) since: Instant,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing was ever asked on it.
    Fresh,
    /// It waits for the next request.
    Idle,
    Receiving,
    Busy,
    /// Its request waits for messages.
    Waiting,
    Unread,
    Lingering,
}

/// Where a connection stands among those of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Slow,
    Fresh,
    Idle,
    Waiting,
    Young,
    Busy,
}

/// Chooses up to `most` connections to be closed, the first one first, for somebody who holds `asks`.
/// Takes time in proportion to the connections, so its answer should serve for more than one.
pub(super) fn victims(held: &[Candidate], asks: usize, now: Instant, most: usize) -> Vec<Candidate> {
    let shares = shares(held);
    let direct = || held.iter().filter(|one| !one.source.is_proxy()).map(|one| shares[one.source.number()]);
    let top = direct().max().unwrap_or(0);
    let second = direct().filter(|share| *share < top).max().unwrap_or(0);
    let mut candidates: Vec<(Class, Reverse<usize>, Instant, &Candidate)> = held
        .iter()
        .filter(|one| one.source.is_proxy() || shares[one.source.number()] == top)
        .filter_map(|one| {
            let share = shares[one.source.number()];
            let class = class(one, now);
            let is_fair = class < Class::Young || (!one.source.is_proxy() && share > asks.saturating_add(1));
            is_fair.then_some((class, Reverse(share), one.since, one))
        })
        .collect();
    let place =
        |candidate: &(Class, Reverse<usize>, Instant, &Candidate)| (candidate.0, candidate.1, candidate.2);
    if candidates.len() > most {
        candidates.select_nth_unstable_by_key(most, place);
        candidates.truncate(most);
    }
    candidates.sort_unstable_by_key(place);
    // A source that has given so much is no longer the one that holds most.
    let mut given = vec![0; shares.len()];
    candidates.retain(|(.., one)| {
        let given = &mut given[one.source.number()];
        let gives = one.source.is_proxy() || *given < (top - second).max(1);
        *given += one.share;
        gives
    });
    candidates.into_iter().map(|(.., one)| *one).collect()
}

/// The source that holds most.
pub(super) fn hoarder(held: &[Candidate]) -> Option<usize> {
    shares(held).into_iter().enumerate().max_by_key(|(_, share)| *share).map(|(source, _)| source)
}

/// What each source holds.
fn shares(held: &[Candidate]) -> Vec<usize> {
    let mut shares = vec![0; held.iter().map(|one| one.source.number() + 1).max().unwrap_or(0)];
    for one in held {
        shares[one.source.number()] += one.share;
    }
    shares
}

fn class(one: &Candidate, now: Instant) -> Class {
    let patience = match one.state {
        Activity::Busy => return Class::Busy,
        Activity::Fresh => return Class::Fresh,
        Activity::Idle => return Class::Idle,
        Activity::Waiting => return Class::Waiting,
        Activity::Receiving => SLOW_SENDER,
        Activity::Unread | Activity::Lingering => SLOW_READER,
    };
    let is_slow = now.saturating_duration_since(one.since) >= patience;
    if is_slow { Class::Slow } else { Class::Young }
}

#[cfg(test)]
mod tests {
    use super::Activity::{Busy, Fresh, Idle, Lingering, Receiving, Unread, Waiting};
    use super::*;

    /// Source (`P` is a proxy), state, how long it has been in it in milliseconds.
    type Row = (char, Activity, u64);

    fn chosen(rows: &[Row], asks: usize, most: usize) -> Vec<usize> {
        let now = Instant::now();
        let held: Vec<Candidate> = rows
            .iter()
            .enumerate()
            .map(|(key, (source, state, millis))| Candidate {
                key,
                source: if *source == 'P' { SourceId::Proxy(80) } else { SourceId::Direct(*source as usize) },
                share: 1,
                state: *state,
                since: now.checked_sub(Duration::from_millis(*millis)).unwrap(),
            })
            .collect();
        victims(&held, asks, now, most).iter().map(|one| one.key).collect()
    }

    #[test]
    fn room_is_made_by_whoever_holds_most_and_in_order() {
        let cases: [(&str, &[Row], usize, &[usize]); 20] = [
            (
                "who waits, after who is idle",
                &[('a', Waiting, 9000), ('a', Idle, 10), ('b', Fresh, 9)],
                0,
                &[1],
            ),
            (
                "and also for more of the same",
                &[('a', Waiting, 8000), ('a', Waiting, 9000), ('a', Busy, 9)],
                9,
                &[1],
            ),
            ("and behind a proxy", &[('P', Waiting, 9000), ('P', Busy, 9000)], 9, &[0]),
            ("nobody is there", &[], 0, &[]),
            ("what is at work, for others", &[('a', Busy, 8000), ('a', Busy, 9000), ('b', Busy, 9)], 0, &[1]),
            ("but not for more of the same", &[('a', Busy, 9000), ('a', Busy, 9000)], 2, &[]),
            ("nor behind a proxy", &[('P', Busy, 9000), ('P', Busy, 9000)], 0, &[]),
            ("what is at work last", &[('a', Busy, 9000), ('a', Receiving, 10), ('a', Busy, 9000)], 0, &[1]),
            ("a slow sender", &[('a', Idle, 9000), ('a', Receiving, 1001), ('b', Receiving, 9000)], 0, &[1]),
            ("an unread answer", &[('a', Idle, 9000), ('a', Unread, 501), ('b', Unread, 9000)], 0, &[1]),
            ("who does not close", &[('a', Fresh, 9000), ('a', Lingering, 501)], 0, &[1]),
            ("the slowest", &[('a', Receiving, 2000), ('a', Receiving, 3000), ('b', Fresh, 9)], 0, &[1]),
            ("who never asked", &[('a', Idle, 9000), ('a', Fresh, 10), ('a', Receiving, 999)], 3, &[1]),
            (
                "who has been idle for longest",
                &[('a', Idle, 8000), ('a', Idle, 9000), ('b', Fresh, 9)],
                0,
                &[1],
            ),
            (
                "who has just begun, for others",
                &[('a', Receiving, 10), ('a', Receiving, 20), ('a', Busy, 9)],
                1,
                &[1],
            ),
            (
                "but not for more of the same",
                &[('a', Receiving, 10), ('a', Unread, 20), ('a', Busy, 9)],
                3,
                &[],
            ),
            ("of equals any", &[('a', Idle, 10), ('b', Idle, 20), ('c', Idle, 15)], 0, &[1]),
            ("a proxy in order", &[('P', Idle, 9000), ('P', Receiving, 2000), ('P', Receiving, 1)], 0, &[1]),
            (
                "a slow client before a proxy that holds more",
                &[('P', Idle, 9000), ('P', Idle, 9000), ('P', Idle, 9000), ('a', Receiving, 2000)],
                0,
                &[3],
            ),
            (
                "a slow client of a proxy before one that is idle",
                &[('P', Receiving, 2000), ('P', Idle, 9000), ('a', Idle, 9000), ('a', Idle, 9000)],
                0,
                &[0],
            ),
        ];
        for (what, rows, asks, expected) in cases {
            assert_eq!(chosen(rows, asks, 1), expected, "{what}");
        }
    }

    #[test]
    fn a_source_gives_until_another_holds_as_much() {
        let rows =
            [('a', Idle, 5), ('a', Idle, 4), ('a', Idle, 3), ('a', Idle, 2), ('b', Idle, 9), ('b', Idle, 8)];
        assert_eq!(chosen(&rows, 0, 64), [0, 1]);
        assert_eq!(chosen(&rows[..4], 0, 64), [0, 1, 2, 3]);
        assert_eq!(chosen(&[('a', Idle, 5), ('b', Idle, 3), ('b', Idle, 2)], 0, 64), [1]);
    }

    #[test]
    fn a_share_may_be_bytes() {
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_millis(100)).unwrap();
        let held = |key, source, share| Candidate {
            key,
            source: SourceId::Direct(source),
            share,
            state: Unread,
            since,
        };
        let rows = [held(0, 1, 1000), held(1, 2, 400_000), held(2, 1, 1000), held(3, 2, 300_000)];
        assert_eq!(victims(&rows, 2000, now, 1).len(), 1);
        assert!(victims(&rows, 2000, now, 64).iter().all(|one| [1, 3].contains(&one.key)));
        assert!(victims(&rows, 700_000, now, 64).is_empty());
        assert_eq!((hoarder(&rows), hoarder(&[])), (Some(2), None));
    }
}
