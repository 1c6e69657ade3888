//! Sessions through real reverse proxies: nginx, HAProxy, Caddy and Apache, with the recipes of the
//! guide, with TLS and without, under a path prefix.
//!
//! Idle timeouts are thirty times shorter than in production: proxies end tunnels after 2 s of silence,
//! not 60 s, and the server pings every 0.5 s, not 15 s. Seven seconds of audio stand for minutes.

use super::proxy::{Kind, PREFIX, Proxy, Stream, free_address};
use crate::support::{
    self, FORMAT, Frame, Raw, Running, V1, audio, close, crc32, frame, messages, opening_with, raw,
    start_with, text, within,
};
use aloud::tts::{Flite, Synthesizer, Tone};
use aloud::{Config, PATH, Server, Service};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Idle timeout of a tunnel.
const IDLE_SECS: u64 = 2;
const IDLE: Duration = Duration::from_secs(IDLE_SECS);
const HEARTBEAT: Duration = Duration::from_millis(500);

/// About seven seconds of speech.
const PROMPT: &str = "The kettle is on. Tea will be ready in five minutes, or in six. There is cake too. \
                      Sit down, and tell me what you have seen.";

type Client = Raw<Box<dyn Stream>>;

async fn server(heartbeat: Duration) -> Running {
    start_with(Config::default().with(|c| c.heartbeat = heartbeat), Arc::new(Flite::new())).await
}

/// Path of the session at a proxy.
fn path() -> String {
    format!("{PREFIX}{PATH}")
}

fn start(options: &Value) -> String {
    let mut start = json!({"type": "start_session", "prompt": PROMPT});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start.to_string()
}

/// Shakes hands as a client of `aloud.v1`, and takes the greeting.
async fn shake_hands(proxy: &Proxy, secure: bool) -> (Client, Value) {
    let mut client = proxy.connect(secure).await;
    client.send_bytes(&opening_with(proxy.addr(secure), &path(), V1)).await;
    let head = client.read_head().await;
    assert_eq!((head.status, head.header("sec-websocket-protocol").as_deref()), (101, Some("aloud.v1")));
    let Frame::Text(greeting) = client.read_frame().await else { panic!("a message") };
    assert_eq!(greeting["type"], "session_start");
    (client, greeting)
}

/// The next frame that is no Ping. Answers Pings.
async fn next<S: Stream>(client: &mut Raw<S>) -> Frame {
    loop {
        match client.read_frame().await {
            Frame::Ping(payload) => client.send_bytes(&frame(0x8a, &payload)).await,
            frame => return frame,
        }
    }
}

/// The frames up to and with the first of this kind.
async fn until<S: Stream>(client: &mut Raw<S>, kind: &str) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        frames.push(next(client).await);
        if frames.last().unwrap().kind() == kind {
            return frames;
        }
    }
}

/// Runs a whole stream. Returns its messages, without fields that differ each time, and its audio.
async fn stream<S: Stream>(client: &mut Raw<S>, start: &str) -> (Vec<Value>, Vec<u8>) {
    client.say(start).await;
    let frames = until(client, "session_end").await;
    let mut messages = messages(&frames);
    for message in &mut messages {
        if let Some(usage) = message.get_mut("usage") {
            usage["firstAudioMs"] = Value::Null;
        }
        // A connection may have more than one.
        if message["type"] == "stream_start" {
            message["stream"] = Value::Null;
        }
    }
    (messages, audio(&frames))
}

/// The same stream without a proxy.
async fn undisturbed(addr: SocketAddr, start: &str) -> (Vec<Value>, Vec<u8>) {
    let mut client = raw(addr).await;
    client.send_bytes(&opening_with(addr, PATH, V1)).await;
    assert_eq!(client.read_head().await.status, 101);
    assert_eq!(client.read_frame().await.kind(), "session_start");
    stream(&mut client, start).await
}

/// Sends a normal Close and checks the answer.
async fn close_normally(client: &mut Client) {
    client.send_bytes(&close(1000, "bye")).await;
    let frames = until(client, "close").await;
    assert_eq!(frames.last(), Some(&Frame::Close(Some((1000, "bye".to_owned())))));
}

async fn session_is_the_same_byte_for_byte(kind: Kind, test: &str) {
    let server = server(Duration::from_secs(30)).await;
    let Some(proxy) = Proxy::start(kind, server.addr, 75, test).await else { return };
    let start = start(&json!({"timestamps": "word"}));
    let expected = undisturbed(server.addr, &start).await;
    assert!(expected.1.len() > 200_000, "{}", expected.1.len());
    for secure in [false, true] {
        let (mut client, _) = shake_hands(&proxy, secure).await;
        for _ in 0..2 {
            assert!(stream(&mut client, &start).await == expected, "secure: {secure}");
        }
        // A message of the maximum length, and one over it.
        let long = |length: usize| format!(r#"{{"type":"{}"}}"#, "x".repeat(length - 11));
        client.say(&long(64 * 1024)).await;
        assert_eq!(next(&mut client).await.kind(), "error", "secure: {secure}");
        client.send_bytes(&frame(0x89, b"are you there?")).await;
        assert_eq!(next(&mut client).await, Frame::Pong(b"are you there?".to_vec()));
        close_normally(&mut client).await;

        let (mut client, _) = shake_hands(&proxy, secure).await;
        client.say(&long(64 * 1024 + 1)).await;
        let Frame::Close(Some((code, _))) = next(&mut client).await else { panic!("no close code") };
        assert_eq!(code, 1009);
    }
    server.is_quiet().await;
}

/// The client sends its first message without waiting for the 101.
async fn frames_right_after_the_handshake_are_kept(kind: Kind, test: &str) {
    let server = server(Duration::from_secs(30)).await;
    let Some(proxy) = Proxy::start(kind, server.addr, 75, test).await else { return };
    let start = start(&json!({}));
    let expected = undisturbed(server.addr, &start).await;
    for secure in [false, true] {
        let mut client = proxy.connect(secure).await;
        let handshake = opening_with(proxy.addr(secure), &path(), V1);
        client.send_bytes(&[handshake, text(&start)].concat()).await;
        assert_eq!(client.read_head().await.status, 101);
        let frames = until(&mut client, "session_end").await;
        assert_eq!(audio(&frames).len(), expected.1.len(), "secure: {secure}");
        assert!(audio(&frames) == expected.1, "secure: {secure}");
        close_normally(&mut client).await;
    }
}

/// Paced audio with a pause in the middle that exceeds the idle timeout of the proxy.
async fn heartbeat_keeps_a_long_pause_open(kind: Kind, test: &str) {
    let server = server(HEARTBEAT).await;
    let Some(proxy) = Proxy::start(kind, server.addr, IDLE_SECS, test).await else { return };
    let (_, expected) = undisturbed(server.addr, &start(&json!({}))).await;
    let ahead = Duration::from_millis(500);
    let paced = start(&json!({"delivery": {"mode": "paced", "aheadMs": 500}}));
    let (mut client, _) = shake_hands(&proxy, true).await;
    client.say(&paced).await;
    let began = Instant::now();
    let mut frames = until(&mut client, "sentence_end").await;

    client.say(r#"{"type":"pause"}"#).await;
    frames.extend(until(&mut client, "paused").await);
    let paused = Instant::now();
    while paused.elapsed() < IDLE * 5 / 2 {
        let Frame::Ping(payload) = client.read_frame().await else { panic!("only Pings while paused") };
        client.send_bytes(&frame(0x8a, &payload)).await;
    }
    let pause = paused.elapsed();
    client.say(r#"{"type":"resume"}"#).await;

    frames.extend(until(&mut client, "session_end").await);
    assert!(audio(&frames) == expected, "{} of {} bytes", audio(&frames).len(), expected.len());
    let played = Duration::from_secs_f64(expected.len() as f64 / 2.0 / 16_000.0);
    assert!(played > Duration::from_secs(6), "{played:?}");
    let frame_ms = Duration::from_millis(40);
    assert!(began.elapsed() + ahead + frame_ms >= played + pause, "{:?} of {played:?}", began.elapsed());
    for message in messages(&frames).iter().filter(|message| message["type"] == "sentence_end") {
        let end = usize::try_from(message["offset"].as_u64().unwrap()).unwrap();
        let begin = end - usize::try_from(message["bytes"].as_u64().unwrap()).unwrap();
        assert_eq!(message["crc32"], format!("{:08x}", crc32(&expected[begin..end])));
    }
    close_normally(&mut client).await;
}

/// Without the heartbeat the proxy ends the same pause.
async fn silence_without_a_heartbeat_ends_the_tunnel(kind: Kind, test: &str) {
    let server = server(Duration::from_secs(30)).await;
    let Some(proxy) = Proxy::start(kind, server.addr, IDLE_SECS, test).await else { return };
    let (mut client, _) = shake_hands(&proxy, false).await;
    let began = Instant::now();
    // With an end or with a reset: the proxy decides.
    assert_eq!(client.try_frame().await, None);
    assert!(began.elapsed() + Duration::from_millis(200) > IDLE, "{:?}", began.elapsed());
    server.is_quiet().await;
}

/// A server on a fixed address, stopped when dropped.
struct Backend {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Backend {
    async fn start(addr: SocketAddr) -> Backend {
        let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
        let server = Server::bind(&addr.to_string().parse().unwrap(), service).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            // The sender is dropped, either way.
            let _ = stopped.await;
        }));
        Backend { stop: Some(stop), task }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        within(&mut self.task).await.unwrap();
    }
}

async fn restart_of_the_server_is_reported_and_recovered(kind: Kind, test: &str) {
    let addr = free_address();
    let Some(proxy) = Proxy::start(kind, addr, 75, test).await else { return };
    for _ in 0..2 {
        for secure in [false, true] {
            let mut client = proxy.connect(secure).await;
            client.send_bytes(&opening_with(proxy.addr(secure), &path(), V1)).await;
            let status = client.read_head().await.status;
            assert!([502, 503].contains(&status), "secure: {secure}: {status}");
        }
        let backend = Backend::start(addr).await;
        let mut clients = Vec::new();
        for secure in [false, true] {
            let (mut client, _) = shake_hands(&proxy, secure).await;
            client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
            assert_eq!(until(&mut client, "session_end").await.len(), 7, "secure: {secure}");
            clients.push(client);
        }
        // The proxy forwards the Close of the server too.
        let stopping = tokio::spawn(backend.stop());
        for mut client in clients {
            let frames = until(&mut client, "close").await;
            let Some(Frame::Close(Some((code, _)))) = frames.last() else { panic!("no close code") };
            client.send_bytes(&close(*code, "")).await;
            assert_eq!(*code, 1001);
        }
        within(stopping).await.unwrap();
    }
}

/// The session continues on the same connection or on the next one.
async fn reload_loses_no_byte(kind: Kind, test: &str) {
    let server = server(HEARTBEAT).await;
    let Some(mut proxy) = Proxy::start(kind, server.addr, IDLE_SECS, test).await else { return };
    let (_, expected) = undisturbed(server.addr, &start(&json!({}))).await;
    let options = json!({"delivery": {"mode": "paced", "aheadMs": 200}, "resumable": true});
    let (mut client, greeting) = shake_hands(&proxy, true).await;
    client.say(&start(&options)).await;
    let mut heard = audio(&until(&mut client, "sentence_end").await);
    proxy.reload().await;
    // New clients get the new configuration.
    let (mut other, _) = shake_hands(&proxy, true).await;
    let mut came_back = false;
    loop {
        match client.try_frame().await {
            Some(Frame::Binary(audio)) => heard.extend(audio),
            Some(Frame::Ping(payload)) => client.send_bytes(&frame(0x8a, &payload)).await,
            Some(Frame::Text(message)) if message["type"] == "session_end" => break,
            Some(Frame::Text(_)) => {}
            Some(Frame::Close(Some((1001, _)))) | None => {
                assert!(!came_back, "reconnected a second time");
                came_back = true;
                (client, _) = shake_hands(&proxy, true).await;
                let (id, token) = (&greeting["sessionId"], &greeting["token"]);
                let recover =
                    json!({"type": "recover", "sessionId": id, "token": token, "offset": heard.len()});
                client.say(&recover.to_string()).await;
                let Frame::Text(recovered) = next(&mut client).await else { panic!("no answer") };
                assert_eq!(recovered["recovered"], true, "{recovered}");
            }
            Some(frame) => panic!("{frame:?}"),
        }
    }
    assert!(heard == expected, "{} of {} bytes", heard.len(), expected.len());
    assert_eq!(came_back, kind == Kind::Caddy, "as the guide says");
    other.say(&start(&json!({}))).await;
    assert!(audio(&until(&mut other, "session_end").await) == expected);
}

/// The server trusts the headers of the proxy, and a client cannot override them.
async fn forwarded_headers_cannot_be_forged(kind: Kind, test: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let Some(proxy) = Proxy::start(kind, listener.local_addr().unwrap(), 75, test).await else { return };
    for secure in [false, true] {
        let mut client = proxy.connect(secure).await;
        let more = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.8, 203.0.113.9\r\n\
             X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.example\r\n\
             Forwarded: for=203.0.113.7;host=evil.example\r\nFORWARDED: for=\"_hidden\", for=203.0.113.8\r\n\
             Origin: https://a.example.com\r\n";
        let target = format!("{}?voice=kal16&x=%2F", path());
        client.send_bytes(&opening_with(proxy.addr(secure), &target, more)).await;
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let mut asked = Raw::over(&mut stream, support::PATIENCE);
        let (line, head) = asked.read_request().await;
        assert_eq!(line, format!("GET {PATH}?voice=kal16&x=%2F HTTP/1.1"), "secure: {secure}");
        let header = |name: &str| head.header(name).unwrap_or_default();
        assert_eq!(header("host"), proxy.addr(secure).to_string(), "secure: {secure}");
        assert_eq!(header("x-forwarded-for"), "127.0.0.1", "secure: {secure}");
        assert_eq!(head.header("forwarded"), None, "secure: {secure}");
        assert_eq!(header("x-forwarded-host"), proxy.addr(secure).to_string(), "secure: {secure}");
        assert!(
            !format!("{head:?}").contains("203.0.113") && !format!("{head:?}").contains("evil"),
            "{head:?}"
        );
        assert_eq!(header("origin"), "https://a.example.com", "secure: {secure}");
        if secure {
            assert_eq!(header("x-forwarded-proto"), "https");
        }
        // Ends the session, so that the proxy does not wait.
        let _ = stream.shutdown().await;
    }
}

/// A client that names other addresses gets no second quota, and pages of other hosts stay outside.
async fn forged_headers_have_no_effect(kind: Kind, test: &str) {
    let config = Config::default().with(|c| {
        c.admission.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        c.admission.max_client_connections = Some(1);
    });
    let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await;
    let Some(proxy) = Proxy::start(kind, server.addr, 75, test).await else { return };
    let ask = async |more: &str| {
        let mut client = proxy.connect(false).await;
        client.send_bytes(&opening_with(proxy.plain, &path(), more)).await;
        let status = client.read_head().await.status;
        (client, status)
    };
    // Its client takes the one place of this address.
    let (_open, status) = ask("").await;
    assert_eq!(status, 101);
    for forged in [
        "",
        "Forwarded: for=203.0.113.7\r\n",
        "Forwarded: for=\"_hidden\"\r\nForwarded: for=\"\r\n",
        "X-Forwarded-For: 203.0.113.7\r\n",
        "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n",
        "X-Forwarded-For: x\r\nForwarded: for=x, for=203.0.113.7\r\n",
    ] {
        assert_eq!(ask(forged).await.1, 429, "{forged}");
    }
    let page = "Origin: https://evil.example\r\n";
    for forged in ["", "X-Forwarded-Host: evil.example\r\n", "Forwarded: host=evil.example\r\n"] {
        assert_eq!(ask(&format!("{page}{forged}")).await.1, 403, "{forged}");
    }
}

/// The proxy passes the public host on, and the server answers for the one that it was given. Not with Caddy,
/// which answers only for the hosts of its configuration: here the names of this machine.
async fn public_host_has_to_be_listed(kind: Kind, test: &str) {
    let listed =
        Config::default().with(|c| c.admission.hosts = vec!["speech.localhost.example".parse().unwrap()]);
    for (config, expected) in [(Config::default(), 421), (listed, 101)] {
        let server = start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await;
        let Some(proxy) = Proxy::start(kind, server.addr, 75, test).await else { return };
        let mut client = proxy.connect(false).await;
        let head = String::from_utf8(opening_with(proxy.plain, &path(), "")).unwrap();
        let host = "Host: speech.localhost.example";
        client.send_bytes(head.replace(&format!("Host: {}", proxy.plain), host).as_bytes()).await;
        assert_eq!(client.read_head().await.status, expected);
    }
}

/// Checks that this HAProxy really uses HTTP/2 to the server.
#[cfg(feature = "http2")]
async fn http_2_reaches_the_server(kind: Kind, test: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let Some(proxy) = Proxy::start(kind, listener.local_addr().unwrap(), 75, test).await else { return };
    let mut client = proxy.connect(false).await;
    client.send_bytes(&opening_with(proxy.plain, &path(), V1)).await;
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut asked = Raw::over(stream, support::PATIENCE);
    assert_eq!(asked.read_exact(24).await, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

/// Independent clients connect with TLS.
async fn wss_serves_independent_clients(kind: Kind, test: &str) {
    let long = Arc::new(Tone::new(FORMAT, 30.0)) as Arc<dyn Synthesizer>;
    let server = start_with(Config::default(), long).await;
    let Some(proxy) = Proxy::start(kind, server.addr, 75, test).await else { return };
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
    for (variable, program, script) in
        [("ALOUD_TEST_PYTHON", None, "session.py"), ("ALOUD_TEST_NODE_PATH", Some("node"), "session.mjs")]
    {
        let Some(value) = std::env::var_os(variable) else {
            support::skip(&format!("{test} with {script}"), variable);
            continue;
        };
        let mut client = tokio::process::Command::new(program.map_or(value.clone(), Into::into));
        client.arg(format!("{clients}/{script}")).arg(proxy.url()).kill_on_drop(true);
        client.env("SSL_CERT_FILE", proxy.certificate()).env("NODE_EXTRA_CA_CERTS", proxy.certificate());
        let output = client.stdin(Stdio::null()).output();
        let output = tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(figures["sentences"], 3, "{script}: {figures}");
    }
    server.is_quiet().await;
}

macro_rules! through {
    ($proxy:ident, $kind:expr, $($test:ident),*) => {
        mod $proxy {
            use super::*;

            $(#[tokio::test]
            async fn $test() {
                super::$test($kind, concat!(stringify!($proxy), "::", stringify!($test))).await;
            })*
        }
    };
}

macro_rules! all_through {
    ($proxy:ident, $kind:expr $(, $more:ident)*) => {
        through!(
            $proxy,
            $kind,
            session_is_the_same_byte_for_byte,
            heartbeat_keeps_a_long_pause_open,
            restart_of_the_server_is_reported_and_recovered,
            reload_loses_no_byte,
            forwarded_headers_cannot_be_forged,
            forged_headers_have_no_effect,
            wss_serves_independent_clients
            $(, $more)*
        );
    };
}

all_through!(
    nginx,
    Kind::Nginx,
    public_host_has_to_be_listed,
    silence_without_a_heartbeat_ends_the_tunnel,
    frames_right_after_the_handshake_are_kept
);
all_through!(
    haproxy,
    Kind::Haproxy,
    public_host_has_to_be_listed,
    silence_without_a_heartbeat_ends_the_tunnel,
    frames_right_after_the_handshake_are_kept
);
all_through!(
    apache,
    Kind::Apache,
    public_host_has_to_be_listed,
    silence_without_a_heartbeat_ends_the_tunnel,
    frames_right_after_the_handshake_are_kept
);
#[cfg(feature = "http2")]
through!(
    haproxy_by_http2,
    Kind::HaproxyH2,
    session_is_the_same_byte_for_byte,
    heartbeat_keeps_a_long_pause_open,
    restart_of_the_server_is_reported_and_recovered,
    reload_loses_no_byte,
    wss_serves_independent_clients,
    silence_without_a_heartbeat_ends_the_tunnel,
    frames_right_after_the_handshake_are_kept,
    http_2_reaches_the_server
);
// Caddy has no idle timeout. It drops bytes that a client sends before the 101, which a client must not
// do (RFC 6455 §4.1).
all_through!(caddy, Kind::Caddy);
