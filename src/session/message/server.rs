//! What a server tells.

use super::{Code, Fault, Fields, required, unknown_type, wire};
use crate::audio::{Encoding, Format};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What a server tells. Fields that are an `Option` of more belong to `aloud.v1`: a client of the
/// base protocol is never sent them.
///
/// The order of variants' fields is their order on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The first message of every connection.
    SessionStart {
        /// A UUID, version 4.
        session_id: String,
        /// What a client of `aloud.v1` is told besides.
        #[serde(flatten)]
        greeting: Option<Box<Greeting>>,
    },
    /// How a stream will sound.
    StreamStart {
        /// Its format.
        audio: AudioInfo,
        /// Its voice.
        voice: String,
        /// Where its text comes from.
        source: &'static str,
    },
    /// A sentence whose audio follows.
    Text {
        /// The sentence as it is spoken.
        data: String,
        /// Its place in the stream, from 0.
        index: u64,
        /// Where it begins: offset in bytes, and milliseconds.
        #[serde(flatten, serialize_with = "wire::place")]
        at: Option<(u64, u64)>,
    },
    /// When the words of a sentence are spoken.
    Timestamps {
        /// The sentence.
        index: u64,
        /// Where the sentence begins, in ms of the stream.
        start_ms: u64,
        /// Whether the engine knows, or it is an estimate.
        #[serde(rename = "source", serialize_with = "wire::source_of_times")]
        is_estimate: bool,
        /// The words, in order.
        #[serde(flatten, serialize_with = "wire::columns")]
        words: Vec<WordTimes>,
    },
    /// All audio of the sentence was sent.
    SentenceEnd {
        /// The sentence's place in the stream.
        index: u64,
        /// Its figures.
        #[serde(flatten)]
        figures: Option<SentenceFigures>,
    },
    /// What was buffered will be spoken.
    Flushed {
        /// The last sentence of it.
        index: u64,
    },
    /// Delivery holds.
    Paused {
        /// At this byte.
        offset: u64,
    },
    /// Delivery goes on.
    Resumed {
        /// From this byte.
        offset: u64,
    },
    /// What had not been sent was dropped.
    Cancelled(Box<CancelledFigures>),
    /// The session goes on, on this connection.
    #[serde(serialize_with = "wire::recovered")]
    Recovered {
        /// The byte it goes on from.
        offset: u64,
        /// The sentence that this byte belongs to.
        index: u64,
    },
    /// The session cannot go on.
    #[serde(rename = "recovered", serialize_with = "wire::not_recovered")]
    NotRecovered {
        /// Why.
        code: &'static str,
    },
    /// The server will close the connection.
    GoAway {
        /// When.
        time_left_ms: u64,
        /// Why: `shutdown` or `max_duration`.
        reason: &'static str,
    },
    /// Something goes differently than expected; nothing is lost.
    Warning {
        /// For programs, such as `retrying_engine`.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// The answer to `ping`.
    Pong {
        /// As the client gave it.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// Something is wrong.
    Error {
        /// What is wrong and what to do, for a person.
        message: String,
        /// For programs.
        #[serde(flatten, serialize_with = "wire::fault")]
        fault: Option<(Code, Option<u64>)>,
    },
    /// The stream is over. The connection may start another.
    SessionEnd {
        /// Why, and what it took.
        #[serde(flatten, serialize_with = "wire::end")]
        end: Option<Box<(EndReason, Usage)>>,
    },
}

/// What a client of `aloud.v1` is told when it connects. `Debug` does not show its token.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "protocol", rename = "aloud.v1", rename_all = "camelCase")]
pub struct Greeting {
    /// The secret with which the session can be recovered.
    pub token: String,
    /// How often the server pings.
    pub ping_interval_ms: u64,
    /// The audio's format where a stream asks for no other.
    pub audio: AudioInfo,
    /// What the server allows.
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

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Characters of a prompt.
    pub max_prompt_chars: u64,
    /// Bytes of a message.
    pub max_message_bytes: u64,
    /// Characters that may wait to be spoken.
    pub max_buffered_chars: u64,
    /// The look-ahead of paced delivery where a stream asks for no other.
    pub ahead_ms: u64,
    /// How long a session is kept that lost its connection.
    pub resume_ttl_ms: u64,
    /// How long a session may last.
    pub max_session_ms: u64,
}

/// The format of a stream's audio. One channel, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioInfo(pub Format);

/// One written word, in times of its sentence and places in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordTimes {
    /// As it is written.
    pub word: String,
    /// Its beginning and end, in ms from the sentence's beginning.
    pub ms: (u64, u64),
    /// Its place in `text.data`, in UTF-16 units.
    pub chars: (usize, usize),
}

/// What a sentence came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentenceFigures {
    /// Bytes of the stream's audio so far.
    pub offset: u64,
    /// Bytes of this sentence's audio.
    pub bytes: u64,
    /// How long it plays.
    pub duration_ms: u64,
    /// CRC-32 (IEEE 802.3) of its audio.
    #[serde(serialize_with = "wire::hexadecimal")]
    pub crc32: u32,
}

/// What `cancel` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelledFigures {
    /// The sentence in which delivery stopped.
    pub index: u64,
    /// The byte at which it stopped.
    pub offset: u64,
    /// How much audio was sent.
    pub sent_ms: u64,
    /// How much of it the listener has heard.
    pub played_ms: u64,
    /// The text that was heard.
    pub spoken_text: String,
    /// How much audio was made and will not be heard.
    pub wasted_ms: u64,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Everything was spoken.
    Completed,
    /// The client ended it.
    Ended,
    /// The client cancelled it.
    Cancelled,
    /// The session lasted as long as it may.
    Expired,
    /// It could not go on.
    Error,
}

impl EndReason {
    const NAMES: [&str; 5] = ["completed", "ended", "cancelled", "expired", "error"];
}

/// What a stream took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Characters that were given to the engine.
    pub chars: u64,
    /// Sentences that were sent.
    pub sentences: u64,
    /// Audio that was sent.
    pub audio_ms: u64,
    /// Audio that was made.
    pub synthesised_ms: u64,
    /// Audio that was made and will not be heard.
    pub wasted_ms: u64,
    /// From the start of the stream to its first audio.
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
    /// Returns the message as JSON, the content of a text frame.
    pub fn to_json(&self) -> String {
        wire::to_json(self)
    }

    /// Reads a text frame's content, on the client's side. Of the messages that only add to the
    /// base protocol it reads those that a client has to act on; `None` is one of the others.
    ///
    /// # Errors
    /// A [`Fault`] that names the field at fault.
    pub fn parse(text: &str) -> Result<Option<ServerMessage>, Fault> {
        let (name, mut fields) = Fields::of_message(text)?;
        let fields = &mut fields;
        Ok(Some(match name.as_str() {
            "session_start" => ServerMessage::SessionStart {
                session_id: required(fields.string("sessionId")?, "sessionId")?,
                greeting: Greeting::parse(fields)?,
            },
            "stream_start" => ServerMessage::StreamStart {
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
                (Some(true), Some(offset)) => ServerMessage::Recovered { offset, index: index(fields)? },
                _ => ServerMessage::NotRecovered { code: "" },
            },
            "error" => {
                ServerMessage::Error { message: required(fields.string("message")?, "message")?, fault: None }
            }
            "session_end" => ServerMessage::SessionEnd { end: Usage::parse(fields)?.map(Box::new) },
            "flushed" | "paused" | "resumed" | "cancelled" | "go_away" | "warning" | "pong" => {
                return Ok(None);
            }
            other => return Err(unknown_type(other)),
        }))
    }
}

fn number(fields: &mut Fields, name: &str) -> Result<Option<u64>, Fault> {
    fields.integer(name, 0, u64::MAX)
}

fn index(fields: &mut Fields) -> Result<u64, Fault> {
    required(number(fields, "index")?, "index")
}

impl Greeting {
    /// `None` where the server speaks the base protocol only.
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
    /// With the reason for the end; `None` where the server speaks the base protocol only.
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
    let words = words
        .iter()
        .filter_map(Value::as_str)
        .zip(start.into_iter().zip(end))
        .zip(from.into_iter().zip(to))
        .map(|((word, ms), (from, to))| WordTimes {
            word: word.to_owned(),
            ms,
            chars: (from as usize, to as usize),
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
