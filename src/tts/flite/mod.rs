//! The engine inside the binary: one male speaker of US English, with no download and no account.
//!
//! The crate `flite-rs` synthesises about a thousand times faster than real time on one core. This
//! module adds threads that sessions share fairly, a speed for each utterance, the silence and the
//! level of [`level`](crate::audio::level), the times of words, and limits on the work for hostile text.

mod speaker;
mod wave;

use super::narrate::Narrator;
use super::pool::{Order, Pool};
use super::reading::{LIMITS, Piece};
use super::{Gender, Sink, Speech, Synthesizer, Utterance, Voice};
use crate::audio::{Encoding, Format};
use speaker::{Part, Speaker, VOICES};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;

/// The engine inside the binary: the voice kal16 of Flite, 16 kHz, US English, and the same voice at a
/// lower and a higher pitch, kal16-low and kal16-high.
///
/// - Figures, signs, units and abbreviations become words first, unless [`Utterance::normalize`] is
///   `Some(false)`.
/// - A word in a script that the voice does not know is left out, with the warning `unspeakable_text`.
/// - Speeds outside of 0.25 to 4.0 become the nearest of the two.
/// - The same utterance always gives the same bytes, with words at the same times.
/// - A sentence begins with at most 20 ms of silence, ends with at most 120 ms, and peaks at −1 dBFS or
///   below. Resampling can raise the peak a little.
/// - The times of words are exact. A written word without a sound, such as an emoji or a word in a
///   foreign script, is left out. Silence at a comma belongs to no word. Silence inside a written word,
///   as in "wait—what", belongs to that word.
/// - Synthesis runs on a limited number of threads, in units of at most 1 s of audio, whatever speed, rate
///   and voice. Turns go round the [clients](Utterance::client), then the sessions of a client, so that no
///   client delays another one by more than a unit of work. Within a client, sentences without audio come
///   first.
/// - A thread never waits for a listener. Synthesis runs at most 48 KiB of audio ahead of its listener, or
///   three frames if these are larger.
#[derive(Clone)]
pub struct Flite {
    speaker: Arc<Speaker>,
    pool: Arc<Pool>,
}

impl Flite {
    /// Creates an engine with one thread for each core.
    ///
    /// # Panics
    /// Panics if the voice in the binary is damaged, which cannot happen.
    pub fn new() -> Flite {
        Flite::with_threads(thread::available_parallelism().map_or(1, usize::from))
    }

    /// Creates an engine with this many threads, at least one.
    ///
    /// # Panics
    /// Panics if the voice in the binary is damaged, which cannot happen.
    pub fn with_threads(threads: usize) -> Flite {
        Flite {
            speaker: Arc::new(Speaker::new()),
            pool: Arc::new(Pool::new("flite", Order::Rounds, threads)),
        }
    }
}

impl Default for Flite {
    fn default() -> Flite {
        Flite::new()
    }
}

impl fmt::Debug for Flite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flite({} free threads)", self.pool.free_threads())
    }
}

impl Synthesizer for Flite {
    fn name(&self) -> &str {
        "flite"
    }

    fn format(&self) -> Format {
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.speaker.recording.sample_rate }
    }

    fn voices(&self) -> Vec<Voice> {
        let voice = |(name, _)| Voice {
            language: Some("en-US".to_owned()),
            gender: Some(Gender::Male),
            sample_rate_hz: Some(self.speaker.recording.sample_rate),
            ..Voice::new(name)
        };
        VOICES.map(voice).into()
    }

    fn is_deterministic(&self) -> bool {
        true
    }

    fn speeds(&self) -> RangeInclusive<f32> {
        speaker::SPEEDS
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (sink, speech) = Speech::channel(&utterance, self.speaker.recording.sample_rate);
        tokio::spawn(speak(self.clone(), utterance, sink));
        speech
    }
}

/// Speaks an utterance to its end, or until the listener leaves.
async fn speak(engine: Flite, utterance: Utterance, sink: Sink) {
    let params = engine.speaker.params(utterance.speed, &utterance.voice);
    let narrator = Narrator {
        engine: "flite",
        pool: &engine.pool,
        sample_rate_hz: engine.speaker.recording.sample_rate,
        limits: LIMITS,
    };
    let begin = |piece: Piece, clock| {
        let speaker = Arc::clone(&engine.speaker);
        move |is_urgent, sink: &mut Sink| {
            Ok(Part::new(speaker, &piece.tokens, &params, clock).speak(is_urgent, sink))
        }
    };
    narrator.speak(&utterance, sink, begin).await;
}

#[cfg(test)]
pub(super) mod tests;
