//! The lines of Markdown: quotations, lists, headings, code, tables, rules, and definitions.
//!
//! The rules are those of CommonMark and of GitHub's tables and notes. Code blocks are silent, apart from
//! indented ones, which people rarely mean, and from prose in a block without an end. In doubt, text is spoken.

use super::cue;
use super::destination::{Destination, Step};
use super::fenced::Fenced;
use super::inline::{Cells, Inline, Sink};
use super::prefix::{Container, Cursor, Fence, Line, MAX_CONTAINERS, is_mark};
use super::writer::Ending;
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Longest beginning of a line that is held back, in characters.
const MAX_PREFIX: usize = 2_000;
/// Longest label of a definition, or language of a code block, in characters.
const MAX_LABEL: usize = 300;

/// Reads the lines of Markdown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Markdown {
    stage: Stage,
    /// The undecided beginning of the line.
    held: Sourced,
    containers: Vec<Container>,
    /// Number of containers that the line continues.
    entered: usize,
    fence: Option<Fence>,
    /// Lines of that fence, unless they are spoken.
    fenced: Option<Box<Fenced>>,
    /// True if the next line may continue a paragraph.
    is_paragraph: bool,
    is_table: bool,
    /// True if the line, or the one before, began with `|`.
    is_row: bool,
    /// True after a definition, whose title may follow.
    is_defined: bool,
    /// A definition that may go on in the next line.
    pending: Option<Box<Pending>>,
    /// True if the last line was text of a note, which the next line may continue.
    is_note_text: bool,
    /// True if this line is such a line.
    is_lazy_note: bool,
    /// True if this line has text that is not spoken; false if that may be a block.
    dropped: Option<bool>,
    /// The number of an item, which is spoken if text follows.
    number: Sourced,
    line: Line,
    /// The last character read.
    last: Span,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
enum Stage {
    /// Marks and white space so far.
    #[default]
    Beginning,
    Text,
    /// A line that is not spoken.
    Dropped,
    /// The language of fenced code, unless a backtick follows.
    Info,
    /// A line of fenced code.
    Code,
    /// The label of a definition.
    Label,
    Definition(Box<Destination>),
    /// The title of a definition, with the mark that ends it.
    Title(char),
    /// A number alone, which is the one of a cue if a time follows.
    Cue,
}

/// The lines of a definition so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    held: Sourced,
    stage: Stage,
}

impl Markdown {
    /// The beginning of a line that is held back, if there is one.
    pub(super) fn held_beginning(&self) -> Option<&str> {
        if let Some(pending) = &self.pending {
            return Some(&pending.held.text);
        }
        let is_held = matches!(self.stage, Stage::Beginning) && !self.held.text.is_empty();
        is_held.then_some(self.held.text.as_str())
    }

    pub(super) fn read(&mut self, c: char, span: Span, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.last = span;
        if matches!(self.stage, Stage::Text) && inline.is_opaque(self.containers.is_empty()) {
            return inline.read(c, span, sink);
        }
        let is_end = c == '\n';
        match &mut self.stage {
            Stage::Beginning => {
                if is_end {
                    self.begin_line(true, inline, sink);
                    self.end_line(c, span, inline, sink);
                } else {
                    let is_time = c == ',' && cue::may_be_time(&self.held.text);
                    self.held.push(c, span);
                    if !is_mark(c) && !is_time || self.held.text.len() > MAX_PREFIX {
                        self.begin_line(false, inline, sink);
                    }
                }
            }
            _ if is_end => self.end_line(c, span, inline, sink),
            Stage::Text => inline.read(c, span, sink),
            Stage::Dropped => {
                if !c.is_whitespace() {
                    self.dropped.get_or_insert(!is_mark(c) && c != '<');
                }
            }
            Stage::Code => {
                if self.fenced.as_mut().is_some_and(|fenced| fenced.read(c, span)) {
                    self.doubt_fence(inline, sink);
                }
            }
            Stage::Info => {
                self.held.push(c, span);
                if c == '`' || self.held.text.len() > MAX_LABEL {
                    (self.fence, self.fenced) = (None, None);
                    self.speak_held(inline, sink);
                }
            }
            Stage::Label => {
                let has_end = self.held.text.ends_with(']') && !self.held.text.ends_with("\\]");
                self.held.push(c, span);
                let text = self.held.text.as_str();
                if has_end && c == ':' && text.starts_with("[^") && text.len() > 4 && !text.contains(' ') {
                    self.begin_note(inline, sink);
                } else if has_end && c == ':' && self.may_define() && text.len() > 3 {
                    self.stage = Stage::Definition(Box::new(Destination::of_definition()));
                } else if has_end || c == '[' || text.len() > MAX_LABEL {
                    self.speak_held(inline, sink);
                }
            }
            Stage::Definition(destination) => match destination.read(c) {
                Step::More => self.held.push(c, span),
                Step::Skip => {}
                Step::Done | Step::Text => {
                    self.held.push(c, span);
                    self.speak_held(inline, sink);
                }
            },
            Stage::Title(_) | Stage::Cue => {
                self.held.push(c, span);
                if self.held.text.len() > MAX_PREFIX {
                    self.speak_held(inline, sink);
                }
            }
        }
    }

    /// True if an open fence contains prose, and ends with a sentence.
    pub(super) fn holds_sentence(&self) -> bool {
        self.fenced.as_ref().is_some_and(|fenced| fenced.has_sentence())
    }

    /// Speaks the prose in an open fence, up to the last line if the fence `is_over`.
    fn speak_fenced(&mut self, is_over: bool, inline: &mut Inline, sink: &mut Sink<'_>) {
        let Some(mut fenced) = self.fenced.take() else { return };
        let text = fenced.take(is_over);
        if !text.text.is_empty() {
            let (last, end) = (self.last, Span { start: text.source.end().saturating_sub(1), units: 1 });
            let stage = std::mem::take(&mut self.stage);
            let (held, fence) = (self.held.take(), self.fence.take());
            let containers = self.containers.clone();
            for (c, span) in text.chars() {
                self.read(c, span, inline, sink);
            }
            self.decide_line(true, inline, sink);
            self.end_paragraph(inline, sink);
            sink.writer.end_block(end, Ending::Paragraph, sink.out);
            (self.stage, self.held, self.fence, self.containers, self.last) =
                (stage, held, fence, containers, last);
        }
        self.fenced = Some(fenced);
    }

    /// Ends a fence that has no end of its own.
    fn leave_fence(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.fence = None;
        self.speak_fenced(true, inline, sink);
        self.fenced = None;
    }

    /// Speaks what an open fence holds, and what follows: it is prose.
    fn doubt_fence(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        let is_line = matches!(self.stage, Stage::Code);
        self.speak_fenced(true, inline, sink);
        self.fenced = None;
        self.fence = self.fence.map(|fence| Fence { is_doubtful: true, ..fence });
        if is_line {
            self.line = Line::Text;
            self.begin_text(inline, sink);
        }
    }

    /// Speaks the held beginning of a line, which is no definition and no fence.
    fn speak_held(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        let held = self.held.take();
        if self.is_lazy_note {
            self.stage = Stage::Dropped;
            self.dropped = Some(true);
            return;
        }
        self.begin_text(inline, sink);
        for (c, span) in held.chars() {
            inline.read(c, span, sink);
        }
    }

    /// True if a line may begin a definition.
    fn may_define(&self) -> bool {
        !self.is_paragraph && !self.is_table && !self.is_lazy_note
    }

    /// Waits for the next line of a definition.
    fn suspend(&mut self, stage: Stage, c: char, span: Span) {
        self.held.push(c, span);
        self.pending = Some(Box::new(Pending { held: self.held.take(), stage }));
    }

    /// Speaks the lines of what is no definition.
    fn speak_pending(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        let Some(pending) = self.pending.take() else { return };
        self.line = Line::Text;
        inline.cells = Cells::Maybe;
        self.begin_text(inline, sink);
        for (c, span) in pending.held.chars() {
            inline.read(c, span, sink);
        }
        self.stage = Stage::Beginning;
    }

    fn begin_text(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.stage = Stage::Text;
        self.is_defined = false;
        inline.end_pipes(false, sink);
        if !self.is_paragraph {
            inline.previous = None;
        }
        self.is_paragraph = matches!(self.line, Line::Text | Line::Row);
        let number = self.number.take();
        if !number.text.is_empty() {
            let is_item_start = inline.is_item_start;
            inline.emit_all(&number, sink);
            (inline.previous, inline.is_item_start) = (None, is_item_start);
        }
        inline.is_line_start = self.line != Line::Code;
    }

    /// The definition of a note: its text is not spoken.
    fn begin_note(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.held.take();
        self.end_paragraph(inline, sink);
        // It interrupts a paragraph: the containers that the line does not continue end here.
        self.containers.truncate(self.entered);
        self.is_lazy_note = false;
        if self.containers.len() < MAX_CONTAINERS {
            self.containers.push(Container::Note);
        }
        self.stage = Stage::Dropped;
        self.dropped = None;
    }

    /// Decides the kind of the line once its beginning shows it. It is complete at the end of the line or the
    /// text.
    fn begin_line(&mut self, is_complete: bool, inline: &mut Inline, sink: &mut Sink<'_>) {
        let held = self.held.take();
        let chars: Vec<_> = held.chars().collect();
        let mut cursor = Cursor::new(&chars);
        inline.is_item_start = false;
        (self.dropped, self.is_lazy_note) = (None, false);
        let was_note_text = std::mem::take(&mut self.is_note_text);
        let was_row = std::mem::take(&mut self.is_row);
        let mut entered = cursor.enter(&self.containers);
        self.line = Line::Text;
        if self.fence.is_none() && held.text.contains("-->") && cue::is_time(&cursor.trimmed().text().text) {
            self.pending.take_if(|pending| matches!(pending.stage, Stage::Cue));
            if self.pending.is_none() && !self.is_paragraph {
                self.entered = entered;
                self.stage = Stage::Dropped;
                self.dropped = Some(true);
                return;
            }
        }
        if self.pending.is_some() {
            let goes_on = entered == self.containers.len() && !is_complete && cursor.trimmed().is_plain();
            if let Some(pending) = self.pending.take_if(|_| goes_on) {
                (self.held, self.stage) = (pending.held, pending.stage);
                for (c, span) in cursor.trimmed().rest() {
                    self.read(*c, *span, inline, sink);
                }
                return;
            }
            self.speak_pending(inline, sink);
        }
        if cursor.is_blank() && is_complete {
            return self.skip_blank_line(entered, inline, sink);
        }
        let mut continues = entered == self.containers.len();
        let mut was_fenced = false;
        if let Some(fence) = self.fence {
            if continues && self.read_fenced(fence, cursor, is_complete) {
                return;
            }
            was_fenced = !continues && !fence.is_doubtful;
            if !continues || self.fence.is_none() {
                self.leave_fence(inline, sink);
                self.line = Line::Text;
            }
        }
        if self.containers[..entered].contains(&Container::Note) {
            self.stage = Stage::Dropped;
            self.dropped = Some(!is_complete && cursor.trimmed().is_plain());
            return;
        }
        self.entered = entered;
        self.is_lazy_note = was_note_text && !is_complete && cursor.trimmed().is_plain();
        if self.is_lazy_note {
            if cursor.trimmed().peek() == Some('[') {
                self.held = cursor.trimmed().text();
                self.stage = Stage::Label;
            } else {
                self.stage = Stage::Dropped;
                self.dropped = Some(true);
            }
            return;
        }
        while entered < MAX_CONTAINERS {
            let indent = cursor.indent();
            if indent >= 4 {
                break; // a paragraph goes on, or indented code, which is spoken
            }
            let block = cursor.trimmed();
            let Some(first) = block.peek() else { break };
            let marker = block.marker().filter(|marker| {
                let interrupts = self.is_paragraph && continues;
                !interrupts || block.may_interrupt(*marker)
            });
            if first == '>' {
                let interrupts = self.is_paragraph;
                self.close(&mut entered, inline, sink);
                if interrupts {
                    self.end_with(Ending::Item, sink);
                }
                cursor.skip_quote();
                inline.is_item_start = false;
                self.open(Container::Quote, &mut entered);
            } else if let Some(length) = block.fence() {
                self.close(&mut entered, inline, sink);
                self.is_defined = false;
                self.number.take();
                let is_bare = block.rest().iter().skip(length).all(|(c, _)| c.is_whitespace());
                let is_doubtful = was_fenced && is_complete && is_bare || inline.is_in_html;
                self.fence = Some(Fence { mark: first, length, is_doubtful });
                self.fenced = (!is_doubtful).then(Box::default);
                if let Some(fenced) = self.fenced.as_mut().filter(|_| is_complete) {
                    fenced.name("");
                }
                self.line = Line::Text;
                self.stage = match first {
                    '`' if !is_complete => Stage::Info,
                    _ => Stage::Dropped,
                };
                let info = block.text();
                if first == '`' && info.text[length..].contains('`') {
                    (self.fence, self.fenced) = (None, None);
                    self.held = info;
                    self.speak_held(inline, sink);
                } else if matches!(self.stage, Stage::Info) {
                    self.held = info;
                }
                return;
            } else if let Some(level) = block.heading(is_complete) {
                self.close(&mut entered, inline, sink);
                self.line = Line::Heading;
                cursor.skip_indent();
                cursor.skip(level);
                cursor.skip_indent();
                self.end_with(Ending::Paragraph, sink);
                break;
            } else if is_complete && self.is_paragraph && continues && block.is_underline() {
                return self.end_heading(inline, sink);
            } else if is_complete && block.is_rule() && first == '=' {
                return self.skip_marks(entered, inline, sink);
            } else if is_complete && block.is_rule() {
                self.close(&mut entered, inline, sink);
                self.end_with(Ending::Paragraph, sink);
                self.stage = Stage::Dropped;
                return;
            } else if is_complete && block.is_delimiter_row() {
                self.stage = Stage::Dropped;
                if was_row || self.is_table || inline.brackets.has_pipes() {
                    inline.end_pipes(true, sink);
                    self.end_paragraph(inline, sink);
                    self.is_table = true;
                    self.end_with(Ending::Item, sink);
                } else {
                    self.skip_marks(entered, inline, sink);
                }
                self.is_paragraph = true;
                return;
            } else if let Some(marker) = marker {
                self.close(&mut entered, inline, sink);
                if marker > 1 {
                    self.number.take();
                    for (c, span) in block.rest().iter().take(marker) {
                        self.number.push(*c, *span);
                    }
                    let space = block.rest().get(marker).map_or(self.last, |(_, span)| *span);
                    self.number.push(' ', space);
                } else {
                    self.end_with(Ending::Item, sink);
                }
                let item = cursor.skip_marker(marker);
                self.open(item, &mut entered);
                inline.is_item_start = true;
                if cursor.is_blank() && is_complete {
                    self.stage = Stage::Dropped;
                    if marker > 1 {
                        self.begin_text(inline, sink);
                    }
                    return;
                }
            } else {
                break;
            }
            // Marks that follow begin a block in a new container.
            continues = true;
            was_fenced = false;
        }
        self.begin_block(cursor, entered, is_complete, inline, sink);
    }

    /// Begins a line of text.
    fn begin_block(
        &mut self,
        mut cursor: Cursor<'_>,
        mut entered: usize,
        is_complete: bool,
        inline: &mut Inline,
        sink: &mut Sink<'_>,
    ) {
        self.entered = entered;
        entered = self.close_lazily(entered, inline, sink);
        if let Some(Container::Item { is_empty, .. }) = self.containers[..entered].last_mut() {
            *is_empty = false;
        }
        let is_code = cursor.indent() >= 4;
        if is_code && !self.is_paragraph && self.line == Line::Text {
            self.line = Line::Code;
        }
        if cursor.peek() == Some('<') && inline.is_in_angle() {
            // A tag may begin a block, which ends the paragraph.
            inline.end_block(sink);
        }
        cursor.skip_indent();
        self.is_row = cursor.peek() == Some('|') && !is_code;
        let is_table = self.is_table;
        if self.line == Line::Text && (self.is_row || is_table) {
            self.line = Line::Row;
            self.end_paragraph(inline, sink);
            self.end_with(Ending::Item, sink);
            self.is_table = is_table;
        }
        inline.cells = match self.line {
            Line::Row => Cells::Row,
            Line::Text => Cells::Maybe,
            Line::Heading | Line::Code => Cells::None,
        };
        let held = cursor.text();
        let first = cursor.peek();
        if self.line == Line::Text
            && self.may_define()
            && is_complete
            && entered == 0
            && cue::is_number(&held.text)
        {
            self.held = held;
            self.stage = Stage::Cue;
            return;
        }
        if first == Some('[') && !is_code && self.line != Line::Heading {
            self.held = held;
            self.stage = Stage::Label;
            return;
        }
        if let Some(mark @ ('"' | '\'' | '(')) = first.filter(|_| self.is_defined) {
            self.held = held;
            self.stage = Stage::Title(if mark == '(' { ')' } else { mark });
            return;
        }
        self.begin_text(inline, sink);
        for (c, span) in held.chars() {
            inline.read(c, span, sink);
        }
    }

    /// Reads the beginning of a line of fenced code. Returns false if the line is spoken.
    fn read_fenced(&mut self, fence: Fence, cursor: Cursor<'_>, is_complete: bool) -> bool {
        let block = cursor.trimmed();
        let run = block.run(fence.mark);
        let is_bare = is_complete && block.rest().iter().skip(run).all(|(c, _)| c.is_whitespace());
        self.stage = Stage::Dropped;
        if cursor.indent() <= 3 && run >= fence.length && is_bare {
            (self.fence, self.fenced) = (None, None);
            return true;
        }
        if fence.is_doubtful && run >= 3 {
            // It opens code: the fence before it closed what its container had closed.
            self.fence = Some(Fence { is_doubtful: false, ..fence });
            self.fenced = Some(Box::default());
            return true;
        }
        let Some(fenced) = &mut self.fenced else { return false };
        if run >= fence.length && !is_complete {
            // A language: the fence before has no end, or is around this one.
            self.fence = None;
            return false;
        }
        let (chars, prefix) = cursor.whole();
        fenced.begin_line(chars, prefix);
        self.stage = Stage::Code;
        true
    }

    fn skip_blank_line(&mut self, entered: usize, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.stage = Stage::Dropped;
        self.is_defined = false;
        inline.is_in_html = false;
        let quote = self.containers[entered..].iter().position(|container| *container == Container::Quote);
        if let Some(quote) = quote {
            self.leave_fence(inline, sink);
            self.containers.truncate(entered + quote);
        }
        if self.fenced.is_some() {
            self.stage = Stage::Code;
            return;
        }
        let is_text = self.containers.is_empty();
        if let Some(Container::Item { is_empty: true, .. }) = self.containers.last() {
            self.containers.pop();
        }
        self.end_paragraph(inline, sink);
        if !is_text {
            // A short line here is no heading.
            self.end_with(Ending::Item, sink);
        }
    }

    /// A line of a paragraph that consists of marks.
    fn skip_marks(&mut self, entered: usize, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.close_lazily(entered, inline, sink);
        inline.interrupt(sink);
        self.is_paragraph = true;
        self.stage = Stage::Dropped;
    }

    /// Closes the containers that the line does not continue, unless it continues their paragraph. Returns the
    /// number of those that are left.
    fn close_lazily(&mut self, mut entered: usize, inline: &mut Inline, sink: &mut Sink<'_>) -> usize {
        if entered < self.containers.len() && (!self.is_paragraph || inline.is_in_html) {
            inline.is_in_html = false;
            self.close(&mut entered, inline, sink);
        }
        self.containers.len()
    }

    /// Closes the containers that the line does not continue, and the paragraph.
    fn close(&mut self, entered: &mut usize, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.containers.truncate(*entered);
        self.end_paragraph(inline, sink);
    }

    fn open(&mut self, container: Container, entered: &mut usize) {
        self.is_defined = false;
        if let Some(Container::Item { is_empty, .. }) = self.containers.last_mut() {
            *is_empty = false;
        }
        if self.containers.len() < MAX_CONTAINERS {
            self.containers.push(container);
            *entered = self.containers.len();
        }
    }

    fn end_paragraph(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        inline.end_pipes(false, sink);
        inline.end_block(sink);
        self.is_paragraph = false;
        self.is_table = false;
    }

    fn end_with(&mut self, ending: Ending, sink: &mut Sink<'_>) {
        self.is_defined = false;
        sink.writer.end_block(self.last, ending, sink.out);
    }

    /// The line before was a heading.
    fn end_heading(&mut self, inline: &mut Inline, sink: &mut Sink<'_>) {
        self.end_paragraph(inline, sink);
        self.end_with(Ending::Heading, sink);
        self.stage = Stage::Dropped;
    }

    fn end_line(&mut self, c: char, span: Span, inline: &mut Inline, sink: &mut Sink<'_>) {
        match std::mem::take(&mut self.stage) {
            Stage::Definition(mut destination) => match destination.read('\n') {
                Step::Done if destination.is_plausible() => {
                    self.held.take();
                    self.is_defined = true;
                    return;
                }
                Step::More => return self.suspend(Stage::Definition(destination), c, span),
                _ => self.speak_held(inline, sink),
            },
            Stage::Cue => return self.suspend(Stage::Cue, c, span),
            Stage::Label if self.may_define() && !self.held.text.starts_with("[^") => {
                return self.suspend(Stage::Label, c, span);
            }
            Stage::Label => self.speak_held(inline, sink),
            Stage::Title(mark) => {
                let text = self.held.text.trim_end();
                if text.len() > 1 && text.ends_with(mark) {
                    self.held.take();
                    self.is_defined = false;
                    return;
                }
                return self.suspend(Stage::Title(mark), c, span);
            }
            Stage::Info => {
                let info = self.held.take();
                if let Some(fenced) = &mut self.fenced {
                    fenced.name(&info.text);
                }
                self.stage = Stage::Dropped;
            }
            Stage::Code => {
                self.stage = Stage::Dropped;
                if self.fenced.as_mut().is_some_and(|fenced| fenced.end_line(c, span)) {
                    self.doubt_fence(inline, sink);
                }
            }
            stage => self.stage = stage,
        }
        let stage = std::mem::take(&mut self.stage);
        self.held.take();
        self.is_note_text = self.dropped == Some(true) && self.containers.contains(&Container::Note);
        match (stage, self.line) {
            (Stage::Text, Line::Text) => inline.read(c, span, sink),
            (Stage::Text, Line::Code) => {
                inline.read(c, span, sink);
                inline.end_block(sink);
            }
            (Stage::Text, line) => {
                inline.end_block(sink);
                if line == Line::Row {
                    sink.writer.end_line(span, sink.out);
                }
                let ending = if line == Line::Row { Ending::Item } else { Ending::Heading };
                sink.writer.end_block(span, ending, sink.out);
            }
            // The line under a table's head.
            _ if self.is_table => {}
            _ => sink.writer.end_line(span, sink.out),
        }
    }

    /// Speaks what is held back at the end of the text so far: the prose in an open fence, and the beginning of a
    /// line.
    pub(super) fn flush(&mut self, is_over: bool, inline: &mut Inline, sink: &mut Sink<'_>) {
        if is_over || !self.begins_fence() {
            self.decide_line(is_over, inline, sink);
        }
        self.speak_fenced(is_over, inline, sink);
    }

    /// True if the line so far is the beginning of the marks that open or close a fence. They are silent in any case,
    /// and those that follow decide.
    fn begins_fence(&self) -> bool {
        let (mark, length) = self.fence.map_or(('`', 3), |fence| (fence.mark, fence.length));
        let marks = |mark: char| self.held.text.len() - self.held.text.trim_end_matches(mark).len();
        let count = if self.fence.is_none() { marks(mark).max(marks('~')) } else { marks(mark) };
        matches!(self.stage, Stage::Beginning) && (1..length).contains(&count)
    }

    /// Decides on the beginning of a line.
    fn decide_line(&mut self, is_over: bool, inline: &mut Inline, sink: &mut Sink<'_>) {
        if self.pending.is_some() && self.held.text.trim().is_empty() {
            self.speak_pending(inline, sink);
        }
        match &self.stage {
            Stage::Beginning if !self.held.text.trim().is_empty() => {
                self.begin_line(true, inline, sink);
                if matches!(self.stage, Stage::Cue) {
                    return self.speak_held(inline, sink);
                }
                let is_in_note = self.containers.contains(&Container::Note);
                if matches!(self.stage, Stage::Dropped) && self.fence.is_none() && !is_in_note {
                    // The line goes on.
                    self.stage = Stage::Beginning;
                }
            }
            Stage::Definition(destination) => {
                let mut destination = destination.clone();
                if destination.read('\n') == Step::Done && destination.is_plausible() {
                    self.held.take();
                    self.stage = Stage::Dropped;
                } else {
                    self.speak_held(inline, sink);
                }
            }
            Stage::Label | Stage::Title(_) | Stage::Cue => self.speak_held(inline, sink),
            Stage::Text if is_over && self.line == Line::Heading => {
                inline.end_block(sink);
                sink.writer.close_heading(sink.out);
            }
            _ => {}
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.held.memory_bytes()
            + self.containers.capacity() * size_of::<Container>()
            + self.number.memory_bytes()
            + self.pending.as_ref().map_or(0, |pending| pending.held.memory_bytes())
            + self.fenced.as_ref().map_or(0, |fenced| fenced.memory_bytes())
    }
}
