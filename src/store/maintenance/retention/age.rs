//! The age of a message is told by when it was stored, as its row and its `created_at` say.
//!
//! A message is as old as its `created_at` says, which is the service's own clock at the time it was
//! stored. Clocks err, and older files hold other dates; but messages were stored in the order of their
//! rows, which no clock can change. So:
//!
//! - What comes behind a message that is not too old is not too old, whatever its date.
//! - A date that cannot be right (none, before the time of such messages, in the future) says nothing; the message
//!   goes with the next one that is too old.

use rusqlite::{Connection, OptionalExtension};

use super::trusted_clock::rfc3339;
use crate::store::maintenance::deletion::Target;
use crate::store::maintenance::items::ErasableItem;
use crate::timestamp::{InstantKey, parse_instant};

/// A `created_at` before this was written by a clock that had lost its battery, or by nobody.
const EARLIEST_DATE: &str = "2010-01-01";
/// A clock that is put right by so many seconds or less is no cause for doubt.
const CLOCK_CORRECTION: i64 = 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Old,
    Young,
    Unknown,
}

/// By what ages are told at one time.
pub(super) struct Calendar {
    earliest: Option<InstantKey>,
    /// What is older than this is too old.
    cut: InstantKey,
    latest: InstantKey,
}

impl Calendar {
    /// `now` in seconds since the Unix epoch.
    pub(super) fn new(now: i64, days: u32) -> Self {
        let cut = now.saturating_sub(i64::from(days) * 86_400);
        let latest = now.saturating_add(CLOCK_CORRECTION);
        Self { earliest: parse_instant(EARLIEST_DATE), cut: key(cut), latest: key(latest) }
    }

    /// True if the clock that this calendar goes by has not come so far yet.
    pub(super) fn is_future(&self, date: &InstantKey) -> bool {
        *date > self.latest
    }

    fn age(&self, created_at: &[u8]) -> Age {
        match date(created_at) {
            Some(date) if Some(&date) < self.earliest.as_ref() || self.is_future(&date) => Age::Unknown,
            Some(date) if date < self.cut => Age::Old,
            Some(_) => Age::Young,
            None => Age::Unknown,
        }
    }
}

fn key(seconds: i64) -> InstantKey {
    InstantKey::of(&rfc3339(seconds))
}

/// A `created_at` in any form that has been written.
fn date(created_at: &[u8]) -> Option<InstantKey> {
    parse_instant(&String::from_utf8_lossy(created_at))
}

/// A message that is too old: its row, its `created_at` and its id.
pub type ExpiredMessage = Target<Option<Vec<u8>>>;

/// The row up to which all may go: the last one that is too old before the first that is not, of about so many;
/// looks on past those whose age nobody knows. `None` if there is none.
pub(super) fn last_too_old(
    messages: &Connection,
    calendar: &Calendar,
    most: usize,
) -> rusqlite::Result<Option<i64>> {
    let mut statement =
        messages.prepare_cached("SELECT rowid, CAST(created_at AS BLOB) FROM messages ORDER BY rowid")?;
    let mut rows = statement.query([])?;
    let (mut last, mut seen) = (None, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        match calendar.age(&row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default()) {
            Age::Old => last = Some(row.get(0)?),
            Age::Young => break,
            Age::Unknown => {}
        }
        if last.is_some() && seen >= most {
            break;
        }
    }
    Ok(last)
}

/// The first items of WhatsApp that are too old by the same rule, up to `most` of them.
pub(super) fn first_items(
    connection: &Connection,
    calendar: &Calendar,
    most: usize,
) -> rusqlite::Result<Vec<ErasableItem>> {
    let mut statement = connection.prepare_cached(
        "SELECT item, id_hash, content_hash, CAST(created_at AS BLOB) FROM messages_items ORDER BY item",
    )?;
    let mut rows = statement.query([])?;
    let (mut items, mut old) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let age = calendar.age(&row.get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default());
        if age == Age::Young || old == most {
            break;
        }
        if items.len() < most {
            items.push(ErasableItem(row.get(0)?, [row.get(1)?, row.get(2)?]));
        }
        old = if age == Age::Old { items.len() } else { old };
    }
    items.truncate(old);
    Ok(items)
}

/// The first messages, up to `most` of them, of those up to that row. None behind one that is not too old: where
/// everything has gone, the numbers of rows are given again.
pub(super) fn first(
    messages: &Connection,
    calendar: &Calendar,
    through: i64,
    most: usize,
) -> rusqlite::Result<Vec<ExpiredMessage>> {
    let mut statement = messages.prepare_cached(
        "SELECT rowid, CAST(created_at AS BLOB), CAST(message_id AS BLOB) FROM messages \
         WHERE rowid <= ?1 ORDER BY rowid LIMIT ?2",
    )?;
    let expired = statement.query_map((through, most as i64), |row| row.try_into())?;
    let is_young = |(_, created_at, _): &ExpiredMessage| {
        calendar.age(created_at.as_deref().unwrap_or_default()) == Age::Young
    };
    expired.take_while(|found| !found.as_ref().is_ok_and(is_young)).collect()
}

/// When the message was stored that was stored last, as far as that can be read.
pub(super) fn newest(messages: &Connection) -> rusqlite::Result<Option<InstantKey>> {
    let newest = messages
        .prepare_cached("SELECT CAST(created_at AS BLOB) FROM messages ORDER BY rowid DESC LIMIT 1")?
        .query_row([], |row| row.get::<_, Option<Vec<u8>>>(0))
        .optional()?;
    Ok(newest.flatten().and_then(|created_at| date(&created_at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T00:00:00Z.
    const NOW: i64 = 1_795_305_600;

    fn expired(dates: &[&str], most: usize) -> Vec<i64> {
        let messages = Connection::open_in_memory().unwrap();
        messages
            .execute_batch("CREATE TABLE messages (message_id TEXT PRIMARY KEY, created_at TEXT)")
            .unwrap();
        for (n, date) in dates.iter().enumerate() {
            messages.execute("INSERT INTO messages VALUES (?1, ?2)", (format!("m{n}"), date)).unwrap();
        }
        let calendar = Calendar::new(NOW, 30);
        let mut gone = Vec::new();
        while let Some(last) = last_too_old(&messages, &calendar, most).unwrap() {
            for (row, ..) in first(&messages, &calendar, last, most).unwrap() {
                messages.execute("DELETE FROM messages WHERE rowid = ?1", [row]).unwrap();
                gone.push(row);
            }
        }
        gone
    }

    #[test]
    fn every_form_of_date_is_read_and_the_bound_is_exact() {
        for old in [
            "2026-10-22T23:59:59.999Z",
            "2026-10-22T23:59:59.999999Z",
            "2026-10-22T23:59:59+00:00",
            "2026-10-23T01:59:59.5+02:00",
            "2026-10-22T23:59:59.123456",
            "2026-10-22 23:59:59",
            "2010-01-01",
        ] {
            assert_eq!(expired(&[old], 10), [1], "{old}");
        }
        for kept in
            ["2026-10-23T00:00:00.000Z", "2026-11-22T01:00:00Z", "1970-01-01T00:00:09Z", "", "whenever", "0"]
        {
            assert!(expired(&[kept], 10).is_empty(), "{kept}");
        }
    }

    const OLD: &str = "2026-10-01T00:00:00Z";
    const YOUNG: &str = "2026-11-01T00:00:00Z";

    #[test]
    fn what_was_stored_after_a_young_message_is_young() {
        assert_eq!(expired(&[OLD, OLD, YOUNG, OLD, OLD], 10), [1, 2]);
        assert!(expired(&[YOUNG, OLD], 10).is_empty());
    }

    #[test]
    fn a_message_of_unknown_age_goes_with_the_next_old_one() {
        let (no_battery, future) = ("1970-01-01T00:00:00Z", "2027-11-22T00:00:00Z");
        for most in [1, 2, 3, 10] {
            assert_eq!(
                expired(&[future, "whenever", OLD, no_battery, OLD, future, YOUNG], most),
                [1, 2, 3, 4, 5]
            );
            assert!(expired(&[no_battery, future, YOUNG], most).is_empty());
            assert!(expired(&[no_battery, future], most).is_empty());
        }
    }
}
