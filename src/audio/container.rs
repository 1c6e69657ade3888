//! Containers of an answer over HTTP: one for each answer, written as a stream.
//!
//! A [`Muxer`] takes samples in pieces and appends the bytes of the container. It holds less than one frame of
//! its encoder, whatever the length of the audio.

use super::{Encoding, Format, wav_header};

/// A kind of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// A WAV file with linear samples.
    Wav,
    /// Linear samples without a header.
    Pcm,
}

/// Rate of [`Container::Pcm`] that clients expect, since nothing in it tells the rate.
const PCM_RATE_HZ: u32 = 24_000;

impl Container {
    /// All that this build has.
    pub(crate) const ALL: &[Container] = &[Container::Wav, Container::Pcm];

    /// The container for a client that names none.
    pub(crate) const DEFAULT: Container = Container::Wav;

    /// Returns the name in requests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Container::Wav => "wav",
            Container::Pcm => "pcm",
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
        }
    }

    /// Returns the sample rate for a client that asks for none, where the engine has this one.
    pub(crate) fn rate(self, engine_hz: u32) -> u32 {
        match self {
            Container::Wav => engine_hz,
            Container::Pcm => PCM_RATE_HZ,
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
}

impl Muxer {
    /// Creates a container for linear samples of this rate.
    pub(crate) fn new(container: Container, sample_rate_hz: u32) -> Muxer {
        let state = match container {
            Container::Wav => State::Wav,
            Container::Pcm => State::Raw,
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

    #[test]
    fn containers_are_found_by_their_names() {
        for container in Container::ALL {
            assert_eq!(Container::from_name(container.name()), Some(*container));
        }
        assert_eq!(Container::from_name("mid"), None);
        assert_eq!((Container::Wav.rate(16_000), Container::Pcm.rate(16_000)), (16_000, 24_000));
    }
}
