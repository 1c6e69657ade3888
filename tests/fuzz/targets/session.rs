//! A whole session with any sequence of events: messages of the client, results of the engine, writes to
//! the socket, time, and lost connections.
//!
//! Checks the promises to each client: order and numbers of sentences, offsets, lengths and checksums of
//! their audio, and no bytes other than the stream.
#![no_main]

use aloud::audio::voice::Voice;
use aloud::audio::{Encoding, Format};
use aloud::message::{Code, ServerMessage, TextSource};
use aloud::unstable::Batch;
use aloud::unstable::Bounds;
use aloud::unstable::{
    Answer, Engine, Input, Output, Pauses, Place, Session, SessionConfig, Snapshot, Written,
};
use hyper::body::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A byte of silence in [`FORMAT`]; no sentence has it.
const SILENCE: u8 = 0xff;
/// Longest pause, and lead.
const MAX_PAUSE: Duration = Duration::from_millis(60);

const FORMAT: Format = Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 };
const CHUNK_BYTES: usize = 48;
const SENTENCES: [&str; 6] =
    ["One more of them. ", "Silent one. ", "Fails late in it. ", "Fails at once. ", "Yes.\n\n", "No end"];

/// The engine's deterministic audio for a sentence, and true if the sentence fails.
fn spoken(text: &str) -> (Vec<u8>, bool) {
    let audio: Vec<u8> = text.bytes().cycle().take(text.len() * 7).collect();
    match text {
        t if t.starts_with("Fails late") => (audio, true),
        t if t.starts_with("Fails") => (Vec::new(), true),
        t if t.starts_with("Silent") => (Vec::new(), false),
        _ => (audio, false),
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A sentence in synthesis: the rest of its audio, and true if it fails after it.
struct Speech {
    chunks: VecDeque<Bytes>,
    fails: bool,
}

/// The client's view of the running stream.
#[derive(Default)]
struct Heard {
    audio: Vec<u8>,
    /// The current sentence, its offset, and its text.
    sentence: Option<(u64, usize, String)>,
    /// Sentences that were announced.
    next: u64,
    /// True if a cancelled sentence may have been announced in a message that is lost.
    may_skip: bool,
    /// True if a connection was lost since the last `text`, perhaps with another `text` on its way.
    may_have_lost_text: bool,
    /// True in the middle of a sentence after a recovery.
    is_inside: bool,
    /// True after `session_end`: the session has no stream, with position 0, or the next one.
    is_over: bool,
}

impl Heard {
    /// Checks the position that the session reports against the bytes received.
    fn is_at(&self, message: &Value) {
        let offset = message["offset"].as_u64().expect("an offset") as usize;
        assert!(offset == self.audio.len() || self.is_over && offset == 0, "{offset} {}", self.audio.len());
    }
}

struct Driven {
    config: Arc<SessionConfig>,
    session: Session,
    prefetch: usize,
    is_v1: bool,
    speeches: VecDeque<Speech>,
    is_writing: bool,
    outgoing: Vec<u8>,
    wire: Vec<u8>,
    closed: Option<u16>,
    now: Instant,
    heard: Heard,
    /// Streams that the client knows, by their `stream_start`.
    streams: u64,
    /// Cancels of the stream, by the last message that counts them.
    rev: u64,
    /// Cancels whose answer the client has not received.
    unheard_cancels: u64,
    /// True once the engine had no room: a sentence that was spoken in part ended there.
    was_overloaded: bool,
    /// Offset at which the session continues, not yet announced to the client.
    recovering: Option<usize>,
}

impl Driven {
    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
    }

    fn act(&mut self) {
        while let Some(output) = self.session.poll() {
            assert_eq!(self.closed, None, "{output:?} after the close");
            match output {
                Output::Send(message) => {
                    self.unheard_cancels += u64::from(matches!(message, ServerMessage::Cancelled(_)));
                    self.push_text(&message.to_json());
                }
                Output::Speak(sentence) => {
                    let (audio, fails) = spoken(&sentence.text);
                    let chunks = audio.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect();
                    self.speeches.push_back(Speech { chunks, fails });
                    assert!(self.speeches.len() <= self.prefetch, "more than prefetch in synthesis");
                }
                Output::Write { turns, .. } => {
                    assert!(!self.is_writing && !turns.is_empty());
                    self.is_writing = true;
                }
                Output::StopWriting => {
                    assert!(self.is_writing);
                    self.is_writing = false;
                }
                Output::StopSpeaking => {
                    let untaken = self.speeches.drain(..).flat_map(|speech| speech.chunks);
                    let untaken = untaken.map(|chunk| chunk.len() as u64).sum();
                    self.handle(Input::Engine(Engine::Stopped { buffered_bytes: untaken }));
                }
                Output::Keep => assert!(self.session.token().is_some()),
                // The registry is not part of this target.
                Output::Recover(_) => self.handle(Input::Answer(Answer::NotRecovered { is_expired: false })),
                // The server asks for credentials only if it needs them, and this one does not.
                Output::Authenticate(_) => {}
                Output::Close(close) => self.closed = Some(close.code(self.is_v1)),
            }
        }
    }

    fn push_text(&mut self, json: &str) {
        let mut batch = Batch::default();
        batch.push_text(json);
        batch.write(|slices| slices.iter().for_each(|slice| self.outgoing.extend_from_slice(slice)));
    }

    fn say(&mut self, json: &str) {
        if self.closed.is_none() {
            self.handle(Input::Message(json));
            self.act();
        }
    }

    /// Delivers one event of the engine. False if the engine has none or the session wants none.
    fn speak(&mut self) -> bool {
        if !self.session.wants_speech(self.now) {
            return false;
        }
        if self.session.owes_silence() {
            self.handle(Input::Engine(Engine::Silence));
            self.act();
            return true;
        }
        let Some(speech) = self.speeches.front_mut() else { return false };
        if let Some(chunk) = speech.chunks.pop_front() {
            self.handle(Input::Engine(Engine::Audio(chunk)));
        } else if std::mem::take(&mut speech.fails) {
            self.handle(Input::Engine(Engine::Failed {
                code: Code::EngineFailed,
                message: "The engine broke.",
            }));
        } else {
            self.speeches.pop_front();
            self.handle(Input::Engine(Engine::Finished));
        }
        self.act();
        true
    }

    /// Delivers the next event of the writer: a piece of text, its end, or a failure.
    fn write_script(&mut self, kind: u8) {
        if !self.is_writing || !self.session.wants_text() {
            return;
        }
        match kind {
            0..=5 => self.handle(Input::Writer(Written::Text(SENTENCES[usize::from(kind)]))),
            6 => {
                self.is_writing = false;
                self.handle(Input::Writer(Written::Finished));
            }
            _ => {
                self.is_writing = false;
                self.handle(Input::Writer(Written::Failed {
                    code: Code::LlmFailed,
                    message: "The model broke.",
                }));
            }
        }
        self.act();
    }

    /// Writes at most this many bytes to the socket. False if nothing waits.
    fn write(&mut self, most: usize) -> bool {
        let mut batch = Batch::default();
        batch.push_raw(&self.outgoing);
        let (raw, has_room) = (batch.len(), !batch.is_full());
        if self.closed.is_none() {
            self.session.deliver(self.now, &mut batch);
            assert_eq!(batch.len() > raw, has_room && self.session.has_output(self.now));
        }
        let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
        let written = most.min(offered.len());
        self.wire.extend_from_slice(&offered[..written]);
        let mut rest = self.outgoing.split_off(written.min(raw));
        batch.sent(written, &mut rest, |what| {
            self.session.delivered(self.now, what);
        });
        self.outgoing = rest;
        if let Some((stream, offset)) = self.session.ask(self.now) {
            self.session.handle(Input::Confirmed { stream, offset }, self.now);
        }
        self.act();
        self.hear();
        !offered.is_empty()
    }

    /// Takes whole frames from the wire and checks them against the promises.
    fn hear(&mut self) {
        let wire = std::mem::take(&mut self.wire);
        let mut wire = &wire[..];
        while wire.len() >= 2 {
            let (header, length) = match wire[1] {
                126 if wire.len() < 4 => break,
                126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
                127 => panic!("a frame over 64 KiB"),
                short => (2, usize::from(short)),
            };
            let Some(payload) = wire.get(header..header + length) else { break };
            match wire[0] {
                0x81 => self.check_message(&serde_json::from_slice(payload).expect("JSON")),
                0x82 => {
                    assert!(self.heard.sentence.is_some() || self.heard.is_inside, "audio of no sentence");
                    assert_eq!(self.recovering, None, "audio before recovered");
                    assert!(!payload.is_empty());
                    self.heard.audio.extend_from_slice(payload);
                }
                first => panic!("first byte {first:#x}"),
            }
            wire = &wire[header + length..];
        }
        self.wire = wire.to_vec();
    }

    fn check_message(&mut self, message: &Value) {
        let was_overloaded = self.was_overloaded;
        let heard = &mut self.heard;
        let index = message["index"].as_u64();
        match message["type"].as_str().expect("every message has a type") {
            "stream_start" => {
                let stream = message["stream"].as_u64().expect("a number");
                if stream > self.streams {
                    *heard = Heard::default();
                    self.rev = 0;
                }
                assert!(heard.audio.is_empty(), "stream {stream} begins at its first byte");
                assert!(message["rev"].as_u64() >= Some(self.rev));
                self.streams = stream;
            }
            "text" => {
                let index = index.expect("a text has an index");
                if index == 0 && !self.is_v1 {
                    *heard = Heard::default();
                }
                assert!(index <= heard.next || heard.may_skip, "sentence {index} behind {}", heard.next);
                // A sentence replayed for a recovering client is announced again.
                let is_again = index < heard.next;
                heard.next = heard.next.max(index + 1);
                heard.may_have_lost_text = false;
                let start = message["offset"].as_u64().map_or(heard.audio.len(), |offset| offset as usize);
                assert!(
                    start == heard.audio.len() || is_again && start < heard.audio.len(),
                    "sentence {index}"
                );
                let text = message["data"].as_str().expect("text").to_owned();
                heard.sentence = Some((index, start, text));
                heard.is_over = false;
                heard.is_inside = false;
            }
            "sentence_end" => {
                let index = index.expect("a sentence has an index");
                if let Some((announced, start, text)) = heard.sentence.take() {
                    assert_eq!(announced, index);
                    let (whole, heard) = (spoken(&text).0, &heard.audio[start..]);
                    // The pause before it.
                    let pause = heard.iter().take_while(|byte| **byte == SILENCE).count() as u64;
                    assert!(pause <= FORMAT.bytes(MAX_PAUSE), "sentence {index}");
                    let heard = &heard[pause as usize..];
                    let is_right = whole == heard || was_overloaded && whole.starts_with(heard);
                    assert!(is_right, "sentence {index}: other audio");
                }
                if let Some(offset) = message["offset"].as_u64() {
                    let (offset, bytes) =
                        (offset as usize, message["bytes"].as_u64().expect("bytes") as usize);
                    assert_eq!(offset, heard.audio.len(), "sentence {index}");
                    let crc = format!("{:08x}", crc32(&heard.audio[offset - bytes..]));
                    assert_eq!(message["crc32"], crc, "sentence {index}");
                }
            }
            "cancelled" => {
                self.unheard_cancels -= 1;
                assert!(message["rev"].as_u64() > Some(self.rev) || !self.is_v1, "a cancel is counted");
                self.rev = message["rev"].as_u64().expect("a number");
                heard.is_at(message);
                // The cancelled sentence keeps its index.
                heard.may_skip |= heard.may_have_lost_text;
                heard.sentence = None;
                heard.next = heard.next.max(index.unwrap_or(0));
                heard.is_inside = false;
            }
            "recovered" => {
                let offset = self.recovering.take();
                if message["recovered"] == true {
                    assert_eq!(message["offset"].as_u64(), offset.map(|offset| offset as u64));
                    assert_eq!(message["stream"].as_u64(), Some(self.streams));
                    assert!(message["rev"].as_u64() >= Some(self.rev), "no cancel is lost");
                    assert_eq!(message["exact"], true);
                    self.rev = message["rev"].as_u64().expect("a number");
                }
            }
            "paused" => heard.is_at(message),
            "session_end" => {
                heard.sentence = None;
                heard.is_over = true;
            }
            _ => {}
        }
    }

    /// Loses the connection, and recovers on another one at some byte that the client has: in the same
    /// process, or in another one, which has only the snapshot of the session.
    fn reconnect(&mut self, back: usize, moves: bool) {
        if self.closed.is_some() || !self.session.is_resumable() {
            return;
        }
        self.handle(Input::Disconnected);
        self.outgoing.clear();
        self.wire.clear();
        if moves {
            let json = serde_json::to_string(&self.session.snapshot(self.now)).expect("JSON");
            let snapshot: Snapshot = serde_json::from_str(&json).expect("a snapshot");
            let token = self.session.token().map(str::to_owned);
            self.session = Session::restore(Arc::clone(&self.config), snapshot, token, self.now);
            self.speeches.clear();
            self.is_writing = false;
        }
        if self.session.streams() != self.streams {
            // The answer to `start_session` is lost: the client has nothing of this stream.
            self.streams = self.session.streams();
            self.rev = 0;
            self.heard = Heard::default();
        }
        self.heard.may_skip |= std::mem::take(&mut self.unheard_cancels) > 0;
        self.heard.may_have_lost_text = true;
        let offset = self.heard.audio.len().saturating_sub(back);
        let place = Place {
            offset: offset as u64,
            stream: Some(self.streams),
            rev: Some(self.rev),
            ..Place::default()
        };
        let another =
            [Place { stream: Some(self.streams + 1), ..place }, Place { rev: Some(u64::MAX), ..place }];
        assert!(another.iter().all(|place| self.session.check_place(place).is_err()));
        if self.session.check_place(&place).is_err() {
            self.closed = Some(4411);
            return;
        }
        self.heard.audio.truncate(offset);
        self.heard.sentence = None;
        self.heard.is_inside = true;
        self.recovering = Some(offset);
        self.handle(Input::Answer(Answer::Recovered(place)));
        self.act();
    }
}

/// A valid message of a client.
fn message(input: &mut Unstructured<'_>) -> Result<String> {
    let sentence = |input: &mut Unstructured<'_>| input.choose(&SENTENCES).copied();
    Ok(match input.int_in_range(0..=15u8)? {
        0..=2 => {
            let mut prompt = String::new();
            for _ in 0..input.int_in_range(0..=4u8)? {
                prompt += sentence(input)?;
            }
            let source = *input.choose(&["verbatim", "verbatim", "append", "llm"])?;
            let mut start = json!({"type": "start_session", "prompt": prompt, "source": source});
            let options: u8 = input.arbitrary()?;
            if options & 1 == 1 {
                start["resumable"] = true.into();
            }
            if options & 2 == 2 {
                start["delivery"] = json!({"mode": "paced", "aheadMs": 20 + u64::from(options)});
            }
            if options & 4 == 4 {
                start["timestamps"] = json!("word");
            }
            if options & 8 == 8 {
                start["audio"] = json!({"frameMs": 1 + u64::from(options >> 4)});
            }
            if source == "append" {
                start.as_object_mut().expect("an object").remove("prompt");
            }
            start.to_string()
        }
        3 | 4 => {
            let text = sentence(input)?;
            json!({"type": "append", "text": &text[..input.int_in_range(0..=text.len())?]}).to_string()
        }
        5 => json!({"type": "flush"}).to_string(),
        6 => json!({"type": "pause"}).to_string(),
        7 | 8 => json!({"type": "resume"}).to_string(),
        9 => json!({"type": "cancel"}).to_string(),
        10 => json!({"type": "cancel", "playedMs": input.arbitrary::<u16>()?}).to_string(),
        11 => json!({"type": "ack", "playedMs": input.arbitrary::<u16>()? / 64}).to_string(),
        12 => json!({"type": "update", "voice": *input.choose(&["anna", "bert", "carl"])?, "speed": 1.5})
            .to_string(),
        13 => json!({"type": "end", "drain": input.arbitrary::<bool>()?}).to_string(),
        14 => json!({"type": "ping", "id": "x"}).to_string(),
        _ => input.arbitrary::<&str>()?.to_owned(),
    })
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let how: u8 = input.arbitrary()?;
    let prefetch = 1 + usize::from(how & 3);
    let config = SessionConfig {
        greeting: "Hello.".to_owned(),
        max_prompt_chars: 200,
        max_buffered_chars: 100,
        max_session_chars: (how & 4 == 4).then_some(100),
        max_message_bytes: 65_536,
        prefetch,
        speed: 1.0,
        pauses: Pauses {
            lead: Duration::from_millis([0, 7][usize::from(how & 1)]),
            sentence: Some(Duration::from_millis(25)),
            paragraph: Some(Duration::from_millis(60)),
            heading: None,
        },
        format: FORMAT,
        frame_ms: 2,
        formats: vec![FORMAT],
        voices: vec![Voice::new("anna"), Voice::new("bert")],
        is_deterministic: how & 8 == 0,
        is_paced: how & 16 == 16,
        ahead: Duration::from_millis(20),
        is_paced_only: false,
        max_ahead: Duration::from_secs(60),
        keep_bytes: [400, 1 << 20][usize::from(how >> 5 & 1)],
        heartbeat: Duration::from_secs(30),
        resume_ttl: Duration::from_secs(120),
        max_session: Duration::from_secs(60),
        has_writer: true,
        source: TextSource::Verbatim,
        max_script_chars: 60,
        history: Bounds { turns: 5, chars: 100 },
        messages: None,
        idle_timeout: Some(Duration::from_secs(30)),
        stall_timeout: Duration::from_secs(30),
        auth_timeout: Duration::from_secs(10),
        is_bounded: how & 128 == 128,
    };
    let is_v1 = how & 64 == 0;
    let now = Instant::now();
    let token = is_v1.then(|| "a-token".to_owned());
    let config = Arc::new(config);
    let mut driven = Driven {
        session: Session::new(Arc::clone(&config), "an-id".to_owned(), token, now),
        config,
        prefetch,
        is_v1,
        speeches: VecDeque::new(),
        is_writing: false,
        outgoing: Vec::new(),
        wire: Vec::new(),
        closed: None,
        now,
        heard: Heard::default(),
        streams: 0,
        rev: 0,
        unheard_cancels: 0,
        was_overloaded: false,
        recovering: None,
    };
    driven.act();
    while !input.is_empty() && driven.closed.is_none() {
        match input.int_in_range(0..=15u8)? {
            0..=4 => {
                let message = message(input)?;
                driven.say(&message);
            }
            5..=7 => drop(driven.speak()),
            8 => while driven.speak() {},
            9 => driven.write_script(input.int_in_range(0..=7)?),
            10 | 11 => drop(driven.write(input.arbitrary::<u8>()?.into())),
            12 => drop(driven.write(usize::MAX)),
            13 => driven.now += Duration::from_millis(input.arbitrary::<u8>()?.into()),
            14 => driven.reconnect(input.arbitrary::<u8>()?.into(), input.arbitrary()?),
            _ => match input.arbitrary::<u8>()? {
                0 => {
                    driven.handle(Input::Drain(Duration::from_secs(5)));
                    driven.act();
                }
                1 => {
                    // The end of the connection, but not of the session.
                    driven.handle(Input::Silence);
                    driven.act();
                    assert!(matches!(driven.closed.take(), Some(4408 | 1008)));
                    if !driven.session.is_resumable() {
                        return Ok(());
                    }
                    driven.reconnect(0, false);
                }
                2 if !driven.speeches.is_empty() && driven.session.wants_speech(driven.now) => {
                    // The end of the connection, and of a session that is not resumable.
                    driven.was_overloaded = true;
                    driven.handle(Input::Engine(Engine::Failed { code: Code::Overloaded, message: "Full." }));
                    driven.act();
                    assert!(matches!(driven.closed.take(), Some(4503 | 1013)));
                    if !driven.session.is_resumable() {
                        // The owner drops the speech with the connection.
                        return Ok(());
                    }
                    assert!(driven.speeches.is_empty());
                    driven.reconnect(0, input.arbitrary()?);
                }
                n => driven.now += Duration::from_millis(u64::from(n) * 20),
            },
        }
        if driven.closed.is_none() {
            driven.handle(Input::Due);
            driven.act();
            if matches!(driven.closed, Some(4408 | 1008)) {
                // Idle for too long.
                driven.closed = None;
                if !driven.session.is_resumable() {
                    return Ok(());
                }
                driven.reconnect(0, false);
                driven.handle(Input::Due);
                driven.act();
            }
        }
        let due = driven.session.next_deadline().into_iter().chain(driven.session.opens_at(driven.now)).min();
        assert!(due.is_none_or(|due| due > driven.now || driven.closed.is_some()), "due and not done");
    }
    if driven.closed.is_some_and(|code| code != 1000) {
        return Ok(());
    }
    // Without further input the session comes to its end: it does not hang.
    driven.say(r#"{"type":"resume"}"#);
    driven.say(r#"{"type":"end","drain":true}"#);
    for _ in 0..2_000 {
        driven.write_script(6);
        while driven.speak() || driven.write(usize::MAX) {}
        if driven.closed.is_some() {
            break;
        }
        driven.now += Duration::from_millis(20);
        driven.handle(Input::Due);
        driven.act();
        // A client that acknowledges has to keep acknowledging.
        let played = FORMAT.duration(driven.heard.audio.len() as u64).as_millis() + 1;
        if is_v1 && driven.session.streams() > 0 {
            driven.say(&format!(r#"{{"type":"ack","playedMs":{played}}}"#));
        }
    }
    assert!(driven.closed.is_some() || !is_v1, "it does not end");
    // Only some clients may end after the last sentence; each client may end at once.
    driven.say(r#"{"type":"end"}"#);
    while driven.write(usize::MAX) {}
    assert!(driven.closed.is_some(), "it does not end at once");
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Input that ends early needs no further check.
    let _ = run(&mut Unstructured::new(data));
});
