//! Opus without a container, a packet of 20 ms at a time, all with the same length.

use crate::audio::coded::OPUS_PACKET_BYTES;
use crate::audio::opus::Frames;
use opus_pure::{OpusEncoder, RateControl};

pub(crate) struct Opus {
    frames: Frames,
    /// Samples that the encoder delays, once there was any.
    delayed: usize,
}

impl Opus {
    pub(super) fn new(sample_rate_hz: u32) -> Opus {
        Opus { frames: Frames::new(sample_rate_hz, RateControl::Cbr), delayed: 0 }
    }

    pub(super) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        if !samples.is_empty() {
            self.delayed = self.frames.encoder().lookahead();
        }
        self.frames.push(samples, |encoder, frame| encode(encoder, frame, out));
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        // The encoder lags behind: silence moves the last samples out of it.
        let left = self.frames.pending() + std::mem::take(&mut self.delayed);
        for _ in 0..left.div_ceil(self.frames.length()) {
            self.frames.fill(|encoder, frame| encode(encoder, frame, out));
        }
    }
}

/// Appends the packet of a frame.
fn encode(encoder: &mut OpusEncoder, frame: &[i16], out: &mut Vec<u8>) {
    let begin = out.len();
    out.resize(begin + OPUS_PACKET_BYTES, 0);
    // Neither fails nor gives another length: the frame has its length, and the bit rate is constant.
    let length = encoder.encode_s16(frame, frame.len(), &mut out[begin..]);
    debug_assert_eq!(length.ok(), Some(OPUS_PACKET_BYTES));
}
