//! The memory of words tells which rows have the words that were asked for last.

use super::Snapshot;
use crate::folding::Needle;
use crate::store::index::{first_behind, texts};

/// As many as a few people search for at a time.
const MAX_WORDS: usize = 8;
/// Rows kept of a word, a quarter of a megabyte: as many as are looked up one by one in a million messages.
#[cfg(not(test))]
const MAX_ROWS: usize = 32_768;
/// So that the oracle tests have more.
#[cfg(test)]
const MAX_ROWS: usize = 5000;

/// The one asked for last comes first.
#[derive(Default)]
pub(super) struct WordMemory(Vec<(Needle, WordRows)>);

impl WordMemory {
    pub(super) fn take(&mut self, word: &Needle) -> Option<WordRows> {
        let place = self.0.iter().position(|(known, _)| known == word)?;
        Some(self.0.remove(place).1)
    }

    pub(super) fn keep(&mut self, word: &Needle, rows: WordRows) {
        self.0.truncate(MAX_WORDS - 1);
        self.0.insert(0, (word.clone(), rows));
    }
}

/// The rows up to one that have a word.
pub(super) struct WordRows {
    pub(super) total: u64,
    /// `None` if they are too many to keep.
    pub(super) rows: Option<Vec<i64>>,
    /// The first row that was not looked at.
    unread_from: i64,
}

impl WordRows {
    pub(super) fn nothing_read() -> Self {
        Self { total: 0, rows: Some(Vec::new()), unread_from: i64::MIN }
    }

    /// Of the rows that the search index knows, given those that it proposes.
    pub(super) fn among(snapshot: Snapshot<'_>, word: &Needle, proposed: &[i64]) -> rusqlite::Result<Self> {
        let unread_from = first_behind(snapshot.watermarks.searchable_through);
        let mut known = Self { unread_from, ..Self::nothing_read() };
        for row in proposed.iter().copied().filter(|row| *row < unread_from) {
            if texts::has_word(snapshot.connection, word, row)? {
                known.add(row);
            }
        }
        Ok(known)
    }

    /// Reads what has not been read yet.
    pub(super) fn extend(&mut self, snapshot: Snapshot<'_>, word: &Needle) -> rusqlite::Result<()> {
        let (from, searchable_through) = (self.unread_from, snapshot.watermarks.searchable_through);
        let last = texts::search(snapshot.connection, word, from, searchable_through, |row| self.add(row))?;
        self.unread_from = first_behind(last);
        Ok(())
    }

    fn add(&mut self, row: i64) {
        self.total += 1;
        self.rows = self.rows.take().filter(|rows| rows.len() < MAX_ROWS).map(|mut rows| {
            rows.push(row);
            rows
        });
    }
}
