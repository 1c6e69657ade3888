//! `aloud say`: speaks a text into a WAV file, through a WebSocket like any other client.

use super::{Output, Say, Settings, Text, Via, run};
use aloud::audio::{Encoding, Format, wav_header};
use aloud::client::{Client, Event};
use aloud::proto::message::{ClientMessage, ServerMessage, StartSession};
use aloud::{Server, Service};
use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a server is taken to send that does not say: the default engine's format.
const DEFAULT_FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };

/// The length in a WAV header whose end is not known yet, as in a pipe.
const UNKNOWN_LENGTH: u32 = u32::MAX;

/// How often the progress line is drawn anew.
const PROGRESS: Duration = Duration::from_millis(100);

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
    match say.server {
        Via::Own(settings) => run::runtime(run::threads(settings.threads))?.block_on(async {
            let (url, format) = own_server(&settings, &text).await?;
            speak(&url, ClientMessage::start(text), format, &say.output).await
        }),
        Via::Url { url, speed, encoding, sample_rate_hz } => run::runtime(1)?.block_on(async {
            let format = Format {
                encoding: encoding.unwrap_or(DEFAULT_FORMAT.encoding),
                sample_rate_hz: sample_rate_hz.unwrap_or(DEFAULT_FORMAT.sample_rate_hz),
            };
            let start = StartSession { prompt: Some(text), speed, ..StartSession::default() }.into();
            speak(&url, start, format, &say.output).await
        }),
    }
}

/// Starts a server on a free port that ends with the process.
async fn own_server(settings: &Settings, text: &str) -> Result<(String, Format), Box<dyn Error>> {
    let mut config = settings.config();
    // The text is the person's own, and so is the machine: no limit but what it takes.
    config.max_prompt_chars = text.len();
    // JSON may write each byte of it as six.
    config.max_message_bytes = config.max_message_bytes.max(text.len() * 6 + 1024);
    let engine = run::engine(settings);
    let mut format = engine.format();
    format.encoding = config.encoding.unwrap_or(format.encoding);
    format.sample_rate_hz = config.sample_rate_hz.unwrap_or(format.sample_rate_hz);
    let server = Server::bind(&"127.0.0.1:0".parse()?, Service::new(config, engine)?).await?;
    let address = server.local_addr().ok_or("the server has no address")?;
    tokio::spawn(server.serve(std::future::pending()));
    Ok((format!("ws://{address}"), format))
}

async fn speak(
    url: &str,
    start: ClientMessage,
    format: Format,
    output: &Output,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut client = Client::connect(url).await.map_err(|error| format!("{url}: {error}"))?;
    let mut wav = Wav::create(output, format)?;
    let mut screen = Screen::new(format);
    let mut faults = 0;
    client.send(&start).await?;
    while let Some(event) = client.next().await? {
        match event {
            Event::Audio(bytes) => {
                wav.write(&bytes)?;
                screen.heard(bytes.len());
            }
            Event::Message(ServerMessage::Text { data, .. }) => screen.sentence(&data),
            Event::Message(ServerMessage::Error { message, .. }) => {
                faults += 1;
                screen.line(&format!("aloud: {message}"));
            }
            Event::Message(ServerMessage::SessionEnd { .. }) => break,
            Event::Message(_) => {}
        }
    }
    client.send(&ClientMessage::End { drain: false }).await?;
    wav.finish()?;
    screen.summary(output);
    // Once session_end is there all that is left is the goodbye, which is owed, but not waited for.
    let _ = tokio::time::timeout(PROGRESS, async { while let Ok(Some(_)) = client.next().await {} }).await;
    if screen.bytes == 0 && faults == 0 {
        return Err("there was nothing to speak: the text has no sentence in it".into());
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A WAV that grows as the audio comes.
struct Wav {
    sink: Sink,
    format: Format,
    bytes: u64,
}

enum Sink {
    File(File, String),
    Stdout(io::Stdout),
}

impl Wav {
    fn create(output: &Output, format: Format) -> Result<Wav, Box<dyn Error>> {
        let mut sink = match output {
            Output::Stdout => Sink::Stdout(io::stdout()),
            Output::File(path) => {
                let name = path.display().to_string();
                let file = File::create(path).map_err(|error| format!("cannot write {name}: {error}"))?;
                Sink::File(file, name)
            }
        };
        sink.write(&wav_header(format, UNKNOWN_LENGTH))?;
        Ok(Wav { sink, format, bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len() as u64;
        self.sink.write(bytes)
    }

    /// Puts the length into the header, where that can still be done.
    fn finish(self) -> Result<(), String> {
        match self.sink {
            Sink::Stdout(mut stdout) => stdout.flush().map_err(|error| cannot_write("the audio", &error)),
            Sink::File(mut file, name) => {
                let length = u32::try_from(self.bytes).unwrap_or(UNKNOWN_LENGTH);
                let header = wav_header(self.format, length);
                file.seek(SeekFrom::Start(0))
                    .and_then(|_| file.write_all(&header))
                    .map_err(|error| cannot_write(&name, &error))
            }
        }
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Sink::Stdout(stdout) => {
                let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
                written.map_err(|error| cannot_write("the audio", &error))
            }
            Sink::File(file, name) => file.write_all(bytes).map_err(|error| cannot_write(name, &error)),
        }
    }
}

fn cannot_write(name: &str, error: &io::Error) -> String {
    format!("cannot write {name}: {error}")
}

/// What the person sees: sentences as they are spoken, and how far it is, where there is a
/// terminal to draw it on.
struct Screen {
    format: Format,
    is_terminal: bool,
    started: Instant,
    first_audio: Option<Duration>,
    drawn: Option<Instant>,
    bytes: u64,
    sentences: usize,
}

impl Screen {
    fn new(format: Format) -> Screen {
        Screen {
            format,
            is_terminal: io::stderr().is_terminal(),
            started: Instant::now(),
            first_audio: None,
            drawn: None,
            bytes: 0,
            sentences: 0,
        }
    }

    fn sentence(&mut self, text: &str) {
        self.sentences += 1;
        self.line(text);
    }

    /// Writes a line above the progress line. Control characters in a text must not act here.
    fn line(&mut self, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        let _ = io::stderr().write_all(format!("{clear}{text}\n").as_bytes());
        self.drawn = None;
    }

    fn heard(&mut self, bytes: usize) {
        self.first_audio.get_or_insert_with(|| self.started.elapsed());
        self.bytes += bytes as u64;
        if self.is_terminal && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PROGRESS) {
            self.drawn = Some(Instant::now());
            let seconds = self.format.duration(self.bytes).as_secs_f64();
            let _ = io::stderr().write_all(format!("\r\x1b[K  {seconds:.1} s of speech").as_bytes());
        }
    }

    fn summary(&mut self, output: &Output) {
        let took = self.started.elapsed().as_secs_f64();
        let seconds = self.format.duration(self.bytes).as_secs_f64();
        let place = match output {
            Output::Stdout => "standard output".to_owned(),
            Output::File(path) => path.display().to_string(),
        };
        let first = self.first_audio.unwrap_or_default().as_secs_f64() * 1000.0;
        self.line(&format!(
            "{place}: {seconds:.1} s of speech, {} sentences, in {took:.3} s ({:.0} × real time), first audio after {first:.1} ms",
            self.sentences,
            seconds / took.max(1e-9),
        ));
    }
}
