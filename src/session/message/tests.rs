use super::*;
use crate::audio::{Encoding, Format};
use crate::text::Clean;
use crate::text::words::Word;
use serde::Serialize;
use serde::de::DeserializeOwned;

const NESTED: usize = 200;

fn start(prompt: &str) -> ClientMessage {
    ClientMessage::start(prompt)
}

fn fault(text: &str) -> Fault {
    ClientMessage::parse(text).expect_err(text)
}

/// Texts and their form in a JSON string. Other characters stand for themselves.
const ESCAPES: [(&str, &str); 9] = [
    ("", ""),
    ("Good evening.", "Good evening."),
    ("say \"when\"", r#"say \"when\""#),
    (r"C:\new", r"C:\\new"),
    ("a\nb\r\tc", r"a\nb\r\tc"),
    ("\u{8}\u{c}\u{0}\u{1f}", r"\b\f\u0000\u001f"),
    ("a/b </script>", "a/b </script>"),
    ("żółć 漢字 👩‍🚀 \u{2028}", "żółć 漢字 👩‍🚀 \u{2028}"),
    ("\u{7f}\u{feff}\u{10ffff}", "\u{7f}\u{feff}\u{10ffff}"),
];

#[test]
fn client_messages_have_one_form_and_parse_back() {
    let mut table = vec![
        (StartSession::default().into(), r#"{"type":"start_session"}"#.to_owned()),
        (ClientMessage::Pause, r#"{"type":"pause"}"#.to_owned()),
        (ClientMessage::Resume, r#"{"type":"resume"}"#.to_owned()),
        (ClientMessage::End { drain: false }, r#"{"type":"end"}"#.to_owned()),
    ];
    for (plain, escaped) in ESCAPES {
        table.push((start(plain), format!(r#"{{"type":"start_session","prompt":"{escaped}"}}"#)));
    }
    for (message, json) in table {
        assert_eq!(message.to_json(), json);
        assert_eq!(ClientMessage::parse(&json), Ok(message));
    }
}

#[test]
fn server_messages_have_one_form_and_parse_back() {
    let mut table = vec![
        (ServerMessage::SessionEnd { end: None }, r#"{"type":"session_end"}"#.to_owned()),
        (
            ServerMessage::SentenceEnd { index: 0, figures: None },
            r#"{"type":"sentence_end","index":0}"#.to_owned(),
        ),
        (
            ServerMessage::SentenceEnd { index: u64::MAX, figures: None },
            r#"{"type":"sentence_end","index":18446744073709551615}"#.to_owned(),
        ),
    ];
    for (plain, escaped) in ESCAPES {
        let text = plain.to_owned();
        table.push((
            ServerMessage::SessionStart { greeting: None, session_id: text.clone() },
            format!(r#"{{"type":"session_start","sessionId":"{escaped}"}}"#),
        ));
        table.push((
            ServerMessage::Text { data: text.clone(), index: 7, at: None },
            format!(r#"{{"type":"text","data":"{escaped}","index":7}}"#),
        ));
        table.push((
            ServerMessage::Error { message: text, fault: None },
            format!(r#"{{"type":"error","message":"{escaped}"}}"#),
        ));
    }
    for (message, json) in table {
        assert_eq!(message.to_json(), json);
        assert_eq!(ServerMessage::parse(&json), Ok(Some(message)));
    }
}

#[test]
fn client_messages_parse_in_any_json_form() {
    let table = [
        (" \r\n\t{ \"type\" : \"pause\" } \n", ClientMessage::Pause),
        (r#"{"type":"\u0065nd"}"#, ClientMessage::End { drain: false }),
        (r#"{"prompt":"Hi.","type":"start_session"}"#, start("Hi.")),
        (r#"{"type":"start_session","prompt":"\ud83d\ude00\/"}"#, start("😀/")),
        (r#"{"type":"start_session","prompt":""}"#, start("")),
        // Unknown fields are ignored, with any value.
        (r#"{"type":"start_session","tempo":null}"#, start_nothing()),
        (r#"{"type":"start_session","Prompt":1,"sounds":{"a":[{}]}}"#, start_nothing()),
        (r#"{"type":"pause","prompt":5}"#, ClientMessage::Pause),
        (r#"{"type":"resume","index":-1.5e3}"#, ClientMessage::Resume),
        (r#"{"type":"end","Drain":"yes","type2":[]}"#, ClientMessage::End { drain: false }),
        // The last of two fields with the same name counts.
        (r#"{"type":"pause","type":"end"}"#, ClientMessage::End { drain: false }),
        (r#"{"type":7,"type":"end"}"#, ClientMessage::End { drain: false }),
        (r#"{"type":"start_session","prompt":1,"prompt":"two"}"#, start("two")),
    ];
    for (text, expected) in table {
        assert_eq!(ClientMessage::parse(text), Ok(expected), "{text}");
    }
}

fn start_nothing() -> ClientMessage {
    StartSession::default().into()
}

#[test]
fn invalid_client_messages_are_explained() {
    let deep = format!("{}{}", "[".repeat(NESTED), "]".repeat(NESTED));
    let deep_field = format!(r#"{{"type":"pause","x":{deep}}}"#);
    let table: &[(&str, Code, &str)] = &[
        ("", Code::BadJson, "not valid JSON"),
        (" ", Code::BadJson, "not valid JSON"),
        ("pause", Code::BadJson, "not valid JSON"),
        ("{", Code::BadJson, "not valid JSON"),
        (r#"{"type":"pause""#, Code::BadJson, "not valid JSON"),
        (r#"{"type":"pause"}}"#, Code::BadJson, "not valid JSON"),
        (r#"{"type":"pause"}{"type":"end"}"#, Code::BadJson, "not valid JSON"),
        (r#"{"type":"pause",}"#, Code::BadJson, "not valid JSON"),
        ("{'type':'pause'}", Code::BadJson, "not valid JSON"),
        (r#"{type:"pause"}"#, Code::BadJson, "not valid JSON"),
        ("\u{feff}{\"type\":\"pause\"}", Code::BadJson, "not valid JSON"),
        ("{\"type\":\"pa\nuse\"}", Code::BadJson, "not valid JSON"),
        (r#"{"type":"pause","x":NaN}"#, Code::BadJson, "not valid JSON"),
        (r#"{"type":"pause","x":01}"#, Code::BadJson, "not valid JSON"),
        // Numbers, strings and nesting beyond the limits of the parser.
        (r#"{"type":"pause","x":1e999}"#, Code::BadJson, "not valid JSON"),
        (&deep, Code::BadJson, "not valid JSON"),
        (&deep_field, Code::BadJson, "not valid JSON"),
        ("null", Code::BadMessage, "object, not null"),
        ("true", Code::BadMessage, "object, not a boolean"),
        ("5", Code::BadMessage, "object, not a number"),
        (r#""pause""#, Code::BadMessage, "object, not a string"),
        ("[]", Code::BadMessage, "object, not an array"),
        (r#"[{"type":"pause"}]"#, Code::BadMessage, "object, not an array"),
        ("{}", Code::BadMessage, "no \"type\""),
        (r#"{"Type":"pause"}"#, Code::BadMessage, "no \"type\""),
        (r#"{"prompt":"Hi."}"#, Code::BadMessage, "no \"type\""),
        (r#"{"type":null}"#, Code::BadMessage, "\"type\" must be a string, not null"),
        (r#"{"type":1}"#, Code::BadMessage, "\"type\" must be a string, not a number"),
        (r#"{"type":["pause"]}"#, Code::BadMessage, "\"type\" must be a string, not an array"),
        (r#"{"type":{"type":"pause"}}"#, Code::BadMessage, "\"type\" must be a string, not an object"),
        (r#"{"type":"pause","type":1}"#, Code::BadMessage, "\"type\" must be a string, not a number"),
        (r#"{"type":""}"#, Code::UnknownType, "type \"\""),
        (r#"{"type":"Pause"}"#, Code::UnknownType, "type \"Pause\""),
        (r#"{"type":"pause "}"#, Code::UnknownType, "type \"pause \""),
        // Messages of a server.
        (r#"{"type":"session_end"}"#, Code::UnknownType, "type \"session_end\""),
        (r#"{"type":"text","data":"Hi.","index":0}"#, Code::UnknownType, "type \"text\""),
    ];
    for (text, code, words) in table {
        let fault = fault(text);
        assert_eq!(fault.code, *code, "{text}");
        assert!(fault.message.contains(words), "{text} gave {:?}", fault.message);
    }
    for value in ["null", "false", "0", "[]", r#"["Hi."]"#, r#"{"text":"Hi."}"#] {
        let fault = fault(&format!(r#"{{"type":"start_session","prompt":{value}}}"#));
        assert_eq!(fault.code, Code::BadMessage, "{value}");
        assert!(fault.message.starts_with("\"prompt\" must be a string, not "), "{}", fault.message);
    }
}

#[test]
fn invalid_server_messages_are_explained() {
    let table = [
        (r#"{"type":"session_start"}"#, Code::BadMessage, "sessionId"),
        (r#"{"type":"session_start","sessionId":7}"#, Code::BadMessage, "sessionId"),
        (r#"{"type":"text","index":0}"#, Code::BadMessage, "data"),
        (r#"{"type":"text","data":null,"index":0}"#, Code::BadMessage, "data"),
        (r#"{"type":"text","data":"Hi."}"#, Code::BadMessage, "index"),
        (r#"{"type":"text","data":"Hi.","index":-1}"#, Code::BadMessage, "index"),
        (r#"{"type":"text","data":"Hi.","index":1.5}"#, Code::BadMessage, "index"),
        (r#"{"type":"sentence_end"}"#, Code::BadMessage, "index"),
        (r#"{"type":"sentence_end","index":"0"}"#, Code::BadMessage, "index"),
        (r#"{"type":"sentence_end","index":18446744073709551616}"#, Code::BadMessage, "index"),
        (r#"{"type":"error"}"#, Code::BadMessage, "message"),
        (r#"{"type":"error","message":[]}"#, Code::BadMessage, "message"),
        (r#"{"type":"pause"}"#, Code::UnknownType, "pause"),
        ("[]", Code::BadMessage, "an array"),
        ("", Code::BadJson, "not valid JSON"),
    ];
    for (text, code, words) in table {
        let fault = ServerMessage::parse(text).expect_err(text);
        assert_eq!(fault.code, code, "{text}");
        assert!(fault.message.contains(words), "{text} gave {:?}", fault.message);
    }
    let more = r#"{"type":"sentence_end","index":3,"heard":42240,"crc":"9a1f03bc"}"#;
    assert_eq!(ServerMessage::parse(more), Ok(Some(ServerMessage::SentenceEnd { index: 3, figures: None })));
}

#[test]
fn long_input_is_quoted_shortened() {
    let table = [
        ("x".repeat(40), "x".repeat(40)),
        ("x".repeat(41), format!("{}…", "x".repeat(40))),
        ("漢".repeat(60_000), format!("{}…", "漢".repeat(40))),
    ];
    for (name, shown) in table {
        let fault = fault(&format!(r#"{{"type":"{name}"}}"#));
        assert_eq!(fault.message, format!("There is no message of type \"{shown}\"."));
    }
    // Any error message is short and fits on one line.
    let long = "\\n\\u0000".repeat(10_000);
    let plain = "y".repeat(60_000);
    for text in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"start_session","prompt":["{long}"]}}"#),
        format!(r#"{{"type":"start_session","prompt":"{plain}"#),
        format!(r#"{{"{plain}":"pause"}}"#),
        format!(r#"["{plain}"]"#),
        plain,
    ] {
        let message = fault(&text).message;
        assert!(message.len() < 400, "{} bytes", message.len());
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn fault_is_sent_as_its_message_and_logged_with_its_code() {
    let fault = fault(r#"{"type":"sing"}"#);
    assert_eq!(fault.to_string(), "There is no message of type \"sing\". (unknown_type)");
    let sent = ServerMessage::Error { message: fault.message, fault: None }.to_json();
    assert_eq!(sent, r#"{"type":"error","message":"There is no message of type \"sing\"."}"#);
    let names = [
        (Code::BadJson, "bad_json"),
        (Code::BadMessage, "bad_message"),
        (Code::UnknownType, "unknown_type"),
        (Code::AlreadyStarted, "already_started"),
        (Code::TextTooLong, "text_too_long"),
    ];
    for (code, name) in names {
        assert_eq!(code.name(), name);
    }
}

fn pcm(sample_rate_hz: u32) -> AudioInfo {
    AudioInfo(Format { encoding: Encoding::PcmS16le, sample_rate_hz })
}

#[test]
fn v1_client_messages_have_one_form_and_parse_back() {
    let everything = StartSession {
        prompt: Some("Hi.".to_owned()),
        source: Some(TextSource::Append),
        voice: Some("a \"b\"".to_owned()),
        language: Some("de".to_owned()),
        speed: Some(1.25),
        audio: Some(AudioOptions {
            encoding: Some(Encoding::MuLaw),
            sample_rate_hz: Some(24_000),
            frame_ms: Some(20),
        }),
        timestamps: Some(Timestamps::Word),
        delivery: Some(Delivery::Paced { ahead_ms: Some(500) }),
        segmentation: Some(SegmentationOptions {
            min_chars: Some(20),
            max_chars: Some(300),
            first_clause: Some(true),
            idle_ms: Some(250),
        }),
        pauses: Some(PauseOptions { sentence_ms: Some(120), paragraph_ms: Some(400), heading_ms: Some(600) }),
        lead_ms: Some(300),
        clean: Some(Clean::Markdown),
        normalize: Some(false),
        resumable: true,
        from: Some(StartFrom { index: 3, offset: 183_040, crc32: Some(0x9a1f_03bc) }),
    };
    assert!(everything.has_options() && !StartSession::default().has_options());
    let id = |id: Option<&str>| ClientMessage::Ping { id: id.map(str::to_owned) };
    let table = [
        (
            everything.into(),
            r#"{"type":"start_session","prompt":"Hi.","source":"append","voice":"a \"b\"","language":"de","speed":1.25,"audio":{"encoding":"mulaw","sampleRate":24000,"frameMs":20},"timestamps":"word","delivery":{"mode":"paced","aheadMs":500},"segmentation":{"minChars":20,"maxChars":300,"firstClause":true,"idleMs":250},"pauses":{"sentenceMs":120,"paragraphMs":400,"headingMs":600},"leadMs":300,"clean":"markdown","normalize":false,"resumable":true,"from":{"index":3,"offset":183040,"crc32":"9a1f03bc"}}"#,
        ),
        (
            StartSession {
                audio: Some(AudioOptions::default()),
                delivery: Some(Delivery::Burst),
                segmentation: Some(SegmentationOptions::default()),
                ..StartSession::default()
            }
            .into(),
            r#"{"type":"start_session","audio":{},"delivery":{"mode":"burst"},"segmentation":{}}"#,
        ),
        (
            StartSession { delivery: Some(Delivery::Paced { ahead_ms: None }), ..StartSession::default() }
                .into(),
            r#"{"type":"start_session","delivery":{"mode":"paced"}}"#,
        ),
        (ClientMessage::End { drain: true }, r#"{"type":"end","drain":true}"#),
        (ClientMessage::Append { text: "a\n\"".to_owned() }, r#"{"type":"append","text":"a\n\""}"#),
        (ClientMessage::Flush, r#"{"type":"flush"}"#),
        (ClientMessage::Cancel { played_ms: None }, r#"{"type":"cancel"}"#),
        (ClientMessage::Cancel { played_ms: Some(0) }, r#"{"type":"cancel","playedMs":0}"#),
        (ClientMessage::Ack { played_ms: 4_120 }, r#"{"type":"ack","playedMs":4120}"#),
        (ClientMessage::Update { voice: None, language: None, speed: None }, r#"{"type":"update"}"#),
        (
            ClientMessage::Update {
                voice: Some("v".to_owned()),
                language: Some("de".to_owned()),
                speed: Some(0.5),
            },
            r#"{"type":"update","voice":"v","language":"de","speed":0.5}"#,
        ),
        (
            ClientMessage::Recover(Box::new(Recover::new("s", "t", (1 << 53) - 1))),
            r#"{"type":"recover","sessionId":"s","token":"t","offset":9007199254740991}"#,
        ),
        (
            ClientMessage::Recover(Box::new(Recover {
                stream: Some(2),
                rev: Some(0),
                epoch: Some(3),
                crc32: Some(0x1f_03bc),
                is_inexact: true,
                ..Recover::new("s", "t", 0)
            })),
            r#"{"type":"recover","sessionId":"s","token":"t","offset":0,"stream":2,"rev":0,"epoch":3,"crc32":"001f03bc","inexact":true}"#,
        ),
        (id(None), r#"{"type":"ping"}"#),
        (id(Some("7")), r#"{"type":"ping","id":"7"}"#),
    ];
    for (message, json) in table {
        assert_eq!(message.to_json(), json);
        assert!(json.starts_with(&format!(r#"{{"type":"{}""#, message.type_name())));
        let is_base = matches!(message, ClientMessage::StartSession(_) | ClientMessage::End { .. });
        assert_eq!(message.is_base(), is_base, "{json}");
        assert_eq!(ClientMessage::parse(json), Ok(message));
    }
    // Other values of options.
    for (field, value) in [
        ("source", "verbatim"),
        ("source", "llm"),
        ("timestamps", "none"),
        ("timestamps", "sentence"),
        ("clean", "none"),
    ] {
        let json = format!(r#"{{"type":"start_session","{field}":"{value}"}}"#);
        assert_eq!(ClientMessage::parse(&json).map(|message| message.to_json()), Ok(json));
    }
    // Numbers may have any form of JSON.
    for number in ["40", "40.0", "4e1", "0.4E+2"] {
        let ack = ClientMessage::parse(&format!(r#"{{"type":"ack","playedMs":{number}}}"#));
        assert_eq!(ack, Ok(ClientMessage::Ack { played_ms: 40 }), "{number}");
    }
}

#[test]
fn v1_server_messages_have_the_form_of_the_protocol() {
    let usage = Usage {
        chars: 812,
        sentences: 9,
        audio_ms: 51_200,
        synthesised_ms: 52_100,
        wasted_ms: 900,
        first_audio_ms: 143,
    };
    let end = |reason, name: &str| {
        let message = ServerMessage::SessionEnd { end: Some(Box::new((reason, usage))) };
        let json = format!(
            r#"{{"type":"session_end","reason":"{name}","usage":{{"chars":812,"sentences":9,"audioMs":51200,"synthesisedMs":52100,"wastedMs":900,"firstAudioMs":143}}}}"#
        );
        (message.clone(), json, Some(message))
    };
    let error = |code, index, rest: &str| {
        let message = "No.".to_owned();
        let json = format!(r#"{{"type":"error","message":"No.",{rest}}}"#);
        let message = ServerMessage::Error { message, fault: Some((code, index)) };
        (message.clone(), json, Some(message))
    };
    // Message, JSON, and the parsed form: the same, the part that a client acts on, or nothing.
    let same = |message: ServerMessage, json: &str| (message.clone(), json.to_owned(), Some(message));
    let unread = |message, json: &str| (message, json.to_owned(), None);
    let limits = Limits {
        max_prompt_chars: 20_000,
        max_message_bytes: 65_536,
        max_buffered_chars: 8_000,
        ahead_ms: 2_000,
        resume_ttl_ms: 120_000,
        max_session_ms: 3_600_000,
    };
    let greeting = Greeting { token: "t".to_owned(), ping_interval_ms: 30_000, audio: pcm(22_050), limits };
    let word = |word: &str, ms, chars, source| WordTimes { word: word.to_owned(), ms, chars, source };
    let times_of = |is_estimate, sources: [_; 2]| ServerMessage::Timestamps {
        index: 0,
        start_ms: 0,
        is_estimate,
        words: vec![
            word("Good", (0, 290), (0, 4), sources[0]),
            word("evening.", (310, 860), (5, 13), sources[1]),
        ],
    };
    let times = |is_estimate| times_of(is_estimate, [None, None]);
    let stream_start = |source| {
        let (audio, voice) = (pcm(22_050), "v".to_owned());
        ServerMessage::StreamStart { stream: 2, rev: 1, audio, voice, source }
    };
    let table = [
        same(
            ServerMessage::SessionStart { session_id: "s".to_owned(), greeting: Some(Box::new(greeting)) },
            r#"{"type":"session_start","sessionId":"s","protocol":"aloud.v1","token":"t","pingIntervalMs":30000,"audio":{"encoding":"pcm_s16le","sampleRate":22050,"channels":1},"limits":{"maxPromptChars":20000,"maxMessageBytes":65536,"maxBufferedChars":8000,"aheadMs":2000,"resumeTtlMs":120000,"maxSessionMs":3600000}}"#,
        ),
        (
            stream_start("verbatim"),
            r#"{"type":"stream_start","stream":2,"rev":1,"audio":{"encoding":"pcm_s16le","sampleRate":22050,"channels":1},"voice":"v","source":"verbatim"}"#.to_owned(),
            Some(stream_start("")),
        ),
        same(
            ServerMessage::Text { data: "Good evening.".to_owned(), index: 0, at: Some((0, 0)) },
            r#"{"type":"text","data":"Good evening.","index":0,"offset":0,"startMs":0}"#,
        ),
        same(
            times(false),
            r#"{"type":"timestamps","index":0,"startMs":0,"source":"engine","words":["Good","evening."],"start":[0,310],"end":[290,860],"charStart":[0,5],"charEnd":[4,13]}"#,
        ),
        same(
            times(true),
            r#"{"type":"timestamps","index":0,"startMs":0,"source":"estimate","words":["Good","evening."],"start":[0,310],"end":[290,860],"charStart":[0,5],"charEnd":[4,13]}"#,
        ),
        same(
            times_of(true, [Some((2, 6)), Some((9, 17))]),
            r#"{"type":"timestamps","index":0,"startMs":0,"source":"estimate","words":["Good","evening."],"start":[0,310],"end":[290,860],"charStart":[0,5],"charEnd":[4,13],"srcStart":[2,9],"srcEnd":[6,17]}"#,
        ),
        same(
            ServerMessage::SentenceEnd {
                index: 0,
                figures: Some(SentenceFigures { offset: 42_240, bytes: 42_240, duration_ms: 880, crc32: 0x1f_03bc }),
            },
            r#"{"type":"sentence_end","index":0,"offset":42240,"bytes":42240,"durationMs":880,"crc32":"001f03bc"}"#,
        ),
        unread(ServerMessage::Flushed { index: 4 }, r#"{"type":"flushed","index":4}"#),
        unread(ServerMessage::Paused { offset: 183_040 }, r#"{"type":"paused","offset":183040}"#),
        unread(ServerMessage::Resumed { offset: 183_040 }, r#"{"type":"resumed","offset":183040}"#),
        unread(
            ServerMessage::Cancelled(Box::new(CancelledFigures {
                index: 5,
                offset: 190_080,
                rev: 1,
                sent_ms: 3_960,
                played_ms: 3_700,
                spoken_text: "so \"far\"".to_owned(),
                wasted_ms: 420,
            })),
            r#"{"type":"cancelled","index":5,"offset":190080,"rev":1,"sentMs":3960,"playedMs":3700,"spokenText":"so \"far\"","wastedMs":420}"#,
        ),
        same(
            ServerMessage::Recovered(Recovery {
                stream: 1,
                rev: 0,
                epoch: None,
                offset: 183_040,
                index: 7,
                is_paused: false,
                text_offset: 812,
                is_exact: true,
            }),
            r#"{"type":"recovered","recovered":true,"stream":1,"rev":0,"offset":183040,"index":7,"paused":false,"textOffset":812,"exact":true}"#,
        ),
        (
            ServerMessage::NotRecovered { code: "position_lost" },
            r#"{"type":"recovered","recovered":false,"code":"position_lost"}"#.to_owned(),
            Some(ServerMessage::NotRecovered { code: "" }),
        ),
        unread(
            ServerMessage::GoAway { time_left_ms: 30_000, reason: "shutdown" },
            r#"{"type":"go_away","timeLeftMs":30000,"reason":"shutdown"}"#,
        ),
        (
            ServerMessage::warning("retrying_engine", "Once \"more\".".to_owned()),
            r#"{"type":"warning","code":"retrying_engine","message":"Once \"more\"."}"#.to_owned(),
            Some(ServerMessage::warning("", "Once \"more\".".to_owned())),
        ),
        (
            ServerMessage::Warning {
                code: "unspeakable_text",
                message: "No.".to_owned(),
                at: Some(Passage { index: 2, ranges: vec![(0, 3), (5, 9)] }),
            },
            r#"{"type":"warning","code":"unspeakable_text","message":"No.","index":2,"ranges":[[0,3],[5,9]]}"#
                .to_owned(),
            Some(ServerMessage::warning("", "No.".to_owned())),
        ),
        unread(ServerMessage::Pong { id: None }, r#"{"type":"pong"}"#),
        unread(ServerMessage::Pong { id: Some("\n".to_owned()) }, r#"{"type":"pong","id":"\n"}"#),
        error(Code::EngineNoAudio, Some(3), r#""code":"engine_no_audio","retryable":false,"fatal":false,"index":3"#),
        error(Code::BufferFull, None, r#""code":"buffer_full","retryable":true,"fatal":false"#),
        error(Code::PositionLost, None, r#""code":"position_lost","retryable":false,"fatal":true"#),
        end(EndReason::Completed, "completed"),
        end(EndReason::Ended, "ended"),
        end(EndReason::Cancelled, "cancelled"),
        end(EndReason::Expired, "expired"),
    ];
    for (message, json, read) in table {
        assert_eq!(message.to_json(), json);
        assert_eq!(ServerMessage::parse(&json), Ok(read), "{json}");
    }
    let warning = r#"{"type":"warning","code":"retrying_engine"}"#;
    assert!(ServerMessage::parse(warning).is_err(), "a warning has a sentence");
}

#[test]
fn field_of_the_wrong_type_is_named() {
    // JSON before the value, name of the field in the error, type in the error, valid values.
    let integer = |least: u64, most: u64| format!("an integer from {least} to {most}");
    let most = (1 << 53) - 1;
    let start = r#"{"type":"start_session","#;
    let (string, factor) = ("a string".to_owned(), "a number from 0.5 to 2.0".to_owned());
    let (choice, flag, object) = (String::from("one of"), "true or false".to_owned(), "an object".to_owned());
    let table = [
        (format!(r#"{start}"source":"#), "source", choice.clone(), ""),
        (format!(r#"{start}"voice":"#), "voice", string.clone(), "\"x\""),
        (format!(r#"{start}"language":"#), "language", string.clone(), "\"x\""),
        (format!(r#"{start}"speed":"#), "speed", factor.clone(), "0.5 2 2.0 1e0"),
        (format!(r#"{start}"audio":"#), "audio", object.clone(), "{}"),
        (format!(r#"{start}"audio":{{"encoding":"#), "audio.encoding", choice.clone(), "\"alaw\""),
        (
            format!(r#"{start}"audio":{{"sampleRate":"#),
            "audio.sampleRate",
            integer(1, 1_000_000),
            "1 1000000",
        ),
        (format!(r#"{start}"audio":{{"frameMs":"#), "audio.frameMs", integer(1, 1_000), "1 1000"),
        (format!(r#"{start}"timestamps":"#), "timestamps", choice.clone(), "\"word\""),
        (format!(r#"{start}"delivery":"#), "delivery", object.clone(), ""),
        (format!(r#"{start}"delivery":{{"mode":"#), "delivery.mode", choice.clone(), "\"paced\""),
        (
            format!(r#"{start}"delivery":{{"mode":"paced","aheadMs":"#),
            "delivery.aheadMs",
            integer(20, 60_000),
            "20 60000",
        ),
        (format!(r#"{start}"segmentation":"#), "segmentation", object.clone(), "{}"),
        (
            format!(r#"{start}"segmentation":{{"minChars":"#),
            "segmentation.minChars",
            integer(0, 300),
            "0 300",
        ),
        (
            format!(r#"{start}"segmentation":{{"maxChars":"#),
            "segmentation.maxChars",
            integer(20, 1_000),
            "20 1000",
        ),
        (
            format!(r#"{start}"segmentation":{{"firstClause":"#),
            "segmentation.firstClause",
            flag.clone(),
            "true",
        ),
        (
            format!(r#"{start}"segmentation":{{"idleMs":"#),
            "segmentation.idleMs",
            integer(10, 60_000),
            "10 60000",
        ),
        (format!(r#"{start}"pauses":"#), "pauses", object, "{}"),
        (format!(r#"{start}"pauses":{{"sentenceMs":"#), "pauses.sentenceMs", integer(0, 5_000), "0 5000"),
        (format!(r#"{start}"pauses":{{"paragraphMs":"#), "pauses.paragraphMs", integer(0, 5_000), "0 5000"),
        (format!(r#"{start}"pauses":{{"headingMs":"#), "pauses.headingMs", integer(0, 5_000), "0 5000"),
        (format!(r#"{start}"leadMs":"#), "leadMs", integer(0, 5_000), "0 5000"),
        (format!(r#"{start}"clean":"#), "clean", choice, "\"none\""),
        (format!(r#"{start}"normalize":"#), "normalize", flag.clone(), "true false"),
        (format!(r#"{start}"resumable":"#), "resumable", flag.clone(), "false"),
        (r#"{"type":"end","drain":"#.to_owned(), "drain", flag, "true false"),
        (r#"{"type":"append","text":"#.to_owned(), "text", string.clone(), "\"\""),
        (r#"{"type":"cancel","playedMs":"#.to_owned(), "playedMs", integer(0, most), "0 9007199254740991"),
        (r#"{"type":"ack","playedMs":"#.to_owned(), "playedMs", integer(0, most), "0"),
        (r#"{"type":"update","voice":"#.to_owned(), "voice", string.clone(), "\"x\""),
        (r#"{"type":"update","language":"#.to_owned(), "language", string.clone(), "\"x\""),
        (r#"{"type":"update","speed":"#.to_owned(), "speed", factor, "0.5"),
        (
            r#"{"type":"recover","token":"t","offset":1,"sessionId":"#.to_owned(),
            "sessionId",
            string.clone(),
            "\"x\"",
        ),
        (
            r#"{"type":"recover","sessionId":"s","offset":1,"token":"#.to_owned(),
            "token",
            string.clone(),
            "\"x\"",
        ),
        (
            r#"{"type":"recover","sessionId":"s","token":"t","offset":"#.to_owned(),
            "offset",
            integer(0, most),
            "0",
        ),
        (r#"{"type":"ping","id":"#.to_owned(), "id", string, "\"\""),
    ];
    for (before, name, must_be, right) in table {
        let close = "}".repeat(before.matches('{').count());
        for value in right.split_whitespace() {
            let json = format!("{before}{value}{close}");
            assert!(ClientMessage::parse(&json).is_ok(), "{json}");
        }
        let wrong: &[&str] = match &must_be[..] {
            "a string" => &["null", "7", "false", "[]", "{}"],
            "true or false" => &["null", "0", "\"true\"", "[]"],
            "an object" => &["null", "0", "\"x\"", "[]", "true"],
            "one of" => &["null", "0", "\"\"", "\"None\"", "[\"none\"]"],
            "a number from 0.5 to 2.0" => &["null", "0.49", "2.01", "-1", "\"1\"", "1e300"],
            _ => &["null", "-1", "1.5", "\"40\"", "1e300", "18446744073709551616", "9007199254740993", "[]"],
        };
        let beyond = must_be.strip_prefix("an integer from ").map(|range| {
            let (least, most) = range.split_once(" to ").unwrap();
            let [least, most] = [least, most].map(|n| n.parse::<i64>().unwrap());
            [least - 1, most + 1].map(|n| n.to_string())
        });
        let beyond = beyond.iter().flatten().map(String::as_str);
        for value in wrong.iter().copied().chain(beyond) {
            let json = format!("{before}{value}{close}");
            let fault = fault(&json);
            // An unknown encoding has a code of its own.
            let is_encoding = name == "audio.encoding" && value.starts_with('"');
            let code = if is_encoding { Code::UnsupportedAudio } else { Code::BadMessage };
            assert_eq!(fault.code, code, "{json}");
            let begin = format!("\"{name}\" must be {must_be}");
            assert!(fault.message.starts_with(&begin), "{json}: {}", fault.message);
        }
    }
    for (json, name) in [
        (r#"{"type":"append"}"#, "text"),
        (r#"{"type":"ack"}"#, "playedMs"),
        (r#"{"type":"recover","token":"t","offset":1}"#, "sessionId"),
        (r#"{"type":"recover","sessionId":"s","offset":1}"#, "token"),
        (r#"{"type":"recover","sessionId":"s","token":"t"}"#, "offset"),
        (r#"{"type":"start_session","delivery":{}}"#, "delivery.mode"),
        (r#"{"type":"start_session","delivery":{"aheadMs":500}}"#, "delivery.mode"),
    ] {
        assert_eq!(fault(json).message, format!("The message has no \"{name}\"."), "{json}");
    }
}

#[test]
fn plain_data_is_read_back_from_a_snapshot() {
    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
    }
    let start = |json: &str| match ClientMessage::parse(json) {
        Ok(ClientMessage::StartSession(start)) => *start,
        other => panic!("{json}: {other:?}"),
    };
    check(&StartSession::default());
    check(&start(
        r#"{"type":"start_session","prompt":"Hi.","source":"llm","voice":"v","language":"de","speed":0.7,"audio":{"encoding":"alaw","sampleRate":8000,"frameMs":20},"timestamps":"sentence","delivery":{"mode":"paced","aheadMs":500},"segmentation":{"minChars":2,"maxChars":30,"firstClause":true,"idleMs":250},"clean":"markdown","normalize":true,"resumable":true}"#,
    ));
    check(&start(r#"{"type":"start_session","speed":2,"delivery":{"mode":"burst"}}"#));
    for reason in
        [EndReason::Completed, EndReason::Ended, EndReason::Cancelled, EndReason::Expired, EndReason::Error]
    {
        check(&reason);
    }
    check(&Usage { chars: 1, sentences: 2, audio_ms: 3, synthesised_ms: 4, wasted_ms: 5, first_audio_ms: 6 });
    for (encoding, name) in Encoding::ALL.into_iter().zip(Encoding::NAMES) {
        check(&Format { encoding, sample_rate_hz: 22_050 });
        assert_eq!(serde_json::to_value(encoding).unwrap(), name);
    }
    for source in [TextSource::Verbatim, TextSource::Append, TextSource::Llm] {
        check(&source);
        assert_eq!(serde_json::to_value(source).unwrap(), source.name());
    }
    let span = |ns| std::time::Duration::from_nanos(ns);
    check(&Word { text_range: 3..9, start: span(1), end: span(u64::MAX) });
}
