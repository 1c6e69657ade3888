//! What sessions take from the heap is given back: counted in bytes that are allocated and not freed,
//! whatever the allocator makes of them.
//!
//! Only what one thread allocates is counted, so that server and clients share one, and each test has
//! its own.
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
use support::{FORMAT, Frame, PATIENCE, Raw, Running, Serving, audio, close, start_with, v1};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// Sessions at once, each with two sockets in this process.
const SESSIONS: usize = 200;

/// What may be left of all of them once nothing is waited for any more, and stays as it is from then
/// on: buffers that a thread shares between its connections, and room in queues.
const KEPT_BYTES: i64 = 160 * 1024;

/// What may differ from one round to the next, by how often many tasks were ready at once. A session
/// that was forgotten is a hundred times that.
const ROOM_BYTES: i64 = 8 * 1024;

/// What the id takes of a session that was given up.
const REMEMBERED_BYTES: i64 = 64;

/// An engine whose audio is memory of its own, as that of all real ones is.
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

/// A client in the middle of a stream, its greeting, and what it has heard.
async fn listening(addr: SocketAddr, delivery: &Value) -> (Raw, Value, usize) {
    let (mut client, greeting) = v1(addr).await;
    let start =
        json!({"type": "start_session", "prompt": "One. Two.", "resumable": true, "delivery": delivery});
    client.say(&start.to_string()).await;
    let heard = audio(&client.read_until("binary").await).len();
    (client, greeting, heard)
}

/// So many listen, and all are cut off in the middle of their streams: greetings, and what was heard.
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

/// All come back, and end.
async fn come_back(addr: SocketAddr, lost: Vec<(Value, usize)>) {
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

/// Sessions that are lost, all of them at once, and come back if they are to.
async fn round(server: &Running, delivery: &Value, comes_back: bool) {
    let service = &server.service;
    let frozen = async |count| {
        let since = Instant::now();
        while service.sessions().count() > 0 || service.frozen().count() != count {
            assert!(since.elapsed() < PATIENCE, "{} frozen", service.frozen().count());
            sleep(Duration::from_millis(1)).await;
        }
    };
    let lost = lost(server.addr, SESSIONS, delivery).await;
    if comes_back {
        frozen(SESSIONS).await;
        assert!(service.frozen_bytes() > SESSIONS * CHUNK_BYTES);
        come_back(server.addr, lost).await;
    }
    frozen(0).await;
}

/// Bytes that this leaves on the heap, and the most that it took. Waits until no more than `expected`
/// are left, but not for ever: a connection's memory is there until the last timer that knew of it has
/// gone by, a second later at most.
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

/// Several rounds leave what one leaves, and that is next to nothing.
fn leaves_nothing(config: Config, delivery: &Value, comes_back: bool) {
    // Of those that nobody came back for the last thousand ids are remembered.
    let room = ROOM_BYTES + if comes_back { 0 } else { SESSIONS as i64 * REMEMBERED_BYTES };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(start_with(config, Arc::new(Fresh)));
    let (kept, most) = left(&runtime, KEPT_BYTES, round(&server, delivery, comes_back));
    println!("{delivery}: {most} bytes at most, {kept} of them kept");
    assert!(most > (SESSIONS * 8 * CHUNK_BYTES) as u64, "{most} bytes are less than what is sent");
    assert!(kept <= KEPT_BYTES, "{kept} bytes of {most} are left");
    for n in 2..5 {
        let (more, most) = left(&runtime, room, round(&server, delivery, comes_back));
        println!("{delivery}, round {n}: {most} bytes at most, {more} more are kept");
        assert!(more <= room, "round {n}: {more} bytes of {most} are left");
    }
}

#[test]
fn nothing_is_left_of_paced_sessions_that_came_back() {
    leaves_nothing(Config::default(), &json!({"mode": "paced", "aheadMs": 1_000}), true);
}

#[test]
fn nothing_is_left_of_sessions_in_burst_that_came_back() {
    leaves_nothing(Config::default(), &json!({"mode": "burst"}), true);
}

#[test]
fn nothing_is_left_of_sessions_that_were_given_up() {
    let config = Config { resume_ttl: Duration::from_millis(100), ..Config::default() };
    leaves_nothing(config, &json!({"mode": "paced", "aheadMs": 1_000}), false);
}

/// What the system sees of it, in a process of its own. The allocator may keep what it was given back; it must not keep more
/// each time. With `PRELOAD=/path/to/libjemalloc.so.2 MALLOC_CONF=…`, the guide's setting for those
/// who want it back, nearly all of it must be.
#[tokio::test]
#[ignore = "takes a minute, and says something only in a release build: run it by hand with --nocapture"]
async fn five_thousand_lost_and_recovered_leave_a_process_as_it_was() {
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
    come_back(server.addr, one).await;
    let before = resident_kib();
    println!("resident before: {before} KiB");
    let mut after = Vec::new();
    for round in 1..=5 {
        let lost = lost(server.addr, SESSIONS, &delivery).await;
        let frozen = resident_kib();
        come_back(server.addr, lost).await;
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
