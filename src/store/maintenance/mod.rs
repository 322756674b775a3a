//! Maintenance is what a command does to a database, in use or not, or a thread that deletes what is old.

pub(in crate::store) mod backup;
pub(in crate::store) mod check;
mod deletion;
pub(in crate::store) mod erase;
pub(in crate::store) mod export;
pub(in crate::store) mod export_items;
pub(in crate::store) mod import;
mod items;
pub(in crate::store) mod remap;
pub(in crate::store) mod restore;
pub(in crate::store) mod retention;
mod vacuum;
mod wal_limit;
mod wal_room;
