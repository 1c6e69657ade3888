//! Speech of services, over any transport: asks, retries, and passes the audio on.
//!
//! The audio passes through a [`Guard`] as it arrives, and is read no faster than the listener takes it. If the
//! listener leaves, the request is aborted at once.

use super::guard::Guard;
use super::{Cancelled, Sink, Speech, SynthesisError, Treatment, Utterance};
use crate::audio::{Format, SourceFormat};
use crate::text::redact::redact;
use crate::upstream::{Attempt, Call, Failure, InvalidSettings, Reply, Service};
use hyper::body::Bytes;
use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

/// Most bytes of an answer that are converted at once. At another rate and encoding they can be twelve times
/// as much audio.
const PART_BYTES: usize = 4 * 1024;

/// A request to a service, with its retries. Dropping it aborts the request.
pub(super) trait Request: Send + 'static {
    type Answer: Answer;

    /// Sends the request, after a pause if it was sent before.
    fn attempt(&mut self) -> impl Future<Output = Result<Attempt<Self::Answer>, Failure>> + Send;
}

/// The audio of an answer, while it arrives. Dropping it before its end aborts the request.
pub(super) trait Answer: Send + 'static {
    /// Returns the next audio, never empty; `None` once the answer is complete.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;

    /// Notes that the last chunk had audio. Other bytes are no sign of life.
    fn revive(&mut self);

    /// Returns a description of the answer for the log.
    fn label(&self) -> String {
        String::new()
    }
}

impl Request for Call {
    type Answer = Reply;

    fn attempt(&mut self) -> impl Future<Output = Result<Attempt, Failure>> + Send {
        self.attempt()
    }
}

impl Answer for Reply {
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send {
        self.next_bytes()
    }

    fn revive(&mut self) {
        self.revive();
    }

    fn label(&self) -> String {
        format!(" (Content-Type: {})", self.content_type())
    }
}

/// Reason to end an utterance early.
enum Stop {
    Cancelled,
    Failed(SynthesisError),
}

impl From<Cancelled> for Stop {
    fn from(_: Cancelled) -> Stop {
        Stop::Cancelled
    }
}

impl Stop {
    fn failed(failure: &Failure, utterance: &Utterance) -> Stop {
        tracing::warn!("{}", redacted(failure.detail(), utterance));
        Stop::Failed(match failure.kind.is_timeout() {
            true => SynthesisError::timeout(failure.to_string()),
            false => SynthesisError::failed(failure.to_string()),
        })
    }
}

/// Returns a log line without quotations of the utterance's text.
fn redacted<'a>(line: &'a str, utterance: &Utterance) -> Cow<'a, str> {
    redact(line, &[&utterance.text, &utterance.previous_text])
}

/// Makes a request, and passes the audio of the answer to the listener.
pub(super) fn carry<R: Request>(
    service: &Arc<Service>,
    request: Result<R, InvalidSettings>,
    utterance: Utterance,
    own: Format,
    treatment: Treatment,
    raw_format: impl FnOnce(&R::Answer) -> Option<SourceFormat> + Send + 'static,
) -> Speech {
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!("{error}");
            return Speech::failed(SynthesisError::failed(
                "The speech engine cannot be asked for this voice. Use another voice.",
            ));
        }
    };
    // The guard changes the rate if the audio has another one.
    let (mut sink, speech) = Speech::channel(&utterance, own.sample_rate_hz);
    let service = Arc::clone(service);
    tokio::spawn(async move {
        let open = |answer: &R::Answer| Guard::new(raw_format(answer), treatment, &utterance);
        // The connection is released before the wait for the listener.
        match transfer(&service, request, &utterance, &mut sink, open).await {
            Ok(()) => sink.finish().await,
            Err(Stop::Cancelled) => {}
            Err(Stop::Failed(error)) => sink.fail(error).await,
        }
    });
    speech
}

async fn transfer<R: Request>(
    service: &Service,
    mut request: R,
    utterance: &Utterance,
    sink: &mut Sink,
    open: impl FnOnce(&R::Answer) -> Guard,
) -> Result<(), Stop> {
    let mut answer = loop {
        let attempt = tokio::select! {
            biased;
            () = sink.cancelled() => return Err(Stop::Cancelled),
            attempt = request.attempt() => attempt.map_err(|failure| Stop::failed(&failure, utterance))?,
        };
        match attempt {
            Attempt::Reply(answer) => break answer,
            Attempt::Retry(failure) => {
                tracing::warn!("{}; retrying", redacted(failure.detail(), utterance));
                sink.warn("retrying_engine", format!("{failure} Retrying."));
            }
        }
    };
    let mut guard = open(&answer);
    let ended = loop {
        let chunk = tokio::select! {
            biased;
            () = sink.cancelled() => return Err(Stop::Cancelled),
            chunk = answer.next_chunk() => chunk,
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break guard.finish(sink),
            Err(failure) => {
                // The fade at the end avoids a click. The failure is more important than the guard's error.
                let _ = guard.finish(sink);
                return Err(Stop::failed(&failure, utterance));
            }
        };
        let mut pushed = Ok(());
        for part in chunk.chunks(PART_BYTES) {
            let before = guard.taken();
            pushed = guard.push(part, sink);
            if pushed.is_err() {
                break;
            }
            if guard.taken() > before {
                answer.revive();
            }
            sink.drain().await?;
        }
        if let Err(error) = pushed {
            let _ = guard.finish(sink);
            break Err(error);
        }
    };
    ended.map_err(|error| {
        let error = SynthesisError { message: service.quote(&error.message), ..error };
        let line = service.located(&format!("{error}{}", answer.label()));
        tracing::warn!("{}", redacted(&line, utterance));
        Stop::Failed(error)
    })
}
