//! The memory of a connection is what its last queries have read, so that the next one goes through the rows only that
//! have come since.
//!
//! - A connection reads one index for as long as it lives, every snapshot later than the one before: while messages do
//!   nothing but come, what is remembered would be read again.
//! - A message that is changed or deleted is a change, which has a number in the watermarks. Where somebody writes past
//!   the triggers that note it, the index is compared with the messages. After either everything is forgotten.
//! - In between a message may be remembered that is gone. Whoever misses it asks once more with an empty memory
//!   ([`super::queries`]) before the index is held to be wrong.

use rusqlite::Connection;

use super::tail::TailMemory;
use super::word_memory::WordMemory;
use crate::store::index::Watermarks;

/// Of one connection.
#[derive(Default)]
pub struct Memory {
    /// The last change that the index had taken account of, and how often it had been compared with the messages.
    state: (i64, u64),
    pub(super) words: WordMemory,
    pub(super) tail: TailMemory,
}

impl Memory {
    /// To be called at the beginning of each snapshot: forgets what may not hold any more, and reads the tail.
    pub fn begin(
        &mut self,
        snapshot: &Connection,
        watermarks: &Watermarks,
        compared: u64,
    ) -> rusqlite::Result<()> {
        let state = (watermarks.changes_through, compared);
        if self.state != state {
            *self = Self { state, ..Self::default() };
        }
        self.tail.catch_up(snapshot, watermarks)
    }
}
