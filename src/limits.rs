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
/// Header lines of one request. Browsers and proxies send about 20.
pub const MAX_HEADERS: usize = 100;
/// Bytes of one chunk-size line (RFC 9112, section 7.1), extensions included. Real senders use under 10.
pub const MAX_CHUNK_LINE_BYTES: usize = 256;
/// Characters of a client's `X-Request-ID` that are still echoed (contract, section 7).
pub const MAX_REQUEST_ID_CHARS: usize = 128;

// ---- What a message may hold (contract, section 2) ---------------------------------------------

/// Unicode scalar values of `text`.
pub const MAX_TEXT_CHARS: usize = 4096;
/// Bytes of JSON up to which a 422 repeats the value it complains about.
pub const MAX_ECHOED_INPUT_BYTES: usize = 256;

/// A `ts` that lies so far ahead of this machine's clock means that one of the two is wrong: hosts that
/// keep their time by NTP differ by less than a second.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

// ---- What a query may ask (contract, section 3) ------------------------------------------------

/// Rows of a page when `limit` is not given.
pub const DEFAULT_PAGE_ROWS: u32 = 50;
/// Largest `limit`.
pub const MAX_PAGE_ROWS: u32 = 100;
/// Bytes of a `message_id` that a cursor carries; of a longer one it names the rows on both sides as well.
pub const MAX_CURSOR_ID_BYTES: usize = 512;
/// Instants in one `messages_since` of `/stats`: more than a chart has room for.
pub const MAX_SINCE_INSTANTS: usize = 100;
/// Senders listed by `/stats`.
pub const TOP_SENDERS: u32 = 10;
/// Entries in a block of the order, and in a block of those, before it is cut in two: so that at ten
/// million messages a few hundred steps on each level lead to any place.
pub const RANK_BLOCKS: [u64; 2] = [512, 65_536];
/// An `offset` up to this is walked; a larger one is worth finding its place.
pub const WALKED_OFFSET: i64 = 1000;
/// Looking a row up takes as long as reading some of them in a row. Where more than one in so many
/// would be looked up, the whole table is read.
pub const PROPOSED_SHARE: u64 = 16;
/// Places sorted in memory for one page, some 15 MB. Deeper pages are walked to; where the index is not
/// to be had for that yet, they are answered 503.
pub const MAX_SORTED: u64 = 100_000;
/// Matches of a search whose places are kept for the page; of more, the page is searched by itself.
pub const KEPT_MATCHES: usize = 4096;
/// How long one query may run before it is given up with 503.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(10);

// ---- Connections -------------------------------------------------------------------------------

/// Open connections, unless `MAX_CONNECTIONS` says otherwise.
pub const DEFAULT_MAX_CONNECTIONS: usize = 8192;
/// Upper end of `MAX_CONNECTIONS`: what one Linux process may hold open by default.
pub const LARGEST_MAX_CONNECTIONS: usize = 500_000;
/// Descriptors kept back from connections: database, WAL, shared memory, sockets of our own.
pub const RESERVED_DESCRIPTORS: usize = 64;
/// Pending connections the kernel may queue for us (`listen(2)`); it caps this at `somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Connections accepted before the ones already open get their turn again.
pub const ACCEPTS_PER_EVENT: usize = 64;
/// Pause after `accept` failed for want of descriptors or memory; meanwhile connections end.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A request must arrive whole within this, unless `REQUEST_TIMEOUT_SECONDS` says otherwise, and
/// its answer must be taken by the client within the same time.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection may wait this long for its next request, unless `IDLE_TIMEOUT_SECONDS` says otherwise.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Upper end of both timeouts.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// How often deadlines are looked at. Coarse, because they are seconds long.
pub const DEADLINE_TICK: Duration = Duration::from_millis(200);
/// After a refusal, how long and how much is still read and thrown away, so that the client sees
/// the answer instead of a reset (RFC 9112, section 9.6).
pub const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
pub const LINGER_BYTES: usize = 8 << 20;
/// Bytes taken from a socket in one read.
pub const READ_CHUNK_BYTES: usize = 16 << 10;
/// Bytes of requests and responses held for all connections together; past it requests are shed.
pub const MAX_BUFFERED_BYTES: usize = 32 << 20;
/// How often the memory that clients have left free is given back to the system, which takes a
/// millisecond.
pub const TIDY_INTERVAL: Duration = Duration::from_secs(10);
/// Reads of one connection before the others get their turn: 32 KiB. Taken apart byte by byte, as
/// chunks may want it, that is a fifth of a millisecond.
pub const READS_PER_EVENT: usize = 2;
/// How often the log says how many connections were ended, and why.
pub const CLOSINGS_REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A connection may always hold this much, so that small requests pass when the total is reached.
pub const SMALL_BUFFER_BYTES: usize = 4 << 10;

// ---- The pool ----------------------------------------------------------------------------------

/// Threads of the pool, unless `WORKERS` says otherwise (contract, section 1).
pub const DEFAULT_WORKERS: usize = 8;
/// Upper end of `WORKERS`.
pub const LARGEST_WORKERS: usize = 1024;
/// So many webhooks on their way mean that the service is busy with them.
pub const BUSY_WEBHOOKS: i64 = 4;
/// While the service is busy, a thread that answers queries rests as many times as long as it has worked
/// as queries are waiting, up to this. Two who ask are served promptly; twenty who search through a
/// whole table without pause would take half of the rate of messages otherwise.
pub const MAX_QUERY_REST_SHARE: u32 = 9;
/// A query that took so long may have sorted a whole table: the memory for that goes back to the system.
pub const LONG_QUERY: Duration = Duration::from_millis(100);
/// No rest is longer than this.
pub const MAX_QUERY_REST: Duration = Duration::from_millis(200);
/// How often a thread at rest looks whether there are webhooks still.
pub const QUERY_REST_LOOK: Duration = Duration::from_millis(20);
/// Stack of a pool thread. The deepest path is `serde_json` (128 levels) inside a handler.
pub const WORKER_STACK_BYTES: usize = 512 << 10;
/// `Retry-After` of every 503, in seconds.
pub const RETRY_AFTER_SECONDS: &str = "1";

// ---- The store ---------------------------------------------------------------------------------

/// Read connections, and so queries at work at once. Each can keep a core busy with a search; two
/// serve any number of clients whose queries are short.
pub const READ_CONNECTIONS: usize = 2;
/// Page cache of a read connection, in KiB.
pub const READ_CACHE_KIB: i64 = 2 << 10;
/// Messages waiting for the writer; past it they are answered 503.
pub const WRITER_QUEUE: usize = 8192;
/// Messages in one transaction. Larger batches gain little and make the first one wait.
pub const MAX_BATCH: usize = 512;
/// How long a commit waits for another process that holds the database.
pub const COMMIT_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a query waits for another process that holds the database.
pub const READ_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// So long may a query be at work while the log is at its bound (`store::database::log_bounds`).
pub const LOG_HELD_BY_QUERY: Duration = Duration::from_millis(500);
/// Messages put in order at once.
pub const ORDER_SLICE: usize = 8192;
/// Upper end of `RETENTION_DAYS`: a hundred years.
pub const LONGEST_RETENTION_DAYS: u32 = 36_500;
/// How often the service looks for messages that are too old. The setting is in days.
pub const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// Messages deleted in one transaction. Each may touch pages of its own, so it takes some milliseconds,
/// as a full batch of new ones does; a webhook never waits for more than one.
pub const EXPIRY_SLICE: usize = 128;
/// How often it looks.
pub const DELETION_LOOK: Duration = Duration::from_millis(2);
/// Changes removed, or remembered ids looked at, in one transaction: they lie side by side.
pub const REMOVAL_SLICE: usize = 1024;
/// How long a readiness probe waits for the writer; the contract allows one second for everything.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(600);
/// How long a probe's own commit waits for another process that holds the database.
pub const PROBE_BUSY_TIMEOUT: Duration = Duration::from_millis(300);

// ---- Keeping the data --------------------------------------------------------------------------

/// Bytes of a line that `import` reads: a body of any size that the service can be set to take.
pub const MAX_IMPORT_LINE_BYTES: usize = LARGEST_MAX_BODY_BYTES;

// ---- Logs and lifecycle ------------------------------------------------------------------------

/// Bytes of log lines waiting for stdout; past it lines are dropped and counted.
pub const LOG_BUFFER_BYTES: usize = 1 << 20;
/// Pause of the log thread between two writes, so that a busy service writes in batches.
pub const LOG_PAUSE: Duration = Duration::from_millis(5);
/// Characters of a client's string (path, `message_id`) that a log line repeats.
pub const MAX_LOGGED_CHARS: usize = 512;
/// At a stop, how long requests already begun may take (contract, section 10).
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// At a stop, how long a connection must have been quiet to be closed at once: a client that has just
/// connected, or sends one request after the other, may have the next one on its way.
pub const DRAIN_QUIET_TIME: Duration = Duration::from_millis(500);
/// At a stop, how long a client may take to close its side once ours is closed: a way around the world.
pub const DRAIN_LINGER: Duration = Duration::from_millis(250);
/// How long the supervisor may take to hear a word. It has other services to listen to.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// So many times in the interval that the supervisor wants to hear from us (`WATCHDOG_USEC`) we look
/// whether there is progress: one look that comes late must not end the service.
pub const WATCHDOG_LOOKS: u32 = 3;
/// Pause between two looks whether the reactor has come round, which takes it less than a millisecond.
pub const REACTOR_LOOK: Duration = Duration::from_millis(10);
/// At a stop, how long the last log lines may take to leave.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the `healthcheck` command waits for each step.
pub const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

const _: () = {
    assert!(SMALL_BUFFER_BYTES < READ_CHUNK_BYTES && READ_CHUNK_BYTES <= MAX_HEAD_BYTES);
    assert!(LARGEST_MAX_BODY_BYTES < MAX_BUFFERED_BYTES);
    assert!(DEFAULT_MAX_BODY_BYTES <= LARGEST_MAX_BODY_BYTES);
    assert!(DEFAULT_PAGE_ROWS <= MAX_PAGE_ROWS);
    assert!(PROBE_BUSY_TIMEOUT.as_millis() < PROBE_TIMEOUT.as_millis());
    assert!(PROBE_TIMEOUT.as_millis() < 1000);
    assert!(MAX_BATCH <= WRITER_QUEUE);
    assert!(DRAIN_QUIET_TIME.as_millis() < DRAIN_TIMEOUT.as_millis());
};
