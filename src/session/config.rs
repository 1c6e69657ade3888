//! Settings that the sessions of a server share.

use super::conversation;
use super::message::TextSource;
use super::pauses::Pauses;
use crate::access::credential::Restrictions;
use crate::access::rate::Rate;
use crate::audio::Format;
use crate::audio::voice::Voice;
use std::time::Duration;

/// Settings that the sessions of a server share.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The text that is spoken when a client gives no prompt.
    pub greeting: String,
    /// Limit on a prompt, in characters.
    pub max_prompt_chars: usize,
    /// Limit on the text that waits to be spoken, in characters.
    pub max_buffered_chars: usize,
    /// Limit on the characters that a session gives to the engine, in all its streams.
    pub max_session_chars: Option<u64>,
    /// Limit on a message, in bytes. The session announces it; the endpoint enforces it.
    pub max_message_bytes: usize,
    /// Sentences in synthesis at once in burst delivery, the one being sent included. At least 1.
    pub prefetch: usize,
    /// Speed where a client names none, from 0.5 to 2.0.
    pub speed: f32,
    /// Silence between sentences where a client names none.
    pub pauses: Pauses,
    /// Format of the audio where a client names none.
    pub format: Format,
    /// Length of a frame in milliseconds where a client names none.
    pub frame_ms: u32,
    /// All formats that the engine can produce.
    pub formats: Vec<Format>,
    /// The engine's voices, its default first.
    pub voices: Vec<Voice>,
    /// True if the engine produces the same bytes for the same sentence.
    pub is_deterministic: bool,
    /// True if delivery is paced where a client names no mode.
    pub is_paced: bool,
    /// Look-ahead of paced delivery where a client names none.
    pub ahead: Duration,
    /// True if a client that asks for burst delivery is refused.
    pub is_paced_only: bool,
    /// Largest look-ahead that a client may ask for.
    pub max_ahead: Duration,
    /// Audio bytes kept behind the listener of a resumable session.
    pub keep_bytes: u64,
    /// Interval of Pings. The session announces it; the connection sends them.
    pub heartbeat: Duration,
    /// Time for which a resumable session is kept without a connection. The session only announces it.
    pub resume_ttl: Duration,
    /// Maximum length of a session of `aloud.v1`.
    pub max_session: Duration,
    /// True if the server has a writer that answers prompts.
    pub has_writer: bool,
    /// Source of the text where a client gives a prompt and names none.
    pub source: TextSource,
    /// Limit on what a writer may write for one stream, in characters.
    pub max_script_chars: usize,
    /// Limits on the conversation that a writer is given.
    pub history: conversation::Bounds,
    /// Limit on the rate of a session's messages.
    pub messages: Option<Rate>,
    /// Longest time without a stream and without a message other than `ping`.
    pub idle_timeout: Option<Duration>,
    /// Longest time for which a client that answers pings reads nothing, while audio waits for it.
    pub stall_timeout: Duration,
    /// Longest time until `auth`, for a client that must authenticate and has not.
    pub auth_timeout: Duration,
    /// True if `max_session` applies to clients of the base protocol too.
    pub is_bounded: bool,
}

impl SessionConfig {
    /// The settings within the restrictions of a credential; `None` if the credential allows none of this
    /// server's voices.
    pub fn within(&self, restrictions: &Restrictions) -> Option<SessionConfig> {
        let mut config = SessionConfig {
            is_bounded: self.is_bounded || restrictions.max_session.is_some(),
            ..self.clone()
        };
        if let Some(names) = &restrictions.voices {
            let known = |name: &String| self.voices.iter().find(|voice| voice.name == *name).cloned();
            config.voices = names.iter().filter_map(known).collect();
            config.voices.first()?;
        }
        config.max_session_chars = self.max_session_chars.into_iter().chain(restrictions.max_chars).min();
        config.max_session = restrictions.max_session.unwrap_or(self.max_session).min(self.max_session);
        Some(config)
    }
}
