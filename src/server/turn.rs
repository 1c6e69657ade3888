//! Turns on a thread for connections that have more work than a turn allows.
//!
//! A peer that floods has work at any time. Each connection does little before it lets the others run, but with
//! many of them a handshake would wait for one turn of each. So they wait for each other first: on each thread
//! one of them has its turn at a time, and whatever else is there to do comes in between.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use tokio::task::yield_now;

thread_local! {
    static QUEUE: Arc<Queue> = Arc::default();
}

/// The connections that wait for their turn on a thread, in the order in which they came.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    is_taken: bool,
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the connection whose turn is next.
    fn wake_next(&self) {
        let next = {
            let state = self.state();
            state.waiting.front().filter(|_| !state.is_taken).map(|(_, waker)| waker.clone())
        };
        next.iter().for_each(Waker::wake_by_ref);
    }
}

/// A turn. Dropping it gives the next connection its turn.
pub(super) struct Turn(Arc<Queue>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().is_taken = false;
        self.0.wake_next();
    }
}

/// A place in the queue.
struct Place {
    queue: Arc<Queue>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let number = self.number;
        self.queue.state().waiting.retain(|(waiting, _)| *waiting != number);
        self.queue.wake_next();
    }
}

/// Waits for a turn, and lets everything else on this thread run before it. Drop the last turn before.
///
/// # Cancel safety
/// Dropping the future gives the place in the queue up.
pub(super) async fn next() -> Turn {
    let turn = take().await;
    // Sockets are looked at after this, and only now: the turns before were passed on directly.
    yield_now().await;
    turn
}

/// Waits for a turn.
async fn take() -> Turn {
    let queue = QUEUE.with(Arc::clone);
    let number = {
        let mut state = queue.state();
        if !state.is_taken && state.waiting.is_empty() {
            state.is_taken = true;
            drop(state);
            return Turn(queue);
        }
        state.next += 1;
        state.next
    };
    let place = Place { queue, number };
    poll_fn(|cx| {
        let mut state = place.queue.state();
        let position = state.waiting.iter().position(|(waiting, _)| *waiting == number);
        if position == Some(0) && !state.is_taken {
            state.is_taken = true;
            return Poll::Ready(());
        }
        match position {
            Some(position) => state.waiting[position].1.clone_from(cx.waker()),
            None => state.waiting.push_back((number, cx.waker().clone())),
        }
        Poll::Pending
    })
    .await;
    Turn(Arc::clone(&place.queue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::JoinSet;

    #[tokio::test]
    async fn one_turn_at_a_time_and_all_of_them_in_order() {
        let (turns, others) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for number in 0..10 {
            let turns = Arc::clone(&turns);
            tasks.spawn(async move {
                for _ in 0..20 {
                    let turn = next().await;
                    turns.lock().unwrap().push(number);
                    drop(turn);
                }
            });
        }
        // Another task of the thread runs between any two of them.
        let other = {
            let others = Arc::clone(&others);
            tokio::spawn(async move {
                loop {
                    others.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            })
        };
        while tasks.join_next().await.is_some() {}
        other.abort();
        let turns = turns.lock().unwrap();
        for round in turns.chunks(10).take(15).skip(1) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, (0..10).collect::<Vec<_>>(), "each has its turn");
        }
        assert!(others.load(Ordering::Relaxed) >= 150, "{others:?}");
    }

    #[tokio::test]
    async fn a_connection_that_leaves_passes_its_turn_on() {
        let first = next().await;
        let mut tasks: Vec<_> = (0..3).map(|_| tokio::spawn(async { drop(next().await) })).collect();
        for _ in 0..5 {
            yield_now().await;
        }
        assert!(tasks.iter().all(|task| !task.is_finished()));
        tasks.remove(0).abort();
        yield_now().await;
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
    }
}
