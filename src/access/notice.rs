//! A notice to the task that holds a place: it has to leave.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

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
}
