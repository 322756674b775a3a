//! How figures are drawn from samples, and how they read in a table.

use std::time::Duration;

/// How long the same thing took, again and again.
#[derive(Clone, Default)]
pub(crate) struct Samples {
    sorted: Vec<Duration>,
}

impl From<Vec<Duration>> for Samples {
    fn from(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self { sorted: samples }
    }
}

impl Samples {
    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    pub(crate) fn p50(&self) -> Option<Duration> {
        self.quantile(0.50)
    }

    pub(crate) fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    pub(crate) fn longest(&self) -> Option<Duration> {
        self.sorted.last().copied()
    }

    /// The nearest rank: a duration that was measured, never one in between.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied()
    }
}

/// The middle one; of an even number the mean of the two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// `a / b`, unless there is nothing to divide by.
pub(crate) fn ratio(a: f64, b: f64) -> Option<f64> {
    (b > 0.0).then(|| a / b)
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

/// Milliseconds with two or three digits that mean something.
pub(crate) fn ms(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "–".to_owned(), |duration| short(milliseconds(duration)))
}

/// As many decimals as leave two or three digits that mean something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        ..0.1 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => thousands(value),
    }
}

pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), short)
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    if value < -0.5 {
        grouped.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of rows: 10k, 1M.
pub(crate) fn rows(count: u64) -> String {
    match count {
        1_000_000.. if count.is_multiple_of(100_000) => format!("{}M", count as f64 / 1e6),
        1_000.. if count.is_multiple_of(100) => format!("{}k", count as f64 / 1e3),
        _ => count.to_string(),
    }
}

/// Megabytes of a million bytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    short(bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let samples = Samples::from(samples);
        assert_eq!(samples.p50(), Some(Duration::from_millis(100)));
        assert_eq!(samples.p99(), Some(Duration::from_millis(198)));
        assert_eq!(samples.longest(), Some(Duration::from_millis(200)));
        assert_eq!(Samples::default().p50(), None);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!([0.0821, 1.2345, 17.25, 1234.5].map(short), ["0.082", "1.23", "17.2", "1,234"]);
        assert_eq!([10_000, 1_000_000, 2_500_000, 12].map(rows), ["10k", "1M", "2.5M", "12"]);
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
