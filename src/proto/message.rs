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
