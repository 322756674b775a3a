//! The rank of a place tells how many messages come before it, without walking there.
//!
//! The order ([`super::order`]) is cut into blocks of some hundred entries, and these into blocks of
//! some hundred blocks; each knows how many entries it holds. Invariants:
//!
//! - On each level every entry lies in exactly one block: the last that starts at or before it.
//! - A block of the upper level starts where one of the lower level starts.
//! - But for the first on each level, a block starts at an entry that is there: of one that is gone no id is left.

use rusqlite::{Connection, OptionalExtension};

use crate::limits::RANK_BLOCKS;
use crate::sort_key::SortKey;
use crate::store::database::sort_columns::{KEY, sort_key};

/// Entries of the order that come before `place`.
pub(in crate::store) fn before(connection: &Connection, place: &SortKey) -> rusqlite::Result<u64> {
    let mut start = SortKey::default();
    let mut count = 0;
    for level in (0..RANK_BLOCKS.len()).rev() {
        let block = block_of(connection, level, place)?;
        count += sum(connection, level, &start, &block)?;
        start = block;
    }
    let mut rest = connection.prepare_cached(&format!(
        "SELECT COUNT(*) FROM messages_order WHERE ({KEY}) >= (?1, ?2, ?3) AND ({KEY}) < (?4, ?5, ?6)"
    ))?;
    let (from, to) = (&start, place);
    let rest: i64 = rest.query_row(
        (&from.instant, &from.message_id, from.row, &to.instant, &to.message_id, to.row),
        |row| row.get(0),
    )?;
    Ok(count + rest.unsigned_abs())
}

/// The start of the block that holds the entry number `rank`, counted from 0, and how many entries
/// come before it. Of a number that is too large, the last block.
pub(in crate::store) fn seek(connection: &Connection, rank: u64) -> rusqlite::Result<(SortKey, u64)> {
    let (mut start, mut passed) = (SortKey::default(), 0);
    for level in (0..RANK_BLOCKS.len()).rev() {
        let mut blocks = connection.prepare_cached(&format!(
            "SELECT {KEY}, messages FROM messages_ranks \
             WHERE level = ?1 AND ({KEY}) >= (?2, ?3, ?4) ORDER BY {KEY}"
        ))?;
        let mut blocks = blocks.query((level as i64, start.instant, start.message_id, start.row))?;
        start = SortKey::default();
        let mut held = 0;
        while let Some(block) = blocks.next()? {
            passed += held;
            start = sort_key(block, 0)?;
            held = block.get::<_, i64>(3)?.unsigned_abs();
            if passed + held > rank {
                break;
            }
        }
    }
    Ok((start, passed))
}

/// Counts entries that were added to the order. `places` are sorted.
pub(super) fn add(connection: &Connection, places: &[SortKey]) -> rusqlite::Result<()> {
    debug_assert!(places.is_sorted());
    for (level, most) in RANK_BLOCKS.into_iter().enumerate() {
        let mut left = places;
        while let Some(first) = left.first() {
            let block = block_of(connection, level, first)?;
            let next = block_after(connection, level, first)?;
            let held = next.as_ref().map_or(left.len(), |next| left.partition_point(|place| place < next));
            let mut grow = connection.prepare_cached(
                "UPDATE messages_ranks SET messages = messages + ?5 \
                 WHERE level = ?1 AND instant = ?2 AND message_id = ?3 AND message_row = ?4 RETURNING messages",
            )?;
            let messages: i64 = grow.query_row(
                (level as i64, &block.instant, &block.message_id, block.row, held as i64),
                |row| row.get(0),
            )?;
            if messages.unsigned_abs() > most {
                split(connection, level, &block, next.as_ref())?;
            }
            left = &left[held..];
        }
    }
    Ok(())
}

/// Counts an entry that was removed from the order.
pub(super) fn remove(connection: &Connection, place: &SortKey) -> rusqlite::Result<()> {
    for level in 0..RANK_BLOCKS.len() {
        let block = block_of(connection, level, place)?;
        let left: i64 = connection
            .prepare_cached(
                "UPDATE messages_ranks SET messages = messages - 1 \
                 WHERE level = ?1 AND instant = ?2 AND message_id = ?3 AND message_row = ?4 RETURNING messages",
            )?
            .query_row((level as i64, &block.instant, &block.message_id, block.row), |row| row.get(0))?;
        if block == *place && block != SortKey::default() {
            move_start(connection, level, place, left)?;
        }
    }
    Ok(())
}

/// Has a block whose first entry was removed start at the next one, or end if it was the last.
fn move_start(connection: &Connection, level: usize, start: &SortKey, left: i64) -> rusqlite::Result<()> {
    let here = "WHERE level = ?1 AND instant = ?2 AND message_id = ?3 AND message_row = ?4";
    if left == 0 {
        connection.prepare_cached(&format!("DELETE FROM messages_ranks {here}"))?.execute((
            level as i64,
            &start.instant,
            &start.message_id,
            start.row,
        ))?;
        return Ok(());
    }
    // The level below is in order already.
    let entries = match level {
        0 => "messages_order WHERE ?1 IS NOT NULL",
        _ => "messages_ranks WHERE level = ?1",
    };
    let below = level.saturating_sub(1) as i64;
    let next = connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM {entries} AND ({KEY}) > (?2, ?3, ?4) ORDER BY {KEY} LIMIT 1"
        ))?
        .query_row((below, &start.instant, &start.message_id, start.row), |row| sort_key(row, 0))?;
    connection
        .prepare_cached(&format!(
            "UPDATE messages_ranks SET instant = ?5, message_id = ?6, message_row = ?7 {here}"
        ))?
        .execute((
            level as i64,
            &start.instant,
            &start.message_id,
            start.row,
            next.instant,
            next.message_id,
            next.row,
        ))?;
    Ok(())
}

/// Cuts a block that has grown too large into pieces of half the size.
fn split(
    connection: &Connection,
    level: usize,
    block: &SortKey,
    next: Option<&SortKey>,
) -> rusqlite::Result<()> {
    let parts = match level {
        0 => format!("SELECT {KEY}, 1 FROM messages_order WHERE ?1 IS NOT NULL"),
        _ => format!("SELECT {KEY}, messages FROM messages_ranks WHERE level = ?1"),
    };
    let end = if next.is_some() { format!("AND ({KEY}) < (?5, ?6, ?7)") } else { String::new() };
    let mut parts =
        connection.prepare_cached(&format!("{parts} AND ({KEY}) >= (?2, ?3, ?4) {end} ORDER BY {KEY}"))?;
    let below = level.saturating_sub(1) as i64;
    let mut parts = match next {
        Some(next) => parts.query((
            below,
            &block.instant,
            &block.message_id,
            block.row,
            &next.instant,
            &next.message_id,
            next.row,
        ))?,
        None => parts.query((below, &block.instant, &block.message_id, block.row))?,
    };
    let mut pieces = vec![(block.clone(), 0)];
    while let Some(part) = parts.next()? {
        let key = sort_key(part, 0)?;
        let full = pieces.last().is_some_and(|(_, messages)| *messages >= RANK_BLOCKS[level] as i64 / 2);
        if full {
            pieces.push((key, 0));
        }
        if let Some((_, messages)) = pieces.last_mut() {
            *messages += part.get::<_, i64>(3)?;
        }
    }
    let mut put = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO messages_ranks (level, {KEY}, messages) VALUES (?1, ?2, ?3, ?4, ?5)"
    ))?;
    for (start, messages) in pieces {
        put.execute((level as i64, start.instant, start.message_id, start.row, messages))?;
    }
    Ok(())
}

/// Where the block starts that `place` lies in.
fn block_of(connection: &Connection, level: usize, place: &SortKey) -> rusqlite::Result<SortKey> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {KEY} FROM messages_ranks WHERE level = ?1 AND ({KEY}) <= (?2, ?3, ?4) \
         ORDER BY instant DESC, message_id DESC, message_row DESC LIMIT 1"
    ))?;
    statement.query_row((level as i64, &place.instant, &place.message_id, place.row), |row| sort_key(row, 0))
}

/// Where the next block behind `place` starts.
fn block_after(connection: &Connection, level: usize, place: &SortKey) -> rusqlite::Result<Option<SortKey>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {KEY} FROM messages_ranks WHERE level = ?1 AND ({KEY}) > (?2, ?3, ?4) ORDER BY {KEY} LIMIT 1"
    ))?;
    let place = (level as i64, &place.instant, &place.message_id, place.row);
    statement.query_row(place, |row| sort_key(row, 0)).optional()
}

/// Entries in the blocks from the one that starts at `start` up to the one that starts at `end`,
/// which is not counted.
fn sum(connection: &Connection, level: usize, start: &SortKey, end: &SortKey) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT ifnull(SUM(messages), 0) FROM messages_ranks \
         WHERE level = ?1 AND ({KEY}) >= (?2, ?3, ?4) AND ({KEY}) < (?5, ?6, ?7)"
    ))?;
    let sum: i64 = statement.query_row(
        (level as i64, &start.instant, &start.message_id, start.row, &end.instant, &end.message_id, end.row),
        |row| row.get(0),
    )?;
    Ok(sum.unsigned_abs())
}
