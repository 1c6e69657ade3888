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
            let (chunks, error) = all(speak(engine, &Encoders::new(), utterance())).await;
            assert_eq!(error, None);
            assert_eq!(chunks[0].len(), format.unit_bytes(), "the first frame leaves at once");
            assert!(chunks.iter().all(|chunk| chunk.len().is_multiple_of(format.unit_bytes())));
            assert_eq!(all(speak(engine, &Encoders::new(), utterance())).await.0.concat(), chunks.concat());
            let next = Utterance { index: 1, ..utterance() };
            let next = all(speak(engine, &Encoders::new(), next)).await.0.concat();
            assert_eq!(next, [coded::lead(format), &chunks.concat()].concat(), "behind another sentence");
        }
    }
}

#[tokio::test]
async fn silence_at_the_end_is_that_of_engine_and_encoder() {
    for format in formats() {
        let engine = Tone::new(linear(format), 0.7);
        let utterance = Utterance { frame_bytes: format.unit_bytes(), ..Utterance::new("A.", format) };
        let mut speech = speak(&engine, &Encoders::new(), utterance);
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
        let mut speech = speak(&engine, &Encoders::new(), utterance);
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

#[tokio::test]
async fn a_client_waits_for_one_unit_of_another_client() {
    for format in formats() {
        let (encoders, engine) = (Encoders::with_threads(1), Tone::new(linear(format), 60.0));
        let (release, begun) = encoders.hold("first");
        soon(begun).await.unwrap();
        let say = |client: &str, session: usize| {
            let utterance = Utterance {
                client: Arc::from(client),
                session: session.to_string().into(),
                frame_bytes: format.unit_bytes(),
                ..Utterance::new("A.", format)
            };
            speak(&engine, &encoders, utterance)
        };
        let many: Vec<Speech> = (0..48).map(|session| say("many", session)).collect();
        wait_until(|| encoders.waiting() == 48).await;
        let mut one = say("one", 0);
        wait_until(|| encoders.waiting() == 49).await;
        // The thread stops again behind the first round.
        let (release_again, begun) = encoders.hold("last");
        wait_until(|| encoders.waiting() == 50).await;
        drop(release);
        soon(begun).await.unwrap();
        assert!(matches!(soon(one.next()).await, Some(Ok(Piece::Audio(_)))), "{format:?}");
        let heard = |speech: &&Speech| speech.encoded_bytes() > 0;
        assert_eq!(many.iter().filter(heard).count(), 1, "{format:?}: one turn of the other client");
        // Sentences without a listener leave the line.
        drop(many);
        wait_until(|| encoders.waiting() <= 1).await;
        drop(release_again);
    }
}

#[tokio::test]
async fn first_frames_come_before_further_ones_of_all_clients() {
    let encoders = Encoders::with_threads(1);
    let (release, begun) = encoders.hold("first");
    soon(begun).await.unwrap();
    let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
    for (at, (client, is_urgent)) in
        [("a", false), ("b", false), ("c", false), ("new", true)].into_iter().enumerate()
    {
        let utterance =
            Utterance { client: Arc::from(client), ..Utterance::new("", formats().next().unwrap()) };
        let (its_encoders, sender) = (encoders.clone(), sender.clone());
        tokio::spawn(async move {
            its_encoders.work(&utterance, is_urgent, move || sender.send(client)).await;
        });
        wait_until(|| encoders.waiting() == at + 1).await;
    }
    drop(release);
    for client in ["new", "a", "b", "c"] {
        assert_eq!(soon(order.recv()).await, Some(client));
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
