//! The feed reads messages in the order in which they were stored, which is that of their row numbers (contract, section 12).
//!
//! One writer at a time gives the numbers inside its transaction, so a snapshot that shows one shows all before it.
//! A page is a range of the table, which no index is asked for. The cursor that it goes on from is checked in the same
//! snapshot: what does not fit is an [`Unfit`], never a gap.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::originals::{Original, Originals};
use super::page::{StoredMessage, stored_message};
use crate::feed_cursor::{FeedCursor, fingerprint};
use crate::store::error::StoreError;

/// Bytes of messages on one page, after which it ends: a thousand texts of 4096 ASCII characters fit.
const MAX_PAGE_BYTES: usize = 5 << 20;

/// Messages that are counted for the lag of a consumer; past them their numbers say it.
const MAX_COUNTED_LAG: i64 = 1000;

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedStart {
    Beginning,
    /// Behind the newest message.
    Now,
    After(FeedCursor),
}

/// Which page of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeedRange {
    pub start: FeedStart,
    pub limit: u32,
    /// With what WhatsApp sent.
    pub originals: bool,
}

/// A page of the feed.
#[derive(Debug, PartialEq)]
pub struct FeedRows {
    /// Each with its own cursor.
    pub rows: Vec<(StoredMessage, FeedCursor)>,
    /// Where to go on.
    pub cursor: FeedCursor,
    /// Messages follow that were there already.
    pub more: bool,
}

/// Why a cursor does not fit the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is of another store, or of this one before a restore.
    OtherStore,
    /// The store was put back from a copy, and may have taken other messages since.
    OtherHistory,
    /// The last row number that there is has been given: SQLite gives others by chance, and there is no order.
    NoOrder,
}

/// Reads a page.
pub fn read(connection: &Connection, range: FeedRange) -> Result<Result<FeedRows, Unfit>, StoreError> {
    let order = OrderEnd::read(connection)?;
    if order.head() == i64::MAX {
        return Ok(Err(Unfit::NoOrder));
    }
    let start = match range.start {
        FeedStart::Beginning => order.cursor_at(connection, FeedCursor::BEGINNING)?,
        FeedStart::Now => order.cursor_at(connection, order.end())?,
        FeedStart::After(cursor) => match order.unfit(connection, cursor)? {
            Some(unfit) => return Ok(Err(unfit)),
            None => cursor,
        },
    };
    let rows = rows(connection, &order, start, range)?;
    let cursor = rows.last().map_or(start, |(_, cursor)| *cursor);
    let more = order.last.is_some_and(|last| cursor.position < last);
    Ok(Ok(FeedRows { rows, cursor, more }))
}

/// How many messages there are behind each position: exact where there are few; of more, what their numbers say, which
/// counts those that are gone as well.
pub fn lags(connection: &Connection, positions: &[i64]) -> Result<Vec<u64>, StoreError> {
    let ends = "SELECT (SELECT min(rowid) FROM messages), (SELECT max(rowid) FROM messages)";
    let (first, last): (Option<i64>, Option<i64>) =
        connection.prepare_cached(ends)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM messages WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)",
    )?;
    let mut lag = |position: &i64| {
        let counted: i64 = statement.query_row((position, MAX_COUNTED_LAG + 1), |row| row.get(0))?;
        Ok(match (counted > MAX_COUNTED_LAG, first, last) {
            (true, Some(first), Some(last)) => last.abs_diff((*position).max(first.saturating_sub(1))),
            _ => counted.unsigned_abs(),
        })
    };
    positions.iter().map(&mut lag).collect()
}

/// The end of the order, as a snapshot or a transaction finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderEnd {
    pub store: i64,
    /// The last row, if there is any.
    pub last: Option<i64>,
    /// Under it nothing is stored again.
    pub floor: i64,
    /// The last row that stood when the floor was raised.
    pub standing: i64,
    /// Others have put rows between that one and the floor.
    pub has_intruders: bool,
}

/// An epoch, and the first row of the next one.
struct Span {
    epoch: i64,
    end: Option<i64>,
}

impl OrderEnd {
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT store, (SELECT max(rowid) FROM messages), floor, standing, \
                EXISTS (SELECT 1 FROM messages WHERE rowid > standing AND rowid <= floor) FROM messages_feed",
        )?;
        statement.query_row([], |row| {
            Ok(Self {
                store: row.get(0)?,
                last: row.get(1)?,
                floor: row.get(2)?,
                standing: row.get(3)?,
                has_intruders: row.get(4)?,
            })
        })
    }

    /// The highest number that was ever given, as far as it matters.
    pub fn head(&self) -> i64 {
        self.last.unwrap_or(0).max(self.floor)
    }

    /// Behind everything. Not above a number that others may give.
    fn end(&self) -> i64 {
        self.last.filter(|_| self.has_intruders).unwrap_or(self.head())
    }

    /// A cursor behind whatever stands, or stood, at a position.
    fn cursor_at(&self, connection: &Connection, position: i64) -> rusqlite::Result<FeedCursor> {
        let Span { epoch, .. } = Span::at(connection, position)?;
        let fingerprint = self.fingerprint_at(connection, position)?.unwrap_or(0);
        Ok(FeedCursor { store: self.store, position, epoch, fingerprint })
    }

    /// `None` where no message stands there.
    fn fingerprint_at(&self, connection: &Connection, position: i64) -> rusqlite::Result<Option<u32>> {
        let mut statement = connection.prepare_cached("SELECT message_id FROM messages WHERE rowid = ?1")?;
        statement.query_row([position], |row| of_id(self.store, row, 0)).optional()
    }

    fn unfit(&self, connection: &Connection, cursor: FeedCursor) -> rusqlite::Result<Option<Unfit>> {
        if cursor.store != self.store {
            return Ok(Some(Unfit::OtherStore));
        }
        let is_fit = cursor.position <= self.head()
            && Span::at(connection, cursor.position)?.epoch == cursor.epoch
            && match self.fingerprint_at(connection, cursor.position)? {
                Some(standing) => standing == cursor.fingerprint,
                // Where it has gone, those whom others have put in may have come before it.
                None => !self.has_intruders || cursor.position <= self.standing,
            };
        Ok((!is_fit).then_some(Unfit::OtherHistory))
    }
}

impl Span {
    /// The epoch of a position.
    fn at(connection: &Connection, position: i64) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT epoch, (SELECT min(first_row) FROM messages_epochs WHERE first_row > ?1) FROM messages_epochs \
             WHERE first_row <= ?1 ORDER BY first_row DESC LIMIT 1",
        )?;
        statement.query_row([position], |row| Ok(Self { epoch: row.get(0)?, end: row.get(1)? }))
    }
}

fn rows(
    connection: &Connection,
    order: &OrderEnd,
    start: FeedCursor,
    range: FeedRange,
) -> rusqlite::Result<Vec<(StoredMessage, FeedCursor)>> {
    let originals = Originals::new(connection, range.originals)?;
    let mut statement = connection.prepare_cached(
        "SELECT message_id, from_msisdn, to_msisdn, ts, text, created_at, rowid FROM messages \
         WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
    )?;
    let mut found = statement.query((start.position, range.limit))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut span: Option<Span> = None;
    while let Some(row) = found.next()? {
        let position = row.get(6)?;
        let current = match span.take().filter(|span| span.end.is_none_or(|end| position < end)) {
            Some(span) => span,
            None => Span::at(connection, position)?,
        };
        let epoch = span.insert(current).epoch;
        let fingerprint = of_id(order.store, row, 0)?;
        let mut message = stored_message(row)?;
        message.original = originals.of(&message.message_id)?;
        bytes += message.message_id.len() + message.text.as_ref().map_or(0, String::len);
        bytes += message.original.as_ref().map_or(0, Original::len);
        rows.push((message, FeedCursor { store: order.store, position, epoch, fingerprint }));
        if bytes >= MAX_PAGE_BYTES {
            break;
        }
    }
    Ok(rows)
}

/// Of the id as it stands there: an old file may hold anything.
fn of_id(store: i64, row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(id) | ValueRef::Blob(id) => fingerprint(store, id),
        ValueRef::Null => fingerprint(store, b""),
        ValueRef::Integer(id) => fingerprint(store, &id.to_be_bytes()),
        ValueRef::Real(id) => fingerprint(store, &id.to_be_bytes()),
    })
}
