//! Frames of the encodings [`Encoding::CODED`], which every build knows: their length, and one of silence.
//!
//! Their bit rate is constant, and every frame of a format has the same length. So a count of bytes is a time, as it
//! is for samples, and everything that counts bytes of a stream works for them as well.

use super::{Encoding, Format};
use std::time::Duration;

/// Bits per second of Opus.
pub(super) const OPUS_BIT_RATE: i32 = 32_000;

/// Packets of Opus in a second: each is 20 ms long.
pub(super) const OPUS_PACKETS_PER_SEC: u32 = 50;

/// Length of every packet of Opus at a constant bit rate.
pub(super) const OPUS_PACKET_BYTES: usize = (OPUS_BIT_RATE as u32 / 8 / OPUS_PACKETS_PER_SEC) as usize;

/// Sample rates of Opus, in hertz, among those of this server.
pub(super) const OPUS_RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// Time by which Opus delays audio: 312 samples at 48,000 Hz.
const OPUS_DELAY: Duration = Duration::from_micros(6_500);

/// Samples of every frame of mp3.
pub(super) const MP3_FRAME_SAMPLES: u64 = 576;

/// Sample rates of mp3, in hertz: those of MPEG-2 and 2.5 at which all frames have the same length, and which the
/// encoder gives as a stream.
const MP3_RATES: [u32; 3] = [8_000, 16_000, 24_000];

/// Samples by which mp3 delays audio, those of the decoder included.
pub(super) const MP3_DELAY_SAMPLES: u32 = 1_057;

/// Bits per second of mp3, in thousands. Speech needs no more, and it leaves room on a line of 64 kbit/s.
pub(super) const fn mp3_kbps(sample_rate_hz: u32) -> u32 {
    if sample_rate_hz < 16_000 { 32 } else { 48 }
}

/// Length of every frame of mp3.
pub(super) const fn mp3_frame_bytes(sample_rate_hz: u32) -> usize {
    let rate = if sample_rate_hz == 0 { 1 } else { sample_rate_hz };
    let bytes = MP3_FRAME_SAMPLES as u32 / 8 * mp3_kbps(rate) * 1_000 / rate;
    if bytes == 0 { 1 } else { bytes as usize }
}

impl Encoding {
    /// Sample rates of an encoding of frames, in ascending order. Empty for one of samples, which has every rate.
    pub(crate) fn coded_rates(self) -> &'static [u32] {
        match self {
            Encoding::Mp3 => &MP3_RATES,
            Encoding::Opus => &OPUS_RATES,
            Encoding::PcmS16le | Encoding::MuLaw | Encoding::ALaw => &[],
        }
    }
}

impl Format {
    /// Time by which encoder and decoder delay audio. The first frames begin with as much silence.
    pub(crate) fn coding_delay(self) -> Duration {
        match self.encoding {
            Encoding::Mp3 => Duration::from_secs(MP3_DELAY_SAMPLES.into()) / self.sample_rate_hz.max(1),
            Encoding::Opus => OPUS_DELAY,
            Encoding::PcmS16le | Encoding::MuLaw | Encoding::ALaw => Duration::ZERO,
        }
    }
}

/// A packet of Opus that is 20 ms of silence, and independent of those around it: a frame of CELT whose only bit
/// says so, padded (RFC 6716 §3.2.5).
pub(crate) static OPUS_SILENCE: [u8; OPUS_PACKET_BYTES] = {
    let mut packet = [0; OPUS_PACKET_BYTES];
    // Full band, 20 ms, one channel, any number of frames; one frame, padded by as many bytes as are left.
    packet[0] = 0xfb;
    packet[1] = 0x41;
    packet[2] = OPUS_PACKET_BYTES as u8 - 5;
    packet[3] = 0xff;
    packet[4] = 0xfe;
    packet
};

/// Frames of mp3 that are silence, for each of [`MP3_RATES`]: a header, and no data.
pub(crate) static MP3_SILENCE: [&[u8]; 3] =
    [&mp3_silence::<288>(8_000), &mp3_silence::<216>(16_000), &mp3_silence::<144>(24_000)];

const fn mp3_silence<const BYTES: usize>(sample_rate_hz: u32) -> [u8; BYTES] {
    assert!(BYTES == mp3_frame_bytes(sample_rate_hz));
    let mut frame = [0; BYTES];
    // Layer III without a checksum: MPEG-2.5 at 8,000 Hz, else MPEG-2.
    (frame[0], frame[1]) = (0xff, if sample_rate_hz < 16_000 { 0xe3 } else { 0xf3 });
    // Numbers of the bit rate (32, 48 kbit/s) and of the sample rate in the tables of ISO/IEC 13818-3.
    frame[2] = match sample_rate_hz {
        8_000 => 4 << 4 | 2 << 2,
        16_000 => 6 << 4 | 2 << 2,
        _ => 6 << 4 | 1 << 2,
    };
    // One channel, an original.
    frame[3] = 0xc4;
    frame
}

/// Returns a frame of silence in an encoding of frames; empty for other formats.
pub(crate) fn silence(format: Format) -> &'static [u8] {
    match format.encoding {
        Encoding::Opus => &OPUS_SILENCE,
        Encoding::Mp3 => {
            let at = MP3_RATES.iter().position(|rate| *rate == format.sample_rate_hz);
            at.map_or(&[], |at| MP3_SILENCE[at])
        }
        Encoding::PcmS16le | Encoding::MuLaw | Encoding::ALaw => &[],
    }
}

/// Returns the frames in front of a sentence that is not the first. An encoder of Opus begins anew with each
/// sentence, and so has its decoder: between two that end and begin loud it would be wrong by far. A packet of
/// silence in another mode sees to that (RFC 6716 §4.5.2). Frames of mp3 are independent of those before.
pub(crate) fn lead(format: Format) -> &'static [u8] {
    match format.encoding {
        Encoding::Opus => &OPUS_SILENCE,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_of_silence_is_as_long_as_every_other() {
        for encoding in Encoding::CODED {
            for &sample_rate_hz in encoding.coded_rates() {
                let format = Format { encoding, sample_rate_hz };
                assert_eq!(silence(format).len(), format.unit_bytes(), "{format:?}");
                assert!(Format::SAMPLE_RATES.contains(&sample_rate_hz));
            }
        }
        assert!(silence(Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 }).is_empty());
        assert!(silence(Format { encoding: Encoding::Mp3, sample_rate_hz: 22_050 }).is_empty());
    }
}
