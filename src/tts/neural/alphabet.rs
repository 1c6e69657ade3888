//! Alphabets of voices: the letters by which they know sounds.

use super::phones::{ARTICLE, ENDING, FLAP, MARKS, NURSE, Sound, Sounds, Stress, WEDGE, is_vowel};
use std::collections::BTreeSet;

/// An alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// The alphabet of hibari's and Kokoro's voices.
    Misaki,
    /// The alphabet of Piper's voices, by espeak-ng.
    Espeak,
}

/// A phone, the letters of misaki and of espeak-ng.
pub(super) const LETTERS: &[(&str, &str, &str)] = &[
    (ARTICLE, "ɐ", "ɐ"),
    ("aa", "ɑ", "ɑː"),
    ("ae", "æ", "æ"),
    ("ah", "ʌ", "ʌ"),
    ("ao", "ɔ", "ɔː"),
    ("aw", "W", "aʊ"),
    ("ax", "ə", "ə"),
    ("ay", "I", "aɪ"),
    ("b", "b", "b"),
    ("ch", "ʧ", "tʃ"),
    ("d", "d", "d"),
    ("dh", "ð", "ð"),
    (FLAP, "T", "ɾ"),
    ("eh", "ɛ", "ɛ"),
    ("er", "ɜɹ", "ɜː"),
    (NURSE, "ɜɹ", "ɜː"),
    ("ey", "A", "eɪ"),
    ("f", "f", "f"),
    ("g", "ɡ", "ɡ"),
    ("hh", "h", "h"),
    ("ih", "ɪ", "ɪ"),
    (ENDING, "ᵻ", "ᵻ"),
    ("iy", "i", "iː"),
    ("jh", "ʤ", "dʒ"),
    ("k", "k", "k"),
    ("l", "l", "l"),
    ("m", "m", "m"),
    ("n", "n", "n"),
    ("ng", "ŋ", "ŋ"),
    ("ow", "O", "oʊ"),
    ("oy", "Y", "ɔɪ"),
    ("p", "p", "p"),
    ("r", "ɹ", "ɹ"),
    ("s", "s", "s"),
    ("sh", "ʃ", "ʃ"),
    ("t", "t", "t"),
    ("th", "θ", "θ"),
    ("uh", "ʊ", "ʊ"),
    ("uw", "u", "uː"),
    ("v", "v", "v"),
    (WEDGE, "ʌ", "ʌ"),
    ("w", "w", "w"),
    ("y", "j", "j"),
    ("z", "z", "z"),
    ("zh", "ʒ", "ʒ"),
];

impl Alphabet {
    /// Letters and signs that voices of Piper need, and those without which they still speak words: stress,
    /// length and marks.
    pub(super) fn espeak_letters() -> (BTreeSet<char>, BTreeSet<char>) {
        let sounds = LETTERS.iter().flat_map(|(_, _, letters)| letters.chars());
        let all = sounds.chain("ɚi_^$".chars());
        let marks = MARKS.map(espeak_mark).into_iter().chain("ˈˌ ".chars());
        let (length, needed): (BTreeSet<char>, _) = all.partition(|letter| *letter == 'ː');
        (needed, marks.chain(length).collect())
    }

    /// Spells sounds. Each letter belongs to the token of its sound.
    pub(super) fn spell(self, sounds: &Sounds) -> Vec<(char, Option<usize>)> {
        let mut letters = Vec::with_capacity(sounds.0.len() * 2);
        for (at, &(sound, token)) in sounds.0.iter().enumerate() {
            let (phone, stress) = match sound {
                Sound::Space => {
                    letters.push((' ', None));
                    continue;
                }
                Sound::Mark(mark) => {
                    letters.push((mark, None));
                    continue;
                }
                Sound::Phone(phone, stress) => (phone, stress),
            };
            match stress {
                Stress::None => {}
                Stress::Secondary => letters.push(('ˌ', token)),
                Stress::Primary => letters.push(('ˈ', token)),
            }
            let near = |offset: isize| match at.checked_add_signed(offset).and_then(|at| sounds.0.get(at)) {
                Some(&(Sound::Phone(phone, stress), _)) => Some((phone, stress)),
                _ => None,
            };
            letters.extend(self.letters(phone, stress, near).chars().map(|letter| (letter, token)));
        }
        letters
    }

    /// Letters of a phone, which can depend on its stress and on the phones near it in its word.
    fn letters(
        self,
        phone: &str,
        stress: Stress,
        near: impl Fn(isize) -> Option<(&'static str, Stress)>,
    ) -> &'static str {
        match (self, phone, stress) {
            (Alphabet::Misaki, "er", Stress::None) => "əɹ",
            (Alphabet::Misaki, "ah", Stress::None) => "ə",
            (Alphabet::Misaki, "ax", Stress::None) => {
                let before = near(-1).map_or("", |(before, _)| before);
                let is_before_stress = near(2).is_some_and(|(_, stress)| stress != Stress::None);
                match (before, near(1).map_or("", |(next, _)| next)) {
                    // "button", "certain".
                    ("t", "n") if !is_before_stress && !near(2).is_some_and(|(next, _)| is_vowel(next)) => "",
                    ("s" | "z" | "f" | "p" | "b" | "ch", "n") if !is_before_stress => "ᵊ",
                    ("" | "k" | "w" | "r", "l") => "ə",
                    (before, "l") if !is_vowel(before) && !is_before_stress => "ᵊ",
                    _ => "ə",
                }
            }
            (Alphabet::Espeak, "er", Stress::None) => "ɚ",
            (Alphabet::Espeak, "iy", Stress::None) => "i",
            (Alphabet::Espeak, "ah", Stress::None) => "ə",
            _ => {
                let at = LETTERS.binary_search_by(|(known, ..)| (*known).cmp(phone));
                at.map_or("", |at| match self {
                    Alphabet::Misaki => LETTERS[at].1,
                    Alphabet::Espeak => LETTERS[at].2,
                })
            }
        }
    }
}

/// Letter of espeak-ng's alphabet for a letter or a mark.
pub(super) fn espeak_mark(letter: char) -> char {
    match letter {
        '—' => '-',
        '…' => '.',
        letter => letter,
    }
}
