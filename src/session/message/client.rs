//! Messages of a client.

use super::{Code, Fault, Fields, bad, required, unknown_type, wire};
use crate::access::credential::Token;
use crate::audio::Encoding;
use crate::text::{Clean, quoted};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum of a time or an offset: JavaScript's largest exact integer.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Longest pause that a client may ask for, in milliseconds.
const MAX_PAUSE_MS: u64 = 5_000;

/// A message of a client.
///
/// Fields are declared in their order on the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// Start a stream.
    StartSession(Box<StartSession>),
    /// Stop delivery at the next byte.
    Pause,
    /// Continue delivery.
    Resume,
    /// Close the connection: now, or after all text is spoken.
    End {
        /// True to finish the appended text first.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        drain: bool,
    },
    /// More text for a stream whose source is `append`.
    Append {
        /// The text. It may be cut anywhere, even within a word.
        text: String,
    },
    /// Speak the buffered text without waiting for more.
    Flush,
    /// Drop all audio that was not sent yet.
    Cancel {
        /// Audio played by the client, in ms of the stream, if the client knows.
        #[serde(skip_serializing_if = "Option::is_none")]
        played_ms: Option<u64>,
    },
    /// Report the playback position.
    Ack {
        /// Audio played by the client, in ms of the stream.
        played_ms: u64,
    },
    /// Change the voice parameters of the next sentences.
    Update {
        /// Name of the new voice.
        #[serde(skip_serializing_if = "Option::is_none")]
        voice: Option<String>,
        /// Tag of the new language, as in `start_session`.
        #[serde(skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// New speed, from 0.5 to 2.0.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::speed")]
        speed: Option<f32>,
    },
    /// Resume a session on this connection.
    Recover(Box<Recover>),
    /// Present a credential, if the handshake had none.
    Auth {
        /// The credential.
        #[serde(serialize_with = "wire::token")]
        token: Token,
    },
    /// Request a `pong`.
    Ping {
        /// Text that the `pong` repeats.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

/// The fields of `start_session`. `None` and false select the behaviour of the base protocol.
///
/// ```
/// use aloud::message::{ClientMessage, StartSession};
///
/// let mut start = StartSession::default();
/// start.prompt = Some("Good evening.".to_owned());
/// start.resumable = true;
/// let message = ClientMessage::from(start);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, rename_all = "camelCase")]
pub struct StartSession {
    /// Text to speak. Without it the server speaks its greeting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Source of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<TextSource>,
    /// Name of the voice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Language of the text, as a tag such as "de" or "pt-BR".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Speed, from 0.5 to 2.0.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::speed")]
    pub speed: Option<f32>,
    /// Format of the audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioOptions>,
    /// Kind of timestamps to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<Timestamps>,
    /// Pacing of the audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Options of the segmenter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<SegmentationOptions>,
    /// Silence between sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pauses: Option<PauseOptions>,
    /// Silence before the first audio, in ms, at most 5,000. `None` is the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_ms: Option<u32>,
    /// Markup to remove from the text before it is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean: Option<Clean>,
    /// True if figures, signs, units and abbreviations become words before they are spoken, false if not.
    /// `None` is the choice of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// True to keep the session for some time after its connection is lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumable: bool,
    /// Position to begin at instead of at 0, of a stream whose text and audio are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<StartFrom>,
}

/// Position in a stream that another session has sent, from which a new stream continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct StartFrom {
    /// Number of the last sentence that the client has received a `text` of.
    pub index: u64,
    /// Bytes of the stream's audio that the client has received.
    pub offset: u64,
    /// CRC-32 (IEEE 802.3) of the client's bytes from the start of that sentence on.
    #[serde(default, with = "wire::optional_hexadecimal", skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
}

impl StartFrom {
    /// Begins after `offset` bytes of a stream, in the sentence with this index.
    pub fn new(index: u64, offset: u64) -> StartFrom {
        StartFrom { index, offset, crc32: None }
    }
}

impl StartSession {
    /// True if a field is set that the base protocol does not have.
    pub fn has_options(&self) -> bool {
        let (prompt, speed) = (self.prompt.clone(), self.speed);
        *self != StartSession { prompt, speed, ..StartSession::default() }
    }
}

/// Source of a stream's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    /// The prompt is the text.
    Verbatim,
    /// The client appends the text in pieces.
    Append,
    /// A language model answers the prompt.
    Llm,
}

impl TextSource {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            TextSource::Verbatim => "verbatim",
            TextSource::Append => "append",
            TextSource::Llm => "llm",
        }
    }
}

/// Format of the audio that a client requests. `None` is the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, rename_all = "camelCase")]
pub struct AudioOptions {
    /// Encoding of the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Samples per second.
    #[serde(rename = "sampleRate", skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<u32>,
    /// Milliseconds in a frame, from 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_ms: Option<u32>,
}

/// Kind of timestamps that a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Timestamps {
    /// None.
    None,
    /// Times of sentences.
    Sentence,
    /// Times of sentences and of written words.
    Word,
}

/// Pacing of the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(tag = "mode", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Delivery {
    /// As fast as the engine and the socket allow.
    Burst,
    /// At most `ahead_ms` ahead of the playback clock.
    Paced {
        /// Look-ahead in milliseconds, from 20 to 60,000. `None` is the server's default.
        #[serde(skip_serializing_if = "Option::is_none")]
        ahead_ms: Option<u32>,
    },
}

/// Options of the segmenter, which cuts text into sentences. `None` is the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, rename_all = "camelCase")]
pub struct SegmentationOptions {
    /// Minimum length: a shorter sentence is joined with the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_chars: Option<usize>,
    /// Maximum length: a longer sentence is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<usize>,
    /// True to speak the first clause of a stream on its own, for earlier audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_clause: Option<bool>,
    /// Time without new text after which a complete sentence is spoken, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
}

/// Silence between sentences, in ms, at most 5,000. `None` is the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, rename_all = "camelCase")]
pub struct PauseOptions {
    /// Silence between two sentences, and after a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence_ms: Option<u32>,
    /// Silence after a paragraph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paragraph_ms: Option<u32>,
    /// Silence after a heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heading_ms: Option<u32>,
}

/// Session to resume, and the position. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct Recover {
    /// Id of the session.
    pub session_id: String,
    /// Secret from the session's `session_start`.
    pub token: String,
    /// Bytes of the stream's audio that the client has received.
    pub offset: u64,
    /// Number of the stream, from its `stream_start`. Without it the session must have started one
    /// stream only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// The last `rev` of the stream that the client has received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// The `epoch` of the last `recovered`: a server that has been left behind does not continue the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// CRC-32 (IEEE 802.3) of the client's bytes from the `offset` of its last `text` on.
    #[serde(with = "wire::optional_hexadecimal", skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
    /// True to accept another take of the sentence at `offset`, where its audio is gone.
    #[serde(rename = "inexact", skip_serializing_if = "std::ops::Not::not")]
    pub is_inexact: bool,
}

impl Recover {
    /// Requests to resume a session after `offset` bytes of its stream's audio.
    pub fn new(session_id: impl Into<String>, token: impl Into<String>, offset: u64) -> Recover {
        let (session_id, token) = (session_id.into(), token.into());
        Recover {
            session_id,
            token,
            offset,
            stream: None,
            rev: None,
            epoch: None,
            crc32: None,
            is_inexact: false,
        }
    }
}

impl fmt::Debug for Recover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recover { session_id, token: _, offset, stream, rev, epoch, crc32, is_inexact } = self;
        f.debug_struct("Recover")
            .field("session_id", session_id)
            .field("offset", offset)
            .field("stream", stream)
            .field("rev", rev)
            .field("epoch", epoch)
            .field("crc32", crc32)
            .field("is_inexact", is_inexact)
            .finish_non_exhaustive()
    }
}

impl ClientMessage {
    /// Creates a `start_session` that speaks this text.
    pub fn start(prompt: impl Into<String>) -> ClientMessage {
        StartSession { prompt: Some(prompt.into()), ..StartSession::default() }.into()
    }

    /// Parses the content of a text frame.
    ///
    /// # Errors
    /// The message is invalid; the [`Fault`] names the field.
    pub fn parse(text: &str) -> Result<ClientMessage, Fault> {
        let (name, mut fields) = Fields::of_message(text)?;
        let fields = &mut fields;
        Ok(match name.as_str() {
            "start_session" => StartSession::parse(fields)?.into(),
            "pause" => ClientMessage::Pause,
            "resume" => ClientMessage::Resume,
            "end" => ClientMessage::End { drain: fields.boolean("drain")?.unwrap_or(false) },
            "append" => ClientMessage::Append { text: required(fields.string("text")?, "text")? },
            "flush" => ClientMessage::Flush,
            "cancel" => ClientMessage::Cancel { played_ms: fields.integer("playedMs", 0, MAX_INTEGER)? },
            "ack" => {
                let played_ms = required(fields.integer("playedMs", 0, MAX_INTEGER)?, "playedMs")?;
                ClientMessage::Ack { played_ms }
            }
            "update" => {
                let (voice, language) = (fields.string("voice")?, fields.string("language")?);
                ClientMessage::Update { voice, language, speed: fields.factor("speed")? }
            }
            "recover" => ClientMessage::Recover(Box::new(Recover {
                session_id: required(fields.string("sessionId")?, "sessionId")?,
                token: required(fields.string("token")?, "token")?,
                offset: required(fields.integer("offset", 0, MAX_INTEGER)?, "offset")?,
                stream: fields.integer("stream", 0, MAX_INTEGER)?,
                rev: fields.integer("rev", 0, MAX_INTEGER)?,
                epoch: fields.integer("epoch", 0, MAX_INTEGER)?,
                crc32: fields.crc32("crc32")?,
                is_inexact: fields.boolean("inexact")?.unwrap_or(false),
            })),
            "auth" => {
                let token = required(fields.string("token")?, "token")?;
                let sound = Token::new(&token);
                ClientMessage::Auth {
                    token: sound.ok_or_else(|| {
                        bad("\"token\" must be printable ASCII without spaces, at most 8 KiB.".to_owned())
                    })?,
                }
            }
            "ping" => ClientMessage::Ping { id: fields.string("id")? },
            other => return Err(unknown_type(other)),
        })
    }

    /// True if the message is part of the base protocol.
    pub fn is_base(&self) -> bool {
        matches!(
            self,
            ClientMessage::StartSession(_)
                | ClientMessage::Pause
                | ClientMessage::Resume
                | ClientMessage::End { .. }
        )
    }

    /// Returns the message's `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            ClientMessage::StartSession(_) => "start_session",
            ClientMessage::Pause => "pause",
            ClientMessage::Resume => "resume",
            ClientMessage::End { .. } => "end",
            ClientMessage::Append { .. } => "append",
            ClientMessage::Flush => "flush",
            ClientMessage::Cancel { .. } => "cancel",
            ClientMessage::Ack { .. } => "ack",
            ClientMessage::Update { .. } => "update",
            ClientMessage::Recover(_) => "recover",
            ClientMessage::Auth { .. } => "auth",
            ClientMessage::Ping { .. } => "ping",
        }
    }

    /// Returns the message as JSON, the content of a text frame.
    pub fn to_json(&self) -> String {
        wire::to_json(self)
    }
}

impl From<StartSession> for ClientMessage {
    fn from(start: StartSession) -> ClientMessage {
        ClientMessage::StartSession(Box::new(start))
    }
}

fn encodings() -> String {
    format!("one of {}", Encoding::NAMES.join(", "))
}

fn unknown_encoding(name: &str) -> Fault {
    let message = format!("\"audio.encoding\" must be {}, not {}.", encodings(), quoted(name));
    Fault::new(Code::UnsupportedAudio, message)
}

impl StartSession {
    fn parse(fields: &mut Fields) -> Result<StartSession, Fault> {
        let audio = match fields.object("audio", "audio.")? {
            None => None,
            Some(mut audio) => Some(AudioOptions {
                encoding: audio
                    .take("encoding", &encodings(), |value| {
                        value
                            .as_str()
                            .map(|name| Encoding::from_name(name).ok_or_else(|| unknown_encoding(name)))
                    })?
                    .transpose()?,
                sample_rate_hz: audio.integer("sampleRate", 1, 1_000_000)?.map(|n| n as u32),
                frame_ms: audio.integer("frameMs", 1, 1_000)?.map(|n| n as u32),
            }),
        };
        let delivery = match fields.object("delivery", "delivery.")? {
            None => None,
            Some(mut delivery) => {
                let ahead_ms = delivery.integer("aheadMs", 20, 60_000)?.map(|n| n as u32);
                let mode = delivery.take("mode", "one of burst, paced", |mode| match mode.as_str() {
                    Some("burst") => Some(Delivery::Burst),
                    Some("paced") => Some(Delivery::Paced { ahead_ms }),
                    _ => None,
                })?;
                Some(required(mode, "delivery.mode")?)
            }
        };
        let segmentation = match fields.object("segmentation", "segmentation.")? {
            None => None,
            Some(mut options) => Some(SegmentationOptions {
                min_chars: options.integer("minChars", 0, 300)?.map(|n| n as usize),
                max_chars: options.integer("maxChars", 20, 1_000)?.map(|n| n as usize),
                first_clause: options.boolean("firstClause")?,
                idle_ms: options.integer("idleMs", 10, 60_000)?.map(|n| n as u32),
            }),
        };
        let pauses = match fields.object("pauses", "pauses.")? {
            None => None,
            Some(mut pauses) => {
                let mut ms = |name| Ok(pauses.integer(name, 0, MAX_PAUSE_MS)?.map(|n| n as u32));
                Some(PauseOptions {
                    sentence_ms: ms("sentenceMs")?,
                    paragraph_ms: ms("paragraphMs")?,
                    heading_ms: ms("headingMs")?,
                })
            }
        };
        let lead_ms = fields.integer("leadMs", 0, MAX_PAUSE_MS)?.map(|n| n as u32);
        let from = match fields.object("from", "from.")? {
            None => None,
            Some(mut from) => Some(StartFrom {
                index: required(from.integer("index", 0, MAX_INTEGER)?, "from.index")?,
                offset: required(from.integer("offset", 0, MAX_INTEGER)?, "from.offset")?,
                crc32: from.crc32("crc32")?,
            }),
        };
        Ok(StartSession {
            prompt: fields.string("prompt")?,
            source: fields.choice("source", &["verbatim", "append", "llm"])?,
            voice: fields.string("voice")?,
            language: fields.string("language")?,
            speed: fields.factor("speed")?,
            audio,
            timestamps: fields.choice("timestamps", &["none", "sentence", "word"])?,
            delivery,
            segmentation,
            pauses,
            lead_ms,
            clean: fields.choice("clean", &["none", "markdown", "html"])?,
            normalize: fields.boolean("normalize")?,
            resumable: fields.boolean("resumable")?.unwrap_or(false),
            from,
        })
    }
}
