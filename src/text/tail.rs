//! The end of the text so far: a finished sentence, or one that may go on.

use super::Segmenter;
use super::boundary::{Dotted, Gap, Kind, MAX_WORD_BYTES, Mark, is_joined_unit, is_roman};
use super::language::{self, lists};

/// The end of the text that was pushed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// There is no text, or it ends within a sentence.
    Open,
    /// It ends with a mark that ends a sentence or belongs to what follows: "Ask Dr.", "It costs $3.",
    /// "Open example.", "I was thinking..."
    Doubtful,
    /// It ends with a finished sentence.
    Finished,
}

/// Text that a cleaner holds back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undecided<'a> {
    /// The text: the beginning of a line, or of a construct in a line.
    pub(super) text: &'a str,
    /// True if it is the beginning of a line, which may be the mark of an item or a heading.
    pub(super) begins_line: bool,
    /// True if white space is held back.
    pub(super) has_space: bool,
}

impl Segmenter {
    /// Returns how the text ends that was pushed so far. The text that follows cannot be known: a finished
    /// sentence is one that hardly any text continues.
    pub(crate) fn tail(&self) -> Tail {
        let undecided = self.undecided();
        let held = undecided.text.trim_end_matches(['*', '_', '~', '`']);
        let at_end = |mark: &&Mark| mark.next == self.buffer.len() && mark.kind != Kind::Line;
        if let Some(mark) = self.mark.as_ref().filter(at_end)
            && (held.is_empty() || undecided.begins_line)
        {
            return if self.is_finished(mark) { Tail::Finished } else { Tail::Doubtful };
        }
        let text = if held.is_empty() { self.buffer.as_str() } else { held };
        let text = text.trim_end_matches(|c: char| c.is_whitespace() || language::is_closer(c));
        let ends = text.chars().next_back().is_some_and(|c| language::terminator(c, self.language).is_some());
        if ends { Tail::Doubtful } else { Tail::Open }
    }

    /// True if the sentence ends at this mark, which ends the text.
    fn is_finished(&self, mark: &Mark) -> bool {
        let sentence = self.scan.sentence.unwrap_or(0).min(mark.end);
        if is_open(&self.buffer[sentence..mark.end]) {
            return false;
        }
        let closers = self.buffer[..mark.end].chars().rev().take_while(|c| language::is_closer(*c));
        if mark.is_closed && closers.clone().any(|c| language::is_quote(c) || !c.is_ascii()) {
            return false; // "Stop!" she said.
        }
        let token = &self.buffer[mark.token.clone()];
        match mark.kind {
            Kind::Line | Kind::Ellipsis => false,
            Kind::Wide => true,
            // "(?)" is an aside.
            Kind::Strong if token.is_empty() && mark.is_closed => false,
            // "5! = 120", "(really?) so"
            Kind::Strong if mark.is_closed && closers.clone().any(|c| c == ')') => false,
            Kind::Strong if token.ends_with(|c: char| c.is_ascii_digit()) => false,
            // "a != b", "x!=5", "a?b:c"
            Kind::Strong if token.is_empty() && self.language.is("en") => false,
            Kind::Strong if token.len() == 1 && token.is_ascii() => false,
            Kind::Strong => !is_address(token) && !is_expression(token),
            Kind::Stop => self.is_full_stop(mark, token),
        }
    }

    fn is_full_stop(&self, mark: &Mark, token: &str) -> bool {
        if token.is_empty() {
            // ". . ." and " .NET" begin like this.
            let before = &self.buffer[..mark.token.start];
            return !mark.is_closed && before.ends_with(|c: char| !c.is_whitespace());
        }
        if !matches!(self.classify(mark), Dotted::Word) || self.is_clipped(mark) {
            return false;
        }
        let is_spaced = mark.gap > Gap::None || self.undecided().has_space;
        // "(ret.) Doe"
        let is_aside =
            self.buffer[..mark.end].ends_with(".)") && self.buffer[..mark.token.start].ends_with('(');
        // "1. e4 e5 2. Nf3"
        let is_turn = token.bytes().all(|b| b.is_ascii_digit()) && {
            let before = &self.buffer[mark.before.clone()];
            is_chess(before) || lists("played plays", before)
        };
        // "foo().bar()", "arr[0].name"
        let run = self.buffer[..mark.end].rsplit(char::is_whitespace).next().unwrap_or_default();
        let is_call = run.len() <= MAX_WORD_BYTES
            && run.rfind(['(', '[']).is_some_and(|open| run[..open].ends_with(char::is_alphanumeric));
        if is_aside && is_short_form(token) || is_turn || is_call && mark.gap == Gap::None {
            return false;
        }
        if is_spaced || mark.is_closed || token.len() > MAX_WORD_BYTES {
            return is_spaced || !is_address(token);
        }
        // What follows may be the rest of an address or of an ellipsis: "jane." before "doe@example.com".
        if mark.token.start == 0 && token.starts_with(char::is_lowercase) {
            return false;
        }
        // What follows may be the rest of a number, a host, a file or a version.
        let last = token.chars().next_back().unwrap_or_default();
        if last.is_numeric()
            || is_address(token)
            || is_expression(token)
            || token.contains(['.', '@', '_']) && last.is_alphanumeric()
        {
            return false;
        }
        !self.may_be_name(&self.buffer[..mark.token.start], token)
    }

    /// True for an abbreviation or a numeral that may go on: "Fla.", "5 in.", "Matt.", "IV."
    fn is_clipped(&self, mark: &Mark) -> bool {
        let word = self.word(mark);
        let has_figure = self.buffer[mark.before.clone()].ends_with(char::is_numeric);
        is_roman(word)
            || is_joined_unit(word)
            || is_clipped(word)
            || lists(language::BOOKS, word)
            || has_figure && lists(language::UNITS, word)
            || lists(language::LABELS, word)
    }

    /// True if the last word may be the beginning of a host or a file, given the text before it.
    fn may_be_name(&self, before: &str, token: &str) -> bool {
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !token.chars().all(is_label) || lists(language::NO_NAMES, token) {
            return false;
        }
        let mut words = before.split_whitespace().rev().map(|word| {
            let is_mark = |c: char| !c.is_alphanumeric();
            let word = word.trim_start_matches(is_mark);
            if word.ends_with(is_mark) { "" } else { word }
        });
        let (previous, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let is_file = token.len() > 4 && token.bytes().all(|b| b.is_ascii_uppercase());
        if lists(language::NAMES, token) && (is_file || !lists(language::BEFORE_NOUNS, previous)) {
            return true;
        }
        if !self.language.is("en") {
            return lists(self.language.naming, previous) && token.starts_with(|c: char| !c.is_uppercase());
        }
        match previous.to_lowercase().as_str() {
            "to" => lists(language::GOING, second),
            "is" => token.starts_with(|c: char| !c.is_uppercase()) && lists(language::ADDRESSED, second),
            "at" | "via" | "called" | "named" | "website" | "domain" | "host" => true,
            _ if !lists(self.language.naming, previous) => false,
            // An imperative, or what sounds like one.
            _ => second.is_empty() || lists(language::BEFORE_VERBS, second),
        }
    }
}

/// True if the token is an address of the web, or a path.
fn is_address(token: &str) -> bool {
    token.contains("://") || token.starts_with("www.") || token.contains(['/', '\\', '@'])
}

/// True for what is written in code only, and may go on: "foo()", "arr[0]", "std::vec", "myVar", and for the sign
/// before a figure: "$".
fn is_expression(token: &str) -> bool {
    let is_camel = || {
        let mut letters = token.chars().skip_while(|c| !c.is_lowercase());
        token.starts_with(|c: char| c.is_lowercase()) && letters.any(char::is_uppercase)
    };
    token.contains(['(', '[', '`', '{'])
        || token.contains("::")
        || token.ends_with(['$', '€', '£', '¥', '-', '−', '+', '±', '~', '<', '>', '='])
        || is_camel()
}

/// True for a move of chess without its marks: "e5", "Nf3", "O-O".
fn is_chess(word: &str) -> bool {
    let word = word.trim_end_matches(['+', '#', '!', '?']);
    let mut square = word.bytes().rev();
    word.len() <= 6
        && (word.starts_with("O-O")
            || square.next().is_some_and(|b| matches!(b, b'1'..=b'8'))
                && square.next().is_some_and(|b| matches!(b, b'a'..=b'h')))
}

/// True for a word that may be a shortened one within brackets.
fn is_short_form(token: &str) -> bool {
    token.len() <= 5 && token.starts_with(char::is_lowercase)
}

/// True for an abbreviation that every following word continues, but that no table of sentences needs.
fn is_clipped(token: &str) -> bool {
    let is_vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let is_word = token.chars().all(|c| c.is_ascii_alphabetic());
    lists(language::CLIPPED, token)
        || is_word && !token.contains(is_vowel) && !lists("hmm hm mm mmm shh sh psst pst brr", token)
}

/// True if a quotation, a bracket, an emphasis or a tag is open at the end of the sentence.
fn is_open(sentence: &str) -> bool {
    let (mut straight, mut angle, mut brackets) = (0, 0i32, 0i32);
    for c in sentence.chars() {
        match c {
            '"' | '＂' => straight += 1,
            '«' | '‹' => angle += 1,
            '»' | '›' => angle -= 1,
            '(' | '[' | '{' | '「' | '『' | '（' | '【' | '《' | '〈' => brackets += 1,
            ')' | ']' | '}' | '」' | '』' | '）' | '】' | '》' | '〉' => brackets -= 1,
            _ => {}
        }
    }
    straight % 2 == 1
        || angle != 0
        || brackets > 0
        || quotes_are_open(sentence)
        || sentence.matches("**").count() % 2 == 1
        || sentence.matches('`').count() % 2 == 1
        || tag_is_open(sentence)
}

/// True if a curly quotation is open, whether it begins with “ or with „.
fn quotes_are_open(sentence: &str) -> bool {
    let count = |c: char| sentence.matches(c).count();
    if count('‘') > count('’') {
        return true;
    }
    match count('„') {
        0 => count('“') > count('”'),
        low => low > count('“') + count('”'),
    }
}

/// True if the sentence has a tag whose end has not come.
fn tag_is_open(sentence: &str) -> bool {
    let mut depth = 0i32;
    for (at, _) in sentence.match_indices('<') {
        let tag = &sentence[at + 1..];
        let end = tag.find('>').map_or(tag, |end| &tag[..end]);
        depth += match tag.chars().next() {
            Some('/') => -1,
            Some(c) if c.is_ascii_alphabetic() && !end.ends_with('/') && !end.starts_with("br") => 1,
            _ => 0,
        };
    }
    depth > 0
}

#[cfg(test)]
mod tests;
