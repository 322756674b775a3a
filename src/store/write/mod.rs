//! One thread writes to the database, a transaction for all that waits; another one moves its log.

pub(in crate::store) mod batch;
mod checkpointer;
mod lag;
mod last_close;
mod log_watch;
pub(in crate::store) mod tombstones;
pub(in crate::store) mod transactor;
pub(in crate::store) mod writer;
