//! The wall clock has one form in which the service writes it down.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use time::UtcDateTime;

use crate::timestamp::to_seconds;

/// Now, as RFC 3339 in UTC with milliseconds: `2025-01-15T10:00:01.123Z`.
pub fn now_rfc3339() -> String {
    let mut text = String::with_capacity(24);
    write_rfc3339(&mut text, SystemTime::now());
    text
}

/// Appends `time` as [`now_rfc3339`] does. A clock set before 1970 reads as 1970, and one set
/// behind the year 9999 as its end.
pub fn write_rfc3339(out: &mut String, time: SystemTime) {
    // All but the milliseconds is the same for a whole second, and a busy second has many lines.
    thread_local!(static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) });
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    LAST.with_borrow_mut(|(of, text)| {
        if *of != seconds {
            *of = seconds;
            let time = UtcDateTime::from_unix_timestamp(seconds.try_into().unwrap_or(i64::MAX));
            *text = to_seconds(time.unwrap_or(UtcDateTime::MAX));
        }
        out.push_str(text);
    });
    // Writing into a String does not fail.
    let _ = write!(out, ".{:03}Z", since_epoch.subsec_millis());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        let mut text = String::new();
        write_rfc3339(&mut text, UNIX_EPOCH + Duration::from_millis(1_736_935_201_123));
        assert_eq!(text, "2025-01-15T10:00:01.123Z");
        text.clear();
        write_rfc3339(&mut text, UNIX_EPOCH + Duration::from_secs(1 << 62));
        assert_eq!(text, "9999-12-31T23:59:59.000Z");
    }
}
