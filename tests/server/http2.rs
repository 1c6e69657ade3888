//! WebSockets over HTTP/2 without TLS (RFC 8441), on the port of HTTP/1.1. Needs the feature `http2`.

use crate::support::{
    self, FORMAT, Frame, PATIENCE, Raw, Running, audio, close, frame, open, opening, raw, session, start,
    start_with, text, within,
};
use aloud::settings::Admission;
use aloud::tts::{Flite, Tone};
use aloud::{Config, PATH, Service};
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use hyper::body::Bytes;
use hyper::header::HeaderName;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Windows that a client grants to each stream and to the connection.
const STREAM_WINDOW: u32 = 16 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024;

async fn server() -> Running {
    start(Duration::from_secs(10)).await
}

/// A connection of h2's client that has received the server's settings.
struct Link {
    requests: SendRequest<Bytes>,
    task: JoinHandle<Result<(), h2::Error>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn link_over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Link {
    let mut builder = Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (requests, connection) = within(builder.handshake(stream)).await.unwrap();
    let task = tokio::spawn(connection);
    within(async {
        while !requests.is_extended_connect_protocol_enabled() {
            yield_now().await;
        }
    })
    .await;
    Link { requests, task }
}

async fn link(addr: SocketAddr) -> Link {
    let stream = within(TcpStream::connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    link_over(stream).await
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://localhost{path}")).body(()).unwrap()
}

/// A good handshake.
fn connect(path: &str) -> Request<()> {
    let mut request = request(Method::CONNECT, path);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request
}

impl Link {
    /// Sends the head of a request. Returns the answer's head and both directions of the stream.
    async fn ask(
        &mut self,
        request: Request<()>,
        is_whole: bool,
    ) -> (StatusCode, HeaderMap, SendStream<Bytes>, RecvStream) {
        let mut requests = within(self.requests.clone().ready()).await.unwrap();
        let (answer, output) = requests.send_request(request, is_whole).unwrap();
        let (head, input) = within(answer).await.unwrap().into_parts();
        (head.status, head.headers, output, input)
    }

    /// The whole answer to a request without a body.
    async fn answer(&mut self, request: Request<()>) -> (u16, HeaderMap, String) {
        let (status, headers, _output, mut input) = self.ask(request, true).await;
        let mut body = Vec::new();
        while let Some(data) = within(input.data()).await {
            let data = data.unwrap();
            input.flow_control().release_capacity(data.len()).unwrap();
            body.extend(data);
        }
        (status.as_u16(), headers, String::from_utf8(body).unwrap())
    }

    /// Opens a WebSocket whose HTTP/2 frames the test handles itself.
    async fn stream(&mut self) -> (SendStream<Bytes>, RecvStream) {
        let (status, _, output, input) = self.ask(connect(PATH), false).await;
        assert_eq!(status, 200);
        (output, input)
    }

    /// Opens a WebSocket as a stream of bytes.
    async fn websocket(&mut self) -> Raw<DuplexStream> {
        let (output, input) = self.stream().await;
        bytes(output, input)
    }

    /// The same, past the greeting.
    async fn session(&mut self) -> Raw<DuplexStream> {
        let mut client = self.websocket().await;
        assert_eq!(client.read_frame().await.kind(), "session_start");
        client
    }
}

fn bytes(mut output: SendStream<Bytes>, mut input: RecvStream) -> Raw<DuplexStream> {
    let (ours, theirs) = duplex(4 * 1024);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    tokio::spawn(async move {
        while let Some(Ok(data)) = input.data().await {
            // A test that has ended reads nothing more.
            let _ = writer.write_all(&data).await;
            let _ = input.flow_control().release_capacity(data.len());
        }
        let _ = writer.shutdown().await;
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 4 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            let data = Bytes::copy_from_slice(&buffer[..count]);
            if output.send_data(data, false).is_err() {
                return;
            }
        }
        let _ = output.send_data(Bytes::new(), true);
    });
    Raw::over(ours, PATIENCE)
}

async fn goodbye(mut client: Raw<DuplexStream>) {
    client.send_bytes(&close(1000, "bye")).await;
    assert_eq!(client.read_frame().await, Frame::Close(Some((1000, "bye".to_owned()))));
    assert_eq!(client.read_to_close().await, b"");
}

#[tokio::test]
async fn session_runs_as_over_http_1() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let start = r#"{"type":"start_session","prompt":"The kettle is on. Tea will be ready in five minutes."}"#;
    let mut other = session(server.addr).await;
    other.say(start).await;
    let expected = other.read_until("session_end").await;
    assert!(audio(&expected).len() > 50_000);

    let mut link = link(server.addr).await;
    let mut offer = connect(&format!("{PATH}?a=b"));
    offer.headers_mut().insert("sec-websocket-protocol", "chat, aloud.v1, bearer.x".parse().unwrap());
    offer.headers_mut().insert("sec-websocket-extensions", "permessage-deflate".parse().unwrap());
    let (status, headers, output, input) = link.ask(offer, false).await;
    assert_eq!(status, 200);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["date", "sec-websocket-protocol"]);
    assert_eq!(headers["sec-websocket-protocol"], "aloud.v1");
    let mut client = bytes(output, input);
    let Frame::Text(greeting) = client.read_frame().await else { panic!("a greeting") };
    assert_eq!(greeting["protocol"], "aloud.v1");
    goodbye(client).await;

    for _ in 0..2 {
        let mut client = link.session().await;
        for _ in 0..2 {
            client.say(start).await;
            assert!(client.read_until("session_end").await == expected);
        }
        client.send_bytes(&frame(0x89, b"there?")).await;
        assert_eq!(client.read_frame().await, Frame::Pong(b"there?".to_vec()));
        goodbye(client).await;
    }
    let mut client = link.session().await;
    client.say(r#"{"type":"end"}"#).await;
    let frames = client.read_until("close").await;
    assert_eq!(frames.len(), 2);
    // The end of a stream equals the end of a TCP connection.
    assert_eq!(client.read_to_close().await, b"");
    drop(client);
    let mut client = link.session().await;
    client.send_bytes(&frame(0x83, b"")).await;
    let Frame::Close(Some((code, _))) = client.read_frame().await else { panic!("no close code") };
    assert_eq!(code, 1002);
    drop(client);
    drop(other);
    server.is_quiet().await;
}

#[tokio::test]
async fn connection_carries_many_sessions() {
    let server = server().await;
    let mut link = link(server.addr).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(link.session().await);
    }
    assert_eq!(server.service.sessions().count(), 100);
    for client in &mut clients {
        client.say(START).await;
    }
    for client in &mut clients {
        assert_eq!(audio(&client.read_until("session_end").await).len(), 3_200);
    }
    for client in clients {
        goodbye(client).await;
    }
    server.is_quiet().await;
}

/// `:authority` is the host, and a `Host` beside it has to agree (RFC 9113 §8.3.1).
#[tokio::test]
async fn foreign_authority_on_loopback_gets_421() {
    let server = server().await;
    let mut link = link(server.addr).await;
    let at = |mut request: Request<()>, authority: &str| {
        let path = request.uri().path().to_owned();
        *request.uri_mut() = format!("http://{authority}{path}").parse().unwrap();
        request
    };
    for path in [PATH, "/", "/aloud.js", "/api/voices", "/api/session/ticket", "/no"] {
        // A connection without a session has 100 requests.
        let mut link = self::link(server.addr).await;
        for authority in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "192.0.2.1", "0.0.0.0"]
        {
            for asked in [request(Method::GET, path), request(Method::POST, path), connect(path)] {
                let (status, headers, body) = link.answer(at(asked, authority)).await;
                assert_eq!(status, 421, "{path} {authority}");
                assert!(body.contains(authority) && body.ends_with(".\n"), "{body}");
                assert!(!headers.contains_key("connection"), "{path}");
            }
            let mut agreed = at(request(Method::GET, path), authority);
            agreed.headers_mut().insert("host", authority.parse().unwrap());
            assert_eq!(link.answer(agreed).await.0, 421, "{path} {authority}");
            let mut hidden = at(request(Method::GET, path), authority);
            hidden.headers_mut().insert("host", "localhost".parse().unwrap());
            assert_eq!(link.answer(hidden).await.0, 400, "{path} {authority}");
        }
    }
    for authority in ["localhost:1", "LOCALHOST", "a.localhost", "127.9.9.9:80", "[::1]"] {
        assert_eq!(link.answer(at(request(Method::GET, "/"), authority)).await.0, 200, "{authority}");
        assert_eq!(link.ask(at(connect(PATH), authority), false).await.0, 200, "{authority}");
    }
}

#[tokio::test]
async fn request_gets_the_same_answer_as_over_http_1() {
    let server = server().await;
    let mut link = link(server.addr).await;
    let mut bare = connect(PATH);
    bare.headers_mut().remove("sec-websocket-version");
    let mut body = connect(PATH);
    body.headers_mut().insert("content-length", "5".parse().unwrap());
    let mut other = connect(PATH);
    other.extensions_mut().insert(Protocol::from_static("connect-udp"));
    let mut large = connect(PATH);
    large.headers_mut().insert("x-large", "x".repeat(80_000).parse().unwrap());
    let tunnel = Request::connect("localhost:80").body(()).unwrap();
    let mut foreign = connect(PATH);
    foreign.headers_mut().insert("host", "127.0.0.1".parse().unwrap());
    for (name, request, status, header) in [
        ("another path", request(Method::GET, "/no"), 404, ("content-type", "text/plain; charset=utf-8")),
        ("no WebSocket", request(Method::GET, PATH), 405, ("allow", "CONNECT")),
        ("POST", request(Method::POST, PATH), 405, ("allow", "CONNECT")),
        ("POST to the voices", request(Method::POST, "/api/voices"), 405, ("allow", "GET, HEAD")),
        ("another protocol", other, 501, ("content-type", "text/plain; charset=utf-8")),
        ("no version", bare, 400, ("sec-websocket-version", "13")),
        ("two hosts", foreign, 400, ("content-type", "text/plain; charset=utf-8")),
        ("tunnel", tunnel, 404, ("content-type", "text/plain; charset=utf-8")),
        ("another path", connect("/elsewhere"), 404, ("content-type", "text/plain; charset=utf-8")),
    ] {
        let (answered, headers, body) = link.answer(request).await;
        assert_eq!(answered, status, "{name}: {body}");
        assert_eq!(headers[header.0], header.1, "{name}");
        assert_eq!(headers["content-length"], body.len().to_string(), "{name}");
        assert!(body.ends_with(".\n") && headers.contains_key("date"), "{name}: {body}");
        assert!(!headers.contains_key("connection") && !headers.contains_key("upgrade"), "{name}");
    }
    assert_eq!(link.answer(large).await.0, 431);
    // A request with a body, and one that announces a body without sending it, which is malformed.
    assert_eq!(link.ask(body.clone(), false).await.0, 400);
    let mut requests = within(link.requests.clone().ready()).await.unwrap();
    let (answer, _) = requests.send_request(body, true).unwrap();
    assert_eq!(within(answer).await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));

    let mut http1 = raw(server.addr).await;
    http1.send_bytes(b"GET /api/voices HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (_, expected) = http1.read_answer().await;
    let (status, headers, voices) = link.answer(request(Method::GET, "/api/voices")).await;
    assert_eq!((status, voices.as_str()), (200, expected.as_str()));
    assert_eq!(
        (&headers["content-type"], &headers["cache-control"]),
        (&"application/json".parse().unwrap(), &"max-age=60".parse().unwrap())
    );
    let (status, headers, nothing) = link.answer(request(Method::HEAD, "/api/voices")).await;
    assert_eq!((status, nothing.as_str()), (200, ""));
    assert_eq!(headers["content-length"], voices.len().to_string());
    // The connection is still open after all of these.
    goodbye(link.session().await).await;
}

/// An unexpected body does not affect a session on the same connection.
#[tokio::test]
async fn request_body_is_not_awaited() {
    let server = server().await;
    let mut link = link(server.addr).await;
    let mut client = link.session().await;
    let (status, _, mut output, input) = link.ask(request(Method::POST, "/api/voices"), false).await;
    assert_eq!(status, 405);
    drop(input);
    let reason = within(std::future::poll_fn(|cx| output.poll_reset(cx))).await.unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    client.say(START).await;
    client.read_until("session_end").await;
    goodbye(client).await;
}

/// A stream that reads nothing is reset on its own; its pending bytes do not block other streams.
#[tokio::test]
async fn stream_that_is_slow_does_not_block_others() {
    let stall_timeout = Duration::from_secs(2);
    let server = start_with(
        Config::default().with(|c| c.stall_timeout = stall_timeout),
        Arc::new(Tone::new(FORMAT, 60.0)),
    )
    .await;
    let mut link = link(server.addr).await;
    // Two slow streams leave half of the connection's window to the others.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let (mut output, input) = link.stream().await;
        output.send_data(Bytes::from(text(START)), false).unwrap();
        slow.push((output, input));
    }
    let mut client = link.session().await;
    let began = Instant::now();
    while began.elapsed() < stall_timeout * 2 {
        client.say(START).await;
        assert!(audio(&client.read_until("session_end").await).len() == 2 * 60 * 16_000);
        client.send_bytes(&frame(0x89, b"there?")).await;
        assert_eq!(client.read_frame().await.kind(), "pong");
    }
    for (mut output, mut input) in slow {
        let reason = within(std::future::poll_fn(|cx| output.poll_reset(cx))).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
        let mut taken = 0;
        while let Some(Ok(data)) = within(input.data()).await {
            taken += data.len();
        }
        assert!(taken <= STREAM_WINDOW as usize, "{taken}");
    }
    goodbye(client).await;
    server.is_quiet().await;
}

/// A stream that floods is held back by its own window and does not block others.
#[tokio::test]
async fn stream_that_floods_does_not_block_others() {
    let stall_timeout = Duration::from_secs(2);
    let server = start_with(
        Config::default().with(|c| c.stall_timeout = stall_timeout),
        Arc::new(Tone::new(FORMAT, 0.1)),
    )
    .await;
    let mut link = link(server.addr).await;
    let mut floods = Vec::new();
    for size in [0, 125] {
        let (mut output, input) = link.stream().await;
        // The answers fill the way back, since the client does not read them.
        let pings = frame(0x89, &vec![b'x'; size]).repeat(16_000 / (size + 6));
        floods.push(tokio::spawn(async move {
            let mut sent = 0;
            loop {
                let rest = &pings[sent % pings.len()..];
                output.reserve_capacity(rest.len());
                match std::future::poll_fn(|cx| output.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    // The server has reset it.
                    _ => return (sent, input),
                }
                let count = output.capacity().min(rest.len());
                if output.send_data(Bytes::copy_from_slice(&rest[..count]), false).is_err() {
                    return (sent, input);
                }
                sent += count;
            }
        }));
    }
    let mut client = link.session().await;
    let began = Instant::now();
    while began.elapsed() < stall_timeout * 2 {
        client.say(START).await;
        assert_eq!(audio(&client.read_until("session_end").await).len(), 3_200);
    }
    for flood in floods {
        let (sent, input) = within(flood).await.unwrap();
        assert!(sent > 64 * 1024, "the server has granted more than the first window: {sent}");
        assert!(sent < 4 * 1024 * 1024, "the window stays limited: {sent}");
        drop(input);
    }
    goodbye(client).await;
    server.is_quiet().await;
}

/// A stream that is paused while it waits for the connection's window leaves that window to others.
#[tokio::test]
async fn stream_that_is_paused_holds_no_window() {
    let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 60.0))).await;
    let mut link = link(server.addr).await;
    let mut paused = Vec::new();
    // The windows of these streams add up to the connection's window, which they use up.
    for _ in 0..CONNECTION_WINDOW / STREAM_WINDOW {
        let (mut output, mut input) = link.stream().await;
        output.send_data(Bytes::from(text(START)), false).unwrap();
        let mut taken = 0;
        while taken < STREAM_WINDOW as usize {
            taken += within(input.data()).await.unwrap().unwrap().len();
        }
        output.send_data(Bytes::from(text(r#"{"type":"pause"}"#)), false).unwrap();
        paused.push((output, input));
    }
    // The bytes are read, but only the connection gets its window back.
    for (_, input) in &mut paused {
        let _ = input.flow_control().release_capacity(STREAM_WINDOW as usize);
    }
    let mut client = link.session().await;
    client.say(START).await;
    assert!(audio(&client.read_until("session_end").await).len() == 2 * 60 * 16_000);
    goodbye(client).await;
}

#[tokio::test]
async fn stream_or_connection_that_is_lost_stops_synthesis() {
    let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 1e9))).await;
    let mut link = link(server.addr).await;
    let mut client = link.session().await;
    let mut leave = Vec::new();
    for _ in 0..3 {
        let (mut output, mut input) = link.stream().await;
        output.send_data(Bytes::from(text(START)), false).unwrap();
        within(input.data()).await.unwrap().unwrap();
        leave.push((output, input));
    }
    assert!(server.service.syntheses().count() >= 3);
    // By a reset, by an end, and by dropping the stream.
    leave[0].0.send_reset(Reason::CANCEL);
    leave[1].0.send_data(Bytes::new(), true).unwrap();
    leave.truncate(2);
    within(async {
        while server.service.sessions().count() > 1 || server.service.syntheses().count() > 0 {
            yield_now().await;
        }
    })
    .await;
    client.send_bytes(&frame(0x89, b"there?")).await;
    assert_eq!(client.read_frame().await.kind(), "pong");
    client.say(START).await;
    client.read_until("binary").await;
    drop(link);
    server.is_quiet().await;
}

/// The type, flags, stream and payload of a frame.
async fn read_frame(client: &mut Raw) -> (u8, u8, u32, Vec<u8>) {
    let head = client.read_exact(9).await;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
    (head[3], head[4], stream, client.read_exact(length as usize).await)
}

fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;

/// Reads the GOAWAY and the end of the connection after it. Returns the code.
async fn read_go_away(client: &mut Raw) -> u32 {
    loop {
        let (kind, _, _, payload) = read_frame(client).await;
        if kind == GO_AWAY {
            return u32::from_be_bytes(payload[4..8].try_into().unwrap());
        }
    }
}

/// The settings that the server announces.
async fn read_settings(client: &mut Raw) -> Vec<(u16, u32)> {
    let (kind, flags, stream, payload) = read_frame(client).await;
    assert_eq!((kind, flags, stream), (SETTINGS, 0, 0));
    let pair =
        |it: &[u8]| (u16::from_be_bytes([it[0], it[1]]), u32::from_be_bytes(it[2..6].try_into().unwrap()));
    payload.chunks(6).map(pair).collect()
}

#[tokio::test]
async fn preface_cut_anywhere_is_accepted() {
    let server = server().await;
    let all = [PREFACE, &h2_frame(SETTINGS, 0, 0, &[])].concat();
    for cut in 0..all.len() {
        let mut client = raw(server.addr).await;
        client.send_bytes(&all[..cut]).await;
        yield_now().await;
        client.send_bytes(&all[cut..]).await;
        let mut settings = read_settings(&mut client).await;
        settings.sort_unstable();
        // At most 128 streams, 64 KiB to each and 64 KiB of headers, and the extended CONNECT.
        assert_eq!(settings, [(3, 128), (4, 65_536), (6, 65_536), (8, 1)], "cut at {cut}");
    }
    let mut client = raw(server.addr).await;
    client.trickle(&all).await;
    read_settings(&mut client).await;
    // Bytes that only begin like the preface are malformed HTTP/1.
    for other in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", "PRI * HTTP/1.1\r\n\r\n", "PRI / HTTP/2.0\r\n\r\n"] {
        let mut client = raw(server.addr).await;
        client.send_bytes(other.as_bytes()).await;
        client.finish().await;
        let head = client.read_head().await;
        assert!([400, 404].contains(&head.status), "{other:?}: {head:?}");
    }
    // HTTP/1 cut anywhere is accepted as before.
    let handshake = opening(server.addr, PATH);
    for cut in 0..30 {
        let mut client = raw(server.addr).await;
        client.send_bytes(&handshake[..cut]).await;
        yield_now().await;
        client.send_bytes(&handshake[cut..]).await;
        assert_eq!(client.read_head().await.status, 101, "cut at {cut}");
    }
}

#[tokio::test]
async fn connection_has_the_deadline_of_a_handshake() {
    let patience = Duration::from_millis(400);
    let server = start(patience).await;
    let began = Instant::now();
    // In the preface, after it, and in the middle of headers that never end.
    let headers = h2_frame(1, 0, 1, b"\x82");
    let settings = h2_frame(SETTINGS, 0, 0, &[]);
    let mut clients = Vec::new();
    for bytes in
        [PREFACE[..10].to_vec(), [PREFACE, &settings].concat(), [PREFACE, &settings, &headers].concat()]
    {
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes).await;
        clients.push(client);
    }
    let head = clients[0].read_head().await;
    assert_eq!(head.status, 408);
    for client in &mut clients[1..] {
        assert_eq!(read_go_away(client).await, 0);
        client.read_to_close().await;
    }
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());

    // A session keeps its connection open; an answer restarts the deadline once.
    let mut link = link(server.addr).await;
    let mut client = link.session().await;
    let until = Instant::now() + patience * 3;
    while Instant::now() < until {
        client.send_bytes(&frame(0x89, b"there?")).await;
        assert_eq!(client.read_frame().await.kind(), "pong");
    }
    goodbye(client).await;
    assert_eq!(link.answer(request(Method::GET, "/no")).await.0, 404);
    within(&mut link.task).await.unwrap().unwrap();
}

/// Without a session, a connection has as many requests and as much time as over HTTP/1.1.
#[tokio::test]
async fn requests_without_a_session_are_limited() {
    let server = server().await;
    let mut link = link(server.addr).await;
    for n in 0..151 {
        let client = if n == 50 { Some(link.session().await) } else { None };
        let (status, ..) = link.answer(request(Method::GET, "/api/voices")).await;
        assert_eq!(status, 200, "{n}");
        if let Some(client) = client {
            goodbye(client).await;
            server.is_quiet().await;
        }
    }
    // The 100th since the session has ended is answered, and is the last.
    within(&mut link.task).await.unwrap().unwrap();

    let patience = Duration::from_millis(200);
    let server = start(patience).await;
    let link = self::link(server.addr).await;
    let began = Instant::now();
    let mut often = tokio::time::interval(patience / 3);
    while !link.task.is_finished() {
        often.tick().await;
        let Ok(Ok(mut requests)) = tokio::time::timeout(patience, link.requests.clone().ready()).await else {
            continue;
        };
        if let Ok((answer, _)) = requests.send_request(request(Method::GET, "/api/voices"), true) {
            let _ = within(answer).await;
        }
        assert!(began.elapsed() < patience * 10, "it is renewed without end");
    }
    assert!(began.elapsed() >= patience * 5, "{:?}", began.elapsed());
}

/// A connection of a trusted proxy lasts as long as it is used.
#[tokio::test]
async fn requests_of_a_trusted_proxy_are_not_limited() {
    let admission = Admission::default().with(|a| a.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    let config = Config::default().with(|c| c.admission = admission);
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await;
    let mut link = link(server.addr).await;
    for n in 0..300 {
        assert_eq!(link.answer(request(Method::GET, "/api/voices")).await.0, 200, "{n}");
    }
}

/// A connection counts as a socket while it has no session.
#[tokio::test]
async fn connections_without_a_session_are_counted_from_accept() {
    let admission = Admission::default().with(|a| a.max_connections = 10);
    let config = Config::default().with(|c| c.admission = admission);
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await;
    let mut speaking = link(server.addr).await;
    let mut client = speaking.session().await;
    let mut links = Vec::new();
    for _ in 0..40 {
        links.push(link(server.addr).await);
    }
    for link in &mut links[..30] {
        within(&mut link.task).await.unwrap().unwrap();
    }
    assert!(links[30..].iter().all(|link| !link.task.is_finished()));
    client.say(START).await;
    client.read_until("session_end").await;
    goodbye(client).await;
    server.is_quiet().await;
    // Without its session it is one of them, and the newest.
    within(&mut links[30].task).await.unwrap().unwrap();
    assert_eq!(speaking.answer(request(Method::GET, "/api/voices")).await.0, 200);
}

/// Requests that are reset as soon as they are sent (CVE-2023-44487).
#[tokio::test]
async fn rapid_reset_ends_only_its_connection() {
    let server = server().await;
    let mut other = link(server.addr).await;
    let mut session = other.session().await;
    // :method GET, :scheme http, :path /, of HPACK's static table, and an authority.
    let head = b"\x82\x86\x84\x41\x01a";
    let mut flood = [PREFACE, &h2_frame(SETTINGS, 0, 0, &[])].concat();
    for n in 0..2_000 {
        let stream = 2 * n + 1;
        flood.extend(h2_frame(1, 0x5, stream, head));
        flood.extend(h2_frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    let mut client = raw(server.addr).await;
    client.send_bytes(&flood).await;
    // ENHANCE_YOUR_CALM
    assert_eq!(read_go_away(&mut client).await, 11);
    session.say(START).await;
    session.read_until("session_end").await;
    goodbye(session).await;
    server.is_quiet().await;
}

/// Each invalid frame ends its connection and not the server.
#[tokio::test]
async fn invalid_frames_end_only_their_connection() {
    let server = server().await;
    let mut other = link(server.addr).await;
    let mut session = other.session().await;
    let settings = h2_frame(SETTINGS, 0, 0, &[]);
    for (name, bytes) in [
        ("data on no stream", h2_frame(0, 0, 0, b"x")),
        ("headers on an even stream", h2_frame(1, 5, 2, b"\x82\x86\x84")),
        ("headers that are no HPACK", h2_frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff")),
        ("a frame over its limit", h2_frame(0, 0, 1, &[0; 16_385])),
        ("a window of nothing", h2_frame(8, 0, 0, &[0; 4])),
        ("a continuation of nothing", h2_frame(9, 4, 1, b"")),
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a flood of empty settings", settings.repeat(100_000)),
        ("headers that never end", {
            let continuation = h2_frame(9, 0, 1, &[0; 16_000]);
            [h2_frame(1, 0, 1, b"\x82"), continuation.repeat(50)].concat()
        }),
    ] {
        let mut client = raw(server.addr).await;
        client.send_bytes(&[PREFACE, &settings, &bytes].concat()).await;
        client.finish().await;
        let (mut stream, _) = client.into_parts();
        // To its end or a reset: a client that sends that much does not read.
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
        session.send_bytes(&frame(0x89, b"there?")).await;
        assert_eq!(session.read_frame().await.kind(), "pong", "{name}");
    }
    goodbye(session).await;
}

#[tokio::test]
async fn drain_lets_streams_end() {
    let mut server = server().await;
    let mut idle = link(server.addr).await;
    let mut busy = link(server.addr).await;
    let mut client = busy.session().await;
    let mut before = raw(server.addr).await;
    before.send_bytes(PREFACE).await;
    read_settings(&mut before).await;
    server.stop();
    // The first connection is idle; the second one ends with its last stream.
    within(&mut idle.task).await.unwrap().unwrap();
    let Frame::Close(Some((code, _))) = client.read_frame().await else { panic!("no close code") };
    assert_eq!(code, 1001);
    client.send_bytes(&close(1001, "")).await;
    assert_eq!(client.read_to_close().await, b"");
    drop(client);
    within(&mut busy.task).await.unwrap().unwrap();
    before.read_to_close().await;
    within(server.stop()).await.unwrap();
}

/// The service runs in an HTTP/2 server of hyper.
#[tokio::test]
async fn service_runs_in_a_hyper_server_of_http_2() {
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    let (ours, theirs) = duplex(64 * 1024);
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(theirs), service.clone());
    tokio::spawn(connection);
    let mut link = link_over(ours).await;
    let mut client = link.session().await;
    client.say(START).await;
    assert_eq!(audio(&client.read_until("session_end").await).len(), 3_200);
    goodbye(client).await;
    let (status, headers, _) = link.answer(request(Method::GET, PATH)).await;
    assert_eq!((status, &headers["allow"]), (405, &"CONNECT".parse().unwrap()));
}

/// One port serves both at the same time.
#[tokio::test]
async fn port_serves_http_1_and_2() {
    let server = server().await;
    let mut link = link(server.addr).await;
    let mut one = open(server.addr).await;
    let mut two = link.websocket().await;
    assert_eq!(one.read_frame().await.kind(), "session_start");
    assert_eq!(two.read_frame().await.kind(), "session_start");
    assert_eq!(server.service.sessions().count(), 2);
}

/// Independent clients run a whole session: Python's `h2` and `wsproto`, Node's `http2`.
#[tokio::test]
async fn foreign_clients_run_a_whole_session() {
    let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 30.0))).await;
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
    for (variable, program, script) in
        [("ALOUD_TEST_PYTHON", None, "http2.py"), ("ALOUD_TEST_NODE_PATH", Some("node"), "http2.mjs")]
    {
        let Some(value) = std::env::var_os(variable) else {
            support::skip(&format!("foreign_clients_run_a_whole_session with {script}"), variable);
            continue;
        };
        let mut client = tokio::process::Command::new(program.map_or(value.clone(), Into::into));
        client.arg(format!("{clients}/{script}")).arg(server.addr.to_string()).kill_on_drop(true);
        let output = client.stdin(Stdio::null()).output();
        let output = tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // Three streams of two sentences, each of 30 s.
        assert_eq!(figures, serde_json::json!({"sessions": 3, "bytes": 3 * 2 * 30 * 16_000}), "{script}");
    }
    server.is_quiet().await;
}

#[tokio::test]
async fn speech_is_spoken_on_a_stream_of_its_own() {
    let server = server().await;
    let mut link = link(server.addr).await;
    let ask = async |link: &mut Link, text: &str| {
        let json = serde_json::json!({"input": text, "response_format": "pcm"}).to_string();
        let mut requests = within(link.requests.clone().ready()).await.unwrap();
        let request = request(Method::POST, "/v1/audio/speech");
        let (answer, mut output) = requests.send_request(request, false).unwrap();
        output.send_data(json.into(), true).unwrap();
        (within(answer).await.unwrap(), output)
    };
    let (long, mut output) = ask(&mut link, &"One. ".repeat(20_000)).await;
    assert_eq!(long.status(), 200);
    // A stream that is not read does not delay the others.
    let (short, _) = ask(&mut link, "One. Two.").await;
    assert!(short.headers().contains_key("x-request-id"));
    assert_eq!(short.headers()["content-type"], "audio/pcm");
    let (mut input, mut length) = (short.into_body(), 0);
    while let Some(data) = within(input.data()).await {
        let data = data.unwrap();
        input.flow_control().release_capacity(data.len()).unwrap();
        length += data.len();
    }
    assert_eq!(length, 2 * 4_800);
    let (wrong, _) = ask(&mut link, "").await;
    assert_eq!(wrong.status(), 400);
    // A reset stops the engine.
    output.send_reset(Reason::CANCEL);
    server.is_quiet().await;
    drop(long);
}
