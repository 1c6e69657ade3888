//! Opus without a container, a packet of 20 ms at a time, all with the same length.

use crate::audio::coded::{OPUS_PACKET_BYTES, OPUS_PACKETS_PER_SEC};
use opus_pure::{Application, OpusEncoder, RateControl};

pub(crate) struct Opus {
    encoder: OpusEncoder,
    /// Samples of a packet.
    frame: usize,
    /// Samples that do not fill a packet yet.
    pending: Vec<i16>,
    /// Samples that are still in the encoder or pending: those that it delays, once there was any.
    delayed: usize,
}

impl Opus {
    pub(super) fn new(sample_rate_hz: u32) -> Opus {
        let known = "the rate is one of Opus";
        let mut encoder = OpusEncoder::new(sample_rate_hz as i32, 1, Application::Voip).expect(known);
        encoder.rate_control = RateControl::Cbr;
        encoder.bitrate_bps = OPUS_PACKET_BYTES as i32 * 8 * OPUS_PACKETS_PER_SEC as i32;
        let frame = (sample_rate_hz / OPUS_PACKETS_PER_SEC) as usize;
        Opus { encoder, frame, pending: Vec::with_capacity(2 * frame), delayed: 0 }
    }

    pub(super) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        if !samples.is_empty() {
            self.delayed = self.encoder.lookahead();
        }
        let values = samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        self.pending.extend(values);
        let mut taken = 0;
        while self.pending.len() - taken >= self.frame {
            self.encode(taken, out);
            taken += self.frame;
        }
        self.pending.drain(..taken);
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        // The encoder lags behind: silence moves the last samples out of it.
        let whole = (self.pending.len() + self.delayed).next_multiple_of(self.frame);
        self.pending.resize(whole, 0);
        (0..whole).step_by(self.frame).for_each(|at| self.encode(at, out));
        self.pending.clear();
        self.delayed = 0;
    }

    /// Appends a packet of the pending samples from `at` on.
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        let frame = &self.pending[at..at + self.frame];
        let begin = out.len();
        out.resize(begin + OPUS_PACKET_BYTES, 0);
        // Neither fails nor gives another length: the frame has its length, and the bit rate is constant.
        let length = self.encoder.encode_s16(frame, self.frame, &mut out[begin..]);
        debug_assert_eq!(length.ok(), Some(OPUS_PACKET_BYTES));
    }
}
