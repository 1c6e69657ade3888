//! Formulas of TeX between `\(` and `\)`, or between `\[` and `\]`. Without a mark of algebra these are brackets with
//! an escape in front.

use super::inline::{Inline, LONG, Sink, State};
use crate::text::sourced::{Sourced, Span};

/// Longest formula, in bytes.
const MAX_FORMULA: usize = 320;

impl Inline {
    /// Begins what may be a formula, with the escape in front of its bracket. False if a formula was tried here.
    pub(super) fn begin_formula(&mut self, mut escape: Sourced, c: char, span: Span) -> bool {
        if !matches!(c, '(' | '[') || span.start < self.formula_barrier {
            return false;
        }
        escape.push(c, span);
        self.held = escape;
        self.state = State::Formula;
        true
    }

    pub(super) fn read_formula(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let text = &self.held.text;
        let escapes = text.len() - text.trim_end_matches('\\').len();
        let close = if text.starts_with("\\(") { ')' } else { ']' };
        if text.len() > MAX_FORMULA || c == '\n' && text.trim_end_matches(' ').ends_with('\n') {
            self.fail_formula(sink);
            return self.read(c, span, sink);
        }
        self.hold(c, span);
        if c != close || escapes.is_multiple_of(2) {
            return;
        }
        let text = &self.held.text;
        if !is_formula(&text[2..text.len() - 2]) {
            return self.fail_formula(sink);
        }
        let held = self.take_held();
        for (c, span) in held.chars() {
            self.emit(if c == '\n' { ' ' } else { c }, span, sink);
        }
    }

    /// Makes the formula in doubt text: a bracket without its escape, and what follows.
    pub(super) fn fail_formula(&mut self, sink: &mut Sink<'_>) {
        if self.held.text.len() > LONG {
            self.formula_barrier = self.held_end();
        }
        let held = self.take_held();
        let mut chars = held.chars();
        if let (Some((_, escape)), Some((bracket, span))) = (chars.next(), chars.next()) {
            self.emit(bracket, escape.to(span), sink);
        }
        for (c, span) in chars {
            self.read(c, span, sink);
        }
    }
}

/// True for a text with marks that a formula has, and text seldom.
fn is_formula(text: &str) -> bool {
    let is_command = |(at, _): (usize, &str)| text[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic());
    text.contains(['^', '_', '=', '+', '<', '>', '{', '|'])
        || text.match_indices('\\').any(is_command)
        || !text.trim().contains(char::is_whitespace) && text.contains(['*', '-', '/', '('])
}
