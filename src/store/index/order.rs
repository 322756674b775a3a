//! The messages in the order of the list, for everybody and for each sender, and how many each
//! sender has sent.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::super::column::text;
use super::Marks;
use super::rank::{self, Place};
use super::top::Top;

/// One message's place.
pub(in super::super) struct Entry {
    pub(super) place: Place,
    pub(super) sender: String,
    pub(super) row: i64,
}

/// Takes in what was read from behind the mark. To be called in a transaction.
pub(in super::super) fn extend(
    index: &Connection,
    marks: &mut Marks,
    entries: Vec<Entry>,
) -> rusqlite::Result<()> {
    if let Some(last) = entries.last() {
        marks.ordered_through = last.row;
        put(index, marks, entries)?;
        marks.write(index)?;
    }
    Ok(())
}

/// Up to `rows` messages behind a row.
pub(in super::super) fn read(messages: &Connection, after: i64, rows: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = messages.prepare_cached(
        "SELECT rtrim(ts, 'Z.0'), message_id, from_msisdn, rowid FROM messages \
         WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
    )?;
    let entry = |row: &Row<'_>| {
        // Old files may hold a message without an id; what orders it is the empty one.
        let column = |column| text(row, column).map(Option::unwrap_or_default);
        let place = Place { instant: column(0)?, message_id: column(1)? };
        Ok(Entry { place, sender: column(2)?, row: row.get(3)? })
    };
    statement.query_map((after, rows as i64), entry)?.collect()
}

/// Gives messages their places. Sorted, because neighbours share pages.
pub(super) fn put(index: &Connection, marks: &mut Marks, mut entries: Vec<Entry>) -> rusqlite::Result<()> {
    marks.ordered += entries.len() as u64;
    entries.sort_unstable_by(|a, b| a.place.cmp(&b.place));
    let mut put = index.prepare_cached(
        "INSERT INTO messages_order (instant, message_id, message_row) VALUES (?1, ?2, ?3)",
    )?;
    for Entry { place, row, .. } in &entries {
        put.execute((&place.instant, &place.message_id, row))?;
    }

    // Stable, so that each sender's entries stay in their order.
    entries.sort_by(|a, b| a.sender.cmp(&b.sender));
    let mut put = index.prepare_cached(
        "INSERT INTO messages_of_sender (sender, instant, message_id, message_row) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut senders = BTreeMap::<&str, i64>::new();
    for Entry { place, sender, row } in &entries {
        put.execute((sender, &place.instant, &place.message_id, row))?;
        *senders.entry(sender).or_default() += 1;
    }
    let mut count = index.prepare_cached(
        "INSERT INTO messages_senders (sender, messages) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET messages = messages + excluded.messages RETURNING messages",
    )?;
    let mut top = Top::read(index)?;
    for (sender, messages) in senders {
        let in_all: i64 = count.query_row((sender, messages), |row| row.get(0))?;
        marks.senders += u64::from(in_all == messages);
        top.raise(sender, in_all.unsigned_abs());
    }
    top.write(index)?;

    let mut places: Vec<Place> = entries.into_iter().map(|entry| entry.place).collect();
    places.sort_unstable();
    rank::add(index, &places)
}
