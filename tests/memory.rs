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
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{FORMAT, Frame, PATIENCE, Raw, Running, audio, close, start_with, v1};
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
async fn listening(server: &Running, delivery: &Value) -> (Raw, Value, usize) {
    let (mut client, greeting) = v1(server.addr).await;
    let start =
        json!({"type": "start_session", "prompt": "One. Two.", "resumable": true, "delivery": delivery});
    client.say(&start.to_string()).await;
    let heard = audio(&client.read_until("binary").await).len();
    (client, greeting, heard)
}

/// All are cut off in the middle of their streams, and come back if they are to; then they end.
async fn round(server: &Running, delivery: &Value, come_back: bool) {
    let mut lost = Vec::new();
    for _ in 0..SESSIONS {
        lost.push(listening(server, delivery).await);
    }
    let lost: Vec<_> = lost
        .into_iter()
        .map(|(client, greeting, heard)| {
            client.reset();
            (greeting, heard)
        })
        .collect();
    let service = &server.service;
    let frozen = async |count| {
        let since = Instant::now();
        while service.sessions().count() > 0 || service.frozen().count() != count {
            assert!(since.elapsed() < PATIENCE, "{} frozen", service.frozen().count());
            sleep(Duration::from_millis(1)).await;
        }
    };
    if !come_back {
        return frozen(0).await;
    }
    frozen(SESSIONS).await;
    assert!(service.frozen_bytes() > SESSIONS * CHUNK_BYTES);
    let mut back = Vec::new();
    for (greeting, heard) in lost {
        let (mut client, _) = v1(server.addr).await;
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
    drop(back);
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
fn leaves_nothing(config: Config, delivery: &Value, come_back: bool) {
    // Of those that nobody came back for the last thousand ids are remembered.
    let room = ROOM_BYTES + if come_back { 0 } else { SESSIONS as i64 * REMEMBERED_BYTES };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(start_with(config, Arc::new(Fresh)));
    let (kept, most) = left(&runtime, KEPT_BYTES, round(&server, delivery, come_back));
    println!("{delivery}: {most} bytes at most, {kept} of them kept");
    assert!(most > (SESSIONS * 8 * CHUNK_BYTES) as u64, "{most} bytes are less than what is sent");
    assert!(kept <= KEPT_BYTES, "{kept} bytes of {most} are left");
    for n in 2..5 {
        let (more, most) = left(&runtime, room, round(&server, delivery, come_back));
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
