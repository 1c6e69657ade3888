//! An engine that hums: for tests, and to measure everything but speech.
//!
//! Its audio is prepared once and shared by all sentences of all sessions, so that it costs next
//! to nothing to make, and the same utterance always gives the same bytes.

use super::{Speech, Synthesizer, Utterance};
use crate::proto::audio::{Format, MAX_FRAME_BYTES};
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

/// The most audio in a chunk. Twice the largest frame, so that chunks of whole frames hold between
/// half of this and all of it.
const CHUNK_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// Formats, besides its own, that an engine keeps prepared.
const CACHED_FORMATS: usize = 8;

/// A deterministic engine: whatever the text, a tone of 440 Hz for a fixed time.
///
/// It supports both encodings at any sample rate from 4,000 to 192,000 Hz. The speed divides the
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

    fn speak(&self, utterance: Utterance) -> Speech {
        let sample = utterance.format.encoding.bytes_per_sample();
        // A cast of a float saturates, so that no duration is too long, and one of NaN is 0.
        let samples = f64::from(utterance.format.sample_rate_hz) * self.seconds / f64::from(utterance.speed);
        let left = (samples.round() as u64).saturating_mul(sample as u64);
        let frame = utterance.frame_bytes.clamp(sample, MAX_FRAME_BYTES);
        let chunk = CHUNK_BYTES / frame * frame;
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
        let audio: Vec<u8> = period.iter().copied().cycle().take(period.len() + CHUNK_BYTES).collect();
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
