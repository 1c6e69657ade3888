//! Speech services over HTTP: what they are asked, and what their answers are.
//!
//! [`SpeechApi`] asks whatever has the interface of OpenAI's `/v1/audio/speech`, [`ElevenLabs`] the
//! service of that name. Both pass the audio on while it arrives, through a [`Guard`], and take no
//! more of it than the listener does. When the listener is gone, so is the request, at once.
//!
//! How a request is made, and how long it may take, is none of this file's business: see
//! [`upstream`](crate::upstream).

use super::{
    Cancelled, Guard, SampleEncoding, Shape, Sink, Speech, SynthesisError, Synthesizer, Treatment, Utterance,
    Voice,
};
use crate::audio::{Encoding, Format};
use crate::text::redact::discreet;
use crate::upstream::{Attempt, Call, Failure, InvalidSettings, Reply, Settings, Upstream, escape};
use serde_json::json;
use std::borrow::Cow;

/// The sample rate of a session that asks for none, where no setting says the service's own: that
/// of most neural voices. What the service really gives is converted to it.
const USUAL_RATE_HZ: u32 = 24_000;

/// Where some services say the sample rate of bare samples.
const RATE_HEADER: &str = "x-sample-rate";

/// A service with the interface of OpenAI's `/v1/audio/speech`: Kokoro-FastAPI, speaches, LocalAI,
/// OpenAI, and others.
///
/// What the samples are is read from the WAV's header, or from the `Content-Type` and
/// `X-Sample-Rate`, or said by [`sample_rate_hz`](Self::sample_rate_hz); bare samples of which nothing says it are refused, for
/// services differ.
#[derive(Clone, Debug)]
pub struct SpeechApi {
    upstream: Upstream,
    /// The model that is asked for; services with only one take any name. Default: `tts-1`.
    pub model: String,
    /// The voices that a session may ask for, the default one first. Default: `alloy`, which most
    /// services take, be it for a voice of their own.
    pub voices: Vec<String>,
    /// What is asked for. Default: WAV.
    pub response: ResponseFormat,
    /// The sample rate of bare samples, where no `Content-Type` says it, and of sessions that ask
    /// for none. Default: not known, and 24,000 for such sessions.
    pub sample_rate_hz: Option<u32>,
    /// What is done to the audio.
    pub treatment: Treatment,
}

/// The forms in which a [`SpeechApi`] may give its audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    /// A WAV, which says itself what its samples are.
    #[default]
    Wav,
    /// Bare samples of 16 bits, little endian, one channel: a little sooner with some services.
    Pcm,
}

impl ResponseFormat {
    /// The name in requests and settings: `wav` or `pcm`.
    pub fn name(self) -> &'static str {
        match self {
            ResponseFormat::Wav => "wav",
            ResponseFormat::Pcm => "pcm",
        }
    }

    /// The format of this name, if there is one.
    pub fn from_name(name: &str) -> Option<ResponseFormat> {
        [ResponseFormat::Wav, ResponseFormat::Pcm].into_iter().find(|format| format.name() == name)
    }
}

impl SpeechApi {
    /// Gets ready to ask a service; nothing is sent yet.
    ///
    /// # Errors
    /// The base URL is none that can be asked.
    pub fn new(settings: Settings) -> Result<SpeechApi, InvalidSettings> {
        Ok(SpeechApi {
            upstream: Upstream::new(settings)?,
            model: "tts-1".to_owned(),
            voices: vec!["alloy".to_owned()],
            response: ResponseFormat::default(),
            sample_rate_hz: None,
            treatment: Treatment::default(),
        })
    }

    /// What the samples of an answer are that has no header, if anything says it.
    fn bare(&self, reply: &Reply) -> Option<Shape> {
        match media_type(reply.content_type(), reply.header(RATE_HEADER)) {
            Media::Samples(shape) => Some(shape),
            Media::Unknown if self.response == ResponseFormat::Pcm => self.sample_rate_hz.map(linear),
            Media::Unknown | Media::Other => None,
        }
    }
}

impl Synthesizer for SpeechApi {
    fn name(&self) -> &str {
        "speech"
    }

    fn format(&self) -> Format {
        own_format(self.sample_rate_hz.unwrap_or(USUAL_RATE_HZ))
    }

    fn voices(&self) -> Vec<Voice> {
        self.voices.iter().map(Voice::new).collect()
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let mut request = json!({
            "model": self.model,
            "input": utterance.text,
            "voice": voice(&self.voices, &utterance),
            "response_format": self.response.name(),
        });
        // Not every service knows this field; its own rate needs no word.
        if utterance.speed != 1.0 {
            request["speed"] = json!(hundredths(utterance.speed));
        }
        let engine = self.clone();
        let accept = match self.response {
            ResponseFormat::Wav => "audio/wav, audio/*;q=0.5",
            ResponseFormat::Pcm => "audio/pcm, audio/*;q=0.5",
        };
        let call = self.upstream.post("/v1/audio/speech", &request, accept);
        carry(&self.upstream, call, &utterance, self.format(), self.treatment, move |reply| {
            engine.bare(reply)
        })
    }
}

/// The service of ElevenLabs, or one with its interface: `/v1/text-to-speech/{voice}/stream`.
///
/// Bare samples are asked for at a rate of its list, so that none of it has to be decoded. What was
/// spoken right before goes along (`previous_text`), and the melody of speech with it.
#[derive(Clone, Debug)]
pub struct ElevenLabs {
    upstream: Upstream,
    /// The model that is asked for. Default: `eleven_flash_v2_5`, the one that answers soonest.
    pub model: String,
    /// The ids of the voices that a session may ask for, the default one first.
    pub voices: Vec<String>,
    /// What is asked for: one of [`SAMPLE_RATES`](ElevenLabs::SAMPLE_RATES), of which some need a
    /// subscription. Default: 22,050.
    pub sample_rate_hz: u32,
    /// What is done to the audio.
    pub treatment: Treatment,
}

impl ElevenLabs {
    /// Where the service is.
    pub const URL: &str = "https://api.elevenlabs.io";

    /// The header that its keys go in.
    pub const KEY_HEADER: &str = "xi-api-key";

    /// The sample rates that it gives.
    pub const SAMPLE_RATES: [u32; 7] = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

    /// The speeds that it speaks at; others become the nearest of them.
    const SPEEDS: (f32, f32) = (0.7, 1.2);

    /// Gets ready to ask the service for these voices, of which there must be one; nothing is sent
    /// yet.
    ///
    /// # Errors
    /// The base URL is none that can be asked.
    pub fn new(settings: Settings, voices: Vec<String>) -> Result<ElevenLabs, InvalidSettings> {
        Ok(ElevenLabs {
            upstream: Upstream::new(settings)?,
            model: "eleven_flash_v2_5".to_owned(),
            voices,
            sample_rate_hz: 22_050,
            treatment: Treatment::default(),
        })
    }
}

impl Synthesizer for ElevenLabs {
    fn name(&self) -> &str {
        "elevenlabs"
    }

    fn format(&self) -> Format {
        own_format(self.sample_rate_hz)
    }

    fn voices(&self) -> Vec<Voice> {
        self.voices.iter().map(Voice::new).collect()
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let mut request = json!({ "text": utterance.text, "model_id": self.model });
        if !utterance.previous_text.is_empty() {
            request["previous_text"] = json!(utterance.previous_text);
        }
        // Settings that are sent replace those which the voice was saved with.
        if utterance.speed != 1.0 {
            let (least, most) = ElevenLabs::SPEEDS;
            request["voice_settings"] = json!({ "speed": hundredths(utterance.speed.clamp(least, most)) });
        }
        let path = format!(
            "/v1/text-to-speech/{}/stream?output_format=pcm_{}",
            escape(voice(&self.voices, &utterance)),
            self.sample_rate_hz
        );
        // It has been asked for these samples, whatever it calls them.
        let bare = Some(linear(self.sample_rate_hz));
        let call = self.upstream.post(&path, &request, "audio/*");
        carry(&self.upstream, call, &utterance, self.format(), self.treatment, move |_| bare)
    }
}

fn own_format(sample_rate_hz: u32) -> Format {
    Format { encoding: Encoding::PcmS16le, sample_rate_hz }
}

/// The voice that is asked for, or the default.
fn voice<'a>(voices: &'a [String], utterance: &'a Utterance) -> &'a str {
    match utterance.voice.as_str() {
        "" => voices.first().map_or("", String::as_str),
        voice => voice,
    }
}

/// A factor as a person would write it: 1.1, where the float is 1.100000024.
fn hundredths(factor: f32) -> f64 {
    (f64::from(factor) * 100.0).round() / 100.0
}

fn linear(sample_rate_hz: u32) -> Shape {
    Shape { encoding: SampleEncoding::PcmS16le, sample_rate_hz, channels: 1 }
}

/// What a `Content-Type` says of a body.
#[derive(Debug, PartialEq)]
enum Media {
    /// Bare samples like these.
    Samples(Shape),
    /// Nothing, or not enough.
    Unknown,
    /// What has no bare samples in it.
    Other,
}

/// Reads a `Content-Type` (RFC 9110 §8.3.1), and the rate that stands elsewhere if not in it.
fn media_type(content_type: &str, rate: Option<&str>) -> Media {
    let mut parts = content_type.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameter = |wanted: [&str; 2]| {
        let named = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            wanted.iter().any(|w| name.trim().eq_ignore_ascii_case(w)).then(|| value.parse::<u32>().ok())?
        };
        parts.clone().find_map(named)
    };
    let rate = parameter(["rate", "sample_rate"]).or_else(|| rate?.trim().parse().ok());
    let channels = parameter(["channels", "channel"]).unwrap_or(1);
    let encoding = match name.as_str() {
        "audio/pcm" | "audio/x-pcm" | "audio/pcm_s16le" | "audio/raw" | "audio/x-raw" => {
            SampleEncoding::PcmS16le
        }
        // RFC 2586 §2: in network byte order.
        "audio/l16" => SampleEncoding::PcmS16be,
        // RFC 2046 §4.3: µ-law of 8,000 samples a second.
        "audio/basic" | "audio/pcmu" => SampleEncoding::MuLaw,
        "audio/pcma" => SampleEncoding::ALaw,
        "" | "application/octet-stream" | "binary/octet-stream" | "audio/*" => return Media::Unknown,
        _ => return Media::Other,
    };
    let telephony = matches!(encoding, SampleEncoding::MuLaw | SampleEncoding::ALaw).then_some(8_000);
    match (rate.or(telephony), u16::try_from(channels)) {
        (Some(sample_rate_hz), Ok(channels)) => Media::Samples(Shape { encoding, sample_rate_hz, channels }),
        _ if encoding == SampleEncoding::PcmS16le => Media::Unknown,
        _ => Media::Other,
    }
}

/// Why an utterance is not spoken to its end.
enum Stop {
    Cancelled,
    Failed(SynthesisError),
}

impl From<Cancelled> for Stop {
    fn from(_: Cancelled) -> Stop {
        Stop::Cancelled
    }
}

impl Stop {
    fn failed(failure: &Failure, utterance: &Utterance) -> Stop {
        tracing::warn!("{}", told(failure.detail(), utterance));
        Stop::Failed(match failure.kind.is_timeout() {
            true => SynthesisError::timeout(failure.to_string()),
            false => SynthesisError::failed(failure.to_string()),
        })
    }
}

/// What a log line may tell of it.
fn told<'a>(line: &'a str, utterance: &Utterance) -> Cow<'a, str> {
    discreet(line, &[&utterance.text, &utterance.previous_text])
}

/// Makes a call, and carries the audio of its answer to the listener.
fn carry(
    upstream: &Upstream,
    call: Result<Call, InvalidSettings>,
    utterance: &Utterance,
    own: Format,
    treatment: Treatment,
    bare: impl FnOnce(&Reply) -> Option<Shape> + Send + 'static,
) -> Speech {
    let call = match call {
        Ok(call) => call,
        Err(error) => {
            tracing::warn!("{error}");
            return Speech::failed(SynthesisError::failed(
                "The speech engine cannot be asked for this voice.",
            ));
        }
    };
    // The guard says the rate anew where the audio has another.
    let (mut sink, speech) = Speech::channel(utterance, own.sample_rate_hz);
    let (upstream, utterance) = (upstream.clone(), utterance.clone());
    tokio::spawn(async move {
        let open = |reply: &Reply| Guard::new(bare(reply), treatment, &utterance);
        // What it holds of the connection is gone before the listener is waited for.
        match transfer(&upstream, call, &utterance, &mut sink, open).await {
            Ok(()) => sink.finish().await,
            Err(Stop::Cancelled) => {}
            Err(Stop::Failed(error)) => sink.fail(error).await,
        }
    });
    speech
}

async fn transfer(
    upstream: &Upstream,
    mut call: Call,
    utterance: &Utterance,
    sink: &mut Sink,
    open: impl FnOnce(&Reply) -> Guard,
) -> Result<(), Stop> {
    let mut reply = loop {
        let attempt = tokio::select! {
            biased;
            () = sink.cancelled() => return Err(Stop::Cancelled),
            attempt = call.attempt() => attempt.map_err(|failure| Stop::failed(&failure, utterance))?,
        };
        match attempt {
            Attempt::Reply(reply) => break reply,
            Attempt::Retry(failure) => {
                tracing::warn!("{}; asking again", told(failure.detail(), utterance));
                sink.warn("retrying_engine", format!("{failure} It is asked again."));
            }
        }
    };
    let mut guard = open(&reply);
    let ended = loop {
        let chunk = tokio::select! {
            biased;
            () = sink.cancelled() => return Err(Stop::Cancelled),
            chunk = reply.next_chunk() => chunk,
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break guard.finish(sink),
            Err(failure) => {
                // What was heard must not end with a click. What the guard has to say of an end
                // that was none is of no interest.
                let _ = guard.finish(sink);
                return Err(Stop::failed(&failure, utterance));
            }
        };
        if let Err(error) = guard.push(&chunk, sink) {
            let _ = guard.finish(sink);
            break Err(error);
        }
        sink.drain().await?;
    };
    ended.map_err(|error| {
        let error = SynthesisError { message: upstream.quote(&error.message), ..error };
        let content_type = reply.content_type();
        let line = upstream.located(&format!("{error} (Content-Type: {content_type})"));
        tracing::warn!("{}", told(&line, utterance));
        Stop::Failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_says_what_samples_are_or_it_does_not() {
        let shape =
            |encoding, sample_rate_hz, channels| Media::Samples(Shape { encoding, sample_rate_hz, channels });
        use SampleEncoding::*;
        let table = [
            ("audio/pcm;rate=24000", shape(PcmS16le, 24_000, 1)),
            ("Audio/PCM; Rate=\"22050\"; channels=2", shape(PcmS16le, 22_050, 2)),
            ("audio/x-raw; sample_rate = 16000", shape(PcmS16le, 16_000, 1)),
            ("audio/L16; rate=44100", shape(PcmS16be, 44_100, 1)),
            ("audio/basic", shape(MuLaw, 8_000, 1)),
            ("audio/PCMA;rate=16000", shape(ALaw, 16_000, 1)),
            ("audio/pcm", Media::Unknown),
            ("audio/pcm;rate=fast", Media::Unknown),
            ("audio/pcm;rate=-1", Media::Unknown),
            ("audio/pcm;rate=8000;channels=70000", Media::Unknown),
            ("", Media::Unknown),
            ("application/octet-stream", Media::Unknown),
            ("audio/L16", Media::Other),
            ("audio/mpeg", Media::Other),
            ("audio/wav", Media::Other),
            ("text/html; charset=utf-8", Media::Other),
            (";;;=;", Media::Unknown),
        ];
        for (content_type, expected) in table {
            assert_eq!(media_type(content_type, None), expected, "{content_type}");
        }
        // The rate may stand in a header of its own, which counts for less.
        let known = shape(PcmS16le, 22_050, 1);
        assert_eq!(media_type("audio/pcm_s16le", Some("22050")), known);
        assert_eq!(media_type("audio/pcm;rate=22050", Some("8000")), known);
        assert_eq!(media_type("audio/pcm", Some("much")), Media::Unknown);
        assert_eq!(media_type("audio/wav", Some("22050")), Media::Other);
    }

    #[test]
    fn a_factor_is_written_as_a_person_would() {
        assert_eq!(json!(hundredths(1.1)).to_string(), "1.1");
        assert_eq!(json!(hundredths(0.7)).to_string(), "0.7");
        assert_eq!(json!(hundredths(2.0)).to_string(), "2.0");
    }
}
