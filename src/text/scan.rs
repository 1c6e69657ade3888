//! Positions and counts in the current segment.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::language;

/// Positions and counts in the buffer, so that it need not be read again. Positions are in bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) previous: Option<char>,
    pub(super) words: usize,
    /// Start of the current word; `None` after white space.
    pub(super) token: Option<usize>,
    pub(super) token_chars: usize,
    pub(super) last_token: Range<usize>,
    pub(super) sentence: Option<usize>,
    /// True if the sentence began in lower case: its writer may use no capitals at all.
    pub(super) begins_lower: Option<bool>,
    pub(super) first_letter: Option<usize>,
    pub(super) tag: Tag,
    /// The latest places to cut a segment that is too long, best first: between joined sentences, after a
    /// clause, between words, between characters.
    pub(super) joint: usize,
    pub(super) clause: usize,
    pub(super) space: usize,
    pub(super) character: usize,
}

/// Position relative to a markup tag such as `<break time="1.5s">`. No sentence ends inside of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum Tag {
    #[default]
    Outside,
    Opened,
    Inside,
    Quoted(char),
}

impl Scan {
    /// Takes the next character. True if a clause has just ended.
    pub(super) fn read(&mut self, c: char, at: usize) -> bool {
        let after = at + c.len_utf8();
        let previous = self.previous.replace(c);
        if !self.stays_attached(c, at, previous) {
            self.character = at;
        }
        self.read_tag(c, previous);
        if c.is_whitespace() {
            let Some(token) = self.token.take() else { return false };
            self.space = at;
            self.last_token = token..at;
            self.token_chars = 0;
            let dash = matches!(previous, Some('-' | '–')) && token + 3 >= at;
            let clause = dash || previous.is_some_and(language::ends_clause);
            if clause && self.tag == Tag::Outside {
                self.clause = at;
            }
            return self.clause == at && previous != Some(')');
        }
        if self.token.is_none() {
            self.token = Some(at);
            self.words += 1;
            self.sentence.get_or_insert(at);
        }
        self.token_chars += 1;
        if c.is_ascii_alphanumeric() {
            if previous.is_some_and(language::is_ideographic) && self.character == at {
                self.space = at;
            }
            self.first_letter.get_or_insert(at);
            self.begins_lower.get_or_insert(c.is_ascii_lowercase());
            return false;
        }
        if language::is_unspaced(c) {
            self.token_chars = 0;
            if language::is_ideographic(c) && self.character == at {
                self.space = at;
            }
        }
        if c.is_alphanumeric() {
            self.first_letter.get_or_insert(at);
            self.begins_lower.get_or_insert(c.is_lowercase());
        }
        if language::is_spoken_sign(c) {
            self.first_letter.get_or_insert(at);
        }
        if language::begins_word(c) {
            self.token = Some(after);
        }
        if language::ends_clause_unspaced(c) && self.tag == Tag::Outside {
            self.clause = after;
            return true;
        }
        false
    }

    fn read_tag(&mut self, c: char, previous: Option<char>) {
        self.tag = match (self.tag, c) {
            // The end of an item, a heading or a paragraph.
            (_, '\u{c}' | '\u{2029}') => Tag::Outside,
            (_, '\n') if previous == Some('\n') => Tag::Outside,
            (_, '<') => Tag::Opened,
            (Tag::Opened, 'a'..='z' | 'A'..='Z' | '/') => Tag::Inside,
            (Tag::Quoted(quote), _) if c == quote => Tag::Inside,
            (Tag::Quoted(quote), _) => Tag::Quoted(quote),
            (Tag::Inside, '"') => Tag::Quoted(c),
            // A terminator: this was not a tag, but "a <b. Then".
            (Tag::Outside | Tag::Opened, _) | (Tag::Inside, '>' | '.' | '!' | '?') => Tag::Outside,
            (Tag::Inside, _) => Tag::Inside,
        };
    }

    /// True if a cut before this character would separate it from the one it belongs to.
    fn stays_attached(&self, c: char, at: usize, previous: Option<char>) -> bool {
        let flag = |c: char| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
        match previous {
            None => false,
            _ if c.is_ascii_alphanumeric() => previous == Some('\u{200d}'), // most of all text
            Some('\u{200d}') => true,
            // The second half of a flag, unless the first is itself a second half.
            Some(p) if flag(p) && flag(c) => self.character + p.len_utf8() == at,
            Some(_) => language::extends(c) || language::is_closer(c) || language::is_punctuation(c),
        }
    }
}
