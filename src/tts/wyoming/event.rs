//! Events of Wyoming: a line of JSON, then perhaps more JSON, then perhaps bytes.
//!
//! ```text
//! {"type":"audio-chunk","data":{…},"data_length":48,"payload_length":2048}\n
//! 48 bytes of JSON, whose fields count for `data`
//! 2048 bytes of samples
//! ```
//!
//! This module has no socket and no clock.

use serde_json::{Map, Value};

/// Most bytes of a line, and of the JSON behind it. Lists of voices are longer than this, but nothing asks for
/// them.
const MAX_JSON_BYTES: usize = 64 * 1024;

/// Head of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    /// Type, such as `audio-chunk`.
    pub(super) name: String,
    pub(super) data: Map<String, Value>,
}

impl Event {
    /// Returns the bytes of an event without a payload.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut line = serde_json::json!({ "type": self.name, "data": self.data }).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// A part of the bytes that a server sends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part<'a> {
    Event(Event),
    /// Bytes of the payload of the last event, never empty.
    Payload(&'a [u8]),
}

/// Error: the bytes are no events. A part of a sentence about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

/// Reads events from bytes that are cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    /// The beginning of a line, or of the JSON behind it.
    json: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// The JSON behind the line has this length, and the payload behind it that one.
    Data(Event, usize, u64),
    /// Bytes that are left of the payload.
    Payload(u64),
}

impl Reader {
    /// Reads the next part from `input`, and takes its bytes. `None` once all of them are taken.
    ///
    /// # Errors
    /// The bytes are no event. The reader is of no use then.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Malformed> {
        loop {
            match &mut self.state {
                State::Payload(0) => self.state = State::Line,
                State::Payload(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (payload, rest) = input.split_at(input.len().min(most));
                    *left -= payload.len() as u64;
                    *input = rest;
                    return Ok(Some(Part::Payload(payload)));
                }
                State::Line => {
                    let end = input.iter().position(|byte| *byte == b'\n');
                    let (line, rest) = input.split_at(end.unwrap_or(input.len()));
                    if self.json.len() + line.len() > MAX_JSON_BYTES {
                        return Err(Malformed(format!("sent a line of more than {MAX_JSON_BYTES} bytes")));
                    }
                    self.json.extend_from_slice(line);
                    *input = rest.get(1..).unwrap_or_default();
                    if end.is_none() {
                        return Ok(None);
                    }
                    let line = std::mem::take(&mut self.json);
                    let (event, data_bytes, payload_bytes) = head(&line)?;
                    if data_bytes > MAX_JSON_BYTES {
                        return Err(Malformed(format!("sent data of more than {MAX_JSON_BYTES} bytes")));
                    }
                    if data_bytes == 0 {
                        self.state = State::Payload(payload_bytes);
                        return Ok(Some(Part::Event(event)));
                    }
                    self.state = State::Data(event, data_bytes, payload_bytes);
                }
                State::Data(event, data_bytes, payload_bytes) => {
                    let (data, rest) = input.split_at(input.len().min(*data_bytes - self.json.len()));
                    self.json.extend_from_slice(data);
                    *input = rest;
                    if self.json.len() < *data_bytes {
                        return Ok(None);
                    }
                    let (mut event, payload_bytes) = (std::mem::take(event), *payload_bytes);
                    event.data.extend(object(&std::mem::take(&mut self.json))?);
                    self.state = State::Payload(payload_bytes);
                    return Ok(Some(Part::Event(event)));
                }
            }
        }
    }
}

/// Reads a line: the event, and the lengths of what follows.
fn head(line: &[u8]) -> Result<(Event, usize, u64), Malformed> {
    let mut fields = object(line)?;
    let Some(Value::String(name)) = fields.remove("type") else {
        return Err(Malformed("sent an event without a type".to_owned()));
    };
    let mut length = |field: &str| match fields.remove(field) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| Malformed(format!("sent an event whose {field} is no number of bytes"))),
    };
    let (data_bytes, payload_bytes) = (length("data_length")?, length("payload_length")?);
    let data = match fields.remove("data") {
        Some(Value::Object(data)) => data,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(Malformed("sent an event whose data is no object".to_owned())),
    };
    Ok((Event { name, data }, usize::try_from(data_bytes).unwrap_or(usize::MAX), payload_bytes))
}

fn object(json: &[u8]) -> Result<Map<String, Value>, Malformed> {
    serde_json::from_slice(json).map_err(|_| {
        let begin = String::from_utf8_lossy(&json[..json.len().min(200)]).into_owned();
        Malformed(format!("sent what is no event of Wyoming: {}", crate::text::quoted(&begin)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(name: &str, data: Value) -> Event {
        let Value::Object(data) = data else { panic!("an object") };
        Event { name: name.to_owned(), data }
    }

    /// Everything in these bytes, which come in pieces: events, and the payload behind each.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<(Event, Vec<u8>)>, Malformed> {
        let (mut reader, mut events) = (Reader::default(), Vec::new());
        for mut piece in pieces {
            while let Some(part) = reader.next(&mut piece)? {
                match part {
                    Part::Event(event) => events.push((event, Vec::new())),
                    Part::Payload(bytes) => {
                        assert!(!bytes.is_empty());
                        events.last_mut().expect("an event before").1.extend_from_slice(bytes);
                    }
                }
            }
            assert!(piece.is_empty());
        }
        Ok(events)
    }

    #[test]
    fn events_cut_anywhere_are_the_same() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"{\"type\":\"a\"}\n");
        bytes.extend_from_slice(
            b"{\"type\": \"b\", \"version\": \"1.8.0\", \"data_length\": 12}\n{\"rate\": 16}",
        );
        bytes.extend_from_slice(b"{\"type\":\"c\",\"data\":{\"x\":1,\"y\":2},\"data_length\":7,\"payload_length\":5}\n{\"y\":3}\n{\"}\n");
        bytes.extend_from_slice(
            b"{\"type\":\"d\",\"data\":null,\"data_length\":0,\"payload_length\":null}\r\n",
        );
        bytes.extend_from_slice(&event("e", json!({"text":"\n"})).to_bytes());
        let expected = vec![
            (event("a", json!({})), vec![]),
            (event("b", json!({"rate":16})), vec![]),
            (event("c", json!({"x":1,"y":3})), b"\n{\"}\n".to_vec()),
            (event("d", json!({})), vec![]),
            (event("e", json!({"text":"\n"})), vec![]),
        ];
        for first in 0..=bytes.len() {
            let (before, after) = bytes.split_at(first);
            assert_eq!(read([before, after]).unwrap(), expected, "cut at {first}");
        }
        assert_eq!(read(bytes.chunks(1)).unwrap(), expected, "byte by byte");
    }

    #[test]
    fn bytes_that_are_no_event_say_why() {
        let long = format!("{{\"type\":\"{}", "a".repeat(MAX_JSON_BYTES));
        for (bytes, why) in [
            ("HTTP/1.1 400 Bad Request\r\n\r\n", "no event of Wyoming: \"HTTP/1.1 400 Bad Request\\r\""),
            ("\n", "no event"),
            ("[]\n", "no event"),
            ("{}\n", "without a type"),
            ("{\"type\":7}\n", "without a type"),
            ("{\"type\":\"a\",\"data\":[]}\n", "data is no object"),
            ("{\"type\":\"a\",\"data_length\":-1}\n", "data_length is no number"),
            ("{\"type\":\"a\",\"payload_length\":\"9\"}\n", "payload_length is no number"),
            ("{\"type\":\"a\",\"data_length\":65537}\n", "data of more than 65536 bytes"),
            ("{\"type\":\"a\",\"data_length\":18446744073709551615}\n", "data of more than 65536 bytes"),
            ("{\"type\":\"a\",\"data_length\":2}\n7,", "no event"),
            (&long, "a line of more than 65536 bytes"),
        ] {
            for size in [1, 7, bytes.len()] {
                let error = read(bytes.as_bytes().chunks(size)).expect_err(why);
                assert!(error.0.contains(why), "{error:?}");
            }
        }
        let endless = b"{\"type\":\"a\",\"payload_length\":18446744073709551615}\nabc".as_slice();
        assert_eq!(read([endless]).unwrap(), [(event("a", json!({})), b"abc".to_vec())]);
    }
}
