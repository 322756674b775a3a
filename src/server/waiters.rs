//! The waiters are the requests for which the feed has no message yet.
//!
//! Each is a context and nothing else: no thread, no connection to the store. When messages were committed a pass
//! wakes all of them together, and those who wait for the same are answered with one page.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::request_context::RequestContext;
use crate::store::FeedRange;

/// Passes are at least so far apart: commits can come every few hundred microseconds, each with one message.
const PASS_INTERVAL: Duration = Duration::from_millis(2);

/// Everybody who waits, by the place of the connection, which has one request at a time.
#[derive(Default)]
pub(super) struct Waiters {
    contexts: HashMap<usize, Box<RequestContext>>,
    /// When each has waited for long enough.
    deadlines: BTreeSet<(Instant, usize)>,
    news: News,
}

/// What is known of commits that a waiter has not taken account of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct News {
    /// Of all who wait, the fewest commits that there were when it was looked for messages.
    known: Option<u64>,
    last_pass: Option<Instant>,
}

impl News {
    /// When the next pass is due, if there were so many commits.
    fn pass_due(self, commits: u64, now: Instant) -> Option<Instant> {
        let is_news = self.known.is_some_and(|known| known < commits);
        is_news.then(|| self.last_pass.map_or(now, |last| last + PASS_INTERVAL))
    }
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.contexts.len()
    }

    /// Takes somebody in.
    pub(super) fn park(&mut self, context: Box<RequestContext>) {
        let Some(wait) = context.wait() else {
            return;
        };
        self.news.known = Some(self.news.known.map_or(wait.commits, |known| known.min(wait.commits)));
        let key = context.to().key;
        self.deadlines.insert((wait.until, key));
        self.contexts.insert(key, context);
    }

    /// Lets somebody go who is not to wait any longer.
    pub(super) fn take(&mut self, key: usize) -> Option<Box<RequestContext>> {
        let context = self.contexts.remove(&key)?;
        if let Some(wait) = context.wait() {
            self.deadlines.remove(&(wait.until, key));
        }
        Some(context)
    }

    /// Somebody who has waited for long enough.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Box<RequestContext>> {
        let (until, key) = *self.deadlines.first()?;
        if until <= now { self.take(key) } else { None }
    }

    /// Anybody.
    pub(super) fn take_one(&mut self) -> Option<Box<RequestContext>> {
        let key = *self.contexts.keys().next()?;
        self.take(key)
    }

    /// When something is to be done next, if there were so many commits.
    pub(super) fn next_due(&self, commits: u64, now: Instant) -> Option<Instant> {
        let (first, _) = self.deadlines.first()?;
        Some(self.news.pass_due(commits, now).map_or(*first, |pass| pass.min(*first)))
    }

    /// Everybody, if a pass is due: one for each page that is to be read, who leads those that wait for the same.
    pub(super) fn pass(
        &mut self,
        commits: u64,
        now: Instant,
    ) -> impl Iterator<Item = Box<RequestContext>> + use<> {
        let mut leaders = HashMap::<FeedRange, Box<RequestContext>>::new();
        if self.contexts.is_empty() || self.news.pass_due(commits, now).is_none_or(|due| due > now) {
            return leaders.into_values();
        }
        self.news = News { known: None, last_pass: Some(now) };
        self.deadlines.clear();
        for (_, mut context) in self.contexts.drain() {
            context.resume(now);
            let Some(range) = context.wait().map(|wait| wait.range()) else {
                continue;
            };
            match leaders.get_mut(&range) {
                Some(leader) => leader.lead(context),
                None => {
                    leaders.insert(range, context);
                }
            }
        }
        leaders.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_due_when_somebody_has_not_heard_of_a_commit_and_the_last_is_some_time_ago() {
        let now = Instant::now();
        let then = now + PASS_INTERVAL / 2;
        for (known, last_pass, commits, due) in [
            (None, None, 9, None),
            (Some(9), None, 9, None),
            (Some(9), Some(now), 9, None),
            (Some(8), None, 9, Some(then)),
            (Some(8), Some(now), 9, Some(now + PASS_INTERVAL)),
        ] {
            assert_eq!(News { known, last_pass }.pass_due(commits, then), due, "{known:?} {last_pass:?}");
        }
    }
}
