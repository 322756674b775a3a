//! The priorities decide which of the waiting requests a free thread takes up.
//!
//! - Probes come first, then webhooks, then what costs next to nothing, then large bodies, then scrapes: each may wait
//!   for those before it, and none for those behind it.
//! - Queries have threads of their own, as has the feed, which no search keeps waiting; while there are many webhooks, these
//!   rest ([`crate::throttle`]).
//! - Of the other threads at least one is left to webhooks and one to probes, however many of the others wait.

use crate::limits::READ_CONNECTIONS;
use crate::priority::Priority;

/// Scrapes at work at once: they are for a machine, which waits, and take a millisecond of a processor each.
const MAX_SCRAPES: usize = 1;

/// Large bodies at work at once: what is made of one while it is taken apart is several times as large.
const MAX_BULK: usize = 1;

/// As many as the feed has read connections.
const FEED_THREADS: usize = 1;

/// What a thread of the pool may take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Whatever ends soon.
    Prompt,
    Queries,
    /// Short reads, of which one thread does all: consumers come in their thousands when something was committed.
    Feed,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Prompt, Self::Queries, Self::Feed];

    /// The queues from which it takes requests, the first one first.
    fn queues(self) -> &'static [Priority] {
        match self {
            Self::Prompt => {
                &[Priority::Probe, Priority::Ingest, Priority::Immediate, Priority::Bulk, Priority::Scrape]
            }
            Self::Queries => &[Priority::Read],
            Self::Feed => &[Priority::Feed],
        }
    }
}

/// How many threads of each role there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Threads {
    pub(super) prompt: usize,
    pub(super) queries: usize,
}

impl Threads {
    /// `WORKERS` in all, one of them the feed's, and four at the least. Queries have as many as there are read connections: one
    /// more would wait for a connection, and not work.
    pub(super) fn of(workers: usize) -> Self {
        let queries = READ_CONNECTIONS.min((workers / 4).max(1));
        Self { prompt: workers.saturating_sub(queries + FEED_THREADS).max(2), queries }
    }

    pub(super) fn count(self, role: Role) -> usize {
        match role {
            Role::Prompt => self.prompt,
            Role::Queries => self.queries,
            Role::Feed => FEED_THREADS,
        }
    }
}

/// Requests by their priority.
pub(super) type Counts = [usize; Priority::ALL.len()];

/// What looks after the service.
const FOR_MACHINES: [Priority; 2] = [Priority::Probe, Priority::Scrape];
/// What the service is there for.
const FOR_SENDERS: [Priority; 3] = [Priority::Ingest, Priority::Immediate, Priority::Bulk];

/// The queue from which a free thread takes the next request, if it is to take any. The thread itself is
/// not among those at work.
pub(super) fn next(role: Role, waiting: &Counts, at_work: &Counts, threads: Threads) -> Option<Priority> {
    let leaves_one_to = |these: &[Priority]| leaves_one(at_work, threads, these);
    let may_begin = |priority: Priority| match priority {
        Priority::Read | Priority::Feed => true,
        Priority::Ingest | Priority::Immediate => leaves_one_to(&FOR_MACHINES),
        Priority::Bulk => at_work[Priority::Bulk as usize] < MAX_BULK && leaves_one_to(&FOR_MACHINES),
        Priority::Probe => leaves_one_to(&FOR_SENDERS),
        Priority::Scrape => at_work[Priority::Scrape as usize] < MAX_SCRAPES && leaves_one_to(&FOR_SENDERS),
    };
    let is_due = |priority: &Priority| waiting[*priority as usize] > 0 && may_begin(*priority);
    role.queues().iter().copied().find(is_due)
}

/// Webhooks that one thread goes through in the time that it takes another to wake up and come.
const WEBHOOKS_OF_ONE_THREAD: usize = 32;

/// True if another thread is to be woken for this one, which is to be taken next. A webhook waits for nothing but a
/// processor: the thread that has one looks for the next in a moment, where others would only come in vain.
pub(super) fn is_worth_waking(next: Priority, waiting: &Counts, at_work: &Counts) -> bool {
    let ingest = Priority::Ingest as usize;
    next != Priority::Ingest || at_work[ingest] == 0 || waiting[ingest] > WEBHOOKS_OF_ONE_THREAD
}

/// True if these have a thread at work, or one is free for them when one more of the others begins.
fn leaves_one(at_work: &Counts, threads: Threads, these: &[Priority]) -> bool {
    let busy = |priority: Priority| at_work[priority as usize];
    let all_busy: usize = Role::Prompt.queues().iter().map(|priority| busy(*priority)).sum();
    these.iter().any(|priority| busy(*priority) > 0) || all_busy + 1 < threads.prompt
}

#[cfg(test)]
mod tests {
    use super::Priority::{Bulk, Feed, Immediate, Ingest, Probe, Read, Scrape};
    use super::*;

    fn counts(of: &[(Priority, usize)]) -> Counts {
        let mut counts = Counts::default();
        for (priority, count) in of {
            counts[*priority as usize] = *count;
        }
        counts
    }

    #[test]
    fn a_free_thread_takes_what_comes_first_and_leaves_one_to_each_kind() {
        let all = [(Probe, 1), (Ingest, 1), (Immediate, 1), (Scrape, 1), (Read, 1)];
        // Waiting, at work, threads for what is prompt, what such a thread takes.
        let cases: [(&[_], &[_], usize, Option<Priority>); 22] = [
            (&[], &[], 6, None),
            (&[(Read, 9)], &[], 6, None),
            (&all, &[], 6, Some(Probe)),
            (&all[1..], &[], 6, Some(Ingest)),
            (&all[2..], &[], 6, Some(Immediate)),
            (&all[3..], &[], 6, Some(Scrape)),
            // A scrape waits for the one before it, and nobody waits for scrapes.
            (&[(Scrape, 900)], &[(Scrape, 1)], 6, None),
            (&[(Scrape, 900), (Immediate, 1)], &[(Scrape, 1)], 6, Some(Immediate)),
            (&[(Scrape, 900), (Probe, 1)], &[(Scrape, 1)], 6, Some(Probe)),
            // All may be at work at once, on whatever it is ...
            (&[(Ingest, 9)], &[(Ingest, 4), (Probe, 1)], 6, Some(Ingest)),
            (&[(Probe, 9)], &[(Ingest, 1), (Probe, 4)], 6, Some(Probe)),
            // ... but the last free one is for the kind that has none.
            (&[(Probe, 9)], &[(Probe, 5)], 6, None),
            (&[(Probe, 9), (Ingest, 1)], &[(Probe, 5)], 6, Some(Ingest)),
            (&[(Ingest, 9), (Immediate, 9)], &[(Ingest, 3), (Immediate, 2)], 6, None),
            (&[(Ingest, 9), (Scrape, 1)], &[(Ingest, 5)], 6, Some(Scrape)),
            (&[(Ingest, 9), (Probe, 1)], &[(Ingest, 1)], 2, Some(Probe)),
            // A large body waits for the one before it, and for whatever is small.
            (&[(Bulk, 9)], &[], 2, Some(Bulk)),
            (&[(Bulk, 9)], &[(Bulk, 1)], 6, None),
            (&[(Bulk, 9), (Ingest, 1), (Scrape, 1)], &[], 6, Some(Ingest)),
            (&[(Bulk, 9), (Scrape, 1)], &[], 6, Some(Bulk)),
            (&[(Bulk, 9), (Ingest, 1)], &[(Bulk, 1)], 6, Some(Ingest)),
            // It is a webhook: the last thread is the probe's.
            (&[(Ingest, 9), (Probe, 1)], &[(Bulk, 1)], 2, Some(Probe)),
        ];
        for (waiting, at_work, prompt, taken) in cases {
            let threads = Threads { prompt, queries: 2 };
            assert_eq!(
                next(Role::Prompt, &counts(waiting), &counts(at_work), threads),
                taken,
                "{waiting:?} {at_work:?} {prompt}"
            );
        }
    }

    #[test]
    fn every_queue_has_threads_of_one_role() {
        for priority in Priority::ALL {
            let roles = Role::ALL.iter().filter(|role| role.queues().contains(priority));
            assert_eq!(roles.count(), 1, "{priority:?}");
        }
    }

    #[test]
    fn the_threads_of_queries_take_queries() {
        let threads = Threads::of(8);
        let waiting = counts(&[(Probe, 9), (Ingest, 9), (Read, 1)]);
        assert_eq!(next(Role::Queries, &waiting, &counts(&[(Read, 1)]), threads), Some(Read));
        assert_eq!(next(Role::Queries, &counts(&[(Probe, 9), (Feed, 1)]), &Counts::default(), threads), None);
        assert_eq!(next(Role::Feed, &counts(&[(Feed, 1)]), &counts(&[(Read, 2)]), threads), Some(Feed));
        assert_eq!(next(Role::Feed, &waiting, &Counts::default(), threads), None);
    }

    #[test]
    fn there_are_as_many_threads_as_workers_and_one_for_each_kind() {
        for (workers, prompt, queries) in [(1, 2, 1), (2, 2, 1), (3, 2, 1), (4, 2, 1), (8, 5, 2), (64, 61, 2)]
        {
            assert_eq!(Threads::of(workers), Threads { prompt, queries }, "{workers}");
        }
    }

    #[test]
    fn another_thread_is_woken_unless_the_one_that_has_a_webhook_will_be_there_sooner() {
        let most = WEBHOOKS_OF_ONE_THREAD;
        for (next, waiting, at_work, is_worth) in [
            (Ingest, (Ingest, 1), (Ingest, 0), true),
            (Ingest, (Ingest, most), (Probe, 4), true),
            (Ingest, (Ingest, most), (Ingest, 1), false),
            (Ingest, (Ingest, most + 1), (Ingest, 1), true),
            (Probe, (Probe, 1), (Ingest, 1), true),
            (Read, (Read, 1), (Read, 1), true),
        ] {
            assert_eq!(is_worth_waking(next, &counts(&[waiting]), &counts(&[at_work])), is_worth, "{next:?}");
        }
    }
}
