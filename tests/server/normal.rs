//! Figures and signs that become words, as clients see it: which engine gets which text, the times of the written
//! words, and the warning of words that cannot be said.

use crate::support::{Asked, FORMAT, Scripted, audio, messages, session, spoken, start_with, v1, within};
use aloud::Config;
use aloud::tts::{Flite, Synthesizer, Utterance, Word};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const TEXT: &str = "Add ½ tsp at -5 °C.";
const WORDS: &str = "Add half a teaspoon at minus five degrees Celsius.";

fn start(options: &Value) -> String {
    let mut start = json!({"type": "start_session", "prompt": TEXT});
    start.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    start.to_string()
}

#[tokio::test]
async fn normalize_is_off_for_other_engines_unless_the_server_or_the_client_says_so() {
    let cases = [
        (None, json!({}), TEXT),
        (None, json!({"normalize": true}), WORDS),
        (None, json!({"normalize": false}), TEXT),
        (Some(true), json!({}), WORDS),
        (Some(true), json!({"normalize": false}), TEXT),
        (Some(false), json!({"normalize": true}), WORDS),
        (Some(true), json!({"language": "de"}), "Add ein halb tsp at minus fünf Grad Celsius."),
        (Some(true), json!({"language": "ja"}), TEXT),
    ];
    for (setting, options, expected) in cases {
        let (engine, mut asked) = Scripted::new();
        let server = start_with(Config::default().with(|config| config.normalize = setting), engine).await;
        let mut client = session(server.addr).await;
        client.say(&start(&options)).await;
        let (utterance, sink) = within(asked.recv()).await.unwrap();
        assert_eq!(utterance.text, expected, "{setting:?} {options}");
        sink.finish().await;
        // The client gets the text as it is written.
        let text = messages(&client.read_until("text").await).pop().unwrap();
        assert_eq!(text["data"], TEXT);
    }
}

#[tokio::test]
async fn normalize_is_on_for_the_voice_inside_unless_the_server_or_the_client_says_so() {
    let engine = Arc::new(Flite::new());
    let said = async |text: &str| {
        let mut utterance = Utterance::new(text, engine.format());
        utterance.normalize = Some(false);
        spoken(engine.as_ref(), utterance).await
    };
    let (words, plain) = (said(WORDS).await, said(TEXT).await);
    assert!(words != plain);
    let cases = [
        (None, json!({}), &words),
        (None, json!({"normalize": false}), &plain),
        (Some(false), json!({}), &plain),
        (Some(false), json!({"normalize": true}), &words),
    ];
    for (setting, options, expected) in cases {
        let config = Config::default().with(|config| config.normalize = setting);
        let server = start_with(config, engine.clone()).await;
        let mut client = session(server.addr).await;
        client.say(&start(&options)).await;
        assert!(audio(&client.read_until("sentence_end").await) == *expected, "{setting:?} {options}");
    }
}

/// The words of all `timestamps`, and the text between their ends.
fn timed(frames: &[crate::support::Frame], text: &str) -> Vec<(String, String)> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let slice = |message: &Value, n: usize| {
        let at = |name: &str| message[name][n].as_u64().unwrap() as usize;
        String::from_utf16(&units[at("charStart")..at("charEnd")]).unwrap()
    };
    let mut timed = Vec::new();
    for message in messages(frames).iter().filter(|message| message["type"] == "timestamps") {
        for (n, word) in message["words"].as_array().unwrap().iter().enumerate() {
            timed.push((word.as_str().unwrap().to_owned(), slice(message, n)));
        }
    }
    timed
}

#[tokio::test]
async fn timestamps_name_the_written_words_of_any_engine() {
    let expected: Vec<(String, String)> =
        ["Add", "½", "tsp", "at", "-5", "°C."].map(|word| (word.to_owned(), word.to_owned())).into();

    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&json!({"timestamps": "word"}))).await;
    assert_eq!(timed(&client.read_until("sentence_end").await, TEXT), expected);

    // An engine that reports the words that it says.
    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default(), engine).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&json!({"timestamps": "word", "normalize": true}))).await;
    report_words(&mut asked).await;
    assert_eq!(timed(&client.read_until("sentence_end").await, TEXT), expected);
}

/// Has the engine report each word of an utterance, and say it.
async fn report_words(asked: &mut Asked) {
    let (utterance, mut sink) = within(asked.recv()).await.unwrap();
    let mut time = Duration::ZERO;
    for word in utterance.text.split(' ') {
        let at = word.as_ptr() as usize - utterance.text.as_ptr() as usize;
        let end = time + Duration::from_millis(10);
        sink.words(vec![Word { text_range: at..at + word.len(), start: time, end }]);
        time = end;
    }
    sink.push(&vec![1; FORMAT.sample_rate_hz as usize]).unwrap();
    sink.finish().await;
}

#[tokio::test]
async fn timestamps_name_the_whole_range_of_words_that_become_one() {
    let text = "Use 1 1/2 cups at EUR 30, or call +44 20 7946 0958.";
    let expected: Vec<(String, String)> =
        ["Use", "1 1/2", "cups", "at", "EUR 30,", "or", "call", "+44 20 7946 0958."]
            .map(|word| (word.to_owned(), word.to_owned()))
            .into();
    let options = json!({"prompt": text, "timestamps": "word", "normalize": true});

    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&options)).await;
    assert_eq!(timed(&client.read_until("sentence_end").await, text), expected);

    let (engine, mut asked) = Scripted::new();
    let server = start_with(Config::default(), engine).await;
    let (mut client, _) = v1(server.addr).await;
    client.say(&start(&options)).await;
    report_words(&mut asked).await;
    assert_eq!(timed(&client.read_until("sentence_end").await, text), expected);
}

#[tokio::test]
async fn warning_names_the_words_that_cannot_be_said_once_a_stream() {
    let server = start_with(Config::default(), Arc::new(Flite::new())).await;
    let prompt = "All is well. Say 😀 שלום and 日本 to all. And мир too.";
    let start = json!({"type": "start_session", "prompt": prompt}).to_string();
    let (mut client, _) = v1(server.addr).await;
    for _ in 0..2 {
        client.say(&start).await;
        let messages = messages(&client.read_until("session_end").await);
        let warnings: Vec<&Value> = messages.iter().filter(|message| message["type"] == "warning").collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0]["code"], "unspeakable_text");
        assert_eq!(warnings[0]["index"], 1);
        assert_eq!(warnings[0]["ranges"], json!([[7, 11], [16, 18]]));
        assert!(warnings[0]["message"].as_str().unwrap().contains("English"));
        let kinds: Vec<&str> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
        let warned = kinds.iter().position(|kind| *kind == "warning");
        let text = messages.iter().position(|message| message["type"] == "text" && message["index"] == 1);
        assert!(text < warned, "{kinds:?}");
    }
    // A base client does not know warnings.
    let mut client = session(server.addr).await;
    client.say(&start).await;
    let messages = messages(&client.read_until("session_end").await);
    assert!(messages.iter().all(|message| message["type"] != "warning"), "{messages:?}");
}

#[tokio::test]
async fn recover_gives_the_same_bytes_of_a_stream_that_chose_normalize() {
    let engine = Arc::new(Flite::new());
    let server = start_with(Config::default(), engine.clone()).await;
    let mut utterance = Utterance::new(TEXT, engine.format());
    utterance.normalize = Some(false);
    let expected = spoken(engine.as_ref(), utterance).await;
    let (mut client, greeting) = v1(server.addr).await;
    client.say(&start(&json!({"normalize": false, "resumable": true}))).await;
    let first = audio(&client.read_until("binary").await);
    drop(client);
    let (mut client, _) = v1(server.addr).await;
    let recover = json!({"type": "recover", "sessionId": greeting["sessionId"], "token": greeting["token"],
        "offset": first.len(), "stream": 1, "rev": 0});
    client.say(&recover.to_string()).await;
    let rest = audio(&client.read_until("session_end").await);
    assert!([first, rest].concat() == expected);
}
