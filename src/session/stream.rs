//! One stream of a session: from its `start_session` to its `session_end`.
//!
//! Text is cut into sentences, sentences are handed out to be spoken, and what comes back is
//! written to the log with everything that a client is told around it.

use super::ear::{Ear, Heard};
use super::synthesis::{Again, Held, Record, Segment, Speaking, Synthesis, voice_for};
use super::{AfterCancel, Sentence, Settings, known_voice};
use crate::audio::Format;
use crate::session::log::{Flow, Log, OutOfLog};
use crate::session::message::{
    AudioOptions, CancelledFigures, Code, Delivery, EndReason, Fault, SentenceFigures, ServerMessage,
    StartSession, TextSource, Timestamps, Usage, WordTimes,
};
use crate::text::words::{self, Word};
use crate::text::{Clean, Segmentation, Segmenter};
use crate::ws::frames::Sent;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After this long without more text a finished sentence is spoken, where a client does not say.
const IDLE: Duration = Duration::from_millis(250);

/// What a character of text takes to say, as a rule.
const CHARACTER: Duration = Duration::from_millis(65);

/// A stream, running or kept behind its end for a client that comes back.
///
/// Kept in this order: what every step reads comes first, in few cache lines. With thousands of
/// streams none of them is in a cache, and fetching them is what a step costs.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stream {
    /// Everything was sent, `session_end` included.
    pub(super) is_finished: bool,
    first_audio: Option<Duration>,
    pub(super) ear: Ear,
    pub(super) log: Log,
    /// Boxed: hardly a step reads it, and a session without a stream keeps no room for it.
    pub(super) synthesis: Box<Synthesis>,
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
        let synthesis = Synthesis {
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
            told: 0,
            last_text: String::new(),
            records: Vec::new(),
            record_bytes: 0,
            first_heard: 0,
            recovering: None,
            cancelling: None,
            end_reason: EndReason::Completed,
            began: now,
            chars: 0,
            chars_left: None,
            is_over_limit: false,
            dropped_bytes: 0,
            unheard_bytes: 0,
            unheard: VecDeque::new(),
        };
        let mut stream = Stream {
            is_finished: false,
            first_audio: None,
            ear: Ear::new(now, source == TextSource::Append),
            log: Log::new(Flow { format, frame_bytes, ahead, keep_bytes }),
            synthesis: Box::new(synthesis),
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
            stream.synthesis.take_text(now, prompt);
        }
        if !stream.synthesis.is_open {
            stream.synthesis.flush();
        }
        Ok(stream)
    }

    // Text.

    pub(super) fn append(&mut self, now: Instant, text: &str, most_waiting: usize) -> Result<(), Fault> {
        self.synthesis.append(now, text, most_waiting)?;
        self.ear.on_text(now);
        Ok(())
    }

    // Speech.

    /// The next sentence to speak, if it is time for it; announces the one that comes to be heard.
    pub(super) fn next_sentence(&mut self, prefetch: usize) -> Option<Sentence> {
        let sentence = self.synthesis.next_sentence(prefetch, *self.log.flow());
        self.announce();
        sentence
    }

    fn announce(&mut self) {
        let Some(speaking) = self.synthesis.speaking.front_mut().filter(|speaking| !speaking.is_announced)
        else {
            return;
        };
        speaking.is_announced = true;
        speaking.start = self.log.written_bytes();
        let at = self
            .synthesis
            .tells_figures
            .then(|| (speaking.start, ms(self.log.flow().format, speaking.start)));
        let index = speaking.index;
        let text = ServerMessage::Text { data: speaking.text.clone(), index, at }.to_json();
        match speaking.again {
            Some(_) => speaking.held.push(Held::Opening(text)),
            None => self.log.push_opening(text, index),
        }
    }

    /// Writes a message to the log, behind what is held back.
    fn push(&mut self, message: &ServerMessage) {
        match self.synthesis.speaking.front_mut().filter(|speaking| speaking.again.is_some()) {
            Some(speaking) => speaking.held.push(Held::Message(message.to_json())),
            None => self.log.push_message(message.to_json()),
        }
    }

    pub(super) fn wants_speech(&self, now: Instant) -> bool {
        self.log.wants_more(now) && self.synthesis.cancelling.is_none() && !self.synthesis.speaking.is_empty()
    }

    /// # Errors
    /// The sentence was spoken again, and comes out different.
    pub(super) fn on_audio(&mut self, chunk: Bytes) -> Result<(), ()> {
        let Some(speaking) = self.synthesis.speaking.front_mut() else { return Ok(()) };
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
                if self.synthesis.tells_figures || self.synthesis.is_resumable {
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
        self.synthesis.recovering = None;
        let Some(speaking) = self.synthesis.speaking.front_mut() else { return };
        let index = speaking.index;
        for held in std::mem::take(&mut speaking.held) {
            match held {
                Held::Audio(chunk) => self.log.push_audio(chunk),
                Held::Message(json) => self.log.push_message(json),
                Held::Opening(json) => self.log.push_opening(json, index),
            }
        }
    }

    pub(super) fn on_words(&mut self, words: &[Word], is_estimate: bool) {
        let Some(speaking) = self.synthesis.speaking.front_mut() else { return };
        speaking.words.extend_from_slice(words);
        if !self.synthesis.wants_words || words.is_empty() {
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
        let Some(speaking) = self.synthesis.speaking.front_mut() else { return };
        speaking.has_failed = true;
        let fault = Fault::new(code, message).about(speaking.index);
        self.push(&super::fault_message(fault, self.synthesis.is_v1));
    }

    /// The sentence that is being spoken is over.
    ///
    /// # Errors
    /// It was spoken again, and came out different.
    pub(super) fn on_spoken(&mut self) -> Result<(), ()> {
        let Some(speaking) = self.synthesis.speaking.front() else { return Ok(()) };
        if speaking.bytes == 0 && !speaking.has_failed {
            self.on_failure(Code::EngineNoAudio, "The speech engine gave no audio for this sentence.");
        }
        let Some(speaking) = self.synthesis.speaking.front() else { return Ok(()) };
        if (self.synthesis.wants_words || self.synthesis.is_v1)
            && speaking.words.is_empty()
            && speaking.bytes > 0
        {
            let words = words::estimate(&speaking.text, self.format().duration(speaking.bytes));
            self.on_words(&words, true);
        }
        let Some(speaking) = self.synthesis.speaking.front_mut() else { return Ok(()) };
        let crc32 = speaking.crc.clone().finalize();
        if let Some(again) = speaking.again.take() {
            if (again.bytes, again.crc32) != (speaking.bytes, crc32) {
                return Err(());
            }
            self.release();
        }
        let Some(speaking) = self.synthesis.speaking.pop_front() else { return Ok(()) };
        let figures = self.synthesis.tells_figures.then(|| SentenceFigures {
            offset: speaking.start + speaking.bytes,
            bytes: speaking.bytes,
            duration_ms: ms(self.format(), speaking.bytes),
            crc32,
        });
        let end = ServerMessage::SentenceEnd { index: speaking.index, figures };
        self.log.push_message(end.to_json());
        if self.synthesis.keeps_records {
            self.synthesis.record(speaking.into_record(crc32, false));
        }
        Ok(())
    }

    // Delivery.

    /// What its audio is.
    pub(super) fn format(&self) -> Format {
        self.log.flow().format
    }

    pub(super) fn sent(&mut self, now: Instant, what: Sent) -> Option<Heard> {
        let opened = self.log.sent(now, what);
        match what {
            Sent::Audio(bytes) => {
                self.first_audio.get_or_insert_with(|| now.saturating_duration_since(self.synthesis.began));
                self.ear.on_audio(now, self.format().duration(bytes as u64))
            }
            Sent::Message => {
                if let Some(index) = opened.filter(|index| *index >= self.synthesis.told) {
                    self.synthesis.told = index + 1;
                    self.ear.on_sentence();
                }
                None
            }
        }
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.log.is_all_sent()
            && !self.synthesis.is_open
            && self.synthesis.cancelling.is_none()
            && self.synthesis.speaking.is_empty()
            && self.synthesis.segments.is_empty()
    }

    /// When the gate opens, if time alone opens it.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        if self.is_finished { None } else { self.log.opens_at(now) }
    }

    /// When the text that there is has to be spoken, should no more come.
    pub(super) fn commits_at(&self) -> Option<Instant> {
        let since = self.synthesis.idle_since.filter(|_| !self.is_finished);
        since.map(|since| since + self.synthesis.idle)
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
            self.synthesis.dropped_bytes += untaken_bytes;
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
        let held: u64 = self.synthesis.speaking.iter().filter(|s| s.again.is_some()).map(|s| s.bytes).sum();
        let unsent = self.log.written_bytes().saturating_sub(sent) + held + untaken_bytes;
        let unheard = self.synthesis.write_off(played, sent, self.log.base_bytes());
        self.synthesis.dropped_bytes += unsent;
        self.log.cancel(now);
        self.ear.on_interruption();
        // Sentences of which the client was told nothing leave no gap behind; those that it was told
        // of, on a connection before this one too, keep their numbers.
        self.synthesis.next_index = self.synthesis.told;
        // What was begun is on record as far as it went, for what the listener has heard.
        let begun = std::mem::take(&mut self.synthesis.speaking).into_iter();
        for speaking in begun.filter(|speaking| speaking.is_announced) {
            self.synthesis.record(speaking.into_record(0, true));
        }
        self.synthesis.records.retain(|record| record.index < self.synthesis.next_index);
        if let Some(last) = self.synthesis.records.last_mut() {
            last.is_cut |= last.start + last.bytes > sent;
        }
        self.synthesis.drop_text();
        self.synthesis.recovering = None;
        // An answer that was interrupted is over, appended text may go on.
        self.synthesis.is_open &= self.synthesis.source == TextSource::Append;
        let figures = self.figures(sent, played, unsent + unheard);
        self.synthesis.first_heard = self.synthesis.records.len();
        match after {
            AfterCancel::Tell { .. } if !self.synthesis.is_open => {
                self.synthesis.end_reason = EndReason::Cancelled;
            }
            _ => {}
        }
        figures
    }

    fn figures(&self, sent: u64, played: u64, wasted: u64) -> CancelledFigures {
        CancelledFigures {
            index: self.synthesis.index_at(sent),
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
        for record in self
            .synthesis
            .records
            .iter()
            .skip(self.synthesis.first_heard)
            .filter(|record| record.start < played && record.bytes > 0)
        {
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

    // Recovery.

    /// Whether the stream can go on at this offset.
    pub(super) fn can_go_back_to(&self, offset: u64) -> bool {
        let is_kept = offset >= self.log.base_bytes();
        offset <= self.log.sent_bytes() && (is_kept || self.synthesis.first_to_repeat(offset).is_some())
    }

    /// Goes back to an offset: true if it is in the log, false if sentences have to be spoken
    /// again first, for which all speech must be stopped.
    ///
    /// # Errors
    /// Neither can be.
    pub(super) fn go_back_to(&mut self, offset: u64) -> Result<bool, ()> {
        match self.log.rewind(offset) {
            Ok(()) => {
                self.synthesis.send_again_from(offset);
                self.is_finished = false;
                // What waited to be told is told now.
                self.synthesis.recovering = None;
                return Ok(true);
            }
            Err(OutOfLog::Beyond) => return Err(()),
            Err(OutOfLog::Before) => {}
        }
        let first = self.synthesis.first_to_repeat(offset).ok_or(())?;
        let mut start = self.synthesis.records.get(first).map(|record| record.start);
        for speaking in self.synthesis.speaking.drain(..).rev() {
            let Speaking { text, manner, index, start: begun, bytes, crc, is_announced, again, .. } =
                speaking;
            // As far as it was spoken it has to come out the same.
            let so_far = || Again { bytes, crc32: crc.finalize(), is_whole: false };
            let again = if is_announced && again.is_none() { Some(so_far()) } else { again };
            if is_announced {
                start.get_or_insert(begun);
            }
            self.synthesis.next_index = index;
            self.synthesis.segments.push_front(Segment { text, manner: Some(manner), again });
        }
        for record in self.synthesis.records.drain(first..).rev() {
            let Record { text, manner, index, bytes, crc32, .. } = record;
            self.synthesis.next_index = index;
            let again = Some(Again { bytes, crc32, is_whole: true });
            self.synthesis.segments.push_front(Segment { text, manner: Some(manner), again });
        }
        self.synthesis.waiting_chars =
            self.synthesis.segments.iter().map(|segment| segment.text.chars().count()).sum();
        self.log.restart(start.ok_or(())?, offset);
        self.synthesis.send_again_from(offset);
        self.synthesis.recovering = Some(offset);
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
        self.format().duration(self.synthesis.dropped_bytes + self.synthesis.unheard_bytes + open)
    }

    pub(super) fn usage(&self) -> Usage {
        let sent = self.log.sent_bytes();
        // What is spoken again was made before, once.
        let made = self.log.written_bytes().max(sent) + self.synthesis.dropped_bytes;
        Usage {
            chars: self.synthesis.chars,
            sentences: self.synthesis.next_index,
            audio_ms: ms(self.format(), sent),
            synthesised_ms: ms(self.format(), made),
            wasted_ms: ms(self.format(), self.synthesis.dropped_bytes + self.synthesis.unheard_bytes),
            first_audio_ms: self.first_audio.map_or(0, |first| first.as_millis() as u64),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let records: usize = self.synthesis.records.iter().map(Record::memory_bytes).sum();
        let held: usize = self.synthesis.speaking.iter().map(|speaking| speaking.bytes as usize).sum();
        size_of::<Stream>() + self.log.memory_bytes() + records + held + self.synthesis.written.len()
    }
}

fn ms(format: Format, bytes: u64) -> u64 {
    format.duration(bytes).as_millis() as u64
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
