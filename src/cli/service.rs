//! The options of engines that are services over HTTP, and the engines they make.

use super::{Engine, Foreign, Opt, Source, Usage, opt};
use aloud::tts::upstream::ResponseFormat;
use aloud::tts::{ElevenLabs, SpeechApi, Synthesizer};
use aloud::upstream::{self, Credentials, Deadlines, Retries, Secret};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ENGINE_URL: Opt = opt("engine-url", "http://HOST:PORT");
pub(super) const ENGINE_MODEL: Opt = opt("engine-model", "the name of a model");
pub(super) const ENGINE_KEY_FILE: Opt = opt("engine-key-file", "a file name");
pub(super) const ENGINE_FORMAT: Opt = opt("engine-format", "wav or pcm");
pub(super) const ENGINE_CONNECT_MS: Opt = opt("engine-connect-ms", "a number of milliseconds");
pub(super) const ENGINE_ATTEMPTS: Opt = opt("engine-attempts", "a number from 1 to 10");

/// All of them.
pub(super) const OPTIONS: &[Opt] =
    &[ENGINE_URL, ENGINE_KEY_FILE, ENGINE_MODEL, ENGINE_FORMAT, ENGINE_CONNECT_MS, ENGINE_ATTEMPTS];

/// Not an option: what stands on a command line can be read by every user of the machine.
const KEY_VARIABLE: &str = "ALOUD_ENGINE_KEY";

/// What was asked for. `None` leaves the choice to the library.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Remote {
    pub(crate) url: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) key: Option<Key>,
    pub(crate) response: ResponseFormat,
    /// How long to wait for a connection, in ms.
    pub(crate) connect_ms: Option<u32>,
    pub(crate) attempts: Option<u32>,
}

/// Where the key is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Given(Secret),
    File(PathBuf),
}

impl Key {
    /// The key itself; `option` names the file.
    ///
    /// # Errors
    /// The file cannot be read or holds none.
    pub(super) fn read(&self, option: &str) -> Result<Secret, String> {
        match self {
            Key::Given(key) => Ok(key.clone()),
            Key::File(path) => Secret::from_file(path).map_err(|why| format!("--{option}: {why}")),
        }
    }
}

impl Source<'_> {
    /// What concerns an engine that is a service; all that it needs is there.
    pub(super) fn remote(
        &self,
        engine: Engine,
        voices: &[String],
        sample_rate_hz: Option<u32>,
    ) -> Result<Remote, Usage> {
        let url = self.text(&ENGINE_URL)?.map(|(_, url)| url);
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
        Ok(Remote {
            url,
            model: self.text(&ENGINE_MODEL)?.map(|(_, model)| model),
            key: self.key(&ENGINE_KEY_FILE, KEY_VARIABLE)?,
            response: self.choice(&ENGINE_FORMAT, ResponseFormat::from_name)?.unwrap_or_default(),
            connect_ms: self.number(&ENGINE_CONNECT_MS, 100..=3_600_000, "whole number of milliseconds")?,
            attempts: self.number(&ENGINE_ATTEMPTS, 1..=10, "whole number")?,
        })
    }

    /// A key, from the file that this option names, or else from this variable.
    pub(super) fn key(&self, file: &Opt, variable: &str) -> Result<Option<Key>, Usage> {
        if let Some((_, file)) = self.text(file)? {
            return Ok(Some(Key::File(file.into())));
        }
        let key = (self.env)(variable).filter(|key| !key.is_empty());
        let key = key.map(|key| Secret::new(&key)).transpose();
        Ok(key.map_err(|why| Usage(format!("{variable} is no key: {why}")))?.map(Key::Given))
    }
}

/// How to ask a service, which is at this URL where nothing else is said.
fn asked(
    foreign: &Foreign,
    url: &str,
    credentials: fn(Secret) -> Credentials,
) -> Result<upstream::Settings, String> {
    let remote = &foreign.remote;
    let secret = match &remote.key {
        None => None,
        Some(Key::Given(secret)) => Some(secret.clone()),
        Some(Key::File(path)) => Some(Secret::from_file(path)?),
    };
    let time = |asked: Option<u32>, default| asked.map_or(default, |ms| Duration::from_millis(ms.into()));
    let (deadlines, retries) = (Deadlines::default(), Retries::default());
    Ok(upstream::Settings {
        credentials: secret.map_or(Credentials::None, credentials),
        deadlines: Deadlines {
            connect: time(remote.connect_ms, deadlines.connect),
            first_byte: time(foreign.first_byte_ms, deadlines.first_byte),
            idle: time(foreign.idle_ms, deadlines.idle),
            total: time(foreign.total_ms, deadlines.total),
        },
        retries: Retries { attempts: remote.attempts.unwrap_or(retries.attempts), ..retries },
        ..upstream::Settings::new("speech engine", remote.url.as_deref().unwrap_or(url))
    })
}

/// A service with the interface of OpenAI's.
pub(super) fn speech_api(foreign: &Foreign) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let remote = &foreign.remote;
    // The URL has been asked for: there is no other.
    let mut engine = SpeechApi::new(asked(foreign, "", Credentials::Bearer)?)?;
    if let Some(model) = &remote.model {
        engine.model.clone_from(model);
    }
    if !foreign.voices.is_empty() {
        engine.voices.clone_from(&foreign.voices);
    }
    engine.treatment = foreign.treatment(engine.treatment);
    engine.response = remote.response;
    engine.sample_rate_hz = foreign.sample_rate_hz;
    Ok(Arc::new(engine))
}

/// The service of ElevenLabs.
pub(super) fn eleven_labs(foreign: &Foreign) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let remote = &foreign.remote;
    let settings = asked(foreign, ElevenLabs::URL, |key| Credentials::Header(ElevenLabs::KEY_HEADER, key))?;
    let mut engine = ElevenLabs::new(settings, foreign.voices.clone())?;
    if let Some(model) = &remote.model {
        engine.model.clone_from(model);
    }
    engine.treatment = foreign.treatment(engine.treatment);
    if let Some(rate) = foreign.sample_rate_hz {
        engine.sample_rate_hz = rate;
    }
    Ok(Arc::new(engine))
}
