//! Several figures with signs between them: ratios, versions, exponents, numbers in groups.

use super::abbreviations::lists;
use super::amount::Amount;
use super::english::Reader;
use super::numbers::{self, add};
use super::walk::Walk;

/// Most bytes of a number in groups.
const MOST_GROUPED: usize = 64;

/// Days of the week and their abbreviations, in small letters.
const DAYS: &str = "mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday tues thur thurs weds";

impl Reader<'_> {
    /// Figures with a meaning of their own, and exponents.
    pub(super) fn special(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        if self.s[at..].starts_with("24/7/365") {
            self.say(at..at + 8, "twenty four seven three sixty five");
            return Some(at + 8);
        }
        if self.s[at..].starts_with("24-7")
            && !self.at(end + 2).is_some_and(|c| c.is_alphanumeric() || ":-.".contains(c))
        {
            self.say(at..end + 2, "twenty four seven");
            return Some(end + 2);
        }
        if amount.is_plain() && self.at(end) == Some('/') && self.is_digit(end + 1) {
            let second = self.digits(end + 1);
            if self.is_letter(second) || self.at(second) == Some('/') {
                return None;
            }
            let (a, b) = (amount.value()?, numbers::value(&self.s[end + 1..second])?);
            // "2023/24", "2016/679"
            if super::figure::is_year_text(amount.whole) && (second == end + 3 || b > 99) && b < 10_000 {
                let mut words = String::new();
                numbers::year(&mut words, a);
                if second > end + 3 {
                    add(&mut words, "slash");
                }
                let mut last = String::new();
                match second - end - 1 {
                    4 => numbers::year(&mut last, b),
                    _ => numbers::cardinal(&mut last, &self.s[end + 1..second]),
                }
                add(&mut words, &last);
                self.say(at..second, &words);
                return Some(second);
            }
            if matches!(b, 2 | 4 | 8) && a <= 15 && self.is_meter(at, second) {
                let mut words = amount.words();
                numbers::number(&mut words, b);
                self.say(at..second, &words);
                return Some(second);
            }
            if let Some(end) = self.day_of_month(at, amount, second) {
                return Some(end);
            }
            let has_zero = self.s[at..].starts_with('0') || self.s[end + 1..].starts_with('0');
            let joint = match (a, b) {
                _ if has_zero && second == end + 3 => "slash",
                _ if a <= b && self.is_step(at) => "of",
                (_, 0..=9) if a > 10 && self.is_cricket(second) => "for",
                (24, 7) | (9, 11) | (20, 20) => "",
                // "80/20"
                _ if a + b == 100
                    && b.is_multiple_of(5)
                    && !lists("BP bp", self.word_near(at, 1))
                    && self.unit_at(self.skip_space(second), false).is_none() =>
                {
                    ""
                }
                _ if self.is_date_word(at) => "slash",
                _ if lists("Op op Opus opus", self.word_near(at, 1)) => "number",
                _ if a <= b
                    && lists(
                        "passed failed correct complete completed done tests points votes answered won solved",
                        self.word_behind(second),
                    ) =>
                {
                    "out of"
                }
                (_, 10 | 100) if a <= b => "out of",
                _ if a == b => "out of",
                _ if a > b && b > 0 && self.before(at) != Some('/') => "over",
                _ => "slash",
            };
            let has_unit =
                self.skip_space(second) > second && self.unit_at(self.skip_space(second), false).is_some();
            if joint == "slash"
                && !has_zero
                && !self.is_date_word(at)
                && self.before(at) != Some('/')
                && !has_unit
                && a < 20
                && a < b
                && b < 1000
                && a > 0
                && !matches!(b, 11 | 13..=31)
            {
                let mut words = String::new();
                numbers::fraction(&mut words, a, b);
                self.say(at..second, &words);
                return Some(second);
            }
            let mut words = amount.words();
            add(&mut words, joint);
            numbers::cardinal(&mut words, &self.s[end + 1..second]);
            self.say(at..second, &words);
            let next = self.skip_space(second);
            if let Some(unit) = self.unit_at(next, false).filter(|_| has_unit) {
                self.say(next..unit.end, &unit.many);
                return Some(unit.end);
            }
            return Some(second);
        }
        // "4.5/5"
        if !amount.decimals.is_empty() && amount.decimals.len() <= 2 && self.at(end) == Some('/') {
            let second = self.digits(end + 1);
            let is_whole = !self.is_letter(second) && !matches!(self.at(second), Some('/' | '.' | '%'))
                || self.at(second) == Some('.') && !self.is_digit(second + 1);
            if is_whole && matches!(&self.s[end + 1..second], "4" | "5" | "6" | "10" | "20" | "100") {
                let mut words = amount.words();
                add(&mut words, "out of");
                numbers::cardinal(&mut words, &self.s[end + 1..second]);
                self.say(at..second, &words);
                return Some(second);
            }
        }
        // 6.02e23
        if matches!(self.at(end), Some('e' | 'E')) && amount.fraction.is_none() {
            let sign = usize::from(matches!(self.at(end + 1), Some('-' | '+')));
            let digits = self.digits(end + 1 + sign);
            if digits > end + 1 + sign
                && digits - end <= 5
                && !self.is_letter(digits)
                && !(self.at(digits) == Some('-') && self.at(digits + 1).is_some_and(char::is_alphanumeric))
            {
                let mut words = amount.words();
                add(&mut words, "times ten to the power of");
                if self.at(end + 1) == Some('-') {
                    add(&mut words, "minus");
                }
                numbers::cardinal(&mut words, &self.s[end + 1 + sign..digits]);
                self.say(at..digits, &words);
                return Some(digits);
            }
        }
        None
    }

    /// True behind "week of": "the week of 5/6".
    pub(super) fn is_week_of(&self, at: usize) -> bool {
        self.word_near(at, 0) == "of" && lists("week Week", &self.s[self.word_before.clone()])
    }

    /// A month and a day behind a day of the week, or a word such as "due": "Thu 11/14".
    fn day_of_month(&mut self, at: usize, amount: Amount<'_>, end: usize) -> Option<usize> {
        const BEFORE: &str = "due dated until till since closed ends starts avail available";
        let before = self.word_near(at, 1).to_ascii_lowercase();
        let is_behind_word = lists(DAYS, &before) || lists(BEFORE, &before);
        // "closed 25/12"
        let (day, month) = (amount.value()?, numbers::value(&self.s[amount.end + 1..end])?);
        if (13..=31).contains(&day) && (self.is_date_word(at) || is_behind_word) && end <= amount.end + 3 {
            let mut words = super::time::month_of(month)?.to_owned();
            let mut ordinal = String::new();
            numbers::ordinal(&mut ordinal, day);
            add(&mut words, &ordinal);
            self.say(at..end, &words);
            return Some(end);
        }
        // "10/3–10/6"
        let is_pair = self.dash(end).is_some_and(|(_, second)| {
            let slash = self.digits(second);
            self.at(slash) == Some('/') && self.is_digit(slash + 1)
        }) || self.figure_end_before(at) && {
            let left = &self.s[..self.figure_end];
            let day = left.trim_end_matches(|c: char| c.is_ascii_digit());
            day.ends_with('/') && left.len() <= day.len() + 2
        };
        let is_dated = is_pair || self.is_week_of(at) || is_behind_word;
        let (a, b) = (amount.value()?, numbers::value(&self.s[amount.end + 1..end])?);
        let next = self.skip_space(end);
        let is_measure =
            next > end && (self.unit_at(next, false).is_some() || self.noun_behind(end).is_some());
        if !is_dated || !(1..=31).contains(&b) || is_measure || self.s[next..].starts_with("of ") {
            return None;
        }
        let name = super::time::month_of(a).filter(|_| amount.whole.len() <= 2)?;
        let mut ordinal = String::new();
        numbers::ordinal(&mut ordinal, b);
        self.say(at..end, &format!("{name} {ordinal}"));
        Some(end)
    }

    /// True for the meter of music: "in 4/4 time", "a waltz in 3/4".
    pub(super) fn is_meter(&self, at: usize, end: usize) -> bool {
        let next = self.skip_space(end);
        let follows = &self.s[next..self.letters(next)];
        let noun = &self.s[self.word_before.clone()];
        next > end && lists("time meter metre signature rhythm beat groove", follows)
            || follows != "of"
                && self.word_near(at, 0) == "in"
                && lists("waltz song piece written tune jig march reel polka minuet played play", noun)
    }

    /// True behind a noun whose count is given: "Step 1/3".
    pub(super) fn is_step(&self, at: usize) -> bool {
        lists(
            "step part page round slide day week episode phase lesson task question stage lap screen file track round try \
             attempt",
            &self.word_near(at, 1).to_ascii_lowercase(),
        )
    }

    /// True if "in 50 overs" follows.
    fn is_cricket(&self, end: usize) -> bool {
        let rest = &self.s[end..];
        let rest = rest.trim_start_matches([' ', '(']);
        let rest = rest.strip_prefix("in ").unwrap_or(rest);
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        rest.starts_with(" overs") || rest.starts_with(" ov)")
    }

    pub(super) fn is_date_word(&self, at: usize) -> bool {
        let day = self.word_near(at, 1).to_ascii_lowercase();
        lists(DAYS, &day)
            || lists("on since until till dated date due", &self.word_near(at, 0).to_ascii_lowercase())
    }

    /// Three groups of digits and more: 4-3-3, 978-3-16-148410-0.
    pub(super) fn grouped(&mut self, at: usize) -> Option<usize> {
        let mut end = self.digits(at);
        let (mut groups, mut longest) = (1, end - at);
        while end > at && end < at + MOST_GROUPED && self.at(end) == Some('-') && self.is_digit(end + 1) {
            let last = self.digits(end + 1);
            (groups, longest) = (groups + 1, longest.max(last - end - 1));
            end = last;
        }
        if groups < 3
            || self.is_letter(end)
            || matches!(self.at(end), Some('.' | ':' | '/')) && self.is_digit(end + 1)
        {
            return None;
        }
        let mut words = String::new();
        for group in self.s[at..end].split('-') {
            if longest > 2 {
                if !words.is_empty() {
                    words.push(',');
                }
                numbers::digits(&mut words, group);
            } else {
                numbers::cardinal(&mut words, group);
            }
        }
        self.say(at..end, &words);
        Some(end)
    }

    /// Versions and addresses: 1.2.3, 192.168.0.1.
    pub(super) fn dotted(&mut self, at: usize) -> Option<usize> {
        let mut end = self.digits(at);
        let mut parts = 1;
        while end > at && self.at(end) == Some('.') && self.is_digit(end + 1) {
            end = self.digits(end + 1);
            parts += 1;
        }
        if parts < 3 {
            return None;
        }
        let groups = &self.s[at..end];
        if parts == 3 && groups.len() <= 11 && groups.split('.').skip(1).all(|group| group.len() == 3) {
            let mut words = String::new();
            numbers::cardinal(&mut words, groups);
            // "1.234.567,89"
            let last = self.digits(end + 1);
            if self.at(end) == Some(',') && matches!(last - end, 2 | 3) {
                add(&mut words, "point");
                numbers::digits(&mut words, &self.s[end + 1..last]);
                end = last;
            }
            self.say(at..end, &words);
            return Some(end);
        }
        let joint = if parts == 4 { "dot" } else { "point" };
        let mut words = String::new();
        for (n, part) in self.s[at..end].split('.').enumerate() {
            if n > 0 {
                add(&mut words, joint);
            }
            numbers::cardinal(&mut words, part);
        }
        self.say(at..end, &words);
        // "127.0.0.1:8080"
        let port = self.digits(end + 1);
        if parts == 4 && self.at(end) == Some(':') && port > end + 1 && port <= end + 6 {
            self.say(end..end + 1, "port");
            let mut words = String::new();
            numbers::cardinal(&mut words, &self.s[end + 1..port]);
            self.say(end + 1..port, &words);
            return Some(port);
        }
        Some(end)
    }
}
