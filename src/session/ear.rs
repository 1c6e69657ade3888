//! What a listener hears who plays a stream as it comes: how long until its first audio, and the
//! silence between its sentences. Only told to the operator; nothing is decided by it.

use std::time::{Duration, Instant};

/// What a listener was made to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// From the start of a stream, or its first appended text, to its first audio on the way.
    FirstAudio(Duration),
    /// The silence in front of another sentence, which may be none.
    Gap(Duration),
}

/// Follows one stream. A listener who is made to wait by himself, by a pause or by text that he
/// has yet to append, has waited for nobody.
#[derive(Debug)]
pub(super) struct Ear {
    /// Since when there is something to wait for, before the first audio.
    waits_since: Option<Instant>,
    /// Whether the first audio is past, or was held up by the listener himself.
    has_begun: bool,
    /// When everything that was sent is played, unless he has stopped listening since.
    dry_at: Option<Instant>,
    /// The next audio is the first of a sentence.
    is_between: bool,
    /// The text comes piece by piece from the client.
    is_appended: bool,
}

impl Ear {
    pub(super) fn new(began: Instant, is_appended: bool) -> Ear {
        let waits_since = (!is_appended).then_some(began);
        Ear { waits_since, has_begun: false, dry_at: None, is_between: false, is_appended }
    }

    /// Text was appended.
    pub(super) fn on_text(&mut self, now: Instant) {
        if !self.has_begun {
            self.waits_since.get_or_insert(now);
        }
    }

    /// A sentence was announced.
    pub(super) fn on_sentence(&mut self) {
        self.is_between = true;
    }

    /// Audio of this length is on the way.
    pub(super) fn on_audio(&mut self, now: Instant, length: Duration) -> Option<Heard> {
        let is_first_of_sentence = std::mem::replace(&mut self.is_between, false);
        let heard = match (self.waits_since.take(), self.dry_at) {
            (Some(since), _) => Some(Heard::FirstAudio(now.saturating_duration_since(since))),
            (None, Some(dry_at)) if is_first_of_sentence && !self.is_appended => {
                Some(Heard::Gap(now.saturating_duration_since(dry_at)))
            }
            _ => None,
        };
        self.has_begun = true;
        self.dry_at = Some(self.dry_at.map_or(now, |dry_at| dry_at.max(now)) + length);
        heard
    }

    /// The listener stopped listening, or what he was listening to.
    pub(super) fn on_interruption(&mut self) {
        self.has_begun = true;
        self.waits_since = None;
        self.dry_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::Heard::{FirstAudio, Gap};
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn silence_is_what_is_left_once_everything_was_played() {
        let began = Instant::now();
        let mut ear = Ear::new(began, false);
        let mut hear = |at: u64, is_first: bool, length: u64| {
            if is_first {
                ear.on_sentence();
            }
            ear.on_audio(began + ms(at), ms(length))
        };
        assert_eq!(hear(30, true, 100), Some(FirstAudio(ms(30))));
        // More of the sentence, which is late: that is no silence between two.
        assert_eq!(hear(200, false, 100), None);
        assert_eq!(hear(250, true, 50), Some(Gap(ms(0))), "in time");
        assert_eq!(hear(251, false, 50), None);
        assert_eq!(hear(425, true, 100), Some(Gap(ms(25))), "everything was played at 400");
        assert_eq!(hear(525, true, 100), Some(Gap(ms(0))));
    }

    #[test]
    fn nobody_is_waited_for_who_makes_himself_wait() {
        let began = Instant::now();
        let mut ear = Ear::new(began, false);
        ear.on_interruption();
        ear.on_sentence();
        assert_eq!(ear.on_audio(began + ms(900), ms(10)), None, "held at its start");
        ear.on_sentence();
        ear.on_interruption();
        assert_eq!(ear.on_audio(began + ms(1_900), ms(10)), None, "paused");
        ear.on_sentence();
        assert_eq!(ear.on_audio(began + ms(1_905), ms(10)), Some(Gap(ms(0))));

        let mut ear = Ear::new(began, true);
        ear.on_text(began + ms(100));
        ear.on_text(began + ms(120));
        ear.on_sentence();
        assert_eq!(ear.on_audio(began + ms(150), ms(10)), Some(FirstAudio(ms(50))));
        ear.on_text(began + ms(500));
        ear.on_sentence();
        assert_eq!(ear.on_audio(began + ms(520), ms(10)), None, "the text came late");
    }
}
