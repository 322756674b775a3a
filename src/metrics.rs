//! Metrics count what happens while the service runs, in atomics that nobody has to lock.
//!
//! Counting is one relaxed atomic addition and reading takes no lock, so a scrape never holds up a
//! request. Labels come from the closed sets below, so no client can add a time series.

mod histogram;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::consumers::Consumers;
use crate::labels::labels;
use crate::priority::Priority;
use histogram::Bound;
pub use histogram::{Histogram, HistogramReading};

labels! {
    /// The routes of the service, and one name for everything else.
    Route {
        Webhook = "/webhook",
        Whatsapp = "/whatsapp",
        Messages = "/messages",
        Feed = "/feed",
        Stats = "/stats",
        Live = "/health/live",
        Ready = "/health/ready",
        Metrics = "/metrics",
        OpenApi = "/openapi.json",
        Page = "/",
        Docs = "/docs",
        Unmatched = "unmatched",
    }
}

labels! {
    /// How a webhook ended (contract, section 2).
    WebhookResult {
        Created = "created",
        Duplicate = "duplicate",
        InvalidSignature = "invalid_signature",
        ValidationError = "validation_error",
        TooLarge = "too_large",
        Unavailable = "unavailable",
    }
}

labels! {
    /// Why a connection ended.
    CloseCause {
        Client = "client",
        Answered = "answered",
        Idle = "idle",
        SlowRequest = "slow_request",
        SlowReader = "slow_reader",
        Malformed = "malformed",
        Error = "error",
        Capacity = "capacity",
    }
}

impl CloseCause {
    /// The service has defended itself against whoever was at the other end.
    pub fn is_containment(self) -> bool {
        matches!(self, Self::SlowRequest | Self::SlowReader | Self::Malformed | Self::Capacity)
    }
}

/// Statuses that the service can answer with. The 0 at the end counts any other, which would be a fault of the program.
pub const STATUSES: [u16; 20] =
    [200, 307, 400, 401, 403, 404, 405, 408, 410, 413, 414, 415, 417, 421, 422, 431, 500, 503, 505, 0];

/// Shown for every route from the start, so that the first one is a rise from 0: a series that begins
/// at 1 has no rate.
pub const STATUSES_FROM_THE_START: [u16; 3] = [200, 500, 503];

/// Buckets of `request_latency_ms`, in microseconds (contract, section 6).
const LATENCY_BOUNDS: &[Bound] = &[
    (1000, "1"),
    (2500, "2.5"),
    (5000, "5"),
    (10_000, "10"),
    (25_000, "25"),
    (50_000, "50"),
    (100_000, "100"),
    (250_000, "250"),
    (500_000, "500"),
    (1_000_000, "1000"),
    (2_500_000, "2500"),
];
/// Buckets of the histograms in seconds, in microseconds: from a health probe to a slow search.
const SECONDS_BOUNDS: &[Bound] = &[
    (250, "0.00025"),
    (500, "0.0005"),
    (1000, "0.001"),
    (2500, "0.0025"),
    (5000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];
/// Buckets of the batch size, in messages.
const BATCH_BOUNDS: &[Bound] = &[
    (1, "1"),
    (2, "2"),
    (4, "4"),
    (8, "8"),
    (16, "16"),
    (32, "32"),
    (64, "64"),
    (128, "128"),
    (256, "256"),
    (512, "512"),
];

/// Buckets of a message's age when it is stored, in milliseconds: from a second to a week.
const LAG_BOUNDS: &[Bound] = &[
    (1000, "1"),
    (5000, "5"),
    (15_000, "15"),
    (60_000, "60"),
    (300_000, "300"),
    (900_000, "900"),
    (3_600_000, "3600"),
    (21_600_000, "21600"),
    (86_400_000, "86400"),
    (604_800_000, "604800"),
];

labels! {
    /// What an item of WhatsApp is (contract, section 14).
    ItemKind {
        Message = "message",
        Status = "status",
        Other = "other",
    }
}

labels! {
    /// What became of an item.
    ItemResult {
        Created = "created",
        Duplicate = "duplicate",
        Unmapped = "unmapped",
        Dropped = "dropped",
    }
}

/// Everything that is counted. One for the process, shared by all threads.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; Route::ALL.len()],
    webhooks: [AtomicU64; WebhookResult::ALL.len()],
    whatsapp_items: [[AtomicU64; ItemResult::ALL.len()]; ItemKind::ALL.len()],
    closed: [AtomicU64; CloseCause::ALL.len()],
    shed: [AtomicU64; Priority::ALL.len()],
    pub histograms: Histograms,
    pub commit_failures: AtomicU64,
    pub messages_stored: AtomicU64,
    /// Messages deleted because of their age.
    pub messages_expired: AtomicU64,
    /// Messages whose `ts` lay ahead of this machine's clock.
    pub messages_ahead: AtomicU64,
    /// The last transaction failed.
    pub degraded: AtomicBool,
    /// Messages whose place in the order is not derived yet.
    pub unordered: AtomicI64,
    /// Messages that the search index does not know yet.
    pub unsearchable: AtomicI64,
    pub panics: AtomicU64,
    pub accepted: AtomicU64,
    pub accept_errors: AtomicU64,
    pub connections: AtomicI64,
    pub buffered_bytes: AtomicI64,
    /// Requests that wait for messages to come.
    pub feed_waiters: AtomicI64,
    pub consumers: Consumers,
    waiting: [AtomicI64; Priority::ALL.len()],
    in_flight: [AtomicI64; Priority::ALL.len()],
}

/// What is counted by size.
#[derive(Debug)]
pub struct Histograms {
    pub latency_ms: Histogram,
    route_seconds: [Histogram; Route::ALL.len()],
    pub batch_messages: Histogram,
    pub commit_seconds: Histogram,
    /// `created_at − ts` of each message; 0 where `ts` is the later one.
    pub message_lag_seconds: Histogram,
}

impl Default for Histograms {
    fn default() -> Self {
        Self {
            latency_ms: Histogram::new(LATENCY_BOUNDS, 1e3),
            route_seconds: std::array::from_fn(|_| Histogram::new(SECONDS_BOUNDS, 1e6)),
            batch_messages: Histogram::new(BATCH_BOUNDS, 1.0),
            commit_seconds: Histogram::new(SECONDS_BOUNDS, 1e6),
            message_lag_seconds: Histogram::new(LAG_BOUNDS, 1e3),
        }
    }
}

impl Metrics {
    /// Counts a request that was answered, or refused before it was whole.
    pub fn request(&self, route: Route, status: u16, took: Duration) {
        // The last slot stands for a status that is not in the list: none is known.
        let slot = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        self.requests[route as usize][slot].fetch_add(1, Relaxed);
        self.histograms.latency_ms.observe_time(took);
        self.histograms.route_seconds[route as usize].observe_time(took);
    }

    pub fn webhooks(&self, result: WebhookResult) -> &AtomicU64 {
        &self.webhooks[result as usize]
    }

    pub fn whatsapp_items(&self, kind: ItemKind, result: ItemResult) -> &AtomicU64 {
        &self.whatsapp_items[kind as usize][result as usize]
    }

    /// Connections that were closed.
    pub fn closed(&self, cause: CloseCause) -> &AtomicU64 {
        &self.closed[cause as usize]
    }

    /// Requests for which there was no room.
    pub fn shed(&self, priority: Priority) -> &AtomicU64 {
        &self.shed[priority as usize]
    }

    /// Requests that wait in a queue of the pool.
    pub fn waiting(&self, priority: Priority) -> &AtomicI64 {
        &self.waiting[priority as usize]
    }

    /// Requests that are whole and not answered yet.
    pub fn in_flight(&self, priority: Priority) -> &AtomicI64 {
        &self.in_flight[priority as usize]
    }

    pub fn requests_total(&self, route: Route, slot: usize) -> u64 {
        self.requests[route as usize][slot].load(Relaxed)
    }

    pub fn route_seconds(&self, route: Route) -> &Histogram {
        &self.histograms.route_seconds[route as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_are_shown_as_what_they_are() {
        let histograms = Histograms::default();
        let Histograms { latency_ms, route_seconds, batch_messages, commit_seconds, message_lag_seconds } =
            &histograms;
        let of_routes = route_seconds.iter();
        for histogram in of_routes.chain([latency_ms, batch_messages, commit_seconds, message_lag_seconds]) {
            assert!(histogram.bounds.is_sorted_by(|(one, _), (next, _)| one < next));
            for (bound, shown) in histogram.bounds {
                assert_eq!(*shown, (*bound as f64 / histogram.scale).to_string());
            }
        }
    }

    #[test]
    fn labels_index_their_own_counters() {
        let metrics = Metrics::default();
        for (n, result) in WebhookResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, n);
        }
        metrics.webhooks(WebhookResult::Unavailable).fetch_add(1, Relaxed);
        metrics.request(Route::Unmatched, 404, Duration::from_millis(3));
        assert_eq!(metrics.webhooks(WebhookResult::Unavailable).load(Relaxed), 1);
        let slot = STATUSES.iter().position(|s| *s == 404).unwrap();
        assert_eq!(metrics.requests_total(Route::Unmatched, slot), 1);
        assert_eq!(metrics.histograms.latency_ms.read().count, 1);
    }
}
