//! Peers that vanish, stall, flood and send nonsense; engines that fail; a server that stops. Each
//! case has a defined end: the lost session's synthesis stops, and other sessions continue.

use crate::support::{
    Asked, FORMAT, Frame, PATIENCE, Raw, Running, Scripted, close, frame, log, open, opening, raw, session,
    start_with, text, v1, within,
};
use aloud::audio::Format;
use aloud::tts::{Sink, Speech, SynthesisError, Synthesizer, Tone, Utterance};
use aloud::{Config, PATH, Service};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{interval, timeout};

/// Long enough to differ from at once, short enough to wait for.
const SOON: Duration = Duration::from_millis(200);

const START: &str = r#"{"type":"start_session","prompt":"One."}"#;

/// A server whose engine the test plays.
async fn scripted(config: Config) -> (Running, Asked) {
    let (engine, asked) = Scripted::new();
    (start_with(config, engine).await, asked)
}

/// A server with the tone engine: a tenth of a second for each sentence.
async fn tone(config: Config) -> Running {
    start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await
}

/// A client whose sentence is in flight, and the engine's sink for it.
async fn speaking(server: &Running, asked: &mut Asked) -> (Raw, Sink) {
    let mut client = session(server.addr).await;
    client.say(START).await;
    let (utterance, sink) = within(asked.recv()).await.unwrap();
    assert_eq!(utterance.text, "One.");
    client.read_until("text").await;
    (client, sink)
}

/// Kinds of frames, with runs of audio as one.
fn kinds(frames: &[Frame]) -> Vec<&str> {
    let mut kinds: Vec<_> = frames.iter().map(Frame::kind).collect();
    kinds.dedup_by(|a, b| a == b && *a == "binary");
    kinds
}

fn audio(frames: &[Frame]) -> Vec<u8> {
    let chunks = frames.iter().map(|frame| match frame {
        Frame::Binary(bytes) => &bytes[..],
        _ => b"",
    });
    chunks.collect::<Vec<_>>().concat()
}

/// Checks a whole stream of one sentence on a server of [`Scripted`].
async fn works(server: &Running, asked: &mut Asked) {
    let (mut client, mut sink) = speaking(server, asked).await;
    sink.push(&[1; 800]).unwrap();
    within(sink.finish()).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(kinds(&frames), ["binary", "sentence_end", "session_end"]);
    assert_eq!(audio(&frames).len(), 1600);
}

/// The ways in which a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Close,
    Fin,
    Reset,
    HalfAFrameAndFin,
    HalfAMessageAndReset,
}

const LEAVINGS: [Leaving; 5] =
    [Leaving::Close, Leaving::Fin, Leaving::Reset, Leaving::HalfAFrameAndFin, Leaving::HalfAMessageAndReset];

/// Returns the part of the connection that has to stay open.
async fn leave(mut client: Raw, how: Leaving) -> Option<Raw> {
    match how {
        Leaving::Close => client.send_bytes(&close(1001, "")).await,
        Leaving::Fin => client.finish().await,
        Leaving::Reset => {
            client.reset();
            return None;
        }
        Leaving::HalfAFrameAndFin => {
            let bytes = text(START);
            client.send_bytes(&bytes[..bytes.len() / 2]).await;
            client.finish().await;
        }
        Leaving::HalfAMessageAndReset => {
            client.send_bytes(&frame(0x01, b"{\"type\"")).await;
            client.reset();
            return None;
        }
    }
    Some(client)
}

#[tokio::test]
async fn client_that_leaves_stops_its_engine() {
    let (server, mut asked) = scripted(Config::default().with(|c| c.close_timeout = SOON)).await;
    for how in LEAVINGS {
        // Before any audio, behind some, paused, and in an idle session.
        for before in ["nothing", "audio", "paused", "idle"] {
            let (mut client, mut sink) = speaking(&server, &mut asked).await;
            if before != "nothing" {
                sink.push(&[1; 3200]).unwrap();
                client.read_until("binary").await;
            }
            if before == "paused" {
                client.say(r#"{"type":"pause"}"#).await;
                sink.push(&[1; 3200]).unwrap();
            }
            if before == "idle" {
                within(sink.finish()).await;
                client.read_until("session_end").await;
                let kept = leave(client, how).await;
                server.is_quiet().await;
                drop(kept);
                continue;
            }
            assert!(!sink.is_cancelled());
            let since = Instant::now();
            let kept = leave(client, how).await;
            within(sink.cancelled()).await;
            drop(sink);
            server.is_quiet().await;
            assert!(since.elapsed() < Duration::from_secs(1), "{how:?}, {before}: {:?}", since.elapsed());
            drop(kept);
        }
    }
    works(&server, &mut asked).await;
}

/// Before, during and right after the handshake.
#[tokio::test]
async fn client_that_leaves_during_the_handshake_leaves_no_session() {
    let server = tone(Config::default().with(|c| c.close_timeout = SOON)).await;
    let bytes = [opening(server.addr, PATH), text(START)].concat();
    for cut in (0..bytes.len()).step_by(7) {
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes[..cut]).await;
        client.reset();
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes[..cut]).await;
        client.finish().await;
        drop(client);
    }
    server.is_quiet().await;
}

#[tokio::test]
async fn reset_in_mid_message_ends_the_session_200_times() {
    let server = tone(Config::default()).await;
    let mut other = session(server.addr).await;
    let message = [frame(0x01, b"{\"type\":"), text(START)].concat();
    for n in 0..200 {
        let mut client = open(server.addr).await;
        client.send_bytes(&message[..1 + n % (message.len() - 1)]).await;
        client.reset();
    }
    other.say(START).await;
    let frames = other.read_until("session_end").await;
    assert_eq!(kinds(&frames), ["text", "binary", "sentence_end", "session_end"]);
    drop(other);
    server.is_quiet().await;
}

/// A client listens on the same thread as many hostile clients.
#[tokio::test]
async fn listener_is_not_disturbed_by_hostile_clients() {
    let config = Config::default().with(|c| {
        c.heartbeat = SOON;
        c.silence_timeout = SOON * 15;
        c.stall_timeout = SOON;
        c.close_timeout = SOON;
    });
    let server = start_with(config, Arc::new(Treacherous(Tone::new(FORMAT, 3.0)))).await;
    let mut listener = session(server.addr).await;
    let paced = r#"{"type":"start_session","prompt":"One.","delivery":{"mode":"paced","aheadMs":500}}"#;
    listener.say(paced).await;
    let addr = server.addr;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut others = JoinSet::new();
    for n in 0..12 {
        let is_over = Arc::clone(&is_over);
        others.spawn(async move {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut client = session(addr).await;
                match n % 6 {
                    // Floods with messages that get answers, and reads no answer.
                    0 => drop(client.flood(&frame(0x89, &[b'p'; 125]).repeat(100)).await),
                    1 => drop(client.flood(&text("{}").repeat(100)).await),
                    // Starts long streams and answers no Ping.
                    2 => {
                        let much = json!({"type": "start_session", "prompt": "A word. ".repeat(500)});
                        client.say(&much.to_string()).await;
                        drop(client.read_until("close").await);
                    }
                    3 => {
                        client.send_bytes(&frame(0x01, b"{")).await;
                        client.reset();
                    }
                    4 => {
                        client.send_bytes(b"\xff").await;
                        drop(client.read_until("close").await);
                    }
                    _ => {
                        client.say(r#"{"type":"start_session","prompt":"Now."}"#).await;
                        drop(client.read_until("close").await);
                    }
                }
                rounds += 1;
            }
            rounds
        });
    }
    let mut heard = 0;
    loop {
        match listener.read_frame().await {
            Frame::Binary(audio) => heard += audio.len(),
            Frame::Ping(payload) => listener.send_bytes(&frame(0x8a, &payload)).await,
            Frame::Text(message) if message["type"] == "session_end" => break,
            Frame::Text(message) => assert_ne!(message["type"], "error", "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, 3 * 16_000);
    is_over.store(true, Ordering::Relaxed);
    while let Some(rounds) = others.join_next().await {
        assert!(rounds.unwrap() > 0, "each client has finished a round");
    }
    drop(listener);
    server.is_quiet().await;
}

/// Samples that identify their position: they repeat, but not in step with any frame.
const PERIOD: usize = 30_011;

pub(crate) fn counted() -> Vec<i16> {
    (0..PERIOD * 2).map(|n| (n % PERIOD) as i16).collect()
}

/// More bytes than all buffers between an engine and a client that does not read can hold.
const TOO_MUCH: usize = 32 << 20;

/// Pushes this many bytes into the sink as fast as the sink allows, and counts them.
pub(crate) fn pour(mut sink: Sink, bytes: usize) -> (Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    const SAMPLES: usize = 8_192;
    let poured = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&poured);
    let task = tokio::spawn(async move {
        let samples = counted();
        while count.load(Ordering::Relaxed) < bytes {
            let from = count.load(Ordering::Relaxed) / 2 % PERIOD;
            if sink.write(&samples[from..from + SAMPLES]).await.is_err() {
                return;
            }
            count.fetch_add(SAMPLES * 2, Ordering::Relaxed);
        }
        sink.finish().await;
    });
    (poured, task)
}

/// Waits until backpressure stops the engine. Returns the bytes so far.
pub(crate) async fn is_held_back(poured: &AtomicUsize) -> usize {
    within(async {
        let (mut seen, mut since) = (0, 0);
        while since < 2_000 {
            yield_now().await;
            let now = poured.load(Ordering::Relaxed);
            since = if now == seen && now > 0 { since + 1 } else { 0 };
            seen = now;
        }
        seen
    })
    .await
}

/// Waits until the kernel takes no more for a client that answers no pings: at first the server waits for its
/// answer.
async fn is_full(poured: &AtomicUsize) {
    let first = is_held_back(poured).await;
    within(async {
        while poured.load(Ordering::Relaxed) <= first {
            yield_now().await;
        }
    })
    .await;
    is_held_back(poured).await;
}

/// Reads all bytes that were poured, in order, and the end of their sentence.
async fn hears(client: &mut Raw, bytes: usize) {
    let expected: Vec<u8> = counted().iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut heard = 0;
    loop {
        match client.read_frame().await {
            Frame::Binary(audio) => {
                let from = heard % (PERIOD * 2);
                assert!(audio == expected[from..from + audio.len()], "after {heard} bytes");
                heard += audio.len();
            }
            other => break assert_eq!(other.kind(), "sentence_end"),
        }
    }
    assert_eq!(heard, bytes);
}

#[tokio::test]
async fn pause_holds_the_engine_back_and_loses_nothing() {
    let (server, mut asked) = scripted(Config::default()).await;
    let (mut client, sink) = speaking(&server, &mut asked).await;
    client.say(r#"{"type":"pause"}"#).await;
    client.say(r#"{"type":"marker"}"#).await;
    assert_eq!(client.read_frame().await.kind(), "error");
    let (poured, engine) = pour(sink, 2 << 20);
    assert!(is_held_back(&poured).await < 1 << 19);
    client.say(r#"{"type":"resume"}"#).await;
    hears(&mut client, 2 << 20).await;
    within(engine).await.unwrap();
}

#[tokio::test]
async fn client_that_does_not_read_holds_the_engine_back_and_loses_nothing() {
    let (server, mut asked) = scripted(Config::default().with(|c| c.frame_ms = 1000)).await;
    let (mut client, sink) = speaking(&server, &mut asked).await;
    let (poured, engine) = pour(sink, TOO_MUCH);
    assert!(is_held_back(&poured).await < TOO_MUCH / 2);
    // Other sessions are not affected.
    works(&server, &mut asked).await;
    // When the client reads again, nothing is missing.
    hears(&mut client, TOO_MUCH).await;
    within(engine).await.unwrap();
    assert_eq!(client.read_frame().await.kind(), "session_end");
}

#[tokio::test]
async fn client_that_leaves_without_reading_stops_its_engine() {
    let (server, mut asked) = scripted(Config::default().with(|c| c.close_timeout = SOON)).await;
    for how in LEAVINGS {
        let (client, sink) = speaking(&server, &mut asked).await;
        let (poured, engine) = pour(sink, TOO_MUCH);
        is_held_back(&poured).await;
        let kept = leave(client, how).await;
        within(engine).await.unwrap();
        assert!(poured.load(Ordering::Relaxed) < TOO_MUCH / 2, "{how:?}");
        server.is_quiet().await;
        drop(kept);
    }
}

#[tokio::test]
async fn stall_timeout_ends_a_client_that_reads_nothing() {
    let (server, mut asked) = scripted(Config::default().with(|c| c.stall_timeout = SOON)).await;
    let (client, sink) = speaking(&server, &mut asked).await;
    let (poured, engine) = pour(sink, TOO_MUCH);
    works(&server, &mut asked).await;
    within(engine).await.unwrap();
    assert!(poured.load(Ordering::Relaxed) < TOO_MUCH / 2);
    server.is_quiet().await;
    drop(client);
    works(&server, &mut asked).await;
}

/// Bytes that only the kernel moved do not restart the stall timeout.
#[tokio::test]
async fn stall_timeout_runs_once_for_a_client_that_stops_reading() {
    let stall_timeout = Duration::from_secs(2);
    let (server, mut asked) = scripted(Config::default().with(|c| {
        c.stall_timeout = stall_timeout;
        c.frame_ms = 1000;
    }))
    .await;
    let (mut client, sink) = speaking(&server, &mut asked).await;
    let (poured, engine) = pour(sink, usize::MAX);
    is_full(&poured).await;
    // Enough to open the window, too little for the kernel to report the socket as writable.
    for _ in 0..16 {
        assert_eq!(client.read_frame().await.kind(), "binary");
    }
    let since = Instant::now();
    within(engine).await.unwrap();
    assert!(since.elapsed() < stall_timeout * 7 / 5, "{:?}", since.elapsed());
    drop(client);
    server.is_quiet().await;
}

/// A client that reads a little now and then is slow, not gone.
#[tokio::test]
async fn stall_timeout_spares_a_client_that_reads_slowly() {
    let stall_timeout = SOON * 4;
    let (server, mut asked) = scripted(Config::default().with(|c| {
        c.stall_timeout = stall_timeout;
        c.frame_ms = 1000;
    }))
    .await;
    let (mut client, sink) = speaking(&server, &mut asked).await;
    let (_, engine) = pour(sink, usize::MAX);
    let mut often = tokio::time::interval(stall_timeout / 8);
    for _ in 0..16 {
        often.tick().await;
        // Far less than the kernel needs free before it reports the socket as writable again.
        for _ in 0..4 {
            assert_eq!(client.read_frame().await.kind(), "binary");
        }
    }
    assert!(!engine.is_finished());
    drop(client);
    within(engine).await.unwrap();
    server.is_quiet().await;
}

#[tokio::test]
async fn flood_of_pings_without_reading_is_bounded_and_ends() {
    let server = tone(Config::default().with(|c| c.stall_timeout = SOON)).await;
    let mut other = session(server.addr).await;
    let mut client = session(server.addr).await;
    let sent = client.flood(&frame(0x89, &[b'p'; 125]).repeat(100)).await;
    assert!(sent < TOO_MUCH, "{sent}");
    other.say(START).await;
    other.read_until("session_end").await;
    drop(other);
    server.is_quiet().await;
}

/// The same with messages that each get an error.
#[tokio::test]
async fn flood_of_messages_without_reading_is_bounded_and_ends() {
    let server = tone(Config::default().with(|c| c.stall_timeout = SOON)).await;
    let mut client = session(server.addr).await;
    let sent = client.flood(&text("{}").repeat(100)).await;
    assert!(sent < TOO_MUCH, "{sent}");
    server.is_quiet().await;
}

#[tokio::test]
async fn messages_are_answered_each_ten_thousand_times() {
    let server = tone(Config::default()).await;
    let mut client = session(server.addr).await;
    for round in 0..20 {
        let bytes: Vec<u8> = (0..500).flat_map(|n| text(&format!(r#"{{"type":"m{round}-{n}"}}"#))).collect();
        client.send_bytes(&bytes).await;
        for n in 0..500 {
            let Frame::Text(answer) = client.read_frame().await else { panic!("no answer") };
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains(&format!("m{round}-{n}\"")), "{message}");
        }
    }
    client.send_bytes(&text(r#"{"type":"pause"}"#).repeat(10_000)).await;
    client.send_bytes(&text(r#"{"type":"resume"}"#).repeat(10_000)).await;
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(kinds(&frames), ["text", "binary", "sentence_end", "session_end"]);
}

/// Each row: the behaviour of the engine, and the frames that the client gets.
#[tokio::test]
async fn engine_failure_ends_only_its_sentence() {
    let (server, mut asked) = scripted(Config::default()).await;
    let mut client = session(server.addr).await;
    for (name, samples, end, expected) in [
        ("fails before it begins", 0, "fail", &["text", "error", "sentence_end"][..]),
        ("fails in the middle", 1_001, "fail", &["text", "binary", "error", "sentence_end"]),
        ("gives up before it begins", 0, "drop", &["text", "error", "sentence_end"]),
        ("gives up in the middle", 1_001, "drop", &["text", "binary", "error", "sentence_end"]),
        ("has nothing to say", 0, "finish", &["text", "error", "sentence_end"]),
        ("does as it should", 1_001, "finish", &["text", "binary", "sentence_end"]),
    ] {
        client.say(r#"{"type":"start_session","prompt":"One. Two."}"#).await;
        let (_, mut sink) = within(asked.recv()).await.unwrap();
        sink.push(&vec![7; samples]).unwrap();
        match end {
            "fail" => within(sink.fail(SynthesisError::failed("The moon is full."))).await,
            "finish" => within(sink.finish()).await,
            _ => drop(sink),
        }
        let first = client.read_until("sentence_end").await;
        assert_eq!(kinds(&first), expected, "{name}");
        let heard = audio(&first);
        assert_eq!(heard.len() % 2, 0, "{name}: whole samples");
        if end != "drop" {
            assert_eq!(heard.len(), samples * 2, "{name}");
        }
        if end == "fail" {
            let error = Frame::Text(json!({"type": "error", "message": "The moon is full."}));
            assert!(first.contains(&error), "{name}: {first:?}");
        }
        // The next sentence is spoken all the same.
        let (utterance, mut sink) = within(asked.recv()).await.unwrap();
        assert_eq!((utterance.text.as_str(), utterance.index), ("Two.", 1), "{name}");
        sink.push(&[7; 10]).unwrap();
        within(sink.finish()).await;
        let second = client.read_until("session_end").await;
        assert_eq!(kinds(&second), ["text", "binary", "sentence_end", "session_end"], "{name}");
    }
    drop(client);
    server.is_quiet().await;
}

/// Panics at once, panics with the first chunk, blocks its thread as an overloaded machine does, or
/// speaks: the sentence decides.
struct Treacherous(Tone);

impl Synthesizer for Treacherous {
    fn name(&self) -> &str {
        "treacherous"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        match utterance.text.as_str() {
            "Now." => panic!("as asked"),
            "Soon." => Speech::ready(&utterance, std::iter::from_fn(|| panic!("as asked"))),
            "Elsewhere." => {
                let (sink, speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
                tokio::spawn(async move {
                    let _sink = sink;
                    panic!("as asked");
                });
                speech
            }
            text => {
                if text.contains("ponderous") {
                    std::thread::sleep(SOON);
                }
                self.0.speak(utterance)
            }
        }
    }
}

#[tokio::test]
async fn engine_panic_ends_only_its_session() {
    let server = start_with(Config::default(), Arc::new(Treacherous(Tone::new(FORMAT, 0.1)))).await;
    let mut other = session(server.addr).await;
    for prompt in ["Now.", "Soon.", "Fine. Now.", "Fine. Soon.", "Fine. Fine. Fine. Fine. Now."] {
        let mut client = session(server.addr).await;
        client.say(&json!({"type": "start_session", "prompt": prompt}).to_string()).await;
        let Some(Frame::Close(Some((code, _)))) = client.read_until("close").await.pop() else {
            panic!("{prompt}: no close code")
        };
        assert_eq!(code, 1011, "{prompt}");
        assert_eq!(client.read_to_close().await, b"", "{prompt}");
        drop(client);

        other.say(START).await;
        let frames = other.read_until("session_end").await;
        assert_eq!(kinds(&frames), ["text", "binary", "sentence_end", "session_end"], "{prompt}");
    }
    // A panic in a task of the engine fails its sentence.
    other.say(r#"{"type":"start_session","prompt":"Elsewhere. Fine."}"#).await;
    let frames = other.read_until("session_end").await;
    let expected = ["text", "error", "sentence_end", "text", "binary", "sentence_end", "session_end"];
    assert_eq!(kinds(&frames), expected);
    drop(other);
    server.is_quiet().await;
}

/// The second sentence is due while the first one still blocks its connection. When the connection
/// sets a timer for it, the runtime's other thread is past that moment.
#[test]
fn deadline_that_passes_during_a_poll_is_kept() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let heard = runtime.block_on(async {
        let mut others = interval(Duration::from_millis(1));
        tokio::spawn(async move {
            loop {
                others.tick().await;
            }
        });
        let server = start_with(Config::default(), Arc::new(Treacherous(Tone::new(FORMAT, 0.1)))).await;
        let (mut client, _) = v1(server.addr).await;
        let start = json!({"type": "start_session", "source": "append", "segmentation": {"idleMs": 10}});
        client.say(&start.to_string()).await;
        let text = "A ponderous one comes first. The second one could go on.";
        client.say(&json!({"type": "append", "text": text}).to_string()).await;
        timeout(PATIENCE, async {
            client.read_until("sentence_end").await;
            client.read_until("sentence_end").await
        })
        .await
    });
    // The runtime does not wait for a thread that spins.
    runtime.shutdown_background();
    assert_eq!(kinds(&heard.unwrap()), ["text", "binary", "sentence_end"]);
}

/// The server pings during a stream that always has more to send, and reads its client.
#[tokio::test]
async fn client_of_a_fast_stream_is_pinged_and_heard() {
    let config = Config::default().with(|c| c.heartbeat = Duration::from_millis(5));
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 1e9))).await;
    let addr = server.addr;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            let mut client = session(addr).await;
            client.say(START).await;
            for _ in 0..40 {
                client.read_until("ping").await;
            }
            client.say(r#"{"type":"nonsense"}"#).await;
            client.read_until("error").await;
        });
    }
    within(clients.join_all()).await;
    server.is_quiet().await;
}

/// Each end of a session logs one line with who ended it, the code and the reason.
#[tokio::test]
async fn log_line_says_how_each_session_ended() {
    log::listen();
    let config = Config::default().with(|c| {
        c.heartbeat = SOON / 2;
        // Longer than it takes to fill the kernel's buffers for a client that answers no ping.
        c.silence_timeout = SOON * 60;
        c.stall_timeout = SOON;
        c.close_timeout = SOON;
        c.frame_ms = 1000;
    });
    let engine = Arc::new(Treacherous(Tone::new(FORMAT, 1e6)));
    let server = start_with(config, engine).await;
    let start = |prompt: &str| text(&json!({"type": "start_session", "prompt": prompt}).to_string());
    let table: [(&str, Vec<u8>, bool, &str); 9] = [
        (
            "closes",
            close(1000, "bye"),
            true,
            "INFO aloud::session: session ended by=\"client\" code=1000 reason=\"bye\"",
        ),
        (
            "breaks the protocol",
            frame(0x83, b""),
            true,
            "INFO aloud::session: session ended by=\"server\" code=1002 reason=\"The opcode is reserved.\"",
        ),
        (
            "is no text",
            frame(0x81, b"\xff"),
            true,
            "INFO aloud::session: session ended by=\"server\" code=1007 reason=\"Text must be valid UTF-8.\"",
        ),
        (
            "is too long",
            frame(0x81, &[b' '; 70_000]),
            true,
            "INFO aloud::session: session ended by=\"server\" code=1009 reason=\"The message is over the size limit.\"",
        ),
        (
            "is silent",
            Vec::new(),
            true,
            "by=\"server\" code=1008 reason=\"No data from the client for too long (the closing handshake was not finished)\"",
        ),
        (
            "does not finish closing",
            text(r#"{"type":"end"}"#),
            true,
            "by=\"server\" code=1000 reason=\"Session ended by client (the closing handshake was not finished)\"",
        ),
        (
            "reads nothing",
            text(r#"{"type":"start_session","prompt":"On and on.","audio":{"sampleRate":48000}}"#),
            false,
            "code=1008 reason=\"The client read nothing for too long",
        ),
        (
            "has a fault of ours",
            start("Now."),
            true,
            "ERROR aloud::session: session ended by=\"server\" code=1011 reason=\"a fault of the server\"",
        ),
        ("resets", Vec::new(), false, "INFO aloud::session: session ended by=\"nobody\" code=1006"),
    ];
    for (name, bytes, reads, expected) in table {
        let mut client = open(server.addr).await;
        let Frame::Text(greeting) = client.read_frame().await else { panic!("no greeting") };
        let id = format!("id={}", greeting["sessionId"]);
        client.send_bytes(&bytes).await;
        let mut kept = None;
        match name {
            "resets" => client.reset(),
            _ if reads => drop(client.read_until("close").await),
            _ => kept = Some(client),
        }
        let line = within(async {
            loop {
                if let Some(line) = log::lines().into_iter().find(|line| line.contains(&id)) {
                    break line;
                }
                yield_now().await;
            }
        });
        let line = line.await;
        drop(kept);
        eprintln!("{name}: {line}");
        let line = line.replace(&format!("{id} client=\"127.0.0.1\" "), "");
        assert!(line.contains(expected), "{name}: {line}");
        server.is_quiet().await;
        assert_eq!(log::lines().iter().filter(|line| line.contains(&id)).count(), 1, "{name}");
    }
}

/// Each message gets one error and changes nothing else.
#[tokio::test]
async fn message_of_nonsense_gets_one_error() {
    let server = tone(Config::default().with(|c| c.max_message_bytes = 2 << 20)).await;
    let mut client = session(server.addr).await;
    let prompt = |value: &str| format!(r#"{{"type":"start_session","prompt":{value}}}"#);
    let quoted = |text: &str| prompt(&format!("\"{text}\""));
    let deep = 100_000;
    for (name, message) in [
        ("nothing", String::new()),
        ("a space", " ".to_owned()),
        ("not JSON", "start_session".to_owned()),
        ("null", "null".to_owned()),
        ("a number", "1".to_owned()),
        ("a string", "\"pause\"".to_owned()),
        ("an array", r#"[{"type":"pause"}]"#.to_owned()),
        ("no type", "{}".to_owned()),
        ("a type that is no string", r#"{"type":["pause"]}"#.to_owned()),
        ("an unknown type", r#"{"type":"PAUSE"}"#.to_owned()),
        ("a very long unknown type", format!(r#"{{"type":"{}"}}"#, "\u{1f600}".repeat(50_000))),
        ("cut short", r#"{"type":"pause""#.to_owned()),
        ("two objects", r#"{"type":"pause"}{"type":"pause"}"#.to_owned()),
        ("a comma too many", r#"{"type":"pause",}"#.to_owned()),
        ("a byte order mark", "\u{feff}{\"type\":\"pause\"}".to_owned()),
        ("a bare NUL", "{\"type\":\"pause\"}\0".to_owned()),
        ("a NUL in a string", quoted("a\0b")),
        ("a line feed in a string", quoted("a\nb")),
        ("arrays, deep", "[".repeat(deep)),
        ("arrays, deep and closed", "[".repeat(deep) + &"]".repeat(deep)),
        ("objects, deep", r#"{"a":"#.repeat(deep)),
        ("deep in a prompt", prompt(&("[".repeat(deep) + &"]".repeat(deep)))),
        ("deep in an unknown field", format!(r#"{{"type":"pause","x":{}"#, "[".repeat(deep))),
        ("1e999", r#"{"type":1e999}"#.to_owned()),
        ("1e999 for a prompt", prompt("1e999")),
        ("the last of two types counts", r#"{"type":"start_session","type":"nothing"}"#.to_owned()),
        ("the last of two prompts counts", r#"{"type":"start_session","prompt":"a","prompt":1}"#.to_owned()),
        ("an escape that is none", quoted(r"\x41")),
        ("null for a prompt", prompt("null")),
        ("a prompt of 20,001 characters", quoted(&"a".repeat(20_001))),
        ("a word of 100 kB", quoted(&"a".repeat(100_000))),
        ("1 MiB of text", quoted(&"A word. ".repeat(1 << 17))),
    ] {
        client.say(&message).await;
        // One answer each: the next answer belongs to this message.
        client.say(r#"{"type":"marker"}"#).await;
        let is_start =
            name.starts_with("a prompt of") || name.ends_with("100 kB") || name.ends_with("of text");
        let answer = client.read_frame().await;
        let Frame::Text(value) = &answer else { panic!("{name}: {answer:?}") };
        assert_eq!(value["type"], "error", "{name}");
        let words = value["message"].as_str().unwrap();
        assert!(words.len() < 400, "{name}: {} bytes", words.len());
        assert_eq!(value.as_object().unwrap().len(), 2, "{name}: {value}");
        if is_start {
            // A stream that is refused has its end.
            assert_eq!(client.read_frame().await.kind(), "session_end", "{name}");
        }
        let Frame::Text(marker) = client.read_frame().await else { panic!("{name}: no marker") };
        assert!(marker["message"].as_str().unwrap().contains("marker"), "{name}: {marker}");
    }
    client.say(START).await;
    assert_eq!(
        kinds(&client.read_until("session_end").await),
        ["text", "binary", "sentence_end", "session_end"]
    );
}

/// Odd text is spoken to its end without an error.
#[tokio::test]
async fn text_that_is_odd_is_spoken() {
    let server = tone(Config::default().with(|c| c.max_message_bytes = 1 << 20)).await;
    let mut client = session(server.addr).await;
    for (name, prompt, speaks) in [
        ("nothing", String::new(), false),
        ("spaces", " \t\r\n\u{a0}\u{2003} ".to_owned(), false),
        (
            "right to left",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}. \u{645}\u{631}\u{62d}\u{628}\u{627}.".to_owned(),
            true,
        ),
        ("turned around", "a\u{202e}bc\u{202c}d.".to_owned(), true),
        ("many accents", format!("e{}.", "\u{301}".repeat(100)), true),
        ("a word without end", "a".repeat(20_000), true),
        ("terminators without end", ".!?".repeat(6_666), false),
        ("20,000 characters of four bytes", "\u{10348}".repeat(20_000), true),
        ("short sentences", "A. ".repeat(500), true),
        ("markup", "<speak><break time=\"1s\"/>Hi.</speak>".to_owned(), true),
    ] {
        client.say(&json!({"type": "start_session", "prompt": prompt}).to_string()).await;
        let frames = client.read_until("session_end").await;
        assert!(frames.iter().all(|frame| frame.kind() != "error"), "{name}");
        assert_eq!(frames.len() > 1, speaks, "{name}: {:?}", kinds(&frames));
        let spoken = frames.iter().filter(|frame| frame.kind() == "text");
        let spoken: String = spoken
            .map(|frame| match frame {
                Frame::Text(value) => value["data"].as_str().unwrap().to_owned(),
                _ => String::new(),
            })
            .collect();
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        if speaks {
            assert!(squeezed(&spoken) == squeezed(&prompt), "{name}: nothing is lost");
        }
    }
    // Text without words ends as well, with or without a request to the engine.
    let accents = format!("e{}.", "\u{301}".repeat(10_000));
    for prompt in ["\0", "\u{1f600}\u{1f680}", "...", "\u{200b}\u{200d}\u{feff}", &accents] {
        client.say(&json!({"type": "start_session", "prompt": prompt}).to_string()).await;
        client.read_until("session_end").await;
    }
}

/// Text within the limit is spoken in pieces of bounded length, and nothing is lost.
#[tokio::test]
async fn text_of_one_100_kb_word_is_spoken_within_its_limit() {
    let config = Config::default().with(|c| {
        c.max_message_bytes = 1 << 20;
        c.max_prompt_chars = 200_000;
    });
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.001))).await;
    let mut client = session(server.addr).await;
    client.say(&json!({"type": "start_session", "prompt": "a".repeat(100_000)}).to_string()).await;
    let frames = client.read_until("session_end").await;
    let said: Vec<usize> = frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Text(value) if frame.kind() == "text" => Some(value["data"].as_str().unwrap().len()),
            _ => None,
        })
        .collect();
    assert_eq!(said.iter().sum::<usize>(), 100_000);
    assert!(said.iter().all(|length| *length <= 1_000), "{said:?}");
    assert!(frames.iter().all(|frame| frame.kind() != "error"));
}

#[tokio::test]
async fn message_over_the_limit_ends_the_session() {
    let server = tone(Config::default().with(|c| c.close_timeout = SOON)).await;
    let limit = Config::default().max_message_bytes;
    let mut client = session(server.addr).await;
    client.say(&"x".repeat(limit)).await;
    assert_eq!(client.read_frame().await.kind(), "error");
    client.say(&"x".repeat(limit + 1)).await;
    assert_eq!(client.read_close().await, 1009);

    let mut client = session(server.addr).await;
    client.send_bytes(&frame(0x01, &vec![b'x'; limit])).await;
    client.send_bytes(&frame(0x80, b"x")).await;
    assert_eq!(client.read_close().await, 1009);

    // Audio from a client is ignored, within a limit.
    let mut client = session(server.addr).await;
    client.send_bytes(&frame(0x82, &vec![0; limit])).await;
    client.say("{}").await;
    assert_eq!(client.read_frame().await.kind(), "error");
    client.send_bytes(&frame(0x82, &vec![0; limit + 1])).await;
    assert_eq!(client.read_close().await, 1009);
    server.is_quiet().await;
}

#[tokio::test]
async fn close_timeout_ends_a_client_that_does_not_finish_closing() {
    let server = tone(Config::default().with(|c| c.close_timeout = SOON)).await;
    // The client closed, but keeps the socket open.
    let mut client = session(server.addr).await;
    client.send_bytes(&close(1000, "")).await;
    assert_eq!(client.read_close().await, 1000);
    server.is_quiet().await;
    drop(client);

    // The client broke the protocol, and keeps sending.
    let mut client = session(server.addr).await;
    client.send_bytes(b"\xff").await;
    assert_eq!(client.read_close().await, 1002);
    client.flood(&text("more")).await;
    server.is_quiet().await;

    // The client does not answer the server's Close.
    let mut client = session(server.addr).await;
    client.say(r#"{"type":"end"}"#).await;
    assert_eq!(client.read_frame().await.kind(), "session_end");
    assert_eq!(client.read_close().await, 1000);
    server.is_quiet().await;
}

#[tokio::test]
async fn end_starts_no_further_synthesis() {
    let (server, mut asked) = scripted(Config::default()).await;
    for behind in [text(START), [text("{}"), text(START)].concat()] {
        for in_one in [true, false] {
            let mut client = session(server.addr).await;
            let end = text(r#"{"type":"end"}"#);
            if in_one {
                client.send_bytes(&[&end[..], &behind].concat()).await;
            } else {
                client.send_bytes(&end).await;
                client.send_bytes(&behind).await;
            }
            client.send_bytes(&close(1000, "")).await;
            assert_eq!(client.read_frame().await.kind(), "session_end");
            assert_eq!(client.read_close().await, 1000);
            drop(client);
            server.is_quiet().await;
            assert_eq!(asked.try_recv().err(), Some(TryRecvError::Empty));
        }
    }
}

/// A client that ends its own direction still gets the rest of its stream.
#[tokio::test]
async fn half_closed_client_gets_its_answers() {
    let server = tone(Config::default()).await;
    for (last, expected) in [
        (text(r#"{"type":"end"}"#), &["session_end", "close"][..]),
        ([text("{}"), close(1000, "")].concat(), &["error", "close"]),
        (close(4000, "done"), &["close"]),
        (frame(0x83, b""), &["close"]),
    ] {
        let mut client = session(server.addr).await;
        client.send_bytes(&last).await;
        client.finish().await;
        assert_eq!(kinds(&client.read_until("close").await), expected);
        assert_eq!(client.read_to_close().await, b"");
        server.is_quiet().await;
    }
    // An idle client that ends its direction gets the end of the other one.
    let mut client = session(server.addr).await;
    client.finish().await;
    assert_eq!(client.read_to_close().await, b"");
}

/// Completes the closing handshake that the server began with this code.
async fn closed(client: &mut Raw, code: u16) {
    let Frame::Close(Some((given, _))) = client.read_frame().await else { panic!("no close code") };
    assert_eq!(given, code);
    client.send_bytes(&close(code, "")).await;
    assert_eq!(client.read_to_close().await, b"");
}

#[tokio::test]
async fn drain_closes_idle_sessions_and_finishes_streams() {
    let (mut server, mut asked) = scripted(Config::default()).await;
    let mut idle = session(server.addr).await;
    let (mut streaming, mut sink) = speaking(&server, &mut asked).await;
    let (mut paused, _kept) = speaking(&server, &mut asked).await;
    paused.say(r#"{"type":"pause"}"#).await;
    server.stop();
    closed(&mut idle, 1001).await;

    sink.push(&[1; 800]).unwrap();
    assert_eq!(streaming.read_frame().await.kind(), "binary");
    within(sink.finish()).await;
    let frames = streaming.read_until("close").await;
    assert_eq!(kinds(&frames), ["binary", "sentence_end", "session_end", "close"]);
    assert!(matches!(&frames[frames.len() - 1], Frame::Close(Some((1001, _)))));
    streaming.send_bytes(&close(1001, "")).await;
    assert_eq!(streaming.read_to_close().await, b"");
    drop((idle, streaming));
    assert!(!server.stop().is_finished(), "one connection is still open");

    paused.send_bytes(&close(1000, "")).await;
    drop((paused, _kept));
    within(server.stop()).await.unwrap();
}

#[tokio::test]
async fn drain_ends_at_its_timeout() {
    let (mut server, mut asked) = scripted(Config::default().with(|c| {
        c.drain_timeout = SOON;
        c.close_timeout = SOON;
    }))
    .await;
    let (mut streaming, sink) = speaking(&server, &mut asked).await;
    let (silent, other) = speaking(&server, &mut asked).await;
    server.stop();
    assert_eq!(streaming.read_close().await, 1012);
    within(sink.cancelled()).await;
    within(other.cancelled()).await;
    // The client does not answer the Close.
    within(server.stop()).await.unwrap();
    drop((silent, sink, other));
    server.is_quiet().await;
}

/// The server answers an unfinished request; it ends a connection without one.
#[tokio::test]
async fn drain_refuses_a_handshake_in_progress() {
    let (mut server, mut asked) = scripted(Config::default()).await;
    let bytes = opening(server.addr, PATH);
    let mut begun = raw(server.addr).await;
    begun.send_bytes(&bytes[..20]).await;
    let mut silent = raw(server.addr).await;
    let mut answered = raw(server.addr).await;
    answered.send_bytes(b"GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answered.read_answer().await.0.status, 404);
    // The server has accepted the earlier connections too.
    let (_streaming, _sink) = speaking(&server, &mut asked).await;
    server.stop();
    // The end of this connection shows that the server has noticed.
    assert_eq!(silent.read_to_close().await, b"");
    begun.send_bytes(&bytes[20..]).await;
    let (head, body) = begun.read_answer().await;
    assert_eq!(head.status, 503);
    assert_eq!(head.header("retry-after").as_deref(), Some("5"));
    assert_eq!(head.header("connection").as_deref(), Some("close"));
    assert!(body.ends_with(".\n"), "{body}");
    for client in [&mut begun, &mut answered] {
        assert_eq!(client.read_to_close().await, b"");
    }
}

/// Neither half a request nor a kept connection holds up a shutdown.
#[tokio::test]
async fn drain_does_not_wait_for_clients_without_a_session() {
    let (mut server, _asked) = scripted(Config::default()).await;
    let mut begun = raw(server.addr).await;
    begun.send_bytes(&opening(server.addr, PATH)[..20]).await;
    let mut posted = raw(server.addr).await;
    posted.send_bytes(b"POST /no HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n").await;
    let mut kept = raw(server.addr).await;
    kept.send_bytes(b"GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(kept.read_answer().await.0.status, 404);
    let since = Instant::now();
    within(server.stop()).await.unwrap();
    // The time for a request is 10 s, and the time for a client to close is 2 s.
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    drop((begun, posted, kept));
}

/// An embedder's own server keeps accepting, and its connections stay open.
#[tokio::test]
async fn drain_refuses_a_handshake_on_a_kept_connection() {
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = service.clone();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        http1::Builder::new().serve_connection(TokioIo::new(socket), serving).with_upgrades().await
    });
    let mut client = raw(addr).await;
    client.send_bytes(b"GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.read_answer().await.0.status, 404);
    within(service.stop()).await;
    for _ in 0..2 {
        client.send_bytes(&opening(addr, PATH)).await;
        let (head, body) = client.read_answer().await;
        assert_eq!(head.status, 503);
        assert_eq!(head.header("retry-after").as_deref(), Some("5"));
        assert_eq!(head.header("connection"), None);
        assert!(body.ends_with(".\n"), "{body}");
    }
}
