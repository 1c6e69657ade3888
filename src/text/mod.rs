//! Streamed text in, speakable segments (sentences) out.
//!
//! Knows no clock, session or engine. The text is read one character at a time and nothing else is looked at,
//! so where the stream was cut cannot matter: a decision that needs to see more waits for it as a [`Mark`].
//! What was read before a cut and belongs after it is read once more; every such rest is bounded, so time is
//! linear in the text.
//!
//! Why not a crate: of the first 75 cases in the tests the rules of UAX #29 (unicode-segmentation 1.13,
//! icu_segmenter 2.4) split 57 as a reader would, sentencex 0.1.33 split 61; these rules split all. The three
//! want the whole text: they would have to be run again for each fragment, and what follows may move the
//! boundary that they found last. UAX #29 knows no abbreviations; srx 0.1 brings no rules, only the reader
//! for a file of them; sentencex and icu_segmenter bring 29 further crates each, sentencex a command-line
//! parser among them.

mod boundary;
mod language;
mod markdown;
pub(crate) mod redact;
mod scan;
pub(crate) mod words;

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use crate::text::markdown::Cleaner;
use boundary::{Gap, Kind, MAX_WORD_BYTES, Mark, Verdict};
use language::{Language, terminator};
pub(super) use language::{is_emoji, is_ideographic};
use scan::{Scan, Tag};

/// A run without white space is cut after this many characters: engines take quadratic time over one word.
const MAX_TOKEN_CHARS: usize = 200;
/// A segment is cut before the word after these: engines take quadratic time over one sentence.
const MAX_WORDS: usize = 40;
/// How text is cut into segments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segmentation {
    /// Language of the text as a tag such as "de" or "pt-BR", of which only the first part counts.
    ///
    /// It selects the abbreviations. Default: none, which means English, as does a language without a table.
    pub language: Option<String>,
    /// Characters of the longest segment; a longer one is cut at the best place before. Default: 300.
    pub max_chars: usize,
    /// A sentence with fewer characters is joined with the next one, except by [`Segmenter::flush`] and
    /// [`Segmenter::finish`]. Default: 0, every sentence is a segment.
    pub min_chars: usize,
    /// Whether the first segment of the stream may end with a clause (comma, semicolon, colon, dash), so that
    /// its audio comes sooner. Default: no.
    pub first_clause: bool,
    /// What is taken out of the text before it is cut. Default: nothing.
    pub clean: Clean,
}

/// Markup that a text may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// The text is spoken as it comes.
    #[default]
    None,
    /// Markdown: its marks, link addresses, fenced code and emoji are not spoken; see [`Cleaner`].
    Markdown,
}

impl Default for Segmentation {
    fn default() -> Self {
        Segmentation { language: None, max_chars: 300, min_chars: 0, first_clause: false, clean: Clean::None }
    }
}

/// Cuts a stream of text into segments: push fragments, take segments, finish.
///
/// The same text gives the same segments however it was divided into fragments. Apart from white space around
/// segments nothing is lost or changed, unless [`Segmentation::clean`] says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segmenter {
    settings: Segmentation,
    #[serde(with = "language::by_tag")]
    language: &'static Language,
    cleaner: Cleaner,
    ready: VecDeque<String>,
    ready_chars: usize,
    first: bool,
    /// The segment being read, from its first character that is not white space.
    buffer: String,
    chars: usize,
    scan: Scan,
    mark: Option<Mark>,
    #[cfg(test)]
    #[serde(skip)]
    work: usize,
}

impl Segmenter {
    /// A segmenter at the beginning of a stream.
    pub fn new(settings: Segmentation) -> Segmenter {
        Segmenter {
            language: Language::of(settings.language.as_deref()),
            settings,
            cleaner: Cleaner::default(),
            ready: VecDeque::new(),
            ready_chars: 0,
            first: true,
            buffer: String::new(),
            chars: 0,
            scan: Scan::default(),
            mark: None,
            #[cfg(test)]
            work: 0,
        }
    }

    /// Takes the next piece of the text, which may begin and end anywhere.
    pub fn push(&mut self, fragment: &str) {
        match self.settings.clean {
            Clean::None => self.read_all(fragment),
            Clean::Markdown => {
                let mut text = String::new();
                self.cleaner.push(fragment, &mut text);
                self.read_all(&text);
            }
        }
    }

    /// The next complete segment: trimmed, never empty.
    pub fn next_segment(&mut self) -> Option<String> {
        let segment = self.ready.pop_front()?;
        self.ready_chars -= segment.chars().count();
        Some(segment)
    }

    /// Completes what has been pushed as it stands, without waiting for what may follow. More text may.
    pub fn flush(&mut self) {
        let mut text = String::new();
        self.cleaner.finish(&mut text);
        self.read_all(&text);
        while let Some(mark) = self.mark.take() {
            match self.decide(&mark, true) {
                Verdict::Cut => self.end_sentence(mark.end),
                Verdict::Extend(_) | Verdict::Keep | Verdict::Wait => {}
            }
        }
        self.emit(self.buffer.len());
    }

    /// Completes the last segments: no more text follows.
    pub fn finish(&mut self) {
        self.flush();
    }

    /// Characters pushed and not yet taken as segments, not counting white space around segments.
    pub fn buffered_chars(&self) -> usize {
        self.ready_chars + self.chars
    }

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
            self.emit(self.best_cut(c, at));
        } else if clause && self.first && self.settings.first_clause && self.is_first_clause() {
            self.emit(self.scan.clause);
        }
    }

    fn is_first_clause(&self) -> bool {
        let end = self.scan.clause;
        let chars = self.chars - self.buffer[end..].chars().count();
        self.mark.is_none() && self.speaks(end) && chars >= self.settings.min_chars
    }

    /// Follows possible ends of the sentence; true if this character decided one and it was cut there.
    fn watch(&mut self, c: char, at: usize) -> bool {
        let after = at + c.len_utf8();
        let space = match c {
            '\n' | '\u{85}' | '\u{2028}' => Gap::Line,
            '\u{c}' | '\u{2029}' => Gap::Paragraph,
            _ if c.is_whitespace() => Gap::Space,
            _ => Gap::None,
        };
        if let Some(mut mark) = self.mark.take() {
            if mark.next == at && (mark.follow(space, after) || mark.absorb(c, after, self.language)) {
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
                    mark.closed = true;
                    self.mark = Some(mark);
                    return false;
                }
                Verdict::Keep => {}
            }
        }
        if matches!(self.scan.tag, Tag::Outside | Tag::Opened) {
            let line = space >= Gap::Line && self.scan.sentence.is_some();
            let kind = if line { Some(Kind::Line) } else { terminator(c, self.language) };
            if let Some(kind) = kind {
                let (end, gap) = if kind == Kind::Line { (at, space) } else { (after, Gap::None) };
                let token = self.scan.token.unwrap_or(at).min(at)..at;
                let before = self.scan.last_token.clone();
                self.mark = Some(Mark { kind, token, before, end, gap, next: after, closed: false });
                if gap == Gap::Paragraph {
                    self.end_sentence(end);
                    return true;
                }
            }
        }
        false
    }

    /// Whether the buffer up to here has anything to speak.
    fn speaks(&self, end: usize) -> bool {
        self.scan.first_letter.is_some_and(|at| at < end)
    }

    /// A sentence ends here: with the segment, or within it if that is still too short.
    fn end_sentence(&mut self, end: usize) {
        let rest = self.buffer[end..].chars().count();
        if self.speaks(end) && self.chars - rest >= self.settings.min_chars {
            return self.emit(end);
        }
        let rest = self.detach(end);
        self.scan.words -= rest.split_whitespace().count().min(self.scan.words);
        self.scan.first_letter = self.scan.first_letter.filter(|&at| at < end);
        self.scan.space = self.scan.space.min(end);
        self.scan.clause = self.scan.clause.min(end);
        self.scan.character = self.scan.character.min(end);
        // What was read behind the end is read again: it may not stand for what is before it.
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

    /// Makes the buffer up to here a segment and reads the rest again, as the beginning of the next.
    fn emit(&mut self, end: usize) {
        let rest = self.detach(end);
        let segment = std::mem::take(&mut self.buffer);
        let segment = segment.trim();
        if !segment.is_empty() {
            self.ready_chars += segment.chars().count();
            self.ready.push_back(segment.to_owned());
            self.first = false;
        }
        self.chars = 0;
        self.scan = Scan::default();
        self.read_all(&rest);
    }

    fn detach(&mut self, end: usize) -> String {
        self.mark = None;
        let rest = self.buffer.split_off(end);
        self.chars -= rest.chars().count();
        rest
    }

    /// Where a segment that is too long ends, given its last character.
    fn best_cut(&self, c: char, at: usize) -> usize {
        let scan = &self.scan;
        if scan.token_chars <= MAX_TOKEN_CHARS {
            let mark = self.mark.as_ref().map_or(0, |m| m.end);
            // Not too early, or a long text falls into crumbs; this also bounds how much is read again.
            let good = |&end: &usize| end <= at && end * 3 >= at;
            if let Some(end) = [mark, scan.joint, scan.clause].into_iter().find(|end| *end > 0 && good(end)) {
                return end;
            }
            if scan.space > 0 {
                return scan.space;
            }
        }
        let attached = scan.character > 0 && at - scan.character <= MAX_WORD_BYTES;
        if attached && !c.is_whitespace() { scan.character } else { at }
    }
}

#[cfg(test)]
mod tests;
