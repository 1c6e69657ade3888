//! The session: one client's state, from its first message to its last.
//!
//! A session is a value without I/O and without a clock. Its contract has two doors. Every mutation goes
//! through [`Session::handle`], after which the owner drains [`Session::poll`] and does what each
//! [`Output`] says. Audio goes through [`Session::deliver`], which collects what the gate lets through
//! into a batch, and [`Session::delivered`], which notes what the socket took.
//!
//! ```text
//!                       handle(Input, now)                 poll() → Output
//! client ── Message ────────────────────┐            ┌─ Send(ServerMessage) ──────→ client
//! engine ── Audio | Failed | Finished ──┤            ├─ Speak(Sentence) | StopSpeaking → engine
//! writer ── Text | Failed | Finished ───┼─ Session ──┼─ Write(turns) | StopWriting ──→ writer
//! owner  ── Answer | Due | Drain ───────┘            └─ Authenticate | Recover | Close → owner
//!                    deliver(now, &mut Batch) ⇄ delivered(now, Sent)
//! ```
//!
//! Answers to the client leave ahead of the stream; everything that belongs to the stream goes through
//! its [`log`], so that order, pause, pace and recovery hold for all of it alike. A stream consists of
//! text that is not yet spoken (`composer`), sentences in flight (`takes`), and what was said (`ledger`).
//! A [`Dialect`] decides which messages the client may see.

mod composer;
mod config;
pub(crate) mod conversation;
mod dialect;
mod io;
mod ledger;
pub(crate) mod log;
pub mod message;
pub(crate) mod pauses;
mod playback;
mod snapshot;
mod stream;
mod takes;
#[cfg(test)]
mod tests;
mod timer;
mod window;

pub use config::SessionConfig;
pub use dialect::Dialect;
pub use io::{Answer, Engine, Input, Misplaced, Output, Place, Sentence, Written};
pub use pauses::Pauses;
pub use playback::Wait;
pub use snapshot::Snapshot;

use crate::access::QuotaReached;
use crate::access::credential::Token;
use crate::access::rate::{Bucket, Rate};
use crate::ws::frames::{Batch, Sent};
use composer::OverLimit;
use conversation::Conversation;
use message::surrogates::Edges;
use message::{
    AudioInfo, ClientMessage, Close, Code, EndReason, Fault, Greeting, Limits, Recovery, ServerMessage,
    StartFrom, StartSession, TextSource, Usage,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::{AfterStop, Return, Stream};
use takes::{Differs, Position, Purpose, Target};
use timer::Timer;

/// Invalid messages in a row after which the connection is closed, and likewise messages in a row over
/// the rate.
const MAX_FAULTS: u32 = 100;

/// Bytes that count as one message: a larger message counts once for each part of this size.
const COUNTED_BYTES: usize = 1024;

/// Audio that a session sends again after `recover`, in bytes. A larger piece is sent when nothing was sent again
/// for a while.
pub(crate) const REPLAYS: Rate = Rate::bytes_per_sec(256 * 1024, 64);

/// Time before the maximum length of a session at which its client is warned.
const NOTICE: Duration = Duration::from_secs(30);

const EXHAUSTED: &str = "This client has used up its speech for this hour. Try again later.";

/// Activity of a session that has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No stream is running.
    Idle,
    /// A stream is running.
    Streaming,
    /// A stream is running, and its client has paused it.
    Paused,
}

impl Phase {
    /// Every phase, in the order of their numbers.
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

/// Sums over all streams of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams that were started.
    pub streams: u64,
    /// Characters given to the engine.
    pub chars: u64,
    /// Audio that was sent.
    pub audio: Duration,
    /// Length of the session, with the time without a connection.
    pub lasted: Duration,
}

/// State of a session's close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Running,
    /// The connection is closed, and nothing more is sent on it. The session waits for another one.
    Parting,
    /// The close was decided on. Nothing more is sent.
    Closed,
    /// The close was decided on because everything was sent. Its last bytes may still be lost.
    Completed,
}

/// One client's session.
///
/// The order of the fields is kept: what every step of a stream reads comes first, in few cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct Session {
    /// When a message other than `ping` was last received, or part of a stream was sent.
    active: Instant,
    /// Set for clients of `aloud.v1` only.
    token: Option<Token>,
    dialect: Dialect,
    is_paused: bool,
    is_draining: bool,
    course: Course,
    /// True until a client that must show a credential has done so.
    awaits_credential: bool,
    /// True once the client has used up its quota of speech.
    is_exhausted: bool,
    /// True once the client was warned that the session will end.
    is_warned: bool,
    /// True if the session was restored, and its writer is gone.
    lacks_writer: bool,
    /// True if the client waits for `flushed`.
    owes_flushed: bool,
    /// Reason why the client may start no stream now.
    held: Option<QuotaReached>,
    outputs: VecDeque<Output>,
    /// Not boxed: each step would have to fetch it.
    stream: Option<Stream>,
    config: Arc<SessionConfig>,
    id: Arc<str>,
    /// Set once a writer was asked. Boxed: few sessions have one.
    conversation: Option<Box<Conversation>>,
    began: Instant,
    /// The stream that begins at a position in its text, until that was read. Boxed: few sessions have one.
    starting: Option<Box<Starting>>,
    streams: u64,
    /// Sums over the streams before this one. Boxed: a session that has spoken nothing has none.
    past: Option<Box<Past>>,
    /// Invalid messages in a row.
    faults: u32,
    /// Messages in a row over the rate.
    excess: u32,
    /// Changes of what a snapshot has and no engine can replace.
    changes: u64,
    /// Counts the servers that have had the session, if several share it.
    epoch: Option<u64>,
    /// Messages that may still come, if their rate is limited.
    messages: Option<Bucket>,
    /// Audio that may still be sent again after `recover`, in bytes.
    replays: Option<Box<Bucket>>,
}

/// A stream that has not begun.
#[derive(Debug)]
struct Starting {
    stream: Stream,
    dialect: Dialect,
    from: StartFrom,
}

/// Sums over the streams that are over.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Past {
    wasted: Duration,
    chars: u64,
    /// The same, with sentences that failed: these count for the limit of the session.
    handed_chars: u64,
    audio_ms: u64,
}

impl Session {
    /// A new session, whose first output greets the client. A client of `aloud.v1` has a token, with
    /// which the session can be recovered.
    pub fn new(config: Arc<SessionConfig>, id: String, token: Option<String>, now: Instant) -> Session {
        let mut session = Session {
            active: now,
            dialect: Dialect::new(token.is_some()),
            is_paused: false,
            is_draining: false,
            course: Course::Running,
            awaits_credential: false,
            is_exhausted: false,
            is_warned: false,
            lacks_writer: false,
            owes_flushed: false,
            held: None,
            outputs: VecDeque::with_capacity(1),
            stream: None,
            id: id.as_str().into(),
            conversation: None,
            began: now,
            starting: None,
            streams: 0,
            past: None,
            faults: 0,
            excess: 0,
            changes: 0,
            epoch: None,
            messages: config.messages.map(|rate| Bucket::full(rate, now)),
            replays: None,
            token: None,
            config,
        };
        let greeting = token.map(|token| {
            let greeting = Box::new(greeting(&session.config, &token));
            session.token = Some(Token::made(token));
            greeting
        });
        session.send(ServerMessage::SessionStart { session_id: id, greeting });
        session
    }

    // The two doors.

    /// Takes an event. The owner then drains [`poll`](Self::poll).
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Engine(report) => self.on_engine(report, now),
            Input::Message(text) => self.on_text(now, text),
            Input::Read => self.read_on(now),
            Input::Binary(bytes) => {
                if !self.is_over() {
                    self.may_take_another(now, bytes);
                }
            }
            Input::Writer(report) => self.on_writer(report, now),
            Input::Answer(answer) => self.on_answer(answer, now),
            Input::Due => self.on_due(now),
            Input::AwaitCredential => self.awaits_credential = true,
            Input::Hold(why) => self.held = why,
            Input::Confirmed { stream, offset } => {
                if let Some(running) = self.stream.as_mut().filter(|_| stream == self.streams) {
                    running.confirm(now, offset);
                }
            }
            Input::Exhausted => self.on_exhausted(now),
            Input::Drain(patience) => self.on_drain(patience, now),
            Input::Settle => self.stream.iter_mut().for_each(Stream::settle),
            Input::Silence => {
                let message = "No data from the client for too long.";
                self.part(Code::IdleTimeout, Close::Silent, message, now);
            }
            Input::Stall => self.on_stall(now),
            Input::Crowded => {
                let message =
                    "The sessions of the server hold too much together, and those of this client most.";
                self.part(Code::Overloaded, Close::Overloaded, message, now);
            }
            Input::Disconnected => {
                self.outputs.clear();
                (self.starting, self.owes_flushed) = (None, false);
                self.shut(now);
            }
        }
    }

    /// Returns the next work for the owner, until there is none left.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // An idle session keeps no queue.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// True if [`poll`](Self::poll) has something to return.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// True if text is to be read before more is spoken, and before the next message is taken. The owner then reports
    /// [`Input::Read`] until it is false, and may do other work in between.
    pub fn is_behind(&self) -> bool {
        self.course == Course::Running
            && (self.starting.is_some()
                || self.stream.as_ref().is_some_and(|stream| !stream.is_finished() && stream.is_behind()))
    }

    /// Collects the part of the stream that may be sent now. Changes nothing.
    pub fn deliver(&self, now: Instant, batch: &mut Batch) {
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_finished()) {
            stream.log().fill(now, batch);
        }
    }

    /// Notes one piece that the socket took. Returns the wait before it, if it is measured.
    pub fn delivered(&mut self, now: Instant, what: Sent) -> Option<Wait> {
        let stream = self.stream.as_mut()?;
        let wait = stream.delivered(now, what);
        self.active = now;
        self.finish_if_sent(now);
        wait
    }

    /// Returns the number of the stream and the current offset if the client has to be asked now whether it
    /// has everything before it. The owner asks behind what was sent, and reports [`Input::Confirmed`].
    pub fn ask(&mut self, now: Instant) -> Option<(u64, u64)> {
        let offset = self.stream.as_mut()?.ask(now)?;
        Some((self.streams, offset))
    }

    /// When the client last showed that it reads the stream; `None` if it never does, or has read all of it.
    pub fn read_at(&self) -> Option<Instant> {
        self.stream.as_ref()?.log().read_at()
    }

    // What the owner waits for.

    /// True if something of the stream may be sent now.
    pub fn has_output(&self, now: Instant) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.has_output(now))
    }

    /// When more of the stream may be sent, if time alone decides.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.stream.as_ref().and_then(|stream| stream.opens_at(now))
    }

    /// True if speech should be taken from the engine now.
    pub fn wants_speech(&self, now: Instant) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.wants_speech(now))
    }

    /// True if a part of the pause before the front sentence is still to be written. The owner then reports
    /// [`Engine::Silence`] before it takes more from the engine.
    pub fn owes_silence(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::owes_silence)
    }

    /// True if text should be taken from the writer now.
    pub fn wants_text(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.wants_text(self.config.max_buffered_chars))
    }

    /// When to handle [`Input::Due`], if nothing happens before. Delivery never makes it earlier.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.course != Course::Running { None } else { timer::next(|timer| self.deadline(timer)) }
    }

    // What the owner may know.

    /// The id that the client was given.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id, shared.
    pub fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// The secret that a client of `aloud.v1` was given.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Token::reveal)
    }

    /// True if no sentence is in flight that only this process has.
    pub fn is_settled(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.is_repeatable() || stream.is_settled())
    }

    /// True if its engine repeats itself, so that no audio has to be kept.
    pub fn is_repeatable(&self) -> bool {
        self.stream.as_ref().is_none_or(Stream::is_repeatable)
    }

    /// The settings of the session.
    pub fn config(&self) -> &Arc<SessionConfig> {
        &self.config
    }

    /// Counts the changes that a snapshot has to have for the session to go on from it: messages, text, and
    /// what was spoken by an engine that does not repeat itself. Audio that can be spoken again does not count.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Sets the count of servers that have had the session, which its client gets with `recovered`.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
    }

    /// Messages that the client understands.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Streams that were started so far.
    pub fn streams(&self) -> u64 {
        self.streams
    }

    /// Source of the current stream's text.
    pub fn stream_source(&self) -> Option<TextSource> {
        self.stream.as_ref().map(Stream::source)
    }

    /// Activity of the session.
    pub fn phase(&self) -> Phase {
        match &self.stream {
            Some(stream) if stream.is_finished() => Phase::Idle,
            Some(_) if self.is_paused => Phase::Paused,
            Some(_) => Phase::Streaming,
            None => Phase::Idle,
        }
    }

    fn past(&self) -> Past {
        self.past.as_deref().copied().unwrap_or_default()
    }

    /// Sums over all streams.
    pub fn totals(&self, now: Instant) -> Totals {
        let open = self.stream.as_ref().map(Stream::usage);
        let past = self.past();
        let (chars, audio_ms) = open.map_or((0, 0), |usage| (usage.chars, usage.audio_ms));
        Totals {
            streams: self.streams,
            chars: past.chars + chars,
            audio: Duration::from_millis(past.audio_ms + audio_ms),
            lasted: now.saturating_duration_since(self.began),
        }
    }

    /// Audio that would be wasted if the session ended now, with `buffered_bytes` in the engine's channel.
    pub fn wasted(&self, now: Instant, buffered_bytes: u64) -> Duration {
        self.past().wasted
            + self.stream.as_ref().map_or(Duration::ZERO, |stream| stream.wasted(now, buffered_bytes))
    }

    /// True if the front sentence of the engine has audio, and has not failed.
    pub fn is_sound(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_sound)
    }

    /// True if the session should be kept when its connection is lost. That includes a session that has
    /// completed, since its last bytes may have reached no more than the kernel.
    pub fn is_resumable(&self) -> bool {
        self.course != Course::Closed && self.stream.as_ref().is_some_and(Stream::is_resumable)
    }

    /// True if the session has ended with its connection.
    pub fn is_over(&self) -> bool {
        matches!(self.course, Course::Closed | Course::Completed)
    }

    /// Checks if the session can continue at this place.
    ///
    /// # Errors
    /// It cannot. Nothing has changed.
    pub fn check_place(&self, place: &Place) -> Result<(), Misplaced> {
        let stream = self.stream.as_ref().ok_or(Misplaced::Lost)?;
        match self.refuses(place) {
            Some(why) => Err(why),
            None if stream.can_return_to(place) => Ok(()),
            None => Err(Misplaced::Lost),
        }
    }

    /// The reason for which no server can continue the session at this place, whatever it has of it; `None` if one may.
    pub fn refuses(&self, place: &Place) -> Option<Misplaced> {
        let stream = self.stream.as_ref()?;
        let unit = stream.unit_bytes();
        let is_ours = place.stream.map_or(self.streams == 1, |number| number == stream.number());
        if is_ours && !place.offset.is_multiple_of(unit) {
            return Some(Misplaced::WithinSample(unit));
        }
        (!is_ours || stream.contradicts(place)).then_some(Misplaced::Lost)
    }

    /// Counts the audio that is sent again if the session continues at this offset. Returns false if that is too
    /// much for now.
    pub fn may_send_again(&mut self, offset: u64, now: Instant) -> bool {
        let bytes = self.sent_bytes().saturating_sub(offset).min(REPLAYS.burst());
        let replays = self.replays.get_or_insert_with(|| Box::new(Bucket::full(REPLAYS, now)));
        replays.take(REPLAYS, bytes, now).is_ok()
    }

    /// The time that this much audio of the stream takes.
    pub fn duration(&self, bytes: usize) -> Duration {
        self.stream.as_ref().map_or(Duration::ZERO, |stream| stream.format().duration(bytes as u64))
    }

    /// True if the client has used up its quota of speech.
    pub fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }

    /// Output for a connection whose session continues on another one.
    pub fn taken() -> [Output; 2] {
        let fault = Fault::new(Code::SessionTaken, "The session continues on another connection.");
        [Output::Send(error(fault)), Output::Close(Close::SessionTaken)]
    }

    /// Bytes of the stream's audio and messages, to be asked with every piece of audio.
    pub fn logged_bytes(&self) -> usize {
        self.streams_held().map(|stream| stream.log().held_bytes()).sum()
    }

    /// Bytes of the text that waits in the stream.
    pub fn text_bytes(&self) -> usize {
        self.streams_held().map(Stream::text_bytes).sum()
    }

    /// The stream, and the one that is about to begin.
    fn streams_held(&self) -> impl Iterator<Item = &Stream> {
        self.stream.iter().chain(self.starting.as_ref().map(|starting| &starting.stream))
    }

    /// Memory of the session in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        let conversation = self.conversation.as_ref().map_or(0, |conversation| conversation.memory_bytes());
        size_of::<Session>() + self.stream.as_ref().map_or(0, Stream::memory_bytes) + conversation
    }

    // Answers.

    /// Sends a message, unless the connection is about to close.
    fn send(&mut self, message: ServerMessage) {
        if self.course == Course::Running {
            self.outputs.extend(self.dialect.shape(message).map(Output::Send));
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.send(error(fault));
    }

    /// Decides on the close. Nothing is sent after it. A resumable session goes on without a connection if
    /// the close keeps it.
    fn close(&mut self, close: Close, now: Instant) {
        if self.course != Course::Running {
            return;
        }
        self.course = Course::Closed;
        if close.keeps_session()
            && let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_resumable())
        {
            stream.shut(now);
            self.course = Course::Parting;
        }
        self.outputs.push_back(Output::Close(close));
    }

    /// Sends the error, and closes the connection with the code for it.
    fn fail(&mut self, code: Code, message: &str, now: Instant) {
        self.part(code, code.close().unwrap_or(Close::Internal), message, now);
    }

    /// Sends the error, and closes the connection.
    fn part(&mut self, code: Code, close: Close, message: &str, now: Instant) {
        if self.course == Course::Running {
            self.refuse(Fault::new(code, message));
            self.close(close, now);
        }
    }

    // Messages.

    /// Takes a text message. A message that is invalid, or that the state of the session does not allow,
    /// is answered with an error and changes nothing.
    fn on_text(&mut self, now: Instant, text: &str) {
        if self.course != Course::Running {
            return;
        }
        if !self.may_take_another(now, text.len()) {
            if self.course == Course::Running
                && matches!(ClientMessage::parse(text), Ok(ClientMessage::StartSession(_)))
            {
                self.end_refused();
            }
            return;
        }
        let message = ClientMessage::parse(text).and_then(|message| {
            self.dialect.check(&message)?;
            Ok(message)
        });
        if self.awaits_credential {
            return match message {
                Ok(ClientMessage::Auth { token }) => self.outputs.push_back(Output::Authenticate(token)),
                _ => self.fail(
                    Code::Unauthorized,
                    "This server requires an access token: send {\"type\":\"auth\",\"token\":\"…\"} first.",
                    now,
                ),
            };
        }
        if !matches!(message, Ok(ClientMessage::Ping { .. })) {
            self.active = now;
        }
        match message {
            Ok(message) => {
                self.faults = 0;
                let starts = matches!(message, ClientMessage::StartSession(_));
                let passes = matches!(
                    message,
                    ClientMessage::Ack { .. } | ClientMessage::Ping { .. } | ClientMessage::Auth { .. }
                );
                self.changes += u64::from(!passes);
                match self.on_message(now, message, text) {
                    Err(fault) if starts => self.decline(fault),
                    Err(fault) => self.refuse(fault),
                    Ok(()) => {}
                }
            }
            Err(fault) => {
                self.faults += 1;
                self.refuse(fault);
                // The base protocol has no close code for this.
                if self.dialect.is_v1() && self.faults >= MAX_FAULTS {
                    self.close(Close::Malformed, now);
                }
            }
        }
    }

    /// Refuses to start a stream.
    fn decline(&mut self, fault: Fault) {
        self.refuse(fault);
        self.end_refused();
    }

    /// Ends a stream that was refused, for clients of the base protocol: without codes, one that waits for the end of
    /// its stream would wait for ever.
    fn end_refused(&mut self) {
        if !self.dialect.is_v1() && self.running().is_none() {
            self.send(ServerMessage::SessionEnd { end: None });
        }
    }

    /// Reads a little of the text that waits.
    fn read_on(&mut self, now: Instant) {
        if let Some(mut starting) = self.starting.take() {
            starting.stream.read_on();
            return match starting.stream.is_behind() {
                true => self.starting = Some(starting),
                false => self.begin_at(*starting, now),
            };
        }
        if let Some(stream) = self.running() {
            stream.read_on();
        }
        self.advance(now);
    }

    /// Counts a message, a large one as several. Returns false if it is over the rate, which is answered with an
    /// error.
    fn may_take_another(&mut self, now: Instant, bytes: usize) -> bool {
        let (Some(rate), Some(bucket)) = (self.config.messages, &mut self.messages) else { return true };
        // No message is too large to be taken at all.
        let count = (bytes.div_ceil(COUNTED_BYTES) as u64).clamp(1, rate.burst());
        if bucket.take(rate, count, now).is_ok() {
            self.excess = 0;
            return true;
        }
        self.excess += 1;
        self.refuse(Fault::new(
            Code::RateLimited,
            "Too many messages at once: this one was not taken. Slow down.",
        ));
        if self.excess >= MAX_FAULTS {
            self.close(Close::RateLimited, now);
        }
        false
    }

    /// Takes a message that was read from this JSON.
    fn on_message(&mut self, now: Instant, message: ClientMessage, json: &str) -> Result<(), Fault> {
        match message {
            ClientMessage::StartSession(start) => {
                let edges = start.prompt.as_ref().map(|prompt| Edges::of(json, "prompt", prompt));
                self.start(now, &start, edges.unwrap_or_default())?;
            }
            ClientMessage::Pause => {
                self.is_paused = true;
                self.shut(now);
                self.send(ServerMessage::Paused { offset: self.sent_bytes() });
            }
            ClientMessage::Resume => {
                self.send(ServerMessage::Resumed { offset: self.sent_bytes() });
                if std::mem::replace(&mut self.is_paused, false)
                    && let Some(stream) = self.stream.as_mut()
                {
                    stream.open(now);
                    self.advance(now);
                }
                self.finish_if_sent(now);
            }
            ClientMessage::End { drain } => match self.running() {
                Some(stream) if drain => {
                    stream.drain();
                    self.advance(now);
                }
                Some(_) => self.stop(now, AfterStop::End(EndReason::Ended)),
                None => {
                    self.send(ServerMessage::SessionEnd { end: None });
                    self.close(Close::Ended, now);
                    if drain && let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_resumable())
                    {
                        // The last words may have reached no more than the kernel.
                        stream.close_after();
                        self.course = Course::Completed;
                    }
                }
            },
            ClientMessage::Append { text } => {
                let most = self.config.max_buffered_chars;
                let edges = Edges::of(json, "text", &text);
                self.started()?.append(now, &text, edges, most)?;
                self.advance(now);
            }
            ClientMessage::Flush => {
                self.started()?.flush();
                self.owes_flushed = true;
                self.advance(now);
            }
            // They have crossed the end of the stream on their way.
            ClientMessage::Cancel { .. } | ClientMessage::Ack { .. }
                if self.streams > 0 && self.running().is_none() => {}
            ClientMessage::Cancel { played_ms } => match self.running() {
                Some(_) => self.stop(now, AfterStop::Answer { played_ms }),
                None => return Err(Fault::new(Code::NothingToCancel, "No stream is running.")),
            },
            ClientMessage::Ack { played_ms } => self.started()?.acknowledge(now, played_ms),
            ClientMessage::Update { voice, language, speed } => {
                let config = Arc::clone(&self.config);
                let voice = voice.map(|voice| composer::known_voice(&config, &voice)).transpose()?;
                self.started()?.update(&config, voice, language, speed);
            }
            ClientMessage::Recover(_) if self.streams > 0 || !self.dialect.is_v1() => {
                let message = "recover must be the first message on a connection that speaks aloud.v1.";
                return Err(Fault::new(Code::BadMessage, message));
            }
            ClientMessage::Recover(recover) => self.outputs.push_back(Output::Recover(recover)),
            // Harmless where no credential is required, or where one was accepted before.
            ClientMessage::Auth { .. } => {}
            ClientMessage::Ping { id } => self.send(ServerMessage::Pong { id }),
        }
        Ok(())
    }

    /// The stream, unless it is over.
    fn running(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut().filter(|stream| !stream.is_finished())
    }

    fn started(&mut self) -> Result<&mut Stream, Fault> {
        self.running()
            .ok_or_else(|| Fault::new(Code::NotStarted, "No stream is running. Send start_session."))
    }

    /// Starts a stream, whose prompt has these edges.
    fn start(&mut self, now: Instant, start: &StartSession, edges: Edges) -> Result<(), Fault> {
        if self.running().is_some() {
            return Err(Fault::new(Code::AlreadyStarted, "Session already streaming"));
        }
        if let Some(why) = self.held {
            let message = match why {
                QuotaReached::Sessions => {
                    "Too many sessions of this client. End another, or try again later."
                }
                QuotaReached::Characters | QuotaReached::Audio => EXHAUSTED,
            };
            return Err(Fault::new(Code::RateLimited, message));
        }
        let source = self.source(start)?;
        if start.resumable && !self.dialect.is_v1() {
            let message =
                "A resumable session needs the subprotocol aloud.v1, which gives the client its token.";
            return Err(Fault::new(Code::BadMessage, message));
        }
        let dialect = self.dialect.with(start);
        let prompt = start.prompt.clone().filter(|_| source == TextSource::Llm);
        let chars_left = self.config.max_session_chars;
        let handed = self.past().handed_chars + self.stream.as_ref().map_or(0, Stream::handed_chars);
        let chars_left = chars_left.map(|most| most.saturating_sub(handed));
        let number = self.streams + 1;
        let stream = Stream::new(&self.config, start, source, edges, number, chars_left, now)?;
        match start.from {
            Some(from) if stream.is_behind() => {
                self.starting = Some(Box::new(Starting { stream, dialect, from }));
            }
            Some(from) => self.begin_at(Starting { stream, dialect, from }, now),
            None => self.begin(stream, dialect, prompt.as_deref(), now),
        }
        Ok(())
    }

    /// Begins a stream at a position in its text.
    fn begin_at(&mut self, starting: Starting, now: Instant) {
        let Starting { mut stream, dialect, from } = starting;
        match stream.begin_at(from) {
            Ok(()) => self.begin(stream, dialect, None, now),
            Err(fault) => self.decline(fault),
        }
    }

    /// Begins a stream, which answers a prompt.
    fn begin(&mut self, stream: Stream, dialect: Dialect, prompt: Option<&str>, now: Instant) {
        self.retire_stream();
        self.changes += 1;
        self.dialect = dialect;
        self.is_exhausted = false;
        self.owes_flushed = false;
        self.streams += 1;
        if stream.is_resumable() {
            // Before anything is said of the stream.
            self.outputs.push_back(Output::Keep);
        }
        self.send(stream.announcement());
        if let Some(prompt) = prompt.filter(|_| stream.is_writing()) {
            let turns = self.conversation.get_or_insert_default().ask(prompt, self.config.history);
            self.outputs.push_back(Output::Write { turns, language: stream.language().to_owned() });
        }
        self.stream = Some(stream);
        if self.is_paused {
            self.shut(now);
        }
        self.advance(now);
    }

    /// Source of a stream's text.
    fn source(&self, start: &StartSession) -> Result<TextSource, Fault> {
        match start.source.unwrap_or(self.config.source) {
            TextSource::Llm if !self.config.has_writer => {
                let message = "This server has no language model: \"source\" can be verbatim or append.";
                Err(Fault::new(Code::BadMessage, message))
            }
            // Without a prompt the greeting is spoken verbatim.
            TextSource::Llm if start.prompt.is_none() => Ok(TextSource::Verbatim),
            source => Ok(source),
        }
    }

    fn shut(&mut self, now: Instant) {
        if let Some(stream) = self.stream.as_mut() {
            stream.shut(now);
        }
    }

    fn sent_bytes(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.log().sent_bytes())
    }

    // The end of a stream.

    /// Has the engine and the writer of the running stream stopped.
    fn stop(&mut self, now: Instant, after: AfterStop) {
        let Some(stream) = self.running() else { return };
        stream.stop(now, after);
        if stream.is_writing() {
            self.outputs.push_back(Output::StopWriting);
        }
        self.outputs.push_back(Output::StopSpeaking);
    }

    fn on_stopped(&mut self, buffered_bytes: u64) {
        let dialect = self.dialect;
        self.changes += 1;
        let Some(stream) = self.stream.as_mut() else { return };
        let Some((now, after)) = stream.take_stop() else { return };
        if after == AfterStop::Replay {
            stream.drop_bytes(buffered_bytes);
            return self.advance(now);
        }
        if after == AfterStop::PutOff {
            stream.drop_bytes(buffered_bytes);
            return stream.put_off(dialect);
        }
        if let Some(target) = stream.recovering() {
            // The client has recovered, and the replay that it waited for is cancelled: in this order, or it
            // would know of the cancel before it hears of it.
            self.recovered(target.shown(), true);
        }
        let Some(stream) = self.stream.as_mut() else { return };
        let figures = stream.cancel(now, buffered_bytes, after);
        match after {
            AfterStop::End(reason) => {
                let usage = stream.usage();
                self.retire_stream();
                return self.end(reason, usage, now);
            }
            AfterStop::Refuse => return self.advance(now),
            _ => {}
        }
        if stream.source() == TextSource::Llm {
            // The conversation holds what the listener has heard.
            self.remember(&figures.spoken_text);
        }
        self.send(ServerMessage::Cancelled(Box::new(figures)));
        self.advance(now);
    }

    fn end(&mut self, reason: EndReason, usage: Usage, now: Instant) {
        self.send(ServerMessage::SessionEnd { end: Some(Box::new((reason, usage))) });
        self.close(close_for(reason), now);
    }

    /// Drops the stream, and adds its figures to the sums.
    fn retire_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            let usage = stream.usage();
            let past = self.past.get_or_insert_default();
            past.wasted += Duration::from_millis(usage.wasted_ms);
            past.chars += usage.chars;
            past.handed_chars += stream.handed_chars();
            past.audio_ms += usage.audio_ms;
        }
    }

    /// Starts the sentences that can be started, and ends a stream that is complete.
    fn advance(&mut self, now: Instant) {
        if self.owes_flushed
            && let Some(index) = self.stream.as_ref().and_then(Stream::flushed)
        {
            self.owes_flushed = false;
            self.send(ServerMessage::Flushed { index });
        }
        if let Some(stream) = self.stream.as_mut() {
            while let Some(sentence) = stream.next_sentence(self.config.prefetch, self.dialect) {
                self.outputs.push_back(Output::Speak(Box::new(sentence)));
            }
        }
        if self.stream.as_ref().is_some_and(Stream::is_at_a_loss) {
            self.put_off(now);
            return self.lose_position(true, now);
        }
        self.finish_if_sent(now);
    }

    fn finish_if_sent(&mut self, now: Instant) {
        let is_paused = self.is_paused;
        if let Some(stream) = self.running()
            && stream.is_all_sent()
            // A cancelled stream has nothing left for a pause to hold.
            && (!is_paused || stream.end_reason() == EndReason::Cancelled)
        {
            stream.finish();
            let end = Some(Box::new((stream.end_reason(), stream.usage())));
            let (drains, is_over_limit) = (stream.drains(), stream.is_over_limit());
            let is_resumable = stream.is_resumable();
            if is_over_limit {
                self.refuse(match self.is_exhausted {
                    true => Fault::new(Code::TextTooLong, EXHAUSTED),
                    false => text_limit(),
                });
            }
            self.send(ServerMessage::SessionEnd { end });
            if !is_resumable {
                self.retire_stream();
            }
            if (is_over_limit || drains) && self.course == Course::Running {
                self.close(if is_over_limit { Close::TextLimit } else { Close::Ended }, now);
                self.course = Course::Completed;
            }
        }
        self.close_if_drained(now);
    }

    // Engine and writer.

    fn on_engine(&mut self, report: Engine<'_>, now: Instant) {
        let dialect = self.dialect;
        match report {
            Engine::Audio(chunk) => self.take_speech(|stream| stream.on_audio(chunk, dialect), now),
            Engine::Silence => self.take_speech(|stream| stream.on_silence(dialect), now),
            Engine::Finished => {
                self.take_speech(|stream| stream.on_spoken(dialect), now);
                // The next sentence begins where this one ends, which no engine would find again.
                self.changes += u64::from(self.stream.as_ref().is_some_and(|stream| !stream.is_repeatable()));
                self.advance(now);
            }
            Engine::Quiet(silence) => self.stream.iter_mut().for_each(|stream| stream.on_quiet(silence)),
            Engine::Words(words) => {
                self.stream.iter_mut().for_each(|stream| stream.on_words(words, false, dialect));
            }
            Engine::Warning { code, message, text_ranges: [] } => {
                self.send(ServerMessage::warning(code, message));
            }
            Engine::Warning { code, message, text_ranges } => {
                if let Some(stream) = &mut self.stream {
                    stream.on_warning(code, message, text_ranges, dialect);
                }
            }
            Engine::Failed { code, message } if code.is_fatal() => {
                self.put_off(now);
                self.fail(code, message, now);
            }
            Engine::Failed { code, message } => {
                self.stream.iter_mut().for_each(|stream| stream.on_failure(code, message, dialect));
            }
            Engine::Stopped { buffered_bytes } => self.on_stopped(buffered_bytes),
        }
    }

    /// Has the stream take speech, and answers a client that waits for a position once the replay is known
    /// to be the same or different.
    fn take_speech(&mut self, take: impl FnOnce(&mut Stream) -> Result<(), Differs>, now: Instant) {
        let Some(stream) = self.stream.as_mut() else { return };
        let (target, is_starting) = (stream.recovering(), stream.is_starting());
        match (target, take(stream)) {
            (_, Err(Differs)) if is_starting => self.refuse_start(now),
            (Some(Target { purpose: Purpose::Recover { is_inexact: true }, .. }), Err(Differs)) => {
                if let Some(position) = stream.begin_front_anew() {
                    stream.stop(now, AfterStop::Replay);
                    self.recovered(position, false);
                    self.outputs.push_back(Output::StopSpeaking);
                }
            }
            (target, Err(Differs)) => {
                // Nothing of the stream may follow: it would be in the wrong place.
                self.put_off(now);
                self.lose_position(target.is_some(), now);
            }
            (Some(target), Ok(())) if stream.recovering().is_none() => {
                self.recovered(target.shown(), true);
            }
            _ => {}
        }
    }

    /// Ends a stream whose audio is not what its `from` says.
    fn refuse_start(&mut self, now: Instant) {
        let Some(stream) = self.stream.as_mut() else { return };
        let fault = stream.wrong_start();
        self.refuse(fault);
        self.stop(now, AfterStop::Refuse);
    }

    /// Has the engine stopped, and the sentences in flight wait for the client to return. Without a
    /// resumable stream there is nothing to wait for.
    fn put_off(&mut self, now: Instant) {
        match self.stream.as_mut() {
            Some(stream) if stream.is_resumable() => {
                stream.stop(now, AfterStop::PutOff);
                self.outputs.push_back(Output::StopSpeaking);
            }
            _ => self.retire_stream(),
        }
    }

    fn on_exhausted(&mut self, now: Instant) {
        let Some(stream) = self.running() else { return };
        let was_writing = stream.is_writing();
        stream.stop_if_unfinished();
        if was_writing {
            self.outputs.push_back(Output::StopWriting);
        }
        self.is_exhausted = true;
        self.finish_if_sent(now);
    }

    fn on_writer(&mut self, report: Written<'_>, now: Instant) {
        let most = self.config.max_script_chars;
        self.changes += 1;
        let Some(stream) = self.running().filter(|stream| stream.is_writing()) else { return };
        match report {
            Written::Text(text) => {
                if let Err(OverLimit) = stream.push_written(now, text, most) {
                    let written = stream.finish_writing();
                    self.outputs.push_back(Output::StopWriting);
                    let message =
                        format!("The answer is too long (limit {most} characters). The rest is left out.");
                    self.send(ServerMessage::warning("text_limit", message));
                    self.remember(&written);
                }
            }
            Written::Finished => {
                let written = stream.finish_writing();
                self.remember(&written);
            }
            Written::Failed { code, message } => {
                let written = stream.fail_writing();
                match written.trim() {
                    // The client may ask the same again.
                    "" => self.conversation.iter_mut().for_each(|conversation| conversation.forget_last()),
                    written => self.remember(written),
                }
                self.refuse(Fault::new(code, message));
            }
            Written::Warning { code, message } => self.send(ServerMessage::warning(code, message)),
        }
        self.advance(now);
    }

    /// Keeps the answer to the last prompt, for the prompts after it.
    fn remember(&mut self, answer: &str) {
        if let Some(conversation) = &mut self.conversation {
            conversation.answer(answer);
        }
    }

    // Answers of the owner.

    fn on_answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Authenticated(config) => {
                self.awaits_credential = false;
                if let Some(config) = config {
                    self.config = config;
                }
            }
            Answer::Refused(code) => {
                let close = code.close().unwrap_or(Close::TooManyConnections);
                self.refuse(Fault::new(code, close.reason()));
                self.close(close, now);
            }
            Answer::Recovered(place) => self.on_recovered(now, &place),
            Answer::NotRecovered { is_expired } => {
                self.send(ServerMessage::NotRecovered { code: Code::SessionNotFound.name() });
                let message = "This session does not exist, or no longer. Start another.";
                self.refuse(Fault::new(Code::SessionNotFound, message));
                self.close(if is_expired { Close::WindowPassed } else { Close::SessionNotFound }, now);
            }
            Answer::Unreachable => {
                let message =
                    "The store of the sessions does not answer. Connect again in a moment, and send recover.";
                self.fail(Code::Overloaded, message, now);
            }
            Answer::Misplaced(why) => self.misplaced(why, now),
            Answer::TooOften { is_exhausted } => {
                let message = "Too much audio was sent again in this session (limit 16 MiB at once, and 256 KiB more \
                               each second). Wait a minute, or recover at an offset nearer to the end of what has \
                               arrived.";
                self.refuse(Fault::new(Code::RateLimited, if is_exhausted { EXHAUSTED } else { message }));
                self.close(Close::TooManyReplays, now);
            }
        }
    }

    fn on_recovered(&mut self, now: Instant, place: &Place) {
        // A session that had completed completes once more.
        self.course = Course::Running;
        self.changes += 1;
        self.active = now;
        if let Err(why) = self.check_place(place) {
            return self.misplaced(why, now);
        }
        let Some(stream) = self.stream.as_mut() else { return };
        if place.offset == stream.first_offset() {
            // The client may have lost it, and know neither the number nor the format of the stream.
            let announcement = stream.announcement();
            self.send(announcement);
        }
        let Some(stream) = self.stream.as_mut() else { return };
        match stream.return_to(place) {
            Ok(Return::Rewound) => {
                let index = stream.index_at(place.offset);
                self.recovered(Position { offset: place.offset, index }, true);
            }
            Ok(Return::Replays) => {
                stream.stop(now, AfterStop::Replay);
                self.outputs.push_back(Output::StopSpeaking);
            }
            Ok(Return::BeginsAnew { start, is_exact }) => {
                stream.stop(now, AfterStop::Replay);
                self.recovered(start, is_exact);
                self.outputs.push_back(Output::StopSpeaking);
            }
            Err(stream::PositionLost) => return self.lose_position(true, now),
        }
        if !self.is_paused
            && let Some(stream) = self.stream.as_mut()
        {
            stream.open(now);
        }
        self.advance(now);
        if std::mem::take(&mut self.lacks_writer) {
            let message = "The server that wrote the answer has stopped.";
            self.on_writer(Written::Failed { code: Code::LlmFailed, message }, now);
        }
    }

    /// Sends `recovered` with this position.
    fn recovered(&mut self, Position { offset, index }: Position, is_exact: bool) {
        let Some(stream) = &self.stream else { return };
        self.send(ServerMessage::Recovered(Recovery {
            stream: stream.number(),
            rev: stream.rev(),
            epoch: self.epoch,
            offset,
            index,
            is_paused: self.is_paused,
            text_offset: stream.text_offset(),
            is_exact,
        }));
    }

    /// Answers a client that cannot continue at the place where it wants to.
    fn misplaced(&mut self, why: Misplaced, now: Instant) {
        match why {
            Misplaced::Lost => self.lose_position(true, now),
            Misplaced::WithinSample(bytes) => self.refuse(Fault::new(
                Code::BadMessage,
                format!(
                    "\"offset\" must be a multiple of {bytes}, the bytes of a {}. Send recover again.",
                    stream::unit_name(bytes)
                ),
            )),
        }
    }

    /// Closes the connection, since the audio at the client's position is gone. The session waits for a
    /// client at another position. `is_asked` is true if the client waits for `recovered`.
    fn lose_position(&mut self, is_asked: bool, now: Instant) {
        if is_asked {
            self.send(ServerMessage::NotRecovered { code: Code::PositionLost.name() });
        }
        let message = "The audio at this position is gone. Recover at another one, or start another session.";
        self.fail(Code::PositionLost, message, now);
    }

    // Time.

    /// The deadline of a timer, while it runs.
    fn deadline(&self, timer: Timer) -> Option<Instant> {
        let is_limited = self.dialect.is_v1() || self.config.is_bounded;
        let expiry = || is_limited.then(|| self.began + self.config.max_session);
        match timer {
            Timer::Commit => self.stream.as_ref().and_then(Stream::commits_at),
            Timer::Credential => self.awaits_credential.then(|| self.began + self.config.auth_timeout),
            Timer::Idle => {
                let timeout = self.config.idle_timeout.filter(|_| self.phase() != Phase::Streaming);
                timeout.map(|timeout| self.active + timeout)
            }
            Timer::Expiry => expiry(),
            Timer::Stall => {
                let since = self.stream.as_ref().and_then(|stream| stream.log().waits_since())?;
                Some(since + self.config.stall_timeout)
            }
            Timer::Notice => {
                let expiry = expiry().filter(|_| self.dialect.is_v1() && !self.is_warned)?;
                Some(expiry.checked_sub(NOTICE).unwrap_or(expiry))
            }
        }
    }

    fn on_due(&mut self, now: Instant) {
        while let Some(timer) = timer::due(now, |timer| self.deadline(timer)) {
            if timer != Timer::Commit && self.course != Course::Running {
                return;
            }
            match timer {
                Timer::Commit => {
                    self.changes += 1;
                    if let Some(stream) = self.running() {
                        stream.commit();
                    }
                    self.advance(now);
                }
                Timer::Credential => {
                    return self.fail(Code::Unauthorized, "No credential came in time.", now);
                }
                Timer::Idle => {
                    let message = match self.phase() {
                        Phase::Paused => "The stream was paused for too long. Connect again to continue.",
                        _ => "Nothing was started for too long. Connect again to start a stream.",
                    };
                    return self.fail(Code::IdleTimeout, message, now);
                }
                Timer::Expiry => {
                    let message = "The session reached its maximum length. Start another.";
                    self.refuse(Fault::new(Code::SessionExpired, message));
                    return match self.running() {
                        Some(_) => self.stop(now, AfterStop::End(EndReason::Expired)),
                        None => self.end(EndReason::Expired, Usage::default(), now),
                    };
                }
                Timer::Stall => return self.on_stall(now),
                Timer::Notice => {
                    self.is_warned = true;
                    let end = self.began + self.config.max_session;
                    let time_left_ms = end.saturating_duration_since(now).as_millis() as u64;
                    self.send(ServerMessage::GoAway { time_left_ms, reason: "max_duration" });
                }
            }
        }
    }

    fn on_stall(&mut self, now: Instant) {
        let message = "The client read nothing for too long.";
        self.part(Code::SlowClient, Close::SlowClient, message, now);
    }

    fn on_drain(&mut self, patience: Duration, now: Instant) {
        self.is_draining = true;
        if self.course == Course::Running {
            let time_left_ms = if self.running().is_some() { patience.as_millis() as u64 } else { 0 };
            self.send(ServerMessage::GoAway { time_left_ms, reason: "shutdown" });
        }
        self.close_if_drained(now);
    }

    fn close_if_drained(&mut self, now: Instant) {
        if self.is_draining && self.running().is_none() {
            self.close(Close::GoingAway, now);
        }
    }
}

/// The close after a stream that ended for this reason.
fn close_for(reason: EndReason) -> Close {
    match reason {
        EndReason::Expired => Close::Expired,
        _ => Close::Ended,
    }
}

/// The `error` for a fault.
fn error(fault: Fault) -> ServerMessage {
    ServerMessage::Error { message: fault.message, fault: Some((fault.code, fault.index)) }
}

/// The fault of a session that was given more text than it may speak.
fn text_limit() -> Fault {
    let message = "The session has spoken as many characters as allowed. Start another for the rest.";
    Fault::new(Code::TextTooLong, message)
}

/// The fields of `session_start` that only a client of `aloud.v1` gets.
fn greeting(config: &SessionConfig, token: &str) -> Greeting {
    let ms = |duration: Duration| duration.as_millis() as u64;
    Greeting {
        token: token.to_owned(),
        ping_interval_ms: ms(config.heartbeat),
        audio: AudioInfo(config.format),
        limits: Limits {
            max_prompt_chars: config.max_prompt_chars as u64,
            max_message_bytes: config.max_message_bytes as u64,
            max_buffered_chars: config.max_buffered_chars as u64,
            ahead_ms: ms(config.ahead),
            resume_ttl_ms: ms(config.resume_ttl),
            max_session_ms: ms(config.max_session),
        },
    }
}
