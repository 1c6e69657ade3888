//! Shared by the tests: a server on its own port, an engine that the test plays, and a client that
//! sends raw bytes.
#![allow(dead_code, unreachable_pub)] // Several test binaries include this, and each uses a part of it.

pub mod http;
pub mod log;

use aloud::audio::{Encoding, Format};
use aloud::script::{Pen, Prompt, Script, Writer};
use aloud::tts::{Piece, Sink, Speech, Synthesizer, Tone, Utterance};
use aloud::ws::handshake;
use aloud::{Config, Server, Service};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, duplex,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Payload bytes of a ping that asks how much has arrived.
pub const ASKED_BYTES: usize = 16;

/// The format of the engines that tests use.
pub const FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };

/// Pseudo-random numbers (xorshift64): the same for the same seed, which is not 0.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    pub fn of<'a>(&mut self, things: &[&'a str]) -> &'a str {
        things[self.below(things.len())]
    }
}

/// A server that is stopped when this is dropped.
pub struct Running {
    /// Address of the listener.
    pub addr: SocketAddr,
    /// Its gauges.
    pub service: Service,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops the server as SIGTERM does. Returns the task, which ends with the server.
    pub fn stop(&mut self) -> &mut JoinHandle<()> {
        drop(self.stop.take());
        &mut self.task
    }

    /// Waits until no session and no synthesis is left.
    pub async fn is_quiet(&self) {
        within(async {
            while self.service.sessions().count() + self.service.syntheses().count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The built binary in a process of its own, killed when dropped.
pub struct Serving {
    pub child: Child,
    pub addr: SocketAddr,
    // Kept open: a closed stdout would be another fault.
    _stdout: BufReader<ChildStdout>,
}

impl Serving {
    /// Starts it, and waits until it prints its address.
    pub async fn start(command: &mut Command) -> Serving {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let addr = loop {
            let mut line = String::new();
            assert!(within(stdout.read_line(&mut line)).await.unwrap() > 0, "exited before it listened");
            if let Some((_, addr)) = line.trim().split_once("listening on http://") {
                // With JSON logs the line is an object.
                break addr.split('"').next().unwrap_or_default().parse().unwrap();
            }
        };
        Serving { child, addr, _stdout: stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("not waited for yet")
    }

    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}

/// Starts a server with this handshake timeout, whose sentences are a tenth of a second of tone.
pub async fn start(handshake_timeout: Duration) -> Running {
    start_with(
        Config::default().with(|c| c.handshake_timeout = handshake_timeout),
        Arc::new(Tone::new(FORMAT, 0.1)),
    )
    .await
}

/// Starts a server with these settings and this engine.
pub async fn start_with(config: Config, synthesizer: Arc<dyn Synthesizer>) -> Running {
    run(Service::new(config, synthesizer).unwrap()).await
}

/// The same, with this writer.
pub async fn start_writing(
    config: Config,
    synthesizer: Arc<dyn Synthesizer>,
    writer: Arc<dyn Writer>,
) -> Running {
    run(Service::with_writer(config, synthesizer, writer).unwrap()).await
}

/// Starts an echo with these settings.
pub async fn start_echo(config: Config) -> Running {
    run(Service::echo(config).unwrap()).await
}

async fn run(service: Service) -> Running {
    let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), service.clone()).await.unwrap();
    let addr = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.serve(async {
        // The sender is dropped, either way.
        let _ = stopped.await;
    }));
    Running { addr, service, stop: Some(stop), task }
}

/// An engine that the test plays: the test gets each sentence with the sink for its audio.
pub struct Scripted(mpsc::UnboundedSender<(Utterance, Sink)>);

/// Receives the sentences of a [`Scripted`] engine.
pub type Asked = mpsc::UnboundedReceiver<(Utterance, Sink)>;

impl Scripted {
    /// The engine, and the test's side of it.
    pub fn new() -> (Arc<Scripted>, Asked) {
        let (sender, asked) = mpsc::unbounded_channel();
        (Arc::new(Scripted(sender)), asked)
    }
}

impl Synthesizer for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (sink, speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
        self.0.send((utterance, sink)).unwrap();
        speech
    }
}

/// A writer that the test plays: the test gets each prompt with the pen for its answer.
pub struct Scripting(mpsc::UnboundedSender<(Prompt, Pen)>);

impl Scripting {
    /// The writer, and the test's side of it.
    pub fn new() -> (Arc<Scripting>, mpsc::UnboundedReceiver<(Prompt, Pen)>) {
        let (sender, asked) = mpsc::unbounded_channel();
        (Arc::new(Scripting(sender)), asked)
    }
}

impl Writer for Scripting {
    fn name(&self) -> &str {
        "scripting"
    }

    fn write(&self, prompt: Prompt) -> Script {
        let (pen, script) = Script::channel(&prompt);
        self.0.send((prompt, pen)).unwrap();
        script
    }
}

/// Prints that a test is skipped, and fails with `CI=true`, where all programs are installed.
pub fn skip(test: &str, missing: &str) {
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!is_ci, "{test}: {missing} is missing, run .ci/foreign-clients");
    eprintln!("skipped {test}: {missing} is missing, see .ci/foreign-clients");
}

/// A frame from a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A control message.
    Text(Value),
    /// Audio.
    Binary(Vec<u8>),
    /// A Ping with its payload.
    Ping(Vec<u8>),
    /// A Pong with its payload.
    Pong(Vec<u8>),
    /// A Close: code and reason.
    Close(Option<(u16, String)>),
}

impl Frame {
    /// The type of a control message, or the name of another frame.
    pub fn kind(&self) -> &str {
        match self {
            Frame::Text(value) => value["type"].as_str().unwrap_or("?"),
            Frame::Binary(_) => "binary",
            Frame::Ping(_) => "ping",
            Frame::Pong(_) => "pong",
            Frame::Close(_) => "close",
        }
    }
}

/// A masked frame of a client: first byte (FIN, RSV, opcode) and payload.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A masked text frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// A masked Close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// The bytes of a good opening handshake.
pub fn opening(addr: SocketAddr, path: &str) -> Vec<u8> {
    opening_with(addr, path, "")
}

/// The same with these additional header lines, each with its line end.
pub fn opening_with(addr: SocketAddr, path: &str, more: &str) -> Vec<u8> {
    let key = handshake::generate_key(*b"the sample nonce");
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// The header line of a client that speaks `aloud.v1`.
pub const V1: &str = "Sec-WebSocket-Protocol: aloud.v1\r\n";

/// Connects as a client that speaks `aloud.v1`, and takes the greeting.
pub async fn v1(addr: SocketAddr) -> (Raw, Value) {
    let mut client = raw(addr).await;
    client.send_bytes(&opening_with(addr, aloud::PATH, V1)).await;
    let head = client.read_head().await;
    assert_eq!((head.status, head.header("sec-websocket-protocol").as_deref()), (101, Some("aloud.v1")));
    let Frame::Text(greeting) = client.read_frame().await else { panic!("a message") };
    assert_eq!(greeting["type"], "session_start");
    (client, greeting)
}

/// Shakes hands with a service over memory, with these additional header lines. The memory holds this
/// many bytes of each direction. The server's first message is still unread.
pub async fn over_memory(service: &Service, buffer_bytes: usize, more: &str) -> Raw<DuplexStream> {
    let (ours, theirs) = duplex(buffer_bytes);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), service.clone());
    tokio::spawn(connection.with_upgrades());
    let mut client = Raw::over(ours, Duration::from_secs(7200));
    client.send_bytes(&opening_with("127.0.0.1:80".parse().unwrap(), aloud::PATH, more)).await;
    assert_eq!(client.read_head().await.status, 101);
    client
}

/// Connects and shakes hands. The server's first message is still unread.
pub async fn open(addr: SocketAddr) -> Raw {
    let mut raw = raw(addr).await;
    raw.send_bytes(&opening(addr, aloud::PATH)).await;
    assert_eq!(raw.read_head().await.status, 101);
    raw
}

/// Connects, shakes hands, and takes the greeting.
pub async fn session(addr: SocketAddr) -> Raw {
    let mut raw = open(addr).await;
    assert_eq!(raw.read_frame().await.kind(), "session_start");
    raw
}

/// Connects from this address of the loopback, and takes the greeting.
pub async fn session_from(source: &str, addr: SocketAddr, patience: Duration) -> Raw {
    let mut client = socket_from(source, addr, patience).await;
    client.send_bytes(&opening_with(addr, aloud::PATH, V1)).await;
    assert_eq!(client.read_head().await.status, 101);
    assert_eq!(client.read_frame().await.kind(), "session_start");
    client
}

/// Connects from this address of the loopback.
pub async fn socket_from(source: &str, addr: SocketAddr, patience: Duration) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    Raw::over(within(socket.connect(addr)).await.unwrap(), patience)
}

/// A connection whose bytes the test controls.
pub struct Raw<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
    patience: Duration,
    /// False for a client that sends no Pong of its own.
    pub answers: bool,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// All values of a header, joined as one list.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// Connects. Each write leaves at once.
pub async fn raw(addr: SocketAddr) -> Raw {
    let stream = within(TcpStream::connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Raw::over(stream, PATIENCE)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// A connection over this stream. Each wait for the peer is limited to `patience`.
    pub fn over(stream: S, patience: Duration) -> Raw<S> {
        Raw { stream, unread: Vec::new(), patience, answers: true }
    }

    /// Sends these bytes in one piece. Ignores a peer that has stopped reading; tests check its
    /// answer.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = timeout(self.patience, self.stream.write_all(bytes)).await.expect("in time");
    }

    /// The stream itself, and the bytes that were read and not taken.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// All frames that arrive before the server has read everything sent up to now.
    pub async fn before_pong(&mut self) -> Vec<Frame> {
        self.send_bytes(&frame(0x89, b"now?")).await;
        let mut frames = Vec::new();
        loop {
            match self.read_frame().await {
                Frame::Pong(payload) if payload == b"now?" => return frames,
                frame => frames.push(frame),
            }
        }
    }

    /// The code of the Close that arrives before the server has read everything sent up to now; `None` if none
    /// does.
    pub async fn before_pong_or_close(&mut self) -> Option<u16> {
        self.send_bytes(&frame(0x89, b"now?")).await;
        loop {
            match self.read_frame().await {
                Frame::Pong(payload) if payload == b"now?" => return None,
                Frame::Close(closed) => return Some(closed.map_or(1005, |(code, _)| code)),
                _ => {}
            }
        }
    }

    /// Ends the own direction of the connection.
    pub async fn finish(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// The next answer's head.
    pub async fn read_head(&mut self) -> Head {
        let (line, headers) = self.read_lines().await;
        Head { status: line.split(' ').nth(1).unwrap().parse().unwrap(), headers }
    }

    /// The next request's first line and head. The status is meaningless.
    pub async fn read_request(&mut self) -> (String, Head) {
        let (line, headers) = self.read_lines().await;
        (line, Head { status: 0, headers })
    }

    async fn read_lines(&mut self) -> (String, Vec<(String, String)>) {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.fill().await,
                "closed before an answer: {:?}",
                self.unread.escape_ascii().to_string()
            );
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let line = lines.next().unwrap().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        (line, headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// The next answer, with as much body as its head announces.
    pub async fn read_answer(&mut self) -> (Head, String) {
        let head = self.read_head().await;
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.read_exact(length).await;
        (head, String::from_utf8(body).unwrap())
    }

    /// The next `length` bytes.
    pub async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill().await, "closed after {} of {length} bytes", self.unread.len());
        }
        self.unread.drain(..length).collect()
    }

    /// The next `length` bytes; `None` if the connection ends or breaks before.
    pub async fn read_some(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            let read = timeout(self.patience, self.stream.read_buf(&mut self.unread)).await.expect("in time");
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
        Some(self.unread.drain(..length).collect())
    }

    /// Sends a control message.
    pub async fn say(&mut self, json: &str) {
        self.send_bytes(&text(json)).await;
    }

    /// The next frame. Answers the pings with which a server asks how much has arrived.
    pub async fn read_frame(&mut self) -> Frame {
        loop {
            match self.read_any_frame().await {
                Frame::Ping(payload) if payload.len() == ASKED_BYTES => {
                    if self.answers {
                        self.send_bytes(&frame(0x8a, &payload)).await;
                    }
                }
                frame => return frame,
            }
        }
    }

    /// The next frame, those pings included.
    pub async fn read_any_frame(&mut self) -> Frame {
        let head = self.read_exact(2).await;
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        assert_eq!(head[0] & 0xf0, 0x80, "whole messages, no reserved bits");
        let len = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.read_exact(2).await.try_into().unwrap())),
            127 => u64::from_be_bytes(self.read_exact(8).await.try_into().unwrap()),
            len => u64::from(len),
        };
        let payload = self.read_exact(usize::try_from(len).unwrap()).await;
        match head[0] & 0x0f {
            1 => Frame::Text(serde_json::from_slice(&payload).unwrap()),
            2 => Frame::Binary(payload),
            8 if payload.is_empty() => Frame::Close(None),
            8 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                Frame::Close(Some((code, String::from_utf8(payload[2..].to_vec()).unwrap())))
            }
            9 => Frame::Ping(payload),
            10 => Frame::Pong(payload),
            opcode => panic!("opcode {opcode}"),
        }
    }

    /// The next frame; `None` where the connection ends or breaks before it is whole.
    pub async fn try_frame(&mut self) -> Option<Frame> {
        let patience = self.patience;
        timeout(patience, self.next_frame()).await.expect("in time")
    }

    /// The next frame, once it is complete; `None` when the connection ends or breaks. Cancel-safe:
    /// no byte is lost.
    pub async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let head = match self.unread.get(1) {
                Some(126) => 4,
                Some(127) => 10,
                _ => 2,
            };
            if let Some(head) = self.unread.get(..head) {
                let len = match head.len() {
                    2 => head[1].into(),
                    4 => u16::from_be_bytes(head[2..].try_into().unwrap()).into(),
                    _ => usize::try_from(u64::from_be_bytes(head[2..].try_into().unwrap())).unwrap(),
                };
                if self.unread.len() >= head.len() + len {
                    match self.read_any_frame().await {
                        Frame::Ping(payload) if payload.len() == ASKED_BYTES => {
                            if self.answers {
                                self.send_bytes(&frame(0x8a, &payload)).await;
                            }
                            continue;
                        }
                        frame => return Some(frame),
                    }
                }
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The frames up to and with the first of this kind.
    pub async fn read_until(&mut self, kind: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.read_frame().await;
            let found = frame.kind() == kind;
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// All bytes until the peer closes. Fails on a reset.
    pub async fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// Reads more. False at the end of the stream.
    async fn fill(&mut self) -> bool {
        let read = timeout(self.patience, self.stream.read_buf(&mut self.unread)).await.expect("in time");
        read.expect("closed in good order") > 0
    }
}

/// The audio in these frames.
pub fn audio(frames: &[Frame]) -> Vec<u8> {
    let audio = frames.iter().filter_map(|f| match f {
        Frame::Binary(audio) => Some(&audio[..]),
        _ => None,
    });
    audio.collect::<Vec<_>>().concat()
}

/// The messages in these frames.
pub fn messages(frames: &[Frame]) -> Vec<Value> {
    let messages = frames.iter().filter_map(|f| match f {
        Frame::Text(value) => Some(value.clone()),
        _ => None,
    });
    messages.collect()
}

/// Audio of an engine when the test asks it directly.
pub async fn spoken(engine: &dyn Synthesizer, utterance: Utterance) -> Vec<u8> {
    let mut speech = engine.speak(utterance);
    let mut audio = Vec::new();
    while let Some(piece) = within(speech.next()).await {
        if let Piece::Audio(chunk) = piece.unwrap() {
            audio.extend(chunk);
        }
    }
    audio
}

/// CRC-32 of IEEE 802.3, bit by bit, independent of the server's own.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Starts a paced stream of one sentence with this look-ahead.
pub fn start_paced(ahead_ms: u64) -> String {
    let delivery = serde_json::json!({"mode": "paced", "aheadMs": ahead_ms});
    serde_json::json!({"type": "start_session", "prompt": "One.", "delivery": delivery}).to_string()
}

/// Waits for this, at most [`PATIENCE`].
pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("in time")
}

/// An unmasked frame, as a server sends it.
pub fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(len as u8),
        len @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

impl Raw {
    /// Sends these bytes, each in its own segment.
    pub async fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send_bytes(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// Sends this repeatedly and reads nothing, until the peer breaks the connection. Returns the
    /// number of bytes sent.
    pub async fn flood(&mut self, bytes: &[u8]) -> usize {
        within(async {
            let mut sent = 0;
            while let Ok(count) = self.stream.write(bytes).await {
                sent += count;
            }
            sent
        })
        .await
    }

    /// Address of this end of the connection.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Ends the connection with a reset (RST), as a crashed peer or a firewall does.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads the next frame, which must be a Close, and the end of the stream. Returns the code.
    pub async fn read_close(&mut self) -> u16 {
        let frame = self.read_frame().await;
        let Frame::Close(Some((code, _))) = frame else { panic!("no Close but {frame:?}") };
        assert_eq!(self.read_to_close().await, b"", "no bytes follow a Close");
        code
    }
}
