//! Services over HTTP that misbehave, and the effect on the session.

use crate::support::http::{Exchange, Upstreamed, upstreamed};
use crate::support::{self, Frame, Raw, Running, audio, log, messages, spoken, start_with, v1, within};
use aloud::Config;
use aloud::audio::{Encoding, Format};
use aloud::tts::upstream::ResponseFormat;
use aloud::tts::{ElevenLabs, SpeechApi, Synthesizer, Utterance};
use aloud::unstable::{Attempt, Call, Failure, FailureKind, Reply, Upstream};
use aloud::upstream::{Credentials, Deadlines, Retries, Secret, UpstreamSettings};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// The key, which only the service may see.
const KEY: &str = "sk-never-to-be-seen-0123456789";

/// Time within which an abandoned request must be gone.
const AT_ONCE: Duration = Duration::from_millis(100);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn settings(url: impl Into<String>) -> UpstreamSettings {
    UpstreamSettings {
        credentials: Credentials::Bearer(Secret::new(KEY).unwrap()),
        retries: Retries { backoff: ms(1), ..Retries::default() },
        ..UpstreamSettings::new("test service", url)
    }
}

/// A call to this service, not made yet.
fn call(settings: UpstreamSettings) -> Call {
    Upstream::new(settings).unwrap().post("/v1/thing", &json!({"input": "tea"}), "audio/*").unwrap()
}

/// Makes a call to its end. Returns the failures that were retried, and the result.
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

/// Makes a call. Returns the request at the service, and the task that waits for the answer.
async fn asked(
    settings: UpstreamSettings,
    service: &mut Upstreamed,
) -> (Exchange, tokio::task::JoinHandle<Made>) {
    let made = tokio::spawn(finish(call(settings)));
    (service.asked().await, made)
}
type Made = (Vec<Failure>, Result<Reply, Failure>);

#[tokio::test]
async fn request_has_its_path_headers_and_body() {
    let mut service = upstreamed().await;
    // Each spelling of the base URL gives the same path.
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
        assert!(matches!(within(reply.next_chunk()).await, Ok(None)), "no chunk follows the end");
    }
    let key = Credentials::Header("xi-api-key", Secret::new(KEY).unwrap());
    let prefixed = UpstreamSettings { credentials: key, ..settings(format!("{}/voices/v1/", service.url())) };
    let (exchange, _made) = asked(prefixed, &mut service).await;
    assert_eq!(exchange.target(), "POST /voices/v1/thing");
    assert_eq!((exchange.header("xi-api-key"), exchange.header("authorization")), (Some(KEY), None));
}

#[tokio::test]
async fn connection_is_reused() {
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
async fn request_that_is_dropped_is_aborted_at_once() {
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
async fn request_that_was_not_accepted_is_retried_within_limits() {
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
    // The connection breaks without an answer; then the service works.
    let (first, made) = asked(settings(service.url()), &mut service).await;
    drop(first);
    service.asked().await.reset();
    service.asked().await.answer("200 OK", "", b"at last").await;
    let (retried, made) = within(made).await.unwrap();
    assert_eq!(retried.iter().map(|f| f.kind).collect::<Vec<_>>(), [FailureKind::Closed; 2]);
    assert_eq!(rest(&mut made.unwrap()).await.0, b"at last");
    // A service that asks for more time than the deadline allows gets no early retry.
    let (mut first, made) = asked(settings(service.url()), &mut service).await;
    first.answer("429 Too Many Requests", "Retry-After: 6\r\n", b"").await;
    let (retried, made) = within(made).await.unwrap();
    assert_eq!((retried, made.unwrap_err().kind), (vec![], FailureKind::Status(429)));
    drop(first);
    // Another answer, or the beginning of one, gets no retry either.
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
async fn retry_after_delays_the_retry() {
    let mut service = upstreamed().await;
    let (mut first, made) = asked(settings(service.url()), &mut service).await;
    first.answer("503 Busy", "Connection: close\r\nRetry-After: 1\r\n", b"").await;
    let since = Instant::now();
    service.asked().await.answer("200 OK", "", b"now").await;
    assert!(since.elapsed() >= ms(990), "{:?}", since.elapsed());
    assert!(within(made).await.unwrap().1.is_ok());
}

/// Settings for two addresses of a service.
fn two(first: &Upstreamed, second: &Upstreamed) -> UpstreamSettings {
    UpstreamSettings {
        other_urls: vec![second.url()],
        // A pause of this length would be noticed.
        retries: Retries { attempts: 1, backoff: Duration::from_secs(60), ..Retries::default() },
        ..settings(first.url())
    }
}

#[tokio::test]
async fn address_that_fails_is_left_out_for_a_while() {
    for fault in ["500 Oh", "503 Busy", "429 Too Many Requests", "reset"] {
        let (mut first, mut second) = (upstreamed().await, upstreamed().await);
        let upstream = Upstream::new(two(&first, &second)).unwrap();
        let ask =
            || tokio::spawn(finish(upstream.post("/v1/thing", &json!({"input": "tea"}), "*/*").unwrap()));
        let made = ask();
        let mut exchange = first.asked().await;
        match fault {
            "reset" => exchange.reset(),
            status => exchange.answer(status, "Connection: close\r\nRetry-After: 60\r\n", b"").await,
        }
        let mut exchange = second.asked().await;
        assert_eq!((exchange.target(), &exchange.json), ("POST /v1/thing", &json!({"input": "tea"})));
        exchange.answer("200 OK", "Connection: close\r\n", b"tea").await;
        let (retried, made) = within(made).await.unwrap();
        assert_eq!((retried.len(), rest(&mut made.unwrap()).await), (1, (b"tea".to_vec(), None)), "{fault}");
        assert!(retried[0].detail().contains(&first.addr.to_string()), "{:?}", retried[0]);
        // The next request goes to the second address at once.
        let made = ask();
        second.asked().await.answer("503 Busy", "Connection: close\r\n", b"").await;
        // Both rest now. There is no attempt left, and the failure names the second one.
        let (retried, made) = within(made).await.unwrap();
        let failure = made.unwrap_err();
        assert_eq!((retried, failure.kind), (vec![], FailureKind::Status(503)), "{fault}");
        assert!(failure.detail().contains(&second.addr.to_string()), "{failure:?}");
        // The one that failed first is asked first.
        let made = ask();
        first.asked().await.answer("200 OK", "Connection: close\r\n", b"again").await;
        assert_eq!(rest(&mut within(made).await.unwrap().1.unwrap()).await.0, b"again");
        assert!(!first.is_asked() && !second.is_asked());
    }
}

#[tokio::test]
async fn request_at_fault_is_asked_nowhere_else() {
    let (mut first, mut second) = (upstreamed().await, upstreamed().await);
    for status in ["400 Bad Request", "401 No", "404 Not Found", "302 Found"] {
        let (mut exchange, made) = asked(two(&first, &second), &mut first).await;
        exchange.answer(status, "Connection: close\r\n", b"").await;
        let (retried, made) = within(made).await.unwrap();
        assert!(retried.is_empty() && made.is_err(), "{status}");
    }
    // Nor is one whose answer has begun.
    let (mut exchange, made) = asked(two(&first, &second), &mut first).await;
    exchange.head("200 OK", "Transfer-Encoding: chunked\r\n").await;
    exchange.write(b"5\r\nsou").await;
    drop(exchange);
    let mut reply = within(made).await.unwrap().1.unwrap();
    assert_eq!(rest(&mut reply).await.1.unwrap().kind, FailureKind::Broken);
    assert!(!second.is_asked());
}

#[tokio::test]
async fn rest_of_an_address_ends() {
    let (mut first, mut second) = (upstreamed().await, upstreamed().await);
    let upstream = Upstream::new(two(&first, &second)).unwrap();
    let ask = || tokio::spawn(finish(upstream.post("/v1/thing", &json!({}), "*/*").unwrap()));
    let made = ask();
    first.asked().await.answer("503 Busy", "Connection: close\r\n", b"").await;
    second.asked().await.answer("200 OK", "Connection: close\r\n", b"two").await;
    assert_eq!(rest(&mut within(made).await.unwrap().1.unwrap()).await.0, b"two");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    let made = ask();
    first.asked().await.answer("200 OK", "Connection: close\r\n", b"one").await;
    assert_eq!(rest(&mut within(made).await.unwrap().1.unwrap()).await.0, b"one");
}

#[tokio::test]
async fn deadline_of_each_kind_ends_its_own_wait() {
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
            asked(UpstreamSettings { deadlines, ..settings(service.url()) }, &mut service).await;
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
    // A body that trickles is never idle for long; the total deadline ends it.
    let deadlines = Deadlines { idle: ms(500), total: ms(600), ..all };
    let (mut exchange, made) =
        asked(UpstreamSettings { deadlines, ..settings(service.url()) }, &mut service).await;
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
async fn idle_deadline_excludes_a_slow_reader() {
    let mut service = upstreamed().await;
    let deadlines = Deadlines { idle: ms(200), total: ms(400), ..Deadlines::default() };
    let (mut exchange, made) =
        asked(UpstreamSettings { deadlines, ..settings(service.url()) }, &mut service).await;
    exchange.begin("audio/wav").await;
    exchange.chunk(b"one").await;
    let mut reply = within(made).await.unwrap().1.unwrap();
    assert_eq!(within(reply.next_chunk()).await.unwrap().unwrap(), "one");
    exchange.chunk(b"two").await;
    // This sleep makes the reader slow; it waits for nothing.
    tokio::time::sleep(ms(600)).await;
    assert_eq!(within(reply.next_chunk()).await.unwrap().unwrap(), "two");
    // Cancelled waits count, each with its part.
    for _ in 0..5 {
        if let Ok(Err(failure)) = tokio::time::timeout(ms(60), reply.next_chunk()).await {
            assert_eq!(failure.kind, FailureKind::IdleTimeout);
            return;
        }
    }
    panic!("five waits of 60 ms are longer than one of 200");
}

#[tokio::test]
async fn connect_failure_is_reported_and_retried() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let retries = Retries { attempts: 1, ..Retries::default() };
    let refused = UpstreamSettings { retries, ..settings(format!("http://127.0.0.1:{port}")) };
    let unknown = UpstreamSettings { retries, ..settings("http://no-such-host.invalid/v1") };
    for settings in [refused, unknown] {
        let failure = finish(call(settings)).await.1.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable, "{failure:?}");
        assert_eq!(failure.to_string(), "The test service could not be reached.");
        assert!(failure.detail().contains("http://"), "{failure:?}");
    }
    // With attempts left, the call is retried: the service may be restarting.
    let again = settings(format!("http://127.0.0.1:{port}"));
    let (retried, made) = finish(call(again)).await;
    assert_eq!(retried.len(), 2);
    assert_eq!(made.unwrap_err().kind, FailureKind::Unreachable);
    let (full, _waiting) = overfull().await;
    let deadlines = Deadlines { connect: ms(100), ..Deadlines::default() };
    let settings =
        UpstreamSettings { deadlines, retries, ..settings(format!("http://{}", full.local_addr().unwrap())) };
    let failure = finish(call(settings)).await.1.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ConnectTimeout);
    assert_eq!(failure.to_string(), "The test service could not be reached within 100ms.");
}

/// A listener whose backlog is full: the kernel silently drops further connections.
async fn overfull() -> (TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let addr = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(ms(300), TcpStream::connect(addr)).await {
        waiting.push(connected.unwrap());
    }
    (full, waiting)
}

#[tokio::test]
async fn error_answer_is_reported_in_words_without_the_key() {
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
            "The test service does not know the requested path, model or voice.",
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
async fn body_over_the_limit_is_not_read() {
    let mut service = upstreamed().await;
    let bounded = UpstreamSettings { max_body_bytes: 1_000, ..settings(service.url()) };
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
async fn body_that_is_not_read_is_not_sent() {
    let mut service = upstreamed().await;
    let (mut exchange, made) = asked(settings(service.url()), &mut service).await;
    exchange.head("200 OK", "Connection: close\r\n").await;
    let reply = within(made).await.unwrap().1.unwrap();
    // As much as the buffers hold, far less than the whole body.
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
fn base_url_that_is_invalid_is_refused_with_a_sentence() {
    let table = [
        ("127.0.0.1:80", "has no scheme; write http://HOST:PORT"),
        ("ftp://host", "has a scheme that is neither http nor https; write http://HOST:PORT"),
        ("http://", "has no host; write http://HOST:PORT"),
        ("http://:80", "has no host; write http://HOST:PORT"),
        ("http:///v1", "has no host; write http://HOST:PORT"),
        ("http://host:0", "has a port that is not a number from 1 to 65535"),
        ("http://host:65536", "has a port that is not a number from 1 to 65535"),
        (
            "http://me:sk-never-to-be-seen@host",
            "contains a user or a password; remove it, and give the key by itself",
        ),
        ("http://host/?key=sk-never-to-be-seen", "has a query; remove the part that begins with ?"),
        ("http://host/#top", "has a fragment; remove the part that begins with #"),
        ("http://ho st", "contains white space; write http://HOST:PORT"),
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
async fn base_url_with_an_ipv6_host_is_used() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped base_url_with_an_ipv6_host_is_used: no IPv6");
        return;
    };
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let retries = Retries { attempts: 1, ..Retries::default() };
    let made = tokio::spawn(finish(call(UpstreamSettings { retries, ..settings(url) })));
    drop(within(listener.accept()).await.unwrap());
    assert_eq!(within(made).await.unwrap().1.unwrap_err().kind, FailureKind::Closed);
}

#[test]
fn key_is_sent_whole_and_never_shown() {
    for key in ["", " \n", "two words", "schlüssel", &"k".repeat(5_000)] {
        let why = Secret::new(key).unwrap_err();
        assert!(!why.contains("schl") && !why.contains("words"), "{why}");
    }
    let key = Secret::new(&format!(" {KEY}\r\n")).unwrap();
    assert_eq!(key, Secret::new(KEY).unwrap());
    let settings =
        UpstreamSettings { credentials: Credentials::Bearer(key.clone()), ..settings("http://host") };
    let shown = format!("{key} {key:?} {settings:?} {:?}", Upstream::new(settings.clone()).unwrap());
    assert!(!shown.contains("never"), "{shown}");
    let missing = Secret::from_file("/nowhere/key".as_ref()).unwrap_err();
    assert!(missing.starts_with("cannot read the key from /nowhere/key: "), "{missing}");
}

/// True if a log line contains all of these.
fn logged(parts: &[&str]) -> bool {
    log::lines().iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

const SHORT: Deadlines = Deadlines { connect: ms(400), first_byte: ms(400), idle: ms(400), total: ms(900) };
const PATIENT: Deadlines = Deadlines {
    connect: Duration::from_secs(60),
    first_byte: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(60),
};

/// A server whose engine is this service, and a client of `aloud.v1`.
async fn speaking(service: &Upstreamed, deadlines: Deadlines) -> (Running, Raw) {
    log::listen();
    let settings = UpstreamSettings { role: "speech engine", deadlines, ..settings(service.url()) };
    let mut engine = SpeechApi::new(settings).unwrap();
    engine.sample_rate_hz = Some(8_000);
    engine.response = ResponseFormat::Pcm;
    let server = start_with(Config::default(), Arc::new(engine)).await;
    let (client, _) = v1(server.addr).await;
    (server, client)
}

fn start(prompt: &str) -> String {
    json!({"type": "start_session", "prompt": prompt}).to_string()
}

/// This many milliseconds of a tone at 8,000 Hz.
fn tone(ms: usize) -> Vec<u8> {
    let wave = |n: usize| ((n % 20) as i16 - 10) * 800;
    (0..ms * 8).flat_map(|n| wave(n).to_le_bytes()).collect()
}

fn wav(samples: &[u8]) -> Vec<u8> {
    let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
    [aloud::audio::wav_header(format, samples.len() as u32), samples.to_vec()].concat()
}

const PCM: &str = "Content-Type: audio/pcm;rate=8000\r\nConnection: close\r\n";

/// The fault of a service.
#[derive(Clone, Debug)]
enum Fault {
    /// A whole answer: status, headers, body.
    Answer(&'static str, &'static str, Vec<u8>),
    /// No answer; the connection stays open.
    Silent,
    /// A head, and then nothing.
    Head,
    /// This much of a body in chunks, and then nothing.
    Stall(Vec<u8>),
    /// A byte every few milliseconds, without an end.
    Trickle,
    /// This much of a body in chunks, the last one cut, and the end of the connection.
    Cut(Vec<u8>),
    /// The same with a reset.
    Reset(Vec<u8>),
    /// Fewer bytes than announced.
    Less(Vec<u8>),
}

impl Fault {
    async fn play(self, mut exchange: Exchange) {
        let begin = async |exchange: &mut Exchange| exchange.begin("audio/pcm;rate=8000").await;
        match self {
            Fault::Answer(status, headers, body) => {
                exchange.answer(status, &format!("Connection: close\r\n{headers}"), &body).await;
            }
            Fault::Silent => exchange.gone().await,
            Fault::Head => {
                begin(&mut exchange).await;
                exchange.gone().await;
            }
            Fault::Stall(body) => {
                begin(&mut exchange).await;
                exchange.chunk(&body).await;
                exchange.gone().await;
            }
            Fault::Trickle => {
                begin(&mut exchange).await;
                let mut every = tokio::time::interval(ms(10));
                loop {
                    every.tick().await;
                    exchange.chunk(b"\x33").await;
                }
            }
            Fault::Cut(body) => {
                begin(&mut exchange).await;
                exchange.chunk(&body).await;
                exchange.write(b"ff\r\nhalf").await;
            }
            Fault::Reset(body) => {
                begin(&mut exchange).await;
                exchange.chunk(&body).await;
                // The peer reads it before it learns of the reset.
                tokio::time::sleep(ms(50)).await;
                exchange.write(b"ff\r\nhalf").await;
                exchange.reset();
            }
            Fault::Less(body) => {
                exchange.head("200 OK", &format!("Content-Length: {}\r\n{PCM}", body.len() + 2)).await;
                exchange.write(&body).await;
            }
        }
    }
}

/// Answers every request: the sentence `One.` with a fault, any other with speech.
fn serve(mut service: Upstreamed, fault: Fault) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let mut exchange = service.asked_at_last().await;
            let fault = fault.clone();
            tokio::spawn(async move {
                match exchange.json["input"].as_str() {
                    Some("One.") => fault.play(exchange).await,
                    _ => exchange.answer("200 OK", PCM, &tone(300)).await,
                }
            });
        }
    })
}

#[tokio::test]
async fn service_failure_ends_one_sentence() {
    use Fault::*;
    let key = |text: &str| text.replace("KEY", KEY).into_bytes();
    let text = "Content-Type: text/html\r\n";
    let pcm = "Content-Type: audio/pcm;rate=8000\r\n";
    let loud = || tone(500);
    let failed = "engine_failed";
    // The fault, the code that the client gets, is audio heard before it, and the parts of the log
    // line.
    let table: Vec<(Fault, &str, bool, &str)> = vec![
        (Answer("401 No", "", key(r#"{"error":{"message":"Wrong key KEY."}}"#)), failed, false, "401"),
        (Answer("403 No", "", key("KEY may not")), failed, false, "403"),
        (Answer("404 No", "", vec![]), failed, false, "404"),
        (Answer("429 No", "Retry-After: 99\r\n", key(r#"{"detail":"KEY!"}"#)), failed, false, "429"),
        (Answer("500 No", "", key("oh KEY")), failed, false, "500"),
        (Answer("503 No", "", vec![]), failed, false, "503"),
        (Answer("307 There", "Location: http://127.0.0.1:1/\r\n", vec![]), failed, false, "redirect"),
        (Answer("200 OK", text, key("<!doctype html><p>Your key is KEY")), failed, false, "instead of audio"),
        (
            Answer("200 OK", pcm, key(r#"{"error":"The key KEY has no credit left"}"#)),
            failed,
            false,
            "instead of audio",
        ),
        (
            Answer("200 OK", "Content-Type: audio/mpeg\r\n", b"ID3mock-mp3-audio-bytes".to_vec()),
            failed,
            false,
            "audio/mpeg",
        ),
        (Answer("200 OK", pcm, vec![]), "engine_no_audio", false, "no audio"),
        (Answer("200 OK", pcm, vec![0; 16_000]), "engine_no_audio", false, "silence"),
        (Answer("200 OK", pcm, wav(&[0; 1_600])), "engine_no_audio", false, "silence"),
        (Silent, "engine_timeout", false, "sent nothing within"),
        (Head, "engine_timeout", false, "sent nothing within"),
        (Stall(loud()), "engine_timeout", true, "paused for longer than"),
        (Trickle, "engine_timeout", true, "took longer than"),
        (Cut(loud()), failed, true, "broke off"),
        (Cut(tone(500)[1..].to_vec()), failed, true, "broke off"),
        (Reset(loud()), failed, true, "broke off"),
        (Less(loud()), failed, true, "broke off"),
        (Less(wav(&loud())), failed, true, "broke off"),
    ];
    for (fault, code, may_be_heard, expected) in table {
        let service = upstreamed().await;
        let open = service.open.clone();
        let address = service.url();
        let (server, mut client) = speaking(&service, SHORT).await;
        let serving = serve(service, fault.clone());
        client.say(&start("One. Two.")).await;
        let frames = client.read_until("session_end").await;
        let kinds: Vec<&str> = frames.iter().map(Frame::kind).filter(|kind| *kind != "timestamps").collect();
        let mut order = kinds.clone();
        order.retain(|kind| *kind != "warning" && *kind != "stream_start");
        order.dedup();
        // No audio follows the error; the sentence ends, and the next one is spoken.
        let heard = order.get(1) == Some(&"binary");
        assert!(may_be_heard || !heard, "{fault:?}: {order:?}");
        order.retain(|kind| *kind != "binary");
        assert_eq!(
            order,
            ["text", "error", "sentence_end", "text", "sentence_end", "session_end"],
            "{fault:?}"
        );
        let last = kinds.iter().rposition(|kind| *kind == "binary").unwrap();
        let second = kinds.iter().rposition(|kind| *kind == "text").unwrap();
        assert!(last > second, "{fault:?}: the second sentence is heard: {kinds:?}");

        let messages = messages(&frames);
        let error = messages.iter().find(|message| message["type"] == "error").unwrap();
        assert_eq!(
            (&error["code"], &error["index"], &error["fatal"]),
            (&json!(code), &json!(0), &json!(false)),
            "{fault:?}"
        );
        let warnings =
            messages.iter().filter(|m| m["type"] == "warning" && m["code"] == "retrying_engine").count();
        assert_eq!(warnings, if expected == "503" { 2 } else { 0 }, "{fault:?}");
        assert!(frames.iter().all(|f| !matches!(f, Frame::Binary(b) if b.len() % 2 != 0)), "whole samples");
        let shown = format!("{messages:?}");
        assert!(!shown.contains("never-to-be-seen") && !shown.contains("127.0.0.1"), "{shown}");
        assert!(logged(&[&address, expected]), "{fault:?}: {expected}");

        drop(client);
        server.is_quiet().await;
        within(async {
            while open.count() > 0 {
                // A service that trickles soon notices that its peer has left.
                if matches!(fault, Trickle) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        serving.abort();
    }
    assert!(!logged(&["never-to-be-seen"]), "no log line of any library holds the key");
}

/// No listener, no address for the name, no answer: the error comes within the connect timeout, and the
/// server is not ready.
#[tokio::test]
async fn service_that_is_unreachable_is_reported_and_the_server_is_not_ready() {
    log::listen();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (full, _waiting) = overfull().await;
    let unreachable = "The speech engine could not be reached.";
    let too_late = "The speech engine could not be reached within 200ms.";
    // Both deadlines start at the beginning; if they end together, either may be reported.
    let deadlines = Deadlines { connect: ms(200), ..SHORT };
    for (url, code, expected) in [
        (format!("http://127.0.0.1:{port}"), "engine_failed", unreachable),
        ("http://no-such-host.invalid".to_owned(), "engine_failed", unreachable),
        (format!("http://{}", full.local_addr().unwrap()), "engine_timeout", too_late),
    ] {
        let retries = Retries { attempts: 1, ..Retries::default() };
        let settings = UpstreamSettings { role: "speech engine", deadlines, retries, ..settings(&*url) };
        let server = start_with(Config::default(), Arc::new(SpeechApi::new(settings).unwrap())).await;
        assert_eq!(server.service.readiness(), Ok(()), "ready before the first request");
        let (mut client, _) = v1(server.addr).await;
        let since = Instant::now();
        client.say(&start("One. Two. Three.")).await;
        let frames = client.read_until("session_end").await;
        assert!(since.elapsed() < deadlines.connect * 3 + ms(800), "{url}: {:?}", since.elapsed());
        let messages = messages(&frames);
        let errors: Vec<&Value> = messages.iter().filter(|message| message["type"] == "error").collect();
        assert_eq!(errors.len(), 3, "{url}: {messages:?}");
        for error in errors {
            assert_eq!((&error["code"], &error["message"]), (&json!(code), &json!(expected)), "{url}");
            assert_eq!((&error["retryable"], &error["fatal"]), (&json!(true), &json!(false)), "{url}");
        }
        assert!(logged(&[&url]), "{url}");
        assert!(server.service.readiness().unwrap_err().ends_with("fails, see the log"), "{url}");
    }
}

/// The target of a redirect to another host gets no request.
#[tokio::test]
async fn redirect_to_another_host_is_not_followed() {
    for status in ["301 Moved", "302 Found", "303 See", "307 There", "308 There"] {
        let (mut service, mut other) = (upstreamed().await, upstreamed().await);
        let (mut exchange, made) = asked(settings(service.url()), &mut service).await;
        exchange.answer(status, &format!("Location: {}/v1/thing\r\n", other.url()), b"").await;
        assert_eq!(within(made).await.unwrap().1.unwrap_err().kind, FailureKind::Redirect);
        assert!(!service.is_asked() && !other.is_asked() && other.open.count() == 0, "{status}");
    }
}

#[tokio::test]
async fn samples_follow_the_declared_format() {
    let samples = tone(400);
    let odd = [&samples[..], b"\x7f"].concat();
    let inner = [&samples[..1_600], &wav(&samples[1_600..])].concat();
    let big_endian: Vec<u8> = samples.chunks(2).flat_map(|s| [s[1], s[0]]).collect();
    let stereo: Vec<u8> = samples.chunks(2).flat_map(|s| [s[0], s[1], s[0], s[1]]).collect();
    let table = [
        ("audio/pcm;rate=8000", ResponseFormat::Wav, None, &samples),
        ("audio/pcm;rate=8000", ResponseFormat::Pcm, Some(44_100), &samples),
        ("audio/pcm_s16le\r\nX-Sample-Rate: 8000", ResponseFormat::Pcm, None, &samples),
        ("", ResponseFormat::Pcm, Some(8_000), &samples),
        ("application/octet-stream", ResponseFormat::Pcm, Some(8_000), &odd),
        ("audio/pcm;rate=8000", ResponseFormat::Pcm, None, &inner),
        ("audio/L16;rate=8000", ResponseFormat::Wav, None, &big_endian),
        ("audio/pcm;rate=8000;channels=2", ResponseFormat::Wav, None, &stereo),
        ("audio/wav", ResponseFormat::Wav, None, &wav(&samples)),
        ("audio/mpeg", ResponseFormat::Wav, Some(44_100), &wav(&samples)),
    ];
    let mut first: Option<Vec<u8>> = None;
    for (content_type, response, sample_rate_hz, body) in table {
        let mut service = upstreamed().await;
        let mut engine = SpeechApi::new(settings(service.url())).unwrap();
        engine.response = response;
        engine.sample_rate_hz = sample_rate_hz;
        let said = tokio::spawn(async move {
            let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
            spoken(&engine, Utterance::new("One.", format)).await
        });
        let mut exchange = service.asked().await;
        let headers = format!("Content-Type: {content_type}\r\n");
        exchange.answer("200 OK", if content_type.is_empty() { "" } else { &headers }, body).await;
        let said = within(said).await.unwrap();
        assert!(said.len() >= samples.len(), "{content_type}: {}", said.len());
        assert_eq!(&said, first.get_or_insert(said.clone()), "{content_type}");
    }
}

#[tokio::test]
async fn samples_of_an_unknown_format_are_refused() {
    for (content_type, response) in
        [("audio/pcm", ResponseFormat::Pcm), ("application/octet-stream", ResponseFormat::Wav)]
    {
        let mut service = upstreamed().await;
        let mut engine = SpeechApi::new(settings(service.url())).unwrap();
        engine.response = response;
        let mut speech = engine.speak(Utterance::new("One.", engine.format()));
        let mut exchange = service.asked().await;
        exchange.answer("200 OK", &format!("Content-Type: {content_type}\r\n"), &tone(400)).await;
        let error = within(speech.next()).await.unwrap().unwrap_err();
        assert_eq!(
            error.message,
            "The speech engine's audio has no WAV header, and its encoding or sample rate is not set. Set both, \
             or make the engine give a WAV."
        );
    }
}

#[tokio::test]
async fn request_carries_the_options_of_the_session() {
    let mut service = upstreamed().await;
    let mut engine = SpeechApi::new(settings(service.url())).unwrap();
    engine.model = "kokoro".to_owned();
    engine.voices = vec!["af_sky".to_owned(), "am_adam".to_owned()];
    let voices: Vec<String> = engine.voices().into_iter().map(|voice| voice.name).collect();
    assert_eq!(voices, ["af_sky", "am_adam"]);
    let utterance = Utterance::new("Tea \u{2615}.", engine.format());
    let _plain = engine.speak(utterance.clone());
    let exchange = service.asked().await;
    assert_eq!(exchange.target(), "POST /v1/audio/speech");
    let expected =
        json!({"model": "kokoro", "input": "Tea \u{2615}.", "voice": "af_sky", "response_format": "wav"});
    assert_eq!(exchange.json, expected);
    engine.response = ResponseFormat::Pcm;
    let mut other = utterance;
    (other.speed, other.voice) = (1.1, "am_adam".to_owned());
    let _other = engine.speak(other);
    let json = service.asked().await.json;
    assert_eq!(
        (&json["speed"], &json["voice"], &json["response_format"]),
        (&json!(1.1), &json!("am_adam"), &json!("pcm"))
    );
}

#[tokio::test]
async fn eleven_labs_request_has_its_own_shape() {
    let mut service = upstreamed().await;
    let key = Credentials::Header(ElevenLabs::KEY_HEADER, Secret::new(KEY).unwrap());
    let settings = UpstreamSettings { role: "speech engine", credentials: key, ..settings(service.url()) };
    let mut engine = ElevenLabs::new(settings, vec!["a/b?".to_owned(), "c".to_owned()]).unwrap();
    engine.sample_rate_hz = 24_000;
    let utterance = Utterance::new("One.", engine.format());
    assert_eq!(utterance.format.sample_rate_hz, 24_000);
    let mut speech = engine.speak(utterance.clone());
    let mut exchange = service.asked().await;
    assert_eq!(exchange.target(), "POST /v1/text-to-speech/a%2Fb%3F/stream?output_format=pcm_24000");
    assert_eq!((exchange.header("xi-api-key"), exchange.header("authorization")), (Some(KEY), None));
    assert_eq!(exchange.json, json!({"text": "One.", "model_id": "eleven_flash_v2_5"}));
    // The samples have the requested format, whatever the answer calls them.
    exchange.answer("200 OK", "Content-Type: audio/mpeg\r\nConnection: close\r\n", &tone(400)).await;
    assert!(matches!(within(speech.next()).await, Some(Ok(_))));

    for (speed, sent) in [(0.5, json!(0.7)), (0.9, json!(0.9)), (2.0, json!(1.2))] {
        let mut other = utterance.clone();
        (other.speed, other.voice, other.previous_text) = (speed, "c".to_owned(), "Zero.".to_owned());
        let _speech = engine.speak(other);
        let exchange = service.asked().await;
        assert_eq!(exchange.target(), "POST /v1/text-to-speech/c/stream?output_format=pcm_24000");
        assert_eq!(exchange.json["previous_text"], "Zero.");
        assert_eq!(exchange.json["voice_settings"], json!({"speed": sent}));
    }
    let mut speech = engine.speak(utterance);
    let refusal =
        json!({"detail": {"status": "invalid_api_key", "message": format!("Invalid API key {KEY}")}});
    service.asked().await.answer("401 Unauthorized", "", refusal.to_string().as_bytes()).await;
    let error = within(speech.next()).await.unwrap().unwrap_err();
    assert_eq!(error.message, "The speech engine does not accept our credentials: Invalid API key (key).");
}

#[tokio::test]
async fn previous_text_is_the_text_of_earlier_sentences() {
    log::listen();
    let mut service = upstreamed().await;
    let engine = ElevenLabs::new(settings(service.url()), vec!["a".to_owned()]).unwrap();
    let server = start_with(Config::default(), Arc::new(engine)).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start("One. Two.")).await;
    let mut asked: Vec<Value> = Vec::new();
    for _ in 0..2 {
        let mut exchange = service.asked().await;
        asked.push(exchange.json.clone());
        exchange.answer("200 OK", "Connection: close\r\n", &tone(300)).await;
    }
    client.read_until("session_end").await;
    asked.sort_by_key(|json| json["previous_text"].is_string());
    assert_eq!((&asked[0]["text"], &asked[0]["previous_text"]), (&json!("One."), &Value::Null));
    assert_eq!((&asked[1]["text"], &asked[1]["previous_text"]), (&json!("Two."), &json!("One.")));
}

#[tokio::test]
async fn client_that_leaves_ends_the_request_at_once() {
    // State of the service when the client leaves, and the way in which the client leaves.
    for begun in 0..3 {
        for way in ["end", "cancel", "close", "fin", "reset"] {
            let mut service = upstreamed().await;
            let (server, mut client) = speaking(&service, PATIENT).await;
            client.say(&start("One.")).await;
            let mut exchange = service.asked().await;
            if begun > 0 {
                exchange.begin("audio/pcm;rate=8000").await;
            }
            if begun > 1 {
                exchange.chunk(&tone(3_000)).await;
                client.read_until("binary").await;
            }
            match way {
                "end" | "cancel" => client.say(&json!({"type": way}).to_string()).await,
                "close" => client.send_bytes(&support::close(1000, "")).await,
                "fin" => client.finish().await,
                _ => client.reset(),
            }
            let since = Instant::now();
            exchange.gone().await;
            assert!(since.elapsed() < AT_ONCE, "{way} at {begun}: {:?}", since.elapsed());
            assert_eq!(service.open.count(), 0);
            drop(server);
        }
    }
}

#[tokio::test]
async fn client_that_left_causes_no_retry() {
    let mut service = upstreamed().await;
    let (server, mut client) = speaking(&service, PATIENT).await;
    client.say(&start("One.")).await;
    service.asked().await.answer("503 Busy", "Retry-After: 1\r\nConnection: close\r\n", b"").await;
    let frames = client.read_until("warning").await;
    let warning = messages(&frames).pop().unwrap();
    assert_eq!(warning["code"], "retrying_engine");
    assert_eq!(warning["message"], "The speech engine answered with the status 503. Retrying.");
    client.say(r#"{"type":"end"}"#).await;
    drop(client);
    server.is_quiet().await;
    // Longer than the requested delay.
    tokio::time::sleep(ms(1_600)).await;
    assert!(!service.is_asked());
}

#[tokio::test]
async fn body_that_floods_is_held_back_and_a_pause_costs_no_time() {
    let service = upstreamed().await;
    let open = service.open.clone();
    let (server, mut client) = speaking(&service, SHORT).await;
    // Long enough for ten minutes of audio.
    let text = format!("{}.", "and so on ".repeat(20).trim_end());
    client.say(&start(&text)).await;
    let mut service = service;
    let mut exchange = service.asked().await;
    client.say(r#"{"type":"pause"}"#).await;
    client.before_pong().await;
    exchange.begin("audio/pcm;rate=48000;channels=8").await;
    let chunk = {
        let samples: Vec<u8> = tone(1_000).chunks(2).flat_map(|s| s.repeat(8)).collect();
        [format!("{:x}\r\n", samples.len()).as_bytes(), &samples, b"\r\n"].concat()
    };
    // Twice the idle deadline, and longer than the total deadline.
    let mut sent = 0;
    for _ in 0..12 {
        tokio::time::sleep(ms(100)).await;
        sent += exchange.fill(&chunk);
    }
    assert!(sent < 24 << 20, "{sent} bytes went to a paused client");
    let before = client.before_pong().await;
    assert_eq!(messages(&before).iter().filter(|m| m["type"] == "error").count(), 0, "{before:?}");
    client.say(r#"{"type":"end"}"#).await;
    let since = Instant::now();
    exchange.gone().await;
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    drop(client);
    server.is_quiet().await;
    // The rest of the sentence, if it was cut in two.
    while service.is_asked() {
        service.asked().await.gone().await;
    }
    assert_eq!(open.count(), 0);
    assert!(audio(&before).is_empty());
}

/// The built binary refuses https at its start, and says what to do.
#[cfg(not(feature = "tls"))]
#[test]
fn https_without_the_feature_is_refused() {
    for args in
        [&["--engine=elevenlabs", "--voices=a"][..], &["--engine=speech", "--engine-url=https://a/v1"]]
    {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_aloud")).arg("serve").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            stderr,
            "aloud: the URL of the speech engine is https, and this program was built without TLS; build it \
             with `cargo build --release --features tls`, or give an http URL\n"
        );
    }
}
