//! Text with markup in, text to speak out.
//!
//! A cleaner reads one character at a time, so the fragments of the stream cannot matter. It knows for each
//! character that it writes the place in the source. What it is not sure of is spoken.
//!
//! | module | contents |
//! |---|---|
//! | `markdown`, `prefix`, `fenced` | lines and blocks of Markdown |
//! | `inline`, `emphasis`, `code` | constructs in a paragraph |
//! | `link`, `bracket`, `destination` | links, images, notes |
//! | `angle`, `element`, `html` | tags and their effect |
//! | `math`, `tex` | formulas in MathML and TeX |
//! | `ornament` | `=-=-=` |
//! | `cue` | times of subtitles |
//! | `raised` | `<sup>` |
//! | `silence`, `prose` | text that is not spoken, and how it ends |
//! | `reference`, `entity`, `address` | `&amp;`, `https://` |
//! | `writer` | white space, paragraphs, runs of marks, emoji |

mod address;
mod angle;
mod bracket;
mod code;
mod cue;
mod destination;
mod element;
mod emphasis;
mod entity;
mod fenced;
mod html;
mod inline;
mod link;
mod markdown;
mod math;
mod ornament;
mod prefix;
mod prose;
mod raised;
mod reference;
mod silence;
mod tex;
mod writer;

use super::tail::Undecided;
use crate::text::sourced::{Sourced, Span};
use inline::{Inline, Sink};
use markdown::Markdown;
use serde::{Deserialize, Serialize};
use writer::Writer;
pub(super) use writer::{HEADING, ITEM};

/// Turns streamed markup into text to speak.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cleaner {
    /// `None` for a page.
    markdown: Option<Markdown>,
    inline: Inline,
    writer: Writer,
    /// Text read so far, in UTF-16 units.
    position: u64,
    /// A carriage return that may belong to a line feed.
    carriage_return: Option<Span>,
}

impl Cleaner {
    /// A cleaner of Markdown. Words that it adds are in the language with this tag.
    pub(super) fn markdown(language: Option<&str>) -> Cleaner {
        Cleaner::new(Some(Markdown::default()), done(language))
    }

    /// A cleaner of pages: HTML.
    pub(super) fn html() -> Cleaner {
        Cleaner::new(None, "")
    }

    fn new(markdown: Option<Markdown>, done: &str) -> Cleaner {
        let inline = Inline::new(markdown.is_none(), done);
        Cleaner { markdown, inline, writer: Writer::default(), position: 0, carriage_return: None }
    }

    /// Text read so far, in UTF-16 units.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Has the text begin at this position in the source.
    pub(super) fn begin_at(&mut self, position: u64) {
        self.position = position;
    }

    /// Takes the next fragment, and appends the decided text to `out`.
    pub(super) fn push(&mut self, fragment: &str, out: &mut Sourced) {
        for c in fragment.chars() {
            let span = Span::of(c, self.position);
            self.position = span.end();
            self.read(c, span, out);
        }
    }

    /// Appends the text that was held back. More text may follow.
    pub(super) fn flush(&mut self, out: &mut Sourced) {
        self.settle(false, out);
    }

    /// Appends the text that was held back. It was the last one.
    pub(super) fn finish(&mut self, out: &mut Sourced) {
        self.settle(true, out);
    }

    fn settle(&mut self, is_over: bool, out: &mut Sourced) {
        if let Some(span) = self.carriage_return.take_if(|_| is_over) {
            self.step('\n', span, out);
        }
        let sink = &mut Sink { writer: &mut self.writer, out };
        if let Some(markdown) = &mut self.markdown {
            markdown.flush(is_over, &mut self.inline, sink);
        }
        self.inline.flush(is_over, sink);
        self.writer.flush(is_over, out);
    }

    fn read(&mut self, c: char, span: Span, out: &mut Sourced) {
        let carriage_return = self.carriage_return.take();
        match (c, carriage_return) {
            ('\n', Some(first)) => return self.step(c, first.to(span), out),
            (_, Some(first)) => self.step('\n', first, out),
            _ => {}
        }
        match c {
            '\r' => self.carriage_return = Some(span),
            '\u{feff}' if span.start == 0 => {}
            _ => self.step(c, span, out),
        }
    }

    fn step(&mut self, c: char, span: Span, out: &mut Sourced) {
        let sink = &mut Sink { writer: &mut self.writer, out };
        match &mut self.markdown {
            Some(markdown) => markdown.read(c, span, &mut self.inline, sink),
            None => self.inline.read(c, span, sink),
        }
    }

    /// The text that is held back.
    pub(super) fn undecided(&self) -> Undecided<'_> {
        let has_space = self.writer.has_space();
        if let Some(text) = self.markdown.as_ref().and_then(Markdown::held_beginning) {
            return Undecided { text, begins_line: true, has_space };
        }
        if self.markdown.as_ref().is_some_and(Markdown::holds_sentence) {
            return Undecided { text: ".", begins_line: false, has_space };
        }
        let text = match self.inline.undecided() {
            "" => self.writer.undecided(),
            text => text,
        };
        Undecided { text, begins_line: false, has_space }
    }

    /// Memory besides the value itself, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let markdown = self.markdown.as_ref().map_or(0, Markdown::memory_bytes);
        markdown + self.inline.memory_bytes() + self.writer.memory_bytes()
    }
}

/// The words for the checked box of a task, `[x]`.
fn done(language: Option<&str>) -> &'static str {
    let tag = language.unwrap_or("en").split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    match tag.as_str() {
        "en" | "" => "Done:",
        "de" => "Erledigt:",
        "fr" => "Fait :",
        "es" => "Hecho:",
        "it" => "Fatto:",
        "pt" => "Feito:",
        "nl" => "Klaar:",
        _ => "✓",
    }
}

#[cfg(test)]
mod tests;
