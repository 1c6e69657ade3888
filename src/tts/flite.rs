//! The voice inside the binary: US English, one male speaker, nothing to fetch and no account.
//!
//! The synthesis is that of the crate `flite-rs`, some thousand times faster than real time on one
//! core. What is added here: threads that sessions share fairly, a speed for every utterance, the
//! silence and the level of [`level`](super::level), and bounds on the work that a hostile text
//! can ask for.

use super::level::{Level, Trim};
use super::{Sink, Speech, SynthesisError, Synthesizer, Utterance};
use crate::proto::audio::{Encoding, Format};
use flite_rs::language::Language;
use flite_rs::text::{self, Token};
use flite_rs::{Engine, Flow, KAL16_VOICE_DATA, Voice, VoiceParams, pipeline, voice};
use std::borrow::Cow;
use std::sync::Arc;
use std::thread;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The voice is quiet, −28.7 dBFS RMS. This, +7 dB, brings it level with other voices.
const BOOST: f32 = 2.238_721;

/// The time of an analysis grows with the square of a word's letters, and of a sentence's words.
/// A longer word than this is taken for several.
const MAX_WORD_CHARS: usize = 200;

/// A sentence is cut where this many words had no punctuation.
const MAX_WORDS_WITHOUT_PAUSE: usize = 50;

/// A sentence is cut before it exceeds this, behind its last punctuation mark if it has one.
const MAX_PIECE_CHARS: usize = 600;

/// Marks that are kept on one side of a word. They are not spoken: more of them say no more.
const MAX_MARKS: usize = 8;

/// The speech engine inside the binary: voice kal16 of Flite, 16 kHz, US English.
///
/// Speeds are within 0.5 to 2.0; others are taken for the nearest of these. The same utterance
/// always gives the same bytes. A sentence begins with at most 20 ms of silence, ends with at most
/// 120 ms, and peaks at −1 dBFS or below.
///
/// Synthesis runs on a bounded number of threads, a sentence at a time, and whoever waited longest
/// comes next. A thread never waits for a listener: audio which nobody takes stops the utterance
/// that it belongs to and no other.
#[derive(Clone)]
pub struct Flite {
    speaker: Arc<Speaker>,
    threads: Arc<Semaphore>,
}

impl Flite {
    /// An engine that uses as many threads as there are cores.
    ///
    /// # Panics
    /// If the voice in the binary is damaged, which is to say never.
    pub fn new() -> Flite {
        Flite::with_threads(thread::available_parallelism().map_or(1, usize::from))
    }

    /// An engine that uses up to this many threads at once, at least one.
    ///
    /// # Panics
    /// If the voice in the binary is damaged, which is to say never.
    pub fn with_threads(threads: usize) -> Flite {
        let threads = threads.clamp(1, Semaphore::MAX_PERMITS);
        Flite { speaker: Arc::new(Speaker::new()), threads: Arc::new(Semaphore::new(threads)) }
    }
}

impl Default for Flite {
    fn default() -> Flite {
        Flite::new()
    }
}

impl Synthesizer for Flite {
    fn name(&self) -> &str {
        "flite"
    }

    fn format(&self) -> Format {
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.speaker.voice.sample_rate }
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (sink, speech) = Speech::channel(&utterance);
        tokio::spawn(speak(self.clone(), utterance, sink));
        speech
    }
}

/// Speaks an utterance to its end, or for as long as anybody listens.
async fn speak(engine: Flite, utterance: Utterance, mut sink: Sink) {
    let params = engine.speaker.params(utterance.speed);
    let text = plain(&utterance.text);
    let mut heard = false;
    for piece in text::sentences(&text).flat_map(pieces) {
        let speaker = engine.speaker.clone();
        let job = move |sink: &mut Sink| speaker.speak(&piece, &params, sink);
        // Nothing comes back when the listener is gone. Nor does it after a panic, which took the
        // sink with it, and by that the listener has learned of it.
        let Some((returned, audible)) = run(&engine.threads, sink, job).await else { return };
        sink = returned;
        heard |= audible;
        // No thread is held any more, so a listener may take its time. And until it took this
        // piece there is no next: that bounds what is kept for it.
        if sink.drain().await.is_err() {
            return;
        }
    }
    if heard {
        sink.finish().await;
    } else {
        let message = "The voice flite has no sound for this text: it reads English words, numbers \
                       and signs. Send English text, or use an engine that speaks its language.";
        sink.fail(SynthesisError::no_audio(message)).await;
    }
}

/// Does a job on a thread of its own, once one of `threads` is free. `None` if the listener left
/// before its turn, or the job panicked.
async fn run<T: Send + 'static>(
    threads: &Arc<Semaphore>,
    mut sink: Sink,
    job: impl FnOnce(&mut Sink) -> T + Send + 'static,
) -> Option<(Sink, T)> {
    let permit = tokio::select! {
        biased;
        () = sink.cancelled() => return None,
        permit = threads.clone().acquire_owned() => permit.ok()?,
    };
    let done = spawn_blocking(move || {
        let _permit = permit;
        let result = job(&mut sink);
        (sink, result)
    });
    done.await.ok()
}

/// The parsed voice and language, shared by all utterances.
struct Speaker {
    language: Arc<Language>,
    voice: Voice,
}

impl Speaker {
    fn new() -> Speaker {
        let damaged = "the voice in the binary is whole";
        // The crate hands its language out through an engine only.
        let language = Engine::try_new().expect(damaged).language();
        Speaker { language, voice: Voice::parse(KAL16_VOICE_DATA).expect(damaged) }
    }

    fn params(&self, speed: f32) -> VoiceParams {
        let mut params = self.voice.params();
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(0.5, 2.0) };
        params.duration_stretch /= speed;
        params
    }

    /// Speaks one piece, and tells whether there was anything to hear. Stops when the listener is
    /// gone.
    fn speak(&self, piece: &[Token], params: &VoiceParams, sink: &mut Sink) -> bool {
        let utterance = pipeline::analyse(&self.language, piece, params);
        let mut trim = Trim::new(self.voice.sample_rate);
        let mut level = Level::new(self.voice.sample_rate, BOOST);
        let (mut kept, mut ready) = (Vec::new(), Vec::new());
        // Called for every pitch period, about every 11 ms of audio.
        voice::synthesise_streaming(&self.voice, &utterance, params, &mut |period| {
            kept.clear();
            ready.clear();
            trim.push(period, &mut kept);
            level.push(&kept, &mut ready);
            if sink.push(&ready).is_ok() { Flow::Continue } else { Flow::Stop }
        });
        ready.clear();
        level.finish(&mut ready);
        // An error means that the listener is gone, which whoever waits next learns too.
        let _ = sink.push(&ready);
        trim.heard()
    }
}

/// The text with letters and marks that the voice would leave out replaced by ones it knows.
fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        // A dash between spaces is a pause, one between figures means "to".
        let dash = letter == '—' || (letter == '–' && plain.ends_with(' '));
        if dash {
            plain.truncate(plain.trim_end().len());
        }
        plain.push_str(match letter {
            '‘' | '’' => "'",
            '“' | '”' | '„' | '«' | '»' => "\"",
            _ if dash => ", ",
            '–' | '‐' | '‑' => "-",
            '…' => "...",
            'À'..='Å' => "A",
            'Æ' => "Ae",
            'Ç' => "C",
            'È'..='Ë' => "E",
            'Ì'..='Ï' => "I",
            'Ñ' => "N",
            'Ò'..='Ö' | 'Ø' => "O",
            'Œ' => "Oe",
            'Ù'..='Ü' => "U",
            'ß' => "ss",
            'à'..='å' => "a",
            'æ' => "ae",
            'ç' => "c",
            'è'..='ë' => "e",
            'ì'..='ï' => "i",
            'ñ' => "n",
            'ò'..='ö' | 'ø' => "o",
            'œ' => "oe",
            'ù'..='ü' => "u",
            'ý' | 'ÿ' => "y",
            space if space.is_whitespace() && !space.is_ascii() => " ",
            other => {
                plain.push(other);
                continue;
            }
        });
    }
    Cow::Owned(plain)
}

/// Cuts a sentence into pieces whose analysis is cheap. Most sentences are one piece.
fn pieces(sentence: Vec<Token>) -> Vec<Vec<Token>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Token> = Vec::new();
    let mut chars = 0;
    // Words of the piece up to its last punctuation mark.
    let mut pause = 0;
    for token in sentence.into_iter().flat_map(words) {
        let length = token.name.chars().count();
        while piece.len() - pause >= MAX_WORDS_WITHOUT_PAUSE
            || (chars > 0 && chars + length > MAX_PIECE_CHARS)
        {
            let rest = if pause > 0 { piece.split_off(pause) } else { Vec::new() };
            pieces.push(std::mem::replace(&mut piece, rest));
            chars = piece.iter().map(|token| token.name.chars().count()).sum();
            pause = 0;
        }
        chars += length;
        let pauses = !token.punctuation.is_empty();
        piece.push(token);
        if pauses {
            pause = piece.len();
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// The token, as several if it is too long for one.
fn words(mut token: Token) -> Vec<Token> {
    token.prepunctuation = token.prepunctuation.chars().take(MAX_MARKS).collect();
    token.punctuation = token.punctuation.chars().take(MAX_MARKS).collect();
    if token.name.len() <= MAX_WORD_CHARS {
        return vec![token];
    }
    let letters: Vec<char> = token.name.chars().collect();
    let mut words: Vec<Token> = letters
        .chunks(MAX_WORD_CHARS)
        .map(|part| Token { whitespace: " ".to_owned(), name: part.iter().collect(), ..Token::default() })
        .collect();
    if let Some(first) = words.first_mut() {
        first.prepunctuation = token.prepunctuation;
    }
    if let Some(last) = words.last_mut() {
        last.punctuation = token.punctuation;
    }
    words
}
