//! One stream of a session: from its `start_session` to its `session_end`.
//!
//! The composer cuts text into sentences, the takes follow them through the engine, the log carries
//! them to the client, and the ledger remembers them.

use super::composer::{Composer, OverLimit};
use super::dialect::Dialect;
use super::ledger::Ledger;
use super::playback::{Playback, Wait};
use super::takes::{Differs, Entry, Front, Position, Released, Takes, TakesState};
use super::{Sentence, SessionConfig};
use crate::audio::Format;
use crate::session::log::{Flow, Log, OutOfLog, Positions};
use crate::session::message::{
    AudioInfo, AudioOptions, CancelledFigures, Code, Delivery, EndReason, Fault, SentenceFigures,
    ServerMessage, StartSession, TextSource, Usage, WordTimes,
};
use crate::text::words::{self, Word};
use crate::ws::frames::Sent;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The next step once the engine has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterStop {
    /// The client asked for a cancel: it gets `cancelled`.
    Answer { played_ms: Option<u64> },
    /// The stream ends.
    End(EndReason),
    /// Sentences are replayed for a client that recovers.
    Replay,
}

/// Outcome of a return to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// The log has the offset.
    Rewound,
    /// Sentences must be replayed first, for which the engine must stop.
    Replays,
}

/// The audio at an offset is gone.
#[derive(Debug)]
pub(super) struct PositionLost;

/// A stream: running, or kept after its end for a client that recovers.
///
/// The order of the fields is kept: what every step reads comes first, in few cache lines. With
/// thousands of streams no line is in a cache, and a step costs as much as its fetches.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stream {
    /// True if everything was sent, `session_end` included.
    is_finished: bool,
    first_audio: Option<Duration>,
    playback: Playback,
    log: Log,
    /// Boxed: few steps read it, and a session without a stream needs no room for it.
    cold: Box<Cold>,
}

/// The parts of a stream that a step does not read.
#[derive(Debug)]
struct Cold {
    composer: Composer,
    takes: Takes,
    ledger: Ledger,
    is_resumable: bool,
    /// True if the engine repeats itself, so that sentences that are no longer kept can be replayed.
    is_repeatable: bool,
    /// True if the connection is closed after this stream.
    drains: bool,
    end_reason: EndReason,
    /// Set while the engine is being stopped: since when, and the next step.
    stopping: Option<(Instant, AfterStop)>,
    began: Instant,
}

/// A stream as plain data, without the audio in its log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StreamState {
    flow: Flow,
    positions: Positions,
    is_finished: bool,
    first_audio: Option<Duration>,
    composer: Composer,
    /// True if buffered text is spoken unless more arrives in time.
    is_idle: bool,
    takes: TakesState,
    ledger: Ledger,
    is_resumable: bool,
    is_repeatable: bool,
    drains: bool,
    end_reason: EndReason,
    age: Duration,
}

impl Stream {
    /// Starts a stream with its prompt.
    ///
    /// # Errors
    /// The options, or the length of the prompt, are not allowed.
    pub(super) fn new(
        config: &SessionConfig,
        start: &StartSession,
        source: TextSource,
        chars_left: Option<u64>,
        now: Instant,
    ) -> Result<Stream, Fault> {
        let composer = Composer::new(config, start, source, chars_left)?;
        let (format, frame_bytes) = audio(config, start.audio.unwrap_or_default())?;
        let ahead = ahead(config, start.delivery)?;
        let keep_bytes = if start.resumable { config.keep_bytes } else { 0 };
        let prompt = match (&start.prompt, source) {
            (Some(prompt), _) => prompt.as_str(),
            (None, TextSource::Append) => "",
            (None, _) => &config.greeting,
        };
        let most = config.max_prompt_chars;
        if prompt.len() > most && prompt.chars().count() > most {
            let message = format!("The prompt is too long (limit {most} characters). Send it in parts.");
            return Err(Fault::new(Code::TextTooLong, message));
        }
        let mut stream = Stream {
            is_finished: false,
            first_audio: None,
            playback: Playback::new(now, source == TextSource::Append),
            log: Log::new(Flow { format, frame_bytes, ahead, keep_bytes }),
            cold: Box::new(Cold {
                composer,
                takes: Takes::default(),
                ledger: Ledger::default(),
                is_resumable: start.resumable,
                is_repeatable: start.resumable && config.is_deterministic,
                drains: false,
                end_reason: EndReason::Completed,
                stopping: None,
                began: now,
            }),
        };
        let composer = &mut stream.cold.composer;
        if source != TextSource::Llm {
            composer.push(now, prompt);
        }
        if !composer.is_open() {
            composer.flush();
        }
        Ok(stream)
    }

    /// The stream as plain data.
    pub(super) fn snapshot(&self, now: Instant) -> StreamState {
        let Cold {
            composer,
            takes,
            ledger,
            is_resumable,
            is_repeatable,
            drains,
            end_reason,
            stopping: _,
            began,
        } = &*self.cold;
        StreamState {
            flow: *self.log.flow(),
            positions: self.log.positions(now),
            is_finished: self.is_finished,
            first_audio: self.first_audio,
            composer: composer.clone(),
            is_idle: composer.commits_at().is_some(),
            takes: takes.snapshot(),
            ledger: ledger.clone(),
            is_resumable: *is_resumable,
            is_repeatable: *is_repeatable,
            drains: *drains,
            end_reason: *end_reason,
            age: now.saturating_duration_since(*began),
        }
    }

    /// A stream without audio in its log. Its client recovers at an offset, and sentences are replayed from
    /// there on.
    pub(super) fn restore(state: StreamState, now: Instant) -> Stream {
        let mut composer = state.composer;
        if state.is_idle {
            composer.restart_idle(now);
        }
        let mut playback = Playback::new(now, composer.source() == TextSource::Append);
        playback.on_interruption();
        Stream {
            is_finished: state.is_finished,
            first_audio: state.first_audio,
            playback,
            log: Log::restore(state.flow, state.positions),
            cold: Box::new(Cold {
                composer,
                takes: Takes::restore(state.takes),
                ledger: state.ledger,
                is_resumable: state.is_resumable,
                is_repeatable: state.is_repeatable,
                drains: state.drains,
                end_reason: state.end_reason,
                stopping: None,
                began: now.checked_sub(state.age).unwrap_or(now),
            }),
        }
    }

    // State.

    /// True if everything was sent, `session_end` included.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Marks the stream as finished.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    pub(super) fn source(&self) -> TextSource {
        self.cold.composer.source()
    }

    pub(super) fn is_resumable(&self) -> bool {
        self.cold.is_resumable
    }

    pub(super) fn is_writing(&self) -> bool {
        self.cold.composer.is_writing()
    }

    /// The language as the client named it; empty if it named none.
    pub(super) fn language(&self) -> &str {
        &self.cold.composer.parameters().language
    }

    /// True if the connection is closed after this stream.
    pub(super) fn drains(&self) -> bool {
        self.cold.drains
    }

    pub(super) fn end_reason(&self) -> EndReason {
        self.cold.end_reason
    }

    /// True if there was more text than the session may speak.
    pub(super) fn is_over_limit(&self) -> bool {
        self.cold.composer.is_over_limit()
    }

    /// The `stream_start` of this stream.
    pub(super) fn announcement(&self) -> ServerMessage {
        ServerMessage::StreamStart {
            audio: AudioInfo(self.format()),
            voice: self.cold.composer.parameters().voice.clone(),
            source: self.source().name(),
        }
    }

    pub(super) fn format(&self) -> Format {
        self.log.flow().format
    }

    fn ms(&self, bytes: u64) -> u64 {
        self.format().duration(bytes).as_millis() as u64
    }

    // Text.

    pub(super) fn append(&mut self, now: Instant, text: &str, most_waiting: usize) -> Result<(), Fault> {
        self.cold.composer.append(now, text, most_waiting)?;
        self.playback.on_text(now);
        Ok(())
    }

    /// Speaks the buffered text, whether finished or not. Returns the index of its last sentence.
    pub(super) fn flush(&mut self) -> u64 {
        self.cold.composer.flush();
        let Cold { composer, takes, ledger, .. } = &*self.cold;
        let announced = ledger.announced();
        let next = takes.next_index().max(announced);
        let next = composer.waiting().fold(next, |next, segment| segment.index(next.max(announced)) + 1);
        next.saturating_sub(1)
    }

    /// Speaks the buffered text, since no more came in time.
    pub(super) fn commit(&mut self) {
        self.cold.composer.flush();
    }

    /// When buffered text is spoken if no more arrives.
    pub(super) fn commits_at(&self) -> Option<Instant> {
        self.cold.composer.commits_at().filter(|_| !self.is_finished)
    }

    /// Takes no more text from the client; the connection is closed once everything was sent.
    pub(super) fn drain(&mut self) {
        if !self.is_writing() {
            self.cold.composer.close();
        }
        self.cold.drains = true;
        self.cold.end_reason = EndReason::Ended;
    }

    pub(super) fn update(
        &mut self,
        config: &SessionConfig,
        voice: Option<String>,
        language: Option<String>,
        speed: Option<f32>,
    ) {
        self.cold.composer.update(config, voice, language, speed);
    }

    pub(super) fn wants_text(&self, most_waiting: usize) -> bool {
        self.cold.stopping.is_none() && self.cold.composer.wants_text(most_waiting)
    }

    pub(super) fn push_written(&mut self, now: Instant, text: &str, most: usize) -> Result<(), OverLimit> {
        self.cold.composer.push_written(now, text, most)
    }

    /// Ends the writer's text, and returns all of it.
    pub(super) fn finish_writing(&mut self) -> String {
        self.cold.composer.finish_writing()
    }

    /// Ends the text of a writer that failed, and returns all of it.
    pub(super) fn fail_writing(&mut self) -> String {
        self.cold.end_reason = EndReason::Error;
        self.cold.composer.finish_writing()
    }

    /// Drops every sentence that was not begun.
    pub(super) fn stop_if_unfinished(&mut self) {
        if self.cold.composer.stop_if_unfinished() {
            self.cold.end_reason = EndReason::Error;
        }
    }

    // Speech.

    /// Returns the next sentence to speak, if its time has come, and announces the front one.
    pub(super) fn next_sentence(&mut self, prefetch: usize, dialect: Dialect) -> Option<Sentence> {
        let flow = *self.log.flow();
        let Cold { composer, takes, ledger, end_reason, .. } = &mut *self.cold;
        // In paced delivery a sentence is begun once the one before it was synthesised. That is one
        // look-ahead early, and no audio is synthesised beyond it.
        let most = if flow.ahead.is_some() || takes.recovering().is_some() { 1 } else { prefetch.max(1) };
        let mut sentence = None;
        // No work is begun for a client that may be sent nothing, unless it waits for the answer to `recover`.
        let may_begin = !self.log.is_shut() || takes.recovering().is_some();
        if takes.len() < most && may_begin {
            match composer.next() {
                Ok(None) => {}
                Ok(Some((segment, parameters, previous_text))) => {
                    let index = takes.begin(&segment, parameters.clone(), ledger.announced());
                    sentence = Some(Sentence {
                        text: segment.text,
                        index,
                        speed: parameters.speed,
                        voice: parameters.voice,
                        language: parameters.language,
                        previous_text,
                        format: flow.format,
                        frame_bytes: flow.frame_bytes,
                        words: dialect.needs_word_times(),
                    });
                }
                Err(OverLimit) => *end_reason = EndReason::Error,
            }
        }
        self.announce(dialect);
        sentence
    }

    fn announce(&mut self, dialect: Dialect) {
        let start = self.log.written_bytes();
        let Some((data, index)) = self.cold.takes.announce(start) else { return };
        let at = Some((start, self.ms(start)));
        if let Some(message) = dialect.shape(ServerMessage::Text { data, index, at }) {
            self.push(Entry::Opening(message.to_json(), index));
        }
    }

    /// Writes an entry to the log, or holds it back if the front sentence is a replay.
    fn push(&mut self, entry: Entry) {
        if let Some(entry) = self.cold.takes.hold(entry) {
            self.write(entry);
        }
    }

    fn push_message(&mut self, message: ServerMessage, dialect: Dialect) {
        if let Some(message) = dialect.shape(message) {
            self.push(Entry::Message(message.to_json()));
        }
    }

    fn write(&mut self, entry: Entry) {
        match entry {
            Entry::Audio(chunk) => self.log.push_audio(chunk),
            Entry::Message(json) => self.log.push_message(json),
            Entry::Opening(json, index) => self.log.push_opening(json, index),
        }
    }

    pub(super) fn wants_speech(&self, now: Instant) -> bool {
        self.log.wants_more(now) && self.cold.stopping.is_none() && !self.cold.takes.is_empty()
    }

    /// Takes audio of the front sentence: whole samples.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn on_audio(&mut self, chunk: Bytes, dialect: Dialect) -> Result<(), Differs> {
        let needs_crc = dialect.has_figures() || self.cold.is_resumable;
        match self.cold.takes.push_audio(chunk, needs_crc)? {
            Released::Nothing => {}
            Released::Audio(chunk) => self.log.push_audio(chunk),
            Released::Held(entries) => entries.into_iter().for_each(|entry| self.write(entry)),
        }
        Ok(())
    }

    /// Takes times of words of the front sentence.
    pub(super) fn on_words(&mut self, words: &[Word], is_estimate: bool, dialect: Dialect) {
        self.cold.takes.push_words(words);
        let Some(front) = self.cold.takes.front().filter(|_| dialect.has_word_times()) else { return };
        let ranges: Vec<_> = words.iter().map(|word| word.text_range.clone()).collect();
        let chars = words::utf16_ranges(front.text(), &ranges);
        let times = words.iter().zip(chars).map(|(word, chars)| WordTimes {
            word: front.text()[word.text_range.clone()].to_owned(),
            ms: (word.start.as_millis() as u64, word.end.as_millis() as u64),
            chars: (chars.start, chars.end),
        });
        let times = times.collect();
        let (index, start_ms) = (front.index(), self.ms(front.start()));
        self.push_message(ServerMessage::Timestamps { index, start_ms, is_estimate, words: times }, dialect);
    }

    /// Takes the failure of the front sentence, whose end still follows.
    pub(super) fn on_failure(&mut self, code: Code, message: &str, dialect: Dialect) {
        let Some(index) = self.cold.takes.fail() else { return };
        self.push_message(super::error(Fault::new(code, message).about(index)), dialect);
    }

    /// True if the front sentence has audio, and has not failed.
    pub(super) fn is_sound(&self) -> bool {
        self.cold.takes.front().is_some_and(|front| front.bytes() > 0 && !front.has_failed())
    }

    /// Takes the end of the front sentence.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn on_spoken(&mut self, dialect: Dialect) -> Result<(), Differs> {
        let Some(front) = self.cold.takes.front() else { return Ok(()) };
        if front.bytes() == 0 && !front.has_failed() {
            let message = "The speech engine gave no audio for this sentence.";
            self.on_failure(Code::EngineNoAudio, message, dialect);
        } else if dialect.needs_word_times() && !front.has_words() && front.bytes() > 0 {
            let words = words::estimate(front.text(), self.format().duration(front.bytes()));
            self.on_words(&words, true, dialect);
        }
        let Some((held, record)) = self.cold.takes.finish()? else { return Ok(()) };
        held.into_iter().for_each(|entry| self.write(entry));
        let figures = Some(SentenceFigures {
            offset: record.start + record.bytes,
            bytes: record.bytes,
            duration_ms: self.ms(record.bytes),
            crc32: record.crc32,
        });
        let end = ServerMessage::SentenceEnd { index: record.index, figures };
        if let Some(end) = dialect.shape(end) {
            self.log.push_message(end.to_json());
        }
        if dialect.knows_v1() {
            // The client may cancel or recover.
            self.cold.ledger.record(record);
        }
        Ok(())
    }

    // Delivery.

    /// The log: its audio and messages, up to the gate.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Notes what was sent. Returns the wait before it, if it is measured.
    pub(super) fn delivered(&mut self, now: Instant, what: Sent) -> Option<Wait> {
        let opened = self.log.sent(now, what);
        match what {
            Sent::Audio(bytes) => {
                self.first_audio.get_or_insert_with(|| now.saturating_duration_since(self.cold.began));
                self.playback.on_audio(now, self.format().duration(bytes as u64))
            }
            Sent::Message => {
                if opened.is_some_and(|index| self.cold.ledger.announce(index)) {
                    self.playback.on_sentence();
                }
                None
            }
        }
    }

    /// True if something may be sent now.
    pub(super) fn has_output(&self, now: Instant) -> bool {
        !self.is_finished && self.log.has_output(now)
    }

    /// True if everything was sent, and nothing more will come.
    pub(super) fn is_all_sent(&self) -> bool {
        self.log.is_all_sent()
            && self.cold.composer.is_done()
            && self.cold.stopping.is_none()
            && self.cold.takes.is_empty()
    }

    /// When the gate opens, if time alone opens it.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        if self.is_finished { None } else { self.log.opens_at(now) }
    }

    pub(super) fn acknowledge(&mut self, now: Instant, played_ms: u64) {
        let played = self.format().bytes(Duration::from_millis(played_ms));
        self.log.acknowledge(now, played);
    }

    /// Returns the current offset if the client has to be asked now whether it has everything before it.
    pub(super) fn ask(&mut self) -> Option<u64> {
        self.log.ask()
    }

    /// The client has everything before this offset.
    pub(super) fn confirm(&mut self, now: Instant, offset: u64) {
        self.log.confirm(now, offset);
    }

    /// Holds delivery at the byte.
    pub(super) fn shut(&mut self, now: Instant) {
        self.log.shut(now);
        self.playback.on_interruption();
    }

    /// Continues delivery with the next byte.
    pub(super) fn open(&mut self, now: Instant) {
        self.log.open(now);
    }

    // Cancel.

    /// Notes that the engine is being stopped, and the next step.
    pub(super) fn stop(&mut self, now: Instant, after: AfterStop) {
        self.cold.stopping = Some((now, after));
    }

    /// Returns since when the engine was being stopped, and the next step.
    pub(super) fn take_stop(&mut self) -> Option<(Instant, AfterStop)> {
        self.cold.stopping.take()
    }

    /// The position of a recovery that a cancel interrupts.
    pub(super) fn take_recovering(&mut self) -> Option<Position> {
        self.cold.takes.take_recovering()
    }

    /// Drops everything that was not sent; the engine had buffered `buffered_bytes` more. `played_ms` is
    /// the client's own figure.
    pub(super) fn cancel(&mut self, now: Instant, buffered_bytes: u64, after: AfterStop) -> CancelledFigures {
        let sent = self.log.sent_bytes();
        let played = match after {
            AfterStop::Answer { played_ms: Some(ms) } => {
                self.format().bytes(Duration::from_millis(ms)).min(sent)
            }
            _ => self.log.played_bytes(now),
        };
        let written = self.log.written_bytes();
        let Cold { composer, takes, ledger, end_reason, .. } = &mut *self.cold;
        let unsent = written.saturating_sub(sent) + takes.held_bytes() + buffered_bytes;
        let in_flight = takes.cancel(ledger.announced());
        let unplayed = ledger.cancel(played, sent, self.log.base_bytes(), unsent, in_flight);
        composer.cancel();
        if matches!(after, AfterStop::Answer { .. }) && !composer.is_open() {
            *end_reason = EndReason::Cancelled;
        }
        self.log.cancel(now);
        self.playback.on_interruption();
        let figures = CancelledFigures {
            index: self.index_at(sent),
            offset: sent,
            sent_ms: self.ms(sent),
            played_ms: self.ms(played),
            spoken_text: self.cold.ledger.played_text(played, self.format()),
            wasted_ms: self.ms(unsent + unplayed),
        };
        self.cold.ledger.end_cancel();
        figures
    }

    /// Counts audio that the engine had buffered when it was stopped for a replay.
    pub(super) fn drop_bytes(&mut self, bytes: u64) {
        self.cold.ledger.drop_bytes(bytes);
    }

    /// The sentence that the byte at this offset belongs to.
    pub(super) fn index_at(&self, offset: u64) -> u64 {
        match self.cold.takes.front().filter(|front| front.begins_by(offset)) {
            Some(front) => front.index(),
            None => self.cold.ledger.index_at(offset),
        }
    }

    // Recovery.

    /// The position that a client waits for while sentences are replayed.
    pub(super) fn recovering(&self) -> Option<Position> {
        self.cold.takes.recovering()
    }

    /// True if the stream can continue at this offset.
    pub(super) fn can_return_to(&self, offset: u64) -> bool {
        let is_kept = offset >= self.log.base_bytes();
        offset <= self.log.sent_bytes() && (is_kept || self.first_to_replay(offset).is_some())
    }

    /// The first record to replay for an offset that the log no longer has.
    fn first_to_replay(&self, offset: u64) -> Option<usize> {
        let Cold { takes, ledger, is_repeatable, .. } = &*self.cold;
        let first = ledger.first_to_replay(offset, self.log.is_restored()).filter(|_| *is_repeatable)?;
        let begins_by = |front: Front<'_>| front.begins_by(offset);
        let is_begun = ledger.has(first) || takes.front().is_some_and(begins_by);
        (is_begun || self.log.is_restored() && offset == self.log.sent_bytes()).then_some(first)
    }

    /// Returns to an offset.
    ///
    /// # Errors
    /// Its audio is gone, or was never sent.
    pub(super) fn return_to(&mut self, offset: u64) -> Result<Return, PositionLost> {
        match self.log.rewind(offset) {
            Ok(()) => {
                self.cold.ledger.resend_from(offset);
                self.is_finished = false;
                self.cold.takes.take_recovering();
                return Ok(Return::Rewound);
            }
            Err(OutOfLog::Beyond) => return Err(PositionLost),
            Err(OutOfLog::Before) => {}
        }
        let first = self.first_to_replay(offset).ok_or(PositionLost)?;
        let position = Position { offset, index: self.index_at(offset) };
        let Cold { composer, takes, ledger, .. } = &mut *self.cold;
        let (in_flight, begun) = takes.take_back();
        let (spoken, recorded) = ledger.take_back(first);
        composer.put_back(in_flight.into_iter());
        composer.put_back(spoken.into_iter());
        let start = recorded.map(|(start, _)| start).or(begun);
        ledger.resend_from(offset);
        self.log.restart(start.unwrap_or(offset), offset);
        self.is_finished = false;
        if start.is_none() {
            // A restored stream that has no sentence to replay.
            return Ok(Return::Rewound);
        }
        takes.begin_recovery(position, recorded.map(|(_, index)| index));
        Ok(Return::Replays)
    }

    // Figures.

    /// Audio that would be wasted if the stream ended now, with `buffered_bytes` in the engine's channel.
    pub(super) fn wasted(&self, now: Instant, buffered_bytes: u64) -> Duration {
        let open = match self.is_finished {
            // A client that was sent everything plays everything.
            true => 0,
            false => self.log.written_bytes().saturating_sub(self.log.played_bytes(now)) + buffered_bytes,
        };
        self.format().duration(self.cold.ledger.wasted_bytes() + open)
    }

    pub(super) fn usage(&self) -> Usage {
        let sent = self.log.sent_bytes();
        // A replay is not counted again.
        let synthesised = self.log.written_bytes().max(sent) + self.cold.ledger.dropped_bytes();
        Usage {
            chars: self.cold.composer.chars(),
            sentences: self.cold.takes.next_index(),
            audio_ms: self.ms(sent),
            synthesised_ms: self.ms(synthesised),
            wasted_ms: self.ms(self.cold.ledger.wasted_bytes()),
            first_audio_ms: self.first_audio.map_or(0, |first| first.as_millis() as u64),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let Cold { composer, takes, ledger, .. } = &*self.cold;
        let parts = composer.memory_bytes() + takes.memory_bytes() + ledger.memory_bytes();
        size_of::<Stream>() + self.log.memory_bytes() + parts
    }
}

/// The look-ahead of paced delivery that a client asks for; `None` is burst.
fn ahead(config: &SessionConfig, asked: Option<Delivery>) -> Result<Option<Duration>, Fault> {
    match asked {
        Some(Delivery::Burst) if config.is_paced_only => {
            let message =
                "This server delivers paced only. Send \"delivery\" with the mode paced, or leave it out.";
            Err(Fault::new(Code::BadMessage, message))
        }
        Some(Delivery::Burst) => Ok(None),
        Some(Delivery::Paced { ahead_ms: Some(ms) }) => {
            let (ahead, most) = (Duration::from_millis(ms.into()), config.max_ahead);
            if ahead > most {
                let most = most.as_millis();
                let message = format!("aheadMs is {ms}, and this server allows {most}. Ask for less.");
                return Err(Fault::new(Code::BadMessage, message));
            }
            Ok(Some(ahead))
        }
        Some(Delivery::Paced { ahead_ms: None }) => Ok(Some(config.ahead)),
        None => Ok(config.is_paced.then_some(config.ahead)),
    }
}

/// The format that a client asks for, and its frame length in bytes.
fn audio(config: &SessionConfig, asked: AudioOptions) -> Result<(Format, usize), Fault> {
    let format = Format {
        encoding: asked.encoding.unwrap_or(config.format.encoding),
        sample_rate_hz: asked.sample_rate_hz.unwrap_or(config.format.sample_rate_hz),
    };
    if format != config.format && !config.formats.contains(&format) {
        let mut rates: Vec<String> = config.formats.iter().map(|f| f.sample_rate_hz.to_string()).collect();
        rates.dedup();
        let message = format!(
            "This server has no {} at {} Hz. Its sample rates are {} Hz.",
            format.encoding.name(),
            format.sample_rate_hz,
            rates.join(", ")
        );
        return Err(Fault::new(Code::UnsupportedAudio, message));
    }
    Ok((format, format.frame_bytes(asked.frame_ms.unwrap_or(config.frame_ms))))
}
