//! The beginning of a connection: tells an opening handshake from other HTTP/1.1 and from HTTP/2.
//!
//! Nearly every connection begins with one whole WebSocket handshake. Such a head is read here, so that
//! hyper need not set up a connection for one request, and so that the answer can leave together with
//! the first frames behind it. Everything else goes to hyper or h2 with the bytes that were read: heads
//! that are malformed, too large or cut off, requests with a body, and other requests. Heads are parsed
//! by `httparse`, as hyper does it.

use super::transport::{Readiness, Transport, with_read_buffer};
use crate::access::Waiting;
use crate::deadline::pass;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{HeaderMap, Method, Request, Uri, Version};
use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

/// Largest head that is read here, in bytes. hyper reads larger ones.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Steps in which the buffer for a head grows, in bytes.
const HEAD_STEP: usize = 512;

/// Most headers of a head that is read here.
const MAX_HEADERS: usize = 48;

/// First bytes that a client of HTTP/2 sends (RFC 9113 §3.4). No request of HTTP/1 begins like this.
#[cfg(feature = "http2")]
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// First bytes of a request that may be a handshake.
const METHOD: &[u8] = b"GET ";

/// A socket whose first bytes were read, and are read again.
pub(super) struct Rewound<S> {
    /// The bytes that were read.
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

/// The kind of connection that the first bytes show.
#[expect(clippy::large_enum_variant, reason = "nearly every connection is a handshake")]
pub(super) enum Kind {
    /// The first bytes are a whole request for a WebSocket, and what follows it.
    Handshake(Handshake),
    /// HTTP/1.1, or something that its server has to answer.
    Http1,
    #[cfg(feature = "http2")]
    Http2,
}

/// A request for a WebSocket.
pub(super) struct Handshake {
    pub(super) request: Request<()>,
    /// Length of the request in bytes.
    pub(super) bytes: usize,
}

/// Reads the first bytes of a connection until they show its kind. Past `deadline`, once the server shuts
/// down, or once the socket has to leave for another one, the connection goes to the server of HTTP/1.1, which
/// knows what to answer. `None` if that happens before the first byte; `stopping` tells of a shutdown, unless
/// the server shuts down already.
///
/// # Cancel safety
/// Dropping the future loses the bytes that were read.
pub(super) async fn read<S: Transport>(
    socket: &mut S,
    deadline: Instant,
    waiting: &Waiting,
    stopping: &mut Option<watch::Receiver<bool>>,
) -> Option<(Kind, Bytes)> {
    let mut first = Vec::new();
    let kind = tokio::select! {
        biased;
        kind = poll_fn(|cx| {
            let kind = poll_kind(socket, &mut first, cx);
            if kind.is_pending() {
                waiting.hold(first.capacity());
            }
            kind
        }) => kind,
        () = stopped(stopping) => {
            if first.is_empty() {
                return None;
            }
            Kind::Http1
        }
        () = poll_fn(|cx| waiting.poll_dismissed(cx)) => {
            if first.is_empty() {
                return None;
            }
            Kind::Http1
        }
        () = pass(deadline) => Kind::Http1,
    };
    Some((kind, first.into()))
}

/// Ready once the server shuts down, which then no longer waits for this connection; never if it did
/// before.
pub(super) async fn stopped(stopping: &mut Option<watch::Receiver<bool>>) {
    match stopping {
        // Fails only when the service has gone, which the caller holds.
        Some(stopping) => _ = stopping.wait_for(|stop| *stop).await,
        None => pending().await,
    }
    *stopping = None;
}

fn poll_kind<S: Transport>(socket: &mut S, first: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Kind> {
    loop {
        // hyper and h2 meet an end or an error again, and know what to do about it.
        if ready!(socket.poll_ready(Readiness { readable: true, writable: false }, cx)).is_err() {
            return Poll::Ready(Kind::Http1);
        }
        let before = first.len();
        let read: io::Result<usize> = with_read_buffer(|buffer| {
            let most = buffer.len().min(MAX_HEAD_BYTES);
            let count = socket.try_read(&mut buffer[..most])?;
            if first.capacity() - first.len() < count {
                // No doubling: nearly all heads end soon.
                first.reserve_exact(count.next_multiple_of(HEAD_STEP));
            }
            first.extend_from_slice(&buffer[..count]);
            Ok(count)
        });
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) | Ok(0) => return Poll::Ready(Kind::Http1),
            Ok(_) => {}
        }
        if let Some(kind) = kind(first, before) {
            return Poll::Ready(kind);
        }
    }
}

/// The kind of the connection, if these first bytes show it. The last call saw `before` of them.
fn kind(first: &[u8], before: usize) -> Option<Kind> {
    #[cfg(feature = "http2")]
    if first.starts_with(PREFACE) {
        return Some(Kind::Http2);
    } else if PREFACE.starts_with(first) {
        return None;
    }
    // Empty lines in front of a request are ignored (RFC 9112 §2.2).
    let lines = first.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    let request = &first[lines..];
    if !request.starts_with(METHOD) && !METHOD.starts_with(request) || first.len() >= MAX_HEAD_BYTES {
        return Some(Kind::Http1);
    }
    // A head that is cut off is parsed once, to find out whether it is malformed, and then only when
    // its end has come: byte by byte it would take time that grows with the square of its length.
    if before > lines && !has_end(&first[before.saturating_sub(3)..]) {
        return None;
    }
    match parse(first) {
        Ok(Some(handshake)) => Some(Kind::Handshake(handshake)),
        Ok(None) => None,
        Err(NotAHandshake) => Some(Kind::Http1),
    }
}

/// True if the empty line that ends a head may be among these bytes.
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// The request is malformed, or not for a WebSocket, or has a header on which HTTP itself acts.
struct NotAHandshake;

/// Parses a head; `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<Handshake>, NotAHandshake> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes).map_err(|_| NotAHandshake)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let (Some("GET"), Some(1), Some(target)) = (head.method, head.version, head.path) else {
        return Err(NotAHandshake);
    };
    let mut map = HeaderMap::with_capacity(head.headers.len());
    for header in &*head.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| NotAHandshake)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| NotAHandshake)?;
        map.append(name, value);
    }
    let acts_on = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];
    if !map.contains_key(UPGRADE) || acts_on.iter().any(|name| map.contains_key(name)) {
        return Err(NotAHandshake);
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::try_from(target).map_err(|_| NotAHandshake)?;
    *request.headers_mut() = map;
    Ok(Some(Handshake { request, bytes: length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: &str = "GET /a?b=c HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX: \u{e4}\r\n\r\n";

    fn name(kind: Option<&Kind>) -> &'static str {
        match kind {
            None => "more",
            Some(Kind::Handshake(_)) => "handshake",
            Some(Kind::Http1) => "http1",
            #[cfg(feature = "http2")]
            Some(Kind::Http2) => "http2",
        }
    }

    /// The kind that is found first when the bytes come in pieces of this size.
    fn found(bytes: &[u8], piece: usize) -> Option<Kind> {
        let mut before = 0;
        for end in (piece..).step_by(piece).map(|end| end.min(bytes.len())) {
            let kind = kind(&bytes[..end], before);
            if kind.is_some() || end == bytes.len() {
                return kind;
            }
            before = end;
        }
        None
    }

    #[test]
    fn handshake_is_found_however_it_is_cut() {
        for head in [HANDSHAKE.to_owned(), HANDSHAKE.replace('\r', ""), format!("\r\n\r\n{HANDSHAKE}")] {
            let all = format!("{head}\u{1}");
            for piece in [1, 2, 3, 7, all.len()] {
                let Some(Kind::Handshake(found)) = found(all.as_bytes(), piece) else {
                    panic!("{head:?} by {piece}")
                };
                assert_eq!(found.bytes, head.len());
                assert_eq!(found.request.uri(), "/a?b=c");
                assert_eq!(found.request.headers()["x"].as_bytes(), "\u{e4}".as_bytes());
            }
        }
    }

    #[test]
    fn everything_else_goes_to_the_server_of_http1() {
        let with = |line: &str| HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
        let cases = [
            (HANDSHAKE.replace("GET", "POST"), "http1"),
            (HANDSHAKE.replace("1.1", "1.0"), "http1"),
            (HANDSHAKE.replace("Upgrade", "Down"), "http1"),
            (HANDSHAKE.replace("/a?b=c", "a b"), "http1"),
            (with("Content-Length: 0"), "http1"),
            (with("Transfer-Encoding: chunked"), "http1"),
            (with("Expect: 100-continue"), "http1"),
            (with("a b"), "http1"),
            (with(&"a: b\r\n".repeat(MAX_HEADERS)), "http1"),
            (with(&format!("a: {}", "b".repeat(MAX_HEAD_BYTES))), "http1"),
            ("\u{16}\u{3}\u{1}".to_owned(), "http1"),
            ("GE".to_owned(), "more"),
            ("\r\n".to_owned(), "more"),
            (HANDSHAKE[..HANDSHAKE.len() - 1].to_owned(), "more"),
            #[cfg(feature = "http2")]
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "http2"),
            #[cfg(feature = "http2")]
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n".to_owned(), "more"),
            #[cfg(feature = "http2")]
            ("PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n".to_owned(), "http1"),
        ];
        for (bytes, expected) in cases {
            for piece in [1, bytes.len()] {
                assert_eq!(name(found(bytes.as_bytes(), piece).as_ref()), expected, "{bytes:?} by {piece}");
            }
        }
    }
}
