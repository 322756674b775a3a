//! A report tells on stderr of what was not confirmed at once, and the supervisor where the follower stands.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::batch::{FeedMessage, MessageBatch};
use super::handover::Settled;
use crate::escape::escaped;
use crate::log::Line;
use crate::notify::Notifier;
use crate::timestamp::unix_millis;

/// How often the supervisor hears of progress.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Where lines go. One at a time, each written whole.
pub struct Reporter {
    say: fn(&str),
    notifier: Notifier,
    handed_on: u64,
    told: Option<Instant>,
}

impl Reporter {
    pub fn new(say: fn(&str), notifier: Notifier) -> Self {
        Self { say, notifier, handed_on: 0, told: None }
    }

    /// A line of its own on stderr.
    pub fn line(&self, line: Line) {
        (self.say)(&format!("{}\n", line.into_json()));
    }

    /// The supervisor may count on the follower from here on.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=Waiting for the service");
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Finishing what is under way");
    }

    /// The batch was confirmed, or is among the dead letters.
    pub fn settled(&mut self, batch: &MessageBatch<'_>, settled: Settled) {
        if settled == Settled::Confirmed {
            self.handed_on += batch.messages.len() as u64;
        }
        if self.told.is_none_or(|told| told.elapsed() >= STATUS_INTERVAL) {
            let standing = match lag(batch.last) {
                None => "Catching up".to_owned(),
                Some(lag) => format!("Behind by {} s", lag.as_secs()),
            };
            self.standing(&standing, batch.last);
        }
    }

    /// Everything there is was handed on, `last` as the last of it.
    pub fn up_to_date(&mut self, last: Option<&FeedMessage>) {
        match last {
            Some(last) => self.standing("Up to date", last),
            None => self.tell(&format!("STATUS=Up to date: {} messages handed on", self.handed_on)),
        }
    }

    /// What keeps the follower from going on.
    pub fn trouble(&self, reason: &str) {
        self.tell(&format!("STATUS=Trying again: {}", escaped(reason)));
    }

    fn standing(&mut self, standing: &str, last: &FeedMessage) {
        self.told = Some(Instant::now());
        let stored = last.created_at.as_deref().unwrap_or("an unknown time");
        self.tell(&format!(
            "STATUS={standing}: {} messages handed on, the last {} of {}",
            self.handed_on,
            escaped(&last.id),
            escaped(stored)
        ));
    }

    fn tell(&self, state: &str) {
        // If nobody hears it, nobody waits for it.
        let _ = self.notifier.tell(state);
    }
}

/// Adds what a batch is known by in the log: the id of its first message, the number of its messages.
pub fn named(line: Line, batch: &MessageBatch<'_>) -> Line {
    line.text("message_id", &batch.first.id).number("messages", batch.messages.len() as u64)
}

/// How long ago the message was stored; `None` where its time is not known.
fn lag(message: &FeedMessage) -> Option<Duration> {
    let stored = u64::try_from(unix_millis(message.created_at.as_deref()?)?).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(Duration::from_millis(stored)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_age_of_what_is_handed_on() {
        let message = |created_at: Option<&str>| FeedMessage {
            id: "m1".to_owned(),
            cursor: String::new(),
            created_at: created_at.map(str::to_owned),
            json: String::new(),
        };
        assert!(lag(&message(Some("2025-01-15T10:00:00.123Z"))).unwrap() > Duration::from_secs(3600));
        assert_eq!(lag(&message(Some("9999-01-15T10:00:00Z"))), Some(Duration::ZERO));
        assert_eq!(lag(&message(Some("2025-01-15 10:00:00"))), None);
        assert_eq!(lag(&message(None)), None);
    }
}
