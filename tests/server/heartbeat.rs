//! Ping, silence, the closing handshake and all other deadlines, by a clock that only the test
//! advances. The connection is memory, because a paused clock would jump while the kernel works.

use crate::support::{self, FORMAT, Frame, Raw, Scripted, Scripting, close, frame, opening};
use aloud::tts::{Synthesizer, Tone};
use aloud::{Config, PATH, Service};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Size of the buffer of each direction, in place of the kernel's.
const BUFFER_BYTES: usize = 1024;

/// Several times the clock's granularity, since a deadline may be rounded more than once.
const GRAIN: Duration = Duration::from_millis(10);

const HOUR: Duration = Duration::from_secs(3600);
const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;
const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const END: &str = r#"{"type":"end"}"#;

fn endless() -> Arc<Tone> {
    Arc::new(Tone::new(FORMAT, 1e9))
}

fn service(config: Config, engine: Arc<dyn Synthesizer>) -> Service {
    Service::new(config, engine).unwrap()
}

/// Shakes hands with the service over memory, and takes the greeting.
async fn connect(service: &Service) -> Raw<DuplexStream> {
    let (ours, theirs) = duplex(BUFFER_BYTES);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), service.clone());
    tokio::spawn(connection.with_upgrades());
    let mut client = Raw::over(ours, 2 * HOUR);
    client.send_bytes(&opening("127.0.0.1:80".parse().unwrap(), PATH)).await;
    assert_eq!(client.read_head().await.status, 101);
    assert_eq!(client.read_frame().await.kind(), "session_start");
    client
}

async fn idle() -> (Service, Raw<DuplexStream>) {
    let service = service(Config::default(), endless());
    let client = connect(&service).await;
    (service, client)
}

fn assert_at(since: Instant, seconds: u64, what: &str) {
    let (elapsed, expected) = (since.elapsed(), Duration::from_secs(seconds));
    assert!(elapsed >= expected && elapsed <= expected + GRAIN, "{what} after {elapsed:?}, not {expected:?}");
}

/// Waits until no session and no synthesis is left. Returns the time that took.
async fn quiet(service: &Service) -> Duration {
    let since = Instant::now();
    while service.sessions().count() + service.syntheses().count() > 0 {
        assert!(since.elapsed() < HOUR);
        sleep(Duration::from_millis(1)).await;
    }
    since.elapsed()
}

/// Reads all frames that arrive while the clock barely moves.
async fn read_all(client: &mut Raw<DuplexStream>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Ok(frame) = timeout(Duration::from_millis(1), client.read_frame()).await {
        frames.push(frame);
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn silence_gets_a_ping_then_a_close_then_the_end() {
    let (service, mut client) = idle().await;
    let since = Instant::now();
    for seconds in [30, 60] {
        assert!(matches!(client.read_frame().await, Frame::Ping(_)));
        assert_at(since, seconds, "Ping");
    }
    assert_eq!(
        client.read_frame().await,
        Frame::Close(Some((1008, "No data from the client for too long".to_owned())))
    );
    assert_at(since, 75, "Close");
    assert_eq!(client.read_to_close().await, b"");
    assert_at(since, 80, "the end");
    assert_eq!(service.sessions().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn frame_of_any_kind_restarts_the_silence_timeout() {
    let table: [(&str, Vec<u8>); 7] = [
        ("an unsolicited Pong", frame(0x8a, b"")),
        ("a Ping", frame(0x89, b"hi")),
        ("a message", support::text(PAUSE)),
        ("nonsense", support::text("nonsense")),
        ("binary", frame(0x82, b"\0\0")),
        ("an empty message", frame(0x81, b"")),
        ("a fragment", frame(0x01, b"{")),
    ];
    for (name, bytes) in table {
        let (_service, mut client) = idle().await;
        let since = Instant::now();
        sleep_until(since + Duration::from_secs(70)).await;
        client.send_bytes(&bytes).await;
        let frames = client.read_until("close").await;
        assert_at(since, 145, name);
        assert_eq!(frames.iter().filter(|f| f.kind() == "ping").count(), 4, "{name}");
        assert_eq!(
            frames.last().unwrap().clone(),
            Frame::Close(Some((1008, "No data from the client for too long".to_owned())))
        );
    }
}

/// The server waits for the rest of a frame until the silence timeout. The engine and the writer of
/// the session stop with it.
#[tokio::test(start_paused = true)]
async fn silence_after_half_a_frame_ends_the_session() {
    let (writer, mut asked) = Scripting::new();
    let service = Service::with_writer(Config::default(), endless(), writer).unwrap();
    for cut in [1, 2, 5, 6, 20] {
        let mut client = connect(&service).await;
        client.say(r#"{"type":"start_session","source":"llm","prompt":"Hi."}"#).await;
        let (_, mut pen) = asked.recv().await.unwrap();
        pen.write("One. Two. Three.").await.unwrap();
        assert_eq!(client.read_frame().await.kind(), "text");
        client.say(PAUSE).await;
        client.send_bytes(&support::text(RESUME)[..cut]).await;
        client.answers = false;
        let since = Instant::now();
        let frames = client.read_until("close").await;
        assert_at(since, 75, "Close");
        assert_eq!(
            frames.last(),
            Some(&Frame::Close(Some((1008, "No data from the client for too long".to_owned())))),
            "{cut}"
        );
        pen.cancelled().await;
        drop(pen);
        assert_eq!((service.syntheses().count(), service.scripts().count()), (0, 0), "{cut}");
        assert_at(since, 75, "the end of engine and writer");
        assert_eq!(client.read_to_close().await, b"");
        assert_at(since, 80, "the end");
        assert_eq!(service.sessions().count(), 0, "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn ping_is_sent_every_30_s_to_a_peer_that_answers() {
    let service = service(Config::default().with(|c| c.idle_timeout = None), endless());
    let mut client = connect(&service).await;
    let since = Instant::now();
    for n in 1..=120 {
        let Frame::Ping(payload) = client.read_frame().await else { panic!("a Ping") };
        let elapsed = since.elapsed();
        assert!(
            elapsed >= Duration::from_secs(30 * n) && elapsed <= (Duration::from_secs(30) + GRAIN) * n as u32
        );
        client.send_bytes(&frame(0x8a, &payload)).await;
    }
    assert_eq!(service.sessions().count(), 1);
    client.say(END).await;
    assert_eq!(client.read_frame().await.kind(), "session_end");
}

#[tokio::test(start_paused = true)]
async fn ping_and_silence_follow_the_settings() {
    let config = Config::default().with(|c| {
        c.heartbeat = Duration::from_secs(7);
        c.silence_timeout = Duration::from_secs(20);
        c.close_timeout = Duration::from_secs(3);
    });
    let mut client = connect(&service(config, endless())).await;
    let since = Instant::now();
    for (kind, seconds) in [("ping", 7), ("ping", 14), ("close", 20)] {
        assert_eq!(client.read_frame().await.kind(), kind);
        assert_at(since, seconds, kind);
    }
    assert_eq!(client.read_to_close().await, b"");
    assert_at(since, 23, "the end");
}

#[tokio::test(start_paused = true)]
async fn ping_continues_while_a_stream_is_paused_or_its_engine_is_silent() {
    // A stream that is paused, for longer than an idle session is kept.
    let config = Config::default().with(|c| c.idle_timeout = None);
    let service = service(config, Arc::new(Tone::new(FORMAT, 30.0)));
    let mut client = connect(&service).await;
    client.say(PAUSE).await;
    client.say(START).await;
    let since = Instant::now();
    for seconds in 1..=120 {
        assert_eq!(client.read_frame().await.kind(), "ping");
        assert_at(since, seconds * 30, "Ping");
        client.send_bytes(&frame(0x8a, b"")).await;
    }
    assert_eq!(service.syntheses().count(), 0, "nothing is begun for it");
    client.say(RESUME).await;
    let frames = client.read_until("session_end").await;
    let bytes: usize =
        frames.iter().map(|f| if let Frame::Binary(audio) = f { audio.len() } else { 0 }).sum();
    assert_eq!(bytes, 2 * 30 * 16_000);

    // A stream whose engine has produced nothing yet.
    let (engine, mut asked) = Scripted::new();
    let mut client = connect(&self::service(Config::default(), engine)).await;
    client.say(START).await;
    assert_eq!(client.read_frame().await.kind(), "text");
    let _engine = asked.recv().await.unwrap();
    for _ in 0..10 {
        assert_eq!(client.read_frame().await.kind(), "ping");
        client.send_bytes(&frame(0x8a, b"")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn close_timeout_ends_the_closing_handshake() {
    // Name, message of the client, first answer, is the Close answered, seconds until the end.
    let violation = frame(0x83, b"");
    let table: [(&str, Vec<u8>, &str, bool, u64); 4] = [
        ("ended, not answered", support::text(END), "session_end", false, 5),
        ("ended, answered", support::text(END), "session_end", true, 0),
        ("closed by the client", close(1000, "bye"), "close", false, 0),
        ("broken", violation, "close", false, 0),
    ];
    for (name, bytes, first, answers, seconds) in table {
        let (service, mut client) = idle().await;
        client.say(START).await;
        assert_eq!(client.read_frame().await.kind(), "text");
        client.say(PAUSE).await;
        client.send_bytes(&frame(0x89, b"")).await;
        client.read_until("pong").await;
        let since = Instant::now();
        client.send_bytes(&bytes).await;
        let frame = client.read_frame().await;
        assert_eq!(frame.kind(), first, "{name}");
        if first != "close" {
            assert_eq!(client.read_frame().await.kind(), "close", "{name}");
        }
        assert_eq!(service.syntheses().count(), 0, "{name}");
        if answers {
            client.send_bytes(&close(1000, "")).await;
        }
        assert_eq!(client.read_to_close().await, b"", "{name}");
        assert_at(since, seconds, name);
        // The server waits this long for a peer that keeps its own direction open.
        assert!(quiet(&service).await <= Duration::from_secs(5) + GRAIN, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_lets_streams_finish_before_its_timeout() {
    let (engine, mut asked) = Scripted::new();
    let config = Config::default().with(|c| c.drain_timeout = Duration::from_secs(5));
    let service = service(config, engine);
    let mut idle = connect(&service).await;
    let mut ends = connect(&service).await;
    ends.say(r#"{"type":"start_session","prompt":"One."}"#).await;
    assert_eq!(ends.read_frame().await.kind(), "text");
    let (_, mut sink) = asked.recv().await.unwrap();
    let mut runs = connect(&service).await;
    runs.say(START).await;
    assert_eq!(runs.read_frame().await.kind(), "text");
    let mut held = connect(&service).await;
    held.say(PAUSE).await;
    held.say(START).await;
    held.send_bytes(&frame(0x89, b"")).await;
    assert_eq!(held.read_until("pong").await.len(), 1);
    let mut running = Vec::new();
    // Nothing is begun for the one that is paused.
    for _ in 0..2 {
        running.push(asked.recv().await.unwrap().1);
    }

    let since = Instant::now();
    let stopped = tokio::spawn({
        let service = service.clone();
        async move { service.stop().await }
    });
    let away = Frame::Close(Some((1001, "The server is going away".to_owned())));
    assert_eq!(idle.read_frame().await, away);
    idle.send_bytes(&close(1001, "")).await;
    assert_eq!(idle.read_to_close().await, b"");
    assert_at(since, 0, "the close of who idles");

    sleep_until(since + Duration::from_secs(2)).await;
    sink.write(&[1; 800]).await.unwrap();
    sink.finish().await;
    let frames = ends.read_until("close").await;
    let kinds: Vec<_> = frames.iter().map(Frame::kind).filter(|kind| *kind != "binary").collect();
    assert_eq!(kinds, ["sentence_end", "session_end", "close"]);
    assert_eq!(*frames.last().unwrap(), away);
    assert_at(since, 2, "the close of who finished");
    ends.send_bytes(&close(1001, "")).await;

    let reason = "The server restarts and keeps no session: start another";
    let restart = Frame::Close(Some((1012, reason.to_owned())));
    for client in [&mut runs, &mut held] {
        assert_eq!(client.read_frame().await, restart);
        assert_at(since, 5, "the close of who went on");
        client.send_bytes(&close(1012, "")).await;
        assert_eq!(client.read_to_close().await, b"");
    }
    for sink in running {
        sink.cancelled().await;
    }
    assert_at(since, 5, "the engines' end");
    drop((idle, ends, runs, held));
    stopped.await.unwrap();
    assert_at(since, 5, "the server's end");
    quiet(&service).await;
}

#[tokio::test(start_paused = true)]
async fn stall_timeout_drops_a_peer_and_stops_its_engine() {
    for stall_timeout in [10, 30, 50] {
        let stall_timeout = Duration::from_secs(stall_timeout);
        let config = Config::default().with(|c| c.stall_timeout = stall_timeout);
        let service = service(config, endless());
        let mut client = connect(&service).await;
        client.say(START).await;
        assert_eq!(client.read_frame().await.kind(), "text");
        assert_eq!(service.syntheses().count(), 2);
        let since = Instant::now();
        while service.syntheses().count() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let elapsed = since.elapsed();
        assert!(elapsed >= stall_timeout && elapsed <= stall_timeout + GRAIN, "{elapsed:?}");
        // If the peer reads after all, it still gets the reason.
        let elapsed = quiet(&service).await;
        assert!(elapsed <= Config::default().close_timeout + GRAIN, "{elapsed:?}");
        // The peer reads the bytes sent earlier, and then the end.
        assert!(
            client.read_to_close().await.len() <= 2 * BUFFER_BYTES,
            "the pipe, and what the client took out"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn stall_timeout_spares_a_peer_that_reads_again() {
    let (service, mut client) = idle().await;
    client.say(START).await;
    for _ in 0..20 {
        sleep(Duration::from_secs(20)).await;
        for _ in 0..500 {
            client.read_frame().await;
        }
        client.send_bytes(&frame(0x8a, b"")).await;
    }
    assert_eq!((service.sessions().count(), service.syntheses().count()), (1, 2));
}

/// A client that pauses because it cannot keep up has nothing more to read; it is not stalled.
#[tokio::test(start_paused = true)]
async fn stall_timeout_spares_a_peer_that_pauses() {
    let config = Config::default().with(|c| c.stall_timeout = Duration::from_secs(10));
    let service = service(config, endless());
    let mut client = connect(&service).await;
    client.say(START).await;
    sleep(Duration::from_secs(5)).await;
    client.say(PAUSE).await;
    sleep(Duration::from_secs(1)).await;
    assert!(read_all(&mut client).await.len() > 50, "the client has unread frames");
    sleep(Duration::from_secs(20)).await;
    assert_eq!((service.sessions().count(), service.syntheses().count()), (1, 2));
    client.say(RESUME).await;
    assert_eq!(client.read_frame().await.kind(), "binary");
}

#[tokio::test(start_paused = true)]
async fn silence_in_mid_stream_ends_the_session() {
    let (engine, mut asked) = Scripted::new();
    let service = service(Config::default(), engine);
    let mut client = connect(&service).await;
    client.say(START).await;
    client.answers = false;
    let since = Instant::now();
    let (_, mut sink) = asked.recv().await.unwrap();
    assert_eq!(client.read_frame().await.kind(), "text");
    let mut frames = 0;
    for second in 1..75 {
        sleep_until(since + Duration::from_secs(second)).await;
        sink.write(&[1; 8_000]).await.unwrap();
        frames += read_all(&mut client).await.len();
    }
    assert!(frames > 1000, "{frames} frames");
    let frames = client.read_until("close").await;
    assert_eq!(
        *frames.last().unwrap(),
        Frame::Close(Some((1008, "No data from the client for too long".to_owned())))
    );
    assert_at(since, 75, "Close");
    sink.cancelled().await;
    assert_at(since, 75, "the engine's end");
}
