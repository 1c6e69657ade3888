//! Format of an audio stream, and the arithmetic between bytes and time.

use super::{Encoding, SampleEncoding};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Largest binary frame that is sent, in payload bytes.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Format of the audio that a session gets. Always one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    /// Encoding of the samples.
    pub encoding: Encoding,
    /// Samples per second.
    pub sample_rate_hz: u32,
}

impl Format {
    /// Sample rates, in hertz, that every engine's audio can be converted to, in ascending order.
    ///
    /// They are the rates of telephony, of most voices, of CDs and of browsers.
    pub const SAMPLE_RATES: [u32; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

    /// Bytes per second of audio.
    pub(crate) fn byte_rate(self) -> usize {
        self.sample_rate_hz as usize * self.encoding.bytes_per_sample()
    }

    /// Playing time of this many bytes.
    pub fn duration(self, bytes: u64) -> Duration {
        let samples = bytes / self.encoding.bytes_per_sample() as u64;
        let rate = u64::from(self.sample_rate_hz.max(1));
        // The remainder is less than one second, so less than 2^32 samples: the product fits.
        Duration::new(samples / rate, (samples % rate * 1_000_000_000 / rate) as u32)
    }

    /// Bytes of this much playing time, rounded down to whole samples.
    pub fn bytes(self, duration: Duration) -> u64 {
        let rate = u64::from(self.sample_rate_hz);
        // 10^9 ns times 2^32 samples a second fits.
        let rest = u64::from(duration.subsec_nanos()) * rate / 1_000_000_000;
        let samples = duration.as_secs().saturating_mul(rate).saturating_add(rest);
        let sample = self.encoding.bytes_per_sample() as u64;
        samples.min(u64::MAX / sample) * sample
    }

    /// Payload bytes of a frame of this many milliseconds: whole samples, at least one sample and at
    /// most 64 KiB.
    pub fn frame_bytes(self, frame_ms: u32) -> usize {
        let sample = self.encoding.bytes_per_sample();
        let bytes = self.bytes(Duration::from_millis(u64::from(frame_ms)));
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(sample, MAX_FRAME_BYTES / sample * sample)
    }
}

/// Format of the audio that an engine gives, where no WAV header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SourceFormat {
    /// Encoding of the samples.
    pub(crate) encoding: SampleEncoding,
    /// Samples per second and channel, from 1,000 to 384,000.
    pub(crate) sample_rate_hz: u32,
    /// Number of interleaved channels, from 1 to 16. They are mixed to one.
    pub(crate) channels: u16,
}

impl SourceFormat {
    /// Bytes of one sample of every channel.
    pub(crate) fn frame_bytes(self) -> usize {
        self.encoding.bytes_per_sample() * usize::from(self.channels)
    }

    /// True if the rate and the number of channels are within their limits. Others come from damaged
    /// headers.
    pub(crate) fn is_valid(self) -> bool {
        (1_000..=384_000).contains(&self.sample_rate_hz) && (1..=16).contains(&self.channels)
    }

    /// Decodes whole frames, and appends one sample for each to `out`: the mean of its channels.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut Vec<i16>) {
        let sample = self.encoding.bytes_per_sample();
        let decode = |bytes: &[u8]| self.encoding.decode(bytes);
        match self.channels {
            1 => out.extend(bytes.chunks_exact(sample).map(decode)),
            channels => out.extend(bytes.chunks_exact(self.frame_bytes()).map(|frame| {
                let sum: i32 = frame.chunks_exact(sample).map(|bytes| i32::from(decode(bytes))).sum();
                (sum / i32::from(channels)) as i16
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(encoding: Encoding, sample_rate_hz: u32) -> Format {
        Format { encoding, sample_rate_hz }
    }

    #[test]
    fn bytes_and_durations_agree() {
        // Format, milliseconds, bytes.
        let cases = [
            (format(Encoding::PcmS16le, 16_000), 1_000, 32_000),
            (format(Encoding::PcmS16le, 16_000), 40, 1_280),
            (format(Encoding::MuLaw, 8_000), 20, 160),
            (format(Encoding::PcmS16le, 22_050), 20, 882),
            (format(Encoding::PcmS16le, 24_000), 0, 0),
            (format(Encoding::PcmS16le, 48_000), 3_600_000, 345_600_000),
        ];
        for (format, milliseconds, bytes) in cases {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(format.bytes(duration), bytes, "{format:?}");
            assert_eq!(format.duration(bytes), duration, "{format:?}");
        }
    }

    #[test]
    fn bytes_are_whole_samples_rounded_down() {
        let pcm = format(Encoding::PcmS16le, 22_050);
        assert_eq!(pcm.bytes(Duration::from_millis(1)), 22 * 2);
        assert_eq!(pcm.bytes(Duration::from_nanos(45_351)), 0);
        assert_eq!(pcm.bytes(Duration::from_nanos(45_352)), 2);
        // Half a sample has no playing time.
        assert_eq!(pcm.duration(1), Duration::ZERO);
        assert_eq!(pcm.duration(3), pcm.duration(2));
        assert_eq!(pcm.duration(2), Duration::from_nanos(45_351));
    }

    #[test]
    fn no_size_overflows() {
        let fastest = format(Encoding::PcmS16le, u32::MAX);
        assert_eq!(fastest.bytes(Duration::MAX), u64::MAX - 1);
        // The number of samples fits a u64, but twice as many bytes do not.
        assert_eq!(fastest.bytes(Duration::from_secs(4_000_000_000)), u64::MAX - 1);
        assert_eq!(format(Encoding::MuLaw, 1).duration(u64::MAX), Duration::from_secs(u64::MAX));
        assert_eq!(format(Encoding::MuLaw, 0).duration(1), Duration::from_secs(1));
        assert_eq!(format(Encoding::MuLaw, 0).bytes(Duration::MAX), 0);
    }

    #[test]
    fn frames_are_whole_samples_within_bounds() {
        // Format, frame in milliseconds, payload bytes.
        let cases = [
            (format(Encoding::PcmS16le, 16_000), 40, 1_280),
            (format(Encoding::MuLaw, 16_000), 40, 640),
            (format(Encoding::PcmS16le, 22_050), 1, 44),
            (format(Encoding::PcmS16le, 44_100), 1_000, MAX_FRAME_BYTES),
            (format(Encoding::PcmS16le, 32_768), 1_000, MAX_FRAME_BYTES),
            (format(Encoding::MuLaw, 48_000), 1_000, 48_000),
            (format(Encoding::PcmS16le, 16_000), 0, 2),
            (format(Encoding::MuLaw, 16_000), 0, 1),
            (format(Encoding::PcmS16le, u32::MAX), u32::MAX, MAX_FRAME_BYTES),
        ];
        for (format, frame_ms, bytes) in cases {
            assert_eq!(format.frame_bytes(frame_ms), bytes, "{format:?}, {frame_ms} ms");
        }
    }
}
