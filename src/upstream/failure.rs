//! Failures of a service, over any transport: their kinds and their wording.

use super::quote::{chain, printable};
use super::settings::{Deadlines, UpstreamSettings};
use std::error::Error;
use std::fmt;

/// Most characters that are quoted from a service outside of an error answer.
const QUOTE_CHARS: usize = 400;

/// A service as its failures name it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(super) settings: UpstreamSettings,
    /// Scheme and authority.
    origin: String,
}

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
    /// The service reports an error in its answer.
    Reported,
    /// The answer is compressed, malformed, or longer than
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

    /// True if the service is at fault, so that another one may accept the request.
    pub(super) fn is_of_the_service(self) -> bool {
        use FailureKind::*;
        self.is_worth_a_retry() || matches!(self, FirstByteTimeout | Status(500..=599))
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

impl Service {
    /// `origin` is the scheme and the authority of its address.
    pub(crate) fn new(settings: UpstreamSettings, origin: String) -> Service {
        Service { settings, origin }
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.settings.deadlines
    }

    /// Makes text from the service safe to pass on: one line, at most 400 characters, without control
    /// characters and without the key.
    pub(crate) fn quote(&self, text: &str) -> String {
        printable(text, self.settings.credentials.secret(), QUOTE_CHARS)
    }

    /// Returns a line for the operator's log: the service, its address, and `text` made safe by
    /// [`quote`](Service::quote).
    pub(crate) fn located(&self, text: &str) -> String {
        format!("{} at {}: {}", self.settings.role, self.origin, self.quote(text))
    }

    pub(super) fn failure(
        &self,
        kind: FailureKind,
        message: impl fmt::Display,
        detail: impl fmt::Display,
    ) -> Failure {
        let UpstreamSettings { role, credentials, .. } = &self.settings;
        let detail = format!("{role} at {}: {detail}", self.origin);
        // A library may have put bytes from the service into the detail.
        let detail = printable(&detail, credentials.secret(), usize::MAX);
        Failure { kind, message: format!("The {role} {message}."), detail }
    }

    /// The failure of an answer that says or contains this.
    pub(crate) fn useless(&self, kind: FailureKind, what: impl fmt::Display) -> Failure {
        self.failure(kind, &what, &what)
    }

    pub(crate) fn too_late(&self, kind: FailureKind) -> Failure {
        let Deadlines { connect, first_byte, idle, total } = self.settings.deadlines;
        let message = match kind {
            FailureKind::ConnectTimeout => format!("could not be reached within {connect:?}"),
            FailureKind::FirstByteTimeout => format!("sent nothing within {first_byte:?}"),
            FailureKind::IdleTimeout => format!("paused for longer than {idle:?}"),
            _ => format!("took longer than {total:?}"),
        };
        self.useless(kind, message)
    }

    pub(crate) fn broken(&self, kind: FailureKind, error: &dyn Error) -> Failure {
        let message = match kind {
            FailureKind::Unreachable => "could not be reached",
            FailureKind::Closed => "closed the connection without an answer",
            _ => "broke off its answer",
        };
        self.failure(kind, message, format_args!("{message}: {}", chain(error)))
    }
}
