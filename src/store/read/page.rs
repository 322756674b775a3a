//! A page of messages comes with the exact total, in the order of the contract (section 3): instant, then id bytewise.
//!
//! First the places of its messages are found, then the messages there. A place whose message is not there means
//! that the index is wrong.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Snapshot;
use super::originals::{Original, Originals};
use super::places::{self, MAX_SORTED};
use super::search::{self, Matches};
use super::selection::{Source, Window};
use super::total::{self, in_tail};
use crate::cursor::{Cursor, LongPlace};
use crate::filter::{Filter, PageQuery};
use crate::sort_key::SortKey;
use crate::store::database::column::text;
use crate::store::database::sort_columns;
use crate::store::error::StoreError;
use crate::store::index;

/// An `offset` up to this is walked; a larger one is worth finding its place.
pub const WALKED_OFFSET: i64 = 1000;

/// A message as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    pub message_id: String,
    pub from: String,
    pub to: String,
    pub ts: String,
    pub text: Option<String>,
    /// `None` in some rows of other implementations. Not a part of what is shown in a list.
    pub created_at: Option<String>,
    /// Where it was asked for and there is one.
    pub original: Option<Original>,
}

/// As a row of a list: the contract's five members in its order, and the original.
impl Serialize for StoredMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("message", 6)?;
        fields.serialize_field("message_id", &self.message_id)?;
        fields.serialize_field("from", &self.from)?;
        fields.serialize_field("to", &self.to)?;
        fields.serialize_field("ts", &self.ts)?;
        fields.serialize_field("text", &self.text)?;
        if let Some(original) = &self.original {
            fields.serialize_field("original", original.json())?;
        }
        fields.end()
    }
}

/// What a query found.
#[derive(Debug)]
pub struct Page {
    pub rows: Vec<StoredMessage>,
    /// Rows that match the filter, on whatever page.
    pub total: u64,
    /// The place behind the last row, if more follow.
    pub next: Option<Cursor>,
}

/// Reads a page. Total and rows agree.
pub fn read(snapshot: Snapshot<'_>, query: &PageQuery) -> Result<Page, StoreError> {
    let connection = snapshot.connection;
    let filter = &query.filter;
    let selection = snapshot.selection(filter);
    let all = selection.all();
    // The tail is sorted in memory, as far as the page lies in it.
    if query.offset.unsigned_abs() > MAX_SORTED && in_tail(snapshot, selection, &all)? > MAX_SORTED {
        return Err(StoreError::TooDeep);
    }
    let matches = match &filter.q {
        Some(word) => search::find(snapshot, filter, word, selection)?,
        None => Matches::Many { total: total::read(snapshot, filter)?, source: Source::Order },
    };
    let cursor = query.after.as_ref().map(|cursor| start_at(connection, cursor)).transpose()?;
    let start = all.start.clone().max(cursor.unwrap_or_default());
    let page = Window { start, limit: i64::from(query.limit) + 1, offset: query.offset, ..all };
    let (total, keys) = match matches {
        Matches::At(places) => (places.len() as u64, places::of_page(places, &page)),
        Matches::Many { total, source } => {
            let wanted = query.offset.unsigned_abs().saturating_add(query.limit.into());
            let source = search::source_of_page(snapshot, source, total, wanted);
            let is_skippable = filter.q.is_none() && filter.from.is_none() && query.offset > WALKED_OFFSET;
            let page = if is_skippable { places::skip(snapshot, selection, page)? } else { page };
            (total, places::select(snapshot, selection, &source, &page)?)
        }
    };
    // One more than the page holds, and each of them is there: so this alone says whether more follow.
    let mut rows = fetch(connection, &keys, filter)?;
    rows.truncate(query.limit as usize);
    let originals = Originals::new(connection, query.original)?;
    originals.add(&mut rows)?;
    let next = match keys.get(rows.len().saturating_sub(1)..) {
        Some([last, next, ..]) if !rows.is_empty() => Some(Cursor::between(last, next)),
        _ => None,
    };
    Ok(Page { rows, total, next })
}

/// Where a walk goes on.
fn start_at(connection: &Connection, cursor: &Cursor) -> rusqlite::Result<SortKey> {
    let LongPlace { cut, last, next } = match cursor {
        Cursor::Behind(key) => return Ok(key.clone().successor()),
        Cursor::BehindLong(place) => place,
    };
    let standing = |row| sort_columns::sort_key_at(connection, row);
    if let Some(key) = standing(last.row)?.filter(|key| last.is(key)) {
        return Ok(SortKey { row: i64::MAX, ..key }.successor());
    }
    let next = standing(next.row)?.filter(|key| next.is(key));
    Ok(next.unwrap_or_else(|| cut.clone()))
}

pub const COLUMNS: &str = "m.message_id, m.from_msisdn, m.to_msisdn, m.ts, m.text, m.created_at, m.rowid";

/// The messages at these places.
fn fetch(
    connection: &Connection,
    keys: &[SortKey],
    filter: &Filter,
) -> Result<Vec<StoredMessage>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM messages AS m WHERE m.rowid = :row"))?;
    let mut messages = Vec::with_capacity(keys.len());
    for key in keys {
        let mut found = statement.query([key.row])?;
        let row = found.next()?.ok_or_else(|| no_message_at(key))?;
        messages.push(message_at(row, key, filter)?);
    }
    Ok(messages)
}

fn no_message_at(key: &SortKey) -> StoreError {
    index::is_wrong(&format!("the message that it has at row {} is not there", key.row))
}

/// The message in a row, which has to be the one that the order has there.
fn message_at(row: &Row<'_>, key: &SortKey, filter: &Filter) -> Result<StoredMessage, StoreError> {
    let is_it = sort_columns::is_key_of(key, row.get_ref(3)?, row.get_ref(0)?);
    let is_of_sender = match (&filter.from, row.get_ref(1)?) {
        (Some(from), ValueRef::Text(sender) | ValueRef::Blob(sender)) => from.as_bytes() == sender,
        _ => true,
    };
    if is_it && is_of_sender { Ok(stored_message(row)?) } else { Err(no_message_at(key)) }
}

pub fn stored_message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let required = |column: usize| text(row, column).map(Option::unwrap_or_default);
    Ok(StoredMessage {
        message_id: required(0)?,
        from: required(1)?,
        to: required(2)?,
        ts: required(3)?,
        text: text(row, 4)?,
        created_at: text(row, 5)?,
        original: None,
    })
}
