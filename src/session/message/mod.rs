//! Control messages of the session protocol: JSON in text frames.
//!
//! The readers are strict about types and ignore unknown fields. This module knows no session: the
//! session decides what a message means and whether it is allowed now.

mod client;
mod code;
mod fields;
mod server;
pub(crate) mod surrogates;
#[cfg(test)]
mod tests;
mod wire;

pub use crate::access::credential::Token;
pub use crate::text::Clean;
pub use client::{
    AudioOptions, ClientMessage, Delivery, PauseOptions, Recover, SegmentationOptions, StartFrom,
    StartSession, TextSource, Timestamps,
};
pub(crate) use code::{CLOSE_CODES, NO_CLOSE, NO_CODE};
pub use code::{Close, Code, RETRYABLE_CODES, Retry, retry};
pub use server::{
    AudioInfo, CancelledFigures, EndReason, Greeting, Limits, Passage, Recovery, SentenceFigures,
    ServerMessage, Usage, WordTimes,
};

/// Path of the session's WebSocket.
pub const PATH: &str = "/api/session/ws";

/// Subprotocol that adds to the base protocol (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "aloud.v1";

use fields::{Fields, bad, required, unknown_type};
use std::fmt;

/// An error that the client is sent. Unless its code is fatal, the session continues.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Kind of the fault, for programs.
    pub code: Code,
    /// Sentence for a person: what is wrong and what to do.
    pub message: String,
    /// The sentence at fault, if any.
    pub index: Option<u64>,
}

impl Fault {
    /// Creates a fault.
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), index: None }
    }

    /// Adds the number of the sentence at fault.
    pub fn about(self, index: u64) -> Fault {
        Fault { index: Some(index), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.name())
    }
}

impl std::error::Error for Fault {}
