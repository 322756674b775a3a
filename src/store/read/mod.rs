//! A query reads one snapshot of the database on a pooled connection.
//!
//! It reads what the index covers, and the rows behind its watermark ([`tail`]): of those, and of words asked for before,
//! the connection has a [`memory`].

pub mod epoch;
pub mod feed;
mod freshness;
mod interrupt;
pub mod memory;
pub mod originals;
pub mod page;
mod places;
mod pool;
mod pooled_connection;
pub mod queries;
mod query_activity;
pub mod search;
pub mod selection;
pub mod stats;
mod tail;
mod total;
mod word_memory;

use std::cell::RefCell;

use rusqlite::Connection;

use memory::Memory;
use selection::Selection;

use crate::filter::Filter;
use crate::store::index::Watermarks;

/// A read transaction, and how far the index has come in it.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    pub connection: &'a Connection,
    pub watermarks: &'a Watermarks,
    pub memory: &'a RefCell<Memory>,
}

impl<'a> Snapshot<'a> {
    /// What matches a filter, of which the tail is read as far as it is not remembered.
    pub(self) fn selection(&self, filter: &'a Filter) -> Selection<'a> {
        Selection::new(filter, self.memory.borrow().tail.unread_from(self.watermarks))
    }
}
