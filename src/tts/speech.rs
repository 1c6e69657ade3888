//! The listener's end of an utterance: its audio, in order, as the engine synthesises it.

use super::sink::MAX_CHUNK_BYTES;
use super::{Sink, SynthesisError, Utterance, Word};
use crate::gauge::Counted;
use hyper::body::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces that the channel between an engine and its listener holds before the engine has to wait. Where
/// frames are larger than a chunk, the channel holds fewer.
const CHANNEL_PIECES: usize = 4;

/// Audio that an engine makes ahead of its listener, in bytes.
const ENGINE_BYTES: u64 = 48 * 1024;

/// One piece of a [`Speech`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// Next chunk of audio.
    Audio(Bytes),
    /// Times of the next words. Words come in order, in one piece or several, and before the end of
    /// the utterance. They usually come before their audio.
    Words(Vec<Word>),
    /// Notice to the client that is not a failure.
    Warning(Warning),
}

/// Notice to the client that is not a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Code for programs, such as `retrying_engine`.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: String,
    /// Ranges of the utterance's text that it is about, in bytes and in order. Empty if it is about none.
    pub text_ranges: Vec<Range<usize>>,
}

/// Message from a [`Sink`] to its [`Speech`].
#[derive(Debug)]
pub(super) enum Part {
    Piece(Piece),
    Failed(SynthesisError),
    /// The engine was stopped because its listener took nothing for too long.
    GivenUp,
    Finished,
}

/// Figures that both ends of a channel share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Bytes of audio that the sink has encoded.
    pub(super) encoded_bytes: AtomicU64,
    /// Bytes of audio that an engine has synthesised for the sink, and the sink has not taken.
    pub(super) awaited_bytes: AtomicU64,
    /// Silence at the end of frames, in microseconds. Set before their end.
    pub(super) quiet_micros: AtomicU64,
    /// True if the engine was stopped because its listener took nothing for too long.
    pub(super) is_given_up: AtomicBool,
}

/// The listener's end of an utterance: its audio, in order, as the engine synthesises it.
///
/// Dropping it cancels the synthesis.
pub struct Speech(Source);

enum Source {
    Channel {
        receiver: mpsc::Receiver<Part>,
        shared: Arc<Shared>,
        /// Bytes of audio that the listener has received.
        received_bytes: u64,
        /// True if the audio is frames of an encoder.
        is_coded: bool,
        /// Bytes of audio that may wait: three frames, or as much as an engine makes ahead.
        most_bytes: u64,
    },
    Ready {
        chunks: Box<dyn Iterator<Item = Bytes> + Send>,
        _running: Counted,
    },
    Relayed(Box<dyn Relay>),
    Failed(SynthesisError),
    /// With the silence at the end of frames.
    Over(Option<Duration>),
}

/// An engine's speech that is changed on its way to the listener, without a task, a channel or a copy.
pub(super) trait Relay: Send {
    /// As [`Speech::poll_next`]. Not called after the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>>;

    /// As [`Speech::buffered_bytes`].
    fn buffered_bytes(&self) -> u64;
}

impl Speech {
    /// Creates a bounded channel from an engine that writes samples at `sample_rate_hz`. The listener
    /// gets the utterance's format.
    ///
    /// If the rate cannot be converted ([`Resampler::supports`](crate::audio::resample::Resampler)),
    /// the speech fails and the sink is cancelled. An engine excludes such formats in
    /// [`Synthesizer::supports`](super::Synthesizer::supports).
    pub fn channel(utterance: &Utterance, sample_rate_hz: u32) -> (Sink, Speech) {
        let frames = CHANNEL_PIECES * MAX_CHUNK_BYTES / utterance.frame_bytes.max(1);
        let (sender, receiver) = mpsc::channel(frames.clamp(1, CHANNEL_PIECES));
        let shared = Arc::new(Shared::default());
        let mut sink = Sink::new(utterance, sender, Arc::clone(&shared));
        match sink.set_sample_rate(sample_rate_hz) {
            Ok(()) => {
                let most_bytes = ENGINE_BYTES.max(3 * utterance.frame_bytes as u64);
                let is_coded = utterance.format.encoding.is_coded();
                (sink, Speech(Source::Channel { receiver, shared, received_bytes: 0, is_coded, most_bytes }))
            }
            // Dropping the receiver cancels the sink.
            Err(error) => (sink, Speech::failed(error)),
        }
    }

    /// Creates a speech from audio that is prepared, such as slices of shared audio. The listener
    /// takes chunks on its own thread, without a task or a channel, and only as many as it needs.
    ///
    /// Every chunk must have the utterance's format and hold whole samples. No chunk may be empty, and
    /// every chunk but the last must be a multiple of the utterance's `frame_bytes`.
    pub fn ready(utterance: &Utterance, chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Speech {
        Speech(Source::Ready { chunks: Box::new(chunks), _running: utterance.running.enter() })
    }

    /// The same speech, whose engine needs so many bytes of memory more.
    pub(super) fn with_memory(mut self, bytes: u64) -> Speech {
        if let Source::Channel { most_bytes, .. } = &mut self.0 {
            *most_bytes += bytes;
        }
        self
    }

    /// Creates a speech that passes through a relay.
    pub(super) fn relayed(relay: impl Relay + 'static) -> Speech {
        Speech(Source::Relayed(Box::new(relay)))
    }

    /// Creates a speech that failed before it began.
    pub fn failed(error: SynthesisError) -> Speech {
        Speech(Source::Failed(error))
    }

    /// Bytes of audio, in the listener's format, that the engine has synthesised and the listener has
    /// not received yet.
    ///
    /// Audio is counted once it is encoded, so samples in a [`Sink`]'s resampler are not included. The
    /// value is 0 for [`ready`](Speech::ready) audio, and after the end or a failure.
    pub fn buffered_bytes(&self) -> u64 {
        match &self.0 {
            // The sink counts bytes before it sends them, so the difference is never too small.
            Source::Channel { shared, received_bytes, .. } => {
                let encoded = shared.encoded_bytes.load(Ordering::Relaxed).saturating_sub(*received_bytes);
                encoded + shared.awaited_bytes.load(Ordering::Relaxed)
            }
            Source::Relayed(relay) => relay.buffered_bytes(),
            Source::Ready { .. } | Source::Failed(_) | Source::Over(_) => 0,
        }
    }

    /// Bytes of audio that were encoded so far.
    #[cfg(test)]
    pub(super) fn encoded_bytes(&self) -> u64 {
        match &self.0 {
            Source::Channel { shared, .. } => shared.encoded_bytes.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Bytes of audio that may wait before the listener looks again, roughly.
    pub(crate) fn most_buffered_bytes(&self) -> u64 {
        match &self.0 {
            Source::Channel { most_bytes, .. } => self.buffered_bytes().max(*most_bytes),
            Source::Relayed(relay) => relay.buffered_bytes().max(ENGINE_BYTES),
            Source::Ready { .. } | Source::Failed(_) | Source::Over(_) => 0,
        }
    }

    /// Silence at the end of audio in frames of an encoder, which does not show it. Known at its end.
    pub(crate) fn quiet(&self) -> Option<Duration> {
        match &self.0 {
            Source::Channel { shared, is_coded: true, .. } => {
                Some(Duration::from_micros(shared.quiet_micros.load(Ordering::Relaxed)))
            }
            Source::Over(quiet) => *quiet,
            _ => None,
        }
    }

    /// Returns the next piece, or `None` after the end of the utterance. After an error it returns
    /// `None` too.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Piece, SynthesisError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next piece, as [`next`](Speech::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        self.poll_part(cx).map(|part| match part {
            Part::Piece(piece) => Some(Ok(piece)),
            Part::Failed(error) => Some(Err(error)),
            Part::GivenUp => Some(Err(SynthesisError::failed(
                "The speech engine stopped because its listener took no audio for too long.",
            ))),
            Part::Finished => None,
        })
    }

    /// As [`poll_next`](Speech::poll_next), for a listener that asks again if the engine was stopped.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Part> {
        let part = match &mut self.0 {
            Source::Over(_) => Part::Finished,
            Source::Failed(error) => Part::Failed(error.clone()),
            Source::Ready { chunks, .. } => match chunks.next() {
                Some(chunk) => Part::Piece(Piece::Audio(chunk)),
                None => Part::Finished,
            },
            Source::Relayed(relay) => match ready!(relay.poll_next(cx)) {
                Some(Ok(piece)) => Part::Piece(piece),
                Some(Err(error)) => Part::Failed(error),
                None => Part::Finished,
            },
            Source::Channel { receiver, shared, received_bytes, .. } => {
                match ready!(receiver.poll_recv(cx)) {
                    Some(part) => {
                        if let Part::Piece(Piece::Audio(chunk)) = &part {
                            *received_bytes += chunk.len() as u64;
                        }
                        part
                    }
                    None if shared.is_given_up.load(Ordering::Acquire) => Part::GivenUp,
                    // The sink was dropped before its end: the engine panicked or stopped early.
                    None => Part::Failed(SynthesisError::failed(
                        "The speech engine stopped before the sentence was finished.",
                    )),
                }
            }
        };
        if !matches!(part, Part::Piece(_)) {
            self.0 = Source::Over(self.quiet());
        }
        Poll::Ready(part)
    }
}

impl fmt::Debug for Speech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Channel { .. } => "Speech(channel)",
            Source::Ready { .. } => "Speech(ready)",
            Source::Relayed(_) => "Speech(relayed)",
            Source::Failed(_) => "Speech(failed)",
            Source::Over(_) => "Speech(over)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Encoding, Format};
    use crate::gauge::Gauge;
    use crate::tts::testing::{all, soon};
    use std::task::Waker;

    fn utterance() -> Utterance {
        Utterance::new("Hello.", Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 })
    }

    #[tokio::test]
    async fn a_speech_can_fail_before_it_begins() {
        let error = SynthesisError::failed("No voice.");
        let speech = Speech::failed(error.clone());
        assert_eq!(speech.buffered_bytes(), 0);
        assert_eq!(all(speech).await, (vec![], Some(error)));
    }

    #[tokio::test]
    async fn the_gauge_counts_an_utterance_while_its_engine_works() {
        let utterance = utterance();
        let (first, first_speech) = Speech::channel(&utterance, 8_000);
        let (second, second_speech) = Speech::channel(&utterance, 8_000);
        assert_eq!(utterance.running.count(), 2);
        drop(first_speech);
        assert_eq!(utterance.running.count(), 2, "the engine has not noticed yet");
        drop(first);
        assert_eq!(utterance.running.count(), 1);
        soon(second.finish()).await;
        assert_eq!(utterance.running.count(), 0);
        assert_eq!(all(second_speech).await, (vec![], None));

        let mut ready = Speech::ready(&utterance, [Bytes::from_static(b"ab")].into_iter());
        assert_eq!(utterance.running.count(), 1);
        while soon(ready.next()).await.is_some() {}
        assert_eq!(utterance.running.count(), 0, "read to its end");
        let ready = Speech::ready(&utterance, std::iter::repeat(Bytes::from_static(b"ab")));
        drop(ready);
        assert_eq!(utterance.running.count(), 0, "dropped before its end");
    }

    #[tokio::test]
    async fn ready_audio_is_taken_unchanged_and_only_as_far_as_it_is_needed() {
        let (taken, counted) = (Gauge::default(), Gauge::default());
        let mut entered = Vec::new();
        let counter = taken.clone();
        let chunks = (0..u8::MAX).map(move |n| {
            entered.push(counter.enter());
            Bytes::from(vec![n, n])
        });
        let utterance = Utterance { running: counted, ..utterance() };
        let mut speech = Speech::ready(&utterance, chunks);
        assert_eq!(taken.count(), 0);
        for n in 0..3 {
            let next = speech.poll_next(&mut Context::from_waker(Waker::noop()));
            assert_eq!(next, Poll::Ready(Some(Ok(Piece::Audio(Bytes::from(vec![n, n]))))));
            assert_eq!(speech.buffered_bytes(), 0);
        }
        assert_eq!(taken.count(), 3);
        drop(speech);
        assert_eq!(taken.count(), 0);
    }
}
