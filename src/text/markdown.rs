//! Markdown in, the text that is to be spoken out.
//!
//! Reads one character at a time and never looks at where the stream was cut. What cannot be decided yet is
//! held back, never more than [`MAX_HELD`] characters. It knows the Markdown that language models write, not
//! all of CommonMark: where the two differ, text is kept.

use crate::text::is_emoji;
use serde::{Deserialize, Serialize};

/// Longest text of a link, tag or line of punctuation that is recognised; a longer one is ordinary text.
const MAX_HELD: usize = 200;
/// Longest address of a link.
const MAX_ADDRESS: usize = 2_000;

/// Turns streamed Markdown into text to be spoken.
///
/// Emphasis, headings, bullets, rules, link addresses, tags and emoji disappear, fenced code with all it
/// holds. Items, headings and rows of tables become paragraphs, because no voice can show a line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cleaner {
    line: Line,
    inline: Inline,
    /// What waits for a decision, of the line's beginning or of an inline construct.
    held: String,
    held_chars: usize,
    /// The last character put out, and white space that is put out only before the next.
    previous: Option<char>,
    space: bool,
    /// Line breaks since then: two make a paragraph, more say no more.
    breaks: usize,
    code: bool,
    table: Table,
    after_emoji: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Line {
    /// Nothing but white space and marks so far.
    #[default]
    Beginning,
    Text,
    /// A line that is left out.
    Dropped,
    /// A heading or an item: a paragraph of its own.
    Paragraph,
    /// Inside fenced code: at the beginning of a line, and further on. The fence is of this character.
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
    /// `!`, perhaps of an image.
    Bang,
    /// The text of a link, after `[`.
    Link,
    /// After the `]` of a link, or of none.
    Linked,
    Bracket,
    /// The address of a link, with so many open parentheses, or its reference.
    Address(usize),
    Reference,
    Tag,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Table {
    #[default]
    None,
    Row,
    /// A cell is over; the next begins with its first character.
    Cell,
}

impl Cleaner {
    /// Takes the next piece of the Markdown and appends to `out` what is decided.
    pub(super) fn push(&mut self, fragment: &str, out: &mut String) {
        for c in fragment.chars() {
            self.read(c, out);
        }
    }

    /// Appends what was held back, as it stands. More text may follow.
    pub(super) fn finish(&mut self, out: &mut String) {
        if self.line == Line::Beginning {
            self.begin_line(None, out);
        }
        self.settle(out);
        if std::mem::take(&mut self.space) {
            out.push(' ');
        }
    }

    fn read(&mut self, c: char, out: &mut String) {
        if c == '\r' {
            return;
        }
        match self.line {
            Line::Beginning => {
                if c == '\n' {
                    self.begin_line(Some(c), out);
                    self.end_line(out);
                } else {
                    self.hold(c);
                    self.begin_line(Some(c), out);
                }
            }
            Line::Text | Line::Paragraph if c == '\n' => {
                // A link's text may go on in the next line, nothing else does.
                self.settle(out);
                self.end_line(out);
            }
            Line::Text | Line::Paragraph => self.read_inline(c, out),
            Line::Dropped if c == '\n' => self.end_line(out),
            Line::Dropped => {}
            Line::Fenced(_) | Line::FencedText(_) => self.read_fenced(c),
        }
    }

    fn read_fenced(&mut self, c: char) {
        let (Line::Fenced(fence) | Line::FencedText(fence)) = self.line else { return };
        if c == '\n' {
            self.take_held();
            self.line = Line::Fenced(fence);
        } else if self.line == Line::Fenced(fence) && !c.is_whitespace() {
            self.hold(c);
            if c != fence {
                self.line = Line::FencedText(fence);
            } else if self.held_chars == 3 {
                self.take_held();
                self.line = Line::Dropped;
            }
        }
    }

    /// Decides what the line is, once its beginning shows it. `last` is the newest character, none at the
    /// end.
    fn begin_line(&mut self, last: Option<char>, out: &mut String) {
        let text = self.held.trim_start();
        let complete = matches!(last, None | Some('\n'));
        let marks = text.trim_start_matches(['-', '*', '_', '=', '|', ':', ' ', '\t']).is_empty();
        let undecided = marks || is_prefix(text);
        if text.is_empty() && complete {
            self.take_held();
        } else if text.starts_with("```") || text.starts_with("~~~") {
            self.line = Line::FencedText(if text.starts_with('`') { '`' } else { '~' });
            self.take_held();
        } else if text.starts_with('>') {
            self.take_held(); // a quotation: what follows is the beginning of a line again
        } else if complete && marks && is_rule(text) {
            self.line = if last.is_some() { Line::Dropped } else { Line::Beginning };
            self.take_held();
            self.paragraph(out);
        } else if complete || !undecided || self.held_chars > MAX_HELD {
            let label = label(text);
            let text = text[label..].to_owned();
            self.take_held();
            let row = text.starts_with('|');
            self.table = if row { Table::Row } else { Table::None };
            self.line = if row || label > 0 { Line::Paragraph } else { Line::Text };
            if self.line == Line::Paragraph {
                self.paragraph(out);
            }
            for c in text.chars() {
                self.read_inline(c, out);
            }
        }
    }

    fn end_line(&mut self, out: &mut String) {
        if self.line == Line::Paragraph {
            self.paragraph(out);
        }
        self.line = Line::Beginning;
        self.code = false;
        self.table = Table::None;
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
            // An image as the text of a link: the outer brackets go, their address as well.
            Inline::Link if c == '[' && self.held == "!" => self.open(Inline::Link),
            Inline::Link if c == ']' => self.inline = Inline::Linked,
            Inline::Tag if c == '>' => {
                let tag = self.take_held();
                self.inline = Inline::Text;
                if tag.contains(['@', ':']) && !tag.contains(char::is_whitespace) {
                    self.put_all(&tag, out); // an address
                }
                self.space |= tag.starts_with("br");
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
            _ if self.code => self.put(c, out),
            '*' | '_' | '~' => {
                self.open(Inline::Run(c));
                self.hold(c);
            }
            '\\' => self.open(Inline::Escape),
            '!' => self.open(Inline::Bang),
            '[' => self.open(Inline::Link),
            ']' => self.open(Inline::Bracket),
            '<' => self.open(Inline::Tag),
            '|' if self.table != Table::None => {
                self.table = Table::Cell;
                self.space = false;
            }
            _ => self.put(c, out),
        }
    }

    fn open(&mut self, inline: Inline) {
        self.take_held();
        self.inline = inline;
    }

    /// Ends what is open, because the line or the text ends.
    fn settle(&mut self, out: &mut String) {
        self.settle_before(None, out);
    }

    /// Puts out what turned out to be no markup, given the character that follows.
    fn settle_before(&mut self, next: Option<char>, out: &mut String) {
        let inline = std::mem::take(&mut self.inline);
        let held = self.take_held();
        match inline {
            // A backslash at the end of a line is a line break.
            Inline::Text | Inline::Escape | Inline::Address(_) | Inline::Reference => {}
            Inline::Run('`') => self.code = !self.code,
            Inline::Run(mark) => {
                let before = if self.space { None } else { self.previous.filter(|c| !c.is_whitespace()) };
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
        // Joiners mean something in other scripts, so they go only with the emoji that they join.
        let emoji = is_emoji(c) && (c != '\u{200d}' || self.after_emoji);
        if c.is_whitespace() {
            self.space = true;
            self.after_emoji = false;
            return;
        }
        self.after_emoji = emoji;
        if emoji {
            return;
        }
        if self.table == Table::Cell {
            self.table = Table::Row;
            self.space = false;
            if self.previous.is_some_and(|p| !p.is_whitespace()) {
                out.push_str(", ");
            }
        }
        if std::mem::take(&mut self.space) {
            out.push(' ');
        }
        out.push(c);
        self.previous = Some(c);
        self.breaks = 0;
    }

    fn put_line_break(&mut self, out: &mut String) {
        self.space = false;
        self.after_emoji = false;
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

/// Whether this may still become a label: `#` and `+` wait for the white space behind them, `` ` `` and `~`
/// for the rest of a fence.
fn is_prefix(text: &str) -> bool {
    let run = |c: char, most: usize| text.len() <= most && text.chars().all(|t| t == c);
    run('#', 6) || run('+', 1) || run('`', 2) || run('~', 2) || is_task(text)
}

/// Whether this may still become the label of a task, `- [ ] `.
fn is_task(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '*', '+']).unwrap_or("");
    !rest.is_empty() && [" [ ]", " [x]", " [X]"].iter().any(|label| label.starts_with(rest))
}

/// Bytes of the mark that makes this line a heading or an item, with the white space behind it.
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

/// A thematic break, the line under a heading or the line under a table's head.
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
    fn cases_cut_anywhere() {
        for (text, expected) in CASES {
            assert_eq!(clean([*text]), *expected, "{text:?}");
            assert_eq!(clean(characters(text)), *expected, "{text:?} by character");
            for (at, _) in text.char_indices() {
                assert_eq!(clean([&text[..at], &text[at..]]), *expected, "{text:?} cut at {at}");
            }
        }
    }

    #[test]
    fn any_mixture_can_be_cut_anywhere() {
        let all: Vec<&str> = CASES.iter().map(|(text, _)| *text).collect();
        for separator in ["", " ", "\n", "[", "`", "*", "<b", "!"] {
            let text = all.join(separator);
            assert_eq!(clean(characters(&text)), clean([text.as_str()]), "{separator:?}");
        }
    }

    #[test]
    fn hostile_markdown_is_kept_or_dropped_in_bounded_memory() {
        for pattern in [
            "[", "[a", "<a", "*", "_ ", "`", "!", "![", "](", "\\", "#", "-", "- ", ">", "|", "~", "[a](",
            "[a][", "* ",
        ] {
            let text = pattern.repeat(20_000);
            assert!(clean(characters(&text)).len() <= text.len() * 2, "{pattern:?}");
        }
    }

    #[test]
    fn text_may_follow_after_finish() {
        let (mut cleaner, mut out) = (Cleaner::default(), String::new());
        for fragment in ["One ", "*two", "*\n", "- three"] {
            cleaner.push(fragment, &mut out);
            cleaner.finish(&mut out);
        }
        assert_eq!(out, "One two\n\nthree");
    }
}
