//! A batch of messages goes into the table in one transaction.

use rusqlite::Connection;

use super::feed_order::{EpochState, OrderEnd, begin_epoch};
use super::tombstones::{self, Salt};
use crate::clock::now_rfc3339;
use crate::message::Message;
use crate::store::database::insertion::{INSERT, Inserted, Row, insert_row};
use crate::store::database::transaction::data_version;

/// What a transaction has done.
pub(super) struct InsertedBatch {
    /// Of each message.
    pub(super) outcomes: Vec<Inserted>,
    /// SQLite's count of the commits of others, where asking for it takes no lock of its own.
    pub(super) data_version: i64,
}

/// To be called in a transaction; when that is committed, the epoch has begun.
pub(super) fn insert_batch<'a>(
    connection: &Connection,
    epoch: EpochState,
    messages: impl Iterator<Item = &'a Message>,
) -> rusqlite::Result<InsertedBatch> {
    let created_at = now_rfc3339();
    let rows = messages.map(|message| (message, created_at.as_str()));
    let outcomes = insert_all(connection, epoch, rows)?;
    Ok(InsertedBatch { outcomes, data_version: data_version(connection)? })
}

/// Puts messages into the table, each with the time at which it was stored. To be called in a transaction; when that
/// is committed, the epoch has begun.
pub(in crate::store) fn insert_all<'a>(
    connection: &Connection,
    epoch: EpochState,
    rows: impl Iterator<Item = (&'a Message, &'a str)>,
) -> rusqlite::Result<Vec<Inserted>> {
    let end = OrderEnd::read(connection)?;
    end.settle(connection)?;
    if epoch == EpochState::Due {
        begin_epoch(connection, end)?;
    }
    let mut number = end.explicit();
    let salt = Salt::if_any_tombstone(connection)?;
    let mut insert = connection.prepare_cached(INSERT)?;
    let one = |(message, created_at): (&Message, &str)| {
        if let Some(salt) = &salt
            && tombstones::exists(connection, salt, message.message_id())?
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
        let inserted = insert_row(connection, &mut insert, &row, number)?;
        // Behind the first one that was created SQLite goes on by itself.
        number = number.filter(|_| inserted == Inserted::Duplicate);
        Ok(inserted)
    };
    rows.map(one).collect()
}
