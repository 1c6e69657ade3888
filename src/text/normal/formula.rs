//! Letters with figures: formulas such as H₂O, and versions such as v2.0.

use super::abbreviations::lists;
use super::english::Reader;
use super::numbers::{self, add};
use super::walk::Walk;

/// Most bytes of a formula.
const MOST: usize = 40;

/// Formulas whose counts are written as figures, and names of the same form.
const KNOWN: &str = "H2O CO2 O2 N2 H2 NO2 SO2 CH4 NH3 H2SO4 C6H12O6 O3 SpO2 PaO2 FiO2 VO2 CaCO3 NaHCO3 Fe2O3 Al2O3 HNO3 \
     C2H5OH CuSO4 KNO3 H2O2 N2O SF6 HbA1c";

/// Elements of usual salts, acids and bases.
const ELEMENTS: &str = "H C N O F Na Mg Al Si P S Cl K Ca Mn Fe Cu Zn Br Ag I Ba Pb Li Cr Ni Hg Ti Sn";

pub(super) fn is_known(word: &str) -> bool {
    lists(KNOWN, word)
}

/// True for a formula without figures, such as NaCl: a capital stands within, and all letters are elements.
pub(super) fn is_salt(word: &str) -> bool {
    let bytes = word.as_bytes();
    if !(3..=8).contains(&bytes.len())
        || !word.bytes().all(|b| b.is_ascii_alphabetic())
        || !bytes.iter().any(u8::is_ascii_lowercase)
        || !bytes[1..].iter().any(u8::is_ascii_uppercase)
        || matches!(word, "NaN" | "HeLa")
    {
        return false;
    }
    let mut rest = word;
    while !rest.is_empty() {
        let length = 1 + usize::from(rest.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase));
        if !rest.starts_with(|c: char| c.is_ascii_uppercase()) || !lists(ELEMENTS, &rest[..length]) {
            return false;
        }
        rest = &rest[length..];
    }
    true
}

impl Reader<'_> {
    /// Letters with digits behind: formulas such as H₂O and CO2, and versions such as v2.0.
    pub(super) fn formula(&mut self, at: usize, end: usize) -> Option<usize> {
        let next = self.at(end).unwrap_or(' ');
        let word = &self.s[at..end];
        if word == "x"
            && let Some(ended) = self.repeated(at, end)
        {
            return Some(ended);
        }
        if word == "x"
            && self.figure_end != usize::MAX
            && self.figure_end + 1 >= at
            && self.begins_figure(self.skip_space(end))
            && !(self.figure_end < at && self.begins_figure(end))
        {
            self.say(at..end, "by");
            self.figure_start = end;
            return Some(end);
        }
        // "M6 x 20 mm"
        let size = self.s.get(self.word_before.end..at).unwrap_or_default().strip_suffix(' ');
        if word == "x"
            && self.is_digit(end + 1)
            && self.word_before.len() == 1
            && size
                .is_some_and(|size| matches!(size.len(), 1 | 2) && size.bytes().all(|b| b.is_ascii_digit()))
        {
            self.say(at..end, "by");
            return Some(end);
        }
        // "log₂8"
        if matches!(next, '₀'..='₉') && matches!(word, "log" | "Log" | "lg") {
            let run = self.run(end, |c| matches!(c, '₀'..='₉'));
            let digits: String = self.s[end..run].chars().filter_map(super::powers::script_digit).collect();
            let mut words = String::from("log base");
            numbers::cardinal(&mut words, &digits);
            self.say(at..run, &words);
            self.figure_start = run;
            return Some(run);
        }
        if matches!(next, '₀'..='₉') {
            return self.chemical(at);
        }
        if super::powers::script_digit(next).is_some() {
            let run = self.run(end, |c| super::powers::script_digit(c).is_some());
            if matches!(self.before(run), Some('⁺' | '⁻'))
                && word.len() <= 5
                && word.starts_with(char::is_uppercase)
            {
                return self.chemical(at);
            }
            if next == '⁻'
                && let Some(unit) = self.unit_at(at, false)
            {
                self.say(at..unit.end, &unit.one);
                return Some(unit.end);
            }
            return None;
        }
        if let Some(ended) = self.ion(at) {
            return Some(ended);
        }
        if is_salt(&self.s[at..end]) && !next.is_alphanumeric() {
            return self.chemical(at);
        }
        if word == "q"
            && let Some(ended) = self.interval(at, end)
        {
            return Some(ended);
        }
        if !next.is_ascii_digit() {
            return None;
        }
        // "T14:05"
        if word == "T" && self.digits(end) == end + 2 && self.at(end + 2) == Some(':') {
            self.say(at..end, "");
            self.figure_start = end;
            return Some(end);
        }
        // "FY24"
        if word == "FY" && matches!(self.digits(end) - end, 2 | 4) {
            self.say(at..end, "F Y");
            self.figure_start = end;
            return Some(end);
        }
        if matches!(word, "v" | "V" | "ver" | "r") {
            let number = self.run(end, |c| c.is_ascii_digit() || c == '.');
            let number = end + self.s[end..number].trim_end_matches('.').len();
            // "V8" is an engine.
            let is_engine = word == "V" && !self.s[end..number].contains('.');
            if is_engine {
                return Some(number);
            }
            if !self.is_letter(number) {
                self.say(at..end, if word == "r" { "R" } else { "version" });
                return Some(if self.s[end..number].contains('.') { self.figure(end) } else { number });
            }
        }
        let run = self.run(at, |c| c.is_ascii_alphanumeric());
        if let Some(ended) = self.range_of_names(at, run) {
            return Some(ended);
        }
        if is_known(&self.s[at..run]) {
            return self.chemical(at);
        }
        // "Flight BA117": two letters that look like a word.
        if word.len() == 2
            && word.bytes().all(|b| b.is_ascii_uppercase())
            && self.digits(end) == run
            && (run >= end + 3 || word == "IP" && run == end + 2)
        {
            self.say(at..end, &format!("{} {}", &word[..1], &word[1..]));
            return Some(run);
        }
        Some(run)
    }

    /// An ion with its charge: "Na+", "Ca2+", "SO4^2-", "SO4^{2-}".
    fn ion(&mut self, at: usize) -> Option<usize> {
        let bytes = self.s.as_bytes();
        let (mut end, mut elements, mut count) = (at, 0, 0);
        while end < at + MOST && bytes.get(end).is_some_and(u8::is_ascii_uppercase) {
            let letters = end + 1 + usize::from(bytes.get(end + 1).is_some_and(u8::is_ascii_lowercase));
            if !lists(ELEMENTS, &self.s[end..letters]) {
                return None;
            }
            count = letters;
            end = self.digits(letters);
            elements += 1;
        }
        // "SO4²⁻"
        let script = self.run(end, |c| super::powers::script_digit(c).is_some());
        if elements > 0 && matches!(self.before(script), Some('⁺' | '⁻')) {
            return self.chemical(at);
        }
        let caret = usize::from(bytes.get(end) == Some(&b'^'));
        let brace = usize::from(caret == 1 && bytes.get(end + 1) == Some(&b'{'));
        let from = end + caret + brace;
        let sign = if caret == 1 { self.digits(from) } else { from };
        let last = sign + 1 + brace;
        let charge = match bytes.get(sign)? {
            b'+' => "plus",
            b'-' if caret == 1 => "minus",
            _ => return None,
        };
        // The figure of one element without a caret is the charge: "Ca2+".
        let is_charge = caret == 0 && elements == 1 && end == count + 1;
        let is_ion = elements > 0
            && sign <= from + 1
            && (end <= count + 2)
            && (brace == 0 || bytes.get(sign + 1) == Some(&b'}'))
            && !bytes.get(last).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'('))
            && (elements > 1
                || caret == 1
                || is_charge
                || count == at + 2
                || self.s[at..end] == *"H"
                || self.s[at..end] == *"K");
        if !is_ion {
            return None;
        }
        let mut words = String::new();
        for c in self.s[at..end].chars().chain(self.s[from..sign].chars()) {
            match c.is_ascii_digit() {
                true => numbers::digits(&mut words, c.encode_utf8(&mut [0; 4])),
                false => add(&mut words, c.to_ascii_uppercase().encode_utf8(&mut [0; 4])),
            }
        }
        add(&mut words, charge);
        self.say(at..last, &words);
        Some(last)
    }

    /// Reads each element and each count of a formula.
    pub(super) fn chemical(&mut self, at: usize) -> Option<usize> {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || super::powers::script_digit(*c).is_some();
        let parts = self.s[at..].chars().take(MOST + 1).take_while(is_part);
        let end = at + parts.map(char::len_utf8).sum::<usize>();
        if end - at > MOST {
            return None;
        }
        let written = &self.s[at..end];
        // A word with one small figure behind is no formula: x₁.
        let is_formula = written.chars().filter(char::is_ascii_alphabetic).all(char::is_alphabetic)
            && written.starts_with(char::is_uppercase);
        let mut words = String::new();
        let mut digits = String::new();
        let mut is_count = false;
        for c in written.chars().chain(std::iter::once(' ')) {
            let digit = super::powers::script_digit(c).or(c.is_ascii_digit().then_some(c));
            // "SO₄²⁻": the count of the atoms, and the charge.
            let is_low = matches!(c, '₀'..='₉') || c.is_ascii_digit();
            if !digits.is_empty() && digit.is_some() && is_low != is_count {
                numbers::cardinal(&mut words, &digits);
                digits.clear();
            }
            is_count = is_low;
            match digit {
                Some(digit) if digit.is_ascii_digit() => digits.push(digit),
                _ => {
                    if !digits.is_empty() {
                        numbers::cardinal(&mut words, &digits);
                        digits.clear();
                    }
                    match digit {
                        Some('+') => add(&mut words, "plus"),
                        Some('-') => add(&mut words, "minus"),
                        _ if c.is_ascii_alphabetic() => {
                            if !is_formula && words.ends_with(|c: char| c.is_ascii_alphabetic()) {
                                words.push(c);
                            } else if is_formula {
                                add(&mut words, c.to_ascii_uppercase().encode_utf8(&mut [0; 4]));
                            } else {
                                add(&mut words, c.encode_utf8(&mut [0; 4]));
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        self.say(at..end, words.trim());
        Some(end)
    }
}
