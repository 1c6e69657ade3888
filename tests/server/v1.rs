//! Additions of `aloud.v1`: negotiation, options, and the promises that its messages make.
#![allow(clippy::needless_pass_by_value)] // Options are written where they are used.

use crate::support::{
    self, Asked, FORMAT, Frame, Raw, Running, Scripted, V1, audio, close, crc32, messages, opening_with,
    over_memory, raw, session, spoken, start_with, v1, within,
};
use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Sink, Synthesizer, Tone, Utterance};
use aloud::{Config, Service};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const END: &str = r#"{"type":"end"}"#;
const FLUSH: &str = r#"{"type":"flush"}"#;
const CANCEL: &str = r#"{"type":"cancel"}"#;

/// Bytes of a millisecond of [`FORMAT`].
const MS: usize = 16;
/// Bytes of its frame.
const FRAME: usize = 40 * MS;

/// Several times the clock's granularity, since a deadline may be rounded more than once.
const GRAIN: Duration = Duration::from_millis(10);

fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is no object"),
    }
}

fn start(prompt: &str, options: Value) -> String {
    let mut start = json!({"type": "start_session", "prompt": prompt});
    start.as_object_mut().unwrap().extend(object(options));
    start.to_string()
}

/// A stream whose text the client appends.
fn fed(options: Value) -> String {
    let mut start = json!({"type": "start_session", "source": "append"});
    start.as_object_mut().unwrap().extend(object(options));
    start.to_string()
}

fn append(text: &str) -> String {
    json!({"type": "append", "text": text}).to_string()
}

fn paced(ahead_ms: u64) -> Value {
    json!({"delivery": {"mode": "paced", "aheadMs": ahead_ms}})
}

fn tone(seconds: f64) -> Arc<Tone> {
    Arc::new(Tone::new(FORMAT, seconds))
}

async fn with(engine: Arc<dyn Synthesizer>) -> (Running, Raw) {
    let server = start_with(Config::default(), engine).await;
    let client = v1(server.addr).await.0;
    (server, client)
}

/// A client of `aloud.v1` over memory, for a clock that only the test advances.
async fn in_memory(config: Config, engine: Arc<dyn Synthesizer>) -> (Service, Raw<DuplexStream>) {
    let service = Service::new(config, engine).unwrap();
    let mut client = over_memory(&service, 64 * 1024, V1).await;
    assert_eq!(client.read_frame().await.kind(), "session_start");
    (service, client)
}

async fn next(asked: &mut Asked) -> (Utterance, Sink) {
    within(asked.recv()).await.unwrap()
}

async fn message<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>) -> Value {
    match client.read_frame().await {
        Frame::Text(value) => value,
        frame => panic!("no message but {}", frame.kind()),
    }
}

/// Answers the server's Close and returns its code.
async fn closed<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>) -> u16 {
    let frame = client.read_frame().await;
    let Frame::Close(Some((code, _))) = frame else { panic!("no Close but {frame:?}") };
    client.send_bytes(&close(code, "")).await;
    assert_eq!(client.read_to_close().await, b"", "no bytes follow a Close");
    code
}

fn of_kind(frames: &[Frame], kind: &str) -> Vec<Value> {
    messages(frames).into_iter().filter(|message| message["type"] == kind).collect()
}

/// Checks the order, offsets and whole samples of a whole stream. Returns its sentences: text and
/// audio.
fn checked(frames: &[Frame], format: Format, frame_ms: u32) -> Vec<(String, Vec<u8>)> {
    let bytes =
        |ms: u64| ms * u64::from(format.sample_rate_hz) / 1000 * format.encoding.bytes_per_sample() as u64;
    let near = |ms: &Value, offset: usize| {
        let exact = offset as f64 * 1000.0
            / (f64::from(format.sample_rate_hz) * format.encoding.bytes_per_sample() as f64);
        assert!((ms.as_f64().unwrap() - exact).abs() <= 1.0, "{ms} ms is not {offset} bytes");
    };
    let most = bytes(frame_ms.into()).max(1) as usize + format.encoding.bytes_per_sample();
    let mut sentences: Vec<(String, Vec<u8>)> = Vec::new();
    let (mut total, mut is_open, mut has_times) = (0, false, false);
    for frame in frames {
        match frame {
            Frame::Binary(audio) => {
                assert!(is_open, "audio outside of a sentence");
                assert_eq!(audio.len() % format.encoding.bytes_per_sample(), 0, "whole samples");
                assert!(
                    !audio.is_empty() && audio.len() <= most.min(64 * 1024),
                    "a frame of {}",
                    audio.len()
                );
                sentences.last_mut().unwrap().1.extend(audio);
                total += audio.len();
            }
            Frame::Text(value) => match value["type"].as_str().unwrap() {
                "text" => {
                    assert!(!is_open, "a sentence within a sentence");
                    (is_open, has_times) = (true, false);
                    assert_eq!(value["index"], sentences.len());
                    assert_eq!(value["offset"], total);
                    near(&value["startMs"], total);
                    sentences.push((value["data"].as_str().unwrap().to_owned(), Vec::new()));
                }
                "timestamps" => {
                    assert!(is_open, "times outside of a sentence");
                    assert_eq!(value["index"], sentences.len() - 1);
                    has_times = true;
                }
                "sentence_end" => {
                    let audio = &sentences.last().unwrap().1;
                    let figures =
                        [&value["index"], &value["offset"], &value["bytes"]].map(|n| n.as_u64().unwrap());
                    assert_eq!(figures, [sentences.len() - 1, total, audio.len()].map(|n| n as u64));
                    assert_eq!(value["crc32"], format!("{:08x}", crc32(audio)));
                    near(&value["durationMs"], audio.len());
                    assert!(std::mem::take(&mut is_open));
                }
                "session_end" => {
                    assert!(!is_open, "the end within a sentence");
                    near(&value["usage"]["audioMs"], total);
                    assert_eq!(value["usage"]["sentences"], sentences.len());
                }
                _ => {}
            },
            _ => {}
        }
    }
    let _ = has_times;
    assert_eq!(frames.last().unwrap().kind(), "session_end");
    sentences
}

// Negotiation.

#[tokio::test]
async fn session_start_announces_audio_limits_and_a_secret() {
    let server = start_with(Config::default(), tone(0.1)).await;
    let mut secrets = Vec::new();
    for _ in 0..20 {
        let (_client, greeting) = v1(server.addr).await;
        let (id, token) = (greeting["sessionId"].as_str().unwrap(), greeting["token"].as_str().unwrap());
        assert_eq!(
            greeting,
            json!({
                "type": "session_start", "sessionId": id, "protocol": "aloud.v1", "token": token,
                "pingIntervalMs": 30_000,
                "audio": {"encoding": "pcm_s16le", "sampleRate": 8_000, "channels": 1},
                "limits": {
                    "maxPromptChars": 20_000, "maxMessageBytes": 65_536, "maxBufferedChars": 8_000,
                    "aheadMs": 2_000, "resumeTtlMs": 120_000, "maxSessionMs": 3_600_000,
                },
            })
        );
        // At least 128 bits, six in each character.
        assert!(token.len() >= 22, "{token}");
        assert!(!token.contains(id) && !id.contains(token));
        assert!(!secrets.contains(&token.to_owned()), "two sessions have the same secret");
        secrets.push(token.to_owned());
    }
    // Every position of the secret changes.
    for at in 0..secrets[0].len() {
        assert!(secrets.iter().any(|token| token.as_bytes()[at] != secrets[0].as_bytes()[at]), "at {at}");
    }
}

#[tokio::test]
async fn client_without_the_subprotocol_gets_the_base_protocol_byte_for_byte() {
    let engine = tone(0.1);
    let sentence = spoken(engine.as_ref(), Utterance::new("One.", FORMAT)).await;
    let server = start_with(Config::default(), engine).await;
    for more in ["", "Sec-WebSocket-Protocol: chat, aloud.v2\r\n"] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&opening_with(server.addr, aloud::PATH, more)).await;
        assert_eq!(client.read_head().await.header("sec-websocket-protocol"), None);
        let Frame::Text(greeting) = client.read_frame().await else { panic!("a message") };
        assert_eq!(greeting.as_object().unwrap().len(), 2, "{greeting}");
        for message in [FLUSH, CANCEL, r#"{"type":"ping","id":"x"}"#, r#"{"type":"append","text":"x"}"#] {
            client.say(message).await;
            let Frame::Text(error) = client.read_frame().await else { panic!("a message") };
            assert_eq!(error, json!({"type": "error", "message": error["message"]}));
        }
        client.say(PAUSE).await;
        client.say(RESUME).await;
        client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
        client.say(END).await;
        let mut expected = support::plain(0x81, br#"{"type":"text","data":"One.","index":0}"#);
        sentence.chunks(FRAME).for_each(|frame| expected.extend(support::plain(0x82, frame)));
        // `end` may have arrived before the rest was sent, so the test compares what was sent.
        let bytes = client.read_to_close().await;
        let end = support::plain(0x81, br#"{"type":"session_end"}"#);
        let at = bytes.windows(end.len()).position(|window| window == end).unwrap();
        let whole = [&expected[..], &support::plain(0x81, br#"{"type":"sentence_end","index":0}"#)].concat();
        // Where the stream had begun, a ping in front of it asks how long the way is (RFC 6455 §5.5.2).
        let ping = support::plain(0x89, &(1u128 << 64).to_be_bytes());
        let stream = bytes[..at].strip_prefix(&ping[..]).unwrap_or(&bytes[..at]);
        assert!(whole.starts_with(stream), "the stream");
    }
}

#[tokio::test]
async fn base_client_enables_single_features_by_fields() {
    let server = start_with(Config::default(), tone(0.1)).await;
    let mut client = session(server.addr).await;
    client.say(&start("One.", json!({"audio": {"encoding": "mulaw"}}))).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(
        messages(&frames),
        [
            json!({"type": "stream_start", "stream": 1, "rev": 0, "audio": {"encoding": "mulaw", "sampleRate": 8_000, "channels": 1},
                   "voice": "tone", "source": "verbatim"}),
            json!({"type": "text", "data": "One.", "index": 0}),
            json!({"type": "sentence_end", "index": 0}),
            json!({"type": "session_end"}),
        ]
    );
    assert_eq!(audio(&frames).len(), 800);
    client.say(&start("One.", json!({"timestamps": "sentence"}))).await;
    let frames = client.read_until("session_end").await;
    let crc32 = format!("{:08x}", crc32(&audio(&frames)));
    assert_eq!(
        messages(&frames),
        [
            json!({"type": "text", "data": "One.", "index": 0, "offset": 0, "startMs": 0}),
            json!({"type": "sentence_end", "index": 0, "offset": 1_600, "bytes": 1_600, "durationMs": 100,
                   "crc32": crc32}),
            json!({"type": "session_end"}),
        ]
    );
    // Without a token the client cannot recover the session.
    client.say(&start("One.", json!({"resumable": true}))).await;
    assert_eq!(message(&mut client).await["type"], "error");
    assert_eq!(message(&mut client).await, json!({"type": "session_end"}));
    // Without any field the base protocol applies again.
    client.say(&start("One.", json!({}))).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(messages(&frames)[1], json!({"type": "sentence_end", "index": 0}));
}

// The promises.

/// Promises 1 and 2, in every encoding at different rates. The audio equals the engine's own in
/// that format.
#[tokio::test]
async fn stream_keeps_order_offsets_checksums_and_whole_samples_in_every_format() {
    let flite: Arc<dyn Synthesizer> = Arc::new(Flite::new());
    let prompt = "Good evening. It costs $37.50, Dr. Sato said. Did it? Oh.";
    for (engine, rates) in [(flite, [16_000, 24_000]), (tone(0.777), [8_000, 44_100])] {
        let server = start_with(Config::default(), engine.clone()).await;
        let (mut client, _) = v1(server.addr).await;
        for encoding in Encoding::ALL {
            for sample_rate_hz in rates {
                for frame_ms in [if encoding == Encoding::MuLaw { 7 } else { 40 }] {
                    let format = Format { encoding, sample_rate_hz };
                    let asked = json!({"encoding": encoding.name(), "sampleRate": sample_rate_hz});
                    let mut options = json!({"audio": asked, "timestamps": "word"});
                    options["audio"]["frameMs"] = frame_ms.into();
                    client.say(&start(prompt, options)).await;
                    let start = message(&mut client).await;
                    let mut expected = asked.clone();
                    expected["channels"] = 1.into();
                    assert_eq!(start["type"], "stream_start");
                    assert_eq!(start["audio"], expected);
                    let frames = client.read_until("session_end").await;
                    let sentences = checked(&frames, format, frame_ms);
                    assert_eq!(sentences.len(), 4);
                    for (text, audio) in sentences {
                        let mut utterance = Utterance::new(&text, format);
                        utterance.frame_bytes = format.frame_bytes(frame_ms);
                        assert!(audio == spoken(engine.as_ref(), utterance).await, "{text} {format:?}");
                    }
                    assert!(!of_kind(&frames, "timestamps").is_empty());
                    assert_eq!(
                        frames.last().map(|f| messages(std::slice::from_ref(f))[0]["reason"].clone()),
                        Some(json!("completed"))
                    );
                }
            }
        }
    }
}

/// Promise 3.
#[tokio::test]
async fn cancel_sends_no_more_audio_after_cancelled() {
    let (service, mut client) = in_memory(Config::default(), tone(0.5)).await;
    for round in 0..100u64 {
        let options = if round % 2 == 0 { json!({}) } else { paced(200) };
        client.say(&start(&"Some words. ".repeat(50), options)).await;
        let mut frames = Vec::new();
        for _ in 0..round * 7 % 23 {
            frames.push(client.read_frame().await);
        }
        client.say(CANCEL).await;
        frames.extend(client.read_until("cancelled").await);
        let heard = audio(&frames).len();
        let cancelled = messages(&frames).pop().unwrap();
        assert_eq!(cancelled["offset"], heard, "round {round}");
        assert_eq!(cancelled["sentMs"], heard / MS);
        let end = message(&mut client).await;
        assert_eq!((&end["type"], &end["reason"]), (&json!("session_end"), &json!("cancelled")), "{end}");
        assert_eq!(client.before_pong().await, [], "round {round}");
        // It may have crossed the end of the stream.
        client.say(CANCEL).await;
        assert_eq!(client.before_pong().await, [], "round {round}");
    }
    client.say(&start(&"Some words. ".repeat(50), json!({}))).await;
    client.read_until("binary").await;
    client.say(END).await;
    let frames = client.read_until("session_end").await;
    let end = messages(&frames).pop().unwrap();
    assert_eq!(end["reason"], "ended");
    assert_eq!(closed(&mut client).await, 1000);
    assert_eq!(service.syntheses().count(), 0);
}

#[tokio::test]
async fn cancel_leaves_an_append_stream_open() {
    let (_server, mut client) = with(tone(10.0)).await;
    client.say(&fed(json!({}))).await;
    client.say(&append("One. Two. Three. And a re")).await;
    client.read_until("binary").await;
    client.say(CANCEL).await;
    let frames = client.read_until("cancelled").await;
    let offset = messages(&frames).pop().unwrap()["offset"].as_u64().unwrap();
    client.say(&append("Again.")).await;
    client.say(FLUSH).await;
    let frames = client.read_until("text").await;
    assert_eq!(frames[0].kind(), "flushed");
    let text = messages(&frames).pop().unwrap();
    assert_eq!((&text["data"], &text["offset"]), (&json!("Again."), &json!(offset)));
    assert_eq!(messages(&frames)[0]["index"], text["index"]);
    let frames = client.read_until("sentence_end").await;
    let end = messages(&frames).pop().unwrap();
    assert_eq!(end["offset"], offset + audio(&frames).len() as u64);
    assert_eq!(end["index"], text["index"]);
    assert_eq!(audio(&frames).len(), 160_000);
}

/// Promise 4.
#[tokio::test]
async fn pause_stops_delivery_and_then_synthesis() {
    for options in [json!({}), paced(500)] {
        let (engine, mut asked) = Scripted::new();
        let (_server, mut client) = with(engine).await;
        client.say(&start("One. Two. Three.", options.clone())).await;
        let (_, mut sink) = next(&mut asked).await;
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = made.clone();
        let engine = tokio::spawn(async move {
            while sink.write(&[1; 320]).await.is_ok() {
                count.fetch_add(640, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let mut frames = client.read_until("binary").await;
        client.say(PAUSE).await;
        frames.extend(client.read_until("paused").await);
        let heard = audio(&frames).len();
        let offset = messages(&frames).pop().unwrap()["offset"].clone();
        assert_eq!(client.before_pong().await, []);
        assert_eq!(offset, heard, "{options}");
        // Backpressure stops the engine after the look-ahead and the audio in flight.
        let mut before = usize::MAX;
        while before != made.load(std::sync::atomic::Ordering::Relaxed) {
            before = made.load(std::sync::atomic::Ordering::Relaxed);
            sleep(Duration::from_millis(50)).await;
        }
        assert!(before - heard <= 512 * 1024, "{} bytes ahead", before - heard);
        assert_eq!(client.before_pong().await, []);
        client.say(PAUSE).await;
        assert_eq!(message(&mut client).await, json!({"type": "paused", "offset": heard}));
        client.say(RESUME).await;
        assert_eq!(message(&mut client).await, json!({"type": "resumed", "offset": heard}));
        client.read_until("binary").await;
        client.say(CANCEL).await;
        client.read_until("cancelled").await;
        within(engine).await.unwrap();
    }
}

/// Promise 5 by the clock, checked at each frame's arrival.
#[tokio::test(start_paused = true)]
async fn paced_delivery_stays_within_its_lead_and_is_never_late() {
    // Sentences, the look-ahead and the frame, in ms.
    for (seconds, ahead, frame) in [
        (0.5, 200, 40),
        (3.0, 2_000, 40),
        (0.05, 500, 20),
        (1.0, 20, 40),
        (1.0, 100, 100),
        (1.7, 5_000, 60),
        (0.3, 40, 10),
    ] {
        let (_service, mut client) = in_memory(Config::default(), tone(seconds)).await;
        let mut options = paced(ahead);
        options["audio"] = json!({"frameMs": frame});
        client.say(&start(&"Some words. ".repeat(20), options)).await;
        let (mut received, mut since, mut most) = (0u128, None, 0);
        loop {
            let frame_ = client.read_frame().await;
            match frame_ {
                Frame::Binary(audio) => {
                    let elapsed = since.get_or_insert_with(Instant::now).elapsed().as_millis();
                    let (elapsed, name) =
                        (elapsed * MS as u128, format!("{seconds} s, {ahead} ms, {frame} ms"));
                    assert!(received == 0 || received >= elapsed, "{name}: late at {elapsed}: {received}");
                    received += audio.len() as u128;
                    let limit = (u128::from(ahead) + frame) * MS as u128;
                    assert!(received <= elapsed + limit, "{name}: {received} at {elapsed}");
                    most = most.max(received - elapsed.min(received));
                }
                frame if frame.kind() == "session_end" => break,
                Frame::Ping(payload) => client.send_bytes(&support::frame(0x8a, &payload)).await,
                _ => {}
            }
        }
        assert!((received as f64 - 20.0 * seconds * 16_000.0).abs() < 2.0 * 20.0);
        // Delivery is not merely slow: the client gets its look-ahead.
        assert!(most + u128::from(ahead / 2 * MS as u64) >= (u128::from(ahead) * MS as u128).min(received));
    }
}

/// Promise 5: a pause stops the playback clock together with delivery.
#[tokio::test(start_paused = true)]
async fn pause_does_not_count_as_played() {
    let (_service, mut client) = in_memory(Config::default(), tone(1e6)).await;
    client.say(&start("Some words.", paced(400))).await;
    let mut heard = 0;
    let mut run = Duration::ZERO;
    for round in 0..10 {
        let since = Instant::now();
        while let Ok(frame) = timeout(Duration::from_millis(300), client.read_frame()).await {
            heard += audio(&[frame]).len();
            if since.elapsed() > Duration::from_millis(700) {
                break;
            }
        }
        client.say(PAUSE).await;
        heard += audio(&client.read_until("paused").await).len();
        run += since.elapsed();
        let limit = (run.as_millis() as usize + 400 + 40) * MS;
        assert!(
            heard <= limit && heard + 400 * MS >= run.as_millis() as usize * MS,
            "round {round}: {heard} of {limit}"
        );
        assert!(timeout(Duration::from_secs(20), client.read_until("binary")).await.is_err());
        client.say(RESUME).await;
        assert_eq!(message(&mut client).await, json!({"type": "resumed", "offset": heard}));
    }
}

/// Promise 5 by `ack`: after the first `ack` the server ignores the playback clock.
#[tokio::test(start_paused = true)]
async fn ack_replaces_the_playback_clock() {
    let (_service, mut client) = in_memory(Config::default(), tone(1e6)).await;
    client.say(&start("Some words.", paced(400))).await;
    let mut heard = audio(&client.read_until("binary").await).len();
    client.say(r#"{"type":"ack","playedMs":0}"#).await;
    for played in [0usize, 100, 150, 1, 1000, 1000, 900_000_000] {
        client.say(&json!({"type": "ack", "playedMs": played}).to_string()).await;
        while let Ok(frame) = timeout(Duration::from_secs(20), client.read_frame()).await {
            heard += audio(&[frame]).len();
        }
        let known = match played {
            1 => 150,
            // A client cannot have played more than the server sent.
            1000.. => 400 * 5,
            played => played,
        };
        assert!(heard <= (known + 400 + 40) * MS, "{heard} bytes at {played} ms");
        if played <= 150 {
            assert!(heard >= known * MS + 200 * MS, "{heard} bytes at {played} ms");
        }
    }
    // Delivery continues as the client acknowledges.
    for _ in 0..50 {
        let before = heard;
        client.say(&json!({"type": "ack", "playedMs": heard / MS}).to_string()).await;
        heard += audio(&client.read_until("binary").await).len();
        while let Ok(frame) = timeout(Duration::from_millis(1), client.read_frame()).await {
            heard += audio(&[frame]).len();
        }
        assert!(heard > before && heard <= before + 440 * MS);
    }
}

/// Promise 5: audio wasted by a client that leaves or cancels.
#[tokio::test(start_paused = true)]
async fn wasted_audio_is_bounded_and_counted() {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for round in 0..60 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let ahead = 100 + seed % 900;
        let wait = Duration::from_millis(seed >> 20 & 0xfff);
        let sentence = 1_000;
        let (service, mut client) = in_memory(Config::default(), tone(1.0)).await;
        client.say(&start(&"Some words. ".repeat(30), paced(ahead))).await;
        let since = Instant::now();
        let mut frames = Vec::new();
        while let Ok(frame) = tokio::time::timeout_at(since + wait, client.read_frame()).await {
            frames.push(frame);
        }
        let most = ahead + 40 + sentence;
        if round % 2 == 0 {
            client.say(CANCEL).await;
            frames.extend(client.read_until("cancelled").await);
            let cancelled = messages(&frames).pop().unwrap();
            let [sent, played, wasted] =
                ["sentMs", "playedMs", "wastedMs"].map(|name| cancelled[name].as_u64().unwrap());
            assert_eq!(sent, (audio(&frames).len() / MS) as u64);
            assert!(played <= sent && wasted >= sent - played && wasted <= most, "{cancelled}");
            let by_clock = wait.as_millis() as u64;
            assert!(played.abs_diff(by_clock.min(sent)) <= 5, "{cancelled} after {wait:?}");
            let end = message(&mut client).await;
            assert_eq!(end["usage"]["wastedMs"], wasted);
            assert_eq!(end["usage"]["audioMs"], sent);
            client.send_bytes(&close(1000, "")).await;
            client.read_to_close().await;
            assert_eq!(service.wasted().as_millis() as u64, wasted);
        } else {
            drop(client);
            while service.sessions().count() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let wasted = service.wasted().as_millis() as u64;
            assert!(wasted > 0 && wasted <= most, "{wasted} ms with {ahead} ms ahead");
        }
        assert_eq!(service.syntheses().count(), 0);
    }
}

/// Promise 8.
#[tokio::test(start_paused = true)]
async fn prefetch_synthesises_the_next_sentence_during_delivery() {
    for options in [json!({}), paced(300)] {
        let (engine, mut asked) = Scripted::new();
        let (_service, mut client) = in_memory(Config::default(), engine).await;
        client.say(&start("One. Two. Three.", options.clone())).await;
        let player = tokio::spawn(async move {
            let mut times = Vec::new();
            while let Some((utterance, mut sink)) = asked.recv().await {
                times.push((utterance.index, Instant::now()));
                tokio::spawn(async move {
                    let value = utterance.index as i16 + 1;
                    sink.write(&vec![value; 8_000]).await.unwrap();
                    sink.finish().await;
                });
            }
            times
        });
        let mut ends = Vec::new();
        let (mut at, mut heard, mut first) = (0, 0u128, None);
        loop {
            let frame = client.read_frame().await;
            match &frame {
                Frame::Binary(audio) => {
                    let elapsed = first.get_or_insert_with(Instant::now).elapsed().as_millis() * MS as u128;
                    assert!(heard == 0 || heard >= elapsed, "a gap: {heard} at {elapsed}");
                    heard += audio.len() as u128;
                    assert!(audio.chunks(2).all(|sample| sample == [at + 1, 0]), "in order");
                }
                _ if frame.kind() == "sentence_end" => {
                    at += 1;
                    ends.push(Instant::now());
                }
                _ if frame.kind() == "session_end" => break,
                _ => {}
            }
        }
        client.say(END).await;
        client.read_until("close").await;
        drop((client, _service));
        let times = player.await.unwrap();
        assert_eq!(times.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
        for (index, time) in &times[1..] {
            assert!(*time <= ends[*index as usize - 1], "sentence {index}");
            if options != json!({}) {
                // The engine has at least the reserve, a fifth of the look-ahead, before playback runs dry.
                let turn = first.unwrap() + Duration::from_secs(*index);
                let sooner = turn.saturating_duration_since(*time);
                assert!(sooner >= Duration::from_millis(60), "started only {sooner:?} before its turn");
            }
        }
    }
}

// Messages.

#[tokio::test]
async fn append_cut_anywhere_gives_the_same_sentences() {
    let (_server, mut client) = with(tone(0.01)).await;
    let text = "Good evening, Dr. Sato. It costs $37.50 – “really”? Yes! Ça va, naïve café. The end";
    let mut expected = None;
    for cut in [1, 2, 3, 5, 7, 13, 1000] {
        client.say(&fed(json!({}))).await;
        assert_eq!(message(&mut client).await["source"], "append");
        let chars: Vec<char> = text.chars().collect();
        for part in chars.chunks(cut) {
            client.say(&append(&part.iter().collect::<String>())).await;
        }
        client.say(FLUSH).await;
        let mut frames = Vec::new();
        let last = loop {
            let frame = client.read_frame().await;
            if frame.kind() == "flushed" {
                break messages(&[frame])[0]["index"].as_u64().unwrap();
            }
            frames.push(frame);
        };
        while of_kind(&frames, "sentence_end").len() as u64 <= last {
            frames.push(client.read_frame().await);
        }
        let texts: Vec<String> =
            of_kind(&frames, "text").iter().map(|text| text["data"].as_str().unwrap().to_owned()).collect();
        assert_eq!(texts.join(" "), text);
        assert_eq!(*expected.get_or_insert(texts.clone()), texts, "in parts of {cut}");
        client.say(CANCEL).await;
        client.read_until("cancelled").await;
        // An append stream continues until the client ends it.
        client.say(&fed(json!({}))).await;
        assert_eq!(message(&mut client).await["code"], "already_started");
        client.say(&json!({"type": "end", "drain": true}).to_string()).await;
        assert_eq!(client.read_until("session_end").await.len(), 1);
        assert_eq!(closed(&mut client).await, 1000);
        client = v1(_server.addr).await.0;
    }
}

#[tokio::test(start_paused = true)]
async fn append_of_a_whole_sentence_is_spoken_without_more_text() {
    for (options, idle_ms) in [(json!({}), 250), (json!({"segmentation": {"idleMs": 700}}), 700)] {
        let (_service, mut client) = in_memory(Config::default(), tone(0.01)).await;
        client.say(&fed(options)).await;
        assert_eq!(message(&mut client).await["type"], "stream_start");
        let since = Instant::now();
        client.say(&append("It is fin")).await;
        assert!(timeout(Duration::from_secs(20), client.read_frame()).await.is_err(), "no sentence's end");
        client.say(&append("ished.")).await;
        let since = (since, Instant::now()).1;
        let text = message(&mut client).await;
        assert_eq!(text["data"], "It is finished.");
        let elapsed = since.elapsed();
        let expected = Duration::from_millis(idle_ms);
        assert!(elapsed >= expected && elapsed <= expected + GRAIN, "{elapsed:?}");
    }
}

#[tokio::test]
async fn cancelled_reports_the_position_in_time_and_words() {
    let (_server, mut client) = with(tone(2.0)).await;
    let prompt = "One two three four. Five six seven eight. Nine.";
    client.say(&start(prompt, paced(3_500))).await;
    let mut frames = Vec::new();
    while audio(&frames).len() < 3_400 * MS {
        frames.push(client.read_frame().await);
    }
    client.say(r#"{"type":"cancel","playedMs":2900}"#).await;
    frames.extend(client.read_until("cancelled").await);
    let cancelled = messages(&frames).pop().unwrap();
    let sent = audio(&frames).len();
    assert_eq!(cancelled["index"], 1);
    assert_eq!(cancelled["offset"], sent);
    assert_eq!(cancelled["sentMs"], sent / MS);
    assert_eq!(cancelled["playedMs"], 2_900);
    let words = cancelled["spokenText"].as_str().unwrap();
    assert!(words.starts_with("One two three four. Five") && !words.contains("eight"), "{words}");
    assert!(cancelled["wastedMs"].as_u64().unwrap() >= sent as u64 / MS as u64 - 2_900);
    let end = message(&mut client).await;
    assert_eq!(end["reason"], "cancelled");
    let usage = &end["usage"];
    assert_eq!((&usage["audioMs"], &usage["wastedMs"]), (&cancelled["sentMs"], &cancelled["wastedMs"]));
    let made = usage["synthesisedMs"].as_u64().unwrap();
    assert!(made >= sent as u64 / MS as u64 && made <= 6_000, "{usage}");
    // A client cannot have played milliseconds that the server never sent.
    client.say(&start("One.", json!({}))).await;
    client.say(r#"{"type":"pause"}"#).await;
    client.say(r#"{"type":"cancel","playedMs":999999}"#).await;
    let frames = client.read_until("cancelled").await;
    let cancelled = messages(&frames).pop().unwrap();
    assert_eq!(cancelled["playedMs"], cancelled["sentMs"]);
}

#[tokio::test]
async fn update_applies_from_the_next_sentence() {
    let (_server, mut client) = with(Arc::new(Flite::new())).await;
    client.say(&fed(json!({"speed": 1.0}))).await;
    let mut durations = Vec::new();
    for (speed, text) in [(None, "Good"), (Some(2.0), "Good"), (Some(0.5), "Good"), (Some(1.0), "Good")] {
        if let Some(speed) = speed {
            client.say(&json!({"type": "update", "speed": speed}).to_string()).await;
        }
        client.say(&append(&format!("{text} evening, everybody."))).await;
        client.say(FLUSH).await;
        let frames = client.read_until("sentence_end").await;
        durations.push(messages(&frames).pop().unwrap()["durationMs"].as_f64().unwrap());
    }
    let ratio = |n: usize| durations[n] / durations[0];
    assert!((0.4..0.65).contains(&ratio(1)) && (1.7..2.3).contains(&ratio(2)), "{durations:?}");
    assert_eq!(durations[0], durations[3]);
    client.say(r#"{"type":"update","voice":"nobody"}"#).await;
    assert_eq!(message(&mut client).await["code"], "unknown_voice");
    client.say(r#"{"type":"update","speed":9}"#).await;
    assert_eq!(message(&mut client).await["code"], "bad_message");
}

#[tokio::test]
async fn ping_is_answered_at_any_time() {
    let (_server, mut client) = with(tone(1e9)).await;
    for _ in 0..2 {
        client.say(r#"{"type":"ping","id":"a \"b\" é"}"#).await;
        let frames = client.read_until("pong").await;
        assert_eq!(messages(&frames).pop().unwrap(), json!({"type": "pong", "id": "a \"b\" é"}));
        client.say(r#"{"type":"ping"}"#).await;
        assert_eq!(messages(&client.read_until("pong").await).pop().unwrap(), json!({"type": "pong"}));
        client.say(PAUSE).await;
        client.say(&start("One.", json!({}))).await;
    }
}

#[tokio::test]
async fn end_with_drain_speaks_what_was_appended_first() {
    let (_server, mut client) = with(tone(0.1)).await;
    client.say(&fed(json!({}))).await;
    client.say(&append("One. Two. And a re")).await;
    client.say(r#"{"type":"end","drain":true}"#).await;
    client.say(&append("st.")).await;
    let frames = client.read_until("session_end").await;
    let errors = of_kind(&frames, "error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let frames: Vec<_> = frames.into_iter().filter(|frame| frame.kind() != "error").collect();
    let sentences = checked(&frames, FORMAT, 40);
    assert_eq!(sentences.iter().map(|s| s.0.as_str()).collect::<Vec<_>>(), ["One.", "Two.", "And a re"]);
    assert!(sentences.iter().all(|s| s.1.len() == 1_600));
    assert_eq!(messages(&frames).pop().unwrap()["reason"], "ended");
    assert_eq!(closed(&mut client).await, 1000);
}

#[tokio::test]
async fn words_have_times_and_offsets() {
    let (_server, mut client) = with(Arc::new(Flite::new())).await;
    let text = "It costs $37.50, Dr. Sato said.";
    client.say(&start(text, json!({"timestamps": "word"}))).await;
    let frames = client.read_until("session_end").await;
    let duration = of_kind(&frames, "sentence_end")[0]["durationMs"].as_u64().unwrap();
    let times = of_kind(&frames, "timestamps");
    let all = |name: &str| -> Vec<Value> {
        times.iter().flat_map(|times| times[name].as_array().unwrap().clone()).collect()
    };
    assert!(times.iter().all(|times| times["source"] == "engine" && times["startMs"] == 0));
    let words = all("words");
    let trimmed: Vec<&str> =
        words.iter().map(|word| word.as_str().unwrap().trim_end_matches([',', '.'])).collect();
    assert_eq!(trimmed, ["It", "costs", "$37.50", "Dr", "Sato", "said"]);
    let number = |name: &str| -> Vec<u64> { all(name).iter().map(|n| n.as_u64().unwrap()).collect() };
    assert_eq!(number("charStart"), [0, 3, 9, 17, 21, 26]);
    let (starts, ends) = (number("start"), number("end"));
    for n in 0..6 {
        let place = number("charStart")[n] as usize..number("charEnd")[n] as usize;
        assert_eq!(&text[place], words[n].as_str().unwrap());
        assert!(starts[n] < ends[n] && ends[n] <= duration + 1, "{starts:?} {ends:?} of {duration}");
        assert!(n == 0 || starts[n] >= ends[n - 1], "{starts:?} {ends:?}");
    }
    // Eight spoken words take longer than one word.
    assert!(ends[2] - starts[2] > 2 * (ends[1] - starts[1]));

    // Outside ASCII, in UTF-16 units.
    let text = "A naïve café 🙂 isn’t €5, is it?";
    client.say(&start(text, json!({"timestamps": "word"}))).await;
    let frames = client.read_until("session_end").await;
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut seen = 0;
    for times in of_kind(&frames, "timestamps") {
        for (n, word) in times["words"].as_array().unwrap().iter().enumerate() {
            let place = times["charStart"][n].as_u64().unwrap() as usize
                ..times["charEnd"][n].as_u64().unwrap() as usize;
            assert_eq!(String::from_utf16(&units[place]).unwrap(), word.as_str().unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen} words");
}

#[tokio::test]
async fn words_are_estimated_for_an_engine_without_timing() {
    let (_server, mut client) = with(tone(2.0)).await;
    client.say(&start("Good evening, everybody. Bye.", json!({"timestamps": "word"}))).await;
    let frames = client.read_until("session_end").await;
    let times = of_kind(&frames, "timestamps");
    assert_eq!(times.len(), 2);
    assert!(times.iter().all(|times| times["source"] == "estimate"));
    assert_eq!(times[0]["words"].as_array().unwrap().len(), 3);
    assert_eq!(times[1]["startMs"], 2_000);
    for times in &times {
        let ends = times["end"].as_array().unwrap();
        assert!(ends.iter().all(|end| end.as_u64().unwrap() <= 2_000), "{times}");
    }
    checked(&frames, FORMAT, 40);
    client.say(&start("Good evening.", json!({"timestamps": "sentence"}))).await;
    assert_eq!(of_kind(&client.read_until("session_end").await, "timestamps").len(), 0);
}

#[tokio::test]
async fn start_session_with_an_unsupported_option_gets_an_error_and_starts_nothing() {
    let config = Config::default().with(|c| {
        c.max_prompt_chars = 10;
        c.max_buffered_chars = 12;
    });
    let (engine, mut asked) = Scripted::new();
    let server = start_with(config, engine).await;
    let (mut client, _) = v1(server.addr).await;
    let table = [
        (start("Hi.", json!({"audio": {"sampleRate": 12_345}})), "unsupported_audio"),
        (start("Hi.", json!({"audio": {"encoding": "flac"}})), "unsupported_audio"),
        (start("Hi.", json!({"voice": "nobody"})), "unknown_voice"),
        (start("Hello there.", json!({})), "text_too_long"),
        (start("Hi.", json!({"delivery": {"mode": "slow"}})), "bad_message"),
        (start("Hi.", json!({"speed": 7})), "bad_message"),
        ("hello".to_owned(), "bad_json"),
        (r#"{"type":"sing"}"#.to_owned(), "unknown_type"),
        (r#"{"type":"append"}"#.to_owned(), "bad_message"),
        (append("Hi."), "not_started"),
        (FLUSH.to_owned(), "not_started"),
        (CANCEL.to_owned(), "nothing_to_cancel"),
        (r#"{"type":"ack","playedMs":1}"#.to_owned(), "not_started"),
    ];
    let mut wrong = Vec::new();
    for (said, code) in table {
        client.say(&said).await;
        let error = message(&mut client).await;
        assert_eq!((&error["type"], &error["fatal"]), (&json!("error"), &json!(false)), "{said}: {error}");
        assert_eq!(client.before_pong().await, [], "{said}");
        if error["code"] != code {
            wrong.push(format!("{said} gave {}", error["code"]));
        }
    }
    assert!(asked.try_recv().is_err());
    client.say(&fed(json!({}))).await;
    assert_eq!(message(&mut client).await["type"], "stream_start");
    client.say(&append("One. Two.")).await;
    client.say(&append("Three. Four.")).await;
    let frames = client.read_until("error").await;
    let error = messages(&frames).pop().unwrap();
    assert_eq!((&error["code"], &error["retryable"]), (&json!("buffer_full"), &json!(true)));
    // The server has applied none of it.
    let (_, sink) = next(&mut asked).await;
    drop(sink);
    client.say(FLUSH).await;
    let frames = client.read_until("flushed").await;
    assert!(!of_kind(&frames, "text").iter().any(|text| text["data"] == "Three."));
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn error_of_a_failed_sentence_has_its_index() {
    let (engine, mut asked) = Scripted::new();
    let (_server, mut client) = with(engine).await;
    client.say(&start("One. Two.", json!({}))).await;
    let (_, mut sink) = next(&mut asked).await;
    sink.write(&[1; 320]).await.unwrap();
    sink.finish().await;
    let (_, sink) = next(&mut asked).await;
    sink.fail(aloud::tts::SynthesisError::failed("It broke.")).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(
        of_kind(&frames, "error"),
        [json!({"type": "error", "message": "It broke.", "code": "engine_failed", "retryable": true,
                "fatal": false, "index": 1})]
    );
    assert_eq!(checked(&frames, FORMAT, 40).iter().map(|s| s.1.len()).collect::<Vec<_>>(), [640, 0]);
}

// The ends.

#[tokio::test]
async fn error_limit_closes_a_session_of_invalid_messages() {
    let (server, mut client) = with(tone(0.1)).await;
    for _ in 0..99 {
        client.say("nonsense").await;
        assert_eq!(message(&mut client).await["code"], "bad_json");
    }
    // A valid message resets the count.
    client.say(RESUME).await;
    assert_eq!(message(&mut client).await["type"], "resumed");
    for _ in 0..100 {
        client.say("nonsense").await;
        assert_eq!(message(&mut client).await["code"], "bad_json");
    }
    assert_eq!(closed(&mut client).await, 4400);
    // A client of the base protocol gets an answer each time, without a limit.
    let mut client = session(server.addr).await;
    for _ in 0..300 {
        client.say("nonsense").await;
        assert_eq!(message(&mut client).await["type"], "error");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_timeout_has_its_own_close_code() {
    let (_service, mut client) = in_memory(Config::default(), tone(0.1)).await;
    let since = Instant::now();
    let frames = client.read_until("close").await;
    assert!(since.elapsed() >= Duration::from_secs(75) && since.elapsed() <= Duration::from_secs(75) + GRAIN);
    let error = of_kind(&frames, "error").pop().unwrap();
    assert_eq!((&error["code"], &error["fatal"]), (&json!("idle_timeout"), &json!(true)));
    assert_eq!(
        *frames.last().unwrap(),
        Frame::Close(Some((4408, "No data from the client for too long".to_owned())))
    );
}

#[tokio::test(start_paused = true)]
async fn going_away_is_announced_during_a_stream() {
    let (service, mut client) = in_memory(Config::default(), tone(1.0)).await;
    client.say(&start("One. Two.", paced(200))).await;
    client.read_until("binary").await;
    let stopping = tokio::spawn({
        let service = service.clone();
        async move { service.stop().await }
    });
    let frames = client.read_until("go_away").await;
    assert_eq!(
        messages(&frames).pop().unwrap(),
        json!({"type": "go_away", "timeLeftMs": 30_000, "reason": "shutdown"})
    );
    let frames = client.read_until("session_end").await;
    assert_eq!(messages(&frames).pop().unwrap()["reason"], "completed");
    assert_eq!(client.read_frame().await, Frame::Close(Some((1001, "The server is going away".to_owned()))));
    client.send_bytes(&close(1001, "")).await;
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn session_limit_ends_a_long_session() {
    let config = Config::default().with(|c| c.max_session = Duration::from_secs(100));
    let (service, mut client) = in_memory(config, tone(1e9)).await;
    let since = Instant::now();
    client.say(&start("For ever.", paced(200))).await;
    let mut received = Vec::new();
    loop {
        match client.read_frame().await {
            Frame::Ping(payload) => client.send_bytes(&support::frame(0x8a, &payload)).await,
            Frame::Text(value) => received.push((since.elapsed().as_secs_f64().round(), value)),
            Frame::Close(close) => {
                assert_eq!(close.map(|close| close.0), Some(1000));
                break;
            }
            _ => {}
        }
    }
    let (at, away) = received.iter().find(|(_, value)| value["type"] == "go_away").unwrap();
    assert_eq!(*at, 70.0);
    let left = away["timeLeftMs"].as_u64().unwrap();
    assert_eq!(away["reason"], "max_duration");
    assert!(left.abs_diff(30_000) <= 10, "{away}");
    let [.., (_, error), (at, end)] = &received[..] else { panic!("{received:?}") };
    assert_eq!(*at, 100.0);
    assert_eq!((&error["code"], &error["fatal"]), (&json!("session_expired"), &json!(true)));
    assert_eq!((&end["type"], &end["reason"]), (&json!("session_end"), &json!("expired")));
    assert_eq!(service.syntheses().count(), 0);
    // A client of the base protocol does not know this limit.
    let mut client = over_memory(&service, 1024, "").await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(300) {
        match client.read_frame().await {
            Frame::Ping(payload) => client.send_bytes(&support::frame(0x8a, &payload)).await,
            frame => assert_eq!(frame.kind(), "session_start"),
        }
    }
}

/// The operator's choice applies to all clients.
#[tokio::test(start_paused = true)]
async fn paced_delivery_for_clients_of_the_base_protocol() {
    let config = Config::default().with(|c| {
        c.paced = true;
        c.ahead = Duration::from_millis(300);
    });
    let service = Service::new(config, tone(2.0)).unwrap();
    let mut client = over_memory(&service, 64 * 1024, "").await;
    assert_eq!(client.read_frame().await.kind(), "session_start");
    client.say(r#"{"type":"start_session","prompt":"One. Two."}"#).await;
    let mut since = None;
    let mut heard = 0;
    let mut received = Vec::new();
    loop {
        match client.read_frame().await {
            Frame::Binary(audio) => {
                let elapsed = since.get_or_insert_with(Instant::now).elapsed().as_millis() as usize * MS;
                assert!(heard == 0 || heard >= elapsed);
                heard += audio.len();
                assert!(heard <= elapsed + 340 * MS);
            }
            frame => received.push(frame),
        }
        if received.last().is_some_and(|frame| frame.kind() == "session_end") {
            break;
        }
    }
    assert_eq!(heard, 64_000);
    let text = |data: &str, index: u32| json!({"type": "text", "data": data, "index": index});
    let end = |index: u32| json!({"type": "sentence_end", "index": index});
    assert_eq!(
        messages(&received),
        [text("One.", 0), end(0), text("Two.", 1), end(1), json!({"type": "session_end"})]
    );
    // A client that asks for a burst gets one.
    client.say(&start("One. Two.", json!({"delivery": {"mode": "burst"}}))).await;
    let since = Instant::now();
    client.read_until("session_end").await;
    assert_eq!(since.elapsed(), Duration::ZERO);
}
