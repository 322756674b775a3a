//! A remap makes messages of items that an earlier version could not map, in a few transactions one behind the other.
//!
//! An item that stands for a whole body, or for a part of unknown shape, is split again: where something came of it, its
//! items take its place.

use rusqlite::Connection;

use super::SLICE_BYTES;
use crate::clock::now_rfc3339;
use crate::message::Message;
use crate::store::database::migrations::has_items;
use crate::store::write::batch::Inserter;
use crate::store::write::feed_order::EpochState;
use crate::store::write::items;
use crate::whatsapp::{self, Delivery, Mapping};

/// Items of one transaction: a service that is running waits for it.
const SLICE_ITEMS: i64 = 64;

/// What a transaction has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RemapStep {
    /// Items that have become messages.
    pub mapped: u64,
    /// Items in whose place others stand now.
    pub split: u64,
    /// Items that stay as they are.
    pub left: u64,
    /// The last item that was looked at.
    pub last: i64,
}

struct Unmapped {
    item: i64,
    /// As it was noted, so that its parts expire when it would have.
    came_at: String,
    remapped: Remapped,
}

/// What an item becomes.
enum Remapped {
    Message(Message),
    Items(Delivery),
    Nothing,
}

/// Of the unmapped items behind `after`, the next ones. To be called in a transaction.
pub(super) fn step(
    connection: &Connection,
    epoch: EpochState,
    after: i64,
) -> rusqlite::Result<Option<RemapStep>> {
    if !has_items(connection)? {
        return Ok(None);
    }
    let found = unmapped(connection, after)?;
    let Some(Unmapped { item: last, .. }) = found.last() else {
        return Ok(None);
    };
    let mut step = RemapStep { last: *last, ..RemapStep::default() };
    if found.iter().all(|unmapped| matches!(unmapped.remapped, Remapped::Nothing)) {
        step.left = found.len() as u64;
        return Ok(Some(step));
    }
    let now = now_rfc3339();
    let mut inserter = Inserter::begin(connection, epoch)?;
    let mut mark =
        connection.prepare_cached("UPDATE messages_items SET mapping = 'mapped' WHERE item = ?1")?;
    let mut delete = connection.prepare_cached("DELETE FROM messages_items WHERE item = ?1")?;
    for Unmapped { item, came_at, remapped } in &found {
        match remapped {
            Remapped::Message(message) => {
                inserter.message(message, &now)?;
                mark.execute([item])?;
                step.mapped += 1;
            }
            Remapped::Items(delivery) => {
                delete.execute([item])?;
                for part in &delivery.items {
                    items::insert(&mut inserter, part, came_at)?;
                }
                step.split += 1;
            }
            Remapped::Nothing => step.left += 1,
        }
    }
    Ok(Some(step))
}

fn unmapped(connection: &Connection, after: i64) -> rusqlite::Result<Vec<Unmapped>> {
    let mut statement = connection.prepare_cached(
        "SELECT item, kind, CAST(original AS BLOB), created_at FROM messages_items \
         WHERE mapping = 'unmapped' AND item > ?1 ORDER BY item LIMIT ?2",
    )?;
    let mut rows = statement.query((after, SLICE_ITEMS))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < SLICE_BYTES
        && let Some(row) = rows.next()?
    {
        let kind: String = row.get(1)?;
        let original = row.get_ref(2)?.as_bytes_or_null()?.unwrap_or_default();
        bytes += original.len();
        let remapped = remapped(&kind, original);
        found.push(Unmapped { item: row.get(0)?, came_at: row.get(3)?, remapped });
    }
    Ok(found)
}

fn remapped(kind: &str, original: &[u8]) -> Remapped {
    if kind == "message" {
        return match whatsapp::map_again(original) {
            Mapping::Message(message) => Remapped::Message(message),
            Mapping::NotAMessage | Mapping::Unmapped => Remapped::Nothing,
        };
    }
    let delivery = whatsapp::split(original);
    let is_known = delivery.items.iter().any(|item| !matches!(item.mapping, Mapping::Unmapped));
    if is_known { Remapped::Items(delivery) } else { Remapped::Nothing }
}
