//! The place to cut a segment that is too long: between words, and not within an atom such as "10 km/h".

use super::boundary::{Dotted, Kind, MAX_WORD_BYTES, Mark, is_roman};
use super::language::{self, COMMON, lists};
use super::{MAX_TOKEN_CHARS, Segmenter};

/// Bond between two words, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    None,
    /// "5 people", "Chapter 3".
    Phrase,
    /// "10 km/h", "1 000", "Dr. Lee".
    Atom,
}

impl Segmenter {
    /// Returns the best end of a segment that is too long, given its last character.
    pub(super) fn best_cut(&self, c: char, at: usize) -> usize {
        let scan = &self.scan;
        if scan.token_chars <= MAX_TOKEN_CHARS {
            let mark = self.mark.as_ref().filter(|mark| self.may_end(mark)).map_or(0, |mark| mark.end);
            // Not in the first third: short segments sound bad, and the rest is read again.
            let good =
                |end: &usize| *end > 0 && *end <= at && *end * 3 >= at && self.bond(*end) == Bond::None;
            if let Some(end) = [mark, scan.joint, scan.clause].into_iter().find(good) {
                return end;
            }
            if scan.space > 0 {
                return self.best_space();
            }
        }
        let attached = scan.character > 0 && at - scan.character <= MAX_WORD_BYTES;
        if attached && !c.is_whitespace() { scan.character } else { at }
    }

    /// True if a sentence may end at this mark: it is no dot of an abbreviation.
    fn may_end(&self, mark: &Mark) -> bool {
        mark.kind != Kind::Stop
            || matches!(self.classify(mark), Dotted::Word | Dotted::Ending | Dotted::Pronoun)
    }

    /// The last space between words that do not belong together, or else the one between the loosest.
    fn best_space(&self) -> usize {
        let last = self.scan.space;
        let spaces = self.buffer[..last].rmatch_indices(char::is_whitespace).map(|(at, _)| at);
        let (mut best, mut least) = (last, Bond::Atom);
        for at in std::iter::once(last).chain(spaces).filter(|at| *at > 0) {
            let bond = self.bond(at);
            if bond < least {
                (best, least) = (at, bond);
            }
            if least == Bond::None {
                break;
            }
        }
        best
    }

    /// Returns the bond between the words around a position. The second word may be incomplete.
    fn bond(&self, at: usize) -> Bond {
        let (before, after) = self.buffer.split_at(at);
        if !after.starts_with(char::is_whitespace) {
            return Bond::None;
        }
        let opening = |c: char| language::is_quote(c) || matches!(c, '(' | '[' | '*' | '_');
        let mut words = before.rsplit(char::is_whitespace).filter(|word| !word.is_empty());
        let (before, earlier) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let before = before.trim_start_matches(opening);
        let after = after.trim_start();
        let word = after.split(char::is_whitespace).next().unwrap_or_default();
        let is_whole = word.len() < after.len();
        let ends_clause = before.ends_with([',', ';', ':', '!', '?', '.']);
        let has_figure = before.contains(char::is_numeric);
        let figure = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        let is_abbreviation = |token: &str| {
            let initial = token.rsplit(['.', '-']).next().unwrap_or(token);
            initial.chars().count() == 1 && initial != "I" && initial.chars().all(char::is_alphabetic)
                || [self.language, &COMMON]
                    .iter()
                    .any(|l| lists(l.leading, token) || lists(l.numbered, token))
        };
        if before.len() > MAX_WORD_BYTES || before.is_empty() {
            return Bond::None;
        }
        if before.strip_suffix('.').is_some_and(is_abbreviation) {
            return Bond::Atom;
        }
        let is_counted = earlier.ends_with(char::is_numeric);
        // "World War II", "5 fl oz", "p < 0.05"
        let is_operator = |word: &str| {
            let mut signs = word.chars();
            signs.next().is_some_and(|c| "<>=≤≥≈≠±×+−".contains(c)) && signs.next().is_none()
        };
        if before.starts_with(char::is_uppercase) && is_roman(word) && !ends_clause
            || is_counted && lists("fl sq cu", before)
            || is_operator(word) && (has_figure || before.chars().count() == 1)
        {
            return Bond::Atom;
        }
        // "5th Ave."
        let is_ordinal = ["st", "nd", "rd", "th"].iter().any(|end| {
            before.strip_suffix(end).is_some_and(|number| number.ends_with(|c: char| c.is_ascii_digit()))
        });
        if is_ordinal && word.starts_with(char::is_uppercase) {
            return Bond::Atom;
        }
        let is_sign = before.chars().all(|c| !c.is_alphanumeric());
        let is_dated = before.starts_with(char::is_uppercase)
            && earlier.trim_end_matches('.').ends_with(|c: char| c.is_ascii_digit());
        let is_name = before.contains(char::is_uppercase);
        let is_crossed = matches!(before, "x" | "×" | "by") && earlier.contains(char::is_numeric);
        let may_go_on = is_sign
            || is_dated
            || is_crossed
            || is_counted && lists(language::SMALLER, before)
            || before.chars().count() == 1
            || is_ordinal
            || is_name && !ends_clause;
        if word.is_empty() && may_go_on || is_name && !ends_clause && word.starts_with(char::is_uppercase) {
            return Bond::Phrase; // A figure may follow: "€ 5", "3 May 2025", "iOS 17.2". And "New York".
        }
        if figure.starts_with(|c: char| c.is_ascii_digit()) {
            return match () {
                () if (is_sign || has_figure) && !ends_clause => Bond::Atom,
                // "5 ft 2 in", "8.5 x 11"
                () if is_counted && lists(language::SMALLER, before) => Bond::Atom,
                () if is_crossed => Bond::Atom,
                // "iOS 17.2"
                () if is_name && !ends_clause => Bond::Phrase,
                () if has_figure && before.ends_with(',') && before.len() <= 3 => Bond::Atom, // "May 5, 2024"
                () => Bond::None,
            };
        }
        let is_joined = |list: &str| is_whole && word.starts_with(char::is_lowercase) && lists(list, word);
        if !has_figure
            || ends_clause
            || before.ends_with(char::is_alphabetic)
            || is_joined(self.language.joining)
            || is_joined(self.language.particles)
        {
            return Bond::None;
        }
        if is_whole && word.chars().count() <= 4 || word.contains(['/', '.']) {
            Bond::Atom
        } else {
            Bond::Phrase
        }
    }
}
