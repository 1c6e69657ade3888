//! Speech in frames of an encoder, for every engine: the engine speaks samples, and a task encodes them.
//!
//! Each sentence has an encoder of its own, so that a sentence that is spoken again has the same bytes. Encoders
//! work in turns, as [`Encoders`] says, and a connection only takes frames. A task takes samples as far as its
//! listener has room, so the engine waits as it does otherwise.

use super::pool::Pool;
use super::{Cancelled, Piece, Sink, Speech, SynthesisError, Synthesizer, Utterance, Word, normalized};
use crate::audio::coder::Coder;
use crate::audio::{Encoding, Format, coded};
use crate::gauge::Gauge;
use hyper::body::Bytes;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Samples that are encoded in one turn, in bytes: 256 ms at 16,000 samples per second.
pub(crate) const UNIT_BYTES: usize = 8 * 1024;

/// Memory of an encoder in bytes, at most.
fn memory_bytes(encoding: Encoding) -> u64 {
    if encoding == Encoding::Opus { 272 * 1024 } else { 48 * 1024 }
}

/// The encoders of a service: they work on as many threads as there are cores, in units of [`UNIT_BYTES`].
///
/// Turns go round the clients, then the sessions or answers of a client. So a client waits for one unit of each
/// other client, whatever the others ask for. The first frames of sentences and answers come first, so that these
/// begin soon however many clients there are. To read a long request is a unit of work, too.
#[derive(Clone)]
pub(crate) struct Encoders(Arc<Pool>);

impl Encoders {
    pub(crate) fn new() -> Encoders {
        Encoders::with_threads(thread::available_parallelism().map_or(1, usize::from))
    }

    pub(crate) fn with_threads(threads: usize) -> Encoders {
        Encoders(Arc::new(Pool::lent(threads)))
    }

    /// Encodes in the turn of this utterance, urgent work of all clients first. `None` if the work panicked.
    ///
    /// # Cancel safety
    /// Dropping the future gives the turn up. Work that has begun is finished.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        utterance: &Utterance,
        is_urgent: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.0.work(utterance, is_urgent, work).await
    }

    /// Number of units that wait for their turn.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// Holds a thread from the turn of this client on, which is urgent, until the sender is dropped. The receiver has
    /// a value then.
    #[cfg(test)]
    pub(crate) fn hold(
        &self,
        client: &str,
    ) -> (std::sync::mpsc::Sender<()>, tokio::sync::oneshot::Receiver<()>) {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        let holder = Utterance { client: Arc::from(client), ..Utterance::new("", format) };
        let encoders = self.clone();
        tokio::spawn(async move {
            let hold = move || {
                let _ = begin.send(());
                let _ = released.recv();
            };
            encoders.work(&holder, true, hold).await
        });
        (release, begun)
    }
}

/// The format of the samples that become frames of a format.
fn linear(format: Format) -> Format {
    Format { encoding: Encoding::PcmS16le, ..format }
}

/// True if an engine gives this format, by an encoder if necessary.
pub(crate) fn supports(engine: &dyn Synthesizer, format: Format) -> bool {
    match format.encoding.is_coded() {
        true => Coder::supports(format) && engine.supports(linear(format)),
        false => engine.supports(format),
    }
}

/// Has an engine speak in the utterance's format, which it [supports].
pub(crate) fn speak(engine: &dyn Synthesizer, encoders: &Encoders, mut utterance: Utterance) -> Speech {
    let format = utterance.format;
    let Some(coder) = Coder::new(format) else { return normalized::speak(engine, utterance) };
    let outer = Utterance { running: Gauge::default(), slot: None, ..utterance.clone() };
    let (sink, speech) = Speech::channel(&outer, format.sample_rate_hz);
    utterance.format = linear(format);
    utterance.frame_bytes = utterance.format.bytes(format.duration(format.unit_bytes() as u64)) as usize;
    let lead = coded::lead(format);
    let lead_time = format.duration(lead.len() as u64);
    // The silence between two sentences is that at the end of one, and that at the start of the other.
    let (lead, delay, next_lead) = match utterance.index {
        0 => (&[][..], format.coding_delay(), lead_time),
        _ => (lead, format.coding_delay() + lead_time, Duration::ZERO),
    };
    let encoder = Encoder { coder, frames: Vec::new(), lead };
    let sentence =
        Sentence { encoders: encoders.clone(), outer, format, delay, next_lead, taken: 0, quiet: 0 };
    tokio::spawn(sentence.run(encoder, sink, normalized::speak(engine, utterance)));
    speech.with_memory(memory_bytes(format.encoding))
}

/// The encoder of one sentence.
struct Encoder {
    coder: Coder,
    /// Kept for its memory.
    frames: Vec<u8>,
    /// Frames in front of those of the encoder.
    lead: &'static [u8],
}

impl Encoder {
    /// Encodes samples, or the end of them.
    fn encode(&mut self, samples: Option<&[u8]>, sink: &mut Sink) -> Result<(), Cancelled> {
        self.frames.clear();
        self.frames.extend_from_slice(std::mem::take(&mut self.lead));
        match samples {
            Some(samples) => self.coder.push(samples, &mut self.frames),
            None => self.coder.finish(&mut self.frames),
        }
        sink.push_frames(&self.frames)
    }
}

/// A sentence on its way through an encoder.
struct Sentence {
    encoders: Encoders,
    /// The sentence as its listener asked for it.
    outer: Utterance,
    format: Format,
    /// Time by which the frames delay audio.
    delay: Duration,
    /// Length of the frames in front of the next sentence, if this one has none.
    next_lead: Duration,
    /// Bytes of samples taken so far, and those of the silence at their end.
    taken: u64,
    quiet: u64,
}

impl Sentence {
    async fn run(mut self, mut encoder: Encoder, mut sink: Sink, mut speech: Speech) {
        let linear = linear(self.format);
        let result: Result<(), SynthesisError> = loop {
            let piece = tokio::select! {
                biased;
                () = sink.cancelled() => return,
                piece = speech.next() => piece,
            };
            sink.set_awaited_bytes(self.format.bytes(linear.duration(speech.buffered_bytes())));
            match piece {
                Some(Ok(Piece::Audio(mut samples))) => {
                    self.quiet = linear.encoding.quiet_after(self.quiet, &samples);
                    self.taken += samples.len() as u64;
                    while !samples.is_empty() {
                        let unit = samples.split_to(samples.len().min(UNIT_BYTES));
                        let Some(done) = self.encode(encoder, sink, Some(unit)).await else { return };
                        (sink, encoder) = done;
                        if sink.drain().await.is_err() {
                            return;
                        }
                    }
                }
                Some(Ok(Piece::Words(words))) => {
                    let delay = self.delay;
                    sink.words(words.into_iter().map(|word: Word| word.later(delay)).collect());
                }
                Some(Ok(Piece::Warning(warning))) => {
                    sink.warn_about(warning.code, warning.message, warning.text_ranges);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        if self.taken > 0 {
            let Some(done) = self.encode(encoder, sink, None).await else { return };
            sink = done.0;
        }
        // The frames are longer than the samples: they begin and end with silence of the encoder.
        let length = self.format.duration(sink.encoded_bytes());
        let surplus = length.saturating_sub(linear.duration(self.taken));
        sink.set_quiet(linear.duration(self.quiet) + surplus + self.next_lead);
        match result {
            Ok(()) => sink.finish().await,
            Err(error) => sink.fail(error).await,
        }
    }

    /// Encodes samples, or the end of them, in the turn of the sentence. `None` if its listener has left, or the
    /// encoder panicked, which the listener sees as a failure.
    async fn encode(
        &self,
        mut encoder: Encoder,
        sink: Sink,
        samples: Option<Bytes>,
    ) -> Option<(Sink, Encoder)> {
        let is_urgent = sink.encoded_bytes() == 0;
        let job = move |sink: &mut Sink| {
            let pushed = encoder.encode(samples.as_deref(), sink);
            pushed.map(|()| encoder)
        };
        let (sink, encoder) = self.encoders.0.run(&self.outer, is_urgent, sink, job).await?;
        Some((sink, encoder.ok()?))
    }
}

#[cfg(all(test, any(feature = "mp3", feature = "opus")))]
mod tests;
