//! One request to a service, with its retries.

use super::exchange::Exchange;
use super::failure::{Failure, FailureKind};
use super::reply::Reply;
use super::service::{Prepared, Upstream};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_ENCODING, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::client::legacy;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A request, and its retries. Dropping it aborts the request.
pub struct Call {
    upstream: Upstream,
    /// The URL at each address of the service.
    uris: Vec<Uri>,
    /// Number of the address of the last attempt.
    at: usize,
    json: Bytes,
    accept: &'static str,
    exchange: Exchange,
}

/// Result of one attempt.
#[derive(Debug)]
pub enum Attempt<R = Reply> {
    /// The service answers.
    Reply(R),
    /// The service did not accept the request. The next [`Call::attempt`] retries it.
    Retry(Failure),
}

impl Call {
    pub(super) fn new(upstream: Upstream, uris: Vec<Uri>, json: Bytes, accept: &'static str) -> Call {
        let exchange = Exchange::new(Arc::clone(upstream.service()));
        Call { upstream, uris, at: 0, json, accept, exchange }
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
        self.exchange.begin().await;
        self.at = self.upstream.choose();
        let Prepared { service, headers, client, .. } = self.upstream.at(self.at);
        self.exchange.turn_to(service);
        let mut request = Request::post(self.uris[self.at].clone())
            .header(ACCEPT, self.accept)
            .body(Full::new(self.json.clone()))
            .expect("the URL was parsed, and the header is ours");
        request.headers_mut().extend(headers.clone());

        let answer = self.exchange.wait(client.request(request)).await;
        let mut retry_after = None;
        let failure = match answer {
            Err(failure) => failure,
            Ok(Err(error)) => self.failed(&error),
            Ok(Ok(response)) if response.status().is_success() => return self.reply(response),
            Ok(Ok(response)) => {
                retry_after = read_retry_after(response.headers());
                let begun = Instant::now();
                let failure = self.upstream.at(self.at).refused(response).await;
                self.exchange.patience.spend(begun.elapsed());
                failure
            }
        };
        let is_elsewhere = failure.kind.is_of_the_service() && self.upstream.failed(self.at);
        self.exchange.retry(failure, retry_after, is_elsewhere).map(Attempt::Retry)
    }

    fn failed(&self, error: &legacy::Error) -> Failure {
        let service = self.exchange.service();
        if !error.is_connect() {
            return service.broken(FailureKind::Closed, error);
        }
        match find::<io::Error>(error) {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                service.too_late(FailureKind::ConnectTimeout)
            }
            _ => service.broken(FailureKind::Unreachable, error),
        }
    }

    fn reply(&self, response: Response<Incoming>) -> Result<Attempt, Failure> {
        let coding = response.headers().get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let what = "sent a compressed answer, which was not requested";
            return Err(self.exchange.service().useless(FailureKind::Unusable, what));
        }
        Ok(Attempt::Reply(Reply::new(self.exchange.clone(), response)))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.uris[self.at])
    }
}

/// Reads the seconds of a `Retry-After` (RFC 9110 §10.2.3). Dates are ignored: clocks differ.
fn read_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
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
