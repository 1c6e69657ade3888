//! Recovery: connections that break, sessions that do not. Whatever happens to the connection, the
//! client gets the bytes of an undisturbed stream.

use crate::faults::{counted, is_held_back, pour};
use crate::support::{
    self, Asked, FORMAT, Frame, Random, Raw, Running, Scripted, audio, close, crc32, messages, session,
    spoken, start_with, text, v1, within,
};
use aloud::Config;
use aloud::tts::{Flite, Sink, Synthesizer, Tone, Utterance};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const END: &str = r#"{"type":"end"}"#;
const DRAIN: &str = r#"{"type":"end","drain":true}"#;

fn start(prompt: &str, options: &Value) -> String {
    let mut start = json!({"type": "start_session", "prompt": prompt, "resumable": true});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start.to_string()
}

fn paced(ahead_ms: u64) -> Value {
    json!({"delivery": {"mode": "paced", "aheadMs": ahead_ms}})
}

fn burst() -> Value {
    json!({})
}

fn recover(greeting: &Value, offset: usize) -> String {
    recover_with(greeting, offset, &json!({}))
}

fn recover_with(greeting: &Value, offset: usize, fields: &Value) -> String {
    let (id, token) = (&greeting["sessionId"], &greeting["token"]);
    let mut recover = json!({"type": "recover", "sessionId": id, "token": token, "offset": offset});
    recover.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    recover.to_string()
}

/// The `recovered` of a client that has so many bytes. One that has none gets `stream_start` first.
async fn recovered(client: &mut Raw, offset: usize) -> Value {
    if offset == 0 {
        let start = message(client).await;
        assert_eq!(start["type"], "stream_start", "{start}");
    }
    message(client).await
}

fn tone(seconds: f64) -> Arc<Tone> {
    Arc::new(Tone::new(FORMAT, seconds))
}

async fn message(client: &mut Raw) -> Value {
    match client.read_frame().await {
        Frame::Text(value) => value,
        frame => panic!("no message but {}", frame.kind()),
    }
}

/// Answers the server's Close and returns its code.
async fn closed(client: &mut Raw) -> u16 {
    let frame = client.read_frame().await;
    let Frame::Close(Some((code, _))) = frame else { panic!("no Close but {frame:?}") };
    client.send_bytes(&close(code, "")).await;
    assert_eq!(client.read_to_close().await, b"", "no bytes follow a Close");
    code
}

async fn next(asked: &mut Asked) -> (Utterance, Sink) {
    within(asked.recv()).await.unwrap()
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if is() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

/// The way in which a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Reset,
    /// The stream ends, without a Close.
    Fin,
    /// With the Close of a browser that leaves the page, which does not end the session.
    Away,
    /// Paused, then reset.
    Paused,
    /// Reset right after the end of a sentence.
    BetweenSentences,
    /// Not lost: another connection takes the session over.
    TakenOver,
}

const LOSSES: [Loss; 6] =
    [Loss::Reset, Loss::Fin, Loss::Away, Loss::Paused, Loss::BetweenSentences, Loss::TakenOver];

/// A client that keeps each byte of audio, even of half a frame.
struct Listener {
    stream: TcpStream,
    unread: Vec<u8>,
    audio: Vec<u8>,
    messages: Vec<Value>,
    greeting: Value,
}

impl Listener {
    async fn new(addr: SocketAddr, start: &str) -> Listener {
        let (client, greeting) = v1(addr).await;
        let (stream, unread) = client.into_parts();
        let mut listener = Listener { stream, unread, audio: Vec::new(), messages: Vec::new(), greeting };
        listener.say(start).await;
        listener
    }

    async fn say(&mut self, json: &str) {
        let _ = self.stream.write_all(&text(json)).await;
    }

    /// The next frame's opcode and the lengths of its header and payload.
    fn head(&self) -> Option<(u8, usize, usize)> {
        let unread = &self.unread;
        let (first, len) = (*unread.first()? & 0x0f, *unread.get(1)?);
        match len {
            126 => Some((first, 4, u16::from_be_bytes(unread.get(2..4)?.try_into().unwrap()).into())),
            127 => Some((
                first,
                10,
                u64::from_be_bytes(unread.get(2..10)?.try_into().unwrap()).try_into().unwrap(),
            )),
            len => Some((first, 2, len.into())),
        }
    }

    /// Takes whole frames out of the bytes read.
    fn take(&mut self) {
        while let Some((opcode, head, len)) = self.head() {
            if self.unread.len() < head + len {
                return;
            }
            let payload: Vec<u8> = self.unread.drain(..head + len).skip(head).collect();
            match opcode {
                1 => self.messages.push(serde_json::from_slice(&payload).unwrap()),
                2 => self.audio.extend(payload),
                _ => {}
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.messages.last().is_some_and(|message| message["type"] == "session_end")
    }

    /// Reads up to so many bytes; false at the end of the stream.
    async fn read(&mut self, most: usize) -> bool {
        let mut buffer = vec![0; most];
        let count = within(self.stream.read(&mut buffer)).await.unwrap();
        self.unread.extend(&buffer[..count]);
        self.take();
        count > 0
    }

    /// Reads until a message of this type.
    async fn hear(&mut self, kind: &str) -> Value {
        let mut from = 0;
        loop {
            if let Some(message) = self.messages[from..].iter().find(|message| message["type"] == kind) {
                return message.clone();
            }
            from = self.messages.len();
            assert!(self.read(4096).await, "closed before {kind}: {:?}", self.messages);
        }
    }

    /// Loses the connection, and recovers the session on another one.
    async fn disconnect(&mut self, loss: Loss, addr: SocketAddr, random: &mut Random, goes_back: usize) {
        match loss {
            Loss::Paused => {
                self.messages.clear();
                self.say(PAUSE).await;
                let paused = self.hear("paused").await;
                assert_eq!(paused["offset"], self.audio.len());
            }
            Loss::BetweenSentences => {
                self.messages.clear();
                // The rest may be the end of the stream alone, which comes in its own write.
                let is_behind =
                    |message: &Value| message["type"] == "sentence_end" || message["type"] == "session_end";
                while !self.messages.iter().any(is_behind) {
                    assert!(self.read(64).await);
                }
            }
            _ => {}
        }
        // The client may count half a frame or discard it.
        if random.below(2) == 0
            && let Some((2, head, _)) = self.head()
        {
            self.audio.extend(self.unread.iter().skip(head));
        }
        // Rarely, so that the stream makes progress.
        let goes_back = if random.below(8) == 0 { random.below(goes_back + 1) } else { 0 };
        // Of half a sample nothing is left.
        self.audio.truncate(self.audio.len().saturating_sub(goes_back) & !1);
        let (client, _) = match loss {
            Loss::TakenOver => v1(addr).await,
            _ => {
                match loss {
                    Loss::Fin => self.stream.shutdown().await.unwrap(),
                    Loss::Away => {
                        let _ = self.stream.write_all(&close(1001, "")).await;
                        if random.below(2) == 0 {
                            let mut rest = Vec::new();
                            let _ = within(self.stream.read_to_end(&mut rest)).await;
                        }
                    }
                    _ => self.stream.set_zero_linger().unwrap(),
                }
                // The server may or may not notice the loss first.
                if random.below(2) == 0 {
                    let (client, _) = v1(addr).await;
                    let (stream, unread) = client.into_parts();
                    (self.stream, self.unread) = (stream, unread);
                    sleep(Duration::from_millis(random.below(3) as u64)).await;
                    return self.reconnect(loss).await;
                }
                v1(addr).await
            }
        };
        let (stream, unread) = client.into_parts();
        let old = std::mem::replace(&mut self.stream, stream);
        self.unread = unread;
        self.reconnect(loss).await;
        drop(old);
    }

    async fn reconnect(&mut self, loss: Loss) {
        self.messages.clear();
        self.say(&recover(&self.greeting, self.audio.len())).await;
        let offset = self.audio.len();
        let recovered = self.hear("recovered").await;
        assert_eq!(
            (&recovered["recovered"], &recovered["offset"]),
            (&json!(true), &json!(offset)),
            "{loss:?}"
        );
        let first = if offset == 0 { "stream_start" } else { "recovered" };
        assert_eq!(self.messages[0]["type"], first, "{loss:?}: {:?}", self.messages);
        if loss == Loss::Paused {
            self.say(RESUME).await;
        }
    }
}

/// The audio of an undisturbed stream.
async fn undisturbed(engine: &dyn Synthesizer, sentences: &[&str]) -> Vec<u8> {
    let mut whole = Vec::new();
    for sentence in sentences {
        whole.extend(spoken(engine, Utterance::new(*sentence, engine.format())).await);
    }
    whole
}

const SENTENCES: [&str; 6] =
    ["Perhaps.", "Is that so?", "It costs $5.", "But why?", "Dr. Sato said so.", "Enough!"];

/// A client that loses its connection this many times. A stream that ends earlier is followed by
/// another one.
async fn disturbed(
    addr: SocketAddr,
    seed: u64,
    losses: usize,
    options: Value,
    whole: Arc<Vec<u8>>,
    goes_back: usize,
) -> usize {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let prompt = SENTENCES.join(" ");
    let mut lost = 0;
    while lost < losses {
        let mut listener = Listener::new(addr, &start(&prompt, &options)).await;
        let mut ends = Vec::new();
        while !listener.has_ended() {
            // Sometimes at once, mostly after a while.
            let bytes = random.below(whole.len() / if options == burst() { 6 } else { 40 });
            let from = listener.audio.len();
            while listener.audio.len() < from + bytes && !listener.has_ended() {
                assert!(listener.read(1 + random.below(4096)).await, "{:?}", listener.messages);
            }
            ends.extend(
                listener.messages.iter().filter(|message| message["type"] == "sentence_end").cloned(),
            );
            assert!(whole.starts_with(&listener.audio), "seed {seed}: after {} bytes", listener.audio.len());
            if lost >= losses && !listener.has_ended() {
                continue;
            }
            if listener.has_ended() {
                break;
            }
            let mut loss = LOSSES[random.below(LOSSES.len())];
            // A paced stream takes time.
            let waits = options != burst() && random.below(4) > 0;
            if loss == Loss::BetweenSentences && waits {
                loss = Loss::Reset;
            }
            listener.disconnect(loss, addr, &mut random, goes_back).await;
            lost += 1;
        }
        assert!(listener.audio == *whole, "seed {seed}: {} of {} bytes", listener.audio.len(), whole.len());
        for end in ends {
            let bytes = end["bytes"].as_u64().unwrap() as usize;
            let offset = end["offset"].as_u64().unwrap() as usize;
            assert_eq!(end["crc32"], format!("{:08x}", crc32(&whole[offset - bytes..offset])));
        }
        // Without the message that ended the stream.
        listener.messages.clear();
        listener.say(END).await;
        listener.hear("session_end").await;
        let _ = listener.stream.write_all(&close(1000, "")).await;
    }
    lost
}

async fn disturbed_at_random(engine: Arc<dyn Synthesizer>, config: Config, losses: usize, goes_back: usize) {
    let whole = Arc::new(undisturbed(engine.as_ref(), &SENTENCES).await);
    let server = start_with(config, engine).await;
    let mut listeners = JoinSet::new();
    // Paced clients have a small look-ahead, so that each loss happens in mid-stream.
    for (n, options) in [burst(), paced(60), paced(400), burst(), paced(2_000)].into_iter().enumerate() {
        let seed = (losses * 31 + goes_back + n) as u64;
        listeners.spawn(disturbed(server.addr, seed, losses / 5, options, whole.clone(), goes_back));
    }
    let mut lost = 0;
    while let Some(count) = listeners.join_next().await {
        lost += count.unwrap();
    }
    assert!(lost >= losses, "{lost}");
    until("all gone", || {
        let service = &server.service;
        service.sessions().count() + service.syntheses().count() + service.frozen().count() == 0
    })
    .await;
    assert_eq!(server.service.frozen_bytes(), 0);
}

#[tokio::test]
async fn recover_400_times_gives_the_whole_tone() {
    disturbed_at_random(tone(0.4), Config::default(), 400, 0).await;
}

#[tokio::test]
async fn recover_300_times_gives_the_whole_speech() {
    disturbed_at_random(Arc::new(Flite::new()), Config::default(), 300, 0).await;
}

/// The log is so short that the server has to replay sentences.
#[tokio::test]
async fn recover_150_times_before_the_log_gives_the_whole_tone() {
    disturbed_at_random(tone(0.4), Config::default().with(|c| c.resume_bytes = 1_000), 150, 20_000).await;
}

#[tokio::test]
async fn recover_150_times_before_the_log_gives_the_whole_speech() {
    let config = Config::default().with(|c| c.resume_bytes = 1_000);
    disturbed_at_random(Arc::new(Flite::new()), config, 150, 30_000).await;
}

/// Each offset, in the log and before it.
#[tokio::test]
async fn recover_accepts_any_offset() {
    for resume_bytes in [1, 2_000, 1 << 20] {
        let engine = Arc::new(Flite::new());
        let whole = undisturbed(engine.as_ref(), &SENTENCES).await;
        let server = start_with(Config::default().with(|c| c.resume_bytes = resume_bytes), engine).await;
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start(&SENTENCES.join(" "), &burst())).await;
        assert!(audio(&client.read_until("session_end").await) == whole);
        let mut random = Random(resume_bytes | 1);
        for round in 0..40 {
            let offset = match round {
                0 => 0,
                1 => whole.len(),
                2 => whole.len() - 2,
                3 => 2,
                _ => random.below(whole.len() + 1) & !1,
            };
            if round % 2 == 0 {
                client.reset();
            } else {
                drop(client);
            }
            client = v1(server.addr).await.0;
            client.say(&recover(&greeting, offset)).await;
            let recovered = recovered(&mut client, offset).await;
            assert_eq!((&recovered["recovered"], &recovered["offset"]), (&json!(true), &json!(offset)));
            let frames = client.read_until("session_end").await;
            assert!(audio(&frames) == whole[offset..], "{offset} of {} with {resume_bytes}", whole.len());
            let messages = messages(&frames);
            assert_eq!(messages.iter().filter(|message| message["type"] == "recovered").count(), 0);
            assert_eq!(
                messages.iter().filter(|message| message["type"] == "error").count(),
                0,
                "{messages:?}"
            );
        }
    }
}

/// The connection breaks repeatedly during a replay.
#[tokio::test]
async fn recover_during_a_replay_announces_each_sentence_once() {
    let engine = Arc::new(Flite::new());
    let whole = undisturbed(engine.as_ref(), &SENTENCES).await;
    let server = start_with(Config::default().with(|c| c.resume_bytes = 1), engine).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start(&SENTENCES.join(" "), &burst())).await;
    client.read_until("session_end").await;
    let mut random = Random(77);
    for round in 0..60 {
        drop(client);
        let mut offset = random.below(whole.len()) & !1;
        for _ in 0..random.below(4) {
            let mut gone = v1(server.addr).await.0;
            gone.say(&recover(&greeting, offset)).await;
            if random.below(2) == 0 {
                sleep(Duration::from_millis(random.below(4) as u64)).await;
            }
            if random.below(2) == 0 {
                gone.reset();
            }
            if random.below(2) == 0 {
                offset -= random.below(offset.min(3_000)) & !1;
            }
        }
        client = v1(server.addr).await.0;
        client.say(&recover(&greeting, offset)).await;
        let mut frames = client.read_until("session_end").await;
        if offset == 0 {
            assert_eq!(frames.remove(0).kind(), "stream_start");
        }
        let Frame::Text(first) = frames.remove(0) else { panic!("a message") };
        assert_eq!(
            (&first["type"], &first["recovered"], &first["offset"]),
            (&json!("recovered"), &json!(true), &json!(offset)),
            "round {round}"
        );
        assert!(audio(&frames) == whole[offset..], "round {round}: {offset}");
        assert_eq!(
            messages(&frames).iter().filter(|message| message["type"] == "recovered").count(),
            0,
            "round {round}"
        );
    }
}

async fn refused(client: &mut Raw, code: &str, close_code: u16) {
    let answer = message(client).await;
    assert_eq!(answer, json!({"type": "recovered", "recovered": false, "code": code}));
    let error = message(client).await;
    assert_eq!(
        (&error["type"], &error["code"], &error["fatal"]),
        (&json!("error"), &json!(code), &json!(true))
    );
    assert_eq!(closed(client).await, close_code);
}

/// Starts a session and loses it after its first audio. Returns the greeting and the bytes received.
async fn lost(server: &Running, options: &Value) -> (Value, usize) {
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start(&SENTENCES.join(" "), options)).await;
    let heard = audio(&client.read_until("binary").await).len();
    let before = server.service.frozen().count();
    client.reset();
    until("frozen", || server.service.frozen().count() == before + 1).await;
    (greeting, heard)
}

#[tokio::test]
async fn recover_without_the_secret_is_refused() {
    let server = start_with(Config::default(), tone(1.0)).await;
    let (greeting, heard) = lost(&server, &burst()).await;
    let (other, _) = lost(&server, &burst()).await;
    let token = greeting["token"].as_str().unwrap();
    let changed: String = [if token.starts_with('A') { "B" } else { "A" }, &token[1..]].concat();
    let with = |field: &str, value: &str| {
        let mut changed = greeting.clone();
        changed[field] = value.into();
        changed
    };
    let guesses = [
        with("token", &changed),
        with("token", ""),
        with("token", &token[..token.len() - 1]),
        with("token", &format!("{token}x")),
        with("token", other["token"].as_str().unwrap()),
        with("token", greeting["sessionId"].as_str().unwrap()),
        with("sessionId", "00000000-0000-4000-8000-000000000000"),
        with("sessionId", ""),
        with("sessionId", &greeting["sessionId"].as_str().unwrap().to_uppercase()),
    ];
    for guess in guesses {
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&guess, heard)).await;
        refused(&mut client, "session_not_found", 4404).await;
    }
    assert_eq!(server.service.frozen().count(), 2, "and does no harm");
    // A client without the subprotocol is refused too.
    let mut client = session(server.addr).await;
    client.say(&recover(&greeting, heard)).await;
    assert_eq!(message(&mut client).await["type"], "error");
    let mut client = v1(server.addr).await.0;
    client.say(&recover(&greeting, heard)).await;
    assert_eq!(message(&mut client).await["recovered"], true);
    // `recover` has to be the first message.
    client.say(&recover(&other, heard)).await;
    let frames = client.read_until("error").await;
    assert_eq!(messages(&frames).pop().unwrap()["code"], "bad_message");
}

#[tokio::test]
async fn recover_at_an_offset_never_sent_is_refused() {
    for options in [burst(), paced(100)] {
        let server = start_with(Config::default(), tone(1.0)).await;
        let (greeting, _) = lost(&server, &options).await;
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, 6 * 16_000 + 2)).await;
        refused(&mut client, "position_lost", 4411).await;
    }
    // An engine that is not deterministic cannot replay audio before the log.
    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default().with(|c| c.resume_bytes = 1_000), engine).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start("One.", &burst())).await;
    let (_, mut sink) = next(&mut asked).await;
    sink.write(&[1; 8_000]).await.unwrap();
    let mut heard = 0;
    while heard < 16_000 {
        heard += audio(&client.read_until("binary").await).len();
    }
    // What the client has not confirmed is kept in any case.
    client.say(r#"{"type":"ack","playedMs":1000}"#).await;
    client.before_pong().await;
    sink.finish().await;
    client.read_until("session_end").await;
    client.reset();
    let mut client = v1(server.addr).await.0;
    client.say(&recover(&greeting, 10)).await;
    refused(&mut client, "position_lost", 4411).await;
}

#[tokio::test]
async fn resume_window_expires() {
    let config = Config::default().with(|c| c.resume_ttl = Duration::from_millis(200));
    let server = start_with(config, tone(1.0)).await;
    let (greeting, heard) = lost(&server, &paced(500)).await;
    assert!(server.service.frozen_bytes() > 0 && server.service.syntheses().count() > 0);
    assert_eq!(server.service.wasted(), Duration::ZERO);
    until("expired", || server.service.frozen().count() == 0).await;
    assert_eq!(server.service.frozen_bytes(), 0);
    server.is_quiet().await;
    let wasted = server.service.wasted();
    assert!(wasted > Duration::ZERO && wasted <= Duration::from_millis(500 + 40 + 1_000), "{wasted:?}");
    let mut client = v1(server.addr).await.0;
    client.say(&recover(&greeting, heard)).await;
    refused(&mut client, "session_not_found", 4410).await;
    // A client that recovers in time restarts the window.
    let (greeting, heard) = lost(&server, &paced(500)).await;
    for _ in 0..4 {
        sleep(Duration::from_millis(120)).await;
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, heard)).await;
        assert_eq!(message(&mut client).await["recovered"], true);
        client.reset();
        until("frozen", || server.service.frozen().count() == 1).await;
    }
}

#[tokio::test]
async fn recover_takes_over_from_a_live_connection() {
    for is_paused in [false, true] {
        for options in [burst(), paced(200)] {
            let engine = tone(0.5);
            let whole = undisturbed(engine.as_ref(), &SENTENCES).await;
            let server = start_with(Config::default(), engine).await;
            let (mut first, greeting) = v1(server.addr).await;
            first.say(&start(&SENTENCES.join(" "), &options)).await;
            let mut heard = audio(&first.read_until("binary").await);
            if is_paused {
                first.say(PAUSE).await;
                heard.extend(audio(&first.read_until("paused").await));
            }
            let mut second = v1(server.addr).await.0;
            second.say(&recover(&greeting, heard.len())).await;
            let recovered = message(&mut second).await;
            assert_eq!(
                recovered,
                json!({"type": "recovered", "recovered": true, "stream": 1, "rev": 0, "offset": heard.len(),
                    "index": recovered["index"], "paused": is_paused, "textOffset": SENTENCES.join(" ").len(),
                    "exact": true})
            );
            let mut frames = first.read_until("error").await;
            let Frame::Text(error) = frames.pop().unwrap() else { panic!("a message") };
            assert_eq!((&error["code"], &error["fatal"]), (&json!("session_taken"), &json!(true)));
            assert_eq!(closed(&mut first).await, 4409);
            if is_paused {
                assert_eq!(second.before_pong().await, [], "it is still paused");
                second.say(RESUME).await;
            }
            let frames = second.read_until("session_end").await;
            heard.extend(audio(&frames));
            assert!(heard == whole, "{options} {is_paused}");
            drop((first, second));
            until("frozen", || server.service.frozen().count() == 1).await;
        }
    }
}

#[tokio::test]
async fn recover_takes_over_repeatedly() {
    let engine = tone(20.0);
    let whole = undisturbed(engine.as_ref(), &["One.", "Two."]).await;
    let server = start_with(Config::default(), engine).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start("One. Two.", &paced(2_000))).await;
    let mut heard = audio(&client.read_until("binary").await);
    let mut old = Vec::new();
    for round in 0..200 {
        let mut second = v1(server.addr).await.0;
        second.say(&recover(&greeting, heard.len())).await;
        assert_eq!(message(&mut second).await["recovered"], true, "round {round}");
        if round % 3 > 0 {
            heard.extend(audio(&second.read_until("binary").await));
        }
        old.push(std::mem::replace(&mut client, second));
        assert!(whole.starts_with(&heard));
    }
    for mut client in old {
        client.read_until("error").await;
        assert_eq!(closed(&mut client).await, 4409);
    }
    assert_eq!((server.service.frozen().count(), server.service.syntheses().count()), (0, 1));
    client.say(END).await;
    client.read_until("session_end").await;
    assert_eq!(closed(&mut client).await, 1000);
    server.is_quiet().await;
    assert_eq!(server.service.frozen().count(), 0);
}

/// Several clients recover the same session at once: the last one keeps it, and none gets a wrong byte.
#[tokio::test]
async fn recover_by_many_at_once_serves_the_last() {
    let engine = tone(3.0);
    let whole = Arc::new(undisturbed(engine.as_ref(), &["One.", "Two."]).await);
    let server = start_with(Config::default(), engine).await;
    for _ in 0..10 {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One. Two.", &burst())).await;
        client.read_until("binary").await;
        let mut all = JoinSet::new();
        for n in 0..8 {
            let (addr, greeting, whole) = (server.addr, greeting.clone(), whole.clone());
            all.spawn(async move {
                let mut client = v1(addr).await.0;
                let offset = n * 22;
                client.say(&recover(&greeting, offset)).await;
                let answer = recovered(&mut client, offset).await;
                assert_eq!(answer["recovered"], true, "{answer}");
                let mut heard = Vec::new();
                loop {
                    let frame = client.read_frame().await;
                    match &frame {
                        Frame::Binary(audio) => heard.extend(audio),
                        Frame::Close(Some((4409, _))) => break false,
                        _ if frame.kind() == "session_end" => break true,
                        _ => {}
                    }
                    assert!(whole[offset..].starts_with(&heard));
                }
            });
        }
        let mut has_ended = false;
        while let Some(ended) = all.join_next().await {
            has_ended |= ended.unwrap();
        }
        assert!(has_ended, "one client hears the stream to its end");
    }
}

#[tokio::test]
async fn session_that_is_not_resumable_stops_at_once() {
    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default(), engine).await;
    for ends in 0..4 {
        let (mut client, greeting) = v1(server.addr).await;
        let resumable = ends >= 2;
        client.say(&start("One. Two.", &json!({"resumable": resumable}))).await;
        let (_, mut one) = next(&mut asked).await;
        let (_, two) = next(&mut asked).await;
        one.write(&[1; 3_200]).await.unwrap();
        client.read_until("binary").await;
        match ends {
            0 => client.reset(),
            1 => drop(client),
            // A normal Close ends a resumable session too.
            2 => {
                client.send_bytes(&close(1000, "bye")).await;
                client.read_until("close").await;
            }
            _ => {
                client.say(END).await;
                client.read_until("session_end").await;
                assert_eq!(closed(&mut client).await, 1000);
            }
        }
        within(one.cancelled()).await;
        within(two.cancelled()).await;
        drop((one, two));
        server.is_quiet().await;
        assert_eq!((server.service.frozen().count(), server.service.frozen_bytes()), (0, 0));
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, 0)).await;
        refused(&mut client, "session_not_found", 4404).await;
    }
}

#[tokio::test]
async fn suspended_session_holds_its_engine_back_and_is_counted() {
    for options in [burst(), paced(300)] {
        let (engine, mut asked) = Scripted::new();
        let server = start_with(Config::default(), engine).await;
        let service = &server.service;
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One.", &options)).await;
        let (_, mut sink) = next(&mut asked).await;
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = made.clone();
        let (is_lost, mut lost) = tokio::sync::watch::channel(false);
        let engine = tokio::spawn(async move {
            let mut value = 0i16;
            loop {
                // Far less than the kernel buffers for a client that does not read.
                if value == 32_000 {
                    lost.wait_for(|lost| *lost).await.unwrap();
                }
                let samples: Vec<i16> = (0..320).map(|n| value.wrapping_add(n)).collect();
                value = value.wrapping_add(320);
                if sink.write(&samples).await.is_err() {
                    return;
                }
                count.fetch_add(640, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let mut heard = audio(&client.read_until("binary").await);
        client.reset();
        until("frozen", || service.frozen().count() == 1).await;
        assert!(service.frozen_bytes() > 0);
        assert_eq!((service.sessions().count(), service.syntheses().count()), (0, 1));
        is_lost.send_replace(true);
        let mut before = usize::MAX;
        while before != made.load(std::sync::atomic::Ordering::Relaxed) {
            before = made.load(std::sync::atomic::Ordering::Relaxed);
            sleep(Duration::from_millis(50)).await;
        }
        assert!(before <= 2 << 20, "{before} bytes were synthesised without a client");
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, heard.len())).await;
        assert_eq!(message(&mut client).await["recovered"], true);
        assert_eq!((service.frozen().count(), service.frozen_bytes(), service.sessions().count()), (0, 0, 1));
        while heard.len() < 20_000 {
            heard.extend(audio(&[client.read_frame().await]));
        }
        let counts: Vec<u8> = (0..heard.len() as i16 / 2).flat_map(i16::to_le_bytes).collect();
        assert!(heard[..counts.len()] == counts);
        client.say(END).await;
        client.read_until("close").await;
        within(engine).await.unwrap();
        drop(client);
        server.is_quiet().await;
    }
}

#[tokio::test]
async fn silence_timeout_keeps_the_session() {
    let engine = tone(1.0);
    let whole = undisturbed(engine.as_ref(), &SENTENCES).await;
    let config = Config::default().with(|c| c.silence_timeout = Duration::from_millis(300));
    let server = start_with(config, engine).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start(&SENTENCES.join(" "), &paced(100))).await;
    let frames = client.read_until("close").await;
    assert_eq!(messages(&frames).pop().unwrap()["code"], "idle_timeout");
    let mut heard = audio(&frames);
    drop(client);
    client = v1(server.addr).await.0;
    client.say(&recover(&greeting, heard.len())).await;
    assert_eq!(message(&mut client).await["recovered"], true);
    while heard.len() < whole.len() {
        client.send_bytes(&support::frame(0x8a, b"")).await;
        heard.extend(audio(&[client.read_frame().await]));
    }
    assert!(heard == whole);
}

#[tokio::test]
async fn suspended_sessions_over_the_limit_drop_the_oldest() {
    let config = Config::default().with(|c| c.max_frozen_sessions = 3);
    let server = start_with(config, tone(1.0)).await;
    let mut all = Vec::new();
    for n in 0..6 {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One. Two.", &burst())).await;
        client.read_until("binary").await;
        client.reset();
        until("gone", || server.service.sessions().count() == 0).await;
        assert_eq!(server.service.frozen().count(), (n + 1).min(3));
        all.push(greeting);
    }
    for (n, greeting) in all.iter().enumerate() {
        let mut client = v1(server.addr).await.0;
        client.say(&recover(greeting, 0)).await;
        match n {
            0..3 => refused(&mut client, "session_not_found", 4410).await,
            _ => {
                assert_eq!(recovered(&mut client, 0).await["recovered"], true);
                client.say(END).await;
                client.read_until("close").await;
            }
        }
    }
    assert_eq!(server.service.frozen_bytes(), 0);

    // In bytes: each session keeps 32,000 bytes of audio and its messages.
    let config = Config::default().with(|c| c.max_frozen_bytes = 150_000);
    let server = start_with(config, tone(1.0)).await;
    for _ in 0..10 {
        let (mut client, _) = v1(server.addr).await;
        client.say(&start("One. Two.", &burst())).await;
        client.read_until("session_end").await;
        client.reset();
        until("gone", || server.service.sessions().count() == 0).await;
        assert!(server.service.frozen_bytes() <= 150_000);
    }
    let (frozen, bytes) = (server.service.frozen().count(), server.service.frozen_bytes());
    assert!((2..=4).contains(&frozen) && bytes >= frozen * 32_000, "{frozen}: {bytes} bytes");
}

#[tokio::test]
async fn recover_repeats_a_finished_stream() {
    let engine = tone(0.5);
    let whole = undisturbed(engine.as_ref(), &["One.", "Two."]).await;
    let server = start_with(Config::default(), engine).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start("One. Two.", &burst())).await;
    let first = client.read_until("session_end").await;
    drop(client);
    let mut client = v1(server.addr).await.0;
    client.say(&recover(&greeting, 9_000)).await;
    let recovered = message(&mut client).await;
    assert_eq!((&recovered["recovered"], &recovered["index"]), (&json!(true), &json!(1)));
    let frames = client.read_until("session_end").await;
    assert!(audio(&frames) == whole[9_000..]);
    let reason = |frames: &[Frame]| messages(frames).pop().unwrap()["reason"].clone();
    assert_eq!(reason(&frames), reason(&first));
    // The session continues with another stream.
    client.say(&start("Three.", &burst())).await;
    let frames = client.read_until("session_end").await;
    assert!(audio(&frames) == whole[..8_000]);
    assert_eq!(messages(&frames)[1]["index"], 0);
    drop(client);
    let mut client = v1(server.addr).await.0;
    client.say(&recover_with(&greeting, 8_000, &json!({"stream": 2}))).await;
    assert_eq!(message(&mut client).await["recovered"], true);
}

/// The network breaks after the server sent everything, including the end and the Close.
#[tokio::test]
async fn recover_delivers_the_last_messages_of_a_session() {
    let engine = tone(0.5);
    let whole = undisturbed(engine.as_ref(), &["One.", "Two."]).await;
    for loss in ["silence", "reset", "fin"] {
        for offset in [9_000, whole.len()] {
            let server = start_with(Config::default(), engine.clone()).await;
            let (mut first, greeting) = v1(server.addr).await;
            first.say(&start("One. Two.", &paced(2_000))).await;
            first.say(DRAIN).await;
            let frames = first.read_until("close").await;
            assert!(audio(&frames) == whole);
            // The client does not answer the Close.
            let frozen = || server.service.frozen().count();
            let mut silent = Vec::new();
            match loss {
                "silence" => silent.push(first),
                "reset" => first.reset(),
                _ => drop(first),
            }
            if silent.is_empty() {
                until("frozen", || frozen() == 1).await;
            }
            let mut second = v1(server.addr).await.0;
            second.say(&recover(&greeting, offset)).await;
            assert_eq!(message(&mut second).await["recovered"], true, "{loss}");
            let again = second.read_until("session_end").await;
            assert!(audio(&again) == whole[offset..], "{loss}");
            assert_eq!(messages(&again).pop().unwrap()["reason"], "ended");
            assert_eq!(closed(&mut second).await, 1000);
            drop(silent);
            server.is_quiet().await;
            assert_eq!(frozen(), 0, "a session with an answered Close is over");
        }
    }
}

/// A session closed for another reason is over, even before its client answers.
#[tokio::test]
async fn recover_of_a_closed_session_is_refused() {
    let server = start_with(Config::default(), tone(20.0)).await;
    let (mut first, greeting) = v1(server.addr).await;
    first.say(&start("One.", &paced(100))).await;
    first.read_until("binary").await;
    for _ in 0..100 {
        first.say("no message").await;
    }
    let frames = first.read_until("close").await;
    assert!(matches!(frames.last(), Some(Frame::Close(Some((4400, _))))), "{frames:?}");
    let mut second = v1(server.addr).await.0;
    second.say(&recover(&greeting, 0)).await;
    refused(&mut second, "session_not_found", 4404).await;
    drop((first, second));
    server.is_quiet().await;
    assert_eq!(server.service.frozen().count(), 0);
}

/// As a process that sends a Close and exits with unread audio.
#[tokio::test]
async fn close_ends_the_session_despite_a_reset_after_it() {
    let server = start_with(Config::default(), tone(20.0)).await;
    for n in 0..200 {
        let mut client = v1(server.addr).await.0;
        client.say(&start("One.", &paced(20 + n % 40))).await;
        client.read_until("binary").await;
        client.send_bytes(&close(1000, "bye")).await;
        client.reset();
        server.is_quiet().await;
        assert_eq!(server.service.frozen().count(), 0, "after {n}");
    }
}

#[tokio::test]
async fn appended_text_survives_recovery() {
    let engine = tone(0.5);
    let server = start_with(Config::default(), engine).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&json!({"type": "start_session", "source": "append", "resumable": true}).to_string()).await;
    client.say(r#"{"type":"append","text":"One. Two. And a re"}"#).await;
    let mut heard = audio(&client.read_until("sentence_end").await).len();
    client.reset();
    let mut client = v1(server.addr).await.0;
    client.say(&recover(&greeting, heard)).await;
    client.say(r#"{"type":"append","text":"st. Four."}"#).await;
    client.say(DRAIN).await;
    let frames = client.read_until("session_end").await;
    heard += audio(&frames).len();
    assert_eq!(heard, 4 * 8_000);
    let texts: Vec<_> =
        messages(&frames).into_iter().filter(|m| m["type"] == "text").map(|m| m["data"].clone()).collect();
    assert!(texts.ends_with(&["And a rest.".into(), "Four.".into()]), "{texts:?}");
    assert_eq!(closed(&mut client).await, 1000);
    drop(client);
    server.is_quiet().await;
    assert_eq!(server.service.frozen().count(), 0, "the session was ended");
}

async fn freeze_and_recover(sessions: usize, options: &Value, server: &Running) {
    let mut all = Vec::new();
    for _ in 0..sessions {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One. Two.", options)).await;
        all.push((audio(&client.read_until("binary").await).len(), greeting));
        client.reset();
    }
    let service = &server.service;
    until("frozen", || service.frozen().count() == sessions).await;
    assert!(service.frozen_bytes() > sessions * 640);
    let mut clients = Vec::new();
    for (heard, greeting) in all {
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, heard)).await;
        assert_eq!(message(&mut client).await["recovered"], true);
        client.say(END).await;
        clients.push(client);
        if clients.len() == 100 {
            for mut client in clients.drain(..) {
                client.read_until("close").await;
            }
        }
    }
    for mut client in clients {
        client.read_until("close").await;
    }
    server.is_quiet().await;
    assert_eq!((service.frozen().count(), service.frozen_bytes()), (0, 0));
}

#[tokio::test]
async fn recovery_500_times_leaves_nothing() {
    let server = start_with(Config::default(), tone(5.0)).await;
    freeze_and_recover(250, &paced(1_000), &server).await;
    freeze_and_recover(250, &burst(), &server).await;
    // Sessions that were never recovered leave nothing either.
    let config = Config::default().with(|c| c.resume_ttl = Duration::from_millis(50));
    let server = start_with(config, tone(5.0)).await;
    for _ in 0..100 {
        let (mut client, _) = v1(server.addr).await;
        client.say(&start("One. Two.", &paced(1_000))).await;
        client.read_until("binary").await;
        client.reset();
    }
    until("expired", || server.service.frozen().count() + server.service.sessions().count() == 0).await;
    assert_eq!((server.service.frozen_bytes(), server.service.syntheses().count()), (0, 0));
}

/// The second stream never got to its client, which has the count of the first.
#[tokio::test]
async fn recover_of_an_earlier_stream_is_never_given_a_later_one() {
    let engine = tone(0.5);
    let server = start_with(Config::default(), engine).await;
    for (options, fields, is_right) in [
        (burst(), json!({"stream": 1}), false),
        (paced(100), json!({"stream": 1}), false),
        (burst(), json!({}), false),
        (burst(), json!({"stream": 2}), true),
    ] {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One.", &options)).await;
        let heard = audio(&client.read_until("session_end").await).len();
        client.say(&start("Two. Three.", &options)).await;
        client.read_until("binary").await;
        client.reset();
        let offset = heard / 2;
        let mut client = v1(server.addr).await.0;
        client.say(&recover_with(&greeting, offset, &fields)).await;
        if is_right {
            assert_eq!(recovered(&mut client, offset).await["stream"], 2);
            continue;
        }
        refused(&mut client, "position_lost", 4411).await;
        // The session still waits.
        let mut client = v1(server.addr).await.0;
        client.say(&recover_with(&greeting, 0, &json!({"stream": 2}))).await;
        let start = message(&mut client).await;
        assert_eq!(
            (&start["type"], &start["stream"], &start["rev"]),
            (&json!("stream_start"), &json!(2), &json!(0))
        );
        assert_eq!(message(&mut client).await["recovered"], true);
        assert_eq!(audio(&client.read_until("session_end").await).len(), 2 * heard);
    }
}

#[tokio::test]
async fn recover_of_a_stream_that_was_never_announced_tells_its_format() {
    let engine = tone(0.5);
    let whole = undisturbed(engine.as_ref(), &["One.", "Two."]).await;
    let server = start_with(Config::default(), engine).await;
    for n in 0..20 {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One. Two.", &paced(20 + n))).await;
        until("started", || server.service.syntheses().count() > 0 || server.service.frozen().count() > 0)
            .await;
        client.reset();
        until("frozen", || server.service.frozen().count() == 1).await;
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, 0)).await;
        let start = message(&mut client).await;
        assert_eq!(start["type"], "stream_start");
        assert_eq!(start["audio"]["sampleRate"], FORMAT.sample_rate_hz);
        assert_eq!(message(&mut client).await["recovered"], true);
        assert!(audio(&client.read_until("session_end").await) == whole);
        client.say(END).await;
        client.read_until("close").await;
        drop(client);
        server.is_quiet().await;
    }
}

#[tokio::test]
async fn recover_within_a_sample_is_refused_and_may_be_sent_again() {
    let engine = tone(0.5);
    let whole = undisturbed(engine.as_ref(), &["One."]).await;
    let server = start_with(Config::default(), engine).await;
    for is_live in [false, true] {
        let (mut first, greeting) = v1(server.addr).await;
        first.say(&start("One.", &paced(60_000))).await;
        first.read_until("session_end").await;
        let mut first = Some(first);
        if !is_live {
            first.take().unwrap().reset();
            until("frozen", || server.service.frozen().count() == 1).await;
        }
        let mut second = v1(server.addr).await.0;
        for offset in [1, 101, 7_999] {
            second.say(&recover(&greeting, offset)).await;
            let error = message(&mut second).await;
            assert_eq!((&error["code"], &error["fatal"]), (&json!("bad_message"), &json!(false)), "{error}");
        }
        if let Some(first) = &mut first {
            assert_eq!(first.before_pong().await, [], "its connection goes on");
        }
        second.say(&recover(&greeting, 100)).await;
        assert_eq!(message(&mut second).await["recovered"], true);
        assert!(audio(&second.read_until("session_end").await) == whole[100..]);
        second.say(END).await;
        second.read_until("close").await;
        drop(second);
        until("all gone", || server.service.frozen().count() == 0).await;
    }
}

/// The client asks to end the session while the last words are in the kernel, and is lost.
#[tokio::test]
async fn end_with_drain_behind_the_last_word_keeps_it() {
    let engine = tone(0.5);
    let whole = undisturbed(engine.as_ref(), &["One.", "Two."]).await;
    let server = start_with(Config::default(), engine).await;
    for offset in [2_000, 9_000, whole.len()] {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One. Two.", &burst())).await;
        client.read_until("session_end").await;
        client.say(DRAIN).await;
        assert_eq!(message(&mut client).await, json!({"type": "session_end"}), "no stream is running");
        client.reset();
        until("frozen", || server.service.frozen().count() == 1).await;
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, offset)).await;
        assert_eq!(message(&mut client).await["recovered"], true);
        let frames = client.read_until("session_end").await;
        assert!(audio(&frames) == whole[offset..]);
        assert_eq!(closed(&mut client).await, 1000);
        drop(client);
        server.is_quiet().await;
        assert_eq!(server.service.frozen().count(), 0);
    }
}

/// The engine never gives these bytes again. What the server has sent and the client has not read is more than the
/// client has read, and is kept.
#[tokio::test]
async fn recover_behind_a_slow_line_is_exact_with_an_engine_that_never_repeats_itself() {
    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default(), engine).await;
    for (options, wanted, whole) in [
        (burst(), 0, 3 << 19),
        (burst(), 40_000, 3 << 19),
        (burst(), 900_002, 3 << 19),
        (paced(60_000), 40_000, 1 << 18),
    ] {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(&start("One.", &options)).await;
        let (poured, _engine) = pour(next(&mut asked).await.1, whole);
        let mut heard = Vec::new();
        while heard.len() < wanted {
            if let Frame::Binary(audio) = client.read_frame().await {
                heard.extend(audio);
            }
        }
        // The line is slow: nothing more of what the server can send is read.
        let before = is_held_back(&poured).await;
        client.reset();
        until("frozen", || server.service.frozen().count() == 1).await;
        for _ in 0..2 {
            let mut client = v1(server.addr).await.0;
            client.say(&recover(&greeting, heard.len())).await;
            let first = message(&mut client).await;
            let kind = if heard.is_empty() { "stream_start" } else { "recovered" };
            assert!(first["type"] == kind || first[kind] == true, "{options} {}: {first}", heard.len());
            if let Frame::Binary(audio) = client.read_until("binary").await.pop().unwrap() {
                heard.extend(audio);
            }
            is_held_back(&poured).await;
            client.reset();
            until("frozen", || server.service.frozen().count() == 1).await;
        }
        let mut client = v1(server.addr).await.0;
        client.say(&recover(&greeting, heard.len())).await;
        heard.extend(audio(&client.read_until("sentence_end").await));
        assert!(heard.len() >= whole && before > 0, "{options}");
        let expected = counted().iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
        assert!(heard.iter().zip(expected.iter().cycle()).all(|(heard, sent)| heard == sent), "{options}");
        assert!(asked.try_recv().is_err(), "the engine is asked once");
        client.say(END).await;
        client.read_until("session_end").await;
    }
}

/// An engine that is busy for some sentences.
struct Busy {
    tone: Arc<Tone>,
    free: std::sync::atomic::AtomicUsize,
}

impl Synthesizer for Busy {
    fn speak(&self, utterance: Utterance) -> aloud::tts::Speech {
        let is_free = |free: usize| free.checked_sub(1);
        let order = std::sync::atomic::Ordering::Relaxed;
        if self.free.fetch_update(order, order, is_free).is_ok() {
            return self.tone.speak(utterance);
        }
        aloud::tts::Speech::failed(aloud::tts::SynthesisError::overloaded("The engine has no capacity left."))
    }

    fn name(&self) -> &str {
        "busy"
    }

    fn format(&self) -> aloud::audio::Format {
        self.tone.format()
    }

    fn is_deterministic(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn overloaded_engine_suspends_the_session() {
    let engine = Arc::new(Busy { tone: tone(0.5), free: 2.into() });
    let whole = undisturbed(engine.tone.as_ref(), &["One.", "Two.", "Three."]).await;
    let server = start_with(Config::default(), engine.clone()).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start("One. Two. Three.", &burst())).await;
    let mut heard = Vec::new();
    for free in [0, 0, 9] {
        let frames = client.read_until("close").await;
        heard.extend(audio(&frames));
        let error = messages(&frames).pop().unwrap();
        assert_eq!((&error["code"], &error["retryable"]), (&json!("overloaded"), &json!(true)));
        assert!(matches!(frames.last(), Some(Frame::Close(Some((4503, _))))), "{frames:?}");
        engine.free.store(free, std::sync::atomic::Ordering::Relaxed);
        client = v1(server.addr).await.0;
        client.say(&recover(&greeting, heard.len())).await;
        let answer = recovered(&mut client, heard.len()).await;
        assert_eq!(answer["recovered"], true, "{answer}");
    }
    heard.extend(audio(&client.read_until("session_end").await));
    assert!(heard == whole, "{} of {} bytes", heard.len(), whole.len());
}

/// Sockets die right behind their `recover`, while the client recovers on the next ones. The last one keeps
/// the session, whatever the others had still in the kernel.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn recover_on_a_dead_socket_never_takes_the_session_from_the_living_one() {
    let engine = tone(20.0);
    let whole = Arc::new(undisturbed(engine.as_ref(), &["One.", "Two."]).await);
    let server = start_with(Config::default(), engine).await;
    let mut all = JoinSet::new();
    for worker in 0..6 {
        let (addr, whole) = (server.addr, whole.clone());
        all.spawn(async move {
            let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(worker + 1));
            for round in 0..60 {
                let (mut client, greeting) = v1(addr).await;
                client
                    .say(&start("One. Two.", &if random.below(2) == 0 { burst() } else { paced(1_000) }))
                    .await;
                let heard = audio(&client.read_until("binary").await).len();
                let mut old = Vec::new();
                match random.below(3) {
                    0 => client.reset(),
                    1 => drop(client),
                    _ => old.push(client),
                }
                for _ in 0..1 + random.below(4) {
                    let mut dead = v1(addr).await.0;
                    dead.say(&recover(&greeting, random.below(heard + 1) & !1)).await;
                    match random.below(4) {
                        0 => dead.reset(),
                        1 => drop(dead),
                        2 => {
                            dead.send_bytes(&close(1001, "")).await;
                            drop(dead);
                        }
                        _ => {
                            tokio::task::yield_now().await;
                            dead.reset();
                        }
                    }
                }
                let mut living = v1(addr).await.0;
                living.say(&recover(&greeting, heard)).await;
                let answer = message(&mut living).await;
                assert_eq!(answer["recovered"], true, "worker {worker}, round {round}: {answer}");
                let mut more = Vec::new();
                while more.len() < 30_000 {
                    let frame = living.read_frame().await;
                    assert!(!matches!(frame, Frame::Close(_)), "worker {worker}, round {round}: {frame:?}");
                    more.extend(audio(&[frame]));
                }
                assert!(whole[heard..].starts_with(&more), "worker {worker}, round {round}");
                living.reset();
            }
        });
    }
    while let Some(result) = all.join_next().await {
        result.unwrap();
    }
}

/// A server that has never had the session goes on with the text that the client holds.
#[tokio::test]
async fn from_continues_a_stream_of_another_server() {
    let engine = Arc::new(Flite::new());
    let whole = undisturbed(engine.as_ref(), &SENTENCES).await;
    let first = start_with(Config::default(), engine.clone()).await;
    let (mut client, _) = v1(first.addr).await;
    client.say(&start(&SENTENCES.join(" "), &burst())).await;
    let frames = client.read_until("session_end").await;
    let texts: Vec<_> = messages(&frames).into_iter().filter(|message| message["type"] == "text").collect();
    drop((client, first));
    let second = start_with(Config::default(), engine).await;
    let mut random = Random(5);
    for round in 0..30 {
        let offset = random.below(whole.len()) & !1;
        let text = texts.iter().rfind(|text| text["offset"].as_u64().unwrap() as usize <= offset).unwrap();
        let begin = text["offset"].as_u64().unwrap() as usize;
        let mut from = json!({"index": text["index"], "offset": offset});
        if round % 2 == 0 {
            from["crc32"] = format!("{:08x}", crc32(&whole[begin..offset])).into();
        }
        let (mut client, greeting) = v1(second.addr).await;
        client.say(&start(&SENTENCES.join(" "), &json!({"from": from}))).await;
        let frames = client.read_until("session_end").await;
        assert!(audio(&frames) == whole[offset..], "{from}");
        assert_eq!(messages(&frames)[1]["index"], text["index"], "{from}");
        client.reset();
        let mut client = v1(second.addr).await.0;
        client.say(&recover(&greeting, offset)).await;
        assert_eq!(message(&mut client).await["type"], "stream_start");
        assert_eq!(message(&mut client).await["recovered"], true);
        assert!(audio(&client.read_until("session_end").await) == whole[offset..], "{from}");
    }
}
