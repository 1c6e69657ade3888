//! Deadlines that blame nobody for time in which this process did not run.
//!
//! A process that was stopped (SIGSTOP, a debugger, a machine that was paused) wakes up to timers
//! that are over and to sockets that nobody has read meanwhile, and it sees the timers first: what
//! was waited for may have been there all along.

use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A timer that comes so late tells that the process did not run.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// The time that is left then for what has arrived to be seen.
const GRACE: Duration = Duration::from_millis(100);

/// What was waited for did not come in time.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Ready at this moment, or a little later if the process did not run when it was due.
///
/// # Cancel safety
/// Dropping the future has no effect.
pub(crate) async fn pass(due: Instant) {
    sleep_until(due).await;
    if due.elapsed() > LATE {
        sleep(GRACE).await;
    }
}

/// Waits for a future for so long.
///
/// # Errors
/// It was not ready by then.
///
/// # Cancel safety
/// That of the future.
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
    async fn a_deadline_that_is_seen_in_time_is_exact() {
        let begun = Instant::now();
        assert!(within(Duration::from_secs(3), std::future::pending::<()>()).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(3_010), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_seen_late_leaves_time_for_what_has_come() {
        for comes_after in [GRACE / 2, GRACE * 2] {
            let begun = Instant::now();
            let mut waiting = pin!(within(Duration::from_secs(3), async {
                // It was there, but it takes a moment to be seen.
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
