//! Pauses between sentences, measured in the audio that a client receives.

#![allow(clippy::needless_pass_by_value)] // Options are written where they are used.

use crate::support::{Asked, Frame, Raw, Scripted, audio, crc32, messages, start_with, v1};
use aloud::Config;
use aloud::tts::{Flite, Sink};
use serde_json::{Value, json};
use std::sync::Arc;

const TEXT: &str = "Good news\n\nThe kettle is on. Please sit down.\n\nLunch is at noon.";

/// Loudest sample of silence, of 32,768.
const SILENCE: i32 = 150;

fn start(prompt: &str, options: Value) -> String {
    let mut start = json!({"type": "start_session", "prompt": prompt});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start.to_string()
}

/// Amplitudes of the samples.
fn samples(audio: &[u8], encoding: &str) -> Vec<i32> {
    match encoding {
        "pcm_s16le" => {
            audio.chunks_exact(2).map(|s| i32::from(i16::from_le_bytes([s[0], s[1]])).abs()).collect()
        }
        "mulaw" => audio
            .iter()
            .map(|byte| {
                let bits = i32::from(!byte);
                ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84
            })
            .collect(),
        other => panic!("{other}"),
    }
}

/// Milliseconds of silence at the start, and around the end of each sentence but the last.
fn gaps(frames: &[Frame], encoding: &str, rate: usize) -> (usize, Vec<usize>) {
    let samples = samples(&audio(frames), encoding);
    let is_loud = |sample: &i32| *sample > SILENCE;
    let size = if encoding == "pcm_s16le" { 2 } else { 1 };
    let ends = messages(frames).into_iter().filter(|message| message["type"] == "sentence_end");
    let ends: Vec<usize> = ends.map(|end| end["offset"].as_u64().unwrap() as usize / size).collect();
    let around = |end: &usize| {
        let before = samples[..*end].iter().rev().position(is_loud).unwrap();
        let after = samples[*end..].iter().position(is_loud).unwrap();
        (before + after) * 1_000 / rate
    };
    let lead = samples.iter().position(is_loud).unwrap() * 1_000 / rate;
    (lead, ends[..ends.len() - 1].iter().map(around).collect())
}

/// Checks offsets and checksums of every sentence.
fn check(frames: &[Frame]) {
    let (audio, mut start) = (audio(frames), 0);
    for message in messages(frames) {
        let offset = message["offset"].as_u64().unwrap_or_default() as usize;
        match message["type"].as_str().unwrap() {
            "text" => assert_eq!(offset, start),
            "sentence_end" => {
                assert_eq!(message["crc32"], format!("{:08x}", crc32(&audio[start..offset])));
                start = offset;
            }
            _ => {}
        }
    }
    assert_eq!(start, audio.len());
}

#[track_caller]
fn assert_near(measured: usize, expected: usize, at: &str) {
    assert!(measured.abs_diff(expected) <= 30, "{measured} ms instead of {expected} ms: {at}");
}

#[tokio::test]
async fn paragraph_and_heading_are_longer_than_a_sentence_by_default() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    for options in [json!({}), json!({"delivery": {"mode": "paced", "aheadMs": 60_000}})] {
        client.say(&start(TEXT, options)).await;
        let frames = client.read_until("session_end").await;
        check(&frames);
        let (lead, gaps) = gaps(&frames, "pcm_s16le", 16_000);
        assert!(lead <= 30, "{lead}");
        assert_near(gaps[0], 600, "heading");
        assert_near(gaps[1], 130, "sentence");
        assert_near(gaps[2], 400, "paragraph");
    }
}

#[tokio::test]
async fn client_gets_the_pauses_it_asks_for_in_every_format() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    for (encoding, rate) in [("pcm_s16le", 16_000), ("pcm_s16le", 24_000), ("mulaw", 8_000)] {
        for (sentence, paragraph, heading, lead) in [(250, 700, 1_000, 500), (900, 300, 5_000, 0)] {
            let at = format!("{encoding} {rate}: {sentence} {paragraph} {heading} {lead}");
            let options = json!({
                "audio": {"encoding": encoding, "sampleRate": rate},
                "delivery": {"mode": "paced", "aheadMs": 60_000},
                "pauses": {"sentenceMs": sentence, "paragraphMs": paragraph, "headingMs": heading},
                "leadMs": lead,
            });
            client.say(&start(TEXT, options)).await;
            let frames = client.read_until("session_end").await;
            check(&frames);
            let (silence, gaps) = gaps(&frames, encoding, rate);
            assert_near(silence, lead + 20, &at);
            for (measured, expected) in gaps.into_iter().zip([heading, sentence, paragraph]) {
                assert_near(measured, expected, &at);
            }
        }
    }
}

/// The engine of a test leaves no silence, so that the server adds all but the 20 ms of the next start.
#[tokio::test]
async fn pauses_hold_for_every_engine() {
    let (engine, mut asked): (_, Asked) = Scripted::new();
    let config = Config::default().with(|c| {
        c.sentence_pause = Some(std::time::Duration::from_millis(200));
        c.lead = std::time::Duration::from_millis(100);
    });
    let server = start_with(config, engine).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start("One. Two.\n\nThree.", json!({}))).await;
    tokio::spawn(async move {
        while let Some((_, sink)) = asked.recv().await {
            let mut sink: Sink = sink;
            sink.write(&[9_000; 1_600]).await.unwrap();
            sink.finish().await;
        }
    });
    let frames = client.read_until("session_end").await;
    check(&frames);
    let rate = messages(&frames)[0]["audio"]["sampleRate"].as_u64().unwrap() as usize;
    assert_eq!(gaps(&frames, "pcm_s16le", rate), (100, vec![180, 380]));
}

/// A client whose connection is lost within a pause has the same audio in the end, and so has one that pauses.
#[tokio::test]
async fn pause_survives_a_lost_connection_and_a_pause_of_the_client() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let options = json!({"resumable": true, "leadMs": 300, "pauses": {"headingMs": 2_000}});
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(TEXT, options.clone())).await;
    let whole = audio(&client.read_until("session_end").await);
    for at in [0, 100 * 32, 1_500 * 32, 2_500 * 32] {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start(TEXT, options.clone())).await;
        let mut heard = Vec::new();
        while heard.len() < at {
            if let Frame::Binary(audio) = client.read_frame().await {
                heard.extend(audio);
            }
        }
        drop(client);
        let (mut client, _): (Raw, _) = v1(server.addr).await;
        let (id, token) = (&greeting["sessionId"], &greeting["token"]);
        client
            .say(
                &json!({"type": "recover", "sessionId": id, "token": token, "offset": heard.len()})
                    .to_string(),
            )
            .await;
        client.say(r#"{"type":"pause"}"#).await;
        let frames = client.read_until("paused").await;
        heard.extend(audio(&frames));
        let paused = messages(&frames).pop().unwrap();
        let later = client.before_pong().await;
        heard.extend(audio(&later));
        client.say(r#"{"type":"resume"}"#).await;
        heard.extend(audio(&client.read_until("session_end").await));
        assert!(heard == whole, "lost at {at}, {paused}");
    }
}
