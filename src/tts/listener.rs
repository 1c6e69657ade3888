//! The presence of the client of a session: only while it is there, speech begins for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Tells whether a session can send speech now, for all utterances of the session. It cannot while it is paused or
/// has no connection: nothing should begin to speak for it then. Tells also how long its audio lasts.
///
/// Clones are the same listener. A new one is there.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_away: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    until: Mutex<Option<Instant>>,
}

impl Listener {
    /// Says whether the listener is away.
    pub(crate) fn set_away(&self, is_away: bool) {
        // Said at each turn of a connection, and news at few of them.
        if self.is_away() == is_away {
            return;
        }
        self.0.is_away.store(is_away, Ordering::Relaxed);
        if !is_away {
            let waiting = std::mem::take(&mut *self.waiting());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// True if the listener is away.
    pub(super) fn is_away(&self) -> bool {
        self.0.is_away.load(Ordering::Relaxed)
    }

    /// Notes that so much audio was made for it.
    pub(super) fn give(&self, audio: Duration, now: Instant) {
        if !audio.is_zero() {
            let mut until = self.lock_until();
            *until = Some(until.map_or(now, |until| until.max(now)) + audio);
        }
    }

    /// Returns the time at which its audio runs out, if it plays all of it without a pause. `None` if it has none.
    pub(super) fn until(&self) -> Option<Instant> {
        *self.lock_until()
    }

    /// Notes that the audio that it has is of no use any more.
    pub(super) fn empty(&self) {
        *self.lock_until() = None;
    }

    fn lock_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready if the listener is there. Otherwise the task is woken once it is.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        // Under the lock, so that a listener who comes back now finds the waker.
        if !self.is_away() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_away() { "Listener(away)" } else { "Listener" })
    }
}
