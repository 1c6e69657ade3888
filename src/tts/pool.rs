//! Threads that synthesise in small units of work, for all sessions in turn.

use super::rounds::{Pace, Place, Rounds, Urgency};
use super::{Sink, Utterance};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// Number of jobs after which a long one has lost most of its weight.
const UNITS: u32 = 16;

type Job = Box<dyn FnOnce() + Send>;

/// A limited number of threads. They start when there is work, and end when the pool is dropped.
///
/// A thread never waits for a listener. It takes one job, in an [`Order`] of [`Rounds`], then the next.
pub(super) struct Pool(Arc<Shared>);

/// Source of the threads of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    /// Threads of its own, with this name.
    Own(&'static str),
    /// Threads of the runtime for blocking work, as long as there is work. A paused clock of the runtime stands
    /// still meanwhile.
    Lent,
}

/// Order of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Clients in turn. Within a client, urgent jobs come before others.
    Rounds,
    /// As `Rounds`, with the jobs of all clients that would be late, and then those that are needed at once, before
    /// others: [`Rounds::pop_urgent_first`].
    UrgentFirst,
}

struct Shared {
    line: Mutex<Line>,
    has_work: Condvar,
    threads: Threads,
    order: Order,
    max_threads: usize,
}

#[derive(Default)]
struct Line {
    jobs: Rounds<Job>,
    threads: usize,
    idle_threads: usize,
    /// Time that a job takes: the longest of the last ones.
    unit: Duration,
    is_closed: bool,
}

impl Pool {
    /// Creates a pool of at most this many threads, at least one, for an engine.
    pub(super) fn new(name: &'static str, order: Order, max_threads: usize) -> Pool {
        Pool::with(Threads::Own(name), order, max_threads)
    }

    /// Creates a pool that borrows at most this many threads from the runtime. Urgent jobs of all clients come first.
    pub(super) fn lent(max_threads: usize) -> Pool {
        Pool::with(Threads::Lent, Order::UrgentFirst, max_threads)
    }

    fn with(threads: Threads, order: Order, max_threads: usize) -> Pool {
        let max_threads = max_threads.max(1);
        Pool(Arc::new(Shared {
            line: Mutex::default(),
            has_work: Condvar::new(),
            threads,
            order,
            max_threads,
        }))
    }

    /// Number of jobs that wait for their turn.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.line().jobs.len()
    }

    /// Number of threads that are not working.
    pub(super) fn free_threads(&self) -> usize {
        let line = self.0.line();
        self.0.max_threads - (line.threads - line.idle_threads)
    }

    /// Runs a job on a thread when its turn has come. `None` if the listener left before that, or the
    /// job panicked. The order of the pool says which jobs run first.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        utterance: &Utterance,
        urgency: impl Into<Urgency>,
        mut sink: Sink,
        job: impl FnOnce(&mut Sink) -> T + Send + 'static,
    ) -> Option<(Sink, T)> {
        let listener = sink.listener();
        let work = self.work(utterance, urgency, move || {
            let result = job(&mut sink);
            (sink, result)
        });
        tokio::select! {
            biased;
            // A job that runs notices it by itself.
            () = listener.left() => None,
            done = work => done,
        }
    }

    /// Runs a job in the turn of this utterance. `None` if the job panicked, or no thread can be started.
    ///
    /// # Cancel safety
    /// Dropping the future removes the job from the line. A job that has begun is finished.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        utterance: &Utterance,
        urgency: impl Into<Urgency>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // An error means that the result is not wanted any more.
            let _ = done.send(job());
        };
        let waiting = self.submit(utterance, urgency.into(), Box::new(job))?;
        let result = result.await;
        waiting.forget();
        result.ok()
    }

    /// Adds a job. `None` if no thread can be started.
    fn submit(&self, utterance: &Utterance, urgency: Urgency, job: Job) -> Option<Waiting<'_>> {
        let mut line = self.0.line();
        let place = line.jobs.push(utterance, urgency, job);
        let waiting = Waiting { shared: &self.0, place: Some(place) };
        if line.idle_threads < line.jobs.len() && line.threads < self.0.max_threads {
            let shared = Arc::clone(&self.0);
            match self.0.threads {
                Threads::Lent => {
                    line.threads += 1;
                    spawn_blocking(move || shared.work());
                }
                Threads::Own(name) => {
                    match thread::Builder::new().name(name.to_owned()).spawn(move || shared.work()) {
                        Ok(_) => line.threads += 1,
                        Err(error) if line.threads == 0 => {
                            drop(line);
                            tracing::error!("engine {name}: cannot start a thread: {error}");
                            return None;
                        }
                        // The threads that have started do all the work.
                        Err(_) => {}
                    }
                }
            }
        }
        drop(line);
        self.0.has_work.notify_one();
        Some(waiting)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.line().is_closed = true;
        self.0.has_work.notify_all();
    }
}

impl Shared {
    /// Locks the line. A poisoned lock is safe to use: no job runs while it is held.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs jobs until the pool is dropped, or there are none for a thread that is lent.
    fn work(&self) {
        let mut line = self.line();
        while !line.is_closed {
            let next = match self.order {
                Order::Rounds => line.jobs.pop(),
                Order::UrgentFirst => {
                    let pace = Pace {
                        now: Instant::now(),
                        unit: line.unit,
                        threads: u32::try_from(self.max_threads).unwrap_or(u32::MAX),
                    };
                    line.jobs.pop_urgent_first(pace)
                }
            };
            let Some((_, job)) = next else {
                if self.threads == Threads::Lent {
                    line.threads -= 1;
                    return;
                }
                line.idle_threads += 1;
                line = self.has_work.wait(line).unwrap_or_else(PoisonError::into_inner);
                line.idle_threads -= 1;
                continue;
            };
            drop(line);
            // A panic drops the sink, which the listener sees as a failure.
            let begun = Instant::now();
            let _ = catch_unwind(AssertUnwindSafe(job));
            let took = begun.elapsed();
            line = self.line();
            line.unit = took.max(line.unit - line.unit / UNITS);
        }
    }
}

/// A job that may still be in the line. Dropping it removes the job.
struct Waiting<'a> {
    shared: &'a Shared,
    place: Option<Place>,
}

impl Waiting<'_> {
    /// Leaves the line alone: the job has run.
    fn forget(mut self) {
        self.place = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let job = self.shared.line().jobs.remove(place);
            // Outside of the lock: the job owns a sink.
            drop(job);
        }
    }
}
