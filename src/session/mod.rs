//! The session: what a client says and what an engine gives go in; what to send, to speak, to
//! cancel and to close comes out.
//!
//! Knows no socket, no engine and no clock. Answers to the client are [`Action`]s and leave at
//! once; everything that belongs to the stream goes through the [`Log`](crate::session::log::Log), so that
//! order, pause, pace and recovery hold for all of it alike.

pub mod conversation;
mod ear;
pub mod log;
pub mod message;
mod stream;
mod synthesis;
#[cfg(test)]
mod tests;

use crate::access::Held;
use crate::access::credential::{self, Token};
use crate::access::rate::{Bucket, Rate};
use crate::audio::Format;
use crate::audio::voice::{self, Voice};
use crate::session::conversation::{Conversation, Turn};
use crate::session::message::{
    AudioInfo, ClientMessage, Code, EndReason, Fault, Greeting, Limits, Recover, ServerMessage, StartSession,
    TextSource, Usage,
};
use crate::text::words::Word;
use crate::ws::endpoint::CloseCode;
use crate::ws::frames::{Batch, Sent};
pub use ear::Heard;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::Stream;

/// Messages that cannot be understood, one after the other, before a client is given up.
const MAX_FAULTS: u32 = 100;

/// What a client is told that has been given as much as it may in a time.
const EXHAUSTED: &str =
    "This client has been given as much speech as it may have in an hour: try again later.";

/// How long before a session has to end its client is told.
const NOTICE: Duration = Duration::from_secs(30);

/// What all sessions of a server have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Spoken where a client gives no prompt.
    pub greeting: String,
    /// The longest prompt, in characters.
    pub max_prompt_chars: usize,
    /// The most characters that may wait to be spoken.
    pub max_buffered_chars: usize,
    /// The most characters that a session gives to the engine in all its streams, if there is a limit.
    pub max_session_chars: Option<u64>,
    /// The largest message, in bytes. Only told; the endpoint enforces it.
    pub max_message_bytes: usize,
    /// Sentences in synthesis at once in burst delivery, the one being sent included. At least 1.
    pub prefetch: usize,
    /// How fast to speak where a client does not say, from 0.5 to 2.0.
    pub speed: f32,
    /// The audio's format where a client does not say.
    pub format: Format,
    /// Milliseconds of audio in a frame where a client does not say.
    pub frame_ms: u32,
    /// Every format that the engine can give.
    pub formats: Vec<Format>,
    /// The engine's voices, its default first.
    pub voices: Vec<Voice>,
    /// Whether the engine gives the same bytes for the same sentence.
    pub is_deterministic: bool,
    /// Whether delivery is paced where a client does not say.
    pub is_paced: bool,
    /// How far ahead of the listener paced delivery sends where a client does not say.
    pub ahead: Duration,
    /// Audio bytes kept behind the listener of a resumable session.
    pub keep_bytes: u64,
    /// How often the peer is pinged. Only told.
    pub heartbeat: Duration,
    /// How long a resumable session is kept without a connection. Only told.
    pub resume_ttl: Duration,
    /// How long a session of `aloud.v1` may last.
    pub max_session: Duration,
    /// Whether there is a writer that answers prompts.
    pub has_writer: bool,
    /// Where the text comes from where a client gives a prompt and does not say.
    pub source: TextSource,
    /// The most characters that a writer may write for one stream.
    pub max_script_chars: usize,
    /// How much of what was said before a writer is told.
    pub history: conversation::Bounds,
    /// The most messages that a session takes in a second, if there is a limit.
    pub messages: Option<Rate>,
    /// How long there may be neither a stream nor a message but `ping`, if there is a limit.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take to show a credential, where it has to and came without.
    pub auth_timeout: Duration,
    /// Whether `max_session` holds for clients of the base protocol, too.
    pub is_bounded: bool,
}

impl Settings {
    /// The same for a session that may do less; `None` if there is no voice left for it.
    pub fn within(&self, bounds: &credential::Bounds) -> Option<Settings> {
        let mut settings =
            Settings { is_bounded: self.is_bounded || bounds.max_session.is_some(), ..self.clone() };
        if let Some(names) = &bounds.voices {
            let known = |name: &String| self.voices.iter().find(|voice| voice.name == *name).cloned();
            settings.voices = names.iter().filter_map(known).collect();
            settings.voices.first()?;
        }
        settings.max_session_chars = self.max_session_chars.into_iter().chain(bounds.max_chars).min();
        settings.max_session = bounds.max_session.unwrap_or(self.max_session).min(self.max_session);
        Some(settings)
    }
}

/// A sentence to speak, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// Its place in the stream.
    pub index: u64,
    /// How fast, from 0.5 to 2.0.
    pub speed: f32,
    /// The voice.
    pub voice: String,
    /// The language as the client named it, if it did.
    pub language: String,
    /// The sentence before it in the stream.
    pub previous_text: String,
    /// The format of its audio.
    pub format: Format,
    /// Payload bytes of one frame.
    pub frame_bytes: usize,
    /// Whether the times of its words are wanted.
    pub words: bool,
}

/// What the owner of a session has to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this control message, ahead of what is in the log.
    Send(ServerMessage),
    /// Start to speak this sentence and report what comes of it, behind the sentences before it.
    Speak(Box<Sentence>),
    /// Have these turns answered, the last of them the prompt, and report what is written: with
    /// [`on_fragment`](Session::on_fragment), and once with
    /// [`on_script_end`](Session::on_script_end) or
    /// [`on_script_failure`](Session::on_script_failure).
    Write {
        /// The conversation, oldest turn first.
        turns: Vec<Turn>,
        /// The language as the client named it, if it did.
        language: String,
    },
    /// Stop what was begun with `Write`, of which nothing is reported any more.
    StopWriting,
    /// Stop all speech, of which nothing is reported any more, and call
    /// [`on_cancelled`](Session::on_cancelled).
    Cancel,
    /// From now on, keep the session for a while should its connection be lost.
    Keep,
    /// Continue that session, on this connection, in place of this one; or call
    /// [`on_not_recovered`](Session::on_not_recovered).
    Recover(Box<Recover>),
    /// Check this credential, and call [`on_authenticated`](Session::on_authenticated) or
    /// [`on_refused`](Session::on_refused).
    Authenticate(Token),
    /// Close the connection once everything before it was sent.
    Close(CloseCode, &'static str),
}

/// What a session that has a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No stream is running.
    Idle,
    /// A stream is.
    Streaming,
    /// One is, and its client has paused it.
    Paused,
}

impl Phase {
    /// Each of them, in the order of their numbers.
    pub const ALL: [Phase; 3] = [Phase::Idle, Phase::Streaming, Phase::Paused];

    /// The name for an operator.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Streaming => "streaming",
            Phase::Paused => "paused",
        }
    }
}

/// What a session has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams that were started.
    pub streams: u64,
    /// Characters that were given to the engine.
    pub chars: u64,
    /// Audio that was sent.
    pub audio: Duration,
    /// How long it has lasted, with the time without a connection.
    pub lasted: Duration,
}

/// What follows once all speech has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterCancel {
    Tell { played_ms: Option<u64> },
    End(EndReason),
    Restart,
}

/// One client's session.
///
/// Kept in this order: what every step of a stream reads comes first, in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct Session {
    /// When something was last heard or sent that is no mere sign of life.
    active: Instant,
    /// Only a client of `aloud.v1` has one.
    token: Option<Token>,
    is_paused: bool,
    is_draining: bool,
    /// The close was decided on: there is nothing more to say.
    is_over: bool,
    /// It was decided on because everything was sent, of which some may be lost on its way.
    is_complete: bool,
    /// The client has shown no credential, and must.
    awaits_auth: bool,
    /// The client has been given as much as it may in a time.
    is_exhausted: bool,
    /// The client asked for an option of `aloud.v1`, and knows its messages.
    has_opted_in: bool,
    /// The client was told that its time runs out.
    is_warned: bool,
    /// Why nothing may be started now.
    held: Option<Held>,
    actions: VecDeque<Action>,
    /// Not boxed: a step would have to fetch it from somewhere else.
    stream: Option<Stream>,
    settings: Arc<Settings>,
    id: Arc<str>,
    /// What was said in turn, once a writer was asked. Boxed: few sessions have one.
    conversation: Option<Box<Conversation>>,
    began: Instant,
    streams: u64,
    /// Audio that was made for nobody, in all streams before this one.
    wasted: Duration,
    /// Characters that these gave to the engine.
    spoken_chars: u64,
    /// Audio of them that was sent, in ms.
    audio_ms: u64,
    /// Messages in a row that could not be understood.
    faults: u32,
    /// Messages in a row that were more than there may be.
    excess: u32,
    /// How many more there may be, if there is a limit.
    messages: Option<Bucket>,
}

impl Session {
    /// A new session; its first action greets the client. One that speaks `aloud.v1` has a token,
    /// with which it can be recovered.
    pub fn new(settings: Arc<Settings>, id: String, token: Option<String>, now: Instant) -> Session {
        let greeting = token.as_ref().map(|token| Box::new(greeting(&settings, token)));
        let greet = Action::Send(ServerMessage::SessionStart { session_id: id.clone(), greeting });
        Session {
            id: id.into(),
            token: token.map(Token::made),
            stream: None,
            conversation: None,
            actions: VecDeque::from([greet]),
            began: now,
            streams: 0,
            wasted: Duration::ZERO,
            spoken_chars: 0,
            audio_ms: 0,
            faults: 0,
            excess: 0,
            messages: settings.messages.map(|rate| Bucket::full(rate, now)),
            active: now,
            awaits_auth: false,
            held: None,
            is_exhausted: false,
            settings,
            is_paused: false,
            is_draining: false,
            has_opted_in: false,
            is_warned: false,
            is_over: false,
            is_complete: false,
        }
    }

    /// The id that the client was told.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same, to be kept.
    pub fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// The secret that the client was told, if it speaks `aloud.v1`.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Token::reveal)
    }

    /// Whether the client speaks `aloud.v1`.
    pub fn is_v1(&self) -> bool {
        self.token.is_some()
    }

    /// Streams that were started so far.
    pub fn streams(&self) -> u64 {
        self.streams
    }

    /// What it does.
    pub fn phase(&self) -> Phase {
        match &self.stream {
            Some(stream) if stream.is_finished => Phase::Idle,
            Some(_) if self.is_paused => Phase::Paused,
            Some(_) => Phase::Streaming,
            None => Phase::Idle,
        }
    }

    /// Where the text of the stream comes from, if there is one.
    pub fn stream_source(&self) -> Option<TextSource> {
        self.stream.as_ref().map(|stream| stream.synthesis.source)
    }

    /// What it has come to.
    pub fn totals(&self, now: Instant) -> Totals {
        let open = self.stream.as_ref().map(Stream::usage);
        let (chars, audio_ms) = open.map_or((0, 0), |usage| (usage.chars, usage.audio_ms));
        Totals {
            streams: self.streams,
            chars: self.spoken_chars + chars,
            audio: Duration::from_millis(self.audio_ms + audio_ms),
            lasted: now.saturating_duration_since(self.began),
        }
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if self.actions.is_empty() {
            // An idle session keeps no queue.
            self.actions = VecDeque::new();
        }
        action
    }

    /// Whether there is something to do.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    fn send(&mut self, message: ServerMessage) {
        self.actions.push_back(Action::Send(message));
    }

    fn refuse(&mut self, fault: Fault) {
        let message = fault_message(fault, self.is_v1());
        self.send(message);
    }

    /// Decides on the close. There is nothing to say behind it.
    fn close(&mut self, code: CloseCode, reason: &'static str) {
        if !self.is_over {
            self.is_over = true;
            self.actions.push_back(Action::Close(code, reason));
        }
    }

    /// Lets the client do nothing but show a credential, for which it has `auth_timeout`.
    pub fn await_auth(&mut self) {
        self.awaits_auth = true;
    }

    /// The credential is a good one; from now on these settings hold, if they are others.
    pub fn on_authenticated(&mut self, settings: Option<Arc<Settings>>) {
        self.awaits_auth = false;
        if let Some(settings) = settings {
            self.settings = settings;
        }
    }

    /// The credential is of no use, for this reason.
    pub fn on_refused(&mut self, code: Code) {
        let (close, message) = match code {
            Code::Forbidden => (4403, "The credential is good for no voice that there is."),
            Code::RateLimited => (4429, "There are as many connections as this client may have."),
            _ => (4401, "The credential is not, or no longer, a good one."),
        };
        self.refuse(Fault::new(code, message));
        self.close(CloseCode(close), message);
    }

    /// Says why nothing may be started from now on, if that is so.
    pub fn hold(&mut self, why: Option<Held>) {
        self.held = why;
    }

    /// Takes a text message. One that cannot be understood, or does not fit the moment, is
    /// answered with an error and changes nothing.
    pub fn on_text(&mut self, now: Instant, text: &str) {
        if self.is_over {
            return;
        }
        if !self.may_take_another(now) {
            return;
        }
        let message = ClientMessage::parse(text).and_then(|message| self.known(message));
        if self.awaits_auth {
            return match message {
                Ok(ClientMessage::Auth { token }) => self.actions.push_back(Action::Authenticate(token)),
                _ => self.give_up_on_auth("The first message must be auth, with a token."),
            };
        }
        if !matches!(message, Ok(ClientMessage::Ping { .. })) {
            self.active = now;
        }
        match message {
            Ok(message) => {
                self.faults = 0;
                if let Err(fault) = self.on_message(now, message) {
                    self.refuse(fault);
                }
            }
            Err(fault) => {
                self.faults += 1;
                self.refuse(fault);
                if self.is_v1() && self.faults >= MAX_FAULTS {
                    self.close(CloseCode(4400), "Too many messages that cannot be understood");
                }
            }
        }
    }

    /// Counts a message. One too many is answered, and not taken.
    fn may_take_another(&mut self, now: Instant) -> bool {
        let (Some(rate), Some(bucket)) = (self.settings.messages, &mut self.messages) else { return true };
        if bucket.take(rate, 1, now).is_ok() {
            self.excess = 0;
            return true;
        }
        self.excess += 1;
        self.refuse(Fault::new(Code::RateLimited, "Too many messages come at once: this one was not taken."));
        if self.excess >= MAX_FAULTS {
            let close = if self.is_v1() { CloseCode(4429) } else { CloseCode::POLICY };
            self.close(close, "Too many messages");
        }
        false
    }

    fn give_up_on_auth(&mut self, message: &'static str) {
        self.refuse(Fault::new(Code::Unauthorized, message));
        self.close(CloseCode(4401), message);
    }

    /// A client of the base protocol has only that protocol's messages.
    fn known(&self, message: ClientMessage) -> Result<ClientMessage, Fault> {
        if self.is_v1() || self.has_opted_in || message.is_base() {
            return Ok(message);
        }
        let message = format!(
            "There is no message of type {:?} without the subprotocol aloud.v1.",
            message.type_name()
        );
        Err(Fault::new(Code::UnknownType, message))
    }

    fn on_message(&mut self, now: Instant, message: ClientMessage) -> Result<(), Fault> {
        match message {
            ClientMessage::StartSession(start) => self.start(now, *start)?,
            ClientMessage::Pause => self.pause(now),
            ClientMessage::Resume => self.resume(now),
            ClientMessage::End { drain: true } if self.running().is_some() => {
                let stream = self.running().expect("asked for just now");
                stream.synthesis.drain();
                self.advance();
            }
            ClientMessage::End { .. } => self.cancel(now, AfterCancel::End(EndReason::Ended)),
            ClientMessage::Append { text } => {
                let most = self.settings.max_buffered_chars;
                self.started()?.append(now, &text, most)?;
                self.advance();
            }
            ClientMessage::Flush => {
                let index = self.started()?.synthesis.flush();
                self.send(ServerMessage::Flushed { index });
                self.advance();
            }
            ClientMessage::Cancel { played_ms } => match self.running() {
                Some(_) => self.cancel(now, AfterCancel::Tell { played_ms }),
                None => return Err(Fault::new(Code::NothingToCancel, "Nothing is being spoken.")),
            },
            ClientMessage::Ack { played_ms } => self.started()?.acknowledge(now, played_ms),
            ClientMessage::Update { voice, language, speed } => {
                let settings = Arc::clone(&self.settings);
                let voice = voice.map(|voice| known_voice(&settings, &voice)).transpose()?;
                self.started()?.synthesis.update(&settings, voice, language, speed);
            }
            ClientMessage::Recover(_) if self.streams > 0 || !self.is_v1() => {
                let message = "recover must be the first message on a connection that speaks aloud.v1.";
                return Err(Fault::new(Code::BadMessage, message));
            }
            ClientMessage::Recover(recover) => self.actions.push_back(Action::Recover(recover)),
            // Where none is asked for, or none any more, one does no harm.
            ClientMessage::Auth { .. } => {}
            ClientMessage::Ping { id } => self.send(ServerMessage::Pong { id }),
        }
        Ok(())
    }

    /// The stream, unless it is over.
    fn running(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut().filter(|stream| !stream.is_finished)
    }

    fn started(&mut self) -> Result<&mut Stream, Fault> {
        self.running()
            .ok_or_else(|| Fault::new(Code::NotStarted, "No stream is running: send start_session."))
    }

    fn start(&mut self, now: Instant, start: StartSession) -> Result<(), Fault> {
        if self.running().is_some() {
            return Err(Fault::new(Code::AlreadyStarted, "Session already streaming"));
        }
        if let Some(why) = self.held {
            let message = match why {
                Held::Sessions => {
                    "This client has as many sessions as it may: end another, or try again later."
                }
                Held::Speech => EXHAUSTED,
            };
            return Err(Fault::new(Code::RateLimited, message));
        }
        let source = self.source(&start)?;
        if start.resumable && !self.is_v1() {
            let message = "A resumable session needs the subprotocol aloud.v1, which tells its token.";
            return Err(Fault::new(Code::BadMessage, message));
        }
        let has_opted_in = self.has_opted_in || start.has_options();
        let prompt = start.prompt.clone().filter(|_| source == TextSource::Llm);
        let start = StartSession { source: Some(source), ..start };
        let mut stream = Stream::new(&self.settings, start, self.is_v1(), has_opted_in, now)?;
        self.retire_stream();
        stream.synthesis.chars_left =
            self.settings.max_session_chars.map(|most| most.saturating_sub(self.spoken_chars));
        self.has_opted_in = has_opted_in;
        self.streams += 1;
        if stream.synthesis.tells_its_start {
            let (audio, voice) = (AudioInfo(stream.format()), stream.synthesis.voice.clone());
            self.send(ServerMessage::StreamStart { audio, voice, source: stream.synthesis.source.name() });
        }
        if stream.synthesis.is_resumable {
            self.actions.push_back(Action::Keep);
        }
        if let Some(prompt) = prompt.filter(|_| stream.synthesis.is_writing()) {
            let turns = self.conversation.get_or_insert_default().ask(&prompt, self.settings.history);
            self.actions.push_back(Action::Write { turns, language: stream.synthesis.language.clone() });
        }
        self.stream = Some(stream);
        if self.is_paused {
            self.shut(now);
        }
        self.advance();
        Ok(())
    }

    /// Where the text of a stream comes from.
    fn source(&self, start: &StartSession) -> Result<TextSource, Fault> {
        match start.source.unwrap_or(self.settings.source) {
            TextSource::Llm if !self.settings.has_writer => {
                let message = "This server has no language model: \"source\" can be verbatim or append.";
                Err(Fault::new(Code::BadMessage, message))
            }
            // Nothing is asked: the greeting is spoken as it stands.
            TextSource::Llm if start.prompt.is_none() => Ok(TextSource::Verbatim),
            source => Ok(source),
        }
    }

    fn shut(&mut self, now: Instant) {
        if let Some(stream) = self.stream.as_mut() {
            stream.log.shut(now);
            stream.ear.on_interruption();
        }
    }

    fn pause(&mut self, now: Instant) {
        self.is_paused = true;
        self.shut(now);
        if self.is_v1() {
            let offset = self.sent_bytes();
            self.send(ServerMessage::Paused { offset });
        }
    }

    fn resume(&mut self, now: Instant) {
        if self.is_v1() {
            let offset = self.sent_bytes();
            self.send(ServerMessage::Resumed { offset });
        }
        if std::mem::replace(&mut self.is_paused, false)
            && let Some(stream) = self.stream.as_mut()
        {
            stream.log.open(now);
        }
        self.finish_if_sent();
    }

    fn sent_bytes(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.log.sent_bytes())
    }

    fn cancel(&mut self, now: Instant, after: AfterCancel) {
        match self.running() {
            Some(stream) => {
                stream.synthesis.cancelling = Some((now, after));
                if stream.synthesis.is_writing() {
                    self.actions.push_back(Action::StopWriting);
                }
                self.actions.push_back(Action::Cancel);
            }
            // `end` without a stream.
            None => match after {
                AfterCancel::End(reason) => self.end(reason, None),
                AfterCancel::Tell { .. } | AfterCancel::Restart => {}
            },
        }
    }

    /// All speech has stopped; this many bytes of it had been made and were never taken.
    pub fn on_cancelled(&mut self, untaken_bytes: u64) {
        let Some(stream) = self.stream.as_mut() else { return };
        let Some((now, after)) = stream.synthesis.cancelling.take() else { return };
        if after != AfterCancel::Restart
            && let Some(offset) = stream.synthesis.recovering.take()
        {
            // It has come back, and what was to be spoken again for it is cancelled.
            let index = stream.synthesis.index_at(offset);
            self.actions.push_back(Action::Send(ServerMessage::Recovered { offset, index }));
        }
        let figures = stream.cancel(now, untaken_bytes, after);
        let is_answer = stream.synthesis.source == TextSource::Llm;
        match after {
            AfterCancel::Tell { .. } => {
                if is_answer {
                    // Nobody remembers having been told what nobody heard.
                    self.remember(&figures.spoken_text);
                }
                self.send(ServerMessage::Cancelled(Box::new(figures)));
                self.advance();
            }
            AfterCancel::End(reason) => {
                let end = self.is_v1().then(|| self.stream.as_ref().map(|stream| (reason, stream.usage())));
                self.retire_stream();
                self.end(reason, end.flatten());
            }
            AfterCancel::Restart => self.advance(),
        }
    }

    fn end(&mut self, reason: EndReason, end: Option<(EndReason, Usage)>) {
        let end = self.is_v1().then(|| Box::new(end.unwrap_or((reason, Usage::default()))));
        self.send(ServerMessage::SessionEnd { end });
        let words = match reason {
            EndReason::Expired => "The session lasted as long as it may",
            _ => "Session ended by client",
        };
        self.close(CloseCode::NORMAL, words);
    }

    /// Lets go of the stream.
    fn retire_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            let usage = stream.usage();
            self.wasted += Duration::from_millis(usage.wasted_ms);
            self.spoken_chars += usage.chars;
            self.audio_ms += usage.audio_ms;
        }
    }

    /// Takes the next chunk of the sentence that is being spoken: whole samples.
    pub fn on_audio(&mut self, chunk: Bytes) {
        let Some(stream) = self.stream.as_mut() else { return };
        let position = stream.synthesis.recovering;
        let done = stream.on_audio(chunk);
        self.on_repeated(position, done);
    }

    /// Tells what became of a position whose audio had to be spoken again, if it did.
    fn on_repeated(&mut self, position: Option<u64>, done: Result<(), ()>) {
        let Some(stream) = self.stream.as_mut() else { return };
        match done {
            Err(()) => self.lose_position(position.is_some()),
            Ok(()) if stream.synthesis.recovering.is_none() => {
                if let Some(offset) = position {
                    let index = stream.synthesis.index_at(offset);
                    self.send(ServerMessage::Recovered { offset, index });
                }
            }
            Ok(()) => {}
        }
    }

    /// Takes times of words of the sentence that is being spoken.
    pub fn on_words(&mut self, words: &[Word]) {
        if let Some(stream) = self.stream.as_mut() {
            stream.on_words(words, false);
        }
    }

    /// Takes what the client should know of the sentence that is being spoken.
    pub fn on_warning(&mut self, code: &'static str, message: String) {
        if self.is_v1() || self.has_opted_in {
            self.send(ServerMessage::Warning { code, message });
        }
    }

    /// Takes the failure of the sentence that is being spoken; its end is still to be told. A fatal
    /// one is the end of the session.
    pub fn on_failure(&mut self, code: Code, message: &str) {
        if code.is_fatal() {
            self.refuse(Fault::new(code, message));
            self.retire_stream();
            let close = if self.is_v1() { CloseCode(4503) } else { CloseCode::OVERLOADED };
            return self.close(close, "Overloaded: try again later");
        }
        if let Some(stream) = self.stream.as_mut() {
            stream.on_failure(code, message);
        }
    }

    /// Whether the sentence that is being spoken has audio, and has not failed.
    pub fn is_sound(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.synthesis.is_sound())
    }

    /// The client has been given as much as it may in a time. What was begun is still heard, and is
    /// the end of the session if there was more to come.
    pub fn on_exhausted(&mut self) {
        let Some(stream) = self.running() else { return };
        let was_writing = stream.synthesis.is_writing();
        stream.synthesis.stop_if_unfinished();
        if was_writing {
            self.actions.push_back(Action::StopWriting);
        }
        self.is_exhausted = true;
        self.finish_if_sent();
    }

    /// Takes the end of the sentence that is being spoken.
    pub fn on_spoken(&mut self) {
        let Some(stream) = self.stream.as_mut() else { return };
        let position = stream.synthesis.recovering;
        let done = stream.on_spoken();
        self.on_repeated(position, done);
        self.advance();
    }

    /// Whether more of what is being written should be taken now.
    pub fn wants_text(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.synthesis.wants_text(self.settings.max_buffered_chars))
    }

    /// Takes the next piece of what is being written, which may be cut anywhere. Beyond the limit
    /// the writer is stopped, and what there is until then is the answer.
    pub fn on_fragment(&mut self, now: Instant, text: &str) {
        let most = self.settings.max_script_chars;
        let Some(stream) = self.running().filter(|stream| stream.synthesis.is_writing()) else { return };
        if stream.synthesis.take_written(now, text, most) {
            self.actions.push_back(Action::StopWriting);
            let message = format!("The answer is over {most} characters: the rest is left out.");
            self.on_warning("text_limit", message);
            return self.on_script_end();
        }
        self.advance();
    }

    /// Takes the end of what was written.
    pub fn on_script_end(&mut self) {
        let Some(stream) = self.running().filter(|stream| stream.synthesis.is_writing()) else { return };
        let written = stream.synthesis.end_text();
        self.remember(&written);
        self.advance();
    }

    /// Takes the failure of what is being written; it is its end as well. What was written before
    /// is still spoken.
    pub fn on_script_failure(&mut self, code: Code, message: &str) {
        let Some(stream) = self.running().filter(|stream| stream.synthesis.is_writing()) else { return };
        stream.synthesis.end_reason = EndReason::Error;
        let written = stream.synthesis.end_text();
        match written.trim() {
            // Its client may well ask again.
            "" => self.conversation.iter_mut().for_each(|conversation| conversation.forget_last()),
            written => self.remember(written),
        }
        self.refuse(Fault::new(code, message));
        self.advance();
    }

    /// What was answered to the last prompt, for the prompts behind it.
    fn remember(&mut self, answer: &str) {
        if let Some(conversation) = &mut self.conversation {
            conversation.answer(answer);
        }
    }

    /// Starts what can be started, announces what comes to be heard, and ends what is over.
    fn advance(&mut self) {
        if let Some(stream) = self.stream.as_mut() {
            while let Some(sentence) = stream.next_sentence(self.settings.prefetch) {
                self.actions.push_back(Action::Speak(Box::new(sentence)));
            }
        }
        self.finish_if_sent();
    }

    /// Whether speech should be taken from the engine now.
    pub fn wants_speech(&self, now: Instant) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.wants_speech(now))
    }

    /// Whether something of the stream may be sent now.
    pub fn has_output(&self, now: Instant) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.is_finished && stream.log.has_output(now))
    }

    /// Collects what may be sent now.
    pub fn fill(&self, now: Instant, batch: &mut Batch) {
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_finished) {
            stream.log.fill(now, batch);
        }
    }

    /// Tells what of it was sent, piece by piece. Returns what its listener had to wait for.
    pub fn sent(&mut self, now: Instant, what: Sent) -> Option<Heard> {
        let stream = self.stream.as_mut()?;
        let heard = stream.sent(now, what);
        self.active = now;
        self.finish_if_sent();
        heard
    }

    fn finish_if_sent(&mut self) {
        let is_paused = self.is_paused;
        if let Some(stream) = self.running()
            && stream.is_all_sent()
            // Of a cancelled stream nothing is left for a pause to hold.
            && (!is_paused || stream.synthesis.end_reason == EndReason::Cancelled)
        {
            stream.is_finished = true;
            let reason = stream.synthesis.end_reason;
            let closes = stream.synthesis.drains;
            let keeps = stream.synthesis.is_resumable;
            let is_over_limit = stream.synthesis.is_over_limit;
            let usage = stream.usage();
            let end = self.is_v1().then(|| Box::new((reason, usage)));
            if is_over_limit {
                self.refuse(match self.is_exhausted {
                    true => Fault::new(Code::TextTooLong, EXHAUSTED),
                    false => text_limit(),
                });
            }
            self.send(ServerMessage::SessionEnd { end });
            if !keeps {
                self.retire_stream();
            }
            self.is_complete = !self.is_over && (is_over_limit || closes);
            if is_over_limit {
                let code = if self.is_v1() { CloseCode(4413) } else { CloseCode::POLICY };
                self.close(code, "The session has spoken as much as it may");
            }
            if closes {
                self.close(CloseCode::NORMAL, "Session ended by client");
            }
        }
        self.close_if_drained();
    }

    /// When something of the stream may be sent that must not be sent yet, if time alone decides.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.stream.as_ref().and_then(|stream| stream.opens_at(now))
    }

    /// When to call [`on_time`](Self::on_time), if nothing happens before. Does not change by
    /// what is sent, but for being later.
    pub fn next_time(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let expires = self.is_limited().then(|| {
            let end = self.began + self.settings.max_session;
            if self.is_warned || !self.is_v1() { end } else { end.checked_sub(NOTICE).unwrap_or(end) }
        });
        let stream = self.stream.as_ref().and_then(Stream::commits_at);
        [expires, stream, self.idles_until(), self.awaits_until()].into_iter().flatten().min()
    }

    /// Whether the session may last only so long.
    fn is_limited(&self) -> bool {
        self.is_v1() || self.settings.is_bounded
    }

    /// When a credential has to be there, if one must still come.
    fn awaits_until(&self) -> Option<Instant> {
        self.awaits_auth.then(|| self.began + self.settings.auth_timeout)
    }

    /// When it has idled for too long, unless it does not idle.
    fn idles_until(&self) -> Option<Instant> {
        let is_running = self.stream.as_ref().is_some_and(|stream| !stream.is_finished);
        self.settings.idle_timeout.filter(|_| !is_running).map(|timeout| self.active + timeout)
    }

    /// Does what is due by now.
    pub fn on_time(&mut self, now: Instant) {
        if let Some(stream) = self.running()
            && stream.synthesis.commit_if_idle(now)
        {
            self.advance();
        }
        if self.is_over {
            return;
        }
        if self.awaits_until().is_some_and(|until| now >= until) {
            return self.give_up_on_auth("No credential came in time.");
        }
        if self.idles_until().is_some_and(|until| now >= until) {
            return self.on_idle();
        }
        if !self.is_limited() {
            return;
        }
        let left = (self.began + self.settings.max_session).saturating_duration_since(now);
        if left.is_zero() {
            let message = "The session lasted as long as it may: start another.";
            self.refuse(Fault::new(Code::SessionExpired, message));
            self.cancel(now, AfterCancel::End(EndReason::Expired));
        } else if left <= NOTICE && !self.is_warned && self.is_v1() {
            self.is_warned = true;
            let time_left_ms = left.as_millis() as u64;
            self.send(ServerMessage::GoAway { time_left_ms, reason: "max_duration" });
        }
    }

    /// The server is going away: a running stream may finish within `patience`, then the
    /// connection is closed.
    pub fn drain(&mut self, patience: Duration) {
        self.is_draining = true;
        if self.is_v1() && !self.is_over {
            let time_left_ms = if self.running().is_some() { patience.as_millis() as u64 } else { 0 };
            self.send(ServerMessage::GoAway { time_left_ms, reason: "shutdown" });
        }
        self.close_if_drained();
    }

    fn close_if_drained(&mut self) {
        if self.is_draining && self.running().is_none() {
            self.close(CloseCode::AWAY, "The server is going away");
        }
    }

    /// Nothing was started for too long.
    fn on_idle(&mut self) {
        let close = match self.is_v1() {
            true => {
                let message = "Nothing was spoken for too long: connect again to start a stream.";
                self.refuse(Fault::new(Code::IdleTimeout, message));
                CloseCode(4408)
            }
            false => CloseCode::POLICY,
        };
        self.close(close, "Nothing was started for too long");
    }

    /// The peer has shown no sign of life: a word to it, in case it can still hear. The session
    /// is not over: its client may come back on another connection.
    pub fn on_silence(&mut self) {
        let fault = Fault::new(Code::IdleTimeout, "No sign of life for too long.");
        self.part(fault, 4408, "No sign of life");
    }

    /// The peer has taken nothing for too long. As above.
    pub fn on_stall(&mut self) {
        let fault = Fault::new(Code::SlowClient, "Nothing was read for too long.");
        self.part(fault, 4430, "Nothing was read for too long");
    }

    fn part(&mut self, fault: Fault, code: u16, reason: &'static str) {
        let code = match self.is_v1() {
            true => {
                self.refuse(fault);
                CloseCode(code)
            }
            false => CloseCode::POLICY,
        };
        self.actions.push_back(Action::Close(code, reason));
    }

    /// Whether the session should be kept now that its connection is lost: also one that has come to
    /// its end, since the last that was sent may have got no farther.
    pub fn is_resumable(&self) -> bool {
        (!self.is_over || self.is_complete)
            && self.stream.as_ref().is_some_and(|stream| stream.synthesis.is_resumable)
    }

    /// Whether the close was decided on.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The connection is lost: nothing more is sent, and the listener's clock stops.
    pub fn freeze(&mut self, now: Instant) {
        self.actions.clear();
        self.shut(now);
    }

    /// Whether the session can go on at this byte.
    pub fn can_go_back_to(&self, offset: u64) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.can_go_back_to(offset))
    }

    /// The session that was asked for cannot go on where its client asks it to.
    pub fn on_position_lost(&mut self) {
        self.lose_position(true);
    }

    /// The session goes on, on another connection, at this byte.
    pub fn on_recovered(&mut self, now: Instant, offset: u64) {
        if std::mem::take(&mut self.is_complete) {
            // It comes to its end once more.
            self.is_over = false;
        }
        let Some(stream) = self.stream.as_mut() else { return self.lose_position(true) };
        match stream.go_back_to(offset) {
            Ok(true) => {
                let index = stream.synthesis.index_at(offset);
                self.send(ServerMessage::Recovered { offset, index });
            }
            Ok(false) => {
                stream.synthesis.cancelling = Some((now, AfterCancel::Restart));
                self.actions.push_back(Action::Cancel);
            }
            Err(()) => return self.lose_position(true),
        }
        if !self.is_paused
            && let Some(stream) = self.stream.as_mut()
        {
            stream.log.open(now);
        }
        self.finish_if_sent();
    }

    /// There is no such session, or none any more.
    pub fn on_not_recovered(&mut self, is_expired: bool) {
        self.send(ServerMessage::NotRecovered { code: Code::SessionNotFound.name() });
        self.refuse(Fault::new(
            Code::SessionNotFound,
            "There is no such session to go on with: start another.",
        ));
        match is_expired {
            true => self.close(CloseCode(4410), "The time to come back has passed"),
            false => self.close(CloseCode(4404), "No such session"),
        }
    }

    /// The session cannot go on where the client asks it to.
    fn lose_position(&mut self, is_asked: bool) {
        if is_asked {
            self.send(ServerMessage::NotRecovered { code: Code::PositionLost.name() });
        }
        self.refuse(Fault::new(
            Code::PositionLost,
            "The audio at this position is gone: start another stream.",
        ));
        // Nothing of it may follow, least of all in the wrong place.
        self.retire_stream();
        self.close(CloseCode(4410), "The position is lost");
    }

    /// What is left for a connection whose session went on elsewhere.
    pub fn taken() -> [Action; 2] {
        let fault = Fault::new(Code::SessionTaken, "The session goes on, on another connection.");
        [
            Action::Send(fault_message(fault, true)),
            Action::Close(CloseCode(4409), "Another connection took the session over"),
        ]
    }

    /// Audio that was made and that nobody will hear, were the session to end now;
    /// `untaken_bytes` of its speech were never taken.
    pub fn wasted(&self, now: Instant, untaken_bytes: u64) -> Duration {
        self.wasted + self.stream.as_ref().map_or(Duration::ZERO, |stream| stream.wasted(now, untaken_bytes))
    }

    /// Bytes of memory that the session takes, roughly.
    pub fn memory_bytes(&self) -> usize {
        let conversation = self.conversation.as_ref().map_or(0, |conversation| conversation.memory_bytes());
        size_of::<Session>() + self.stream.as_ref().map_or(0, Stream::memory_bytes) + conversation
    }
}

fn fault_message(fault: Fault, is_v1: bool) -> ServerMessage {
    let details = is_v1.then_some((fault.code, fault.index));
    ServerMessage::Error { message: fault.message, fault: details }
}

/// There is more to speak than the session may.
fn text_limit() -> Fault {
    let message = "The session has been given as much text as it may speak: start another for the rest.";
    Fault::new(Code::TextTooLong, message)
}

fn known_voice(settings: &Settings, voice: &str) -> Result<String, Fault> {
    if settings.voices.iter().any(|known| known.name == voice) {
        return Ok(voice.to_owned());
    }
    let message = format!("There is no such voice; there is {}.", voice::names(&settings.voices));
    Err(Fault::new(Code::UnknownVoice, message))
}

fn greeting(settings: &Settings, token: &str) -> Greeting {
    let ms = |duration: Duration| duration.as_millis() as u64;
    Greeting {
        token: token.to_owned(),
        ping_interval_ms: ms(settings.heartbeat),
        audio: AudioInfo(settings.format),
        limits: Limits {
            max_prompt_chars: settings.max_prompt_chars as u64,
            max_message_bytes: settings.max_message_bytes as u64,
            max_buffered_chars: settings.max_buffered_chars as u64,
            ahead_ms: ms(settings.ahead),
            resume_ttl_ms: ms(settings.resume_ttl),
            max_session_ms: ms(settings.max_session),
        },
    }
}
