//! A count of what is alive right now, kept right by ownership.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many of something are alive: rises with [`enter`](Gauge::enter), falls when what it
/// returned is dropped, on whatever path that happens. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// One thing that a [`Gauge`] counts, for as long as this value lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Gauge {
    /// Counts one more until the returned value is dropped.
    pub fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// How many are alive now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
