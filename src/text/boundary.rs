//! The possible ends of a sentence, and the decision on each.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::language::{self, COMMON, Language, lists, names, terminator};
use super::{Boundary, Segmenter};

/// Most characters that a decision reads after a possible end: characters outside of words, bytes of a word.
const MAX_SKIPPED: usize = 8;
pub(super) const MAX_WORD_BYTES: usize = 32;
/// Most bytes of a run in which an abbreviation behind other text is searched.
const MAX_TOKEN_BYTES: usize = 64;

/// A possible end of the segment, undecided until enough text follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    /// The word before the terminator, and the word before that.
    pub(super) token: Range<usize>,
    pub(super) before: Range<usize>,
    /// End of the terminators and of the closing quotes, emoji and closing tags that belong to them.
    pub(super) end: usize,
    pub(super) gap: Gap,
    /// Start of the text that follows.
    pub(super) next: usize,
    pub(super) is_closed: bool,
    /// Width of the line up to here, for the end of a line.
    pub(super) width: usize,
}

/// Kind of a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A dot.
    Stop,
    Ellipsis,
    /// A question or exclamation mark.
    Strong,
    /// A terminator that has no other use in its script. White space after it is optional.
    Wide,
    /// The end of a line without a terminator.
    Line,
}

/// White space after a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Wait,
    Cut,
    Keep,
    /// This many bytes more belong to the end.
    Extend(usize),
}

/// Text behind a mark and its white space.
struct Next<'a> {
    /// Signs before the next word.
    signs: &'a str,
    /// The next word, as far as it has been read.
    name: &'a str,
    /// Text behind it.
    rest: &'a str,
    /// True if the word has been read to its end.
    known: bool,
}

/// Meaning of a dot after a word.
pub(super) enum Dotted {
    /// No special meaning: the end, unless the next word is in lower case.
    Word,
    Leading,
    Numbered,
    Ending,
    /// Initials, "p.m.", has_ordinals: the end only before a word that starts sentences.
    Initial,
    /// "So do I.", unless another initial follows.
    Pronoun,
}

impl Mark {
    /// Takes white space after the mark; false for any other character.
    pub(super) fn follow(&mut self, space: Gap, after: usize) -> bool {
        if space == Gap::None {
            return false;
        }
        let blank_line = self.gap == Gap::Line && space == Gap::Line;
        self.gap = if blank_line || space > self.gap && space == Gap::Paragraph {
            Gap::Paragraph
        } else if space > self.gap {
            space
        } else {
            self.gap
        };
        self.next = after;
        true
    }

    /// Takes a character that belongs to the end itself; false for any other character. `is_joined` is true if a
    /// joiner of emoji is in front of it.
    pub(super) fn absorb(&mut self, c: char, after: usize, is_joined: bool, language: &Language) -> bool {
        let belongs = match self.gap {
            Gap::None => match terminator(c, language) {
                Some(kind) => {
                    self.kind = match (self.kind, kind) {
                        (Kind::Stop | Kind::Ellipsis, Kind::Stop | Kind::Ellipsis) if !self.is_closed => {
                            Kind::Ellipsis
                        }
                        (Kind::Stop | Kind::Ellipsis, Kind::Strong | Kind::Wide) => kind,
                        (old, _) => old,
                    };
                    true
                }
                None if language::is_closer(c) => {
                    self.is_closed = true;
                    true
                }
                None => is_joined || language::is_emoji(c) || language::extends(c),
            },
            // At the beginning of a line, an emoji is a bullet.
            Gap::Space => is_joined || language::is_emoji(c),
            Gap::Line | Gap::Paragraph => false,
        };
        if belongs {
            self.end = after;
            self.next = after;
        }
        belongs
    }
}

impl Segmenter {
    /// Decides whether the segment ends at this mark, from the text read after it. With `complete`, no more
    /// text follows.
    pub(super) fn decide(&self, mark: &Mark, complete: bool) -> Verdict {
        let next = &self.buffer[mark.next..];
        let Some(begin) = next.chars().next() else { return Verdict::Keep };
        let closing = next == "<" || next.starts_with("</");
        if closing && !complete && next.len() <= MAX_WORD_BYTES && mark.gap < Gap::Line {
            return if next.ends_with('>') { Verdict::Extend(next.len()) } else { Verdict::Wait };
        }
        if mark.gap == Gap::None {
            return self.decide_unspaced(mark, next, begin, complete);
        }
        if mark.gap >= Gap::Line {
            let begins = match begin {
                '>' => self.begins_quotation(mark, next, complete),
                'I' | 'V' | 'X' => self.begins_next_item(mark, next, complete),
                _ => Some(false),
            };
            match begins.and_then(|begins| if begins { Some(true) } else { begins_item(next, complete) }) {
                None => return Verdict::Wait,
                Some(true) => return Verdict::Cut,
                Some(false) if mark.kind == Kind::Line => return self.decide_line(mark, next, complete),
                Some(false) => {}
            }
        }
        // A quote with white space on both sides closes; so does a dot in ". . .".
        if language::is_quote(begin) || begin == '.' && matches!(mark.kind, Kind::Stop | Kind::Ellipsis) {
            let mut rest = next.chars().skip(1);
            match rest.next() {
                None => return if complete { Verdict::Keep } else { Verdict::Wait },
                Some(c) if c.is_whitespace() => return Verdict::Extend(begin.len_utf8()),
                Some('.') if begin == '.' => return Verdict::Extend(2),
                Some(_) => {}
            }
        }
        // The name of a tag does not count as the next word.
        let skipped =
            if begin == '<' { None } else { next.find(char::is_alphanumeric) }.unwrap_or(next.len());
        let word = &next[skipped..];
        if word.is_empty() && complete {
            return Verdict::Keep; // no speakable text follows
        }
        if word.is_empty() && begin != '<' && !next.contains('\n') && next.chars().count() <= MAX_SKIPPED {
            return Verdict::Wait;
        }
        self.decide_spaced(mark, &next[..skipped], word, complete)
    }

    /// Decides without white space after the mark: an end only in scripts that use none, or if the space is
    /// missing ("end.Then").
    fn decide_unspaced(&self, mark: &Mark, next: &str, begin: char, complete: bool) -> Verdict {
        let after = next[begin.len_utf8()..].chars().next();
        if mark.kind == Kind::Wide || language::is_ideographic(begin) && mark.kind != Kind::Ellipsis {
            // Japanese reported speech continues: 「はい。」と言った。
            let reported = mark.is_closed && (begin == 'と' || begin == 'っ');
            return if reported { Verdict::Keep } else { Verdict::Cut };
        }
        let token = &self.buffer[mark.token.clone()];
        let word = !mark.is_closed && token.len() <= MAX_WORD_BYTES && token.chars().all(char::is_alphabetic);
        match mark.kind {
            Kind::Strong if word && !token.is_empty() && begin.is_uppercase() => Verdict::Cut,
            // "Node.js" and "Main.Java" are names.
            Kind::Stop
                if word && begin.is_uppercase() && token.len() > 1 && !token.contains(char::is_uppercase) =>
            {
                match after {
                    Some(c) if c.is_lowercase() || c.is_whitespace() || language::is_quote(c) => Verdict::Cut,
                    None if !complete => Verdict::Wait,
                    _ => Verdict::Keep,
                }
            }
            _ => Verdict::Keep,
        }
    }

    /// Decides with white space after the mark, then signs, and then `word`, as far as it has been read.
    fn decide_spaced(&self, mark: &Mark, signs: &str, word: &str, complete: bool) -> Verdict {
        let bracketed = signs.contains(['(', '[']);
        let first = word.chars().next().unwrap_or('-');
        let end = word.find(|c: char| !c.is_alphanumeric());
        let known = complete || word.is_empty() || end.is_some() || word.len() > MAX_WORD_BYTES;
        let name = &word[..end.unwrap_or(word.len())];
        // "iPhones" begins a sentence as well as "Phones" does.
        let lower = first.is_lowercase() && !name.contains(char::is_uppercase);
        let cut = |yes: bool| if yes { Verdict::Cut } else { Verdict::Keep };
        if first.is_lowercase() && !known && mark.kind != Kind::Wide {
            return Verdict::Wait;
        }
        // "(?)" and "[...]" are asides, not ends.
        if mark.is_closed && mark.token.is_empty() && self.buffer[..mark.token.start].ends_with(['(', '[']) {
            return Verdict::Keep;
        }
        let casual = self.scan.begins_lower == Some(true) && !mark.is_closed;
        if mark.kind == Kind::Stop && self.language.is("en") {
            let next = Next { signs, name, rest: &word[name.len()..], known };
            match self.goes_on(mark, &next, complete) {
                None => return Verdict::Wait,
                Some(true) => return Verdict::Keep,
                Some(false) => {}
            }
        }
        // "Ex. A"
        let is_exhibit = |mark: &Mark, name: &str| name.len() == 1 && self.word(mark) == "Ex";
        match mark.kind {
            Kind::Line => Verdict::Keep,
            Kind::Strong if mark.gap == Gap::Space && self.is_factorial(mark, signs, lower) => Verdict::Keep,
            Kind::Wide | Kind::Strong => cut(!(lower && mark.is_closed)),
            Kind::Ellipsis => cut(first.is_uppercase()),
            Kind::Stop => match self.classify(mark) {
                // "max. speed", from people who write without capitals
                Dotted::Word => {
                    let word = self.word(mark);
                    let has_figure = self.buffer[mark.before.clone()].ends_with(char::is_numeric);
                    let is_clipped = self.language.is("en")
                        && (lists(language::CLIPPED, word)
                            || has_figure && lists(language::UNITS, word)
                            || lists(language::STREETS, word));
                    cut(!lower || casual && mark.token.len() > 1 && !is_clipped)
                }
                Dotted::Leading => Verdict::Keep,
                Dotted::Numbered if first.is_numeric() || lower || bracketed => Verdict::Keep,
                Dotted::Numbered if !known => Verdict::Wait,
                // "Art. I of it"
                Dotted::Numbered if name == "I" && lists("art arts amend pt tit vol bk", self.word(mark)) => {
                    let rest = &word[1..];
                    let numbers = [" of ", " and ", " to ", " or ", ",", ";", ":", ")", ".", " §", "–", "-"];
                    match numbers.iter().any(|mark| rest.starts_with(mark)) {
                        true => Verdict::Keep,
                        false if !complete && rest.len() < 5 => Verdict::Wait,
                        false => cut(!rest.is_empty()),
                    }
                }
                // "P. Mahomes"
                Dotted::Numbered
                    if self.word(mark).len() == 1 && self.word(mark).starts_with(char::is_uppercase) =>
                {
                    cut(self.language.starters.split_ascii_whitespace().any(|word| word == name))
                }
                Dotted::Numbered => cut(!is_roman(name) && !is_exhibit(mark, name)),
                Dotted::Ending => cut(!lower && !first.is_numeric() && !bracketed),
                Dotted::Initial if bracketed => Verdict::Keep,
                // "Opens at 9 a.m." is a line of a list.
                Dotted::Initial if mark.gap >= Gap::Line && self.is_dotted_line(mark) && !lower => {
                    Verdict::Cut
                }
                Dotted::Initial | Dotted::Pronoun if !known => Verdict::Wait,
                // "J. A. Smith": a single letter with a dot is the next initial.
                Dotted::Initial | Dotted::Pronoun if name.len() == 1 && word[1..].starts_with('.') => {
                    Verdict::Keep
                }
                Dotted::Pronoun => cut(!lower),
                Dotted::Initial => cut(names(self.language.starters, name)),
            },
        }
    }

    /// True if the text behind an English abbreviation shows that its sentence goes on: "Matt. 5:3", "5 ft. 10 in.",
    /// "Wed. Jan. 5", "Ft. Worth", "8 oz. (1 stick)"; `None` if more text is needed.
    fn goes_on(&self, mark: &Mark, next: &Next<'_>, complete: bool) -> Option<bool> {
        let &Next { signs, name, rest, known } = next;
        let token = self.word(mark);
        // "a 5-oz. can": a thing follows, in the next line too.
        let is_small = name.starts_with(char::is_lowercase);
        if !mark.is_closed && (mark.gap < Gap::Line || is_small) && is_joined_unit(token) {
            return known.then(|| !names(self.language.starters, name));
        }
        if mark.gap >= Gap::Line || token.is_empty() || token.len() > MAX_WORD_BYTES {
            return Some(false);
        }
        let before = &self.buffer[mark.before.clone()];
        let has_figure = before.ends_with(char::is_numeric);
        let begins_figure = name.starts_with(|c: char| c.is_ascii_digit());
        let is_listed = |list: &str| names(list, token);
        let is_starter = || names(self.language.starters, name);
        let is_unit = has_figure && is_listed(language::UNITS);
        if mark.is_closed {
            // "1 (1 oz.) packet"
            let opens = self.buffer[..mark.before.start].trim_end_matches('(').len() < mark.before.start
                || before.starts_with('(');
            // "(ret.) J. Doe", "(prod. by X.)"
            let is_shortened = token.len() <= 5
                && self.buffer[..mark.end].ends_with(".)")
                && self.buffer[..self.word_start(mark)].ends_with('(')
                && token.starts_with(char::is_lowercase);
            let is_aside = is_shortened || is_unit && opens && self.buffer[..mark.end].ends_with(".)");
            return if is_aside && !known { None } else { Some(is_aside && !is_starter()) };
        }
        let is_undecided = !complete && rest.len() <= MAX_SKIPPED && name.len() <= MAX_SKIPPED;
        // "Treas. Reg. § 1.61", "8 oz. (1 stick)", "(sat. 3 g)"
        if signs.starts_with('§') && token.starts_with(char::is_uppercase) && token.len() <= 6
            || is_unit && signs.starts_with(['(', '[']) && begins_figure
            || begins_figure && token.len() <= 6 && self.buffer[..self.word_start(mark)].ends_with('(')
        {
            return Some(true);
        }
        // "$19.99 ea. = $59.97"
        let operator = signs.trim_end();
        if matches!(operator, "=" | "≈" | "×" | "+" | "→" | "&") && signs.ends_with(' ')
            || operator.ends_with("= $")
        {
            return Some(true);
        }
        // "max. RH"
        let is_capitals = !name.is_empty() && name.chars().all(char::is_uppercase);
        if is_capitals && lists("max min avg temp approx", token) {
            return known.then_some(name.len() > 1);
        }
        if token == "Ft" {
            return Some(!has_figure && name.starts_with(char::is_uppercase));
        }
        // "Mon. - Fri.", "Sept. – Nov. 2024"
        if matches!(signs, "- " | "– " | "— ") && is_date_name(token) && name.starts_with(char::is_uppercase)
        {
            return known.then(|| is_date_name(name) || name.ends_with("day"));
        }
        if is_listed(language::WEEKDAYS) && name.starts_with(char::is_alphabetic) {
            return if rest.is_empty() && is_undecided {
                None
            } else {
                let is_month = names(language::MONTHS, name);
                // "Sun. May 5", but "It is Sun. May I go?"
                match name {
                    "May" if !complete && rest.len() < 2 => return None,
                    "May" => {
                        let day = rest.strip_prefix(' ');
                        Some(day.is_some_and(|day| day.starts_with(|c: char| c.is_ascii_digit())))
                    }
                    _ => Some(is_month),
                }
            };
        }
        if name.starts_with(char::is_uppercase) {
            let begins =
                || !self.buffer[self.sentence(mark)..self.word_start(mark)].contains(char::is_alphabetic);
            // "Fig. S1", "App. A"
            let is_part = |is_lettered: bool| {
                let is_letter = name.len() == 1 && name != "I" && !rest.starts_with(['\'', '’']);
                name.len() <= 4 && name.ends_with(|c: char| c.is_ascii_digit()) || is_lettered && is_letter
            };
            // Each list of abbreviations, and what follows them within a sentence.
            let goes_on = if is_unit && is_listed(language::KITCHEN) {
                let is_spoon = is_listed(language::SPOONS) && !lists(language::STEPS, name);
                Some(!is_starter() && (begins() || is_spoon || language::names_food(name)))
            } else if is_listed("Sr") {
                Some(begins() && !is_starter())
            } else if is_listed("Sec Pt") {
                Some(is_part(false) || !is_starter() && !is_roman(name) && name.len() > 1)
            } else if is_listed("pt bk") && !has_figure {
                Some(is_roman(name))
            } else if is_listed(language::STREETS) {
                let is_address = lists(language::SIDES, name) || name == "P" && rest.starts_with(".O");
                match is_address || is_starter() || rest.is_empty() && !complete {
                    true => Some(is_address),
                    false => match leads_to_state(rest) {
                        None if !complete => return None,
                        found => found,
                    },
                }
            } else if is_listed("Rt Assoc Atty") {
                Some(lists("Hon Rev Prof Gen Col Gov", name))
            } else if is_listed("inc") {
                Some(lists("VAT GST", name))
            } else if is_listed("ft feat prod") && !has_figure {
                Some(!is_starter())
            } else if is_listed("App Exh Sched Ex Co Fig Figs") {
                Some(is_part(true))
            } else if is_listed("Tab Annex Ref Refs Eq") {
                Some(is_part(false))
            } else if is_listed(language::STATES) && name == "D" && rest.len() < 2 && !complete {
                return None;
            } else if is_listed(language::STATES) {
                // "Mass. Ave.", "Wash. D.C."
                Some(
                    lists(language::LAWS, name)
                        || lists("Ave Blvd", name)
                        || name == "D" && rest.starts_with(".C"),
                )
            } else if token.len() <= 3 && is_number(token) {
                Some(is_move(name) || name == "O" && rest.starts_with("-O"))
            } else {
                None
            };
            let may_be_box = (name == "P" && rest == "." || name == "O" && rest == "-") && !complete;
            match goes_on {
                Some(_) if !known || may_be_box => return None,
                Some(true) => return Some(true),
                _ => {}
            }
            // "part nos. AB-1024"
            let is_code = name.len() <= 6
                && !name.contains(char::is_lowercase)
                && (name.contains(|c: char| c.is_ascii_digit())
                    || rest
                        .strip_prefix('-')
                        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())));
            if is_listed("no nos No Nos") && (is_code || rest == "-" && !complete) {
                return if is_code { Some(true) } else { None };
            }
            // "Pub. L. No. 5"
            if lists("No Nos", name) && rest.starts_with('.') && token.len() <= 4 {
                let number = rest.trim_start_matches(['.', ' ']);
                return if number.is_empty() && !complete && rest.len() < 3 {
                    None
                } else {
                    Some(number.starts_with(|c: char| c.is_ascii_digit()))
                };
            }
            return Some(false);
        }
        if !begins_figure {
            // "3 hr. ago" of who writes without capitals
            return if is_unit && name.starts_with(char::is_lowercase) && !known {
                None
            } else {
                Some(is_unit && lists("ago away long wide tall high deep thick of per each", name))
            };
        }
        if is_listed(language::BOOKS) {
            let verse = rest.strip_prefix(':').map(|verse| verse.chars().next());
            return match verse {
                None | Some(None)
                    if is_undecided && rest.len() <= 1 && rest.trim_end_matches(':').is_empty() =>
                {
                    None
                }
                None if is_undecided && " and ".starts_with(rest) => None,
                // A name too: "I met Tim. 5 people left."
                None if rest.starts_with(" and ") => Some(true),
                None if is_listed(language::NAMED_BOOKS) => {
                    Some(rest.is_empty() || rest.starts_with([',', ';', '.', ')', '–', '-', '?', '!']))
                }
                None => Some(true),
                verse => Some(verse.flatten().is_some_and(|c| c.is_ascii_digit())),
            };
        }
        // "2s. 6d."
        let is_part = |text: &str, unit: char| {
            text.strip_suffix(unit)
                .is_some_and(|figure| figure.len() <= 2 && is_number(figure) && !figure.is_empty())
        };
        if token.ends_with('s') && is_part(token, 's') {
            match is_part(name, 'd') {
                false if !known && name.len() <= 2 => return None,
                is_pence => return Some(is_pence),
            }
        }
        // "max. 5 users", but "Ask Max. 5 people left."
        if (!has_figure || is_listed("dep arr plat Plat vis")) && is_listed_small(language::LABELS, token) {
            let start = self.word_start(mark);
            let is_label = token.starts_with(char::is_lowercase)
                || is_listed("Plat")
                || start == self.sentence(mark)
                || before.ends_with([':', '(', ',', ';']);
            return Some(is_label);
        }
        // "bottom inn. 5", but "at the inn. 5 rooms"
        if is_listed("par inn") && !has_figure {
            return Some(!lists("the a an this that our on below above under over near", before));
        }
        if is_unit {
            let unit = rest.trim_start();
            let end = unit.find(|c: char| !c.is_alphabetic());
            return match end {
                None if is_undecided => None,
                end => {
                    let unit = &unit[..end.unwrap_or(unit.len())];
                    Some(
                        lists(language::SMALLER, token) && lists(language::UNITS, unit) && unit != "in"
                            || lists("ft", token) && lists("in inches inch", unit),
                    )
                }
            };
        }
        Some(false)
    }

    /// True if the next line begins a quotation, which is deeper than the one of this line; `None` if more text is needed.
    fn begins_quotation(&self, mark: &Mark, next: &str, complete: bool) -> Option<bool> {
        let text = next.trim_start_matches(['>', ' ']);
        let marks = &next[..next.len() - text.len()];
        let Some(first) = text.chars().next() else {
            return if complete || next.len() > MAX_SKIPPED { Some(false) } else { None };
        };
        let start = line_start(&self.buffer, mark.end);
        let depth = quote_depth(&self.buffer[start..mark.end]).max(if start == 0 { self.quoted } else { 0 });
        // "> 5" may be a part of a comparison.
        Some(marks.ends_with(' ') && !first.is_numeric() && first != '=' && quote_depth(marks) > depth)
    }

    /// True if the next line is the item "V." behind the item "IV."; `None` if more text is needed. Alone it is rather an
    /// initial.
    fn begins_next_item(&self, mark: &Mark, next: &str, complete: bool) -> Option<bool> {
        let line = &self.buffer[line_start(&self.buffer, mark.end)..mark.end];
        let length = roman_length(line);
        if length == 0 || !line[length..].starts_with('.') || !next[1..].starts_with('.') {
            return Some(false);
        }
        let space = next[2..].chars().next().map(char::is_whitespace);
        if complete { Some(space == Some(true)) } else { space }
    }

    /// Start of the sentence that ends at a mark.
    fn sentence(&self, mark: &Mark) -> usize {
        self.scan.sentence.unwrap_or(0).min(mark.token.start)
    }

    /// Start of the word before the terminator.
    fn word_start(&self, mark: &Mark) -> usize {
        mark.token.end - self.word(mark).len()
    }

    /// Decides at the end of a line without a mark: a short line is a phrase of its own, a long one is wrapped.
    fn decide_line(&self, mark: &Mark, next: &str, complete: bool) -> Verdict {
        let start = line_start(&self.buffer, mark.end);
        let line = self.buffer[start..mark.end].trim();
        let is_short = mark.width < MAX_SHORT_LINE;
        let opening =
            |c: char| language::is_quote(c) || matches!(c, '(' | '[' | '{' | '<' | '¿' | '¡' | '*' | '_');
        let text = next.trim_start_matches(['>', ' ']).trim_start_matches(opening);
        let Some(first) = text.chars().next() else {
            return if complete || next.len() > MAX_SKIPPED { Verdict::Keep } else { Verdict::Wait };
        };
        match begins_entry(next, complete) {
            None => return Verdict::Wait,
            Some(true) => return Verdict::Cut,
            Some(false) => {}
        }
        if is_short && line.ends_with([':', '：']) || is_marked_heading(line) {
            return Verdict::Cut;
        }
        let begins = if is_rule(text) {
            true
        } else if first.is_alphabetic() {
            !first.is_lowercase()
        } else if matches!(first, '$' | '€' | '£' | '¥' | '+' | '-' | '−' | '±' | '~' | '#' | '@') {
            match text[first.len_utf8()..].chars().next() {
                None if !complete => return Verdict::Wait,
                second => second.is_some_and(char::is_alphanumeric),
            }
        } else {
            first.is_numeric() && !next.starts_with(['[', '('])
                || language::is_emoji(first)
                || language::is_spoken_sign(first)
        };
        if !is_short || !begins || self.continues(line) {
            return Verdict::Keep;
        }
        // Lines of this width were wrapped before.
        let is_wrapped = self.wrap > 0 && mark.width * 4 >= self.wrap * 3;
        if is_wrapped { Verdict::Keep } else { Verdict::Cut }
    }

    /// The word before the terminator, without what is glued to its front: "‘Mr", "Mr./Mrs", "Well…Dr", "Name:Dr".
    pub(super) fn word(&self, mark: &Mark) -> &str {
        let token = &self.buffer[mark.token.clone()];
        if token.len() > MAX_TOKEN_BYTES || is_number(token) {
            return token;
        }
        let ends = |(at, c): (usize, char)| at + c.len_utf8();
        let glue = token.char_indices().rev().skip(1).find(|(_, c)| language::glues(*c));
        let word = &token[glue.map_or(0, ends)..];
        let word = word.rfind("..").map_or(word, |dots| &word[dots + 2..]);
        // "Mon.-Fri."
        word.rsplit_once('-').map(|(_, last)| last).filter(|last| is_date_name(last)).unwrap_or(word)
    }

    /// True for the mark of a factorial, with these signs behind its space: "n! - 1 = 5", "$10! \\times 3!$".
    fn is_factorial(&self, mark: &Mark, signs: &str, is_lower: bool) -> bool {
        const OPERATORS: &str = "-−+=*/<>×÷·⋅≤≥≈≠";
        let line = line_start(&self.buffer, mark.token.start);
        let is_formula = self.buffer[line..mark.end].matches('$').count() % 2 == 1;
        let token = self.buffer[mark.token.clone()].trim_start_matches(['$', '(', '[', '{', '|']);
        let is_operand = (1..=3).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_digit())
            || token.len() == 1
            || token.ends_with([')', '}']) && (is_formula || token.contains(['+', '-']));
        // "n! grows fast"
        if is_lower && signs.is_empty() && !mark.is_closed && matches!(token, "n" | "m" | "k") {
            return true;
        }
        let rest = match signs.chars().next() {
            Some('\\') if is_formula => return is_operand && !mark.is_closed,
            Some(sign) if OPERATORS.contains(sign) => &signs[sign.len_utf8()..],
            _ => return false,
        };
        let is_apart = rest.starts_with(' ') && rest.chars().all(|c| " ([{|$\\-−√".contains(c));
        is_operand && !mark.is_closed && is_apart
    }

    /// True if a short line ends with an abbreviation such as "a.m." at this mark.
    fn is_dotted_line(&self, mark: &Mark) -> bool {
        let token = &self.buffer[mark.token.clone()];
        token.contains('.') && self.line_width(mark.end) < MAX_SHORT_LINE
    }

    /// True if the end of this line shows that its phrase goes on.
    fn continues(&self, line: &str) -> bool {
        let Some(last) = line.chars().next_back() else { return true };
        if line.len() > 1 && last.is_ascii() && line.get(line.len() - 2..).is_some_and(is_rule) {
            return false;
        }
        if matches!(last, ',' | '-' | '/' | '&' | '+' | '=' | '(' | '[' | '{' | '<' | '·')
            || "‐‑–—、，،“„«".contains(last)
        {
            return true;
        }
        let count = |c: char| line.matches(c).count();
        if count('(') > count(')') || count('[') > count(']') {
            return true;
        }
        let mut words = line.split_whitespace();
        let Some(word) = words.next_back() else { return true };
        let before = words.count();
        // "Log in" and "About" are phrases, and so are many lines among short lines.
        let is_among_lines = self.boundary(false) >= Boundary::Line && self.buffer.starts_with(line);
        before >= 1 && lists(self.language.joining, word)
            || before >= 2 && !is_among_lines && lists(self.language.particles, word)
    }

    pub(super) fn classify(&self, mark: &Mark) -> Dotted {
        let token = self.word(mark);
        if token.is_empty() || token.len() > MAX_WORD_BYTES {
            return Dotted::Word;
        }
        let sentence = self.scan.sentence.unwrap_or(0);
        let begins = sentence == mark.token.start;
        let before = &self.buffer[mark.before.clone()];
        if token.bytes().all(|b| b.is_ascii_digit()) && token.len() <= 3 && (begins || before.ends_with(':'))
        {
            return Dotted::Leading; // "1. Wash hands."
        }
        // "IV. Results", "ii. second", and "V. The end" at the beginning of a line
        let begins_line = || match self.buffer[..mark.token.start].chars().next_back() {
            None => self.indent == 0,
            last => last == Some('\n'),
        };
        let is_section = begins && roman_length(token) == token.len() && (token.len() > 1 || begins_line());
        if is_section && mark.gap < Gap::Line {
            return Dotted::Leading;
        }
        // "5 ms. Then", but "Ms. Lee"
        if token == "ms" && before.ends_with(|c: char| c.is_ascii_digit()) {
            return Dotted::Word;
        }
        let last = token.rsplit('.').next().unwrap_or(token);
        // "Lt.-Col.", "ex-Gov."
        let title = last.rsplit('-').next().unwrap_or(last);
        if self.language.has_ordinals
            && last.len() <= 2
            && token.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        {
            return Dotted::Initial; // "3. Mai", "24.12. abends"
        }
        // A street comes after its name ("on Elm St."), a saint before it.
        let between = self.buffer[mark.before.end..mark.token.start].contains([',', ';']);
        let named = before.starts_with(char::is_uppercase)
            && !between
            && !before.ends_with([',', ';'])
            && mark.before.start > sentence;
        if token == "St" && named && !lists(language::PLACES, before) {
            return Dotted::Ending;
        }
        // Tables first: they know "e.g." and "bl.a." better than the pattern does.
        for language in [self.language, &COMMON] {
            if lists(language.leading, token) || lists(language.leading, title) {
                return Dotted::Leading;
            } else if lists(language.numbered, token) {
                return Dotted::Numbered;
            } else if lists(language.ending, token) {
                return Dotted::Ending;
            } else if lists(language.inner, token) {
                return Dotted::Initial;
            }
        }
        // "Hauptstr. 5"
        if self.language.is("de") && token.ends_with("str") {
            return Dotted::Initial;
        }
        if token == "I" && self.language.is("en") {
            return if begins { Dotted::Initial } else { Dotted::Pronoun };
        }
        let short = |part: &str| {
            let letters = part.trim_start_matches('-').chars();
            letters.clone().all(|c| c.is_lowercase() || c.is_uppercase())
                && (1..=2).contains(&letters.count())
        };
        let initials = last.trim_start_matches('-').chars().count() == 1 && token.split('.').all(short);
        if initials { Dotted::Initial } else { Dotted::Word }
    }
}

/// Length of the Roman figure that a line begins with, in small or capital letters; 0 if it is longer than that of an
/// item.
fn roman_length(line: &str) -> usize {
    let length = |figures: &str| line.chars().take_while(|c| figures.contains(*c)).count();
    Some(length("ivx").max(length("IVX"))).filter(|length| *length <= 5).unwrap_or_default()
}

/// True if the line begins a list item, a heading or a line of dialogue; `None` if more text is needed.
fn begins_item(line: &str, complete: bool) -> Option<bool> {
    let undecided = if complete { Some(false) } else { None };
    let mut rest = line.chars();
    let label = match rest.next() {
        None => return undecided,
        Some('—' | '–') => return Some(true),
        Some('▲' | '△' | '▼' | '▽' | '◊') => return Some(false),
        Some(
            '-' | '+' | '*' | '•' | '‣' | '◦' | '·' | '⁃' | '∙' | '➤' | '➢' | '➣' | '➔' | '➜' | '❖' | '✦'
            | '✧',
        ) => 1,
        Some('\u{25a0}'..='\u{25ff}') => 1,
        // "(2) Pears"
        Some('(') => {
            let digits = line[1..].bytes().take_while(u8::is_ascii_digit).count();
            let mark = digits.max(roman_length(&line[1..]));
            match line[1 + mark..].chars().next() {
                None if mark <= 5 => return undecided,
                Some(')') if (1..=3).contains(&digits) || mark > 1 => mark + 2,
                _ => return Some(false),
            }
        }
        Some('#') => line.chars().take_while(|c| *c == '#').count().min(6),
        Some(first) if first.is_ascii_alphanumeric() => {
            let digits = line.chars().take_while(char::is_ascii_digit).count().min(3);
            let mark = digits.max(roman_length(line)).max(1);
            match line.chars().nth(mark) {
                None => return undecided,
                Some('.') if digits > 0 || mark > 1 || first.is_ascii_lowercase() => mark + 1,
                Some(')') => mark + 1,
                Some(_) => return Some(false),
            }
        }
        Some(_) => return Some(false),
    };
    line.chars().nth(label).map(char::is_whitespace).or(undecided)
}

/// Width from which on a line without a mark at its end is a wrapped one.
const MAX_SHORT_LINE: usize = 40;

/// True if the line begins an entry of a log: "[10:32] Ana: hi", "Ana: hi"; `None` if more text is needed.
fn begins_entry(line: &str, complete: bool) -> Option<bool> {
    let undecided = if complete { Some(false) } else { None };
    if let Some(rest) = line.strip_prefix(['[', '(']) {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        return match rest[digits..].chars().next() {
            _ if digits > 4 || rest.starts_with(|c: char| !c.is_ascii_digit()) => Some(false),
            None => undecided,
            Some(mark) => Some(matches!(mark, ':' | '/' | '.' | '-')),
        };
    }
    if !line.starts_with(|c: char| c.is_alphabetic() && !c.is_lowercase() && !language::is_unspaced(c)) {
        return Some(false);
    }
    let end = line.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
    match end {
        None if line.len() > MAX_WORD_BYTES => Some(false),
        None => undecided,
        Some(end) if line[end..].starts_with(':') => {
            line[end + 1..].chars().next().map(char::is_whitespace).or(undecided)
        }
        Some(_) => Some(false),
    }
}

/// Returns the length of marks such as ".. " that begin a text, but belong to the sentence before: it was taken
/// for complete.
pub(super) fn stray_marks(text: &str, language: &Language) -> usize {
    let is_stray = |c: char| c.is_whitespace() || terminator(c, language).is_some();
    let rest = text.trim_start_matches(is_stray);
    let skipped = &text[..text.len() - rest.len()];
    // ".NET" and ".5" are words.
    let begins_word = rest.starts_with(|c: char| !language::is_closer(c));
    match skipped.char_indices().rfind(|(_, c)| !begins_word || c.is_whitespace()) {
        Some((at, c)) => at + c.len_utf8(),
        None => 0,
    }
}

/// Number of the marks of quotations that a line begins with.
pub(super) fn quote_depth(line: &str) -> usize {
    line.chars().take_while(|c| matches!(c, '>' | ' ')).filter(|c| *c == '>').count()
}

/// Returns the start of the line that ends at `end`.
pub(super) fn line_start(text: &str, end: usize) -> usize {
    let last = text[..end].char_indices().rfind(|(_, c)| is_line_break(*c));
    last.map_or(0, |(at, c)| at + c.len_utf8())
}

/// True for a character that ends a line.
fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{c}' | '\u{2029}')
}

/// Width of a text in columns, roughly: a Chinese character takes two.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|c| 1 + usize::from(language::is_ideographic(c))).sum()
}

/// True for a line of marks: "--", "=====".
fn is_rule(text: &str) -> bool {
    ["--", "==", "__", "**", "~~", "+-", "+="].iter().any(|rule| text.starts_with(rule))
}

/// Most characters of a line that is taken for the heading of the paragraph below.
const MAX_HEADING: usize = 60;

/// True if a line with a blank line before and after may be a heading: it is short, begins like one, and has no
/// punctuation at its end.
pub(super) fn is_heading(line: &str) -> bool {
    let mut letters = line.chars().filter(|c| c.is_alphanumeric());
    let begins = line.starts_with(|c: char| c.is_alphanumeric() && !c.is_lowercase());
    let ends = line.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | '”' | '’' | '"'));
    begins && ends && letters.next().is_some() && !line.contains('\n') && line.chars().count() <= MAX_HEADING
}

/// True for a heading of Markdown that was not cleaned.
pub(super) fn is_marked_heading(line: &str) -> bool {
    let rest = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - rest.len())) && rest.starts_with([' ', '\t']) && !line.contains('\n')
}

/// True if the name of a town goes on up to its state: " York, NY", ", IL 60601"; `None` if more text is needed.
fn leads_to_state(rest: &str) -> Option<bool> {
    let mut rest = rest;
    for _ in 0..3 {
        if let Some(state) = rest.strip_prefix(", ") {
            let letters = state.bytes().take_while(u8::is_ascii_uppercase).count();
            let behind = state[letters..].chars().next();
            return match behind {
                None if letters <= 2 => None,
                behind => Some(letters == 2 && !behind.is_some_and(char::is_alphanumeric)),
            };
        }
        let Some(word) = rest.strip_prefix(' ') else {
            return if rest.is_empty() || rest == "," { None } else { Some(false) };
        };
        if !word.starts_with(char::is_uppercase) {
            return if word.is_empty() { None } else { Some(false) };
        }
        let end = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
        if end > MAX_WORD_BYTES {
            return Some(false);
        }
        rest = &word[end..];
    }
    Some(false)
}

/// True for the abbreviation of a weekday or a month, and for the name of a month.
fn is_date_name(word: &str) -> bool {
    names(language::WEEKDAYS, word) || names(language::MONTHS, word)
}

/// True for a unit behind a figure and a hyphen, before the name of a thing: the "5-oz" of "a 5-oz. can".
pub(super) fn is_joined_unit(token: &str) -> bool {
    token.rsplit_once('-').is_some_and(|(figure, unit)| {
        // "12-fl.-oz."
        let power =
            ["-fl.", "-fl", "-sq.", "-sq", "-cu."].iter().find_map(|power| figure.strip_suffix(power));
        let figure = power.unwrap_or(figure);
        let is_figure = figure.ends_with(char::is_numeric)
            || lists("half one two three four five six seven eight nine ten twelve quarter", figure);
        is_figure && (lists(language::UNITS, unit) || lists("fl pc pcs pk ct ga vol pg hp mph", unit))
    })
}

/// True if a list in small letters has a word, whose first letter may be a capital.
fn is_listed_small(list: &str, word: &str) -> bool {
    lists(list, word) && !word.chars().skip(1).any(char::is_uppercase)
}

/// True for a move of a chess piece: the "Nf3" of "2. Nf3".
fn is_move(name: &str) -> bool {
    let square = name.len().checked_sub(2).and_then(|at| name.get(at..)).unwrap_or_default();
    name.len() <= 5
        && name.starts_with(['N', 'B', 'R', 'Q', 'K'])
        && square.starts_with(|c| matches!(c, 'a'..='h'))
        && square.ends_with(|c| matches!(c, '1'..='8'))
}

/// True for digits with dots, which are never a word behind other text.
fn is_number(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// True for a Roman numeral, as in "Art. IV", except "I", which is more often the pronoun.
pub(super) fn is_roman(word: &str) -> bool {
    word != "I" && !word.is_empty() && word.chars().all(|c| "IVXLCDM".contains(c))
}
