//! [`Config`]: one declaration for each field, and the checks that follow from it.

use super::StoreUrl;
use crate::access::rules::{Admission, Auth, JWT_LEEWAY};
use crate::audio::Encoding;
use crate::audio::voice::VoiceAlias;
use crate::session::message::TextSource;
use crate::setting::{
    Declared, ENCODINGS, Field, Group, Kind, Range, SAY, SERVE, Setting, choice, flag, number, settings, text,
};
use std::fmt;
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

settings! {
    /// Behaviour and limits of the server. The default is what `aloud serve` does without options.
    ///
    /// Later versions may have more fields, so start from the default and assign:
    ///
    /// ```
    /// let mut config = aloud::Config::default();
    /// config.max_prompt_chars = 2_000;
    /// config.admission.max_connections = 500;
    ///
    /// let same = aloud::Config::default().with(|config| {
    ///     config.max_prompt_chars = 2_000;
    ///     config.admission.max_connections = 500;
    /// });
    /// assert_eq!(config, same);
    /// ```
    ///
    /// [`Service::new`](crate::Service::new) checks all fields against their ranges.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct Config in "" {
        greeting: String = "Hello. I am ready to speak.".to_owned() => {
            short: "Text for a client that starts without a prompt.",
            option: text("greeting", "TEXT", "a text", Group::Speech, &[SERVE]).defaulting_to("a short hello"),
        }
        /// With [`TextSource::Llm`] the writer of
        /// [`Service::with_writer`](crate::Service::with_writer) answers the prompt.
        source: TextSource = TextSource::Verbatim => {
            short: "Source of the text if the client names none.",
            option: choice("source", "NAME", SOURCES, Group::Text, &[SERVE]).defaulting_to("verbatim"),
        }
        max_script_chars: usize = 20_000 => {
            short: "Longest answer, in characters.",
            long: "The server leaves out what the model writes beyond it. \
                   The default is some twenty minutes of speech.",
            range: 1 to 1_000_000_000 "characters",
            option: number("llm-max-chars", "N", Group::Model, &[SERVE, SAY]),
        }
        /// The default is the newest prompt, and twenty prompts with their answers before it.
        max_history_turns: usize = 41 => {
            short: "Most turns of a conversation that the writer is given, the newest prompt included.",
            long: "The oldest turns are forgotten first.",
            range: 1 to 1_000_000 "turns",
        }
        max_history_chars: usize = 16_000 => {
            short: "Total length of the turns that the writer is given.",
            range: 1 to 1_000_000_000 "characters",
        }
        demo: bool = true => {
            short: "True if there is a demo page at `/`.",
            long: "The module for web pages, `/aloud.js`, is served in any case.",
            option: Setting {
                short: "Serve no demo page at /.",
                ..flag("no-demo", Group::Address, &[SERVE])
            },
        }
        speech_api: bool = true => {
            short: "True if `POST /v1/audio/speech` and its lists are served.",
            long: "It is the API of OpenAI for speech, which many programs know.",
            option: Setting {
                short: "Do not serve POST /v1/audio/speech.",
                ..flag("no-speech-api", Group::Address, &[SERVE])
            },
        }
        voice_map: Vec<VoiceAlias> = Vec::new() => {
            short: "Further names of voices in `/v1/audio/speech`.",
            long: "Many clients send only names of OpenAI's voices, such as alloy. Without a mapping they get a voice \
                   of that gender. Separate several by commas, or repeat the option. The server does not start with one that names no voice of the engine, or \
                   that is the name of one.",
            option: Setting {
                kind: Kind::List("NAME=VOICE, such as alloy=kal16"),
                ..number("voice-map", "NAME=VOICE", Group::Speech, &[SERVE]).defaulting_to("none")
            },
        }
        frame_ms: u32 = 40 => {
            short: "Length of audio in one binary frame.",
            long: "A frame never holds more than 64 KiB.",
            range: 1 to 1_000 "milliseconds",
            option: number("frame-ms", "MS", Group::Audio, &[SERVE, SAY]),
        }
        /// `None` is the engine's own encoding.
        encoding: Option<Encoding> = None => {
            short: "Encoding of the samples.",
            option: choice("encoding", "NAME", ENCODINGS, Group::Audio, &[SERVE, SAY])
                .defaulting_to("the engine's own"),
        }
        /// `None` is the engine's own rate.
        sample_rate_hz: Option<u32> = None => {
            short: "Sample rate of the audio.",
            long: "Any engine gives 8000, 16000, 22050, 24000, 44100 and 48000; \
                   the tone engine gives all rates in the range.",
            range: 4_000 to 192_000 "samples per second",
            option: number("sample-rate", "HZ", Group::Audio, &[SERVE, SAY]).defaulting_to("the engine's own"),
        }
        speed: f32 = 1.0 => {
            short: "Rate of speech.",
            long: "1 is the natural rate of the voice; speech at 2 takes half as long.",
            range: 0.5 to 2.0 "",
            option: number("speed", "FACTOR", Group::Speech, &[SERVE, SAY]),
        }
        /// `None` is the silence that the engine leaves.
        sentence_pause: Option<Duration> = None => {
            short: "Silence between two sentences.",
            long: "The silence that the engine leaves is part of it, and is not cut.",
            range: 0 to 5_000 "milliseconds",
            option: number("sentence-pause-ms", "MS", Group::Speech, &[SERVE, SAY])
                .defaulting_to("the engine's own"),
        }
        paragraph_pause: Duration = ms(400) => {
            short: "Silence after a paragraph.",
            long: "The silence that the engine leaves is part of it.",
            range: 0 to 5_000 "milliseconds",
            option: number("paragraph-pause-ms", "MS", Group::Speech, &[SERVE, SAY]),
        }
        heading_pause: Duration = ms(600) => {
            short: "Silence after a heading.",
            long: "The silence that the engine leaves is part of it.",
            range: 0 to 5_000 "milliseconds",
            option: number("heading-pause-ms", "MS", Group::Speech, &[SERVE, SAY]),
        }
        lead: Duration = ms(0) => {
            short: "Silence before the first audio of a stream.",
            long: "For sound devices that swallow the first moment.",
            range: 0 to 5_000 "milliseconds",
            option: number("lead-ms", "MS", Group::Speech, &[SERVE, SAY]),
        }
        /// `None` is on for the engine inside, and off for programs and services.
        normalize: Option<bool> = None => {
            short: "True if figures, signs, units and abbreviations become words before they are spoken.",
            long: "The default is on for the engine inside, and off for programs and services, which often do so \
                   themselves. A client chooses with `normalize` in `start_session`.",
            option: Setting {
                short: "Speak figures, signs and units in words.",
                ..choice("normalize", "WHEN", SWITCH, Group::Speech, &[SERVE, SAY])
                    .defaulting_to("the engine's own")
            },
        }
        paced: bool = false => {
            short: "True if delivery is paced for clients that do not choose.",
            option: Setting {
                short: "Pace at which audio is delivered.",
                ..choice("delivery", "MODE", DELIVERIES, Group::Delivery, &[SERVE]).defaulting_to("burst")
            },
        }
        ahead: Duration = ms(2_000) => {
            short: "Lead of paced delivery over the listener.",
            range: 20 to 60_000 "milliseconds",
            option: number("ahead-ms", "MS", Group::Delivery, &[SERVE]),
        }
        paced_only: bool = false => {
            short: "True if delivery is paced for every client.",
            long: "A client that asks for burst delivery is answered with the error bad_message.",
            option: Setting {
                short: "Pace delivery for every client.",
                ..flag("paced-only", Group::Client, &[SERVE])
            },
        }
        max_ahead: Duration = ms(60_000) => {
            short: "Largest lead that a client may ask for.",
            long: "A larger `aheadMs` is answered with the error bad_message. The default lead is not larger either.",
            range: 20 to 60_000 "milliseconds",
            option: number("max-ahead-ms", "MS", Group::Client, &[SERVE]),
        }
        /// `None` is no limit.
        max_sample_rate_hz: Option<u32> = None => {
            short: "Highest sample rate that a client may ask for.",
            long: "A higher one is answered with the error unsupported_audio, or with 400 by /v1/audio/speech. An engine with a higher rate of its own \
                   speaks at the highest rate within the limit.",
            range: 4_000 to 192_000 "samples per second",
            option: number("max-sample-rate", "HZ", Group::Client, &[SERVE]).defaulting_to("no limit"),
        }
        prefetch: usize = 2 => {
            short: "Most sentences of one session in synthesis.",
            long: "The sentence that the listener hears counts too. Each can hold 48 KiB of audio, or three frames, ahead of \
                   the listener.",
            range: 1 to 64 "sentences",
            option: number("prefetch", "N", Group::Engine, &[SERVE]),
        }
        handshake_timeout: Duration = ms(10_000) => {
            short: "Time from the connection, or from its last answer, to a complete handshake.",
            long: "In all, a connection may last six times as long without a session.",
            range: 1 to 604_800_000 "milliseconds",
        }
        heartbeat: Duration = ms(30_000) => {
            short: "Interval between Pings to a client (RFC 6455 §5.5.2).",
            long: "Keep it below the idle timeout of the proxy in front, which is often 60 s.",
            range: 1 to 604_800_000 "milliseconds",
        }
        silence_timeout: Duration = ms(75_000) => {
            short: "Time without any frame after which the connection to a client is lost.",
            range: 1 to 604_800_000 "milliseconds",
        }
        stall_timeout: Duration = ms(30_000) => {
            short: "Time without progress of a write after which the connection is lost.",
            range: 1 to 604_800_000 "milliseconds",
        }
        close_timeout: Duration = ms(5_000) => {
            short: "Time for the closing handshake (RFC 6455 §7.1).",
            range: 1 to 604_800_000 "milliseconds",
        }
        drain_timeout: Duration = ms(30_000) => {
            short: "Time for running streams to finish on shutdown.",
            range: 0 to 86_400_000 "milliseconds",
            option: Setting {
                kind: Kind::Time,
                long: "Such as `30s`, `1500ms` or `2m`; a number alone is in seconds.",
                ..number("drain-timeout", "TIME", Group::Operation, &[SERVE]).defaulting_to("30s")
            },
        }
        /// Needs the feature `redis`.
        store: Option<StoreUrl> = None => {
            short: "Store of sessions that several servers share.",
            long: "Each of them continues the sessions of the others. It is a server with the protocol of Redis, version 6.2 or later: `redis://HOST:PORT`. Every user of this machine \
                   can read the command line, so put a URL with a password into the variable. Needs a build with \
                   `--features redis`.",
            option: text("store", "URL", "a URL such as redis://127.0.0.1:6379", Group::Operation, &[SERVE])
                .defaulting_to("none"),
        }
        log_text: bool = false => {
            short: "True if the text that is spoken is logged, a line for each sentence.",
            long: "Long sentences are shortened. Otherwise no log line holds spoken text.",
            option: Setting {
                short: "Log spoken text, a line for each sentence.",
                ..flag("log-text", Group::Operation, &[SERVE])
            },
        }
        /// `None` is no limit.
        idle_timeout: Option<Duration> = Some(ms(600_000)) => {
            short: "Longest time without a stream or a message.",
            long: "Then the server closes the connection, with 4408 or 1008. The message ping does not count.",
            range: 1 to 604_800_000 "milliseconds",
            option: Setting {
                floor: 1_000.0,
                ..number("idle-timeout-ms", "MS", Group::Client, &[SERVE])
            },
        }
        admission: Admission = Admission::default() => {
            short: "Clients that may connect, and their share of the server.",
        }
        max_message_bytes: usize = 64 * 1024 => {
            short: "Largest message from a client.",
            range: 1 to 1_073_741_824 "bytes",
            option: Setting {
                floor: 1_024.0,
                ..number("max-message-bytes", "N", Group::Client, &[SERVE])
            },
        }
        /// `None` is no limit.
        max_messages_per_sec: Option<u32> = Some(5_000) => {
            short: "Most messages of one session in a second.",
            long: "Ten times as many may come at once. A message counts once for each KiB, and a binary message \
                   counts too. A message beyond the limit is answered with the error \
                   `rate_limited`; after 100 of them in a row the session is closed.",
            range: 1 to 1_000_000 "messages",
            option: number("max-messages-per-second", "N", Group::Client, &[SERVE]),
        }
        max_prompt_chars: usize = 20_000 => {
            short: "Longest prompt.",
            range: 1 to 10_000_000 "characters",
            option: number("max-prompt-chars", "N", Group::Client, &[SERVE]),
        }
        max_speech_bytes: usize = 4 * 1024 * 1024 => {
            short: "Largest request to `/v1/audio/speech`.",
            long: "A larger one is answered with 413. Its text is spoken sentence by sentence, whatever its length.",
            range: 1 to 1_073_741_824 "bytes",
            option: Setting {
                floor: 1_024.0,
                ..number("max-speech-bytes", "N", Group::Client, &[SERVE])
            },
        }
        max_buffered_chars: usize = 8_000 => {
            short: "Most appended text that waits to be spoken.",
            range: 1 to 1_000_000_000 "characters",
        }
        /// `None` is no limit.
        max_session_chars: Option<u64> = None => {
            short: "Most text spoken in one session.",
            long: "All its streams count. Beyond the limit the sentence that has begun is finished, and the session is \
                   closed.",
            range: 1 to 1e12 "characters",
            option: number("max-session-chars", "N", Group::Client, &[SERVE]).defaulting_to("no limit"),
        }
        max_session: Duration = ms(3_600_000) => {
            short: "Longest session with aloud.v1.",
            range: 1 to 604_800_000 "milliseconds",
            option: Setting {
                floor: 1_000.0,
                ..number("max-session-ms", "MS", Group::Client, &[SERVE])
            },
        }
        resume_ttl: Duration = ms(120_000) => {
            short: "Time for which a suspended session is kept.",
            range: 1 to 604_800_000 "milliseconds",
            option: Setting {
                floor: 1_000.0,
                ..number("resume-ttl-ms", "MS", Group::Client, &[SERVE])
            },
        }
        /// The default is 8 s of the default voice.
        resume_bytes: u64 = 256 * 1024 => {
            short: "Audio already sent that a resumable session keeps, for what a lost connection swallowed.",
            range: 0 to 1_073_741_824 "bytes",
        }
        /// Engines of this crate have shorter limits of their own. If yours keeps sentences in a queue, set it above
        /// the longest wait there.
        engine_timeout: Duration = ms(600_000) => {
            short: "Longest wait for the next audio of an engine.",
            long: "Beyond it the sentence fails with engine_timeout.",
            range: 1 to 604_800_000 "milliseconds",
        }
        max_answers: usize = 1_000 => {
            short: "Most answers written at once by a language model.",
            long: "Beyond it the client that has most loses its oldest one: its stream ends with llm_failed.",
            range: 1 to 1_000_000 "answers",
            option: number("max-llm-requests", "N", Group::Total, &[SERVE]),
        }
        /// `None` is no limit.
        max_client_answers: Option<usize> = None => {
            short: "Most answers written at once for one client.",
            long: "A prompt beyond it is answered with the error llm_failed.",
            range: 1 to 1_000_000 "answers",
            option: number("max-client-llm-requests", "N", Group::Client, &[SERVE]).defaulting_to("no limit"),
        }
        max_live_bytes: usize = 1 << 31 => {
            short: "Most memory of all sessions with a connection.",
            long: "Audio, text and messages count; what the engine and the kernel hold for a session comes on \
                   top. Beyond it a session of the client that holds most is closed, with 4503: the one that has \
                   stood still for longest. If it is resumable it is suspended.",
            range: 1_048_576 to 1e15 "bytes",
            option: number("max-live-bytes", "N", Group::Total, &[SERVE]),
        }
        max_frozen_sessions: usize = 10_000 => {
            short: "Most suspended sessions of all clients.",
            long: "Beyond it the server drops the oldest one of the client that has most.",
            range: 0 to 100_000_000 "sessions",
        }
        max_frozen_bytes: usize = 1 << 30 => {
            short: "Most memory of all suspended sessions.",
            long: "Beyond it the server drops the oldest session of the client that has most.",
            range: 0 to 1e15 "bytes",
            option: number("max-suspended-bytes", "N", Group::Total, &[SERVE]),
        }
    }
}

/// Values of `--source`.
const SOURCES: &[(&str, &str)] =
    &[("verbatim", "the prompt is the text"), ("llm", "a language model answers the prompt")];

const SWITCH: &[(&str, &str)] = &[("off", "never"), ("on", "for each engine")];
const DELIVERIES: &[(&str, &str)] = &[
    ("burst", "as fast as engine and connection allow"),
    ("paced", "at most `--ahead-ms` before the listener hears it"),
];

impl Field for Encoding {
    fn read(setting: &Setting, text: &str) -> Result<Encoding, String> {
        let sampled = Encoding::from_name(text).filter(|encoding| !encoding.is_coded());
        sampled.ok_or_else(|| setting.refuses(text))
    }
}

impl Field for TextSource {
    fn read(setting: &Setting, text: &str) -> Result<TextSource, String> {
        match text {
            "verbatim" => Ok(TextSource::Verbatim),
            "llm" => Ok(TextSource::Llm),
            _ => Err(setting.refuses(text)),
        }
    }
}

impl Config {
    /// Checks all fields against their ranges.
    ///
    /// # Errors
    /// The first field that is out of its range, with its value and the range.
    pub fn check(&self) -> Result<(), ConfigError> {
        check(self, Config::FIELDS)?;
        check(&self.admission, Admission::FIELDS)?;
        match &self.admission.auth {
            Auth::Jwt(jwt) => within(&JWT_LEEWAY, jwt.leeway.amount()),
            Auth::None | Auth::Tokens(_) => Ok(()),
        }
    }

    /// Declarations of all fields.
    #[doc(hidden)]
    pub fn settings() -> impl Iterator<Item = &'static Setting> {
        let all = Config::FIELDS.iter().map(|declared| &declared.setting);
        all.chain(Admission::FIELDS.iter().map(|declared| &declared.setting))
    }

    /// Sets the field of this setting, if it has one, from a text.
    ///
    /// # Errors
    /// The end of a sentence that begins with the name of the option.
    #[doc(hidden)]
    pub fn set(&mut self, setting: &Setting, text: &str) -> Result<(), String> {
        set(self, Config::FIELDS, setting, text)?;
        set(&mut self.admission, Admission::FIELDS, setting, text)
    }
}

fn check<C>(settings: &C, fields: &[Declared<C>]) -> Result<(), ConfigError> {
    fields.iter().try_for_each(|field| within(&field.setting, (field.amount)(settings)))
}

/// Leaves the floor of the command line out.
fn within(setting: &Setting, amount: Option<f64>) -> Result<(), ConfigError> {
    match (setting.range, amount) {
        // NaN is within no range.
        (Some(Range { min, max, unit, .. }), Some(amount)) if !(min..=max).contains(&amount) => {
            let (field, unit) = (setting.field, if unit.is_empty() { "" } else { " " }.to_owned() + unit);
            let message = format!("{field} is {amount}{unit}; it must be from {min} to {max}{unit}");
            Err(ConfigError::new(field, message))
        }
        _ => Ok(()),
    }
}

fn set<C>(settings: &mut C, fields: &[Declared<C>], setting: &Setting, text: &str) -> Result<(), String> {
    match fields.iter().find(|field| field.setting.field == setting.field) {
        Some(field) => (field.set)(settings, setting, text),
        None => Ok(()),
    }
}

/// Checks the sample rate that an engine has of its own: its range is that of `sample_rate_hz`.
pub(crate) fn check_engine(name: &str, sample_rate_hz: u32) -> Result<(), ConfigError> {
    let rates = Config::FIELDS.iter().find(|field| field.setting.field == "sample_rate_hz");
    let Some(Range { min, max, unit, .. }) = rates.and_then(|rates| rates.setting.range) else {
        return Ok(());
    };
    match (min..=max).contains(&f64::from(sample_rate_hz)) {
        true => Ok(()),
        false => Err(ConfigError::new(
            "synthesizer",
            format!("the engine {name} has {sample_rate_hz} {unit}; it must have from {min} to {max}"),
        )),
    }
}

/// A setting that the server cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    message: String,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> ConfigError {
        ConfigError { field, message: message.into() }
    }

    /// Path of the field in [`Config`], such as `heartbeat` or `admission.auth`; `synthesizer` if
    /// the engine is wrong.
    pub fn field(&self) -> &str {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Jwt;
    use crate::tts::Tone;
    use std::sync::Arc;

    fn refused(change: impl Fn(&mut Config)) -> ConfigError {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn default_is_allowed_and_is_what_its_declaration_says() {
        assert_eq!(Config::default().check(), Ok(()));
        for setting in Config::settings().filter(|setting| !setting.name.is_empty()) {
            let mut config = Config::default();
            let is_text = matches!(setting.kind, Kind::Choice(_) | Kind::Time);
            if is_text && setting.default != "the engine's own" {
                config.set(setting, setting.default).unwrap();
            }
            assert_eq!(config, Config::default(), "--{} {}", setting.name, setting.default);
        }
    }

    #[test]
    fn duration_out_of_range_is_an_error_that_names_its_field() {
        let error = refused(|config| config.heartbeat = Duration::ZERO);
        assert_eq!(error.field(), "heartbeat");
        let expected = "heartbeat is 0 milliseconds; it must be from 1 to 604800000 milliseconds";
        assert_eq!(error.to_string(), expected);
        type Of = fn(&mut Config) -> &mut Duration;
        let durations: &[(&str, Of)] = &[
            ("ahead", |config| &mut config.ahead),
            ("handshake_timeout", |config| &mut config.handshake_timeout),
            ("heartbeat", |config| &mut config.heartbeat),
            ("silence_timeout", |config| &mut config.silence_timeout),
            ("stall_timeout", |config| &mut config.stall_timeout),
            ("close_timeout", |config| &mut config.close_timeout),
            ("drain_timeout", |config| &mut config.drain_timeout),
            ("idle_timeout", |config| config.idle_timeout.get_or_insert_default()),
            ("max_session", |config| &mut config.max_session),
            ("resume_ttl", |config| &mut config.resume_ttl),
            ("admission.auth_timeout", |config| &mut config.admission.auth_timeout),
            ("admission.ticket_ttl", |config| &mut config.admission.ticket_ttl),
        ];
        for (field, of) in durations {
            let mut config = Config::default();
            *of(&mut config) = Duration::MAX;
            assert_eq!(config.check().unwrap_err().field(), *field);
        }
        let leeway = refused(|config| {
            let mut jwt = Jwt::new("key");
            jwt.leeway = Duration::MAX;
            config.admission.auth = Auth::Jwt(jwt);
        });
        assert_eq!(leeway.field(), "admission.auth.leeway");
    }

    #[test]
    fn number_out_of_range_is_an_error_that_names_its_field() {
        type Change = fn(&mut Config);
        let table: &[(Change, &str)] = &[
            (|config| config.prefetch = 0, "prefetch is 0 sentences; it must be from 1 to 64 sentences"),
            (
                |config| config.max_message_bytes = 0,
                "max_message_bytes is 0 bytes; it must be from 1 to 1073741824 bytes",
            ),
            (|config| config.max_prompt_chars = usize::MAX, "max_prompt_chars is 18446744073709552000 char"),
            (|config| config.frame_ms = 1_001, "frame_ms is 1001 milliseconds; it must be from 1 to 1000 mi"),
            (|config| config.speed = f32::NAN, "speed is NaN; it must be from 0.5 to 2"),
            (|config| config.sample_rate_hz = Some(0), "sample_rate_hz is 0 samples per second; it must be"),
            (|config| config.max_messages_per_sec = Some(0), "max_messages_per_sec is 0 messages; it must"),
            (|config| config.admission.max_connections = 0, "admission.max_connections is 0 connections; it"),
            (|config| config.admission.max_tickets = 0, "admission.max_tickets is 0 tickets; it must be"),
        ];
        for (change, expected) in table {
            let error = refused(change);
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(expected.starts_with(error.field()), "{error}");
        }
    }

    #[test]
    fn engine_without_a_sample_rate_is_an_error() {
        assert_eq!(check_engine("tone", 4_000), Ok(()));
        let error = check_engine("tone", 0).unwrap_err();
        let expected = "the engine tone has 0 samples per second; it must have from 4000 to 192000";
        assert_eq!((error.field(), error.to_string().as_str()), ("synthesizer", expected));
    }

    #[test]
    fn service_refuses_what_the_check_refuses() {
        let format = crate::audio::Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        let service = |config, sample_rate_hz| {
            let format = crate::audio::Format { sample_rate_hz, ..format };
            crate::Service::new(config, Arc::new(Tone::new(format, 1.0)))
        };
        assert!(service(Config::default(), 8_000).is_ok());
        let field = |config, rate| service(config, rate).err().map(|error| error.field().to_owned());
        assert_eq!(field(Config::default(), 0).as_deref(), Some("synthesizer"));
        let config = Config { heartbeat: Duration::ZERO, ..Config::default() };
        assert_eq!(field(config, 8_000).as_deref(), Some("heartbeat"));
        let config = Config { source: TextSource::Llm, ..Config::default() };
        assert_eq!(field(config, 8_000).as_deref(), Some("source"));
        let config = Config { max_message_bytes: 0, ..Config::default() };
        assert!(crate::Service::echo(config).is_err());
    }

    #[test]
    fn option_of_a_field_takes_both_ends_of_its_range() {
        for setting in Config::settings().filter(|setting| !setting.name.is_empty()) {
            let Some(Range { min, max, .. }) = setting.range else { continue };
            let unit = if matches!(setting.kind, Kind::Time) { "ms" } else { "" };
            let min = min.max(setting.floor);
            for (amount, is_allowed) in [(min - 1.0, false), (min, true), (max, true), (max + 1.0, false)] {
                let mut config = Config::default();
                let set = config.set(setting, &format!("{amount}{unit}"));
                assert_eq!(set.is_ok(), is_allowed, "--{} {amount}: {set:?}", setting.name);
                assert_eq!(config.check(), Ok(()));
            }
        }
    }
}
