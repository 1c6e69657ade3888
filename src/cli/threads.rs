//! The threads that serve connections. Each thread has its own runtime, and a connection stays on its
//! thread: streams do not wait in a queue that threads share.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Creates a runtime for the current thread.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// This thread and others, which stop when this value is dropped.
pub(super) struct Threads {
    runtime: Runtime,
    others: Vec<Handle>,
    /// Dropping it ends the other threads, which then return their runtimes.
    end: watch::Sender<()>,
    ended: mpsc::Receiver<Runtime>,
}

impl Threads {
    /// Starts all threads but this one.
    ///
    /// # Errors
    /// The system has no more threads, or no more descriptors.
    pub(super) fn start(count: usize) -> io::Result<Threads> {
        let (end, ending) = watch::channel(());
        let (gives_back, ended) = mpsc::channel();
        let mut others = Vec::new();
        for number in 2..=count {
            let runtime = runtime()?;
            others.push(runtime.handle().clone());
            let (mut ending, gives_back) = (ending.clone(), gives_back.clone());
            thread::Builder::new().name(format!("aloud-{number}")).spawn(move || {
                let _ = runtime.block_on(ending.changed());
                // On an error the receiver is gone, and so is the need for the runtime.
                let _ = gives_back.send(runtime);
            })?;
        }
        Ok(Threads { runtime: runtime()?, others, end, ended })
    }

    /// Returns the runtimes of all threads, starting with this one.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        [self.runtime.handle()].into_iter().chain(&self.others).cloned().collect()
    }

    /// Runs a future on this thread.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Drops all tasks. Tasks that do not stop in time are left behind.
    pub(super) fn shut_down(self, within: Duration) {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        drop(self.end);
        // All runtimes stop before the first is taken apart: a task may wait for a timer, or a
        // connection, in the runtime of another thread.
        let mut runtimes = vec![self.runtime];
        while runtimes.len() <= self.others.len() {
            let Ok(runtime) = self.ended.recv_timeout(left()) else { break };
            runtimes.push(runtime);
        }
        runtimes.into_iter().for_each(|runtime| runtime.shutdown_timeout(left()));
    }
}
