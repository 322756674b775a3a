//! Removal takes away what was kept for a while: changes that the index knows, and tombstones that have stayed for long
//! enough.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{EXPIRY_REST, RETENTION_INTERVAL, RetentionLoop};
use crate::limits::REMOVAL_SLICE;
use crate::store::error::StoreError;
use crate::store::index::changes;
use crate::store::write::tombstones;

/// How long the tombstone of a message stays. Senders try again for up to seven days.
const TOMBSTONES_STAY: Duration = Duration::from_secs(8 * 86_400);

impl RetentionLoop {
    /// The last change that the index takes account of; `None` while there is no index.
    pub(super) fn changes_known_to_index(&self) -> Option<i64> {
        self.parts.epochs.current().index.map(|index| index.changes_through)
    }

    /// Removes changes that the index has known for a while.
    pub(super) fn remove_changes(&mut self) -> Result<(), StoreError> {
        if self.known.is_some_and(|(_, since)| since.elapsed() < RETENTION_INTERVAL) {
            return Ok(());
        }
        let known = self.changes_known_to_index();
        let through = match known {
            Some(_) => self.known.map_or(0, |(through, _)| through),
            None => changes::too_many(&*self.messages()?)?.unwrap_or(0),
        };
        while self.removed < through && !self.stopping {
            let remove = move |connection: &Connection| changes::remove(connection, through, REMOVAL_SLICE);
            if !self.slice(EXPIRY_REST, remove)? {
                self.removed = through;
            }
        }
        self.known = known.map(|through| (through, Instant::now()));
        Ok(())
    }

    /// Removes the tombstones that have stayed for long enough.
    pub(super) fn remove_tombstones(&mut self) -> Result<(), StoreError> {
        let connection = self.messages()?;
        let before = self.now.saturating_sub(TOMBSTONES_STAY.as_secs() as i64);
        let mut after = Vec::new();
        while !self.pause(Duration::ZERO)
            && let Some(stretch) = tombstones::stretch(&connection, after, before)?
        {
            after = stretch.through.clone();
            if stretch.old > 0 {
                let remove = move |connection: &Connection| tombstones::remove(connection, &stretch, before);
                self.slice(EXPIRY_REST, remove)?;
            }
        }
        Ok(())
    }
}
