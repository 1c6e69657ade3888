//! The strict reader of messages: takes fields one by one, and says what is wrong with one.

use super::{Code, Fault, surrogates, wire};
use crate::text::quoted;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};
use serde_json::{Map, Value};

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

pub(super) fn bad(message: String) -> Fault {
    Fault::new(Code::BadMessage, message)
}

pub(super) fn unknown_type(name: &str) -> Fault {
    Fault::new(Code::UnknownType, format!("There is no message of type {}.", quoted(name)))
}

/// The fields of a message, or of an object in it. Each method takes one field and checks its type.
pub(super) struct Fields {
    /// Prefix of field names in errors, such as `audio.`; empty for the message itself.
    within: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses a JSON object and takes its `type`.
    pub(super) fn of_message(text: &str) -> Result<(String, Fields), Fault> {
        let value = serde_json::from_str(text).or_else(|error| match surrogates::replaced(text) {
            // serde_json refuses a lone surrogate, which JavaScript allows in a string.
            Some(text) => serde_json::from_str(&text),
            None => Err(error),
        });
        let value: Value = value
            .map_err(|error| Fault::new(Code::BadJson, format!("The message is not valid JSON: {error}.")))?;
        let Value::Object(map) = value else {
            return Err(bad(format!("A message must be a JSON object, not {}.", kind(&value))));
        };
        let mut fields = Fields { within: "", map };
        let name = fields.string("type")?.ok_or_else(|| bad("The message has no \"type\".".to_owned()))?;
        Ok((name, fields))
    }

    /// Takes a field and converts it with `read`. The error says that the field must be `must_be`.
    pub(super) fn take<T>(
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

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(bad(format!("\"{}{name}\" must be a string, not {}.", self.within, kind(&other))))
            }
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        self.take(name, "true or false", Value::as_bool)
    }

    /// Takes an integer, which may be written with an exponent or a decimal point.
    pub(super) fn integer(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Fault> {
        self.take(name, &format!("an integer from {least} to {most}"), |value| {
            let whole = |n: &f64| n.fract() == 0.0 && (0.0..u64::MAX as f64).contains(n);
            let whole = value.as_f64().filter(whole).map(|n| n as u64);
            value.as_u64().or(whole).filter(|n| (least..=most).contains(n))
        })
    }

    /// Takes one of the names that `T` is written as; the error lists `choices`.
    pub(super) fn choice<T: DeserializeOwned>(
        &mut self,
        name: &str,
        choices: &[&str],
    ) -> Result<Option<T>, Fault> {
        self.take(name, &format!("one of {}", choices.join(", ")), |value| {
            value.as_str().and_then(|value| T::deserialize(StrDeserializer::<Error>::new(value)).ok())
        })
    }

    /// Takes a CRC-32.
    pub(super) fn crc32(&mut self, name: &str) -> Result<Option<u32>, Fault> {
        self.take(name, "a string of eight hexadecimal digits", |value| {
            value.as_str().and_then(wire::parse_hexadecimal)
        })
    }

    /// Takes a speed.
    pub(super) fn factor(&mut self, name: &str) -> Result<Option<f32>, Fault> {
        self.take(name, "a number from 0.5 to 2.0", |value| {
            value.as_f64().filter(|factor| (0.5..=2.0).contains(factor)).map(|factor| factor as f32)
        })
    }

    pub(super) fn object(&mut self, name: &str, within: &'static str) -> Result<Option<Fields>, Fault> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { within, map })),
            Some(other) => Err(bad(format!("\"{name}\" must be an object, not {}.", kind(&other)))),
        }
    }
}

pub(super) fn required<T>(value: Option<T>, name: &str) -> Result<T, Fault> {
    value.ok_or_else(|| bad(format!("The message has no \"{name}\".")))
}
