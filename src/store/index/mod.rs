//! The index is what is derived from the messages, in a file of its own, so that queries need not go through them.
//!
//! - It is a copy of nothing but what the database holds. Missing, foreign or damaged it is made
//!   anew, and queries are answered from the messages alone meanwhile, more slowly.
//! - It covers every row up to its watermarks and none behind them. Row numbers rise with every message,
//!   so a query reads the index and the rows behind the watermark, the tail, and is exact however long
//!   the tail is. The index is read first: what it covers is in every later state of the database.
//! - A thread of its own keeps it up ([`indexer`]): with an index inside the database, every
//!   message waits while the ones before it are put in order.

pub(in crate::store) mod changes;
pub(in crate::store) mod epoch;
mod file;
pub(in crate::store) mod indexer;
mod integrity;
pub(in crate::store) mod order;
pub(in crate::store) mod rank;
mod schedule;
pub(in crate::store) mod search;
pub(in crate::store) mod top_senders;
pub(in crate::store) mod upkeep;
mod watermarks;

use crate::store::error::StoreError;

pub(in crate::store) use file::{attach, attach_none, file_of, open, path_of, remove};
pub(in crate::store) use watermarks::{LAST_ROW, Watermarks, first_behind, is_at_last_row};

/// What a query says that has met something that cannot be if the index is right. It is made anew.
pub(in crate::store) fn is_wrong(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the index is wrong: {what}"))
}
