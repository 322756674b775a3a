//! One page of messages and the exact total, in the order of the contract (section 3): instant,
//! then id bytewise.
//!
//! Everything is read twice over: from the index, up to its mark, and from the rows of `messages`
//! behind the mark ([`super::index`]). Both are arms of one SQL statement.

use rusqlite::{Connection, Row};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::StoreError;
use super::column::text;
use super::index::rank::{self, Place};
use super::matches::{self, Matches};
use super::snapshot::{Places, Snapshot};
use super::source::{Arm, Source, Start, Values};
use super::total::{self, in_tail};
use crate::filter::{Cursor, PageQuery};
use crate::limits::{MOST_SORTED, WALKED_OFFSET};

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
pub(super) fn read(snapshot: Snapshot<'_>, query: &PageQuery) -> Result<Page, StoreError> {
    let Snapshot { connection, marks, .. } = snapshot;
    let filter = &query.filter;
    let matches = filter.q.as_ref().map(|_| matches::find(snapshot, filter)).transpose()?;
    let total = match &matches {
        Some(matches) => matches.total,
        None => total::read(snapshot, filter)?,
    };
    let mut values = Values::new(filter, marks);
    values.limit = i64::from(query.limit) + 1;
    values.offset = query.offset;
    if let Some(cursor) = &query.after {
        let Some(place) = place(connection, cursor)? else {
            return Ok(Page { rows: Vec::new(), total, next: None });
        };
        values.start = values.start.max(Start::after(place));
    }
    // The tail is sorted in memory, as far as the page lies in it.
    if query.offset.unsigned_abs() > MOST_SORTED
        && in_tail(snapshot, &Values::new(filter, marks))? > MOST_SORTED
    {
        return Err(StoreError::TooSlow);
    }
    let found = match matches {
        Some(Matches { places: Some(places), .. }) => look_up(connection, &places, &values)?,
        Some(Matches { source, .. }) => {
            let wanted = query.offset.unsigned_abs().saturating_add(query.limit.into());
            select(snapshot, source.for_rows(filter, total, wanted, marks), &values)?
        }
        None => {
            if filter.from.is_none() && query.after.is_none() && query.offset > WALKED_OFFSET {
                skip(snapshot, &mut values)?;
            }
            select(snapshot, Source::in_order(filter), &values)?
        }
    };
    let (mut rows, mut numbers) = found;
    let limit = query.limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    numbers.truncate(limit);
    let next = rows.last().zip(numbers.last()).filter(|_| more);
    let next = next.map(|(row, number)| Cursor::after(&row.ts, &row.message_id, *number));
    Ok(Page { rows, total, next })
}

/// Replaces most of a large offset by a start behind the rows that it passes over.
fn skip(snapshot: Snapshot<'_>, values: &mut Values<'_>) -> Result<(), StoreError> {
    let connection = snapshot.connection;
    let tail = in_tail(snapshot, values)?;
    let passed = rank::before(connection, &values.start.place)?;
    // Any of the tail may lie before the page; so many indexed rows certainly do.
    let certain = values.offset.unsigned_abs().saturating_sub(tail);
    let (block, before) = rank::seek(connection, passed + certain)?;
    if before > passed {
        values.start = Start { place: block, after: false };
        let skipped = (before - passed) + (tail - in_tail(snapshot, values)?);
        assert!(skipped <= values.offset.unsigned_abs(), "only rows before the page are passed over");
        values.offset -= skipped as i64;
    }
    Ok(())
}

/// Rows, and the table's row number of each.
type Found = (Vec<StoredMessage>, Vec<i64>);

pub(super) const COLUMNS: &str =
    "m.message_id, m.from_msisdn, m.to_msisdn, m.ts, m.text, m.created_at, m.rowid";

/// Up to `values.limit` rows of a source.
fn select(snapshot: Snapshot<'_>, source: Source, values: &Values<'_>) -> Result<Found, StoreError> {
    let connection = snapshot.connection;
    let [indexed, tail] = source.arms(values);
    let Some(places) = snapshot.places else {
        return select_from(connection, &[indexed, tail], values);
    };
    if places.matching(values).next().is_none() {
        return select_from(connection, &[indexed], values);
    }
    let numbers = merge(connection, &indexed, places, values)?;
    fetch(connection, numbers)
}

fn select_from(connection: &Connection, arms: &[Arm], values: &Values<'_>) -> Result<Found, StoreError> {
    let places = arms.iter().map(Arm::places).collect::<Vec<_>>().join(" UNION ALL ");
    let sql = format!(
        "SELECT {COLUMNS} \
         FROM ({places} ORDER BY instant, message_id LIMIT ?8 OFFSET ?9) AS place \
         CROSS JOIN messages AS m ON m.rowid = place.message_row ORDER BY place.instant, place.message_id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    values.bind(&mut statement)?;
    let mut found = statement.raw_query();
    let (mut rows, mut numbers) = (Vec::new(), Vec::new());
    while let Some(row) = found.next()? {
        rows.push(stored_message(row)?);
        numbers.push(row.get(6)?);
    }
    Ok((rows, numbers))
}

/// The numbers of the rows on the page, of an arm and a tail.
fn merge(
    connection: &Connection,
    indexed: &Arm,
    tail: &Places,
    values: &Values<'_>,
) -> Result<Vec<i64>, StoreError> {
    let offset = usize::try_from(values.offset).unwrap_or(usize::MAX);
    let limit = values.limit as usize;
    let mut in_arm = values.clone();
    in_arm.limit = values.limit.saturating_add(values.offset);
    let sql = format!("{} ORDER BY instant, message_id LIMIT ?8", indexed.places());
    let mut statement = connection.prepare_cached(&sql)?;
    in_arm.bind(&mut statement)?;
    let mut found = statement.raw_query();
    let mut next_indexed = || -> rusqlite::Result<_> { found.next()?.map(matches::place).transpose() };
    let mut newest = tail.matching(values).peekable();
    let mut indexed = next_indexed()?;
    let mut numbers = Vec::new();
    for passed in 0.. {
        let from_tail = match (&indexed, newest.peek()) {
            (Some((place, _)), Some((newest, _))) => *newest < place,
            (None, None) => break,
            (indexed, _) => indexed.is_none(),
        };
        let number = match from_tail {
            true => newest.next().map(|(_, row)| row),
            false => std::mem::replace(&mut indexed, next_indexed()?).map(|(_, row)| row),
        };
        numbers.extend(number.filter(|_| passed >= offset));
        if numbers.len() == limit {
            break;
        }
    }
    Ok(numbers)
}

/// Up to `values.limit` rows whose places are known.
fn look_up(
    connection: &Connection,
    places: &[(Place, i64)],
    values: &Values<'_>,
) -> Result<Found, StoreError> {
    let first = match &values.start {
        Start { place, after: true } => places.partition_point(|(other, _)| other <= place),
        Start { place, after: false } => places.partition_point(|(other, _)| other < place),
    };
    let offset = usize::try_from(values.offset).unwrap_or(usize::MAX);
    let wanted = places.iter().skip(first).skip(offset).take(values.limit as usize);
    fetch(connection, wanted.map(|(_, number)| *number).collect())
}

fn fetch(connection: &Connection, numbers: Vec<i64>) -> Result<Found, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM messages AS m WHERE m.rowid = ?1"))?;
    let rows = numbers.iter().map(|number| statement.query_row([number], stored_message));
    Ok((rows.collect::<rusqlite::Result<_>>()?, numbers))
}

/// The place that a cursor names, unless its row is gone.
fn place(connection: &Connection, cursor: &Cursor) -> Result<Option<Place>, StoreError> {
    let row = match cursor {
        Cursor::Place { instant, message_id } => {
            return Ok(Some(Place { instant: instant.clone(), message_id: message_id.clone() }));
        }
        Cursor::Row(row) => row,
    };
    let mut statement =
        connection.prepare_cached("SELECT rtrim(ts, 'Z.0'), message_id FROM messages WHERE rowid = ?1")?;
    let mut rows = statement.query([row])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let column = |column| text(row, column).map(Option::unwrap_or_default);
    Ok(Some(Place { instant: column(0)?, message_id: column(1)? }))
}

pub(super) fn stored_message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
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
