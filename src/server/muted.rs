//! A socket that keeps back the answers of hyper itself.
//!
//! hyper answers a request that it cannot read with a bare status. Such an answer is kept back here, so that one
//! with a sentence can leave in place of it.

use super::upgrade;
use crate::ws::handshake::Rejection;
use hyper::Response;
use hyper::header::CONTENT_LENGTH;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Most bytes behind a request that are read while it is answered, to see the end of the connection.
const MAX_AHEAD: usize = 1024;

/// Phases of a request for speech.
const NO_SPEECH: u8 = 0;
const ARRIVING: u8 = 1;
const SPEAKING: u8 = 2;

/// Whose words hyper writes. Only one task uses it.
#[derive(Default)]
pub(super) struct Words {
    /// Phase of the request for speech that is being answered.
    phase: AtomicU8,
    /// Bytes that were written.
    written: AtomicUsize,
    /// True while the socket has no room.
    is_blocked: AtomicBool,
    /// True from an answer of the service until it has left.
    are_ours: AtomicBool,
    /// True once an answer of hyper was kept back.
    is_kept_back: AtomicBool,
    /// Bytes read since the last answer of the service, and with its request.
    read: AtomicUsize,
    /// Bytes of the last read.
    last_read: AtomicUsize,
    /// The request that arrives has to leave.
    leave: Notify,
}

impl Words {
    /// Notes that the service answers a request.
    pub(super) fn answer(&self) {
        self.are_ours.store(true, Ordering::Relaxed);
        // The next request may have come with this one.
        self.read.store(self.last_read.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Notes that a request for speech arrives. hyper writes nothing of its own until it is answered.
    pub(super) fn arrive(&self) {
        self.phase.store(ARRIVING, Ordering::Relaxed);
    }

    /// Notes that the request has arrived. From now on the end of the connection ends the answer.
    pub(super) fn speak(&self) {
        self.phase.store(SPEAKING, Ordering::Relaxed);
        self.read.store(self.last_read.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Notes that all of the answer was given to hyper.
    pub(super) fn fall_silent(&self) {
        self.phase.store(NO_SPEECH, Ordering::Relaxed);
        // The end of the body is still to leave.
        self.are_ours.store(true, Ordering::Relaxed);
    }

    /// True from the head of a request for speech to the end of its answer.
    pub(super) fn are_speech(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != NO_SPEECH
    }

    /// True from the end of a request for speech to the end of its answer.
    pub(super) fn are_spoken(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == SPEAKING
    }

    /// Has the request for speech that arrives refused; false if there is none.
    pub(super) fn dismiss(&self) -> bool {
        let is_arriving = self.phase.load(Ordering::Relaxed) == ARRIVING;
        if is_arriving {
            self.leave.notify_one();
        }
        is_arriving
    }

    /// Waits until the request for speech that arrives has to be refused.
    pub(super) async fn dismissed(&self) {
        self.leave.notified().await;
    }

    /// Number of bytes that were written, if the socket has no room for more.
    pub(super) fn blocked_at(&self) -> Option<usize> {
        self.is_blocked.load(Ordering::Relaxed).then(|| self.written.load(Ordering::Relaxed))
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        self.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(count)) = written {
            self.written.fetch_add(*count, Ordering::Relaxed);
        }
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
pub(super) fn written(mut response: Response<String>) -> Vec<u8> {
    let length = response.body().len();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    let (head, sentence) = response.into_parts();
    let mut bytes = upgrade::head(&Response::from_parts(head, ()));
    bytes.extend_from_slice(sentence.as_bytes());
    bytes
}

/// The socket as hyper has it.
pub(super) struct Muted<S> {
    pub(super) socket: S,
    words: Arc<Words>,
    has_written: bool,
    /// Bytes behind the request that is answered. hyper reads them behind the answer.
    ahead: Vec<u8>,
}

impl<S> Muted<S> {
    pub(super) fn new(socket: S, words: Arc<Words>) -> Muted<S> {
        Muted { socket, words, has_written: false, ahead: Vec::new() }
    }

    /// True if these bytes must not leave.
    fn keeps_back(&self) -> bool {
        let keeps_back = !self.words.are_ours.load(Ordering::Relaxed) && !self.words.are_speech();
        if keeps_back {
            self.words.is_kept_back.store(true, Ordering::Relaxed);
        }
        keeps_back
    }
}

impl<S: AsyncRead + Unpin> Muted<S> {
    /// Looks for the end of the connection while speech is on its way to the client: hyper reads nothing
    /// meanwhile.
    ///
    /// # Errors
    /// The client has left.
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.words.are_spoken() && self.ahead.len() < MAX_AHEAD {
            let mut space = [0; 256];
            let mut space = ReadBuf::new(&mut space);
            match Pin::new(&mut self.socket).poll_read(cx, &mut space)? {
                Poll::Pending => break,
                Poll::Ready(()) if space.filled().is_empty() => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Poll::Ready(()) => self.ahead.extend_from_slice(space.filled()),
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Muted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = if self.ahead.is_empty() {
            Pin::new(&mut self.socket).poll_read(cx, buffer)
        } else {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            Poll::Ready(Ok(()))
        };
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.words.read.fetch_add(count, Ordering::Relaxed);
            self.words.last_read.store(count, Ordering::Relaxed);
        }
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Muted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.has_written = true;
        self.look_ahead(cx)?;
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.words.note_written(&written);
        written
    }

    /// hyper flushes once all of its bytes are written: the answer has left.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look_ahead(cx)?;
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
        self.look_ahead(cx)?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.words.note_written(&written);
        written
    }
}
