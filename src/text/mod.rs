//! Streamed text in, segments (sentences) to speak out.
//!
//! This module has no clock, and knows no session and no engine. It reads the text one character at a time, so
//! the fragments of the stream cannot matter. A decision that needs more text waits for it as a [`Mark`]. After
//! a cut, the characters that belong to the next segment are read again. Their number is bounded, so time is
//! linear in the text.
//!
//! Reasons against a crate, on the first 75 cases of the tests: the rules of UAX #29 (unicode-segmentation 1.13,
//! icu_segmenter 2.4) split 57 as a reader would, sentencex 0.1.33 split 61, and these rules split all. The
//! three need the whole text: each fragment would need a new run, and later text may move the last boundary.
//! UAX #29 knows no abbreviations. srx 0.1 reads files of rules, but has none. sentencex and icu_segmenter add
//! 29 crates each.

mod boundary;
pub(crate) mod cells;
mod clean;
mod cut;
mod language;
pub(crate) mod normal;
mod quoted;
pub(crate) mod redact;
mod scan;
pub(crate) mod sourced;
mod tail;
pub(crate) mod words;

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use boundary::{Gap, Kind, Mark, Verdict};
use clean::{Cleaner, HEADING, ITEM};
use language::{Language, terminator};
pub(super) use language::{
    floor_char_boundary, is_emoji, is_ideographic, is_lone_mark, is_sign, is_speakable,
};
pub(crate) use quoted::quoted;
use scan::{Scan, Tag};
use sourced::{Source, Sourced};
pub(crate) use tail::Tail;
use tail::Undecided;

/// Longest run without white space, in characters. Engines need quadratic time for one word.
const MAX_TOKEN_CHARS: usize = 200;
/// Most short lines in a row that are a title and a heading. More are a list.
const MAX_HEADINGS: usize = 2;
/// Most words of a segment. Engines need quadratic time for one sentence.
const MAX_WORDS: usize = 40;

/// Settings of a [`Segmenter`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segmentation {
    /// Language of the text, as a tag such as `de` or `pt-BR`. Only its first part counts.
    ///
    /// It selects the abbreviations. Default: none. No language, or one without a table, means English.
    pub language: Option<String>,
    /// Most characters of a segment. A longer one is cut at the best place before. Default: 300.
    pub max_chars: usize,
    /// Fewest characters of a segment. A shorter sentence is joined with the next one, except by
    /// [`Segmenter::flush`] and [`Segmenter::finish`]. Default: 0, so that every sentence is a segment.
    pub min_chars: usize,
    /// True if the first segment may end with a clause (comma, semicolon, colon, dash), so that its audio
    /// starts sooner. Default: false.
    pub first_clause: bool,
    /// Markup to remove before the text is cut. Default: none.
    pub clean: Clean,
}

/// A segment of text to speak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The text: trimmed, never empty.
    pub text: String,
    /// Boundary between the segment before and this one.
    pub before: Boundary,
    /// The place of its characters in the text that was pushed; empty if nothing was cleaned.
    pub(crate) source: Source,
}

/// Boundary between two segments, the weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Boundary {
    /// The beginning of the text, or a cut within a sentence: after a clause, or because it was too long.
    #[default]
    Cut,
    /// The end of a sentence.
    Sentence,
    /// The end of a line.
    Line,
    /// The end of a paragraph: a blank line.
    Paragraph,
    /// The end of a heading.
    Heading,
}

/// Markup that is removed from a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Removes nothing.
    #[default]
    None,
    /// Removes Markdown: its marks, addresses, notes, fenced code, HTML tags, and emoji.
    Markdown,
    /// Removes HTML: tags, scripts, styles, comments, and emoji. Block elements are paragraphs.
    Html,
}

/// Way to complete the text pushed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// More text may follow. Undecided markup stays undecided.
    Commit,
    /// More text may follow.
    Flush,
    /// No more text follows.
    Finish,
}

impl Default for Segmentation {
    fn default() -> Self {
        Segmentation { language: None, max_chars: 300, min_chars: 0, first_clause: false, clean: Clean::None }
    }
}

/// Cuts a stream of text into segments: push fragments, take segments, finish.
///
/// The same text gives the same segments, however it is divided into fragments. Only white space around
/// segments is lost, and the markup that [`Segmentation::clean`] removes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segmenter {
    settings: Segmentation,
    #[serde(with = "language::by_tag")]
    language: &'static Language,
    cleaner: Option<Cleaner>,
    /// Text from the cleaner that is not read yet.
    #[serde(default)]
    cleaned: Sourced,
    /// The end of the text so far, while it is still to be completed.
    #[serde(default)]
    ending: Option<Ending>,
    /// Place of the buffer in the text that was pushed; empty without a cleaner.
    source: Source,
    ready: VecDeque<Segment>,
    ready_chars: usize,
    is_first: bool,
    /// True if the segment before was completed without waiting: marks that belong to it may follow.
    is_completed: bool,
    /// The end of the segment before: a cut, a sentence or a heading.
    ended: Boundary,
    /// Line breaks since then, at most two.
    line_breaks: u8,
    /// Number of short lines before this one, with blank lines around each. The last is the heading of a
    /// paragraph, unless they are many.
    headings: usize,
    /// True while a short line may be a heading: no heading was marked so far.
    guesses_headings: bool,
    /// Width of the current line before the buffer.
    indent: usize,
    /// Marks of quotations that the current line begins with, before the buffer.
    #[serde(default)]
    quoted: usize,
    /// Width of the widest line of the paragraph that was wrapped within a sentence.
    wrap: usize,
    /// The current segment, from its first character that is not white space.
    buffer: String,
    chars: usize,
    scan: Scan,
    mark: Option<Mark>,
    #[cfg(test)]
    #[serde(skip)]
    work: usize,
    /// Bytes of text, and of cleaned text, that were read.
    #[cfg(test)]
    #[serde(skip)]
    pub(crate) read_bytes: usize,
}

impl Segmenter {
    /// Returns a segmenter at the beginning of a stream.
    pub fn new(settings: Segmentation) -> Segmenter {
        Segmenter {
            language: Language::of(settings.language.as_deref()),
            cleaner: match settings.clean {
                Clean::None => None,
                Clean::Markdown => Some(Cleaner::markdown(settings.language.as_deref())),
                Clean::Html => Some(Cleaner::html()),
            },
            guesses_headings: settings.clean != Clean::Html,
            settings,
            cleaned: Sourced::default(),
            ending: None,
            source: Source::default(),
            ready: VecDeque::new(),
            ready_chars: 0,
            is_first: true,
            is_completed: false,
            ended: Boundary::Cut,
            line_breaks: 0,
            headings: 0,
            indent: 0,
            quoted: 0,
            wrap: 0,
            buffer: String::new(),
            chars: 0,
            scan: Scan::default(),
            mark: None,
            #[cfg(test)]
            work: 0,
            #[cfg(test)]
            read_bytes: 0,
        }
    }

    /// Takes the next fragment of the text. It may begin and end anywhere.
    pub fn push(&mut self, fragment: &str) {
        self.take(fragment);
        self.read_on(usize::MAX);
    }

    /// Takes the next fragment, the last one before [`read_on`](Self::read_on).
    pub(crate) fn take(&mut self, fragment: &str) {
        #[cfg(test)]
        {
            self.read_bytes += fragment.len();
        }
        match &mut self.cleaner {
            Some(cleaner) => cleaner.push(fragment, &mut self.cleaned),
            None => self.read_all(fragment),
        }
    }

    /// Completes the text taken so far, from the next [`read_on`](Self::read_on) on.
    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Reads cleaned text: about as many bytes as `most`. A cleaner may release much of it at once, which it held back
    /// before.
    pub(crate) fn read_on(&mut self, most: usize) {
        let mut left = most;
        while left > 0 {
            if !self.cleaned.text.is_empty() {
                let piece = self.cleaned.take_front(left);
                left = left.saturating_sub(piece.text.len());
                #[cfg(test)]
                {
                    self.read_bytes += piece.text.len();
                }
                self.read_sourced(&piece);
                continue;
            }
            match (self.ending.take(), &mut self.cleaner) {
                (None, _) => return,
                (Some(Ending::Finish), Some(cleaner)) => {
                    cleaner.finish(&mut self.cleaned);
                    self.ending = Some(Ending::Flush);
                }
                (Some(Ending::Flush), Some(cleaner)) => {
                    cleaner.flush(&mut self.cleaned);
                    self.ending = Some(Ending::Commit);
                }
                (Some(_), _) => self.complete(),
            }
        }
    }

    /// True if [`read_on`](Self::read_on) has something to do.
    pub(crate) fn is_reading(&self) -> bool {
        !self.cleaned.text.is_empty() || self.ending.is_some()
    }

    /// Returns the next complete segment.
    pub fn next_segment(&mut self) -> Option<Segment> {
        let Some(segment) = self.ready.pop_front() else {
            // Text that was read keeps no queue.
            self.ready = VecDeque::new();
            return None;
        };
        self.ready_chars -= segment.text.chars().count();
        Some(segment)
    }

    /// Completes the text pushed so far, without waiting for more. More text may follow.
    pub fn flush(&mut self) {
        self.end(Ending::Flush);
        self.read_on(usize::MAX);
    }

    fn complete(&mut self) {
        let mut is_ended = false;
        while let Some(mark) = self.mark.take() {
            is_ended = mark.next >= self.buffer.len();
            match self.decide(&mark, true) {
                Verdict::Cut => self.end_sentence(mark.end),
                Verdict::Extend(_) | Verdict::Keep | Verdict::Wait => {}
            }
        }
        self.emit(self.buffer.len(), if is_ended { Boundary::Sentence } else { Boundary::Cut });
        self.is_completed = true;
    }

    /// The way to complete the sentence that the text pushed so far ends with. It leaves markup alone that is
    /// undecided and no part of it.
    pub(crate) fn ending(&self) -> Ending {
        let undecided = self.undecided();
        match undecided.text.is_empty() || undecided.begins_line {
            true => Ending::Commit,
            false => Ending::Flush,
        }
    }

    /// Completes the sentence that the text pushed so far ends with. Unlike [`flush`](Self::flush) it leaves
    /// undecided markup alone.
    pub fn commit(&mut self) {
        self.end(self.ending());
        self.read_on(usize::MAX);
    }

    /// Completes the last segments. No more text follows.
    pub fn finish(&mut self) {
        self.end(Ending::Finish);
        self.read_on(usize::MAX);
    }

    /// Drops the text that was pushed and is in no segment yet, and its segments. Text may follow that begins
    /// `skipped` UTF-16 units behind it in the source.
    pub(crate) fn restart(&mut self, skipped: u64) {
        let position = self.cleaner.as_ref().map_or(0, |cleaner| cleaner.position() + skipped);
        let is_first = self.is_first;
        *self = Segmenter { is_first, ..Segmenter::new(self.settings.clone()) };
        self.cleaner.iter_mut().for_each(|cleaner| cleaner.begin_at(position));
    }

    /// Returns the number of characters pushed and not yet taken, without white space around segments.
    pub fn buffered_chars(&self) -> usize {
        self.ready_chars + self.chars + self.cleaned.text.chars().count()
    }

    /// Text that the cleaner holds back.
    fn undecided(&self) -> Undecided<'_> {
        let nothing = Undecided { text: "", begins_line: false, has_space: false };
        self.cleaner.as_ref().map_or(nothing, Cleaner::undecided)
    }

    /// Memory besides the value itself and its complete segments, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let cleaner = self.cleaner.as_ref().map_or(0, Cleaner::memory_bytes);
        cleaner + self.cleaned.memory_bytes() + self.source.memory_bytes() + self.buffer.capacity()
    }

    fn read_sourced(&mut self, text: &Sourced) {
        for (c, span) in text.chars() {
            self.source.push(c, span);
            self.read(c);
        }
    }

    /// Reads text without a source, or again.
    fn read_all(&mut self, text: &str) {
        for c in text.chars() {
            self.read(c);
        }
    }

    fn read(&mut self, c: char) {
        #[cfg(test)]
        {
            self.work += 1;
        }
        if self.buffer.is_empty() && c.is_whitespace() {
            self.skip(c);
            self.source.skip(c);
            return;
        }
        let at = self.buffer.len();
        self.buffer.push(c);
        self.chars += 1;
        let clause = self.scan.read(c, at);
        if self.watch(c, at) {
            return;
        }
        if self.chars > self.settings.max_chars.max(1)
            || self.scan.token_chars > MAX_TOKEN_CHARS
            || self.scan.words > MAX_WORDS
        {
            self.emit(self.best_cut(c, at), Boundary::Cut);
        } else if clause && self.is_first && self.settings.first_clause && self.is_first_clause() {
            self.emit(self.scan.clause, Boundary::Cut);
        }
    }

    fn is_first_clause(&self) -> bool {
        let end = self.scan.clause;
        let chars = self.chars - self.buffer[end..].chars().count();
        // "May 5, 2024"
        let is_figure = self.buffer[..end].trim_end_matches(',').ends_with(|c: char| c.is_ascii_digit());
        !is_figure && self.mark.is_none() && self.speaks(end) && chars >= self.settings.min_chars
    }

    /// Follows possible ends of the sentence. True if this character decided one, and the sentence was cut there.
    fn watch(&mut self, c: char, at: usize) -> bool {
        let after = at + c.len_utf8();
        let space = gap(c);
        if let Some(mut mark) = self.mark.take() {
            let is_joined = !c.is_ascii() && self.buffer[..at].ends_with('\u{200d}');
            if mark.next == at
                && (mark.follow(space, after) || mark.absorb(c, after, is_joined, self.language))
            {
                let paragraph = mark.gap == Gap::Paragraph;
                let end = mark.end;
                self.mark = Some(mark);
                if paragraph {
                    self.end_sentence(end);
                }
                return paragraph;
            }
            #[cfg(test)]
            {
                self.work += self.buffer.len() - mark.next;
            }
            match self.decide(&mark, false) {
                Verdict::Wait => {
                    self.mark = Some(mark);
                    return false;
                }
                Verdict::Cut => {
                    self.end_sentence(mark.end);
                    return true;
                }
                Verdict::Extend(bytes) => {
                    mark.end = mark.next + bytes;
                    mark.gap = space;
                    mark.next = after;
                    mark.is_closed = true;
                    self.mark = Some(mark);
                    return false;
                }
                Verdict::Keep => {
                    if mark.kind == Kind::Line && self.buffer[mark.next..].starts_with(char::is_lowercase) {
                        self.wrap = self.wrap.max(mark.width);
                    }
                }
            }
        }
        if matches!(self.scan.tag, Tag::Outside | Tag::Opened) {
            let line = space >= Gap::Line && self.scan.sentence.is_some();
            let kind = if line { Some(Kind::Line) } else { terminator(c, self.language) };
            if let Some(kind) = kind {
                let (end, gap) = if kind == Kind::Line { (at, space) } else { (after, Gap::None) };
                let token = self.scan.token.unwrap_or(at).min(at)..at;
                let before = self.scan.last_token.clone();
                let width = if kind == Kind::Line { self.line_width(at) } else { 0 };
                self.mark =
                    Some(Mark { kind, token, before, end, gap, next: after, is_closed: false, width });
                if gap == Gap::Paragraph {
                    self.end_sentence(end);
                    return true;
                }
            }
        }
        false
    }

    /// True if the buffer up to `end` contains a letter, a digit, or a sign that is a word.
    fn speaks(&self, end: usize) -> bool {
        match self.scan.first_letter {
            Some(at) => at < end,
            None => language::is_lone_sign(&self.buffer[..end]),
        }
    }

    /// Ends a sentence at `end`, and the segment too if it is long enough.
    fn end_sentence(&mut self, end: usize) {
        let rest = self.buffer[end..].chars().count();
        if self.speaks(end) && self.chars - rest >= self.settings.min_chars {
            return self.emit(end, Boundary::Sentence);
        }
        let rest = self.detach(end);
        self.scan.words -= rest.split_whitespace().count().min(self.scan.words);
        self.scan.first_letter = self.scan.first_letter.filter(|&at| at < end);
        self.scan.space = self.scan.space.min(end);
        self.scan.clause = self.scan.clause.min(end);
        self.scan.character = self.scan.character.min(end);
        // The text after the end is read again: it must not count for the sentence before it.
        let last_word = end - self.buffer.rsplit(char::is_whitespace).next().map_or(0, str::len);
        self.scan = Scan {
            joint: end,
            token: None,
            last_token: last_word..end,
            token_chars: 0,
            sentence: None,
            begins_lower: None,
            tag: Tag::Outside,
            previous: None,
            ..std::mem::take(&mut self.scan)
        };
        self.read_all(&rest);
    }

    /// Makes the buffer up to `end` a segment, and reads the rest again as the start of the next one.
    fn emit(&mut self, end: usize, ended: Boundary) {
        let rest = self.detach(end);
        let mut segment = std::mem::take(&mut self.buffer);
        if std::mem::take(&mut self.is_completed) {
            let stray: String = segment.drain(..boundary::stray_marks(&segment, self.language)).collect();
            self.source.split_off_front(&stray, stray.len());
        }
        let source = self.source.split_off_front(&segment, segment.len());
        let text = segment.trim();
        if !text.is_empty() {
            let is_heading = self.guesses_headings && boundary::is_heading(text);
            let before = self.boundary(is_heading);
            self.headings = match is_heading {
                true if self.is_first || before >= Boundary::Paragraph => self.headings + 1,
                _ => 0,
            };
            let is_marked = boundary::is_marked_heading(text);
            self.guesses_headings &= !is_marked;
            self.ended = if is_marked { Boundary::Heading } else { ended };
            self.line_breaks = 0;
            let start = boundary::line_start(text, text.len());
            self.indent = boundary::width(&text[start..]) + if start == 0 { self.indent } else { 0 };
            let quoted = if start == 0 { self.quoted } else { 0 };
            self.quoted = quoted.max(boundary::quote_depth(&text[start..]));
            segment[text.len()..].chars().for_each(|c| self.skip(c));
            self.ready_chars += text.chars().count();
            self.ready.push_back(Segment { text: text.to_owned(), before, source });
            self.is_first = false;
        }
        self.chars = 0;
        self.scan = Scan::default();
        self.read_all(&rest);
    }

    /// Returns the width of the line up to a position in the buffer.
    fn line_width(&self, end: usize) -> usize {
        let start = boundary::line_start(&self.buffer, end);
        boundary::width(&self.buffer[start..end]) + if start == 0 { self.indent } else { 0 }
    }

    /// Counts white space between two segments.
    fn skip(&mut self, c: char) {
        match c {
            HEADING if self.cleaner.is_some() => {
                self.ended = Boundary::Heading;
                self.guesses_headings = false;
            }
            ITEM if self.cleaner.is_some() => {
                self.headings = 0;
                self.ended = self.ended.max(Boundary::Line);
                self.line_breaks = self.line_breaks.max(1);
                (self.indent, self.quoted) = (0, 0);
                return;
            }
            _ => {}
        }
        let gap = gap(c);
        match gap {
            Gap::None | Gap::Space => self.indent += 1,
            Gap::Line | Gap::Paragraph => (self.indent, self.quoted) = (0, 0),
        }
        self.line_breaks = match gap {
            Gap::None | Gap::Space => self.line_breaks,
            Gap::Line => (self.line_breaks + 1).min(2),
            Gap::Paragraph => 2,
        };
        if self.line_breaks == 2 {
            self.wrap = 0;
        }
    }

    /// Returns the boundary between the segment before and the one in the buffer, which may look like a heading.
    fn boundary(&self, is_heading: bool) -> Boundary {
        let is_headed = !is_heading && (1..=MAX_HEADINGS).contains(&self.headings);
        match (self.ended, self.line_breaks) {
            _ if self.is_first => Boundary::Cut,
            (_, 2..) if is_headed => Boundary::Heading,
            (ended, 2..) => ended.max(Boundary::Paragraph),
            (Boundary::Sentence, 1) => Boundary::Line,
            (ended, _) => ended,
        }
    }

    fn detach(&mut self, end: usize) -> String {
        self.mark = None;
        let rest = self.buffer.split_off(end);
        self.chars -= rest.chars().count();
        rest
    }
}

/// Returns the gap that a character makes.
fn gap(c: char) -> Gap {
    match c {
        '\n' | '\u{85}' | '\u{2028}' => Gap::Line,
        '\u{c}' | '\u{2029}' => Gap::Paragraph,
        _ if c.is_whitespace() => Gap::Space,
        _ => Gap::None,
    }
}

#[cfg(test)]
mod tests;
