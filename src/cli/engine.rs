//! Engines outside of this process: their options, and how to make them.

use super::Source;
use super::options;
use super::parse::{Usage, wrong};
use super::run::about_url;
use aloud::setting::Group;
use aloud::tts::upstream::{RequestBody, ResponseFormat};
use aloud::tts::{ElevenLabs, SampleEncoding, SpeechApi, Synthesizer, Treatment, Wyoming, command};
use aloud::upstream::{self, Credentials, Deadlines, Retries, Secret};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Values of `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Flite,
    Neural,
    Tone,
    Command,
    Speech,
    ElevenLabs,
    Wyoming,
}

impl Engine {
    pub(super) fn from_name(name: &str) -> Option<Engine> {
        match name {
            "flite" => Some(Engine::Flite),
            "neural" => Some(Engine::Neural),
            "tone" => Some(Engine::Tone),
            "command" => Some(Engine::Command),
            "speech" => Some(Engine::Speech),
            "elevenlabs" => Some(Engine::ElevenLabs),
            "wyoming" => Some(Engine::Wyoming),
            _ => None,
        }
    }
}

/// An engine outside of this process. `None` leaves the choice to the library.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Foreign {
    /// The program and its arguments; never empty if the engine is `command`.
    pub(crate) command: String,
    /// The default first.
    pub(crate) voices: Vec<String>,
    /// Language for clients that name none.
    pub(crate) language: Option<String>,
    /// Encoding of samples without a header.
    pub(crate) encoding: Option<SampleEncoding>,
    pub(crate) sample_rate_hz: Option<u32>,
    pub(crate) channels: Option<u16>,
    pub(crate) gain_db: Option<f32>,
    pub(crate) lead_ms: Option<u16>,
    pub(crate) tail_ms: Option<u16>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) total: Option<Duration>,
    /// Options of services only.
    pub(crate) remote: Remote,
}

/// A service over HTTP. `None` leaves the choice to the library.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Remote {
    pub(crate) url: Option<String>,
    /// Further addresses.
    pub(crate) others: Vec<String>,
    pub(crate) model: Option<String>,
    pub(crate) key: Option<Key>,
    pub(crate) response: ResponseFormat,
    pub(crate) path: Option<String>,
    pub(crate) body: Option<RequestBody>,
    pub(crate) connect: Option<Duration>,
    pub(crate) attempts: Option<u32>,
}

/// The place of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Given(Secret),
    File(PathBuf),
}

impl Key {
    /// Returns the key itself; `option` named its file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key.
    pub(super) fn read(&self, option: &str) -> Result<Secret, String> {
        match self {
            Key::Given(key) => Ok(key.clone()),
            Key::File(path) => Secret::from_file(path).map_err(|why| format!("--{option}: {why}")),
        }
    }
}

impl Foreign {
    fn treatment(&self) -> Treatment {
        let default = Treatment::default();
        Treatment {
            lead_ms: self.lead_ms.unwrap_or(default.lead_ms),
            tail_ms: self.tail_ms.unwrap_or(default.tail_ms),
            gain_db: self.gain_db.unwrap_or(default.gain_db),
        }
    }

    fn deadlines(&self) -> Deadlines {
        let default = Deadlines::default();
        Deadlines {
            connect: self.remote.connect.unwrap_or(default.connect),
            first_byte: self.first_byte.unwrap_or(default.first_byte),
            idle: self.idle.unwrap_or(default.idle),
            total: self.total.unwrap_or(default.total),
        }
    }

    /// Returns the library's settings for a program.
    pub(crate) fn program(&self) -> command::Settings {
        let default = command::Settings::new(&self.command);
        command::Settings {
            voices: self.voices.clone(),
            language: self.language.clone().unwrap_or(default.language),
            encoding: self.encoding,
            sample_rate_hz: self.sample_rate_hz.unwrap_or(default.sample_rate_hz),
            channels: self.channels.unwrap_or(default.channels),
            treatment: self.treatment(),
            first_byte: self.first_byte.unwrap_or(default.first_byte),
            idle: self.idle.unwrap_or(default.idle),
            total: self.total.unwrap_or(default.total),
            command: default.command,
            hidden_variables: default.hidden_variables,
        }
    }
}

impl Source<'_> {
    /// The options of an engine outside of this process.
    pub(super) fn foreign(&self, engine: Engine) -> Result<Foreign, Usage> {
        if matches!(engine, Engine::Flite | Engine::Neural | Engine::Tone) {
            // Variables may stay set for another engine; options are meant for this one.
            let is_foreign =
                |group: Group| matches!(group, Group::Outside | Group::Program | Group::HttpEngine);
            return match self.first(|option| is_foreign(option.group)) {
                None => Ok(Foreign::default()),
                Some(option) => wrong(format!(
                    "--{} is for engines outside of this program; choose one with --engine, or leave it out",
                    option.name
                )),
            };
        }
        let program = self.text("command")?;
        if engine == Engine::Command && program.is_none() {
            return wrong("--engine command needs --command, such as --command 'espeak-ng --stdout --stdin'");
        }
        let (name, command) = program.unwrap_or_default();
        let voices = self.voices()?;
        let sample_rate_hz = self.value("engine-sample-rate")?;
        let foreign = Foreign {
            command,
            remote: match engine {
                Engine::Command => Remote::default(),
                _ => self.remote(engine, &voices, sample_rate_hz)?,
            },
            voices,
            language: self.language()?,
            encoding: self.choice("engine-encoding", SampleEncoding::from_name)?,
            sample_rate_hz,
            channels: self.value("engine-channels")?,
            gain_db: self.value("engine-gain")?,
            lead_ms: self.value("engine-lead-ms")?,
            tail_ms: self.value("engine-tail-ms")?,
            first_byte: self.value("engine-first-byte-ms")?,
            idle: self.value("engine-idle-ms")?,
            total: self.value("engine-total-ms")?,
        };
        if engine == Engine::Command
            && let Err(why) = foreign.program().check()
        {
            return wrong(format!("{name} cannot be `{}`: {why}", foreign.command));
        }
        Ok(foreign)
    }

    fn voices(&self) -> Result<Vec<String>, Usage> {
        let Some((name, text)) = self.text("voices")? else { return Ok(Vec::new()) };
        let voices: Vec<String> = text.split(',').map(|voice| voice.trim().to_owned()).collect();
        match voices.iter().any(String::is_empty) {
            true => wrong(format!(
                "{name} cannot be `{text}`, where a name is empty; give names with commas between them"
            )),
            false => Ok(voices),
        }
    }

    pub(super) fn language(&self) -> Result<Option<String>, Usage> {
        let Some((name, text)) = self.text("language")? else { return Ok(None) };
        let is_tag = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match is_tag {
            true => Ok(Some(text)),
            false => wrong(format!("{name} cannot be `{text}`; give a tag such as en or pt-BR")),
        }
    }

    fn remote(
        &self,
        engine: Engine,
        voices: &[String],
        sample_rate_hz: Option<u32>,
    ) -> Result<Remote, Usage> {
        let urls = self.text("engine-url")?.map(|(_, urls)| urls).unwrap_or_default();
        let mut urls = urls.split(',').map(|url| url.trim().to_owned());
        let (url, others) = (urls.next().filter(|url| !url.is_empty()), urls.collect::<Vec<_>>());
        match engine {
            Engine::Speech if url.is_none() => {
                return wrong(
                    "--engine speech needs --engine-url, the address of the service, such as \
                     http://127.0.0.1:8880",
                );
            }
            Engine::Wyoming if url.is_none() => {
                return wrong(
                    "--engine wyoming needs --engine-url, the address of the server, such as tcp://127.0.0.1:10200",
                );
            }
            Engine::Wyoming if !others.is_empty() => {
                return wrong("--engine wyoming takes one --engine-url; leave the others out");
            }
            Engine::ElevenLabs if voices.is_empty() => {
                return wrong(
                    "--engine elevenlabs needs --voices, the ids of voices with commas between them, the \
                     default first",
                );
            }
            Engine::ElevenLabs
                if sample_rate_hz.is_some_and(|hz| !ElevenLabs::SAMPLE_RATES.contains(&hz)) =>
            {
                let rates = ElevenLabs::SAMPLE_RATES.map(|hz| hz.to_string()).join(", ");
                return wrong(format!(
                    "--engine elevenlabs does not have this --engine-sample-rate; give one of {rates}"
                ));
            }
            _ => {}
        }
        let (path, body) = (self.text("engine-path")?, self.text("engine-body")?);
        let body = body.map(|(name, text)| {
            text.parse::<RequestBody>().map_err(|why| Usage(format!("{name} cannot be `{text}`: {why}")))
        });
        // Variables may stay set for another engine.
        let useless = self.first(|option| match (option.name, engine) {
            ("engine-path" | "engine-body", engine) => engine != Engine::Speech,
            ("engine-key-file" | "engine-model" | "engine-format", engine) => engine == Engine::Wyoming,
            _ => false,
        });
        if let Some(option) = useless {
            return wrong(format!("--{} has no meaning for this --engine; leave it out", option.name));
        }
        Ok(Remote {
            url,
            others,
            path: path.map(|(_, path)| path).filter(|_| engine == Engine::Speech),
            body: body.transpose()?.filter(|_| engine == Engine::Speech),
            model: self.value("engine-model")?,
            key: self.key("engine-key-file")?.filter(|_| engine != Engine::Wyoming),
            response: self.choice_or_default("engine-format", ResponseFormat::from_name)?,
            connect: self.value("engine-connect-ms")?,
            attempts: self.value("engine-attempts")?,
        })
    }

    /// A secret: from the file that the option names, or else from its variable.
    pub(super) fn key(&self, option: &str) -> Result<Option<Key>, Usage> {
        if let Some((_, file)) = self.text(option)? {
            return Ok(Some(Key::File(file.into())));
        }
        let secret = options::SECRETS.iter().find(|secret| secret.file_option == option);
        let variable = secret.expect("a secret with this option").variable;
        let key = self.variable(variable).map(|key| Secret::new(&key)).transpose();
        Ok(key.map_err(|why| Usage(format!("{variable} is no key: {why}")))?.map(Key::Given))
    }
}

/// Settings for requests to a service, at `url` if no other URL was given.
fn asked(
    foreign: &Foreign,
    url: &str,
    credentials: fn(Secret) -> Credentials,
) -> Result<upstream::UpstreamSettings, String> {
    let remote = &foreign.remote;
    let secret = remote.key.as_ref().map(|key| key.read("engine-key-file")).transpose()?;
    let retries = Retries::default();
    Ok(upstream::UpstreamSettings {
        credentials: secret.map_or(Credentials::None, credentials),
        deadlines: foreign.deadlines(),
        retries: Retries { attempts: remote.attempts.unwrap_or(retries.attempts), ..retries },
        other_urls: remote.others.clone(),
        ..upstream::UpstreamSettings::new("speech engine", remote.url.as_deref().unwrap_or(url))
    })
}

/// An engine that asks a service with OpenAI's interface.
pub(super) fn speech_api(foreign: &Foreign) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let remote = &foreign.remote;
    // Parsing has made sure that there is a URL.
    let mut engine = SpeechApi::new(asked(foreign, "", Credentials::Bearer)?)
        .map_err(|why| about_url("engine-url", why))?;
    if let Some(model) = &remote.model {
        engine.model.clone_from(model);
    }
    if !foreign.voices.is_empty() {
        engine.voices.clone_from(&foreign.voices);
    }
    engine.treatment = foreign.treatment();
    engine.response = remote.response;
    if let Some(path) = &remote.path {
        engine.path.clone_from(path);
        engine.check().map_err(|why| format!("--engine-path cannot be `{path}`: {why}"))?;
    }
    engine.body.clone_from(&remote.body);
    if let Some(language) = &foreign.language {
        engine.language.clone_from(language);
    }
    engine.sample_rate_hz = foreign.sample_rate_hz;
    Ok(Arc::new(engine))
}

/// An engine that asks ElevenLabs.
pub(super) fn eleven_labs(foreign: &Foreign) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let remote = &foreign.remote;
    let settings = asked(foreign, ElevenLabs::URL, |key| Credentials::Header(ElevenLabs::KEY_HEADER, key))?;
    let mut engine =
        ElevenLabs::new(settings, foreign.voices.clone()).map_err(|why| about_url("engine-url", why))?;
    if let Some(model) = &remote.model {
        engine.model.clone_from(model);
    }
    engine.treatment = foreign.treatment();
    if let Some(rate) = foreign.sample_rate_hz {
        engine.sample_rate_hz = rate;
    }
    Ok(Arc::new(engine))
}

/// An engine that is a Wyoming server.
pub(super) fn wyoming(foreign: &Foreign) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    // Parsing has made sure that there is a URL.
    let settings = asked(foreign, "", Credentials::Bearer)?;
    let mut engine = Wyoming::new(settings).map_err(|why| about_url("engine-url", why))?;
    engine.voices.clone_from(&foreign.voices);
    engine.treatment = foreign.treatment();
    if let Some(rate) = foreign.sample_rate_hz {
        engine.sample_rate_hz = rate;
    }
    Ok(Arc::new(engine))
}
