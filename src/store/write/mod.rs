//! The writer commits what waits in one transaction; the checkpointer moves its log meanwhile.

pub mod batch;
mod checkpointer;
mod command_queue;
pub mod commit_signal;
pub mod feed_order;
mod group_delay;
pub mod items;
mod lag;
mod last_close;
mod last_commit;
mod open_files;
pub mod tombstones;
mod transactor;
pub mod waiter;
mod write_connection;
pub mod writer;
mod writer_thread;
mod writer_wal;
