//! `Retry-After` says how long whoever answered wants to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use crate::http::Headers;

/// Seconds, or the time until a date. More seconds than a number holds are the most that it holds.
pub(super) fn retry_after(headers: &Headers, now: SystemTime) -> Option<Duration> {
    let value = headers.only("Retry-After")?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn it_is_seconds_or_a_date_sent_once() {
        let after_these = |values: &[&str]| {
            let mut headers = Headers::default();
            values.iter().for_each(|value| headers.push("retry-after", value));
            let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
            retry_after(&headers, now).map(|after| after.as_secs())
        };
        for (value, seconds) in [
            ("7", 7),
            ("0", 0),
            ("99999999999999999999999", u64::MAX),
            ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
            // It has passed.
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ] {
            assert_eq!(after_these(&[value]), Some(seconds), "{value}");
        }
        for none in ["", "-1", "+1", "1.5", "soon", "Sun, 06 Nov"] {
            assert_eq!(after_these(&[none]), None, "{none}");
        }
        assert_eq!(after_these(&["1", "2"]), None);
    }
}
