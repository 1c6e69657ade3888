//! Encoders of sessions: one for each sentence, into frames that all have the same length.
//!
//! Samples and encoder alone decide on the bytes: a sentence that is spoken again the same has the same frames.

#[cfg(feature = "opus")]
mod opus;

#[cfg(feature = "mp3")]
use super::coded;
#[cfg(feature = "mp3")]
use super::mp3::Mp3;
use super::{Encoding, Format};
#[cfg(feature = "opus")]
use opus::Opus;

/// Encodes one sentence.
pub(crate) enum Coder {
    #[cfg(feature = "mp3")]
    Mp3(Box<Mp3>),
    #[cfg(feature = "opus")]
    Opus(Box<Opus>),
}

impl Coder {
    /// True if this build encodes into this format.
    pub(crate) fn supports(format: Format) -> bool {
        let is_built = match format.encoding {
            Encoding::Mp3 => cfg!(feature = "mp3"),
            Encoding::Opus => cfg!(feature = "opus"),
            Encoding::PcmS16le | Encoding::MuLaw | Encoding::ALaw => false,
        };
        is_built && format.encoding.coded_rates().contains(&format.sample_rate_hz)
    }

    /// Creates an encoder, if there is [one](Coder::supports).
    pub(crate) fn new(format: Format) -> Option<Coder> {
        if !Coder::supports(format) {
            return None;
        }
        match format.encoding {
            #[cfg(feature = "mp3")]
            Encoding::Mp3 => {
                let rate = format.sample_rate_hz;
                Some(Coder::Mp3(Box::new(Mp3::new(rate, coded::mp3_kbps(rate), false))))
            }
            #[cfg(feature = "opus")]
            Encoding::Opus => Some(Coder::Opus(Box::new(Opus::new(format.sample_rate_hz)))),
            _ => None,
        }
    }

    /// Takes whole samples, signed 16 bit in little endian, and appends the frames that are complete to `out`.
    pub(crate) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        match self {
            #[cfg(feature = "mp3")]
            Coder::Mp3(encoder) => encoder.push(samples, out),
            #[cfg(feature = "opus")]
            Coder::Opus(encoder) => encoder.push(samples, out),
            #[cfg(not(any(feature = "mp3", feature = "opus")))]
            _ => _ = (samples, out),
        }
    }

    /// Appends the last frames to `out`: all samples are in one of them. To be called after samples.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            #[cfg(feature = "mp3")]
            Coder::Mp3(encoder) => encoder.finish(&[], out),
            #[cfg(feature = "opus")]
            Coder::Opus(encoder) => encoder.finish(out),
            #[cfg(not(any(feature = "mp3", feature = "opus")))]
            _ => _ = out,
        }
    }
}

#[cfg(all(test, any(feature = "mp3", feature = "opus")))]
mod tests;
