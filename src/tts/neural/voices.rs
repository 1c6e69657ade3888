//! Voices in files: which kind they are, their names, and their level.

use super::alphabet::Alphabet;
use super::files::{self, Unreadable};
use super::graph::{Graph, GraphError, Threads};
use super::hibari::{self, Hibari};
use super::phones::Reader;
use super::piper::Piper;
use super::settings::Settings;
use super::speaker::Plan;
use super::windows::windows;
use super::{LIMITS, VoiceFile, VoiceFileError};
use crate::audio::{Encoding, Format};
use crate::tts::reading::{Piece, read};
use crate::tts::{Gender, Utterance, Voice};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

/// A voice whose file is known.
pub(super) struct Known {
    /// SHA-256 of the file.
    sha256: &'static str,
    name: &'static str,
    language: &'static str,
    gender: Gender,
}

/// Voices whose files are known.
const KNOWN: &[Known] = &[
    Known {
        sha256: "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
        name: "heart",
        language: "en-US",
        gender: Gender::Female,
    },
    Known {
        sha256: "f709f0488ee63b583a22189a955aaf4257b9806dd330be3490661e53af0a89c1",
        name: "emma",
        language: "en-GB",
        gender: Gender::Female,
    },
    Known {
        sha256: "f59fbd87908c91f827bc21b1b89443757b9a8580db9eee20aa948deb731321f4",
        name: "fenrir",
        language: "en-US",
        gender: Gender::Male,
    },
    Known {
        sha256: "c28529302f2d27cd12f62625c24425888c4e3c2675583100ec530259136b8bc6",
        name: "fable",
        language: "en-GB",
        gender: Gender::Male,
    },
    Known {
        sha256: "346885752673e45d42f9864c9e2432094bc4b6385df060d4b83273da764d2fa9",
        name: "kore",
        language: "en-US",
        gender: Gender::Female,
    },
];

/// Level that all voices are brought to: that of the voice inside, in dBFS RMS.
const TARGET_DBFS: f64 = -21.7;

/// Sentence by which the level of a voice is measured.
pub(super) const SAMPLE: &str = "The quick brown fox jumps over the lazy dog.";

/// Largest file of a voice, in bytes: four times that of a large one.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Largest `.onnx.json`, in bytes. Those with a thousand speakers have about 30 KB.
const MAX_SETTINGS_BYTES: u64 = 1024 * 1024;

/// Time for reading a file and speaking the first sentence. A large voice needs a few seconds on a slow machine.
const LOAD_TIME: Duration = Duration::from_secs(60);

/// A voice that is loaded.
pub(super) struct Loaded {
    pub(super) voice: Voice,
    pub(super) path: PathBuf,
    pub(super) sample_rate_hz: u32,
    /// Gain that brings the voice to the level of others.
    pub(super) gain: f32,
    pub(super) kind: Kind,
    /// Remarks about the file for the operator.
    pub(super) warnings: Vec<String>,
}

/// A piece that is planned, with the token of each of its symbols. `None` if it has no word with a sound.
pub(super) type Planned = Option<(Vec<Option<usize>>, Plan)>;

/// Kind of a voice.
pub(super) enum Kind {
    Hibari(Arc<Hibari>),
    Piper(Arc<Piper>),
}

/// Reads the file of a voice.
pub(super) fn read_file(file: &VoiceFile) -> Result<Vec<u8>, VoiceFileError> {
    files::read(&file.path, MAX_FILE_BYTES).map_err(|why| {
        VoiceFileError::about(
            file,
            match &why {
                Unreadable::Missing => "there is no such file",
                Unreadable::Other(why) => why,
            },
        )
    })
}

/// Returns the voice whose file has this SHA-256, if it is known.
fn known(bytes: &[u8]) -> Option<&'static Known> {
    let mut hash = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    KNOWN.iter().find(|known| known.sha256 == hash)
}

/// Name, language and gender of the voice in a file.
pub(super) fn identify(file: &VoiceFile, bytes: &[u8]) -> Voice {
    let known = known(bytes);
    let stem = || file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = file.name.clone().or(known.map(|known| known.name.to_owned())).unwrap_or_else(stem);
    Voice {
        language: Some(known.map_or("en", |known| known.language).to_owned()),
        gender: known.map(|known| known.gender),
        ..Voice::new(name)
    }
}

impl Loaded {
    /// Loads a voice, and speaks a sentence with it.
    pub(super) fn load(file: &VoiceFile, reader: &Reader) -> Result<Loaded, VoiceFileError> {
        let bytes = read_file(file)?;
        let refused = |why: &str| VoiceFileError::about(file, why);
        if !is_message(&bytes) {
            return Err(refused("it is no ONNX graph"));
        }
        let (of, reader) = (file.clone(), reader.clone());
        match attempt(LOAD_TIME, move || Loaded::from_bytes(&of, bytes, &reader)) {
            Ok(Ok(loaded)) => Ok(loaded),
            Ok(Err(why)) => Err(refused(&why.to_string())),
            Err(Unfinished::Panicked(why)) => Err(refused(&format!("it is damaged ({why})"))),
            Err(Unfinished::Late) => {
                let seconds = LOAD_TIME.as_secs();
                let why = format!(
                    "it could not be read within {seconds} s: it is damaged, or the machine is too slow"
                );
                Err(refused(&why))
            }
        }
    }

    fn from_bytes(file: &VoiceFile, bytes: Vec<u8>, reader: &Reader) -> Result<Loaded, GraphError> {
        let known = known(&bytes);
        let mut voice = identify(file, &bytes);
        let graph = Graph::read(&bytes)?;
        drop(bytes);
        let mut warnings = Vec::new();
        let (kind, sample_rate_hz) = if Hibari::is_it(&graph.inputs()) {
            (Kind::Hibari(Arc::new(Hibari::load(&graph)?)), hibari::SAMPLE_RATE)
        } else if Piper::is_it(&graph.inputs()) {
            let mut settings = file.path.clone().into_os_string();
            settings.push(".json");
            let settings =
                files::read(settings.as_ref(), MAX_SETTINGS_BYTES).map_err(GraphError::settings)?;
            let settings = Settings::read(&settings).map_err(|why| GraphError::setting(&why))?;
            let rate = settings.sample_rate_hz;
            voice.language = settings.language.clone().or(voice.language);
            if !settings.lacking.is_empty() {
                let lacking: Vec<String> = settings.lacking.iter().map(char::to_string).collect();
                warnings.push(format!(
                    "voice {}: its .onnx.json has no phoneme_id_map for {}: near sounds are spoken, and marks are left out",
                    voice.name,
                    lacking.join(" ")
                ));
            }
            let piper = Piper::load(&graph, settings)?;
            (Kind::Piper(Arc::new(piper)), rate)
        } else {
            return Err(GraphError::kind(&graph.inputs()));
        };
        let voice = Voice { sample_rate_hz: Some(sample_rate_hz), ..voice };
        let mut loaded = Loaded { voice, path: file.path.clone(), sample_rate_hz, gain: 1.0, kind, warnings };
        loaded.gain = loaded.measure(reader)?;
        let (path, name) = (file.path.display(), &loaded.voice.name);
        match known {
            Some(known) => tracing::info!("voice {name}: {path} is {}", known.name),
            None => {
                let warning = format!("voice {name}: {path} is not a file that aloud is tested with");
                loaded.warnings.push(warning);
            }
        }
        Ok(loaded)
    }

    /// Plans a piece.
    pub(super) fn plan(
        &self,
        reader: &Reader,
        piece: &Piece,
        speed: f32,
        threads: &Threads,
    ) -> Result<Planned, GraphError> {
        let sounds = reader.sounds(piece);
        if sounds.0.is_empty() {
            return Ok(None);
        }
        let speed = if speed.is_nan() { 1.0 } else { speed.clamp(0.5, 2.0) };
        match &self.kind {
            Kind::Piper(voice) => {
                let (symbols, tokens) = voice.symbols(&Alphabet::Espeak.spell(&sounds));
                let plan = voice.plan(&symbols, speed, seed(&symbols), threads)?;
                Ok(Some((tokens, plan)))
            }
            Kind::Hibari(voice) => {
                let letters = Alphabet::Misaki.spell(&sounds);
                let known =
                    letters.into_iter().filter_map(|(letter, token)| Some((hibari::symbol(letter)?, token)));
                let (mut symbols, mut tokens): (Vec<i32>, Vec<_>) = known.unzip();
                symbols.insert(0, hibari::PAD);
                symbols.push(hibari::PAD);
                tokens.insert(0, None);
                tokens.push(None);
                let plan = voice.plan(&symbols, speed, seed(&symbols), windows, threads)?;
                Ok(Some((tokens, plan)))
            }
        }
    }

    /// Speaks a sentence, and returns the gain that brings the voice to its level.
    fn measure(&self, reader: &Reader) -> Result<f32, GraphError> {
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.sample_rate_hz };
        let piece = read(&Utterance::new(SAMPLE, format), LIMITS).pieces.pop().unwrap_or_default();
        let threads = Threads::own();
        let Some((_, mut plan)) = self.plan(reader, &piece, 1.0, &threads)? else {
            return Err(GraphError::shape("symbols"));
        };
        let mut samples = Vec::new();
        while plan.passage.next(&mut samples, &threads)? {}
        let sounding = samples.iter().map(|&s| f64::from(s).powi(2)).filter(|power| *power > 1e-5);
        let (sum, count) = sounding.fold((0.0, 0u32), |(sum, count), power| (sum + power, count + 1));
        let dbfs = 10.0 * libm::log10(sum / f64::from(count.max(1)));
        if !dbfs.is_finite() {
            return Err(GraphError::silent());
        }
        // In steps, so that all processors come to the same gain.
        let gain_db = (TARGET_DBFS - dbfs).clamp(-12.0, 18.0).round();
        Ok(libm::pow(10.0, gain_db / 20.0) as f32)
    }
}

/// Why there is no result of an [`attempt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// With the message.
    Panicked(String),
    Late,
}

/// Name of the thread on which a file is loaded.
const LOADER: &str = "voice-loader";

/// Does work that may panic, or never end: the library makes no promise about damaged files. Work that is late
/// goes on, since nothing can stop it. Panics of this work are not reported anywhere else.
pub(super) fn attempt<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    /// Files that are being loaded.
    static LOADING: AtomicUsize = AtomicUsize::new(0);
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            // The library's own threads work for the loader, and hand panics over to it.
            let is_loader = |name: &str| name == LOADER || name.starts_with("rten-");
            if LOADING.load(Ordering::Relaxed) == 0 || !thread::current().name().is_some_and(is_loader) {
                report(about);
            }
        }));
    });
    let (done, result) = mpsc::channel();
    let work = move || {
        LOADING.fetch_add(1, Ordering::Relaxed);
        let result = panic::catch_unwind(AssertUnwindSafe(work));
        LOADING.fetch_sub(1, Ordering::Relaxed);
        // An error means that the work is late.
        let _ = done.send(result);
    };
    let thread = thread::Builder::new().name(LOADER.to_owned()).spawn(work);
    thread.map_err(|why| Unfinished::Panicked(why.to_string()))?;
    match result.recv_timeout(time) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(why)) => {
            let text = why.downcast_ref::<&str>().map(|why| (*why).to_owned());
            Err(Unfinished::Panicked(text.or_else(|| why.downcast_ref().cloned()).unwrap_or_default()))
        }
        Err(_) => Err(Unfinished::Late),
    }
}

/// True if these bytes are the fields of a message, one behind the other, as those of an ONNX file are
/// (<https://protobuf.dev/programming-guides/encoding/>). Most files of another kind fail at this at once.
pub(super) fn is_message(mut bytes: &[u8]) -> bool {
    let has_any = !bytes.is_empty();
    while !bytes.is_empty() {
        let value_bytes = varint(&mut bytes).and_then(|tag| match tag & 7 {
            0 => varint(&mut bytes).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut bytes),
            5 => Some(4),
            _ => None,
        });
        let rest = value_bytes.and_then(|count| bytes.get(usize::try_from(count).ok()?..));
        let Some(rest) = rest else { return false };
        bytes = rest;
    }
    has_any
}

/// Takes a number of variable length: at most ten bytes of seven bits each.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Seed of the noise in a passage: the same for the same symbols.
pub(super) fn seed(symbols: &[i32]) -> u64 {
    symbols.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &symbol| {
        (hash ^ symbol as u64).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
