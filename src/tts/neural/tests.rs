//! Tests of voices, with the file that `ALOUD_TEST_VOICE` names, and of the phones that they get.

use super::alphabet::{Alphabet, LETTERS};
use super::graph::Threads;
use super::speaker::at_speed;
use super::spectra::RATE;
use super::voices::{Kind, SAMPLE};
use super::*;
use crate::gauge::Gauge;
use crate::tts::reading::read;
use crate::tts::testing::{all, idle, pieces as all_pieces, soon};
use crate::tts::{Gender, Piece, SynthesisErrorKind, Word};
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

mod made;

const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: RATE };

const LONG: &str = "The kettle is on, and the rain has stopped at last; the garden smells of wet earth and the \
    first lemon-coloured light, while in the kitchen somebody hums a tune about the sea and ships.";

/// The voice file of the tests.
fn file() -> Option<VoiceFile> {
    std::env::var_os("ALOUD_TEST_VOICE").map(|path| VoiceFile { name: None, path: path.into() })
}

/// An engine with one thread, loaded once for all tests.
fn engine(test: &str) -> Option<Neural> {
    static ENGINE: LazyLock<Option<Neural>> = LazyLock::new(|| {
        let engine = Neural::with_threads(&[file()?], 1);
        Some(engine.expect("a voice"))
    });
    if ENGINE.is_none() {
        let is_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!is_ci, "{test}: the voice file is missing, run .ci/foreign-clients");
        eprintln!("skipped {test}: ALOUD_TEST_VOICE is missing, see .ci/foreign-clients");
    }
    ENGINE.clone()
}

fn decoded(chunks: &[hyper::body::Bytes]) -> Vec<i16> {
    chunks.concat().chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

async fn said(engine: &Neural, text: &str, speed: f32) -> Vec<i16> {
    let utterance = Utterance { speed, ..Utterance::new(text, PCM) };
    let (chunks, error) = all(engine.speak(utterance)).await;
    assert_eq!(error, None, "{text}");
    decoded(&chunks)
}

/// Samples and words of a text.
async fn timed(engine: &Neural, text: &str, speed: f32) -> (Vec<i16>, Vec<Word>) {
    let utterance = Utterance { speed, has_word_times: true, ..Utterance::new(text, PCM) };
    let (pieces, error) = all_pieces(engine.speak(utterance)).await;
    assert_eq!(error, None, "{text}");
    let (mut chunks, mut words) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Audio(chunk) => chunks.push(chunk),
            Piece::Words(more) => words.extend(more),
            Piece::Warning(warning) => panic!("{warning:?}"),
        }
    }
    (decoded(&chunks), words)
}

fn spelled(reader: &Reader, text: &str) -> String {
    let pieces = read(&Utterance::new(text, PCM), LIMITS).pieces;
    let spell =
        |piece| Alphabet::Misaki.spell(&reader.sounds(piece)).into_iter().map(|(letter, _)| letter).collect();
    pieces.iter().map(spell).collect::<Vec<String>>().join(" ")
}

#[test]
fn phones_are_those_that_the_voices_are_trained_on() {
    let reader = Reader::new();
    for (text, letters) in PHONES {
        assert_eq!(spelled(&reader, text), *letters, "{text}");
    }
}

#[test]
fn every_letter_is_a_symbol_of_the_voices() {
    let letters = LETTERS.iter().flat_map(|(_, misaki, _)| misaki.chars());
    for letter in letters.chain("ᵊəɹˈˌ ,.!?;:—…()".chars()) {
        assert!(hibari::symbol(letter).is_some(), "{letter}");
    }
    let reader = Reader::new();
    for (text, _) in PHONES {
        assert!(spelled(&reader, text).chars().all(|letter| hibari::symbol(letter).is_some()), "{text}");
    }
}

#[test]
fn letters_belong_to_their_words() {
    let text = "It costs $5, Zoë.";
    let piece = read(&Utterance::new(text, PCM), LIMITS).pieces.pop().expect("a piece");
    let letters = Alphabet::Misaki.spell(&Reader::new().sounds(&piece));
    let of = |token| -> String {
        letters.iter().filter(|(_, owner)| *owner == Some(token)).map(|(letter, _)| letter).collect()
    };
    assert_eq!((of(0).as_str(), of(1).as_str(), of(2).as_str()), ("ɪt", "kˈɑsts", "fˈIv"));
    assert_eq!(
        piece.words.iter().map(|word| &text[word.clone()]).collect::<Vec<_>>(),
        ["It", "costs", "$5,", "$5,", "Zoë."]
    );
}

#[tokio::test]
async fn a_known_file_has_a_name_and_other_files_are_refused() {
    let Some(engine) = engine("a_known_file_has_a_name") else { return };
    let voice = &engine.voices()[0];
    assert_eq!(
        (voice.name.as_str(), voice.language.as_deref(), voice.gender),
        ("heart", Some("en-US"), Some(Gender::Female))
    );
    assert_eq!(engine.format(), PCM);
    assert!(engine.is_deterministic() && engine.normalizes());
    let file = file().expect("a file");
    let twice = Neural::load(&[file.clone(), file.clone()]).expect_err("one name for two voices");
    assert!(twice.to_string().contains("the same name, heart"), "{twice}");
    let named = VoiceFile { name: Some("again".to_owned()), ..file.clone() };
    let both = Neural::with_threads(&[file, named], 1).expect("two voices");
    assert_eq!(both.voices().iter().map(|voice| voice.name.as_str()).collect::<Vec<_>>(), ["heart", "again"]);
    let missing = VoiceFile { name: None, path: "/nowhere/voice.onnx".into() };
    assert!(Neural::load(&[missing]).expect_err("no file").to_string().contains("/nowhere/voice.onnx"));
}

/// Writes bytes to a file of its own, loads it, and removes it.
fn load(name: &str, bytes: &[u8]) -> Result<Neural, VoiceFileError> {
    let path = std::env::temp_dir().join(format!("aloud-{name}-{}.onnx", std::process::id()));
    std::fs::write(&path, bytes).expect("written");
    let loaded = Neural::with_threads(&[VoiceFile { name: None, path: path.clone() }], 1);
    let _ = std::fs::remove_file(path);
    loaded
}

#[test]
fn a_file_that_is_no_voice_is_refused_with_a_reason() {
    for (name, bytes) in [("empty", &b""[..]), ("text", b"This is no voice."), ("zeros", &[0; 4_096])] {
        let error = load(name, bytes).expect_err(name).to_string();
        assert!(error.starts_with("the voice file ") && error.len() < 400, "{error}");
    }
}

#[test]
fn files_of_another_kind_are_told_by_their_first_bytes() {
    let number = [[0xff; 9].as_slice(), &[1]].concat();
    for (bytes, expected) in [
        (&b""[..], false),
        // The library never ends with a number of more than ten bytes.
        (&[0xff; 64], false),
        (b"RIFF\x24\x00\x01\x00WAVEfmt ", false),
        (b"PK\x03\x04", false),
        (b"\x08\x07", true),
        (b"\x08", false),
        (b"\x12\x03abc\x08\x01", true),
        (b"\x12\x04abc", false),
        (b"\x0d1234\x0912345678", true),
        (b"\x0d123", false),
        (b"\x0b", false),
        (&[&b"\x08"[..], &number].concat(), true),
        (&[&b"\x12"[..], &number].concat(), false),
    ] {
        assert_eq!(voices::is_message(bytes), expected, "{bytes:x?}");
    }
}

#[test]
fn work_that_panics_or_never_ends_is_given_up() {
    let (_keeps_it_waiting, never) = std::sync::mpsc::channel::<()>();
    assert_eq!(voices::attempt(Duration::from_secs(60), || 5), Ok(5));
    let panics = voices::attempt(Duration::from_secs(60), || -> u8 { panic!("as wanted") });
    assert_eq!(panics, Err(voices::Unfinished::Panicked("as wanted".to_owned())));
    let late = voices::attempt(Duration::from_millis(1), move || never.recv().is_ok());
    assert_eq!(late, Err(voices::Unfinished::Late));
}

#[test]
fn a_damaged_file_never_panics() {
    let Some(file) = file() else { return drop(engine("a_damaged_file_never_panics")) };
    let whole = std::fs::read(&file.path).expect("a voice");
    // Cut, and with a run of other bytes, from the graph's head to its last weights.
    let mut refused = 0;
    for part in 0..8 {
        let at = whole.len() / 8 * part + 4_096 % whole.len();
        refused += u32::from(load("cut", &whole[..at]).is_err());
        let mut changed = whole.clone();
        changed[at..(at + 64).min(whole.len())].fill(0xff);
        // A weight that differs is no damage that can be seen.
        let _ = load("changed", &changed);
    }
    assert!(refused >= 7, "{refused} of 8 cut files are refused");
}

#[tokio::test]
async fn the_same_bytes_come_with_any_number_of_threads() {
    let Some(engine) = engine("the_same_bytes_come_with_any_number_of_threads") else { return };
    let texts = [SAMPLE, "Hello there.", "Is it here?"];
    let mut expected = Vec::new();
    for text in texts {
        expected.push(said(&engine, text, 1.0).await);
    }
    for threads in [1, 2, 4] {
        let engine =
            Neural { pool: Arc::new(Pool::new("neural", Order::UrgentFirst, threads)), ..engine.clone() };
        let all = texts.iter().chain(&texts).map(|text| {
            let (engine, text) = (engine.clone(), (*text).to_owned());
            tokio::spawn(async move { said(&engine, &text, 1.0).await })
        });
        let all: Vec<_> = all.collect();
        for (n, task) in all.into_iter().enumerate() {
            assert!(task.await.expect("spoken") == expected[n % texts.len()], "{threads} threads");
        }
    }
}

#[tokio::test]
async fn windows_sound_like_the_whole() {
    let Some(engine) = engine("windows_sound_like_the_whole") else { return };
    let Kind::Hibari(voice) = &engine.voices[0].kind else { return };
    let threads = Threads::own();
    let pieces = read(&Utterance::new(LONG, PCM), LIMITS).pieces;
    let letters = Alphabet::Misaki.spell(&engine.reader.sounds(&pieces[0]));
    let mut symbols: Vec<i32> = letters.iter().filter_map(|(letter, _)| hibari::symbol(*letter)).collect();
    symbols.insert(0, hibari::PAD);
    symbols.push(hibari::PAD);
    let samples = |windows: fn(Range<usize>) -> Vec<Range<usize>>| {
        let mut plan = voice.plan(&symbols, 1.0, 7, windows, &threads).expect("a plan");
        let mut samples = Vec::new();
        while plan.passage.next(&mut samples, &threads).expect("a window") {}
        // The durations add up to the audio.
        assert_eq!(plan.starts.last(), Some(&samples.len()));
        assert!(plan.starts.is_sorted() && plan.starts.len() == symbols.len() + 1);
        samples
    };
    let (cut, whole) = (samples(windows::windows), samples(|all| vec![all]));
    let power = |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| f64::from(s).powi(2)).sum::<f64>();
    let error = power(&mut cut.iter().zip(&whole).map(|(a, b)| a - b));
    let distance = 10.0 * (power(&mut whole.iter().copied()) / error).log10();
    assert!(distance >= 25.0, "{distance:.1} dB");
}

/// Largest amplitude.
fn peak(samples: &[i16]) -> u16 {
    samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or_default()
}

#[tokio::test]
async fn a_sentence_begins_and_ends_without_a_click() {
    let Some(engine) = engine("a_sentence_begins_and_ends_without_a_click") else { return };
    let ms = RATE as usize / 1_000;
    for text in [SAMPLE, "Hello there.", "Stop!", "Yes", "Is it here?", "Wait for us…", "The cats."] {
        for speed in [1.0, 2.0] {
            let samples = said(&engine, text, speed).await;
            // Every 5 ms at the end are no louder than three times the 20 ms before them, but for the floor
            // below which silence lies.
            for end in (samples.len() - 50 * ms..=samples.len()).step_by(5 * ms) {
                let (before, now) = (&samples[end - 25 * ms..end - 5 * ms], &samples[end - 5 * ms..end]);
                let most = 3 * peak(before).max(60);
                assert!(peak(now) <= most, "{text} at {speed}: {} after {}", peak(now), peak(before));
            }
            assert!(peak(&samples[..ms]) < 1_500, "{text} at {speed} begins with {}", peak(&samples[..ms]));
        }
    }
    for text in ["No.", "Right.", "Run.", "We may go."] {
        for speed in [0.5, 0.6, 0.8] {
            let samples = said(&engine, text, speed).await;
            assert!(peak(&samples[..ms]) < 330, "{text} at {speed} begins with {}", peak(&samples[..ms]));
        }
    }
}

#[tokio::test]
async fn silence_is_trimmed_and_the_level_is_that_of_other_voices() {
    let Some(engine) = engine("silence_is_trimmed") else { return };
    for text in [SAMPLE, "Hello there."] {
        let samples = said(&engine, text, 1.0).await;
        let first = samples.iter().position(|s| s.unsigned_abs() > 160).expect("sound");
        assert!(first <= RATE as usize * 25 / 1_000, "{first} samples of silence");
        let sound: Vec<f64> = samples.iter().map(|&s| f64::from(s)).filter(|s| s.abs() > 100.0).collect();
        let rms = (sound.iter().map(|s| s * s).sum::<f64>() / sound.len() as f64).sqrt();
        let dbfs = 20.0 * (rms / 32_768.0).log10();
        assert!((-25.0..-18.0).contains(&dbfs), "{dbfs:.1} dBFS");
        assert!(peak(&samples) <= 29_204);
    }
}

#[tokio::test]
async fn words_are_in_order_within_the_audio_and_audible() {
    let Some(engine) = engine("words_are_in_order_within_the_audio_and_audible") else { return };
    let two = "It costs $37.50, Dr. Sato. “Well” — she left!";
    for text in [SAMPLE, two] {
        for speed in [0.5, 1.0, 2.0] {
            let (samples, words) = timed(&engine, text, speed).await;
            let named: Vec<&str> = words.iter().map(|word| &text[word.text_range.clone()]).collect();
            let written: Vec<&str> = text.split_whitespace().filter(|word| *word != "—").collect();
            assert_eq!(named, written, "{text} at {speed}");
            let mut time = Duration::ZERO;
            for word in &words {
                assert!(time <= word.start && word.start < word.end, "{word:?} of {text} at {speed}");
                time = word.end;
                let at = |time: Duration| (time.as_secs_f64() * f64::from(RATE)) as usize;
                assert!(at(word.end) <= samples.len() + 1, "{word:?} of {text}");
                let sound = &samples[at(word.start)..at(word.end).min(samples.len())];
                assert!(peak(sound) > 300, "{word:?} of {text} at {speed} is silent");
            }
        }
    }
}

#[tokio::test]
async fn the_beginning_of_a_word_is_where_its_sound_begins() {
    let Some(engine) = engine("the_beginning_of_a_word_is_where_its_sound_begins") else { return };
    // Pauses show where the words after them begin.
    let text = "One, two; three — four.";
    let (samples, words) = timed(&engine, text, 1.0).await;
    assert_eq!(words.len(), 4);
    for word in &words[1..] {
        let at = (word.start.as_secs_f64() * f64::from(RATE)) as usize;
        let near = RATE as usize / 1_000 * 100;
        let window = at.saturating_sub(near)..(at + near).min(samples.len());
        let quiet = samples[window.clone()].chunks(240).map(peak).min().unwrap_or_default();
        let loud = peak(&samples[at..(at + 2 * near).min(samples.len())]);
        assert!(quiet * 5 < loud, "{word:?}: {quiet} and {loud}");
    }
}

/// Level of each 5 ms, in dBFS.
fn levels(samples: &[i16]) -> Vec<f64> {
    let rms = |block: &[i16]| {
        let sum: f64 = block.iter().map(|&s| (f64::from(s) / 32_768.0).powi(2)).sum();
        10.0 * (sum / block.len() as f64).max(1e-12).log10()
    };
    samples.chunks(RATE as usize / 200).map(rms).collect()
}

fn milliseconds(time: Duration) -> i64 {
    time.as_millis() as i64
}

const SPEEDS: [f32; 5] = [0.5, 0.7, 1.0, 1.5, 2.0];

#[tokio::test]
async fn a_short_word_in_front_is_heard_at_any_speed() {
    let Some(engine) = engine("a_short_word_in_front_is_heard_at_any_speed") else { return };
    for noun in ["king", "pot", "cat", "person"] {
        let text = format!("A {noun} is what they wanted.");
        for speed in SPEEDS {
            let (samples, words) = timed(&engine, &text, speed).await;
            let end = (milliseconds(words[0].end) / 5) as usize;
            let levels = levels(&samples);
            let loudest = |levels: &[f64]| levels.iter().copied().fold(f64::MIN, f64::max);
            let below = loudest(&levels) - loudest(&levels[..=end]);
            assert!(below < 20.0, "{text} at {speed}: {below:.0} dB below the loudest");
        }
    }
}

#[tokio::test]
async fn the_first_word_begins_and_the_last_one_ends_with_its_sound() {
    let Some(engine) = engine("the_first_word_begins_and_the_last_one_ends_with_its_sound") else { return };
    for text in
        ["Is it six?", "All of them.", "Good evening.", "Ask me.", "No, she sells shells, doesn't she?"]
    {
        for speed in SPEEDS {
            let (samples, words) = timed(&engine, text, speed).await;
            let is_sound = |level: &f64| *level > -45.0;
            let levels = levels(&samples);
            let begins = 5 * levels.iter().position(is_sound).expect("sound") as i64;
            let ends = 5 * levels.iter().rposition(is_sound).expect("sound") as i64 + 5;
            let (first, last) = (&words[0], &words[words.len() - 1]);
            let off = milliseconds(first.start) - begins;
            assert!((-50..=10).contains(&off), "{text} at {speed} begins at {begins}, not {:?}", first.start);
            let off = milliseconds(last.end) - ends;
            assert!((-40..=60).contains(&off), "{text} at {speed} ends at {ends}, not {:?}", last.end);
        }
    }
}

#[tokio::test]
async fn no_word_is_without_length() {
    let Some(engine) = engine("no_word_is_without_length") else { return };
    let text = "a b c d e f g";
    for speed in [0.5, 1.0, 1.5, 1.8, 2.0] {
        let (_, words) = timed(&engine, text, speed).await;
        assert_eq!(words.len(), 7, "at {speed}");
        for pair in words.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{words:?} at {speed}");
        }
        for word in &words {
            assert!(word.end - word.start >= Duration::from_millis(20), "{word:?} at {speed}");
        }
    }
}

/// Correlation of samples with those `lag` later.
fn correlation(samples: &[i16], lag: usize) -> f64 {
    let (a, b) = (&samples[..samples.len() - lag], &samples[lag..]);
    let sum =
        |x: &[i16], y: &[i16]| -> f64 { x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
    sum(a, b) / (sum(a, a) * sum(b, b)).sqrt().max(1.0)
}

#[tokio::test]
async fn the_voice_has_the_pitch_of_a_woman_and_sound_above_8_khz() {
    let Some(engine) = engine("the_voice_has_the_pitch_of_a_woman") else { return };
    let samples = said(&engine, "See the seas, she says. Ah!", 1.0).await;
    let block = RATE as usize / 25;
    let mut voiced = 0;
    let mut pitches = Vec::new();
    for part in samples.windows(block).step_by(block / 2).filter(|part| peak(part) > 3_000) {
        let lags = RATE as usize / 400..RATE as usize / 80;
        let best = lags.clone().map(|lag| correlation(part, lag)).fold(0.0, f64::max);
        // The shortest lag that is about as good as the best one: multiples of it are too.
        let lag = lags.into_iter().find(|&lag| correlation(part, lag) > 0.95 * best).unwrap_or(1);
        if best > 0.8 {
            voiced += 1;
            pitches.push(f64::from(RATE) / lag as f64);
        }
    }
    pitches.sort_by(f64::total_cmp);
    let middle = pitches[pitches.len() / 2];
    assert!(voiced > 5 && (120.0..300.0).contains(&middle), "{middle:.0} Hz in {voiced} parts");
    // A difference of samples is louder above 8 kHz than below: the sound of /s/.
    let high: f64 = samples
        .windows(3)
        .map(|s| f64::from(s[0]) - 2.0 * f64::from(s[1]) + f64::from(s[2]))
        .map(|d| d * d)
        .sum();
    let all: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    assert!(high / all > 0.02, "{:.4}", high / all);
}

#[tokio::test]
async fn speed_changes_the_length() {
    let Some(engine) = engine("speed_changes_the_length") else { return };
    let length = async |speed| said(&engine, LONG, speed).await.len() as f64;
    let usual = length(1.0).await;
    for (speed, at) in [(0.5, 0.5), (2.0, 2.0), (0.1, 0.5), (9.0, 2.0), (f32::NAN, 1.0)] {
        let ratio = usual / length(speed).await;
        assert!((ratio / at - 1.0).abs() < 0.15, "{ratio} at {speed}");
    }
}

#[tokio::test]
async fn speech_is_as_fast_as_was_asked_for() {
    let Some(engine) = engine("speech_is_as_fast_as_was_asked_for") else { return };
    // Without the silence around it, which is cut.
    let length = async |speed| {
        let (_, words) = timed(&engine, LONG, speed).await;
        (words[words.len() - 1].start - words[0].start).as_secs_f64()
    };
    let usual = length(1.0).await;
    for tenths in 5..=20 {
        let speed = f64::from(tenths) / 10.0;
        let ratio = usual / length(speed as f32).await;
        assert!((ratio / speed - 1.0).abs() < 0.03, "{ratio} at {speed}");
    }
}

#[test]
fn rounded_durations_add_up_to_the_speed() {
    let natural: Vec<f32> = (0..60u32).map(|n| 0.6 + (n * 37 % 60) as f32 / 10.0).collect();
    let up: fn(f32) -> f32 = f32::ceil;
    for round in [up, |units| units.round_ties_even().max(1.0)] {
        let usual: Vec<f32> = natural.iter().map(|&units| round(units)).collect();
        assert_eq!(at_speed(&natural, 1.0, round), usual, "as the graph does it");
        let sum = |durations: &[f32]| durations.iter().sum::<f32>();
        for speed in [0.5, 0.75, 0.9, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0] {
            let (planned, wanted) = (at_speed(&natural, speed, round), sum(&usual) / speed);
            assert!((sum(&planned) - wanted).abs() <= 2.0, "{} and not {wanted} at {speed}", sum(&planned));
            assert!(planned.iter().all(|&units| units >= 1.0));
        }
        // All are as short as can be; and what is no number is left for the check behind it.
        assert_eq!(at_speed(&[1.0; 3], 2.0, round), [1.0; 3]);
        assert!(at_speed(&[f32::INFINITY, 1.0], 2.0, round)[0].is_infinite());
        assert!(at_speed(&[f32::NAN, 1.0], 1.5, up)[0].is_nan());
    }
}

#[tokio::test]
async fn audio_comes_in_any_format() {
    let Some(engine) = engine("audio_comes_in_any_format") else { return };
    let native = said(&engine, "Hello there.", 1.0).await.len();
    for sample_rate_hz in [8_000, 16_000, 44_100, 48_000] {
        let format = Format { encoding: Encoding::MuLaw, sample_rate_hz };
        let (chunks, error) = all(engine.speak(Utterance::new("Hello there.", format))).await;
        assert_eq!(error, None);
        let bytes: usize = chunks.iter().map(hyper::body::Bytes::len).sum();
        let exact = native as f64 * f64::from(sample_rate_hz) / f64::from(RATE);
        assert!((bytes as f64 - exact).abs() <= 1.0, "{bytes} of {exact} at {sample_rate_hz} Hz");
    }
}

#[tokio::test]
async fn text_without_a_word_has_no_audio() {
    let Some(engine) = engine("text_without_a_word_has_no_audio") else { return };
    for text in ["日本語", "😀", "…"] {
        let (chunks, error) = all(engine.speak(Utterance::new(text, PCM))).await;
        assert!(chunks.is_empty(), "{text}");
        assert_eq!(error.map(|error| error.kind), Some(SynthesisErrorKind::NoAudio), "{text}");
    }
}

#[tokio::test]
async fn a_listener_that_leaves_ends_the_work() {
    let Some(engine) = engine("a_listener_that_leaves_ends_the_work") else { return };
    // Other tests have the threads of the engine that all share.
    let engine = Neural { pool: Arc::new(Pool::new("neural", Order::UrgentFirst, 1)), ..engine };
    let running = Gauge::default();
    let text = [LONG; 8].join(" ");
    let utterance = Utterance { running: running.clone(), ..Utterance::new(text, PCM) };
    let mut speech = engine.speak(utterance);
    assert!(matches!(soon(speech.next()).await, Some(Ok(Piece::Audio(_)))));
    drop(speech);
    idle(&running).await;
    // The thread comes to the end of its window.
    soon(async {
        while engine.pool.free_threads() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_listener_limits_what_is_made_ahead() {
    let Some(engine) = engine("a_slow_listener_limits_what_is_made_ahead") else { return };
    let mut speech = engine.speak(Utterance::new([LONG; 3].join(" "), PCM));
    assert!(matches!(soon(speech.next()).await, Some(Ok(_))));
    // Another utterance takes its turns, and has all of them.
    let other = said(&engine, SAMPLE, 1.0).await;
    assert!(!other.is_empty());
    let window = 128 * 300 * 2;
    assert!(speech.buffered_bytes() <= 2 * window + 48 * 1_024, "{}", speech.buffered_bytes());
}

/// Kind of processor: kinds round differently.
fn processor() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512vnni") {
            return "avx512vnni";
        }
        if std::is_x86_feature_detected!("avx512f") {
            return "avx512f";
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return "avx2";
        }
    }
    "other"
}

#[tokio::test]
async fn a_voice_of_piper_speaks_the_same_bytes_each_time() {
    let Some(path) = std::env::var_os("ALOUD_TEST_PIPER_VOICE") else {
        let is_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!is_ci, "a_voice_of_piper: the voice file is missing, run .ci/foreign-clients");
        return eprintln!(
            "skipped a_voice_of_piper: ALOUD_TEST_PIPER_VOICE is missing, see .ci/foreign-clients"
        );
    };
    let file = VoiceFile { name: Some("joe".to_owned()), path: path.into() };
    let engine = Neural::with_threads(&[file], 2).expect("a voice");
    assert_eq!(engine.format().sample_rate_hz, 22_050);
    assert_eq!(engine.voices()[0].label(), "Joe, English (US)");
    let text = "Hello there.";
    let say = async || {
        let utterance = Utterance { has_word_times: true, ..Utterance::new(text, engine.format()) };
        let (pieces, error) = all_pieces(engine.speak(utterance)).await;
        assert_eq!(error, None);
        pieces
    };
    let (once, again) = (say().await, say().await);
    assert_eq!(once, again);
    let (mut chunks, mut words) = (Vec::new(), Vec::new());
    for piece in once {
        match piece {
            Piece::Audio(chunk) => chunks.push(chunk),
            Piece::Words(more) => words.extend(more),
            Piece::Warning(warning) => panic!("{warning:?}"),
        }
    }
    let samples = decoded(&chunks);
    let seconds = samples.len() as f64 / 22_050.0;
    assert!((0.5..2.0).contains(&seconds) && peak(&samples) > 3_000, "{seconds} s");
    assert_eq!(
        words.iter().map(|word| &text[word.text_range.clone()]).collect::<Vec<_>>(),
        ["Hello", "there."]
    );
    assert!(words[0].end <= words[1].start && words[1].end.as_secs_f64() <= seconds + 0.001, "{words:?}");
}

/// Checksums of the audio of three sentences by the voice "heart", for each kind of processor.
const GOLDEN: &[(&str, [u32; 3])] = &[("avx2", [2_946_277_944, 438_161_051, 2_934_962_443])];

#[tokio::test]
async fn the_audio_is_that_of_other_builds() {
    let Some(engine) = engine("the_audio_is_that_of_other_builds") else { return };
    let Some((_, expected)) = GOLDEN.iter().find(|(kind, _)| *kind == processor()) else {
        return eprintln!("skipped: no checksums for {}", processor());
    };
    if engine.voices()[0].name != "heart" {
        return eprintln!("skipped: the voice is another one");
    }
    let mut sums = Vec::new();
    for text in [SAMPLE, "Hello there.", "It costs $37.50, Dr. Sato."] {
        let samples = said(&engine, text, 1.0).await;
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        sums.push(crc32fast::hash(&bytes));
    }
    assert_eq!(sums, expected, "on {}", processor());
}

/// Texts, and how they are spelled for the voices.
const PHONES: &[(&str, &str)] = &[
    ("The quick brown fox jumps over the lazy dog.", "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ."),
    ("Hello there.", "həlˈO ðˈɛɹ."),
    ("The birch canoe slid on the smooth planks.", "ðə bˈɜɹʧ kənˈu slˈɪd ˌɔn ðə smˈuð plˈæŋks."),
    ("Glue the sheet to the dark blue background.", "ɡlˈu ðə ʃˈit tə ðə dˈɑɹk blˈu bˈækɡɹˌWnd."),
    ("It's easy to tell the depth of a well.", "ɪts ˈizi tə tˈɛl ðə dˈɛpθ ʌv ɐ wˈɛl."),
    ("These days a chicken leg is a rare dish.", "ðiz dˈAz ɐ ʧˈɪkən lˈɛɡ ɪz ɐ ɹˈɛɹ dˈɪʃ."),
    ("Rice is often served in round bowls.", "ɹˈIs ɪz ˈɔfᵊn sˈɜɹvd ɪn ɹˈWnd bˈOlz."),
    ("The juice of lemons makes fine punch.", "ðə ʤˈus ʌv lˈɛmənz mˈAks fˈIn pˈʌnʧ."),
    ("The box was thrown beside the parked truck.", "ðə bˈɑks wʌz θɹˈOn bəsˈId ðə pˈɑɹkt tɹˈʌk."),
    ("The hogs were fed chopped corn and garbage.", "ðə hˈɑɡz wɜɹ fˈɛd ʧˈɑpt kˈɔɹn ænd ɡˈɑɹbɪʤ."),
    ("Four hours of steady work faced us.", "fˈɔɹ ˈWəɹz ʌv stˈɛdi wˈɜɹk fˈAst ˌʌs."),
    ("A large size in stockings is hard to sell.", "ɐ lˈɑɹʤ sˈIz ɪn stˈɑkɪŋz ɪz hˈɑɹd tə sˈɛl."),
    ("I have to go to the apple store.", "ˌI hæv tə ɡˈO tə ði ˈæpᵊl stˈɔɹ."),
    ("She wanted the boxes, and he rented a house.", "ʃi wˈɑntᵻd ðə bˈɑksᵻz, ænd hi ɹˈɛntᵻd ɐ hˈWs."),
    ("Is this what you have?", "ɪz ðɪs wˌʌt ju hˈæv?"),
    ("A little butter; a better city.", "ɐ lˈɪTᵊl bˈʌTəɹ; ɐ bˈɛTəɹ sˈɪTi."),
    ("The kitten sat on a button.", "ðə kˈɪtn sˈæt ˌɔn ɐ bˈʌtn."),
    ("Nations of the world are happier together!", "nˈAʃənz ʌv ðə wˈɜɹld ɑɹ hˈæpiəɹ təɡˈɛðəɹ!"),
    (
        "On January 3rd, 1984, it cost $37.50.",
        "ˌɔn ʤˈænjuˌɛɹi θˈɜɹd, nˌIntˈin ˈATi fˈɔɹ, ɪt kˈɑst θˈɜɹdi sˈɛvən dˈɑləɹz fˈɪfti sˈɛnts.",
    ),
    ("Dr. Smith lives at 10 Main St.", "dˈɑktəɹ smˈɪθ lˈɪvz æt tˈɛn mˈAn stɹˈit."),
    ("“Well,” she said — no… (maybe).", "wˈɛl, ʃi sˈɛd — nˈO… (mˈAbi)."),
    ("NATO and the USA met on Monday.", "nˈATO ænd ðə jˌuˌɛsˈA mˈɛt ˌɔn mˈʌndˌA."),
    ("The dog's bone and the boss's chair.", "ðə dˈɔɡz bˈOn ænd ðə bˈɑsᵻz ʧˈɛɹ."),
    ("We've read it; now read it again.", "wiv ɹˈɛd ɪt; nˈW ɹˈɛd ɪt əɡˈɛn."),
    ("Before you return, remember the message.", "bəfˈɔɹ ju ɹətˈɜɹn, ɹəmˈɛmbəɹ ðə mˈɛsɪʤ."),
    ("Fifteen people understand anything.", "fɪftˈin pˈipᵊl ˌʌndəɹstˈænd ˈɛniθˌɪŋ."),
    ("Unknown words need a default language.", "ˌʌnnˈOn wˈɜɹdz nˈid ɐ dəfˈɔlt lˈæŋɡwɪʤ."),
    ("He did it himself in the kitchen.", "hi dˈɪd ɪt hɪmsˈɛlf ɪn ðə kˈɪʧᵊn."),
    ("I'm sure that you'd like to see them: isn't it?", "ˈIm ʃˈʊɹ ðæt jud lˈIk tə sˈi ðˌɛm: ˈɪsnt ɪt?"),
    (
        "Email me at joe@example.com by 7:30 pm.",
        "ˈimˌAl mˌi æt ʤˈO æt ɪɡzˈæmpᵊl dˈɑt kˈɑm bI sˈɛvən θˈɜɹdi pˌiˈɛm.",
    ),
    (
        "Twenty-five percent of 1,250 is about 312.",
        "twˈɛnti fˈIv pəɹsˈɛnt ʌv wˈʌn θˈWzᵊnd tˈu hˈʌndɹəd fˈɪfti ɪz əbˈWt θɹˈi hˈʌndɹəd twˈɛlv.",
    ),
];
