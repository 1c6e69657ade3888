//! MPEG-2 Layer III, a frame of 576 samples at a time: for containers and for sessions.

use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};
use std::fmt;

/// Sample rates, in hertz. At higher ones the encoder keeps all frames to its end.
pub(super) const RATES: [u32; 4] = [8_000, 16_000, 22_050, 24_000];

/// Encodes one stream at a constant bit rate.
pub(crate) struct Mp3 {
    encoder: Mp3Encoder,
    sample_rate_hz: u32,
    /// True once the first frame was left out. It is a tag that the encoder completes at its end, when it has left
    /// long ago.
    has_skipped_tag: bool,
}

impl fmt::Debug for Mp3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mp3")
    }
}

impl Mp3 {
    #[inline(never)]
    pub(super) fn new(sample_rate_hz: u32, bitrate_kbps: u32) -> Mp3 {
        let encoder = Mp3Encoder::new(Mp3EncoderConfig { bitrate_kbps, vbr_quality: None });
        Mp3 { encoder, sample_rate_hz, has_skipped_tag: false }
    }

    // Containers and sessions share one copy of the encoder's code, which is large.
    #[inline(never)]
    pub(super) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        // Fails for other rates only.
        let _ = self.encoder.push_pcm_s16le(samples, 1, self.sample_rate_hz);
        self.drain(out);
    }

    #[inline(never)]
    pub(super) fn finish(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        self.push(samples, out);
        self.encoder.finish();
        self.drain(out);
    }

    #[inline(never)]
    fn drain(&mut self, out: &mut Vec<u8>) {
        while let Ok(frame) = self.encoder.next_packet() {
            if std::mem::replace(&mut self.has_skipped_tag, true) {
                out.extend_from_slice(&frame);
            }
        }
    }
}
