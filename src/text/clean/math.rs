//! Formulas in MathML: the marks that its elements stand for.
//!
//! `<mfrac><mn>1</mn><mn>2</mn></mfrac>` is written as `1⁄2`, a power with a caret, and a root with its sign, so that they
//! are read as in plain text.

use super::angle::Angle;
use super::inline::{Inline, Sink};
use crate::text::sourced::Span;
use serde::{Deserialize, Serialize};

/// Most elements in each other that are followed. In deeper ones the parts are only apart.
const MAX_DEPTH: usize = 32;

/// Signs whose limits are written below and above: their formula goes from the one to the other.
const WITH_LIMITS: &str = "∑∏∫∬∭∮⋃⋂⋀⋁⨁";

/// Position in a formula.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Math {
    open: Vec<Open>,
    /// White space to write before the next character, unless that is a mark that closes.
    space: Option<Span>,
    /// A caret to write before the next character, if that can be an exponent.
    caret: Option<Span>,
    /// True if the next character may be the accent of what is before it.
    is_above: bool,
    /// True if nothing but white space follows the last formula so far.
    is_behind: bool,
}

/// An element that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    name: String,
    children: usize,
    /// True if its first part is one number.
    is_number: bool,
    /// True if its first part is a sign with limits.
    has_limits: bool,
}

impl Math {
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// True if only white space is between a formula and this position: what stands for it would be heard twice.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.open.capacity() * size_of::<Open>()
            + self.open.iter().map(|open| open.name.capacity()).sum::<usize>()
    }
}

impl Inline {
    /// Applies a tag of a formula. False if it is none.
    pub(super) fn apply_math(&mut self, tag: &Angle, span: Span, sink: &mut Sink<'_>) -> bool {
        let name = tag.name();
        if name == "math" && !tag.is_closing() {
            self.math = Math::default();
            if !tag.is_self_closing() {
                self.math.open.push(Open { name, children: 0, is_number: false, has_limits: false });
            }
            return true;
        }
        if !self.math.is_open() || !name.starts_with('m') && name != "semantics" {
            return false;
        }
        match tag.is_closing() {
            true => self.close_math(&name, span, sink),
            false => self.open_math(name, tag.is_self_closing(), span, sink),
        }
        true
    }

    fn open_math(&mut self, name: String, is_empty: bool, span: Span, sink: &mut Sink<'_>) {
        let is_operator = self.previous.is_some_and(|c| WITH_LIMITS.contains(c));
        let Some(parent) = self.math.open.last_mut() else { return };
        let index = parent.children;
        parent.children += 1;
        self.math.is_above = parent.name == "mover" && index == 1;
        match index {
            0 => parent.is_number = name == "mn",
            1 => parent.has_limits = is_operator,
            _ => {}
        }
        let is_whole = parent.is_number && name == "mn";
        let marks = match (parent.name.as_str(), index) {
            ("mfrac", 1) if is_whole => "⁄",
            ("mfrac", 1) => " ⁄ ",
            ("msubsup" | "munderover", 2) if parent.has_limits => " → ",
            ("msup", 1) | ("msubsup" | "munderover", 2) => "^",
            ("mroot", 1) => "^(1⁄",
            ("mtr" | "mfenced", 1..) => ", ",
            ("mtable", 1..) => "; ",
            _ => " ",
        };
        match marks {
            " " => self.math.space = Some(span),
            "^" => self.math.caret = Some(span),
            _ => self.put_marks(marks, span, sink),
        }
        match name.as_str() {
            "msqrt" => self.put_marks("√", span, sink),
            "mfenced" => self.put_marks("(", span, sink),
            _ => {}
        }
        if !is_empty && self.math.open.len() < MAX_DEPTH {
            self.math.open.push(Open { name, children: 0, is_number: false, has_limits: false });
        }
    }

    fn close_math(&mut self, name: &str, span: Span, sink: &mut Sink<'_>) {
        let Some(at) = self.math.open.iter().rposition(|open| open.name == name) else { return };
        self.math.open.truncate(at);
        self.math.is_behind = at == 0;
        match name {
            "mroot" | "mfenced" => self.put_marks(")", span, sink),
            "math" => (self.math.caret, self.math.space) = (None, None),
            _ => {}
        }
    }

    fn put_marks(&mut self, marks: &str, span: Span, sink: &mut Sink<'_>) {
        if marks == "√" || marks == "(" {
            self.put_blank(sink);
        }
        self.math.space = None;
        for c in marks.chars() {
            self.put(c, span, sink);
        }
    }

    /// Writes the white space that is held back.
    fn put_blank(&mut self, sink: &mut Sink<'_>) {
        let is_begun = self.previous.is_some_and(|c| !matches!(c, '(' | '[' | '{' | '√' | '⁄' | '^'));
        if let Some(span) = self.math.space.take().filter(|_| is_begun) {
            self.put(' ', span, sink);
        }
    }

    /// The accent that a character is above a letter, which is written directly behind the letter.
    pub(super) fn above(&mut self, c: char) -> char {
        let is_above = c.is_whitespace() || std::mem::take(&mut self.math.is_above);
        let accent = match c {
            '¯' | 'ˉ' | '‾' | '―' | '_' | '\u{305}' => '\u{304}',
            '^' | 'ˆ' => '\u{302}',
            '~' | '˜' | '∼' => '\u{303}',
            '→' | '⇀' => '\u{20d7}',
            '˙' | '.' => '\u{307}',
            '¨' => '\u{308}',
            _ => return c,
        };
        if !is_above || !self.math.is_open() {
            return c;
        }
        self.math.space = None;
        accent
    }

    /// Decides on a character in or behind a formula. False if it is not to be written now.
    pub(super) fn takes(&mut self, c: char, span: Span, sink: &mut Sink<'_>) -> bool {
        let is_open = self.math.is_open();
        if c.is_whitespace() && is_open {
            self.math.space.get_or_insert(span);
            return false;
        }
        // An invisible operator.
        if is_open && matches!(c, '\u{2061}'..='\u{2064}') {
            return false;
        }
        self.math.is_behind &= c.is_whitespace();
        if let Some(caret) = self.math.caret.take()
            && (c.is_alphanumeric() || matches!(c, '(' | '-' | '−' | '+' | '√' | '∞'))
        {
            self.math.space = None;
            self.put('^', caret, sink);
        }
        if !matches!(c, ')' | ']' | '}' | ',' | ';' | '.' | '!' | '′') {
            self.put_blank(sink);
        }
        self.math.space = None;
        true
    }

    pub(super) fn end_math(&mut self) {
        self.math = Math::default();
    }
}
