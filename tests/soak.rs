//! A soak: many clients do random things for as long as wanted. Afterwards the server has no session, no
//! synthesis, no descriptor, no thread and no memory left over.
//!
//! `cargo test` runs it for a few seconds. For half an hour, or `ALOUD_SOAK_SECONDS`:
//!
//! ```text
//! cargo test --release --test soak -- --ignored --nocapture
//! ```
//!
//! It prints a line of figures now and then, at moments when all clients have left. The clients are in
//! the same process, so their own leaks would show too.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

mod support;

use aloud::tts::{Command, Fallback, Flite, Queue, QueueBounds, SampleEncoding, Synthesizer, Tone, command};
use aloud::{Config, PATH};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{
    Frame, PATIENCE, Random, Raw, Running, close, frame, opening, raw, session, session_from, start_with,
    text, v1,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Clients at once.
const CLIENTS: u64 = 24;

/// Hostile clients at once, of one address, besides those.
const HOSTILE: u64 = 50;

/// Time between two checks for leftovers.
const ROUND: Duration = Duration::from_secs(3);

/// Resources of an idle process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    resident_kib: usize,
    descriptors: usize,
    threads: usize,
}

fn figures() -> Figures {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    Figures { resident_kib: number("VmRSS:"), descriptors, threads: number("Threads:") }
}

const PROMPTS: [&str; 6] = [
    "One.",
    "One. Two. Three.",
    "It costs $5, they said. But why? Nobody knows; nobody asked.",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd}. \u{1f600} e\u{301}\u{301}\u{301}. ...",
    "",
    "A sentence that goes on and on, and on, and then some more, until it is over at last. Short. \
     Another one that is not so short. And a last one.",
];

/// Any `start_session`.
fn start(random: &mut Random) -> Value {
    let mut start = json!({"type": "start_session", "prompt": random.of(&PROMPTS)});
    if random.below(2) == 0 {
        start["resumable"] = true.into();
    }
    if random.below(2) == 0 {
        start["delivery"] = json!({"mode": "paced", "aheadMs": 20 + random.below(2_000)});
    }
    if random.below(4) == 0 {
        start["timestamps"] = random.of(&["word", "sentence"]).into();
    }
    if random.below(4) == 0 {
        start["audio"] = json!({"encoding": random.of(&["pcm_s16le", "mulaw", "alaw"]), "sampleRate": 8_000,
            "frameMs": 1 + random.below(200)});
    }
    if random.below(6) == 0 {
        start.as_object_mut().unwrap().remove("prompt");
        start["source"] = "append".into();
    }
    start
}

/// Any other message.
fn message(random: &mut Random) -> String {
    let played = random.below(3_000);
    match random.below(14) {
        0 | 1 => json!({"type": "pause"}),
        2..=4 => json!({"type": "resume"}),
        5 => json!({"type": "cancel"}),
        6 => json!({"type": "cancel", "playedMs": played}),
        7 => json!({"type": "ack", "playedMs": played}),
        8 => json!({"type": "append", "text": random.of(&PROMPTS)}),
        9 => json!({"type": "flush"}),
        10 => json!({"type": "update", "speed": 1.5}),
        11 => json!({"type": "ping", "id": "x"}),
        12 => json!({"type": "nonsense"}),
        _ => json!({"type": "end", "drain": played < 1_500}),
    }
    .to_string()
}

/// Reads for a while, and answers Pings and Closes. False at the end of the connection.
async fn listens(client: &mut Raw, time: Duration, heard: &mut usize) -> bool {
    let until = tokio::time::Instant::now() + time;
    loop {
        match tokio::time::timeout_at(until, client.next_frame()).await {
            Err(_) => return true,
            Ok(None) => return false,
            Ok(Some(Frame::Ping(payload))) => client.send_bytes(&frame(0x8a, &payload)).await,
            Ok(Some(Frame::Binary(audio))) => *heard += audio.len(),
            Ok(Some(Frame::Close(why))) => {
                let code = why.map_or(1000, |(code, _)| code);
                assert_ne!(code, 1011, "a fault of the server");
                client.send_bytes(&close(code, "")).await;
                return false;
            }
            Ok(Some(_)) => {}
        }
    }
}

/// One client from its first byte to its last.
async fn visit(addr: SocketAddr, random: &mut Random) {
    match random.below(12) {
        // Before there is a session.
        0 => {
            let bytes = opening(addr, PATH);
            let mut client = raw(addr).await;
            client.send_bytes(&bytes[..random.below(bytes.len())]).await;
            if random.below(2) == 0 {
                client.reset();
            }
        }
        1 => {
            let mut client = raw(addr).await;
            let noise: Vec<u8> = (0..2_000).map(|_| random.below(256) as u8).collect();
            client.send_bytes(&noise).await;
            assert_eq!(client.read_head().await.status, 400);
        }
        // A session that breaks the protocol, stops in the middle of a frame, or floods.
        2 => {
            let mut client = session(addr).await;
            let bytes = [text(&start(random).to_string()), frame(0x01, b"half"), vec![0xff; 3]].concat();
            client.send_bytes(&bytes[..random.below(bytes.len())]).await;
            listens(&mut client, Duration::from_millis(20), &mut 0).await;
            if random.below(2) == 0 {
                client.reset();
            }
        }
        3 => {
            let mut client = session(addr).await;
            let flood = match random.below(3) {
                0 => frame(0x89, &[b'p'; 125]).repeat(500),
                1 => text("{}").repeat(500),
                _ => text(&start(random).to_string()).repeat(50),
            };
            // A server whose client does not read accepts only as much as its buffers hold.
            let _ = timeout(Duration::from_millis(100), client.send_bytes(&flood)).await;
            if random.below(2) == 0 {
                client.reset();
            }
        }
        _ => talk(addr, random).await,
    }
}

/// A normal session, lost and recovered now and then.
async fn talk(addr: SocketAddr, random: &mut Random) {
    let is_v1 = random.below(4) > 0;
    let (mut client, greeting) = if is_v1 { v1(addr).await } else { (session(addr).await, Value::Null) };
    let mut heard = 0;
    client.say(&start(random).to_string()).await;
    for _ in 0..random.below(12) {
        if !listens(&mut client, Duration::from_millis(random.below(60) as u64), &mut heard).await {
            return;
        }
        match random.below(8) {
            0 if is_v1 => {
                if random.below(2) == 0 {
                    client.reset();
                }
                client = v1(addr).await.0;
                let (id, token) = (&greeting["sessionId"], &greeting["token"]);
                let offset = heard.saturating_sub(random.below(3_000));
                let recover = json!({"type": "recover", "sessionId": id, "token": token, "offset": offset});
                client.say(&recover.to_string()).await;
                heard = offset;
            }
            1 => {
                client.say(&start(random).to_string()).await;
                heard = 0;
            }
            _ => client.say(&message(random)).await,
        }
    }
    match random.below(5) {
        0 => client.reset(),
        1 => client.send_bytes(&close(1000, "")).await,
        2 => {
            client.say(r#"{"type":"end"}"#).await;
            listens(&mut client, Duration::from_millis(200), &mut heard).await;
        }
        3 => {
            let bytes = text(&message(random));
            client.send_bytes(&bytes[..bytes.len() / 2]).await;
        }
        // Reads nothing for a while.
        _ => sleep(Duration::from_millis(random.below(300) as u64)).await,
    }
}

/// A client that takes as much as it can get: the dearest text, cancelled or paused, the longest prompts, floods of small messages, and objects with thousands of keys.
async fn hostile(addr: SocketAddr, random: &mut Random) {
    let start = |prompt: &str| {
        let audio = json!({"sampleRate": 48_000});
        json!({"type": "start_session", "prompt": prompt, "speed": 0.5, "audio": audio}).to_string()
    };
    let mut client = session_from("127.0.0.2", addr, PATIENCE).await;
    let kind = random.below(5);
    for _ in 0..1 + random.below(20) {
        let flood = match kind {
            0 | 1 => text(&start(&"1234567 ".repeat(37))),
            2 => text(&start(&"word ".repeat(3_980))),
            3 => text(r#"{"type":"ping"}"#).repeat(2_000),
            _ => {
                let keys: Vec<_> = (0..8_000).map(|n| format!(r#""{n:x}":0"#)).collect();
                text(&format!("{{{}}}", keys.join(",")))
            }
        };
        // It may have to wait, or be closed.
        let _ = timeout(Duration::from_millis(200), client.send_bytes(&flood)).await;
        let last = if kind == 1 { r#"{"type":"pause"}"# } else { r#"{"type":"cancel"}"# };
        let _ = timeout(Duration::from_millis(200), client.send_bytes(&text(last))).await;
        if !listens(&mut client, Duration::from_millis(random.below(20) as u64), &mut 0).await {
            return;
        }
    }
}

/// Times for which a client waited.
#[derive(Default)]
struct Waits {
    handshakes: Vec<Duration>,
    first_audio: Vec<Duration>,
}

/// The median and the 99th percentile.
fn shares(waits: &mut [Duration]) -> String {
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() - 1) * share / 100];
    format!("p50 {:.1?}, p99 {:.1?}", at(50), at(99))
}

/// A client that asks for one sentence after the other until this time. Returns the times of the handshakes, and those
/// to the first audio.
async fn victim(addr: SocketAddr, until: Instant) -> Waits {
    let mut waits = Waits::default();
    while Instant::now() < until {
        let began = Instant::now();
        let mut client = session_from("127.0.0.3", addr, PATIENCE).await;
        waits.handshakes.push(began.elapsed());
        let began = Instant::now();
        client.say(r#"{"type":"start_session","prompt":"Good evening."}"#).await;
        client.read_until("binary").await;
        waits.first_audio.push(began.elapsed());
        client.send_bytes(&close(1000, "")).await;
        // Quickly enough for many, and rarely enough to be no load itself.
        sleep(Duration::from_millis(10)).await;
    }
    waits
}

/// Clients come and go for this time, and hostile ones among them. Returns once all have left and no work is
/// left: the number of visits, and the times for which a client from elsewhere waited.
async fn round(server: &Running, random: &mut Random, time: Duration, has_victim: bool) -> (u64, Waits) {
    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    let victim = has_victim.then(|| tokio::spawn(victim(server.addr, until)));
    for _ in 0..if has_victim { HOSTILE } else { 0 } {
        let (addr, mut random) = (server.addr, Random(random.below(usize::MAX) as u64 | 1));
        clients.spawn(async move {
            let mut visits = 0;
            while Instant::now() < until {
                hostile(addr, &mut random).await;
                visits += 1;
            }
            visits
        });
    }
    for _ in 0..CLIENTS {
        let (addr, mut random) = (server.addr, Random(random.below(usize::MAX) as u64 | 1));
        clients.spawn(async move {
            let mut visits = 0;
            while Instant::now() < until {
                visit(addr, &mut random).await;
                visits += 1;
            }
            visits
        });
    }
    let mut visits = 0;
    while let Some(count) = clients.join_next().await {
        visits += count.unwrap();
    }
    let service = &server.service;
    let left = async {
        while service.sessions().count() + service.syntheses().count() + service.frozen().count() > 0
            || service.frozen_bytes() > 0
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let gauges = || [service.sessions().count(), service.syntheses().count(), service.frozen().count()];
    assert!(timeout(PATIENCE, left).await.is_ok(), "left over: {:?}", gauges());
    let waits = match victim {
        Some(victim) => victim.await.unwrap(),
        None => Waits::default(),
    };
    // Sockets of the last connections and idle threads still have to close.
    sleep(Duration::from_millis(100)).await;
    (visits, waits)
}

/// A server for each kind of engine: the built-in voice behind a queue with a tone as its fallback, a
/// program, and the built-in voice, which has hostile clients.
async fn servers() -> Vec<Running> {
    let config = || {
        Config::default().with(|c| {
            c.stall_timeout = Duration::from_millis(500);
            c.handshake_timeout = Duration::from_secs(3);
            c.close_timeout = Duration::from_millis(500);
            c.resume_ttl = Duration::from_millis(500);
            c.heartbeat = Duration::from_millis(200);
            c.silence_timeout = Duration::from_secs(1);
            c.resume_bytes = 4_000;
        })
    };
    let bounds = QueueBounds { concurrency: 2, waiting: 4, ..QueueBounds::default() };
    let flite = Arc::new(Queue::new(Arc::new(Flite::new()), bounds));
    let tone: Arc<dyn Synthesizer> = Arc::new(Tone::new(flite.format(), 0.5));
    // Its own text, as samples.
    let program = command::Settings {
        encoding: Some(SampleEncoding::PcmS16le),
        sample_rate_hz: 8_000,
        ..command::Settings::new("yes {text}")
    };
    let program: Arc<dyn Synthesizer> = Arc::new(Command::new(program).unwrap());
    vec![
        start_with(config(), Arc::new(Fallback::new(flite, tone))).await,
        start_with(config(), program).await,
        start_with(config(), Arc::new(Flite::new())).await,
    ]
}

async fn soak(time: Duration) {
    let servers = servers().await;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let began = Instant::now();
    let mut visits = 0;
    let mut first: Option<Figures> = None;
    let mut rounds = 0;
    let mut waits = Waits::default();
    loop {
        for (n, server) in servers.iter().enumerate() {
            let (more, times) = round(server, &mut random, ROUND.min(time / 4), n + 1 == servers.len()).await;
            visits += more;
            waits.first_audio.extend(times.first_audio);
            waits.handshakes.extend(times.handshakes);
        }
        rounds += 1;
        let now = figures();
        println!(
            "{:>6.0?}: {visits} visits, {now:?}; a client beside hostile ones, {} times: handshake {}, first audio {}",
            began.elapsed(),
            waits.first_audio.len(),
            shares(&mut waits.handshakes),
            shares(&mut waits.first_audio)
        );
        // One-time allocations and the allocator's own state show in the first round.
        if rounds == 4 || first.is_none() && began.elapsed() > time / 4 {
            first = Some(now);
        }
        if began.elapsed() > time {
            let first = first.expect("the time is longer than its quarter");
            assert_eq!(now.descriptors, first.descriptors, "descriptors: {first:?} to {now:?}");
            assert!(now.threads <= first.threads + 2, "threads: {first:?} to {now:?}");
            let most = first.resident_kib + first.resident_kib / 4 + 8 * 1024;
            assert!(now.resident_kib < most, "memory: {first:?} to {now:?}");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_of_a_few_seconds_leaves_nothing() {
    soak(Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour, or ALOUD_SOAK_SECONDS: run it by hand, see above"]
async fn soak_of_half_an_hour_leaves_nothing() {
    let seconds = std::env::var("ALOUD_SOAK_SECONDS").map_or(1_800, |seconds| seconds.parse().unwrap());
    soak(Duration::from_secs(seconds)).await;
}
