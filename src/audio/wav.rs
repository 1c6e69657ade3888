//! WAV files (RIFF/WAVE): writes their headers, and reads them as a stream.
//!
//! [`Reader`] takes audio in pieces, cut anywhere, and gives the samples in it. It accepts what
//! engines produce: unknown lengths, headers in the middle of samples, and raw samples without a
//! header. It buffers nothing; its caller keeps the bytes that were not read yet.

use super::{Encoding, Format, SampleEncoding, SourceFormat};
use std::fmt;

/// Sample formats of a WAV (RFC 2361, appendix A).
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
/// The same for encodings of frames.
const MP3: u16 = 0x55;
const OPUS: u16 = 0x704f;

/// Sample format that stands in an extension of the `fmt ` chunk (RFC 2361, appendix A).
const EXTENSIBLE: u16 = 0xfffe;

/// Length of the fixed start of a WAV: `RIFF`, a length, and `WAVE`.
const START: usize = 12;

/// Length of the start of a WAV in the middle of other audio: the name of its first chunk is checked
/// too.
const INNER_START: usize = START + 4;

/// Most bytes in front of the samples: titles, and at worst a picture.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Longest `fmt ` chunk. The known ones have at most 50 bytes.
const MAX_FMT_BYTES: usize = 1_024;

/// Smallest length of samples that is taken for unknown. It stands for hours of speech.
///
/// A program that writes into a pipe does not know the length, and writes 0, 0xFFFFFFFF, or the most
/// that some reader accepts.
const UNKNOWN_LENGTH: u32 = 0x1000_0000;

/// Returns the header of a WAV file, which stands in front of the samples: 44 bytes for PCM, 58 for
/// µ-law and A-law.
///
/// `data_bytes` is the length of the samples, or [`u32::MAX`] if it is not known yet, as in a pipe:
/// readers then read to the end. [`wav_padding`] has to follow the samples, unless their length is not
/// known.
///
/// Few readers accept [frames](Encoding::is_coded) in a WAV: mp3 needs no header at all, and Opus belongs in Ogg.
pub fn wav_header(format: Format, data_bytes: u32) -> Vec<u8> {
    let sample = format.encoding.bytes_per_sample() as u16;
    let tag = match format.encoding {
        Encoding::PcmS16le => PCM,
        Encoding::MuLaw => MULAW,
        Encoding::ALaw => ALAW,
        Encoding::Mp3 => MP3,
        Encoding::Opus => OPUS,
    };
    let mut fmt = Vec::with_capacity(18);
    fmt.extend(tag.to_le_bytes());
    fmt.extend(1u16.to_le_bytes()); // channels
    fmt.extend(format.sample_rate_hz.to_le_bytes());
    fmt.extend((format.byte_rate() as u32).to_le_bytes());
    fmt.extend(sample.to_le_bytes()); // bytes of one sample of all channels
    fmt.extend((sample * 8).to_le_bytes());

    let mut chunks = Vec::with_capacity(58);
    chunks.extend(*b"WAVE");
    if tag == PCM {
        chunk(&mut chunks, *b"fmt ", &fmt);
    } else {
        // Other formats give the length of their extension, here 0, and the number of samples.
        fmt.extend(0u16.to_le_bytes());
        chunk(&mut chunks, *b"fmt ", &fmt);
        let samples = if data_bytes == u32::MAX { u32::MAX } else { data_bytes / u32::from(sample) };
        chunk(&mut chunks, *b"fact", &samples.to_le_bytes());
    }
    chunks.extend(*b"data");
    chunks.extend(data_bytes.to_le_bytes());

    let riff_bytes = (chunks.len() as u32).saturating_add(data_bytes).saturating_add(data_bytes % 2);
    let mut header = Vec::with_capacity(58);
    header.extend(*b"RIFF");
    header.extend(if data_bytes == u32::MAX { u32::MAX } else { riff_bytes }.to_le_bytes());
    header.extend(chunks);
    header
}

/// Returns the bytes that follow `data_bytes` of samples: a zero byte after an odd number of bytes. It
/// counts for the length of the file, and not for the length of the samples.
///
/// In a pipe it must be omitted: a reader that does not know the length would play it.
pub fn wav_padding(data_bytes: u64) -> &'static [u8] {
    if data_bytes % 2 == 1 { &[0] } else { &[] }
}

/// Appends one chunk of a RIFF file: name, length and content.
fn chunk(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    out.extend(name);
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
}
/// Reads the samples of an engine's audio, which may be WAV files, raw samples, or both in turn.
///
/// The same bytes give the same samples, however they are cut.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// Format of the samples that follow, once it is known.
    format: Option<SourceFormat>,
    /// Bytes in front of the samples of this WAV.
    header_bytes: u64,
}

/// Meaning of the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A chunk of a WAV, in front of its samples.
    Header,
    /// This many bytes of a chunk that is not needed, then another chunk.
    Skip(u64),
    /// Samples: this many bytes, or all that follow.
    Samples(SourceFormat, Option<u64>),
    /// Bytes after the samples of a WAV. They are skipped up to the next WAV.
    Behind,
}

/// Result of one [`Reader::step`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Something without samples was read.
    Skipped,
    /// Samples of this format follow.
    Format(SourceFormat),
    /// Whole frames of samples.
    Samples(SourceFormat, &'a [u8]),
    /// More bytes are needed.
    Wait,
}

/// Reason why a WAV cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WavError {
    /// The `fmt ` chunk is missing, too short or too long.
    NoFormat,
    /// There are more than [`MAX_HEADER_BYTES`] in front of the samples.
    HeaderTooLong,
    /// The samples have this format and this number of bits.
    Unsupported(u16, u16),
    /// The rate or the number of channels is out of range.
    OutOfRange(SourceFormat),
    /// The size of a block is this, but the format implies another one.
    BlockSize(u16, SourceFormat),
    /// The audio ended inside a header.
    EndsInHeader,
    /// The audio ended this many bytes too early.
    EndsEarly(u64),
}

impl fmt::Display for WavError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WavError::NoFormat => f.write_str("its WAV header does not describe the samples"),
            WavError::HeaderTooLong => {
                write!(f, "its WAV header is too long (limit {MAX_HEADER_BYTES} bytes)")
            }
            WavError::Unsupported(format, bits) => write!(
                f,
                "its WAV has samples of format {format} with {bits} bits, which is not supported; use \
                 linear PCM of 16 bits"
            ),
            WavError::OutOfRange(format) => write!(
                f,
                "it has {} channels at {} Hz (limits: 1 to 16 channels, 1000 to 384000 Hz)",
                format.channels, format.sample_rate_hz
            ),
            WavError::BlockSize(block, format) => write!(
                f,
                "its WAV header contradicts itself: blocks of {block} bytes for frames of {} bytes",
                format.frame_bytes()
            ),
            WavError::EndsInHeader => f.write_str("it ended inside its WAV header"),
            WavError::EndsEarly(missing) => {
                write!(f, "it ended {missing} bytes before the end that its WAV header gives")
            }
        }
    }
}

impl Reader {
    /// Creates a reader of audio that begins with raw samples.
    pub(crate) fn raw(format: SourceFormat) -> Reader {
        Reader { state: State::Samples(format, None), format: Some(format), header_bytes: 0 }
    }

    /// Creates a reader of audio that begins with a WAV, and reads its start. `None` if `rest` begins
    /// with something else, or is shorter than the start of a WAV.
    pub(crate) fn wav(rest: &mut &[u8]) -> Option<Reader> {
        if rest.len() < START || !may_be_wav(&rest[..START]) {
            return None;
        }
        let mut reader = Reader { state: State::Header, format: None, header_bytes: 0 };
        reader.enter(rest);
        Some(reader)
    }

    /// Reads one thing, and removes its bytes from `rest`. To be called until it returns
    /// [`Step::Wait`], and then with the bytes that are left and more. `at_end` says that no more
    /// follow.
    ///
    /// # Errors
    /// The WAV is damaged or of an unsupported kind. The reader must not be used any more.
    pub(crate) fn step<'a>(&mut self, rest: &mut &'a [u8], at_end: bool) -> Result<Step<'a>, WavError> {
        match self.state {
            State::Header => self.header(rest),
            State::Skip(left) => {
                let skipped = left.min(rest.len() as u64);
                *rest = &rest[skipped as usize..];
                self.state = if skipped == left { State::Header } else { State::Skip(left - skipped) };
                Ok(if skipped == left { Step::Skipped } else { Step::Wait })
            }
            State::Samples(format, left) => Ok(self.samples(rest, format, left, at_end)),
            State::Behind => {
                let next = find_wav(rest, START);
                *rest = &rest[next.unwrap_or_else(|| bytes_before_wav(rest, START))..];
                if next.is_none() {
                    return Ok(Step::Wait);
                }
                self.enter(rest);
                Ok(Step::Skipped)
            }
        }
    }

    /// Checks that the audio may end here. A part of a frame that is missing at the end cannot be heard.
    pub(crate) fn check_end(&self) -> Result<(), WavError> {
        match self.state {
            State::Header | State::Skip(_) => Err(WavError::EndsInHeader),
            State::Samples(format, Some(missing)) if missing >= format.frame_bytes() as u64 => {
                Err(WavError::EndsEarly(missing))
            }
            State::Samples(..) | State::Behind => Ok(()),
        }
    }

    /// Removes the start of a WAV from `rest`.
    fn enter(&mut self, rest: &mut &[u8]) {
        *rest = &rest[START..];
        *self = Reader { state: State::Header, format: None, header_bytes: 0 };
    }

    /// Reads one chunk in front of the samples.
    fn header<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Step<'a>, WavError> {
        let Some((&[a, b, c, d, l0, l1, l2, l3], content)) = rest.split_first_chunk::<8>() else {
            return Ok(Step::Wait);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        // Chunks begin at even offsets.
        let padded = u64::from(length) + u64::from(length % 2);
        self.header_bytes += 8 + padded;
        match &[a, b, c, d] {
            b"fmt " => {
                let length = length as usize;
                if !(16..=MAX_FMT_BYTES).contains(&length) {
                    return Err(WavError::NoFormat);
                }
                if content.len() < length {
                    // The chunk is read again when more has arrived.
                    self.header_bytes -= 8 + padded;
                    return Ok(Step::Wait);
                }
                self.format = Some(source_format(&content[..length])?);
                *rest = &content[length..];
                self.state = State::Skip(padded - length as u64);
                Ok(Step::Skipped)
            }
            b"data" => {
                let format = self.format.ok_or(WavError::NoFormat)?;
                *rest = content;
                let is_known = length > 0 && length < UNKNOWN_LENGTH;
                self.state = State::Samples(format, is_known.then_some(length.into()));
                Ok(Step::Format(format))
            }
            _ if self.header_bytes > MAX_HEADER_BYTES => Err(WavError::HeaderTooLong),
            _ => {
                *rest = content;
                self.state = State::Skip(padded);
                Ok(Step::Skipped)
            }
        }
    }

    /// Reads samples, up to a WAV in the middle of them.
    fn samples<'a>(
        &mut self,
        rest: &mut &'a [u8],
        format: SourceFormat,
        left: Option<u64>,
        at_end: bool,
    ) -> Step<'a> {
        let wanted = left.map_or(rest.len(), |left| usize::try_from(left).unwrap_or(usize::MAX));
        let inner = find_wav(rest, INNER_START).filter(|&at| at < wanted);
        // At the end, the beginning of a WAV's start is audio: the rest of it never arrives.
        let before = if at_end { rest.len() } else { bytes_before_wav(rest, INNER_START) };
        let audio = inner.unwrap_or(before).min(wanted);
        let frames = &rest[..audio - audio % format.frame_bytes()];
        // A part of a frame that nothing can follow is dropped.
        let is_over = inner.is_some() || left.is_some() && audio == wanted || at_end;
        let used = if is_over { audio } else { frames.len() };
        *rest = &rest[used..];
        let left = left.map(|left| left - used as u64);
        self.state = if left == Some(0) { State::Behind } else { State::Samples(format, left) };
        if inner.is_some() {
            self.enter(rest);
        } else if used == 0 && left != Some(0) {
            return Step::Wait;
        }
        Step::Samples(format, frames)
    }
}

/// Reads the content of a `fmt ` chunk, which has at least 16 bytes.
fn source_format(fmt: &[u8]) -> Result<SourceFormat, WavError> {
    let short = |at: usize| fmt.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let sample_rate_hz = u32::from(short(4)) | u32::from(short(6)) << 16;
    let (channels, block, bits) = (short(2), short(12), short(14));
    let format = if short(0) == EXTENSIBLE { short(24) } else { short(0) };
    let encoding = match (format, bits) {
        (PCM, 8) => SampleEncoding::PcmU8,
        (PCM, 16) => SampleEncoding::PcmS16le,
        (PCM, 24) => SampleEncoding::PcmS24le,
        (PCM, 32) => SampleEncoding::PcmS32le,
        (FLOAT, 32) => SampleEncoding::PcmF32le,
        (FLOAT, 64) => SampleEncoding::PcmF64le,
        (ALAW, 8) => SampleEncoding::ALaw,
        (MULAW, 8) => SampleEncoding::MuLaw,
        _ => return Err(WavError::Unsupported(format, bits)),
    };
    let format = SourceFormat { encoding, sample_rate_hz, channels };
    if !format.is_valid() {
        return Err(WavError::OutOfRange(format));
    }
    match usize::from(block) == format.frame_bytes() {
        true => Ok(format),
        false => Err(WavError::BlockSize(block, format)),
    }
}

/// Position of the first WAV, as far as its first `length` bytes tell.
fn find_wav(bytes: &[u8], length: usize) -> Option<usize> {
    (0..=bytes.len().checked_sub(length)?).find(|&at| may_be_wav(&bytes[at..at + length]))
}

/// Number of bytes that no WAV can begin in, if the first `length` bytes of a WAV are known.
fn bytes_before_wav(bytes: &[u8], length: usize) -> usize {
    let first = bytes.len().saturating_sub(length - 1);
    (first..bytes.len()).find(|&at| may_be_wav(&bytes[at..])).unwrap_or(bytes.len())
}

/// True if a WAV may begin with these bytes.
///
/// RF64 is a WAV whose lengths have 64 bits. Its 32-bit lengths are all ones, which is unknown here
/// (EBU Tech 3306).
fn may_be_wav(bytes: &[u8]) -> bool {
    let matches = |name: &[u8; 4], at: usize| bytes.iter().skip(at).zip(name).all(|(a, b)| a == b);
    bytes.first() == Some(&b'R')
        && (matches(b"RIFF", 0) || matches(b"RF64", 0))
        && matches(b"WAVE", 8)
        && (bytes.len() <= START
            || matches(b"fmt ", START)
            || matches(b"JUNK", START)
            || matches(b"ds64", START))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(encoding: Encoding, sample_rate_hz: u32) -> Format {
        Format { encoding, sample_rate_hz }
    }

    #[test]
    fn a_wav_file_of_pcm_starts_with_44_bytes() {
        let header = wav_header(format(Encoding::PcmS16le, 16_000), 0x0102_0304);
        let expected = [
            b"RIFF\x28\x03\x02\x01WAVE".as_slice(),
            b"fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0",
            b"data\x04\x03\x02\x01",
        ];
        assert_eq!(header, expected.concat());
        assert_eq!(header.len(), 44);
    }

    #[test]
    fn a_wav_file_of_mu_law_or_a_law_starts_with_58_bytes() {
        for (encoding, tag) in [(Encoding::MuLaw, 7), (Encoding::ALaw, 6)] {
            // An odd number of samples: the zero byte after them counts for the file, not for the data.
            let header = wav_header(format(encoding, 8_000), 3);
            let expected = [
                b"RIFF\x36\0\0\0WAVE".as_slice(),
                b"fmt \x12\0\0\0",
                &[tag, 0],
                b"\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0",
                b"fact\x04\0\0\0\x03\0\0\0",
                b"data\x03\0\0\0",
            ];
            assert_eq!(header, expected.concat());
            assert_eq!(header.len(), 58);
        }
    }

    #[test]
    fn a_wav_file_has_the_lengths_of_its_header() {
        for encoding in [Encoding::PcmS16le, Encoding::MuLaw, Encoding::ALaw] {
            for samples in 0..6 {
                let data = vec![0x55; samples * encoding.bytes_per_sample()];
                let header = wav_header(format(encoding, 8_000), data.len() as u32);
                let file = [&header, &data, wav_padding(data.len() as u64)].concat();
                let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
                assert_eq!(u32_at(4), file.len() - 8, "{encoding:?}, {samples} samples");
                assert_eq!(file.len() % 2, 0, "{encoding:?}, {samples} samples");
                // Every chunk begins at an even byte, and the last one ends with the file.
                let mut at = START;
                while &file[at..at + 4] != b"data" {
                    at += 8 + u32_at(at + 4).next_multiple_of(2);
                }
                assert_eq!(u32_at(at + 4), data.len(), "{encoding:?}, {samples} samples");
                assert_eq!(at + 8 + data.len().next_multiple_of(2), file.len());
            }
        }
    }

    #[test]
    fn a_wav_file_of_unknown_length_says_so_everywhere() {
        for (encoding, lengths) in [(Encoding::PcmS16le, vec![4, 40]), (Encoding::MuLaw, vec![4, 46, 54])] {
            let header = wav_header(format(encoding, 8_000), u32::MAX);
            for at in lengths {
                assert_eq!(header[at..at + 4], [0xff; 4], "{encoding:?}, byte {at}");
            }
        }
        // The length is known, but the length of the file has no room for the header.
        let header = wav_header(format(Encoding::PcmS16le, 8_000), u32::MAX - 1);
        assert_eq!(header[4..8], [0xff; 4]);
        assert_eq!(header[40..44], [0xfe, 0xff, 0xff, 0xff]);
    }

    /// Reads audio that begins with a WAV: its format and its samples.
    fn read(mut rest: &[u8]) -> (Option<SourceFormat>, Vec<u8>, Result<(), WavError>) {
        let mut reader = Reader::wav(&mut rest).expect("a WAV");
        let (mut found, mut samples) = (None, Vec::new());
        loop {
            match reader.step(&mut rest, true) {
                Ok(Step::Skipped) => {}
                Ok(Step::Format(format)) => found = Some(format),
                Ok(Step::Samples(_, frames)) => samples.extend_from_slice(frames),
                Ok(Step::Wait) => return (found, samples, reader.check_end()),
                Err(error) => return (found, samples, Err(error)),
            }
        }
    }

    #[test]
    fn a_wav_that_was_written_is_read() {
        for (encoding, read_as) in [
            (Encoding::PcmS16le, SampleEncoding::PcmS16le),
            (Encoding::MuLaw, SampleEncoding::MuLaw),
            (Encoding::ALaw, SampleEncoding::ALaw),
        ] {
            let expected = SourceFormat { encoding: read_as, sample_rate_hz: 22_050, channels: 1 };
            for length in [4, 0, u32::MAX] {
                let file = [wav_header(format(encoding, 22_050), length), vec![1, 2, 3, 4]].concat();
                assert_eq!(read(&file), (Some(expected), vec![1, 2, 3, 4], Ok(())), "{length} bytes");
            }
            let file = [wav_header(format(encoding, 22_050), 6), vec![1, 2, 3, 4]].concat();
            assert_eq!(read(&file).2, Err(WavError::EndsEarly(2)));
        }
        let header = wav_header(format(Encoding::PcmS16le, 8_000), 2);
        for length in START..header.len() {
            assert_eq!(read(&header[..length]).2, Err(WavError::EndsInHeader), "{length} bytes");
        }
        assert!(Reader::wav(&mut &header[..START - 1]).is_none());
    }
}
