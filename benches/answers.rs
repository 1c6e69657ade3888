//! `POST /v1/audio/speech` without a socket, for each format: the time to the first byte of a sentence that the engine
//! inside speaks, and the speed of a long answer as a multiple of real time. For the second the tone engine speaks,
//! which takes next to no time itself.

use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Synthesizer, Tone};
use aloud::{Config, Service};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;

/// Rounds until the engine has filled its caches.
const WARM_UP: usize = 20;

/// 44 characters.
const SENTENCE: &str = "The kettle is on, and the tea is ready soon.";

/// Sentences of a long answer, and the seconds of each.
const SENTENCES: usize = 120;
const SECONDS: f64 = 10.0;

const FORMATS: [&str; 4] = ["pcm", "wav", "mp3", "opus"];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this too, without figures.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let (rounds, sentences) = if is_bench { (ROUNDS, SENTENCES) } else { (1, 1) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tone = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };
        let inside = service(Arc::new(Flite::with_threads(1)))?;
        let steady = service(Arc::new(Tone::new(tone, SECONDS)))?;
        for format in FORMATS {
            let mut first = Vec::with_capacity(rounds);
            for round in 0..rounds + WARM_UP {
                let answer = speak(&inside, SENTENCE, format).await?;
                if let Some(answer) = answer.filter(|_| round >= WARM_UP) {
                    first.push(answer.first);
                }
            }
            first.sort_unstable();
            let Some(median) = first.get(first.len() / 2) else {
                println!("{format:5} not in this build");
                continue;
            };
            let long = speak(&steady, &"One. ".repeat(sentences), format).await?.ok_or("refused")?;
            let speed = sentences as f64 * SECONDS / long.whole.as_secs_f64();
            let size = long.bytes as f64 / (sentences as f64 * SECONDS) * 8.0 / 1e3;
            println!(
                "{format:5} first byte after {median:>9.2?}, {speed:>8.0} x real time, {size:>4.0} kbit/s"
            );
        }
        Ok(())
    })
}

fn service(engine: Arc<dyn Synthesizer>) -> Result<Service, Box<dyn Error>> {
    Ok(Service::new(Config::default(), engine)?)
}

/// Figures of one answer.
struct Answer {
    first: Duration,
    whole: Duration,
    bytes: usize,
}

/// Asks for a text in this format; `None` if the build does not have it.
async fn speak(service: &Service, text: &str, format: &str) -> Result<Option<Answer>, Box<dyn Error>> {
    let json = serde_json::json!({ "input": text, "response_format": format }).to_string();
    let request = Request::post("/v1/audio/speech").header("host", "localhost");
    let begun = Instant::now();
    let response = service.respond(request.body(Full::<Bytes>::from(json))?).await?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let (mut first, mut bytes, mut body) = (None, 0, response.into_body());
    while let Some(frame) = body.frame().await {
        first.get_or_insert_with(|| begun.elapsed());
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(Some(Answer { first: first.ok_or("no audio")?, whole: begun.elapsed(), bytes }))
}
