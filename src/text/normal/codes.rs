//! Codes that are read sign by sign: UUIDs, numbers of accounts and cards, emergency numbers.

use super::abbreviations::lists;
use super::english::Reader;
use super::numbers::{self, add};
use super::walk::Walk;

/// Lengths of the groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Most groups of an account or a card.
const MOST_GROUPS: usize = 9;

impl Reader<'_> {
    /// A code at the start of a run of letters and digits, and its end.
    pub(super) fn code(&mut self, at: usize) -> Option<usize> {
        self.uuid(at)
            .or_else(|| self.hardware(at))
            .or_else(|| self.account(at))
            .or_else(|| self.british(at))
            .or_else(|| self.emergency(at))
    }

    /// The address of a network device, six pairs of signs, or an address of IPv6.
    fn hardware(&mut self, at: usize) -> Option<usize> {
        const MOST: usize = 45;
        let bytes = self.s.as_bytes().get(at..)?;
        let bytes = &bytes[..bytes.len().min(MOST + 1)];
        let sign = *bytes[..bytes.len().min(5)].iter().find(|b| !b.is_ascii_hexdigit())?;
        let length = bytes.iter().take_while(|b| b.is_ascii_hexdigit() || **b == sign).count();
        let (sign, end) = (char::from(sign), at + length);
        if !matches!(sign, ':' | '-') || length > MOST || self.at(end).is_some_and(char::is_alphanumeric) {
            return None;
        }
        let written = &self.s[at..end];
        let groups = || written.split(sign);
        let is_pairs = groups().count() == 6 && groups().all(|group| group.len() == 2);
        let is_host = sign == ':'
            && groups().all(|group| group.len() <= 4)
            && (written.contains("::") && written.bytes().any(|b| b.is_ascii_alphabetic())
                || groups().count() == 8 && groups().all(|group| !group.is_empty()));
        if is_pairs && written.bytes().any(|b| b.is_ascii_alphabetic()) {
            return Some(self.say_signs(at, end));
        }
        if !is_host {
            return None;
        }
        let mut words = String::new();
        for c in written.chars() {
            match c {
                ':' => add(&mut words, "colon"),
                '0'..='9' => numbers::digits(&mut words, c.encode_utf8(&mut [0; 4])),
                _ => add(&mut words, c.to_ascii_uppercase().encode_utf8(&mut [0; 4])),
            }
        }
        self.say(at..end, &words);
        Some(end)
    }

    fn uuid(&mut self, at: usize) -> Option<usize> {
        let bytes = self.s.as_bytes().get(at..)?;
        let mut end = 0;
        for (n, length) in UUID.into_iter().enumerate() {
            if n > 0 {
                if bytes.get(end) != Some(&b'-') {
                    return None;
                }
                end += 1;
            }
            if !bytes.get(end..end + length)?.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            end += length;
        }
        if bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-') {
            return None;
        }
        Some(self.say_signs(at, at + end))
    }

    /// Groups of four: "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00".
    fn account(&mut self, at: usize) -> Option<usize> {
        let bytes = self.s.as_bytes();
        let is_group = |from: usize, length: usize| {
            bytes.get(from..from + length).is_some_and(|group| {
                group.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
                    && (group.iter().any(u8::is_ascii_digit) || from == at + 5)
            })
        };
        let is_end = |at: usize| !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
        let is_iban = matches!(bytes.get(at..at + 4)?, [a, b, c, d]
            if a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit());
        if !is_iban && !bytes[at..at + 4].iter().all(u8::is_ascii_digit) {
            return None;
        }
        let (mut end, mut groups) = (at + 4, 1);
        if is_iban && is_group(end, 11) {
            // Written without spaces.
            let run = self.run(end, |c| c.is_ascii_alphanumeric());
            return (run <= at + 34).then(|| self.say_signs(at, run));
        }
        while groups < MOST_GROUPS && bytes.get(end) == Some(&b' ') && is_group(end + 1, 4) && is_end(end + 5)
        {
            if !is_iban && !bytes[end + 1..end + 5].iter().all(u8::is_ascii_digit) {
                return None;
            }
            (end, groups) = (end + 5, groups + 1);
        }
        let is_years = || self.s[at..end].split(' ').all(super::figure::is_year_text);
        if groups < 4 || !is_end(end) || !is_iban && is_years() {
            return None;
        }
        // The last group of an account may be shorter.
        if is_iban && bytes.get(end) == Some(&b' ') {
            let last = self.digits(end + 1);
            if (end + 2..=end + 4).contains(&last) && is_end(last) {
                end = last;
            }
        }
        Some(self.say_signs(at, end))
    }

    /// A British post code: "SW1A 2AA".
    fn british(&mut self, at: usize) -> Option<usize> {
        let bytes = self.s.as_bytes().get(at..)?;
        let area = bytes.iter().take_while(|b| b.is_ascii_uppercase()).count();
        let outer =
            area + bytes[area..].iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
        let is_inner = |inner: &[u8]| {
            inner[0] == b' '
                && inner[1].is_ascii_digit()
                && inner[2..].iter().all(|b| b.is_ascii_uppercase() && !b"CIKMOV".contains(b))
        };
        let is_code = (1..=2).contains(&area)
            && (area + 1..=area + 2).contains(&outer)
            && bytes[area].is_ascii_digit()
            && bytes.get(outer..outer + 4).is_some_and(is_inner)
            && !bytes.get(outer + 4).is_some_and(u8::is_ascii_alphanumeric);
        is_code.then(|| self.say_signs(at, at + outer + 4))
    }

    /// Reads letters and digits one by one, with a pause between groups.
    fn say_signs(&mut self, at: usize, end: usize) -> usize {
        let mut words = String::new();
        for c in self.s[at..end].chars() {
            match c {
                '0'..='9' => numbers::digits(&mut words, c.encode_utf8(&mut [0; 4])),
                _ if c.is_ascii_alphabetic() => {
                    add(&mut words, c.to_ascii_uppercase().encode_utf8(&mut [0; 4]));
                }
                _ => words.push(','),
            }
        }
        self.say(at..end, &words);
        end
    }

    /// Numbers for emergencies: "Dial 911 or 112."
    fn emergency(&mut self, at: usize) -> Option<usize> {
        let end = self.digits(at);
        let number = &self.s[at..end];
        if !lists("911 112 999 988 411 311 211 101 111 000", number)
            || self.at(end).is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '/' | ':' | '%'))
            || self.at(end) == Some('.') && self.is_digit(end + 1)
        {
            return None;
        }
        let next = self.skip_space(end);
        let follows = &self.s[next..self.letters(next)];
        if !follows.is_empty()
            && !lists("or and for if now immediately in when right from on before first at", follows)
        {
            return None;
        }
        let is_called = |word: &str| {
            lists(
                "call calls called calling dial dials dialed dialing dialled ring Call Dial Ring text Text",
                word,
            )
        };
        let is_chained =
            lists("or and", self.word_near(at, 0)) && self.emergency_end > 0 && at <= self.emergency_end + 8;
        if !is_called(self.word_near(at, 0)) && !is_chained {
            return None;
        }
        self.emergency_end = end;
        let mut words = String::new();
        numbers::digits(&mut words, &self.s[at..end]);
        self.say(at..end, &words);
        Some(end)
    }
}
