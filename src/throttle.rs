//! The throttle has queries make way for webhooks: while there are many of those, a thread that answers queries
//! rests for several times as long as it has been at work.
//!
//! Clients that ask without pause would take half of the rate of messages otherwise. A query runs at the priority of
//! everything else until it rests, so that whoever asks now and then is answered at once. A long one rests on its way
//! as well, so that it takes no more than many short ones. What counts is processor time: to wait for the disk, or for
//! a processor, takes nothing away.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::limits::BUSY_WEBHOOKS;
use crate::metrics::Metrics;
use crate::os::processor_time_of_this_thread;
use crate::priority::Priority;

/// How often a thread at rest checks whether there are webhooks still.
const QUERY_REST_STEP: Duration = Duration::from_millis(20);

/// No rest is longer than this.
const MAX_QUERY_REST: Duration = Duration::from_millis(200);

/// While the service is busy, a thread that answers queries rests so many times as long as it has worked: two such
/// threads take half a processor at the most.
const QUERY_REST_SHARE: u32 = 3;

thread_local!(static RESTED_AT: Cell<Duration> = const { Cell::new(Duration::ZERO) });

/// Rests for what this thread has worked since it last did, if that is a whole spell and there are webhooks to make way
/// for. Not much longer than the webhooks are there, and never longer than [`MAX_QUERY_REST`].
pub fn throttle(metrics: &Metrics, spell: Duration) {
    let worked_in_all = processor_time_of_this_thread();
    let worked = worked_in_all.saturating_sub(RESTED_AT.get());
    if worked < spell {
        return;
    }
    RESTED_AT.set(worked_in_all);
    let webhooks = || metrics.in_flight(Priority::Ingest).load(Relaxed);
    if webhooks() < BUSY_WEBHOOKS {
        return;
    }
    let mut rest = (worked * QUERY_REST_SHARE).min(MAX_QUERY_REST);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn work(time: Duration) {
        let began = processor_time_of_this_thread();
        while processor_time_of_this_thread() - began < time {}
    }

    fn busy() -> Metrics {
        let metrics = Metrics::default();
        metrics.in_flight(Priority::Ingest).store(BUSY_WEBHOOKS, Relaxed);
        metrics
    }

    fn rest(metrics: &Metrics, spell: Duration) -> Duration {
        let began = Instant::now();
        throttle(metrics, spell);
        began.elapsed()
    }

    #[test]
    fn who_has_worked_for_a_spell_rests_for_several_times_as_long() {
        let metrics = busy();
        throttle(&metrics, Duration::ZERO);
        let spell = Duration::from_millis(5);
        work(spell);
        assert!(rest(&metrics, spell) >= spell * QUERY_REST_SHARE);
    }

    #[test]
    fn work_gathers_until_it_is_a_spell() {
        let metrics = busy();
        throttle(&metrics, Duration::ZERO);
        let before = RESTED_AT.get();
        work(Duration::from_millis(5));
        throttle(&metrics, Duration::from_secs(60));
        assert_eq!(RESTED_AT.get(), before);
        assert!(rest(&metrics, Duration::ZERO) >= Duration::from_millis(5) * QUERY_REST_SHARE);
    }

    #[test]
    fn a_rest_is_taken_once() {
        let metrics = busy();
        work(Duration::from_millis(10));
        throttle(&metrics, Duration::ZERO);
        let before = RESTED_AT.get();
        throttle(&metrics, Duration::ZERO);
        assert!(RESTED_AT.get() - before < Duration::from_millis(10));
    }
}
