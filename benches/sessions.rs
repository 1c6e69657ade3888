//! Whole sessions over the loopback interface: each mode of `aloud bench`, and the time from `start_session` to
//! the first byte of audio on an idle server.
//!
//! It uses no benchmark library, because the distribution at the client matters.

use aloud::client::{Client, Event};
use aloud::message::{ClientMessage, ServerMessage};
use aloud::tts::Flite;
use aloud::{Config, Server, Service};
use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 2_000;
/// Rounds until the voice's tables are in the caches.
const WARM_UP: usize = 50;
const SENTENCE: &str = "She had learned not to hurry on days like it";

/// Loads, each on a server in its own process.
const LOADS: [&[&str]; 8] = [
    &["--mode=burst", "--connections=16", "--frame-ms=5", "--sample-rate=8000"],
    &["--mode=burst", "--connections=16"],
    &["--mode=burst", "--connections=256"],
    &["--mode=burst", "--connections=16", "--frame-ms=100"],
    &["--mode=paced", "--connections=1000"],
    &["--mode=paced", "--connections=20", "--engine=flite"],
    &["--mode=handshake", "--connections=128"],
    &["--mode=idle", "--connections=5000"],
];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` runs this too, without figures.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let rounds = if is_bench { ROUNDS } else { 1 };
    for load in LOADS {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_aloud"));
        bench.arg("bench").args(load);
        if !is_bench {
            bench.args(["--connections=1", "--seconds=0.1"]);
        }
        if !bench.status()?.success() {
            return Err(format!("aloud bench {} failed", load.join(" ")).into());
        }
        println!();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut first = runtime.block_on(time_to_first_audio(rounds))?;
    first.sort_unstable();
    let at = |share: f64| first[((first.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "time to first audio, flite, {} characters, {} sessions: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        SENTENCE.len(),
        first.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    Ok(())
}

async fn time_to_first_audio(rounds: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let service = Service::new(Config::default(), Arc::new(Flite::new()))?;
    let server = Server::bind(&"127.0.0.1:0".parse()?, service).await?;
    let url = format!("ws://{}", server.local_addr().ok_or("no address")?);
    tokio::spawn(server.serve(std::future::pending()));
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + WARM_UP {
        let mut client = Client::connect(&url).await?;
        let begun = Instant::now();
        client.send(&ClientMessage::start(SENTENCE)).await?;
        let mut first = None;
        while let Some(event) = client.next().await? {
            match event {
                Event::Audio(_) => _ = first.get_or_insert_with(|| begun.elapsed()),
                Event::Message(ServerMessage::SessionEnd { .. }) => break,
                _ => {}
            }
        }
        if round >= WARM_UP {
            times.push(first.ok_or("no audio")?);
        }
    }
    Ok(times)
}
