//! Format of an audio stream, and the arithmetic between bytes and time.

use super::{Encoding, SampleEncoding, coded};
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
        self.bytes(Duration::from_secs(1)) as usize
    }

    /// Bytes of the smallest part of the audio: a sample, or a frame of an
    /// [encoding of frames](Encoding::is_coded). Every offset in a stream is a multiple of it.
    pub fn unit_bytes(self) -> usize {
        match self.encoding {
            Encoding::PcmS16le | Encoding::MuLaw | Encoding::ALaw => self.encoding.bytes_per_sample(),
            Encoding::Mp3 => coded::mp3_frame_bytes(self.sample_rate_hz),
            Encoding::Opus => coded::OPUS_PACKET_BYTES,
        }
    }

    /// Samples of the smallest part of the audio.
    fn unit_samples(self) -> u64 {
        match self.encoding {
            Encoding::PcmS16le | Encoding::MuLaw | Encoding::ALaw => 1,
            Encoding::Mp3 => coded::MP3_FRAME_SAMPLES,
            Encoding::Opus => u64::from(self.sample_rate_hz / coded::OPUS_PACKETS_PER_SEC).max(1),
        }
    }

    /// Playing time of this many bytes.
    pub fn duration(self, bytes: u64) -> Duration {
        let samples = (bytes / self.unit_bytes() as u64).saturating_mul(self.unit_samples());
        let rate = u64::from(self.sample_rate_hz.max(1));
        // The remainder is less than one second, so less than 2^32 samples: the product fits.
        Duration::new(samples / rate, (samples % rate * 1_000_000_000 / rate) as u32)
    }

    /// Bytes of this much playing time, rounded down to whole samples or frames.
    pub fn bytes(self, duration: Duration) -> u64 {
        let rate = u64::from(self.sample_rate_hz);
        // 10^9 ns times 2^32 samples a second fits.
        let rest = u64::from(duration.subsec_nanos()) * rate / 1_000_000_000;
        let samples = duration.as_secs().saturating_mul(rate).saturating_add(rest);
        let unit = self.unit_bytes() as u64;
        (samples / self.unit_samples()).min(u64::MAX / unit) * unit
    }

    /// The same, with a frame begun counted whole. Samples are rounded down.
    pub(crate) fn bytes_up(self, duration: Duration) -> u64 {
        match self.unit_samples() {
            1 => self.bytes(duration),
            _ => {
                let unit = self.unit_bytes() as u64;
                let most_of_unit = self.duration(unit).saturating_sub(Duration::from_micros(100));
                self.bytes(duration.saturating_add(most_of_unit))
            }
        }
    }

    /// Payload bytes of a frame of this many milliseconds: whole samples, at least one sample and at
    /// most 64 KiB. The frame of an [encoding of frames](Encoding::is_coded) has a fixed length, whatever is asked
    /// for.
    pub fn frame_bytes(self, frame_ms: u32) -> usize {
        if self.encoding.is_coded() {
            return self.unit_bytes();
        }
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
            (format(Encoding::Opus, 8_000), 20, 80),
            (format(Encoding::Opus, 48_000), 3_600_000, 14_400_000),
            (format(Encoding::Mp3, 24_000), 24, 144),
            (format(Encoding::Mp3, 16_000), 36, 216),
            (format(Encoding::Mp3, 8_000), 72, 288),
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
    fn bytes_of_coded_audio_are_whole_frames() {
        let ms = Duration::from_millis;
        for (format, frame, time) in
            [(format(Encoding::Opus, 24_000), 80, ms(20)), (format(Encoding::Mp3, 16_000), 216, ms(36))]
        {
            assert_eq!((format.unit_bytes() as u64, format.duration(frame)), (frame, time));
            assert_eq!(format.bytes(time * 2 - ms(1)), frame);
            assert_eq!(format.bytes_up(time + ms(1)), 2 * frame);
            assert_eq!((format.bytes_up(time), format.bytes_up(Duration::ZERO)), (frame, 0));
            assert_eq!(format.duration(2 * frame - 1), time, "a part of a frame has no playing time");
        }
        let pcm = format(Encoding::PcmS16le, 8_000);
        assert_eq!(pcm.bytes_up(Duration::from_nanos(124_999)), 0, "samples are rounded down");
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
        for encoding in Encoding::CODED {
            for rate in [0, 1, 49, 8_000, u32::MAX] {
                let format = format(encoding, rate);
                let (bytes, time) = (format.bytes(Duration::MAX), format.duration(u64::MAX));
                assert!(
                    bytes.is_multiple_of(format.unit_bytes() as u64) && time > Duration::ZERO,
                    "{format:?}"
                );
            }
        }
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
            (format(Encoding::Opus, 24_000), 40, 80),
            (format(Encoding::Mp3, 24_000), 1, 144),
        ];
        for (format, frame_ms, bytes) in cases {
            assert_eq!(format.frame_bytes(frame_ms), bytes, "{format:?}, {frame_ms} ms");
        }
    }
}
