//! The command line: arguments and environment in, a command or a sentence out.
//!
//! Parsing does not act: it opens no file, binds no address and asks neither the clock nor the
//! machine, so that every rule of the command line is a row in a table of tests. What a command
//! does stands in a file of its own. Everything comes from the crate's public API.

mod admission;
mod bench;
mod help;
mod lines;
mod operation;
mod run;
mod say;
mod service;
mod systemd;
mod threads;
mod writer;

use admission::{
    ALLOW_ORIGIN, AUTH, AUTH_TIMEOUT_MS, AUTH_TOKENS, INSECURE, JWT_AUDIENCE, JWT_ISSUER, JWT_KEY_FILE,
    JWT_LEEWAY_MS, MAX_CLIENT_CHARS, MAX_CLIENT_CONNECTIONS, MAX_CLIENT_HANDSHAKES, MAX_CLIENT_SESSIONS,
    MAX_CONNECTIONS, TOKEN_IN_QUERY, TRUSTED_PROXY,
};
use aloud::audio::Encoding;
use aloud::settings::{Admission, Listen};
use aloud::tts::{SampleEncoding, Treatment, command};
use aloud::{Config, PATH, Service, TextSource};
use operation::{ADMIN, DRAIN_TIMEOUT, LOG_FORMAT, LOG_LEVEL, LOG_TEXT, LogFormat, Logging, Operation};
use service::{
    ENGINE_ATTEMPTS, ENGINE_CONNECT_MS, ENGINE_FORMAT, ENGINE_KEY_FILE, ENGINE_MODEL, ENGINE_URL, Remote,
};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use writer::{
    LLM_KEY_FILE, LLM_MAX_CHARS, LLM_MAX_TOKENS, LLM_MODEL, LLM_TEMPERATURE, LLM_TIMEOUT_MS, LLM_URL, Llm,
    SAY_SOURCE, SOURCE, SYSTEM_PROMPT, SYSTEM_PROMPT_FILE,
};

/// What the person asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Run the server.
    Serve(Box<Serve>),
    /// Speak a text into a file.
    Say(Say),
    /// Put load on a server.
    Bench(Box<bench::Bench>),
    /// Run a WebSocket echo.
    Echo(Echo),
    /// Print this and end.
    Help(&'static str),
    /// Print the version and end.
    Version,
}

/// `aloud serve`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Serve {
    pub(crate) listen: Listen,
    /// Whether the engine has to say a word first.
    pub(crate) warms_up: bool,
    pub(crate) operation: Operation,
    /// Whether it is meant that everyone may enter.
    pub(crate) is_insecure: bool,
    pub(crate) admission: Admission,
    /// Whether there is a page for a look.
    pub(crate) has_demo: bool,
    pub(crate) settings: Settings,
}

/// How a server of our own speaks. `None` leaves the choice to the library.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) engine: Engine,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) sample_rate_hz: Option<u32>,
    pub(crate) frame_ms: Option<u32>,
    pub(crate) speed: Option<f32>,
    pub(crate) greeting: Option<String>,
    /// Whether delivery is paced for clients that do not say.
    pub(crate) paced: bool,
    /// How far ahead of the listener paced delivery sends, in ms.
    pub(crate) ahead_ms: Option<u32>,
    /// Length of each sentence with the tone engine.
    pub(crate) tone_seconds: f64,
    /// Threads that synthesise; `None` for the number of cores.
    pub(crate) threads: Option<usize>,
    /// What concerns an engine outside of this process.
    pub(crate) foreign: Foreign,
    /// Speaks while the other one fails.
    pub(crate) fallback: Option<Engine>,
    /// Sentences that the engine works on at once; `None` for what suits the engine.
    pub(crate) concurrency: Option<usize>,
    /// Sentences that may wait for it.
    pub(crate) queue: Option<usize>,
    /// How long one may wait for it, in ms.
    pub(crate) queue_timeout_ms: Option<u64>,
    pub(crate) limits: Limits,
    /// Where the text comes from for clients that do not say.
    pub(crate) source: TextSource,
    /// The language model that writes, if there is one.
    pub(crate) llm: Option<Llm>,
}

/// An engine outside of this process. `None` leaves the choice to the library.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Foreign {
    /// The program and its arguments; there is one where the engine is `command`.
    pub(crate) command: String,
    /// The default first.
    pub(crate) voices: Vec<String>,
    /// Where a client names none.
    pub(crate) language: Option<String>,
    /// How samples are written that have no header.
    pub(crate) encoding: Option<SampleEncoding>,
    pub(crate) sample_rate_hz: Option<u32>,
    pub(crate) channels: Option<u16>,
    pub(crate) gain_db: Option<f32>,
    pub(crate) lead_ms: Option<u16>,
    pub(crate) tail_ms: Option<u16>,
    pub(crate) first_byte_ms: Option<u32>,
    pub(crate) idle_ms: Option<u32>,
    pub(crate) total_ms: Option<u32>,
    /// What concerns services only.
    pub(crate) remote: Remote,
}

impl Foreign {
    /// What is done to its audio, with what was asked for put in.
    pub(crate) fn treatment(&self, default: Treatment) -> Treatment {
        Treatment {
            lead_ms: self.lead_ms.unwrap_or(default.lead_ms),
            tail_ms: self.tail_ms.unwrap_or(default.tail_ms),
            gain_db: self.gain_db.unwrap_or(default.gain_db),
        }
    }

    /// The library's settings for a program with what was asked for put in.
    pub(crate) fn program(&self) -> command::Settings {
        let default = command::Settings::new(&self.command);
        let time = |asked: Option<u32>, default| asked.map_or(default, |ms| Duration::from_millis(ms.into()));
        command::Settings {
            voices: self.voices.clone(),
            language: self.language.clone().unwrap_or(default.language),
            encoding: self.encoding,
            sample_rate_hz: self.sample_rate_hz.unwrap_or(default.sample_rate_hz),
            channels: self.channels.unwrap_or(default.channels),
            treatment: self.treatment(default.treatment),
            first_byte: time(self.first_byte_ms, default.first_byte),
            idle: time(self.idle_ms, default.idle),
            total: time(self.total_ms, default.total),
            command: default.command,
        }
    }
}

/// What one client may ask for. `None` leaves the choice to the library.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) prompt_chars: Option<usize>,
    pub(crate) session_chars: Option<u64>,
    pub(crate) session_ms: Option<u64>,
    pub(crate) resume_ttl_ms: Option<u64>,
    pub(crate) idle_ms: Option<u64>,
    pub(crate) message_bytes: Option<usize>,
    pub(crate) messages_per_sec: Option<u32>,
    pub(crate) prefetch: Option<usize>,
}

impl Settings {
    /// The library's settings with what was asked for put in.
    pub(crate) fn config(&self) -> Config {
        let default = Config::default();
        Config {
            greeting: self.greeting.clone().unwrap_or(default.greeting),
            frame_ms: self.frame_ms.unwrap_or(default.frame_ms),
            encoding: self.encoding,
            sample_rate_hz: self.sample_rate_hz,
            speed: self.speed.unwrap_or(default.speed),
            paced: self.paced,
            ahead: self.ahead_ms.map_or(default.ahead, |ms| Duration::from_millis(ms.into())),
            prefetch: self.limits.prefetch.unwrap_or(default.prefetch),
            max_prompt_chars: self.limits.prompt_chars.unwrap_or(default.max_prompt_chars),
            max_session_chars: self.limits.session_chars.or(default.max_session_chars),
            max_session: self.limits.session_ms.map_or(default.max_session, Duration::from_millis),
            resume_ttl: self.limits.resume_ttl_ms.map_or(default.resume_ttl, Duration::from_millis),
            idle_timeout: self.limits.idle_ms.map(Duration::from_millis).or(default.idle_timeout),
            max_message_bytes: self.limits.message_bytes.unwrap_or(default.max_message_bytes),
            max_messages_per_sec: self.limits.messages_per_sec.or(default.max_messages_per_sec),
            source: self.source,
            max_script_chars: self
                .llm
                .as_ref()
                .and_then(|llm| llm.max_chars)
                .unwrap_or(default.max_script_chars),
            ..default
        }
    }
}

/// The longest time that can be set, in ms: a week.
const MAX_MS: u64 = 7 * 24 * 3_600_000;

/// The engines that `--engine` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Flite,
    Tone,
    Command,
    Speech,
    ElevenLabs,
}

impl Engine {
    fn from_name(name: &str) -> Option<Engine> {
        match name {
            "flite" => Some(Engine::Flite),
            "tone" => Some(Engine::Tone),
            "command" => Some(Engine::Command),
            "speech" => Some(Engine::Speech),
            "elevenlabs" => Some(Engine::ElevenLabs),
            _ => None,
        }
    }
}

/// `aloud say`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Say {
    pub(crate) text: Text,
    pub(crate) output: Output,
    /// At the pace of speech, in place of as fast as it comes.
    pub(crate) paced: bool,
    /// Where the text to speak comes from, if that is said.
    pub(crate) source: Option<TextSource>,
    /// What the server at a URL is shown.
    pub(crate) token: Option<service::Key>,
    pub(crate) server: Via,
}

/// Where the text to speak comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Stdin,
    Given(String),
}

/// Where the WAV goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    File(PathBuf),
}

/// Which server speaks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Via {
    /// One in this process, on a free port.
    Own(Box<Settings>),
    /// One that runs already.
    Url {
        /// Always with a path.
        url: String,
        /// To ask the server for, if anything.
        speed: Option<f32>,
        /// To ask the server for, if anything.
        encoding: Option<Encoding>,
        /// To ask the server for, if anything.
        sample_rate_hz: Option<u32>,
    },
}

/// `aloud echo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) listen: Listen,
    pub(crate) max_message_bytes: usize,
}

impl Error for Usage {}

/// Wrong usage: one sentence for the person who typed it. Exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Command {
    /// Does what was asked for. Text for the person who reads it goes to stdout, lines for the
    /// operator to stderr.
    ///
    /// # Errors
    /// A sentence that names what failed. Exit code 1, or 2 if it is [`Usage`].
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self {
            Command::Help(text) => print(text),
            Command::Version => print(concat!("aloud ", env!("CARGO_PKG_VERSION"), "\n")),
            Command::Say(asked) => say::say(asked),
            Command::Bench(asked) => bench::bench(&asked),
            Command::Serve(serve) => {
                let Serve { listen, warms_up, operation, is_insecure, admission, has_demo, settings } =
                    *serve;
                admission::check_exposure(&listen, &admission, is_insecure)?;
                let config = Config { admission, demo: has_demo, ..operation.config(settings.config()) };
                let service = run::service(config, run::engine(&settings)?, &settings)?;
                run::serve(&listen, &service, run::threads(settings.threads), warms_up, &operation)
            }
            Command::Echo(Echo { listen, max_message_bytes }) => {
                let service = Service::echo(Config { max_message_bytes, ..Config::default() })?;
                run::serve(&listen, &service, run::threads(None), false, &Operation::default())
            }
        }
    }
}

/// Writes to stdout; a reader that has left, as `head` does, is no reason to panic.
fn print(text: &str) -> Result<ExitCode, Box<dyn Error>> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// An option that takes a value.
struct Opt {
    name: &'static str,
    /// What its value looks like, for when it is missing.
    value: &'static str,
    /// Whether it stands alone, without a value.
    is_flag: bool,
    /// Whether `ALOUD_NAME` is read where the command line says nothing.
    env: bool,
}

const fn opt(name: &'static str, value: &'static str) -> Opt {
    Opt { name, value, is_flag: false, env: true }
}

const LISTEN: Opt = opt("listen", "HOST:PORT or unix:PATH");
const ENGINE: Opt = opt("engine", "flite, tone, command, speech or elevenlabs");
const SPEED: Opt = opt("speed", "a factor from 0.5 to 2.0");
const GREETING: Opt = opt("greeting", "a text");
const TONE_SECONDS: Opt = opt("tone-seconds", "a number of seconds");
const COMMAND: Opt = opt("command", "a program with its arguments, in quotes");
const VOICES: Opt = opt("voices", "names with commas between them, the default first");
const LANGUAGE: Opt = opt("language", "a tag such as en or pt-BR");
const ENGINE_ENCODING: Opt = opt(
    "engine-encoding",
    "pcm_u8, pcm_s16le, pcm_s16be, pcm_s24le, pcm_s32le, pcm_f32le, pcm_f64le, mulaw or alaw",
);
const ENGINE_SAMPLE_RATE: Opt = opt("engine-sample-rate", "a number of samples per second");
const ENGINE_CHANNELS: Opt = opt("engine-channels", "a number from 1 to 16");
const ENGINE_GAIN: Opt = opt("engine-gain", "a number of dB");
const ENGINE_LEAD_MS: Opt = opt("engine-lead-ms", "a number of milliseconds");
const ENGINE_TAIL_MS: Opt = opt("engine-tail-ms", "a number of milliseconds");
const ENGINE_FIRST_BYTE_MS: Opt = opt("engine-first-byte-ms", "a number of milliseconds");
const ENGINE_IDLE_MS: Opt = opt("engine-idle-ms", "a number of milliseconds");
const ENGINE_TOTAL_MS: Opt = opt("engine-total-ms", "a number of milliseconds");
const THREADS: Opt = opt("threads", "a number from 1 to 256");
const ENCODING: Opt = opt("encoding", "pcm_s16le, mulaw or alaw");
const SAMPLE_RATE: Opt = opt("sample-rate", "a number of samples per second");
const FRAME_MS: Opt = opt("frame-ms", "a number of milliseconds");
const DELIVERY: Opt = opt("delivery", "burst or paced");
const AHEAD_MS: Opt = opt("ahead-ms", "a number of milliseconds");
const FALLBACK_ENGINE: Opt = opt("fallback-engine", "flite or tone");
const ENGINE_CONCURRENCY: Opt = opt("engine-concurrency", "a number of sentences");
const ENGINE_QUEUE: Opt = opt("engine-queue", "a number of sentences");
const ENGINE_QUEUE_TIMEOUT_MS: Opt = opt("engine-queue-timeout-ms", "a number of milliseconds");
const PREFETCH: Opt = opt("prefetch", "a number of sentences");
const MAX_PROMPT_CHARS: Opt = opt("max-prompt-chars", "a number of characters");
const MAX_SESSION_CHARS: Opt = opt("max-session-chars", "a number of characters");
const MAX_SESSION_MS: Opt = opt("max-session-ms", "a number of milliseconds");
const RESUME_TTL_MS: Opt = opt("resume-ttl-ms", "a number of milliseconds");
const IDLE_TIMEOUT_MS: Opt = opt("idle-timeout-ms", "a number of milliseconds");
const MAX_MESSAGES: Opt = opt("max-messages-per-second", "a number of messages");
const NO_DEMO: Opt = Opt { env: false, is_flag: true, ..opt("no-demo", "nothing") };
const NO_WARM_UP: Opt = Opt { env: false, is_flag: true, ..opt("no-warm-up", "nothing") };
const MAX_MESSAGE_BYTES: Opt = opt("max-message-bytes", "a number of bytes");
// Not from the environment: a forgotten variable would silently send a text, or a file, elsewhere.
const OUTPUT: Opt = Opt { env: false, ..opt("output", "a file name, or - for standard output") };
const PACED: Opt = Opt { env: false, is_flag: true, ..opt("paced", "nothing") };
const TOKEN_FILE: Opt = opt("token-file", "a file name");
/// Not an option: what stands on a command line can be read by every user of the machine.
const TOKEN_VARIABLE: &str = "ALOUD_TOKEN";
const URL: Opt = Opt { env: false, ..opt("url", "ws://HOST:PORT") };

const SERVE: &[Opt] = &[
    LISTEN,
    ENGINE,
    SPEED,
    GREETING,
    TONE_SECONDS,
    THREADS,
    ENCODING,
    SAMPLE_RATE,
    FRAME_MS,
    DELIVERY,
    AHEAD_MS,
    COMMAND,
    VOICES,
    LANGUAGE,
    ENGINE_ENCODING,
    ENGINE_SAMPLE_RATE,
    ENGINE_CHANNELS,
    ENGINE_GAIN,
    ENGINE_LEAD_MS,
    ENGINE_TAIL_MS,
    ENGINE_FIRST_BYTE_MS,
    ENGINE_IDLE_MS,
    ENGINE_TOTAL_MS,
    ENGINE_URL,
    ENGINE_KEY_FILE,
    ENGINE_MODEL,
    ENGINE_FORMAT,
    ENGINE_CONNECT_MS,
    ENGINE_ATTEMPTS,
    FALLBACK_ENGINE,
    ENGINE_CONCURRENCY,
    ENGINE_QUEUE,
    ENGINE_QUEUE_TIMEOUT_MS,
    PREFETCH,
    MAX_PROMPT_CHARS,
    MAX_SESSION_CHARS,
    MAX_SESSION_MS,
    RESUME_TTL_MS,
    NO_WARM_UP,
    IDLE_TIMEOUT_MS,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGES,
    ALLOW_ORIGIN,
    AUTH,
    AUTH_TOKENS,
    AUTH_TIMEOUT_MS,
    JWT_KEY_FILE,
    JWT_AUDIENCE,
    JWT_ISSUER,
    JWT_LEEWAY_MS,
    TOKEN_IN_QUERY,
    INSECURE,
    TRUSTED_PROXY,
    MAX_CONNECTIONS,
    MAX_CLIENT_CONNECTIONS,
    MAX_CLIENT_SESSIONS,
    MAX_CLIENT_HANDSHAKES,
    MAX_CLIENT_CHARS,
    NO_DEMO,
    SOURCE,
    LLM_URL,
    LLM_MODEL,
    LLM_KEY_FILE,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_FILE,
    LLM_TEMPERATURE,
    LLM_MAX_TOKENS,
    LLM_MAX_CHARS,
    LLM_TIMEOUT_MS,
    ADMIN,
    DRAIN_TIMEOUT,
    LOG_FORMAT,
    LOG_LEVEL,
    LOG_TEXT,
];
const SAY: &[Opt] = &[
    OUTPUT,
    URL,
    TOKEN_FILE,
    PACED,
    ENGINE,
    SPEED,
    TONE_SECONDS,
    THREADS,
    ENCODING,
    SAMPLE_RATE,
    FRAME_MS,
    COMMAND,
    VOICES,
    LANGUAGE,
    ENGINE_ENCODING,
    ENGINE_SAMPLE_RATE,
    ENGINE_CHANNELS,
    ENGINE_GAIN,
    ENGINE_LEAD_MS,
    ENGINE_TAIL_MS,
    ENGINE_FIRST_BYTE_MS,
    ENGINE_IDLE_MS,
    ENGINE_TOTAL_MS,
    ENGINE_URL,
    ENGINE_KEY_FILE,
    ENGINE_MODEL,
    ENGINE_FORMAT,
    ENGINE_CONNECT_MS,
    ENGINE_ATTEMPTS,
    SAY_SOURCE,
    LLM_URL,
    LLM_MODEL,
    LLM_KEY_FILE,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_FILE,
    LLM_TEMPERATURE,
    LLM_MAX_TOKENS,
    LLM_MAX_CHARS,
    LLM_TIMEOUT_MS,
];
/// What concerns an engine outside of this process only; services have more ([`service::OPTIONS`]).
const FOREIGN: &[Opt] = &[
    COMMAND,
    VOICES,
    LANGUAGE,
    ENGINE_ENCODING,
    ENGINE_SAMPLE_RATE,
    ENGINE_CHANNELS,
    ENGINE_GAIN,
    ENGINE_LEAD_MS,
    ENGINE_TAIL_MS,
    ENGINE_FIRST_BYTE_MS,
    ENGINE_IDLE_MS,
    ENGINE_TOTAL_MS,
];
const ECHO: &[Opt] = &[LISTEN, MAX_MESSAGE_BYTES];

/// Reads the arguments, the program's own name left out, and the environment through `env`.
///
/// # Errors
/// One sentence that names what is wrong and says what to write instead.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Command, Usage> {
    let mut args = args.into_iter().peekable();
    let first = args.peek().map_or("serve".into(), |first| first.to_string_lossy().into_owned());
    match first.as_str() {
        "-h" | "--help" => return Ok(Command::Help(help::MAIN)),
        "-V" | "--version" => return Ok(Command::Version),
        option if option.starts_with('-') && option != "-" => return parse_command("serve", args, env),
        _ => args.next(),
    };
    if first != "help" {
        return parse_command(&first, args, env);
    }
    match args.next().map(|topic| topic.to_string_lossy().into_owned()) {
        None => Ok(Command::Help(help::MAIN)),
        Some(topic) => help_of(&topic).map(Command::Help).ok_or_else(|| unknown_command(&topic)),
    }
}

fn parse_command(
    name: &str,
    args: impl Iterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Command, Usage> {
    let (command, options) = match name {
        "serve" => ("serve", SERVE),
        "say" => ("say", SAY),
        "bench" => ("bench", bench::OPTIONS),
        "echo" => ("echo", ECHO),
        other => return Err(unknown_command(other)),
    };
    let given = match scan(command, options, args)? {
        Scanned::Given(given) => Source { given, env },
        Scanned::Help => return Ok(Command::Help(help_of(command).unwrap_or(help::MAIN))),
        Scanned::Version => return Ok(Command::Version),
    };
    match command {
        "say" => Ok(Command::Say(say(&given)?)),
        "bench" => Ok(Command::Bench(Box::new(bench::parse(&given)?))),
        "echo" => {
            given.no_words("echo")?;
            let max_message_bytes = given.number(&MAX_MESSAGE_BYTES, 1..=1 << 30, "whole number of bytes")?;
            Ok(Command::Echo(Echo {
                listen: given.listen()?,
                max_message_bytes: max_message_bytes.unwrap_or(64 << 20),
            }))
        }
        _ => {
            given.no_words("serve")?;
            let warms_up = given.given.last(&NO_WARM_UP).is_none();
            let is_insecure = given.given.last(&INSECURE).is_some();
            let has_demo = given.given.last(&NO_DEMO).is_none();
            let (listen, settings) = (given.listen()?, given.settings(true)?);
            let (operation, admission) = (given.operation()?, given.admission()?);
            let serve = Serve { listen, warms_up, operation, is_insecure, admission, has_demo, settings };
            Ok(Command::Serve(Box::new(serve)))
        }
    }
}

fn help_of(command: &str) -> Option<&'static str> {
    match command {
        "serve" => Some(help::SERVE),
        "say" => Some(help::SAY),
        "bench" => Some(help::BENCH),
        "echo" => Some(help::ECHO),
        _ => None,
    }
}

fn unknown_command(name: &str) -> Usage {
    Usage(match nearest(name, ["serve", "say", "bench", "echo", "help"].into_iter()) {
        Some(near) => format!("there is no command `{name}`; did you mean `{near}`?"),
        None => format!(
            "there is no command `{name}`; the commands are serve, say, bench and echo, and a text to speak \
             goes behind say, in quotes"
        ),
    })
}

fn say(given: &Source<'_>) -> Result<Say, Usage> {
    let text = match given.given.words.as_slice() {
        [] => Text::Stdin,
        [only] => match utf8(only, "TEXT")? {
            "-" => Text::Stdin,
            words if words.trim().is_empty() => {
                return Err(Usage(
                    "TEXT is empty; give something to say, or - to read it from standard input".to_owned(),
                ));
            }
            words => Text::Given(words.to_owned()),
        },
        [_, second, ..] => {
            return Err(Usage(format!(
                "say takes its text as one argument, and `{}` is another; put the whole text in quotes",
                second.to_string_lossy()
            )));
        }
    };
    let output = match given.given.last(&OUTPUT) {
        None => Output::File("aloud.wav".into()),
        Some(file) if file == "-" => Output::Stdout,
        Some(file) if file.is_empty() => {
            return Err(Usage("--output is empty; give a file name, or - for standard output".to_owned()));
        }
        Some(file) => Output::File(file.into()),
    };
    let source = given.text_source(&SAY_SOURCE)?;
    let mut token = None;
    let server = match given.text(&URL)? {
        None if given.given.last(&TOKEN_FILE).is_some() => {
            return Err(Usage(
                "--token-file is for a server that runs already; name it with --url, or leave it out"
                    .to_owned(),
            ));
        }
        None => Via::Own(Box::new(given.settings(false)?)),
        Some((_, url)) => {
            let own = [ENGINE, FRAME_MS, TONE_SECONDS, THREADS];
            if let Some(option) = own
                .iter()
                .chain(FOREIGN)
                .chain(service::OPTIONS)
                .chain(writer::OPTIONS)
                .find(|option| given.given.last(option).is_some())
            {
                return Err(Usage(format!(
                    "--{} sets up a server of its own, and --url asks one that runs already; leave one of \
                     the two out",
                    option.name
                )));
            }
            token = given.key(&TOKEN_FILE, TOKEN_VARIABLE)?;
            Via::Url {
                url: session_url(&url)?,
                speed: given.speed()?,
                encoding: given.encoding()?,
                sample_rate_hz: given.sample_rate_hz()?,
            }
        }
    };
    let paced = given.given.last(&PACED).is_some();
    Ok(Say { text, output, paced, source, token, server })
}

/// The engines inside of this program, which are there whatever else fails.
fn inside(name: &str) -> Option<Engine> {
    Engine::from_name(name).filter(|engine| matches!(engine, Engine::Flite | Engine::Tone))
}

fn is_paced(name: &str) -> Option<bool> {
    match name {
        "burst" => Some(false),
        "paced" => Some(true),
        _ => None,
    }
}

/// A `ws://` URL with a path (RFC 6455 §3), the session's own where it had none.
fn session_url(url: &str) -> Result<String, Usage> {
    let wrong = |what: &str| Err(Usage(format!("--url cannot be `{url}`; {what}")));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong("write ws://HOST:PORT");
    };
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => {}
        "wss" => return wrong("this client speaks no TLS, so give it the ws:// address behind the proxy"),
        _ => return wrong("the scheme of a WebSocket is ws://"),
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong("a URL holds no spaces");
    }
    if rest.contains('#') {
        return wrong("a WebSocket URL has no fragment, so leave out what begins with #");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return wrong("leave out the user name and password");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return wrong("the host is missing; write ws://HOST:PORT");
    }
    Ok(match target {
        "" | "/" => format!("ws://{authority}{PATH}"),
        target if target.starts_with('?') => format!("ws://{authority}{PATH}{target}"),
        target => format!("ws://{authority}{target}"),
    })
}

/// What stood on the command line, its values not yet understood.
#[derive(Default)]
struct Given {
    options: Vec<(&'static str, OsString)>,
    words: Vec<OsString>,
}

impl Given {
    /// The value of this option; the last one counts.
    fn last(&self, option: &Opt) -> Option<&OsString> {
        self.options.iter().rev().find(|(name, _)| *name == option.name).map(|(_, value)| value)
    }

    /// All values of this option.
    fn all(&self, option: &Opt) -> Vec<&OsString> {
        self.options.iter().filter(|(name, _)| *name == option.name).map(|(_, value)| value).collect()
    }
}

enum Scanned {
    Given(Given),
    Help,
    Version,
}

/// Sorts arguments into options with their values, and words.
fn scan(
    command: &str,
    options: &'static [Opt],
    mut args: impl Iterator<Item = OsString>,
) -> Result<Scanned, Usage> {
    let mut given = Given::default();
    while let Some(arg) = args.next() {
        if arg == "--" {
            given.words.extend(args);
            break;
        }
        // Options are ASCII: what is not UTF-8 is a word, or an option that does not exist.
        let text = arg.to_string_lossy();
        if text == "-" || !text.starts_with('-') {
            given.words.push(arg);
            continue;
        }
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => match text.strip_prefix("-o") {
                Some(file) if !file.is_empty() => ("-o", Some(file)),
                _ => (text.as_ref(), None),
            },
        };
        match (name, attached) {
            ("-h" | "--help", None) => return Ok(Scanned::Help),
            ("-V" | "--version", None) => return Ok(Scanned::Version),
            ("-h" | "--help" | "-V" | "--version", Some(_)) => {
                return Err(Usage(format!("{name} takes no value; leave out what follows the =")));
            }
            _ => {}
        }
        let long = if name == "-o" { Some("output") } else { name.strip_prefix("--") };
        let Some(option) = options.iter().find(|option| long == Some(option.name)) else {
            return Err(unknown_option(command, options, name));
        };
        let value = match attached {
            Some(_) if option.is_flag => {
                return Err(Usage(format!("{name} takes no value; leave out what follows the =")));
            }
            None if option.is_flag => OsString::new(),
            Some(value) => {
                utf8(&arg, name)?;
                value.into()
            }
            None => match args.next() {
                Some(value) if !value.to_string_lossy().starts_with("--") => value,
                Some(other) => {
                    let other = other.to_string_lossy();
                    return Err(Usage(format!(
                        "{name} needs a value, {}, and `{other}` looks like another option; write \
                         {name}={other} if it is meant",
                        option.value
                    )));
                }
                None => return Err(Usage(format!("{name} needs a value: {}", option.value))),
            },
        };
        given.options.push((option.name, value));
    }
    Ok(Scanned::Given(given))
}

fn unknown_option(command: &str, options: &[Opt], name: &str) -> Usage {
    let bare = name.trim_start_matches('-');
    if bare.ends_with("-key")
        && bare != "jwt-key"
        && options.iter().any(|option| option.name.strip_suffix("-file") == Some(bare))
    {
        return Usage(format!(
            "{command} takes no key on the command line, where every user of the machine can read it; put it \
             into ALOUD_{}, or into a file for {name}-file",
            bare.replace('-', "_").to_ascii_uppercase()
        ));
    }
    let names = options.iter().map(|option| option.name).chain(["help", "version"]);
    if let Some(near) = nearest(bare, names) {
        return Usage(format!("{command} has no option `{name}`; did you mean `--{near}`?"));
    }
    let others = [("serve", SERVE), ("say", SAY), ("bench", bench::OPTIONS), ("echo", ECHO)];
    match others.into_iter().find(|(_, options)| options.iter().any(|option| option.name == bare)) {
        Some((other, _)) => {
            Usage(format!("{command} has no option `{name}`, which belongs to {other}; leave it out"))
        }
        None => {
            Usage(format!("{command} has no option `{name}`; `aloud {command} --help` lists those it has"))
        }
    }
}

fn utf8<'a>(value: &'a OsString, what: &str) -> Result<&'a str, Usage> {
    value.to_str().ok_or_else(|| {
        Usage(format!("{what} is not valid UTF-8: `{}`; write it in UTF-8", value.to_string_lossy()))
    })
}

/// Command line and environment together.
struct Source<'a> {
    given: Given,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Source<'_> {
    /// The value of this option and the name it goes by: `--listen`, or `ALOUD_LISTEN`.
    fn text(&self, option: &Opt) -> Result<Option<(String, String)>, Usage> {
        if let Some(value) = self.given.last(option) {
            let name = format!("--{}", option.name);
            let value = utf8(value, &name)?.to_owned();
            return Ok(Some((name, value)));
        }
        if !option.env {
            return Ok(None);
        }
        let name = format!("ALOUD_{}", option.name.replace('-', "_").to_ascii_uppercase());
        Ok((self.env)(&name).filter(|value| !value.is_empty()).map(|value| (name, value)))
    }

    /// A number within bounds; `what` says what is counted.
    fn number<T>(&self, option: &Opt, bounds: RangeInclusive<T>, what: &str) -> Result<Option<T>, Usage>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let Some((name, text)) = self.text(option)? else { return Ok(None) };
        // NaN is within no bounds.
        match text.parse::<T>() {
            Ok(value) if bounds.contains(&value) => Ok(Some(value)),
            _ => Err(Usage(format!(
                "{name} cannot be `{text}`; give a {what} from {} to {}",
                bounds.start(),
                bounds.end()
            ))),
        }
    }

    fn listen(&self) -> Result<Listen, Usage> {
        match self.text(&LISTEN)? {
            None => Ok(Listen::default()),
            Some((name, text)) => {
                text.parse().map_err(|why| Usage(format!("{name} cannot be `{text}`: {why}")))
            }
        }
    }

    fn speed(&self) -> Result<Option<f32>, Usage> {
        self.number(&SPEED, 0.5..=2.0, "factor")
    }

    fn sample_rate_hz(&self) -> Result<Option<u32>, Usage> {
        self.number(&SAMPLE_RATE, 4_000..=192_000, "whole number of samples per second")
    }

    fn encoding(&self) -> Result<Option<Encoding>, Usage> {
        self.choice(&ENCODING, Encoding::from_name)
    }

    /// One of the names that the option's `value` lists.
    fn choice<T>(&self, option: &Opt, from_name: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Usage> {
        let Some((name, text)) = self.text(option)? else { return Ok(None) };
        match from_name(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Usage(format!("{name} cannot be `{text}`; give {}", option.value))),
        }
    }

    /// The options of a server of our own; what concerns other clients only where there may be some.
    fn settings(&self, greets: bool) -> Result<Settings, Usage> {
        let source = self.text_source(if greets { &SOURCE } else { &SAY_SOURCE })?;
        let source = source.unwrap_or(TextSource::Verbatim);
        let engine = self.choice(&ENGINE, Engine::from_name)?.unwrap_or(Engine::Flite);
        Ok(Settings {
            engine,
            foreign: self.foreign(engine)?,
            encoding: self.encoding()?,
            sample_rate_hz: self.sample_rate_hz()?,
            frame_ms: self.number(&FRAME_MS, 1..=1_000, "whole number of milliseconds")?,
            speed: self.speed()?,
            paced: greets && self.choice(&DELIVERY, is_paced)?.unwrap_or(false),
            ahead_ms: match greets {
                true => self.number(&AHEAD_MS, 20..=60_000, "whole number of milliseconds")?,
                false => None,
            },
            greeting: if greets { self.text(&GREETING)?.map(|(_, text)| text) } else { None },
            tone_seconds: self.number(&TONE_SECONDS, 0.001..=1e9, "number of seconds")?.unwrap_or(2.0),
            threads: self.number(&THREADS, 1..=256, "whole number")?,
            fallback: if greets { self.choice(&FALLBACK_ENGINE, inside)? } else { None },
            concurrency: self.of_clients(greets, &ENGINE_CONCURRENCY, 1..=10_000)?,
            queue: self.of_clients(greets, &ENGINE_QUEUE, 0..=1_000_000)?,
            queue_timeout_ms: self.of_clients(greets, &ENGINE_QUEUE_TIMEOUT_MS, 1..=MAX_MS)?,
            limits: Limits {
                prompt_chars: self.of_clients(greets, &MAX_PROMPT_CHARS, 1..=10_000_000)?,
                session_chars: self.of_clients(greets, &MAX_SESSION_CHARS, 1..=1_000_000_000_000)?,
                session_ms: self.of_clients(greets, &MAX_SESSION_MS, 1_000..=MAX_MS)?,
                resume_ttl_ms: self.of_clients(greets, &RESUME_TTL_MS, 1_000..=MAX_MS)?,
                idle_ms: self.of_clients(greets, &IDLE_TIMEOUT_MS, 1_000..=MAX_MS)?,
                message_bytes: self.of_clients(greets, &MAX_MESSAGE_BYTES, 1_024..=1 << 30)?,
                messages_per_sec: self.of_clients(greets, &MAX_MESSAGES, 1..=1_000_000)?,
                prefetch: self.of_clients(greets, &PREFETCH, 1..=64)?,
            },
            llm: match greets || source == TextSource::Llm || self.is_about_a_model() {
                true => self.llm(source == TextSource::Llm)?,
                false => None,
            },
            source,
        })
    }

    /// The options of an engine outside of this process.
    fn foreign(&self, engine: Engine) -> Result<Foreign, Usage> {
        if matches!(engine, Engine::Flite | Engine::Tone) {
            // What is in the environment waits there for an engine that it concerns.
            return match FOREIGN
                .iter()
                .chain(service::OPTIONS)
                .find(|option| self.given.last(option).is_some())
            {
                None => Ok(Foreign::default()),
                Some(option) => Err(Usage(format!(
                    "--{} concerns engines outside of this program; name one with --engine, or leave it out",
                    option.name
                ))),
            };
        }
        let program = self.text(&COMMAND)?;
        if engine == Engine::Command && program.is_none() {
            return Err(Usage(
                "--engine command needs --command, such as --command 'espeak-ng --stdout --stdin'".to_owned(),
            ));
        }
        let (name, command) = program.unwrap_or_default();
        let voices = self.voices()?;
        let sample_rate_hz =
            self.number(&ENGINE_SAMPLE_RATE, 4_000..=192_000, "whole number of samples per second")?;
        let milliseconds = "whole number of milliseconds";
        let foreign = Foreign {
            command,
            remote: match engine {
                Engine::Command => Remote::default(),
                _ => self.remote(engine, &voices, sample_rate_hz)?,
            },
            voices,
            language: self.language()?,
            encoding: self.choice(&ENGINE_ENCODING, SampleEncoding::from_name)?,
            sample_rate_hz,
            channels: self.number(&ENGINE_CHANNELS, 1..=16, "whole number")?,
            gain_db: self.number(&ENGINE_GAIN, -60.0..=60.0, "number of dB")?,
            lead_ms: self.number(&ENGINE_LEAD_MS, 0..=2_000, milliseconds)?,
            tail_ms: self.number(&ENGINE_TAIL_MS, 0..=2_000, milliseconds)?,
            first_byte_ms: self.number(&ENGINE_FIRST_BYTE_MS, 100..=3_600_000, milliseconds)?,
            idle_ms: self.number(&ENGINE_IDLE_MS, 100..=3_600_000, milliseconds)?,
            total_ms: self.number(&ENGINE_TOTAL_MS, 100..=3_600_000, milliseconds)?,
        };
        if engine == Engine::Command {
            let wrong = |why| Usage(format!("{name} cannot be `{}`: {why}", foreign.command));
            foreign.program().check().map_err(wrong)?;
        }
        Ok(foreign)
    }

    fn voices(&self) -> Result<Vec<String>, Usage> {
        let Some((name, text)) = self.text(&VOICES)? else { return Ok(Vec::new()) };
        let voices: Vec<String> = text.split(',').map(|voice| voice.trim().to_owned()).collect();
        match voices.iter().any(String::is_empty) {
            true => {
                Err(Usage(format!("{name} cannot be `{text}`, where a name is empty; give {}", VOICES.value)))
            }
            false => Ok(voices),
        }
    }

    fn language(&self) -> Result<Option<String>, Usage> {
        let Some((name, text)) = self.text(&LANGUAGE)? else { return Ok(None) };
        let sound = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match sound {
            true => Ok(Some(text)),
            false => Err(Usage(format!("{name} cannot be `{text}`; give {}", LANGUAGE.value))),
        }
    }

    /// A whole number that concerns other clients only.
    fn of_clients<T>(&self, greets: bool, option: &Opt, bounds: RangeInclusive<T>) -> Result<Option<T>, Usage>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        match greets {
            true => self.number(option, bounds, "whole number"),
            false => Ok(None),
        }
    }

    fn no_words(&self, command: &str) -> Result<(), Usage> {
        match self.given.words.first() {
            None => Ok(()),
            Some(word) => Err(Usage(format!(
                "{command} takes options only, and `{}` is none; to speak a text, write aloud say with the \
                 text in quotes",
                word.to_string_lossy()
            ))),
        }
    }
}

/// The name that `typed` was probably meant to be, if one is near enough.
fn nearest(typed: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase().replace('_', "-");
    if typed.is_empty() || typed.len() > 32 {
        return None;
    }
    names
        .filter_map(|name| {
            // The beginning of a name is as good as a slip of the finger.
            let begins = typed.len() >= 3 && name.starts_with(&typed);
            let distance = if begins { 1 } else { distance(&typed, name) };
            let allowed = if name.len() <= 4 { 1 } else { 2 };
            (distance <= allowed).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits from one word to the other: insert, remove, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests;
