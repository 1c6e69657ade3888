//! Start, hear audio, pause, end: a session as a client sees it.

use crate::support::{
    self, Asked, FORMAT, Frame, PATIENCE, Raw, Running, Scripted, close, frame, open, session, start_with,
    within,
};
use aloud::Config;
use aloud::audio::{Encoding, Format};
use aloud::tts::{Flite, Piece, Sink, Speech, SynthesisError, Synthesizer, Tone, Utterance};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const END: &str = r#"{"type":"end"}"#;

fn start(prompt: &str) -> String {
    json!({"type": "start_session", "prompt": prompt}).to_string()
}

fn session_end() -> Frame {
    Frame::Text(json!({"type": "session_end"}))
}

fn ended_by_client() -> [Frame; 2] {
    [session_end(), Frame::Close(Some((1000, "Session ended by client".to_owned())))]
}

fn audio(frames: &[Frame]) -> Vec<u8> {
    let audio =
        frames.iter().filter_map(|f| if let Frame::Binary(audio) = f { Some(&audio[..]) } else { None });
    audio.collect::<Vec<_>>().concat()
}

fn messages(frames: &[Frame]) -> Vec<Value> {
    frames
        .iter()
        .filter_map(|f| if let Frame::Text(value) = f { Some(value.clone()) } else { None })
        .collect()
}

/// Audio of the engine when the test asks it directly.
async fn spoken(engine: &dyn Synthesizer, text: &str, format: Format, frame_bytes: usize) -> Vec<u8> {
    let mut utterance = Utterance::new(text, format);
    utterance.frame_bytes = frame_bytes;
    let mut speech = engine.speak(utterance);
    let mut audio = Vec::new();
    while let Some(piece) = within(speech.next()).await {
        if let Piece::Audio(chunk) = piece.unwrap() {
            audio.extend(chunk);
        }
    }
    audio
}

/// The frames of one sentence, as the protocol demands.
fn sentence(text: &str, index: usize, audio: &[u8], frame_bytes: usize) -> Vec<Frame> {
    let mut frames = vec![Frame::Text(json!({"type": "text", "data": text, "index": index}))];
    frames.extend(audio.chunks(frame_bytes).map(|frame| Frame::Binary(frame.to_vec())));
    frames.push(Frame::Text(json!({"type": "sentence_end", "index": index})));
    frames
}

/// All frames that arrive before the server has read everything sent up to now.
async fn before_pong(client: &mut Raw) -> Vec<Frame> {
    client.send_bytes(&frame(0x89, b"now?")).await;
    let mut frames = client.read_until("pong").await;
    assert_eq!(frames.pop(), Some(Frame::Pong(b"now?".to_vec())));
    frames
}

async fn scripted() -> (Running, Asked) {
    let (engine, asked) = Scripted::new();
    (start_with(Config::default(), engine).await, asked)
}

async fn next(asked: &mut Asked) -> (Utterance, Sink) {
    within(asked.recv()).await.unwrap()
}

/// An engine whose audio identifies the text that it belongs to.
struct Telling;

impl Telling {
    fn samples(text: &str) -> Vec<i16> {
        text.bytes().cycle().map(i16::from).take(1000 + text.len() * 97).collect()
    }

    fn audio(text: &str) -> Vec<u8> {
        Telling::samples(text).iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }
}

impl Synthesizer for Telling {
    fn name(&self) -> &str {
        "telling"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (mut sink, speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
        tokio::spawn(async move {
            for samples in Telling::samples(&utterance.text).chunks(123) {
                tokio::task::yield_now().await;
                if sink.write(samples).await.is_err() {
                    return;
                }
            }
            sink.finish().await;
        });
        speech
    }
}

#[tokio::test]
async fn session_start_is_the_first_message() {
    let server = start_with(Config::default(), Arc::new(Telling)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut client = open(server.addr).await;
        let Frame::Text(greeting) = client.read_frame().await else { panic!("a message") };
        let id = greeting["sessionId"].as_str().unwrap().to_owned();
        assert_eq!(greeting, json!({"type": "session_start", "sessionId": id}));
        let shape: String = id.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
        assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "version 4: {id}");
        assert_eq!(id, id.to_lowercase());
        assert!(!ids.contains(&id));
        ids.push(id);
        assert_eq!(before_pong(&mut client).await, []);
    }
}

/// A whole session, frame by frame, in every format and frame size.
#[tokio::test]
async fn stream_carries_the_engines_exact_audio_in_order() {
    let pcm = |sample_rate_hz| Format { encoding: Encoding::PcmS16le, sample_rate_hz };
    let mulaw = |sample_rate_hz| Format { encoding: Encoding::MuLaw, sample_rate_hz };
    // The frame's length in ms and in bytes; 64 KiB is the maximum.
    let table = [
        (pcm(8_000), [(1, 16), (40, 640), (1000, 16_000)]),
        (pcm(22_050), [(1, 44), (40, 1_764), (1000, 44_100)]),
        (pcm(48_000), [(1, 96), (40, 3_840), (1000, 65_536)]),
        (mulaw(8_000), [(1, 8), (40, 320), (1000, 8_000)]),
        (mulaw(24_000), [(1, 24), (40, 960), (1000, 24_000)]),
    ];
    for (format, sizes) in table {
        let engine = Arc::new(Tone::new(FORMAT, 1.234));
        let whole = spoken(engine.as_ref(), "One.", format, 640).await;
        let samples = (1.234 * f64::from(format.sample_rate_hz)).round() as usize;
        assert_eq!(whole.len(), samples * format.encoding.bytes_per_sample());
        for (frame_ms, frame_bytes) in sizes {
            let config = Config::default().with(|c| {
                c.frame_ms = frame_ms;
                c.encoding = Some(format.encoding);
                c.sample_rate_hz = Some(format.sample_rate_hz);
            });
            let server = start_with(config, engine.clone()).await;
            let mut client = session(server.addr).await;
            client.say(&start("One. Two.")).await;
            let frames = client.read_until("session_end").await;
            let expected = [
                sentence("One.", 0, &whole, frame_bytes),
                sentence("Two.", 1, &whole, frame_bytes),
                vec![session_end()],
            ];
            assert!(frames == expected.concat(), "{format:?} in frames of {frame_ms} ms");
        }
    }
}

#[tokio::test]
async fn start_session_defaults_to_the_greeting_the_engines_format_and_40_ms() {
    let config = Config::default().with(|c| c.greeting = "I am here.".to_owned());
    let server = start_with(config, Arc::new(Telling)).await;
    let mut client = session(server.addr).await;
    client.say(r#"{"type":"start_session"}"#).await;
    let frames = client.read_until("session_end").await;
    let expected = [sentence("I am here.", 0, &Telling::audio("I am here."), 640), vec![session_end()]];
    assert_eq!(frames, expected.concat());
}

#[tokio::test]
async fn start_session_without_words_ends_at_once_and_keeps_the_connection() {
    let server = start_with(Config::default(), Arc::new(Telling)).await;
    let mut client = session(server.addr).await;
    for prompt in ["", " \n\t"] {
        client.say(&start(prompt)).await;
        assert_eq!(client.read_frame().await, session_end(), "{prompt:?}");
    }
    client.say(&start("Hello.")).await;
    assert_eq!(
        client.read_until("session_end").await[..3],
        sentence("Hello.", 0, &Telling::audio("Hello."), 640)[..3]
    );
}

#[tokio::test]
async fn sentences_arrive_in_order_while_the_next_is_synthesised() {
    let (server, mut asked) = scripted().await;
    let mut client = session(server.addr).await;
    client.say(&start("One. Two. Three.")).await;
    let (one, mut first) = next(&mut asked).await;
    let (two, mut second) = next(&mut asked).await;
    assert_eq!([(one.text.as_str(), one.index), (two.text.as_str(), two.index)], [("One.", 0), ("Two.", 1)]);
    assert_eq!((one.format, one.frame_bytes, one.speed), (FORMAT, 640, 1.0));
    assert_eq!(
        messages(&before_pong(&mut client).await),
        [json!({"type": "text", "data": "One.", "index": 0})]
    );
    assert!(asked.try_recv().is_err(), "not more than two at once");

    // The second sentence is ready before the first one has begun.
    second.write(&[2; 320]).await.unwrap();
    second.finish().await;
    assert_eq!(before_pong(&mut client).await, []);
    first.write(&[1; 320]).await.unwrap();
    assert_eq!(client.read_frame().await, Frame::Binary([1, 0].repeat(320)));
    assert!(asked.try_recv().is_err(), "the first sentence is still in flight");
    first.finish().await;
    let mut frames = vec![Frame::Text(json!({"type": "sentence_end", "index": 0}))];
    frames.extend(sentence("Two.", 1, &[2, 0].repeat(320), 640));
    frames.push(Frame::Text(json!({"type": "text", "data": "Three.", "index": 2})));
    for expected in frames {
        assert_eq!(client.read_frame().await, expected);
    }
    let (three, third) = next(&mut asked).await;
    assert_eq!((three.text.as_str(), three.index), ("Three.", 2));
    third.finish().await;
    assert_eq!(client.read_until("session_end").await.len(), 3, "an error, the sentence's end, the end");
    server.is_quiet_but_for_sessions().await;
}

#[tokio::test]
async fn sentence_that_fails_is_reported_and_the_next_is_spoken() {
    let (server, mut asked) = scripted().await;
    let mut client = session(server.addr).await;
    client.say(&start("One. Two. Three. Four.")).await;
    let (_, sink) = next(&mut asked).await;
    sink.fail(SynthesisError::failed("The engine is \"out of order\".")).await;
    let (_, mut sink) = next(&mut asked).await;
    sink.write(&[2; 100]).await.unwrap();
    sink.fail(SynthesisError::failed("It broke.")).await;
    // An engine that drops its sink gives no reason.
    let (_, mut sink) = next(&mut asked).await;
    sink.write(&[3; 320]).await.unwrap();
    drop(sink);
    let (_, mut sink) = next(&mut asked).await;
    sink.write(&[4; 320]).await.unwrap();
    sink.finish().await;
    let error = |message: &str| Frame::Text(json!({"type": "error", "message": message}));
    let text = |data: &str, index: u32| Frame::Text(json!({"type": "text", "data": data, "index": index}));
    let end = |index: u32| Frame::Text(json!({"type": "sentence_end", "index": index}));
    let expected = [
        text("One.", 0),
        error("The engine is \"out of order\"."),
        end(0),
        text("Two.", 1),
        Frame::Binary([2, 0].repeat(100)),
        error("It broke."),
        end(1),
        text("Three.", 2),
        Frame::Binary([3, 0].repeat(320)),
        error("The speech engine stopped before the sentence was finished."),
        end(2),
        text("Four.", 3),
        Frame::Binary([4, 0].repeat(320)),
        end(3),
        session_end(),
    ];
    assert_eq!(client.read_until("session_end").await, expected);
    assert_eq!(before_pong(&mut client).await, []);
}

#[tokio::test]
async fn message_that_is_invalid_gets_one_error_and_changes_nothing() {
    let (server, mut asked) = scripted().await;
    let mut client = session(server.addr).await;
    let table = [
        "",
        "pause",
        "[]",
        "{}",
        "null",
        r#"{"type":1}"#,
        r#"{"type":"sing"}"#,
        r#"{"type":"end"} x"#,
        r#"{"type":"start_session","prompt":null}"#,
        r#"{"type":"start_session","prompt":["Hi."]}"#,
    ];
    let bad = async |client: &mut Raw| {
        for text in table {
            client.say(text).await;
            let Frame::Text(error) = client.read_frame().await else { panic!("a message") };
            let message = error["message"].as_str().unwrap();
            assert_eq!(error, json!({"type": "error", "message": message}), "{text}");
            assert_eq!(before_pong(client).await, [], "{text}");
        }
    };
    bad(&mut client).await;
    client.say(&start("One.")).await;
    let (_, mut sink) = next(&mut asked).await;
    assert_eq!(client.read_frame().await.kind(), "text");
    bad(&mut client).await;
    client.say(&start("Something else.")).await;
    let busy = json!({"type": "error", "message": "Session already streaming"});
    assert_eq!(client.read_frame().await, Frame::Text(busy));
    // Binary frames are ignored, whatever they contain.
    for payload in [&b""[..], b"{\"type\":\"end\"}", &[0xff; 300]] {
        client.send_bytes(&frame(0x82, payload)).await;
    }
    assert_eq!(before_pong(&mut client).await, []);
    sink.write(&[7; 320]).await.unwrap();
    sink.finish().await;
    let frames = client.read_until("session_end").await;
    assert_eq!(frames[..2], sentence("One.", 0, &[7, 0].repeat(320), 640)[1..]);
    assert_eq!(frames.len(), 3);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn prompt_over_the_limit_is_refused() {
    let config = Config::default().with(|c| c.max_prompt_chars = 10);
    let server = start_with(config, Arc::new(Telling)).await;
    let mut client = session(server.addr).await;
    client.say(&start("Too long, this.")).await;
    let message = "The prompt is too long (limit 10 characters). Send it in parts.";
    assert_eq!(client.read_frame().await, Frame::Text(json!({"type": "error", "message": message})));
    assert_eq!(client.read_frame().await, session_end());
    client.say(&start("Äöü ÄöüÄö.")).await;
    assert_eq!(messages(&client.read_until("session_end").await).len(), 3);
}

#[tokio::test]
async fn pause_holds_messages_as_well_as_audio() {
    let (server, mut asked) = scripted().await;
    let mut client = session(server.addr).await;
    client.say(PAUSE).await;
    client.say(&start("One.")).await;
    assert_eq!(before_pong(&mut client).await, [], "no frame before the start");
    assert!(asked.try_recv().is_err(), "and no synthesis");
    client.say(RESUME).await;
    client.say(RESUME).await;
    let (_, mut sink) = next(&mut asked).await;
    assert_eq!(client.read_frame().await.kind(), "text");
    sink.write(&[1; 320]).await.unwrap();
    assert_eq!(client.read_frame().await.kind(), "binary");
    client.say(PAUSE).await;
    client.say(PAUSE).await;
    assert_eq!(before_pong(&mut client).await, []);
    sink.write(&[2; 960]).await.unwrap();
    sink.finish().await;
    server.is_quiet_but_for_sessions().await;
    assert_eq!(before_pong(&mut client).await, [], "audio, the sentence's end and the stream's");
    client.say(RESUME).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(
        frames.iter().map(Frame::kind).collect::<Vec<_>>(),
        ["binary", "binary", "binary", "sentence_end", "session_end"]
    );
    assert_eq!(audio(&frames), [2, 0].repeat(960));
}

/// Bytes in the kernel's buffers are in transit before a pause can stop them. Once the server has
/// answered a message sent after the pause, no more audio arrives.
#[tokio::test]
async fn pause_stops_a_fast_stream_and_resume_loses_nothing() {
    for reads in [0, 3, 200] {
        let engine = Arc::new(Tone::new(FORMAT, 1_500.0));
        let whole = spoken(engine.as_ref(), "One.", FORMAT, 640).await;
        let server = start_with(Config::default(), engine).await;
        let mut client = session(server.addr).await;
        client.say(&start("One.")).await;
        assert_eq!(client.read_frame().await.kind(), "text");
        let mut frames = Vec::new();
        for _ in 0..5 {
            for _ in 0..reads {
                frames.push(client.read_frame().await);
            }
            client.say(PAUSE).await;
            client.say("?").await;
            frames.extend(client.read_until("error").await);
            assert_eq!(frames.pop().unwrap().kind(), "error");
            assert!(before_pong(&mut client).await.len() <= 1, "at most the frame in transit");
            assert_eq!(before_pong(&mut client).await, []);
            client.say(RESUME).await;
        }
        frames.extend(client.read_until("session_end").await);
        assert!(
            audio(&frames) == whole,
            "after {reads} frames: {} of {} bytes",
            audio(&frames).len(),
            whole.len()
        );
        assert!(frames.iter().rev().skip(2).all(|f| matches!(f, Frame::Binary(audio) if audio.len() == 640)));
    }
}

#[tokio::test]
async fn end_stops_the_engine_and_closes() {
    let (server, mut asked) = scripted().await;
    // In the middle of a sentence; paused; with nothing spoken yet.
    for (samples, paused) in [(320, false), (320, true), (0, false), (0, true)] {
        let mut client = session(server.addr).await;
        client.say(&start("One. Two. Three.")).await;
        let (_, mut first) = next(&mut asked).await;
        let (_, second) = next(&mut asked).await;
        assert_eq!(client.read_frame().await.kind(), "text");
        first.write(&vec![1; samples]).await.unwrap();
        if samples > 0 {
            assert_eq!(client.read_frame().await.kind(), "binary");
        }
        if paused {
            client.say(PAUSE).await;
        }
        client.say(END).await;
        // None of these messages may start the engine again.
        client.say(&start("Four.")).await;
        within(first.cancelled()).await;
        within(second.cancelled()).await;
        assert!(first.write(&[1; 320]).await.is_err());
        for expected in ended_by_client() {
            assert_eq!(client.read_frame().await, expected);
        }
        client.send_bytes(&close(1000, "")).await;
        assert_eq!(client.read_to_close().await, b"");
        drop((first, second));
        server.is_quiet_once_left(client).await;
        assert!(asked.try_recv().is_err());
    }
    let mut client = session(server.addr).await;
    client.say(END).await;
    for expected in ended_by_client() {
        assert_eq!(client.read_frame().await, expected, "before any stream");
    }
}

#[tokio::test]
async fn connection_carries_many_streams() {
    let server = start_with(Config::default(), Arc::new(Telling)).await;
    let mut client = session(server.addr).await;
    for prompt in ["The first.", "The second.", "The second."] {
        client.say(&start(prompt)).await;
        let expected = [sentence(prompt, 0, &Telling::audio(prompt), 640), vec![session_end()]];
        assert_eq!(client.read_until("session_end").await, expected.concat());
    }
}

#[tokio::test]
async fn sessions_at_the_same_time_do_not_mix() {
    let server = start_with(Config::default(), Arc::new(Telling)).await;
    let mut clients = Vec::new();
    for n in 0..50 {
        let addr = server.addr;
        clients.push(tokio::spawn(async move {
            let mut client = session(addr).await;
            let texts = [format!("This is number {n}."), format!("It is {} times over.", n * 7)];
            client.say(&start(&texts.join(" "))).await;
            let frames = client.read_until("session_end").await;
            let expected = [
                sentence(&texts[0], 0, &Telling::audio(&texts[0]), 640),
                sentence(&texts[1], 1, &Telling::audio(&texts[1]), 640),
                vec![session_end()],
            ];
            assert!(frames == expected.concat(), "number {n}");
            client
        }));
    }
    let mut open = Vec::new();
    for client in clients {
        open.push(client.await.unwrap());
    }
    assert_eq!((server.service.sessions().count(), server.service.syntheses().count()), (50, 0));
    drop(open);
    within(server.is_quiet()).await;
}

#[tokio::test]
async fn built_in_voice_speaks() {
    let engine = Arc::new(Flite::new());
    let texts = ["Good evening.", "The kettle is on."];
    for (encoding, frame_bytes) in [(Encoding::PcmS16le, 1280), (Encoding::MuLaw, 640)] {
        let config = Config::default().with(|c| c.encoding = Some(encoding));
        let server = start_with(config, engine.clone()).await;
        let format = Format { encoding, ..engine.format() };
        let mut client = session(server.addr).await;
        client.say(&start("Good evening. The kettle is on.")).await;
        let frames = client.read_until("session_end").await;
        let mut expected = Vec::new();
        for (index, text) in texts.into_iter().enumerate() {
            let audio = spoken(engine.as_ref(), text, format, frame_bytes).await;
            let seconds =
                audio.len() as f64 / encoding.bytes_per_sample() as f64 / f64::from(format.sample_rate_hz);
            let per_letter = seconds / text.len() as f64;
            assert!((0.03..0.12).contains(&per_letter), "{seconds} s for {text:?}");
            if encoding == Encoding::PcmS16le {
                let samples = audio.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                let loud = samples.filter(|sample| sample.unsigned_abs() > 1_000).count();
                assert!(loud * 10 > audio.len() / 2, "{loud} loud samples in {text:?}");
            }
            expected.extend(sentence(text, index, &audio, frame_bytes));
        }
        expected.push(session_end());
        assert!(frames == expected, "{encoding:?}");
    }
}

/// Synthesis stops, however a connection ends in mid-stream.
#[tokio::test]
async fn connection_end_of_any_kind_stops_synthesis() {
    let bytes: [(&str, Vec<u8>, Option<u16>); 7] = [
        ("end", support::text(END), Some(1000)),
        ("Close", close(1000, "bye"), Some(1000)),
        ("Close without a code", frame(0x88, b""), None),
        ("an unknown opcode", frame(0x83, b""), Some(1002)),
        ("not UTF-8", frame(0x81, b"\xff"), Some(1007)),
        ("too long", frame(0x81, &[b' '; 70_000]), Some(1009)),
        ("unmasked", vec![0x81, 0x02, b'{', b'}'], Some(1002)),
    ];
    for paused in [false, true] {
        for (name, bytes, code) in &bytes {
            let (server, mut client) = endless(paused).await;
            client.send_bytes(bytes).await;
            let frames = client.read_until("close").await;
            let Some(Frame::Close(closed)) = frames.last() else { unreachable!() };
            assert_eq!(closed.as_ref().map(|(code, _)| *code), *code, "{name}");
            assert_eq!(server.service.syntheses().count(), 0, "{name}");
            client.send_bytes(&close(1000, "")).await;
            server.is_quiet_once_left(client).await;
        }
        let (server, mut client) = endless(paused).await;
        client.finish().await;
        server.is_quiet().await;
        drop(client);
        // With unread bytes in its socket: the kernel resets the connection.
        let (server, client) = endless(paused).await;
        drop(client);
        server.is_quiet().await;
        // In the middle of a frame.
        let (server, mut client) = endless(paused).await;
        client.send_bytes(&support::text(END)[..4]).await;
        drop(client);
        server.is_quiet().await;
        // The server drains, and the stream does not finish before the deadline.
        let (mut server, mut client) = endless(paused).await;
        within(async {
            let stopped = server.stop();
            tokio::select! {
                stopped = stopped => stopped.unwrap(),
                () = async { while client.read_frame().await.kind() != "close" {} } => {}
            }
        })
        .await;
        server.is_quiet_once_left(client).await;
    }
    // Between two streams, and after the last one.
    let server = start_with(Config::default(), Arc::new(Telling)).await;
    let mut client = session(server.addr).await;
    client.say(&start("One.")).await;
    client.read_until("session_end").await;
    assert_eq!((server.service.sessions().count(), server.service.syntheses().count()), (1, 0));
    drop(client);
    server.is_quiet().await;
}

/// A session in the middle of an endless stream.
async fn endless(paused: bool) -> (Running, Raw) {
    let config = Config::default().with(|c| c.drain_timeout = Duration::from_millis(20));
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 1e9))).await;
    let mut client = session(server.addr).await;
    client.say(&start("One. Two. Three.")).await;
    client.read_until("binary").await;
    if paused {
        client.say(PAUSE).await;
        before_pong(&mut client).await;
    }
    assert_eq!((server.service.sessions().count(), server.service.syntheses().count()), (1, 2));
    (server, client)
}

impl Running {
    /// Waits until no synthesis is left.
    async fn is_quiet_but_for_sessions(&self) {
        within(async {
            while self.service.syntheses().count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Disconnects the client and waits until its session is gone: sooner than any deadline.
    async fn is_quiet_once_left(&self, client: Raw) {
        drop(client);
        let deadline = Config::default().close_timeout;
        assert!(deadline < PATIENCE);
        tokio::time::timeout(deadline / 2, self.is_quiet()).await.expect("no deadline was waited for");
    }
}
