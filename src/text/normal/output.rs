//! The spoken text, and which written text each part of it stands for.

use std::borrow::Cow;
use std::ops::Range;

/// Most bytes of spoken text for each character of written text.
const GROWTH: usize = 8;

/// Bytes that a text of fewer than sixteen characters may have in any case: "$777,777.77" has ninety.
const LEAST: usize = 128;

/// Most bytes of spoken text for a written text. Where words would exceed them, the text is copied as it is
/// written.
pub(super) fn most(written: &str) -> usize {
    (written.chars().count() * GROWTH).max(LEAST)
}

/// Part of the spoken text that differs from the written text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    spoken: Range<usize>,
    written: Range<usize>,
}

/// A text as it is spoken, and where each part of it was written.
#[derive(Clone, Debug, Default)]
pub struct Spoken<'a> {
    /// The text to speak.
    pub text: Cow<'a, str>,
    /// Changes of the text, the last one first. The spans of a change are in order and do not overlap;
    /// between two spans both sides are the same.
    changes: Vec<Vec<Span>>,
}

impl<'a> Spoken<'a> {
    /// A text that is spoken as it is written.
    pub(super) fn same(text: &'a str) -> Spoken<'a> {
        Spoken { text: Cow::Borrowed(text), changes: Vec::new() }
    }

    /// True if the text is spoken as it is written.
    pub fn is_same(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the position in the written text of the character at `at` in the spoken text. Positions rise
    /// with `at`, and each is the start of a character.
    pub fn origin(&self, at: usize) -> usize {
        origin(&self.changes, at)
    }

    /// Returns the written words, as ranges of bytes in the written text. Words that became something as a
    /// whole, such as "1 1/2", are one range.
    pub fn words(&self, written: &str) -> Vec<Range<usize>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut wide = self.wide(written).into_iter().peekable();
        for word in crate::text::words::written(written) {
            while wide.next_if(|wide| wide.end < word.start).is_some() {}
            let is_joined = wide.peek().is_some_and(|wide| wide.start < word.start);
            match words.last_mut() {
                Some(last) if is_joined => last.end = word.end,
                _ => words.push(word),
            }
        }
        words
    }

    /// Written ranges with spaces that became something as a whole, in order: each from its first character to
    /// the start of its last one.
    fn wide(&self, written: &str) -> Vec<Range<usize>> {
        let mut wide: Vec<Range<usize>> = Vec::new();
        for (n, spans) in self.changes.iter().enumerate() {
            let before = &self.changes[n + 1..];
            let ranges = spans.iter().filter_map(|span| {
                let start = origin(before, span.written.start);
                let end = origin(before, span.written.end);
                if !span.spoken.is_empty() {
                    return Some(start..origin(before, span.written.end.saturating_sub(1)));
                }
                // A word that a hyphen divides between two lines is one.
                let part = written.get(start..end)?;
                let divides = part.starts_with(['-', '‐', '\u{ad}']) && part.contains('\n');
                divides.then_some(start..end)
            });
            wide.extend(ranges.filter(|range| {
                written.get(range.clone()).is_none_or(|part| part.contains(char::is_whitespace))
            }));
        }
        wide.sort_by_key(|range| range.start);
        wide
    }

    /// Changes the text once more. `change` gets it, and a new output for it.
    pub(super) fn then(self, change: impl FnOnce(&str) -> Option<Changed>) -> Spoken<'a> {
        let Some(Changed { text, spans }) = change(&self.text) else { return self };
        let mut changes = self.changes;
        changes.insert(0, spans);
        Spoken { text: Cow::Owned(text), changes }
    }
}

/// The position before these changes of what is at a position behind them.
fn origin(changes: &[Vec<Span>], at: usize) -> usize {
    changes.iter().fold(at, |at, spans| {
        let before = spans.partition_point(|span| span.spoken.start <= at);
        match before.checked_sub(1).and_then(|last| spans.get(last)) {
            None => at,
            Some(span) if at < span.spoken.end => span.written.start,
            Some(span) => span.written.end + (at - span.spoken.end),
        }
    })
}

/// A changed text.
#[derive(Debug)]
pub(super) struct Changed {
    text: String,
    spans: Vec<Span>,
}

/// A spoken text that is being written, from left to right.
#[derive(Debug)]
pub(super) struct Output<'a> {
    written: &'a str,
    /// Everything written before is in the text.
    at: usize,
    text: String,
    /// Most bytes of the text.
    most: usize,
    spans: Vec<Span>,
    /// True after words, if no space follows them yet.
    is_after_words: bool,
}

impl<'a> Output<'a> {
    /// The text will have at most `most` bytes, or the length of the written text.
    pub(super) fn new(written: &'a str, most: usize) -> Output<'a> {
        let text = String::with_capacity(written.len() + written.len() / 4);
        Output { written, at: 0, text, most, spans: Vec::new(), is_after_words: false }
    }

    /// True if the text stays within its bound when words replace what is written up to `end`: with a space on
    /// each side, and with all that follows copied.
    fn has_room(&self, words: &str, end: usize) -> bool {
        self.text.len() + words.len() + 2 + (self.written.len() - end) <= self.most
    }

    /// Position up to which the written text was taken.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Copies the written text up to `to`.
    pub(super) fn copy(&mut self, to: usize) {
        if to <= self.at {
            return;
        }
        let part = &self.written[self.at..to];
        if std::mem::take(&mut self.is_after_words) && part.starts_with(joins) {
            self.text.push(' ');
            if let Some(span) = self.spans.last_mut() {
                span.spoken.end = self.text.len();
            }
        }
        self.text.push_str(part);
        self.at = to;
    }

    /// Replaces a range of the written text by words. What lies before it is copied. Spaces are added where
    /// the words would touch others.
    #[inline(never)]
    pub(super) fn say(&mut self, range: Range<usize>, words: &str) {
        self.copy(range.start);
        if !self.has_room(words, range.end) {
            return self.copy(range.end);
        }
        let start = self.text.len();
        let touches = |c: char| joins(c) || matches!(c, ')' | ']' | '}');
        if !words.is_empty()
            && (self.is_after_words || self.text.ends_with(touches))
            && !words.starts_with(|c: char| c.is_whitespace() || matches!(c, '\'' | ','))
        {
            self.text.push(' ');
        }
        self.text.push_str(words);
        self.is_after_words |= !words.is_empty();
        self.at = range.end;
        self.spans.push(Span { spoken: start..self.text.len(), written: range });
    }

    /// Replaces a range by exactly this text, without spaces.
    #[inline(never)]
    pub(super) fn put(&mut self, range: Range<usize>, text: &str) {
        self.copy(range.start);
        if !self.has_room(text, range.end) {
            return self.copy(range.end);
        }
        let start = self.text.len();
        self.text.push_str(text);
        self.at = range.end;
        self.spans.push(Span { spoken: start..self.text.len(), written: range });
    }

    /// Returns the changed text, or `None` if nothing was replaced.
    pub(super) fn finish(mut self) -> Option<Changed> {
        if self.spans.is_empty() {
            return None;
        }
        self.copy(self.written.len());
        Some(Changed { text: self.text, spans: self.spans })
    }
}

/// True for a character that would become part of a word beside it.
fn joins(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '$' | '.' | '%' | '&' | '@' | '+' | '=' | '/' | '_') && c != '.'
}
