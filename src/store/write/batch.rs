//! A batch of messages and bodies goes into the tables in one transaction.

use rusqlite::{CachedStatement, Connection};

use super::feed_order::{EpochState, begin_epoch, explicit, settle};
use super::items;
use super::tombstones::{self, Salt};
use crate::clock::now_rfc3339;
use crate::message::Message;
use crate::store::database::insertion::{INSERT, Inserted, Row, insert_row};
use crate::store::database::migrations::ensure_items;
use crate::store::database::transaction::{data_version, schema_version};
use crate::store::read::feed::OrderEnd;
use crate::whatsapp::{Delivery, ItemCounts};

/// Something that is stored whole or not at all.
pub enum Insert {
    Message(Message),
    Delivery(Delivery),
}

impl Insert {
    /// In units of one message: a body counts as what it holds.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Message(_) => 1,
            Self::Delivery(delivery) => delivery.items.len(),
        }
    }
}

/// What has become of something that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    Message(Inserted),
    /// A body, item by item. Boxed, because every message would pay for its size.
    Delivery(Box<ItemCounts>),
}

/// What a transaction has done.
pub struct InsertedBatch<'a> {
    pub(super) outcomes: Vec<Stored>,
    /// The messages that were not there before.
    pub created: Vec<&'a Message>,
    /// SQLite's count of the commits of others, where asking for it takes no lock of its own.
    pub(super) data_version: i64,
    /// The number of the schema, where this has changed it.
    pub(super) schema_version: Option<i64>,
}

impl InsertedBatch<'_> {
    pub fn into_outcomes(self) -> Vec<Stored> {
        self.outcomes
    }
}

/// To be called in a transaction; when that is committed, the epoch has begun.
pub fn insert_batch<'a>(
    connection: &Connection,
    epoch: EpochState,
    inserts: impl Iterator<Item = &'a Insert> + Clone,
) -> rusqlite::Result<InsertedBatch<'a>> {
    let created_at = now_rfc3339();
    let mut has_items = inserts.clone().any(|insert| matches!(insert, Insert::Delivery(_)));
    has_items = has_items && ensure_items(connection)?;
    let schema_version = has_items.then(|| schema_version(connection)).transpose()?;
    let mut inserter = Inserter::begin(connection, epoch)?;
    let one = |insert: &'a Insert| match insert {
        Insert::Message(message) => inserter.message(message, &created_at).map(Stored::Message),
        Insert::Delivery(delivery) => {
            let mut counts = Box::<ItemCounts>::default();
            for item in &delivery.items {
                counts.add(item.kind, items::insert(&mut inserter, item, &created_at)?);
            }
            Ok(Stored::Delivery(counts))
        }
    };
    let outcomes = inserts.map(one).collect::<rusqlite::Result<_>>()?;
    let created = inserter.created;
    Ok(InsertedBatch { outcomes, created, data_version: data_version(connection)?, schema_version })
}

/// Puts messages into the table, each with the time at which it was stored. To be called in a transaction; when that
/// is committed, the epoch has begun.
pub fn insert_all<'a>(
    connection: &Connection,
    epoch: EpochState,
    rows: impl Iterator<Item = (&'a Message, &'a str)>,
) -> rusqlite::Result<Vec<Inserted>> {
    let mut inserter = Inserter::begin(connection, epoch)?;
    rows.map(|(message, created_at)| inserter.message(message, created_at)).collect()
}

/// Stores within one transaction, in the order of the feed.
pub struct Inserter<'c, 'a> {
    pub(super) connection: &'c Connection,
    /// `None` while there is no tombstone.
    pub(super) salt: Option<Salt>,
    insert: CachedStatement<'c>,
    /// The number for the next message, where SQLite would give another.
    number: Option<i64>,
    created: Vec<&'a Message>,
}

impl<'c, 'a> Inserter<'c, 'a> {
    pub fn begin(connection: &'c Connection, epoch: EpochState) -> rusqlite::Result<Self> {
        let end = OrderEnd::read(connection)?;
        settle(&end, connection)?;
        if epoch == EpochState::Due {
            begin_epoch(connection, &end)?;
        }
        Ok(Self {
            connection,
            salt: Salt::if_any_tombstone(connection)?,
            insert: connection.prepare_cached(INSERT)?,
            number: explicit(&end),
            created: Vec::new(),
        })
    }

    pub fn message(&mut self, message: &'a Message, created_at: &str) -> rusqlite::Result<Inserted> {
        if let Some(salt) = &self.salt
            && tombstones::exists(self.connection, salt, message.message_id().as_bytes())?
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
        let inserted = insert_row(self.connection, &mut self.insert, &row, self.number)?;
        if inserted == Inserted::Created {
            // Behind the first one that was created SQLite goes on by itself.
            self.number = None;
            self.created.push(message);
        }
        Ok(inserted)
    }
}
