//! The writer commits what waits in one transaction; the checkpointer moves its log meanwhile.

pub(in crate::store) mod batch;
mod checkpointer;
pub(in crate::store) mod commit_signal;
pub(in crate::store) mod feed_order;
pub(in crate::store) mod items;
mod lag;
mod last_close;
mod last_commit;
pub(in crate::store) mod tombstones;
mod transactor;
pub(in crate::store) mod waiter;
mod write_connection;
pub(in crate::store) mod writer;
mod writer_thread;
