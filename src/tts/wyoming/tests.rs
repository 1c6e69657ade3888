use super::super::testing::{pieces, soon};
use super::super::{Piece, SynthesisError, SynthesisErrorKind};
use super::*;
use crate::gauge::Gauge;
use crate::upstream::Deadlines;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A server that answers each connection with the next of some answers, and then as `ends` says.
struct Fake {
    url: String,
    /// The requests, and an empty line when a client has closed its connection.
    requests: mpsc::UnboundedReceiver<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Closes,
    Waits,
}

async fn fake(answers: Vec<Vec<u8>>, ends: Ends) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut read = tokio::io::BufReader::new(read);
            let mut line = String::new();
            read.read_line(&mut line).await.unwrap();
            let _ = sender.send(line);
            let sender = sender.clone();
            tokio::spawn(async move {
                let _ = write.write_all(&answer).await;
                if ends == Ends::Waits {
                    // The client sends no more: this is the end of its connection.
                    let _ = read.read_line(&mut String::new()).await;
                    let _ = sender.send(String::new());
                }
            });
        }
    });
    Fake { url, requests }
}

fn settings(url: &str) -> UpstreamSettings {
    UpstreamSettings::new("speech engine", url)
}

fn engine(url: &str) -> Wyoming {
    patient(url, Deadlines::default())
}

/// An engine with these time limits.
fn patient(url: &str, deadlines: Deadlines) -> Wyoming {
    let mut settings = settings(url);
    settings.retries.backoff = Duration::from_millis(1);
    let mut engine = Wyoming::new(UpstreamSettings { deadlines, ..settings }).unwrap();
    engine.treatment = Treatment { lead_ms: 0, tail_ms: 0, ..Treatment::default() };
    engine
}

fn utterance(engine: &Wyoming, text: &str) -> Utterance {
    Utterance::new(text, engine.format())
}

/// An event as the library of Home Assistant writes it: its data behind the line.
fn event(name: &str, data: &Value, payload: &[u8]) -> Vec<u8> {
    let data = data.to_string();
    let head =
        json!({"type":name,"version":"1.10.2","data_length":data.len(),"payload_length":payload.len()});
    [format!("{head}\n{data}").as_bytes(), payload].concat()
}

fn audio(rate: u32) -> Value {
    json!({"rate":rate,"width":2,"channels":1,"timestamp":null})
}

/// Samples of a loud tone.
fn samples(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| (if n / 20 % 2 == 0 { 9_000_i16 } else { -9_000 }).to_le_bytes()).collect()
}

/// A whole answer with so many samples, in chunks.
fn answer(rate: u32, count: usize) -> Vec<u8> {
    let mut bytes = event("audio-start", &audio(rate), b"");
    for chunk in samples(count).chunks(1_999) {
        bytes.extend(event("audio-chunk", &audio(rate), chunk));
    }
    bytes.extend(event("audio-stop", &json!({"timestamp":7}), b""));
    bytes
}

async fn spoken(engine: &Wyoming, text: &str) -> (usize, Vec<&'static str>, Option<SynthesisError>) {
    let (pieces, error) = pieces(engine.speak(utterance(engine, text))).await;
    let (mut bytes, mut warnings) = (0, Vec::new());
    for piece in pieces {
        match piece {
            Piece::Audio(audio) => bytes += audio.len(),
            Piece::Warning(warning) => warnings.push(warning.code),
            Piece::Words(_) => panic!("no words"),
        }
    }
    (bytes, warnings, error)
}

#[tokio::test]
async fn audio_of_an_answer_is_the_speech() {
    for (rate, count) in [(22_050, 22_050), (22_050, 1_000), (16_000, 16_000), (44_100, 88_200)] {
        let fake = fake(vec![answer(rate, count)], Ends::Waits).await;
        let (bytes, warnings, error) = spoken(&engine(&fake.url), "Hello.").await;
        assert_eq!((warnings, error), (vec![], None));
        let expected = count as f64 * 22_050.0 / f64::from(rate) * 2.0;
        assert!((bytes as f64 - expected).abs() < 400.0, "{rate} Hz: {bytes} of {expected}");
    }
}

#[tokio::test]
async fn the_request_names_text_and_voice() {
    let hello = |fields: Value| json!({"type":"synthesize","data":fields});
    for (voices, voice, language, expected) in [
        (&[][..], "", "", json!({"text":"A \"b\"\nc."})),
        (&[], "wyoming", "", json!({"text":"A \"b\"\nc."})),
        (&[], "", "de", json!({"text":"A \"b\"\nc.","voice":{"language":"de"}})),
        (&["x", "y"], "", "de", json!({"text":"A \"b\"\nc.","voice":{"name":"x"}})),
        (&["x", "y"], "y", "", json!({"text":"A \"b\"\nc.","voice":{"name":"y"}})),
    ] {
        let mut fake = fake(vec![answer(22_050, 500)], Ends::Closes).await;
        let mut engine = engine(&fake.url);
        engine.voices = voices.iter().map(|&voice| voice.to_owned()).collect();
        let mut utterance = utterance(&engine, "A \"b\"\nc.");
        (utterance.voice, utterance.language) = (voice.to_owned(), language.to_owned());
        assert_eq!(pieces(engine.speak(utterance)).await.1, None);
        let request: Value = serde_json::from_str(&soon(fake.requests.recv()).await.unwrap()).unwrap();
        assert_eq!(request, hello(expected));
    }
}

#[tokio::test]
async fn wrong_answers_say_why() {
    let chunk = event("audio-chunk", &audio(22_050), &samples(400));
    let failed = SynthesisErrorKind::Failed;
    for (bytes, kind, why) in [
        (b"HTTP/1.1 200 OK\r\n".to_vec(), failed, "no event of Wyoming"),
        (
            event("error", &json!({"text":"No such voice","code":"x"}), b""),
            failed,
            "an error: \"No such voice\"",
        ),
        (event("error", &json!({}), b""), failed, "reports an error"),
        ([&chunk[..], &event("error", &json!({"text":"a\nb"}), b"")].concat(), failed, "\"a\\nb\""),
        (
            event("audio-start", &json!({"rate":0,"width":2,"channels":1}), b""),
            failed,
            "rate is not from 4000",
        ),
        (
            event("audio-start", &json!({"rate":16000,"width":5,"channels":1}), b""),
            failed,
            "width is not from 1",
        ),
        (event("audio-start", &json!({"rate":16000,"width":2}), b""), failed, "channels is not from 1 to 16"),
        (
            [&chunk[..], &event("audio-chunk", &audio(16_000), &samples(9))].concat(),
            failed,
            "changed the format",
        ),
        ([&chunk[..], b"{}\n"].concat(), failed, "without a type"),
        (chunk[..chunk.len() - 1].to_vec(), failed, "broke off its answer"),
        (chunk.clone(), failed, "broke off its answer"),
        (event("audio-stop", &json!({}), b""), SynthesisErrorKind::NoAudio, "no audio for this sentence"),
        (
            [event("audio-chunk", &audio(22_050), &[0; 9_000]), event("audio-stop", &json!({}), b"")]
                .concat(),
            SynthesisErrorKind::NoAudio,
            "silence",
        ),
        (
            [event("info", &json!({"tts":[]}), b"abc"), event("audio-stop", &json!({}), b"")].concat(),
            SynthesisErrorKind::NoAudio,
            "no audio",
        ),
    ] {
        let fake = fake(vec![bytes], Ends::Closes).await;
        let (_, warnings, error) = spoken(&engine(&fake.url), "Hello.").await;
        let error = error.unwrap_or_else(|| panic!("an error: {why}"));
        assert!(error.kind == kind && error.message.contains(why) && warnings.is_empty(), "{why}: {error:?}");
        assert!(!error.message.contains("127.0.0.1"), "no address for the client: {error}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_take_the_request_is_asked_again() {
    let fake_once = fake(vec![Vec::new(), answer(22_050, 500)], Ends::Closes).await;
    let (bytes, warnings, error) = spoken(&engine(&fake_once.url), "Hello.").await;
    assert!(bytes > 800 && error.is_none(), "{bytes} {error:?}");
    assert_eq!(warnings, ["retrying_engine"]);
    // Three attempts, and not one more.
    let mut never = fake(vec![Vec::new(); 4], Ends::Closes).await;
    let (bytes, warnings, error) = spoken(&engine(&never.url), "Hello.").await;
    assert_eq!((bytes, warnings.len()), (0, 2));
    assert_eq!(error.unwrap().message, "The speech engine closed the connection without an answer.");
    for _ in 0..3 {
        assert!(never.requests.try_recv().is_ok());
    }
    assert!(never.requests.try_recv().is_err());
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (_, warnings, error) = spoken(&engine(&format!("tcp://127.0.0.1:{port}")), "Hello.").await;
    assert_eq!(warnings.len(), 2);
    assert_eq!(error.unwrap().message, "The speech engine could not be reached.");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let short = Duration::from_millis(60);
    let long = Duration::from_secs(50);
    let chunk = event("audio-chunk", &audio(22_050), &samples(400));
    for (bytes, [first_byte, idle, total], why) in [
        (Vec::new(), [short, long, long], "sent nothing within 60ms"),
        (event("audio-start", &audio(22_050), b""), [short, long, long], "sent nothing within 60ms"),
        (chunk.clone(), [long, short, long], "paused for longer than 60ms"),
        (chunk, [long, long, short], "took longer than 60ms"),
    ] {
        let mut fake = fake(vec![bytes], Ends::Waits).await;
        let deadlines = Deadlines { first_byte, idle, total, ..Deadlines::default() };
        let engine = patient(&fake.url, deadlines);
        let error = spoken(&engine, "Hello.").await.2.unwrap();
        assert!(error.kind == SynthesisErrorKind::Timeout && error.message.contains(why), "{why}: {error}");
        soon(fake.requests.recv()).await.unwrap();
        assert_eq!(soon(fake.requests.recv()).await.as_deref(), Some(""), "the connection is closed");
    }
}

#[tokio::test]
async fn a_server_that_sends_much_and_no_audio_is_given_up() {
    let short = Duration::from_millis(100);
    let long = Duration::from_secs(50);
    let empty = event("audio-chunk", &audio(22_050), b"").repeat(100);
    let other = event("info", &json!({}), &[7; 20_000]).repeat(5);
    let chunk = event("audio-chunk", &audio(22_050), &samples(400));
    for (begin, forever, [first_byte, idle, total], why) in [
        (&b""[..], &empty, [short, long, long], "sent nothing within 100ms"),
        (&chunk, &empty, [long, short, long], "paused for longer than 100ms"),
        (&chunk, &empty, [long, long, short], "took longer than 100ms"),
        (b"", &other, [short, long, long], "sent nothing within 100ms"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (begin, forever) = (begin.to_vec(), forever.clone());
        // As fast as it can, on a thread of its own: there is always more to read.
        let server = std::thread::spawn(move || {
            use std::io::Write;
            let listener = listener.into_std().unwrap();
            listener.set_nonblocking(false).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(false).unwrap();
            let mut sent = stream.write_all(&begin);
            while sent.is_ok() {
                sent = stream.write_all(&forever);
            }
        });
        let deadlines = Deadlines { first_byte, idle, total, ..Deadlines::default() };
        let engine = patient(&url, deadlines);
        let error = soon(spoken(&engine, "Hello.")).await.2.unwrap();
        assert!(error.kind == SynthesisErrorKind::Timeout && error.message.contains(why), "{why}: {error}");
        server.join().expect("the connection is closed");
    }
}

#[tokio::test]
async fn a_slow_connection_is_a_timeout() {
    // The kernel drops connections silently once the backlog of a listener is full.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = deadline::within(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    let deadlines = Deadlines { connect: Duration::from_millis(50), ..Deadlines::default() };
    let (_, warnings, error) = spoken(&patient(&format!("tcp://{address}"), deadlines), "Hello.").await;
    let error = error.unwrap();
    assert_eq!(error.message, "The speech engine could not be reached within 50ms.");
    assert_eq!((error.kind, warnings.len()), (SynthesisErrorKind::Timeout, 2));
}

#[tokio::test]
async fn a_listener_that_leaves_closes_the_connection() {
    for bytes in [Vec::new(), event("audio-chunk", &audio(22_050), &samples(400)), answer(22_050, 2_000_000)]
    {
        let mut fake = fake(vec![bytes], Ends::Waits).await;
        let engine = engine(&fake.url);
        let running = Gauge::default();
        let speech = engine.speak(Utterance { running: running.clone(), ..utterance(&engine, "Hello.") });
        soon(fake.requests.recv()).await.unwrap();
        drop(speech);
        assert_eq!(soon(fake.requests.recv()).await.as_deref(), Some(""), "the connection is closed");
        super::super::testing::idle(&running).await;
    }
}

#[test]
fn only_a_host_and_a_port_are_an_address() {
    for url in ["tcp://127.0.0.1:10200", "tcp://piper.local:10200/", "TCP://[::1]:1"] {
        assert!(Wyoming::new(settings(url)).is_ok(), "{url}");
    }
    for (url, why) in [
        ("", "is invalid"),
        ("127.0.0.1:10200", "has no scheme"),
        ("http://127.0.0.1:10200", "a scheme that is not tcp"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://127.0.0.1:0", "has no port"),
        ("tcp://127.0.0.1:70000", "has no port"),
        ("tcp://:10200", ""),
        ("tcp://a:b@127.0.0.1:10200", "a user or a password"),
        ("tcp://127.0.0.1:10200/tts", "has a path"),
        ("tcp://127.0.0.1:10200?x", "has a path"),
        ("tcp:// 127.0.0.1:1", "is invalid"),
    ] {
        let error = Wyoming::new(settings(url)).expect_err(url).to_string();
        assert!(error.contains(why) && error.contains("write tcp://HOST:PORT"), "{url}: {error}");
    }
}

#[test]
fn names_of_voices_tell_their_language() {
    for (name, language) in [
        ("de_DE-thorsten-medium", Some("de-DE")),
        ("fil_PH-x-low", Some("fil-PH")),
        ("joe", None),
        ("de-thorsten", None),
        ("de_de-x", None),
        ("X_DE-x", None),
    ] {
        assert_eq!(voice(&name.to_owned()).language.as_deref(), language, "{name}");
    }
    let mut engine = engine("tcp://127.0.0.1:1");
    assert_eq!(engine.voices(), [Voice::new("wyoming")]);
    engine.voices = vec!["en_GB-alan-low".to_owned()];
    assert_eq!(engine.voices()[0].label(), "En_GB-alan-low, English (GB)");
}
