//! One end of a WebSocket connection after the opening handshake (RFC 6455 §5–§7): bytes that arrived go
//! in, messages come out, and bytes to send wait until the owner sends them.
//!
//! This module has no I/O and no clock, and knows no speech. tungstenite's protocol engine runs in here over
//! memory: it assembles messages, answers Pings and keeps the closing handshake. Around it are the checks
//! that it leaves out ([`reader`](crate::ws::reader)), and the Close frame that it does not send when a
//! peer breaks the protocol. Audio does not pass through here: a [`Batch`](crate::ws::frames::Batch)
//! writes its frames behind the bytes in [`outgoing`](Endpoint::outgoing).

use crate::ws::frames;
use crate::ws::reader::{Inspector, Violation};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use tungstenite::protocol::{self, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

/// The end of a connection. A client masks its frames (RFC 6455 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that accepted the connection.
    Server,
    /// The end that opened it.
    Client,
}

/// A close code (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server is going away.
    pub const AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// The peer broke a rule that has no code of its own.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message over the limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// A fault of the server.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The server restarts: reconnect.
    pub const RESTART: CloseCode = CloseCode(1012);
    /// The server is overloaded: try again later (IANA registry).
    pub const OVERLOADED: CloseCode = CloseCode(1013);
}

/// Limits on what a peer may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message, in bytes, however it is fragmented.
    pub max_message_bytes: usize,
    /// Most fragments of one message.
    pub max_fragments: usize,
    /// Bytes that are allocated at once for what arrives; grows with a frame that needs more.
    pub read_buffer_bytes: usize,
}

/// A message from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Incoming {
    /// Its length in bytes.
    fn len(&self) -> usize {
        match self {
            Incoming::Text(text) => text.len(),
            Incoming::Binary(bytes) => bytes.len(),
        }
    }
}

/// State of a connection (RFC 6455 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages flow both ways.
    Open,
    /// Our Close is queued or sent; the peer's answer is awaited.
    Closing,
    /// The closing handshake is complete, or the peer broke the protocol. Only the bytes in
    /// [`outgoing`](Endpoint::outgoing) are still to be sent, and everything that arrives is ignored.
    Finished,
}

/// The end of a connection by its Close frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code; `None` if the peer sent a Close frame without one.
    pub code: Option<CloseCode>,
    /// The reason given in words.
    pub reason: String,
    /// True if the peer closed first.
    pub by_peer: bool,
}

/// Most bytes in [`Endpoint::outgoing`] before nothing more is read: a peer that sends Pings and never
/// reads must not fill the memory with Pongs.
const MAX_OUTGOING_BYTES: usize = 16 * 1024;

/// One end of an open connection.
///
/// Kept in this order: what every step of a stream reads comes last, in one cache line.
#[derive(Debug)]
#[repr(C)]
pub struct Endpoint {
    context: WebSocketContext,
    inspector: Inspector,
    /// Takes effect once the messages before it were taken.
    end: Option<End>,
    closed: Option<Box<Closed>>,
    /// A message has made the engine's buffer larger than that of an idle connection.
    has_grown: bool,
    incoming: VecDeque<Incoming>,
    /// The payload of the latest Pong that answers one of ours with 16 bytes.
    pong: Option<Box<[u8; 16]>>,
    outgoing: Vec<u8>,
    state: State,
    role: Role,
}

/// The end of the peer's messages.
#[derive(Debug)]
enum End {
    /// A Close frame.
    Close,
    Violation(Violation),
}

/// A new protocol engine.
fn context(role: Role, limits: Limits) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer_bytes)
        // Control frames go straight to `outgoing`.
        .write_buffer_size(0)
        .max_message_size(Some(limits.max_message_bytes))
        .max_frame_size(Some(limits.max_message_bytes));
    let role = match role {
        Role::Server => protocol::Role::Server,
        Role::Client => protocol::Role::Client,
    };
    WebSocketContext::new(role, Some(config))
}

impl Endpoint {
    /// A connection whose opening handshake is complete.
    pub fn new(role: Role, limits: Limits) -> Endpoint {
        Endpoint {
            role,
            context: context(role, limits),
            has_grown: false,
            inspector: Inspector::new(role, limits),
            outgoing: Vec::new(),
            incoming: VecDeque::new(),
            pong: None,
            state: State::Open,
            closed: None,
            end: None,
        }
    }

    /// Queues the answer to the opening handshake, so that it leaves together with the first frames.
    /// Nothing else may wait yet.
    pub fn send_answer(&mut self, head: Vec<u8>) {
        debug_assert!(self.outgoing.is_empty(), "the answer comes first");
        self.outgoing = head;
    }

    /// Takes bytes that arrived from the peer.
    ///
    /// Writes nothing: answers (Pong, Close) wait in [`outgoing`](Self::outgoing) until the owner sends
    /// them. A Close is answered with the same code, and a violation of the protocol with 1002, 1007, 1008
    /// or 1009 (RFC 6455 §7.4.1). That happens once the messages before it were taken with
    /// [`next_message`](Self::next_message), so that they can still be answered.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.state == State::Finished || self.end.is_some() {
            return;
        }
        let (sound, violation) = self.inspector.inspect(bytes);
        let mut memory = Memory { input: &bytes[..sound], output: &mut self.outgoing };
        let buffer_bytes = self.inspector.limits().read_buffer_bytes;
        // tungstenite answers a Ping at the *next* read only, so read until nothing is left.
        let end = loop {
            match self.context.read(&mut memory) {
                Ok(Message::Text(text)) => {
                    self.has_grown |= text.len() > buffer_bytes;
                    self.incoming.push_back(Incoming::Text(text));
                }
                Ok(Message::Binary(bytes)) => {
                    self.has_grown |= bytes.len() > buffer_bytes;
                    self.incoming.push_back(Incoming::Binary(bytes));
                }
                Ok(Message::Close(frame)) => {
                    self.closed.get_or_insert_with(|| {
                        let (code, reason) = match frame {
                            Some(frame) => (Some(CloseCode(frame.code.into())), frame.reason.to_string()),
                            None => (None, String::new()),
                        };
                        Box::new(Closed { code, reason, by_peer: true })
                    });
                    // tungstenite keeps the answer until it is flushed.
                    break Some(End::Close);
                }
                Ok(Message::Pong(payload)) => {
                    if let Ok(payload) = payload[..].try_into() {
                        self.pong = Some(Box::new(payload));
                    }
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => break None,
                Err(error) => break Some(End::Violation(as_violation(&error))),
            }
        };
        self.end = match (end, violation) {
            (Some(End::Close), _) => Some(End::Close),
            (_, Some(violation)) => Some(End::Violation(violation)),
            (end, None) => end,
        };
    }

    /// Fails the connection (RFC 6455 §7.1.7): one Close frame, then silence.
    fn fail(&mut self, violation: Violation) {
        self.close(violation.code, violation.reason);
        self.state = State::Finished;
    }

    /// The next complete message. Call it until it returns `None`.
    pub fn next_message(&mut self) -> Option<Incoming> {
        let message = self.incoming.pop_front();
        if message.is_none() {
            // An idle connection keeps no queue.
            self.incoming = VecDeque::new();
            let is_idle = self.state == State::Open && self.end.is_none();
            if self.has_grown && is_idle && self.inspector.is_between_messages() {
                // Nor a large buffer: tungstenite would keep it, and with it the memory of the last message.
                self.has_grown = false;
                self.context = context(self.role, *self.inspector.limits());
            }
            match self.end.take() {
                Some(End::Violation(violation)) => self.fail(violation),
                Some(End::Close) => {
                    // The closing handshake is over once the peer's Close was read and ours is
                    // queued.
                    let mut memory = Memory { input: &[], output: &mut self.outgoing };
                    let _ = self.context.flush(&mut memory);
                    self.state = State::Finished;
                }
                None => {}
            }
        }
        message
    }

    /// Bytes of the messages that [`next_message`](Self::next_message) has not returned yet.
    pub fn waiting_bytes(&self) -> usize {
        self.incoming.iter().map(Incoming::len).sum()
    }

    /// True if more may be read from the peer. False while too many bytes wait to be sent.
    pub fn wants_input(&self) -> bool {
        self.state == State::Finished || self.outgoing.len() < MAX_OUTGOING_BYTES
    }

    /// Queues a text message. Does nothing once a Close was queued.
    pub fn send_text(&mut self, text: &str) {
        match self.role {
            Role::Server if self.state == State::Open => {
                frames::push_frame(true, text.as_bytes(), &mut self.outgoing);
            }
            _ => self.queue(Message::text(text)),
        }
    }

    /// Queues a binary message. Does nothing once a Close was queued.
    pub fn send_binary(&mut self, bytes: Bytes) {
        match self.role {
            Role::Server if self.state == State::Open => {
                frames::push_frame(false, &bytes, &mut self.outgoing);
            }
            _ => self.queue(Message::Binary(bytes)),
        }
    }

    /// Queues a Ping (RFC 6455 §5.5.2) with this payload, of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        self.queue(Message::Ping(Bytes::copy_from_slice(payload)));
    }

    /// The payload of the latest Pong, if it has 16 bytes and was not taken before. A Pong is answered by
    /// the peer in the order of the Pings, so the latest stands for those before it.
    pub fn take_pong(&mut self) -> Option<[u8; 16]> {
        self.pong.take().map(|payload| *payload)
    }

    fn queue(&mut self, message: Message) {
        if self.state != State::Open {
            return;
        }
        let mut memory = Memory { input: &[], output: &mut self.outgoing };
        // Memory takes everything, so this only fails after a Close.
        let _ = self.context.write(&mut memory, message).and_then(|()| self.context.flush(&mut memory));
    }

    /// Starts the closing handshake; `reason` is cut to what a control frame holds, 123 bytes.
    /// Does nothing if a Close was queued before.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.state != State::Open {
            return;
        }
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = protocol::CloseFrame { code: code.0.into(), reason: reason[..end].into() };
        let mut memory = Memory { input: &[], output: &mut self.outgoing };
        let _ = self.context.close(&mut memory, Some(frame));
        self.closed.get_or_insert_with(|| {
            Box::new(Closed { code: Some(code), reason: reason[..end].to_owned(), by_peer: false })
        });
        self.state = State::Closing;
    }

    /// Framed bytes that have to be sent before any audio.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Removes the first `count` bytes of [`outgoing`](Self::outgoing), which were sent.
    pub fn sent(&mut self, count: usize) {
        if count >= self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..count);
        }
    }

    /// Takes the rest of a frame that a write has begun. Use it only when nothing else waits: after
    /// [`sent`](Self::sent) removed everything.
    pub fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// State of the connection.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// True if the peer's Close was read: nothing behind it counts.
    pub fn heard_close(&self) -> bool {
        !self.context.can_read()
    }

    /// The end of the connection; `None` while it is open.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }
}

/// The close code for an error of tungstenite.
fn as_violation(error: &tungstenite::Error) -> Violation {
    let (code, reason) = match error {
        tungstenite::Error::Utf8(_) => (CloseCode::INVALID_PAYLOAD, "Text must be valid UTF-8."),
        tungstenite::Error::Capacity(_) => (CloseCode::TOO_BIG, "The message is over the size limit."),
        _ => (CloseCode::PROTOCOL, "The frame breaks the WebSocket protocol."),
    };
    Violation { code, reason }
}

/// A socket for tungstenite: reads from a slice, writes to a buffer.
struct Memory<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            // An empty read would mean the end of the stream.
            return Err(ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_message_bytes: 1_000, max_fragments: 20, read_buffer_bytes: 256 };

    fn endpoint(role: Role) -> Endpoint {
        Endpoint::new(role, LIMITS)
    }

    /// A frame as it goes to an endpoint of this role: first byte (FIN, RSV, opcode) and payload.
    fn frame_to(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
        let masks = role == Role::Server;
        let bit = if masks { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(bit | len as u8),
            len @ 126..=0xffff => {
                bytes.push(bit | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(bit | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        let mask: [u8; 4] = if masks { [0x37, 0xfa, 0x21, 0x3d] } else { [0; 4] };
        if masks {
            bytes.extend(mask);
        }
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        frame_to(Role::Server, first, payload)
    }

    fn text(payload: &str) -> Incoming {
        Incoming::Text(payload.into())
    }

    fn binary(payload: &[u8]) -> Incoming {
        Incoming::Binary(Bytes::copy_from_slice(payload))
    }

    /// Takes a piece as the owner does: in with it, and out with every message.
    fn feed(endpoint: &mut Endpoint, piece: &[u8], messages: &mut Vec<Incoming>) {
        endpoint.receive(piece);
        while let Some(message) = endpoint.next_message() {
            messages.push(message);
        }
    }

    /// A fresh endpoint that was fed these pieces, and the messages it gave.
    fn fed<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Endpoint, Vec<Incoming>) {
        let (mut endpoint, mut messages) = (endpoint(role), Vec::new());
        for piece in pieces {
            feed(&mut endpoint, piece, &mut messages);
        }
        (endpoint, messages)
    }

    /// Feeds the bytes whole, byte by byte, and cut in two at every place; looks at each outcome.
    fn every_way(role: Role, bytes: &[u8], mut look: impl FnMut(&str, &Endpoint, &[Incoming])) {
        let (endpoint, messages) = fed(role, [bytes]);
        look("whole", &endpoint, &messages);
        let (endpoint, messages) = fed(role, bytes.chunks(1));
        look("byte by byte", &endpoint, &messages);
        for at in 1..bytes.len() {
            let (endpoint, messages) = fed(role, [&bytes[..at], &bytes[at..]]);
            look(&format!("cut at {at}"), &endpoint, &messages);
        }
    }

    /// Code and reason of the one unmasked Close frame that these bytes are.
    fn close_in(outgoing: &[u8]) -> Option<(u16, &str)> {
        let [0x88, length @ 2..=125, high, low, reason @ ..] = outgoing else { return None };
        assert_eq!(usize::from(*length), 2 + reason.len(), "one frame and nothing behind it");
        Some((u16::from_be_bytes([*high, *low]), std::str::from_utf8(reason).unwrap()))
    }

    /// Bytes without a pattern, the same for the same seed (xorshift64).
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 >> 16
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }

        fn bytes(&mut self, length: usize) -> Vec<u8> {
            (0..length).map(|_| self.next() as u8).collect()
        }
    }

    #[test]
    fn the_examples_of_rfc_6455() {
        const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let long = |header: &[u8], length: usize| [header, &vec![0x5a; length]].concat();
        let (server, client) = (Role::Server, Role::Client);
        for (name, role, bytes, message, answer) in [
            ("masked text", server, MASKED_HELLO.to_vec(), Some(text("Hello")), &b""[..]),
            ("unmasked text", client, b"\x81\x05Hello".to_vec(), Some(text("Hello")), b""),
            ("fragments", client, b"\x01\x03Hel\x80\x02lo".to_vec(), Some(text("Hello")), b""),
            (
                "masked ping",
                server,
                b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
                None,
                b"\x8a\x05Hello",
            ),
            ("masked pong", server, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(), None, b""),
            ("256 bytes", client, long(b"\x82\x7e\x01\x00", 256), Some(binary(&[0x5a; 256])), b""),
        ] {
            every_way(role, &bytes, |way, endpoint, messages| {
                assert_eq!(messages, message.as_slice(), "{name} {way}");
                assert_eq!(endpoint.outgoing(), answer, "{name} {way}");
                assert_eq!(*endpoint.state(), State::Open, "{name} {way}");
            });
        }
        // The last one, 64 KiB, is over this test's limit: with one of its own, and not at each split.
        let limits = Limits { max_message_bytes: 0x1_0000, ..LIMITS };
        let bytes = long(b"\x82\x7f\0\0\0\0\0\x01\0\0", 0x1_0000);
        for pieces in [vec![&bytes[..]], bytes.chunks(1).collect(), bytes.chunks(4096).collect()] {
            let (mut endpoint, mut messages) = (Endpoint::new(client, limits), Vec::new());
            for piece in pieces {
                feed(&mut endpoint, piece, &mut messages);
            }
            assert_eq!(messages, [binary(&vec![0x5a; 0x1_0000])]);
        }
        // And what we send ourselves.
        let mut server = endpoint(server);
        server.send_text("Hello");
        assert_eq!(server.outgoing(), b"\x81\x05Hello");
        server.sent(2);
        assert_eq!(server.outgoing(), b"Hello");
        server.sent(5);
        server.send_binary(Bytes::from(vec![0x5a; 256]));
        assert_eq!(server.outgoing(), long(b"\x82\x7e\x01\x00", 256));
        server.sent(260);
        server.send_binary(Bytes::from(vec![0x5a; 0x1_0000]));
        assert_eq!(server.outgoing(), bytes);
        server.sent(bytes.len());
        server.ping(&[]);
        assert_eq!(server.outgoing(), b"\x89\x00");
    }

    /// Violations of the protocol by a client: name, bytes, close code.
    fn violations() -> Vec<(String, Vec<u8>, u16)> {
        let mut table: Vec<(String, Vec<u8>, u16)> = Vec::new();
        let mut row = |name: &str, bytes: Vec<u8>, code| table.push((name.to_owned(), bytes, code));
        let cat = |frames: &[Vec<u8>]| frames.concat();

        row("unmasked text", b"\x81\x05Hello".to_vec(), 1002);
        row("unmasked and empty", b"\x81\x00".to_vec(), 1002);
        row("unmasked Ping", b"\x89\x00".to_vec(), 1002);
        row("unmasked Close", b"\x88\x02\x03\xe8".to_vec(), 1002);
        row("unmasked continuation", cat(&[frame(0x01, b"a"), b"\x80\x01b".to_vec()]), 1002);
        for rsv in [0x40, 0x20, 0x10, 0x70] {
            row(&format!("reserved bits {rsv:#x}"), frame(0x81 | rsv, b"a"), 1002);
            row(&format!("reserved bits {rsv:#x} in a Ping"), frame(0x89 | rsv, b""), 1002);
            row(
                &format!("reserved bits {rsv:#x} in a continuation"),
                cat(&[frame(0x01, b"a"), frame(0x80 | rsv, b"b")]),
                1002,
            );
        }
        for opcode in (3..=7).chain(11..=15) {
            row(&format!("opcode {opcode}"), frame(0x80 | opcode, b"a"), 1002);
            row(&format!("opcode {opcode}, empty"), frame(0x80 | opcode, b""), 1002);
            row(&format!("opcode {opcode}, not final"), frame(opcode, b"a"), 1002);
        }
        for opcode in [8, 9, 10] {
            row(&format!("fragmented control frame {opcode}"), frame(opcode, b""), 1002);
            row(&format!("control frame {opcode} of 126 bytes"), frame(0x80 | opcode, &[b'a'; 126]), 1002);
            let long = cat(&[vec![0x80 | opcode, 0xff], vec![0; 8], vec![0; 4]]);
            row(&format!("control frame {opcode} with eight bytes of length"), long, 1002);
        }
        row("stray continuation", frame(0x80, b"a"), 1002);
        row("stray continuation, not final", frame(0x00, b"a"), 1002);
        row("text inside of a message", cat(&[frame(0x01, b"a"), frame(0x81, b"b")]), 1002);
        row("binary inside of a message", cat(&[frame(0x02, b"a"), frame(0x02, b"b")]), 1002);
        row(
            "text inside of a message, behind a Ping",
            cat(&[frame(0x01, b"a"), frame(0x8a, b""), frame(0x01, b"")]),
            1002,
        );

        row("Close with one byte", frame(0x88, b"\x03"), 1002);
        for code in [0u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            row(&format!("close code {code}"), frame(0x88, &code.to_be_bytes()), 1002);
            let reason = [&code.to_be_bytes()[..], b"why"].concat();
            row(&format!("close code {code} with a reason"), frame(0x88, &reason), 1002);
        }

        let masked = |first: u8, length: &[u8]| [&[first][..], length, &[0; 4]].concat();
        row("125 in two bytes", masked(0x81, b"\xfe\x00\x7d"), 1002);
        row("0 in two bytes", masked(0x82, b"\xfe\x00\x00"), 1002);
        row("65,535 in eight bytes", masked(0x82, b"\xff\0\0\0\0\0\0\xff\xff"), 1002);
        row("0 in eight bytes", masked(0x81, b"\xff\0\0\0\0\0\0\0\0"), 1002);
        row("negative length", masked(0x82, b"\xff\x80\0\0\0\0\0\0\x01"), 1002);
        row("all bits of the length", masked(0x81, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 1002);
        row("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 1002);
        row("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 1002);

        for (name, bytes) in [
            ("a continuation byte alone", &b"\x80"[..]),
            ("a byte that never occurs", b"ab\xffcd"),
            ("overlong, two bytes", b"\xc0\xaf"),
            ("overlong, three bytes", b"\xe0\x80\xaf"),
            ("overlong, four bytes", b"\xf0\x80\x80\xaf"),
            ("a surrogate", b"\xed\xa0\x80"),
            ("above U+10FFFF", b"\xf4\x90\x80\x80"),
            ("a character cut short inside", b"\xe2\x82a"),
            ("a character cut short at the end", b"a\xe2\x82"),
            ("Autobahn's", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
        ] {
            row(&format!("text: {name}"), frame(0x81, bytes), 1007);
            let (one, two) = bytes.split_at(1);
            let fragments = cat(&[frame(0x01, one), frame(0x8a, b"\xff"), frame(0x80, two)]);
            row(&format!("text in fragments: {name}"), fragments, 1007);
            row(&format!("close reason: {name}"), frame(0x88, &[b"\x03\xe8", bytes].concat()), 1007);
        }

        row("2^62 bytes announced", masked(0x82, b"\xff\x40\0\0\0\0\0\0\0"), 1009);
        row("2^63 - 1 bytes announced", masked(0x81, b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), 1009);
        row("one byte more than allowed", frame(0x82, &[0; 1_001]), 1009);
        row("text of one byte more than allowed", frame(0x81, &[b'a'; 1_001]), 1009);
        row(
            "one byte more than allowed, in two",
            cat(&[frame(0x02, &[0; 500]), frame(0x80, &[0; 501])]),
            1009,
        );
        row(
            "sizes that overflow",
            cat(&[frame(0x02, b"a"), masked(0x80, b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff")]),
            1009,
        );
        table
    }

    #[test]
    fn a_violation_is_answered_with_its_code_once_what_came_before_was_delivered() {
        let greeting = frame(0x81, b"hi");
        let garbage: &[&[u8]] = &[b"", &frame(0x81, b"more"), b"\0\xff\0\xff", &frame(0x88, b"\x03\xe8")];
        for (name, bytes, code) in violations() {
            for before in [&b""[..], &greeting] {
                for behind in garbage {
                    let expected = if before.is_empty() { vec![] } else { vec![text("hi")] };
                    let bytes = [before, &bytes, behind].concat();
                    // The long ones are cut everywhere once only.
                    let look = |way: &str, endpoint: &Endpoint, messages: &[Incoming]| {
                        assert_eq!(messages, expected, "{name} {way}");
                        let outgoing = endpoint.outgoing();
                        let close =
                            close_in(outgoing).unwrap_or_else(|| panic!("{name} {way}: {outgoing:x?}"));
                        assert_eq!(close.0, code, "{name} {way}");
                        assert_eq!(*endpoint.state(), State::Finished, "{name} {way}");
                    };
                    if bytes.len() < 200 || behind.is_empty() {
                        every_way(Role::Server, &bytes, look);
                    } else {
                        let (endpoint, messages) = fed(Role::Server, [&bytes[..]]);
                        look("whole", &endpoint, &messages);
                    }
                }
            }
        }
    }

    #[test]
    fn a_violation_waits_for_the_messages_before_it() {
        let mut server = endpoint(Role::Server);
        server.receive(&[frame(0x81, b"one"), frame(0x82, b"two"), frame(0x83, b"")].concat());
        assert_eq!(*server.state(), State::Open);
        assert_eq!(server.outgoing(), b"");
        assert_eq!(server.next_message(), Some(text("one")));
        // It can still be answered.
        server.send_text("ONE");
        assert_eq!(server.next_message(), Some(binary(b"two")));
        assert_eq!(*server.state(), State::Open);
        assert_eq!(server.next_message(), None);
        assert_eq!(*server.state(), State::Finished);
        let outgoing = server.outgoing().strip_prefix(b"\x81\x03ONE").unwrap();
        assert_eq!(close_in(outgoing).map(|(code, _)| code), Some(1002));
        let closed = server.closed().unwrap();
        assert_eq!((closed.code, closed.by_peer), (Some(CloseCode::PROTOCOL), false));
    }

    #[test]
    fn a_message_that_is_over_is_not_continued() {
        let bytes = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat();
        every_way(Role::Server, &bytes, |way, endpoint, messages| {
            assert_eq!(messages, [text("ab")], "{way}");
            assert_eq!(close_in(endpoint.outgoing()).map(|(code, _)| code), Some(1002), "{way}");
        });
    }

    #[test]
    fn a_client_fails_a_server_that_breaks_the_protocol() {
        for (bytes, code) in [
            (frame(0x81, b"masked"), 1002u16),
            (b"\xc1\x00".to_vec(), 1002),
            (b"\x83\x00".to_vec(), 1002),
            (b"\x80\x00".to_vec(), 1002),
            (b"\x81\x01\xff".to_vec(), 1007),
            (b"\x82\x7e\xff\xff".to_vec(), 1009),
        ] {
            every_way(Role::Client, &bytes, |way, endpoint, messages| {
                assert_eq!(messages, [], "{bytes:x?} {way}");
                assert_eq!(*endpoint.state(), State::Finished, "{bytes:x?} {way}");
                // Masked as everything that a client sends.
                let [0x88, length, a, b, _, _, high, low, ..] = endpoint.outgoing() else {
                    panic!("{bytes:x?} {way}: {:x?}", endpoint.outgoing());
                };
                assert_eq!(length & 0x80, 0x80);
                assert_eq!(u16::from_be_bytes([high ^ a, low ^ b]), code, "{bytes:x?} {way}");
            });
        }
    }

    #[test]
    fn text_fails_with_the_byte_that_is_wrong() {
        // The last byte of each is the wrong one, in a frame that announces 900.
        for bad in [
            &b"abc\xff"[..],
            b"\x80",
            b"\xc0",
            b"\xe2\x82\x41",
            b"\xed\xa0",
            b"\xf4\x90",
            b"\xf0\x8f",
            b"sch\xc3\xb6n \xf0\x9f\x98\x80 \xe2\x82!",
        ] {
            let whole = [bad, &vec![b'a'; 900 - bad.len()]].concat();
            let fragmented = [frame(0x01, b"before "), frame(0x89, b"x"), frame(0x80, &whole)].concat();
            for (name, bytes, header) in [
                ("one frame", frame(0x81, &whole), 8),
                ("a fragment", fragmented, frame(0x01, b"before ").len() + frame(0x89, b"x").len() + 8),
            ] {
                let (mut server, mut messages) = (endpoint(Role::Server), Vec::new());
                for (at, byte) in bytes.iter().enumerate().take(header + bad.len()) {
                    assert_eq!(*server.state(), State::Open, "{name} {bad:x?} before byte {at}");
                    feed(&mut server, &[*byte], &mut messages);
                }
                let outgoing = server.outgoing();
                let outgoing = outgoing.strip_prefix(b"\x8a\x01x").unwrap_or(outgoing);
                assert_eq!(close_in(outgoing).map(|(code, _)| code), Some(1007), "{name} {bad:x?}");
                assert_eq!(*server.state(), State::Finished, "{name} {bad:x?}");
                assert_eq!(messages, [], "{name} {bad:x?}");
            }
        }
    }

    #[test]
    fn a_character_may_be_cut_by_frames_and_by_segments() {
        let word = "\u{3ba}\u{1f79}\u{20ac}\u{10ffff}\u{7f}";
        for at in 0..=word.len() {
            let (one, two) = word.as_bytes().split_at(at);
            let bytes = [frame(0x01, one), frame(0x8a, b"\xff"), frame(0x00, b""), frame(0x80, two)].concat();
            every_way(Role::Server, &bytes, |way, endpoint, messages| {
                assert_eq!(messages, [text(word)], "cut at {at}, {way}");
                assert_eq!(endpoint.outgoing(), b"", "cut at {at}, {way}");
            });
        }
        // What is no text need not be UTF-8, not even between fragments of text.
        let bytes = [frame(0x01, b"\xe2"), frame(0x89, b"\x80"), frame(0x80, b"\x82\xac")].concat();
        let bytes = [bytes, frame(0x02, b"\xff\xc0"), frame(0x80, b"\x80")].concat();
        every_way(Role::Server, &bytes, |way, endpoint, messages| {
            assert_eq!(messages, [text("\u{20ac}"), binary(b"\xff\xc0\x80")], "{way}");
            assert_eq!(endpoint.outgoing(), b"\x8a\x01\x80", "{way}");
        });
    }

    #[test]
    fn the_largest_message_passes_however_it_is_cut() {
        let payload = vec![b'z'; LIMITS.max_message_bytes];
        let whole = frame(0x81, &payload);
        let halves = [frame(0x01, &payload[..999]), frame(0x80, &payload[999..])].concat();
        let empty_end = [frame(0x01, &payload), frame(0x00, b""), frame(0x80, b"")].concat();
        let most = payload.len() / LIMITS.max_fragments;
        let mut fragments: Vec<_> = payload.chunks(most).map(|piece| frame(0x00, piece)).collect();
        fragments[0][0] = 0x01;
        let last = fragments.len() - 1;
        fragments[last][0] = 0x80;
        assert_eq!(fragments.len(), LIMITS.max_fragments);
        for bytes in [whole, halves, empty_end, fragments.concat()] {
            every_way(Role::Server, &bytes, |way, endpoint, messages| {
                assert_eq!(messages, [text(std::str::from_utf8(&payload).unwrap())], "{way}");
                assert_eq!(*endpoint.state(), State::Open, "{way}");
            });
            // And the count starts anew with the next one.
            let (_, messages) = fed(Role::Server, [&bytes[..], &bytes, &bytes]);
            assert_eq!(messages.len(), 3);
        }
    }

    #[test]
    fn what_is_too_big_fails_with_the_length_and_before_the_payload() {
        // First byte, length, and how many bytes of the header decide.
        let over = LIMITS.max_message_bytes as u64 + 1;
        for (before, first, length) in [
            (vec![], 0x82, over),
            (vec![], 0x81, 1 << 62),
            (vec![], 0x01, (1 << 63) - 1),
            (frame(0x02, &[0; 1_000]), 0x80, 1),
            (frame(0x02, &[0; 900]), 0x00, 101),
            (frame(0x02, &[0; 1]), 0x00, (1 << 63) - 1),
        ] {
            let length = match length {
                0..=125 => vec![0x80 | length as u8],
                126..=0xffff => [&[0xfe][..], &(length as u16).to_be_bytes()].concat(),
                _ => [&[0xff][..], &length.to_be_bytes()].concat(),
            };
            let (mut server, messages) =
                fed(Role::Server, [&before[..], &[first], &length[..length.len() - 1]]);
            assert_eq!(*server.state(), State::Open);
            feed(&mut server, &length[length.len() - 1..], &mut vec![]);
            assert_eq!(close_in(server.outgoing()).map(|(code, _)| code), Some(1009), "{length:x?}");
            assert_eq!(messages, []);
        }
    }

    #[test]
    fn fragments_without_end_are_bounded() {
        for (first, payload) in [(0x01, &b""[..]), (0x02, b""), (0x01, b"a"), (0x02, b"\xff")] {
            for between in [&b""[..], &frame(0x8a, b"")] {
                let (mut server, mut messages) = fed(Role::Server, [&frame(first, payload)[..]]);
                let mut fragments = 1;
                while *server.state() == State::Open {
                    feed(&mut server, between, &mut messages);
                    feed(&mut server, &frame(0x00, payload), &mut messages);
                    fragments += 1;
                    assert!(fragments <= LIMITS.max_fragments + 1, "opcode {first}, {payload:x?}");
                }
                assert_eq!(close_in(server.outgoing()).map(|(code, _)| code), Some(1008));
                assert_eq!(messages, []);
            }
        }
        // Where their number is free, the size still is not.
        let limits = Limits { max_fragments: usize::MAX, ..LIMITS };
        let (mut server, mut messages) = (Endpoint::new(Role::Server, limits), Vec::new());
        feed(&mut server, &frame(0x02, b"a"), &mut messages);
        for _ in 0..10_000 {
            feed(&mut server, &frame(0x00, b""), &mut messages);
        }
        assert_eq!(*server.state(), State::Open);
        for _ in 0..limits.max_message_bytes {
            feed(&mut server, &frame(0x00, b"a"), &mut messages);
        }
        assert_eq!(close_in(server.outgoing()).map(|(code, _)| code), Some(1009));
    }

    #[test]
    fn a_ping_is_answered_with_its_payload() {
        for payload in [&b""[..], b"\0", b"hello", &[0xff; 125]] {
            let pong = [&[0x8a, payload.len() as u8], payload].concat();
            let alone = frame(0x89, payload);
            every_way(Role::Server, &alone, |way, endpoint, messages| {
                assert_eq!((messages, endpoint.outgoing()), (&[][..], &pong[..]), "{way}");
            });
            // Between fragments too, and before the message is there.
            let bytes = [frame(0x01, b"a"), frame(0x89, payload), frame(0x80, b"b")].concat();
            every_way(Role::Server, &bytes, |way, endpoint, messages| {
                assert_eq!((messages, endpoint.outgoing()), (&[text("ab")][..], &pong[..]), "{way}");
            });
            let (endpoint, messages) = fed(Role::Server, [&bytes[..bytes.len() - 1]]);
            assert_eq!((&messages[..], endpoint.outgoing()), (&[][..], &pong[..]));
            // Each has its own.
            let (endpoint, _) = fed(Role::Server, [&[&alone[..]; 10].concat()[..]]);
            assert_eq!(endpoint.outgoing(), [&pong[..]; 10].concat());
        }
    }

    #[test]
    fn nothing_more_is_taken_in_while_too_much_waits_to_leave() {
        for payload in [&b""[..], b"a", &[0; 125]] {
            let (mut server, mut messages) = (endpoint(Role::Server), Vec::new());
            let read = frame(0x89, payload).repeat(100);
            let mut reads = 0;
            while server.wants_input() {
                feed(&mut server, &read, &mut messages);
                reads += 1;
                assert!(reads < 1_000, "never enough");
            }
            // What one read brought may be over the bound, and no more.
            assert!(server.outgoing().len() < MAX_OUTGOING_BYTES + read.len());
            let left = server.outgoing().len() - MAX_OUTGOING_BYTES + 1;
            server.sent(left);
            assert!(server.wants_input(), "there is room again");
        }
        // Once it is over, what still comes is taken in and forgotten.
        let mut server = endpoint(Role::Server);
        server.send_binary(Bytes::from(vec![0; MAX_OUTGOING_BYTES]));
        assert!(!server.wants_input());
        feed(&mut server, &frame(0x88, b""), &mut vec![]);
        assert!(server.wants_input());
    }

    #[test]
    fn a_close_is_echoed_and_what_follows_is_ignored() {
        let longest = [b"\x0f\xa0", &b"r".repeat(123)[..]].concat();
        let mut bodies: Vec<Vec<u8>> = vec![vec![], longest, b"\x03\xe8gr\xc3\xbc\xc3\x9fe".to_vec()];
        let codes =
            [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999];
        bodies.extend(codes.map(|code| code.to_be_bytes().to_vec()));
        for body in bodies {
            for behind in
                [&b""[..], &frame(0x81, b"more"), &frame(0x89, b""), b"\xff\xff\xff", &frame(0x88, b"")]
            {
                let bytes = [&frame(0x81, b"hi"), &frame(0x88, &body), behind].concat();
                every_way(Role::Server, &bytes, |way, endpoint, messages| {
                    assert_eq!(messages, [text("hi")], "{body:x?} {way}");
                    let [0x88, length, echo @ ..] = endpoint.outgoing() else {
                        panic!("{body:x?} {way}: {:x?}", endpoint.outgoing());
                    };
                    assert_eq!(usize::from(*length), echo.len(), "{body:x?} {way}");
                    assert_eq!(echo.get(..2), body.get(..2), "{body:x?} {way}");
                    assert_eq!(*endpoint.state(), State::Finished, "{body:x?} {way}");
                    let closed = endpoint.closed().unwrap();
                    let code = body.get(..2).map(|code| CloseCode(u16::from_be_bytes([code[0], code[1]])));
                    assert_eq!((closed.code, closed.by_peer), (code, true), "{body:x?} {way}");
                    assert_eq!(closed.reason.as_bytes(), body.get(2..).unwrap_or(b""), "{body:x?} {way}");
                });
            }
        }
    }

    #[test]
    fn a_close_waits_for_the_messages_before_it() {
        let (mut server, _) = fed(Role::Server, []);
        server.receive(&[frame(0x81, b"one"), frame(0x89, b"x"), frame(0x88, b"\x03\xe8bye")].concat());
        assert_eq!(server.next_message(), Some(text("one")));
        server.send_text("ONE");
        server.receive(&frame(0x81, b"late"));
        assert_eq!(server.next_message(), None);
        let answers = b"\x8a\x01x\x81\x03ONE\x88\x05\x03\xe8bye";
        assert_eq!(server.outgoing(), answers);
        assert_eq!(*server.state(), State::Finished);

        // Both close at once: one Close each.
        let mut server = endpoint(Role::Server);
        server.receive(&[frame(0x81, b"end"), frame(0x88, b"")].concat());
        assert_eq!(server.next_message(), Some(text("end")));
        server.close(CloseCode::NORMAL, "ended");
        assert_eq!(server.next_message(), None);
        assert_eq!(server.outgoing(), b"\x88\x00");
        assert_eq!(*server.state(), State::Finished);
    }

    #[test]
    fn a_close_inside_of_a_message_ends_it() {
        let bytes = [frame(0x01, b"half"), frame(0x88, b"\x03\xe8"), frame(0x80, b"the rest")].concat();
        every_way(Role::Server, &bytes, |way, endpoint, messages| {
            assert_eq!(messages, [], "{way}");
            assert_eq!(close_in(endpoint.outgoing()), Some((1000, "")), "{way}");
            assert_eq!(*endpoint.state(), State::Finished, "{way}");
        });
    }

    #[test]
    fn a_close_of_ours_waits_for_the_peer_s() {
        for answer in [&b""[..], b"\x03\xe8", b"\x03\xe9other", b"\x00\x00", b"\x03", b"\x03\xe8\xff"] {
            let mut server = endpoint(Role::Server);
            server.send_text("last");
            server.close(CloseCode::AWAY, "later");
            assert_eq!(*server.state(), State::Closing);
            let close = server.outgoing().strip_prefix(b"\x81\x04last").unwrap().to_vec();
            assert_eq!(close_in(&close), Some((1001, "later")));
            server.sent(server.outgoing().len());

            // What was on its way already is heard; nothing is answered any more.
            let mut messages = Vec::new();
            feed(&mut server, &[frame(0x81, b"crossed"), frame(0x89, b"ping")].concat(), &mut messages);
            assert_eq!(messages, [text("crossed")]);
            server.send_text("no");
            server.send_binary(Bytes::from_static(b"no"));
            server.ping(&[]);
            server.close(CloseCode::NORMAL, "no");
            assert_eq!(server.outgoing(), b"", "{answer:x?}");
            assert_eq!(*server.state(), State::Closing);

            feed(&mut server, &[frame(0x88, answer), frame(0x81, b"late")].concat(), &mut messages);
            assert_eq!(*server.state(), State::Finished, "{answer:x?}");
            assert_eq!(server.outgoing(), b"", "{answer:x?}");
            assert_eq!(messages.len(), 1);
            let closed = server.closed().unwrap();
            assert_eq!((closed.code, closed.by_peer), (Some(CloseCode::AWAY), false));
        }
    }

    #[test]
    fn a_violation_behind_a_close_of_ours_ends_it_without_another() {
        let mut server = endpoint(Role::Server);
        server.close(CloseCode::NORMAL, "");
        server.sent(server.outgoing().len());
        feed(&mut server, b"\x83\x00", &mut vec![]);
        assert_eq!(*server.state(), State::Finished);
        assert_eq!(server.outgoing(), b"");
    }

    #[test]
    fn nothing_is_sent_behind_a_close() {
        // Ours, the answer to the peer's, and the one that fails the connection.
        for bytes in [&b""[..], &frame(0x88, b"\x03\xe8"), b"\xff"] {
            let (mut server, _) = fed(Role::Server, [bytes]);
            server.close(CloseCode::NORMAL, "bye");
            let before = server.outgoing().to_vec();
            server.send_text("no");
            server.send_binary(Bytes::from_static(b"no"));
            server.ping(&[]);
            server.close(CloseCode::INTERNAL, "again");
            feed(&mut server, &frame(0x89, b"ping"), &mut vec![]);
            assert_eq!(server.outgoing(), before, "{bytes:x?}");
            assert_eq!(before.iter().filter(|byte| **byte == 0x88).count(), 1, "{before:x?}");
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        for (reason, kept) in [
            ("r".repeat(123), 123),
            ("r".repeat(124), 123),
            ("r".repeat(5_000), 123),
            // Two, three and four bytes each.
            ("\u{fc}".repeat(62), 122),
            (format!("r{}", "\u{fc}".repeat(62)), 123),
            ("\u{20ac}".repeat(50), 123),
            ("\u{1f600}".repeat(31), 120),
            (format!("{}\u{1f600}", "r".repeat(120)), 120),
        ] {
            let mut server = endpoint(Role::Server);
            server.close(CloseCode::POLICY, &reason);
            assert_eq!(close_in(server.outgoing()), Some((1008, &reason[..kept])));
            assert_eq!(server.closed().unwrap().reason, reason[..kept]);
        }
    }

    #[test]
    fn random_bytes_are_survived() {
        let mut noise = Noise(0x5eed);
        let sound = [frame(0x81, b"hi"), frame(0x01, b"\xe2\x82"), frame(0x89, b"p"), frame(0x80, b"\xac")];
        let sound = [&sound.concat()[..], &frame(0x82, &[7; 300]), &frame(0x88, b"\x03\xe8")].concat();
        for round in 0..3_000 {
            // Bytes without a sense, and sense with a few bits wrong, which gets further.
            let bytes = if round % 2 == 0 {
                let length = noise.below(200);
                noise.bytes(length)
            } else {
                let mut bytes = sound.clone();
                for _ in 0..=noise.below(3) {
                    let at = noise.below(bytes.len());
                    bytes[at] ^= 1 << noise.below(8);
                }
                bytes
            };
            for role in [Role::Server, Role::Client] {
                let mut outcomes = Vec::new();
                every_way_sampled(role, &bytes, &mut noise, |endpoint, messages| {
                    let state = endpoint.state().clone();
                    assert!(state == State::Open || state == State::Finished, "{bytes:x?}");
                    assert_eq!(state == State::Finished, endpoint.closed().is_some(), "{bytes:x?}");
                    outcomes.push((state, messages, endpoint.closed().cloned()));
                });
                // However it was cut, it is the same.
                assert!(outcomes.windows(2).all(|two| two[0] == two[1]), "{bytes:x?}: {outcomes:?}");
            }
        }
    }

    /// Feeds the bytes whole, byte by byte, and in random pieces.
    fn every_way_sampled(
        role: Role,
        bytes: &[u8],
        noise: &mut Noise,
        mut look: impl FnMut(Endpoint, Vec<Incoming>),
    ) {
        let (endpoint, messages) = fed(role, [bytes]);
        look(endpoint, messages);
        let (endpoint, messages) = fed(role, bytes.chunks(1));
        look(endpoint, messages);
        let (endpoint, messages) = fed(role, pieces(bytes, 20, noise));
        look(endpoint, messages);
    }

    /// The bytes in pieces of up to so many.
    fn pieces<'a>(mut bytes: &'a [u8], most: usize, noise: &mut Noise) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + noise.below(most)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }

    /// Random messages, and the frames that they travel in to this role: cut anywhere, empty
    /// fragments among them, control frames in between.
    fn conversation(role: Role, noise: &mut Noise) -> (Vec<Incoming>, Vec<u8>, usize) {
        let (mut messages, mut bytes, mut pings) = (Vec::new(), Vec::new(), 0);
        for _ in 0..noise.below(8) {
            let is_text = noise.below(2) == 0;
            let length = [0, 1, 125, 126, 127, 400][noise.below(6)];
            let payload = if is_text {
                let alphabet = ['a', '\0', '\u{e9}', '\u{20ac}', '\u{10ffff}'];
                let text: String = (0..length / 2).map(|_| alphabet[noise.below(alphabet.len())]).collect();
                text.into_bytes()
            } else {
                noise.bytes(length)
            };
            let mut fragments = pieces(&payload, 1 + payload.len(), noise);
            if noise.below(3) == 0 || fragments.is_empty() {
                fragments.insert(noise.below(fragments.len() + 1), b"");
            }
            fragments.truncate(LIMITS.max_fragments);
            let payload = fragments.concat();
            let sound = !is_text || std::str::from_utf8(&payload).is_ok();
            if !sound {
                continue;
            }
            let last = fragments.len() - 1;
            for (n, fragment) in fragments.iter().enumerate() {
                let opcode = if n > 0 { 0 } else { 2 - u8::from(is_text) };
                let fin = if n == last { 0x80 } else { 0 };
                bytes.extend(frame_to(role, fin | opcode, fragment));
                if noise.below(3) == 0 {
                    let ping = noise.below(2) as u8;
                    pings += usize::from(ping);
                    bytes.extend(frame_to(role, 0x8a - ping, b"!"));
                }
            }
            messages.push(match is_text {
                true => Incoming::Text(String::from_utf8(payload).unwrap().into()),
                false => binary(&payload),
            });
        }
        (messages, bytes, pings)
    }

    #[test]
    fn what_is_sound_arrives_however_it_is_framed_and_cut() {
        let mut noise = Noise(0xc0ffee);
        for round in 0..500 {
            for role in [Role::Server, Role::Client] {
                let (expected, bytes, pings) = conversation(role, &mut noise);
                every_way_sampled(role, &bytes, &mut noise, |endpoint, messages| {
                    assert_eq!(messages, expected, "round {round}");
                    assert_eq!(*endpoint.state(), State::Open, "round {round}");
                    let pong = if role == Role::Server { 3 } else { 7 };
                    assert_eq!(endpoint.outgoing().len(), pings * pong, "round {round}");
                });
            }
        }
    }

    #[test]
    fn two_endpoints_understand_each_other() {
        let mut noise = Noise(0xfeed);
        for _ in 0..200 {
            let (mut client, mut server) = (endpoint(Role::Client), endpoint(Role::Server));
            let (sent, ..) = conversation(Role::Server, &mut noise);
            let (mut there, mut back) = (Vec::new(), Vec::new());
            let send = |endpoint: &mut Endpoint, message: &Incoming| match message {
                Incoming::Text(text) => endpoint.send_text(text),
                Incoming::Binary(bytes) => endpoint.send_binary(bytes.clone()),
            };
            for message in &sent {
                client.ping(&[]);
                send(&mut client, message);
            }
            client.close(CloseCode::NORMAL, "done");
            let bytes = client.outgoing().to_vec();
            client.sent(bytes.len());
            for piece in pieces(&bytes, 300, &mut noise) {
                let before = there.len();
                feed(&mut server, piece, &mut there);
                for message in &there[before..] {
                    send(&mut server, message);
                }
            }
            let bytes = server.outgoing().to_vec();
            for piece in pieces(&bytes, 300, &mut noise) {
                feed(&mut client, piece, &mut back);
            }
            assert_eq!(there, sent);
            assert!(sent.starts_with(&back), "nothing but what came back before the Close");
            assert_eq!((server.state(), client.state()), (&State::Finished, &State::Finished));
            assert_eq!(client.outgoing(), b"");
            let closed = server.closed().unwrap();
            assert_eq!((closed.code, closed.by_peer), (Some(CloseCode::NORMAL), true));
            assert!(!client.closed().unwrap().by_peer);
        }
    }
}
