//! The options of engines that are services over HTTP, and the engines they make.

use super::{Engine, Opt, Settings, Source, Usage, opt};
use aloud::tts::upstream::ResponseFormat;
use aloud::tts::{ElevenLabs, SpeechApi, Synthesizer};
use aloud::upstream::{self, Credentials, Deadlines, Retries, Secret};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const VOICES: Opt = opt("voices", "names with commas between them");
pub(super) const ENGINE_URL: Opt = opt("engine-url", "http://HOST:PORT");
pub(super) const ENGINE_MODEL: Opt = opt("engine-model", "the name of a model");
pub(super) const ENGINE_KEY_FILE: Opt = opt("engine-key-file", "a file name");
pub(super) const ENGINE_FORMAT: Opt = opt("engine-format", "wav or pcm");
pub(super) const ENGINE_SAMPLE_RATE: Opt = opt("engine-sample-rate", "a number of samples per second");
pub(super) const ENGINE_CONNECT_TIMEOUT_MS: Opt =
    opt("engine-connect-timeout-ms", "a number of milliseconds");
pub(super) const ENGINE_FIRST_BYTE_TIMEOUT_MS: Opt =
    opt("engine-first-byte-timeout-ms", "a number of milliseconds");
pub(super) const ENGINE_IDLE_TIMEOUT_MS: Opt = opt("engine-idle-timeout-ms", "a number of milliseconds");
pub(super) const ENGINE_TIMEOUT_MS: Opt = opt("engine-timeout-ms", "a number of milliseconds");
pub(super) const ENGINE_ATTEMPTS: Opt = opt("engine-attempts", "a number from 1 to 10");

/// Not an option: what stands on a command line can be read by every user of the machine.
const KEY_VARIABLE: &str = "ALOUD_ENGINE_KEY";

/// All of them.
pub(super) const OPTIONS: &[Opt] = &[
    VOICES,
    ENGINE_URL,
    ENGINE_MODEL,
    ENGINE_KEY_FILE,
    ENGINE_FORMAT,
    ENGINE_SAMPLE_RATE,
    ENGINE_CONNECT_TIMEOUT_MS,
    ENGINE_FIRST_BYTE_TIMEOUT_MS,
    ENGINE_IDLE_TIMEOUT_MS,
    ENGINE_TIMEOUT_MS,
    ENGINE_ATTEMPTS,
];

/// What was asked for. `None` leaves the choice to the library.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remote {
    pub(crate) url: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) key: Option<Key>,
    pub(crate) response: ResponseFormat,
    pub(crate) sample_rate_hz: Option<u32>,
    pub(crate) deadlines: Deadlines,
    pub(crate) attempts: Option<u32>,
}

/// Where the key is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Given(Secret),
    File(PathBuf),
}

impl Source<'_> {
    /// The voices that an engine offers; none where nothing is said.
    pub(super) fn voices(&self) -> Result<Vec<String>, Usage> {
        let Some((name, text)) = self.text(&VOICES)? else { return Ok(Vec::new()) };
        let voices: Vec<String> = text.split(',').map(|voice| voice.trim().to_owned()).collect();
        let twice = voices.iter().enumerate().any(|(n, voice)| voices[..n].contains(voice));
        if twice || voices.iter().any(String::is_empty) {
            let value = VOICES.value;
            return Err(Usage(format!(
                "{name} cannot be `{text}`; give {value}, none of them empty or twice"
            )));
        }
        Ok(voices)
    }

    /// What concerns an engine that is a service; all that it needs is there.
    pub(super) fn remote(&self, engine: Engine, voices: &[String]) -> Result<Remote, Usage> {
        let url = self.text(&ENGINE_URL)?.map(|(_, url)| url);
        let sample_rate_hz =
            self.number(&ENGINE_SAMPLE_RATE, 8_000..=192_000, "whole number of samples per second")?;
        match engine {
            Engine::Speech if url.is_none() => {
                return Err(Usage(
                    "--engine speech needs --engine-url, the address of the service, such as \
                     http://127.0.0.1:8880"
                        .to_owned(),
                ));
            }
            Engine::ElevenLabs if voices.is_empty() => {
                return Err(Usage(
                    "--engine elevenlabs needs --voices, the ids of voices with commas between them, the \
                     default one first"
                        .to_owned(),
                ));
            }
            Engine::ElevenLabs
                if sample_rate_hz.is_some_and(|hz| !ElevenLabs::SAMPLE_RATES.contains(&hz)) =>
            {
                let rates = ElevenLabs::SAMPLE_RATES.map(|hz| hz.to_string()).join(", ");
                return Err(Usage(format!(
                    "--engine elevenlabs has no such --engine-sample-rate; give one of {rates}"
                )));
            }
            _ => {}
        }
        let key = match engine {
            Engine::Speech | Engine::ElevenLabs => self.key()?,
            // A key for another is nobody's business.
            _ => None,
        };
        let ms = |option: &Opt, default: Duration| {
            let given = self.number(option, 1..=3_600_000, "whole number of milliseconds")?;
            Ok(given.map_or(default, Duration::from_millis))
        };
        let default = Deadlines::default();
        Ok(Remote {
            url,
            model: self.text(&ENGINE_MODEL)?.map(|(_, model)| model),
            key,
            response: self.choice(&ENGINE_FORMAT, ResponseFormat::from_name)?.unwrap_or_default(),
            sample_rate_hz,
            deadlines: Deadlines {
                connect: ms(&ENGINE_CONNECT_TIMEOUT_MS, default.connect)?,
                first_byte: ms(&ENGINE_FIRST_BYTE_TIMEOUT_MS, default.first_byte)?,
                idle: ms(&ENGINE_IDLE_TIMEOUT_MS, default.idle)?,
                total: ms(&ENGINE_TIMEOUT_MS, default.total)?,
            },
            attempts: self.number(&ENGINE_ATTEMPTS, 1..=10, "whole number")?,
        })
    }

    fn key(&self) -> Result<Option<Key>, Usage> {
        if let Some((_, file)) = self.text(&ENGINE_KEY_FILE)? {
            return Ok(Some(Key::File(file.into())));
        }
        let key = (self.env)(KEY_VARIABLE).filter(|key| !key.is_empty());
        let key = key.map(|key| Secret::new(&key)).transpose();
        Ok(key.map_err(|why| Usage(format!("{KEY_VARIABLE} is no key: {why}")))?.map(Key::Given))
    }
}

impl Remote {
    fn settings(
        &self,
        url: &str,
        credentials: fn(Secret) -> Credentials,
    ) -> Result<upstream::Settings, String> {
        let secret = match &self.key {
            None => None,
            Some(Key::Given(secret)) => Some(secret.clone()),
            Some(Key::File(path)) => Some(Secret::from_file(path)?),
        };
        let default = Retries::default();
        Ok(upstream::Settings {
            credentials: secret.map_or(Credentials::None, credentials),
            deadlines: self.deadlines,
            retries: Retries { attempts: self.attempts.unwrap_or(default.attempts), ..default },
            ..upstream::Settings::new("speech engine", self.url.as_deref().unwrap_or(url))
        })
    }
}

/// A service with the interface of OpenAI's.
pub(super) fn speech_api(settings: &Settings) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let remote = &settings.remote;
    // The URL has been asked for: there is no other.
    let mut engine = SpeechApi::new(remote.settings("", Credentials::Bearer)?)?;
    if let Some(model) = &remote.model {
        engine.model.clone_from(model);
    }
    if !settings.voices.is_empty() {
        engine.voices.clone_from(&settings.voices);
    }
    engine.response = remote.response;
    engine.sample_rate_hz = remote.sample_rate_hz;
    Ok(Arc::new(engine))
}

/// The service of ElevenLabs.
pub(super) fn eleven_labs(settings: &Settings) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let remote = &settings.remote;
    let asked = remote.settings(ElevenLabs::URL, |key| Credentials::Header(ElevenLabs::KEY_HEADER, key))?;
    let mut engine = ElevenLabs::new(asked, settings.voices.clone())?;
    if let Some(model) = &remote.model {
        engine.model.clone_from(model);
    }
    if let Some(rate) = remote.sample_rate_hz {
        engine.sample_rate_hz = rate;
    }
    Ok(Arc::new(engine))
}
