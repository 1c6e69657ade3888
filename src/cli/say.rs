//! `aloud say`: speaks a text into a file or to the person, as a client of a server.

mod listening;
mod player;

use super::{Form, Output, Pauses, ReaderLeft, Say, Settings, Text, Via, run, threads};
use aloud::Server;
use aloud::audio::{Encoding, Format, wav_header, wav_padding};
use aloud::client::{self, Event};
use aloud::message::{
    AudioOptions, ClientMessage, Code, Delivery, EndReason, PauseOptions, ServerMessage, StartSession,
    Timestamps, WordTimes,
};
use aloud::upstream::Secret;
use listening::{Listening, Step};
pub(super) use player::Player;
use player::Playing;
use std::collections::VecDeque;
use std::error::Error;
use std::fs::{DirBuilder, File};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Largest text that a server in this process takes.
const MAX_TEXT_BYTES: usize = 10_000_000;

/// Format assumed for a server that does not announce it: the one of the default engine.
const DEFAULT_FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };

/// Length in a WAV header while the length is unknown, as in a pipe.
const UNKNOWN_LENGTH: u32 = u32::MAX;

/// Interval at which the progress line is drawn.
const PROGRESS: Duration = Duration::from_millis(100);

/// Look-ahead of paced delivery.
const AHEAD_MS: u32 = 500;

pub(super) fn say(say: Say) -> Result<ExitCode, Box<dyn Error>> {
    let text = match say.text {
        Text::Given(text) => text,
        Text::Stdin => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| format!("cannot read the text: {error}"))?;
            text
        }
    };
    let token = say.token.as_ref().map(|token| token.read("token-file")).transpose()?;
    if say.output == Output::Stdout && io::stdout().is_terminal() {
        return Err("a terminal cannot show audio; leave `-o -` out to hear it, or name a file".into());
    }
    let player = match say.may_play && io::stdout().is_terminal() {
        true => Player::find(std::env::var_os("PATH")),
        false => None,
    };
    let (place, last) = match player {
        None => (Place::new(say.output, say.form), None),
        Some(player) if player.is_live => (Place::new(Output::Player(player), Form::Raw), None),
        Some(player) => {
            let folder = Folder::new()?;
            let file = Output::File(folder.0.join("aloud.wav"));
            // The person hears the player, and never sees the file.
            let place = Place { name: player.name.to_owned(), ..Place::new(file, Form::Wav) };
            (place, Some((player, folder)))
        }
    };
    let paced = say.paced || matches!(place.output, Output::Player(_));
    let shows_words = paced && io::stderr().is_terminal();
    let mut start = StartSession::default();
    start.timestamps = shows_words.then_some(Timestamps::Word);
    start.delivery = paced.then_some(Delivery::Paced { ahead_ms: Some(AHEAD_MS) });
    start.source = say.source;
    start.clean = say.clean;
    start.resumable = true;
    (start.voice, start.language) = (say.voice, say.language);
    if place.form == Form::Mp3 {
        start.audio.insert(AudioOptions::default()).encoding = Some(Encoding::Mp3);
    }
    start.prompt = Some(text);
    let code = match say.server {
        Via::Own(settings) => threads::runtime()?.block_on(async {
            let prompt = start.prompt.as_deref().unwrap_or_default();
            let (url, format) = own_server(&settings, prompt).await?;
            let code = speak(&url, None, start, format, &place).await?;
            run::note(&settings).iter().for_each(|note| eprintln!("aloud: {note}"));
            Ok(code)
        }),
        Via::Url { url, speed, encoding, sample_rate_hz, pauses } => threads::runtime()?.block_on(async {
            if encoding.is_some() || sample_rate_hz.is_some() {
                let audio = start.audio.get_or_insert_default();
                audio.encoding = audio.encoding.or(encoding);
                audio.sample_rate_hz = sample_rate_hz;
            }
            let format = Format {
                encoding: encoding.unwrap_or(DEFAULT_FORMAT.encoding),
                sample_rate_hz: sample_rate_hz.unwrap_or(DEFAULT_FORMAT.sample_rate_hz),
            };
            start.speed = speed;
            if pauses != Pauses::default() {
                let asked = start.pauses.insert(PauseOptions::default());
                asked.sentence_ms = pauses.sentence;
                asked.paragraph_ms = pauses.paragraph;
                asked.heading_ms = pauses.heading;
                start.lead_ms = pauses.lead;
            }
            speak(&url, token.as_ref(), start, format, &place).await
        }),
    };
    if let (Some((player, _folder)), Output::File(file), true) = (last, &place.output, code.is_ok()) {
        player.play(file).map_err(|error| cannot_write(&Output::Player(player), &error))?;
    }
    code
}

/// Output of the speech, and its name.
struct Place {
    output: Output,
    form: Form,
    /// As the last line calls it.
    name: String,
}

impl Place {
    fn new(output: Output, form: Form) -> Place {
        let name = match &output {
            Output::Stdout => "standard output".to_owned(),
            Output::File(path) => path.display().to_string(),
            Output::Player(player) => player.name.to_owned(),
        };
        Place { output, form, name }
    }
}

/// A folder of this process alone, for the file of a player. It is removed with its file.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("aloud-say-{}", std::process::id()));
        // Fails if it exists: it may be another user's.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("cannot make the folder {}: {error}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a server on a free port. It ends with the process.
async fn own_server(settings: &Settings, text: &str) -> Result<(String, Format), Box<dyn Error>> {
    let mut config = settings.config.clone();
    if text.len() > MAX_TEXT_BYTES {
        let most = MAX_TEXT_BYTES / 1_000_000;
        return Err(
            format!("the text has {} bytes; at most {most} MB can be spoken at once", text.len()).into()
        );
    }
    // The text and the machine belong to the same person, and so there is no other limit.
    config.max_prompt_chars = text.len().max(1);
    // JSON may write each byte of the text as six.
    let message_bytes = text.len() * 6 + 1024;
    config.max_message_bytes = config.max_message_bytes.max(message_bytes);
    let engine = run::engine(settings)?;
    let mut format = engine.format();
    format.encoding = config.encoding.unwrap_or(format.encoding);
    format.sample_rate_hz = config.sample_rate_hz.unwrap_or(format.sample_rate_hz);
    let server = Server::bind(&"127.0.0.1:0".parse()?, run::service(settings, config, engine)?).await?;
    let address = server.local_addr().ok_or("the server has no address")?;
    tokio::spawn(server.serve(std::future::pending()));
    Ok((format!("ws://{address}"), format))
}

async fn speak(
    url: &str,
    token: Option<&Secret>,
    start: StartSession,
    format: Format,
    place: &Place,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut screen = Screen::new(start.timestamps == Some(Timestamps::Word));
    let mut wav = Wav::new(&place.output, format, place.form);
    let mut listening = Listening::start(url, token, start, |line| screen.line(line)).await?;
    // A file gets its lengths before the program ends. A pipe has none, and its reader may be stopped.
    let is_file = match &place.output {
        Output::File(path) => path.metadata().map_or(true, |found| found.is_file()),
        Output::Stdout | Output::Player(_) => false,
    };
    let signal = is_file.then(run::stop_signal).transpose()?;
    let signal = async {
        match signal {
            Some(signal) => signal.await,
            None => std::future::pending().await,
        }
    };
    let faults = tokio::select! {
        faults = listen(&mut listening, &mut wav, &mut screen) => faults.map(Ok),
        signal = signal => Ok(Err(signal)),
    };
    let (has_audio, format) = (wav.is_begun(), wav.format);
    let finished = wav.finish();
    let faults = match faults? {
        Ok(faults) => faults,
        Err(signal) => {
            finished?;
            if has_audio {
                screen.summary(format, &place.name);
            }
            return Ok(ExitCode::from(run::ENDED_BY_SIGNAL + signal));
        }
    };
    finished?;
    if !has_audio && faults == 0 {
        return Err("nothing to speak: the text has no sentence".into());
    }
    screen.summary(format, &place.name);
    // After session_end only the closing handshake is left. Wait for it a moment only.
    let _ = tokio::time::timeout(PROGRESS, async {
        listening.client.send(&ClientMessage::End { drain: false }).await?;
        while listening.client.next().await?.is_some() {}
        Ok::<(), client::Error>(())
    })
    .await;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the stream's audio up to its end. Returns the number of errors that the server sent.
async fn listen(
    listening: &mut Listening<'_>,
    wav: &mut Wav<'_>,
    screen: &mut Screen,
) -> Result<u64, Box<dyn Error>> {
    let mut faults = 0;
    loop {
        let event = tokio::select! {
            event = listening.client.next() => event,
            () = screen.next_word() => continue,
        };
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(error) if listening.is_resumable(&error) => {
                screen.line(&format!("aloud: {error}; reconnecting"));
                let resumed = listening.resume(&error).await?;
                screen.line(&format!("aloud: {resumed}"));
                write(listening, wav, screen)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        listening.take(&event);
        if let Some(format) = listening.format {
            wav.format = format;
        }
        write(listening, wav, screen)?;
        match &event {
            // The server refused the stream. After a fatal fault the close says more.
            Event::Message(ServerMessage::Error { message, fault })
                if !listening.has_begun() && !fault.is_some_and(|(code, _)| code.is_fatal()) =>
            {
                if !listening.start_elsewhere().await? {
                    return Err(message.clone().into());
                }
                continue;
            }
            // It refused to begin in the middle, and ends the stream.
            Event::Message(ServerMessage::Error { fault: Some((Code::BadMessage, _)), .. })
                if listening.is_seeking() =>
            {
                continue;
            }
            Event::Message(ServerMessage::SessionEnd { end: Some(end) })
                if end.0 == EndReason::Error && listening.start_elsewhere().await? =>
            {
                continue;
            }
            _ => {}
        }
        match event {
            Event::Message(ServerMessage::Text { data, index, .. }) => screen.sentence(&data, index),
            Event::Message(ServerMessage::Timestamps { index, start_ms, words, .. }) => {
                screen.words(index, start_ms, words);
            }
            Event::Message(ServerMessage::Error { message, .. }) => {
                faults += u64::from(listening.has_begun());
                screen.line(&format!("aloud: {message}"));
            }
            Event::Message(ServerMessage::Warning { message, .. }) => {
                screen.line(&format!("aloud: {message}"));
            }
            Event::Message(ServerMessage::SessionEnd { .. }) => break,
            _ => {}
        }
    }
    screen.rest().await;
    Ok(faults)
}

/// Writes what the last event has brought.
fn write(
    listening: &mut Listening<'_>,
    wav: &mut Wav<'_>,
    screen: &mut Screen,
) -> Result<(), Box<dyn Error>> {
    while let Some(step) = listening.next_step() {
        match step {
            Step::Append(bytes) => {
                wav.write(&bytes)?;
                screen.heard(wav.format, bytes.len());
            }
            Step::Truncate(length) => wav.truncate(length)?,
        }
    }
    Ok(())
}

/// A file that grows with each piece of audio. It is created with the first one.
struct Wav<'a> {
    output: &'a Output,
    sink: Option<Sink>,
    format: Format,
    form: Form,
    bytes: u64,
}

enum Sink {
    /// A file, whose lengths are written at the end.
    File(File),
    /// A pipe or a device, in which nothing can be changed any more.
    Pipe(Box<dyn Write>),
    Player(Playing),
}

impl Wav<'_> {
    fn new(output: &Output, format: Format, form: Form) -> Wav<'_> {
        Wav { output, sink: None, format, form, bytes: 0 }
    }

    /// The header for this many bytes of audio; empty if the form has none.
    fn header(&self, length: u32) -> Vec<u8> {
        match self.form {
            Form::Wav => wav_header(self.format, length),
            Form::Raw | Form::Mp3 => Vec::new(),
        }
    }

    /// True if there was audio.
    fn is_begun(&self) -> bool {
        self.sink.is_some()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let failed = |error| cannot_write(self.output, &error);
        if self.sink.is_none() {
            let header = self.header(UNKNOWN_LENGTH);
            let sink = self.sink.insert(Sink::open(self.output, self.format).map_err(failed)?);
            sink.write(&header).map_err(failed)?;
        }
        if let Some(sink) = &mut self.sink {
            sink.write(bytes).map_err(failed)?;
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Drops the audio behind so many bytes. A pipe has it already: its listener hears the sentence again.
    fn truncate(&mut self, length: u64) -> Result<(), Box<dyn Error>> {
        let end = self.header(UNKNOWN_LENGTH).len() as u64 + length;
        if let Some(Sink::File(file)) = &mut self.sink {
            file.set_len(end)
                .and_then(|()| file.seek(SeekFrom::Start(end)))
                .map_err(|error| cannot_write(self.output, &error))?;
        }
        self.bytes = length;
        Ok(())
    }

    /// Writes the lengths into the header of a file. The header of a pipe says that they are unknown.
    fn finish(self) -> Result<(), Box<dyn Error>> {
        let header = self.header(u32::try_from(self.bytes).unwrap_or(UNKNOWN_LENGTH));
        let padding = if self.form == Form::Wav { wav_padding(self.bytes) } else { &[] };
        let mut file = match self.sink {
            Some(Sink::File(file)) => file,
            Some(Sink::Player(playing)) => {
                return playing.finish().map_err(|error| cannot_write(self.output, &error));
            }
            Some(Sink::Pipe(_)) | None => return Ok(()),
        };
        let end = header.len() as u64 + self.bytes;
        // After a failed write there may be a part of a sample.
        file.set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .and_then(|_| file.write_all(padding))
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(&header))
            .map_err(|error| cannot_write(self.output, &error))
    }
}

impl Sink {
    fn open(output: &Output, format: Format) -> io::Result<Sink> {
        let file = match output {
            Output::Stdout => return Ok(Sink::Pipe(Box::new(io::stdout()))),
            Output::Player(player) => return Ok(Sink::Player(player.start(format)?)),
            Output::File(path) => File::create(path)?,
        };
        Ok(if file.metadata()?.is_file() { Sink::File(file) } else { Sink::Pipe(Box::new(file)) })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(bytes),
            Sink::Pipe(pipe) => pipe.write_all(bytes).and_then(|()| pipe.flush()),
            Sink::Player(playing) => playing.write(bytes),
        }
    }
}

fn cannot_write(output: &Output, error: &io::Error) -> Box<dyn Error> {
    match output {
        Output::Stdout if error.kind() == io::ErrorKind::BrokenPipe => ReaderLeft.into(),
        Output::Stdout => format!("cannot write the audio: {error}").into(),
        Output::File(path) => format!("cannot write {}: {error}", path.display()).into(),
        Output::Player(player) => {
            format!("{} cannot play the speech: {error}. `-o FILE` writes a file", player.name).into()
        }
    }
}

/// Output for the person: announced sentences, or words as they are played; on a terminal also a
/// progress line.
struct Screen {
    is_terminal: bool,
    /// True to show words instead of sentences.
    shows_words: bool,
    started: Instant,
    first_audio: Option<Instant>,
    drawn: Option<Instant>,
    bytes: u64,
    /// Sentences announced.
    sentences: u64,
    /// Words to show: time in ms of the stream, word, true if it begins a sentence.
    words: VecDeque<(u64, String, bool)>,
    /// Last word received: number of its sentence, and position in it.
    last_word: Option<(u64, usize)>,
    /// True if the current line has text.
    is_in_line: bool,
}

impl Screen {
    fn new(shows_words: bool) -> Screen {
        Screen {
            is_terminal: io::stderr().is_terminal(),
            shows_words,
            started: Instant::now(),
            first_audio: None,
            drawn: None,
            bytes: 0,
            sentences: 0,
            words: VecDeque::new(),
            last_word: None,
            is_in_line: false,
        }
    }

    fn sentence(&mut self, text: &str, index: u64) {
        // A resumed session announces its sentence again.
        if index < self.sentences {
            return;
        }
        self.sentences = index + 1;
        if !self.shows_words {
            self.line(text);
        }
    }

    fn words(&mut self, index: u64, start_ms: u64, words: Vec<WordTimes>) {
        for word in words {
            // A resumed session sends the words of its sentence again.
            let place = Some((index, word.chars.0));
            if place > self.last_word {
                self.last_word = place;
                self.words.push_back((start_ms + word.ms.0, word.word, word.chars.0 == 0));
            }
        }
    }

    /// Shows the next word when it is played. Waits forever if there is none.
    async fn next_word(&mut self) {
        let (Some(first), Some((ms, ..))) = (self.first_audio, self.words.front()) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until((first + Duration::from_millis(*ms)).into()).await;
        if let Some((_, word, is_first)) = self.words.pop_front() {
            let between = if is_first && self.is_in_line { "\n" } else { "" };
            let _ = io::stderr().write_all(format!("{between}{} ", printable(&word)).as_bytes());
            self.is_in_line = true;
        }
    }

    /// Shows the remaining words.
    async fn rest(&mut self) {
        while !self.words.is_empty() && self.first_audio.is_some() {
            self.next_word().await;
        }
    }

    /// Writes a line above the progress line.
    fn line(&mut self, text: &str) {
        let clear = match (self.is_terminal, self.is_in_line) {
            (_, true) => "\n",
            (true, false) => "\r\x1b[K",
            (false, false) => "",
        };
        let _ = io::stderr().write_all(format!("{clear}{}\n", printable(text)).as_bytes());
        self.is_in_line = false;
        self.drawn = None;
    }

    fn heard(&mut self, format: Format, bytes: usize) {
        self.first_audio.get_or_insert_with(Instant::now);
        self.bytes += bytes as u64;
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= PROGRESS);
        if self.is_terminal && !self.shows_words && is_due {
            self.drawn = Some(Instant::now());
            let seconds = format.duration(self.bytes).as_secs_f64();
            let _ = io::stderr().write_all(format!("\r\x1b[K  {seconds:.1} s of speech").as_bytes());
        }
    }

    fn summary(&mut self, format: Format, place: &str) {
        let took = self.started.elapsed().as_secs_f64();
        let seconds = format.duration(self.bytes).as_secs_f64();
        let first =
            self.first_audio.map_or(Duration::ZERO, |first| first - self.started).as_secs_f64() * 1000.0;
        self.line(&format!(
            "{place}: {seconds:.1} s of speech, {} sentences, in {took:.3} s ({:.0} × real time), first audio after {first:.1} ms",
            self.sentences,
            seconds / took.max(1e-9),
        ));
    }
}

/// Replaces control characters, which a terminal would act on, by spaces.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
