//! Text that is not spoken up to its end, of any length: scripts, styles, and what is too long for text.

use serde::{Deserialize, Serialize};

/// Longest tag that may end an element, in characters.
const MAX_TAG: usize = 80;

/// Looks for the end of silent text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Silence {
    end: End,
    /// The beginning of a tag, or of the text that ends it.
    seen: String,
    /// Open elements of this name.
    depth: usize,
    /// False while it may still be text, if it has no end.
    pub(super) is_certain: bool,
    /// True if it does not end with a paragraph.
    pub(super) spans_blocks: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum End {
    /// The end tag of an element. If it is raw, other tags in it are text.
    Element {
        name: String,
        is_raw: bool,
    },
    Text(String),
    /// The `>` of a tag, with the mark that closes a quoted value.
    Tag(Option<char>),
}

impl Silence {
    /// The content of an element.
    pub(super) fn of_element(name: String, is_raw: bool, is_certain: bool, spans_blocks: bool) -> Silence {
        Silence {
            end: End::Element { name, is_raw },
            seen: String::new(),
            depth: 1,
            is_certain,
            spans_blocks,
        }
    }

    /// True for the content of a script or a style.
    pub(super) fn is_code(&self) -> bool {
        matches!(&self.end, End::Element { name, .. } if matches!(name.as_str(), "script" | "style"))
    }

    /// A long comment.
    pub(super) fn until(end: &str) -> Silence {
        let end = End::Text(end.to_owned());
        Silence { end, seen: String::new(), depth: 1, is_certain: true, spans_blocks: true }
    }

    /// The rest of a long tag, in a quoted value or not.
    pub(super) fn of_tag(quote: Option<char>) -> Silence {
        Silence { end: End::Tag(quote), seen: String::new(), depth: 1, is_certain: true, spans_blocks: true }
    }

    /// Takes the next character. Returns true if it is the last one.
    pub(super) fn read(&mut self, c: char) -> bool {
        match &mut self.end {
            End::Tag(quote @ None) => match c {
                '>' => return true,
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
                    return true;
                }
                while self.seen.len() >= end.len() {
                    self.seen.remove(0);
                }
            }
            End::Element { name, is_raw } => {
                if c == '<' {
                    self.seen.clear();
                }
                if c != '<' && self.seen.is_empty() {
                    return false;
                }
                self.seen.push(c);
                if self.seen.len() > MAX_TAG {
                    // Too long for an end tag; a start tag counts by its name alone.
                    self.seen.truncate(MAX_TAG);
                }
                if c == '>' {
                    let tag = std::mem::take(&mut self.seen).to_ascii_lowercase();
                    let is_closing = tag.starts_with("</");
                    let found = tag.trim_start_matches(['<', '/']);
                    let found = found.split(|c: char| c.is_whitespace() || matches!(c, '/' | '>')).next();
                    if found == Some(name) && (is_closing || !*is_raw) && !tag.ends_with("/>") {
                        self.depth = if is_closing { self.depth - 1 } else { self.depth + 1 };
                    }
                    // A head without its end tag ends with the body.
                    return self.depth == 0 || name == "head" && found == Some("body");
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(mut silence: Silence, text: &str) -> Option<usize> {
        text.char_indices().find(|(_, c)| silence.read(*c)).map(|(at, c)| at + c.len_utf8())
    }

    #[test]
    fn elements_end_with_their_end_tag() {
        let of = |name: &str, is_raw| Silence::of_element(name.to_owned(), is_raw, true, true);
        for (silence, text, rest) in [
            (of("script", true), "if (a<b && c>d) '</p>' </SCRIPT > x", Some(" x")),
            (of("script", true), "'<script>'</script>x", Some("x")),
            (of("svg", false), "<svg><path/></svg></svg>x", Some("x")),
            (of("head", false), "<title>a</title><body>x", Some("x")),
            (of("style", true), "</styles></style\n>x", Some("x")),
            (of("script", true), "a </scrip", None),
            (Silence::until("-->"), " -- > --->x", Some("x")),
            (Silence::of_tag(Some('"')), "a > b\" c='>'>x", Some("x")),
        ] {
            assert_eq!(end(silence.clone(), text).map(|at| &text[at..]), rest, "{text}");
        }
    }
}
