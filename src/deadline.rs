//! Deadlines that do not count time in which this process did not run.
//!
//! A process may be stopped (SIGSTOP, a debugger, a paused machine). When it runs again, its timers are due and
//! its sockets have data that it could not read. It sees the timers first, so a deadline that is seen late
//! leaves time to read.

use std::future::Future;
use std::time::Duration;
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
