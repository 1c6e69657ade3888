//! A small WebSocket client of the session protocol, for programs and tests in Rust.

use crate::server::PATH;
use crate::session::message::{ClientMessage, Fault, ServerMessage};
use crate::upstream::Secret;
use crate::ws::endpoint::{CloseCode, Closed, Endpoint, Incoming, Limits, Role, State};
use crate::ws::handshake::{self, Refused};
use http_body_util::Empty;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::AUTHORIZATION;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long connecting and the opening handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which a server is taken for gone. It pings every 30 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Far more than a server sends in one message: a frame holds 64 KiB at most.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A control message.
    Message(ServerMessage),
    /// A piece of the current sentence's audio: whole samples.
    Audio(Bytes),
}

/// Why a client could not go on.
#[derive(Debug)]
pub enum Error {
    /// The URL is none that this client can open; says why.
    Url(String),
    /// The server cannot be reached, or the connection broke.
    Io(io::Error),
    /// The server's HTTP was broken.
    Http(hyper::Error),
    /// The server answered, but opened no WebSocket.
    Refused(Refused),
    /// The server sent a control message that is none.
    Message(Fault),
    /// The server closed the connection for a reason other than its end.
    Closed(Closed),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(why) => f.write_str(why),
            Error::Io(error) => write!(f, "the connection failed: {error}"),
            Error::Http(error) => write!(f, "the handshake failed: {error}"),
            Error::Refused(refused) => refused.fmt(f),
            Error::Message(fault) => write!(f, "the server sent a message that is none: {fault}"),
            Error::Closed(closed) => {
                let code = closed.code.map_or_else(|| "no code".to_owned(), |code| code.0.to_string());
                write!(f, "the server closed the connection: {code} {}", closed.reason)
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
    /// Whether it is worth to connect again and recover the session: the connection was lost, or
    /// closed with a code that says to come back.
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Io(_) | Error::Http(_) => true,
            Error::Refused(refused) => refused.status.is_server_error() || refused.status.as_u16() == 429,
            Error::Closed(Closed { code: Some(CloseCode(code)), .. }) => {
                matches!(code, 1001 | 1006 | 1011 | 1012 | 1013 | 4408 | 4429 | 4500..=4599)
            }
            Error::Url(_) | Error::Message(_) | Error::Closed(_) => false,
        }
    }
}

/// A connection to a server that speaks.
///
/// ```no_run
/// use aloud::client::{Client, Event};
/// use aloud::session::message::{ClientMessage, ServerMessage};
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
///         Event::Message(_) => {}
///     }
/// }
/// client.send(&ClientMessage::End { drain: false }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    endpoint: Endpoint,
    subprotocol: Option<String>,
    buffer: Box<[u8]>,
}

impl Client {
    /// Connects to `ws://HOST[:PORT][/PATH]` within 10 s. The port is 80 where none is given, the
    /// path a session's own.
    ///
    /// # Errors
    /// Whatever keeps the WebSocket from being opened.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect(url: &str) -> Result<Client, Error> {
        Client::connect_with(url, &[]).await
    }

    /// The same, offering these subprotocols, the most wanted first. The server may choose none.
    ///
    /// # Errors
    /// Whatever keeps the WebSocket from being opened.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_with(url: &str, subprotocols: &[&str]) -> Result<Client, Error> {
        Client::open(url, subprotocols, None).await
    }

    /// The same, showing this token, or ticket, to a server that lets in only who has one.
    ///
    /// # Errors
    /// Whatever keeps the WebSocket from being opened.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_as(token: &Secret, url: &str, subprotocols: &[&str]) -> Result<Client, Error> {
        Client::open(url, subprotocols, Some(token)).await
    }

    async fn open(url: &str, subprotocols: &[&str], token: Option<&Secret>) -> Result<Client, Error> {
        let late = |_| Error::Io(ErrorKind::TimedOut.into());
        timeout(CONNECT_TIMEOUT, open(url, subprotocols, token)).await.map_err(late)?
    }

    /// The subprotocol that the server chose of those it was offered.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// The connection is broken.
    ///
    /// # Cancel safety
    /// What has not left by then leaves with the next call to any method.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), Error> {
        self.endpoint.send_text(&message.to_json());
        self.flush().await
    }

    /// The next thing the server sent; `None` once the connection was closed with code 1000.
    ///
    /// # Errors
    /// The connection broke, or the server closed it for another reason.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.endpoint.next_message() {
                Some(Incoming::Binary(bytes)) => return Ok(Some(Event::Audio(bytes))),
                Some(Incoming::Text(text)) => match ServerMessage::parse(&text).map_err(Error::Message)? {
                    Some(message) => return Ok(Some(Event::Message(message))),
                    None => continue,
                },
                None => {}
            }
            self.flush().await?;
            if let (State::Finished, Some(closed)) = (self.endpoint.state(), self.endpoint.closed()) {
                return match closed.code {
                    Some(CloseCode::NORMAL) => Ok(None),
                    _ => Err(Error::Closed(closed.clone())),
                };
            }
            let late = |_| Error::Io(ErrorKind::TimedOut.into());
            timeout(SILENCE_TIMEOUT, self.socket.readable()).await.map_err(late)??;
            match self.socket.try_read(&mut self.buffer) {
                Ok(0) => return Err(Error::Io(ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.endpoint.receive(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while !self.endpoint.outgoing().is_empty() {
            self.socket.writable().await?;
            match self.socket.try_write(self.endpoint.outgoing()) {
                Ok(count) => self.endpoint.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

async fn open(url: &str, subprotocols: &[&str], token: Option<&Secret>) -> Result<Client, Error> {
    let uri: Uri = url.parse().map_err(|error| Error::Url(format!("{url} is no URL: {error}")))?;
    if uri.scheme_str() != Some("ws") {
        return Err(Error::Url(format!("{url} must begin with ws://, the only scheme there is here")));
    }
    let host = uri.host().ok_or_else(|| Error::Url(format!("{url} names no host")))?;
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
        "/" => PATH,
        path => path,
    };
    let socket = TcpStream::connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80))).await?;
    socket.set_nodelay(true)?;

    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Error::Io(io::Error::other(error)))?;
    let key = handshake::generate_key(random);
    let mut request = handshake::request(authority, path, &key, subprotocols)
        .map_err(|error| Error::Url(format!("{url} cannot be asked for: {error}")))?
        .map(|()| Empty::<Bytes>::new());
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.header("Bearer "));
    }
    let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(Error::Http)?;
    tokio::spawn(connection.with_upgrades());
    let response = requests.send_request(request).await.map_err(Error::Http)?;
    let subprotocol = handshake::verify(&key, response.status(), response.headers(), subprotocols)
        .map_err(Error::Refused)?;
    let upgraded = hyper::upgrade::on(response).await.map_err(Error::Http)?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("this is what the connection was made of");

    let limits = Limits {
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_fragments: usize::MAX,
        read_buffer_bytes: READ_BYTES,
    };
    let mut endpoint = Endpoint::new(Role::Client, limits);
    endpoint.receive(&parts.read_buf);
    let buffer = vec![0; READ_BYTES].into_boxed_slice();
    Ok(Client { socket: parts.io.into_inner(), endpoint, subprotocol, buffer })
}
