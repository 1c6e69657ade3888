//! A process for one sentence. It leads a process group of its own, and the group is killed before its
//! leader is reaped: until then, no other process can have its id.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

/// Bytes of standard error that are kept: the last ones.
const STDERR_BYTES: usize = 500;

/// Time limit for a program that has closed its standard output but has not ended, and for its own
/// children that hold the output open without writing.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Time limit for the end of a killed program, and for the rest of its standard error.
pub(super) const AFTERMATH: Duration = Duration::from_millis(500);

/// Way in which a program ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub(super) fn is_success(self) -> bool {
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
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    /// Id of the group, until the process is reaped.
    group: Option<Pid>,
    /// SIGCHLD, for this process or another one.
    changes: Signals,
}

impl Process {
    /// Starts a program, without some variables of the environment. If `reads_text` is true, it gets a pipe as standard input.
    pub(super) fn start(
        program: &Path,
        arguments: Vec<String>,
        hidden_variables: &[String],
        reads_text: bool,
    ) -> std::io::Result<Process> {
        // Before the program starts, so that no signal is missed.
        let changes = signal(SignalKind::child())?;
        let mut command = tokio::process::Command::new(program);
        for name in hidden_variables {
            command.env_remove(name);
        }
        let child = command
            .args(arguments)
            .stdin(if reads_text { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Process { child, group, changes })
    }

    /// Returns the way in which the process ended, if it has. Does not reap it.
    pub(super) fn exit(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.group?), options).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Exit::Code(code)),
            (_, signal) => signal.map(Exit::Signal),
        }
    }

    /// Waits until the process has ended.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub(super) async fn exited(&mut self) {
        while self.group.is_some() && self.exit().is_none() && self.changes.recv().await.is_some() {}
    }

    /// Waits until the process has ended, and [`LINGER`] more. To be called again after each read of its
    /// output.
    pub(super) async fn exited_without_output(&mut self) {
        self.exited().await;
        tokio::time::sleep(LINGER).await;
    }

    /// Kills the rest of the group, and reaps the process.
    pub(super) async fn end(&mut self) {
        self.kill();
        // If the end takes longer, the runtime reaps the process later.
        let _ = timeout_at(Instant::now() + AFTERMATH, self.child.wait()).await;
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // An error means that the group is empty.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes the text to a program's standard input, and closes it.
pub(super) async fn feed(stdin: Option<ChildStdin>, line: &str) {
    if let Some(mut stdin) = stdin {
        // An error means that the program does not read the rest.
        let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
    }
}

/// Reads all of a program's standard error, and keeps the last [`STDERR_BYTES`].
pub(super) async fn collect(stderr: Option<&mut ChildStderr>, kept: &mut Vec<u8>) {
    let Some(stderr) = stderr else { return };
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(STDERR_BYTES);
        kept.drain(..surplus);
    }
}
