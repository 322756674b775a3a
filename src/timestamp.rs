//! Instants arrive as text in several forms, of which one compares.
//!
//! An [`InstantKey`] is a UTC time `YYYY-MM-DDTHH:MM:SS[.fraction]` with everything cut off its end
//! that does not change which instant it names (`Z`, zeros, a dot). Two keys compare bytewise as
//! their instants do: what is cut is never larger than what could stand there instead. SQL makes
//! the same key with `rtrim(ts, 'Z.0')`, so an index can carry the order while `ts` stays as sent.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcDateTime};

/// An instant in the form that compares bytewise. See the module's first lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstantKey(String);

impl InstantKey {
    /// The key of a `ts`, whatever its form: of a valid one, its instant.
    pub fn of(ts: &str) -> Self {
        Self(ts.trim_end_matches(['Z', '.', '0']).to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True for `YYYY-MM-DDTHH:MM:SSZ` with an optional fraction of 1 to 9 digits, naming a real date
/// and time: the contract's `ts`. There is no second 60 and no year 0, which neither the calendar has nor
/// the `datetime` of the clients in Python that read the message back.
pub fn is_contract_ts(text: &str) -> bool {
    parse_contract_ts(text).is_some()
}

/// Milliseconds from 1970 to the contract's `ts`; what is less than one is cut off. `None` for anything else.
pub fn unix_millis(ts: &str) -> Option<i64> {
    let time = parse_contract_ts(ts)?;
    Some(time.unix_timestamp() * 1000 + i64::from(time.millisecond()))
}

fn parse_contract_ts(text: &str) -> Option<UtcDateTime> {
    const LONGEST: usize = "YYYY-MM-DDTHH:MM:SS.123456789Z".len();
    // RFC 3339 takes any separator, lower case, any number of digits, and offsets.
    let is_form = text.len() <= LONGEST && text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z');
    if !is_form || is_leap_second(text) {
        return None;
    }
    UtcDateTime::parse(text, &Rfc3339).ok().filter(|time| time.year() > 0)
}

/// The instant of any RFC 3339 time, of a time without a zone (UTC), or of a date alone (midnight UTC).
/// `None` for anything else.
///
/// A `+` that a query string turned into a space is read as `+`. A second 60 is accepted where
/// RFC 3339 knows one: in the last minute of a month in UTC.
pub fn parse_instant(text: &str) -> Option<InstantKey> {
    if text.len() == 10 {
        return parse_instant(&format!("{text}T00:00:00Z"));
    }
    let (seconds, rest) = text.split_at_checked(19)?;
    if !matches!(seconds.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let (fraction, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len()));
    let zone = if zone.is_empty() { "Z" } else { zone };
    let time =
        OffsetDateTime::parse(&format!("{seconds}{fraction}{}", zone.replace(' ', "+")), &Rfc3339).ok()?;
    // An offset can carry the first and last instants out of the years that `ts` can name:
    // such a key sorts before, or after, every one of those.
    let Some(utc) = time.checked_to_utc() else {
        return Some(InstantKey(":".to_owned()));
    };
    if utc.year() < 0 {
        return Some(InstantKey(String::new()));
    }
    let mut key = to_seconds(utc);
    if is_leap_second(text) {
        key.replace_range(17.., "60");
    }
    // As many digits as were sent, of which `time` keeps nine.
    key.push_str(fraction);
    Some(InstantKey::of(&key))
}

/// A time as `YYYY-MM-DDTHH:MM:SS`; what is less than a second is cut off.
pub fn to_seconds(time: UtcDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.as_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The contract's `ts` of so many seconds since 1970. `None` where no year of four digits has them.
pub fn ts_of_unix_seconds(seconds: i64) -> Option<String> {
    let ts = to_seconds(UtcDateTime::from_unix_timestamp(seconds).ok()?) + "Z";
    is_contract_ts(&ts).then_some(ts)
}

fn is_leap_second(text: &str) -> bool {
    text.get(17..19) == Some("60")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_ts_is_a_real_utc_time_with_at_most_nine_digits() {
        for good in [
            "2025-01-15T10:00:00Z",
            "2024-02-29T23:59:59.123456789Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2000-02-29T00:00:00.0Z",
        ] {
            assert!(is_contract_ts(good), "{good}");
        }
        for bad in [
            "",
            "Z",
            "2025-01-15",
            "2025-01-15T10:00:00",
            "2025-01-15T10:00:00z",
            "2025-01-15t10:00:00Z",
            "2025-01-15 10:00:00Z",
            "2025-01-15T10:00:00+00:00",
            "2025-01-15T10:00:00.Z",
            "2025-01-15T10:00:00.1234567890Z",
            "2025-01-15T10:00:60Z",
            "2025-01-15T24:00:00Z",
            "2025-02-29T10:00:00Z",
            "1900-02-29T10:00:00Z",
            "0000-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "2025-13-01T10:00:00Z",
            "2025-00-01T10:00:00Z",
            "2025-01-00T10:00:00Z",
            "2025-1-15T10:00:00Z",
            "+025-01-15T10:00:00Z",
            "2025-01-15T10:00:00Z ",
            "٢٠٢٥-01-15T10:00:00Z",
        ] {
            assert!(!is_contract_ts(bad), "{bad}");
        }
    }

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
    fn keys_order_as_their_instants_do() {
        let ascending = [
            "2024-12-31T23:59:59.999999999Z",
            "2025-01-15T10:00:00Z",
            "2025-01-15T10:00:00.000000001Z",
            "2025-01-15T10:00:00.05Z",
            "2025-01-15T10:00:00.5Z",
            "2025-01-15T10:00:01Z",
            "2025-01-15T10:00:09.9Z",
            "2025-01-15T10:00:10Z",
            "2025-01-15T10:00:10.1Z",
            "2025-01-15T10:00:11Z",
            "2025-01-15T10:10:00Z",
            "2025-01-15T20:00:00Z",
        ];
        for pair in ascending.windows(2) {
            assert!(InstantKey::of(pair[0]) < InstantKey::of(pair[1]), "{pair:?}");
        }
        assert_eq!(InstantKey::of("2025-01-15T10:00:10Z"), InstantKey::of("2025-01-15T10:00:10.000Z"));
        assert_eq!(InstantKey::of("2025-01-15T10:00:00.5Z"), InstantKey::of("2025-01-15T10:00:00.500Z"));
    }

    #[test]
    fn every_rfc_3339_form_of_one_instant_gives_one_key() {
        let key = InstantKey::of("2025-01-15T10:00:00Z");
        for form in [
            "2025-01-15T10:00:00Z",
            "2025-01-15t10:00:00z",
            "2025-01-15 10:00:00Z",
            "2025-01-15T10:00:00.000Z",
            "2025-01-15T15:30:00+05:30",
            "2025-01-15T15:30:00 05:30",
            "2025-01-15T02:00:00-08:00",
            "2025-01-14T23:00:00.0-11:00",
            "2025-01-15T10:00:00",
            "2025-01-15 10:00:00.000",
        ] {
            assert_eq!(parse_instant(form).as_ref(), Some(&key), "{form}");
        }
        assert_eq!(parse_instant("2025-01-15"), parse_instant("2025-01-15T00:00:00Z"));
        assert_eq!(parse_instant("2024-03-01T00:30:00+01:00"), parse_instant("2024-02-29T23:30:00Z"));
        for bad in [
            "",
            "yesterday",
            "2025-01-15T10:00:00 ",
            "2025-01-15T10:00:00+",
            "2025-01-15T10:00:00.",
            "2025-01-15T10:00Z",
            "2025-02-30",
            "2025-01-15T10:00:00+0530",
            "2025-01-15T10:00:00+24:00",
            "2025-01-15T10:00:60Z",
            "2016-12-30T23:59:60Z",
            "2025-01-15x10:00:00Z",
            "1736935200",
            "2025-01-15T10:00:00.Z",
            "2025-01-15T10:00:0é",
        ] {
            assert_eq!(parse_instant(bad), None, "{bad}");
        }
        let leap_second = parse_instant("2017-01-01T05:29:60+05:30");
        assert!(leap_second > parse_instant("2016-12-31T23:59:59.999999999Z"));
        assert!(leap_second < parse_instant("2017-01-01"));
        assert_eq!(leap_second, parse_instant("2016-12-31T23:59:60Z"));
        let beyond_nanoseconds = parse_instant("2025-01-15T10:00:00.0000000001Z");
        assert!(beyond_nanoseconds > Some(key));
    }

    #[test]
    fn an_offset_may_leave_the_years_that_ts_can_name() {
        let first = parse_instant("0000-01-01T00:00:00+01:00").unwrap();
        let last = parse_instant("9999-12-31T23:59:59-01:00").unwrap();
        assert!(first < InstantKey::of("0000-01-01T00:00:00Z"));
        assert!(last > InstantKey::of("9999-12-31T23:59:59.999Z"));
    }
}
