//! A request body of the operator's own, for services that have another interface than OpenAI's.

use crate::tts::template::{Placeholder, Template, Values};
use serde_json::{Map, Number, Value};
use std::fmt;
use std::str::FromStr;

/// A JSON object whose strings have placeholders for the parts of an utterance.
///
/// | placeholder | replaced by |
/// |---|---|
/// | `{text}` | the sentence |
/// | `{voice}` | the voice that the client chose, or the first of the engine |
/// | `{language}` | the language that the client named, or that of the engine |
/// | `{speed}`, `{length_scale}` | the rate of speech as a factor, or 1 divided by it |
/// | `{wpm}` | the rate in words per minute, 175 times the factor |
/// | `{sample_rate}` | the sample rate of the engine |
/// | `{{` and `}}` | a brace |
///
/// A string that is one placeholder for a number, and nothing else, becomes a number.
///
/// ```
/// use aloud::tts::upstream::RequestBody;
///
/// let body: RequestBody = r#"{"text": "{text}", "length_scale": "{length_scale}"}"#.parse().unwrap();
/// assert!(r#"{"text": "Hello."}"#.parse::<RequestBody>().is_err(), "no sentence would be spoken");
/// # drop(body);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RequestBody(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(Template),
    Number(Placeholder),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    Constant(Value),
}

/// Error: a [`RequestBody`] cannot be used. A part of a sentence that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBody(String);

impl fmt::Display for InvalidBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidBody {}

impl FromStr for RequestBody {
    type Err = InvalidBody;

    fn from_str(text: &str) -> Result<RequestBody, InvalidBody> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| InvalidBody(format!("it is no JSON: {error}")))?;
        if !json.is_object() {
            return Err(InvalidBody("it is no JSON object; write {\"text\": \"{text}\"}".to_owned()));
        }
        let node = Node::parse(json).map_err(InvalidBody)?;
        match node.has_text() {
            true => Ok(RequestBody(node)),
            false => Err(InvalidBody(
                "it has no {text}, so that the service would get no sentence; write {text} in one of its strings"
                    .to_owned(),
            )),
        }
    }
}

impl RequestBody {
    pub(super) fn fill(&self, values: &Values<'_>) -> Value {
        self.0.fill(values)
    }
}

impl Node {
    fn parse(json: Value) -> Result<Node, String> {
        Ok(match json {
            Value::String(text) => {
                let template = Template::parse(&text)?;
                match template.only_placeholder().filter(|only| only.is_number()) {
                    Some(number) => Node::Number(number),
                    None => Node::Text(template),
                }
            }
            Value::Array(items) => Node::List(items.into_iter().map(Node::parse).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let parse = |(name, value)| Ok::<_, String>((name, Node::parse(value)?));
                Node::Object(fields.into_iter().map(parse).collect::<Result<_, _>>()?)
            }
            constant => Node::Constant(constant),
        })
    }

    fn has_text(&self) -> bool {
        match self {
            Node::Text(template) => template.has_text(),
            Node::Number(_) | Node::Constant(_) => false,
            Node::List(items) => items.iter().any(Node::has_text),
            Node::Object(fields) => fields.iter().any(|(_, value)| value.has_text()),
        }
    }

    fn fill(&self, values: &Values<'_>) -> Value {
        match self {
            Node::Text(template) => template.fill(values).into(),
            Node::Number(placeholder) => {
                values.of(*placeholder).parse::<Number>().map_or(Value::Null, Value::Number)
            }
            Node::List(items) => items.iter().map(|item| item.fill(values)).collect(),
            Node::Object(fields) => {
                let fill = |(name, value): &(String, Node)| (name.clone(), value.fill(values));
                Value::Object(fields.iter().map(fill).collect::<Map<_, _>>())
            }
            Node::Constant(value) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VALUES: Values<'_> = Values {
        text: "Say \"{voice}\"\n\\ & co.",
        voice: "a b",
        language: "de-CH",
        speed: 1.25,
        sample_rate_hz: 22_050,
    };

    #[test]
    fn placeholders_become_text_and_numbers() {
        for (body, expected) in [
            (r#"{"text":"{text}"}"#, json!({"text": VALUES.text})),
            (
                r#"{"a":[{"b":"x{text}y"}],"s":"{speed}","l":"{length_scale}","w":"{wpm}","r":"{sample_rate}"}"#,
                json!({"a":[{"b":format!("x{}y", VALUES.text)}],"s":1.25,"l":0.8,"w":219,"r":22_050}),
            ),
            (
                r#"{"ssml":"<s lang='{language}' rate='{speed}'>{text}</s>","voice":{"name":"{voice}"}}"#,
                json!({"ssml":format!("<s lang='de-CH' rate='1.25'>{}</s>", VALUES.text),"voice":{"name":"a b"}}),
            ),
            (
                r#"{"text":"{{{text}}}","n":null,"b":true,"i":7,"f":0.5,"{text}":""}"#,
                json!({"text":format!("{{{}}}", VALUES.text),"n":null,"b":true,"i":7,"f":0.5,"{text}":""}),
            ),
        ] {
            let filled =
                body.parse::<RequestBody>().unwrap_or_else(|why| panic!("{body}: {why}")).fill(&VALUES);
            assert_eq!(filled, expected, "{body}");
        }
    }

    #[test]
    fn body_that_cannot_be_used_says_why() {
        for (body, why) in [
            ("", "no JSON"),
            ("{text}", "no JSON"),
            (r#"{"text":"#, "no JSON"),
            (r#""{text}""#, "no JSON object"),
            (r#"["{text}"]"#, "no JSON object"),
            ("{}", "no {text}"),
            (r#"{"{text}":"a"}"#, "no {text}"),
            (r#"{"text":"{{text}}"}"#, "no {text}"),
            (r#"{"text":"{text"}"#, "unmatched brace"),
            (r#"{"text":"text}"}"#, "unmatched brace"),
            (r#"{"text":"{text}","a":["{pitch}"]}"#, "no placeholder {pitch}"),
        ] {
            let error = body.parse::<RequestBody>().expect_err(body).to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
    }
}
