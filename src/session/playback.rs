//! Waits of a listener who plays a stream as it arrives: the time to its first audio, and the silence
//! between its sentences. These figures go to the operator only; no decision rests on them.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A time that the listener had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// From the start of a stream, or its first appended text, to its first audio on the way.
    FirstAudio(Duration),
    /// The silence in front of another sentence, which may be zero.
    Gap(Duration),
}

/// Measures the time from the first text of a stream, without the time during which the client has paused
/// it or was not connected.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Stopwatch {
    has_started: bool,
    /// Time up to `since`.
    before: Duration,
    /// Since when it runs; `None` while it stands.
    #[serde(skip)]
    since: Option<Instant>,
    is_held: bool,
}

impl Stopwatch {
    /// Notes the first text.
    pub(super) fn start(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.has_started, true) && !self.is_held {
            self.since = Some(now);
        }
    }

    /// Notes that delivery is held.
    pub(super) fn stop(&mut self, now: Instant) {
        self.before = self.time(now);
        self.since = None;
        self.is_held = true;
    }

    /// Notes that delivery continues.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.before = self.time(now);
        self.since = self.has_started.then_some(now);
        self.is_held = false;
    }

    pub(super) fn time(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The same, stopped.
    pub(super) fn stopped(mut self, now: Instant) -> Stopwatch {
        self.stop(now);
        self
    }
}

/// The playback of one stream. Waits that the client causes (pause, late `append`) are not measured.
#[derive(Debug)]
pub(super) struct Playback {
    /// When the wait for the first audio began.
    waits_since: Option<Instant>,
    /// True if the first audio has been sent, or the client itself held it up.
    has_begun: bool,
    /// When everything that was sent has been played; `None` after an interruption.
    dry_at: Option<Instant>,
    /// True if the next audio is the first of a sentence.
    is_between: bool,
    /// True if the client appends the text.
    is_appended: bool,
}

impl Playback {
    pub(super) fn new(began: Instant, is_appended: bool) -> Playback {
        let waits_since = (!is_appended).then_some(began);
        Playback { waits_since, has_begun: false, dry_at: None, is_between: false, is_appended }
    }

    /// Notes that text was appended.
    pub(super) fn on_text(&mut self, now: Instant) {
        if !self.has_begun {
            self.waits_since.get_or_insert(now);
        }
    }

    /// Notes that a sentence was announced.
    pub(super) fn on_sentence(&mut self) {
        self.is_between = true;
    }

    /// Notes that audio of this length is on the way.
    pub(super) fn on_audio(&mut self, now: Instant, length: Duration) -> Option<Wait> {
        let is_first_of_sentence = std::mem::replace(&mut self.is_between, false);
        let wait = match (self.waits_since.take(), self.dry_at) {
            (Some(since), _) => Some(Wait::FirstAudio(now.saturating_duration_since(since))),
            (None, Some(dry_at)) if is_first_of_sentence && !self.is_appended => {
                Some(Wait::Gap(now.saturating_duration_since(dry_at)))
            }
            _ => None,
        };
        self.has_begun = true;
        self.dry_at = Some(self.dry_at.map_or(now, |dry_at| dry_at.max(now)) + length);
        wait
    }

    /// Notes that playback was interrupted, by the client or by a lost connection.
    pub(super) fn on_interruption(&mut self) {
        self.has_begun = true;
        self.waits_since = None;
        self.dry_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::Wait::{FirstAudio, Gap};
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn gap_is_the_silence_after_everything_was_played() {
        let began = Instant::now();
        let mut playback = Playback::new(began, false);
        let mut hear = |at: u64, is_first: bool, length: u64| {
            if is_first {
                playback.on_sentence();
            }
            playback.on_audio(began + ms(at), ms(length))
        };
        assert_eq!(hear(30, true, 100), Some(FirstAudio(ms(30))));
        // More of the same sentence, late: this is not a silence between two sentences.
        assert_eq!(hear(200, false, 100), None);
        assert_eq!(hear(250, true, 50), Some(Gap(ms(0))), "in time");
        assert_eq!(hear(251, false, 50), None);
        assert_eq!(hear(425, true, 100), Some(Gap(ms(25))), "everything was played at 400");
        assert_eq!(hear(525, true, 100), Some(Gap(ms(0))));
    }

    #[test]
    fn waits_that_the_client_causes_are_not_measured() {
        let began = Instant::now();
        let mut playback = Playback::new(began, false);
        playback.on_interruption();
        playback.on_sentence();
        assert_eq!(playback.on_audio(began + ms(900), ms(10)), None, "held at its start");
        playback.on_sentence();
        playback.on_interruption();
        assert_eq!(playback.on_audio(began + ms(1_900), ms(10)), None, "paused");
        playback.on_sentence();
        assert_eq!(playback.on_audio(began + ms(1_905), ms(10)), Some(Gap(ms(0))));

        let mut playback = Playback::new(began, true);
        playback.on_text(began + ms(100));
        playback.on_text(began + ms(120));
        playback.on_sentence();
        assert_eq!(playback.on_audio(began + ms(150), ms(10)), Some(FirstAudio(ms(50))));
        playback.on_text(began + ms(500));
        playback.on_sentence();
        assert_eq!(playback.on_audio(began + ms(520), ms(10)), None, "the text came late");
    }
}
