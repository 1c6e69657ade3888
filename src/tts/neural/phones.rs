//! Sounds of a piece of text: the analysis of `flite-rs`, with the stress and the sounds of running speech.

use super::super::reading::Piece;
use flite_rs::language::Language;
use flite_rs::text::Token;
use flite_rs::utterance::ItemId;
use flite_rs::{Engine, Utterance, VoiceParams, pipeline};
use std::sync::Arc;

/// A sound, or a mark between sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sound {
    /// A phone, by the name that `flite-rs` gives it, or one of the constants of this module.
    Phone(&'static str, Stress),
    /// The space between two words.
    Space,
    /// A mark that changes the melody, such as a comma.
    Mark(char),
}

/// Stress of a vowel. Consonants have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stress {
    None,
    Secondary,
    Primary,
}

/// The American flap, as in "water".
pub(super) const FLAP: &str = "dx";

/// The article "a", which is not reduced as far as other vowels.
pub(super) const ARTICLE: &str = "a";

/// The vowel of "cut" without stress, which the dictionary does not know.
pub(super) const WEDGE: &str = "vv";

/// The vowel of endings, as in "boxes" and "wanted".
pub(super) const ENDING: &str = "ix";

/// The vowel of "her" without stress, which is not that of "better".
pub(super) const NURSE: &str = "err";

/// Marks that change the melody.
pub(super) const MARKS: [char; 10] = [',', '.', '!', '?', ';', ':', '—', '…', '(', ')'];

/// A word whose stress or phones differ from the dictionary's: its stress, its stress before a pause, and its
/// phones, or nothing if they are those of the dictionary.
type Light = (&'static str, Stress, Stress, &'static str);

/// Words that have no stress or a light one in running speech.
const LIGHT: &[Light] = {
    use Stress::{None as N, Primary as P, Secondary as S};
    &[
        ("a", N, N, "a"),
        ("am", N, N, ""),
        ("an", N, N, "a n"),
        ("and", N, N, "ae n d"),
        ("are", N, N, ""),
        ("as", N, N, "ae z"),
        ("at", N, N, "ae t"),
        ("be", N, P, ""),
        ("been", N, S, "b ih n"),
        ("but", S, S, "b ah t"),
        ("by", N, P, ""),
        ("can", N, P, "k ae n"),
        ("could", N, P, ""),
        ("for", N, N, "f ao r"),
        ("from", N, N, "f r vv m"),
        ("had", N, S, "hh ae d"),
        ("has", N, P, "hh ae z"),
        ("have", N, P, "hh ae v"),
        ("he", N, N, ""),
        ("her", N, S, "hh err"),
        ("him", S, S, "hh ih m"),
        ("his", N, S, "hh ih z"),
        ("how", S, S, ""),
        ("i", S, S, ""),
        ("if", N, N, ""),
        ("in", N, S, ""),
        ("is", N, N, ""),
        ("it", N, N, ""),
        ("its", N, N, ""),
        ("me", S, S, ""),
        ("might", S, S, ""),
        ("my", N, P, ""),
        ("not", S, S, "n aa t"),
        ("of", N, N, "vv v"),
        ("on", S, S, "ao n"),
        ("or", N, N, "ao r"),
        ("our", S, S, ""),
        ("shall", S, S, "sh ae l"),
        ("she", N, N, ""),
        ("should", S, S, ""),
        ("so", S, S, ""),
        ("some", S, S, "s ah m"),
        ("than", N, N, "dh ax n"),
        ("that", N, P, "dh ae t"),
        ("the", N, N, ""),
        ("their", N, N, "dh eh r"),
        ("them", S, S, "dh eh m"),
        ("there", N, P, "dh eh r"),
        ("these", N, P, ""),
        ("they", N, N, ""),
        ("this", N, P, ""),
        ("those", N, P, ""),
        ("to", N, N, ""),
        ("up", S, S, "ah p"),
        ("us", S, S, "ah s"),
        ("was", N, N, "w vv z"),
        ("we", N, N, ""),
        ("were", N, N, "w err"),
        ("what", S, S, "w ah t"),
        ("when", S, S, "w eh n"),
        ("where", S, S, "w eh r"),
        ("which", S, S, "w ih ch"),
        ("who", S, S, ""),
        ("why", S, S, "w ay"),
        ("will", N, P, ""),
        ("with", N, N, "w ih dh"),
        ("would", N, P, ""),
        ("you", N, N, ""),
        ("your", N, N, "y uh r"),
    ]
};

/// Words that the dictionary knows in another sense or accent.
const OTHER: &[(&str, &str)] = &[
    ("friday", "f r ay1 d ey2"),
    ("hasn't", "hh ae1 z ax n t"),
    ("hello", "hh ax l ow1"),
    ("into", "ih1 n t uw"),
    ("isn't", "ih1 z ax n t"),
    ("lead", "l iy1 d"),
    ("leads", "l iy1 d z"),
    ("monday", "m ah1 n d ey2"),
    ("reading", "r iy1 d ih ng"),
    ("saturday", "s ae1 dx er d ey2"),
    ("sunday", "s ah1 n d ey2"),
    ("thursday", "th er1 z d ey2"),
    ("tuesday", "t uw1 z d ey2"),
    ("wasn't", "w ah1 z ax n t"),
    ("wednesday", "w eh1 n z d ey2"),
];

/// Words after which "read" is past.
const PERFECT: &[&str] =
    &["are", "be", "been", "being", "had", "has", "have", "i've", "is", "was", "we've", "were", "you've"];

/// Reads pieces of text. Shared by all utterances.
#[derive(Clone)]
pub(super) struct Reader {
    language: Arc<Language>,
    params: VoiceParams,
}

/// Sounds of a piece. Each belongs to one of its tokens, or to none.
#[derive(Debug, Default)]
pub(super) struct Sounds(pub(super) Vec<(Sound, Option<usize>)>);

impl Reader {
    pub(super) fn new() -> Reader {
        let language = Engine::try_new().expect("the language in the binary is whole").language();
        // The 8 kHz voice has one vowel less than the language.
        Reader { language, params: VoiceParams { fold_ah_to_aa: false, ..VoiceParams::default() } }
    }

    /// Returns the sounds of a piece, or nothing if it has no word with a sound.
    pub(super) fn sounds(&self, piece: &Piece) -> Sounds {
        let analysis = pipeline::analyse(&self.language, &piece.tokens, &self.params);
        let mut sounds = Sounds::default();
        let tokens: Vec<_> = analysis.iter_relation("Token").collect();
        let mut previous = String::new();
        for (n, &token) in tokens.iter().enumerate() {
            let (before, after) = piece.marks.get(n).map_or(("", ""), |(before, after)| (before, after));
            sounds.marks(before, true);
            let words: Vec<(String, Vec<Phone>)> = analysis
                .iter_from(analysis.daughter(token))
                .map(|word| (spoken_name(analysis.name(word)), phones(&analysis, word)))
                .filter(|(_, phones)| !phones.is_empty())
                .collect();
            // An abbreviation such as "USB", in one token or in one for each letter.
            let spelled = |n: usize| piece.tokens.get(n).is_some_and(is_letter);
            let goes_on = spelled(n) && after.is_empty() && spelled(n + 1);
            let went_on = n > 0 && spelled(n) && spelled(n - 1) && piece.marks[n - 1].1.is_empty();
            let is_spelled =
                goes_on || went_on || (words.len() > 1 && words.iter().all(|(name, _)| name.len() == 1));
            let count = words.len();
            for (at, (name, mut phones)) in words.into_iter().enumerate() {
                let is_last = at + 1 == count;
                let before_pause = is_last && (n + 1 == tokens.len() || after.contains(MARKS));
                if is_spelled {
                    if phones[..] == [("ax", Stress::None)] {
                        phones[0].0 = "ey";
                    }
                    restress(
                        &mut phones,
                        if is_last && !goes_on { Stress::Primary } else { Stress::Secondary },
                    );
                } else {
                    shape(&name, &previous, before_pause, &mut phones);
                }
                // "'s" and its like are part of the word before them.
                if if at == 0 { !went_on } else { !is_spelled && !name.starts_with('\'') } {
                    sounds.space();
                }
                sounds
                    .0
                    .extend(phones.into_iter().map(|(phone, stress)| (Sound::Phone(phone, stress), Some(n))));
                previous = name;
            }
            sounds.marks(after, false);
        }
        if !sounds.0.iter().any(|(sound, _)| matches!(sound, Sound::Phone(..))) {
            return Sounds::default();
        }
        sounds.flap();
        sounds.reduce_to();
        sounds
    }
}

/// A phone with its stress.
type Phone = (&'static str, Stress);

/// Phones of a word, with the stress of the dictionary: primary or none.
fn phones(analysis: &Utterance, word: ItemId) -> Vec<Phone> {
    let daughters = |item| analysis.iter_from(analysis.daughter(item));
    let mut phones = Vec::new();
    let Some(word) = analysis.item_as(word, "SylStructure") else { return phones };
    for syllable in daughters(word) {
        let is_stressed = analysis.feature_str(syllable, "stress") == "1";
        for segment in daughters(syllable) {
            if let Some(phone) = flite_rs::phoneset::name(analysis.name(segment)) {
                let stress = if is_stressed && is_vowel(phone) { Stress::Primary } else { Stress::None };
                phones.push((phone, stress));
            }
        }
    }
    phones
}

/// Name of a word in lower case, without the marks by which the dictionary tells its senses apart.
fn spoken_name(name: &str) -> String {
    let name = name.trim_start_matches('_');
    name.split('_').next().unwrap_or(name).to_ascii_lowercase()
}

/// True for a letter by itself, which is said by its name.
fn is_letter(token: &Token) -> bool {
    let mut letters = token.name.chars();
    let only = letters.next().filter(|_| letters.next().is_none());
    only.is_some_and(|letter| letter.is_ascii_alphabetic() && !matches!(letter, 'a' | 'I'))
}

/// Gives a letter's name one stress, on its first vowel.
fn restress(phones: &mut [Phone], stress: Stress) {
    let mut vowels = phones.iter_mut().filter(|(phone, _)| is_vowel(phone));
    if let Some((_, first)) = vowels.next() {
        *first = stress;
    }
    vowels.for_each(|(_, stress)| *stress = Stress::None);
}

/// Gives a word the stress and the sounds that it has in running speech.
fn shape(name: &str, previous: &str, before_pause: bool, phones: &mut Vec<Phone>) {
    if name == "a" {
        // A letter by itself has its own name.
        if phones[..] == [("ax", Stress::None)] {
            *phones = vec![(ARTICLE, Stress::None)];
        }
        return;
    }
    if let Ok(at) = LIGHT.binary_search_by(|(light, ..)| (*light).cmp(name)) {
        let (_, within, at_pause, own) = LIGHT[at];
        let stress = if before_pause { at_pause } else { within };
        if !own.is_empty() {
            *phones = own.split(' ').map(|phone| (phone, Stress::None)).collect();
        }
        for (phone, own) in phones {
            *own = if is_vowel(phone) { stress } else { Stress::None };
        }
        return;
    }
    let other = match name {
        "read" if !PERFECT.contains(&previous) => Some("r iy1 d"),
        _ => OTHER.binary_search_by(|(other, _)| (*other).cmp(name)).ok().map(|at| OTHER[at].1),
    };
    if let Some(other) = other {
        let parse = |phone: &'static str| match phone.split_at(phone.len() - 1) {
            (phone, "1") => (phone, Stress::Primary),
            (phone, "2") => (phone, Stress::Secondary),
            _ => (phone, Stress::None),
        };
        *phones = other.split(' ').map(parse).collect();
        return;
    }
    if name.starts_with('\'') {
        if let [(vowel @ "ax", _), ("z", _)] = &mut phones[..] {
            *vowel = ENDING;
        }
        return;
    }
    grade(name, phones);
    reduce(name, phones);
}

/// Leaves one primary stress in a word: the first, or the last of words such as "fifteen".
fn grade(name: &str, phones: &mut [Phone]) {
    let last = phones.len().saturating_sub(1);
    // The last vowel of "everybody" and "audio" has no stress of its own.
    if let Some((("iy" | "ow", stress), rest)) = phones.split_last_mut()
        && rest.iter().any(|(_, stress)| *stress == Stress::Primary)
        && rest.last().is_some_and(|(before, _)| !is_vowel(before) || *before == "iy")
        && (name.ends_with(['y', 'o']) || name.ends_with("ie"))
    {
        *stress = Stress::None;
    }
    let stressed: Vec<usize> = phones
        .iter()
        .enumerate()
        .filter(|(_, (_, stress))| *stress == Stress::Primary)
        .map(|(at, _)| at)
        .collect();
    let is_late = name.ends_with("teen")
        || name.ends_with("een")
        || name.ends_with("self")
        || name.ends_with("stand")
        || name.ends_with("tion");
    let main = if is_late { stressed.last() } else { stressed.first() };
    match main {
        Some(main) => {
            stressed.iter().filter(|at| *at != main).for_each(|&at| phones[at].1 = Stress::Secondary);
        }
        None => {
            // Every word but a light one has a stress.
            let full = phones.iter().take(last + 1).position(|(phone, _)| is_vowel(phone) && *phone != "ax");
            let any = full.or_else(|| phones.iter().position(|(phone, _)| is_vowel(phone)));
            if let Some(at) = any {
                phones[at].1 = Stress::Primary;
            }
        }
    }
}

/// Reduces vowels as speakers do in prefixes and endings.
fn reduce(name: &str, phones: &mut [Phone]) {
    let count = phones.len();
    // "before", "return", "default".
    if let [(first, _), second, ..] = phones
        && matches!((*first, &name[..name.len().min(2)]), ("b", "be") | ("r", "re") | ("d", "de"))
        && matches!(second, ("ih" | "iy", Stress::None))
        && count > 3
    {
        second.0 = "ax";
    }
    // "unset".
    if name.starts_with("un") && phones.starts_with(&[("ax", Stress::None), ("n", Stress::None)]) {
        phones[0] = ("ah", Stress::Secondary);
    }
    if let [.., before, vowel, last] = phones
        && matches!(vowel, ("ax" | "ih", Stress::None))
    {
        let is_plural = name.ends_with("es") || name.ends_with("'s");
        match (before.0, last.0) {
            ("t" | "d", "d") if name.ends_with("ed") => vowel.0 = ENDING,
            ("s" | "z" | "sh" | "zh" | "ch" | "jh", "z") if is_plural => vowel.0 = ENDING,
            (_, "jh") => vowel.0 = "ih",
            _ => {}
        }
    }
    if let [.., vowel, ("jh", _), (ENDING, _), ("z", _)] = phones
        && matches!(vowel, ("ax", Stress::None))
    {
        vowel.0 = "ih";
    }
}

pub(super) fn is_vowel(phone: &str) -> bool {
    matches!(phone, ARTICLE | WEDGE | ENDING | NURSE) || flite_rs::phoneset::is_vowel(phone)
}

impl Sounds {
    /// Adds a space, unless there is one or nothing before it.
    fn space(&mut self) {
        if !matches!(self.0.last(), None | Some((Sound::Space | Sound::Mark('('), _))) {
            self.0.push((Sound::Space, None));
        }
    }

    /// Adds the marks that change the melody, those before or after a word.
    fn marks(&mut self, marks: &str, is_before: bool) {
        for mark in marks.chars() {
            let mark = match mark {
                '–' | '―' => '—',
                '‥' => '…',
                '[' | '{' => '(',
                ']' | '}' => ')',
                mark => mark,
            };
            if !MARKS.contains(&mark) || (is_before && mark != '(') {
                continue;
            }
            match (self.0.last(), mark) {
                // Three stops are one mark, and more of a mark are one.
                (Some((Sound::Mark('.' | '…'), _)), '.') => {
                    self.0.pop();
                    self.0.push((Sound::Mark('…'), None));
                }
                (Some((Sound::Mark(last), _)), mark) if *last == mark => {}
                (None, mark) if mark != '(' => {}
                (_, '—' | '(') => {
                    self.space();
                    self.0.push((Sound::Mark(mark), None));
                }
                _ => self.0.push((Sound::Mark(mark), None)),
            }
        }
    }

    /// Makes a /t/ between vowels a flap, if the second one has no stress and is in the same word.
    fn flap(&mut self) {
        for n in 1..self.0.len().saturating_sub(1) {
            let (Sound::Phone("t", _), Sound::Phone(before, _)) = (self.0[n].0, self.0[n - 1].0) else {
                continue;
            };
            let follows = match self.0[n + 1].0 {
                // "button" has a sound of its own.
                Sound::Phone("ax", Stress::None) => {
                    !matches!(self.0.get(n + 2), Some((Sound::Phone("n", _), _)))
                }
                Sound::Phone(after, Stress::None) => is_vowel(after),
                _ => false,
            };
            if follows && (is_vowel(before) || before == "r") {
                self.0[n].0 = Sound::Phone(FLAP, Stress::None);
            }
        }
    }

    /// Reduces "to" before a consonant.
    fn reduce_to(&mut self) {
        for n in 1..self.0.len().saturating_sub(2) {
            let (Sound::Phone("t", _), Sound::Phone("uw", Stress::None), Sound::Space) =
                (self.0[n - 1].0, self.0[n].0, self.0[n + 1].0)
            else {
                continue;
            };
            let is_word = n < 2 || matches!(self.0[n - 2].0, Sound::Space);
            if is_word && matches!(self.0[n + 2].0, Sound::Phone(next, _) if !is_vowel(next)) {
                self.0[n].0 = Sound::Phone("ax", Stress::None);
            }
        }
    }
}
