//! A checkpoint moves a write-ahead log into the database file, so that it can restart.

pub(in crate::store) mod keeper;
mod pressure;
pub(in crate::store) mod reader_gate;
