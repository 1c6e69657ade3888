//! Any text to the voice inside, cut into sentences as a session cuts it: the audio is whole samples, and each word
//! lies in the text and in the audio, in order.
#![no_main]

use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Piece, Synthesizer, Utterance};
use aloud::unstable::{Clean, Segmentation, Segmenter};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;

/// Sentences of one input that are spoken: each takes milliseconds.
const SENTENCES: usize = 3;

/// Longest sentence, in characters.
const MAX_CHARS: usize = 120;

static FLITE: LazyLock<Flite> = LazyLock::new(|| Flite::with_threads(1));

fuzz_target!(|input: (u8, u8, &str)| {
    let (how, speed, text) = input;
    let mut segmenter = Segmenter::new(Segmentation {
        language: (how & 1 == 0).then(|| "en".to_owned()),
        max_chars: MAX_CHARS,
        min_chars: 0,
        first_clause: how & 2 == 0,
        clean: if how & 4 == 0 { Clean::Html } else { Clean::Markdown },
    });
    segmenter.push(text);
    segmenter.finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rate = [8_000, 16_000, 24_000, 48_000][usize::from(how >> 3) % 4];
    let encoding = [Encoding::PcmS16le, Encoding::MuLaw, Encoding::ALaw][usize::from(how >> 5) % 3];
    let format = Format { encoding, sample_rate_hz: rate };
    let sample_bytes = if encoding == Encoding::PcmS16le { 2 } else { 1 };
    for segment in std::iter::from_fn(|| segmenter.next_segment()).take(SENTENCES) {
        let text = segment.text;
        let mut utterance = Utterance::new(text.clone(), format);
        utterance.speed = 1.0 + f32::from(speed) / 255.0;
        utterance.voice = FLITE.voices()[usize::from(speed) % 3].name.clone();
        utterance.has_word_times = true;
        let (bytes, words) = runtime.block_on(async {
            let (mut speech, mut bytes, mut words) = (FLITE.speak(utterance), 0, Vec::new());
            while let Some(piece) = speech.next().await {
                // A sentence without a word that can be spoken is an error of its own.
                match piece {
                    Ok(Piece::Audio(audio)) => bytes += audio.len(),
                    Ok(Piece::Words(more)) => words.extend(more),
                    Ok(_) => {}
                    Err(error) => assert!(error.message.ends_with('.'), "{error:?}"),
                }
            }
            (bytes, words)
        });
        assert_eq!(bytes % sample_bytes, 0, "{text:?}");
        let length = Duration::from_secs_f64((bytes / sample_bytes) as f64 / f64::from(rate));
        let (mut at, mut time) = (0, Duration::ZERO);
        for word in words {
            let range = word.text_range.clone();
            assert!(text.get(range.clone()).is_some_and(|word| !word.trim().is_empty()), "{text:?} {word:?}");
            assert!(range.start >= at && word.start >= time && word.end >= word.start, "{text:?} {word:?}");
            assert!(word.end <= length + Duration::from_millis(1), "{text:?} {word:?} {length:?}");
            (at, time) = (range.end, word.start);
        }
    }
});
