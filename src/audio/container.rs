//! Containers of an answer over HTTP: one for each answer, written as a stream.
//!
//! A [`Muxer`] takes samples in pieces and appends the bytes of the container. It holds less than one frame of
//! its encoder, whatever the length of the audio.

#[cfg(feature = "opus")]
mod opus;

#[cfg(feature = "opus")]
use super::coded;
#[cfg(feature = "mp3")]
use super::mp3;
use super::{Encoding, Format, wav_header};
use std::time::Duration;

/// A kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// A WAV file with linear samples.
    Wav,
    /// Linear samples without a header.
    Pcm,
    /// Frames of MPEG-2 Layer III, without a tag.
    #[cfg(feature = "mp3")]
    Mp3,
    /// Packets of Opus in Ogg (RFC 7845).
    #[cfg(feature = "opus")]
    Opus,
}

/// Rate of [`Container::Pcm`] that clients expect, since nothing in it tells the rate.
const PCM_RATE_HZ: u32 = 24_000;

impl Container {
    /// All that this build has.
    pub(crate) const ALL: &[Container] = &[
        #[cfg(feature = "mp3")]
        Container::Mp3,
        #[cfg(feature = "opus")]
        Container::Opus,
        Container::Wav,
        Container::Pcm,
    ];

    /// The container for a client that names none.
    pub(crate) const DEFAULT: Container = {
        #[cfg(feature = "mp3")]
        {
            Container::Mp3
        }
        #[cfg(not(feature = "mp3"))]
        {
            Container::Wav
        }
    };

    /// Returns the name in requests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Container::Wav => "wav",
            Container::Pcm => "pcm",
            #[cfg(feature = "mp3")]
            Container::Mp3 => "mp3",
            #[cfg(feature = "opus")]
            Container::Opus => "opus",
        }
    }

    /// Returns the container with this name.
    pub(crate) fn from_name(name: &str) -> Option<Container> {
        Container::ALL.iter().copied().find(|container| container.name() == name)
    }

    /// Returns the media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Container::Wav => "audio/wav",
            Container::Pcm => "audio/pcm",
            #[cfg(feature = "mp3")]
            Container::Mp3 => "audio/mpeg",
            #[cfg(feature = "opus")]
            Container::Opus => "audio/ogg",
        }
    }

    /// Returns the sample rate for a client that asks for none, where the engine has this one.
    pub(crate) fn rate(self, engine_hz: u32) -> u32 {
        match self {
            Container::Wav => engine_hz,
            Container::Pcm => PCM_RATE_HZ,
            #[cfg(feature = "mp3")]
            Container::Mp3 => {
                if mp3::RATES.contains(&engine_hz) {
                    engine_hz
                } else {
                    PCM_RATE_HZ
                }
            }
            #[cfg(feature = "opus")]
            Container::Opus => match coded::OPUS_RATES.contains(&engine_hz) {
                true => engine_hz,
                false if engine_hz > PCM_RATE_HZ => 48_000,
                false => PCM_RATE_HZ,
            },
        }
    }

    /// True if an encoder makes it.
    pub(crate) fn is_encoded(self) -> bool {
        !matches!(self, Container::Wav | Container::Pcm)
    }

    /// Time by which a decoder gives audio later than the samples had it.
    pub(crate) fn delay(self, sample_rate_hz: u32) -> Duration {
        match self {
            #[cfg(feature = "mp3")]
            Container::Mp3 => mp3::delay(sample_rate_hz),
            // Ogg says how much of Opus is skipped.
            _ => {
                let _ = sample_rate_hz;
                Duration::ZERO
            }
        }
    }

    /// True if it can hold samples of this rate.
    pub(crate) fn supports(self, sample_rate_hz: u32) -> bool {
        match self {
            Container::Wav | Container::Pcm => true,
            #[cfg(feature = "mp3")]
            Container::Mp3 => mp3::RATES.contains(&sample_rate_hz),
            #[cfg(feature = "opus")]
            Container::Opus => coded::OPUS_RATES.contains(&sample_rate_hz),
        }
    }
}

/// Writes one container.
#[derive(Debug)]
pub(crate) struct Muxer {
    format: Format,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The header is still to be written.
    Wav,
    /// Samples follow as they are.
    Raw,
    #[cfg(feature = "mp3")]
    Mp3(Box<mp3::Mp3>),
    #[cfg(feature = "opus")]
    Opus(Box<opus::Opus>),
}

impl Muxer {
    /// Creates a container for linear samples of this rate.
    pub(crate) fn new(container: Container, sample_rate_hz: u32) -> Muxer {
        let state = match container {
            Container::Wav => State::Wav,
            Container::Pcm => State::Raw,
            #[cfg(feature = "mp3")]
            Container::Mp3 => {
                // Speech sounds no better with more.
                let kbps = if sample_rate_hz < 16_000 { 32 } else { 64 };
                State::Mp3(Box::new(mp3::Mp3::new(sample_rate_hz, kbps, true)))
            }
            #[cfg(feature = "opus")]
            Container::Opus => State::Opus(Box::new(opus::Opus::new(sample_rate_hz))),
        };
        Muxer { format: Format { encoding: Encoding::PcmS16le, sample_rate_hz }, state }
    }

    /// Takes whole samples, signed 16 bit in little endian, and appends the bytes that are complete to `out`.
    pub(crate) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        match &mut self.state {
            State::Wav => {
                out.extend(wav_header(self.format, u32::MAX));
                out.extend_from_slice(samples);
                self.state = State::Raw;
            }
            State::Raw => out.extend_from_slice(samples),
            #[cfg(feature = "mp3")]
            State::Mp3(encoder) => encoder.push(samples, out),
            #[cfg(feature = "opus")]
            State::Opus(encoder) => encoder.push(samples, out),
        }
    }

    /// Takes the last samples, and appends the end of the container. If these are all samples that there are, the
    /// container has its exact length where it has a place for that.
    pub(crate) fn finish(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        match (&mut self.state, u32::try_from(samples.len())) {
            (State::Wav, Ok(length)) if length < u32::MAX - 64 => {
                out.extend(wav_header(self.format, length));
                out.extend_from_slice(samples);
            }
            #[cfg(feature = "mp3")]
            (State::Mp3(encoder), _) => encoder.finish(samples, out),
            #[cfg(feature = "opus")]
            (State::Opus(encoder), _) => encoder.finish(samples, out),
            _ => self.push(samples, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wav_has_its_length_only_if_it_is_known_at_its_start() {
        let mut whole = Vec::new();
        Muxer::new(Container::Wav, 16_000).finish(&[1, 2, 3, 4], &mut whole);
        assert_eq!(whole.len(), 48);
        assert_eq!(whole[40..44], 4u32.to_le_bytes());
        let (mut muxer, mut parts) = (Muxer::new(Container::Wav, 16_000), Vec::new());
        muxer.push(&[1, 2], &mut parts);
        muxer.finish(&[3, 4], &mut parts);
        assert_eq!(parts.len(), 48);
        assert_eq!((&parts[4..8], &parts[40..44]), (&[0xff; 4][..], &[0xff; 4][..]));
        assert_eq!(parts[44..], whole[44..]);
        let mut raw = Vec::new();
        Muxer::new(Container::Pcm, 24_000).finish(&[1, 2], &mut raw);
        assert_eq!(raw, [1, 2]);
    }

    /// Half a second of a tone that grows.
    #[cfg(any(feature = "mp3", feature = "opus"))]
    fn tone(rate: u32) -> Vec<u8> {
        let sample = |n: u32| {
            let phase = f64::from(n) / f64::from(rate) * 440.0 * std::f64::consts::TAU;
            (phase.sin() * f64::from(n) / f64::from(rate) * 30_000.0) as i16
        };
        (0..rate / 2).flat_map(|n| sample(n).to_le_bytes()).collect()
    }

    /// The same bytes, however the samples are divided into pieces.
    #[cfg(any(feature = "mp3", feature = "opus"))]
    fn encoded(container: Container, rate: u32) -> Vec<u8> {
        let samples = tone(rate);
        let mut whole = Vec::new();
        Muxer::new(container, rate).finish(&samples, &mut whole);
        let (mut muxer, mut parts) = (Muxer::new(container, rate), Vec::new());
        samples.chunks(334).for_each(|piece| muxer.push(piece, &mut parts));
        let early = parts.len();
        muxer.finish(&[], &mut parts);
        assert!(
            early * 10 > parts.len() * 6,
            "{container:?} at {rate}: {early} of {} came early",
            parts.len()
        );
        assert!(whole == parts, "{container:?} at {rate}");
        whole
    }

    /// The largest correlation of a tone with what was decoded, over all delays up to 0.1 s, and that delay.
    #[cfg(any(feature = "mp3", feature = "opus"))]
    fn likeness(rate: u32, decoded: &[f32]) -> (f64, usize) {
        let tone = tone(rate);
        let tone: Vec<f64> =
            tone.chunks(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect();
        let correlation = |delay: usize| {
            let pairs = || tone.iter().zip(&decoded[delay..]).map(|(a, b)| (*a, f64::from(*b)));
            let (product, left, right) =
                pairs().fold((0.0, 0.0, 0.0), |(p, l, r), (a, b)| (p + a * b, l + a * a, r + b * b));
            product / f64::sqrt(left * right).max(1e-9)
        };
        let delays = (0..(rate as usize / 10).min(decoded.len())).map(|delay| (correlation(delay), delay));
        delays.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }

    #[cfg(feature = "mp3")]
    fn decoded_mp3(bytes: &[u8], rate: u32) -> Vec<f32> {
        let mut decoder = rusty_mp3::Mp3Decoder::new();
        decoder.push(bytes);
        decoder.flush();
        let mut decoded = Vec::new();
        while let Ok(frame) = decoder.next_frame() {
            assert_eq!((frame.sample_rate, frame.channels), (rate, 1));
            decoded.extend(frame.samples);
        }
        decoded
    }

    #[cfg(feature = "mp3")]
    #[test]
    fn mp3_leaves_early_and_decodes_to_the_same_audio() {
        for rate in mp3::RATES {
            let bytes = encoded(Container::Mp3, rate);
            assert!(bytes[0] == 0xff && bytes[1] & 0xe0 == 0xe0, "begins with a frame");
            assert!(!bytes.windows(4).any(|four| four == b"Info" || four == b"Xing"), "no tag");
            let decoded = decoded_mp3(&bytes, rate);
            let seconds = decoded.len() as f64 / f64::from(rate);
            assert!((0.5..0.75).contains(&seconds), "{seconds} s at {rate}");
            let (likeness, delay) = likeness(rate, &decoded);
            assert!(likeness > 0.9, "{likeness} at {rate}");
            let expected = (Container::Mp3.delay(rate).as_secs_f64() * f64::from(rate)).round() as usize;
            assert!(delay.abs_diff(expected) <= 1, "{delay} samples at {rate}, not {expected}");
        }
    }

    /// Whatever the number of samples, a decoder gives hardly more of them, and all that have a sound.
    #[cfg(feature = "mp3")]
    #[test]
    fn mp3_of_speech_lasts_as_long_as_its_samples() {
        for rate in mp3::RATES {
            for more in (0..576).step_by(72) {
                // A tone, and 40 ms or more of silence.
                let mut samples = tone(rate)[..rate as usize / 4 * 2].to_vec();
                samples.extend(vec![0; 2 * (rate as usize / 25 + more)]);
                let mut bytes = Vec::new();
                Muxer::new(Container::Mp3, rate).finish(&samples, &mut bytes);
                let decoded = decoded_mp3(&bytes, rate);
                let [length, expected] =
                    [decoded.len(), samples.len() / 2].map(|n| n as f64 / f64::from(rate));
                assert!(
                    (expected - 0.04..expected + 0.1).contains(&length),
                    "{length} s at {rate}, not {expected}"
                );
                let end =
                    rate as usize / 4 + (Container::Mp3.delay(rate).as_secs_f64() * f64::from(rate)) as usize;
                let last = &decoded[end - rate as usize / 50..end];
                let loudest = last.iter().fold(0.0, |most: f32, sample| most.max(sample.abs()));
                assert!(loudest > 0.1, "the end of the tone is there, at {rate}: {loudest}");
            }
        }
    }

    #[cfg(feature = "opus")]
    #[test]
    fn opus_leaves_early_and_decodes_to_the_same_audio() {
        for rate in coded::OPUS_RATES {
            let bytes = encoded(Container::Opus, rate);
            let mut reader = opus_pure::OggOpusReader::new(std::io::Cursor::new(&bytes)).unwrap();
            let head = reader.head().clone();
            let mut decoder = head.decoder(rate as i32).unwrap();
            let mut trim = opus_pure::Trim::new(&head, rate as i32, 1).unwrap();
            let mut block = vec![0.0; opus_pure::MAX_PACKET_SAMPLES];
            let mut decoded: Vec<f32> = Vec::new();
            for packet in reader.packets() {
                let packet = packet.unwrap();
                let count = decoder.decode(&packet.data, rate as usize / 50, &mut block).unwrap();
                decoded.extend_from_slice(trim.keep(&packet, &block[..count]));
            }
            assert_eq!(decoded.len(), rate as usize / 2, "exactly as long, at {rate}");
            let (likeness, _) = likeness(rate, &decoded);
            assert!(likeness > 0.9, "{likeness} at {rate}");
        }
    }

    #[test]
    fn containers_are_found_by_their_names() {
        for container in Container::ALL {
            assert_eq!(Container::from_name(container.name()), Some(*container));
        }
        assert_eq!(Container::from_name("mid"), None);
        assert_eq!((Container::Wav.rate(16_000), Container::Pcm.rate(16_000)), (16_000, 24_000));
    }
}
