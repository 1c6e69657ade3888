//! Audio as bytes: encodings, formats, WAV files and other containers, resampling, levels and the names of voices.
//!
//! Audio is mono throughout; [`wav`] mixes the channels of foreign audio. This module has no I/O and
//! no clock, and no knowledge of sentences, sessions or sockets.

pub(crate) mod coded;
pub(crate) mod coder;
pub(crate) mod container;
mod encoding;
mod format;
pub(crate) mod level;
#[cfg(feature = "mp3")]
mod mp3;
#[cfg(feature = "opus")]
mod opus;
pub(crate) mod resample;
pub(crate) mod sniff;
pub mod voice;
pub(crate) mod wav;

pub use encoding::{Encoding, SampleEncoding};
pub use format::Format;
pub(crate) use format::{MAX_FRAME_BYTES, SourceFormat};
pub use wav::{wav_header, wav_padding};
