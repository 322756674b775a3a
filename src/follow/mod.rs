//! A follower reads the feed of a service and hands every message on at least once, in order (contract,
//! section 13).
//!
//! It asks for the messages behind its cursor ([`feed`]), hands them on in batches ([`handing`]) to a [`target`] until
//! each is confirmed, and remembers its cursor in a file ([`checkpoint`]). So the feed of the service is the log, the
//! cursor a consumer's offset in it, and what a follower that was killed repeats is the one batch that was under way.
//!
//! ```text
//! Feed ──page──> Follower ──batch──> Handing ──> Target: stdout, a command, a program's URL
//!                                      │ └────> dead letters, after the last attempt
//!                                      └──────> Checkpoint
//! ```
//!
//! - The next batch is tried when the one before was confirmed, or is among the dead letters.
//! - A cursor is remembered after what lies before it was confirmed, and synced while the next batch is under way.
//! - A stop ends every wait at once, and lets an attempt that is under way come to its end.
//!
//! It knows no store and no server: they may be another machine's.

mod backoff;
mod batch;
mod checkpoint;
mod checkpoint_error;
mod dead_letters;
mod end;
mod exec;
mod feed;
mod handing;
mod handover;
mod output_lines;
mod own_file;
mod post;
mod redrive;
mod report;
mod retry_after;
mod standard_output;
mod standard_webhooks;
mod stop;
mod syncer;
mod target;

use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;

use backoff::{OF_AN_OUTAGE, chance};
use batch::MessageBatch;
use feed::FeedError;

pub use checkpoint::{Checkpoint, is_checkpoint};
pub use checkpoint_error::CheckpointError;
pub use dead_letters::probe as probe_dead_letters;
pub use end::End;
pub use exec::ExecTarget;
pub use feed::{Feed, Start};
pub use handing::Handing;
use handing::millis;
pub use own_file::advice as advice_on_own_file;
pub use post::PostTarget;
pub use redrive::{RedriveCounts, redrive};
pub use report::Reporter;
pub use standard_output::StandardOutput;
pub use standard_webhooks::ForwardSecret;
pub use stop::Stop;
pub use target::Target;

use crate::log::{Level, Line};

/// The largest page that the service gives.
pub const MAX_BATCH_MESSAGES: usize = 1000;
/// What is asked for at a time where batches are smaller.
const PAGE_MESSAGES: usize = 100;
/// Characters of what a server says that are worth a place in a line.
const MAX_SHOWN_CHARS: usize = 200;

/// How many messages to ask for at a time, where so many are handed on together.
pub fn page_limit(batch: usize) -> usize {
    batch.max(PAGE_MESSAGES)
}

/// One feed, handed on.
pub struct Follower {
    pub feed: Feed,
    pub handing: Handing,
    /// How many messages are handed on together at the most.
    pub batch: usize,
}

impl Follower {
    /// Asks, hands on, and remembers, until it ends.
    pub fn run(&mut self, path: &Path, start: Start) -> End {
        match self.follow(path, start) {
            Err(end) => self.handing.finish(end),
            Ok(never) => match never {},
        }
    }

    fn follow(&mut self, path: &Path, start: Start) -> Result<Infallible, End> {
        let mut cursor = self.begin(path, start)?;
        let mut last = None;
        loop {
            let page = self.ask(|feed| feed.after(&cursor))?;
            for messages in page.messages.chunks(self.batch) {
                if let Some(batch) = MessageBatch::of(messages) {
                    self.handing.hand_on(&batch)?;
                }
            }
            self.handing.remember(&page.cursor)?;
            cursor = page.cursor;
            last = page.messages.into_iter().next_back().or(last);
            if !page.more {
                self.handing.sync()?;
                self.handing.report.up_to_date(last.as_ref());
            }
        }
    }

    /// The cursor in the state, or, where there is no state yet, that of where to start.
    fn begin(&mut self, path: &Path, start: Start) -> Result<String, End> {
        let found = Checkpoint::open(path)?;
        self.handing.report.ready();
        let checkpoint = match found {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::create(path, &self.ask(|feed| feed.start(start))?)?,
        };
        let cursor = checkpoint.cursor().to_owned();
        self.handing.checkpoint = Some(checkpoint);
        Ok(cursor)
    }

    /// Asks until there is an answer, whatever becomes of the service meanwhile.
    fn ask<T>(&mut self, question: impl Fn(&mut Feed) -> Result<T, FeedError>) -> Result<T, End> {
        let (stop, report) = (&self.handing.stop, &self.handing.report);
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            if stop.is_asked() {
                return Err(End::Stopped);
            }
            match question(&mut self.feed) {
                Ok(answer) => {
                    if attempt > 0 {
                        let line = Line::event(Level::Info, "feed_recovered");
                        report.line(line.thousandths("seconds", millis(began.elapsed())));
                    }
                    return Ok(answer);
                }
                Err(FeedError::Interrupted) => return Err(End::Stopped),
                Err(FeedError::Unfit(said)) => return Err(End::Unfit(said)),
                Err(FeedError::Unauthorized(said)) => return Err(End::Unauthorized(said)),
                Err(FeedError::Refused(said)) => return Err(End::Refused(said)),
                Err(FeedError::Unavailable { reason, after }) => {
                    attempt += 1;
                    if attempt == 1 {
                        report.line(Line::event(Level::Warning, "feed_unavailable").text("reason", &reason));
                    }
                    report.trouble(&reason);
                    stop.sleep(OF_AN_OUTAGE.wait(attempt, after, chance()));
                }
            }
        }
    }
}
