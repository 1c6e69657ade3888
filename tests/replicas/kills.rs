//! Servers that are killed at random moments, behind a balancer that does not know which client was where.
//!
//! Each listener compares every byte with a stream that nothing disturbs. By default this is small. In large:
//!
//! ```sh
//! ALOUD_TEST_KILLS=1000 ALOUD_TEST_LISTENERS=100 \
//!     cargo test --release --features redis --test replicas -- --nocapture kills::
//! ```

use crate::recovery::{TEXT, start, undisturbed};
use crate::store::{Store, free_address, is_installed};
use crate::support::{Frame, Random, Raw, V1, crc32, opening_with};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Longest time without a byte before a listener counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Text behind a cancel.
const LAST: &str = "That is enough of it. One more thing, and then good night.";

/// Connects as a client of `aloud.v1`; `None` if that is not possible now.
async fn connect(addr: SocketAddr) -> Option<Raw> {
    let stream = TcpStream::connect(addr).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let mut raw = Raw::over(stream, PATIENCE);
    raw.send_bytes(&opening_with(addr, aloud::PATH, V1)).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(raw.read_some(1).await?);
    }
    head.starts_with(b"HTTP/1.1 101").then_some(raw)
}

/// A process, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(addr: SocketAddr, store: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    let listen = addr.to_string();
    command.args(["serve", "--no-warm-up", "--threads", "1", "--log-level", "error", "--listen", &listen]);
    command.env("ALOUD_STORE", store).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Process(child)
}

/// A balancer that gives each connection to the next server.
fn balance(addr: SocketAddr, servers: &[SocketAddr]) -> Process {
    let mut config = format!(
        "defaults\n mode tcp\n timeout connect 100ms\n timeout client 60s\n timeout server 60s\n retries 20\n \
         option redispatch 1\nlisten sessions\n bind {addr}\n balance roundrobin\n"
    );
    for (n, server) in servers.iter().enumerate() {
        config.push_str(&format!(" server s{n} {server}\n"));
    }
    let path = std::env::temp_dir().join(format!("aloud-balance-{}", addr.port()));
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new("haproxy");
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    let child = command.arg("-q").arg("-db").arg("-f").arg(path).stdin(Stdio::null()).spawn().unwrap();
    Process(child)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Verbatim,
    Append,
    Cancel,
    Pause,
}

const KINDS: [Kind; 4] = [Kind::Verbatim, Kind::Append, Kind::Cancel, Kind::Pause];

/// The streams that nothing disturbs.
struct Expected {
    whole: Vec<u8>,
    /// The audio of [`LAST`] behind a cancel.
    last: Vec<u8>,
}

#[derive(Default)]
struct Figures {
    recoveries: AtomicUsize,
    streams: AtomicUsize,
    /// Cancels whose answer was lost with the connection, and which the server had done.
    unanswered: AtomicUsize,
    silences: Mutex<Vec<Duration>>,
}

/// A listener, through all its connections.
struct Listener<'a> {
    front: SocketAddr,
    kind: Kind,
    random: Random,
    expected: &'a Expected,
    figures: &'a Figures,
    session: Option<(Value, Value)>,
    audio: Vec<u8>,
    sentence: usize,
    rev: u64,
    /// Text that was given to the stream, in UTF-16 units, and what is still to be given.
    text: String,
    sent: usize,
    is_drained: bool,
    /// Bytes at which the listener pauses or cancels.
    at: usize,
    has_cancelled: bool,
    cut: Option<usize>,
    is_paused_until: Option<Instant>,
}

enum End {
    Done,
    Lost,
}

impl Listener<'_> {
    fn start_message(&self) -> Value {
        let paced = json!({"mode": "paced", "aheadMs": 500});
        match self.kind {
            Kind::Verbatim | Kind::Pause => start(TEXT, &json!({"delivery": paced})),
            Kind::Append | Kind::Cancel => start("", &json!({"source": "append", "delivery": paced})),
        }
    }

    async fn run(mut self) {
        let mut silent_since = None;
        loop {
            let Ok(ended) = timeout(PATIENCE, self.connection(&mut silent_since)).await else {
                panic!("{:?}: nothing for {PATIENCE:?} at {}", self.kind, self.audio.len());
            };
            match ended {
                End::Done => break,
                End::Lost => {
                    silent_since.get_or_insert_with(Instant::now);
                    sleep(Duration::from_millis(5 + self.random.below(30) as u64)).await;
                }
            }
        }
        let Expected { whole, last } = self.expected;
        match self.cut {
            Some(cut) => {
                assert!(self.audio[..cut] == whole[..cut], "wrong bytes before the cancel");
                let rest = &self.audio[cut..];
                assert!(rest == last, "wrong bytes behind the cancel: {} of {}", rest.len(), last.len());
            }
            None => assert!(self.audio == *whole, "{:?}: {} of {}", self.kind, self.audio.len(), whole.len()),
        }
        self.figures.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// One connection, to its end.
    async fn connection(&mut self, silent_since: &mut Option<Instant>) -> End {
        match self.connected(silent_since).await {
            Ok(()) => End::Done,
            Err(_) => End::Lost,
        }
    }

    async fn connected(&mut self, silent_since: &mut Option<Instant>) -> Result<(), String> {
        let mut client = connect(self.front).await.ok_or("no connection")?;
        if let Some((id, token)) = &self.session {
            let crc = format!("{:08x}", crc32(&self.audio[self.sentence.min(self.audio.len())..]));
            let recover = json!({
                "type": "recover", "sessionId": id, "token": token, "offset": self.audio.len(),
                "stream": 1, "rev": self.rev, "crc32": crc,
            });
            client.say(&recover.to_string()).await;
        } else {
            client.say(&self.start_message().to_string()).await;
        }
        let mut own = None;
        let mut is_running = false;
        loop {
            let wake = self.is_paused_until;
            let event = tokio::select! {
                frame = client.next_frame() => frame.ok_or("broken")?,
                () = async { tokio::time::sleep_until(wake.unwrap()).await }, if wake.is_some() => {
                    self.is_paused_until = None;
                    client.say(r#"{"type":"resume"}"#).await;
                    continue;
                }
            };
            match event {
                Frame::Binary(bytes) => {
                    if let Some(since) = silent_since.take() {
                        self.figures.silences.lock().unwrap().push(since.elapsed());
                    }
                    self.audio.extend_from_slice(&bytes);
                }
                Frame::Close(close) => return Err(format!("{close:?}")),
                Frame::Ping(_) | Frame::Pong(_) => {}
                Frame::Text(message) => {
                    match message["type"].as_str().unwrap() {
                        "session_start" => {
                            own = Some((message["sessionId"].clone(), message["token"].clone()));
                        }
                        "stream_start" => {
                            self.session = self.session.take().or(own.clone());
                            is_running = true;
                        }
                        "text" => self.sentence = message["offset"].as_u64().unwrap() as usize,
                        "recovered" => {
                            if message["recovered"] != true {
                                if self.has_cancelled && self.cut.is_none() {
                                    // It was done, and the answer was lost, with bytes behind those of the listener.
                                    self.figures.unanswered.fetch_add(1, Ordering::Relaxed);
                                    self.audio.clear();
                                    (self.session, self.sent, self.sentence, self.rev) = (None, 0, 0, 0);
                                    (self.has_cancelled, self.is_drained) = (false, false);
                                    return Err("again".to_owned());
                                }
                                panic!(
                                    "{:?} at {}: {message}, rev {}",
                                    self.kind,
                                    self.audio.len(),
                                    self.rev
                                );
                            }
                            self.figures.recoveries.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(message["offset"], self.audio.len(), "{message}");
                            assert_eq!(message["exact"], true, "{message}");
                            let rev = message["rev"].as_u64().unwrap();
                            if rev > self.rev {
                                (self.rev, self.cut) = (rev, Some(self.audio.len()));
                            }
                            self.has_cancelled = self.cut.is_some();
                            self.sent = message["textOffset"].as_u64().unwrap() as usize;
                            self.is_drained = false;
                            is_running = true;
                            let is_paused = message["paused"] == true;
                            if is_paused && self.is_paused_until.is_none() {
                                client.say(r#"{"type":"resume"}"#).await;
                            }
                        }
                        "cancelled" => {
                            let offset = message["offset"].as_u64().unwrap() as usize;
                            assert_eq!(offset, self.audio.len(), "{message}");
                            (self.rev, self.cut) = (message["rev"].as_u64().unwrap(), Some(offset));
                        }
                        "session_end" => {
                            assert_eq!(
                                message["reason"],
                                if self.is_drained { "ended" } else { "completed" }
                            );
                            return Ok(());
                        }
                        "error" => return Err(message.to_string()),
                        _ => {}
                    }
                }
            }
            if is_running {
                self.act(&mut client).await;
            }
        }
    }

    /// Sends what is to be sent by now.
    async fn act(&mut self, client: &mut Raw) {
        if self.kind == Kind::Pause && self.at > 0 && self.audio.len() >= self.at {
            self.at = 0;
            self.is_paused_until = Some(Instant::now() + Duration::from_millis(300));
            client.say(r#"{"type":"pause"}"#).await;
        }
        if self.kind == Kind::Cancel && !self.has_cancelled && self.audio.len() >= self.at {
            self.has_cancelled = true;
            return client.say(r#"{"type":"cancel"}"#).await;
        }
        let is_waiting = self.has_cancelled && self.cut.is_none();
        if matches!(self.kind, Kind::Verbatim | Kind::Pause) || is_waiting {
            return;
        }
        if self.cut.is_some() && self.text.len() == TEXT.len() {
            self.text.push_str(LAST);
        }
        // All at once, in pieces: the server's rate of messages is no matter here.
        while self.sent < self.text.len() {
            let end = (self.sent + 1 + self.random.below(60)).min(self.text.len());
            let append = json!({"type": "append", "text": self.text[self.sent..end]});
            self.sent = end;
            client.say(&append.to_string()).await;
        }
        let is_last = self.kind == Kind::Append || self.cut.is_some();
        if is_last && !self.is_drained {
            self.is_drained = true;
            client.say(r#"{"type":"end","drain":true}"#).await;
        }
    }
}

/// The audio of [`LAST`] behind a cancel that nothing disturbs.
async fn behind_cancel(addr: SocketAddr, whole: &[u8]) -> Vec<u8> {
    let options = json!({"source": "append", "delivery": {"mode": "paced", "aheadMs": 500}});
    let mut listener = crate::listener::Listener::start(addr, &start("", &options)).await;
    listener.raw.say(&json!({"type": "append", "text": TEXT}).to_string()).await;
    listener.hear(2).await;
    listener.raw.say(r#"{"type":"cancel"}"#).await;
    let cancelled = listener.message("cancelled").await;
    let cut = cancelled["offset"].as_u64().unwrap() as usize;
    listener.raw.say(&json!({"type": "append", "text": LAST}).to_string()).await;
    listener.raw.say(r#"{"type":"end","drain":true}"#).await;
    listener.message("session_end").await;
    assert!(listener.audio[..cut] == whole[..cut]);
    listener.audio.split_off(cut)
}

/// `aloud say` through a balancer, whose servers are killed one after the other while it listens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn say_writes_the_same_file_through_kills() {
    let test = "say_writes_the_same_file_through_kills";
    let Some(store) = Store::start(test).await else { return };
    if !is_installed("haproxy", test) {
        return;
    }
    let servers = [free_address(), free_address()];
    let mut processes = servers.map(|addr| serve(addr, &store.url()));
    let front = free_address();
    let _balancer = balance(front, &servers);
    while connect(front).await.is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    let file = std::env::temp_dir().join(format!("aloud-say-{}.wav", front.port()));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["say", TEXT, "--paced", "--url", &format!("ws://{front}"), "-o"]).arg(&file);
    let mut say = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut turn = 0;
    let status = timeout(Duration::from_secs(90), async {
        loop {
            tokio::select! {
                status = say.wait() => return status.unwrap(),
                () = sleep(Duration::from_millis(1_500)) => {
                    let n = turn % 2;
                    processes[n].0.kill().unwrap();
                    processes[n].0.wait().unwrap();
                    processes[n] = serve(servers[n], &store.url());
                    turn += 1;
                }
            }
        }
    });
    let status = status.await.expect("in time");
    let mut lines = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut say.stderr.take().unwrap(), &mut lines).await.unwrap();
    let wav = std::fs::read(&file).unwrap();
    let _ = std::fs::remove_file(&file);
    assert!(status.success(), "{lines}");
    assert!(lines.contains("session resumed") && !lines.contains("no longer has"), "{lines}");
    let expected = undisturbed(&start(TEXT, &json!({}))).await;
    assert!(wav[44..] == expected, "{} of {} bytes: {lines}", wav.len() - 44, expected.len());
}

fn asked(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_wrong_when_servers_are_killed() {
    let test = "no_byte_is_lost_or_wrong_when_servers_are_killed";
    let Some(store) = Store::start(test).await else { return };
    if !is_installed("haproxy", test) {
        return;
    }
    let kills = asked("ALOUD_TEST_KILLS", 12);
    let count = asked("ALOUD_TEST_LISTENERS", 8);
    let servers: Vec<SocketAddr> = (0..asked("ALOUD_TEST_SERVERS", 2)).map(|_| free_address()).collect();
    let mut processes: Vec<Process> = servers.iter().map(|addr| serve(*addr, &store.url())).collect();
    let front = free_address();
    let _balancer = balance(front, &servers);
    while connect(front).await.is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    let whole = undisturbed(&start(TEXT, &json!({}))).await;
    let last = behind_cancel(front, &whole).await;
    let expected: &Expected = Box::leak(Box::new(Expected { whole, last }));
    let figures: &Figures = Box::leak(Box::new(Figures::default()));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut listeners = tokio::task::JoinSet::new();
    for n in 0..count {
        let is_over = Arc::clone(&is_over);
        listeners.spawn(async move {
            let mut random = Random((n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut turn = n;
            while !is_over.load(Ordering::Relaxed) {
                let kind = KINDS[turn % KINDS.len()];
                turn += 1;
                let at = 1 + random.below(expected.whole.len() * 2 / 3);
                let text = if matches!(kind, Kind::Append | Kind::Cancel) { TEXT } else { "" };
                Listener {
                    front,
                    kind,
                    random: Random(random.below(usize::MAX) as u64 | 1),
                    expected,
                    figures,
                    session: None,
                    audio: Vec::new(),
                    sentence: 0,
                    rev: 0,
                    text: text.to_owned(),
                    sent: 0,
                    is_drained: false,
                    at,
                    has_cancelled: false,
                    cut: None,
                    is_paused_until: None,
                }
                .run()
                .await;
            }
        });
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..kills {
        sleep(Duration::from_millis(200 + random.below(600) as u64)).await;
        let n = random.below(processes.len());
        processes[n].0.kill().unwrap();
        processes[n].0.wait().unwrap();
        processes[n] = serve(servers[n], &store.url());
        if let Some(ended) = listeners.try_join_next() {
            ended.unwrap();
        }
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = listeners.join_next().await {
        ended.unwrap();
    }
    let mut silences = figures.silences.lock().unwrap().clone();
    silences.sort();
    let part = |part: f64| silences.get((silences.len() as f64 * part) as usize).copied().unwrap_or_default();
    let recoveries = figures.recoveries.load(Ordering::Relaxed);
    eprintln!(
        "{kills} kills, {recoveries} recoveries, {} whole streams, {} cancels done and not answered, silence p50 {:?}, p99 {:?}",
        figures.streams.load(Ordering::Relaxed),
        figures.unanswered.load(Ordering::Relaxed),
        part(0.5),
        part(0.99),
    );
    assert!(recoveries > 0);
}
