//! The text that a cleaner writes: white space, paragraphs, cells of tables, emoji, and runs of marks.

use crate::text::is_emoji;
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// The line break behind a heading. Other text has none of it.
pub(in crate::text) const HEADING: char = '\u{2029}';
/// The end of an item of a list, or of a row of a table. It is no line break of its own behind another one.
pub(in crate::text) const ITEM: char = '\u{c}';

/// End of a block of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Item,
    Paragraph,
    Heading,
}

/// Writes decided text: joins white space, and removes emoji and runs of marks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Writer {
    /// The last character written.
    previous: Option<char>,
    /// Its place in the source, unless it is white space.
    last: Span,
    /// White space to write before the next character.
    space: Option<Span>,
    /// Line breaks since the last character, at most two: two make a paragraph.
    breaks: usize,
    /// True if an item ended since then, and if the line break behind it was not written yet.
    is_item: bool,
    is_open_item: bool,
    /// The separator of cells to write before the next character.
    cell: Option<Span>,
    is_after_emoji: bool,
    /// A star that is spoken if another one follows: "★★★☆☆" is a rating, "★" an ornament.
    star: Option<(char, Span)>,
    /// True within a row of stars.
    is_rating: bool,
    /// An emoji between two words that were written together.
    emoji: Option<Span>,
    /// Dots in a row, with or without white space between them.
    dots: usize,
    run: Run,
}

/// Most dots that are written of a dot leader.
const MAX_DOTS: usize = 4;
/// Most characters that are held of a run of marks: a longer one is silent.
const MAX_HELD: usize = 12;

/// Characters to draw boxes and bars with: silent, but cells are between the vertical ones.
const BOX_FIRST: char = '\u{2500}';
const BOX_LAST: char = '\u{259f}';

/// A run of one mark, such as `____` or `- - -`, held back until its end is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Run {
    /// The marks, and the white space between them; not more than needed to know that it is silent.
    held: Vec<(char, Span)>,
    mark: char,
    marks: usize,
    /// Marks without white space between them: of the last group, and of the longest one.
    group: usize,
    longest: usize,
    groups: usize,
    /// True if white space came before it.
    is_apart: bool,
    /// True if it began a line.
    begins_line: bool,
}

/// Place of the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Within a line.
    Line,
    LineEnd,
    /// The end of a heading. The marks that close it are silent.
    Heading,
}

/// Number of marks in a row that are no text any more: a line to write on, a rule, an ornament.
fn fewest(mark: char) -> usize {
    match mark {
        '_' | '*' | '~' | '|' | '+' | ':' => 3,
        '-' | '=' | '#' | '/' | '\\' | '<' | '>' | '^' | '&' | '%' | '$' | '@' => 4,
        '•' | '·' | '—' | '–' | '―' | '‾' | '¯' | '¨' | '×' | '※' | '§' | '†' => 3,
        '\u{25a0}'..='\u{25ff}' | '\u{2012}' | '\u{23af}' | '\u{2e3a}' | '\u{2e3b}' => 2,
        _ => usize::MAX,
    }
}

/// True for a sign among the emoji that stands for a word: marks of checked boxes, sharps and flats, figures in
/// circles, arrows.
fn is_sign(c: char) -> bool {
    matches!(c, '\u{2610}'..='\u{2612}' | '\u{266d}'..='\u{266f}' | '\u{2713}' | '\u{2714}' | '\u{2717}' | '\u{2718}'
        | '\u{2776}'..='\u{2794}' | '\u{2798}'..='\u{27af}' | '\u{27b1}'..='\u{27be}')
}

impl Writer {
    pub(super) fn put(&mut self, c: char, span: Span, out: &mut Sourced) {
        if matches!(c, BOX_FIRST..=BOX_LAST) {
            self.end_run(Place::Line, out);
            return match c {
                '│' | '┃' | '┆' | '┇' | '┊' | '┋' | '╎' | '╏' | '║' if !self.is_line_start() =>
                {
                    self.begin_cell(span, out);
                }
                _ => self.write(' ', span, out),
            };
        }
        if self.run.marks > 0 {
            if c == self.run.mark {
                return self.hold(c, span);
            }
            if c.is_whitespace() && c != '\n' {
                let held = &mut self.run.held;
                if held.last().is_some_and(|(c, _)| *c != ' ') {
                    if held.len() > MAX_HELD {
                        held.pop();
                    }
                    held.push((' ', span));
                }
                return;
            }
            self.end_run(Place::Line, out);
        }
        if fewest(c) < usize::MAX && !is_emoji(c) {
            let begins_line = self.is_line_start();
            let is_apart = self.space.is_some() || begins_line;
            self.run = Run { mark: c, is_apart, begins_line, ..Run::default() };
            return self.hold(c, span);
        }
        self.write(c, span, out);
    }

    fn hold(&mut self, c: char, span: Span) {
        let run = &mut self.run;
        let is_apart = run.held.last().is_none_or(|(c, _)| *c == ' ');
        run.groups += usize::from(is_apart && run.groups < MAX_HELD);
        run.group = if is_apart { 1 } else { run.group + 1 };
        run.longest = run.longest.max(run.group);
        run.marks += 1;
        // What is longer is silent, so that only its beginning and its last character matter.
        if run.held.len() > MAX_HELD {
            run.held.pop();
        }
        run.held.push((c, span));
    }

    /// Ends a run of marks: it is written, unless it is silent.
    fn end_run(&mut self, place: Place, out: &mut Sourced) {
        let run = std::mem::take(&mut self.run);
        if run.marks == 0 {
            return;
        }
        let closes_heading = place == Place::Heading && run.mark == '#' && run.is_apart;
        // A line of marks is no text.
        let is_line = place != Place::Line && run.begins_line && run.marks > 1;
        let is_silent = run.longest >= fewest(run.mark) || run.groups >= 3 || closes_heading || is_line;
        for (n, (c, span)) in run.held.into_iter().enumerate() {
            match is_silent {
                false => self.write(c, span, out),
                // Words beside a line are apart.
                true if n == 0 || c == ' ' => self.write(' ', span, out),
                true => {}
            }
        }
    }

    fn is_line_start(&self) -> bool {
        self.previous.is_none_or(|c| c == '\n')
    }

    fn write(&mut self, c: char, span: Span, out: &mut Sourced) {
        if matches!(c, '★' | '☆') && !self.is_rating {
            let Some((first, first_span)) = self.star.take() else {
                self.star = Some((c, span));
                return;
            };
            self.is_rating = true;
            self.write(first, first_span, out);
            return self.write(c, span, out);
        }
        self.drop_star();
        self.is_rating &= matches!(c, '★' | '☆');
        // Joiners have a meaning in other scripts, so they are removed only after an emoji.
        let emoji = is_emoji(c) && !is_sign(c) && !self.is_rating && (c != '\u{200d}' || self.is_after_emoji);
        if c.is_whitespace() {
            self.space.get_or_insert(span);
            self.is_after_emoji = false;
            return;
        }
        self.is_after_emoji = emoji;
        if emoji {
            self.emoji = Some(span);
            return;
        }
        if let Some(emoji) = self.emoji.take()
            && c.is_alphanumeric()
            && self.previous.is_some_and(char::is_alphanumeric)
        {
            self.space.get_or_insert(emoji);
        }
        if let Some(cell) = self.cell.take() {
            self.space = None;
            if self.previous.is_some_and(|p| !p.is_whitespace()) {
                // The comma is no part of the source: the word before it has its place.
                out.push(',', self.last);
                out.push(' ', cell);
            }
        }
        self.write_space(out);
        self.dots = if matches!(c, '.' | '…') { self.dots + 1 } else { 0 };
        if self.dots <= MAX_DOTS {
            out.push(c, span);
        }
        (self.previous, self.last) = (Some(c), span);
        self.breaks = 0;
        (self.is_item, self.is_open_item) = (false, false);
    }

    /// Takes a star alone for an emoji.
    fn drop_star(&mut self) {
        if let Some((_, span)) = self.star.take() {
            self.is_after_emoji = true;
            self.emoji = Some(span);
        }
    }

    /// The next character begins a cell of a table.
    pub(super) fn begin_cell(&mut self, span: Span, out: &mut Sourced) {
        self.end_run(Place::Line, out);
        self.drop_star();
        self.is_rating = false;
        self.cell = Some(span);
        self.space = None;
    }

    pub(super) fn end_line(&mut self, span: Span, out: &mut Sourced) {
        self.end_run(Place::LineEnd, out);
        if !std::mem::take(&mut self.is_open_item) {
            self.break_line('\n', span, out);
        }
    }

    /// Ends the line, and the block with it.
    pub(super) fn end_block(&mut self, span: Span, ending: Ending, out: &mut Sourced) {
        let is_heading = ending == Ending::Heading;
        self.end_run(if is_heading { Place::Heading } else { Place::LineEnd }, out);
        if ending == Ending::Item {
            let breaks = self.breaks;
            if !std::mem::replace(&mut self.is_item, true) {
                self.break_line(ITEM, span, out);
                self.is_open_item = breaks == 0;
                self.breaks = breaks.max(1);
            }
            return;
        }
        self.break_line(if is_heading { HEADING } else { '\n' }, span, out);
        self.break_line('\n', span, out);
    }

    /// Ends the heading at the end of the text.
    pub(super) fn close_heading(&mut self, out: &mut Sourced) {
        self.end_run(Place::Heading, out);
        self.space = None;
    }

    fn break_line(&mut self, c: char, span: Span, out: &mut Sourced) {
        self.drop_star();
        self.is_rating = false;
        self.space = None;
        self.cell = None;
        self.is_after_emoji = false;
        self.dots = 0;
        if self.previous.is_some() && self.breaks < 2 {
            self.breaks += 1;
            self.previous = Some('\n');
            out.push(c, span);
        }
    }

    /// True if white space is held back.
    pub(super) fn has_space(&self) -> bool {
        self.space.is_some()
    }

    /// A mark for the run that is held back; empty if it can close an emphasis.
    pub(super) fn undecided(&self) -> &'static str {
        match self.run.mark {
            _ if self.run.marks == 0 => "",
            '*' | '_' | '~' => "",
            _ => "-",
        }
    }

    /// Writes everything that was held back.
    pub(super) fn flush(&mut self, is_over: bool, out: &mut Sourced) {
        self.end_run(if is_over { Place::LineEnd } else { Place::Line }, out);
        self.write_space(out);
    }

    fn write_space(&mut self, out: &mut Sourced) {
        if let Some(space) = self.space.take()
            && self.previous.is_some_and(|p| !p.is_whitespace())
        {
            out.push(' ', space);
            self.previous = Some(' ');
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.run.held.capacity() * size_of::<(char, Span)>()
    }
}
