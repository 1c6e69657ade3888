//! The voice inside the binary: US English, one male speaker, nothing to fetch and no account.
//!
//! The synthesis is that of the crate `flite-rs`, some thousand times faster than real time on one
//! core. What is added here: threads that sessions share fairly, a speed for every utterance, the
//! silence and the level of [`level`](crate::audio::level), and bounds on the work that a hostile text
//! can ask for.

use super::{Gender, Sink, Speech, SynthesisError, Synthesizer, Utterance, Voice, Word};
use crate::audio::level::{Level, Trim};
use crate::audio::{Encoding, Format};
use crate::text::words::written;
use flite_rs::language::Language;
use flite_rs::phoneset::SILENCE;
use flite_rs::text::{self, Token};
use flite_rs::utterance::ItemId;
use flite_rs::{Engine, Flow, KAL16_VOICE_DATA, VoiceParams, pipeline, voice};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// What the voice is called, and its variants: the one recording, spoken lower or higher. For each,
/// what its pitch is multiplied by.
const VOICES: [(&str, f32); 3] = [("kal16", 1.0), ("kal16-low", 0.8), ("kal16-high", 1.35)];

/// The voice is quiet, −28.7 dBFS RMS. This, +7 dB, brings it level with other voices.
const BOOST: f32 = 2.238_721;

/// The time of an analysis grows with the square of a word's letters, and of a sentence's words.
/// A longer word than this is taken for several.
const MAX_WORD_CHARS: usize = 100;

/// A sentence is cut where this many words had no punctuation.
const MAX_WORDS_WITHOUT_PAUSE: usize = 50;

/// A sentence is cut before its [`cost`] exceeds this, behind its last punctuation mark if it has
/// one. As a rule that is below 50 s of audio, which is what a listener who stopped listening
/// makes us keep, and 10 ms of work, which is what others wait for a thread at most.
const MAX_PIECE_COST: usize = 600;

/// Marks that are kept on one side of a word. They are not spoken: more of them say no more.
const MAX_MARKS: usize = 8;

/// White space in ASCII that the voice takes for letters.
const ODD_SPACES: [char; 2] = ['\u{b}', '\u{c}'];

/// The speech engine inside the binary: voice kal16 of Flite, 16 kHz, US English, and the same voice
/// lower and higher, as kal16-low and kal16-high.
///
/// Speeds are within 0.5 to 2.0; others are taken for the nearest of these. The same utterance
/// always gives the same bytes, and its words at the same times. A sentence begins with at most
/// 20 ms of silence, ends with at most 120 ms, and peaks at −1 dBFS or below; where the
/// sample rate is not its own, up to a little more.
///
/// It knows exactly when each word is spoken. A written word that has no sound, such as an emoji or
/// one in letters it cannot read, is left out; the silence at a comma belongs to no word, but one
/// inside of a written word, as in "wait—what", belongs to that.
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
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.speaker.recording.sample_rate }
    }

    fn voices(&self) -> Vec<Voice> {
        let voice = |(name, _)| Voice {
            language: Some("en-US".to_owned()),
            gender: Some(Gender::Male),
            sample_rate_hz: Some(self.speaker.recording.sample_rate),
            ..Voice::new(name)
        };
        VOICES.map(voice).into()
    }

    fn is_deterministic(&self) -> bool {
        true
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (sink, speech) = Speech::channel(&utterance, self.speaker.recording.sample_rate);
        tokio::spawn(speak(self.clone(), utterance, sink));
        speech
    }
}

/// Speaks an utterance to its end, or for as long as anybody listens.
async fn speak(engine: Flite, utterance: Utterance, mut sink: Sink) {
    let params = engine.speaker.params(utterance.speed, &utterance.voice);
    let plain = Plain::new(&utterance.text);
    let mut written = written(&utterance.text).peekable();
    let mut clock = utterance.has_word_times.then(|| Clock::new(engine.speaker.recording.sample_rate));
    let mut read = 0;
    let cut = text::sentences(&plain.text).flat_map(|sentence| pieces(placed(sentence, &mut read)));
    let mut cut = cut.peekable();
    let mut heard = false;
    while let Some(piece) = cut.next() {
        if let Some(clock) = &mut clock {
            let next = cut.peek().and_then(|piece| piece.first()).map(|placed| plain.origin(placed.at));
            let origins = piece.iter().map(|placed| plain.origin(placed.at));
            let words = origins.map(|at| {
                while written.next_if(|word| word.end <= at).is_some() {}
                written.peek().cloned().unwrap_or(at..at)
            });
            clock.words = words.collect();
            clock.continues = clock.words.last().zip(next).is_some_and(|(word, next)| next < word.end);
        }
        let tokens: Vec<Token> = piece.into_iter().map(|placed| placed.token).collect();
        let speaker = engine.speaker.clone();
        let ticking = clock.take();
        let job = move |sink: &mut Sink| speaker.speak(&tokens, &params, ticking, sink);
        // Nothing comes back when the listener is gone. Nor does it after a panic, which took the
        // sink with it, and by that the listener has learned of it.
        let Some((returned, (audible, ticked))) = run(&engine.threads, sink, job).await else { return };
        sink = returned;
        clock = ticked;
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
    recording: voice::Voice,
}

impl Speaker {
    fn new() -> Speaker {
        let damaged = "the voice in the binary is whole";
        // The crate hands its language out through an engine only.
        let language = Engine::try_new().expect(damaged).language();
        Speaker { language, recording: voice::Voice::parse(KAL16_VOICE_DATA).expect(damaged) }
    }

    /// How to speak at this speed in this voice; one that it does not have is its default.
    fn params(&self, speed: f32, voice: &str) -> VoiceParams {
        let mut params = self.recording.params();
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(0.5, 2.0) };
        params.duration_stretch /= speed;
        params.f0_shift *= VOICES.iter().find(|(name, _)| *name == voice).map_or(1.0, |(_, shift)| *shift);
        params
    }

    /// Samples of the pause that a piece begins with. It is not always silent: before a /w/ there is
    /// noise at a level that a soft sound may have.
    fn pause(&self, analysis: &flite_rs::Utterance) -> usize {
        let first = analysis.iter_relation("Segment").next();
        let pause = first.filter(|&segment| analysis.name(segment) == SILENCE);
        let seconds = pause.map_or(0.0, |segment| analysis.feature_f32(segment, "end"));
        (f64::from(seconds) * f64::from(self.recording.sample_rate)) as usize
    }

    /// Speaks one piece, and tells whether there was anything to hear. Stops when the listener is
    /// gone.
    fn speak(
        &self,
        piece: &[Token],
        params: &VoiceParams,
        mut clock: Option<Clock>,
        sink: &mut Sink,
    ) -> (bool, Option<Clock>) {
        let analysis = pipeline::analyse(&self.language, piece, params);
        let mut trim = Trim::new(self.recording.sample_rate, self.pause(&analysis));
        let mut level = Level::new(self.recording.sample_rate, BOOST);
        let (mut kept, mut ready) = (Vec::new(), Vec::new());
        let mut samples = 0;
        // Called for every pitch period, about every 11 ms of audio.
        voice::synthesise_streaming(&self.recording, &analysis, params, &mut |period| {
            kept.clear();
            ready.clear();
            let heard = trim.heard();
            trim.push(period, &mut kept);
            if let Some(clock) = clock.as_mut().filter(|_| !heard && trim.heard()) {
                clock.tell(&analysis, trim.cut(), sink);
            }
            samples += kept.len();
            level.push(&kept, &mut ready);
            if sink.push(&ready).is_ok() { Flow::Continue } else { Flow::Stop }
        });
        ready.clear();
        level.finish(&mut ready);
        // An error means that the listener is gone, which whoever waits next learns too.
        let _ = sink.push(&ready);
        if let Some(clock) = &mut clock {
            clock.advance(samples, sink);
        }
        (trim.heard(), clock)
    }
}

/// Tells when the words of an utterance are spoken, piece by piece.
struct Clock {
    sample_rate: u32,
    /// Samples of the pieces before this one, as they were delivered.
    delivered: u64,
    /// For each token of this piece, the written word that it is of.
    words: Vec<Range<usize>>,
    /// Whether the text is cut inside of a word behind this piece.
    continues: bool,
    /// The word whose end is not known yet.
    open: Option<Word>,
}

impl Clock {
    fn new(sample_rate: u32) -> Clock {
        Clock { sample_rate, delivered: 0, words: Vec::new(), continues: false, open: None }
    }

    /// Tells the words of a piece from its analysis and the samples that are cut in front of it, all
    /// but the last: of that it is not known yet how much of its end is cut.
    fn tell(&mut self, analysis: &flite_rs::Utterance, cut: usize, sink: &mut Sink) {
        let mut known = Vec::new();
        let words = std::mem::take(&mut self.words);
        for (token, text_range) in analysis.iter_relation("Token").zip(words) {
            let Some((start, end)) = span(analysis, token) else { continue };
            let (start, end) = (self.time(start, cut), self.time(end, cut));
            match &mut self.open {
                Some(open) if open.text_range == text_range => open.end = end,
                open => known.extend(open.replace(Word { text_range, start, end })),
            }
        }
        sink.words(known);
    }

    /// The time in the utterance of a time in the piece's analysis, in seconds.
    fn time(&self, seconds: f32, cut: usize) -> Duration {
        let sample = (f64::from(seconds) * f64::from(self.sample_rate)) as u64;
        self.duration(self.delivered + sample.saturating_sub(cut as u64))
    }

    fn duration(&self, samples: u64) -> Duration {
        Duration::from_nanos(samples * 1_000_000_000 / u64::from(self.sample_rate))
    }

    /// Ends a piece, of which so many samples were delivered.
    fn advance(&mut self, samples: usize, sink: &mut Sink) {
        self.delivered += samples as u64;
        let end = self.duration(self.delivered);
        if let Some(open) = &mut self.open {
            open.start = open.start.min(end);
            open.end = open.end.min(end);
        }
        if !self.continues {
            sink.words(self.open.take().into_iter().collect());
        }
    }
}

/// From when to when a token is spoken, in seconds. None if it has no sound.
fn span(analysis: &flite_rs::Utterance, token: ItemId) -> Option<(f32, f32)> {
    let daughters = |item| analysis.iter_from(analysis.daughter(item));
    let spoken = daughters(token).filter_map(|word| analysis.item_as(word, "SylStructure"));
    let mut segments = spoken.flat_map(daughters).flat_map(daughters);
    let first = segments.next()?;
    let last = segments.last().unwrap_or(first);
    let before = analysis.item_as(first, "Segment").and_then(|segment| analysis.prev(segment));
    let end = |segment| analysis.feature_f32(segment, "end");
    Some((before.map_or(0.0, end), end(last)))
}

/// A text whose letters and marks that the voice would leave out are replaced by ones it knows.
struct Plain<'a> {
    text: Cow<'a, str>,
    /// For each byte, where in the written text the character begins that it stands for. Empty if
    /// the texts are the same.
    origins: Vec<usize>,
}

impl Plain<'_> {
    fn new(written: &str) -> Plain<'_> {
        if written.is_ascii() && !written.contains(ODD_SPACES) {
            return Plain { text: Cow::Borrowed(written), origins: Vec::new() };
        }
        let mut text = String::with_capacity(written.len());
        let mut origins = Vec::with_capacity(written.len());
        for (at, letter) in written.char_indices() {
            // A dash between spaces is a pause, one between figures means "to".
            let dash = letter == '—' || (letter == '–' && text.ends_with(' '));
            if dash {
                text.truncate(text.trim_end().len());
                origins.truncate(text.len());
            }
            text.push_str(nearest(letter, dash).unwrap_or(letter.encode_utf8(&mut [0; 4])));
            origins.resize(text.len(), at);
        }
        Plain { text: Cow::Owned(text), origins }
    }

    /// Where this byte was written.
    fn origin(&self, at: usize) -> usize {
        self.origins.get(at).copied().unwrap_or(at)
    }
}

/// What the voice knows that is nearest to a character which it does not. A dash may be a pause.
fn nearest(letter: char, pause: bool) -> Option<&'static str> {
    Some(match letter {
        '‘' | '’' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        _ if pause => ", ",
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
        _ if ODD_SPACES.contains(&letter) => " ",
        _ if letter.is_whitespace() && !letter.is_ascii() => " ",
        _ => return None,
    })
}

/// A token, and the byte of the text that it begins with, without its marks.
struct Placed {
    token: Token,
    at: usize,
}

/// The tokens of a sentence that begins at the byte `read` of the text, and counts on from there.
fn placed(sentence: Vec<Token>, read: &mut usize) -> Vec<Placed> {
    let place = |token: Token| {
        let at = *read + token.whitespace.len() + token.prepunctuation.len();
        *read = at + token.name.len() + token.punctuation.len();
        words(Placed { token, at })
    };
    sentence.into_iter().flat_map(place).collect()
}

/// Cuts a sentence into pieces whose analysis is cheap. Most sentences are one piece.
fn pieces(sentence: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Placed> = Vec::new();
    let mut spent = 0;
    // Words of the piece up to its last punctuation mark.
    let mut pause = 0;
    for placed in sentence {
        let price = cost(&placed.token);
        while piece.len() - pause >= MAX_WORDS_WITHOUT_PAUSE || (spent > 0 && spent + price > MAX_PIECE_COST)
        {
            let rest = if pause > 0 { piece.split_off(pause) } else { Vec::new() };
            pieces.push(std::mem::replace(&mut piece, rest));
            spent = piece.iter().map(|placed| cost(&placed.token)).sum();
            pause = 0;
        }
        spent += price;
        let pauses = !placed.token.punctuation.is_empty();
        piece.push(placed);
        if pauses {
            pause = piece.len();
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// About how long a word takes to say, in letters of a usual word. A figure, a sign, or a letter
/// that is spelled takes as long as four of these, and so does a pause.
fn cost(token: &Token) -> usize {
    let letters = token.name.chars().count();
    let known = |(n, c): (usize, char)| c.is_lowercase() || (n == 0 && c.is_alphabetic());
    let usual = letters <= 20 && token.name.chars().enumerate().all(known);
    let pause = if token.punctuation.is_empty() { 0 } else { 4 };
    1 + letters * if usual { 1 } else { 4 } + pause
}

/// The token, as several if it is too long for one.
fn words(placed: Placed) -> Vec<Placed> {
    let Placed { mut token, mut at } = placed;
    token.prepunctuation = token.prepunctuation.chars().take(MAX_MARKS).collect();
    token.punctuation = token.punctuation.chars().take(MAX_MARKS).collect();
    if token.name.len() <= MAX_WORD_CHARS {
        return vec![Placed { token, at }];
    }
    let letters: Vec<char> = token.name.chars().collect();
    let mut words = Vec::new();
    for part in letters.chunks(MAX_WORD_CHARS) {
        let name: String = part.iter().collect();
        let length = name.len();
        words.push(Placed { token: Token { whitespace: " ".to_owned(), name, ..Token::default() }, at });
        at += length;
    }
    if let Some(first) = words.first_mut() {
        first.token.prepunctuation = token.prepunctuation;
    }
    if let Some(last) = words.last_mut() {
        last.token.punctuation = token.punctuation;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all, idle, pieces as all_pieces, soon};
    use super::super::{Cancelled, Piece, SynthesisErrorKind};
    use super::*;
    use crate::gauge::Gauge;
    use hyper::body::Bytes;
    use std::f64::consts::TAU;
    use std::sync::LazyLock;
    use tokio::sync::oneshot;

    const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };

    const FOX: &str = "The quick brown fox jumps over the lazy dog.";

    const STELLA: &str = "Please call Stella. Ask her to bring these things with her from the store: six \
        spoons of fresh snow peas, five thick slabs of blue cheese, and maybe a snack for her brother Bob.";

    /// Parsed once for all tests. Threads belong to no runtime until they are used.
    static FLITE: LazyLock<Flite> = LazyLock::new(Flite::new);

    /// An engine with threads of its own.
    fn with_threads(threads: usize) -> Flite {
        Flite { speaker: FLITE.speaker.clone(), threads: Arc::new(Semaphore::new(threads)) }
    }

    async fn samples(utterance: Utterance) -> Vec<i16> {
        let (chunks, error) = all(FLITE.speak(utterance)).await;
        assert_eq!(error, None);
        let bytes = chunks.concat();
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    async fn said(text: &str) -> Vec<i16> {
        samples(Utterance::new(text, PCM)).await
    }

    fn decibels(amplitude: f64) -> f64 {
        20.0 * (amplitude / 32_768.0).log10()
    }

    /// The names that the sentences of a text are cut into.
    fn cut(text: &str) -> Vec<Vec<String>> {
        let names = |piece: Vec<Placed>| piece.into_iter().map(|placed| placed.token.name).collect();
        let mut read = 0;
        let cut = text::sentences(text).flat_map(|sentence| pieces(placed(sentence, &mut read)));
        cut.map(names).collect()
    }

    #[test]
    fn it_speaks_at_16_khz_and_gives_any_common_format() {
        assert_eq!(FLITE.format(), PCM);
        for encoding in Encoding::ALL {
            for sample_rate_hz in Format::SAMPLE_RATES {
                assert!(FLITE.supports(Format { encoding, sample_rate_hz }));
            }
            assert!(!FLITE.supports(Format { encoding, sample_rate_hz: 11_025 }));
        }
    }

    #[tokio::test]
    async fn speech_takes_the_same_time_in_any_format() {
        let native = said(STELLA).await.len();
        for encoding in Encoding::ALL {
            for sample_rate_hz in Format::SAMPLE_RATES {
                let format = Format { encoding, sample_rate_hz };
                let (chunks, error) = all(FLITE.speak(Utterance::new(STELLA, format))).await;
                assert_eq!(error, None);
                let bytes: usize = chunks.iter().map(Bytes::len).sum();
                let exact = native as f64 * f64::from(sample_rate_hz) / 16_000.0;
                assert_eq!(bytes, exact.round() as usize * encoding.bytes_per_sample(), "{format:?}");
            }
        }
    }

    /// The power of a signal between two frequencies: Fourier transforms of 20 ms each,
    /// under a window that lets nothing far away through.
    fn power(samples: &[i16], rate: u32, from_hz: f64, to_hz: f64) -> f64 {
        let length = rate as usize / 50;
        let turn = |n: usize, of: usize| TAU * (n % of) as f64 / of as f64;
        let bins = |hz: f64| (hz / 50.0).ceil() as usize;
        let mut power = 0.0;
        for block in samples.windows(length).step_by(length / 2) {
            // Blackman's, whose side lobes fall from -58 dB at 18 dB an octave.
            let window = |n| 0.42 - 0.5 * turn(n, length).cos() + 0.08 * turn(2 * n, length).cos();
            let block: Vec<f64> = block.iter().enumerate().map(|(n, &s)| f64::from(s) * window(n)).collect();
            for bin in bins(from_hz)..bins(to_hz) {
                // Goertzel's way to one bin.
                let twice = 2.0 * turn(bin, length).cos();
                let (last, before) =
                    block.iter().fold((0.0, 0.0), |(last, before), &s| (s + twice * last - before, last));
                power += last * last + before * before - twice * last * before;
            }
        }
        power
    }

    #[tokio::test]
    async fn speech_at_48_khz_has_nothing_that_the_voice_has_not() {
        let at = |sample_rate_hz| Utterance::new(FOX, Format { sample_rate_hz, ..PCM });
        let (native, fine) = (samples(at(16_000)).await, samples(at(48_000)).await);
        let all = power(&fine, 48_000, 0.0, 8_000.0);
        let above = 10.0 * (power(&fine, 48_000, 8_000.0, 24_000.0) / all).log10();
        assert!(above < -60.0, "{above:.1} dB above 8 kHz");
        // The same speech: every third sample, but for what is close to 8 kHz.
        let thirds =
            fine.iter().step_by(3).zip(&native).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        let energy: f64 = native.iter().map(|&s| f64::from(s).powi(2)).sum();
        let changed = 10.0 * (thirds.sum::<f64>() / energy).log10();
        assert!(changed < -40.0, "{changed:.1} dB is new or missing");
    }

    #[tokio::test]
    async fn speech_at_8_khz_has_what_the_voice_has_up_to_there() {
        let at = |sample_rate_hz| Utterance::new(FOX, Format { sample_rate_hz, ..PCM });
        let (native, coarse) = (samples(at(16_000)).await, samples(at(8_000)).await);
        for (from_hz, to_hz) in [(100.0, 1_000.0), (1_000.0, 2_500.0), (2_500.0, 3_400.0)] {
            // A transform of half the samples gives half the amplitude.
            let ratio = 4.0 * power(&coarse, 8_000, from_hz, to_hz) / power(&native, 16_000, from_hz, to_hz);
            let off = 10.0 * ratio.log10();
            assert!(off.abs() < 0.5, "{off:.2} dB from {from_hz} to {to_hz} Hz");
        }
    }

    #[tokio::test]
    async fn a_longer_text_takes_longer() {
        let seconds = said(FOX).await.len() as f64 / 16_000.0;
        assert!((2.0..3.5).contains(&seconds), "{seconds} s");
        let three = said(&[FOX; 3].join(" ")).await.len() as f64 / 16_000.0;
        assert!((three / seconds - 3.0).abs() < 0.02, "{three} s for three times {seconds} s");
    }

    #[tokio::test]
    async fn speech_is_as_loud_as_other_voices_and_never_clips() {
        for text in [FOX, STELLA, "Hello. I am ready to speak.", "In 1984, 37% of them paid $37.50."] {
            let samples = said(text).await;
            let peak = samples.iter().map(|s| s.unsigned_abs()).max().expect("not empty");
            let power = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
            let (peak, rms) = (decibels(peak.into()), decibels(power.sqrt()));
            assert!((-8.0..=-1.0).contains(&peak), "peak of {peak:.2} dBFS: {text}");
            assert!((-23.5..=-20.0).contains(&rms), "{rms:.2} dBFS: {text}");
        }
    }

    #[tokio::test]
    async fn silence_around_a_sentence_is_short() {
        // The threshold of speech, raised as the speech is.
        let loud = |s: &i16| s.unsigned_abs() > 230;
        for text in [FOX, "Hello.", "She sells sea shells by the sea shore.", "Half past six."] {
            for speed in [0.5, 1.0, 2.0] {
                let samples = samples(Utterance { speed, ..Utterance::new(text, PCM) }).await;
                let lead = samples.iter().position(loud).expect("speech") / 16;
                let tail = samples.iter().rev().position(loud).expect("speech") / 16;
                assert!((19..=25).contains(&lead), "{lead} ms before: {text}");
                assert!((50..=130).contains(&tail), "{tail} ms behind: {text}");
            }
        }
    }

    /// Sentences that begin with every kind of sound, several with /w/, before which there is noise.
    const ONSETS: [&str; 42] = [
        "What is that.",
        "We are here.",
        "Wait a moment.",
        "One two three.",
        "Which way now.",
        "With.",
        "Then he left.",
        "The end of the tape.",
        "Thin ice there.",
        "For me.",
        "Very well.",
        "She sells.",
        "See you.",
        "Stop it.",
        "Zoo animals.",
        "Hello there.",
        "An apple.",
        "A bad dog.",
        "Each of us.",
        "Over there.",
        "Ooze out.",
        "All of it.",
        "Air is free.",
        "Up we go.",
        "It is so.",
        "Eye witness.",
        "Our house.",
        "Oil is up.",
        "Earth is round.",
        "Pay me.",
        "Boys play.",
        "Take it.",
        "Do it.",
        "Can you.",
        "Go away.",
        "Cheese is good.",
        "Just so.",
        "My name.",
        "No way.",
        "Yes it is.",
        "Let us go.",
        "Red is best.",
    ];

    #[tokio::test]
    async fn speech_begins_soon_whatever_its_first_sound() {
        for text in ONSETS {
            for speed in [0.5, 1.0, 2.0] {
                let samples = samples(Utterance { speed, ..Utterance::new(text, PCM) }).await;
                let peak = samples.iter().map(|s| s.unsigned_abs()).max().expect("not empty");
                let onset = samples.iter().position(|s| s.unsigned_abs() > peak / 10).expect("speech");
                let limit = if speed < 1.0 { 230 } else { 110 };
                assert!(onset / 16 <= limit, "{} ms before at {speed}: {text}", onset / 16);
            }
        }
    }

    #[tokio::test]
    async fn nothing_that_can_be_heard_is_cut_and_words_know_what_is() {
        let speaker = &FLITE.speaker;
        let rms = |samples: &[i16]| {
            let energy: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
            (energy / samples.len().max(1) as f64).sqrt()
        };
        let peak = |samples: &[i16]| samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        for text in ONSETS {
            for speed in [0.5, 1.0, 2.0] {
                let params = speaker.params(speed, "");
                let piece = text::sentences(text).next().expect("a sentence");
                let analysis = pipeline::analyse(&speaker.language, &piece, &params);
                let pause = speaker.pause(&analysis);
                let mut trim = Trim::new(16_000, pause);
                let (mut whole, mut kept) = (Vec::new(), Vec::new());
                voice::synthesise_streaming(&speaker.recording, &analysis, &params, &mut |period| {
                    whole.extend_from_slice(period);
                    trim.push(period, &mut kept);
                    Flow::Continue
                });
                let (front, rest) = whole.split_at(trim.cut());
                let (within, behind) = rest.split_at(kept.len());
                assert_eq!(kept, within, "{text} at {speed}");
                assert!(peak(front) < 500 && peak(front) < peak(&kept) / 10, "{text} at {speed}");
                // As loud as the threshold of speech, some 20 dB below a sentence.
                assert!(rms(front) < 120.0, "{} in front of {text} at {speed}", rms(front));
                assert!(peak(behind) <= 100, "{text} at {speed}");

                let (_, words) = told(Utterance { speed, ..Utterance::new(text, PCM) }).await;
                let start = sample(words.first().expect("a word").start);
                assert_eq!(start, pause.saturating_sub(trim.cut()), "{text} at {speed}");
                assert!(start <= 20 * 16, "{text} at {speed}");
            }
        }
    }

    #[tokio::test]
    async fn the_speed_divides_the_time() {
        let mut lengths = Vec::new();
        for speed in [1.0, 2.0, 0.5, 9.0, 0.0, f32::NAN] {
            let utterance = Utterance { speed, ..Utterance::new(STELLA, PCM) };
            lengths.push(samples(utterance).await.len());
        }
        let ratio = |n: usize| lengths[n] as f64 / lengths[0] as f64;
        assert!((0.45..0.6).contains(&ratio(1)), "{lengths:?}");
        assert!((1.8..2.1).contains(&ratio(2)), "{lengths:?}");
        // Beyond the range it is the end of the range; what is no number is the natural speed.
        assert_eq!(lengths[3..], [lengths[1], lengths[2], lengths[0]]);
    }

    #[tokio::test]
    async fn the_same_utterance_gives_the_same_bytes() {
        assert!(FLITE.is_deterministic());
        assert_eq!(FLITE.voices().len(), 3);
        let first = said(STELLA).await;
        let (again, other) = tokio::join!(said(STELLA), said(FOX));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let format = Format { encoding: Encoding::MuLaw, ..PCM };
        let (chunks, error) = all(FLITE.speak(Utterance::new(STELLA, format))).await;
        let mut encoded = Vec::new();
        Encoding::MuLaw.encode(&first, &mut encoded);
        assert_eq!((chunks.concat(), error), (encoded, None));
    }

    /// The pitch of speech, in Hz: the median over its loud, periodic blocks of 40 ms.
    fn pitch(samples: &[i16]) -> f64 {
        let product = |block: &[i16], lag: usize| -> f64 {
            block[..640].iter().zip(&block[lag..]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let of_block = |block: &[i16]| {
            let power = product(block, 0);
            if power < 640.0 * 1e6 {
                return None;
            }
            // From 50 to 250 Hz.
            let lag = (64..320).max_by(|&a, &b| product(block, a).total_cmp(&product(block, b)))?;
            (product(block, lag) > 0.5 * power).then(|| 16_000.0 / lag as f64)
        };
        let mut found: Vec<f64> = samples.windows(960).step_by(160).filter_map(of_block).collect();
        assert!(found.len() > 50, "only {} blocks are speech", found.len());
        found.sort_by(f64::total_cmp);
        found[found.len() / 2]
    }

    #[tokio::test]
    async fn a_variant_is_the_same_voice_lower_or_higher() {
        let said = async |voice: &str| {
            let utterance = Utterance { voice: voice.to_owned(), ..Utterance::new(STELLA, PCM) };
            samples(utterance).await
        };
        let default = said("").await;
        let plain = pitch(&default);
        for (name, shift) in VOICES {
            let spoken = said(name).await;
            assert_eq!(spoken, said(name).await, "{name} is not always the same");
            let ratio = pitch(&spoken) / plain;
            assert!((ratio / f64::from(shift) - 1.0).abs() < 0.08, "{name}: {ratio:.2} times {plain:.0} Hz");
            // As fast as before: a change of pitch, not of a tape's speed.
            let length = spoken.len() as f64 / default.len() as f64;
            assert!((0.95..1.05).contains(&length), "{name} takes {length:.2} times as long");
        }
        assert_eq!(said("kal16").await, default);
        assert_eq!(said("nobody").await, default, "a voice that there is not is the default");
    }

    #[tokio::test]
    async fn text_without_sound_is_an_error_that_says_what_to_do() {
        for text in ["日本語を話す。", "😀 🎉", "...", "?!", " ", ""] {
            let (chunks, error) = all(FLITE.speak(Utterance::new(text, PCM))).await;
            let error = error.expect("an error");
            assert!(chunks.is_empty(), "{text:?}");
            assert_eq!(error.kind, SynthesisErrorKind::NoAudio, "{text:?}");
            assert!(error.message.contains("Send English text"), "{}", error.message);
        }
        // A part with sound is enough.
        assert_eq!(said("😀! Hello.").await, said("Hello.").await);
    }

    #[tokio::test]
    async fn letters_that_the_voice_lacks_are_read_as_their_nearest() {
        let pairs = [
            ("Don’t “go” to the café…", "Don't \"go\" to the cafe..."),
            ("No — wait—what?", "No, wait, what?"),
            ("Yes – but 5–10\u{a0}Zoë.", "Yes, but 5-10 Zoe."),
            ("ÀÈÌÒÙ Straße Øre œuvre", "AEIOU Strasse Ore oeuvre"),
            ("日本 and 😀", "日本 and 😀"),
        ];
        for (typed, read) in pairs {
            assert_eq!(Plain::new(typed).text.split_whitespace().collect::<Vec<_>>().join(" "), read);
        }
        assert_eq!(said("A word—a pause.").await, said("A word, a pause.").await);
    }

    #[test]
    fn a_sentence_of_usual_length_is_one_piece() {
        assert_eq!(cut(STELLA).len(), 3);
        let clauses = "and six spoons of fresh snow peas, ".repeat(10);
        assert_eq!(cut(&clauses).iter().map(Vec::len).collect::<Vec<_>>(), [70]);
    }

    #[test]
    fn hostile_text_is_cut_into_pieces_that_are_cheap() {
        // Text, pieces.
        let cases = [
            ("a".repeat(4_000), 40),
            ("$".repeat(5_000), 50),
            ("word ".repeat(5_000), 100),
            ("one, ".repeat(5_000), 67),
            ("7".repeat(200) + " " + &"7".repeat(199), 4),
            ("7 ".repeat(5_000), 100),
            ("!".repeat(5_000), 1),
            ("(".repeat(5_000), 50),
            ("é".repeat(5_000), 50),
        ];
        for (text, count) in cases {
            let pieces = cut(&text);
            let start = &text[..20];
            assert_eq!(pieces.len(), count, "{start}");
            for piece in &pieces {
                assert!(!piece.is_empty() && piece.len() <= 75, "{start}");
                assert!(piece.iter().all(|word| word.chars().count() <= MAX_WORD_CHARS), "{start}");
            }
            if !start.starts_with(['!', '(']) {
                let all: String = pieces.into_iter().flatten().collect();
                assert_eq!(all, text.replace([' ', ','], ""), "nothing is lost");
            }
        }
    }

    #[test]
    fn a_word_costs_what_it_takes_to_say() {
        let cases =
            [("word", 5), ("Word", 5), ("word,", 9), ("7", 5), ("I", 2), ("NATO", 17), ("$37.50", 25)];
        for (word, expected) in cases {
            let sentence = text::sentences(word).next().expect("a sentence");
            assert_eq!(cost(&sentence[0]), expected, "{word}");
        }
    }

    #[test]
    fn a_long_sentence_is_cut_behind_its_last_punctuation() {
        let text = "one, ".repeat(10) + &"two ".repeat(60);
        let sizes: Vec<usize> = cut(&text).iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 50, 10]);
        let text = "four hundred, ".repeat(30) + &"s".repeat(190) + " " + &"t".repeat(190);
        let sizes: Vec<usize> = cut(&text).iter().map(Vec::len).collect();
        assert_eq!(sizes, [60, 1, 1, 1, 1]);
    }

    #[tokio::test]
    async fn hostile_text_is_spoken_to_its_end() {
        for text in ["a".repeat(4_000), "$".repeat(300), "word ".repeat(300), "!".repeat(5_000) + " Hi."] {
            assert!(!said(&text).await.is_empty());
        }
    }

    #[tokio::test]
    async fn dropping_the_speech_stops_the_engine() {
        let engine = with_threads(1);
        let running = Gauge::default();
        let utterance =
            Utterance { running: running.clone(), ..Utterance::new("word ".repeat(100_000), PCM) };
        let mut speech = engine.speak(utterance);
        assert!(soon(speech.next()).await.is_some_and(|chunk| chunk.is_ok()));
        assert_eq!(running.count(), 1);
        drop(speech);
        idle(&running).await;
        assert_eq!(engine.threads.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_stopped_utterance_is_not_computed_any_further() {
        let (mut sink, speech) = Speech::channel(&Utterance::new(FOX, PCM), 16_000);
        drop(speech);
        let piece = text::sentences(FOX).next().expect("a sentence");
        FLITE.speaker.speak(&piece, &FLITE.speaker.params(1.0, ""), None, &mut sink);
        assert_eq!(sink.push(&[]), Err(Cancelled));
        assert!(sink.buffer.is_empty() && sink.waiting.is_empty());
    }

    #[tokio::test]
    async fn dropping_the_speech_gives_up_its_place_in_the_queue() {
        let engine = with_threads(1);
        let busy = engine.threads.clone().acquire_owned().await.expect("open");
        let running = Gauge::default();
        let utterance = Utterance { running: running.clone(), ..Utterance::new(FOX, PCM) };
        let speech = engine.speak(utterance);
        assert_eq!(running.count(), 1);
        drop(speech);
        idle(&running).await;
        drop(busy);
    }

    #[tokio::test]
    async fn a_slow_listener_holds_no_thread() {
        let engine = with_threads(1);
        let text = [STELLA; 8].join(" ");
        let (mut slow, mut later) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            slow.push(engine.speak(Utterance::new(text.clone(), PCM)));
            later.push(engine.speak(Utterance::new(FOX, PCM)));
        }
        for speech in later {
            assert_eq!(all(speech).await.1, None);
        }
        for speech in slow {
            assert_eq!(all(speech).await.1, None);
        }
    }

    #[tokio::test]
    async fn whoever_waited_longest_comes_next() {
        let engine = with_threads(1);
        let (start, started) = oneshot::channel::<()>();
        let (order, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let (sink, _speech) = Speech::channel(&Utterance::new(FOX, PCM), 16_000);
        let threads = engine.threads.clone();
        let first = async move { run(&threads, sink, move |_| started.blocking_recv()).await };
        let mut jobs = vec![tokio::spawn(async move { assert!(first.await.is_some()) })];
        tokio::task::yield_now().await;
        for n in 0..10 {
            let (engine, order) = (engine.clone(), order.clone());
            jobs.push(tokio::spawn(async move {
                let (sink, _speech) = Speech::channel(&Utterance::new(FOX, PCM), 16_000);
                let done = run(&engine.threads, sink, move |_| order.send(n)).await;
                assert!(done.is_some());
            }));
            tokio::task::yield_now().await;
        }
        start.send(()).expect("the first job waits");
        for n in 0..10 {
            assert_eq!(soon(seen.recv()).await, Some(n));
        }
        for job in jobs {
            job.await.expect("no panic");
        }
    }

    #[tokio::test]
    async fn a_panic_fails_one_utterance_and_frees_its_thread() {
        let engine = with_threads(1);
        let (sink, speech) = Speech::channel(&Utterance::new(FOX, PCM), 16_000);
        let done = run(&engine.threads, sink, |sink| {
            sink.push(&[1; 1_000]).expect("somebody listens");
            panic!("a panic that this test causes");
        });
        assert!(done.await.is_none());
        let (chunks, error) = all(speech).await;
        assert_eq!(chunks.len(), 1);
        assert_eq!(error.map(|error| error.kind), Some(SynthesisErrorKind::Failed));
        assert_eq!(all(engine.speak(Utterance::new(FOX, PCM))).await.1, None);
    }

    /// The samples and the words of an utterance.
    async fn told(utterance: Utterance) -> (Vec<i16>, Vec<Word>) {
        let (spoken, error) = all_pieces(FLITE.speak(Utterance { has_word_times: true, ..utterance })).await;
        assert_eq!(error, None);
        let (mut samples, mut words) = (Vec::new(), Vec::new());
        for piece in spoken {
            match piece {
                Piece::Audio(chunk) => {
                    samples.extend(chunk.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
                }
                Piece::Words(more) => words.extend(more),
                Piece::Warning(warning) => panic!("nothing to warn of but {warning:?}"),
            }
        }
        (samples, words)
    }

    /// As [`told`], checked for what holds for all words: they are in order, within the audio, and
    /// each can be heard.
    async fn words_at(text: &str, speed: f32) -> (Vec<i16>, Vec<Word>) {
        let (samples, words) = told(Utterance { speed, ..Utterance::new(text, PCM) }).await;
        let (mut byte, mut time) = (0, Duration::ZERO);
        for Word { text_range, start, end } in &words {
            let word = &text[text_range.clone()];
            assert!(byte <= text_range.start && time <= *start && start < end, "{word}: {words:?}");
            assert!(sample(*end) <= samples.len(), "{word} in {text}");
            let sound = samples[sample(*start)..sample(*end)].iter().map(|s| s.unsigned_abs()).max();
            assert!(sound > Some(3_000), "{word} in {text} at {speed}: {sound:?}");
            (byte, time) = (text_range.end, *end);
        }
        (samples, words)
    }

    fn sample(time: Duration) -> usize {
        (time.as_secs_f64() * 16_000.0).round() as usize
    }

    fn time(samples: usize) -> Duration {
        Duration::from_secs_f64(samples as f64 / 16_000.0)
    }

    #[tokio::test]
    async fn words_are_those_that_were_written_and_have_a_sound() {
        let cases: &[(&str, &[&str])] = &[
            ("Hello.", &["Hello."]),
            ("Good evening.", &["Good", "evening."]),
            (" \n Good\n\tevening. ", &["Good", "evening."]),
            ("It costs $37.50, Dr. Sato said.", &["It", "costs", "$37.50,", "Dr.", "Sato", "said."]),
            ("About 1,234.5 km away.", &["About", "1,234.5", "km", "away."]),
            ("At 10:30 a.m. sharp.", &["At", "10:30", "a.m.", "sharp."]),
            ("In 1984, 37% of them left.", &["In", "1984,", "37%", "of", "them", "left."]),
            ("A café—naïve… you see.", &["A", "café—naïve…", "you", "see."]),
            ("“Quoted” text, ‘said’ he.", &["“Quoted”", "text,", "‘said’", "he."]),
            ("Write to jane.doe@example.com now.", &["Write", "to", "jane.doe@example.com", "now."]),
            ("The U.S. is big.", &["The", "U.S.", "is", "big."]),
            ("On the 2nd of May.", &["On", "the", "2nd", "of", "May."]),
            ("A well-known fact.", &["A", "well-known", "fact."]),
            ("A well‑known fact.", &["A", "well‑known", "fact."]),
            ("Hello 😀 there 👩\u{200d}🚀 friend.", &["Hello", "there", "friend."]),
            ("Say שלום and مرحبا to all.", &["Say", "and", "to", "all."]),
            ("日本 means Japan, 語 language.", &["means", "Japan,", "language."]),
            ("Tea 日本語", &["Tea"]),
            ("No — wait – what?", &["No", "wait", "what?"]),
            ("Yes?—No!", &["Yes?—No!"]),
            ("wait—what? Stop.", &["wait—what?", "Stop."]),
            ("Don’t! It’s Jane's.", &["Don’t!", "It’s", "Jane's."]),
            ("(Or [so] {they} say.)", &["(Or", "[so]", "{they}", "say.)"]),
            ("Call 555-123-4567 or 555 1234.", &["Call", "555-123-4567", "or", "555", "1234."]),
            ("Pay $5 million & 3/4 of £2.", &["Pay", "$5", "million", "&", "3/4", "of", "£2."]),
            ("Straße, Øre\u{a0}œuvre, Zoë.", &["Straße,", "Øre", "œuvre,", "Zoë."]),
            ("e\u{301}te\u{301} over.", &["e\u{301}te\u{301}", "over."]),
            ("One\u{b}two\u{c}three\u{85}four.", &["One", "two", "three", "four."]),
            ("NATO, the BBC and USB.", &["NATO,", "the", "BBC", "and", "USB."]),
            ("\"... and so?\" ... \" yes", &["and", "so?\"", "yes"]),
            ("Henry VIII had 5kg.", &["Henry", "VIII", "had", "5kg."]),
            ("See https://example.com/a_b?c=1 there.", &["See", "https://example.com/a_b?c=1", "there."]),
            ("Pi is 3.14159, x = y + 2.", &["Pi", "is", "3.14159,", "x", "=", "y", "+", "2."]),
        ];
        for (text, expected) in cases {
            let (_, words) = words_at(text, 1.0).await;
            let words: Vec<&str> = words.into_iter().map(|word| &text[word.text_range]).collect();
            assert_eq!(words, *expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn words_are_told_only_where_they_are_asked_for_and_change_no_audio() {
        for text in [STELLA, "No — wait…"] {
            let (samples, words) = told(Utterance::new(text, PCM)).await;
            assert_eq!(samples, said(text).await);
            assert_eq!((samples, words), told(Utterance::new(text, PCM)).await);
        }
    }

    #[tokio::test]
    async fn words_come_before_their_audio() {
        let utterance = Utterance { has_word_times: true, ..Utterance::new(FOX, PCM) };
        let (spoken, _) = all_pieces(FLITE.speak(utterance)).await;
        assert!(matches!(&spoken[0], Piece::Words(words) if words.len() == 8), "all but the last");
        let told = spoken.iter().filter(|piece| matches!(piece, Piece::Words(_))).count();
        assert_eq!(told, 2);
    }

    /// Where the audio is silent for this long at least, to 10 ms.
    fn silences(samples: &[i16], at_least: Duration) -> Vec<Range<Duration>> {
        let quiet = |block: &[i16]| block.iter().all(|s| s.unsigned_abs() < 300);
        let quiet: Vec<bool> = samples.chunks(160).map(quiet).collect();
        let runs = quiet.chunk_by(|a, b| a == b).scan(0, |blocks, run| {
            let start = *blocks;
            *blocks += run.len();
            Some((run[0], time(start * 160)..time(*blocks * 160)))
        });
        runs.filter(|(quiet, run)| *quiet && run.end - run.start >= at_least).map(|(_, run)| run).collect()
    }

    #[tokio::test]
    async fn pauses_lie_between_words() {
        const NEAR: Duration = Duration::from_millis(60);
        // No word begins with a stop: its closure is silent too.
        let texts = [
            "Yes, no, maybe, and so on.",
            "Nine, eleven. Seven, none. Eleven, more, all.",
            "However, many of them, as all know, are gone; others remain: Mary, Anna, and Lily.",
            "In May, 1984, 30 men, all on mules, rode home — slowly.",
            "Oh, I see! Really? Yes, really, my lord.",
        ];
        let mut found = 0;
        for text in texts {
            // At slower speeds soft sounds, that are as good as silent, are longer than this.
            for speed in [1.0, 1.5, 2.0] {
                let (samples, words) = words_at(text, speed).await;
                let whole = time(samples.len());
                let starts = words.iter().map(|word| word.start).chain([whole]);
                let ends = [Duration::ZERO].into_iter().chain(words.iter().map(|word| word.end));
                let gaps: Vec<Range<Duration>> = ends.zip(starts).map(|(end, start)| end..start).collect();
                let silences = silences(&samples, Duration::from_millis(80));
                for silence in &silences {
                    let holds = |gap: &Range<Duration>| {
                        gap.start <= silence.start + NEAR && silence.end <= gap.end + NEAR
                    };
                    assert!(gaps.iter().any(holds), "{silence:?} of {text} at {speed}: {words:?}");
                }
                // And what is no word is silent.
                for gap in gaps.iter().filter(|gap| gap.end - gap.start > 2 * NEAR) {
                    let inner = &samples[sample(gap.start + NEAR)..sample(gap.end - NEAR)];
                    assert!(inner.iter().all(|s| s.unsigned_abs() < 2_000), "{gap:?} of {text} at {speed}");
                }
                found += silences.len();
            }
        }
        assert!(found > 60, "only {found} pauses");
    }

    #[tokio::test]
    async fn times_scale_with_the_speed() {
        let (_, words) = words_at(FOX, 1.0).await;
        for speed in [0.5, 2.0] {
            let (_, scaled) = words_at(FOX, speed).await;
            assert_eq!(scaled.len(), words.len());
            // Of the first word, a part that is too soft to hear is cut with the silence before it.
            for (word, scaled) in words.iter().zip(scaled).skip(1) {
                assert_eq!(scaled.text_range, word.text_range);
                let ratio = (scaled.end - scaled.start).as_secs_f64() / (word.end - word.start).as_secs_f64();
                assert!((ratio * f64::from(speed) - 1.0).abs() < 0.01, "{word:?} takes {ratio} at {speed}");
            }
        }
    }

    #[tokio::test]
    async fn words_go_on_from_piece_to_piece() {
        // Three sentences, then one that is cut inside of itself.
        let long = "and some more, ".repeat(60);
        for text in [[STELLA; 3].join("\n"), long.clone() + "— the end", "word ".repeat(120)] {
            let (samples, words) = words_at(&text, 1.0).await;
            let all: Vec<&str> = words.iter().map(|word| &text[word.text_range.clone()]).collect();
            assert_eq!(all, text.split_whitespace().filter(|word| *word != "—").collect::<Vec<_>>());
            let last = words.last().expect("words");
            let tail = time(samples.len()) - last.end;
            assert!(tail < Duration::from_millis(120), "{tail:?} behind {last:?}");
        }
        assert!(cut(&long).len() > 1);
    }

    #[tokio::test]
    async fn a_word_that_is_spoken_in_pieces_is_one() {
        let dashes = "Go! Yes?—No!—".to_owned() + &"word—".repeat(200) + "end";
        for text in [dashes, "Hi ".to_owned() + &"a".repeat(250) + "…b", "1".repeat(500) + "日 2"] {
            assert!(cut(&Plain::new(&text).text).len() > 1);
            let (samples, words) = words_at(&text, 1.0).await;
            let all: Vec<&str> = words.iter().map(|word| &text[word.text_range.clone()]).collect();
            assert_eq!(all, text.split_whitespace().collect::<Vec<_>>());
            assert!(
                words.last().is_some_and(|last| time(samples.len()) - last.end < Duration::from_millis(130))
            );
        }
    }

    #[test]
    fn replaced_text_remembers_where_it_was_written() {
        for text in ["plain", "“No —\u{a0}wait—what?” – 5–10 Ærø… 日本 ß\u{b}x", "— a — — b", "…"]
        {
            let plain = Plain::new(text);
            let mut before = 0;
            for (at, letter) in plain.text.char_indices() {
                let origin = plain.origin(at);
                assert!(before <= origin && text.is_char_boundary(origin), "{text}");
                let written = text[origin..].chars().next().expect("a character");
                assert!(written == letter || nearest(written, true).is_some(), "{letter} of {written}");
                before = origin;
            }
        }
    }
}
