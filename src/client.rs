//! A WebSocket client of the session protocol.

use crate::session::message::{ClientMessage, Fault, NO_CODE, PATH, Retry, ServerMessage, retry};
use crate::upstream::{self, Connection, Secret};
use crate::ws::endpoint::{CloseCode, Closed, Endpoint, Incoming, Limits, Role, State};
use crate::ws::handshake::{self, Refused};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming as Body};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::uri::Scheme;
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tungstenite::Utf8Bytes;

/// Deadline for the TCP connection and the opening handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time without data after which the connection counts as lost. The server pings every 30 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(75);

/// Size of the read buffer.
const READ_BYTES: usize = 64 * 1024;

/// Maximum size of a message. A server's frames hold at most 64 KiB.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Deadline for the body of a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Data received from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A control message.
    Message(ServerMessage),
    /// A part of the current sentence's audio, in whole samples.
    Audio(Bytes),
}

/// An error of a client. After any error the connection is unusable.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// This client cannot open the URL. The sentence says why.
    Url(String),
    /// The server cannot be reached, or the connection was lost.
    Io(io::Error),
    /// The server's HTTP is invalid.
    Http(hyper::Error),
    /// The server refused the WebSocket.
    Refused(Refused),
    /// The server sent an invalid control message.
    Message(Fault),
    /// The server closed the connection with a code other than 1000.
    Closed(Closed),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(why) => f.write_str(why),
            Error::Io(error) => write!(f, "the connection failed: {error}"),
            Error::Http(error) => write!(f, "the handshake failed: {error}"),
            Error::Refused(refused) => refused.fmt(f),
            Error::Message(fault) => write!(f, "the server sent an invalid message: {fault}"),
            Error::Closed(Closed { code: None, .. }) => {
                f.write_str("the server closed the connection without a code")
            }
            Error::Closed(Closed { code: Some(CloseCode(code)), reason, .. }) => {
                write!(f, "the server closed the connection: {code} {reason}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl Error {
    /// True if the client may reconnect and recover the session: the connection was lost, the server
    /// answered with status 429 or 5xx, or it closed with a code whose [`retry`] is [`Retry::Now`].
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Io(_) | Error::Http(_) => true,
            Error::Refused(refused) => refused.status.is_server_error() || refused.status.as_u16() == 429,
            Error::Closed(closed) => retry(closed.code.map_or(NO_CODE, |code| code.0)) == Retry::Now,
            Error::Url(_) | Error::Message(_) => false,
        }
    }
}

/// A connection to a server.
///
/// ```no_run
/// use aloud::client::{Client, Event};
/// use aloud::message::{ClientMessage, ServerMessage};
///
/// # async fn example() -> Result<(), aloud::client::Error> {
/// let mut client = Client::connect("ws://127.0.0.1:8080").await?;
/// client.send(&ClientMessage::start("Good evening.")).await?;
/// let mut audio = Vec::new();
/// while let Some(event) = client.next().await? {
///     match event {
///         Event::Audio(bytes) => audio.extend_from_slice(&bytes),
///         Event::Message(ServerMessage::Text { data, .. }) => println!("{data}"),
///         Event::Message(ServerMessage::SessionEnd { .. }) => break,
///         _ => {}
///     }
/// }
/// client.send(&ClientMessage::End { drain: false }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    socket: TokioIo<Connection>,
    endpoint: Endpoint,
    subprotocol: Option<String>,
    /// The last control message.
    text: Utf8Bytes,
    buffer: Box<[u8]>,
}

impl Client {
    /// Connects to `ws://HOST[:PORT][/PATH]`, or with the feature `tls` to `wss://`, within 10 s. Defaults:
    /// port 80, or 443 with TLS; the path of sessions. `http://` and `https://` mean the same.
    ///
    /// # Errors
    /// The URL is invalid, the server cannot be reached, or it refuses the WebSocket.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect(url: &str) -> Result<Client, Error> {
        Client::connect_with(url, &[]).await
    }

    /// Connects like [`connect`](Client::connect) and offers these subprotocols, in order of
    /// preference. The server may choose none.
    ///
    /// # Errors
    /// The URL is invalid, the server cannot be reached, or it refuses the WebSocket.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_with(url: &str, subprotocols: &[&str]) -> Result<Client, Error> {
        Client::open(url, subprotocols, None).await
    }

    /// Connects like [`connect_with`](Client::connect_with) and sends this token or ticket in the
    /// handshake.
    ///
    /// # Errors
    /// The URL is invalid, the server cannot be reached, or it refuses the WebSocket.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_as(token: &Secret, url: &str, subprotocols: &[&str]) -> Result<Client, Error> {
        Client::open(url, subprotocols, Some(token)).await
    }

    async fn open(url: &str, subprotocols: &[&str], token: Option<&Secret>) -> Result<Client, Error> {
        let late = |_| timed_out(format!("no connection within {CONNECT_TIMEOUT:?}"));
        // Behind a pointer, so that each caller has not a copy of its code.
        let opening: Pin<Box<dyn Future<Output = Result<Client, Error>> + Send + '_>> =
            Box::pin(open(url, subprotocols, token));
        timeout(CONNECT_TIMEOUT, opening).await.map_err(late)?
    }

    /// Returns the subprotocol that the server chose, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// The connection was lost.
    ///
    /// # Cancel safety
    /// The next call of any method sends the bytes that were not sent yet.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), Error> {
        self.send_text(&message.to_json()).await
    }

    /// Sends a control message as JSON: one with fields that [`ClientMessage`] does not have.
    ///
    /// # Errors
    /// The connection was lost.
    ///
    /// # Cancel safety
    /// The next call of any method sends the bytes that were not sent yet.
    pub async fn send_text(&mut self, json: &str) -> Result<(), Error> {
        self.endpoint.send_text(json);
        self.flush().await
    }

    /// Returns the last control message as JSON, with fields that [`ServerMessage`] does not have. Empty
    /// before the first one.
    pub fn last_text(&self) -> &str {
        &self.text
    }

    /// Waits for the next event. Returns `None` after the connection was closed with code 1000.
    ///
    /// # Errors
    /// The connection was lost, or closed with another code.
    ///
    /// # Cancel safety
    /// Dropping the future loses no data.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.endpoint.next_message() {
                Some(Incoming::Binary(bytes)) => return Ok(Some(Event::Audio(bytes))),
                Some(Incoming::Text(text)) => {
                    self.text = text;
                    match ServerMessage::parse(&self.text).map_err(Error::Message)? {
                        Some(message) => return Ok(Some(Event::Message(message))),
                        None => continue,
                    }
                }
                None => {}
            }
            self.flush().await?;
            if let (State::Finished, Some(closed)) = (self.endpoint.state(), self.endpoint.closed()) {
                return match closed.code {
                    Some(CloseCode::NORMAL) => Ok(None),
                    _ => Err(Error::Closed(closed.clone())),
                };
            }
            let late = |_| timed_out(format!("no data from the server for {SILENCE_TIMEOUT:?}"));
            match timeout(SILENCE_TIMEOUT, self.socket.read(&mut self.buffer)).await.map_err(late)?? {
                0 => {
                    let message = "the server ended the connection without a Close frame";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, message).into());
                }
                count => self.endpoint.receive(&self.buffer[..count]),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while !self.endpoint.outgoing().is_empty() {
            match self.socket.write(self.endpoint.outgoing()).await? {
                0 => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                count => self.endpoint.sent(count),
            }
        }
        // TLS may hold bytes that it has taken.
        Ok(self.socket.flush().await?)
    }
}

fn timed_out(message: String) -> Error {
    Error::Io(io::Error::new(ErrorKind::TimedOut, message))
}

/// Reads the sentence of a server that refused the handshake. A body that is no plain text has none.
async fn with_sentence(refused: Refused, response: Response<Body>) -> Refused {
    let content_type = response.headers().get(CONTENT_TYPE);
    if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/plain")) {
        return refused;
    }
    // A sentence comes in one piece.
    match timeout(REFUSAL_TIMEOUT, response.into_body().frame()).await {
        Ok(Some(Ok(frame))) => refused.saying(frame.data_ref().map_or(&[], |bytes| &bytes[..])),
        _ => refused,
    }
}

async fn open(url: &str, subprotocols: &[&str], token: Option<&Secret>) -> Result<Client, Error> {
    let uri: Uri = url.parse().map_err(|error| Error::Url(format!("{url} is not a URL: {error}")))?;
    let scheme = match uri.scheme_str() {
        Some("ws" | "http") => Scheme::HTTP,
        Some("wss" | "https") if cfg!(feature = "tls") => Scheme::HTTPS,
        Some("wss" | "https") => {
            let cure = "build aloud with the feature tls, or give the ws:// address behind the proxy";
            return Err(Error::Url(format!("{url} needs TLS, which this build does not have: {cure}")));
        }
        _ => return Err(Error::Url(format!("{url} must begin with ws:// or wss://"))),
    };
    let host = uri.host().ok_or_else(|| Error::Url(format!("{url} has no host. Write ws://HOST[:PORT]")))?;
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
        "/" => PATH,
        path => path,
    };
    let target = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    let target = target.map_err(|error| Error::Url(format!("{url} is not a URL: {error}")))?;
    let socket = upstream::connect("server", target).await?;

    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Error::Io(io::Error::other(error)))?;
    let key = handshake::generate_key(random);
    let mut request = handshake::request(authority, path, &key, subprotocols)
        .map_err(|error| Error::Url(format!("{url} cannot be requested: {error}")))?
        .map(|()| Empty::<Bytes>::new());
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.header("Bearer "));
    }
    let (mut requests, connection) = http1::handshake(socket).await.map_err(Error::Http)?;
    tokio::spawn(connection.with_upgrades());
    let response = requests.send_request(request).await.map_err(Error::Http)?;
    let subprotocol = match handshake::verify(&key, response.status(), response.headers(), subprotocols) {
        Ok(subprotocol) => subprotocol,
        Err(refused) => return Err(Error::Refused(with_sentence(refused, response).await)),
    };
    let upgraded = hyper::upgrade::on(response).await.map_err(Error::Http)?;
    let parts = upgraded.downcast::<Connection>().expect("the connection is the one that was opened");

    let limits = Limits {
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_fragments: usize::MAX,
        read_buffer_bytes: READ_BYTES,
    };
    let mut endpoint = Endpoint::new(Role::Client, limits);
    endpoint.receive(&parts.read_buf);
    let buffer = vec![0; READ_BYTES].into_boxed_slice();
    let text = Utf8Bytes::default();
    Ok(Client { socket: TokioIo::new(parts.io), endpoint, subprotocol, text, buffer })
}
