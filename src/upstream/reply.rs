//! The body of an answer, while it arrives.

use super::exchange::Exchange;
use super::failure::{Failure, FailureKind};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Response, StatusCode};
use std::fmt;

/// A successful answer, while it arrives. Dropping it before its end aborts the request.
pub struct Reply {
    exchange: Exchange,
    body: Incoming,
    headers: HeaderMap,
    status: StatusCode,
}

impl Reply {
    pub(super) fn new(exchange: Exchange, response: Response<Incoming>) -> Reply {
        let (head, body) = response.into_parts();
        Reply { exchange, body, headers: head.headers, status: head.status }
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
        let chunk = self.next_bytes().await?;
        self.revive();
        Ok(chunk)
    }

    /// Notes that the bytes that came were of use, and no pause.
    pub(crate) fn revive(&mut self) {
        self.exchange.revive();
    }

    /// As [`next_chunk`](Self::next_chunk), for a caller that says which bytes are [of use](Self::revive).
    pub(crate) async fn next_bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let data = match self.exchange.wait(self.body.frame()).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.exchange.service().broken(FailureKind::Broken, &error)),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            // Trailers have none.
            if !data.is_empty() {
                self.exchange.receive(data.len())?;
                return Ok(Some(data));
            }
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.status)
    }
}
