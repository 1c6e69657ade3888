//! One stream of a session: from its `start_session` to its `session_end`.
//!
//! Text is cut into sentences, sentences are handed out to be spoken, and what comes back is
//! written to the log with everything that a client is told around it.

use super::ear::{Ear, Heard};
use super::{AfterCancel, Sentence, Settings, known_voice, text_limit};
use crate::proto::audio::Format;
use crate::proto::frames::Sent;
use crate::proto::log::{Flow, Log, OutOfLog};
use crate::proto::message::{
    AudioOptions, CancelledFigures, Code, Delivery, EndReason, Fault, SentenceFigures, ServerMessage,
    StartSession, TextSource, Timestamps, Usage, WordTimes,
};
use crate::proto::text::{Clean, Segmentation, Segmenter};
use crate::proto::voice;
use crate::proto::words::{self, Word};
use crc32fast::Hasher;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After this long without more text a finished sentence is spoken, where a client does not say.
const IDLE: Duration = Duration::from_millis(250);

/// What a character of text takes to say, as a rule.
const CHARACTER: Duration = Duration::from_millis(65);

/// What ends a sentence for which no more text may come; closing marks behind it are passed over.
const ENDS: [char; 12] = ['.', '!', '?', '…', '。', '！', '？', '।', '॥', '۔', '።', '։'];
/// Among them what ends emphasis in Markdown, which need not be spoken.
const CLOSERS: [char; 12] = ['"', '\'', ')', ']', '}', '”', '’', '»', '」', '』', '*', '_'];

/// A stream, running or kept behind its end for a client that comes back.
///
/// Kept in this order: what every step reads comes first, in few cache lines. With thousands of
/// streams none of them is in a cache, and fetching them is what a step costs.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stream {
    /// Everything was sent, `session_end` included.
    pub(super) is_finished: bool,
    /// Text may still be appended, or is being written.
    is_open: bool,
    first_audio: Option<Duration>,
    pub(super) ear: Ear,
    pub(super) log: Log,
    pub(super) cancelling: Option<(Instant, AfterCancel)>,
    /// In synthesis; the first one's audio goes to the log.
    speaking: VecDeque<Speaking>,
    /// When text was appended last, if a sentence seems to end with it.
    idle_since: Option<Instant>,
    /// Cut, but not yet handed out.
    segments: VecDeque<Segment>,
    pub(super) voice: String,
    /// The client named it: another language does not change it.
    is_voice_named: bool,
    pub(super) language: String,
    pub(super) source: TextSource,
    speed: f32,
    is_paced: bool,
    /// Whether it gets errors with a code, and an end with a reason.
    is_v1: bool,
    /// Whether it may be cancelled or gone back in: its client knows the messages.
    keeps_records: bool,
    /// Whether the client is told how it will sound.
    pub(super) tells_its_start: bool,
    /// Whether sentences come with offsets and figures.
    tells_figures: bool,
    wants_words: bool,
    pub(super) is_resumable: bool,
    /// Whether sentences that are no longer kept can be spoken again.
    is_repeatable: bool,
    segmenter: Segmenter,
    /// What a writer has written, and how many characters that is.
    written: String,
    written_chars: usize,
    /// The connection is closed behind it.
    pub(super) drains: bool,
    idle: Duration,
    /// Characters of them.
    waiting_chars: usize,
    next_index: u64,
    /// The sentence that was handed out last.
    last_text: String,
    /// Spoken, or dropped half spoken.
    records: Vec<Record>,
    /// The first record since the start, or the last `cancel`.
    first_heard: usize,
    /// Where a client waits for what has to be spoken again first.
    pub(super) recovering: Option<u64>,
    pub(super) end_reason: EndReason,
    began: Instant,
    chars: u64,
    /// Characters that it may still give to the engine, if there is a limit.
    pub(super) chars_left: Option<u64>,
    /// There was more to speak than that: it ends with what it was allowed, and so does the session.
    pub(super) is_over_limit: bool,
    /// Audio that was made and never sent.
    dropped_bytes: u64,
    /// Audio that was sent and dropped before it was heard.
    unheard_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    text: String,
    /// How, for one that was begun before.
    manner: Option<Manner>,
    /// For one that is spoken again.
    again: Option<Again>,
}

/// What has to come of a sentence that is spoken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Again {
    bytes: u64,
    crc32: u32,
    /// Whether these are all its bytes, or those it had come to when it was stopped.
    is_whole: bool,
}

/// What a sentence sounds like.
#[derive(Clone, Debug, PartialEq)]
struct Manner {
    speed: f32,
    voice: String,
    language: String,
}

#[derive(Debug)]
struct Speaking {
    text: String,
    manner: Manner,
    index: u64,
    /// Where its audio begins.
    start: u64,
    bytes: u64,
    crc: Hasher,
    words: Vec<Word>,
    is_announced: bool,
    has_failed: bool,
    /// What it has to come to, and what is held back until it has.
    again: Option<Again>,
    held: Vec<Held>,
}

#[derive(Debug)]
enum Held {
    Audio(Bytes),
    Message(String),
    Opening(String),
}

#[derive(Clone, Debug)]
struct Record {
    text: String,
    manner: Manner,
    index: u64,
    start: u64,
    bytes: u64,
    crc32: u32,
    words: Vec<Word>,
    /// It was cut off by `cancel`.
    is_cut: bool,
}

impl Stream {
    pub(super) fn new(
        settings: &Settings,
        start: StartSession,
        is_v1: bool,
        has_opted_in: bool,
        now: Instant,
    ) -> Result<Stream, Fault> {
        let source = start.source.unwrap_or(TextSource::Verbatim);
        let language = start.language.clone().unwrap_or_default();
        let voice = match &start.voice {
            Some(voice) => known_voice(settings, voice)?,
            None => voice_for(settings, &language),
        };
        let (format, frame_bytes) = audio(settings, start.audio.unwrap_or_default())?;
        let ahead = match start.delivery {
            Some(Delivery::Burst) => None,
            Some(Delivery::Paced { ahead_ms: Some(ms) }) => Some(Duration::from_millis(ms.into())),
            Some(Delivery::Paced { ahead_ms: None }) => Some(settings.ahead),
            None => settings.is_paced.then_some(settings.ahead),
        };
        let options = start.segmentation.unwrap_or_default();
        let defaults = Segmentation::default();
        let segmenter = Segmenter::new(Segmentation {
            language: start.language,
            min_chars: options.min_chars.unwrap_or(defaults.min_chars),
            max_chars: options.max_chars.unwrap_or(defaults.max_chars),
            first_clause: options.first_clause.unwrap_or(defaults.first_clause),
            // Language models write Markdown, whatever they are told.
            clean: start.clean.unwrap_or(match source {
                TextSource::Llm => Clean::Markdown,
                TextSource::Verbatim | TextSource::Append => defaults.clean,
            }),
        });
        let timestamps = start.timestamps.unwrap_or(Timestamps::None);
        let keep_bytes = if start.resumable { settings.keep_bytes } else { 0 };
        let mut stream = Stream {
            log: Log::new(Flow { format, frame_bytes, ahead, keep_bytes }),
            voice,
            is_voice_named: start.voice.is_some(),
            language,
            source,
            speed: start.speed.unwrap_or(settings.speed),
            is_paced: ahead.is_some(),
            is_v1,
            keeps_records: is_v1 || has_opted_in,
            tells_its_start: is_v1 || start.audio.is_some(),
            tells_figures: is_v1 || timestamps != Timestamps::None,
            wants_words: timestamps == Timestamps::Word,
            is_resumable: start.resumable,
            is_repeatable: start.resumable && settings.is_deterministic,
            segmenter,
            is_open: match source {
                TextSource::Verbatim => false,
                TextSource::Append => true,
                // Nothing is asked, so nothing is answered.
                TextSource::Llm => start.prompt.as_ref().is_some_and(|prompt| !prompt.trim().is_empty()),
            },
            written: String::new(),
            written_chars: 0,
            drains: false,
            idle: options.idle_ms.map_or(IDLE, |ms| Duration::from_millis(ms.into())),
            idle_since: None,
            segments: VecDeque::new(),
            waiting_chars: 0,
            speaking: VecDeque::new(),
            next_index: 0,
            last_text: String::new(),
            records: Vec::new(),
            first_heard: 0,
            recovering: None,
            cancelling: None,
            end_reason: EndReason::Completed,
            is_finished: false,
            began: now,
            first_audio: None,
            ear: Ear::new(now, source == TextSource::Append),
            chars: 0,
            chars_left: None,
            is_over_limit: false,
            dropped_bytes: 0,
            unheard_bytes: 0,
        };
        let prompt = match (&start.prompt, source) {
            (Some(prompt), _) => prompt.as_str(),
            (None, TextSource::Append) => "",
            (None, _) => &settings.greeting,
        };
        let most = settings.max_prompt_chars;
        if prompt.len() > most && prompt.chars().count() > most {
            let message = format!("The prompt is over {most} characters: send it in parts.");
            return Err(Fault::new(Code::TextTooLong, message));
        }
        if source != TextSource::Llm {
            stream.take_text(now, prompt);
        }
        if !stream.is_open {
            stream.flush();
        }
        Ok(stream)
    }

    // Text.

    fn take_text(&mut self, now: Instant, text: &str) {
        self.segmenter.push(text);
        let tail = text.trim_end().trim_end_matches(CLOSERS);
        if !tail.is_empty() {
            self.idle_since = tail.ends_with(ENDS).then_some(now);
        } else if self.idle_since.is_some() {
            self.idle_since = Some(now);
        }
        self.cut();
    }

    pub(super) fn append(&mut self, now: Instant, text: &str, most_waiting: usize) -> Result<(), Fault> {
        if !self.is_open || self.source != TextSource::Append {
            if self.is_over_limit {
                return Err(text_limit());
            }
            let message = match self.source {
                TextSource::Append => "The stream was told to end: start another.",
                _ => "append needs a stream that was started with \"source\": \"append\".",
            };
            return Err(Fault::new(Code::BadMessage, message));
        }
        let waiting = self.waiting_chars + self.segmenter.buffered_chars();
        if waiting + text.chars().count() > most_waiting {
            let message =
                format!("Over {most_waiting} characters would wait to be spoken: send this again later.");
            return Err(Fault::new(Code::BufferFull, message));
        }
        self.ear.on_text(now);
        self.take_text(now, text);
        Ok(())
    }

    /// Whether a writer is at work for it.
    pub(super) fn is_writing(&self) -> bool {
        self.is_open && self.source == TextSource::Llm
    }

    /// Whether more should be taken from the writer, of which so many characters may wait.
    pub(super) fn wants_text(&self, most_waiting: usize) -> bool {
        // What is not cut yet does not count: it may take more to be cut.
        self.is_writing() && self.cancelling.is_none() && self.waiting_chars <= most_waiting
    }

    /// Takes what was written; whether that is more than so many characters.
    pub(super) fn take_written(&mut self, now: Instant, text: &str, most: usize) -> bool {
        let room = most.saturating_sub(self.written_chars);
        let end = text.char_indices().nth(room).map(|(at, _)| at);
        let text = &text[..end.unwrap_or(text.len())];
        self.written.push_str(text);
        self.written_chars += text.chars().count();
        self.take_text(now, text);
        end.is_some()
    }

    /// Nothing more is written. What was.
    pub(super) fn end_text(&mut self) -> String {
        self.flush();
        self.is_open = false;
        std::mem::take(&mut self.written)
    }

    /// Speaks what is buffered as it stands. The index of the last sentence of it.
    pub(super) fn flush(&mut self) -> u64 {
        self.segmenter.flush();
        self.idle_since = None;
        self.cut();
        (self.next_index + self.segments.len() as u64).saturating_sub(1)
    }

    /// No more text follows, but for what is being written; the connection is closed once
    /// everything was spoken.
    pub(super) fn drain(&mut self) {
        if !self.is_writing() {
            self.flush();
            self.is_open = false;
        }
        self.drains = true;
        self.end_reason = EndReason::Ended;
    }

    /// Moves finished sentences from the segmenter to the queue.
    fn cut(&mut self) {
        while let Some(text) = self.segmenter.next_segment() {
            // Marks and emoji alone: nothing that a voice could say.
            if text.chars().any(char::is_alphanumeric) {
                self.waiting_chars += text.chars().count();
                self.segments.push_back(Segment { text, manner: None, again: None });
            }
        }
    }

    pub(super) fn commit_if_idle(&mut self, now: Instant) -> bool {
        let is_due = self.idle_since.is_some_and(|since| now >= since + self.idle);
        if is_due {
            self.flush();
        }
        is_due
    }

    pub(super) fn update(
        &mut self,
        settings: &Settings,
        voice: Option<String>,
        language: Option<String>,
        speed: Option<f32>,
    ) {
        if let Some(language) = language {
            self.language = language;
            if !self.is_voice_named {
                self.voice = voice_for(settings, &self.language);
            }
        }
        if let Some(voice) = voice {
            self.voice = voice;
            self.is_voice_named = true;
        }
        self.speed = speed.unwrap_or(self.speed);
    }

    // Speech.

    /// The next sentence to speak, if it is time for it; announces the one that comes to be heard.
    pub(super) fn next_sentence(&mut self, prefetch: usize) -> Option<Sentence> {
        // Paced, the next sentence is begun when the one before it was made: that is as far ahead
        // of its turn as the look-ahead is long, and nothing is made for nobody beyond it.
        let most = if self.is_paced || self.recovering.is_some() { 1 } else { prefetch.max(1) };
        let next = (self.speaking.len() < most).then(|| self.next_segment()).flatten();
        let sentence = next.map(|Segment { text, manner, again }| {
            let chars = text.chars().count();
            self.waiting_chars = self.waiting_chars.saturating_sub(chars);
            if manner.is_none() {
                self.chars += chars as u64;
            }
            let index = self.next_index;
            self.next_index += 1;
            let manner = manner.unwrap_or_else(|| self.manner());
            let Manner { speed, voice, language } = manner.clone();
            self.speaking.push_back(Speaking {
                text: text.clone(),
                manner,
                index,
                start: 0,
                bytes: 0,
                crc: Hasher::new(),
                words: Vec::new(),
                is_announced: false,
                has_failed: false,
                again,
                held: Vec::new(),
            });
            let Flow { format, frame_bytes, .. } = *self.log.flow();
            // Whoever may cancel is told which words were heard.
            let words = self.wants_words || self.is_v1;
            let previous_text = std::mem::replace(&mut self.last_text, text.clone());
            Sentence { text, index, speed, voice, language, previous_text, format, frame_bytes, words }
        });
        self.announce();
        sentence
    }

    fn manner(&self) -> Manner {
        Manner { speed: self.speed, voice: self.voice.clone(), language: self.language.clone() }
    }

    /// Takes the next segment out of the queue, unless that is more than the session may speak.
    fn next_segment(&mut self) -> Option<Segment> {
        let segment = self.segments.front()?;
        // What is spoken again was counted before.
        if let Some(left) = self.chars_left.filter(|_| segment.manner.is_none()) {
            let chars = segment.text.chars().count() as u64;
            if chars > left {
                self.stop_at_limit();
                return None;
            }
            self.chars_left = Some(left - chars);
        }
        self.segments.pop_front()
    }

    /// Nothing more may be begun, if there is anything more.
    pub(super) fn stop_if_unfinished(&mut self) {
        if self.is_open || !self.segments.is_empty() {
            self.stop_at_limit();
        }
    }

    /// Lets what was begun be heard, and nothing more.
    fn stop_at_limit(&mut self) {
        self.is_over_limit = true;
        self.is_open = false;
        self.end_reason = EndReason::Error;
        self.drop_text();
    }

    /// Forgets all text that was not handed out.
    fn drop_text(&mut self) {
        self.segments.clear();
        self.waiting_chars = 0;
        self.idle_since = None;
        self.segmenter.flush();
        while self.segmenter.next_segment().is_some() {}
    }

    fn announce(&mut self) {
        let Some(speaking) = self.speaking.front_mut().filter(|speaking| !speaking.is_announced) else {
            return;
        };
        speaking.is_announced = true;
        speaking.start = self.log.written_bytes();
        let at = self.tells_figures.then(|| (speaking.start, ms(self.log.flow().format, speaking.start)));
        let text = ServerMessage::Text { data: speaking.text.clone(), index: speaking.index, at }.to_json();
        match speaking.again {
            Some(_) => speaking.held.push(Held::Opening(text)),
            None => self.log.push_opening(text),
        }
    }

    /// Writes a message to the log, behind what is held back.
    fn push(&mut self, message: &ServerMessage) {
        match self.speaking.front_mut().filter(|speaking| speaking.again.is_some()) {
            Some(speaking) => speaking.held.push(Held::Message(message.to_json())),
            None => self.log.push_message(message.to_json()),
        }
    }

    pub(super) fn wants_speech(&self, now: Instant) -> bool {
        self.log.wants_more(now) && self.cancelling.is_none() && !self.speaking.is_empty()
    }

    /// # Errors
    /// The sentence was spoken again, and comes out different.
    pub(super) fn on_audio(&mut self, chunk: Bytes) -> Result<(), ()> {
        let Some(speaking) = self.speaking.front_mut() else { return Ok(()) };
        let before = speaking.bytes;
        speaking.bytes += chunk.len() as u64;
        match speaking.again {
            // The last of what has to be the same.
            Some(again) if !again.is_whole && speaking.bytes >= again.bytes => {
                let (same, rest) = chunk.split_at((again.bytes - before) as usize);
                speaking.crc.update(same);
                if speaking.crc.clone().finalize() != again.crc32 {
                    return Err(());
                }
                speaking.crc.update(rest);
                speaking.held.push(Held::Audio(chunk));
                speaking.again = None;
                self.release();
            }
            again => {
                if self.tells_figures || self.is_resumable {
                    speaking.crc.update(&chunk);
                }
                match again {
                    Some(_) => speaking.held.push(Held::Audio(chunk)),
                    None => self.log.push_audio(chunk),
                }
            }
        }
        Ok(())
    }

    /// Lets what was held back of a sentence that has proved to be the same into the log.
    fn release(&mut self) {
        self.recovering = None;
        let Some(speaking) = self.speaking.front_mut() else { return };
        for held in std::mem::take(&mut speaking.held) {
            match held {
                Held::Audio(chunk) => self.log.push_audio(chunk),
                Held::Message(json) => self.log.push_message(json),
                Held::Opening(json) => self.log.push_opening(json),
            }
        }
    }

    pub(super) fn on_words(&mut self, words: &[Word], is_estimate: bool) {
        let Some(speaking) = self.speaking.front_mut() else { return };
        speaking.words.extend_from_slice(words);
        if !self.wants_words || words.is_empty() {
            return;
        }
        let ranges: Vec<_> = words.iter().map(|word| word.text_range.clone()).collect();
        let chars = words::utf16_ranges(&speaking.text, &ranges);
        let times = words.iter().zip(chars).map(|(word, chars)| WordTimes {
            word: speaking.text[word.text_range.clone()].to_owned(),
            ms: (word.start.as_millis() as u64, word.end.as_millis() as u64),
            chars: (chars.start, chars.end),
        });
        let words_told = times.collect();
        let (index, start_ms) = (speaking.index, ms(self.log.flow().format, speaking.start));
        self.push(&ServerMessage::Timestamps { index, start_ms, is_estimate, words: words_told });
    }

    pub(super) fn on_failure(&mut self, code: Code, message: &str) {
        let Some(speaking) = self.speaking.front_mut() else { return };
        speaking.has_failed = true;
        let fault = Fault::new(code, message).about(speaking.index);
        self.push(&super::fault_message(fault, self.is_v1));
    }

    /// The sentence that is being spoken is over.
    ///
    /// # Errors
    /// It was spoken again, and came out different.
    pub(super) fn on_spoken(&mut self) -> Result<(), ()> {
        let Some(speaking) = self.speaking.front() else { return Ok(()) };
        if speaking.bytes == 0 && !speaking.has_failed {
            self.on_failure(Code::EngineNoAudio, "The speech engine gave no audio for this sentence.");
        }
        let Some(speaking) = self.speaking.front() else { return Ok(()) };
        if (self.wants_words || self.is_v1) && speaking.words.is_empty() && speaking.bytes > 0 {
            let words = words::estimate(&speaking.text, self.format().duration(speaking.bytes));
            self.on_words(&words, true);
        }
        let Some(speaking) = self.speaking.front_mut() else { return Ok(()) };
        let crc32 = speaking.crc.clone().finalize();
        if let Some(again) = speaking.again.take() {
            if (again.bytes, again.crc32) != (speaking.bytes, crc32) {
                return Err(());
            }
            self.release();
        }
        let Some(speaking) = self.speaking.pop_front() else { return Ok(()) };
        let figures = self.tells_figures.then(|| SentenceFigures {
            offset: speaking.start + speaking.bytes,
            bytes: speaking.bytes,
            duration_ms: ms(self.format(), speaking.bytes),
            crc32,
        });
        let end = ServerMessage::SentenceEnd { index: speaking.index, figures };
        self.log.push_message(end.to_json());
        if self.keeps_records {
            let Speaking { text, manner, index, start, bytes, words, .. } = speaking;
            self.records.push(Record { text, manner, index, start, bytes, crc32, words, is_cut: false });
        }
        Ok(())
    }

    // Delivery.

    /// What its audio is.
    pub(super) fn format(&self) -> Format {
        self.log.flow().format
    }

    pub(super) fn sent(&mut self, now: Instant, what: Sent) -> Option<Heard> {
        let opens = self.log.sent(now, what);
        match what {
            Sent::Audio(bytes) => {
                self.first_audio.get_or_insert_with(|| now.saturating_duration_since(self.began));
                self.ear.on_audio(now, self.format().duration(bytes as u64))
            }
            Sent::Message => {
                if opens {
                    self.ear.on_sentence();
                }
                None
            }
        }
    }

    /// Whether the sentence that is being spoken has audio, and has not failed.
    pub(super) fn is_sound(&self) -> bool {
        self.speaking.front().is_some_and(|speaking| speaking.bytes > 0 && !speaking.has_failed)
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.log.is_all_sent()
            && !self.is_open
            && self.cancelling.is_none()
            && self.speaking.is_empty()
            && self.segments.is_empty()
    }

    /// When the gate opens, if time alone opens it.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        if self.is_finished { None } else { self.log.opens_at(now) }
    }

    /// When the text that there is has to be spoken, should no more come.
    pub(super) fn commits_at(&self) -> Option<Instant> {
        let since = self.idle_since.filter(|_| !self.is_finished);
        since.map(|since| since + self.idle)
    }

    pub(super) fn acknowledge(&mut self, now: Instant, played_ms: u64) {
        let played = self.format().bytes(Duration::from_millis(played_ms));
        self.log.acknowledge(now, played);
    }

    /// Drops everything that was not sent; `untaken_bytes` were made and never taken.
    pub(super) fn cancel(
        &mut self,
        now: Instant,
        untaken_bytes: u64,
        after: AfterCancel,
    ) -> CancelledFigures {
        if after == AfterCancel::Restart {
            self.dropped_bytes += untaken_bytes;
            return self.figures(0, 0, 0);
        }
        let told = match after {
            AfterCancel::Tell { played_ms } => played_ms,
            _ => None,
        };
        let sent = self.log.sent_bytes();
        let played = match told {
            Some(ms) => self.format().bytes(Duration::from_millis(ms)).min(sent),
            None => self.log.played_bytes(now),
        };
        let held: u64 = self.speaking.iter().filter(|s| s.again.is_some()).map(|s| s.bytes).sum();
        let unsent = self.log.written_bytes().saturating_sub(sent) + held + untaken_bytes;
        let unheard = sent.saturating_sub(played);
        self.dropped_bytes += unsent;
        self.unheard_bytes += unheard;
        // Sentences of which the client was told nothing leave no gap behind.
        let untold = self.log.cancel(now);
        self.ear.on_interruption();
        let announced = match self.speaking.front() {
            Some(front) => {
                let is_held = front.again.is_some() && front.start >= sent;
                front.index + u64::from(front.is_announced && !is_held)
            }
            None => self.next_index,
        };
        self.next_index = announced.saturating_sub(untold);
        // What was begun is on record as far as it went, for what the listener has heard.
        for speaking in self.speaking.drain(..).filter(|speaking| speaking.is_announced) {
            let Speaking { text, manner, index, start, bytes, words, .. } = speaking;
            self.records.push(Record { text, manner, index, start, bytes, crc32: 0, words, is_cut: true });
        }
        self.records.retain(|record| record.index < self.next_index);
        if let Some(last) = self.records.last_mut() {
            last.is_cut |= last.start + last.bytes > sent;
        }
        self.drop_text();
        self.recovering = None;
        // An answer that was interrupted is over, appended text may go on.
        self.is_open &= self.source == TextSource::Append;
        let figures = self.figures(sent, played, unsent + unheard);
        self.first_heard = self.records.len();
        match after {
            AfterCancel::Tell { .. } if !self.is_open => self.end_reason = EndReason::Cancelled,
            _ => {}
        }
        figures
    }

    fn figures(&self, sent: u64, played: u64, wasted: u64) -> CancelledFigures {
        CancelledFigures {
            index: self.index_at(sent),
            offset: sent,
            sent_ms: ms(self.format(), sent),
            played_ms: ms(self.format(), played),
            spoken_text: self.heard_text(played),
            wasted_ms: ms(self.format(), wasted),
        }
    }

    /// The text that was heard since the start, or the last `cancel`, up to this offset.
    fn heard_text(&self, played: u64) -> String {
        let mut heard = Vec::new();
        for record in self.records.iter().skip(self.first_heard).filter(|record| record.start < played) {
            if !record.is_cut && record.start + record.bytes <= played {
                heard.push(record.text.as_str());
                continue;
            }
            // Only part of it: up to the last word that has begun.
            let into = self.format().duration(played - record.start);
            let guess;
            let words = match record.words.is_empty() {
                false => &record.words,
                // Cut off before its length was known, by an engine that tells no words.
                true => {
                    let usual = CHARACTER.mul_f32(record.text.chars().count() as f32 / record.manner.speed);
                    guess = words::estimate(&record.text, usual.max(self.format().duration(record.bytes)));
                    &guess
                }
            };
            let end =
                words.iter().take_while(|word| word.start < into).last().map_or(0, |w| w.text_range.end);
            heard.push(&record.text[..end]);
        }
        heard.retain(|text| !text.is_empty());
        heard.join(" ")
    }

    /// The sentence that the byte at this offset belongs to.
    pub(super) fn index_at(&self, offset: u64) -> u64 {
        match self.speaking.front() {
            Some(speaking) if speaking.is_announced && speaking.start <= offset => speaking.index,
            // One that was cut off may have been made beyond where the next one begins.
            _ => self.records.iter().rfind(|record| record.start <= offset).map_or(0, |record| record.index),
        }
    }

    // Recovery.

    /// Where to begin to speak again for an offset that is no longer kept: the first record to
    /// repeat, of which there may be none if the sentence is still being spoken.
    fn first_to_repeat(&self, offset: u64) -> Option<usize> {
        let first = self.records.iter().rposition(|record| record.start <= offset);
        let is_in = |first: &usize| offset < self.records[*first].start + self.records[*first].bytes;
        let first = first.filter(is_in).unwrap_or(self.records.len());
        // What was cut off cannot be cut off again at the same byte.
        let is_whole = self.records[first..].iter().all(|record| !record.is_cut);
        let is_begun = match self.records.get(first) {
            Some(_) => true,
            None => self.speaking.front().is_some_and(|s| s.is_announced && s.start <= offset),
        };
        (self.is_repeatable && is_whole && is_begun).then_some(first)
    }

    /// Whether the stream can go on at this offset.
    pub(super) fn can_go_back_to(&self, offset: u64) -> bool {
        let is_kept = offset >= self.log.base_bytes();
        offset <= self.log.sent_bytes() && (is_kept || self.first_to_repeat(offset).is_some())
    }

    /// Goes back to an offset: true if it is in the log, false if sentences have to be spoken
    /// again first, for which all speech must be stopped.
    ///
    /// # Errors
    /// Neither can be.
    pub(super) fn go_back_to(&mut self, offset: u64) -> Result<bool, ()> {
        match self.log.rewind(offset) {
            Ok(()) => {
                self.is_finished = false;
                // What waited to be told is told now.
                self.recovering = None;
                return Ok(true);
            }
            Err(OutOfLog::Beyond) => return Err(()),
            Err(OutOfLog::Before) => {}
        }
        let first = self.first_to_repeat(offset).ok_or(())?;
        let mut start = self.records.get(first).map(|record| record.start);
        for speaking in self.speaking.drain(..).rev() {
            let Speaking { text, manner, index, start: begun, bytes, crc, is_announced, again, .. } =
                speaking;
            // As far as it was spoken it has to come out the same.
            let so_far = || Again { bytes, crc32: crc.finalize(), is_whole: false };
            let again = if is_announced && again.is_none() { Some(so_far()) } else { again };
            if is_announced {
                start.get_or_insert(begun);
            }
            self.next_index = index;
            self.segments.push_front(Segment { text, manner: Some(manner), again });
        }
        for record in self.records.drain(first..).rev() {
            let Record { text, manner, index, bytes, crc32, .. } = record;
            self.next_index = index;
            let again = Some(Again { bytes, crc32, is_whole: true });
            self.segments.push_front(Segment { text, manner: Some(manner), again });
        }
        self.waiting_chars = self.segments.iter().map(|segment| segment.text.chars().count()).sum();
        self.log.restart(start.ok_or(())?, offset);
        self.recovering = Some(offset);
        self.is_finished = false;
        Ok(false)
    }

    // Figures.

    /// Audio that was made and that nobody will hear, were the stream to end now.
    pub(super) fn wasted(&self, now: Instant, untaken_bytes: u64) -> Duration {
        let open = match self.is_finished {
            // Everything was sent, and a client that was sent everything hears it.
            true => 0,
            false => self.log.written_bytes().saturating_sub(self.log.played_bytes(now)) + untaken_bytes,
        };
        self.format().duration(self.dropped_bytes + self.unheard_bytes + open)
    }

    pub(super) fn usage(&self) -> Usage {
        let sent = self.log.sent_bytes();
        let made = self.log.written_bytes() + self.dropped_bytes;
        Usage {
            chars: self.chars,
            sentences: self.next_index,
            audio_ms: ms(self.format(), sent),
            synthesised_ms: ms(self.format(), made),
            wasted_ms: ms(self.format(), self.dropped_bytes + self.unheard_bytes),
            first_audio_ms: self.first_audio.map_or(0, |first| first.as_millis() as u64),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let texts: usize = self.records.iter().map(|record| record.text.len() + size_of::<Record>()).sum();
        let held: usize = self.speaking.iter().map(|speaking| speaking.bytes as usize).sum();
        size_of::<Stream>() + self.log.memory_bytes() + texts + held + self.written.len()
    }
}

fn ms(format: Format, bytes: u64) -> u64 {
    format.duration(bytes).as_millis() as u64
}

/// The voice of a client that names none.
fn voice_for(settings: &Settings, language: &str) -> String {
    voice::for_language(&settings.voices, language).map(|voice| voice.name.clone()).unwrap_or_default()
}

/// The format that a client asks for, if it can be had.
fn audio(settings: &Settings, asked: AudioOptions) -> Result<(Format, usize), Fault> {
    let format = Format {
        encoding: asked.encoding.unwrap_or(settings.format.encoding),
        sample_rate_hz: asked.sample_rate_hz.unwrap_or(settings.format.sample_rate_hz),
    };
    if format != settings.format && !settings.formats.contains(&format) {
        let mut rates: Vec<String> = settings.formats.iter().map(|f| f.sample_rate_hz.to_string()).collect();
        rates.dedup();
        let message = format!(
            "{} at {} Hz cannot be had; the rates are {} Hz.",
            format.encoding.name(),
            format.sample_rate_hz,
            rates.join(", ")
        );
        return Err(Fault::new(Code::UnsupportedAudio, message));
    }
    Ok((format, format.frame_bytes(asked.frame_ms.unwrap_or(settings.frame_ms))))
}
