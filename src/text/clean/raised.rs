//! Raised text: exponents, as in `m<sup>2</sup>`, and the marks of notes. The figures of `H<sub>2</sub>O` are text.

use super::inline::{Inline, Sink};
use crate::text::language::{BASES, SHORT_WORDS};
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Longest text that is held back, in characters.
const MAX_CHARS: usize = 16;
const NORMAL: &str = "0123456789+-−=()n";
const RAISED: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ";

/// The text of `<sup>`, up to its end tag.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Raised {
    text: Sourced,
    /// True if it links to a part of the page, as marks of notes do.
    is_reference: bool,
    /// The character and the word before it.
    before: Option<char>,
    word: String,
}

/// Use of raised text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Note,
    /// It has characters of its own.
    Script,
    /// A longer exponent: `x^n+1`.
    Power,
    Text,
}

impl Raised {
    fn kind(&self) -> Use {
        let text = self.text.text.trim();
        let before = self.before.filter(|c| !c.is_whitespace());
        if self.is_note(text.trim_matches(['[', ']']), before) {
            return Use::Note;
        }
        let Some(before) = before else { return Use::Text };
        let is_attached =
            before.is_alphanumeric() || matches!(before, ')' | ']' | '}' | '|' | '°' | '’' | '\'');
        let is_script = text.chars().all(|c| NORMAL.contains(c))
            && (text.chars().any(|c| c.is_ascii_digit()) || matches!(text, "n" | "+" | "-" | "−"));
        let is_variable = before.is_numeric() || self.word.chars().count() == 1;
        match () {
            () if is_attached && is_script => Use::Script,
            () if is_variable && text.contains(['+', '-', '−', '*', '/']) => Use::Power,
            () if is_variable && is_exponent(before, text) => Use::Power,
            () => Use::Text,
        }
    }

    fn is_note(&self, text: &str, before: Option<char>) -> bool {
        // "area = side<sup>2</sup>"
        const LENGTHS: &str = "side height width length radius distance diameter edge speed velocity base";
        let is_number = |part: &str| {
            (1..=3).contains(&part.len())
                && part.chars().all(|c| c.is_ascii_digit())
                && !part.starts_with('0')
        };
        let numbers = text.split([',', ';', '–']).map(str::trim);
        let named = text.split_once(' ').filter(|(name, _)| matches!(*name, "note" | "Note" | "nb" | "n"));
        let is_mark = numbers.clone().all(is_number)
            || named.is_some_and(|(_, number)| is_number(number))
            || matches!(text, "*" | "**" | "†" | "‡" | "§" | "¶")
            || text.chars().count() == 1 && text.starts_with(|c: char| c.is_ascii_lowercase());
        let is_bracketed = self.text.text.trim_start().starts_with('[') && before.is_some();
        if !is_mark || self.is_reference || is_bracketed {
            return is_mark;
        }
        let Some(before) = before else { return false };
        let word = self.word.as_str();
        let lists = |list: &str| list.split_ascii_whitespace().any(|known| known == word);
        let is_word = word.chars().all(char::is_alphabetic)
            && before.is_alphabetic()
            && match word.chars().count() {
                0 | 1 => numbers.count() > 1,
                2 => lists(SHORT_WORDS),
                _ => !(lists(BASES) || matches!(text, "2" | "3") && lists(LENGTHS)),
            };
        let is_ending = matches!(before, '.' | ',' | ';' | ':' | '!' | '?' | '"' | '”' | '»' | '%');
        let is_year =
            word.len() == 4 && (word.starts_with("19") || word.starts_with("20")) && before.is_ascii_digit();
        is_word || is_ending || is_year
    }
}

/// Part of a fraction that is being written: "1<sup>1</sup>/<sub>2</sub>".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    #[default]
    None,
    /// The raised figures are written, and maybe the bar.
    Numerator,
    /// The lowered figures are being written.
    Denominator,
}

/// True for a variable above another one, or above a number: "e<sup>x</sup>", but "5<sup>th</sup>", "M<sup>r</sup>".
fn is_exponent(base: char, text: &str) -> bool {
    let mut letters = text.chars();
    let (Some(first), second) = (letters.next(), letters.next()) else { return false };
    let is_greek = |c: char| matches!(c, 'α'..='ω');
    match (base, second) {
        _ if is_greek(first) && second.is_none() => true,
        ('e' | 'x', _) => text.chars().count() <= 3 && text.chars().all(char::is_alphanumeric),
        (_, Some(_)) => false,
        (base, None) if base.is_lowercase() => first.is_alphabetic() && !(base == 'n' && first == 'o'),
        (_, None) => matches!(first, 'x' | 'y' | 'z' | 'k' | 'm' | 'p' | 't' | 'i' | 'N' | 'T'),
    }
}

impl Inline {
    /// Lowered text begins or ends. Its figures are lowered in a fraction only.
    pub(super) fn lower(&mut self, is_over: bool) {
        let is_fraction =
            self.part == Part::Numerator && matches!(self.previous, Some('/' | '⁄')) && !is_over;
        self.part = if is_fraction { Part::Denominator } else { Part::None };
    }

    /// The character, in its form for the part of a fraction.
    pub(super) fn part_of_fraction(&mut self, c: char) -> char {
        match (self.part, c) {
            (Part::None, _) | (Part::Numerator, '/' | '⁄') => c,
            (Part::Denominator, '0'..='9') => char::from_u32(u32::from(c) - 0x30 + 0x2080).unwrap_or(c),
            _ => {
                self.part = Part::None;
                c
            }
        }
    }

    pub(super) fn begin_raised(&mut self, sink: &mut Sink<'_>) {
        self.release_raised(sink);
        self.raised = Some(Box::new(Raised {
            text: Sourced::default(),
            is_reference: self.page.is_reference,
            before: self.previous,
            word: self.brackets.word().to_owned(),
        }));
        self.previous = None;
    }

    /// Takes raised text. Returns false if there is none, or it is too long.
    pub(super) fn hold_raised(&mut self, c: char, span: Span) -> bool {
        let Some(raised) = self.raised.as_mut().filter(|raised| raised.text.text.len() < MAX_CHARS) else {
            return false;
        };
        raised.text.push(c, span);
        true
    }

    /// A link begins: it may be that of a note.
    pub(super) fn refer(&mut self, is_reference: bool) {
        self.page.is_reference = is_reference;
        if let Some(raised) = self.raised.as_mut().filter(|_| is_reference) {
            raised.is_reference = true;
        }
    }

    /// Writes raised text as it is, if its end has not come.
    pub(super) fn release_raised(&mut self, sink: &mut Sink<'_>) {
        if let Some(raised) = self.raised.take() {
            self.previous = raised.before;
            self.emit_all(&raised.text, sink);
        }
    }

    pub(super) fn end_raised(&mut self, sink: &mut Sink<'_>) {
        let Some(raised) = self.raised.take() else { return };
        self.previous = raised.before;
        let kind = raised.kind();
        if kind == Use::Note {
            return;
        }
        let is_blank = |c: char| c.is_whitespace();
        self.part = Part::None;
        let is_figure = kind == Use::Script && raised.text.text.bytes().all(|b| b.is_ascii_digit());
        for (n, (c, span)) in raised.text.chars().skip_while(|(c, _)| is_blank(*c)).enumerate() {
            if n == 0 && kind == Use::Power {
                self.emit('^', span, sink);
            }
            let script = NORMAL.chars().position(|known| known == c).and_then(|at| RAISED.chars().nth(at));
            match script.filter(|_| kind == Use::Script) {
                Some(script) => self.emit(script, span, sink),
                None => self.emit(c, span, sink),
            }
        }
        if is_figure {
            self.part = Part::Numerator;
        }
    }
}
