//! Services over HTTP that misbehave, and what becomes of it.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

mod support;

use aloud::upstream::{
    Attempt, Call, Credentials, Deadlines, Failure, FailureKind, Reply, Retries, Secret, Settings, Upstream,
};
use serde_json::json;
use std::time::{Duration, Instant};
use support::http::{Exchange, Upstreamed, upstreamed};
use support::within;
use tokio::net::TcpListener;

/// What must never be seen by anybody but the service.
const KEY: &str = "sk-never-to-be-seen-0123456789";

/// How soon a request must be gone that nobody waits for.
const AT_ONCE: Duration = Duration::from_millis(100);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn settings(url: impl Into<String>) -> Settings {
    Settings {
        credentials: Credentials::Bearer(Secret::new(KEY).unwrap()),
        retries: Retries { backoff: ms(1), ..Retries::default() },
        ..Settings::new("test service", url)
    }
}

/// A call to this service, not made yet.
fn call(settings: Settings) -> Call {
    Upstream::new(settings).unwrap().post("/v1/thing", &json!({"input": "tea"}), "audio/*").unwrap()
}

/// Makes a call to its end: what was retried, and what came of it.
async fn finish(mut call: Call) -> (Vec<Failure>, Result<Reply, Failure>) {
    let mut retried = Vec::new();
    loop {
        match within(call.attempt()).await {
            Ok(Attempt::Reply(reply)) => return (retried, Ok(reply)),
            Ok(Attempt::Retry(failure)) => retried.push(failure),
            Err(failure) => return (retried, Err(failure)),
        }
    }
}

/// The rest of a body, and the failure that it ended with.
async fn rest(reply: &mut Reply) -> (Vec<u8>, Option<Failure>) {
    let mut bytes = Vec::new();
    loop {
        match within(reply.next_chunk()).await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, None),
            Err(failure) => return (bytes, Some(failure)),
        }
    }
}

/// A service that was asked, and the call that waits for it.
async fn asked(settings: Settings, service: &mut Upstreamed) -> (Exchange, tokio::task::JoinHandle<Made>) {
    let made = tokio::spawn(finish(call(settings)));
    (service.asked().await, made)
}
type Made = (Vec<Failure>, Result<Reply, Failure>);

#[tokio::test]
async fn a_request_says_who_asks_and_for_what() {
    let mut service = upstreamed().await;
    // However the base URL is written, the path is the same.
    for base in ["", "/", "/v1", "/v1/"] {
        let url = format!("{}{base}", service.url());
        let (mut exchange, made) = asked(settings(url), &mut service).await;
        assert_eq!(exchange.target(), "POST /v1/thing", "{base}");
        assert_eq!(exchange.json, json!({"input": "tea"}));
        let headers = [
            ("user-agent", concat!("aloud/", env!("CARGO_PKG_VERSION"))),
            ("content-type", "application/json"),
            ("accept", "audio/*"),
            ("accept-encoding", "identity"),
            ("authorization", "Bearer sk-never-to-be-seen-0123456789"),
            ("host", &service.addr.to_string()),
        ];
        for (name, value) in headers {
            assert_eq!(exchange.header(name), Some(value), "{name}");
        }
        exchange.answer("200 OK", "Content-Type: audio/wav\r\n", b"sound").await;
        let mut reply = within(made).await.unwrap().1.unwrap();
        assert_eq!(reply.content_type(), "audio/wav");
        assert_eq!(rest(&mut reply).await, (b"sound".to_vec(), None));
        assert!(matches!(within(reply.next_chunk()).await, Ok(None)), "the end stays the end");
    }
    let key = Credentials::Header("xi-api-key", Secret::new(KEY).unwrap());
    let prefixed = Settings { credentials: key, ..settings(format!("{}/voices/v1/", service.url())) };
    let (exchange, _made) = asked(prefixed, &mut service).await;
    assert_eq!(exchange.target(), "POST /voices/v1/thing");
    assert_eq!((exchange.header("xi-api-key"), exchange.header("authorization")), (Some(KEY), None));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let mut service = upstreamed().await;
    let upstream = Upstream::new(settings(service.url())).unwrap();
    let ask = || upstream.post("/v1/thing", &json!({}), "*/*").unwrap();
    let made = tokio::spawn(finish(ask()));
    let mut exchange = service.asked().await;
    exchange.answer("200 OK", "", b"one").await;
    let mut reply = within(made).await.unwrap().1.unwrap();
    assert_eq!(rest(&mut reply).await, (b"one".to_vec(), None));
    let made = tokio::spawn(finish(ask()));
    let mut exchange = exchange.next().await.expect("the same connection");
    exchange.answer("200 OK", "", b"two").await;
    let mut reply = within(made).await.unwrap().1.unwrap();
    assert_eq!(rest(&mut reply).await, (b"two".to_vec(), None));
    assert!(!service.is_asked());
}

#[tokio::test]
async fn what_is_dropped_is_aborted_at_once() {
    let mut service = upstreamed().await;
    for begun in [0, 1, 2] {
        let (mut exchange, made) = asked(settings(service.url()), &mut service).await;
        if begun == 0 {
            made.abort();
        } else {
            exchange.begin("audio/wav").await;
            let mut reply = within(made).await.unwrap().1.unwrap();
            if begun == 2 {
                exchange.chunk(b"sound").await;
                assert_eq!(within(reply.next_chunk()).await.unwrap().unwrap(), "sound");
            }
            drop(reply);
        }
        let since = Instant::now();
        exchange.gone().await;
        assert!(since.elapsed() < AT_ONCE, "{begun}: {:?}", since.elapsed());
    }
    assert_eq!(service.open.count(), 0);
}

#[tokio::test]
async fn what_was_not_taken_is_asked_again_within_bounds() {
    let mut service = upstreamed().await;
    // Three attempts, then it is over.
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let (mut first, made) = asked(settings(service.url()), &mut service).await;
        first.answer(status, "Connection: close\r\nRetry-After: 0\r\n", b"").await;
        for _ in 0..2 {
            service.asked().await.answer(status, "Connection: close\r\n", b"").await;
        }
        let (retried, made) = within(made).await.unwrap();
        let code = status[..3].parse().unwrap();
        assert_eq!(made.unwrap_err().kind, FailureKind::Status(code));
        assert_eq!(retried.iter().map(|f| f.kind).collect::<Vec<_>>(), [FailureKind::Status(code); 2]);
    }
    // A connection that broke without an answer; then it works.
    let (first, made) = asked(settings(service.url()), &mut service).await;
    drop(first);
    service.asked().await.reset();
    service.asked().await.answer("200 OK", "", b"at last").await;
    let (retried, made) = within(made).await.unwrap();
    assert_eq!(retried.iter().map(|f| f.kind).collect::<Vec<_>>(), [FailureKind::Closed; 2]);
    assert_eq!(rest(&mut made.unwrap()).await.0, b"at last");
    // Whoever asks for more time than there is is not asked too early.
    let (mut first, made) = asked(settings(service.url()), &mut service).await;
    first.answer("429 Too Many Requests", "Retry-After: 6\r\n", b"").await;
    let (retried, made) = within(made).await.unwrap();
    assert_eq!((retried, made.unwrap_err().kind), (vec![], FailureKind::Status(429)));
    drop(first);
    // Nor is anybody who answered in another way, or had begun to.
    for (status, body) in [("500 Oh", "2\r\nno\r\n0\r\n\r\n"), ("200 OK", "5\r\nsou")] {
        let (mut first, made) = asked(settings(service.url()), &mut service).await;
        first.head(status, "Transfer-Encoding: chunked\r\n").await;
        first.write(body.as_bytes()).await;
        drop(first);
        let (retried, made) = within(made).await.unwrap();
        assert_eq!(retried, []);
        if let Ok(mut reply) = made {
            let (bytes, failure) = rest(&mut reply).await;
            assert_eq!((bytes, failure.unwrap().kind), (b"sou".to_vec(), FailureKind::Broken));
        }
    }
    assert!(!service.is_asked());
    assert_eq!(service.open.count(), 0);
}

#[tokio::test]
async fn a_retry_waits_for_as_long_as_it_is_told() {
    let mut service = upstreamed().await;
    let (mut first, made) = asked(settings(service.url()), &mut service).await;
    first.answer("503 Busy", "Connection: close\r\nRetry-After: 1\r\n", b"").await;
    let since = Instant::now();
    service.asked().await.answer("200 OK", "", b"now").await;
    assert!(since.elapsed() >= ms(990), "{:?}", since.elapsed());
    assert!(within(made).await.unwrap().1.is_ok());
}

#[tokio::test]
async fn each_deadline_ends_its_own_wait() {
    let mut service = upstreamed().await;
    let long = Duration::from_secs(60);
    let all = Deadlines { connect: long, first_byte: long, idle: long, total: long };
    let short = ms(50);
    let table = [
        (Deadlines { first_byte: short, ..all }, 0, FailureKind::FirstByteTimeout),
        (Deadlines { first_byte: short, ..all }, 1, FailureKind::FirstByteTimeout),
        (Deadlines { idle: short, ..all }, 2, FailureKind::IdleTimeout),
        (Deadlines { total: short, ..all }, 0, FailureKind::TotalTimeout),
        (Deadlines { total: short, ..all }, 2, FailureKind::TotalTimeout),
    ];
    for (deadlines, begun, kind) in table {
        let (mut exchange, made) =
            asked(Settings { deadlines, ..settings(service.url()) }, &mut service).await;
        if begun > 0 {
            exchange.begin("audio/wav").await;
        }
        if begun > 1 {
            exchange.chunk(b"sound").await;
        }
        let failure = match within(made).await.unwrap() {
            (_, Err(failure)) => failure,
            (_, Ok(mut reply)) => rest(&mut reply).await.1.unwrap(),
        };
        assert_eq!(failure.kind, kind, "{deadlines:?} {begun}");
        assert!(kind.is_timeout());
        exchange.gone().await;
    }
    // One that trickles is never idle for long, and ends all the same.
    let deadlines = Deadlines { idle: ms(500), total: ms(600), ..all };
    let (mut exchange, made) = asked(Settings { deadlines, ..settings(service.url()) }, &mut service).await;
    exchange.begin("audio/wav").await;
    let mut reply = within(made).await.unwrap().1.unwrap();
    let trickle = tokio::spawn(async move {
        let mut every = tokio::time::interval(ms(20));
        for _ in 0..10_000 {
            every.tick().await;
            exchange.chunk(b"s").await;
        }
    });
    let (bytes, failure) = rest(&mut reply).await;
    trickle.abort();
    assert_eq!(failure.unwrap().kind, FailureKind::TotalTimeout);
    assert!(bytes.len() > 3, "{}", bytes.len());
}

#[tokio::test]
async fn a_slow_reader_costs_the_service_no_time() {
    let mut service = upstreamed().await;
    let deadlines = Deadlines { idle: ms(200), total: ms(400), ..Deadlines::default() };
    let (mut exchange, made) = asked(Settings { deadlines, ..settings(service.url()) }, &mut service).await;
    exchange.begin("audio/wav").await;
    exchange.chunk(b"one").await;
    let mut reply = within(made).await.unwrap().1.unwrap();
    assert_eq!(within(reply.next_chunk()).await.unwrap().unwrap(), "one");
    exchange.chunk(b"two").await;
    // Not to wait for anything, but to be the one who is slow.
    tokio::time::sleep(ms(600)).await;
    assert_eq!(within(reply.next_chunk()).await.unwrap().unwrap(), "two");
    // Waits that are broken off count, each for its part.
    for _ in 0..5 {
        if let Ok(Err(failure)) = tokio::time::timeout(ms(60), reply.next_chunk()).await {
            assert_eq!(failure.kind, FailureKind::IdleTimeout);
            return;
        }
    }
    panic!("five waits of 60 ms are longer than one of 200");
}

#[tokio::test]
async fn a_service_that_cannot_be_reached() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let retries = Retries { attempts: 1, ..Retries::default() };
    let refused = Settings { retries, ..settings(format!("http://127.0.0.1:{port}")) };
    let unknown = Settings { retries, ..settings("http://no-such-host.invalid/v1") };
    for settings in [refused, unknown] {
        let failure = finish(call(settings)).await.1.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{failure:?}");
        assert_eq!(failure.to_string(), "The test service could not be reached.");
        assert!(failure.detail().contains("http://"), "{failure:?}");
    }
    // With attempts left, it is asked again: somebody may be restarting it.
    let again = settings(format!("http://127.0.0.1:{port}"));
    let (retried, made) = finish(call(again)).await;
    assert_eq!(retried.len(), 2);
    assert_eq!(made.unwrap_err().kind, FailureKind::Unreachable);
    // The backlog is full, and the kernel drops what comes on top.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let addr = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(ms(300), tokio::net::TcpStream::connect(addr)).await {
        waiting.push(connected.unwrap());
    }
    let deadlines = Deadlines { connect: ms(100), ..Deadlines::default() };
    let settings = Settings { deadlines, retries, ..settings(format!("http://{addr}")) };
    let failure = finish(call(settings)).await.1.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ConnectTimeout);
    assert_eq!(failure.to_string(), "The test service could not be reached within 100ms.");
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_in_words_without_the_key() {
    let mut service = upstreamed().await;
    let long = "no ".repeat(500);
    let table = [
        (
            "401 Unauthorized",
            format!(r#"{{"error":{{"message":"Key {KEY} is\nwrong."}}}}"#),
            "The test service does not accept our credentials: Key (key) is wrong.",
        ),
        (
            "403 Forbidden",
            format!("\x1b[31mno\x07 {KEY}\u{202e}"),
            "The test service does not accept our credentials: [31mno (key).",
        ),
        (
            "404 Not Found",
            "<html><body>nginx".to_owned(),
            "The test service does not know what it was asked for.",
        ),
        (
            "422 Unprocessable",
            r#"{"detail":[{"loc":"body"}]}"#.to_owned(),
            "The test service answered with the status 422.",
        ),
        (
            "400 Bad",
            r#"{"detail":{"message":"No such voice"}}"#.to_owned(),
            "The test service answered with the status 400: No such voice.",
        ),
        (
            "500 Oh",
            format!("{}\u{200b}{}", &KEY[..9], &KEY[9..]),
            "The test service answered with the status 500: (key).",
        ),
        ("500 Oh", format!("{}{KEY}", " ".repeat(4_080)), "The test service answered with the status 500."),
        ("302 Found", String::new(), "The test service answered with a redirect, which is not followed."),
        ("418 Teapot", long, "The test service answered with the status 418: no no "),
    ];
    for (status, body, sentence) in table {
        let (mut exchange, made) = asked(settings(service.url()), &mut service).await;
        let headers = format!("Connection: close\r\nLocation: http://elsewhere/{KEY}\r\n");
        exchange.answer(status, &headers, body.as_bytes()).await;
        let failure = within(made).await.unwrap().1.unwrap_err();
        let shown = failure.to_string();
        assert!(shown.starts_with(sentence), "{shown}");
        assert!(shown.chars().count() < 300 && shown.ends_with('.'), "{shown}");
        let everything = format!("{failure:?} {failure} {}", failure.detail());
        assert!(!everything.contains("never-to-be-seen"), "{everything}");
        assert!(everything.contains(&status[..3]), "{everything}");
    }
    assert!(!service.is_asked(), "no redirect is followed");
}

#[tokio::test]
async fn more_than_is_wanted_is_not_taken() {
    let mut service = upstreamed().await;
    let bounded = Settings { max_body_bytes: 1_000, ..settings(service.url()) };
    let (mut exchange, made) = asked(bounded, &mut service).await;
    exchange.begin("audio/wav").await;
    exchange.chunk(&[7; 1_001]).await;
    let failure = rest(&mut within(made).await.unwrap().1.unwrap()).await.1.unwrap();
    assert_eq!(failure.kind, FailureKind::Unusable);
    exchange.gone().await;

    let (mut exchange, made) = asked(settings(service.url()), &mut service).await;
    exchange.answer("200 OK", "Content-Encoding: gzip\r\n", b"\x1f\x8b").await;
    assert_eq!(within(made).await.unwrap().1.unwrap_err().kind, FailureKind::Unusable);
}

#[tokio::test]
async fn a_body_that_is_not_read_is_not_sent() {
    let mut service = upstreamed().await;
    let (mut exchange, made) = asked(settings(service.url()), &mut service).await;
    exchange.head("200 OK", "Connection: close\r\n").await;
    let reply = within(made).await.unwrap().1.unwrap();
    // As much as the kernel and one connection hold, far from all there is.
    let mut sent = 0;
    for _ in 0..100 {
        sent += exchange.fill(&[7; 64 * 1024]);
        tokio::time::sleep(ms(2)).await;
    }
    assert!(sent < 32 << 20, "{sent}");
    drop(reply);
    let since = Instant::now();
    exchange.gone().await;
    assert!(since.elapsed() < AT_ONCE);
}

#[test]
fn a_base_url_that_is_none_is_refused_with_a_sentence() {
    let table = [
        ("127.0.0.1:80", "has no scheme; write http://HOST:PORT"),
        ("ftp://host", "has a scheme that is neither http nor https; write http://HOST:PORT"),
        ("http://", "names no host; write http://HOST:PORT"),
        ("http://:80", "names no host; write http://HOST:PORT"),
        ("http:///v1", "names no host; write http://HOST:PORT"),
        ("http://host:0", "has a port that is no number from 1 to 65535"),
        ("http://host:65536", "has a port that is no number from 1 to 65535"),
        (
            "http://me:sk-never-to-be-seen@host",
            "names a user or a password; leave that out, and give a key by itself",
        ),
        ("http://host/?key=sk-never-to-be-seen", "has a query; leave out what begins with ?"),
        ("http://host/#top", "has a fragment; leave out what begins with #"),
        ("http://ho st", "holds white space; write http://HOST:PORT"),
        #[cfg(not(feature = "tls"))]
        (
            "https://host",
            "is https, and this program was built without TLS; build it with `cargo build --release --features tls`, or give an http URL",
        ),
    ];
    for (url, why) in table {
        let error = Upstream::new(settings(url)).unwrap_err().to_string();
        assert_eq!(error, format!("the URL of the test service {why}"), "{url}");
    }
    for url in ["http://host", "HTTP://Host:1/", "http://[::1]:8080/v1", "http://[::1]", "http://a.b/c/d/"] {
        assert!(Upstream::new(settings(url)).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn an_ipv6_host_is_asked() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped: there is no IPv6 here");
        return;
    };
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let retries = Retries { attempts: 1, ..Retries::default() };
    let made = tokio::spawn(finish(call(Settings { retries, ..settings(url) })));
    drop(within(listener.accept()).await.unwrap());
    assert_eq!(within(made).await.unwrap().1.unwrap_err().kind, FailureKind::Closed);
}

#[test]
fn a_key_is_taken_whole_and_never_shown() {
    for key in ["", " \n", "two words", "schlüssel", &"k".repeat(5_000)] {
        let why = Secret::new(key).unwrap_err();
        assert!(!why.contains("schl") && !why.contains("words"), "{why}");
    }
    let key = Secret::new(&format!(" {KEY}\r\n")).unwrap();
    assert_eq!(key, Secret::new(KEY).unwrap());
    let settings = Settings { credentials: Credentials::Bearer(key.clone()), ..settings("http://host") };
    let shown = format!("{key} {key:?} {settings:?} {:?}", Upstream::new(settings.clone()).unwrap());
    assert!(!shown.contains("never"), "{shown}");
    let missing = Secret::from_file("/nowhere/key".as_ref()).unwrap_err();
    assert!(missing.starts_with("the key cannot be read from /nowhere/key: "), "{missing}");
}
