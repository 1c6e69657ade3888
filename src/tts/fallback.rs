//! A second engine that speaks while the first one fails.

use super::speech::Relay;
use super::{
    Backlog, Piece, Speech, SynthesisError, SynthesisErrorKind, Synthesizer, Utterance, Voice, Warning,
};
use crate::audio::Format;
use crate::audio::voice;
use crate::text::redact::redact;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Most sessions that are remembered as warned of an outage. With more, some are warned twice.
const MAX_WARNED: usize = 10_000;

/// Time from the first failure until the first engine is tried again.
const FIRST_RETRY: Duration = Duration::from_secs(30);

/// Longest time between two trials of the first engine.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// An engine that speaks with a second engine while the first one fails.
///
/// - If the first engine fails a sentence before any audio, the second engine speaks it at once. If it
///   fails later, the sentence ends there, as it would without a second engine.
/// - After a failure, the second engine speaks for all sessions. The first engine is tried again with
///   one sentence after 30 s, then after twice that time, and so on up to 300 s. Once it gives audio, it
///   speaks for all sessions again.
/// - Each session gets the warning `fallback_engine` once in an outage. The log says when an outage
///   begins and ends.
/// - A text that the first engine has no audio for ([`NoAudio`](SynthesisErrorKind::NoAudio)) is not an
///   outage.
///
/// A format is supported if both engines support it, so it never changes within a stream. The voices
/// are those of the first engine. If the second engine lacks a voice, it uses its own voice for the
/// language.
pub struct Fallback {
    first: Arc<dyn Synthesizer>,
    second: Arc<Second>,
}

impl Fallback {
    /// Creates an engine that uses `second` while `first` fails.
    pub fn new(first: Arc<dyn Synthesizer>, second: Arc<dyn Synthesizer>) -> Fallback {
        let second = Second {
            first: first.name().to_owned(),
            voices: second.voices(),
            engine: second,
            outage: Mutex::default(),
        };
        Fallback { first, second: Arc::new(second) }
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fallback({}, {})", self.first.name(), self.second.engine.name())
    }
}

impl Synthesizer for Fallback {
    fn name(&self) -> &str {
        self.first.name()
    }

    fn format(&self) -> Format {
        self.first.format()
    }

    fn supports(&self, format: Format) -> bool {
        self.first.supports(format) && self.second.engine.supports(format)
    }

    fn voices(&self) -> Vec<Voice> {
        self.first.voices()
    }

    fn normalizes(&self) -> bool {
        self.first.normalizes() && self.second.engine.normalizes()
    }

    fn speeds(&self) -> RangeInclusive<f32> {
        let (first, second) = (self.first.speeds(), self.second.engine.speeds());
        first.start().max(*second.start())..=first.end().min(*second.end())
    }

    fn engines(&self) -> Vec<&dyn Synthesizer> {
        let both: [&dyn Synthesizer; 2] = [self.first.as_ref(), self.second.engine.as_ref()];
        let is_single = |engine: &'_ dyn Synthesizer| engine.engines().is_empty();
        both.into_iter()
            .flat_map(|engine| if is_single(engine) { vec![engine] } else { engine.engines() })
            .collect()
    }

    fn backlog(&self) -> Backlog {
        let (first, second) = (self.first.backlog(), self.second.engine.backlog());
        // The second engine takes over what the first one refuses.
        Backlog::new(first.waiting + second.waiting, first.is_full && second.is_full)
    }

    fn speak(&self, utterance: Utterance) -> Speech {
        // Outside of the match, which would hold the lock to its end.
        let attempt = self.second.outage().attempt(Instant::now());
        match attempt {
            Some(attempt) => Speech::relayed(First {
                speech: self.first.speak(utterance.clone()),
                attempt,
                utterance: Some(Box::new(utterance)),
                held: VecDeque::new(),
                second: Arc::clone(&self.second),
            }),
            None => self.second.speak(utterance),
        }
    }
}

/// The second engine, and the state of the outage.
struct Second {
    engine: Arc<dyn Synthesizer>,
    voices: Vec<Voice>,
    /// Name of the first engine.
    first: String,
    outage: Mutex<Outage>,
}

impl Second {
    /// Locks the outage. A poisoned lock is safe to use: nothing panics in the middle of a change.
    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks with the second engine, with a warning if the session has had none.
    fn speak(&self, mut utterance: Utterance) -> Speech {
        if !self.voices.iter().any(|voice| voice.name == utterance.voice) {
            let nearest = voice::for_language(&self.voices, &utterance.language);
            utterance.voice = nearest.map(|voice| voice.name.clone()).unwrap_or_default();
        }
        let is_new = self.outage().warn(&utterance.session);
        let speech = self.engine.speak(utterance);
        if !is_new {
            return speech;
        }
        let message =
            format!("The speech engine {} is failing: {} speaks instead.", self.first, self.engine.name());
        Speech::relayed(Warned {
            warning: Some(Warning { code: "fallback_engine", message, text_ranges: Vec::new() }),
            speech,
        })
    }

    fn failed(&self, attempt: u64, error: &SynthesisError, text: &str) {
        let pause = self.outage().failed(attempt, Instant::now());
        if let Some(pause) = pause {
            let (first, second, seconds) = (&self.first, self.engine.name(), pause.as_secs());
            let error = redact(&error.message, &[text]);
            tracing::warn!("engine {first} failed, {second} speaks for {seconds} s: {error}");
        }
    }

    fn succeeded(&self, attempt: u64) {
        if self.outage().succeeded(attempt) {
            tracing::info!("engine {} works again", self.first);
        }
    }
}

/// State of an outage of the first engine. Has no clock.
#[derive(Default)]
struct Outage {
    /// Time of the next trial. `None` while the first engine works.
    retry_at: Option<Instant>,
    /// Time between the last failure and the next trial.
    pause: Duration,
    /// Number of changes. The result of an attempt from before the last change is ignored.
    age: u64,
    /// Sessions that were warned.
    warned: HashSet<Arc<str>>,
}

impl Outage {
    /// Starts an attempt with the first engine, if one is due.
    fn attempt(&mut self, now: Instant) -> Option<u64> {
        match self.retry_at {
            Some(at) if now < at => return None,
            // One trial at a time. If its listener leaves before the result, the next one follows later.
            Some(_) => self.retry_at = Some(now + self.pause),
            None => {}
        }
        Some(self.age)
    }

    /// Records a failure. Returns the time until the next trial, or `None` if the attempt is outdated.
    fn failed(&mut self, attempt: u64, now: Instant) -> Option<Duration> {
        if attempt != self.age {
            return None;
        }
        self.pause = match self.retry_at {
            None => FIRST_RETRY,
            Some(_) => (self.pause * 2).min(LAST_RETRY),
        };
        self.retry_at = Some(now + self.pause);
        self.age += 1;
        Some(self.pause)
    }

    /// Records a success. Returns true if it ends an outage.
    fn succeeded(&mut self, attempt: u64) -> bool {
        if attempt != self.age || self.retry_at.is_none() {
            return false;
        }
        *self = Outage { age: self.age + 1, ..Outage::default() };
        true
    }

    /// Records a warning. Returns true if the session has had none.
    fn warn(&mut self, session: &Arc<str>) -> bool {
        if self.warned.len() >= MAX_WARNED {
            self.warned.clear();
        }
        session.is_empty() || self.warned.insert(Arc::clone(session))
    }
}

/// An utterance that the first engine speaks, or the second one if the first one fails without audio.
struct First {
    speech: Speech,
    attempt: u64,
    /// Utterance for the second engine. `None` once there was audio, or the second engine speaks.
    utterance: Option<Box<Utterance>>,
    /// Words before any audio. They are discarded if the second engine speaks, which reports its own.
    held: VecDeque<Piece>,
    second: Arc<Second>,
}

impl Relay for First {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        loop {
            if self.utterance.is_none()
                && let Some(piece) = self.held.pop_front()
            {
                return Poll::Ready(Some(Ok(piece)));
            }
            let Poll::Ready(next) = self.speech.poll_next(cx) else { return Poll::Pending };
            match next {
                Some(Ok(piece @ Piece::Words(_))) if self.utterance.is_some() => self.held.push_back(piece),
                Some(Ok(piece @ Piece::Audio(_))) if self.utterance.is_some() => {
                    self.utterance = None;
                    self.held.push_back(piece);
                    self.second.succeeded(self.attempt);
                }
                Some(Err(error)) if error.kind != SynthesisErrorKind::NoAudio => {
                    let text = self.utterance.as_ref().map_or("", |utterance| &utterance.text);
                    self.second.failed(self.attempt, &error, text);
                    let Some(utterance) = self.utterance.take() else { return Poll::Ready(Some(Err(error))) };
                    self.held.clear();
                    // A failure of the second engine is no attempt with the first one.
                    self.attempt = u64::MAX;
                    self.speech = self.second.speak(*utterance);
                }
                next => return Poll::Ready(next),
            }
        }
    }

    fn buffered_bytes(&self) -> u64 {
        let held = self.held.iter().map(|piece| match piece {
            Piece::Audio(chunk) => chunk.len() as u64,
            Piece::Words(_) | Piece::Warning(_) => 0,
        });
        held.sum::<u64>() + self.speech.buffered_bytes()
    }
}

/// A speech after a warning.
struct Warned {
    warning: Option<Warning>,
    speech: Speech,
}

impl Relay for Warned {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, SynthesisError>>> {
        match self.warning.take() {
            Some(warning) => Poll::Ready(Some(Ok(Piece::Warning(warning)))),
            None => self.speech.poll_next(cx),
        }
    }

    fn buffered_bytes(&self) -> u64 {
        self.speech.buffered_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{pieces, soon};
    use super::super::{Sink, Word};
    use super::*;
    use crate::audio::Encoding;
    use tokio::sync::mpsc;
    use tokio::time::advance;

    const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };

    /// An engine that passes its utterances and sinks to the test.
    struct Scripted {
        name: &'static str,
        rates: &'static [u32],
        voices: Vec<Voice>,
        asked: mpsc::UnboundedSender<(Utterance, Sink)>,
    }

    impl Synthesizer for Scripted {
        fn name(&self) -> &str {
            self.name
        }

        fn format(&self) -> Format {
            PCM
        }

        fn supports(&self, format: Format) -> bool {
            self.rates.contains(&format.sample_rate_hz)
        }

        fn voices(&self) -> Vec<Voice> {
            self.voices.clone()
        }

        fn is_deterministic(&self) -> bool {
            true
        }

        fn speak(&self, utterance: Utterance) -> Speech {
            let (sink, speech) = Speech::channel(&utterance, 8_000);
            self.asked.send((utterance, sink)).expect("the test is waiting");
            speech
        }
    }

    type Asked = mpsc::UnboundedReceiver<(Utterance, Sink)>;

    fn fallback() -> (Fallback, Asked, Asked) {
        let (first, first_asked) = mpsc::unbounded_channel();
        let (second, second_asked) = mpsc::unbounded_channel();
        let voice =
            |name: &str, language: &str| Voice { language: Some(language.to_owned()), ..Voice::new(name) };
        let (both, far, shared) = (voice("both", "en"), voice("far", "de"), voice("near", "en"));
        let first = Scripted {
            name: "far-away",
            rates: &[8_000, 16_000],
            voices: vec![far.clone(), both.clone()],
            asked: first,
        };
        let second = Scripted {
            name: "inside",
            rates: &[8_000, 48_000],
            voices: vec![shared, both, voice("nah", "de-CH")],
            asked: second,
        };
        (Fallback::new(Arc::new(first), Arc::new(second)), first_asked, second_asked)
    }

    fn of(session: &str) -> Utterance {
        Utterance { session: Arc::from(session), ..Utterance::new("Good evening.", PCM) }
    }

    fn warned(piece: &Piece) -> bool {
        matches!(piece, Piece::Warning(Warning { code: "fallback_engine", message, .. })
            if message.contains("far-away") && message.contains("inside"))
    }

    fn broken() -> SynthesisError {
        SynthesisError::failed("It broke.")
    }

    /// Speaks one sentence, which the first engine fails if it is asked. Returns two flags: the first
    /// engine was asked, and there was a warning.
    async fn fails(
        fallback: &Fallback,
        first: &mut Asked,
        second: &mut Asked,
        session: &str,
    ) -> (bool, bool) {
        let speech = fallback.speak(of(session));
        let asked = first.try_recv();
        let was_asked = asked.is_ok();
        if let Ok((_, sink)) = asked {
            tokio::spawn(sink.fail(broken()));
        }
        let listening = tokio::spawn(pieces(speech));
        let (_, mut sink) = soon(second.recv()).await.expect("the second engine is asked");
        sink.push(&[2; 5]).expect("not cancelled");
        sink.finish().await;
        let (pieces, error) = soon(listening).await.expect("no panic");
        assert_eq!(error, None);
        let audio = pieces.iter().filter(|piece| matches!(piece, Piece::Audio(_))).count();
        let warnings = pieces.iter().filter(|piece| warned(piece)).count();
        assert_eq!((audio, warnings + 1), (1, pieces.len()), "{pieces:?}");
        (was_asked, warnings == 1)
    }

    /// Speaks one sentence with the first engine.
    async fn works(fallback: &Fallback, first: &mut Asked, session: &str) {
        let speech = fallback.speak(of(session));
        let (_, mut sink) = first.try_recv().expect("the first engine is asked");
        sink.push(&[1; 5]).expect("not cancelled");
        tokio::spawn(sink.finish());
        let (pieces, error) = pieces(speech).await;
        assert_eq!(error, None);
        assert!(matches!(&pieces[..], [Piece::Audio(chunk)] if chunk[0] == 1), "{pieces:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_engine_speaks_while_it_works() {
        let (fallback, mut first, mut second) = fallback();
        assert_eq!((fallback.name(), fallback.format()), ("far-away", PCM));
        let voices: Vec<String> = fallback.voices().into_iter().map(|voice| voice.name).collect();
        assert_eq!(voices, ["far", "both"]);
        assert!(!fallback.is_deterministic(), "either of the two may speak");
        let supports = |sample_rate_hz| fallback.supports(Format { sample_rate_hz, ..PCM });
        assert_eq!([8_000, 16_000, 48_000].map(supports), [true, false, false]);
        let engines: Vec<&str> = fallback.engines().into_iter().map(Synthesizer::name).collect();
        assert_eq!(engines, ["far-away", "inside"]);
        for _ in 0..3 {
            works(&fallback, &mut first, "s").await;
        }
        assert!(second.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sentence_that_fails_without_audio_is_spoken_by_the_second_engine_and_later_ones_too() {
        let (fallback, mut first, mut second) = fallback();
        assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (true, true));
        // No sentence waits for the first engine to fail again, and each session is warned once.
        assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (false, false));
        assert_eq!(fails(&fallback, &mut first, &mut second, "b").await, (false, true));
        assert_eq!(fails(&fallback, &mut first, &mut second, "b").await, (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_engine_is_tried_again_less_and_less_often() {
        let (fallback, mut first, mut second) = fallback();
        assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (true, true));
        for seconds in [30, 60, 120, 240, 300, 300] {
            advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (false, false), "{seconds}");
            advance(Duration::from_millis(1)).await;
            assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (true, false), "{seconds}");
        }
        // Once it works, it speaks for all sessions, and the next outage starts with the first pause.
        advance(Duration::from_secs(300)).await;
        works(&fallback, &mut first, "b").await;
        works(&fallback, &mut first, "a").await;
        assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (true, true));
        advance(Duration::from_secs(30)).await;
        works(&fallback, &mut first, "a").await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_sentence_at_a_time_tries_it_again() {
        let (fallback, mut first, mut second) = fallback();
        fails(&fallback, &mut first, &mut second, "a").await;
        advance(FIRST_RETRY).await;
        let trial = fallback.speak(of("a"));
        let (_, sink) = first.try_recv().expect("the first engine is tried");
        assert_eq!(fails(&fallback, &mut first, &mut second, "b").await, (false, true));
        // The listener leaves before the result: the next trial follows after the same time.
        drop((trial, sink));
        assert_eq!(fails(&fallback, &mut first, &mut second, "b").await, (false, false));
        advance(FIRST_RETRY).await;
        works(&fallback, &mut first, "b").await;
    }

    #[tokio::test(start_paused = true)]
    async fn sentences_that_fail_together_are_one_outage() {
        let (fallback, mut first, mut second) = fallback();
        let speeches = ["a", "b", "c"].map(|session| fallback.speak(of(session)));
        let (_, mut late) = first.try_recv().expect("asked");
        for _ in 0..2 {
            let (_, sink) = first.try_recv().expect("asked");
            tokio::spawn(sink.fail(broken()));
        }
        let [success, one, other] = speeches;
        for speech in [one, other] {
            tokio::spawn(pieces(speech));
            soon(second.recv()).await.expect("the second engine is asked");
        }
        // A sentence that began before the outage does not end it, although it works.
        late.push(&[1; 5]).expect("not cancelled");
        tokio::spawn(late.finish());
        assert_eq!(pieces(success).await.1, None);
        assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (false, true));
        advance(FIRST_RETRY).await;
        works(&fallback, &mut first, "a").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_sentence_that_fails_after_audio_is_not_repeated() {
        let (fallback, mut first, mut second) = fallback();
        let speech = fallback.speak(of("a"));
        let (_, mut sink) = first.try_recv().expect("asked");
        sink.push(&[1; 1_000]).expect("not cancelled");
        tokio::spawn(sink.fail(broken()));
        let (received, error) = pieces(speech).await;
        assert!(received.iter().all(|piece| matches!(piece, Piece::Audio(_))));
        assert_eq!(error, Some(broken()));
        assert!(second.try_recv().is_err());
        assert_eq!(fails(&fallback, &mut first, &mut second, "a").await, (false, true));
    }

    #[tokio::test(start_paused = true)]
    async fn words_of_a_sentence_that_failed_are_discarded() {
        let word = |n: u64| Word {
            text_range: 0..4,
            start: Duration::from_millis(n),
            end: Duration::from_millis(n + 1),
        };
        let (fallback, mut first, mut second) = fallback();
        let mut speech = fallback.speak(of("a"));
        let (_, mut sink) = first.try_recv().expect("asked");
        sink.warn("retrying_engine", "Once more.");
        sink.words(vec![word(1)]);
        tokio::spawn(sink.fail(SynthesisError::timeout("Too late.")));
        let Some(Ok(Piece::Warning(warning))) = soon(speech.next()).await else { panic!("a warning") };
        assert_eq!(warning.code, "retrying_engine");
        let listening = tokio::spawn(pieces(speech));
        let (_, mut sink) = soon(second.recv()).await.expect("asked");
        sink.words(vec![word(2)]);
        sink.push(&[2; 5]).expect("not cancelled");
        sink.finish().await;
        let (received, _) = soon(listening).await.expect("no panic");
        assert!(warned(&received[0]));
        assert_eq!(received[1], Piece::Words(vec![word(2)]));

        // If it works, the words come before the audio.
        advance(FIRST_RETRY).await;
        let speech = fallback.speak(of("a"));
        let (_, mut sink) = first.try_recv().expect("asked");
        sink.words(vec![word(3)]);
        sink.push(&[1; 5]).expect("not cancelled");
        tokio::spawn(sink.finish());
        let (received, _) = pieces(speech).await;
        assert!(matches!(&received[..], [Piece::Words(_), Piece::Audio(_)]), "{received:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_without_sound_is_no_outage() {
        let (fallback, mut first, mut second) = fallback();
        let speech = fallback.speak(of("a"));
        let (_, sink) = first.try_recv().expect("asked");
        tokio::spawn(sink.fail(SynthesisError::no_audio("No sound.")));
        assert_eq!(pieces(speech).await, (vec![], Some(SynthesisError::no_audio("No sound."))));
        works(&fallback, &mut first, "a").await;
        assert!(second.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn overload_and_timeout_are_outages_and_a_failure_of_both_is_an_error() {
        for error in [SynthesisError::overloaded("Too much."), SynthesisError::timeout("Too late.")] {
            let (fallback, mut first, mut second) = fallback();
            let speech = fallback.speak(of("a"));
            let (_, sink) = first.try_recv().expect("asked");
            tokio::spawn(sink.fail(error));
            let listening = tokio::spawn(pieces(speech));
            let (_, sink) = soon(second.recv()).await.expect("asked");
            tokio::spawn(sink.fail(broken()));
            let (received, error) = soon(listening).await.expect("no panic");
            assert_eq!((received.len(), error), (1, Some(broken())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_voice_that_the_second_engine_lacks_becomes_its_voice_for_the_language() {
        let (fallback, mut first, mut second) = fallback();
        fails(&fallback, &mut first, &mut second, "a").await;
        let cases = [
            ("far", "", "near"),
            ("far", "de", "nah"),
            ("both", "de", "both"),
            ("", "", "near"),
            ("", "fr", "near"),
        ];
        for (asked, language, expected) in cases {
            let (voice, language) = (asked.to_owned(), language.to_owned());
            let _speech = fallback.speak(Utterance { voice, language, ..of("a") });
            let (utterance, _) = second.try_recv().expect("asked");
            assert_eq!(utterance.voice, expected, "{asked} {}", utterance.language);
        }
    }
}
