//! Figures: the order of the patterns, and figures without a unit: ordinals, decades, ranges, ratios.

use super::abbreviations::lists;
use super::amount::{Amount, article_of};
use super::english::Reader;
use super::money::Currency;
use super::numbers::{self, add};
use super::operands;
use super::walk::Walk;
use std::ops::Range;

/// Names before a version, whose minor number is read as a whole: "Python 3.12".
const VERSIONED: &str = "Python Node Go Rust Ruby PHP Perl Java Scala Kotlin Swift Lua Julia Django Rails React Angular \
     Vue Linux Kernel kernel macOS iOS Android Debian Fedora PostgreSQL Postgres MySQL Docker Kubernetes Git Chrome \
     Firefox version Version release Release";

/// Words before a time in seconds: "20s".
const TIMED: &str = "take takes took taking wait waits waited for after every within lasts lasted lasting rest hold \
     runs about only another sleep";

impl<'a> Reader<'a> {
    /// Reads a figure, and returns its end.
    pub(super) fn figure(&mut self, at: usize) -> usize {
        let currency = self.currency.take();
        let end = self.figure_of(at, currency);
        self.figure_end = end;
        // "Rule 10b-5"
        let second = self.digits(end + 1);
        if self.named_end == end && self.at(end) == Some('-') && second > end + 1 && !self.is_letter(second) {
            return end;
        }
        // "FY24–FY26"
        if let Some(dash) = self.at(end).filter(|c| matches!(c, '-' | '–'))
            && self.s[end + dash.len_utf8()..].starts_with("FY")
        {
            self.say(end..end + dash.len_utf8(), "to");
            return end + dash.len_utf8();
        }
        self.range(end).unwrap_or(end)
    }

    pub(super) fn figure_of(&mut self, at: usize, currency: Option<&'static Currency>) -> usize {
        if let Some(currency) = currency
            && let Some(end) = self.sum_at(at, at, currency)
        {
            return end;
        }
        if !self.before(at).is_some_and(char::is_alphanumeric)
            && let Some(end) = self.code(at)
        {
            return end;
        }
        if let Some(end) = self.place_in_journal(at) {
            return end;
        }
        if let Some(end) = self.phone(at) {
            return end;
        }
        if let Some(end) = self.date(at) {
            return end;
        }
        if let Some(end) = self.clock(at) {
            return end;
        }
        if let Some(end) = self.dotted(at).or_else(|| self.grouped(at)) {
            return end;
        }
        if let Some(end) = self.post_code(at) {
            return end;
        }
        if let Some(end) = self.long_code(at) {
            return end;
        }
        let Some(amount) = self.amount(at) else { return self.digits(at).max(at + 1) };
        // "1.234,56 €"
        let amount = self
            .with_points(at)
            .filter(|amount| self.currency_at(self.skip_space(amount.end)).is_some())
            .unwrap_or(amount);
        if let Some(end) = self.numbered_book(at, amount) {
            return end;
        }
        if let Some(end) = self.house(at, amount).or_else(|| self.labelled(at, amount)) {
            return end;
        }
        if let Some(end) = self.old_money(at, amount).or_else(|| self.named(at, amount)) {
            return end;
        }
        if let Some(end) = self.counted_in(at, amount) {
            return end;
        }
        if let Some(end) = self.special(at, amount) {
            return end;
        }
        let end = amount.end;
        let next = self.skip_space(end);
        if let Some(ended) = self.suffixed(at, amount, end) {
            return ended;
        }
        if let Some(ended) = self.money_behind(at, amount, end, next) {
            return ended;
        }
        if let Some(ended) = self.feet(at, amount) {
            return ended;
        }
        if let Some(ended) = self.measured(at, amount, end, next) {
            return ended;
        }
        if let Some(ended) = self.day(at, amount) {
            return ended;
        }
        if let Some(ended) = self.dimension(at, amount) {
            return ended;
        }
        self.bare(at, amount)
    }

    /// A code of two parts, one of them too long for a number: "Cat. No. 12345-67".
    fn long_code(&mut self, at: usize) -> Option<usize> {
        let first = self.digits(at);
        let second = self.digits(first + 1);
        let is_long = first >= at + 5 || second >= first + 6;
        let is_whole = self.at(first) == Some('-')
            && second > first + 1
            && self.before(at).is_none_or(|c| c.is_whitespace() || c == '#')
            && !self.is_letter(second)
            && !(self.at(second).is_some_and(|c| "-./,:".contains(c)) && self.is_digit(second + 1));
        if !is_long || !is_whole || !self.is_code(first, first + 1) {
            return None;
        }
        self.say_digits(at..first, first + 1..second);
        Some(second)
    }

    /// Says the digits of two parts of a code, one by one.
    fn say_digits(&mut self, first: Range<usize>, second: Range<usize>) {
        let mut words = String::new();
        numbers::digits(&mut words, &self.s[first.clone()]);
        words.push(',');
        numbers::digits(&mut words, &self.s[second.clone()]);
        self.say(first.start..second.end, &words);
    }

    /// The nine digits of an American post code: "NY 10001-1234".
    fn post_code(&mut self, at: usize) -> Option<usize> {
        let first = self.digits(at);
        let second = self.digits(first + 1);
        let is_code = first == at + 5
            && self.at(first) == Some('-')
            && second == first + 5
            && !(matches!(self.at(second), Some('-' | '.')) && self.is_digit(second + 1));
        let place = self.word_near(at, 1);
        let is_state = place.len() == 2 && place.bytes().all(|b| b.is_ascii_uppercase());
        if !is_code || !is_state && !lists("ZIP Zip zip code Code zipcode", place) {
            return None;
        }
        self.say_digits(at..first, first + 1..second);
        Some(second)
    }

    /// A figure without anything behind it.
    pub(super) fn bare(&mut self, at: usize, amount: Amount<'_>) -> usize {
        let end = amount.end;
        if amount.is_part() {
            let rest = self.s[end..].trim_start();
            let (mut words, (n, of)) = (String::new(), amount.fraction.unwrap_or_default());
            let word = rest.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            if matches!(of, 5 | 10) && word.starts_with("star") && self.s[at..end].contains('/') {
                numbers::number(&mut words, n);
                add(&mut words, "out of");
                numbers::number(&mut words, of);
            } else if n == 1
                && of == 2
                && matches!(
                    word,
                    "of" | "an"
                        | "a"
                        | "the"
                        | "price"
                        | "off"
                        | "way"
                        | "time"
                        | "full"
                        | "my"
                        | "his"
                        | "her"
                        | "your"
                        | "our"
                        | "their"
                        | "past"
                )
            {
                words.push_str("half");
            } else if let Some(article) = self.noun_behind(end) {
                words = self.part_words(at, (n, of), article);
            } else {
                numbers::fraction(&mut words, n, of);
            }
            // "a 3/4-inch bolt"
            if self.at(end) == Some('-') && self.is_letter(end + 1) {
                words.truncate(words.trim_end_matches('s').len());
            }
            self.say(at..end, &words);
            return end;
        }
        if self.dash(end).is_some() || self.figure_end_before(at) {
            // One end of a range.
            if amount.is_plain() && amount.whole.len() <= 9 {
                let words = match self.dash(end).map(|(_, second)| self.digits(second)) {
                    Some(second) if self.is_month_behind(second) && amount.value() <= Some(31) => {
                        let mut words = String::new();
                        numbers::ordinal(&mut words, amount.value().unwrap_or_default());
                        words
                    }
                    _ => self.number_in_range(amount),
                };
                self.say(at..end, &words);
                return end;
            }
        }
        if self.at(end) == Some('.') && self.is_digit(end + 1) {
            return end;
        }
        if !amount.is_plain() {
            let is_minor = amount.decimals.len() == 2 && !amount.decimals.starts_with('0');
            if is_minor && lists(VERSIONED, self.word_near(at, 0)) {
                let mut words = String::new();
                numbers::cardinal(&mut words, amount.whole);
                add(&mut words, "point");
                numbers::cardinal(&mut words, amount.decimals);
                self.say(at..end, &words);
                return end;
            }
            self.say(at..end, &amount.words());
            return end;
        }
        // "2H₂O"
        let letters = self.letters(end);
        if letters > end
            && letters <= end + 2
            && self.at(end).is_some_and(|c| c.is_ascii_uppercase())
            && matches!(self.at(letters), Some('₀'..='₉'))
        {
            self.say(at..end, &amount.words());
            return self.chemical(end).unwrap_or(end);
        }
        // What is joined to a figure belongs to it, and the engine reads it.
        if self.is_letter(end) && self.at(end).and_then(super::symbols::greek).is_none() {
            return self.run(end, char::is_alphanumeric);
        }
        let is_joined = matches!(self.at(end), Some('-' | '_' | '/' | ':')) && self.is_digit(end + 1)
            || self.before(at).is_some_and(|c| {
                matches!(c, '-' | '_' | '/' | ':' | '.')
                    && self.before(at - 1).is_some_and(|c| c.is_ascii_digit())
            });
        if is_joined {
            return end;
        }
        match amount.value() {
            Some(value)
                if (!self.left(at).trim_end().ends_with(['=', '×', '+', '*', '≈', '÷'])
                    || self.is_year_set(at))
                    && (is_year_text(amount.whole)
                        || value % 1000 >= 100 && lists("RFC ISO PEP DIN ANSI", self.word_near(at, 1))
                        || (1000..1100).contains(&value)
                            && (self.is_in_era(at, end)
                                || super::time::month(self.word_near(at, 1)).is_some()))
                    && amount.whole.len() == end - at =>
            {
                let mut words = String::new();
                numbers::year(&mut words, value);
                self.say(at..end, &words);
            }
            // Engines know three digits and more, such as the number of a flight.
            Some(_)
                if !amount.whole.starts_with('0')
                    && (matches!(amount.whole.len(), 1 | 2 | 4)
                        || amount.whole.len() == 3 && self.is_in_era(at, end)) =>
            {
                self.say(at..end, &amount.words());
            }
            _ => {}
        }
        end
    }

    /// True for the year that something is set to: "born = 1999", "year=2024".
    fn is_year_set(&self, at: usize) -> bool {
        let name = self.left(at).trim_end().trim_end_matches('=').trim_end();
        let name = &name[name.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len()..];
        let name = name.to_ascii_lowercase();
        let last = name.rsplit('_').next().unwrap_or_default();
        name.contains("year")
            || lists("yr born died since founded built birth death published established date", last)
    }

    /// True for a year with its era: "AD 1066".
    fn is_in_era(&self, at: usize, end: usize) -> bool {
        let next = self.skip_space(end);
        ["B.C", "A.D"].iter().any(|era| self.s[next..].starts_with(era))
            || lists("AD CE", self.word_near(at, 0))
            || lists("AD BC CE BCE", &self.s[next..self.letters(next)])
    }

    pub(super) fn figure_end_before(&self, at: usize) -> bool {
        self.figure_end != usize::MAX
            && self.figure_end < at
            && at - self.figure_end <= 5
            && self
                .s
                .get(self.figure_end..at)
                .is_some_and(|between| between.contains(['-', '–', '−', '—', '‑']))
    }

    pub(super) fn number_in_range(&self, amount: Amount<'_>) -> String {
        let mut words = String::new();
        match amount.value() {
            Some(value) if is_year_text(amount.whole) => numbers::year(&mut words, value),
            _ => amount.read(&mut words),
        }
        words
    }

    /// A suffix without a space: ordinals, decades, "x".
    pub(super) fn suffixed(&mut self, at: usize, amount: Amount<'_>, end: usize) -> Option<usize> {
        let letters_end = self.letters(end);
        let suffix = &self.s[end..letters_end];
        let is_apart = !self.is_digit(letters_end);
        let mut words = String::new();
        match suffix {
            // "2d Sess.", "3d Cir."
            "d" if is_apart
                && matches!(amount.whole, "2" | "3")
                && lists("Sess Cir Supp Dist Dept Cong ed Ed", self.word_behind(letters_end)) =>
            {
                numbers::ordinal(&mut words, amount.value()?);
            }
            // "123 F.3d 456"
            "d" if is_apart
                && matches!(amount.whole, "2" | "3")
                && self.before(at) == Some('.')
                && self.is_letter(at.saturating_sub(2)) =>
            {
                words.push(' ');
                numbers::ordinal(&mut words, amount.value()?);
            }
            "st" | "nd" | "rd" | "th" | "ST" | "ND" | "RD" | "TH"
                if is_apart && amount.decimals.is_empty() =>
            {
                numbers::ordinal(&mut words, numbers::value(amount.whole)?);
                let century = self.skip_space(letters_end);
                if self.s[century..].starts_with("c.")
                    && century > letters_end
                    && !self.is_letter(century + 2)
                {
                    self.say(at..letters_end, &words);
                    let stop = self.stop(century + 1);
                    self.say(century..stop, "century");
                    return Some(stop);
                }
            }
            "s" if is_apart && amount.is_plain() => {
                let value = amount.value()?;
                // "2x4s"
                let is_crossed = matches!(self.before(at), Some('x' | '×')) && self.figure_start == at;
                if (is_crossed || self.is_counted(at)) && value < 100 {
                    self.say(at..letters_end, &numbers::plural(&amount.words()));
                    return Some(letters_end);
                }
                if let Some(end) = self.several(at, amount, letters_end) {
                    return Some(end);
                }
                let before = self.word_near(at, 1).to_ascii_lowercase();
                let is_decade = self.is_decade_of_range(at, letters_end)
                    || matches!(
                        before.as_str(),
                        "the"
                            | "lows"
                            | "highs"
                            | "temps"
                            | "temperatures"
                            | "early"
                            | "late"
                            | "mid"
                            | "his"
                            | "her"
                            | "their"
                            | "my"
                            | "our"
                            | "your"
                            | "in"
                            | "low"
                            | "high"
                            | "upper"
                            | "lower"
                    );
                if value % 10 != 0
                    || !((100..3000).contains(&value) && amount.whole.len() == 4
                        || (20..100).contains(&value) && is_decade)
                {
                    return None;
                }
                numbers::decade(&mut words, value);
                self.decade_end = letters_end;
            }
            "x" | "X" if is_apart && self.is_algebra(at, letters_end) => {
                amount.read(&mut words);
                add(&mut words, "x");
            }
            // The "Ryzen 9 5950X"
            "X" if amount.whole.len() > 2 => return None,
            "x" | "X" if is_apart => {
                amount.read(&mut words);
                add(&mut words, if amount.is_one() { "time" } else { "times" });
            }
            // "pp. 12ff."
            "ff" if is_apart && amount.is_plain() => {
                amount.read(&mut words);
                add(&mut words, "and following");
                let stop = self.stop(letters_end);
                self.say(at..stop, &words);
                return Some(stop);
            }
            // "12.3K reviews"
            "K" if is_apart && !amount.decimals.is_empty() && !amount.whole.is_empty() => {
                amount.read(&mut words);
                add(&mut words, "thousand");
            }
            "D" if is_apart && amount.is_plain() => {
                amount.read(&mut words);
                add(&mut words, "D");
            }
            _ if suffix.is_empty()
                && matches!(self.at(end), Some('×'))
                && !self.is_digit(self.skip_space(end + 2))
                && !self.begins_figure(end + 2) =>
            {
                amount.read(&mut words);
                // "4× M6 bolts" of a list
                let line = self.left(at);
                let is_first = line.trim().is_empty() && line.len() < operands::WINDOW
                    || line.ends_with(['•', '·', '-', '*', '◦'])
                    || ["• ", "· ", "- ", "* ", "◦ "].iter().any(|bullet| line.ends_with(bullet));
                if is_first && self.is_letter(self.skip_space(end + 2)) && self.is_space(end + 2) {
                    self.say(at..end + 2, &words);
                    return Some(end + 2);
                }
                add(&mut words, if amount.is_one() { "time" } else { "times" });
                self.say(at..end + 2, &words);
                return Some(end + 2);
            }
            _ => return None,
        }
        self.say(at..letters_end, &words);
        Some(letters_end)
    }

    /// True for a figure that is a name or a thing, and no time: the "52s" of "B-52s", "three 10s", "size 8s".
    fn is_counted(&self, at: usize) -> bool {
        const COUNTS: &str = "two three four five six seven eight nine ten several many few some size sizes all both more these those pair";
        let is_named = self.before(at) == Some('-') && self.before(at - 1).is_some_and(char::is_alphabetic);
        is_named || lists(COUNTS, &self.word_near(at, 0).to_ascii_lowercase())
    }

    /// Answers of servers, planes and hundreds: "404s", "747s", "100s of them". Behind "took" and the like it is a time.
    fn several(&mut self, at: usize, amount: Amount<'_>, end: usize) -> Option<usize> {
        const ANSWERS: &str = "301 302 304 307 400 401 403 404 405 408 409 410 422 429 500 501 502 503 504";
        let before = self.word_near(at, 0).to_ascii_lowercase();
        let follows = self.word_behind(end);
        if lists(TIMED, &before) || lists("timeout timeouts delay delays timer later ago", follows) {
            return None;
        }
        let mut words = String::new();
        match amount.whole {
            "100" if follows == "of" => words.push_str("hundreds"),
            "1000" if follows == "of" => words.push_str("thousands"),
            answer if lists(ANSWERS, answer) => {
                for digit in answer.chars() {
                    match digit {
                        '0' => add(&mut words, "oh"),
                        _ => numbers::digits(&mut words, digit.encode_utf8(&mut [0; 4])),
                    }
                }
                words.push('s');
            }
            "707" => words.push_str("seven oh sevens"),
            plane if plane.len() == 3 && plane.starts_with('7') && plane.ends_with('7') => {
                words.push_str("seven");
                numbers::cardinal(&mut words, &plane[1..]);
                words.push('s');
            }
            _ => return None,
        }
        self.say(at..end, &words);
        Some(end)
    }

    /// True for the "40s" of "40s to 50s", and for one behind another decade.
    fn is_decade_of_range(&self, at: usize, end: usize) -> bool {
        if let Some(between) = self.s.get(self.decade_end..at) {
            let between = between.get(..between.len().min(6)).unwrap_or("......").trim();
            if matches!(between, "to" | "or" | "and" | "–" | "-" | "," | "/" | ", or" | "into") {
                return true;
            }
        }
        let is_time = lists(TIMED, &self.word_near(at, 0).to_ascii_lowercase())
            || lists("between Between", self.word_near(at, 0))
                && lists(TIMED, &self.s[self.word_before.clone()]);
        let joint = self.skip_space(end);
        let second = match self.at(joint) {
            Some(c @ ('–' | '-')) => self.skip_space(joint + c.len_utf8()),
            _ if joint > end && self.s[joint..].starts_with("to ") => joint + 3,
            _ if joint > end
                && self.s[joint..].starts_with("and ")
                && lists("between Between", self.word_near(at, 0)) =>
            {
                joint + 4
            }
            _ => return false,
        };
        let rest = &self.s.as_bytes()[second..];
        !is_time
            && matches!(rest, [b'2'..=b'9', b'0', b's', ..])
            && !self.at(second + 3).is_some_and(char::is_alphanumeric)
    }

    /// True for the "2x" of an equation.
    fn is_algebra(&self, at: usize, end: usize) -> bool {
        let is_operator = |c: Option<char>| {
            matches!(
                c,
                Some(
                    '+' | '−'
                        | '='
                        | '*'
                        | '^'
                        | '²'
                        | '³'
                        | '⁴'
                        | '<'
                        | '≤'
                        | '≥'
                        | '×'
                        | '·'
                        | '⋅'
                        | '÷'
                        | '±'
                )
            )
        };
        let before = self.s[..at].trim_end();
        let before = before.strip_suffix('-').map_or(before, str::trim_end).chars().next_back();
        is_operator(self.at(self.skip_space(end)))
            || is_operator(before)
            || before == Some('(')
            || self.s[self.skip_space(end)..].starts_with("- ")
    }

    /// A decade or a year without its century: "'90s", "’68".
    pub(super) fn short_decade(&mut self, at: usize, from: usize) -> Option<usize> {
        let end = self.digits(from);
        // "'24/7'", "'16:9'", "'42'"
        let run =
            self.run(from, |c| c.is_ascii_digit() || matches!(c, '/' | ':' | '.' | ',' | '-' | '–' | '%'));
        // "'20 EUR'", "'98.6°F'"
        let unit =
            self.run(self.skip_space(run), |c| c.is_alphabetic() || matches!(c, '°' | '%' | '/' | '²' | '³'));
        let is_quantity = unit > run
            && matches!(self.at(unit), Some('\'' | '’'))
            && !self.is_letter(unit + self.at(unit).map_or(0, char::len_utf8));
        let is_quoted = is_quantity && &self.s[run..unit] != "s"
            || matches!(self.at(run), Some('\'' | '’')) && !self.is_digit(run + 1);
        if is_quoted || matches!(self.at(end), Some('/' | ':')) && self.is_digit(end + 1) {
            return None;
        }
        if end != from + 2 || self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '\'' | '′'))
        {
            return None;
        }
        let value = numbers::value(&self.s[from..end])?;
        let mut words = String::new();
        if self.at(end) == Some('s') && !self.is_letter(end + 1) && value % 10 == 0 && value >= 10 {
            numbers::decade(&mut words, value);
            self.say(at..end + 1, &words);
            return Some(self.short_range(end + 1));
        }
        if self.is_letter(end) || self.is_in_single || self.at(end) == Some('\'') {
            return None;
        }
        if (1..10).contains(&value) {
            words.push_str("oh");
        }
        let mut year = String::new();
        numbers::year(&mut year, value);
        add(&mut words, &year);
        self.say(at..end, &words);
        Some(self.short_range(end))
    }

    /// "to" between two short years: "'90-'95".
    fn short_range(&mut self, at: usize) -> usize {
        let Some(dash) = self.at(at).filter(|c| matches!(c, '-' | '–')) else { return at };
        let end = at + dash.len_utf8();
        let Some(mark) = self.at(end).filter(|c| matches!(c, '\'' | '’')) else {
            // "'95-96"
            let second = self.digits(end);
            if second != end + 2 || self.at(second).is_some_and(|c| c.is_alphanumeric() || c == '-') {
                return at;
            }
            let mut words = String::from("to");
            numbers::cardinal(&mut words, &self.s[end..second]);
            self.say(at..second, &words);
            return second;
        };
        if self.digits(end + mark.len_utf8()) != end + mark.len_utf8() + 2 {
            return at;
        }
        self.say(at..end, "to");
        end
    }

    /// The article of a thing that has parts, behind a fraction: "½ cup".
    pub(super) fn noun_behind(&self, end: usize) -> Option<&'static str> {
        let next = self.skip_space(end);
        let word = self.s[next..self.letters(next)].to_ascii_lowercase();
        let is_noun = matches!(
            word.as_str(),
            "cup"
                | "teaspoon"
                | "tablespoon"
                | "pound"
                | "ounce"
                | "inch"
                | "mile"
                | "hour"
                | "pint"
                | "quart"
                | "gallon"
                | "stick"
                | "can"
                | "day"
                | "year"
                | "minute"
                | "second"
                | "page"
                | "onion"
                | "lemon"
                | "pack"
                | "packet"
                | "jar"
                | "bottle"
                | "slice"
                | "liter"
                | "litre"
                | "kilogram"
                | "kilo"
                | "gram"
                | "dozen"
                | "bag"
                | "apple"
                | "avocado"
                | "acre"
                | "point"
                | "turn"
                | "tank"
                | "foot"
                | "yard"
                | "pinch"
                | "head"
                | "bunch"
                | "clove"
                | "loaf"
                | "glass"
                | "lime"
                | "orange"
        );
        if !is_noun {
            return None;
        }
        Some(article_of(&word))
    }

    /// The dash of a range at a position: its end with the spaces around, and the start of the second figure.
    pub(super) fn dash(&self, at: usize) -> Option<(usize, usize)> {
        let from = self.skip_space(at);
        let dash = self.at(from).filter(|c| matches!(c, '–' | '—' | '-' | '−' | '‑'))?;
        let end = from + dash.len_utf8();
        let second = self.skip_space(end);
        let is_spaced = from > at;
        if is_spaced != (second > end) || self.at(second).is_none() {
            return None;
        }
        let word = &self.s[second..self.letters(second)];
        let is_figure =
            matches!(word, "present" | "Present" | "now" | "today" | "noon" | "midnight" | "date")
                || self.begins_figure(second)
                || self.is_date_at(second)
                || (dash != '-' || is_spaced)
                    && matches!(self.at(second), Some('-' | '−'))
                    && self.is_digit(second + self.at(second).map_or(0, char::len_utf8));
        is_figure.then_some((end, second))
    }

    /// "to" between two figures. The first one ends at `at`.
    pub(super) fn range(&mut self, at: usize) -> Option<usize> {
        let (end, second) = self.dash(at)?;
        let from = self.skip_space(at);
        if from == at && self.is_half_and_half(at, second) {
            self.out.put(from..end, " ");
            return Some(end);
        }
        // The thread "1/4\"-20"
        let is_thread = from == at
            && self.s[..at].ends_with(['"', '″'])
            && self.digits(second) == second + 2
            && !matches!(self.at(second + 2), Some('"' | '″' | '\'' | '/' | '.' | '-'));
        if is_thread || from == at && self.is_code(at, second) {
            self.say(from..end, "");
            return Some(end);
        }
        let is_minus =
            self.at(from) == Some('−') || self.is_subtraction(at, second) || self.takes_away(from, end);
        let words = if is_minus { "minus" } else { "to" };
        self.say(from..end, words);
        Some(end)
    }

    /// True for the two parts of a code. `at` is the end of the first part: "SKU 12-3456", "CVE-2021-44228",
    /// "No. 19-1392", "§ 1.61-1", "2024-03".
    fn is_code(&self, at: usize, second: usize) -> bool {
        const CODES: &str = "SKU Order order ID id Ref ref Model model Serial serial Invoice invoice Ticket ticket Boeing \
             Airbus EIN PO RMA Tracking tracking Batch batch Account account Claim claim Policy policy ISSN ISBN Case case Docket docket Law Ruling Rul VIN CVE RFC";
        // Nouns of one thing: "Cat. No. 12345-67", "Room 12-34". Of several, "Nos. 3-5" is a range.
        const LABELLED: &str = "no number part pn cat catalog catalogue room rm bldg building suite ste apt apartment unit item \
             license licence permit member membership contract confirmation reservation file form lot acct patent plate locker \
             extension ext code flight train bus tram gate route isbn";
        let is_hyphen = self.at(at) == Some('-');
        let left = self.left(at);
        let before = left.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
        let start = at - (left.len() - before.len());
        let (first, last) = (&self.s[start..at], &self.s[second..self.digits(second)]);
        let label = self.word_near(start, 2);
        if last.len() >= 3 && lists("No L", label) && before.trim_end().ends_with('.') {
            return true;
        }
        if !is_hyphen || self.at(second + last.len()) == Some(':') {
            return false;
        }
        // "Qwen2.5-7B"
        if first.contains('.')
            && first.starts_with(|c: char| c.is_ascii_digit())
            && before.ends_with(char::is_alphabetic)
        {
            return true;
        }
        // "§ 1.61-1", "INV-2024-0042" and "Llama-3.1-8B"
        let name = before.strip_suffix('-').unwrap_or_default();
        let word = name.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        if word.len() > 2 && word.starts_with(char::is_uppercase) && word.ends_with(char::is_lowercase) {
            return true;
        }
        let is_named = name.ends_with(|c: char| c.is_ascii_uppercase()) && {
            let token = name.rsplit(|c: char| !c.is_ascii_uppercase()).next().unwrap_or_default();
            token.len() > 1 && !lists("UTC GMT", token)
        };
        let section = before.trim_end();
        let is_section = section.ends_with('§') && !section.ends_with("§§")
            || ["Pub. L.", "Rul.", "Proc.", "Reg."].iter().any(|source| section.ends_with(source));
        let is_plane = first.len() == 3
            && first.starts_with('7')
            && first.ends_with('7')
            && (last.ends_with("00") && last.len() == 3 || matches!(last, "8" | "9" | "10"));
        let is_zero = last.len() >= 2
            && last.starts_with('0')
            && !(self.s[second + last.len()..].starts_with(['.', ','])
                && self.is_digit(second + last.len() + 1));
        // "I order 2-3 pizzas.", "room 3-5 people"
        let behind = self.word_behind(second + last.len());
        let is_plural = behind.len() > 3 && behind.ends_with('s') || behind == "people";
        let is_count =
            first.len().max(last.len()) <= 2 && (is_plural || label == "order" && !behind.is_empty());
        let is_labelled =
            lists(LABELLED, &label.to_ascii_lowercase()) && !self.is_unit_behind(second + last.len());
        (lists(CODES, label) || is_labelled) && !is_count || is_named || is_section || is_plane || is_zero
    }

    /// True if a unit or a percent sign is behind the second figure of a range.
    fn is_unit_behind(&self, end: usize) -> bool {
        let next = self.skip_space(end);
        self.unit_at(next, next == end).is_some()
    }

    /// True for "50-50" and "20-20", which have no word between their figures.
    fn is_half_and_half(&self, at: usize, second: usize) -> bool {
        let end = self.digits(second);
        let half = &self.s[second..end];
        let is_whole = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '%' | '°'));
        matches!(half, "50" | "20")
            && is_whole(self.at(end))
            && self.s[..at].strip_suffix(half).is_some_and(|rest| {
                rest.chars()
                    .next_back()
                    .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '"' | '“' | '‘' | '\''))
            })
    }

    /// True if an equals sign follows the second figure.
    pub(super) fn is_subtraction(&self, at: usize, second: usize) -> bool {
        let is_spaced = self.is_space(at);
        let behind = self.run(second, |c| c.is_ascii_digit() || matches!(c, '.' | ',' | '$'));
        is_spaced && self.at(self.skip_space(behind)) == Some('=')
            || self.at(behind) == Some('=')
            || operands::falls(self.s, at, second, is_spaced)
    }
}

/// True for digits that can be a year.
pub(super) fn is_year_text(digits: &str) -> bool {
    digits.len() == 4 && numbers::value(digits).is_some_and(|value| (1100..=2099).contains(&value))
}
