//! The body of an answer, while it arrives.

use super::failure::{Failure, FailureKind};
use super::service::Upstream;
use super::settings::UpstreamSettings;
use crate::deadline;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Response, StatusCode};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// A successful answer, while it arrives. Dropping it before its end aborts the request.
pub struct Reply {
    upstream: Upstream,
    body: Incoming,
    headers: HeaderMap,
    status: StatusCode,
    /// Bytes of the body received.
    received: u64,
    /// Time spent waiting since the last byte of the body.
    quiet: Duration,
    /// Time spent waiting in total.
    spent: Duration,
}

impl Reply {
    pub(super) fn new(
        upstream: Upstream,
        response: Response<Incoming>,
        quiet: Duration,
        spent: Duration,
    ) -> Reply {
        let (head, body) = response.into_parts();
        Reply { upstream, body, headers: head.headers, status: head.status, received: 0, quiet, spent }
    }

    /// Returns the media type of the body; empty if the service does not name it.
    pub fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).unwrap_or_default()
    }

    /// Returns the value of a header if it is present and text. The first one counts.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the next part of the body, never empty; `None` once the body is complete.
    ///
    /// # Errors
    /// The connection broke, a deadline passed, or the body is too large. No data follows.
    ///
    /// # Cancel safety
    /// Dropping the future loses no data. The time spent waiting counts.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let UpstreamSettings { deadlines, max_body_bytes, .. } = &self.upstream.0.settings;
        loop {
            let (pause, kind) = match self.received {
                0 => (deadlines.first_byte, FailureKind::FirstByteTimeout),
                _ => (deadlines.idle, FailureKind::IdleTimeout),
            };
            let pause = pause.saturating_sub(self.quiet);
            let left = deadlines.total.saturating_sub(self.spent);
            let frame = {
                let _stopwatch =
                    Stopwatch { since: Instant::now(), totals: [&mut self.quiet, &mut self.spent] };
                deadline::within(pause.min(left), self.body.frame()).await
            };
            let data = match frame {
                Err(_) if left < pause => return Err(self.upstream.too_late(FailureKind::TotalTimeout)),
                Err(_) => return Err(self.upstream.too_late(kind)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(self.upstream.broken(FailureKind::Broken, &error)),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            if data.is_empty() {
                continue; // Trailers.
            }
            self.quiet = Duration::ZERO;
            self.received += data.len() as u64;
            if self.received > *max_body_bytes {
                let what = format!("sent more than {max_body_bytes} bytes");
                return Err(self.upstream.failure(FailureKind::Unusable, &what, &what));
            }
            return Ok(Some(data));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes so far)", self.status, self.received)
    }
}

/// Adds its lifetime to two totals when it is dropped, so that an abandoned wait counts too.
struct Stopwatch<'a> {
    since: Instant,
    totals: [&'a mut Duration; 2],
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        for total in &mut self.totals {
            **total += waited;
        }
    }
}
