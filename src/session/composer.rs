//! The text of a stream that is not yet spoken: from fragments to sentences with voice parameters.
//!
//! The composer does not follow a sentence that it has handed out.

mod unread;

use super::SessionConfig;
use super::message::surrogates::Edges;
use super::message::{Code, Fault, StartSession, TextSource};
use super::pauses::Pauses;
use super::takes::Replay;
use crate::audio::voice::{self, Voice};
use crate::text::sourced::Source;
use crate::text::{self, Boundary, Clean, Ending, Segmentation, Segmenter, Tail};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use unread::{PIECE_BYTES, Unread};

/// Time without more text after which a finished sentence is spoken, unless the client sets `idleMs`.
const IDLE: Duration = Duration::from_millis(250);

/// Time without more text after which a sentence is spoken that may go on, such as "Ask Dr.", unless `idleMs` is
/// longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Times between two pieces of text within a sentence. They show the pace of text that comes in tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When text last arrived, if a sentence did not end with it.
    last: Option<Instant>,
    /// The latest two times.
    times: [Duration; 2],
}

impl Pace {
    /// Notes that text arrived. `is_open` is true if no sentence ends with it.
    fn note(&mut self, now: Instant, is_open: bool) {
        if let Some(last) = std::mem::replace(&mut self.last, is_open.then_some(now)) {
            self.times = [self.times[1], now.saturating_duration_since(last)];
        }
    }

    /// The time after which the next token is overdue. A single pause does not count.
    fn overdue(&self) -> Duration {
        self.times[0].min(self.times[1]) * 2
    }
}

/// Voice, speed and language of a sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct VoiceParameters {
    /// Factor of the engine's usual speed, from 0.5 to 2.0.
    pub(super) speed: f32,
    pub(super) voice: String,
    /// The language as the client named it; empty if it named none.
    pub(super) language: String,
    /// True or false if the client chose whether figures and signs become words.
    #[serde(default)]
    pub(super) normalize: Option<bool>,
}

impl VoiceParameters {
    pub(super) fn memory_bytes(&self) -> usize {
        self.voice.len() + self.language.len()
    }
}

/// A sentence that waits to be synthesised.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) text: String,
    /// Place of its characters in the client's text.
    pub(super) source: Source,
    /// Boundary between the sentence before and this one.
    pub(super) before: Boundary,
    /// Bytes of silence before its audio, if it was announced before.
    pub(super) silence: Option<u64>,
    /// Set for a sentence that was begun before; otherwise the current parameters apply.
    pub(super) parameters: Option<VoiceParameters>,
    /// Set for a sentence that was synthesised before: its audio must come out the same.
    pub(super) replay: Option<Replay>,
    /// Its index, if that was given to it and it is no replay.
    pub(super) index: Option<u64>,
    /// Offset at which it was announced, if its announcement is in the log.
    pub(super) announced_at: Option<u64>,
    /// False once it has failed: its characters do not count for the bill.
    pub(super) is_counted: bool,
}

impl Segment {
    /// Its index in the stream, where `next` is the next one: its own if it was announced before.
    pub(super) fn index(&self, next: u64) -> u64 {
        self.index.or(self.replay.map(|replay| replay.index)).unwrap_or(next)
    }

    fn chars(&self) -> usize {
        self.text.chars().count()
    }

    /// Memory besides the value itself, in bytes.
    fn memory_bytes(&self) -> usize {
        let parameters = self.parameters.as_ref().map_or(0, VoiceParameters::memory_bytes);
        self.text.capacity() + self.source.memory_bytes() + parameters
    }
}

/// The limit on characters was reached, so the rest is not spoken.
#[derive(Debug)]
pub(super) struct OverLimit;

/// Text that is not yet spoken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Composer {
    source: TextSource,
    /// True while the client may append text, or the writer is writing.
    is_open: bool,
    /// Text that is not read yet. A part of it is read whenever no sentence waits.
    #[serde(default)]
    unread: Unread,
    /// When its end arrived. Not part of a snapshot.
    #[serde(skip)]
    unread_since: Option<Instant>,
    /// The end of the text so far, if it is to be completed once it was read.
    #[serde(default)]
    ending: Option<Ending>,
    /// Sentences that are to wait beside the next one, if there is text for them.
    #[serde(default)]
    ahead: usize,
    segmenter: Segmenter,
    segments: VecDeque<Segment>,
    /// The widest boundary since the last of them.
    boundary: Boundary,
    /// Characters in `segments`, and memory besides the values themselves.
    waiting_chars: usize,
    #[serde(skip)]
    waiting_bytes: usize,
    idle_limit: Duration,
    pauses: Pauses,
    /// When text last arrived, and the wait for more, if a sentence seems to end with it. Not part of a
    /// snapshot.
    #[serde(skip)]
    idle: Option<(Instant, Duration)>,
    /// True if no more text came in time. The sentence is spoken once the engine is free, unless more comes.
    is_due: bool,
    #[serde(skip)]
    pace: Pace,
    parameters: VoiceParameters,
    /// True if the client named the voice: another language does not change it then.
    is_voice_named: bool,
    /// Text from the writer so far.
    written: String,
    written_chars: usize,
    /// The sentence that was handed out last.
    previous_text: String,
    /// The first half of a surrogate pair, whose other half the client may still append.
    half: Option<u16>,
    /// Characters handed out, replays not counted.
    chars: u64,
    /// Characters of sentences that failed.
    failed_chars: u64,
    /// Characters that may still be handed out; `None` without a limit.
    chars_left: Option<u64>,
    is_over_limit: bool,
}

impl Composer {
    /// A composer that has not taken the prompt yet.
    ///
    /// # Errors
    /// The client named a voice that it may not use.
    pub(super) fn new(
        config: &SessionConfig,
        start: &StartSession,
        source: TextSource,
        chars_left: Option<u64>,
    ) -> Result<Composer, Fault> {
        let language = start.language.clone().unwrap_or_default();
        let voice = match &start.voice {
            Some(voice) => known_voice(config, voice)?,
            None => default_voice(config, &language),
        };
        let options = start.segmentation.unwrap_or_default();
        let defaults = Segmentation::default();
        let segmenter = Segmenter::new(Segmentation {
            language: start.language.clone(),
            min_chars: options.min_chars.unwrap_or(defaults.min_chars),
            max_chars: options.max_chars.unwrap_or(defaults.max_chars),
            first_clause: options.first_clause.unwrap_or(defaults.first_clause),
            // Language models write Markdown even when asked not to.
            clean: start.clean.unwrap_or(match source {
                TextSource::Llm => Clean::Markdown,
                TextSource::Verbatim | TextSource::Append => defaults.clean,
            }),
        });
        Ok(Composer {
            source,
            is_open: match source {
                TextSource::Verbatim => false,
                TextSource::Append => true,
                // An empty prompt gets no answer.
                TextSource::Llm => start.prompt.as_ref().is_some_and(|prompt| !prompt.trim().is_empty()),
            },
            unread: Unread::default(),
            unread_since: None,
            ending: None,
            ahead: 0,
            segmenter,
            segments: VecDeque::new(),
            boundary: Boundary::Cut,
            waiting_chars: 0,
            waiting_bytes: 0,
            idle_limit: options.idle_ms.map_or(IDLE, |ms| Duration::from_millis(ms.into())),
            pauses: config.pauses.with(start),
            idle: None,
            is_due: false,
            pace: Pace::default(),
            parameters: VoiceParameters {
                speed: start.speed.unwrap_or(config.speed),
                voice,
                language,
                normalize: start.normalize,
            },
            is_voice_named: start.voice.is_some(),
            written: String::new(),
            written_chars: 0,
            previous_text: String::new(),
            half: None,
            chars: 0,
            failed_chars: 0,
            chars_left,
            is_over_limit: false,
        })
    }

    pub(super) fn pauses(&self) -> Pauses {
        self.pauses
    }

    pub(super) fn source(&self) -> TextSource {
        self.source
    }

    pub(super) fn parameters(&self) -> &VoiceParameters {
        &self.parameters
    }

    /// Characters handed to the engine so far.
    pub(super) fn chars(&self) -> u64 {
        self.chars
    }

    /// Characters handed to the engine so far, without sentences that failed.
    pub(super) fn spoken_chars(&self) -> u64 {
        self.chars.saturating_sub(self.failed_chars)
    }

    /// Notes that a sentence with so many characters failed.
    pub(super) fn fail(&mut self, chars: u64) {
        self.failed_chars += chars;
    }

    /// True if more text may come.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// True if no text is left, and none may come.
    pub(super) fn is_done(&self) -> bool {
        !self.is_open && self.segments.is_empty() && !self.is_reading()
    }

    /// True if there is text to speak now.
    pub(super) fn has_more(&self) -> bool {
        !self.segments.is_empty() || self.is_reading() || self.is_due
    }

    /// True if there was more text than the session may speak.
    pub(super) fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }

    /// True if a writer is writing for this stream.
    pub(super) fn is_writing(&self) -> bool {
        self.is_open && self.source == TextSource::Llm
    }

    // Text in.

    /// True if there is text that is not read yet.
    fn is_reading(&self) -> bool {
        !self.unread.is_empty() || self.ending.is_some() || self.segmenter.is_reading()
    }

    /// True if text is to be read before more is spoken: no sentence waits, or not as many as are sought.
    pub(super) fn is_behind(&self) -> bool {
        self.is_reading() && self.segments.len() <= self.ahead
    }

    /// Reads a little of the text if it [is behind](Self::is_behind): about [`PIECE_BYTES`].
    pub(super) fn read_on(&mut self) {
        if self.is_behind() {
            self.read_piece();
        }
        if !self.is_behind() {
            self.ahead = 0;
        }
    }

    fn read_piece(&mut self) {
        if self.segmenter.is_reading() {
            // The last piece has released more.
        } else if !self.unread.is_empty() {
            self.unread.read(|piece| self.segmenter.take(piece));
        } else if let Some(ending) = self.ending.take() {
            self.push_half();
            self.segmenter.end(ending);
            self.idle = None;
            self.is_due = false;
        }
        self.segmenter.read_on(PIECE_BYTES);
        self.cut();
        if !self.is_reading()
            && let Some(since) = self.unread_since.take()
            && self.is_open
        {
            self.restart_idle(since);
        }
    }

    /// Bytes of text that were read.
    #[cfg(test)]
    pub(super) fn read_bytes(&self) -> usize {
        self.segmenter.read_bytes
    }

    /// Has this many sentences wait beside the next one.
    pub(super) fn seek(&mut self, ahead: usize) {
        self.ahead = ahead;
        self.read_on();
    }

    /// Takes the prompt, or the next piece of text, which may be cut anywhere. A long one is read as it is spoken.
    pub(super) fn push(&mut self, now: Instant, text: &str) {
        let was_reading = self.is_reading();
        self.unread.push(text);
        self.is_due = false;
        if was_reading || text.len() > PIECE_BYTES {
            self.await_reading(now);
            return self.read_on();
        }
        if !text.is_empty() {
            self.unread.read(|piece| self.segmenter.take(piece));
            self.segmenter.read_on(PIECE_BYTES);
            self.cut();
        }
        if self.segmenter.is_reading() {
            return self.await_reading(now);
        }
        let is_open = self.segmenter.tail() == Tail::Open;
        if !text.is_empty() {
            self.pace.note(now, is_open && self.segmenter.buffered_chars() > 0);
        }
        self.restart_idle(now);
    }

    /// Waits for more text only once that which has arrived was read.
    fn await_reading(&mut self, now: Instant) {
        self.unread_since = Some(now);
        self.pace.note(now, false);
        self.idle = None;
    }

    /// Takes text of the client, whose ends may be halves of a surrogate pair. A first half waits for the
    /// second one.
    pub(super) fn push_cut(&mut self, now: Instant, mut text: &str, edges: Edges) {
        if text.is_empty() {
            return self.push(now, text);
        }
        if let Some(high) = self.half.take() {
            let pair = edges.low.map(|low| char::decode_utf16([high, low]));
            let joined = pair.and_then(|mut pair| pair.next()?.ok());
            let mut buffer = [0; 4];
            self.push(now, joined.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer));
            if joined.is_some() {
                text = text.strip_prefix(char::REPLACEMENT_CHARACTER).unwrap_or(text);
            }
        }
        if edges.high.is_some() {
            text = text.strip_suffix(char::REPLACEMENT_CHARACTER).unwrap_or(text);
            self.half = edges.high;
        }
        self.push(now, text);
    }

    /// Gives up waiting for the second half of a surrogate pair.
    fn push_half(&mut self) {
        if self.half.take().is_some() {
            self.segmenter.take("\u{fffd}");
        }
    }

    /// Takes appended text. At most `most_waiting` characters may wait to be spoken.
    pub(super) fn append(
        &mut self,
        now: Instant,
        text: &str,
        edges: Edges,
        most_waiting: usize,
    ) -> Result<(), Fault> {
        if !self.is_open || self.source != TextSource::Append {
            if self.is_over_limit {
                return Err(super::text_limit());
            }
            let message = match self.source {
                TextSource::Append => "This stream takes no more text after end. Start another stream.",
                _ => "append needs a stream that was started with \"source\": \"append\".",
            };
            return Err(Fault::new(Code::BadMessage, message));
        }
        let waiting = self.waiting_chars + self.segmenter.buffered_chars() + self.unread.chars();
        let chars = text.chars().count();
        if chars > most_waiting {
            let message = format!(
                "The text has {chars} characters, and at most {most_waiting} may wait to be spoken. Send it in parts."
            );
            return Err(Fault::new(Code::BufferFull, message));
        }
        if waiting + chars > most_waiting {
            let message = format!(
                "Too much text waits to be spoken (limit {most_waiting} characters). Send this text again later."
            );
            return Err(Fault::new(Code::BufferFull, message));
        }
        self.push_cut(now, text, edges);
        Ok(())
    }

    /// True if more text should be taken from the writer: at most `most_waiting` characters wait to be
    /// spoken.
    pub(super) fn wants_text(&self, most_waiting: usize) -> bool {
        // Text that was read and is not cut into sentences yet does not count: to cut it may take more text.
        let is_room = |unread: usize| self.waiting_chars + unread <= most_waiting;
        // Its bytes are no fewer than its characters, which have to be counted.
        self.is_writing() && (is_room(self.unread.len()) || is_room(self.unread.chars()))
    }

    /// Takes text from the writer, up to a total of `most` characters.
    ///
    /// # Errors
    /// The total is longer than that. The characters up to `most` were taken.
    pub(super) fn push_written(&mut self, now: Instant, text: &str, most: usize) -> Result<(), OverLimit> {
        let room = most.saturating_sub(self.written_chars);
        let end = text.char_indices().nth(room).map(|(at, _)| at);
        let text = &text[..end.unwrap_or(text.len())];
        self.written.push_str(text);
        self.written_chars += text.chars().count();
        self.push(now, text);
        end.map_or(Ok(()), |_| Err(OverLimit))
    }

    /// Ends the writer's text, and returns all of it.
    pub(super) fn finish_writing(&mut self) -> String {
        self.close();
        std::mem::take(&mut self.written)
    }

    /// Cuts all buffered text into sentences, whether finished or not.
    pub(super) fn flush(&mut self) {
        self.ending.get_or_insert(Ending::Flush);
        self.seek(usize::MAX);
    }

    /// True until [`flush`](Self::flush) has cut all of the text.
    pub(super) fn is_flushing(&self) -> bool {
        self.ahead == usize::MAX
    }

    /// Notes that no more text came in time.
    pub(super) fn commit(&mut self) {
        self.is_due |= self.idle.take().is_some();
    }

    /// Takes no more text: what is buffered is spoken, and what looked like markup and has no end.
    pub(super) fn close(&mut self) {
        self.is_open = false;
        self.ending = Some(Ending::Finish);
        self.idle = None;
        self.is_due = false;
        self.read_on();
    }

    /// Sentences that wait, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Moves finished sentences from the segmenter to the queue.
    fn cut(&mut self) {
        while let Some(text::Segment { text, before, source }) = self.segmenter.next_segment() {
            self.boundary = self.boundary.max(before);
            // A voice cannot say marks and emoji alone.
            if text::is_speakable(&text) {
                self.waiting_chars += text.chars().count();
                let segment = Segment {
                    text,
                    source,
                    before: std::mem::take(&mut self.boundary),
                    silence: None,
                    parameters: None,
                    replay: None,
                    index: None,
                    announced_at: None,
                    is_counted: true,
                };
                self.waiting_bytes += segment.memory_bytes();
                self.segments.push_back(segment);
            }
        }
    }

    /// When buffered text is spoken if no more arrives.
    pub(super) fn commits_at(&self) -> Option<Instant> {
        self.idle.map(|(since, limit)| since + limit)
    }

    /// True if buffered text is spoken unless more arrives.
    pub(super) fn is_idle(&self) -> bool {
        self.idle.is_some() || self.is_due
    }

    /// Goes on from a snapshot, in which the end of the text was waited for if `is_idle` is true.
    pub(super) fn resume(&mut self, now: Instant, is_idle: bool) {
        self.unread_since = Some(now).filter(|_| self.is_reading());
        self.count_waiting();
        if is_idle {
            self.restart_idle(now);
        }
    }

    /// Starts the wait for more text anew.
    fn restart_idle(&mut self, now: Instant) {
        let patience = PATIENCE.max(self.idle_limit);
        self.idle = match self.segmenter.tail() {
            Tail::Open => None,
            Tail::Doubtful => Some((now, patience)),
            Tail::Finished => Some((now, self.pace.overdue().clamp(self.idle_limit, patience))),
        };
    }

    /// Changes the voice parameters from the next sentence on.
    pub(super) fn update(
        &mut self,
        config: &SessionConfig,
        voice: Option<String>,
        language: Option<String>,
        speed: Option<f32>,
    ) {
        if let Some(language) = language {
            self.parameters.language = language;
            if !self.is_voice_named {
                self.parameters.voice = default_voice(config, &self.parameters.language);
            }
        }
        if let Some(voice) = voice {
            self.parameters.voice = voice;
            self.is_voice_named = true;
        }
        self.parameters.speed = speed.unwrap_or(self.parameters.speed);
    }

    // Sentences out.

    /// Hands out the next sentence, its voice parameters, and the text of the sentence before it.
    ///
    /// # Errors
    /// The sentence goes beyond the limit on characters. It and all others are dropped.
    pub(super) fn next(&mut self) -> Result<Option<(Segment, VoiceParameters, String)>, OverLimit> {
        if self.segments.is_empty() && !self.is_reading() && std::mem::take(&mut self.is_due) {
            self.segmenter.end(self.segmenter.ending());
            self.read_on();
        }
        let Some(segment) = self.segments.front() else { return Ok(None) };
        let chars = segment.chars();
        if segment.parameters.is_none() {
            // A replay was counted when it was first spoken.
            if let Some(left) = self.chars_left {
                match left.checked_sub(chars as u64) {
                    Some(rest) => self.chars_left = Some(rest),
                    None => {
                        self.stop_at_limit();
                        return Err(OverLimit);
                    }
                }
            }
            self.chars += chars as u64;
        }
        let Some(mut segment) = self.segments.pop_front() else { return Ok(None) };
        self.waiting_chars = self.waiting_chars.saturating_sub(chars);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(segment.memory_bytes());
        if self.segments.len() < self.segments.capacity() / 4 {
            self.segments.shrink_to(2 * self.segments.len());
        }
        self.read_on();
        let parameters = segment.parameters.take().unwrap_or_else(|| self.parameters.clone());
        let previous_text = std::mem::replace(&mut self.previous_text, segment.text.clone());
        Ok(Some((segment, parameters, previous_text)))
    }

    /// Puts sentences in front of all others, in this order, to be spoken again.
    pub(super) fn put_back(&mut self, segments: impl DoubleEndedIterator<Item = Segment>) {
        for segment in segments.rev() {
            self.segments.push_front(segment);
        }
        self.count_waiting();
    }

    fn count_waiting(&mut self) {
        self.waiting_chars = self.segments.iter().map(Segment::chars).sum();
        self.waiting_bytes = self.segments.iter().map(Segment::memory_bytes).sum();
    }

    /// Lengths of the sentences that wait and were synthesised before, up to the first that was not.
    pub(super) fn known_lengths(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().map_while(|segment| segment.replay.map(|replay| replay.bytes))
    }

    /// Lets all sentences be announced again.
    pub(super) fn forget_announcements(&mut self) {
        self.segments.iter_mut().for_each(|segment| segment.announced_at = None);
    }

    /// Lets the sentences behind the first `kept` come out different from before.
    pub(super) fn forget_replays(&mut self, kept: usize) {
        for segment in self.segments.iter_mut().skip(kept) {
            segment.index = segment.index.or(segment.replay.take().map(|replay| replay.index));
        }
    }

    /// Drops every sentence that was not begun. Returns true if there was one, or if more text could have
    /// come.
    pub(super) fn stop_if_unfinished(&mut self) -> bool {
        let is_unfinished = !self.is_done();
        if is_unfinished {
            self.stop_at_limit();
        }
        is_unfinished
    }

    fn stop_at_limit(&mut self) {
        self.is_over_limit = true;
        self.is_open = false;
        self.clear();
    }

    /// Drops all text that was not handed out. This ends a writer's answer; a client may append more.
    pub(super) fn cancel(&mut self) {
        self.clear();
        self.is_open &= self.source == TextSource::Append;
    }

    fn clear(&mut self) {
        let half = u64::from(self.half.take().is_some());
        self.segmenter.restart(self.unread.utf16_units() + half);
        self.unread.clear();
        self.unread_since = None;
        self.ending = None;
        self.ahead = 0;
        self.segments = VecDeque::new();
        (self.waiting_chars, self.waiting_bytes) = (0, 0);
        self.boundary = Boundary::Cut;
        self.idle = None;
        self.is_due = false;
    }

    /// Memory of the text that waits, in bytes. Takes the same time however long it is.
    pub(super) fn held_bytes(&self) -> usize {
        let segments = self.segments.capacity() * size_of::<Segment>() + self.waiting_bytes;
        self.written.capacity() + self.unread.memory_bytes() + segments + self.segmenter.memory_bytes()
    }
}

/// The voice of this name, if the session may use it.
pub(super) fn known_voice(config: &SessionConfig, voice: &str) -> Result<String, Fault> {
    if config.voices.iter().any(|known| known.name == voice) {
        return Ok(voice.to_owned());
    }
    let message = format!("There is no such voice; there is {}.", voice::names(&config.voices));
    Err(Fault::new(Code::UnknownVoice, message))
}

/// The voice for a client that names none.
fn default_voice(config: &SessionConfig, language: &str) -> String {
    let voice: Option<&Voice> = voice::for_language(&config.voices, language);
    voice.map(|voice| voice.name.clone()).unwrap_or_default()
}
