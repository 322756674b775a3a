//! Where the messages that match a filter are found, and the SQL for it: arms that together name
//! every one of them once.
//!
//! A value has the same number in every statement, so that arms can be put together freely.

use rusqlite::{CachedStatement, ToSql};

use super::index::Marks;
use super::index::rank::Place;
use super::index::search::Question;
use crate::filter::Filter;
use crate::limits::{MOST_SORTED, PROPOSED_SHARE};

/// What is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The order of all messages, and the tail.
    Order,
    /// One sender's messages in their order, and the tail.
    Sender,
    /// What the search index proposes, and the rows behind its mark.
    Proposed,
    /// The table, row by row.
    Table,
}

/// From where on messages count: a place, itself included or not. In the order of that.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    pub(super) place: Place,
    pub(super) after: bool,
}

impl Start {
    pub(super) fn at(instant: &str) -> Self {
        Self { place: Place { instant: instant.to_owned(), message_id: String::new() }, after: false }
    }

    pub(super) fn after(place: Place) -> Self {
        Self { place, after: true }
    }

    fn is_beginning(&self) -> bool {
        *self == Self::default()
    }
}

/// One SELECT of places.
pub(super) struct Arm {
    /// Expressions for a message's instant, id and row number.
    columns: &'static str,
    from: String,
    conditions: Vec<&'static str>,
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
    pub(super) fn rows_in_turn(&self, columns: &str) -> String {
        // An index on the sender, as old files have one, would bring them in another order.
        let conditions = self.conditions.join(" AND ");
        format!("SELECT {columns} FROM {} NOT INDEXED WHERE {conditions} ORDER BY m.rowid", self.from)
    }

    fn and(mut self, condition: &'static str) -> Self {
        self.conditions.push(condition);
        self
    }
}

/// The values of a statement's parameters, each under its own number.
#[derive(Clone)]
pub(super) struct Values<'a> {
    filter: &'a Filter,
    marks: Marks,
    question: Option<Question>,
    all_trigrams: Option<String>,
    pub(super) start: Start,
    pub(super) limit: i64,
    pub(super) offset: i64,
}

impl<'a> Values<'a> {
    /// The number of a row that is bound by itself.
    pub(super) const ROW: usize = 10;

    /// For everything that matches, from the filter's own start on.
    pub(super) fn new(filter: &'a Filter, marks: &Marks) -> Self {
        let start = filter.since.as_ref().map(|since| Start::at(since.as_str())).unwrap_or_default();
        let question = filter.q.as_ref().and_then(|q| Question::new(q.as_str()));
        let all_trigrams = question.as_ref().map(Question::all);
        Self { filter, marks: *marks, question, all_trigrams, start, limit: -1, offset: 0 }
    }

    pub(super) fn filter(&self) -> &'a Filter {
        self.filter
    }

    /// What to ask the search index, if it can have something to say.
    pub(super) fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// Gives a statement those of the values that it names.
    pub(super) fn bind(&self, statement: &mut CachedStatement<'_>) -> rusqlite::Result<()> {
        let q = self.filter.q.as_ref().map(|q| q.as_str());
        let values: [&dyn ToSql; 9] = [
            &self.filter.from,
            &self.start.place.instant,
            &self.start.place.message_id,
            &q,
            &self.marks.ordered_through,
            &self.marks.searchable_through,
            &self.all_trigrams,
            &self.limit,
            &self.offset,
        ];
        for (index, value) in values.into_iter().enumerate().take(statement.parameter_count()) {
            statement.raw_bind_parameter(index + 1, value)?;
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
    pub(super) fn for_rows(self, filter: &Filter, total: u64, wanted: u64, marks: &Marks) -> Self {
        // Of so many rows in the order, looked up one by one, one matches.
        let apart = marks.ordered / total.max(1);
        let lookups = apart.saturating_mul(wanted);
        let few_lookups = self == Self::Table && lookups < marks.ordered / PROPOSED_SHARE;
        // What is gathered and sorted is held in memory.
        let walk = few_lookups || total.min(wanted) > MOST_SORTED;
        if walk { Self::in_order(filter) } else { self }
    }

    /// The last row that the index has for it.
    pub(super) fn mark(self, marks: &Marks) -> i64 {
        if self == Self::Proposed { marks.searchable_through } else { marks.ordered_through }
    }

    /// The arms for what `values` ask: the index, and the tail.
    pub(super) fn arms(self, values: &Values<'_>) -> [Arm; 2] {
        let indexed = match self {
            Self::Order => from_index(values, "messages_order AS d"),
            Self::Sender => from_index(values, "messages_of_sender AS d").and("d.sender = ?1"),
            Self::Proposed => rows(
                values,
                "m.rowid IN (SELECT rowid FROM messages_search WHERE messages_search MATCH ?7) AND m.rowid <= ?6",
            ),
            Self::Table => rows(values, "m.rowid <= ?5"),
        };
        let tail = if self == Self::Proposed { "m.rowid > ?6" } else { "m.rowid > ?5" };
        [indexed, rows(values, tail)]
    }
}

fn from_index(values: &Values<'_>, table: &'static str) -> Arm {
    let columns = "d.instant AS instant, d.message_id AS message_id, d.message_row AS message_row";
    let arm = Arm { columns, from: table.to_owned(), conditions: Vec::new() };
    let arm = arm.and(match values.start.after {
        false => "(d.instant, d.message_id) >= (?2, ?3)",
        true => "(d.instant, d.message_id) > (?2, ?3)",
    });
    if values.filter.q.is_none() {
        return arm;
    }
    let from = format!("{table} CROSS JOIN messages AS m ON m.rowid = d.message_row");
    Arm { from, ..arm }.and("contains_folded(CAST(m.text AS BLOB), ?4)")
}

/// Rows of the table itself, every condition of the filter tested on each.
pub(super) fn rows(values: &Values<'_>, which: &'static str) -> Arm {
    let columns =
        "rtrim(m.ts, 'Z.0') AS instant, ifnull(m.message_id, '') AS message_id, m.rowid AS message_row";
    let mut arm = Arm { columns, from: "messages AS m".to_owned(), conditions: vec![which] };
    if values.filter.from.is_some() {
        arm = arm.and("m.from_msisdn = ?1");
    }
    if !values.start.is_beginning() {
        arm = arm.and(match (values.start.after, values.start.place.message_id.is_empty()) {
            (false, true) => "rtrim(m.ts, 'Z.0') >= ?2",
            (false, false) => "(rtrim(m.ts, 'Z.0'), ifnull(m.message_id, '')) >= (?2, ?3)",
            (true, _) => "(rtrim(m.ts, 'Z.0'), ifnull(m.message_id, '')) > (?2, ?3)",
        });
    }
    if values.filter.q.is_some() { arm.and("contains_folded(CAST(m.text AS BLOB), ?4)") } else { arm }
}
