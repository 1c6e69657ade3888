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

/// The farthest moment that is waited for at once. Who waits for a later one is woken, and waits again.
const HORIZON: Duration = Duration::from_millis(900);

/// A slot is never early.
const ROUND_UP: Duration = Duration::from_nanos(999_999);

/// Tasks that are woken at once: a list of all that may be due would take room for good.
const WOKEN: usize = 64;

/// Tasks that a block of places has room for.
const BLOCK: usize = 1024;

/// Blocks for which there is room in their list from the beginning.
const BLOCKS: usize = 64;

/// The number of no place.
const NOWHERE: usize = usize::MAX;

thread_local! {
    static WHEEL: RefCell<Option<(Id, Arc<Mutex<Wheel>>)>> = const { RefCell::new(None) };
}

/// One task's place on the wheel. Dropping it, or waiting no longer, leaves a wake-up for nothing.
pub(super) struct Pace {
    /// When the task will be woken at the latest, if it lies ahead.
    wakes: Option<Instant>,
    wheel: Arc<Mutex<Wheel>>,
}

struct Wheel {
    began: Instant,
    slots: Slots,
    /// The last slot whose tasks were woken, in ms since `began`.
    passed: u64,
    /// The slot that the timer stands at.
    next: u64,
    /// Sets the timer anew.
    driver: Option<Waker>,
}

/// The tasks in each slot, in the order in which they came.
///
/// They are linked in a few blocks that all slots share: room that each slot kept for itself would
/// lie all over the heap, and what lies at its end keeps all that was freed before it from going
/// back to the system.
struct Slots {
    /// The last place of each slot, or nowhere.
    last: Vec<usize>,
    /// The first is there for good, the others for as long as they are needed.
    blocks: Vec<Block>,
    /// All blocks before this one are full.
    roomy: usize,
    /// Tasks in all slots.
    waiting: usize,
}

struct Block {
    places: Vec<Place>,
    /// The first of the free ones, or nowhere.
    free: usize,
    taken: usize,
}

struct Place {
    waker: Option<Waker>,
    /// The next of its slot, behind the last the first; or the next that is free.
    next: usize,
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
        Pace { wakes: None, wheel }
    }

    /// Ready once `at` has come. It may be another moment each time, but always has to be asked by
    /// the same task. `now` is when it was asked.
    pub(super) fn poll_until(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        if !self.wakes.is_some_and(|wakes| now < wakes && wakes <= at) {
            let wakes = at.min(now + HORIZON);
            lock(&self.wheel).wake_at(wakes, now, cx.waker());
            self.wakes = Some(wakes);
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
    let mut due = Vec::with_capacity(WOKEN);
    poll_fn(|cx| {
        loop {
            let next = lock(&wheel).turn(Instant::now(), cx.waker(), &mut due);
            if !due.is_empty() {
                due.drain(..).for_each(Waker::wake);
                continue;
            }
            let Some(next) = next else { return Poll::<()>::Pending };
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
        Wheel { began: now, slots: Slots::new(), passed: 0, next: u64::MAX, driver: None }
    }

    /// Has a task woken at the first slot that is not before `at`.
    fn wake_at(&mut self, at: Instant, now: Instant, waker: &Waker) {
        if self.slots.waiting == 0 {
            self.passed = self.passed.max(ms(now - self.began));
        }
        let slot = ms(at - self.began + ROUND_UP);
        // Too early, if the timer is late, is no harm.
        let slot = slot.clamp(self.passed + 1, self.passed + SLOTS - 1);
        self.slots.push(slot, waker.clone());
        if slot < self.next {
            self.next = slot;
            self.driver.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Moves tasks that are due to `due`, no more than it has room for. Where there are none, when
    /// the next ones will be.
    fn turn(&mut self, now: Instant, driver: &Waker, due: &mut Vec<Waker>) -> Option<Instant> {
        if !self.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            self.driver = Some(driver.clone());
        }
        let until = ms(now - self.began).max(self.passed);
        for slot in self.passed + 1..=until.min(self.passed + SLOTS) {
            while let Some(waker) = self.slots.pop(slot) {
                due.push(waker);
                if due.len() == due.capacity() {
                    // There may be more in this one.
                    self.passed = slot - 1;
                    return None;
                }
            }
        }
        self.passed = until;
        if !due.is_empty() {
            return None;
        }
        self.slots.let_go();
        let next = match self.slots.waiting {
            0 => None,
            _ => (until + 1..until + SLOTS).find(|slot| !self.slots.is_empty(*slot)),
        };
        self.next = next.unwrap_or(u64::MAX);
        next.map(|next| self.began + Duration::from_millis(next))
    }
}

/// The index of a moment's slot.
fn index(slot: u64) -> usize {
    (slot % SLOTS) as usize
}

impl Slots {
    fn new() -> Slots {
        let mut blocks = Vec::with_capacity(BLOCKS);
        blocks.push(Block::new(0));
        Slots { last: vec![NOWHERE; SLOTS as usize], blocks, roomy: 0, waiting: 0 }
    }

    fn is_empty(&self, slot: u64) -> bool {
        self.last[index(slot)] == NOWHERE
    }

    fn place(&mut self, at: usize) -> &mut Place {
        &mut self.blocks[at / BLOCK].places[at % BLOCK]
    }

    fn push(&mut self, slot: u64, waker: Waker) {
        let at = self.take_place();
        let last = std::mem::replace(&mut self.last[index(slot)], at);
        let first = match last {
            NOWHERE => at,
            last => std::mem::replace(&mut self.place(last).next, at),
        };
        *self.place(at) = Place { waker: Some(waker), next: first };
        self.waiting += 1;
    }

    fn pop(&mut self, slot: u64) -> Option<Waker> {
        let last = self.last[index(slot)];
        if last == NOWHERE {
            return None;
        }
        let first = self.place(last).next;
        let next = self.place(first).next;
        self.place(last).next = next;
        if first == last {
            self.last[index(slot)] = NOWHERE;
        }
        self.waiting -= 1;
        self.give_place(first)
    }

    /// The first place that is free, so that the last blocks are the first to be empty.
    fn take_place(&mut self) -> usize {
        while self.blocks.get(self.roomy).is_some_and(|block| block.taken == BLOCK) {
            self.roomy += 1;
        }
        if self.roomy == self.blocks.len() {
            self.blocks.push(Block::new(self.roomy * BLOCK));
        }
        let block = &mut self.blocks[self.roomy];
        let at = block.free;
        block.free = block.places[at % BLOCK].next;
        block.taken += 1;
        at
    }

    fn give_place(&mut self, at: usize) -> Option<Waker> {
        let number = at / BLOCK;
        self.roomy = self.roomy.min(number);
        let block = &mut self.blocks[number];
        let place = &mut block.places[at % BLOCK];
        let waker = place.waker.take();
        place.next = std::mem::replace(&mut block.free, at);
        block.taken -= 1;
        waker
    }

    /// Gives blocks back that are not needed any more.
    fn let_go(&mut self) {
        while self.blocks.len() > 1 && self.blocks.last().is_some_and(|block| block.taken == 0) {
            self.blocks.pop();
        }
    }
}

impl Block {
    /// Free places that are numbered from this one on.
    fn new(first: usize) -> Block {
        let next = (first + 1..first + BLOCK).chain([NOWHERE]);
        Block { places: next.map(|next| Place { waker: None, next }).collect(), free: first, taken: 0 }
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
        // What fired is gone, and takes no room.
        let wheel = WHEEL.with_borrow(|wheel| Arc::clone(&wheel.as_ref().unwrap().1));
        let slots = &lock(&wheel).slots;
        assert_eq!((slots.waiting, slots.blocks.len(), slots.blocks[0].taken), (0, 1, 0));
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
