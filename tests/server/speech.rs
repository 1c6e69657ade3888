//! `POST /v1/audio/speech` and its lists, as programs see them that know this API.

use crate::support::{
    Asked, FORMAT, Frame, Raw, Running, Scripted, audio, over_memory, raw, socket_from, start_with, within,
};
use aloud::settings::{Admission, Auth};
use aloud::tts::{Flite, SynthesisError, Tone, Word};
use aloud::{Config, Service};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::time::Instant;

const SPEECH: &str = "/v1/audio/speech";

/// An answer: its head, its body, and true if the body came whole.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_whole: bool,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn message(&self) -> String {
        let error = &self.json()["error"];
        for field in ["type", "param", "code"] {
            assert!(error.get(field).is_some(), "{field} of {error}");
        }
        error["message"].as_str().unwrap().to_owned()
    }

    /// The events of a stream of them.
    fn events(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        let text = str::from_utf8(&self.body).unwrap();
        let events = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
        events.map(|event| serde_json::from_str(event).unwrap()).collect()
    }
}

/// The request for this body, with these additional header lines, each with its line end.
fn request(more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n{body}")
        .into_bytes()
}

fn bare(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes()
}

/// Reads an answer. A body in chunks that breaks off is not whole.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>) -> Answer {
    let head = client.read_head().await;
    let (body, is_whole) = match head.header("content-length") {
        Some(length) => (client.read_exact(length.parse().unwrap()).await, true),
        None if head.status == 204 => (Vec::new(), true),
        None => {
            assert_eq!(head.header("transfer-encoding").as_deref(), Some("chunked"));
            read_chunks(client).await
        }
    };
    let headers = head.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Answer { status: head.status, headers, body, is_whole }
}

async fn read_chunks<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(chunk) = read_chunk(client).await {
        if chunk.is_empty() {
            return (body, true);
        }
        body.extend(chunk);
    }
    (body, false)
}

/// The next chunk, empty at the end of the body; `None` if the connection ends.
async fn read_chunk<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Raw<S>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.read_some(1).await?);
    }
    let length = usize::from_str_radix(str::from_utf8(&line).unwrap().trim(), 16).unwrap();
    let chunk = client.read_some(length).await?;
    assert_eq!(client.read_some(2).await?, b"\r\n");
    Some(chunk)
}

async fn ask(server: &Running, bytes: &[u8]) -> Answer {
    let mut client = raw(server.addr).await;
    client.send_bytes(bytes).await;
    read(&mut client).await
}

async fn speak(server: &Running, body: Value) -> Answer {
    ask(server, &request("", &body.to_string())).await
}

/// A server whose sentences are a tenth of a second of tone.
async fn tone(config: Config) -> Running {
    start_with(config, Arc::new(Tone::new(FORMAT, 0.1))).await
}

async fn scripted(config: Config) -> (Running, Asked) {
    let (engine, asked) = Scripted::new();
    (start_with(config, engine).await, asked)
}

const TEXT: &str = "Good evening. The *kettle* is on, and we leave at 9:30.\n\nIs that all right?";

#[tokio::test]
async fn speech_is_that_of_a_session() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut session, _) = crate::support::v1(server.addr).await;
    let start = json!({"type": "start_session", "prompt": TEXT, "clean": "markdown"});
    session.say(&start.to_string()).await;
    let expected = audio(&session.read_until("session_end").await);
    let answer = speak(&server, json!({"input": TEXT, "response_format": "wav"})).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("audio/wav")));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.header("x-sample-rate"), Some("16000"));
    assert_eq!(answer.header("content-encoding"), None);
    assert!(answer.header("x-request-id").is_some());
    assert!(answer.is_whole && answer.body[44..] == expected, "the same samples");
    assert_eq!(answer.body[40..44], [0xff; 4], "of unknown length");
    let events = speak(
        &server,
        json!({"input": TEXT, "response_format": "wav", "stream_format": "sse", "timestamps": "word"}),
    )
    .await
    .events();
    let parts = events.iter().filter(|event| event["type"] == "speech.audio.delta");
    let parts = parts.flat_map(|event| STANDARD.decode(event["audio"].as_str().unwrap()).unwrap());
    assert!(parts.collect::<Vec<_>>() == answer.body, "the same in events");
    let timed = events.iter().filter(|event| event["type"] == "speech.text.words");
    let timed: Vec<&Value> = timed.flat_map(|event| event["words"].as_array().unwrap()).collect();
    let words: Vec<_> = timed.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(words.join(" "), TEXT.replace('*', "").replace("\n\n", " "));
    let times: Vec<f64> = timed.iter().map(|word| word["start"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let done = events.last().unwrap();
    let seconds = (answer.body.len() - 44) as f64 / 32_000.0;
    assert!((timed.last().unwrap()["end"].as_f64().unwrap() - seconds).abs() < 0.3);
    assert_eq!(done["type"], "speech.audio.done");
    assert_eq!(done["usage"]["audio_ms"], (seconds * 1_000.0) as u64);
    let characters = TEXT.chars().count();
    assert_eq!(
        (&done["usage"]["characters"], &done["usage"]["input_tokens"]),
        (&json!(characters), &json!(characters))
    );
    let total =
        done["usage"]["input_tokens"].as_u64().unwrap() + done["usage"]["output_tokens"].as_u64().unwrap();
    assert_eq!(done["usage"]["total_tokens"], total);
}

#[tokio::test]
async fn fields_decide_on_the_audio() {
    let server = tone(Config::default()).await;
    let table = [
        // Body, samples per second, samples.
        (json!({"input": "One.", "response_format": "pcm"}), "24000", 2_400),
        (json!({"input": "One. Two!", "response_format": "pcm"}), "24000", 4_800),
        (json!({"input": "One.", "response_format": "pcm", "sample_rate": 8_000}), "8000", 800),
        (json!({"input": "One.", "response_format": "pcm", "sample_rate": 44_100}), "44100", 4_410),
        (json!({"input": "One.", "response_format": "pcm", "speed": 0.25}), "24000", 9_600),
        (json!({"input": "One.", "response_format": "pcm", "speed": 4}), "24000", 600),
        // Signs that are words are a sentence too, behind the pause between paragraphs.
        (json!({"input": "One.\n\n★★★★☆", "response_format": "pcm"}), "24000", 13_920),
        // Without a word there is a little silence.
        (json!({"input": ".", "response_format": "pcm"}), "24000", 4_800),
        (json!({"input": "👍 …", "response_format": "pcm"}), "24000", 4_800),
    ];
    for (body, rate, samples) in table {
        let answer = speak(&server, body.clone()).await;
        assert_eq!((answer.status, answer.body.len()), (200, 2 * samples), "{body}");
        assert_eq!(answer.header("x-sample-rate"), Some(rate), "{body}");
        assert_eq!(answer.header("content-type"), Some("audio/pcm"));
        assert_eq!(answer.header("x-aloud-speed"), None);
    }
    let known = speak(&server, json!({"input": "One.", "response_format": "wav"})).await;
    assert_eq!(known.header("content-length"), Some("1644"), "all of it is known at once");
    assert_eq!(known.body[40..44], 1_600u32.to_le_bytes());
}

#[tokio::test]
async fn speed_beyond_the_engine_is_brought_within_its_range() {
    let (server, mut asked) = scripted(Config::default()).await;
    let mut client = raw(server.addr).await;
    for (speed, expected) in [(0.25, 0.5), (4.0, 2.0), (1.5, 1.5)] {
        client.send_bytes(&request("", &json!({"input": "One.", "speed": speed}).to_string())).await;
        let (utterance, mut sink) = within(asked.recv()).await.unwrap();
        assert_eq!(utterance.speed, expected);
        sink.write(&[1; 800]).await.unwrap();
        sink.finish().await;
        let answer = read(&mut client).await;
        let shown = answer.header("x-aloud-speed").map(|speed| speed.parse::<f32>().unwrap());
        assert_eq!(shown, (speed as f32 != expected).then_some(expected));
    }
}

#[tokio::test]
async fn voices_have_many_names() {
    let config = Config::default().with(|c| c.voice_map = vec!["anna=kal16-high".parse().unwrap()]);
    let server = start_with(config, Arc::new(Flite::new())).await;
    let pcm = |voice: Value| json!({"input": "Tea?", "response_format": "pcm", "voice": voice});
    let default = speak(&server, pcm(Value::Null)).await.body;
    let high = speak(&server, pcm(json!("kal16-high"))).await.body;
    assert_ne!(default, high);
    assert!(speak(&server, pcm(json!("anna"))).await.body == high);
    assert!(speak(&server, pcm(json!({"id": "kal16-high"}))).await.body == high);
    for name in ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage"]
    {
        assert_eq!(speak(&server, pcm(json!(name))).await.status, 200, "{name}");
    }
    let unknown = speak(&server, pcm(json!("joe"))).await;
    assert_eq!((unknown.status, unknown.json()["error"]["param"].as_str()), (400, Some("voice")));
    assert!(unknown.message().contains("kal16-low"), "{}", unknown.message());
    let list = ask(&server, &bare("GET", "/v1/audio/voices", "")).await.json();
    let voices = list["voices"].as_array().unwrap();
    let ids: Vec<_> = voices.iter().map(|voice| voice["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..5], ["kal16", "kal16-low", "kal16-high", "anna", "alloy"]);
    assert!(voices.iter().all(|voice| voice["name"] == voice["id"]));
}

#[tokio::test]
async fn wrong_request_gets_the_error_of_the_api() {
    let server = tone(Config::default().with(|c| c.max_speech_bytes = 2_000)).await;
    let long = json!({"input": "a".repeat(2_000)}).to_string();
    let table = [
        ("", "{", 400, "not valid JSON"),
        ("", r#"{"input":""}"#, 400, "input is empty"),
        ("", r#"{"input":"a","response_format":"mid"}"#, 400, "response_format must be"),
        ("", r#"{"input":"a","response_format":"flac"}"#, 400, "wav"),
        ("", r#"{"input":"a","speed":9}"#, 400, "speed must be a number from 0.25 to 4.0"),
        ("", r#"{"input":"a","sample_rate":9000}"#, 400, "Ask for a sample_rate of 8000"),
        ("", &long, 413, "(limit 2000 bytes)"),
        ("Origin: http://evil.example\r\n", r#"{"input":"a"}"#, 403, "--allow-origin"),
        ("Content-Encoding: gzip\r\n", "\x1f\x08", 415, "is compressed"),
        ("Content-Encoding: identity\r\n", "{", 400, "not valid JSON"),
    ];
    for (more, body, status, expected) in table {
        let answer = ask(&server, &request(more, body)).await;
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some());
        assert!(answer.message().contains(expected), "{body}: {}", answer.message());
    }
    let chunked = format!(
        "POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    assert_eq!(ask(&server, chunked.as_bytes()).await.status, 413);
    let zipped = chunked.replace("chunked", "gzip, chunked");
    assert_eq!(ask(&server, zipped.as_bytes()).await.status, 415);
    let get = ask(&server, &bare("GET", SPEECH, "")).await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST, OPTIONS")));
    let off = tone(Config::default().with(|c| c.speech_api = false)).await;
    for (method, path) in [("POST", SPEECH), ("GET", "/v1/models"), ("OPTIONS", SPEECH)] {
        let more = "Content-Length: 0\r\n";
        assert!([404, 405].contains(&ask(&off, &bare(method, path, more)).await.status), "{method} {path}");
    }
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_ask() {
    let origin = "https://app.example";
    let admission = Admission::default().with(|a| a.allow_origins = vec![origin.parse().unwrap()]);
    let server = tone(Config::default().with(|c| c.admission = admission)).await;
    let page = format!("Origin: {origin}\r\n");
    let preflight = format!(
        "{page}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, x-stainless-os\r\n"
    );
    let answer = ask(&server, &bare("OPTIONS", SPEECH, &preflight)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, x-stainless-os"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
    let spoken = ask(&server, &request(&page, r#"{"input":"One."}"#)).await;
    let wrong = ask(&server, &request(&page, "{")).await;
    let list = ask(&server, &bare("GET", "/v1/audio/voices", &page)).await;
    assert_eq!((spoken.status, wrong.status, list.status), (200, 400, 200));
    for answer in [answer, spoken, wrong, list] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    let other = "Origin: https://evil.example\r\n";
    for bytes in [bare("OPTIONS", SPEECH, other), request(other, r#"{"input":"One."}"#)] {
        let answer = ask(&server, &bytes).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    }
}

#[tokio::test]
async fn credential_is_needed_for_speech_and_models_and_not_for_voices() {
    // The SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let file = std::env::temp_dir().join(format!("aloud-speech-{}", std::process::id()));
    std::fs::write(&file, format!("{SECRET} alice\n")).unwrap();
    let admission = Admission::default().with(|a| a.auth = Auth::Tokens(file.clone()));
    let server = tone(Config::default().with(|c| c.admission = admission)).await;
    std::fs::remove_file(&file).unwrap();
    let key = "Authorization: Bearer secret\r\n";
    let body = r#"{"input":"One.","response_format":"pcm"}"#;
    for (more, expected) in [(key, 200), ("", 401), ("Authorization: Bearer \r\n", 401)] {
        assert_eq!(ask(&server, &request(more, body)).await.status, expected, "{more}");
        assert_eq!(ask(&server, &bare("GET", "/v1/models", more)).await.status, expected, "{more}");
        assert_eq!(ask(&server, &bare("GET", "/v1/audio/voices", more)).await.status, 200);
        assert_eq!(ask(&server, &bare("GET", "/v1/audio/models", more)).await.status, 200);
    }
    // Refused by its head alone.
    let mut client = raw(server.addr).await;
    let head = format!("POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n");
    client.send_bytes(head.as_bytes()).await;
    let answer = read(&mut client).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    // Where none is required, an empty one passes.
    let open = tone(Config::default()).await;
    assert_eq!(ask(&open, &request("Authorization: Bearer \r\n", body)).await.status, 200);
    let models = ask(&open, &bare("GET", "/v1/models", "")).await.json();
    assert_eq!((&models["object"], &models["data"][0]["object"]), (&json!("list"), &json!("model")));
    assert_eq!(ask(&open, &bare("GET", "/v1/models/kokoro", "")).await.json()["id"], "kokoro");
    assert_eq!(ask(&open, &bare("GET", "/v1/audio/models", "")).await.json()["models"][0]["id"], "tts-1");
}

#[tokio::test]
async fn connection_carries_one_request_after_the_other() {
    let server = tone(Config::default()).await;
    let body = request("", r#"{"input":"One.","response_format":"pcm"}"#);
    let mut client = raw(server.addr).await;
    // More than a peer may send that asks for nothing to be spoken.
    for _ in 0..120 {
        client.send_bytes(&body).await;
        assert_eq!(read(&mut client).await.body.len(), 4_800);
    }
    // Sent at once, answered in order.
    client.send_bytes(&[&body[..], &request("", "{"), &body].concat()).await;
    for status in [200, 400, 200] {
        assert_eq!(read(&mut client).await.status, status);
    }
    client.send_bytes(&request("Connection: close\r\n", r#"{"input":"One.","response_format":"pcm"}"#)).await;
    assert_eq!(read(&mut client).await.status, 200);
    assert_eq!(client.read_to_close().await, b"");
    server.is_quiet().await;
}

#[tokio::test]
async fn expect_100_is_answered_before_the_body() {
    let server = tone(Config::default()).await;
    let body = r#"{"input":"One.","response_format":"pcm"}"#;
    let mut client = raw(server.addr).await;
    let bytes = request("Expect: 100-continue\r\n", body);
    client.send_bytes(&bytes[..bytes.len() - body.len()]).await;
    assert_eq!(client.read_head().await.status, 100);
    client.send_bytes(body.as_bytes()).await;
    assert_eq!(read(&mut client).await.status, 200);
}

#[tokio::test]
async fn first_audio_leaves_before_the_next_sentence_is_synthesised() {
    let (server, mut asked) = scripted(Config::default().with(|c| c.prefetch = 1)).await;
    let mut client = raw(server.addr).await;
    client.send_bytes(&request("", r#"{"input":"One. Two.","response_format":"wav"}"#)).await;
    let (utterance, mut first) = within(asked.recv()).await.unwrap();
    assert_eq!((&*utterance.text, &*utterance.client), ("One.", "127.0.0.1"), "fair by client");
    first.write(&[7; 800]).await.unwrap();
    assert_eq!(client.read_head().await.status, 200);
    let mut got = Vec::new();
    while got.len() < 44 + 640 {
        got.extend(read_chunk(&mut client).await.unwrap());
    }
    first.finish().await;
    let (utterance, mut second) = within(asked.recv()).await.unwrap();
    assert_eq!(utterance.previous_text, "One.");
    second.write(&[7; 800]).await.unwrap();
    second.finish().await;
    let (rest, is_whole) = read_chunks(&mut client).await;
    assert!(is_whole && got.len() + rest.len() == 44 + 3_200);
}

#[tokio::test]
async fn hang_up_stops_the_engine() {
    let (server, mut asked) = scripted(Config::default()).await;
    let body = request("", r#"{"input":"One. Two.","response_format":"pcm","sample_rate":8000}"#);
    // Before the head, in the middle of audio, and with a reset.
    for case in 0..3 {
        let mut client = raw(server.addr).await;
        client.send_bytes(&body).await;
        let (_, mut sink) = within(asked.recv()).await.unwrap();
        let (_, next) = within(asked.recv()).await.unwrap();
        if case > 0 {
            sink.write(&[7; 800]).await.unwrap();
            assert_eq!(client.read_head().await.status, 200);
        }
        match case {
            2 => client.reset(),
            _ => drop(client),
        }
        // The engine is silent meanwhile.
        within(sink.cancelled()).await;
        within(next.cancelled()).await;
        drop((sink, next));
        server.is_quiet().await;
    }
    assert!(server.service.wasted() >= Duration::from_millis(100), "{:?}", server.service.wasted());
    assert!(server.service.metrics().contains("aloud_speech_answers 0\n"));
}

#[tokio::test]
async fn whole_answer_wastes_nothing() {
    for format in ["wav", "pcm", "mp3", "opus"].into_iter().filter(|format| has(format)) {
        let (server, mut asked) = scripted(Config::default()).await;
        let mut client = raw(server.addr).await;
        client
            .send_bytes(&request("", &json!({"input": "One.", "response_format": format}).to_string()))
            .await;
        let (_, mut sink) = within(asked.recv()).await.unwrap();
        // The first samples do not fill a frame of an encoder.
        for _ in 0..40 {
            sink.write(&[7; 100]).await.unwrap();
            sink.drain().await.unwrap();
        }
        sink.finish().await;
        assert!(read(&mut client).await.is_whole, "{format}");
        server.is_quiet().await;
        assert_eq!(server.service.wasted(), Duration::ZERO, "{format}");
    }
}

#[tokio::test]
async fn client_that_reads_nothing_holds_the_engine_and_is_dropped() {
    let config = Config::default().with(|c| c.stall_timeout = Duration::from_millis(300));
    let server = tone(config).await;
    let mut client = raw(server.addr).await;
    let text = "One. ".repeat(20_000);
    client.send_bytes(&request("", &json!({"input": text, "response_format": "pcm"}).to_string())).await;
    assert_eq!(client.read_head().await.status, 200);
    server.is_quiet().await;
    let (body, is_whole) = read_chunks(&mut client).await;
    assert!(!is_whole && body.len() < 20_000 * 4_800, "{}", body.len());
    assert!(server.service.metrics().contains("aloud_speech_answers 0\n"), "it counts no longer");
}

#[tokio::test]
async fn failure_before_the_head_is_a_status() {
    let (server, mut asked) = scripted(Config::default()).await;
    let mut client = raw(server.addr).await;
    for (error, status, retry) in [
        (SynthesisError::failed("It broke."), 502, None),
        (SynthesisError::timeout("It broke."), 504, None),
        (SynthesisError::overloaded("It broke."), 503, Some("5")),
        (SynthesisError::no_audio("It broke."), 422, None),
    ] {
        client.send_bytes(&request("", r#"{"input":"One."}"#)).await;
        let (_, sink) = within(asked.recv()).await.unwrap();
        sink.fail(error).await;
        let answer = read(&mut client).await;
        assert_eq!((answer.status, &*answer.message()), (status, "It broke."));
        assert_eq!(answer.header("retry-after"), retry);
    }
    // An end without audio is a failure too.
    client.send_bytes(&request("", r#"{"input":"One.","stream_format":"sse","timestamps":"word"}"#)).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    sink.words(vec![Word { text_range: 0..4, start: Duration::ZERO, end: Duration::from_millis(60) }]);
    sink.finish().await;
    let answer = read(&mut client).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (422, Some("engine_no_audio")));
    // Signs without a word may be without a sound.
    client.send_bytes(&request("", r#"{"input":"★★★★☆","response_format":"pcm"}"#)).await;
    let (_, sink) = within(asked.recv()).await.unwrap();
    sink.fail(SynthesisError::no_audio("No sound.")).await;
    assert_eq!(read(&mut client).await.status, 200);
}

#[tokio::test]
async fn failure_behind_the_head_breaks_the_answer_off() {
    let (server, mut asked) = scripted(Config::default()).await;
    let failures = [SynthesisError::failed("It broke."), SynthesisError::no_audio("It broke.")];
    for (events, failure) in
        [false, true].into_iter().flat_map(|events| failures.clone().map(|failure| (events, failure)))
    {
        let mut client = raw(server.addr).await;
        let mut body = json!({"input": "One. Two.", "response_format": "pcm", "sample_rate": 8_000});
        if events {
            body["stream_format"] = json!("sse");
        }
        client.send_bytes(&request("", &body.to_string())).await;
        let (_, mut sink) = within(asked.recv()).await.unwrap();
        sink.write(&[7; 800]).await.unwrap();
        sink.finish().await;
        let (_, sink) = within(asked.recv()).await.unwrap();
        sink.fail(failure).await;
        let answer = read(&mut client).await;
        assert_eq!(answer.status, 200);
        if events {
            let events = answer.events();
            let error = events.last().unwrap();
            assert_eq!((&error["type"], &error["error"]["message"]), (&json!("error"), &json!("It broke.")));
            assert!(answer.is_whole && events[0]["type"] == "speech.audio.delta");
        } else {
            assert!(!answer.is_whole && answer.body.len() <= 1_600);
        }
    }
}

#[tokio::test]
async fn word_times_of_the_engine_are_those_of_the_whole_audio() {
    let (server, mut asked) =
        scripted(Config::default().with(|c| c.sentence_pause = Some(Duration::from_millis(320)))).await;
    let mut client = raw(server.addr).await;
    let body = json!({"input": "One. Two.", "response_format": "pcm", "sample_rate": 8_000,
                      "stream_format": "sse", "timestamps": "word"});
    client.send_bytes(&request("", &body.to_string())).await;
    for _ in 0..2 {
        let (utterance, mut sink) = within(asked.recv()).await.unwrap();
        assert!(utterance.has_word_times);
        let (start, end) = (Duration::from_millis(10), Duration::from_millis(60));
        sink.words(vec![Word { text_range: 0..4, start, end }]);
        sink.write(&[7_000; 800]).await.unwrap();
        sink.finish().await;
    }
    let events = read(&mut client).await.events();
    let words: Vec<_> = events.iter().filter(|event| event["type"] == "speech.text.words").collect();
    assert_eq!((&words[0]["index"], &words[0]["estimate"]), (&json!(0), &json!(false)));
    assert_eq!(words[0]["words"], json!([{"word": "One.", "start": 0.01, "end": 0.06}]));
    // 100 ms of the first sentence, and 300 ms of the pause.
    assert_eq!(words[1]["words"], json!([{"word": "Two.", "start": 0.41, "end": 0.46}]));
    assert_eq!(words[1]["text"], "Two.");
    assert_eq!(events.last().unwrap()["usage"]["audio_ms"], 500);
}

#[tokio::test]
async fn limits_of_a_client_hold() {
    let admission = Admission::default().with(|a| {
        a.max_client_connections = Some(1);
        a.max_client_chars_per_hour = Some(10);
    });
    let (server, mut asked) = scripted(Config::default().with(|c| c.admission = admission)).await;
    let body = request("", r#"{"input":"One."}"#);
    let mut client = raw(server.addr).await;
    client.send_bytes(&body).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    let refused = ask(&server, &body).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    assert!(refused.message().contains("(limit 1)"), "{}", refused.message());
    // Another client has places of its own.
    let mut other = socket_from("127.0.0.2", server.addr, Duration::from_secs(10)).await;
    other.send_bytes(&body).await;
    let (_, mut theirs) = within(asked.recv()).await.unwrap();
    theirs.write(&[7; 800]).await.unwrap();
    theirs.finish().await;
    assert_eq!(read(&mut other).await.status, 200);
    sink.write(&[7; 800]).await.unwrap();
    sink.finish().await;
    assert_eq!(read(&mut client).await.status, 200);
    server.is_quiet().await;
    // The sentence that goes beyond the quota is the last one.
    client.send_bytes(&request("", r#"{"input":"Eleven chars. Two.","response_format":"pcm"}"#)).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    sink.write(&[7; 800]).await.unwrap();
    sink.finish().await;
    assert!(!read(&mut client).await.is_whole);
    let refused = ask(&server, &body).await;
    assert_eq!(refused.status, 429);
    assert!(refused.message().contains("used up its speech"), "{}", refused.message());
    assert!(server.service.metrics().contains("aloud_speech_answers_total{status=\"429\"} 2\n"));
    // An answer whose last sentence uses up the quota is whole.
    for (address, text, is_whole) in [
        ("127.0.0.3", "Eleven chars.", true),
        ("127.0.0.4", "Eleven chars. … ★", true),
        ("127.0.0.5", "Eleven chars. … Two.", false),
    ] {
        let mut client = socket_from(address, server.addr, Duration::from_secs(10)).await;
        let body = json!({"input": text, "response_format": "pcm"}).to_string();
        client.send_bytes(&request("", &body)).await;
        let (_, mut sink) = within(asked.recv()).await.unwrap();
        sink.write(&[7; 800]).await.unwrap();
        sink.finish().await;
        assert_eq!(read(&mut client).await.is_whole, is_whole, "{text}");
    }
}

#[tokio::test]
async fn body_that_does_not_arrive_gets_408() {
    let server = tone(Config::default().with(|c| c.handshake_timeout = Duration::from_millis(300))).await;
    let mut client = raw(server.addr).await;
    let bytes = request("", r#"{"input":"One."}"#);
    client.send_bytes(&bytes[..bytes.len() - 1]).await;
    assert_eq!(read(&mut client).await.status, 408);
    server.is_quiet().await;
}

#[tokio::test]
async fn shutdown_lets_speech_finish_and_refuses_more() {
    let (mut server, mut asked) = scripted(Config::default()).await;
    let body = request("", r#"{"input":"One.","response_format":"pcm","sample_rate":8000}"#);
    let mut client = raw(server.addr).await;
    client.send_bytes(&body).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    server.stop();
    sink.write(&[7; 800]).await.unwrap();
    sink.finish().await;
    let answer = read(&mut client).await;
    assert!(answer.is_whole && answer.body.len() == 1_600);
    within(server.stop()).await.unwrap();

    let config = Config::default().with(|c| c.drain_timeout = Duration::from_millis(10));
    let (mut server, mut asked) = scripted(config).await;
    let mut client = raw(server.addr).await;
    client.send_bytes(&body).await;
    let (_, sink) = within(asked.recv()).await.unwrap();
    server.stop();
    let answer = read(&mut client).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("shutting_down")));
    within(sink.cancelled()).await;
    within(server.stop()).await.unwrap();
}

#[tokio::test]
async fn memory_does_not_depend_on_the_length_of_the_text() {
    let server = tone(Config::default()).await;
    let text = "One more sentence, of forty characters. ".repeat(25_000);
    let mut client = raw(server.addr).await;
    client.send_bytes(&request("", &json!({"input": text, "response_format": "pcm"}).to_string())).await;
    assert_eq!(client.read_head().await.status, 200);
    let mut length = 0;
    for _ in 0..2_000 {
        length += read_chunk(&mut client).await.unwrap().len();
        let held = server.service.live_bytes();
        assert!(held <= text.len() + 512 * 1024, "{held} bytes behind {length}");
        assert!(server.service.syntheses().count() <= 2);
    }
    drop(client);
    server.is_quiet().await;
    assert_eq!(server.service.live_bytes(), 0);
}

#[tokio::test]
async fn embedders_serve_it_too() {
    let service = Service::new(Config::default(), Arc::new(Tone::new(FORMAT, 0.1))).unwrap();
    // A session still works beside it.
    let mut session = over_memory(&service, 1 << 16, "").await;
    assert!(matches!(session.read_frame().await, Frame::Text(_)));
    let (ours, theirs) = duplex(1 << 16);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), service.clone()));
    let mut client = Raw::over(ours, Duration::from_secs(10));
    let body = json!({"input": "One. ".repeat(100), "response_format": "pcm"}).to_string();
    client.send_bytes(&request("", &body)).await;
    let answer = read(&mut client).await;
    assert!(answer.is_whole && answer.body.len() == 100 * 4_800);
    client.send_bytes(&bare("GET", "/v1/audio/voices", "")).await;
    assert_eq!(read(&mut client).await.status, 200);
}

/// The times of words in events, each with the seconds of audio of this rate in front of its event.
fn timed_words(events: &[Value], rate: usize) -> Vec<(u64, Value, f64)> {
    let (mut bytes, mut timed) = (0, Vec::new());
    for event in events {
        match event["type"].as_str().unwrap() {
            "speech.audio.delta" => bytes += STANDARD.decode(event["audio"].as_str().unwrap()).unwrap().len(),
            "speech.text.words" => {
                let before = (bytes / 2) as f64 / rate as f64;
                timed.push((event["index"].as_u64().unwrap(), event["words"].clone(), before));
            }
            _ => {}
        }
    }
    timed
}

#[tokio::test]
async fn words_of_a_sentence_come_whole_and_before_its_audio() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let text = "Good evening. The kettle is on. We will leave at half past nine.\n\nAlice was beginning to get \
                very tired of sitting by her sister on the bank. Is that all right?";
    for (rate, speed) in [(8_000, 0.5), (16_000, 1.0), (48_000, 4.0)] {
        let body = json!({"input": text, "response_format": "pcm", "sample_rate": rate, "speed": speed,
                          "stream_format": "sse", "timestamps": "word"});
        let events = speak(&server, body).await.events();
        let timed = timed_words(&events, rate);
        let indices: Vec<u64> = timed.iter().map(|(index, ..)| *index).collect();
        assert_eq!(indices, [0, 1, 2, 3, 4], "one event for each sentence");
        let mut count = 0;
        for (_, words, before) in &timed {
            let words = words.as_array().unwrap();
            count += words.len();
            let start = words[0]["start"].as_f64().unwrap();
            assert!(*before <= start + 0.001, "{} at {start} s came behind {before} s", words[0]);
        }
        assert_eq!(count, text.split_whitespace().count());
    }
}

#[tokio::test]
async fn audio_waits_for_the_times_of_all_words_up_to_a_limit() {
    let (server, mut asked) = scripted(Config::default()).await;
    let mut client = raw(server.addr).await;
    let body = json!({"input": "One two three.", "response_format": "pcm", "sample_rate": 8_000,
                      "stream_format": "sse", "timestamps": "word"});
    let word = |n: u64| {
        let (start, end) = (Duration::from_millis(n * 20), Duration::from_millis(n * 20 + 20));
        Word { text_range: [0..3, 4..7, 8..14][n as usize].clone(), start, end }
    };
    for (samples, is_late, expected) in
        [(800, true, vec![3]), (4_400_000, true, vec![2, 1]), (800, false, vec![3])]
    {
        client.send_bytes(&request("", &body.to_string())).await;
        let (_, mut sink) = within(asked.recv()).await.unwrap();
        sink.words(vec![word(0), word(1)]);
        if !is_late {
            sink.words(vec![word(2)]);
        }
        let speaking = tokio::spawn(async move {
            for _ in 0..samples / 800 {
                sink.write(&[7; 800]).await.unwrap();
            }
            if is_late {
                sink.drain().await.unwrap();
                sink.words(vec![word(2)]);
            }
            sink.finish().await;
        });
        let events = read(&mut client).await.events();
        within(speaking).await.unwrap();
        let timed = timed_words(&events, 8_000);
        let counts: Vec<usize> = timed.iter().map(|(_, words, _)| words.as_array().unwrap().len()).collect();
        assert_eq!((counts, timed[0].2), (expected, 0.0), "{samples}");
    }
}

#[cfg(feature = "mp3")]
#[tokio::test]
async fn words_are_where_a_decoder_of_mp3_has_them() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    for rate in [8_000, 16_000, 22_050, 24_000] {
        let ask = |format: &str| {
            json!({"input": "Tea? Tea is ready.", "response_format": format, "sample_rate": rate,
                   "stream_format": "sse", "timestamps": "word"})
        };
        let [events, mp3] =
            [speak(&server, ask("pcm")).await.events(), speak(&server, ask("mp3")).await.events()];
        let audio = |events: &[Value]| -> Vec<u8> {
            let parts = events.iter().filter_map(|event| event["audio"].as_str());
            parts.flat_map(|part| STANDARD.decode(part).unwrap()).collect()
        };
        let mut decoder = rusty_mp3::Mp3Decoder::new();
        decoder.push(&audio(&mp3));
        decoder.flush();
        let mut decoded: Vec<f32> = Vec::new();
        while let Ok(frame) = decoder.next_frame() {
            decoded.extend(frame.samples);
        }
        let samples: Vec<f32> =
            audio(&events).chunks(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]]))).collect();
        let product = |delay: usize| {
            let pairs = samples.iter().zip(&decoded[delay..]).take(8_000);
            (pairs.map(|(a, b)| a * b).sum::<f32>(), delay)
        };
        let (_, delay) = (0..1_200).map(product).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let start = |events: &[Value]| timed_words(events, rate)[0].1[0]["start"].as_f64().unwrap();
        let reported = start(&mp3) - start(&events);
        let heard = delay as f64 / rate as f64;
        assert!((reported - heard).abs() < 0.002, "{reported} s, but {heard} s in the audio, at {rate}");
        let surplus = (decoded.len() as f64 - samples.len() as f64) / rate as f64;
        assert!((-0.05..0.1).contains(&surplus), "{surplus} s longer at {rate}");
    }
}

#[tokio::test]
async fn refused_request_uses_up_no_ticket() {
    // The SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let file = std::env::temp_dir().join(format!("aloud-speech-ticket-{}", std::process::id()));
    std::fs::write(&file, format!("{SECRET} alice\n")).unwrap();
    let admission = Admission::default().with(|a| a.auth = Auth::Tokens(file.clone()));
    let config = Config::default().with(|c| {
        c.admission = admission;
        c.max_speech_bytes = 1_000;
    });
    let server = tone(config).await;
    std::fs::remove_file(&file).unwrap();
    let more = "Authorization: Bearer secret\r\nContent-Length: 0\r\n";
    let ticket = ask(&server, &bare("POST", "/api/session/ticket", more)).await.json()["ticket"].clone();
    let key = format!("Authorization: Bearer {}\r\n", ticket.as_str().unwrap());
    let long = json!({"input": "a".repeat(1_000)}).to_string();
    for (body, expected) in [
        ("{", 400),
        (r#"{"input":""}"#, 400),
        (r#"{"input":"One.","speed":9}"#, 400),
        (r#"{"input":"One.","voice":"joe"}"#, 400),
        (r#"{"input":"One.","sample_rate":9000}"#, 400),
        (&long, 413),
        (r#"{"input":"One."}"#, 200),
        (r#"{"input":"One."}"#, 401),
    ] {
        assert_eq!(ask(&server, &request(&key, body)).await.status, expected, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_the_time_until_the_quota_has_room() {
    let text = json!({"input": "Tea is ready.", "response_format": "pcm", "sample_rate": 8_000}).to_string();
    let chars: &dyn Fn(&mut Admission) = &|a| a.max_client_chars_per_hour = Some(10);
    let audio: &dyn Fn(&mut Admission) = &|a| a.max_client_audio_seconds_per_hour = Some(4);
    let both: &dyn Fn(&mut Admission) = &|a| {
        a.max_client_chars_per_hour = Some(3_600);
        a.max_client_audio_seconds_per_hour = Some(9);
    };
    for quota in [chars, audio, both] {
        let admission = Admission::default().with(|a| quota(a));
        let config = Config::default().with(|c| c.admission = admission);
        let service = Service::new(config, Arc::new(Tone::new(FORMAT, 10.0))).unwrap();
        let ask = async || {
            let (ours, theirs) = duplex(1 << 20);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), service.clone()));
            let mut client = Raw::over(ours, Duration::from_secs(10));
            client.send_bytes(&request("", &text)).await;
            read(&mut client).await
        };
        // The sentence that goes beyond the quota is spoken to its end.
        assert_eq!(ask().await.status, 200);
        let refused = ask().await;
        let secs: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!(refused.status == 429 && secs > 5, "{} {secs}", refused.status);
        assert!(refused.message().contains(&format!("Retry in {secs} s.")), "{}", refused.message());
        tokio::time::advance(Duration::from_secs(secs - 1)).await;
        let refused = ask().await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "still a second");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask().await.status, 200, "after {secs} s");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_together_get_503() {
    let server = tone(Config::default()).await;
    let body = json!({"input": "a".repeat(4 * 1024 * 1024 - 8 * 1024)}).to_string();
    let bytes = request("", &body);
    let mut clients = Vec::new();
    // Each body lacks its last byte. Together they are larger than 64 MiB, and all but one of them are not, heads
    // included.
    for _ in 0..17 {
        let mut client = raw(server.addr).await;
        client.send_bytes(&bytes[..bytes.len() - 1]).await;
        clients.push(client);
    }
    let answer = read(&mut clients[0]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "the oldest one");
    assert!(answer.header("x-request-id").is_some() && answer.message().contains("hold too much"));
    assert_eq!(clients[0].read_to_close().await, b"");
    // The others have their places.
    clients[1].send_bytes(&bytes[bytes.len() - 1..]).await;
    assert_eq!(clients[1].read_head().await.status, 200);
}

#[tokio::test]
async fn every_refusal_below_v1_has_the_form_of_the_api() {
    let origin = "https://app.example";
    let admission = Admission::default().with(|a| a.allow_origins = vec![origin.parse().unwrap()]);
    let server = tone(Config::default().with(|c| c.admission = admission)).await;
    let page = format!("Origin: {origin}\r\n");
    let long = format!("X-Long: {}\r\n", "a".repeat(600 * 1024));
    let many = "A: b\r\n".repeat(150);
    let table = [
        ("POST", "/v1/audio/speech/", "", 404),
        ("POST", "/v1/audio/translations", "", 404),
        ("GET", "/v1", "", 404),
        ("GET", "/v1/", "", 404),
        ("GET", "/v1/audio/speech?", "", 405),
        ("POST", "/v1/audio/speech", &long, 431),
        ("POST", "/v1/audio/speech?a=b", &many, 431),
        ("GET", "/v1/models", &long, 431),
        ("POST", "/v1/audio/speech", "A b: c\r\n", 400),
    ];
    // A page sees these only after the preflight.
    for path in ["/v1/audio/translations", "/v1/"] {
        let answer = ask(&server, &bare("OPTIONS", path, &page)).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (204, Some(origin)),
            "{path}"
        );
    }
    for (method, path, more, status) in table {
        for (page, expected) in
            [(&*page, Some(origin)), ("", None), ("Origin: http://evil.example\r\n", None)]
        {
            let answer = ask(&server, &bare(method, path, &format!("{page}{more}"))).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
            assert!(answer.header("x-request-id").is_some() && !answer.message().is_empty());
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{status} {page}");
        }
    }
    let foreign = format!("POST {SPEECH} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
    let answer = ask(&server, foreign.as_bytes()).await;
    assert_eq!(answer.status, 421);
    assert!(answer.header("x-request-id").is_some() && answer.message().contains("evil.example"));
    // Other paths have the sentence alone.
    let other = ask(&server, &bare("GET", "/v2", "")).await;
    assert_eq!((other.status, other.header("content-type")), (404, Some("text/plain; charset=utf-8")));
}

#[tokio::test]
async fn rate_within_the_limit_of_the_server_is_chosen_or_named() {
    let limited = |most| Config::default().with(|c| c.max_sample_rate_hz = Some(most));
    let rate = |answer: &Answer| answer.header("x-sample-rate").map(str::to_owned);
    let server = start_with(limited(8_000), Arc::new(Flite::new())).await;
    let formats: Vec<&str> = ["wav", "mp3", "opus"].into_iter().filter(|format| has(format)).collect();
    for format in formats {
        let answer = speak(&server, json!({"input": "Tea.", "response_format": format})).await;
        assert_eq!((answer.status, rate(&answer).as_deref()), (200, Some("8000")), "{format}");
    }
    // Nothing in pcm tells the rate.
    let refused = speak(&server, json!({"input": "Tea.", "response_format": "pcm"})).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("sample_rate")));
    let message = "This server gives no pcm at 24000 samples per second. Ask for a sample_rate of 8000.";
    assert_eq!(refused.message(), message);
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    for wrong in [1, 4_000, 11_025, 12_345, 32_000, 48_001, 96_000] {
        let refused =
            speak(&server, json!({"input": "Tea.", "response_format": "wav", "sample_rate": wrong})).await;
        let message = format!(
            "This server gives no wav at {wrong} samples per second. Ask for a sample_rate of 8000, 16000, 22050, \
             24000, 44100, 48000."
        );
        assert_eq!(refused.message(), message);
        assert_eq!(refused.json()["error"]["param"], "sample_rate");
    }
}

/// True if this build has the format.
fn has(format: &str) -> bool {
    match format {
        "mp3" => cfg!(feature = "mp3"),
        "opus" => cfg!(feature = "opus"),
        _ => true,
    }
}

#[tokio::test]
async fn voice_map_that_names_no_voice_is_refused_at_the_start() {
    for (alias, expected) in
        [("alloy=zzz", "alloy=zzz names no voice"), ("kal16=kal16-low", "changes a voice")]
    {
        let config = Config::default().with(|c| c.voice_map = vec![alias.parse().unwrap()]);
        let error = Service::new(config, Arc::new(Flite::new())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!("a=b=c".parse::<aloud::tts::VoiceAlias>().is_err());
}

#[tokio::test(start_paused = true)]
async fn audio_that_waits_for_words_is_counted_and_is_progress_of_the_engine() {
    let (engine, mut asked) = Scripted::new();
    let config = Config::default().with(|c| c.engine_timeout = Duration::from_secs(1));
    let service = Service::new(config, engine).unwrap();
    let (ours, theirs) = duplex(1 << 20);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), service.clone()));
    let mut client = Raw::over(ours, Duration::from_secs(100));
    let body = json!({"input": "One two.", "response_format": "pcm", "sample_rate": 8_000,
                      "stream_format": "sse", "timestamps": "word"});
    client.send_bytes(&request("", &body.to_string())).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    let before = service.live_bytes();
    let (start, end) = (Duration::ZERO, Duration::from_millis(60));
    sink.words(vec![Word { text_range: 0..3, start, end }]);
    for _ in 0..10 {
        sink.write(&[7; 16_000]).await.unwrap();
        // The engine needs almost as long as it may.
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    assert!(service.live_bytes() >= before + 300_000, "{} {before}", service.live_bytes());
    sink.finish().await;
    let answer = read(&mut client).await;
    assert_eq!((answer.status, answer.is_whole), (200, true));
    assert_eq!(timed_words(&answer.events(), 8_000).len(), 1);
}

#[tokio::test]
async fn markup_without_a_sentence_is_read_in_turns() {
    let server = start_with(Config::default(), Arc::new(Flite::with_threads(1))).await;
    let markup = "<div><p>“".repeat(6_000);
    let body = json!({"model": "tts-1", "voice": "kal16", "input": markup, "clean": "html"}).to_string();
    let mut readers = Vec::new();
    for _ in 0..10 {
        let mut client = raw(server.addr).await;
        client.send_bytes(&request("", &body)).await;
        readers.push(client);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(ask(&server, &bare("GET", "/v1/models", "")).await.status, 200);
        slowest = slowest.max(began.elapsed());
    }
    // Reading all of it takes seconds.
    assert!(server.service.metrics().contains("aloud_speech_answers 10\n"), "the markup is still read");
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");
    for mut client in readers {
        assert_eq!(read(&mut client).await.status, 200);
    }
}
