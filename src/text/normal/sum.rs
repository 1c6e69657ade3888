//! Sums of money, and magnitudes such as "5M".

use super::abbreviations::lists;
use super::amount::{Amount, article_of, part_of};
use super::english::Reader;
use super::money::{self, Currency};
use super::numbers::{self, add};
use super::units;
use super::walk::Walk;

/// Nouns behind millions: "2.5m people".
pub(super) const COUNTED: &str = "people users views followers subscribers subs customers jobs homes deaths cases copies records \
     downloads streams viewers visitors residents households barrels children women men workers members voters shares \
     votes doses passengers refugees pounds dollars euros Americans Britons adults students patients vehicles cars \
     devices accounts";

impl<'a> Reader<'a> {
    /// A sum of money whose sign is at `at`.
    pub(super) fn sum(&mut self, at: usize, from: usize, currency: &'static Currency) -> Option<usize> {
        let digits = self.skip_space(from);
        let is_minus = matches!(self.at(from), Some('-' | '−'))
            && self.begins_figure(from + self.at(from).map_or(0, char::len_utf8));
        if is_minus {
            let digits = from + self.at(from).map_or(0, char::len_utf8);
            self.say(at..digits, "minus");
            let end = self.sum_at(digits, digits, currency)?;
            self.figure_end = end;
            return Some(self.range(end).unwrap_or(end));
        }
        let end = self.sum_at(at, digits, currency)?;
        self.figure_end = end;
        Some(self.range(end).unwrap_or(end))
    }

    /// A sum of money, whose digits begin at `from`.
    pub(super) fn sum_at(&mut self, at: usize, from: usize, currency: &'static Currency) -> Option<usize> {
        let amount = self.amount(from).map(|amount| self.with_cents(from, amount))?;
        let mut end = amount.end;
        let attached = self.letters(end);
        let next = self.skip_space(end);
        let letters = self.letters(next);
        let symbol = &self.s[next..letters];
        let is_hyphened = self.at(end) == Some('-') && self.letters(end + 1) > end + 4;
        let magnitude = if is_hyphened {
            // "a $5-million deal"
            let letters = self.letters(end + 1);
            money::magnitude(&self.s[end + 1..letters]).map(|word| (word, end..letters))
        } else if attached > end {
            money::magnitude(&self.s[end..attached]).map(|word| (word, end..attached))
        } else if next > end
            && (symbol.len() > 3
                || matches!(symbol, "k" | "K" | "m" | "M" | "mn" | "bn" | "tn" | "B" | "mln" | "bln"))
            && !self.is_digit(letters)
        {
            money::magnitude(symbol).map(|word| (word, next..letters))
        } else {
            None
        };
        let behind = magnitude.as_ref().map_or(end, |(_, range)| range.end);
        // The first sum of a range gets its name from the second one.
        if let Some((_, second)) = self.dash(behind)
            && self.begins_figure(second)
        {
            let sign = self.at(second).and_then(money::by_sign);
            if sign.is_none_or(|sign| sign.many == currency.many) {
                self.say(at..end, &amount.words());
                if let Some((word, range)) = magnitude {
                    self.say(range, word);
                }
                if sign.is_none() {
                    self.currency = Some(currency);
                }
                return Some(behind);
            }
        }
        // "$1 to 2 million"
        if magnitude.is_none() && self.is_joined_sum(behind) {
            self.say(at..end, &amount.words());
            self.currency = Some(currency);
            return Some(behind);
        }
        let mut words = String::new();
        let name = |is_one: bool| if is_one { currency.one } else { currency.many };
        if let Some((word, range)) = magnitude {
            // "a $5-million deal"
            let is_noun =
                is_hyphened && self.is_letter(self.skip_space(range.end)) || self.is_adjective(at, range.end);
            self.say(at..end, &amount.words());
            words.push_str(word);
            add(&mut words, name(is_noun));
            end = self.magnitude_stop(range.end);
            self.say(range.start..end, &words);
        } else {
            let cents = if amount.decimals.len() == 2
                && !currency.cents.is_empty()
                && !currency.many.ends_with("cents")
            {
                numbers::value(amount.decimals)
            } else {
                None
            };
            match cents {
                Some(cents) => {
                    let whole = numbers::value(amount.whole).unwrap_or_default();
                    if whole > 0 || cents == 0 {
                        numbers::number(&mut words, whole);
                        add(&mut words, name(whole == 1));
                    }
                    if cents > 0 {
                        if !words.is_empty() && currency.many.contains(' ') {
                            add(&mut words, "and");
                        }
                        numbers::number(&mut words, cents);
                        add(&mut words, if cents == 1 { currency.cent } else { currency.cents });
                    }
                }
                None if amount.is_part() => {
                    let (n, of) = amount.fraction.unwrap_or_default();
                    part_of(&mut words, n, of, article_of(currency.one));
                    add(&mut words, currency.one);
                }
                None => {
                    amount.read(&mut words);
                    // "a 5-dollar bill"
                    let is_noun =
                        self.at(end) == Some('-') && self.is_letter(end + 1) || self.is_adjective(at, end);
                    add(&mut words, name(amount.is_one() || is_noun));
                }
            }
            self.say(at..end, &words);
        }
        Some(self.per(end).unwrap_or(end))
    }

    /// True if "to", "or" or "and" and a figure with a magnitude follow a sum.
    fn is_joined_sum(&self, at: usize) -> bool {
        let joint = self.skip_space(at);
        let end = self.letters(joint);
        let figure = self.skip_space(end);
        if joint == at || !lists("to or and", &self.s[joint..end]) || !self.is_digit(figure) {
            return false;
        }
        let digits = self.run(figure, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
        let unit = self.skip_space(digits);
        let word = &self.s[unit..self.letters(unit)];
        lists("million billion trillion thousand", word) || unit == digits && lists("m k bn M K B b", word)
    }

    /// The amount with hundredths behind a comma, if it has them: "5,50", "1.234,56".
    fn with_cents(&self, from: usize, amount: Amount<'a>) -> Amount<'a> {
        if let Some(amount) = self.with_points(from) {
            return amount;
        }
        let comma = amount.end;
        let end = self.digits(comma + 1);
        let is_thousands = amount.decimals.len() == 3;
        let has_cents = self.at(comma) == Some(',')
            && end == comma + 3
            && (amount.decimals.is_empty() || is_thousands)
            && amount.fraction.is_none()
            && !matches!(self.at(end), Some(',' | '.') if self.is_digit(end + 1));
        if !has_cents {
            return amount;
        }
        Amount { whole: &self.s[from..comma], decimals: &self.s[comma + 1..end], fraction: None, end }
    }

    /// The amount with points between its thousands, and hundredths behind a comma: "1.234,56". With several
    /// points the hundredths may be missing.
    pub(super) fn with_points(&self, from: usize) -> Option<Amount<'a>> {
        let mut end = self.digits(from);
        let mut groups = 0;
        if !(from + 1..=from + 3).contains(&end) {
            return None;
        }
        while groups < 5 && self.at(end) == Some('.') && self.digits(end + 1) == end + 4 {
            end += 4;
            groups += 1;
        }
        let whole = &self.s[from..end];
        let cents = self.digits(end + 1);
        let has_cents = self.at(end) == Some(',') && cents == end + 3;
        let last = if has_cents { cents } else { end };
        let goes_on = matches!(self.at(last), Some(',' | '.')) && self.is_digit(last + 1);
        if groups == 0 || groups == 1 && !has_cents || goes_on {
            return None;
        }
        let decimals = if has_cents { &self.s[end + 1..cents] } else { "" };
        Some(Amount { whole, decimals, fraction: None, end: last })
    }

    pub(super) fn magnitude_stop(&self, end: usize) -> usize {
        if matches!(&self.s[..end], s if s.ends_with("bn") || s.ends_with("mn")) {
            self.stop(end)
        } else {
            end
        }
    }

    /// "/month" behind a sum or a measure.
    pub(super) fn per(&mut self, at: usize) -> Option<usize> {
        if self.at(at) != Some('/') {
            // "£10 pp"
            let next = self.skip_space(at);
            let end = self.letters(next);
            let words = match &self.s[next..end] {
                "pp" => "per person",
                "pw" => "per week",
                "pcm" => "per calendar month",
                "pa" => "per year",
                _ => return None,
            };
            if self.is_digit(end) {
                return None;
            }
            self.say(next..end, words);
            return Some(end);
        }
        if self.is_digit(at + 1) {
            let (words, end) = self.divided(at)?;
            self.say(at..end, &words);
            return Some(end);
        }
        let end = self.letters(at + 1);
        let symbol = &self.s[at + 1..end];
        if symbol.is_empty() || self.is_digit(end) {
            return None;
        }
        let mut words = String::from("per ");
        let (one, end) = match units::period(symbol) {
            Some(word) => (word.to_owned(), end),
            None => match self.unit_at(at + 1, true) {
                Some(unit) => (unit.one, unit.end),
                None => (symbol.to_owned(), end),
            },
        };
        if one == "each" {
            words.clear();
        }
        words.push_str(&one);
        let end = self.stop(end);
        self.say(at..end, &words);
        Some(end)
    }

    /// Shillings and pence of old money: "2s. 6d.", "10s 6d".
    pub(super) fn old_money(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let shillings = amount.value().filter(|shillings| (1..=40).contains(shillings))?;
        let end = amount.end;
        if self.at(end) != Some('s') {
            return None;
        }
        let stop = |at: usize| at + usize::from(self.at(at) == Some('.'));
        let pence = self.skip_space(stop(end + 1));
        let pence_end = self.digits(pence);
        let value = numbers::value(&self.s[pence..pence_end]).filter(|pence| (1..=11).contains(pence));
        if pence == end + 1
            || self.at(pence_end) != Some('d')
            || self.is_letter(pence_end + 1)
            || value.is_none()
        {
            return None;
        }
        let mut words = amount.words();
        add(&mut words, if shillings == 1 { "shilling" } else { "shillings" });
        numbers::cardinal(&mut words, &self.s[pence..pence_end]);
        add(&mut words, if value == Some(1) { "penny" } else { "pence" });
        let last = self.stop(pence_end + 1);
        self.say(at..last, &words);
        Some(last)
    }

    /// Magnitudes, and currencies behind their figure.
    pub(super) fn money_behind(
        &mut self,
        at: usize,
        amount: Amount<'_>,
        end: usize,
        next: usize,
    ) -> Option<usize> {
        let attached = self.letters(end);
        // "i7-12700K" is a code.
        let is_code = self.before(at) == Some('-')
            && !self.word.is_empty()
            && self.s.get(self.word.end..at).is_some_and(|between| {
                between.len() <= 8 && between.len() > 1 && !between.contains(char::is_whitespace)
            });
        if attached > end && !self.is_digit(attached) && !is_code {
            let symbol = &self.s[end..attached];
            if matches!(symbol, "K" | "k" | "kt")
                && amount.value().is_some_and(|value| (8..=24).contains(&value))
                && lists("gold white yellow rose solid ring", self.word_behind(attached))
            {
                let mut words = amount.words();
                add(&mut words, "karat");
                self.say(at..attached, &words);
                return Some(attached);
            }
            // "5B people", but "in 5B"
            let follows = self.word_behind(attached);
            let is_many = follows.len() > 3
                && follows.starts_with(char::is_lowercase)
                && !lists("with from that when then", follows)
                || !amount.is_plain()
                || amount.value() >= Some(100)
                || self.currency_at(self.skip_space(attached)).is_some();
            let is_capital = self.at(self.skip_space(attached)).is_some_and(char::is_uppercase);
            let is_name = symbol == "B" && (is_capital || !is_many);
            let is_sum = symbol == "m"
                && (self.currency_at(self.skip_space(attached)).is_some()
                    || lists(COUNTED, self.word_behind(attached)));
            let count = if is_sum { Some("million") } else { money::count(symbol).filter(|_| !is_name) };
            if let Some(word) = count {
                let mut words = amount.words();
                add(&mut words, word);
                // "5M€", "3bn EUR"
                let sign_at = self.skip_space(attached);
                if let Some((currency, sign_end)) = self.currency_at(sign_at) {
                    self.say(at..attached, &words);
                    self.say(attached..sign_end, currency.many);
                    return Some(sign_end);
                }
                self.say(at..attached, &words);
                return Some(attached);
            }
            if symbol == "c" && amount.is_plain() && amount.value().is_some_and(|value| value < 100) {
                let mut words = amount.words();
                add(&mut words, if amount.is_one() { "cent" } else { "cents" });
                self.say(at..attached, &words);
                return Some(attached);
            }
            if matches!(symbol, "p") && amount.value().is_some_and(|value| value < 100) && amount.is_plain() {
                let mut words = amount.words();
                add(&mut words, if amount.is_one() { "penny" } else { "pence" });
                self.say(at..attached, &words);
                return Some(attached);
            }
            // "T=300K" is a temperature.
            if symbol == "K" && self.before(at) == Some('=') && self.s[..at - 1].trim_end().ends_with('T') {
                let mut words = amount.words();
                add(&mut words, "kelvin");
                self.say(at..attached, &words);
                return Some(attached);
            }
            if matches!(symbol, "K") && amount.is_plain() && (amount.value()? >= 11 || amount.value()? == 0) {
                let mut words = amount.words();
                add(&mut words, "thousand");
                self.say(at..attached, &words);
                return Some(attached);
            }
        }
        if let Some((currency, sign_end)) = self.currency_at(next) {
            let cents = if amount.decimals.len() == 2 && !currency.cents.is_empty() {
                numbers::value(amount.decimals)
            } else {
                None
            };
            let mut words = String::new();
            match cents {
                Some(cents) => {
                    let whole = numbers::value(amount.whole).unwrap_or_default();
                    numbers::number(&mut words, whole);
                    add(&mut words, if whole == 1 { currency.one } else { currency.many });
                    if cents > 0 {
                        numbers::number(&mut words, cents);
                        add(&mut words, if cents == 1 { currency.cent } else { currency.cents });
                    }
                    self.say(at..sign_end, &words);
                }
                None => {
                    amount.read(&mut words);
                    let name = if amount.is_one() { currency.one } else { currency.many };
                    if next > end {
                        self.say(at..end, &words);
                        self.say(next..sign_end, name);
                    } else {
                        add(&mut words, name);
                        self.say(at..sign_end, &words);
                    }
                }
            }
            return Some(self.per(sign_end).unwrap_or(sign_end));
        }
        // "1.2 million €"
        let letters = self.letters(next);
        if next > end
            && letters > next
            && money::magnitude(&self.s[next..letters]).is_some()
            && letters - next > 3
        {
            let sign_at = self.skip_space(letters);
            if let Some((currency, sign_end)) = self.currency_at(sign_at) {
                self.say(at..end, &amount.words());
                self.say(sign_at..sign_end, currency.many);
                return Some(sign_end);
            }
        }
        None
    }

    /// The currency at a position behind a figure, and its end.
    pub(super) fn currency_at(&self, at: usize) -> Option<(&'static Currency, usize)> {
        let c = self.at(at).filter(|_| at != self.math.end)?;
        let (currency, end) = match money::by_sign(c) {
            Some(currency) => (currency, at + c.len_utf8()),
            None => {
                let end = self.letters(at);
                (money::by_code(&self.s[at..end])?, end)
            }
        };
        (!self.begins_figure(end)).then_some((currency, end))
    }
}
