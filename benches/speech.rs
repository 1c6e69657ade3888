//! The built-in engines without a server: the time to the first audio of a sentence, and the speed of the rest as a
//! multiple of real time. With the feature `neural` and a file in `ALOUD_VOICE_FILE`, the natural voice too.

use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Piece, Synthesizer, Tone, Utterance};
use std::error::Error;
use std::time::{Duration, Instant};

const ROUNDS: usize = 300;

/// Rounds of the natural voice, which is slower.
#[cfg(feature = "neural")]
const NATURAL_ROUNDS: usize = 20;

/// Rounds until the engine has filled its caches.
const WARM_UP: usize = 20;

const SENTENCES: [&str; 3] = [
    "Good evening.",
    "She had learned not to hurry on days like it.",
    "It had rained all night, and the harbour was quiet in the morning, but somebody had left a lamp on in the \
     boathouse, and there were steps in the wet sand that led away from it along the pier.",
];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this too, without figures.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tone = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 24_000 };
    let engines: [&dyn Synthesizer; 2] = [&Flite::with_threads(1), &Tone::new(tone, 2.0)];
    for engine in engines {
        measure(&runtime, engine, &SENTENCES, rounds, WARM_UP)?;
    }
    #[cfg(feature = "neural")]
    if let Some(path) = std::env::var_os("ALOUD_VOICE_FILE") {
        let file = aloud::tts::VoiceFile { name: None, path: path.into() };
        let engine = aloud::tts::Neural::with_threads(&[file], 1)?;
        measure(&runtime, &engine, &LENGTHS, rounds.min(NATURAL_ROUNDS), 1)?;
    }
    Ok(())
}

/// Sentences of 12, 44, 118 and 250 characters.
#[cfg(feature = "neural")]
const LENGTHS: [&str; 4] = [
    "Hello there.",
    "The quick brown fox jumps over the lazy dog.",
    "The kettle is on, and the rain has stopped at last; the garden smells of wet earth and the first lemon-coloured light.",
    "When the ship finally came into the harbour, three days late and low in the water, no one on the quay could say for \
     certain whether it was the same vessel that had left in April, with its white sails and forty men, bound for the \
     islands in the south.",
];

/// Speaks each sentence so often, and reports the times.
fn measure(
    runtime: &tokio::runtime::Runtime,
    engine: &dyn Synthesizer,
    sentences: &[&str],
    rounds: usize,
    warm_up: usize,
) -> Result<(), Box<dyn Error>> {
    for text in sentences {
        let mut spoken = Vec::with_capacity(rounds);
        for round in 0..rounds + warm_up {
            let measured = runtime.block_on(speak(engine, text))?;
            if round >= warm_up {
                spoken.push(measured);
            }
        }
        report(engine.name(), text, &spoken);
    }
    Ok(())
}

/// Durations of one sentence.
struct Spoken {
    first: Duration,
    whole: Duration,
    audio: Duration,
}

async fn speak(engine: &dyn Synthesizer, text: &str) -> Result<Spoken, Box<dyn Error>> {
    let format = engine.format();
    let begun = Instant::now();
    let mut speech = engine.speak(Utterance::new(text, format));
    let (mut first, mut bytes) = (None, 0);
    while let Some(piece) = speech.next().await {
        if let Piece::Audio(chunk) = piece? {
            first.get_or_insert_with(|| begun.elapsed());
            bytes += chunk.len() as u64;
        }
    }
    let first = first.ok_or("no audio")?;
    Ok(Spoken { first, whole: begun.elapsed(), audio: format.duration(bytes) })
}

fn report(engine: &str, text: &str, spoken: &[Spoken]) {
    let mut first: Vec<Duration> = spoken.iter().map(|spoken| spoken.first).collect();
    first.sort_unstable();
    let at = |share: f64| first[((first.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let whole: Duration = spoken.iter().map(|spoken| spoken.whole).sum();
    let audio: Duration = spoken.iter().map(|spoken| spoken.audio).sum();
    println!(
        "{engine}, {} characters, {:.1} s of audio: first audio p50 {:.3} ms, p99 {:.3} ms; {:.0} × real time",
        text.chars().count(),
        audio.as_secs_f64() / spoken.len() as f64,
        at(0.5),
        at(0.99),
        audio.as_secs_f64() / whole.as_secs_f64(),
    );
}
