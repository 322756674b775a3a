//! One page of messages and the exact total, in the order of the contract (section 3): instant,
//! then id bytewise.

use rusqlite::types::{ToSql, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::StoreError;
use crate::filter::{Cursor, Filter, PageQuery};

/// A message as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    pub message_id: String,
    pub from: String,
    pub to: String,
    pub ts: String,
    pub text: Option<String>,
    pub created_at: String,
}

/// In the order in which the contract lists the fields.
impl Serialize for StoredMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("message", 6)?;
        fields.serialize_field("message_id", &self.message_id)?;
        fields.serialize_field("from", &self.from)?;
        fields.serialize_field("to", &self.to)?;
        fields.serialize_field("ts", &self.ts)?;
        fields.serialize_field("text", &self.text)?;
        fields.serialize_field("created_at", &self.created_at)?;
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

/// Reads a page. Total and rows agree if the connection is inside a transaction.
pub(super) fn read(connection: &Connection, query: &PageQuery) -> Result<Page, StoreError> {
    let total = count(connection, &query.filter)?;
    let (mut rows, mut places) = match &query.after {
        None => select(connection, query, None)?,
        Some(Cursor::Place { instant, message_id }) => {
            select(connection, query, Some((instant, message_id)))?
        }
        Some(Cursor::Row(row)) => match place_of_row(connection, *row)? {
            Some((instant, message_id)) => select(connection, query, Some((&instant, &message_id)))?,
            None => (Vec::new(), Vec::new()),
        },
    };
    let limit = query.limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    places.truncate(limit);
    let next = rows.last().zip(places.last()).filter(|_| more);
    let next = next.map(|(row, place)| Cursor::after(&row.ts, &row.message_id, *place));
    Ok(Page { rows, total, next })
}

fn count(connection: &Connection, filter: &Filter) -> Result<u64, StoreError> {
    let (conditions, values) = conditions(filter);
    let mut statement =
        connection.prepare_cached(&format!("SELECT COUNT(*) FROM messages WHERE {conditions}"))?;
    let total: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(total.unsigned_abs())
}

/// One row more than the page holds, if there is one, and the table's row number of each.
fn select(
    connection: &Connection,
    query: &PageQuery,
    after: Option<(&str, &str)>,
) -> Result<(Vec<StoredMessage>, Vec<i64>), StoreError> {
    const COLUMNS: &str =
        "rtrim(ts, 'Z.0') AS instant, message_id, from_msisdn, to_msisdn, ts, text, created_at, rowid";
    let (conditions, mut values) = conditions(&query.filter);
    let body = match after {
        None => format!("SELECT {COLUMNS} FROM messages WHERE {conditions}"),
        Some((instant, message_id)) => {
            values.push(Box::new(instant.to_owned()));
            values.push(Box::new(message_id.to_owned()));
            let (at, id) = (values.len() - 1, values.len());
            // Two ranges of the same index, so that neither many messages of one instant nor the
            // depth of the page make it slower.
            format!(
                "SELECT {COLUMNS} FROM messages WHERE {conditions} AND rtrim(ts, 'Z.0') = ?{at} AND message_id > ?{id} \
                 UNION ALL SELECT {COLUMNS} FROM messages WHERE {conditions} AND rtrim(ts, 'Z.0') > ?{at}"
            )
        }
    };
    values.push(Box::new(i64::from(query.limit) + 1));
    values.push(Box::new(query.offset));
    let (limit, offset) = (values.len() - 1, values.len());
    let sql = format!("{body} ORDER BY instant, message_id LIMIT ?{limit} OFFSET ?{offset}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    while let Some(row) = found.next()? {
        rows.push(stored_message(row)?);
        places.push(row.get(7)?);
    }
    Ok((rows, places))
}

fn place_of_row(connection: &Connection, row: i64) -> Result<Option<(String, String)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT rtrim(ts, 'Z.0'), message_id FROM messages WHERE rowid = ?1")?;
    let mut rows = statement.query([row])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some((text(row, 0)?.unwrap_or_default(), text(row, 1)?.unwrap_or_default())))
}

/// An SQL condition and the values of its parameters.
fn conditions(filter: &Filter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("1");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut and = |condition: &str, value: &str| {
        values.push(Box::new(value.to_owned()));
        sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(from) = &filter.from {
        and(" AND from_msisdn = ?", from);
    }
    if let Some(since) = &filter.since {
        and(" AND rtrim(ts, 'Z.0') >= ?", since.as_str());
    }
    if let Some(q) = &filter.q {
        and(" AND contains_folded(text, ?)", q.as_str());
    }
    (sql, values)
}

fn stored_message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let required = |column: usize| text(row, column).map(Option::unwrap_or_default);
    Ok(StoredMessage {
        message_id: required(1)?,
        from: required(2)?,
        to: required(3)?,
        ts: required(4)?,
        text: text(row, 5)?,
        created_at: required(6)?,
    })
}

/// A column as text. Files of earlier implementations may hold anything; what is no text is shown
/// as SQLite would write it.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
    })
}
