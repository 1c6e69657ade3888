//! Natural voices through a socket, with the file that `ALOUD_TEST_VOICE` names.

use crate::support::{Frame, audio, crc32, messages, skip, spoken, start_with, v1};
use aloud::Config;
use aloud::tts::{Neural, Synthesizer, Utterance, VoiceFile};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

const SENTENCES: [&str; 2] = ["Good evening, Zoë.", "It costs $5, and the kettle is on."];

/// The voice, loaded once for all tests.
fn engine(test: &str) -> Option<Arc<Neural>> {
    static ENGINE: LazyLock<Option<Arc<Neural>>> = LazyLock::new(|| {
        let path = std::env::var_os("ALOUD_TEST_VOICE")?;
        Some(Arc::new(Neural::load(&[VoiceFile { name: None, path: path.into() }]).unwrap()))
    });
    if ENGINE.is_none() {
        skip(test, "the voice file");
    }
    ENGINE.clone()
}

fn start(options: &Value) -> String {
    let mut start = json!({"type": "start_session", "prompt": SENTENCES.join(" "), "resumable": true});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start.to_string()
}

async fn undisturbed(engine: &Neural) -> Vec<u8> {
    let mut whole = Vec::new();
    for sentence in SENTENCES {
        whole.extend(spoken(engine, Utterance::new(sentence, engine.format())).await);
    }
    whole
}

#[tokio::test]
async fn a_lost_session_continues_with_the_same_bytes() {
    let Some(engine) = engine("a_lost_session_continues_with_the_same_bytes") else { return };
    let whole = undisturbed(&engine).await;
    // Nothing is kept behind what the client has, so that sentences are replayed.
    let server = start_with(Config::default(), engine).await;
    for (taken, goes_back) in [(2, 0), (2, 30_000), (3, usize::MAX)] {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start(&json!({"delivery": {"mode": "paced", "aheadMs": 5_000}}))).await;
        let mut heard = Vec::new();
        while heard.len() < whole.len() / taken {
            if let Frame::Binary(bytes) = client.read_frame().await {
                heard.extend(bytes);
            }
        }
        assert!(whole.starts_with(&heard), "lost after {} bytes", heard.len());
        drop(client);
        let offset = heard.len().saturating_sub(goes_back) & !1;
        heard.truncate(offset);
        let (mut client, _) = v1(server.addr).await;
        let (id, token) = (&greeting["sessionId"], &greeting["token"]);
        let recover = json!({"type": "recover", "sessionId": id, "token": token, "offset": offset});
        client.say(&recover.to_string()).await;
        let frames = client.read_until("session_end").await;
        let recovered = messages(&frames).into_iter().find(|message| message["type"] == "recovered").unwrap();
        assert_eq!((&recovered["recovered"], &recovered["offset"]), (&json!(true), &json!(offset)));
        heard.extend(audio(&frames));
        assert!(heard == whole, "{} and {} bytes differ", heard.len(), whole.len());
        let end = messages(&frames).into_iter().rfind(|message| message["type"] == "sentence_end").unwrap();
        let last = spoken_length(&whole, &end);
        if let Some(crc) = end["crc32"].as_u64() {
            assert_eq!(crc, u64::from(crc32(&whole[whole.len() - last..])));
        }
    }
}

/// Bytes of the last sentence, by its `sentence_end`.
fn spoken_length(whole: &[u8], end: &Value) -> usize {
    end["bytes"].as_u64().map_or(whole.len(), |bytes| usize::try_from(bytes).unwrap())
}

#[tokio::test]
async fn words_come_with_their_times() {
    let Some(engine) = engine("words_come_with_their_times") else { return };
    let server = start_with(Config::default(), engine).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&json!({"timestamps": "word"}))).await;
    let frames = client.read_until("session_end").await;
    let messages = messages(&frames);
    let times: Vec<&Value> = messages.iter().filter(|message| message["type"] == "timestamps").collect();
    // The engine's own times, and not estimates of the server.
    assert!(times.iter().all(|times| times["source"] == "engine"), "{times:?}");
    let words: Vec<&str> = times
        .iter()
        .flat_map(|times| times["words"].as_array().unwrap())
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(words.join(" "), SENTENCES.join(" "));
}

#[tokio::test]
async fn a_stream_can_be_paused_and_cancelled() {
    let Some(engine) = engine("a_stream_can_be_paused_and_cancelled") else { return };
    let whole = undisturbed(&engine).await;
    let server = start_with(Config::default(), engine).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&json!({"delivery": {"mode": "paced", "aheadMs": 200}}))).await;
    client.read_until("text").await;
    client.say(r#"{"type":"pause"}"#).await;
    let before = client.read_until("paused").await;
    client.say(r#"{"type":"resume"}"#).await;
    let mut heard = audio(&before);
    while heard.len() < 30_000 {
        if let Frame::Binary(bytes) = client.read_frame().await {
            heard.extend(bytes);
        }
    }
    assert!(whole.starts_with(&heard));
    client.say(r#"{"type":"cancel"}"#).await;
    let frames = client.read_until("session_end").await;
    heard.extend(audio(&frames));
    assert!(
        whole.starts_with(&heard) && heard.len() < whole.len(),
        "{} of {} bytes",
        heard.len(),
        whole.len()
    );
    let end = messages(&frames).pop().unwrap();
    assert_eq!(end["reason"], "cancelled", "{end}");
}

#[tokio::test]
async fn speed_and_voice_are_those_that_the_client_asks_for() {
    let Some(engine) = engine("speed_and_voice_are_those_that_the_client_asks_for") else { return };
    let (name, whole) = (engine.voices()[0].name.clone(), undisturbed(&engine).await);
    let server = start_with(Config::default(), engine).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&json!({"speed": 2.0, "voice": name}))).await;
    let fast = audio(&client.read_until("session_end").await).len();
    let ratio = whole.len() as f64 / fast as f64;
    assert!((1.6..2.3).contains(&ratio), "{ratio}");
}

#[tokio::test]
async fn many_listeners_get_the_same_bytes_in_turns() {
    let Some(engine) = engine("many_listeners_get_the_same_bytes_in_turns") else { return };
    let whole = Arc::new(undisturbed(&engine).await);
    let server = start_with(Config::default(), engine).await;
    let listeners: Vec<_> = (0..6)
        .map(|_| {
            let (addr, whole) = (server.addr, Arc::clone(&whole));
            tokio::spawn(async move {
                let (mut client, _) = v1(addr).await;
                client.say(&start(&json!({}))).await;
                assert!(audio(&client.read_until("session_end").await) == *whole);
            })
        })
        .collect();
    for listener in listeners {
        listener.await.unwrap();
    }
}
