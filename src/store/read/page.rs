//! A page of messages comes with the exact total, in the order of the contract (section 3): instant, then id bytewise.
//!
//! Everything is read twice over: from the index, up to its watermark, and from the rows of `messages`
//! behind the watermark ([`crate::store::index`]). Both are arms of one SQL statement. Whether more rows follow is known from
//! the order; a place in it whose message is not there means that the index is wrong.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::matches::{self, Matches};
use super::snapshot::{Places, Snapshot};
use super::source::{Arm, Source, Start, Values};
use super::total::{self, in_tail};
use crate::cursor::{Cursor, LongPlace};
use crate::filter::{Filter, PageQuery};
use crate::limits::{MAX_SORTED, WALKED_OFFSET};
use crate::sort_key::SortKey;
use crate::store::database::column::text;
use crate::store::database::sort_columns::{self, KEY, sort_key};
use crate::store::error::StoreError;
use crate::store::index::{self, rank};

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
}

/// As a row of a list: the contract's five members in its order.
impl Serialize for StoredMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("message", 5)?;
        fields.serialize_field("message_id", &self.message_id)?;
        fields.serialize_field("from", &self.from)?;
        fields.serialize_field("to", &self.to)?;
        fields.serialize_field("ts", &self.ts)?;
        fields.serialize_field("text", &self.text)?;
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
pub(in crate::store) fn read(snapshot: Snapshot<'_>, query: &PageQuery) -> Result<Page, StoreError> {
    let Snapshot { connection, watermarks, .. } = snapshot;
    let filter = &query.filter;
    let matches = filter.q.as_ref().map(|_| matches::find(snapshot, filter)).transpose()?;
    let total = match &matches {
        Some(matches) => matches.total,
        None => total::read(snapshot, filter)?,
    };
    let mut values = Values::new(filter, watermarks);
    values.limit = i64::from(query.limit) + 1;
    values.offset = query.offset;
    if let Some(cursor) = &query.after {
        values.start = values.start.max(start_at(connection, cursor)?);
    }
    // The tail is sorted in memory, as far as the page lies in it.
    if query.offset.unsigned_abs() > MAX_SORTED
        && in_tail(snapshot, &Values::new(filter, watermarks))? > MAX_SORTED
    {
        return Err(StoreError::TooSlow);
    }
    let found = match matches {
        Some(Matches { places: Some(places), .. }) => look_up(connection, &places, &values)?,
        Some(Matches { source, .. }) => {
            let wanted = query.offset.unsigned_abs().saturating_add(query.limit.into());
            select(snapshot, source.for_rows(filter, total, wanted, watermarks), &values)?
        }
        None => {
            if filter.from.is_none() && query.after.is_none() && query.offset > WALKED_OFFSET {
                skip(snapshot, &mut values)?;
            }
            select(snapshot, Source::in_order(filter), &values)?
        }
    };
    // One more than the page holds, and each of them is there: so this alone says whether more follow.
    let limit = query.limit as usize;
    let next = match found.get(limit.saturating_sub(1)..) {
        Some([(_, last), (_, next), ..]) => Some(Cursor::between(last, next)),
        _ => None,
    };
    let rows = found.into_iter().take(limit).map(|(row, _)| row).collect();
    Ok(Page { rows, total, next })
}

/// Where a walk goes on.
fn start_at(connection: &Connection, cursor: &Cursor) -> Result<Start, StoreError> {
    let LongPlace { cut, last, next } = match cursor {
        Cursor::Behind(key) => return Ok(Start::after(key.clone())),
        Cursor::BehindLong(place) => place,
    };
    let standing = |row| sort_columns::sort_key_at(connection, row);
    if let Some(key) = standing(last.row)?.filter(|key| last.is(key)) {
        return Ok(Start::after(SortKey { row: i64::MAX, ..key }));
    }
    if let Some(key) = standing(next.row)?.filter(|key| next.is(key)) {
        return Ok(Start::with(key));
    }
    Ok(Start::with(cut.clone()))
}

/// Replaces most of a large offset by a start behind the rows that it passes over.
fn skip(snapshot: Snapshot<'_>, values: &mut Values<'_>) -> Result<(), StoreError> {
    let connection = snapshot.connection;
    let tail = in_tail(snapshot, values)?;
    let passed = rank::before(connection, &values.start.key)?;
    // Any of the tail may lie before the page; so many indexed rows certainly do.
    let certain = values.offset.unsigned_abs().saturating_sub(tail);
    let (block, before) = rank::seek(connection, passed + certain)?;
    if before > passed {
        values.start = Start::with(block);
        let skipped = (before - passed).checked_add(tail).zip(Some(in_tail(snapshot, values)?));
        let skipped = skipped.and_then(|(skipped, left)| skipped.checked_sub(left));
        match skipped.filter(|skipped| *skipped <= values.offset.unsigned_abs()) {
            Some(skipped) => values.offset -= skipped as i64,
            None => {
                return Err(index::is_wrong("more messages come before a page than its offset passes over"));
            }
        }
    }
    Ok(())
}

/// Messages in their order.
type PageRows = Vec<(StoredMessage, SortKey)>;

pub(in crate::store) const COLUMNS: &str =
    "m.message_id, m.from_msisdn, m.to_msisdn, m.ts, m.text, m.created_at, m.rowid";

/// Up to `values.limit` rows of a source.
fn select(snapshot: Snapshot<'_>, source: Source, values: &Values<'_>) -> Result<PageRows, StoreError> {
    let connection = snapshot.connection;
    let [indexed, tail] = source.arms(values);
    let Some(places) = snapshot.places else {
        return select_from(connection, &[indexed, tail], values);
    };
    if places.matching(values).next().is_none() {
        return select_from(connection, &[indexed], values);
    }
    let keys = merge(connection, &indexed, places, values)?;
    fetch(connection, keys, values.filter())
}

fn select_from(connection: &Connection, arms: &[Arm], values: &Values<'_>) -> Result<PageRows, StoreError> {
    let places = arms.iter().map(Arm::places).collect::<Vec<_>>().join(" UNION ALL ");
    // A place whose message is gone must be seen, not left out.
    let sql = format!(
        "SELECT {COLUMNS}, place.instant, place.message_id, place.message_row FROM ({places} ORDER BY {KEY} LIMIT :limit OFFSET :offset) AS place \
         LEFT JOIN messages AS m ON m.rowid = place.message_row"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    values.bind(&mut statement)?;
    let mut found = statement.raw_query();
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let key = sort_key(row, 7)?;
        rows.push((message_at(row, &key, values.filter())?, key));
    }
    // They come so already, but to ask SQLite for it has it copy every text once more.
    rows.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(rows)
}

/// The places of the messages on the page, of an arm and a tail.
fn merge(
    connection: &Connection,
    indexed: &Arm,
    tail: &Places,
    values: &Values<'_>,
) -> Result<Vec<SortKey>, StoreError> {
    let offset = usize::try_from(values.offset).unwrap_or(usize::MAX);
    let limit = values.limit as usize;
    let mut in_arm = values.clone();
    in_arm.limit = values.limit.saturating_add(values.offset);
    let sql = format!("{} ORDER BY {KEY} LIMIT :limit", indexed.places());
    let mut statement = connection.prepare_cached(&sql)?;
    in_arm.bind(&mut statement)?;
    let mut found = statement.raw_query();
    let mut next_indexed =
        || -> rusqlite::Result<_> { found.next()?.map(|row| sort_key(row, 0)).transpose() };
    let mut newest = tail.matching(values).peekable();
    let mut indexed = next_indexed()?;
    let mut keys = Vec::new();
    for passed in 0.. {
        let from_tail = match (&indexed, newest.peek()) {
            (Some(indexed), Some(newest)) => *newest < indexed,
            (None, None) => break,
            (indexed, _) => indexed.is_none(),
        };
        let key = match from_tail {
            true => newest.next().cloned(),
            false => std::mem::replace(&mut indexed, next_indexed()?),
        };
        keys.extend(key.filter(|_| passed >= offset));
        if keys.len() == limit {
            break;
        }
    }
    Ok(keys)
}

/// Up to `values.limit` rows whose places are known.
fn look_up(connection: &Connection, places: &[SortKey], values: &Values<'_>) -> Result<PageRows, StoreError> {
    let first = match &values.start {
        Start { key, after: true } => places.partition_point(|other| other <= key),
        Start { key, after: false } => places.partition_point(|other| other < key),
    };
    let offset = usize::try_from(values.offset).unwrap_or(usize::MAX);
    let wanted = places.iter().skip(first).skip(offset).take(values.limit as usize);
    fetch(connection, wanted.cloned().collect(), values.filter())
}

fn fetch(connection: &Connection, keys: Vec<SortKey>, filter: &Filter) -> Result<PageRows, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM messages AS m WHERE m.rowid = ?1"))?;
    let one = |key: SortKey| {
        let mut found = statement.query([key.row])?;
        let row = found.next()?.ok_or_else(|| no_message_at(&key))?;
        Ok((message_at(row, &key, filter)?, key))
    };
    keys.into_iter().map(one).collect()
}

fn no_message_at(key: &SortKey) -> StoreError {
    index::is_wrong(&format!("the message that it has at row {} is not there", key.row))
}

/// The message in a row, which has to be the one that the order has there.
fn message_at(row: &Row<'_>, key: &SortKey, filter: &Filter) -> Result<StoredMessage, StoreError> {
    let is_it = row.get_ref(6)? == ValueRef::Integer(key.row)
        && sort_columns::is_key_of(key, row.get_ref(3)?, row.get_ref(0)?);
    let is_of_sender = match (&filter.from, row.get_ref(1)?) {
        (Some(from), ValueRef::Text(sender) | ValueRef::Blob(sender)) => from.as_bytes() == sender,
        _ => true,
    };
    if is_it && is_of_sender { Ok(stored_message(row)?) } else { Err(no_message_at(key)) }
}

pub(in crate::store) fn stored_message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let required = |column: usize| text(row, column).map(Option::unwrap_or_default);
    Ok(StoredMessage {
        message_id: required(0)?,
        from: required(1)?,
        to: required(2)?,
        ts: required(3)?,
        text: text(row, 4)?,
        created_at: text(row, 5)?,
    })
}
