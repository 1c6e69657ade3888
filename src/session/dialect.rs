//! Which messages one client may be sent, and in which form.
//!
//! The session always speaks in full. [`Dialect::shape`] is the one place that drops a message, or the
//! part of one, that the client has not asked for.

use super::message::{ClientMessage, Code, Fault, ServerMessage, StartSession, Timestamps};
use serde::{Deserialize, Serialize};

/// Messages that one client understands: set by the opening handshake, updated by each `start_session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// The client negotiated the subprotocol `aloud.v1`.
    is_v1: bool,
    /// The client asked for an option of `aloud.v1` in a `start_session`, and knows its messages.
    has_opted_in: bool,
    /// The times that the client asked for, for the current stream.
    timestamps: Timestamps,
    /// The client named an audio format for the current stream.
    has_audio_options: bool,
}

impl Dialect {
    /// The dialect of a client that has not started a stream.
    pub fn new(is_v1: bool) -> Dialect {
        Dialect { is_v1, has_opted_in: false, timestamps: Timestamps::None, has_audio_options: false }
    }

    /// True if the client negotiated `aloud.v1`.
    pub fn is_v1(self) -> bool {
        self.is_v1
    }

    /// The dialect for a stream that starts with these options. Opting in lasts for the connection.
    pub(super) fn with(self, start: &StartSession) -> Dialect {
        Dialect {
            is_v1: self.is_v1,
            has_opted_in: self.has_opted_in || start.has_options(),
            timestamps: start.timestamps.unwrap_or(Timestamps::None),
            has_audio_options: start.audio.is_some(),
        }
    }

    /// True if the client may send, and is sent, more than the messages of the base protocol.
    pub(super) fn knows_v1(self) -> bool {
        self.is_v1 || self.has_opted_in
    }

    /// True if sentences carry offsets, and with their end a CRC.
    pub(super) fn has_figures(self) -> bool {
        self.is_v1 || self.timestamps != Timestamps::None
    }

    /// True if the client is sent the times of words.
    pub(super) fn has_word_times(self) -> bool {
        self.timestamps == Timestamps::Word
    }

    /// True if the session needs the times of words: a `cancelled` names the words that were played.
    pub(super) fn needs_word_times(self) -> bool {
        self.is_v1 || self.has_word_times()
    }

    /// Refuses a message that the client has not opted in to.
    pub(super) fn check(self, message: &ClientMessage) -> Result<(), Fault> {
        if self.knows_v1() || message.is_base() {
            return Ok(());
        }
        let text = format!(
            "There is no message of type {:?} without the subprotocol aloud.v1.",
            message.type_name()
        );
        Err(Fault::new(Code::UnknownType, text))
    }

    /// The message as this client may see it; `None` if it may not.
    pub(super) fn shape(self, mut message: ServerMessage) -> Option<ServerMessage> {
        let is_allowed = match &mut message {
            ServerMessage::StreamStart { .. } => self.is_v1 || self.has_audio_options,
            ServerMessage::Text { at, .. } => {
                at.take_if(|_| !self.has_figures());
                true
            }
            ServerMessage::SentenceEnd { figures, .. } => {
                figures.take_if(|_| !self.has_figures());
                true
            }
            ServerMessage::Timestamps { words, .. } => self.has_word_times() && !words.is_empty(),
            ServerMessage::Paused { .. } | ServerMessage::Resumed { .. } | ServerMessage::GoAway { .. } => {
                self.is_v1
            }
            ServerMessage::Warning { .. } => self.knows_v1(),
            // A base client learns of its own silence by the Close alone.
            ServerMessage::Error { fault: Some((Code::IdleTimeout | Code::SlowClient, _)), .. } => self.is_v1,
            ServerMessage::Error { fault, .. } => {
                fault.take_if(|_| !self.is_v1);
                true
            }
            ServerMessage::SessionStart { greeting, .. } => {
                greeting.take_if(|_| !self.is_v1);
                true
            }
            ServerMessage::SessionEnd { end } => {
                end.take_if(|_| !self.is_v1);
                true
            }
            _ => true,
        };
        is_allowed.then_some(message)
    }
}
