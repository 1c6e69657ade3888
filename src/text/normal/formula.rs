//! Letters with figures: formulas such as H₂O, and versions such as v2.0.

use super::english::Reader;
use super::numbers::{self, add};
use super::walk::Walk;

impl Reader<'_> {
    /// Letters with digits behind: formulas such as H₂O and CO2, and versions such as v2.0.
    pub(super) fn formula(&mut self, at: usize, end: usize) -> Option<usize> {
        let next = self.at(end)?;
        let word = &self.s[at..end];
        if word == "x"
            && self.figure_end != usize::MAX
            && self.figure_end + 1 >= at
            && self.begins_figure(self.skip_space(end))
        {
            self.say(at..end, "by");
            self.figure_start = end;
            return Some(end);
        }
        if matches!(next, '₀'..='₉') {
            return self.chemical(at);
        }
        if super::signs::script_digit(next).is_some() {
            let run = self.run(end, |c| super::signs::script_digit(c).is_some());
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
        if !next.is_ascii_digit() {
            return None;
        }
        // "T14:05"
        if word == "T" && self.digits(end) == end + 2 && self.at(end + 2) == Some(':') {
            self.figure_start = end;
            return Some(end);
        }
        if matches!(word, "v" | "V" | "ver" | "r") {
            let number = self.run(end, |c| c.is_ascii_digit() || c == '.');
            let number = end + self.s[end..number].trim_end_matches('.').len();
            if !self.is_letter(number) {
                self.say(at..end, if word == "r" { "R" } else { "version" });
                return Some(if self.s[end..number].contains('.') { self.figure(end) } else { number });
            }
        }
        const KNOWN: [&str; 12] =
            ["H2O", "CO2", "O2", "N2", "H2", "NO2", "SO2", "CH4", "NH3", "H2SO4", "C6H12O6", "O3"];
        let run = self.run(at, |c| c.is_ascii_alphanumeric());
        if KNOWN.contains(&&self.s[at..run]) {
            return self.chemical(at);
        }
        Some(run)
    }

    /// Reads each element and each count of a formula.
    pub(super) fn chemical(&mut self, at: usize) -> Option<usize> {
        let end = self.run(at, |c| c.is_ascii_alphanumeric() || super::signs::script_digit(c).is_some());
        if end - at > 40 {
            return None;
        }
        let written = &self.s[at..end];
        // A word with one small figure behind is no formula: x₁.
        let is_formula = written.chars().filter(char::is_ascii_alphabetic).all(char::is_alphabetic)
            && written.starts_with(char::is_uppercase);
        let mut words = String::new();
        let mut digits = String::new();
        for c in written.chars().chain(std::iter::once(' ')) {
            let digit = super::signs::script_digit(c).or(c.is_ascii_digit().then_some(c));
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
