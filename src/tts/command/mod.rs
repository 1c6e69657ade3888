//! An engine that runs a program for each sentence, whose standard output is the audio.
//!
//! This file knows the order of events between a process and its listener. The command line is in
//! [`line`], the process in [`process`], and the [`Guard`] reads the audio. There is no shell.

mod code;
mod line;
mod process;

use super::guard::{Guard, single_line};
use super::template::Template;
use super::{Sink, Speech, SynthesisError, Synthesizer, Treatment, Utterance, Voice};
use crate::audio::{Encoding, Format, SourceFormat};
use crate::deadline::{Deadline, Patience};
use crate::text::redact::redact;
use process::{AFTERMATH, LINGER, Process};
use std::fmt;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Size of one read from a program. At another rate and encoding it can be twelve times as much audio.
const READ_BYTES: usize = 4 * 1024;

/// Sample rate of a program's voice, unless a setting gives it.
const DEFAULT_RATE_HZ: u32 = 22_050;

/// Settings of a [`Command`]. [`Settings::new`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Program and arguments, as on a command line, such as
    /// `espeak-ng --stdout -v {language} -s {wpm} --stdin`.
    ///
    /// White space separates words. Single quotes, double quotes and backslashes work as in a shell.
    /// Variables, patterns and pipes do not. These placeholders are filled in, as an argument or
    /// inside one; `{{` and `}}` are literal braces:
    ///
    /// | placeholder | value |
    /// |---|---|
    /// | `{text}` | the sentence; without it, the program reads the sentence from standard input |
    /// | `{voice}` | the voice that the client chose, or the first of [`voices`](Self::voices) |
    /// | `{language}` | the language that the client named, or [`language`](Self::language) |
    /// | `{speed}` | the rate of speech, from 0.5 to 2.0, where 1 is natural |
    /// | `{wpm}` | the rate of speech in words per minute: 175 is natural |
    /// | `{length_scale}` | the rate of speech as a factor of length: 1 divided by the speed |
    /// | `{sample_rate}` | [`sample_rate_hz`](Self::sample_rate_hz) |
    ///
    /// A sentence is a single line: other white space in it becomes a space. On standard input, a
    /// newline and the end of file follow. A sentence that begins with `-` gets a space in front at the
    /// beginning of an argument, so that no program takes it for an option.
    ///
    /// A placeholder cannot stand inside of code, such as the script of `sh -c`: it would run what a client
    /// wrote. Pass it as an argument of the script: `sh -c 'espeak-ng --stdout "$1" | tail -c +45' sh {text}`.
    pub command: String,
    /// Names of environment variables that the program does not inherit, such as those with keys. Default: none.
    pub hidden_variables: Vec<String>,
    /// Names of the voices, the default voice first. If empty, there is one voice named `default`.
    pub voices: Vec<String>,
    /// Language for clients that name none. Default: `en`.
    pub language: String,
    /// Encoding of audio without a WAV header. Default: `None`, which refuses such audio.
    pub encoding: Option<super::SampleEncoding>,
    /// Sample rate of audio without a WAV header, in hertz. A WAV with another rate is resampled.
    /// Default: 22,050.
    pub sample_rate_hz: u32,
    /// Number of channels of audio without a WAV header. Default: 1.
    pub channels: u16,
    /// Adjustments to the audio.
    pub treatment: Treatment,
    /// Time limit from the start of the program to the first byte of audio. Default: 20 s.
    pub first_byte: Duration,
    /// Time limit for a pause in the middle of the audio. Default: 10 s.
    pub idle: Duration,
    /// Time limit for a sentence. Time in which the program waits for its listener does not count.
    /// Default: 120 s.
    pub total: Duration,
}

impl Settings {
    /// Creates settings with the defaults, for this command.
    pub fn new(command: impl Into<String>) -> Settings {
        Settings {
            command: command.into(),
            hidden_variables: Vec::new(),
            voices: Vec::new(),
            language: "en".to_owned(),
            encoding: None,
            sample_rate_hz: DEFAULT_RATE_HZ,
            channels: 1,
            treatment: Treatment::default(),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(10),
            total: Duration::from_secs(120),
        }
    }

    /// Checks the command and the voices, but does not look for the program.
    ///
    /// # Errors
    /// The command or a voice is invalid.
    pub fn check(&self) -> Result<(), InvalidCommand> {
        line::parse(self).map(|_| ())
    }
}

/// Error of an invalid command: one sentence for the operator, which says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCommand(String);

impl fmt::Display for InvalidCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidCommand {}

/// The engine `command`: any program that writes speech to its standard output.
///
/// ```no_run
/// use aloud::tts::{Command, command::Settings};
///
/// let espeak = Command::new(Settings::new("espeak-ng --stdout -v {language} -s {wpm} --stdin"))?;
/// # Ok::<(), aloud::tts::command::InvalidCommand>(())
/// ```
///
/// The program inherits the server's environment, without [`Settings::hidden_variables`], and the server's
/// working directory. If it fails, the end of its
/// standard error is logged. If the listener leaves, the program is killed (SIGKILL), together with all
/// processes it has started, except those that left its process group.
pub struct Command(Arc<Shared>);

struct Shared {
    program: PathBuf,
    arguments: Vec<Template>,
    /// True if the program reads the text from standard input.
    reads_text: bool,
    settings: Settings,
}

impl Command {
    /// Creates an engine from a command. The program is looked up in `PATH`, unless its name has a slash.
    ///
    /// # Errors
    /// The command or a voice is invalid, or there is no such program.
    pub fn new(settings: Settings) -> Result<Command, InvalidCommand> {
        let (program, arguments) = line::parse(&settings)?;
        let program = line::find(&program, std::env::var_os("PATH").as_deref())?;
        let reads_text = !arguments.iter().any(Template::has_text);
        Ok(Command(Arc::new(Shared { program, arguments, reads_text, settings })))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.0.program.display())
    }
}

impl Synthesizer for Command {
    fn name(&self) -> &str {
        "command"
    }

    fn format(&self) -> Format {
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.0.settings.sample_rate_hz }
    }

    fn voices(&self) -> Vec<Voice> {
        match self.0.settings.voices.as_slice() {
            [] => vec![Voice::new("default")],
            voices => voices.iter().map(Voice::new).collect(),
        }
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let (sink, speech) = Speech::channel(&utterance, self.0.settings.sample_rate_hz);
        tokio::spawn(self.0.clone().speak(utterance, sink));
        speech
    }
}

/// Result of reading a program's audio.
enum Ended {
    /// The program gave all of its audio.
    Spoken,
    /// The program gave something other than audio, too little audio, or took too long.
    Failed(SynthesisError),
    /// The listener is gone.
    Cancelled,
}

impl Shared {
    /// Speaks one sentence with a process of its own. The process is gone when this returns, or when the
    /// future is dropped.
    async fn speak(self: Arc<Shared>, utterance: Utterance, mut sink: Sink) {
        let line = line::one_line(&utterance.text);
        let arguments = line::fill(&self.arguments, &self.settings, &utterance, &line);
        let mut process = match Process::start(
            &self.program,
            arguments,
            &self.settings.hidden_variables,
            self.reads_text,
        ) {
            Ok(process) => process,
            Err(error) => {
                tracing::warn!("engine command: {} cannot be started: {error}", self.program.display());
                return sink.fail(SynthesisError::failed("The speech program cannot be started.")).await;
            }
        };
        let settings = &self.settings;
        let raw = settings.encoding.map(|encoding| SourceFormat {
            encoding,
            sample_rate_hz: settings.sample_rate_hz,
            channels: settings.channels,
        });
        let mut guard = Guard::new(raw, settings.treatment, &utterance);
        let mut errors = Vec::new();
        let stdin = process.child.stdin.take();
        let mut stderr = process.child.stderr.take();
        let mut ended = {
            let beside = async {
                tokio::join!(process::feed(stdin, &line), process::collect(stderr.as_mut(), &mut errors));
                pending().await
            };
            tokio::select! {
                ended = self.listen(&mut process, &mut guard, &mut sink) => ended,
                never = beside => never,
            }
        };
        let exit = process.exit();
        process.end().await;
        if let Ended::Cancelled = ended {
            return;
        }
        let ending = guard.finish(&mut sink);
        if let Ended::Spoken = ended {
            let failed = exit.filter(|exit| !exit.is_success());
            match failed.map(|exit| SynthesisError::failed(format!("The speech program {exit}."))) {
                Some(error) => ended = Ended::Failed(error),
                None => {
                    if let Err(error) = ending {
                        ended = Ended::Failed(error);
                    }
                }
            }
        }
        let Ended::Failed(error) = ended else {
            return sink.finish().await;
        };
        // The last bytes before the kill may still be in the pipe.
        let _ = timeout(AFTERMATH, process::collect(stderr.as_mut(), &mut errors)).await;
        let errors = single_line(&String::from_utf8_lossy(&errors));
        let errors = redact(&errors, &[&utterance.text]);
        let reason = redact(&error.message, &[&utterance.text]);
        let exit = exit.map_or("was killed".to_owned(), |exit| exit.to_string());
        tracing::warn!(
            "engine command: {reason} {} {exit}; end of its standard error: {}",
            self.program.display(),
            if errors.is_empty() { "(empty)" } else { &*errors }
        );
        sink.fail(error).await;
    }

    /// Passes on the program's audio until it ends or the listener leaves.
    async fn listen(&self, process: &mut Process, guard: &mut Guard, sink: &mut Sink) -> Ended {
        let settings = &self.settings;
        let Some(mut stdout) = process.child.stdout.take() else { return Ended::Spoken };
        let mut buffer = vec![0; READ_BYTES];
        // For the program, and not for the listener.
        let mut patience = Patience::default();
        loop {
            let taken = guard.taken();
            let limit = if taken == 0 { settings.first_byte } else { settings.idle };
            let read = patience.wait(limit, settings.total, async {
                tokio::select! {
                    biased;
                    () = sink.cancelled() => None,
                    read = stdout.read(&mut buffer) => Some(read),
                    () = process.exited_without_output() => Some(Ok(0)),
                }
            });
            let read = match read.await {
                Ok(Some(read)) => read,
                Ok(None) => return Ended::Cancelled,
                Err(passed) => {
                    return Ended::Failed(SynthesisError::timeout(match passed {
                        Deadline::Total => format!(
                            "The speech program took longer than {} s for this sentence.",
                            settings.total.as_secs_f32()
                        ),
                        Deadline::Pause if taken == 0 => {
                            format!("The speech program gave no audio within {} s.", limit.as_secs_f32())
                        }
                        Deadline::Pause => format!(
                            "The speech program paused for longer than {} s in this sentence.",
                            limit.as_secs_f32()
                        ),
                    }));
                }
            };
            match read {
                Ok(0) => break,
                Ok(count) => {
                    if let Err(error) = guard.push(&buffer[..count], sink) {
                        return Ended::Failed(error);
                    }
                    if guard.taken() > taken {
                        patience.revive();
                    }
                    if sink.drain().await.is_err() {
                        return Ended::Cancelled;
                    }
                }
                Err(error) => {
                    return Ended::Failed(SynthesisError::failed(format!(
                        "The speech program's audio cannot be read: {error}."
                    )));
                }
            }
        }
        tokio::select! {
            biased;
            () = sink.cancelled() => Ended::Cancelled,
            // A program that is still running then has not failed: its audio is complete.
            _ = timeout(LINGER, process.exited()) => Ended::Spoken,
        }
    }
}
