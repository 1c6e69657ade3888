//! Abbreviations, titles, Roman numerals and formulas.

use super::abbreviations::{
    CITATIONS, Place, abbreviation, dotted, is_ending, is_numbered, is_regnal, lists,
};
use super::english::Reader;
use super::money;
use super::numbers::{self, add};
use super::walk::Walk;

/// Nouns behind "est." for "estimated".
const ESTIMATES: &str =
    "cost costs time value arrival price completion delivery budget revenue size total date reading age";

/// Numbers before minutes.
const COUNTS: &str =
    "two three four five six seven eight nine ten fifteen twenty thirty forty fifty few couple several";

/// Names of jobs, behind "Sr." for "Senior".
const JOBS: &str = "Engineer Developer Manager Director Analyst Consultant Architect Designer Scientist Vice VP Partner Associate \
     Advisor Editor Producer Software Data Product Project Program Account Staff Research Technical Marketing Sales \
     Systems Network Officer Executive Specialist Lecturer Fellow Planner Counsel Administrator Technician Recruiter";

impl Reader<'_> {
    /// Replaces a word that is known, and returns the end of what was replaced.
    pub(super) fn known_word(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        let next = self.at(end);
        // Most words are longer, and in small letters.
        if word.len() > 8 {
            return if word.len() == 9 { self.month_or_day(at, end) } else { None };
        }
        if next == Some('.') && word.starts_with(|c: char| c.is_ascii_uppercase()) {
            let rest = &self.s[at..];
            if let Some((written, words)) = CITATIONS.iter().find(|(written, _)| rest.starts_with(written)) {
                let last = at + written.len();
                if !self.is_letter(last) {
                    // A full stop at the end of the text stays.
                    let is_over = written.ends_with('.') && self.is_last(last);
                    self.say(at..last - usize::from(is_over), words);
                    return Some(last - usize::from(is_over));
                }
            }
        }
        match next {
            Some('-') if matches!(word, "y" | "q" | "m") => {
                let words = match self.s.get(at..at + 5)? {
                    "y-o-y" => "year over year",
                    "q-o-q" => "quarter over quarter",
                    "m-o-m" => "month over month",
                    _ => return None,
                };
                self.say(at..at + 5, words);
                return Some(at + 5);
            }
            Some('.') if word.len() <= 2 && self.is_letter(end + 1) => {
                if let Some(ended) = self.dotted_word(at, end) {
                    return Some(ended);
                }
            }
            Some('·' | '⋅' | '∙') => {
                if let Some(unit) = self.unit_at(at, false).filter(|unit| unit.end > end) {
                    self.say(at..unit.end, &unit.many);
                    return Some(unit.end);
                }
            }
            Some('²' | '³') if matches!(word, "m" | "km" | "cm" | "mm" | "ft") => {
                let sign = end + '²'.len_utf8();
                if self.at(sign) == Some('/')
                    && let Some(unit) = self.unit_at(at, false).filter(|unit| unit.end > sign + 1)
                {
                    self.say(at..unit.end, &unit.many);
                    return Some(unit.end);
                }
            }
            Some('$') if self.is_digit(self.skip_space(end + 1)) => {
                if let Some(currency) = money::by_prefix(word) {
                    return self.sum(at, self.skip_space(end + 1), currency);
                }
            }
            Some(mark @ ('º' | '°')) if matches!(word, "N" | "n") => {
                let sign_end = end + mark.len_utf8();
                if self.begins_figure(self.skip_space(sign_end)) {
                    self.say(at..sign_end, "number");
                    return Some(sign_end);
                }
            }
            Some('/')
                if matches!(word, "N" | "W")
                    && !self.s[end..].starts_with("/A")
                    && self.unit_at(at, false).is_some_and(|unit| unit.many.contains(" per ")) =>
            {
                let unit = self.unit_at(at, false)?;
                self.say(at..unit.end, &unit.many);
                return Some(unit.end);
            }
            Some('/')
                if matches!(word, "P" | "I" | "A" | "B" | "S" | "a") && self.is_pair_of_letters(end) =>
            {
                let words = format!(
                    "{} {}",
                    word.to_ascii_uppercase(),
                    self.s[end + 1..end + 2].to_ascii_uppercase()
                );
                self.say(at..end + 2, &words);
                return Some(end + 2);
            }
            Some('/')
                if self.before(at) != Some('/') && word == "m" && self.left(at).trim_end().ends_with('%')
                    || self.before(at) != Some('/')
                        && matches!(word, "w" | "W" | "b" | "n" | "N" | "c" | "y" | "q" | "Y" | "Q") =>
            {
                return self.slashed(at, end);
            }
            Some('/') if word.len() > 1 || matches!(word, "m" | "L") => {
                if self.is_digit(end + 1) && !(word == "L" && self.s[end..].starts_with("/100")) {
                    return None;
                }
                if let Some(unit) = self.unit_at(at, false).filter(|unit| unit.many.contains(" per ")) {
                    self.say(at..unit.end, &unit.many);
                    return Some(unit.end);
                }
            }
            _ => {}
        }
        // "pp. 12 ff."
        if word == "ff" && self.figure_end != usize::MAX && self.skip_space(self.figure_end) == at {
            let stop = self.stop(end);
            self.say(at..stop, "and following");
            return Some(stop);
        }
        if let Some(ended) = self.of_verse(at, end).or_else(|| self.section(at, end)) {
            return Some(ended);
        }
        if let Some(ended) = self.order(at, end) {
            return Some(ended);
        }
        // The voice takes the verb for the metal.
        if matches!(word, "lead" | "Lead") && !self.is_metal(at, end) {
            self.say(at..end, "leed");
            return Some(end);
        }
        if let Some(words) = self.spelled(at, end) {
            self.say(at..end, &words);
            return Some(end);
        }
        if matches!(word, "St" | "Dr" | "ST" | "DR" | "st" | "dr") {
            return self.saint(at, end);
        }
        if let Some(ended) = self.side(at, end) {
            return Some(ended);
        }
        if let Some(ended) = self.book(at, end) {
            return Some(ended);
        }
        if let Some(ended) = self.month_or_day(at, end) {
            return Some(ended);
        }
        if let Some(ended) = self.roman(at, end) {
            return Some(ended);
        }
        if matches!(word.len(), 2 | 3)
            && next.is_some_and(|c| c.is_whitespace() || c.is_ascii_digit() || c == '.')
            && self.before(at) != Some('/')
            && let Some(currency) = money::by_code(word).or_else(|| money::by_name(word))
        {
            let figure = self.skip_space(end + usize::from(matches!(word, "Rs" | "kr") && next == Some('.')));
            // "INR 2.5" is of blood.
            let is_ratio =
                word == "INR" && self.digits(figure) == figure + 1 && self.at(figure + 1) == Some('.');
            if self.is_digit(figure) && !is_ratio {
                return self.sum(at, figure, currency);
            }
        }

        self.abbreviated(at, end)
    }

    /// True for the metal lead: "lead pipes", "of lead", "lead-free".
    fn is_metal(&self, at: usize, end: usize) -> bool {
        const THINGS: &str = "pipe pipes paint paints poisoning acid acetate oxide shot bullet bullets exposure levels free \
             crystal battery batteries glass ore mine mines content solder weight weights contamination based pencil pencils";
        const NEAR: &str =
            "of contain contains containing from like with mercury cadmium zinc tin copper arsenic";
        let next = self.skip_space(end + usize::from(self.at(end) == Some('-')));
        let ends = !self.is_letter(next) || lists("and or", &self.s[next..self.letters(next)]);
        lists(THINGS, &self.s[next..self.letters(next)])
            || ends && lists(NEAR, &self.word_near(at, 0).to_ascii_lowercase())
            || lists("and or", self.word_near(at, 1)) && lists(NEAR, &self.s[self.word_before.clone()])
    }

    /// True for the rest of "P/E", "I/O", "A/C", "A/B" and "B/W" behind the first letter.
    fn is_pair_of_letters(&self, slash: usize) -> bool {
        let letters = self.letters(slash + 1);
        let pair = self.s.get(slash - 1..letters).unwrap_or_default();
        lists("P/E P/B P/N S/N I/O A/C a/c A/B A/V B/W", pair)
            && !self.is_digit(letters)
            && self.at(letters) != Some('/')
    }

    /// Letters that a voice would read as a word, one by one.
    fn spelled(&self, at: usize, end: usize) -> Option<String> {
        let word = &self.s[at..end];
        let (stem, plural) = match word.strip_suffix('s') {
            Some(stem) if stem.len() > 1 => (stem, "s"),
            _ => (word, ""),
        };
        let is_caps = stem.bytes().all(|b| b.is_ascii_uppercase());
        let is_pair = word.len() <= 3 && (self.at(end) == Some('&') || self.before(at) == Some('&'));
        if word == "pH" {
            return Some("P H".to_owned());
        }
        let is_flight = stem.len() == 2
            && lists("flight Flight flights Flights", self.word_near(at, 0))
            && self.is_digit(self.skip_space(end));
        let is_era = plural.is_empty() && matches!(stem, "AD" | "BC" | "BCE" | "CE") && {
            let next = self.skip_space(end);
            let is_behind = self.figure_end != usize::MAX && self.skip_space(self.figure_end) == at;
            is_behind || self.is_digit(next) || lists("century c centuries", self.word_near(at, 1))
        };
        let is_known = is_pair
            || is_era
            || is_flight
            || stem.len() > 3 && stem.starts_with("AA") && !stem.starts_with("AAA")
            || word == "APR" && self.is_rate(at, end)
            || stem == "PO" && self.word_behind(end) == "Box"
            || stem == "PR"
                && (self.is_digit(self.skip_space(end)) || self.at(self.skip_space(end)) == Some('#'))
            || plural.is_empty() && stem == "US" && !self.is_shouted(at, end)
            || matches!(
                stem,
                "AI" | "CEO"
                    | "CFO"
                    | "CTO"
                    | "COO"
                    | "CIA"
                    | "URL"
                    | "API"
                    | "EU"
                    | "UN"
                    | "UK"
                    | "UAE"
                    | "USA"
                    | "EST"
                    | "EDT"
                    | "DIY"
                    | "VIP"
                    | "IQ"
                    | "SUV"
                    | "UI"
                    | "UX"
                    | "IO"
                    | "ETA"
                    | "ICU"
                    | "EV"
                    | "UV"
                    | "IP"
                    | "ID"
                    | "ER"
                    | "AC"
                    | "OS"
                    | "IOU"
                    | "UFO"
                    | "EKG"
                    | "MIA"
                    | "AKA"
                    | "OT"
                    | "IUD"
                    | "RAF"
                    | "UPS"
                    | "CAD"
                    | "EPA"
                    | "ESP"
                    | "IRA"
                    | "LA"
                    | "IRS"
                    | "IDE"
                    | "AWS"
                    | "EOD"
                    | "HIV"
                    | "ISP"
                    | "DOJ"
                    | "DUI"
                    | "EMT"
                    | "ERP"
                    | "CIO"
                    | "IMF"
                    | "ETF"
                    | "APY"
                    | "FYI"
                    | "ROI"
                    | "SLA"
                    | "AOL"
                    | "IED"
                    | "IRL"
                    | "IPO"
                    | "EPS"
                    | "CI"
            )
            || stem == "LED" && !self.is_shouted(at, end)
            || plural.is_empty()
                && matches!(stem, "ET" | "PT" | "CT" | "MT" | "PST" | "CET" | "IST")
                && self.is_zone(at);
        if !is_caps || !is_known || self.is_digit(end) || stem.len() < 2 {
            return None;
        }
        let mut words = String::new();
        for letter in stem.chars() {
            add(&mut words, letter.encode_utf8(&mut [0; 4]));
        }
        if !plural.is_empty() {
            words.push_str("'s");
        }
        Some(words)
    }

    /// True for the "APR" of a loan, which is no month: behind a percentage, or without a figure beside it.
    fn is_rate(&self, at: usize, end: usize) -> bool {
        let before = self.s[..at].trim_end();
        before.ends_with('%')
            || !self.is_digit(self.skip_space(end)) && !before.ends_with(|c: char| c.is_ascii_digit())
    }

    /// True behind a time: "3 pm ET", "17:00 CET".
    fn is_zone(&self, at: usize) -> bool {
        let left = self.left(at).trim_end();
        let hours =
            left.trim_end_matches(|c: char| matches!(c.to_ascii_lowercase(), 'a' | 'p' | 'm' | '.' | ' '));
        hours.ends_with(|c: char| c.is_ascii_digit()) && (hours.len() < left.len() || left.contains(':'))
    }

    /// Words of verse with a mark for what is left out: "o'er", "e'er", "th' abyss".
    fn of_verse(&mut self, at: usize, end: usize) -> Option<usize> {
        let mark = self.at(end).filter(|c| matches!(c, '\'' | '’'))?;
        let rest = end + mark.len_utf8();
        let word = &self.s[at..end];
        let last = self.letters(rest);
        let (words, ended) = match (word, &self.s[rest..last]) {
            ("o" | "O", "er") => ("ore", last),
            ("e" | "E", "er") => ("air", last),
            ("ne" | "Ne", "er") => ("nair", last),
            ("th" | "Th", "") if self.at(rest) == Some(' ') => ("the", rest),
            _ => return None,
        };
        self.say(at..ended, words);
        Some(ended)
    }

    /// The Roman numeral of a section, at the start of the text: "II.", "IV. Results", "ii. second".
    fn section(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        let is_small = word.len() > 1 && word.bytes().all(|b| matches!(b, b'i' | b'v' | b'x'));
        // "II" alone is the heading of a part.
        let is_heading = word.len() > 1 && self.s.trim() == word && self.s[..end].trim() == word;
        if !is_small && !word.bytes().all(|b| matches!(b, b'I' | b'V' | b'X'))
            || self.at(end) != Some('.') && (!is_heading || is_small)
            || !self.s[..at].trim().is_empty()
            || word.len() == 1 && !self.s[end + 1..].trim().is_empty()
            || self.is_letter(end + 1)
        {
            return None;
        }
        let mut words = String::new();
        numbers::number(&mut words, numbers::roman(&word.to_ascii_uppercase())?);
        self.say(at..end, &words);
        Some(end)
    }

    /// True if the words around are in capitals too.
    fn is_shouted(&self, at: usize, end: usize) -> bool {
        let next = self.skip_space(end);
        let follows = &self.s[next..self.letters(next)];
        let is_upper = |word: &str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
        is_upper(self.word_near(at, 0)) && is_upper(follows)
            || is_upper(self.word_near(at, 0)) && !matches!(self.word_near(at, 0).len(), 2 | 3)
            || is_upper(follows) && follows.len() > 4
    }

    fn abbreviated(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        let next = self.skip_space(end + 1);
        // "ft. Rihanna", "rev. $89.5B"
        if self.at(end) == Some('.') && next > end + 1 {
            let after = self.at(next);
            let words = match word {
                "ft" | "feat"
                    if after.is_some_and(char::is_uppercase) && self.figure_end.saturating_add(1) != at =>
                {
                    "featuring"
                }
                "rev" if self.begins_figure(next) => "revenue",
                "long" | "Long" if self.is_longitude(at, next) => "longitude",
                // "Rev. C"
                "Rev"
                    if self.letters(next) == next + 1
                        && after.is_some_and(char::is_uppercase)
                        && self.at(next + 1) != Some('.') =>
                {
                    "Revision"
                }
                "Dir" if self.is_digit(next) => "Directive",
                "Cat" | "cat" if lists("No no Nos nos", &self.s[next..self.letters(next)]) => "catalog",
                "est" | "Est" if lists(ESTIMATES, &self.s[next..self.letters(next)]) => "estimated",
                "ed" | "trans"
                    if after.is_some_and(char::is_uppercase)
                        && !self.s[..at].trim_end().ends_with(char::is_alphanumeric) =>
                {
                    if word == "ed" {
                        "edited by"
                    } else {
                        "translated by"
                    }
                }
                "Mob" | "mob" if self.is_digit(next) => "mobile",
                "Cell" if self.is_digit(next) => "cell",
                "Ph" | "ph" if self.is_digit(next) => "phone",
                "exp" | "Exp" if self.is_digit(next) => "expires",
                "hwy" if self.is_digit(next) => "highway",
                "rte" if self.is_digit(next) => "route",
                "inc" if self.s[next..].starts_with("VAT") || self.s[next..].starts_with("tax") => {
                    "including"
                }
                "Reg" if self.is_digit(next) || after == Some('(') => "Regulation",
                "min" if lists(COUNTS, &self.word_near(at, 0).to_ascii_lowercase()) => "minutes",
                _ => "",
            };
            if !words.is_empty() {
                self.say(at..end + 1, words);
                return Some(end + 1);
            }
        }
        // "last yr.", "the 5th Fl."
        let is_counted = self.figure_end.saturating_add(1) == at
            && ["st ", "nd ", "rd ", "th "].iter().any(|end| self.s[..at].ends_with(end));
        let period = match word {
            "Fl" | "fl" if is_counted => "floor",
            "yr" => "year",
            "wk" => "week",
            "mo" => "month",
            _ => "",
        };
        if !period.is_empty()
            && (is_counted
                || lists("last this next past each every per", &self.word_near(at, 0).to_ascii_lowercase()))
        {
            let stop = self.stop(end);
            self.say(at..stop, period);
            return Some(stop);
        }
        let (words, place) = abbreviation(word)?;
        // A part of a path, "/etc", is no abbreviation.
        if word == "etc" && self.before(at) == Some('/') || word == "txt" && self.before(at) == Some('.') {
            return None;
        }
        if word == "Ave"
            && lists(
                "Maria Verum Regina Caesar",
                &self.s[self.skip_space(end)..self.letters(self.skip_space(end))],
            )
        {
            return None;
        }
        let has_stop = self.at(end) == Some('.');
        if self.is_digit(end) {
            // "p5", but not "p53 gene"
            let follows = self.word_behind(self.digits(end));
            let is_cited = self.before(at) == Some('(')
                || lists("see See on cf at in and from to", self.word_near(at, 1));
            let is_share = lists("50 90 95 99 999", &self.s[end..self.digits(end)]);
            let is_page = !is_share
                && (!follows.starts_with(char::is_lowercase) || lists("of and or to in is for", follows));
            return (matches!(word, "p" | "pp")
                && place == Place::Figure
                && is_page
                && (is_cited || word == "pp"))
                .then(|| {
                    self.say(at..end, words);
                    end
                });
        }
        if matches!(self.at(end), Some('\'' | '’' | '-' | '_'))
            && self.at(end + 1).is_some_and(char::is_alphabetic)
            && word != "Jr"
            && word != "vs"
        {
            return None;
        }
        let stop = end + usize::from(has_stop);
        let next = self.skip_space(stop);
        let after = self.at(next);
        // "Sec. Blinken", "Pt. Reyes", and "Sr. Mary" at the start
        if has_stop && next > stop && after.is_some_and(char::is_uppercase) && !self.roman_at(next, false) {
            let name = match word {
                "Sec" => "Secretary",
                "Pt" => "Point",
                "Sr" if lists(JOBS, &self.s[next..self.letters(next)]) => "Senior",
                "Sr" if self.s[..at].trim_matches(|c: char| !c.is_alphanumeric()).is_empty() => "Sister",
                _ => "",
            };
            if !name.is_empty() {
                self.say(at..stop, name);
                return Some(stop);
            }
        }
        let is_figure = self.begins_figure(next)
            || matches!(after, Some('(' | '#')) && self.is_digit(next + 1)
            || self.roman_at(next, matches!(word, "p" | "pp")) && !self.is_refusal(word, next)
            || has_stop && next > stop && lists("no nos No Nos", word) && self.is_part_number(next);
        if matches!(word, "no" | "No" | "NO") && (self.is_answer(at) || !has_stop && self.is_denial(at, next))
        {
            return None;
        }
        // "Col. 3", "No. of items"
        let other = match word {
            "Col" | "col" if has_stop && self.is_digit(next) => "column",
            "Cols" | "cols" if has_stop && self.is_digit(next) => "columns",
            "No" | "no" if has_stop && self.s[next..].starts_with("of ") && !self.is_answer(at) => "number",
            _ => "",
        };
        if !other.is_empty() {
            self.say(at..stop, other);
            return Some(stop);
        }
        let is_joined = stop == next && stop != end && after.is_some_and(char::is_alphanumeric) && !is_figure;
        let is_known = !is_joined
            && match place {
                Place::Any | Place::Ending => true,
                Place::Stop if word == "v" => {
                    has_stop && after.is_some_and(char::is_uppercase) && !self.is_last(stop)
                }
                Place::Stop => has_stop && (!self.is_last(stop) || lists("Co al temp Sq opt med", word)),
                // "24 g fat (9 g sat.)"
                Place::Figure if word == "sat" && has_stop && self.left(at).trim_end().ends_with('g') => true,
                // "(2021 est.)"
                Place::Figure if word == "est" && has_stop && !is_figure => self.figure_end + 1 == at,
                Place::Figure if matches!(word, "b" | "d" | "fl") => {
                    let digits = self.digits(next);
                    let is_date = digits > next && self.is_month_behind(digits)
                        || super::time::month(&self.s[next..self.letters(next)]).is_some();
                    has_stop && next > stop && (is_date || super::figure::is_year_text(&self.s[next..digits]))
                }
                Place::Figure if word == "c" || word == "p" || word == "ca" => {
                    is_figure && (has_stop || word == "p" && next > end)
                }
                Place::Figure => {
                    is_figure
                        && (has_stop
                            || !matches!(
                                word,
                                "no" | "No"
                                    | "NO"
                                    | "sec"
                                    | "Sec"
                                    | "secs"
                                    | "art"
                                    | "Art"
                                    | "arts"
                                    | "Arts"
                                    | "app"
                                    | "ch"
                                    | "Ch"
                                    | "tab"
                                    | "Tab"
                                    | "est"
                                    | "Est"
                                    | "nr"
                                    | "eq"
                                    | "ref"
                                    | "Op"
                                    | "op"
                                    | "Ep"
                                    | "ep"
                                    | "dep"
                                    | "Dep"
                                    | "arr"
                                    | "Arr"
                                    | "Fl"
                                    | "Pt"
                                    | "Bk"
                                    | "Rt"
                                    | "Res"
                                    | "Tr"
                                    | "Prop"
                                    | "Def"
                                    | "Lem"
                                    | "ll"
                                    | "mm"
                                    | "pt"
                                    | "bk"
                                    | "sat"
                                    | "Pop"
                                    | "pop"
                                    | "elev"
                                    | "alt"
                                    | "Term"
                                    | "plat"
                                    | "vis"
                                    | "Mk"
                            )
                            || word == "No" && next > end)
                }
                Place::Name => after.is_some_and(char::is_uppercase),
            };
        if !is_known {
            return None;
        }
        let end = match (has_stop, place) {
            (false, _) => end,
            (true, Place::Ending) if after.is_some_and(char::is_uppercase) => end,
            (true, Place::Any | Place::Ending) if is_ending(word) => self.stop(end),
            (true, _) => self.leading_stop(end),
        };
        let words = match word {
            "est" | "Est"
                if has_stop && (!is_figure || self.at(next).is_some_and(|c| money::by_sign(c).is_some())) =>
            {
                "estimated"
            }
            "pt" if self.word_near(at, 0) == "dew" => "point",
            _ => words,
        };
        self.say(at..end, words);
        Some(end)
    }

    /// True for degrees: "long. -74.0", "lat. 40.7, long. 74".
    fn is_longitude(&self, at: usize, figure: usize) -> bool {
        let digits =
            figure + self.at(figure).filter(|c| matches!(c, '-' | '−' | '–')).map_or(0, char::len_utf8);
        let end = self.run(digits, |c| c.is_ascii_digit() || c == '.');
        self.is_digit(digits)
            && (digits > figure
                || self.at(end) == Some('°')
                || self.left(at).to_ascii_lowercase().contains("lat"))
    }

    /// True for the code of a thing: "AB-1024", "X5".
    fn is_part_number(&self, at: usize) -> bool {
        let letters = self.run(at, |c| c.is_ascii_uppercase());
        let figure = letters + usize::from(self.at(letters) == Some('-'));
        letters > at && letters <= at + 5 && self.is_digit(figure)
    }

    /// True if "No" is a word of its own before a lone letter: "No. I do not."
    fn is_refusal(&self, word: &str, next: usize) -> bool {
        word.eq_ignore_ascii_case("no") && self.letters(next) == next + 1
    }

    /// True if "No" without a stop denies what follows: "No 3D glasses needed", "No 100% guarantee", "Yes 2) No 3)".
    fn is_denial(&self, at: usize, figure: usize) -> bool {
        let end = self.run(figure, |c| c.is_ascii_digit());
        if end == figure {
            return self.begins_figure(figure);
        }
        let follows = self.word_behind(end);
        match self.at(end) {
            Some(')') => !self.left(at).contains('('),
            Some('%' | '-' | '/' | '°' | '+') => true,
            Some(c) if c.is_alphabetic() => true,
            Some(c) if c.is_whitespace() => {
                follows.starts_with(char::is_lowercase)
                    && !lists(
                        "is was has had of in on at to for and or by from as will would can the are were with a who that",
                        follows,
                    )
            }
            _ => false,
        }
    }

    /// True if "no" is what was said: "I said no. 5 people left."
    fn is_answer(&self, at: usize) -> bool {
        let before = self.word_near(at, 1);
        lists("said say says saying answered replied voted vote told me him them us means meant", before)
            || lists("is was be", before) && lists("answer reply response", &self.s[self.word_before.clone()])
    }

    /// True if a mark stands between a label and a Roman numeral that is no stop of an abbreviation.
    fn is_cut_off(&self, label: &str, at: usize) -> bool {
        let between = if label.is_empty() { "" } else { self.s.get(self.word.end..at).unwrap_or_default() };
        between.contains([',', ';', ':', '!', '?', '–', '—', '\n'])
            || between.contains('.')
                && !lists(
                    "Vol vol Ch ch Sect No no Mk Ep ep Art art Amend amend Pt Bk pt bk Sched App Tit tit Sec sec",
                    label,
                )
    }

    /// True for Roman numerals of one letter that are letters behind most labels.
    fn is_letter_behind(&self, label: &str, word: &str) -> bool {
        match word {
            "C" | "D" | "L" | "M" => true,
            "X" => lists(
                "Malcolm Type type Class class Figure figure Table table Appendix appendix Level level Stage stage \
                 Grade grade Group Division Tier Unit Module Step Mark No no",
                label,
            ),
            "I" | "V" => matches!(label, "No" | "no"),
            _ => false,
        }
    }

    /// True for a Roman numeral in capitals, or in small letters too.
    fn roman_at(&self, at: usize, is_any: bool) -> bool {
        let end = self.letters(at);
        let word = &self.s[at..end];
        let is_small = is_any
            && numbers::roman(&word.to_ascii_uppercase()) <= Some(200)
            && numbers::roman(&word.to_ascii_uppercase()).is_some()
            && word.len() > 1;
        end > at && end - at <= 7 && (is_small || numbers::roman(word).is_some())
    }

    /// "e.g.", "U.S.", "a.m."
    fn dotted_word(&mut self, at: usize, from: usize) -> Option<usize> {
        let mut end = from;
        while end - at < 12 && self.at(end) == Some('.') && self.is_letter(end + 1) {
            let part = self.letters(end + 1);
            if part > end + 3 {
                return None;
            }
            end = part;
        }
        let words = dotted(&self.s[at..end])?;
        if self.is_digit(end) {
            return None;
        }
        let end = self.stop(end);
        self.say(at..end, words);
        Some(end)
    }

    /// "w/", "w/o", "b/c", "n/a"
    fn slashed(&mut self, at: usize, end: usize) -> Option<usize> {
        let letters = self.letters(end + 1);
        let (words, ended) = match (&self.s[at..end], &self.s[end + 1..letters]) {
            ("w", "w") => ("by weight", letters),
            ("w", "v") => ("weight by volume", letters),
            ("w" | "W", "o") => ("without", letters),
            ("w", "e") if self.is_digit(self.skip_space(letters)) => ("week ending", letters),
            ("w", "e") if lists("the this next last every over by", self.word_near(at, 0)) => {
                ("weekend", letters)
            }
            ("w", "e") => ("whatever", letters),
            ("w" | "W", "d") => ("washer dryer", letters),
            ("w" | "W", "in") => ("within", letters),
            ("w" | "W", _) => ("with", end + 1),
            ("c", "o") => ("care of", letters),
            ("b", "c") => ("because", letters),
            ("y", "y") | ("Y", "Y") => ("year over year", letters),
            ("q", "q") | ("Q", "Q") => ("quarter over quarter", letters),
            ("m", "m") => ("month over month", letters),
            ("n", "a") | ("N", "A") => ("not applicable", letters),
            _ => return None,
        };
        self.say(at..ended, words);
        Some(ended)
    }

    /// "St." is a saint or a street, "Dr." a doctor or a drive.
    fn saint(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        let has_stop = self.at(end) == Some('.');
        let stop = end + usize::from(has_stop);
        let next = self.skip_space(stop);
        let is_name = next > stop && self.at(next).is_some_and(char::is_uppercase);
        if self.at(end) == Some('-')
            && self.at(end + 1).is_some_and(char::is_uppercase)
            && word.starts_with('S')
        {
            self.say(at..end, "Saint");
            return Some(end);
        }
        let before = self.word_near(at, 0);
        let is_behind_name = before.starts_with(char::is_uppercase)
            && !matches!(
                before,
                "The"
                    | "In"
                    | "At"
                    | "On"
                    | "And"
                    | "But"
                    | "When"
                    | "Then"
                    | "Ask"
                    | "Call"
                    | "See"
                    | "Dear"
                    | "For"
                    | "From"
                    | "To"
                    | "With"
                    | "Is"
                    | "Has"
                    | "Did"
                    | "Old"
                    | "As"
                    | "By"
                    | "If"
                    | "So"
                    | "Hi"
                    | "Hello"
                    | "Thanks"
                    | "Where"
                    | "Would"
                    | "Visit"
                    | "Mount"
                    | "Mt"
                    | "Fort"
                    | "Port"
                    | "Lake"
                    | "East"
                    | "West"
                    | "North"
                    | "South"
                    | "Saint"
            );
        let has_number = {
            let between = self.s[..self.word.start.min(self.s.len())].trim_end();
            is_behind_name && between.ends_with(|c: char| c.is_ascii_digit())
        };
        let is_street = is_behind_name && (!is_name || has_number)
            || before.ends_with("th") && self.s[..self.word.start].ends_with(|c: char| c.is_ascii_digit())
            || self.s[..at].trim_end().ends_with("th")
            || self.s[..at].trim_end().ends_with("nd")
                && self.figure_end != usize::MAX
                && self.figure_end + 2 >= at;
        let words = match (word.as_bytes()[0].to_ascii_lowercase(), is_street) {
            (b's', true) => "Street",
            (b's', false) if is_name => "Saint",
            (b'd', true) => "Drive",
            (b'd', false) if is_name || has_stop && !self.is_last(stop) => "Doctor",
            _ => return None,
        };
        let end = match words {
            "Street" | "Drive" if has_stop => self.stop(end),
            _ if has_stop => self.leading_stop(end),
            _ => end,
        };
        self.say(at..end, words);
        Some(end)
    }

    /// A Roman numeral behind a noun or the name of a ruler, or before "century".
    fn roman(&mut self, at: usize, end: usize) -> Option<usize> {
        let word = &self.s[at..end];
        let before = self.word_near(at, 1);
        if matches!(before, "p" | "pp" | "page" | "pages") && word.len() > 1 {
            let value = numbers::roman(&word.to_ascii_uppercase()).filter(|value| *value <= 200)?;
            let mut words = String::new();
            numbers::number(&mut words, value);
            self.say(at..end, &words);
            // "pp. xi–xiv"
            let Some(dash) = self.at(end).filter(|c| matches!(c, '–' | '-')) else { return Some(end) };
            let second = end + dash.len_utf8();
            let second_end = self.letters(second);
            let value = numbers::roman(&self.s[second..second_end].to_ascii_uppercase());
            let Some(value) = value.filter(|value| *value <= 200) else { return Some(end) };
            let mut words = String::new();
            numbers::number(&mut words, value);
            self.say(end..second, "to");
            self.say(second..second_end, &words);
            return Some(second_end);
        }
        if !word.bytes().all(|b| matches!(b, b'I' | b'V' | b'X' | b'L' | b'C' | b'D' | b'M'))
            || self.is_digit(end)
        {
            return None;
        }
        let value = numbers::roman(word)?;
        let next = self.skip_space(end);
        let follows = &self.s[next..self.letters(next)];
        let mut words = String::new();
        // "XIV–XVI centuries"
        if let Some(dash) = self.at(end).filter(|c| matches!(c, '–' | '-')) {
            let second = end + dash.len_utf8();
            let second_end = self.letters(second);
            let noun = self.skip_space(second_end);
            if numbers::roman(&self.s[second..second_end]).is_some()
                && matches!(&self.s[noun..self.letters(noun)], "century" | "centuries")
                && value <= 30
            {
                numbers::ordinal(&mut words, value);
                self.say(at..end, &words);
                self.say(end..second, "to");
                return Some(second);
            }
        }
        let is_apart = self.is_letter_behind(before, word) || self.is_cut_off(before, at);
        let is_century = matches!(follows, "century" | "centuries" | "Century") && value <= 30 && word != "I";
        if is_apart && !is_century {
            return None;
        }
        if is_apart {
            numbers::ordinal(&mut words, value);
        } else if is_numbered(before) {
            // "Part I", but "In part I agree".
            let is_pronoun = before.starts_with(char::is_lowercase) && !lists("of and to or", follows)
                || lists("Sec sec App", before);
            if word == "I" && follows.starts_with(char::is_lowercase) && is_pronoun {
                return None;
            }
            numbers::number(&mut words, value);
        } else if is_regnal(before) && value <= 40 {
            let is_pronoun = word == "I"
                && follows.starts_with(char::is_lowercase)
                && !matches!(
                    follows,
                    "of" | "was" | "and" | "ruled" | "reigned" | "died" | "is" | "became" | "had"
                );
            if is_pronoun
                || matches!(self.at(end), Some('\'' | '’'))
                    && matches!(self.at(end + 1), Some('m' | 'l' | 'v' | 'd'))
                || matches!(word, "C" | "D" | "M" | "L")
                || word.len() == 1 && self.at(end) == Some('.') && self.is_letter(next)
            {
                return None;
            }
            words.push_str("the");
            let mut ordinal = String::new();
            numbers::ordinal(&mut ordinal, value);
            add(&mut words, &ordinal);
        } else if matches!(follows, "century" | "centuries" | "Century") && value <= 30 {
            numbers::ordinal(&mut words, value);
        } else {
            return None;
        }
        self.say(at..end, &words);
        Some(end)
    }
}
