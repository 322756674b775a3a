//! Instants as text: the forms in which they arrive, and the one form in which they compare.
//!
//! An [`InstantKey`] is a UTC time `YYYY-MM-DDTHH:MM:SS[.fraction]` with everything cut off its end
//! that does not change which instant it names (`Z`, zeros, a dot). Two keys compare bytewise as
//! their instants do: what is cut is never larger than what could stand there instead. SQL makes
//! the same key with `rtrim(ts, 'Z.0')`, so an index can carry the order while `ts` stays as sent.

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
/// and time: the contract's `ts`. There is no second 60.
pub fn is_contract_ts(text: &str) -> bool {
    contract_parts(text).is_some()
}

/// The contract's `ts` up to its seconds, and the digits of its fraction.
fn contract_parts(text: &str) -> Option<(DateTime, &str)> {
    let local = text.strip_suffix('Z')?;
    let (seconds, fraction) = match local.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (local, ""),
    };
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    let time = DateTime::parse(seconds, b"T").filter(|time| is_fraction && time.second < 60)?;
    Some((time, fraction))
}

/// The instant of any RFC 3339 time, of a time without a zone (UTC), or of a date alone (midnight UTC).
/// `None` for anything else.
///
/// A `+` that a query string turned into a space is read as `+`. A second 60 is accepted where
/// RFC 3339 knows one: in the last minute of a UTC day.
pub fn parse_instant(text: &str) -> Option<InstantKey> {
    if text.len() == 10 {
        Date::parse(text)?;
        return Some(InstantKey::of(&format!("{text}T00:00:00Z")));
    }
    let head = text.get(..19)?;
    let time = DateTime::parse(head, b"Tt ")?;
    let rest = &text[19..];
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(after_dot) => {
            let digits = after_dot.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return None;
            }
            after_dot.split_at(digits)
        }
        None => ("", rest),
    };
    let offset_minutes = parse_zone(zone)?;
    time.to_key(offset_minutes, fraction)
}

/// Minutes east of UTC; none where nothing is said.
fn parse_zone(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let bytes = zone.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let hours = two_digits(&bytes[1..3])?;
    let minutes = two_digits(&bytes[4..6])?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let total = i64::from(hours) * 60 + i64::from(minutes);
    match bytes[0] {
        b'+' | b' ' => Some(total),
        b'-' => Some(-total),
        _ => None,
    }
}

/// Milliseconds from 1970 to the contract's `ts`; what is less than one is cut off. `None` for anything else.
pub fn unix_millis(ts: &str) -> Option<i64> {
    let (time, fraction) = contract_parts(ts)?;
    let days = days_from_civil(time.date.year, time.date.month, time.date.day);
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute);
    let weights = [100, 10, 1];
    let millis: i64 =
        fraction.bytes().zip(weights).map(|(digit, weight)| i64::from(digit - b'0') * weight).sum();
    Some((minutes * 60 + i64::from(time.second)) * 1000 + millis)
}

struct Date {
    year: i64,
    month: u32,
    day: u32,
}

impl Date {
    /// `YYYY-MM-DD`, a day of the proleptic Gregorian calendar.
    fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let year = i64::from(two_digits(&bytes[0..2])? * 100 + two_digits(&bytes[2..4])?);
        let month = two_digits(&bytes[5..7])?;
        let day = two_digits(&bytes[8..10])?;
        let real = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        real.then_some(Self { year, month, day })
    }
}

struct DateTime {
    date: Date,
    hour: u32,
    minute: u32,
    second: u32,
}

impl DateTime {
    /// `YYYY-MM-DDxHH:MM:SS` with one of `separators` for the x; the second may be 60.
    fn parse(text: &str, separators: &[u8]) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 19 || !separators.contains(&bytes[10]) || bytes[13] != b':' || bytes[16] != b':' {
            return None;
        }
        let date = Date::parse(text.get(..10)?)?;
        let hour = two_digits(&bytes[11..13])?;
        let minute = two_digits(&bytes[14..16])?;
        let second = two_digits(&bytes[17..19])?;
        (hour < 24 && minute < 60 && second <= 60).then_some(Self { date, hour, minute, second })
    }

    fn to_key(&self, offset_minutes: i64, fraction: &str) -> Option<InstantKey> {
        let days = days_from_civil(self.date.year, self.date.month, self.date.day);
        let utc_minutes = days * 1440 + i64::from(self.hour) * 60 + i64::from(self.minute) - offset_minutes;
        if self.second == 60 && utc_minutes.rem_euclid(1440) != 1439 {
            return None;
        }
        let (year, month, day) = civil_from_days(utc_minutes.div_euclid(1440));
        // An offset can carry the first and last instants out of the years that `ts` can name:
        // such a key sorts before, or after, every one of those.
        if year < 0 {
            return Some(InstantKey(String::new()));
        }
        if year > 9999 {
            return Some(InstantKey(":".to_owned()));
        }
        let minute_of_day = utc_minutes.rem_euclid(1440);
        let (hour, minute, second) = (minute_of_day / 60, minute_of_day % 60, self.second);
        let point = if fraction.is_empty() { "" } else { "." };
        Some(InstantKey::of(&format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{fraction}"
        )))
    }
}

fn two_digits(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year, month and day of a number of days since 1970-01-01. Same source.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_ts_is_a_real_utc_time_with_at_most_nine_digits() {
        for good in [
            "2025-01-15T10:00:00Z",
            "2024-02-29T23:59:59.123456789Z",
            "0000-01-01T00:00:00Z",
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
            "1736935200",
            "2025-01-15T10:00:00.Z",
            "2025-01-15T10:00:0é",
        ] {
            assert_eq!(parse_instant(bad), None, "{bad}");
        }
        assert!(parse_instant("2016-12-31T23:59:60Z").is_some());
    }

    #[test]
    fn an_offset_may_leave_the_years_that_ts_can_name() {
        let first = parse_instant("0000-01-01T00:00:00+01:00").unwrap();
        let last = parse_instant("9999-12-31T23:59:59-01:00").unwrap();
        assert!(first < InstantKey::of("0000-01-01T00:00:00Z"));
        assert!(last > InstantKey::of("9999-12-31T23:59:59.999Z"));
    }

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for days in (-800_000..3_000_000).step_by(37) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
    }
}
