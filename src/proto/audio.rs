//! Audio as bytes: sample encodings, and the arithmetic between bytes and time.
//!
//! Everything is mono. Knows nothing of sentences, sessions or sockets.

use std::time::Duration;

/// The largest binary frame that is ever sent, in payload bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// How a sample is written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Linear, signed 16 bit, little endian: two bytes a sample.
    PcmS16le,
    /// µ-law (ITU-T G.711): one byte a sample.
    MuLaw,
}

impl Encoding {
    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::PcmS16le => "pcm_s16le",
            Encoding::MuLaw => "mulaw",
        }
    }

    /// The encoding of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Encoding> {
        [Encoding::PcmS16le, Encoding::MuLaw].into_iter().find(|e| e.name() == name)
    }

    /// Bytes that one sample takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Encoding::PcmS16le => 2,
            Encoding::MuLaw => 1,
        }
    }

    /// Appends these samples to `out`, in this encoding.
    pub fn encode(self, samples: &[i16], out: &mut Vec<u8>) {
        match self {
            Encoding::PcmS16le => out.extend(samples.iter().flat_map(|s| s.to_le_bytes())),
            Encoding::MuLaw => out.extend(samples.iter().map(|&s| mu_law(s))),
        }
    }
}

/// One sample as µ-law (ITU-T G.711): sign, three bits of exponent, four of mantissa, inverted.
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // The bias guarantees that bit 7 or a higher one is set.
    let exponent = (31 - magnitude.leading_zeros()).saturating_sub(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// What a stream of audio bytes means. Always one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples per second.
    pub sample_rate_hz: u32,
}

impl Format {
    /// Bytes per second of audio.
    pub fn byte_rate(self) -> usize {
        self.sample_rate_hz as usize * self.encoding.bytes_per_sample()
    }

    /// How long this many bytes play.
    pub fn duration(self, bytes: u64) -> Duration {
        let samples = u128::from(bytes) / self.encoding.bytes_per_sample() as u128;
        let nanos = samples * 1_000_000_000 / u128::from(self.sample_rate_hz.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Bytes of this much time, in whole samples, rounded down.
    pub fn bytes(self, duration: Duration) -> u64 {
        let samples = duration.as_nanos() * u128::from(self.sample_rate_hz) / 1_000_000_000;
        u64::try_from(samples).unwrap_or(u64::MAX / 2) * self.encoding.bytes_per_sample() as u64
    }

    /// Payload bytes of a frame of this many milliseconds: whole samples, at least one, at most
    /// [`MAX_FRAME_BYTES`].
    pub fn frame_bytes(self, frame_ms: u32) -> usize {
        let sample = self.encoding.bytes_per_sample();
        let bytes = self.bytes(Duration::from_millis(u64::from(frame_ms)));
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(sample, MAX_FRAME_BYTES / sample * sample)
    }
}
