//! The statistics of `/stats` are exact, from one snapshot (contract, section 4): the index with the rows behind its
//! watermark.

use rusqlite::OptionalExtension;

use super::snapshot::Snapshot;
use super::source::{Start, UNORDERED};
use super::total::{indexed_from, of_sender};
use crate::sort_key::RawText;
use crate::store::database::column::text;
use crate::store::database::sort_columns::{INSTANT, KEY, SENDER, is_key_of, key_of_message, sort_key};
use crate::store::error::StoreError;
use crate::store::index::top_senders::TopSenders;
use crate::store::index::{self, first_behind};
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
pub(in crate::store) fn read(snapshot: Snapshot<'_>, instants: &[InstantKey]) -> Result<Stats, StoreError> {
    let Snapshot { connection, watermarks, places, .. } = snapshot;
    let mut stats = Stats {
        total_messages: watermarks.ordered,
        senders_count: watermarks.senders,
        first_ts: ts_at(snapshot, End::First)?,
        last_ts: ts_at(snapshot, End::Last)?,
        messages_since: since(snapshot, instants)?,
        ..Stats::default()
    };
    let mut top = TopSenders::read(connection)?;
    let mut add = |sender: &RawText, messages: u64| -> Result<(), StoreError> {
        let before = of_sender(connection, sender)?;
        stats.total_messages += messages;
        stats.senders_count += u64::from(before == 0);
        top.raise(sender, messages + before);
        Ok(())
    };
    if let Some(places) = places {
        places.by_sender().into_iter().try_for_each(|(sender, messages)| add(sender, messages))?;
    } else {
        let mut tail = connection.prepare_cached(&format!(
            "SELECT {SENDER}, COUNT(*) FROM messages AS m WHERE {UNORDERED} GROUP BY 1"
        ))?;
        let mut tail = tail.query([first_behind(watermarks.ordered_through)])?;
        while let Some(row) = tail.next()? {
            add(&row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())?;
        }
    }
    stats.top_senders = top.into_senders();
    Ok(stats)
}

/// The tail is gone through once, however many instants there are.
fn since(snapshot: Snapshot<'_>, instants: &[InstantKey]) -> Result<Vec<u64>, StoreError> {
    let Snapshot { connection, watermarks, places, .. } = snapshot;
    if instants.is_empty() {
        return Ok(Vec::new());
    }
    let indexed = |instant: &InstantKey| indexed_from(snapshot, &Start::at(instant.as_str()));
    let mut counts = instants.iter().map(indexed).collect::<Result<Vec<_>, _>>()?;
    let mut add = |ts: &[u8]| {
        for (count, instant) in counts.iter_mut().zip(instants) {
            *count += u64::from(ts >= instant.as_str().as_bytes());
        }
    };
    if let Some(places) = places {
        places.all().for_each(|key| add(&key.instant.0));
        return Ok(counts);
    }
    let sql = format!("SELECT {INSTANT} FROM messages AS m WHERE {UNORDERED}");
    let mut tail = connection.prepare_cached(&sql)?;
    let mut tail = tail.query([first_behind(watermarks.ordered_through)])?;
    while let Some(row) = tail.next()? {
        add(row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?);
    }
    Ok(counts)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// The `ts` of the message at one end of the order.
fn ts_at(snapshot: Snapshot<'_>, end: End) -> Result<Option<String>, StoreError> {
    let Snapshot { connection, watermarks, places, .. } = snapshot;
    let direction = if end == End::First { "ASC" } else { "DESC" };
    let first =
        format!("ORDER BY instant {direction}, message_id {direction}, message_row {direction} LIMIT 1");
    let indexed = connection
        .prepare_cached(&format!("SELECT {KEY} FROM messages_order {first}"))?
        .query_row([], |row| sort_key(row, 0))
        .optional()?;
    let newest = match places {
        Some(places) => {
            let mut places = places.all();
            if end == End::First { places.next() } else { places.next_back() }.cloned()
        }
        None => connection
            .prepare_cached(&format!(
                "SELECT {} FROM messages AS m WHERE {UNORDERED} {first}",
                key_of_message(),
            ))?
            .query_row([first_behind(watermarks.ordered_through)], |row| sort_key(row, 0))
            .optional()?,
    };
    let keys = indexed.into_iter().chain(newest);
    let Some(key) = (if end == End::First { keys.min() } else { keys.max() }) else {
        return Ok(None);
    };
    let mut ts = connection.prepare_cached("SELECT ts, message_id FROM messages WHERE rowid = ?1")?;
    let mut ts = ts.query([key.row])?;
    match ts.next()? {
        Some(row) if is_key_of(&key, row.get_ref(0)?, row.get_ref(1)?) => Ok(text(row, 0)?),
        _ => Err(index::is_wrong("the message at an end of the order is not there")),
    }
}
