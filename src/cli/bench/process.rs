//! Processes: the bench's own server, and the kernel's figures of a process.

use super::{Bench, Own};
use crate::cli::Engine;
use std::error::Error;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Time for a server to start listening.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes that are quoted from a server that does not start.
const LAST_WORDS: u64 = 4 * 1024;

/// Default duration of a frame, in ms: 960 bytes of the tone engine.
const FRAME_MS: u32 = 20;

/// Default duration of a sentence of the tone engine, in seconds: as long as most measurements.
const TONE_SECONDS: f64 = 60.0;

/// A server in its own process, so that its figures are separate from the bench's. Dropping it kills the process.
pub(super) struct OwnServer {
    child: Child,
    /// Kept open while the server runs, because it may write to it.
    _stdout: BufReader<ChildStdout>,
    pub(super) url: String,
}

impl OwnServer {
    /// Starts this program on a free port of the loopback interface.
    ///
    /// # Errors
    /// The output of the server if it did not start.
    pub(super) async fn start(asked: &Bench, own: &Own, threads: usize) -> Result<OwnServer, Box<dyn Error>> {
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
        // Settings for this machine's servers must not change a measurement.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ALOUD_") {
                command.env_remove(name);
            }
        }
        // Its own process group: Ctrl-C ends the measurement first, then the server.
        command.process_group(0).kill_on_drop(true);
        // Its log is not read; writing it costs no time.
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
        Ok(OwnServer { child, _stdout: stdout, url })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the server and waits for its end.
    pub(super) async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

/// Returns the CPU time of all living threads of a process, in nanoseconds if the kernel counts them; `None` if
/// it is unknown.
pub(super) fn cpu(pid: u32) -> Option<Duration> {
    schedule(pid, 0).filter(|cpu| !cpu.is_zero()).or_else(|| ticks(pid))
}

/// Returns the time in which the threads of a process were ready to run and had no core.
pub(super) fn waited(pid: u32) -> Option<Duration> {
    schedule(pid, 1)
}

/// Returns a field of `schedstat`, summed over all threads.
fn schedule(pid: u32, field: usize) -> Option<Duration> {
    let of_thread = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(field)?.parse::<u64>().ok()
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(Duration::from_nanos(tasks.flatten().filter_map(of_thread).sum()))
}

/// Returns the CPU time from `stat`, which counts in ticks of 10 ms.
fn ticks(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may contain any character.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((next()? + next()?) * 10))
}

/// Returns the resident memory of a process, in bytes.
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
        // The kernel assigns this number to no process.
        assert_eq!((cpu(u32::MAX), memory(u32::MAX)), (None, None));
    }
}
