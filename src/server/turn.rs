//! Turns on a thread for connections that have more work than a turn allows.
//!
//! A peer that floods has work at any time. Each connection does little before it lets the others run, but with
//! many of them a handshake would wait for one turn of each. So they wait for each other first: on each thread
//! one of them has its turn at a time, and whatever else is there to do comes in between.
//!
//! Turns go round the clients. A client with many connections has no more of them than one with a single connection.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use tokio::task::yield_now;

thread_local! {
    static QUEUE: Arc<Queue> = Arc::default();
}

/// Clients that have had a turn and are remembered, unless more than these wait at once.
const MOST_SERVED: usize = 1_024;

/// The connections that wait for their turn on a thread.
#[derive(Default)]
struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    is_taken: bool,
    waiting: Vec<Waiting>,
    /// The last turn of each client, as a number. Those that were never served come first.
    served: HashMap<Arc<str>, u64>,
    next: u64,
}

struct Waiting {
    client: Arc<str>,
    number: u64,
    waker: Waker,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The connection whose turn is next: that of the client whose last turn is the longest ago, and of these the
    /// first that came.
    fn first(&self) -> Option<&Waiting> {
        let turn = |one: &&Waiting| (self.served.get(&one.client).copied().unwrap_or_default(), one.number);
        self.waiting.iter().min_by_key(turn)
    }

    /// Gives a client a turn.
    fn serve(&mut self, client: &Arc<str>) {
        self.is_taken = true;
        let number = self.number();
        self.served.insert(Arc::clone(client), number);
        if self.waiting.is_empty() {
            self.served.retain(|served, _| served == client);
        } else if self.served.len() > MOST_SERVED {
            let State { waiting, served, .. } = self;
            served.retain(|served, _| served == client || waiting.iter().any(|one| one.client == *served));
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the connection whose turn is next.
    fn wake_next(&self) {
        let next = {
            let state = self.state();
            state.first().filter(|_| !state.is_taken).map(|one| one.waker.clone())
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
        self.queue.state().waiting.retain(|one| one.number != number);
        self.queue.wake_next();
    }
}

/// Waits for a turn of this client, and lets everything else on this thread run before it. Drop the last turn before.
///
/// # Cancel safety
/// Dropping the future gives the place in the queue up.
pub(super) async fn next(client: &Arc<str>) -> Turn {
    let turn = take(client).await;
    // Sockets are looked at after this, and only now: the turns before were passed on directly.
    yield_now().await;
    turn
}

/// Waits for a turn.
async fn take(client: &Arc<str>) -> Turn {
    let queue = QUEUE.with(Arc::clone);
    let number = {
        let mut state = queue.state();
        if !state.is_taken && state.waiting.is_empty() {
            state.serve(client);
            drop(state);
            return Turn(queue);
        }
        state.number()
    };
    let place = Place { queue, number };
    poll_fn(|cx| {
        let mut state = place.queue.state();
        match state.waiting.iter_mut().find(|one| one.number == number) {
            Some(one) => one.waker.clone_from(cx.waker()),
            None => {
                let waker = cx.waker().clone();
                state.waiting.push(Waiting { client: Arc::clone(client), number, waker });
            }
        }
        if state.is_taken || state.first().is_none_or(|first| first.number != number) {
            return Poll::Pending;
        }
        state.waiting.retain(|one| one.number != number);
        state.serve(client);
        Poll::Ready(())
    })
    .await;
    Turn(Arc::clone(&place.queue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::JoinSet;

    fn client(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[tokio::test]
    async fn one_turn_at_a_time_and_all_of_them_in_order() {
        let (turns, others) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for number in 0..10 {
            let turns = Arc::clone(&turns);
            tasks.spawn(async move {
                for _ in 0..20 {
                    let turn = next(&client("many")).await;
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
        let first = next(&client("a")).await;
        let mut tasks: Vec<_> =
            (0..3).map(|_| tokio::spawn(async { drop(next(&client("a")).await) })).collect();
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

    #[tokio::test]
    async fn turns_go_round_the_clients() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = next(&client("many")).await;
        let mut tasks = JoinSet::new();
        for (name, turns) in [("many", 6), ("many", 6), ("many", 6), ("one", 4), ("late", 1)] {
            let order = Arc::clone(&order);
            tasks.spawn(async move {
                for _ in 0..turns {
                    let turn = next(&client(name)).await;
                    order.lock().unwrap().push(name);
                    drop(turn);
                }
            });
        }
        for _ in 0..5 {
            yield_now().await;
        }
        drop(first);
        while tasks.join_next().await.is_some() {}
        let order = order.lock().unwrap();
        // The others come at once, and then every other turn is theirs.
        assert_eq!(order[..2], ["one", "late"], "{order:?}");
        assert!(order[..10].iter().filter(|&&name| name == "one").count() == 4, "{order:?}");
        assert_eq!(order.len(), 23);
        let queue = QUEUE.with(Arc::clone);
        assert!(queue.state().waiting.is_empty() && queue.state().served.len() <= 3);
    }
}
