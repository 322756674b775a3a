//! Maintenance is what a command does to a database, in use or not, or a thread that deletes what is old.

pub mod backup;
pub mod check;
mod deletion;
pub mod erase;
pub mod export;
pub mod export_items;
pub mod import;
mod items;
pub mod remap;
pub mod restore;
pub mod retention;
mod vacuum;
mod wal_limit;
mod wal_room;
