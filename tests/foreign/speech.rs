//! OpenAI's SDKs ask for speech, and FFmpeg decodes every format.

use crate::support::{Serving, skip};
use tokio::process::Command;

async fn run(mut client: Command) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    let server = Serving::start(command.args(["serve", "--listen=127.0.0.1:0"])).await;
    let output = client.arg(format!("http://{}", server.addr)).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn openai_for_python_and_ffmpeg_hear_every_format() {
    let Some(python) = std::env::var_os("ALOUD_TEST_OPENAI_PYTHON") else {
        return skip("openai_for_python_and_ffmpeg_hear_every_format", "ALOUD_TEST_OPENAI_PYTHON");
    };
    let mut client = Command::new(python);
    client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/speech.py"));
    let figures = run(client).await;
    for format in [
        "wav",
        "pcm",
        #[cfg(feature = "mp3")]
        "mp3",
        #[cfg(feature = "opus")]
        "opus",
    ] {
        assert!(figures[format]["seconds"].as_f64() > Some(3.0), "{format}: {figures}");
    }
}

#[tokio::test]
async fn openai_for_node_speaks() {
    if std::env::var_os("ALOUD_TEST_OPENAI_NODE_PATH").is_none() {
        return skip("openai_for_node_speaks", "ALOUD_TEST_OPENAI_NODE_PATH");
    }
    let mut client = Command::new("node");
    client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/speech.mjs"));
    assert!(run(client).await["wav"].as_u64() > Some(10_000));
}
