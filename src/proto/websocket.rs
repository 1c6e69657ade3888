//! One end of a WebSocket connection after the opening handshake (RFC 6455 §5–§7): bytes that
//! arrived go in, messages come out, and what has to leave waits to be sent.
//!
//! Knows nothing of sockets, time or speech. Underneath, tungstenite's protocol engine runs over
//! memory: it assembles messages, answers Pings and keeps the closing handshake. Around it stand
//! the checks that it leaves out ([`inspect`](super::inspect)) and the Close frame that it does
//! not send when a peer breaks the protocol. Audio does not pass through here: its frames are made
//! in a [`Batch`](super::frames::Batch), behind what waits in [`outgoing`](Endpoint::outgoing).

use super::frames;
use super::inspect::{Inspector, Violation};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use tungstenite::protocol::{self, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

/// Which end of the connection this is. A client masks what it sends (RFC 6455 §5.3).
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
    /// The peer broke a rule of ours for which there is no code.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message over the limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// A fault on our side.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The server restarts; come back.
    pub const RESTART: CloseCode = CloseCode(1012);
}

/// Bounds on what a peer may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest message, in bytes, however it is fragmented.
    pub max_message_bytes: usize,
    /// The most fragments of one message.
    pub max_fragments: usize,
    /// What is allocated at once for what arrives, in bytes; grows with a frame that needs more.
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

/// Where the connection is in its life (RFC 6455 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages flow both ways.
    Open,
    /// A Close of ours is on its way or sent; the peer's answer is awaited.
    Closing,
    /// The closing handshake is complete, or the peer broke the protocol: once
    /// [`outgoing`](Endpoint::outgoing) has left there is nothing more to say, and whatever
    /// still arrives is ignored.
    Finished,
}

/// How the connection ended, as far as Close frames tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code; `None` if the peer sent a Close frame without one.
    pub code: Option<CloseCode>,
    /// The reason given in words.
    pub reason: String,
    /// Whether the peer was the first to say so.
    pub by_peer: bool,
}

/// The most that may wait in [`Endpoint::outgoing`] before nothing more is taken in: a peer that
/// sends Pings and never reads must not make us remember them all.
const MAX_OUTGOING_BYTES: usize = 16 * 1024;

/// One end of an open connection.
#[derive(Debug)]
pub struct Endpoint {
    role: Role,
    context: WebSocketContext,
    inspector: Inspector,
    outgoing: Vec<u8>,
    incoming: VecDeque<Incoming>,
    state: State,
    closed: Option<Box<Closed>>,
    /// Found, but not acted on before what came ahead of it was.
    violation: Option<Violation>,
}

impl Endpoint {
    /// A connection whose opening handshake has just been completed.
    pub fn new(role: Role, limits: Limits) -> Endpoint {
        let config = WebSocketConfig::default()
            .read_buffer_size(limits.read_buffer_bytes)
            // Control frames go straight to `outgoing`.
            .write_buffer_size(0)
            .max_message_size(Some(limits.max_message_bytes))
            .max_frame_size(Some(limits.max_message_bytes));
        let engine_role = match role {
            Role::Server => protocol::Role::Server,
            Role::Client => protocol::Role::Client,
        };
        Endpoint {
            role,
            context: WebSocketContext::new(engine_role, Some(config)),
            inspector: Inspector::new(role, limits),
            outgoing: Vec::new(),
            incoming: VecDeque::new(),
            state: State::Open,
            closed: None,
            violation: None,
        }
    }

    /// Takes bytes that arrived from the peer.
    ///
    /// Writes nothing: answers (Pong, Close) wait in [`outgoing`](Self::outgoing) until the owner
    /// sends them. A peer that breaks the protocol is answered with close code 1002, 1007, 1008 or
    /// 1009 (RFC 6455 §7.4.1), once every message that came before was taken with
    /// [`next_message`](Self::next_message).
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.state == State::Finished || self.violation.is_some() {
            return;
        }
        let (sound, violation) = self.inspector.inspect(bytes);
        let mut memory = Memory { input: &bytes[..sound], output: &mut self.outgoing };
        // tungstenite answers a Ping at the *next* read only, so read until nothing is left.
        let error = loop {
            match self.context.read(&mut memory) {
                Ok(Message::Text(text)) => self.incoming.push_back(Incoming::Text(text)),
                Ok(Message::Binary(bytes)) => self.incoming.push_back(Incoming::Binary(bytes)),
                Ok(Message::Close(frame)) => {
                    self.closed.get_or_insert_with(|| {
                        let (code, reason) = match frame {
                            Some(frame) => (Some(CloseCode(frame.code.into())), frame.reason.to_string()),
                            None => (None, String::new()),
                        };
                        Box::new(Closed { code, reason, by_peer: true })
                    });
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error),
            }
        };
        // The closing handshake is over once the peer's Close was read and ours is under way.
        if !self.context.can_read() {
            self.state = State::Finished;
        } else {
            self.violation = violation.or_else(|| error.as_ref().map(as_violation));
        }
    }

    /// Fails the connection (RFC 6455 §7.1.7): one Close frame, then silence.
    fn fail(&mut self, violation: Violation) {
        self.close(violation.code, violation.reason);
        self.state = State::Finished;
    }

    /// The next message that is complete. To be asked until there is none.
    pub fn next_message(&mut self) -> Option<Incoming> {
        let message = self.incoming.pop_front();
        if message.is_none() {
            // An idle connection keeps no queue.
            self.incoming = VecDeque::new();
            if let Some(violation) = self.violation.take() {
                self.fail(violation);
            }
        }
        message
    }

    /// Whether more may be read from the peer. False while too much waits to leave.
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

    /// Queues a Ping (RFC 6455 §5.5.2).
    pub fn ping(&mut self) {
        self.queue(Message::Ping(Bytes::new()));
    }

    fn queue(&mut self, message: Message) {
        if self.state != State::Open {
            return;
        }
        let mut memory = Memory { input: &[], output: &mut self.outgoing };
        // Memory takes everything, so all that is left to fail is a context that has closed.
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

    /// Framed bytes that have to leave, before any audio does.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Tells that the first `count` bytes of [`outgoing`](Self::outgoing) have left.
    pub fn sent(&mut self, count: usize) {
        if count >= self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..count);
        }
    }

    /// Where the rest of a frame goes that a write has begun. To be used only when nothing else
    /// waits, which is so after [`sent`](Self::sent) took everything.
    pub fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Where the connection is in its life.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether the peer's Close was read, so that nothing more of it can matter.
    pub fn heard_close(&self) -> bool {
        !self.context.can_read()
    }

    /// Who closed the connection and why; `None` as long as it is open.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }
}

/// The close code for what tungstenite itself found.
fn as_violation(error: &tungstenite::Error) -> Violation {
    let (code, reason) = match error {
        tungstenite::Error::Utf8(_) => (CloseCode::INVALID_PAYLOAD, "Text must be valid UTF-8."),
        tungstenite::Error::Capacity(_) => (CloseCode::TOO_BIG, "The message is over the size limit."),
        _ => (CloseCode::PROTOCOL, "The frame breaks the WebSocket protocol."),
    };
    Violation { code, reason }
}

/// What tungstenite takes for its socket: reads from a slice, writes to a buffer.
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
