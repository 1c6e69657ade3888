//! The effect of HTML tags on the text around them, on pages and in Markdown.

use super::address;
use super::angle::{self, Angle};
use super::element::{self, Element};
use super::entity;
use super::inline::{Cells, Inline, LONG, MAX_ANGLE, MAX_SILENT, Sink, State};
use super::prose::{Prose, is_worded};
use super::silence::{self, Silence};
use super::writer::Ending;
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Position among the elements of a page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) is_in_cell: bool,
    /// True before the first text of a cell.
    pub(super) is_cell_empty: bool,
    /// A paragraph ended in this cell, which counts if more text follows.
    pub(super) break_before: Option<Span>,
    pub(super) preformatted: usize,
    /// True in a link to a part of the page.
    pub(super) is_reference: bool,
}

impl Inline {
    pub(super) fn read_angle(&mut self, step: angle::Step, c: char, span: Span, sink: &mut Sink<'_>) {
        match step {
            angle::Step::More => {
                self.hold(c, span);
                let is_comment =
                    matches!(&self.state, State::Angle(angle) if angle.end_of_comment().is_some());
                if self.held.text.len() > if is_comment { MAX_SILENT } else { MAX_ANGLE } {
                    self.release_angle(sink);
                }
            }
            angle::Step::Skip => {}
            angle::Step::Text => {
                self.fail_angle(sink);
                self.read(c, span, sink);
            }
            angle::Step::Comment => {
                self.take_held();
            }
            angle::Step::Link | angle::Step::Mailbox => {
                let held = self.take_held();
                let whole = held.chars().next().map_or(span, |(_, first)| first.to(span));
                let words = address::spoken_link(&held.text[1..]);
                self.emit_words(words, whole, sink);
            }
            angle::Step::Cdata => {
                let held = self.take_held();
                let count = held.text.chars().count();
                for (c, span) in held.chars().skip("<![CDATA[".len()).take(count.saturating_sub(11)) {
                    self.emit(c, span, sink);
                }
            }
            angle::Step::Tag(element) => {
                self.hold(c, span);
                let State::Angle(angle) = std::mem::take(&mut self.state) else { return };
                let tag = self.held.take();
                self.is_tag_line = self.began_line && self.previous.is_none();
                self.apply(element, &angle, &tag, sink);
            }
        }
    }

    pub(super) fn fail_angle(&mut self, sink: &mut Sink<'_>) {
        if self.held.text.len() > LONG {
            self.angle_barrier = self.held_end();
        }
        self.fail(sink);
    }

    /// Drops a construct that is too long to hold, if it can hardly be text.
    pub(super) fn release_angle(&mut self, sink: &mut Sink<'_>) {
        let State::Angle(angle) = &self.state else { return };
        let prose = if angle.end_of_comment().is_some() { Prose::of_code() } else { Prose::of_tag() };
        let is_prose = prose.occurs_in(&self.held.text[1..])
            || angle.end_of_comment().is_some() && is_worded(&self.held.text);
        let silence = match angle.end_of_comment() {
            _ if is_prose => None,
            Some(end) => Some(Silence::until(end)),
            // Words that are no attributes are text.
            None => (angle.is_surely_tag() && !angle.has_words()).then(|| Silence::of_tag(angle.quote())),
        };
        match silence {
            // A tag that never ends is spoken in the end.
            Some(silence) => {
                if !silence.is_tag() {
                    self.held.take();
                }
                self.state = State::Silence(Box::new(silence));
            }
            None if angle.end_of_comment().is_some() => self.fail_silence(sink),
            None => self.fail_angle(sink),
        }
    }

    /// Reads a character of silent text.
    pub(super) fn read_silence(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let State::Silence(silence) = &mut self.state else { return };
        let step = silence.read(c);
        self.held.push(c, span);
        match step {
            silence::Step::Done => {
                self.take_held();
            }
            silence::Step::Before => {
                let held = self.take_held();
                let start = held.text.rfind('<').unwrap_or(held.text.len());
                let tag = held.text[..start].chars().count();
                for (c, span) in held.chars().skip(tag) {
                    self.read(c, span, sink);
                }
            }
            silence::Step::Prose if silence.is_certain || silence.is_code() || silence.is_tag() => {
                self.fail_silence(sink);
            }
            // Only what may still be text is kept.
            silence::Step::Code if silence.is_certain => self.held = Sourced::default(),
            _ if self.held.text.len() <= silence.limit() => {}
            _ if silence.is_unlimited()
                && step != silence::Step::Prose
                && !silence.is_worded(&self.held.text) =>
            {
                silence.is_certain = true;
                silence.forget();
                self.held = Sourced::default();
            }
            _ => self.fail_silence(sink),
        }
    }

    /// Speaks the silent text that is held back, and the text that follows.
    pub(super) fn fail_silence(&mut self, sink: &mut Sink<'_>) {
        if matches!(&self.state, State::Silence(silence) if silence.is_tag() && !silence.is_certain) {
            return self.fail_angle(sink);
        }
        self.silence_barrier = self.held_end();
        let held = self.take_held();
        self.reread(&held, sink);
    }

    /// Begins to drop the content of an element.
    pub(super) fn begin_silence(&mut self, silence: Silence, tag: Sourced) {
        self.held = if silence.is_certain { Sourced::default() } else { tag };
        self.state = State::Silence(Box::new(silence));
    }

    /// True if the construct in doubt began at the beginning of a line.
    pub(super) fn began_line(&self) -> bool {
        self.began_line
    }

    /// True before the end of a tag or comment.
    pub(super) fn is_in_angle(&self) -> bool {
        matches!(self.state, State::Angle(_))
    }

    /// True before the end of a construct that lines and paragraphs do not end. A comment does so only outside of
    /// quotations and lists.
    pub(super) fn is_opaque(&self, is_outside: bool) -> bool {
        match &self.state {
            State::Silence(silence) => silence.spans_blocks,
            State::Angle(angle) => is_outside && self.began_line && angle.end_of_comment().is_some(),
            _ => false,
        }
    }

    /// Applies a tag, given its source.
    fn apply(&mut self, element: Element, tag: &Angle, text: &Sourced, sink: &mut Sink<'_>) {
        let Some((_, first)) = text.chars().next() else { return };
        let span =
            Span { start: first.start, units: text.source.end().saturating_sub(first.start).max(1) as u32 };
        if self.apply_math(tag, span, sink) {
            return;
        }
        let is_row = !self.is_page && self.cells == Cells::Row;
        if element != Element::Inline {
            self.release_raised(sink);
        }
        match element {
            // The second form of a formula, for the eye.
            Element::Inline if self.math.is_behind() && !tag.is_closing() && is_hidden(text) => {
                self.begin_silence(Silence::of_element(tag.name(), false, self.is_page), text.clone());
            }
            Element::Inline => self.apply_inline(tag, text, sink),
            Element::Phrase => self.put_space(span, sink),
            Element::Image => self.put_alternative(text, span, sink),
            Element::Silent => self.silence(tag, text, span, sink),
            _ if is_row => self.put_space(span, sink),
            Element::Break => {
                self.brackets.release(sink);
                sink.writer.end_line(span, sink.out);
                self.previous = Some('\n');
            }
            Element::Cell => {
                self.page.break_before = None;
                self.page.is_in_cell = !tag.is_closing();
                self.page.is_cell_empty = true;
                if !tag.is_closing() {
                    self.brackets.put_cell(span, sink);
                    self.previous = None;
                }
            }
            Element::Row => self.end_paragraph(span, Ending::Item, sink),
            Element::Block | Element::Item | Element::Heading | Element::Preformatted => {
                self.is_in_html |= self.began_line();
                if element == Element::Preformatted {
                    let open = self.page.preformatted;
                    self.page.preformatted = if tag.is_closing() { open.saturating_sub(1) } else { open + 1 };
                }
                let is_table = matches!(tag.name().as_str(), "table" | "tbody" | "thead" | "tfoot");
                if self.page.is_in_cell && !is_table {
                    if !self.page.is_cell_empty {
                        self.page.break_before.get_or_insert(span);
                    }
                    return;
                }
                let ending = match element {
                    Element::Item => Ending::Item,
                    Element::Heading if tag.is_closing() => Ending::Heading,
                    _ => Ending::Paragraph,
                };
                self.end_paragraph(span, ending, sink);
            }
        }
    }

    fn apply_inline(&mut self, tag: &Angle, text: &Sourced, sink: &mut Sink<'_>) {
        match tag.name().as_str() {
            "sup" if tag.is_closing() => self.end_raised(sink),
            "sup" => self.begin_raised(sink),
            "sub" => self.lower(tag.is_closing()),
            "a" => {
                let address = angle::attribute(&text.text, "href").map(|range| &text.text[range]);
                self.refer(!tag.is_closing() && address.is_some_and(|address| address.starts_with('#')));
            }
            _ => {}
        }
    }

    fn end_paragraph(&mut self, span: Span, ending: Ending, sink: &mut Sink<'_>) {
        self.page.break_before = None;
        self.page.is_in_cell = false;
        self.end_math();
        self.brackets.release(sink);
        self.brackets.clear();
        sink.writer.end_block(span, ending, sink.out);
        self.previous = None;
    }

    fn put_space(&mut self, span: Span, sink: &mut Sink<'_>) {
        if self.previous.is_some() {
            self.emit(' ', span, sink);
        }
    }

    /// Speaks the text that stands for an image.
    fn put_alternative(&mut self, tag: &Sourced, span: Span, sink: &mut Sink<'_>) {
        let Some(range) = angle::attribute(&tag.text, "alt").filter(|range| !range.is_empty()) else {
            return;
        };
        // The picture of a formula that was spoken.
        if self.math.is_behind() && tag.text[range.clone()].contains('\\') {
            return;
        }
        self.put_space(span, sink);
        let mut at = 0;
        let mut reference: Option<(String, Span)> = None;
        for (c, span) in tag.chars() {
            let is_inside = range.contains(&at);
            at += c.len_utf8();
            if !is_inside {
                continue;
            }
            if let Some((name, first)) = &mut reference {
                if c.is_ascii_alphanumeric() || c == '#' {
                    name.push(c);
                    if name.len() < entity::MAX_CHARS {
                        continue;
                    }
                }
                let (name, first) = (std::mem::take(name), *first);
                reference = None;
                match entity::decode(&name, c == ';') {
                    Some(decoded) => {
                        for c in decoded.chars() {
                            self.emit(c, first.to(span), sink);
                        }
                        if c == ';' {
                            continue;
                        }
                    }
                    None => {
                        self.emit('&', first, sink);
                        for c in name.chars() {
                            self.emit(c, first, sink);
                        }
                        if name.ends_with(c) && name.len() >= entity::MAX_CHARS {
                            continue;
                        }
                    }
                }
            }
            match c {
                '&' => reference = Some((String::new(), span)),
                _ => self.emit(if c == '\n' { ' ' } else { c }, span, sink),
            }
        }
        if let Some((name, first)) = reference {
            self.emit('&', first, sink);
            for c in name.chars() {
                self.emit(c, first, sink);
            }
        }
        self.emit(' ', Span { start: span.end() - 1, units: 1 }, sink);
    }

    /// Begins to drop the content of an element that is not spoken.
    fn silence(&mut self, tag: &Angle, text: &Sourced, span: Span, sink: &mut Sink<'_>) {
        let name = tag.name();
        if name == "head" && (self.is_page || self.began_line()) {
            return self.end_paragraph(span, Ending::Paragraph, sink);
        }
        if name.starts_with("annotation") && !self.math.is_open() {
            if !self.is_page {
                self.emit_all(text, sink);
            }
            return;
        }
        let has_shadow = angle::attribute(&text.text, "shadowrootmode").is_some();
        if tag.is_closing() || tag.is_self_closing() || element::is_void(&name) || has_shadow {
            return;
        }
        if span.start < self.silence_barrier {
            // It has no end.
            return match tag.has_value() {
                true => self.put_space(span, sink),
                false => self.emit_all(text, sink),
            };
        }
        let is_code = silence::is_code(&name);
        // In prose, "the <script> tag" has no end tag.
        let spans_blocks = self.is_page || self.began_line() || tag.has_attributes();
        let is_certain = is_code && (self.is_page || self.began_line() && tag.has_attributes());
        self.begin_silence(Silence::of_element(name, is_certain, spans_blocks), text.clone());
    }
}

/// True for an element that is not for those who listen.
fn is_hidden(tag: &Sourced) -> bool {
    angle::attribute(&tag.text, "aria-hidden").is_some_and(|range| &tag.text[range] == "true")
}
