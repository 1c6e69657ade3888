//! Synthesis of one piece of a sentence, in units of work.

use super::wave::{Recording, Wave};
use crate::audio::level::{Level, Trim};
use crate::tts::clock::Clock;
use crate::tts::narrate::{self, Progress, Track};
use crate::tts::{Sink, SynthesisError};
use flite_rs::language::Language;
use flite_rs::phoneset::SILENCE;
use flite_rs::text::Token;
use flite_rs::utterance::ItemId;
use flite_rs::{Engine, KAL16_VOICE_DATA, VoiceParams, pipeline, voice};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Names of the voice and its variants, and the factor of their pitch. All use the same recording.
pub(super) const VOICES: [(&str, f32); 3] = [("kal16", 1.0), ("kal16-low", 0.8), ("kal16-high", 1.35)];

/// Slowest and fastest rate of speech.
pub(super) const SPEEDS: RangeInclusive<f32> = 0.25..=4.0;

/// Gain of 7 dB. The voice has −28.7 dBFS RMS, which is quieter than other voices.
const GAIN: f32 = 2.238_721;

/// Most samples of the voice in one unit of work: 1 s of audio, less than 1 ms of work.
const UNIT_SAMPLES: usize = 16_000;

/// Most samples of the first unit of a sentence that the listener gets, so that every listener hears
/// something soon: 0.2 s.
const FIRST_UNIT_SAMPLES: usize = 3_200;

/// Bytes of encoded audio after which a unit of work ends.
pub(super) const UNIT_BYTES: u64 = 16 * 1024;

/// Samples that are levelled and encoded at once.
const BLOCK_SAMPLES: usize = 320;

/// The parsed voice and language, shared by all utterances.
pub(super) struct Speaker {
    pub(super) language: Arc<Language>,
    pub(super) recording: voice::Voice,
    /// The same recording, for synthesis that can stop after any period.
    pub(super) periods: Recording,
}

impl Speaker {
    pub(super) fn new() -> Speaker {
        let damaged = "the voice in the binary is whole";
        // The crate gives access to its language through an engine only.
        let language = Engine::try_new().expect(damaged).language();
        let recording = voice::Voice::parse(KAL16_VOICE_DATA).expect(damaged);
        Speaker { language, recording, periods: Recording::parse(KAL16_VOICE_DATA).expect(damaged) }
    }

    /// Parameters of this speed and voice. An unknown voice becomes the default one.
    pub(super) fn params(&self, speed: f32, voice: &str) -> VoiceParams {
        let mut params = self.recording.params();
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(*SPEEDS.start(), *SPEEDS.end()) };
        params.duration_stretch /= speed;
        params.f0_shift *= VOICES.iter().find(|(name, _)| *name == voice).map_or(1.0, |(_, shift)| *shift);
        params
    }

    /// Length of the pause at the beginning of a piece, in samples. It is not always silent: before a
    /// /w/ there is noise, as loud as a soft sound.
    pub(super) fn pause(&self, analysis: &flite_rs::Utterance) -> usize {
        let first = analysis.iter_relation("Segment").next();
        let pause = first.filter(|&segment| analysis.name(segment) == SILENCE);
        let seconds = pause.map_or(0.0, |segment| analysis.feature_f32(segment, "end"));
        (f64::from(seconds) * f64::from(self.recording.sample_rate)) as usize
    }
}

/// A piece of a sentence on its way to the listener.
pub(super) struct Part {
    speaker: Arc<Speaker>,
    wave: Wave,
    track: Track,
    /// Samples without the silence around them that were not passed on: more than a pitch period after a
    /// pause.
    kept: Vec<i16>,
}

impl Part {
    /// Analyses a piece.
    pub(super) fn new(
        speaker: Arc<Speaker>,
        piece: &[Token],
        params: &VoiceParams,
        mut clock: Option<Clock>,
    ) -> Box<Part> {
        let analysis = pipeline::analyse(&speaker.language, piece, params);
        if let Some(clock) = &mut clock {
            let tokens: Vec<ItemId> = analysis.iter_relation("Token").collect();
            clock.place(|n| span(&analysis, *tokens.get(n)?));
        }
        let rate = speaker.recording.sample_rate;
        Box::new(Part {
            wave: Wave::new(&speaker.periods, &analysis),
            track: Track::new(Trim::new(rate, speaker.pause(&analysis)), Level::new(rate, GAIN), clock, true),
            kept: Vec::new(),
            speaker,
        })
    }

    /// Does one unit of work. Stops if the listener leaves.
    pub(super) fn speak(mut self: Box<Part>, is_first: bool, sink: &mut Sink) -> Progress<Part> {
        let (mut period, mut ready) = (Vec::new(), Vec::new());
        let (most, bytes) = (if is_first { FIRST_UNIT_SAMPLES } else { UNIT_SAMPLES }, sink.encoded_bytes());
        let (mut made, mut kept) = (0, 0);
        while made < UNIT_SAMPLES && kept < most && sink.encoded_bytes() - bytes < UNIT_BYTES {
            if self.kept.is_empty() {
                if !self.wave.next(&self.speaker.periods, &mut period) {
                    return self.track.finish(sink);
                }
                made += period.len();
                self.track.take(&period, &mut self.kept, sink);
                // Silence in front of the sentence does not count: it is cut.
                kept += self.kept.len();
            }
            let block = self.kept.len().min(BLOCK_SAMPLES);
            ready.clear();
            self.track.level(&self.kept[..block], &mut ready);
            self.kept.drain(..block);
            if sink.push(&ready).is_err() {
                return self.track.finish(sink);
            }
        }
        Progress::More(self)
    }
}

impl narrate::Part for Part {
    fn speak(self: Box<Part>, is_urgent: bool, sink: &mut Sink) -> Result<Progress<Part>, SynthesisError> {
        Ok(Part::speak(self, is_urgent, sink))
    }
}

/// Start and end of a token, in seconds. `None` if it has no sound.
fn span(analysis: &flite_rs::Utterance, token: ItemId) -> Option<(f32, f32)> {
    let daughters = |item| analysis.iter_from(analysis.daughter(item));
    let spoken = daughters(token).filter_map(|word| analysis.item_as(word, "SylStructure"));
    let mut segments = spoken.flat_map(daughters).flat_map(daughters);
    let first = segments.next()?;
    let last = segments.last().unwrap_or(first);
    let before = analysis.item_as(first, "Segment").and_then(|segment| analysis.prev(segment));
    let end = |segment| analysis.feature_f32(segment, "end");
    Some((before.map_or(0.0, end), end(last)))
}
