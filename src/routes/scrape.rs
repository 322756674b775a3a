//! `GET /metrics` renders every family of metrics (contract, section 6).

use std::sync::atomic::Ordering::Relaxed;

use super::Answer;
use crate::app::App;
use crate::exposition::{CONTENT_TYPE, Exposition};
use crate::http::{Request, Response};
use crate::metrics::{
    CloseCause, HistogramReading, Metrics, Priority, Route, STATUSES, STATUSES_FROM_THE_START, WebhookResult,
};
use crate::procfs::Process;
use crate::store::sqlite_version;
use crate::version::{COMMIT, VERSION};

pub(super) fn get(app: &App, _: &Request) -> Answer {
    let mut page = Exposition::default();
    counters(&mut page, &app.metrics);
    readiness(&mut page, app);
    requests(&mut page, &app.metrics);
    connections(&mut page, &app.metrics);
    storage(&mut page, app);
    process(&mut page, &Process::read());
    page.family("build_info", "gauge", "Always 1; the labels say what is running.");
    let labels = [("version", VERSION), ("commit", COMMIT), ("sqlite_version", sqlite_version())];
    page.sample("build_info", &labels, 1.0);
    Answer::Now(Response::with_type(200, CONTENT_TYPE, page.into_text().into_bytes()).into())
}

/// What `/health/ready` answers, as far as it is known without waiting for the writer.
fn readiness(page: &mut Exposition, app: &App) {
    let (stopping, degraded) = (app.stopping.load(Relaxed), app.metrics.degraded.load(Relaxed));
    let ready = app.secrets.get().keys.is_some() && !stopping && !degraded;
    let help = "1 if a secret is set, the last commit succeeded, and the service is not stopping.";
    page.single("service_ready", "gauge", help, f64::from(u8::from(ready)));
    // So that the next scrape knows of a disk that fails while nobody sends anything, or is mended.
    app.store.probe_commit_soon();
}

/// What whoever looks at the head of the page wants to see: webhooks first, which take eight lines.
fn counters(page: &mut Exposition, metrics: &Metrics) {
    let name = "webhook_requests_total";
    page.family(name, "counter", "Webhooks, by how they ended.");
    for result in WebhookResult::ALL {
        page.sample(name, &[("result", result.label())], metrics.webhooks_total(*result) as f64);
    }
    let name = "http_requests_total";
    page.family(name, "counter", "Requests answered, by route and status.");
    for route in Route::ALL {
        for (slot, status) in STATUSES.iter().enumerate() {
            let count = metrics.requests_total(*route, slot);
            if count > 0 || STATUSES_FROM_THE_START.contains(status) {
                page.sample(name, &[("path", route.label()), ("status", &status.to_string())], count as f64);
            }
        }
    }
}

fn requests(page: &mut Exposition, metrics: &Metrics) {
    let name = "request_latency_ms";
    page.family(name, "histogram", "Milliseconds from a request being whole to its answer being ready.");
    histogram(page, name, &[], &metrics.latency_ms.read());
    let name = "http_request_duration_seconds";
    page.family(name, "histogram", "The same in seconds, by route.");
    for route in Route::ALL {
        histogram(page, name, &[("path", route.label())], &metrics.route_seconds(*route).read());
    }
    let name = "http_requests_shed_total";
    page.family(name, "counter", "Requests answered 503 because a queue was full, by queue.");
    for priority in Priority::ALL {
        page.sample(name, &[("queue", priority.label())], metrics.shed_total(*priority) as f64);
    }
    let name = "http_requests_queued";
    page.family(name, "gauge", "Requests waiting for a thread, by queue.");
    for priority in Priority::ALL {
        page.sample(name, &[("queue", priority.label())], metrics.waiting(*priority).load(Relaxed) as f64);
    }
    let in_flight =
        Priority::ALL.iter().map(|priority| metrics.in_flight(*priority).load(Relaxed)).sum::<i64>() as f64;
    page.single(
        "http_requests_in_flight",
        "gauge",
        "Requests that are whole and not answered yet.",
        in_flight,
    );
    let panics = metrics.panics.load(Relaxed) as f64;
    page.single(
        "handler_panics_total",
        "counter",
        "Panics: each cost one request, answered 500, or one connection.",
        panics,
    );
}

fn connections(page: &mut Exposition, metrics: &Metrics) {
    let open = metrics.connections.load(Relaxed) as f64;
    page.single("http_connections", "gauge", "Open connections.", open);
    let accepted = metrics.accepted.load(Relaxed) as f64;
    page.single("http_connections_accepted_total", "counter", "Connections accepted.", accepted);
    let errors = metrics.accept_errors.load(Relaxed) as f64;
    page.single("http_accept_errors_total", "counter", "Failures to accept a connection.", errors);
    let name = "connections_closed_total";
    page.family(name, "counter", "Connections closed, by cause.");
    for cause in CloseCause::ALL {
        page.sample(name, &[("cause", cause.label())], metrics.closed_total(*cause) as f64);
    }
    let buffered = metrics.buffered_bytes.load(Relaxed) as f64;
    page.single(
        "http_buffered_bytes",
        "gauge",
        "Bytes of requests and answers held for connections.",
        buffered,
    );
}

fn storage(page: &mut Exposition, app: &App) {
    let metrics = &app.metrics;
    let depth = app.store.queue_depth() as f64;
    page.single("store_queue_depth", "gauge", "Messages waiting for the writer.", depth);
    let stored = metrics.messages_stored.load(Relaxed) as f64;
    page.single("store_messages_total", "counter", "Messages stored by this process.", stored);
    let expired = metrics.messages_expired.load(Relaxed) as f64;
    page.single(
        "store_messages_expired_total",
        "counter",
        "Messages deleted because they were older than RETENTION_DAYS.",
        expired,
    );
    page.family("store_batch_messages", "histogram", "Messages in one transaction.");
    histogram(page, "store_batch_messages", &[], &metrics.batch_messages.read());
    page.family(
        "store_commit_seconds",
        "histogram",
        "Seconds from beginning a transaction to its being synced.",
    );
    histogram(page, "store_commit_seconds", &[], &metrics.commit_seconds.read());
    let failures = metrics.commit_failures.load(Relaxed) as f64;
    page.single(
        "store_commit_failures_total",
        "counter",
        "Transactions that failed and stored nothing.",
        failures,
    );
    let name = "message_lag_seconds";
    page.family(name, "histogram", "Age of messages when they were stored, created_at - ts.");
    histogram(page, name, &[], &metrics.message_lag_seconds.read());
    let ahead = metrics.messages_ahead.load(Relaxed) as f64;
    let help = "Messages stored whose ts lay more than five seconds in the future.";
    page.single("messages_ahead_total", "counter", help, ahead);
    let name = "store_unindexed_messages";
    page.family(name, "gauge", "Messages that an index does not know yet; queries go through them.");
    page.sample(name, &[("index", "order")], metrics.unordered.load(Relaxed) as f64);
    page.sample(name, &[("index", "search")], metrics.unsearchable.load(Relaxed) as f64);
    let bytes = app.store.bytes();
    page.single("store_database_bytes", "gauge", "Size of the database file.", bytes.database as f64);
    page.single("store_wal_bytes", "gauge", "Size of the write-ahead log.", bytes.wal as f64);
    page.single("store_index_bytes", "gauge", "Size of the index beside the database.", bytes.index as f64);
    if let Some(disk) = app.store.disk() {
        let free = disk.free_bytes as f64;
        page.single("store_disk_free_bytes", "gauge", "Room left on the disk of the database.", free);
        page.single("store_disk_bytes", "gauge", "Size of the disk of the database.", disk.bytes as f64);
    }
    let dropped = app.log.dropped() as f64;
    page.single(
        "log_lines_dropped_total",
        "counter",
        "Log lines dropped because nobody read stdout.",
        dropped,
    );
}

fn process(page: &mut Exposition, process: &Process) {
    let figures = [
        ("process_cpu_seconds_total", "counter", "User and system CPU time.", process.cpu_seconds),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time since the Unix epoch.",
            process.start_time_seconds,
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            process.resident_bytes.map(|n| n as f64),
        ),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", process.virtual_bytes.map(|n| n as f64)),
        ("process_open_fds", "gauge", "Open file descriptors.", process.open_fds.map(|n| n as f64)),
        ("process_max_fds", "gauge", "Limit of open file descriptors.", process.max_fds.map(|n| n as f64)),
        ("process_threads", "gauge", "Threads.", process.threads.map(|n| n as f64)),
    ];
    for (name, kind, help, value) in figures {
        if let Some(value) = value {
            page.single(name, kind, help, value);
        }
    }
}

fn histogram(page: &mut Exposition, name: &str, labels: &[(&str, &str)], reading: &HistogramReading) {
    page.histogram(name, labels, &reading.buckets, reading.sum, reading.count);
}
