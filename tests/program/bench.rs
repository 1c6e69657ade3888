//! `aloud bench` from the outside: its reports on servers that are good, bad and missing. Speed is the
//! subject of the benches.

use aloud::ws::handshake;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Version};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn bench(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.arg("bench").args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    bench(args).output().unwrap()
}

/// Runs bench. Returns the line of JSON at its end, and its exit code.
fn measured(args: &[&str]) -> (Value, i32) {
    figures(&run(&[args, &["--json"]].concat()))
}

fn figures(output: &Output) -> (Value, i32) {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout:?} {:?}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no progress without a terminal");
    (serde_json::from_str(&stdout).unwrap(), output.status.code().unwrap())
}

/// A server in a process of its own, killed when dropped.
struct Serving(Child, String);

impl Serving {
    fn start(args: &[&str]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        command.args(["serve", "--listen=127.0.0.1:0", "--no-warm-up", "--threads=1"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = format!("ws://{}", line.trim().strip_prefix("listening on http://").unwrap());
        Serving(child, url)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that the test plays: after the handshake, `play` gets each connection in its own thread.
fn played(play: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming() {
            let play = play.clone();
            thread::spawn(move || {
                let mut socket = socket?;
                socket.set_nodelay(true)?;
                // A failed bench ends the test, so errors here are ignored.
                socket.set_read_timeout(Some(Duration::from_secs(30)))?;
                accept(&mut socket)?;
                play(socket)
            });
        }
    });
    url
}

fn accept(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut headers = HeaderMap::new();
    let mut byte = [0];
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(char::from(byte[0]));
    }
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    let accepted = handshake::accept(&Method::GET, Version::HTTP_11, &headers, &[]).unwrap();
    let mut answer = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
    for (name, value) in accepted.response().headers() {
        answer += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    socket.write_all((answer + "\r\n").as_bytes())
}

/// The next frame of a client: opcode and payload.
fn read(socket: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    assert_eq!((head[0] & 0xf0, head[1] & 0x80), (0x80, 0x80), "whole and masked");
    let len = match head[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            socket.read_exact(&mut len)?;
            u16::from_be_bytes(len).into()
        }
        len => usize::from(len),
    };
    let mut bytes = vec![0; 4 + len];
    socket.read_exact(&mut bytes)?;
    let (mask, payload) = bytes.split_at(4);
    Ok((head[0] & 0x0f, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
}

/// An unmasked frame of up to 65,535 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    let mut frame = match len {
        0..=125 => vec![first, len as u8],
        _ => [&[first, 126][..], &len.to_be_bytes()].concat(),
    };
    frame.extend(payload);
    frame
}

fn text(json: &Value) -> Vec<u8> {
    frame(0x81, json.to_string().as_bytes())
}

fn greeting() -> Vec<u8> {
    text(&json!({"type": "session_start", "sessionId": "8a6e0804-2bd0-4672-b79d-d97027f9071a"}))
}

#[test]
fn burst_measures_its_own_server() {
    let (figures, code) =
        measured(&["--connections=3", "--seconds=0.3", "--tone-seconds=0.5", "--prompt=One. Two."]);
    assert_eq!((code, &figures["errors"]), (0, &json!({})), "{figures}");
    assert_eq!((&figures["mode"], &figures["connections_open"]), (&json!("burst"), &json!(3)));
    let [frames, mb] = ["frames_per_s", "mb_per_s"].map(|name| figures[name].as_f64().unwrap());
    assert!(frames > 0.0 && (mb * 1e6 / frames - 960.0).abs() < 1.0, "{figures}");
    // Streams are short, so that several follow each other.
    assert!(figures["streams"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["first_audio_us"]["count"].as_u64().unwrap() > 3, "{figures}");
    assert!(figures["late_us"].is_null() && figures["wasted_ms_per_listener"].is_null(), "{figures}");
    let shares = &figures["frames_of_connection"];
    assert!(shares["min"].as_u64() <= shares["max"].as_u64(), "{figures}");
    assert!(figures["bench_was_full"].is_boolean());
    #[cfg(target_os = "linux")]
    for name in ["server_cpu_us_per_frame", "server_rss_bytes_per_connection", "bench_cpu_cores"] {
        assert!(figures[name].is_number(), "{name} in {figures}");
    }
}

#[test]
fn paced_measures_another_server_against_the_clock() {
    let server =
        Serving::start(&["--engine=tone", "--tone-seconds=60", "--frame-ms=20", "--sample-rate=8000"]);
    let pid = server.0.id().to_string();
    let (figures, code) = measured(&[
        "--mode=paced",
        "--connections=2",
        "--seconds=1",
        "--ahead-ms=100",
        "--url",
        &server.1,
        "--server-pid",
        &pid,
    ]);
    assert_eq!((code, &figures["errors"]), (0, &json!({})), "{figures}");
    // Not much more than two clients hear in a second: 50 frames each.
    let frames = figures["frames_per_s"].as_f64().unwrap();
    assert!(frames > 0.0 && frames < 200.0, "{figures}");
    assert_eq!(figures["first_audio_us"]["count"], 2);
    assert!(figures["late_us"]["count"].as_u64().unwrap() > 0, "the server announced the format: {figures}");
    assert!(figures["gap_us"]["count"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["wasted_ms_per_listener"].is_number(), "{figures}");
    assert_eq!(figures["server_cpu_us_per_connection_s"].is_number(), cfg!(target_os = "linux"));
}

#[test]
fn handshakes_are_counted() {
    let (figures, code) = measured(&["--mode=handshake", "--connections=2", "--seconds=0.3"]);
    assert_eq!((code, &figures["errors"]), (0, &json!({})), "{figures}");
    assert!(figures["handshakes_per_s"].as_f64().unwrap() > 0.0, "{figures}");
    assert!(figures["handshake_us"]["p50"].as_u64() <= figures["handshake_us"]["max"].as_u64());
    assert_eq!(figures["frames_per_s"], 0.0);
    assert_eq!(figures["server_cpu_us_per_handshake"].is_number(), cfg!(target_os = "linux"));
}

#[test]
fn idle_measures_the_size_of_a_connection() {
    let (figures, code) = measured(&["--mode=idle", "--connections=50", "--seconds=0.1"]);
    assert_eq!((code, &figures["connections_open"]), (0, &json!(50)), "{figures}");
    assert_eq!(figures["server_rss_bytes_per_connection"].is_number(), cfg!(target_os = "linux"));
    assert_eq!((&figures["errors"], &figures["frames_per_s"]), (&json!({}), &json!(0.0)));
}

#[test]
fn table_is_for_a_person() {
    let output = run(&["--connections=1", "--seconds=0.1", "--engine=flite", "--prompt=Good evening."]);
    let table = String::from_utf8(output.stdout).unwrap();
    for line in ["its own, flite", "burst, 1 connection, ", "frames   ", " MB/s", "first audio ", "none\n"] {
        assert!(table.contains(line), "{line:?} is not in\n{table}");
    }
    assert!(output.status.success());
}

/// A minimal server of five messages. It checks the answer to its Ping, splits its frames at awkward
/// places, and serves stream after stream.
#[test]
fn bench_measures_any_server_of_the_base_protocol() {
    let url = played(|mut socket| {
        socket.write_all(&[greeting(), frame(0x89, b"here?")].concat())?;
        let (mut pings, mut streams) = (0, 0);
        loop {
            match read(&mut socket)? {
                (10, payload) => {
                    assert_eq!(payload, if pings == 0 { &b"here?"[..] } else { b"" });
                    pings += 1;
                    continue;
                }
                (8, payload) => return socket.write_all(&frame(0x88, &payload)),
                (_, payload) if payload == br#"{"type":"end"}"# => {
                    assert!(pings >= streams, "all but the last were answered for sure");
                    let close = frame(0x88, &1000u16.to_be_bytes());
                    socket.write_all(&[text(&json!({"type": "session_end"})), close].concat())?;
                    continue;
                }
                (_, payload) => {
                    let asked: Value = serde_json::from_slice(&payload).unwrap();
                    assert_eq!(asked, json!({"type": "start_session", "prompt": "Hum."}));
                }
            }
            streams += 1;
            let stream = [
                text(&json!({"type": "text", "data": "Hum.", "index": 0})),
                // In two fragments, with a Ping between them.
                frame(0x02, &[1; 700]),
                frame(0x89, b""),
                frame(0x80, &[2; 260]),
                frame(0x82, &[3; 40]),
                text(&json!({"type": "sentence_end", "index": 0})),
                text(&json!({"type": "session_end"})),
            ]
            .concat();
            let (first, second) = stream.split_at(stream.len() / 2);
            socket.write_all(first)?;
            socket.write_all(second)?;
        }
    });
    let args = ["--url", &url, "--prompt=Hum.", "--seconds=0.3", "--connections=2"];
    let (figures, code) = measured(&args);
    assert_eq!((code, &figures["errors"]), (0, &json!({})), "{figures}");
    let streams = figures["streams"].as_f64().unwrap() / figures["seconds"].as_f64().unwrap();
    let frames = figures["frames_per_s"].as_f64().unwrap();
    assert!(
        streams > 0.0 && (frames / streams - 2.0).abs() < 0.5,
        "each stream has two audio frames: {figures}"
    );
    assert!(figures["server_rss_bytes_per_connection"].is_null(), "the process is unknown");
    let (figures, code) = measured(&["--url", &url, "--mode=handshake", "--seconds=0.1", "--connections=1"]);
    assert_eq!((code, &figures["errors"]), (0, &json!({})), "{figures}");
    assert!(figures["handshakes_per_s"].as_f64().unwrap() > 0.0, "{figures}");
}

#[test]
fn server_that_breaks_the_protocol_is_reported() {
    let sentence = || text(&json!({"type": "text", "data": "Hum.", "index": 0}));
    let table: [(&str, Vec<u8>); 10] = [
        ("WebSocket protocol broken: A server must not mask its frames.", vec![0x82, 0x81, 1, 2, 3, 4, 5]),
        ("WebSocket protocol broken: A reserved bit is set, but no extension was agreed on.", vec![0xc2, 0]),
        ("WebSocket protocol broken: The opcode is reserved.", vec![0x83, 0]),
        ("WebSocket protocol broken: A length must be in its shortest form.", vec![0x82, 126, 0, 1, 0]),
        ("WebSocket protocol broken: text that is not UTF-8", frame(0x81, b"\xff")),
        ("audio outside of a sentence", frame(0x82, &[0; 4])),
        ("text out of order", text(&json!({"type": "text", "data": "Hum.", "index": 1}))),
        (
            "sentence_end out of order",
            [sentence(), text(&json!({"type": "sentence_end", "index": 3}))].concat(),
        ),
        ("closed by the server: 1011", frame(0x88, &1011u16.to_be_bytes())),
        ("connection ended without a Close", Vec::new()),
    ];
    for (kind, bytes) in table {
        let url = played(move |mut socket| {
            socket.write_all(&greeting())?;
            read(&mut socket)?;
            socket.write_all(&bytes)?;
            socket.shutdown(std::net::Shutdown::Write)?;
            // Reads the rest: an unread byte would become a reset.
            socket.read_to_end(&mut Vec::new()).map(|_| ())
        });
        let (figures, code) = measured(&["--url", &url, "--connections=2", "--seconds=0.1"]);
        assert_eq!(figures["errors"], json!({kind: 2}));
        assert_eq!(code, 1, "{kind}");
    }
}

#[test]
fn server_that_is_missing_is_reported_in_a_sentence() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Serving::start(&["--engine=tone"]);
    let silent = played(|mut socket| {
        socket.write_all(&text(&json!({"type": "session_end"})))?;
        socket.read_to_end(&mut Vec::new()).map(|_| ())
    });
    let table = [
        (format!("ws://{free}/x"), "/x: connection refused"),
        (format!("{}/nowhere", server.1), "handshake failed with status 404"),
        ("ws://name.invalid".to_owned(), "cannot resolve the host"),
        (silent, "session_start is not the first message"),
    ];
    for (url, expected) in table {
        let output = run(&["--url", &url, "--connections=1000"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&format!("aloud: {url}")) && stderr.contains(expected), "{stderr}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    }
    let output = run(&["--url=ws://127.0.0.1:1", "--server-pid=2147483647"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--server-pid 2147483647: cannot read this process"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn descriptor_limit_is_reported_before_the_start() {
    let program = env!("CARGO_BIN_EXE_aloud");
    let script = format!("ulimit -n 200; exec {program} bench --connections 1000");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("needs 1064 file descriptors, and a process may have 200"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn interrupt_ends_with_the_figures_so_far() {
    let (asked, is_asked) = mpsc::channel();
    let url = played(move |mut socket| {
        socket.write_all(&greeting())?;
        read(&mut socket)?;
        asked.send(()).unwrap();
        assert_eq!(read(&mut socket)?, (1, br#"{"type":"end"}"#.to_vec()));
        let end = [text(&json!({"type": "session_end"})), frame(0x88, &1000u16.to_be_bytes())].concat();
        socket.write_all(&end)?;
        socket.read_to_end(&mut Vec::new()).map(|_| ())
    });
    let mut command = bench(&["--url", &url, "--connections=1", "--seconds=3600", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_asked.recv_timeout(Duration::from_secs(30)).unwrap();
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let (figures, code) = figures(&child.wait_with_output().unwrap());
    assert_eq!((code, &figures["interrupted"], &figures["errors"]), (0, &json!(true), &json!({})));
    assert!(figures["seconds"].as_f64().unwrap() < 3600.0);
}
