//! Limits are numbers that bound the service, each with its unit, each with its reason.
//!
//! What an operator may have to tune is a setting (see `config`) whose default and range stand here.
//! The relations between the numbers are checked when the program is compiled.

use std::time::Duration;

// ---- What a client may send --------------------------------------------------------------------

/// Bytes of a request body, unless `MAX_BODY_BYTES` says otherwise (contract, section 1).
pub const DEFAULT_MAX_BODY_BYTES: usize = 65_536;
/// Upper end of `MAX_BODY_BYTES`: a body is held in memory, so a larger one is a mistake.
pub const LARGEST_MAX_BODY_BYTES: usize = 16 << 20;
/// Bytes of the request line and all headers together. A `q` of 4096 characters, percent-encoded, is 48 KiB.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

// ---- What a message may hold (contract, section 2) ---------------------------------------------

/// Unicode scalar values of `text`.
pub const MAX_TEXT_CHARS: usize = 4096;

// ---- What a query may ask (contract, section 3) ------------------------------------------------

/// How long one query may run, or wait for its turn, before it is given up with 503: a few run at once
/// ([`READ_CONNECTIONS`]), so long ones keep all others out.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(10);

// ---- Connections -------------------------------------------------------------------------------

/// Open connections, unless `MAX_CONNECTIONS` says otherwise.
pub const DEFAULT_MAX_CONNECTIONS: usize = 8192;
/// Upper end of `MAX_CONNECTIONS`: below the 524,288 descriptors that systemd lets a process open unless told otherwise
/// (systemd-system.conf(5), `DefaultLimitNOFILE`).
pub const LARGEST_MAX_CONNECTIONS: usize = 500_000;
/// Pending connections the kernel may queue for us (`listen(2)`); it caps this at `somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;
/// A request must arrive whole within this, unless `REQUEST_TIMEOUT_SECONDS` says otherwise, and
/// its answer must be taken by the client within the same time.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection may wait this long for its next request, unless `IDLE_TIMEOUT_SECONDS` says otherwise: whoever
/// pauses for less, as a scraper does, keeps its own.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Upper end of both timeouts.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bytes taken from a socket in one read.
pub const READ_CHUNK_BYTES: usize = 16 << 10;
/// A connection may always hold this much, so that small requests pass when the total is reached.
pub const SMALL_BUFFER_BYTES: usize = 4 << 10;

// ---- The pool ----------------------------------------------------------------------------------

/// Threads of the pool, unless `WORKERS` says otherwise (contract, section 1).
pub const DEFAULT_WORKERS: usize = 8;
/// Upper end of `WORKERS`.
pub const LARGEST_WORKERS: usize = 1024;
/// So many webhooks on their way mean that the service is busy with them: a client that sends one after the other has
/// no more than one.
pub const BUSY_WEBHOOKS: i64 = 4;

// ---- The store ---------------------------------------------------------------------------------

/// Read connections, and so queries at work at once. Each can keep a core busy with a search; two
/// serve any number of clients whose queries are short.
pub const READ_CONNECTIONS: usize = 2;
/// Page cache of a read connection, in KiB: what is not in it is most likely in the system's.
pub const READ_CACHE_KIB: i64 = 2 << 10;
/// Messages in one transaction. Larger batches gain little and make the first one wait.
pub const MAX_BATCH: usize = 512;
/// How long a commit waits for another process that holds the database: our own commands do so for
/// milliseconds at a time, and webhooks wait with it.
pub const COMMIT_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a query waits for another process that holds the database. Beside a write-ahead log
/// few do (<https://sqlite.org/wal.html#sometimes_queries_return_sqlite_busy_in_wal_mode>).
pub const READ_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a query may be at work while the write-ahead log is at its bound (`store::database::wal_bounds`): commits
/// wait for it.
pub const LOG_HELD_BY_QUERY: Duration = Duration::from_millis(500);
/// Senders listed by `/stats` (contract, section 4).
pub const TOP_SENDERS: u32 = 10;
/// Messages put in order in one transaction of the index: a change, and the queries behind it, wait for one.
pub const ORDER_SLICE: usize = 8192;
/// Upper end of `RETENTION_DAYS`: a hundred years.
pub const LONGEST_RETENTION_DAYS: u32 = 36_500;
/// After messages were changed or deleted, how often queries and retention look whether the index has taken account of
/// it, for which they wait; it takes some milliseconds.
pub const CHANGES_POLL: Duration = Duration::from_millis(2);
/// Changes removed, or tombstones gone through, in one transaction: they lie side by side.
pub const REMOVAL_SLICE: usize = 1024;
/// How long a readiness probe waits for the writer; the contract allows one second for everything.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(600);

// ---- Lifecycle ---------------------------------------------------------------------------------

/// At a stop, how long a client may take to close its side once ours is closed: a way around the world.
pub const DRAIN_LINGER: Duration = Duration::from_millis(250);

const _: () = {
    assert!(SMALL_BUFFER_BYTES < READ_CHUNK_BYTES && READ_CHUNK_BYTES <= MAX_HEAD_BYTES);
    assert!(DEFAULT_MAX_BODY_BYTES <= LARGEST_MAX_BODY_BYTES);
    assert!(PROBE_TIMEOUT.as_millis() < 1000);
};
