//! The body of an answer: whole, or speech as it is synthesised.

use http_body_util::Full;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The body of an answer of a [`Service`](crate::Service): whole, or speech as it is synthesised.
///
/// Dropping it stops the speech.
pub struct Body {
    kind: Kind,
    /// Dropped with the body.
    held: Option<Box<dyn Any + Send + Sync>>,
}

enum Kind {
    Whole(Full<Bytes>),
    Spoken(Spoken),
}

/// Error of a [`Body`]: the speech ended before its text did. The HTTP server has to break the answer off, so that
/// the client does not take it for whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the speech ended before its text did")
    }
}

impl std::error::Error for BrokenOff {}

/// A part of an answer that is being spoken.
pub(super) struct Portion {
    pub(super) bytes: Bytes,
    /// Bytes of samples that it stands for.
    pub(super) samples: u64,
    /// True if nothing follows. An answer whose sender ends without that is broken off.
    pub(super) is_last: bool,
}

/// An answer that is being spoken.
pub(super) struct Spoken {
    /// A portion that has come already.
    pub(super) first: Option<Portion>,
    pub(super) portions: mpsc::Receiver<Portion>,
    /// Bytes of samples that the HTTP server has taken.
    pub(super) taken: Arc<AtomicU64>,
    pub(super) is_over: bool,
    /// True once the speech has ended before its text did.
    pub(super) is_broken: bool,
}

impl Spoken {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let portion = match self.first.take() {
            Some(first) => Some(first),
            None => std::task::ready!(self.portions.poll_recv(cx)),
        };
        let Some(Portion { bytes, samples, is_last }) = portion else {
            if !std::mem::replace(&mut self.is_broken, true) {
                // An HTTP server drops what it has not written at an error: it writes first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.is_over = true;
            return Poll::Ready(Some(Err(BrokenOff)));
        };
        self.taken.fetch_add(samples, Ordering::Relaxed);
        if is_last {
            self.is_over = true;
            // The speech counts until everything was taken.
            self.portions.close();
        }
        match bytes.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Ready(Some(Ok(bytes))),
        }
    }
}

impl Body {
    /// Keeps a value until the body is dropped.
    pub(super) fn holding(mut self, held: impl Any + Send + Sync) -> Body {
        self.held = Some(Box::new(held));
        self
    }
}

impl From<Full<Bytes>> for Body {
    fn from(whole: Full<Bytes>) -> Body {
        Body { kind: Kind::Whole(whole), held: None }
    }
}

impl From<Spoken> for Body {
    fn from(spoken: Spoken) -> Body {
        Body { kind: Kind::Spoken(spoken), held: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Whole(_) => "Body(whole)",
            Kind::Spoken(_) => "Body(spoken)",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.kind {
            Kind::Whole(whole) => Pin::new(whole)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never: Infallible| match never {}))),
            Kind::Spoken(spoken) => spoken.poll(cx).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(whole) => whole.is_end_stream(),
            Kind::Spoken(spoken) => spoken.is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(whole) => whole.size_hint(),
            Kind::Spoken(_) => SizeHint::default(),
        }
    }
}
