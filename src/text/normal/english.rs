//! Reads an English text once, from left to right, and has the patterns replace what they know.

use super::output::{Changed, Output};
use super::walk::Walk;
use std::ops::Range;

/// The reader of a text, and what it remembers of the text before.
pub(super) struct Reader<'a> {
    pub(super) s: &'a str,
    pub(super) out: Output<'a>,
    /// End of the run without white space that was last looked at for an address.
    token_end: usize,
    /// The last word, and the one before it.
    pub(super) word: Range<usize>,
    pub(super) word_before: Range<usize>,
    /// End of the last figure, with its unit.
    pub(super) figure_end: usize,
    /// End of the last decade: "30s".
    pub(super) decade_end: usize,
    /// End of the last number for emergencies.
    pub(super) emergency_end: usize,
    /// Position directly behind a letter at which a figure begins.
    pub(super) figure_start: usize,
    /// Currency of the figure that follows, from the first sum of a range.
    pub(super) currency: Option<&'static super::money::Currency>,
    /// End of the last figure with a unit that is divided into smaller ones: feet, hours.
    pub(super) parted: Option<(usize, char)>,
    /// End of the last figure with a letter that is a name: "Option 3A".
    pub(super) named_end: usize,
    /// End of the last ratio: "1:8".
    pub(super) ratio_end: usize,
    /// Place of the bracket that ends an exponent: "2^(n-1)".
    pub(super) power_end: usize,
    /// Place between the limits of a sum or an integral of TeX.
    pub(super) limit_end: usize,
    /// Place of the bracket that ends the label of an arrow of TeX, and the words behind the label.
    pub(super) arrow_end: (usize, &'static str),
    /// Place of the bar that ends an absolute value outside of formulas.
    pub(super) bar_end: usize,
    /// The last formula of TeX, without the marks around it. Empty before the first one.
    pub(super) math: Range<usize>,
    /// True between two straight double quotes.
    pub(super) is_quoted: bool,
    /// True between two straight single quotes.
    pub(super) is_in_single: bool,
}

/// Returns the text as it is spoken in English, with at most `most` bytes, or `None` if it is the same.
pub(super) fn read(text: &str, most: usize) -> Option<Changed> {
    let mut reader = Reader {
        s: text,
        out: Output::new(text, most),
        token_end: 0,
        word: 0..0,
        word_before: 0..0,
        figure_end: usize::MAX,
        decade_end: usize::MAX,
        emergency_end: 0,
        figure_start: usize::MAX,
        currency: None,
        parted: None,
        named_end: usize::MAX,
        ratio_end: usize::MAX,
        power_end: usize::MAX,
        limit_end: usize::MAX,
        arrow_end: (usize::MAX, ""),
        bar_end: usize::MAX,
        math: usize::MAX..usize::MAX,
        is_quoted: false,
        is_in_single: false,
    };
    let mut at = 0;
    while let Some(c) = reader.at(at) {
        let end = reader.step(at, c);
        // A pattern that takes nothing would never end.
        at = end.max(at + c.len_utf8());
        reader.out.copy(at);
    }
    reader.out.finish()
}

impl<'a> Walk<'a> for Reader<'a> {
    fn text(&self) -> &'a str {
        self.s
    }
}

impl<'a> Reader<'a> {
    /// End of the letters from a position on.
    #[inline(never)]
    pub(super) fn letters(&self, at: usize) -> usize {
        self.run(at, is_letter)
    }

    pub(super) fn is_letter(&self, at: usize) -> bool {
        self.at(at).is_some_and(is_letter)
    }

    pub(super) fn is_space(&self, at: usize) -> bool {
        self.at(at).is_some_and(char::is_whitespace)
    }

    /// The position behind one space, or behind two at most. The same position if there is none.
    #[inline(never)]
    pub(super) fn skip_space(&self, at: usize) -> usize {
        let mut end = at;
        for _ in 0..2 {
            match self.at(end) {
                Some(c) if c.is_whitespace() && c != '\n' => end += c.len_utf8(),
                _ => break,
            }
        }
        end
    }

    /// The last word, if nothing but spaces and this many other characters lie between it and a position.
    #[inline(never)]
    pub(super) fn word_near(&self, at: usize, others: usize) -> &'a str {
        let between = self.s.get(self.word.end..at).filter(|between| between.len() <= 8).unwrap_or("....");
        let marks = between.chars().filter(|c| !c.is_whitespace()).count();
        if marks <= others { &self.s[self.word.clone()] } else { "" }
    }

    /// The word behind a position, with a space between.
    #[inline(never)]
    pub(super) fn word_behind(&self, at: usize) -> &'a str {
        let next = self.skip_space(at);
        if next > at { &self.s[next..self.letters(next)] } else { "" }
    }

    /// True if only closing marks follow a position up to the end of the text.
    #[inline(never)]
    pub(super) fn is_last(&self, at: usize) -> bool {
        let rest = self.s.get(at..).unwrap_or_default();
        rest.len() <= 24
            && rest
                .chars()
                .all(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '”' | '’' | ')' | ']' | '»'))
    }

    /// End of the full stop of an abbreviation at a position: it is no end of a sentence there. The same
    /// position if there is none, or if it ends the text.
    pub(super) fn stop(&self, at: usize) -> usize {
        if self.at(at) == Some('.')
            && !self.is_last(at + 1)
            && self.at(at + 1) != Some('.')
            && !self.starts_sentence(at + 1)
        {
            at + 1
        } else {
            at
        }
    }

    /// As [`stop`](Self::stop), for an abbreviation that never ends a sentence.
    pub(super) fn leading_stop(&self, at: usize) -> usize {
        if self.at(at) == Some('.') && !self.is_last(at + 1) && self.at(at + 1) != Some('.') {
            at + 1
        } else {
            at
        }
    }

    /// True if a word follows that is no name and has a capital only at the start of a sentence.
    #[inline(never)]
    fn starts_sentence(&self, at: usize) -> bool {
        let next = self.skip_space(at);
        let word = &self.s[next..self.letters(next)];
        next > at
            && matches!(
                word,
                "The"
                    | "They"
                    | "He"
                    | "She"
                    | "It"
                    | "We"
                    | "You"
                    | "But"
                    | "And"
                    | "Then"
                    | "This"
                    | "That"
                    | "There"
                    | "These"
                    | "Those"
                    | "When"
                    | "If"
                    | "So"
                    | "In"
                    | "On"
                    | "At"
                    | "My"
                    | "His"
                    | "Her"
                    | "Our"
                    | "Their"
                    | "Its"
                    | "However"
                    | "Also"
                    | "What"
                    | "Why"
                    | "How"
                    | "Where"
                    | "Who"
                    | "For"
                    | "Now"
                    | "Please"
            )
    }

    /// Replaces a range by words.
    #[inline(never)]
    pub(super) fn say(&mut self, range: Range<usize>, words: &str) {
        self.out.say(range, words);
    }

    fn step(&mut self, at: usize, c: char) -> usize {
        if c.is_whitespace() {
            return self.run(at, char::is_whitespace);
        }
        if let Some(end) = self.divider(at, c) {
            return end;
        }
        if at >= self.token_end {
            self.token_end = self.run(at, |c| !c.is_whitespace());
            if let Some(end) = self.address(at, self.token_end) {
                // A second address may follow in a short run.
                if self.token_end - end <= super::address::MOST {
                    self.token_end = end;
                }
                return end;
            }
        }
        if matches!(c, '/' | '[')
            && let Some(range) = super::typed::transcription(self.s, at)
        {
            return range.end;
        }
        let before = self.before(at);
        // "_Mr. Lee_", but not "my_no"
        let is_joined = |c: char| c == '_' && self.before(at - 1).is_some_and(char::is_alphanumeric);
        let is_start = !before.is_some_and(|c| c.is_alphanumeric() || is_joined(c));
        if is_letter(c) {
            let is_start = is_start
                && !(matches!(before, Some('\'' | '’'))
                    && self.word.end + before.map_or(0, char::len_utf8) == at
                    && at > 1);
            return self.word(at, is_start);
        }
        if c.is_ascii_digit() || super::letters::is_fraction(c) {
            let is_part = before.is_some_and(|c| c.is_alphabetic() || c == '_') && self.figure_start != at;
            if is_part && c.is_ascii_digit() {
                return self.digits(at);
            }
            if matches!(c, '2' | '4')
                && self.is_letter(at + 1)
                && let Some(end) = self.typed(at)
            {
                return end;
            }
            return self.figure(at);
        }
        self.sign(at, c)
    }

    /// True for one letter with an accent of mathematics behind it: "x̄".
    #[inline(never)]
    pub(super) fn is_accented(&self, at: usize, end: usize) -> bool {
        let mark = self.at(end).filter(|mark| super::symbols::accent_of(*mark).is_some());
        mark.is_some_and(|mark| !self.is_letter(end + mark.len_utf8()))
            && self.s[at..end].chars().nth(1).is_none()
            && !self.before(at).is_some_and(char::is_alphanumeric)
    }

    /// A mark between the parts of a line, which is a pause: "Prep: 15 min | Cook: 1 hr", "4 reviews • Free".
    fn divider(&mut self, at: usize, mark: char) -> Option<usize> {
        let end = at + mark.len_utf8();
        let is_mark = mark == '|' || is_bullet(mark);
        if !is_mark || !self.before(at).is_some_and(char::is_whitespace) || !self.is_space(end) {
            return None;
        }
        let left = self.left(at).trim_end();
        let next = self.skip_space(end);
        // "P(A | B)", "a | b"
        let is_short = |word: &str| word.chars().nth(1).is_none();
        let last = left.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let first = &self.s[next..self.run(next, char::is_alphanumeric)];
        let is_divided = left
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | '"' | '”' | '%' | '°' | '$'))
            && self.at(next).is_some_and(|c| !c.is_whitespace() && c != mark)
            && !(mark == '|'
                && (self.s.chars().take(8).find(|c| !c.is_whitespace()) == Some('|')
                    || is_short(last) && is_short(first)
                    || left.contains('(') && !left.contains(')')));
        if is_divided {
            self.out.put(at..end, ",");
        }
        is_divided.then_some(end)
    }

    /// A Greek letter that is a sign of its own: alone, or before a Latin letter or a figure.
    fn greek(&mut self, at: usize) -> Option<usize> {
        let letter = self.at(at)?;
        let end = at + letter.len_utf8();
        if matches!(letter, 'Ø' | 'ø') && self.begins_figure(self.skip_space(end)) {
            self.say(at..end, "diameter");
            self.figure_start = end;
            return Some(end);
        }
        let name = super::symbols::greek(letter)?;
        let is_greek =
            |c: Option<char>| c.is_some_and(|c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}'));
        if is_greek(self.at(end)) || is_greek(self.before(at)) {
            return None;
        }
        self.say(at..end, name);
        Some(end)
    }

    /// Words that are written as one: "getUserById". The first one has two letters at least: "iPhone" is a name.
    fn humps(&mut self, at: usize, end: usize) -> Option<usize> {
        const MOST: usize = 48;
        let word = &self.s[at..end];
        let is_capital = |n: usize| word.as_bytes().get(n).is_some_and(u8::is_ascii_uppercase);
        let first = word.bytes().take_while(u8::is_ascii_lowercase).count();
        if first < 2 || word.len() > MOST || !is_capital(first) || !word.is_ascii() {
            return None;
        }
        self.say(at..end, &parted(word, word.len()));
        Some(end)
    }

    /// End of the Latin letters before a Greek one, which is a factor: "iπ", "kΔx".
    fn before_greek(&self, at: usize, end: usize) -> usize {
        const MOST: usize = 8;
        if end - at > MOST || self.s.as_bytes()[at..end].is_ascii() || !self.s.as_bytes()[at].is_ascii() {
            return end;
        }
        let letters = self.s[at..end].char_indices();
        letters
            .clone()
            .find(|(_, c)| super::symbols::greek(*c).is_some())
            .map_or(end, |(length, _)| at + length)
    }

    /// Replaces a run of letters, if it is known.
    fn word(&mut self, at: usize, is_start: bool) -> usize {
        if let Some(end) = self.greek(at) {
            return end;
        }
        if is_start
            && self.s.as_bytes()[at].is_ascii_hexdigit() | self.s.as_bytes()[at].is_ascii_uppercase()
            && let Some(end) = self.code(at)
        {
            return end;
        }
        let end = self.before_greek(at, self.letters(at));
        if is_start
            && end - at <= 3
            && matches!(self.s.as_bytes()[at], b'K' | b'Q' | b'R' | b'B' | b'N' | b'O' | b'a'..=b'h')
            && let Some(end) = self.chess(at)
        {
            return end;
        }
        let is_typed = is_start
            && (end - at <= 2 && !self.before(at).is_some_and(|c| "/.@#&".contains(c))
                || end - at <= 6 && self.at(end).is_some_and(|c| matches!(c, '\'' | '’' | '8' | '2')));
        let ended = match is_typed.then(|| self.typed(at)).flatten() {
            Some(ended) => Some(ended),
            None if is_start => {
                let known = self.known_word(at, end).or_else(|| self.phrase(at, end));
                known.or_else(|| self.humps(at, end)).or_else(|| self.exclaimed(at, end))
            }
            None => None,
        };
        self.word_before = std::mem::replace(&mut self.word, at..end);
        if let Some(ended) = ended {
            return ended;
        }
        // Combining marks, and letters that belong to the word.
        let end = match self.at(end).and_then(super::symbols::greek) {
            _ if self.is_accented(at, end) => end,
            Some(_) => end,
            None => self.run(end, |c| matches!(c, '\u{300}'..='\u{36f}') || is_letter(c)),
        };
        if is_start && let Some(formula) = self.formula(at, end) {
            return formula;
        }
        end
    }
}

/// True for a mark in front of an item, or between two.
fn is_bullet(c: char) -> bool {
    matches!(c, '•' | '●' | '▪' | '■' | '◆' | '○' | '◦' | '‣' | '►' | '▸')
}

/// True for letters, without those that are written high.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, 'ª' | 'º' | 'ⁿ' | 'ₐ'..='ₜ')
}

/// An ASCII word that is written as one, in its parts. Capitals from a position on are letters.
pub(super) fn parted(word: &str, letters_from: usize) -> String {
    let bytes = word.as_bytes();
    let is_capital = |n: usize| bytes.get(n).is_some_and(u8::is_ascii_uppercase);
    let mut words = String::new();
    for (n, c) in word.char_indices() {
        let is_start = n > 0
            && is_capital(n)
            && (!is_capital(n - 1) || n >= letters_from || !is_capital(n + 1) && n + 1 < bytes.len());
        words.push_str(if is_start { " " } else { "" });
        words.push(c);
    }
    words
}
