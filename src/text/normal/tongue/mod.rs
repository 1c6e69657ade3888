//! Languages besides English: figures with signs, units, currencies and ranges, and a few abbreviations.
//!
//! A language is a table. The crate text-processing-rs 0.2.2 has grammars for these languages, but tells no
//! positions, and its output has no bound; the tables are smaller than the alignment of the two texts would be.

mod de;
mod es;
mod fr;

use super::amount;
use super::operands;
use super::output::{Changed, Output};
use super::symbols::{self, named};
use super::walk::Walk;
use crate::text::language::{is_lone_mark, is_lone_sign};

/// One unit with its article, and the name of several.
type Names = (&'static str, &'static str);

/// Words of a language.
pub(super) struct Tongue {
    cardinal: fn(u64) -> String,
    /// A whole number before a noun.
    counted: fn(u64) -> String,
    point: &'static str,
    minus: &'static str,
    plus: &'static str,
    to: &'static str,
    /// Names of signs that stand alone.
    sign: fn(char) -> Option<&'static str>,
    /// Further signs, as a list for [`named`].
    symbols: &'static str,
    /// Names of an arrow to the right, to the left, up, down, and both ways.
    arrows: [&'static str; 5],
    /// Name of one star of a rating, and of several.
    stars: Names,
    /// Abbreviations with spaces between their parts, each with its words: "z. T.=zum Teil;".
    phrases: &'static str,
    unit: fn(&str) -> Option<Names>,
    /// Names of a currency, and of its hundredths.
    money: fn(&str) -> Option<(Names, &'static str)>,
    /// Names of a million and of a thousand million.
    magnitude: fn(&str) -> Option<Names>,
    fraction: fn(char) -> Option<&'static str>,
    /// Words of an abbreviation, written with its full stops.
    abbreviation: fn(&str) -> Option<&'static str>,
    /// Words of a figure with marks or letters behind it, such as an ordinal number, and its end. Gets the text and
    /// the position of the figure.
    special: fn(&str, usize) -> Option<(String, usize)>,
    /// Words of a Roman numeral, behind the word in front of it.
    numeral: fn(&str, &str) -> Option<String>,
    /// Word between hours and minutes. Empty if there is none.
    hours: &'static str,
    /// Words behind a unit that is squared, and cubed.
    powers: (&'static str, &'static str),
    /// Word between a base and its exponent.
    power: &'static str,
    /// Word between a unit and what it is divided by.
    per: &'static str,
    /// Words for "*" and "†" before a date. Both are empty if such dates have no signs.
    life: Names,
    /// Word between the parts of a fraction that has no name.
    over: &'static str,
    /// Word for "§§". Empty if it is none of its own.
    sections: &'static str,
    /// Name of a day by its abbreviation of two letters.
    weekday: fn(&str) -> Option<&'static str>,
    /// Last part of names of streets, as abbreviated with a full stop, and written out. Both are empty if there is none.
    street: (&'static str, &'static str),
    /// Word between a whole number and a fraction. Empty if there is none.
    and: &'static str,
    /// Article that a fraction has only without a whole number, with its space. Empty if there is none.
    article: &'static str,
    /// The fraction "½" as it is called behind a whole number. Empty if it is called as elsewhere.
    half: &'static str,
    /// The words for half of what has a name: "ein halber" of "ein Teelöffel". `None` if "½" is called as elsewhere.
    half_of: fn(&str) -> Option<&'static str>,
    /// Word for the point of a number that is written with one.
    dot: &'static str,
    /// Word between the figures of a score or a ratio.
    ratio: &'static str,
    /// Abbreviation before the number of a page, without its full stop, and its word. Both are empty if it needs no
    /// number behind it.
    page: (&'static str, &'static str),
    /// True if a number of a phone is read digit by digit.
    spells_phones: bool,
    /// True if a full stop makes an ordinal of a number: "24.12.", "XIV."
    has_ordinals: bool,
    /// True if "de" is "d'" before a vowel.
    elides: bool,
    /// True if nouns begin with a capital, so that one behind a full stop shows no new sentence.
    has_capitals: bool,
}

/// The table of a language, by the first part of its tag.
pub(super) fn tongue(primary: &str) -> Option<&'static Tongue> {
    Some(match primary {
        "de" => &de::GERMAN,
        "fr" => &fr::FRENCH,
        "es" => &es::SPANISH,
        _ => return None,
    })
}

/// Returns the text as it is spoken, with at most `most` bytes, or `None` if it is the same.
pub(super) fn read(text: &str, tongue: &Tongue, most: usize) -> Option<Changed> {
    let mut reader = Reader { s: text, out: Output::new(text, most), tongue, formula_end: usize::MAX };
    let mut at = 0;
    while let Some(c) = reader.at(at) {
        let end = reader.step(at, c);
        at = end.max(at + c.len_utf8());
        reader.out.copy(at);
    }
    reader.out.finish()
}

fn is_raised(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹')
}

struct Reader<'a> {
    s: &'a str,
    out: Output<'a>,
    tongue: &'a Tongue,
    /// Place of the dollar sign that ends a formula.
    formula_end: usize,
}

/// A number as it is written.
struct Number {
    value: Option<u64>,
    /// Start and end of its decimals.
    decimals: (usize, usize),
    /// True if it is only digits.
    is_plain: bool,
    end: usize,
}

impl<'a> Walk<'a> for Reader<'a> {
    fn text(&self) -> &'a str {
        self.s
    }
}

impl Reader<'_> {
    #[inline(never)]
    fn skip_space(&self, at: usize) -> usize {
        match self.at(at) {
            Some(c) if c.is_whitespace() && c != '\n' => at + c.len_utf8(),
            _ => at,
        }
    }

    fn step(&mut self, at: usize, c: char) -> usize {
        let before = self.before(at);
        let end = at + c.len_utf8();
        let is_start = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if c.is_alphabetic() && !matches!(c, 'º' | 'ª') {
            let letters = self.run(at, |c| c.is_alphanumeric() && !is_raised(c));
            return if is_start { self.word(at, letters) } else { letters };
        }
        if c.is_ascii_digit() {
            return if is_start || !before.is_some_and(char::is_alphabetic) {
                self.figure(at)
            } else {
                self.digits(at)
            };
        }
        if let Some(words) = (self.tongue.fraction)(c) {
            return self.fraction(at, end, words);
        }
        let is_open = before.is_none_or(|c| c.is_whitespace() || "([\"'„«»“‘‚›‹…—¿¡=$*/".contains(c));
        let is_figure = self.is_digit(end);
        let is_infinite = self.at(end) == Some('∞');
        match c {
            '-' | '–' if is_figure && self.is_time_before(at) && self.is_time(end) => {
                self.say(at, end, self.tongue.to)
            }
            '§' if self.at(end) == Some('§') && !self.tongue.sections.is_empty() => {
                self.say(at, end + c.len_utf8(), self.tongue.sections)
            }
            '⁄' => self.say(at, end, self.tongue.over),
            '%' if operands::is_modulo(self.s, at) => self.say(at, end, "modulo"),
            '*' | '†'
                if self.at(end) == Some(' ')
                    && self.is_digit(end + 1)
                    && before.is_none_or(|c| c.is_whitespace() || c == '(')
                    && self.s[..at].trim_end().ends_with(['(', ';', ','])
                    && !self.tongue.life.0.is_empty() =>
            {
                self.say(at, end, if c == '*' { self.tongue.life.0 } else { self.tongue.life.1 })
            }
            '-' | '*' | '/' | '+'
                if self.s[end..].starts_with("= ") && before.is_none_or(char::is_whitespace) =>
            {
                let sign = match c {
                    '-' => self.tongue.minus,
                    '+' => self.tongue.plus,
                    '*' => self.name('×'),
                    _ => self.name('÷'),
                };
                let words = format!("{sign} {}", self.name('='));
                self.say(at, end + 1, &words)
            }
            '-' if self.at(end) == Some('-') && operands::counts_down(self.s, at) => {
                let words = format!("{0} {0}", self.tongue.minus);
                self.say(at, end + 1, &words)
            }
            '$' if at == self.formula_end || operands::formula_end(self.s, at).is_some() => {
                if at != self.formula_end {
                    self.formula_end = operands::formula_end(self.s, at).unwrap_or(usize::MAX);
                }
                let run = self.run(at, |c| c == '$');
                self.say(at, run.min(end + 1), "")
            }
            // "C++", "Na+", "18+"
            '+' if before.is_some_and(char::is_alphanumeric) && self.at(end) == Some('+') => {
                let words = format!("{0} {0}", self.tongue.plus);
                self.say(at, end + 1, &words)
            }
            '+' if before.is_some_and(char::is_alphanumeric)
                && !self.at(end).is_some_and(char::is_alphanumeric) =>
            {
                self.say(at, end, self.tongue.plus)
            }
            '^' if before.is_some_and(|c| c.is_alphanumeric() || c == ')')
                && self
                    .at(end)
                    .is_some_and(|c| c.is_alphanumeric() || matches!(c, '{' | '(' | '-' | '−')) =>
            {
                let bracket = usize::from(matches!(self.at(end), Some('{' | '(')));
                let sign =
                    self.at(end + bracket).filter(|c| matches!(c, '-' | '−')).map_or(0, char::len_utf8);
                let minus = if sign > 0 { self.tongue.minus } else { "" };
                let words = format!("{} {minus}", self.tongue.power);
                self.say(at, end + bracket + sign, words.trim_end())
            }
            '\\' if at == self.formula_end || operands::brackets_end(self.s, at).is_some() => {
                if at != self.formula_end {
                    self.formula_end = operands::brackets_end(self.s, at).unwrap_or(usize::MAX);
                }
                self.say(at, end + 1, "")
            }
            '\\' if self.s[end..].starts_with("sqrt{") => {
                let words = format!("{} ", self.name('√'));
                self.say(at, end + 4, &words)
            }
            '-' | '–' if is_infinite && is_open => self.say(at, end, self.tongue.minus),
            '-' | '–' if self.takes_away(at, end) => self.say(at, end, self.tongue.minus),
            '·' | '⋅' | '∙' if operands::multiplies(self.s, at, end, c) => {
                self.say(at, end, self.name('×'))
            }
            '✕' | '✖' if operands::is_between(self.s, at, end) => self.say(at, end, self.name('×')),
            '*' if is_figure && before.is_some_and(|c| c.is_ascii_digit())
                || before == Some(' ')
                    && self.at(end) == Some(' ')
                    && operands::is_between(self.s, at, end) =>
            {
                self.say(at, end, self.name('×'))
            }
            _ if is_raised(c) => self.raised_figure(at),
            '★' | '⭐' => self.stars(at, end),
            '-' | '−' | '–' if is_figure && is_open => self.say(at, end, self.tongue.minus),
            '−' => self.say(at, end, self.tongue.minus),
            '+' if is_figure || before == Some(' ') || is_lone_sign(self.s) => {
                self.say(at, end, self.tongue.plus)
            }
            '=' | '×' | '÷' | '±' | '≥' | '≤' | '≈' | '≠' | '→' | '&' | '§' | '%' | '∞' | '√' | '°' | '©'
            | '™' | '®' => match (self.tongue.sign)(c) {
                Some(words) => self.say(at, end, words),
                None => end,
            },
            '<' | '>'
                if is_figure || before == Some(' ') && self.at(end) == Some(' ') || is_lone_sign(self.s) =>
            {
                match (self.tongue.sign)(c) {
                    Some(words) => self.say(at, end, words),
                    None => end,
                }
            }
            _ if (self.tongue.money)(&self.s[at..end]).is_some() => self.sum(at, end),
            _ if !c.is_ascii() => self.symbol(at, end, c),
            _ => end,
        }
    }

    /// True for a time at a position: "17:00", "17h".
    fn is_time(&self, at: usize) -> bool {
        let end = self.digits(at);
        (at + 1..=at + 2).contains(&end)
            && (self.at(end) == Some(':') && self.digits(end + 1) == end + 3
                || self.at(end) == Some('h') && !self.at(end + 1).is_some_and(char::is_alphabetic))
    }

    /// True for a time that ends at a position.
    fn is_time_before(&self, at: usize) -> bool {
        let left = operands::left(self.s, at);
        let time = left.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, ':' | 'h'));
        left.len() > time.len() && self.is_time(at - (left.len() - time.len()))
    }

    /// The abbreviation of a weekday before a date or a dash: "Di. 5. März", "Mo.–Fr."
    fn weekday(&mut self, at: usize, letters: usize) -> Option<usize> {
        let first = (self.tongue.weekday)(self.s.get(at..letters)?)?;
        let stop = letters + usize::from(self.at(letters) == Some('.'));
        if let Some(dash) = self.at(stop).filter(|c| matches!(c, '–' | '-')) {
            let second = stop + dash.len_utf8();
            let end = self.run(second, char::is_alphabetic);
            let last = (self.tongue.weekday)(&self.s[second..end])?;
            let has_stop = self.at(end) == Some('.') && !self.s[end + 1..].trim_end().is_empty();
            let words = format!("{first} {} {last}", self.tongue.to);
            return Some(self.say(at, end + usize::from(has_stop), &words));
        }
        let day = self.skip_space(stop);
        let end = self.digits(day);
        let before = self.s[..at].trim_end();
        let is_time = end > day
            && (matches!(self.at(end), Some('–' | '-' | ':'))
                || self.s[end..].trim_start().starts_with(self.tongue.hours));
        let is_behind = ["am", "Am", "bis", "ab", "Ab", "jeden", "und", "&"]
            .iter()
            .any(|word| before.strip_suffix(word).is_some_and(|rest| !rest.ends_with(char::is_alphabetic)));
        let is_closed = self.s[day..].starts_with("geschl")
            || self.s[day..].starts_with("ab ")
            || self.at(stop) == Some(',')
                && (is_behind || self.at(stop + 1) == Some(' ') && self.is_digit(stop + 2));
        if stop > letters
            && day >= stop
            && (is_time || is_closed || is_behind && self.at(day).is_some_and(|c| !c.is_uppercase()))
        {
            return Some(self.say(at, stop, first));
        }
        if stop == letters || day == stop || end == day || end > day + 2 {
            return None;
        }
        // "Fr. 5.50" is a sum.
        let is_sum = self.at(end) == Some('.') && self.is_digit(end + 1) && self.digits(end + 1) == end + 3;
        match is_sum {
            true if first == "Freitag" => Some(self.say(at, stop, "Franken")),
            true => None,
            false if self.at(end) == Some('.') => Some(self.say(at, stop, first)),
            false => None,
        }
    }

    /// The name of a sign that every language has.
    fn name(&self, sign: char) -> &'static str {
        (self.tongue.sign)(sign).unwrap_or_default()
    }

    /// Reads a symbol by its name. What has none is copied.
    fn symbol(&mut self, at: usize, end: usize, c: char) -> usize {
        if self.before(at) == Some('\u{200d}') || is_lone_mark(c) && !symbols::is_lone(self.s, at, end) {
            return end;
        }
        // A run is a line.
        let run = self.run(end, |next| next == c);
        if run > end {
            return run;
        }
        let words = match symbols::arrow(c) {
            Some(arrow) => self.tongue.arrows.get(arrow as usize).copied(),
            None => named(self.tongue.symbols, c),
        };
        // "⚠️ Achtung:"
        let next = self.short_run(end, 8, |c| !c.is_alphanumeric() && c != '\n');
        let follows = &self.s[next..self.run(next, char::is_alphabetic)];
        match words {
            Some(words) if words.eq_ignore_ascii_case(follows) => self.say(at, end, ""),
            Some(words) => self.say(at, end, words),
            None => end,
        }
    }

    /// Reads the stars of a rating. A star alone decorates, unless it is counted.
    fn stars(&mut self, at: usize, end: usize) -> usize {
        let run = self.run(at, |c| matches!(c, '★' | '⭐'));
        let count = self.s[at..run].chars().count() as u64;
        let (one, many) = self.tongue.stars;
        let last = self.run(run, |c| c == '☆');
        match count {
            1 if self.before(at).is_some_and(|c| c.is_ascii_digit()) => self.say(at, end, many),
            1 if last == run => end,
            1 => self.say(at, last, one),
            _ => {
                let words = format!("{} {many}", (self.tongue.counted)(count));
                self.say(at, last, &words)
            }
        }
    }

    /// Reads raised figures: powers, and silent marks of notes.
    fn raised_figure(&mut self, at: usize) -> usize {
        let end = self.run(at, is_raised);
        let digits: String = self.s[at..end].chars().filter_map(super::powers::script_digit).collect();
        let is_power = self.before(at).is_some_and(|c| c.is_alphanumeric() || c == ')');
        if super::powers::is_note(self.s, at, end, &digits) {
            return self.say(at, end, "");
        }
        match digits.as_str() {
            "2" if is_power => self.say(at, end, self.tongue.powers.0),
            "3" if is_power => self.say(at, end, self.tongue.powers.1),
            _ => end,
        }
    }

    /// True for a dash between two operands, with signs of algebra beside it: "x - 1 = 2".
    fn takes_away(&self, at: usize, end: usize) -> bool {
        let is_spaced = self.at(end) == Some(' ');
        is_spaced
            && self.before(at) == Some(' ')
            && operands::is_between(self.s, at, end)
            && (operands::is_algebra(operands::left(self.s, at))
                || operands::is_algebra(operands::right(self.s, end))
                || self.s[..at].trim_end().ends_with(['x', 'y', 'n']))
    }

    /// The words of an abbreviation with spaces between its parts, and its end. The spaces may be missing.
    fn phrase(&self, at: usize) -> Option<(&'static str, usize)> {
        let first = self.at(at)?;
        self.tongue.phrases.split(';').filter(|phrase| phrase.starts_with(first)).find_map(|phrase| {
            let (written, words) = phrase.split_once('=')?;
            let mut end = at;
            for c in written.chars() {
                let found = self.at(end);
                match c {
                    ' ' if found.is_some_and(|c| matches!(c, ' ' | '\u{a0}' | '\u{202f}')) => {}
                    ' ' => continue,
                    _ if found != Some(c) => return None,
                    _ => {}
                }
                end += found?.len_utf8();
            }
            (!self.at(end).is_some_and(char::is_alphanumeric)).then_some((words, end))
        })
    }

    fn say(&mut self, at: usize, end: usize, words: &str) -> usize {
        self.out.say(at..end, words);
        end
    }

    fn word(&mut self, at: usize, letters: usize) -> usize {
        // "S. 12"
        let (page, name) = self.tongue.page;
        let number = self.skip_space(letters + 1);
        if self.s[at..letters] == *page && self.at(letters) == Some('.') && self.is_digit(number) {
            return self.say(at, letters + 1, name);
        }
        if letters == at + 2
            && let Some(end) = self.weekday(at, letters)
        {
            return end;
        }
        // "US$5"
        if &self.s[at..letters] == "US" && self.at(letters) == Some('$') && self.is_digit(letters + 1) {
            return self.say(at, letters, "");
        }
        if letters <= at + 4
            && let Some((words, end)) = self.phrase(at)
        {
            // A full stop at the end of the text stays.
            let is_last = self.s[end..].trim_end().is_empty() && self.s[..end].ends_with('.');
            let number = self.s[..at].trim_end_matches([' ', '\u{a0}']);
            if let Some(rest) = words.strip_prefix("cuillère")
                && number.ends_with(|c: char| c.is_ascii_digit())
                && !(number.ends_with('1') && !number.ends_with("11")
                    || number.ends_with("/2")
                    || number.ends_with("/4"))
            {
                return self.say(at, end - usize::from(is_last), &format!("cuillères{rest}"));
            }
            return self.say(at, end - usize::from(is_last), words);
        }
        // "Hauptstr."
        let (street, written_out) = self.tongue.street;
        if !street.is_empty()
            && self.s[at..letters].ends_with(street)
            && letters > at + street.len()
            && self.at(at).is_some_and(char::is_uppercase)
            && self.at(letters) == Some('.')
        {
            let is_last = self.s[letters + 1..].trim_end().is_empty();
            self.out.put(letters - street.len()..letters + usize::from(!is_last), written_out);
            return letters + usize::from(!is_last);
        }
        // "z. B.", "d. h."
        if letters == at + 1 && self.s[letters..].starts_with(". ") {
            let second = self.run(letters + 2, char::is_alphabetic);
            if second == letters + 3 && self.at(second) == Some('.') {
                let written = format!("{}.{}.", &self.s[at..letters], &self.s[letters + 2..second]);
                if let Some(words) = (self.tongue.abbreviation)(&written) {
                    return self.say(at, second + 1, words);
                }
            }
        }
        let mut end = letters;
        while end - at < 12 && self.at(end) == Some('.') && self.at(end + 1).is_some_and(char::is_alphabetic)
        {
            end = self.run(end + 1, char::is_alphabetic);
        }
        let stop = end + usize::from(self.at(end) == Some('.'));
        if end - at > 14 {
            return letters;
        }
        if letters - at <= 10 && self.s[at..letters].starts_with(|c: char| c.is_ascii_uppercase()) {
            let before = self.s[..at].trim_end_matches([' ', '\u{a0}']);
            let length: usize =
                before.chars().rev().take(12).take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
            if let Some(words) = (self.tongue.numeral)(&self.s[at..letters], &before[before.len() - length..])
            {
                // The stop of "Ludwig XIV." before a word in small letters.
                let has_stop = self.tongue.has_ordinals
                    && self.s[letters..].starts_with(". ")
                    && self.at(letters + 2).is_some_and(char::is_lowercase);
                return self.say(at, letters + usize::from(has_stop), &words);
            }
        }
        // "n° 5", "n.º 5"
        let mark = end + usize::from(self.at(end) == Some('.'));
        let sign = match self.at(mark) {
            Some(c @ ('°' | 'º')) => mark + c.len_utf8(),
            _ => end,
        };
        for written in [stop, sign, end] {
            let small = || self.s[at..written].to_lowercase();
            let words = (self.tongue.abbreviation)(&self.s[at..written]).or_else(|| {
                let is_capital =
                    written > end && end > at + 2 && !self.s[at..end].chars().skip(1).any(char::is_uppercase);
                if is_capital { (self.tongue.abbreviation)(&small()) } else { None }
            });
            if let Some(words) = words {
                // A full stop at the end of the text stays.
                let last = self.s[written..].trim_end().is_empty() && written == stop && stop > end;
                return self.say(at, if last { end } else { written }, words);
            }
        }
        letters
    }

    fn number(&self, at: usize) -> Option<Number> {
        let mut end = self.digits(at);
        if end == at {
            return None;
        }
        let mut digits = self.s[at..end].to_owned();
        let mut is_plain = true;
        // "1 234 567"; a first group of three may be one of a phone.
        let has_thing = |last: usize| self.at(self.skip_space(last)).is_some_and(char::is_lowercase);
        let spaced = amount::spaced_thousands(self.s, at)
            .filter(|last| end < at + 3 || has_thing(*last))
            .unwrap_or_default();
        if end - at <= 3 {
            while let Some(mark @ ('.' | '\u{a0}' | '\u{202f}' | '\'' | '’' | ' ')) = self.at(end) {
                let group = end + mark.len_utf8();
                // A common space divides groups of zeros, and those before decimals: "10 000", but "5 100".
                if self.digits(group) != group + 3
                    || mark == ' '
                        && &self.s[group..group + 3] != "000"
                        && !self.is_grouped(end)
                        && group > spaced
                {
                    break;
                }
                digits.push_str(&self.s[group..group + 3]);
                (end, is_plain) = (group + 3, false);
            }
        }
        let mut decimals = (end, end);
        if self.is_date(at) {
            return None;
        }
        if matches!(self.at(end), Some(',' | '.')) && self.is_digit(end + 1) {
            let last = self.digits(end + 1);
            // Thousands behind a sign of America or Britain: "$1,500".
            let is_group = self.at(end) == Some(',')
                && last == end + 4
                && is_plain
                && matches!(self.before(at), Some('$' | '£'))
                && !(self.at(last) == Some(',') && self.is_digit(last + 1));
            if is_group {
                digits.push_str(&self.s[end + 1..last]);
                let value = digits.parse().ok();
                let cents = self.digits(last + 1);
                let decimals = if self.at(last) == Some('.') && cents > last + 1 {
                    (last + 1, cents)
                } else {
                    (last, last)
                };
                return Some(Number { value, decimals, is_plain: false, end: decimals.1 });
            }
            let goes_on = matches!(self.at(last), Some(',' | '.')) && self.is_digit(last + 1);
            if goes_on {
                return None;
            }
            decimals = (end + 1, last);
            (end, is_plain) = (last, false);
        }
        let value = if digits.len() > 15 || digits.len() > 1 && digits.starts_with('0') {
            None
        } else {
            digits.parse().ok()
        };
        Some(Number { value, decimals, is_plain, end })
    }

    /// True for groups of three digits behind common spaces, up to a comma with decimals: " 234,56".
    fn is_grouped(&self, at: usize) -> bool {
        let mut end = at;
        for _ in 0..5 {
            if self.at(end) != Some(' ') || self.digits(end + 1) != end + 4 {
                break;
            }
            end += 4;
        }
        end > at && self.at(end) == Some(',') && self.is_digit(end + 1)
    }

    /// True for a day and a month: "24.12."
    fn is_date(&self, at: usize) -> bool {
        let day = self.digits(at);
        let month = self.digits(day + 1);
        let is_within =
            |text: &str, most: u8| text.parse::<u8>().is_ok_and(|value| (1..=most).contains(&value));
        self.tongue.has_ordinals
            && self.at(day) == Some('.')
            && self.at(month) == Some('.')
            && self.s.get(at..day).is_some_and(|text| is_within(text, 31))
            && self.s.get(day + 1..month).is_some_and(|text| is_within(text, 12))
    }

    /// A fraction of a unit with a slash, "1/2 l": the words, and its end.
    fn slashed(&self, at: usize) -> Option<(&'static str, usize)> {
        let sign = match self.s.get(at..at + 3).unwrap_or_default() {
            "1/2" => '½',
            "1/3" => '⅓',
            "2/3" => '⅔',
            "1/4" => '¼',
            "3/4" => '¾',
            "1/8" => '⅛',
            "3/8" => '⅜',
            "5/8" => '⅝',
            "7/8" => '⅞',
            "1/5" => '⅕',
            "2/5" => '⅖',
            "3/5" => '⅗',
            "4/5" => '⅘',
            "1/6" => '⅙',
            "5/6" => '⅚',
            _ => return self.fraction_of_signs(at),
        };
        let end = at + 3;
        let next = self.skip_space(end);
        let is_part =
            next > end && self.unit(next).is_some() && !matches!(self.before(at), Some('/' | ',' | '.'));
        is_part.then(|| (self.tongue.fraction)(sign)).flatten().map(|words| (words, end))
    }

    /// A fraction whose bar is a sign of its own: "1⁄2".
    fn fraction_of_signs(&self, at: usize) -> Option<(&'static str, usize)> {
        let (sign, end) = [('½', "1⁄2"), ('⅓', "1⁄3"), ('⅔', "2⁄3"), ('¼', "1⁄4"), ('¾', "3⁄4")]
            .into_iter()
            .find(|(_, written)| self.s[at..].starts_with(written))
            .map(|(sign, written)| (sign, at + written.len()))?;
        if self.is_digit(end) {
            return None;
        }
        (self.tongue.fraction)(sign).map(|words| (words, end))
    }

    fn spell(&self, number: &Number, at: usize) -> String {
        let mut words = match number.value {
            Some(value) if number.decimals.0 == number.decimals.1 => (self.tongue.counted)(value),
            Some(value) => (self.tongue.cardinal)(value),
            None => self.each(&self.s[at..number.decimals.0]),
        };
        let decimals = &self.s[number.decimals.0..number.decimals.1];
        if !decimals.is_empty() {
            words.push(' ');
            let is_dotted = self.before(number.decimals.0) == Some('.');
            words.push_str(if is_dotted { self.tongue.dot } else { self.tongue.point });
            words.push(' ');
            words.push_str(&self.each(decimals));
        }
        words
    }

    fn each(&self, digits: &str) -> String {
        let digits = digits.bytes().filter(u8::is_ascii_digit);
        let words: Vec<String> =
            digits.map(|digit| (self.tongue.cardinal)(u64::from(digit - b'0'))).collect();
        words.join(" ")
    }

    fn figure(&mut self, at: usize) -> usize {
        let is_whole =
            !self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | ',' | ':' | '/'));
        if is_whole && let Some((words, end)) = (self.tongue.special)(self.s, at) {
            return self.say(at, end, &words);
        }
        if let Some((words, end)) = self.slashed(at) {
            return self.fraction(at, end, words);
        }
        if is_whole && let Some(end) = self.phone(at) {
            return end;
        }
        let digits = self.digits(at);
        // A time, "5.30 Uhr" too.
        let is_dotted = self.at(digits) == Some('.') && {
            let rest = self.s.get(digits + 3..).unwrap_or_default().trim_start();
            let word = if self.tongue.hours.is_empty() { "h" } else { self.tongue.hours };
            rest.strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        if (is_dotted || self.at(digits) == Some(':'))
            && digits > at
            && digits <= at + 2
            && self.digits(digits + 1) == digits + 3
            && self.at(digits + 3) != Some(':')
        {
            let hours = (self.tongue.cardinal)(self.s[at..digits].parse().unwrap_or_default());
            let minutes: u64 = self.s[digits + 1..digits + 3].parse().unwrap_or_default();
            let mut end = digits + 3;
            let mut words = hours;
            if !self.tongue.hours.is_empty() {
                words = format!("{words} {}", self.tongue.hours);
                // The word itself may follow.
                let next = self.skip_space(end);
                if self.s[next..].starts_with(self.tongue.hours) {
                    end = next + self.tongue.hours.len();
                }
            }
            if minutes > 0 {
                words = format!("{words} {}", (self.tongue.cardinal)(minutes));
            }
            // "14:30 h"
            let next = self.skip_space(end);
            if self.tongue.hours.is_empty()
                && self.at(next) == Some('h')
                && self.run(next, char::is_alphabetic) == next + 1
                && let Some((_, many)) = (self.tongue.unit)("h")
            {
                self.say(at, end, &words);
                return self.say(next, next + 1, many);
            }
            return self.say(at, end, &words);
        }
        if is_whole && let Some(end) = self.score(at, digits) {
            return end;
        }
        let Some(number) = self.number(at) else {
            return self.run(at, |c| c.is_ascii_digit() || matches!(c, '.' | ','));
        };
        let mut end = number.end;
        // "5,- €"
        let dash = [",-", ",–", ",—"].iter().find(|dash| self.s[end..].starts_with(**dash));
        if let Some(dash) = dash {
            let sign = self.skip_space(end + dash.len());
            let sign_end = sign + self.at(sign).map_or(0, char::len_utf8);
            if (self.tongue.money)(&self.s[sign..sign_end]).is_some() {
                end += dash.len();
            }
        }
        let next = self.skip_space(end);
        // "1½", "1 ½ TL", "1 1/2 TL"
        let part = match self.at(end).and_then(self.tongue.fraction) {
            Some(words) => Some((words, end)),
            None if number.is_plain && next > end && end <= at + 2 => {
                let sign = self.at(next).and_then(self.tongue.fraction);
                sign.or_else(|| self.slashed(next).map(|(words, _)| words)).map(|words| (words, next))
            }
            None => None,
        };
        if let Some((words, from)) = part {
            let last = match self.slashed(from) {
                Some((_, last)) => last,
                None => from + self.at(from).map_or(0, char::len_utf8),
            };
            let end = from;
            let whole = self.spell(&number, at);
            let is_half = Some(words) == (self.tongue.fraction)('½') && !self.tongue.half.is_empty();
            let whole = if is_half && number.value == Some(1) { "ein".to_owned() } else { whole };
            self.say(at, number.end, &whole);
            let part = if is_half { self.tongue.half } else { words };
            let part = part.strip_prefix(self.tongue.article).unwrap_or(part);
            let words = format!("{} {part}", self.tongue.and);
            let is_more = number.value > Some(0);
            return self.fraction_with(end, last, words.trim_start(), is_more);
        }
        if let Some((to, second)) = self.range(end) {
            // A voice knows how its language reads years.
            let last = self.digits(second);
            let is_year = number.is_plain
                && super::figure::is_year_text(&self.s[at..end])
                && super::figure::is_year_text(&self.s[second..last])
                && !self.at(last).is_some_and(char::is_alphanumeric)
                && !(self.at(last) == Some(',') && self.is_digit(last + 1))
                && self.unit(self.skip_space(last)).is_none()
                && !self.is_money(self.skip_space(last));
            if !is_year {
                let words = self.spell(&number, at);
                self.say(at, end, &words);
            }
            // "art. L. 123-4", "loi n° 2004-575"
            let label = self.s[..at].trim_end();
            if self.at(end) == Some('-')
                && [" L.", " R.", " D.", "n°", "nº", "n.º", "Nr.", "Rechnung", "Facture", "Factura"]
                    .iter()
                    .any(|code| label.ends_with(code))
            {
                self.say(end, to, "");
                return second;
            }
            let is_spaced = second > to;
            let behind = self.digits(second);
            let is_minus = is_spaced && self.before(at) == Some('^')
                || self.at(self.skip_space(behind)) == Some('=')
                || number.is_plain && operands::falls(self.s, end, second, is_spaced);
            let joint = if is_minus { self.tongue.minus } else { self.tongue.to };
            self.say(self.skip_space(end), to, joint);
            return second;
        }
        // A code: "007", "PLZ 01067".
        let is_grouped = matches!(self.at(end), Some(' ' | '\u{a0}' | '.' | ',' | ':' | '/' | '-'))
            && self.is_digit(end + self.at(end).map_or(0, char::len_utf8));
        if number.is_plain
            && number.value.is_none()
            && is_whole
            && end - at <= 12
            && !is_grouped
            && !self.at(end).is_some_and(char::is_alphabetic)
        {
            let words = self.each(&self.s[at..end]);
            return self.say(at, end, &words);
        }
        // Money behind the figure, with or without a magnitude.
        let letters = self.run(next, char::is_alphabetic);
        let magnitude = (self.tongue.magnitude)(&self.s[next..letters]);
        if let Some((one, many)) = magnitude {
            let sign = self.skip_space(letters + usize::from(self.at(letters) == Some('.')));
            let sign_end = self.run(sign, |c| {
                let is_sign = !c.is_ascii() && !c.is_whitespace() && !c.is_alphanumeric();
                c.is_alphabetic() || is_sign && !"„«»“”‘’‚›‹…".contains(c) || c == '$'
            });
            let words = self.spell(&number, at);
            let is_one = number.value == Some(1) && number.decimals.0 == number.decimals.1;
            self.say(at, end, if is_one { "" } else { &words });
            let money = (self.tongue.money)(&self.s[sign..sign_end]);
            let millions = if is_one { one } else { many };
            // "millones de euros", "millions d'euros", but "millones" alone.
            let bare = millions.strip_suffix(" de").unwrap_or(millions);
            let elides = self.tongue.elides && money.is_some_and(|((_, name), _)| name.starts_with('e'));
            let millions = if money.is_none() || elides { bare } else { millions };
            self.say(next, letters + usize::from(self.at(letters) == Some('.')), millions);
            if let Some(((_, name), _)) = money {
                let name = if elides { format!("d'{name}") } else { name.to_owned() };
                return self.say(sign, sign_end, &name);
            }
            return letters + usize::from(self.at(letters) == Some('.'));
        }
        let sign_end = match self.at(next) {
            Some(c) if c.is_alphabetic() => letters,
            Some(c) => next + c.len_utf8(),
            None => next,
        };
        let money = (self.tongue.money)(&self.s[next..sign_end]).filter(|_| next != self.formula_end);
        if let Some((names, cents)) = money {
            let words = self.price(&number, at, names, cents);
            self.say(at, sign_end, &words);
            return self.period(sign_end).unwrap_or(sign_end);
        }
        let is_modulo = self.at(next) == Some('%') && operands::is_modulo(self.s, next);
        if let Some((names, unit_end)) = self.unit(next).filter(|_| !is_modulo) {
            let is_one = number.value == Some(1) && number.decimals.0 == number.decimals.1;
            let (words, name) =
                if is_one { (String::new(), names.0) } else { (self.spell(&number, at), names.1) };
            if next > end && !is_one {
                self.say(at, end, &words);
                end = self.say(next, unit_end, &name);
            } else {
                end = self.say(at, unit_end, format!("{words} {name}").trim());
            }
            return end;
        }
        if !number.is_plain {
            let words = self.spell(&number, at);
            return self.say(at, end, &words);
        }
        end
    }

    /// A score or a ratio: "3:1", "1:10". A time has two digits behind its colon.
    fn score(&mut self, at: usize, digits: usize) -> Option<usize> {
        let end = self.digits(digits + 1);
        let second = end.checked_sub(digits + 1)?;
        if self.at(digits) != Some(':')
            || !matches!(second, 1 | 3 | 4)
            || digits > at + 3
            || self.at(end) == Some(':')
        {
            return None;
        }
        let (first, last) = (self.s[at..digits].parse().ok()?, self.s[digits + 1..end].parse().ok()?);
        let words = format!(
            "{} {} {}",
            (self.tongue.cardinal)(first),
            self.tongue.ratio,
            (self.tongue.cardinal)(last)
        );
        Some(self.say(at, end, &words))
    }

    /// A number of a phone, behind its label or with a zero in front: "030/12 34 56-0".
    fn phone(&mut self, at: usize) -> Option<usize> {
        const MOST: usize = 28;
        const LABELS: &str = "tel telefon fax mobil handy tél téléphone teléfono tfno móvil móv";
        let left = operands::left(self.s, at).trim_end_matches(|c: char| !c.is_alphabetic());
        let label = left.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_lowercase();
        let is_labelled = !label.is_empty() && LABELS.split(' ').any(|known| known == label);
        let is_sign =
            |c: char| c.is_ascii_digit() || matches!(c, ' ' | '/' | '-' | '–' | '(' | ')' | '\u{a0}');
        let run = self.short_run(at, MOST + 1, is_sign);
        let written = self.s[at..run].trim_end_matches(|c: char| !c.is_ascii_digit());
        let digits = written.bytes().filter(u8::is_ascii_digit).count();
        let groups = written.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty());
        let is_known = is_labelled || self.at(at) == Some('0') && groups.clone().count() > 1;
        if !is_known || written.len() > MOST || !(7..=15).contains(&digits) {
            return None;
        }
        let end = at + written.len();
        if !self.tongue.spells_phones {
            return Some(end);
        }
        let words: Vec<String> = groups.map(|group| self.each(group)).collect();
        Some(self.say(at, end, &words.join(", ")))
    }

    /// "/Std." behind a sum.
    fn period(&mut self, at: usize) -> Option<usize> {
        if self.at(at) != Some('/') {
            return None;
        }
        let ((one, _), end) = self.unit(at + 1)?;
        let name = one.split_once(' ').map_or(one.as_str(), |(_, name)| name);
        let words = format!("{} {name}", self.tongue.per);
        Some(self.say(at, end, &words))
    }

    fn price(&self, number: &Number, at: usize, names: Names, cents: &str) -> String {
        let decimals = &self.s[number.decimals.0..number.decimals.1];
        let is_one = number.value == Some(1);
        match number.value {
            Some(value) if decimals.len() == 2 || decimals.is_empty() => {
                let mut words = if is_one {
                    names.0.to_owned()
                } else {
                    format!("{} {}", (self.tongue.counted)(value), names.1)
                };
                let minor: u64 = decimals.parse().unwrap_or_default();
                if minor > 0 {
                    words = format!("{words} {}", (self.tongue.cardinal)(minor));
                    if !cents.is_empty() {
                        words = format!("{words} {cents}");
                    }
                }
                words
            }
            _ => format!("{} {}", self.spell(number, at), names.1),
        }
    }

    /// True for a currency at a position.
    fn is_money(&self, at: usize) -> bool {
        let end = self.run(at, char::is_alphabetic);
        let sign = at + self.at(at).map_or(0, char::len_utf8);
        (self.tongue.money)(&self.s[at..end.max(sign)]).is_some()
    }

    /// A currency before its figure.
    fn sum(&mut self, at: usize, end: usize) -> usize {
        let from = self.skip_space(end);
        let money = (self.tongue.money)(&self.s[at..end]);
        if let Some((names, _)) = money.filter(|_| is_lone_sign(self.s)) {
            return self.say(at, end, names.1);
        }
        let (Some((names, cents)), Some(number)) = (money, self.number(from)) else { return end };
        let words = self.price(&number, from, names, cents);
        self.say(at, number.end, &words)
    }

    /// The dash of a range, and the start of its second figure.
    fn range(&self, at: usize) -> Option<(usize, usize)> {
        let from = self.skip_space(at);
        let dash = self.at(from).filter(|c| matches!(c, '–' | '-' | '—'))?;
        let end = from + dash.len_utf8();
        let second = self.skip_space(end);
        let last = self.digits(second);
        let is_group = self.at(last) == Some('-') && self.is_digit(last + 1) || self.before(at).is_none();
        (last > second && (second > end) == (from > at) && !is_group).then_some((end, second))
    }

    /// The names of a unit, with what it is divided by, and its end.
    fn unit(&self, at: usize) -> Option<((String, String), usize)> {
        let c = self.at(at)?;
        let mut end = if c.is_alphabetic() && c != 'º' {
            self.run(at, char::is_alphabetic)
        } else {
            at + c.len_utf8()
        };
        if matches!(c, '°' | 'º') && self.at(end).is_some_and(|c| matches!(c, 'C' | 'F')) {
            end += 1;
        }
        let names = match c {
            'º' => (self.tongue.unit)(&self.s[at..end].replace('º', "°"))?,
            _ => (self.tongue.unit)(&self.s[at..end])?,
        };
        let (mut one, mut many) = (names.0.to_owned(), names.1.to_owned());
        if matches!(self.at(end), Some('²' | '³')) && c.is_alphabetic() {
            let names = self.raised(at, end)?;
            (one, many) = names;
            end += '²'.len_utf8();
        }
        if self.is_digit(end) {
            return None;
        }
        if self.at(end) == Some('/') {
            let second = self.run(end + 1, char::is_alphabetic);
            if let Some((name, _)) = (self.tongue.unit)(&self.s[end + 1..second]) {
                let raised = self.raised(end + 1, second);
                let name = raised.as_ref().map_or(name, |(name, _)| name);
                let name = name.split_once(' ').map_or(name, |(_, name)| name);
                one = format!("{one} {} {name}", self.tongue.per);
                many = format!("{many} {} {name}", self.tongue.per);
                end = second + if raised.is_some() { '²'.len_utf8() } else { 0 };
            }
        }
        // The stop of "Min." before a word in small letters or a figure.
        let goes_on = self.at(end) == Some('.')
            && self.at(end + 1) == Some(' ')
            && self.at(end + 2).is_some_and(|c| {
                c.is_lowercase() || c.is_ascii_digit() || self.tongue.has_capitals && c.is_alphabetic()
            })
            || self.at(end) == Some('.') && self.at(end + 1) == Some(',');
        if goes_on
            && matches!(
                &self.s[at..end],
                "Min"
                    | "Std"
                    | "Sek"
                    | "min"
                    | "h"
                    | "cda"
                    | "cdas"
                    | "cdta"
                    | "cdtas"
                    | "Pck"
                    | "Pkg"
                    | "Pk"
                    | "Msp"
                    | "Bd"
                    | "Be"
                    | "Stk"
                    | "EL"
                    | "TL"
                    | "uds"
                    | "ud"
            )
        {
            end += 1;
        }
        Some(((one, many), end))
    }

    /// The names of a unit with a square or a cube behind it.
    fn raised(&self, at: usize, end: usize) -> Option<(String, String)> {
        let (power, words) = match self.at(end)? {
            '²' => ("²", self.tongue.powers.0),
            '³' => ("³", self.tongue.powers.1),
            _ => return None,
        };
        let symbol = &self.s[at..end];
        if let Some((one, many)) = (self.tongue.unit)(&format!("{symbol}{power}")) {
            return Some((one.to_owned(), many.to_owned()));
        }
        let (one, many) = (self.tongue.unit)(symbol)?;
        Some((format!("{one} {words}"), format!("{many} {words}")))
    }

    fn fraction(&mut self, at: usize, end: usize, words: &str) -> usize {
        self.fraction_with(at, end, words, false)
    }

    /// A fraction, behind a whole number if there is more than it, and the unit behind it.
    fn fraction_with(&mut self, at: usize, end: usize, words: &str, is_more: bool) -> usize {
        let next = self.skip_space(end);
        let unit = self.unit(next);
        let name = unit.as_ref().map(|((one, many), _)| if is_more { many } else { one }.as_str());
        let is_half = !is_more && Some(words) == (self.tongue.fraction)('½');
        let phrase = self.phrase(next).map(|(words, _)| words);
        let words = match name.or(phrase).filter(|_| is_half) {
            Some(name) => (self.tongue.half_of)(name).unwrap_or(words),
            None => words,
        };
        self.say(at, end, words);
        match unit {
            Some(((one, many), unit_end)) => {
                let name =
                    if is_more { &many } else { one.split_once(' ').map_or(one.as_str(), |(_, name)| name) };
                self.say(next, unit_end, name)
            }
            None => end,
        }
    }
}
