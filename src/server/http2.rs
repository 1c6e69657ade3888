//! HTTP/2 without TLS on the port of HTTP/1.1 (RFC 9113 §3.3), and WebSockets as its streams (RFC 8441),
//! as proxies speak it to a server.
//!
//! The rules for a handshake are the same as over HTTP/1.1, and a stream that was accepted is a
//! [`Transport`] like any other. This file makes sure that one stream cannot harm the others: each has
//! a window of its own, the connection's window is their sum, and what waits for a peer that does not
//! read is limited and dropped with the stream.

use super::date;
use super::http1::{MAX_REQUESTS, MAX_TIMEOUTS};
use super::opening::Rewound;
use super::routes::Answer;
use super::service::Service;
use super::speech::SpeechCall;
use super::transport::{Readiness, Socket, Transport};
use crate::access::Waiting;
use crate::gauge::{Counted, Gauge};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Frame};
use hyper::ext::Protocol;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response};
use std::future::{Future, pending, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Most streams of a connection at once; a proxy with more sessions opens another connection.
const MAX_STREAMS: u32 = 128;

/// Bytes that a client may send on a stream before the session reads them.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The sum for all streams, so that none can use up the window of another.
const CONNECTION_WINDOW_BYTES: u32 = MAX_STREAMS * STREAM_WINDOW_BYTES;

/// Bytes of a stream that may wait for the socket.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Largest head of a request, in bytes as RFC 9113 §6.5.2 counts; beyond it the answer is 431.
const MAX_HEAD_BYTES: u32 = 64 * 1024;

/// Most streams that were reset before they were accepted, and most streams that were reset for a fault
/// of the peer. A peer that exceeds either only makes work (CVE-2023-44487), and loses its connection.
const MAX_PENDING_RESETS: usize = 32;
const MAX_FAULTS: usize = 256;

/// Time within which the last frames of a connection have to leave.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection that begins with the preface to its end. Without a session on it, the peer has
/// `handshake_timeout` for its next request, and as many requests and as much time as over HTTP/1.1, unless it is
/// a trusted proxy; sessions have deadlines of their own.
///
/// # Cancel safety
/// Dropping the future drops the connection, and breaks the sessions on it.
pub(super) async fn serve(
    socket: Rewound<Socket>,
    peer: Option<IpAddr>,
    deadline: Instant,
    waiting: &mut Waiting,
    service: Service,
) {
    let patience = service.config().handshake_timeout;
    let mut stopping = service.stopping();
    let begun = Builder::new()
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_FAULTS))
        .handshake::<_, Bytes>(socket);
    let begun = tokio::select! {
        biased;
        begun = timeout_at(deadline, begun) => begun,
        () = poll_fn(|cx| waiting.poll_dismissed(cx)) => return,
    };
    let Ok(Ok(mut connection)) = begun else { return };
    let is_limited = !service.doorkeeper().is_proxy(peer);
    let sessions = Gauge::default();
    let mut since = Instant::now();
    // Since the last session: the moment, and the requests.
    let (mut alone_since, mut requests) = (since, 0);
    let mut was_alone = true;
    let mut leaves_at = None;
    let mut is_stopping = false;
    {
        let mut stop = pin!(async {
            // Fails only when the service has gone, which this holds.
            let _ = stopping.wait_for(|stop| *stop).await;
        });
        let mut timer = pin!(sleep_until(deadline));
        loop {
            tokio::select! {
                biased;
                event = poll_fn(|cx| {
                    // Polled again whenever a stream has ended.
                    let is_alone = sessions.count() == 0;
                    if is_alone && !std::mem::replace(&mut was_alone, is_alone) {
                        (alone_since, requests) = (Instant::now(), 0);
                    }
                    was_alone = is_alone;
                    waiting.set(is_alone);
                    match connection.poll_accept(cx) {
                        Poll::Pending if is_alone => waiting.poll_dismissed(cx).map(|()| Event::Dismissed),
                        accepted => accepted.map(Event::Accepted),
                    }
                }) => {
                    let Event::Accepted(accepted) = event else { break };
                    // The end, or a fault that h2 has reported to the peer.
                    let Some(Ok((request, respond))) = accepted else { return };
                    // Fails if the peer has gone.
                    let _: Result<(), h2::Error> = answer(request, respond, peer, &service, &sessions).await;
                    since = Instant::now();
                    requests += 1;
                    if is_limited && sessions.count() == 0 && requests == MAX_REQUESTS {
                        // The answer still leaves; a peer that goes on regardless is cut off.
                        connection.graceful_shutdown();
                        leaves_at = Some(since + LINGER);
                        timer.as_mut().reset(since + LINGER);
                    }
                }
                () = stop.as_mut(), if !is_stopping => {
                    is_stopping = true;
                    if sessions.count() == 0 {
                        break;
                    }
                    // Each session drains by itself.
                    connection.graceful_shutdown();
                }
                () = timer.as_mut() => {
                    let now = Instant::now();
                    if sessions.count() > 0 {
                        since = now;
                    }
                    let mut deadline = since + patience;
                    if is_limited && sessions.count() == 0 {
                        deadline = deadline.min(alone_since + patience * MAX_TIMEOUTS);
                        deadline = leaves_at.map_or(deadline, |leaves_at| deadline.min(leaves_at));
                    }
                    if deadline <= now {
                        break;
                    }
                    timer.as_mut().reset(deadline);
                }
            }
        }
    }
    connection.abrupt_shutdown(Reason::NO_ERROR);
    let _ = timeout(LINGER, poll_fn(|cx| connection.poll_closed(cx))).await;
}

/// A request, and the means to answer it.
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// A reason to look at a connection.
#[expect(clippy::large_enum_variant, reason = "nearly every event is a request")]
enum Event {
    /// A request, the end of the connection, or a fault.
    Accepted(Option<Result<Asked, h2::Error>>),
    /// The socket has to leave for another one.
    Dismissed,
}

/// Answers a request, and starts the session if it opens one.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Option<IpAddr>,
    service: &Service,
    sessions: &Gauge,
) -> Result<(), h2::Error> {
    let (head, input) = request.into_parts();
    let request = as_hyper_has_it(Request::from_parts(head, ()));
    let (head, body) = match service.answer(&request, peer) {
        Answer::Response(response) => response.into_parts(),
        Answer::Speech(asked) => {
            let (counted, stall_timeout) = (sessions.enter(), service.config().stall_timeout);
            tokio::spawn(async move {
                let spoken = speak(*asked, input, respond, stall_timeout);
                // The client sees an error in the stream, and the operator the end of the speech in the log.
                let _: Result<(), h2::Error> = spoken.await;
                drop(counted);
            });
            return Ok(());
        }
        Answer::Upgrade(response, admitted) => {
            let output = respond.send_response(dated(response), false)?;
            let stream = Stream::new(output, input, sessions.enter());
            admitted.start(&service.shared, stream, Bytes::new());
            return Ok(());
        }
    };
    let body = whole(body).await;
    let mut response = as_h2_has_it(Response::from_parts(head, ()));
    response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    let is_bare = request.method() == Method::HEAD || body.is_empty();
    let mut output = respond.send_response(response, is_bare)?;
    if !is_bare {
        output.send_data(body, true)?;
    }
    // The rest of the request's body is not awaited: dropping its stream tells the peer.
    Ok(())
}

/// Answers a request for speech on its stream. Dropping the future resets the stream.
async fn speak(
    asked: SpeechCall,
    input: RecvStream,
    mut respond: SendResponse<Bytes>,
    stall_timeout: Duration,
) -> Result<(), h2::Error> {
    let response = {
        let mut answer = pin!(asked.respond(Upload(input), || {}, pending()));
        poll_fn(|cx| match respond.poll_reset(cx) {
            // The client has left.
            Poll::Ready(reset) => Poll::Ready(reset.map(|_| None)),
            Poll::Pending => answer.as_mut().poll(cx).map(|response| Ok(Some(response))),
        })
        .await?
    };
    let Some(response) = response else { return Ok(()) };
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut response = as_h2_has_it(Response::from_parts(head, ()));
    if let Some(length) = body.size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    let mut output = respond.send_response(response, false)?;
    loop {
        let frame = poll_fn(|cx| match output.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => body.as_mut().poll_frame(cx).map(Some),
        });
        let Some(frame) = frame.await else { return Ok(()) };
        let mut data = match frame {
            None => return output.send_data(Bytes::new(), true),
            Some(Err(_)) => {
                output.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        while !data.is_empty() {
            output.reserve_capacity(data.len());
            let room = timeout(
                stall_timeout,
                poll_fn(|cx| match output.poll_reset(cx) {
                    Poll::Ready(_) => Poll::Ready(None),
                    Poll::Pending if output.capacity() > 0 => Poll::Ready(Some(Ok(output.capacity()))),
                    Poll::Pending => output.poll_capacity(cx),
                }),
            );
            let Ok(Some(room)) = room.await else {
                output.send_reset(Reason::CANCEL);
                return Ok(());
            };
            output.send_data(data.split_to(room?.min(data.len())), false)?;
        }
    }
}

/// The body of a request. Its peer may send more as soon as a part was read.
struct Upload(RecvStream);

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = ready!(self.0.poll_data(cx));
        Poll::Ready(data.map(|data| {
            let data = data?;
            self.0.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        }))
    }
}

/// The answer without headers of HTTP/1.1 (RFC 9113 §8.2.2), and with its date.
fn as_h2_has_it(response: Response<()>) -> Response<()> {
    let mut response = dated(response);
    response.headers_mut().remove(CONNECTION);
    response.headers_mut().remove(UPGRADE);
    response
}

/// The request as hyper would give it: with hyper's type for the protocol, and with the `Host` that it
/// would have over HTTP/1.1 (RFC 9113 §8.3.1).
fn as_hyper_has_it(mut request: Request<()>) -> Request<()> {
    if let Some(protocol) = request.extensions_mut().remove::<h2::ext::Protocol>() {
        let known = protocol.as_str().eq_ignore_ascii_case("websocket");
        request.extensions_mut().insert(Protocol::from_static(if known { "websocket" } else { "unknown" }));
    }
    let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = host
        && !request.headers().contains_key(HOST)
    {
        request.headers_mut().insert(HOST, host);
    }
    request
}

fn dated<B>(mut response: Response<B>) -> Response<B> {
    let date = date::with(HeaderValue::from_str).expect("a date is visible ASCII");
    response.headers_mut().insert(DATE, date);
    response
}

async fn whole(body: Full<Bytes>) -> Bytes {
    match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    }
}

/// A stream that was accepted. Dropping it resets it, unless both sides have ended it.
struct Stream {
    output: SendStream<Bytes>,
    /// True if capacity was requested and not used.
    awaits_room: bool,
    has_ended: bool,
    input: RecvStream,
    /// Bytes that have arrived and were not read. The peer's window grows when they are.
    unread: Vec<u8>,
    /// The peer has ended its direction.
    is_at_end: bool,
    _counted: Counted,
}

impl Stream {
    fn new(output: SendStream<Bytes>, input: RecvStream, counted: Counted) -> Stream {
        Stream {
            output,
            awaits_room: false,
            has_ended: false,
            input,
            unread: Vec::new(),
            is_at_end: false,
            _counted: counted,
        }
    }

    /// Takes everything that has arrived, wanted or not: in h2 a small frame takes far more memory than
    /// its bytes, and counts against the whole connection. The window limits it.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_at_end {
            match self.input.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => self.unread.extend_from_slice(&data),
                // The end of the stream, as over TCP.
                Poll::Ready(None) => self.is_at_end = true,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Pending => break,
            }
        }
        if self.unread.is_empty() && !self.is_at_end { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.awaits_room {
            self.output.reserve_capacity(1);
            self.awaits_room = true;
        }
        while self.output.capacity() == 0 {
            match ready!(self.output.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| ErrorKind::ConnectionReset.into())
    } else {
        io::Error::new(ErrorKind::ConnectionReset, error)
    }
}

impl Transport for Stream {
    const WRITES_THROUGH: bool = false;

    fn poll_ready(&mut self, wanted: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let mut is_ready = Readiness::default();
        if let Poll::Ready(done) = self.poll_input(cx) {
            done?;
            is_ready.readable = wanted.readable;
        }
        if wanted.writable {
            if let Poll::Ready(done) = self.poll_room(cx) {
                done?;
                is_ready.writable = true;
            }
        } else if std::mem::take(&mut self.awaits_room) {
            // Nothing is left to send, as after a pause: other streams may have the capacity.
            self.output.reserve_capacity(0);
        }
        is_ready.any()
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return if self.is_at_end { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = self.unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        if count == self.unread.len() {
            // An idle stream owns no buffer.
            self.unread = Vec::new();
        } else {
            self.unread.drain(..count);
        }
        // Fails for a stream that is over, whose window does not matter.
        let _ = self.input.flow_control().release_capacity(count);
        Ok(count)
    }

    fn force_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.output.reserve_capacity(length);
        let mut room = self.output.capacity().min(length);
        self.awaits_room = room < length;
        if room == 0 && length > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut bytes = Vec::with_capacity(room);
        for slice in slices {
            let count = room.min(slice.len());
            bytes.extend_from_slice(&slice[..count]);
            room -= count;
        }
        let count = bytes.len();
        self.output.send_data(bytes.into(), false).map_err(broken)?;
        Ok(count)
    }

    fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write(slices)
    }

    /// The end of the stream stands for the end of a TCP connection (RFC 8441 §5).
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.output.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A peer that has not ended its direction reads nothing more: what waits for it is dropped.
        if !self.is_at_end {
            self.output.send_reset(Reason::CANCEL);
        }
    }
}
