//! Audio as bytes: sample encodings, and the arithmetic between bytes and time.
//!
//! Everything is mono. Knows nothing of sentences, sessions or sockets.

pub(crate) mod level;
pub mod resample;
pub mod voice;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The largest binary frame that is ever sent, in payload bytes.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// How a sample is written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// Linear, signed 16 bit, little endian: two bytes a sample.
    #[serde(rename = "pcm_s16le")]
    PcmS16le,
    /// µ-law (ITU-T G.711): one byte a sample.
    #[serde(rename = "mulaw")]
    MuLaw,
    /// A-law (ITU-T G.711): one byte a sample.
    #[serde(rename = "alaw")]
    ALaw,
}

impl Encoding {
    /// Every encoding there is.
    pub const ALL: [Encoding; 3] = [Encoding::PcmS16le, Encoding::MuLaw, Encoding::ALaw];

    /// Their names, in the same order.
    pub const NAMES: [&str; 3] = ["pcm_s16le", "mulaw", "alaw"];

    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::PcmS16le => "pcm_s16le",
            Encoding::MuLaw => "mulaw",
            Encoding::ALaw => "alaw",
        }
    }

    /// The encoding of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bytes that one sample takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Encoding::PcmS16le => 2,
            Encoding::MuLaw | Encoding::ALaw => 1,
        }
    }

    /// Appends these samples to `out`, in this encoding.
    pub fn encode(self, samples: &[i16], out: &mut Vec<u8>) {
        match self {
            Encoding::PcmS16le => out.extend(samples.iter().flat_map(|s| s.to_le_bytes())),
            Encoding::MuLaw => out.extend(samples.iter().map(|&s| mu_law(s))),
            Encoding::ALaw => out.extend(samples.iter().map(|&s| a_law(s))),
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

/// One sample as A-law (ITU-T G.711): sign, three bits of exponent, four of mantissa, and every
/// other bit inverted.
fn a_law(sample: i16) -> u8 {
    // One's complement: the value that -1 has next to zero is the one that 0 has.
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    // 12 bits of it count. The lowest two segments have the same steps.
    let magnitude = magnitude.unsigned_abs() >> 4;
    let exponent = (16 - magnitude.leading_zeros()).saturating_sub(4);
    let mantissa = (magnitude >> exponent.saturating_sub(1)) & 0x0f;
    (sign | (exponent << 4) as u8 | mantissa as u8) ^ 0x55
}

/// What a stream of audio bytes means. Always one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples per second.
    pub sample_rate_hz: u32,
}

impl Format {
    /// The sample rates, in hertz, at which the audio of any engine can be had: telephony's, those
    /// that voices are made in, those of CDs, and those of browsers. The lowest comes first.
    pub const SAMPLE_RATES: [u32; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

    /// Bytes per second of audio.
    pub fn byte_rate(self) -> usize {
        self.sample_rate_hz as usize * self.encoding.bytes_per_sample()
    }

    /// How long this many bytes play.
    pub fn duration(self, bytes: u64) -> Duration {
        let samples = bytes / self.encoding.bytes_per_sample() as u64;
        let rate = u64::from(self.sample_rate_hz.max(1));
        // Less than a second of samples is less than 2^32 of them: the product fits.
        Duration::new(samples / rate, (samples % rate * 1_000_000_000 / rate) as u32)
    }

    /// Bytes of this much time, in whole samples, rounded down.
    pub fn bytes(self, duration: Duration) -> u64 {
        let rate = u64::from(self.sample_rate_hz);
        // 10^9 nanoseconds of 2^32 samples fit.
        let rest = u64::from(duration.subsec_nanos()) * rate / 1_000_000_000;
        let samples = duration.as_secs().saturating_mul(rate).saturating_add(rest);
        let sample = self.encoding.bytes_per_sample() as u64;
        samples.min(u64::MAX / sample) * sample
    }

    /// Payload bytes of a frame of this many milliseconds: whole samples, at least one, at most
    /// [`MAX_FRAME_BYTES`].
    pub fn frame_bytes(self, frame_ms: u32) -> usize {
        let sample = self.encoding.bytes_per_sample();
        let bytes = self.bytes(Duration::from_millis(u64::from(frame_ms)));
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(sample, MAX_FRAME_BYTES / sample * sample)
    }
}

/// The start of a WAV file (RIFF/WAVE): everything before the samples. 44 bytes for PCM, 58 for
/// µ-law and A-law.
///
/// `data_bytes` is what the samples take, or [`u32::MAX`] if that is not known yet, as when the
/// file is a pipe: readers then go on to the end. Behind an odd number of bytes the file needs
/// one more, a zero, which is not to be counted here.
pub fn wav_header(format: Format, data_bytes: u32) -> Vec<u8> {
    /// WAVE_FORMAT_PCM, WAVE_FORMAT_ALAW and WAVE_FORMAT_MULAW (RFC 2361, appendix A).
    const PCM: u16 = 1;
    const ALAW: u16 = 6;
    const MULAW: u16 = 7;

    let sample = format.encoding.bytes_per_sample() as u16;
    let tag = match format.encoding {
        Encoding::PcmS16le => PCM,
        Encoding::MuLaw => MULAW,
        Encoding::ALaw => ALAW,
    };
    let mut fmt = Vec::with_capacity(18);
    fmt.extend(tag.to_le_bytes());
    fmt.extend(1u16.to_le_bytes()); // channels
    fmt.extend(format.sample_rate_hz.to_le_bytes());
    fmt.extend((format.byte_rate() as u32).to_le_bytes());
    fmt.extend(sample.to_le_bytes()); // bytes of one sample of all channels
    fmt.extend((sample * 8).to_le_bytes());

    let mut chunks = Vec::with_capacity(58);
    chunks.extend(*b"WAVE");
    if tag == PCM {
        chunk(&mut chunks, *b"fmt ", &fmt);
    } else {
        // Other formats say how long their extension is, here 0, and how many samples follow.
        fmt.extend(0u16.to_le_bytes());
        chunk(&mut chunks, *b"fmt ", &fmt);
        let samples = if data_bytes == u32::MAX { u32::MAX } else { data_bytes / u32::from(sample) };
        chunk(&mut chunks, *b"fact", &samples.to_le_bytes());
    }
    chunks.extend(*b"data");
    chunks.extend(data_bytes.to_le_bytes());

    let riff_bytes = (chunks.len() as u32).saturating_add(data_bytes).saturating_add(data_bytes % 2);
    let mut header = Vec::with_capacity(58);
    header.extend(*b"RIFF");
    header.extend(if data_bytes == u32::MAX { u32::MAX } else { riff_bytes }.to_le_bytes());
    header.extend(chunks);
    header
}

/// Appends one chunk of a RIFF file: name, length, content.
fn chunk(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    out.extend(name);
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(encoding: Encoding, sample_rate_hz: u32) -> Format {
        Format { encoding, sample_rate_hz }
    }

    /// The sample that a byte of µ-law stands for (ITU-T G.711, table 2a), on a scale of 16 bits.
    fn decode_mu_law(byte: u8) -> i32 {
        let bits = i32::from(!byte);
        let magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 0x07)) - 0x84;
        if bits & 0x80 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn names_lead_back_to_their_encodings() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
        }
        for name in ["", "PCM_S16LE", "mulaw ", "opus"] {
            assert_eq!(Encoding::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn linear_samples_are_little_endian() {
        let mut out = vec![9];
        Encoding::PcmS16le.encode(&[0, 1, -1, i16::MAX, i16::MIN, 0x1234], &mut out);
        assert_eq!(out, [9, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x80, 0x34, 0x12]);
    }

    #[test]
    fn mu_law_has_the_bytes_of_the_table() {
        // Sample, byte: both zeros, the ends of the segments, full scale (ITU-T G.711, table 2a).
        let cases: [(i16, u8); 12] = [
            (0, 0xff),
            (-1, 0x7f),
            (8, 0xfe),
            (-8, 0x7e),
            (120, 0xf0),
            (132, 0xef),
            (-132, 0x6f),
            (1_980, 0xbf),
            (16_764, 0x8f),
            (32_124, 0x80),
            (i16::MAX, 0x80),
            (i16::MIN, 0x00),
        ];
        for (sample, byte) in cases {
            assert_eq!(mu_law(sample), byte, "sample {sample}");
        }
    }

    #[test]
    fn mu_law_is_that_of_another_implementation_and_close_to_the_sample() {
        for sample in i16::MIN..=i16::MAX {
            let byte = mu_law(sample);
            assert_eq!(byte, flite_rs::dsp::i16_to_ulaw(sample), "sample {sample}");
            let (exact, decoded) = (i32::from(sample), decode_mu_law(byte));
            assert!(decoded == 0 || (decoded < 0) == (exact < 0), "sample {sample} became {decoded}");
            // A step is a sixteenth of its segment, so the error stays below a 32nd of the value.
            let most = (exact.abs() + 0x84) / 32 + 1;
            let clipped = exact.clamp(-32_635, 32_635);
            assert!((clipped - decoded).abs() <= most, "sample {sample} became {decoded}");
        }
    }

    #[test]
    fn mu_law_bytes_survive_decoding() {
        for byte in 0..=u8::MAX {
            let again = mu_law(decode_mu_law(byte) as i16);
            // 0x7f is the negative zero, which no sample is encoded as after decoding.
            assert_eq!(again, if byte == 0x7f { 0xff } else { byte });
        }
    }

    /// The sample that a byte of A-law stands for (ITU-T G.711, table 1a), on a scale of 16 bits,
    /// and the step of its segment.
    fn decode_a_law(byte: u8) -> (i32, i32) {
        let bits = i32::from(byte ^ 0x55);
        let (exponent, mantissa) = ((bits >> 4) & 0x07, bits & 0x0f);
        let step = 16 << (exponent - 1).max(0);
        // The middle of a step. Every segment but the lowest starts where its own length ends.
        let first = if exponent == 0 { 0 } else { 16 * step };
        let magnitude = first + mantissa * step + step / 2;
        (if bits & 0x80 == 0 { -magnitude } else { magnitude }, step)
    }

    #[test]
    fn a_law_has_the_bytes_of_the_table() {
        // Sample, byte: both sides of zero, the ends of the segments, full scale (ITU-T G.711,
        // table 1a, whose values are on a scale of 13 bits).
        let cases: [(i16, u8); 16] = [
            (0, 0xd5),
            (15, 0xd5),
            (16, 0xd4),
            (-1, 0x55),
            (-16, 0x55),
            (-17, 0x54),
            (511, 0xca),
            (512, 0xf5),
            (1_024, 0xe5),
            (2_048, 0x95),
            (4_096, 0x85),
            (8_192, 0xb5),
            (16_384, 0xa5),
            (-16_384, 0x3a),
            (i16::MAX, 0xaa),
            (i16::MIN, 0x2a),
        ];
        for (sample, byte) in cases {
            assert_eq!(a_law(sample), byte, "sample {sample}");
        }
    }

    #[test]
    fn a_law_is_the_step_that_the_sample_is_in() {
        let mut steps = std::collections::HashSet::new();
        for sample in i16::MIN..=i16::MAX {
            let byte = a_law(sample);
            let (exact, (decoded, step)) = (i32::from(sample), decode_a_law(byte));
            // A step begins at its end next to zero, which for negative samples is -1.
            let above = if exact < 0 { decoded - exact } else { exact + 1 - decoded };
            assert!((1 - step / 2..=step / 2).contains(&above), "sample {sample} became {decoded}");
            steps.insert(byte);
        }
        assert_eq!(steps.len(), 256, "every byte is used");
    }

    #[test]
    fn a_law_bytes_survive_decoding() {
        for byte in 0..=u8::MAX {
            assert_eq!(a_law(decode_a_law(byte).0 as i16), byte);
        }
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
        // Half a sample takes no time.
        assert_eq!(pcm.duration(1), Duration::ZERO);
        assert_eq!(pcm.duration(3), pcm.duration(2));
        assert_eq!(pcm.duration(2), Duration::from_nanos(45_351));
    }

    #[test]
    fn no_size_overflows() {
        let fastest = format(Encoding::PcmS16le, u32::MAX);
        assert_eq!(fastest.bytes(Duration::MAX), u64::MAX - 1);
        // More samples than half of all u64, fewer than all.
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

    #[test]
    fn a_wav_file_of_pcm_starts_with_44_bytes() {
        let header = wav_header(format(Encoding::PcmS16le, 16_000), 0x0102_0304);
        let expected = [
            b"RIFF\x28\x03\x02\x01WAVE".as_slice(),
            b"fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0",
            b"data\x04\x03\x02\x01",
        ];
        assert_eq!(header, expected.concat());
        assert_eq!(header.len(), 44);
    }

    #[test]
    fn a_wav_file_of_mu_law_or_a_law_starts_with_58_bytes() {
        for (encoding, tag) in [(Encoding::MuLaw, 7), (Encoding::ALaw, 6)] {
            // An odd number of samples: the byte behind them counts for the file, not for the data.
            let header = wav_header(format(encoding, 8_000), 3);
            let expected = [
                b"RIFF\x36\0\0\0WAVE".as_slice(),
                b"fmt \x12\0\0\0",
                &[tag, 0],
                b"\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0",
                b"fact\x04\0\0\0\x03\0\0\0",
                b"data\x03\0\0\0",
            ];
            assert_eq!(header, expected.concat());
            assert_eq!(header.len(), 58);
        }
    }

    #[test]
    fn a_wav_file_of_unknown_length_says_so_everywhere() {
        for (encoding, lengths) in [(Encoding::PcmS16le, vec![4, 40]), (Encoding::MuLaw, vec![4, 46, 54])] {
            let header = wav_header(format(encoding, 8_000), u32::MAX);
            for at in lengths {
                assert_eq!(header[at..at + 4], [0xff; 4], "{encoding:?}, byte {at}");
            }
        }
        // One that is known, but leaves no room for the header in the length of the file.
        let header = wav_header(format(Encoding::PcmS16le, 8_000), u32::MAX - 1);
        assert_eq!(header[4..8], [0xff; 4]);
        assert_eq!(header[40..44], [0xfe, 0xff, 0xff, 0xff]);
    }
}
