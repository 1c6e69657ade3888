//! Raised and lowered figures: powers, indices, charges, and marks of notes.

use super::abbreviations::lists;
use super::english::Reader;
use super::symbols::greek;
use super::walk::Walk;
use super::{money, operands};
use crate::text::language::{BASES, SHORT_WORDS, ceil_char_boundary};

impl Reader<'_> {
    /// Superscripts and subscripts.
    pub(super) fn script(&mut self, at: usize) -> usize {
        let end = self.run(at, |c| script_digit(c).is_some());
        if end == at {
            return at;
        }
        let plain: String = self.s[at..end].chars().filter_map(script_digit).collect();
        if is_note(self.s, at, end, &plain) {
            return self.called(at, end, "");
        }
        let is_sub = self.at(at).is_some_and(|c| matches!(c, '\u{2080}'..='\u{209c}'));
        // "∫₀¹"
        let upper = self.s[at..end].find(|c| !matches!(c, '\u{2080}'..='\u{209c}'));
        if let Some(upper) = upper.filter(|upper| *upper > 0)
            && self.before(at).is_some_and(|c| matches!(c, '∫' | '∑' | '∏' | '∮'))
        {
            let split = self.s[at..at + upper].chars().count();
            let mut words = String::from("from");
            let (low, high) = plain.split_at(split);
            for (n, part) in [low, high].into_iter().enumerate() {
                if n > 0 {
                    words.push_str(" to");
                }
                if part.starts_with('-') {
                    words.push_str(" minus");
                }
                match part.trim_start_matches('-') {
                    "n" => words.push_str(" n"),
                    part => super::numbers::cardinal(&mut words, part),
                }
            }
            return self.called(at, end, &words);
        }
        let follows_base = self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']'));
        let mut words = String::new();
        if matches!(&*plain, "+" | "-") {
            // A charge.
            words.push_str(if plain == "+" { "plus" } else { "minus" });
        } else if is_sub || !follows_base {
            super::numbers::cardinal(&mut words, plain.trim_matches(['+', '-', '=', 'n']));
            if plain.starts_with('-') {
                words.insert_str(0, "minus ");
            }
            if words.is_empty() {
                words = plain;
            }
        } else {
            if self.before(at) == Some(')') {
                words.push(' ');
            }
            let mut power = String::new();
            exponent(&mut power, &plain);
            words.push_str(&power);
        }
        self.say(at..end, &words);
        self.unit_behind_power(end)
    }

    /// Reads the unit behind a power of ten, and returns its end.
    fn unit_behind_power(&mut self, end: usize) -> usize {
        let next = self.skip_space(end);
        if next == end
            && !self.is_word_unit(next)
            && let Some((per, ended)) = self.divided(end).filter(|(per, _)| per.starts_with("per"))
        {
            self.say(end..ended, &per);
            return ended;
        }
        if next == end || self.is_word_unit(next) {
            return end;
        }
        match self.unit_at(next, false) {
            Some(unit) => {
                self.say(next..unit.end, &unit.many);
                unit.end
            }
            None => end,
        }
    }

    /// True for symbols that are words in equations: "x² in", "a² m".
    fn is_word_unit(&self, at: usize) -> bool {
        // A power of ten is short. The whole text before would take quadratic time.
        let before = self.s[..at].trim_end();
        let before = &before[ceil_char_boundary(before, before.len().saturating_sub(32))..];
        let base = before.trim_end_matches(|c| script_digit(c).is_some());
        let base = match base.rsplit_once('^') {
            Some((base, power)) if power.len() <= 4 && base.len() + 6 > before.len() => base,
            _ => base,
        };
        !base.ends_with("10")
    }

    /// A caret before an exponent.
    pub(super) fn power(&mut self, at: usize, end: usize) -> Option<usize> {
        let is_braced = matches!(self.at(end), Some('{' | '('));
        let from = end + usize::from(is_braced);
        let sign = self.at(from).filter(|c| matches!(c, '-' | '+' | '−')).map_or(0, char::len_utf8);
        let variable = from + sign;
        let digits = self.digits(variable);
        let letter = self.at(variable).filter(|c| c.is_alphabetic()).map_or(0, char::len_utf8);
        let to = if digits > variable { digits } else { variable + letter };
        if !self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '}')) {
            return None;
        }
        let is_simple = to > variable
            && match is_braced {
                true => matches!(self.at(to), Some('}' | ')')),
                false => !matches!(self.at(to), Some('⁄')),
            };
        if !is_simple {
            return self.long_power(at, from, is_braced);
        }
        let mut words = String::new();
        if !self.before(at).is_some_and(char::is_alphanumeric) {
            words.push(' ');
        }
        let mut power = String::new();
        exponent(&mut power, &self.s[from..to]);
        words.push_str(&power);
        let to = to + usize::from(is_braced);
        self.say(at..to, &words);
        Some(self.unit_behind_power(to))
    }

    /// The caret and the bracket before an exponent of several parts, which are read as others: "2^{n+1}", "8^(1/3)".
    fn long_power(&mut self, at: usize, from: usize, is_braced: bool) -> Option<usize> {
        if !is_braced && !self.is_digit(from) && !matches!(self.at(from), Some('√' | '∞' | '½' | '⅓' | '¼'))
        {
            return None;
        }
        if is_braced {
            self.power_end = self.closing(from).filter(|end| *end > from)?;
        }
        let sign = self.at(from).filter(|c| matches!(c, '-' | '−')).map_or(0, char::len_utf8);
        let words = if sign > 0 { "to the power of minus" } else { "to the power of" };
        let gap = if self.before(at).is_some_and(char::is_alphanumeric) { "" } else { " " };
        self.say(at..from + sign, &format!("{gap}{words}"));
        Some(from + sign)
    }
}

/// True for the mark of a note behind a word, a year, a sum, a percentage or a full stop: no exponent.
pub(super) fn is_note(text: &str, at: usize, end: usize, digits: &str) -> bool {
    let is_mark = text[at..].starts_with(|c| matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹'))
        && digits.len() <= 3
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    let (left, right) = (operands::left(text, at), operands::right(text, end));
    let operators = ['=', '+', '×', '÷', '^', '√', '≤', '≥', '≠', '≈', '<', '>', '−', '*', '·', '⋅'];
    if !is_mark || right.trim_start().starts_with(operators) || right.starts_with(" / ") {
        return false;
    }
    let Some(before) = text[..at].chars().next_back() else { return false };
    if matches!(before, '.' | ',' | ';' | ':' | '!' | '?' | '"' | '”' | '’' | '»' | '%') {
        return true;
    }
    let base = left.trim_end_matches(|c: char| c.is_alphanumeric());
    let word = &left[base.len()..];
    if before == ')' {
        // "(2020)¹"
        let inner = left.rsplit('(').next().unwrap_or_default().trim_end_matches(')');
        return super::figure::is_year_text(inner) || inner.split(' ').any(|word| word.len() > 3);
    }
    // "x = 5²"
    if base.trim_end().ends_with(operators) && !base.trim_end().ends_with(['<', '>', '·'])
        || base.ends_with(" / ")
    {
        return false;
    }
    if word.bytes().all(|b| b.is_ascii_digit()) {
        let whole = left.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, ',' | '.'));
        let is_group = |group: &str| group.bytes().take_while(u8::is_ascii_digit).count() == 3;
        let is_name = whole.strip_suffix('-').is_some_and(|name| name.ends_with(char::is_alphabetic));
        return super::figure::is_year_text(word)
            || left[whole.len()..].split_once(',').is_some_and(|(_, group)| is_group(group))
            || is_name
            || whole.chars().next_back().is_some_and(|c| money::by_sign(c).is_some())
            || digits == "1" && !matches!(word, "10" | "2");
    }
    let letters = word.trim_start_matches(|c: char| c.is_ascii_digit());
    (letters.len() == word.len() || lists("st nd rd th", letters))
        && (word.chars().count() > 2 || lists(SHORT_WORDS, word))
        && letters.chars().all(char::is_alphabetic)
        && !lists(BASES, word)
        && !(matches!(digits, "2" | "3")
            && lists("radius diameter speed velocity", &word.to_ascii_lowercase()))
        && greek(word.chars().next().unwrap_or_default()).is_none()
}

/// Reads an exponent.
fn exponent(out: &mut String, exponent: &str) {
    match exponent {
        "2" => out.push_str("squared"),
        "3" => out.push_str("cubed"),
        _ => {
            out.push_str("to the power of");
            if exponent.starts_with(['-', '−']) {
                out.push_str(" minus");
            }
            let rest = exponent.trim_start_matches(['-', '+', '−']);
            let rest = rest.chars().next().and_then(greek).unwrap_or(rest);
            if rest.starts_with(|c: char| c.is_ascii_digit()) {
                super::numbers::cardinal(out, rest);
            } else {
                super::numbers::add(out, rest);
            }
        }
    }
}

/// The plain form of a superscript or a subscript.
pub(super) fn script_digit(c: char) -> Option<char> {
    Some(match c {
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁰' | '⁴'..='⁹' => char::from(b'0' + (u32::from(c) - 0x2070) as u8),
        '₀'..='₉' => char::from(b'0' + (u32::from(c) - 0x2080) as u8),
        '⁺' | '₊' => '+',
        '⁻' | '₋' => '-',
        '⁼' | '₌' => '=',
        'ⁿ' => 'n',
        _ => return None,
    })
}
