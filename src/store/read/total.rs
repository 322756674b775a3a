//! The total of messages that match a filter without a word is exact without counting them one by one.

use rusqlite::{Connection, OptionalExtension};

use super::snapshot::Snapshot;
use super::source::{Source, Start, UNORDERED, Values, rows};
use crate::filter::Filter;
use crate::sort_key::RawText;
use crate::store::error::StoreError;
use crate::store::index::{self, rank};

/// The index knows most of it; the rows behind its watermark are counted.
pub(super) fn read(snapshot: Snapshot<'_>, filter: &Filter) -> Result<u64, StoreError> {
    let Snapshot { connection, watermarks, .. } = snapshot;
    let values = Values::new(filter, watermarks);
    let known = match (&filter.from, &filter.since) {
        (Some(_), Some(_)) => {
            let [of_sender, _] = Source::Sender.arms(&values);
            number(connection, &of_sender.count(), &values)?
        }
        (Some(from), None) => of_sender(connection, &from.as_str().into())?,
        (None, Some(_)) => indexed_from(snapshot, &values.start)?,
        (None, None) => watermarks.ordered,
    };
    Ok(known + in_tail(snapshot, &values)?)
}

/// Messages of the index from there on.
pub(super) fn indexed_from(snapshot: Snapshot<'_>, start: &Start) -> Result<u64, StoreError> {
    let before = rank::before(snapshot.connection, &start.key)?;
    snapshot
        .watermarks
        .ordered
        .checked_sub(before)
        .ok_or_else(|| index::is_wrong("its blocks hold more than it has"))
}

/// Rows behind the order's watermark that match.
pub(super) fn in_tail(snapshot: Snapshot<'_>, values: &Values<'_>) -> Result<u64, StoreError> {
    match snapshot.places {
        Some(places) => Ok(places.matching(values).count() as u64),
        None => number(snapshot.connection, &rows(values, UNORDERED).count(), values),
    }
}

/// Messages of one sender, up to the order's watermark.
pub(super) fn of_sender(connection: &Connection, sender: &RawText) -> Result<u64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT messages FROM messages_senders WHERE sender = ?1")?;
    let messages: Option<i64> = statement.query_row([sender], |row| row.get(0)).optional()?;
    Ok(messages.unwrap_or(0).unsigned_abs())
}

fn number(connection: &Connection, count: &str, values: &Values<'_>) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(count)?;
    values.bind(&mut statement)?;
    let mut rows = statement.raw_query();
    let number = rows.next()?.map_or(Ok(0), |row| row.get::<_, i64>(0))?;
    Ok(number.unsigned_abs())
}
