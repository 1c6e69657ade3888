//! Replacement of letters and marks that the voice does not know.

use crate::text::is_sign;
use crate::text::normal::typed::transcription;
use std::borrow::Cow;
use std::ops::Range;
use unicode_normalization::char::decompose_compatible;

/// ASCII white space that the voice takes for letters.
const ODD_SPACES: [char; 2] = ['\u{b}', '\u{c}'];

/// A text in which letters and marks that the voice would skip are replaced by ones it knows.
pub(in crate::tts) struct Plain<'a> {
    pub(in crate::tts) text: Cow<'a, str>,
    /// Position in the written text of the character that each byte stands for. Empty if the texts are
    /// equal.
    origins: Vec<usize>,
}

impl Plain<'_> {
    pub(in crate::tts) fn new(written: &str) -> Plain<'_> {
        if written.is_ascii() && !written.contains(ODD_SPACES) {
            return Plain { text: Cow::Borrowed(written), origins: Vec::new() };
        }
        let mut text = String::with_capacity(written.len());
        let mut origins = Vec::with_capacity(written.len());
        let mut transcribed = 0..0;
        for (at, letter) in written.char_indices() {
            // The sounds of a word that stands beside them.
            if matches!(letter, '/' | '[') && at >= transcribed.end {
                transcribed = transcription(written, at).unwrap_or(transcribed);
            }
            if transcribed.contains(&at) {
                // Two letters that no voice knows stand for it, so that a warning names it.
                let last =
                    written[at + letter.len_utf8()..transcribed.end].trim_end_matches(['/', ']']).is_empty();
                let is_end = letter.is_alphabetic() && (last || written[..at].ends_with(['/', '[']));
                text.push_str(if is_end { "ˈ" } else { "" });
                origins.resize(text.len(), at);
                continue;
            }
            // A dash between spaces is a pause. A dash between figures means "to".
            let dash = letter == '—' || (letter == '–' && text.ends_with(' '));
            if dash {
                text.truncate(text.trim_end().len());
                origins.truncate(text.len());
            }
            match nearest(letter, dash) {
                Some(known) => text.push_str(known),
                None if letter.is_ascii() || !base(letter, &mut text) => text.push(letter),
                None => {}
            }
            origins.resize(text.len(), at);
        }
        Plain { text: Cow::Owned(text), origins }
    }

    /// Ranges of the words and symbols that the voice cannot say, in the text as it was written. `origin` is the position
    /// there of each byte of this text.
    pub(super) fn unspeakable(&self, origin: impl Fn(usize) -> usize, written: &str) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        if self.text.is_ascii() {
            return ranges;
        }
        let mut run: Option<Range<usize>> = None;
        for (at, letter) in self.text.char_indices() {
            // Apostrophes that are letters, as in "Hawaiʻi", have no sound of their own.
            let is_silent = matches!(letter, 'ʻ' | 'ʼ');
            if !letter.is_ascii() && letter.is_alphanumeric() && !is_silent || is_symbol(letter) {
                let start = origin(at);
                let end = start + written[start..].chars().next().map_or(0, char::len_utf8);
                match &mut run {
                    Some(run) => run.end = run.end.max(end),
                    None => run = Some(start..end),
                }
            } else if letter.is_ascii() || letter.is_whitespace() {
                ranges.extend(run.take());
            }
        }
        ranges.extend(run);
        ranges
    }

    /// Position of this byte in the written text.
    pub(super) fn origin(&self, at: usize) -> usize {
        self.origins.get(at).copied().unwrap_or(at)
    }
}

/// True for a symbol with a meaning: [signs](is_sign), arrows, signs of mathematics and of keys, currencies, Braille,
/// notes of music. Emoji, bullets, brackets and lines only decorate.
fn is_symbol(c: char) -> bool {
    let is_decoration = matches!(
        c,
        '☎' | '☏' | '✆' | '✉' | '⚠' | '⌈'..='⌋' | '⌚' | '⌛' | '⌨' | '〈' | '〉' | '⎯' | '⏏' | '⏩'..='⏳' | '⏸'..='⏺' | '∎' | '∙' | '⋅' | '⋮'..='⋱' | '⟦'..='⟯' | '⤴' | '⤵'
    );
    !is_decoration
        && (is_sign(c)
            || matches!(
                c,
                '\u{2190}'..='\u{23ff}'
                    | '\u{27c0}'..='\u{28ff}'
                    | '\u{2900}'..='\u{2aff}'
                    | '\u{20a0}'..='\u{20cf}'
                    | '\u{2100}'..='\u{214f}'
                    | '\u{1d100}'..='\u{1d1ff}'
            ))
}

/// Replacement for a character that the voice does not know. `pause` is true if a dash is a pause.
fn nearest(letter: char, pause: bool) -> Option<&'static str> {
    Some(match letter {
        '‘' | '’' => "'",
        '“' | '”' | '„' | '«' | '»' => "\"",
        _ if pause => ", ",
        '–' | '‐' | '‑' => "-",
        '…' => "...",
        'À'..='Å' => "A",
        'Æ' => "Ae",
        'Ç' => "C",
        'È'..='Ë' => "E",
        'Ì'..='Ï' => "I",
        'Ñ' => "N",
        'Ò'..='Ö' | 'Ø' => "O",
        'Œ' => "Oe",
        'Ù'..='Ü' => "U",
        'ß' => "ss",
        'à'..='å' => "a",
        'æ' => "ae",
        'ç' => "c",
        'è'..='ë' => "e",
        'ì'..='ï' => "i",
        'ñ' => "n",
        'ò'..='ö' | 'ø' => "o",
        'œ' => "oe",
        'ù'..='ü' => "u",
        'ý' | 'ÿ' => "y",
        _ if ODD_SPACES.contains(&letter) => " ",
        _ if letter.is_whitespace() && !letter.is_ascii() => " ",
        _ => return None,
    })
}

/// Adds the letters that a letter with accents is made of, and nothing for an accent alone. False if there are
/// none in ASCII.
fn base(letter: char, text: &mut String) -> bool {
    let known = match letter {
        'Đ' | 'Ð' | 'Ɖ' | 'Ɗ' => "D",
        'đ' | 'ð' | 'ɗ' | 'ɖ' => "d",
        'Ł' => "L",
        'ł' | 'ƚ' => "l",
        'Ħ' => "H",
        'ħ' => "h",
        'ı' | 'ɨ' => "i",
        'ȷ' => "j",
        'ĸ' | 'ƙ' => "k",
        'Ŋ' => "Ng",
        'ŋ' => "ng",
        'Þ' => "Th",
        'þ' => "th",
        'Ŧ' | 'Ƭ' => "T",
        'ŧ' | 'ƭ' => "t",
        'ƀ' | 'ɓ' => "b",
        'Ɓ' => "B",
        'Ƈ' => "C",
        'ƈ' => "c",
        'Ə' | 'Ɛ' => "E",
        'ə' | 'ɛ' => "e",
        'ƒ' => "f",
        'Ɠ' | 'Ǥ' => "G",
        'ǥ' | 'ɠ' => "g",
        'Ɨ' => "I",
        'Ƙ' => "K",
        'Ɲ' => "N",
        'ɲ' | 'ƞ' => "n",
        'Ɔ' | 'Ǿ' => "O",
        'ɔ' | 'ǿ' => "o",
        'Ƥ' => "P",
        'ƥ' => "p",
        'Ʉ' => "U",
        'ʉ' => "u",
        'Ʋ' => "V",
        'Ƴ' => "Y",
        'ƴ' => "y",
        'Ƶ' => "Z",
        'ƶ' => "z",
        'ẞ' => "SS",
        'Ǽ' => "Ae",
        'ǽ' => "ae",
        // Combining accents.
        '\u{300}'..='\u{36f}' => "",
        _ => {
            let before = text.len();
            decompose_compatible(letter, |part| {
                if part.is_ascii_alphanumeric() {
                    text.push(part);
                }
            });
            return text.len() > before;
        }
    };
    text.push_str(known);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tts::flite::tests::said;

    #[tokio::test]
    async fn unknown_letters_are_read_as_similar_ones() {
        let pairs = [
            ("Don’t “go” to the café…", "Don't \"go\" to the cafe..."),
            ("No — wait—what?", "No, wait, what?"),
            ("Yes – but 5–10\u{a0}Zoë.", "Yes, but 5-10 Zoe."),
            ("ÀÈÌÒÙ Straße Øre œuvre", "AEIOU Strasse Ore oeuvre"),
            ("日本 and 😀", "日本 and 😀"),
        ];
        for (typed, read) in pairs {
            assert_eq!(Plain::new(typed).text.split_whitespace().collect::<Vec<_>>().join(" "), read);
        }
        assert_eq!(said("A word—a pause.").await, said("A word, a pause.").await);
    }

    #[test]
    fn words_and_symbols_without_a_sound_are_unspeakable() {
        for (text, expected) in [
            ("Press ⌘ and ⏎ now", vec!["⌘", "⏎"]),
            ("Say שלום and 日本 ⇧⌥", vec!["שלום", "日本", "⇧⌥"]),
            ("a ⊕ b, f ∘ g, ☐ h", vec!["⊕", "∘", "☐"]),
            ("⠃⠗⠇ 🀀 𝄞 ⚢ 🁡 ☳ ☎ ⚡ ▶", vec!["⠃⠗⠇", "🀀", "𝄞", "⚢", "🁡", "☳"]),
            ("“Ünder” – 😀 • café… ★ ┌ Hawaiʻi", vec![]),
        ] {
            let ranges = Plain::new(text).unspeakable(|at| Plain::new(text).origin(at), text);
            assert_eq!(ranges.into_iter().map(|range| &text[range]).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn replaced_text_has_the_positions_of_the_written_text() {
        for text in ["plain", "“No —\u{a0}wait—what?” – 5–10 Ærø… 日本 ß\u{b}x", "— a — — b", "…"]
        {
            let plain = Plain::new(text);
            let mut before = 0;
            for (at, letter) in plain.text.char_indices() {
                let origin = plain.origin(at);
                assert!(before <= origin && text.is_char_boundary(origin), "{text}");
                let written = text[origin..].chars().next().expect("a character");
                assert!(written == letter || nearest(written, true).is_some(), "{letter} of {written}");
                before = origin;
            }
        }
    }
}
