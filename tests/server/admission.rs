//! Admission: origins, credentials, limits, and the answer to each refused client.

use crate::support::{
    self, FORMAT, Frame, Head, Raw, Running, Scripted, messages, opening_with, over_memory, raw, start_echo,
    start_with, within,
};
use aloud::settings::{Admission, Auth};
use aloud::tts::{Synthesizer, Tone};
use aloud::{Config, PATH, Service};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;
const END: &str = r#"{"type":"end"}"#;

/// `printf %s secret | sha256sum`, and the same for `other`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const OTHER: &str = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";

fn tone() -> Arc<dyn Synthesizer> {
    Arc::new(Tone::new(FORMAT, 0.1))
}

async fn server(admission: Admission) -> Running {
    start_with(Config::default().with(|c| c.admission = admission), tone()).await
}

/// A temporary file, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Scratch {
        let path = std::env::temp_dir().join(format!("aloud-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server that requires a token: `secret` or, for a client named alice, `other`.
async fn guarded(name: &str, admission: Admission) -> (Running, Scratch) {
    let file = Scratch::new(name, format!("{SECRET}\n{OTHER} alice\n"));
    let auth = Auth::Tokens(file.0.clone());
    (server(admission.with(|a| a.auth = auth)).await, file)
}

/// Sends a handshake with these header lines and reads the answer.
async fn handshake_at(server: &Running, path: &str, lines: &str) -> (Raw, Head) {
    let mut client = raw(server.addr).await;
    client.send_bytes(&opening_with(server.addr, path, lines)).await;
    let head = client.read_head().await;
    (client, head)
}

async fn handshake(server: &Running, lines: &str) -> (Raw, Head) {
    handshake_at(server, PATH, lines).await
}

async fn status(server: &Running, lines: &str) -> u16 {
    handshake(server, lines).await.1.status
}

/// Connects with these header lines, and takes the greeting.
async fn enter(server: &Running, lines: &str) -> Raw {
    let (mut client, head) = handshake(server, lines).await;
    assert_eq!(head.status, 101, "{head:?}");
    assert_eq!(client.read_frame().await.kind(), "session_start");
    client
}

async fn message(client: &mut Raw) -> Value {
    match client.read_frame().await {
        Frame::Text(value) => value,
        frame => panic!("no message but {frame:?}"),
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    for _ in 0..500 {
        if is().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

fn retries(head: &Head) -> u64 {
    head.header("retry-after").unwrap_or_else(|| panic!("{head:?}")).parse().unwrap()
}

#[tokio::test]
async fn origin_of_another_host_is_refused() {
    let plain = server(Admission::default()).await;
    let listed = server(Admission::default().with(|a| {
        a.allow_origins = vec!["https://app.example".parse().unwrap(), "null".parse().unwrap()];
    }))
    .await;
    let open = server(Admission::default().with(|a| a.allow_origins = vec!["*".parse().unwrap()])).await;
    let here = format!("http://{}", plain.addr);
    for (origin, expected) in [
        (None, [101, 101, 101]),
        (Some(here.as_str()), [101, 403, 101]),
        (Some("https://app.example"), [403, 101, 101]),
        (Some("https://app.example:444"), [403, 403, 101]),
        (Some("null"), [403, 101, 101]),
        (Some("nonsense"), [403, 403, 101]),
    ] {
        let lines = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
        let found =
            [status(&plain, &lines).await, status(&listed, &lines).await, status(&open, &lines).await];
        assert_eq!(found, expected, "{origin:?}");
    }
    let mut client = raw(plain.addr).await;
    client.send_bytes(&opening_with(plain.addr, PATH, "Origin: https://evil.example\r\n")).await;
    let (_, body) = client.read_answer().await;
    assert!(body.contains("--allow-origin"), "{body}");
}

/// The host that the client asked the proxy for counts, if the proxy is trusted.
#[tokio::test]
async fn origin_of_a_trusted_proxys_host_is_allowed() {
    let lines = "Origin: https://app.example\r\nX-Forwarded-Host: app.example\r\n";
    assert_eq!(status(&server(Admission::default()).await, lines).await, 403);
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let trusting = server(Admission::default().with(|a| a.trusted_proxies = trusted_proxies)).await;
    assert_eq!(status(&trusting, lines).await, 101);
    assert_eq!(
        status(&trusting, "Origin: https://app.example\r\nForwarded: host=app.example\r\n").await,
        101
    );
    assert_eq!(status(&trusting, "Origin: https://app.example\r\nX-Forwarded-Host: b\r\n").await, 403);
}

#[tokio::test]
async fn token_is_accepted_in_each_carrier() {
    let (server, _file) = guarded("ways", Admission::default()).await;
    for (path, lines, expected) in [
        (PATH, "", 401),
        (PATH, "Authorization: Bearer secret\r\n", 101),
        (PATH, "Authorization: Bearer other\r\n", 101),
        (PATH, "authorization: bearer secret\r\n", 101),
        (PATH, "Authorization: Bearer wrong\r\n", 401),
        (PATH, "Authorization: Bearer secret2\r\n", 401),
        (PATH, "Authorization: Basic c2VjcmV0\r\n", 401),
        (PATH, "Sec-WebSocket-Protocol: aloud.v1, bearer.secret\r\n", 101),
        (PATH, "Sec-WebSocket-Protocol: bearer.secret\r\n", 101),
        (PATH, "Sec-WebSocket-Protocol: aloud.v1, bearer.wrong\r\n", 401),
        (PATH, "Authorization: Bearer wrong\r\nSec-WebSocket-Protocol: bearer.secret\r\n", 401),
        ("/api/session/ws?token=secret", "", 401),
        // A client that can still send `auth` is admitted until the deadline.
        (PATH, "Sec-WebSocket-Protocol: aloud.v1\r\n", 101),
        ("/api/session/ws?token=secret", "Sec-WebSocket-Protocol: aloud.v1\r\n", 101),
    ] {
        let (_, head) = handshake_at(&server, path, lines).await;
        assert_eq!(head.status, expected, "{path} {lines}");
        let protocol = head.header("sec-websocket-protocol");
        let offered = lines.contains("aloud.v1") && expected == 101;
        assert_eq!(protocol.as_deref(), offered.then_some("aloud.v1"), "the credential is never echoed");
        let challenge = head.header("www-authenticate");
        match expected {
            401 => assert!(challenge.unwrap().starts_with("Bearer"), "{lines}"),
            _ => assert_eq!(challenge, None),
        }
    }
    let (open, _file) = guarded("query", Admission::default().with(|a| a.token_in_query = true)).await;
    for (query, expected) in
        [("token=secret", 101), ("a=b&token=secret", 101), ("token=wrong", 401), ("", 401)]
    {
        assert_eq!(handshake_at(&open, &format!("{PATH}?{query}"), "").await.1.status, expected, "{query}");
    }
}

#[tokio::test]
async fn auth_message_may_carry_the_credential() {
    let (server, _file) = guarded("first", Admission::default()).await;
    let mut client = enter(&server, support::V1).await;
    // The next message follows at once, without waiting for an answer.
    client.say(r#"{"type":"auth","token":"secret"}"#).await;
    client.say(START).await;
    assert_eq!(client.read_until("session_end").await.last().unwrap().kind(), "session_end");
    client.say(END).await;
    for words in [r#"{"type":"auth","token":"wrong"}"#, START, r#"{"type":"ping"}"#, "nonsense"] {
        let mut client = enter(&server, support::V1).await;
        client.say(words).await;
        client.say(r#"{"type":"auth","token":"secret"}"#).await;
        let error = message(&mut client).await;
        assert_eq!((&error["code"], &error["fatal"]), (&json!("unauthorized"), &json!(true)), "{words}");
        let Frame::Close(Some((4401, _))) = client.read_frame().await else { panic!("{words}") };
    }
}

#[tokio::test(start_paused = true)]
async fn auth_deadline_closes_after_ten_seconds() {
    let file = Scratch::new("late", SECRET);
    let auth = Auth::Tokens(file.0.clone());
    let config = Config::default().with(|c| c.admission = Admission::default().with(|a| a.auth = auth));
    let service = Service::new(config, tone()).unwrap();
    let mut client = over_memory(&service, 4096, support::V1).await;
    assert_eq!(client.read_frame().await.kind(), "session_start");
    let since = tokio::time::Instant::now();
    let frames = client.read_until("close").await;
    assert!(matches!(frames.last(), Some(Frame::Close(Some((4401, _))))), "{frames:?}");
    assert_eq!(since.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn idle_deadline_closes_after_ten_minutes() {
    let service = Service::new(Config::default(), tone()).unwrap();
    for (lines, code) in [(support::V1, 4408), ("", 1008)] {
        let mut client = over_memory(&service, 4096, lines).await;
        let since = tokio::time::Instant::now();
        let closed = loop {
            match client.read_frame().await {
                Frame::Ping(payload) => client.send_bytes(&support::frame(0x8a, &payload)).await,
                Frame::Close(closed) => break closed.unwrap(),
                _ => {}
            }
        };
        assert_eq!((closed.0, since.elapsed().as_secs()), (code, 600));
    }
}

/// A client that reads again within the close timeout gets the Close with its reason.
#[tokio::test(start_paused = true)]
async fn slow_client_gets_the_close_code_if_it_still_reads() {
    for (lines, code) in [(support::V1, 4430), ("", 1008)] {
        let endless = Arc::new(Tone::new(FORMAT, 1e6));
        let service = Service::new(Config::default(), endless).unwrap();
        let mut client = over_memory(&service, 4096, lines).await;
        client.say(START).await;
        sleep(Duration::from_secs(32)).await;
        assert_eq!(service.syntheses().count(), 0, "its engine has stopped");
        let frames = client.read_until("close").await;
        assert!(
            matches!(frames.last(), Some(Frame::Close(Some((got, _)))) if *got == code),
            "{:?}",
            frames.last()
        );
        let errors: Vec<Value> =
            messages(&frames).into_iter().filter(|message| message["type"] == "error").collect();
        assert_eq!(errors.len(), usize::from(code == 4430));
        assert!(errors.iter().all(|error| error["code"] == "slow_client"));
    }
}

/// The engine waits once the limit of unread audio is buffered.
#[tokio::test(start_paused = true)]
async fn audio_buffered_for_a_client_is_bounded() {
    let (engine, mut asked) = Scripted::new();
    let service = Service::new(Config::default().with(|c| c.prefetch = 1), engine).unwrap();
    let mut client = over_memory(&service, 1024, "").await;
    client.say(START).await;
    let (_, mut sink) = asked.recv().await.unwrap();
    let mut poured = 0;
    while tokio::time::timeout(Duration::from_secs(5), sink.write(&[7; 1024])).await.is_ok() {
        poured += 2048;
        assert!(poured < 1 << 20, "the engine is not held back");
    }
    assert!(poured < 256 * 1024, "{poured} bytes");
}

async fn request(server: &Running, head: &str) -> (Head, String) {
    let mut client = raw(server.addr).await;
    client.send_bytes(format!("{head}\r\nHost: {}\r\n", server.addr).as_bytes()).await;
    client.send_bytes(b"\r\n").await;
    client.read_answer().await
}

#[tokio::test]
async fn ticket_opens_one_connection() {
    let limits = Admission::default().with(|a| a.max_client_connections = Some(1));
    let (server, _file) = guarded("ticket", limits).await;
    let post = "POST /api/session/ticket HTTP/1.1";
    let bearer = |token: &str| format!("{post}\r\nContent-Length: 0\r\nAuthorization: Bearer {token}");
    let (head, body) = request(&server, &bearer("other")).await;
    assert_eq!((head.status, head.header("cache-control").as_deref()), (200, Some("no-store")), "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["expiresInMs"], 30_000);
    let ticket = answer["ticket"].as_str().unwrap();
    assert_eq!(request(&server, &bearer(ticket)).await.0.status, 401, "a ticket buys no other ticket");
    let carried = format!("Sec-WebSocket-Protocol: aloud.v1, bearer.{ticket}\r\n");
    let held = enter(&server, &carried).await;
    assert_eq!(status(&server, &carried).await, 401, "used");
    // The ticket counts for its owner, who may have one connection: this one.
    assert_eq!(status(&server, "Authorization: Bearer other\r\n").await, 429);
    drop(held);

    for (head, expected) in [
        (post.to_owned(), 401),
        (bearer("wrong"), 401),
        (format!("{}\r\nOrigin: https://evil.example", bearer("secret")), 403),
        (bearer("secret").replace("POST", "GET"), 405),
        (bearer("secret").replace("/ticket", "/tickets"), 404),
    ] {
        assert_eq!(request(&server, &head).await.0.status, expected, "{head}");
    }
    let open = self::server(Admission::default()).await;
    assert_eq!(request(&open, &bearer("secret")).await.0.status, 404, "no ticket is needed");
    let echo = start_echo(Config::default()).await;
    assert_eq!(request(&echo, post).await.0.status, 405, "an echo has none");
}

#[tokio::test]
async fn signed_ticket_opens_a_connection_of_any_server_with_the_key() {
    let key = Scratch::new("ticket-key", [b'k'; 32]);
    let limits = Admission::default().with(|a| {
        a.ticket_key_file = Some(key.0.clone());
        a.max_client_connections = Some(1);
    });
    let (first, _file) = guarded("signed-1", limits.clone()).await;
    let (second, _file) = guarded("signed-2", limits).await;
    let post = "POST /api/session/ticket HTTP/1.1\r\nContent-Length: 0\r\nAuthorization: Bearer other";
    let (_, body) = request(&first, post).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    let carried =
        format!("Sec-WebSocket-Protocol: aloud.v1, bearer.{}\r\n", answer["ticket"].as_str().unwrap());
    let held = enter(&second, &carried).await;
    assert_eq!(status(&second, &carried).await, 401, "used");
    assert_eq!(status(&second, "Authorization: Bearer other\r\n").await, 429, "it counts for its owner");
    drop(held);
    let (stranger, _file) = guarded("signed-3", Admission::default()).await;
    assert_eq!(status(&stranger, &carried).await, 401, "it has no key");
}

#[tokio::test]
async fn key_for_tickets_has_to_be_long_enough() {
    let key = Scratch::new("short-key", [b'k'; 31]);
    let config = Config::default().with(|c| c.admission.ticket_key_file = Some(key.0.clone()));
    let error = Service::new(config, tone()).unwrap_err();
    assert_eq!(error.field(), "admission.ticket_key_file");
    assert!(error.to_string().contains("at least 32 bytes"), "{error}");
}

#[tokio::test]
async fn tickets_expire_and_are_limited() {
    let post = "POST /api/session/ticket HTTP/1.1\r\nAuthorization: Bearer secret";
    let (few, _file) = guarded("few", Admission::default().with(|a| a.max_tickets = 20)).await;
    for expected in [200, 200, 503] {
        let (head, _) = request(&few, post).await;
        assert_eq!(head.status, expected, "a client has a tenth of all");
        assert_eq!(head.header("retry-after").is_some(), expected == 503);
    }
    let ticket_ttl = Duration::from_millis(50);
    let (brief, _file) = guarded("brief", Admission::default().with(|a| a.ticket_ttl = ticket_ttl)).await;
    let (_, body) = request(&brief, post).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    sleep(ticket_ttl).await;
    let ticket = answer["ticket"].as_str().unwrap();
    assert_eq!(status(&brief, &format!("Authorization: Bearer {ticket}\r\n")).await, 401);
}

#[tokio::test]
async fn token_list_is_reloaded_when_it_changes() {
    let (server, file) = guarded("reload", Admission::default()).await;
    let is = |token: &'static str, expected: u16| {
        let server = &server;
        move || async move { status(server, &format!("Authorization: Bearer {token}\r\n")).await == expected }
    };
    assert!(is("secret", 101)().await && is("other", 101)().await);
    std::fs::write(&file.0, format!("{OTHER} alice\n")).unwrap();
    until("the token that was taken out is refused", is("secret", 401)).await;
    // An invalid list changes nothing.
    std::fs::write(&file.0, "hunter2").unwrap();
    sleep(Duration::from_millis(1_100)).await;
    assert!(is("other", 101)().await && is("secret", 401)().await && is("hunter2", 401)().await);
    std::fs::write(&file.0, format!("{SECRET}\n")).unwrap();
    until("the new list is in force", is("secret", 101)).await;
    assert!(is("other", 401)().await);
}

#[tokio::test]
async fn connections_of_the_server_are_limited() {
    let limited = Admission::default().with(|a| a.max_connections = 2);
    let config = || Config::default().with(|c| c.admission = limited.clone());
    for server in [start_with(config(), tone()).await, start_echo(config()).await] {
        let (first, _second) = (handshake(&server, "").await, handshake(&server, "").await);
        assert_eq!(first.1.status, 101);
        let (_, head) = handshake(&server, "").await;
        assert_eq!(head.status, 503);
        assert!(retries(&head) > 0);
        // A load balancer that checks readiness sends no more clients.
        assert!(server.service.readiness().unwrap_err().contains("the limit of connections is reached"));
        // Refused and closed connections no longer count.
        drop(first);
        until("there is room", || async { status(&server, "").await == 101 }).await;
    }
}

/// A trusted proxy's forwarded address counts; otherwise the peer's address does.
#[tokio::test]
async fn connections_of_a_client_are_limited() {
    let one = Admission::default().with(|a| a.max_client_connections = Some(1));
    let server = self::server(one.clone()).await;
    let held = enter(&server, "X-Forwarded-For: 192.0.2.1\r\n").await;
    let (_, head) = handshake(&server, "X-Forwarded-For: 192.0.2.2\r\n").await;
    assert_eq!(head.status, 429);
    assert!(retries(&head) > 0);
    drop(held);
    until("it has left", || async { status(&server, "").await == 101 }).await;

    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let server = self::server(one.clone().with(|a| a.trusted_proxies = trusted_proxies)).await;
    let _held = enter(&server, "X-Forwarded-For: 192.0.2.1\r\n").await;
    for (address, expected) in [
        ("X-Forwarded-For: 192.0.2.1", 429),
        ("X-Forwarded-For: 9.9.9.9, 192.0.2.1", 429),
        ("Forwarded: for=192.0.2.1", 429),
        ("X-Forwarded-For: 192.0.2.1, 192.0.2.2", 101),
        ("Forwarded: for=\"[2001:db8::1]:80\"", 101),
    ] {
        let (client, head) = handshake(&server, &format!("{address}\r\n")).await;
        assert_eq!(head.status, expected, "{address}");
        drop(client);
    }

    // A named client is one client at any address; without a name the address counts.
    let (server, _file) = guarded("named", one).await;
    let _alice = enter(&server, "Authorization: Bearer other\r\n").await;
    assert_eq!(status(&server, "Authorization: Bearer other\r\n").await, 429);
    let mut late = enter(&server, support::V1).await;
    late.say(r#"{"type":"auth","token":"other"}"#).await;
    assert_eq!(message(&mut late).await["code"], "rate_limited");
    assert!(matches!(late.read_frame().await, Frame::Close(Some((4429, _)))));
    drop(late);
    until("the address has room", || async {
        status(&server, "Authorization: Bearer secret\r\n").await == 101
    })
    .await;
}

#[tokio::test]
async fn handshakes_of_a_client_are_limited() {
    let limited = Admission::default().with(|a| a.max_client_handshakes_per_sec = Some(3));
    let server = self::server(limited.clone()).await;
    let mut refused = 0;
    for _ in 0..30 {
        let (_, head) = handshake(&server, "").await;
        if head.status == 429 {
            assert!(retries(&head) > 0);
            refused += 1;
        }
    }
    assert!(refused > 0);
    until("a while later", || async { status(&server, "").await == 101 }).await;

    // Guessing uses up the handshakes of the address, not those of a named client.
    let (server, _file) = guarded("guess", limited).await;
    let mut found = Vec::new();
    for n in 0..30 {
        found.push(status(&server, &format!("Authorization: Bearer guess{n}\r\n")).await);
    }
    assert_eq!(&found[..3], [401, 401, 401]);
    assert!(found.contains(&429), "{found:?}");
}

#[tokio::test]
async fn sessions_of_a_client_are_limited_and_suspended_ones_count() {
    let admission = Admission::default().with(|a| a.max_client_sessions = Some(1));
    let config = Config::default().with(|c| {
        c.admission = admission;
        c.resume_ttl = Duration::from_millis(500);
    });
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 100.0))).await;
    let (mut first, greeting) = support::v1(server.addr).await;
    let paced = r#"{"type":"start_session","prompt":"One.","resumable":true,"delivery":{"mode":"paced"}}"#;
    first.say(paced).await;
    first.read_until("text").await;
    // A connection alone is no session.
    let (mut second, _) = support::v1(server.addr).await;
    second.say(START).await;
    let error = message(&mut second).await;
    assert_eq!((&error["code"], &error["fatal"]), (&json!("rate_limited"), &json!(false)), "{error}");
    first.reset();
    within(async {
        while server.service.frozen().count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    second.say(START).await;
    assert_eq!(message(&mut second).await["code"], "rate_limited", "it is kept");
    // A client that recovers the session needs no quota for another one.
    let (id, token) = (&greeting["sessionId"], &greeting["token"]);
    second.say(&json!({"type": "recover", "sessionId": id, "token": token, "offset": 0}).to_string()).await;
    assert_eq!(message(&mut second).await["type"], "stream_start");
    assert_eq!(message(&mut second).await["recovered"], true);
    second.reset();
    let (mut third, _) = support::v1(server.addr).await;
    within(async {
        loop {
            third.say(START).await;
            match message(&mut third).await["type"].as_str().unwrap() {
                "error" => sleep(Duration::from_millis(50)).await,
                begun => {
                    break assert_eq!(begun, "stream_start", "the quota is free after the resume window");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn characters_of_a_client_are_limited_across_its_sessions() {
    let admission = Admission::default().with(|a| a.max_client_chars_per_hour = Some(12));
    let server = self::server(admission).await;
    let (mut first, _) = support::v1(server.addr).await;
    first.say(r#"{"type":"start_session","prompt":"Good day."}"#).await;
    first.read_until("session_end").await;
    let (mut second, _) = support::v1(server.addr).await;
    let long = "The one. The two. The three. The four. The five.";
    second.say(&json!({"type": "start_session", "prompt": long}).to_string()).await;
    let frames = second.read_until("close").await;
    let ends = frames.iter().filter(|frame| frame.kind() == "sentence_end").count();
    assert!((1..=2).contains(&ends), "only sentences in flight are spoken: {ends}");
    assert!(messages(&frames).iter().any(|message| message["code"] == "text_too_long"));
    assert!(matches!(frames.last(), Some(Frame::Close(Some((4413, _))))), "{frames:?}");
    // Neither a new connection nor the existing session gets more characters.
    let (third, _) = support::v1(server.addr).await;
    for mut client in [first, third] {
        client.say(START).await;
        assert_eq!(message(&mut client).await["code"], "rate_limited");
    }
}

#[tokio::test]
async fn messages_per_second_are_limited() {
    let config = Config::default().with(|c| c.max_messages_per_sec = Some(1));
    let server = start_with(config, tone()).await;
    for (lines, code) in [(support::V1, 4429), ("", 1008)] {
        let mut client = enter(&server, lines).await;
        client.send_bytes(&support::text(r#"{"type":"pause"}"#).repeat(150)).await;
        let frames = client.read_until("close").await;
        let refused = frames.iter().filter(|frame| frame.kind() == "error").count();
        assert_eq!(refused, 100, "{}", frames.len());
        assert!(
            matches!(frames.last(), Some(Frame::Close(Some((got, _)))) if *got == code),
            "{:?}",
            frames.last()
        );
    }
}

#[tokio::test]
async fn token_list_that_is_invalid_is_reported_at_the_start_and_not_printed() {
    let file = Scratch::new("no-list", "hunter2\n");
    for path in [file.0.clone(), PathBuf::from("/no/such/file")] {
        let auth = Auth::Tokens(path.clone());
        let config = Config::default().with(|c| c.admission = Admission::default().with(|a| a.auth = auth));
        let Err(error) = Service::new(config, tone()) else { panic!("{path:?} is taken") };
        let error = error.to_string();
        assert!(error.contains(path.to_str().unwrap()) && !error.contains("hunter2"), "{error}");
    }
}

/// A server in a process of its own, killed when dropped.
struct Serving {
    child: Child,
    addr: std::net::SocketAddr,
}

impl Serving {
    fn start(mut command: Command) -> Serving {
        let mut child = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit('/').next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?}"));
        Serving { child, addr }
    }

    /// Ends it in order, so that no line is lost. Returns its standard error.
    fn end(mut self) -> String {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        stderr
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_aloud");

/// The program refuses to listen on the network by accident.
#[test]
fn listen_on_the_network_needs_authentication_or_a_flag() {
    let run = |args: &[&str]| {
        let output = Command::new(PROGRAM).args(args).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let (code, stderr) = run(&["serve", "--engine=tone", "--listen", listen]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("--insecure") && stderr.contains("--auth token"), "{stderr}");
    }
    let mut open = Command::new(PROGRAM);
    open.args(["serve", "--engine=tone", "--listen=0.0.0.0:0", "--insecure"]);
    drop(Serving::start(open));
    #[cfg(not(feature = "jwt"))]
    {
        let (code, stderr) =
            run(&["serve", "--auth=jwt", "--jwt-key-file=/dev/null", "--listen=127.0.0.1:0"]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("--features jwt"), "{stderr}");
    }
}

/// No answer, message, metric or log line of the server contains a token.
#[tokio::test]
async fn token_appears_in_no_output() {
    let file = Scratch::new("shown", format!("{SECRET} alice\n"));
    let mut command = Command::new(PROGRAM);
    command.args([
        "serve",
        "--engine=tone",
        "--tone-seconds=0.1",
        "--listen=127.0.0.1:0",
        "--token-in-query",
        "--log-level=trace",
    ]);
    command.args(["--auth=token", "--auth-tokens", file.0.to_str().unwrap()]);
    let serving = Serving::start(command);
    let mut answers = String::new();
    let mut tokens = vec!["secret".to_owned(), "hunter2".to_owned()];
    for token in ["secret", "hunter2"] {
        for (path, lines) in [
            (PATH.to_owned(), format!("Authorization: Bearer {token}\r\n")),
            (PATH.to_owned(), format!("Sec-WebSocket-Protocol: aloud.v1, bearer.{token}\r\n")),
            (format!("{PATH}?token={token}"), String::new()),
            (format!("/elsewhere?token={token}"), String::new()),
        ] {
            let mut client = raw(serving.addr).await;
            client.send_bytes(&opening_with(serving.addr, &path, &lines)).await;
            let head = client.read_head().await;
            answers += &format!("{head:?}");
            if head.status != 101 {
                let length = head.header("content-length").unwrap().parse().unwrap();
                answers += &String::from_utf8(client.read_exact(length).await).unwrap();
                continue;
            }
            client.say(START).await;
            for message in messages(&client.read_until("session_end").await) {
                // The secret of the session itself, which is for its client only.
                tokens.extend(message["token"].as_str().map(str::to_owned));
                answers += &message["message"].to_string();
            }
            client.say(r#"{"type":"recover","sessionId":"x","token":"hunter2","offset":0}"#).await;
            client.say(&format!(r#"{{"type":"nonsense","token":"{token}"}}"#)).await;
            client.say(END).await;
            for message in messages(&client.read_until("close").await) {
                answers += &message.to_string();
            }
        }
        let (mut client, _) = support::v1(serving.addr).await;
        client.say(&format!(r#"{{"type":"auth","token":"{token}"}}"#)).await;
        client.say(END).await;
        answers += &format!("{:?}", client.read_until("close").await);
    }
    std::fs::write(&file.0, "hunter2 alice\n").unwrap();
    sleep(Duration::from_millis(1_100)).await;
    let mut client = raw(serving.addr).await;
    client.send_bytes(&opening_with(serving.addr, PATH, "Authorization: Bearer secret\r\n")).await;
    assert_eq!(client.read_head().await.status, 101);
    drop(client);
    let stderr = serving.end();
    assert!(stderr.contains("session ") && stderr.contains("the previous tokens stay valid"), "{stderr}");
    assert_eq!(tokens.len(), 2 + 1, "one session of aloud.v1 was begun by hand");
    for token in tokens {
        assert!(!stderr.contains(&token) && !answers.contains(&token), "{token}: {stderr} {answers}");
    }
}

/// `aloud say` sends a token, and reports a missing one.
#[test]
fn say_sends_its_token() {
    let file = Scratch::new("say-list", format!("{SECRET}\n"));
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--engine=tone", "--tone-seconds=0.1", "--listen=127.0.0.1:0"]);
    command.args(["--auth=token", "--auth-tokens", file.0.to_str().unwrap()]);
    let serving = Serving::start(command);
    let key = Scratch::new("say-token", "secret\n");
    let say = |args: &[&str], variable: &str| {
        let url = format!("ws://{}", serving.addr);
        let mut command = Command::new(PROGRAM);
        command.args(["say", "One.", "-o", "-", "--url", &url]).args(args);
        command.env_clear().env("ALOUD_TOKEN", variable).output().unwrap()
    };
    for (args, variable, expected) in [
        (&["--token-file", key.0.to_str().unwrap()][..], "", true),
        (&[], "secret", true),
        (&[], "hunter2", false),
    ] {
        let output = say(args, variable);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), expected, "{args:?} {stderr}");
        assert_eq!(output.stdout.starts_with(b"RIFF"), expected);
        assert!(expected || stderr.contains("401") && !stderr.contains("hunter2"), "{stderr}");
    }
}

/// Without free descriptors, connected clients continue; new ones connect once some are free.
#[tokio::test]
async fn descriptors_exhausted_leave_the_server_running() {
    let mut command = Command::new("sh");
    let serve =
        "ulimit -n 64; exec \"$0\" serve --engine=tone --tone-seconds=0.1 --threads=1 --listen=127.0.0.1:0";
    command.args(["-c", serve, PROGRAM]);
    let serving = Serving::start(command);
    let mut early = support::session(serving.addr).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(raw(serving.addr).await);
    }
    // The server cannot accept the last connection: its handshake gets no answer.
    let last = held.last_mut().unwrap();
    last.send_bytes(&opening_with(serving.addr, PATH, "")).await;
    for _ in 0..3 {
        early.say(START).await;
        early.read_until("session_end").await;
    }
    drop(held.drain(..99));
    let mut last = held.pop().unwrap();
    assert_eq!(last.read_head().await.status, 101, "served once descriptors are free");
    let mut late = support::session(serving.addr).await;
    late.say(START).await;
    late.read_until("session_end").await;
    drop((early, last, late));
    let stderr = serving.end();
    let lines = stderr.matches("cannot accept").count();
    assert!((1..=3).contains(&lines), "logged, and not repeatedly: {stderr}");
}
