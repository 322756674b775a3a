//! The index is what is derived from the messages, in a file of its own, so that queries need not go through them.
//!
//! - It is a copy of nothing but what the database holds. Missing, foreign or damaged it is made
//!   anew, and queries are answered from the messages alone meanwhile, more slowly.
//! - It covers every row up to its watermarks and none behind them. Row numbers rise with every message,
//!   so a query reads the index and the rows behind the watermark, the tail, and is exact however long
//!   the tail is. The index is read first: what it covers is in every later state of the database.
//! - A thread of its own keeps it up ([`indexer`]): with an index inside the database, every
//!   message waits while the ones before it are put in order.

pub mod changes;
mod file;
pub mod indexer;
mod integrity;
pub mod order;
pub mod rank;
mod schedule;
pub mod search;
pub mod texts;
pub mod top_senders;
pub mod upkeep;
mod watermarks;

use crate::store::error::StoreError;

pub use file::{attach, attach_none, file_of, open, path_of, remove};
pub use watermarks::{LAST_ROW, Watermarks, first_behind, is_at_last_row};

/// The error of a query that has found the index to contradict the messages, for which it is made anew.
pub fn is_wrong(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the index is wrong: {what}"))
}
