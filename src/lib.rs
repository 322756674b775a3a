//! The library stores signed messages exactly once; the program around it speaks HTTP.
//!
//! # The house
//!
//! | floor | rooms |
//! |---|---|
//! | 8 | [`cli`]: arguments, environment, lifecycle, a file for each command |
//! | 7 | [`server`]: sockets, the pool; the only home of tiny_http and threadpool |
//! | 6 | [`routes`]: decides, a file for each path; knows no socket and no SQL |
//! | 5 | [`app`]: what a route may reach · [`follow`]: hands messages on; knows no store and no server |
//! | 4 | [`store`]: the only home of rusqlite · [`config`]: the environment · [`http_client`]: asks a server |
//! | 3 | [`whatsapp`]: what a body holds · [`secrets`] · [`throttle`]: how queries make way for webhooks · [`http_head`]: how a message is framed |
//! | 2 | [`message`] [`filter`] [`signature`] [`http`] [`log`] [`metrics`] [`exposition`] [`procfs`] |
//! | 1 | [`advice`] [`client`] [`clock`] [`consumers`] [`cursor`] [`feed_cursor`] [`hosts`] [`inherited`] [`notify`] [`priority`] [`validation_error`] |
//! | 0 | [`authority`] [`escape`] [`file`] [`folding`] [`labels`] [`timestamp`] [`url`] [`limits`] [`mutex`] [`os`] [`sort_key`] [`version`] [`waker`] |
//!
//! A file uses lower floors and its own folder, never a higher floor and never its neighbours;
//! `tests/architecture` keeps this. In the store the floors are `maintenance`, `write`, `read`, `index`,
//! `checkpoint`, `database`; the one thread of `index` looks at what `read` does.
//!
//! # Where is it?
//!
//! | | |
//! |---|---|
//! | Where is a signature checked? | `routes/webhook.rs`, with the keys of `signature.rs` |
//! | Where is a message judged? | `message.rs`, by `message/rules.rs` |
//! | What becomes of a body of WhatsApp? | `routes/whatsapp.rs` checks it, `whatsapp/split.rs` and `whatsapp/mapping.rs` take it apart, `store/write/items.rs` keeps it |
//! | Where is a batch committed? | `store/write/transactor.rs`, for the loop in `store/write/writer_thread.rs` |
//! | Who may touch a client's socket? | `server/reactor.rs` and its folder |
//! | Which waiting request is answered next? | `server/worker_pool.rs`, by `server/priorities.rs` |
//! | Which connection is closed when there is no room? | `server/eviction_policy.rs` |
//! | What does a query see while the index is being made? | `store/read/queries.rs`: the messages themselves, as the tail |
//! | What does a query know from the one before? | `store/read/memory.rs`: of words which rows have them, and the tail |
//! | What stops the write-ahead log from growing? | `store/checkpoint`, between two commits |
//! | What order are messages handed on in? | `store/write/feed_order.rs` gives the numbers, `store/read/feed.rs` reads by them |
//! | Who deletes what is old? | `store/maintenance/retention/expiry.rs` decides, the writer does it; `trusted_clock.rs` beside it says whether the clock is one to go by |
//! | Who answers when something goes wrong? | `routes/problem.rs`, `store/error.rs` |
//! | Who hands messages on? | `follow/mod.rs`, in a process of its own, from `GET /feed` |
//! | What happens at a signal? | `cli/signals.rs`, then `server/reactor/drain.rs`, then `store/write/last_close.rs` |
//!
//! # Words
//!
//! | | |
//! |---|---|
//! | log | the lines on stdout; in the store, the write-ahead log of SQLite (WAL), where it does not say which |
//! | watermark, tail | the last row that the index covers; the rows behind it, which a query reads from the messages |
//! | epoch | of connections: while the paths name the same files (`store/read/epoch.rs`), counted as a generation; of the feed: from one opening for writing to the next (`store/write/feed_order.rs`) |
//! | change | of the index: a row that was changed or deleted, noted by a trigger; of WhatsApp: Meta's envelope around the elements that came together |
//! | delivery, item, original, mapping | a body of WhatsApp; one element of it, which is kept; its bytes as they came; the message that was made of it, if one was |
//! | tombstone | the salted hash of an id that is gone, so that it does not come back |
//! | slice | as much as one small transaction does of something large |
//! | others | whoever else has the database open: our own commands, or somebody with sqlite3 |
//! | unfit | what a cursor of the feed is that another store gave, or another history of this one |
//!
//! # The life of a `POST /webhook`
//!
//! 1. `server::reactor` reads until the request is whole: head, framing, bounds, deadline.
//! 2. It makes a `server::request_context`, for which `routes::resolve` checks host, path, method and token and
//!    chooses the queue, here that for ingest.
//! 3. A thread of `server::worker_pool` has `routes::answer` call the handler: `routes::webhook` checks size, secret,
//!    signature and encoding, and reads the message ([`message::Message::parse`]).
//! 4. The context waits in `server::completions`, the message in the queue of `store::write::writer`.
//! 5. `store::write::writer_thread` takes what waits into one transaction and, once `COMMIT` has synced it, answers
//!    each waiter.
//! 6. `server::reactor` takes the completion, has `server::access_log` render, count and log the answer, and sends it.
//!
//! No thread waits on the way, so a batch is as large as what arrived during the last commit and the moment behind it
//! (`store::write::group_delay`).
//!
//! # The life of a query
//!
//! `server::reactor` → `routes::resolve` chooses the queue for queries → a thread of `server::worker_pool` →
//! `routes::answer` → `store::read`
//! borrows a read connection and takes one snapshot of index and database → the rows, and the total, from what the index
//! covers and from the tail behind it → `server::completions` → `server::reactor` sends. At most two are at work;
//! a query is given up at its deadline, at a stop, or when it has kept the write-ahead log from restarting.
//!
//! # The life of a request that waits for messages
//!
//! `GET /feed?wait=30` goes the way of a query, with a thread and a read connection that no search can keep from it
//! (`routes::feed` → `store::read::feed`, which checks the cursor in the snapshot that answers). Where there is nothing
//! yet the context goes back to the reactor, which keeps it in `server::waiters`: no thread, no connection to the store.
//! A commit that has created something raises the count of
//! `store::write::commit_signal`; the reactor, awake to answer the webhooks of that commit, sees it and makes a pass, one
//! in two milliseconds: everybody goes to the pool together, those who wait for the same as one. Whoever has waited for
//! long enough, stops sending, has to make room, or is there at a stop is answered with an empty page.
//!
//! # The life of a stop
//!
//! `cli::signals` tells the server → `server::reactor::drain`: readiness is 503, nothing new is accepted, what was begun is
//! answered → the reactor ends, and the pool with it → `store`: deletion ends, the writer commits what waits, the read
//! connections and the index close → the last connection moves the write-ahead log into the file.
//!
//! # Threads
//!
//! | | owns |
//! |---|---|
//! | `reactor` | every client's socket, the listening one, every deadline |
//! | `worker`, a fixed number | nothing but the request at hand |
//! | `writer` | the connection that changes the database |
//! | `checkpointer` | a connection that moves the write-ahead log while commits go on |
//! | `indexer` | the index file |
//! | `retention` | the decision what is too old |
//! | `log` | stdout |
//! | `signals`, `watchdog` | what the process is told, and what its supervisor hears |
//!
//! # What is absent on purpose
//!
//! An async runtime; a thread for each connection; a second writer; a lock that a scrape shares with a request; a handing
//! over of sockets between processes; a cache of answers; TLS and compression.
//!
//! # What always holds
//!
//! - 200 is sent after the commit that holds the message has been synced, and never otherwise.
//! - Every request that was whole is answered exactly once, counted once and logged once.
//! - Nothing a client does makes threads, descriptors or memory grow without bound.

// What is written to stderr, or cannot be, decides nothing: see `cli::streams`.
#![deny(clippy::print_stderr)]
#![cfg_attr(fuzzing, allow(dead_code, reason = "the fuzzers ask the parsers alone"))]

mod advice;
mod app;
mod authority;
mod cli;
mod client;
mod clock;
mod config;
mod consumers;
mod cursor;
mod escape;
mod exposition;
mod feed_cursor;
mod file;
mod filter;
mod folding;
mod follow;
mod hosts;
mod http;
mod http_client;
mod http_head;
mod inherited;
mod labels;
mod limits;
mod log;
mod message;
mod metrics;
mod mutex;
mod notify;
mod os;
mod priority;
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
mod waker;
mod whatsapp;

/// What the program runs. The fuzzers do not, so that none of it is made into machine code for them: three quarters of that.
#[cfg(not(fuzzing))]
pub mod program {
    pub use crate::cli::run;
    pub use crate::inherited::reset;
}

/// The pure parsers, for tests and fuzzers outside this crate.
pub mod testing {
    pub use crate::filter::PageQuery;
    pub use crate::http::Body;
    pub use crate::message::Message;
    pub use crate::server::{ReadRequest, read_request};
    pub use crate::timestamp::{InstantKey, is_contract_ts, parse_instant};
    pub use crate::whatsapp::{Delivery, Item, Kind, Mapping, map_again, message_key, names, split};
}
