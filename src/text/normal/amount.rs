//! Numbers and fractions as they are written.

use super::english::Reader;
use super::letters::is_fraction;
use super::numbers::{self, add};
use super::walk::Walk;

/// A number or a fraction as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount<'a> {
    /// Digits before the point, with separators. Empty if there are none.
    pub(super) whole: &'a str,
    /// Digits behind the point.
    pub(super) decimals: &'a str,
    pub(super) fraction: Option<(u64, u64)>,
    pub(super) end: usize,
}

impl Amount<'_> {
    /// True for digits alone, without separators.
    pub(super) fn is_plain(&self) -> bool {
        self.decimals.is_empty() && self.fraction.is_none() && self.whole.bytes().all(|b| b.is_ascii_digit())
    }

    pub(super) fn is_one(&self) -> bool {
        self.whole == "1" && self.decimals.is_empty() && self.fraction.is_none()
    }

    /// True for a fraction without a whole number.
    pub(super) fn is_part(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_some()
    }

    pub(super) fn value(&self) -> Option<u64> {
        if self.decimals.is_empty() && self.fraction.is_none() { numbers::value(self.whole) } else { None }
    }

    #[inline(never)]
    pub(super) fn read(&self, out: &mut String) {
        if let Some((n, of)) = self.fraction {
            if !self.whole.is_empty() {
                numbers::cardinal(out, self.whole);
                add(out, "and");
                if n == 1 {
                    add(out, article(of));
                    let mut part = String::new();
                    numbers::fraction(&mut part, 1, of);
                    return add(out, part.strip_prefix("one ").unwrap_or(&part));
                }
            }
            return numbers::fraction(out, n, of);
        }
        if !self.whole.is_empty() {
            numbers::cardinal(out, self.whole);
        }
        if !self.decimals.is_empty() {
            add(out, "point");
            numbers::digits(out, self.decimals);
        }
    }

    #[inline(never)]
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        self.read(&mut words);
        words
    }
}

fn article(of: u64) -> &'static str {
    if matches!(of, 8 | 11 | 18 | 80..=89) { "an" } else { "a" }
}

/// Numerator and denominator of a fraction that is one character.
fn vulgar(c: char) -> Option<(u64, u64)> {
    Some(match c {
        '½' => (1, 2),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅐' => (1, 7),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        '⅑' => (1, 9),
        '⅒' => (1, 10),
        _ => return None,
    })
}

/// True if a fraction with a slash is one, and no date or ratio.
fn is_usual(n: u64, of: u64) -> bool {
    n > 0 && n < of && (matches!(of, 2..=9 | 12 | 16 | 32 | 64) || (n == 1 && of <= 1000 && of != 11))
}

/// Reads parts of one thing up to its name: "half a", "three quarters of a".
pub(super) fn part_of(out: &mut String, n: u64, of: u64, article_of_thing: &str) {
    if (n, of) == (1, 2) {
        out.push_str("half");
    } else if n == 1 {
        let mut part = String::new();
        numbers::fraction(&mut part, 1, of);
        out.push_str(article(of));
        add(out, part.strip_prefix("one ").unwrap_or(&part));
        add(out, "of");
    } else {
        numbers::fraction(out, n, of);
        add(out, "of");
    }
    add(out, article_of_thing);
}

pub(super) fn article_of(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o']) || noun.starts_with("hour") { "an" } else { "a" }
}

/// End of a number whose groups of three digits, two at least, are behind spaces: "1 234 567". A number of a phone, or
/// one of a list, has other groups, or other figures beside it.
pub(super) fn spaced_thousands(text: &str, at: usize) -> Option<usize> {
    const MOST_GROUPS: usize = 4;
    let bytes = text.as_bytes();
    let digits = |at: usize| bytes[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    let mut end = at + digits(at);
    if !(at + 1..=at + 3).contains(&end) || bytes[at] == b'0' {
        return None;
    }
    let before = text[..at].trim_end();
    let is_joined =
        before.len() == at && before.ends_with(|c: char| "+#-/.,(–".contains(c) || c.is_alphanumeric());
    if is_joined || before.ends_with(|c: char| c.is_ascii_digit() || c == ')' && end == at + 3) {
        return None;
    }
    let mut groups = 0;
    while bytes.get(end) == Some(&b' ') && digits(end + 1) == 3 {
        (end, groups) = (end + 4, groups + 1);
    }
    let rest = &text[end..];
    let behind = match rest.strip_prefix(['-', '/', ',']) {
        Some(behind) => behind,
        None => rest.trim_start_matches(' '),
    };
    let goes_on = behind.starts_with(|c: char| c.is_ascii_digit());
    let is_decimal = rest.starts_with(',') && digits(end + 1) == 2;
    ((2..=MOST_GROUPS).contains(&groups) && (!goes_on || is_decimal)).then_some(end)
}

impl<'a> Reader<'a> {
    /// True if spaced figures are several, or a phone number, by the words beside them.
    fn is_row_of_numbers(&self, at: usize, end: usize) -> bool {
        const ROWS: &str = "call calls dial tel phone fax mobile cell text ring number numbers no nos digits code codes \
             pin rows values scores rooms pages lines ids id siren account";
        let before = self.word_near(at, 2).to_ascii_lowercase();
        let has_thing = self.word_behind(end).starts_with(char::is_lowercase)
            && !super::abbreviations::lists("or and ext for if to is now", self.word_behind(end));
        super::abbreviations::lists(ROWS, &before) || self.digits(at) == at + 3 && !has_thing
    }

    /// Reads a fraction up to the name of the thing: "three quarters of a", or "quarter" behind an article.
    pub(super) fn part_words(&self, at: usize, (n, of): (u64, u64), article: &str) -> String {
        let mut words = String::new();
        if matches!(self.word_near(at, 0), "a" | "an" | "A" | "An" | "the" | "The") {
            numbers::fraction(&mut words, n, of);
            return words.strip_prefix("one ").unwrap_or(&words).to_owned();
        }
        part_of(&mut words, n, of, article);
        words
    }

    /// The fraction at a position, and its end.
    pub(super) fn fraction_at(&self, at: usize) -> Option<((u64, u64), usize)> {
        let c = self.at(at)?;
        if let Some(fraction) = vulgar(c) {
            return Some((fraction, at + c.len_utf8()));
        }
        let slash = self.digits(at);
        let mark = self.at(slash)?;
        if slash == at || slash - at > 3 || !matches!(mark, '/' | '⁄') {
            return None;
        }
        let from = slash + mark.len_utf8();
        // "01/02" is a date.
        if self.s[at..].starts_with('0') || self.s[from..].starts_with('0') {
            return None;
        }
        let end = self.digits(from);
        let (n, of) = (numbers::value(&self.s[at..slash])?, numbers::value(&self.s[from..end])?);
        let is_part = self.s[end..].starts_with(" of") || self.noun_behind(end).is_some();
        if mark == '/' && (self.is_date_word(at) && !is_part || self.is_week_of(at)) {
            return None;
        }
        let goes_on = matches!(self.at(end), Some('/')) && self.is_digit(end + 1);
        if mark == '/' && (matches!(of, 2 | 4 | 8) && self.is_meter(at, end) || self.is_step(at)) {
            return None;
        }
        // "2/3rds", "1/100th"
        let letters = self.letters(end);
        let is_ordinal = matches!(&self.s[end..letters], "rd" | "rds" | "th" | "ths");
        let last = if is_ordinal { letters } else { end };
        (is_usual(n, of) && end - from <= 4 && !goes_on).then_some(((n, of), last))
    }

    /// True if the digits at a position are decimals behind a comma: a unit or a currency follows them.
    fn has_decimal_comma(&self, at: usize) -> bool {
        let end = self.digits(at);
        if end == at || end > at + 2 {
            return false;
        }
        let next = self.skip_space(end);
        match self.at(next) {
            Some('%' | '°' | '‰') => true,
            Some(c) if super::money::by_sign(c).is_some() => !self.begins_figure(next + c.len_utf8()),
            Some(c) if c.is_alphabetic() => {
                let letters = self.letters(next);
                super::units::unit(&self.s[next..letters], next == end).is_some() && letters > next + 1
            }
            _ => false,
        }
    }

    /// The amount at a position.
    #[inline(never)]
    pub(super) fn amount(&self, at: usize) -> Option<Amount<'a>> {
        if let Some((fraction, end)) = self.fraction_at(at)
            && self.before(at) != Some('/')
        {
            return Some(Amount { whole: "", decimals: "", fraction: Some(fraction), end });
        }
        let mut end = self.digits(at);
        if end - at <= 3 && end > at {
            // Groups of three digits behind commas, or behind spaces that do not break.
            while let Some(mark @ (',' | '_' | '\'' | '’' | '\u{a0}' | '\u{202f}' | '\u{2009}')) =
                self.at(end)
            {
                let group = end + mark.len_utf8();
                if self.digits(group) != group + 3 {
                    break;
                }
                end = group + 3;
            }
            // "1{,}000"
            while self.s[end..].starts_with("{,}") && self.digits(end + 3) == end + 6 {
                end += 6;
            }
        }
        // "1,00,000"
        if end > at && end - at <= 2 {
            let mut group = end;
            while self.at(group) == Some(',') && self.digits(group + 1) == group + 3 && group < at + 12 {
                group += 3;
            }
            if group > end && self.at(group) == Some(',') && self.digits(group + 1) == group + 4 {
                end = group + 4;
            }
        }
        // "1 000 000"
        if end > at && end - at <= 3 {
            let mut group = end;
            while self.s[group..].starts_with(" 000") && !self.is_digit(group + 4) {
                group += 4;
            }
            if group > end {
                end = group;
            }
        }
        if let Some(last) = spaced_thousands(self.s, at)
            && !self.is_row_of_numbers(at, last)
        {
            end = last;
        }
        // "12 345,67"
        if end > at && end - at <= 3 {
            let mut group = end;
            while group < at + 24 && self.at(group) == Some(' ') && self.digits(group + 1) == group + 4 {
                group += 4;
            }
            let cents = self.digits(group + 1);
            if group > end
                && self.at(group) == Some(',')
                && cents == group + 3
                && !(matches!(self.at(cents), Some(',' | '.')) && self.is_digit(cents + 1))
            {
                let (whole, decimals) = (&self.s[at..group], &self.s[group + 1..cents]);
                return Some(Amount { whole, decimals, fraction: None, end: cents });
            }
        }
        let whole = &self.s[at..end];
        let mut decimals = "";
        let is_point = match self.at(end) {
            Some(',') => {
                // "(0,1)", "{0,1,2}"
                let is_listed = matches!(self.before(at), Some('(' | '[' | '{'))
                    && matches!(self.at(self.digits(end + 1)), Some(')' | ']' | '}' | ',' | '\\'));
                end > at
                    && (self.has_decimal_comma(end + 1)
                        || &self.s[at..end] == "0" && self.is_digit(end + 1) && !is_listed)
            }
            Some('.') => self.is_digit(end + 1),
            _ => false,
        };
        if is_point {
            let from = end + 1;
            end = self.digits(from);
            decimals = &self.s[from..end];
        }
        if whole.is_empty() && decimals.is_empty() {
            return None;
        }
        if decimals.is_empty() {
            let gap = match self.at(end) {
                Some('-') => end + 1,
                _ => self.skip_space(end),
            };
            let is_joined = gap == end;
            if let Some((fraction, part)) = self.fraction_at(gap)
                && (!is_joined || self.at(gap).is_some_and(is_fraction))
                && whole.len() <= 3
            {
                return Some(Amount { whole, decimals, fraction: Some(fraction), end: part });
            }
        }
        Some(Amount { whole, decimals, fraction: None, end })
    }
}
