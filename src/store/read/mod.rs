//! A query reads one snapshot of the database on a pooled connection.

mod matches;
pub(in crate::store) mod page;
pub(in crate::store) mod readers;
pub(in crate::store) mod snapshot;
pub(in crate::store) mod source;
pub(in crate::store) mod stats;
mod total;
