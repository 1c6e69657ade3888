//! Parts of messages whose form on the wire differs from their form in memory.

use super::Code;
use super::server::{AudioInfo, EndReason, Recovery, Usage, WordTimes};
use crate::access::credential::Token;
use crate::audio::Encoding;
use serde::{Serialize, Serializer};

/// Returns a message as JSON.
pub(super) fn to_json(message: &impl Serialize) -> String {
    // Keys are strings, and a String takes any length: neither of the two ways to fail exists here.
    serde_json::to_string(message).unwrap_or_default()
}

impl Serialize for AudioInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Audio {
            encoding: Encoding,
            sample_rate: u32,
            channels: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            frame_bytes: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            frame_ms: Option<u64>,
        }
        let AudioInfo(format) = self;
        let frame_bytes = format.encoding.is_coded().then(|| format.unit_bytes());
        Audio {
            encoding: format.encoding,
            sample_rate: format.sample_rate_hz,
            channels: 1,
            frame_bytes,
            frame_ms: frame_bytes.map(|bytes| format.duration(bytes as u64).as_millis() as u64),
        }
        .serialize(serializer)
    }
}

/// Start of a sentence: `offset` and `startMs`.
pub(super) fn place<S: Serializer>(at: &Option<(u64, u64)>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Place {
        offset: u64,
        start_ms: u64,
    }
    at.map(|(offset, start_ms)| Place { offset, start_ms }).serialize(serializer)
}

/// Source of the times of words: the engine, or an estimate.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(super) fn source_of_times<S: Serializer>(is_estimate: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *is_estimate { "estimate" } else { "engine" })
}

/// Words as five arrays, one for each of their properties.
pub(super) fn columns<S: Serializer>(words: &[WordTimes], serializer: S) -> Result<S::Ok, S::Error> {
    /// One property of every word, as an array.
    struct Column<'a, T>(&'a [WordTimes], fn(&'a WordTimes) -> T);

    impl<T: Serialize> Serialize for Column<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(self.1))
        }
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Columns<'a> {
        words: Column<'a, &'a str>,
        start: Column<'a, u64>,
        end: Column<'a, u64>,
        char_start: Column<'a, usize>,
        char_end: Column<'a, usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        src_start: Option<Column<'a, u64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        src_end: Option<Column<'a, u64>>,
    }
    let has_source = !words.is_empty() && words.iter().all(|word| word.source.is_some());
    let source = |end: fn(&'_ WordTimes) -> u64| has_source.then_some(Column(words, end));
    let columns = Columns {
        words: Column(words, |w| &w.word),
        start: Column(words, |w| w.ms.0),
        end: Column(words, |w| w.ms.1),
        char_start: Column(words, |w| w.chars.0),
        char_end: Column(words, |w| w.chars.1),
        src_start: source(|w| w.source.unwrap_or_default().0),
        src_end: source(|w| w.source.unwrap_or_default().1),
    };
    columns.serialize(serializer)
}

/// A CRC as eight hexadecimal digits.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(super) fn hexadecimal<S: Serializer>(crc32: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    let digits =
        std::array::from_fn::<u8, 8, _>(|n| b"0123456789abcdef"[(crc32 >> (28 - 4 * n) & 0xf) as usize]);
    serializer.serialize_str(str::from_utf8(&digits).unwrap_or_default())
}

/// The number that eight hexadecimal digits stand for.
pub(super) fn parse_hexadecimal(digits: &str) -> Option<u32> {
    let is_sound = digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_sound)
}

/// A CRC that may be absent.
pub(super) mod optional_hexadecimal {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in super::super) fn serialize<S: Serializer>(
        crc32: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        struct Digits<'a>(&'a u32);

        impl Serialize for Digits<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                super::hexadecimal(self.0, serializer)
            }
        }
        crc32.as_ref().map(Digits).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        let Some(digits) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let number = super::parse_hexadecimal(&digits);
        number.map(Some).ok_or_else(|| D::Error::custom("a CRC-32 has eight hexadecimal digits"))
    }
}

/// `recovered` with the position from which the session continues.
pub(super) fn recovered<S: Serializer>(recovery: &Recovery, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Recovered<'a> {
        recovered: bool,
        #[serde(flatten)]
        recovery: &'a Recovery,
    }
    Recovered { recovered: true, recovery }.serialize(serializer)
}

/// `recovered` with the reason why the session cannot continue.
pub(super) fn not_recovered<S: Serializer>(code: &str, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct NotRecovered<'a> {
        recovered: bool,
        code: &'a str,
    }
    NotRecovered { recovered: false, code }.serialize(serializer)
}

/// A fault's code, what the code means for the client, and the sentence at fault.
pub(super) fn fault<S: Serializer>(
    fault: &Option<(Code, Option<u64>)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fault {
        code: &'static str,
        retryable: bool,
        fatal: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<u64>,
    }
    let fault = fault.map(|(code, index)| Fault {
        code: code.name(),
        retryable: code.is_retryable(),
        fatal: code.is_fatal(),
        index,
    });
    fault.serialize(serializer)
}

/// Why a stream ended, and its usage.
pub(super) fn end<S: Serializer>(
    end: &Option<Box<(EndReason, Usage)>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct End {
        reason: EndReason,
        usage: Usage,
    }
    end.as_deref().map(|&(reason, usage)| End { reason, usage }).serialize(serializer)
}

/// The credential itself: the one place that writes it out.
pub(super) fn token<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.reveal())
}

/// A speed, without a decimal point if it is an integer.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(super) fn speed<S: Serializer>(speed: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match speed {
        Some(speed) if speed.fract() == 0.0 => serializer.serialize_i64(*speed as i64),
        speed => speed.serialize(serializer),
    }
}
