//! The session protocol's control messages: JSON in text frames.
//!
//! Strict in types, tolerant of fields it does not know. Knows nothing of sessions: what a message
//! means is decided elsewhere.

use serde_json::{Map, Value};
use std::fmt;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Speak: the prompt, or the server's greeting where there is none.
    StartSession {
        /// The text to speak.
        prompt: Option<String>,
        /// How fast to speak, from 0.5 to 2.0; the server's own setting where there is none.
        speed: Option<f32>,
    },
    /// Hold delivery at the byte.
    Pause,
    /// Go on with the next byte.
    Resume,
    /// Abort, and close the connection.
    End,
}

/// What a server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The first message of every connection.
    SessionStart {
        /// A UUID, version 4.
        session_id: String,
    },
    /// A sentence whose audio follows.
    Text {
        /// The sentence as it is spoken.
        data: String,
        /// Its place in the stream, from 0.
        index: u64,
    },
    /// All audio of the sentence was sent.
    SentenceEnd {
        /// The sentence's place in the stream.
        index: u64,
    },
    /// The stream is over. The connection may start another.
    SessionEnd,
    /// Something is wrong, in words for a person.
    Error {
        /// What is wrong and what to do.
        message: String,
    },
}

/// What is wrong with a message, by a name that stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not JSON.
    BadJson,
    /// JSON, but not of the message's form.
    BadMessage,
    /// No message of this type.
    UnknownType,
    /// A stream is running.
    AlreadyStarted,
    /// More text than allowed.
    TextTooLong,
}

impl Code {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::BadMessage => "bad_message",
            Code::UnknownType => "unknown_type",
            Code::AlreadyStarted => "already_started",
            Code::TextTooLong => "text_too_long",
        }
    }
}

/// A message that was refused. The session goes on as if it had not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: Code,
    /// For a person: what is wrong and what to do.
    pub message: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.name())
    }
}

impl std::error::Error for Fault {}

/// The longest piece of a client's own input that an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 40;

fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A string as JSON. Messages are put together by hand around it, so that `type` comes first for
/// whoever reads them, which a sorted map would not give.
fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

/// Parses a JSON object that has a `type`.
fn object(text: &str) -> Result<(String, Map<String, Value>), Fault> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Fault::new(Code::BadJson, format!("The message is not valid JSON: {error}.")))?;
    let Value::Object(mut fields) = value else {
        let message = format!("A message must be a JSON object, not {}.", kind(&value));
        return Err(Fault::new(Code::BadMessage, message));
    };
    match fields.remove("type") {
        Some(Value::String(name)) => Ok((name, fields)),
        Some(other) => {
            Err(Fault::new(Code::BadMessage, format!("\"type\" must be a string, not {}.", kind(&other))))
        }
        None => Err(Fault::new(Code::BadMessage, "The message has no \"type\".")),
    }
}

fn unknown_type(name: &str) -> Fault {
    Fault::new(Code::UnknownType, format!("There is no message of type {}.", quoted(name)))
}

fn string(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            let message = format!("\"{name}\" must be a string, not {}.", kind(&other));
            Err(Fault::new(Code::BadMessage, message))
        }
    }
}

/// A speed: a number from 0.5 to 2.0.
fn factor(fields: &Map<String, Value>, name: &str) -> Result<Option<f32>, Fault> {
    match fields.get(name).map(|value| (value, value.as_f64())) {
        None => Ok(None),
        Some((_, Some(factor))) if (0.5..=2.0).contains(&factor) => Ok(Some(factor as f32)),
        Some((_, Some(factor))) => {
            let message = format!("\"{name}\" must be from 0.5 to 2.0, not {factor}.");
            Err(Fault::new(Code::BadMessage, message))
        }
        Some((other, None)) => {
            let message = format!("\"{name}\" must be a number, not {}.", kind(other));
            Err(Fault::new(Code::BadMessage, message))
        }
    }
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::new(Code::BadMessage, format!("The message has no \"{name}\".")))
}

fn index(fields: &Map<String, Value>) -> Result<u64, Fault> {
    required(fields.get("index").and_then(Value::as_u64), "index")
}

impl ClientMessage {
    /// A request to speak this text.
    pub fn start(prompt: impl Into<String>) -> ClientMessage {
        ClientMessage::StartSession { prompt: Some(prompt.into()), speed: None }
    }

    /// Reads a text frame's content.
    ///
    /// # Errors
    /// A [`Fault`] that names the field at fault.
    pub fn parse(text: &str) -> Result<ClientMessage, Fault> {
        let (name, mut fields) = object(text)?;
        match name.as_str() {
            "start_session" => Ok(ClientMessage::StartSession {
                prompt: string(&mut fields, "prompt")?,
                speed: factor(&fields, "speed")?,
            }),
            "pause" => Ok(ClientMessage::Pause),
            "resume" => Ok(ClientMessage::Resume),
            "end" => Ok(ClientMessage::End),
            other => Err(unknown_type(other)),
        }
    }

    /// As it goes into a text frame.
    pub fn to_json(&self) -> String {
        match self {
            ClientMessage::StartSession { prompt, speed } => {
                let prompt = prompt.as_ref().map(|p| format!(r#","prompt":{}"#, json_string(p)));
                let speed = speed.map(|speed| format!(r#","speed":{speed}"#));
                let [prompt, speed] = [prompt, speed].map(Option::unwrap_or_default);
                format!(r#"{{"type":"start_session"{prompt}{speed}}}"#)
            }
            ClientMessage::Pause => r#"{"type":"pause"}"#.to_owned(),
            ClientMessage::Resume => r#"{"type":"resume"}"#.to_owned(),
            ClientMessage::End => r#"{"type":"end"}"#.to_owned(),
        }
    }
}

impl ServerMessage {
    /// Reads a text frame's content, on the client's side.
    ///
    /// # Errors
    /// A [`Fault`] that names the field at fault.
    pub fn parse(text: &str) -> Result<ServerMessage, Fault> {
        let (name, mut fields) = object(text)?;
        match name.as_str() {
            "session_start" => {
                let session_id = required(string(&mut fields, "sessionId")?, "sessionId")?;
                Ok(ServerMessage::SessionStart { session_id })
            }
            "text" => {
                let data = required(string(&mut fields, "data")?, "data")?;
                Ok(ServerMessage::Text { data, index: index(&fields)? })
            }
            "sentence_end" => Ok(ServerMessage::SentenceEnd { index: index(&fields)? }),
            "session_end" => Ok(ServerMessage::SessionEnd),
            "error" => {
                Ok(ServerMessage::Error { message: required(string(&mut fields, "message")?, "message")? })
            }
            other => Err(unknown_type(other)),
        }
    }

    /// As it goes into a text frame.
    pub fn to_json(&self) -> String {
        match self {
            ServerMessage::SessionStart { session_id } => {
                format!(r#"{{"type":"session_start","sessionId":{}}}"#, json_string(session_id))
            }
            ServerMessage::Text { data, index } => {
                format!(r#"{{"type":"text","data":{},"index":{index}}}"#, json_string(data))
            }
            ServerMessage::SentenceEnd { index } => {
                format!(r#"{{"type":"sentence_end","index":{index}}}"#)
            }
            ServerMessage::SessionEnd => r#"{"type":"session_end"}"#.to_owned(),
            ServerMessage::Error { message } => {
                format!(r#"{{"type":"error","message":{}}}"#, json_string(message))
            }
        }
    }
}

impl From<Fault> for ServerMessage {
    fn from(fault: Fault) -> ServerMessage {
        ServerMessage::Error { message: fault.message }
    }
}

#[cfg(test)]
mod tests {
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
            (
                ClientMessage::StartSession { prompt: None, speed: None },
                r#"{"type":"start_session"}"#.to_owned(),
            ),
            (ClientMessage::Pause, r#"{"type":"pause"}"#.to_owned()),
            (ClientMessage::Resume, r#"{"type":"resume"}"#.to_owned()),
            (ClientMessage::End, r#"{"type":"end"}"#.to_owned()),
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
            (ServerMessage::SessionEnd, r#"{"type":"session_end"}"#.to_owned()),
            (ServerMessage::SentenceEnd { index: 0 }, r#"{"type":"sentence_end","index":0}"#.to_owned()),
            (
                ServerMessage::SentenceEnd { index: u64::MAX },
                r#"{"type":"sentence_end","index":18446744073709551615}"#.to_owned(),
            ),
        ];
        for (plain, escaped) in ESCAPES {
            let text = plain.to_owned();
            table.push((
                ServerMessage::SessionStart { session_id: text.clone() },
                format!(r#"{{"type":"session_start","sessionId":"{escaped}"}}"#),
            ));
            table.push((
                ServerMessage::Text { data: text.clone(), index: 7 },
                format!(r#"{{"type":"text","data":"{escaped}","index":7}}"#),
            ));
            table.push((
                ServerMessage::Error { message: text },
                format!(r#"{{"type":"error","message":"{escaped}"}}"#),
            ));
        }
        for (message, json) in table {
            assert_eq!(message.to_json(), json);
            assert_eq!(ServerMessage::parse(&json), Ok(message));
        }
    }

    #[test]
    fn other_ways_to_write_the_same_are_understood() {
        let table = [
            (" \r\n\t{ \"type\" : \"pause\" } \n", ClientMessage::Pause),
            (r#"{"type":"\u0065nd"}"#, ClientMessage::End),
            (r#"{"prompt":"Hi.","type":"start_session"}"#, start("Hi.")),
            (r#"{"type":"start_session","prompt":"\ud83d\ude00\/"}"#, start("😀/")),
            (r#"{"type":"start_session","prompt":""}"#, start("")),
            // Fields that are not known are ignored, whatever they hold.
            (
                r#"{"type":"start_session","voice":null}"#,
                ClientMessage::StartSession { prompt: None, speed: None },
            ),
            (r#"{"type":"start_session","Prompt":1,"audio":{"a":[{}]}}"#, start_nothing()),
            (r#"{"type":"pause","prompt":5}"#, ClientMessage::Pause),
            (r#"{"type":"resume","index":-1.5e3}"#, ClientMessage::Resume),
            (r#"{"type":"end","drain":"yes","type2":[]}"#, ClientMessage::End),
            // Of two fields of one name the last one counts.
            (r#"{"type":"pause","type":"end"}"#, ClientMessage::End),
            (r#"{"type":7,"type":"end"}"#, ClientMessage::End),
            (r#"{"type":"start_session","prompt":1,"prompt":"two"}"#, start("two")),
        ];
        for (text, expected) in table {
            assert_eq!(ClientMessage::parse(text), Ok(expected), "{text}");
        }
    }

    fn start_nothing() -> ClientMessage {
        ClientMessage::StartSession { prompt: None, speed: None }
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
        let more = r#"{"type":"sentence_end","index":3,"offset":42240,"crc32":"9a1f03bc"}"#;
        assert_eq!(ServerMessage::parse(more), Ok(ServerMessage::SentenceEnd { index: 3 }));
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
        let sent = ServerMessage::from(fault).to_json();
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
}
