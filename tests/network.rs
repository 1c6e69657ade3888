//! Networks that are slow, lose packets, or silently vanish. The tests create real ones: network
//! namespaces with a scripted wire between them.
//!
//! The tests need Linux, `unshare`, `ip`, Python, and the permission to create a namespace. Without one
//! of these a test says that it is skipped, and fails with `CI=true`.
#![allow(clippy::unwrap_used, missing_docs)] // A test that cannot go on should stop where it is.

mod support;

use aloud::tts::{Tone, Utterance};
use aloud::{Config, Server, Service};
use serde_json::json;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{FORMAT, Frame, Raw, audio, crc32, messages, session, spoken, start_paced, v1, within};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

const SERVER: &str = "10.77.0.2";
const CLIENT: &str = "10.77.0.1";

/// Deadlines short enough for a test, and longer than the outages that a session must survive.
const HEARTBEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(8);
const CLOSE: Duration = Duration::from_secs(1);

/// A sentence, in seconds.
const TONE_SECONDS: f64 = 6.0;

/// Not a test: the server at the other end of the wire. Prints `quiet` when no session and no synthesis
/// is left.
#[test]
#[ignore = "started by other tests"]
fn server() {
    if std::env::var_os("ALOUD_TEST_SERVER").is_none() {
        return;
    }
    let config = Config::default().with(|c| {
        c.heartbeat = HEARTBEAT;
        c.silence_timeout = SILENCE;
        c.stall_timeout = SILENCE;
        c.close_timeout = CLOSE;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let service = Service::new(config, Arc::new(Tone::new(FORMAT, TONE_SECONDS))).unwrap();
        let server = Server::bind(&format!("{SERVER}:0").parse().unwrap(), service.clone()).await.unwrap();
        println!("listening on {}", server.address());
        tokio::spawn(server.serve(std::future::pending()));
        let mut was_busy = false;
        loop {
            let is_busy = service.sessions().count() + service.syntheses().count() > 0;
            if was_busy && !is_busy {
                println!("quiet");
            }
            was_busy = is_busy;
            sleep(Duration::from_millis(5)).await;
        }
    });
}

/// Properties of a wire.
struct Wire {
    delay_ms: u32,
    kbit_per_s: u32,
    loss_percent: u32,
}

/// A wire without delay, loss or limit.
const GOOD: Wire = Wire { delay_ms: 1, kbit_per_s: 1_000_000, loss_percent: 0 };

/// This process, alone in a namespace with the near end of a wire, and a server at the far end.
struct Network {
    addr: SocketAddr,
    lines: Lines<BufReader<ChildStdout>>,
    wire_says: ChildStdin,
    wire: Lines<BufReader<ChildStdout>>,
    _processes: [Child; 2],
    _server_in: ChildStdin,
}

async fn run(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().await.unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn piped(command: &mut Command) -> (Child, ChildStdin, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, BufReader::new(stdout).lines())
}

impl Network {
    async fn new(wire: &Wire) -> Network {
        let exe = std::env::current_exe().unwrap();
        // The server waits in its namespace until the network is ready.
        let mut far = Command::new("unshare");
        far.args(["--net", "sh", "-c", r#"read go && exec "$0" "$@""#]).arg(exe);
        far.args(["--exact", "server", "--ignored", "--nocapture"]).env("ALOUD_TEST_SERVER", "1");
        let (far, mut far_in, mut lines) = piped(&mut far);
        let mut near = Command::new("python3");
        near.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/wire.py"));
        near.args([wire.delay_ms, wire.kbit_per_s, wire.loss_percent].map(|n| n.to_string()));
        let (near, wire_says, mut wire) = piped(&mut near);
        assert_eq!(within(wire.next_line()).await.unwrap().as_deref(), Some("ready"));
        let pid = far.id().unwrap();
        within(run(&format!(
            "until [ $(readlink /proc/{pid}/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done
             ip link set lo up
             ip link set server netns {pid}
             ip addr add {CLIENT} peer {SERVER} dev client
             ip link set client up
             nsenter --net=/proc/{pid}/ns/net ip addr add {SERVER} peer {CLIENT} dev server
             nsenter --net=/proc/{pid}/ns/net ip link set server up"
        )))
        .await;
        far_in.write_all(b"go\n").await.unwrap();
        let addr = loop {
            let line = within(lines.next_line()).await.unwrap().expect("it listens");
            if let Some((_, addr)) = line.split_once("listening on http://") {
                break addr.parse().unwrap();
            }
        };
        Network { addr, lines, wire_says, wire, _processes: [far, near], _server_in: far_in }
    }

    /// Sends the wire `cut` or `mend`. Returns its statistics up to now.
    async fn tell(&mut self, what: &str) -> String {
        self.wire_says.write_all(format!("{what}\n").as_bytes()).await.unwrap();
        within(self.wire.next_line()).await.unwrap().unwrap()
    }
}

/// Runs a test in its own network namespace by starting this program again in one.
fn apart(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os("ALOUD_TEST_APART").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(body);
    }
    let try_out = "unshare --user --map-root-user --net \
                   sh -c 'ip link show lo && python3 -c \"open(\\\"/dev/net/tun\\\", \\\"r+b\\\", 0)\"'";
    let tried = std::process::Command::new("sh").args(["-c", try_out]).output().unwrap();
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return support::skip(test, &format!("a network namespace ({why})"));
    }
    let mut again = std::process::Command::new("unshare");
    again.args(["--user", "--map-root-user", "--net"]).arg(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env("ALOUD_TEST_APART", "1");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    eprintln!("{said}");
}

/// Reads all frames up to the end of the stream, without a time limit. Answers Pings.
async fn hears(client: &mut Raw) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        match client.read_frame().await {
            Frame::Ping(payload) => client.send_bytes(&support::frame(0x8a, &payload)).await,
            frame => {
                let is_end = matches!(frame.kind(), "session_end" | "close");
                frames.push(frame);
                if is_end {
                    return frames;
                }
            }
        }
    }
}

async fn tone() -> Vec<u8> {
    spoken(&Tone::new(FORMAT, TONE_SECONDS), Utterance::new("One.", FORMAT)).await
}

/// Audio may be late, but is whole and in order.
#[test]
fn network_that_is_slow_and_loses_packets_delivers_all_audio() {
    apart("network_that_is_slow_and_loses_packets_delivers_all_audio", async {
        let mut network = Network::new(&Wire { delay_ms: 100, kbit_per_s: 1_000, loss_percent: 5 }).await;
        let whole = tone().await;
        let (mut burst, _) = v1(network.addr).await;
        let (mut paced, _) = v1(network.addr).await;
        let mut base = session(network.addr).await;
        let began = Instant::now();
        burst.say(r#"{"type":"start_session","prompt":"One. Two."}"#).await;
        paced.say(&start_paced(1_000)).await;
        base.say(&start_paced(1_000)).await;
        let (burst, paced, base) = tokio::join!(hears(&mut burst), hears(&mut paced), hears(&mut base));
        let took = began.elapsed();
        assert!(audio(&burst) == [&whole[..], &whole].concat());
        assert!(audio(&paced) == whole);
        assert!(audio(&base) == whole);
        for message in messages(&burst).iter().chain(&messages(&paced)) {
            assert_ne!(message["type"], "error");
            if message["type"] == "sentence_end" {
                assert_eq!(message["crc32"], format!("{:08x}", crc32(&whole)));
            }
        }
        println!("{:?} for {TONE_SECONDS} s of audio; {}", took, network.tell("mend").await);
    });
}

/// The outage is shorter than the silence timeout.
#[test]
fn network_outage_of_three_seconds_loses_nothing() {
    apart("network_outage_of_three_seconds_loses_nothing", async {
        let mut network = Network::new(&GOOD).await;
        let whole = tone().await;
        let mut idle = session(network.addr).await;
        let mut streaming = session(network.addr).await;
        streaming.say(&start_paced(500)).await;
        let mut frames = streaming.read_until("binary").await;
        network.tell("cut").await;
        sleep(Duration::from_secs(3)).await;
        network.tell("mend").await;
        idle.say(r#"{"type":"marker"}"#).await;
        frames.extend(hears(&mut streaming).await);
        assert!(audio(&frames) == whole);
        assert_eq!(frames.last(), Some(&Frame::Text(json!({"type": "session_end"}))));
        assert!(idle.read_until("error").await.iter().all(|frame| frame.kind() != "close"));
    });
}

/// The server gets neither FIN nor RST, in any state of its sessions.
#[test]
fn network_outage_without_an_end_ends_sessions_at_their_deadline() {
    apart("network_outage_without_an_end_ends_sessions_at_their_deadline", async {
        let mut network = Network::new(&GOOD).await;
        let mut clients = Vec::new();
        for kind in ["idle", "paused", "paced", "more than the socket takes", "closing"] {
            let mut client = session(network.addr).await;
            match kind {
                "paused" => {
                    client.say(r#"{"type":"pause"}"#).await;
                    client.say(&start_paced(500)).await;
                    client.before_pong().await;
                }
                "paced" => {
                    client.say(&start_paced(500)).await;
                    client.read_until("binary").await;
                }
                "more than the socket takes" => {
                    let start = json!({"type": "start_session", "prompt": "A word. ".repeat(2_000)});
                    client.say(&start.to_string()).await;
                    client.read_until("binary").await;
                }
                // The server has sent a Close and waits for the answer.
                "closing" => {
                    client.say(r#"{"type":"end"}"#).await;
                    client.read_until("close").await;
                }
                _ => {}
            }
            clients.push(client);
        }
        network.tell("cut").await;
        let cut = Instant::now();
        let quiet = timeout(SILENCE * 2, network.lines.next_line()).await.expect("an end");
        let took = cut.elapsed();
        assert_eq!(quiet.unwrap().as_deref(), Some("quiet"));
        // The last frame of a client arrived before the cut, but by no more than this.
        assert!(took > SILENCE - HEARTBEAT * 2, "{took:?}");
        assert!(took < SILENCE + CLOSE * 3, "{took:?}");
        println!("ended {took:?} behind the cut, the deadline being {SILENCE:?}");
    });
}
