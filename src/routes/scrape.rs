//! `GET /metrics` renders every family of metrics (contract, section 6).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Answer;
use crate::app::App;
use crate::exposition::{CONTENT_TYPE, Exposition};
use crate::http::{Request, Response};
use crate::metrics::{
    CloseCause, Histogram, HistogramReading, ItemKind, ItemResult, Metrics, Route, STATUSES,
    STATUSES_FROM_THE_START, WebhookResult,
};
use crate::priority::Priority;
use crate::procfs::Process;
use crate::store::sqlite_version;
use crate::version::{COMMIT, VERSION};

pub(super) fn get(app: &App, _: &Request) -> Answer {
    let mut page = Exposition::new();
    counters(&mut page, &app.metrics);
    whatsapp(&mut page, &app.metrics);
    readiness(&mut page, app);
    requests(&mut page, &app.metrics);
    connections(&mut page, &app.metrics);
    feed(&mut page, app);
    storage(&mut page, app);
    process(&mut page, &Process::read());
    page.family("build_info", "gauge", "Always 1; the labels say what is running.");
    let labels = [("version", VERSION), ("commit", COMMIT), ("sqlite_version", sqlite_version())];
    page.sample("build_info", &labels, 1.0);
    Response::with_type(200, CONTENT_TYPE, page.into_text().into_bytes()).into()
}

/// What `/health/ready` answers, as far as it is known without waiting for the writer.
fn readiness(page: &mut Exposition, app: &App) {
    let (stopping, degraded) = (app.stopping.load(Relaxed), app.metrics.degraded.load(Relaxed));
    let ready = app.secrets.get().lack().is_none() && !stopping && !degraded;
    let help = "1 if a secret is set, the last commit succeeded, and the service is not stopping.";
    gauge(page, "service_ready", help, u32::from(ready));
    // So that the next scrape knows of a disk that fails while nobody sends anything, or is mended.
    app.store.probe_commit_soon();
}

/// What whoever looks at the head of the page wants to see: webhooks first, which take eight lines.
fn counters(page: &mut Exposition, metrics: &Metrics) {
    let name = "webhook_requests_total";
    page.family(name, "counter", "Webhooks, by how they ended.");
    for result in WebhookResult::ALL {
        page.sample(name, &[("result", result.label())], metrics.webhooks(*result).load(Relaxed) as f64);
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

/// Whether the route is there or not.
fn whatsapp(page: &mut Exposition, metrics: &Metrics) {
    let name = "whatsapp_items_total";
    page.family(name, "counter", "What WhatsApp sent, element by element, by kind and by what became of it.");
    for kind in ItemKind::ALL {
        for result in ItemResult::ALL {
            let count = metrics.whatsapp_items(*kind, *result).load(Relaxed);
            page.sample(name, &[("kind", kind.label()), ("result", result.label())], count as f64);
        }
    }
}

fn requests(page: &mut Exposition, metrics: &Metrics) {
    let help = "Milliseconds from a request being whole to its answer being ready.";
    histogram(page, "request_latency_ms", help, &metrics.histograms.latency_ms);
    let name = "http_request_duration_seconds";
    page.family(name, "histogram", "The same in seconds, by route.");
    for route in Route::ALL {
        let HistogramReading { buckets, sum, count } = metrics.route_seconds(*route).read();
        page.histogram(name, &[("path", route.label())], &buckets, sum, count);
    }
    let name = "http_requests_shed_total";
    page.family(name, "counter", "Requests answered 503 because a queue was full, by queue.");
    for priority in Priority::ALL {
        page.sample(name, &[("queue", priority.label())], metrics.shed(*priority).load(Relaxed) as f64);
    }
    let name = "http_requests_queued";
    page.family(name, "gauge", "Requests waiting for a thread, by queue.");
    for priority in Priority::ALL {
        page.sample(name, &[("queue", priority.label())], metrics.waiting(*priority).load(Relaxed) as f64);
    }
    let in_flight: i64 =
        Priority::ALL.iter().map(|priority| metrics.in_flight(*priority).load(Relaxed)).sum();
    let help = "Requests that are whole and not answered yet.";
    gauge(page, "http_requests_in_flight", help, in_flight as f64);
    let help = "Panics: each cost one request, answered 500, or one connection.";
    counter(page, "handler_panics_total", help, &metrics.panics);
}

fn connections(page: &mut Exposition, metrics: &Metrics) {
    gauge(page, "http_connections", "Open connections.", metrics.connections.load(Relaxed) as f64);
    counter(page, "http_connections_accepted_total", "Connections accepted.", &metrics.accepted);
    counter(page, "http_accept_errors_total", "Failures to accept a connection.", &metrics.accept_errors);
    let name = "connections_closed_total";
    page.family(name, "counter", "Connections closed, by cause.");
    for cause in CloseCause::ALL {
        page.sample(name, &[("cause", cause.label())], metrics.closed(*cause).load(Relaxed) as f64);
    }
    let help = "Bytes of requests and answers held for connections.";
    gauge(page, "http_buffered_bytes", help, metrics.buffered_bytes.load(Relaxed) as f64);
}

fn feed(page: &mut Exposition, app: &App) {
    let metrics = &app.metrics;
    gauge(
        page,
        "feed_waiters",
        "Requests that wait for messages to come.",
        metrics.feed_waiters.load(Relaxed) as f64,
    );
    let consumers: Vec<_> = metrics.consumers.read().collect();
    if consumers.is_empty() {
        return;
    }
    let positions: Vec<i64> = consumers.iter().map(|one| one.position).collect();
    // Of a store that cannot be read there is nothing to be said.
    if let Ok(lags) = app.store.feed_lags(&positions) {
        let name = "feed_lag_messages";
        let help = "Messages behind the cursor that a consumer has asked with last; all, if it does not fit.";
        page.family(name, "gauge", help);
        for (one, lag) in consumers.iter().zip(lags) {
            page.sample(name, &[("consumer", one.name)], lag as f64);
        }
    }
    let name = "feed_consumer_seen_seconds";
    let help = "Seconds since a consumer has asked with a cursor that fits, or was answered.";
    page.family(name, "gauge", help);
    for one in &consumers {
        page.sample(name, &[("consumer", one.name)], one.seen_seconds);
    }
}

fn storage(page: &mut Exposition, app: &App) {
    let (metrics, store) = (&app.metrics, &app.store);
    gauge(page, "store_queue_depth", "Messages waiting for the writer.", store.queue_depth() as f64);
    counter(page, "store_messages_total", "Messages stored by this process.", &metrics.messages_stored);
    let help = "Messages deleted because they were older than RETENTION_DAYS.";
    counter(page, "store_messages_expired_total", help, &metrics.messages_expired);
    histogram(
        page,
        "store_batch_messages",
        "Messages in one transaction.",
        &metrics.histograms.batch_messages,
    );
    let help = "Seconds from beginning a transaction to its being synced.";
    histogram(page, "store_commit_seconds", help, &metrics.histograms.commit_seconds);
    let help = "Transactions that failed and stored nothing.";
    counter(page, "store_commit_failures_total", help, &metrics.commit_failures);
    let help = "Age of messages when they were stored, created_at - ts.";
    histogram(page, "message_lag_seconds", help, &metrics.histograms.message_lag_seconds);
    let help = "Messages stored whose ts lay more than five seconds in the future.";
    counter(page, "messages_ahead_total", help, &metrics.messages_ahead);
    let name = "store_unindexed_messages";
    page.family(name, "gauge", "Messages that an index does not know yet; queries go through them.");
    page.sample(name, &[("index", "order")], metrics.unordered.load(Relaxed) as f64);
    page.sample(name, &[("index", "search")], metrics.unsearchable.load(Relaxed) as f64);
    let bytes = store.bytes();
    gauge(page, "store_database_bytes", "Size of the database file.", bytes.database as f64);
    gauge(page, "store_wal_bytes", "Size of the write-ahead log.", bytes.wal as f64);
    gauge(page, "store_index_bytes", "Size of the index beside the database.", bytes.index as f64);
    if let Some(disk) = store.disk() {
        let help = "Room left on the disk of the database.";
        gauge(page, "store_disk_free_bytes", help, disk.free_bytes as f64);
        gauge(page, "store_disk_bytes", "Size of the disk of the database.", disk.bytes as f64);
    }
    let help = "Log lines dropped because nobody read stdout.";
    page.single("log_lines_dropped_total", "counter", help, app.log.dropped() as f64);
}

fn process(page: &mut Exposition, process: &Process) {
    if let Some(seconds) = process.cpu_seconds {
        page.single("process_cpu_seconds_total", "counter", "User and system CPU time.", seconds);
    }
    let count = |figure: Option<u64>| figure.map(|figure| figure as f64);
    for (name, help, value) in [
        ("process_start_time_seconds", "Start time since the Unix epoch.", process.start_time_seconds),
        ("process_resident_memory_bytes", "Resident memory.", count(process.resident_bytes)),
        ("process_virtual_memory_bytes", "Virtual memory.", count(process.virtual_bytes)),
        ("process_open_fds", "Open file descriptors.", count(process.open_fds)),
        ("process_max_fds", "Limit of open file descriptors.", count(process.max_fds)),
        ("process_threads", "Threads.", count(process.threads)),
    ] {
        if let Some(value) = value {
            gauge(page, name, help, value);
        }
    }
}

fn counter(page: &mut Exposition, name: &str, help: &str, count: &AtomicU64) {
    page.single(name, "counter", help, count.load(Relaxed) as f64);
}

fn gauge(page: &mut Exposition, name: &str, help: &str, value: impl Into<f64>) {
    page.single(name, "gauge", help, value);
}

fn histogram(page: &mut Exposition, name: &str, help: &str, histogram: &Histogram) {
    let HistogramReading { buckets, sum, count } = histogram.read();
    page.family(name, "histogram", help);
    page.histogram(name, &[], &buckets, sum, count);
}
