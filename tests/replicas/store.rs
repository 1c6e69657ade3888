//! A Redis of its own for a test.

use crate::support::{skip, within};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

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

/// A line to a store that takes its time, and can be cut.
pub(crate) struct Relay {
    addr: SocketAddr,
    is_cut: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// A relay that passes on what a server says after this time.
    pub(crate) async fn to(store: &Store, delay: Duration) -> Relay {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (addr, store) = (listener.local_addr().unwrap(), store.addr);
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        let task = tokio::spawn(async move {
            while let Ok((server, _)) = listener.accept().await {
                let Ok(store) = TcpStream::connect(store).await else { continue };
                let ((from_server, to_server), (from_store, to_store)) =
                    (server.into_split(), store.into_split());
                tokio::spawn(pass(from_server, to_store, delay, Arc::clone(&cut)));
                tokio::spawn(pass(from_store, to_server, Duration::ZERO, Arc::clone(&cut)));
            }
        });
        Relay { addr, is_cut, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// From now on nothing arrives, and no error shows it.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    /// New connections get through again.
    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, is_cut: Arc<AtomicBool>) {
    let (sender, mut arrivals) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, bytes)) = arrivals.recv().await {
            sleep_until(at).await;
            if !is_cut.load(Ordering::Relaxed) && to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if sender.send((Instant::now() + delay, bytes[..count].to_vec())).is_err() {
            return;
        }
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
