//! What the audio of an engine that nobody here wrote goes through before it is heard.
//!
//! A program or a service may give anything: a WAV or bare samples, half a sample at the end,
//! several WAVs in a row, silence, or a page of HTML that says why there is no audio. A [`Guard`]
//! takes the bytes as they arrive, cut anywhere, and gives samples to a [`Sink`], or a sentence
//! that says what came instead. It knows neither processes nor HTTP, and holds back a bounded
//! amount however much comes.

use super::level::{Fade, LEAD_MS, Level, TAIL_MS, Trim};
use super::{Sink, SynthesisError, Utterance};

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
