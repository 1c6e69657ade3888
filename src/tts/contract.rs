//! The contract of an engine: what it is asked, and what it promises.

use super::Speech;
use super::listener::Listener;
use super::queue::Slot;
use crate::audio::Format;
use crate::audio::resample::Resampler;
use crate::audio::voice::Voice;
use crate::gauge::Gauge;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A speech engine: one voice, or several, that turn a sentence into audio.
///
/// All sessions share one engine, hence `Send + Sync`. An embedder's own engine implements this
/// trait:
///
/// ```
/// use aloud::audio::{Encoding, Format};
/// use aloud::tts::{Speech, Synthesizer, Utterance};
///
/// /// Speaks every sentence as one second of a rising buzz.
/// struct Buzz;
///
/// impl Synthesizer for Buzz {
///     fn name(&self) -> &str {
///         "buzz"
///     }
///
///     fn format(&self) -> Format {
///         Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 }
///     }
///
///     fn speak(&self, utterance: Utterance) -> Speech {
///         // The engine writes samples at this rate. The sink converts them to the utterance's format.
///         let (mut sink, speech) = Speech::channel(&utterance, 16_000);
///         tokio::spawn(async move {
///             for block in 0..100i16 {
///                 let samples: Vec<i16> = (0..160).map(|n| n % 80 * block).collect();
///                 // Waits while the listener is slow. An error means that the listener is gone.
///                 if sink.write(&samples).await.is_err() {
///                     return;
///                 }
///             }
///             // Without this call the session reports a failure.
///             sink.finish().await;
///         });
///         speech
///     }
/// }
/// # let _: &dyn Synthesizer = &Buzz;
/// ```
pub trait Synthesizer: Send + Sync + 'static {
    /// Short name for logs and messages, such as `flite`.
    fn name(&self) -> &str;

    /// Native format of the engine: its own sample rate, in the encoding that needs no conversion.
    /// Sessions that ask for no format get this one.
    fn format(&self) -> Format;

    /// True if the engine can give this format, by conversion if necessary.
    ///
    /// The default accepts every encoding at the engine's own sample rate and at each of
    /// [`Format::SAMPLE_RATES`], because a [`Sink`](super::Sink) converts both. (It cannot convert
    /// from unusual rates such as 44,111 Hz: see [`Resampler::new`].) An engine that uses
    /// [`Speech::ready`] converts nothing, and returns here what it supports itself.
    fn supports(&self, format: Format) -> bool {
        let (own, wanted) = (self.format().sample_rate_hz, format.sample_rate_hz);
        own == wanted || (Format::SAMPLE_RATES.contains(&wanted) && Resampler::supports(own, wanted))
    }

    /// Voices that an [`Utterance`] may name. The first is the default voice, for utterances that
    /// name none. Called once, when a service is created.
    ///
    /// The default is one voice with the name of the engine.
    fn voices(&self) -> Vec<Voice> {
        vec![Voice::new(self.name())]
    }

    /// True if the same utterance always gives the same bytes. A session can then be recovered at a
    /// position that is no longer buffered, because its sentences can be replayed.
    ///
    /// The default is false. If an engine returns true but gives other bytes, the client hears a
    /// break in the middle of a sentence.
    fn is_deterministic(&self) -> bool {
        false
    }

    /// True if the engine reads figures, signs and abbreviations as words itself, unless an utterance has
    /// [`normalize`](Utterance::normalize) `Some(false)`. The text for another engine is changed before
    /// [`speak`](Self::speak) if the client or [`Config::normalize`](crate::Config::normalize) asks for it.
    ///
    /// The default is false.
    fn normalizes(&self) -> bool {
        false
    }

    /// Slowest and fastest rate of speech, as in [`Utterance::speed`]. Requests over HTTP are brought within them;
    /// sessions ask for 0.5 to 2.0 in any case.
    ///
    /// The default is 0.5 to 2.0.
    fn speeds(&self) -> RangeInclusive<f32> {
        0.5..=2.0
    }

    /// Engines that this one chooses from, such as the two of a [`Fallback`](super::Fallback). Health
    /// checks then test each of them. The default is empty: the engine speaks itself.
    fn engines(&self) -> Vec<&dyn Synthesizer> {
        Vec::new()
    }

    /// Utterances that wait for this engine, if it limits the utterances in flight. Called for every
    /// health check and every scrape of the metrics.
    ///
    /// The default is an empty backlog.
    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// Starts to speak. Called inside a tokio runtime; returns at once and never blocks.
    ///
    /// Failures are reported through the [`Speech`], after the audio before them.
    fn speak(&self, utterance: Utterance) -> Speech;
}

/// Utterances that wait for an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Number of waiting utterances.
    pub waiting: usize,
    /// True if one more would be refused.
    pub is_full: bool,
}

impl Backlog {
    /// Creates a backlog of this many utterances.
    pub fn new(waiting: usize, is_full: bool) -> Backlog {
        Backlog { waiting, is_full }
    }
}

/// A request to speak: a sentence, and how to say it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Utterance {
    /// Text to speak. Never empty, at most as long as a sentence.
    pub text: String,
    /// Rate of speech, from 0.5 to 2.0, or within [`Synthesizer::speeds`] if these are wider. 1.0 is the natural
    /// rate, 2.0 takes half the time.
    pub speed: f32,
    /// Name of one of [`Synthesizer::voices`], or empty for the engine's default voice.
    pub voice: String,
    /// Language of the text as a BCP 47 tag such as `en` or `de-CH`, or empty if it is not known.
    pub language: String,
    /// Number of the sentence in its stream, counted from 0.
    pub index: u64,
    /// Text spoken right before in the same stream, for engines that continue the melody of speech
    /// from one sentence to the next. Empty for the first sentence.
    pub previous_text: String,
    /// Client of the session, by which engines and queues treat clients fairly: an address, or the name
    /// in a credential. Empty if the client is not known; each session is a client of its own then.
    pub client: Arc<str>,
    /// Id of the session, by which engines and queues treat the sessions of a client fairly. Empty
    /// outside of a session.
    pub session: Arc<str>,
    /// Format of the audio. [`Synthesizer::supports`] returned true for it. Its encoding is one of
    /// [`Encoding::ALL`](crate::audio::Encoding::ALL): encoders of [frames](crate::audio::Encoding::is_coded) take
    /// `pcm_s16le` from an engine.
    pub format: Format,
    /// Payload bytes of one frame, at most 64 KiB. Every chunk but a sentence's last is a multiple of it.
    pub frame_bytes: usize,
    /// True if the client asked for the times of words. An engine that knows them reports them with
    /// [`Sink::words`](super::Sink::words); other engines ignore this field.
    pub has_word_times: bool,
    /// True or false if the client, or the configuration of the server, says whether figures, signs and
    /// abbreviations are changed into words. An engine with [`Synthesizer::normalizes`] follows it; other
    /// engines ignore this field. `None` is the engine's own choice.
    pub normalize: Option<bool>,
    /// Counts the utterances in flight.
    pub(crate) running: Gauge,
    /// Tells a queue whether the client can hear the utterance now.
    pub(crate) listener: Listener,
    /// Slot of a [`Queue`](super::Queue), if one limits the utterances in flight.
    pub(crate) slot: Option<Slot>,
}

impl Utterance {
    /// Creates an utterance outside of a session, in the default voice at its natural rate: for tests
    /// and warm-ups of engines.
    pub fn new(text: impl Into<String>, format: Format) -> Utterance {
        Utterance {
            text: text.into(),
            speed: 1.0,
            voice: String::new(),
            language: String::new(),
            index: 0,
            previous_text: String::new(),
            client: Arc::from(""),
            session: Arc::from(""),
            format,
            frame_bytes: format.frame_bytes(40),
            has_word_times: false,
            normalize: None,
            running: Gauge::default(),
            listener: Listener::default(),
            slot: None,
        }
    }

    /// Name of its voice, or of the first of these voices if it names none; empty without any.
    pub(super) fn voice_of<'a>(&'a self, voices: &'a [String]) -> &'a str {
        match self.voice.as_str() {
            "" => voices.first().map_or("", String::as_str),
            voice => voice,
        }
    }
}

/// Failure to speak a sentence, or the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SynthesisError {
    /// Kind of failure, which decides the code that the client gets.
    pub kind: SynthesisErrorKind,
    /// One sentence for a person: what is wrong, and what to do. The client gets it.
    pub message: String,
}

/// Kind of a [`SynthesisError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SynthesisErrorKind {
    /// The engine failed, or ended before the sentence did (`engine_failed`).
    Failed,
    /// The engine has no audio for the text, for example for emoji alone (`engine_no_audio`).
    NoAudio,
    /// The engine gave no audio within its time limit (`engine_timeout`).
    Timeout,
    /// Too many utterances wait for the engine (`overloaded`). The session ends.
    Overloaded,
}

impl SynthesisError {
    /// Creates an error of kind [`Failed`](SynthesisErrorKind::Failed).
    pub fn failed(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Failed, message: message.into() }
    }

    /// Creates an error of kind [`Timeout`](SynthesisErrorKind::Timeout).
    pub fn timeout(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Timeout, message: message.into() }
    }

    /// Creates an error of kind [`Overloaded`](SynthesisErrorKind::Overloaded).
    pub fn overloaded(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::Overloaded, message: message.into() }
    }

    /// Creates an error of kind [`NoAudio`](SynthesisErrorKind::NoAudio).
    pub fn no_audio(message: impl Into<String>) -> SynthesisError {
        SynthesisError { kind: SynthesisErrorKind::NoAudio, message: message.into() }
    }
}

impl fmt::Display for SynthesisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SynthesisError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;

    /// An engine at this rate that cannot speak.
    struct Mute(u32);

    impl Synthesizer for Mute {
        fn name(&self) -> &str {
            "mute"
        }

        fn format(&self) -> Format {
            Format { encoding: Encoding::PcmS16le, sample_rate_hz: self.0 }
        }

        fn speak(&self, _: Utterance) -> Speech {
            Speech::failed(SynthesisError::failed("No voice."))
        }
    }

    #[test]
    fn an_engine_has_one_voice_and_is_not_deterministic_by_default() {
        let engine = Mute(8_000);
        assert_eq!(engine.voices(), [Voice::new("mute")]);
        assert!(!engine.is_deterministic());
        assert_eq!(engine.backlog(), Backlog::new(0, false));
        assert_eq!(Utterance::new("Hello.", engine.format()).voice, "");
    }

    #[test]
    fn an_engine_supports_its_own_rate_and_the_common_ones_by_default() {
        let supported = |own: u32, sample_rate_hz: u32| {
            let all = Encoding::ALL.map(|encoding| Mute(own).supports(Format { encoding, sample_rate_hz }));
            assert!(all.iter().all(|&one| one == all[0]), "any encoding or none");
            all[0]
        };
        for own in [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            assert!(supported(own, own));
            assert!(Format::SAMPLE_RATES.into_iter().all(|rate| supported(own, rate)), "{own} Hz");
            assert!(!supported(own, 11_025) && !supported(own, 0));
        }
        assert!(supported(44_111, 44_111) && !supported(44_111, 48_000));
    }

    #[test]
    fn an_error_is_displayed_as_its_message() {
        assert_eq!(SynthesisError::failed("It broke.").to_string(), "It broke.");
    }
}
