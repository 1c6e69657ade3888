//! Checks and adjusts the audio of engines outside of this crate: programs and services.
//!
//! Such an engine may give anything: a WAV or raw samples, half a sample at the end, several WAVs in
//! a row, silence, or a page of HTML that explains why there is no audio. A [`Guard`] takes the bytes
//! as they arrive, cut anywhere, and passes samples to a [`Sink`] or returns an error for the client.
//! It knows neither processes nor HTTP, and buffers a bounded amount.

use super::{Sink, SynthesisError, Utterance};
use crate::audio::SourceFormat;
use crate::audio::level::{Fade, LEAD_MS, Level, TAIL_MS, Trim};
use crate::audio::sniff::{Content, recognise};
use crate::audio::wav::{Reader, Step, WavError};
use std::ops::ControlFlow;

/// Longest playing time of a sentence: this many seconds, and [`MAX_SECONDS_PER_CHARACTER`] more for
/// each character. A digit or a Chinese character at half the speed takes less.
const MAX_SECONDS: u64 = 30;

/// Seconds that each character adds to [`MAX_SECONDS`].
const MAX_SECONDS_PER_CHARACTER: u64 = 1;

/// Adjustments to the audio of an engine, so that its silence and level match other engines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Treatment {
    /// Silence kept before a sentence, in milliseconds, at most 2,000. Silence is audio below
    /// −50 dBFS. Default: 20.
    pub lead_ms: u16,
    /// Silence kept after a sentence, in milliseconds, at most 2,000. It is the pause before the next
    /// sentence. If a sentence ends with more than 2 s of silence, the surplus is kept too.
    /// Default: 120.
    pub tail_ms: u16,
    /// Gain in dB, from −60 to 60. No sample exceeds −1 dBFS: louder audio is attenuated, together
    /// with the audio around it. Default: 0.
    pub gain_db: f32,
}

impl Default for Treatment {
    fn default() -> Treatment {
        Treatment { lead_ms: LEAD_MS as u16, tail_ms: TAIL_MS as u16, gain_db: 0.0 }
    }
}

/// Passes the audio of one utterance from an engine's bytes to a [`Sink`].
///
/// - A WAV is read as its header describes it: any rate, linear of 8 to 32 bits, floating point,
///   µ-law or A-law, up to 16 channels, of known or unknown length. Bytes after its samples are
///   skipped, up to another WAV. Headers in the middle of samples are removed.
/// - Other audio is raw samples, if their [`SourceFormat`] is known.
/// - Text and files of other kinds are errors, and so are a sentence that is far too long for its
///   text and a WAV that ends before its length.
/// - Silence around the sentence is cut as [`Treatment`] says, and the sentence fades in and out over
///   5 ms. Audio that is only silence is an error.
///
/// The same bytes give the same samples, however they are cut.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Format of samples without a header.
    raw: Option<SourceFormat>,
    treatment: Treatment,
    /// Longest playing time, in seconds.
    max_seconds: u64,
    state: State,
    /// Bytes that were not read yet.
    pending: Vec<u8>,
    /// Bytes that came before the kind of content was known: a few.
    undecided: u64,
    /// Exists once the sample rate is known.
    chain: Option<Chain>,
}

/// Progress through the engine's bytes.
#[derive(Debug)]
enum State {
    /// The kind of content is not known yet.
    Unknown,
    /// The content is audio.
    Reading(Reader),
    /// Further bytes are ignored.
    Over,
}

/// Processing of samples, once their rate is known.
#[derive(Debug)]
struct Chain {
    sample_rate_hz: u32,
    trim: Trim,
    level: Level,
    fade: Fade,
    /// Longest playing time, in seconds.
    max_seconds: u64,
    /// Samples that may still follow, and those that were taken.
    left: u64,
    taken: u64,
    // Output of each stage. The vectors are kept for their memory.
    decoded: Vec<i16>,
    trimmed: Vec<i16>,
    levelled: Vec<i16>,
    faded: Vec<i16>,
}

impl Chain {
    fn new(sample_rate_hz: u32, max_seconds: u64, treatment: Treatment) -> Chain {
        Chain {
            sample_rate_hz,
            trim: Trim::keeping(sample_rate_hz, treatment.lead_ms.into(), treatment.tail_ms.into()),
            level: Level::new(sample_rate_hz, libm::powf(10.0, treatment.gain_db / 20.0)),
            fade: Fade::new(sample_rate_hz),
            max_seconds,
            left: max_seconds.saturating_mul(sample_rate_hz.into()),
            taken: 0,
            decoded: Vec::new(),
            trimmed: Vec::new(),
            levelled: Vec::new(),
            faded: Vec::new(),
        }
    }

    /// Takes whole frames.
    fn push(&mut self, frames: &[u8], format: SourceFormat, sink: &mut Sink) -> Result<(), SynthesisError> {
        self.decoded.clear();
        format.decode(frames, &mut self.decoded);
        let fitting = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.decoded.len());
        let is_too_long = fitting < self.decoded.len();
        self.decoded.truncate(fitting);
        self.left -= fitting as u64;
        self.taken += fitting as u64;
        self.trimmed.clear();
        self.trim.push(&self.decoded, &mut self.trimmed);
        self.levelled.clear();
        self.level.push(&self.trimmed, &mut self.levelled);
        self.faded.clear();
        self.fade.push(&self.levelled, &mut self.faded);
        // An error means that the listener is gone, which the next drain of the sink reports.
        let _ = sink.push(&self.faded);
        match is_too_long {
            false => Ok(()),
            true if self.trim.has_sound() => Err(SynthesisError::failed(format!(
                "The speech engine gave too much audio for this sentence (limit {} s).",
                self.max_seconds
            ))),
            true => Err(only_silence()),
        }
    }

    /// Passes on the rest. Returns true if the sentence had any sound.
    fn finish(mut self, sink: &mut Sink) -> bool {
        self.levelled.clear();
        self.level.finish(&mut self.levelled);
        self.faded.clear();
        self.fade.push(&self.levelled, &mut self.faded);
        self.fade.finish(&mut self.faded);
        let _ = sink.push(&self.faded);
        self.trim.has_sound()
    }
}

impl Guard {
    /// Creates a guard for the audio of one utterance. `raw` is the format of samples without a
    /// header; if it is `None`, such audio is refused, because a guess would be noise.
    pub(crate) fn new(raw: Option<SourceFormat>, treatment: Treatment, utterance: &Utterance) -> Guard {
        let characters = utterance.text.chars().count() as u64;
        Guard {
            raw,
            treatment,
            max_seconds: MAX_SECONDS.saturating_add(characters.saturating_mul(MAX_SECONDS_PER_CHARACTER)),
            state: State::Unknown,
            pending: Vec::new(),
            undecided: 0,
            chain: None,
        }
    }

    /// Takes bytes as they arrive, cut anywhere, and pushes finished samples into the sink.
    ///
    /// It never waits, so the caller drains the sink before the next call. Nothing is pushed before
    /// the first sound. Afterwards less than 2.1 s of audio is held back.
    ///
    /// # Errors
    /// The bytes are not audio, or cannot be read. Later bytes are ignored. The caller still calls
    /// [`finish`](Guard::finish), so that audio that was pushed before does not end with a click.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut Sink) -> Result<(), SynthesisError> {
        if let State::Over = self.state {
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        let advanced = self.advance(false, sink);
        if let State::Unknown = self.state {
            self.undecided += bytes.len() as u64;
        }
        advanced
    }

    /// Number that rises with each push that brought samples, silence too, or bytes that may turn out to be samples.
    /// Headers, and bytes between WAVs, are neither.
    pub(crate) fn taken(&self) -> u64 {
        self.undecided + self.chain.as_ref().map_or(0, |chain| chain.taken)
    }

    /// Ends the audio: pushes the samples that were held back.
    ///
    /// To be called before [`Sink::fail`] too, if the engine failed; its result has no meaning then.
    /// A second call does nothing.
    ///
    /// # Errors
    /// There was no sound, or the audio ended too early.
    pub(crate) fn finish(&mut self, sink: &mut Sink) -> Result<(), SynthesisError> {
        if matches!(self.state, State::Over) && self.chain.is_none() {
            return Ok(());
        }
        let advanced = self.advance(true, sink);
        let state = std::mem::replace(&mut self.state, State::Over);
        let has_sound = self.chain.take().is_some_and(|chain| chain.finish(sink));
        advanced?;
        if let State::Reading(reader) = &state {
            reader.check_end().map_err(unreadable)?;
        }
        match state {
            _ if has_sound => Ok(()),
            State::Unknown => {
                Err(SynthesisError::no_audio("The speech engine gave no audio for this sentence."))
            }
            State::Reading(_) | State::Over => Err(only_silence()),
        }
    }

    /// Reads as much of the pending bytes as possible.
    fn advance(&mut self, at_end: bool, sink: &mut Sink) -> Result<(), SynthesisError> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let result = loop {
            match self.step(&mut rest, at_end, sink) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break Ok(()),
                Err(error) => {
                    self.state = State::Over;
                    rest = &[];
                    break Err(error);
                }
            }
        };
        let used = pending.len() - rest.len();
        self.pending = pending;
        self.pending.drain(..used);
        result
    }

    /// Reads one thing, and removes its bytes from `rest`. Breaks if more bytes are needed.
    fn step(
        &mut self,
        rest: &mut &[u8],
        at_end: bool,
        sink: &mut Sink,
    ) -> Result<ControlFlow<()>, SynthesisError> {
        let reader = match &mut self.state {
            State::Unknown => return self.begin(rest, at_end, sink),
            State::Reading(reader) => reader,
            State::Over => {
                *rest = &[];
                return Ok(ControlFlow::Break(()));
            }
        };
        match reader.step(rest, at_end).map_err(unreadable)? {
            Step::Wait => return Ok(ControlFlow::Break(())),
            Step::Skipped => {}
            Step::Format(format) => self.open(format, sink)?,
            Step::Samples(format, frames) => {
                if let Some(chain) = &mut self.chain {
                    chain.push(frames, format, sink)?;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Decides what the content is.
    fn begin(
        &mut self,
        rest: &mut &[u8],
        at_end: bool,
        sink: &mut Sink,
    ) -> Result<ControlFlow<()>, SynthesisError> {
        if let Some(reader) = Reader::wav(rest) {
            self.state = State::Reading(reader);
            return Ok(ControlFlow::Continue(()));
        }
        match recognise(rest, at_end) {
            None => return Ok(ControlFlow::Break(())),
            Some(Content::Samples) => {}
            Some(Content::File(kind)) => {
                return Err(SynthesisError::failed(format!(
                    "The speech engine gave {kind} instead of a WAV or samples without a header. Make it give one of these."
                )));
            }
            Some(Content::Text(kind, text)) => {
                return Err(SynthesisError::failed(format!(
                    "The speech engine gave {kind} instead of audio, which begins: {}",
                    single_line(text)
                )));
            }
        }
        let Some(raw) = self.raw else {
            return Err(SynthesisError::failed(
                "The speech engine's audio has no WAV header, and its encoding or sample rate is not set. \
                 Set both, or make the engine give a WAV.",
            ));
        };
        self.open(raw, sink)?;
        self.state = State::Reading(Reader::raw(raw));
        Ok(ControlFlow::Continue(()))
    }

    /// Prepares for samples of this format.
    fn open(&mut self, format: SourceFormat, sink: &mut Sink) -> Result<(), SynthesisError> {
        if !format.is_valid() {
            return Err(unreadable(WavError::OutOfRange(format)));
        }
        let rate = format.sample_rate_hz;
        match &self.chain {
            None => {
                sink.set_sample_rate(rate)?;
                self.chain = Some(Chain::new(rate, self.max_seconds, self.treatment));
                Ok(())
            }
            Some(chain) if chain.sample_rate_hz == rate => Ok(()),
            Some(chain) => Err(SynthesisError::failed(format!(
                "The speech engine's audio changes its sample rate from {} to {rate} Hz.",
                chain.sample_rate_hz
            ))),
        }
    }
}

fn only_silence() -> SynthesisError {
    SynthesisError::no_audio("The speech engine gave only silence for this sentence.")
}

fn unreadable(error: WavError) -> SynthesisError {
    SynthesisError::failed(format!("The speech engine's audio cannot be read: {error}."))
}

/// Returns a text as a single line, without control characters.
pub(super) fn single_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}') {
        if !line.is_empty() && !word.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests;
