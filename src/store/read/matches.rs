//! The matches of a word are counted; where they are few their places are kept, so that a page of them needs no second
//! search.

use rusqlite::Connection;

use super::snapshot::Snapshot;
use super::source::{Arm, Source, Values, rows};
use super::total::{indexed_from, of_sender};
use crate::filter::Filter;
use crate::limits::{KEPT_MATCHES, PROPOSED_SHARE};
use crate::sort_key::SortKey;
use crate::store::database::sort_columns::sort_key;
use crate::store::error::StoreError;

/// So few proposed rows are looked up however small the table is.
const FEW_PROPOSED_ROWS: u64 = 32;

/// What a search found.
pub(super) struct Matches {
    pub(super) total: u64,
    /// Where all of them are, in their order; `None` if they are too many to keep.
    pub(super) places: Option<Vec<SortKey>>,
    /// What was gone through.
    pub(super) source: Source,
}

/// Goes through the fewest rows that are certain to hold every match.
pub(super) fn find(snapshot: Snapshot<'_>, filter: &Filter) -> Result<Matches, StoreError> {
    let Snapshot { connection, watermarks, .. } = snapshot;
    let values = Values::new(filter, watermarks);
    let in_order = match (&filter.from, &filter.since) {
        (Some(from), _) => of_sender(connection, &from.as_str().into())?,
        (None, Some(_)) => indexed_from(snapshot, &values.start)?,
        (None, None) => watermarks.ordered,
    };
    // To look a row up costs about as much as to read some of them one after the other, and to ask
    // the search index in vain must cost little.
    let by_order = in_order < watermarks.ordered / PROPOSED_SHARE;
    let few = if by_order { in_order } else { watermarks.ordered } / PROPOSED_SHARE;
    if let Some(proposals) = proposals(connection, &values, few.max(FEW_PROPOSED_ROWS))? {
        return look_up(snapshot, &values, &proposals);
    }
    if by_order { go_through(snapshot, filter, &values) } else { scan(connection, &values) }
}

/// The rows that the search index names. `None` if it knows nothing of so short a word, or names
/// more than `most`.
fn proposals(
    connection: &Connection,
    values: &Values<'_>,
    most: u64,
) -> Result<Option<Vec<i64>>, StoreError> {
    let Some(question) = values.question() else {
        return Ok(None);
    };
    // One trigram that is in few rows is as good as all together, and found at once; to find where
    // all are together takes long if none of them is.
    for trigram in &question.trigrams {
        let proposals = ask(connection, trigram, FEW_PROPOSED_ROWS.min(most))?;
        if proposals.is_some() {
            return Ok(proposals);
        }
    }
    ask(connection, &question.all(), most)
}

/// Up to `most` rows, or `None` if there are more.
fn ask(connection: &Connection, expression: &str, most: u64) -> Result<Option<Vec<i64>>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT rowid FROM messages_search WHERE messages_search MATCH ?1 LIMIT ?2")?;
    let mut found = statement.query((expression, most as i64 + 1))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(row.get(0)?);
    }
    Ok((rows.len() as u64 <= most).then_some(rows))
}

/// Of the proposed rows, and of those behind the index's watermark, the ones that do match.
fn look_up(snapshot: Snapshot<'_>, values: &Values<'_>, proposals: &[i64]) -> Result<Matches, StoreError> {
    let mut matches = Matches::none(Source::Proposed);
    let known = proposals.iter().copied().filter(|row| Some(*row) <= snapshot.watermarks.searchable_through);
    matches.gather_rows(snapshot.connection, values, known)?;
    matches.gather_tail(snapshot, values)?;
    Ok(matches.sorted())
}

/// The matches in one part of the order, and in the tail.
fn go_through(snapshot: Snapshot<'_>, filter: &Filter, values: &Values<'_>) -> Result<Matches, StoreError> {
    let mut matches = Matches::none(Source::in_order(filter));
    let [indexed, _] = matches.source.arms(values);
    matches.gather_arm(snapshot.connection, values, &indexed)?;
    matches.gather_tail(snapshot, values)?;
    Ok(matches.sorted())
}

/// The matches in the whole table. Once they are too many to keep they are only counted, which is
/// faster.
fn scan(connection: &Connection, values: &Values<'_>) -> Result<Matches, StoreError> {
    let mut matches = Matches::none(Source::Table);
    let mut first = connection
        .prepare_cached(&format!("{} ORDER BY m.rowid LIMIT :limit", rows(values, "1").places()))?;
    let mut first_values = values.clone();
    first_values.limit = KEPT_MATCHES as i64;
    first_values.bind(&mut first)?;
    matches.gather(first.raw_query())?;
    let last = matches.places.as_ref().and_then(|places| places.last()).map(|key| key.row);
    if let Some(last) = last.filter(|_| matches.total == KEPT_MATCHES as u64) {
        let mut rest = connection.prepare_cached(&rows(values, "m.rowid > :row").count())?;
        let mut behind = values.clone();
        behind.row = last;
        behind.bind(&mut rest)?;
        let rest = rest.raw_query().next()?.map_or(Ok(0), |row| row.get::<_, i64>(0))?.unsigned_abs();
        matches.total += rest;
        matches.places = matches.places.filter(|_| rest == 0);
    }
    Ok(matches.sorted())
}

impl Matches {
    fn none(source: Source) -> Self {
        Self { total: 0, places: Some(Vec::new()), source }
    }

    fn gather(&mut self, mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<()> {
        while let Some(row) = rows.next()? {
            self.total += 1;
            match &mut self.places {
                Some(places) if places.len() < KEPT_MATCHES => places.push(sort_key(row, 0)?),
                places => *places = None,
            }
        }
        Ok(())
    }

    fn gather_arm(
        &mut self,
        connection: &Connection,
        values: &Values<'_>,
        arm: &Arm,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&arm.places())?;
        values.bind(&mut statement)?;
        self.gather(statement.raw_query())
    }

    /// Of certain rows, those that match.
    fn gather_rows(
        &mut self,
        connection: &Connection,
        values: &Values<'_>,
        numbers: impl Iterator<Item = i64>,
    ) -> rusqlite::Result<()> {
        let mut one = connection.prepare_cached(&rows(values, "m.rowid = :row").places())?;
        values.bind(&mut one)?;
        for number in numbers {
            one.raw_bind_parameter(c":row", number)?;
            self.gather(one.raw_query())?;
        }
        Ok(())
    }

    /// Of the rows that the index does not know for this source.
    fn gather_tail(&mut self, snapshot: Snapshot<'_>, values: &Values<'_>) -> rusqlite::Result<()> {
        let Snapshot { connection, watermarks, texts, .. } = snapshot;
        if let (Some(texts), Some(q)) = (texts, &values.filter().q) {
            return self.gather_rows(connection, values, texts.with(q, self.source.watermark(watermarks)));
        }
        let [_, tail] = self.source.arms(values);
        self.gather_arm(connection, values, &tail)
    }

    fn sorted(mut self) -> Self {
        if let Some(places) = &mut self.places {
            places.sort_unstable();
        }
        self
    }
}
