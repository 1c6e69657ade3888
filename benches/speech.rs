//! The built-in engines without a server: the time to the first audio of a sentence, and the speed of the rest as a
//! multiple of real time.

use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Piece, Synthesizer, Tone, Utterance};
use std::error::Error;
use std::time::{Duration, Instant};

const ROUNDS: usize = 300;

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
        for text in SENTENCES {
            let mut spoken = Vec::with_capacity(rounds);
            for round in 0..rounds + WARM_UP {
                let measured = runtime.block_on(speak(engine, text))?;
                if round >= WARM_UP {
                    spoken.push(measured);
                }
            }
            report(engine.name(), text, &spoken);
        }
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
