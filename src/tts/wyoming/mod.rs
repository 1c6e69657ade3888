//! Engines that are servers with Wyoming, the protocol of Home Assistant.
//!
//! Each sentence has a connection of its own: the request is one event, `synthesize`, and the answer is
//! `audio-start`, `audio-chunk` as often as there is audio, and `audio-stop`. The audio passes through a [`Guard`] as
//! it arrives, and is read no faster than the listener takes it. If the listener leaves, the connection is closed at
//! once.

mod event;

use super::guard::Guard;
use super::upstream::{PART_BYTES, Stop};
use super::{
    Cancelled, SampleEncoding, Sink, Speech, SynthesisError, Synthesizer, Treatment, Utterance, Voice,
};
use crate::audio::{Encoding, Format, SourceFormat};
use crate::deadline;
use crate::text::quoted;
use crate::text::redact::redact;
use crate::upstream::{Deadlines, InvalidSettings, Retries, pause};
use event::{Event, Malformed, Part, Reader};
use hyper::Uri;
use serde_json::{Map, Value, json};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Bytes that are read from the server at once.
const READ_BYTES: usize = 8 * 1024;

/// Most bytes that a server may send for a sentence.
const MAX_BYTES: u64 = 256 << 20;

/// Sample rates of a server, in hertz, and its channels.
const RATES_HZ: RangeInclusive<u64> = 4_000..=192_000;
const CHANNELS: RangeInclusive<u64> = 1..=16;

/// A server with Wyoming, such as wyoming-piper.
///
/// The protocol has no rate of speech, so a session's `speed` has no effect.
#[derive(Clone, Debug)]
pub struct Wyoming {
    /// Host and port.
    address: Arc<str>,
    /// Voices that a session may ask for, the default voice first. A name such as `de_DE-thorsten-medium` also tells
    /// the language. Default: none; then the server's own default speaks.
    pub voices: Vec<String>,
    /// Sample rate of sessions that ask for none. Audio at other rates is converted to it. Default: 22,050 Hz, the
    /// rate of most Piper voices.
    pub sample_rate_hz: u32,
    /// Time limits. Only time spent waiting for the server counts.
    pub deadlines: Deadlines,
    /// Retries of a sentence for which the server could not be reached, or closed the connection at once.
    pub retries: Retries,
    /// Adjustments to the audio.
    pub treatment: Treatment,
}

impl Wyoming {
    /// Creates an engine for a server at `tcp://HOST:PORT`. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL is invalid. One sentence says what to write instead.
    pub fn new(url: &str) -> Result<Wyoming, InvalidSettings> {
        let address = address(url).map_err(|why| {
            InvalidSettings(format!("the URL of the speech engine {why}; write tcp://HOST:PORT"))
        })?;
        Ok(Wyoming {
            address: address.into(),
            voices: Vec::new(),
            sample_rate_hz: 22_050,
            deadlines: Deadlines::default(),
            retries: Retries::default(),
            treatment: Treatment::default(),
        })
    }

    /// The request for an utterance.
    fn request(&self, utterance: &Utterance) -> Event {
        let voice = match (utterance.voice.as_str(), self.voices.first()) {
            ("", Some(first)) => json!({ "name": first }),
            (voice, Some(_)) => json!({ "name": voice }),
            // The server chooses.
            (_, None) if !utterance.language.is_empty() => json!({ "language": utterance.language }),
            (_, None) => Value::Null,
        };
        let mut data = Map::new();
        data.insert("text".to_owned(), utterance.text.clone().into());
        if !voice.is_null() {
            data.insert("voice".to_owned(), voice);
        }
        Event { name: "synthesize".to_owned(), data }
    }

    fn failure(&self, kind: FailureKind, what: impl fmt::Display, detail: impl fmt::Display) -> Failure {
        let detail = format!("speech engine at tcp://{}: {what}{detail}", self.address);
        Failure { kind, message: format!("The speech engine {what}."), detail }
    }

    fn malformed(&self, Malformed(what): Malformed) -> Failure {
        self.failure(FailureKind::Other, what, "")
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
        let (mut sink, speech) = Speech::channel(&utterance, self.sample_rate_hz);
        let engine = self.clone();
        tokio::spawn(async move {
            match engine.carry(&utterance, &mut sink).await {
                Ok(()) => sink.finish().await,
                Err(Stop::Cancelled) => {}
                Err(Stop::Failed(error)) => sink.fail(error).await,
            }
        });
        speech
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// The server did not take the request, so that a retry repeats no work.
    NotTaken,
    Timeout,
    Other,
}

/// Failure of a server: a sentence for the client, and a line for the log.
struct Failure {
    kind: FailureKind,
    message: String,
    detail: String,
}

impl Failure {
    /// The same without quotations of the text in the log.
    fn log(&self, utterance: &Utterance, behind: &str) {
        tracing::warn!("{}{behind}", redact(&self.detail, &[&utterance.text]));
    }

    fn stop(&self, utterance: &Utterance) -> Stop {
        self.log(utterance, "");
        Stop::Failed(match self.kind {
            FailureKind::Timeout => SynthesisError::timeout(self.message.clone()),
            FailureKind::NotTaken | FailureKind::Other => SynthesisError::failed(self.message.clone()),
        })
    }
}

impl Wyoming {
    /// Has the server speak, and passes its audio to the listener.
    async fn carry(&self, utterance: &Utterance, sink: &mut Sink) -> Result<(), Stop> {
        let (request, began) = (self.request(utterance).to_bytes(), Instant::now());
        let mut attempts = 1;
        loop {
            let mut line = Line { engine: self, quiet: Duration::ZERO, spent: began.elapsed(), received: 0 };
            let mut guard = None;
            let ended = line.converse(&request, utterance, &mut guard, sink).await;
            let failure = match ended {
                Ok(()) => break finish(guard, sink),
                Err(Broken::Cancelled) => return Err(Stop::Cancelled),
                Err(Broken::Audio(error)) => {
                    // The fade at the end avoids a click.
                    let _ = finish(guard, sink);
                    tracing::warn!("speech engine at tcp://{}: {error}", self.address);
                    return Err(Stop::Failed(error));
                }
                Err(Broken::Failed(failure)) => failure,
            };
            let wait = pause(&self.retries, attempts, None);
            let begins = began.elapsed() + wait;
            let is_worth_it = failure.kind == FailureKind::NotTaken
                && attempts < self.retries.attempts
                && begins <= self.retries.within
                && begins < self.deadlines.total;
            if !is_worth_it {
                let _ = finish(guard, sink);
                return Err(failure.stop(utterance));
            }
            failure.log(utterance, "; retrying");
            sink.warn("retrying_engine", format!("{} Retrying.", failure.message));
            tokio::select! {
                biased;
                () = sink.cancelled() => return Err(Stop::Cancelled),
                () = sleep(wait) => attempts += 1,
            }
        }
    }
}

/// Passes on what the guard held back.
fn finish(guard: Option<(Guard, SourceFormat)>, sink: &mut Sink) -> Result<(), Stop> {
    let none = SynthesisError::no_audio("The speech engine gave no audio for this sentence.");
    guard.map_or(Err(none), |(mut guard, _)| guard.finish(sink)).map_err(Stop::Failed)
}

/// Reason to end a connection early.
enum Broken {
    Cancelled,
    /// The audio cannot be used.
    Audio(SynthesisError),
    Failed(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Broken {
        Broken::Failed(failure)
    }
}

/// The connection for one sentence.
struct Line<'a> {
    engine: &'a Wyoming,
    /// Time spent waiting since the last audio, and in all.
    quiet: Duration,
    spent: Duration,
    /// Bytes of audio received.
    received: u64,
}

impl Line<'_> {
    /// Sends the request, and passes the audio on until the server has sent all of it.
    async fn converse(
        &mut self,
        request: &[u8],
        utterance: &Utterance,
        guard: &mut Option<(Guard, SourceFormat)>,
        sink: &mut Sink,
    ) -> Result<(), Broken> {
        let engine = self.engine;
        let mut stream = tokio::select! {
            biased;
            () = sink.cancelled() => return Err(Broken::Cancelled),
            asked = self.ask(request) => asked?,
        };
        let (mut reader, mut buffer) = (Reader::default(), vec![0; READ_BYTES]);
        let (mut is_audio, mut bytes) = (false, 0);
        loop {
            let count = tokio::select! {
                biased;
                () = sink.cancelled() => return Err(Broken::Cancelled),
                count = self.read(&mut stream, &mut buffer) => count?,
            };
            bytes += count as u64;
            if bytes > MAX_BYTES {
                let what = format!("sent more than {MAX_BYTES} bytes");
                return Err(engine.failure(FailureKind::Other, what, "").into());
            }
            let mut input = &buffer[..count];
            while let Some(part) = reader.next(&mut input).map_err(|why| engine.malformed(why))? {
                let payload = match part {
                    Part::Event(event) => {
                        is_audio = event.name == "audio-chunk";
                        match event.name.as_str() {
                            "audio-start" | "audio-chunk" => self.open(&event, utterance, guard)?,
                            "audio-stop" => return Ok(()),
                            "error" => return Err(self.refused(&event).into()),
                            _ => {}
                        }
                        continue;
                    }
                    Part::Payload(payload) => payload,
                };
                // The payload of another event has no meaning for us.
                let Some((guard, _)) = guard.as_mut().filter(|_| is_audio) else { continue };
                self.received += payload.len() as u64;
                self.quiet = Duration::ZERO;
                for part in payload.chunks(PART_BYTES) {
                    guard.push(part, sink).map_err(Broken::Audio)?;
                    sink.drain().await.map_err(|Cancelled| Broken::Cancelled)?;
                }
            }
        }
    }

    /// Takes the format of the audio, which cannot change.
    fn open(
        &self,
        event: &Event,
        utterance: &Utterance,
        guard: &mut Option<(Guard, SourceFormat)>,
    ) -> Result<(), Failure> {
        let failure = |what: String| self.engine.failure(FailureKind::Other, what, "");
        let format = format(event).map_err(failure)?;
        match guard {
            None => *guard = Some((Guard::new(Some(format), self.engine.treatment, utterance), format)),
            Some((_, known)) if *known == format => {}
            Some(_) => return Err(failure("changed the format of its audio within a sentence".to_owned())),
        }
        Ok(())
    }

    /// The failure that the server reports.
    fn refused(&self, event: &Event) -> Failure {
        let why = event.data.get("text").and_then(Value::as_str).unwrap_or_default();
        self.engine.failure(FailureKind::Other, format_args!("reports an error: {}", quoted(why)), "")
    }

    /// Connects, and sends the request.
    async fn ask(&mut self, request: &[u8]) -> Result<TcpStream, Failure> {
        let Deadlines { connect, first_byte, .. } = self.engine.deadlines;
        let begun = Instant::now();
        let stream = deadline::within(connect, TcpStream::connect(&*self.engine.address)).await;
        let not_taken = FailureKind::NotTaken;
        let mut stream = match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(self.engine.failure(
                    not_taken,
                    "could not be reached",
                    format_args!(": {error}"),
                ));
            }
            Err(_) => {
                let what = format_args!("could not be reached within {connect:?}");
                return Err(self.engine.failure(not_taken, what, ""));
            }
        };
        let _ = stream.set_nodelay(true);
        match deadline::within(first_byte, stream.write_all(request)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let what = "closed the connection without an answer";
                return Err(self.engine.failure(not_taken, what, format_args!(": {error}")));
            }
            Err(_) => return Err(self.too_late()),
        }
        self.spent += begun.elapsed();
        self.quiet += begun.elapsed();
        Ok(stream)
    }

    /// Reads what has arrived, at least a byte.
    async fn read(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, Failure> {
        let Deadlines { first_byte, idle, total, .. } = self.engine.deadlines;
        let pause = if self.received == 0 { first_byte } else { idle }.saturating_sub(self.quiet);
        let left = total.saturating_sub(self.spent);
        let begun = Instant::now();
        let read = deadline::within(pause.min(left), stream.read(buffer)).await;
        self.spent += begun.elapsed();
        self.quiet += begun.elapsed();
        match read {
            Ok(Ok(count @ 1..)) => Ok(count),
            Ok(ended) => {
                let (kind, what) = match self.received {
                    0 => (FailureKind::NotTaken, "closed the connection without an answer"),
                    _ => (FailureKind::Other, "broke off its answer"),
                };
                let why = ended.err().map(|error| format!(": {error}")).unwrap_or_default();
                Err(self.engine.failure(kind, what, why))
            }
            Err(_) => Err(self.too_late()),
        }
    }

    /// The failure of a deadline.
    fn too_late(&self) -> Failure {
        let Deadlines { first_byte, idle, total, .. } = self.engine.deadlines;
        let what = match self.received {
            _ if self.spent >= total => format!("took longer than {total:?}"),
            0 => format!("sent nothing within {first_byte:?}"),
            _ => format!("paused for longer than {idle:?}"),
        };
        self.engine.failure(FailureKind::Timeout, what, "")
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
