//! The database is a file in SQLite's format that is opened, judged, created or migrated before it is used.

pub mod acceptance;
pub mod column;
pub mod connections;
pub mod database_path;
pub mod files;
mod foreign_index;
pub mod frozen;
pub mod insertion;
pub mod journals;
pub mod kept_memory;
pub mod lock;
pub mod migrations;
pub mod open_error;
pub mod prepare;
pub mod schema;
pub mod sort_columns;
pub mod temporary;
pub mod transaction;
mod trial;
pub mod wal;
pub mod wal_bounds;
mod word_function;
