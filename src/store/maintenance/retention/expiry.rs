//! Expiry deletes the messages and items that are older than `RETENTION_DAYS`, where the clock is one to go by.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::age::{self, Calendar, ExpiredMessage};
use super::trusted_clock::{self, ClockVerdict, EXPIRY_INTERVAL};
use super::{EXPIRY_REST, LastPass, RetentionLoop};
use crate::limits::{BUSY_WEBHOOKS, CHANGES_POLL};
use crate::log::{Level, Line};
use crate::priority::Priority;
use crate::store::database::migrations::has_items;
use crate::store::error::StoreError;
use crate::store::index::{Watermarks, changes};
use crate::store::maintenance::{DELETED_SLICE, deletion, items};
use crate::store::write::tombstones;

/// While webhooks come, deletion rests for so many times as long, so that it has a twentieth of the writer; unless the
/// last pass was cut short at [`EXPIRY_INTERVAL`], because messages came faster than they went.
const BUSY_EXPIRY_REST: u32 = 19;
/// How long the next slice waits for the index to know of the last one; queries wait with it. An index that
/// takes longer is behind for other reasons.
const EXPIRY_INDEX_PATIENCE: Duration = Duration::from_secs(1);
/// Messages whose age is looked at in one snapshot, before the first of them is deleted: some milliseconds.
const EXPIRY_SCAN: usize = 4096;

/// Deletes those messages that are still what they were, and puts their tombstones. To be called in a
/// transaction. Gives their number.
pub fn delete(connection: &Connection, expired: &[ExpiredMessage], at: i64) -> rusqlite::Result<u64> {
    const TELLS: &str = "CAST(created_at AS BLOB) IS ?2";
    // The index need not hear of a text that is on its way out: it hears of the deletion in the same transaction.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    let overwritten = deletion::overwrite_texts(connection, TELLS, expired);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
    overwritten?;
    deletion::delete(connection, TELLS, expired, at)
}

impl RetentionLoop {
    /// Whether something could be too old, and the clock is one to go by. What follows from this look is kept.
    pub(super) fn may_delete(&mut self) -> Result<bool, StoreError> {
        let messages = self.messages()?;
        if self.parts.days.is_none() && !tombstones::are_any(&messages)? {
            return Ok(false);
        }
        self.now = trusted_clock::now();
        let calendar = Calendar::new(self.now, 0);
        let ahead = age::newest(&messages)?.filter(|date| calendar.is_future(date));
        let is_before_newest = ahead.is_some() && ahead != self.doubted_for;
        let verdict = trusted_clock::verdict(trusted_clock::read(&messages)?, is_before_newest, self.now);
        let not_before = trusted_clock::not_before(verdict, self.now);
        if let Some(not_before) = not_before {
            self.parts.jobs.run(move |connection| trusted_clock::write(connection, not_before))?;
        }
        if let (ClockVerdict::Doubt(doubt), Some(until), true) =
            (verdict, not_before, self.parts.days.is_some())
        {
            let line =
                Line::event(Level::Warning, "expiry_waits").text("until", &trusted_clock::rfc3339(until));
            self.parts.log.write(&line.text("detail", doubt.text()));
        }
        // The day that is waited for is for this as well; garbage must not hold everything up for ever.
        self.doubted_for = ahead;
        Ok(verdict == ClockVerdict::Delete)
    }

    /// Deletes every message that is too old, as far as it comes before the next look. Gives their number, and
    /// whether that was all.
    pub(super) fn expire(&mut self, days: u32) -> Result<(u64, bool), StoreError> {
        let calendar = Calendar::new(self.now, days);
        let messages = self.messages()?;
        let (mut expired, pass_began) = (0, Instant::now());
        while let Some(last) = age::last_too_old(&messages, &calendar, EXPIRY_SCAN)? {
            loop {
                if self.stopping || pass_began.elapsed() >= EXPIRY_INTERVAL {
                    return Ok((expired, false));
                }
                let slice = age::first(&messages, &calendar, last, DELETED_SLICE)?;
                if slice.is_empty() {
                    break;
                }
                expired += self.expire_slice(&messages, slice)?;
            }
        }
        Ok((expired, self.expire_items(&messages, &calendar, pass_began)?))
    }

    /// Deletes every item of WhatsApp that is too old, as far as it comes before the next look. Whether that was all.
    fn expire_items(
        &mut self,
        messages: &Connection,
        calendar: &Calendar,
        pass_began: Instant,
    ) -> Result<bool, StoreError> {
        let at = self.now;
        while has_items(messages)? {
            let expired = age::first_items(messages, calendar, DELETED_SLICE)?;
            if expired.is_empty() {
                break;
            }
            if self.stopping || pass_began.elapsed() >= EXPIRY_INTERVAL {
                return Ok(false);
            }
            self.slice(EXPIRY_REST, move |connection| {
                items::overwrite(connection, &expired)?;
                items::delete(connection, &expired, at)
            })?;
        }
        Ok(true)
    }

    fn expire_slice(
        &mut self,
        messages: &Connection,
        expired: Vec<ExpiredMessage>,
    ) -> Result<u64, StoreError> {
        let at = self.now;
        let is_busy = self.parts.metrics.in_flight(Priority::Ingest).load(Relaxed) >= BUSY_WEBHOOKS;
        // Where messages come faster than they go, the file would grow for ever.
        let rest = match self.last_pass {
            LastPass::Never | LastPass::FinishedAt(_) if is_busy => BUSY_EXPIRY_REST,
            _ => EXPIRY_REST,
        };
        let deleted = self.slice(rest, move |connection| delete(connection, &expired, at))?;
        self.parts.metrics.messages_expired.fetch_add(deleted, Relaxed);
        self.wait_for_index(messages)?;
        self.remove_changes()?;
        Ok(deleted)
    }

    fn wait_for_index(&self, messages: &Connection) -> Result<(), StoreError> {
        let began = Instant::now();
        while began.elapsed() < EXPIRY_INDEX_PATIENCE
            && let Some(changes_through) = self.changes_known_to_index()
            && changes::are_pending(messages, &Watermarks { changes_through, ..Watermarks::default() })?
        {
            thread::sleep(CHANGES_POLL);
        }
        Ok(())
    }
}
