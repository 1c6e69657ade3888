//! Messages of a server.

use super::{Code, Fault, Fields, required, unknown_type, wire};
use crate::audio::{Encoding, Format};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A message of a server.
///
/// `greeting`, `at`, `figures`, `fault` and `end` belong to `aloud.v1`: they are `None` for a client
/// of the base protocol. Fields are declared in their order on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The first message of each connection.
    SessionStart {
        /// Id of the session: a UUID, version 4.
        session_id: String,
        /// Token, limits and audio format.
        #[serde(flatten)]
        greeting: Option<Box<Greeting>>,
    },
    /// A stream starts.
    StreamStart {
        /// Number of the stream in the session, from 1. A client reads 0 from a server without numbers.
        stream: u64,
        /// Cancels of the stream so far.
        rev: u64,
        /// Format of the audio.
        audio: AudioInfo,
        /// Name of the voice.
        voice: String,
        /// Source of the text.
        source: &'static str,
    },
    /// A sentence; its audio follows.
    Text {
        /// Text of the sentence.
        data: String,
        /// Number of the sentence in the stream, from 0.
        index: u64,
        /// Start of the sentence in the stream: offset in bytes, and ms.
        #[serde(flatten, serialize_with = "wire::place")]
        at: Option<(u64, u64)>,
    },
    /// Times of the words of a sentence.
    Timestamps {
        /// Number of the sentence.
        index: u64,
        /// Start of the sentence, in ms of the stream.
        start_ms: u64,
        /// True if the times are an estimate, false if the engine measured them.
        #[serde(rename = "source", serialize_with = "wire::source_of_times")]
        is_estimate: bool,
        /// The words, in order.
        #[serde(flatten, serialize_with = "wire::columns")]
        words: Vec<WordTimes>,
    },
    /// All audio of a sentence was sent.
    SentenceEnd {
        /// Number of the sentence.
        index: u64,
        /// Size, duration and checksum of its audio.
        #[serde(flatten)]
        figures: Option<SentenceFigures>,
    },
    /// The buffered text will be spoken.
    Flushed {
        /// Number of the last sentence of that text.
        index: u64,
    },
    /// Delivery stopped.
    Paused {
        /// Position in the stream's audio, in bytes.
        offset: u64,
    },
    /// Delivery continues.
    Resumed {
        /// Position in the stream's audio, in bytes.
        offset: u64,
    },
    /// The audio that was not sent yet was dropped.
    Cancelled(Box<CancelledFigures>),
    /// The session continues on this connection.
    #[serde(serialize_with = "wire::recovered")]
    Recovered(Recovery),
    /// The session cannot be resumed.
    #[serde(rename = "recovered", serialize_with = "wire::not_recovered")]
    NotRecovered {
        /// Name of the reason, such as `position_lost`.
        code: &'static str,
    },
    /// The server will close the connection.
    GoAway {
        /// Time until the close, in ms.
        time_left_ms: u64,
        /// Reason: `shutdown` or `max_duration`.
        reason: &'static str,
    },
    /// A problem that loses no audio.
    Warning {
        /// Name of the problem, for programs, such as `retrying_engine`.
        code: &'static str,
        /// Sentence for a person.
        message: String,
        /// For text that cannot be spoken: where it is.
        #[serde(flatten)]
        at: Option<Passage>,
    },
    /// The answer to `ping`.
    Pong {
        /// The `id` of the `ping`.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// A fault.
    Error {
        /// Sentence for a person: what is wrong and what to do.
        message: String,
        /// For programs: the code, and the number of the sentence at fault.
        #[serde(flatten, serialize_with = "wire::fault")]
        fault: Option<(Code, Option<u64>)>,
    },
    /// The stream ended. The client may start another one.
    SessionEnd {
        /// Reason of the end, and usage of the stream.
        #[serde(flatten, serialize_with = "wire::end")]
        end: Option<Box<(EndReason, Usage)>>,
    },
}

/// Fields of `session_start` for clients of `aloud.v1`. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(tag = "protocol", rename = "aloud.v1", rename_all = "camelCase")]
pub struct Greeting {
    /// Secret that a client needs to resume the session.
    pub token: String,
    /// Interval of the server's pings, in ms.
    pub ping_interval_ms: u64,
    /// Default format of the audio.
    pub audio: AudioInfo,
    /// Limits of the server.
    pub limits: Limits,
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Greeting { token: _, ping_interval_ms, audio, limits } = self;
        let mut shown = f.debug_struct("Greeting");
        shown.field("ping_interval_ms", ping_interval_ms).field("audio", audio).field("limits", limits);
        shown.finish_non_exhaustive()
    }
}

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Maximum length of a prompt, in characters.
    pub max_prompt_chars: u64,
    /// Maximum size of a message, in bytes.
    pub max_message_bytes: u64,
    /// Maximum length of buffered text, in characters.
    pub max_buffered_chars: u64,
    /// Default look-ahead of paced delivery, in ms.
    pub ahead_ms: u64,
    /// Time that a session is kept after its connection is lost, in ms.
    pub resume_ttl_ms: u64,
    /// Maximum length of a session, in ms.
    pub max_session_ms: u64,
}

/// Position and state in which a session continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Number of the stream. A client reads 0 from a server without numbers.
    pub stream: u64,
    /// Cancels of the stream so far.
    pub rev: u64,
    /// Counts the servers that have had the session; `None` if it is not shared by several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Position in the stream's audio from which it continues, in bytes.
    pub offset: u64,
    /// Number of the sentence at this position.
    pub index: u64,
    /// True if the client has paused the session.
    #[serde(rename = "paused")]
    pub is_paused: bool,
    /// Text taken since `stream_start`, in UTF-16 units: the prompt and every `append`.
    pub text_offset: u64,
    /// False if `offset` is the start of a sentence whose audio begins anew, in another take.
    #[serde(rename = "exact")]
    pub is_exact: bool,
}

/// Format of a stream's audio. It always has one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioInfo(pub Format);

/// Ranges in the text of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Passage {
    /// Number of the sentence in the stream, from 0.
    pub index: u64,
    /// Starts and ends in `text.data`, in UTF-16 units.
    pub ranges: Vec<(usize, usize)>,
}

/// Times and position of a written word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WordTimes {
    /// The word as written.
    pub word: String,
    /// Start and end, in ms of the sentence.
    pub ms: (u64, u64),
    /// Start and end in `text.data`, in UTF-16 units.
    pub chars: (usize, usize),
    /// Start and end in the text of the stream, in UTF-16 units. None if the text was not cleaned.
    pub source: Option<(u64, u64)>,
}

/// Size, duration and checksum of a sentence's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct SentenceFigures {
    /// Bytes of the stream's audio up to the end of the sentence.
    pub offset: u64,
    /// Bytes of this sentence's audio.
    pub bytes: u64,
    /// Duration, in ms.
    pub duration_ms: u64,
    /// CRC-32 (IEEE 802.3) of the sentence's audio.
    #[serde(serialize_with = "wire::hexadecimal")]
    pub crc32: u32,
}

/// Result of `cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct CancelledFigures {
    /// Number of the sentence in which delivery stopped.
    pub index: u64,
    /// Position at which delivery stopped, in bytes of the stream's audio.
    pub offset: u64,
    /// Cancels of the stream so far, this one included.
    pub rev: u64,
    /// Audio sent, in ms.
    pub sent_ms: u64,
    /// Audio played, in ms.
    pub played_ms: u64,
    /// Text played.
    pub spoken_text: String,
    /// Audio synthesised and not played, in ms.
    pub wasted_ms: u64,
}

/// Reason of a stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All text was spoken.
    Completed,
    /// The client ended it.
    Ended,
    /// The client cancelled it.
    Cancelled,
    /// The session reached its maximum length.
    Expired,
    /// A fault ended the stream.
    Error,
}

impl EndReason {
    const NAMES: [&str; 5] = ["completed", "ended", "cancelled", "expired", "error"];
}

/// Usage of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Characters (code points) given to the engine. Failed sentences and replays are not counted.
    pub chars: u64,
    /// Sentences begun.
    pub sentences: u64,
    /// Audio sent, in ms. Audio that was sent again is counted once.
    pub audio_ms: u64,
    /// Audio synthesised, in ms, with replays.
    pub synthesised_ms: u64,
    /// Audio synthesised and not played, in ms.
    pub wasted_ms: u64,
    /// Time from the first text to the first audio byte, in ms, without the client's pauses; 0 if there
    /// was no audio.
    pub first_audio_ms: u64,
}

impl AudioInfo {
    fn parse(fields: &mut Fields) -> Result<AudioInfo, Fault> {
        let mut audio = required(fields.object("audio", "audio.")?, "audio")?;
        let encoding = audio.choice("encoding", &Encoding::NAMES)?;
        let rate = audio.integer("sampleRate", 1, 1_000_000)?;
        Ok(AudioInfo(Format {
            encoding: required(encoding, "audio.encoding")?,
            sample_rate_hz: required(rate, "audio.sampleRate")? as u32,
        }))
    }
}

impl ServerMessage {
    /// A warning that is about no sentence.
    pub(crate) fn warning(code: &'static str, message: String) -> ServerMessage {
        ServerMessage::Warning { code, message, at: None }
    }

    /// Returns the message as JSON, the content of a text frame.
    pub fn to_json(&self) -> String {
        wire::to_json(self)
    }

    /// Parses the content of a text frame, for a client. Returns `None` for messages that need no
    /// action of the client: `flushed`, `paused`, `resumed`, `cancelled`, `go_away` and `pong`. Of a `warning` it
    /// returns the sentence only.
    ///
    /// # Errors
    /// The message is invalid; the [`Fault`] names the field.
    pub fn parse(text: &str) -> Result<Option<ServerMessage>, Fault> {
        let (name, mut fields) = Fields::of_message(text)?;
        let fields = &mut fields;
        Ok(Some(match name.as_str() {
            "session_start" => ServerMessage::SessionStart {
                session_id: required(fields.string("sessionId")?, "sessionId")?,
                greeting: Greeting::parse(fields)?,
            },
            "stream_start" => ServerMessage::StreamStart {
                stream: number(fields, "stream")?.unwrap_or_default(),
                rev: number(fields, "rev")?.unwrap_or_default(),
                audio: AudioInfo::parse(fields)?,
                voice: required(fields.string("voice")?, "voice")?,
                source: "",
            },
            "text" => ServerMessage::Text {
                data: required(fields.string("data")?, "data")?,
                index: index(fields)?,
                at: number(fields, "offset")?.zip(number(fields, "startMs")?),
            },
            "timestamps" => timestamps(fields)?,
            "sentence_end" => {
                ServerMessage::SentenceEnd { index: index(fields)?, figures: SentenceFigures::parse(fields)? }
            }
            "recovered" => match (fields.boolean("recovered")?, number(fields, "offset")?) {
                (Some(true), Some(offset)) => ServerMessage::Recovered(Recovery {
                    stream: number(fields, "stream")?.unwrap_or_default(),
                    rev: number(fields, "rev")?.unwrap_or_default(),
                    epoch: number(fields, "epoch")?,
                    offset,
                    index: index(fields)?,
                    is_paused: fields.boolean("paused")?.unwrap_or_default(),
                    text_offset: number(fields, "textOffset")?.unwrap_or_default(),
                    is_exact: fields.boolean("exact")?.unwrap_or(true),
                }),
                _ => ServerMessage::NotRecovered { code: "" },
            },
            "error" => ServerMessage::Error {
                message: required(fields.string("message")?, "message")?,
                fault: fault(fields)?,
            },
            "session_end" => ServerMessage::SessionEnd { end: Usage::parse(fields)?.map(Box::new) },
            // Its name and its places are for programs.
            "warning" => ServerMessage::Warning {
                code: "",
                message: required(fields.string("message")?, "message")?,
                at: None,
            },
            "flushed" | "paused" | "resumed" | "cancelled" | "go_away" | "pong" => {
                return Ok(None);
            }
            other => return Err(unknown_type(other)),
        }))
    }
}

/// The code of an `error`, and the sentence that it is about. `None` for a server that speaks the base
/// protocol only, or knows codes that this client does not.
fn fault(fields: &mut Fields) -> Result<Option<(Code, Option<u64>)>, Fault> {
    let code = fields.string("code")?.and_then(|name| Code::from_name(&name));
    let index = number(fields, "index")?;
    Ok(code.map(|code| (code, index)))
}

fn number(fields: &mut Fields, name: &str) -> Result<Option<u64>, Fault> {
    fields.integer(name, 0, u64::MAX)
}

fn index(fields: &mut Fields) -> Result<u64, Fault> {
    required(number(fields, "index")?, "index")
}

impl Greeting {
    /// Returns `None` if the server has the base protocol only.
    fn parse(fields: &mut Fields) -> Result<Option<Box<Greeting>>, Fault> {
        let Some(token) = fields.string("token")? else { return Ok(None) };
        let audio = AudioInfo::parse(fields)?;
        let mut limits = required(fields.object("limits", "limits.")?, "limits")?;
        let mut limit = |name: &str| number(&mut limits, name).map(Option::unwrap_or_default);
        let limits = Limits {
            max_prompt_chars: limit("maxPromptChars")?,
            max_message_bytes: limit("maxMessageBytes")?,
            max_buffered_chars: limit("maxBufferedChars")?,
            ahead_ms: limit("aheadMs")?,
            resume_ttl_ms: limit("resumeTtlMs")?,
            max_session_ms: limit("maxSessionMs")?,
        };
        let ping_interval_ms = number(fields, "pingIntervalMs")?.unwrap_or_default();
        Ok(Some(Box::new(Greeting { token, ping_interval_ms, audio, limits })))
    }
}

impl Usage {
    /// Returns the reason and the usage; `None` if the server has the base protocol only.
    fn parse(fields: &mut Fields) -> Result<Option<(EndReason, Usage)>, Fault> {
        let Some(mut usage) = fields.object("usage", "usage.")? else { return Ok(None) };
        let reason = required(fields.choice("reason", &EndReason::NAMES)?, "reason")?;
        let mut figure = |name: &str| number(&mut usage, name).map(Option::unwrap_or_default);
        let usage = Usage {
            chars: figure("chars")?,
            sentences: figure("sentences")?,
            audio_ms: figure("audioMs")?,
            synthesised_ms: figure("synthesisedMs")?,
            wasted_ms: figure("wastedMs")?,
            first_audio_ms: figure("firstAudioMs")?,
        };
        Ok(Some((reason, usage)))
    }
}

impl SentenceFigures {
    fn parse(fields: &mut Fields) -> Result<Option<SentenceFigures>, Fault> {
        let Some(crc32) = fields.string("crc32")? else { return Ok(None) };
        let crc32 = u32::from_str_radix(&crc32, 16).ok();
        let mut figure = |name: &str| required(number(fields, name)?, name);
        Ok(Some(SentenceFigures {
            offset: figure("offset")?,
            bytes: figure("bytes")?,
            duration_ms: figure("durationMs")?,
            crc32: required(crc32, "crc32")?,
        }))
    }
}

fn timestamps(fields: &mut Fields) -> Result<ServerMessage, Fault> {
    let mut list = |name: &str| {
        let list = fields.take(name, "an array", |value| value.as_array().cloned())?;
        required(list, name)
    };
    let words = list("words")?;
    let numbers = |values: Vec<Value>| -> Vec<u64> { values.iter().filter_map(Value::as_u64).collect() };
    let [start, end] = [numbers(list("start")?), numbers(list("end")?)];
    let [from, to] = [numbers(list("charStart")?), numbers(list("charEnd")?)];
    let mut sources = |name: &str| {
        let list = fields.take(name, "an array", |value| value.as_array().cloned())?;
        Ok::<_, Fault>(list.map(numbers).unwrap_or_default())
    };
    let [source_start, source_end] = [sources("srcStart")?, sources("srcEnd")?];
    let mut sources = source_start.into_iter().zip(source_end);
    let words = words
        .iter()
        .filter_map(Value::as_str)
        .zip(start.into_iter().zip(end))
        .zip(from.into_iter().zip(to))
        .map(|((word, ms), (from, to))| WordTimes {
            word: word.to_owned(),
            ms,
            chars: (from as usize, to as usize),
            source: sources.next(),
        })
        .collect();
    let source = fields.take("source", "one of engine, estimate", |source| {
        source.as_str().map(|source| source == "estimate")
    })?;
    Ok(ServerMessage::Timestamps {
        index: index(fields)?,
        start_ms: number(fields, "startMs")?.unwrap_or_default(),
        is_estimate: source.unwrap_or(true),
        words,
    })
}
