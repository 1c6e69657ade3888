//! Health of the service: whether its engine works, and whether new sessions are welcome.

use super::service::{Service, Shared};
use crate::tts::{Piece, SynthesisError, Synthesizer, Utterance};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Word that an engine says to show that it works: short, and audible in any voice.
const WARM_UP: &str = "Ready.";

/// Time within which an engine has to say it. A neural voice may have to be loaded first.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(30);

impl Service {
    /// Has each engine say a word, one after the other, so that an engine that fails is found before a
    /// client finds it. Returns the time that it took.
    ///
    /// # Errors
    /// The first failure, in a sentence that names the engine. An engine that has not said its word
    /// within 30 s has failed.
    ///
    /// # Cancel safety
    /// Dropping the future stops the engine.
    pub async fn warm_up(&self) -> Result<Duration, SynthesisError> {
        self.shared.telemetry.warm_up_began();
        let warmed_up = self.say_words().await;
        self.shared.telemetry.warm_up_ended(warmed_up.is_ok());
        warmed_up
    }

    async fn say_words(&self) -> Result<Duration, SynthesisError> {
        let began = Instant::now();
        let synthesizer = self.shared.synthesizer.as_ref();
        let mut engines = synthesizer.engines();
        if engines.is_empty() {
            engines.push(synthesizer);
        }
        for engine in engines {
            self.say_word(engine).await.map_err(|SynthesisError { kind, message }| {
                let message = format!("the engine {} cannot speak: {message}", engine.name());
                SynthesisError { kind, message }
            })?;
        }
        Ok(began.elapsed())
    }

    /// Has the engine say a word as a session would, to find out whether it works again.
    pub(super) async fn probe(&self) {
        let works = self.say_word(self.shared.synthesizer.as_ref()).await.is_ok();
        self.shared.telemetry.warm_up_ended(works);
    }

    async fn say_word(&self, engine: &dyn Synthesizer) -> Result<(), SynthesisError> {
        match timeout(WARM_UP_TIMEOUT, self.speak_word(engine)).await {
            Ok(said) => said,
            Err(_) => {
                let seconds = WARM_UP_TIMEOUT.as_secs();
                Err(SynthesisError::timeout(format!("It has not said a word within {seconds} s.")))
            }
        }
    }

    /// Synthesises a word as for a session, and discards it.
    async fn speak_word(&self, engine: &dyn Synthesizer) -> Result<(), SynthesisError> {
        let format = self.shared.settings.format;
        let running = self.shared.syntheses.clone();
        let mut speech = engine.speak(Utterance { running, ..Utterance::new(WARM_UP, format) });
        let mut has_audio = false;
        while let Some(piece) = speech.next().await {
            has_audio |= matches!(piece?, Piece::Audio(_));
        }
        match has_audio {
            true => Ok(()),
            false => Err(SynthesisError::no_audio(format!("It gave no audio for {WARM_UP:?}"))),
        }
    }

    /// True if new sessions are welcome. They are not while one of these holds:
    ///
    /// - the server shuts down,
    /// - the engine has not said its first word, or its warm-up or its last three sentences have failed,
    /// - the engine's queue is full,
    /// - the limit of connections is reached.
    ///
    /// # Errors
    /// The reasons, for the operator.
    pub fn readiness(&self) -> Result<(), String> {
        let Shared { telemetry, synthesizer, admission, stop, .. } = &*self.shared;
        let mut reasons = Vec::new();
        if *stop.borrow() {
            reasons.push("the server is going away".to_owned());
        }
        if telemetry.is_warming_up() {
            reasons.push("the engine has not said its first word yet".to_owned());
        } else if telemetry.engine_fails() {
            reasons.push(format!("the engine {} fails, see the log", synthesizer.name()));
        }
        let backlog = synthesizer.backlog();
        if backlog.is_full {
            reasons.push(format!("the engine's queue is full: {} sentences wait", backlog.waiting));
        }
        if admission.is_full() {
            reasons.push("the limit of connections is reached".to_owned());
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    }

    /// True if the engine has shown that it does not work.
    pub(super) fn engine_fails(&self) -> bool {
        self.shared.telemetry.engine_fails()
    }
}
