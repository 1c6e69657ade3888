//! Lone surrogates in JSON strings.
//!
//! A string of JavaScript is a sequence of UTF-16 units, and may hold half of a surrogate pair: text that
//! is cut anywhere, for example. JSON writes such a half as an escape, `\ud83d`. Rust's strings cannot
//! hold it, so each lone half is read as U+FFFD. Where a text is cut between two messages, [`Edges`]
//! has the halves, so that they can be joined.

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use std::fmt;

const REPLACEMENT: &[u8; 6] = br"\ufffd";

/// A UTF-16 unit that is the first half of a pair.
pub(crate) fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

/// A UTF-16 unit that is the second half of a pair.
pub(crate) fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

/// The JSON text with U+FFFD for each lone surrogate; `None` if it has none.
pub(crate) fn replaced(json: &str) -> Option<String> {
    let mut bytes = json.as_bytes().to_vec();
    let mut is_changed = false;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let Some(unit) = escape(&bytes[at..]) else {
            at += 2;
            continue;
        };
        let follows = bytes.get(at + 6..).and_then(escape);
        if is_high(unit) && follows.is_some_and(is_low) {
            at += 12;
            continue;
        }
        if is_high(unit) || is_low(unit) {
            bytes[at..at + 6].copy_from_slice(REPLACEMENT);
            is_changed = true;
        }
        at += 6;
    }
    // Only ASCII was replaced by ASCII.
    String::from_utf8(bytes).ok().filter(|_| is_changed)
}

/// The unit of an escape such as `\ud83d` at the start of these bytes.
fn escape(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..6)?.strip_prefix(br"\u")?;
    let digits =
        str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

/// Lone surrogates at the two ends of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edges {
    /// The second half of a pair, as the first unit of the text.
    pub(crate) low: Option<u16>,
    /// The first half of a pair, as the last unit of the text.
    pub(crate) high: Option<u16>,
}

impl Edges {
    /// The edges of this field of a message, whose value was read as `text`.
    pub(crate) fn of(json: &str, field: &str, text: &str) -> Edges {
        if !text.starts_with('\u{fffd}') && !text.ends_with('\u{fffd}') {
            return Edges::default();
        }
        let mut reader = serde_json::Deserializer::from_str(json);
        let Ok(Some(bytes)) = reader.deserialize_map(Field { name: field.as_bytes() }) else {
            return Edges::default();
        };
        // Generalised UTF-8: a lone surrogate is three bytes, as any other unit of its size.
        let unit = |bytes: &[u8]| match *bytes {
            [0xed, second @ 0xa0..=0xbf, third] => {
                Some(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f))
            }
            _ => None,
        };
        Edges {
            low: bytes.first_chunk::<3>().and_then(|bytes| unit(bytes)).filter(|unit| is_low(*unit)),
            high: bytes.last_chunk::<3>().and_then(|bytes| unit(bytes)).filter(|unit| is_high(*unit)),
        }
    }
}

/// Reads the last value of a field, as bytes.
struct Field<'a> {
    name: &'a [u8],
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Raw(key)) = map.next_key()? {
            if key == self.name {
                let Raw(value) = map.next_value()?;
                found = Some(value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A string as bytes, which may hold lone surrogates.
struct Raw(Vec<u8>);

impl<'de> serde::Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogate_is_replaced_and_a_pair_is_not() {
        let table = [
            (r#""a""#, None),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\\\ud83d""#, Some(r#""\\\ufffd""#)),
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (r#""\uDE00x""#, Some(r#""\ufffdx""#)),
            (r#""\ud83d\ud83d\ude00\ude00""#, Some(r#""\ufffd\ud83d\ude00\ufffd""#)),
            (r#""\ud83d\n\ude00""#, Some(r#""\ufffd\n\ufffd""#)),
            (r#""\u12"#, None),
            (r#""\"#, None),
        ];
        for (json, expected) in table {
            assert_eq!(replaced(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn edges_are_the_halves_at_the_ends() {
        let table = [
            (r#"{"text":"a"}"#, "a", None, None),
            (r#"{"text":"a\ud83d","id":"\ude00"}"#, "a\u{fffd}", None, Some(0xd83d)),
            (r#"{"\ud800":"\ud800","text":"\ude00a"}"#, "\u{fffd}a", Some(0xde00), None),
            (r#"{"text":"x","text":"\uDE00\uD83D"}"#, "\u{fffd}\u{fffd}", Some(0xde00), Some(0xd83d)),
            ("{\"text\":\"\u{fffd}\"}", "\u{fffd}", None, None),
            (r#"{"text":"\ude00a\ude00"}"#, "\u{fffd}a\u{fffd}", Some(0xde00), None),
        ];
        for (json, text, low, high) in table {
            assert_eq!(Edges::of(json, "text", text), Edges { low, high }, "{json}");
        }
    }
}
