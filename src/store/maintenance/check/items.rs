//! The check of what WhatsApp sent compares each item with the message that was made of it.

use rusqlite::Connection;

use super::super::items;
use super::NAMED_FAULTS;
use crate::store::database::migrations::has_items;
use crate::store::write::tombstones::{self, Salt};
use crate::whatsapp::{self, Mapping};

/// What is to be done about it: nothing else knows what an item held, or a message.
const REMEDY: &str = "restore a backup, or live with it: nothing else is affected";

/// How many items there are of each kind, for people to read.
const COUNT: &str = "SELECT COUNT(*), COUNT(*) FILTER (WHERE mapping = 'mapped'), COUNT(*) FILTER (WHERE mapping = 'unmapped') \
     FROM messages_items";

/// An item that was overwritten goes in the next transaction, unless whoever erases it was killed between the two.
const OVERWRITTEN: &str = "some items are overwritten and not deleted: they are being erased, or that was cut short: then run erase again";

/// True if nothing is wrong with the items. A file without any says nothing.
pub(super) fn agree(connection: &Connection, say: &mut dyn FnMut(&str)) -> rusqlite::Result<bool> {
    if !has_items(connection)? {
        return Ok(true);
    }
    let snapshot = connection.unchecked_transaction()?;
    let [all, mapped, unmapped] =
        snapshot.query_row(COUNT, [], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]))?;
    say(&format!("whatsapp: {all} items, {mapped} of them messages, {unmapped} not mapped"));
    let Found { faults, is_any_overwritten } = find(&snapshot)?;
    if is_any_overwritten {
        say(&format!("whatsapp: {OVERWRITTEN}"));
    }
    for (item, fault) in &faults {
        say(&format!("whatsapp: item {item}: {fault}"));
    }
    if !faults.is_empty() {
        say(&format!("whatsapp: {REMEDY}"));
    }
    Ok(faults.is_empty())
}

struct Found {
    /// The first ones.
    faults: Vec<(i64, &'static str)>,
    is_any_overwritten: bool,
}

fn find(connection: &Connection) -> rusqlite::Result<Found> {
    let salt = Salt::if_any_tombstone(connection)?;
    let mut statement = connection.prepare(
        "SELECT item, mapping, message_id, CAST(original AS BLOB), content_hash, \
            EXISTS (SELECT 1 FROM messages AS m WHERE m.message_id = i.message_id) \
         FROM messages_items AS i ORDER BY item",
    )?;
    let mut rows = statement.query([])?;
    let (mut faults, mut is_any_overwritten) = (Vec::new(), false);
    while faults.len() < NAMED_FAULTS
        && let Some(row) = rows.next()?
    {
        let mapping: String = row.get(1)?;
        let message_id = row.get_ref(2)?.as_bytes_or_null()?;
        let original = row.get_ref(3)?.as_bytes_or_null()?.unwrap_or_default();
        let content: Vec<u8> = row.get(4)?;
        if items::is_overwritten(original, &content) {
            is_any_overwritten = true;
            continue;
        }
        let fault = match (mapping.as_str(), message_id) {
            _ if !whatsapp::has_content(original, &content) => Some("it is damaged: it is not what came"),
            ("mapped", Some(id)) => {
                let is_gone =
                    || salt.as_ref().map_or(Ok(false), |salt| tombstones::exists(connection, salt, id));
                if !is_of(original, id) {
                    Some("it is damaged: it makes another message than it did")
                } else if !row.get::<_, bool>(5)? && !is_gone()? {
                    Some("its message is not there, and was not erased")
                } else {
                    None
                }
            }
            ("mapped", None) => Some("it is damaged: it has lost its id"),
            ("none" | "unmapped", _) => None,
            _ => Some("it is damaged: it is neither mapped nor unmapped"),
        };
        if let Some(fault) = fault {
            faults.push((row.get(0)?, fault));
        }
    }
    Ok(Found { faults, is_any_overwritten })
}

/// What is made of it has this id.
fn is_of(original: &[u8], id: &[u8]) -> bool {
    matches!(whatsapp::map_again(original), Mapping::Message(message) if message.message_id().as_bytes() == id)
}
