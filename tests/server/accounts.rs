//! Accounts with owners: what all clients share is counted for each, and a client that takes much of it takes
//! it from itself alone.

use crate::support::{
    FORMAT, Frame, PATIENCE, Raw, Running, V1, audio, frame, messages, opening_with, over_memory, raw,
    start_with, text, v1, within,
};
use aloud::settings::{Admission, Auth};
use aloud::tts::{Synthesizer, Tone};
use aloud::{Config, PATH, Server, Service};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, interval};

const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;
const VOICES: &[u8] = b"GET /api/voices HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// `printf %s secret | sha256sum`, and the same for `other`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const OTHER: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

fn tone(seconds: f64) -> Arc<dyn Synthesizer> {
    Arc::new(Tone::new(FORMAT, seconds))
}

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("aloud-accounts-{name}-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Settings with these rules, and with credentials: `secret` of a client without a name, `other` of alice.
fn guarded(name: &str, change: impl FnOnce(&mut Admission)) -> (Config, Scratch) {
    let file = Scratch::new(name);
    std::fs::write(&file.0, format!("{SECRET}\n{OTHER} alice\n")).unwrap();
    let auth = Auth::Tokens(file.0.clone());
    let admission = Admission::default().with(|a| a.auth = auth).with(change);
    (Config::default().with(|c| c.admission = admission), file)
}

/// The same service behind a Unix socket.
struct Local {
    path: Scratch,
    task: JoinHandle<()>,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Local {
    async fn start(name: &str, service: &Service) -> Local {
        let path = Scratch::new(&format!("{name}.sock"));
        let listen = format!("unix:{}", path.0.display()).parse().unwrap();
        let server = Server::bind(&listen, service.clone()).await.unwrap();
        Local { path, task: tokio::spawn(server.serve(std::future::pending())) }
    }

    async fn raw(&self) -> Raw<UnixStream> {
        Raw::over(within(UnixStream::connect(&self.path.0)).await.unwrap(), PATIENCE)
    }
}

fn opening(lines: &str) -> Vec<u8> {
    opening_with("127.0.0.1:80".parse().unwrap(), PATH, lines)
}

/// Sends a handshake with these lines; returns the status of the answer.
async fn shake<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>, lines: &str) -> u16 {
    client.send_bytes(&opening(lines)).await;
    client.read_head().await.status
}

async fn enter(server: &Running, lines: &str) -> (u16, Raw) {
    let mut client = raw(server.addr).await;
    (shake(&mut client, lines).await, client)
}

/// Asks for a ticket.
async fn ticket(server: &Running, token: &str) -> Result<String, u16> {
    let mut client = raw(server.addr).await;
    let head = format!(
        "POST /api/session/ticket HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    client.send_bytes(head.as_bytes()).await;
    let (head, body) = client.read_answer().await;
    if head.status != 200 {
        return Err(head.status);
    }
    let answer: Value = serde_json::from_str(&body).unwrap();
    Ok(answer["ticket"].as_str().unwrap().to_owned())
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Waits for an event.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

// Tickets.

#[tokio::test]
async fn tickets_that_were_used_stop_no_other_client() {
    let (config, _file) = guarded("used", |a| a.max_tickets = 10);
    let server = start_with(config, tone(0.1)).await;
    for round in 0..30 {
        let ticket = ticket(&server, "secret").await.unwrap_or_else(|status| panic!("{round}: {status}"));
        assert_eq!(enter(&server, &bearer(&ticket)).await.0, 101, "{round}");
    }
    assert!(ticket(&server, "other").await.is_ok());
    // One that hoards them has its share, and the others theirs.
    assert!(ticket(&server, "secret").await.is_ok());
    assert_eq!(ticket(&server, "secret").await, Err(503), "a tenth of ten");
}

#[tokio::test]
async fn ticket_is_spent_by_an_accepted_handshake_only() {
    let (config, _file) = guarded("spent", |a| a.max_client_connections = Some(1));
    let server = start_with(config, tone(0.1)).await;
    let local = Local::start("spent", &server.service).await;
    let held = enter(&server, &bearer("other")).await;
    assert_eq!(held.0, 101);
    let token = ticket(&server, "other").await.unwrap();
    let carried = bearer(&token);
    // Refused at each door, and for each reason, it stays good.
    for _ in 0..3 {
        assert_eq!(enter(&server, &carried).await.0, 429);
        assert_eq!(enter(&server, &format!("{carried}Origin: https://evil.example\r\n")).await.0, 403);
        assert_eq!(shake(&mut local.raw().await, &carried).await, 429);
        let malformed = opening(&carried).escape_ascii().to_string().replace("Version: 13", "Version: 12");
        let mut client = raw(server.addr).await;
        client.send_bytes(malformed.replace(r"\r\n", "\r\n").as_bytes()).await;
        assert_eq!(client.read_head().await.status, 426);
        let (status, mut late) = enter(&server, V1).await;
        assert_eq!(status, 101);
        late.say(&json!({"type": "auth", "token": token}).to_string()).await;
        let frames = late.read_until("close").await;
        assert_eq!(messages(&frames).last().unwrap()["code"], "rate_limited");
    }
    drop(held);
    until("it has left", || server.service.sessions().count() == 0).await;
    let (status, first) = enter(&server, &carried).await;
    assert_eq!(status, 101);
    drop(first);
    until("it has left", || server.service.sessions().count() == 0).await;
    assert_eq!(enter(&server, &carried).await.0, 401, "used");
    assert_eq!(shake(&mut local.raw().await, &carried).await, 401, "used");
}

#[tokio::test]
async fn ticket_opens_one_session_at_any_door() {
    let (config, _file) = guarded("doors", |_| {});
    let server = start_with(config, tone(0.1)).await;
    let local = Local::start("doors", &server.service).await;
    for door in 0..4 {
        let token = ticket(&server, "other").await.unwrap();
        match door {
            0 => assert_eq!(enter(&server, &bearer(&token)).await.0, 101),
            1 => assert_eq!(shake(&mut local.raw().await, &bearer(&token)).await, 101),
            2 => drop(over_memory(&server.service, 4096, &bearer(&token)).await),
            _ => {
                let mut client = v1(server.addr).await.0;
                client.say(&json!({"type": "auth", "token": token}).to_string()).await;
                client.say(START).await;
                client.read_until("session_end").await;
            }
        }
        assert_eq!(enter(&server, &bearer(&token)).await.0, 401, "door {door}");
        let mut client = v1(server.addr).await.0;
        client.say(&json!({"type": "auth", "token": token}).to_string()).await;
        let frames = client.read_until("close").await;
        assert!(matches!(frames.last(), Some(Frame::Close(Some((4401, _))))), "door {door}: {frames:?}");
    }
}

// Suspended sessions.

/// Loses the connection of a resumable session of the client at this address; returns its greeting.
async fn suspend(server: &Running, address: &str, prompt: &str) -> Value {
    let lines = format!("{V1}X-Forwarded-For: {address}\r\n");
    let (status, mut client) = enter(server, &lines).await;
    assert_eq!(status, 101);
    let Frame::Text(greeting) = client.read_frame().await else { panic!("a greeting") };
    let start = json!({"type": "start_session", "prompt": prompt, "resumable": true});
    client.say(&start.to_string()).await;
    client.read_until("session_end").await;
    client.reset();
    until("its connection is lost", || server.service.sessions().count() == 0).await;
    greeting
}

/// Recovers a session at offset 0; returns the code of the Close if that is refused.
async fn recover(server: &Running, greeting: &Value) -> Result<Raw, u16> {
    let mut client = v1(server.addr).await.0;
    let (id, token) = (&greeting["sessionId"], &greeting["token"]);
    client.say(&json!({"type": "recover", "sessionId": id, "token": token, "offset": 0}).to_string()).await;
    let Frame::Text(mut answer) = client.read_frame().await else { panic!("an answer") };
    if answer["type"] == "stream_start" {
        // At the first byte the stream is announced again.
        let Frame::Text(next) = client.read_frame().await else { panic!("an answer") };
        answer = next;
    }
    if answer["recovered"] == true {
        return Ok(client);
    }
    match client.read_until("close").await.last() {
        Some(Frame::Close(Some((code, _)))) => Err(*code),
        frame => panic!("no Close but {frame:?}"),
    }
}

#[tokio::test]
async fn suspended_sessions_of_the_client_that_has_most_are_given_up() {
    for by_bytes in [false, true] {
        let admission = Admission::default().with(|a| {
            a.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        });
        let config = Config::default().with(|c| {
            c.admission = admission;
            match by_bytes {
                true => c.max_frozen_bytes = 200_000,
                false => c.max_frozen_sessions = 5,
            }
        });
        let server = start_with(config, tone(1.0)).await;
        let victims =
            [suspend(&server, "192.0.2.1", "One.").await, suspend(&server, "192.0.2.2", "One.").await];
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(suspend(&server, "198.51.100.1", "One. Two.").await);
        }
        for victim in &victims {
            let recovered = recover(&server, victim).await;
            assert!(recovered.is_ok(), "by bytes: {by_bytes}, {:?}", recovered.err());
        }
        // The client that has most has lost its oldest ones.
        assert_eq!(recover(&server, &flood[0]).await.err(), Some(4410));
        assert!(recover(&server, flood.last().unwrap()).await.is_ok());
    }
}

// Sockets.

/// Sends this and nothing more on many connections. Returns those that are open in the end.
async fn hoard<S>(clients: Vec<Raw<S>>, bytes: &[u8]) -> usize
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let open = Arc::new(AtomicUsize::new(clients.len()));
    let mut tasks = Vec::new();
    for mut client in clients {
        client.send_bytes(bytes).await;
        let open = Arc::clone(&open);
        tasks.push(tokio::spawn(async move {
            client.read_to_close().await;
            open.fetch_sub(1, Ordering::Relaxed);
        }));
    }
    // What the server decided has arrived: nothing changes any more.
    let mut last = (open.load(Ordering::Relaxed), Instant::now());
    within(async {
        while last.1.elapsed() < Duration::from_millis(300) {
            yield_now().await;
            let now = open.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    })
    .await;
    tasks.iter().for_each(JoinHandle::abort);
    last.0
}

#[tokio::test]
async fn sockets_without_a_session_are_counted_from_accept() {
    let admission = Admission::default().with(|a| a.max_connections = 10);
    let server = start_with(Config::default().with(|c| c.admission = admission), tone(0.1)).await;
    let local = Local::start("sockets", &server.service).await;
    // Silence, half a request, and a request that keeps its connection.
    for bytes in [&b""[..], b"GET / HT", VOICES] {
        let mut clients = Vec::new();
        for _ in 0..60 {
            clients.push(raw(server.addr).await);
        }
        let open = hoard(clients, bytes).await;
        assert!((1..=10).contains(&open), "{open} after {:?}", bytes.escape_ascii().to_string());
        let mut clients = Vec::new();
        for _ in 0..60 {
            clients.push(local.raw().await);
        }
        let open = hoard(clients, bytes).await;
        assert!((1..=10).contains(&open), "{open} after {:?}", bytes.escape_ascii().to_string());
    }
    // Beside them, ten sessions are served, and no more.
    let mut silent = Vec::new();
    let mut sessions = Vec::new();
    for n in 0..11 {
        for _ in 0..20 {
            silent.push(raw(server.addr).await);
        }
        let (status, client) = enter(&server, "").await;
        assert_eq!(status, if n < 10 { 101 } else { 503 }, "{n}");
        sessions.push(client);
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_limited_without_a_handshake() {
    let server = start_with(Config::default(), tone(0.1)).await;
    let local = Local::start("requests", &server.service).await;
    let other: &[u8] = b"GET /api/session/ws HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for request in [VOICES, other] {
        assert_eq!(requests(&mut raw(server.addr).await, request).await, Some(100));
        assert_eq!(requests(&mut local.raw().await, request).await, Some(100));
    }
    // A handshake that is refused counts as well, and one that is good is accepted as the last request.
    let mut client = raw(server.addr).await;
    for _ in 0..99 {
        client.send_bytes(VOICES).await;
        assert_eq!(client.read_answer().await.0.header("connection"), None);
    }
    assert_eq!(shake(&mut client, "").await, 101);
    // A trusted proxy carries the requests of many clients.
    for proxy in ["127.0.0.1", "unix"] {
        let admission = Admission::default().with(|a| a.trusted_proxies = vec![proxy.parse().unwrap()]);
        let config = Config::default().with(|c| c.admission = admission);
        let server = start_with(config, tone(0.1)).await;
        let local = Local::start(&format!("proxied-{proxy}"), &server.service).await;
        let expected = if proxy == "unix" { [Some(100), None] } else { [None, Some(100)] };
        let found = [
            requests(&mut raw(server.addr).await, VOICES).await,
            requests(&mut local.raw().await, VOICES).await,
        ];
        assert_eq!(found, expected, "{proxy}");
    }
}

/// Sends requests until an answer ends the connection; returns their number, and `None` for more than 300.
async fn requests<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>, request: &[u8]) -> Option<usize> {
    for count in 1..=300 {
        client.send_bytes(request).await;
        if client.read_answer().await.0.header("connection").as_deref() == Some("close") {
            assert_eq!(client.read_to_close().await, b"");
            return Some(count);
        }
    }
    None
}

#[tokio::test]
async fn requests_do_not_hold_a_connection_for_ever() {
    let patience = Duration::from_millis(300);
    let config = || Config::default().with(|c| c.handshake_timeout = patience);
    let server = start_with(config(), tone(0.1)).await;
    let (mut client, began) = (raw(server.addr).await, Instant::now());
    let mut often = interval(patience / 3);
    let lasted = loop {
        often.tick().await;
        client.send_bytes(VOICES).await;
        let (head, _) = client.read_answer().await;
        if head.header("connection").as_deref() == Some("close") {
            client.read_to_close().await;
            break began.elapsed();
        }
        assert!(began.elapsed() < patience * 7, "it is renewed without end");
    };
    assert!(lasted >= patience * 4, "{lasted:?}");
    // The connection of a trusted proxy lasts as long as it is used.
    let trusting = config().with(|c| c.admission.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    let server = start_with(trusting, tone(0.1)).await;
    let (mut client, began) = (raw(server.addr).await, Instant::now());
    while began.elapsed() < patience * 8 {
        often.tick().await;
        client.send_bytes(VOICES).await;
        assert_eq!(client.read_answer().await.0.header("connection"), None);
    }
}

// Connections without a credential.

/// True once the server has closed the connection for lack of room.
async fn is_displaced<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>) -> bool {
    let frames = client.read_until("close").await;
    let code = messages(&frames).last().map(|message| message["code"].clone());
    code == Some("overloaded".into()) && matches!(frames.last(), Some(Frame::Close(Some((4503, _)))))
}

#[tokio::test]
async fn connections_without_a_credential_have_a_tenth_of_the_places() {
    let (config, _file) = guarded("tenth", |a| a.max_connections = 20);
    let server = start_with(config, tone(0.1)).await;
    let local = Local::start("tenth", &server.service).await;
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let (status, client) = enter(&server, V1).await;
        assert_eq!(status, 101);
        waiting.push(client);
    }
    for client in &mut waiting[..4] {
        assert!(is_displaced(client).await, "oldest first");
    }
    // At every door, the oldest gives its place.
    let mut inside = local.raw().await;
    assert_eq!(shake(&mut inside, V1).await, 101);
    assert!(is_displaced(&mut waiting[4]).await);
    let mut embedded = over_memory(&server.service, 4096, V1).await;
    assert!(is_displaced(&mut waiting[5]).await);
    // The others have all the places, those of these two as well.
    let mut sessions = Vec::new();
    for n in 0..20 {
        let (status, client) = enter(&server, &bearer("secret")).await;
        assert_eq!(status, 101, "{n}");
        sessions.push(client);
    }
    assert!(is_displaced(&mut inside).await && is_displaced(&mut embedded).await);
    assert_eq!(enter(&server, &bearer("secret")).await.0, 503, "full of sessions");
    assert_eq!(enter(&server, V1).await.0, 503, "full of sessions");
    drop(sessions);
    until("they have left", || server.service.sessions().count() == 0).await;
    // A client that shows its credential in time keeps its place.
    let mut client = v1(server.addr).await.0;
    client.say(r#"{"type":"auth","token":"secret"}"#).await;
    client.say(START).await;
    client.read_until("session_end").await;
    for _ in 0..5 {
        assert_eq!(enter(&server, V1).await.0, 101);
    }
    client.say(START).await;
    client.read_until("session_end").await;
}

#[tokio::test]
async fn flood_without_credentials_leaves_room_for_a_good_token() {
    let (config, _file) = guarded("flood", |a| a.max_connections = 2);
    let server = start_with(config, tone(0.1)).await;
    let mut silent = Vec::new();
    for round in 0..50 {
        for _ in 0..4 {
            silent.push(enter(&server, V1).await);
        }
        let lines = if round % 2 == 0 { bearer("secret") } else { bearer("other") };
        let (status, mut client) = enter(&server, &lines).await;
        assert_eq!(status, 101, "{round}");
        client.say(START).await;
        client.read_until("session_end").await;
        client.say(r#"{"type":"end"}"#).await;
        client.read_until("close").await;
    }
    assert!(server.service.readiness().is_ok(), "it has room for those with a credential");
}

// The turn of a connection.

/// Floods the server from a thread of its own until it is dropped. Reads what comes, and forgets it.
struct Flood {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Flood {
    async fn of(client: Raw, piece: Vec<u8>) -> Flood {
        let (stream, _) = client.into_parts();
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let flood = Flood { is_over: Arc::clone(&is_over), sent: Arc::clone(&sent) };
        let mut reader = stream.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) && stream.write_all(&piece).is_ok() {
                sent.fetch_add(piece.len(), Ordering::Relaxed);
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
        flood
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

/// The server, its listener and the other client share the thread of the test.
#[tokio::test]
async fn flood_of_messages_does_not_hold_up_a_handshake() {
    let config = Config::default().with(|c| c.max_messages_per_sec = None);
    let server = start_with(config, tone(1e6)).await;
    let nonsense = format!(r#"{{"type":"ack","playedMs":0,"x":"{}"}}"#, "y".repeat(200));
    for (name, piece) in [
        ("acks", text(r#"{"type":"ack","playedMs":0}"#).repeat(2_000)),
        ("larger ones", text(&nonsense).repeat(300)),
        ("binary messages", frame(0x82, &[7; 100]).repeat(600)),
    ] {
        let mut hostile = v1(server.addr).await.0;
        let start = json!({"type": "start_session", "delivery": {"mode": "paced", "aheadMs": 20}});
        hostile.say(&start.to_string()).await;
        hostile.say(r#"{"type":"pause"}"#).await;
        hostile.read_until("paused").await;
        let flood = Flood::of(hostile, piece).await;
        until("the flood runs", || flood.sent() > 1 << 20).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(enter(&server, "").await.0, 101);
            slowest = slowest.max(began.elapsed());
        }
        assert!(slowest < Duration::from_millis(500), "{name}: {slowest:?}");
        let before = flood.sent();
        until("the flood still runs", || flood.sent() > before).await;
    }
}

#[tokio::test]
async fn bytes_and_binary_messages_count_as_messages() {
    let config = Config::default().with(|c| c.max_messages_per_sec = Some(1));
    let server = start_with(config, tone(0.1)).await;
    // Ten may come at once. A large message counts as many, but is never too large to be taken.
    let large = format!(r#"{{"type":"ping","id":"x","y":"{}"}}"#, "z".repeat(60_000));
    for (lines, code) in [(V1, 4429), ("", 1008)] {
        let (_, mut client) = enter(&server, lines).await;
        client.send_bytes(&frame(0x82, b"noise").repeat(150)).await;
        let frames = client.read_until("close").await;
        let refused = frames.iter().filter(|frame| frame.kind() == "error").count();
        assert_eq!(refused, 100, "{lines}");
        assert!(matches!(frames.last(), Some(Frame::Close(Some((got, _)))) if *got == code), "{lines}");
    }
    let mut client = v1(server.addr).await.0;
    client.say(&large).await;
    assert_eq!(client.read_frame().await.kind(), "pong");
    client.say(&large).await;
    client.say(r#"{"type":"ping"}"#).await;
    for _ in 0..2 {
        let Frame::Text(error) = client.read_frame().await else { panic!("an error") };
        assert_eq!(error["code"], "rate_limited", "{error}");
    }
}

// Audio.

/// The first error for this `start_session`, or the answer to it.
async fn start(server: &Running, options: &Value) -> Value {
    let mut client = v1(server.addr).await.0;
    let mut start = json!({"type": "start_session", "prompt": "One."});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    client.say(&start.to_string()).await;
    let Frame::Text(answer) = client.read_frame().await else { panic!("an answer") };
    answer
}

#[tokio::test]
async fn operator_limits_sample_rate_and_delivery() {
    let config = Config::default().with(|c| {
        c.max_sample_rate_hz = Some(16_000);
        c.paced_only = true;
        c.max_ahead = Duration::from_millis(500);
    });
    let engine = Tone::new(aloud::audio::Format { sample_rate_hz: 48_000, ..FORMAT }, 0.1);
    let server = start_with(config, Arc::new(engine)).await;
    for (options, expected) in [
        (json!({}), ""),
        (json!({"audio": {"sampleRate": 16_000}}), ""),
        (json!({"audio": {"sampleRate": 8_000}}), ""),
        (json!({"audio": {"sampleRate": 48_000}}), "unsupported_audio"),
        (json!({"audio": {"sampleRate": 22_050}}), "unsupported_audio"),
        (json!({"delivery": {"mode": "burst"}}), "bad_message"),
        (json!({"delivery": {"mode": "paced"}}), ""),
        (json!({"delivery": {"mode": "paced", "aheadMs": 500}}), ""),
        (json!({"delivery": {"mode": "paced", "aheadMs": 501}}), "bad_message"),
    ] {
        let answer = start(&server, &options).await;
        assert_eq!(answer["code"].as_str().unwrap_or_default(), expected, "{options} {answer}");
        if expected.is_empty() {
            let rate = options["audio"]["sampleRate"].as_u64().unwrap_or(16_000);
            assert_eq!(answer["audio"]["sampleRate"], rate, "{answer}");
        }
    }
    let (_, greeting) = v1(server.addr).await;
    assert_eq!(
        (&greeting["limits"]["aheadMs"], &greeting["audio"]["sampleRate"]),
        (&json!(500), &json!(16_000))
    );
    // What the engine or the operator asks for beyond the limit is refused at once.
    let refused = |change: &dyn Fn(&mut Config)| {
        let engine = Tone::new(FORMAT, 0.1);
        Service::new(Config::default().with(change), Arc::new(engine)).unwrap_err().to_string()
    };
    let error = refused(&|c| {
        c.max_sample_rate_hz = Some(16_000);
        c.sample_rate_hz = Some(24_000);
    });
    assert!(error.contains("24000") && error.contains("16000"), "{error}");
    assert!(refused(&|c| c.max_sample_rate_hz = Some(4_000)).contains("no rate within it"));
}

/// Paced delivery holds for a client of the base protocol, too.
#[tokio::test(start_paused = true)]
async fn paced_only_holds_for_the_base_protocol() {
    let service = Service::new(Config::default().with(|c| c.paced_only = true), tone(10.0)).unwrap();
    let mut client = over_memory(&service, 1 << 20, "").await;
    assert_eq!(client.read_frame().await.kind(), "session_start");
    let began = Instant::now();
    client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
    client.read_until("session_end").await;
    assert!(began.elapsed() >= Duration::from_secs(7), "{:?}", began.elapsed());
}

#[tokio::test]
async fn audio_of_a_client_is_limited_across_its_sessions() {
    let admission = Admission::default().with(|a| a.max_client_audio_seconds_per_hour = Some(5));
    let server = start_with(Config::default().with(|c| c.admission = admission), tone(1.0)).await;
    let (mut first, greeting) = v1(server.addr).await;
    let resumable = json!({"type": "start_session", "prompt": "One. Two.", "resumable": true}).to_string();
    first.say(&resumable).await;
    first.read_until("session_end").await;
    first.reset();
    // Audio that is sent again counts: two seconds, two again, and two more.
    let mut again = recover(&server, &greeting).await.unwrap();
    assert_eq!(audio(&again.read_until("session_end").await).len(), 32_000);
    again.reset();
    let mut again = recover(&server, &greeting).await.unwrap();
    again.read_until("session_end").await;
    let mut other = v1(server.addr).await.0;
    for client in [&mut again, &mut other] {
        client.say(START).await;
        let Frame::Text(error) = client.read_frame().await else { panic!("an error") };
        assert_eq!(error["code"], "rate_limited", "{error}");
    }
    again.reset();
    assert_eq!(recover(&server, &greeting).await.err(), Some(4429), "no audio is left for it");
}

#[tokio::test]
async fn audio_quota_ends_a_stream_behind_the_sentences_in_flight() {
    let admission = Admission::default().with(|a| a.max_client_audio_seconds_per_hour = Some(2));
    let server = start_with(Config::default().with(|c| c.admission = admission), tone(1.0)).await;
    let mut client = v1(server.addr).await.0;
    let prompt = "The one. The two. The three. The four. The five. The six. The seven. The eight.";
    client.say(&json!({"type": "start_session", "prompt": prompt}).to_string()).await;
    let frames = client.read_until("close").await;
    let ends = frames.iter().filter(|frame| frame.kind() == "sentence_end").count();
    assert!((2..=5).contains(&ends), "{ends}");
    assert!(messages(&frames).iter().any(|message| message["code"] == "text_too_long"));
    assert!(matches!(frames.last(), Some(Frame::Close(Some((4413, _))))), "{frames:?}");
}

/// Without any setting: a session sends 16 MiB again, and 256 KiB more each second.
#[tokio::test]
async fn recover_in_a_loop_meets_a_limit() {
    let server = start_with(Config::default(), tone(16.0)).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&json!({"type": "start_session", "prompt": "One.", "resumable": true}).to_string()).await;
    let whole = audio(&client.read_until("session_end").await);
    client.reset();
    let mut again = 0;
    let refused = loop {
        match recover(&server, &greeting).await {
            Ok(mut client) => {
                again += audio(&client.read_until("session_end").await).len();
                client.reset();
            }
            Err(code) => break code,
        }
        assert!(again < 8 * 16 * 1024 * 1024, "{again} bytes were sent again");
    };
    assert_eq!(refused, 4429);
    assert!(again >= 2 * whole.len(), "{again}");
    // The session is kept, and goes on near its end.
    let mut client = v1(server.addr).await.0;
    let (id, token) = (&greeting["sessionId"], &greeting["token"]);
    let near = whole.len();
    let recover = json!({"type": "recover", "sessionId": id, "token": token, "offset": near});
    client.say(&recover.to_string()).await;
    let Frame::Text(answer) = client.read_frame().await else { panic!("an answer") };
    assert_eq!(answer["recovered"], true, "{answer}");
}
