//! Minus signs that no figure shows: in algebra, behind a letter, and at a charge.

use super::abbreviations::lists;
use super::english::Reader;
use super::operands::{self, is_algebra};
use super::walk::Walk;

/// Functions that may follow a sign.
const FUNCTIONS: &str = "sin cos tan cot log ln exp sqrt abs";

/// Ions with one or more negative charges, without the charge.
const IONS: &str = "Cl Br I F OH NO3 NO2 CN SCN HCO3 CO3 SO4 SO3 HSO4 PO4 HPO4 H2PO4 MnO4 ClO ClO2 ClO3 ClO4 O2 BF4 PF6 \
     CH3COO BH4 AlH4 Cr2O7 CrO4";

/// Blood groups and grades.
const GRADES: &str = "A B AB O C D";

/// Part of an expression beside a dash.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operand {
    Number,
    /// A bracket or a power.
    Group,
    /// A small letter, and true if such a letter is hardly anything but a variable.
    Variable(bool),
    /// A capital.
    Capital,
}

impl<'a> Reader<'a> {
    /// True if the dash from `at` to `end` takes something away: "x - 1", "2n-1", "y = -x".
    pub(super) fn takes_away(&self, at: usize, end: usize) -> bool {
        self.is_subtracting(at, end)
            || self.is_negative(at, end)
            || self.is_minus_of_formula(at, end)
            || operands::is_in_equation(self.s, at, end)
            || self.is_beside_tex(at, end)
    }

    /// Text of the line before a position.
    #[inline(never)]
    pub(super) fn left(&self, at: usize) -> &'a str {
        operands::left(self.s, at)
    }

    /// Text of the line behind a position.
    #[inline(never)]
    pub(super) fn right(&self, end: usize) -> &'a str {
        operands::right(self.s, end)
    }

    /// A dash between two operands.
    fn is_subtracting(&self, at: usize, end: usize) -> bool {
        let (left, right) = (self.left(at), self.right(end));
        let is_spaced = left.ends_with(char::is_whitespace);
        if is_spaced != right.starts_with(char::is_whitespace) {
            return false;
        }
        let (before, after) = (left.trim_end().trim_end_matches('!'), right.trim_start());
        let (Some((first, opens)), Some((second, closes))) = (last_operand(before), first_operand(after))
        else {
            return false;
        };
        if first == Operand::Number && matches!(second, Operand::Number | Operand::Capital)
            || second == Operand::Number && first == Operand::Capital
        {
            return false;
        }
        let is_sure = |operand| matches!(operand, Operand::Variable(true));
        let is_shown = is_algebra(before) || is_algebra(after);
        if is_spaced {
            let is_bracketed = matches!(
                (opens, closes),
                (Some('('), Some(')')) | (Some('|'), Some('|')) | (Some('['), Some(']'))
            );
            let has_capital = first == Operand::Capital || second == Operand::Capital;
            let is_between_bars = before.ends_with('|') && after.starts_with('|');
            return is_shown
                || is_between_bars
                || is_bracketed && !has_capital
                || is_sure(first) && !has_capital
                || is_sure(second) && first != Operand::Capital && first != Operand::Group;
        }
        // "10^6-10^9", and "a[i-1]"
        if first == Operand::Group && closes == Some('^') {
            return false;
        }
        if matches!(first, Operand::Variable(_))
            && second == Operand::Number
            && (opens, closes) == (Some('['), Some(']'))
        {
            return true;
        }
        // A hyphen of a word or of a code: "a-z", "x-1b".
        if closes.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '/'))
            || matches!(opens, Some('-' | '_' | '/' | '[' | '\'' | '’'))
            || first == Operand::Capital
            || second == Operand::Capital
        {
            return false;
        }
        // "x86-64"
        let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let is_name = digits > 1 && before.len() > digits && first != Operand::Number;
        is_shown || !is_name && (after.starts_with("(-") || is_sure(first) && second == Operand::Number)
    }

    /// A dash before a variable, a function or a bracket, where only a sign can stand.
    fn is_negative(&self, at: usize, end: usize) -> bool {
        let (left, right) = (self.left(at), self.right(end));
        let letters = self.letters(end);
        let is_variable = letters == end + 1 && !self.is_digit(letters) && self.at(letters) != Some('-');
        let greek = self.at(end).and_then(super::symbols::greek).is_some()
            && self.at(end).map(|c| end + c.len_utf8()) == Some(letters);
        let is_term = is_variable
            || greek
            || right.starts_with(['(', '√', '∞', 'π'])
            || right.starts_with('\\') && self.is_letter(end + 1)
            || lists(FUNCTIONS, &self.s[end..letters]);
        if !is_term {
            return false;
        }
        let trimmed = left.trim_end();
        let is_operator = trimmed.ends_with(['=', '+', '×', '÷', '≤', '≥', '≠', '≈', '±', '∈', '→'])
            && !trimmed.ends_with("++");
        if is_operator || left.ends_with(['(', '{']) {
            return true;
        }
        let is_first = left.is_empty() || left.ends_with(char::is_whitespace);
        let rest = &self.s[letters.min(end + right.len())..end + right.len()];
        // "-x² + 3x", "1 > -x"
        is_first && is_variable && (trimmed.ends_with(['<', '>']) || rest.starts_with(['²', '³', '^']))
            || is_first && is_variable && rest.starts_with([' ']) && is_algebra(rest)
    }

    /// True if the dash behind the last word is a sign of it: "UTC-5", "blood group O-", "Cl-".
    pub(super) fn is_sign_behind(&self, at: usize, end: usize) -> bool {
        let start = at - self.left(at).len();
        let token = self.s[start..at].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let before = self.before(at - token.len());
        let after = self.at(end);
        if token.is_empty() || matches!(before, Some('-' | '_' | '/' | '.' | '\'' | '’')) {
            return false;
        }
        if matches!(token, "UTC" | "GMT") {
            return self.is_digit(end);
        }
        if after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '>' | '_' | '(' | '"' | '\'')) {
            return false;
        }
        if lists(IONS, token) && token.len() > 1 {
            return !self.is_shared(token, end);
        }
        lists(GRADES, token) && !self.is_shared(token, end)
    }

    /// True if the dash stands for a part of a word that follows: "A- and B-flat", or if the word is begun
    /// again: "A- a ghost".
    fn is_shared(&self, token: &str, end: usize) -> bool {
        let next = self.skip_space(end);
        let word = &self.s[next..self.letters(next)];
        let is_again = next > end
            && !lists("and at as are or on of but by because", word)
            && word.get(..token.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(token));
        let is_joined = lists("and or to", word) && {
            let second = self.skip_space(next + word.len());
            let second_end = self.run(second, char::is_alphanumeric);
            self.at(second_end) == Some('-') && self.is_letter(second_end + 1)
        };
        is_again || is_joined
    }
}

/// The operand at the end of a text, and the character before it.
fn last_operand(text: &str) -> Option<(Operand, Option<char>)> {
    let last = text.chars().next_back()?;
    // "x₂"
    let named = text.trim_end_matches(|c| matches!(c, '₀'..='₉'));
    if named.len() < text.len() {
        let letter = named.chars().next_back().filter(char::is_ascii_lowercase)?;
        let opens = named[..named.len() - 1].chars().next_back();
        return if opens.is_some_and(char::is_alphanumeric) {
            None
        } else {
            Some((variable(letter)?, opens))
        };
    }
    let rest = &text[..text.len() - last.len_utf8()];
    let previous = rest.chars().next_back();
    let is_bar = last == '|' && previous.is_some_and(|c| !c.is_whitespace());
    if is_bar || matches!(last, ')' | ']' | '²' | '³' | '⁴'..='⁹' | 'ⁿ') {
        return Some((Operand::Group, previous));
    }
    if last.is_ascii_digit() {
        let rest = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
        let mut before = rest.chars().rev();
        let opens = before.next();
        // "x^2", "2^64"
        if opens == Some('^') {
            return Some((Operand::Group, None));
        }
        // "y2", "x_1"
        let name = rest.strip_suffix('_').unwrap_or(rest);
        if let Some(letter) = name.chars().next_back().filter(|c| matches!(c, 'x' | 'y' | 'z'))
            && text.len() - rest.len() <= 2
        {
            let opens = name[..name.len() - 1].chars().next_back();
            return match opens.is_some_and(|c| c.is_alphanumeric() || c == '-') {
                true => None,
                false => Some((variable(letter)?, opens)),
            };
        }
        return Some((Operand::Number, opens));
    }
    // "4ac"
    let letters = text.len() - text.trim_end_matches(|c: char| c.is_ascii_lowercase()).len();
    let factor = text[..text.len() - letters].trim_end_matches(|c: char| c.is_ascii_digit());
    if is_product(&text[text.len() - letters..]) && factor.len() + letters < text.len() {
        return Some((Operand::Variable(false), factor.chars().next_back()));
    }
    // "2πr", "2πrh"
    let factors = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    if text.len() - factors.len() <= 2
        && let Some(greek) = factors.chars().next_back().filter(|c| super::symbols::greek(*c).is_some())
    {
        let factor =
            factors[..factors.len() - greek.len_utf8()].trim_end_matches(|c: char| c.is_ascii_digit());
        let opens = factor.chars().next_back();
        return match opens.is_some_and(|c| c.is_alphanumeric() || c == '-') {
            true => None,
            false => Some((Operand::Variable(true), opens)),
        };
    }
    // The figure before a variable belongs to it.
    let rest = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    let opens = rest.chars().next_back();
    if opens.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '\'' | '’' | '-' | '_')) {
        return None;
    }
    Some((variable(last)?, opens))
}

/// The operand at the start of a text, and the character behind it.
fn first_operand(text: &str) -> Option<(Operand, Option<char>)> {
    let first = text.chars().next()?;
    let is_bar = first == '|' && !text[1..].starts_with(char::is_whitespace);
    if is_bar || matches!(first, '(' | '[' | '√') {
        return Some((Operand::Group, None));
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let behind = |text: &str| text.chars().next();
    if rest.len() < text.len() {
        // "4ac"
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        if is_product(&rest[..letters]) {
            return Some((Operand::Variable(false), behind(&rest[letters..])));
        }
        // "2x" is a variable with a figure, "2 cm" is a number.
        return match behind(rest).and_then(variable) {
            Some(Operand::Variable(true)) if !behind(&rest[1..]).is_some_and(char::is_alphanumeric) => {
                Some((Operand::Variable(true), behind(&rest[1..])))
            }
            _ => Some((Operand::Number, behind(rest))),
        };
    }
    let rest = &text[first.len_utf8()..];
    // "y1", "x_1", "y²"
    let rest = match first {
        'x' | 'y' | 'z' => {
            let index = rest.strip_prefix('_').unwrap_or(rest);
            let end = index.trim_start_matches(|c: char| c.is_ascii_digit());
            if index.len() - end.len() <= 2 && end.len() < index.len() { end } else { rest }
        }
        _ => rest,
    };
    let rest = rest.trim_start_matches(|c| matches!(c, '²' | '³' | '₀'..='₉'));
    if behind(rest).is_some_and(|c| {
        c.is_alphanumeric() && c != 'ⁿ'
            || matches!(c, '\'' | '’' | '.') && {
                let mut rest = rest.chars().skip(1);
                rest.next().is_some_and(char::is_alphanumeric)
            }
    }) {
        return None;
    }
    Some((variable(first)?, behind(rest)))
}

/// True for two or three variables behind a figure: the "ac" of "4ac", and no unit.
fn is_product(letters: &str) -> bool {
    matches!(letters.len(), 2 | 3)
        && super::units::unit(letters, true).is_none()
        && !lists("st nd rd th am pm", letters)
        && (letters.bytes().all(|b| matches!(b, b'a'..=b'd' | b'p'..=b'r' | b'x'..=b'z')))
}

/// The operand that a letter is.
fn variable(letter: char) -> Option<Operand> {
    match letter {
        'x' | 'y' | 'z' | 'n' => Some(Operand::Variable(true)),
        'a'..='z' => Some(Operand::Variable(false)),
        'A'..='Z' => Some(Operand::Capital),
        _ if super::symbols::greek(letter).is_some() => Some(Operand::Variable(false)),
        _ => None,
    }
}
