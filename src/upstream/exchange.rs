//! One request to a service and its answer, over any transport: the deadlines and the retries.

use super::failure::{Failure, FailureKind, Service};
use super::settings::{Deadlines, Retries, UpstreamSettings};
use crate::deadline::{Deadline, Patience};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The time and the attempts that a request has used.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    service: Arc<Service>,
    /// Number of attempts made.
    attempts: u32,
    /// Bytes of the answer received.
    received: u64,
    /// True if the service gave anything of use.
    has_begun: bool,
    pub(super) patience: Patience,
    /// Pause before the next attempt.
    pause: Option<Duration>,
}

impl Exchange {
    pub(crate) fn new(service: Arc<Service>) -> Exchange {
        Exchange {
            service,
            attempts: 0,
            received: 0,
            has_begun: false,
            patience: Patience::default(),
            pause: None,
        }
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// The next attempt is made at this service.
    pub(super) fn turn_to(&mut self, service: &Arc<Service>) {
        self.service = Arc::clone(service);
    }

    /// Begins an attempt, after the pause before it.
    pub(crate) async fn begin(&mut self) {
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = None;
            self.patience.spend(pause);
        }
        self.attempts += 1;
        self.patience.revive();
    }

    /// Waits for the service.
    ///
    /// # Errors
    /// A deadline passed: that of the first byte until there is something [of use](Self::revive).
    ///
    /// # Cancel safety
    /// Same as that of `work`. The time spent waiting counts.
    pub(crate) async fn wait<F: Future>(&mut self, work: F) -> Result<F::Output, Failure> {
        let Deadlines { first_byte, idle, total, .. } = self.service.deadlines();
        let (pause, kind) = match self.has_begun {
            false => (first_byte, FailureKind::FirstByteTimeout),
            true => (idle, FailureKind::IdleTimeout),
        };
        let done = self.patience.wait(pause, total, work).await;
        done.map_err(|passed| match passed {
            Deadline::Pause => self.service.too_late(kind),
            Deadline::Total => self.service.too_late(FailureKind::TotalTimeout),
        })
    }

    /// Notes that what was received is of use: the pause of the service is over. Bytes alone are no sign of life.
    pub(crate) fn revive(&mut self) {
        self.has_begun = true;
        self.patience.revive();
    }

    /// Counts bytes of the answer, at least one.
    ///
    /// # Errors
    /// The answer is too large.
    pub(crate) fn receive(&mut self, bytes: usize) -> Result<(), Failure> {
        self.received += bytes as u64;
        let most = self.service.settings.max_body_bytes;
        match self.received <= most {
            true => Ok(()),
            false => {
                Err(self.service.useless(FailureKind::Unusable, format_args!("sent more than {most} bytes")))
            }
        }
    }

    /// The failure of a connection that ended before the answer did.
    pub(crate) fn cut_off(&self, error: &dyn std::error::Error) -> Failure {
        let kind = if self.received == 0 { FailureKind::Closed } else { FailureKind::Broken };
        self.service.broken(kind, error)
    }

    /// Returns the failure of an attempt if another attempt follows: no sooner than the service wants, or at once at
    /// another service.
    ///
    /// # Errors
    /// The same failure if no retry is useful or left, or if it would start too late.
    pub(crate) fn retry(
        &mut self,
        failure: Failure,
        retry_after: Option<Duration>,
        is_elsewhere: bool,
    ) -> Result<Failure, Failure> {
        let UpstreamSettings { deadlines, retries, other_urls, .. } = &self.service.settings;
        let services = 1 + other_urls.len() as u32;
        if is_elsewhere
            && self.attempts < retries.attempts.max(services)
            && self.patience.spent() < deadlines.total
        {
            return Ok(failure);
        }
        let pause = pause(retries, self.attempts, retry_after);
        let begins = self.patience.spent().saturating_add(pause);
        let is_in_time = begins <= retries.within && begins < deadlines.total;
        if !failure.kind.is_worth_a_retry() || self.attempts >= retries.attempts || !is_in_time {
            return Err(failure);
        }
        self.pause = Some(pause);
        Ok(failure)
    }
}

/// Returns the pause after so many attempts, at least as long as the service wants.
fn pause(retries: &Retries, attempts: u32, retry_after: Option<Duration>) -> Duration {
    match retry_after {
        Some(pause) => pause.saturating_add(jitter(retries.backoff)),
        None => jitter(retries.backoff.saturating_mul(1 << (attempts.max(1) - 1).min(16))),
    }
}

/// Returns a random part of a duration.
fn jitter(most: Duration) -> Duration {
    let mut random = [0; 4];
    match getrandom::fill(&mut random) {
        Ok(()) => most.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)),
        // Without a random source, use the longest pause.
        Err(_) => most,
    }
}
