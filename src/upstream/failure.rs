//! Failures of a service.

use std::error::Error;
use std::fmt;

/// Failure of a request: no reply, or an incomplete one.
///
/// `Display` is one sentence for the client, without addresses or keys. The operator also needs the
/// [`detail`](Failure::detail).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Kind of failure.
    pub kind: FailureKind,
    pub(super) message: String,
    pub(super) detail: String,
}

/// Kind of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The service could not be reached: refused, name not resolved, no valid TLS.
    Unreachable,
    /// Connecting took longer than [`Deadlines::connect`](super::Deadlines::connect).
    ConnectTimeout,
    /// The service closed the connection before it answered.
    Closed,
    /// The first byte took longer than [`Deadlines::first_byte`](super::Deadlines::first_byte).
    FirstByteTimeout,
    /// The service answered with this status, which is not a success.
    Status(u16),
    /// The service answered with a redirect. Redirects are never followed: the credentials are for this
    /// service alone.
    Redirect,
    /// A pause was longer than [`Deadlines::idle`](super::Deadlines::idle).
    IdleTimeout,
    /// The request took longer than [`Deadlines::total`](super::Deadlines::total).
    TotalTimeout,
    /// The connection broke before the body was complete.
    Broken,
    /// The body is compressed, or longer than
    /// [`UpstreamSettings::max_body_bytes`](super::UpstreamSettings::max_body_bytes).
    Unusable,
}

impl FailureKind {
    /// True if a deadline passed.
    pub fn is_timeout(self) -> bool {
        use FailureKind::*;
        matches!(self, ConnectTimeout | FirstByteTimeout | IdleTimeout | TotalTimeout)
    }

    /// True if the service did not accept the request, so that a retry repeats no work.
    pub(super) fn is_worth_a_retry(self) -> bool {
        use FailureKind::*;
        matches!(self, Unreachable | ConnectTimeout | Closed | Status(429 | 503))
    }
}

impl Failure {
    /// Returns a line for the operator's log: the service, and exactly what went wrong. It contains no key.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}
