//! Silence between sentences, as a listener hears it: a simulated engine at 1.5 times real time, 400 ms to its
//! first byte, and a player with a jitter buffer of 200 ms.
//!
//! It runs a whole session in memory on a simulated clock, so the figures do not depend on the machine.
//! `cargo bench --bench gaps` prints them.
#![allow(clippy::unwrap_used)] // As in the tests, whose client it uses.

#[path = "../tests/support/mod.rs"]
mod support;

use aloud::audio::{Encoding, Format};
use aloud::tts::{Speech, Synthesizer, Utterance};
use aloud::{Config, Service};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use support::{Frame, over_memory};
use tokio::time::{Instant, sleep};

const RATE_HZ: u32 = 16_000;
const SPEED: f64 = 1.5;
const FIRST_BYTE: Duration = Duration::from_millis(400);
const JITTER: Duration = Duration::from_millis(200);
const SENTENCES: usize = 20;
const ROUNDS: usize = 50;

/// An engine whose sentences contain their duration in tenths of a second.
struct Simulated;

impl Synthesizer for Simulated {
    fn name(&self) -> &str {
        "simulated"
    }

    fn format(&self) -> Format {
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: RATE_HZ }
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (mut sink, speech) = Speech::channel(&utterance, RATE_HZ);
        let tenths: u32 = utterance.text.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
        tokio::spawn(async move {
            sleep(FIRST_BYTE).await;
            for _ in 0..tenths * 5 {
                // 20 ms of audio.
                sleep(Duration::from_secs_f64(0.020 / SPEED)).await;
                if sink.write(&[1_000; RATE_HZ as usize / 50]).await.is_err() {
                    return;
                }
            }
            sink.finish().await;
        });
        speech
    }
}

/// Silences in one session.
#[derive(Default)]
struct Heard {
    /// Silence before each sentence except the first.
    between: Vec<Duration>,
    /// Silence inside of sentences, in total.
    within: Duration,
    /// Time from the request to the first frame.
    first: Duration,
}

async fn listen(tenths: &[u32], delivery: &serde_json::Value) -> Heard {
    let service = Service::new(Config::default(), Arc::new(Simulated)).unwrap();
    let mut client = over_memory(&service, 64 * 1024, "").await;
    let prompt: String = tenths.iter().map(|tenths| format!("This sentence is {tenths} long. ")).collect();
    let asked = Instant::now();
    let start = json!({"type": "start_session", "prompt": prompt, "delivery": delivery});
    client.say(&start.to_string()).await;
    let mut heard = Heard::default();
    // Time at which all audio received has been played.
    let mut due: Option<Instant> = None;
    let mut is_new = false;
    loop {
        match client.read_frame().await {
            Frame::Binary(audio) => {
                let now = Instant::now();
                let silence = match due {
                    None => {
                        heard.first = now - asked;
                        due = Some(now + JITTER);
                        Duration::ZERO
                    }
                    Some(due) if is_new => {
                        heard.between.push(now.saturating_duration_since(due));
                        *heard.between.last().unwrap()
                    }
                    Some(due) => {
                        heard.within += now.saturating_duration_since(due);
                        now.saturating_duration_since(due)
                    }
                };
                is_new = false;
                let length = Duration::from_secs_f64(audio.len() as f64 / 2.0 / f64::from(RATE_HZ));
                due = due.map(|due| due + silence + length);
            }
            Frame::Text(message) if message["type"] == "text" => is_new = true,
            Frame::Text(message) if message["type"] == "session_end" => return heard,
            _ => {}
        }
    }
}

/// Returns durations from 0.6 to 6 s, in tenths, in another order in each round.
fn lengths(round: usize) -> Vec<u32> {
    let mut lengths: Vec<u32> = (0..SENTENCES as u32).map(|n| 6 + n * 54 / (SENTENCES as u32 - 1)).collect();
    let mut state = round as u32 + 1;
    for n in (1..lengths.len()).rev() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        lengths.swap(n, (state >> 16) as usize % (n + 1));
    }
    lengths
}

fn main() {
    // `cargo test --benches` runs this too, without figures.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let paced = json!({"mode": "paced", "aheadMs": 2000});
    for (name, delivery) in [("burst", json!({"mode": "burst"})), ("paced, 2 s ahead", paced)] {
        let (mut between, mut within, mut first) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        for round in 0..rounds {
            let heard = runtime.block_on(listen(&lengths(round), &delivery));
            assert_eq!(heard.between.len(), SENTENCES - 1);
            between.extend(heard.between);
            within += heard.within;
            first = first.max(heard.first);
        }
        between.sort_unstable();
        let at = |share: f64| between[((between.len() - 1) as f64 * share) as usize].as_millis();
        println!(
            "gaps between sentences, {name}: p50 {} ms, p90 {} ms, p99 {} ms, max {} ms, {} of {} above 0; \
             inside of sentences {} ms in all; first audio after {} ms at most",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
            between.iter().filter(|gap| !gap.is_zero()).count(),
            between.len(),
            within.as_millis(),
            first.as_millis(),
        );
    }
}
