//! Durations counted in buckets, for percentiles of millions of values per second.

use std::time::Duration;

/// Buckets for each power of two: values are exact to 1.6 %.
const BUCKETS: u64 = 64;

/// Longest duration with its own bucket, in µs: twelve days.
const MOST: u64 = (1 << 40) - 1;

/// Number of durations of each length, in µs.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// Grows to the longest duration, at most 2,300 buckets.
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        self.add_many(time, 1);
    }

    pub(super) fn add_many(&mut self, time: Duration, count: u64) {
        let value = u64::try_from(time.as_micros()).unwrap_or(MOST).min(MOST);
        let bucket = bucket(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
        self.count += count;
        self.max = self.max.max(value);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the value, in µs, that this share of the durations does not exceed; 0 if there are none.
    pub(super) fn at(&self, share: f64) -> u64 {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank.max(1) {
                return last_of(bucket).min(self.max);
            }
        }
        self.max
    }

    /// Returns the longest duration, in µs.
    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - (value | 1).leading_zeros()).saturating_sub(BUCKETS.ilog2() + 1);
    (u64::from(shift) * BUCKETS + (value >> shift)) as usize
}

/// Returns the largest value of a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / BUCKETS).saturating_sub(1);
    ((bucket - shift * BUCKETS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_says_so() {
        let mut before = 0;
        for value in (0..5_000).chain([1 << 20, (1 << 20) + 1, MOST - 1, MOST]) {
            let found = bucket(value);
            assert!(found >= before && found < 2_400, "{value}");
            before = found;
            assert!(value <= last_of(found), "{value}");
            assert!(last_of(found) - value <= value / BUCKETS, "{value} is reported as {}", last_of(found));
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.at(0.5), histogram.max(), histogram.count()), (0, 0, 0));
        for value in 1..=100 {
            histogram.add(Duration::from_micros(value));
        }
        assert_eq!((histogram.at(0.5), histogram.at(0.99), histogram.at(1.0)), (50, 99, 100));
        histogram.add_many(Duration::from_secs(1), 900);
        assert_eq!((histogram.at(0.1), histogram.at(0.5), histogram.max()), (100, 1_000_000, 1_000_000));
        histogram.add(Duration::MAX);
        assert_eq!(histogram.max(), MOST);
    }
}
