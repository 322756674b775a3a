//! The figures of `/stats`, exact, from one snapshot (contract, section 4).

use rusqlite::Connection;

use super::StoreError;
use super::page::text;
use crate::limits::TOP_SENDERS;

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
}

/// Reads the figures. They agree with each other if the connection is inside a transaction.
pub(super) fn read(connection: &Connection) -> Result<Stats, StoreError> {
    let mut stats = Stats {
        first_ts: one_ts(connection, "ASC")?,
        last_ts: one_ts(connection, "DESC")?,
        ..Stats::default()
    };
    // One pass over the index of senders gives all three counts.
    let mut statement =
        connection.prepare_cached("SELECT from_msisdn, COUNT(*) FROM messages GROUP BY from_msisdn")?;
    let mut senders = statement.query([])?;
    while let Some(row) = senders.next()? {
        let count = row.get::<_, i64>(1)?.unsigned_abs();
        stats.total_messages += count;
        stats.senders_count += 1;
        insert_if_top(&mut stats.top_senders, text(row, 0)?.unwrap_or_default(), count);
    }
    Ok(stats)
}

/// Senders arrive in ascending order, so of equal counts the one that is there already stays ahead.
fn insert_if_top(top: &mut Vec<(String, u64)>, sender: String, count: u64) {
    let place = top.partition_point(|(_, other)| *other >= count);
    if place < TOP_SENDERS as usize {
        top.insert(place, (sender, count));
        top.truncate(TOP_SENDERS as usize);
    }
}

fn one_ts(connection: &Connection, direction: &str) -> Result<Option<String>, StoreError> {
    let sql = format!(
        "SELECT ts FROM messages ORDER BY rtrim(ts, 'Z.0') {direction}, message_id {direction} LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        Some(row) => Ok(text(row, 0)?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_ten_stay_and_ties_are_by_name() {
        let mut top = Vec::new();
        for n in 0..30_u64 {
            insert_if_top(&mut top, format!("+{n:02}"), n % 3);
        }
        let names: Vec<_> = top.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["+02", "+05", "+08", "+11", "+14", "+17", "+20", "+23", "+26", "+29"]);
    }
}
