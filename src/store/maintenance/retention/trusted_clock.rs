//! A trusted clock has run on as it should since the last look, and deletion by age waits for one.
//!
//! A clock that is a year ahead, after a start with an empty battery, would cost every message. So nothing is
//! deleted unless now is at most a day past the last look, which the database keeps, and not before the newest
//! message was stored. Otherwise that is said, and a day passes in which the clock can be put right.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::clock::write_rfc3339;

/// How often the service looks for messages that are too old. The setting is in days.
pub(super) const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// How far past the last look a clock may be that is trusted at once, and how long deletion waits otherwise:
/// time enough for somebody to read the log and to put the clock right.
const DAY: i64 = 86_400;
/// The looks of a service that runs must not miss each other.
const _: () = assert!(EXPIRY_INTERVAL.as_secs() < DAY.unsigned_abs() / 2);

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockVerdict {
    /// What is too old may go, and this look is the last one now.
    Delete,
    /// A day has not passed yet since the last doubt.
    Wait,
    /// From now on nothing is deleted for a day.
    Doubt(Doubt),
}

/// Why the clock is not trusted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    FirstLook,
    LastLookLongAgo,
    SetBack,
    BeforeNewest,
}

impl Doubt {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::FirstLook => "nobody has looked for old messages in this database before",
            Self::LastLookLongAgo => "the clock was set, or the service was off for more than a day",
            Self::SetBack => "the clock was set back by more than a day",
            Self::BeforeNewest => "the newest message was stored at a time that has not come yet",
        }
    }
}

/// `not_before` is what the database keeps: the last look, or a day after one that was doubted.
/// `is_before_newest`: the newest message was stored later than `now`, and nobody has waited for that yet.
/// All times are seconds since the Unix epoch.
pub(super) fn verdict(not_before: Option<i64>, is_before_newest: bool, now: i64) -> ClockVerdict {
    match not_before {
        None => ClockVerdict::Doubt(Doubt::FirstLook),
        Some(at) if now < at.saturating_sub(DAY) => ClockVerdict::Doubt(Doubt::SetBack),
        Some(at) if now < at => ClockVerdict::Wait,
        Some(at) if now > at.saturating_add(DAY) => ClockVerdict::Doubt(Doubt::LastLookLongAgo),
        Some(_) if is_before_newest => ClockVerdict::Doubt(Doubt::BeforeNewest),
        Some(_) => ClockVerdict::Delete,
    }
}

/// What the database is to keep after a look, for the next call of [`verdict`]; `None` to leave it as it is.
pub(super) fn not_before(verdict: ClockVerdict, now: i64) -> Option<i64> {
    match verdict {
        ClockVerdict::Delete => Some(now),
        ClockVerdict::Wait => None,
        ClockVerdict::Doubt(_) => Some(now.saturating_add(DAY)),
    }
}

/// What the clock says. One set before 1970 says 1970.
pub fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn rfc3339(seconds: i64) -> String {
    let mut text = String::new();
    write_rfc3339(&mut text, UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    text
}

/// What an earlier look has kept, in the column `believed_clock`.
pub fn read(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT believed_clock FROM messages_retention", [], |row| row.get(0))
}

pub(super) fn write(connection: &Connection, not_before: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE messages_retention SET believed_clock = ?1", [not_before])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const HOUR: i64 = 3600;
    const YEAR: i64 = 365 * DAY;

    #[test]
    fn messages_go_only_by_a_clock_that_has_run_on_as_it_should() {
        use ClockVerdict::{Delete, Wait};
        let doubt = ClockVerdict::Doubt;
        for (kept, is_before_newest, expected, why) in [
            (Some(NOW - HOUR), false, Delete, "the last look was an hour ago"),
            (Some(NOW), false, Delete, "it was a moment ago"),
            (Some(NOW - DAY), false, Delete, "the service was off for a day"),
            (Some(NOW - DAY - 1), false, doubt(Doubt::LastLookLongAgo), "for more than a day"),
            (Some(NOW - YEAR), false, doubt(Doubt::LastLookLongAgo), "or the clock is a year ahead"),
            (Some(0), true, doubt(Doubt::LastLookLongAgo), "or it had no battery then"),
            (None, false, doubt(Doubt::FirstLook), "nobody has looked yet"),
            (None, true, doubt(Doubt::FirstLook), "whatever the messages say"),
            (Some(NOW + 1), false, Wait, "there was a doubt, or the clock was put right a little"),
            (Some(NOW + DAY), true, Wait, "there was one right now"),
            (Some(NOW + DAY + 1), false, doubt(Doubt::SetBack), "the clock was set back"),
            (Some(NOW + YEAR), true, doubt(Doubt::SetBack), "or was a year ahead and is right again"),
            (Some(i64::MAX), false, doubt(Doubt::SetBack), "whatever is kept"),
            (Some(i64::MIN), false, doubt(Doubt::LastLookLongAgo), "whatever is kept"),
            (Some(NOW - HOUR), true, doubt(Doubt::BeforeNewest), "a message is newer than now"),
        ] {
            assert_eq!(verdict(kept, is_before_newest, NOW), expected, "{why}");
        }
    }

    /// The verdicts of looks at these times, each with what the one before has kept.
    fn looks(mut kept: Option<i64>, times: &[i64]) -> Vec<ClockVerdict> {
        let mut look = |now: &i64| {
            let verdict = verdict(kept, false, *now);
            kept = not_before(verdict, *now).or(kept);
            verdict
        };
        times.iter().map(&mut look).collect()
    }

    #[test]
    fn a_doubt_is_said_once_and_ends_after_a_day() {
        let times = [NOW, NOW + 5, NOW + DAY - 1, NOW + DAY, NOW + DAY + HOUR];
        assert_eq!(
            looks(Some(NOW - YEAR), &times),
            [
                ClockVerdict::Doubt(Doubt::LastLookLongAgo),
                ClockVerdict::Wait,
                ClockVerdict::Wait,
                ClockVerdict::Delete,
                ClockVerdict::Delete
            ]
        );
    }

    #[test]
    fn a_clock_that_is_put_right_in_that_day_has_deleted_nothing() {
        let ahead = NOW + YEAR;
        let times = [NOW, ahead, ahead + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR, NOW + DAY + 2 * HOUR];
        assert_eq!(
            looks(Some(NOW - HOUR), &times),
            [
                ClockVerdict::Delete,
                ClockVerdict::Doubt(Doubt::LastLookLongAgo),
                ClockVerdict::Wait,
                ClockVerdict::Doubt(Doubt::SetBack),
                ClockVerdict::Wait,
                ClockVerdict::Delete
            ]
        );
    }

    #[test]
    fn a_clock_that_keeps_stepping_is_never_trusted() {
        let times: Vec<i64> = (1..100).map(|step| NOW + step * YEAR).collect();
        assert!(looks(Some(NOW), &times).iter().all(|verdict| matches!(verdict, ClockVerdict::Doubt(_))));
    }
}
