//! `aloud bench`: puts load on a server, and reports figures of the server and of its listeners.
//!
//! It works with every server of the base protocol. The bench runs in one thread, so that it can detect that it
//! limits the figures itself.

mod figures;
mod frames;
mod histogram;
mod listener;
mod load;
mod opening;
mod process;

use super::parse::wrong;
use super::{Engine, Source, Usage, descriptors, run, threads};
use aloud::SUBPROTOCOL;
use aloud::audio::{Encoding, Format};
use aloud::message::{ClientMessage, Delivery, StartSession};
use listener::Habits;
use opening::Target;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// Default prompt: half a minute of speech.
const TEXT: &str = "It had rained all night, and the harbour was quiet in the morning. Somebody had left a lamp \
                    on in the boathouse. She took the longer way around the pier, past the nets and the crates, \
                    and counted the masts as she had done when she was a child. There were fewer of them now. \
                    The ferry would not leave before nine, so there was time for a second cup of tea. When the \
                    bell rang she was already on her feet, with her coat buttoned and the letter in her hand.";

/// Default of `--ahead-ms`, in ms.
const DEFAULT_AHEAD_MS: u32 = 2_000;

/// Options of `aloud bench`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bench {
    pub(crate) server: Under,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// Duration of the measurement, after the warm-up.
    pub(crate) time: Duration,
    pub(crate) prompt: Option<String>,
    pub(crate) ahead_ms: Option<u32>,
    pub(crate) sample_rate_hz: Option<u32>,
    pub(crate) encoding: Option<Encoding>,
    /// True for one line of JSON instead of a table.
    pub(crate) json: bool,
}

/// The server under load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Under {
    /// A server of this program, in its own process.
    Own(Own),
    /// A server that runs already.
    Url {
        /// URL, always with a path.
        url: String,
        /// Process to measure the CPU and memory of.
        pid: Option<u32>,
    },
}

/// Settings of the bench's own server. `None` means the bench's default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Own {
    pub(crate) engine: Engine,
    pub(crate) frame_ms: Option<u32>,
    pub(crate) tone_seconds: Option<f64>,
    pub(crate) threads: Option<usize>,
}

/// Behaviour of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Read audio as fast as possible.
    Burst,
    /// Read audio at the pace of speech.
    Paced,
    /// Open and close connections.
    Handshake,
    /// Keep connections open.
    Idle,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Burst => "burst",
            Mode::Paced => "paced",
            Mode::Handshake => "handshake",
            Mode::Idle => "idle",
        }
    }

    fn from_name(name: &str) -> Option<Mode> {
        [Mode::Burst, Mode::Paced, Mode::Handshake, Mode::Idle].into_iter().find(|mode| mode.name() == name)
    }

    /// Returns the time until the load is steady.
    fn warm_up(self) -> Duration {
        Duration::from_millis(match self {
            Mode::Burst | Mode::Handshake => 500,
            Mode::Idle => 1_000,
            // Streams start over the first second.
            Mode::Paced => 2_000,
        })
    }
}

/// Reads the options of `bench`.
pub(super) fn parse(given: &Source<'_>) -> Result<Bench, Usage> {
    given.no_words("bench")?;
    let mode = given.choice_or_default("mode", Mode::from_name)?;
    if mode != Mode::Paced && given.has("ahead-ms") {
        return wrong("--ahead-ms is for paced delivery; add --mode paced, or leave it out");
    }
    let pid = given.value("server-pid")?;
    let server = match given.url()? {
        None if pid.is_some() => {
            return wrong("--server-pid is for a server at --url; add --url, or leave it out");
        }
        None => Under::Own(Own {
            engine: given.choice_or_default("engine", Engine::from_name)?,
            frame_ms: given.value("frame-ms")?,
            tone_seconds: given.value("tone-seconds")?,
            threads: given.value("threads")?,
        }),
        Some(url) => Under::Url { url, pid },
    };
    Ok(Bench {
        server,
        mode,
        connections: given.value_or_default("connections")?,
        time: Duration::from_secs_f64(given.value_or_default("seconds")?),
        prompt: given.value("prompt")?,
        ahead_ms: given.value("ahead-ms")?,
        sample_rate_hz: given.value("sample-rate")?,
        encoding: given.value("encoding")?,
        json: given.has("json"),
    })
}

/// Measures, and prints the figures.
pub(super) fn bench(asked: &Bench) -> Result<ExitCode, Box<dyn Error>> {
    allow_descriptors(asked.connections)?;
    threads::runtime()?.block_on(async {
        // First, so that the signal cannot leave a server behind.
        let signal = run::stop_signal()?;
        let stop = async { _ = signal.await };
        let (own, url, pid, words) = match &asked.server {
            Under::Own(own) => {
                // One core is for the bench.
                let threads = own.threads.unwrap_or_else(|| (run::threads(None) - 1).max(1));
                let server = process::OwnServer::start(asked, own, threads).await?;
                let (url, pid) = (server.url.clone(), server.pid());
                let engine = if own.engine == Engine::Flite { "flite" } else { "tone" };
                let plural = if threads == 1 { "" } else { "s" };
                let words = format!("its own, {engine}, {threads} thread{plural}");
                (Some(server), url, pid, words)
            }
            Under::Url { url, pid: None } => (None, url.clone(), None, "process unknown".to_owned()),
            Under::Url { url, pid: Some(pid) } => {
                if process::memory(*pid).is_none() {
                    return Err(format!("--server-pid {pid}: cannot read this process").into());
                }
                (None, url.clone(), Some(*pid), format!("process {pid}"))
            }
        };
        let (subprotocols, delivery): (&[&str], _) = match asked.mode {
            // With the subprotocol, the server announces the format and the wasted audio.
            Mode::Paced => {
                let ahead_ms = Some(asked.ahead_ms.unwrap_or(DEFAULT_AHEAD_MS));
                (&[SUBPROTOCOL], Some(Delivery::Paced { ahead_ms }))
            }
            _ => (&[], None),
        };
        let prompt = Some(asked.prompt.clone().unwrap_or_else(|| TEXT.to_owned()));
        let mut start = StartSession::default();
        (start.prompt, start.delivery) = (prompt, delivery);
        let habits = Habits {
            start: ClientMessage::from(start).to_json(),
            format: asked.sample_rate_hz.map(|sample_rate_hz| Format {
                encoding: asked.encoding.unwrap_or(Encoding::PcmS16le),
                sample_rate_hz,
            }),
            listens: asked.mode == Mode::Paced,
        };
        let target = Target::resolve(&url, subprotocols).await?;
        let measured = load::measure(asked, target, habits, pid, stop).await;
        let report = measured.map_err(|error| format!("{url}: {error}"))?.report(asked, &url, words);
        let text = if asked.json { report.to_json() + "\n" } else { report.to_table() };
        super::write_out(text.as_bytes())?;
        if let Some(server) = own {
            server.stop().await;
        }
        Ok(if report.tally.has_troubles() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// Raises the limit of file descriptors for this many connections. The bench's own server inherits it.
fn allow_descriptors(connections: usize) -> Result<(), Box<dyn Error>> {
    let needed = connections as u64 + descriptors::OTHERS;
    let Some(allowed) = descriptors::raise_limit().filter(|allowed| *allowed < needed) else {
        return Ok(());
    };
    Err(format!(
        "--connections {connections} needs {needed} file descriptors, and a process may have {allowed}; raise \
         that with `ulimit -Hn {needed}` as root, or ask for fewer"
    )
    .into())
}
