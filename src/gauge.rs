//! A count of things that are alive, kept correct by ownership.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of things that are alive. [`enter`](Gauge::enter) adds one; dropping its result subtracts it. Clones
/// share the count.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// One thing that a [`Gauge`] counts until this value is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Gauge {
    /// Adds one until the result is dropped.
    pub fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// Returns the number of things alive now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
