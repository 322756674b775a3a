//! Where the messages that match a filter are found, and the SQL for it: arms that together name
//! every one of them once.
//!
//! Parameters have names, each with one meaning in every statement, so that arms can be put together freely.

use std::borrow::Cow;

use rusqlite::{CachedStatement, ToSql};

use crate::filter::Filter;
use crate::limits::{MAX_SORTED, PROPOSED_SHARE};
use crate::sort_key::SortKey;
use crate::store::database::sort_columns::{INSTANT, MESSAGE_ID, SENDER, key_of_message};
use crate::store::index::search::Question;
use crate::store::index::{Watermarks, first_behind};

/// What is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The order of all messages, and the tail.
    Order,
    /// One sender's messages in their order, and the tail.
    Sender,
    /// What the search index proposes, and the rows behind its watermark.
    Proposed,
    /// The table, row by row.
    Table,
}

/// From where on messages count: a place, itself included or not. In the order of that.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    pub(super) key: SortKey,
    pub(super) after: bool,
}

impl Start {
    /// With the first message at an instant.
    pub(super) fn at(instant: &str) -> Self {
        Self::with(SortKey { instant: instant.into(), ..SortKey::default() })
    }

    pub(super) fn with(key: SortKey) -> Self {
        Self { key, after: false }
    }

    pub(super) fn after(key: SortKey) -> Self {
        Self { key, after: true }
    }

    fn is_beginning(&self) -> bool {
        *self == Self::default()
    }

    /// An instant alone decides.
    fn is_instant(&self) -> bool {
        !self.after && self.key == SortKey { instant: self.key.instant.clone(), ..SortKey::default() }
    }
}

/// One SELECT of places.
pub(in crate::store) struct Arm {
    /// Expressions for the sort key of a message.
    columns: String,
    from: String,
    conditions: Vec<Cow<'static, str>>,
}

impl Arm {
    pub(super) fn places(&self) -> String {
        format!("SELECT {} FROM {} WHERE {}", self.columns, self.from, self.conditions.join(" AND "))
    }

    /// One SELECT of how many they are.
    pub(super) fn count(&self) -> String {
        format!("SELECT COUNT(*) FROM {} WHERE {}", self.from, self.conditions.join(" AND "))
    }

    /// One SELECT of something else, of rows of the table itself, in the order of their numbers.
    pub(in crate::store) fn rows_in_turn(&self, columns: &str) -> String {
        // An index on the sender, as old files have one, would bring them in another order.
        let conditions = self.conditions.join(" AND ");
        format!("SELECT {columns} FROM {} NOT INDEXED WHERE {conditions} ORDER BY m.rowid", self.from)
    }

    fn and(mut self, condition: impl Into<Cow<'static, str>>) -> Self {
        self.conditions.push(condition.into());
        self
    }
}

/// Rows that the order does not know yet.
pub(super) const UNORDERED: &str = "m.rowid >= :unordered_from";

/// The values of a statement's parameters.
#[derive(Clone)]
pub(in crate::store) struct Values<'a> {
    filter: &'a Filter,
    watermarks: Watermarks,
    question: Option<Question>,
    all_trigrams: Option<String>,
    pub(super) start: Start,
    pub(super) limit: i64,
    pub(super) offset: i64,
    /// A row that is named by itself,
    pub(in crate::store) row: i64,
    /// and one up to which rows count.
    pub(in crate::store) through: i64,
}

impl<'a> Values<'a> {
    /// For everything that matches, from the filter's own start on.
    pub(in crate::store) fn new(filter: &'a Filter, watermarks: &Watermarks) -> Self {
        let start = filter.since.as_ref().map(|since| Start::at(since.as_str())).unwrap_or_default();
        let question = filter.q.as_ref().and_then(|q| Question::new(q.as_str()));
        let all_trigrams = question.as_ref().map(Question::all);
        Self {
            filter,
            watermarks: *watermarks,
            question,
            all_trigrams,
            start,
            limit: -1,
            offset: 0,
            row: 0,
            through: i64::MAX,
        }
    }

    pub(super) fn filter(&self) -> &'a Filter {
        self.filter
    }

    /// What to ask the search index, if it can have something to say.
    pub(super) fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// Gives a statement those of the values that it names.
    pub(in crate::store) fn bind(&self, statement: &mut CachedStatement<'_>) -> rusqlite::Result<()> {
        let q = self.filter.q.as_ref().map(|q| q.as_str());
        let unordered_from = first_behind(self.watermarks.ordered_through);
        let unsearchable_from = first_behind(self.watermarks.searchable_through);
        for index in 1..=statement.parameter_count() {
            let value: &dyn ToSql = match statement.parameter_name(index) {
                Some(":from") => &self.filter.from,
                Some(":instant") => &self.start.key.instant,
                Some(":message_id") => &self.start.key.message_id,
                Some(":message_row") => &self.start.key.row,
                Some(":q") => &q,
                Some(":unordered_from") => &unordered_from,
                Some(":unsearchable_from") => &unsearchable_from,
                Some(":trigrams") => &self.all_trigrams,
                Some(":limit") => &self.limit,
                Some(":offset") => &self.offset,
                Some(":row") => &self.row,
                Some(":through") => &self.through,
                other => {
                    return Err(rusqlite::Error::InvalidParameterName(other.unwrap_or_default().to_owned()));
                }
            };
            statement.raw_bind_parameter(index, value)?;
        }
        Ok(())
    }
}

impl Source {
    /// The source that has these messages in their order.
    pub(super) fn in_order(filter: &Filter) -> Self {
        if filter.from.is_some() { Self::Sender } else { Self::Order }
    }

    /// From where the first `wanted` of `total` matches are read in their order: where many match,
    /// going through the order finds them soon; where few do, they are gathered and sorted.
    pub(super) fn for_rows(self, filter: &Filter, total: u64, wanted: u64, watermarks: &Watermarks) -> Self {
        // Of so many rows in the order, looked up one by one, one matches.
        let apart = watermarks.ordered / total.max(1);
        let lookups = apart.saturating_mul(wanted);
        let few_lookups = self == Self::Table && lookups < watermarks.ordered / PROPOSED_SHARE;
        // What is gathered and sorted is held in memory.
        let walk = few_lookups || total.min(wanted) > MAX_SORTED;
        if walk { Self::in_order(filter) } else { self }
    }

    /// The last row that the index has for it.
    pub(super) fn watermark(self, watermarks: &Watermarks) -> Option<i64> {
        if self == Self::Proposed { watermarks.searchable_through } else { watermarks.ordered_through }
    }

    /// The arms for what `values` ask: the index, and the tail.
    pub(super) fn arms(self, values: &Values<'_>) -> [Arm; 2] {
        let indexed = match self {
            Self::Order => from_index(values, "messages_order AS d"),
            Self::Sender => from_index(values, "messages_of_sender AS d").and("d.sender = :from"),
            Self::Proposed => {
                let proposed =
                    "m.rowid IN (SELECT rowid FROM messages_search WHERE messages_search MATCH :trigrams)";
                rows(values, proposed).and("m.rowid < :unsearchable_from")
            }
            Self::Table => rows(values, "m.rowid < :unordered_from"),
        };
        let tail = if self == Self::Proposed { "m.rowid >= :unsearchable_from" } else { UNORDERED };
        [indexed, rows(values, tail)]
    }
}

fn from_index(values: &Values<'_>, table: &str) -> Arm {
    let columns = "d.instant AS instant, d.message_id AS message_id, d.message_row AS message_row".to_owned();
    let arm = Arm { columns, from: table.to_owned(), conditions: Vec::new() };
    let than = if values.start.after { ">" } else { ">=" };
    let arm = arm.and(format!(
        "(d.instant, d.message_id, d.message_row) {than} (:instant, :message_id, :message_row)"
    ));
    if values.filter.q.is_none() {
        return arm;
    }
    let from = format!("{table} CROSS JOIN messages AS m ON m.rowid = d.message_row");
    Arm { from, ..arm }.and(HAS_WORD)
}

const HAS_WORD: &str = "contains_folded(CAST(m.text AS BLOB), :q)";

/// Rows of the table itself, every condition of the filter tested on each.
pub(in crate::store) fn rows(values: &Values<'_>, which: &'static str) -> Arm {
    let mut arm =
        Arm { columns: key_of_message(), from: "messages AS m".to_owned(), conditions: vec![which.into()] };
    if values.filter.from.is_some() {
        arm = arm.and(format!("{SENDER} = :from"));
    }
    if values.start.is_instant() && !values.start.is_beginning() {
        arm = arm.and(format!("{INSTANT} >= :instant"));
    } else if !values.start.is_beginning() {
        let than = if values.start.after { ">" } else { ">=" };
        arm = arm
            .and(format!("({INSTANT}, {MESSAGE_ID}, m.rowid) {than} (:instant, :message_id, :message_row)"));
    }
    if values.filter.q.is_some() { arm.and(HAS_WORD) } else { arm }
}
