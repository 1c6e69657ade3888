//! The engine's end of an utterance: converts samples to the utterance's format, and passes them on
//! in chunks of whole frames.

use super::queue::{STALL_TIMEOUT, Slot, Verdict};
use super::speech::{Part, Shared};
use super::{Piece, SynthesisError, Utterance, Warning, Word};
use crate::audio::Encoding;
use crate::audio::resample::Resampler;
use crate::gauge::Counted;
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

/// Most audio in one chunk, in bytes, unless a frame is larger. The channel holds four chunks.
///
/// The first chunk holds one frame, so that playback starts early. Each further chunk holds twice as
/// much, up to this limit, so that a long sentence causes few wake-ups.
pub(super) const MAX_CHUNK_BYTES: usize = 4 * 1024;

/// Most encoded frames in one chunk: they are small, and [`MAX_CHUNK_BYTES`] would be a second of speech.
const CODED_FRAMES: usize = 6;

/// Error of a [`Sink`] whose listener is gone. The engine should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the listener is gone")
    }
}

impl std::error::Error for Cancelled {}

/// The engine's end of an utterance: takes samples at the engine's rate, converts them to the
/// utterance's format, and passes them on in chunks of whole frames.
///
/// An engine ends with [`finish`](Sink::finish) or [`fail`](Sink::fail). Dropping the sink without
/// either is a failure, so that a panic is not taken for the end of a sentence.
pub struct Sink {
    sender: mpsc::Sender<Part>,
    /// `None` if the engine's rate is the listener's.
    resampler: Option<Resampler>,
    /// Output of the resampler for one push. Kept for its memory.
    resampled: Vec<i16>,
    /// Rate of the listener.
    sample_rate_hz: u32,
    encoding: Encoding,
    /// Size of the next chunk, and of the largest one: multiples of a frame.
    chunk_bytes: usize,
    most_chunk_bytes: usize,
    /// Encoded samples, less than a chunk.
    buffer: Vec<u8>,
    /// Pieces that the channel had no room for: words and warnings before audio.
    waiting: VecDeque<Piece>,
    shared: Arc<Shared>,
    _running: Counted,
    slot: Option<Slot>,
    /// True while the engine runs ahead of a listener that is slow, because other utterances wait for
    /// its slot.
    runs_ahead: bool,
    /// True if the engine has to stop because its listener took nothing for too long.
    is_given_up: bool,
}

/// Notices when the listener leaves, while a [`Sink`] is elsewhere.
pub(super) struct Listener(mpsc::Sender<Part>);

impl Listener {
    /// Waits until the listener is gone.
    pub(super) async fn left(&self) {
        self.0.closed().await;
    }
}

/// Creates a resampler, or `None` if the rates are the same.
fn resampler(from_hz: u32, to_hz: u32) -> Result<Option<Resampler>, SynthesisError> {
    if from_hz == to_hz {
        return Ok(None);
    }
    match Resampler::new(from_hz, to_hz) {
        Some(resampler) => Ok(Some(resampler)),
        None => Err(SynthesisError::failed(format!(
            "The speech engine's audio cannot be converted from {from_hz} Hz to {to_hz} Hz."
        ))),
    }
}

impl Sink {
    /// Creates a sink for samples at the utterance's rate.
    pub(super) fn new(utterance: &Utterance, sender: mpsc::Sender<Part>, shared: Arc<Shared>) -> Sink {
        let frame_bytes = utterance.frame_bytes.max(1);
        Sink {
            sender,
            resampler: None,
            resampled: Vec::new(),
            sample_rate_hz: utterance.format.sample_rate_hz,
            encoding: utterance.format.encoding,
            chunk_bytes: frame_bytes,
            most_chunk_bytes: match utterance.format.encoding.is_coded() {
                true => CODED_FRAMES * frame_bytes,
                false => (MAX_CHUNK_BYTES / frame_bytes).max(1) * frame_bytes,
            },
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            shared,
            _running: utterance.running.enter(),
            slot: utterance.slot.clone(),
            runs_ahead: false,
            is_given_up: false,
        }
    }

    /// Passes samples on, and waits while the listener is slow.
    ///
    /// # Errors
    /// [`Cancelled`] if the listener is gone.
    ///
    /// # Cancel safety
    /// All samples are taken before the first wait: dropping the future loses none.
    pub async fn write(&mut self, samples: &[i16]) -> Result<(), Cancelled> {
        self.push(samples)?;
        self.drain().await
    }

    /// Takes samples without waiting. The sink buffers what the channel has no room for, until a later
    /// call or [`drain`](Sink::drain) finds room.
    ///
    /// For an engine on a thread that must not wait. It must limit what it pushes between two drains.
    ///
    /// # Errors
    /// [`Cancelled`] if the listener is gone.
    pub fn push(&mut self, samples: &[i16]) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            return Err(Cancelled);
        }
        let before = self.buffer.len();
        match &mut self.resampler {
            None => self.encoding.encode(samples, &mut self.buffer),
            Some(resampler) => {
                self.resampled.clear();
                resampler.push(samples, &mut self.resampled);
                self.encoding.encode(&self.resampled, &mut self.buffer);
            }
        }
        self.pass_on(before)
    }

    /// As [`push`](Sink::push), for whole frames that an encoder has given.
    pub(super) fn push_frames(&mut self, frames: &[u8]) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            return Err(Cancelled);
        }
        let before = self.buffer.len();
        self.buffer.extend_from_slice(frames);
        self.pass_on(before)
    }

    /// Passes on what the buffer has, which had this length before.
    fn pass_on(&mut self, before: usize) -> Result<(), Cancelled> {
        self.count(before);
        self.cut();
        self.offer()
    }

    /// Notes audio that the engine has synthesised and the encoder has not taken, in bytes of the listener's format.
    pub(super) fn set_awaited_bytes(&self, bytes: u64) {
        self.shared.awaited_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes the silence at the end of the audio.
    pub(super) fn set_quiet(&self, silence: Duration) {
        self.shared.quiet_micros.store(silence.as_micros() as u64, Ordering::Relaxed);
    }

    /// Counts the bytes that were encoded since the buffer had this length.
    fn count(&self, before: usize) {
        self.shared.encoded_bytes.fetch_add((self.buffer.len() - before) as u64, Ordering::Relaxed);
    }

    /// Bytes of audio that were encoded so far.
    pub(super) fn encoded_bytes(&self) -> u64 {
        self.shared.encoded_bytes.load(Ordering::Relaxed)
    }

    /// Those of them that are in whole chunks, and so on their way to the listener.
    pub(super) fn chunked_bytes(&self) -> u64 {
        self.encoded_bytes() - self.buffer.len() as u64
    }

    /// Returns a value that notices when the listener leaves.
    pub(super) fn listener(&self) -> Listener {
        Listener(self.sender.clone())
    }

    /// Bytes of audio that wait for room in the channel.
    fn waiting_bytes(&self) -> usize {
        let bytes = self.waiting.iter().map(|piece| match piece {
            Piece::Audio(chunk) => chunk.len(),
            Piece::Words(_) | Piece::Warning(_) => 0,
        });
        bytes.sum()
    }

    /// Cuts the buffer into chunks.
    fn cut(&mut self) {
        let mut passed = 0;
        while self.buffer.len() - passed >= self.chunk_bytes {
            let chunk = &self.buffer[passed..passed + self.chunk_bytes];
            passed += chunk.len();
            self.waiting.push_back(Piece::Audio(Bytes::copy_from_slice(chunk)));
            self.chunk_bytes = (self.chunk_bytes * 2).min(self.most_chunk_bytes);
        }
        self.buffer.drain(..passed);
    }

    /// Reports the times of the next words, in order, without waiting. For an engine that knows them,
    /// if [`Utterance::has_word_times`] is true.
    ///
    /// Words overtake audio that waits for the listener, so that they arrive early even if the engine
    /// learns them late.
    pub fn words(&mut self, words: Vec<Word>) {
        if words.is_empty() {
            return;
        }
        self.overtake(Piece::Words(words));
    }

    /// Sends a warning to the client, without waiting. It overtakes audio, as [`words`](Sink::words)
    /// do.
    pub fn warn(&mut self, code: &'static str, message: impl Into<String>) {
        self.warn_about(code, message, Vec::new());
    }

    /// As [`warn`](Sink::warn), about ranges of the utterance's text, in bytes and in order.
    pub fn warn_about(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        text_ranges: Vec<Range<usize>>,
    ) {
        self.overtake(Piece::Warning(Warning { code, message: message.into(), text_ranges }));
    }

    /// Sets the engine's sample rate, for an engine that learns it late, for example from the header of
    /// a WAV. To be called before the first sample.
    ///
    /// # Errors
    /// The rate cannot be converted to the listener's. The previous rate stays in force.
    pub fn set_sample_rate(&mut self, sample_rate_hz: u32) -> Result<(), SynthesisError> {
        self.resampler = resampler(sample_rate_hz, self.sample_rate_hz)?;
        Ok(())
    }

    /// Inserts a piece before the waiting audio, after the other waiting pieces.
    fn overtake(&mut self, piece: Piece) {
        let audio = self.waiting.iter().position(|piece| matches!(piece, Piece::Audio(_)));
        self.waiting.insert(audio.unwrap_or(self.waiting.len()), piece);
        // An error means that the listener is gone, which the next sample reports too.
        let _ = self.offer();
    }

    /// Passes on as many waiting pieces as the channel has room for.
    fn offer(&mut self) -> Result<(), Cancelled> {
        while let Some(piece) = self.waiting.pop_front() {
            match self.sender.try_send(Part::Piece(piece)) {
                Ok(()) => {}
                Err(TrySendError::Full(Part::Piece(piece))) => {
                    self.waiting.push_front(piece);
                    break;
                }
                Err(_) => return Err(Cancelled),
            }
        }
        Ok(())
    }

    /// Waits until everything that was pushed is in the channel or with the listener.
    ///
    /// An engine behind a [`Queue`](super::Queue) may have to run ahead, or to stop, if its listener
    /// takes nothing for some time. [`Queue`](super::Queue) says when.
    ///
    /// # Errors
    /// [`Cancelled`] if the listener is gone, or the engine has to stop.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn drain(&mut self) -> Result<(), Cancelled> {
        if self.is_given_up {
            return Err(Cancelled);
        }
        let mut stalled = Duration::ZERO;
        self.runs_ahead &= !self.waiting.is_empty();
        while !self.waiting.is_empty() {
            let Some(slot) = &self.slot else {
                let permit = self.sender.reserve().await.map_err(|_| Cancelled)?;
                if let Some(piece) = self.waiting.pop_front() {
                    permit.send(Part::Piece(piece));
                }
                continue;
            };
            if self.runs_ahead && slot.may_run_ahead(self.waiting_bytes()) {
                return self.offer();
            }
            if let Ok(permit) = timeout(STALL_TIMEOUT, self.sender.reserve()).await {
                stalled = Duration::ZERO;
                let permit = permit.map_err(|_| Cancelled)?;
                if let Some(piece) = self.waiting.pop_front() {
                    permit.send(Part::Piece(piece));
                }
                continue;
            }
            stalled += STALL_TIMEOUT;
            match slot.on_stall(stalled, self.waiting_bytes()) {
                Verdict::Wait => {}
                Verdict::RunAhead => self.runs_ahead = true,
                Verdict::GiveUp => {
                    self.give_up();
                    return Err(Cancelled);
                }
            }
        }
        Ok(())
    }

    /// Discards what the channel has no room for. The engine stops, and the utterance is spoken again
    /// from its beginning when its listener has taken what is in the channel.
    fn give_up(&mut self) {
        self.is_given_up = true;
        self.waiting = VecDeque::new();
        self.buffer = Vec::new();
        self.shared.is_given_up.store(true, Ordering::Release);
    }

    /// True if the listener is gone, or the engine has to stop.
    pub fn is_cancelled(&self) -> bool {
        self.is_given_up || self.sender.is_closed()
    }

    /// Waits until the listener is gone, or the engine has to stop.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn cancelled(&self) {
        if !self.is_given_up {
            self.sender.closed().await;
        }
    }

    /// Ends the utterance successfully. Waits until the rest of it is in the channel.
    pub async fn finish(mut self) {
        self.end(Part::Finished).await;
    }

    /// Ends the utterance with an error, after the samples that were passed on before. Waits until the
    /// error is in the channel.
    pub async fn fail(mut self, error: SynthesisError) {
        self.end(Part::Failed(error)).await;
    }

    async fn end(&mut self, part: Part) {
        if self.is_given_up {
            return;
        }
        // The engine's work is over: the rest is a wait for the listener.
        if let Some(slot) = self.slot.take() {
            slot.release();
        }
        if let Some(mut resampler) = self.resampler.take() {
            self.resampled.clear();
            resampler.finish(&mut self.resampled);
            let before = self.buffer.len();
            self.encoding.encode(&self.resampled, &mut self.buffer);
            self.count(before);
            self.cut();
        }
        if !self.buffer.is_empty() {
            self.waiting.push_back(Piece::Audio(Bytes::copy_from_slice(&self.buffer)));
            self.buffer = Vec::new();
        }
        // An error means that the listener left at the very end.
        if self.drain().await.is_ok()
            && let Ok(permit) = self.sender.reserve().await
        {
            permit.send(part);
        }
    }

    /// True if the sink buffers no audio.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.waiting.is_empty()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("encoding", &self.encoding)
            .field("sample_rate_hz", &self.sample_rate_hz)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
