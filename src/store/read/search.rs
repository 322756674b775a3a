//! A search counts the messages that have a word; where they are few it keeps their places, so that a page of them
//! needs no second one.

use std::borrow::Cow;
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::Snapshot;
use super::places::MAX_SORTED;
use super::selection::{Selection, Source, Window};
use super::total;
use super::word_memory::WordRows;
use crate::filter::Filter;
use crate::folding::Needle;
use crate::sort_key::SortKey;
use crate::store::database::sort_columns::sort_key;
use crate::store::error::StoreError;
use crate::store::index::first_behind;
use crate::store::index::search::Question;

/// Matches of a search whose places are kept for the page; of more, the page is searched by itself.
pub const KEPT_MATCHES: usize = 4096;
/// Looking a row up takes as long as reading some of them in a row. Where more than one in so many
/// would be looked up, the whole table is read.
const PROPOSED_SHARE: u64 = 16;
/// The same where blocks of texts tell as much as the table: of a million rows a thirty-second took 40 ms, as did the
/// blocks.
const PROPOSED_SHARE_BESIDE_BLOCKS: u64 = 32;
/// So few proposed rows are looked up however small the table is: to read even a small one takes as long.
const FEW_PROPOSED_ROWS: u64 = 32;

/// Where the messages that match are.
pub(super) enum Matches {
    /// At these places, in their order.
    At(Vec<SortKey>),
    /// They are too many to keep their places.
    Many { total: u64, source: Source },
}

/// Goes through the fewest rows that are certain to hold every match.
pub(super) fn find(
    snapshot: Snapshot<'_>,
    filter: &Filter,
    word: &Needle,
    selection: Selection<'_>,
) -> Result<Matches, StoreError> {
    let ordered = snapshot.watermarks.ordered;
    let in_order = total::indexed(snapshot, filter)?;
    let by_order = in_order < ordered / PROPOSED_SHARE;
    let is_word_alone = filter.from.is_none() && filter.since.is_none();
    // To ask the search index in vain must cost little.
    let few = match (by_order, is_word_alone) {
        (true, _) => in_order / PROPOSED_SHARE,
        (_, true) => ordered / PROPOSED_SHARE_BESIDE_BLOCKS,
        _ => ordered / PROPOSED_SHARE,
    };
    let remembered = snapshot.memory.borrow_mut().words.take(word);
    let known = match remembered {
        None => proposals(snapshot, word, few.max(FEW_PROPOSED_ROWS))?,
        remembered => remembered,
    };
    let without = if by_order { Source::Order } else { Source::Table };
    let Some(mut known) = known.or_else(|| is_word_alone.then(WordRows::nothing_read)) else {
        return among(snapshot, selection, without);
    };
    known.extend(snapshot, word)?;
    // Where a sender has written little, or a time is short, there may be less to go through than the word has rows.
    let most = if by_order { in_order + in_tail_of(snapshot, selection) } else { u64::MAX };
    let source = match &known.rows {
        Some(rows) if rows.len() as u64 <= most => proposed(rows),
        _ => without,
    };
    let is_too_many = known.rows.as_ref().is_none_or(|rows| rows.len() > KEPT_MATCHES);
    let total = known.total;
    snapshot.memory.borrow_mut().words.keep(word, known);
    if is_word_alone && is_too_many {
        Ok(Matches::Many { total, source })
    } else {
        among(snapshot, selection, source)
    }
}

/// Messages of the tail, as far as it is remembered, that match but for the word.
fn in_tail_of(snapshot: Snapshot<'_>, selection: Selection<'_>) -> u64 {
    snapshot.memory.borrow().tail.matching(selection.filter, &selection.all().start).count() as u64
}

fn proposed(rows: &[i64]) -> Source {
    Source::Proposed(Rc::new(rows.iter().copied().map(Value::from).collect()))
}

/// The matches among the rows of a source.
fn among(snapshot: Snapshot<'_>, selection: Selection<'_>, source: Source) -> Result<Matches, StoreError> {
    let connection = snapshot.connection;
    let (mut places, mut total) = (Vec::new(), 0);
    // Of a whole table no more than what is kept, in the order of rows: to count the rest, which are behind the last
    // of these, without their places is faster.
    let arranged = if source == Source::Table { "ORDER BY m.rowid LIMIT :limit" } else { "" };
    let kept = Window { limit: KEPT_MATCHES as i64, ..selection.all() };
    let mut statement = selection.places(connection, &source, &kept, arranged)?;
    let mut found = statement.raw_query();
    while let Some(row) = found.next()? {
        total += 1;
        if places.len() < KEPT_MATCHES {
            places.push(sort_key(row, 0)?);
        }
    }
    if let Some(last) = places.last().filter(|_| source == Source::Table && total == KEPT_MATCHES as u64) {
        let rest = Window { rows: first_behind(Some(last.row))..=i64::MAX, ..selection.all() };
        total += selection.count_in_table(connection, &rest)?;
    }
    if source == Source::Order {
        for key in snapshot.memory.borrow().tail.matching(selection.filter, &kept.start) {
            if selection.has_word(connection, key)? {
                total += 1;
                places.push(key.clone());
            }
        }
    }
    if total > KEPT_MATCHES as u64 {
        return Ok(Matches::Many { total, source });
    }
    places.sort_unstable();
    Ok(Matches::At(places))
}

/// What the search index knows of a word. `None` if it knows nothing of so short a word, or names more rows than
/// `most`.
fn proposals(snapshot: Snapshot<'_>, word: &Needle, most: u64) -> rusqlite::Result<Option<WordRows>> {
    let Some(question) = Question::new(word.as_str()) else {
        return Ok(None);
    };
    // One trigram that is in few rows is as good as all together, and found at once; to find where
    // all are together takes long if none of them is.
    let few = FEW_PROPOSED_ROWS.min(most);
    let asked = question.trigrams.iter().map(|trigram| (Cow::from(trigram), few));
    for (expression, most) in asked.chain([(question.all().into(), most)]) {
        if let Some(rows) = ask(snapshot.connection, &expression, most)? {
            return WordRows::among(snapshot, word, &rows).map(Some);
        }
    }
    Ok(None)
}

/// Up to `most` rows, or `None` if there are more.
fn ask(connection: &Connection, expression: &str, most: u64) -> rusqlite::Result<Option<Vec<i64>>> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid FROM messages_search WHERE messages_search MATCH :expression LIMIT :limit",
    )?;
    let rows = statement.query_map((expression, most as i64 + 1), |row| row.get(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<i64>>>()?;
    Ok((rows.len() as u64 <= most).then_some(rows))
}

/// From where the first `wanted` of `total` matches are read in their order: where many match, going through the
/// order finds them soon; where few do, they are gathered and sorted.
pub(super) fn source_of_page(snapshot: Snapshot<'_>, source: Source, total: u64, wanted: u64) -> Source {
    let ordered = snapshot.watermarks.ordered;
    // Of so many rows in the order, looked up one by one, one matches.
    let apart = ordered / total.max(1);
    let few_lookups = source == Source::Table && apart.saturating_mul(wanted) < ordered / PROPOSED_SHARE;
    // What is gathered and sorted is held in memory.
    if few_lookups || total.min(wanted) > MAX_SORTED { Source::Order } else { source }
}
