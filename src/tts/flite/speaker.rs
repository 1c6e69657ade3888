//! Synthesis of one piece of a sentence.

use super::clock::Clock;
use crate::audio::level::{Level, Trim};
use crate::tts::Sink;
use flite_rs::language::Language;
use flite_rs::phoneset::SILENCE;
use flite_rs::text::Token;
use flite_rs::{Engine, Flow, KAL16_VOICE_DATA, VoiceParams, pipeline, voice};
use std::sync::Arc;

/// Names of the voice and its variants, and the factor of their pitch. All use the same recording.
pub(super) const VOICES: [(&str, f32); 3] = [("kal16", 1.0), ("kal16-low", 0.8), ("kal16-high", 1.35)];

/// Gain of 7 dB. The voice has −28.7 dBFS RMS, which is quieter than other voices.
const GAIN: f32 = 2.238_721;

/// The parsed voice and language, shared by all utterances.
pub(super) struct Speaker {
    pub(super) language: Arc<Language>,
    pub(super) recording: voice::Voice,
}

impl Speaker {
    pub(super) fn new() -> Speaker {
        let damaged = "the voice in the binary is whole";
        // The crate gives access to its language through an engine only.
        let language = Engine::try_new().expect(damaged).language();
        Speaker { language, recording: voice::Voice::parse(KAL16_VOICE_DATA).expect(damaged) }
    }

    /// Parameters of this speed and voice. An unknown voice becomes the default one.
    pub(super) fn params(&self, speed: f32, voice: &str) -> VoiceParams {
        let mut params = self.recording.params();
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(0.5, 2.0) };
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

    /// Speaks one piece. Stops if the listener leaves. Returns true if the piece has any sound.
    pub(super) fn speak(
        &self,
        piece: &[Token],
        params: &VoiceParams,
        mut clock: Option<Clock>,
        sink: &mut Sink,
    ) -> (bool, Option<Clock>) {
        let analysis = pipeline::analyse(&self.language, piece, params);
        let mut trim = Trim::new(self.recording.sample_rate, self.pause(&analysis));
        let mut level = Level::new(self.recording.sample_rate, GAIN);
        let (mut kept, mut ready) = (Vec::new(), Vec::new());
        let mut samples = 0;
        // Called for every pitch period, about every 11 ms of audio.
        voice::synthesise_streaming(&self.recording, &analysis, params, &mut |period| {
            kept.clear();
            ready.clear();
            let had_sound = trim.has_sound();
            trim.push(period, &mut kept);
            if let Some(clock) = clock.as_mut().filter(|_| !had_sound && trim.has_sound()) {
                clock.report(&analysis, trim.cut(), sink);
            }
            samples += kept.len();
            level.push(&kept, &mut ready);
            if sink.push(&ready).is_ok() { Flow::Continue } else { Flow::Stop }
        });
        ready.clear();
        level.finish(&mut ready);
        // An error means that the listener is gone, which the next wait reports too.
        let _ = sink.push(&ready);
        if let Some(clock) = &mut clock {
            clock.advance(samples, sink);
        }
        (trim.has_sound(), clock)
    }
}
