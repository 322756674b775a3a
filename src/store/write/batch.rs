//! A batch of messages goes into the table in one transaction.

use rusqlite::{Connection, Statement};

use super::tombstones::{self, Salt};
use crate::message::Message;
use crate::store::database::insertion::{Inserted, Row, insert_row};

/// By the statement [`INSERT`]; with the salt, if the ids of any messages that are gone are remembered.
pub(in crate::store) fn insert_one(
    connection: &Connection,
    insert: &mut Statement<'_>,
    salt: Option<&Salt>,
    message: &Message,
    created_at: &str,
) -> rusqlite::Result<Inserted> {
    if let Some(salt) = salt
        && tombstones::is_remembered(connection, salt, message.message_id())?
    {
        return Ok(Inserted::Duplicate);
    }
    let row = Row {
        message_id: message.message_id(),
        from: message.from(),
        to: message.to(),
        ts: message.ts(),
        text: message.text(),
        created_at,
    };
    insert_row(connection, insert, &row)
}
