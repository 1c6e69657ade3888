//! Speech in frames of an encoder, for every engine: the engine speaks samples, and a task encodes them.
//!
//! Each sentence has an encoder of its own, so that a sentence that is spoken again has the same bytes. The task
//! works where synthesis works, and a connection only takes frames. It takes samples as far as its listener has
//! room, so the engine waits as it does otherwise.

use super::{Piece, Sink, Speech, SynthesisError, Synthesizer, Utterance, Word, normalized};
use crate::audio::coder::Coder;
use crate::audio::{Encoding, Format, coded};
use crate::gauge::Gauge;
use std::time::Duration;
use tokio::task::yield_now;

/// Memory of an encoder in bytes, at most.
fn memory_bytes(encoding: Encoding) -> u64 {
    if encoding == Encoding::Opus { 272 * 1024 } else { 48 * 1024 }
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
pub(crate) fn speak(engine: &dyn Synthesizer, mut utterance: Utterance) -> Speech {
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
    let encoder = Encoder { coder, format, lead, delay, next_lead, sink, taken: 0, quiet: 0 };
    tokio::spawn(encoder.run(normalized::speak(engine, utterance)));
    speech.with_memory(memory_bytes(format.encoding))
}

/// The encoder of one sentence.
struct Encoder {
    coder: Coder,
    format: Format,
    /// Frames in front of those of the encoder.
    lead: &'static [u8],
    /// Time by which all of it delays audio.
    delay: Duration,
    /// Length of the frames in front of the next sentence, if this one has none.
    next_lead: Duration,
    sink: Sink,
    /// Bytes of samples taken so far, and those of the silence at their end.
    taken: u64,
    quiet: u64,
}

impl Encoder {
    async fn run(mut self, mut speech: Speech) {
        let mut frames = Vec::new();
        let linear = linear(self.format);
        let result: Result<(), SynthesisError> = loop {
            let piece = tokio::select! {
                biased;
                () = self.sink.cancelled() => return,
                piece = speech.next() => piece,
            };
            self.sink.set_awaited_bytes(self.format.bytes(linear.duration(speech.buffered_bytes())));
            match piece {
                Some(Ok(Piece::Audio(samples))) => {
                    self.quiet = linear.encoding.quiet_after(self.quiet, &samples);
                    self.taken += samples.len() as u64;
                    frames.clear();
                    frames.extend_from_slice(std::mem::take(&mut self.lead));
                    self.coder.push(&samples, &mut frames);
                    if self.sink.push_frames(&frames).is_err() || self.sink.drain().await.is_err() {
                        return;
                    }
                    // Others have their turn.
                    yield_now().await;
                }
                Some(Ok(Piece::Words(words))) => {
                    let delay = self.delay;
                    self.sink.words(words.into_iter().map(|word: Word| word.later(delay)).collect());
                }
                Some(Ok(Piece::Warning(warning))) => {
                    self.sink.warn_about(warning.code, warning.message, warning.text_ranges);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        frames.clear();
        if self.taken > 0 {
            self.coder.finish(&mut frames);
        }
        if self.sink.push_frames(&frames).is_err() {
            return;
        }
        // The frames are longer than the samples: they begin and end with silence of the encoder.
        let length = self.format.duration(self.sink.encoded_bytes());
        let surplus = length.saturating_sub(linear.duration(self.taken));
        self.sink.set_quiet(linear.duration(self.quiet) + surplus + self.next_lead);
        match result {
            Ok(()) => self.sink.finish().await,
            Err(error) => self.sink.fail(error).await,
        }
    }
}

#[cfg(all(test, any(feature = "mp3", feature = "opus")))]
mod tests;
