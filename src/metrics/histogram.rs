//! A histogram counts values by size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// An upper bound of a bucket in the unit that is kept, and in the one that is shown, as it is written.
pub(super) type Bound = (u64, &'static str);

/// A count of values by size.
#[derive(Debug)]
pub struct Histogram {
    pub(super) bounds: &'static [Bound],
    /// What one of the unit that is shown counts in the unit that is kept.
    pub(super) scale: f64,
    /// One more than `bounds`: the last is +Inf. Not cumulative.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
pub struct HistogramReading {
    /// Upper bound in the unit shown, and how many values were at most that.
    pub buckets: Vec<(&'static str, u64)>,
    pub count: u64,
    pub sum: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [Bound], scale: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, scale, counts, sum: AtomicU64::new(0) }
    }

    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|(bound, _)| *bound < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    pub fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn read(&self) -> HistogramReading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (index, bucket) in self.counts.iter().enumerate() {
            count += bucket.load(Relaxed);
            if let Some((_, shown)) = self.bounds.get(index) {
                buckets.push((*shown, count));
            }
        }
        HistogramReading { buckets, count, sum: self.sum.load(Relaxed) as f64 / self.scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket() {
        let histogram = Histogram::new(&[(1000, "1"), (2500, "2.5")], 1e3);
        for micros in [0, 1000, 1001, 2500, 9000] {
            histogram.observe(micros);
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [("1", 2), ("2.5", 4)]);
        assert_eq!((reading.count, reading.sum), (5, 13.501));
    }
}
