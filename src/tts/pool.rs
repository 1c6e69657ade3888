//! Threads that synthesise in small units of work, for all sessions in turn.

use super::rounds::{Place, Rounds};
use super::{Sink, Utterance};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A limited number of threads. They start when there is work, and end when the pool is dropped.
///
/// A thread never waits for a listener. It takes one job, in an [`Order`] of [`Rounds`], then the next.
pub(super) struct Pool(Arc<Shared>);

/// Order of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Clients in turn. Within a client, urgent jobs come before others.
    Rounds,
    /// As `Rounds`, with the urgent jobs of all clients before others: [`Rounds::pop_urgent_first`].
    #[cfg_attr(not(feature = "neural"), allow(dead_code))]
    UrgentFirst,
}

struct Shared {
    line: Mutex<Line>,
    has_work: Condvar,
    /// Name of the engine, for its threads.
    name: &'static str,
    order: Order,
    max_threads: usize,
}

#[derive(Default)]
struct Line {
    jobs: Rounds<Job>,
    threads: usize,
    idle_threads: usize,
    is_closed: bool,
}

impl Pool {
    /// Creates a pool of at most this many threads, at least one, for an engine.
    pub(super) fn new(name: &'static str, order: Order, max_threads: usize) -> Pool {
        let max_threads = max_threads.max(1);
        Pool(Arc::new(Shared { line: Mutex::default(), has_work: Condvar::new(), name, order, max_threads }))
    }

    /// Number of threads that are not working.
    pub(super) fn free_threads(&self) -> usize {
        let line = self.0.line();
        self.0.max_threads - (line.threads - line.idle_threads)
    }

    /// Runs a job on a thread when its turn has come. `None` if the listener left before that, or the
    /// job panicked. Urgent jobs run before others, as the order of the pool says.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        utterance: &Utterance,
        is_urgent: bool,
        mut sink: Sink,
        job: impl FnOnce(&mut Sink) -> T + Send + 'static,
    ) -> Option<(Sink, T)> {
        let listener = sink.listener();
        let (done, result) = oneshot::channel();
        let job = move || {
            let result = job(&mut sink);
            // An error means that the utterance was dropped.
            let _ = done.send((sink, result));
        };
        let waiting = self.submit(utterance, is_urgent, Box::new(job))?;
        tokio::select! {
            biased;
            // Dropping `waiting` removes the job from the line. A job that runs notices it by itself.
            () = listener.left() => None,
            result = result => {
                waiting.forget();
                result.ok()
            }
        }
    }

    /// Adds a job. `None` if no thread can be started.
    fn submit(&self, utterance: &Utterance, is_urgent: bool, job: Job) -> Option<Waiting<'_>> {
        let mut line = self.0.line();
        let place = line.jobs.push(utterance, is_urgent, job);
        let waiting = Waiting { shared: &self.0, place: Some(place) };
        if line.idle_threads < line.jobs.len() && line.threads < self.0.max_threads {
            let shared = Arc::clone(&self.0);
            match thread::Builder::new().name(self.0.name.to_owned()).spawn(move || shared.work()) {
                Ok(_) => line.threads += 1,
                Err(error) if line.threads == 0 => {
                    drop(line);
                    tracing::error!("engine {}: cannot start a thread: {error}", self.0.name);
                    return None;
                }
                // The threads that have started do all the work.
                Err(_) => {}
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

    /// Runs jobs until the pool is dropped.
    fn work(&self) {
        let mut line = self.line();
        while !line.is_closed {
            let next = match self.order {
                Order::Rounds => line.jobs.pop(),
                Order::UrgentFirst => line.jobs.pop_urgent_first(),
            };
            let Some((_, job)) = next else {
                line.idle_threads += 1;
                line = self.has_work.wait(line).unwrap_or_else(PoisonError::into_inner);
                line.idle_threads -= 1;
                continue;
            };
            drop(line);
            // A panic drops the sink, which the listener sees as a failure.
            let _ = catch_unwind(AssertUnwindSafe(job));
            line = self.line();
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
