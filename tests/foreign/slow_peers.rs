//! slowhttptest holds connections open as long as it can: with headers without an end, a body that
//! never arrives, answers that it does not read. The server ends each connection at its deadline, and
//! other clients are not affected.

use crate::support::{Serving, session, skip, v1};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

/// Default deadlines of the server for a request, and for reading the answer.
const DEADLINE: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(2);
/// Allowance for a busy machine and for the interval between two checks.
const SLACK: Duration = Duration::from_secs(2);

const CONNECTIONS: usize = 200;

/// The sockets of a process, by their names in `/proc`.
fn sockets(pid: u32) -> Vec<String> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).filter(|t| t.starts_with("socket:")).collect()
}

async fn serves(addr: SocketAddr) {
    let mut client = session(addr).await;
    client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
    client.read_until("session_end").await;
}

/// Runs slowhttptest in one of its modes against a server. Returns the largest number of connections
/// at once, and the longest lifetime of a connection.
async fn attacked(test: &str, mode: &[&str]) -> Option<(usize, Duration)> {
    if std::process::Command::new("slowhttptest").arg("-h").output().is_err() {
        skip(test, "slowhttptest");
        return None;
    }
    let mut server = Command::new(env!("CARGO_BIN_EXE_aloud"));
    server.args(["serve", "--listen=127.0.0.1:0", "--engine=tone", "--tone-seconds=0.1"]).env_clear();
    let server = Serving::start(server.stderr(Stdio::null())).await;
    let (addr, pid) = (server.addr, server.pid());
    let own = sockets(pid);

    let mut attack = Command::new("slowhttptest");
    attack.args(mode).args(["-c", &CONNECTIONS.to_string(), "-r", "200", "-l", "16", "-p", "3"]);
    attack.args(["-u", &format!("http://{addr}{}", aloud::PATH)]);
    let mut attack = attack.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut held: HashMap<String, Instant> = HashMap::new();
    let (mut most, mut longest) = (0, Duration::ZERO);
    let mut looks = interval(Duration::from_millis(100));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_over = false;
    let mut n = 0;
    while !is_over || !held.is_empty() {
        looks.tick().await;
        let now = Instant::now();
        let open: Vec<String> = sockets(pid).into_iter().filter(|socket| !own.contains(socket)).collect();
        held.retain(|socket, since| {
            longest = longest.max(now - *since);
            open.contains(socket)
        });
        for socket in open {
            held.entry(socket).or_insert(now);
        }
        most = most.max(held.len());
        assert!(longest < DEADLINE + LINGER + SLACK, "a connection stayed open for {longest:?}");
        is_over = is_over || attack.try_wait().unwrap().is_some();
        n += 1;
        if n % 10 == 0 {
            serves(addr).await;
        }
    }
    serves(addr).await;
    println!("{test}: {most} held at once, none for longer than {longest:?}");
    Some((most, longest))
}

#[tokio::test]
async fn request_headers_without_an_end_get_the_deadline() {
    let mode = ["-H", "-i", "1", "-x", "24"];
    if let Some((most, longest)) = attacked("request_headers_without_an_end_get_the_deadline", &mode).await {
        assert!(most >= CONNECTIONS / 2, "{most}");
        // Each connection gets its full deadline.
        assert!(longest > DEADLINE - SLACK, "{longest:?}");
    }
}

#[tokio::test]
async fn request_body_that_never_arrives_is_not_awaited() {
    let mode = ["-B", "-i", "1", "-s", "8192", "-t", "POST"];
    if let Some((_, longest)) = attacked("request_body_that_never_arrives_is_not_awaited", &mode).await {
        // The head of the request is refused, so that the server need not wait for the body.
        assert!(longest < LINGER + SLACK, "{longest:?}");
    }
}

#[tokio::test]
async fn answer_that_is_not_read_gets_the_linger_timeout() {
    let mode = ["-X", "-k", "10", "-w", "1", "-y", "2", "-n", "5", "-z", "1"];
    if let Some((most, _)) = attacked("answer_that_is_not_read_gets_the_linger_timeout", &mode).await {
        assert!(most >= CONNECTIONS / 2, "{most}");
    }
}

/// Clients that take nothing, at once.
const IDLE_LISTENERS: usize = 40;

/// Most bytes that a client who takes nothing adds to the process, and to the kernel: what the guide says.
const SERVER_BYTES: usize = 384 * 1024;
const KERNEL_BYTES: usize = 256 * 1024;

/// Bytes that the kernel holds for the connections of a server, as `ss -tm` says.
fn kernel_bytes(addr: SocketAddr) -> Option<usize> {
    let port = format!(":{}", addr.port());
    let query = ["-tmnH", "state", "established", "sport", "=", &port];
    let output = std::process::Command::new("ss").args(query).output().ok()?;
    let queued =
        |memory: &str| memory.split(',').find_map(|part| part.strip_prefix('w')?.parse::<usize>().ok());
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.split("skmem:(").skip(1).filter_map(|memory| queued(memory.split(')').next()?)).sum())
}

#[tokio::test]
async fn what_waits_for_a_client_is_bounded_in_the_server_and_in_its_kernel() {
    if std::process::Command::new("ss").arg("-V").output().is_err() {
        return skip("what_waits_for_a_client_is_bounded_in_the_server_and_in_its_kernel", "ss");
    }
    let program = "head -c 1000000 /dev/urandom";
    let outside = ["--command", program, "--engine-encoding=pcm_s16le", "--engine-sample-rate=48000"];
    for (engine, more) in [("flite", &[][..]), ("tone", &["--tone-seconds=600"]), ("command", &outside)] {
        for (delivery, rate, speed) in
            [(r#"{"mode":"burst"}"#, 48_000, 0.5), (r#"{"mode":"paced","aheadMs":60000}"#, 16_000, 2.0)]
        {
            for last in [r#"{"type":"pause"}"#, r#"{"type":"ping"}"#] {
                let mut server = Command::new(env!("CARGO_BIN_EXE_aloud"));
                server.args(["serve", "--listen=127.0.0.1:0", "--engine", engine]).args(more).env_clear();
                server.env("PATH", std::env::var_os("PATH").unwrap());
                let server = Serving::start(server.stderr(Stdio::null())).await;
                serves_some(server.addr).await;
                let before = server.resident_bytes();
                let mut listeners = Vec::new();
                for _ in 0..IDLE_LISTENERS {
                    let (mut listener, _) = v1(server.addr).await;
                    let start = format!(
                        r#"{{"type":"start_session","prompt":"{}","speed":{speed},"delivery":{delivery},
                            "audio":{{"sampleRate":{rate}}}}}"#,
                        "The tide comes in twice a day, and the boats rise with it. ".repeat(200)
                    );
                    listener.say(&start).await;
                    listener.say(last).await;
                    listeners.push(listener);
                }
                // Until nothing grows any more.
                let mut looks = interval(Duration::from_millis(500));
                let (mut figures, mut still) = ((0, 0), 0);
                while still < 4 {
                    looks.tick().await;
                    let now = (server.resident_bytes(), kernel_bytes(server.addr).unwrap());
                    still =
                        if now.0.max(now.1) > figures.0.max(figures.1) + 64 * 1024 { 0 } else { still + 1 };
                    figures = now;
                }
                let each = (figures.0.saturating_sub(before) / IDLE_LISTENERS, figures.1 / IDLE_LISTENERS);
                println!(
                    "{engine} {delivery} {rate} Hz {last}: {} KiB, kernel {} KiB",
                    each.0 / 1024,
                    each.1 / 1024
                );
                assert!(each.0 < SERVER_BYTES, "{engine} {delivery} {rate} Hz {last}: {} bytes each", each.0);
                assert!(
                    each.1 < KERNEL_BYTES,
                    "{engine} {delivery} {rate} Hz {last}: {} in the kernel",
                    each.1
                );
            }
        }
    }
}

/// Has some audio, so that what a server allocates once is there.
async fn serves_some(addr: SocketAddr) {
    let mut client = session(addr).await;
    client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
    client.read_until("binary").await;
}
