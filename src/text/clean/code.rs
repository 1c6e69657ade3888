//! Code spans: their text is spoken as it is.

use super::inline::{Inline, MAX_CODE, Sink, State};
use crate::text::sourced::Span;

impl Inline {
    pub(super) fn begin_code(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let ticks = self.held.text.len();
        let start = self.held.chars().next().map_or(0, |(_, span)| span.start);
        let is_barred = self
            .code_barriers
            .iter()
            .any(|(known, until)| (*known == ticks || *known == 0) && start < *until);
        if is_barred || ticks >= MAX_CODE {
            let held = self.take_held();
            self.emit_all(&held, sink);
        } else {
            self.state = State::Code(ticks, 0);
        }
        self.read(c, span, sink);
    }

    pub(super) fn end_code(&mut self, sink: &mut Sink<'_>) {
        let State::Code(ticks, _) = self.state else { return };
        let held = self.take_held();
        self.verbatim = Some(0);
        let count = held.text.chars().count();
        for (c, span) in held.chars().skip(ticks).take(count - 2 * ticks) {
            self.read(c, span, sink);
        }
        self.settle(false, sink);
        self.verbatim = None;
        self.previous = Some('`');
    }

    /// Speaks the text of a long code span, whose end was not seen yet.
    pub(super) fn release_code(&mut self, sink: &mut Sink<'_>) {
        let State::Code(ticks, _) = self.state else { return };
        let held = self.take_held();
        self.verbatim = Some(ticks);
        for (c, span) in held.chars().skip(ticks) {
            self.read(c, span, sink);
        }
    }

    pub(super) fn end_ticks(&mut self, sink: &mut Sink<'_>) {
        let held = self.take_held();
        if self.verbatim == Some(held.text.len()) {
            self.verbatim = None;
            self.previous = Some('`');
        } else {
            self.emit_all(&held, sink);
        }
    }
}
