//! What every command that runs something needs: threads, an engine, log lines, signals.

use super::lines::Lines;
use super::systemd::{self, Inherited, Sockets};
use super::threads::Threads;
use super::{Engine, Operation, Settings, service};
use aloud::audio::{Encoding, Format};
use aloud::tts::{Command, Fallback, Flite, Queue, QueueBounds, Synthesizer, Tone};
use aloud::{Admin, Config, Server, Service, settings::Listen};
use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the tone engine gives where nothing else is asked for.
const TONE_RATE_HZ: u32 = 24_000;

/// Sentences that a service is asked for at once where nothing else is said: what one of a few
/// processors, or an account of the smaller kind, can do.
const SERVICE_CONCURRENCY: usize = 8;

/// The metric of log lines that were lost.
const DROPPED: &str = "aloud_log_lines_dropped_total";
const DROPPED_HELP: &str = "Log lines that were dropped because nobody read standard error.";

/// How long the end of the program waits for what still runs on other threads.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// A shell's exit code of a program that a signal ended is this and the signal's number.
const ENDED_BY_SIGNAL: u8 = 128;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Threads for everything: as asked, or one for each core.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// The engine that speaks: as asked, in turn for all, and with another one for when it fails.
///
/// # Errors
/// A sentence that names the option which is wrong.
pub(super) fn engine(settings: &Settings) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let first = queued(settings, settings.engine, one(settings, settings.engine)?);
    Ok(match settings.fallback {
        Some(second) => Arc::new(Fallback::new(first, one(settings, second)?)),
        None => first,
    })
}

fn one(settings: &Settings, engine: Engine) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    Ok(match engine {
        Engine::Flite => Arc::new(Flite::with_threads(threads(settings.threads))),
        Engine::Tone => {
            let format = Format {
                encoding: settings.encoding.unwrap_or(Encoding::PcmS16le),
                sample_rate_hz: settings.sample_rate_hz.unwrap_or(TONE_RATE_HZ),
            };
            Arc::new(Tone::new(format, settings.tone_seconds))
        }
        Engine::Speech => service::speech_api(&settings.foreign)?,
        Engine::ElevenLabs => service::eleven_labs(&settings.foreign)?,
        Engine::Command => {
            let program = Command::new(settings.foreign.program());
            Arc::new(program.map_err(|why| format!("--command cannot be used: {why}"))?)
        }
    })
}

fn queued(settings: &Settings, engine: Engine, synthesizer: Arc<dyn Synthesizer>) -> Arc<dyn Synthesizer> {
    let default = QueueBounds::default();
    let concurrency = match (settings.concurrency, engine) {
        (Some(asked), _) => asked,
        // Those inside have a limit of their own, or cost nothing.
        (None, Engine::Flite | Engine::Tone) => return synthesizer,
        (None, Engine::Command) => threads(settings.threads),
        (None, Engine::Speech | Engine::ElevenLabs) => SERVICE_CONCURRENCY,
    };
    let bounds = QueueBounds {
        concurrency,
        waiting: settings.queue.unwrap_or(default.waiting),
        timeout: settings.queue_timeout_ms.map_or(default.timeout, Duration::from_millis),
    };
    Arc::new(Queue::new(synthesizer, bounds))
}

/// A service with this engine, and the writer that was asked for.
///
/// # Errors
/// It cannot be used as it was set up.
pub(super) fn service(
    config: Config,
    engine: Arc<dyn Synthesizer>,
    settings: &Settings,
) -> Result<Service, Box<dyn Error>> {
    Ok(match &settings.llm {
        None => Service::new(config, engine)?,
        Some(llm) => Service::with_writer(config, engine, llm.writer()?)?,
    })
}

/// Serves until the first SIGINT or SIGTERM, and lets what runs finish; a second one ends at once.
///
/// With `warms_up`, an engine that cannot speak is the end of it before anything is announced.
pub(super) fn serve(
    listen: &Listen,
    service: &Service,
    threads: usize,
    warms_up: bool,
    operation: &Operation,
) -> Result<ExitCode, Box<dyn Error>> {
    let lines = Lines::begin(operation.logging);
    // Before there is a second thread: what is in the environment is taken out of it.
    let sockets =
        Sockets::take().map_err(|error| format!("cannot use what LISTEN_FDS hands over: {error}"))?;
    let threads = Threads::start(threads).map_err(|error| {
        format!(
            "cannot start {threads} threads: {error}; give fewer with --threads, or allow more of what they \
             take, by ulimit -n and -u"
        )
    })?;
    let ended = threads.block_on(async {
        // Before the address is announced: whoever reads it may send a signal at once.
        let mut asked_to_stop = Box::pin(stop_signal()?);
        let admin = match (sockets.admin, &operation.admin) {
            (Some(Inherited::Tcp(socket)), _) => Some(Admin::from_tcp(socket, service.clone())?),
            (Some(Inherited::Unix(socket)), _) => Some(Admin::from_unix(socket, service.clone())?),
            (None, Some(listen)) => Some(Admin::bind(listen, service.clone()).await?),
            (None, None) => None,
        };
        if let Some(admin) = admin {
            tracing::info!("health, readiness and metrics are at {}", admin.address());
            tokio::spawn(admin.with_counter(DROPPED, DROPPED_HELP, lines.dropped()).serve());
        }
        let servers = match sockets.sessions.is_empty() {
            true => vec![Server::bind(listen, service.clone()).await?],
            false => sockets
                .sessions
                .into_iter()
                .map(|socket| match socket {
                    Inherited::Tcp(socket) => Server::from_tcp(socket, service.clone()),
                    Inherited::Unix(socket) => Server::from_unix(socket, service.clone()),
                })
                .collect::<io::Result<_>>()?,
        };
        if warms_up {
            let time = tokio::select! {
                _ = &mut asked_to_stop => return Ok(ExitCode::SUCCESS),
                time = service.warm_up() => time?,
            };
            tracing::info!("the engine spoke its first word within {} ms", time.as_millis());
        }
        let mut stdout = io::stdout();
        for server in &servers {
            writeln!(stdout, "listening on {}", server.address())?;
        }
        stdout.flush()?;
        tell_systemd("READY=1");
        let stop = watch::Sender::new(false);
        let mut serving = JoinSet::new();
        for server in servers {
            let mut stop = stop.subscribe();
            let server = server.on_runtimes(threads.runtimes());
            serving.spawn(server.serve(async move { _ = stop.wait_for(|stop| *stop).await }));
        }
        asked_to_stop.await;
        tracing::info!("stopping; a second signal ends at once");
        tell_systemd("STOPPING=1");
        let again = stop_signal()?;
        stop.send_replace(true);
        tokio::select! {
            () = async { while serving.join_next().await.is_some() {} } => Ok(ExitCode::SUCCESS),
            signal = again => Ok(ExitCode::from(ENDED_BY_SIGNAL + signal)),
        }
    });
    // An engine that does not stop when it is told to is left behind.
    threads.shut_down(LAST_TASKS);
    ended
}

fn tell_systemd(state: &str) {
    if let Err(error) = systemd::notify(state) {
        tracing::warn!("systemd cannot be told {state} through NOTIFY_SOCKET: {error}");
    }
}

/// Ready with the number of the first signal that comes from now on.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = u8> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => SIGINT,
            _ = terminate.recv() => SIGTERM,
        }
    })
}
