//! A Redis of its own for a test.

use crate::support::{skip, within};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A store in a process of its own, killed when dropped.
pub(crate) struct Store {
    addr: SocketAddr,
    child: Child,
}

/// An address with a free port.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// True if a program is installed. Otherwise the test is reported as skipped.
pub(crate) fn is_installed(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The PATH of an ordinary user lacks the directories of servers.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let is_there = folders.map(|folder| folder.join(program)).any(|file| file.is_file());
    if !is_there {
        skip(test, program);
    }
    is_there
}

impl Store {
    /// Starts a store; `None` if it is not installed.
    pub(crate) async fn start(test: &str) -> Option<Store> {
        if !is_installed("redis-server", test) {
            return None;
        }
        let addr = free_address();
        let store = Store { addr, child: run(addr) };
        store.is_there().await;
        Some(store)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Waits until it answers.
    pub(crate) async fn is_there(&self) {
        within(async {
            while self.ask("PING").await.is_none_or(|answer| !answer.starts_with("+PONG")) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Sends a command, and returns the answer as it came.
    pub(crate) async fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.addr).await.ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut answer = vec![0; 64 * 1024];
        let count = stream.read(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer[..count]).into_owned())
    }

    /// Stops it, or lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Kills it. Everything that it knew is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same address, empty.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = run(self.addr);
        self.is_there().await;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(addr: SocketAddr) -> Child {
    let port = addr.port().to_string();
    let arguments = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let mut command = Command::new("redis-server");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
