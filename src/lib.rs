//! `lyftr-webhook`: takes signed messages over HTTP, stores each exactly once in SQLite, and answers
//! queries, analytics, health and metrics.
//!
//! # The house
//!
//! | floor | rooms |
//! |---|---|
//! | 7 | `cli`: arguments, environment, lifecycle |
//! | 6 | [`server`]: sockets, the pool; the only home of tiny_http and threadpool |
//! | 5 | [`routes`]: decides; knows no socket and no SQL |
//! | 4 | [`app`]: what a route may reach |
//! | 3 | [`store`]: the only home of rusqlite · [`config`]: the environment · [`secrets`] |
//! | 2 | [`message`] [`filter`] [`signature`] [`http`] [`log`] [`metrics`] [`exposition`] [`procfs`] |
//! | 1 | [`advice`] [`client`] [`clock`] [`cursor`] [`hosts`] [`inherited`] [`notify`] [`validation_error`] |
//! | 0 | [`authority`] [`escape`] [`folding`] [`timestamp`] [`url`] [`limits`] [`os`] [`sort_key`] [`version`] |
//!
//! A file uses lower floors and its own folder, never a higher floor and never its neighbours;
//! `tests/architecture.rs` keeps this.
//!
//! # The life of a `POST /webhook`
//!
//! `server::reactor` reads until the request is whole (head, framing, bounds, deadline) → the ingest
//! queue of `server::worker_pool` → `server::request_context` → `routes` finds the row of its table →
//! `routes::webhook` checks size, secret, signature and [`message::Message::parse`] → `store::write`
//! takes what waits into one transaction and, once `COMMIT` has synced it, answers each waiter →
//! `server::completions` → `server::reactor` has `server::request_context` count, log and render it, and sends.
//! No thread waits on the way, so a batch is as large as what arrived during the last commit.
//!
//! # What always holds
//!
//! - 200 is sent after the commit that holds the message has been synced, and never otherwise.
//! - Every request that was whole is answered exactly once, counted once and logged once.
//! - Nothing a client does makes threads, descriptors or memory grow without bound.

// What is written to stderr, or cannot be, decides nothing: see `cli::streams`.
#![deny(clippy::print_stderr)]

mod advice;
mod app;
mod authority;
pub mod cli;
mod client;
mod clock;
mod config;
mod cursor;
mod escape;
mod exposition;
mod filter;
mod folding;
mod hosts;
mod http;
pub mod inherited;
mod limits;
mod log;
mod message;
mod metrics;
mod notify;
mod os;
mod procfs;
mod routes;
mod secrets;
mod server;
mod signature;
mod sort_key;
mod store;
mod throttle;
mod timestamp;
mod url;
mod validation_error;
mod version;

/// The pure parsers, for tests and fuzzers outside this crate.
pub mod testing {
    pub use crate::filter::PageQuery;
    pub use crate::http::Body;
    pub use crate::message::Message;
    pub use crate::server::{ReadRequest, read_request};
    pub use crate::timestamp::{InstantKey, is_contract_ts, parse_instant};
}
