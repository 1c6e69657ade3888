//! A text on its way to an English voice: its words in short pieces, each with the place where it is
//! written.
//!
//! [`read`] changes figures, signs and abbreviations into words, replaces letters that `flite-rs` does not
//! know, and cuts the text into pieces whose analysis is cheap. All engines that use the analysis of
//! `flite-rs` share it.

mod pieces;
pub(super) mod sentences;
pub(super) mod spelling;

use super::Utterance;
use crate::text::normal::{Spoken, in_english};
use flite_rs::text::Token;
use pieces::{pieces, placed};
use sentences::sentences;
use spelling::Plain;
use std::ops::Range;

pub(super) use pieces::{LIMITS, Limits};

/// A text that was read.
pub(super) struct Reading {
    /// Pieces of it, in order. None is empty.
    pub(super) pieces: Vec<Piece>,
    /// Ranges of the words that the voice cannot say, in the text as it was written.
    pub(super) unspeakable: Vec<Range<usize>>,
}

/// A piece of a text: a sentence, or a part of a long one.
#[derive(Default)]
pub(super) struct Piece {
    /// Words with their marks.
    pub(super) tokens: Vec<Token>,
    /// Written word of each token, as a range of bytes.
    pub(super) words: Vec<Range<usize>>,
    /// Marks before and after each token, as they are written. Only signs such as dashes and quotes differ
    /// from those of the token.
    pub(super) marks: Vec<(String, String)>,
    /// Position of the next piece in the text as it was written.
    pub(super) next: Option<usize>,
}

/// Reads the text of an utterance in pieces within these limits.
pub(super) fn read(utterance: &Utterance, limits: Limits) -> Reading {
    // The voices know English only: words of another language would be as foreign to them as its text.
    let spoken = match utterance.normalize {
        Some(false) => Spoken::default(),
        _ => in_english(&utterance.text, &utterance.language),
    };
    // Nothing is left of a line of marks alone.
    let spoken = if spoken.text.trim().is_empty() { Spoken::default() } else { spoken };
    let text = if spoken.text.is_empty() { &utterance.text } else { &*spoken.text };
    let plain = Plain::new(text);
    let origin = |at| spoken.origin(plain.origin(at));
    let mut words = spoken.words(&utterance.text).into_iter().peekable();
    let mut read = 0;
    let mut found: Vec<Piece> = Vec::new();
    let cut = sentences(&plain.text)
        .into_iter()
        .flat_map(|sentence| pieces(placed(sentence, limits, &mut read), limits));
    for piece in cut {
        if let (Some(last), Some(first)) = (found.last_mut(), piece.first()) {
            last.next = Some(origin(first.at));
        }
        let mut reading = Piece::default();
        for placed in piece {
            let at = origin(placed.at);
            while words.next_if(|word| word.end <= at).is_some() {}
            reading.words.push(words.peek().cloned().unwrap_or(at..at));
            let marks = |start: usize, marks: &str| written_marks(text, &plain, start..start + marks.len());
            let token = placed.token;
            let before = marks(placed.at.saturating_sub(token.prepunctuation.len()), &token.prepunctuation);
            let after = marks(placed.at + token.name.len(), &token.punctuation);
            reading.marks.push((before, after));
            reading.tokens.push(token);
        }
        found.push(reading);
    }
    Reading { pieces: found, unspeakable: plain.unspeakable(origin, &utterance.text) }
}

/// The characters that a range of the plain text stands for.
fn written_marks(text: &str, plain: &Plain<'_>, range: Range<usize>) -> String {
    let mut marks = String::new();
    let mut last = None;
    for at in range {
        let at = plain.origin(at);
        if last.replace(at) != Some(at) {
            marks.extend(text.get(at..).and_then(|text| text.chars().next()));
        }
    }
    marks
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audio::{Encoding, Format};

    const PCM: Format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 16_000 };

    /// Names of the tokens in each piece of a text.
    pub(in crate::tts) fn cut(text: &str) -> Vec<Vec<String>> {
        let mut read = 0;
        let cut = sentences(text).into_iter();
        let cut = cut.flat_map(|sentence| pieces(placed(sentence, LIMITS, &mut read), LIMITS));
        cut.map(|piece| piece.into_iter().map(|placed| placed.token.name).collect()).collect()
    }

    #[test]
    fn words_and_marks_are_those_of_the_text() {
        let text = "“Well,” — she said… “it's $5.”";
        let pieces = read(&Utterance::new(text, PCM), LIMITS).pieces;
        let words: Vec<(&str, &str, &str)> = pieces
            .iter()
            .flat_map(|piece| piece.words.iter().zip(&piece.marks))
            .map(|(word, (before, after))| (&text[word.clone()], before.as_str(), after.as_str()))
            .collect();
        assert_eq!(words[0], ("“Well,”", "“", ",”—"));
        assert_eq!(words[2], ("said…", "", "…"));
        assert_eq!(words[3], ("“it's", "“", ""));
        assert_eq!(words.last(), Some(&("$5.”", "", ".”")));
    }
}
