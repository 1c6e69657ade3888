use super::*;
use crate::audio::level::Trim;
use crate::gauge::Gauge;
use crate::text::normal::normalize;
use crate::tts::narrate::Progress;
use crate::tts::reading::sentences::sentences;
use crate::tts::reading::spelling::Plain;
use crate::tts::testing::{all, idle, pieces as all_pieces, soon};
use crate::tts::{Cancelled, Piece, SynthesisErrorKind, Word};
use flite_rs::{Flow, pipeline, text, voice};
use hyper::body::Bytes;
use std::f64::consts::TAU;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::oneshot;

pub(in crate::tts) const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };

pub(in crate::tts) const FOX: &str = "The quick brown fox jumps over the lazy dog.";

pub(in crate::tts) const STELLA: &str = "Please call Stella. Ask her to bring these things with her from the store: six \
    spoons of fresh snow peas, five thick slabs of blue cheese, and maybe a snack for her brother Bob.";

/// An engine that is parsed once for all tests. It belongs to no runtime.
pub(in crate::tts) static FLITE: LazyLock<Flite> = LazyLock::new(Flite::new);

/// An engine with threads of its own.
fn with_threads(threads: usize) -> Flite {
    Flite { speaker: FLITE.speaker.clone(), pool: Arc::new(Pool::new("flite", Order::Rounds, threads)) }
}

async fn samples(utterance: Utterance) -> Vec<i16> {
    let (chunks, error) = all(FLITE.speak(utterance)).await;
    assert_eq!(error, None);
    let bytes = chunks.concat();
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

pub(in crate::tts) async fn said(text: &str) -> Vec<i16> {
    samples(Utterance::new(text, PCM)).await
}

fn decibels(amplitude: f64) -> f64 {
    20.0 * (amplitude / 32_768.0).log10()
}

#[test]
fn flite_speaks_at_16_khz_and_supports_every_common_format() {
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

/// Power of a signal between two frequencies, by Fourier transforms of 20 ms each under a window with
/// low side lobes.
fn power(samples: &[i16], rate: u32, from_hz: f64, to_hz: f64) -> f64 {
    let length = rate as usize / 50;
    let turn = |n: usize, of: usize| TAU * (n % of) as f64 / of as f64;
    let bins = |hz: f64| (hz / 50.0).ceil() as usize;
    let mut power = 0.0;
    for block in samples.windows(length).step_by(length / 2) {
        // A Blackman window: its side lobes fall from -58 dB by 18 dB an octave.
        let window = |n| 0.42 - 0.5 * turn(n, length).cos() + 0.08 * turn(2 * n, length).cos();
        let block: Vec<f64> = block.iter().enumerate().map(|(n, &s)| f64::from(s) * window(n)).collect();
        for bin in bins(from_hz)..bins(to_hz) {
            // The Goertzel algorithm for one bin.
            let twice = 2.0 * turn(bin, length).cos();
            let (last, before) =
                block.iter().fold((0.0, 0.0), |(last, before), &s| (s + twice * last - before, last));
            power += last * last + before * before - twice * last * before;
        }
    }
    power
}

#[tokio::test]
async fn speech_at_48_khz_adds_nothing_to_the_voice() {
    let at = |sample_rate_hz| Utterance::new(FOX, Format { sample_rate_hz, ..PCM });
    let (native, fine) = (samples(at(16_000)).await, samples(at(48_000)).await);
    let all = power(&fine, 48_000, 0.0, 8_000.0);
    let above = 10.0 * (power(&fine, 48_000, 8_000.0, 24_000.0) / all).log10();
    assert!(above < -60.0, "{above:.1} dB above 8 kHz");
    // Every third sample is that of the voice, except close to 8 kHz.
    let thirds = fine.iter().step_by(3).zip(&native).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    let energy: f64 = native.iter().map(|&s| f64::from(s).powi(2)).sum();
    let changed = 10.0 * (thirds.sum::<f64>() / energy).log10();
    assert!(changed < -40.0, "{changed:.1} dB is new or missing");
}

#[tokio::test]
async fn speech_at_8_khz_keeps_the_lower_band_of_the_voice() {
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
    // The threshold of speech, with the gain of the voice.
    let loud = |s: &i16| s.unsigned_abs() > 230;
    for text in [FOX, "Hello.", "She sells sea shells by the sea shore.", "Half past six."] {
        for speed in [0.5, 1.0, 2.0] {
            let samples = samples(Utterance { speed, ..Utterance::new(text, PCM) }).await;
            let lead = samples.iter().position(loud).expect("speech") / 16;
            let tail = samples.iter().rev().position(loud).expect("speech") / 16;
            assert!((19..=25).contains(&lead), "{lead} ms before: {text}");
            assert!((50..=130).contains(&tail), "{tail} ms after: {text}");
        }
    }
}

/// Sentences that begin with every kind of sound. Several begin with /w/, which has noise before it.
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
async fn speech_begins_soon_with_every_first_sound() {
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
async fn nothing_audible_is_cut_and_word_times_include_the_cut() {
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
            // As loud as the threshold of speech, about 20 dB below a sentence.
            assert!(rms(front) < 120.0, "{} in front of {text} at {speed}", rms(front));
            assert!(peak(behind) <= 100, "{text} at {speed}");

            let (_, words) = samples_and_words(Utterance { speed, ..Utterance::new(text, PCM) }).await;
            let start = sample(words.first().expect("a word").start);
            assert_eq!(start, pause.saturating_sub(trim.cut()), "{text} at {speed}");
            assert!(start <= 20 * 16, "{text} at {speed}");
        }
    }
}

#[tokio::test]
async fn the_speed_divides_the_time() {
    let mut lengths = Vec::new();
    for speed in [1.0, 2.0, 0.5, 4.0, 0.25, 9.0, 0.0, f32::NAN] {
        let utterance = Utterance { speed, ..Utterance::new(STELLA, PCM) };
        lengths.push(samples(utterance).await.len());
    }
    let ratio = |n: usize| lengths[n] as f64 / lengths[0] as f64;
    assert!((0.45..0.6).contains(&ratio(1)), "{lengths:?}");
    assert!((1.8..2.1).contains(&ratio(2)), "{lengths:?}");
    assert!((0.22..0.3).contains(&ratio(3)), "{lengths:?}");
    assert!((3.6..4.2).contains(&ratio(4)), "{lengths:?}");
    // Speeds out of range become the nearest limit. NaN is the natural speed.
    assert_eq!(lengths[5..], [lengths[3], lengths[4], lengths[0]]);
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

/// Pitch of speech in Hz: the median of its loud, periodic blocks of 40 ms.
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
        // The length stays the same: only the pitch changes.
        let length = spoken.len() as f64 / default.len() as f64;
        assert!((0.95..1.05).contains(&length), "{name} takes {length:.2} times as long");
    }
    assert_eq!(said("kal16").await, default);
    assert_eq!(said("unknown").await, default, "an unknown voice becomes the default");
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
    // A text that has a sound anywhere is spoken.
    assert_eq!(said("😀! Hello.").await, said("Hello.").await);
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
    let utterance = Utterance { running: running.clone(), ..Utterance::new("word ".repeat(100_000), PCM) };
    let mut speech = engine.speak(utterance);
    assert!(soon(speech.next()).await.is_some_and(|chunk| chunk.is_ok()));
    assert_eq!(running.count(), 1);
    drop(speech);
    idle(&running).await;
    idle_threads(&engine).await;
}

#[tokio::test]
async fn a_cancelled_utterance_is_not_synthesised_further() {
    let (mut sink, speech) = Speech::channel(&Utterance::new(FOX, PCM), 16_000);
    drop(speech);
    let piece = text::sentences(FOX).next().expect("a sentence");
    let part = Part::new(FLITE.speaker.clone(), &piece, &FLITE.speaker.params(1.0, ""), None);
    assert!(matches!(part.speak(false, &mut sink), Progress::Over(..)));
    assert_eq!(sink.push(&[]), Err(Cancelled));
    assert!(sink.is_empty());
}

/// Waits until the engine's threads are free.
async fn idle_threads(engine: &Flite) {
    soon(async {
        while engine.pool.free_threads() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A sink, and the listener's end, of an utterance of this client and session.
fn channel(client: &str, session: &str) -> (Utterance, Sink, Speech) {
    let (client, session) = (Arc::from(client), Arc::from(session));
    let utterance = Utterance { client, session, ..Utterance::new(FOX, PCM) };
    let (sink, speech) = Speech::channel(&utterance, 16_000);
    (utterance, sink, speech)
}

/// Keeps the only thread of an engine busy until the sender is dropped.
async fn occupy(engine: &Flite) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let (end, ended) = oneshot::channel::<()>();
    let (begin, begun) = oneshot::channel();
    let engine = engine.clone();
    let job = tokio::spawn(async move {
        let (utterance, sink, _speech) = channel("busy", "busy");
        let job = move |_: &mut Sink| {
            let _ = begin.send(());
            ended.blocking_recv()
        };
        assert!(engine.pool.run(&utterance, false, sink, job).await.is_some());
    });
    soon(begun).await.expect("the job runs");
    (end, job)
}

#[tokio::test]
async fn dropping_the_speech_removes_it_from_the_line() {
    let engine = with_threads(1);
    let (busy, job) = occupy(&engine).await;
    let running = Gauge::default();
    let utterance = Utterance { running: running.clone(), ..Utterance::new(FOX, PCM) };
    let speech = engine.speak(utterance);
    assert_eq!(running.count(), 1);
    drop(speech);
    idle(&running).await;
    drop(busy);
    soon(job).await.expect("no panic");
}

#[tokio::test]
async fn a_slow_listener_uses_no_thread() {
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
async fn turns_go_round_clients_and_sentences_without_audio_come_first_in_their_client() {
    let engine = with_threads(1);
    let (busy, job) = occupy(&engine).await;
    let (order, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let mut jobs = vec![job];
    for (name, client, is_urgent) in [
        ("a1", "a", false),
        ("a2", "a", false),
        ("a3", "a", true),
        ("b1", "b", false),
        ("b2", "b", false),
        ("c1", "c", true),
    ] {
        let (engine, order) = (engine.clone(), order.clone());
        jobs.push(tokio::spawn(async move {
            let (utterance, sink, _speech) = channel(client, name);
            let done = engine.pool.run(&utterance, is_urgent, sink, move |_| order.send(name)).await;
            assert!(done.is_some());
        }));
        tokio::task::yield_now().await;
    }
    drop(busy);
    for name in ["a3", "b1", "c1", "a1", "b2", "a2"] {
        assert_eq!(soon(seen.recv()).await, Some(name));
    }
    for job in jobs {
        job.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_client_waits_for_one_unit_of_work_of_another_one() {
    let engine = with_threads(1);
    let (busy, job) = occupy(&engine).await;
    // The dearest sentences there are, as many as one client likes.
    let dear = "1234567 ".repeat(40);
    let of = |client: &str, session: &str, text: &str| {
        let (client, session) = (Arc::from(client), Arc::from(session));
        let format = Format { sample_rate_hz: 48_000, ..PCM };
        Utterance { client, session, speed: 0.5, ..Utterance::new(text, format) }
    };
    let hostile: Vec<Speech> =
        (0..50).map(|n| engine.speak(of("hostile", &format!("h{n}"), &dear))).collect();
    let mut heard = engine.speak(of("other", "o", FOX));
    // Every utterance has asked for its turn.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    drop(busy);
    soon(job).await.expect("no panic");
    assert!(soon(heard.next()).await.is_some_and(|piece| piece.is_ok()));
    let begun = hostile.iter().filter(|speech| speech.buffered_bytes() > 0).count();
    assert!(begun <= 3, "{begun} sentences of the other client came first");
}

/// Waits until an engine whose listener takes nothing has stopped. Returns the bytes of audio that wait.
async fn stalled(engine: &Flite, speech: &Speech) -> u64 {
    let mut bytes = speech.buffered_bytes();
    let mut rounds = 0;
    soon(async {
        while rounds < 200 {
            tokio::task::yield_now().await;
            let is_idle = engine.pool.free_threads() == 1 && speech.buffered_bytes() == bytes && bytes > 0;
            bytes = speech.buffered_bytes();
            rounds = if is_idle { rounds + 1 } else { 0 };
        }
    })
    .await;
    bytes
}

#[tokio::test]
async fn synthesis_runs_a_little_ahead_at_every_rate_speed_and_voice() {
    let engine = with_threads(1);
    let text = [STELLA; 6].join(" ");
    for encoding in Encoding::ALL {
        for sample_rate_hz in [8_000, 16_000, 48_000] {
            for speed in [0.5, 2.0] {
                for (voice, _) in VOICES {
                    let format = Format { encoding, sample_rate_hz };
                    let voice = voice.to_owned();
                    let speech =
                        engine.speak(Utterance { speed, voice, ..Utterance::new(text.clone(), format) });
                    let bytes = stalled(&engine, &speech).await;
                    assert!(bytes <= 48 * 1024, "{bytes} bytes of {format:?} at {speed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_first_unit_of_work_is_small_and_every_other_one_is_bounded() {
    let utterance = Utterance {
        format: Format { encoding: Encoding::PcmS16le, sample_rate_hz: 48_000 },
        frame_bytes: 1_920,
        ..Utterance::new(STELLA, PCM)
    };
    let (mut sink, _speech) = Speech::channel(&utterance, 16_000);
    let piece = text::sentences(STELLA).last().expect("a sentence");
    let mut part = Part::new(FLITE.speaker.clone(), &piece, &FLITE.speaker.params(0.5, ""), None);
    let (mut units, mut bytes) = (0, 0);
    while let Progress::More(more) = part.speak(units == 0, &mut sink) {
        // A unit ends after 20 ms of audio that go beyond it, at the latest.
        let most = if units == 0 { 220 * 96 } else { speaker::UNIT_BYTES + 20 * 96 };
        assert!(sink.encoded_bytes() - bytes <= most, "unit {units}: {} bytes", sink.encoded_bytes() - bytes);
        (units, bytes) = (units + 1, sink.encoded_bytes());
        part = more;
    }
    assert!(units > 50, "{units} units");
}

#[tokio::test]
async fn the_first_unit_of_work_has_audio_for_every_first_sound() {
    for text in ONSETS {
        for speed in [0.5, 1.0, 2.0] {
            let (mut sink, _speech) = Speech::channel(&Utterance::new(text, PCM), 16_000);
            let piece = text::sentences(text).next().expect("a sentence");
            let params = FLITE.speaker.params(speed, "");
            Part::new(FLITE.speaker.clone(), &piece, &params, None).speak(true, &mut sink);
            assert!(sink.encoded_bytes() >= 1_280, "{text} at {speed}: {} bytes", sink.encoded_bytes());
        }
    }
}

#[tokio::test]
async fn a_panic_fails_one_utterance_and_frees_its_thread() {
    let engine = with_threads(1);
    let (utterance, sink, speech) = channel("", "");
    let done = engine.pool.run(&utterance, false, sink, |sink| {
        sink.push(&[1; 1_000]).expect("not cancelled");
        panic!("a panic that this test causes");
    });
    assert!(done.await.is_none());
    let (chunks, error) = all(speech).await;
    assert_eq!(chunks.len(), 1);
    assert_eq!(error.map(|error| error.kind), Some(SynthesisErrorKind::Failed));
    assert_eq!(all(engine.speak(Utterance::new(FOX, PCM))).await.1, None);
}

/// Returns the samples and the words of an utterance.
pub(in crate::tts) async fn samples_and_words(utterance: Utterance) -> (Vec<i16>, Vec<Word>) {
    let (spoken, error) = all_pieces(FLITE.speak(Utterance { has_word_times: true, ..utterance })).await;
    assert_eq!(error, None);
    let (mut samples, mut words) = (Vec::new(), Vec::new());
    for piece in spoken {
        match piece {
            Piece::Audio(chunk) => {
                samples.extend(chunk.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
            }
            Piece::Words(more) => words.extend(more),
            Piece::Warning(warning) => assert_eq!(warning.code, "unspeakable_text"),
        }
    }
    (samples, words)
}

/// Position of the sample at this time.
pub(in crate::tts) fn sample(time: Duration) -> usize {
    (time.as_secs_f64() * 16_000.0).round() as usize
}

/// The words that the voice says, by its own list, with the number of sentences.
fn words_said(text: &str) -> (String, usize) {
    let spoken = normalize(text, "en");
    let plain = Plain::new(&spoken.text);
    let params = FLITE.speaker.params(1.0, "");
    let sentences = sentences(&plain.text);
    let mut words = Vec::new();
    for sentence in &sentences {
        let analysis = pipeline::analyse(&FLITE.speaker.language, sentence, &params);
        // A lone "a" as a letter has a name of its own.
        let names = analysis.iter_relation("Word").map(|word| analysis.name(word).replace("_a", "a"));
        words.extend(names.filter(|name| name.chars().any(char::is_alphanumeric)));
    }
    (words.join(" "), sentences.len())
}

/// Pairs of a written text and the words that are said.
const CORPUS: &str = include_str!("../../../tests/corpus/spoken.tsv");

/// Further pairs. Both sides were written before any of these texts was spoken.
const BLIND: &str = include_str!("../../../tests/corpus/blind.tsv");

#[test]
fn every_text_of_the_corpus_is_said_in_its_words() {
    assert_said_in_words(CORPUS, 300);
}

#[test]
fn every_text_of_the_blind_corpus_is_said_in_its_words() {
    assert_said_in_words(BLIND, 600);
}

/// Checks that a corpus has so many pairs, and that the words of each text are said.
fn assert_said_in_words(corpus: &str, least: usize) {
    let pairs: Vec<(&str, &str)> = corpus
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.split_once('\t').expect("a tab between written and spoken"))
        .collect();
    assert!(pairs.len() >= least, "{} pairs", pairs.len());
    let differ = pairs.iter().filter_map(|(written, spoken)| {
        let (said, _) = words_said(&written.replace("\\n", "\n"));
        (said != *spoken).then(|| format!("{written}\n  expected {spoken}\n  said     {said}"))
    });
    let differ: Vec<String> = differ.collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn an_utterance_is_one_sentence_unless_there_are_two() {
    let one = [
        "Kim vs. Park went on.",
        "Ask Prof. Okafor about Capt. Reed.",
        "See No. 2, Fig. 3 and pp. 5–10 of Vol. 7.",
        "Ms. Lee met Rev. King and Gov. Brown on Main St. in Sept. 2021.",
        "Acme Inc. Chairman Wu left Foo Corp. Tuesday.",
        "It was 9 a.m. Monday, approx. Five of them came.",
        "Washington, D.C. Mayor Bowser spoke.",
        "\"Stop!\" he said.",
        "Wm. Blake and Thos. Gray, i.e. Two poets.",
    ];
    for text in one {
        let (said, sentences) = words_said(text);
        assert_eq!(sentences, 1, "{text}: {said}");
    }
    for text in ["It was late. She left.", "Really? Yes.", "We saw cats, dogs, etc. They slept."] {
        assert_eq!(words_said(text).1, 2, "{text}");
    }
}

#[tokio::test]
async fn written_words_keep_their_places_when_they_become_several() {
    let cases: &[(&str, &[&str])] = &[
        ("It is -5°C outside.", &["It", "is", "-5°C", "outside."]),
        ("Add ½ tsp of salt.", &["Add", "½", "tsp", "of", "salt."]),
        ("About 400 g, or 12 km/h.", &["About", "400", "g,", "or", "12", "km/h."]),
        ("She is 5'10\" tall.", &["She", "is", "5'10\"", "tall."]),
        ("From 40–60°F to €1.2m.", &["From", "40–60°F", "to", "€1.2m."]),
        ("The o\u{fb03}ce of Kim vs. Park.", &["The", "o\u{fb03}ce", "of", "Kim", "vs.", "Park."]),
        ("See pp. 5–10 on Mar. 3, 1999.", &["See", "pp.", "5–10", "on", "Mar.", "3,", "1999."]),
        ("A co-\noperation of 5 - 10 days.", &["A", "co-\noperation", "of", "5", "-", "10", "days."]),
        ("Use 1 1/2 cups or 1 fl oz.", &["Use", "1 1/2", "cups", "or", "1", "fl oz."]),
        ("Call +44 20 7946 0958 now.", &["Call", "+44 20 7946 0958", "now."]),
        ("Pay EUR 30, $ 5 or 1 000 000.", &["Pay", "EUR 30,", "$ 5", "or", "1 000 000."]),
        ("Press ⌘C at (555) 123-4567.", &["Press", "⌘C", "at", "(555) 123-4567."]),
        ("Write to a@b.com, call 555-1234.", &["Write", "to", "a@b.com,", "call", "555-1234."]),
    ];
    for (text, expected) in cases {
        let (_, words) = samples_and_words(Utterance::new(*text, PCM)).await;
        let words: Vec<&str> = words.into_iter().map(|word| &text[word.text_range]).collect();
        assert_eq!(words, *expected, "{text}");
    }
}

#[tokio::test]
async fn words_that_cannot_be_said_are_named_by_a_warning() {
    let cases: &[(&str, &[&str])] = &[
        ("Say שלום and مرحبا to all.", &["שלום", "مرحبا"]),
        ("½ tsp of 日本 tea, и всё.", &["日本", "и", "всё"]),
        ("The café of Łódź, 5 µm and π.", &[]),
        ("Hello 😀 there — you…", &[]),
        ("\u{fb01}rst Москва", &["Москва"]),
        ("Hawaiʻi, \u{149}a and ʼn word", &[]),
        // Symbols with a name are spoken. Others are named by the warning, and what decorates is silent.
        ("Press ⌘C, ⌥⇧⏎ or →. ✓ § ¶ ♭ ≤", &[]),
        ("Take ⌬ and ⍟, then ₥5.", &["⌬", "⍟", "₥"]),
        ("A♠ ♘f3 ♂ 2 ✕ 3 ➖ 1 🂡 ♩ ⚀ ❶", &[]),
        // The word stands beside the transcription of its sounds.
        ("Hello (/həˈləʊ/) or [ˈwɔːtə] here.", &["həˈləʊ", "ˈwɔːtə"]),
        ("Read ⠃⠗⠇ or 🀀 or ⚢.", &["⠃⠗⠇", "🀀", "⚢"]),
        ("• one ● two ▪ three … ★★★ ─── ♪ la ♪ ⏰", &[]),
    ];
    for (text, expected) in cases {
        let (pieces, error) = all_pieces(FLITE.speak(Utterance::new(*text, PCM))).await;
        assert_eq!(error, None, "{text}");
        let warnings = pieces.iter().filter_map(|piece| match piece {
            Piece::Warning(warning) => Some(warning),
            _ => None,
        });
        let ranges: Vec<&str> =
            warnings.flat_map(|warning| &warning.text_ranges).map(|range| &text[range.clone()]).collect();
        assert_eq!(ranges, *expected, "{text}");
    }
}

#[tokio::test]
async fn marks_alone_have_words_within_the_text() {
    for text in ["____", "=====", "-----", "*** ___", "#### +++"] {
        let (pieces, _) =
            all_pieces(FLITE.speak(Utterance { has_word_times: true, ..Utterance::new(text, PCM) })).await;
        for piece in pieces {
            if let Piece::Words(words) = piece {
                assert!(
                    words.iter().all(|word| text.get(word.text_range.clone()).is_some()),
                    "{text}: {words:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn normalize_false_leaves_the_text_to_the_voice() {
    let said = |text: &'static str, normalize| samples(Utterance { normalize, ..Utterance::new(text, PCM) });
    assert_ne!(said("It is -5°C.", None).await, said("It is 5°C.", None).await);
    assert_eq!(said("It is -5°C.", None).await, said("It is minus five degrees Celsius.", Some(false)).await);
    assert_ne!(said("It is -5°C.", None).await, said("It is -5°C.", Some(false)).await);
}
