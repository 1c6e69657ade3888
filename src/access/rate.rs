//! Rate limits: a bucket that refills over time.
//!
//! This module has no clock: `now` is an argument.

use std::time::{Duration, Instant};

/// The seconds of a wait for `Retry-After`: rounded up, from 1 to a week.
pub(crate) fn whole_secs(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).clamp(1, 7 * 24 * 3_600)
}

/// A burst, and the amount that refills per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    burst: f64,
    per_sec: f64,
}

impl Rate {
    /// Allows `count` per second, and the amount of `seconds` at once, at least 1.
    pub fn per_sec(count: u32, seconds: u32) -> Rate {
        let count = f64::from(count);
        Rate { burst: (count * f64::from(seconds)).max(1.0), per_sec: count }
    }

    /// Allows `bytes` per second, and the amount of `seconds` at once.
    pub(crate) const fn bytes_per_sec(bytes: u32, seconds: u32) -> Rate {
        Rate { burst: bytes as f64 * seconds as f64, per_sec: bytes as f64 }
    }

    /// Allows `count` per hour, all of them at once.
    pub fn per_hour(count: u64) -> Rate {
        Rate { burst: count as f64, per_sec: count as f64 / 3600.0 }
    }

    /// The most that is saved up, and the gain in a millisecond.
    #[cfg(feature = "redis")]
    pub(crate) fn parts(self) -> (f64, f64) {
        (self.burst, self.per_sec / 1_000.0)
    }

    /// The largest amount that can be taken at once.
    pub(crate) fn burst(self) -> u64 {
        self.burst as u64
    }
}

/// The rest of a [`Rate`]. Each method takes the rate, because many buckets share one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    left: f64,
    since: Instant,
}

impl Bucket {
    /// Returns a full bucket.
    pub(crate) fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { left: rate.burst, since: now }
    }

    /// Leaves so much in the bucket, or a debt.
    #[cfg(feature = "redis")]
    pub(crate) fn set(&mut self, left: f64, now: Instant) {
        *self = Bucket { left, since: now };
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + elapsed * rate.per_sec).min(rate.burst);
        self.since = self.since.max(now);
    }

    /// Takes `amount` if the bucket holds it; takes nothing otherwise.
    ///
    /// # Errors
    /// The time until the bucket holds it; [`Duration::MAX`] if `amount` is larger than the burst.
    pub(crate) fn take(&mut self, rate: Rate, amount: u64, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        let amount = amount as f64;
        if amount <= self.left {
            self.left -= amount;
            return Ok(());
        }
        if amount > rate.burst {
            return Err(Duration::MAX);
        }
        Err(Duration::try_from_secs_f64((amount - self.left) / rate.per_sec).unwrap_or(Duration::MAX))
    }

    /// Takes `amount` even if the bucket holds less; true if something is left. A debt refills first.
    pub(crate) fn spend(&mut self, rate: Rate, amount: u64, now: Instant) -> bool {
        self.refill(rate, now);
        self.left -= amount as f64;
        self.left > 0.0
    }

    /// Checks that the bucket holds `amount`, and takes nothing.
    ///
    /// # Errors
    /// Same as [`take`](Bucket::take).
    pub(crate) fn check(&self, rate: Rate, amount: u64, now: Instant) -> Result<(), Duration> {
        let mut copy = *self;
        copy.take(rate, amount, now)
    }

    /// True if the bucket is full now, so that it need not be remembered.
    pub(crate) fn is_full(&self, rate: Rate, now: Instant) -> bool {
        let mut copy = *self;
        copy.refill(rate, now);
        copy.left >= rate.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn burst_then_rate() {
        let (rate, mut now) = (Rate::per_sec(2, 3), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        for _ in 0..6 {
            assert_eq!(bucket.take(rate, 1, now), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1, now), Err(SECOND / 2));
        assert_eq!(bucket.check(rate, 2, now), Err(SECOND));
        now += SECOND / 2;
        assert_eq!(bucket.check(rate, 1, now), Ok(()));
        assert_eq!(bucket.take(rate, 1, now), Ok(()));
        assert!(bucket.take(rate, 1, now).is_err());
        assert!(!bucket.is_full(rate, now + SECOND * 3 - SECOND / 4));
        assert!(bucket.is_full(rate, now + SECOND * 3));
        now += SECOND * 1000;
        assert_eq!(bucket.take(rate, 6, now), Ok(()), "at most one burst is saved up");
        assert!(bucket.take(rate, 1, now).is_err());
    }

    #[test]
    fn amount_above_the_burst_is_never_taken() {
        let (rate, now) = (Rate::per_hour(100), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        assert_eq!(bucket.take(rate, 101, now), Err(Duration::MAX));
        assert_eq!(bucket.take(rate, 100, now), Ok(()), "and the refusal took nothing");
        assert_eq!(bucket.take(rate, 50, now), Err(SECOND * 1800));
    }

    #[test]
    fn debt_refills_first() {
        let (rate, now) = (Rate::per_hour(3600), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        assert!(bucket.spend(rate, 3599, now));
        assert!(!bucket.spend(rate, 11, now));
        assert_eq!(bucket.check(rate, 1, now), Err(SECOND * 11));
        assert_eq!(bucket.check(rate, 1, now + SECOND * 11), Ok(()));
    }

    #[test]
    fn wait_is_rounded_up_to_seconds() {
        for (millis, secs) in
            [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60), (7_200_000, 7_200), (u64::MAX, 604_800)]
        {
            assert_eq!(whole_secs(Duration::from_millis(millis)), secs, "{millis} ms");
        }
    }

    #[test]
    fn clock_that_goes_back_refills_nothing() {
        let (rate, now) = (Rate::per_sec(1, 1), Instant::now() + SECOND * 10);
        let mut bucket = Bucket::full(rate, now);
        assert_eq!(bucket.take(rate, 1, now), Ok(()));
        assert!(bucket.take(rate, 1, now - SECOND * 5).is_err());
        assert!(bucket.take(rate, 1, now).is_err());
        assert_eq!(bucket.take(rate, 1, now + SECOND), Ok(()));
    }
}
