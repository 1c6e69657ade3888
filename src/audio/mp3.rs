//! MPEG-2 Layer III, a frame of 576 samples at a time: for containers and for sessions.

use super::Encoding;
use super::coded::{MP3_DELAY_SAMPLES, MP3_FRAME_SAMPLES};
use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};
use std::fmt;
use std::time::Duration;

/// Sample rates, in hertz. At higher ones the encoder keeps all frames to its end.
pub(super) const RATES: [u32; 4] = [8_000, 16_000, 22_050, 24_000];

/// Encodes one stream at a constant bit rate.
pub(crate) struct Mp3 {
    encoder: Mp3Encoder,
    sample_rate_hz: u32,
    /// Frames that are still to be left out.
    left_out: usize,
    /// Bytes of samples, those of the silence at their end, and frames so far; counted if the ends are cut.
    taken: u64,
    quiet: u64,
    frames: u64,
    /// True if the ends of the stream are cut as far as they are silence of the encoder.
    is_cut: bool,
}

impl fmt::Debug for Mp3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mp3")
    }
}

/// Samples by which a decoder gives the audio of a stream later than the samples had it, if its first frame is cut.
const CUT_DELAY_SAMPLES: u64 = MP3_DELAY_SAMPLES as u64 - MP3_FRAME_SAMPLES;

/// The same as a time.
pub(super) fn delay(sample_rate_hz: u32) -> Duration {
    Duration::from_micros(CUT_DELAY_SAMPLES * 1_000_000 / u64::from(sample_rate_hz.max(1)))
}

impl Mp3 {
    /// Creates an encoder. The first frame of a stream is silence of the encoder, and so is most of the last one;
    /// `is_cut` leaves these out. A player then has sound sooner, and hardly longer than the samples last.
    #[inline(never)]
    pub(super) fn new(sample_rate_hz: u32, bitrate_kbps: u32, is_cut: bool) -> Mp3 {
        let encoder = Mp3Encoder::new(Mp3EncoderConfig { bitrate_kbps, vbr_quality: None });
        // The first frame of the encoder is a tag that it completes at its end, when that has left long ago.
        let left_out = 1 + usize::from(is_cut);
        Mp3 { encoder, sample_rate_hz, left_out, taken: 0, quiet: 0, frames: 0, is_cut }
    }

    // Containers and sessions share one copy of the encoder's code, which is large.
    #[inline(never)]
    pub(super) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        if self.is_cut {
            self.taken += samples.len() as u64;
            self.quiet = Encoding::PcmS16le.quiet_after(self.quiet, samples);
        }
        // Fails for other rates only.
        let _ = self.encoder.push_pcm_s16le(samples, 1, self.sample_rate_hz);
        self.drain(out);
    }

    #[inline(never)]
    pub(super) fn finish(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        self.push(samples, out);
        self.encoder.finish();
        let length = self.drain(out);
        if !self.is_cut {
            return;
        }
        let (taken, quiet) = (self.taken / 2, self.quiet / 2);
        let surplus = (self.frames * MP3_FRAME_SAMPLES).saturating_sub(taken);
        // Samples that the last frame is not needed for.
        let spare = surplus + quiet.min(taken) - CUT_DELAY_SAMPLES.min(surplus);
        if surplus > u64::from(self.sample_rate_hz) / 10 && spare >= MP3_FRAME_SAMPLES {
            out.truncate(out.len().saturating_sub(length));
        }
    }

    /// Returns the length of the last frame.
    #[inline(never)]
    fn drain(&mut self, out: &mut Vec<u8>) -> usize {
        let mut length = 0;
        while let Ok(frame) = self.encoder.next_packet() {
            if self.left_out > 0 {
                self.left_out -= 1;
                continue;
            }
            out.extend_from_slice(&frame);
            length = frame.len();
            self.frames += 1;
        }
        length
    }
}
