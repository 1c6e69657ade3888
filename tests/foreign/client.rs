//! Clients that nobody here wrote run a whole base session: `ws` for Node, `websockets` for Python.
//!
//! `.ci/foreign-clients` installs them and says by environment variables where they are; without
//! these a test says that it is skipped, so that `cargo test` needs nothing but Rust.

use std::ffi::OsString;
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
    // A minute of audio in each sentence is more than socket buffers may hold: the pause comes in
    // the middle.
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

/// What `.ci/foreign-clients` says of a client. Without it the test is skipped, with its name, but
/// for where everything has been installed to be tested.
fn installed(variable: &str, test: &str) -> Option<OsString> {
    let found = std::env::var_os(variable);
    if found.is_none() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{variable} is not set: run .ci/foreign-clients"
        );
        eprintln!("skipped {test}: {variable} is not set, see .ci/foreign-clients");
    }
    found
}

#[test]
fn node_ws_runs_a_whole_session() {
    if installed("ALOUD_TEST_NODE_PATH", "node_ws_runs_a_whole_session").is_some() {
        let mut node = Command::new("node");
        node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/session.mjs"));
        session(node);
    }
}

#[test]
fn python_websockets_runs_a_whole_session() {
    if let Some(python) = installed("ALOUD_TEST_PYTHON", "python_websockets_runs_a_whole_session") {
        let mut python = Command::new(python);
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/session.py"));
        session(python);
    }
}
