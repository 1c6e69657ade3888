//! One request to a service, with its retries.

use super::failure::{Failure, FailureKind};
use super::reply::Reply;
use super::service::{Prepared, Upstream};
use super::settings::{Retries, UpstreamSettings};
use crate::deadline;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_ENCODING, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::client::legacy;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A request, and its retries. Dropping it aborts the request.
pub struct Call {
    upstream: Upstream,
    uri: Uri,
    json: Bytes,
    accept: &'static str,
    /// Number of attempts made.
    attempts: u32,
    /// Time spent waiting for the service.
    spent: Duration,
    /// Pause before the next attempt.
    pause: Option<Duration>,
}

/// Result of one attempt.
#[derive(Debug)]
pub enum Attempt {
    /// The service answers.
    Reply(Reply),
    /// The service did not accept the request. The next [`Call::attempt`] retries it.
    Retry(Failure),
}

impl Call {
    pub(super) fn new(upstream: Upstream, uri: Uri, json: Bytes, accept: &'static str) -> Call {
        Call { upstream, uri, json, accept, attempts: 0, spent: Duration::ZERO, pause: None }
    }

    /// Makes the request. After an [`Attempt::Retry`], waits first and then makes it again.
    ///
    /// Call it until it returns a reply or an error.
    ///
    /// # Errors
    /// The service did not answer, or not with a success, and no retry is left or useful.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the attempt.
    pub async fn attempt(&mut self) -> Result<Attempt, Failure> {
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = None;
            self.spent += pause;
        }
        let Prepared { settings, headers, client, .. } = &*self.upstream.0;
        let deadlines = settings.deadlines;
        let mut request = Request::post(self.uri.clone())
            .header(ACCEPT, self.accept)
            .body(Full::new(self.json.clone()))
            .expect("the URL was parsed, and the header is ours");
        request.headers_mut().extend(headers.clone());
        self.attempts += 1;

        let left = deadlines.total.saturating_sub(self.spent);
        let begun = Instant::now();
        let answer = deadline::within(deadlines.first_byte.min(left), client.request(request)).await;
        let waited = begun.elapsed();
        self.spent += waited;
        let mut retry_after = None;
        let failure = match answer {
            Err(_) if left < deadlines.first_byte => self.upstream.too_late(FailureKind::TotalTimeout),
            Err(_) => self.upstream.too_late(FailureKind::FirstByteTimeout),
            Ok(Err(error)) => self.failed(&error),
            Ok(Ok(response)) if response.status().is_success() => return self.reply(response, waited),
            Ok(Ok(response)) => {
                retry_after = read_retry_after(response.headers());
                let begun = Instant::now();
                let failure = self.upstream.refused(response).await;
                self.spent += begun.elapsed();
                failure
            }
        };
        match failure.kind.is_worth_a_retry().then(|| self.next_pause(retry_after)).flatten() {
            Some(pause) => {
                self.pause = Some(pause);
                Ok(Attempt::Retry(failure))
            }
            None => Err(failure),
        }
    }

    /// Returns the pause before the next attempt; `None` if no attempt is left, or it would start too late.
    fn next_pause(&self, retry_after: Option<Duration>) -> Option<Duration> {
        let UpstreamSettings { deadlines, retries, .. } = &self.upstream.0.settings;
        if self.attempts >= retries.attempts {
            return None;
        }
        let pause = pause(retries, self.attempts, retry_after);
        let begins = self.spent.saturating_add(pause);
        (begins <= retries.within && begins < deadlines.total).then_some(pause)
    }

    fn failed(&self, error: &legacy::Error) -> Failure {
        if !error.is_connect() {
            return self.upstream.broken(FailureKind::Closed, error);
        }
        match find::<io::Error>(error) {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                self.upstream.too_late(FailureKind::ConnectTimeout)
            }
            _ => self.upstream.broken(FailureKind::Unreachable, error),
        }
    }

    fn reply(&self, response: Response<Incoming>, waited: Duration) -> Result<Attempt, Failure> {
        let coding = response.headers().get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let what = "sent a compressed answer, which was not requested";
            return Err(self.upstream.failure(FailureKind::Unusable, what, what));
        }
        Ok(Attempt::Reply(Reply::new(self.upstream.clone(), response, waited, self.spent)))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({}, attempt {})", self.uri, self.attempts)
    }
}

/// Reads the seconds of a `Retry-After` (RFC 9110 §10.2.3). Dates are ignored: clocks differ.
fn read_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The pause after so many attempts, at least as long as the service wants.
pub(crate) fn pause(retries: &Retries, attempts: u32, retry_after: Option<Duration>) -> Duration {
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

/// Returns the first error of type `E` in the chain of causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        error = this.source();
    }
    None
}
