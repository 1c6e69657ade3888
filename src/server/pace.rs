//! Paces streams: a wheel with slots of 1 ms for each thread.
//!
//! A paced stream waits for its next step as often as it takes one, and all streams wait for about the
//! same moments. A slot is a list of streams, and one timer serves the whole wheel. The wheel takes the
//! steps itself: waking a task for each would cost more than the step. Rare or distant moments (a Ping, a
//! stall) do not use the wheel.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// Slots of 1 ms in one round of the wheel.
const SLOTS: u64 = 1024;

/// Rounds a moment up to its slot: a step is never early.
const ROUND_UP: Duration = Duration::from_nanos(999_999);

/// Streams for which a slot keeps room between two rounds, as long as any stream waits.
const KEPT_ROOM: usize = 16;

/// Most steps in one turn of the task that drives the wheel: the other tasks of the thread run in
/// between.
const STEPS: usize = 64;

thread_local! {
    static WHEEL: RefCell<Option<(Id, Arc<Mutex<Wheel>>)>> = const { RefCell::new(None) };
}

/// A stream that the wheel steps.
pub(super) trait Paced: Send + Sync {
    /// Takes the step that is due, if any. Returns the moment of the next step, if time alone decides.
    fn step(&self, now: Instant) -> Option<Instant>;
}

/// The place of a stream on the wheel.
pub(super) struct Pace {
    /// The moment of the scheduled step.
    due: Option<Instant>,
    wheel: Arc<Mutex<Wheel>>,
    stream: Weak<dyn Paced>,
}

struct Wheel {
    began: Instant,
    slots: Vec<Vec<Entry>>,
    /// The last slot whose streams were stepped, in ms since `began`.
    passed: u64,
    /// Entries in all slots.
    waiting: usize,
    /// Some slot has room.
    has_room: bool,
    /// The moment at which that room is freed, if no stream waits until then.
    clears: Option<Instant>,
    /// The slot for which the timer is set.
    next: u64,
    /// Wakes the task that sets the timer.
    driver: Option<Waker>,
}

struct Entry {
    slot: u64,
    stream: Weak<dyn Paced>,
}

impl Pace {
    /// A place on the wheel of this thread.
    ///
    /// # Panics
    /// Outside of a tokio runtime with a clock.
    pub(super) fn new(stream: Weak<dyn Paced>) -> Pace {
        let runtime = Handle::current().id();
        let wheel = WHEEL.with_borrow_mut(|known| match known {
            Some((id, wheel)) if *id == runtime => Arc::clone(wheel),
            // The timer must belong to the runtime of the task.
            _ => {
                let wheel = Arc::new(Mutex::new(Wheel::new(Instant::now())));
                tokio::spawn(drive(Arc::downgrade(&wheel)));
                *known = Some((runtime, Arc::clone(&wheel)));
                wheel
            }
        });
        Pace { due: None, wheel, stream }
    }

    /// Schedules a step at `at`, unless an earlier one is scheduled.
    pub(super) fn step_at(&mut self, at: Instant, now: Instant) {
        if self.due.is_none_or(|due| at < due) {
            self.due = Some(at);
            lock(&self.wheel).enter(at, now, Weak::clone(&self.stream));
        }
    }

    /// True if the scheduled step is due. False if the wheel comes for a moment that was replaced by an
    /// earlier one.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// Schedules the next step. A step returns the result.
    pub(super) fn go_on(&mut self, at: Option<Instant>) -> Option<Instant> {
        self.due = at;
        at
    }
}

fn lock(wheel: &Mutex<Wheel>) -> MutexGuard<'_, Wheel> {
    wheel.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the steps that are due, until the thread and the last stream have dropped the wheel.
async fn drive(wheel: Weak<Mutex<Wheel>>) {
    let mut timer = pin!(sleep_until(Instant::now()));
    let (mut due, mut again) = (Vec::new(), Vec::new());
    loop {
        let mut now = Instant::now();
        let Some(turning) = wheel.upgrade() else { return };
        lock(&turning).turn(now, &mut due);
        while !due.is_empty() {
            let count = due.len().min(STEPS);
            // The streams are not in the cache. Touched together they are fetched in parallel; the steps
            // would wait for one after the other.
            for entry in &due[..count] {
                black_box(entry.stream.strong_count());
            }
            for entry in due.drain(..count) {
                // A panic in one stream, even when it is dropped here, does not stop the others.
                let step = AssertUnwindSafe(|| entry.stream.upgrade()?.step(now));
                if let Ok(Some(at)) = catch_unwind(step) {
                    again.push((at, entry.stream));
                }
            }
            if !due.is_empty() {
                yield_now().await;
                now = Instant::now();
            }
        }
        {
            let mut wheel = lock(&turning);
            again.drain(..).for_each(|(at, stream)| wheel.enter(at, now, stream));
            if wheel.waiting == 0 {
                (due, again) = (Vec::new(), Vec::new());
            }
        }
        drop(turning);
        let mut stands_at = None;
        poll_fn(|cx| {
            // Polled again when a stream has an earlier step.
            let Some(wheel) = wheel.upgrade() else { return Poll::Ready(()) };
            let next = lock(&wheel).next(Instant::now(), cx.waker());
            let Some(next) = next else { return Poll::Pending };
            if stands_at.replace(next) != Some(next) {
                timer.as_mut().reset(next);
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }
}

/// Whole milliseconds, without the wide division of [`Duration::as_millis`].
fn ms(duration: Duration) -> u64 {
    duration.as_secs() * 1_000 + u64::from(duration.subsec_millis())
}

impl Wheel {
    fn new(now: Instant) -> Wheel {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Wheel {
            began: now,
            slots,
            passed: 0,
            waiting: 0,
            has_room: false,
            clears: None,
            next: u64::MAX,
            driver: None,
        }
    }

    /// Schedules a stream in the first slot that is not before `at`.
    fn enter(&mut self, at: Instant, now: Instant, stream: Weak<dyn Paced>) {
        if self.waiting == 0 {
            self.passed = self.passed.max(ms(now - self.began));
        }
        self.put(Entry { slot: ms(at - self.began + ROUND_UP), stream });
    }

    fn put(&mut self, entry: Entry) {
        // A later moment than this round waits in the last slot, and is scheduled again there.
        let slot = entry.slot.clamp(self.passed + 1, self.passed + SLOTS - 1);
        self.slots[(slot % SLOTS) as usize].push(entry);
        self.waiting += 1;
        self.has_room = true;
        if slot < self.next {
            self.next = slot;
            self.driver.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Moves the streams that are due to `due`.
    fn turn(&mut self, now: Instant, due: &mut Vec<Entry>) {
        let until = ms(now - self.began).max(self.passed);
        // While the wheel turns the timer need not be set.
        self.next = 0;
        for slot in self.passed + 1..=until.min(self.passed + SLOTS) {
            let slot = &mut self.slots[(slot % SLOTS) as usize];
            due.append(slot);
            slot.shrink_to(KEPT_ROOM);
        }
        self.waiting -= due.len();
        self.passed = until;
        due.extract_if(.., |entry| entry.slot > until).for_each(|early| self.put(early));
    }

    /// Returns the moment of the next turn.
    fn next(&mut self, now: Instant, driver: &Waker) -> Option<Instant> {
        if !self.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            self.driver = Some(driver.clone());
        }
        if self.waiting == 0 {
            self.next = u64::MAX;
            return self.clear(now);
        }
        self.clears = None;
        let is_taken = |slot: &u64| !self.slots[(slot % SLOTS) as usize].is_empty();
        let next = (self.passed + 1..self.passed + SLOTS).find(is_taken)?;
        self.next = next;
        Some(self.began + Duration::from_millis(next))
    }

    /// Frees the room of the slots once no stream has waited for a round. Returns the moment at which to
    /// call it again.
    fn clear(&mut self, now: Instant) -> Option<Instant> {
        if !self.has_room {
            return None;
        }
        let clears = *self.clears.get_or_insert(now + Duration::from_millis(SLOTS));
        if now < clears {
            return Some(clears);
        }
        self.slots.fill_with(Vec::new);
        self.has_room = false;
        self.clears = None;
        None
    }
}

impl Drop for Wheel {
    fn drop(&mut self) {
        self.driver.iter().for_each(Waker::wake_by_ref);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;
    use tokio::time::{sleep, timeout};

    /// Longer than any of them waits.
    const PATIENCE: Duration = Duration::from_secs(100);

    /// Steps once after each of these times.
    struct Beat {
        pace: Mutex<Pace>,
        then: Vec<Duration>,
        steps: Mutex<Vec<Instant>>,
        stepped: Notify,
    }

    impl Beat {
        fn new(then: impl IntoIterator<Item = Duration>) -> Arc<Beat> {
            Arc::new_cyclic(|this: &Weak<Beat>| Beat {
                pace: Mutex::new(Pace::new(this.clone())),
                then: then.into_iter().collect(),
                steps: Mutex::default(),
                stepped: Notify::new(),
            })
        }

        fn step_in(&self, time: Duration) {
            let now = Instant::now();
            self.pace.lock().unwrap().step_at(now + time, now);
        }

        fn steps(&self) -> Vec<Instant> {
            self.steps.lock().unwrap().clone()
        }

        async fn has_stepped(&self, count: usize) {
            while self.steps().len() < count {
                timeout(PATIENCE, self.stepped.notified()).await.expect("it steps");
            }
        }
    }

    impl Paced for Beat {
        fn step(&self, now: Instant) -> Option<Instant> {
            let mut pace = self.pace.lock().unwrap();
            if !pace.take_due(now) {
                return None;
            }
            let mut steps = self.steps.lock().unwrap();
            let then = self.then.get(steps.len()).map(|then| now + *then);
            steps.push(now);
            self.stepped.notify_one();
            pace.go_on(then)
        }
    }

    fn room() -> usize {
        let wheel = WHEEL.with_borrow(|wheel| Arc::clone(&wheel.as_ref().unwrap().1));
        lock(&wheel).slots.iter().map(Vec::capacity).sum()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_steps_in_the_first_slot_that_is_not_early() {
        let cases = [0, 1, 999, 1_000, 1_001, 20_000, 899_999, 1_023_000, 1_024_000, 1_025_500, 60_000_000];
        let beat = Beat::new([]);
        for (count, us) in cases.into_iter().enumerate() {
            let at = Instant::now() + Duration::from_micros(us);
            beat.step_in(Duration::from_micros(us));
            beat.has_stepped(count + 1).await;
            let late = beat.steps()[count].checked_duration_since(at).expect("not early");
            assert!(late < ms(2), "{us} µs: {late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_streams_steps_in_its_own_time() {
        let beats: Vec<_> = (0..3_000).map(|n| Beat::new(vec![ms(n % 97 + 1); 49])).collect();
        for (n, beat) in beats.iter().enumerate() {
            beat.step_in(Duration::from_micros(n as u64 * 7));
        }
        for (n, beat) in beats.iter().enumerate() {
            beat.has_stepped(50).await;
            let period = ms(n as u64 % 97 + 1);
            for pair in beat.steps().windows(2) {
                let late = (pair[1] - pair[0]).checked_sub(period).expect("not early");
                assert!(late < ms(2), "{period:?}: {late:?}");
            }
        }
        assert!(room() > 0);
        sleep(ms(3 * SLOTS)).await;
        assert_eq!(beats.iter().map(|beat| beat.steps().len()).max(), Some(50));
        assert_eq!(room(), 0, "an empty wheel takes no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn the_moment_may_become_an_earlier_one() {
        let beat = Beat::new([ms(30)]);
        let began = Instant::now();
        beat.step_in(ms(100));
        beat.step_in(ms(50));
        beat.step_in(ms(70));
        sleep(ms(500)).await;
        let steps: Vec<_> = beat.steps().iter().map(|step| (*step - began).as_millis()).collect();
        assert!(matches!(steps[..], [50 | 51, 80..=82]), "once for each: {steps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_waits_is_not_kept_alive() {
        let beat = Beat::new([]);
        beat.step_in(ms(10));
        let gone = Arc::downgrade(&beat);
        drop(beat);
        assert!(gone.upgrade().is_none());
        // Nor does it hold the others up.
        let other = Beat::new([]);
        other.step_in(ms(20));
        other.has_stepped(1).await;
    }

    /// Panics in its step.
    struct Faulty(Mutex<Pace>);

    impl Paced for Faulty {
        fn step(&self, _: Instant) -> Option<Instant> {
            panic!("a fault of ours");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_panics_stops_no_other() {
        let faulty = Arc::new_cyclic(|this: &Weak<Faulty>| Faulty(Mutex::new(Pace::new(this.clone()))));
        let now = Instant::now();
        faulty.0.lock().unwrap().step_at(now + ms(5), now);
        let beat = Beat::new([ms(10)]);
        beat.step_in(ms(5));
        beat.has_stepped(2).await;
    }

    #[test]
    fn a_wheel_is_of_the_runtime_that_turns_it() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (one, two) = (runtime(), runtime());
        for runtime in [&one, &two, &one] {
            runtime.block_on(async {
                let beat = Beat::new([]);
                beat.step_in(ms(3));
                beat.has_stepped(1).await;
            });
        }
        // The wheel of a runtime ends with its streams.
        two.block_on(yield_now());
        let tasks = |runtime: &tokio::runtime::Runtime| runtime.metrics().num_alive_tasks();
        assert_eq!((tasks(&one), tasks(&two)), (1, 0));
    }

    #[test]
    fn a_wheel_goes_with_its_thread_once_no_stream_is_on_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap();
        let tasks = || runtime.metrics().num_alive_tasks();
        let beat = std::thread::scope(|scope| {
            scope.spawn(|| runtime.block_on(async { Beat::new([]) })).join().unwrap()
        });
        assert_eq!(tasks(), 1);
        runtime.block_on(async {
            beat.step_in(ms(3));
            beat.has_stepped(1).await;
            // Its room is given back: there is nothing more that it would wake for by itself.
            sleep(ms(3 * SLOTS)).await;
            assert_eq!(tasks(), 1);
            drop(beat);
            yield_now().await;
            assert_eq!(tasks(), 0);
        });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stream_may_be_set_going_by_any_thread() {
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                let beat = Beat::new([]);
                tokio::spawn(async move {
                    for step in 1..=20 {
                        beat.step_in(Duration::from_micros(500 + n * 10));
                        beat.has_stepped(step).await;
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
