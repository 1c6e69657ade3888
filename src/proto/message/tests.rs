use super::*;

const NESTED: usize = 200;

fn start(prompt: &str) -> ClientMessage {
    ClientMessage::start(prompt)
}

fn fault(text: &str) -> Fault {
    ClientMessage::parse(text).expect_err(text)
}

/// What stands in a JSON string other than as itself; the rest of Unicode is left alone.
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
fn a_clients_messages_have_one_form_and_are_read_back() {
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
fn a_servers_messages_have_one_form_and_are_read_back() {
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
fn other_ways_to_write_the_same_are_understood() {
    let table = [
        (" \r\n\t{ \"type\" : \"pause\" } \n", ClientMessage::Pause),
        (r#"{"type":"\u0065nd"}"#, ClientMessage::End { drain: false }),
        (r#"{"prompt":"Hi.","type":"start_session"}"#, start("Hi.")),
        (r#"{"type":"start_session","prompt":"\ud83d\ude00\/"}"#, start("😀/")),
        (r#"{"type":"start_session","prompt":""}"#, start("")),
        // Fields that are not known are ignored, whatever they hold.
        (r#"{"type":"start_session","tempo":null}"#, start_nothing()),
        (r#"{"type":"start_session","Prompt":1,"sounds":{"a":[{}]}}"#, start_nothing()),
        (r#"{"type":"pause","prompt":5}"#, ClientMessage::Pause),
        (r#"{"type":"resume","index":-1.5e3}"#, ClientMessage::Resume),
        (r#"{"type":"end","Drain":"yes","type2":[]}"#, ClientMessage::End { drain: false }),
        // Of two fields of one name the last one counts.
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
fn what_is_no_message_is_told_why() {
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
        // Beyond what a number or a string of ours can hold, or a stack.
        (r#"{"type":"pause","x":1e999}"#, Code::BadJson, "not valid JSON"),
        (r#"{"type":"start_session","prompt":"\ud800"}"#, Code::BadJson, "not valid JSON"),
        (r#"{"type":"start_session","prompt":"\udc00\ud800"}"#, Code::BadJson, "not valid JSON"),
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
        // What a server says is nothing that a client may say.
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
fn a_server_that_says_something_else_is_told_why() {
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
fn a_long_input_is_repeated_shortened() {
    let table = [
        ("x".repeat(40), "x".repeat(40)),
        ("x".repeat(41), format!("{}…", "x".repeat(40))),
        ("漢".repeat(60_000), format!("{}…", "漢".repeat(40))),
    ];
    for (name, shown) in table {
        let fault = fault(&format!(r#"{{"type":"{name}"}}"#));
        assert_eq!(fault.message, format!("There is no message of type \"{shown}\"."));
    }
    // Whatever is wrong, the answer to it is short, and fit for one line.
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
fn a_fault_is_sent_as_its_sentence_and_logged_with_its_code() {
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
