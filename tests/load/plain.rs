//! The contract in plain SQL, as an earlier implementation would write it: the table, its two
//! indexes, and a query for each question. What the service is compared with and checked against.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Statement, params_from_iter};
use serde_json::{Value, json};

use crate::Failure;
use crate::corpus::Row;
use crate::requests::{Question, Search};

pub(crate) const TABLE: &str = "CREATE TABLE messages (message_id TEXT PRIMARY KEY,
  from_msisdn TEXT NOT NULL, to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT,
  created_at TEXT NOT NULL)";
pub(crate) const INDEXES: &str = "CREATE INDEX by_ts ON messages (ts, message_id);
  CREATE INDEX by_sender ON messages (from_msisdn, ts, message_id)";
pub(crate) const INSERT: &str =
    "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (message_id) DO NOTHING";

pub(crate) fn insert(statement: &mut Statement<'_>, row: &Row) -> rusqlite::Result<()> {
    let Row { message_id, from, to, ts, text, created_at } = row;
    statement.execute((message_id, from, to, ts, text, created_at)).map(drop)
}

pub(crate) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT COUNT(*) FROM messages", [], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

/// What SQL finds: as much as a service would have to render.
pub(crate) enum Found {
    Page { total: i64, rows: Vec<[Option<String>; 6]> },
    Stats { total: i64, senders: i64, top: Vec<(String, i64)>, first: Option<String>, last: Option<String> },
}

impl Found {
    /// In the one form in which answers are compared.
    pub(crate) fn canonical(&self) -> Value {
        match self {
            Self::Page { total, rows } => {
                let ids: Vec<_> = rows.iter().map(|row| &row[0]).collect();
                json!({ "total": total, "ids": ids })
            }
            Self::Stats { total, senders, top, first, last } => {
                json!({ "total": total, "senders": senders, "top": top, "first": first, "last": last })
            }
        }
    }
}

pub(crate) fn ask(connection: &Connection, question: &Question) -> Result<Option<Found>, Failure> {
    Ok(match question {
        Question::Page(search) | Question::Cursor(search) => Some(page(connection, search)?),
        Question::Stats => Some(stats(connection)?),
        Question::Probe(_) => None,
    })
}

fn page(connection: &Connection, search: &Search) -> rusqlite::Result<Found> {
    let mut conditions = String::from("1");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let like = search.q.as_ref().map(|q| format!("%{q}%"));
    let filters = [("from_msisdn =", &search.from), ("ts >=", &search.since), ("text LIKE", &like)];
    for (condition, value) in &filters {
        if let Some(value) = value {
            conditions.push_str(&format!(" AND {condition} ?"));
            values.push(value);
        }
    }
    let total = connection
        .prepare_cached(&format!("SELECT COUNT(*) FROM messages WHERE {conditions}"))?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    let (limit, offset) = (i64::from(search.limit), search.offset as i64);
    values.extend([&limit as &dyn ToSql, &offset]);
    let mut select = connection.prepare_cached(&format!(
        "SELECT message_id, from_msisdn, to_msisdn, ts, text, created_at FROM messages
         WHERE {conditions} ORDER BY ts, message_id LIMIT ? OFFSET ?"
    ))?;
    let found = select.query_map(params_from_iter(&values), |row| {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?])
    })?;
    Ok(Found::Page { total, rows: found.collect::<Result<_, _>>()? })
}

fn stats(connection: &Connection) -> rusqlite::Result<Found> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
    let total = one("SELECT COUNT(*) FROM messages")?;
    let senders = one("SELECT COUNT(DISTINCT from_msisdn) FROM messages")?;
    let mut busiest = connection.prepare_cached(
        "SELECT from_msisdn, COUNT(*) AS count FROM messages GROUP BY from_msisdn
         ORDER BY count DESC, from_msisdn LIMIT 10",
    )?;
    let top = busiest.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let (first, last) = connection
        .prepare_cached("SELECT MIN(ts), MAX(ts) FROM messages")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Found::Stats { total, senders, top, first, last })
}
