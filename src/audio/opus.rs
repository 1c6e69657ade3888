//! Encoding of Opus, 20 ms at a time: for containers and for sessions.

use super::coded::{OPUS_BIT_RATE, OPUS_PACKETS_PER_SEC};
use opus_pure::{Application, OpusEncoder, RateControl};

/// An encoder that takes samples in pieces.
pub(super) struct Frames {
    encoder: OpusEncoder,
    /// Samples of a frame.
    length: usize,
    /// Samples that do not fill a frame yet.
    pending: Vec<i16>,
}

impl Frames {
    /// Creates an encoder for one of [`OPUS_RATES`](super::coded::OPUS_RATES).
    pub(super) fn new(sample_rate_hz: u32, rate_control: RateControl) -> Frames {
        let known = "the rate is one of Opus";
        let mut encoder = OpusEncoder::new(sample_rate_hz as i32, 1, Application::Voip).expect(known);
        encoder.rate_control = rate_control;
        encoder.bitrate_bps = OPUS_BIT_RATE;
        let length = (sample_rate_hz / OPUS_PACKETS_PER_SEC) as usize;
        Frames { encoder, length, pending: Vec::with_capacity(2 * length) }
    }

    pub(super) fn encoder(&self) -> &OpusEncoder {
        &self.encoder
    }

    /// Samples of a frame.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Samples that do not fill a frame yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes whole samples, signed 16 bit in little endian. Calls `encode` with each frame that is complete.
    pub(super) fn push(&mut self, samples: &[u8], mut encode: impl FnMut(&mut OpusEncoder, &[i16])) {
        let values = samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        self.pending.extend(values);
        let frames = self.pending.chunks_exact(self.length);
        let taken = self.pending.len() - frames.remainder().len();
        frames.for_each(|frame| encode(&mut self.encoder, frame));
        self.pending.drain(..taken);
    }

    /// Calls `encode` with the pending samples, filled up with silence.
    pub(super) fn fill<R>(&mut self, encode: impl FnOnce(&mut OpusEncoder, &[i16]) -> R) -> R {
        self.pending.resize(self.length, 0);
        let encoded = encode(&mut self.encoder, &self.pending);
        self.pending.clear();
        encoded
    }
}
