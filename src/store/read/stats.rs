//! The statistics of `/stats` are exact, from one snapshot (contract, section 4): the index with the rows behind its
//! watermark.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::Snapshot;
use super::total::indexed_from;
use crate::filter::Filter;
use crate::sort_key::{RawText, SortKey};
use crate::store::database::column::text;
use crate::store::database::sort_columns::{KEY, SENDER, is_key_of, key_of_message, sort_key};
use crate::store::error::StoreError;
use crate::store::index;
use crate::store::index::top_senders::TopSenders;
use crate::timestamp::InstantKey;

/// Counts over the whole store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    pub total_messages: u64,
    pub senders_count: u64,
    /// Busiest senders first, by name where they are equally busy; ten at most.
    pub top_senders: Vec<(String, u64)>,
    /// `ts`, as sent, of the earliest and of the latest instant.
    pub first_ts: Option<String>,
    pub last_ts: Option<String>,
    /// For each instant that was asked for, the messages at it or later.
    pub messages_since: Vec<u64>,
}

/// Reads the figures, and how many messages there are since each of `instants`. They agree with each
/// other.
pub fn read(snapshot: Snapshot<'_>, instants: &[InstantKey]) -> Result<Stats, StoreError> {
    let Snapshot { connection, watermarks, .. } = snapshot;
    let indexed_since = |instant: &InstantKey| indexed_from(snapshot, &SortKey::first_at(instant.as_str()));
    let mut since = instants.iter().map(indexed_since).collect::<Result<Vec<_>, _>>()?;
    let mut first = end_of_order(connection, "ASC")?;
    let mut last = end_of_order(connection, "DESC")?;
    let mut in_tail = HashMap::<RawText, u64>::new();
    let mut count = |key: &SortKey, sender: &RawText| {
        for (count, instant) in since.iter_mut().zip(instants) {
            *count += u64::from(key.instant.0.as_slice() >= instant.as_str().as_bytes());
        }
        if first.as_ref().is_none_or(|first| key < first) {
            first = Some(key.clone());
        }
        if last.as_ref().is_none_or(|last| key > last) {
            last = Some(key.clone());
        }
        match in_tail.get_mut(sender) {
            Some(messages) => *messages += 1,
            None => drop(in_tail.insert(sender.clone(), 1)),
        }
    };
    for entry in snapshot.memory.borrow().tail.entries() {
        count(&entry.key, &entry.sender);
    }
    let filter = Filter::default();
    let selection = snapshot.selection(&filter);
    let all = selection.all();
    if let Some(unread) = selection.in_unread(&format!("{}, {SENDER}", key_of_message()), &all) {
        let mut unread = selection.prepare(connection, &unread, &all)?;
        let mut unread = unread.raw_query();
        while let Some(row) = unread.next()? {
            count(&sort_key(row, 0)?, &row.get(3)?);
        }
    }

    let mut stats = Stats {
        total_messages: watermarks.ordered,
        senders_count: watermarks.senders,
        first_ts: first.map_or(Ok(None), |key| ts_at(connection, &key))?,
        last_ts: last.map_or(Ok(None), |key| ts_at(connection, &key))?,
        messages_since: since,
        ..Stats::default()
    };
    let mut top = TopSenders::read(connection)?;
    let mut memory = snapshot.memory.borrow_mut();
    for (sender, messages) in in_tail {
        let before = memory.tail.in_order(connection, &sender)?;
        stats.total_messages += messages;
        stats.senders_count += u64::from(before == 0);
        top.raise(&sender, messages + before);
    }
    stats.top_senders = top.into_senders();
    Ok(stats)
}

/// The place at one end of the order.
fn end_of_order(connection: &Connection, direction: &str) -> rusqlite::Result<Option<SortKey>> {
    let sql = format!(
        "SELECT {KEY} FROM messages_order \
         ORDER BY instant {direction}, message_id {direction}, message_row {direction} LIMIT 1"
    );
    connection.prepare_cached(&sql)?.query_row([], |row| sort_key(row, 0)).optional()
}

/// The `ts` of the message at a place.
fn ts_at(connection: &Connection, key: &SortKey) -> Result<Option<String>, StoreError> {
    let mut ts = connection.prepare_cached("SELECT ts, message_id FROM messages WHERE rowid = :row")?;
    let mut ts = ts.query([key.row])?;
    match ts.next()? {
        Some(row) if is_key_of(key, row.get_ref(0)?, row.get_ref(1)?) => Ok(text(row, 0)?),
        _ => Err(index::is_wrong("the message at an end of the order is not there")),
    }
}
