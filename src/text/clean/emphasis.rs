//! Runs of `*`, `_` and `~`: emphasis, or text such as the signs of `5*3*2`.

use super::inline::{Inline, Sink, State};
use crate::text::sourced::Span;

/// Longest emphasis that begins in a word, in bytes.
const MAX_FACTOR: usize = 80;
/// Most runs that may be open.
const MAX_OPEN: usize = 8;

impl Inline {
    /// Writes a run of marks if it is text, given the character that follows.
    pub(super) fn end_run(&mut self, next: Option<char>, sink: &mut Sink<'_>) {
        let State::Run(mark) = self.state else { return };
        let length = self.held.text.len();
        let before = self.previous.filter(|c| !c.is_whitespace());
        let after = next.filter(|c| !c.is_whitespace());
        // `3*4` is a sum, whatever the marks around it.
        let is_sum = length == 1 && after.is_some_and(|c| !c.is_alphabetic());
        let is_open = mark == '*' && !is_sum && self.open_runs.contains(&length);
        let is_text = match (before, after) {
            (None, None) => true,
            (None, Some('=')) => mark == '*' && length == 1,
            (Some(a), Some(b)) if mark == '*' && a.is_alphanumeric() && b.is_alphanumeric() && !is_open => {
                if b.is_alphabetic() {
                    // Emphasis if it has an end: "5**words**6", but not "5*a*b" or "a*b", nor "2*pi*r".
                    self.state = State::Factor(length, 0);
                    return;
                }
                true
            }
            // "x_max", "x_{max}"
            (Some(a), Some(b)) if mark == '_' => {
                a.is_alphanumeric() && (b.is_alphanumeric() || b == '{' && length == 1)
            }
            _ => mark == '~' && length == 1,
        };
        let held = self.take_held();
        if is_text {
            self.emit_all(&held, sink);
        } else if mark == '*' {
            match self.open_runs.iter().rposition(|open| *open == length) {
                Some(at) if before.is_some() => self.open_runs.truncate(at),
                _ if after.is_some() && self.open_runs.len() < MAX_OPEN => self.open_runs.push(length),
                _ => {}
            }
        }
        if is_text || before.is_some() {
            self.previous = Some(mark);
        }
    }

    /// Reads what may be emphasis in a word.
    pub(super) fn read_factor(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let State::Factor(_, closing) = &mut self.state else { return };
        if c == '*' {
            *closing += 1;
            self.hold(c, span);
        } else if *closing > 0 || c == '\n' || self.held.text.len() > MAX_FACTOR {
            self.end_factor(sink);
            self.read(c, span, sink);
        } else {
            self.hold(c, span);
        }
    }

    pub(super) fn end_factor(&mut self, sink: &mut Sink<'_>) {
        let State::Factor(length, closing) = self.state else { return };
        let held = self.take_held();
        let chars: Vec<_> = held.chars().collect();
        let is_space = |at: usize| chars.get(at).is_some_and(|(c, _)| c.is_whitespace());
        let is_closed = length == closing && !is_space(chars.len() - closing - 1);
        let end = chars.len() - if is_closed { closing } else { 0 };
        let content = &chars[length..end];
        // "2*pi*r" is a product.
        let letters = if length > 1 { 2 } else { 3 };
        let has_word = content.windows(letters).any(|part| part.iter().all(|(c, _)| c.is_alphabetic()));
        let is_phrase = length > 1 || !content.iter().any(|(c, _)| c.is_whitespace());
        // Behind a letter, it is what CommonMark says: "a*b*c".
        let is_in_word = self.previous.is_some_and(char::is_alphabetic);
        let is_emphasis = is_closed && is_phrase && (is_in_word || has_word);
        for (n, (c, span)) in chars.iter().enumerate() {
            match n {
                _ if (length..end).contains(&n) => self.read(*c, *span, sink),
                _ if is_emphasis => {
                    if n == end {
                        self.decide(false, sink);
                    }
                    self.previous = Some('*');
                }
                _ => {
                    self.decide(false, sink);
                    self.emit(*c, *span, sink);
                }
            }
        }
    }
}
