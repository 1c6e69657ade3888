//! What a client says.

use super::{Code, Fault, Fields, bad, json_string, quoted, required, unknown_type};
use crate::access::credential::Token;
use crate::audio::Encoding;
use crate::text::Clean;
use std::fmt::{self, Write};

/// The longest time, or farthest offset, that a number may name: what JavaScript counts exactly.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
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
        voice: Option<String>,
        /// Another language, as in `start_session`.
        language: Option<String>,
        /// Another speed, from 0.5 to 2.0.
        speed: Option<f32>,
    },
    /// Continue a session on this connection.
    Recover(Box<Recover>),
    /// Show a credential, where none came with the handshake.
    Auth {
        /// The credential.
        token: Token,
    },
    /// Asks for a `pong`.
    Ping {
        /// Comes back with it.
        id: Option<String>,
    },
}

/// The fields of `start_session`. `None`, and false, is what the base protocol does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartSession {
    /// The text to speak; the server's greeting where there is none.
    pub prompt: Option<String>,
    /// Where the text comes from.
    pub source: Option<TextSource>,
    /// The voice.
    pub voice: Option<String>,
    /// The text's language, as a tag such as "de" or "pt-BR".
    pub language: Option<String>,
    /// How fast to speak, from 0.5 to 2.0.
    pub speed: Option<f32>,
    /// The audio's format.
    pub audio: Option<AudioOptions>,
    /// Which times to tell.
    pub timestamps: Option<Timestamps>,
    /// How far ahead of the listener to send.
    pub delivery: Option<Delivery>,
    /// How text is cut into sentences.
    pub segmentation: Option<SegmentationOptions>,
    /// What to take out of the text before it is spoken.
    pub clean: Option<Clean>,
    /// Whether the session is kept for a while when its connection is lost.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    fn from_name(name: &str) -> Option<TextSource> {
        [TextSource::Verbatim, TextSource::Append, TextSource::Llm].into_iter().find(|s| s.name() == name)
    }
}

/// The format that a client wants its audio in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioOptions {
    /// How samples are written.
    pub encoding: Option<Encoding>,
    /// Samples per second.
    pub sample_rate_hz: Option<u32>,
    /// Milliseconds in a frame, from 1 to 1,000.
    pub frame_ms: Option<u32>,
}

/// Which times a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// None.
    None,
    /// Where sentences begin and end.
    Sentence,
    /// Where each written word does, too.
    Word,
}

impl Timestamps {
    fn name(self) -> &'static str {
        match self {
            Timestamps::None => "none",
            Timestamps::Sentence => "sentence",
            Timestamps::Word => "word",
        }
    }

    fn from_name(name: &str) -> Option<Timestamps> {
        [Timestamps::None, Timestamps::Sentence, Timestamps::Word].into_iter().find(|t| t.name() == name)
    }
}

/// How far ahead of the listener audio is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As fast as engine and socket allow.
    Burst,
    /// Never more than this ahead of what was played; the server's own setting where it is `None`.
    Paced {
        /// Milliseconds, from 20 to 60,000.
        ahead_ms: Option<u32>,
    },
}

/// How text is cut into sentences. `None` is the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentationOptions {
    /// Shorter sentences are joined with the next.
    pub min_chars: Option<usize>,
    /// Longer ones are cut.
    pub max_chars: Option<usize>,
    /// Whether the first clause of a stream is spoken on its own, so that it comes sooner.
    pub first_clause: Option<bool>,
    /// Milliseconds without more text after which a finished sentence is spoken.
    pub idle_ms: Option<u32>,
}

/// Which session to continue, and where. `Debug` does not show its token.
#[derive(Clone, PartialEq, Eq)]
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

    /// As it goes into a text frame.
    pub fn to_json(&self) -> String {
        let mut json = format!(r#"{{"type":"{}""#, self.type_name());
        match self {
            ClientMessage::StartSession(start) => start.write(&mut json),
            ClientMessage::Pause | ClientMessage::Resume | ClientMessage::Flush => {}
            ClientMessage::End { drain } => field(&mut json, "drain", drain.then_some(true)),
            ClientMessage::Append { text } => field(&mut json, "text", Some(json_string(text))),
            ClientMessage::Cancel { played_ms } => field(&mut json, "playedMs", *played_ms),
            ClientMessage::Ack { played_ms } => field(&mut json, "playedMs", Some(played_ms)),
            ClientMessage::Update { voice, language, speed } => {
                field(&mut json, "voice", voice.as_deref().map(json_string));
                field(&mut json, "language", language.as_deref().map(json_string));
                field(&mut json, "speed", *speed);
            }
            ClientMessage::Recover(recover) => {
                field(&mut json, "sessionId", Some(json_string(&recover.session_id)));
                field(&mut json, "token", Some(json_string(&recover.token)));
                field(&mut json, "offset", Some(recover.offset));
            }
            ClientMessage::Auth { token } => field(&mut json, "token", Some(json_string(token.reveal()))),
            ClientMessage::Ping { id } => field(&mut json, "id", id.as_deref().map(json_string)),
        }
        json.push('}');
        json
    }
}

impl From<StartSession> for ClientMessage {
    fn from(start: StartSession) -> ClientMessage {
        ClientMessage::StartSession(Box::new(start))
    }
}

fn unknown_encoding(name: &str) -> Fault {
    let known = Encoding::NAMES.join(", ");
    let message = format!("\"audio.encoding\" must be one of {known}, not {}.", quoted(name));
    Fault::new(Code::UnsupportedAudio, message)
}

/// Appends a field to an object that has one already, if there is a value.
fn field(json: &mut String, name: &str, value: Option<impl fmt::Display>) {
    if let Some(value) = value {
        // Writing to a string does not fail.
        let _ = write!(json, r#","{name}":{value}"#);
    }
}

/// The same for an object of its own, out of fields that each begin with a comma.
fn object(json: &mut String, name: &str, fields: &str) {
    let _ = write!(json, r#","{name}":{{{}}}"#, fields.trim_start_matches(','));
}

impl StartSession {
    fn parse(fields: &mut Fields) -> Result<StartSession, Fault> {
        let audio = match fields.object("audio", "audio.")? {
            None => None,
            Some(mut audio) => Some(AudioOptions {
                encoding: audio
                    .choice("encoding", &Encoding::NAMES, |name| {
                        Some(Encoding::from_name(name).ok_or_else(|| unknown_encoding(name)))
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
                let mode = delivery.choice("mode", &["burst", "paced"], |mode| match mode {
                    "burst" => Some(Delivery::Burst),
                    "paced" => Some(Delivery::Paced { ahead_ms }),
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
        let sources = ["verbatim", "append", "llm"];
        Ok(StartSession {
            prompt: fields.string("prompt")?,
            source: fields.choice("source", &sources, TextSource::from_name)?,
            voice: fields.string("voice")?,
            language: fields.string("language")?,
            speed: fields.factor("speed")?,
            audio,
            timestamps: fields.choice("timestamps", &["none", "sentence", "word"], Timestamps::from_name)?,
            delivery,
            segmentation,
            clean: fields.choice("clean", &["none", "markdown"], |clean| match clean {
                "none" => Some(Clean::None),
                "markdown" => Some(Clean::Markdown),
                _ => None,
            })?,
            resumable: fields.boolean("resumable")?.unwrap_or(false),
        })
    }

    fn write(&self, json: &mut String) {
        field(json, "prompt", self.prompt.as_deref().map(json_string));
        field(json, "source", self.source.map(|source| json_string(source.name())));
        field(json, "voice", self.voice.as_deref().map(json_string));
        field(json, "language", self.language.as_deref().map(json_string));
        field(json, "speed", self.speed);
        if let Some(audio) = self.audio {
            let mut fields = String::new();
            field(&mut fields, "encoding", audio.encoding.map(|encoding| json_string(encoding.name())));
            field(&mut fields, "sampleRate", audio.sample_rate_hz);
            field(&mut fields, "frameMs", audio.frame_ms);
            object(json, "audio", &fields);
        }
        field(json, "timestamps", self.timestamps.map(|timestamps| json_string(timestamps.name())));
        match self.delivery {
            None => {}
            Some(Delivery::Burst) => object(json, "delivery", r#""mode":"burst""#),
            Some(Delivery::Paced { ahead_ms }) => {
                let mut fields = r#""mode":"paced""#.to_owned();
                field(&mut fields, "aheadMs", ahead_ms);
                object(json, "delivery", &fields);
            }
        }
        if let Some(options) = self.segmentation {
            let mut fields = String::new();
            field(&mut fields, "minChars", options.min_chars);
            field(&mut fields, "maxChars", options.max_chars);
            field(&mut fields, "firstClause", options.first_clause);
            field(&mut fields, "idleMs", options.idle_ms);
            object(json, "segmentation", &fields);
        }
        let clean = self.clean.map(|clean| match clean {
            Clean::None => r#""none""#,
            Clean::Markdown => r#""markdown""#,
        });
        field(json, "clean", clean);
        field(json, "resumable", self.resumable.then_some(true));
    }
}
