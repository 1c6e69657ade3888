//! Constructs that stand for other words: character references and addresses.

use super::entity;
use super::inline::{Inline, Sink, State};
use crate::text::sourced::Span;

impl Inline {
    pub(super) fn read_entity(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let is_name = c.is_ascii_alphanumeric() || c == '#' && self.held.text.len() == 1;
        if is_name && self.held.text.len() < entity::MAX_CHARS {
            return self.hold(c, span);
        }
        let is_closed = c == ';';
        let reference = &self.held.text[1..];
        let decoded = if is_closed || self.is_page { entity::decode(reference, is_closed) } else { None };
        let Some(decoded) = decoded else { return self.fail_before(c, span, sink) };
        let held = self.take_held();
        let last = if is_closed { Some(span) } else { held.chars().last().map(|(_, span)| span) };
        let whole = held.chars().next().map_or(span, |(_, first)| first.to(last.unwrap_or(first)));
        for c in decoded.chars() {
            match c {
                '\n' => self.emit(' ', whole, sink),
                // It may be the mark of a note.
                '¹' | '²' | '³' => self.read(c, whole, sink),
                _ => self.emit(c, whole, sink),
            }
        }
        if !is_closed {
            self.read(c, span, sink);
        }
    }

    /// Speaks the address, and reads the punctuation behind it again.
    pub(super) fn end_address(&mut self, sink: &mut Sink<'_>) {
        let State::Address(mut address) = std::mem::take(&mut self.state) else { return };
        let tail = address.take_tail();
        if let Some((words, span)) = address.speak() {
            let words = words.to_owned();
            self.emit_words(&words, span, sink);
        }
        self.reread(&tail, sink);
    }
}
