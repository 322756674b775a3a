//! Maintenance backs up, checks, exports, fills, erases or expires a database, whether a service uses it or not.

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
