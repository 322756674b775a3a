//! An item of WhatsApp is kept as it came, once, beside the message that was made of it (contract, section 14).

use rusqlite::{Connection, params};

use super::batch::Inserter;
use super::tombstones;
use crate::store::database::insertion::{Inserted, ignored};
use crate::whatsapp::{Item, ItemKey, ItemResult, Kind, Mapping};

const INSERT: &str = "INSERT INTO messages_items (id_hash, content_hash, kind, message_id, mapping, created_at, original) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";

const FIND: &str = "SELECT 1 FROM messages_items WHERE id_hash = ?1 AND content_hash = ?2";

/// What the tombstone of an item is made of.
pub fn forgotten(key: &ItemKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&key.id);
    bytes[8..].copy_from_slice(&key.content);
    bytes
}

/// To be called in a transaction that has made the table.
pub fn insert<'a>(
    inserter: &mut Inserter<'_, 'a>,
    item: &'a Item,
    created_at: &str,
) -> rusqlite::Result<ItemResult> {
    if is_forgotten(inserter, item)? || !keep(inserter.connection, item, created_at)? {
        return Ok(ItemResult::Duplicate);
    }
    Ok(match &item.mapping {
        Mapping::Message(message) => match inserter.message(message, created_at)? {
            Inserted::Created => ItemResult::Created,
            Inserted::Duplicate => ItemResult::Duplicate,
        },
        Mapping::NotAMessage => ItemResult::Created,
        Mapping::Unmapped => ItemResult::Unmapped,
    })
}

/// The item was there and is gone, or its message was.
fn is_forgotten(inserter: &Inserter<'_, '_>, item: &Item) -> rusqlite::Result<bool> {
    let Some(salt) = &inserter.salt else {
        return Ok(false);
    };
    let exists = |name: &[u8]| tombstones::exists(inserter.connection, salt, name);
    let message_id = item.id.as_deref().filter(|_| item.kind == Kind::Message);
    Ok(exists(&forgotten(&item.key))? || message_id.map_or(Ok(false), |id| exists(id.as_bytes()))?)
}

/// False if it is there.
fn keep(connection: &Connection, item: &Item, created_at: &str) -> rusqlite::Result<bool> {
    let Item { kind, key, id, original, mapping } = item;
    let mapping = match mapping {
        Mapping::Message(_) => "mapped",
        Mapping::NotAMessage => "none",
        Mapping::Unmapped => "unmapped",
    };
    let values = params![key.id, key.content, kind.label(), id, mapping, created_at, original];
    if connection.prepare_cached(INSERT)?.execute(values)? == 1 {
        return Ok(true);
    }
    let is_there = connection.prepare_cached(FIND)?.exists((key.id, key.content))?;
    if is_there { Ok(false) } else { Err(ignored("an insert into messages_items")) }
}
