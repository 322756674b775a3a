//! How old messages are when they are stored, `created_at − ts`: what comes late, and whose clock is wrong.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Inserted;
use crate::limits::CLOCK_TOLERANCE;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::timestamp::days_from_civil;

/// Counts the messages that a batch has created. One that is sent again says nothing of any clock.
pub(super) fn observe(metrics: &Metrics, messages: &[Message], outcomes: &[Inserted], stored_at: SystemTime) {
    let stored_at = stored_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let created = messages.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Inserted::Created);
    for (message, _) in created {
        let Some(ts) = unix_millis(message.ts()) else {
            continue;
        };
        let lag = stored_at - ts;
        metrics.message_lag_seconds.observe(u64::try_from(lag).unwrap_or(0));
        if -lag > CLOCK_TOLERANCE.as_millis() as i64 {
            metrics.messages_ahead.fetch_add(1, Relaxed);
        }
    }
}

/// Milliseconds since 1970 of the contract's `ts`, which names a real time. `None` for any other form.
fn unix_millis(ts: &str) -> Option<i64> {
    let bytes = ts.as_bytes();
    let number = |from: usize, to: usize| {
        bytes.get(from..to)?.iter().try_fold(0, |number: i64, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let days = days_from_civil(number(0, 4)?, number(5, 7)? as u32, number(8, 10)? as u32);
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    // Up to three digits of a fraction, the first of which is tenths.
    let fraction = bytes.get(20..).unwrap_or_default().iter().take(3).zip([100, 10, 1]);
    let digits = fraction.filter(|(byte, _)| byte.is_ascii_digit());
    let millis: i64 = digits.map(|(byte, weight)| i64::from(byte - b'0') * weight).sum();
    Some((days * 86_400 + seconds) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_ts_is_so_many_milliseconds_after_1970() {
        for (ts, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2025-01-15T10:00:01Z", 1_736_935_201_000),
            ("2025-01-15T10:00:01.1Z", 1_736_935_201_100),
            ("2025-01-15T10:00:01.1239Z", 1_736_935_201_123),
            ("2024-02-29T23:59:59.009Z", 1_709_251_199_009),
            ("1969-12-31T23:59:59.5Z", -500),
        ] {
            assert_eq!(unix_millis(ts), Some(millis), "{ts}");
        }
        assert_eq!(unix_millis("yesterday"), None);
        assert_eq!(unix_millis(""), None);
    }

    #[test]
    fn only_created_messages_count_and_what_is_ahead_counts_apart() {
        let message = |ts: &str| {
            let body = format!(r#"{{"message_id":"m","from":"+1","to":"+2","ts":"{ts}"}}"#);
            Message::parse(body.as_bytes()).unwrap()
        };
        let stored_at = UNIX_EPOCH + Duration::from_secs(1_736_935_201);
        let messages = ["2025-01-15T10:00:00Z", "2025-01-15T09:00:01Z", "2025-01-15T10:00:07Z"].map(message);
        let metrics = Metrics::default();
        observe(&metrics, &messages, &[Inserted::Created, Inserted::Duplicate, Inserted::Created], stored_at);
        let lag = metrics.message_lag_seconds.read();
        assert_eq!((lag.count, lag.sum), (2, 1.0));
        assert_eq!(metrics.messages_ahead.load(Relaxed), 1);
    }
}
