//! The speech of one request: from its text to audio, a sentence ahead of the listener.
//!
//! The text passes through the same segmenter, pauses, normalisation and engine as that of a session. It is cut as
//! far as it is needed, so that the sentences in memory do not depend on its length.

use super::fault::Fault;
use super::request::SpeechRequest;
use crate::access::{Permit, QuotaReached, SessionSlot};
use crate::audio::Format;
use crate::server::report::{failure_code, shortened};
use crate::server::service::Shared;
use crate::session::pauses::{self, Gap, Pauses};
use crate::text::words::{self, Word};
use crate::text::{self, Boundary, Ending, Segmentation, Segmenter, cells};
use crate::tts::{Listener, Piece, Speech, SynthesisError, SynthesisErrorKind, Utterance, normalized};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of text that are cut into sentences at once.
const CUT_BYTES: usize = 512;

/// Silence for a text without a word.
const SILENCE: Duration = Duration::from_millis(200);

/// Audio of a sentence that waits for the times of its words, in bytes: the longest sentence at the lowest speed and
/// 48,000 samples per second. Beyond, it leaves with the times so far.
const MAX_HELD_BYTES: u64 = 8 * 1024 * 1024;

/// The parts of a request that hold for every sentence.
pub(super) struct Manner {
    pub(super) voice: String,
    pub(super) speed: f32,
    pub(super) format: Format,
}

/// The speech of one request. Dropping it stops the engine.
pub(super) struct Recital {
    shared: Arc<Shared>,
    permit: Permit,
    /// Counts the request among the sessions of its client.
    _slot: Option<SessionSlot>,
    id: Arc<str>,
    text: String,
    /// Bytes of the text that the segmenter has.
    cut_bytes: usize,
    segmenter: Segmenter,
    /// True if the segmenter has all of the text.
    has_all: bool,
    boundary: Boundary,
    manner: Manner,
    language: String,
    normalize: Option<bool>,
    has_words: bool,
    frame_bytes: usize,
    prefetch: usize,
    pauses: Pauses,
    gap: Gap,
    takes: VecDeque<Take>,
    next_index: u64,
    previous_text: String,
    /// Bytes of audio that were given out.
    given_bytes: u64,
    /// Characters of the text.
    characters: u64,
    /// Characters handed to the engine.
    chars: u64,
    /// True if the client may have no more sentences.
    is_exhausted: bool,
    /// True if sentences were dropped for that.
    is_shortened: bool,
    is_over: bool,
}

/// A sentence in flight.
struct Take {
    index: u64,
    text: String,
    before: Boundary,
    speech: Speech,
    /// True once its first piece has come, which decides on the silence before it.
    has_begun: bool,
    /// Bytes of silence before its audio, and those that are still to be given.
    silence: u64,
    silence_left: u64,
    /// Audio that waits for the silence before it, or for the times of its words.
    waiting: VecDeque<Bytes>,
    waiting_bytes: u64,
    /// Times of words that wait for those behind them.
    words: Vec<Word>,
    /// Position behind the last word in the text for the engine.
    words_end: usize,
    /// True while audio and words wait until the times of all words are known.
    is_held: bool,
    /// The end of its speech, once that has come.
    end: Option<Result<(), SynthesisError>>,
    /// Position of its first byte, and its length so far.
    start: u64,
    bytes: u64,
    /// Silence at its end, in bytes.
    quiet: u64,
    has_words: bool,
}

/// Times of words of one sentence.
pub(super) struct WordTimes {
    pub(super) index: u64,
    pub(super) text: String,
    pub(super) is_estimate: bool,
    /// Each word with its start and end in the whole audio.
    pub(super) words: Vec<(String, Duration, Duration)>,
}

/// Audio and times of one turn.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) audio: Vec<u8>,
    pub(super) words: Vec<WordTimes>,
    pub(super) end: Option<Result<(), Fault>>,
    /// True if there was text without a sentence, and more is to be read before anything is spoken.
    pub(super) is_behind: bool,
}

/// The next step of a recital.
enum Step {
    Audio(Bytes),
    Words(WordTimes),
    /// Audio has come that waits for the times of its words.
    Held,
    /// There is much text without a sentence: others have their turn.
    Behind,
    End(Result<(), Fault>),
}

impl Recital {
    pub(super) fn new(
        shared: Arc<Shared>,
        permit: Permit,
        slot: Option<SessionSlot>,
        id: Arc<str>,
        request: SpeechRequest,
        manner: Manner,
        pauses: Pauses,
    ) -> Recital {
        let segmenter = Segmenter::new(Segmentation {
            language: request.language.clone(),
            clean: request.clean,
            ..Segmentation::default()
        });
        let characters = request.input.chars().count() as u64;
        Recital {
            permit,
            _slot: slot,
            id,
            text: request.input,
            cut_bytes: 0,
            segmenter,
            has_all: false,
            boundary: Boundary::Cut,
            language: request.language.unwrap_or_default(),
            normalize: request.normalize.or(shared.config.normalize),
            has_words: request.has_words,
            frame_bytes: manner.format.frame_bytes(shared.config.frame_ms),
            prefetch: shared.config.prefetch,
            manner,
            pauses,
            gap: Gap::starting(pauses.lead),
            takes: VecDeque::new(),
            next_index: 0,
            previous_text: String::new(),
            given_bytes: 0,
            characters,
            chars: 0,
            is_exhausted: false,
            is_shortened: false,
            is_over: false,
            shared,
        }
    }

    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) fn format(&self) -> Format {
        self.manner.format
    }

    pub(super) fn id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// Characters of the text.
    pub(super) fn characters(&self) -> u64 {
        self.characters
    }

    /// Characters handed to the engine.
    pub(super) fn chars(&self) -> u64 {
        self.chars
    }

    /// Bytes of audio that the engine has synthesised.
    pub(super) fn synthesised_bytes(&self) -> u64 {
        let buffered: u64 =
            self.takes.iter().map(|take| take.speech.buffered_bytes() + take.waiting_bytes).sum();
        self.given_bytes + buffered
    }

    /// Memory of text and audio in bytes, roughly.
    pub(super) fn held_bytes(&self) -> usize {
        let audio: u64 =
            self.takes.iter().map(|take| take.speech.most_buffered_bytes() + take.waiting_bytes).sum();
        self.text.len() + audio as usize
    }

    /// Takes what the engine has, at most so many bytes. Ready once the engine has given something, which may wait in
    /// here.
    pub(super) fn poll_turn(&mut self, turn: &mut Turn, most: usize, cx: &mut Context<'_>) -> Poll<()> {
        while turn.audio.len() < most && turn.end.is_none() {
            match self.poll_step(most - turn.audio.len(), cx) {
                Poll::Ready(Step::Audio(audio)) => turn.audio.extend_from_slice(&audio),
                Poll::Ready(Step::Words(words)) => turn.words.push(words),
                Poll::Ready(Step::Held) => break,
                Poll::Ready(Step::Behind) => {
                    turn.is_behind = true;
                    break;
                }
                Poll::Ready(Step::End(end)) => turn.end = Some(end),
                Poll::Pending if turn.audio.is_empty() && turn.words.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }

    /// `room` is the most bytes of audio that it gives.
    fn poll_step(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if self.is_over {
                return Poll::Ready(Step::End(Ok(())));
            }
            self.begin_sentences();
            let Some(take) = self.takes.front_mut() else {
                // What was spoken whole is no failure, even if it has used up a quota.
                let is_refused = self.is_exhausted && (self.is_shortened || self.next_sentence().is_some());
                if !self.is_cut() && !is_refused {
                    return Poll::Ready(Step::Behind);
                }
                self.is_over = true;
                if is_refused {
                    let fault = Fault::quota(
                        QuotaReached::Characters,
                        self.permit.quota_wait(Instant::now().into_std()),
                    );
                    return Poll::Ready(Step::End(Err(fault)));
                }
                if self.given_bytes > 0 {
                    continue;
                }
                let silence = vec![0; (self.manner.format.bytes(SILENCE) as usize).min(room)];
                return Poll::Ready(self.give(silence.into()));
            };
            if take.is_held && take.has_all_words() {
                take.is_held = false;
                let words = std::mem::take(&mut take.words);
                if take.bytes > 0 {
                    return Poll::Ready(Step::Words(take.word_times(&words, false, self.manner.format)));
                }
            }
            if !take.is_held
                && let Some(audio) = take.next_waiting(self.manner.format, self.frame_bytes, room)
            {
                return Poll::Ready(self.give(audio));
            }
            if let Some(end) = take.end.take() {
                if let Some(step) = self.end_sentence(end) {
                    return Poll::Ready(step);
                }
                continue;
            }
            let Poll::Ready(piece) = take.speech.poll_next(cx) else { return Poll::Pending };
            if let Some(Ok(Piece::Audio(_) | Piece::Words(_))) = piece
                && !std::mem::replace(&mut take.has_begun, true)
            {
                take.start = self.given_bytes;
                take.silence = self.gap.before(self.pauses.at(take.before), self.manner.format);
                take.silence_left = take.silence;
                // The engine knows the words before it speaks.
                take.is_held = self.has_words && matches!(piece, Some(Ok(Piece::Words(_))));
            }
            match piece {
                Some(Ok(Piece::Audio(audio))) => {
                    self.gap.begin();
                    take.take_audio(audio, self.manner.format);
                    if take.is_held && !take.has_all_words() {
                        return Poll::Ready(Step::Held);
                    }
                }
                Some(Ok(Piece::Words(words))) if take.is_held => take.words.extend(words),
                Some(Ok(Piece::Words(words))) if self.has_words => {
                    return Poll::Ready(Step::Words(take.word_times(&words, false, self.manner.format)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => take.end = Some(Err(error)),
                None => take.end = Some(Ok(())),
            }
        }
    }

    /// Takes the end of the sentence whose turn it is. Returns the step that follows from it, if any.
    fn end_sentence(&mut self, end: Result<(), SynthesisError>) -> Option<Step> {
        let take = self.takes.pop_front()?;
        let end = match end {
            Ok(()) if take.bytes == 0 => {
                Err(SynthesisError::no_audio("The speech engine gave no audio for this text."))
            }
            end => end,
        };
        if let Err(error) = end {
            self.shared.telemetry.engine_failed(failure_code(error.kind).name(), &error);
            // Signs without a word may be without a sound.
            let is_fault =
                error.kind != SynthesisErrorKind::NoAudio || take.text.contains(char::is_alphanumeric);
            if !is_fault {
                return None;
            }
            self.is_over = true;
            self.takes.clear();
            return Some(Step::End(Err(Fault::from(&error))));
        }
        self.shared.telemetry.engine_spoke();
        self.gap.end(take.quiet);
        take.estimate(self.manner.format).filter(|_| self.has_words).map(Step::Words)
    }

    /// Gives audio out, and counts it for the client.
    fn give(&mut self, audio: Bytes) -> Step {
        self.given_bytes += audio.len() as u64;
        let time = self.manner.format.duration(audio.len() as u64);
        if self.permit.has_audio_limit() && !self.permit.spend_audio(time, Instant::now().into_std()) {
            // The sentence that has begun is finished.
            self.is_exhausted = true;
            self.is_shortened |= self.takes.len() > 1;
            self.takes.truncate(1);
        }
        Step::Audio(audio)
    }

    /// Has the engine speak sentences, up to the limit of sentences in flight.
    fn begin_sentences(&mut self) {
        while self.takes.len() < self.prefetch.max(1) && !self.is_exhausted {
            let Some((text, before)) = self.next_sentence() else { return };
            self.begin(text, before);
        }
    }

    /// True if all of the text was cut into sentences.
    fn is_cut(&self) -> bool {
        self.has_all && !self.segmenter.is_reading()
    }

    /// Returns the next sentence, if it is found within the next bytes of the text.
    fn next_sentence(&mut self) -> Option<(String, Boundary)> {
        for _ in 0..2 {
            while let Some(segment) = self.segmenter.next_segment() {
                self.boundary = self.boundary.max(segment.before);
                // A voice cannot say marks and emoji alone.
                if text::is_speakable(&segment.text) {
                    return Some((segment.text, std::mem::take(&mut self.boundary)));
                }
            }
            if self.is_cut() {
                return None;
            }
            if !self.segmenter.is_reading() {
                let rest = &self.text[self.cut_bytes..];
                let piece = &rest[..text::floor_char_boundary(rest, CUT_BYTES)];
                self.segmenter.take(piece);
                self.cut_bytes += piece.len();
                if self.cut_bytes == self.text.len() {
                    self.segmenter.end(Ending::Finish);
                    self.has_all = true;
                }
            }
            self.segmenter.read_on(CUT_BYTES);
        }
        None
    }

    fn begin(&mut self, text: String, before: Boundary) {
        let index = self.next_index;
        self.next_index += 1;
        if self.shared.config.log_text {
            let (id, text) = (&*self.id, &*shortened(&text));
            tracing::info!(target: "aloud::session", id, index, text, "sentence");
        }
        let utterance = Utterance {
            text: cells::phrases(&text).unwrap_or_else(|| text.clone()),
            speed: self.manner.speed,
            voice: self.manner.voice.clone(),
            language: self.language.clone(),
            index,
            previous_text: std::mem::replace(&mut self.previous_text, text.clone()),
            client: self.permit.client().key(),
            session: Arc::clone(&self.id),
            format: self.manner.format,
            frame_bytes: self.frame_bytes,
            has_word_times: self.has_words,
            normalize: self.normalize,
            running: self.shared.syntheses.clone(),
            listener: Listener::default(),
            slot: None,
        };
        let chars = utterance.text.chars().count() as u64;
        self.chars += chars;
        if self.permit.has_session_limits() && !self.permit.spend_chars(chars, Instant::now().into_std()) {
            self.is_exhausted = true;
        }
        let words_end = utterance.text.trim_end_matches(|c: char| !c.is_alphanumeric()).len();
        self.takes.push_back(Take {
            index,
            text,
            before,
            speech: normalized::speak(&*self.shared.synthesizer, utterance),
            has_begun: false,
            silence: 0,
            silence_left: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            words: Vec::new(),
            words_end,
            is_held: false,
            end: None,
            start: 0,
            bytes: 0,
            quiet: 0,
            has_words: false,
        });
    }
}

impl Take {
    /// Takes audio, which waits if silence comes before it.
    fn take_audio(&mut self, audio: Bytes, format: Format) {
        self.quiet = format.encoding.quiet_after(self.quiet, &audio);
        self.bytes += audio.len() as u64;
        self.waiting_bytes += audio.len() as u64;
        self.waiting.push_back(audio);
    }

    /// True if there is audio and the times of all words, as far as that can be seen or waited for.
    fn has_all_words(&self) -> bool {
        let is_last = |word: &Word| word.text_range.end >= self.words_end;
        let is_whole = self.bytes >= MAX_HELD_BYTES || self.words.last().is_some_and(is_last);
        self.end.is_some() || self.bytes > 0 && is_whole
    }

    /// Returns the next piece of the silence before the audio that waits, then that audio: at most `room` bytes.
    fn next_waiting(&mut self, format: Format, frame_bytes: usize, room: usize) -> Option<Bytes> {
        let audio = self.waiting.front_mut()?;
        if self.silence_left == 0 {
            let piece = audio.split_to(audio.len().min(room));
            if audio.is_empty() {
                self.waiting.pop_front();
            }
            self.waiting_bytes -= piece.len() as u64;
            return Some(piece);
        }
        let piece = pauses::piece(format, self.silence_left, frame_bytes.min(room));
        self.silence_left -= piece.len() as u64;
        Some(piece)
    }

    /// The times of these words in the whole audio.
    fn word_times(&mut self, words: &[Word], is_estimate: bool, format: Format) -> WordTimes {
        self.has_words = true;
        let later = format.duration(self.start + self.silence);
        let has_cells = !is_estimate && cells::phrases(&self.text).is_some();
        let timed = words.iter().map(|word| {
            let range = word.text_range.clone();
            let range = if has_cells { cells::written(&self.text, range) } else { range };
            let written = self.text.get(range).unwrap_or_default().to_owned();
            (written, later + word.start, later + word.end)
        });
        WordTimes { index: self.index, text: self.text.clone(), is_estimate, words: timed.collect() }
    }

    /// An estimate of the times, if the engine has given none.
    fn estimate(mut self, format: Format) -> Option<WordTimes> {
        if self.has_words || self.bytes == 0 {
            return None;
        }
        let words = words::estimate(&self.text, format.duration(self.bytes));
        Some(self.word_times(&words, true, format))
    }
}
