//! `aloud say` against a server whose messages the test writes, and the lengths of the files that it leaves.

use super::cli::{Folder, Serving, aloud, run, text_of};
use aloud::ws::handshake;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Version};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tungstenite::Message;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Role, WebSocket};

/// Deadline for the next message of a client.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to a mock server, after its greeting.
struct Peer(WebSocket<TcpStream>);

impl Peer {
    /// Accepts a connection, and greets its client as session number `number`.
    fn accept(listener: &TcpListener, number: u32) -> Peer {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut headers = HeaderMap::new();
        let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().skip(1);
        while let Some(line) = lines.next().map(Result::unwrap).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let accepted = handshake::accept(&Method::GET, Version::HTTP_11, &headers, &["aloud.v1"]).unwrap();
        let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
        for (name, value) in accepted.response().headers() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut peer = Peer(WebSocket::from_raw_socket(socket, Role::Server, None));
        peer.say(json!({
            "type": "session_start",
            "sessionId": format!("session-{number}"),
            "protocol": "aloud.v1",
            "token": format!("token-{number}"),
            "pingIntervalMs": 30_000,
            "audio": {"encoding": "pcm_s16le", "sampleRate": 16_000, "channels": 1},
            "limits": {},
        }));
        peer
    }

    fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// Waits for the next control message, which has this type.
    fn expect(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(message["type"], kind, "{message}");
                return message;
            }
        }
    }

    fn start(&mut self, stream: u64) {
        self.say(json!({
            "type": "stream_start",
            "stream": stream,
            "rev": 0,
            "audio": {"encoding": "pcm_s16le", "sampleRate": 16_000, "channels": 1},
            "voice": "mock",
            "source": "verbatim",
        }));
    }

    fn text(&mut self, index: u64, offset: u64) {
        self.say(
            json!({"type": "text", "data": format!("Sentence {index}."), "index": index, "offset": offset,
            "startMs": offset / 32}),
        );
    }

    fn audio(&mut self, from: u64, to: u64) {
        self.0.send(Message::binary(sound(from, to))).unwrap();
    }

    fn end(&mut self) {
        self.say(json!({"type": "session_end"}));
        // The client closes, and may do so without waiting.
        while self.0.read().is_ok() {}
    }

    /// Closes with a code, and waits for the answer.
    fn close(&mut self, code: u16, reason: &str) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() })).unwrap();
        while self.0.read().is_ok() {}
    }

    /// Refuses `recover`.
    fn refuse(&mut self, code: &str, close: u16) {
        self.say(json!({"type": "recovered", "recovered": false, "code": code}));
        self.say(json!({"type": "error", "message": code, "code": code, "retryable": false, "fatal": true}));
        self.close(close, code);
    }
}

/// The audio of a stream between two bytes.
fn sound(from: u64, to: u64) -> Vec<u8> {
    (from / 2..to / 2).flat_map(|sample| ((sample % 30_000) as u16 + 1).to_le_bytes()).collect()
}

/// Starts a mock server, which runs `script` with its listener. Returns its URL.
fn mock(script: impl FnOnce(TcpListener) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (url, thread::spawn(move || script(listener)))
}

/// Lets `say` speak with a mock server. Returns its output, and its audio if it wrote any.
fn say_to(name: &str, args: &[&str], script: impl FnOnce(TcpListener) + Send + 'static) -> (Output, Vec<u8>) {
    let folder = Folder::new(name);
    let file = folder.file("said.wav");
    let (url, server) = mock(script);
    let output = run(&[&["say", "One. Two.", "--url", &url, "-o", &file], args].concat());
    assert!(server.join().is_ok(), "{}", text_of(&output));
    let audio = std::fs::read(&file).map_or(Vec::new(), |bytes| samples(&bytes).to_vec());
    (output, audio)
}

/// Checks every length in a WAV file, and returns its samples.
fn samples(bytes: &[u8]) -> &[u8] {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
    assert_eq!(u32_at(4) + 8, bytes.len(), "length of the file");
    let mut at = 12;
    let mut count = None;
    // A chunk of an odd length is followed by a zero byte, which its length does not count.
    loop {
        let (name, length) = (&bytes[at..at + 4], u32_at(at + 4));
        let content = &bytes[at + 8..at + 8 + length];
        at += 8 + length;
        if length % 2 == 1 {
            assert_eq!(bytes[at], 0);
            at += 1;
        }
        match name {
            b"fact" => count = Some(u32::from_le_bytes(content.try_into().unwrap()) as usize),
            b"data" => {
                assert_eq!(at, bytes.len());
                assert!(count.is_none_or(|count| count == content.len()), "{count:?} samples");
                return content;
            }
            _ => {}
        }
    }
}

#[test]
fn say_writes_right_lengths_for_every_encoding_and_length() {
    let folder = Folder::new("lengths");
    let file = folder.file("tone.wav");
    for (encoding, bytes) in [("pcm_s16le", 2), ("mulaw", 1), ("alaw", 1)] {
        for (seconds, count) in [("0.1", 800), ("0.100125", 801), ("0.10025", 802)] {
            let tone =
                ["say", "One.", "--engine", "tone", "--tone-seconds", seconds, "--sample-rate", "8000"];
            let said = run(&[&tone[..], &["--encoding", encoding, "-o", &file]].concat());
            assert!(said.status.success(), "{}", text_of(&said));
            let bytes = count * bytes;
            assert_eq!(samples(&std::fs::read(&file).unwrap()).len(), bytes, "{encoding}, {seconds} s");
        }
    }
}

#[test]
fn say_pads_no_pipe() {
    let tone = ["say", "One.", "--engine", "tone", "--tone-seconds", "0.100125", "--sample-rate", "8000"];
    let said = run(&[&tone[..], &["--encoding", "mulaw", "-o", "-"]].concat());
    assert!(said.status.success(), "{}", text_of(&said));
    let data = said.stdout.windows(4).position(|window| window == b"data").unwrap();
    // The length is unknown, and so a reader would play a byte of padding.
    assert_eq!(said.stdout[data + 4..data + 8], [0xff; 4]);
    assert_eq!(said.stdout.len(), data + 8 + 801);
    // A device is written like a pipe.
    let said = run(&[&tone[..], &["--encoding", "mulaw", "-o", "/dev/null"]].concat());
    assert!(said.status.success(), "{}", text_of(&said));
}

#[test]
fn say_interrupted_leaves_right_lengths() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for encoding in ["pcm_s16le", "mulaw"] {
            let folder = Folder::new(&format!("interrupted-{signal}-{encoding}"));
            let file = folder.file("part.wav");
            let text = "One. ".repeat(100);
            let mut child =
                aloud(&["say", &text, "--engine", "tone", "--tone-seconds", "1.000125", "--paced"])
                    .args(["--sample-rate", "8000", "--encoding", encoding, "-o", &file])
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            // The first sentence was written when the second one is announced.
            for _ in 0..2 {
                assert_eq!(lines.next().unwrap().unwrap(), "One.");
            }
            let kill = format!("kill -{signal} {}", child.id());
            assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            assert_eq!(child.wait().unwrap().code(), Some(code));
            let bytes = std::fs::read(&file).unwrap();
            let count = samples(&bytes).len() / if encoding == "mulaw" { 1 } else { 2 };
            assert!((8_001..16_002).contains(&count), "{count} samples");
        }
    }
}

#[test]
fn say_leaves_right_lengths_when_it_fails() {
    let (output, audio) = say_to("failed", &[], |listener| {
        let mut peer = Peer::accept(&listener, 1);
        peer.expect("start_session");
        peer.start(1);
        peer.text(0, 0);
        peer.audio(0, 6_400);
        peer.close(4413, "The session has spoken as many characters as allowed");
    });
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("4413"), "{}", text_of(&output));
    assert!(audio == sound(0, 6_400), "{} bytes", audio.len());
}
