//! A selection is the SQL for the messages that match a filter from a place on: `indexed UNION ALL tail`.
//!
//! Parameters have names, each with one meaning in every statement. Statements name the table of messages `m`,
//! and one of the index `d`.

use std::ops::RangeInclusive;
use std::rc::Rc;

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, ToSql};

use crate::filter::Filter;
use crate::sort_key::SortKey;
use crate::store::database::sort_columns::{INSTANT, MESSAGE_ID, SENDER, key_of_message};
use crate::store::index::texts;

/// Where the matches are found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// In the order, all messages' or one sender's, and in the part of the tail that is not remembered.
    Order,
    /// In the rows of these numbers.
    Proposed(Rc<Vec<Value>>),
    /// In the table, row by row.
    Table,
}

const HAS_WORD: &str = "contains_folded(CAST(m.text AS BLOB), :q)";

/// Which of the matches one statement is about, as far as it names them.
#[derive(Clone)]
pub struct Window {
    /// The first place that counts.
    pub start: SortKey,
    /// The rows that count.
    pub rows: RangeInclusive<i64>,
    pub limit: i64,
    pub offset: i64,
}

/// A filter, and the first row that neither the order knows nor the memory of the tail, if there may be one.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    pub(super) filter: &'a Filter,
    unread_from: Option<i64>,
}

impl<'a> Selection<'a> {
    pub fn new(filter: &'a Filter, unread_from: Option<i64>) -> Self {
        Self { filter, unread_from }
    }

    /// Everything that matches.
    pub fn all(&self) -> Window {
        let since = self.filter.since.as_ref().map(|since| SortKey::first_at(since.as_str()));
        Window { start: since.unwrap_or_default(), rows: i64::MIN..=i64::MAX, limit: -1, offset: 0 }
    }

    /// The sort keys of what a source has in a window, `arranged` by what follows the SELECT.
    pub(super) fn places<'c>(
        &self,
        connection: &'c Connection,
        source: &Source,
        window: &Window,
        arranged: &str,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        let places = format!("{} {arranged}", self.in_source(source, window));
        match source {
            Source::Proposed(rows) => self.bind(connection, &places, window, rows),
            Source::Order | Source::Table => self.prepare(connection, &places, window),
        }
    }

    fn in_source(&self, source: &Source, window: &Window) -> String {
        let key = key_of_message();
        let in_table = |which: &str| self.in_table(&key, which, window);
        let key_in_index = "d.instant AS instant, d.message_id AS message_id, d.message_row AS message_row";
        match source {
            Source::Order => match self.in_unread(&key, window) {
                Some(unread) => format!("{} UNION ALL {unread}", self.in_order(key_in_index)),
                None => self.in_order(key_in_index),
            },
            Source::Proposed(_) => in_table("m.rowid IN (SELECT value FROM rarray(:proposed))"),
            Source::Table => in_table("TRUE"),
        }
    }

    /// A SELECT from the order, all messages' or one sender's.
    pub(super) fn in_order(&self, columns: &str) -> String {
        let (table, sender) = match self.filter.from {
            Some(_) => ("messages_of_sender", "d.sender = :from AND"),
            None => ("messages_order", ""),
        };
        let (messages, word) = match self.filter.q {
            Some(_) => ("CROSS JOIN messages AS m ON m.rowid = d.message_row", format!("AND {HAS_WORD}")),
            None => ("", String::new()),
        };
        format!(
            "SELECT {columns} FROM {table} AS d {messages} WHERE {sender} \
             (d.instant, d.message_id, d.message_row) >= (:instant, :message_id, :message_row) {word}"
        )
    }

    /// A SELECT from the rows that neither the order knows nor the memory of the tail, if there may be any.
    pub(super) fn in_unread(&self, columns: &str, window: &Window) -> Option<String> {
        self.unread_from.map(|_| self.in_table(columns, "m.rowid >= :unread_from", window))
    }

    /// A SELECT from some rows of the table itself, every condition of the filter tested on each.
    pub fn in_table(&self, columns: &str, which: &str, window: &Window) -> String {
        let mut conditions = vec![which.to_owned()];
        if self.filter.from.is_some() {
            conditions.push(format!("{SENDER} = :from"));
        }
        if window.start != SortKey::default() {
            conditions
                .push(format!("({INSTANT}, {MESSAGE_ID}, m.rowid) >= (:instant, :message_id, :message_row)"));
        }
        if self.filter.q.is_some() {
            conditions.push(HAS_WORD.to_owned());
        }
        // An index on the sender, as old files have one, would only bring rows in another order.
        format!("SELECT {columns} FROM messages AS m NOT INDEXED WHERE {}", conditions.join(" AND "))
    }

    /// Compiles a statement and gives it those of the values that it names.
    pub fn prepare<'c>(
        &self,
        connection: &'c Connection,
        sql: &str,
        window: &Window,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        self.bind(connection, sql, window, &Rc::default())
    }

    fn bind<'c>(
        &self,
        connection: &'c Connection,
        sql: &str,
        window: &Window,
        proposed: &Rc<Vec<Value>>,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        let mut statement = connection.prepare_cached(sql)?;
        let word = self.filter.q.as_ref().map(|q| q.as_str());
        for index in 1..=statement.parameter_count() {
            let value: &dyn ToSql = match statement.parameter_name(index).unwrap_or_default() {
                ":from" => &self.filter.from,
                ":q" => &word,
                ":instant" => &window.start.instant,
                ":message_id" => &window.start.message_id,
                ":message_row" => &window.start.row,
                ":unread_from" => &self.unread_from,
                ":proposed" => proposed,
                ":limit" => &window.limit,
                ":offset" => &window.offset,
                ":from_row" => window.rows.start(),
                ":through" => window.rows.end(),
                other => return Err(rusqlite::Error::InvalidParameterName(other.to_owned())),
            };
            statement.raw_bind_parameter(index, value)?;
        }
        Ok(statement)
    }

    /// True if the message at a place has the word of the filter, if that has one.
    pub(super) fn has_word(&self, connection: &Connection, place: &SortKey) -> rusqlite::Result<bool> {
        self.filter.q.as_ref().map_or(Ok(true), |word| texts::has_word(connection, word, place.row))
    }

    /// Counts in the table from the first row of the window on.
    pub(super) fn count_in_table(&self, connection: &Connection, window: &Window) -> rusqlite::Result<u64> {
        self.number(connection, &self.in_table("COUNT(*)", "m.rowid >= :from_row", window), window)
    }

    /// The one number that a SELECT gives.
    pub(super) fn number(
        &self,
        connection: &Connection,
        sql: &str,
        window: &Window,
    ) -> rusqlite::Result<u64> {
        let mut statement = self.prepare(connection, sql, window)?;
        let mut rows = statement.raw_query();
        let number = rows.next()?.map_or(Ok(0), |row| row.get::<_, i64>(0))?;
        Ok(number.unsigned_abs())
    }
}
