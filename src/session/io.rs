//! Events that a session takes, and the work that it asks for.

use super::SessionConfig;
use super::conversation::Turn;
use super::message::{Close, Code, Recover, ServerMessage};
use crate::access::QuotaReached;
use crate::access::credential::Token;
use crate::audio::Format;
use crate::text::words::Word;
use hyper::body::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// An event for [`Session::handle`](super::Session::handle).
#[derive(Debug)]
pub enum Input<'a> {
    /// The client must show a credential before anything else, within `auth_timeout`.
    AwaitCredential,
    /// A text message arrived.
    Message(&'a str),
    /// There is time to read a little of the text, as long as the session
    /// [is behind](super::Session::is_behind).
    Read,
    /// A binary message of this many bytes arrived. The protocol has none: it only counts.
    Binary(usize),
    /// From now on, the reason why the client may start nothing; `None` if it may.
    Hold(Option<QuotaReached>),
    /// The engine reports on the sentences of [`Output::Speak`], in order.
    Engine(Engine<'a>),
    /// The writer reports on [`Output::Write`].
    Writer(Written<'a>),
    /// The answer to a question of the session.
    Answer(Answer),
    /// The client has this much of this stream: the answer to [`Session::ask`](super::Session::ask).
    Confirmed {
        /// The number of the stream, from 1.
        stream: u64,
        /// Audio bytes.
        offset: u64,
    },
    /// The client has used up its quota of speech. Sentences that were begun are still spoken.
    Exhausted,
    /// [`Session::next_deadline`](super::Session::next_deadline) has passed.
    Due,
    /// The server stops: a running stream may finish within this time, then the connection is closed.
    Drain(Duration),
    /// Another process will continue the session: no sentence is begun any more, and those that were come to their
    /// end until it [is settled](super::Session::is_settled).
    Settle,
    /// The client has sent no frame for too long. A resumable session can still be recovered.
    Silence,
    /// The client has read nothing for too long. A resumable session can still be recovered.
    Stall,
    /// The sessions of the server hold too much together, and this one has to go. A resumable session can still
    /// be recovered.
    Crowded,
    /// The connection is lost. The listener's clock stops, and nothing more is sent.
    Disconnected,
}

/// A report of the engine on the oldest sentence that it speaks.
#[derive(Debug)]
pub enum Engine<'a> {
    /// The next chunk of its audio: whole samples or frames.
    Audio(Bytes),
    /// It is time for the next piece of the pause before its audio, which
    /// [`Session::owes_silence`](super::Session::owes_silence) asked for.
    Silence,
    /// Silence at its end, where the audio does not show it: that of an encoding of frames.
    Quiet(Duration),
    /// Times of its words.
    Words(&'a [Word]),
    /// A warning for the client.
    Warning {
        /// For programs, such as `retrying_engine`.
        code: &'static str,
        /// For a person.
        message: String,
        /// Ranges of the sentence that it is about, in bytes.
        text_ranges: &'a [Range<usize>],
    },
    /// The sentence failed; its end follows. A fatal code ends the session.
    Failed {
        /// The kind of failure.
        code: Code,
        /// For a person.
        message: &'a str,
    },
    /// The sentence is over.
    Finished,
    /// All speech has stopped, as [`Output::StopSpeaking`] asked for.
    Stopped {
        /// Audio that was synthesised and never taken, in bytes.
        buffered_bytes: u64,
    },
}

/// A report of the writer.
#[derive(Debug)]
pub enum Written<'a> {
    /// The next piece of text, which may be cut anywhere.
    Text(&'a str),
    /// A warning for the client.
    Warning {
        /// For programs.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// The writer failed, which also ends its text. The text before the failure is still spoken.
    Failed {
        /// The kind of failure.
        code: Code,
        /// For a person.
        message: &'a str,
    },
    /// The text is complete.
    Finished,
}

/// An answer to [`Output::Authenticate`] or [`Output::Recover`].
#[derive(Debug)]
pub enum Answer {
    /// The credential is valid. From now on these settings apply, if it brings its own.
    Authenticated(Option<Arc<SessionConfig>>),
    /// The credential is refused, for this reason.
    Refused(Code),
    /// This session continues on the connection of the client that asked for it, at this place.
    Recovered(Place),
    /// The requested session does not exist.
    NotRecovered {
        /// True if it existed until its resume window passed.
        is_expired: bool,
    },
    /// It cannot be found out for now if the requested session exists.
    Unreachable,
    /// The requested session cannot continue at the requested place. It still waits.
    Misplaced(Misplaced),
    /// The requested session has sent as much audio again as it may for now.
    TooOften {
        /// True if the client has used up its quota of speech instead.
        is_exhausted: bool,
    },
}

/// The place in a stream at which a client wants to continue. See [`Recover`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Audio bytes of the stream that the client has.
    pub offset: u64,
    /// Number of the stream, if the client named one.
    pub stream: Option<u64>,
    /// The last cancel that the client knows of, if it named one.
    pub rev: Option<u64>,
    /// Checksum of the client's bytes since its last `text`, if it gave one.
    pub crc32: Option<u32>,
    /// True if another take of the sentence will do.
    pub is_inexact: bool,
}

impl From<&Recover> for Place {
    fn from(recover: &Recover) -> Place {
        let Recover { offset, stream, rev, crc32, is_inexact, .. } = *recover;
        Place { offset, stream, rev, crc32, is_inexact }
    }
}

/// Reason why a session cannot continue at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// The audio is gone, or not the client's.
    Lost,
    /// The offset is within a sample or a frame, which has so many bytes.
    WithinSample(u64),
}

/// Work for the owner of a session, from [`Session::poll`](super::Session::poll).
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this message, ahead of what is in the log.
    Send(ServerMessage),
    /// Speak this sentence after those before it, and report with [`Input::Engine`].
    Speak(Box<Sentence>),
    /// Stop all speech, report nothing more of it, and answer with [`Engine::Stopped`].
    StopSpeaking,
    /// Have the prompt answered, which is the last of these turns, and report with [`Input::Writer`].
    Write {
        /// The conversation, oldest turn first.
        turns: Vec<Turn>,
        /// The language as the client named it; empty if it named none.
        language: String,
    },
    /// Stop the writer, and report nothing more of it.
    StopWriting,
    /// From now on, keep the session for a while if its connection is lost.
    Keep,
    /// Replace this session by the requested one, and give that one [`Answer::Recovered`]. If that is not
    /// possible, answer this session with the reason.
    Recover(Box<Recover>),
    /// Check this credential, and answer.
    Authenticate(Token),
    /// Close the connection once everything before it was sent.
    Close(Close),
}

/// A sentence to speak.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// Its index in the stream.
    pub index: u64,
    /// Factor of the engine's usual speed, from 0.5 to 2.0.
    pub speed: f32,
    /// The voice.
    pub voice: String,
    /// The language as the client named it; empty if it named none.
    pub language: String,
    /// True or false if the client chose whether figures and signs become words.
    pub normalize: Option<bool>,
    /// The sentence before it in the stream.
    pub previous_text: String,
    /// Format of its audio.
    pub format: Format,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
    /// True if the times of its words are needed.
    pub words: bool,
}
