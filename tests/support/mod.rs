//! What the tests share: a server on a port of its own, and a client that speaks in raw bytes.
#![allow(dead_code, unreachable_pub)] // Each file under tests/ is a crate and uses a part of this.

use aloud::handshake::{Accept, Rejection, accept};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::{Ready, poll_fn, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that is stopped when this is dropped.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server with this handshake timeout.
///
/// This one is a stand-in: it answers handshakes, and echoes raw bytes behind them.
pub async fn start(handshake_timeout: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Some(Upgraded { mut stream, early, service }) =
                    serve_http(stream, StandIn::default(), handshake_timeout).await
                else {
                    return;
                };
                assert!(service.accepted.lock().unwrap().is_some());
                let _ = stream.write_all(&early).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Running { addr, task }
}

#[derive(Default)]
struct StandIn {
    accepted: Mutex<Option<Accept>>,
}

impl Service<Request<Incoming>> for StandIn {
    type Response = Response<String>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Response<String>, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let judged = match request.uri().path() {
            "/api/session/ws" => {
                accept(request.method(), request.version(), request.headers(), &["aloud.v1"])
            }
            _ => Err(Rejection::not_found()),
        };
        ready(Ok(match judged {
            Ok(accepted) => {
                let response = accepted.response().map(|()| String::new());
                *self.accepted.lock().unwrap() = Some(accepted);
                response
            }
            Err(rejection) => rejection.response(),
        }))
    }
}

/// About the largest request head, in bytes, before it gets 431. Well above hyper's limit of 65,534
/// bytes for a target: one over that gets its 414 only once the head is complete.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// How long, and how many bytes, a refused peer may go on sending before the connection is dropped.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;

/// A connection that was answered with 101.
pub struct Upgraded<S> {
    /// The connection.
    pub stream: TcpStream,
    /// What the peer sent right behind its handshake. Comes before anything read from `stream`.
    pub early: Bytes,
    /// The service, with whatever it kept of the handshake.
    pub service: S,
}

/// Serves HTTP/1.1 on `stream` until a response with status 101 is written, which gives the stream
/// back, or until the connection is over, which gives `None`.
///
/// From the start, or from the last answer, the peer has `deadline` for a complete request and for
/// taking the answer. A peer that is late gets 408 if it had begun a request, and the connection
/// is closed.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
pub async fn serve_http<S, B>(stream: TcpStream, service: S, deadline: Duration) -> Option<Upgraded<S>>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Unpin,
    S::Future: Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let progress = Arc::new(Mutex::new(Progress { since: Instant::now(), upgraded: false }));
    let watched = Watched { service, progress: progress.clone() };
    let mut http = http1::Builder::new();
    // A peer that has shut down its writing side still gets its answer.
    http.half_close(true).max_buf_size(MAX_HEAD_BYTES);
    // Neither `with_upgrades` nor hyper's own timeouts. The first gives the stream away, boxed,
    // and takes it even behind a refusal, so that it cannot be closed with care. The second cover
    // only the reading of a head, and end it without an answer.
    let mut connection = http.serve_connection(TokioIo::new(stream), watched);
    let mut failed = false;
    let late = loop {
        let until = progress.lock().expect("never poisoned").since + deadline;
        let served = timeout_at(until, poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
        if let Ok(result) = served {
            // What failed is only of interest where it kept a 101 from being written.
            failed = result.is_err();
            break false;
        } else if progress.lock().expect("never poisoned").since + deadline <= Instant::now() {
            break true;
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    if late {
        // hyper takes bytes out of its buffer only with a complete head: what is in there is the
        // beginning of one. Empty lines in front of a request are none (RFC 9112 §2.2).
        if parts.read_buf.iter().any(|byte| !b"\r\n".contains(byte)) {
            let message = "The request took too long to arrive; connect again and send it at once.\n";
            let answer = format!(
                "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{message}",
                message.len()
            );
            // Not awaited: it fits into the socket's buffer, or this peer reads nothing anyway.
            let _ = stream.try_write(answer.as_bytes());
        }
    } else if !failed && progress.lock().expect("never poisoned").upgraded {
        return Some(Upgraded { stream, early: parts.read_buf, service: parts.service.service });
    }
    linger(&mut stream).await;
    None
}

/// Closes a connection so that the last answer arrives: closing it while the peer's bytes are
/// unread would reset it, and the peer's system may then throw the answer away (RFC 9112 §9.6).
async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(LINGER_BYTES);
        let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

struct Progress {
    /// When the time began that the peer has for its next request.
    since: Instant,
    upgraded: bool,
}

/// A service that notes when it answered.
struct Watched<S> {
    service: S,
    progress: Arc<Mutex<Progress>>,
}

struct Answering<F> {
    answer: F,
    progress: Arc<Mutex<Progress>>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Answering { answer: self.service.call(request), progress: self.progress.clone() }
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let answer = Pin::new(&mut self.answer).poll(cx);
        if let Poll::Ready(Ok(response)) = &answer {
            let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            *self.progress.lock().expect("never poisoned") = Progress { since: Instant::now(), upgraded };
        }
        answer
    }
}

/// A connection on which the test says every byte.
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
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

/// Connects; every write leaves at once.
pub async fn raw(addr: SocketAddr) -> Raw {
    let stream = within(TcpStream::connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Raw { stream, unread: Vec::new() }
}

impl Raw {
    /// Sends these bytes in one piece. A peer that has stopped reading is no failure: what it
    /// answered is what a test looks at.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// Ends the own direction of the connection.
    pub async fn finish(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// The next answer's head.
    pub async fn read_head(&mut self) -> Head {
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
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Head { status, headers }
    }

    /// The next answer, with as much body as its head announces.
    pub async fn read_answer(&mut self) -> (Head, String) {
        let head = self.read_head().await;
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.read_exact(length).await;
        (head, String::from_utf8(body).unwrap())
    }

    /// The next bytes, as many as these.
    pub async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill().await, "closed after {} of {length} bytes", self.unread.len());
        }
        self.unread.drain(..length).collect()
    }

    /// Everything until the peer closes. Fails on a reset: that is not how a server closes.
    pub async fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// Whether more has come, and not the end.
    async fn fill(&mut self) -> bool {
        within(self.stream.read_buf(&mut self.unread)).await.expect("closed in good order") > 0
    }
}

/// Waits for this, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("in time")
}
