//! The tail of the search is the texts that the index cannot find by a word yet, one after the other, so that many take
//! little.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{TailExtent, TailStep};
use crate::folding::Needle;
use crate::limits::MAX_KEPT_TEXT_BYTES;
use crate::store::index::{Watermarks, first_behind};

#[derive(Default)]
pub(in crate::store) struct Texts {
    texts: Vec<u8>,
    /// Of each text, the row and where in `texts` it ends.
    ends: Vec<(i64, usize)>,
    extent: TailExtent,
}

impl Texts {
    /// Up to the last row of a state. False if that is too much.
    pub(super) fn follow(
        &mut self,
        connection: &Connection,
        watermarks: &Watermarks,
        last: Option<i64>,
    ) -> rusqlite::Result<bool> {
        let after = watermarks.ordered_through.min(watermarks.searchable_through);
        match self.extent.begin_after(after, watermarks) {
            TailStep::Clear => self.clear(),
            TailStep::LetGo => self.let_go(after),
            TailStep::Nothing => {}
        }
        if !self.extent.may_be_kept() {
            return Ok(false);
        }
        if last <= self.extent.through {
            return Ok(true);
        }
        let mut statement = connection.prepare_cached(
            "SELECT rowid, CAST(text AS BLOB) FROM messages NOT INDEXED WHERE rowid >= ?1 ORDER BY rowid",
        )?;
        let read = self.read(statement.query([first_behind(self.extent.through)])?);
        match read {
            Ok(true) => self.extent.through = last,
            Ok(false) => {
                self.clear();
                self.extent.give_up(last);
            }
            // What was read before it failed is read again.
            Err(_) => self.forget_behind(self.extent.through),
        }
        read
    }

    /// False if it is too much.
    fn read(&mut self, mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<bool> {
        while let Some(row) = rows.next()? {
            let ValueRef::Blob(text) = row.get_ref(1)? else {
                // NULL has nothing in it.
                continue;
            };
            let bytes = self.texts.len() + text.len() + size_of_val(self.ends.as_slice());
            if bytes > MAX_KEPT_TEXT_BYTES {
                return Ok(false);
            }
            self.texts.extend_from_slice(text);
            self.ends.push((row.get(0)?, self.texts.len()));
        }
        Ok(true)
    }

    fn clear(&mut self) {
        (self.texts, self.ends) = (Vec::new(), Vec::new());
    }

    fn let_go(&mut self, after: Option<i64>) {
        let count = self.ends.partition_point(|(row, _)| Some(*row) <= after);
        let bytes = count.checked_sub(1).map_or(0, |last| self.ends[last].1);
        self.texts.drain(..bytes);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|(_, end)| *end -= bytes);
    }

    fn forget_behind(&mut self, through: Option<i64>) {
        self.ends.truncate(self.ends.partition_point(|(row, _)| Some(*row) <= through));
        self.texts.truncate(self.ends.last().map_or(0, |(_, end)| *end));
    }

    /// The rows behind a watermark that have the word in them.
    pub(in crate::store) fn with<'a>(
        &'a self,
        word: &'a Needle,
        watermark: Option<i64>,
    ) -> impl Iterator<Item = i64> {
        let first = self.ends.partition_point(|(row, _)| Some(*row) <= watermark);
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before].1);
        self.ends[first..]
            .iter()
            .scan(start, |start, (row, end)| Some((*row, std::mem::replace(start, *end)..*end)))
            .filter(|(_, text)| word.is_in(&self.texts[text.clone()]))
            .map(|(row, _)| row)
    }
}
