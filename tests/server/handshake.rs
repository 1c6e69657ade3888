//! Raw bytes in, status line and headers out: the opening handshake as a peer sees it.

use crate::support::{self, Raw, Running, raw, start, within};
use std::time::Duration;

const SAMPLE: &str = "GET /api/session/ws HTTP/1.1\r\n\
    Host: localhost\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

async fn server() -> Running {
    start(Duration::from_secs(10)).await
}

/// The sample with one line replaced; an empty replacement removes it.
fn with(line: &str, replacement: &str) -> Vec<u8> {
    let line = SAMPLE.split_inclusive("\r\n").find(|l| l.starts_with(line)).unwrap();
    let replacement = if replacement.is_empty() { String::new() } else { format!("{replacement}\r\n") };
    SAMPLE.replacen(line, &replacement, 1).into_bytes()
}

/// The sample with these additional lines.
fn and(lines: &str) -> Vec<u8> {
    with("Host", &format!("Host: localhost\r\n{lines}"))
}

async fn expect_101(client: &mut Raw, name: &str) -> support::Head {
    let head = client.read_head().await;
    assert_eq!(head.status, 101, "{name}: {head:?}");
    assert_eq!(head.header("upgrade").as_deref(), Some("websocket"), "{name}");
    assert!(head.header("connection").unwrap().eq_ignore_ascii_case("upgrade"), "{name}: {head:?}");
    assert_eq!(head.header("sec-websocket-accept").as_deref(), Some(ACCEPT), "{name}");
    assert_eq!(head.header("sec-websocket-extensions"), None, "{name}");
    assert_eq!(head.header("content-length"), None, "{name}");
    assert_eq!(head.header("transfer-encoding"), None, "{name}");
    head
}

#[tokio::test]
async fn handshake_is_accepted() {
    let server = server().await;
    for (name, bytes, subprotocol) in [
        ("sample of RFC 6455 §1.3", SAMPLE.as_bytes().to_vec(), None),
        ("mixed case", with("Upgrade", "UPGRADE: WebSocket"), None),
        ("lower case", SAMPLE.replace("Sec-WebSocket", "sec-websocket").into_bytes(), None),
        ("keep-alive too", with("Connection", "Connection: keep-alive, Upgrade"), None),
        ("repeated Connection", with("Connection", "Connection: keep-alive\r\nConnection: uPGRADE"), None),
        ("repeated Upgrade", with("Upgrade", "Upgrade: h2c\r\nUpgrade: websocket"), None),
        ("Content-Length: 0", and("Content-Length: 0"), None),
        // hyper shows one of two equal lengths, as RFC 9110 §8.6 allows; any length but 0 is refused.
        ("Content-Length: 0 twice", and("Content-Length: 0\r\nContent-Length: 0"), None),
        ("bare LF as line end", SAMPLE.replace('\r', "").into_bytes(), None),
        ("empty line before it", [b"\r\n", SAMPLE.as_bytes()].concat(), None),
        ("unknown subprotocol", and("Sec-WebSocket-Protocol: chat, bearer.xyz"), None),
        ("the subprotocol", and("Sec-WebSocket-Protocol: aloud.v1"), Some("aloud.v1")),
        ("and a credential", and("Sec-WebSocket-Protocol: aloud.v1, bearer.x"), Some("aloud.v1")),
        (
            "in two lines",
            and("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: aloud.v1"),
            Some("aloud.v1"),
        ),
        ("another version", and("Sec-WebSocket-Protocol: aloud.v2, xaloud.v1"), None),
        ("unknown extension", and("Sec-WebSocket-Extensions: permessage-deflate"), None),
    ] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes).await;
        let head = expect_101(&mut client, name).await;
        assert_eq!(head.header("sec-websocket-protocol").as_deref(), subprotocol, "{name}");
    }
}

#[tokio::test]
async fn handshake_split_anywhere_is_accepted() {
    let server = server().await;
    let mut client = raw(server.addr).await;
    for byte in SAMPLE.as_bytes() {
        client.send_bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    expect_101(&mut client, "byte by byte").await;
    for split in 1..SAMPLE.len() {
        let mut client = raw(server.addr).await;
        client.send_bytes(&SAMPLE.as_bytes()[..split]).await;
        tokio::task::yield_now().await;
        client.send_bytes(&SAMPLE.as_bytes()[split..]).await;
        expect_101(&mut client, "split").await;
    }
}

/// A Ping "hi" (RFC 6455 §5.5.2), masked with zeros, and its Pong.
const PING: &[u8] = b"\x89\x82\0\0\0\0hi";

/// Bytes after the handshake are kept, wherever the segment ends.
#[tokio::test]
async fn ping_right_after_the_handshake_is_answered() {
    let server = server().await;
    for split in 0..=PING.len() {
        let mut client = raw(server.addr).await;
        client.send_bytes(&[SAMPLE.as_bytes(), &PING[..split]].concat()).await;
        expect_101(&mut client, "ping").await;
        client.send_bytes(&PING[split..]).await;
        let pong = client.read_until("pong").await.pop();
        assert_eq!(pong, Some(support::Frame::Pong(b"hi".to_vec())), "split at {split}");
    }
}

/// The server refuses the request and closes the connection in order.
#[tokio::test]
async fn request_that_is_malformed_is_refused_and_closed() {
    let server = server().await;
    for (name, bytes, status) in [
        ("no key", with("Sec-WebSocket-Key", ""), 400),
        ("short key", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIA=="), 400),
        ("key not base64", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="), 400),
        ("key of 17 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="), 400),
        ("two keys", and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
        ("two keys, not the same", and("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
        ("two keys in a line", with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {KEY}, {KEY}")), 400),
        ("no host", with("Host", ""), 400),
        ("two hosts", and("Host: localhost"), 400),
        ("two hosts, not the same", and("Host: 127.0.0.1"), 400),
        ("upgrade not in Connection", with("Connection", ""), 400),
        ("Connection without Upgrade", with("Upgrade", ""), 400),
        ("folded header", and("X-Folded: a\r\n b"), 400),
        ("folded with a tab", and("X-Folded: a\r\n\tb"), 400),
        ("space before colon", with("Upgrade", "Upgrade : websocket"), 400),
        ("NUL in a value", and("X-Nul: a\0b"), 400),
        ("NUL in a name", and("X\0Nul: a"), 400),
        ("bare CR in a value", and("X-Cr: a\rb"), 400),
        ("bare CR as line end", and("X-Cr: a\rX-Next: b"), 400),
        ("no colon", and("X-Nothing"), 400),
        ("two lengths", and("Content-Length: 0\r\nContent-Length: 5"), 400),
        ("two equal lengths", and("Content-Length: 5\r\nContent-Length: 5"), 400),
        ("list of lengths", and("Content-Length: 0, 0"), 400),
        ("positive length", and("Content-Length: +5"), 400),
        ("signed nothing", and("Content-Length: +0"), 400),
        ("negative length", and("Content-Length: -1"), 400),
        ("empty length", and("Content-Length:"), 400),
        ("length beyond 64 bits", and("Content-Length: 99999999999999999999"), 400),
        ("chunked and a length of something", and("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400),
        ("two lengths, not the same", and("Content-Length: 5\r\nContent-Length: 6"), 400),
        ("body", [and("Content-Length: 5"), b"hello".to_vec()].concat(), 400),
        ("body that never comes", and("Content-Length: 5"), 400),
        ("body on demand", and("Content-Length: 5\r\nExpect: 100-continue"), 400),
        ("chunked", [and("Transfer-Encoding: chunked"), b"0\r\n\r\n".to_vec()].concat(), 400),
        ("chunked and a length", and("Content-Length: 0\r\nTransfer-Encoding: chunked"), 400),
        ("identity", and("Transfer-Encoding: identity"), 400),
        ("HTTP/1.0", SAMPLE.replace("HTTP/1.1", "HTTP/1.0").into_bytes(), 400),
        ("HTTP/2.0", SAMPLE.replace("HTTP/1.1", "HTTP/2.0").into_bytes(), 400),
        ("no HTTP version", b"GET /api/session/ws\r\n\r\n".to_vec(), 400),
        ("space in the target", SAMPLE.replace("/ws", "/w s").into_bytes(), 400),
        ("TLS hello", tls_hello(), 400),
        ("2,000 headers", and(&(0..2000).map(|n| format!("X-{n}: y")).collect::<Vec<_>>().join("\r\n")), 431),
        ("1 MiB header", and(&format!("X-Long: {}", "y".repeat(1 << 20))), 431),
        (
            "200 KiB target",
            SAMPLE.replace("/ws", &format!("/ws?{}", "y".repeat(200 << 10))).into_bytes(),
            414,
        ),
    ] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes).await;
        let (head, body) = client.read_answer().await;
        assert_eq!(head.status, status, "{name}: {head:?} {body}");
        assert_eq!(head.header("connection").as_deref(), Some("close"), "{name}: {head:?}");
        is_a_sentence(&head, &body, name);
        assert_eq!(client.read_to_close().await, b"", "{name}");
    }
}

fn is_a_sentence(head: &support::Head, body: &str, name: &str) {
    assert_eq!(head.header("content-type").as_deref(), Some("text/plain; charset=utf-8"), "{name}");
    assert!(head.header("date").is_some(), "{name}: {head:?}");
    assert!(
        body.len() > 40 && body.ends_with(".\n") && body.trim_end().lines().count() == 1,
        "{name}: {body:?}"
    );
}

/// The sentence comes behind earlier answers on the same connection, however the bytes are split.
#[tokio::test]
async fn unreadable_request_behind_others_gets_a_sentence() {
    let server = server().await;
    let plain = "GET /api/session/ws HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let head = "HEAD /aloud.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(200));
    for (last, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/3.7\r\n\r\n", 400),
        (&long, 414),
        (&format!("{many}\r\n"), 431),
    ] {
        for first in [&[plain][..], &[page], &[head, plain], &[post, page], &[plain, plain, page, page]] {
            for is_split in [false, true] {
                let mut client = raw(server.addr).await;
                let all = format!("{}{last}", first.concat());
                if is_split {
                    // After each answer.
                    client.send_bytes(first[0].as_bytes()).await;
                } else {
                    client.send_bytes(all.as_bytes()).await;
                }
                for (at, request) in first.iter().enumerate() {
                    if request.starts_with("HEAD") {
                        assert_eq!(client.read_head().await.status, 200);
                    } else {
                        let expected = match *request {
                            r if r == plain => 426,
                            r if r == post => 404,
                            _ => 200,
                        };
                        assert_eq!(client.read_answer().await.0.status, expected, "{request}");
                    }
                    if is_split {
                        let next = first.get(at + 1).map_or(last, |next| *next);
                        client.send_bytes(next.as_bytes()).await;
                    }
                }
                let (head, body) = client.read_answer().await;
                assert_eq!((head.status, head.header("connection").as_deref()), (status, Some("close")));
                is_a_sentence(&head, &body, last);
                assert_eq!(client.read_to_close().await, b"");
            }
        }
    }
}

/// The operator's listener answers alike.
#[tokio::test]
async fn unreadable_request_to_admin_gets_a_sentence() {
    let server = server().await;
    let admin = aloud::Admin::bind(&"127.0.0.1:0".parse().unwrap(), server.service.clone()).await.unwrap();
    let addr = admin.address().trim_start_matches("http://").parse().unwrap();
    let task = tokio::spawn(admin.serve());
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    for (bytes, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("{get}X: a\0b\r\n\r\n"), 400),
        (format!("{get}{}\r\n", "X: y\r\n".repeat(200)), 431),
        (format!("{get}X: {}\r\n\r\n", "y".repeat(64 * 1024)), 431),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100_000)), 431),
    ] {
        let mut client = raw(addr).await;
        client.send_bytes(bytes.as_bytes()).await;
        let (head, body) = client.read_answer().await;
        assert_eq!(head.status, status, "{body}");
        is_a_sentence(&head, &body, &bytes[..9]);
        assert_eq!(client.read_to_close().await, b"");
    }
    let mut client = raw(addr).await;
    client.send_bytes(format!("{get}\r\n").as_bytes()).await;
    assert_eq!(client.read_answer().await.1, "ok\n");
    assert_eq!(client.read_to_close().await, b"");
    task.abort();
}

/// First bytes of a browser that uses `wss` on a port without TLS.
fn tls_hello() -> Vec<u8> {
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.extend(noise(1, 506));
    hello
}

/// Pseudo-random bytes; the same seed gives the same bytes (xorshift64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    step.take(length).collect()
}

#[tokio::test]
async fn request_of_noise_is_malformed() {
    let server = server().await;
    for seed in 0..200 {
        let mut client = raw(server.addr).await;
        client.send_bytes(&noise(seed, 4096)).await;
        let (head, body) = client.read_answer().await;
        assert_eq!(head.status, 400, "seed {seed}");
        assert_eq!(head.header("connection").as_deref(), Some("close"), "seed {seed}");
        is_a_sentence(&head, &body, &format!("seed {seed}"));
        assert_eq!(client.read_to_close().await, b"", "seed {seed}");
    }
}

/// The server refuses the request and accepts a valid handshake on the same connection.
#[tokio::test]
async fn request_refused_leaves_the_connection_usable() {
    let server = server().await;
    let plain =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes();
    let post = SAMPLE.replace("GET", "POST").into_bytes();
    let upgrade = Some(("upgrade", "websocket"));
    let version = Some(("sec-websocket-version", "13"));
    for (name, bytes, status, header) in [
        ("plain GET", plain("/api/session/ws", ""), 426, upgrade),
        ("h2c", plain("/api/session/ws", "Upgrade: h2c\r\nConnection: Upgrade\r\n"), 426, upgrade),
        ("h2c with a key", with("Upgrade", "Upgrade: h2c"), 426, upgrade),
        ("no Connection: upgrade", plain("/api/session/ws", "Upgrade: websocket\r\n"), 426, upgrade),
        ("no version", with("Sec-WebSocket-Version", ""), 426, version),
        ("version 8", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426, version),
        ("version 99", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 99"), 426, version),
        ("POST", post, 405, Some(("allow", "GET"))),
        (
            "POST with a body",
            b"POST /api/session/ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
            405,
            Some(("allow", "GET")),
        ),
        ("PUT", SAMPLE.replace("GET", "PUT").into_bytes(), 405, Some(("allow", "GET"))),
        ("DELETE", SAMPLE.replace("GET", "DELETE").into_bytes(), 405, Some(("allow", "GET"))),
        ("PATCH", SAMPLE.replace("GET", "PATCH").into_bytes(), 405, Some(("allow", "GET"))),
        ("OPTIONS", SAMPLE.replace("GET", "OPTIONS").into_bytes(), 405, Some(("allow", "GET"))),
        ("TRACE", SAMPLE.replace("GET", "TRACE").into_bytes(), 405, Some(("allow", "GET"))),
        ("CONNECT", SAMPLE.replace("GET", "CONNECT").into_bytes(), 405, Some(("allow", "GET"))),
        ("another method", SAMPLE.replace("GET", "BREW").into_bytes(), 405, Some(("allow", "GET"))),
        ("unknown path", SAMPLE.replace("/ws", "/wss").into_bytes(), 404, None),
    ] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes).await;
        let (head, body) = client.read_answer().await;
        assert_eq!(head.status, status, "{name}: {head:?}");
        if let Some((header, value)) = header {
            assert_eq!(head.header(header).as_deref(), Some(value), "{name}");
        }
        if status == 426 {
            assert_eq!(head.header("connection").as_deref(), Some("Upgrade"), "{name}");
        }
        assert!(body.ends_with(".\n"), "{name}: {body}");
        client.send_bytes(SAMPLE.as_bytes()).await;
        expect_101(&mut client, name).await;
    }
}

#[tokio::test]
async fn head_request_gets_no_body() {
    let server = server().await;
    let mut client = raw(server.addr).await;
    client.send_bytes(SAMPLE.replace("GET", "HEAD").as_bytes()).await;
    let head = client.read_head().await;
    assert_eq!((head.status, head.header("allow").as_deref()), (405, Some("GET")));
    client.send_bytes(SAMPLE.as_bytes()).await;
    expect_101(&mut client, "after HEAD").await;
}

#[tokio::test]
async fn requests_pipelined_are_answered_in_order() {
    let server = server().await;
    let mut client = raw(server.addr).await;
    let plain = "GET /api/session/ws HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send_bytes(format!("{plain}{SAMPLE}").as_bytes()).await;
    assert_eq!(client.read_answer().await.0.status, 426);
    expect_101(&mut client, "requests_pipelined_are_answered_in_order").await;
}

#[tokio::test]
async fn request_on_a_half_closed_connection_is_answered() {
    let server = server().await;
    let mut client = raw(server.addr).await;
    client.send_bytes(b"GET /api/session/ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    client.finish().await;
    assert_eq!(client.read_answer().await.0.status, 426);
    assert_eq!(client.read_to_close().await, b"");
}

/// Shorter than the wait of [`support::within`], so that the server is the one that closes.
const SOON: Duration = Duration::from_millis(500);

#[tokio::test]
async fn connection_without_a_request_is_closed() {
    let server = start(SOON).await;
    for sent in ["", "\r\n", "\r\n\r\n"] {
        let mut client = raw(server.addr).await;
        client.send_bytes(sent.as_bytes()).await;
        assert_eq!(client.read_to_close().await, b"", "{sent:?}");
    }
    // The same holds for silence after an answer.
    let mut client = raw(server.addr).await;
    client.send_bytes(b"GET /api/session/ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.read_answer().await.0.status, 426);
    assert_eq!(client.read_to_close().await, b"");
}

#[tokio::test]
async fn request_left_unfinished_gets_408() {
    let server = start(SOON).await;
    for length in [1, 4, 60, SAMPLE.len() - 1] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&SAMPLE.as_bytes()[..length]).await;
        let (head, body) = client.read_answer().await;
        assert_eq!(head.status, 408, "after {length} bytes");
        assert_eq!(head.header("connection").as_deref(), Some("close"));
        assert!(body.ends_with(".\n"), "{body}");
        assert_eq!(client.read_to_close().await, b"", "after {length} bytes");
    }
}

#[tokio::test]
async fn request_that_trickles_gets_408() {
    let server = start(SOON).await;
    let mut client = raw(server.addr).await;
    client.send_bytes(b"GET /api/session/ws HTTP/1.1\r\n").await;
    let mut often = tokio::time::interval(SOON / 10);
    let head = within(async {
        loop {
            tokio::select! {
                _ = often.tick() => client.send_bytes(b"X-More: y\r\n").await,
                head = client.read_head() => break head,
            }
        }
    });
    let head = head.await;
    assert_eq!((head.status, head.header("connection").as_deref()), (408, Some("close")));
    assert!(client.read_to_close().await.ends_with(b".\n"));
}

/// Each answer restarts the deadline; it does not count for the whole connection.
#[tokio::test]
async fn answer_restarts_the_request_deadline() {
    let deadline = Duration::from_secs(1);
    let server = start(deadline).await;
    let mut client = raw(server.addr).await;
    let mut often = tokio::time::interval(deadline / 3);
    for round in 0..5 {
        often.tick().await;
        client.send_bytes(b"GET /api/session/ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(client.read_answer().await.0.status, 426, "round {round}");
    }
    client.send_bytes(SAMPLE.as_bytes()).await;
    expect_101(&mut client, "after many").await;
}
