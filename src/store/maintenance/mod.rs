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

use std::time::Duration;

/// Messages deleted in one transaction. Each may touch pages of its own, so it takes some milliseconds,
/// as a full batch of new ones does; a webhook never waits for more than one.
const DELETED_SLICE: usize = 128;
/// Items looked at in one snapshot, some hundred KiB.
const ITEMS_SLICE: usize = 256;
/// Bytes taken from one snapshot, or written in one transaction: one message or item more than that, which may be as
/// large as a body.
const SLICE_BYTES: usize = 1 << 20;
/// How often it is looked whether the database is free. A service under load is at rest for moments only.
const FREE_POLL: Duration = Duration::from_millis(1);
