//! The tail is what the order does not know yet: the messages behind its watermark.
//!
//! A connection remembers the first of them, and reads the others from the table each time ([`super::selection`]).

use std::collections::{HashMap, VecDeque};

use rusqlite::Connection;

use super::total::of_sender;
use crate::filter::Filter;
use crate::sort_key::{RawText, SortKey};
use crate::store::index::order::{self, OrderEntry};
use crate::store::index::{Watermarks, first_behind};

/// Messages that are remembered, some 6 MB: twice as many as wait to be put in order where nobody asks anything.
#[cfg(not(test))]
const MAX_REMEMBERED: usize = 32_768;
/// So that the oracle tests have longer tails.
#[cfg(test)]
const MAX_REMEMBERED: usize = 100;

/// With so many bytes of ids no more are remembered: one may be as long as a body.
const MAX_ID_BYTES: usize = 8 << 20;
/// Messages read at once, so that no more of them than that come on top.
const SLICE: usize = 1024;

/// In the order of their rows, without a gap.
#[derive(Default)]
pub(super) struct TailMemory {
    entries: VecDeque<OrderEntry>,
    /// These are all that there are.
    is_whole: bool,
    /// How many messages of a sender the order has, of those who were asked for.
    in_order: HashMap<RawText, u64>,
}

impl TailMemory {
    /// Lets go of what the order knows by now, and reads what has come.
    pub(super) fn catch_up(
        &mut self,
        snapshot: &Connection,
        watermarks: &Watermarks,
    ) -> rusqlite::Result<()> {
        if self.last_row() < watermarks.ordered_through {
            // It knows some that never were in here.
            *self = Self::default();
        }
        let known = self.entries.partition_point(|entry| Some(entry.key.row) <= watermarks.ordered_through);
        for entry in self.entries.drain(..known) {
            if let Some(messages) = self.in_order.get_mut(&entry.sender) {
                *messages += 1;
            }
        }
        self.is_whole = false;
        while !self.is_whole && self.entries.len() < MAX_REMEMBERED && self.id_bytes() < MAX_ID_BYTES {
            let slice = SLICE.min(MAX_REMEMBERED - self.entries.len());
            let behind = self.last_row().max(watermarks.ordered_through);
            let read = order::read(snapshot, behind, slice)?;
            self.is_whole = read.len() < slice;
            self.entries.extend(read);
        }
        Ok(())
    }

    fn id_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.key.message_id.bytes().len()).sum()
    }

    fn last_row(&self) -> Option<i64> {
        self.entries.back().map(|last| last.key.row)
    }

    /// The first row of those that are read from the table, if any are.
    pub(super) fn unread_from(&self, watermarks: &Watermarks) -> Option<i64> {
        (!self.is_whole).then(|| first_behind(self.last_row().max(watermarks.ordered_through)))
    }

    /// Those remembered.
    pub(super) fn entries(&self) -> impl Iterator<Item = &OrderEntry> {
        self.entries.iter()
    }

    /// The places of those that match a filter, its word aside, from one place on.
    pub(super) fn matching<'a>(
        &'a self,
        filter: &'a Filter,
        start: &'a SortKey,
    ) -> impl Iterator<Item = &'a SortKey> {
        let from = filter.from.as_ref().map(|from| from.as_bytes());
        let is_of_sender = move |sender: &RawText| from.is_none_or(|from| sender.0 == from);
        self.entries()
            .filter(move |entry| is_of_sender(&entry.sender))
            .map(|entry| &entry.key)
            .filter(move |key| *key >= start)
    }

    /// How many messages of a sender the order has.
    pub(super) fn in_order(&mut self, snapshot: &Connection, sender: &RawText) -> rusqlite::Result<u64> {
        if let Some(messages) = self.in_order.get(sender) {
            return Ok(*messages);
        }
        let messages = of_sender(snapshot, sender)?;
        if self.in_order.len() >= MAX_REMEMBERED {
            self.in_order.clear();
        }
        self.in_order.insert(sender.clone(), messages);
        Ok(messages)
    }
}
