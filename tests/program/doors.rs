//! The program's doors: addresses that other machines can reach, hosts, the environment of its engines, and what
//! peers write into its log.

use crate::support::{
    Frame, PATIENCE, Raw, Serving, V1, close, messages, opening, opening_with, raw, session,
};
use aloud::PATH;
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};

fn aloud(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program with inherited sockets: descriptor 3 is this one, and has this name.
fn activated(socket: impl Into<OwnedFd>, name: &str, args: &[&str]) -> tokio::process::Command {
    let mut command = Command::new("sh");
    // LISTEN_PID has to be the number of the process itself, which `exec` keeps.
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_aloud")]).args(args);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LISTEN_FDNAMES", name);
    command.stdin(Stdio::from(socket.into())).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    command
}

fn refused(output: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(output.stdout, b"", "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part} in {stderr}");
    }
}

const SERVE: [&str; 4] = ["serve", "--engine=tone", "--tone-seconds=0.1", "--no-warm-up"];

#[tokio::test]
async fn public_socket_from_systemd_needs_a_credential() {
    let bound = || {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        (listener, addr)
    };
    let tokens = std::env::temp_dir().join(format!("aloud-doors-tokens-{}", std::process::id()));
    std::fs::write(&tokens, format!("{} a\n", "0".repeat(64))).unwrap();
    let auth_tokens = format!("--auth-tokens={}", tokens.display());
    let guarded = [&SERVE[..], &["--auth=token", &auth_tokens]].concat();
    for (name, args) in [
        ("aloud.socket", &SERVE[..]),
        ("unknown", &SERVE),
        ("", &SERVE),
        ("aloud.socket", &[&SERVE[..], &["--listen=127.0.0.1:0"]].concat()),
        // No credential protects the operator's door.
        ("admin", &SERVE),
        ("admin", &guarded),
    ] {
        let (socket, addr) = bound();
        let mut command = activated(socket, name, args);
        let output =
            tokio::time::timeout(PATIENCE, command.output()).await.expect("refused at once").unwrap();
        refused(&output, &[&format!("the socket {addr} of LISTEN_FDS"), "--insecure"]);
    }
    // With a credential, or --insecure, or on loopback, it is served.
    let (public, addr) = bound();
    let port = addr.rsplit_once(':').unwrap().1.to_owned();
    let (insecure, _) = bound();
    let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
    for (socket, args) in [
        (public, guarded.clone()),
        (insecure, [&SERVE[..], &["--insecure"]].concat()),
        (loopback, [&SERVE[..], &["--listen=0.0.0.0:1"]].concat()),
    ] {
        let mut child = activated(socket, "aloud.socket", &args).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("in time").unwrap();
        assert!(line.starts_with("listening on http://"), "{args:?} {port}: {line}");
    }
    std::fs::remove_file(&tokens).unwrap();
}

#[test]
fn public_address_needs_a_credential_at_each_door() {
    for (arg, door) in [
        ("--listen=0.0.0.0:0", "--listen 0.0.0.0:0"),
        ("--listen=[::]:0", "--listen [::]:0"),
        ("--admin=0.0.0.0:0", "--admin 0.0.0.0:0"),
        ("--admin=[::]:0", "--admin [::]:0"),
    ] {
        let output = aloud(&[&SERVE[..], &["--listen=127.0.0.1:0", arg]].concat()).output().unwrap();
        refused(&output, &[door, "--insecure"]);
    }
    let output =
        aloud(&[&SERVE[..], &["--listen=127.0.0.1:0"]].concat()).env("ALOUD_ADMIN", "0.0.0.0:0").output();
    refused(&output.unwrap(), &["--admin 0.0.0.0:0"]);
}

async fn status(addr: SocketAddr, host: &str, path: &str) -> u16 {
    let mut client = raw(addr).await;
    let head = String::from_utf8(opening(addr, path)).unwrap();
    client.send_bytes(head.replace(&format!("Host: {addr}"), &format!("Host: {host}")).as_bytes()).await;
    client.read_head().await.status
}

#[tokio::test]
async fn host_option_lists_hosts_of_serve_and_echo() {
    let serving = |args: &[&str], variable: &str| {
        let mut command = tokio::process::Command::from(aloud(args));
        if !variable.is_empty() {
            command.env("ALOUD_HOST", variable);
        }
        command
    };
    for (command, path) in [(&SERVE[..], PATH), (&["echo"], "/any")] {
        for (args, variable, expected) in [
            (&[][..], "", [421, 421, 101]),
            (&["--host=a.example"], "", [101, 421, 101]),
            (&["--host", "a.example,b.example"], "", [101, 101, 101]),
            (&["--host=a.example", "--host=b.example"], "", [101, 101, 101]),
            (&["--host=*"], "", [101, 101, 101]),
            (&[], "b.example", [421, 101, 101]),
            (&["--host=a.example"], "b.example", [101, 421, 101]),
        ] {
            let args = [command, &["--listen=127.0.0.1:0"], args].concat();
            let server = Serving::start(&mut serving(&args, variable)).await;
            let mut found = [0; 3];
            for (status_of, host) in found.iter_mut().zip(["a.example:80", "B.Example", "localhost"]) {
                *status_of = status(server.addr, host, path).await;
            }
            assert_eq!(found, expected, "{args:?} {variable}");
        }
    }
    for (value, expected) in [
        ("https://a.example", "leave out the scheme"),
        ("a.example:80", "leave out the port"),
        ("*.example", "there are no patterns"),
        ("", "this is no host name"),
    ] {
        let output = aloud(&["serve", &format!("--host={value}")]).output().unwrap();
        refused(&output, &["--host cannot be", expected]);
    }
}

/// Programs get the environment of the server, but no key of it.
#[tokio::test]
async fn engine_programs_do_not_inherit_keys() {
    let folder = std::env::temp_dir().join(format!("aloud-doors-env-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("said");
    let program =
        format!("sh -c 'env >{}; head -c 1600 /dev/zero | tr \"\\\\0\" A; cat >/dev/null'", file.display());
    let args =
        ["serve", "--listen=127.0.0.1:0", "--no-warm-up", "--engine=command", "--engine-encoding=pcm_s16le"];
    let mut command = aloud(&[&args[..], &["--command", &program]].concat());
    let secrets = ["ALOUD_ENGINE_KEY", "ALOUD_LLM_KEY", "ALOUD_TOKEN"];
    for name in secrets {
        command.env(name, "sk-tea");
    }
    command.env("ALOUD_FRAME_MS", "20").env("SPEAKER", "front");
    let server = Serving::start(&mut tokio::process::Command::from(command)).await;
    let mut client = session(server.addr).await;
    client.say(r#"{"type":"start_session","prompt":"One."}"#).await;
    let frames = client.read_until("session_end").await;
    let said = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{why}: {:?}", messages(&frames)));
    assert!(!said.contains("sk-tea"), "{said}");
    for name in ["SPEAKER=front", "ALOUD_FRAME_MS=20", "PATH="] {
        assert!(said.contains(name), "{name}: {said}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn placeholder_in_the_script_of_a_shell_is_refused_at_start() {
    for command in [
        "sh -c 'espeak-ng \"{text}\" | sox'",
        "bash -ec 'x {voice}'",
        "env sh -c {text}",
        "busybox sh -c {text}",
    ] {
        for args in [&["serve", "--listen=127.0.0.1:0"][..], &["say", "One."]] {
            let args = [args, &["--engine=command", "--voices=a", "--command", command]].concat();
            refused(
                &aloud(&args).output().unwrap(),
                &["--command cannot be", "'… \"$1\"'", "client's text would run"],
            );
        }
    }
}

/// Ends a session with this reason, and returns the log lines so far.
async fn reason_in_the_log(format: &str, reason: &str) -> String {
    let log = format!("--log-format={format}");
    let mut command =
        tokio::process::Command::from(aloud(&[&SERVE[..], &["--listen=127.0.0.1:0", &log]].concat()));
    let mut server = Serving::start(&mut command).await;
    let mut stderr = BufReader::new(server.child.stderr.take().unwrap());
    let mut client: Raw = session(server.addr).await;
    client.send_bytes(&close(1000, reason)).await;
    assert!(matches!(client.read_frame().await, Frame::Close(_)));
    let mut line = Vec::new();
    let reading = async {
        while !line.windows(13).any(|part| part == b"session ended") {
            line.clear();
            assert_ne!(stderr.read_until(b'\n', &mut line).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a line");
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn reason_of_a_peer_is_escaped_in_the_log() {
    let reason = "bye\u{1b}[2J\u{9b}31m\u{85}\u{202e}gnp\u{2066}\u{200b}\u{feff}\u{e0041}\u{7f}";
    let text = reason_in_the_log("text", reason).await;
    let json = reason_in_the_log("json", reason).await;
    for line in [&text, &json] {
        let raw: Vec<char> = line.trim_end().chars().filter(|c| !matches!(c, ' '..='~')).collect();
        assert!(raw.is_empty(), "{raw:?} in {line:?}");
        assert!(
            line.contains("\\u009b31m\\u0085\\u202egnp\\u2066\\u200b\\ufeff\\udb40\\udc41\\u007f"),
            "{line}"
        );
    }
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["reason"], reason);
}

/// A refused request reaches the log escaped, too.
#[tokio::test]
async fn client_of_aloud_v1_behind_a_proxy_cannot_write_into_the_log() {
    let args =
        [&SERVE[..], &["--listen=127.0.0.1:0", "--log-level=debug", "--trusted-proxy=127.0.0.1"]].concat();
    let mut server = Serving::start(&mut tokio::process::Command::from(aloud(&args))).await;
    let mut stderr = BufReader::new(server.child.stderr.take().unwrap());
    let mut client = raw(server.addr).await;
    let lines =
        format!("{V1}Origin: http://\u{202e}evil\r\nUser-Agent: \u{9b}2J\r\nX-Forwarded-For: \u{9b}\r\n");
    client.send_bytes(&opening_with(server.addr, &format!("{PATH}?\u{202e}"), &lines)).await;
    assert!([400, 403].contains(&client.read_head().await.status));
    let mut line = Vec::new();
    let reading = async {
        while !line.windows(7).any(|part| part == b"refused") {
            line.clear();
            assert_ne!(stderr.read_until(b'\n', &mut line).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a line");
    assert!(line.trim_ascii_end().iter().all(|byte| (b' '..=b'~').contains(byte)), "{}", line.escape_ascii());
}
