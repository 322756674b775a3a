//! How many messages come before a place in the order, and which place has a number: without
//! walking there.
//!
//! The order ([`super::order`]) is cut into blocks of some hundred entries, and these into blocks of
//! some hundred blocks; each knows how many entries it holds. Invariants:
//!
//! - On each level every entry lies in exactly one block: the last that starts at or before it.
//! - A block of the upper level starts where one of the lower level starts.
//! - But for the first on each level, a block starts at an entry that is there: of one that is gone no id is left.

use rusqlite::{Connection, OptionalExtension};

use crate::limits::RANK_BLOCKS;

/// A place in the order: an instant's key and an id. Nothing sorts before the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Place {
    pub(in super::super) instant: String,
    pub(in super::super) message_id: String,
}

/// Entries of the order that come before `place`.
pub(in super::super) fn before(connection: &Connection, place: &Place) -> rusqlite::Result<u64> {
    let mut start = Place::default();
    let mut count = 0;
    for level in (0..RANK_BLOCKS.len()).rev() {
        let block = block_of(connection, level, place)?;
        count += sum(connection, level, &start, &block)?;
        start = block;
    }
    let mut rest = connection.prepare_cached(
        "SELECT COUNT(*) FROM messages_order \
         WHERE (instant, message_id) >= (?1, ?2) AND (instant, message_id) < (?3, ?4)",
    )?;
    let rest: i64 = rest
        .query_row([&start.instant, &start.message_id, &place.instant, &place.message_id], |row| {
            row.get(0)
        })?;
    Ok(count + rest.unsigned_abs())
}

/// The start of the block that holds the entry number `rank`, counted from 0, and how many entries
/// come before it. Of a number that is too large, the last block.
pub(in super::super) fn seek(connection: &Connection, rank: u64) -> rusqlite::Result<(Place, u64)> {
    let (mut start, mut passed) = (Place::default(), 0);
    for level in (0..RANK_BLOCKS.len()).rev() {
        let mut blocks = connection.prepare_cached(
            "SELECT instant, message_id, messages FROM messages_ranks \
             WHERE level = ?1 AND (instant, message_id) >= (?2, ?3) ORDER BY instant, message_id",
        )?;
        let mut blocks = blocks.query((level as i64, start.instant, start.message_id))?;
        start = Place::default();
        let mut held = 0;
        while let Some(block) = blocks.next()? {
            passed += held;
            start = Place { instant: block.get(0)?, message_id: block.get(1)? };
            held = block.get::<_, i64>(2)?.unsigned_abs();
            if passed + held > rank {
                break;
            }
        }
    }
    Ok((start, passed))
}

/// Counts entries that were added to the order. `places` are sorted.
pub(super) fn add(connection: &Connection, places: &[Place]) -> rusqlite::Result<()> {
    debug_assert!(places.is_sorted());
    for (level, most) in RANK_BLOCKS.into_iter().enumerate() {
        let mut left = places;
        while let Some(first) = left.first() {
            let block = block_of(connection, level, first)?;
            let next = block_after(connection, level, first)?;
            let held = next.as_ref().map_or(left.len(), |next| left.partition_point(|place| place < next));
            let mut grow = connection.prepare_cached(
                "UPDATE messages_ranks SET messages = messages + ?4 \
                 WHERE level = ?1 AND instant = ?2 AND message_id = ?3 RETURNING messages",
            )?;
            let messages: i64 = grow
                .query_row((level as i64, &block.instant, &block.message_id, held as i64), |row| {
                    row.get(0)
                })?;
            if messages.unsigned_abs() > most {
                split(connection, level, &block, next.as_ref())?;
            }
            left = &left[held..];
        }
    }
    Ok(())
}

/// Counts an entry that was removed from the order.
pub(super) fn remove(connection: &Connection, place: &Place) -> rusqlite::Result<()> {
    for level in 0..RANK_BLOCKS.len() {
        let block = block_of(connection, level, place)?;
        let left: i64 = connection
            .prepare_cached(
                "UPDATE messages_ranks SET messages = messages - 1 \
                 WHERE level = ?1 AND instant = ?2 AND message_id = ?3 RETURNING messages",
            )?
            .query_row((level as i64, &block.instant, &block.message_id), |row| row.get(0))?;
        if block == *place && block != Place::default() {
            move_start(connection, level, place, left)?;
        }
    }
    Ok(())
}

/// Has a block whose first entry was removed start at the next one, or end if it was the last.
fn move_start(connection: &Connection, level: usize, start: &Place, left: i64) -> rusqlite::Result<()> {
    if left == 0 {
        connection
            .prepare_cached(
                "DELETE FROM messages_ranks WHERE level = ?1 AND instant = ?2 AND message_id = ?3",
            )?
            .execute((level as i64, &start.instant, &start.message_id))?;
        return Ok(());
    }
    // The level below is in order already. Another entry of the same place is the next one.
    let next = match level {
        0 => "SELECT instant, message_id FROM messages_order WHERE ?3 IS NOT NULL",
        _ => "SELECT instant, message_id FROM messages_ranks WHERE level = ?3",
    };
    let next = format!("{next} AND (instant, message_id) >= (?1, ?2) ORDER BY instant, message_id LIMIT 1");
    let below = level.saturating_sub(1) as i64;
    let next =
        connection.prepare_cached(&next)?.query_row((&start.instant, &start.message_id, below), |row| {
            Ok(Place { instant: row.get(0)?, message_id: row.get(1)? })
        })?;
    connection
        .prepare_cached(
            "UPDATE messages_ranks SET instant = ?4, message_id = ?5 \
             WHERE level = ?1 AND instant = ?2 AND message_id = ?3",
        )?
        .execute((level as i64, &start.instant, &start.message_id, next.instant, next.message_id))?;
    Ok(())
}

/// Cuts a block that has grown too large into pieces of half the size.
fn split(connection: &Connection, level: usize, block: &Place, next: Option<&Place>) -> rusqlite::Result<()> {
    let parts = match level {
        0 => "SELECT instant, message_id, 1 FROM messages_order WHERE ?3 IS NOT NULL",
        _ => "SELECT instant, message_id, messages FROM messages_ranks WHERE level = ?3",
    };
    let end = if next.is_some() { "AND (instant, message_id) < (?4, ?5)" } else { "" };
    let mut parts = connection.prepare_cached(&format!(
        "{parts} AND (instant, message_id) >= (?1, ?2) {end} ORDER BY instant, message_id"
    ))?;
    let below = level.saturating_sub(1) as i64;
    let mut parts = match next {
        Some(next) => {
            parts.query((&block.instant, &block.message_id, below, &next.instant, &next.message_id))?
        }
        None => parts.query((&block.instant, &block.message_id, below))?,
    };
    let mut pieces = vec![(block.clone(), 0)];
    let mut last = block.clone();
    while let Some(part) = parts.next()? {
        let place = Place { instant: part.get(0)?, message_id: part.get(1)? };
        let full = pieces.last().is_some_and(|(_, messages)| *messages >= RANK_BLOCKS[level] as i64 / 2);
        // Entries of one place stay together: a block starts at a place, not inside it.
        if full && place != last {
            pieces.push((place.clone(), 0));
        }
        if let Some((_, messages)) = pieces.last_mut() {
            *messages += part.get::<_, i64>(2)?;
        }
        last = place;
    }
    let mut put = connection.prepare_cached(
        "INSERT OR REPLACE INTO messages_ranks (level, instant, message_id, messages) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (start, messages) in pieces {
        put.execute((level as i64, start.instant, start.message_id, messages))?;
    }
    Ok(())
}

/// Where the block starts that `place` lies in.
fn block_of(connection: &Connection, level: usize, place: &Place) -> rusqlite::Result<Place> {
    let mut statement = connection.prepare_cached(
        "SELECT instant, message_id FROM messages_ranks \
         WHERE level = ?1 AND (instant, message_id) <= (?2, ?3) ORDER BY instant DESC, message_id DESC LIMIT 1",
    )?;
    statement.query_row((level as i64, &place.instant, &place.message_id), |row| {
        Ok(Place { instant: row.get(0)?, message_id: row.get(1)? })
    })
}

/// Where the next block behind `place` starts.
fn block_after(connection: &Connection, level: usize, place: &Place) -> rusqlite::Result<Option<Place>> {
    let mut statement = connection.prepare_cached(
        "SELECT instant, message_id FROM messages_ranks \
         WHERE level = ?1 AND (instant, message_id) > (?2, ?3) ORDER BY instant, message_id LIMIT 1",
    )?;
    let next = statement.query_row((level as i64, &place.instant, &place.message_id), |row| {
        Ok(Place { instant: row.get(0)?, message_id: row.get(1)? })
    });
    next.optional()
}

/// Entries in the blocks from the one that starts at `start` up to the one that starts at `end`,
/// which is not counted.
fn sum(connection: &Connection, level: usize, start: &Place, end: &Place) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT ifnull(SUM(messages), 0) FROM messages_ranks WHERE level = ?1 \
         AND (instant, message_id) >= (?2, ?3) AND (instant, message_id) < (?4, ?5)",
    )?;
    let sum: i64 = statement.query_row(
        (level as i64, &start.instant, &start.message_id, &end.instant, &end.message_id),
        |row| row.get(0),
    )?;
    Ok(sum.unsigned_abs())
}
