//! One stream of a session: from its `start_session` to its `session_end`.
//!
//! The composer cuts text into sentences, the takes follow them through the engine, the log carries
//! them to the client, and the ledger remembers them.

mod place;

use super::composer::{Composer, OverLimit};
use super::dialect::Dialect;
use super::ledger::Ledger;
use super::playback::{Playback, Stopwatch, Wait};
use super::takes::{Differs, Entry, Finished, Front, Position, Purpose, Released, Takes, TakesState, Target};
use super::{Sentence, SessionConfig};
use crate::audio::{Encoding, Format};
use crate::session::log::{Flow, Kept, Log, Positions};
use crate::session::message::surrogates::Edges;
use crate::session::message::{
    AudioInfo, AudioOptions, CancelledFigures, Code, Delivery, EndReason, Fault, Passage, SentenceFigures,
    ServerMessage, StartFrom, StartSession, TextSource, Usage, WordTimes,
};
use crate::text::cells;
use crate::text::words::{self, Word};
use crate::ws::frames::Sent;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::{Duration, Instant};

pub(super) use place::{PositionLost, Return};

/// The next step once the engine has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterStop {
    /// The client asked for a cancel: it gets `cancelled`.
    Answer { played_ms: Option<u64> },
    /// The stream ends.
    End(EndReason),
    /// Sentences are replayed for a client that recovers.
    Replay,
    /// The connection is closed, and the sentences wait for the client to return.
    PutOff,
    /// The stream ends with an error.
    Refuse,
}

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
    facts: Facts,
    /// True if no sentence is begun any more: those in flight come to their end, and the rest is for another server.
    is_settling: bool,
    /// Set while the engine is being stopped: since when, and the next step.
    stopping: Option<(Instant, AfterStop)>,
}

/// Plain data about a stream as a whole.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Facts {
    is_resumable: bool,
    /// True if the engine repeats itself, so that sentences that are no longer kept can be replayed.
    is_repeatable: bool,
    /// True if the client was warned of text that cannot be spoken.
    #[serde(default)]
    is_warned: bool,
    /// True if the connection is closed after this stream.
    drains: bool,
    end_reason: EndReason,
    /// Number in the session, from 1.
    number: u64,
    /// Cancels so far.
    rev: u64,
    /// Text of the client taken so far, in UTF-16 units.
    text_offset: u64,
    /// Position at which the stream began: 0, or that of `from`.
    from: StartFrom,
    /// Audio taken from the engine, and audio that it had buffered when it was stopped, in bytes.
    synthesised_bytes: u64,
    stopwatch: Stopwatch,
}

/// A stream as plain data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StreamState {
    flow: Flow,
    positions: Positions,
    /// The audio and messages in the log, if they are part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
    is_finished: bool,
    first_audio: Option<Duration>,
    composer: Composer,
    /// True if buffered text is spoken unless more arrives in time.
    is_idle: bool,
    takes: TakesState,
    ledger: Ledger,
    facts: Facts,
}

impl StreamState {
    pub(super) fn format(&self) -> Format {
        self.flow.format
    }

    /// True if another process cannot do all of it again.
    pub(super) fn lacks_work(&self) -> bool {
        !self.facts.is_repeatable || self.composer.is_writing()
    }

    pub(super) fn has_audio(&self) -> bool {
        self.kept.is_some()
    }

    /// Lets no sentence be spoken again for the bytes that it had.
    pub(super) fn change_engine(&mut self) {
        self.facts.is_repeatable = false;
    }
}

impl Stream {
    /// Starts a stream with its prompt, which may be cut off within a surrogate pair. It is the stream with
    /// this number.
    ///
    /// # Errors
    /// The options, or the length of the prompt, are not allowed.
    pub(super) fn new(
        config: &SessionConfig,
        start: &StartSession,
        source: TextSource,
        edges: Edges,
        number: u64,
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
                takes: Takes::starting(config.pauses.with(start).lead),
                ledger: Ledger::default(),
                facts: Facts {
                    is_resumable: start.resumable,
                    is_repeatable: start.resumable && config.is_deterministic,
                    is_warned: false,
                    drains: false,
                    end_reason: EndReason::Completed,
                    number,
                    rev: 0,
                    text_offset: utf16_len(start.prompt.as_deref().unwrap_or_default()),
                    from: StartFrom::new(0, 0),
                    synthesised_bytes: 0,
                    stopwatch: Stopwatch::default(),
                },
                is_settling: false,
                stopping: None,
            }),
        };
        let Cold { composer, facts, .. } = &mut *stream.cold;
        match source {
            TextSource::Llm => {}
            TextSource::Append => composer.push_cut(now, prompt, edges),
            TextSource::Verbatim => composer.push(now, prompt),
        }
        if source != TextSource::Append || !prompt.is_empty() {
            facts.stopwatch.start(now);
        }
        if !composer.is_open() {
            composer.close();
        }
        if let Some(from) = start.from {
            stream.check_start(from, config)?;
            stream.cold.composer.seek(usize::try_from(from.index).unwrap_or(usize::MAX));
        }
        Ok(stream)
    }

    /// Checks if the stream may begin at a position.
    ///
    /// # Errors
    /// It can begin at 0 only, or not within a sample.
    fn check_start(&self, from: StartFrom, config: &SessionConfig) -> Result<(), Fault> {
        let refuse = |message: String| Err(Fault::new(Code::BadMessage, message));
        if self.source() != TextSource::Verbatim {
            let name = self.source().name();
            return refuse(format!(
                "\"from\" needs the source verbatim, not {name}. Start without \"from\"."
            ));
        }
        if !config.is_deterministic {
            let message = "\"from\" needs an engine that speaks a sentence the same each time, and this \
                           server's does not. Start without \"from\".";
            return refuse(message.to_owned());
        }
        let unit = self.unit_bytes();
        if !from.offset.is_multiple_of(unit) {
            let (name, offset) = (unit_name(unit), from.offset);
            return refuse(format!(
                "\"from.offset\" must be a multiple of {unit}, the bytes of a {name}, not {offset}."
            ));
        }
        Ok(())
    }

    /// Begins at a position instead of at 0, once its sentence was read. Sentences before it are spoken and not sent,
    /// since only that tells where they end.
    ///
    /// # Errors
    /// There is no such sentence.
    pub(super) fn begin_at(&mut self, from: StartFrom) -> Result<(), Fault> {
        let (sentences, index) = (self.cold.composer.waiting().count(), from.index);
        if index >= sentences as u64 {
            let message =
                format!("\"from.index\" must be below {sentences}, the sentences of this text, not {index}.");
            return Err(Fault::new(Code::BadMessage, message));
        }
        self.log = Log::starting_at(*self.log.flow(), from.offset);
        let takes = &mut self.cold.takes;
        let position = Position { offset: from.offset, index: from.index };
        let (crc32, last_index) = (from.crc32, from.index);
        takes.begin_at(Target { position, last_index, crc32, purpose: Purpose::Start, is_sought: false });
        self.cold.facts.from = from;
        Ok(())
    }

    /// The fault of a stream whose audio is not what `from` says.
    pub(super) fn wrong_start(&self) -> Fault {
        let StartFrom { index, offset, .. } = self.cold.facts.from;
        let message = format!(
            "\"from\" does not fit: sentence {index} of this text, as this server speaks it, does not have the \
             client's audio up to byte {offset}. Start without \"from\"."
        );
        Fault::new(Code::BadMessage, message)
    }

    /// The stream as plain data, with the audio in its log or without it.
    pub(super) fn snapshot(&self, with_audio: bool, now: Instant) -> StreamState {
        let Cold { composer, takes, ledger, facts, .. } = &*self.cold;
        StreamState {
            flow: *self.log.flow(),
            positions: self.log.positions(now),
            kept: if with_audio && takes.is_empty() { self.log.kept() } else { None },
            is_finished: self.is_finished,
            first_audio: self.first_audio,
            composer: composer.clone(),
            is_idle: composer.is_idle(),
            takes: takes.snapshot(),
            ledger: ledger.without_words(self.log.base_bytes()),
            facts: Facts { stopwatch: facts.stopwatch.stopped(now), ..*facts },
        }
    }

    /// A stream without a connection. Its client recovers at an offset. Without audio in its log sentences are
    /// replayed from there on.
    pub(super) fn restore(state: StreamState, now: Instant) -> Stream {
        let mut composer = state.composer;
        composer.resume(now, state.is_idle);
        let whole = state.kept.and_then(|kept| Log::restore_with(state.flow, state.positions, kept));
        let mut playback = Playback::new(now, composer.source() == TextSource::Append);
        playback.on_interruption();
        Stream {
            is_finished: state.is_finished,
            first_audio: state.first_audio,
            playback,
            log: whole.unwrap_or_else(|| Log::restore(state.flow, state.positions)),
            cold: Box::new(Cold {
                composer,
                takes: Takes::restore(state.takes),
                ledger: state.ledger,
                facts: state.facts,
                is_settling: false,
                stopping: None,
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
        self.cold.facts.is_resumable
    }

    /// True if the engine repeats itself.
    pub(super) fn is_repeatable(&self) -> bool {
        self.cold.facts.is_repeatable
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
        self.cold.facts.drains
    }

    pub(super) fn end_reason(&self) -> EndReason {
        self.cold.facts.end_reason
    }

    /// True if there was more text than the session may speak.
    pub(super) fn is_over_limit(&self) -> bool {
        self.cold.composer.is_over_limit()
    }

    /// The `stream_start` of this stream.
    pub(super) fn announcement(&self) -> ServerMessage {
        ServerMessage::StreamStart {
            stream: self.cold.facts.number,
            rev: self.cold.facts.rev,
            audio: AudioInfo(self.format()),
            voice: self.cold.composer.parameters().voice.clone(),
            source: self.source().name(),
        }
    }

    /// Number in the session, from 1.
    pub(super) fn number(&self) -> u64 {
        self.cold.facts.number
    }

    /// Cancels so far.
    pub(super) fn rev(&self) -> u64 {
        self.cold.facts.rev
    }

    /// Text of the client taken so far, in UTF-16 units.
    pub(super) fn text_offset(&self) -> u64 {
        self.cold.facts.text_offset
    }

    /// Position of the first byte.
    pub(super) fn first_offset(&self) -> u64 {
        self.cold.facts.from.offset
    }

    /// Bytes of a sample or of an encoded frame: each offset is a multiple of it.
    pub(super) fn unit_bytes(&self) -> u64 {
        self.format().unit_bytes() as u64
    }

    /// True if the position that a client waits for cannot be reached: there is nothing left to speak.
    pub(super) fn is_at_a_loss(&self) -> bool {
        self.cold.takes.target().is_some_and(|target| target.is_sought)
            && self.cold.takes.is_empty()
            && self.cold.stopping.is_none()
            && !self.cold.composer.has_more()
    }

    /// True if the stream is to begin at a position that it has not reached.
    pub(super) fn is_starting(&self) -> bool {
        self.cold.takes.target().is_some_and(|target| target.purpose == Purpose::Start)
    }

    pub(super) fn format(&self) -> Format {
        self.log.flow().format
    }

    fn ms(&self, bytes: u64) -> u64 {
        self.format().duration(bytes).as_millis() as u64
    }

    // Text.

    pub(super) fn append(
        &mut self,
        now: Instant,
        text: &str,
        edges: Edges,
        most_waiting: usize,
    ) -> Result<(), Fault> {
        self.cold.composer.append(now, text, edges, most_waiting)?;
        self.cold.facts.text_offset += utf16_len(text);
        self.playback.on_text(now);
        if !text.is_empty() {
            self.cold.facts.stopwatch.start(now);
        }
        Ok(())
    }

    /// True if text is to be read before more is spoken.
    pub(super) fn is_behind(&self) -> bool {
        self.cold.composer.is_behind()
    }

    /// Reads a little of the text.
    pub(super) fn read_on(&mut self) {
        self.cold.composer.read_on();
    }

    /// Bytes of text that were read.
    #[cfg(test)]
    pub(super) fn read_bytes(&self) -> usize {
        self.cold.composer.read_bytes()
    }

    /// Speaks the buffered text, whether finished or not.
    pub(super) fn flush(&mut self) {
        self.cold.composer.flush();
    }

    /// Index of the last sentence so far; `None` until a flush has cut all of the text.
    pub(super) fn flushed(&self) -> Option<u64> {
        let Cold { composer, takes, ledger, .. } = &*self.cold;
        if composer.is_flushing() {
            return None;
        }
        let announced = ledger.announced();
        let next = takes.next_index().max(announced);
        let next = composer.waiting().fold(next, |next, segment| segment.index(next.max(announced)) + 1);
        Some(next.saturating_sub(1))
    }

    /// Speaks the buffered text, since no more came in time.
    pub(super) fn commit(&mut self) {
        self.cold.composer.commit();
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
        self.cold.facts.drains = true;
        self.cold.facts.end_reason = EndReason::Ended;
    }

    /// Has the connection closed each time that a finished stream has been sent again.
    pub(super) fn close_after(&mut self) {
        self.cold.facts.drains = true;
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
        self.cold.facts.end_reason = EndReason::Error;
        self.cold.composer.finish_writing()
    }

    /// Drops every sentence that was not begun.
    pub(super) fn stop_if_unfinished(&mut self) {
        if self.cold.composer.stop_if_unfinished() {
            self.cold.facts.end_reason = EndReason::Error;
        }
    }

    // Speech.

    /// Begins no more sentences, and takes those in flight to their end whatever the look-ahead is.
    pub(super) fn settle(&mut self) {
        self.cold.is_settling = true;
        self.log.widen();
    }

    /// True if no sentence is in flight.
    pub(super) fn is_settled(&self) -> bool {
        self.cold.takes.is_empty() && self.cold.stopping.is_none()
    }

    /// Returns the next sentence to speak, if its time has come, and announces the front one.
    pub(super) fn next_sentence(&mut self, prefetch: usize, dialect: Dialect) -> Option<Sentence> {
        let flow = *self.log.flow();
        let is_settling = self.cold.is_settling;
        let Cold { composer, takes, ledger, facts, .. } = &mut *self.cold;
        // In paced delivery a sentence is begun once the one before it was synthesised. That is one
        // look-ahead early, and no audio is synthesised beyond it.
        let most = if flow.ahead.is_some() || takes.target().is_some() { 1 } else { prefetch.max(1) };
        let mut sentence = None;
        // No work is begun for a client that may be sent nothing, unless it waits for the answer to `recover`.
        let may_begin = (!self.log.is_shut() || takes.recovering().is_some()) && !is_settling;
        if takes.len() < most && may_begin {
            match composer.next() {
                Ok(None) => {}
                Ok(Some((segment, parameters, previous_text))) => {
                    let index = takes.begin(&segment, parameters.clone(), ledger.announced());
                    sentence = Some(Sentence {
                        text: cells::phrases(&segment.text).unwrap_or(segment.text),
                        index,
                        speed: parameters.speed,
                        voice: parameters.voice,
                        language: parameters.language,
                        normalize: parameters.normalize,
                        previous_text,
                        format: flow.format,
                        frame_bytes: flow.frame_bytes,
                        words: dialect.needs_word_times(),
                    });
                }
                Err(OverLimit) => facts.end_reason = EndReason::Error,
            }
        }
        self.announce(dialect);
        sentence
    }

    fn announce(&mut self, dialect: Dialect) {
        let start = self.log.written_bytes();
        let format = self.format();
        let Cold { composer, takes, .. } = &mut *self.cold;
        let Some((data, index)) = takes.announce(start, composer.pauses(), format) else { return };
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
        self.cold.facts.synthesised_bytes += chunk.len() as u64;
        match self.cold.takes.begin_audio(chunk) {
            Some(chunk) => self.take_audio(chunk, dialect),
            None => Ok(()),
        }
    }

    /// True if silence is owed before the audio of the front sentence.
    pub(super) fn owes_silence(&self) -> bool {
        self.cold.takes.owes_silence()
    }

    /// Takes the next piece of the silence before the front sentence.
    ///
    /// # Errors
    /// The sentence is a replay and came out different.
    pub(super) fn on_silence(&mut self, dialect: Dialect) -> Result<(), Differs> {
        let (format, frame_bytes) = (self.format(), self.log.flow().frame_bytes);
        let Some((chunk, is_silence)) = self.cold.takes.next_silence(format, frame_bytes) else {
            return Ok(());
        };
        if is_silence {
            self.cold.facts.synthesised_bytes += chunk.len() as u64;
        }
        self.take_audio(chunk, dialect)
    }

    fn take_audio(&mut self, chunk: Bytes, dialect: Dialect) -> Result<(), Differs> {
        let encoding = self.format().encoding;
        let needs_crc = dialect.has_figures() || self.cold.facts.is_resumable;
        match self.cold.takes.push_audio(chunk, encoding, needs_crc)? {
            Released::Nothing => {}
            Released::Audio(chunk) => self.log.push_audio(chunk),
            Released::Held(entries) => entries.into_iter().for_each(|entry| self.write(entry)),
        }
        Ok(())
    }

    /// Takes the silence at the end of the front sentence, where its audio does not show it.
    pub(super) fn on_quiet(&mut self, silence: Duration) {
        let bytes = self.format().bytes(silence);
        self.cold.takes.set_quiet(bytes);
    }

    /// Takes times of words of the front sentence.
    pub(super) fn on_words(&mut self, words: &[Word], is_estimate: bool, dialect: Dialect) {
        let silence = self.cold.takes.front().map_or(0, Front::silence);
        let text = self.cold.takes.front().map_or("", Front::text);
        let has_cells = !is_estimate && cells::phrases(text).is_some();
        let shifted: Vec<Word>;
        let words = if silence == 0 && !has_cells {
            words
        } else {
            let silence = self.format().duration(silence);
            let shift = |word: &Word| {
                let range = word.text_range.clone();
                let text_range = if has_cells { cells::written(text, range) } else { range };
                Word { text_range, ..word.clone().later(silence) }
            };
            shifted = words.iter().map(shift).collect();
            &shifted
        };
        self.cold.takes.push_words(words);
        let Some(front) = self.cold.takes.front().filter(|_| dialect.has_word_times()) else { return };
        let ranges: Vec<_> = words.iter().map(|word| word.text_range.clone()).collect();
        let chars = words::utf16_ranges(front.text(), &ranges);
        let mut sources = front.source().ranges(front.text(), &ranges).into_iter();
        let times = words.iter().zip(chars).map(|(word, chars)| WordTimes {
            word: front.text()[word.text_range.clone()].to_owned(),
            ms: (word.start.as_millis() as u64, word.end.as_millis() as u64),
            chars: (chars.start, chars.end),
            source: sources.next().map(|source| (source.start, source.end)),
        });
        let times = times.collect();
        let (index, start_ms) = (front.index(), self.ms(front.start()));
        self.push_message(ServerMessage::Timestamps { index, start_ms, is_estimate, words: times }, dialect);
    }

    /// Takes a warning about ranges of the front sentence. The stream has it once.
    pub(super) fn on_warning(
        &mut self,
        code: &'static str,
        message: String,
        text_ranges: &[Range<usize>],
        dialect: Dialect,
    ) {
        let Some(front) = self.cold.takes.front().filter(|_| !self.cold.facts.is_warned) else { return };
        let units = words::utf16_ranges(front.text(), text_ranges);
        let ranges = units.into_iter().map(|range| (range.start, range.end)).collect();
        let at = Some(Passage { index: front.index(), ranges });
        self.cold.facts.is_warned = true;
        self.push_message(ServerMessage::Warning { code, message, at }, dialect);
    }

    /// Takes the failure of the front sentence, whose end still follows.
    pub(super) fn on_failure(&mut self, code: Code, message: &str, dialect: Dialect) {
        let Some((index, chars)) = self.cold.takes.fail() else { return };
        self.cold.composer.fail(chars);
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
            let words = words::estimate(
                front.text(),
                self.format().duration(front.bytes().saturating_sub(front.silence())),
            );
            self.on_words(&words, true, dialect);
        }
        let Some(Finished { held, is_skipped, record }) = self.cold.takes.finish()? else { return Ok(()) };
        if is_skipped {
            self.log.skip(record.bytes);
            self.cold.ledger.record(record);
            return Ok(());
        }
        held.into_iter().for_each(|entry| self.write(entry));
        let figures = Some(SentenceFigures {
            offset: record.start + record.bytes,
            bytes: record.bytes,
            duration_ms: self.ms(record.bytes),
            crc32: record.crc32,
        });
        let end = ServerMessage::SentenceEnd { index: record.index, figures };
        if let Some(end) = dialect.shape(end) {
            self.log.push_closing(end.to_json());
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
                self.first_audio.get_or_insert_with(|| self.cold.facts.stopwatch.time(now));
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
    pub(super) fn ask(&mut self, now: Instant) -> Option<u64> {
        self.log.ask(now)
    }

    /// The client has everything before this offset.
    pub(super) fn confirm(&mut self, now: Instant, offset: u64) {
        self.log.confirm(now, offset);
    }

    /// Holds delivery at the byte.
    pub(super) fn shut(&mut self, now: Instant) {
        self.log.shut(now);
        self.playback.on_interruption();
        self.cold.facts.stopwatch.stop(now);
    }

    /// Continues delivery with the next byte.
    pub(super) fn open(&mut self, now: Instant) {
        self.log.open(now);
        self.cold.facts.stopwatch.go_on(now);
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
        let target = self.cold.takes.target();
        let Cold { composer, takes, ledger, facts, .. } = &mut *self.cold;
        facts.synthesised_bytes += buffered_bytes;
        if let Some(target) = target {
            ledger.begin_at(target.last_index);
        }
        facts.rev += u64::from(matches!(after, AfterStop::Answer { .. }));
        let rev = facts.rev;
        let unsent = written.saturating_sub(sent) + takes.held_bytes() + buffered_bytes;
        let in_flight = takes.cancel(ledger.announced());
        let unplayed = ledger.cancel(played, sent, self.log.base_bytes(), unsent, in_flight);
        composer.cancel();
        match after {
            AfterStop::Answer { .. } if !composer.is_open() => facts.end_reason = EndReason::Cancelled,
            AfterStop::Refuse => facts.end_reason = EndReason::Error,
            _ => {}
        }
        self.log.cancel(now);
        self.playback.on_interruption();
        let figures = CancelledFigures {
            // A sentence that is only spoken to get there is none that the client hears.
            index: target.map_or_else(|| self.index_at(sent), |target| target.last_index),
            offset: sent,
            rev,
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
        self.cold.facts.synthesised_bytes += bytes;
        self.cold.ledger.drop_bytes(bytes);
    }

    /// The sentence that the byte at this offset belongs to.
    pub(super) fn index_at(&self, offset: u64) -> u64 {
        match self.cold.takes.front().filter(|front| front.begins_by(offset)) {
            Some(front) => front.index(),
            None => self.cold.ledger.index_at(offset),
        }
    }

    fn on_failure_without_message(&mut self) {
        if let Some((_, chars)) = self.cold.takes.fail() {
            self.cold.composer.fail(chars);
        }
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

    /// Characters handed to the engine, with those of sentences that failed.
    pub(super) fn handed_chars(&self) -> u64 {
        self.cold.composer.chars()
    }

    pub(super) fn usage(&self) -> Usage {
        let sent = self.log.sent_bytes();
        Usage {
            chars: self.cold.composer.spoken_chars(),
            sentences: self.cold.takes.next_index(),
            audio_ms: self.ms(sent.saturating_sub(self.first_offset())),
            synthesised_ms: self.ms(self.cold.facts.synthesised_bytes),
            wasted_ms: self.ms(self.cold.ledger.wasted_bytes()),
            first_audio_ms: self.first_audio.map_or(0, |first| first.as_millis() as u64),
        }
    }

    /// Bytes of the text that waits. Takes the same time however much it is.
    pub(super) fn text_bytes(&self) -> usize {
        self.cold.composer.held_bytes()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let Cold { composer, takes, ledger, .. } = &*self.cold;
        let parts = composer.held_bytes() + takes.memory_bytes() + ledger.memory_bytes();
        size_of::<Stream>() + self.log.memory_bytes() + parts
    }
}

/// Name of the part of the audio that has so many bytes: no sample has more than two, and no frame less.
pub(super) fn unit_name(bytes: u64) -> &'static str {
    if bytes > 2 { "frame" } else { "sample" }
}

/// Length of a text in UTF-16 units.
fn utf16_len(text: &str) -> u64 {
    text.encode_utf16().count() as u64
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
    let encoding = asked.encoding.unwrap_or(config.format.encoding);
    let format = Format {
        encoding,
        sample_rate_hz: asked.sample_rate_hz.unwrap_or_else(|| usual_rate(config, encoding)),
    };
    if format != config.format && !config.formats.contains(&format) {
        let name = encoding.name();
        let own: Vec<String> = rates(config, encoding).map(|rate| rate.to_string()).collect();
        let message = if own.is_empty() {
            let has = |encoding: &Encoding| rates(config, *encoding).next().is_some();
            let names = Encoding::every().filter(has).map(Encoding::name);
            format!("This server has no {name}. Its encodings are {}.", names.collect::<Vec<_>>().join(", "))
        } else {
            format!(
                "This server has no {name} at {} Hz. Its sample rates are {} Hz.",
                format.sample_rate_hz,
                own.join(", ")
            )
        };
        return Err(Fault::new(Code::UnsupportedAudio, message));
    }
    Ok((format, format.frame_bytes(asked.frame_ms.unwrap_or(config.frame_ms))))
}

/// Sample rates of this server in an encoding, in hertz.
fn rates(config: &SessionConfig, encoding: Encoding) -> impl Iterator<Item = u32> {
    let own = Some(&config.format).filter(|own| !config.formats.contains(own));
    let formats = config.formats.iter().chain(own);
    formats.filter(move |format| format.encoding == encoding).map(|format| format.sample_rate_hz)
}

/// The rate where a client names none: that of the server, or the next higher one that an encoding of frames has.
fn usual_rate(config: &SessionConfig, encoding: Encoding) -> u32 {
    let own = config.format.sample_rate_hz;
    if !encoding.is_coded() {
        return own;
    }
    let all = || rates(config, encoding);
    all().filter(|rate| *rate >= own).min().or_else(|| all().max()).unwrap_or(own)
}
