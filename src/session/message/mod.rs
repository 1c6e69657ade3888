//! The session protocol's control messages: JSON in text frames.
//!
//! Strict in types, tolerant of fields it does not know. Knows nothing of sessions: what a message
//! means, and whether it fits the moment, is decided elsewhere.

mod client;
mod code;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{
    AudioOptions, ClientMessage, Delivery, Recover, SegmentationOptions, StartSession, TextSource, Timestamps,
};
pub use code::{CLOSE_CODES, Close, Code, Retry, retry};
pub use server::{
    AudioInfo, CancelledFigures, EndReason, Greeting, Limits, SentenceFigures, ServerMessage, Usage,
    WordTimes,
};

use serde::de::{
    DeserializeOwned,
    value::{Error, StrDeserializer},
};
use serde_json::{Map, Value};
use std::fmt;

/// What went wrong, for the client program. Unless its code is fatal the session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: Code,
    /// For a person: what is wrong and what to do.
    pub message: String,
    /// The sentence it is about, if it is about one.
    pub index: Option<u64>,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), index: None }
    }

    /// The same, about this sentence.
    pub fn about(self, index: u64) -> Fault {
        Fault { index: Some(index), ..self }
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

fn bad(message: String) -> Fault {
    Fault::new(Code::BadMessage, message)
}

fn unknown_type(name: &str) -> Fault {
    Fault::new(Code::UnknownType, format!("There is no message of type {}.", quoted(name)))
}

/// The fields of a message, or of an object in it, each taken with the type it must have.
struct Fields {
    /// What the object is called in errors: empty for the message itself.
    within: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses a JSON object and takes its `type`.
    fn of_message(text: &str) -> Result<(String, Fields), Fault> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Fault::new(Code::BadJson, format!("The message is not valid JSON: {error}.")))?;
        let Value::Object(map) = value else {
            return Err(bad(format!("A message must be a JSON object, not {}.", kind(&value))));
        };
        let mut fields = Fields { within: "", map };
        let name = fields.string("type")?.ok_or_else(|| bad("The message has no \"type\".".to_owned()))?;
        Ok((name, fields))
    }

    /// A field, if it is there and `read` can make something of it. The error says what it must be.
    fn take<T>(
        &mut self,
        name: &str,
        must_be: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.map.remove(name) else { return Ok(None) };
        match read(&value) {
            Some(value) => Ok(Some(value)),
            None => {
                let found = match &value {
                    Value::String(text) => quoted(text),
                    Value::Number(number) => number.to_string(),
                    other => kind(other).to_owned(),
                };
                Err(bad(format!("\"{}{name}\" must be {must_be}, not {found}.", self.within)))
            }
        }
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(bad(format!("\"{}{name}\" must be a string, not {}.", self.within, kind(&other))))
            }
        }
    }

    fn boolean(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        self.take(name, "true or false", Value::as_bool)
    }

    /// An integer, which may be written with an exponent or a decimal point.
    fn integer(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Fault> {
        self.take(name, &format!("an integer from {least} to {most}"), |value| {
            let whole = |n: &f64| n.fract() == 0.0 && (0.0..u64::MAX as f64).contains(n);
            let whole = value.as_f64().filter(whole).map(|n| n as u64);
            value.as_u64().or(whole).filter(|n| (least..=most).contains(n))
        })
    }

    /// One of these names.
    fn choice<T: DeserializeOwned>(&mut self, name: &str, choices: &[&str]) -> Result<Option<T>, Fault> {
        self.take(name, &format!("one of {}", choices.join(", ")), |value| {
            value.as_str().and_then(|value| T::deserialize(StrDeserializer::<Error>::new(value)).ok())
        })
    }

    /// A speed.
    fn factor(&mut self, name: &str) -> Result<Option<f32>, Fault> {
        self.take(name, "a number from 0.5 to 2.0", |value| {
            value.as_f64().filter(|factor| (0.5..=2.0).contains(factor)).map(|factor| factor as f32)
        })
    }

    fn object(&mut self, name: &str, within: &'static str) -> Result<Option<Fields>, Fault> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { within, map })),
            Some(other) => Err(bad(format!("\"{name}\" must be an object, not {}.", kind(&other)))),
        }
    }
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Fault> {
    value.ok_or_else(|| bad(format!("The message has no \"{name}\".")))
}
