//! The lag of a message, `created_at − ts`, tells what comes late or whose clock is wrong.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::message::Message;
use crate::metrics::Metrics;
use crate::timestamp::unix_millis;

/// A `ts` that lies so far ahead of this machine's clock means that one of the two is wrong: hosts that
/// keep their time by NTP differ by less than a second.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// Counts the messages that a batch has created. One that is sent again says nothing of any clock.
pub(super) fn observe(metrics: &Metrics, created: &[&Message], stored_at: SystemTime) {
    let stored_at = stored_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    for message in created {
        let Some(ts) = unix_millis(message.ts()) else {
            continue;
        };
        let lag = stored_at - ts;
        metrics.histograms.message_lag_seconds.observe(u64::try_from(lag).unwrap_or(0));
        if -lag > CLOCK_TOLERANCE.as_millis() as i64 {
            metrics.messages_ahead.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ahead_counts_apart() {
        let message = |ts: &str| {
            let body = format!(r#"{{"message_id":"m","from":"+1","to":"+2","ts":"{ts}"}}"#);
            Message::parse(body.as_bytes()).unwrap()
        };
        let stored_at = UNIX_EPOCH + Duration::from_secs(1_736_935_201);
        let messages = ["2025-01-15T10:00:00Z", "2025-01-15T10:00:07Z"].map(message);
        let metrics = Metrics::default();
        observe(&metrics, &[&messages[0], &messages[1]], stored_at);
        let lag = metrics.histograms.message_lag_seconds.read();
        assert_eq!((lag.count, lag.sum), (2, 1.0));
        assert_eq!(metrics.messages_ahead.load(Relaxed), 1);
    }
}
