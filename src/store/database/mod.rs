//! The database is a file in SQLite's format that is opened, judged, created or migrated before it is used.

pub(in crate::store) mod acceptance;
pub(in crate::store) mod column;
pub(in crate::store) mod database_path;
pub(in crate::store) mod files;
mod foreign_index;
pub(in crate::store) mod frozen;
pub(in crate::store) mod insertion;
pub(in crate::store) mod journals;
pub(in crate::store) mod lock;
pub(in crate::store) mod migrations;
pub(in crate::store) mod open_error;
pub(in crate::store) mod prepare;
pub(in crate::store) mod schema;
pub(in crate::store) mod sort_columns;
pub(in crate::store) mod temporary;
pub(in crate::store) mod transaction;
mod trial;
pub(in crate::store) mod wal;
pub(in crate::store) mod wal_bounds;
mod word_function;
