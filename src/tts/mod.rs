//! Text to speech: the contract of an engine, the channel that carries its audio, and the engines.
//!
//! An engine implements [`Synthesizer`]: it takes an [`Utterance`] and returns a [`Speech`] at once,
//! the receiving end of audio that is still being synthesised. The engine writes into the other end,
//! a [`Sink`]. Dropping the `Speech` cancels the synthesis: the sink then reports [`Cancelled`], and
//! the engine stops.
//!
//! | engine | speaks with |
//! |---|---|
//! | [`Flite`] | the voice inside the binary |
//! | [`Command`] | a program on this machine |
//! | [`SpeechApi`], [`ElevenLabs`] | a service over HTTP |
//! | [`Wyoming`] | a server of Home Assistant's protocol |
//! | [`Tone`] | a tone, for tests and measurements |
//! | [`Queue`] | another engine, with a limit on utterances in flight |
//! | [`Fallback`] | a second engine while the first one fails |
//!
//! This module knows nothing of WebSocket, messages or sessions.

mod clock;
pub mod command;
mod contract;
pub(crate) mod encoded;
mod fallback;
mod flite;
pub(crate) mod guard;
mod listener;
mod narrate;
#[cfg(feature = "neural")]
mod neural;
pub(crate) mod normalized;
mod pool;
mod queue;
mod reading;
mod rounds;
mod service;
mod sink;
mod speech;
mod template;
#[cfg(test)]
mod testing;
mod tone;
pub mod upstream;
mod wyoming;

pub use crate::audio::SampleEncoding;
pub use crate::audio::voice::{Gender, InvalidAlias, Voice, VoiceAlias};
pub use crate::text::words::Word;
pub use command::Command;
pub use contract::{Backlog, SynthesisError, SynthesisErrorKind, Synthesizer, Utterance};
pub use fallback::Fallback;
pub use flite::Flite;
pub use guard::Treatment;
pub(crate) use listener::Listener;
#[cfg(feature = "neural")]
pub use neural::{Neural, VoiceFile, VoiceFileError};
pub use queue::{Queue, QueueBounds};
pub use sink::{Cancelled, Sink};
pub use speech::{Piece, Speech, Warning};
pub use tone::Tone;
pub use upstream::{ElevenLabs, SpeechApi};
pub use wyoming::Wyoming;
