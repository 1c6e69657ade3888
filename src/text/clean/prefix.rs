//! The beginning of a line of Markdown: the containers that it continues or opens, and the kind of its block.

use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// A block that contains others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Container {
    Quote,
    /// An item of a list, with the width that its lines are indented by.
    Item {
        width: usize,
        is_empty: bool,
    },
    /// The definition of a note, whose text is not spoken: its mark is silent, so it has no place.
    Note,
}

/// An open block of fenced code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fence {
    pub(super) mark: char,
    pub(super) length: usize,
    /// True if it may close a fence that its container has closed already: what follows is spoken.
    pub(super) is_doubtful: bool,
}

/// Kind of a line of text, by its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum Line {
    #[default]
    Text,
    /// A line of indented code.
    Code,
    /// A row of a table.
    Row,
    Heading,
}

/// Most containers inside of each other. Marks of deeper ones are dropped.
pub(super) const MAX_CONTAINERS: usize = 64;

/// Position in the beginning of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    chars: &'a [(char, Span)],
    at: usize,
    column: usize,
    /// Columns of a tab that were used already.
    used: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(chars: &'a [(char, Span)]) -> Cursor<'a> {
        Cursor { chars, at: 0, column: 0, used: 0 }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).map(|(c, _)| *c)
    }

    /// The characters that are left.
    pub(super) fn rest(&self) -> &'a [(char, Span)] {
        &self.chars[self.at..]
    }

    pub(super) fn is_blank(&self) -> bool {
        self.rest().iter().all(|(c, _)| c.is_whitespace())
    }

    pub(super) fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(c) = self.peek() {
                self.column += if c == '\t' { 4 - self.column % 4 } else { 1 };
                self.at += 1;
            }
        }
        self.used = 0;
    }

    /// Number of columns of white space from here on.
    pub(super) fn indent(&self) -> usize {
        let mut column = self.column;
        for (c, _) in self.rest().iter().take_while(|(c, _)| matches!(c, ' ' | '\t')) {
            column += if *c == '\t' { 4 - column % 4 } else { 1 };
        }
        column - self.column - self.used
    }

    /// Skips white space of at most this many columns.
    pub(super) fn skip_columns(&mut self, mut count: usize) {
        while count > 0 {
            let width = match self.peek() {
                Some('\t') => 4 - self.column % 4 - self.used,
                Some(' ') => 1,
                _ => return,
            };
            if width > count {
                self.used += count;
                return;
            }
            count -= width;
            self.skip(1);
        }
    }

    pub(super) fn skip_indent(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.skip(1);
        }
    }

    /// Number of this mark from here on.
    pub(super) fn run(&self, mark: char) -> usize {
        self.rest().iter().take_while(|(c, _)| *c == mark).count()
    }

    /// Continues the open containers. Returns how many the line continues.
    pub(super) fn enter(&mut self, containers: &[Container]) -> usize {
        for (n, container) in containers.iter().enumerate() {
            let continues = match *container {
                Container::Quote => self.skip_quote(),
                Container::Item { width, .. } => self.skip_width(width),
                Container::Note => self.skip_width(4),
            };
            if !continues {
                return n;
            }
        }
        containers.len()
    }

    fn skip_width(&mut self, width: usize) -> bool {
        if self.is_blank() {
            return true;
        }
        let continues = self.indent() >= width;
        if continues {
            self.skip_columns(width);
        }
        continues
    }

    /// Skips the mark of a quotation.
    pub(super) fn skip_quote(&mut self) -> bool {
        let mark = self.rest().iter().position(|(c, _)| !matches!(c, ' ' | '\t'));
        let is_quote = self.indent() <= 3 && mark.is_some_and(|at| self.rest()[at].0 == '>');
        if is_quote {
            self.skip_indent();
            self.skip(1);
            self.skip_columns(1);
        }
        is_quote
    }

    /// Returns the length of a fence.
    pub(super) fn fence(&self) -> Option<usize> {
        let mark = self.peek().filter(|mark| matches!(mark, '`' | '~'))?;
        let length = self.run(mark);
        (length >= 3).then_some(length)
    }

    /// Returns the level of a heading.
    pub(super) fn heading(&self, is_complete: bool) -> Option<usize> {
        let level = self.run('#');
        let next = self.rest().get(level).map(|(c, _)| *c);
        let ends = next.map_or(is_complete, |c| matches!(c, ' ' | '\t'));
        ((1..=6).contains(&level) && ends).then_some(level)
    }

    /// True for the beginning of a line that begins no block, but text of a paragraph.
    pub(super) fn is_plain(&self) -> bool {
        let begins_block = self.heading(true).is_some() || self.fence().is_some() || self.marker().is_some();
        self.peek().is_some_and(|first| !matches!(first, '>' | '|' | '<')) && !begins_block
    }

    /// True for a line of three or more of one mark of `-`, `*` and `_`, or of `=`.
    pub(super) fn is_rule(&self) -> bool {
        let mut marks = self.rest().iter().map(|(c, _)| *c).filter(|c| !c.is_whitespace());
        let Some(first) = marks.next() else { return false };
        matches!(first, '-' | '*' | '_' | '=') && marks.clone().all(|c| c == first) && marks.count() >= 2
    }

    /// True for a line under a heading.
    pub(super) fn is_underline(&self) -> bool {
        let text: String = self.rest().iter().map(|(c, _)| *c).collect();
        let text = text.trim();
        !text.is_empty() && (text.bytes().all(|b| b == b'-') || text.bytes().all(|b| b == b'='))
    }

    /// True for the line under a table's head.
    pub(super) fn is_delimiter_row(&self) -> bool {
        let marks = || self.rest().iter().map(|(c, _)| *c).filter(|c| !c.is_whitespace());
        marks().all(|c| matches!(c, '-' | '|' | ':'))
            && marks().any(|c| c == '|')
            && marks().any(|c| c == '-')
    }

    /// Returns the length of an item's mark; `None` if there is none here. It is complete if white space or the
    /// end of the line follows.
    pub(super) fn marker(&self) -> Option<usize> {
        let length = match self.peek()? {
            '-' | '+' | '*' => 1,
            c if c.is_ascii_digit() => {
                let digits = self.rest().iter().take_while(|(c, _)| c.is_ascii_digit()).count();
                let ends = self.rest().get(digits).is_some_and(|(c, _)| matches!(c, '.' | ')'));
                if digits > 9 || !ends {
                    return None;
                }
                digits + 1
            }
            _ => return None,
        };
        self.rest().get(length).is_none_or(|(c, _)| c.is_whitespace()).then_some(length)
    }

    /// True if an item's mark here may begin a list in the middle of a paragraph.
    pub(super) fn may_interrupt(&self, marker: usize) -> bool {
        let has_text = self.rest().iter().skip(marker).any(|(c, _)| !c.is_whitespace());
        let number = self.rest().iter().take(marker - 1);
        has_text && (marker == 1 || number.map(|(c, _)| *c).eq("1".chars()))
    }

    /// Skips an item's mark, and returns the item.
    pub(super) fn skip_marker(&mut self, marker: usize) -> Container {
        let indent = self.indent();
        self.skip_indent();
        self.skip(marker);
        let space = self.indent();
        let is_empty = self.is_blank();
        let space = if is_empty || space > 4 { 1 } else { space };
        self.skip_columns(space);
        Container::Item { width: indent + marker + space, is_empty }
    }

    /// The whole beginning of the line, and the number of its characters that were read.
    pub(super) fn whole(&self) -> (&'a [(char, Span)], usize) {
        (self.chars, self.at)
    }

    /// The cursor behind its white space.
    pub(super) fn trimmed(mut self) -> Cursor<'a> {
        self.skip_indent();
        self
    }

    /// The characters that are left, with their source.
    pub(super) fn text(&self) -> Sourced {
        let mut text = Sourced::default();
        for (c, span) in self.rest() {
            text.push(*c, *span);
        }
        text
    }
}

/// True for the marks at the beginning of a line. Any other character decides on it.
pub(super) fn is_mark(c: char) -> bool {
    matches!(c, ' ' | '\t' | '>' | '*' | '+' | '-' | '_' | '=' | '#' | '`' | '~' | '|' | ':' | '.' | ')')
        || c.is_ascii_digit()
}
