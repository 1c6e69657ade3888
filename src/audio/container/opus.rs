//! Opus in Ogg (RFC 7845), a packet of 20 ms at a time.

use opus_pure::{Application, MAX_PACKET_BYTES, OggOpusWriter, OpusEncoder, OpusHead};
use std::fmt;

/// Sample rates, in hertz, of the encoder and of this server.
pub(super) const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// Bits per second.
const BIT_RATE: i32 = 32_000;

/// Samples of a packet at 48,000 Hz, by which Ogg counts.
const PACKET_SAMPLES: u64 = 960;

/// Encodes one stream.
pub(super) struct Opus {
    encoder: OpusEncoder,
    /// `None` once it was finished.
    writer: Option<OggOpusWriter<Vec<u8>>>,
    /// Samples of a packet at the rate of the stream.
    frame: usize,
    /// Samples that do not fill a packet yet.
    pending: Vec<i16>,
    packet: Box<[u8]>,
    /// Length of the stream at 48,000 Hz, with the samples that a decoder skips at its start.
    length: u64,
}

impl fmt::Debug for Opus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opus")
    }
}

impl Opus {
    pub(super) fn new(sample_rate_hz: u32) -> Opus {
        let known = "the rate is one of Opus";
        let mut encoder = OpusEncoder::new(sample_rate_hz as i32, 1, Application::Voip).expect(known);
        encoder.bitrate_bps = BIT_RATE;
        let head = OpusHead::for_encoder(&encoder, sample_rate_hz);
        let length = u64::from(head.pre_skip);
        let mut writer = OggOpusWriter::new(Vec::new(), head).expect("memory takes everything");
        // A page for each packet: what is encoded leaves at once.
        writer.set_page_target(1);
        Opus {
            encoder,
            writer: Some(writer),
            frame: sample_rate_hz as usize / 50,
            pending: Vec::new(),
            packet: vec![0; MAX_PACKET_BYTES].into(),
            length,
        }
    }

    pub(super) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        let values = samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        self.pending.extend(values);
        self.length += (samples.len() as u64 / 2) * PACKET_SAMPLES / self.frame as u64;
        let mut taken = 0;
        while self.pending.len() - taken >= self.frame {
            let _ = self.encode(taken, PACKET_SAMPLES);
            taken += self.frame;
        }
        self.pending.drain(..taken);
        if let Some(written) = self.writer.as_mut().and_then(OggOpusWriter::get_mut) {
            out.append(written);
        }
    }

    pub(super) fn finish(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        self.push(samples, out);
        // The encoder lags behind: silence moves the last samples out of it.
        while let Some(left) = self.left().filter(|left| *left > 0) {
            self.pending.resize(self.frame, 0);
            let encoded = self.encode(0, left.min(PACKET_SAMPLES));
            self.pending.clear();
            if encoded.is_none() {
                break;
            }
        }
        if let Some(Ok(mut written)) = self.writer.take().map(OggOpusWriter::finish) {
            out.append(&mut written);
        }
    }

    /// Samples of the stream that no packet has yet, at 48,000 Hz.
    fn left(&self) -> Option<u64> {
        let written = self.writer.as_ref()?.granule();
        Some(self.length.saturating_sub(written.unsigned_abs()))
    }

    /// Writes a packet of the pending samples from `at` on, which counts as so many samples.
    /// `None` if that failed, which it does not: the frame has its length, and memory takes everything.
    fn encode(&mut self, at: usize, samples: u64) -> Option<()> {
        let frame = &self.pending[at..at + self.frame];
        let length = self.encoder.encode_s16(frame, self.frame, &mut self.packet).ok()?;
        let packet = self.packet.get(..length.max(1))?;
        self.writer.as_mut()?.write_packet_with_duration(packet, samples as u32).ok()
    }
}
