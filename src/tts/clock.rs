//! Times of the words of an utterance, piece by piece.

use super::{Sink, Word};
use std::ops::Range;
use std::time::Duration;

/// Shortest time of a word.
const SHORTEST: Duration = Duration::from_millis(20);

/// Reports the times of the words of an utterance, piece by piece.
pub(super) struct Clock {
    sample_rate: u32,
    /// Samples of the pieces before this one.
    delivered: u64,
    /// Written word of each token of this piece.
    words: Vec<Range<usize>>,
    /// Written words of this piece that have a sound, with start and end in seconds.
    spans: Vec<(Range<usize>, f32, f32)>,
    /// True if this piece ends inside a word.
    is_cut_in_word: bool,
    /// Word whose end is not known yet.
    open: Option<Word>,
}

impl Clock {
    pub(super) fn new(sample_rate: u32) -> Clock {
        Clock {
            sample_rate,
            delivered: 0,
            words: Vec::new(),
            spans: Vec::new(),
            is_cut_in_word: false,
            open: None,
        }
    }

    /// Starts a piece with the written word of each of its tokens. `next` is the position of the next
    /// piece in the text.
    pub(super) fn start_piece(&mut self, words: Vec<Range<usize>>, next: Option<usize>) {
        self.is_cut_in_word = words.last().zip(next).is_some_and(|(word, next)| next < word.end);
        self.words = words;
    }

    /// Takes the times of the words of a piece: start and end of each token in seconds, or `None` for a
    /// token without a sound.
    pub(super) fn place(&mut self, span: impl Fn(usize) -> Option<(f32, f32)>) {
        let words = std::mem::take(&mut self.words).into_iter().enumerate();
        let spans = words.filter_map(|(n, text_range)| span(n).map(|(start, end)| (text_range, start, end)));
        self.spans = spans.collect();
    }

    /// Reports the words of a piece, once it is known how many samples were cut in front of it. If the samples of
    /// silence that were kept are given, the first word begins behind them at the latest. The last word follows
    /// later: it ends with the last sound.
    pub(super) fn report(&mut self, cut: usize, lead: Option<usize>, sink: &mut Sink) {
        let mut known = Vec::new();
        let mut latest = lead.map(|lead| self.duration(self.delivered + lead as u64));
        let mut earliest = Duration::ZERO;
        for (text_range, start, end) in std::mem::take(&mut self.spans) {
            let start = self.time(start, cut).min(latest.take().unwrap_or(Duration::MAX)).max(earliest);
            // A word that was planned where nothing sounds yet takes some time of the next one.
            let end = self.time(end, cut).max(start + SHORTEST);
            earliest = end;
            match &mut self.open {
                Some(open) if open.text_range == text_range => open.end = end,
                open => known.extend(open.replace(Word { text_range, start, end })),
            }
        }
        sink.words(known);
    }

    /// Converts a time in the piece's analysis, in seconds, to a time in the utterance.
    fn time(&self, seconds: f32, cut: usize) -> Duration {
        let sample = (f64::from(seconds) * f64::from(self.sample_rate)) as u64;
        self.duration(self.delivered + sample.saturating_sub(cut as u64))
    }

    fn duration(&self, samples: u64) -> Duration {
        Duration::from_nanos(samples * 1_000_000_000 / u64::from(self.sample_rate))
    }

    /// Ends a piece of this many samples.
    ///
    /// The last one that can be heard is number `audible`.
    pub(super) fn advance(&mut self, samples: usize, audible: usize, sink: &mut Sink) {
        let heard = self.duration(self.delivered + audible as u64);
        self.delivered += samples as u64;
        let end = self.duration(self.delivered);
        if let Some(open) = &mut self.open {
            open.start = open.start.min(end);
            open.end = open.end.min(heard.max(open.start + SHORTEST)).min(end);
        }
        if !self.is_cut_in_word {
            sink.words(self.open.take().into_iter().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tts::flite::tests::{FLITE, FOX, PCM, STELLA, said, sample, samples_and_words};
    use crate::tts::reading::spelling::Plain;
    use crate::tts::reading::tests::cut;
    use crate::tts::testing::pieces;
    use crate::tts::{Piece, Synthesizer, Utterance, Word};
    use std::ops::Range;
    use std::time::Duration;

    /// Returns samples and words, and checks that the words are in order, within the audio and audible.
    async fn words_at(text: &str, speed: f32) -> (Vec<i16>, Vec<Word>) {
        let (samples, words) = samples_and_words(Utterance { speed, ..Utterance::new(text, PCM) }).await;
        let (mut byte, mut time) = (0, Duration::ZERO);
        for Word { text_range, start, end } in &words {
            let word = &text[text_range.clone()];
            assert!(byte <= text_range.start && time <= *start && start < end, "{word}: {words:?}");
            assert!(sample(*end) <= samples.len(), "{word} in {text}");
            let sound = samples[sample(*start)..sample(*end)].iter().map(|s| s.unsigned_abs()).max();
            assert!(sound > Some(3_000), "{word} in {text} at {speed}: {sound:?}");
            (byte, time) = (text_range.end, *end);
        }
        (samples, words)
    }

    fn time(samples: usize) -> Duration {
        Duration::from_secs_f64(samples as f64 / 16_000.0)
    }

    #[tokio::test]
    async fn words_are_the_written_ones_that_have_a_sound() {
        let cases: &[(&str, &[&str])] = &[
            ("Hello.", &["Hello."]),
            ("Good evening.", &["Good", "evening."]),
            (" \n Good\n\tevening. ", &["Good", "evening."]),
            ("It costs $37.50, Dr. Sato said.", &["It", "costs", "$37.50,", "Dr.", "Sato", "said."]),
            ("About 1,234.5 km away.", &["About", "1,234.5", "km", "away."]),
            ("At 10:30 a.m. sharp.", &["At", "10:30", "a.m.", "sharp."]),
            ("In 1984, 37% of them left.", &["In", "1984,", "37%", "of", "them", "left."]),
            ("A café—naïve… you see.", &["A", "café—naïve…", "you", "see."]),
            ("“Quoted” text, ‘said’ he.", &["“Quoted”", "text,", "‘said’", "he."]),
            ("Write to jane.doe@example.com now.", &["Write", "to", "jane.doe@example.com", "now."]),
            ("The U.S. is big.", &["The", "U.S.", "is", "big."]),
            ("On the 2nd of May.", &["On", "the", "2nd", "of", "May."]),
            ("A well-known fact.", &["A", "well-known", "fact."]),
            ("A well‑known fact.", &["A", "well‑known", "fact."]),
            ("Hello 😀 there 👩\u{200d}🚀 friend.", &["Hello", "there", "friend."]),
            ("Say שלום and مرحبا to all.", &["Say", "and", "to", "all."]),
            ("日本 means Japan, 語 language.", &["means", "Japan,", "language."]),
            ("Tea 日本語", &["Tea"]),
            ("No — wait – what?", &["No", "wait", "what?"]),
            ("Yes?—No!", &["Yes?—No!"]),
            ("wait—what? Stop.", &["wait—what?", "Stop."]),
            ("Don’t! It’s Jane's.", &["Don’t!", "It’s", "Jane's."]),
            ("(Or [so] {they} say.)", &["(Or", "[so]", "{they}", "say.)"]),
            ("Call 555-123-4567 or 555 1234.", &["Call", "555-123-4567", "or", "555", "1234."]),
            ("Pay $5 million & 3/4 of £2.", &["Pay", "$5", "million", "&", "3/4", "of", "£2."]),
            ("Straße, Øre\u{a0}œuvre, Zoë.", &["Straße,", "Øre", "œuvre,", "Zoë."]),
            ("e\u{301}te\u{301} over.", &["e\u{301}te\u{301}", "over."]),
            ("One\u{b}two\u{c}three\u{85}four.", &["One", "two", "three", "four."]),
            ("NATO, the BBC and USB.", &["NATO,", "the", "BBC", "and", "USB."]),
            ("\"... and so?\" ... \" yes", &["and", "so?\"", "yes"]),
            ("Henry VIII had 5kg.", &["Henry", "VIII", "had", "5kg."]),
            ("See https://example.com/a_b?c=1 there.", &["See", "https://example.com/a_b?c=1", "there."]),
            ("Pi is 3.14159, x = y + 2.", &["Pi", "is", "3.14159,", "x", "=", "y", "+", "2."]),
        ];
        for (text, expected) in cases {
            let (_, words) = words_at(text, 1.0).await;
            let words: Vec<&str> = words.into_iter().map(|word| &text[word.text_range]).collect();
            assert_eq!(words, *expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn words_are_reported_only_on_request_and_do_not_change_the_audio() {
        for text in [STELLA, "No — wait…"] {
            let (samples, words) = samples_and_words(Utterance::new(text, PCM)).await;
            assert_eq!(samples, said(text).await);
            assert_eq!((samples, words), samples_and_words(Utterance::new(text, PCM)).await);
        }
    }

    #[tokio::test]
    async fn words_come_before_their_audio() {
        let utterance = Utterance { has_word_times: true, ..Utterance::new(FOX, PCM) };
        let (spoken, _) = pieces(FLITE.speak(utterance)).await;
        assert!(matches!(&spoken[0], Piece::Words(words) if words.len() == 8), "all but the last");
        let reports = spoken.iter().filter(|piece| matches!(piece, Piece::Words(_))).count();
        assert_eq!(reports, 2);
    }

    /// Ranges in which the audio is silent for at least this long, to 10 ms.
    fn silences(samples: &[i16], at_least: Duration) -> Vec<Range<Duration>> {
        let quiet = |block: &[i16]| block.iter().all(|s| s.unsigned_abs() < 300);
        let quiet: Vec<bool> = samples.chunks(160).map(quiet).collect();
        let runs = quiet.chunk_by(|a, b| a == b).scan(0, |blocks, run| {
            let start = *blocks;
            *blocks += run.len();
            Some((run[0], time(start * 160)..time(*blocks * 160)))
        });
        runs.filter(|(quiet, run)| *quiet && run.end - run.start >= at_least).map(|(_, run)| run).collect()
    }

    #[tokio::test]
    async fn pauses_are_between_words() {
        const NEAR: Duration = Duration::from_millis(60);
        // No word begins with a stop, because the closure of a stop is silent too.
        let texts = [
            "Yes, no, maybe, and so on.",
            "Nine, eleven. Seven, none. Eleven, more, all.",
            "However, many of them, as all know, are gone; others remain: Mary, Anna, and Lily.",
            "In May, 1984, 30 men, all on mules, rode home — slowly.",
            "Oh, I see! Really? Yes, really, my lord.",
        ];
        let mut found = 0;
        for text in texts {
            // At slower speeds, soft sounds are almost silent for longer than this.
            for speed in [1.0, 1.5, 2.0] {
                let (samples, words) = words_at(text, speed).await;
                let whole = time(samples.len());
                let starts = words.iter().map(|word| word.start).chain([whole]);
                let ends = [Duration::ZERO].into_iter().chain(words.iter().map(|word| word.end));
                let gaps: Vec<Range<Duration>> = ends.zip(starts).map(|(end, start)| end..start).collect();
                let silences = silences(&samples, Duration::from_millis(80));
                for silence in &silences {
                    let holds = |gap: &Range<Duration>| {
                        gap.start <= silence.start + NEAR && silence.end <= gap.end + NEAR
                    };
                    assert!(gaps.iter().any(holds), "{silence:?} of {text} at {speed}: {words:?}");
                }
                // Audio outside of words is silent.
                for gap in gaps.iter().filter(|gap| gap.end - gap.start > 2 * NEAR) {
                    let inner = &samples[sample(gap.start + NEAR)..sample(gap.end - NEAR)];
                    assert!(inner.iter().all(|s| s.unsigned_abs() < 2_000), "{gap:?} of {text} at {speed}");
                }
                found += silences.len();
            }
        }
        assert!(found > 60, "only {found} pauses");
    }

    #[tokio::test]
    async fn times_scale_with_the_speed() {
        let (_, words) = words_at(FOX, 1.0).await;
        for speed in [0.5, 2.0] {
            let (_, scaled) = words_at(FOX, speed).await;
            assert_eq!(scaled.len(), words.len());
            // The first word is skipped: its softest part is cut together with the silence.
            for (word, scaled) in words.iter().zip(scaled).skip(1) {
                assert_eq!(scaled.text_range, word.text_range);
                let ratio = (scaled.end - scaled.start).as_secs_f64() / (word.end - word.start).as_secs_f64();
                assert!((ratio * f64::from(speed) - 1.0).abs() < 0.01, "{word:?} takes {ratio} at {speed}");
            }
        }
    }

    #[tokio::test]
    async fn words_continue_from_piece_to_piece() {
        // Three sentences, then one that is cut in the middle.
        let long = "and some more, ".repeat(60);
        for text in [[STELLA; 3].join("\n"), long.clone() + "— the end", "word ".repeat(120)] {
            let (samples, words) = words_at(&text, 1.0).await;
            let all: Vec<&str> = words.iter().map(|word| &text[word.text_range.clone()]).collect();
            assert_eq!(all, text.split_whitespace().filter(|word| *word != "—").collect::<Vec<_>>());
            let last = words.last().expect("words");
            let tail = time(samples.len()) - last.end;
            assert!(tail < Duration::from_millis(120), "{tail:?} after {last:?}");
        }
        assert!(cut(&long).len() > 1);
    }

    #[tokio::test]
    async fn a_word_in_several_pieces_is_reported_once() {
        let dashes = "Go! Yes?—No!—".to_owned() + &"word—".repeat(200) + "end";
        for text in [dashes, "Hi ".to_owned() + &"a".repeat(250) + "…b", "1".repeat(500) + "日 2"] {
            assert!(cut(&Plain::new(&text).text).len() > 1);
            let (samples, words) = words_at(&text, 1.0).await;
            let all: Vec<&str> = words.iter().map(|word| &text[word.text_range.clone()]).collect();
            assert_eq!(all, text.split_whitespace().collect::<Vec<_>>());
            assert!(
                words.last().is_some_and(|last| time(samples.len()) - last.end < Duration::from_millis(130))
            );
        }
    }
}
