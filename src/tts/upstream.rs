//! Engines that are speech services over HTTP.
//!
//! [`SpeechApi`] works with every service that has the interface of OpenAI's `/v1/audio/speech`,
//! [`ElevenLabs`] with the service of that name.
//!
//! [`upstream`](crate::upstream) makes the requests and enforces their deadlines.

mod body;

pub use body::{InvalidBody, RequestBody};

use super::service::carry;
use super::template::Values;
use super::{SampleEncoding, Speech, Synthesizer, Treatment, Utterance, Voice};
use crate::audio::{Encoding, Format, SourceFormat};
use crate::upstream::{InvalidSettings, Reply, Upstream, UpstreamSettings, escape};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// Sample rate of a session that asks for none, if no setting gives the rate of the service. It is the
/// rate of most neural voices. Audio at other rates is converted to it.
const DEFAULT_RATE_HZ: u32 = 24_000;

/// Header in which some services give the sample rate of raw samples.
const RATE_HEADER: &str = "x-sample-rate";

/// A service with the interface of OpenAI's `/v1/audio/speech`: Kokoro-FastAPI, speaches, LocalAI,
/// OpenAI, and others.
///
/// The format of the samples comes from the header of the WAV, from `Content-Type` and
/// `X-Sample-Rate`, or from [`sample_rate_hz`](Self::sample_rate_hz). Raw samples of unknown format are
/// refused, because services differ.
#[derive(Clone, Debug)]
pub struct SpeechApi {
    upstream: Upstream,
    /// Name of the model. Services with a single model accept any name. Default: `tts-1`.
    pub model: String,
    /// Voices that a session may ask for, the default voice first. Default: `alloy`, which most services
    /// accept, some of them for a voice of their own.
    pub voices: Vec<String>,
    /// Path of the requests, which follows that of the base URL. Default: `/v1/audio/speech`.
    pub path: String,
    /// Body of the requests, for a service with another interface. Default: that of OpenAI's.
    pub body: Option<RequestBody>,
    /// Language that the body names for clients that name none. Default: `en`.
    pub language: String,
    /// Form of the audio that is requested. Default: WAV.
    pub response: ResponseFormat,
    /// Sample rate of raw samples if `Content-Type` does not give it, and of sessions that ask for none.
    /// Default: unknown for raw samples, 24,000 Hz for such sessions.
    pub sample_rate_hz: Option<u32>,
    /// Adjustments to the audio.
    pub treatment: Treatment,
}

/// Form of the audio that a [`SpeechApi`] requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseFormat {
    /// A WAV, whose header describes the samples.
    #[default]
    Wav,
    /// Raw samples of 16 bits, little endian, one channel. Some services answer a little sooner.
    Pcm,
}

impl ResponseFormat {
    /// Name in requests and settings: `wav` or `pcm`.
    pub fn name(self) -> &'static str {
        match self {
            ResponseFormat::Wav => "wav",
            ResponseFormat::Pcm => "pcm",
        }
    }

    /// Returns the form with this name, if there is one.
    pub fn from_name(name: &str) -> Option<ResponseFormat> {
        [ResponseFormat::Wav, ResponseFormat::Pcm].into_iter().find(|format| format.name() == name)
    }
}

impl SpeechApi {
    /// Creates an engine for a service. Nothing is sent yet.
    ///
    /// # Errors
    /// The base URL is invalid.
    pub fn new(settings: UpstreamSettings) -> Result<SpeechApi, InvalidSettings> {
        Ok(SpeechApi {
            upstream: Upstream::new(settings)?,
            model: "tts-1".to_owned(),
            voices: vec!["alloy".to_owned()],
            path: "/v1/audio/speech".to_owned(),
            body: None,
            language: "en".to_owned(),
            response: ResponseFormat::default(),
            sample_rate_hz: None,
            treatment: Treatment::default(),
        })
    }

    /// Checks the path.
    ///
    /// # Errors
    /// It is invalid in a URL.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        if !self.path.starts_with('/') {
            return Err(InvalidSettings("the path of the speech engine has to begin with /".to_owned()));
        }
        self.upstream.post(&self.path, &json!({}), "").map(|_| ())
    }

    /// The body of the request for an utterance.
    fn request(&self, utterance: &Utterance) -> Value {
        if let Some(body) = &self.body {
            let rate = self.format().sample_rate_hz;
            return body.fill(&Values::new(utterance, &utterance.text, &self.voices, &self.language, rate));
        }
        let mut request = json!({
            "model": self.model,
            "input": utterance.text,
            "voice": utterance.voice_of(&self.voices),
            "response_format": self.response.name(),
        });
        // Not every service knows this field. The natural rate needs none.
        if utterance.speed != 1.0 {
            request["speed"] = json!(hundredths(utterance.speed));
        }
        request
    }

    /// Format of the raw samples in a reply, if it is known.
    fn raw_format(&self, reply: &Reply) -> Option<SourceFormat> {
        match media_type(reply.content_type(), reply.header(RATE_HEADER)) {
            Media::Samples(format) => Some(format),
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
        own_format(self.sample_rate_hz.unwrap_or(DEFAULT_RATE_HZ))
    }

    fn speeds(&self) -> RangeInclusive<f32> {
        0.25..=4.0
    }

    fn voices(&self) -> Vec<Voice> {
        self.voices.iter().map(Voice::new).collect()
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        let engine = self.clone();
        let accept = match self.response {
            ResponseFormat::Wav => "audio/wav, audio/*;q=0.5",
            ResponseFormat::Pcm => "audio/pcm, audio/*;q=0.5",
        };
        let call = self.upstream.post(&self.path, &self.request(&utterance), accept);
        let raw_format = move |reply: &Reply| engine.raw_format(reply);
        carry(self.upstream.service(), call, utterance, self.format(), self.treatment, raw_format)
    }
}

/// The service of ElevenLabs, or one with its interface: `/v1/text-to-speech/{voice}/stream`.
///
/// It requests raw samples, so that nothing has to be decoded. It sends the text before the sentence
/// too (`previous_text`), so that the melody of speech continues.
#[derive(Clone, Debug)]
pub struct ElevenLabs {
    upstream: Upstream,
    /// Name of the model. Default: `eleven_flash_v2_5`, the fastest one.
    pub model: String,
    /// Ids of the voices that a session may ask for, the default voice first.
    pub voices: Vec<String>,
    /// Sample rate that is requested: one of [`SAMPLE_RATES`](ElevenLabs::SAMPLE_RATES). Some of them
    /// need a subscription. Default: 22,050 Hz.
    pub sample_rate_hz: u32,
    /// Adjustments to the audio.
    pub treatment: Treatment,
}

impl ElevenLabs {
    /// Base URL of the service.
    pub const URL: &str = "https://api.elevenlabs.io";

    /// Request header for API keys.
    pub const KEY_HEADER: &str = "xi-api-key";

    /// Sample rates of the service, in hertz.
    pub const SAMPLE_RATES: [u32; 7] = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

    /// Slowest and fastest speed of the service. Other speeds become the nearest of the two.
    const SPEEDS: (f32, f32) = (0.7, 1.2);

    /// Creates an engine with these voices, at least one. Nothing is sent yet.
    ///
    /// # Errors
    /// The base URL is invalid.
    pub fn new(settings: UpstreamSettings, voices: Vec<String>) -> Result<ElevenLabs, InvalidSettings> {
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
        // Settings in the request replace those that the voice was saved with, so send none at 1.0.
        if utterance.speed != 1.0 {
            let (least, most) = ElevenLabs::SPEEDS;
            request["voice_settings"] = json!({ "speed": hundredths(utterance.speed.clamp(least, most)) });
        }
        let path = format!(
            "/v1/text-to-speech/{}/stream?output_format=pcm_{}",
            escape(utterance.voice_of(&self.voices)),
            self.sample_rate_hz
        );
        // These samples were requested, whatever the `Content-Type` is.
        let raw = Some(linear(self.sample_rate_hz));
        let call = self.upstream.post(&path, &request, "audio/*");
        carry(self.upstream.service(), call, utterance, self.format(), self.treatment, move |_| raw)
    }
}

fn own_format(sample_rate_hz: u32) -> Format {
    Format { encoding: Encoding::PcmS16le, sample_rate_hz }
}

/// Rounds a factor to two places, because the `f32` 1.1 is 1.100000024.
fn hundredths(factor: f32) -> f64 {
    (f64::from(factor) * 100.0).round() / 100.0
}

fn linear(sample_rate_hz: u32) -> SourceFormat {
    SourceFormat { encoding: SampleEncoding::PcmS16le, sample_rate_hz, channels: 1 }
}

/// Content of a body, by its `Content-Type`.
#[derive(Debug, PartialEq)]
enum Media {
    /// Raw samples of this format.
    Samples(SourceFormat),
    /// Not known, or not completely.
    Unknown,
    /// Something other than raw samples.
    Other,
}

/// Reads a `Content-Type` (RFC 9110 §8.3.1). `rate` is the sample rate from another header, used if
/// `Content-Type` has none.
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
        // RFC 2586 §2: network byte order.
        "audio/l16" => SampleEncoding::PcmS16be,
        // RFC 2046 §4.3: µ-law at 8,000 Hz.
        "audio/basic" | "audio/pcmu" => SampleEncoding::MuLaw,
        "audio/pcma" => SampleEncoding::ALaw,
        "" | "application/octet-stream" | "binary/octet-stream" | "audio/*" => return Media::Unknown,
        _ => return Media::Other,
    };
    let telephony = matches!(encoding, SampleEncoding::MuLaw | SampleEncoding::ALaw).then_some(8_000);
    match (rate.or(telephony), u16::try_from(channels)) {
        (Some(sample_rate_hz), Ok(channels)) => {
            Media::Samples(SourceFormat { encoding, sample_rate_hz, channels })
        }
        _ if encoding == SampleEncoding::PcmS16le => Media::Unknown,
        _ => Media::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_the_language_of_the_client_or_else_of_the_engine() {
        let settings = UpstreamSettings::new("speech engine", "http://127.0.0.1:9");
        let mut engine = SpeechApi::new(settings).unwrap();
        let body = r#"{"text":"{text}","lang":"{language}","rate":"{sample_rate}"}"#;
        engine.body = Some(body.parse().unwrap());
        let said = |engine: &SpeechApi, language: &str| {
            let utterance =
                Utterance { language: language.to_owned(), ..Utterance::new("Hi.", engine.format()) };
            engine.request(&utterance)["lang"].clone()
        };
        assert_eq!([said(&engine, ""), said(&engine, "fr")], ["en", "fr"]);
        engine.language = "de".to_owned();
        assert_eq!([said(&engine, ""), said(&engine, "fr")], ["de", "fr"]);
    }

    #[test]
    fn content_type_gives_the_format_of_raw_samples() {
        let samples = |encoding, sample_rate_hz, channels| {
            Media::Samples(SourceFormat { encoding, sample_rate_hz, channels })
        };
        use SampleEncoding::*;
        let table = [
            ("audio/pcm;rate=24000", samples(PcmS16le, 24_000, 1)),
            ("Audio/PCM; Rate=\"22050\"; channels=2", samples(PcmS16le, 22_050, 2)),
            ("audio/x-raw; sample_rate = 16000", samples(PcmS16le, 16_000, 1)),
            ("audio/L16; rate=44100", samples(PcmS16be, 44_100, 1)),
            ("audio/basic", samples(MuLaw, 8_000, 1)),
            ("audio/PCMA;rate=16000", samples(ALaw, 16_000, 1)),
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
        // The rate may stand in a header of its own. `Content-Type` takes precedence.
        let known = samples(PcmS16le, 22_050, 1);
        assert_eq!(media_type("audio/pcm_s16le", Some("22050")), known);
        assert_eq!(media_type("audio/pcm;rate=22050", Some("8000")), known);
        assert_eq!(media_type("audio/pcm", Some("much")), Media::Unknown);
        assert_eq!(media_type("audio/wav", Some("22050")), Media::Other);
    }

    #[test]
    fn a_factor_has_at_most_two_places() {
        assert_eq!(json!(hundredths(1.1)).to_string(), "1.1");
        assert_eq!(json!(hundredths(0.7)).to_string(), "0.7");
        assert_eq!(json!(hundredths(2.0)).to_string(), "2.0");
    }
}
