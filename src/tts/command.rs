//! Any program as an engine: one process for each sentence, whose standard output is the audio.
//!
//! Knows processes and pipes, but nothing of what the bytes mean: that is the [`Guard`]'s. There is
//! no shell. Each process leads a group of its own, and the group is killed before its leader is
//! reaped, always: until then its number can belong to nobody else.

use super::guard::words;
use super::{Guard, Shape, Sink, Speech, SynthesisError, Synthesizer, Treatment, Utterance, Voice};
use crate::audio::{Encoding, Format};
use crate::deadline;
use crate::text::redact::discreet;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::OsStr;
use std::fmt;
use std::future::pending;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};

/// What is read from a program at once.
const READ_BYTES: usize = 16 * 1024;

/// How much of the end of what a program complains of is kept.
const COMPLAINT_BYTES: usize = 500;

/// How long a program may live on that has closed its standard output, and how long one of its
/// own children may hold that open without a byte once it has ended itself.
const LINGER: Duration = Duration::from_secs(1);

/// How long is waited for the last of what a killed program complained of, and for its end.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What a program gives of which nobody said at which rate its voice is.
const USUAL_RATE_HZ: u32 = 22_050;

/// Words per minute of a voice at its natural rate.
const WORDS_PER_MINUTE: f32 = 175.0;

/// How a program is run for each sentence. [`Settings::new`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The program and its arguments, as one would type them, such as
    /// `espeak-ng --stdout -v {language} -s {wpm} --stdin`.
    ///
    /// Words are separated by white space. Quotes, single or double, and backslashes work as in a
    /// shell; nothing else does: no variables, no patterns, no pipes. Then placeholders are filled
    /// in, alone or inside of an argument; `{{` and `}}` are braces:
    ///
    /// | placeholder | stands for |
    /// |---|---|
    /// | `{text}` | the sentence; without it, the sentence comes on standard input |
    /// | `{voice}` | the voice: the one the client chose, or the first of [`voices`](Self::voices) |
    /// | `{language}` | the language: the one the client named, or [`language`](Self::language) |
    /// | `{speed}` | the rate of speech, 0.5 to 2.0, where 1 is natural |
    /// | `{wpm}` | the same in words per minute: 175 at the natural rate |
    /// | `{length_scale}` | the same as a factor of length: 1 divided by the speed |
    /// | `{sample_rate}` | [`sample_rate_hz`](Self::sample_rate_hz) |
    ///
    /// A sentence is one line: white space of other kinds in it becomes a space. On standard input
    /// a newline follows, and then the end. As an argument, or at the beginning of one, a sentence
    /// that begins with `-` is given a space in front, so that no program takes it for an option.
    pub command: String,
    /// The names of the voices, the default first; none for a single one, named `default`.
    pub voices: Vec<String>,
    /// The language where the client named none. Default: `en`.
    pub language: String,
    /// How samples are written that come without a WAV header. Default: none, so that such audio
    /// is refused.
    pub encoding: Option<super::SampleEncoding>,
    /// How many there are a second. Where a WAV says otherwise, it is resampled. Default: 22,050.
    pub sample_rate_hz: u32,
    /// Channels of audio that comes without a WAV header. Default: 1.
    pub channels: u16,
    /// What is done to the audio.
    pub treatment: Treatment,
    /// From starting the program to the first byte of its audio. Default: 20 s.
    pub first_byte: Duration,
    /// How long it may pause in the middle of it. Default: 10 s.
    pub idle: Duration,
    /// How long it may be waited for altogether. The time in which the program waits for its
    /// listener is not counted. Default: 120 s.
    pub total: Duration,
}

impl Settings {
    /// The defaults, for this command.
    pub fn new(command: impl Into<String>) -> Settings {
        Settings {
            command: command.into(),
            voices: Vec::new(),
            language: "en".to_owned(),
            encoding: None,
            sample_rate_hz: USUAL_RATE_HZ,
            channels: 1,
            treatment: Treatment::default(),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(10),
            total: Duration::from_secs(120),
        }
    }
}

impl Settings {
    /// Whether the command makes sense, as far as that can be told without looking for the program.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    pub fn check(&self) -> Result<(), InvalidCommand> {
        understand(self).map(|_| ())
    }
}

/// Why a program cannot be an engine: one sentence for the operator, which says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCommand(String);

impl fmt::Display for InvalidCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidCommand {}

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidCommand> {
    Err(InvalidCommand(why.into()))
}

/// The engine `command`: any program that gives speech on its standard output.
///
/// ```no_run
/// use aloud::tts::{Command, command::Settings};
///
/// let espeak = Command::new(Settings::new("espeak-ng --stdout -v {language} -s {wpm} --stdin"))?;
/// # Ok::<(), aloud::tts::command::InvalidCommand>(())
/// ```
///
/// Its environment and working directory are the server's own. What it writes on standard error is
/// logged when it fails. When nobody listens any more it is killed (SIGKILL), with all processes of
/// its group: with whatever it has started, unless that has taken leave of the group.
pub struct Command(Arc<Shared>);

struct Shared {
    program: PathBuf,
    arguments: Vec<Argument>,
    /// Whether the text goes to standard input.
    reads_text: bool,
    settings: Settings,
}

impl Command {
    /// Understands the command, and looks for the program: in `PATH`, unless it is named with a
    /// slash.
    ///
    /// # Errors
    /// One sentence that says what is wrong with the command or the other settings.
    pub fn new(settings: Settings) -> Result<Command, InvalidCommand> {
        let (program, arguments) = understand(&settings)?;
        let program = find(&program, std::env::var_os("PATH").as_deref())?;
        let reads_text = !arguments.iter().any(|argument| argument.0.contains(&Part::Text));
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

/// How a program's part ended.
enum Ended {
    /// It gave all it had.
    Spoken,
    /// It gave nonsense, or too little, or took too long.
    Failed(SynthesisError),
    /// Nobody listens any more.
    Cancelled,
}

impl Shared {
    /// Speaks one sentence with a process of its own, which is gone when this returns, or when the
    /// future is dropped.
    async fn speak(self: Arc<Shared>, utterance: Utterance, mut sink: Sink) {
        let line = one_line(&utterance.text);
        let mut process = match Process::start(&self.program, self.fill(&utterance, &line), self.reads_text) {
            Ok(process) => process,
            Err(error) => {
                tracing::warn!("engine command: {} cannot be started: {error}", self.program.display());
                return sink.fail(SynthesisError::failed("The speech program cannot be started.")).await;
            }
        };
        let settings = &self.settings;
        let bare = settings.encoding.map(|encoding| Shape {
            encoding,
            sample_rate_hz: settings.sample_rate_hz,
            channels: settings.channels,
        });
        let mut guard = Guard::new(bare, settings.treatment, &utterance);
        let mut complaints = Vec::new();
        let stdin = process.child.stdin.take();
        let mut stderr = process.child.stderr.take();
        let mut ended = {
            let beside = async {
                tokio::join!(feed(stdin, &line), collect(stderr.as_mut(), &mut complaints));
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
        // What it complained of just before it was killed may still be in the pipe.
        let _ = timeout(AFTERMATH, collect(stderr.as_mut(), &mut complaints)).await;
        let complaint = words(&String::from_utf8_lossy(&complaints));
        let complaint = discreet(&complaint, &[&utterance.text]);
        let reason = discreet(&error.message, &[&utterance.text]);
        let exit = exit.map_or("was killed".to_owned(), |exit| exit.to_string());
        tracing::warn!(
            "engine command: {reason} {} {exit}; its last words on standard error: {}",
            self.program.display(),
            if complaint.is_empty() { "none" } else { &*complaint }
        );
        sink.fail(error).await;
    }

    /// Passes on what the program writes, for as long as somebody listens.
    async fn listen(&self, process: &mut Process, guard: &mut Guard, sink: &mut Sink) -> Ended {
        let settings = &self.settings;
        let Some(mut stdout) = process.child.stdout.take() else { return Ended::Spoken };
        let mut buffer = vec![0; READ_BYTES];
        let mut first = true;
        // Time that was spent waiting for the program, not for the listener.
        let mut spent = Duration::ZERO;
        loop {
            let since = Instant::now();
            let patience = if first { settings.first_byte } else { settings.idle };
            let left = settings.total.saturating_sub(spent);
            let read = tokio::select! {
                biased;
                () = sink.cancelled() => return Ended::Cancelled,
                read = stdout.read(&mut buffer) => read,
                () = process.exited_without_output() => break,
                () = deadline::pass(since + patience.min(left)) => {
                    return Ended::Failed(SynthesisError::timeout(if left <= patience {
                        "The speech program took too long for this sentence."
                    } else if first {
                        "The speech program gave no audio in time."
                    } else {
                        "The speech program stopped giving audio in the middle of this sentence."
                    }));
                }
            };
            spent += since.elapsed();
            match read {
                Ok(0) => break,
                Ok(count) => {
                    first = false;
                    if let Err(error) = guard.push(&buffer[..count], sink) {
                        return Ended::Failed(error);
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
            // Not to have ended by then is no failure: what it had to say, it has said.
            _ = timeout(LINGER, process.exited()) => Ended::Spoken,
        }
    }

    /// The arguments for one utterance.
    fn fill(&self, utterance: &Utterance, line: &str) -> Vec<String> {
        let settings = &self.settings;
        let voice = match utterance.voice.as_str() {
            "" => settings.voices.first().map_or("", String::as_str),
            voice => voice,
        };
        let language = match utterance.language.as_str() {
            language if is_language(language) => language,
            _ => &settings.language,
        };
        let speed = utterance.speed;
        let fill = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Text => line.to_owned(),
            Part::Voice => voice.to_owned(),
            Part::Language => language.to_owned(),
            Part::Speed => rounded(speed),
            Part::LengthScale => rounded(1.0 / speed),
            Part::WordsPerMinute => format!("{:.0}", WORDS_PER_MINUTE * speed),
            Part::SampleRate => settings.sample_rate_hz.to_string(),
        };
        let argument = |Argument(parts): &Argument| {
            let filled: String = parts.iter().map(fill).collect();
            match parts.first() {
                Some(Part::Text) if filled.starts_with('-') => format!(" {filled}"),
                _ => filled,
            }
        };
        self.arguments.iter().map(argument).collect()
    }
}

/// A sentence as one line, and without what no argument may hold.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c == '\0' { ' ' } else { c }).collect()
}

/// A number with at most three places.
fn rounded(number: f32) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether this is a language tag as far as its letters go (RFC 5646 §2.1): nothing that a program
/// could take for an option or a path.
fn is_language(tag: &str) -> bool {
    tag.len() <= 35
        && tag.starts_with(|c: char| c.is_ascii_alphabetic())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Gives a program its text, and then the end of it.
async fn feed(stdin: Option<ChildStdin>, line: &str) {
    if let Some(mut stdin) = stdin {
        // An error means that it does not care for the rest.
        let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
    }
}

/// Reads all that a program complains of, and keeps the end.
async fn collect(stderr: Option<&mut ChildStderr>, kept: &mut Vec<u8>) {
    let Some(stderr) = stderr else { return };
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(COMPLAINT_BYTES);
        kept.drain(..surplus);
    }
}

/// How a program ended.
#[derive(Clone, Copy)]
enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    fn is_success(self) -> bool {
        matches!(self, Exit::Code(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "ended with exit code {code}"),
            Exit::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// A process that leads a group of its own. Dropping it kills the group.
struct Process {
    child: Child,
    /// Until the process is reaped.
    group: Option<Pid>,
    /// Something happened to a process of ours, this one or another.
    changes: Signals,
}

impl Process {
    fn start(program: &Path, arguments: Vec<String>, reads: bool) -> std::io::Result<Process> {
        // Before there is anything to miss.
        let changes = signal(SignalKind::child())?;
        let child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(if reads { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Process { child, group, changes })
    }

    /// How the process ended, if it has. It is not reaped.
    fn exit(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.group?), options).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Exit::Code(code)),
            (_, signal) => signal.map(Exit::Signal),
        }
    }

    /// Returns once the process has ended.
    ///
    /// # Cancel safety
    /// Holds nothing.
    async fn exited(&mut self) {
        while self.group.is_some() && self.exit().is_none() && self.changes.recv().await.is_some() {}
    }

    /// Returns when the process has ended a while ago. To be asked anew after each piece of what is
    /// still read of its output.
    async fn exited_without_output(&mut self) {
        self.exited().await;
        tokio::time::sleep(LINGER).await;
    }

    /// Kills what is left of the group, and reaps the process.
    async fn end(&mut self) {
        self.kill();
        // An end that takes longer is reaped by the runtime when it comes.
        let _ = timeout_at(Instant::now() + AFTERMATH, self.child.wait()).await;
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // An error means that there is nobody left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One argument, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Text,
    Voice,
    Language,
    Speed,
    WordsPerMinute,
    LengthScale,
    SampleRate,
}

impl Argument {
    fn parse(word: &str) -> Result<Argument, InvalidCommand> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), word);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, behind) = rest[at..].split_at(1);
            if let Some(behind) = behind.strip_prefix(brace) {
                literal.push_str(brace);
                rest = behind;
                continue;
            }
            let name = behind.split_once('}').filter(|_| brace == "{");
            let Some((name, behind)) = name else {
                return invalid(format!("`{word}` has a brace alone; write {{{{ or }}}} for one"));
            };
            let part = match name {
                "text" => Part::Text,
                "voice" => Part::Voice,
                "language" => Part::Language,
                "speed" => Part::Speed,
                "wpm" => Part::WordsPerMinute,
                "length_scale" => Part::LengthScale,
                "sample_rate" => Part::SampleRate,
                _ => {
                    return invalid(format!(
                        "there is no placeholder {{{name}}}; there are {{text}}, {{voice}}, {{language}}, \
                         {{speed}}, {{wpm}}, {{length_scale}} and {{sample_rate}}, and {{{{ and }}}} stand \
                         for braces"
                    ));
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Argument(parts))
    }
}

/// The program and its arguments.
fn understand(settings: &Settings) -> Result<(String, Vec<Argument>), InvalidCommand> {
    let words = split(&settings.command)?;
    let [program, arguments @ ..] = words.as_slice() else {
        return invalid("it is empty; name a program");
    };
    let program = match Argument::parse(program)?.0.as_slice() {
        [Part::Literal(program)] => program.clone(),
        _ => return invalid("the program itself cannot be a placeholder; name one"),
    };
    let arguments = arguments.iter().map(|word| Argument::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let names_voice = arguments.iter().any(|argument| argument.0.contains(&Part::Voice));
    match (names_voice, settings.voices.as_slice()) {
        (true, []) => invalid("it has {voice}, but no voices are named"),
        (false, [_, _, ..]) => invalid("it has no {voice}, so all voices would be one"),
        (_, voices) if voices.iter().any(String::is_empty) => invalid("a voice has no name"),
        _ => Ok((program, arguments)),
    }
}

/// Splits a command into words as a POSIX shell does (XCU §2.2), but expands nothing.
fn split(command: &str) -> Result<Vec<String>, InvalidCommand> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut end = |word: Option<String>, quoted: bool| {
        let Some(word) = word else { return Ok(()) };
        let of_a_shell = ["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"];
        if !quoted && of_a_shell.contains(&word.as_str()) {
            return invalid(format!(
                "`{word}` works in a shell only, and there is none; write sh -c '…', or quote it"
            ));
        }
        words.push(word);
        Ok(())
    };
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {
                end(word.take(), quoted)?;
                quoted = false;
            }
            '\'' | '"' => {
                quoted = true;
                let word = word.get_or_insert_default();
                loop {
                    match (chars.next(), c) {
                        (None, _) => return invalid(format!("a quote {c} is never closed; close it")),
                        (Some(next), _) if next == c => break,
                        (Some('\\'), '"') => match chars.next() {
                            Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                            Some(next) => word.extend(['\\', next]),
                            None => {}
                        },
                        (Some(next), _) => word.push(next),
                    }
                }
            }
            '\\' => {
                quoted = true;
                match chars.next() {
                    Some(next) => word.get_or_insert_default().push(next),
                    None => return invalid("it ends with a backslash; leave it out, or double it"),
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    end(word, quoted)?;
    Ok(words)
}

/// Where a program is, in these directories unless it is named with a slash.
fn find(program: &str, path: Option<&OsStr>) -> Result<PathBuf, InvalidCommand> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return match PathBuf::from(program) {
            path if is_program(&path) => Ok(path),
            _ => invalid(format!("`{program}` is no program; check that it is there and executable")),
        };
    }
    let mut directories = path.into_iter().flat_map(std::env::split_paths);
    let found = directories.find_map(|directory| {
        let path = directory.join(program);
        is_program(&path).then_some(path)
    });
    found.ok_or_else(|| {
        InvalidCommand(format!("there is no program `{program}` in PATH; install it, or write where it is"))
    })
}
