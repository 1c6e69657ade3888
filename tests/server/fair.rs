//! Fairness by client: what one client asks for delays no other client.

use crate::support::{Frame, PATIENCE, Raw, session_from, start_with};
use aloud::Config;
use aloud::tts::Flite;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The longest median of the first audio of a client beside a hostile one. A release build on a quiet
/// machine needs less than 20 ms.
const MOST: Duration = Duration::from_millis(1_000);

fn start(prompt: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"start_session","prompt":"{prompt}","speed":0.5,"audio":{{"sampleRate":48000}}{fields}}}"#
    )
}

/// Reads frames until the first audio, or the end of the stream.
async fn first_audio(client: &mut Raw) {
    loop {
        match client.read_frame().await {
            Frame::Binary(_) => return,
            frame if frame.kind() == "session_end" => return,
            _ => {}
        }
    }
}

/// One of the sessions of a hostile client: it starts the dearest text and cancels it, or pauses it, or
/// cancels a prompt of 19,900 characters, again and again.
async fn hostile(kind: usize, addr: SocketAddr) {
    let dear = "1234567 ".repeat(37);
    let long = "word ".repeat(3_980);
    // It may well wait for itself.
    let mut client = session_from("127.0.0.2", addr, Duration::from_secs(3_600)).await;
    loop {
        match kind % 3 {
            0 => {
                client.say(&start(&dear, "")).await;
                client.say(r#"{"type":"cancel"}"#).await;
                client.read_until("session_end").await;
            }
            1 => {
                client.say(&start(&dear, "")).await;
                first_audio(&mut client).await;
                client.say(r#"{"type":"pause"}"#).await;
                std::future::pending::<()>().await;
            }
            _ => {
                client.say(&start(&long, r#","delivery":{"mode":"paced"}"#)).await;
                first_audio(&mut client).await;
                client.say(r#"{"type":"cancel"}"#).await;
                client.read_until("session_end").await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_is_heard_soon_beside_50_hostile_sessions_of_another_client() {
    let server = start_with(Config::default(), Arc::new(Flite::with_threads(1))).await;
    let addr = server.addr;
    let mut others = JoinSet::new();
    for kind in 0..50 {
        others.spawn(hostile(kind, addr));
    }
    let mut times = Vec::new();
    for _ in 0..15 {
        let mut client = session_from("127.0.0.3", addr, PATIENCE).await;
        let asked = Instant::now();
        client.say(r#"{"type":"start_session","prompt":"Good evening."}"#).await;
        first_audio(&mut client).await;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    assert!(times[times.len() / 2] < MOST, "{times:?}");
    assert!(others.try_join_next().is_none(), "the hostile client was there all the time");
}
