//! Deadlines that do not count time in which this process did not run.
//!
//! A process may be stopped (SIGSTOP, a debugger, a paused machine). When it runs again, its timers are due and
//! its sockets have data that it could not read. It sees the timers first, so a deadline that is seen late
//! leaves time to read.

use std::future::Future;
use std::time::Duration;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until};

/// Delay of a timer from which the process counts as stopped.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// Extra time after a stop, to see data that has arrived.
const GRACE: Duration = Duration::from_millis(100);

/// Error: the deadline passed.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits until `due`; a little longer if the process did not run at that time.
///
/// # Cancel safety
/// Dropping the future has no effect.
pub(crate) async fn pass(due: Instant) {
    sleep_until(due).await;
    if due.elapsed() > LATE {
        sleep(GRACE).await;
    }
}

/// Waits for a future for at most `time`.
///
/// # Errors
/// The future was not ready in time.
///
/// # Cancel safety
/// Same as that of the future.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = pass(Instant::now() + time) => Err(Elapsed),
    }
}

/// A deadline of a [`Patience`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// From one sign of life to the next.
    Pause,
    /// All waits together.
    Total,
}

/// Time spent on a peer that is slow, or that sends much and nothing of use.
///
/// The time between two waits counts too: it is the work that the peer causes. After a
/// [sign of life](Self::revive) it does not count: it may be the wait of a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    /// Time since the last sign of life.
    quiet: Duration,
    /// Time in total.
    spent: Duration,
    /// End of the last wait, if there was no sign of life since.
    since: Option<Instant>,
}

impl Patience {
    /// Time spent in total.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }

    /// Counts time for the total alone.
    pub(crate) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }

    /// Notes a sign of life: the pause is over.
    pub(crate) fn revive(&mut self) {
        (self.quiet, self.since) = (Duration::ZERO, None);
    }

    /// Waits for work of the peer, while both deadlines allow it. A peer whose work is always ready meets them too.
    ///
    /// # Errors
    /// A deadline passed.
    ///
    /// # Cancel safety
    /// Same as that of `work`. The time spent waiting counts.
    pub(crate) async fn wait<F: Future>(
        &mut self,
        pause: Duration,
        total: Duration,
        work: F,
    ) -> Result<F::Output, Deadline> {
        // Work that is always ready lets nothing else of this thread run otherwise.
        consume_budget().await;
        let now = Instant::now();
        if let Some(since) = self.since.replace(now) {
            self.quiet += now - since;
            self.spent += now - since;
        }
        let (pause, left) = (pause.saturating_sub(self.quiet), total.saturating_sub(self.spent));
        let deadline = if left < pause { Deadline::Total } else { Deadline::Pause };
        let limit = pause.min(left);
        if limit.is_zero() {
            return Err(deadline);
        }
        let _stopwatch = Stopwatch { patience: self, begun: now, limit };
        within(limit, work).await.map_err(|Elapsed| deadline)
    }
}

/// Counts a wait when it is dropped, so that one that is abandoned counts too.
struct Stopwatch<'a> {
    patience: &'a mut Patience,
    begun: Instant,
    limit: Duration,
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let waited = match now - self.begun {
            // The process did not run: what has arrived meanwhile can still be read.
            stopped if stopped > self.limit + LATE => self.limit.saturating_sub(GRACE),
            waited => waited,
        };
        self.patience.quiet += waited;
        self.patience.spent += waited;
        self.patience.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn deadline_seen_in_time_is_exact() {
        let begun = Instant::now();
        assert!(within(Duration::from_secs(3), std::future::pending::<()>()).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(3_010), "{:?}", begun.elapsed());
    }

    const PAUSE: Duration = Duration::from_secs(10);
    const TOTAL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn deadline_passes_although_work_is_always_ready() {
        // Work of 1 ms, with a sign of life each time or never.
        for (is_alive, expected, after) in [(false, Deadline::Pause, 10_000), (true, Deadline::Total, 30_000)]
        {
            let (mut patience, mut milliseconds) = (Patience::default(), 0);
            let passed = loop {
                let ready = async { advance(Duration::from_millis(1)).await };
                match patience.wait(PAUSE, TOTAL, ready).await {
                    Ok(()) => milliseconds += 1,
                    Err(deadline) => break deadline,
                }
                if is_alive {
                    patience.revive();
                    // The listener's time.
                    advance(Duration::from_millis(5)).await;
                }
            };
            assert_eq!((passed, milliseconds), (expected, after));
        }
        // The work that a peer causes counts, if it was in vain.
        let mut patience = Patience::default();
        for _ in 0..10 {
            assert_eq!(patience.wait(PAUSE, TOTAL, async {}).await, Ok(()));
            advance(PAUSE / 10).await;
        }
        assert_eq!(patience.wait(PAUSE, TOTAL, async {}).await, Err(Deadline::Pause));
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_of_a_process_that_was_stopped_leaves_time_for_what_has_arrived() {
        let mut patience = Patience::default();
        let stopped = async { advance(10 * TOTAL).await };
        assert_eq!(patience.wait(PAUSE, TOTAL, stopped).await, Ok(()));
        for _ in 0..5 {
            assert_eq!(patience.wait(PAUSE, TOTAL, async {}).await, Ok(()));
        }
        assert_eq!(patience.wait(PAUSE, TOTAL, std::future::pending::<()>()).await, Err(Deadline::Pause));
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_seen_late_leaves_time_to_read() {
        for comes_after in [GRACE / 2, GRACE * 2] {
            let begun = Instant::now();
            let mut waiting = pin!(within(Duration::from_secs(3), async {
                // It arrived in time, but is seen a moment later.
                sleep_until(begun + Duration::from_secs(60) + comes_after).await;
            }));
            tokio::select! {
                biased;
                _ = &mut waiting => panic!("too early"),
                () = tokio::task::yield_now() => {}
            }
            advance(Duration::from_secs(60)).await;
            assert_eq!(waiting.await.is_ok(), comes_after < GRACE, "{comes_after:?}");
        }
    }
}
