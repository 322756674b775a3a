//! The memory of searches knows what the blocks of texts have of the words that were asked for last, so that the next
//! page or the next poll goes through new blocks only.
//!
//! - It belongs to a connection, which reads one index for as long as it lives, every snapshot later than the one before.
//! - A block that is there changes only where a message was changed or deleted, which has a number in the watermarks:
//!   with another number everything is forgotten. So what is remembered is what would be found again.

use super::Snapshot;
use super::search::KEPT_MATCHES;
use crate::folding::Needle;
use crate::store::index::texts;

/// As many as a few people search for at a time. Each takes 32 KiB at the most, and its word.
const MAX_WORDS: usize = 8;

/// Of one connection.
#[derive(Default)]
pub struct SearchMemory {
    /// The last change that the index had taken account of.
    changes_through: i64,
    /// The one asked for last comes first.
    words: Vec<(Needle, InBlocks)>,
}

/// What the blocks of texts have of a word.
#[derive(Clone)]
pub(super) struct InBlocks {
    pub(super) total: u64,
    /// Which rows, unless they are too many to keep their places.
    pub(super) rows: Option<Vec<i64>>,
    /// The first row that is in none of them.
    pub(super) covered_before: i64,
}

impl SearchMemory {
    /// True if the word was asked for lately, and too many rows had it for anything but the blocks.
    pub(super) fn has(&self, word: &Needle) -> bool {
        self.place(word).is_some()
    }

    fn place(&self, word: &Needle) -> Option<usize> {
        self.words.iter().position(|(known, _)| known == word)
    }

    /// What the blocks have of a word in this snapshot.
    pub(super) fn search(&mut self, snapshot: Snapshot<'_>, word: &Needle) -> rusqlite::Result<&InBlocks> {
        let changes_through = snapshot.watermarks.changes_through;
        if self.changes_through != changes_through {
            *self = Self { changes_through, words: Vec::new() };
        }
        let (word, mut found) = match self.place(word) {
            Some(known) => self.words.remove(known),
            None => (word.clone(), InBlocks { total: 0, rows: Some(Vec::new()), covered_before: i64::MIN }),
        };
        found.extend(snapshot, &word)?;
        self.words.truncate(MAX_WORDS - 1);
        self.words.insert(0, (word, found));
        Ok(&self.words[0].1)
    }
}

impl InBlocks {
    fn extend(&mut self, snapshot: Snapshot<'_>, word: &Needle) -> rusqlite::Result<()> {
        let Self { total, rows, covered_before } = self;
        texts::search(snapshot.connection, word, *covered_before, |row| {
            *total += 1;
            if let Some(kept) = rows.as_mut() {
                kept.push(row);
                if kept.len() > KEPT_MATCHES {
                    *rows = None;
                }
            }
        })?;
        *covered_before = texts::covered_before(snapshot.watermarks.searchable_through);
        Ok(())
    }
}
