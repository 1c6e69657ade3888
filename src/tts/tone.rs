//! An engine that hums: for tests, and to measure everything but speech.
//!
//! Its audio is prepared once and shared by all sentences of all sessions, so that it costs next
//! to nothing to make, and the same utterance always gives the same bytes.

use super::{Speech, Synthesizer, Utterance};
use crate::audio::{Format, MAX_FRAME_BYTES};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// What is hummed. A whole number of hertz, so that every sample rate has a whole number of
/// samples after which the tone repeats.
const TONE_HZ: u32 = 440;

/// A quarter of full scale, −12 dBFS.
const AMPLITUDE: f64 = 8_192.0;

/// The sample rates that are supported.
const SAMPLE_RATES_HZ: RangeInclusive<u32> = 4_000..=192_000;

/// The audio in a chunk, or a frame where that is larger. Little enough that what is sent again
/// and again stays in a core's nearest cache: the engine is there to measure everything but itself.
const CHUNK_BYTES: usize = 16 * 1024;

/// Formats, besides its own, that an engine keeps prepared.
const CACHED_FORMATS: usize = 8;

/// A deterministic engine: whatever the text, a tone of 440 Hz for a fixed time.
///
/// It supports every encoding at any sample rate from 4,000 to 192,000 Hz. The speed divides the
/// time; every sentence starts at the same phase.
#[derive(Debug)]
pub struct Tone {
    format: Format,
    seconds: f64,
    own: Hum,
    /// Other formats that were asked for, the oldest in front.
    others: Mutex<VecDeque<(Format, Hum)>>,
}

impl Tone {
    /// An engine whose sentences last this many seconds, rounded to whole samples; 1e9 is as good
    /// as endless, and 0 or less gives sentences without audio. `format` is what a session gets
    /// that asks for nothing else.
    pub fn new(format: Format, seconds: f64) -> Tone {
        Tone { format, seconds, own: Hum::new(format), others: Mutex::default() }
    }

    fn hum(&self, format: Format) -> Hum {
        if format == self.format {
            return self.own.clone();
        }
        // Whatever panicked, the queue is whole: each change to it is a single call.
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hum)) = others.iter().find(|(other, _)| *other == format) {
            return hum.clone();
        }
        let hum = Hum::new(format);
        if others.len() == CACHED_FORMATS {
            others.pop_front();
        }
        others.push_back((format, hum.clone()));
        hum
    }
}

impl Synthesizer for Tone {
    fn name(&self) -> &str {
        "tone"
    }

    fn format(&self) -> Format {
        self.format
    }

    fn supports(&self, format: Format) -> bool {
        SAMPLE_RATES_HZ.contains(&format.sample_rate_hz)
    }

    fn is_deterministic(&self) -> bool {
        true
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let sample = utterance.format.encoding.bytes_per_sample();
        // A cast of a float saturates, so that no duration is too long, and one of NaN is 0.
        let samples = f64::from(utterance.format.sample_rate_hz) * self.seconds / f64::from(utterance.speed);
        let left = (samples.round() as u64).saturating_mul(sample as u64);
        let frame = utterance.frame_bytes.clamp(sample, MAX_FRAME_BYTES);
        let chunk = (CHUNK_BYTES / frame).max(1) * frame;
        Speech::ready(&utterance, Chunks { hum: self.hum(utterance.format), chunk, at: 0, left })
    }
}

/// Prepared audio: a stretch that may be repeated for ever, and a chunk more of the same, so that
/// a chunk from anywhere in the stretch is one slice.
#[derive(Clone, Debug)]
struct Hum {
    audio: Bytes,
    /// Bytes after which the tone repeats.
    period: usize,
}

impl Hum {
    fn new(format: Format) -> Hum {
        let rate = format.sample_rate_hz.max(1);
        let samples = rate / gcd(rate, TONE_HZ);
        let step = TAU * f64::from(TONE_HZ) / f64::from(rate);
        let wave: Vec<i16> = (0..samples).map(|n| (AMPLITUDE * (step * f64::from(n)).sin()) as i16).collect();
        let mut period = Vec::new();
        format.encoding.encode(&wave, &mut period);
        let audio: Vec<u8> = period.iter().copied().cycle().take(period.len() + MAX_FRAME_BYTES).collect();
        Hum { audio: audio.into(), period: period.len() }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The audio of one sentence, as slices of what is prepared.
struct Chunks {
    hum: Hum,
    /// Bytes of every chunk but the last.
    chunk: usize,
    /// Where in the period the next chunk starts.
    at: usize,
    /// Bytes that are still to come.
    left: u64,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.left).map_or(self.chunk, |left| left.min(self.chunk));
        if length == 0 {
            return None;
        }
        let chunk = self.hum.audio.slice(self.at..self.at + length);
        self.left -= length as u64;
        self.at = (self.at + length) % self.hum.period;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Voice;
    use super::super::tests::{all, chunk};
    use super::*;
    use crate::audio::Encoding;

    const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };

    async fn spoken(engine: &Tone, utterance: Utterance) -> Vec<Bytes> {
        let (chunks, error) = all(engine.speak(utterance)).await;
        assert_eq!(error, None);
        chunks
    }

    fn samples(chunks: &[Bytes]) -> Vec<i16> {
        let bytes = chunks.concat();
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    #[tokio::test]
    async fn a_sentence_lasts_as_long_as_was_asked_for() {
        // Seconds, speed, encoding, sample rate, bytes.
        let cases = [
            (1.0, 1.0, Encoding::PcmS16le, 16_000, 32_000),
            (10.0, 1.0, Encoding::PcmS16le, 16_000, 320_000),
            (10.0, 2.0, Encoding::MuLaw, 8_000, 40_000),
            (10.0, 0.5, Encoding::MuLaw, 8_000, 160_000),
            (10.0, 1.0, Encoding::ALaw, 48_000, 480_000),
            (0.000_1, 1.0, Encoding::PcmS16le, 22_050, 4),
            (0.1, 1.0, Encoding::PcmS16le, 44_111, 8_822),
            (0.0, 1.0, Encoding::PcmS16le, 16_000, 0),
            (-1.0, 1.0, Encoding::PcmS16le, 16_000, 0),
            (f64::NAN, 1.0, Encoding::PcmS16le, 16_000, 0),
        ];
        for (seconds, speed, encoding, sample_rate_hz, bytes) in cases {
            let engine = Tone::new(PCM, seconds);
            let format = Format { encoding, sample_rate_hz };
            let utterance = Utterance { speed, ..Utterance::new("Hello.", format) };
            let length: usize = spoken(&engine, utterance).await.iter().map(Bytes::len).sum();
            assert_eq!(length, bytes, "{seconds} s at {speed} in {format:?}");
        }
    }

    #[tokio::test]
    async fn chunks_are_whole_frames_of_8_to_16_kib_or_one_frame_but_for_the_last() {
        let engine = Tone::new(PCM, 60.0);
        for frame_bytes in [2, 1_280, 882, 43_690, MAX_FRAME_BYTES - 2, MAX_FRAME_BYTES] {
            let utterance = Utterance { frame_bytes, ..Utterance::new("Hello.", PCM) };
            let chunks = spoken(&engine, utterance).await;
            let (last, others) = chunks.split_last().expect("there is audio");
            for chunk in others {
                assert_eq!(chunk.len() % frame_bytes, 0);
                let fits = (8 * 1024..=16 * 1024).contains(&chunk.len());
                assert!(fits || chunk.len() == frame_bytes, "{} bytes", chunk.len());
            }
            assert_eq!(last.len(), 60 * 32_000 - others.len() * others[0].len());
        }
    }

    #[tokio::test]
    async fn the_tone_has_no_seam() {
        for sample_rate_hz in [4_000, 11_025, 16_000, 22_050, 44_111, 192_000] {
            let format = Format { sample_rate_hz, ..PCM };
            let engine = Tone::new(PCM, 3.0);
            let utterance = Utterance { frame_bytes: 998, ..Utterance::new("Hello.", format) };
            for (n, sample) in samples(&spoken(&engine, utterance).await).into_iter().enumerate() {
                let phase = TAU * f64::from(TONE_HZ) * n as f64 / f64::from(sample_rate_hz);
                let exact = AMPLITUDE * phase.sin();
                assert!((f64::from(sample) - exact).abs() <= 1.01, "sample {n} at {sample_rate_hz} Hz");
            }
        }
    }

    #[tokio::test]
    async fn every_sentence_is_the_same_and_shares_its_audio() {
        let engine = Tone::new(PCM, 5.0);
        assert!(engine.is_deterministic());
        assert_eq!(engine.voices(), [Voice::new("tone")]);
        for format in [PCM, Format { encoding: Encoding::MuLaw, sample_rate_hz: 24_000 }] {
            let first = spoken(&engine, Utterance::new("One.", format)).await;
            let second = Utterance { index: 1, ..Utterance::new("Another one.", format) };
            let second = spoken(&engine, second).await;
            assert_eq!(first, second);
            assert_eq!(first[0].as_ptr(), second[0].as_ptr(), "nothing was copied");
        }
    }

    #[tokio::test]
    async fn a_sentence_may_be_endless() {
        for seconds in [1e9, f64::INFINITY] {
            let mut speech = Tone::new(PCM, seconds).speak(Utterance::new("Om.", PCM));
            for _ in 0..10_000 {
                let piece = speech.next().await.expect("no end").expect("no error");
                assert_eq!(chunk(piece).len(), 12 * 1_280);
            }
        }
    }

    #[test]
    fn formats_that_are_kept_prepared_are_few() {
        let engine = Tone::new(PCM, 1.0);
        for sample_rate_hz in 8_000..8_020 {
            engine.hum(Format { sample_rate_hz, ..PCM });
        }
        let others = engine.others.lock().expect("no panic");
        assert_eq!(others.len(), CACHED_FORMATS);
        assert!(others.iter().all(|(format, _)| format.sample_rate_hz >= 8_012));
    }

    #[test]
    fn sample_rates_have_bounds() {
        let engine = Tone::new(PCM, 1.0);
        for (sample_rate_hz, supported) in
            [(0, false), (3_999, false), (4_000, true), (192_000, true), (192_001, false)]
        {
            for encoding in Encoding::ALL {
                assert_eq!(engine.supports(Format { encoding, sample_rate_hz }), supported);
            }
        }
    }
}
