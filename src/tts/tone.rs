//! An engine that gives a tone: for tests, and for measurements of everything but synthesis.
//!
//! Its audio is prepared once and shared by all sessions, so it costs almost nothing, and the same
//! utterance always gives the same bytes.

use super::{Speech, Synthesizer, Utterance};
use crate::audio::{Format, MAX_FRAME_BYTES};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// Frequency of the tone. It is a whole number of hertz, so that the tone repeats after a whole number
/// of samples at every rate.
const TONE_HZ: u32 = 440;

/// Amplitude of the tone: a quarter of full scale, −12 dBFS.
const AMPLITUDE: f64 = 8_192.0;

/// Supported sample rates.
const SAMPLE_RATES_HZ: RangeInclusive<u32> = 4_000..=192_000;

/// Size of a chunk, unless a frame is larger. It is small enough that the audio stays in the cache of a
/// core, so that measurements include as little of this engine as possible.
const CHUNK_BYTES: usize = 16 * 1024;

/// Number of formats, besides its own, that an engine keeps prepared.
const CACHED_FORMATS: usize = 8;

/// A deterministic engine that speaks every text as a tone of 440 Hz for a fixed time.
///
/// It supports every encoding at sample rates from 4,000 to 192,000 Hz. The speed divides the time.
/// Every sentence starts at the same phase.
#[derive(Debug)]
pub struct Tone {
    format: Format,
    seconds: f64,
    own: Hum,
    /// Other formats that were requested, the oldest first.
    others: Mutex<VecDeque<(Format, Hum)>>,
}

impl Tone {
    /// Creates an engine whose sentences last this many seconds, rounded to whole samples. 1e9 is
    /// practically endless; 0 or less gives sentences without audio. `format` is for sessions that ask
    /// for no other.
    pub fn new(format: Format, seconds: f64) -> Tone {
        Tone { format, seconds, own: Hum::new(format), others: Mutex::default() }
    }

    /// Returns the tone in this format, prepared or new.
    fn hum(&self, format: Format) -> Hum {
        if format == self.format {
            return self.own.clone();
        }
        // A poisoned lock is safe to use: each change to the queue is a single call.
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

    fn speeds(&self) -> RangeInclusive<f32> {
        0.25..=4.0
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let sample = utterance.format.encoding.bytes_per_sample();
        // The cast saturates, so no duration is too long, and NaN becomes 0.
        let samples = f64::from(utterance.format.sample_rate_hz) * self.seconds / f64::from(utterance.speed);
        let left = (samples.round() as u64).saturating_mul(sample as u64);
        let frame = utterance.frame_bytes.clamp(sample, MAX_FRAME_BYTES);
        let chunk = (CHUNK_BYTES / frame).max(1) * frame;
        Speech::ready(&utterance, Chunks { hum: self.hum(utterance.format), chunk, at: 0, left })
    }
}

/// Prepared audio: one period, which may be repeated endlessly, and the same audio again for a chunk
/// more, so that a chunk from anywhere in the period is one slice.
#[derive(Clone, Debug)]
struct Hum {
    audio: Bytes,
    /// Length of the period, in bytes.
    period: usize,
}

impl Hum {
    fn new(format: Format) -> Hum {
        let rate = format.sample_rate_hz.max(1);
        let samples = rate / gcd(rate, TONE_HZ);
        let step = TAU * f64::from(TONE_HZ) / f64::from(rate);
        let wave: Vec<i16> =
            (0..samples).map(|n| (AMPLITUDE * libm::sin(step * f64::from(n))) as i16).collect();
        let mut period = Vec::new();
        format.encoding.encode(&wave, &mut period);
        let audio: Vec<u8> = period.iter().copied().cycle().take(period.len() + MAX_FRAME_BYTES).collect();
        Hum { audio: audio.into(), period: period.len() }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Audio of one sentence, as slices of the prepared audio.
struct Chunks {
    hum: Hum,
    /// Size of every chunk but the last, in bytes.
    chunk: usize,
    /// Position in the period at which the next chunk starts.
    at: usize,
    /// Bytes that still follow.
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
    use super::super::testing::{all, chunk};
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
    async fn a_sentence_lasts_as_long_as_it_is_set_to() {
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
    async fn a_sentence_can_be_endless() {
        for seconds in [1e9, f64::INFINITY] {
            let mut speech = Tone::new(PCM, seconds).speak(Utterance::new("Om.", PCM));
            for _ in 0..10_000 {
                let piece = speech.next().await.expect("no end").expect("no error");
                assert_eq!(chunk(piece).len(), 12 * 1_280);
            }
        }
    }

    #[test]
    fn few_formats_are_kept_prepared() {
        let engine = Tone::new(PCM, 1.0);
        for sample_rate_hz in 8_000..8_020 {
            engine.hum(Format { sample_rate_hz, ..PCM });
        }
        let others = engine.others.lock().expect("no panic");
        assert_eq!(others.len(), CACHED_FORMATS);
        assert!(others.iter().all(|(format, _)| format.sample_rate_hz >= 8_012));
    }

    #[test]
    fn sample_rates_have_limits() {
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
