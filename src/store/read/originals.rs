//! The original of a message is what WhatsApp sent of it, as it came (contract, section 14).

use rusqlite::{Connection, OptionalExtension};
use serde_json::value::RawValue;

use super::page::StoredMessage;
use crate::store::database::migrations::has_items;
use crate::whatsapp::message_key;

/// Bytes of originals on one page, after which it ends: a hundred as they usually are take a tenth of that. One is no
/// larger than a body, so an answer has less than twice as many.
const MAX_PAGE_BYTES: usize = 5 << 20;

/// Valid JSON, to the byte as it came.
#[derive(Debug, Clone)]
pub struct Original(Box<RawValue>);

impl Original {
    /// `None` of what is no JSON: somebody has worked on the file by hand.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        RawValue::from_string(String::from_utf8(bytes).ok()?).ok().map(Self)
    }

    pub fn json(&self) -> &RawValue {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.get().len()
    }
}

impl PartialEq for Original {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Where originals are looked for: nowhere if they were not asked for, or if the file has none.
pub(super) struct Originals<'c>(Option<&'c Connection>);

impl<'c> Originals<'c> {
    /// Of the snapshot that the connection has.
    pub(super) fn new(connection: &'c Connection, are_asked_for: bool) -> rusqlite::Result<Self> {
        Ok(Self(if are_asked_for && has_items(connection)? { Some(connection) } else { None }))
    }

    /// Adds them to a page, which ends behind the one that fills it.
    pub(super) fn add(&self, rows: &mut Vec<StoredMessage>) -> rusqlite::Result<()> {
        let (mut added, mut bytes) = (0, 0);
        for row in rows.iter_mut() {
            row.original = self.of(&row.message_id)?;
            bytes += row.original.as_ref().map_or(0, Original::len);
            added += 1;
            if bytes >= MAX_PAGE_BYTES {
                break;
            }
        }
        rows.truncate(added);
        Ok(())
    }

    /// The first that came of this message.
    pub(super) fn of(&self, message_id: &str) -> rusqlite::Result<Option<Original>> {
        let Some(connection) = self.0 else {
            return Ok(None);
        };
        let mut statement = connection.prepare_cached(
            "SELECT CAST(original AS BLOB) FROM messages_items WHERE item = (SELECT min(item) FROM messages_items \
                WHERE id_hash = ?1 AND kind = 'message' AND message_id = ?2)",
        )?;
        let found =
            statement.query_row((message_key(message_id), message_id), |row| row.get(0)).optional()?;
        Ok(found.and_then(Original::parse))
    }
}
