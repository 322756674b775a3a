//! The support of every suite starts the real executable, asks it over real sockets, waits for events.

pub(crate) mod exposition;
pub(crate) mod fixtures;
pub(crate) mod http_client;
pub(crate) mod output;
pub(crate) mod plain;
pub(crate) mod service;
pub(crate) mod setup;
pub(crate) mod skip;
