//! The wall clock, in the one form in which the service writes it down.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::timestamp::civil_from_days;

/// Now, as RFC 3339 in UTC with milliseconds: `2025-01-15T10:00:01.123Z`.
pub fn now_rfc3339() -> String {
    let mut text = String::with_capacity(24);
    write_rfc3339(&mut text, SystemTime::now());
    text
}

/// Appends `time` as [`now_rfc3339`] does. A clock set before 1970 reads as 1970.
pub fn write_rfc3339(out: &mut String, time: SystemTime) {
    // All but the milliseconds is the same for a whole second, and a busy second has many lines.
    thread_local!(static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) });
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    LAST.with_borrow_mut(|(of, text)| {
        if *of != seconds {
            *of = seconds;
            let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
            let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
            *text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
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
    }
}
