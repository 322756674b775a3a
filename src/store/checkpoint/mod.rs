//! A checkpoint moves a write-ahead log into the database file, so that it can restart.

pub mod keeper;
mod pressure;
pub mod reader_gate;
