//! Words as they are typed: exclamations without a vowel, letters that are drawn out, names that are written as one,
//! and a few that the voice would misread.

use super::english::{Reader, parted};
use super::walk::Walk;

/// Exclamations, each letter once, with words that sound like them, and the least number of letters in all.
const EXCLAMATIONS: [(&str, &str, usize); 17] = [
    ("hm", "hum", 2),
    ("sh", "shush", 3),
    ("pst", "pist", 3),
    ("pft", "pift", 3),
    ("pf", "pift", 3),
    ("tsk", "tisk", 3),
    ("br", "burr", 3),
    ("gr", "gurr", 3),
    ("m", "hum", 3),
    ("z", "zizz", 3),
    ("aw", "aw", 3),
    ("oh", "oh", 3),
    ("ah", "ah", 3),
    ("ew", "yew", 3),
    ("uh", "uh", 3),
    ("ugh", "ugh", 4),
    ("argh", "arg", 4),
];

/// Words with one "o" or "e", each letter once, that are drawn out: "nooo", "heeey".
const SINGLE: &str =
    "no so go ho yo oh do who helo also bro omg woh me be the hey yes please here there maybe";

/// Words that the voice would misread.
const MISREAD: [(&str, &str); 10] = [
    ("emails", "e mails"),
    ("emailed", "e mailed"),
    ("emailing", "e mailing"),
    ("nginx", "engine x"),
    ("nvidia", "en vidia"),
    ("xmas", "christmas"),
    ("mnemonic", "nemonic"),
    ("mnemonics", "nemonics"),
    ("gdansk", "gudansk"),
    ("tchaikovsky", "chaikovsky"),
];

/// Longest word that is looked at.
const MOST: usize = 32;

impl Reader<'_> {
    /// Replaces such a word, and returns its end.
    pub(super) fn exclaimed(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        if word.len() < 2 || word.len() > MOST || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
            return None;
        }
        if word == "mc" && matches!(self.at(end), Some('²' | '^')) {
            self.say(at..end, "m c");
            return Some(end);
        }
        let lower = word.to_ascii_lowercase();
        let words = match MISREAD.iter().find(|(misread, _)| *misread == lower) {
            Some((_, words)) => Some((*words).to_owned()),
            None => exclamation(word, &lower).or_else(|| names(word)),
        }?;
        self.say(at..end, &words);
        Some(end)
    }
}

/// An exclamation, or a word whose letters are drawn out, as it is usually written.
fn exclamation(word: &str, lower: &str) -> Option<String> {
    let mut once = lower.to_owned().into_bytes();
    once.dedup();
    let longest = lower.as_bytes().chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or_default();
    // An abbreviation, or a number of the Romans.
    let is_capital = word.bytes().all(|b| b.is_ascii_uppercase());
    if is_capital && (word.len() < 5 || lower.bytes().all(|b| b"ivxlcdm".contains(&b))) || lower == "www" {
        return None;
    }
    let known = EXCLAMATIONS.iter().find(|(short, _, least)| {
        short.as_bytes() == once && (lower.len() >= *least || word.starts_with("Mm")) && lower.len() > 1
    });
    // "oh" is a word as it is.
    if let Some((_, words, _)) = known.filter(|(short, ..)| lower != *short || !has_vowel(short)) {
        return Some((*words).to_owned());
    }
    if longest < 3 || once.len() < 2 {
        return None;
    }
    let once = String::from_utf8(once).ok()?;
    let is_single = SINGLE.split(' ').any(|known| known == once);
    let mut usual = String::new();
    for run in lower.as_bytes().chunk_by(|a, b| a == b) {
        let letter = char::from(run[0]);
        let count = match (run.len(), letter) {
            (1 | 2, _) => run.len(),
            (_, 'o' | 'e') if !is_single => 2,
            (_, 'l') => 2,
            _ => 1,
        };
        usual.extend(std::iter::repeat_n(letter, count));
    }
    Some(usual)
}

fn has_vowel(word: &str) -> bool {
    word.bytes().any(|b| b"aeiouy".contains(&b))
}

/// The parts of a name that is written as one: "GitHub", "OpenAI". The first one has three letters at least, which
/// "McDonald" and "LeBron" do not have. Capitals at its end are letters.
fn names(word: &str) -> Option<String> {
    let bytes = word.as_bytes();
    let first = 1 + bytes.get(1..)?.iter().take_while(|b| b.is_ascii_lowercase()).count();
    if !bytes[0].is_ascii_uppercase()
        || first < 3
        || first == bytes.len()
        || matches!(&word[..first], "Mac" | "Java")
    {
        return None;
    }
    let letters = word.len() - word.bytes().rev().take_while(u8::is_ascii_uppercase).count();
    Some(parted(word, letters + 1))
}
