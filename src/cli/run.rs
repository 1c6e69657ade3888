//! What every command that runs something needs: threads, an engine, log lines, signals.

use super::{Engine, Settings, service};
use aloud::audio::{Encoding, Format};
use aloud::tts::{Command, Fallback, Flite, Queue, QueueBounds, Synthesizer, Tone};
use aloud::{Config, Server, Service, config::Listen};
use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// What the tone engine gives where nothing else is asked for.
const TONE_RATE_HZ: u32 = 24_000;

/// Sentences that a service is asked for at once where nothing else is said: what one of a few
/// processors, or an account of the smaller kind, can do.
const SERVICE_CONCURRENCY: usize = 8;

/// Log lines that may wait for stderr. A reader that does not read costs lines, not sessions.
const LINES_IN_FLIGHT: usize = 1_000;

/// Threads for everything: as asked, or one for each core.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

pub(super) fn runtime(threads: usize) -> io::Result<Runtime> {
    match threads {
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
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
        patience: settings.queue_timeout_ms.map_or(default.patience, Duration::from_millis),
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
) -> Result<ExitCode, Box<dyn Error>> {
    log_to_stderr();
    runtime(threads)?.block_on(async {
        // Before the address is announced: whoever reads it may send a signal at once.
        let mut asked_to_stop = Box::pin(stop_signal()?);
        let server = Server::bind(listen, service.clone()).await?;
        if warms_up {
            let time = tokio::select! {
                () = &mut asked_to_stop => return Ok(ExitCode::SUCCESS),
                time = service.warm_up() => time?,
            };
            log::info!("the engine spoke its first word within {} ms", time.as_millis());
        }
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on {}", server.address())?;
        stdout.flush()?;
        server
            .serve(async {
                asked_to_stop.await;
                log::info!("stopping; a second signal ends at once");
                if let Ok(again) = stop_signal() {
                    tokio::spawn(async {
                        again.await;
                        std::process::exit(1);
                    });
                }
            })
            .await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Ready with the first signal that comes from now on.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Log lines go to stderr from a thread of their own: a pipe that nobody reads must not stop
/// whoever has something to say.
fn log_to_stderr() {
    struct Lines(SyncSender<String>);

    impl log::Log for Lines {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            // Libraries may report what is wrong, but not what they do.
            metadata.level() <= log::Level::Warn || metadata.target().starts_with("aloud")
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                let level = record.level().as_str().to_lowercase();
                let _ = self.0.try_send(format!("aloud: {level}: {}\n", record.args()));
            }
        }

        fn flush(&self) {}
    }

    let (sender, lines) = sync_channel::<String>(LINES_IN_FLIGHT);
    std::thread::spawn(move || {
        for line in lines {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    });
    if log::set_boxed_logger(Box::new(Lines(sender))).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}
