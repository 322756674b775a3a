//! The figures of `/stats`, exact, from one snapshot (contract, section 4): the index, and the
//! rows behind its mark.

use rusqlite::OptionalExtension;
use rusqlite::types::ValueRef;

use super::StoreError;
use super::column::text;
use super::index::rank;
use super::index::top::Top;
use super::matches;
use super::snapshot::Snapshot;
use super::source::Start;
use super::total::of_sender;
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
pub(super) fn read(snapshot: Snapshot<'_>, instants: &[InstantKey]) -> Result<Stats, StoreError> {
    let Snapshot { connection, marks, places, .. } = snapshot;
    let mut stats = Stats {
        total_messages: marks.ordered,
        senders_count: marks.senders,
        first_ts: ts_at(snapshot, End::First)?,
        last_ts: ts_at(snapshot, End::Last)?,
        messages_since: since(snapshot, instants)?,
        ..Stats::default()
    };
    let mut top = Top::read(connection)?;
    let mut add = |sender: &str, messages: u64| -> Result<(), StoreError> {
        let before = of_sender(connection, sender)?;
        stats.total_messages += messages;
        stats.senders_count += u64::from(before == 0);
        top.raise(sender, messages + before);
        Ok(())
    };
    if let Some(places) = places {
        places.by_sender().into_iter().try_for_each(|(sender, messages)| add(sender, messages))?;
    } else {
        let mut tail = connection.prepare_cached(
            "SELECT from_msisdn, COUNT(*) FROM messages WHERE rowid > ?1 GROUP BY from_msisdn",
        )?;
        let mut tail = tail.query([marks.ordered_through])?;
        while let Some(row) = tail.next()? {
            add(&text(row, 0)?.unwrap_or_default(), row.get::<_, i64>(1)?.unsigned_abs())?;
        }
    }
    stats.top_senders = top.into_senders();
    Ok(stats)
}

/// The tail is gone through once, however many instants there are.
fn since(snapshot: Snapshot<'_>, instants: &[InstantKey]) -> Result<Vec<u64>, StoreError> {
    let Snapshot { connection, marks, places, .. } = snapshot;
    if instants.is_empty() {
        return Ok(Vec::new());
    }
    let indexed = |instant: &InstantKey| {
        rank::before(connection, &Start::at(instant.as_str()).place).map(|before| marks.ordered - before)
    };
    let mut counts = instants.iter().map(indexed).collect::<Result<Vec<_>, _>>()?;
    let mut add = |ts: &[u8]| {
        for (count, instant) in counts.iter_mut().zip(instants) {
            *count += u64::from(ts >= instant.as_str().as_bytes());
        }
    };
    if let Some(places) = places {
        places.all().for_each(|(place, _)| add(place.instant.as_bytes()));
        return Ok(counts);
    }
    let mut tail = connection.prepare_cached("SELECT rtrim(ts, 'Z.0') FROM messages WHERE rowid > ?1")?;
    let mut tail = tail.query([marks.ordered_through])?;
    while let Some(row) = tail.next()? {
        // NULL is no text and, as in SQL, not at or after anything.
        if let ValueRef::Text(ts) = row.get_ref(0)? {
            add(ts);
        }
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
    let Snapshot { connection, marks, places, .. } = snapshot;
    let direction = if end == End::First { "ASC" } else { "DESC" };
    let first = format!("ORDER BY instant {direction}, message_id {direction} LIMIT 1");
    let indexed = connection
        .prepare_cached(&format!("SELECT instant, message_id, message_row FROM messages_order {first}"))?
        .query_row([], matches::place)
        .optional()?;
    let newest = match places {
        Some(places) => {
            let mut places = places.all();
            if end == End::First { places.next() } else { places.next_back() }.cloned()
        }
        None => connection
            .prepare_cached(&format!(
                "SELECT rtrim(ts, 'Z.0') AS instant, ifnull(message_id, '') AS message_id, rowid \
                 FROM messages WHERE rowid > ?1 {first}"
            ))?
            .query_row([marks.ordered_through], matches::place)
            .optional()?,
    };
    let places = indexed.into_iter().chain(newest);
    let Some((_, row)) = (if end == End::First { places.min() } else { places.max() }) else {
        return Ok(None);
    };
    let mut ts = connection.prepare_cached("SELECT ts FROM messages WHERE rowid = ?1")?;
    Ok(ts.query_row([row], |row| text(row, 0))?)
}
