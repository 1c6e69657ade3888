//! The time at which each word is spoken: the type for it, and an estimate for engines that report none.
//!
//! A written word is a run without white space, punctuation included: "$37.50," is one. A client can find the
//! same words in a text without knowing their pronunciation.

use crate::text::is_ideographic;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// A written word, and the time at which it is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Range of the word in the utterance's text, in bytes.
    pub text_range: Range<usize>,
    /// Start of the word in the utterance's audio, as delivered.
    pub start: Duration,
    /// End of the word in the audio: not before `start`, and not after the end of the audio.
    pub end: Duration,
}

impl Word {
    /// The word in audio that begins so much later.
    pub(crate) fn later(self, by: Duration) -> Word {
        Word { start: self.start + by, end: self.end + by, ..self }
    }
}

/// Returns the written words of a text, as ranges of bytes.
pub(crate) fn written(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.split_whitespace().map(|word| {
        // A slice of the text: the distance of the pointers is its position.
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        start..start + word.len()
    })
}

/// Durations, in letters of an ordinary word.
const DIGIT: u64 = 4;
const SPELLED_LETTER: u64 = 3;
const IDEOGRAPH: u64 = 3;
const SIGN: u64 = 6;

/// Duration of every word besides its letters: short words take longer per letter.
const WORD: u64 = 1;

/// Pauses after a clause and after a sentence.
const CLAUSE: u64 = 4;
const SENTENCE: u64 = 8;

/// Estimates the time of each word from the text and the duration of its audio.
///
/// The time is divided among the words by their letters, with more for digits, signs and spelled words, and
/// with pauses after punctuation. Within a sentence, the estimate is usually less than a word off. It ignores
/// silence at the ends: the first word starts at 0, the last one ends with the audio. Words without a sound, such
/// as emoji, are left out. In Chinese and Japanese, every character is a word.
pub(crate) fn estimate(text: &str, duration: Duration) -> Vec<Word> {
    let mut sounds: Vec<Sound> = Vec::new();
    for part in written(text).flat_map(|word| characters(text, word)) {
        let sound = Sound::of(&text[part.clone()], part);
        match sounds.last_mut() {
            Some(last) if sound.length == 0 => last.pause = last.pause.max(sound.pause),
            None if sound.length == 0 => {}
            _ => sounds.push(sound),
        }
    }
    if let Some(last) = sounds.last_mut() {
        last.pause = 0;
    }
    let whole: u64 = sounds.iter().map(|sound| sound.length + sound.pause).sum();
    let time = |part: u64| {
        let nanos = duration.as_nanos() / u128::from(whole) * u128::from(part)
            + duration.as_nanos() % u128::from(whole) * u128::from(part) / u128::from(whole);
        // A part is at most the whole, so its seconds fit.
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    };
    let mut at = 0;
    let timed = sounds.into_iter().map(|sound| {
        let (start, end) = (at, at + sound.length);
        at = end + sound.pause;
        Word { text_range: sound.text_range, start: time(start), end: time(end) }
    });
    timed.collect()
}

/// Returns the parts of a written word: the word itself, but one part for each ideograph.
fn characters(text: &str, word: Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = word.start;
    // `Some` once the part has a sound; true if that is an ideograph.
    let mut last = None;
    for (at, c) in text[word.clone()].char_indices().filter(|(_, c)| c.is_alphanumeric()) {
        let ideographic = is_ideographic(c);
        if last.is_some_and(|last| last || ideographic) {
            parts.push(start..word.start + at);
            start = word.start + at;
        }
        last = Some(ideographic);
    }
    parts.push(start..word.end);
    parts
}

/// Duration of a part of a text, and the pause after it.
struct Sound {
    text_range: Range<usize>,
    length: u64,
    pause: u64,
}

impl Sound {
    fn of(part: &str, text_range: Range<usize>) -> Sound {
        let letters = part.chars().filter(|c| c.is_alphabetic()).count();
        // "NATO" may be a word, but "USB" is more common.
        let spelled = letters > 1 && letters <= 5 && !part.chars().any(char::is_lowercase);
        let mut length = 0;
        for c in part.chars() {
            length += match c {
                _ if c.is_numeric() => DIGIT,
                '%' | '&' | '+' | '=' | '@' | '#' | '$' | '€' | '£' => SIGN,
                _ if is_ideographic(c) && c.is_alphabetic() => IDEOGRAPH,
                _ if spelled && c.is_uppercase() => SPELLED_LETTER,
                _ if c.is_alphabetic() => 1,
                _ => 0,
            };
        }
        if length > 0 {
            length += WORD;
        }
        let body = part.trim_end_matches(|c: char| !c.is_alphanumeric());
        let pause = part[body.len()..].chars().map(|mark| match mark {
            // A short word with a full stop is an abbreviation, such as "Dr.".
            '.' if letters <= 3 || body.contains('.') => 0,
            '.' | '!' | '?' | '…' | '。' | '！' | '？' => SENTENCE,
            ',' | ';' | ':' | '—' | '–' | '-' | ')' | '，' | '、' | '；' | '：' => CLAUSE,
            _ => 0,
        });
        Sound { text_range, length, pause: pause.max().unwrap_or(0) }
    }
}

/// Converts ranges of bytes into ranges of UTF-16 code units, which most clients use.
///
/// Ranges begin and end between characters. Time is linear in the text if the ranges are in order; a range that
/// begins before the end of the last one costs as much as the text before it.
pub(crate) fn utf16_ranges(text: &str, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut rest, mut bytes, mut units) = (text.chars(), 0, 0);
    let mut unit_at = |at: usize| {
        if at < bytes {
            (rest, bytes, units) = (text.chars(), 0, 0);
        }
        while bytes < at {
            let Some(c) = rest.next() else { break };
            bytes += c.len_utf8();
            units += c.len_utf16();
        }
        units
    };
    ranges.iter().map(|range| unit_at(range.start)..unit_at(range.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const FOX: &str = "The quick brown fox jumps over the lazy dog.";

    /// Returns the words of an estimate, and checks the rules that every estimate follows.
    fn estimated(text: &str, duration: Duration) -> Vec<&str> {
        let words = estimate(text, duration);
        let mut at = Duration::ZERO;
        let mut byte = 0;
        for word in &words {
            assert!(at <= word.start && word.start <= word.end, "{text}: {words:?}");
            assert!(byte <= word.text_range.start && word.text_range.start < word.text_range.end, "{text}");
            (at, byte) = (word.end, word.text_range.end);
        }
        if let (Some(first), Some(last)) = (words.first(), words.last()) {
            assert_eq!((first.start, last.end), (Duration::ZERO, duration), "{text}");
        }
        words.into_iter().map(|word| &text[word.text_range]).collect()
    }

    #[test]
    fn words_are_separated_by_white_space() {
        for text in ["", "  ", "one", " “One”,\ttwo —\u{a0}three.\u{3000}四 \n", "a\u{b}b\u{c}c\u{200b}d"]
        {
            let words: Vec<&str> = written(text).map(|word| &text[word]).collect();
            assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
        }
    }

    #[test]
    fn estimate_covers_the_words_with_a_sound() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \n", &[]),
            ("— … 😀", &[]),
            ("Hello.", &["Hello."]),
            ("Good evening.", &["Good", "evening."]),
            ("“Well” — said 😀 she, & left!", &["“Well”", "said", "she,", "&", "left!"]),
            ("It costs $37.50, Dr. Sato.", &["It", "costs", "$37.50,", "Dr.", "Sato."]),
            ("Привет, мир!", &["Привет,", "мир!"]),
            ("שלום עולם", &["שלום", "עולם"]),
            ("नमस्ते दुनिया।", &["नमस्ते", "दुनिया।"]),
            ("e\u{301}te\u{301} 👩\u{200d}🚀 ok", &["e\u{301}te\u{301}", "ok"]),
            ("「日本」で、iPhone15を。", &["「日", "本」", "で、", "iPhone15", "を。"]),
            ("안녕 세계", &["안녕", "세계"]),
        ];
        for (text, words) in cases {
            for duration in [Duration::ZERO, Duration::from_nanos(7), SECOND, Duration::MAX] {
                assert_eq!(estimated(text, duration), *words, "{text:?}");
            }
        }
    }

    #[test]
    fn estimate_gives_longer_words_more_time() {
        let length = |text: &str, n: usize| {
            let words = estimate(text, SECOND);
            words[n].end - words[n].start
        };
        for (text, shorter, longer) in
            [("a extraordinary", 0, 1), ("ship USB", 0, 1), ("word 1984", 0, 1), ("Five $5", 0, 1)]
        {
            assert!(length(text, shorter) < length(text, longer), "{text}");
        }
    }

    #[test]
    fn estimate_pauses_after_punctuation() {
        let pause = |text: &str| {
            let words = estimate(text, SECOND);
            words[1].start - words[0].end
        };
        for text in ["one two", "3.5 two", "(one two", "Dr. two", "p.m. two", "one 😀 two"] {
            assert_eq!(pause(text), Duration::ZERO, "{text}");
        }
        assert!(pause("one, two") > Duration::ZERO);
        assert!(pause("one — two") > Duration::ZERO);
        assert!(pause("Really? two") > pause("Really, two"));
        assert!(pause("Hello. “two") > Duration::ZERO);
    }

    #[test]
    fn estimate_takes_linear_time() {
        for text in ["word ".repeat(100_000), "a".repeat(500_000), "字".repeat(200_000)] {
            assert!(!estimate(&text, SECOND).is_empty());
        }
    }

    #[test]
    fn utf16_ranges_match_the_text() {
        let cases: &[(&str, &[Range<usize>])] = &[
            ("", &[]),
            ("Good evening.", &[0..4, 5..13]),
            ("café “au” lait", &[0..4, 5..9, 10..14]),
            ("a 😀 b", &[0..1, 2..4, 5..6]),
            ("👩\u{200d}🚀 ok", &[0..5, 6..8]),
            ("e\u{301}te\u{301} fin", &[0..5, 6..9]),
            ("日本 語", &[0..2, 3..4]),
            ("𝒳𠀀 x", &[0..4, 5..6]),
            ("שלום world", &[0..4, 5..10]),
        ];
        for (text, units) in cases {
            let ranges: Vec<Range<usize>> = written(text).collect();
            assert_eq!(utf16_ranges(text, &ranges), *units, "{text}");
            let utf16: Vec<u16> = text.encode_utf16().collect();
            for (range, units) in ranges.iter().zip(*units) {
                assert_eq!(String::from_utf16_lossy(&utf16[units.clone()]), text[range.clone()]);
            }
        }
    }

    #[test]
    fn utf16_ranges_accept_any_order_and_any_position() {
        let text = "😀 é";
        assert_eq!(utf16_ranges(text, &[5..7, 0..4, 0..7, 4..4]), [3..4, 0..2, 0..4, 2..2]);
        assert_eq!(utf16_ranges(text, &[7..100, 50..60]), [4..4, 4..4]);
        assert_eq!(utf16_ranges(FOX, &[]), []);
    }

    #[test]
    fn utf16_ranges_take_linear_time() {
        let text = "😀é ".repeat(100_000);
        let ranges: Vec<Range<usize>> = written(&text).collect();
        let last = utf16_ranges(&text, &ranges).pop();
        assert_eq!(last, Some(399_996..399_999));
    }
}
