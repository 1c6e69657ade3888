//! Processes: the server that a bench starts for itself, and what the kernel tells of one.

use super::{Bench, Own};
use crate::cli::Engine;
use std::error::Error;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a server may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of what a server says that does not start is passed on, in bytes.
const LAST_WORDS: u64 = 4 * 1024;

/// Frames of audio where nothing else is asked for: 960 bytes of what the tone engine gives.
const FRAME_MS: u32 = 20;

/// How long a sentence of the tone engine is, in seconds: as long as most measurements.
const TONE_SECONDS: f64 = 60.0;

/// A server in a process of its own, so that its figures are told apart from the bench's. Killed
/// when dropped.
pub(super) struct Server {
    child: Child,
    /// Open for as long as the server lives, which may write to it.
    _stdout: BufReader<ChildStdout>,
    pub(super) url: String,
}

impl Server {
    /// Starts this very program on a free port of the loopback.
    ///
    /// # Errors
    /// What it said in place of its address.
    pub(super) async fn start(asked: &Bench, own: &Own, threads: usize) -> Result<Server, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--listen=127.0.0.1:0", "--no-warm-up"]);
        command.arg(match own.engine {
            Engine::Flite => "--engine=flite",
            _ => "--engine=tone",
        });
        command.arg(format!("--threads={threads}"));
        command.arg(format!("--frame-ms={}", own.frame_ms.unwrap_or(FRAME_MS)));
        command.arg(format!("--tone-seconds={}", own.tone_seconds.unwrap_or(TONE_SECONDS)));
        if let Some(hz) = asked.sample_rate_hz {
            command.arg(format!("--sample-rate={hz}"));
        }
        if let Some(encoding) = asked.encoding {
            command.arg(format!("--encoding={}", encoding.name()));
        }
        // What is set for servers of this machine is not what was asked for here.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ALOUD_") {
                command.env_remove(name);
            }
        }
        // A group of its own: Ctrl-C ends the measurement first, and then the server.
        command.process_group(0).kill_on_drop(true);
        // Nobody reads its log, which costs it lines and no time.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        timeout(START_TIMEOUT, stdout.read_line(&mut line))
            .await
            .map_err(|_| format!("the server did not start within {} s", START_TIMEOUT.as_secs()))??;
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let mut words = String::new();
            if let Some(stderr) = child.stderr.take() {
                let _ = timeout(START_TIMEOUT, stderr.take(LAST_WORDS).read_to_string(&mut words)).await;
            }
            return Err(format!("the server did not start: {}", words.trim()).into());
        };
        let url = format!("ws://{address}{}", aloud::PATH);
        Ok(Server { child, _stdout: stdout, url })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

/// CPU time of all threads of a process that live, to the nanosecond where the kernel counts so;
/// `None` where it cannot be told.
pub(super) fn cpu(pid: u32) -> Option<Duration> {
    schedule(pid, 0).filter(|cpu| !cpu.is_zero()).or_else(|| ticks(pid))
}

/// How long they were ready to run and something else ran in their place.
pub(super) fn waited(pid: u32) -> Option<Duration> {
    schedule(pid, 1)
}

/// A field of `schedstat`, of all threads together.
fn schedule(pid: u32, field: usize) -> Option<Duration> {
    let of_thread = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(field)?.parse::<u64>().ok()
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(Duration::from_nanos(tasks.flatten().filter_map(of_thread).sum()))
}

/// The same in the ticks of 10 ms that `stat` counts in, whatever the kernel's own are.
fn ticks(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name, in parentheses, and may hold anything.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((next()? + next()?) * 10))
}

/// Resident memory of a process, in bytes.
pub(super) fn memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_figures_and_none_has_not() {
        let own = std::process::id();
        assert!(memory(own).unwrap() > 100_000);
        let before = cpu(own).unwrap();
        let mut sum = 0u64;
        while cpu(own).unwrap() < before + Duration::from_millis(2) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(ticks(own).is_some());
        // Never given to a process.
        assert_eq!((cpu(u32::MAX), memory(u32::MAX)), (None, None));
    }
}
