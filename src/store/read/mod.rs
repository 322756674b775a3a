//! A query reads one snapshot of the database on a pooled connection.

mod interrupt;
mod matches;
pub(in crate::store) mod page;
mod pool;
mod pooled_connection;
pub(in crate::store) mod queries;
mod query_activity;
pub(in crate::store) mod snapshot;
pub(in crate::store) mod source;
pub(in crate::store) mod stats;
mod total;
