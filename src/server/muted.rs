//! A socket that keeps back the answers of hyper itself.
//!
//! hyper answers a request that it cannot read with a bare status. Such an answer is kept back here, so that one
//! with a sentence can leave in place of it.

use super::upgrade;
use crate::ws::handshake::Rejection;
use hyper::header::CONTENT_LENGTH;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whose words hyper writes. Only one task uses it.
#[derive(Default)]
pub(super) struct Words {
    /// True from an answer of the service until it has left.
    are_ours: AtomicBool,
    /// True once an answer of hyper was kept back.
    is_kept_back: AtomicBool,
    /// Bytes read since the last answer of the service, and with its request.
    read: AtomicUsize,
    /// Bytes of the last read.
    last_read: AtomicUsize,
}

impl Words {
    /// Notes that the service answers a request.
    pub(super) fn answer(&self) {
        self.are_ours.store(true, Ordering::Relaxed);
        // The next request may have come with this one.
        self.read.store(self.last_read.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The most bytes that a request that is not complete can have.
    pub(super) fn begun_bytes(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// The refusal that has to leave in place of the answer that was kept back, if there is one.
    pub(super) fn refusal(&self, error: &hyper::Error) -> Option<Rejection> {
        (error.is_parse() && self.is_kept_back.load(Ordering::Relaxed)).then(|| refusal(error))
    }
}

/// The refusal of a request that hyper could not read.
pub(super) fn refusal(error: &hyper::Error) -> Rejection {
    match error.is_parse_too_large() {
        // Only the text of the error tells the target from the headers.
        true if error.to_string().contains("URI") => Rejection::target_too_long(),
        true => Rejection::head_too_large(),
        false => Rejection::unreadable(),
    }
}

/// A refusal as it leaves over HTTP/1.1: head and sentence.
pub(super) fn written(rejection: &Rejection) -> Vec<u8> {
    let mut response = rejection.response();
    let length = response.body().len();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    let (head, sentence) = response.into_parts();
    let mut bytes = upgrade::head(&hyper::Response::from_parts(head, ()));
    bytes.extend_from_slice(sentence.as_bytes());
    bytes
}

/// The socket as hyper has it.
pub(super) struct Muted<S> {
    pub(super) socket: S,
    words: Arc<Words>,
    has_written: bool,
}

impl<S> Muted<S> {
    pub(super) fn new(socket: S, words: Arc<Words>) -> Muted<S> {
        Muted { socket, words, has_written: false }
    }

    /// True if these bytes must not leave.
    fn keeps_back(&self) -> bool {
        let keeps_back = !self.words.are_ours.load(Ordering::Relaxed);
        if keeps_back {
            self.words.is_kept_back.store(true, Ordering::Relaxed);
        }
        keeps_back
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Muted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.words.read.fetch_add(count, Ordering::Relaxed);
            self.words.last_read.store(count, Ordering::Relaxed);
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Muted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.has_written = true;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    /// hyper flushes once all of its bytes are written: the answer has left.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        if std::mem::take(&mut self.has_written) {
            self.words.are_ours.store(false, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
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
        if self.keeps_back() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.has_written = true;
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }
}
