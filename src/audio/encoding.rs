//! Encodings: those of sessions, the wider range of samples that engines give, and G.711 in both
//! directions.

use super::level;
use serde::{Deserialize, Serialize};

/// Encoding of the audio that a session gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
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
    /// MPEG-2 Layer III at a constant bit rate: 576 samples a frame. A server has it with the feature `mp3`.
    #[serde(rename = "mp3")]
    Mp3,
    /// Opus (RFC 6716) at a constant bit rate, without a container: 20 ms a packet. A server has it with the
    /// feature `opus`.
    #[serde(rename = "opus")]
    Opus,
}

impl Encoding {
    /// All encodings of single samples, which every build has.
    pub const ALL: [Encoding; 3] = [Encoding::PcmS16le, Encoding::MuLaw, Encoding::ALaw];

    /// All encodings of frames: see [`is_coded`](Encoding::is_coded).
    pub const CODED: [Encoding; 2] = [Encoding::Mp3, Encoding::Opus];

    /// Names of all encodings: first those of [`ALL`](Encoding::ALL), then those of [`CODED`](Encoding::CODED).
    pub(crate) const NAMES: [&str; 5] = ["pcm_s16le", "mulaw", "alaw", "mp3", "opus"];

    /// All encodings, in the order of [`NAMES`](Encoding::NAMES).
    pub(crate) fn every() -> impl Iterator<Item = Encoding> {
        Encoding::ALL.into_iter().chain(Encoding::CODED)
    }

    /// Name on the wire and on the command line, such as `pcm_s16le`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::PcmS16le => "pcm_s16le",
            Encoding::MuLaw => "mulaw",
            Encoding::ALaw => "alaw",
            Encoding::Mp3 => "mp3",
            Encoding::Opus => "opus",
        }
    }

    /// Returns the encoding with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Encoding> {
        Encoding::every().find(|e| e.name() == name)
    }

    /// True if audio is encoded in frames of many samples. All frames of a format have the same length in bytes
    /// ([`Format::unit_bytes`](super::Format::unit_bytes)), so that bytes stay in proportion to time.
    pub fn is_coded(self) -> bool {
        matches!(self, Encoding::Mp3 | Encoding::Opus)
    }

    /// Bytes of one sample. 1 for an encoding of frames, which has no single samples.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Encoding::PcmS16le => 2,
            Encoding::MuLaw | Encoding::ALaw | Encoding::Mp3 | Encoding::Opus => 1,
        }
    }

    /// A byte of silence, in an encoding of single samples.
    pub(crate) const fn silence(self) -> u8 {
        match self {
            Encoding::PcmS16le | Encoding::Mp3 | Encoding::Opus => 0,
            Encoding::MuLaw => 0xff,
            Encoding::ALaw => 0xd5,
        }
    }

    /// Bytes of silence at the end of whole samples: audio below −50 dBFS. 0 for an encoding of frames, since only
    /// their encoder knows it.
    pub(crate) fn quiet_bytes(self, audio: &[u8]) -> usize {
        let loud = match self {
            Encoding::PcmS16le => audio.chunks_exact(2).rposition(|sample| {
                i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() > level::SPEECH
            }),
            // Without the sign, the inverted code rises with the sample.
            Encoding::MuLaw => {
                let most = !to_mu_law(level::SPEECH as i16) & 0x7f;
                audio.iter().rposition(|&byte| !byte & 0x7f > most)
            }
            Encoding::ALaw => {
                let most = (to_a_law(level::SPEECH as i16) ^ 0x55) & 0x7f;
                audio.iter().rposition(|&byte| (byte ^ 0x55) & 0x7f > most)
            }
            Encoding::Mp3 | Encoding::Opus => return 0,
        };
        audio.len() - loud.map_or(0, |last| (last + 1) * self.bytes_per_sample())
    }

    /// The silence at the end of audio, in bytes, if it was `before` in front of these samples.
    pub(crate) fn quiet_after(self, before: u64, audio: &[u8]) -> u64 {
        let quiet = self.quiet_bytes(audio);
        if quiet == audio.len() { before + quiet as u64 } else { quiet as u64 }
    }

    /// Appends these samples to `out`, in this encoding. An encoding of frames needs an encoder, and appends
    /// nothing.
    pub fn encode(self, samples: &[i16], out: &mut Vec<u8>) {
        match self {
            Encoding::PcmS16le => out.extend(samples.iter().flat_map(|s| s.to_le_bytes())),
            Encoding::MuLaw => out.extend(samples.iter().map(|&s| to_mu_law(s))),
            Encoding::ALaw => out.extend(samples.iter().map(|&s| to_a_law(s))),
            Encoding::Mp3 | Encoding::Opus => {}
        }
    }
}

/// Encoding of the audio that an engine gives, as a setting or a WAV header names it.
///
/// It covers more than the encodings that a session can ask for ([`Encoding`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SampleEncoding {
    /// Linear, unsigned 8 bit, with 128 for silence.
    PcmU8,
    /// Linear, signed 16 bit, little endian.
    PcmS16le,
    /// Linear, signed 16 bit, big endian, as in `audio/L16` (RFC 2586 §2).
    PcmS16be,
    /// Linear, signed 24 bit, little endian.
    PcmS24le,
    /// Linear, signed 32 bit, little endian.
    PcmS32le,
    /// Floating point, 32 bit, little endian, from −1 to 1.
    PcmF32le,
    /// Floating point, 64 bit, little endian, from −1 to 1.
    PcmF64le,
    /// µ-law (ITU-T G.711), one byte.
    MuLaw,
    /// A-law (ITU-T G.711), one byte.
    ALaw,
}

impl SampleEncoding {
    /// All encodings.
    pub const ALL: [SampleEncoding; 9] = [
        SampleEncoding::PcmU8,
        SampleEncoding::PcmS16le,
        SampleEncoding::PcmS16be,
        SampleEncoding::PcmS24le,
        SampleEncoding::PcmS32le,
        SampleEncoding::PcmF32le,
        SampleEncoding::PcmF64le,
        SampleEncoding::MuLaw,
        SampleEncoding::ALaw,
    ];

    /// Name in settings, such as `pcm_s16le`.
    pub fn name(self) -> &'static str {
        match self {
            SampleEncoding::PcmU8 => "pcm_u8",
            SampleEncoding::PcmS16le => "pcm_s16le",
            SampleEncoding::PcmS16be => "pcm_s16be",
            SampleEncoding::PcmS24le => "pcm_s24le",
            SampleEncoding::PcmS32le => "pcm_s32le",
            SampleEncoding::PcmF32le => "pcm_f32le",
            SampleEncoding::PcmF64le => "pcm_f64le",
            SampleEncoding::MuLaw => "mulaw",
            SampleEncoding::ALaw => "alaw",
        }
    }

    /// Returns the encoding with this name, if there is one.
    pub fn from_name(name: &str) -> Option<SampleEncoding> {
        SampleEncoding::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bytes of one sample.
    pub(crate) fn bytes_per_sample(self) -> usize {
        match self {
            SampleEncoding::PcmU8 | SampleEncoding::MuLaw | SampleEncoding::ALaw => 1,
            SampleEncoding::PcmS16le | SampleEncoding::PcmS16be => 2,
            SampleEncoding::PcmS24le => 3,
            SampleEncoding::PcmS32le | SampleEncoding::PcmF32le => 4,
            SampleEncoding::PcmF64le => 8,
        }
    }

    /// Decodes one sample of [`bytes_per_sample`](Self::bytes_per_sample) bytes. Samples of more than
    /// 16 bits are rounded down.
    pub(crate) fn decode(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (SampleEncoding::PcmU8, &[byte]) => (i16::from(byte) - 128) << 8,
            (SampleEncoding::PcmS16be, &[high, low]) => i16::from_be_bytes([high, low]),
            (
                SampleEncoding::PcmS16le | SampleEncoding::PcmS24le | SampleEncoding::PcmS32le,
                &[.., low, high],
            ) => i16::from_le_bytes([low, high]),
            (SampleEncoding::PcmF32le, &[a, b, c, d]) => {
                from_float(f64::from(f32::from_le_bytes([a, b, c, d])))
            }
            (SampleEncoding::PcmF64le, &[a, b, c, d, e, f, g, h]) => {
                from_float(f64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            (SampleEncoding::MuLaw, &[byte]) => from_mu_law(byte),
            (SampleEncoding::ALaw, &[byte]) => from_a_law(byte),
            _ => 0,
        }
    }
}

/// Converts a sample with a full scale of 1. Larger samples are clipped, NaN becomes silence.
fn from_float(sample: f64) -> i16 {
    (sample * 32_768.0) as i16
}

/// Decodes µ-law to the middle of its step (ITU-T G.711, table 2a), on a scale of 16 bits.
fn from_mu_law(byte: u8) -> i16 {
    let bits = i16::from(!byte);
    let magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 0x07)) - 0x84;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Decodes A-law to the middle of its step (ITU-T G.711, table 1a), on a scale of 16 bits.
fn from_a_law(byte: u8) -> i16 {
    let bits = i16::from(byte ^ 0x55);
    let (exponent, mantissa) = ((bits >> 4) & 0x07, (bits & 0x0f) << 4);
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

/// Encodes one sample as µ-law (ITU-T G.711): sign, 3 bits of exponent, 4 of mantissa, all inverted.
fn to_mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // The bias guarantees that bit 7 or a higher one is set.
    let exponent = (31 - magnitude.leading_zeros()).saturating_sub(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// Encodes one sample as A-law (ITU-T G.711): sign, 3 bits of exponent, 4 of mantissa, with every
/// other bit inverted.
fn to_a_law(sample: i16) -> u8 {
    // One's complement: -1 gets the step next to zero, as 0 does on the other side.
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    // A-law encodes the highest 12 bits. The two lowest segments have steps of the same size.
    let magnitude = magnitude.unsigned_abs() >> 4;
    let exponent = (16 - magnitude.leading_zeros()).saturating_sub(4);
    let mantissa = (magnitude >> exponent.saturating_sub(1)) & 0x0f;
    (sign | (exponent << 4) as u8 | mantissa as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes µ-law (ITU-T G.711, table 2a), on a scale of 16 bits.
    fn decode_mu_law(byte: u8) -> i32 {
        let bits = i32::from(!byte);
        let magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 0x07)) - 0x84;
        if bits & 0x80 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn names_lead_back_to_their_encodings() {
        for encoding in Encoding::every() {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
            assert_eq!(encoding.is_coded(), !Encoding::ALL.contains(&encoding));
        }
        for name in ["", "PCM_S16LE", "mulaw ", "ogg"] {
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
            assert_eq!(to_mu_law(sample), byte, "sample {sample}");
        }
    }

    #[test]
    fn mu_law_is_that_of_another_implementation_and_close_to_the_sample() {
        for sample in i16::MIN..=i16::MAX {
            let byte = to_mu_law(sample);
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
            let again = to_mu_law(decode_mu_law(byte) as i16);
            // 0x7f is the negative zero. It decodes to 0, which is encoded as the positive zero.
            assert_eq!(again, if byte == 0x7f { 0xff } else { byte });
        }
    }

    /// Decodes A-law (ITU-T G.711, table 1a), on a scale of 16 bits. Also returns the step of the
    /// segment.
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
            assert_eq!(to_a_law(sample), byte, "sample {sample}");
        }
    }

    #[test]
    fn a_law_is_the_step_that_the_sample_is_in() {
        let mut steps = std::collections::HashSet::new();
        for sample in i16::MIN..=i16::MAX {
            let byte = to_a_law(sample);
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
            assert_eq!(to_a_law(decode_a_law(byte).0 as i16), byte);
        }
    }

    #[test]
    fn g711_is_decoded_to_what_is_encoded_as_the_same_byte() {
        for (encoding, g711) in
            [(SampleEncoding::MuLaw, Encoding::MuLaw), (SampleEncoding::ALaw, Encoding::ALaw)]
        {
            for byte in 0..=u8::MAX {
                let mut again = Vec::new();
                g711.encode(&[encoding.decode(&[byte])], &mut again);
                // µ-law has two zeros. The encoder uses the positive one.
                let negative_zero = encoding == SampleEncoding::MuLaw && byte == 0x7f;
                assert_eq!(again, [if negative_zero { 0xff } else { byte }]);
            }
        }
    }

    #[test]
    fn silence_at_the_end_is_measured_in_every_encoding() {
        for encoding in Encoding::ALL {
            let size = encoding.bytes_per_sample();
            for (samples, quiet) in [
                (&[][..], 0),
                (&[5_000], 0),
                (&[0, 0, 0], 3),
                (&[5_000, 0, -80, 80], 3),
                (&[0, -5_000, 0], 1),
                (&[0, i16::MIN, 100, -100, 0], 3),
                (&[0, 0, 200], 0),
                (&[0, 0, -200], 0),
            ] {
                let mut audio = Vec::new();
                encoding.encode(samples, &mut audio);
                assert_eq!(encoding.quiet_bytes(&audio), quiet * size, "{encoding:?} {samples:?}");
            }
        }
    }

    #[test]
    fn floating_point_beyond_full_scale_is_clipped() {
        for (sample, expected) in [
            (0.5, 16_384),
            (1.0, i16::MAX),
            (7.0, i16::MAX),
            (-1.0, i16::MIN),
            (-1e30, i16::MIN),
            (f32::NAN, 0),
        ] {
            assert_eq!(SampleEncoding::PcmF32le.decode(&sample.to_le_bytes()), expected);
        }
    }
}
