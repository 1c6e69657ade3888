//! What a language model's server answers: bytes in, text out.
//!
//! The server is one with OpenAI's chat completions, of whoever's make, and the answer is a stream
//! of server-sent events (WHATWG HTML §9.2.6), or a single JSON object from a server that does not
//! stream. Knows no HTTP: bytes may be cut anywhere, and give the same text as uncut.

use serde_json::Value;
use std::fmt;

/// The longest line, event, or answer without events, in bytes.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// What some models put around their thoughts, which come before the answer and are not meant for
/// anybody's ears.
const THINKS: &str = "<think>";
const HAS_THOUGHT: &str = "</think>";

/// Why a text is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model had nothing more to say.
    Stop,
    /// It reached its limit of tokens.
    Length,
    /// The rest was withheld.
    Filtered,
}

/// Why there is no text, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server says so, in these words.
    Told(String),
    /// The answer is none, in this way: the rest of a sentence that begins with "the answer".
    Broken(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Told(message) => f.write_str(message),
            Failure::Broken(how) => write!(f, "the answer {how}"),
        }
    }
}

impl std::error::Error for Failure {}

/// An answer that is being read.
#[derive(Debug, Default)]
pub struct Completion {
    form: Form,
    /// The line, or the answer, that is not complete yet.
    pending: Vec<u8>,
    /// The data of the event that is not complete yet.
    data: Option<Vec<u8>>,
    /// The line before ended with CR: an LF belongs to that.
    is_after_cr: bool,
    thoughts: Thoughts,
    finish: Option<Finish>,
    /// Nothing more is to be expected.
    is_done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Nothing has come that would tell.
    #[default]
    Unknown,
    Events,
    Whole,
}

impl Completion {
    /// An answer of which nothing has been read.
    pub fn new() -> Completion {
        Completion::default()
    }

    /// Why the text is over, once it is.
    pub fn finished(&self) -> Option<Finish> {
        self.finish
    }

    /// Whether the server has said that this was all.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes the next bytes, and appends the text that is complete with them.
    ///
    /// # Errors
    /// The server tells of a failure, or the answer is none. What was appended before is good.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) -> Result<(), Failure> {
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
                return Err(Failure::Broken("has an event of more than 1 MiB"));
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

    /// Takes the end of the bytes, and appends what text was held back for it.
    ///
    /// # Errors
    /// The server tells of a failure, the answer is none, or it breaks off.
    pub fn finish(&mut self, text: &mut String) -> Result<Finish, Failure> {
        match self.form {
            Form::Unknown => return Err(Failure::Broken("is empty")),
            Form::Whole => {
                let whole = std::mem::take(&mut self.pending);
                let whole: Value = serde_json::from_slice(&whole)
                    .map_err(|_| Failure::Broken("is neither events nor a whole JSON object"))?;
                if !self.take(&whole, text)? {
                    return Err(Failure::Broken("is no chat completion"));
                }
                // The reason may be missing: a whole object is a whole answer.
                self.finish.get_or_insert(Finish::Stop);
            }
            // The last line end may be missing. But the line may also be cut off, and then it says
            // nothing.
            Form::Events if !self.is_done => {
                let _ = self.end_line(text);
                match self.end_event(text) {
                    Err(Failure::Told(message)) => return Err(Failure::Told(message)),
                    Err(Failure::Broken(_)) | Ok(()) => {}
                }
            }
            Form::Events => {}
        }
        self.thoughts.finish(text);
        self.finish.ok_or(Failure::Broken("breaks off before it is finished"))
    }

    fn end_line(&mut self, text: &mut String) -> Result<(), Failure> {
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
            // Some versions of llama.cpp tell of errors in a field of their own.
            b"error" => {
                let error: Result<Value, _> = serde_json::from_slice(value);
                let error = error.unwrap_or_else(|_| String::from_utf8_lossy(value).into_owned().into());
                return Err(Failure::Told(message_of(&error)));
            }
            // Comments, with which a server keeps the connection alive, and fields not for us.
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self, text: &mut String) -> Result<(), Failure> {
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
        // A character that is broken is one character that is broken.
        let event: Value = serde_json::from_str(&String::from_utf8_lossy(data))
            .map_err(|_| Failure::Broken("has an event that is not JSON"))?;
        self.take(&event, text).map(|_| ())
    }

    /// Takes a JSON object; whether it is a chat completion, or a part of one.
    fn take(&mut self, object: &Value, text: &mut String) -> Result<bool, Failure> {
        if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
            return Err(Failure::Told(message_of(error)));
        }
        if object.get("object").and_then(Value::as_str) == Some("error") {
            return Err(Failure::Told(message_of(object)));
        }
        let Some(choices) = object.get("choices").and_then(Value::as_array) else { return Ok(false) };
        let is_first = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
        // The last event may tell what it cost and have no choice in it.
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
            Some("error") => return Err(Failure::Told("it failed while it was writing".to_owned())),
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
            // In parts, of which only the text is to be heard.
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
        (Value::String(message), _) | (_, Some(Value::String(message))) => message.clone(),
        (_, Some(inner)) if !inner.is_null() => message_of(inner),
        _ => error.to_string(),
    }
}

/// Takes out the thoughts in front of an answer.
#[derive(Debug)]
enum Thoughts {
    /// This is all there is so far, and it may begin some.
    Perhaps(String),
    /// In them; this is where they may end.
    Inside(String),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, and how it ended.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Result<Finish, Failure>) {
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

    fn told(message: &str) -> Result<Finish, Failure> {
        Err(Failure::Told(message.to_owned()))
    }

    /// Bytes, the text in them, and how it ends.
    fn table() -> Vec<(Vec<u8>, &'static str, Result<Finish, Failure>)> {
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
            // What follows the end.
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
            (events(&[&tea], "\n"), TEA, Err(Failure::Broken("breaks off before it is finished"))),
            (
                [&events(&[&tea], "\n")[..], &delta("cut").as_bytes()[..20]].concat(),
                TEA,
                Err(Failure::Broken("breaks off before it is finished")),
            ),
            (events(&[&tea, r#"data: {"error":{"message":"No.","code":5}}"#], "\n"), TEA, told("No.")),
            (events(&[&tea, r#"data: {"error":"No."}"#, DONE], "\n"), TEA, told("No.")),
            ([&events(&[&tea], "\n")[..], br#"data: {"error":"No."}"#].concat(), TEA, told("No.")),
            (events(&[&tea, r#"data: {"object":"error","message":"No."}"#], "\n"), TEA, told("No.")),
            (events(&[&tea, r#"error: {"code":500,"message":"No."}"#], "\n"), TEA, told("No.")),
            (events(&[&tea, r#"data: {"error":{"code":500}}"#], "\n"), TEA, told(r#"{"code":500}"#)),
            (events(&[&tea, &end("error")], "\n"), TEA, told("it failed while it was writing")),
            (events(&[&tea, "data: {nonsense"], "\n"), TEA, Err(Failure::Broken("has an event that is not JSON"))),
            (Vec::new(), "", Err(Failure::Broken("is empty"))),
            (b"<html>502</html>".to_vec(), "", Err(Failure::Broken("breaks off before it is finished"))),
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
            (br#"{"error":{"message":"No."}}"#.to_vec(), "", told("No.")),
            (br#"{"choices":[{"mess"#.to_vec(), "", Err(Failure::Broken("is neither events nor a whole JSON object"))),
            (br#"{"hello":"there"}"#.to_vec(), "", Err(Failure::Broken("is no chat completion"))),
        ];
        table.extend(odd);
        table
    }

    #[test]
    fn an_answer_is_the_same_however_it_is_cut() {
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
    fn text_is_there_with_its_event_and_not_later() {
        let (mut completion, mut text) = (Completion::new(), String::new());
        completion.push(delta("Tea.").as_bytes(), &mut text).unwrap();
        assert_eq!(text, "");
        completion.push(b"\n\r", &mut text).unwrap();
        assert_eq!((text.as_str(), completion.finished()), ("Tea.", None));
        completion.push(format!("{}\n\n", end("stop")).as_bytes(), &mut text).unwrap();
        assert_eq!((completion.finished(), completion.is_done()), (Some(Finish::Stop), false));
        completion.push(b"data: [DONE]\n\n", &mut text).unwrap();
        assert!(completion.is_done());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let forms: [&[u8]; 4] = [b"data: ", b": ", b"{\"", b"data: x\ndata: "];
        for begin in forms {
            let (mut completion, mut text) = (Completion::new(), String::new());
            completion.push(begin, &mut text).unwrap();
            let block = [b'x'; 4096];
            let failed = (0..MAX_EVENT_BYTES / 4096).find_map(|_| completion.push(&block, &mut text).err());
            assert_eq!(failed, Some(Failure::Broken("has an event of more than 1 MiB")));
        }
        // Many lines of one event.
        let (mut completion, mut text) = (Completion::new(), String::new());
        let mut failed = None;
        for _ in 0..MAX_EVENT_BYTES / 100 + 1 {
            failed = failed.or(completion.push(format!("data: {:0100}\n", 0).as_bytes(), &mut text).err());
        }
        assert!(failed.is_some());
        // Thoughts are not kept at all.
        let mut thoughts = Thoughts::default();
        thoughts.push("<think>", &mut text);
        for _ in 0..1_000 {
            thoughts.push("so < then </th and so on", &mut text);
        }
        assert!(matches!(&thoughts, Thoughts::Inside(tail) if tail.len() < HAS_THOUGHT.len()));
    }
}
