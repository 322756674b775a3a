//! A batch of messages goes into the table in one transaction.

use rusqlite::{Connection, Statement};

use super::tombstones::{self, Salt};
use crate::clock::now_rfc3339;
use crate::message::Message;
use crate::store::database::insertion::{INSERT, Inserted, Row, insert_row};
use crate::store::database::transaction::{data_version, in_transaction, schema_version};

/// What a transaction has done.
pub(super) struct InsertedBatch {
    /// Of each message.
    pub(super) outcomes: Vec<Inserted>,
    /// SQLite's count of the commits of others, where asking for it takes no lock of its own.
    pub(super) data_version: i64,
}

/// `None`, and nothing is done, if the schema is another one than was looked at.
pub(super) fn insert_batch(
    connection: &Connection,
    schema: i64,
    messages: &[Message],
) -> rusqlite::Result<Option<InsertedBatch>> {
    in_transaction(connection, |connection| {
        if schema_version(connection)? != schema {
            return Ok(None);
        }
        let created_at = now_rfc3339();
        let salt = Salt::if_any_is_remembered(connection)?;
        let mut insert = connection.prepare_cached(INSERT)?;
        let mut one = |message| insert_one(connection, &mut insert, salt.as_ref(), message, &created_at);
        let outcomes = messages.iter().map(&mut one).collect::<rusqlite::Result<_>>()?;
        Ok(Some(InsertedBatch { outcomes, data_version: data_version(connection)? }))
    })
}

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
