//! Bytes that wait for a client are few, whatever it reads, and never in the way of an answer.

use crate::faults::{is_held_back, pour};
use crate::support::{Frame, PATIENCE, Raw, Scripted, V1, opening_with, raw, start_with, text, within};
use aloud::audio::{Encoding, Format};
use aloud::tts::{Synthesizer, Tone};
use aloud::{Config, PATH, Service};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, interval};

/// Bytes that the receiving kernel of these tests may hold.
const WINDOW: u32 = 32 * 1024;

/// Bytes per read of a client on a slow line.
const SIP: usize = 4 * 1024;

fn endless() -> Arc<dyn Synthesizer> {
    Arc::new(Tone::new(Format { encoding: Encoding::PcmS16le, sample_rate_hz: 48_000 }, 3_600.0))
}

/// Connects with a small window, shakes hands, and takes the greeting.
async fn narrow(addr: SocketAddr, more: &str) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(WINDOW).unwrap();
    let stream = within(socket.connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = Raw::over(stream, PATIENCE);
    client.send_bytes(&opening_with(addr, PATH, more)).await;
    assert_eq!(client.read_head().await.status, 101);
    assert_eq!(client.read_frame().await.kind(), "session_start");
    client
}

/// Reads this many bytes at this rate, and throws them away.
async fn sip(stream: &mut (impl AsyncReadExt + Unpin), bytes: usize, per_sec: usize) {
    let mut space = [0; SIP];
    let mut often = interval(Duration::from_secs_f64(SIP as f64 / per_sec as f64));
    for _ in 0..bytes / SIP {
        often.tick().await;
        within(stream.read_exact(&mut space)).await.unwrap();
    }
}

/// Bytes that a client reads from now on until it has read this.
async fn bytes_before(stream: &mut (impl AsyncReadExt + Unpin), needle: &str) -> usize {
    let mut seen = Vec::new();
    within(async {
        let mut space = [0; SIP];
        loop {
            if let Some(at) = seen.windows(needle.len()).position(|window| window == needle.as_bytes()) {
                return at;
            }
            let count = stream.read(&mut space).await.unwrap();
            assert!(count > 0, "closed before {needle}, after {} bytes", seen.len());
            seen.extend_from_slice(&space[..count]);
        }
    })
    .await
}

/// Whatever a client on a slow line asks in mid-stream, the answer is no more than 96 KiB behind, and what
/// its own kernel holds.
#[tokio::test(flavor = "multi_thread")]
async fn answer_is_not_far_behind_the_audio_of_a_slow_line() {
    let server = start_with(Config::default(), endless()).await;
    let start = |fields| format!(r#"{{"type":"start_session","prompt":"One."{fields}}}"#);
    let paced = r#","delivery":{"mode":"paced","aheadMs":60000}"#;
    let cases =
        [("", "", "pause", "paused"), ("", V1, "pause", "paused"), (paced, V1, "cancel", "cancelled")];
    let clients = cases.map(|(fields, more, ask, answer)| {
        let addr = server.addr;
        let start = start(fields);
        tokio::spawn(async move {
            let mut client = narrow(addr, more).await;
            client.send_bytes(&text(&start)).await;
            let (mut stream, _) = client.into_parts();
            sip(&mut stream, 640 * 1024, 160 * 1024).await;
            // A base client's `pause` has no answer, but an unknown message has.
            let ask =
                if more.is_empty() { r#"{"type":"?"}"#.to_owned() } else { format!(r#"{{"type":"{ask}"}}"#) };
            let answer = if more.is_empty() { "\"error\"" } else { answer };
            within(stream.write_all(&text(&ask))).await.unwrap();
            let bytes = bytes_before(&mut stream, answer).await;
            assert!(
                bytes <= 96 * 1024 + 2 * WINDOW as usize,
                "{ask} {fields}: {bytes} bytes before the answer"
            );
        })
    });
    for client in clients {
        client.await.unwrap();
    }
}

/// A client that reads nothing is behind by the kernel's limit, and not by megabytes, whichever way its
/// socket came to the server.
#[tokio::test]
async fn answer_is_behind_a_burst_by_no_more_than_the_kernel_may_hold() {
    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default(), engine.clone()).await;
    let service = Service::new(Config::default(), engine).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let embedder = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let io = TokioIo::new(listener.accept().await.unwrap().0);
        http1::Builder::new().serve_connection(io, service).with_upgrades().await
    });
    for addr in [server.addr, embedder] {
        let mut client = narrow(addr, V1).await;
        client.send_bytes(&text(r#"{"type":"start_session","prompt":"One."}"#)).await;
        let (_, sink) = within(asked.recv()).await.unwrap();
        let (poured, _engine) = pour(sink, usize::MAX);
        // The engine waits: the socket is full.
        is_held_back(&poured).await;
        let (mut stream, _) = client.into_parts();
        within(stream.write_all(&text(r#"{"type":"ping","id":"x"}"#))).await.unwrap();
        let bytes = bytes_before(&mut stream, "\"pong\"").await;
        assert!(bytes <= 384 * 1024, "{bytes} bytes before the answer");
    }
}

/// A client that reads a burst at the pace of speech, and whose Pongs are as late as its Pings, is heard:
/// progress is a sign of life.
#[tokio::test(flavor = "multi_thread")]
async fn silence_timeout_spares_a_client_that_reads() {
    let config = Config::default().with(|c| {
        c.heartbeat = Duration::from_millis(300);
        c.silence_timeout = Duration::from_millis(4_000);
    });
    let server = start_with(config, endless()).await;
    let mut client = narrow(server.addr, "").await;
    client.send_bytes(&text(r#"{"type":"start_session","prompt":"One."}"#)).await;
    let (mut stream, _) = client.into_parts();
    // Answers no Ping at all.
    let since = Instant::now();
    sip(&mut stream, 1_280 * 1024, 128 * 1024).await;
    assert!(since.elapsed() > Duration::from_secs(9));
    // Once it reads no more, it goes.
    server.is_quiet().await;
}

/// A kernel makes room for a slow reader rarely, and much of it at once. The reader's Pongs tell of it in between.
#[tokio::test(flavor = "multi_thread")]
async fn stall_timeout_spares_a_slow_client_that_answers() {
    let config = Config::default().with(|c| c.stall_timeout = Duration::from_secs(9));
    let server = start_with(config, endless()).await;
    let cases = [("", ""), ("", V1), (r#","resumable":true"#, V1)].map(|(fields, more)| {
        let addr = server.addr;
        tokio::spawn(async move {
            let mut client = raw(addr).await;
            client.send_bytes(&opening_with(addr, PATH, more)).await;
            assert_eq!(client.read_head().await.status, 101);
            client.send_bytes(&text(&format!(r#"{{"type":"start_session","prompt":"One."{fields}}}"#))).await;
            // A frame has 3,840 bytes, so this is 2.5 KB a second.
            let mut often = interval(Duration::from_millis(1_536));
            for _ in 0..12 {
                often.tick().await;
                let frame = client.read_frame().await;
                assert!(!matches!(frame, Frame::Close(_)), "{fields} {more}: {frame:?}");
            }
        })
    });
    for case in cases {
        case.await.unwrap();
    }
}

/// A paused client holds nothing that was not there before, whatever it asked for.
#[tokio::test]
async fn pause_before_the_start_begins_no_synthesis() {
    let server = start_with(Config::default(), endless()).await;
    for fields in ["", r#","delivery":{"mode":"paced","aheadMs":60000}"#] {
        let mut client = narrow(server.addr, V1).await;
        client.send_bytes(&text(r#"{"type":"pause"}"#)).await;
        let start = format!(r#"{{"type":"start_session","prompt":"One. Two."{fields}}}"#);
        client.send_bytes(&text(&start)).await;
        client.before_pong().await;
        assert_eq!(server.service.syntheses().count(), 0, "{fields}");
        client.send_bytes(&text(r#"{"type":"resume"}"#)).await;
        loop {
            match client.read_frame().await {
                Frame::Binary(_) => break,
                frame => assert_ne!(frame.kind(), "session_end"),
            }
        }
    }
}
