//! Text that is not spoken up to its end: scripts, styles, drawings, and what is too long for text.
//!
//! An end that never comes must not take the rest of a text along. Code and comments of any length are silent, but
//! prose among them is not. Other elements are silent up to a limit. They end with the element around them, too.

use super::element::{self, Element};
use super::inline::{MAX_ANGLE, MAX_SILENT};
use super::prose::{self, Prose};
use crate::text::language::floor_char_boundary;
use serde::{Deserialize, Serialize};

/// Longest tag that may end an element, in characters.
const MAX_TAG: usize = 80;

/// Looks for the end of silent text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Silence {
    end: End,
    /// The beginning of a tag, or of the text that ends it.
    seen: String,
    /// Open elements of this name, and of other names in it.
    depth: usize,
    inner: usize,
    /// Open elements of a drawing whose content is a page again.
    pages: usize,
    prose: Prose,
    /// False while it may still be text, if it has no end.
    pub(super) is_certain: bool,
    /// True if it does not end with a paragraph.
    pub(super) spans_blocks: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum End {
    /// The end tag of an element.
    Element(String),
    Text(String),
    /// The `>` of a tag, with the mark that closes a quoted value.
    Tag(Option<char>),
}

/// The meaning of the characters so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    More,
    /// The same, and what was read so far can hardly be text.
    Code,
    /// The same, and the last characters can hardly be anything but text.
    Prose,
    /// The end.
    Done,
    /// The end, before the tag that was read last: it belongs to the text around.
    Before,
}

impl Silence {
    fn new(end: End, is_certain: bool, spans_blocks: bool) -> Silence {
        let prose = match &end {
            End::Element(name) if !is_code(name) => Prose::default(),
            End::Tag(_) => Prose::of_tag(),
            // Comments contain code, too.
            End::Element(_) | End::Text(_) => Prose::of_code(),
        };
        let seen = String::new();
        Silence { end, seen, depth: 1, inner: 0, pages: 0, prose, is_certain, spans_blocks }
    }

    /// The content of an element.
    pub(super) fn of_element(name: String, is_certain: bool, spans_blocks: bool) -> Silence {
        Silence::new(End::Element(name), is_certain, spans_blocks)
    }

    /// True if its content may be of any length: code, drawings, comments and tags.
    pub(super) fn is_unlimited(&self) -> bool {
        match &self.end {
            End::Element(name) => is_code(name) || matches!(name.as_str(), "svg" | "template" | "span"),
            _ => true,
        }
    }

    /// Longest text that is held back while it may have no end, in bytes.
    pub(super) fn limit(&self) -> usize {
        if self.is_unlimited() { MAX_SILENT } else { MAX_ANGLE }
    }

    /// True for the content of a script or a style.
    pub(super) fn is_code(&self) -> bool {
        matches!(&self.end, End::Element(name) if is_code(name))
    }

    /// True if what is held back at the end of a text is prose, or words without sentences.
    pub(super) fn is_text(&self, held: &str) -> bool {
        self.prose.is_likely() || self.is_worded(held)
    }

    /// True if most of what is held back are words, which code may be.
    pub(super) fn is_worded(&self, held: &str) -> bool {
        !self.is_code() && prose::is_worded(held)
    }

    /// Counts words from here on.
    pub(super) fn forget(&mut self) {
        self.prose.forget();
    }

    /// A long comment.
    pub(super) fn until(end: &str) -> Silence {
        Silence::new(End::Text(end.to_owned()), true, true)
    }

    /// The rest of a long tag, in a quoted value or not.
    pub(super) fn of_tag(quote: Option<char>) -> Silence {
        Silence::new(End::Tag(quote), false, true)
    }

    /// True for the rest of a tag.
    pub(super) fn is_tag(&self) -> bool {
        matches!(self.end, End::Tag(_))
    }

    /// Takes the next character.
    pub(super) fn read(&mut self, c: char) -> Step {
        let is_code = self.prose.read(c);
        match &mut self.end {
            End::Tag(quote @ None) => match c {
                '>' => return Step::Done,
                '"' | '\'' => *quote = Some(c),
                _ => {}
            },
            End::Tag(quote) => {
                if *quote == Some(c) {
                    *quote = None;
                }
            }
            End::Text(end) => {
                self.seen.push(c);
                if self.seen.ends_with(end.as_str()) {
                    return Step::Done;
                }
                while self.seen.len() >= end.len() {
                    self.seen.remove(0);
                }
            }
            End::Element(_) => {
                if c == '<' {
                    self.seen.clear();
                }
                if c == '<' || !self.seen.is_empty() {
                    self.seen.push(c);
                }
                // Too long for an end tag; a start tag counts by its name alone.
                if self.seen.len() > MAX_TAG {
                    self.seen.truncate(floor_char_boundary(&self.seen, MAX_TAG));
                }
                if c == '>' && !self.seen.is_empty() {
                    let tag = std::mem::take(&mut self.seen);
                    if let Some(step) = self.read_tag(&tag.to_ascii_lowercase()) {
                        return step;
                    }
                }
            }
        }
        match () {
            () if self.prose.is_certain() => Step::Prose,
            () if is_code => Step::Code,
            () => Step::More,
        }
    }

    /// Reads a whole tag, in lower case. Returns the step if it ends the element.
    fn read_tag(&mut self, tag: &str) -> Option<Step> {
        let End::Element(name) = &self.end else { return None };
        let is_closing = tag.starts_with("</");
        let found = tag.trim_start_matches(['<', '/']);
        let found = found.split(|c: char| c.is_whitespace() || matches!(c, '/' | '>')).next()?;
        let is_drawing = name == "svg";
        if is_drawing {
            self.prose.forget();
        }
        if found == name {
            if is_closing {
                self.depth -= 1;
            } else if !element::is_raw(name) && !tag.ends_with("/>") {
                self.depth += 1;
            }
            return (self.depth == 0).then_some(Step::Done);
        }
        // A head without its end tag ends with the body.
        if name == "head" && found == "body" {
            return Some(Step::Done);
        }
        if element::is_raw(name) || tag.ends_with("/>") {
            return None;
        }
        if is_drawing && matches!(found, "foreignobject" | "desc" | "title") {
            self.pages = if is_closing { self.pages.saturating_sub(1) } else { self.pages + 1 };
        }
        if is_drawing && self.pages == 0 && (!is_closing && element::ends_drawing(found)) {
            return Some(Step::Before);
        }
        if element::of(found).is_some_and(|kind| kind != Element::Break) && !element::is_void(found) {
            match self.inner {
                // The element around this one ends.
                0 if is_closing => return Some(Step::Before),
                inner => self.inner = if is_closing { inner - 1 } else { inner + 1 },
            }
        }
        None
    }
}

/// True for an element that contains code.
pub(super) fn is_code(name: &str) -> bool {
    matches!(name, "script" | "style")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(mut silence: Silence, text: &str) -> Option<(usize, Step)> {
        text.char_indices().find_map(|(at, c)| match silence.read(c) {
            Step::More | Step::Code => None,
            step => Some((at + c.len_utf8(), step)),
        })
    }

    #[test]
    fn elements_end_with_their_end_tag() {
        let of = |name: &str| Silence::of_element(name.to_owned(), true, true);
        for (silence, text, rest) in [
            (of("script"), "if (a<b && c>d) '</p>' </SCRIPT > x", Some(" x")),
            (of("script"), "'<script>'</script>x", Some("x")),
            (of("svg"), "<svg><path/></svg></svg>x", Some("x")),
            (of("svg"), "<title>a</title><foreignObject><div><p>b</div></foreignObject></svg>x", Some("x")),
            (of("head"), "<title>a</title><body>x", Some("x")),
            (of("style"), "/* <b> */ </styles></style\n>x", Some("x")),
            (of("video"), "<p>a<br>b</p><source src=c></video>x", Some("x")),
            (of("script"), "a </scrip", None),
            (of("script"), "a </div>", None),
            (Silence::until("-->"), " -- > --->x", Some("x")),
            (Silence::of_tag(Some('"')), "a > b\" c='>'>x", Some("x")),
        ] {
            let (at, step) = end(silence, text).unzip();
            assert_eq!((at.map(|at| &text[at..]), step), (rest, rest.map(|_| Step::Done)), "{text}");
        }
    }

    #[test]
    fn elements_end_with_the_element_around_them() {
        for (name, text, rest) in [
            ("svg", "<path><g><p>x", "x"),
            ("svg", "<path></g></div>x", "x"),
            ("svg", "<desc><p>a</p></desc><h1 class=a>x", "x"),
            ("video", "<source src=a><p>b</p></div>x", "x"),
            ("template", "<p>b</p></body>x", "x"),
        ] {
            let found = end(Silence::of_element(name.to_owned(), true, true), text);
            assert_eq!(found.map(|(at, step)| (&text[at..], step)), Some((rest, Step::Before)), "{text}");
        }
    }
}
