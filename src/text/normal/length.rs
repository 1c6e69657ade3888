//! Feet and inches, marks of arc, and products of figures: 5'10", 10 x 15 cm.

use super::abbreviations::lists;
use super::amount::Amount;
use super::english::Reader;
use super::numbers::add;
use super::operands;
use super::walk::Walk;

/// Words behind a length that are no things.
const NO_THINGS: &str = "long wide tall high deep thick across apart away square round around of in to and or by x at on off from \
     with without for per between below above under over more less longer shorter taller wider deeper higher lower each \
     thru through then than as but so if when while since until till that which who i she it they we you not no up down \
     left right back forward behind ahead inside outside beyond beneath beside beside toward towards into onto out along \
     before after past only just about shy short too also today tonight yesterday tomorrow now again here there is are was \
     were fell falls fall has have had will would can could should must may do does did equals equal makes a an the this \
     these my your her its our their one every all snow rain ice excess expected total ok both near against during because nor";

/// True for a word behind a length that is no thing.
pub(super) fn is_no_thing(word: &str) -> bool {
    lists(NO_THINGS, &word.to_ascii_lowercase())
}

impl Reader<'_> {
    /// Feet and inches, and other marks of arc: 5'10".
    pub(super) fn feet(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let mark = self.at(amount.end)?;
        let behind = amount.end + mark.len_utf8();
        let is_arc = self.parted.is_some_and(|(end, kind)| kind == '°' && at <= end + 2);
        if is_arc && matches!(mark, '\'' | '′' | '’' | '"' | '″' | '”') {
            let is_minute = matches!(mark, '\'' | '′' | '’');
            let mut words = amount.words();
            let one = amount.is_one();
            add(
                &mut words,
                match (is_minute, one) {
                    (true, true) => "minute",
                    (true, false) => "minutes",
                    (false, true) => "second",
                    (false, false) => "seconds",
                },
            );
            self.say(at..behind, &words);
            self.parted = is_minute.then_some((behind, '°'));
            let side = self.skip_space(behind);
            let name = match &self.s[side..self.letters(side)] {
                "N" => "north",
                "S" => "south",
                "E" => "east",
                "W" => "west",
                _ => return Some(behind),
            };
            self.say(side..side + 1, name);
            return Some(side + 1);
        }
        match mark {
            '\'' | '′' | '’' | '‘' => {
                // Two single marks are inches.
                if self.at(behind) == Some(mark) && mark != '’' {
                    return self.inches(at, amount, behind + mark.len_utf8());
                }
                let hyphen = behind + usize::from(self.at(behind) == Some('-'));
                let gap = self.skip_space(hyphen);
                let inches = if amount.is_plain() { self.amount(gap) } else { None };
                let closed = inches.and_then(|inches| {
                    let mark = self.at(inches.end)?;
                    let end = inches.end + mark.len_utf8();
                    match mark {
                        '"' | '″' | '”' | '“' => Some(end),
                        '\'' | '′' | '’' if self.at(end) == Some(mark) => Some(end + mark.len_utf8()),
                        _ => None,
                    }
                });
                let mut words = amount.words();
                // "3'45\"" is a time: a foot has twelve inches.
                if let (Some(inches), Some(end)) = (inches, closed)
                    && gap == behind
                    && inches.value().is_some_and(|n| (12..60).contains(&n))
                {
                    add(&mut words, if amount.is_one() { "minute" } else { "minutes" });
                    inches.read(&mut words);
                    add(&mut words, "seconds");
                    self.say(at..end, &words);
                    return Some(end);
                }
                if let (Some(inches), Some(end)) = (inches, closed) {
                    add(&mut words, "foot");
                    if gap == hyphen {
                        inches.read(&mut words);
                        self.say(at..end, &words);
                    } else {
                        self.say(at..behind, &words);
                        self.say(gap..end, &inches.words());
                    }
                    return Some(end);
                }
                if let Some(inches) = inches.filter(|inches| {
                    gap == behind && inches.value().is_some_and(|n| n < 12) && !self.is_letter(inches.end)
                }) {
                    add(&mut words, "foot");
                    inches.read(&mut words);
                    self.say(at..inches.end, &words);
                    return Some(inches.end);
                }
                if amount.is_plain()
                    && let Some(ended) = self.minute_of_game(at, amount.end, behind)
                {
                    return Some(ended);
                }
                let next = self.at(behind);
                let is_feet = mark == '′'
                    || !self.is_in_single
                        && (next.is_none_or(|c| {
                            c.is_whitespace() || matches!(c, ',' | '.' | ')' | ';' | 'x' | '×' | '-' | '–')
                        }));
                if !is_feet {
                    return None;
                }
                let is_noun =
                    next == Some('-') && self.is_letter(behind + 1) || self.is_adjective(at, behind);
                add(&mut words, if amount.is_one() || is_noun { "foot" } else { "feet" });
                self.say(at..behind, &words);
                Some(behind)
            }
            '″' => self.inches(at, amount, behind),
            '"' | '”' if !self.is_quoted => self.inches(at, amount, behind),
            _ => None,
        }
    }

    pub(super) fn inches(&mut self, at: usize, amount: Amount<'_>, end: usize) -> Option<usize> {
        let mut words = String::new();
        if amount.is_part() {
            words = self.part_words(at, amount.fraction?, "an");
            add(&mut words, "inch");
        } else {
            amount.read(&mut words);
            // "a 9\"x13\" pan"
            let second =
                self.run(end, |c| c.is_ascii_digit() || matches!(c, 'x' | '×' | '"' | '″' | '.' | '½' | '¼'));
            let is_first = matches!(self.at(end), Some('x' | '×'))
                && self.before(second).is_some_and(|c| matches!(c, '"' | '″'))
                && self.is_adjective(at, second);
            let is_noun = self.at(end) == Some('-') && self.is_letter(end + 1)
                || self.is_adjective(at, end)
                || self.is_before_thing(end)
                    && !["x", "×", " by"].iter().any(|sign| self.s[..at].trim_end().ends_with(sign))
                || is_first
                || self.is_size_before_thing(at, end);
            add(&mut words, if amount.is_one() || is_noun { "inch" } else { "inches" });
        }
        self.say(at..end, &words);
        Some(end)
    }

    /// True for the second figure of a size behind an article and before a thing: the 5 of "a 9x5\" loaf pan".
    fn is_size_before_thing(&self, at: usize, end: usize) -> bool {
        let size = |c: char| c.is_ascii_digit() || matches!(c, 'x' | '×' | '.' | '½' | '¼' | '¾');
        let left = self.left(at);
        let before = left.trim_end_matches(size);
        left.ends_with(['x', '×'])
            && before.len() < left.len()
            && lists("a an A An the your", before.trim_end().rsplit(' ').next().unwrap_or_default())
            && self.is_before_thing(end)
    }

    /// True if the name of a thing follows a length: "2\" rounds", but "2\" long", "cut 2\" off".
    fn is_before_thing(&self, end: usize) -> bool {
        // "24 (3\") cookies"
        let end = if self.at(end) == Some(')') { end + 1 } else { end };
        let word = self.word_behind(end);
        !word.is_empty() && !is_no_thing(word)
    }

    /// "by" between figures: 5x7, 10 x 15 cm. The figure before the sign is read here.
    pub(super) fn dimension(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        let sign = self.skip_space(end);
        if !matches!(self.at(sign), Some('x' | 'X' | '×')) {
            return None;
        }
        let sign_end = sign + self.at(sign)?.len_utf8();
        let second = self.skip_space(sign_end);
        if !self.begins_figure(second)
            || (second > sign_end) != (sign > end)
            || self.s[at..end] == *"0" && !self.s[second..].starts_with("0")
        {
            return None;
        }
        self.say(at..end, &amount.words());
        let words =
            if self.at(sign) == Some('×') { self.product(sign, sign_end) } else { self.cross(at, second) };
        self.say(sign..sign_end, words);
        self.figure_start = sign_end;
        Some(sign_end)
    }

    /// The word for an "x" between two figures, the first of them at `at`: "times" in a sum and before a measure of
    /// weight or volume.
    fn cross(&self, at: usize, second: usize) -> &'static str {
        let behind = self.run(second, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
        let is_power = self.s[second..].starts_with("10")
            && matches!(self.at(second + 2), Some('^' | '⁰'..='⁹' | '¹' | '²' | '³' | '⁻'));
        let next = self.skip_space(behind);
        // "12 x 12 is 144"
        let verb = self.letters(next);
        let tells =
            lists("is equals makes gives", &self.s[next..verb]) && self.is_digit(self.skip_space(verb));
        // "What is 7 x 8?", "Calculate 7 x 8."
        let left = operands::left(self.s, at).trim_end().to_ascii_lowercase();
        let asks = [
            "what is",
            "what's",
            "what’s",
            "whats",
            "calculate",
            "compute",
            "multiply",
            "solve",
            "how much is",
        ]
        .iter()
        .any(|question| left.ends_with(question))
            && self.at(behind).is_none_or(|c| matches!(c, '?' | '.' | '!' | ',' | '\n'));
        // "2 x 400 g cans"
        let unit = self.unit_at(next, next == behind);
        let is_count = unit.is_some_and(|unit| {
            ["gram", "liter", "ounce", "pound"].iter().any(|part| unit.many.contains(part))
                && !unit.many.contains("per")
        });
        let is_sum = is_power || self.at(next) == Some('=') || tells || asks || is_count;
        if is_sum { "times" } else { "by" }
    }

    /// The word for a cross: "by" in measures, "times" in sums.
    pub(super) fn product(&self, at: usize, end: usize) -> &'static str {
        let second = self.skip_space(end);
        let is_apart = second > end;
        let number_end = self.run(second, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
        let next = self.skip_space(number_end);
        let first = self.s[..at].trim_end();
        let first_digits = first.bytes().rev().take_while(u8::is_ascii_digit).count();
        let is_power = self.s[second..].starts_with("10")
            && matches!(self.at(second + 2), Some('^' | '⁰'..='⁹' | '¹' | '²' | '³' | '⁻'));
        let has_unit = next < self.s.len()
            && (self.unit_at(next, next == number_end).is_some_and(|unit| is_length(&unit.many))
                || matches!(self.at(next), Some('×' | '"' | '″' | '′' | '\'' | 'x'))
                || self.s[next..].starts_with("inch")
                || self.s[next..].starts_with("feet"));
        // The last sign of "20 × 25 × 1 in.", but "2 × 3 × 4 = 24"
        let is_chained = self.left(at).contains('×');
        let is_sum = self.right(end).split([',', ';', '(']).next().is_some_and(|rest| rest.contains('='));
        // "(W × H × D)"
        let is_side = |text: Option<char>| text.is_some_and(|c| "WHDLBT".contains(c));
        if is_side(first.chars().next_back()) && is_side(self.at(second)) && !is_sum && is_apart {
            return "by";
        }
        if is_power || number_end == second || is_sum {
            "times"
        } else if has_unit
            || is_chained
            || first.ends_with(['"', '″', '\'', '′', 'm'])
            || (first_digits >= 3 && number_end - second >= 3)
        {
            "by"
        } else if is_apart || self.unit_at(next, next == number_end).is_some() {
            "times"
        } else {
            "by"
        }
    }
}

fn is_length(unit: &str) -> bool {
    ["meter", "inch", "feet", "yard", "pixel", "mile", "degree"].iter().any(|length| unit.contains(length))
}
