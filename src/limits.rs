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
/// Trigrams of a searched word that are looked up in the index.
pub const SEARCHED_TRIGRAMS: usize = 12;
/// Looking a row up takes as long as reading some of them in a row. Where more than one in so many
/// would be looked up, the whole table is read.
pub const PROPOSED_SHARE: u64 = 16;
/// Places sorted in memory for one page, some 15 MB. Deeper pages are walked to; where the index is not
/// to be had for that yet, they are answered 503.
pub const MOST_SORTED: u64 = 100_000;
/// Places of messages that the index has not taken in and a read connection keeps in memory: several of
/// its slices. Of more, queries go through the rows.
pub const MOST_KEPT_PLACES: usize = 32_768;
/// What they may take there.
pub const MOST_KEPT_PLACES_BYTES: usize = 8 << 20;
/// What the texts may take there that the search index has not taken in: some hundred thousand messages.
pub const MOST_KEPT_TEXT_BYTES: usize = 16 << 20;
/// Matches of a search whose places are kept for the page; of more, the page is searched by itself.
pub const KEPT_MATCHES: usize = 4096;
/// So few proposed rows are looked up however small the table is.
pub const FEW_PROPOSED_ROWS: u64 = 32;
/// How long one query may run before it is given up with 503.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(10);
/// SQLite instructions between two looks at a query's deadline: about a millisecond of work.
pub const QUERY_DEADLINE_CHECK_OPS: i32 = 20_000;

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
/// A query that takes longer than this rests on its way as well.
pub const QUERY_WITHOUT_REST: Duration = Duration::from_millis(20);
/// While the service is busy, a thread that answers queries rests as many times as long as it has worked
/// as queries are waiting, up to this. Two who ask are served promptly; twenty who search through a
/// whole table without pause would take half of the rate of messages otherwise.
pub const MOST_QUERY_REST: u32 = 9;
/// A query that took so long may have sorted a whole table: the memory for that goes back to the system.
pub const LONG_QUERY: Duration = Duration::from_millis(100);
/// No rest is longer than this.
pub const LONGEST_QUERY_REST: Duration = Duration::from_millis(200);
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
/// Page cache of the write connection, in KiB: the upper levels of the index of a hundred million ids.
pub const WRITE_CACHE_KIB: i64 = 6 << 10;
/// Page cache of a read connection, in KiB.
pub const READ_CACHE_KIB: i64 = 2 << 10;
/// Messages waiting for the writer; past it they are answered 503.
pub const WRITER_QUEUE: usize = 8192;
/// Messages in one transaction. Larger batches gain little and make the first one wait.
pub const MAX_BATCH: usize = 512;
/// A file of an earlier implementation up to this size is checked for damage before it is migrated,
/// which takes two seconds for that many bytes.
pub const LARGEST_CHECKED_BYTES: u64 = 1 << 30;
/// How long a commit waits for another process that holds the database.
pub const COMMIT_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a start waits for another process that holds the database, say one that has not ended yet on
/// a disk that stalls.
pub const START_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a start waits for another process that reads the log. One that replicates does so for ever.
pub const WRITE_AGAIN_BUSY_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a query waits for another process that holds the database.
pub const READ_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// So long may a query be at work while the log is at its bound (`store::database::log_bounds`).
pub const LOG_HELD_BY_QUERY: Duration = Duration::from_millis(500);
/// While queries are held up for that, how often it is looked whether the others have ended.
pub const HELD_QUERY_LOOK: Duration = Duration::from_millis(20);
/// Prepared statements that a connection keeps: every form of query that it is asked, several times over.
pub const CACHED_STATEMENTS: usize = 64;
/// Page cache of the connection that keeps the index up, in KiB.
pub const INDEX_CACHE_KIB: i64 = 2 << 10;
/// While messages keep coming, how long they gather before they are put in order together. Every
/// query goes through those that are not.
pub const ORDER_PAUSE: Duration = Duration::from_millis(100);
/// Messages put in order at once.
pub const ORDER_SLICE: usize = 8192;
/// Messages that wait to be put in order while the service is busy and nobody asks anything: putting
/// them in order would take a fifth of what taking them in takes.
pub const MOST_UNORDERED: i64 = 16_384;
/// A query this recent means that somebody asks.
pub const QUERY_IS_RECENT: Duration = Duration::from_secs(5);
/// So many messages since the last look mean that the service is busy.
pub const BUSY_ROWS: i64 = 100;
/// How long texts gather before they are indexed together: to index one takes longer than to search it.
pub const SEARCH_PAUSE: Duration = Duration::from_millis(500);
/// While the service is busy, putting messages in order pauses for so many times as long as it took.
pub const ORDER_SHARE: u32 = 2;
/// A large backlog, as an older file brings along, gives way for so many times as long: to work it off
/// takes minutes in any case.
pub const BACKLOG_SHARE: u32 = 9;
/// To index a text takes as much as to take the message in. While the service is busy, indexing
/// texts pauses for so many times as long as it took.
pub const SEARCH_SHARE: u32 = 15;
/// Bytes of texts indexed at once, however few they are.
pub const SEARCH_SLICE_BYTES: usize = 1 << 20;
/// Texts indexed at once.
pub const SEARCH_SLICE: usize = 1024;
/// How long until an index that failed is tried again, and how often the indexer looks around unasked.
pub const INDEX_RETRY: Duration = Duration::from_secs(1);
/// A backlog of so many messages, as an older file brings along, is worth a line in the log.
pub const LOGGED_BACKLOG: i64 = 100_000;
/// How often the log says how far the work on a backlog has come.
pub const BACKLOG_REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Upper end of `RETENTION_DAYS`: a hundred years.
pub const LONGEST_RETENTION_DAYS: u32 = 36_500;
/// How often the service looks for messages that are too old. The setting is in days.
pub const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// Messages deleted in one transaction. Each may touch pages of its own, so it takes some milliseconds,
/// as a full batch of new ones does; a webhook never waits for more than one.
pub const EXPIRY_SLICE: usize = 128;
/// Deletion rests for so many times as long as a slice took, so that it has half of the writer at most.
pub const EXPIRY_REST: u32 = 1;
/// While webhooks come it has a twentieth, unless it is at it for longer than [`EXPIRY_INTERVAL`].
pub const BUSY_EXPIRY_REST: u32 = 19;
/// No rest is longer than this, however long the disk took for a slice.
pub const LONGEST_EXPIRY_REST: Duration = Duration::from_secs(5);
/// How long the next slice waits for the index to know of the last one; queries wait with it. An index that
/// takes longer is behind for other reasons.
pub const EXPIRY_INDEX_PATIENCE: Duration = Duration::from_secs(1);
/// While messages are deleted, how long a query waits for the index to know of it before it goes through
/// all messages instead.
pub const DELETION_PATIENCE: Duration = Duration::from_millis(200);
/// How often it looks.
pub const DELETION_LOOK: Duration = Duration::from_millis(2);
/// How often the service looks whether a look for old messages is due, and at changes that the index knows. A change is
/// removed at the second look, so that the disk has most likely taken the index in.
pub const RETENTION_LOOK: Duration = Duration::from_secs(5);
/// Changes removed, or remembered ids looked at, in one transaction: they lie side by side.
pub const REMOVAL_SLICE: usize = 1024;
/// Changes that are kept for an index that cannot be had; 10 MB. It is made anew later.
pub const MOST_CHANGES: usize = 100_000;
/// How long the id of a message that is gone is remembered. Senders try again for up to seven days.
pub const IDS_REMEMBERED: Duration = Duration::from_secs(8 * 86_400);
/// How often remembered ids are looked through for those that are remembered for longer.
pub const IDS_INTERVAL: Duration = Duration::from_secs(86_400);
/// Messages that the `erase` command deletes in one transaction: a running service waits for each.
pub const ERASE_SLICE: usize = 128;
/// How often it looks whether the database is free for a moment.
pub const ERASE_LOOK: Duration = Duration::from_millis(1);
/// How long it waits for that, and for a running service to let go of its index. A query that keeps the log
/// from being emptied is given up after ten seconds.
pub const ERASE_PATIENCE: Duration = Duration::from_secs(20);
/// Pause of the writer between two tries to open a database that failed.
pub const REOPEN_PAUSE: Duration = Duration::from_millis(200);
/// A commit this recent proves that the writer can commit.
pub const PROOF_OF_COMMIT: Duration = Duration::from_secs(1);
/// A failure to commit is reported to probes for this long before another try.
pub const FAILURE_STANDS: Duration = Duration::from_millis(500);
/// How long a readiness probe waits for the writer; the contract allows one second for everything.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(600);
/// How long a probe's own commit waits for another process that holds the database.
pub const PROBE_BUSY_TIMEOUT: Duration = Duration::from_millis(300);

// ---- Keeping the data --------------------------------------------------------------------------

/// SQLite instructions between two looks of a check at the log: some milliseconds of work.
pub const CHECK_LOOK_OPS: i32 = 200_000;
/// Faults that a check names before it stops looking for more of a kind.
pub const NAMED_FAULTS: usize = 20;
/// Rows whose words a check asks the search index for, spread over the table.
pub const CHECKED_SEARCHES: i64 = 1000;
/// How long a check waits for a service to have its index take account of changes by others.
pub const CHECK_PATIENCE: Duration = Duration::from_secs(10);
/// Of the trigrams of each of them, how many.
pub const CHECKED_TRIGRAMS: usize = 3;
/// Rows gone through by `export` in one snapshot: some tens of milliseconds, so that the log can start over.
pub const EXPORT_ROWS: i64 = 10_000;
/// Bytes of messages that `export` takes from one snapshot. They are held in memory, and written when
/// the snapshot has ended: whoever reads them may be slow.
pub const EXPORT_BYTES: usize = 1 << 20;
/// Bytes of a line that `import` reads: a body of any size that the service can be set to take.
pub const MAX_IMPORT_LINE_BYTES: usize = LARGEST_MAX_BODY_BYTES;
/// How long `import` waits for a service that commits all the time: its turn is a matter of chance.
pub const IMPORT_BUSY_TIMEOUT: Duration = Duration::from_secs(60);

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
