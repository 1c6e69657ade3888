//! Markdown in, text to speak out.
//!
//! This module reads one character at a time, so the fragments of the stream cannot matter. It holds undecided
//! text back, at most [`MAX_HELD`] characters. It knows the Markdown that language models write, not all of
//! CommonMark; text that it does not know as markup is kept.

use crate::text::is_emoji;
use crate::text::tail::Undecided;
use serde::{Deserialize, Serialize};

/// Longest text of a link, a tag or a line of punctuation, in characters. A longer one is ordinary text.
const MAX_HELD: usize = 200;
/// Longest address of a link, in characters.
const MAX_ADDRESS: usize = 2_000;

/// Turns streamed Markdown into text to speak.
///
/// It removes the marks of emphasis, headings and items, rules, link addresses, tags, emoji, and fenced code
/// with its content. Items, headings and rows of tables become paragraphs, because a voice cannot show a line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cleaner {
    line: LineKind,
    inline: Inline,
    /// Undecided text: the beginning of a line, or of an inline construct.
    held: String,
    held_chars: usize,
    /// The last character written, and white space to write before the next one.
    previous: Option<char>,
    has_space: bool,
    /// LineKind breaks since then, at most two: two make a paragraph.
    breaks: usize,
    is_code: bool,
    table: TableState,
    is_after_emoji: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum LineKind {
    /// Only white space and marks so far.
    #[default]
    Beginning,
    Text,
    /// A line that is removed.
    Dropped,
    /// A heading or an item: a paragraph of its own.
    Paragraph,
    /// Inside of fenced code: at the beginning of a line, and after it. The character is that of the fence.
    Fenced(char),
    FencedText(char),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Inline {
    #[default]
    Text,
    /// A run of `*`, `_`, `~` or backticks.
    Run(char),
    Escape,
    /// A `!` that may begin an image.
    Bang,
    /// The text of a link, after `[`.
    Link,
    /// After the `]` that may end the text of a link.
    Linked,
    Bracket,
    /// The address of a link, with this many open parentheses.
    Address(usize),
    Reference,
    Tag,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum TableState {
    #[default]
    None,
    Row,
    /// After a cell; the next begins with its first character.
    Cell,
}

impl Cleaner {
    /// Takes the next fragment of Markdown, and appends the decided text to `out`.
    pub(super) fn push(&mut self, fragment: &str, out: &mut String) {
        for c in fragment.chars() {
            self.read(c, out);
        }
    }

    /// Appends the text that was held back, unchanged. More text may follow.
    pub(super) fn finish(&mut self, out: &mut String) {
        if self.line == LineKind::Beginning {
            self.begin_line(None, out);
        }
        self.settle(out);
        if std::mem::take(&mut self.has_space) {
            out.push(' ');
        }
    }

    /// Returns the text that is held back.
    pub(super) fn undecided(&self) -> Undecided<'_> {
        let begins_line = self.line == LineKind::Beginning;
        Undecided { text: &self.held, begins_line, has_space: self.has_space }
    }

    fn read(&mut self, c: char, out: &mut String) {
        if c == '\r' {
            return;
        }
        match self.line {
            LineKind::Beginning => {
                if c == '\n' {
                    self.begin_line(Some(c), out);
                    self.end_line(out);
                } else {
                    self.hold(c);
                    self.begin_line(Some(c), out);
                }
            }
            LineKind::Text | LineKind::Paragraph if c == '\n' => {
                // Inline constructs end with the line.
                self.settle(out);
                self.end_line(out);
            }
            LineKind::Text | LineKind::Paragraph => self.read_inline(c, out),
            LineKind::Dropped if c == '\n' => self.end_line(out),
            LineKind::Dropped => {}
            LineKind::Fenced(_) | LineKind::FencedText(_) => self.read_fenced(c),
        }
    }

    fn read_fenced(&mut self, c: char) {
        let (LineKind::Fenced(fence) | LineKind::FencedText(fence)) = self.line else { return };
        if c == '\n' {
            self.take_held();
            self.line = LineKind::Fenced(fence);
        } else if self.line == LineKind::Fenced(fence) && !c.is_whitespace() {
            self.hold(c);
            if c != fence {
                self.line = LineKind::FencedText(fence);
            } else if self.held_chars == 3 {
                self.take_held();
                self.line = LineKind::Dropped;
            }
        }
    }

    /// Decides the kind of the line once its beginning shows it. `last` is the newest character; `None` at the
    /// end.
    fn begin_line(&mut self, last: Option<char>, out: &mut String) {
        let text = self.held.trim_start();
        let complete = matches!(last, None | Some('\n'));
        let marks = text.trim_start_matches(['-', '*', '_', '=', '|', ':', ' ', '\t']).is_empty();
        let undecided = marks || is_prefix(text);
        if text.is_empty() && complete {
            self.take_held();
        } else if text.starts_with("```") || text.starts_with("~~~") {
            self.line = LineKind::FencedText(if text.starts_with('`') { '`' } else { '~' });
            self.take_held();
        } else if text.starts_with('>') {
            self.take_held(); // a quotation: the rest begins a line again
        } else if complete && marks && is_rule(text) {
            self.line = if last.is_some() { LineKind::Dropped } else { LineKind::Beginning };
            self.take_held();
            self.paragraph(out);
        } else if complete || !undecided || self.held_chars > MAX_HELD {
            let label = label(text);
            let text = text[label..].to_owned();
            self.take_held();
            let row = text.starts_with('|');
            self.table = if row { TableState::Row } else { TableState::None };
            self.line = if row || label > 0 { LineKind::Paragraph } else { LineKind::Text };
            if self.line == LineKind::Paragraph {
                self.paragraph(out);
            }
            for c in text.chars() {
                self.read_inline(c, out);
            }
        }
    }

    fn end_line(&mut self, out: &mut String) {
        if self.line == LineKind::Paragraph {
            self.paragraph(out);
        }
        self.line = LineKind::Beginning;
        self.is_code = false;
        self.table = TableState::None;
        self.put_line_break(out);
    }

    fn read_inline(&mut self, c: char, out: &mut String) {
        match self.inline {
            Inline::Text => self.read_text(c, out),
            Inline::Run(mark) if c == mark && self.held_chars < MAX_HELD => self.hold(c),
            Inline::Bang if c == '[' => self.open(Inline::Link),
            Inline::Run(_) | Inline::Bang => {
                self.settle_before(Some(c), out);
                self.read_text(c, out);
            }
            Inline::Escape => {
                self.inline = Inline::Text;
                if !c.is_ascii_punctuation() {
                    self.put('\\', out);
                }
                self.put(c, out);
            }
            // An image as the text of a link: the outer brackets and their address are removed.
            Inline::Link if c == '[' && self.held == "!" => self.open(Inline::Link),
            Inline::Link if c == ']' => self.inline = Inline::Linked,
            Inline::Tag if c == '>' => {
                let tag = self.take_held();
                self.inline = Inline::Text;
                if tag.contains(['@', ':']) && !tag.contains(char::is_whitespace) {
                    self.put_all(&tag, out); // an address
                }
                self.has_space |= tag.starts_with("br");
            }
            Inline::Tag if self.held.is_empty() && !(c.is_ascii_alphabetic() || c == '/' || c == '!') => {
                self.settle(out);
                self.read_text(c, out);
            }
            Inline::Link | Inline::Tag if self.held_chars >= MAX_HELD || c == '[' || c == '<' => {
                self.settle(out);
                self.read_inline(c, out);
            }
            Inline::Link | Inline::Tag => self.hold(c),
            Inline::Linked if c == '(' || c == '[' || self.held.starts_with('^') => {
                let text = self.take_held();
                self.inline = Inline::Text;
                if text.starts_with('^') {
                    return self.read_text(c, out); // a footnote's number
                }
                for c in text.chars() {
                    self.read_inline(c, out);
                }
                self.settle_before(None, out);
                self.inline = if c == '(' { Inline::Address(1) } else { Inline::Reference };
            }
            Inline::Bracket if c == '(' => self.inline = Inline::Address(1),
            Inline::Linked | Inline::Bracket => {
                self.settle(out);
                self.read_inline(c, out);
            }
            Inline::Address(depth) => {
                self.held_chars += 1;
                self.inline = match c {
                    '(' => Inline::Address(depth + 1),
                    ')' if depth > 1 => Inline::Address(depth - 1),
                    ')' => Inline::Text,
                    _ if self.held_chars > MAX_ADDRESS => Inline::Text,
                    _ => self.inline,
                };
                if self.inline == Inline::Text {
                    self.held_chars = 0;
                }
            }
            Inline::Reference if c == ']' => self.inline = Inline::Text,
            Inline::Reference => {}
        }
    }

    fn read_text(&mut self, c: char, out: &mut String) {
        match c {
            '`' => {
                self.open(Inline::Run(c));
                self.hold(c);
            }
            _ if self.is_code => self.put(c, out),
            '*' | '_' | '~' => {
                self.open(Inline::Run(c));
                self.hold(c);
            }
            '\\' => self.open(Inline::Escape),
            '!' => self.open(Inline::Bang),
            '[' => self.open(Inline::Link),
            ']' => self.open(Inline::Bracket),
            '<' => self.open(Inline::Tag),
            '|' if self.table != TableState::None => {
                self.table = TableState::Cell;
                self.has_space = false;
            }
            _ => self.put(c, out),
        }
    }

    fn open(&mut self, inline: Inline) {
        self.take_held();
        self.inline = inline;
    }

    /// Ends the open construct at the end of the line or the text.
    fn settle(&mut self, out: &mut String) {
        self.settle_before(None, out);
    }

    /// Writes the held text if it is not markup, given the character that follows.
    fn settle_before(&mut self, next: Option<char>, out: &mut String) {
        let inline = std::mem::take(&mut self.inline);
        let held = self.take_held();
        match inline {
            // A backslash at the end of a line is a line break.
            Inline::Text | Inline::Escape | Inline::Address(_) | Inline::Reference => {}
            Inline::Run('`') => self.is_code = !self.is_code,
            Inline::Run(mark) => {
                let before = if self.has_space { None } else { self.previous.filter(|c| !c.is_whitespace()) };
                let after = next.filter(|c| !c.is_whitespace());
                let literal = match (before, after) {
                    (None, None) => true,
                    (Some(a), Some(b)) if mark == '*' => a.is_numeric() && b.is_alphanumeric(),
                    (Some(a), Some(b)) if mark == '_' => a.is_alphanumeric() && b.is_alphanumeric(),
                    _ => mark == '~' && held.len() == 1,
                };
                if literal {
                    self.put_all(&held, out);
                }
            }
            Inline::Bang => self.put('!', out),
            Inline::Bracket => self.put(']', out),
            Inline::Tag => {
                self.put('<', out);
                self.put_all(&held, out);
            }
            Inline::Link | Inline::Linked => {
                self.put('[', out);
                for c in held.chars() {
                    self.read_inline(c, out);
                }
                if inline == Inline::Linked {
                    self.settle_before(Some(']'), out);
                    self.put(']', out);
                } else {
                    self.settle_before(next, out);
                }
            }
        }
    }

    fn hold(&mut self, c: char) {
        self.held.push(c);
        self.held_chars += 1;
    }

    fn take_held(&mut self) -> String {
        self.held_chars = 0;
        std::mem::take(&mut self.held)
    }

    fn put_all(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            self.put(c, out);
        }
    }

    fn put(&mut self, c: char, out: &mut String) {
        // Joiners have a meaning in other scripts, so they are removed only after an emoji.
        let emoji = is_emoji(c) && (c != '\u{200d}' || self.is_after_emoji);
        if c.is_whitespace() {
            self.has_space = true;
            self.is_after_emoji = false;
            return;
        }
        self.is_after_emoji = emoji;
        if emoji {
            return;
        }
        if self.table == TableState::Cell {
            self.table = TableState::Row;
            self.has_space = false;
            if self.previous.is_some_and(|p| !p.is_whitespace()) {
                out.push_str(", ");
            }
        }
        if std::mem::take(&mut self.has_space) {
            out.push(' ');
        }
        out.push(c);
        self.previous = Some(c);
        self.breaks = 0;
    }

    fn put_line_break(&mut self, out: &mut String) {
        self.has_space = false;
        self.is_after_emoji = false;
        if self.previous.is_some() && self.breaks < 2 {
            self.breaks += 1;
            self.previous = Some('\n');
            out.push('\n');
        }
    }

    fn paragraph(&mut self, out: &mut String) {
        self.put_line_break(out);
        self.put_line_break(out);
    }
}

/// True if the text may still become a label: `#` and `+` wait for white space, `` ` `` and `~` for the rest of
/// a fence.
fn is_prefix(text: &str) -> bool {
    let run = |c: char, most: usize| text.len() <= most && text.chars().all(|t| t == c);
    run('#', 6) || run('+', 1) || run('`', 2) || run('~', 2) || is_task(text)
}

/// True if the text may still become the label of a task, `- [ ] `.
fn is_task(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '*', '+']).unwrap_or("");
    !rest.is_empty() && [" [ ]", " [x]", " [X]"].iter().any(|label| label.starts_with(rest))
}

/// Returns the length in bytes of the mark of a heading or item, with the white space after it.
fn label(text: &str) -> usize {
    let heading = text.len() - text.trim_start_matches('#').len();
    let mark = if text.starts_with(['-', '*', '+']) {
        1
    } else if heading <= 6 {
        heading
    } else {
        0
    };
    if mark == 0 || !text[mark..].starts_with([' ', '\t']) {
        return 0;
    }
    let task = ["[ ] ", "[x] ", "[X] "].iter().any(|t| text[mark + 1..].starts_with(t));
    if task { mark + 5 } else { mark + 1 }
}

/// True for a thematic break, the line under a heading, or the line under a table's head.
fn is_rule(text: &str) -> bool {
    let marks: String = text.split_whitespace().collect();
    let same = |c: char| marks.len() >= 3 && marks.chars().all(|m| m == c);
    same('-') || same('*') || same('_') || same('=') || marks.contains('|') && marks.contains('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Markdown, and the text to be spoken.
    const CASES: &[(&str, &str)] = &[
        ("**Note.** Read this.", "Note. Read this."),
        ("See [the guide](https://example.com/x.y). Ok.", "See the guide. Ok."),
        ("**bold** text.", "bold text."),
        ("3 * 4 is 12.", "3 * 4 is 12."),
        ("👍", ""),
        ("", ""),
        ("Plain text, (nothing) [more] than that!", "Plain text, (nothing) [more] than that!"),
        ("*a* _b_ __c__ ***d*** ~~e~~ ~5", "a b c d e ~5"),
        ("3*4, 2**10, snake_case_name, _so_.", "3*4, 2**10, snake_case_name, so."),
        ("Run `cargo *test*` now", "Run cargo *test* now"),
        ("It was cut [...] and [sewn].", "It was cut [...] and [sewn]."),
        ("A [**bold** link](u \"t\") and ![a cat](c.png)!", "A bold link and a cat!"),
        ("[![badge](b.svg)](https://x.y/z_(q)) ok", "badge ok"),
        ("See [this][1] and that[^2].", "See this and that."),
        ("[[nested](x)] [open", "[nested] [open"),
        ("# Title\nText", "Title\n\nText"),
        ("Text\n## Part ##", "Text\n\nPart ##"),
        ("#hashtag and C# and #1", "#hashtag and C# and #1"),
        ("- Milk\n- Bread", "Milk\n\nBread"),
        ("* one\n  + two", "one\n\ntwo"),
        ("- [ ] open\n* [x] done", "open\n\ndone"),
        ("-5 degrees\n--flag", "-5 degrees\n--flag"),
        ("1. Wash\n2. Dry", "1. Wash\n2. Dry"),
        ("a\n\n---\n\nb", "a\n\nb"),
        ("a\n* * *\nb", "a\n\nb"),
        ("Title\n=====\nText", "Title\n\nText"),
        ("> Quoted\n> > twice", "Quoted\ntwice"),
        ("a\n```rust\nlet x = `1`;\n\n```\nb", "a\n\nb"),
        ("~~~\n```\n~~~\nb", "b"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a, b\n\n1, 2"),
        ("1 \\* 2 and C:\\dir", "1 * 2 and C:\\dir"),
        ("a<br/>b <b>c</b>. If 5 < 10 > 3", "a b c. If 5 < 10 > 3"),
        ("<https://example.org> <a@b.c>", "https://example.org a@b.c"),
        ("Done. 😀 Next 👩\u{200d}💻👍🏽 one. 🇳🇴", "Done. Next one. "),
        ("क्\u{200d}ष stays", "क्\u{200d}ष stays"),
        ("Hi\r\nthere", "Hi\nthere"),
        ("Wow! [x", "Wow! [x"),
        ("a * b", "a * b"),
        ("trailing *", "trailing *"),
    ];

    fn clean<'a>(fragments: impl IntoIterator<Item = &'a str>) -> String {
        let (mut cleaner, mut out) = (Cleaner::default(), String::new());
        for fragment in fragments {
            cleaner.push(fragment, &mut out);
            assert!(cleaner.held_chars <= MAX_ADDRESS + 1 && cleaner.held.chars().count() <= MAX_HELD + 1);
        }
        cleaner.finish(&mut out);
        out
    }

    fn characters(text: &str) -> impl Iterator<Item = &str> {
        text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()])
    }

    #[test]
    fn cases_are_the_same_cut_anywhere() {
        for (text, expected) in CASES {
            assert_eq!(clean([*text]), *expected, "{text:?}");
            assert_eq!(clean(characters(text)), *expected, "{text:?} by character");
            for (at, _) in text.char_indices() {
                assert_eq!(clean([&text[..at], &text[at..]]), *expected, "{text:?} cut at {at}");
            }
        }
    }

    #[test]
    fn mixtures_are_the_same_cut_anywhere() {
        let all: Vec<&str> = CASES.iter().map(|(text, _)| *text).collect();
        for separator in ["", " ", "\n", "[", "`", "*", "<b", "!"] {
            let text = all.join(separator);
            assert_eq!(clean(characters(&text)), clean([text.as_str()]), "{separator:?}");
        }
    }

    #[test]
    fn memory_is_bounded_for_hostile_markdown() {
        for pattern in [
            "[", "[a", "<a", "*", "_ ", "`", "!", "![", "](", "\\", "#", "-", "- ", ">", "|", "~", "[a](",
            "[a][", "* ",
        ] {
            let text = pattern.repeat(20_000);
            assert!(clean(characters(&text)).len() <= text.len() * 2, "{pattern:?}");
        }
    }

    #[test]
    fn finish_allows_more_text() {
        let (mut cleaner, mut out) = (Cleaner::default(), String::new());
        for fragment in ["One ", "*two", "*\n", "- three"] {
            cleaner.push(fragment, &mut out);
            cleaner.finish(&mut out);
        }
        assert_eq!(out, "One two\n\nthree");
    }
}
