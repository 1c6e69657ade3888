//! Engines that are servers with Wyoming, the protocol of Home Assistant.
//!
//! Each sentence has a connection of its own: the request is one event, `synthesize`, and the answer is
//! `audio-start`, `audio-chunk` as often as there is audio, and `audio-stop`.

mod event;

use super::service;
use super::{SampleEncoding, Speech, Synthesizer, Treatment, Utterance, Voice};
use crate::audio::{Encoding, Format, SourceFormat};
use crate::deadline;
use crate::text::quoted;
use crate::upstream::{Attempt, Exchange, Failure, FailureKind, InvalidSettings, Service, UpstreamSettings};
use event::{Event, Malformed, Part, Reader};
use hyper::Uri;
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are read from the server at once.
const READ_BYTES: usize = 8 * 1024;

/// Sample rates of a server, in hertz, and its channels.
const RATES_HZ: RangeInclusive<u64> = 4_000..=192_000;
const CHANNELS: RangeInclusive<u64> = 1..=16;

/// A server with Wyoming, such as wyoming-piper.
///
/// The protocol has no rate of speech, so a session's `speed` has no effect.
#[derive(Clone, Debug)]
pub struct Wyoming {
    service: Arc<Service>,
    /// Host and port.
    address: Arc<str>,
    /// Voices that a session may ask for, the default voice first. A name such as `de_DE-thorsten-medium` also tells
    /// the language. Default: none; then the server's own default speaks.
    pub voices: Vec<String>,
    /// Sample rate of sessions that ask for none. Audio at other rates is converted to it. Default: 22,050 Hz, the
    /// rate of most Piper voices.
    pub sample_rate_hz: u32,
    /// Adjustments to the audio.
    pub treatment: Treatment,
}

impl Wyoming {
    /// Creates an engine for a server whose URL is `tcp://HOST:PORT`. Nothing is sent yet. The protocol has no
    /// credentials, so none are sent.
    ///
    /// # Errors
    /// The URL is invalid. One sentence says what to write instead.
    pub fn new(settings: UpstreamSettings) -> Result<Wyoming, InvalidSettings> {
        let address = address(&settings.base_url).map_err(|why| {
            InvalidSettings(format!("the URL of the {} {why}; write tcp://HOST:PORT", settings.role))
        })?;
        Ok(Wyoming {
            service: Arc::new(Service::new(settings, format!("tcp://{address}"))),
            address: address.into(),
            voices: Vec::new(),
            sample_rate_hz: 22_050,
            treatment: Treatment::default(),
        })
    }

    /// The request for an utterance.
    fn request(&self, utterance: &Utterance) -> Event {
        let voice = match self.voices.is_empty() {
            false => json!({ "name": utterance.voice_of(&self.voices) }),
            // The server chooses.
            true if !utterance.language.is_empty() => json!({ "language": utterance.language }),
            true => Value::Null,
        };
        let mut data = Map::new();
        data.insert("text".to_owned(), utterance.text.clone().into());
        if !voice.is_null() {
            data.insert("voice".to_owned(), voice);
        }
        Event { name: "synthesize".to_owned(), data }
    }
}

/// Host and port of a URL.
fn address(url: &str) -> Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is invalid")?;
    match uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("tcp") => {}
        Some(_) => return Err("has a scheme that is not tcp"),
        None => return Err("has no scheme"),
    }
    let authority = uri.authority().ok_or("has no host")?;
    if authority.as_str().contains('@') {
        return Err("contains a user or a password, and Wyoming has none");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('#') {
        return Err("has a path, and Wyoming has none");
    }
    match authority.port_u16() {
        _ if authority.host().is_empty() => Err("has no host"),
        None | Some(0) => Err("has no port from 1 to 65535"),
        Some(_) => Ok(authority.as_str().to_owned()),
    }
}

/// The voice of this name, with its language if the name begins with it as in Piper's `en_US-joe-medium`.
fn voice(name: &String) -> Voice {
    let language = name.split_once('-').map(|(tag, _)| tag).filter(|tag| {
        let parts: Vec<&str> = tag.split('_').collect();
        matches!(parts[..], [language, region]
            if matches!(language.len(), 2 | 3)
                && language.bytes().all(|byte| byte.is_ascii_lowercase())
                && region.len() == 2
                && region.bytes().all(|byte| byte.is_ascii_uppercase()))
    });
    Voice { language: language.map(|tag| tag.replace('_', "-")), ..Voice::new(name) }
}

impl Synthesizer for Wyoming {
    fn name(&self) -> &str {
        "wyoming"
    }

    fn format(&self) -> Format {
        Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.sample_rate_hz }
    }

    fn speeds(&self) -> RangeInclusive<f32> {
        1.0..=1.0
    }

    fn voices(&self) -> Vec<Voice> {
        match self.voices.is_empty() {
            true => vec![Voice::new(self.name())],
            false => self.voices.iter().map(voice).collect(),
        }
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let request = Request {
            address: Arc::clone(&self.address),
            event: self.request(&utterance).to_bytes(),
            exchange: Exchange::new(Arc::clone(&self.service)),
        };
        let format = |line: &Line| line.format;
        service::carry(&self.service, Ok(request), utterance, self.format(), self.treatment, format)
    }
}

/// The request for one sentence, with its retries.
struct Request {
    address: Arc<str>,
    event: Vec<u8>,
    exchange: Exchange,
}

impl service::Request for Request {
    type Answer = Line;

    async fn attempt(&mut self) -> Result<Attempt<Line>, Failure> {
        self.exchange.begin().await;
        match self.ask().await {
            Ok(line) => Ok(Attempt::Reply(line)),
            Err(failure) => self.exchange.retry(failure, None, false).map(Attempt::Retry),
        }
    }
}

impl Request {
    /// Connects, sends the request, and waits for the format of the audio.
    async fn ask(&mut self) -> Result<Line, Failure> {
        let connect = self.exchange.service().deadlines().connect;
        let connecting = deadline::within(connect, TcpStream::connect(&*self.address));
        let stream = self.exchange.wait(connecting).await?;
        let service = self.exchange.service();
        let mut stream = stream
            .map_err(|_| service.too_late(FailureKind::ConnectTimeout))?
            .map_err(|error| service.broken(FailureKind::Unreachable, &error))?;
        let _ = stream.set_nodelay(true);
        let sent = self.exchange.wait(stream.write_all(&self.event)).await?;
        sent.map_err(|error| self.exchange.cut_off(&error))?;
        let mut line = Line {
            exchange: self.exchange.clone(),
            stream,
            reader: Reader::default(),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
            format: None,
            is_audio: false,
        };
        line.next().await?;
        Ok(line)
    }
}

/// The connection for one sentence.
struct Line {
    exchange: Exchange,
    stream: TcpStream,
    reader: Reader,
    /// Bytes that have arrived, and those that were not read yet.
    buffer: Vec<u8>,
    unread: Range<usize>,
    /// Format of the audio, which cannot change.
    format: Option<SourceFormat>,
    /// True if the payload of the last event is audio.
    is_audio: bool,
}

/// The next thing that a server says.
enum Next {
    /// The format of the audio, for the first time.
    Format,
    Audio(Bytes),
    End,
}

impl service::Answer for Line {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        // An answer without a format has ended already.
        while self.format.is_some() {
            match self.next().await? {
                Next::Format => {}
                Next::Audio(audio) => return Ok(Some(audio)),
                Next::End => break,
            }
        }
        Ok(None)
    }

    fn revive(&mut self) {
        self.exchange.revive();
    }
}

impl Line {
    async fn next(&mut self) -> Result<Next, Failure> {
        loop {
            let unusable = |what| self.exchange.service().useless(FailureKind::Unusable, what);
            let mut input = &self.buffer[self.unread.clone()];
            let part = self.reader.next(&mut input).map_err(|Malformed(what)| unusable(what))?;
            self.unread.start = self.unread.end - input.len();
            match part {
                None => {
                    let read = self.exchange.wait(self.stream.read(&mut self.buffer)).await?;
                    let read = read.and_then(|count| match count {
                        0 => Err(io::ErrorKind::UnexpectedEof.into()),
                        count => Ok(count),
                    });
                    self.unread = 0..read.map_err(|error| self.exchange.cut_off(&error))?;
                }
                Some(Part::Payload(payload)) if self.is_audio => {
                    self.exchange.receive(payload.len())?;
                    return Ok(Next::Audio(Bytes::copy_from_slice(payload)));
                }
                // The payload of another event has no meaning for us.
                Some(Part::Payload(_)) => {}
                Some(Part::Event(event)) => {
                    self.is_audio = event.name == "audio-chunk";
                    match event.name.as_str() {
                        "audio-start" | "audio-chunk" => {
                            let format = format(&event).map_err(unusable)?;
                            match self.format {
                                Some(known) if known == format => {}
                                Some(_) => {
                                    let what = "changed the format of its audio within a sentence";
                                    return Err(unusable(what.to_owned()));
                                }
                                None => {
                                    self.format = Some(format);
                                    return Ok(Next::Format);
                                }
                            }
                        }
                        "audio-stop" => return Ok(Next::End),
                        "error" => {
                            let why = event.data.get("text").and_then(Value::as_str).unwrap_or_default();
                            let what = format!("reports an error: {}", quoted(why));
                            return Err(self.exchange.service().useless(FailureKind::Reported, what));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// The format of the samples behind an event.
fn format(event: &Event) -> Result<SourceFormat, String> {
    let number = |name: &str, within: RangeInclusive<u64>| match event.data.get(name).and_then(Value::as_u64)
    {
        Some(number) if within.contains(&number) => Ok(number),
        _ => Err(format!("sent audio whose {name} is not from {} to {}", within.start(), within.end())),
    };
    let encoding = match number("width", 1..=4)? {
        1 => SampleEncoding::PcmU8,
        2 => SampleEncoding::PcmS16le,
        3 => SampleEncoding::PcmS24le,
        _ => SampleEncoding::PcmS32le,
    };
    let (rate, channels) = (number("rate", RATES_HZ)?, number("channels", CHANNELS)?);
    Ok(SourceFormat { encoding, sample_rate_hz: rate as u32, channels: channels as u16 })
}

#[cfg(test)]
mod tests;
