//! A query reads one snapshot of the database on a pooled connection.
//!
//! What the index covers and the rows behind its watermark, the tail, are the two arms of one statement
//! ([`selection`]).

pub(in crate::store) mod feed;
mod interrupt;
pub(in crate::store) mod originals;
pub(in crate::store) mod page;
mod pool;
mod pooled_connection;
pub(in crate::store) mod queries;
mod query_activity;
mod search;
pub(in crate::store) mod selection;
pub(in crate::store) mod stats;
mod total;

use rusqlite::Connection;

use crate::store::index::Watermarks;

/// A read transaction, and how far the index has come in it.
#[derive(Clone, Copy)]
pub(in crate::store) struct Snapshot<'a> {
    pub(in crate::store) connection: &'a Connection,
    pub(in crate::store) watermarks: &'a Watermarks,
}
