//! Audio as bytes: encodings, formats, WAV files, resampling, levels and the names of voices.
//!
//! Audio is mono throughout; [`wav`] mixes the channels of foreign audio. This module has no I/O and
//! no clock, and no knowledge of sentences, sessions or sockets.

mod encoding;
mod format;
pub(crate) mod level;
pub mod resample;
pub(crate) mod sniff;
pub mod voice;
pub(crate) mod wav;

pub use encoding::{Encoding, SampleEncoding};
pub(crate) use format::SourceFormat;
pub use format::{Format, MAX_FRAME_BYTES};
pub use wav::wav_header;
