//! The program as operators see it: health, readiness, metrics, log lines, signals, exit codes, and
//! socket activation.

use super::cli::Folder;
use super::packages::health_check;
use crate::support::{
    self, FORMAT, Frame, PATIENCE, Raw, Scripted, V1, close, messages, opening, opening_with, raw, session,
    start_with, v1, within,
};
use aloud::tts::{Queue, QueueBounds, SynthesisError, Tone};
use aloud::{Admin, Config, PATH, Service};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::yield_now;

const START: &str = r#"{"type":"start_session","prompt":"One. Two."}"#;

/// The built binary as a server in a process of its own; killed when dropped.
struct Program {
    child: Child,
    addr: SocketAddr,
    /// Its log lines, as they come.
    lines: Receiver<String>,
    /// Lines taken from the channel already.
    seen: Mutex<Vec<String>>,
}

fn aloud(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    fn start(args: &[&str]) -> Program {
        let args = [&["serve", "--listen=127.0.0.1:0", "--engine=tone"], args].concat();
        let mut child = aloud(&args).spawn().unwrap();
        let addr = announced(&mut child);
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Program { child, addr, lines, seen: Mutex::default() }
    }

    /// Waits for the first log line that contains this, seen or unseen.
    fn line(&self, part: &str) -> String {
        let mut seen = self.seen.lock().unwrap();
        let mut at = 0;
        loop {
            if at == seen.len() {
                let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                    panic!("no line with {part}: {seen:#?}");
                };
                seen.push(line);
            }
            if seen[at].contains(part) {
                return seen[at].clone();
            }
            at += 1;
        }
    }

    /// The address of its second listener.
    fn admin(&self) -> SocketAddr {
        let line = self.line("metrics are at http://");
        let (_, address) = line.rsplit_once("http://").unwrap();
        address
            .trim_end_matches(|c: char| !c.is_ascii_digit())
            .split(['"', ' '])
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end. Returns the exit code and all log lines.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.extend(self.lines.iter());
        (code, seen.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that a server prints when it is ready.
fn announced(child: &mut Child) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // With --log-format json this line is an object, too.
    if let Ok(object) = serde_json::from_str::<Value>(&line) {
        assert!(object["time"].is_string() && object["level"] == "info", "{line}");
        line = object["message"].as_str().unwrap().to_owned();
    }
    line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap()
}

async fn ask(addr: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut client = raw(addr).await;
    client.send_bytes(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    let head = client.read_head().await;
    (head.status, String::from_utf8(client.read_to_close().await).unwrap())
}

/// Value of a sample on a page of metrics.
fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().unwrap()
}

/// Waits until a sample has this value.
async fn reaches(service: &Service, sample: &str, expected: f64) {
    within(async {
        while value(&service.metrics(), sample) != expected {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn admin_listener_has_three_pages_and_no_sessions() {
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    let counter = Arc::new(std::sync::atomic::AtomicU64::new(42));
    let admin = Admin::bind(&"127.0.0.1:0".parse().unwrap(), service).await.unwrap();
    let admin = admin.with_counter("aloud_example_total", "An example.", counter);
    let addr: SocketAddr = admin.address().strip_prefix("http://").unwrap().parse().unwrap();
    let serving = tokio::spawn(admin.serve());
    assert_eq!(ask(addr, "GET", "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(ask(addr, "GET", "/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(ask(addr, "HEAD", "/readyz").await, (200, String::new()));
    let (status, page) = ask(addr, "GET", "/metrics").await;
    assert_eq!((status, value(&page, "aloud_ready"), value(&page, "aloud_example_total")), (200, 1.0, 42.0));
    assert_eq!(ask(addr, "GET", PATH).await.0, 404);
    assert_eq!(ask(addr, "POST", "/metrics").await.0, 405);
    let mut client = raw(addr).await;
    client.send_bytes(&opening(addr, PATH)).await;
    assert_eq!(client.read_head().await.status, 404);
    let mut client = raw(addr).await;
    client.send_bytes(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (head, _) = client.read_answer().await;
    assert_eq!(head.header("content-type").as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(head.header("connection").as_deref(), Some("close"));
    serving.abort();

    // The main listener does not have these pages.
    let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).await;
    let mut client = raw(server.addr).await;
    client.send_bytes(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.read_answer().await.0.status, 404);
}

/// In real time: a paused clock would overtake bytes that the kernel has yet to deliver.
#[tokio::test]
async fn admin_listener_drops_a_silent_client() {
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    let admin = Admin::bind(&"127.0.0.1:0".parse().unwrap(), service).await.unwrap();
    let addr: SocketAddr = admin.address().strip_prefix("http://").unwrap().parse().unwrap();
    tokio::spawn(admin.serve());
    let mut silent = Vec::new();
    for _ in 0..16 {
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        silent.push(Raw::over(stream, Duration::from_secs(60)));
    }
    // Silent clients hold all places until their deadline.
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let mut client = Raw::over(stream, Duration::from_secs(60));
    client.send_bytes(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.read_head().await.status, 200);
    for mut client in silent {
        assert_eq!(client.read_to_close().await, b"");
    }
}

#[tokio::test]
async fn metrics_count_and_gauges_return_to_zero() {
    let server = start_with(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).await;
    let service = &server.service;
    let mut client = raw(server.addr).await;
    client.send_bytes(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.read_answer().await.0.status, 404);
    client.send_bytes(b"nonsense\r\n\r\n").await;
    assert_eq!(client.read_answer().await.0.status, 400);
    drop(client);

    let (mut client, greeting) = v1(server.addr).await;
    reaches(service, "aloud_sessions{state=\"idle\"}", 1.0).await;
    client.say(r#"{"type":"pause"}"#).await;
    client.say(r#"{"type":"start_session","prompt":"One. Two.","resumable":true}"#).await;
    reaches(service, "aloud_sessions{state=\"paused\"}", 1.0).await;
    client.say(r#"{"type":"resume"}"#).await;
    let frames = client.read_until("session_end").await;
    reaches(service, "aloud_sessions{state=\"idle\"}", 1.0).await;
    let audio = frames.iter().filter(|frame| frame.kind() == "binary").count();
    let page = service.metrics();
    let texts = 1 + frames.iter().filter(|frame| matches!(frame, Frame::Text(_))).count();
    for (sample, expected) in [
        ("aloud_connections{state=\"open\"}", 1.0),
        ("aloud_handshakes_total{status=\"101\"}", 1.0),
        ("aloud_handshakes_total{status=\"400\"}", 1.0),
        ("aloud_handshakes_total{status=\"404\"}", 1.0),
        ("aloud_streams_total{source=\"verbatim\"}", 1.0),
        ("aloud_sent_frames_total{opcode=\"binary\"}", audio as f64),
        ("aloud_sent_frames_total{opcode=\"text\"}", texts as f64),
        // The client paused at the start, so the latency says nothing.
        ("aloud_first_audio_seconds_count", 0.0),
        ("aloud_sentence_gap_seconds_count", 1.0),
        ("aloud_syntheses{state=\"running\"}", 0.0),
    ] {
        assert_eq!(value(&page, sample), expected, "{sample}: {frames:?}");
    }
    assert!(value(&page, "aloud_sent_bytes_total") > 3_200.0);
    let began = value(&page, "process_start_time_seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&began), "{began}");

    // The session is lost and recovered; then another client asks for an unknown session.
    drop(client);
    reaches(service, "aloud_sessions{state=\"frozen\"}", 1.0).await;
    reaches(service, "aloud_closes_total{by=\"nobody\",code=\"1006\"}", 1.0).await;
    let (mut client, _) = v1(server.addr).await;
    let recover = json!({"type": "recover", "sessionId": greeting["sessionId"], "token": greeting["token"], "offset": 0});
    client.say(&recover.to_string()).await;
    client.read_until("session_end").await;
    client.send_bytes(&close(1000, "")).await;
    client.read_until("close").await;
    let (mut client, _) = v1(server.addr).await;
    client.say(r#"{"type":"recover","sessionId":"x","token":"y","offset":0}"#).await;
    client.read_until("close").await;
    client.send_bytes(&close(4404, "")).await;
    client.read_to_close().await;
    let mut client = session(server.addr).await;
    client.say(START).await;
    client.read_until("session_end").await;
    client.send_bytes(&close(4999, "own")).await;
    client.read_until("close").await;
    server.is_quiet().await;
    reaches(service, "aloud_closes_total{by=\"client\",code=\"other\"}", 1.0).await;
    let page = service.metrics();
    for (sample, expected) in [
        ("aloud_resumes_total{result=\"recovered\"}", 1.0),
        ("aloud_resumes_total{result=\"not_found\"}", 1.0),
        ("aloud_closes_total{by=\"client\",code=\"1000\"}", 1.0),
        ("aloud_closes_total{by=\"server\",code=\"4404\"}", 1.0),
        ("aloud_first_audio_seconds_count", 1.0),
        // Two sentences of 100 ms, counted by the client over both connections.
        ("aloud_audio_seconds_total", 0.4),
        ("aloud_wasted_audio_seconds_total", 0.0),
    ] {
        assert_eq!(value(&page, sample), expected, "{sample}");
    }
    let gauges = [
        "aloud_connections{",
        "aloud_sessions{",
        "aloud_frozen_bytes ",
        "aloud_syntheses{",
        "aloud_scripts ",
    ];
    let present = page.lines().filter(|line| gauges.iter().any(|gauge| line.starts_with(gauge)));
    for line in present {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

#[tokio::test]
async fn readiness_gives_its_reason() {
    let (engine, mut asked) = Scripted::new();
    let mut server = start_with(Config::default(), engine).await;
    let service = server.service.clone();
    assert_eq!(service.readiness(), Ok(()), "untried");
    let mut client = session(server.addr).await;
    for works in [false, false, true, false, false, false, true] {
        assert_eq!(service.readiness(), Ok(()));
        client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
        let (_, mut sink) = asked.recv().await.unwrap();
        match works {
            true => {
                sink.push(&[1; 800]).unwrap();
                sink.finish().await;
            }
            false => sink.fail(SynthesisError::failed("It is out of order.")).await,
        }
        client.read_until("session_end").await;
        if value(&service.metrics(), "aloud_engine_errors_total{code=\"engine_failed\"}") == 5.0 && !works {
            let reason = service.readiness().unwrap_err();
            assert_eq!(reason, "the engine scripted fails, see the log");
            assert_eq!(value(&service.metrics(), "aloud_ready"), 0.0);
            // The next sentence works, and the server is ready again.
            client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
            let (_, mut sink) = asked.recv().await.unwrap();
            sink.push(&[1; 800]).unwrap();
            sink.finish().await;
            client.read_until("session_end").await;
        }
    }
    assert_eq!(service.readiness(), Ok(()));

    let warming = tokio::spawn({
        let service = service.clone();
        async move { service.warm_up().await }
    });
    let (_, sink) = asked.recv().await.unwrap();
    assert_eq!(service.readiness().unwrap_err(), "the engine has not said its first word yet");
    sink.fail(SynthesisError::failed("It is out of order.")).await;
    assert!(warming.await.unwrap().is_err());
    assert_eq!(service.readiness().unwrap_err(), "the engine scripted fails, see the log");

    client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
    let (_, _sink) = asked.recv().await.unwrap();
    server.stop();
    within(async {
        while !service
            .readiness()
            .is_err_and(|reason| reason.starts_with("the server is going away; the engine"))
        {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn readiness_fails_with_a_full_queue_and_metrics_count_it() {
    let (engine, mut asked) = Scripted::new();
    let bounds = QueueBounds { concurrency: 1, waiting: 1, ..QueueBounds::default() };
    let server = start_with(Config::default(), Arc::new(Queue::new(engine, bounds))).await;
    let service = &server.service;
    let mut client = session(server.addr).await;
    client.say(START).await;
    let (_, mut sink) = asked.recv().await.unwrap();
    reaches(service, "aloud_syntheses{state=\"queued\"}", 1.0).await;
    assert_eq!(service.readiness().unwrap_err(), "the engine's queue is full: 1 sentences wait");
    sink.push(&[1; 800]).unwrap();
    sink.finish().await;
    let (_, sink) = asked.recv().await.unwrap();
    assert_eq!(service.readiness(), Ok(()));
    reaches(service, "aloud_syntheses{state=\"queued\"}", 0.0).await;
    drop((client, sink));
    server.is_quiet().await;
}

/// The server probes a failed engine from time to time; readiness returns once it works.
#[tokio::test(start_paused = true)]
async fn readiness_returns_once_the_engine_works() {
    let (engine, mut asked) = Scripted::new();
    let service = Service::new(Config::default(), engine).unwrap();
    let admin = Admin::bind(&"127.0.0.1:0".parse().unwrap(), service.clone()).await.unwrap();
    tokio::spawn(admin.serve());
    let (warmed_up, ()) = tokio::join!(service.warm_up(), async {
        asked.recv().await.unwrap().1.fail(SynthesisError::failed("Not yet.")).await;
    });
    assert!(warmed_up.is_err() && service.readiness().is_err());
    let (utterance, sink) = asked.recv().await.unwrap();
    assert_eq!(utterance.text, "Ready.");
    sink.fail(SynthesisError::failed("Not yet.")).await;
    let (_, mut sink) = asked.recv().await.unwrap();
    assert!(service.readiness().is_err());
    sink.push(&[1; 800]).unwrap();
    sink.finish().await;
    within(async {
        while service.readiness().is_err() {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn signal_drains_streams_and_refuses_new_sessions() {
    let program =
        Program::start(&["--tone-seconds=1.5", "--delivery=paced", "--ahead-ms=100", "--admin=127.0.0.1:0"]);
    let admin = program.admin();
    assert_eq!(ask(admin, "GET", "/readyz").await.0, 200);
    let (mut idle, _) = v1(program.addr).await;
    let (mut streaming, _) = v1(program.addr).await;
    streaming.say(START).await;
    streaming.read_until("binary").await;
    program.signal("TERM");
    let frames = idle.read_until("close").await;
    assert_eq!(messages(&frames), [json!({"type": "go_away", "timeLeftMs": 0, "reason": "shutdown"})]);
    assert_eq!(frames.last(), Some(&Frame::Close(Some((1001, "The server is going away".to_owned())))));
    let frames = streaming.read_until("go_away").await;
    assert_eq!(messages(&frames).last().unwrap()["timeLeftMs"], 30_000);
    let (status, page) = ask(admin, "GET", "/readyz").await;
    assert_eq!((status, page.as_str()), (503, "not ready: the server is going away\n"));
    assert_eq!(ask(admin, "GET", "/healthz").await.0, 200, "it lives");
    for _ in 0..2 {
        let mut late = raw(program.addr).await;
        late.send_bytes(&opening_with(program.addr, PATH, V1)).await;
        let (head, _) = late.read_answer().await;
        assert_eq!((head.status, head.header("retry-after").as_deref()), (503, Some("5")));
    }
    // A new and silent connection does not delay the end.
    let _silent = raw(program.addr).await;
    let frames = streaming.read_until("close").await;
    assert_eq!(messages(&frames).last().unwrap()["reason"], "completed");
    assert_eq!(frames.last().unwrap().kind(), "close");
    streaming.send_bytes(&close(1001, "")).await;
    idle.send_bytes(&close(1001, "")).await;
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopping; a second signal ends at once"), "{log}");
    assert_eq!(log.matches("session ended").count(), 2, "the last lines are not lost: {log}");
}

#[tokio::test]
async fn drain_timeout_closes_a_stream_and_a_second_signal_ends_at_once() {
    let program = Program::start(&["--tone-seconds=1000000", "--drain-timeout=200ms"]);
    let (mut client, _) = v1(program.addr).await;
    client.say(r#"{"type":"start_session","prompt":"One.","delivery":{"mode":"paced"}}"#).await;
    client.read_until("binary").await;
    program.signal("TERM");
    let frames = client.read_until("close").await;
    let reason = "The server restarts and keeps no session: start another";
    assert_eq!(frames.last(), Some(&Frame::Close(Some((1012, reason.to_owned())))));
    client.send_bytes(&close(1012, "")).await;
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");

    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let program = Program::start(&["--tone-seconds=1000000", "--drain-timeout=1m"]);
        let (mut client, _) = v1(program.addr).await;
        client.say(r#"{"type":"start_session","prompt":"One.","delivery":{"mode":"paced"}}"#).await;
        client.read_until("binary").await;
        program.signal("TERM");
        client.read_until("go_away").await;
        program.signal(second);
        let (ended, log) = program.end();
        assert_eq!(ended, Some(code), "{log}");
    }
}

fn run(args: &[&str]) -> Output {
    aloud(args).output().unwrap()
}

#[test]
fn exit_code_says_the_outcome() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (args, code, expected) in [
        (&["serve", "--admin", &address][..], 1, address.as_str()),
        (&["serve", "--listen", &address], 1, &address),
        (&["serve", "--admin", "nonsense"], 2, "--admin cannot be `nonsense`"),
        (&["serve", "--log-level", "loud"], 2, "--log-level cannot be `loud`"),
        (&["serve", "--drain-timeout", "soon"], 2, "--drain-timeout cannot be `soon`"),
        // The admin listener cannot have the address of the sessions.
        (&["serve", "--listen", "127.0.0.1:0", "--admin", &address], 1, &address),
        (&["--version"], 0, ""),
    ] {
        let output = run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
}

/// Speaks one prompt and ends the session.
async fn speak(addr: SocketAddr, prompt: &str) -> Value {
    let (mut client, greeting) = v1(addr).await;
    client.say(&json!({"type": "start_session", "prompt": prompt}).to_string()).await;
    client.read_until("session_end").await;
    client.say(r#"{"type":"end"}"#).await;
    client.read_until("close").await;
    client.send_bytes(&close(1000, "")).await;
    client.read_to_close().await;
    greeting["sessionId"].clone()
}

#[tokio::test]
async fn log_of_a_session_is_one_line_without_its_text() {
    const PROMPT: &str = "Xylophones are quiet. Zeppelins are not.";
    for (format, with_text) in [("json", false), ("json", true), ("text", false), ("text", true)] {
        let format_option = format!("--log-format={format}");
        let mut args = vec!["--tone-seconds=0.1", "--log-level=trace", &format_option];
        args.extend(with_text.then_some("--log-text"));
        let program = Program::start(&args);
        let id = speak(program.addr, PROMPT).await;
        let mut client = session(program.addr).await;
        client.send_bytes(&close(1000, "a \"reason\"\nwith lines")).await;
        client.read_until("close").await;
        program.line("with lines");
        program.signal("TERM");
        let (code, log) = program.end();
        assert_eq!(code, Some(0));
        assert_eq!(log.contains("Xylophones are quiet."), with_text, "{log}");
        assert_eq!(log.contains("Zeppelins"), with_text, "{log}");
        let ended: Vec<&str> = log.lines().filter(|line| line.contains("session ended")).collect();
        assert_eq!(ended.len(), 2, "{log}");
        if format == "text" {
            for part in [
                &format!("id={}", id.as_str().unwrap()),
                " info: session ended ",
                " client=127.0.0.1 ",
                " by=server code=1000 reason=\"Session ended by client\"",
                " streams=1 chars=39 audio_ms=200 wasted_ms=0",
            ] {
                assert!(ended[0].contains(part), "{part}: {log}");
            }
            assert!(ended[1].contains(" reason=\"a \\\"reason\\\"\\nwith lines\""), "{log}");
            continue;
        }
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["time"].is_string() && line["level"].is_string()), "{log}");
        let ended = lines.iter().find(|line| line["id"] == id && line["message"] == "session ended").unwrap();
        assert_eq!((&ended["level"], &ended["target"]), (&json!("info"), &json!("aloud::session")));
        assert_eq!(ended["client"], "127.0.0.1");
        assert_eq!(
            (&ended["by"], &ended["code"], &ended["streams"]),
            (&json!("server"), &json!(1000), &json!(1))
        );
        assert_eq!(
            (&ended["audio_ms"], &ended["chars"], &ended["wasted_ms"]),
            (&json!(200), &json!(39), &json!(0))
        );
        assert!(ended["duration_ms"].is_u64());
        let sentences = lines.iter().filter(|line| line["message"] == "sentence" && line["id"] == id).count();
        assert_eq!(sentences, if with_text { 2 } else { 0 });
    }
}

/// A refused client leaves a log line with the reason, and is counted.
#[tokio::test]
async fn log_of_a_refusal_is_one_line() {
    let program = Program::start(&["--log-level=debug", "--admin=127.0.0.1:0"]);
    let admin = program.admin();
    let good = String::from_utf8(opening(program.addr, PATH)).unwrap();
    let with = |lines: &str| good.replace("Host:", &format!("{lines}\r\nHost:"));
    let key = good.lines().find(|line| line.starts_with("Sec-WebSocket-Key")).unwrap();
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut refusals = 0;
    for (request, status, expected) in [
        ("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404, "404 Not Found: "),
        (
            good.replace("GET", "POST"),
            405,
            "405 Method Not Allowed: The method is not allowed here; use GET.",
        ),
        (format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 426, "426 Upgrade Required: "),
        (good.replace("Version: 13", "Version: 8"), 426, "426 Upgrade Required: "),
        (good.replace(key, "X: y"), 400, "400 Bad Request: "),
        (with("Origin: https://evil.example"), 403, "403 Forbidden: Pages of this origin may not"),
        (with("X: a\0b"), 400, "400: invalid HTTP header"),
        ("\x16\x03\x01\x02\0\x01".to_owned(), 400, "400: invalid HTTP"),
        (with(many.trim_end()), 431, "431: "),
        (good.replace(PATH, &format!("{PATH}?{}", "y".repeat(100_000))), 414, "414: URI too long"),
    ] {
        let mut client = raw(program.addr).await;
        client.send_bytes(request.as_bytes()).await;
        assert_eq!(client.read_head().await.status, status, "{expected}");
        let line = program.line(expected);
        assert!(line.contains(&format!("Z debug: refused 127.0.0.1: {expected}")), "{line}");
        // The next refusal has to be a line of its own.
        program.seen.lock().unwrap().clear();
        refusals += 1;
    }
    let (_, page) = ask(admin, "GET", "/metrics").await;
    let counted = page.lines().filter(|line| line.starts_with("aloud_handshakes_total{status=\"4"));
    let counted: f64 = counted.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(counted, f64::from(refusals), "{page}");
    assert_eq!(value(&page, "aloud_handshakes_total{status=\"414\"}"), 1.0);
}

/// A pipe without a reader loses log lines, which are counted, and no session.
#[tokio::test]
async fn stderr_that_is_full_blocks_no_session() {
    // Far more lines than fit into a pipe and the queue in front of it.
    let args = ["serve", "--listen=127.0.0.1:0", "--engine=tone", "--tone-seconds=0.001", "--log-text"];
    let mut child = aloud(&[&args[..], &["--admin=127.0.0.1:0"]].concat()).spawn().unwrap();
    let addr = announced(&mut child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // The first line may warn of few descriptors.
    while !line.contains("http://") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "ended before it printed its address");
    }
    let admin: SocketAddr = line.trim().rsplit_once("http://").unwrap().1.parse().unwrap();
    let prompt = "This is one of many a sentence. ".repeat(600);
    for _ in 0..6 {
        within(speak(addr, &prompt)).await;
    }
    let (_, page) = ask(admin, "GET", "/metrics").await;
    let dropped = value(&page, "aloud_log_lines_dropped_total");
    assert!(dropped > 0.0, "{page}");
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    // The test reads at last.
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(log.contains("log lines were dropped because standard error was not read"), "{}", log.len());
    assert!(log.lines().all(|line| line.contains("Z info: ") || line.contains("Z warn: ")));
}

#[tokio::test]
async fn metrics_are_read_by_prometheus_own_parser() {
    let Some(python) = std::env::var_os("ALOUD_TEST_PROMETHEUS") else {
        return support::skip("metrics_are_read_by_prometheus_own_parser", "ALOUD_TEST_PROMETHEUS");
    };
    let program = Program::start(&["--tone-seconds=0.1", "--admin=127.0.0.1:0"]);
    speak(program.addr, "One. Two.").await;
    let (_, page) = ask(program.admin(), "GET", "/metrics").await;
    let mut parser = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The guide names each metric.
    let guide = include_str!("../../src/guide/operation.md");
    for family in String::from_utf8(output.stdout).unwrap().lines() {
        assert!(guide.contains(&format!("`{family}")), "{family} is not in the guide");
    }
}

/// The files of the guide for Prometheus and Grafana, and names of metrics in them.
const MONITORING: [(&str, &str); 2] = [
    ("alerts.yml", include_str!("../../src/guide/operation/alerts.yml")),
    ("dashboard.json", include_str!("../../src/guide/operation/dashboard.json")),
];

#[tokio::test]
async fn alerts_and_dashboard_use_metrics_and_labels_that_exist() {
    let program = Program::start(&["--tone-seconds=0.1", "--admin=127.0.0.1:0"]);
    let (_, page) = ask(program.admin(), "GET", "/metrics").await;
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let has = |name: &str, label: &str| {
        samples.iter().any(|sample| {
            let rest = sample.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| label.is_empty() || rest.contains(&format!("{label}=\"")))
        })
    };
    for (file, text) in MONITORING {
        let text = text.replace("\\\"", "\"");
        let mut count = 0;
        for (at, _) in text.match_indices("aloud_") {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap();
            let name = &rest[..end];
            assert!(has(name, ""), "{file}: there is no {name}");
            // Labels in braces behind the name; `instance` is from Prometheus.
            if let Some(selector) = rest[end..].strip_prefix('{') {
                for matcher in selector[..selector.find('}').unwrap()].split(", ") {
                    let (label, value) = matcher.split_once(['=', '!']).unwrap();
                    assert!(label == "instance" || has(name, label), "{file}: {name} has no {label}");
                    for value in
                        value.trim_matches(['~', '=', '"']).split('|').filter(|_| label != "instance")
                    {
                        assert!(page.contains(&format!("{label}=\"{value}\"")), "{file}: {label} {value}");
                    }
                }
            }
            // Labels by which it is summed, before the name.
            let line = text[..at].rsplit('\n').next().unwrap();
            let by = line.rsplit_once("sum by (").map_or("", |(_, by)| by.split(')').next().unwrap());
            for label in by.split(", ").filter(|label| !["", "instance"].contains(label)) {
                assert!(has(name, label), "{file}: {name} has no {label}");
            }
            count += 1;
        }
        assert!(count >= 5, "{file}: {count} metrics");
    }
    let _: Value = serde_json::from_str(MONITORING[1].1).unwrap();
}

#[test]
fn promtool_accepts_the_alerts_and_the_expressions_of_the_dashboard() {
    const NAME: &str = "promtool_accepts_the_alerts_and_the_expressions_of_the_dashboard";
    let tool = "promtool";
    if Command::new(tool).arg("--version").output().is_err() {
        return support::skip(NAME, "promtool");
    }
    // The expressions of the dashboard become rules, with what Grafana fills in.
    let dashboard: Value = serde_json::from_str(MONITORING[1].1).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<Value> = targets
        .enumerate()
        .map(|(at, target)| {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr.replace("$__rate_interval", "5m").replace("$instance", ".*");
            json!({"record": format!("panel:{at}"), "expr": expr})
        })
        .collect();
    assert!(rules.len() > 10, "{}", rules.len());
    let folder = Folder::new("promtool");
    let (alerts, panels) = (folder.file("alerts.yml"), folder.file("panels.yml"));
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(&alerts, MONITORING[0].1).unwrap();
    std::fs::write(&panels, groups.to_string()).unwrap();
    let checked =
        Command::new(tool).args(["check", "rules", "--lint-fatal", &alerts, &panels]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn units_are_in_the_guide_and_are_not_exposed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/operation");
    let guide = include_str!("../../src/guide/operation.md");
    for unit in ["aloud.service", "aloud.socket"] {
        let text = std::fs::read_to_string(format!("{folder}/{unit}")).unwrap();
        assert!(guide.contains(&format!("```ini\n{text}```\n")), "{unit} is not in the guide as it is");
    }
    let unit = format!("{folder}/aloud.service");
    // At most 2.9 of 10; the threshold is in tenths.
    let check = ["security", "--offline=true", "--no-pager", "--threshold=29", &unit];
    let Ok(output) = Command::new("systemd-analyze").args(check).output() else {
        return support::skip("units_are_in_the_guide_and_are_not_exposed", "systemd-analyze");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn health_check_of_the_container_tells_ready_from_gone() {
    let program = Program::start(&["--admin=127.0.0.1:0"]);
    let port = program.admin().port().to_string();
    let command: Vec<String> = health_check().iter().map(|word| word.replace("9090", &port)).collect();
    let run = || Command::new(&command[0]).args(&command[1..]).output().unwrap().status.success();
    assert!(run());
    program.signal("TERM");
    program.end();
    assert!(!run());
}

#[tokio::test]
async fn refused_origin_is_logged_once_with_its_cure() {
    let program = Program::start(&[]);
    for origin in ["https://app.example", "https://app.example", "http://other.example:3000", "nonsense"] {
        let mut client = raw(program.addr).await;
        client.send_bytes(&opening_with(program.addr, PATH, &format!("Origin: {origin}\r\n"))).await;
        assert_eq!(client.read_head().await.status, 403);
    }
    program.line("http://other.example:3000");
    program.signal("TERM");
    let (_, log) = program.end();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("may not connect")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("info: pages of https://app.example may not connect"), "{log}");
    assert!(lines[0].contains("start the server with --allow-origin https://app.example "), "{log}");
}

#[test]
fn json_log_has_no_bare_line_when_the_server_cannot_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("--listen=127.0.0.1:{port}");
    for (args, code) in [([address.as_str(), "--no-warm-up"], 1), (["--listen=0.0.0.0:0", "--no-warm-up"], 2)]
    {
        let output =
            aloud(&[&["serve", "--engine=tone", "--log-format=json"], &args[..]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let log = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!(lines.last().unwrap()["level"], "error", "{log}");
    }
}

/// The next server serves a connection that waits on an activated socket.
#[tokio::test]
async fn socket_activation_refuses_no_client_during_a_restart() {
    if Command::new("python3").arg("--version").output().is_err() {
        return support::skip("socket_activation_refuses_no_client_during_a_restart", "python3");
    }
    let mut systemd = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/activate.py"))
        .args([
            env!("CARGO_BIN_EXE_aloud"),
            "serve",
            "--engine=tone",
            "--tone-seconds=0.1",
            "--listen=127.0.0.1:1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = systemd.stdin.take().unwrap();
    let mut stdout = BufReader::new(systemd.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdout.read_line(&mut line).unwrap() > 0 {
            sender.send(std::mem::take(&mut line)).unwrap();
        }
    });
    let next = |part: &str| loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {part}"));
        if line.contains(part) {
            return line.trim().to_owned();
        }
    };
    let ports = next("ports ");
    let mut ports =
        ports.split(' ').skip(1).map(|port| SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())));
    let (addr, admin) = (ports.next().unwrap(), ports.next().unwrap());
    next("READY=1");
    speak(addr, "One.").await;
    assert_eq!(ask(admin, "GET", "/readyz").await.0, 200);

    let (mut streaming, _) = v1(addr).await;
    streaming.say(r#"{"type":"pause"}"#).await;
    streaming.say(START).await;
    streaming.read_until("stream_start").await;
    stdin.write_all(b"\n").unwrap();
    streaming.read_until("go_away").await;
    // No process accepts it while the first server drains.
    let mut waiting = raw(addr).await;
    waiting.send_bytes(&opening(addr, PATH)).await;
    streaming.say(r#"{"type":"resume"}"#).await;
    streaming.read_until("close").await;
    streaming.send_bytes(&close(1001, "")).await;
    next("ended 0");
    next("READY=1");
    assert_eq!(waiting.read_head().await.status, 101);
    assert_eq!(waiting.read_frame().await.kind(), "session_start");
    drop(waiting);
    speak(addr, "One.").await;
    stdin.write_all(b"\n").unwrap();
    next("ended 0");
    systemd.wait().unwrap();
}
