//! The request for speech: reads its JSON, and says which field is wrong.

use super::fault::Fault;
use crate::audio::container::Container;
use crate::session::message::{quoted, surrogates};
use crate::text::Clean;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Speeds that the API has.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=4.0;

/// Sample rates that a client may ask for, in hertz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// A request for speech that is valid by itself.
#[derive(Debug)]
pub(super) struct SpeechRequest {
    /// The text. Not blank.
    pub(super) input: String,
    /// The voice as the client names it.
    pub(super) voice: Option<String>,
    pub(super) container: Container,
    /// Samples per second, if the client asks for a rate.
    pub(super) sample_rate_hz: Option<u32>,
    /// From 0.25 to 4.
    pub(super) speed: Option<f32>,
    /// True if the answer is a stream of events.
    pub(super) is_events: bool,
    /// True if the events tell the times of words.
    pub(super) has_words: bool,
    pub(super) language: Option<String>,
    pub(super) clean: Clean,
    pub(super) normalize: Option<bool>,
}

/// The fields of a request as they are sent. Others are ignored, and so is `null`.
#[derive(Deserialize)]
struct Fields {
    input: Option<String>,
    voice: Option<Name>,
    response_format: Option<String>,
    stream_format: Option<String>,
    speed: Option<f64>,
    sample_rate: Option<u32>,
    timestamps: Option<String>,
    language: Option<String>,
    clean: Option<Clean>,
    normalize: Option<bool>,
}

/// A name, alone or as the `id` of an object.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or an object with an id")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Name, A::Error> {
        let mut id = None;
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "id" => id = Some(map.next_value()?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        id.map(Name).ok_or_else(|| serde::de::Error::missing_field("id"))
    }
}

impl SpeechRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The fault for the client.
    pub(super) fn parse(body: &[u8]) -> Result<SpeechRequest, Fault> {
        let fields = fields(body)?;
        let input = fields.input.unwrap_or_default();
        if input.trim().is_empty() {
            return Err(Fault::field("input", "input is empty. Send the text to speak."));
        }
        let container = match fields.response_format.as_deref() {
            None => Container::DEFAULT,
            Some(name) => Container::from_name(name).ok_or_else(|| {
                let message = format!("response_format must be {}, not {}.", formats(), quoted(name));
                Fault::field("response_format", message)
            })?,
        };
        let is_events = match fields.stream_format.as_deref() {
            None | Some("audio") => false,
            Some("sse") => true,
            Some(other) => {
                let message = format!("stream_format must be audio or sse, not {}.", quoted(other));
                return Err(Fault::field("stream_format", message));
            }
        };
        let has_words = match fields.timestamps.as_deref() {
            None | Some("none") => false,
            Some("word") if is_events => true,
            Some("word") => {
                let message = "timestamps needs \"stream_format\": \"sse\".";
                return Err(Fault::field("timestamps", message));
            }
            Some(other) => {
                let message = format!("timestamps must be word or none, not {}.", quoted(other));
                return Err(Fault::field("timestamps", message));
            }
        };
        if let Some(speed) = fields.speed.filter(|speed| !SPEEDS.contains(speed)) {
            let message = format!("speed must be from 0.25 to 4.0, not {speed}.");
            return Err(Fault::field("speed", message));
        }
        if let Some(rate) = fields.sample_rate.filter(|rate| !RATES.contains(rate)) {
            let (least, most) = (RATES.start(), RATES.end());
            let message =
                format!("sample_rate must be from {least} to {most} samples per second, not {rate}.");
            return Err(Fault::field("sample_rate", message));
        }
        Ok(SpeechRequest {
            input,
            voice: fields.voice.map(|Name(name)| name).filter(|name| !name.is_empty()),
            container,
            sample_rate_hz: fields.sample_rate,
            speed: fields.speed.map(|speed| speed as f32),
            is_events,
            has_words,
            language: fields.language.filter(|language| language.len() <= 64),
            // Most texts were written by a language model, or by someone who expects that.
            clean: fields.clean.unwrap_or(Clean::Markdown),
            normalize: fields.normalize,
        })
    }
}

fn fields(body: &[u8]) -> Result<Fields, Fault> {
    let json = str::from_utf8(body)
        .map_err(|_| Fault::request("The body is not valid UTF-8. Send JSON in UTF-8."))?;
    let json = json.trim_start_matches('\u{feff}');
    serde_json::from_str(json)
        .or_else(|error| match surrogates::replaced(json) {
            Some(json) => serde_json::from_str(&json),
            None => Err(error),
        })
        .map_err(|error| {
            let wrong = if error.is_data() { "has a field of a wrong type" } else { "is not valid JSON" };
            Fault::request(format!("The body {wrong}: {error}."))
        })
}

/// The formats of this build, as a part of a sentence.
fn formats() -> String {
    let names: Vec<&str> = Container::ALL.iter().map(|container| container.name()).collect();
    let (last, others) = names.split_last().expect("there are formats");
    format!("{} or {last}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<SpeechRequest, String> {
        SpeechRequest::parse(json.as_bytes()).map_err(|fault| fault.message)
    }

    #[test]
    fn request_of_an_ordinary_client_is_read() {
        let request = parse(
            r#"{"model":"tts-1","input":"Tea?","voice":"alloy","response_format":"pcm","speed":1.5,"stream":true,
                "backend":{"a":[1,{}]},"instructions":null,"sample_rate":8000,"stream_format":"sse",
                "timestamps":"word","clean":"html","normalize":true,"language":"de"}"#,
        )
        .unwrap();
        assert_eq!((&*request.input, request.voice.as_deref()), ("Tea?", Some("alloy")));
        assert_eq!((request.container, request.speed), (Container::Pcm, Some(1.5)));
        assert_eq!((request.sample_rate_hz, request.clean), (Some(8_000), Clean::Html));
        assert_eq!((request.is_events, request.has_words, request.normalize), (true, true, Some(true)));
        assert_eq!(request.language.as_deref(), Some("de"));
        let least = parse(r#"{"input":".","voice":{"name":"x","id":"nova"},"speed":null}"#).unwrap();
        assert_eq!((least.voice.as_deref(), least.container), (Some("nova"), Container::DEFAULT));
        assert_eq!((least.speed, least.is_events, least.clean), (None, false, Clean::Markdown));
    }

    #[test]
    fn lone_surrogate_is_no_error() {
        assert_eq!(parse(r#"{"input":"Tea \ud83d"}"#).unwrap().input, "Tea \u{fffd}");
    }

    #[test]
    fn wrong_request_says_what_to_send() {
        for (json, expected) in [
            ("{", "The body is not valid JSON: EOF"),
            ("[]", "The body has a field of a wrong type: "),
            (r#"{"input":5}"#, "The body has a field of a wrong type: invalid type: integer `5`"),
            ("{}", "input is empty."),
            (r#"{"input":" \n"}"#, "input is empty."),
            (r#"{"input":"a","response_format":"mid"}"#, "response_format must be "),
            (r#"{"input":"a","stream_format":"ogg"}"#, "stream_format must be audio or sse, not \"ogg\"."),
            (r#"{"input":"a","speed":5}"#, "speed must be from 0.25 to 4.0, not 5."),
            (r#"{"input":"a","speed":0.2}"#, "speed must be"),
            (r#"{"input":"a","sample_rate":4000}"#, "sample_rate must be from 8000 to 48000"),
            (r#"{"input":"a","timestamps":"word"}"#, "timestamps needs"),
            (r#"{"input":"a","timestamps":"line","stream_format":"sse"}"#, "timestamps must be word or none"),
            (r#"{"input":"a","voice":{}}"#, "The body has a field of a wrong type: missing field `id`"),
        ] {
            let message = parse(json).unwrap_err();
            assert!(message.starts_with(expected), "{json}: {message}");
        }
    }
}
