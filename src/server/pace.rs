//! Wakes streams when their next frames are due: a wheel of 1 ms slots for each thread.
//!
//! A paced stream waits for the next of its steps as often as it sends one, and all streams wait
//! for much the same moments. A slot is a list of tasks to wake, and one timer for the whole wheel
//! stands for them all: cheaper than to move a timer of each stream, between those of others, each
//! time. What is rare or far away (a Ping, a peer that stalls) is no matter of this wheel.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, sleep_until};

/// One round of the wheel, in slots of 1 ms.
const SLOTS: u64 = 1024;

/// A slot is never early.
const ROUND_UP: Duration = Duration::from_nanos(999_999);

/// Tasks for which a slot keeps room between its rounds, as long as any task waits.
const KEPT_ROOM: usize = 16;

thread_local! {
    static WHEEL: RefCell<Option<(Id, Arc<Mutex<Wheel>>)>> = const { RefCell::new(None) };
}

/// One task's place on the wheel. Dropping it, or waiting no longer, leaves a wake-up for nothing.
pub(super) struct Pace {
    /// The slot with which the task will be woken at the latest, if it lies ahead.
    wakes: u64,
    wheel: Arc<Mutex<Wheel>>,
}

struct Wheel {
    began: Instant,
    slots: Vec<Vec<Waker>>,
    /// The last slot whose tasks were woken, in ms since `began`.
    passed: u64,
    /// Tasks in all slots.
    waiting: usize,
    /// Some slot has room.
    has_room: bool,
    /// The slot that the timer stands at.
    next: u64,
    /// Sets the timer anew.
    driver: Option<Waker>,
}

impl Pace {
    /// A place on the wheel of this thread.
    ///
    /// # Panics
    /// Outside of a tokio runtime with a clock.
    pub(super) fn new() -> Pace {
        let runtime = Handle::current().id();
        let wheel = WHEEL.with_borrow_mut(|known| match known {
            Some((id, wheel)) if *id == runtime => Arc::clone(wheel),
            // Its timer has to be one of the runtime that the task runs in.
            _ => {
                let wheel = Arc::new(Mutex::new(Wheel::new(Instant::now())));
                tokio::spawn(drive(Arc::clone(&wheel)));
                *known = Some((runtime, Arc::clone(&wheel)));
                wheel
            }
        });
        Pace { wakes: 0, wheel }
    }

    /// Ready once `at` has come. It may be another moment each time, but always has to be asked by
    /// the same task. `now` is when it was asked.
    pub(super) fn poll_until(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        let mut wheel = lock(&self.wheel);
        let slot = wheel.slot(at);
        if self.wakes <= wheel.passed || slot < self.wakes {
            self.wakes = wheel.wake_with(slot, now, cx.waker());
        }
        Poll::Pending
    }
}

fn lock(wheel: &Mutex<Wheel>) -> MutexGuard<'_, Wheel> {
    wheel.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes what is due for as long as the runtime lives.
async fn drive(wheel: Arc<Mutex<Wheel>>) {
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut due = Vec::new();
    poll_fn(|cx| {
        loop {
            let next = lock(&wheel).turn(Instant::now(), cx.waker(), &mut due);
            due.drain(..).for_each(Waker::wake);
            let Some(next) = next else {
                due.shrink_to_fit();
                return Poll::<()>::Pending;
            };
            timer.as_mut().reset(next);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Whole milliseconds, without the wide division of [`Duration::as_millis`].
fn ms(duration: Duration) -> u64 {
    duration.as_secs() * 1_000 + u64::from(duration.subsec_millis())
}

impl Wheel {
    fn new(now: Instant) -> Wheel {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Wheel { began: now, slots, passed: 0, waiting: 0, has_room: false, next: u64::MAX, driver: None }
    }

    /// The first slot that is not before `at`.
    fn slot(&self, at: Instant) -> u64 {
        ms(at - self.began + ROUND_UP)
    }

    /// Has a task woken with this slot, or with the last one of the round if it is farther away: then
    /// it has to ask again. Returns which.
    fn wake_with(&mut self, slot: u64, now: Instant, waker: &Waker) -> u64 {
        if self.waiting == 0 {
            self.passed = self.passed.max(ms(now - self.began));
        }
        // Too early, if the timer is late, is no harm.
        let slot = slot.clamp(self.passed + 1, self.passed + SLOTS - 1);
        self.slots[(slot % SLOTS) as usize].push(waker.clone());
        self.waiting += 1;
        self.has_room = true;
        if slot < self.next {
            self.next = slot;
            self.driver.iter().for_each(Waker::wake_by_ref);
        }
        slot
    }

    /// Moves the tasks that are due to `due`; when to turn it again.
    fn turn(&mut self, now: Instant, driver: &Waker, due: &mut Vec<Waker>) -> Option<Instant> {
        if !self.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            self.driver = Some(driver.clone());
        }
        let until = ms(now - self.began).max(self.passed);
        for slot in self.passed + 1..=until.min(self.passed + SLOTS) {
            let slot = &mut self.slots[(slot % SLOTS) as usize];
            due.append(slot);
            slot.shrink_to(KEPT_ROOM);
        }
        self.waiting -= due.len();
        self.passed = until;
        let is_taken = |slot: &u64| !self.slots[(slot % SLOTS) as usize].is_empty();
        let next = match self.waiting {
            0 => None,
            _ => (until + 1..until + SLOTS).find(is_taken),
        };
        self.next = next.unwrap_or(u64::MAX);
        if next.is_none() && self.has_room {
            if !due.is_empty() {
                // Who is woken now may wait again soon.
                return Some(now + Duration::from_millis(SLOTS));
            }
            // Many may have waited, and nobody has for a round.
            self.slots.fill_with(Vec::new);
            self.has_room = false;
        }
        next.map(|next| self.began + Duration::from_millis(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn until(pace: &mut Pace, at: Instant) {
        poll_fn(|cx| pace.poll_until(at, Instant::now(), cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_woken_at_the_first_slot_that_is_not_early() {
        let mut pace = Pace::new();
        for us in [1, 999, 1_000, 1_001, 20_000, 899_999, 1_023_000, 1_024_000, 1_025_500, 60_000_000] {
            let at = Instant::now() + Duration::from_micros(us);
            until(&mut pace, at).await;
            let late = Instant::now() - at;
            assert!(late < Duration::from_millis(2), "{us} µs: {late:?}");
        }
        until(&mut pace, Instant::now()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_tasks_is_woken_in_its_own_time() {
        let began = Instant::now();
        let tasks: Vec<_> = (0..3_000u64)
            .map(|n| {
                tokio::spawn(async move {
                    let mut pace = Pace::new();
                    for step in 1..50 {
                        let at = began + Duration::from_micros(n * 7 + step * (n % 97 + 1) * 1_000);
                        until(&mut pace, at).await;
                        assert!(Instant::now() - at < Duration::from_millis(2));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // What fired is gone, and what was not needed for long takes no room.
        let wheel = lock(&WHEEL.with_borrow(|wheel| Arc::clone(&wheel.as_ref().unwrap().1))).room();
        assert!(wheel <= SLOTS as usize * KEPT_ROOM, "{wheel}");
    }

    impl Wheel {
        fn room(&self) -> usize {
            self.slots.iter().map(Vec::capacity).sum()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_moment_may_change() {
        let polls = Arc::new(AtomicUsize::new(0));
        let mut pace = Pace::new();
        let began = Instant::now();
        let ms = |ms| began + Duration::from_millis(ms);
        // Sooner than it was asked for first, and later.
        for (first, second) in [(100, 50), (150, 170)] {
            let polls = Arc::clone(&polls);
            let mut at = ms(first);
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                let ready = pace.poll_until(at, Instant::now(), cx);
                at = ms(second);
                if ready.is_pending() && Instant::now() < ms(second) {
                    std::task::ready!(pace.poll_until(at, Instant::now(), cx));
                }
                ready
            })
            .await;
            assert!((ms(second)..=ms(second + 1)).contains(&Instant::now()), "{:?}", began.elapsed());
        }
        assert!(polls.load(Ordering::Relaxed) < 10, "woken for a reason");
    }

    #[test]
    fn a_wheel_is_of_the_runtime_that_turns_it() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (one, two) = (runtime(), runtime());
        for runtime in [&one, &two, &one] {
            runtime.block_on(async {
                let mut pace = Pace::new();
                until(&mut pace, Instant::now() + Duration::from_millis(3)).await;
            });
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tasks_may_move_between_threads() {
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                tokio::spawn(async move {
                    let mut pace = Pace::new();
                    for _ in 0..20 {
                        until(&mut pace, Instant::now() + Duration::from_micros(500 + n * 10)).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
