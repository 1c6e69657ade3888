//! Figures that are names, although a unit or a magnitude seems to follow: 3M, Problem 3B, Table 2-1, 5'-3',
//! 1-800-FLOWERS, 007.

use super::abbreviations::lists;
use super::amount::Amount;
use super::english::Reader;
use super::figure::is_year_text;
use super::labels::is_label;
use super::numbers::{self, add};
use super::sum::COUNTED;
use super::walk::Walk;

/// Words with a capital before a figure that no thing is named by.
const NO_NAMES: &str = "A About Above All Almost Amazon An And Another Apple Approximately April Around Assets At August \
     Average Avg Below Between Budget But By Cap Cash Cost Debt December Down Each Earned Every Exactly \
     February Fewer For From Fully Fund Funding Gained Gave Goal Google Got Gross Had Has Her How \
     I In Income Is It Its January July June Just Last Loan Loans Lost Made March Max May Mean Median \
     Meta Microsoft Min More Most Mr Nearly Needs Net Netflix New Next No Not November Now Nvidia \
     October Of On Only Or Our Out Over Paid Pay Population Price Profit Raised Revenue Roughly Salary \
     Saved September She Since So Sold Some Spend Spent Still Target Tesla Than That The Their They This \
     To Today Tomorrow Tonight Total Under Up Value We Will With Won Worth Yesterday You Your";

/// Words behind "3M" that show a company.
const COMPANY: &str = "makes make made said says rose fell gained is was has had will would sells sold announced announces agreed \
     paid pays reported reports shares stock tape products invented uses plans settled expects and Company Co Corp Inc \
     Corporation Health Post Scotch Command";

/// Words before "3M" that show a company.
const BESIDE_COMPANY: &str = "by from at with and the company like buy";

/// Nouns whose number has two parts with a hyphen between.
const NUMBERED: &str = "Table Figure Fig Exhibit Exercise Problem Example Equation Eq Listing Schedule Appendix Form Plate Theorem \
     Lemma";

/// Words behind an end of a strand of DNA.
const STRANDS: &str =
    "end ends UTR UTRs cap untranslated overhang overhangs splice exonuclease phosphate carbon terminus to";

impl Reader<'_> {
    /// A figure that is a name or the number of a thing.
    pub(super) fn named(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        if !amount.is_plain()
            || self.before(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '/'))
        {
            return None;
        }
        let end = amount.end;
        self.vanity(at, end)
            .or_else(|| self.numbered_in_two(at, amount))
            .or_else(|| self.prime(at, amount))
            .or_else(|| self.oil(at, amount))
            .or_else(|| self.orbital(at, amount))
            .or_else(|| self.lettered(at, amount))
            .or_else(|| self.with_zeros(at, amount))
    }

    /// "1-800-FLOWERS": the number, up to the letters.
    fn vanity(&mut self, at: usize, end: usize) -> Option<usize> {
        let area = self.digits(end + 1);
        let letters = self.run(area + 1, |c| c.is_ascii_uppercase());
        let is_vanity = &self.s[at..end] == "1"
            && self.at(end) == Some('-')
            && area == end + 4
            && self.at(area) == Some('-')
            && letters > area + 1
            && !self.at(letters).is_some_and(char::is_lowercase);
        if !is_vanity {
            return None;
        }
        let mut words = String::from("one");
        match &self.s[end + 1..area] {
            "800" => add(&mut words, "eight hundred"),
            digits => numbers::digits(&mut words, digits),
        }
        words.push(',');
        self.say(at..area + 1, &words);
        Some(area + 1)
    }

    /// "Table 2-1": no range, but a number in two parts.
    fn numbered_in_two(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        let second = self.digits(end + 1);
        let is_number = self.at(end) == Some('-')
            && second > end + 1
            && amount.whole.len() <= 2
            && second <= end + 3
            && !matches!(self.at(second), Some('-' | '/' | '%'))
            && lists(NUMBERED, self.word_near(at, 1));
        if !is_number {
            return None;
        }
        let mut words = amount.words();
        add(&mut words, "dash");
        numbers::cardinal(&mut words, &self.s[end + 1..second]);
        // "Table 2-1a"
        let letter = self.letters(second);
        let end = if letter == second + 1 {
            add(&mut words, &self.s[second..letter].to_ascii_uppercase());
            letter
        } else {
            second
        };
        self.say(at..end, &words);
        Some(end)
    }

    /// "5'-3'" and "the 3' end": ends of a strand of DNA.
    fn prime(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let is_mark = |c: char| matches!(c, '\'' | '’' | '′');
        let behind = amount.end + self.at(amount.end).filter(|c| is_mark(*c))?.len_utf8();
        if !matches!(amount.whole, "5" | "3") {
            return None;
        }
        let other = if amount.whole == "5" { '3' } else { '5' };
        let (left, right) = (self.left(at), self.right(behind));
        let is_joint = |c: char| matches!(c, '-' | '–' | '→' | '>' | ' ' | '‑');
        let next = right.trim_start_matches(is_joint);
        let is_first = next.len() < right.len()
            && next
                .strip_prefix("to ")
                .unwrap_or(next)
                .strip_prefix(other)
                .is_some_and(|rest| rest.starts_with(is_mark));
        let previous = left.trim_end_matches(is_joint);
        let is_second = previous.len() < left.len()
            && previous.strip_suffix(is_mark).is_some_and(|rest| rest.ends_with(other));
        // "5'-ATG-3'"
        let is_base = |c: char| c.is_ascii_uppercase();
        let is_first_of_bases = right
            .strip_prefix('-')
            .is_some_and(|rest| rest.chars().take(2).filter(|c| is_base(*c)).count() == 2);
        let is_last_of_bases = left
            .strip_suffix('-')
            .is_some_and(|rest| rest.chars().rev().take(2).filter(|c| is_base(*c)).count() == 2);
        let is_end = is_first_of_bases
            || is_last_of_bases
            || lists(STRANDS, self.word_behind(behind)) && self.word_behind(behind) != "to";
        if !is_first && !is_second && !is_end {
            return None;
        }
        let words = format!("{} prime", amount.words());
        self.say(at..behind, &words);
        // "5'-3'" is from one end to the other.
        let dash = self.at(behind).filter(|c| matches!(c, '-' | '–' | '‑'));
        match dash.filter(|_| is_first) {
            Some(_) => {
                let last = behind + right.len() - next.len();
                self.say(behind..last, "to");
                Some(last)
            }
            None => Some(behind),
        }
    }

    /// The grade of an oil: "10W-40".
    fn oil(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        let second = self.digits(end + 2);
        let is_oil = matches!(amount.whole, "0" | "5" | "10" | "15" | "20" | "25")
            && self.s[end..].starts_with("W-")
            && second == end + 4
            && !self.is_letter(second);
        if !is_oil {
            return None;
        }
        let mut words = format!("{} W", amount.words());
        numbers::cardinal(&mut words, &self.s[end + 2..second]);
        self.say(at..second, &words);
        Some(second)
    }

    /// An orbital of an atom: "2p⁶", "3d orbital".
    fn orbital(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let letter = self.at(amount.end).filter(|c| matches!(c, 's' | 'p' | 'd' | 'f'))?;
        let end = amount.end + 1;
        let count = self.run(end, |c| matches!(c, '¹' | '²' | '³' | '⁰' | '⁴'..='⁹'));
        let is_named =
            lists("orbital orbitals electron electrons subshell subshells shell", self.word_behind(end));
        if !(1..=7).contains(&amount.value()?) || count == end && !is_named || self.is_letter(count) {
            return None;
        }
        let mut words = format!("{} {}", amount.words(), letter.to_ascii_uppercase());
        let digits: String = self.s[end..count].chars().filter_map(super::powers::script_digit).collect();
        if !digits.is_empty() {
            numbers::cardinal(&mut words, &digits);
        }
        self.say(at..count, &words);
        Some(count)
    }

    /// A figure with a letter that is a name: "3M", "Problem 3B", "10c)", "Option 3A or 3B".
    fn lettered(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        let letter = self.at(end).filter(char::is_ascii_alphabetic)?;
        let letter_end = end + 1;
        let after = self.at(letter_end);
        if amount.whole.len() > 3
            || after.is_some_and(|c| {
                c.is_alphanumeric() || matches!(c, '_' | '/' | '°' | '²' | '³' | '$' | '€' | '£')
            })
        {
            return None;
        }
        let word = self.word_near(at, 0);
        let follows = self.word_behind(letter_end);
        let is_name = letter == 'M' && amount.whole == "3" && self.is_company(at, letter_end, word, follows);
        let is_listed = || {
            let between = self.s.get(self.named_end..at).filter(|between| between.len() <= 6);
            between.is_some_and(|between| {
                matches!(between.trim(), "or" | "and" | "," | "/" | "to" | "–" | "-" | ", and" | ", or" | "&")
            })
        };
        // "Over 5M people"
        let is_counted = lists(COUNTED, follows) || self.currency_at(self.skip_space(letter_end)).is_some();
        let is_numbered = letter.is_ascii_uppercase()
            && !is_counted
            && (is_listed()
                || word.len() > 2
                    && word.bytes().skip(1).all(|b| b.is_ascii_lowercase())
                    && word.starts_with(|c: char| c.is_ascii_uppercase())
                    && !word.ends_with('s')
                    && !word.ends_with("ly")
                    && !lists(NO_NAMES, word)
                    && !matches!(letter, 'K' | 'D' | 'G' | 'P')
                    // Units of a thing in a heading: "Battery 12V", "Charger 5W".
                    && !matches!(letter, 'V' | 'W' | 'A' | 'C' | 'F' | 'L' | 'N' | 'J' | 'T' if !is_label(word)));
        if !is_name && !is_numbered && !self.is_outline(at, letter_end) {
            return None;
        }
        if is_numbered {
            self.named_end = letter_end;
        }
        let words = format!("{} {}", amount.words(), letter.to_ascii_uppercase());
        self.say(at..letter_end, &words);
        Some(letter_end)
    }

    /// True for "3M", the company.
    fn is_company(&self, at: usize, end: usize, word: &str, follows: &str) -> bool {
        if self.s[end..].starts_with("'s") || self.s[end..].starts_with("’s") {
            return true;
        }
        let is_first = self.s[..at].trim_end().is_empty();
        if lists(COUNTED, follows) {
            return false;
        }
        lists(COMPANY, follows)
            || lists(BESIDE_COMPANY, word)
            || is_first && self.at(end).is_some_and(|c| matches!(c, ',' | '.' | '(' | ':' | ';'))
            || word == "of"
                && lists("shares Shares stock tape maker products", &self.s[self.word_before.clone()])
    }

    /// True for the number of a part of a list: "10c)" without an opening bracket, and "4m." at the start of a line.
    fn is_outline(&self, at: usize, end: usize) -> bool {
        let line = self.left(at);
        let is_first = line.trim().is_empty() && (line.len() == at || line.len() < super::operands::WINDOW);
        match self.at(end) {
            Some(')') => !line.contains('('),
            Some('.') => {
                is_first && self.s[end - 1..].starts_with(|c: char| c.is_ascii_lowercase()) && {
                    let next = self.skip_space(end + 1);
                    next == self.s.len() || next > end + 1 && self.at(next).is_some_and(char::is_uppercase)
                }
            }
            _ => false,
        }
    }

    /// A figure that begins with zeros is a code: "007", "0042".
    fn with_zeros(&mut self, at: usize, amount: Amount<'_>) -> Option<usize> {
        let end = amount.end;
        let is_code = amount.whole.len() > 1
            && amount.whole.starts_with('0')
            && amount.whole.len() <= 12
            && !self.is_letter(end)
            && !matches!(self.at(end), Some('-' | '/' | ':' | '_' | '%' | '°' | '\'' | '"'))
            && !(matches!(self.at(end), Some('.' | ',')) && self.is_digit(end + 1))
            && !matches!(self.before(at), Some('-' | ':' | '_' | '–'))
            && !is_year_text(amount.whole);
        if !is_code {
            return None;
        }
        let mut words = String::new();
        match amount.whole {
            "007" => words.push_str("double oh seven"),
            digits => numbers::digits(&mut words, digits),
        }
        self.say(at..end, &words);
        Some(end)
    }

    /// "to" between two names of the same form: "Q1–Q3", "A1-A4". The first one ends at `end`.
    pub(super) fn range_of_names(&mut self, at: usize, end: usize) -> Option<usize> {
        let name = self.s.get(at..end)?;
        let dash = self.at(end).filter(|c| matches!(c, '-' | '–'))?;
        let second = end + dash.len_utf8();
        let letters = self.letters(at);
        let last = self.run(second, |c| c.is_ascii_alphanumeric());
        let other = self.s.get(second..last)?;
        let is_range = letters == at + 1
            && name.len() <= 3
            && other.len() <= 4
            && name.as_bytes()[0].is_ascii_uppercase()
            && other.as_bytes().first() == name.as_bytes().first()
            && [&name[1..], &other[1..]]
                .iter()
                .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            && numbers::value(&name[1..]) != numbers::value(&other[1..])
            && !matches!(self.at(last), Some('-' | '–' | '_'));
        if !is_range {
            return None;
        }
        self.say(end..second, "to");
        Some(second)
    }
}
