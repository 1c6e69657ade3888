//! The text that a cleaner writes: white space, paragraphs, cells of tables, emoji, and runs of marks.

use crate::text::sourced::{Sourced, Span};
use crate::text::{is_emoji, is_lone_mark};
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
    /// True after a joiner: the next character is a part of the emoji.
    is_after_joiner: bool,
    /// An emoji that is text if the next character shows it: "★★★☆☆" is a rating and "♥A9" are cards, but "★" and "♥"
    /// are ornaments.
    held: Option<(char, Span)>,
    /// True within a row of stars.
    is_rating: bool,
    /// The character before the last one.
    before_previous: Option<char>,
    /// True after a figure with decimals.
    has_decimals: bool,
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

fn is_star(c: char) -> bool {
    matches!(c, '★' | '☆' | '⭐')
}

fn is_heart(c: char) -> bool {
    matches!(c, '♥' | '♡' | '❤')
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
        // The presentation of the character before.
        if matches!(c, '\u{fe0e}' | '\u{fe0f}') {
            return;
        }
        self.end_held(c, out);
        self.is_rating &= is_star(c);
        let is_sign = self.is_rating || self.is_in_place(c);
        if !is_sign && !self.is_after_joiner && (is_star(c) || is_heart(c) || is_lone_mark(c)) {
            self.held = Some((c, span));
            return;
        }
        self.put_decided(c, span, is_sign, out);
    }

    /// True for an emoji whose place shows that it is text: "4.5★", "K♥", "I ♥ tea".
    fn is_in_place(&self, c: char) -> bool {
        let Some(previous) = self.previous.filter(|_| self.cell.is_none() && self.emoji.is_none()) else {
            return false;
        };
        let is_apart = self.space.is_some();
        let begins_word = !self.before_previous.is_some_and(char::is_alphanumeric);
        let is_rank = previous.is_ascii_digit() || "AKQJT".contains(previous) && begins_word;
        match is_apart {
            false => is_heart(c) && is_rank || is_star(c) && previous.is_ascii_digit(),
            true => is_heart(c) && previous == 'I' && begins_word || is_star(c) && self.has_decimals,
        }
    }

    /// Decides on the emoji that is held back, by the character behind it.
    fn end_held(&mut self, c: char, out: &mut Sourced) {
        let Some((first, first_span)) = self.held else { return };
        if is_lone_mark(first) && c.is_whitespace() {
            return;
        }
        self.held = None;
        let is_rating = is_star(first) && (is_star(c) || c == '½');
        let is_suit = is_heart(first) && (c.is_ascii_digit() || "AKQJT".contains(c));
        let is_lone = is_lone_mark(first) && self.begins_phrase() && matches!(c, ',' | '.' | ';' | ')' | '/');
        self.is_rating |= is_rating;
        self.put_decided(first, first_span, is_rating || is_suit || is_lone, out);
    }

    /// True if the next character is the first one of its line, of its cell, or behind a colon.
    fn begins_phrase(&self) -> bool {
        self.cell.is_some() || self.previous.is_none_or(|c| matches!(c, '\n' | ':' | '(' | '/' | '|'))
    }

    /// Takes a character. An emoji is dropped, unless it is a sign here.
    fn put_decided(&mut self, c: char, span: Span, is_sign: bool, out: &mut Sourced) {
        // Joiners have a meaning in other scripts, so they are removed only after an emoji.
        let emoji = !is_sign
            && (is_emoji(c) && (c != '\u{200d}' || self.is_after_emoji)
                || self.is_after_joiner && !c.is_alphanumeric() && !c.is_whitespace());
        self.is_after_joiner = emoji && c == '\u{200d}';
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
        self.has_decimals = c.is_ascii_digit()
            && (self.has_decimals || matches!(self.previous, Some('.' | ',')))
            || matches!(c, '.' | ',') && self.has_decimals;
        self.before_previous = self.previous;
        (self.previous, self.last) = (Some(c), span);
        self.breaks = 0;
        (self.is_item, self.is_open_item) = (false, false);
    }

    /// Decides on the emoji that is held back at the end of a line or a cell. A mark alone there is text.
    fn close_held(&mut self, out: &mut Sourced) {
        if let Some((c, span)) = self.held.take() {
            let is_lone = is_lone_mark(c) && self.begins_phrase();
            self.put_decided(c, span, is_lone, out);
        }
        self.is_rating = false;
    }

    /// The next character begins a cell of a table.
    pub(super) fn begin_cell(&mut self, span: Span, out: &mut Sourced) {
        self.end_run(Place::Line, out);
        self.close_held(out);
        self.cell = Some(span);
        self.space = None;
    }

    pub(super) fn end_line(&mut self, span: Span, out: &mut Sourced) {
        self.end_run(Place::LineEnd, out);
        self.close_held(out);
        if !std::mem::take(&mut self.is_open_item) {
            self.break_line('\n', span, out);
        }
    }

    /// Ends the line, and the block with it.
    pub(super) fn end_block(&mut self, span: Span, ending: Ending, out: &mut Sourced) {
        let is_heading = ending == Ending::Heading;
        self.end_run(if is_heading { Place::Heading } else { Place::LineEnd }, out);
        // A mark alone is the text of its item.
        self.close_held(out);
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
        self.close_held(out);
        self.space = None;
    }

    fn break_line(&mut self, c: char, span: Span, out: &mut Sourced) {
        self.close_held(out);
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
        if is_over {
            self.close_held(out);
        }
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
