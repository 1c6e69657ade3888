//! `aloud say` against a server whose messages the test writes, and the lengths of the files that it leaves.

use super::cli::{Folder, Serving, aloud, run, text_of};
use crate::support::skip;
use aloud::ws::handshake;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Version};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
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
        peer.say(&json!({
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

    fn say(&mut self, message: &Value) {
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
        self.say(&json!({
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
            &json!({"type": "text", "data": format!("Sentence {index}."), "index": index, "offset": offset,
            "startMs": offset / 32}),
        );
    }

    fn audio(&mut self, from: u64, to: u64) {
        self.0.send(Message::binary(sound(from, to))).unwrap();
    }

    fn end(&mut self) {
        self.say(&json!({"type": "session_end"}));
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
        self.say(&json!({"type": "recovered", "recovered": false, "code": code}));
        self.say(&json!({"type": "error", "message": code, "code": code, "retryable": false, "fatal": true}));
        self.close(close, code);
    }
}

/// The audio of a stream between two bytes, in one take.
fn sound(from: u64, to: u64) -> Vec<u8> {
    (from / 2..to / 2).flat_map(|sample| ((sample % 30_000) as u16 + 1).to_le_bytes()).collect()
}

/// The same in another take.
fn other_sound(from: u64, to: u64) -> Vec<u8> {
    sound(from, to).into_iter().map(|byte| !byte).collect()
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
fn say_writes_samples_and_mp3_without_a_header() {
    let folder = Folder::new("forms");
    let tone = ["say", "One.", "--engine", "tone", "--tone-seconds", "0.5", "--sample-rate", "16000"];
    let raw = folder.file("one.raw");
    let said = run(&[&tone[..], &["--format", "raw", "-o", &raw]].concat());
    assert!(said.status.success(), "{}", text_of(&said));
    let wav = folder.file("one.wav");
    assert!(run(&[&tone[..], &["-o", &wav]].concat()).status.success());
    assert!(std::fs::read(&raw).unwrap() == samples(&std::fs::read(&wav).unwrap()));
    // A name that ends in .mp3 says so, too; both are frames from the first byte on (a sync word, layer III).
    let mp3 = folder.file("one.mp3");
    for args in [&["-o", &mp3][..], &["-o", &wav, "--format", "mp3"]] {
        let said = run(&[&tone[..], args].concat());
        assert!(said.status.success(), "{}", text_of(&said));
        let bytes = std::fs::read(args[1]).unwrap();
        assert_eq!((bytes[0], bytes[1] & 0xe6), (0xff, 0xe2), "{args:?}");
        assert!(bytes.len() > 1_000, "{}", bytes.len());
    }
}

#[test]
fn output_that_is_not_read_to_its_end_is_no_failure() {
    let text = "It is a long way. ".repeat(200);
    let commands = [
        &["help", "options"][..],
        &["completions", "bash"],
        &["man"],
        &["say", &text, "--engine", "tone", "-o", "-"],
    ];
    for args in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = aloud(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text_of(&output));
        let errors = text_of(&output);
        assert!(!errors.contains("aloud:"), "{args:?}: {errors}");
    }
}

/// Answers a handshake with this status, these headers and this body.
fn refuse_handshake(listener: &TcpListener, head: &str, body: &str) {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let length = body.len();
    write!(socket, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
}

#[test]
fn say_shows_the_sentence_of_a_server_that_refuses() {
    let plain = "Content-Type: text/plain; charset=utf-8";
    let long = "x".repeat(5_000);
    let long_shown = format!("502 Bad Gateway: {}\n", "x".repeat(500));
    let cases = [
        ("403 Forbidden", plain, "No pages here.\nMore.", "403 Forbidden: No pages here.\n"),
        ("503 Service Unavailable", plain, "Full.\x1b[2J Wait.", "503 Service Unavailable: Full.[2J Wait.\n"),
        // An hour is too long to wait.
        ("503 Service Unavailable", "Content-Type: text/plain\r\nRetry-After: 3600", "Full.", ": Full.\n"),
        // A page of a proxy is no sentence, and a long one is cut.
        (
            "502 Bad Gateway",
            "Content-Type: text/html",
            "<h1>Bad</h1>",
            "502 Bad Gateway: the server opened no",
        ),
        ("502 Bad Gateway", plain, &long, &long_shown),
        ("401 Unauthorized", plain, "", "401 Unauthorized: the server opened no"),
    ];
    for (status, headers, body, shown) in cases {
        let head = format!("{status}\r\n{headers}");
        let body = body.to_owned();
        let (output, audio) =
            say_to("refused", &[], move |listener| refuse_handshake(&listener, &head, &body));
        assert_eq!((output.status.code(), audio.len()), (Some(1), 0), "{}", text_of(&output));
        assert!(text_of(&output).contains(shown), "{}", text_of(&output));
    }
}

#[test]
fn say_tries_again_when_the_server_says_so() {
    let (output, audio) = say_to("again", &["--voice", "heart", "--language", "en-GB"], |listener| {
        let head = "503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 0";
        refuse_handshake(&listener, head, "Full. Retry.");
        let mut peer = Peer::accept(&listener, 1);
        let asked = peer.expect("start_session");
        assert_eq!((&asked["voice"], &asked["language"]), (&json!("heart"), &json!("en-GB")));
        peer.start(1);
        peer.text(0, 0);
        peer.audio(0, 6_400);
        peer.end();
    });
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(audio == sound(0, 6_400), "{} bytes", audio.len());
    assert!(text_of(&output).contains("Full. Retry.; trying again in 1 s"), "{}", text_of(&output));
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

/// The first connection of a stream: sentence 0 of 6,400 bytes, and as many bytes of sentence 1.
fn first_part(listener: &TcpListener) -> Peer {
    let mut peer = Peer::accept(listener, 1);
    assert_eq!(peer.expect("start_session")["from"], Value::Null);
    peer.start(1);
    peer.text(0, 0);
    peer.audio(0, 6_400);
    peer.text(1, 6_400);
    peer.audio(6_400, 12_800);
    peer
}

/// CRC-32 of bytes, as on the wire.
fn crc32(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

fn recovered(offset: u64, exact: bool) -> Value {
    json!({"type": "recovered", "recovered": true, "stream": 1, "rev": 0, "offset": offset, "index": 1, "paused": false,
        "textOffset": 9, "exact": exact})
}

#[test]
fn say_recovers_with_stream_rev_and_crc() {
    let (output, audio) = say_to("recover", &[], |listener| {
        drop(first_part(&listener));
        let mut peer = Peer::accept(&listener, 2);
        let asked = peer.expect("recover");
        let wanted = json!({"type": "recover", "sessionId": "session-1", "token": "token-1", "offset": 12_800,
            "stream": 1, "rev": 0, "crc32": crc32(&sound(6_400, 12_800)), "inexact": true});
        assert_eq!(asked, wanted);
        peer.say(&recovered(12_800, true));
        peer.audio(12_800, 19_200);
        peer.end();
    });
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(audio == sound(0, 19_200), "{} bytes", audio.len());
    assert_eq!(text_of(&output).matches("session resumed").count(), 1, "{}", text_of(&output));
}

#[test]
fn say_retries_a_lost_position_at_the_sentence() {
    // A close of this or an older server, with or without messages before it.
    for (close, is_silent) in [(4411, false), (4411, true), (4410, false)] {
        let (output, audio) = say_to("position", &[], move |listener| {
            drop(first_part(&listener));
            let mut peer = Peer::accept(&listener, 2);
            assert_eq!(peer.expect("recover")["offset"], 12_800);
            match is_silent {
                true => peer.close(close, "The position is lost"),
                false => peer.refuse("position_lost", close),
            }
            let mut peer = Peer::accept(&listener, 3);
            assert_eq!(peer.expect("recover")["offset"], 6_400);
            peer.say(&recovered(6_400, true));
            peer.text(1, 6_400);
            peer.audio(6_400, 19_200);
            peer.end();
        });
        assert!(output.status.success(), "{close}: {}", text_of(&output));
        assert!(audio == sound(0, 19_200), "{close}: {} bytes", audio.len());
        assert_eq!(text_of(&output).matches("Sentence 1.").count(), 1, "{}", text_of(&output));
    }
}

#[test]
fn say_replaces_a_sentence_in_another_take() {
    // The second take is longer, shorter than what the file has of the first one, or as long.
    for end in [25_600, 8_000, 12_800] {
        let (output, audio) = say_to("take", &[], move |listener| {
            drop(first_part(&listener));
            let mut peer = Peer::accept(&listener, 2);
            peer.expect("recover");
            peer.say(&recovered(6_400, false));
            peer.text(1, 6_400);
            peer.0.send(Message::binary(other_sound(6_400, end))).unwrap();
            peer.text(2, end);
            peer.audio(end, 32_000);
            peer.end();
        });
        assert!(output.status.success(), "{}", text_of(&output));
        let wanted = [sound(0, 6_400), other_sound(6_400, end), sound(end, 32_000)].concat();
        assert!(audio == wanted, "{end}: {} bytes", audio.len());
    }
}

#[test]
fn say_goes_on_with_a_text_on_another_session() {
    // A server that knows `from`, one that ignores it, and some that refuse it.
    for kind in ["knows", "ignores", "refuses", "refuses late", "refuses and closes"] {
        let (output, audio) = say_to("from", &[], move |listener| {
            first_part(&listener).close(1012, "The server restarts");
            let mut peer = Peer::accept(&listener, 2);
            peer.expect("recover");
            peer.refuse("session_not_found", 4404);
            let mut peer = Peer::accept(&listener, 3);
            let asked = peer.expect("start_session");
            assert_eq!(asked["prompt"], "One. Two.");
            let crc32 = crc32(&sound(6_400, 12_800));
            assert_eq!(asked["from"], json!({"index": 1, "offset": 12_800, "crc32": crc32}));
            let refusal = json!({"type": "error", "message": "no", "code": "bad_message", "fatal": false});
            if kind == "refuses" {
                peer.say(&refusal);
            } else if kind == "refuses late" {
                // The server had to speak the sentence to see that it does not fit.
                peer.start(1);
                peer.say(&refusal);
                peer.say(&json!({"type": "session_end", "reason": "error", "usage": {}}));
            } else if kind == "refuses and closes" {
                peer.refuse("position_lost", 4411);
                peer = Peer::accept(&listener, 4);
            }
            if kind.starts_with("refuses") {
                assert_eq!(peer.expect("start_session")["from"], Value::Null);
            }
            peer.start(1);
            if kind != "knows" {
                peer.text(0, 0);
                peer.audio(0, 6_400);
            }
            peer.text(1, 6_400);
            peer.audio(if kind == "knows" { 12_800 } else { 6_400 }, 19_200);
            // The new session can be recovered too, at its own count.
            drop(peer);
            let mut peer = Peer::accept(&listener, 5);
            let asked = peer.expect("recover");
            let session = if kind == "refuses and closes" { "session-4" } else { "session-3" };
            assert_eq!((&asked["sessionId"], &asked["offset"]), (&json!(session), &json!(19_200)));
            peer.say(&recovered(19_200, true));
            peer.end();
        });
        assert!(output.status.success(), "{kind}: {}", text_of(&output));
        assert!(audio == sound(0, 19_200), "{kind}: {} bytes", audio.len());
        assert_eq!(text_of(&output).matches("Sentence 1.").count(), 1, "{kind}: {}", text_of(&output));
    }
}

#[test]
fn say_goes_on_with_another_engine_at_the_sentence() {
    // The second take is longer, or shorter than what the file has of the first one, with more text behind it or not.
    for (end, has_more) in [(25_600, true), (8_000, true), (8_000, false)] {
        let (output, audio) = say_to("engine", &[], move |listener| {
            drop(first_part(&listener));
            let mut peer = Peer::accept(&listener, 2);
            peer.expect("recover");
            peer.refuse("session_not_found", 4404);
            let mut peer = Peer::accept(&listener, 3);
            peer.expect("start_session");
            peer.start(1);
            peer.text(0, 0);
            peer.audio(0, 6_400);
            peer.text(1, 6_400);
            peer.0.send(Message::binary(other_sound(6_400, end))).unwrap();
            if has_more {
                peer.text(2, end);
                peer.audio(end, 32_000);
            }
            peer.end();
        });
        assert!(output.status.success(), "{}", text_of(&output));
        let rest = if has_more { sound(end, 32_000) } else { Vec::new() };
        let wanted = [sound(0, 6_400), other_sound(6_400, end), rest].concat();
        assert!(audio == wanted, "{end}: {} bytes", audio.len());
    }
}

#[test]
fn say_goes_on_after_a_restart_of_the_server() {
    let folder = Folder::new("restart");
    let (whole, cut) = (folder.file("whole.wav"), folder.file("cut.wav"));
    let text = "It is a long way to the harbour from here. The boats are out, and the tea is in the pot.";
    assert!(run(&["say", text, "-o", &whole]).status.success());
    // One server is killed. The other one ends in order, long before the text does.
    for signal in ["KILL", "TERM"] {
        let server = Serving::start(&["serve", "--listen", "127.0.0.1:0", "--drain-timeout", "50ms"]);
        let url = server.url();
        let mut child = aloud(&["say", text, "--paced", "--url", &url, "-o", &cut])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        // The second sentence was announced: most of it is still to come.
        assert!(lines.by_ref().any(|line| line.starts_with("The boats")));
        server.signal(signal);
        server.ended();
        let _server = Serving::start(&["serve", "--listen", url.strip_prefix("ws://").unwrap()]);
        let lines: Vec<String> = lines.collect();
        assert!(child.wait().unwrap().success(), "{signal}: {lines:?}");
        let says = |why| lines.iter().any(|line| line.contains(why));
        assert!(says("no longer has the session") || (signal == "TERM" && says("stops")), "{lines:?}");
        assert!(std::fs::read(&whole).unwrap() == std::fs::read(&cut).unwrap(), "{signal}: byte for byte");
    }
}

#[test]
fn say_tells_the_warnings_of_the_server() {
    let folder = Folder::new("warned");
    let output = run(&[
        "say",
        "Good evening. The word \u{43d}\u{435}\u{442} is Russian.",
        "-o",
        &folder.file("x.wav"),
    ]);
    let shown = text_of(&output);
    assert!(
        output.status.success() && shown.contains("aloud: The engine flite cannot speak these words"),
        "{shown}"
    );
}

#[test]
fn say_cannot_go_on_with_a_text_that_it_does_not_have() {
    let (output, audio) = say_to("llm", &["--source", "llm"], |listener| {
        drop(first_part(&listener));
        let mut peer = Peer::accept(&listener, 2);
        peer.expect("recover");
        peer.refuse("session_not_found", 4404);
    });
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("no longer has this session"), "{}", text_of(&output));
    // The file has what was spoken.
    assert!(audio == sound(0, 12_800), "{} bytes", audio.len());
}

/// Runs `say` on a terminal, with this program as the only player. Returns what the terminal showed, and true for a
/// good end. `None` without a program that makes terminals.
fn on_a_terminal(folder: &Folder, player: (&str, &str), args: &str) -> Option<(String, bool)> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&folders).map(|folder| folder.join("script"));
    let Some(script) = programs.find(|path| path.is_file()) else {
        skip("say::terminal_hears_the_speech", "script (util-linux)");
        return None;
    };
    let path = folder.file("bin");
    std::fs::create_dir_all(&path).unwrap();
    let program = format!("{path}/{}", player.0);
    std::fs::write(&program, format!("#!/bin/sh\n{}\n", player.1)).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let line = format!("{} say {args}", env!("CARGO_BIN_EXE_aloud"));
    let output = Command::new(script)
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(folder.file(""))
        .envs([("PATH", &*path), ("SHELL", "/bin/sh")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    std::fs::remove_file(program).unwrap();
    Some((String::from_utf8(output.stdout).unwrap(), output.status.success()))
}

#[test]
fn terminal_hears_the_speech() {
    let folder = Folder::new("terminal");
    let speech = folder.file("speech.wav");
    assert!(run(&["say", "Good evening.", "-o", &speech]).status.success());
    let speech = std::fs::read(speech).unwrap();
    let args = "'Good evening.'";
    for (player, names) in [
        ("paplay", "--raw --latency-msec=200 --channels=1 --rate=16000 --format=s16le"),
        ("aplay", "-q -t raw -c 1 -r 16000 -f S16_LE -"),
        ("ffplay", "-nodisp -autoexit -loglevel error -fflags nobuffer -f s16le -ar 16000 -i pipe:0"),
    ] {
        let plays = (player, "echo \"$*\" > arguments; exec /bin/cat > played");
        let Some((shown, is_good)) = on_a_terminal(&folder, plays, args) else { return };
        assert!(is_good && shown.contains(&format!("{player}: ")) && shown.contains("evening."), "{shown}");
        assert_eq!(std::fs::read_to_string(folder.file("arguments")).unwrap().trim(), names);
        assert!(std::fs::read(folder.file("played")).unwrap() == speech[44..], "{player}");
    }
    // A player that needs all of it.
    let plays = ("afplay", "exec /bin/cat \"$1\" > played");
    let (shown, is_good) = on_a_terminal(&folder, plays, args).unwrap();
    assert!(is_good && std::fs::read(folder.file("played")).unwrap() == speech, "{shown}");
    // The file is removed, so its name would be of no use.
    assert!(shown.contains("afplay: ") && !shown.contains(".wav"), "{shown}");
    // A player without a sound device.
    let fails = ("aplay", "echo no device >&2; exit 1");
    let (shown, is_good) = on_a_terminal(&folder, fails, args).unwrap();
    assert!(!is_good && shown.contains("no device") && shown.contains("aplay cannot play"), "{shown}");
    assert!(shown.contains("`-o FILE` writes a file"), "{shown}");
    // No player, or a file is wanted.
    for args in ["'Good evening.'", "'Good evening.' -o aloud.wav"] {
        let player = if args.ends_with("wav") { "aplay" } else { "unknown" };
        let (shown, is_good) = on_a_terminal(&folder, (player, "exit 1"), args).unwrap();
        assert!(is_good && shown.contains("aloud.wav: "), "{shown}");
        assert!(std::fs::read(folder.file("aloud.wav")).unwrap() == speech, "{args}");
        std::fs::remove_file(folder.file("aloud.wav")).unwrap();
    }
    let (shown, is_good) = on_a_terminal(&folder, ("unknown", ""), "'Good evening.' -o -").unwrap();
    assert!(!is_good && shown.contains("a terminal cannot show audio"), "{shown}");
}
