//! The places of a page are merged from the order and from what is remembered of the tail.

use rusqlite::Connection;

use super::Snapshot;
use super::selection::{Selection, Source, Window};
use super::total::in_tail;
use crate::sort_key::SortKey;
use crate::store::database::sort_columns::{KEY, sort_key};
use crate::store::error::StoreError;
use crate::store::index::{self, rank};

/// Places sorted in memory for one page, some 15 MB. Deeper pages are walked to; where the index is not
/// to be had for that yet, they are answered 503.
pub(super) const MAX_SORTED: u64 = 100_000;

/// Replaces most of a large offset by a start behind the rows that it passes over.
pub(super) fn skip(
    snapshot: Snapshot<'_>,
    selection: Selection<'_>,
    page: Window,
) -> Result<Window, StoreError> {
    let connection = snapshot.connection;
    let passed = rank::before(connection, &page.start)?;
    let in_tail_from =
        |start: &SortKey| in_tail(snapshot, selection, &Window { start: start.clone(), ..page.clone() });
    let (offset, tail) = (page.offset.unsigned_abs(), in_tail_from(&page.start)?);
    // How many messages lie before a block, of all from the start of the page on; the block; its rank.
    let seek = |rank| -> Result<_, StoreError> {
        let (block, before) = rank::seek(connection, rank)?;
        let in_tail = tail.saturating_sub(in_tail_from(&block)?);
        Ok((before.saturating_sub(passed) + in_tail, block, before))
    };
    // As if none of the tail lay in between. If some does, that is too far by as much, and one so much nearer is not.
    let mut nearest = seek(passed.saturating_add(offset))?;
    if nearest.0 > offset {
        nearest = seek(nearest.2.saturating_sub(nearest.0 - offset))?;
    }
    let (skipped, block, before) = nearest;
    if before <= passed {
        return Ok(page);
    }
    let left = offset
        .checked_sub(skipped)
        .ok_or_else(|| index::is_wrong("more messages come before a page than its offset passes over"))?;
    Ok(Window { start: block, offset: left as i64, ..page })
}

/// Of all places, in their order, those of the page.
pub(super) fn of_page(places: Vec<SortKey>, page: &Window) -> Vec<SortKey> {
    let first = places.partition_point(|place| *place < page.start);
    let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
    places.into_iter().skip(first).skip(offset).take(page.limit as usize).collect()
}

/// The places of the page.
pub(super) fn select(
    snapshot: Snapshot<'_>,
    selection: Selection<'_>,
    source: &Source,
    page: &Window,
) -> rusqlite::Result<Vec<SortKey>> {
    if *source != Source::Order {
        return read_places(snapshot.connection, selection, source, page);
    }
    let memory = snapshot.memory.borrow();
    let remembered: Vec<_> = memory.tail.matching(selection.filter, &page.start).collect();
    // Any of them may lie before the page: so many of the others that its offset passes over are gone through here.
    let passed = page.offset.min(remembered.len() as i64);
    let wanted = Window { limit: page.limit + passed, offset: page.offset - passed, ..page.clone() };
    let mut keys = read_places(snapshot.connection, selection, source, &wanted)?;
    let most = wanted.limit as usize;
    let mut nearest = Vec::new();
    for key in remembered {
        let is_behind = keys.len() == most && keys.last() < Some(key);
        if !is_behind && selection.has_word(snapshot.connection, key)? {
            nearest.push(key);
        }
    }
    if nearest.len() > most {
        nearest.select_nth_unstable(most);
        nearest.truncate(most);
    }
    keys.extend(nearest.into_iter().cloned());
    keys.sort_unstable();
    Ok(keys.into_iter().skip(passed as usize).take(page.limit as usize).collect())
}

/// The places of a page as they are read.
fn read_places(
    connection: &Connection,
    selection: Selection<'_>,
    source: &Source,
    page: &Window,
) -> rusqlite::Result<Vec<SortKey>> {
    let arranged = format!("ORDER BY {KEY} LIMIT :limit OFFSET :offset");
    let mut statement = selection.places(connection, source, page, &arranged)?;
    let mut found = statement.raw_query();
    let mut keys = Vec::new();
    while let Some(row) = found.next()? {
        keys.push(sort_key(row, 0)?);
    }
    Ok(keys)
}
