//! Independent clients run a whole base session: `ws` for Node, `websockets` for Python.

use crate::support::skip;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The built binary, serving with the tone engine; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve() -> (Server, String) {
    // Each sentence is too long for the socket buffers, so that the pause comes in the middle.
    let mut child = Command::new(env!("CARGO_BIN_EXE_aloud"))
        .args(["serve", "--listen=127.0.0.1:0", "--engine=tone", "--tone-seconds=120", "--sample-rate=48000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
    (Server(child), format!("ws://{address}/api/session/ws"))
}

fn session(mut client: Command) {
    let (_server, url) = serve();
    let output = client.arg(url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["sentences"], 3);
    assert_eq!(figures["bytes"], 3 * 120 * 48_000 * 2);
    assert_eq!(figures["frames"], 3 * 120 * 1_000 / 40);
    assert_eq!(figures["pausedMidStream"], true);
}

#[test]
fn node_ws_runs_a_whole_session() {
    if std::env::var_os("ALOUD_TEST_NODE_PATH").is_none() {
        return skip("node_ws_runs_a_whole_session", "ALOUD_TEST_NODE_PATH");
    }
    let mut node = Command::new("node");
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/session.mjs"));
    session(node);
}

#[test]
fn python_websockets_runs_a_whole_session() {
    let Some(python) = std::env::var_os("ALOUD_TEST_PYTHON") else {
        return skip("python_websockets_runs_a_whole_session", "ALOUD_TEST_PYTHON");
    };
    let mut python = Command::new(python);
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/session.py"));
    session(python);
}
