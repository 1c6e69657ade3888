//! What the audio of an engine that nobody here wrote goes through before it is heard.
//!
//! A program or a service may give anything: a WAV or bare samples, half a sample at the end,
//! several WAVs in a row, silence, or a page of HTML that says why there is no audio. A [`Guard`]
//! takes the bytes as they arrive, cut anywhere, and gives samples to a [`Sink`], or a sentence
//! that says what came instead. It knows neither processes nor HTTP, and holds back a bounded
//! amount however much comes.

use super::{Sink, SynthesisError, Utterance};
use crate::audio::level::{Fade, LEAD_MS, Level, TAIL_MS, Trim};

/// First bytes that are looked at to tell samples from something else: 3 ms of most audio.
const SNIFFED: usize = 128;

/// What a WAV begins with, as far as it is always the same: its name, a length, and the name of
/// what it holds. In the middle of other audio, the name of its first chunk has to follow.
const WAV: usize = 12;
const INNER_WAV: usize = WAV + 4;

/// The most that may stand in a WAV in front of its samples: titles, and at worst a picture.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// The longest description of samples that a WAV may hold. Every known one has at most 50 bytes.
const MAX_FMT_BYTES: usize = 1_024;

/// From this length on, hours of speech, a WAV's length is no length: who writes into a pipe does
/// not know it, and writes 0, 0xFFFFFFFF, or the most that some program takes.
const UNKNOWN_LENGTH: u32 = 0x1000_0000;

/// The longest that a sentence may take to say: so much, and so much more for each character. One
/// digit, or one character of Chinese, spoken at half the speed takes less than that.
const MOST_SECONDS: u64 = 30;
const MOST_SECONDS_PER_CHARACTER: u64 = 1;

/// How samples are written, where a setting or a header says it. There are more ways here than a
/// listener can ask for ([`Encoding`](crate::audio::Encoding)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleEncoding {
    /// Linear, unsigned 8 bit, with 128 for silence.
    PcmU8,
    /// Linear, signed 16 bit, little endian.
    PcmS16le,
    /// Linear, signed 16 bit, big endian, as in `audio/L16` (RFC 2586 §2).
    PcmS16be,
    /// Linear, signed 24 bit, little endian.
    PcmS24le,
    /// Linear, signed 32 bit, little endian.
    PcmS32le,
    /// Floating point of 32 bit, little endian, from −1 to 1.
    PcmF32le,
    /// Floating point of 64 bit, little endian, from −1 to 1.
    PcmF64le,
    /// µ-law (ITU-T G.711), one byte.
    MuLaw,
    /// A-law (ITU-T G.711), one byte.
    ALaw,
}

impl SampleEncoding {
    /// Every encoding there is.
    pub const ALL: [SampleEncoding; 9] = [
        SampleEncoding::PcmU8,
        SampleEncoding::PcmS16le,
        SampleEncoding::PcmS16be,
        SampleEncoding::PcmS24le,
        SampleEncoding::PcmS32le,
        SampleEncoding::PcmF32le,
        SampleEncoding::PcmF64le,
        SampleEncoding::MuLaw,
        SampleEncoding::ALaw,
    ];

    /// The name in settings, such as `pcm_s16le`.
    pub fn name(self) -> &'static str {
        match self {
            SampleEncoding::PcmU8 => "pcm_u8",
            SampleEncoding::PcmS16le => "pcm_s16le",
            SampleEncoding::PcmS16be => "pcm_s16be",
            SampleEncoding::PcmS24le => "pcm_s24le",
            SampleEncoding::PcmS32le => "pcm_s32le",
            SampleEncoding::PcmF32le => "pcm_f32le",
            SampleEncoding::PcmF64le => "pcm_f64le",
            SampleEncoding::MuLaw => "mulaw",
            SampleEncoding::ALaw => "alaw",
        }
    }

    /// The encoding of this name, if there is one.
    pub fn from_name(name: &str) -> Option<SampleEncoding> {
        SampleEncoding::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bytes that one sample takes.
    pub fn bytes_per_sample(self) -> usize {
        match self {
            SampleEncoding::PcmU8 | SampleEncoding::MuLaw | SampleEncoding::ALaw => 1,
            SampleEncoding::PcmS16le | SampleEncoding::PcmS16be => 2,
            SampleEncoding::PcmS24le => 3,
            SampleEncoding::PcmS32le | SampleEncoding::PcmF32le => 4,
            SampleEncoding::PcmF64le => 8,
        }
    }

    /// The sample that these bytes stand for; there are [`bytes_per_sample`](Self::bytes_per_sample)
    /// of them. What is finer than 16 bits is rounded down.
    fn decode(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (SampleEncoding::PcmU8, &[byte]) => (i16::from(byte) - 128) << 8,
            (SampleEncoding::PcmS16be, &[high, low]) => i16::from_be_bytes([high, low]),
            (
                SampleEncoding::PcmS16le | SampleEncoding::PcmS24le | SampleEncoding::PcmS32le,
                &[.., low, high],
            ) => i16::from_le_bytes([low, high]),
            (SampleEncoding::PcmF32le, &[a, b, c, d]) => {
                from_float(f64::from(f32::from_le_bytes([a, b, c, d])))
            }
            (SampleEncoding::PcmF64le, &[a, b, c, d, e, f, g, h]) => {
                from_float(f64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            (SampleEncoding::MuLaw, &[byte]) => from_mu_law(byte),
            (SampleEncoding::ALaw, &[byte]) => from_a_law(byte),
            _ => 0,
        }
    }
}

/// Full scale is 1; what is beyond is clipped, and what is no number is silence.
fn from_float(sample: f64) -> i16 {
    (sample * 32_768.0) as i16
}

/// The middle of a step of µ-law (ITU-T G.711, table 2a), on a scale of 16 bits.
fn from_mu_law(byte: u8) -> i16 {
    let bits = i16::from(!byte);
    let magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits >> 4) & 0x07)) - 0x84;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The middle of a step of A-law (ITU-T G.711, table 1a), on a scale of 16 bits.
fn from_a_law(byte: u8) -> i16 {
    let bits = i16::from(byte ^ 0x55);
    let (exponent, mantissa) = ((bits >> 4) & 0x07, (bits & 0x0f) << 4);
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

/// What bare samples are, that have no header which says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// How samples are written.
    pub encoding: SampleEncoding,
    /// Samples per second and channel, from 1,000 to 384,000.
    pub sample_rate_hz: u32,
    /// Channels, whose samples take turns; from 1 to 16. More than one are mixed.
    pub channels: u16,
}

impl Shape {
    /// Bytes of one sample of every channel.
    fn frame_bytes(self) -> usize {
        self.encoding.bytes_per_sample() * usize::from(self.channels)
    }

    /// # Errors
    /// It is out of bounds, and hence damaged.
    fn check(self) -> Result<Shape, SynthesisError> {
        match (1_000..=384_000).contains(&self.sample_rate_hz) && (1..=16).contains(&self.channels) {
            true => Ok(self),
            false => Err(SynthesisError::failed(format!(
                "The speech engine's audio claims {} channels of {} samples a second, which is no speech.",
                self.channels, self.sample_rate_hz
            ))),
        }
    }
}

/// What is done to the audio of an engine, so that it fits in with that of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Treatment {
    /// Silence that is kept in front of a sentence, in milliseconds, at most 2,000. What is below
    /// −50 dBFS is silence. Default: 20.
    pub lead_ms: u16,
    /// Silence that is kept behind a sentence, in milliseconds, at most 2,000: the pause before the
    /// next one. Of a silence of more than 2 s at the end, the surplus is heard too. Default: 120.
    pub tail_ms: u16,
    /// How much louder it is made, in dB, from −60 to 60. No sample exceeds −1 dBFS whatever this
    /// is: what would is brought down, together with what is around it. Default: 0.
    pub gain_db: f32,
}

impl Default for Treatment {
    fn default() -> Treatment {
        Treatment { lead_ms: LEAD_MS as u16, tail_ms: TAIL_MS as u16, gain_db: 0.0 }
    }
}

/// The way of one utterance's audio from a foreign engine to a [`Sink`].
///
/// - A WAV is read by its header: any rate, linear of 8 to 32 bits, floating point, µ-law, A-law,
///   any number of channels, and of a length that is known or not. What stands behind its samples
///   is no audio, unless it is another WAV. Headers in the middle of samples are removed.
/// - Anything else is bare samples, if it is known of what [`Shape`] they would be.
/// - Text and files of other kinds are an error, as is a sentence that is far longer than anybody
///   would take to say it, or a WAV that ends before its length does.
/// - Silence around the sentence is cut as the [`Treatment`] says, and it fades in and out over
///   5 ms. Audio of nothing but silence is none.
///
/// The same bytes give the same samples, however they are cut.
pub struct Guard {
    /// What samples are that have no header.
    bare: Option<Shape>,
    treatment: Treatment,
    /// The text's characters.
    characters: u64,
    state: State,
    /// Bytes that are yet to be understood.
    pending: Vec<u8>,
    /// What the samples now are.
    shape: Option<Shape>,
    /// Bytes that stood in front of the samples of this WAV.
    header_bytes: u64,
    path: Option<Path>,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first ones, of which nothing is known.
    Unknown,
    /// A chunk of a WAV, in front of its samples.
    Header,
    /// So many bytes of a header that nobody needs, and then another chunk.
    Skip(u64),
    /// Samples: so many bytes of them, or all that come.
    Samples(Option<u64>),
    /// Behind the samples of a WAV.
    Behind,
    /// Nothing more is wanted.
    Over,
}

/// Whether there was enough to go on with.
#[derive(PartialEq, Eq)]
enum Step {
    Done,
    Wait,
}

/// What samples go through, once their rate is known.
struct Path {
    sample_rate_hz: u32,
    trim: Trim,
    level: Level,
    fade: Fade,
    /// Samples that may yet come.
    left: u64,
    // Kept for their memory.
    decoded: Vec<i16>,
    trimmed: Vec<i16>,
    levelled: Vec<i16>,
    faded: Vec<i16>,
}

impl Path {
    fn new(sample_rate_hz: u32, characters: u64, treatment: Treatment) -> Path {
        let seconds = MOST_SECONDS + characters.saturating_mul(MOST_SECONDS_PER_CHARACTER);
        Path {
            sample_rate_hz,
            trim: Trim::keeping(sample_rate_hz, treatment.lead_ms.into(), treatment.tail_ms.into()),
            level: Level::new(sample_rate_hz, 10f32.powf(treatment.gain_db / 20.0)),
            fade: Fade::new(sample_rate_hz),
            left: seconds.saturating_mul(sample_rate_hz.into()),
            decoded: Vec::new(),
            trimmed: Vec::new(),
            levelled: Vec::new(),
            faded: Vec::new(),
        }
    }

    /// Takes whole frames.
    fn push(&mut self, bytes: &[u8], shape: Shape, sink: &mut Sink) -> Result<(), SynthesisError> {
        let sample = shape.encoding.bytes_per_sample();
        let decode = |bytes: &[u8]| shape.encoding.decode(bytes);
        self.decoded.clear();
        match shape.channels {
            1 => self.decoded.extend(bytes.chunks_exact(sample).map(decode)),
            channels => self.decoded.extend(bytes.chunks_exact(shape.frame_bytes()).map(|frame| {
                let sum: i32 = frame.chunks_exact(sample).map(|bytes| i32::from(decode(bytes))).sum();
                (sum / i32::from(channels)) as i16
            })),
        }
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.decoded.len());
        let endless = fits < self.decoded.len();
        self.decoded.truncate(fits);
        self.left -= fits as u64;
        self.trimmed.clear();
        self.trim.push(&self.decoded, &mut self.trimmed);
        self.levelled.clear();
        self.level.push(&self.trimmed, &mut self.levelled);
        self.faded.clear();
        self.fade.push(&self.levelled, &mut self.faded);
        // Nobody may listen any more, which whoever drains the sink learns.
        let _ = sink.push(&self.faded);
        match endless {
            false => Ok(()),
            true if self.trim.heard() => Err(SynthesisError::failed(
                "The speech engine gives far more audio than this sentence takes to say.",
            )),
            true => Err(silence()),
        }
    }

    /// Gives the rest; says whether there was anything to hear.
    fn finish(mut self, sink: &mut Sink) -> bool {
        self.levelled.clear();
        self.level.finish(&mut self.levelled);
        self.faded.clear();
        self.fade.push(&self.levelled, &mut self.faded);
        self.fade.finish(&mut self.faded);
        let _ = sink.push(&self.faded);
        self.trim.heard()
    }
}

fn silence() -> SynthesisError {
    SynthesisError::no_audio("The speech engine gave nothing but silence for this sentence.")
}

impl Guard {
    /// A guard for the audio of one utterance. `bare` is what its samples are where it has no
    /// header; without it such audio is refused, because a guess would be noise.
    pub fn new(bare: Option<Shape>, treatment: Treatment, utterance: &Utterance) -> Guard {
        Guard {
            bare,
            treatment,
            characters: utterance.text.chars().count() as u64,
            state: State::Unknown,
            pending: Vec::new(),
            shape: None,
            header_bytes: 0,
            path: None,
        }
    }

    /// Takes bytes as they arrive, cut anywhere, and pushes what is sure to be heard into the sink.
    /// It never waits, so the caller drains the sink before the next call. Nothing is pushed before
    /// there is a sound; from then on it holds back less than 2.1 s.
    ///
    /// # Errors
    /// It is no audio, or not to be read. What is pushed later is ignored; what was heard before
    /// is to be ended with [`finish`](Guard::finish) all the same, so that it does not click.
    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink) -> Result<(), SynthesisError> {
        if self.state == State::Over {
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        self.advance(false, sink)
    }

    /// The engine has ended: pushes what was held back.
    ///
    /// To be called when the engine failed, too, before [`Sink::fail`]: what it says then is of no
    /// interest. A second call does nothing.
    ///
    /// # Errors
    /// There was nothing to hear, or the audio ended too early.
    pub fn finish(&mut self, sink: &mut Sink) -> Result<(), SynthesisError> {
        if self.state == State::Over && self.path.is_none() {
            return Ok(());
        }
        let state = self.state;
        let ended = match state {
            State::Over => Ok(()),
            _ => self.advance(true, sink),
        };
        let cut = self.state;
        self.state = State::Over;
        let heard = self.path.take().is_some_and(|path| path.finish(sink));
        ended?;
        match cut {
            State::Header | State::Skip(_) => {
                Err(SynthesisError::failed("The speech engine's audio ended inside of its WAV header."))
            }
            State::Samples(Some(missing)) => Err(SynthesisError::failed(format!(
                "The speech engine's audio ended {missing} bytes before the end that its WAV header names."
            ))),
            _ if heard => Ok(()),
            State::Unknown => {
                Err(SynthesisError::no_audio("The speech engine gave no audio for this sentence."))
            }
            _ => Err(silence()),
        }
    }

    /// Whether anything was heard so far: an engine that fails before that may be asked again
    /// without being heard twice.
    pub fn heard(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.trim.heard())
    }

    fn advance(&mut self, at_end: bool, sink: &mut Sink) -> Result<(), SynthesisError> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let result = loop {
            match self.step(&mut rest, at_end, sink) {
                Ok(Step::Done) => {}
                Ok(Step::Wait) => break Ok(()),
                Err(error) => {
                    self.state = State::Over;
                    rest = &[];
                    break Err(error);
                }
            }
        };
        let used = pending.len() - rest.len();
        self.pending = pending;
        self.pending.drain(..used);
        result
    }

    /// Understands one thing, and takes its bytes from `rest`.
    fn step(&mut self, rest: &mut &[u8], at_end: bool, sink: &mut Sink) -> Result<Step, SynthesisError> {
        match self.state {
            State::Unknown => self.begin(rest, at_end, sink),
            State::Header => self.header(rest, sink),
            State::Skip(left) => {
                let skipped = left.min(rest.len() as u64);
                *rest = &rest[skipped as usize..];
                self.state = if skipped == left { State::Header } else { State::Skip(left - skipped) };
                Ok(if skipped == left { Step::Done } else { Step::Wait })
            }
            State::Samples(left) => self.samples(rest, left, at_end, sink),
            State::Behind => {
                let next = find_wav(rest, WAV);
                *rest = &rest[next.unwrap_or_else(|| sure(rest, WAV))..];
                if next.is_none() {
                    return Ok(Step::Wait);
                }
                self.enter(rest);
                Ok(Step::Done)
            }
            State::Over => {
                *rest = &[];
                Ok(Step::Wait)
            }
        }
    }

    /// Behind the first bytes of a WAV.
    fn enter(&mut self, rest: &mut &[u8]) {
        *rest = &rest[WAV..];
        self.state = State::Header;
        self.header_bytes = 0;
        self.shape = None;
    }

    /// Decides what the first bytes are.
    fn begin(&mut self, rest: &mut &[u8], at_end: bool, sink: &mut Sink) -> Result<Step, SynthesisError> {
        if find_wav(rest, WAV) == Some(0) {
            self.enter(rest);
            return Ok(Step::Done);
        }
        if rest.is_empty() || (rest.len() < SNIFFED && !at_end) {
            return Ok(Step::Wait);
        }
        let first = &rest[..rest.len().min(SNIFFED)];
        if let Some(kind) = file_kind(first) {
            return Err(SynthesisError::failed(format!(
                "The speech engine gave {kind} where a WAV or bare samples belong; have it give one of those."
            )));
        }
        if let Some(text) = text(first) {
            return Err(SynthesisError::failed(format!(
                "The speech engine gave {} in place of audio, which begins: {}",
                kind_of_text(text),
                words(text)
            )));
        }
        match is_mp3(rest, at_end) {
            None => return Ok(Step::Wait),
            Some(true) => {
                return Err(SynthesisError::failed(
                    "The speech engine gave MP3 where a WAV or bare samples belong; have it give one of those.",
                ));
            }
            Some(false) => {}
        }
        let Some(bare) = self.bare else {
            return Err(SynthesisError::failed(
                "The speech engine's audio is no WAV, and no setting says what its samples are.",
            ));
        };
        self.shape = Some(bare);
        self.state = State::Samples(None);
        self.open(bare, sink)?;
        Ok(Step::Done)
    }

    /// Makes ready for samples of this shape.
    fn open(&mut self, shape: Shape, sink: &mut Sink) -> Result<(), SynthesisError> {
        let rate = shape.check()?.sample_rate_hz;
        match &self.path {
            None => {
                sink.set_sample_rate(rate)?;
                self.path = Some(Path::new(rate, self.characters, self.treatment));
                Ok(())
            }
            Some(path) if path.sample_rate_hz == rate => Ok(()),
            Some(path) => Err(SynthesisError::failed(format!(
                "The speech engine's audio changes from {} to {rate} samples a second.",
                path.sample_rate_hz
            ))),
        }
    }

    /// Reads one chunk of a WAV in front of its samples.
    fn header(&mut self, rest: &mut &[u8], sink: &mut Sink) -> Result<Step, SynthesisError> {
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
                    return Err(damaged("says nothing of its samples"));
                }
                if content.len() < length {
                    // It is read again when more has come.
                    self.header_bytes -= 8 + padded;
                    return Ok(Step::Wait);
                }
                self.shape = Some(shape_of(&content[..length])?);
                *rest = &content[length..];
                self.state = State::Skip(padded - length as u64);
            }
            b"data" => {
                let shape = self.shape.ok_or_else(|| damaged("says nothing of its samples"))?;
                self.open(shape, sink)?;
                *rest = content;
                let known = length > 0 && length < UNKNOWN_LENGTH;
                self.state = State::Samples(known.then_some(length.into()));
            }
            _ if self.header_bytes > MAX_HEADER_BYTES => return Err(damaged("is longer than a header is")),
            _ => {
                *rest = content;
                self.state = State::Skip(padded);
            }
        }
        Ok(Step::Done)
    }

    /// Passes samples on, up to a header that stands among them.
    fn samples(
        &mut self,
        rest: &mut &[u8],
        left: Option<u64>,
        at_end: bool,
        sink: &mut Sink,
    ) -> Result<Step, SynthesisError> {
        let (Some(shape), Some(path)) = (self.shape, &mut self.path) else {
            return Err(damaged("says nothing of its samples"));
        };
        let wanted = left.map_or(rest.len(), |left| usize::try_from(left).unwrap_or(usize::MAX));
        let header = find_wav(rest, INNER_WAV).filter(|&at| at < wanted);
        // Without more to come, what looks like the beginning of a header is none.
        let sure = if at_end { rest.len() } else { sure(rest, INNER_WAV) };
        let audio = header.unwrap_or(sure).min(wanted);
        let (frames, _) = rest.split_at(audio - audio % shape.frame_bytes());
        path.push(frames, shape, sink)?;
        // A part of a frame that nothing can follow is dropped.
        let ends = header.is_some() || left.is_some() && audio == wanted || at_end;
        let used = if ends { audio } else { frames.len() };
        *rest = &rest[used..];
        self.state = State::Samples(left.map(|left| left - used as u64));
        if header.is_some() {
            self.enter(rest);
            return Ok(Step::Done);
        }
        if self.state == State::Samples(Some(0)) {
            self.state = State::Behind;
            return Ok(Step::Done);
        }
        Ok(Step::Wait)
    }
}

fn damaged(what: &str) -> SynthesisError {
    SynthesisError::failed(format!("The speech engine's audio has a WAV header that {what}."))
}

/// What a WAV's `fmt ` chunk says of its samples; it has at least 16 bytes.
fn shape_of(fmt: &[u8]) -> Result<Shape, SynthesisError> {
    /// WAVE_FORMAT_EXTENSIBLE: the format stands in the extension (RFC 2361, appendix A).
    const EXTENSIBLE: u16 = 0xfffe;
    let short = |at: usize| fmt.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let sample_rate_hz = u32::from(short(4)) | u32::from(short(6)) << 16;
    let (channels, block, bits) = (short(2), short(12), short(14));
    let format = if short(0) == EXTENSIBLE { short(24) } else { short(0) };
    let encoding = match (format, bits) {
        (1, 8) => SampleEncoding::PcmU8,
        (1, 16) => SampleEncoding::PcmS16le,
        (1, 24) => SampleEncoding::PcmS24le,
        (1, 32) => SampleEncoding::PcmS32le,
        (3, 32) => SampleEncoding::PcmF32le,
        (3, 64) => SampleEncoding::PcmF64le,
        (6, 8) => SampleEncoding::ALaw,
        (7, 8) => SampleEncoding::MuLaw,
        _ => {
            return Err(SynthesisError::failed(format!(
                "The speech engine's WAV is of format {format} with {bits} bits a sample, which cannot be \
                 read; have it give linear PCM of 16 bits."
            )));
        }
    };
    let shape = Shape { encoding, sample_rate_hz, channels }.check()?;
    match usize::from(block) == shape.frame_bytes() {
        true => Ok(shape),
        false => Err(damaged("contradicts itself")),
    }
}

/// Where a WAV begins, as far as its first so many bytes tell.
fn find_wav(bytes: &[u8], length: usize) -> Option<usize> {
    (0..=bytes.len().checked_sub(length)?).find(|&at| may_be_wav(&bytes[at..at + length]))
}

/// How many bytes are sure not to be the beginning of a WAV, of which the first `length` are known.
fn sure(bytes: &[u8], length: usize) -> usize {
    let first = bytes.len().saturating_sub(length - 1);
    (first..bytes.len()).find(|&at| may_be_wav(&bytes[at..])).unwrap_or(bytes.len())
}

/// Whether a WAV may begin so. RF64 is the same with lengths of 64 bits, which say that they are
/// elsewhere and are not needed (EBU Tech 3306).
fn may_be_wav(bytes: &[u8]) -> bool {
    let matches = |name: &[u8; 4], at: usize| bytes.iter().skip(at).zip(name).all(|(a, b)| a == b);
    bytes.first() == Some(&b'R')
        && (matches(b"RIFF", 0) || matches(b"RF64", 0))
        && matches(b"WAVE", 8)
        && (bytes.len() <= WAV || matches(b"fmt ", WAV) || matches(b"JUNK", WAV) || matches(b"ds64", WAV))
}

/// What kind of file begins so, if it is one that nobody takes for samples.
fn file_kind(first: &[u8]) -> Option<&'static str> {
    let table: [(&[u8], &str); 8] = [
        (b"OggS", "Ogg"),
        (b"fLaC", "FLAC"),
        (b"ID3", "MP3"),
        (b"\x1a\x45\xdf\xa3", "WebM"),
        (b"FORM", "AIFF"),
        (b".snd", "an AU file"),
        (b"RIFX", "a WAV with its bytes in reverse"),
        (b"RIFF", "a RIFF file that is no WAV"),
    ];
    let kind = table.into_iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, kind)| kind);
    kind.or_else(|| (first.get(4..8) == Some(b"ftyp")).then_some("MP4"))
}

/// The text that these are the first bytes of, if they are. A character may be cut.
fn text(first: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(first) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&first[..error.valid_up_to()]).unwrap_or("")
        }
        Err(_) => return None,
    };
    let printable = text.chars().all(|c| !c.is_control() || "\t\r\n".contains(c));
    // One byte over and over is silence in some encodings: in A-law it reads UUUU.
    let varied = first.iter().any(|&byte| byte != first[0]);
    (printable && varied && !text.is_empty()).then_some(text)
}

fn kind_of_text(text: &str) -> &'static str {
    match text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').chars().next() {
        Some('<') => "HTML or XML",
        Some('{' | '[') => "JSON",
        _ => "text",
    }
}

/// A text on one line, without what could hide in it.
pub(super) fn words(text: &str) -> String {
    let mut words = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}') {
        if !words.is_empty() && !word.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words
}

/// Whether it is MP3 without a title: three frames in a row, each where the one before says. None
/// if more is needed to tell. Samples may look like the beginning of one frame.
fn is_mp3(bytes: &[u8], at_end: bool) -> Option<bool> {
    let mut at = 0;
    for frame in 0..3 {
        match bytes.get(at..at + 4) {
            Some(&[a, b, c, _]) => match mp3_frame_bytes([a, b, c]) {
                Some(length) => at += length,
                None => return Some(false),
            },
            // What is as short as this is nothing to listen to either.
            _ => return at_end.then_some(frame > 0),
        }
    }
    Some(true)
}

/// Bytes of the frame of MP3 with this header (ISO/IEC 11172-3 §2.4.2.3, 13818-3 §2.4.2.3).
fn mp3_frame_bytes([a, b, c]: [u8; 3]) -> Option<usize> {
    const KBITS: [usize; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_OF_2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let (version, layer) = (b >> 3 & 3, b >> 1 & 3);
    if a != 0xff || b < 0xe0 || layer != 1 {
        return None;
    }
    let rate = *[44_100, 48_000, 32_000].get(usize::from(c >> 2 & 3))?;
    let bitrate = usize::from(c >> 4).checked_sub(1)?;
    let padding = usize::from(c >> 1 & 1);
    match version {
        3 => Some(144_000 * KBITS.get(bitrate)? / rate + padding),
        2 => Some(72_000 * KBITS_OF_2.get(bitrate)? / (rate / 2) + padding),
        0 => Some(72_000 * KBITS_OF_2.get(bitrate)? / (rate / 4) + padding),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::all;
    use super::super::{Speech, SynthesisErrorKind};
    use super::*;
    use crate::audio::{Encoding, Format};

    const FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
    const BARE: Shape = Shape { encoding: SampleEncoding::PcmS16le, sample_rate_hz: 8_000, channels: 1 };

    /// What was heard, and what went wrong.
    type Heard = (Vec<i16>, Option<SynthesisError>);

    /// What is heard of these pieces.
    async fn guarded<'a>(
        bare: Option<Shape>,
        treatment: Treatment,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Heard {
        let utterance = Utterance::new("Hi.", FORMAT);
        let (mut sink, speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
        let mut guard = Guard::new(bare, treatment, &utterance);
        let mut result = Ok(());
        for piece in pieces {
            result = result.and_then(|()| guard.push(piece, &mut sink));
        }
        let ended = guard.finish(&mut sink);
        result = result.and(ended);
        assert_eq!(guard.finish(&mut sink), Ok(()), "the second end does nothing");
        tokio::spawn(async move {
            match result {
                Ok(()) => sink.finish().await,
                Err(error) => sink.fail(error).await,
            }
        });
        let (chunks, error) = all(speech).await;
        let bytes = chunks.concat();
        (bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect(), error)
    }

    /// What is heard of these bytes, however they are cut.
    async fn heard(bytes: &[u8], bare: Option<Shape>) -> Heard {
        let default = Treatment::default();
        let whole = guarded(bare, default, [bytes].into_iter()).await;
        assert_eq!(guarded(bare, default, bytes.chunks(1)).await, whole, "byte by byte");
        // Every cut of what is short, and some of what is long.
        let step = if bytes.len() < 500 { 1 } else { 1 + bytes.len() / 40 };
        for at in (0..bytes.len()).step_by(step) {
            let (a, b) = bytes.split_at(at);
            assert_eq!(guarded(bare, default, [a, b].into_iter()).await, whole, "cut at {at}");
        }
        whole
    }

    /// So many samples of something like a voice, none of them silent, and none of them text.
    fn voice(count: usize) -> Vec<i16> {
        (0..count).map(|n| if n % 7 < 3 { 0x3100 } else { -0x7200 + n as i16 % 5 * 0x100 }).collect()
    }

    /// What is left of a voice: it fades in and out over 40 samples each.
    fn faded(samples: &[i16]) -> Vec<i16> {
        let last = samples.len() - 1;
        let part = |sample: i16, n: usize| (i32::from(sample) * n.min(40) as i32 / 40) as i16;
        samples.iter().enumerate().map(|(n, &s)| part(part(s, n), last - n)).collect()
    }

    fn s16(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    fn fmt(format: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let block = channels * bits / 8;
        let mut fmt = [format.to_le_bytes(), channels.to_le_bytes()].concat();
        fmt.extend(rate.to_le_bytes());
        fmt.extend((rate * u32::from(block)).to_le_bytes());
        fmt.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
        fmt
    }

    fn chunk(name: &[u8; 4], length: u32, content: &[u8]) -> Vec<u8> {
        [name.as_slice(), &length.to_le_bytes(), content].concat()
    }

    /// A WAV of these chunks, whose lengths are right.
    fn wav(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut wav = b"RIFF\0\0\0\0WAVE".to_vec();
        for (name, content) in chunks {
            wav.extend(chunk(name, content.len() as u32, content));
            wav.extend(vec![0; content.len() % 2]);
        }
        wav
    }

    /// A WAV that says this of the length of its samples.
    fn wav_of_length(length: u32, samples: &[i16]) -> Vec<u8> {
        let head = wav(&[(b"fmt ", &fmt(1, 1, 8_000, 16))]);
        [head, chunk(b"data", length, &s16(samples))].concat()
    }

    #[tokio::test]
    async fn samples_are_heard_however_they_are_written() {
        let samples = voice(120);
        let each =
            |write: &dyn Fn(i16) -> Vec<u8>| samples.iter().flat_map(|&s| write(s)).collect::<Vec<u8>>();
        let unit = |s: i16| f64::from(s) / 32_768.0;
        let g711 = |encoding: Encoding| {
            let mut out = Vec::new();
            encoding.encode(&samples, &mut out);
            out
        };
        // The name, the number of a WAV's format, bits, bytes.
        let table: [(&str, u16, u16, Vec<u8>); 9] = [
            ("pcm_u8", 1, 8, each(&|s| vec![(s >> 8) as u8 ^ 0x80])),
            ("pcm_s16le", 1, 16, s16(&samples)),
            ("pcm_s16be", 0, 16, each(&|s| s.to_be_bytes().to_vec())),
            ("pcm_s24le", 1, 24, each(&|s| [vec![0x5f], s.to_le_bytes().to_vec()].concat())),
            ("pcm_s32le", 1, 32, each(&|s| [vec![0x5f, 0x5f], s.to_le_bytes().to_vec()].concat())),
            ("pcm_f32le", 3, 32, each(&|s| (unit(s) as f32).to_le_bytes().to_vec())),
            ("pcm_f64le", 3, 64, each(&|s| unit(s).to_le_bytes().to_vec())),
            ("mulaw", 7, 8, g711(Encoding::MuLaw)),
            ("alaw", 6, 8, g711(Encoding::ALaw)),
        ];
        for ((name, format, bits, bytes), encoding) in table.into_iter().zip(SampleEncoding::ALL) {
            assert_eq!(SampleEncoding::from_name(name), Some(encoding));
            let expected = match format {
                6 | 7 => faded(&bytes.iter().map(|&b| encoding.decode(&[b])).collect::<Vec<_>>()),
                _ => faded(&samples),
            };
            let bare = Shape { encoding, ..BARE };
            assert_eq!(heard(&bytes, Some(bare)).await, (expected.clone(), None), "{name}, bare");
            if format == 0 {
                continue;
            }
            let fmt = fmt(format, 1, 8_000, bits);
            let plain = wav(&[(b"fmt ", &fmt), (b"data", &bytes)]);
            // A header wins over a setting.
            assert_eq!(heard(&plain, Some(BARE)).await, (expected.clone(), None), "{name}, in a WAV");
            let mut extensible = fmt.clone();
            extensible[..2].copy_from_slice(&0xfffe_u16.to_le_bytes());
            extensible.extend([22, 0, bits as u8, 0, 4, 0, 0, 0, format as u8, 0]);
            extensible.extend(*b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
            let extensible = wav(&[(b"fmt ", &extensible), (b"data", &bytes)]);
            assert_eq!(heard(&extensible, None).await, (expected, None), "{name}, extensible");
        }
    }

    #[test]
    fn g711_is_decoded_to_what_is_encoded_as_the_same_byte() {
        for (encoding, g711) in
            [(SampleEncoding::MuLaw, Encoding::MuLaw), (SampleEncoding::ALaw, Encoding::ALaw)]
        {
            for byte in 0..=u8::MAX {
                let mut again = Vec::new();
                g711.encode(&[encoding.decode(&[byte])], &mut again);
                // µ-law has two zeros, of which one is preferred.
                let negative_zero = encoding == SampleEncoding::MuLaw && byte == 0x7f;
                assert_eq!(again, [if negative_zero { 0xff } else { byte }]);
            }
        }
    }

    #[test]
    fn floating_point_beyond_full_scale_is_clipped() {
        for (sample, expected) in [
            (0.5, 16_384),
            (1.0, i16::MAX),
            (7.0, i16::MAX),
            (-1.0, i16::MIN),
            (-1e30, i16::MIN),
            (f32::NAN, 0),
        ] {
            assert_eq!(SampleEncoding::PcmF32le.decode(&sample.to_le_bytes()), expected);
        }
    }

    #[tokio::test]
    async fn wavs_of_all_kinds_are_read() {
        let samples = voice(100);
        let expected = (faded(&samples), None);
        let (fmt8, data) = (fmt(1, 1, 8_000, 16), s16(&samples));
        let plain = wav(&[(b"fmt ", &fmt8), (b"data", &data)]);
        let longer = [fmt8.as_slice(), &[0, 0]].concat();
        let ds64 = [&b"RF64\xff\xff\xff\xffWAVE"[..], &chunk(b"ds64", 28, &[7; 28])].concat();
        let table = [
            ("plain", plain.clone()),
            ("length 0", wav_of_length(0, &samples)),
            ("length of espeak-ng", wav_of_length(0x7fff_f000, &samples)),
            ("length of SoX", wav_of_length(0x7fff_ffff - 36, &samples)),
            ("length of ffmpeg", wav_of_length(u32::MAX, &samples)),
            ("longer fmt", wav(&[(b"fmt ", &longer), (b"data", &data)])),
            (
                "chunks around",
                wav(&[
                    (b"JUNK", &[b'R'; 28]),
                    (b"LIST", b"INFOISFTodd"),
                    (b"fmt ", &fmt8),
                    (b"fact", &[1; 4]),
                    (b"data", &data),
                    (b"LIST", b"INFOISFT and a text that is no audio"),
                ]),
            ),
            ("rubbish behind", [plain.clone(), vec![0x42; 77]].concat()),
            ("64 bits", [ds64, chunk(b"fmt ", 16, &fmt8), chunk(b"data", u32::MAX, &data)].concat()),
            ("half a sample", [wav_of_length(u32::MAX, &samples), vec![0x42]].concat()),
        ];
        for (what, bytes) in table {
            assert_eq!(heard(&bytes, None).await, expected, "{what}");
            assert_eq!(heard(&bytes, Some(Shape { channels: 2, ..BARE })).await, expected, "{what}");
        }
    }

    #[tokio::test]
    async fn channels_are_mixed_in_whole_frames() {
        let stereo: Vec<i16> = voice(100).into_iter().flat_map(|s| [s, s / 2]).collect();
        let mixed: Vec<i16> =
            voice(100).iter().map(|&s| ((i32::from(s) + i32::from(s / 2)) / 2) as i16).collect();
        let expected = (faded(&mixed), None);
        let file = wav(&[(b"fmt ", &fmt(1, 2, 8_000, 16)), (b"data", &s16(&stereo))]);
        assert_eq!(heard(&file, None).await, expected);
        let bare = Some(Shape { channels: 2, ..BARE });
        for surplus in 0..4 {
            let bytes = [s16(&stereo), vec![0x42; surplus]].concat();
            assert_eq!(heard(&bytes, bare).await, expected, "{surplus} bytes too many");
        }
    }

    #[tokio::test]
    async fn headers_among_samples_are_removed() {
        let (first, second) = (voice(100), voice(73));
        let all = faded(&[first.clone(), second.clone()].concat());
        let file = |samples: &[i16]| wav(&[(b"fmt ", &fmt(1, 1, 8_000, 16)), (b"data", &s16(samples))]);
        let table = [
            ("two whole ones", [file(&first), file(&second)].concat()),
            ("of unknown length", [wav_of_length(0, &first), wav_of_length(0, &second)].concat()),
            ("something between", [file(&first), vec![0x42; 11], file(&second)].concat()),
            ("one among samples", [s16(&first), file(&second)].concat()),
            ("behind half a sample", [s16(&first), vec![0x42], file(&second)].concat()),
            ("three at once", [file(&[]), file(&first), file(&second)].concat()),
            (
                "inside of a longer one",
                wav(&[(b"fmt ", &fmt(1, 1, 8_000, 16)), (b"data", &[s16(&first), file(&second)].concat())]),
            ),
        ];
        for (what, bytes) in table {
            assert_eq!(heard(&bytes, Some(BARE)).await, (all.clone(), None), "{what}");
        }
        // What only looks like one is audio.
        for lookalike in [&b"RIFF1234"[..], b"RIFFRIFFWAVE", b"RIFF1234WAVEfmtx", b"RF64RIFF1234WAVx"] {
            let bytes = [s16(&first), lookalike.to_vec(), s16(&second)].concat();
            let (samples, error) = heard(&bytes, Some(BARE)).await;
            assert_eq!((samples.len(), error), (173 + lookalike.len() / 2, None));
            let bytes = [s16(&first), lookalike.to_vec()].concat();
            assert_eq!(heard(&bytes, Some(BARE)).await.0.len(), 100 + lookalike.len() / 2);
        }
    }

    #[tokio::test]
    async fn what_is_no_audio_is_an_error_that_says_what_came() {
        let html = "<!DOCTYPE html>\r\n<html><head>\t<title>502 Bad\x20Gateway</title></head><body>Sorry. ";
        let html = html.to_owned() + &"The kettle is off. ".repeat(20);
        let mp3: Vec<u8> =
            (0..4).flat_map(|_| [&[0xff, 0xfb, 0x90, 0x00][..], &[0x55; 413]].concat()).collect();
        let table: [(&[u8], &str); 16] = [
            (
                html.as_bytes(),
                "HTML or XML in place of audio, which begins: <!DOCTYPE html> <html><head> <title>502 Bad",
            ),
            (
                b"{\"error\":{\"message\":\"no such voice\"}}",
                "JSON in place of audio, which begins: {\"error\"",
            ),
            (b" [1, 2]\n", "JSON"),
            (b"\xef\xbb\xbf{}", "JSON in place of audio, which begins: {}"),
            ("Voix indisponible\u{a0}: café fermé.".as_bytes(), "text in place of audio, which begins: Voix"),
            (&b"y\n".repeat(500), "text"),
            (b"OggS\0\x02 and so on", "Ogg"),
            (b"fLaC\0\0\0\x22 and so on", "FLAC"),
            (b"ID3\x04\0\0\0\0\0\0", "MP3"),
            (&mp3, "MP3"),
            (&mp3[..23], "MP3"),
            (b"\0\0\0\x20ftypisom", "MP4"),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x86", "WebM"),
            (b"RIFF\0\0\0\0AVI LIST", "a RIFF file that is no WAV"),
            (b"RIFX\0\0\0\0WAVEfmt ", "in reverse"),
            (b"FORM\0\0\0\0AIFFCOMM", "AIFF"),
        ];
        for (bytes, expected) in table {
            for bare in [None, Some(BARE)] {
                let (samples, error) = heard(bytes, bare).await;
                let error = error.expect("it is no audio");
                assert_eq!((samples.len(), error.kind), (0, SynthesisErrorKind::Failed));
                assert!(error.message.contains(expected), "{expected}: {}", error.message);
                assert!(error.message.len() < 250 && !error.message.contains(char::is_control));
            }
        }
        let (samples, error) = heard(&s16(&voice(100)), None).await;
        assert!(samples.is_empty() && error.is_some_and(|e| e.message.contains("no setting says")));
    }

    #[tokio::test]
    async fn samples_that_look_like_something_else_are_heard() {
        let rest = s16(&voice(3_000));
        for first in [
            &[0xff, 0xfb, 0x90, 0x00][..], // one frame of MP3, but no second
            b"{\"a\":",
            b"RIFE",
            &[0x55; 127], // silence in A-law
        ] {
            let (samples, error) = heard(&[first, &rest].concat(), Some(BARE)).await;
            assert_eq!((samples.len(), error), ((first.len() + rest.len()) / 2, None), "{first:?}");
        }
    }

    #[tokio::test]
    async fn damaged_headers_are_told() {
        let good = fmt(1, 1, 8_000, 16);
        let with = |at: usize, byte: u8| {
            let mut fmt = good.clone();
            fmt[at] = byte;
            wav(&[(b"fmt ", &fmt), (b"data", &s16(&voice(50)))])
        };
        let long = chunk(b"LIST", 2 << 20, &[]);
        let second = wav(&[(b"fmt ", &fmt(1, 1, 16_000, 16)), (b"data", &[1, 2])]);
        let table = [
            (wav(&[(b"data", &[1, 2, 3, 4])]), "says nothing of its samples"),
            (wav(&[(b"fmt ", &good[..12]), (b"data", &[1; 50])]), "says nothing of its samples"),
            (wav(&[(b"fmt ", &[1; 2_000])]), "says nothing of its samples"),
            (with(0, 2), "of format 2 with 16 bits"),
            (with(14, 12), "of format 1 with 12 bits"),
            (with(2, 0), "claims 0 channels"),
            (with(2, 200), "claims 200 channels"),
            (with(6, 0xff), "channels of 16719680 samples a second"),
            (with(12, 4), "contradicts itself"),
            (b"RIFF\0\0\0\0WAVEfmt ".to_vec(), "ended inside of its WAV header"),
            ([wav(&[(b"fmt ", &good)]), b"da".to_vec()].concat(), "ended inside of its WAV header"),
            ([b"RIFF\0\0\0\0WAVE".to_vec(), long].concat(), "longer than a header is"),
            (wav_of_length(202, &voice(100)), "ended 2 bytes before the end"),
            ([wav_of_length(200, &voice(100)), second].concat(), "changes from 8000 to 16000"),
        ];
        for (bytes, expected) in table {
            let (_, error) = heard(&bytes, None).await;
            let error = error.expect("it is damaged");
            assert_eq!(error.kind, SynthesisErrorKind::Failed);
            assert!(error.message.contains(expected), "{expected}: {}", error.message);
        }
        // What came before an early end is heard.
        let (samples, _) = heard(&wav_of_length(300, &voice(100)), None).await;
        assert_eq!(samples, faded(&voice(100)));
    }

    #[tokio::test]
    async fn silence_is_no_audio_and_is_not_heard() {
        let hum: Vec<i16> = (0..12_000).map(|n| if n % 20 < 10 { 100 } else { -100 }).collect();
        let table = [
            (Vec::new(), "gave no audio"),
            (s16(&[0; 4_000]), "nothing but silence"),
            (s16(&hum), "nothing but silence"),
            (vec![7], "nothing but silence"),
            (wav_of_length(0, &[]), "nothing but silence"),
            (wav_of_length(8_000, &[0; 4_000]), "nothing but silence"),
        ];
        for (bytes, expected) in table {
            let (samples, error) = heard(&bytes, Some(BARE)).await;
            let error = error.expect("there was nothing");
            assert_eq!((samples.len(), error.kind), (0, SynthesisErrorKind::NoAudio));
            assert!(error.message.contains(expected), "{expected}: {}", error.message);
        }
    }

    #[tokio::test]
    async fn silence_around_speech_is_cut_and_pauses_are_kept() {
        let (speech, silence) = (voice(800), |ms: usize| vec![0i16; ms * 8]);
        let input =
            s16(&[silence(300), speech.clone(), silence(1_700), speech.clone(), silence(900)].concat());
        let expected = |lead, tail| {
            faded(&[silence(lead), speech.clone(), silence(1_700), speech.clone(), silence(tail)].concat())
        };
        assert_eq!(heard(&input, Some(BARE)).await, (expected(20, 120), None));
        let treatment = Treatment { lead_ms: 0, tail_ms: 700, gain_db: 0.0 };
        for cut in [1, 333, 100_000] {
            let heard = guarded(Some(BARE), treatment, input.chunks(cut)).await;
            assert_eq!(heard, (expected(0, 700), None), "cut into {cut}");
        }
    }

    #[tokio::test]
    async fn gain_makes_louder_and_softer_without_clipping() {
        let input = s16(&[3_000i16, -3_000].repeat(400));
        for (gain_db, expected) in [(6.0206f32, 6_000u16), (-20.0, 300), (60.0, 29_204)] {
            let treatment = Treatment { gain_db, ..Treatment::default() };
            let (samples, error) = guarded(Some(BARE), treatment, input.chunks(1_000)).await;
            assert_eq!(error, None);
            let loudest = samples.iter().map(|s| s.unsigned_abs()).max().expect("there are samples");
            assert!(loudest.abs_diff(expected) <= 2, "{gain_db} dB made 3000 {loudest}");
        }
    }

    #[tokio::test]
    async fn a_flood_is_ended_and_nothing_of_it_is_hoarded() {
        let utterance = Utterance::new("Hi.", FORMAT);
        // Silence from the start, silence behind a sound, sound, rubbish behind a WAV, one endless chunk.
        let file = wav_of_length(200, &voice(100));
        let endless = [b"RIFF\0\0\0\0WAVE".to_vec(), chunk(b"JUNK", 1 << 19, &[])].concat();
        let floods = [
            (Vec::new(), [0; 4_096], Some(SynthesisErrorKind::NoAudio)),
            (s16(&voice(100)), [0; 4_096], Some(SynthesisErrorKind::Failed)),
            (Vec::new(), [0xb1; 4_096], Some(SynthesisErrorKind::Failed)),
            (file, [b'R'; 4_096], None),
            (endless, [0; 4_096], Some(SynthesisErrorKind::Failed)),
        ];
        for (n, (start, flood, expected)) in floods.into_iter().enumerate() {
            let (mut sink, mut speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
            let mut guard = Guard::new(Some(BARE), Treatment::default(), &utterance);
            let listener = tokio::spawn(async move { while speech.next().await.is_some() {} });
            let mut result = guard.push(&start, &mut sink);
            let mut samples = 0;
            while result.is_ok() && samples < 1_000_000 {
                result = guard.push(&flood, &mut sink);
                samples += flood.len() / 2;
                sink.drain().await.expect("somebody listens");
                let held =
                    guard.path.as_ref().map_or(0, |path| path.trimmed.capacity() + path.faded.capacity());
                assert!(guard.pending.capacity() <= 16 * 1024 && held <= 64 * 1024, "flood {n}");
            }
            assert_eq!(result.err().map(|error| error.kind), expected, "flood {n}");
            // 33 s of sound or silence are the most for three characters.
            assert!(expected.is_none() || samples < 600_000, "flood {n} took {samples} samples");
            sink.finish().await;
            listener.await.expect("it ends");
        }
    }

    #[tokio::test]
    async fn the_rate_of_a_wav_is_made_that_of_the_listener() {
        let samples: Vec<i16> = (0..16_000).map(|n| if n % 32 < 16 { 9_000 } else { -9_000 }).collect();
        let file = wav(&[(b"fmt ", &fmt(1, 1, 16_000, 16)), (b"data", &s16(&samples))]);
        let (heard, error) = guarded(None, Treatment::default(), file.chunks(777)).await;
        assert_eq!((heard.len(), error), (8_000, None));
    }
}
