//! How much of something there may be in a time: a bucket that fills up again.
//!
//! Knows no clock: `now` is an argument, and may stand still.

use std::time::{Duration, Instant};

/// So much at once, and so much again in every second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    burst: f64,
    per_sec: f64,
}

impl Rate {
    /// So many in a second, of which those of `seconds` may come at once; at least one may.
    pub fn per_sec(count: u32, seconds: u32) -> Rate {
        let count = f64::from(count);
        Rate { burst: (count * f64::from(seconds)).max(1.0), per_sec: count }
    }

    /// So many in an hour, all of which may come at once.
    pub fn per_hour(count: u64) -> Rate {
        Rate { burst: count as f64, per_sec: count as f64 / 3600.0 }
    }
}

/// What is left of a [`Rate`], which is always given along: many buckets have one in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    left: f64,
    since: Instant,
}

impl Bucket {
    /// A bucket from which nothing was taken yet.
    pub fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { left: rate.burst, since: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + elapsed * rate.per_sec).min(rate.burst);
        self.since = self.since.max(now);
    }

    /// Takes this much, if there is as much; nothing at all otherwise.
    ///
    /// # Errors
    /// How long it takes until there is: for ever, where the rate never allows it at once.
    pub fn take(&mut self, rate: Rate, amount: u64, now: Instant) -> Result<(), Duration> {
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

    /// Takes this much, more than there is if need be; whether something is left. What is missing has
    /// to fill up first.
    pub fn spend(&mut self, rate: Rate, amount: u64, now: Instant) -> bool {
        self.refill(rate, now);
        self.left -= amount as f64;
        self.left > 0.0
    }

    /// Whether there is as much, without taking it.
    ///
    /// # Errors
    /// As with [`take`](Bucket::take).
    pub fn has(&self, rate: Rate, amount: u64, now: Instant) -> Result<(), Duration> {
        let mut copy = *self;
        copy.take(rate, amount, now)
    }

    /// Whether nothing is missing by now, so that it need not be remembered.
    pub fn is_full(&self, rate: Rate, now: Instant) -> bool {
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
    fn a_burst_and_then_the_rate() {
        let (rate, mut now) = (Rate::per_sec(2, 3), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        for _ in 0..6 {
            assert_eq!(bucket.take(rate, 1, now), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1, now), Err(SECOND / 2));
        assert_eq!(bucket.has(rate, 2, now), Err(SECOND));
        now += SECOND / 2;
        assert_eq!(bucket.has(rate, 1, now), Ok(()));
        assert_eq!(bucket.take(rate, 1, now), Ok(()));
        assert!(bucket.take(rate, 1, now).is_err());
        assert!(!bucket.is_full(rate, now + SECOND * 3 - SECOND / 4));
        assert!(bucket.is_full(rate, now + SECOND * 3));
        now += SECOND * 1000;
        assert_eq!(bucket.take(rate, 6, now), Ok(()), "no more than a burst is saved up");
        assert!(bucket.take(rate, 1, now).is_err());
    }

    #[test]
    fn what_never_fits_is_never_taken() {
        let (rate, now) = (Rate::per_hour(100), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        assert_eq!(bucket.take(rate, 101, now), Err(Duration::MAX));
        assert_eq!(bucket.take(rate, 100, now), Ok(()), "and takes nothing away");
        assert_eq!(bucket.take(rate, 50, now), Err(SECOND * 1800));
    }

    #[test]
    fn what_is_spent_beyond_the_rate_is_missing_later() {
        let (rate, now) = (Rate::per_hour(3600), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        assert!(bucket.spend(rate, 3599, now));
        assert!(!bucket.spend(rate, 11, now));
        assert_eq!(bucket.has(rate, 1, now), Err(SECOND * 11));
        assert_eq!(bucket.has(rate, 1, now + SECOND * 11), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let (rate, now) = (Rate::per_sec(1, 1), Instant::now() + SECOND * 10);
        let mut bucket = Bucket::full(rate, now);
        assert_eq!(bucket.take(rate, 1, now), Ok(()));
        assert!(bucket.take(rate, 1, now - SECOND * 5).is_err());
        assert!(bucket.take(rate, 1, now).is_err());
        assert_eq!(bucket.take(rate, 1, now + SECOND), Ok(()));
    }
}
