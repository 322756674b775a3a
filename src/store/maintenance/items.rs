//! An item of WhatsApp is deleted as a message is, with nothing left behind but a tombstone.
//!
//! It goes when it is too old, or when it names a person who is erased: what they sent, statuses of messages to them,
//! their entries in lists of contacts or threads.

use rusqlite::Connection;

use super::ITEMS_SLICE;
use super::deletion::Target;
use crate::store::database::migrations::has_items;
use crate::store::write::tombstones;
use crate::whatsapp::{Mapping, has_content, is_sent_by, map_again, names};

/// An item that is to go: its number, and its key.
pub(super) struct ErasableItem(pub(super) i64, pub(super) [Vec<u8>; 2]);

/// Of the items behind `after`, up to `last`, those that name one of the people; and up to where this has looked. `None`
/// at the end.
pub(super) fn find(
    connection: &Connection,
    people: &[String],
    after: i64,
    last: i64,
) -> rusqlite::Result<Option<(Vec<ErasableItem>, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT item, id_hash, content_hash, CAST(original AS BLOB) FROM messages_items \
         WHERE item > ?1 AND item <= ?2 ORDER BY item LIMIT ?3",
    )?;
    let mut rows = statement.query((after, last, ITEMS_SLICE as i64))?;
    let (mut found, mut through) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let item = row.get(0)?;
        through = Some(item);
        let original = row.get_ref(3)?.as_bytes_or_null()?.unwrap_or_default();
        // What an erasure that was cut short has overwritten names nobody any more.
        let key: [Vec<u8>; 2] = [row.get(1)?, row.get(2)?];
        if is_overwritten(original, &key[1]) || people.iter().any(|person| names(original, person)) {
            found.push(ErasableItem(item, key));
        }
    }
    Ok(through.map(|through| (found, through)))
}

/// Rows of messages that are from one of the people by another name than the row's: a number beside a user id. Only those
/// whose sender is still the one that the item says.
pub(super) fn rows_of(
    connection: &Connection,
    people: &[String],
    last: i64,
) -> rusqlite::Result<Vec<Target<String>>> {
    if !has_items(connection)? {
        return Ok(Vec::new());
    }
    let mut items = connection.prepare_cached(
        "SELECT CAST(original AS BLOB) FROM messages_items WHERE mapping = 'mapped' ORDER BY item",
    )?;
    let mut find = connection.prepare_cached(
        "SELECT rowid, CAST(message_id AS BLOB) FROM messages WHERE message_id = ?1 AND from_msisdn = ?2 AND rowid <= ?3",
    )?;
    let (mut rows, mut found) = (items.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        let original = row.get_ref(0)?.as_bytes_or_null()?.unwrap_or_default();
        if !people.iter().any(|person| is_sent_by(original, person)) {
            continue;
        }
        if let Mapping::Message(message) = map_again(original)
            && !people.iter().any(|person| person == message.from())
        {
            let mut those = find.query((message.message_id(), message.from(), last))?;
            while let Some(row) = those.next()? {
                found.push((row.get(0)?, message.from().to_owned(), row.get(1)?));
            }
        }
    }
    Ok(found)
}

/// The number of the last item, where there is any.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !has_items(connection)? {
        return Ok(None);
    }
    connection.query_row("SELECT max(item) FROM messages_items", [], |row| row.get(0))
}

/// Whether [`overwrite`] has been here.
pub(super) fn is_overwritten(original: &[u8], content: &[u8]) -> bool {
    original.iter().all(|byte| *byte == 0) && !has_content(original, content)
}

/// Overwrites items where they stand, as texts are ([`super::deletion`]). To be called in a transaction.
pub(super) fn overwrite(connection: &Connection, items: &[ErasableItem]) -> rusqlite::Result<()> {
    let mut overwrite = connection.prepare_cached(
        "UPDATE messages_items SET original = zeroblob(octet_length(original)), \
         message_id = CASE WHEN message_id <> '' THEN printf('%.*c', octet_length(message_id), '0') END \
         WHERE item = ?1 AND id_hash = ?2 AND content_hash = ?3",
    )?;
    items
        .iter()
        .try_for_each(|ErasableItem(item, [id, content])| overwrite.execute((item, id, content)).map(drop))
}

/// Deletes those that are still what they were, and puts their tombstones. To be called in a transaction. Gives their
/// number.
pub(super) fn delete(connection: &Connection, items: &[ErasableItem], at: i64) -> rusqlite::Result<u64> {
    let salt = tombstones::Salt::read(connection)?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM messages_items WHERE item = ?1 AND id_hash = ?2 AND content_hash = ?3",
    )?;
    let mut deleted = 0;
    for ErasableItem(item, [id, content]) in items {
        if delete.execute((item, id, content))? > 0 {
            deleted += 1;
            tombstones::put(connection, &salt, &[&id[..], content].concat(), at)?;
        }
    }
    Ok(deleted)
}
