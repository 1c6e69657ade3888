//! An independent mock of a language model: `llmock` from PyPI, with its faults enabled, and its own
//! verdict on how the server handled them.

use crate::support::{self, Frame, messages, start_writing, v1, within};
use aloud::Config;
use aloud::script::{Chat, ChatSettings};
use aloud::tts::Tone;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The program; killed when dropped.
struct Mock {
    child: Child,
    address: String,
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mock {
    fn start() -> Option<Mock> {
        let Some(program) = std::env::var_os("ALOUD_TEST_LLMOCK") else {
            support::skip("llmock_faults_are_handled", "ALOUD_TEST_LLMOCK");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["serve", "--host=127.0.0.1", "--port=0", "--stream-chunk-delay-ms=5"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.split_once("running on http://")?.1.split(' ').next().unwrap().to_owned())
        });
        // It keeps logging, and its pipe must stay open.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Mock { child, address: address.expect("the program prints its address") })
    }

    /// Asks its control interface.
    async fn control(&self, request: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = within(TcpStream::connect(&self.address)).await.unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        within(stream.write_all(head.as_bytes())).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{request} gave {answer}"))
    }
}

fn spoken(frames: &[Frame]) -> String {
    let texts = messages(frames).into_iter().filter(|message| message["type"] == "text");
    texts.map(|message| message["data"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn llmock_faults_are_handled() {
    let Some(mock) = Mock::start() else { return };
    let engine = Arc::new(Tone::new(support::FORMAT, 0.1));
    let settings = ChatSettings {
        timeout: Duration::from_millis(1_500),
        ..ChatSettings::new(format!("http://{}/v1", mock.address), "gpt-4o")
    };
    let server = start_writing(Config::default(), engine, Arc::new(Chat::new(settings).unwrap())).await;

    let text = "Tea is hot. It is green. It is good for you.";
    let reply = json!({"type": "reply", "text": text});
    let fault = |kind: &str| json!({"type": "stream_fault", "kind": kind, "after_chunks": 4});
    let mut stall = fault("stall");
    stall["stall_seconds"] = json!(30);
    // The fault, the part of the text that is heard, and the code of the error.
    let table = [
        (vec![], text, None),
        (vec![json!({"type": "slow_first_token", "seconds": 0.7})], text, None),
        (vec![json!({"type": "fail", "status": 429, "retry_after": 1})], text, None),
        (vec![json!({"type": "fail", "status": 503})], text, None),
        (vec![json!({"type": "fail", "status": 401})], "", Some("llm_failed")),
        (vec![json!({"type": "fail", "status": 400})], "", Some("llm_failed")),
        (vec![json!({"type": "fail", "status": 500})], "", Some("llm_failed")),
        (vec![json!({"type": "delay", "seconds": 30})], "", Some("llm_timeout")),
        (vec![fault("disconnect")], "Tea is hot.", Some("llm_failed")),
        (vec![fault("truncate")], "Tea is hot.", Some("llm_failed")),
        (vec![fault("malformed")], "Tea is hot.", Some("llm_failed")),
        (vec![stall], "Tea is hot.", Some("llm_timeout")),
    ];
    for (behaviors, heard, code) in table {
        mock.control("DELETE /_llmock/scenario", &Value::Null).await;
        let name = format!("{behaviors:?}");
        let behaviors = [behaviors, vec![reply.clone()]].concat();
        let queued = mock.control("POST /_llmock/scenario", &json!({"behaviors": behaviors})).await;
        assert_eq!(queued["queued"], behaviors.len(), "{name}: {queued}");
        let (mut client, _) = v1(server.addr).await;
        let ask = json!({"type": "start_session", "source": "llm", "prompt": format!("Tea? {name}")});
        client.say(&ask.to_string()).await;
        let frames = client.read_until("session_end").await;
        let all = messages(&frames);
        let error = all.iter().find(|message| message["type"] == "error");
        assert_eq!(error.map(|error| error["code"].as_str().unwrap()), code, "{name}: {all:?}");
        assert!(
            spoken(&frames) == heard
                || code.is_some() && !heard.is_empty() && spoken(&frames).starts_with(heard),
            "{name}: {all:?}"
        );
        drop(client);
    }
    server.is_quiet().await;
    assert_eq!(server.service.scripts().count(), 0);
    let verdict = mock.control("GET /_llmock/verdict", &Value::Null).await;
    // Its other complaint does not apply: a client whose text is already heard must not retry in the
    // middle of an answer.
    let faults = verdict["findings"].as_array().unwrap();
    let serious = ["retry_after_ignored", "retried_non_retryable", "retry_storm", "no_read_timeout"];
    let found: Vec<_> = faults
        .iter()
        .filter(|finding| serious.iter().any(|kind| finding.to_string().contains(kind)))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
