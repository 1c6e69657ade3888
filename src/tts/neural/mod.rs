//! Natural voices from files: neural networks that run in this process, without Python, GPU or C.
//!
//! A sentence is read by the same analysis as for [`Flite`](super::Flite), spelled in the alphabet of the
//! voice, and planned as a whole: how long each sound is, and its pitch. Its audio is then synthesised in
//! windows of up to 1.6 s, so that the first audio is there soon and many listeners take turns.

mod alphabet;
mod files;
mod fourier;
mod graph;
mod hibari;
mod phones;
mod piper;
mod random;
mod settings;
mod speaker;
mod spectra;
mod voices;
mod windows;

use super::narrate::Narrator;
use super::pool::{Order, Pool};
use super::reading::{Limits, Piece};
use super::{Sink, Speech, Synthesizer, Utterance, Voice};
use crate::audio::{Encoding, Format};
use phones::Reader;
use speaker::Part;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use voices::Loaded;

/// Limits of a piece: about 400 letters of a voice's alphabet, the most that voices are trained on. The name of a
/// letter or figure has up to nine of them, as in "double-u": the plan of a piece is one unit of work, whatever the
/// text.
const LIMITS: Limits = Limits { cost: 380, spelled: 9, word_chars: 40 };

/// A file with a voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceFile {
    /// Name by which clients ask for the voice. `None` takes the name of a known voice, or the name of the
    /// file.
    pub name: Option<String>,
    /// Path of the ONNX file: a regular file of at most 512 MiB. A voice of Piper has its `.onnx.json`
    /// (at most 1 MiB) beside it.
    pub path: PathBuf,
}

impl VoiceFile {
    /// Loads the file, speaks a sentence with it to be sure, and returns the voice. Takes about 0.2 s; a large
    /// voice a few seconds.
    ///
    /// # Errors
    /// The file cannot be read, or is no voice of a known kind.
    pub fn identify(&self) -> Result<Voice, VoiceFileError> {
        Ok(Loaded::load(self, &Reader::new())?.voice)
    }
}

/// A file that is no voice, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceFileError(String);

impl VoiceFileError {
    fn about(file: &VoiceFile, why: &str) -> VoiceFileError {
        VoiceFileError(format!("the voice file {} cannot be used: {why}", file.path.display()))
    }
}

impl fmt::Display for VoiceFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for VoiceFileError {}

/// Natural voices from files (feature `neural`).
///
/// - Voices: those of hibari, 24 kHz, and those of Piper with its `.onnx.json` beside the file. They speak
///   English.
/// - Figures, signs, units and abbreviations become words first, unless [`Utterance::normalize`] is
///   `Some(false)`. Words in other scripts are left out, with the warning `unspeakable_text`.
/// - Speeds outside of 0.5 to 2.0 become the nearest of the two.
/// - The same utterance gives the same bytes, with any number of threads, on machines with the same kind
///   of processor. Other processors round differently: sessions cannot move between these.
/// - Silence around a sentence and its level are as with [`Flite`](super::Flite). The level of each voice
///   is measured when it is loaded.
/// - Words are timed by the durations that the voice plans. They are exact to about 50 ms.
/// - A voice may plan sounds of at most 10 s, and passages of at most 300 s. Others fail.
/// - A unit of work is the plan of a sentence, or one window of its audio: up to about 50 ms with hibari, and
///   0.7 s with voices of Piper, for the plan of a long sentence. Turns go round the
///   [clients](Utterance::client). A window whose listener would run dry comes first, then the first
///   windows of sentences.
#[derive(Clone)]
pub struct Neural {
    voices: Arc<[Loaded]>,
    reader: Reader,
    pool: Arc<Pool>,
}

impl Neural {
    /// Loads voices, with one thread for each core. The first one is the default. Takes about 0.2 s for
    /// each.
    ///
    /// A damaged file can make the library that runs graphs panic. Such panics become errors. The first
    /// call wraps the panic hook of the process, so that they are not reported while a file is loaded.
    ///
    /// # Errors
    /// A file cannot be read, is no voice of a known kind, or two voices have the same name.
    ///
    /// # Panics
    /// Panics if `files` is empty.
    pub fn load(files: &[VoiceFile]) -> Result<Neural, VoiceFileError> {
        Neural::with_threads(files, thread::available_parallelism().map_or(1, usize::from))
    }

    /// As [`load`](Neural::load), with this many threads, at least one.
    ///
    /// # Errors
    /// As [`load`](Neural::load).
    ///
    /// # Panics
    /// Panics if `files` is empty.
    pub fn with_threads(files: &[VoiceFile], threads: usize) -> Result<Neural, VoiceFileError> {
        assert!(!files.is_empty(), "at least one voice");
        let reader = Reader::new();
        let mut voices: Vec<Loaded> = Vec::new();
        for file in files {
            let voice = Loaded::load(file, &reader)?;
            voice.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            if let Some(other) = voices.iter().find(|other| other.voice.name == voice.voice.name) {
                return Err(VoiceFileError(format!(
                    "{} and {} have the same name, {}; give one of them another name",
                    other.path.display(),
                    voice.path.display(),
                    voice.voice.name
                )));
            }
            voices.push(voice);
        }
        Ok(Neural {
            voices: voices.into(),
            reader,
            pool: Arc::new(Pool::new("neural", Order::UrgentFirst, threads)),
        })
    }
}

impl Neural {
    /// Warnings about the files, which are in the log as well: for a program without a log.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.voices.iter().flat_map(|loaded| &loaded.warnings).map(String::as_str)
    }
}

impl fmt::Debug for Neural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Neural({} voices, {} free threads)", self.voices.len(), self.pool.free_threads())
    }
}

impl Synthesizer for Neural {
    fn name(&self) -> &str {
        "neural"
    }

    fn format(&self) -> Format {
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.voices[0].sample_rate_hz }
    }

    fn voices(&self) -> Vec<Voice> {
        self.voices.iter().map(|loaded| loaded.voice.clone()).collect()
    }

    fn is_deterministic(&self) -> bool {
        true
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let named = self.voices.iter().position(|loaded| loaded.voice.name == utterance.voice);
        let voice = named.unwrap_or_default();
        let (sink, speech) = Speech::channel(&utterance, self.voices[voice].sample_rate_hz);
        tokio::spawn(speak(self.clone(), voice, utterance, sink));
        speech
    }
}

/// Speaks an utterance to its end, or until the listener leaves.
async fn speak(engine: Neural, voice: usize, utterance: Utterance, sink: Sink) {
    let narrator = Narrator {
        engine: "neural",
        pool: &engine.pool,
        sample_rate_hz: engine.voices[voice].sample_rate_hz,
        limits: LIMITS,
    };
    let begin = |piece: Piece, clock| {
        let (planner, speed) = (engine.clone(), utterance.speed);
        move |_, _: &mut Sink| Part::plan(&planner.voices[voice], &planner.reader, &piece, speed, clock)
    };
    narrator.speak(&utterance, sink, begin).await;
}

#[cfg(test)]
mod tests;
