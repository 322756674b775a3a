//! The rank of a place tells how many messages come before it, without walking there.
//!
//! The order ([`super::order`]) is cut into blocks of some hundred entries, and these into blocks of
//! some hundred blocks; each knows how many entries it holds. Invariants:
//!
//! - On each level every entry lies in exactly one block: the last that starts at or before it.
//! - A block of the upper level starts where one of the lower level starts.
//! - But for the first on each level, a block starts at an entry that is there: of one that is gone no id is left.

use rusqlite::{Connection, OptionalExtension};

use crate::sort_key::{MessageId, RawText, SortKey};
use crate::store::database::sort_columns::{KEY, sort_key};

/// Entries in a block of the order, and in a block of those, before it is cut in two: so that at ten
/// million messages a few hundred steps on each level lead to any place.
pub const RANK_BLOCKS: [u64; 2] = [512, 65_536];

/// A level and a key, as every statement of this file numbers them: from 1 on.
fn at(level: usize, key: &SortKey) -> (i64, &RawText, &MessageId, i64) {
    (level as i64, &key.instant, &key.message_id, key.row)
}

/// The same, with a second key behind it.
fn between<'a>(
    level: usize,
    start: &'a SortKey,
    end: &'a SortKey,
) -> (i64, &'a RawText, &'a MessageId, i64, &'a RawText, &'a MessageId, i64) {
    let (level, instant, message_id, row) = at(level, start);
    (level, instant, message_id, row, &end.instant, &end.message_id, end.row)
}

const PLACE: &str = "(?2, ?3, ?4)";
const END: &str = "(?5, ?6, ?7)";
/// The block that starts at a place.
const BLOCK: &str = "level = ?1 AND instant = ?2 AND message_id = ?3 AND message_row = ?4";

/// What a level is made of: entries of the order, or the blocks of the level below.
fn parts(level: usize) -> &'static str {
    match level {
        0 => "(SELECT 0 AS level, instant, message_id, message_row, 1 AS messages FROM messages_order)",
        _ => "messages_ranks",
    }
}

/// Entries of the order that come before `place`.
pub fn before(connection: &Connection, place: &SortKey) -> rusqlite::Result<u64> {
    let mut start = SortKey::default();
    let mut count = 0;
    for level in (0..RANK_BLOCKS.len()).rev() {
        let block = block_of(connection, level, place)?;
        count += sum(connection, level, &start, &block)?;
        start = block;
    }
    let rest: i64 = connection
        .prepare_cached(&format!(
            "SELECT COUNT(*) FROM messages_order WHERE ({KEY}) >= {PLACE} AND ({KEY}) < {END}"
        ))?
        .query_row(between(0, &start, place), |row| row.get(0))?;
    Ok(count + rest.unsigned_abs())
}

/// The start of the block that holds the entry number `rank`, counted from 0, and how many entries
/// come before it. Of a number that is too large, the last block.
pub fn seek(connection: &Connection, rank: u64) -> rusqlite::Result<(SortKey, u64)> {
    let (mut start, mut passed) = (SortKey::default(), 0);
    for level in (0..RANK_BLOCKS.len()).rev() {
        let mut blocks = connection.prepare_cached(&format!(
            "SELECT {KEY}, messages FROM messages_ranks \
             WHERE level = ?1 AND ({KEY}) >= {PLACE} ORDER BY {KEY}"
        ))?;
        let mut blocks = blocks.query(at(level, &std::mem::take(&mut start)))?;
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
            let messages = count(connection, level, &block, held as i64)?;
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
        let left = count(connection, level, &block, -1)?;
        if block == *place && block != SortKey::default() {
            move_start(connection, level, place, left)?;
        }
    }
    Ok(())
}

/// Counts so many more entries in a block, and gives how many there are now.
fn count(connection: &Connection, level: usize, block: &SortKey, more: i64) -> rusqlite::Result<i64> {
    let (level, instant, message_id, row) = at(level, block);
    connection
        .prepare_cached(&format!(
            "UPDATE messages_ranks SET messages = messages + ?5 WHERE {BLOCK} RETURNING messages"
        ))?
        .query_row((level, instant, message_id, row, more), |row| row.get(0))
}

/// Has a block whose first entry was removed start at the next one, or end if it was the last.
fn move_start(connection: &Connection, level: usize, start: &SortKey, left: i64) -> rusqlite::Result<()> {
    if left == 0 {
        connection
            .prepare_cached(&format!("DELETE FROM messages_ranks WHERE {BLOCK}"))?
            .execute(at(level, start))?;
        return Ok(());
    }
    // The level below is in order already.
    let next = connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM {} WHERE level = ?1 AND ({KEY}) > {PLACE} ORDER BY {KEY} LIMIT 1",
            parts(level)
        ))?
        .query_row(at(level.saturating_sub(1), start), |row| sort_key(row, 0))?;
    connection
        .prepare_cached(&format!("UPDATE messages_ranks SET ({KEY}) = {END} WHERE {BLOCK}"))?
        .execute(between(level, start, &next))?;
    Ok(())
}

/// Cuts a block that has grown too large into pieces of half the size.
fn split(
    connection: &Connection,
    level: usize,
    block: &SortKey,
    next: Option<&SortKey>,
) -> rusqlite::Result<()> {
    let end = if next.is_some() { format!("AND ({KEY}) < {END}") } else { String::new() };
    let mut parts = connection.prepare_cached(&format!(
        "SELECT {KEY}, messages FROM {} \
         WHERE level = ?1 AND ({KEY}) >= {PLACE} {end} ORDER BY {KEY}",
        parts(level)
    ))?;
    let below = level.saturating_sub(1);
    let mut parts = match next {
        Some(next) => parts.query(between(below, block, next))?,
        None => parts.query(at(below, block))?,
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
        "INSERT OR REPLACE INTO messages_ranks (level, {KEY}, messages) \
         VALUES (?1, ?2, ?3, ?4, ?5)"
    ))?;
    for (start, messages) in pieces {
        let (level, instant, message_id, row) = at(level, &start);
        put.execute((level, instant, message_id, row, messages))?;
    }
    Ok(())
}

/// Where the block starts that `place` lies in.
fn block_of(connection: &Connection, level: usize, place: &SortKey) -> rusqlite::Result<SortKey> {
    connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM messages_ranks WHERE level = ?1 AND ({KEY}) <= {PLACE} \
             ORDER BY instant DESC, message_id DESC, message_row DESC LIMIT 1"
        ))?
        .query_row(at(level, place), |row| sort_key(row, 0))
}

/// Where the next block behind `place` starts.
fn block_after(connection: &Connection, level: usize, place: &SortKey) -> rusqlite::Result<Option<SortKey>> {
    connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM messages_ranks WHERE level = ?1 AND ({KEY}) > {PLACE} ORDER BY {KEY} LIMIT 1"
        ))?
        .query_row(at(level, place), |row| sort_key(row, 0))
        .optional()
}

/// Entries in the blocks from the one that starts at `start` up to the one that starts at `end`,
/// which is not counted.
fn sum(connection: &Connection, level: usize, start: &SortKey, end: &SortKey) -> rusqlite::Result<u64> {
    let sum: i64 = connection
        .prepare_cached(&format!(
            "SELECT ifnull(SUM(messages), 0) FROM messages_ranks \
             WHERE level = ?1 AND ({KEY}) >= {PLACE} AND ({KEY}) < {END}"
        ))?
        .query_row(between(level, start, end), |row| row.get(0))?;
    Ok(sum.unsigned_abs())
}
