//! The tail of the order is the messages that are not in the index's order yet, in that order.

use std::collections::BTreeMap;
use std::ops::Bound;

use rusqlite::Connection;

use super::{TailExtent, TailStep};
use crate::limits::MAX_KEPT_PLACES;
use crate::sort_key::{RawText, SortKey};
use crate::store::database::sort_columns::{SENDER, key_of_message, sort_key};
use crate::store::index::{Watermarks, first_behind};
use crate::store::read::source::Values;

/// What they may take there.
const MAX_KEPT_PLACES_BYTES: usize = 8 << 20;

/// Where messages are, and who has sent them.
#[derive(Default)]
pub(in crate::store) struct Places {
    senders: BTreeMap<SortKey, RawText>,
    bytes: usize,
    extent: TailExtent,
}

impl Places {
    /// Up to the last row of a state. False if that is too much.
    pub(super) fn follow(
        &mut self,
        connection: &Connection,
        watermarks: &Watermarks,
        last: Option<i64>,
    ) -> rusqlite::Result<bool> {
        let after = watermarks.ordered_through;
        match self.extent.begin_after(after, watermarks) {
            TailStep::Clear => self.clear(),
            TailStep::LetGo => {
                self.senders.retain(|key, _| Some(key.row) > after);
                self.bytes = self.senders.iter().map(|(key, sender)| bytes_of(key, sender)).sum();
            }
            TailStep::Nothing => {}
        }
        if !self.extent.may_be_kept() {
            return Ok(false);
        }
        if last <= self.extent.through {
            return Ok(true);
        }
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {}, {SENDER} FROM messages AS m NOT INDEXED WHERE m.rowid >= ?1",
            key_of_message()
        ))?;
        let mut rows = statement.query([first_behind(self.extent.through)])?;
        let (mut newer, mut bytes) = (Vec::new(), self.bytes);
        while let Some(row) = rows.next()? {
            let (key, sender) = (sort_key(row, 0)?, row.get(3)?);
            bytes += bytes_of(&key, &sender);
            if bytes > MAX_KEPT_PLACES_BYTES || self.senders.len() + newer.len() >= MAX_KEPT_PLACES {
                return Ok(self.give_up(last));
            }
            newer.push((key, sender));
        }
        // Not before all of it was read: a query may be given up on the way.
        self.senders.extend(newer);
        (self.extent.through, self.bytes) = (last, bytes);
        Ok(true)
    }

    fn clear(&mut self) {
        self.senders.clear();
        self.bytes = 0;
    }

    fn give_up(&mut self, last: Option<i64>) -> bool {
        self.clear();
        self.extent.give_up(last);
        false
    }

    /// What matches a filter without a word, in its order.
    pub(in crate::store) fn matching<'a>(
        &'a self,
        values: &'a Values<'_>,
    ) -> impl Iterator<Item = &'a SortKey> {
        let from = values.filter().from.as_ref();
        let (start, after) = (values.start.key.clone(), values.start.after);
        let first = if after { Bound::Excluded(start) } else { Bound::Included(start) };
        self.senders
            .range((first, Bound::Unbounded))
            .filter(move |(_, sender)| from.is_none_or(|from| sender.0 == from.as_bytes()))
            .map(|(key, _)| key)
    }

    /// All of them, in their order.
    pub(in crate::store) fn all(&self) -> impl DoubleEndedIterator<Item = &SortKey> {
        self.senders.keys()
    }

    /// How many each sender has sent.
    pub(in crate::store) fn by_sender(&self) -> BTreeMap<&RawText, u64> {
        let mut senders = BTreeMap::new();
        for sender in self.senders.values() {
            *senders.entry(sender).or_default() += 1;
        }
        senders
    }
}

fn bytes_of(key: &SortKey, sender: &RawText) -> usize {
    size_of::<(SortKey, RawText)>() + key.instant.0.len() + key.message_id.bytes().len() + sender.0.len()
}
