//! Effects of a proxy between client and server: it splits and merges bytes, adds headers, reuses
//! connections, ends one direction, and connects to a path in the file system.

use crate::support::{
    FORMAT, Frame, Raw, Running, close, frame, opening, raw, session, start, start_with, text, within,
};
use aloud::settings::Listen;
use aloud::tts::Tone;
use aloud::{Config, PATH, Server, Service};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;

const SESSION: [&str; 8] =
    ["session_start", "text", "binary", "sentence_end", "text", "binary", "sentence_end", "session_end"];

async fn server() -> Running {
    start(Duration::from_secs(10)).await
}

/// Kinds of the frames up to this one, with runs of audio as one.
async fn kinds(client: &mut Raw, last: &str) -> Vec<String> {
    let frames = client.read_until(last).await;
    let mut kinds: Vec<_> = frames.iter().map(|frame| frame.kind().to_owned()).collect();
    kinds.dedup_by(|a, b| a == b && *a == "binary");
    kinds
}

async fn is_accepted(client: &mut Raw, name: &str) {
    let head = client.read_head().await;
    assert_eq!(head.status, 101, "{name}: {head:?}");
}

/// Runs a whole session over a fresh connection.
async fn speaks(client: &mut Raw, addr: SocketAddr, name: &str) {
    client.send_bytes(&opening(addr, PATH)).await;
    is_accepted(client, name).await;
    client.say(START).await;
    assert_eq!(kinds(client, "session_end").await, SESSION, "{name}");
    client.send_bytes(&close(1000, "")).await;
    assert_eq!(client.read_close().await, 1000, "{name}");
}

#[tokio::test]
async fn handshake_and_session_cut_anywhere_are_served() {
    let server = server().await;
    let all = [opening(server.addr, PATH), text(START)].concat();
    for cut in 0..all.len() {
        let mut client = raw(server.addr).await;
        client.send_bytes(&all[..cut]).await;
        yield_now().await;
        client.send_bytes(&all[cut..]).await;
        is_accepted(&mut client, "cut").await;
        assert_eq!(kinds(&mut client, "session_end").await, SESSION, "cut at {cut}");
    }
    let mut client = raw(server.addr).await;
    client.trickle(&all).await;
    is_accepted(&mut client, "byte by byte").await;
    assert_eq!(kinds(&mut client, "session_end").await, SESSION);
}

/// More bytes follow the handshake than one read takes.
#[tokio::test]
async fn bytes_after_the_handshake_are_kept() {
    let server = server().await;
    let messages: Vec<u8> = (0..2_000).flat_map(|n| text(&format!(r#"{{"type":"m{n}"}}"#))).collect();
    let mut client = raw(server.addr).await;
    client.send_bytes(&[&opening(server.addr, PATH)[..], &messages].concat()).await;
    is_accepted(&mut client, "much").await;
    assert_eq!(client.read_frame().await.kind(), "session_start");
    for n in 0..2_000 {
        let Frame::Text(answer) = client.read_frame().await else { panic!("no answer") };
        assert!(answer["message"].as_str().unwrap().contains(&format!("m{n}\"")), "{answer}");
    }
}

#[tokio::test]
async fn messages_in_one_segment_or_over_many_are_read() {
    let server = server().await;
    let mut client = session(server.addr).await;
    let unknown: Vec<u8> = (0..100).flat_map(|n| text(&format!(r#"{{"type":"m{n}"}}"#))).collect();
    let pongs = [frame(0x89, b"one"), frame(0x89, b"two")].concat();
    let (pause, resume) = (text(r#"{"type":"pause"}"#), text(r#"{"type":"resume"}"#));
    client.send_bytes(&[&unknown[..], &pongs, &pause, &text(START), &resume].concat()).await;
    let mut answered = 0;
    let mut pongs = Vec::new();
    let frames = client.read_until("session_end").await;
    for frame in &frames {
        match frame {
            Frame::Text(answer) if answer["type"] == "error" => {
                let message = answer["message"].as_str().unwrap();
                assert!(message.contains(&format!("m{answered}\"")), "{message}");
                answered += 1;
            }
            Frame::Pong(payload) => pongs.push(payload.clone()),
            _ => {}
        }
    }
    assert_eq!(answered, 100);
    assert_eq!(pongs, [b"one", b"two"]);

    // One message in frames, and the frames in segments, of every length.
    for size in [1, 2, 3, 5, 7, 11, 50] {
        let mut bytes = Vec::new();
        let pieces: Vec<_> = START.as_bytes().chunks(size).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let fin = if n + 1 == pieces.len() { 0x80 } else { 0 };
            bytes.extend(frame(fin | u8::from(n == 0), piece));
        }
        for segment in bytes.chunks(size) {
            client.send_bytes(segment).await;
            yield_now().await;
        }
        assert_eq!(kinds(&mut client, "session_end").await, SESSION[1..], "in pieces of {size}");
    }
}

#[tokio::test]
async fn headers_of_proxies_are_ignored() {
    let server = server().await;
    for headers in [
        "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: speech.example.com\r\nX-Forwarded-Port: 443",
        "X-Real-IP: 203.0.113.7",
        "Via: 1.1 a.example.com, 1.1 b\r\nVia: 2.0 c",
        "Forwarded: for=\"[2001:db8::1]:4711\";proto=https;by=203.0.113.43, for=10.0.0.1",
        "CF-Connecting-IP: 203.0.113.7\r\nCF-Ray: 1\r\nCDN-Loop: cloudflare",
        "X-Request-Id: 1\r\nx-request-id: 2\r\nTraceparent: 00-0-0-01",
        "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers",
        "Accept-Encoding: gzip, br\r\nCookie: a=b\r\nCookie: c=d\r\nCache-Control: no-cache",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "X-Empty:\r\nX-Odd: \u{e9}\u{20ac}",
    ] {
        let handshake = String::from_utf8(opening(server.addr, PATH)).unwrap();
        // Before and after the handshake's own headers.
        for bytes in [
            handshake.replacen("\r\n", &format!("\r\n{headers}\r\n"), 1),
            handshake.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n\r\n"), 1),
        ] {
            let mut client = raw(server.addr).await;
            client.send_bytes(bytes.as_bytes()).await;
            let head = client.read_head().await;
            assert_eq!(head.status, 101, "{headers}: {head:?}");
            assert_eq!(head.header("sec-websocket-extensions"), None);
            assert_eq!(client.read_frame().await.kind(), "session_start");
        }
    }
}

/// The target in absolute form, as a forward proxy gets it (RFC 9112 §3.2.2).
#[tokio::test]
async fn target_in_absolute_form_is_accepted() {
    // The authority of the target counts, and so it has to be a host of the server.
    let config = Config::default().with(|c| c.admission.hosts = vec!["speech.example.com".parse().unwrap()]);
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await;
    for (target, status) in [
        (format!("http://{}{PATH}", server.addr), 101),
        (format!("HTTP://speech.example.com{PATH}"), 101),
        (format!("ws://speech.example.com:8080{PATH}"), 101),
        (format!("http://{}{PATH}?voice=a&b", server.addr), 101),
        (format!("{PATH}?a=b"), 101),
        ("http://speech.example.com/elsewhere".to_owned(), 404),
        ("http://speech.example.com".to_owned(), 404),
        ("*".to_owned(), 404),
    ] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&opening(server.addr, &target)).await;
        assert_eq!(client.read_head().await.status, status, "{target}");
    }
}

#[tokio::test]
async fn connection_that_was_refused_serves_the_next_request() {
    let server = server().await;
    let mut client = raw(server.addr).await;
    let handshake = String::from_utf8(opening(server.addr, PATH)).unwrap();
    for (bytes, status) in [
        ("GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404),
        (format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"), 426),
        (format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"), 405),
        (handshake.replace("Version: 13", "Version: 8"), 426),
        (handshake.replace(PATH, "/elsewhere"), 404),
    ] {
        for _ in 0..3 {
            client.send_bytes(bytes.as_bytes()).await;
            let (head, body) = client.read_answer().await;
            assert_eq!((head.status, body.is_empty()), (status, false), "{bytes}");
        }
    }
    speaks(&mut client, server.addr, "after all these").await;
    drop(client);
    server.is_quiet().await;
}

#[tokio::test]
async fn half_closed_proxy_is_served_to_the_end() {
    let server = server().await;
    let handshake = opening(server.addr, PATH);
    // Everything in one segment, followed by the end of the stream.
    let mut client = raw(server.addr).await;
    client.send_bytes(&[&handshake[..], &text(r#"{"type":"end"}"#)].concat()).await;
    client.finish().await;
    is_accepted(&mut client, "end").await;
    assert_eq!(kinds(&mut client, "close").await, ["session_start", "session_end", "close"]);
    assert_eq!(client.read_to_close().await, b"");

    let mut client = raw(server.addr).await;
    client.send_bytes(&[&handshake[..], &close(1001, "")].concat()).await;
    client.finish().await;
    is_accepted(&mut client, "close").await;
    assert_eq!(kinds(&mut client, "close").await, ["session_start", "close"]);
    assert_eq!(client.read_to_close().await, b"");

    // No client is left: the session ends.
    let mut client = raw(server.addr).await;
    client.send_bytes(&handshake).await;
    client.finish().await;
    is_accepted(&mut client, "nothing").await;
    client.read_to_close().await;
    server.is_quiet().await;
}

/// A temporary directory, removed with its contents.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("aloud-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on this path, the sender that stops it, and its task.
async fn on_path(path: &Path) -> (Service, oneshot::Sender<()>, JoinHandle<()>) {
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    let listen: Listen = format!("unix:{}", path.display()).parse().unwrap();
    let server = Server::bind(&listen, service.clone()).await.unwrap();
    assert_eq!(server.local_addr(), None);
    assert_eq!(server.address(), listen.to_string());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.serve(async {
        // The sender is dropped, either way.
        let _ = stopped.await;
    }));
    (service, stop, task)
}

/// A proxy in front of a path: forwards bytes and the end of either direction.
async fn proxy(path: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let path = path.clone();
            tokio::spawn(async move {
                let mut server = UnixStream::connect(path).await.unwrap();
                // The proxy ignores a client that leaves.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn unix_socket_carries_a_whole_session() {
    let directory = Directory::new("session");
    let path = directory.0.join("speech.sock");
    let (service, stop, task) = on_path(&path).await;
    let addr = proxy(path.clone()).await;
    for _ in 0..3 {
        speaks(&mut raw(addr).await, addr, "over a path").await;
    }
    let mut client = session(addr).await;
    client.send_bytes(&frame(0x83, b"")).await;
    assert_eq!(client.read_close().await, 1002);
    drop(client);
    let mut idle = session(addr).await;
    drop(stop);
    let Frame::Close(Some((code, _))) = idle.read_frame().await else { panic!("no close code") };
    assert_eq!(code, 1001);
    idle.send_bytes(&close(1001, "")).await;
    assert_eq!(idle.read_to_close().await, b"");
    drop(idle);
    within(task).await.unwrap();
    assert_eq!(service.sessions().count(), 0);
    assert!(!path.exists(), "the path is removed");
}

#[tokio::test]
async fn unix_socket_without_a_listener_is_replaced() {
    let directory = Directory::new("stale");
    let path = directory.0.join("speech.sock");
    // As a killed server leaves it.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_service, stop, task) = on_path(&path).await;
    let addr = proxy(path.clone()).await;
    speaks(&mut raw(addr).await, addr, "taken over").await;

    // A live socket is kept, and so is a file that is no socket.
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    let error = Server::bind(&Listen::Unix(path.clone()), service.clone()).await.err().unwrap();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    speaks(&mut raw(addr).await, addr, "still the first").await;
    let file = directory.0.join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(Server::bind(&Listen::Unix(file.clone()), service.clone()).await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let nowhere = directory.0.join("nowhere/speech.sock");
    assert!(Server::bind(&Listen::Unix(nowhere), service).await.is_err());

    drop(stop);
    within(task).await.unwrap();
    assert!(!path.exists(), "the path is removed");
    assert!(file.exists());
}
