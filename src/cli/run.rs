//! Shared by all commands that run a server: threads, the engine, log lines, signals.

use super::admission::{Door, Doors};
use super::lines::{self, Lines};
use super::options::SECRETS;
use super::systemd::{self, Inherited, Sockets};
use super::threads::Threads;
use super::{Engine, Operation, Settings, descriptors, engine, voices};
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

/// Sample rate of the tone engine, unless another is given.
const TONE_RATE_HZ: u32 = 24_000;

/// Sentences that a service gets at once, unless another number is given: what a machine with a few
/// processors, or a small account, can do.
const SERVICE_CONCURRENCY: usize = 8;

/// Variable with the URL of the store, which may hold a password.
const STORE_VARIABLE: &str = "ALOUD_STORE";

/// Metric of lost log lines.
const DROPPED: &str = "aloud_log_lines_dropped_total";
const DROPPED_HELP: &str = "Log lines that were dropped because standard error was not read.";

/// Time at the end of the program for tasks that still run on other threads.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// Exit code of a program that a signal ended, less the number of the signal.
pub(super) const ENDED_BY_SIGNAL: u8 = 128;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Number of threads: as given, or one for each core.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Creates the engine: with a queue for all sessions, and with another engine for when it fails.
///
/// # Errors
/// An option cannot be used; the sentence names it.
pub(super) fn engine(settings: &Settings) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    let first = queued(settings, settings.engine, one(settings, settings.engine)?);
    Ok(match settings.fallback {
        Some(second) => Arc::new(Fallback::new(first, one(settings, second)?)),
        None => first,
    })
}

/// Variables that programs do not inherit: they hold secrets.
fn hidden_variables() -> Vec<String> {
    let secrets = SECRETS.iter().map(|secret| secret.variable);
    secrets.chain([STORE_VARIABLE]).map(str::to_owned).collect()
}

/// A line about the engine, if there is something to know.
pub(super) fn note(settings: &Settings) -> Option<&'static str> {
    (settings.engine == Engine::Flite).then_some(voices::HINT)
}

fn one(settings: &Settings, engine: Engine) -> Result<Arc<dyn Synthesizer>, Box<dyn Error>> {
    Ok(match engine {
        Engine::Flite => Arc::new(Flite::with_threads(threads(settings.threads))),
        Engine::Neural => voices::engine(settings)?,
        Engine::Tone => {
            let format = Format {
                encoding: settings.config.encoding.unwrap_or(Encoding::PcmS16le),
                sample_rate_hz: settings.config.sample_rate_hz.unwrap_or(TONE_RATE_HZ),
            };
            Arc::new(Tone::new(format, settings.tone_seconds))
        }
        Engine::Speech => engine::speech_api(&settings.foreign)?,
        Engine::ElevenLabs => engine::eleven_labs(&settings.foreign)?,
        Engine::Wyoming => engine::wyoming(&settings.foreign)?,
        Engine::Command => {
            let mut program = settings.foreign.program();
            program.hidden_variables = hidden_variables();
            let program = Command::new(program);
            Arc::new(program.map_err(|why| format!("--command cannot be used: {why}"))?)
        }
    })
}

fn queued(settings: &Settings, engine: Engine, synthesizer: Arc<dyn Synthesizer>) -> Arc<dyn Synthesizer> {
    let default = QueueBounds::default();
    let concurrency = match (settings.concurrency, engine) {
        (Some(asked), _) => asked,
        // The engines inside the program have a limit of their own, or cost nothing.
        (None, Engine::Flite | Engine::Neural | Engine::Tone) => return synthesizer,
        (None, Engine::Command) => threads(settings.threads),
        (None, Engine::Speech | Engine::ElevenLabs | Engine::Wyoming) => SERVICE_CONCURRENCY,
    };
    let bounds = QueueBounds {
        concurrency,
        waiting: settings.queue.unwrap_or(default.waiting),
        timeout: settings.queue_timeout.unwrap_or(default.timeout),
    };
    Arc::new(Queue::new(synthesizer, bounds))
}

/// Creates a service with this engine, and with the language model if there is one.
///
/// # Errors
/// A setting cannot be used.
pub(super) fn service(
    settings: &Settings,
    config: Config,
    engine: Arc<dyn Synthesizer>,
) -> Result<Service, Box<dyn Error>> {
    let service = match &settings.llm {
        None => Service::new(config, engine),
        Some(llm) => Service::with_writer(config, engine, llm.writer()?),
    };
    service.map_err(|error| match option_of(error.field()) {
        Some(option) => format!("--{option}: {error}").into(),
        None => error.into(),
    })
}

/// The option that sets this field of the settings.
fn option_of(field: &str) -> Option<&'static str> {
    match field {
        "admission.auth" => Some("auth"),
        field => Config::settings().find(|setting| setting.field == field).map(|setting| setting.name),
    }
    .filter(|name| !name.is_empty())
}

/// Puts the name of the option in front of what is wrong with a URL.
pub(super) fn about_url(option: &str, error: impl std::fmt::Display) -> String {
    match error.to_string() {
        // That one is about the build, and about URLs that no option gives.
        error if error.starts_with("the URL") && !error.contains("without TLS") => {
            format!("--{option}: {error}")
        }
        error => error,
    }
}

/// Begins the log of a server, with these warnings.
pub(super) fn begin_log(operation: &Operation, warnings: &[String]) -> Lines {
    let lines = Lines::begin(operation.logging);
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    lines
}

/// Serves until the first SIGINT or SIGTERM, and then drains; a second signal ends the program at once.
///
/// `doors` has the rules for addresses that other machines can reach; `None` allows all.
/// With `warms_up` the server ends before it announces its address if the engine cannot speak.
pub(super) fn serve(
    listen: &Listen,
    doors: Option<&Doors<'_>>,
    service: &Service,
    threads: usize,
    warms_up: bool,
    operation: &Operation,
    log: &Lines,
) -> Result<ExitCode, Box<dyn Error>> {
    operation.note.iter().for_each(|note| tracing::info!("{note}"));
    // Before the first thread: each has descriptors of its own.
    let limit = descriptors::raise_limit();
    let most = service.config().admission.max_connections;
    descriptors::warning(limit, most).iter().for_each(|warning| tracing::warn!("{warning}"));
    // This removes variables from the environment, and so comes before a second thread starts.
    let sockets =
        Sockets::take().map_err(|error| format!("cannot use the sockets of LISTEN_FDS: {error}"))?;
    if let Some(doors) = doors {
        check_exposure(doors, listen, operation.admin.as_ref(), &sockets)?;
    }
    let threads = Threads::start(threads).map_err(|error| {
        format!(
            "cannot start {threads} threads: {error}; give fewer with --threads, or raise the limits of \
             ulimit -n and -u"
        )
    })?;
    let ended = threads.block_on(async {
        // Before the address is announced: a reader of it may send a signal at once.
        let mut asked_to_stop = Box::pin(stop_signal()?);
        let admin = match (sockets.admin, &operation.admin) {
            (Some(Inherited::Tcp(socket)), _) => Some(Admin::from_tcp(socket, service.clone())?),
            (Some(Inherited::Unix(socket)), _) => Some(Admin::from_unix(socket, service.clone())?),
            (None, Some(listen)) => Some(Admin::bind(listen, service.clone()).await?),
            (None, None) => None,
        };
        if let Some(admin) = admin {
            tracing::info!("health, readiness and metrics are at {}", admin.address());
            tokio::spawn(admin.with_counter(DROPPED, DROPPED_HELP, log.dropped()).serve());
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
            // Many systems collect both outputs as one, and read each line as an object.
            let line = lines::notice(operation.logging.format, format!("listening on {}", server.address()));
            stdout.write_all(line.as_bytes())?;
        }
        stdout.flush()?;
        notify_systemd("READY=1");
        let stop = watch::Sender::new(false);
        let mut serving = JoinSet::new();
        for server in servers {
            let mut stop = stop.subscribe();
            let server = server.on_runtimes(threads.runtimes());
            serving.spawn(server.serve(async move { _ = stop.wait_for(|stop| *stop).await }));
        }
        asked_to_stop.await;
        tracing::info!("stopping; a second signal ends at once");
        notify_systemd("STOPPING=1");
        let again = stop_signal()?;
        stop.send_replace(true);
        tokio::select! {
            () = async { while serving.join_next().await.is_some() {} } => Ok(ExitCode::SUCCESS),
            signal = again => Ok(ExitCode::from(ENDED_BY_SIGNAL + signal)),
        }
    });
    // An engine that does not stop in time is left behind.
    threads.shut_down(LAST_TASKS);
    ended
}

/// Checks every address that the server is about to accept connections on.
///
/// # Errors
/// Other machines can reach one of them, and it asks for no credential.
fn check_exposure(
    doors: &Doors<'_>,
    listen: &Listen,
    admin: Option<&Listen>,
    sockets: &Sockets,
) -> Result<(), Box<dyn Error>> {
    if sockets.sessions.is_empty() {
        doors.check_sessions(&Door::Option("--listen", listen))?;
    }
    for socket in &sockets.sessions {
        doors.check_sessions(&socket.door()?)?;
    }
    match (&sockets.admin, admin) {
        (Some(socket), _) => doors.check_admin(&socket.door()?)?,
        (None, Some(admin)) => doors.check_admin(&Door::Option("--admin", admin))?,
        (None, None) => {}
    }
    Ok(())
}

fn notify_systemd(state: &str) {
    if let Err(error) = systemd::notify(state) {
        tracing::warn!("cannot send {state} to systemd through NOTIFY_SOCKET: {error}");
    }
}

/// Waits for the next signal to stop, and returns its number. Signals count from this call on.
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
