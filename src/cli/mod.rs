//! The command line: arguments and environment in, a command or a sentence out.
//!
//! Parsing does not act: it opens no file, binds no address, and asks neither the clock nor the
//! machine. So every rule of the command line is a row in a table of tests. [`options`] declares
//! each option once; [`parse`] finds its value; the other files say what the values mean and what
//! each command does. Everything comes from the crate's public API.

mod admission;
mod bench;
mod completions;
mod descriptors;
mod engine;
mod help;
mod lines;
mod model;
mod operation;
mod options;
mod pages;
mod parse;
mod run;
mod say;
mod systemd;
mod threads;
mod voices;

pub(crate) use lines::printable;
pub(crate) use parse::{Usage, warnings};

use admission::Doors;
use aloud::audio::Encoding;
use aloud::message::Clean;
use aloud::setting::{BENCH, ECHO, Group, SAY, SERVE, Setting};
use aloud::settings::{AllowHost, Listen};
use aloud::{Config, PATH, Service, TextSource};
use engine::{Engine, Foreign, Key};
use model::Llm;
use operation::{LogFormat, Logging, Operation};
use parse::{Scanned, Source, scan, unknown_command, utf8, wrong};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A command with its options.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Run the server.
    Serve(Box<Serve>),
    /// Speak a text into a file.
    Say(Box<Say>),
    /// Put load on a server.
    Bench(Box<bench::Bench>),
    /// Run a WebSocket echo.
    Echo(Echo),
    /// List the voices that are there.
    Voices(voices::Places),
    /// Print this and end.
    Print(String),
}

/// `aloud serve`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Serve {
    pub(crate) listen: Listen,
    /// True if the engine has to say a word first.
    pub(crate) warms_up: bool,
    /// True if everyone may connect from elsewhere.
    pub(crate) is_insecure: bool,
    pub(crate) operation: Operation,
    pub(crate) settings: Settings,
}

/// A server in this process. `None` leaves the choice to the library.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
    /// Places of natural voices.
    pub(crate) voices: voices::Places,
    /// Length of each sentence with the tone engine.
    pub(crate) tone_seconds: f64,
    /// Threads that synthesise; `None` for the number of cores.
    pub(crate) threads: Option<usize>,
    /// An engine outside of this process.
    pub(crate) foreign: Foreign,
    /// Engine that speaks while the other one fails.
    pub(crate) fallback: Option<Engine>,
    /// Sentences that the engine works on at once; `None` for what suits the engine.
    pub(crate) concurrency: Option<usize>,
    /// Sentences that wait for the engine.
    pub(crate) queue: Option<usize>,
    /// Longest wait for the engine.
    pub(crate) queue_timeout: Option<Duration>,
    /// The language model that writes, if there is one.
    pub(crate) llm: Option<Llm>,
}

/// `aloud say`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Say {
    pub(crate) text: Text,
    pub(crate) output: Output,
    /// True if neither the output nor its form was given: on a terminal the speech is played.
    pub(crate) may_play: bool,
    pub(crate) form: Form,
    /// Voice and language to ask for, if they were given.
    pub(crate) voice: Option<String>,
    pub(crate) language: Option<String>,
    /// True for audio at the pace of speech.
    pub(crate) paced: bool,
    /// Source of the text, if it was given.
    pub(crate) source: Option<TextSource>,
    /// Markup in the text, if it was given.
    pub(crate) clean: Option<Clean>,
    /// Token for the server at a URL.
    pub(crate) token: Option<Key>,
    pub(crate) server: Via,
}

/// The text to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Stdin,
    Given(String),
}

/// The place for the WAV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    File(PathBuf),
    /// The person hears it.
    Player(say::Player),
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Wav,
    /// Samples without a header.
    Raw,
    /// MP3, which needs no header.
    Mp3,
}

impl Form {
    /// The file that is written if none is named.
    fn default_file(self) -> &'static str {
        match self {
            Form::Wav => "aloud.wav",
            Form::Raw => "aloud.raw",
            Form::Mp3 => "aloud.mp3",
        }
    }
}

/// The reader of standard output has left, as `head` does: all is well, and there is nothing more to do.
#[derive(Debug)]
pub(crate) struct ReaderLeft;

impl Error for ReaderLeft {}

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output has left")
    }
}

/// Writes all of it to standard output.
///
/// # Errors
/// [`ReaderLeft`], or another failure.
pub(super) fn write_out(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => ReaderLeft.into(),
        _ => format!("cannot write to standard output: {error}").into(),
    })
}

/// The server that speaks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Via {
    /// One in this process, on a free port.
    Own(Box<Settings>),
    /// One that already runs; with what to ask it for.
    Url {
        /// Always with a path.
        url: String,
        speed: Option<f32>,
        encoding: Option<Encoding>,
        sample_rate_hz: Option<u32>,
        pauses: Pauses,
    },
}

/// Pauses that a server at a URL is asked for, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pauses {
    pub(crate) sentence: Option<u32>,
    pub(crate) paragraph: Option<u32>,
    pub(crate) heading: Option<u32>,
    pub(crate) lead: Option<u32>,
}

/// `aloud echo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) listen: Listen,
    pub(crate) max_message_bytes: usize,
    /// Hosts that the echo answers for on this machine.
    pub(crate) hosts: Vec<AllowHost>,
}

impl Command {
    /// Runs the command. Output goes to stdout; log lines and `warnings` go to stderr.
    ///
    /// # Errors
    /// A sentence that names what failed. Exit code 1, or 2 if it is [`Usage`].
    pub(crate) fn run(self, warnings: &[String]) -> Result<ExitCode, Box<dyn Error>> {
        if let Command::Say(_) | Command::Bench(_) = self {
            warnings.iter().for_each(|warning| eprintln!("aloud: {warning}"));
        }
        match self {
            Command::Print(text) => print(&text),
            Command::Voices(places) => print(&voices::list(&places)),
            Command::Say(asked) => say::say(*asked),
            Command::Bench(asked) => bench::bench(&asked),
            Command::Serve(serve) => {
                let Serve { listen, warms_up, is_insecure, mut operation, settings } = *serve;
                let auth = settings.config.admission.auth.clone();
                let doors = Doors { auth: &auth, is_insecure };
                // An engine may have something to say about its voices.
                let lines = run::begin_log(&operation, warnings);
                let threads = run::threads(settings.threads);
                operation.note = run::note(&settings);
                let engine = run::engine(&settings);
                let served = engine
                    .and_then(|engine| run::service(&settings, settings.config.clone(), engine))
                    .and_then(|service| {
                        run::serve(&listen, Some(&doors), &service, threads, warms_up, &operation, &lines)
                    });
                logged(served, &operation)
            }
            Command::Echo(Echo { listen, max_message_bytes, hosts }) => {
                let mut config = Config::default();
                config.max_message_bytes = max_message_bytes;
                config.admission.hosts = hosts;
                let (service, operation) = (Service::echo(config)?, Operation::default());
                let lines = run::begin_log(&operation, warnings);
                // An echo has nothing to protect.
                run::serve(&listen, None, &service, run::threads(None), false, &operation, &lines)
            }
        }
    }
}

/// With a log of objects, the error that ends the server is one of them.
fn logged(
    served: Result<ExitCode, Box<dyn Error>>,
    operation: &Operation,
) -> Result<ExitCode, Box<dyn Error>> {
    match served {
        Err(error) if operation.logging.format == LogFormat::Json => {
            tracing::error!("{error}");
            Ok(exit_code(&*error))
        }
        served => served,
    }
}

/// The exit code of a program that this error ends.
pub(crate) fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    if error.is::<ReaderLeft>() {
        return ExitCode::SUCCESS;
    }
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

fn print(text: &str) -> Result<ExitCode, Box<dyn Error>> {
    write_out(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the arguments, without the program's own name, and the environment through `env`.
///
/// # Errors
/// One sentence that names what is wrong and says what to write instead.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Command, Usage> {
    let mut args = args.into_iter().peekable();
    let first = args.peek().map_or(SERVE.into(), |first| first.to_string_lossy().into_owned());
    let name = match first.as_str() {
        "-h" | "--help" => return Ok(Command::Print(help::main(first == "--help"))),
        "-V" | "--version" => return Ok(Command::Print(help::version())),
        option if option.starts_with('-') && option != "-" => SERVE,
        name => {
            args.next();
            name
        }
    };
    let Some(command) = help::COMMANDS.iter().find(|command| command.name == name) else {
        return Err(unknown_command(name));
    };
    let given = match scan(command.name, args, env)? {
        Scanned::Source(given) => given,
        Scanned::Help { in_full } => return Ok(Command::Print(help::of(command, in_full))),
        Scanned::Version => return Ok(Command::Print(help::version())),
    };
    match command.name {
        SAY => Ok(Command::Say(Box::new(given.say()?))),
        BENCH => Ok(Command::Bench(Box::new(bench::parse(&given)?))),
        ECHO => {
            given.no_words(ECHO)?;
            let max_message_bytes = given.value_or_default("max-message-bytes")?;
            let hosts = given.value("host")?.unwrap_or_default();
            Ok(Command::Echo(Echo { listen: given.value_or_default("listen")?, max_message_bytes, hosts }))
        }
        SERVE => Ok(Command::Serve(Box::new(given.serve()?))),
        "voices" => Ok(Command::Voices(given.list_voices()?)),
        name => pages::print(name, &given).map(Command::Print),
    }
}

impl Source<'_> {
    fn serve(&self) -> Result<Serve, Usage> {
        self.no_words(SERVE)?;
        let mut settings = self.settings(true)?;
        settings.config.admission.auth = self.auth()?;
        Ok(Serve {
            listen: self.value_or_default("listen")?,
            warms_up: !self.has("no-warm-up"),
            is_insecure: self.has("insecure"),
            operation: self.operation()?,
            settings,
        })
    }

    /// A server in this process, which `is_public` or only for this command.
    fn settings(&self, is_public: bool) -> Result<Settings, Usage> {
        let source = self.value("source")?.unwrap_or(TextSource::Verbatim);
        let needs_model = source == TextSource::Llm;
        let llm = match is_public || needs_model || self.has_group(Group::Model) {
            true => self.llm(needs_model)?,
            false => None,
        };
        // Variables for a model have no effect where there is none.
        let is_meant = |option: &Setting| llm.is_some() || option.group != Group::Model;
        let mut config = self.config(is_meant)?;
        config.source = source;
        let engine = self.choice_or_default("engine", Engine::from_name)?;
        let queue_timeout = self.value("engine-queue-timeout-ms")?;
        if let Some(wait) = queue_timeout {
            // A sentence that waits in the queue is not late.
            config.engine_timeout = config.engine_timeout.max(wait);
        }
        Ok(Settings {
            config,
            engine,
            voices: self.voice_files(engine)?,
            tone_seconds: self.value_or_default("tone-seconds")?,
            threads: self.value("threads")?,
            foreign: self.foreign(engine)?,
            fallback: self.choice("fallback-engine", Engine::from_name)?,
            concurrency: self.value("engine-concurrency")?,
            queue: self.value("engine-queue")?,
            queue_timeout,
            llm,
        })
    }

    fn say(&self) -> Result<Say, Usage> {
        let text = match self.words.as_slice() {
            [] => Text::Stdin,
            [only] => match utf8(only, "TEXT")? {
                "-" => Text::Stdin,
                words if words.trim().is_empty() => {
                    return wrong("TEXT is empty; give a text to speak, or - to read it from standard input");
                }
                words => Text::Given(words.to_owned()),
            },
            [_, second, ..] => {
                return wrong(format!(
                    "say takes its text as one argument, and `{}` is another; put the whole text in quotes",
                    second.to_string_lossy()
                ));
            }
        };
        let form = self.choice("format", |name| match name {
            "wav" => Some(Form::Wav),
            "raw" => Some(Form::Raw),
            "mp3" => Some(Form::Mp3),
            _ => None,
        })?;
        let output = match self.raw("output") {
            None => Output::File(form.unwrap_or(Form::Wav).default_file().into()),
            Some(file) if file == "-" => Output::Stdout,
            Some(file) if file.is_empty() => {
                return wrong("--output is empty; give a file name, or - for standard output");
            }
            Some(file) => Output::File(file.into()),
        };
        let form = form.unwrap_or(match &output {
            Output::File(path) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("mp3")) => {
                Form::Mp3
            }
            _ => Form::Wav,
        });
        if form == Form::Mp3 && self.has("encoding") {
            return wrong(
                "--encoding is for samples, and the output is mp3; add --format wav, or leave it out",
            );
        }
        let voice = self.text("voice")?.map(|(_, name)| name);
        let language = if self.has("language") { self.language()? } else { None };
        let source = self.value("source")?;
        let mut token = None;
        let server = match self.url()? {
            None if self.has("token-file") => {
                return wrong("--token-file is for a server at --url; add --url, or leave it out");
            }
            None => Via::Own(Box::new(self.settings(false)?)),
            Some(url) => {
                token = self.key("token-file")?;
                Via::Url {
                    url,
                    speed: self.value("speed")?,
                    encoding: self.value("encoding")?,
                    sample_rate_hz: self.value("sample-rate")?,
                    pauses: Pauses {
                        sentence: self.value("sentence-pause-ms")?,
                        paragraph: self.value("paragraph-pause-ms")?,
                        heading: self.value("heading-pause-ms")?,
                        lead: self.value("lead-ms")?,
                    },
                }
            }
        };
        let clean = self.choice("clean", |name| match name {
            "none" => Some(Clean::None),
            "markdown" => Some(Clean::Markdown),
            "html" => Some(Clean::Html),
            _ => None,
        })?;
        let paced = self.has("paced");
        let may_play = self.raw("output").is_none() && self.raw("format").is_none();
        Ok(Say { text, output, may_play, form, voice, language, paced, source, clean, token, server })
    }

    /// The address of a server that already runs, if it was given.
    fn url(&self) -> Result<Option<String>, Usage> {
        let Some((_, url)) = self.text("url")? else { return Ok(None) };
        match self.first(options::is_for_own_server) {
            // The load of the bench is made without TLS.
            None => session_url(&url, self.option("output").is_some()).map(Some),
            Some(option) => wrong(format!(
                "--{} sets up a server of its own, and --url names one that already runs; leave one of the \
                 two out",
                option.name
            )),
        }
    }
}

/// Checks the URL of a WebSocket (RFC 6455 §3), and adds the session's path if it has none.
fn session_url(url: &str, may_have_tls: bool) -> Result<String, Usage> {
    let wrong_url = |what: &str| wrong(format!("--url cannot be `{url}`; {what}"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong_url("write ws://HOST:PORT");
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "ws",
        "wss" | "https" if !may_have_tls => {
            return wrong_url("this command speaks no TLS, so give it the ws:// address behind the proxy");
        }
        "wss" | "https" if cfg!(not(feature = "tls")) => {
            return wrong_url(
                "this build speaks no TLS; build with --features tls, or give the ws:// address behind the proxy",
            );
        }
        "wss" | "https" => "wss",
        _ => return wrong_url("the scheme of a WebSocket is ws:// or wss://"),
    };
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong_url("a URL holds no spaces");
    }
    if rest.contains('#') {
        return wrong_url("a WebSocket URL has no fragment, so leave out what begins with #");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return wrong_url("leave out the user name and password");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return wrong_url("the host is missing; write ws://HOST:PORT");
    }
    Ok(match target {
        "" | "/" => format!("{scheme}://{authority}{PATH}"),
        target if target.starts_with('?') => format!("{scheme}://{authority}{PATH}{target}"),
        target => format!("{scheme}://{authority}{target}"),
    })
}

#[cfg(test)]
mod tests;
