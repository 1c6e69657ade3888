//! The answer of a language model's server: bytes in, text out.
//!
//! The answer is an OpenAI chat completion: a stream of server-sent events (WHATWG HTML §9.2.6), or one JSON
//! object if the server does not stream. This module knows no HTTP. The bytes may be cut anywhere; the text is
//! the same.

use serde_json::Value;
use std::fmt;

/// Largest line, event, or answer without events, in bytes.
pub(super) const MAX_EVENT_BYTES: usize = 1 << 20;

/// Tags that some models put around their thoughts. Thoughts come before the answer and are not spoken.
const THINKS: &str = "<think>";
const HAS_THOUGHT: &str = "</think>";

/// Reason for the end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model finished its answer.
    Stop,
    /// The model reached its token limit.
    Length,
    /// The server withheld the rest.
    Filtered,
}

/// Failure of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CompletionError {
    /// The server reported this error.
    Reported(String),
    /// The answer is invalid: the rest of a sentence that begins with "the answer".
    Broken(&'static str),
}

impl fmt::Display for CompletionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompletionError::Reported(message) => f.write_str(message),
            CompletionError::Broken(how) => write!(f, "the answer {how}"),
        }
    }
}

impl std::error::Error for CompletionError {}

/// Parser of an answer.
#[derive(Debug, Default)]
pub(super) struct Completion {
    form: Form,
    /// The current line, or the answer without events, so far.
    pending: Vec<u8>,
    /// The data of the current event so far.
    data: Option<Vec<u8>>,
    /// True if the line before ended with CR, so that an LF is part of its end.
    is_after_cr: bool,
    thoughts: Thoughts,
    finish: Option<Finish>,
    /// True once the server has announced the end.
    is_done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Only white space has arrived.
    #[default]
    Unknown,
    Events,
    Whole,
}

impl Completion {
    /// Returns a parser at the beginning of an answer.
    pub(super) fn new() -> Completion {
        Completion::default()
    }

    /// Returns the reason for the end of the text, after its end.
    pub(super) fn finished(&self) -> Option<Finish> {
        self.finish
    }

    /// Takes the next bytes, and appends the text of the events that they complete.
    ///
    /// # Errors
    /// The server reported an error, or the answer is invalid. The text appended before is valid.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) -> Result<(), CompletionError> {
        for &byte in bytes {
            if self.is_done {
                return Ok(());
            }
            if self.form == Form::Unknown {
                // A byte order mark, and blanks that keep the connection alive.
                if byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(&byte) {
                    continue;
                }
                self.form = if byte == b'{' { Form::Whole } else { Form::Events };
            }
            if self.pending.len() + self.data.as_ref().map_or(0, Vec::len) >= MAX_EVENT_BYTES {
                return Err(CompletionError::Broken("has an event of more than 1 MiB"));
            }
            let is_after_cr = std::mem::replace(&mut self.is_after_cr, byte == b'\r');
            match byte {
                _ if self.form == Form::Whole => self.pending.push(byte),
                b'\n' if is_after_cr => {}
                b'\n' | b'\r' => self.end_line(text)?,
                _ => self.pending.push(byte),
            }
        }
        Ok(())
    }

    /// Takes the end of the bytes, and appends the text that was held back.
    ///
    /// # Errors
    /// The server reported an error, or the answer is invalid or incomplete.
    pub(super) fn finish(&mut self, text: &mut String) -> Result<Finish, CompletionError> {
        match self.form {
            Form::Unknown => return Err(CompletionError::Broken("is empty")),
            Form::Whole => {
                let whole = std::mem::take(&mut self.pending);
                let whole: Value = serde_json::from_slice(&whole)
                    .map_err(|_| CompletionError::Broken("is neither events nor a whole JSON object"))?;
                if !self.take(&whole, text)? {
                    return Err(CompletionError::Broken("is no chat completion"));
                }
                // The finish reason is optional: a whole object is a whole answer.
                self.finish.get_or_insert(Finish::Stop);
            }
            // The last line end is optional. A line that was cut off is ignored.
            Form::Events if !self.is_done => {
                let _ = self.end_line(text);
                match self.end_event(text) {
                    Err(CompletionError::Reported(message)) => {
                        return Err(CompletionError::Reported(message));
                    }
                    Err(CompletionError::Broken(_)) | Ok(()) => {}
                }
            }
            Form::Events => {}
        }
        self.thoughts.finish(text);
        self.finish.ok_or(CompletionError::Broken("breaks off before it is finished"))
    }

    fn end_line(&mut self, text: &mut String) -> Result<(), CompletionError> {
        let line = std::mem::take(&mut self.pending);
        if line.is_empty() {
            return self.end_event(text);
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            // Some versions of llama.cpp report errors in a field of their own.
            b"error" => {
                let error: Result<Value, _> = serde_json::from_slice(value);
                let error = error.unwrap_or_else(|_| String::from_utf8_lossy(value).into_owned().into());
                return Err(CompletionError::Reported(message_of(&error)));
            }
            // Comments, which keep the connection alive, and unknown fields.
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self, text: &mut String) -> Result<(), CompletionError> {
        let Some(data) = self.data.take() else { return Ok(()) };
        let data = data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == b"[DONE]" {
            self.is_done = true;
            self.finish.get_or_insert(Finish::Stop);
            return Ok(());
        }
        // Invalid UTF-8 costs one character, not the event.
        let event: Value = serde_json::from_str(&String::from_utf8_lossy(data))
            .map_err(|_| CompletionError::Broken("has an event that is not JSON"))?;
        self.take(&event, text).map(|_| ())
    }

    /// Takes a JSON object; true if it is a chat completion, or part of one.
    fn take(&mut self, object: &Value, text: &mut String) -> Result<bool, CompletionError> {
        if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
            return Err(CompletionError::Reported(message_of(error)));
        }
        if object.get("object").and_then(Value::as_str) == Some("error") {
            return Err(CompletionError::Reported(message_of(object)));
        }
        let Some(choices) = object.get("choices").and_then(Value::as_array) else { return Ok(false) };
        let is_first = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
        // The last event may contain the usage and no choice.
        let Some(choice) = choices.iter().find(is_first) else { return Ok(true) };
        if self.finish.is_none()
            && let Some(delta) = choice.get("delta").or_else(|| choice.get("message"))
        {
            for said in ["content", "refusal"] {
                self.say(delta.get(said), text);
            }
        }
        match choice.get("finish_reason").and_then(Value::as_str) {
            None | Some("") => {}
            Some("length" | "max_tokens") => self.finish = Some(Finish::Length),
            Some("content_filter") => self.finish = Some(Finish::Filtered),
            Some("error") => {
                return Err(CompletionError::Reported("it failed while writing".to_owned()));
            }
            Some(_) => self.finish = Some(Finish::Stop),
        }
        if self.finish.is_some() {
            self.thoughts.finish(text);
        }
        Ok(true)
    }

    fn say(&mut self, content: Option<&Value>, text: &mut String) {
        match content {
            Some(Value::String(content)) => self.thoughts.push(content, text),
            // Parts; only their text is spoken.
            Some(Value::Array(parts)) => {
                let is_text = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("text");
                for part in parts.iter().filter(is_text) {
                    self.say(part.get("text"), text);
                }
            }
            _ => {}
        }
    }
}

fn message_of(error: &Value) -> String {
    let inner = ["message", "detail", "error"].into_iter().find_map(|name| error.get(name));
    match (error, inner) {
        (Value::String(message), _) | (_, Some(Value::String(message))) => match message.trim() {
            "" => "an error without a message".to_owned(),
            _ => message.clone(),
        },
        (_, Some(inner)) if !inner.is_null() => message_of(inner),
        _ => error.to_string(),
    }
}

/// Removes the thoughts before an answer.
#[derive(Debug)]
enum Thoughts {
    /// The answer so far, which may be the beginning of a thought.
    Perhaps(String),
    /// Inside of the thoughts; the text so far that may be the beginning of their end.
    Inside(String),
    /// After the thoughts, or none came.
    Past,
}

impl Default for Thoughts {
    fn default() -> Thoughts {
        Thoughts::Perhaps(String::new())
    }
}

impl Thoughts {
    fn push(&mut self, piece: &str, text: &mut String) {
        match self {
            Thoughts::Past => text.push_str(piece),
            Thoughts::Perhaps(seen) => {
                seen.push_str(piece);
                let begin = seen.trim_start();
                if let Some(thought) = begin.strip_prefix(THINKS) {
                    let thought = thought.to_owned();
                    *self = Thoughts::Inside(String::new());
                    self.push(&thought, text);
                } else if !THINKS.starts_with(begin) {
                    self.finish(text);
                }
            }
            Thoughts::Inside(tail) => {
                tail.push_str(piece);
                if let Some(at) = tail.find(HAS_THOUGHT) {
                    let answer = tail[at + HAS_THOUGHT.len()..].to_owned();
                    *self = Thoughts::Past;
                    text.push_str(&answer);
                } else {
                    let longest = (1..HAS_THOUGHT.len()).rev();
                    let kept = longest.into_iter().find(|&n| tail.ends_with(&HAS_THOUGHT[..n])).unwrap_or(0);
                    *tail = tail.split_off(tail.len() - kept);
                }
            }
        }
    }

    fn finish(&mut self, text: &mut String) {
        if let Thoughts::Perhaps(seen) = self {
            text.push_str(seen);
            *self = Thoughts::Past;
        }
    }
}

/// The text of an answer that comes in these pieces, and the fault of an answer that is not whole.
pub(crate) fn whole<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (String, Result<(), String>) {
    let (mut completion, mut text) = (Completion::new(), String::new());
    for piece in pieces {
        if let Err(error) = completion.push(piece, &mut text) {
            return (text, Err(error.to_string()));
        }
    }
    let finished = completion.finish(&mut text);
    (text, finished.map(|_| ()).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text, and its end.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Result<Finish, CompletionError>) {
        let (mut completion, mut text) = (Completion::new(), String::new());
        for piece in pieces {
            if let Err(failure) = completion.push(piece, &mut text) {
                return (text, Err(failure));
            }
        }
        let finish = completion.finish(&mut text);
        (text, finish)
    }

    fn delta(content: &str) -> String {
        let content = Value::from(content);
        format!(r#"data: {{"choices":[{{"index":0,"delta":{{"content":{content}}}}}]}}"#)
    }

    fn end(reason: &str) -> String {
        format!(r#"data: {{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
    }

    const DONE: &str = "data: [DONE]";
    const TEA: &str = "Tea is “grün” 🍵.";

    fn events(events: &[&str], line_end: &str) -> Vec<u8> {
        events.iter().flat_map(|event| [event, line_end, line_end].concat().into_bytes()).collect()
    }

    fn reported(message: &str) -> Result<Finish, CompletionError> {
        Err(CompletionError::Reported(message.to_owned()))
    }

    /// Bytes, their text, and its end.
    fn table() -> Vec<(Vec<u8>, &'static str, Result<Finish, CompletionError>)> {
        let tea = delta(TEA);
        let stop = end("stop");
        let role = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#;
        let usage = r#"data: {"choices":[],"usage":{"total_tokens":9}}"#;
        let thinks = r#"data: {"choices":[{"delta":{"reasoning_content":"Hm.","reasoning":"Hm."}}]}"#;
        let lines = "data: {\"choices\":[{\"delta\":\ndata:{\"content\":\"Tea.\"}}]}\n\n";
        let refusal = r#"data: {"choices":[{"delta":{"refusal":"Tea is “grün” 🍵."}}]}"#;
        let second = r#"data: {"choices":[{"index":1,"delta":{"content":"No."},"finish_reason":"stop"}]}"#;
        let parts = r#"data: {"choices":[{"delta":{"content":[{"type":"thinking","thinking":"Hm."},{"type":"text","text":"Tea."}]}}]}"#;
        let both = r#"data: {"choices":[{"delta":{"content":"Tea."},"finish_reason":"stop"}]}"#;
        let empty_reason = r#"data: {"choices":[{"delta":{"content":"Tea."},"finish_reason":""}]}"#;
        let mut table = Vec::new();
        for line_end in ["\n", "\r\n", "\r"] {
            table.push((events(&[role, &tea, &stop, usage, DONE], line_end), TEA, Ok(Finish::Stop)));
            table.push((
                events(&[": wait", "event: x\nid: 1", thinks, &tea, DONE], line_end),
                TEA,
                Ok(Finish::Stop),
            ));
        }
        let odd = [
            // Ends without one of the two, or without the last line ends.
            (events(&[&tea, &stop], "\n"), TEA, Ok(Finish::Stop)),
            ([&events(&[&tea], "\n")[..], DONE.as_bytes()].concat(), TEA, Ok(Finish::Stop)),
            ([&events(&[&tea], "\n")[..], stop.as_bytes(), b"\n"].concat(), TEA, Ok(Finish::Stop)),
            (events(&[both, DONE], "\n"), "Tea.", Ok(Finish::Stop)),
            (events(&[empty_reason, &delta(" Hot."), DONE], "\n"), "Tea. Hot.", Ok(Finish::Stop)),
            (events(&[&tea, &end("length"), DONE], "\n"), TEA, Ok(Finish::Length)),
            (events(&[&tea, &end("content_filter"), DONE], "\n"), TEA, Ok(Finish::Filtered)),
            (events(&[&tea, &end("tool_calls")], "\n"), TEA, Ok(Finish::Stop)),
            // Data after the end.
            (events(&[&tea, DONE, &delta(" More.")], "\n"), TEA, Ok(Finish::Stop)),
            (events(&[&tea, &stop, &delta(" More.")], "\n"), TEA, Ok(Finish::Stop)),
            // Forms of the data.
            (events(&[&tea.replacen(": ", ":", 1), "data:[DONE]"], "\n"), TEA, Ok(Finish::Stop)),
            ([lines.as_bytes(), b"data: [DONE]\n\n"].concat(), "Tea.", Ok(Finish::Stop)),
            (events(&["data:", "data", &tea, DONE], "\n"), TEA, Ok(Finish::Stop)),
            (events(&[refusal, DONE], "\n"), TEA, Ok(Finish::Stop)),
            (events(&[second, parts, DONE], "\n"), "Tea.", Ok(Finish::Stop)),
            ([b"\xef\xbb\xbf\n ", &events(&[&tea, DONE], "\n")[..]].concat(), TEA, Ok(Finish::Stop)),
            (events(&[r#"data: {"type":"ping"}"#, &tea, DONE], "\n"), TEA, Ok(Finish::Stop)),
            // Thoughts in the text itself.
            (
                events(&[&delta(" <thi"), &delta("nk>Hm. </thin"), &delta("k"), &delta(">Tea."), DONE], "\n"),
                "Tea.",
                Ok(Finish::Stop),
            ),
            (events(&[&delta("<this> is"), &delta(" <think>"), DONE], "\n"), "<this> is <think>", Ok(Finish::Stop)),
            (events(&[&delta("<thi"), DONE], "\n"), "<thi", Ok(Finish::Stop)),
            (events(&[&delta("<think>Hm."), DONE], "\n"), "", Ok(Finish::Stop)),
            // Failures.
            (events(&[&tea], "\n"), TEA, Err(CompletionError::Broken("breaks off before it is finished"))),
            (
                [&events(&[&tea], "\n")[..], &delta("cut").as_bytes()[..20]].concat(),
                TEA,
                Err(CompletionError::Broken("breaks off before it is finished")),
            ),
            (events(&[&tea, r#"data: {"error":{"message":"No.","code":5}}"#], "\n"), TEA, reported("No.")),
            (events(&[&tea, r#"data: {"error":"No."}"#, DONE], "\n"), TEA, reported("No.")),
            ([&events(&[&tea], "\n")[..], br#"data: {"error":"No."}"#].concat(), TEA, reported("No.")),
            (events(&[&tea, r#"data: {"object":"error","message":"No."}"#], "\n"), TEA, reported("No.")),
            (events(&[&tea, r#"error: {"code":500,"message":"No."}"#], "\n"), TEA, reported("No.")),
            (events(&[&tea, r#"data: {"error":{"code":500}}"#], "\n"), TEA, reported(r#"{"code":500}"#)),
            (events(&[&tea, &end("error")], "\n"), TEA, reported("it failed while writing")),
            (events(&[&tea, "data: {nonsense"], "\n"), TEA, Err(CompletionError::Broken("has an event that is not JSON"))),
            (Vec::new(), "", Err(CompletionError::Broken("is empty"))),
            (b"<html>502</html>".to_vec(), "", Err(CompletionError::Broken("breaks off before it is finished"))),
            // Servers that do not stream.
            (
                format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":"{TEA}"}},"finish_reason":"stop"}}]}}"#)
                    .into_bytes(),
                TEA,
                Ok(Finish::Stop),
            ),
            (
                b"\n {\"choices\":[{\"message\":{\"content\":\"<think>Hm.</think>Tea.\"},\"finish_reason\":\"length\"}]}\r\n".to_vec(),
                "Tea.",
                Ok(Finish::Length),
            ),
            (br#"{"error":{"message":"No."}}"#.to_vec(), "", reported("No.")),
            (br#"{"choices":[{"mess"#.to_vec(), "", Err(CompletionError::Broken("is neither events nor a whole JSON object"))),
            (br#"{"hello":"there"}"#.to_vec(), "", Err(CompletionError::Broken("is no chat completion"))),
        ];
        table.extend(odd);
        table
    }

    #[test]
    fn answer_is_the_same_however_it_is_cut() {
        for (bytes, text, finish) in table() {
            let expected = (text.to_owned(), finish);
            let shown = String::from_utf8_lossy(&bytes);
            assert_eq!(read([&bytes[..]]), expected, "whole: {shown}");
            assert_eq!(read(bytes.chunks(1)), expected, "byte by byte: {shown}");
            for at in 0..bytes.len() {
                assert_eq!(read([&bytes[..at], &bytes[at..]]), expected, "cut at {at}: {shown}");
            }
        }
    }

    #[test]
    fn text_arrives_with_its_event() {
        let (mut completion, mut text) = (Completion::new(), String::new());
        completion.push(delta("Tea.").as_bytes(), &mut text).unwrap();
        assert_eq!(text, "");
        completion.push(b"\n\r", &mut text).unwrap();
        assert_eq!((text.as_str(), completion.finished()), ("Tea.", None));
        completion.push(format!("{}\n\n", end("stop")).as_bytes(), &mut text).unwrap();
        assert_eq!((completion.finished(), completion.is_done), (Some(Finish::Stop), false));
        completion.push(b"data: [DONE]\n\n", &mut text).unwrap();
        assert!(completion.is_done);
    }

    #[test]
    fn memory_is_bounded() {
        let forms: [&[u8]; 4] = [b"data: ", b": ", b"{\"", b"data: x\ndata: "];
        for begin in forms {
            let (mut completion, mut text) = (Completion::new(), String::new());
            completion.push(begin, &mut text).unwrap();
            let block = [b'x'; 4096];
            let failed = (0..MAX_EVENT_BYTES / 4096).find_map(|_| completion.push(&block, &mut text).err());
            assert_eq!(failed, Some(CompletionError::Broken("has an event of more than 1 MiB")));
        }
        // Many lines of one event.
        let (mut completion, mut text) = (Completion::new(), String::new());
        let mut failed = None;
        for _ in 0..MAX_EVENT_BYTES / 100 + 1 {
            failed = failed.or(completion.push(format!("data: {:0100}\n", 0).as_bytes(), &mut text).err());
        }
        assert!(failed.is_some());
        // Thoughts are not stored.
        let mut thoughts = Thoughts::default();
        thoughts.push("<think>", &mut text);
        for _ in 0..1_000 {
            thoughts.push("so < then </th and so on", &mut text);
        }
        assert!(matches!(&thoughts, Thoughts::Inside(tail) if tail.len() < HAS_THOUGHT.len()));
    }
}
