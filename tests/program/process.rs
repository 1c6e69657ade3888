//! The built binary as one process among others: signals, too few descriptors, two thousand
//! connections, a clock that is moved, time that passes without it, a log that nobody reads.

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

    /// The processor time it has used.
    fn busy(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the name, which may hold anything: fields 14 and 15, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Which of its threads waits for what this client sends: a number of the runtime there.
    fn runtime_of(&self, client: &Raw) -> u64 {
        let pid = self.pid();
        let port = |addr: SocketAddr| format!(":{:04X}", addr.port());
        let (ours, theirs) = (port(client.local_addr()), port(self.addr));
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        // Behind the number of the line: local address, remote address; the tenth is the socket.
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

/// A stream from its start to its end, on a client that is greeted.
async fn speaks(client: &mut Raw) {
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(audio(&frames).len(), TONE_BYTES);
}

/// Ends what the server has begun to close: the code.
async fn closed(client: &mut Raw) -> u16 {
    let frames = client.read_until("close").await;
    let Some(Frame::Close(Some((code, _)))) = frames.last() else { panic!("no code: {frames:?}") };
    client.send_bytes(&close(*code, "")).await;
    assert_eq!(client.read_to_close().await, b"");
    *code
}

/// A hundred sessions, of either protocol, idle or in the middle of a stream.
#[tokio::test]
async fn a_hundred_sessions_end_in_good_order_when_a_signal_says_so() {
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
    // Who came before this one is known to the server.
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
async fn a_second_signal_ends_at_once() {
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
        // It was not waited for: no Close.
        let (mut stream, unread) = client.into_parts();
        let mut rest = unread;
        let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await;
        assert_eq!(rest, b"", "{signals:?}");
    }
}

/// Whatever the one before it has left behind: connections that it closed (TIME_WAIT), and
/// connections that it was killed with.
#[tokio::test]
async fn a_server_that_was_killed_is_replaced_at_once() {
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

/// Twenty sessions on two threads, half of which lose their connection and half of which are taken
/// over by another one, which may be the other thread's: nobody hears a difference.
#[tokio::test]
async fn sessions_are_spread_over_threads_and_come_back_on_any() {
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
    assert!(moved > 0, "none came back on another thread than it was on");
    let mut idle = Vec::new();
    for listening in listening {
        let (client, frames) = listening.await;
        let heard = audio(&frames);
        assert_eq!(heard.len(), 2 * 16_000);
        for (told, heard) in
            messages(&frames).iter().filter(|told| told["type"] == "sentence_end").zip(heard.chunks(16_000))
        {
            assert_eq!(told["crc32"], format!("{:08x}", crc32(heard)));
        }
        idle.push(client);
    }
    server.signal("TERM").await;
    for client in &mut idle {
        assert_eq!(closed(client).await, 1001);
    }
    assert_eq!(server.exited().await.code(), Some(0));
}

/// With no descriptor left it does not spin, serves those it has, and takes the others when it can.
#[tokio::test]
async fn too_few_descriptors_are_no_reason_to_spin_or_to_stop() {
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
    // Those that have a place leave it to those that have none.
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

#[tokio::test]
async fn two_thousand_idle_connections_cost_little_and_nobody_anything() {
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

/// Deadlines that a test can wait for, of a server that is stopped for longer than any of them.
const HEARTBEAT: Duration = Duration::from_millis(400);
const SILENCE: Duration = Duration::from_secs(1);
const STOPPED: Duration = Duration::from_millis(2_500);

/// Not a test: the server that the next ones start in a process of its own.
#[test]
#[ignore = "started by other tests"]
fn server_with_short_deadlines() {
    if std::env::var_os("ALOUD_TEST_SERVER").is_none() {
        return;
    }
    let config = Config {
        heartbeat: HEARTBEAT,
        silence_timeout: SILENCE,
        stall_timeout: SILENCE,
        handshake_timeout: SILENCE,
        close_timeout: SILENCE,
        ..Config::default()
    };
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

/// Answers every Ping for as long as this; fails if the server closes. What else came.
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

/// A process that did not run for a while blames nobody for the time it has missed: not those who
/// were asked nothing meanwhile, not those whose words it has not read.
#[tokio::test]
async fn a_process_that_was_stopped_gives_nobody_up_for_it() {
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
            // Until it is stopped, and for a while behind it; the last one reads nothing meanwhile.
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
    // And one in the middle of its handshake, the rest of which is there when the process wakes up.
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
    // Who is silent for real is still found out.
    let mut silent = session(server.addr).await;
    let frames = silent.read_until("close").await;
    assert_eq!(
        frames.last(),
        Some(&Frame::Close(Some((1008, "No data from the client for too long".to_owned()))))
    );
}

/// Neither are programs that went on meanwhile.
#[tokio::test]
async fn a_process_that_was_stopped_takes_what_its_engine_has_made_meanwhile() {
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

/// What `.ci/foreign-clients` installs. Without it a test is skipped, with its name, but for where
/// everything has been installed to be tested.
fn installed(path: &str, test: &str) -> bool {
    let is_there = Path::new(path).exists();
    if !is_there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{path} is missing: run .ci/foreign-clients");
        eprintln!("skipped {test}: there is no {path}, see .ci/foreign-clients");
    }
    is_there
}

/// An hour forth and two back, and nobody notices but the header that tells the time.
#[tokio::test]
async fn a_clock_that_is_moved_changes_nothing() {
    const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !installed(FAKETIME, "a_clock_that_is_moved_changes_nothing") {
        return;
    }
    let told = std::env::temp_dir().join(format!("aloud-clock-{}", std::process::id()));
    fs::write(&told, "+0").unwrap();
    let mut moved = short_deadlines();
    moved.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &told);
    moved.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let server = Serving::start(&mut moved).await;
    let mut idle = session(server.addr).await;
    let mut paced = session(server.addr).await;
    paced.say(&start_paced(500)).await;
    paced.read_until("binary").await;
    // The hour of the server's clock.
    let hour = async || {
        let mut client = raw(server.addr).await;
        client.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let date = client.read_answer().await.0.header("date").unwrap();
        let time = date.split(' ').find(|part| part.contains(':')).unwrap().to_owned();
        time[..2].parse::<i32>().unwrap()
    };
    let before = hour().await;
    for offset in ["+3700s", "-3700s"] {
        fs::write(&told, offset).unwrap();
        let (heard, played) = tokio::join!(lives(&mut idle, SILENCE * 2), lives(&mut paced, SILENCE * 2));
        assert_eq!(heard, [], "{offset}");
        let seconds = FORMAT.duration(audio(&played).len() as u64).as_secs_f64();
        assert!((1.0..3.2).contains(&seconds), "{offset}: {seconds} s of audio in two");
        // Only the way forth shows: hyper does not take a date back.
        if offset.starts_with('+') {
            assert!(matches!((hour().await - before).rem_euclid(24), 1 | 2), "the clock was not moved");
        }
    }
    fs::remove_file(&told).unwrap();
}

/// A log that is stuck, or has nobody at its other end, costs lines and nothing else.
#[tokio::test]
async fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    for is_full in [true, false] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut filling = writer.try_clone().unwrap();
        let reader = match is_full {
            true => {
                // Goes on until the other end is closed, so that it is full whatever it holds.
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
        // More than may wait for it: each of them is worth a line.
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
