//! Links, images and references: what follows the text in brackets.

use super::destination::{self, Destination};
use super::inline::{Inline, LONG, Sink, State};
use crate::text::sourced::{Sourced, Span};

impl Inline {
    pub(super) fn open_bracket(&mut self, span: Span, bang: Option<Span>, sink: &mut Sink<'_>) {
        let is_raised = self.raised.is_some();
        self.release_raised(sink);
        self.brackets.open(span, bang, self.previous, (self.is_item_start, is_raised), sink);
        self.previous = Some('[');
        self.is_line_start = false;
        self.is_item_start = false;
    }

    pub(super) fn close_bracket(&mut self, span: Span, sink: &mut Sink<'_>) {
        if self.brackets.may_be_link() {
            self.open(State::Closed, ']', span);
        } else {
            self.brackets.close_text();
            self.emit(']', span, sink);
        }
    }

    /// Decides on a pair of brackets by the character behind it.
    pub(super) fn end_bracket(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        match c {
            '(' if !self.is_page && span.start >= self.link_barrier => {
                self.hold(c, span);
                self.state = State::Link(Box::new(Destination::of_link()));
            }
            '[' if !self.is_page => {
                self.hold(c, span);
                self.state = State::Label;
            }
            _ => {
                self.end_bracket_as_text(Some(c), sink);
                self.read(c, span, sink);
            }
        }
    }

    /// Ends a pair of brackets that is no link: a note's mark, or text.
    pub(super) fn end_bracket_as_text(&mut self, next: Option<char>, sink: &mut Sink<'_>) {
        let held = self.take_held();
        if let Some(before) = self.brackets.end_as_note(next, sink) {
            self.previous = before;
            if let Some((_, end)) = held.chars().next().filter(|_| self.brackets.is_checked) {
                let span = Span { start: end.start.saturating_sub(2), units: 3 };
                self.emit_words(&self.done.clone(), span, sink);
            }
            return;
        }
        if let Some((c, span)) = held.chars().next() {
            self.emit(c, span, sink);
        }
    }

    pub(super) fn read_link(&mut self, step: destination::Step, c: char, span: Span, sink: &mut Sink<'_>) {
        match step {
            destination::Step::More => self.hold(c, span),
            destination::Step::Skip => self.commit_link(sink),
            destination::Step::Done => {
                let mut address = self.take_held();
                address.push(c, span);
                self.previous = self.brackets.end_as_link(&address, sink).unwrap_or(Some(')'));
            }
            destination::Step::Text => {
                self.fail_link(span.start, sink);
                self.read(c, span, sink);
            }
        }
    }

    /// Speaks the text of a link whose address has not ended yet.
    pub(super) fn commit_link(&mut self, sink: &mut Sink<'_>) {
        if let State::Link(destination) = std::mem::take(&mut self.state) {
            self.held.take();
            self.brackets.end_as_link(&Sourced::default(), sink);
            self.previous = Some(')');
            self.state = State::Dropped(destination);
        }
    }

    /// Makes `](` text: what follows is no address.
    pub(super) fn fail_link(&mut self, end: u64, sink: &mut Sink<'_>) {
        let held = self.held.take();
        self.state = State::Text;
        if held.text.len() > LONG {
            self.link_barrier = end;
        }
        let mut chars = held.chars();
        if let Some((c, span)) = chars.next() {
            self.hold(c, span);
            self.end_bracket_as_text(Some('('), sink);
        }
        for (n, (c, span)) in chars.enumerate() {
            if n == 0 { self.emit(c, span, sink) } else { self.read(c, span, sink) }
        }
    }

    pub(super) fn read_label(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        if c == ']' {
            let held = self.held.take();
            self.state = State::Text;
            let label = held.text.trim_start_matches("][");
            if self.brackets.is_reference(label) {
                let mut address = held;
                address.push(c, span);
                self.previous = self.brackets.end_as_link(&address, sink).unwrap_or(Some(']'));
                return;
            }
            self.held = held;
            self.fail_label(sink);
            self.read(c, span, sink);
        } else if c == '[' || self.held.text.len() > 200 {
            self.fail_label(sink);
            self.read(c, span, sink);
        } else {
            self.hold(c, span);
        }
    }

    /// Makes the first brackets of `][` text. The second ones are read again.
    pub(super) fn fail_label(&mut self, sink: &mut Sink<'_>) {
        let held = self.held.take();
        let mut chars = held.chars();
        if let Some((c, span)) = chars.next() {
            self.hold(c, span);
            self.end_bracket_as_text(Some('['), sink);
        }
        for (c, span) in chars {
            self.read(c, span, sink);
        }
    }
}
