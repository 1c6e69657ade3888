//! The threads that serve connections. Each has a runtime of its own, and a connection stays on the
//! thread that it came to: streams wait for no queue that threads share, and none is moved about.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// A runtime for the thread that it is made on.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// This thread, and others that run for as long as it does.
pub(super) struct Threads {
    runtime: Runtime,
    others: Vec<Handle>,
    /// They end when it is dropped, and give their runtimes back.
    end: watch::Sender<()>,
    ended: mpsc::Receiver<Runtime>,
}

impl Threads {
    /// Starts all but this one.
    ///
    /// # Errors
    /// The system has no thread to give, or no descriptors.
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
                // An error means that nobody waits for it any more.
                let _ = gives_back.send(runtime);
            })?;
        }
        Ok(Threads { runtime: runtime()?, others, end, ended })
    }

    /// The runtimes of all threads, this one's first.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        [self.runtime.handle()].into_iter().chain(&self.others).cloned().collect()
    }

    /// Runs this on this thread, with what the others have to do.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Drops all tasks, and waits so long at most for what does not stop when it is told to; that is
    /// left behind.
    pub(super) fn shut_down(self, within: Duration) {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        drop(self.end);
        // All have come to a stand before the first is taken apart: a task may wait for a timer, or a
        // connection, that lives in the runtime of another.
        let mut runtimes = vec![self.runtime];
        while runtimes.len() <= self.others.len() {
            let Ok(runtime) = self.ended.recv_timeout(left()) else { break };
            runtimes.push(runtime);
        }
        runtimes.into_iter().for_each(|runtime| runtime.shutdown_timeout(left()));
    }
}
