//! The messages that are not in the index's order yet, in that order.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::super::column::text;
use super::super::index::Marks;
use super::super::index::rank::Place;
use super::super::source::Values;
use super::{Extent, Step};
use crate::limits::{MOST_KEPT_PLACES, MOST_KEPT_PLACES_BYTES};

/// Where messages are, and who has sent them.
#[derive(Default)]
pub(in super::super) struct Places {
    senders: BTreeMap<(Place, i64), String>,
    bytes: usize,
    extent: Extent,
}

impl Places {
    /// Up to the last row of a state. False if that is too much.
    pub(super) fn follow(
        &mut self,
        connection: &Connection,
        marks: &Marks,
        last: i64,
    ) -> rusqlite::Result<bool> {
        let after = marks.ordered_through;
        match self.extent.begin_after(after, marks) {
            Step::Clear => self.clear(),
            Step::LetGo => {
                self.senders.retain(|(_, row), _| *row > after);
                self.bytes = self.senders.iter().map(|((place, _), sender)| bytes_of(place, sender)).sum();
            }
            Step::Nothing => {}
        }
        if !self.extent.may_be_kept() {
            return Ok(false);
        }
        if last.saturating_sub(after) > MOST_KEPT_PLACES {
            return Ok(self.give_up(last));
        }
        if last <= self.extent.through {
            return Ok(true);
        }
        let mut statement = connection.prepare_cached(
            "SELECT rtrim(ts, 'Z.0'), message_id, from_msisdn, rowid FROM messages NOT INDEXED WHERE rowid > ?1",
        )?;
        let mut rows = statement.query([self.extent.through])?;
        let (mut newer, mut bytes) = (Vec::new(), self.bytes);
        while let Some(row) = rows.next()? {
            let column = |column| text(row, column).map(Option::unwrap_or_default);
            let (place, sender) = (Place { instant: column(0)?, message_id: column(1)? }, column(2)?);
            bytes += bytes_of(&place, &sender);
            if bytes > MOST_KEPT_PLACES_BYTES {
                return Ok(self.give_up(last));
            }
            newer.push(((place, row.get(3)?), sender));
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

    fn give_up(&mut self, last: i64) -> bool {
        self.clear();
        self.extent.give_up(last);
        false
    }

    /// What matches a filter without a word, in its order.
    pub(in super::super) fn matching<'a>(
        &'a self,
        values: &'a Values<'_>,
    ) -> impl Iterator<Item = (&'a Place, i64)> {
        let from = values.filter().from.as_ref();
        let start = &values.start;
        let first = (start.place.clone(), if start.after { i64::MAX } else { i64::MIN });
        self.senders
            .range(first..)
            .filter(move |(_, sender)| from.is_none_or(|from| *sender == from))
            .map(|((place, row), _)| (place, *row))
    }

    /// All of them, in their order.
    pub(in super::super) fn all(&self) -> impl DoubleEndedIterator<Item = &(Place, i64)> {
        self.senders.keys()
    }

    /// How many each sender has sent.
    pub(in super::super) fn by_sender(&self) -> BTreeMap<&str, u64> {
        let mut senders = BTreeMap::new();
        for sender in self.senders.values() {
            *senders.entry(sender.as_str()).or_default() += 1;
        }
        senders
    }
}

fn bytes_of(place: &Place, sender: &str) -> usize {
    size_of::<((Place, i64), String)>() + place.instant.len() + place.message_id.len() + sender.len()
}
