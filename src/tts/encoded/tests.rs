#![allow(clippy::unwrap_used)] // A test that cannot go on should stop where it is.

use super::*;
use crate::tts::testing::{all, idle, soon};
use crate::tts::{Flite, Tone};

/// Formats that this build encodes into: the largest rate of each encoding.
fn formats() -> impl Iterator<Item = Format> {
    let largest =
        |encoding: Encoding| Format { encoding, sample_rate_hz: *encoding.coded_rates().last().unwrap() };
    Encoding::CODED.map(largest).into_iter().filter(|format| Coder::supports(*format))
}

#[tokio::test]
async fn frames_are_the_same_each_time_and_whole_in_each_chunk() {
    for format in formats() {
        let tone = Tone::new(linear(format), 0.7);
        for engine in [&tone as &dyn Synthesizer, &Flite::new()] {
            assert!(supports(engine, format));
            let utterance = || Utterance {
                frame_bytes: format.frame_bytes(40),
                ..Utterance::new("Hello there.", format)
            };
            let (chunks, error) = all(speak(engine, utterance())).await;
            assert_eq!(error, None);
            assert_eq!(chunks[0].len(), format.unit_bytes(), "the first frame leaves at once");
            assert!(chunks.iter().all(|chunk| chunk.len().is_multiple_of(format.unit_bytes())));
            assert_eq!(all(speak(engine, utterance())).await.0.concat(), chunks.concat());
            let next = Utterance { index: 1, ..utterance() };
            let next = all(speak(engine, next)).await.0.concat();
            assert_eq!(next, [coded::lead(format), &chunks.concat()].concat(), "behind another sentence");
        }
    }
}

#[tokio::test]
async fn silence_at_the_end_is_that_of_engine_and_encoder() {
    for format in formats() {
        let engine = Tone::new(linear(format), 0.7);
        let mut speech =
            speak(&engine, Utterance { frame_bytes: format.unit_bytes(), ..Utterance::new("A.", format) });
        let mut bytes = 0;
        while let Some(piece) = soon(speech.next()).await {
            if let Ok(Piece::Audio(chunk)) = piece {
                bytes += chunk.len() as u64;
            }
        }
        let lead = format.duration(coded::lead(format).len() as u64);
        let surplus = format.duration(bytes) - Duration::from_millis(700) + lead;
        let quiet = speech.quiet().unwrap();
        assert!(quiet.abs_diff(surplus) < Duration::from_millis(1), "{format:?}: {quiet:?}, not {surplus:?}");
    }
}

#[tokio::test]
async fn an_engine_stops_when_its_listener_leaves() {
    for format in formats() {
        let engine = Tone::new(linear(format), 1e9);
        let utterance = Utterance { frame_bytes: format.unit_bytes(), ..Utterance::new("A.", format) };
        let running = utterance.running.clone();
        let mut speech = speak(&engine, utterance);
        assert!(soon(speech.next()).await.is_some());
        assert_eq!(running.count(), 1, "one utterance, and not one more for the encoder");
        drop(speech);
        idle(&running).await;
    }
}

#[test]
fn memory_of_an_encoder_is_bounded() {
    for format in formats() {
        let samples = vec![0x11; linear(format).bytes(Duration::from_secs(2)) as usize];
        let mut frames = Vec::with_capacity(64 * 1024);
        let used = allocation_counter::measure(|| {
            let mut coder = Coder::new(format).unwrap();
            for piece in samples.chunks(4_096) {
                frames.clear();
                coder.push(piece, &mut frames);
            }
            coder.finish(&mut frames);
        });
        let used = used.bytes_max;
        assert!(used <= memory_bytes(format.encoding), "{format:?}: {used}");
    }
}
