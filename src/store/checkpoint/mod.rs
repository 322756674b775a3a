//! Checkpoints keep a write-ahead log within its bounds: it is moved into the database file, then starts over.

pub(in crate::store) mod keeper;
mod pressure;
pub(in crate::store) mod reader_gate;
