//! Text to speech: what an engine is, and the one way its audio takes to a session.
//!
//! Nothing here knows WebSocket, messages or sessions. An engine implements [`Synthesizer`]: it is
//! handed an [`Utterance`] and answers at once with a [`Speech`], the receiving end of audio that
//! is still being made. Dropping the `Speech` is how the listener says that nobody will hear the
//! rest: the engine's end, the [`Sink`], reports [`Cancelled`] and the engine stops.

pub mod flite;
mod level;
pub mod tone;

pub use flite::Flite;
pub use tone::Tone;

use crate::gauge::{Counted, Gauge};
use crate::proto::audio::{Encoding, Format};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Chunks that may wait between an engine and its listener before the engine has to wait.
const CHUNKS_IN_FLIGHT: usize = 4;

/// The most audio that one chunk carries. A chunk holds one frame at first, so that the listener
/// hears something soon, and doubles up to this, so that a long sentence costs few wake-ups.
const MAX_CHUNK_BYTES: usize = 16 * 1024;

/// A speech engine: one voice, or a family of voices, that turns a sentence into audio.
///
/// Shared by all sessions, hence `Send + Sync`. An embedder's own engine implements this trait:
///
/// ```
/// use aloud::audio::{Encoding, Format};
/// use aloud::tts::{Speech, SynthesisError, Synthesizer, Utterance};
///
/// /// Speaks every sentence as one second of a rising buzz.
/// struct Buzz;
///
/// impl Synthesizer for Buzz {
///     fn name(&self) -> &str {
///         "buzz"
///     }
///
///     fn format(&self) -> Format {
///         Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 }
///     }
///
///     fn speak(&self, utterance: Utterance) -> Speech {
///         let (mut sink, speech) = Speech::channel(&utterance);
///         tokio::spawn(async move {
///             for block in 0..100i16 {
///                 let samples: Vec<i16> = (0..160).map(|n| n % 80 * block).collect();
///                 // Waits while the listener is slow; an error means that nobody listens any
///                 // more, and returning is all there is to do.
///                 if sink.write(&samples).await.is_err() {
///                     return;
///                 }
///             }
///             // Without this the session would take the end for a failure.
///             sink.finish().await;
///         });
///         speech
///     }
/// }
/// # let _: &dyn Synthesizer = &Buzz;
/// ```
pub trait Synthesizer: Send + Sync + 'static {
    /// A short name for logs and messages, such as `flite`.
    fn name(&self) -> &str;

    /// The format that this engine gives best: its own sample rate, in the encoding that costs no
    /// conversion. It is what a session gets that asks for nothing else.
    fn format(&self) -> Format;

    /// Whether the engine can give this format, converting if need be.
    ///
    /// The default accepts every encoding at the engine's own sample rate, because a [`Sink`]
    /// converts encodings by itself.
    fn supports(&self, format: Format) -> bool {
        format.sample_rate_hz == self.format().sample_rate_hz
    }

    /// Starts to speak; returns at once, inside of a tokio runtime, and never blocks.
    ///
    /// Failures are reported through the [`Speech`], so that what was spoken before is heard.
    fn speak(&self, utterance: Utterance) -> Speech;
}

/// One request to speak: a sentence and how to say it.
#[derive(Clone, Debug)]
pub struct Utterance {
    /// What to say. Never empty, at most a sentence's length.
    pub text: String,
    /// How fast: 1.0 is the voice's natural rate, 2.0 takes half as long. Within 0.5 to 2.0.
    pub speed: f32,
    /// The sentence's place in its stream, counted from 0.
    pub index: u64,
    /// The format that the audio must have. [`Synthesizer::supports`] said yes to it.
    pub format: Format,
    /// Payload bytes of one frame: chunks are multiples of it, but for a sentence's last.
    pub frame_bytes: usize,
    /// Counts the engine's work for as long as its end of the speech lives.
    pub(crate) running: Gauge,
}

impl Utterance {
    /// An utterance outside of a session: for engines' own tests and warm-ups.
    pub fn new(text: impl Into<String>, format: Format) -> Utterance {
        Utterance {
            text: text.into(),
            speed: 1.0,
            index: 0,
            format,
            frame_bytes: format.frame_bytes(40),
            running: Gauge::default(),
        }
    }
}

/// Why a sentence could not be spoken, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynthesisError {
    /// What kind of failure it was; decides the code the client sees.
    pub kind: SynthesisErrorKind,
    /// One sentence for a person: what is wrong and what may help. Sent to the client.
    pub message: String,
}

/// The kinds of failure that a client can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynthesisErrorKind {
    /// The engine failed, or ended before the sentence did (`engine_failed`).
    Failed,
    /// The engine gave no audio for the text, as for emoji alone (`engine_no_audio`).
    NoAudio,
    /// The engine gave nothing within its time (`engine_timeout`).
    Timeout,
}

impl SynthesisError {
    /// The engine failed.
    pub fn failed(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Failed, message: message.into() }
    }

    /// The engine has no audio for this text.
    pub fn no_audio(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::NoAudio, message: message.into() }
    }
}

impl fmt::Display for SynthesisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SynthesisError {}

/// The listener is gone: nobody will hear what is still to come, so stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the listener is gone")
    }
}

impl std::error::Error for Cancelled {}

/// What travels from a [`Sink`] to its [`Speech`].
enum Part {
    Audio(Bytes),
    Failed(SynthesisError),
    Finished,
}

/// The listener's end of one utterance: its audio, in order, as the engine makes it.
///
/// Dropping it cancels the synthesis.
pub struct Speech(Source);

enum Source {
    Channel(mpsc::Receiver<Part>),
    Ready { chunks: Box<dyn Iterator<Item = Bytes> + Send>, _running: Counted },
    Failed(SynthesisError),
    Over,
}

impl Speech {
    /// A bounded channel from an engine that works at its own pace.
    pub fn channel(utterance: &Utterance) -> (Sink, Speech) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let frame = utterance.frame_bytes.max(1);
        let sink = Sink {
            sender,
            encoding: utterance.format.encoding,
            frame_bytes: frame,
            chunk_bytes: frame,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            _running: utterance.running.enter(),
        };
        (sink, Speech(Source::Channel(receiver)))
    }

    /// Audio that costs nothing to make, such as slices of something prepared: it is taken on the
    /// listener's own thread, without a task or a channel, exactly as far as it is wanted.
    ///
    /// Every chunk must be in the utterance's format, whole samples, not empty, and but for the
    /// last a multiple of its `frame_bytes`.
    pub fn ready(utterance: &Utterance, chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Speech {
        Speech(Source::Ready { chunks: Box::new(chunks), _running: utterance.running.enter() })
    }

    /// An utterance that failed before it began.
    pub fn failed(error: SynthesisError) -> Speech {
        Speech(Source::Failed(error))
    }

    /// The next chunk; `None` once the utterance was spoken to its end. After an error comes
    /// `None` too.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, SynthesisError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Speech::next), for one who polls.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SynthesisError>>> {
        let part = match &mut self.0 {
            Source::Over => return Poll::Ready(None),
            Source::Failed(error) => Part::Failed(error.clone()),
            Source::Ready { chunks, .. } => match chunks.next() {
                Some(chunk) => return Poll::Ready(Some(Ok(chunk))),
                None => Part::Finished,
            },
            Source::Channel(receiver) => match receiver.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(part)) => part,
                // The sink was dropped unfinished: an engine that panicked or gave up.
                Poll::Ready(None) => Part::Failed(SynthesisError::failed(
                    "The speech engine stopped before the sentence was finished.",
                )),
            },
        };
        Poll::Ready(match part {
            Part::Audio(chunk) => Some(Ok(chunk)),
            Part::Failed(error) => {
                self.0 = Source::Over;
                Some(Err(error))
            }
            Part::Finished => {
                self.0 = Source::Over;
                None
            }
        })
    }
}

impl fmt::Debug for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Channel(_) => "Speech(channel)",
            Source::Ready { .. } => "Speech(ready)",
            Source::Failed(_) => "Speech(failed)",
            Source::Over => "Speech(over)",
        })
    }
}

/// The engine's end of one utterance: takes samples, encodes them, and passes them on in chunks
/// of whole frames.
///
/// An engine ends with [`finish`](Sink::finish) or [`fail`](Sink::fail). One that merely drops
/// its sink has failed, so that a panic is never taken for the end of a sentence.
pub struct Sink {
    sender: mpsc::Sender<Part>,
    encoding: Encoding,
    frame_bytes: usize,
    /// What the next chunk should hold; a multiple of `frame_bytes`.
    chunk_bytes: usize,
    /// Encoded samples short of a chunk.
    buffer: Vec<u8>,
    /// Chunks that the channel had no room for.
    waiting: VecDeque<Bytes>,
    _running: Counted,
}

impl Sink {
    /// Passes samples on, waiting while the listener is slow.
    ///
    /// # Errors
    /// [`Cancelled`] when the listener is gone.
    ///
    /// # Cancel safety
    /// Samples are taken whole before the first wait: a dropped future loses none.
    pub async fn write(&mut self, samples: &[i16]) -> Result<(), Cancelled> {
        self.push(samples)?;
        self.drain().await
    }

    /// Takes samples without waiting: what the listener has no room for is kept here until
    /// [`drain`](Sink::drain). For an engine that computes on a thread which must not wait.
    ///
    /// # Errors
    /// [`Cancelled`] when the listener is gone.
    pub fn push(&mut self, samples: &[i16]) -> Result<(), Cancelled> {
        if self.sender.is_closed() {
            return Err(Cancelled);
        }
        self.encoding.encode(samples, &mut self.buffer);
        let mut passed = 0;
        while self.buffer.len() - passed >= self.chunk_bytes {
            let chunk = &self.buffer[passed..passed + self.chunk_bytes];
            passed += chunk.len();
            self.waiting.push_back(Bytes::copy_from_slice(chunk));
            let most = (MAX_CHUNK_BYTES / self.frame_bytes).max(1) * self.frame_bytes;
            self.chunk_bytes = (self.chunk_bytes * 2).min(most);
        }
        self.buffer.drain(..passed);
        self.offer()
    }

    /// Passes on as much of what waits as the listener has room for.
    fn offer(&mut self) -> Result<(), Cancelled> {
        while let Some(chunk) = self.waiting.pop_front() {
            match self.sender.try_send(Part::Audio(chunk)) {
                Ok(()) => {}
                Err(TrySendError::Full(Part::Audio(chunk))) => {
                    self.waiting.push_front(chunk);
                    break;
                }
                Err(_) => return Err(Cancelled),
            }
        }
        Ok(())
    }

    /// Waits until the listener has taken everything that was pushed.
    ///
    /// # Errors
    /// [`Cancelled`] when the listener is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn drain(&mut self) -> Result<(), Cancelled> {
        while !self.waiting.is_empty() {
            let permit = self.sender.reserve().await.map_err(|_| Cancelled)?;
            if let Some(chunk) = self.waiting.pop_front() {
                permit.send(Part::Audio(chunk));
            }
        }
        Ok(())
    }

    /// Whether the listener is gone.
    pub fn is_cancelled(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns when the listener is gone.
    ///
    /// # Cancel safety
    /// Holds nothing.
    pub async fn cancelled(&self) {
        self.sender.closed().await;
    }

    /// Ends the utterance: all of it was spoken. Waits until the listener has taken the rest.
    pub async fn finish(mut self) {
        self.end(Part::Finished).await;
    }

    /// Ends the utterance with an error, behind the samples that were passed on before. Waits
    /// until the listener has taken those.
    pub async fn fail(mut self, error: SynthesisError) {
        self.end(Part::Failed(error)).await;
    }

    async fn end(&mut self, part: Part) {
        if !self.buffer.is_empty() {
            self.waiting.push_back(Bytes::copy_from_slice(&self.buffer));
            self.buffer = Vec::new();
        }
        if self.drain().await.is_ok() {
            // An error here means that the listener left at the very end.
            let _ = self.sender.send(part).await;
        }
    }
}
