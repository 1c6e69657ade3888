//! Recovery on another server than the one before.

use crate::listener::Listener;
use crate::store::{Relay, Store};
use crate::support::{
    Frame, Running, Scripted, Scripting, V1, close, opening_with, raw, start_with, start_writing, v1, within,
};
use aloud::settings::Auth;
use aloud::tts::{Flite, Sink, Synthesizer, Utterance};
use aloud::{Config, PATH, TextSource};
use serde_json::{Value, json};
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

/// About fourteen seconds.
pub(crate) const TEXT: &str = "It is a long way to the harbour from here. The boats are out, and the tea is in the \
    pot. Sit down, and tell me what you have seen. There is cake too, and a fire in the other room. We have all the \
    time in the world.";

/// A server with this store.
pub(crate) async fn server(store: &Store) -> Running {
    server_of(store, Arc::new(Flite::new()), |_| {}).await
}

pub(crate) async fn server_of(
    store: &Store,
    engine: Arc<dyn Synthesizer>,
    change: impl FnOnce(&mut Config),
) -> Running {
    server_by(&store.url(), engine, change).await
}

/// The same, with the store at this URL.
pub(crate) async fn server_by(
    url: &str,
    engine: Arc<dyn Synthesizer>,
    change: impl FnOnce(&mut Config),
) -> Running {
    let config = Config::default().with(|c| c.store = Some(url.parse().unwrap())).with(change);
    let server = start_with(config, engine).await;
    is_up(&server).await;
    server
}

/// Waits until the server has its store.
pub(crate) async fn is_up(server: &Running) {
    within(async {
        while !server.service.metrics().contains("aloud_store_up 1") {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A number of the metrics.
pub(crate) fn metric(server: &Running, name: &str) -> u64 {
    let page = server.service.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

pub(crate) fn start(prompt: &str, options: &Value) -> Value {
    let mut start = json!({"type": "start_session", "prompt": prompt, "resumable": true});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start
}

pub(crate) fn paced() -> Value {
    json!({"delivery": {"mode": "paced", "aheadMs": 500}})
}

/// Waits until a session of the server has lost its client.
async fn is_suspended(server: &Running) {
    within(async {
        while server.service.frozen().count() == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Speaks the next sentence that an engine is asked for, which is this one.
async fn speak_next(asked: &mut UnboundedReceiver<(Utterance, Sink)>, text: &str, samples: &[i16]) {
    let (utterance, mut sink) = within(asked.recv()).await.unwrap();
    assert_eq!(utterance.text, text);
    sink.write(samples).await.unwrap();
    sink.finish().await;
}

fn bytes(parts: &[&[i16]]) -> Vec<u8> {
    parts.concat().iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// The audio of a stream that nothing disturbs.
pub(crate) async fn undisturbed(start: &Value) -> Vec<u8> {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let mut start = start.clone();
    start.as_object_mut().unwrap().remove("delivery");
    let mut listener = Listener::start(server.addr, &start).await;
    listener.message("session_end").await;
    listener.audio
}

#[tokio::test]
async fn session_goes_on_at_another_server() {
    let Some(store) = Store::start("session_goes_on_at_another_server").await else { return };
    let (start, servers) = (start(TEXT, &paced()), [server(&store).await, server(&store).await]);
    let expected = undisturbed(&start).await;
    let mut listener = Listener::start(servers[0].addr, &start).await;
    // There and back: the copy of the first server is of no use by then.
    for turn in 1..=4 {
        listener.hear(turn * 6_000).await;
        let (mut before, recovered) = listener.move_to(servers[turn % 2].addr, &json!({})).await;
        assert_eq!(recovered["recovered"], true, "{turn}: {recovered}");
        assert_eq!((&recovered["exact"], &recovered["textOffset"]), (&json!(true), &json!(TEXT.len())));
        let frames = before.read_until("close").await;
        let code = &frames[frames.len() - 2..];
        assert_eq!(code[0].kind(), "error", "{turn}: {code:?}");
        assert!(format!("{code:?}").contains("4409"), "{turn}: {code:?}");
    }
    listener.message("session_end").await;
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
}

#[tokio::test]
async fn appended_text_is_known_at_another_server() {
    let Some(store) = Store::start("appended_text_is_known_at_another_server").await else { return };
    let servers = [server(&store).await, server(&store).await];
    let options = json!({"source": "append", "delivery": {"mode": "paced", "aheadMs": 200}});
    let append = |text: &str| json!({"type": "append", "text": text}).to_string();
    let (first, second) = TEXT.split_at(100);
    let whole = start(TEXT, &json!({}));
    let expected = undisturbed(&whole).await;
    let mut listener = Listener::start(servers[0].addr, &start("", &options)).await;
    listener.raw.say(&append(first)).await;
    listener.hear(20_000).await;
    // This never arrives anywhere.
    let (_, recovered) = listener.move_to(servers[1].addr, &json!({})).await;
    assert_eq!(
        (&recovered["recovered"], &recovered["textOffset"]),
        (&json!(true), &json!(100)),
        "{recovered}"
    );
    listener.raw.say(&append(second)).await;
    listener.hear(40_000).await;
    listener.raw.say(r#"{"type":"cancel"}"#).await;
    let cancelled = listener.message("cancelled").await;
    let cut = cancelled["offset"].as_u64().unwrap() as usize;
    assert!(listener.audio.len() == cut && listener.audio == expected[..cut], "{cancelled}");
    let (_, recovered) = listener.move_to(servers[0].addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["rev"]), (&json!(true), &json!(1)), "{recovered}");
    assert_eq!(recovered["textOffset"], TEXT.len(), "{recovered}");
    listener.raw.say(&append("One more thing.")).await;
    listener.raw.say(r#"{"type":"end","drain":true}"#).await;
    listener.message("session_end").await;
    let last = undisturbed(&start("One more thing.", &json!({}))).await;
    assert!(listener.audio[cut..].ends_with(&last), "{} of {}", listener.audio.len() - cut, last.len());
}

#[tokio::test]
async fn session_of_another_token_is_not_found() {
    let Some(store) = Store::start("session_of_another_token_is_not_found").await else { return };
    let servers = [server(&store).await, server(&store).await];
    let mut listener = Listener::start(servers[0].addr, &start(TEXT, &paced())).await;
    listener.hear(6_000).await;
    for field in ["token", "sessionId"] {
        let (mut raw, _) = v1(servers[1].addr).await;
        raw.say(&listener.recover(&json!({field: "another"}))).await;
        let frames = raw.read_until("close").await;
        assert!(format!("{frames:?}").contains("session_not_found"), "{frames:?}");
    }
    // A place that the session does not have leaves it where it can be found.
    for wrong in [json!({"stream": 2}), json!({"rev": 1}), json!({"epoch": 9, "crc32": null})] {
        let (mut raw, _) = v1(servers[1].addr).await;
        let mut recover: Value = serde_json::from_str(&listener.recover(&wrong)).unwrap();
        recover.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        raw.say(&recover.to_string()).await;
        let frames = raw.read_until("close").await;
        assert!(format!("{frames:?}").contains("position_lost"), "{frames:?}");
        // The client that has it goes on.
        listener.hear(listener.audio.len() + 2_000).await;
    }
    let (_, recovered) = listener.move_to(servers[0].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    // A session that has ended is in no store.
    listener.raw.say(r#"{"type":"end"}"#).await;
    assert_eq!(listener.closed().await, 1000);
    within(async {
        while store.ask("DBSIZE").await.is_none_or(|answer| !answer.starts_with(":0")) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// An engine that never repeats itself: the sentence begins anew, and only if the client agrees.
#[tokio::test]
async fn sentence_of_an_engine_that_does_not_repeat_itself_begins_anew() {
    let Some(store) = Store::start("sentence_of_an_engine_that_does_not_repeat_itself").await else { return };
    let (engine, mut asked) = Scripted::new();
    let servers = [server_of(&store, engine.clone(), |_| {}).await, server_of(&store, engine, |_| {}).await];
    let mut listener = Listener::start(servers[0].addr, &start("One. Two. Three.", &json!({}))).await;
    let mut takes = Vec::new();
    for bytes in [1_000, 2_000] {
        let (utterance, mut sink) = within(asked.recv()).await.unwrap();
        takes.push(utterance.text.clone());
        sink.write(&vec![7; bytes / 2]).await.unwrap();
        sink.drain().await.unwrap();
        if bytes == 1_000 {
            sink.finish().await;
        } else {
            listener.hear(1_640).await;
            // The first server is there, and its engine hangs: the client is to wait, but not for ever.
            loop {
                let (error, close) = listener.is_refused(servers[1].addr).await;
                if close != 4503 {
                    assert_eq!((&error["code"], close), (&json!("position_lost"), 4411), "{error}");
                    break;
                }
            }
            let (_, recovered) = listener.move_to(servers[1].addr, &json!({"inexact": true})).await;
            let at = (&recovered["exact"], &recovered["offset"], &recovered["index"]);
            assert_eq!(at, (&json!(false), &json!(1_000), &json!(1)), "{recovered}");
        }
    }
    assert_eq!(takes, ["One.", "Two."]);
}

#[tokio::test]
async fn cancel_of_the_first_audio_is_answered() {
    let Some(store) = Store::start("cancel_of_the_first_audio_is_answered").await else { return };
    let server = server(&store).await;
    let options = json!({"source": "append", "delivery": {"mode": "paced", "aheadMs": 500}});
    let mut listener = Listener::start(server.addr, &start("", &options)).await;
    listener.raw.say(&json!({"type": "append", "text": TEXT}).to_string()).await;
    listener.hear(2).await;
    listener.raw.say(r#"{"type":"cancel"}"#).await;
    listener.message("cancelled").await;
}

/// A deploy: the first server stops while it speaks.
#[tokio::test]
async fn session_of_a_server_that_stops_goes_on_elsewhere() {
    let Some(store) = Store::start("session_of_a_server_that_stops_goes_on_elsewhere").await else { return };
    let start = start(TEXT, &paced());
    let expected = undisturbed(&start).await;
    let stops_at_once = |c: &mut Config| c.drain_timeout = Duration::ZERO;
    let mut first = server_of(&store, Arc::new(Flite::new()), stops_at_once).await;
    let second = server(&store).await;
    let mut listener = Listener::start(first.addr, &start).await;
    listener.hear(20_000).await;
    let stopped = first.stop();
    assert_eq!(listener.closed().await, 1012);
    listener.raw.say("").await;
    listener.raw.finish().await;
    within(stopped).await.unwrap();
    let (_, recovered) = listener.move_to(second.addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["exact"]), (&json!(true), &json!(true)), "{recovered}");
    listener.message("session_end").await;
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
}

/// The same with an engine that never repeats itself: the sentence in flight is taken to its end, and its audio goes
/// along.
#[tokio::test]
async fn stop_of_a_server_is_exact_for_every_engine() {
    let Some(store) = Store::start("stop_of_a_server_is_exact_for_every_engine").await else { return };
    let (engine, mut asked) = Scripted::new();
    let stops_at_once = |c: &mut Config| c.drain_timeout = Duration::ZERO;
    let mut first = server_of(&store, engine.clone(), stops_at_once).await;
    let second = server_of(&store, engine, |_| {}).await;
    let start = start("One. Two. Three.", &json!({"delivery": {"mode": "paced", "aheadMs": 200}}));
    let mut listener = Listener::start(first.addr, &start).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    let samples: Vec<i16> = (0..16_000).collect();
    sink.write(&samples[..8_000]).await.unwrap();
    listener.hear(1_280).await;
    // Half of the sentence is in the engine yet.
    let stopped = first.stop();
    listener.message("go_away").await;
    sink.write(&samples[8_000..]).await.unwrap();
    sink.finish().await;
    assert_eq!(listener.closed().await, 1012);
    listener.raw.finish().await;
    within(stopped).await.unwrap();
    assert!(listener.audio.len() < 16_000, "{} bytes", listener.audio.len());
    let (_, recovered) = listener.move_to(second.addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["exact"]), (&json!(true), &json!(true)), "{recovered}");
    for text in ["Two.", "Three."] {
        speak_next(&mut asked, text, &samples[..800]).await;
    }
    listener.message("session_end").await;
    let expected = bytes(&[&samples, &samples[..800], &samples[..800]]);
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
    let texts = listener.messages.iter().filter(|message| message["type"] == "text");
    let indexes: Vec<u64> = texts.map(|text| text["index"].as_u64().unwrap()).collect();
    assert!(indexes.windows(2).all(|pair| pair[0] <= pair[1]) && indexes.ends_with(&[1, 2]), "{indexes:?}");
}

/// A client comes to another server while the first one lives, and has audio that no engine finds again: it gives it.
#[tokio::test]
async fn server_that_lives_gives_what_only_it_has() {
    let Some(store) = Store::start("server_that_lives_gives_what_only_it_has").await else { return };
    let (engine, mut asked) = Scripted::new();
    let servers = [server_of(&store, engine.clone(), |_| {}).await, server_of(&store, engine, |_| {}).await];
    let start = start("One. Two. Three.", &json!({"delivery": {"mode": "paced", "aheadMs": 200}}));
    for is_lost_first in [false, true] {
        let mut listener = Listener::start(servers[0].addr, &start).await;
        let mut expected = Vec::new();
        for (turn, text) in ["One.", "Two.", "Three."].into_iter().enumerate() {
            let (utterance, mut sink) = within(asked.recv()).await.unwrap();
            assert_eq!(utterance.text, text);
            let samples: Vec<i16> = (0..16_000).map(|n| n + turn as i16).collect();
            expected.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
            sink.write(&samples[..8_000]).await.unwrap();
            listener.hear(turn * 32_000 + 1_280).await;
            let rest = async {
                sink.write(&samples[8_000..]).await.unwrap();
                sink.finish().await;
            };
            if is_lost_first {
                let (other, _) = v1(servers[turn % 2].addr).await;
                drop(std::mem::replace(&mut listener.raw, other));
                is_suspended(&servers[turn % 2]).await;
            }
            let more = json!({});
            let moves = listener.move_to(servers[(turn + 1) % 2].addr, &more);
            let ((_before, recovered), ()) = tokio::join!(moves, rest);
            let answer = (&recovered["recovered"], &recovered["exact"]);
            assert_eq!(answer, (&json!(true), &json!(true)), "{turn}, lost {is_lost_first}: {recovered}");
        }
        listener.message("session_end").await;
        assert!(listener.audio == expected, "{} of {}", listener.audio.len(), expected.len());
    }
}

/// The same with an answer that is being written: the server that lives hears the model out.
#[tokio::test]
async fn answer_of_a_model_goes_on_at_another_server() {
    let Some(store) = Store::start("answer_of_a_model_goes_on_at_another_server").await else { return };
    let (writer, mut asked) = Scripting::new();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let config = Config::default().with(|c| {
            c.store = Some(store.url().parse().unwrap());
            c.source = TextSource::Llm;
        });
        servers.push(start_writing(config, Arc::new(Flite::new()), writer.clone()).await);
        is_up(servers.last().unwrap()).await;
    }
    let mut listener = Listener::start(servers[0].addr, &start("Tea?", &paced())).await;
    let (_, mut pen) = within(asked.recv()).await.unwrap();
    pen.write("It is a long way to the harbour from here. ").await.unwrap();
    listener.hear(6_000).await;
    let written = async {
        pen.write("The boats are out, and the tea is in the pot.").await.unwrap();
        pen.finish().await;
    };
    let more = json!({});
    let ((_before, recovered), ()) = tokio::join!(listener.move_to(servers[1].addr, &more), written);
    assert_eq!((&recovered["recovered"], &recovered["exact"]), (&json!(true), &json!(true)), "{recovered}");
    let end = listener.message("session_end").await;
    assert_eq!(end["reason"], "completed", "{end}");
    let whole = "It is a long way to the harbour from here. The boats are out, and the tea is in the pot.";
    let expected = undisturbed(&start(whole, &json!({}))).await;
    assert!(listener.audio == expected, "{} of {}", listener.audio.len(), expected.len());
}

/// A session without a connection has audio as well that no engine finds again.
#[tokio::test]
async fn suspended_session_of_a_server_that_stops_is_exact_for_every_engine() {
    let test = "suspended_session_of_a_server_that_stops_is_exact_for_every_engine";
    let Some(store) = Store::start(test).await else { return };
    let (engine, mut asked) = Scripted::new();
    let mut first = server_of(&store, engine.clone(), |_| {}).await;
    let second = server_of(&store, engine, |_| {}).await;
    let start = start("One. Two.", &json!({"delivery": {"mode": "paced", "aheadMs": 200}}));
    let mut listener = Listener::start(first.addr, &start).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    let samples: Vec<i16> = (0..16_000).collect();
    sink.write(&samples[..8_000]).await.unwrap();
    listener.hear(1_280).await;
    let (other, _) = v1(second.addr).await;
    drop(std::mem::replace(&mut listener.raw, other));
    is_suspended(&first).await;
    let stopped = first.stop();
    sink.write(&samples[8_000..]).await.unwrap();
    sink.finish().await;
    within(stopped).await.unwrap();
    let (_, recovered) = listener.move_to(second.addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["exact"]), (&json!(true), &json!(true)), "{recovered}");
    speak_next(&mut asked, "Two.", &samples[..800]).await;
    listener.message("session_end").await;
    let expected = bytes(&[&samples, &samples[..800]]);
    assert!(listener.audio == expected, "{} of {}", listener.audio.len(), expected.len());
}

/// An engine is asked for no more than the look-ahead before that, and is quick.
#[tokio::test]
async fn stop_of_a_server_is_quick_for_a_quick_engine() {
    let Some(store) = Store::start("stop_of_a_server_is_quick_for_a_quick_engine").await else { return };
    let (engine, mut asked) = Scripted::new();
    let mut first = server_of(&store, engine.clone(), |c| c.drain_timeout = Duration::from_millis(300)).await;
    let start = start("One. Two.", &json!({"delivery": {"mode": "paced", "aheadMs": 200}}));
    let mut listener = Listener::start(first.addr, &start).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    let samples: Vec<i16> = (0..32_000).map(|n| n as i16).collect();
    let speaks = async {
        for _ in 0..2 {
            sink.write(&samples).await.unwrap();
        }
        sink.finish().await;
    };
    let stops = async {
        listener.hear(1_280).await;
        let began = std::time::Instant::now();
        first.stop();
        assert_eq!(listener.closed().await, 1012);
        // A client that answers the Close, and waits for the end of the connection.
        listener.raw.send_bytes(&close(1012, "")).await;
        within(listener.raw.read_to_close()).await;
        let closed = began.elapsed();
        within(first.stop()).await.unwrap();
        (closed, began.elapsed())
    };
    let ((), (closed, stopped)) = tokio::join!(speaks, stops);
    assert!(closed < Duration::from_secs(2) && stopped < Duration::from_secs(3), "{closed:?} {stopped:?}");
}

/// A client is at the next server as soon as the first one has closed its connection, however far the store is.
#[tokio::test]
async fn session_is_in_a_slow_store_before_its_connection_is_closed() {
    let test = "session_is_in_a_slow_store_before_its_connection_is_closed";
    let Some(store) = Store::start(test).await else { return };
    let relay = Relay::to(&store, Duration::from_millis(60)).await;
    let (engine, mut asked) = Scripted::new();
    let stops_at_once = |c: &mut Config| c.drain_timeout = Duration::ZERO;
    let mut first = server_by(&relay.url(), engine.clone(), stops_at_once).await;
    let second = server_of(&store, engine, |_| {}).await;
    let start = start("One. Two.", &json!({"delivery": {"mode": "paced", "aheadMs": 200}}));
    let mut listener = Listener::start(first.addr, &start).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    let samples: Vec<i16> = (0..16_000).collect();
    sink.write(&samples).await.unwrap();
    listener.hear(1_280).await;
    first.stop();
    listener.message("go_away").await;
    sink.finish().await;
    assert_eq!(listener.closed().await, 1012);
    let (_, recovered) = listener.move_to(second.addr, &json!({})).await;
    assert_eq!((&recovered["recovered"], &recovered["exact"]), (&json!(true), &json!(true)), "{recovered}");
    speak_next(&mut asked, "Two.", &samples[..800]).await;
    listener.message("session_end").await;
    let expected = bytes(&[&samples, &samples[..800]]);
    assert!(listener.audio == expected, "{} of {} bytes", listener.audio.len(), expected.len());
}

/// A client can return to a stream as soon as it knows of it.
#[tokio::test]
async fn stream_is_in_the_store_before_it_is_announced() {
    let Some(store) = Store::start("stream_is_in_the_store_before_it_is_announced").await else { return };
    let relay = Relay::to(&store, Duration::from_millis(15)).await;
    let first = server_by(&relay.url(), Arc::new(Flite::new()), |_| {}).await;
    let second = server(&store).await;
    for source in ["verbatim", "append"] {
        let options = json!({"source": source});
        let mut listener = Listener::start(first.addr, &start("One.", &options)).await;
        listener.message("stream_start").await;
        let (_, recovered) = listener.move_to(second.addr, &json!({})).await;
        assert_eq!(recovered["recovered"], true, "{source}: {recovered}");
    }
}

/// Files with a key for tickets and the SHA-256 of the token `secret`, removed at the end.
struct Files([PathBuf; 2]);

impl Files {
    fn new() -> Files {
        let secret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let at =
            |name: &str| std::env::temp_dir().join(format!("aloud-replicas-{name}-{}", std::process::id()));
        let files = [(at("key"), "k".repeat(32)), (at("tokens"), format!("{secret}\n"))];
        Files(files.map(|(path, text)| {
            std::fs::write(&path, text).unwrap();
            path
        }))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

#[tokio::test]
async fn ticket_opens_one_session_of_all_servers() {
    let Some(store) = Store::start("ticket_opens_one_session_of_all_servers").await else { return };
    let files = Files::new();
    let guarded = |c: &mut Config| {
        let [key, tokens] = files.0.clone();
        (c.admission.auth, c.admission.ticket_key_file) = (Auth::Tokens(tokens), Some(key));
    };
    let flite = || Arc::new(Flite::new());
    let servers = [server_of(&store, flite(), guarded).await, server_of(&store, flite(), guarded).await];
    for (turn, carries_later) in [false, true].into_iter().enumerate() {
        let mut client = raw(servers[0].addr).await;
        let post = format!("POST {PATH} HTTP/1.1").replace("/ws", "/ticket");
        let head =
            format!("{post}\r\nHost: localhost\r\nContent-Length: 0\r\nAuthorization: Bearer secret\r\n\r\n");
        client.send_bytes(head.as_bytes()).await;
        let (_, body) = client.read_answer().await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        let ticket = answer["ticket"].as_str().unwrap();
        let mut opened = 0;
        let mut clients = Vec::new();
        for server in &servers {
            let mut client = raw(server.addr).await;
            let carried = format!("Sec-WebSocket-Protocol: aloud.v1, bearer.{ticket}\r\n");
            let lines = if carries_later { V1 } else { &carried };
            client.send_bytes(&opening_with(server.addr, PATH, lines)).await;
            if carries_later {
                client.say(&json!({"type": "auth", "token": ticket}).to_string()).await;
            }
            client.say(&start("One.", &json!({})).to_string()).await;
            clients.push(client);
        }
        for mut client in clients {
            assert_eq!(client.read_head().await.status, 101);
            let mut is_greeted = false;
            loop {
                match client.read_frame().await {
                    Frame::Close(close) => {
                        assert_eq!(close.unwrap().0, 4401, "{turn}");
                        assert!(!is_greeted, "{turn}: a client that is turned away is greeted");
                        break;
                    }
                    Frame::Text(message) if message["type"] == "session_start" && !carries_later => {
                        is_greeted = true;
                    }
                    Frame::Text(message) if message["type"] == "stream_start" => {
                        opened += 1;
                        break;
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(opened, 1, "{turn}");
    }
}

/// Two connections ask two servers for a session at the same time: one of them has it in the end, whichever was first.
#[tokio::test]
async fn session_that_is_claimed_twice_at_once_has_one_owner() {
    let Some(store) = Store::start("session_that_is_claimed_twice_at_once_has_one_owner").await else {
        return;
    };
    let servers = [server(&store).await, server(&store).await];
    let long = [TEXT; 40].join(" ");
    let mut listener = Listener::start(servers[0].addr, &start(&long, &paced())).await;
    listener.hear(2_000).await;
    let rounds = std::env::var("ALOUD_TEST_CLAIMS").ok().map_or(200, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let recover = listener.recover(&json!({}));
        let [mut first, mut second] = [v1(servers[0].addr).await.0, v1(servers[1].addr).await.0];
        tokio::join!(first.say(&recover), second.say(&recover));
        // The one that keeps it is the one that is not closed.
        let loser = within(async {
            loop {
                let (frame, is_first) = tokio::select! {
                    frame = first.next_frame() => (frame, true),
                    frame = second.next_frame() => (frame, false),
                };
                match frame {
                    Some(Frame::Close(close)) => {
                        assert_eq!(close.unwrap().0, 4409, "{round}");
                        return is_first;
                    }
                    Some(Frame::Text(message)) if message["type"] == "recovered" => {
                        assert_eq!(message["recovered"], true, "{round}: {message}");
                    }
                    None => panic!("{round}: broken"),
                    _ => {}
                }
            }
        })
        .await;
        let mut winner = if loser { second } else { first };
        winner.say(r#"{"type":"ping","id":"1"}"#).await;
        let frames = winner.read_until("pong").await;
        assert!(!frames.iter().any(|frame| matches!(frame, Frame::Close(_))), "{round}: {frames:?}");
        listener.raw = winner;
    }
}

/// The same at one server, which does not have the session yet.
#[tokio::test]
async fn session_that_is_claimed_twice_at_one_server_has_one_owner() {
    let test = "session_that_is_claimed_twice_at_one_server_has_one_owner";
    let Some(store) = Store::start(test).await else { return };
    let servers = [server(&store).await, server(&store).await];
    let long = [TEXT; 40].join(" ");
    let mut listener = Listener::start(servers[0].addr, &start(&long, &paced())).await;
    listener.hear(2_000).await;
    for round in 1..=100 {
        let (addr, recover) = (servers[round % 2].addr, listener.recover(&json!({})));
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(v1(addr).await.0);
        }
        for client in &mut clients {
            client.say(&recover).await;
        }
        let mut kept = within(async {
            while clients.len() > 1 {
                let mut frames: Vec<_> =
                    clients.iter_mut().map(|client| Box::pin(client.next_frame())).collect();
                let (frame, closed) = poll_fn(|cx| {
                    let mut ready =
                        frames.iter_mut().zip(0..).filter_map(|(frame, n)| match frame.as_mut().poll(cx) {
                            Poll::Ready(frame) => Some((frame, n)),
                            Poll::Pending => None,
                        });
                    ready.next().map_or(Poll::Pending, Poll::Ready)
                })
                .await;
                drop(frames);
                if let Some(Frame::Close(close)) = frame {
                    assert_eq!(close.unwrap().0, 4409, "{round}");
                    drop(clients.remove(closed));
                }
            }
            clients.pop().unwrap()
        })
        .await;
        kept.say(r#"{"type":"ping","id":"1"}"#).await;
        let frames = kept.read_until("pong").await;
        assert!(!frames.iter().any(|frame| matches!(frame, Frame::Close(_))), "{round}: {frames:?}");
        listener.raw = kept;
    }
}

/// The access list of the guide is enough.
#[tokio::test]
async fn access_list_of_the_guide_is_enough() {
    let Some(store) = Store::start("access_list_of_the_guide_is_enough").await else { return };
    let guide = aloud::guide::topic("replicas").unwrap().text;
    let list = guide.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    let answer = store.ask(&list.replace(">PASSWORD", ">secret")).await.unwrap();
    assert!(answer.starts_with("+OK"), "{answer}");
    assert!(store.ask("ACL SETUSER default off").await.unwrap().starts_with("+OK"));
    let url = store.url().replace("redis://", "redis://aloud:secret@");
    let server = |url: String| async move {
        let config = Config::default().with(|c| {
            c.store = Some(url.parse().unwrap());
            (c.admission.max_client_sessions, c.admission.max_client_chars_per_hour) =
                (Some(100), Some(100_000));
        });
        start_with(config, Arc::new(Flite::new())).await
    };
    let servers = [server(url.clone()).await, server(url).await];
    is_up(&servers[0]).await;
    is_up(&servers[1]).await;
    let mut listener = Listener::start(servers[0].addr, &start(TEXT, &paced())).await;
    listener.hear(6_000).await;
    let (mut before, recovered) = listener.move_to(servers[1].addr, &json!({})).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    before.read_until("close").await;
    listener.raw.say(r#"{"type":"end"}"#).await;
    assert_eq!(listener.closed().await, 1000);
    within(async {
        let shared = r#"aloud_store_operations_total{operation="share",result="done"}"#;
        while metric(&servers[1], shared) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for operation in ["put", "remove", "claim", "share"] {
        let failed = format!(r#"aloud_store_operations_total{{operation="{operation}",result="failed"}}"#);
        assert_eq!(metric(&servers[0], &failed) + metric(&servers[1], &failed), 0, "{operation}");
    }
    assert_eq!(metric(&servers[1], "aloud_store_up"), 1);
}
