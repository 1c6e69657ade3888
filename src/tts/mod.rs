//! Text to speech: what an engine is, and the one way its audio takes to a session.
//!
//! Nothing here knows WebSocket, messages or sessions. An engine implements [`Synthesizer`]: it is
//! handed an [`Utterance`] and answers at once with a [`Speech`], the receiving end of audio that
//! is still being made. Dropping the `Speech` is how the listener says that nobody will hear the
//! rest: the engine's end, the [`Sink`], reports [`Cancelled`] and the engine stops.

pub mod command;
mod fallback;
pub mod flite;
pub mod guard;
mod queue;
pub mod tone;
pub mod upstream;

pub use crate::audio::voice::{Gender, Voice};
pub use crate::text::words::Word;
pub use command::Command;
pub use fallback::Fallback;
pub use flite::Flite;
pub use guard::{Guard, SampleEncoding, Shape, Treatment};
pub use queue::{Queue, QueueBounds};
pub use tone::Tone;
pub use upstream::{ElevenLabs, SpeechApi};

use crate::audio::resample::Resampler;
use crate::audio::{Encoding, Format};
use crate::gauge::{Counted, Gauge};
use hyper::body::Bytes;
use queue::Slot;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

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
///         // Samples go in at this rate; the sink makes of them what the utterance asks for.
///         let (mut sink, speech) = Speech::channel(&utterance, 16_000);
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
    /// The default accepts every encoding at the engine's own sample rate and at each of
    /// [`Format::SAMPLE_RATES`], because a [`Sink`] converts both by itself. (From an own rate that
    /// has next to nothing in common with those, such as 44,111 Hz, it cannot: see
    /// [`Resampler::new`].) An engine whose audio takes another way, [`Speech::ready`], says here
    /// what it gives.
    fn supports(&self, format: Format) -> bool {
        let (own, wanted) = (self.format().sample_rate_hz, format.sample_rate_hz);
        own == wanted || (Format::SAMPLE_RATES.contains(&wanted) && Resampler::supports(own, wanted))
    }

    /// The voices that an [`Utterance`] may ask for by name. The first is the default: it is what an
    /// utterance gets that names none. Asked once, when a service is made.
    ///
    /// The default is one voice, named as the engine.
    fn voices(&self) -> Vec<Voice> {
        vec![Voice::new(self.name())]
    }

    /// Whether the same utterance gives the same bytes, whenever and however often it is spoken:
    /// lets a session be recovered at a position that is no longer kept.
    ///
    /// The default is no. An engine that says yes must mean it: what a listener hears would
    /// otherwise break off in the middle of one take and go on in another.
    fn is_deterministic(&self) -> bool {
        false
    }

    /// The engines that this one chooses from, such as the two of a [`Fallback`], for whoever wants
    /// to know whether each of them works. Empty, the default, where it speaks itself.
    fn engines(&self) -> Vec<&dyn Synthesizer> {
        Vec::new()
    }

    /// What waits for this engine, for one that lets only so much through at once. Asked whenever
    /// an operator looks.
    ///
    /// The default is that nothing does.
    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// Starts to speak; returns at once, inside of a tokio runtime, and never blocks.
    ///
    /// Failures are reported through the [`Speech`], so that what was spoken before is heard.
    fn speak(&self, utterance: Utterance) -> Speech;
}

/// What waits for an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Utterances that wait for their turn.
    pub waiting: usize,
    /// Whether one more would be refused.
    pub is_full: bool,
}

/// One request to speak: a sentence and how to say it.
#[derive(Clone, Debug)]
pub struct Utterance {
    /// What to say. Never empty, at most a sentence's length.
    pub text: String,
    /// How fast: 1.0 is the voice's natural rate, 2.0 takes half as long. Within 0.5 to 2.0.
    pub speed: f32,
    /// In whose voice: the name of one of [`Synthesizer::voices`], or empty for the engine's default.
    pub voice: String,
    /// The language of the text, as a BCP 47 tag such as `en` or `de-CH`; empty where nobody said.
    pub language: String,
    /// The sentence's place in its stream, counted from 0.
    pub index: u64,
    /// What was spoken right before it in the same stream, for engines that carry the melody of
    /// speech from one sentence to the next; empty where it is the first.
    pub previous_text: String,
    /// The id of the session it belongs to, by which a queue can be fair to all of them; empty
    /// outside of a session.
    pub session: Arc<str>,
    /// The format that the audio must have. [`Synthesizer::supports`] said yes to it.
    pub format: Format,
    /// Payload bytes of one frame: chunks are multiples of it, but for a sentence's last. At most
    /// [`MAX_FRAME_BYTES`](crate::audio::MAX_FRAME_BYTES).
    pub frame_bytes: usize,
    /// True if the client asked for the times of words. An engine that knows them reports them with
    /// [`Sink::words`]; other engines ignore this field.
    pub has_word_times: bool,
    /// Counts the engine's work for as long as its end of the speech lives.
    pub(crate) running: Gauge,
    /// The right to be worked on, where that is limited.
    pub(crate) slot: Option<Slot>,
}

impl Utterance {
    /// An utterance outside of a session, in the default voice at its natural rate: for engines'
    /// own tests and warm-ups.
    pub fn new(text: impl Into<String>, format: Format) -> Utterance {
        Utterance {
            text: text.into(),
            speed: 1.0,
            voice: String::new(),
            language: String::new(),
            index: 0,
            previous_text: String::new(),
            session: Arc::from(""),
            format,
            frame_bytes: format.frame_bytes(40),
            has_word_times: false,
            running: Gauge::default(),
            slot: None,
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
    /// There is more to speak than the engine can take on (`overloaded`): the session ends.
    Overloaded,
}

impl SynthesisError {
    /// The engine failed.
    pub fn failed(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Failed, message: message.into() }
    }

    /// The engine took too long.
    pub fn timeout(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Timeout, message: message.into() }
    }

    /// There is more to speak than can be taken on.
    pub fn overloaded(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Overloaded, message: message.into() }
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

/// What a [`Speech`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next chunk of audio.
    Audio(Bytes),
    /// When the next words are spoken. Words come in order, in one part or several; those of some
    /// audio as a rule before it, and all of them before the utterance ends.
    Words(Vec<Word>),
    /// Something the listener should know that is no failure.
    Warning(Warning),
}

/// What goes differently than expected without being a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// For programs, such as `retrying_engine`.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: String,
}

/// What travels from a [`Sink`] to its [`Speech`].
enum Part {
    Piece(Piece),
    Failed(SynthesisError),
    Finished,
}

/// The listener's end of one utterance: its audio, in order, as the engine makes it.
///
/// Dropping it cancels the synthesis.
pub struct Speech(Source);

enum Source {
    Channel {
        receiver: mpsc::Receiver<Part>,
        /// Bytes of audio that the sink has encoded so far.
        made: Arc<AtomicU64>,
        /// Bytes of it that the listener was given.
        taken: u64,
    },
    Ready {
        chunks: Box<dyn Iterator<Item = Bytes> + Send>,
        _running: Counted,
    },
    Relayed(Box<dyn Relay>),
    Failed(SynthesisError),
    Over,
}

/// What stands between an engine's speech and its listener, and is polled in the place of it: no
/// task, no channel, no copy.
trait Relay: Send {
    /// As [`Speech::poll_next`], but for what comes after the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>>;

    /// As [`Speech::buffered_bytes`].
    fn buffered_bytes(&self) -> u64;
}

impl Speech {
    /// A bounded channel from an engine that works at its own pace, and writes so many samples a
    /// second. The listener gets the utterance's format.
    ///
    /// If there is no way from the one rate to the other ([`Resampler::supports`]), which an engine
    /// rules out in [`Synthesizer::supports`], the speech has failed and the sink is cancelled.
    pub fn channel(utterance: &Utterance, sample_rate_hz: u32) -> (Sink, Speech) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let made = Arc::new(AtomicU64::new(0));
        let mut speech = Speech(Source::Channel { receiver, made: made.clone(), taken: 0 });
        let format = utterance.format;
        let resampler = resampler(sample_rate_hz, format.sample_rate_hz).unwrap_or_else(|error| {
            // This drops the receiver.
            speech = Speech::failed(error);
            None
        });
        let frame = utterance.frame_bytes.max(1);
        let sink = Sink {
            sender,
            resampler,
            resampled: Vec::new(),
            sample_rate_hz: format.sample_rate_hz,
            encoding: format.encoding,
            frame_bytes: frame,
            chunk_bytes: frame,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            made,
            _running: utterance.running.enter(),
            slot: utterance.slot.clone(),
        };
        (sink, speech)
    }

    /// Audio that costs nothing to make, such as slices of something prepared: it is taken on the
    /// listener's own thread, without a task or a channel, exactly as far as it is wanted.
    ///
    /// Every chunk must be in the utterance's format, whole samples, not empty, and but for the
    /// last a multiple of its `frame_bytes`.
    pub fn ready(utterance: &Utterance, chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Speech {
        Speech(Source::Ready { chunks: Box::new(chunks), _running: utterance.running.enter() })
    }

    /// An utterance that comes by way of something.
    fn relayed(relay: impl Relay + 'static) -> Speech {
        Speech(Source::Relayed(Box::new(relay)))
    }

    /// An utterance that failed before it began.
    pub fn failed(error: SynthesisError) -> Speech {
        Speech(Source::Failed(error))
    }

    /// Bytes of audio, in the listener's format, that the engine has made and that
    /// [`poll_next`](Speech::poll_next) has not given yet: how far the engine is ahead.
    ///
    /// It counts what was encoded, so not what a [`Sink`] that resamples still holds back. It is 0
    /// for [`ready`](Speech::ready) audio, which is made when it is taken, and once the utterance
    /// is over, be it that it failed.
    pub fn buffered_bytes(&self) -> u64 {
        match &self.0 {
            // The channel orders what is counted before what is sent, so this is never too little.
            Source::Channel { made, taken, .. } => made.load(Ordering::Relaxed).saturating_sub(*taken),
            Source::Relayed(relay) => relay.buffered_bytes(),
            Source::Ready { .. } | Source::Failed(_) | Source::Over => 0,
        }
    }

    /// The next piece; `None` once the utterance was spoken to its end. After an error comes
    /// `None` too.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Piece, SynthesisError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Speech::next), for one who polls.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        let part = match &mut self.0 {
            Source::Over => return Poll::Ready(None),
            Source::Failed(error) => Part::Failed(error.clone()),
            Source::Ready { chunks, .. } => match chunks.next() {
                Some(chunk) => Part::Piece(Piece::Audio(chunk)),
                None => Part::Finished,
            },
            Source::Relayed(relay) => match relay.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(piece))) => Part::Piece(piece),
                Poll::Ready(Some(Err(error))) => Part::Failed(error),
                Poll::Ready(None) => Part::Finished,
            },
            Source::Channel { receiver, taken, .. } => match receiver.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(part)) => {
                    if let Part::Piece(Piece::Audio(chunk)) = &part {
                        *taken += chunk.len() as u64;
                    }
                    part
                }
                // The sink was dropped unfinished: an engine that panicked or gave up.
                Poll::Ready(None) => Part::Failed(SynthesisError::failed(
                    "The speech engine stopped before the sentence was finished.",
                )),
            },
        };
        Poll::Ready(match part {
            Part::Piece(piece) => Some(Ok(piece)),
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
            Source::Channel { .. } => "Speech(channel)",
            Source::Ready { .. } => "Speech(ready)",
            Source::Relayed(_) => "Speech(relayed)",
            Source::Failed(_) => "Speech(failed)",
            Source::Over => "Speech(over)",
        })
    }
}

/// The engine's end of one utterance: takes samples at the engine's rate, makes them the format
/// that the utterance asks for, and passes them on in chunks of whole frames.
///
/// An engine ends with [`finish`](Sink::finish) or [`fail`](Sink::fail). One that merely drops
/// its sink has failed, so that a panic is never taken for the end of a sentence.
pub struct Sink {
    sender: mpsc::Sender<Part>,
    /// None where the engine's rate is the listener's.
    resampler: Option<Resampler>,
    /// What it gave for one push; kept for its memory.
    resampled: Vec<i16>,
    /// The listener's.
    sample_rate_hz: u32,
    encoding: Encoding,
    frame_bytes: usize,
    /// What the next chunk should hold; a multiple of `frame_bytes`.
    chunk_bytes: usize,
    /// Encoded samples short of a chunk.
    buffer: Vec<u8>,
    /// What the channel had no room for: words before audio.
    waiting: VecDeque<Piece>,
    /// Counts the bytes that were encoded, for [`Speech::buffered_bytes`].
    made: Arc<AtomicU64>,
    _running: Counted,
    slot: Option<Slot>,
}

/// The way from an engine's rate to its listener's; none where they are the same.
fn resampler(from_hz: u32, to_hz: u32) -> Result<Option<Resampler>, SynthesisError> {
    if from_hz == to_hz {
        return Ok(None);
    }
    match Resampler::new(from_hz, to_hz) {
        Some(resampler) => Ok(Some(resampler)),
        None => Err(SynthesisError::failed(format!(
            "The speech engine gives {from_hz} samples a second, which cannot be made {to_hz}."
        ))),
    }
}

/// Waits for the listener to have room for something more. An engine that waits for long does no work,
/// and needs no slot for it.
async fn room<'a>(
    sender: &'a mpsc::Sender<Part>,
    slot: Option<&Slot>,
) -> Result<mpsc::Permit<'a, Part>, Cancelled> {
    if let Some(slot) = slot {
        match timeout(Queue::BRAKED, sender.reserve()).await {
            Ok(permit) => return permit.map_err(|_| Cancelled),
            Err(_) => slot.give_up(),
        }
    }
    sender.reserve().await.map_err(|_| Cancelled)
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

    /// Takes samples without waiting: what the listener has no room for is kept here until a later
    /// call finds room, or [`drain`](Sink::drain). For an engine that computes on a thread which
    /// must not wait; it bounds what it pushes before it drains.
    ///
    /// # Errors
    /// [`Cancelled`] when the listener is gone.
    pub fn push(&mut self, samples: &[i16]) -> Result<(), Cancelled> {
        if self.sender.is_closed() {
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
        self.count(before);
        self.cut();
        self.offer()
    }

    /// Counts what was encoded since the buffer had this length.
    fn count(&self, before: usize) {
        self.made.fetch_add((self.buffer.len() - before) as u64, Ordering::Relaxed);
    }

    /// Cuts what is encoded into chunks.
    fn cut(&mut self) {
        let mut passed = 0;
        while self.buffer.len() - passed >= self.chunk_bytes {
            let chunk = &self.buffer[passed..passed + self.chunk_bytes];
            passed += chunk.len();
            self.waiting.push_back(Piece::Audio(Bytes::copy_from_slice(chunk)));
            let most = (MAX_CHUNK_BYTES / self.frame_bytes).max(1) * self.frame_bytes;
            self.chunk_bytes = (self.chunk_bytes * 2).min(most);
        }
        self.buffer.drain(..passed);
    }

    /// Reports when the next words are spoken, in order; never waits. For an engine that knows it,
    /// where [`Utterance::has_word_times`] asks for it.
    ///
    /// They overtake the audio that still waits for its listener, so that words which are known
    /// late are heard of early all the same.
    pub fn words(&mut self, words: Vec<Word>) {
        if words.is_empty() {
            return;
        }
        self.overtake(Piece::Words(words));
    }

    /// Tells the listener something that is no failure; never waits, and overtakes audio as
    /// [`words`](Sink::words) do.
    pub fn warn(&mut self, code: &'static str, message: impl Into<String>) {
        self.overtake(Piece::Warning(Warning { code, message: message.into() }));
    }

    /// Says at how many samples per second the engine writes, for one that learns it late, as from
    /// the header of what a program gives. To be called before the first sample.
    ///
    /// # Errors
    /// There is no way from this rate to the listener's. The rate stays as it was.
    pub fn set_sample_rate(&mut self, sample_rate_hz: u32) -> Result<(), SynthesisError> {
        self.resampler = resampler(sample_rate_hz, self.sample_rate_hz)?;
        Ok(())
    }

    /// Puts a piece in front of the audio that waits, behind what else does.
    fn overtake(&mut self, piece: Piece) {
        let audio = self.waiting.iter().position(|piece| matches!(piece, Piece::Audio(_)));
        self.waiting.insert(audio.unwrap_or(self.waiting.len()), piece);
        // An error means that the listener is gone, which the next sample learns too.
        let _ = self.offer();
    }

    /// Passes on as much of what waits as the listener has room for.
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

    /// Waits until the listener has taken everything that was pushed.
    ///
    /// # Errors
    /// [`Cancelled`] when the listener is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn drain(&mut self) -> Result<(), Cancelled> {
        while !self.waiting.is_empty() {
            let permit = room(&self.sender, self.slot.as_ref()).await?;
            if let Some(piece) = self.waiting.pop_front() {
                permit.send(Part::Piece(piece));
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
        // An error here means that the listener left at the very end.
        if self.drain().await.is_ok()
            && let Ok(permit) = room(&self.sender, self.slot.as_ref()).await
        {
            permit.send(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::Waker;
    use std::time::Duration;

    /// The output of a future that must not take long.
    pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("done within its time")
    }

    /// All pieces of a speech, and the error that it ended with.
    pub(super) async fn pieces(mut speech: Speech) -> (Vec<Piece>, Option<SynthesisError>) {
        let mut pieces = Vec::new();
        let error = soon(async {
            loop {
                match speech.next().await {
                    Some(Ok(piece)) => pieces.push(piece),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            }
        });
        let error = error.await;
        assert!(soon(speech.next()).await.is_none(), "nothing comes after the end");
        (pieces, error)
    }

    /// All chunks of a speech that nobody asked for words, and the error that it ended with.
    pub(super) async fn all(speech: Speech) -> (Vec<Bytes>, Option<SynthesisError>) {
        let (pieces, error) = pieces(speech).await;
        (pieces.into_iter().map(chunk).collect(), error)
    }

    /// The audio that a piece must be.
    pub(super) fn chunk(piece: Piece) -> Bytes {
        match piece {
            Piece::Audio(chunk) => chunk,
            other => panic!("no audio but {other:?}"),
        }
    }

    /// Returns once nothing is counted any more.
    pub(super) async fn idle(gauge: &Gauge) {
        soon(async {
            while gauge.count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// An utterance in frames of 10 bytes, which are 5 samples.
    fn utterance() -> Utterance {
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        Utterance { frame_bytes: 10, ..Utterance::new("Hello.", format) }
    }

    /// So many samples, counted up from a first one.
    fn samples(first: usize, count: usize) -> Vec<i16> {
        (first..first + count).map(|n| (n % 30_000) as i16).collect()
    }

    fn bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    /// What is there now, without waiting.
    fn now(speech: &mut Speech) -> Poll<Option<Result<Piece, SynthesisError>>> {
        speech.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    /// The chunk that is there now.
    fn audio(speech: &mut Speech) -> Bytes {
        match now(speech) {
            Poll::Ready(Some(Ok(piece))) => chunk(piece),
            other => panic!("no audio but {other:?}"),
        }
    }

    /// Polls once.
    fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn audio_arrives_whole_in_chunks_of_frames_that_double() {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        let input = samples(0, 40_003);
        let writing = input.clone();
        tokio::spawn(async move {
            for piece in writing.chunks(77) {
                sink.write(piece).await.expect("somebody listens");
            }
            sink.finish().await;
        });
        let (chunks, error) = all(speech).await;
        assert_eq!(error, None);
        assert_eq!(chunks.concat(), bytes(&input));
        let sizes: Vec<usize> = chunks.iter().map(Bytes::len).collect();
        assert_eq!(sizes[..5], [10, 20, 40, 80, 160]);
        let (last, others) = sizes.split_last().expect("there are chunks");
        assert!(others.iter().all(|size| size % 10 == 0 && *size <= MAX_CHUNK_BYTES), "{sizes:?}");
        assert_eq!(others.iter().max(), Some(&(MAX_CHUNK_BYTES / 10 * 10)));
        assert!(*last > 0);
    }

    #[tokio::test]
    async fn a_frame_may_be_larger_than_a_chunk_would_be() {
        let utterance = Utterance { frame_bytes: 64 * 1024, ..utterance() };
        let (mut sink, speech) = Speech::channel(&utterance, 8_000);
        sink.push(&samples(0, 70_000)).expect("somebody listens");
        tokio::spawn(sink.finish());
        let sizes: Vec<usize> = all(speech).await.0.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [65_536, 65_536, 8_928]);
    }

    #[tokio::test]
    async fn a_sink_encodes_what_the_utterance_asks_for() {
        for (encoding, bytes) in [(Encoding::MuLaw, [0xff, 0x7f, 0x80]), (Encoding::ALaw, [0xd5, 0x55, 0xaa])]
        {
            let format = Format { encoding, sample_rate_hz: 8_000 };
            let (mut sink, speech) = Speech::channel(&Utterance::new("Hello.", format), 8_000);
            sink.push(&[0, -1, i16::MAX]).expect("somebody listens");
            tokio::spawn(sink.finish());
            assert_eq!(all(speech).await.0.concat(), bytes);
        }
    }

    #[tokio::test]
    async fn a_sink_gives_the_rate_that_the_utterance_asks_for_to_the_last_sample() {
        let input = samples(0, 10_000);
        for (from, encoding) in [(16_000, Encoding::PcmS16le), (22_050, Encoding::ALaw)] {
            let format = Format { encoding, sample_rate_hz: 8_000 };
            let (mut resampled, mut expected) = (Vec::new(), Vec::new());
            let mut resampler = Resampler::new(from, 8_000).expect("rates of the list");
            resampler.push(&input, &mut resampled);
            resampler.finish(&mut resampled);
            encoding.encode(&resampled, &mut expected);
            for error in [None, Some(SynthesisError::failed("Enough."))] {
                // A frame of one sample, so that there are chunks of many sizes, and the tail alone
                // makes some.
                let frame_bytes = encoding.bytes_per_sample();
                let utterance = Utterance { frame_bytes, ..Utterance::new("Hello.", format) };
                let (mut sink, speech) = Speech::channel(&utterance, from);
                let (writing, ending) = (input.clone(), error.clone());
                tokio::spawn(async move {
                    for piece in writing.chunks(333) {
                        sink.write(piece).await.expect("somebody listens");
                    }
                    match ending {
                        None => sink.finish().await,
                        Some(error) => sink.fail(error).await,
                    }
                });
                let (chunks, ended) = all(speech).await;
                assert_eq!(chunks.concat(), expected);
                assert_eq!(ended, error);
                assert!(chunks.iter().all(|chunk| (1..=MAX_CHUNK_BYTES).contains(&chunk.len())));
            }
        }
    }

    #[tokio::test]
    async fn what_is_made_and_not_taken_is_counted_wherever_it_is() {
        let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
        assert_eq!(speech.buffered_bytes(), 0);
        // Less than a chunk, so all of it in the buffer.
        sink.push(&samples(0, 3)).expect("somebody listens");
        assert_eq!(speech.buffered_bytes(), 6);
        // Four chunks in the channel, then one that waits, then a buffer. Words are no audio.
        sink.words(vec![word(0)]);
        sink.push(&samples(3, 157)).expect("somebody listens");
        assert!(!sink.waiting.is_empty() && !sink.buffer.is_empty());
        assert_eq!(speech.buffered_bytes(), 320);
        let mut left = 320;
        tokio::spawn(sink.finish());
        while let Some(piece) = soon(speech.next()).await {
            if let Piece::Audio(chunk) = piece.expect("no error") {
                left -= chunk.len() as u64;
            }
            assert_eq!(speech.buffered_bytes(), left);
        }
        assert_eq!((speech.buffered_bytes(), left), (0, 0));
    }

    #[tokio::test]
    async fn what_is_not_taken_is_counted_in_the_format_of_the_listener() {
        let format = Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 };
        let utterance = Utterance { frame_bytes: 10, ..Utterance::new("Hello.", format) };
        let (mut sink, mut speech) = Speech::channel(&utterance, 24_000);
        let mut resampler = Resampler::new(24_000, 8_000).expect("rates of the list");
        let (mut made, mut taken) = (Vec::new(), 0);
        for n in 0..20 {
            let input = samples(n * 1_000, 1_000);
            resampler.push(&input, &mut made);
            sink.push(&input).expect("somebody listens");
            assert_eq!(speech.buffered_bytes(), (made.len() - taken) as u64);
            // What is left is more than the channel has room for.
            if n < 4 {
                taken += audio(&mut speech).len();
            }
            assert_eq!(speech.buffered_bytes(), (made.len() - taken) as u64);
        }
        // The end adds what the resampler held back.
        resampler.finish(&mut made);
        let mut finishing = Box::pin(sink.finish());
        assert!(poll(&mut finishing).is_pending());
        assert_eq!(speech.buffered_bytes(), (made.len() - taken) as u64);
        tokio::spawn(finishing);
        while let Some(piece) = soon(speech.next()).await {
            taken += chunk(piece.expect("no error")).len();
            assert_eq!(speech.buffered_bytes(), (made.len() - taken) as u64);
        }
        assert_eq!(taken, made.len());
    }

    #[tokio::test]
    async fn nothing_is_left_to_take_of_what_is_over_or_costs_nothing() {
        // A sink that is dropped takes with it what it had not passed on.
        let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
        sink.push(&samples(0, 7)).expect("somebody listens");
        drop(sink);
        assert_eq!(audio(&mut speech).len(), 10);
        assert!(matches!(now(&mut speech), Poll::Ready(Some(Err(_)))));
        assert_eq!(speech.buffered_bytes(), 0);

        let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
        sink.push(&samples(0, 7)).expect("somebody listens");
        tokio::spawn(sink.fail(SynthesisError::failed("Enough.")));
        while soon(speech.next()).await.is_some_and(|piece| piece.is_ok()) {}
        assert_eq!(speech.buffered_bytes(), 0);

        let chunks = std::iter::repeat(Bytes::from_static(b"ab"));
        let mut speech = Speech::ready(&utterance(), chunks);
        audio(&mut speech);
        assert_eq!(speech.buffered_bytes(), 0);
        assert_eq!(Speech::failed(SynthesisError::failed("No voice.")).buffered_bytes(), 0);
    }

    #[test]
    fn an_engine_has_one_voice_and_promises_nothing_unless_it_says_so() {
        struct Mute;
        impl Synthesizer for Mute {
            fn name(&self) -> &str {
                "mute"
            }
            fn format(&self) -> Format {
                utterance().format
            }
            fn speak(&self, _: Utterance) -> Speech {
                Speech::failed(SynthesisError::failed("It has no tongue."))
            }
        }
        assert_eq!(Mute.voices(), [Voice::new("mute")]);
        assert!(!Mute.is_deterministic());
        assert_eq!(utterance().voice, "");
    }

    #[tokio::test]
    async fn nothing_is_resampled_without_need() {
        let (sink, _speech) = Speech::channel(&utterance(), 8_000);
        assert!(sink.resampler.is_none());
        let (sink, speech) = Speech::channel(&utterance(), 16_000);
        assert!(sink.resampler.is_some());
        // An utterance without a sample has none after resampling.
        tokio::spawn(sink.finish());
        assert_eq!(all(speech).await, (vec![], None));
    }

    #[tokio::test]
    async fn a_rate_that_leads_nowhere_fails_the_utterance_and_stops_the_engine() {
        let (mut sink, speech) = Speech::channel(&utterance(), 44_111);
        assert_eq!(sink.push(&[1]), Err(Cancelled));
        let (chunks, error) = all(speech).await;
        assert!(chunks.is_empty());
        assert!(error.is_some_and(|error| error.message.contains("44111")));
    }

    #[test]
    fn an_engine_is_taken_to_give_its_own_rate_and_the_common_ones() {
        struct Own(u32);
        impl Synthesizer for Own {
            fn name(&self) -> &str {
                "voice"
            }
            fn format(&self) -> Format {
                Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.0 }
            }
            fn speak(&self, _: Utterance) -> Speech {
                Speech::failed(SynthesisError::failed("It has no tongue."))
            }
        }
        let supported = |own: u32, sample_rate_hz: u32| {
            let all = Encoding::ALL.map(|encoding| Own(own).supports(Format { encoding, sample_rate_hz }));
            assert!(all.iter().all(|&one| one == all[0]), "any encoding or none");
            all[0]
        };
        for own in [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            assert!(supported(own, own));
            assert!(Format::SAMPLE_RATES.into_iter().all(|rate| supported(own, rate)), "{own} Hz");
            assert!(!supported(own, 11_025) && !supported(own, 0));
        }
        assert!(supported(44_111, 44_111) && !supported(44_111, 48_000));
    }

    #[tokio::test]
    async fn a_short_sentence_is_one_short_chunk_and_an_empty_one_none() {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        sink.push(&[7]).expect("somebody listens");
        tokio::spawn(sink.finish());
        assert_eq!(all(speech).await, (vec![Bytes::from_static(&[7, 0])], None));

        let (sink, speech) = Speech::channel(&utterance(), 8_000);
        tokio::spawn(sink.finish());
        assert_eq!(all(speech).await, (vec![], None));
    }

    #[tokio::test]
    async fn a_slow_listener_keeps_drain_waiting_but_not_push() {
        let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
        // Chunks of 5, 10, 20, 40 and 80 samples: one more than the channel holds.
        sink.push(&samples(0, 155)).expect("somebody listens");
        assert_eq!(sink.waiting.len(), 1);
        assert_eq!(poll(&mut Box::pin(sink.drain())), Poll::Pending);
        // The future above was dropped, and nothing with it.
        assert_eq!(sink.waiting.len(), 1);

        let mut heard = vec![audio(&mut speech)];
        assert_eq!(poll(&mut Box::pin(sink.drain())), Poll::Ready(Ok(())));
        assert_eq!(sink.waiting.len(), 0);

        // Without a drain too, what waits goes on its way as soon as there is room.
        sink.push(&samples(155, 160)).expect("somebody listens");
        assert_eq!(sink.waiting.len(), 1);
        heard.push(audio(&mut speech));
        sink.push(&samples(315, 1)).expect("somebody listens");
        assert_eq!(sink.waiting.len(), 0);

        tokio::spawn(sink.finish());
        heard.extend(all(speech).await.0);
        assert_eq!(heard.concat(), bytes(&samples(0, 316)));
    }

    /// A word of one byte in one millisecond.
    fn word(n: usize) -> Word {
        let at = |n: usize| Duration::from_millis(n as u64);
        Word { text_range: n..n + 1, start: at(n), end: at(n + 1) }
    }

    #[tokio::test]
    async fn words_come_in_order_and_before_the_audio_that_waits() {
        let (mut sink, speech) = Speech::channel(&utterance(), utterance().format.sample_rate_hz);
        sink.words(vec![]);
        sink.words(vec![word(0)]);
        // The first chunks fill the channel; the rest waits.
        sink.push(&samples(0, 155)).expect("somebody listens");
        assert_eq!(sink.waiting.len(), 2);
        sink.words(vec![word(1), word(2)]);
        sink.words(vec![word(3)]);
        tokio::spawn(sink.finish());
        let (pieces, error) = pieces(speech).await;
        assert_eq!(error, None);
        let told = |n: usize| match &pieces[n] {
            Piece::Words(words) => words.clone(),
            other => panic!("no words but {other:?}"),
        };
        assert_eq!(told(0), [word(0)]);
        assert_eq!(told(4), [word(1), word(2)]);
        assert_eq!(told(5), [word(3)]);
        let audio = pieces.into_iter().filter(|piece| matches!(piece, Piece::Audio(_))).map(chunk);
        assert_eq!(audio.collect::<Vec<_>>().concat(), bytes(&samples(0, 155)));
    }

    #[tokio::test]
    async fn a_warning_overtakes_the_audio_that_waits() {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        sink.push(&samples(0, 155)).expect("somebody listens");
        assert_eq!(sink.waiting.len(), 1);
        sink.warn("retrying_engine", "Once more.");
        tokio::spawn(sink.finish());
        let (pieces, error) = pieces(speech).await;
        assert_eq!((pieces.len(), error), (6, None));
        let warning = Warning { code: "retrying_engine", message: "Once more.".to_owned() };
        assert_eq!(pieces[4], Piece::Warning(warning));
    }

    #[tokio::test]
    async fn a_rate_can_be_learnt_late() {
        let spoken = async |first: u32, late: Option<u32>| {
            let (mut sink, speech) = Speech::channel(&utterance(), first);
            if let Some(rate) = late {
                sink.set_sample_rate(rate).expect("a rate of the list");
            }
            sink.push(&samples(0, 100)).expect("somebody listens");
            tokio::spawn(sink.finish());
            all(speech).await
        };
        assert_eq!(spoken(8_000, Some(16_000)).await, spoken(16_000, None).await);
        assert_eq!(spoken(16_000, Some(8_000)).await, spoken(8_000, None).await);
        let (mut sink, _speech) = Speech::channel(&utterance(), 8_000);
        assert!(sink.set_sample_rate(44_111).is_err());
        assert!(sink.push(&[1]).is_ok());
    }

    #[tokio::test]
    async fn words_are_told_before_a_failure_and_to_nobody_once_it_left() {
        let (mut sink, speech) = Speech::channel(&utterance(), utterance().format.sample_rate_hz);
        sink.words(vec![word(0)]);
        let error = SynthesisError::failed("Enough.");
        tokio::spawn(sink.fail(error.clone()));
        assert_eq!(pieces(speech).await, (vec![Piece::Words(vec![word(0)])], Some(error)));

        let (mut sink, speech) = Speech::channel(&utterance(), utterance().format.sample_rate_hz);
        drop(speech);
        sink.words(vec![word(0)]);
        assert_eq!(sink.push(&[1]), Err(Cancelled));
    }

    #[tokio::test]
    async fn writing_resumes_when_the_listener_does() {
        let (mut sink, mut speech) = Speech::channel(&utterance(), 8_000);
        let input = samples(0, 300_000);
        let mut writing = Box::pin(sink.write(&input));
        assert_eq!(poll(&mut writing), Poll::Pending);
        let mut heard = 0;
        while poll(&mut writing).is_pending() {
            heard += chunk(soon(speech.next()).await.expect("a chunk").expect("audio")).len();
        }
        assert!(heard > 500_000, "{heard}");
    }

    #[tokio::test]
    async fn dropping_the_speech_cancels() {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        assert!(!sink.is_cancelled());
        assert_eq!(poll(&mut Box::pin(sink.cancelled())), Poll::Pending);
        drop(speech);
        assert!(sink.is_cancelled());
        soon(sink.cancelled()).await;
        assert_eq!(sink.push(&[1]), Err(Cancelled));
        assert_eq!(soon(sink.write(&[1])).await, Err(Cancelled));
        soon(sink.finish()).await;
    }

    #[tokio::test]
    async fn dropping_the_speech_ends_every_wait() {
        let full = || {
            let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
            sink.push(&samples(0, 1_000)).expect("somebody listens");
            (sink, speech)
        };
        let (mut sink, speech) = full();
        let mut draining = Box::pin(sink.drain());
        assert_eq!(poll(&mut draining), Poll::Pending);
        drop(speech);
        assert_eq!(soon(draining).await, Err(Cancelled));

        let (sink, speech) = full();
        let mut finishing = Box::pin(sink.finish());
        assert_eq!(poll(&mut finishing), Poll::Pending);
        drop(speech);
        soon(finishing).await;
    }

    #[tokio::test]
    async fn a_sink_that_is_dropped_has_failed() {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        sink.push(&samples(0, 5)).expect("somebody listens");
        drop(sink);
        let (chunks, error) = all(speech).await;
        assert_eq!(chunks.concat(), bytes(&samples(0, 5)));
        assert_eq!(error.map(|error| error.kind), Some(SynthesisErrorKind::Failed));
    }

    #[tokio::test]
    async fn an_error_comes_behind_the_audio_before_it() {
        let (mut sink, speech) = Speech::channel(&utterance(), 8_000);
        let input = samples(0, 9_999);
        sink.push(&input).expect("somebody listens");
        let error = SynthesisError::no_audio("Enough.");
        tokio::spawn(sink.fail(error.clone()));
        let (chunks, ended) = all(speech).await;
        assert_eq!(chunks.concat(), bytes(&input));
        assert_eq!(ended, Some(error));
    }

    #[tokio::test]
    async fn a_speech_can_fail_before_it_begins() {
        let error = SynthesisError::failed("No voice.");
        assert_eq!(all(Speech::failed(error.clone())).await, (vec![], Some(error)));
    }

    #[tokio::test]
    async fn the_gauge_counts_an_utterance_for_as_long_as_its_engine_works() {
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
    async fn ready_audio_is_taken_as_it_is_and_only_as_far_as_it_is_wanted() {
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
            assert_eq!(audio(&mut speech), [n, n].as_slice());
        }
        assert_eq!(taken.count(), 3);
        drop(speech);
        assert_eq!(taken.count(), 0);
    }

    #[test]
    fn errors_are_shown_as_their_sentence() {
        assert_eq!(SynthesisError::failed("It broke.").to_string(), "It broke.");
        assert_eq!(Cancelled.to_string(), "the listener is gone");
    }
}
