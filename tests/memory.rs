//! Sessions free their heap memory. The tests count bytes that are allocated and not freed, whatever
//! pages the allocator keeps.
//!
//! The counter counts one thread only: the server and its clients share a thread, and each test has its
//! own.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

mod support;

use aloud::Config;
use aloud::audio::Format;
use aloud::tts::{Speech, Synthesizer, Utterance};
use hyper::body::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{FORMAT, Frame, PATIENCE, Raw, Running, Serving, audio, close, socket_from, start_with, v1};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// Sessions at once, each with two sockets in this process.
const SESSIONS: usize = 200;

/// Bytes that may stay once all sessions are gone, and must not grow from then on: buffers that a
/// thread shares between its connections, and capacity of queues.
const KEPT_BYTES: i64 = 160 * 1024;

/// Bytes that may differ between rounds, depending on how many tasks were ready at once. A leaked
/// session has a hundred times as many.
const ROOM_BYTES: i64 = 8 * 1024;

/// Bytes for the remembered id of an expired session, with its owner and its place in the owner's share.
const REMEMBERED_BYTES: i64 = 144;

/// An engine that allocates its audio, as real engines do.
struct Fresh;

/// One second of audio, in chunks of two frames.
const CHUNKS: usize = 12;
const CHUNK_BYTES: usize = 1_280;

impl Synthesizer for Fresh {
    fn name(&self) -> &str {
        "fresh"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        Speech::ready(&utterance, (0..CHUNKS).map(|n| Bytes::from(vec![n as u8; CHUNK_BYTES])))
    }
}

/// Starts a stream. Returns the client, its greeting, and the bytes of audio received.
async fn listening(addr: SocketAddr, delivery: &Value) -> (Raw, Value, usize) {
    let (mut client, greeting) = v1(addr).await;
    let start =
        json!({"type": "start_session", "prompt": "One. Two.", "resumable": true, "delivery": delivery});
    client.say(&start.to_string()).await;
    let heard = audio(&client.read_until("binary").await).len();
    (client, greeting, heard)
}

/// Starts this many sessions and cuts all of them off in mid-stream. Returns greetings and bytes
/// received.
async fn lost(addr: SocketAddr, sessions: usize, delivery: &Value) -> Vec<(Value, usize)> {
    let mut listeners = Vec::new();
    for _ in 0..sessions {
        listeners.push(listening(addr, delivery).await);
    }
    let cut = listeners.into_iter().map(|(client, greeting, heard)| {
        client.reset();
        (greeting, heard)
    });
    cut.collect()
}

/// Recovers all sessions, and ends them.
async fn recover_all(addr: SocketAddr, lost: Vec<(Value, usize)>) {
    let mut back = Vec::new();
    for (greeting, heard) in lost {
        let (mut client, _) = v1(addr).await;
        let (id, token) = (&greeting["sessionId"], &greeting["token"]);
        let recover = json!({"type": "recover", "sessionId": id, "token": token, "offset": heard});
        client.say(&recover.to_string()).await;
        let Frame::Text(recovered) = client.read_frame().await else { panic!("a message") };
        assert_eq!(recovered["recovered"], true, "{recovered}");
        back.push(client);
    }
    for client in &mut back {
        client.say(r#"{"type":"end"}"#).await;
        client.read_until("close").await;
        client.send_bytes(&close(1000, "")).await;
        assert_eq!(client.read_to_close().await, b"");
    }
}

/// Loses all sessions at once, and recovers them if `recovers`.
async fn round(server: &Running, delivery: &Value, recovers: bool) {
    let service = &server.service;
    let frozen = async |count| {
        let since = Instant::now();
        while service.sessions().count() > 0 || service.frozen().count() != count {
            assert!(since.elapsed() < PATIENCE, "{} frozen", service.frozen().count());
            sleep(Duration::from_millis(1)).await;
        }
    };
    let lost = lost(server.addr, SESSIONS, delivery).await;
    if recovers {
        frozen(SESSIONS).await;
        assert!(service.frozen_bytes() > SESSIONS * CHUNK_BYTES);
        recover_all(server.addr, lost).await;
    }
    frozen(0).await;
}

/// Bytes that a round leaves on the heap, and its peak. Waits until at most `expected` bytes are left,
/// within a limit: a connection's memory stays until its last timer has passed, at most 1 s later.
fn left(runtime: &Runtime, expected: i64, round: impl Future<Output = ()>) -> (i64, u64) {
    let measured = allocation_counter::measure(|| runtime.block_on(round));
    let (mut left, most) = (measured.bytes_current, measured.bytes_max);
    let since = Instant::now();
    while left > expected && since.elapsed() < PATIENCE {
        let pause = async { sleep(Duration::from_millis(20)).await };
        left += allocation_counter::measure(|| runtime.block_on(pause)).bytes_current;
    }
    (left, most)
}

/// Several rounds leave as much as one round, which is next to nothing.
fn leaves_nothing(config: Config, delivery: &Value, recovers: bool) {
    // The server remembers the ids of the last thousand expired sessions.
    let room = ROOM_BYTES + if recovers { 0 } else { SESSIONS as i64 * REMEMBERED_BYTES };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(start_with(config, Arc::new(Fresh)));
    let (kept, most) = left(&runtime, KEPT_BYTES, round(&server, delivery, recovers));
    println!("{delivery}: {most} bytes at most, {kept} of them kept");
    assert!(most > (SESSIONS * 8 * CHUNK_BYTES) as u64, "the peak of {most} bytes is below the bytes sent");
    assert!(kept <= KEPT_BYTES, "{kept} bytes of {most} are left");
    for n in 2..5 {
        let (more, most) = left(&runtime, room, round(&server, delivery, recovers));
        println!("{delivery}, round {n}: {most} bytes at most, {more} more are kept");
        assert!(more <= room, "round {n}: {more} bytes of {most} are left");
    }
}

#[test]
fn memory_of_recovered_paced_sessions_is_freed() {
    leaves_nothing(Config::default(), &json!({"mode": "paced", "aheadMs": 1_000}), true);
}

#[test]
fn memory_of_recovered_burst_sessions_is_freed() {
    leaves_nothing(Config::default(), &json!({"mode": "burst"}), true);
}

#[test]
fn memory_of_expired_sessions_is_freed() {
    let config = Config::default().with(|c| c.resume_ttl = Duration::from_millis(100));
    leaves_nothing(config, &json!({"mode": "paced", "aheadMs": 1_000}), false);
}

/// The text that waits for a paused stream takes about its own length, and is counted.
#[test]
fn memory_of_text_that_waits_is_counted() {
    const LISTENERS: usize = 20;
    const CHARS: usize = 19_200;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let long = "It was a quiet evening in the old town. ".repeat(CHARS / 40);
    let short = "Go! ".repeat(CHARS / 4);
    for (clean, text, is_flushed) in [
        ("none", &long, false),
        ("none", &long, true),
        ("none", &short, false),
        ("none", &short, true),
        ("markdown", &format!("```\n{long}"), false),
        ("html", &format!("<svg>{short}"), false),
        ("html", &"<b>x</b> &amp;. ".repeat(CHARS / 16), true),
    ] {
        let config = Config::default().with(|c| c.max_buffered_chars = 20_000);
        let server = runtime.block_on(start_with(config, Arc::new(Fresh)));
        let service = &server.service;
        let mut listeners = Vec::new();
        for _ in 0..LISTENERS {
            runtime.block_on(async {
                let (mut client, _) = v1(server.addr).await;
                client.say(r#"{"type":"pause"}"#).await;
                let start = json!({"type": "start_session", "source": "append", "clean": clean});
                client.say(&start.to_string()).await;
                client.read_until("stream_start").await;
                listeners.push(client);
            });
        }
        let before = service.live_bytes();
        let held = allocation_counter::measure(|| {
            runtime.block_on(async {
                for client in &mut listeners {
                    client.say(&json!({"type": "append", "text": text}).to_string()).await;
                    if is_flushed {
                        client.say(r#"{"type":"flush"}"#).await;
                        client.read_until("flushed").await;
                    }
                    client.say(r#"{"type":"ping"}"#).await;
                    let frames = client.read_until("pong").await;
                    assert!(frames.iter().all(|frame| frame.kind() != "error"), "{frames:?}");
                }
            });
        });
        let held = held.bytes_current as usize / LISTENERS;
        let counted = (service.live_bytes() - before) / LISTENERS;
        let what = format!("{clean}, {is_flushed}, {text:.10}: {held} bytes, {counted} of them counted");
        println!("{what}");
        // Counts are in steps of 16 KiB.
        assert!(held <= counted + 20 * 1024 && counted <= held + 1024, "{what}");
        assert!(is_flushed || clean != "none" || text != &long || held <= CHARS + 5 * 1024, "{what}");
    }
}

/// The head of a request that has not ended takes its length, and that of a large one what hyper takes for its
/// connection and for room in its buffer.
#[test]
fn memory_of_a_head_is_its_length_and_a_little() {
    const SOCKETS: usize = 50;
    for length in [100, 8_100, 8_300, 12_000, 16_300, 30_000] {
        // Of its own: the sockets of the one before are closed by then.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(start_with(Config::default(), Arc::new(Fresh)));
        let mut sockets = Vec::new();
        let held = allocation_counter::measure(|| {
            runtime.block_on(async {
                for _ in 0..SOCKETS {
                    sockets.push(socket_from("127.0.0.2", server.addr, PATIENCE).await);
                }
                let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "y".repeat(length));
                for piece in head.as_bytes()[..length].chunks(1_000) {
                    for socket in &mut sockets {
                        socket.send_bytes(piece).await;
                    }
                    // The server reads it.
                    sleep(Duration::from_millis(5)).await;
                }
            });
        });
        let held = held.bytes_current / SOCKETS as i64;
        println!("{length}: {held} bytes");
        let little = if length < 8 * 1024 { 4 * 1024 } else { 60 * 1024 };
        assert!(held <= length as i64 + little, "{length}: {held} bytes");
    }
}

/// Resident memory of a process. The allocator may keep freed pages, but not more each time. With
/// `PRELOAD=/path/to/libjemalloc.so.2 MALLOC_CONF=…`, the guide's setting that returns freed memory,
/// nearly all pages must be returned.
#[tokio::test]
#[ignore = "takes a minute, and says something only in a release build: run it by hand with --nocapture"]
async fn memory_of_a_process_is_stable_after_5000_recoveries() {
    const SESSIONS: usize = 5_000;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let delivery = json!({"mode": "paced", "aheadMs": 1_000});
    let preload = std::env::var("PRELOAD").ok();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["serve", "--listen=127.0.0.1:0", "--threads=1", "--no-warm-up", "--engine=tone"]);
    command.args(["--tone-seconds=5", "--sample-rate=8000"]).stderr(Stdio::null());
    command.envs(preload.iter().map(|library| ("LD_PRELOAD", library)));
    let server = Serving::start(&mut command).await;
    let resident_kib = || server.resident_bytes() / 1024;
    let one = lost(server.addr, 1, &delivery).await;
    recover_all(server.addr, one).await;
    let before = resident_kib();
    println!("resident before: {before} KiB");
    let mut after = Vec::new();
    for round in 1..=5 {
        let lost = lost(server.addr, SESSIONS, &delivery).await;
        let frozen = resident_kib();
        recover_all(server.addr, lost).await;
        after.push(resident_kib());
        println!("round {round}: {frozen} KiB when lost, {} KiB after", after[round - 1]);
    }
    sleep(Duration::from_secs(10)).await;
    let at_rest = resident_kib();
    println!("10 s later: {at_rest} KiB, {:.2} of before", at_rest as f64 / before as f64);
    assert!(
        at_rest <= after[0] + after[0] / 4,
        "{at_rest} KiB are more than after the first round: {after:?}"
    );
    assert!(preload.is_none() || at_rest <= before + before / 2, "{at_rest} KiB of {before}");
}
