//! One thread writes to the database, a transaction for all that waits; another one moves its log.

pub(in crate::store) mod batch;
pub(in crate::store) mod forgotten;
mod lag;
mod last_close;
mod log_watch;
mod mover;
pub(in crate::store) mod transactor;
pub(in crate::store) mod waiter;
pub(in crate::store) mod writer;
