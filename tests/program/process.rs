//! The built binary as a process: signals, too few descriptors, two thousand connections, a clock that
//! is changed, time during which the process is suspended, a log without a reader.

use crate::support::{
    self, FORMAT, Frame, Raw, Serving, audio, close, crc32, messages, opening, raw, session, start_paced, v1,
    within,
};
use aloud::tts::Tone;
use aloud::{Config, PATH, Server, Service};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

const PAUSE: &str = r#"{"type":"pause"}"#;
const RESUME: &str = r#"{"type":"resume"}"#;
const START: &str = r#"{"type":"start_session","prompt":"One."}"#;

/// A tenth of a second of tone for each sentence, in the format of [`FORMAT`].
const TONE: [&str; 5] =
    ["serve", "--listen=127.0.0.1:0", "--engine=tone", "--tone-seconds=0.1", "--sample-rate=8000"];
/// Its audio, in bytes.
const TONE_BYTES: usize = 1_600;

fn aloud<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(args).env_clear().stderr(Stdio::null());
    command
}

impl Serving {
    async fn tone() -> Serving {
        Serving::start(&mut aloud(TONE)).await
    }

    async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }

    async fn exited(&mut self) -> ExitStatus {
        within(self.child.wait()).await.unwrap()
    }

    /// CPU time used so far.
    fn busy(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the name, which may contain any byte: fields 14 and 15, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Identifies the runtime that polls the socket of this client.
    fn runtime_of(&self, client: &Raw) -> u64 {
        let pid = self.pid();
        let port = |addr: SocketAddr| format!(":{:04X}", addr.port());
        let (ours, theirs) = (port(client.local_addr()), port(self.addr));
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        // After the line number: local address, remote address; the tenth field is the socket.
        let sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let [socket] = sockets
            .filter(|fields| fields[1].ends_with(&theirs) && fields[2].ends_with(&ours))
            .map(|fields| format!("socket:[{}]", fields[9]))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_link(entry.path()).unwrap_or_default())
        });
        let descriptors: Vec<(String, PathBuf)> = descriptors.collect();
        let number = &descriptors.iter().find(|(_, what)| what.as_os_str() == OsStr::new(&socket)).unwrap().0;
        let polls = descriptors.iter().filter(|(_, what)| what.ends_with("anon_inode:[eventpoll]"));
        let polls = polls.filter(|(poll, _)| {
            let polled = fs::read_to_string(format!("/proc/{pid}/fdinfo/{poll}")).unwrap();
            polled.lines().any(|line| line.split_whitespace().take(2).eq(["tfd:", number]))
        });
        // A runtime may have its epoll under several numbers.
        polls.map(|(poll, _)| poll.parse().unwrap()).min().expect("a runtime waits for it")
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

/// Runs a stream from start to end, after the greeting.
async fn speaks(client: &mut Raw) {
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(audio(&frames).len(), TONE_BYTES);
}

/// Completes the closing handshake of the server. Returns the code.
async fn closed(client: &mut Raw) -> u16 {
    let frames = client.read_until("close").await;
    let Some(Frame::Close(Some((code, _)))) = frames.last() else { panic!("no code: {frames:?}") };
    client.send_bytes(&close(*code, "")).await;
    assert_eq!(client.read_to_close().await, b"");
    *code
}

/// A hundred sessions, of either protocol, idle or in the middle of a stream.
#[tokio::test]
async fn signal_ends_a_hundred_sessions_in_order() {
    let mut server = Serving::tone().await;
    let (mut idle, mut streaming) = (Vec::new(), Vec::new());
    for n in 0..100 {
        let is_v1 = n % 2 == 0;
        let mut client = if is_v1 { v1(server.addr).await.0 } else { session(server.addr).await };
        if n % 4 < 2 {
            idle.push(client);
        } else {
            client.say(PAUSE).await;
            client.say(START).await;
            client.before_pong().await;
            streaming.push((client, is_v1));
        }
    }
    let bytes = opening(server.addr, PATH);
    let mut begun = raw(server.addr).await;
    begun.send_bytes(&bytes[..20]).await;
    // The server has accepted the earlier connections.
    idle.push(session(server.addr).await);

    server.signal("TERM").await;
    for client in &mut idle {
        assert_eq!(closed(client).await, 1001);
    }
    begun.send_bytes(&bytes[20..]).await;
    let (head, _) = begun.read_answer().await;
    assert_eq!((head.status, head.header("retry-after").is_some()), (503, true));
    assert_eq!(begun.read_to_close().await, b"");
    for (client, is_v1) in &mut streaming {
        if *is_v1 {
            let frames = client.read_until("go_away").await;
            assert_eq!(messages(&frames).pop().unwrap()["reason"], "shutdown");
        }
        client.say(RESUME).await;
        let frames = client.read_until("session_end").await;
        assert_eq!(audio(&frames).len(), TONE_BYTES);
        assert_eq!(closed(client).await, 1001);
    }
    assert_eq!(server.exited().await.code(), Some(0));
}

#[tokio::test]
async fn signal_sent_twice_ends_at_once() {
    for signals in [["TERM", "TERM"], ["INT", "TERM"], ["TERM", "INT"]] {
        let mut server = Serving::tone().await;
        let mut client = v1(server.addr).await.0;
        client.say(PAUSE).await;
        client.say(START).await;
        client.before_pong().await;
        server.signal(signals[0]).await;
        client.read_until("go_away").await;
        server.signal(signals[1]).await;
        let status = server.exited().await;
        assert!(status.code().is_some_and(|code| code != 0), "{signals:?}: {status}");
        // The server did not wait: no Close.
        let (mut stream, unread) = client.into_parts();
        let mut rest = unread;
        let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await;
        assert_eq!(rest, b"", "{signals:?}");
    }
}

/// The port still has connections of the killed server: closed ones (TIME_WAIT) and open ones.
#[tokio::test]
async fn port_of_a_killed_server_is_reused_at_once() {
    let mut server = Serving::tone().await;
    for signal in ["KILL", "TERM", "KILL"] {
        let addr = server.addr;
        let mut ended = session(addr).await;
        ended.say(r#"{"type":"end"}"#).await;
        assert_eq!(closed(&mut ended).await, 1000);
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = session(addr).await;
            client.say(&start_paced(100)).await;
            client.read_until("binary").await;
            clients.push(client);
        }
        server.signal(signal).await;
        if signal == "TERM" {
            for client in &mut clients {
                closed(client).await;
            }
        }
        server.exited().await;
        let listen = format!("--listen={addr}");
        let again = TONE.map(|arg| if arg.starts_with("--listen") { &listen } else { arg });
        server = Serving::start(&mut aloud(again)).await;
        assert_eq!(server.addr, addr);
        speaks(&mut session(addr).await).await;
    }
}

/// Twenty sessions on two threads. Half of them lose their connection; another connection takes over
/// the other half, maybe on the other thread. No client hears a difference.
#[tokio::test]
async fn sessions_recover_on_any_thread() {
    const SENTENCES: &str = r#"{"type":"start_session","prompt":"One. Two.","resumable":true,
        "delivery":{"mode":"paced","aheadMs":100}}"#;
    let more = ["--tone-seconds=1", "--threads=2"];
    let mut server = Serving::start(&mut aloud(TONE.into_iter().chain(more))).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (mut client, greeting) = v1(server.addr).await;
        client.say(SENTENCES).await;
        let mut frames = client.read_until("binary").await;
        client.say(PAUSE).await;
        frames.extend(client.read_until("paused").await);
        clients.push((server.runtime_of(&client), client, greeting, frames));
    }
    let first = clients[0].0;
    let on_first = clients.iter().filter(|(runtime, ..)| *runtime == first).count();
    assert!((8..=12).contains(&on_first), "{on_first} of 20 on one of two threads");

    let (mut moved, mut listening) = (0, Vec::new());
    for (n, (runtime, old, greeting, mut frames)) in clients.into_iter().enumerate() {
        let mut old = Some(old);
        if n % 2 == 0 {
            old.take().unwrap().reset();
        }
        let (mut client, _) = v1(server.addr).await;
        let (id, token) = (&greeting["sessionId"], &greeting["token"]);
        let offset = audio(&frames).len();
        let recover = json!({"type": "recover", "sessionId": id, "token": token, "offset": offset});
        client.say(&recover.to_string()).await;
        let Frame::Text(recovered) = client.read_frame().await else { panic!("a message") };
        assert_eq!((&recovered["recovered"], &recovered["offset"]), (&json!(true), &json!(offset)));
        if let Some(mut old) = old {
            assert_eq!(closed(&mut old).await, 4409);
        }
        moved += usize::from(server.runtime_of(&client) != runtime);
        client.say(RESUME).await;
        listening.push(async move {
            frames.extend(client.read_until("session_end").await);
            (client, frames)
        });
    }
    assert!(moved > 0, "no session recovered on another thread");
    let mut idle = Vec::new();
    for listening in listening {
        let (client, frames) = listening.await;
        let heard = audio(&frames);
        assert_eq!(heard.len(), 2 * 16_000);
        for (message, heard) in messages(&frames)
            .iter()
            .filter(|message| message["type"] == "sentence_end")
            .zip(heard.chunks(16_000))
        {
            assert_eq!(message["crc32"], format!("{:08x}", crc32(heard)));
        }
        idle.push(client);
    }
    server.signal("TERM").await;
    for client in &mut idle {
        assert_eq!(closed(client).await, 1001);
    }
    assert_eq!(server.exited().await.code(), Some(0));
}

/// Without free descriptors the server does not spin, serves its clients, and accepts others later.
#[tokio::test]
async fn descriptors_exhausted_cause_no_spinning_and_no_stop() {
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -n 64; exec "$0" "$@""#, env!("CARGO_BIN_EXE_aloud")]);
    let mut server = Serving::start(limited.args(TONE).env_clear().stderr(Stdio::null())).await;
    let mut first = session(server.addr).await;
    let mut more = Vec::new();
    for _ in 0..100 {
        let mut client = raw(server.addr).await;
        client.send_bytes(&opening(server.addr, PATH)).await;
        more.push(client);
    }
    within(async {
        while server.descriptors() < 64 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (since, busy) = (Instant::now(), server.busy());
    sleep(Duration::from_secs(1)).await;
    let busy = server.busy() - busy;
    assert!(busy < since.elapsed() / 4, "{busy:?} of {:?}", since.elapsed());
    for _ in 0..10 {
        speaks(&mut first).await;
    }
    // Connected clients leave and make room for waiting ones.
    for mut client in more {
        assert_eq!(client.read_head().await.status, 101);
        assert_eq!(client.read_frame().await.kind(), "session_start");
    }
    speaks(&mut session(server.addr).await).await;
    speaks(&mut first).await;
    server.signal("TERM").await;
    assert_eq!(closed(&mut first).await, 1001);
    assert_eq!(server.exited().await.code(), Some(0));
}

/// The soft limit of descriptors is for other programs. A limit that is too small for the connections is said.
#[tokio::test]
async fn descriptors_are_as_many_as_the_hard_limit_allows() {
    for (hard, most, warns) in [(300, 200, false), (300, 1_000, true)] {
        let mut limited = Command::new("sh");
        let serve = format!(r#"ulimit -Sn 100; ulimit -Hn {hard}; exec "$0" "$@" --max-connections={most}"#);
        limited.args(["-c", &serve, env!("CARGO_BIN_EXE_aloud")]).args(TONE).env_clear();
        let mut server = Serving::start(limited.stderr(Stdio::piped())).await;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let found: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(found[..2], [hard.to_string(), hard.to_string()], "{line}");
        // More than the soft limit was.
        let mut clients = Vec::new();
        for _ in 0..150 {
            clients.push(session(server.addr).await);
        }
        speaks(&mut clients[149]).await;
        server.signal("TERM").await;
        drop(clients);
        let mut words = String::new();
        within(server.child.stderr.take().unwrap().read_to_string(&mut words)).await.unwrap();
        assert_eq!(words.contains("needs 1064; raise the hard limit"), warns, "{words}");
        assert_eq!(words.contains("file descriptors"), warns, "{words}");
    }
}

#[tokio::test]
async fn connections_idle_by_the_thousand_cost_little() {
    const CONNECTIONS: usize = 2_000;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = maximum.map_or(4_096, |maximum| maximum.min(4_096));
    if current.is_some_and(|current| current < enough) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(enough), maximum }).unwrap();
    }
    let server = Serving::tone().await;
    let mut speaking = session(server.addr).await;
    speaks(&mut speaking).await;
    let (descriptors, bytes) = (server.descriptors(), server.resident_bytes());
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        idle.push(session(server.addr).await);
    }
    assert_eq!(server.descriptors(), descriptors + CONNECTIONS);
    let each = server.resident_bytes().saturating_sub(bytes) / CONNECTIONS;
    assert!(each < 8 * 1024, "{each} bytes for an idle connection");
    speaks(&mut speaking).await;
    speaks(&mut idle[CONNECTIONS - 1]).await;
    drop(idle);
    within(async {
        while server.descriptors() > descriptors {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    speaks(&mut speaking).await;
}

/// Deadlines short enough for a test; the server is suspended for longer than each of them.
const HEARTBEAT: Duration = Duration::from_millis(400);
const SILENCE: Duration = Duration::from_secs(1);
const STOPPED: Duration = Duration::from_millis(2_500);

/// Not a test: the server that the next tests start in its own process.
#[test]
#[ignore = "started by other tests"]
fn server_with_short_deadlines() {
    if std::env::var_os("ALOUD_TEST_SERVER").is_none() {
        return;
    }
    let config = Config::default().with(|c| {
        c.heartbeat = HEARTBEAT;
        c.silence_timeout = SILENCE;
        c.stall_timeout = SILENCE;
        c.handshake_timeout = SILENCE;
        c.close_timeout = SILENCE;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let service = Service::new(config, Arc::new(Tone::new(FORMAT, 60.0))).unwrap();
        let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), service).await.unwrap();
        println!("listening on {}", server.address());
        server.serve(std::future::pending()).await;
    });
}

fn short_deadlines() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process::server_with_short_deadlines", "--ignored", "--nocapture"]);
    command.env("ALOUD_TEST_SERVER", "1").stderr(Stdio::null());
    command
}

/// Answers each Ping for this time; fails if the server closes. Returns the other frames.
async fn lives(client: &mut Raw, time: Duration) -> Vec<Frame> {
    let until = tokio::time::Instant::now() + time;
    let mut frames = Vec::new();
    while let Ok(frame) = timeout_at(until, client.next_frame()).await {
        match frame.expect("the connection lives") {
            Frame::Ping(payload) => client.send_bytes(&support::frame(0x8a, &payload)).await,
            Frame::Close(why) => panic!("closed: {why:?}"),
            frame => frames.push(frame),
        }
    }
    frames
}

/// A process that did not run for a while does not count that time as silence: neither of clients that
/// got no Ping, nor of clients whose frames it has not read.
#[tokio::test]
async fn process_suspended_past_its_deadlines_keeps_its_clients() {
    let server = Serving::start(&mut short_deadlines()).await;
    let mut clients = JoinSet::new();
    let go_on = Arc::new(tokio::sync::Semaphore::new(0));
    for kind in ["idle", "idle v1", "paused", "paced", "burst, not read"] {
        let mut client = if kind == "idle v1" { v1(server.addr).await.0 } else { session(server.addr).await };
        match kind {
            "paused" => {
                client.say(PAUSE).await;
                client.say(START).await;
                client.before_pong().await;
            }
            "paced" => {
                client.say(&start_paced(500)).await;
                client.read_until("binary").await;
            }
            "burst, not read" => client.say(START).await,
            _ => {}
        }
        let go_on = Arc::clone(&go_on);
        clients.spawn(async move {
            // Until the process is suspended, and a while longer; the last client reads nothing meanwhile.
            while go_on.available_permits() == 0 {
                match kind {
                    "burst, not read" => sleep(Duration::from_millis(10)).await,
                    _ => drop(lives(&mut client, Duration::from_millis(20)).await),
                }
            }
            lives(&mut client, SILENCE * 2).await;
            client.say(r#"{"type":"marker"}"#).await;
            let frames = client.read_until("error").await;
            assert!(frames.iter().all(|frame| frame.kind() != "close"), "{kind}");
        });
    }
    // One client is in its handshake; the rest of it has arrived when the process continues.
    let bytes = opening(server.addr, PATH);
    let mut begun = raw(server.addr).await;
    begun.send_bytes(&bytes[..20]).await;
    sleep(HEARTBEAT / 2).await;
    server.signal("STOP").await;
    begun.send_bytes(&bytes[20..]).await;
    sleep(STOPPED).await;
    server.signal("CONT").await;
    go_on.add_permits(1);
    assert_eq!(begun.read_head().await.status, 101);
    while let Some(lived) = clients.join_next().await {
        lived.unwrap();
    }
    // A client that is really silent is still closed.
    let mut silent = session(server.addr).await;
    let frames = silent.read_until("close").await;
    assert_eq!(
        frames.last(),
        Some(&Frame::Close(Some((1008, "No data from the client for too long".to_owned()))))
    );
}

/// Programs that ran meanwhile do not time out either.
#[tokio::test]
async fn process_suspended_reads_the_output_of_its_engine_afterwards() {
    let program = r#"sh -c 'for n in 1 2 3 4 5 6; do head -c 1600 /dev/zero | tr "\\0" A; sleep 0.2; done'"#;
    let server = Serving::start(
        aloud(["serve", "--listen=127.0.0.1:0", "--no-warm-up", "--engine=command", "--command", program])
            .args(["--engine-encoding=pcm_s16le", "--engine-sample-rate=8000", "--engine-idle-ms=800"])
            .env("PATH", std::env::var_os("PATH").unwrap()),
    )
    .await;
    let mut client = session(server.addr).await;
    client.say(START).await;
    client.read_until("text").await;
    sleep(Duration::from_millis(300)).await;
    server.signal("STOP").await;
    sleep(Duration::from_millis(1_500)).await;
    server.signal("CONT").await;
    let frames = client.read_until("session_end").await;
    let kinds: Vec<&str> = frames.iter().map(Frame::kind).collect();
    assert!(!kinds.contains(&"error"), "{:?}", messages(&frames));
    assert!(kinds.contains(&"binary"));
}

/// The clock moves an hour forward and two back. Only the `Date` header changes.
#[tokio::test]
async fn wall_clock_changes_have_no_effect() {
    const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !Path::new(FAKETIME).exists() {
        return support::skip("wall_clock_changes_have_no_effect", FAKETIME);
    }
    let offsets = std::env::temp_dir().join(format!("aloud-clock-{}", std::process::id()));
    fs::write(&offsets, "+0").unwrap();
    let mut moved = short_deadlines();
    moved.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &offsets);
    moved.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let server = Serving::start(&mut moved).await;
    let mut idle = session(server.addr).await;
    let mut paced = session(server.addr).await;
    paced.say(&start_paced(500)).await;
    paced.read_until("binary").await;
    // Hour of the server's clock.
    let hour = async || {
        let mut client = raw(server.addr).await;
        client.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let date = client.read_answer().await.0.header("date").unwrap();
        let time = date.split(' ').find(|part| part.contains(':')).unwrap().to_owned();
        time[..2].parse::<i32>().unwrap()
    };
    let before = hour().await;
    for offset in ["+3700s", "-3700s"] {
        fs::write(&offsets, offset).unwrap();
        let (heard, played) = tokio::join!(lives(&mut idle, SILENCE * 2), lives(&mut paced, SILENCE * 2));
        assert_eq!(heard, [], "{offset}");
        let seconds = FORMAT.duration(audio(&played).len() as u64).as_secs_f64();
        assert!((1.0..3.2).contains(&seconds), "{offset}: {seconds} s of audio in two");
        // Only the step forward shows: hyper does not move a date back.
        if offset.starts_with('+') {
            assert!(matches!((hour().await - before).rem_euclid(24), 1 | 2), "the clock was not moved");
        }
    }
    fs::remove_file(&offsets).unwrap();
}

/// A log that is stuck or has no reader loses lines and nothing else.
#[tokio::test]
async fn log_without_a_reader_blocks_no_session() {
    for is_full in [true, false] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut filling = writer.try_clone().unwrap();
        let reader = match is_full {
            true => {
                // Writes until the other end is closed, so that the pipe is full, whatever its size.
                std::thread::spawn(move || while filling.write_all(&[b'x'; 4096]).is_ok() {});
                Some(reader)
            }
            false => {
                drop((reader, filling));
                None
            }
        };
        let mut server = Serving::start(aloud(TONE).stderr(writer)).await;
        let addr = server.addr;
        // More refusals than the queue of the log holds; each is a line.
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            clients.spawn(async move {
                for _ in 0..300 {
                    let mut client = session(addr).await;
                    speaks(&mut client).await;
                    client.send_bytes(&close(1000, "")).await;
                    assert_eq!(client.read_close().await, 1000);
                }
            });
        }
        while let Some(served) = clients.join_next().await {
            served.unwrap();
        }
        server.signal("TERM").await;
        assert_eq!(server.exited().await.code(), Some(0), "full: {is_full}");
        drop(reader);
    }
}
