//! Opus in Ogg (RFC 7845), a packet of 20 ms at a time.

use crate::audio::opus::Frames;
use opus_pure::{MAX_PACKET_BYTES, OggOpusWriter, OpusEncoder, OpusHead, RateControl};
use std::fmt;

/// Samples of a packet at 48,000 Hz, by which Ogg counts.
const PACKET_SAMPLES: u64 = 960;

/// Encodes one stream.
pub(super) struct Opus {
    frames: Frames,
    pages: Pages,
    /// Length of the stream at 48,000 Hz, with the samples that a decoder skips at its start.
    length: u64,
}

/// The pages of the stream.
struct Pages {
    /// `None` once the stream was finished.
    writer: Option<OggOpusWriter<Vec<u8>>>,
    packet: Box<[u8]>,
}

impl fmt::Debug for Opus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opus")
    }
}

impl Opus {
    pub(super) fn new(sample_rate_hz: u32) -> Opus {
        let frames = Frames::new(sample_rate_hz, RateControl::ConstrainedVbr);
        let head = OpusHead::for_encoder(frames.encoder(), sample_rate_hz);
        let length = u64::from(head.pre_skip);
        let mut writer = OggOpusWriter::new(Vec::new(), head).expect("memory takes everything");
        // A page for each packet: what is encoded leaves at once.
        writer.set_page_target(1);
        let pages = Pages { writer: Some(writer), packet: vec![0; MAX_PACKET_BYTES].into() };
        Opus { frames, pages, length }
    }

    pub(super) fn push(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        self.length += (samples.len() as u64 / 2) * PACKET_SAMPLES / self.frames.length() as u64;
        self.frames.push(samples, |encoder, frame| _ = self.pages.write(encoder, frame, PACKET_SAMPLES));
        if let Some(written) = self.pages.writer.as_mut().and_then(OggOpusWriter::get_mut) {
            out.append(written);
        }
    }

    pub(super) fn finish(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        self.push(samples, out);
        // The encoder lags behind: silence moves the last samples out of it.
        while let Some(left) = self.left().filter(|left| *left > 0) {
            let samples = left.min(PACKET_SAMPLES);
            if self.frames.fill(|encoder, frame| self.pages.write(encoder, frame, samples)).is_none() {
                break;
            }
        }
        if let Some(Ok(mut written)) = self.pages.writer.take().map(OggOpusWriter::finish) {
            out.append(&mut written);
        }
    }

    /// Samples of the stream that no packet has yet, at 48,000 Hz.
    fn left(&self) -> Option<u64> {
        let written = self.pages.writer.as_ref()?.granule();
        Some(self.length.saturating_sub(written.unsigned_abs()))
    }
}

impl Pages {
    /// Writes the packet of a frame, which counts as so many samples. `None` if that failed, which it does not: the
    /// frame has its length, and memory takes everything.
    fn write(&mut self, encoder: &mut OpusEncoder, frame: &[i16], samples: u64) -> Option<()> {
        let length = encoder.encode_s16(frame, frame.len(), &mut self.packet).ok()?;
        let packet = self.packet.get(..length.max(1))?;
        self.writer.as_mut()?.write_packet_with_duration(packet, samples as u32).ok()
    }
}
