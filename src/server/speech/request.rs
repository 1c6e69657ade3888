//! The request for speech: reads its JSON, and says which field is wrong.

use super::fault::Fault;
use crate::audio::container::Container;
use crate::session::message::surrogates;
use crate::text::{Clean, quoted};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Speeds that the API has.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=4.0;

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

/// A value of a field, as far as any field has use for it.
#[derive(Debug, Default)]
enum Given {
    /// Absent, or `null`.
    #[default]
    Nothing,
    Bool(bool),
    Number(f64),
    Text(String),
    Array,
    /// An object, with its field `id`.
    Object(Box<Given>),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Nothing => f.write_str("null"),
            Given::Bool(value) => value.fmt(f),
            Given::Number(value) if *value == 0.0 || (1e-6..1e15).contains(&value.abs()) => value.fmt(f),
            Given::Number(value) => write!(f, "{value:e}"),
            Given::Text(text) => f.write_str(&quoted(text)),
            Given::Array => f.write_str("an array"),
            Given::Object(_) => f.write_str("an object"),
        }
    }
}

impl Given {
    fn text(self, field: &'static str, wanted: &str) -> Result<Option<String>, Fault> {
        match self {
            Given::Nothing => Ok(None),
            Given::Text(text) => Ok(Some(text)),
            other => Err(wrong(field, wanted, &other)),
        }
    }
}

/// 400: this field has to be something else.
fn wrong(field: &'static str, wanted: &str, given: &Given) -> Fault {
    Fault::field(field, format!("{field} must be {wanted}, not {given}."))
}

/// The fields of a request as they are sent. Others are ignored.
#[derive(Debug, Default)]
struct Fields {
    input: Given,
    voice: Given,
    response_format: Given,
    stream_format: Given,
    speed: Given,
    sample_rate: Given,
    timestamps: Given,
    language: Given,
    clean: Given,
    normalize: Given,
}

/// Reads any value. Only the `id` of an object is kept.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Given, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let mut id = Given::Nothing;
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "id" => id = map.next_value()?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Given::Object(Box::new(id)))
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Reads the body.
struct Body;

impl<'de> Visitor<'de> for Body {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            let field = match &*key {
                "input" => &mut fields.input,
                "voice" => &mut fields.voice,
                "response_format" => &mut fields.response_format,
                "stream_format" => &mut fields.stream_format,
                "speed" => &mut fields.speed,
                "sample_rate" => &mut fields.sample_rate,
                "timestamps" => &mut fields.timestamps,
                "language" => &mut fields.language,
                "clean" => &mut fields.clean,
                "normalize" => &mut fields.normalize,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = map.next_value()?;
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(Body)
    }
}

impl SpeechRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The fault for the client.
    pub(super) fn parse(body: &[u8]) -> Result<SpeechRequest, Fault> {
        let Fields {
            input,
            voice,
            response_format,
            stream_format,
            speed,
            sample_rate,
            timestamps,
            language,
            clean,
            normalize,
        } = fields(body)?;
        let input = match input.text("input", "a string")? {
            None => return Err(Fault::field("input", "input is missing. Send the text to speak.")),
            Some(input) if input.trim().is_empty() => {
                return Err(Fault::field("input", "input is empty. Send the text to speak."));
            }
            Some(input) => input,
        };
        let voice = match voice {
            Given::Object(id) => match *id {
                Given::Nothing => {
                    return Err(Fault::field("voice", "voice is an object without an id. Send its name."));
                }
                id => id.text("voice.id", "a string")?,
            },
            voice => voice.text("voice", "a name, or an object with an id")?,
        };
        let container = match response_format {
            Given::Nothing => Container::DEFAULT,
            given => {
                let named = match &given {
                    Given::Text(name) => Container::from_name(name),
                    _ => None,
                };
                named.ok_or_else(|| wrong("response_format", &formats(), &given))?
            }
        };
        let is_events = match stream_format {
            Given::Nothing => false,
            Given::Text(name) if name == "audio" => false,
            Given::Text(name) if name == "sse" => true,
            other => return Err(wrong("stream_format", "audio or sse", &other)),
        };
        let has_words = match timestamps {
            Given::Nothing => false,
            Given::Text(name) if name == "none" => false,
            Given::Text(name) if name == "word" && is_events => true,
            Given::Text(name) if name == "word" => {
                let message = "timestamps needs \"stream_format\": \"sse\".";
                return Err(Fault::field("timestamps", message));
            }
            other => return Err(wrong("timestamps", "word or none", &other)),
        };
        let speed = match speed {
            Given::Nothing => None,
            Given::Number(speed) if SPEEDS.contains(&speed) => Some(speed as f32),
            other => return Err(wrong("speed", "a number from 0.25 to 4.0", &other)),
        };
        let sample_rate_hz = match sample_rate {
            Given::Nothing => None,
            Given::Number(rate) if rate.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&rate) => {
                Some(rate as u32)
            }
            other => return Err(wrong("sample_rate", "a whole number of samples per second", &other)),
        };
        let clean = match clean {
            // Most texts were written by a language model, or by someone who expects that.
            Given::Nothing => Clean::Markdown,
            Given::Text(name) if name == "markdown" => Clean::Markdown,
            Given::Text(name) if name == "html" => Clean::Html,
            Given::Text(name) if name == "none" => Clean::None,
            other => return Err(wrong("clean", "markdown, html or none", &other)),
        };
        let normalize = match normalize {
            Given::Nothing => None,
            Given::Bool(normalize) => Some(normalize),
            other => return Err(wrong("normalize", "true or false", &other)),
        };
        Ok(SpeechRequest {
            input,
            voice: voice.filter(|name| !name.is_empty()),
            container,
            sample_rate_hz,
            speed,
            is_events,
            has_words,
            language: language.text("language", "a tag such as en")?.filter(|language| language.len() <= 64),
            clean,
            normalize,
        })
    }
}

fn fields(body: &[u8]) -> Result<Fields, Fault> {
    let json = str::from_utf8(body)
        .map_err(|_| Fault::request("The body is not valid UTF-8. Send JSON in UTF-8."))?;
    let json = json.trim_start_matches('\u{feff}');
    let fields: serde_json::Result<Fields> =
        serde_json::from_str(json).or_else(|error| match surrogates::replaced(json) {
            Some(json) => serde_json::from_str(&json),
            None => Err(error),
        });
    fields.map_err(|error| match error.is_data() {
        true => Fault::request("The body must be a JSON object, such as {\"input\": \"Hello.\"}."),
        false => Fault::request(format!("The body is not valid JSON: {error}.")),
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
    fn wrong_request_names_the_field_and_says_what_to_send() {
        let table = [
            ("{", None, "The body is not valid JSON: EOF"),
            (r#"{"input":"a",}"#, None, "The body is not valid JSON: "),
            ("[]", None, "The body must be a JSON object"),
            (
                r#"["Hi.",null,"wav",null,null,null,null,null,null,null]"#,
                None,
                "The body must be a JSON object",
            ),
            ("\"Hi.\"", None, "The body must be a JSON object"),
            ("5", None, "The body must be a JSON object"),
            ("null", None, "The body must be a JSON object"),
            ("{}", Some("input"), "input is missing."),
            (r#"{"input":null}"#, Some("input"), "input is missing."),
            (r#"{"input":" \n"}"#, Some("input"), "input is empty."),
            (r#"{"input":5}"#, Some("input"), "input must be a string, not 5."),
            (r#"{"input":["a",{"b":[]}]}"#, Some("input"), "input must be a string, not an array."),
            (r#"{"input":{"id":"a"}}"#, Some("input"), "input must be a string, not an object."),
            (r#"{"response_format":"mid"}"#, Some("response_format"), "response_format must be "),
            (r#"{"response_format":true}"#, Some("response_format"), "response_format must be "),
            (
                r#"{"stream_format":"ogg"}"#,
                Some("stream_format"),
                "stream_format must be audio or sse, not \"ogg\".",
            ),
            (r#"{"stream_format":1}"#, Some("stream_format"), "stream_format must be audio or sse, not 1."),
            (r#"{"speed":5}"#, Some("speed"), "speed must be a number from 0.25 to 4.0, not 5."),
            (r#"{"speed":0.2}"#, Some("speed"), "speed must be a number from 0.25 to 4.0, not 0.2."),
            (r#"{"speed":"1.0"}"#, Some("speed"), "speed must be a number from 0.25 to 4.0, not \"1.0\"."),
            (r#"{"speed":{}}"#, Some("speed"), "speed must be a number from 0.25 to 4.0, not an object."),
            (r#"{"sample_rate":"8000"}"#, Some("sample_rate"), "sample_rate must be a whole number"),
            (r#"{"sample_rate":8000.5}"#, Some("sample_rate"), "sample_rate must be a whole number"),
            (r#"{"sample_rate":-1}"#, Some("sample_rate"), "sample_rate must be a whole number"),
            (r#"{"sample_rate":1e99}"#, Some("sample_rate"), "sample_rate must be a whole number"),
            (r#"{"timestamps":"word"}"#, Some("timestamps"), "timestamps needs"),
            (r#"{"timestamps":"line"}"#, Some("timestamps"), "timestamps must be word or none"),
            (
                r#"{"timestamps":["word"]}"#,
                Some("timestamps"),
                "timestamps must be word or none, not an array.",
            ),
            (r#"{"voice":{}}"#, Some("voice"), "voice is an object without an id."),
            (r#"{"voice":{"id":null}}"#, Some("voice"), "voice is an object without an id."),
            (r#"{"voice":{"id":5}}"#, Some("voice.id"), "voice.id must be a string, not 5."),
            (r#"{"voice":7}"#, Some("voice"), "voice must be a name, or an object with an id, not 7."),
            (r#"{"language":5}"#, Some("language"), "language must be a tag such as en, not 5."),
            (r#"{"clean":1}"#, Some("clean"), "clean must be markdown, html or none, not 1."),
            (
                r#"{"clean":{"markdown":null}}"#,
                Some("clean"),
                "clean must be markdown, html or none, not an object.",
            ),
            (r#"{"clean":"Markdown"}"#, Some("clean"), "clean must be markdown, html or none"),
            (r#"{"normalize":"yes"}"#, Some("normalize"), "normalize must be true or false, not \"yes\"."),
        ];
        for (json, param, expected) in table {
            let is_whole = !json.starts_with('{') || json.contains("input") || json.len() < 3;
            let json = if is_whole { json.to_owned() } else { json.replacen('{', r#"{"input":"a","#, 1) };
            let fault = SpeechRequest::parse(json.as_bytes()).unwrap_err();
            assert!(fault.message.starts_with(expected), "{json}: {}", fault.message);
            assert_eq!(fault.param, param, "{json}");
        }
    }

    #[test]
    fn error_quotes_few_characters_of_a_long_value() {
        let long = "a".repeat(100_000);
        for field in
            ["speed", "response_format", "stream_format", "timestamps", "clean", "normalize", "sample_rate"]
        {
            let message = parse(&format!(r#"{{"input":"Hi.","{field}":"{long}"}}"#)).unwrap_err();
            assert!(message.len() < 250 && message.contains('…'), "{}", message.len());
        }
        let message = parse(&format!(r#"{{"input":"Hi.","speed":{}}}"#, "9".repeat(300))).unwrap_err();
        assert!(message.len() < 250, "{message}");
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let fields = [
            "voice",
            "response_format",
            "stream_format",
            "speed",
            "sample_rate",
            "timestamps",
            "language",
            "clean",
            "normalize",
        ];
        let nulls: String = fields.map(|field| format!(",\"{field}\":null")).concat();
        let request = parse(&format!("{{\"input\":\"Hi.\"{nulls}}}")).unwrap();
        assert_eq!(
            (request.voice, request.container, request.clean),
            (None, Container::DEFAULT, Clean::Markdown)
        );
        assert_eq!(parse(r#"{"input":"a","sample_rate":8000.0}"#).unwrap().sample_rate_hz, Some(8_000));
    }
}
