//! A language model over HTTP as the writer: latency, misbehaviour, and the end of its work once the
//! client is gone.

use crate::support::http::{Exchange, Upstreamed, upstreamed};
use crate::support::{self, Frame, Raw, Running, audio, messages, session, start_writing, v1, within};
use aloud::script::{Chat, ChatSettings};
use aloud::tts::Tone;
use aloud::upstream::{Retries, Secret};
use aloud::{Config, TextSource};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The key, which only the model's server may see.
const KEY: &str = "sk-never-to-be-seen-0123456789";

/// Time within which an abandoned request must be gone.
const AT_ONCE: Duration = Duration::from_millis(100);

const SSE: &str = "text/event-stream; charset=utf-8";
const ASK: &str = r#"{"type":"start_session","source":"llm","prompt":"Tell me about tea."}"#;

fn settings(model: &Upstreamed) -> ChatSettings {
    ChatSettings {
        key: Some(Secret::new(KEY).unwrap()),
        system_prompt: Some("Be brief.".to_owned()),
        temperature: Some(0.5),
        max_tokens: Some(200),
        retries: Retries { backoff: Duration::from_millis(1), ..Retries::default() },
        ..ChatSettings::new(model.url(), "tea-7b")
    }
}

/// A server whose sentences are a tenth of a second of tone, with this writer.
async fn serving(config: Config, settings: ChatSettings) -> Running {
    let engine = Arc::new(Tone::new(support::FORMAT, 0.1));
    start_writing(config, engine, Arc::new(Chat::new(settings).unwrap())).await
}

/// A model, and a server that uses it.
async fn both() -> (Upstreamed, Running) {
    let model = upstreamed().await;
    let server = serving(Config::default(), settings(&model)).await;
    (model, server)
}

fn event(delta: &Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

fn token(text: &str) -> String {
    event(&json!({"content": text}))
}

fn stop(reason: &str) -> String {
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    format!("data: {end}\n\ndata: [DONE]\n\n")
}

async fn write(model: &mut Exchange, text: &str) {
    for word in text.split_inclusive(' ') {
        model.chunk(token(word).as_bytes()).await;
    }
}

async fn finish(mut model: Exchange) {
    model.chunk(stop("stop").as_bytes()).await;
    model.end().await;
}

/// A whole answer.
async fn answer(mut model: Exchange, text: &str) {
    model.begin(SSE).await;
    write(&mut model, text).await;
    finish(model).await;
}

/// The spoken sentences.
fn spoken(frames: &[Frame]) -> Vec<String> {
    let texts = messages(frames).into_iter().filter(|message| message["type"] == "text");
    texts.map(|message| message["data"].as_str().unwrap().to_owned()).collect()
}

fn of_type(frames: &[Frame], name: &str) -> Vec<Value> {
    messages(frames).into_iter().filter(|message| message["type"] == name).collect()
}

fn end_reason(frames: &[Frame]) -> String {
    of_type(frames, "session_end")[0]["reason"].as_str().unwrap().to_owned()
}

/// Waits until the request to the model and its writer are gone.
async fn is_stopped(model: Exchange, server: &Running) {
    let since = Instant::now();
    model.gone().await;
    within(async {
        while server.service.scripts().count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(since.elapsed() < AT_ONCE, "after {:?}", since.elapsed());
}

#[tokio::test]
async fn sentence_is_spoken_before_the_next_is_written() {
    for (idle, first) in [("at the next token", "Tea is hot. It"), ("without one", "Tea is hot.")] {
        let (mut model, server) = both().await;
        let (mut client, _) = v1(server.addr).await;
        client.say(ASK).await;
        let mut asked = model.asked().await;
        asked.begin(SSE).await;
        asked.chunk(event(&json!({"role": "assistant", "content": null})).as_bytes()).await;
        write(&mut asked, first).await;
        // The model waits until the first sentence is heard.
        let frames = client.read_until("sentence_end").await;
        assert_eq!(spoken(&frames), ["Tea is hot."], "{idle}");
        assert_eq!(audio(&frames).len(), 1_600);
        write(&mut asked, if first.ends_with("It") { " is green." } else { " It is green." }).await;
        finish(asked).await;
        let frames = client.read_until("session_end").await;
        assert_eq!(spoken(&frames), ["It is green."], "{idle}");
        assert_eq!(end_reason(&frames), "completed");
        drop(client);
        server.is_quiet().await;
    }
}

#[tokio::test]
async fn request_carries_the_settings() {
    let (mut model, server) = both().await;
    let mut client = session(server.addr).await;
    client.say(ASK).await;
    let asked = model.asked().await;
    assert_eq!(asked.target(), "POST /v1/chat/completions");
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
    let expected = json!({
        "model": "tea-7b", "stream": true, "temperature": 0.5, "max_tokens": 200,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell me about tea."}
        ]
    });
    assert_eq!(asked.json, expected);
    answer(asked, "Tea.").await;
    let frames = client.read_until("session_end").await;
    // A client of the base protocol gets no other message.
    assert_eq!(messages(&frames).last().unwrap(), &json!({"type": "session_end"}));
    assert_eq!(spoken(&frames), ["Tea."]);
}

#[tokio::test]
async fn answer_cut_anywhere_gives_the_same_speech() {
    let (mut model, server) = both().await;
    let (mut client, _) = v1(server.addr).await;
    let written = "“Grün”, żółty 🍵 tea. *Hot*, too.";
    for line_end in ["\n", "\r\n", "\r"] {
        let body = [token(written), stop("stop")].concat().replace('\n', line_end);
        for size in [1, 2, 7, body.len()] {
            client.say(ASK).await;
            let mut asked = model.asked().await;
            asked.begin(SSE).await;
            for piece in body.as_bytes().chunks(size) {
                asked.chunk(piece).await;
            }
            asked.end().await;
            drop(asked);
            let frames = client.read_until("session_end").await;
            assert_eq!(spoken(&frames), ["“Grün”, żółty tea.", "Hot, too."], "{size} bytes, {line_end:?}");
        }
    }
}

#[tokio::test]
async fn connection_is_reused() {
    let (mut model, server) = both().await;
    let mut client = session(server.addr).await;
    client.say(ASK).await;
    let mut asked = model.asked().await;
    // A task of its own reads the end of an answer, so not each turn finds the connection free.
    for _ in 0..20 {
        asked.begin(SSE).await;
        asked.chunk(token("Tea.").as_bytes()).await;
        asked.chunk(stop("stop").split_inclusive("\n\n").next().unwrap().as_bytes()).await;
        // The stream ends with the finish reason, not with `[DONE]`.
        client.read_until("session_end").await;
        asked.chunk(b"data: [DONE]\n\n").await;
        asked.end().await;
        client.before_pong().await;
        client.say(ASK).await;
        asked = tokio::select! {
            again = asked.next() => return assert!(again.is_some(), "closed"),
            other = model.asked() => other,
        };
    }
    panic!("20 requests on 20 connections");
}

#[tokio::test]
async fn answer_without_streaming_is_spoken() {
    let (mut model, server) = both().await;
    let mut client = session(server.addr).await;
    client.say(ASK).await;
    let whole =
        json!({"choices": [{"message": {"content": "Tea is hot. It is green."}, "finish_reason": "stop"}]});
    let mut asked = model.asked().await;
    asked.answer("200 OK", "Content-Type: application/json\r\n", whole.to_string().as_bytes()).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(spoken(&frames), ["Tea is hot.", "It is green."]);
}

#[tokio::test]
async fn reasoning_keeps_the_request_alive_and_is_not_spoken() {
    let model = upstreamed().await;
    let timeout = Duration::from_millis(400);
    let server = serving(Config::default(), ChatSettings { timeout, ..settings(&model) }).await;
    let mut model = model;
    let (mut client, _) = v1(server.addr).await;
    client.say(ASK).await;
    let mut asked = model.asked().await;
    asked.begin(SSE).await;
    let thought = event(&json!({"reasoning_content": "Hm. Tea?", "content": null}));
    let began = Instant::now();
    let mut beats = tokio::time::interval(timeout / 8);
    while began.elapsed() < timeout * 3 {
        beats.tick().await;
        asked.chunk(thought.as_bytes()).await;
        asked.chunk(b": still there\n\n").await;
    }
    answer_rest(asked, "Tea.").await;
    let frames = client.read_until("session_end").await;
    assert_eq!((spoken(&frames), end_reason(&frames).as_str()), (vec!["Tea.".to_owned()], "completed"));
}

async fn answer_rest(mut model: Exchange, text: &str) {
    write(&mut model, text).await;
    finish(model).await;
}

#[tokio::test(start_paused = true)]
async fn silence_timeout_spares_a_client_whose_model_thinks_for_long() {
    // Over memory, where the test can advance the clock; the test plays the writer.
    let (writer, mut asked) = support::Scripting::new();
    let engine = Arc::new(Tone::new(support::FORMAT, 0.1));
    let service = aloud::Service::with_writer(Config::default(), engine, writer).unwrap();
    let mut client = support::over_memory(&service, 1 << 16, support::V1).await;
    client.read_until("session_start").await;
    client.say(ASK).await;
    let mut pen = within(asked.recv()).await.unwrap().1;
    for _ in 0..10 {
        // A client library answers pings on its own and sends nothing else.
        let frames = client.read_until("ping").await;
        let Some(Frame::Ping(payload)) = frames.last() else { panic!("{frames:?}") };
        client.send_bytes(&support::frame(0x8a, payload)).await;
    }
    pen.write("Tea.").await.unwrap();
    pen.finish().await;
    let frames = client.read_until("session_end").await;
    assert_eq!((spoken(&frames), end_reason(&frames).as_str()), (vec!["Tea.".to_owned()], "completed"));
}

#[tokio::test]
async fn writer_failure_is_reported_and_the_text_so_far_is_spoken() {
    type Fail = fn(Exchange) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    fn body(mut model: Exchange, last: String) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            model.begin(SSE).await;
            write(&mut model, "Tea is hot. It is").await;
            model.chunk(last.as_bytes()).await;
            model.end().await;
        })
    }
    fn status(
        mut model: Exchange,
        status: &'static str,
        said: String,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let error = json!({"error": {"message": said}}).to_string();
            model.answer(status, "Content-Type: application/json\r\n", error.as_bytes()).await;
        })
    }
    let table: &[(&str, &str, Fail)] = &[
        ("does not accept our credentials", "", |m| {
            status(m, "401 Unauthorized", format!("Incorrect API key provided: {}***6789", &KEY[..8]))
        }),
        ("does not accept our credentials", "", |m| status(m, "403 Forbidden", format!("No {KEY}."))),
        ("tea-7b is unknown", "", |m| status(m, "404 Not Found", "model tea-7b is unknown".to_owned())),
        ("answered with the status 500", "", |m| {
            status(m, "500 Internal Server Error", format!("Broke with {KEY}."))
        }),
        ("Out of tea", "It is", |m| {
            body(m, format!("data: {}\n\n", json!({"error": {"message": format!("Out of tea, {KEY}.")}})))
        }),
        ("breaks off", "It is", |m| body(m, String::new())),
        ("is not JSON", "It is", |m| body(m, "data: {tea\n\n".to_owned())),
        ("withheld", "It is", |m| body(m, stop("content_filter"))),
        ("more than 1 MiB", "It is", |m| body(m, format!("data: {}", "x".repeat((1 << 20) + 1)))),
        // A FIN in the middle of the body.
        ("broke off", "It is", |mut m| {
            Box::pin(async move {
                m.begin(SSE).await;
                write(&mut m, "Tea is hot. It is").await;
            })
        }),
        ("wrote nothing", "", |mut m| {
            Box::pin(async move {
                m.begin(SSE).await;
                finish(m).await;
            })
        }),
        ("is empty", "", |mut m| {
            Box::pin(async move {
                m.begin(SSE).await;
                m.end().await;
            })
        }),
        ("before it wrote any text", "", |mut m| {
            Box::pin(async move {
                m.begin(SSE).await;
                m.chunk(stop("length").as_bytes()).await;
                m.end().await;
            })
        }),
    ];
    let (mut model, server) = both().await;
    for (expected, rest, fail) in table {
        let (mut client, _) = v1(server.addr).await;
        client.say(ASK).await;
        fail(model.asked().await).await;
        let frames = client.read_until("session_end").await;
        let errors = of_type(&frames, "error");
        assert_eq!(errors.len(), 1, "{expected}: {frames:?}");
        let message = errors[0]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message} for {expected}");
        assert_eq!((&errors[0]["code"], &errors[0]["fatal"]), (&json!("llm_failed"), &json!(false)));
        assert!(!format!("{frames:?}").contains(&KEY[..8]), "a frame contains the key: {frames:?}");
        let sentences =
            if rest.is_empty() { vec![] } else { vec!["Tea is hot.".to_owned(), (*rest).to_owned()] };
        assert_eq!((spoken(&frames), end_reason(&frames).as_str()), (sentences, "error"), "{expected}");
        // The session continues.
        client.say(ASK).await;
        answer(model.asked().await, "Tea.").await;
        assert_eq!(spoken(&client.read_until("session_end").await), ["Tea."]);
    }
}

#[tokio::test]
async fn model_that_is_unreachable_is_reported() {
    let model = upstreamed().await;
    let settings = settings(&model);
    drop(model);
    let server = serving(Config::default(), settings).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(ASK).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(of_type(&frames, "error")[0]["code"], "llm_failed");
    assert_eq!(of_type(&frames, "warning")[0]["code"], "retrying_llm");
}

#[tokio::test]
async fn model_with_too_many_requests_is_retried() {
    let (mut model, server) = both().await;
    let (mut client, _) = v1(server.addr).await;
    client.say(ASK).await;
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        model.asked().await.answer(status, "Retry-After: 0\r\nConnection: close\r\n", b"{}").await;
        assert_eq!(of_type(&client.read_until("warning").await, "warning")[0]["code"], "retrying_llm");
    }
    answer(model.asked().await, "Tea.").await;
    let frames = client.read_until("session_end").await;
    assert_eq!((spoken(&frames), end_reason(&frames).as_str()), (vec!["Tea.".to_owned()], "completed"));
}

#[tokio::test]
async fn model_that_stalls_is_stopped_at_its_deadline() {
    for (written, sentences) in [("", &[][..]), ("Tea is hot. It", &["Tea is hot.", "It"])] {
        let mut model = upstreamed().await;
        let timeout = Duration::from_millis(100);
        let server = serving(Config::default(), ChatSettings { timeout, ..settings(&model) }).await;
        let (mut client, _) = v1(server.addr).await;
        client.say(ASK).await;
        let mut asked = model.asked().await;
        asked.begin(SSE).await;
        write(&mut asked, written).await;
        let frames = client.read_until("session_end").await;
        let error = &of_type(&frames, "error")[0];
        assert_eq!((&error["code"], &error["retryable"]), (&json!("llm_timeout"), &json!(true)));
        assert_eq!(
            (spoken(&frames), end_reason(&frames).as_str()),
            (sentences.iter().map(|s| (*s).to_owned()).collect(), "error")
        );
        is_stopped(asked, &server).await;
    }
}

#[tokio::test]
async fn model_that_reached_its_limit_is_reported() {
    let (mut model, server) = both().await;
    let (mut client, _) = v1(server.addr).await;
    client.say(ASK).await;
    let mut asked = model.asked().await;
    asked.begin(SSE).await;
    write(&mut asked, "Tea is hot. It").await;
    asked.chunk(stop("length").as_bytes()).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(of_type(&frames, "warning")[0]["code"], "text_limit");
    assert_eq!((spoken(&frames).len(), end_reason(&frames).as_str()), (2, "completed"));
}

#[tokio::test]
async fn model_that_does_not_end_is_stopped_at_the_limit() {
    let mut model = upstreamed().await;
    let config = Config::default().with(|c| c.max_script_chars = 30);
    let server = serving(config, settings(&model)).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(ASK).await;
    let mut asked = model.asked().await;
    asked.begin(SSE).await;
    write(&mut asked, "Tea is hot. Tea is hot. Tea is hot. Tea is hot.").await;
    let frames = client.read_until("session_end").await;
    assert_eq!(of_type(&frames, "warning")[0]["code"], "text_limit");
    assert_eq!(spoken(&frames), ["Tea is hot.", "Tea is hot.", "Tea is"]);
    is_stopped(asked, &server).await;
}

#[tokio::test]
async fn model_is_stopped_when_its_client_leaves() {
    type Leave = fn(Raw) -> std::pin::Pin<Box<dyn Future<Output = Option<Raw>> + Send>>;
    let table: &[(&str, Leave)] = &[
        ("cancel", |mut client| {
            Box::pin(async {
                client.say(r#"{"type":"cancel"}"#).await;
                Some(client)
            })
        }),
        ("end", |mut client| {
            Box::pin(async {
                client.say(r#"{"type":"end"}"#).await;
                Some(client)
            })
        }),
        ("close", |mut client| {
            Box::pin(async {
                client.send_bytes(&support::close(1000, "")).await;
                Some(client)
            })
        }),
        ("FIN", |client| {
            Box::pin(async {
                drop(client);
                None
            })
        }),
        ("RST", |client| {
            Box::pin(async {
                client.into_parts().0.set_zero_linger().unwrap();
                None
            })
        }),
    ];
    for (name, leave) in table {
        // Before the answer and in the middle of it.
        for begins in [false, true] {
            let (mut model, server) = both().await;
            let (mut client, _) = v1(server.addr).await;
            client.say(ASK).await;
            let mut asked = model.asked().await;
            if begins {
                asked.begin(SSE).await;
                write(&mut asked, "Tea is hot. It").await;
                client.read_until("sentence_end").await;
            } else {
                client.before_pong().await;
            }
            let client = leave(client).await;
            is_stopped(asked, &server).await;
            assert_eq!(model.open.count(), 0, "{name}");
            if let (Some(mut client), "cancel") = (client, *name) {
                let frames = client.read_until("session_end").await;
                assert_eq!(end_reason(&frames), "cancelled");
                client.say(ASK).await;
                answer(model.asked().await, "Tea.").await;
                assert_eq!(spoken(&client.read_until("session_end").await), ["Tea."]);
            }
        }
    }
}

#[tokio::test]
async fn conversation_of_three_turns_is_sent_to_the_model() {
    let mut model = upstreamed().await;
    let config = Config::default().with(|c| {
        c.source = TextSource::Llm;
        c.max_history_turns = 5;
    });
    let server = serving(config, settings(&model)).await;
    // A client of the base protocol.
    let mut client = session(server.addr).await;
    let mut turns = vec![json!({"role": "system", "content": "Be brief."})];
    for turn in 0..5 {
        client.say(&format!(r#"{{"type":"start_session","prompt":"Question {turn}?"}}"#)).await;
        let asked = model.asked().await;
        turns.push(json!({"role": "user", "content": format!("Question {turn}?")}));
        // The server drops the oldest turns, but not the system prompt.
        if turns.len() > 6 {
            turns.drain(1..3);
        }
        assert_eq!(asked.json["messages"], json!(turns));
        let said = format!("Answer **{turn}**. And on.");
        answer(asked, &said).await;
        turns.push(json!({"role": "assistant", "content": said}));
        let frames = client.read_until("session_end").await;
        assert_eq!(spoken(&frames), [format!("Answer {turn}."), "And on.".to_owned()]);
    }
}

#[tokio::test]
async fn conversation_excludes_text_that_was_not_heard() {
    let (mut model, server) = both().await;
    // A client of the subprotocol, and a base client that enabled only this feature.
    for mut client in [v1(server.addr).await.0, session(server.addr).await] {
        client.say(ASK).await;
        let mut asked = model.asked().await;
        asked.begin(SSE).await;
        write(&mut asked, "Tea is hot. It is green. It is").await;
        client.read_until("sentence_end").await;
        client.read_until("sentence_end").await;
        // A sentence has 100 ms.
        client.say(r#"{"type":"cancel","playedMs":100}"#).await;
        let frames = client.read_until("session_end").await;
        assert_eq!(of_type(&frames, "cancelled")[0]["spokenText"], "Tea is hot.");
        client.say(r#"{"type":"start_session","source":"llm","prompt":"And coffee?"}"#).await;
        let expected = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell me about tea."},
            {"role": "assistant", "content": "Tea is hot."},
            {"role": "user", "content": "And coffee?"}
        ]);
        assert_eq!(model.asked().await.json["messages"], expected);
    }
}

#[tokio::test]
async fn recover_continues_the_writer() {
    let (mut model, server) = both().await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(r#"{"type":"start_session","source":"llm","prompt":"Tea?","resumable":true}"#).await;
    let mut asked = model.asked().await;
    asked.begin(SSE).await;
    write(&mut asked, "Tea is hot. It").await;
    let heard = audio(&client.read_until("sentence_end").await);
    drop(client);
    within(async {
        while server.service.frozen().count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((server.service.scripts().count(), model.open.count()), (1, 1));
    // Backpressure stops the model, since no client reads.
    write(&mut asked, " is green. ").await;
    let (mut client, _) = v1(server.addr).await;
    let recover = json!({"type": "recover", "sessionId": greeting["sessionId"], "token": greeting["token"], "offset": heard.len()});
    client.say(&recover.to_string()).await;
    assert_eq!(of_type(&client.read_until("recovered").await, "recovered")[0]["recovered"], true);
    answer_rest(asked, "And on.").await;
    let frames = client.read_until("session_end").await;
    assert_eq!(
        (spoken(&frames), end_reason(&frames).as_str()),
        (vec!["It is green.".to_owned(), "And on.".to_owned()], "completed")
    );
    assert_eq!(audio(&frames).len(), 2 * heard.len());
}

#[tokio::test]
async fn resume_window_that_expires_stops_the_writer() {
    let mut model = upstreamed().await;
    let config = Config::default().with(|c| c.resume_ttl = Duration::from_millis(50));
    let server = serving(config, settings(&model)).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(r#"{"type":"start_session","source":"llm","prompt":"Tea?","resumable":true}"#).await;
    let mut asked = model.asked().await;
    asked.begin(SSE).await;
    write(&mut asked, "Tea is hot. It").await;
    client.read_until("sentence_end").await;
    drop(client);
    asked.gone().await;
    within(async {
        while server.service.scripts().count() + server.service.frozen().count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn pause_holds_the_model_back() {
    let mut model = upstreamed().await;
    let config = Config::default().with(|c| {
        c.max_buffered_chars = 1_000;
        c.max_script_chars = 100_000_000;
    });
    let server = serving(config, settings(&model)).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(ASK).await;
    client.say(r#"{"type":"pause"}"#).await;
    let mut asked = model.asked().await;
    asked.begin(SSE).await;
    let chunk = token("Tea is hot. ").repeat(100);
    let mut written = 0;
    // Until the connection and its buffers are full.
    while asked.offers(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).await {
        written += chunk.len();
        assert!(written < 64 << 20, "the model is not held back");
    }
    assert_eq!(server.service.scripts().count(), 1);
    client.say(r#"{"type":"end"}"#).await;
    client.read_until("session_end").await;
    is_stopped(asked, &server).await;
}

/// The built binary with this model and these additional arguments.
fn aloud(args: &[&str], url: &str) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(args).args(["--engine=tone", "--tone-seconds=0.1", "--llm-model=m", "--llm-url", url]);
    command.env_clear().env("ALOUD_LLM_KEY", KEY).stdin(std::process::Stdio::null());
    command
}

#[tokio::test]
async fn say_speaks_the_answer_of_a_model() {
    let mut model = upstreamed().await;
    let file = std::env::temp_dir().join(format!("aloud-said-{}.wav", std::process::id()));
    let args = ["say", "--source=llm", "Tell me about tea", "-o", file.to_str().unwrap()];
    let mut command = aloud(&args, &model.url());
    let said = tokio::task::spawn_blocking(move || command.output().unwrap());
    let asked = model.asked().await;
    assert_eq!(asked.json["messages"], json!([{"role": "user", "content": "Tell me about tea"}]));
    answer(asked, "Tea is hot. It is green.").await;
    let said = within(said).await.unwrap();
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.success(), "{stderr}");
    assert!(stderr.starts_with("Tea is hot.\nIt is green.\n"), "{stderr}");
    // Two sentences of 100 ms at 24 kHz after a header.
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 44 + 2 * 4_800);
    std::fs::remove_file(&file).unwrap();

    // A failure is reported, and the exit code says so.
    let mut command = aloud(&["say", "--source=llm", "Tea?", "-o", "/nonexistent"], &model.url());
    let said = tokio::task::spawn_blocking(move || command.output().unwrap());
    model.asked().await.answer("401 Unauthorized", "", format!("No {KEY}").as_bytes()).await;
    let said = within(said).await.unwrap();
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(stderr.contains("does not accept our credentials") && !stderr.contains(&KEY[..8]), "{stderr}");
}

#[tokio::test]
async fn key_is_in_no_log() {
    let mut model = upstreamed().await;
    let mut command = aloud(&["serve", "--listen=127.0.0.1:0", "--source=llm"], &model.url());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    let addr = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let mut client = session(addr).await;
    for status in ["401 Unauthorized", "500 Internal Server Error", "200 OK"] {
        client.say(r#"{"type":"start_session","prompt":"Tea?"}"#).await;
        let mut asked = model.asked().await;
        assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        let error = json!({"error": {"message": format!("It is {KEY}, and cut off: {}", &KEY[..20])}});
        asked.answer(status, "Connection: close\r\n", error.to_string().as_bytes()).await;
        let frames = client.read_until("session_end").await;
        assert!(!format!("{frames:?}").contains(&KEY[..8]), "{frames:?}");
    }
    drop(client);
    // End in order: log lines leave a little later than their events.
    let pid = child.id().to_string();
    assert!(std::process::Command::new("sh").args(["-c", "kill $0", &pid]).status().unwrap().success());
    let mut log = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut log).unwrap();
    child.wait().unwrap();
    assert!(log.contains("warn: language model at http://") && !log.contains(&KEY[..8]), "{log}");
}
