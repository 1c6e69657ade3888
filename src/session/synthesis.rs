//! The way to the log of a stream: its text, the sentences that are cut from it, and what becomes of
//! each of them. Knows no log: that is its [`Stream`](super::stream::Stream)'s.

use super::{AfterCancel, Sentence, Settings, text_limit};
use crate::audio::voice;
use crate::session::log::Flow;
use crate::session::message::{Code, EndReason, Fault, TextSource};
use crate::text::Segmenter;
use crate::text::words::Word;
use crc32fast::Hasher;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What ends a sentence for which no more text may come; closing marks behind it are passed over.
const ENDS: [char; 12] = ['.', '!', '?', '…', '。', '！', '？', '।', '॥', '۔', '።', '։'];
/// Among them what ends emphasis in Markdown, which need not be spoken.
const CLOSERS: [char; 12] = ['"', '\'', ')', ']', '}', '”', '’', '»', '」', '』', '*', '_'];

/// Memory for the records of a stream, in bytes: of some hours of speech. Beyond it the older half is
/// given up, so that sentences of which no audio comes, which cost nothing to send, fill no memory.
const RECORD_BYTES: usize = 2 * 1024 * 1024;

/// What a stream says.
#[derive(Debug)]
pub(super) struct Synthesis {
    /// Text may still be appended, or is being written.
    pub(super) is_open: bool,
    pub(super) cancelling: Option<(Instant, AfterCancel)>,
    /// In synthesis; the first one's audio goes to the log.
    pub(super) speaking: VecDeque<Speaking>,
    /// When text was appended last, if a sentence seems to end with it.
    pub(super) idle_since: Option<Instant>,
    /// Cut, but not yet handed out.
    pub(super) segments: VecDeque<Segment>,
    /// Characters of them.
    pub(super) waiting_chars: usize,
    pub(super) voice: String,
    /// The client named it: another language does not change it.
    pub(super) is_voice_named: bool,
    pub(super) language: String,
    pub(super) source: TextSource,
    pub(super) speed: f32,
    pub(super) is_paced: bool,
    /// Whether it gets errors with a code, and an end with a reason.
    pub(super) is_v1: bool,
    /// Whether it may be cancelled or gone back in: its client knows the messages.
    pub(super) keeps_records: bool,
    /// Whether the client is told how it will sound.
    pub(super) tells_its_start: bool,
    /// Whether sentences come with offsets and figures.
    pub(super) tells_figures: bool,
    pub(super) wants_words: bool,
    pub(super) is_resumable: bool,
    /// Whether sentences that are no longer kept can be spoken again.
    pub(super) is_repeatable: bool,
    pub(super) segmenter: Segmenter,
    /// What a writer has written, and how many characters that is.
    pub(super) written: String,
    pub(super) written_chars: usize,
    /// The connection is closed behind it.
    pub(super) drains: bool,
    pub(super) idle: Duration,
    pub(super) next_index: u64,
    /// How many sentences the client was ever told of.
    pub(super) told: u64,
    /// The sentence that was handed out last.
    pub(super) last_text: String,
    /// Spoken, or dropped half spoken; by now the older ones may be given up.
    pub(super) records: Vec<Record>,
    /// Memory that they take, or took: those that a cancel or a return takes out are counted until the
    /// next time that the older ones are given up.
    pub(super) record_bytes: usize,
    /// The first record since the start, or the last `cancel`.
    pub(super) first_heard: usize,
    /// Where a client waits for what has to be spoken again first.
    pub(super) recovering: Option<u64>,
    pub(super) end_reason: EndReason,
    pub(super) began: Instant,
    pub(super) chars: u64,
    /// Characters that it may still give to the engine, if there is a limit.
    pub(super) chars_left: Option<u64>,
    /// There was more to speak than that: it ends with what it was allowed, and so does the session.
    pub(super) is_over_limit: bool,
    /// Audio that was made and never sent.
    pub(super) dropped_bytes: u64,
    /// Audio that was sent and dropped before it was heard.
    pub(super) unheard_bytes: u64,
    /// Where that was, but for what nobody can go back to.
    pub(super) unheard: VecDeque<Range<u64>>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) text: String,
    /// How, for one that was begun before.
    pub(super) manner: Option<Manner>,
    /// For one that is spoken again.
    pub(super) again: Option<Again>,
}

/// What has to come of a sentence that is spoken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) bytes: u64,
    pub(super) crc32: u32,
    /// Whether these are all its bytes, or those it had come to when it was stopped.
    pub(super) is_whole: bool,
}

/// What a sentence sounds like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manner {
    pub(super) speed: f32,
    pub(super) voice: String,
    pub(super) language: String,
}

#[derive(Debug)]
pub(super) struct Speaking {
    pub(super) text: String,
    pub(super) manner: Manner,
    pub(super) index: u64,
    /// Where its audio begins.
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) crc: Hasher,
    pub(super) words: Vec<Word>,
    pub(super) is_announced: bool,
    pub(super) has_failed: bool,
    /// What it has to come to, and what is held back until it has.
    pub(super) again: Option<Again>,
    pub(super) held: Vec<Held>,
}

impl Speaking {
    /// What is kept of it once it is no longer spoken.
    pub(super) fn into_record(self, crc32: u32, is_cut: bool) -> Record {
        let Speaking { text, manner, index, start, bytes, words, .. } = self;
        Record { text, manner, index, start, bytes, crc32, words, is_cut }
    }
}

#[derive(Debug)]
pub(super) enum Held {
    Audio(Bytes),
    Message(String),
    Opening(String),
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) text: String,
    pub(super) manner: Manner,
    pub(super) index: u64,
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) crc32: u32,
    pub(super) words: Vec<Word>,
    /// It was cut off by `cancel`.
    pub(super) is_cut: bool,
}

impl Record {
    pub(super) fn memory_bytes(&self) -> usize {
        let Manner { voice, language, .. } = &self.manner;
        let texts = self.text.len() + voice.len() + language.len();
        size_of::<Record>() + texts + self.words.len() * size_of::<Word>()
    }
}

impl Synthesis {
    // Text.

    pub(super) fn take_text(&mut self, now: Instant, text: &str) {
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

    /// The next sentence to speak, if it is time for it.
    pub(super) fn next_sentence(&mut self, prefetch: usize, flow: Flow) -> Option<Sentence> {
        // Paced, the next sentence is begun when the one before it was made: that is as far ahead
        // of its turn as the look-ahead is long, and nothing is made for nobody beyond it.
        let most = if self.is_paced || self.recovering.is_some() { 1 } else { prefetch.max(1) };
        let next = (self.speaking.len() < most).then(|| self.next_segment()).flatten();
        next.map(|Segment { text, manner, again }| {
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
            let Flow { format, frame_bytes, .. } = flow;
            // Whoever may cancel is told which words were heard.
            let words = self.wants_words || self.is_v1;
            let previous_text = std::mem::replace(&mut self.last_text, text.clone());
            Sentence { text, index, speed, voice, language, previous_text, format, frame_bytes, words }
        })
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

    /// Writes off what was sent and will not be heard, but for what was written off before: how many
    /// bytes. `base` is the lowest offset in the log.
    pub(super) fn write_off(&mut self, played: u64, sent: u64, base: u64) -> u64 {
        let before = self.unheard.back().map_or(0, |range| range.end);
        let unheard = played.max(before)..sent;
        if unheard.is_empty() {
            return 0;
        }
        while self.unheard.front().is_some_and(|range| range.end <= base) {
            self.unheard.pop_front();
        }
        let bytes = unheard.end - unheard.start;
        self.unheard_bytes += bytes;
        self.unheard.push_back(unheard);
        bytes
    }

    /// What lies beyond this offset is sent again, and may be heard.
    pub(super) fn send_again_from(&mut self, offset: u64) {
        while let Some(range) = self.unheard.back_mut().filter(|range| range.end > offset) {
            let end = offset.max(range.start);
            self.unheard_bytes -= range.end - end;
            range.end = end;
            if range.is_empty() {
                self.unheard.pop_back();
            }
        }
        self.unheard_bytes = self.unheard_bytes.min(offset);
    }

    /// Forgets all text that was not handed out.
    pub(super) fn drop_text(&mut self) {
        self.segments.clear();
        self.waiting_chars = 0;
        self.idle_since = None;
        self.segmenter.flush();
        while self.segmenter.next_segment().is_some() {}
    }

    /// Remembers a sentence that is spoken no longer.
    pub(super) fn record(&mut self, record: Record) {
        self.record_bytes += record.memory_bytes();
        self.records.push(record);
        if self.record_bytes > RECORD_BYTES {
            let given_up = self.records.len() / 2;
            self.records.drain(..given_up);
            self.first_heard = self.first_heard.saturating_sub(given_up);
            // Some may have been taken out otherwise.
            self.record_bytes = self.records.iter().map(Record::memory_bytes).sum();
        }
    }

    /// Whether the sentence that is being spoken has audio, and has not failed.
    pub(super) fn is_sound(&self) -> bool {
        self.speaking.front().is_some_and(|speaking| speaking.bytes > 0 && !speaking.has_failed)
    }

    /// The sentence that the byte at this offset belongs to.
    pub(super) fn index_at(&self, offset: u64) -> u64 {
        match self.speaking.front() {
            Some(speaking) if speaking.is_announced && speaking.start <= offset => speaking.index,
            // One that was cut off may have been made beyond where the next one begins.
            _ => self.records.iter().rfind(|record| record.start <= offset).map_or(0, |record| record.index),
        }
    }

    /// Where to begin to speak again for an offset that is no longer kept: the first record to
    /// repeat, of which there may be none if the sentence is still being spoken.
    pub(super) fn first_to_repeat(&self, offset: u64) -> Option<usize> {
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
}

/// The voice of a client that names none.
pub(super) fn voice_for(settings: &Settings, language: &str) -> String {
    voice::for_language(&settings.voices, language).map(|voice| voice.name.clone()).unwrap_or_default()
}
