//! Markup inside of a paragraph, in Markdown or on a page: what each construct leaves of itself.
//!
//! A construct in doubt is held back, in bounded memory. If it turns out to be none, its first character is text,
//! and the others are read again.

use super::address::{self, Address};
use super::angle::Angle;
use super::bracket::Brackets;
use super::destination::{self, Destination};
use super::html::Page;
use super::math::Math;
use super::ornament;
use super::raised::{Part, Raised};
use super::silence::Silence;
use super::writer::{Ending, Writer};
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Longest code span, in characters. The text of a longer one is spoken before its end is seen.
pub(super) const MAX_CODE: usize = 400;
/// Longest tag or comment, in characters. A longer one is dropped if it can hardly be text.
pub(super) const MAX_ANGLE: usize = 4_096;
/// Longest silent text that is held back while it may have no end, in bytes: more than a prompt has by default.
pub(super) const MAX_SILENT: usize = 24_000;
/// Most characters of a run that are kept.
const MAX_RUN: usize = 8;
/// A construct longer than this is not tried again inside of itself, so that time is linear.
pub(super) const LONG: usize = 64;

/// The text of a cleaner, and the writer in front of it.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) out: &'a mut Sourced,
}

/// Reads the characters of paragraphs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Inline {
    /// True for a page, false for Markdown.
    pub(super) is_page: bool,
    pub(super) state: State,
    /// The construct in doubt, from its first character.
    pub(super) held: Sourced,
    pub(super) brackets: Brackets,
    /// The last character of the source, mark or not.
    pub(super) previous: Option<char>,
    /// Set within a code span: the number of its backticks, or 0 if its end is known.
    pub(super) verbatim: Option<usize>,
    /// Use of `|` in this line.
    pub(super) cells: Cells,
    /// True before the first character of a line, and of an item.
    pub(super) is_line_start: bool,
    pub(super) is_item_start: bool,
    /// True in a block of HTML, up to the next blank line.
    pub(super) is_in_html: bool,
    /// True if the line consists of a tag so far.
    pub(super) is_tag_line: bool,
    /// True if the construct in doubt began at the beginning of a line.
    pub(super) began_line: bool,
    /// Positions in the source before which these constructs are not tried again.
    pub(super) angle_barrier: u64,
    pub(super) silence_barrier: u64,
    pub(super) ornament_barrier: u64,
    #[serde(default)]
    pub(super) formula_barrier: u64,
    /// True behind an ornament in this line.
    pub(super) has_ornament: bool,
    /// True in highlighted text: `==so==`.
    pub(super) is_highlighted: bool,
    /// Within a formula of TeX, whose marks are its own: most characters until its end.
    formula: u16,
    pub(super) link_barrier: u64,
    pub(super) code_barriers: Vec<(usize, u64)>,
    /// Lengths of the runs of `*` whose ends have not come.
    pub(super) open_runs: Vec<usize>,
    pub(super) page: Page,
    pub(super) math: Math,
    pub(super) raised: Option<Box<Raised>>,
    /// The words for a checked box.
    pub(super) done: String,
    pub(super) part: Part,
    #[cfg(test)]
    #[serde(skip)]
    pub(super) work: usize,
}

/// Use of `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cells {
    /// The next line decides: it may be the line under a table's head.
    #[default]
    Maybe,
    /// It separates cells.
    Row,
    /// It is text.
    None,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) enum State {
    #[default]
    Text,
    /// A run of marks that may be an ornament.
    Ornament,
    /// A run of `*`, `_` or `~`.
    Run(char),
    /// `*` in a word, and what follows: the length of the run, and of the one that may end it.
    Factor(usize, usize),
    Escape,
    /// After an escaped bracket that may begin a formula.
    Formula,
    /// A `!` that may begin an image.
    Bang,
    /// After a `]` that may end the text of a link.
    Closed,
    /// After `](`.
    Link(Box<Destination>),
    /// The same, and its text was spoken already.
    Dropped(Box<Destination>),
    /// After `][`.
    Label,
    /// Backticks that may begin a code span.
    Ticks,
    /// A code span, with the length of its marks, and the backticks read last.
    Code(usize, usize),
    /// Backticks that may end a long code span.
    ClosingTicks,
    Angle(Box<Angle>),
    Entity,
    Address(Box<Address>),
    Silence(Box<Silence>),
    /// After `【`, which begins the citations of some models.
    Citation,
}

impl Inline {
    /// The construct that is held back, from its first character; empty if there is none.
    pub(super) fn undecided(&self) -> &str {
        match &self.state {
            State::Text | State::Dropped(_) => match &self.raised {
                Some(_) => "^",
                None => self.brackets.undecided(),
            },
            State::Address(address) if address.is_known() => address.tail(),
            State::Address(address) => address.held(),
            State::Link(_) | State::Label => "[",
            _ => &self.held.text,
        }
    }

    pub(super) fn read(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        #[cfg(test)]
        {
            self.work += 1;
        }
        if c == '|'
            && self.cells == Cells::Row
            && matches!(self.state, State::Closed | State::Link(_) | State::Label)
            && !self.held.text.ends_with('\\')
        {
            // Cells come before links.
            self.settle(false, sink);
        }
        match &mut self.state {
            State::Text => self.read_text(c, span, sink),
            State::Ornament => self.read_ornament(c, span, sink),
            State::Run(mark) if c == *mark => {
                if self.held.text.len() < MAX_RUN {
                    self.hold(c, span);
                }
            }
            State::Run(_) => {
                self.end_run(Some(c), sink);
                self.read(c, span, sink);
            }
            State::Factor(..) => self.read_factor(c, span, sink),
            State::Escape => self.end_escape(c, span, sink),
            State::Formula => self.read_formula(c, span, sink),
            State::Bang if c == '[' => {
                let held = self.take_held();
                let bang = held.chars().next().map(|(_, span)| span);
                self.open_bracket(span, bang, sink);
            }
            State::Bang => self.fail_before(c, span, sink),
            State::Closed => self.end_bracket(c, span, sink),
            State::Link(destination) => {
                let step = destination.read(c);
                self.read_link(step, c, span, sink);
            }
            State::Dropped(destination) => match destination.read(c) {
                destination::Step::Done => self.state = State::Text,
                destination::Step::Text if !c.is_ascii() || c.is_whitespace() => {
                    self.state = State::Text;
                    self.read_text(c, span, sink);
                }
                _ => {}
            },
            State::Label => self.read_label(c, span, sink),
            State::Ticks if c == '`' => {
                if self.held.text.len() < MAX_CODE {
                    self.hold(c, span);
                }
            }
            State::Ticks => self.begin_code(c, span, sink),
            State::Code(ticks, closing) => {
                if c == '`' {
                    *closing += 1;
                    self.hold(c, span);
                } else if closing == ticks {
                    self.end_code(sink);
                    self.read(c, span, sink);
                } else {
                    *closing = 0;
                    self.hold(c, span);
                    if self.held.text.len() > MAX_CODE {
                        self.release_code(sink);
                    }
                }
            }
            State::ClosingTicks if c == '`' => self.hold(c, span),
            State::ClosingTicks => {
                self.end_ticks(sink);
                self.read(c, span, sink);
            }
            State::Angle(angle) => {
                let step = angle.read(c);
                self.read_angle(step, c, span, sink);
            }
            State::Entity => self.read_entity(c, span, sink),
            State::Address(address) => match address.read(c, span) {
                address::Step::More => {}
                address::Step::Text => self.fail_before(c, span, sink),
                address::Step::Done => {
                    self.end_address(sink);
                    self.read(c, span, sink);
                }
            },
            State::Silence(_) => self.read_silence(c, span, sink),
            State::Citation if c == '】' && self.held.text.contains('†') => {
                self.take_held();
            }
            State::Citation if matches!(c, '\n' | '【' | '】') || self.held.text.len() > 100 => {
                self.fail_before(c, span, sink);
            }
            State::Citation => self.hold(c, span),
        }
    }

    pub(super) fn read_text(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        self.follow_formula(c);
        if c == '\n' {
            self.is_in_html |= std::mem::take(&mut self.is_tag_line);
            (self.has_ornament, self.is_highlighted) = (false, false);
        }
        // Scripts without spaces begin there.
        let is_word = self.previous.is_some_and(|c| c.is_alphanumeric() && c < '\u{e00}');
        if address::may_begin(c) && !is_word {
            let mut address = Box::<Address>::default();
            address.read(c, span);
            self.state = State::Address(address);
            return;
        }
        if let Some(ticks) = self.verbatim {
            return match c {
                '`' if ticks > 0 => self.open(State::ClosingTicks, c, span),
                _ => self.emit(c, span, sink),
            };
        }
        match c {
            _ if ornament::is_mark(c) && span.start >= self.ornament_barrier => {
                self.open(State::Ornament, c, span);
            }
            '\n' if self.previous == Some('\n') && !self.is_page => {
                // A blank line in what was taken for a comment.
                self.brackets.release(sink);
                self.brackets.clear();
                self.emit(c, span, sink);
            }
            '<' if span.start >= self.angle_barrier => {
                self.began_line = std::mem::take(&mut self.is_line_start);
                let angle = Angle::new(self.is_page, span.start >= self.silence_barrier);
                self.open(State::Angle(Box::new(angle)), c, span);
            }
            '&' => self.open(State::Entity, c, span),
            '[' | ']' if self.formula > 0 || self.is_page && self.raised.is_some() => {
                self.emit(c, span, sink);
            }
            '[' => self.open_bracket(span, None, sink),
            ']' => self.close_bracket(span, sink),
            '【' => self.open(State::Citation, c, span),
            '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}' | '\u{2074}'..='\u{2079}'
                if self
                    .previous
                    .is_some_and(|p| matches!(p, '.' | ',' | ';' | ':' | '!' | '?' | '”' | '"')) => {}
            _ if self.is_page => {
                let is_line = c == '\n' && self.page.preformatted > 0;
                self.emit(if c == '\n' && !is_line { ' ' } else { c }, span, sink);
            }
            '*' | '_' | '~' => self.open(State::Run(c), c, span),
            '`' => self.open(State::Ticks, c, span),
            '\\' => self.open(State::Escape, c, span),
            '!' => self.open(State::Bang, c, span),
            '|' => match self.cells {
                Cells::Row => self.emit_cell(span, sink),
                Cells::Maybe => {
                    self.release_raised(sink);
                    self.brackets.push_pipe(span);
                    self.previous = Some(c);
                }
                Cells::None => self.emit(c, span, sink),
            },
            _ => self.emit(c, span, sink),
        }
    }

    /// Finds where a formula of TeX begins and ends: "$x$", "$$x$$". "$5" is a sum.
    fn follow_formula(&mut self, c: char) {
        const MOST: u16 = 320;
        let is_behind = |mark| self.previous == Some(mark);
        self.formula = match c {
            _ if self.is_page || self.verbatim.is_some() => 0,
            '$' if is_behind('\\') => self.formula,
            // The second one of "$$".
            '$' if is_behind('$') => self.formula,
            '$' if self.formula > 0 => 0,
            '$' => MOST,
            _ if is_behind('$') && self.formula == MOST && (c.is_ascii_digit() || c == ' ') => 0,
            '\n' if is_behind('\n') => 0,
            _ => self.formula.saturating_sub(1),
        };
    }

    // Text out.

    pub(super) fn emit(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let c = self.above(c);
        if self.takes(c, span, sink) {
            self.put(c, span, sink);
        }
    }

    pub(super) fn put(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        if self.raised.is_some() {
            if self.hold_raised(c, span) {
                self.previous = Some(c);
                return;
            }
            self.release_raised(sink);
        }
        let c = self.part_of_fraction(c);
        self.previous = Some(c);
        if !c.is_whitespace() {
            self.is_line_start = false;
            self.is_item_start = false;
            self.is_tag_line = false;
            self.page.is_cell_empty = false;
            if let Some(span) = self.page.break_before.take() {
                self.brackets.release(sink);
                sink.writer.end_block(span, Ending::Paragraph, sink.out);
            }
        }
        self.brackets.put(c, span, sink);
    }

    pub(super) fn emit_all(&mut self, text: &Sourced, sink: &mut Sink<'_>) {
        for (c, span) in text.chars() {
            self.emit(c, span, sink);
        }
    }

    pub(super) fn emit_cell(&mut self, span: Span, sink: &mut Sink<'_>) {
        self.release_raised(sink);
        if !self.is_page {
            self.brackets.release(sink);
            self.brackets.clear();
        }
        self.previous = Some('|');
        self.brackets.put_cell(span, sink);
    }

    /// Writes words for a part of the source.
    pub(super) fn emit_words(&mut self, words: &str, span: Span, sink: &mut Sink<'_>) {
        for c in words.chars() {
            self.emit(c, span, sink);
        }
    }

    // Constructs in doubt.

    pub(super) fn open(&mut self, state: State, c: char, span: Span) {
        self.held.take();
        self.held.push(c, span);
        self.state = state;
    }

    pub(super) fn hold(&mut self, c: char, span: Span) {
        self.held.push(c, span);
    }

    pub(super) fn take_held(&mut self) -> Sourced {
        self.state = State::Text;
        self.held.take()
    }

    /// Makes the construct in doubt text: its first character. The others are read again.
    pub(super) fn fail(&mut self, sink: &mut Sink<'_>) {
        let held = match std::mem::take(&mut self.state) {
            State::Address(address) => address.into_text(),
            _ => self.held.take(),
        };
        self.held.take();
        let mut chars = held.chars();
        if let Some((c, span)) = chars.next() {
            self.emit(c, span, sink);
        }
        for (c, span) in chars {
            self.read(c, span, sink);
        }
    }

    pub(super) fn fail_before(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        self.fail(sink);
        self.read(c, span, sink);
    }

    pub(super) fn reread(&mut self, text: &Sourced, sink: &mut Sink<'_>) {
        for (c, span) in text.chars() {
            self.read(c, span, sink);
        }
    }

    /// End of the construct in doubt, in the source.
    pub(super) fn held_end(&self) -> u64 {
        self.held.source.end()
    }

    // Escapes.

    fn end_escape(&mut self, c: char, span: Span, sink: &mut Sink<'_>) {
        let held = self.take_held();
        if self.formula > 0
            && matches!(
                c,
                '\\' | '[' | ']' | '{' | '}' | '|' | '$' | ',' | ';' | ':' | '!' | '%' | '&' | '_' | '#'
            )
        {
            self.emit_all(&held, sink);
            match c {
                '\\' | '$' => self.emit(c, span, sink),
                _ => self.read(c, span, sink),
            }
            return;
        }
        if self.formula == 0 && self.begin_formula(held.clone(), c, span) {
            return;
        }
        if c.is_ascii_punctuation() {
            return self.emit(c, held.chars().next().map_or(span, |(_, first)| first.to(span)), sink);
        }
        if c != '\n' {
            self.emit_all(&held, sink);
        }
        self.read(c, span, sink);
    }

    // The end of a paragraph, and of the text so far.

    /// Decides on everything in doubt. With `keeps_markup`, what can hardly be text stays in doubt.
    pub(super) fn settle(&mut self, keeps_markup: bool, sink: &mut Sink<'_>) {
        self.decide(keeps_markup, sink);
        self.release_raised(sink);
    }

    pub(super) fn decide(&mut self, keeps_markup: bool, sink: &mut Sink<'_>) {
        loop {
            match &mut self.state {
                State::Text | State::Dropped(_) => return,
                State::Ornament => self.end_ornament(None, sink),
                State::Run(_) => self.end_run(None, sink),
                State::Factor(..) => self.end_factor(sink),
                State::Escape | State::Bang | State::Entity | State::Citation => self.fail(sink),
                State::Formula => self.fail_formula(sink),
                State::Closed => self.end_bracket_as_text(None, sink),
                State::Link(destination) if keeps_markup && destination.is_data() => self.commit_link(sink),
                State::Link(_) => {
                    let end = self.held_end();
                    self.fail_link(end, sink);
                }
                State::Label => {
                    self.state = State::Text;
                    self.fail_label(sink);
                }
                State::Ticks => {
                    let held = self.take_held();
                    self.emit_all(&held, sink);
                }
                State::Code(ticks, closing) if ticks == closing => self.end_code(sink),
                State::Code(ticks, _) => {
                    let ticks = if self.code_barriers.len() < 8 { *ticks } else { 0 };
                    let end = self.held_end();
                    self.code_barriers.retain(|(known, _)| *known != ticks);
                    self.code_barriers.push((ticks, end));
                    let held = self.take_held();
                    let ticks = held.text.len() - held.text.trim_start_matches('`').len();
                    for (n, (c, span)) in held.chars().enumerate() {
                        if n < ticks { self.emit(c, span, sink) } else { self.read(c, span, sink) }
                    }
                }
                State::ClosingTicks => self.end_ticks(sink),
                State::Angle(angle) if keeps_markup && angle.is_surely_tag() => return,
                State::Angle(angle) if angle.end_of_comment().is_some() => {
                    if keeps_markup {
                        return;
                    }
                    self.fail_silence(sink);
                }
                State::Angle(_) => self.fail_angle(sink),
                State::Address(address) => {
                    if !address.is_known() {
                        if keeps_markup && address.is_promising() {
                            return;
                        }
                        self.fail(sink);
                    } else if keeps_markup && (address.tail().is_empty() || !address.is_data()) {
                        let tail = address.take_tail();
                        let words = address.speak().map(|(words, span)| (words.to_owned(), span));
                        if let Some((words, span)) = words {
                            self.emit_words(&words, span, sink);
                        }
                        self.emit_all(&tail, sink);
                        return;
                    } else {
                        self.end_address(sink);
                    }
                }
                State::Silence(silence) if keeps_markup && (silence.is_certain || silence.spans_blocks) => {
                    return;
                }
                State::Silence(silence) if silence.is_certain && !silence.is_text(&self.held.text) => return,
                State::Silence(_) => self.fail_silence(sink),
            }
        }
    }

    /// Decides on a link or a tag that has not ended at a line of marks.
    pub(super) fn interrupt(&mut self, sink: &mut Sink<'_>) {
        if matches!(self.state, State::Closed | State::Link(_) | State::Label | State::Angle(_)) {
            self.settle(false, sink);
        }
    }

    /// Ends the paragraph.
    pub(super) fn end_block(&mut self, sink: &mut Sink<'_>) {
        self.settle(false, sink);
        if matches!(self.state, State::Dropped(_)) {
            self.state = State::Text;
        }
        self.brackets.release(sink);
        self.brackets.clear();
        self.verbatim = None;
        self.end_math();
        self.previous = None;
        self.code_barriers.clear();
        self.open_runs.clear();
    }

    /// Writes the text held back so far. More may follow, unless the text `is_over`.
    pub(super) fn flush(&mut self, is_over: bool, sink: &mut Sink<'_>) {
        self.settle(!is_over, sink);
        self.brackets.release(sink);
    }

    pub(super) fn new(is_page: bool, done: &str) -> Inline {
        Inline { is_page, done: done.to_owned(), ..Inline::default() }
    }

    /// Decides on the `|` of the last line: true if it was the head of a table.
    pub(super) fn end_pipes(&mut self, is_table: bool, sink: &mut Sink<'_>) {
        self.brackets.end_pipes(is_table, sink);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let state = match &self.state {
            State::Address(address) => address.memory_bytes(),
            _ => 0,
        };
        self.held.memory_bytes() + self.brackets.memory_bytes() + self.math.memory_bytes() + state
    }
}
