//! The total of messages that match a filter without a word is exact without counting them one by one.

use rusqlite::{Connection, OptionalExtension};

use super::Snapshot;
use super::selection::{Selection, Window};
use crate::filter::Filter;
use crate::sort_key::{RawText, SortKey};
use crate::store::error::StoreError;
use crate::store::index::{self, rank};

/// The index knows most of it; the tail is counted.
pub(super) fn read(snapshot: Snapshot<'_>, filter: &Filter) -> Result<u64, StoreError> {
    let selection = snapshot.selection(filter);
    let all = selection.all();
    let indexed = match (&filter.from, &filter.since) {
        (Some(_), Some(_)) => selection.number(snapshot.connection, &selection.in_order("COUNT(*)"), &all)?,
        _ => indexed(snapshot, filter)?,
    };
    Ok(indexed + in_tail(snapshot, selection, &all)?)
}

/// Messages of the index that a sender has sent, or else that are from an instant on: as many as can match.
pub(super) fn indexed(snapshot: Snapshot<'_>, filter: &Filter) -> Result<u64, StoreError> {
    match (&filter.from, &filter.since) {
        (Some(from), _) => Ok(of_sender(snapshot.connection, &from.as_str().into())?),
        (None, Some(since)) => indexed_from(snapshot, &SortKey::first_at(since.as_str())),
        (None, None) => Ok(snapshot.watermarks.ordered),
    }
}

/// Messages of the index from there on.
pub(super) fn indexed_from(snapshot: Snapshot<'_>, start: &SortKey) -> Result<u64, StoreError> {
    let before = rank::before(snapshot.connection, start)?;
    let from = snapshot.watermarks.ordered.checked_sub(before);
    from.ok_or_else(|| index::is_wrong("its blocks hold more than it has"))
}

/// Messages of the tail, from the start of a window on, that match.
pub(super) fn in_tail(
    snapshot: Snapshot<'_>,
    selection: Selection<'_>,
    window: &Window,
) -> rusqlite::Result<u64> {
    let memory = snapshot.memory.borrow();
    let mut remembered = 0;
    for key in memory.tail.matching(selection.filter, &window.start) {
        remembered += u64::from(selection.has_word(snapshot.connection, key)?);
    }
    let unread = selection.in_unread("COUNT(*)", window);
    let unread = unread.map_or(Ok(0), |unread| selection.number(snapshot.connection, &unread, window))?;
    Ok(remembered + unread)
}

/// Messages of one sender, up to the order's watermark.
pub(super) fn of_sender(connection: &Connection, sender: &RawText) -> rusqlite::Result<u64> {
    let mut statement =
        connection.prepare_cached("SELECT messages FROM messages_senders WHERE sender = :sender")?;
    let messages: Option<i64> = statement.query_row([sender], |row| row.get(0)).optional()?;
    Ok(messages.unwrap_or(0).unsigned_abs())
}
