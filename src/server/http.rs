//! HTTP/1.1 from accepting a connection to its opening handshake: one deadline for each request,
//! an answer for whoever began one, and a close that does not take the answer back.
//!
//! Who is let in is judged elsewhere; this file knows no session.

use super::service::{Admitted, Service};
use crate::access::ClientId;
use crate::deadline::pass;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::{pending, poll_fn, ready};
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

/// The largest request head, in bytes: room for a target over hyper's limit of 65,534 bytes, so
/// that it gets 414, and for little more.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// How long, and how many bytes, a refused peer may go on sending before it is dropped.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

const TOO_LATE: &str = "The request took too long to arrive; connect again and send it at once.\n";

/// A connection that was answered with 101.
pub(super) struct Accepted<S> {
    pub(super) socket: S,
    /// What the peer sent right behind its handshake.
    pub(super) early: Bytes,
    /// Who is there, and what was agreed on.
    pub(super) admitted: Admitted,
}

/// A socket of which somebody has read the beginning, as if nobody had.
pub(super) struct Rewound<S> {
    /// What was read.
    pub(super) first: Bytes,
    pub(super) socket: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }
}

struct Progress {
    /// When the time began that the peer has for its next request.
    since: Instant,
    accepted: Option<Admitted>,
}

/// Serves HTTP, to the peer at this address, until a handshake is accepted, which gives the socket
/// back, or until the connection is over. Since it was accepted, or since the last answer, the peer
/// has the handshake timeout for a complete request; one that is late gets 408 if it had begun any.
///
/// # Cancel safety
/// Dropping the future drops the connection.
pub(super) async fn shake_hands<S>(
    socket: Rewound<S>,
    peer: Option<IpAddr>,
    since: Instant,
    service: &Service,
) -> Option<Accepted<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let patience = service.config().handshake_timeout;
    let progress = Arc::new(Mutex::new(Progress { since, accepted: None }));
    let answer = {
        let (service, progress) = (service.clone(), Arc::clone(&progress));
        service_fn(move |request: Request<Incoming>| {
            let (answer, accepted) = service.judge(&request, peer);
            *lock(&progress) = Progress { since: Instant::now(), accepted };
            ready(Ok::<_, Infallible>(answer))
        })
    };
    // Not `with_upgrades`: it takes the socket away even behind a refusal, which then cannot be
    // closed with care. And not hyper's own timeout: it starts with the first byte, and ends
    // without an answer.
    // Behind a stop a peer is answered, but nobody waits for it.
    let mut is_stopping = service.is_stopping();
    let stopping = (!is_stopping).then(|| service.stopping());
    let _counted = service.telemetry().handshaking.enter();
    let mut connection = http1::Builder::new()
        .keep_alive(!is_stopping)
        // A peer that has shut down its writing side still gets its answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), answer);
    let mut is_late = false;
    let mut has_failed = false;
    {
        let mut stop = pin!(async move {
            match stopping {
                Some(mut stopping) => drop(stopping.wait_for(|stop| *stop).await),
                None => pending().await,
            }
        });
        let mut timer = pin!(pass(since + patience));
        loop {
            tokio::select! {
                biased;
                served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                    if let Err(error) = &served
                        && error.is_parse()
                    {
                        tell_refused(service, peer, answered(error), error);
                    }
                    has_failed = served.is_err();
                    break;
                }
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                () = timer.as_mut() => {
                    let deadline = lock(&progress).since + patience;
                    is_late = deadline <= Instant::now();
                    if is_late {
                        break;
                    }
                    timer.set(pass(deadline));
                }
            }
        }
    }
    let parts = connection.into_parts();
    // Whatever was read before hyper did is in its buffer by now, and what it left is here.
    let Rewound { mut socket, .. } = parts.io.into_inner();
    let accepted = lock(&progress).accepted.take().filter(|_| !is_late && !has_failed);
    if let Some(admitted) = accepted {
        return Some(Accepted { socket, early: parts.read_buf, admitted });
    }
    // hyper takes bytes out of its buffer only with a complete head: what is in there is the
    // beginning of one. Empty lines in front of a request are none (RFC 9112 §2.2).
    let has_begun = parts.read_buf.iter().any(|byte| !b"\r\n".contains(byte));
    let last_words = if is_late && has_begun { request_timeout() } else { String::new() };
    if !last_words.is_empty() {
        tell_refused(service, peer, 408, &TOO_LATE.trim_end());
    }
    let _: Result<io::Result<()>, _> = timeout(LINGER, close(&mut socket, last_words.as_bytes())).await;
    None
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a handshake that was refused before it could be judged, with a line for the operator.
fn tell_refused(service: &Service, peer: Option<IpAddr>, status: u16, why: &dyn Display) {
    service.telemetry().shook_hands(status);
    tracing::debug!("refused {}: {status}: {why}", ClientId::of_address(peer));
}

/// The status that hyper has answered a request with that it could not read.
fn answered(error: &hyper::Error) -> u16 {
    match error.is_parse_too_large() {
        // Nothing but its words tells the target from the headers.
        true if error.to_string().contains("URI") => 414,
        true => 431,
        false => 400,
    }
}

fn request_timeout() -> String {
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{TOO_LATE}",
        TOO_LATE.len()
    )
}

/// Closes a connection so that the last answer arrives: closing it while the peer's bytes are
/// unread would reset it, and the peer's system may then throw the answer away (RFC 9112 §9.6).
async fn close<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S, mut last_words: &[u8]) -> io::Result<()> {
    while !last_words.is_empty() {
        let count = poll_fn(|cx| Pin::new(&mut *socket).poll_write(cx, last_words)).await?;
        last_words = &last_words[count..];
    }
    poll_fn(|cx| Pin::new(&mut *socket).poll_shutdown(cx)).await?;
    let mut taken = 0;
    while taken < LINGER_BYTES {
        let mut space = [0; 2048];
        let mut space = ReadBuf::new(&mut space);
        poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut space)).await?;
        if space.filled().is_empty() {
            break;
        }
        taken += space.filled().len();
    }
    Ok(())
}
