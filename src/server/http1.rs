//! HTTP/1.1 from accepting a connection to its opening handshake: a deadline for each request, an answer
//! to every request that was begun, and a close that does not destroy the answer.
//!
//! A connection that begins with a whole and good handshake is answered here. hyper serves the others,
//! until a handshake is accepted and hyper gives the socket back.

use super::body::Body;
use super::muted::{self, Muted, Words};
use super::opening::{self, Handshake, Kind, Rewound, stopped};
use super::routes::{Answer, RETRY_AFTER_SECS};
use super::service::{Responding, Service};
use super::transport::Socket;
use super::upgrade::{self, Admitted};
use crate::access::{ClientId, Waiting};
use crate::deadline::pass;
use crate::ws::handshake::Rejection;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Largest request head, in bytes: a little more than a target over hyper's limit of 65,534 bytes, so
/// that such a target gets 414.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// Time for which, and bytes that, a refused peer may still send before its connection is dropped.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Requests that a peer may send on one connection without a handshake.
pub(super) const MAX_REQUESTS: u32 = 100;

/// Time that a connection may last without a session, in multiples of `handshake_timeout`. An answer in the
/// last of them says that the connection ends behind it.
pub(super) const MAX_TIMEOUTS: u32 = 6;

/// A connection that was answered with 101.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    /// Head of the 101, if it has not left yet.
    pub(super) answer: Vec<u8>,
    /// Bytes that the peer sent right behind its handshake.
    pub(super) early: Bytes,
    pub(super) admitted: Admitted,
}

/// Reads and answers the requests of one connection until one is a handshake that is accepted.
///
/// # Cancel safety
/// Dropping the future drops the connection.
pub(super) async fn shake_hands(
    mut socket: Socket,
    peer: Option<IpAddr>,
    waiting: &mut Waiting,
    service: &Service,
) -> Option<Accepted> {
    let since = Instant::now();
    let deadline = since + service.config().handshake_timeout;
    let counted = service.telemetry().handshaking.enter();
    // A server that shuts down already answers, but does not wait for the connection.
    let mut stopping = (!service.is_stopping()).then(|| service.stopping());
    let (kind, first) = opening::read(&mut socket, deadline, waiting, &mut stopping).await?;
    let prepared = match kind {
        Kind::Http1 => None,
        Kind::Handshake(Handshake { request, bytes }) => match service.answer(&request, peer) {
            Answer::Response(response) => Some(response),
            Answer::Upgrade(response, admitted) => {
                let (answer, early) = (upgrade::head(&response), first.slice(bytes..));
                return Some(Accepted { socket, answer, early, admitted });
            }
            // Only a POST is, which is no handshake.
            Answer::Speech(_) => None,
        },
        #[cfg(feature = "http2")]
        Kind::Http2 => {
            drop((counted, stopping));
            let socket = Rewound { first, socket };
            Box::pin(super::http2::serve(socket, peer, deadline, waiting, service.clone())).await;
            return None;
        }
    };
    // Boxed: few connections get here, and each of the others would pay for the room.
    let accepted =
        Box::pin(serve(Rewound { first, socket }, peer, since, prepared, stopping, waiting, service)).await;
    drop(counted);
    accepted
}

/// Notes the end of an answer that was spoken, when it is dropped: the peer then has as much time and as many
/// requests as a new one.
struct Answering {
    words: Arc<Words>,
    progress: Arc<Mutex<Progress>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.words.are_spoken() {
            let mut progress = lock(&self.progress);
            let now = Instant::now();
            (progress.since, progress.alone_since, progress.requests) = (now, now, 0);
        }
        self.words.fall_silent();
    }
}

struct Progress {
    /// Requests that were answered since `alone_since`.
    requests: u32,
    /// The moment from which the limits on a peer without a session hold.
    alone_since: Instant,
    /// The moment from which the peer has `handshake_timeout` for its next request.
    since: Instant,
    /// The answer to the first request, if that was read already.
    prepared: Option<Response<Full<Bytes>>>,
    accepted: Option<Admitted>,
}

/// Serves HTTP to the peer at this address until it accepts a handshake, which gives the socket back,
/// or until the connection is over. The peer has `handshake_timeout` for a complete request, from
/// `since` or from the last answer on. A peer that has begun a request and is late gets 408.
///
/// `prepared` is the answer to the first request, if that was read and refused already. `stopping`
/// tells of a shutdown; without it the server shuts down already, and does not wait for the connection.
///
/// The connection ends behind [`MAX_REQUESTS`], after [`MAX_TIMEOUTS`], or once it has to leave for another
/// one. The first two do not hold for a trusted proxy, whose connection carries the requests of many clients.
///
/// # Cancel safety
/// Dropping the future drops the connection.
async fn serve(
    socket: Rewound<Socket>,
    peer: Option<IpAddr>,
    since: Instant,
    prepared: Option<Response<Full<Bytes>>>,
    mut stopping: Option<watch::Receiver<bool>>,
    waiting: &mut Waiting,
    service: &Service,
) -> Option<Accepted> {
    let patience = service.config().handshake_timeout;
    let words = Arc::new(Words::default());
    let is_limited = !service.doorkeeper().is_proxy(peer);
    let progress =
        Arc::new(Mutex::new(Progress { requests: 0, alone_since: since, since, prepared, accepted: None }));
    let answer = {
        let (service, progress, words) = (service.clone(), Arc::clone(&progress), Arc::clone(&words));
        service_fn(move |request: Request<Incoming>| {
            words.answer();
            let mut now = lock(&progress);
            let answer = match now.prepared.take() {
                Some(response) => Answer::Response(response),
                None => service.answer(&request, peer),
            };
            now.since = Instant::now();
            now.requests += 1;
            let last_call = now.alone_since + patience * (MAX_TIMEOUTS - 1);
            let is_last = is_limited && (now.requests >= MAX_REQUESTS || now.since >= last_call);
            now.accepted = None;
            let mut asked = None;
            let mut response = match answer {
                Answer::Response(response) => Some(response.map(Body::from)),
                Answer::Upgrade(response, admitted) => {
                    now.accepted = Some(admitted);
                    Some(response.map(|()| Full::default().into()))
                }
                Answer::Speech(speech) => {
                    words.arrive();
                    let answering = Answering { words: Arc::clone(&words), progress: Arc::clone(&progress) };
                    asked = Some((speech, answering));
                    None
                }
            };
            if let Some(response) = &mut response
                && is_last
                && now.accepted.is_none()
            {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(now);
            let words = Arc::clone(&words);
            match asked {
                Some((speech, answering)) => Responding::spoken(async move {
                    let leave = words.dismissed();
                    let answer = speech.respond(request.into_body(), || words.speak(), leave).await;
                    answer.map(|body| body.holding(answering))
                }),
                None => Responding::ready(response.unwrap_or_else(|| Response::new(Full::default().into()))),
            }
        })
    };
    // Not `with_upgrades`: that takes the socket away even after a refusal, which then cannot be
    // closed with care. And not hyper's own timeout: it starts with the first byte, and ends the
    // connection without an answer.
    let mut is_stopping = stopping.is_none();
    let mut connection = http1::Builder::new()
        .keep_alive(!is_stopping)
        // A peer that has shut down its writing side still gets its answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Muted::new(socket, Arc::clone(&words))), answer);
    let mut is_late = false;
    let mut is_dismissed = false;
    // Dismissed in the middle of a request for speech, which is refused first.
    let mut is_leaving = false;
    let mut has_failed = false;
    let mut refusal = None;
    let stall_timeout = service.config().stall_timeout;
    // Bytes written when the socket had no room first, and the moment.
    let mut blocked: Option<(usize, Instant)> = None;
    {
        let mut stop = pin!(stopped(&mut stopping));
        let mut timer = pin!(pass(since + patience));
        loop {
            tokio::select! {
                biased;
                served = poll_fn(|cx| {
                    let served = connection.poll_without_shutdown(cx);
                    // A socket with speech on it counts as one with a session.
                    waiting.set(!words.are_spoken());
                    waiting.hold(words.begun_bytes());
                    match served {
                        Poll::Pending if is_leaving => Poll::Pending,
                        Poll::Pending => waiting.poll_dismissed(cx).map(|()| None),
                        Poll::Ready(served) => Poll::Ready(Some(served)),
                    }
                }) => {
                    let Some(served) = served else {
                        if words.dismiss() {
                            is_leaving = true;
                            Pin::new(&mut connection).graceful_shutdown();
                            timer.set(pass(Instant::now() + LINGER));
                            continue;
                        }
                        is_dismissed = true;
                        break;
                    };
                    if let Err(error) = &served
                        && error.is_parse()
                    {
                        count_refused(service, peer, muted::refusal(error).status.as_u16(), error);
                        refusal = words.refusal(error);
                    }
                    has_failed = served.is_err();
                    break;
                }
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                () = timer.as_mut() => {
                    if is_leaving {
                        has_failed = true;
                        break;
                    }
                    if words.are_speech() {
                        // The answer has deadlines of its own, except for a client that takes nothing.
                        let now = Instant::now();
                        match (words.blocked_at(), blocked) {
                            (Some(at), Some((before, since))) if at == before => {
                                if now.saturating_duration_since(since) >= stall_timeout {
                                    has_failed = true;
                                    break;
                                }
                            }
                            (at, _) => blocked = at.map(|at| (at, now)),
                        }
                        timer.set(pass(now + patience.min(stall_timeout / 2)));
                        continue;
                    }
                    let mut deadline = lock(&progress).since + patience;
                    if is_limited {
                        deadline = deadline.min(lock(&progress).alone_since + patience * MAX_TIMEOUTS);
                    }
                    is_late = deadline <= Instant::now();
                    if is_late {
                        break;
                    }
                    timer.set(pass(deadline));
                }
            }
        }
    }
    // From here on only the client is waited for, which a shutdown does not do.
    drop(stopping);
    let parts = connection.into_parts();
    // hyper has read the first bytes into its buffer; the rest is still in the socket.
    let Rewound { mut socket, .. } = parts.io.into_inner().socket;
    let accepted = lock(&progress).accepted.take().filter(|_| !is_late && !is_dismissed && !has_failed);
    if let Some(admitted) = accepted {
        return Some(Accepted { socket, answer: Vec::new(), early: parts.read_buf, admitted });
    }
    // hyper takes bytes out of its buffer only with a complete head, so the buffer holds the beginning
    // of one. Empty lines in front of a request do not count (RFC 9112 §2.2).
    let has_begun = parts.read_buf.iter().any(|byte| !b"\r\n".contains(byte));
    if is_late && has_begun {
        refusal = Some(Rejection::too_late());
    } else if is_dismissed && has_begun {
        refusal = Some(Rejection::unavailable(RETRY_AFTER_SECS));
    }
    if let Some(refusal) = refusal.as_ref().filter(|_| (is_late || is_dismissed) && has_begun) {
        count_refused(service, peer, refusal.status.as_u16(), &refusal.message);
    }
    let last_words =
        refusal.map(|refusal| muted::written(service.late_refusal(&refusal, &parts.read_buf, peer)));
    let last_words = last_words.unwrap_or_default();
    if is_dismissed {
        // Another socket has its place: it does not wait until the peer has read the answer.
        let _ = poll_fn(|cx| Poll::Ready(Pin::new(&mut socket).poll_write(cx, &last_words))).await;
        return None;
    }
    tokio::select! {
        biased;
        () = close(&mut socket, &last_words) => {}
        () = poll_fn(|cx| waiting.poll_dismissed(cx)), if !is_leaving => {}
    }
    None
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request that was refused before it was routed, and logs one line for the operator.
fn count_refused(service: &Service, peer: Option<IpAddr>, status: u16, why: &dyn Display) {
    service.telemetry().shook_hands(status);
    tracing::debug!("refused {}: {status}: {why}", ClientId::of_address(peer));
}

/// Closes a connection so that the last answer arrives. Closing it while bytes of the peer are unread
/// would reset it, and the peer's system may then discard the answer (RFC 9112 §9.6).
/// The peer has [`LINGER`] to take it.
pub(super) async fn close(socket: &mut Socket, last_words: &[u8]) {
    // A peer that has gone, or does not read, is not waited for.
    let _: Result<io::Result<()>, _> = timeout(LINGER, close_with(socket, last_words)).await;
}

async fn close_with(socket: &mut Socket, mut last_words: &[u8]) -> io::Result<()> {
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
