//! What a client says.

use super::{Code, Fault, Fields, bad, quoted, required, unknown_type, wire};
use crate::access::credential::Token;
use crate::audio::Encoding;
use crate::text::Clean;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest time, or farthest offset, that a number may name: what JavaScript counts exactly.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// What a client asks for.
///
/// The order of variants' fields is their order on the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// Speak.
    StartSession(Box<StartSession>),
    /// Hold delivery at the byte.
    Pause,
    /// Go on with the next byte.
    Resume,
    /// Close the connection: at once, or once everything was spoken.
    End {
        /// Whether to finish what was appended first.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        drain: bool,
    },
    /// More text for a stream whose source is `append`.
    Append {
        /// The text; may be cut anywhere, even inside of a word.
        text: String,
    },
    /// Speak what is buffered as it stands.
    Flush,
    /// Drop everything that was not sent yet.
    Cancel {
        /// How much of the stream the listener has heard, if the client knows, in ms.
        #[serde(skip_serializing_if = "Option::is_none")]
        played_ms: Option<u64>,
    },
    /// How far the listener has heard.
    Ack {
        /// Milliseconds of the stream.
        played_ms: u64,
    },
    /// Change how the next sentences are spoken.
    Update {
        /// Another voice.
        #[serde(skip_serializing_if = "Option::is_none")]
        voice: Option<String>,
        /// Another language, as in `start_session`.
        #[serde(skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// Another speed, from 0.5 to 2.0.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::speed")]
        speed: Option<f32>,
    },
    /// Continue a session on this connection.
    Recover(Box<Recover>),
    /// Show a credential, where none came with the handshake.
    Auth {
        /// The credential.
        #[serde(serialize_with = "wire::token")]
        token: Token,
    },
    /// Asks for a `pong`.
    Ping {
        /// Comes back with it.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

/// The fields of `start_session`. `None`, and false, is what the base protocol does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StartSession {
    /// The text to speak; the server's greeting where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Where the text comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<TextSource>,
    /// The voice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The text's language, as a tag such as "de" or "pt-BR".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How fast to speak, from 0.5 to 2.0.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "wire::speed")]
    pub speed: Option<f32>,
    /// The audio's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioOptions>,
    /// Which times to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<Timestamps>,
    /// How far ahead of the listener to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// How text is cut into sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<SegmentationOptions>,
    /// What to take out of the text before it is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean: Option<Clean>,
    /// Whether the session is kept for a while when its connection is lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumable: bool,
}

impl StartSession {
    /// Whether it asks for anything that the base protocol's messages do not serve.
    pub fn has_options(&self) -> bool {
        let (prompt, speed) = (self.prompt.clone(), self.speed);
        *self != StartSession { prompt, speed, ..StartSession::default() }
    }
}

/// Where a stream's text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    /// The prompt is the text.
    Verbatim,
    /// The client sends it piece by piece.
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

/// The format that a client wants its audio in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AudioOptions {
    /// How samples are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Samples per second.
    #[serde(rename = "sampleRate", skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<u32>,
    /// Milliseconds in a frame, from 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_ms: Option<u32>,
}

/// Which times a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timestamps {
    /// None.
    None,
    /// Where sentences begin and end.
    Sentence,
    /// Where each written word does, too.
    Word,
}

/// How far ahead of the listener audio is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Delivery {
    /// As fast as engine and socket allow.
    Burst,
    /// Never more than this ahead of what was played; the server's own setting where it is `None`.
    Paced {
        /// Milliseconds, from 20 to 60,000.
        #[serde(skip_serializing_if = "Option::is_none")]
        ahead_ms: Option<u32>,
    },
}

/// How text is cut into sentences. `None` is the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SegmentationOptions {
    /// Shorter sentences are joined with the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_chars: Option<usize>,
    /// Longer ones are cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<usize>,
    /// Whether the first clause of a stream is spoken on its own, so that it comes sooner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_clause: Option<bool>,
    /// Milliseconds without more text after which a finished sentence is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
}

/// Which session to continue, and where. `Debug` does not show its token.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recover {
    /// The session.
    pub session_id: String,
    /// The secret that came with its `session_start`.
    pub token: String,
    /// Bytes of the stream's audio that have arrived.
    pub offset: u64,
}

impl fmt::Debug for Recover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recover { session_id, token: _, offset } = self;
        f.debug_struct("Recover")
            .field("session_id", session_id)
            .field("offset", offset)
            .finish_non_exhaustive()
    }
}

impl ClientMessage {
    /// A request to speak this text.
    pub fn start(prompt: impl Into<String>) -> ClientMessage {
        StartSession { prompt: Some(prompt.into()), ..StartSession::default() }.into()
    }

    /// Reads a text frame's content.
    ///
    /// # Errors
    /// A [`Fault`] that names the field at fault.
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
            })),
            "auth" => {
                let token = required(fields.string("token")?, "token")?;
                let sound = Token::new(&token);
                ClientMessage::Auth { token: sound.ok_or_else(|| bad("\"token\" is no token.".to_owned()))? }
            }
            "ping" => ClientMessage::Ping { id: fields.string("id")? },
            other => return Err(unknown_type(other)),
        })
    }

    /// Whether the message is part of the base protocol.
    pub fn is_base(&self) -> bool {
        matches!(
            self,
            ClientMessage::StartSession(_)
                | ClientMessage::Pause
                | ClientMessage::Resume
                | ClientMessage::End { .. }
        )
    }

    /// Its `type`.
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
            clean: fields.choice("clean", &["none", "markdown"])?,
            resumable: fields.boolean("resumable")?.unwrap_or(false),
        })
    }
}
