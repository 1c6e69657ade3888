//! The limit on what is sent to a client before it has shown that it has read it.
//!
//! Kernels and proxies on the way take megabytes at once. For a client that reads slowly, everything behind that
//! comes late: its own pings, and the answer to `pause` and `cancel`. So the server asks with a ping now and
//! then, and the pong tells how long the way is. The window grows while the answers are quick and shrinks when
//! they are late, so that little is on the way to a slow client, and as much as it can take to a fast one. It
//! never grows beyond some seconds of speech: a client that reads fast, until its player has enough, and then at
//! the pace of speech gets its answers before it gives up on the connection.
//!
//! An answer is late by what it takes beyond the round trip, and speech for a round trip is on the way beside all
//! else: a long way alone starves no client. Until the first answer comes, the round trip is as long as it has
//! been waited for.

use crate::audio::Format;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The window at first, and the smallest one: this much speech, within these bytes.
const LEAST: Duration = Duration::from_secs(4);
const LEAST_BYTES: RangeInclusive<u64> = 32 * 1024..=128 * 1024;

/// The largest window: this much speech, within these bytes. Common clients give up on a connection whose answer
/// to their own ping takes 20 s.
const MOST: Duration = Duration::from_secs(10);
const MOST_BYTES: RangeInclusive<u64> = 64 * 1024..=1024 * 1024;

/// An answer that takes no more than this beyond the round trip is quick: the window doubles.
const QUICK: Duration = Duration::from_millis(400);

/// An answer that takes more than this beyond the round trip is late: the window halves.
const LATE: Duration = Duration::from_millis(1_000);

/// The longest round trip: an answer that took longer waited behind something.
const MOST_ROUND_TRIP: Duration = Duration::from_secs(6);

/// RFC 6455 §5.5.2 demands a pong, but not every client sends one. Speech for as long as the first answer is
/// waited for may be on the way, and as much again after this time, thrice as much after the double, and so on: a
/// client that will answer after all is not flooded, and one that never does has each text long before its end.
const PATIENCE: Duration = Duration::from_secs(4);

/// The client is asked at least as often as this. A quick one may be slow from now on, and then the next answer is
/// all that tells that it reads: one that reads 2.2 KiB/s answers within 30 s. A little less than a write, so that none
/// is cut for it.
const MOST_STEP: u64 = 60 * 1024;

/// The same for a client that has just answered at once: each answer costs the server a read. It is no more than half
/// the largest window, so one that reads at the pace of speech from now on answers within seconds.
const MOST_STEP_AT_ONCE: u64 = 4 * MOST_STEP;

/// An answer that takes no more than this came at once.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Time after which a client is asked again while all else waits for its answer: the last one may be lost.
const AGAIN: Duration = Duration::from_secs(2);

/// Share of the window after which a client is asked again whose last answer was late: often enough to see that it
/// reads.
const OFTEN: u64 = 8;

/// The window of one stream on one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    format: Format,
    least: u64,
    most: u64,
    bytes: u64,
    /// The oldest question without an answer: its offset, and when it was asked.
    asked: Option<(u64, Instant)>,
    /// When the client was last asked.
    last_asked: Option<Instant>,
    has_answered: bool,
    /// The quickest answer: the way there and back without what waits on it. The first question stands before the
    /// audio.
    round_trip: Option<Duration>,
    /// The last answer was not late, and not the first one.
    is_prompt: bool,
    /// The last answer came at once, and was not the first one.
    is_at_once: bool,
    /// When the client was asked with no question open, or gave an answer.
    moved_at: Option<Instant>,
}

impl Window {
    pub(super) fn new(format: Format) -> Window {
        let within =
            |time, bytes: RangeInclusive<u64>| format.bytes(time).clamp(*bytes.start(), *bytes.end());
        let (least, most) = (within(LEAST, LEAST_BYTES), within(MOST, MOST_BYTES));
        Window {
            least,
            most,
            bytes: least,
            asked: None,
            last_asked: None,
            has_answered: false,
            round_trip: None,
            format,
            is_prompt: false,
            is_at_once: false,
            moved_at: None,
        }
    }

    /// Bytes that may be on the way now. At least two frames fit.
    pub(super) fn bytes(&self, frame_bytes: usize, now: Instant) -> u64 {
        self.fixed_bytes(frame_bytes) + self.waits_from().map_or(0, |since| self.grown(now - since))
    }

    /// The part of it that does not grow with the time.
    pub(super) fn fixed_bytes(&self, frame_bytes: usize) -> u64 {
        self.bytes.max(2 * frame_bytes as u64)
    }

    /// When so many bytes may be on the way: `Some` moment from which on they may, `None` if an answer has to come
    /// first.
    pub(super) fn reaches(&self, bytes: u64, frame_bytes: usize) -> Option<Instant> {
        let since = self.waits_from()?;
        let lacks = self.format.duration(bytes.saturating_sub(self.fixed_bytes(frame_bytes))).as_secs_f64();
        let patience = PATIENCE.as_secs_f64();
        // What `grown` says, solved for the time.
        let seconds = patience / 2.0 * ((1.0 + 4.0 * lacks / patience).sqrt() - 1.0);
        Some(since + Duration::from_secs_f64(seconds))
    }

    /// Since when the first answer is waited for.
    fn waits_from(&self) -> Option<Instant> {
        self.asked.filter(|_| !self.has_answered).map(|(_, since)| since)
    }

    /// Bytes by which the window has grown when the first answer was waited for so long.
    fn grown(&self, waited: Duration) -> u64 {
        self.format.bytes(waited + waited.mul_f64(waited.as_secs_f64() / PATIENCE.as_secs_f64()))
    }

    /// Bytes sent after which the client is asked again.
    pub(super) fn step(&self) -> u64 {
        match self.is_prompt {
            true => (self.bytes / 2).min(if self.is_at_once { MOST_STEP_AT_ONCE } else { MOST_STEP }),
            false => (self.bytes / OFTEN).min(MOST_STEP),
        }
    }

    /// True once the client was asked.
    pub(super) fn has_asked(&self) -> bool {
        self.last_asked.is_some()
    }

    /// True once the client has answered.
    pub(super) fn answers(&self) -> bool {
        self.has_answered
    }

    /// When to ask once more if there is no answer by then, and nothing else can be sent.
    pub(super) fn asks_again_at(&self) -> Option<Instant> {
        self.last_asked.map(|at| at + AGAIN)
    }

    /// Since when the next answer is due of a client that has answered before, if a question is open.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.moved_at.filter(|_| self.has_answered)
    }

    /// Notes a question behind this offset.
    pub(super) fn ask(&mut self, offset: u64, now: Instant) {
        self.last_asked = Some(now);
        self.moved_at.get_or_insert(now);
        self.asked.get_or_insert((offset, now));
    }

    /// Notes the answer that the client has everything before this offset. `is_open` is true if it was asked
    /// about a later one as well, and `is_news` if it has more than it said before.
    pub(super) fn answer(&mut self, offset: u64, is_open: bool, is_news: bool, now: Instant) {
        if !is_open {
            self.moved_at = None;
        } else if is_news || !self.has_answered {
            // The first answer is news whatever it says: until then none was due.
            self.moved_at = Some(now);
        }
        let Some((_, since)) = self.asked.filter(|(asked, _)| *asked <= offset) else { return };
        self.asked = None;
        let wait = now.saturating_duration_since(since);
        if wait <= MOST_ROUND_TRIP {
            self.round_trip = Some(self.round_trip.map_or(wait, |known| known.min(wait)));
        }
        let round_trip = self.round_trip.unwrap_or_default();
        self.is_at_once = wait <= AT_ONCE;
        let wait = wait.saturating_sub(round_trip);
        self.is_prompt = wait <= LATE;
        // Speech for the time of a round trip is always on the way.
        let least = (self.least + self.format.bytes(round_trip)).min(self.most);
        // The first answer is about too little to tell how fast the client reads.
        if !std::mem::replace(&mut self.has_answered, true) {
            self.is_prompt = false;
            self.bytes = least;
        } else if wait <= QUICK {
            self.bytes = (self.bytes * 2).min(self.most);
        } else if !self.is_prompt {
            self.bytes = (self.bytes / 2).max(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;

    const KIB: u64 = 1024;
    const FORMAT: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
    const LEAST: u64 = 64_000;
    const MOST: u64 = 160_000;

    impl Window {
        /// Bytes that may be on the way however long it takes.
        fn fixed(&self) -> u64 {
            self.fixed_bytes(1)
        }
    }

    #[test]
    fn the_window_is_some_seconds() {
        for (encoding, sample_rate_hz, bytes, most) in [
            (Encoding::MuLaw, 8_000, 32 * KIB, 80_000),
            (Encoding::PcmS16le, 8_000, 64_000, 160_000),
            (Encoding::PcmS16le, 16_000, 128_000, 320_000),
            (Encoding::PcmS16le, 48_000, 128 * KIB, 960_000),
        ] {
            let mut window = Window::new(Format { encoding, sample_rate_hz });
            assert_eq!((window.fixed(), window.step()), (bytes, bytes / 8));
            (0..9).for_each(|n| answered(&mut window, n, Instant::now(), 1));
            assert_eq!((window.fixed(), window.step()), (most, (most / 2).min(240 * KIB)));
            answered(&mut window, 9, Instant::now(), 50);
            assert_eq!(window.step(), (most / 2).min(240 * KIB), "that was at once");
            answered(&mut window, 10, Instant::now(), 51);
            assert_eq!((window.fixed(), window.step()), (most, (most / 2).min(60 * KIB)));
        }
    }

    fn answered(window: &mut Window, offset: u64, now: Instant, wait_ms: u64) {
        window.ask(offset, now);
        window.answer(offset, false, true, now + Duration::from_millis(wait_ms));
    }

    #[test]
    fn quick_answers_widen_the_window_and_late_ones_narrow_it() {
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        answered(&mut window, 0, now, 0);
        assert_eq!((window.fixed(), window.step()), (LEAST, LEAST / 8), "the first answer tells little");
        for n in 1..=6 {
            answered(&mut window, n, now, 400);
        }
        assert_eq!((window.fixed(), window.step()), (MOST, 60 * KIB));
        answered(&mut window, 7, now, 401);
        answered(&mut window, 8, now, 1_000);
        assert_eq!(window.fixed(), MOST);
        answered(&mut window, 9, now, 1_001);
        assert_eq!(window.fixed(), MOST / 2);
        for n in 10..20 {
            answered(&mut window, n, now, 5_000);
        }
        assert_eq!(window.fixed(), LEAST);
        assert_eq!(window.fixed_bytes(65_536), 128 * KIB, "two frames fit");
    }

    #[test]
    fn an_answer_is_late_by_what_it_takes_beyond_the_round_trip() {
        for (round_trip_ms, quick, late) in
            [(0, 400, 1_001), (1_400, 1_800, 2_401), (3_000, 3_400, 4_001), (6_000, 6_400, 7_001)]
        {
            let (mut window, now) = (Window::new(FORMAT), Instant::now());
            answered(&mut window, 0, now, round_trip_ms);
            for n in 1..=2 {
                answered(&mut window, n, now, quick);
            }
            assert_eq!(window.fixed(), MOST, "{round_trip_ms} ms: {quick} ms are quick");
            answered(&mut window, 3, now, late - 1);
            assert_eq!(window.fixed(), MOST, "{round_trip_ms} ms: {} ms are not late", late - 1);
            answered(&mut window, 4, now, late);
            let least = (LEAST + 16 * round_trip_ms).min(MOST);
            assert_eq!(window.fixed(), least.max(MOST / 2), "{round_trip_ms} ms: {late} ms are late");
        }
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        answered(&mut window, 0, now, 6_001);
        answered(&mut window, 1, now, 401);
        assert_eq!(window.fixed(), LEAST * 2, "that was no round trip, and this one is");
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        answered(&mut window, 0, now, 2_000);
        answered(&mut window, 1, now, 10);
        answered(&mut window, 2, now, 1_010);
        assert_eq!(window.fixed(), MOST);
        answered(&mut window, 3, now, 1_011);
        assert_eq!(window.fixed(), MOST / 2, "the quickest answer counts");
    }

    #[test]
    fn until_the_first_answer_the_window_grows_with_the_time() {
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!((window.bytes(1, at(9)), window.reaches(LEAST, 1)), (LEAST, None), "it was not asked");
        window.ask(0, now);
        window.ask(9, at(500));
        for (ms, speech_ms) in [(0, 0), (1_000, 1_250), (4_000, 8_000), (8_000, 24_000), (60_000, 960_000)] {
            let bytes = LEAST + 16 * speech_ms;
            assert_eq!(window.bytes(1, at(ms)), bytes);
            let reached = window.reaches(bytes, 1).unwrap();
            assert!(reached.max(at(ms)) - reached.min(at(ms)) < Duration::from_millis(1), "{ms} ms");
        }
        window.answer(0, true, true, at(1_000));
        assert_eq!((window.bytes(1, at(9_000)), window.reaches(LEAST * 2, 1)), (LEAST + 16_000, None));
    }

    #[test]
    fn the_oldest_question_is_the_one_that_is_timed() {
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        window.ask(100, now);
        window.ask(200, now + Duration::from_secs(2));
        window.answer(50, true, true, now + Duration::from_millis(1));
        assert!(!window.answers(), "that is no answer to it");
        window.answer(200, false, true, now + Duration::from_millis(2_001));
        let round_trip = FORMAT.bytes(Duration::from_millis(2_001));
        assert_eq!((window.answers(), window.fixed()), (true, LEAST + round_trip));
    }

    #[test]
    fn the_time_for_the_next_answer_begins_with_the_first_one() {
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        let later = now + Duration::from_secs(90);
        window.ask(0, now);
        window.ask(100, now);
        assert_eq!(window.waits_since(), None);
        window.answer(0, true, false, later);
        assert_eq!(window.waits_since(), Some(later));
    }

    #[test]
    fn a_slow_client_is_asked_often_and_each_answer_shows_that_it_reads() {
        let (mut window, now) = (Window::new(FORMAT), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        (1..=8).for_each(|n| window.ask(n * LEAST / 8, now));
        assert_eq!((window.step(), window.waits_since()), (LEAST / 8, None));
        for n in 1..8 {
            window.answer(n * LEAST / 8, true, true, at(n * 9));
            assert_eq!((window.step(), window.waits_since()), (LEAST / 8, Some(at(n * 9))));
        }
        window.answer(LEAST / 8, true, false, at(90));
        assert_eq!(window.waits_since(), Some(at(63)), "that was known");
        window.answer(LEAST, false, true, at(91));
        assert_eq!(window.waits_since(), None);
        window.ask(LEAST * 2, at(100));
        assert_eq!(window.waits_since(), Some(at(100)));
        window.answer(LEAST * 2, false, true, at(101));
        assert_eq!(window.step(), 60 * KIB, "it is prompt now: this is the round trip");
    }
}
