//! The throttle has queries make way for webhooks: while there are many of those, a thread that answers queries
//! rests for several times as long as it has been at work.
//!
//! A low priority alone does not keep queries from taking a core each, and clients that ask without
//! pause would take half of the rate of messages otherwise. A long query rests on its way as well, so
//! that it takes no more than many short ones. What counts is processor time: to wait for the disk
//! takes nothing away.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::limits::BUSY_WEBHOOKS;
use crate::metrics::Metrics;
use crate::priority::Priority;

/// How often a thread at rest checks whether there are webhooks still.
const QUERY_REST_STEP: Duration = Duration::from_millis(20);

/// No rest is longer than this.
const MAX_QUERY_REST: Duration = Duration::from_millis(200);

/// While the service is busy, a thread that answers queries rests as many times as long as it has worked
/// as queries are waiting, up to this. Two who ask are served promptly; twenty who search through a
/// whole table without pause would take half of the rate of messages otherwise.
const MAX_QUERY_REST_FACTOR: u32 = 9;

thread_local!(static RESTED_AT: Cell<Duration> = const { Cell::new(Duration::ZERO) });

/// Rests for what this thread has worked since it was last called, if there are webhooks to make way
/// for: as many times as long as there are in its queue. Not much longer than the webhooks are there, and
/// never longer than [`MAX_QUERY_REST`].
pub fn throttle(metrics: &Metrics, queue: Priority) {
    let worked_in_all = processor_time_of_this_thread();
    let worked = worked_in_all.saturating_sub(RESTED_AT.replace(worked_in_all));
    let webhooks = || metrics.in_flight(Priority::Ingest).load(Relaxed);
    if webhooks() < BUSY_WEBHOOKS {
        return;
    }
    let waiting = metrics.waiting(queue).load(Relaxed).unsigned_abs();
    let times = u32::try_from(waiting)
        .map_or(MAX_QUERY_REST_FACTOR, |waiting| waiting.clamp(1, MAX_QUERY_REST_FACTOR));
    let mut rest = (worked * times).min(MAX_QUERY_REST);
    while !rest.is_zero() {
        let pause = rest.min(QUERY_REST_STEP);
        thread::sleep(pause);
        rest -= pause;
        // Between two batches there may be few of them for a moment.
        if webhooks() == 0 {
            return;
        }
    }
}

fn processor_time_of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The clock of a thread starts at zero and its nanoseconds are below a thousand million.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn work(time: Duration) {
        let began = processor_time_of_this_thread();
        while processor_time_of_this_thread() - began < time {}
    }

    #[test]
    fn the_more_queries_wait_the_longer_one_rests() {
        let metrics = Metrics::default();
        metrics.in_flight(Priority::Ingest).store(BUSY_WEBHOOKS, Relaxed);
        for (waiting, times) in [(0, 1), (2, 2), (1000, MAX_QUERY_REST_FACTOR)] {
            metrics.waiting(Priority::Read).store(waiting, Relaxed);
            throttle(&metrics, Priority::Read);
            work(Duration::from_millis(5));
            let began = Instant::now();
            throttle(&metrics, Priority::Read);
            assert!(began.elapsed() >= Duration::from_millis(5) * times);
        }
    }

    #[test]
    fn a_rest_is_taken_once() {
        let metrics = Metrics::default();
        metrics.in_flight(Priority::Ingest).store(BUSY_WEBHOOKS, Relaxed);
        work(Duration::from_millis(10));
        throttle(&metrics, Priority::Read);
        let before = RESTED_AT.get();
        throttle(&metrics, Priority::Read);
        assert!(RESTED_AT.get() - before < Duration::from_millis(10));
    }
}
