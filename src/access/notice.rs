//! A notice to the task that holds a place: it has to leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Notices given in this process. They are rare: while this stands still, no task that waits for one has to fetch its
/// own from memory.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// A notice that is given once, and wakes the task that waits for it.
#[derive(Debug, Default)]
pub(crate) struct Notice(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_given: bool,
    waker: Option<Waker>,
}

impl Notice {
    /// Gives the notice.
    pub(super) fn give(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_given = true;
            // Before the waker is looked at: a task that sees the old count has left its waker here already.
            GIVEN.fetch_add(1, Ordering::SeqCst);
            state.waker.take()
        };
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// Ready once the notice was given. Only the last task that asked is woken.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_given {
            return Poll::Ready(());
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Tells a task that asks often when it has to ask its notice again.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    /// The task that asked last, and the notices that had been given before.
    last: Option<(Waker, u64)>,
}

impl Lookout {
    /// True unless the same task has asked since the last notice was given, and so is woken by the next one.
    pub(crate) fn must_ask(&mut self, cx: &Context<'_>) -> bool {
        let given = GIVEN.load(Ordering::SeqCst);
        if self.last.as_ref().is_some_and(|(waker, before)| *before == given && waker.will_wake(cx.waker())) {
            return false;
        }
        self.last = Some((cx.waker().clone(), given));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn notice_wakes_the_task_that_asked_last() {
        let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let notice = Notice::default();
        for count in [&first, &last] {
            let waker = Arc::clone(count).into();
            assert!(notice.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        notice.give();
        notice.give();
        assert_eq!([&first, &last].map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
        assert!(notice.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn a_task_asks_again_after_a_notice_and_for_another_task() {
        let mut lookout = Lookout::default();
        let waker = Arc::new(Count::default()).into();
        let (here, there) = (Context::from_waker(Waker::noop()), Context::from_waker(&waker));
        assert!(lookout.must_ask(&here));
        assert!(lookout.must_ask(&there), "another task is not woken yet");
        Notice::default().give();
        assert!(lookout.must_ask(&there), "it may be the one");
        // Other tests give notices as well.
        assert!((0..1_000).any(|_| !lookout.must_ask(&there)));
    }
}
