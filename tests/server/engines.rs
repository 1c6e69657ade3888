//! Engines as clients and operators see them: the queue, overload, the fallback, voices, limits, and
//! the warm-up before the first client.

use crate::support::{
    self, FORMAT, Frame, Raw, Scripted, audio, close, crc32, messages, over_memory, raw, session, spoken,
    start_echo, start_with, v1, within,
};
use aloud::audio::{Encoding, Format};
use aloud::tts::{Fallback, Flite, Queue, QueueBounds, Speech, SynthesisError, Synthesizer, Tone, Utterance};
use aloud::{Config, Service};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const START: &str = r#"{"type":"start_session","prompt":"Good evening. The kettle is on. Tea is ready."}"#;

fn queued(engine: Arc<dyn Synthesizer>, concurrency: usize, waiting: usize) -> Arc<Queue> {
    Arc::new(Queue::new(engine, QueueBounds { concurrency, waiting, ..QueueBounds::default() }))
}

/// An engine that fails each sentence at once, or stays silent without an end.
struct Broken {
    hangs: bool,
}

impl Synthesizer for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        if !self.hangs {
            return Speech::failed(SynthesisError::failed("The model is missing."));
        }
        let (sink, speech) = Speech::channel(&utterance, FORMAT.sample_rate_hz);
        tokio::spawn(async move { sink.cancelled().await });
        speech
    }
}

#[tokio::test]
async fn queue_that_is_full_closes_with_try_again_later() {
    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default().with(|c| c.prefetch = 1), queued(engine, 1, 1)).await;
    let (mut working, mut waiting) = (session(server.addr).await, session(server.addr).await);
    working.say(START).await;
    let busy = within(asked.recv()).await.unwrap();
    waiting.say(START).await;
    waiting.before_pong().await;

    let (mut refused, _) = v1(server.addr).await;
    refused.say(START).await;
    let frames = refused.read_until("error").await;
    let error = messages(&frames).pop().unwrap();
    assert_eq!((&error["code"], &error["fatal"]), (&json!("overloaded"), &json!(true)));
    assert!(error["message"].as_str().unwrap().contains("overloaded"), "{error}");
    assert_eq!(closed_with(&mut refused).await, 4503);

    let mut refused = session(server.addr).await;
    refused.say(START).await;
    refused.read_until("error").await;
    assert_eq!(closed_with(&mut refused).await, 1013);

    // The sessions that came first are not affected.
    drop(busy);
    let (utterance, mut sink) = within(asked.recv()).await.unwrap();
    assert_eq!(utterance.index, 0, "the next sentence is one of the other session");
    sink.push(&[1; 320]).unwrap();
    waiting.read_until("binary").await;
}

#[tokio::test]
async fn queue_has_room_once_a_client_leaves() {
    let (engine, mut asked) = Scripted::new();
    let queue = queued(engine, 1, 1);
    let server = start_with(Config::default().with(|c| c.prefetch = 1), queue.clone()).await;
    let mut working = session(server.addr).await;
    working.say(START).await;
    let _busy = within(asked.recv()).await.unwrap();
    for _ in 0..3 {
        let mut waiting = session(server.addr).await;
        waiting.say(START).await;
        waiting.before_pong().await;
        assert_eq!(queue.waiting(), 1);
        drop(waiting);
        within(async {
            while queue.waiting() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Runs one session for each of these texts. Returns the order in which the engine worked on the
/// sessions' sentences, one at a time.
async fn order_of(texts: &[String], prefetch: usize) -> Vec<usize> {
    let (engine, mut asked) = Scripted::new();
    let config = Config::default().with(|c| c.prefetch = prefetch);
    let server = start_with(config, queued(engine, 1, 1_000)).await;
    let mut clients = Vec::new();
    for text in texts {
        let mut client = session(server.addr).await;
        client.say(&json!({"type": "start_session", "prompt": text}).to_string()).await;
        client.before_pong().await;
        clients.push(client);
    }
    let sentences: usize = texts.iter().map(|text| text.matches('.').count()).sum();
    let mut sessions: Vec<Arc<str>> = Vec::new();
    let mut order = Vec::new();
    for _ in 0..sentences {
        let (utterance, mut sink) = within(asked.recv()).await.unwrap();
        let known = sessions.iter().position(|id| *id == utterance.session);
        order.push(known.unwrap_or_else(|| {
            sessions.push(Arc::clone(&utterance.session));
            sessions.len() - 1
        }));
        sink.push(&[1; 80]).unwrap();
        drop(utterance);
        within(sink.finish()).await;
    }
    order
}

#[tokio::test]
async fn queue_serves_a_short_text_beside_a_long_one() {
    let long = "Here is one more sentence of a long text. ".repeat(50);
    for prefetch in [1, 2, 50] {
        let order = order_of(&[long.clone(), "This one is short.".to_owned()], prefetch).await;
        let place = order.iter().position(|&session| session == 1).unwrap();
        assert!(place <= 2, "turn {place} with a prefetch of {prefetch}");
        assert_eq!(order.len(), 51);
    }
    // Of three long texts each has its share at any time.
    let order = order_of(&[long.clone(), long.clone(), long], 2).await;
    for n in 3..147 {
        let mine = |session: usize| order[..n].iter().filter(|&&one| one == session).count();
        let shares = [mine(0), mine(1), mine(2)];
        assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 2, "{shares:?} after {n}");
    }
}

#[tokio::test]
async fn fallback_speaks_sentences_that_the_first_engine_fails() {
    let engine = Fallback::new(Arc::new(Broken { hangs: false }), Arc::new(Tone::new(FORMAT, 0.1)));
    let server = start_with(Config::default(), Arc::new(engine)).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    let of = |kind: &str| messages(&frames).into_iter().filter(|m| m["type"] == kind).collect::<Vec<Value>>();
    assert_eq!(audio(&frames).len(), 3 * 1_600);
    assert_eq!((of("error").len(), of("sentence_end").len()), (0, 3));
    let warnings = of("warning");
    assert_eq!((warnings.len(), &warnings[0]["code"]), (1, &json!("fallback_engine")));
    assert!(warnings[0]["message"].as_str().unwrap().contains("tone"), "{warnings:?}");

    // A client of the base protocol hears it and gets no message of `aloud.v1`.
    let mut client = session(server.addr).await;
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(audio(&frames).len(), 3 * 1_600);
    assert!(messages(&frames).iter().all(|message| message["type"] != "warning"));
}

#[tokio::test]
async fn fallback_takes_over_after_a_sentence_that_breaks_off() {
    let (first, mut asked) = Scripted::new();
    let engine = Fallback::new(first, Arc::new(Tone::new(FORMAT, 0.1)));
    let server = start_with(Config::default().with(|c| c.prefetch = 1), Arc::new(engine)).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(START).await;
    let (_, mut sink) = within(asked.recv()).await.unwrap();
    sink.push(&[1; 320]).unwrap();
    tokio::spawn(sink.fail(SynthesisError::failed("It broke.")));
    let frames = client.read_until("session_end").await;
    let kinds: Vec<&str> = frames.iter().map(Frame::kind).filter(|kind| *kind != "binary").collect();
    // An answer may overtake the contents of the log.
    assert_eq!(kinds.iter().filter(|kind| **kind == "warning").count(), 1);
    let stream = kinds.iter().copied().filter(|kind| !["warning", "timestamps"].contains(kind));
    let stream: Vec<&str> = stream.collect();
    assert_eq!(stream[..6], ["stream_start", "text", "error", "sentence_end", "text", "sentence_end"]);
    assert_eq!(audio(&frames).len(), 640 + 2 * 1_600);
    assert!(asked.try_recv().is_err(), "the first engine gets no further request");
}

/// Returns the code of the next Close. The client answers it, so that the server need not wait.
async fn closed_with(client: &mut Raw) -> u16 {
    let frame = client.read_frame().await;
    let Frame::Close(Some((code, reason))) = frame else { panic!("no Close but {frame:?}") };
    client.send_bytes(&close(code, &reason)).await;
    code
}

/// The audio of the next sentence.
async fn sentence(client: &mut Raw) -> Vec<u8> {
    audio(&client.read_until("sentence_end").await)
}

#[tokio::test]
async fn voice_is_set_per_session_and_by_update() {
    let engine = Arc::new(Flite::new());
    let format = engine.format();
    let server = start_with(Config::default(), engine.clone()).await;
    let text = "Good evening, everybody.";
    let expected = async |voice: &str, speed: f32| {
        let mut utterance = Utterance::new(text, format);
        (utterance.voice, utterance.speed) = (voice.to_owned(), speed);
        support::spoken(engine.as_ref(), utterance).await
    };
    let append = json!({"type": "append", "text": text}).to_string();
    let flush = r#"{"type":"flush"}"#;
    let (mut client, _) = v1(server.addr).await;
    let start = json!({"type": "start_session", "source": "append", "voice": "kal16-low"});
    client.say(&start.to_string()).await;
    let updates = [
        (json!({}), "kal16-low", 1.0),
        (json!({"voice": "kal16-high"}), "kal16-high", 1.0),
        (json!({"speed": 2.0}), "kal16-high", 2.0),
        (json!({"voice": "kal16", "speed": 1.0}), "kal16", 1.0),
        (json!({"language": "de"}), "kal16", 1.0),
    ];
    let mut heard = Vec::new();
    for (update, voice, speed) in updates {
        let mut update = update;
        update["type"] = json!("update");
        client.say(&update.to_string()).await;
        client.say(&append).await;
        client.say(flush).await;
        heard.push(sentence(&mut client).await);
        assert!(*heard.last().unwrap() == expected(voice, speed).await, "{update}");
    }
    assert!(heard[0] != heard[1] && heard[1] != heard[3]);
    // Another session is not affected.
    let (mut other, _) = v1(server.addr).await;
    other.say(&json!({"type": "start_session", "prompt": text, "language": "en"}).to_string()).await;
    assert!(sentence(&mut other).await == expected("", 1.0).await);
    let (mut other, _) = v1(server.addr).await;
    other.say(&json!({"type": "start_session", "prompt": text, "voice": "kal17"}).to_string()).await;
    let error = messages(&other.read_until("error").await).pop().unwrap();
    assert_eq!(error["code"], "unknown_voice");
    assert!(error["message"].as_str().unwrap().contains("kal16-low"), "{error}");
}

/// Asks for a path with a method: the head and the body of the answer.
async fn ask(addr: std::net::SocketAddr, method: &str, path: &str) -> (support::Head, String) {
    let mut client = raw(addr).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    client.send_bytes(request.as_bytes()).await;
    let head = client.read_head().await;
    let body = client.read_to_close().await;
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn voices_are_listed() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (head, body) = ask(server.addr, "GET", "/api/voices?x=y").await;
    assert_eq!((head.status, head.header("content-type").as_deref()), (200, Some("application/json")));
    assert_eq!(head.header("cache-control").as_deref(), Some("max-age=60"));
    let voices: Value = serde_json::from_str(&body).unwrap();
    let voice = |name: &str, label: &str, default: bool| json!({"name": name, "label": format!("{label}, English (US), male"), "language": "en-US", "gender": "male", "sampleRate": 16000, "default": default});
    let expected = json!([
        voice("kal16", "Kal16", true),
        voice("kal16-low", "Kal16-low", false),
        voice("kal16-high", "Kal16-high", false)
    ]);
    assert_eq!(voices, expected);

    let (also, nothing) = ask(server.addr, "HEAD", "/api/voices").await;
    assert_eq!((also.status, nothing.as_str()), (200, ""));
    assert_eq!(also.header("content-length"), Some(body.len().to_string()));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) = ask(server.addr, method, "/api/voices").await;
        assert_eq!((head.status, head.header("allow").as_deref()), (405, Some("GET, HEAD")), "{method}");
    }
    for path in ["/api/voices/", "/api/voice", "/api/voicess"] {
        assert_eq!(ask(server.addr, "GET", path).await.0.status, 404, "{path}");
    }
    // Unknown properties are left out.
    let server = start_with(Config::default(), Scripted::new().0).await;
    let (_, body) = ask(server.addr, "GET", "/api/voices").await;
    let voices: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        voices,
        json!([{"name": "scripted", "label": "Scripted", "sampleRate": 8000, "default": true}])
    );
    // An echo has no voices: every path of it is a WebSocket.
    let server = start_echo(Config::default()).await;
    assert_eq!(ask(server.addr, "GET", "/api/voices").await.0.status, 426);
}

#[tokio::test]
async fn character_limit_closes_the_session() {
    let config = || Config::default().with(|c| c.max_session_chars = Some(32));
    let server = start_with(config(), Arc::new(Tone::new(FORMAT, 0.1))).await;
    let (mut client, greeting) = v1(server.addr).await;
    assert!(greeting["limits"].get("maxSessionChars").is_none(), "the contract lists the announced limits");
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    let messages = messages(&frames);
    assert_eq!(audio(&frames).len(), 2 * 1_600, "the text within the limit is heard");
    assert_eq!(messages[messages.len() - 2]["code"], "text_too_long");
    assert_eq!(messages[messages.len() - 1]["reason"], "error");
    assert_eq!(messages[messages.len() - 1]["usage"]["chars"], 30);
    assert_eq!(closed_with(&mut client).await, 4413);

    let mut client = session(server.addr).await;
    client.say(START).await;
    let frames = client.read_until("session_end").await;
    assert_eq!(audio(&frames).len(), 2 * 1_600);
    assert_eq!(closed_with(&mut client).await, 1008);
}

#[tokio::test]
async fn warm_up_checks_the_engine_before_the_first_client() {
    let service = |engine: Arc<dyn Synthesizer>| Service::new(Config::default(), engine).unwrap();
    let tone = || Arc::new(Tone::new(FORMAT, 0.1));
    let broken = |hangs| Arc::new(Broken { hangs });
    for engine in [Arc::new(Flite::new()) as Arc<dyn Synthesizer>, tone(), queued(tone(), 1, 1)] {
        let service = service(engine);
        assert!(within(service.warm_up()).await.unwrap() < Duration::from_secs(10));
        assert_eq!(service.syntheses().count(), 0);
    }
    // Both engines have to work.
    let cases: [Arc<dyn Synthesizer>; 4] = [
        broken(false),
        queued(broken(false), 1, 1),
        Arc::new(Fallback::new(broken(false), tone())),
        Arc::new(Fallback::new(tone(), broken(false))),
    ];
    for engine in cases {
        let error = within(service(engine).warm_up()).await.unwrap_err().to_string();
        assert_eq!(error, "the engine broken cannot speak: The model is missing.");
    }
    let silent = within(service(Arc::new(Tone::new(FORMAT, 0.0))).warm_up()).await.unwrap_err().to_string();
    assert!(silent.contains("the engine tone cannot speak: It gave no audio"), "{silent}");
}

#[tokio::test(start_paused = true)]
async fn warm_up_has_half_a_minute() {
    let service = Service::new(Config::default(), Arc::new(Broken { hangs: true })).unwrap();
    let began = tokio::time::Instant::now();
    let error = service.warm_up().await.unwrap_err().to_string();
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    assert!(error.contains("broken") && error.contains("30 s"), "{error}");
}

/// Measures the wait of a short text for its first audio beside a text of fifty sentences. The engine
/// takes 1 s for a sentence, one at a time. The order of its requests shows the result.
#[tokio::test(start_paused = true)]
async fn queue_delays_a_short_text_by_one_sentence_of_a_long_one() {
    let (engine, mut asked) = Scripted::new();
    tokio::spawn(async move {
        while let Some((utterance, mut sink)) = asked.recv().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let _ = sink.push(&[1; 80]);
                drop(utterance);
                sink.finish().await;
            });
        }
    });
    let queue = queued(engine, 1, 1_000);
    let service = Service::new(Config::default().with(|c| c.prefetch = 50), queue.clone()).unwrap();
    let mut long = over_memory(&service, 1 << 20, "").await;
    let prompt = "Here is one more sentence of a long text. ".repeat(50);
    long.say(&json!({"type": "start_session", "prompt": prompt}).to_string()).await;
    long.read_until("binary").await;
    assert_eq!(queue.waiting(), 48);
    let mut short = over_memory(&service, 1 << 20, "").await;
    let began = tokio::time::Instant::now();
    short.say(r#"{"type":"start_session","prompt":"This one is short."}"#).await;
    short.read_until("binary").await;
    let waited = began.elapsed();
    // The sentence in flight, at most one of the long text, and its own.
    assert!(waited <= Duration::from_secs(3), "{waited:?}");
    eprintln!("beside 48 sentences that wait, a second each: {waited:?} to the first audio");
}

/// Servers on different systems continue each other's sessions, so that the last bit of a sine matters.
#[tokio::test]
async fn audio_is_the_same_on_every_system() {
    let format = |sample_rate_hz| Format { encoding: Encoding::PcmS16le, sample_rate_hz };
    let tone = Tone::new(format(44_100), 1.5);
    let flite = Flite::new();
    let engines: [(&dyn Synthesizer, u32, u32); 4] = [
        (&tone, 44_100, 735677097),
        (&tone, 22_050, 1295451562),
        (&flite, 16_000, 2947138912),
        (&flite, 48_000, 3092907761),
    ];
    for (engine, rate, crc) in engines {
        let audio = spoken(engine, Utterance::new("Good evening, it is half past nine.", format(rate))).await;
        assert_eq!(crc32(&audio), crc, "{} at {rate}", engine.name());
    }
}
