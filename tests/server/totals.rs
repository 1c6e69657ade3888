//! Bounds on all clients together, and waits that end: the client that holds most gives first.

use crate::support::{
    FORMAT, Frame, PATIENCE, Raw, Scripted, Scripting, V1, messages, over_memory, session_from, socket_from,
    start_with, start_writing, within,
};
use aloud::tts::{Flite, Synthesizer, Tone};
use aloud::{Config, Service};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Instant;

const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;
const ASK: &str = r#"{"type":"start_session","source":"llm","prompt":"Tell me about tea."}"#;
const MIB: usize = 1 << 20;

/// Starts a long stream, and pauses it after the first audio.
async fn paused(client: &mut Raw, fields: &str) {
    let prompt = "A sentence as there are many. ".repeat(200);
    let start = format!(
        r#"{{"type":"start_session","prompt":"{prompt}","speed":0.5,"audio":{{"sampleRate":48000}}{fields}}}"#
    );
    client.say(&start).await;
    client.read_until("binary").await;
    client.say(r#"{"type":"pause"}"#).await;
    client.read_until("paused").await;
}

/// Heads without an end are bounded in all: the client that holds most gives, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_heads_are_bounded_together() {
    let config = Config::default().with(|c| c.handshake_timeout = Duration::from_secs(300));
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 1.0))).await;
    let begin = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "y".repeat(bytes));
    let mut small = socket_from("127.0.0.3", server.addr, PATIENCE).await;
    small.send_bytes(begin(100 * 1024).as_bytes()).await;
    let mut large = Vec::new();
    for _ in 0..400 {
        let mut client = socket_from("127.0.0.2", server.addr, PATIENCE).await;
        client.send_bytes(begin(240 * 1024).as_bytes()).await;
        large.push(client);
    }
    // 400 of them are 94 MiB.
    for client in &mut large[..100] {
        assert_eq!(client.read_head().await.status, 503);
    }
    for client in [&mut small, large.last_mut().unwrap()] {
        client.send_bytes(b"\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.read_head().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_sessions_of_the_client_that_holds_most_are_closed() {
    let engines: [Arc<dyn Synthesizer>; 2] =
        [Arc::new(Flite::with_threads(2)), Arc::new(Tone::new(FORMAT, 3_600.0))];
    for engine in engines {
        let name = engine.name().to_owned();
        let config = Config::default().with(|c| c.max_live_bytes = MIB);
        let server = start_with(config, engine).await;
        let mut small = session_from("127.0.0.3", server.addr, PATIENCE).await;
        paused(&mut small, r#","resumable":true"#).await;
        let mut large = Vec::new();
        for n in 0..40 {
            let mut client = session_from("127.0.0.2", server.addr, PATIENCE).await;
            let delivery = if n % 2 == 0 {
                r#","resumable":true"#
            } else {
                r#","delivery":{"mode":"paced","aheadMs":60000}"#
            };
            paused(&mut client, delivery).await;
            large.push(client);
        }
        let mut codes = Vec::new();
        for client in &mut large {
            codes.extend(client.before_pong_or_close().await);
        }
        assert!(codes.len() >= 8 && codes.iter().all(|&code| code == 4503), "{name}: {codes:?}");
        assert_eq!(small.before_pong_or_close().await, None, "{name}: it holds less than the others");
        let held = server.service.live_bytes();
        assert!((MIB / 2..=MIB).contains(&held), "{name}: {held}");
        // What is left ends with its connections.
        drop((large, small));
        within(async {
            while server.service.live_bytes() > 0 {
                yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn text_and_streams_that_are_over_count_only_while_they_are_there() {
    let config = Config::default().with(|c| c.max_live_bytes = MIB);
    let (engine, mut asked) = Scripted::new();
    let server = start_with(config, engine).await;
    let mut client = session_from("127.0.0.2", server.addr, PATIENCE).await;
    client
        .say(&json!({"type": "start_session", "prompt": "One more word. ".repeat(1_300)}).to_string())
        .await;
    let first = within(asked.recv()).await.unwrap();
    client.before_pong().await;
    assert!(server.service.live_bytes() >= 16 * 1024, "{}", server.service.live_bytes());
    client.say(r#"{"type":"cancel"}"#).await;
    client.read_until("session_end").await;
    client.before_pong().await;
    assert_eq!(server.service.live_bytes(), 0);
    drop(first);
}

#[tokio::test]
async fn requests_to_a_model_are_bounded_for_a_client_and_in_all() {
    let (writer, mut asked) = Scripting::new();
    let config = Config::default().with(|c| (c.max_answers, c.max_client_answers) = (4, Some(3)));
    let server = start_writing(config, Arc::new(Tone::new(FORMAT, 0.1)), writer).await;
    let failed = |message: &Value| (message["type"] == "error").then(|| message["code"].clone());
    let mut large = Vec::new();
    let mut pens = Vec::new();
    for _ in 0..3 {
        let mut client = session_from("127.0.0.2", server.addr, PATIENCE).await;
        client.say(ASK).await;
        pens.push(within(asked.recv()).await.unwrap());
        large.push(client);
    }
    let mut refused = session_from("127.0.0.2", server.addr, PATIENCE).await;
    refused.say(ASK).await;
    let messages_of = |frames: &[Frame]| messages(frames).iter().filter_map(failed).collect::<Vec<_>>();
    assert_eq!(messages_of(&refused.read_until("session_end").await), [json!("llm_failed")]);

    let mut small = session_from("127.0.0.3", server.addr, PATIENCE).await;
    for n in 0..2 {
        small.say(ASK).await;
        pens.push(within(asked.recv()).await.unwrap());
        if n == 0 {
            small = {
                let next = session_from("127.0.0.3", server.addr, PATIENCE).await;
                large.push(small);
                next
            };
        }
    }
    // The second one of this client took the place of the oldest of the other.
    assert_eq!(messages_of(&large[0].read_until("session_end").await), [json!("llm_failed")]);
    within(pens[0].1.cancelled()).await;
    assert_eq!(server.service.scripts().count(), 5, "one stops");
    drop(pens);
    within(async {
        while server.service.scripts().count() > 0 {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_gives_nothing_is_given_up() {
    for patience in [600, 7] {
        let (engine, mut asked) = Scripted::new();
        let config = Config::default().with(|c| {
            c.prefetch = 1;
            if patience != 600 {
                c.engine_timeout = Duration::from_secs(patience);
            }
        });
        let service = Service::new(config, engine).unwrap();
        for lines in [V1, ""] {
            let mut client = over_memory(&service, MIB, lines).await;
            client.read_until("session_start").await;
            client.say(START).await;
            let (_, silent) = asked.recv().await.unwrap();
            let since = Instant::now();
            let error = loop {
                match client.read_frame().await {
                    Frame::Ping(payload) => client.send_bytes(&crate::support::frame(0x8a, &payload)).await,
                    Frame::Text(message) if message["type"] == "error" => break message,
                    _ => {}
                }
            };
            assert_eq!(since.elapsed().as_secs(), patience, "{error}");
            assert!(error["message"].as_str().unwrap().contains("no audio for too long"), "{error}");
            assert!(lines.is_empty() || error["code"] == "engine_timeout", "{error}");
            silent.cancelled().await;
            // The next sentence is spoken.
            let (utterance, mut sink) = asked.recv().await.unwrap();
            assert_eq!(utterance.text, "Two.");
            sink.push(&[1; 320]).unwrap();
            sink.finish().await;
            client.read_until("session_end").await;
        }
    }
}

/// An engine that waits for a paused client is not late.
#[tokio::test(start_paused = true)]
async fn a_pause_does_not_count_as_a_wait_for_the_engine() {
    let (engine, mut asked) = Scripted::new();
    let service = Service::new(Config::default().with(|c| c.prefetch = 1), engine).unwrap();
    let mut client = over_memory(&service, MIB, V1).await;
    client.read_until("session_start").await;
    client.say(START).await;
    let (_, mut sink) = asked.recv().await.unwrap();
    client.before_pong().await;
    client.say(r#"{"type":"pause"}"#).await;
    client.read_until("paused").await;
    let engine = tokio::spawn(async move {
        for _ in 0..30 {
            sink.push(&[1; 8_000]).unwrap();
            sink.drain().await.unwrap();
        }
        sink.finish().await;
    });
    let until = Instant::now() + Duration::from_secs(550);
    while let Ok(frame) = tokio::time::timeout_at(until, client.read_frame()).await {
        let Frame::Ping(payload) = frame else { panic!("{frame:?}") };
        client.send_bytes(&crate::support::frame(0x8a, &payload)).await;
    }
    assert!(!engine.is_finished());
    client.say(r#"{"type":"resume"}"#).await;
    client.read_until("resumed").await;
    let (mut bytes, mut next) = (0, None);
    while bytes < 30 * 16_000 {
        match client.read_frame().await {
            Frame::Binary(audio) => bytes += audio.len(),
            frame => next = Some(frame),
        }
    }
    assert_eq!(bytes, 30 * 16_000, "{next:?}");
    engine.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_suspended_session_keeps_its_model_for_ten_seconds() {
    let (writer, mut asked) = Scripting::new();
    let service = Service::with_writer(Config::default(), Arc::new(Tone::new(FORMAT, 0.1)), writer).unwrap();
    let mut client = over_memory(&service, MIB, V1).await;
    let greeting = messages(&client.read_until("session_start").await).remove(0);
    client.say(&ASK.replace('}', r#","resumable":true}"#)).await;
    let (_, mut pen) = asked.recv().await.unwrap();
    pen.write("Tea is a drink. ").await.unwrap();
    client.read_until("binary").await;
    let since = Instant::now();
    drop(client);
    pen.cancelled().await;
    assert_eq!(since.elapsed().as_secs(), 10);
    assert!(pen.write("It is made of leaves.").await.is_err());
    // The client that comes back gets the text so far, and the reason.
    let mut client = over_memory(&service, MIB, V1).await;
    client.read_until("session_start").await;
    let (id, token) = (&greeting["sessionId"], &greeting["token"]);
    client.say(&json!({"type": "recover", "sessionId": id, "token": token, "offset": 0}).to_string()).await;
    let frames = messages(&client.read_until("session_end").await);
    let has = |wanted: &str| frames.iter().any(|message| message.to_string().contains(wanted));
    assert!(has("llm_timeout") && has("Tea is a drink."), "{frames:?}");
}
