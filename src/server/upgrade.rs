//! The one way from an accepted opening handshake to a connection.
//!
//! Our own HTTP/1.1, streams of HTTP/2 and connections that an embedder upgrades all end here. From here
//! on they have the same deadlines: `auth_timeout`, `stall_timeout`, heartbeat, `close_timeout` and
//! `drain_timeout`. An embedder's connection has to hand over its socket within `handshake_timeout`.

use super::application::Application;
use super::connection::{self, Connection};
use super::date;
use super::echo::Echo;
use super::report;
use super::service::Shared;
use super::speaking::Speaking;
use super::transport::{Buffered, FIRST_UNSENT_BYTES, Socket, Transport};
use crate::access::Permit;
use crate::access::credential::Token;
use crate::deadline::within;
use crate::session::{Input, Session, SessionConfig};
use crate::ws::endpoint::{Endpoint, Role};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Response;
use hyper::body::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Random bytes in a session's token.
const TOKEN_BYTES: usize = 24;

/// A client whose handshake was accepted, and the terms.
pub(super) struct Admitted {
    pub(super) subprotocol: Option<&'static str>,
    pub(super) permit: Permit,
    pub(super) settings: Arc<SessionConfig>,
    /// The client has to send a credential in its first message.
    pub(super) must_authenticate: bool,
    /// The ticket that it has used up on this server.
    pub(super) ticket: Option<Token>,
    /// The server's shutdown waits until this is dropped: when the connection has one of its own.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Admitted {
    /// Starts the connection in a task of its own: the task of the handshake ends, and frees its
    /// memory.
    pub(super) fn start<T: Transport>(self, shared: &Arc<Shared>, transport: T, early: Bytes) {
        self.run(Arc::clone(shared), transport, Vec::new(), early);
    }

    /// Runs the connection in a task of its own: the task of the handshake gives its memory back. `answer`
    /// has to leave before everything else; `early` arrived right behind the handshake.
    pub(super) fn run<T: Transport>(self, shared: Arc<Shared>, transport: T, answer: Vec<u8>, early: Bytes) {
        let Admitted { subprotocol, permit, settings, must_authenticate, ticket, stopping } = self;
        let wire = Wire { transport, answer, early, stopping };
        if shared.echoes {
            return wire.spawn(Echo::new(permit), shared);
        }
        // Only a client that speaks `aloud.v1` gets a token.
        let token = subprotocol.map(|_| URL_SAFE_NO_PAD.encode(random::<TOKEN_BYTES>()));
        let mut session = Session::new(settings, session_id(), token, Instant::now().into_std());
        if must_authenticate {
            session.handle(Input::AwaitCredential, Instant::now().into_std());
        }
        let mut speaking = Speaking::new(session, permit);
        speaking.spend(ticket.as_ref(), &shared);
        wire.spawn(speaking, shared);
    }

    /// Starts the connection once an embedder's server has answered and handed its socket over.
    pub(super) fn start_upgraded(self, shared: Arc<Shared>, upgrade: OnUpgrade) {
        tokio::spawn(async move {
            // Fails if the peer left before the answer did.
            let Ok(Ok(upgraded)) = within(shared.config.handshake_timeout, upgrade).await else { return };
            match bare::<TcpStream>(upgraded) {
                Ok((socket, early)) => {
                    let mut socket = Socket::Tcp(socket);
                    socket.limit_unsent(FIRST_UNSENT_BYTES);
                    self.start(&shared, socket, early);
                }
                Err(upgraded) => match bare::<UnixStream>(upgraded) {
                    Ok((socket, early)) => self.start(&shared, Socket::Unix(socket), early),
                    Err(upgraded) => {
                        let buffered = Buffered::new(TokioIo::new(upgraded));
                        self.start(&shared, buffered, Bytes::new());
                    }
                },
            }
        });
    }
}

/// Takes the socket back from hyper, if it is one of this type.
fn bare<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    upgraded.downcast::<TokioIo<S>>().map(|parts| (parts.io.into_inner(), parts.read_buf))
}

/// A byte stream whose opening handshake is over.
struct Wire<T> {
    transport: T,
    answer: Vec<u8>,
    early: Bytes,
    stopping: watch::Receiver<bool>,
}

impl<T: Transport> Wire<T> {
    fn spawn<A: Application>(self, application: A, shared: Arc<Shared>) {
        let Wire { transport, answer, early, stopping } = self;
        let telemetry = Arc::clone(&shared.telemetry);
        let connection = {
            let mut endpoint = Endpoint::new(Role::Server, shared.limits);
            endpoint.send_answer(answer);
            Connection::new(transport, endpoint, application, shared, &early)
        };
        // Even an empty one may hold hyper's read buffer.
        drop((early, stopping));
        tokio::spawn(async move {
            let ended = connection::serve(&connection).await;
            // Before the socket closes: a client that has seen the end is in the log.
            report::log_end(&ended, &telemetry);
        });
    }
}

/// The head of an answer over HTTP/1.1, as hyper writes it.
pub(super) fn head(response: &Response<()>) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(response.status().as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    let mut add = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    for (name, value) in response.headers() {
        add(name.as_str(), value.as_bytes());
    }
    date::with(|date| add("date", date.as_bytes()));
    head.extend_from_slice(b"\r\n");
    head
}

/// A UUID, version 4 (RFC 9562 §5.4).
pub(super) fn session_id() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (n, byte) in bytes.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.extend([byte >> 4, byte & 0x0f].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
    }
    id
}

/// Random bytes from the system.
pub(super) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // Without randomness ids and tokens could be guessed: nothing sensible is left to do.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
