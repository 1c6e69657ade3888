//! Text in angle brackets: tags, comments, addresses, and text that only looks like one of them.

use super::element::{self, Element};
use serde::{Deserialize, Serialize};

/// Longest part of an attribute's value without white space that is kept, in characters. A longer one is no
/// text, but an address or data.
const MAX_UNBROKEN: usize = 300;

/// Reads what follows a `<`, one character at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Angle {
    part: Part,
    /// True for a page, false for Markdown, whose rules for tags are narrower.
    is_page: bool,
    may_be_comment: bool,
    is_closing: bool,
    is_self_closing: bool,
    /// The name of the element as written, or the beginning of an address.
    name: String,
    attribute: String,
    has_value: bool,
    has_strange_flag: bool,
    /// Characters of a value since its last white space.
    unbroken: usize,
    /// Marks in a row that may end the construct.
    marks: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Part {
    #[default]
    Start,
    Bang,
    CommentStart,
    Comment,
    /// Characters of `[CDATA[` read, and its content after them.
    Cdata(usize),
    Declaration,
    Instruction,
    Name,
    /// An address in angle brackets: of a page, and of a mailbox.
    Link,
    Mailbox {
        has_at: bool,
    },
    /// White space in a tag, where an attribute may begin.
    Space,
    Attribute,
    AfterAttribute,
    BeforeValue,
    Unquoted,
    Quoted(char),
    AfterValue,
    Slash,
    ClosingSpace,
}

/// The meaning of the characters so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Undecided: more text is needed.
    More,
    /// The same, and this character is no text in any case.
    Skip,
    /// Text that only looks like markup. The last character is not part of it.
    Text,
    Tag(Element),
    /// A comment, an instruction or a declaration.
    Comment,
    /// An address, between the brackets.
    Link,
    Mailbox,
    /// Literal text, between `<![CDATA[` and `]]>`.
    Cdata,
}

impl Angle {
    /// `may_be_comment` is false where a comment would have no end.
    pub(super) fn new(is_page: bool, may_be_comment: bool) -> Angle {
        Angle { is_page, may_be_comment, ..Angle::default() }
    }

    /// The name of the element, in lower case.
    pub(super) fn name(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }

    pub(super) fn is_self_closing(&self) -> bool {
        self.is_self_closing
    }

    /// True if this can hardly be anything but a tag: it has an attribute with a value.
    pub(super) fn is_surely_tag(&self) -> bool {
        self.has_value
    }

    /// True if it has an attribute with a value.
    pub(super) fn has_value(&self) -> bool {
        self.has_value
    }

    /// True if it has words that are no attributes of HTML.
    pub(super) fn has_words(&self) -> bool {
        self.has_strange_flag
    }

    /// True for the attributes of a tag, or its white space.
    pub(super) fn has_attributes(&self) -> bool {
        self.has_value || !self.attribute.is_empty()
    }

    /// The mark that closes a quoted value, if one is open.
    pub(super) fn quote(&self) -> Option<char> {
        match self.part {
            Part::Quoted(quote) => Some(quote),
            _ => None,
        }
    }

    /// The text that ends a comment, an instruction or a declaration; `None` for others.
    pub(super) fn end_of_comment(&self) -> Option<&'static str> {
        match self.part {
            Part::Comment => Some("-->"),
            Part::Instruction => Some("?>"),
            Part::Declaration => Some(">"),
            _ => None,
        }
    }

    pub(super) fn read(&mut self, c: char) -> Step {
        match self.part {
            Part::Start => match c {
                '/' if !self.is_closing => self.is_closing = true,
                '!' | '?' if !self.may_be_comment => return Step::Text,
                '!' if !self.is_closing => self.part = Part::Bang,
                '?' if !self.is_closing => self.part = Part::Instruction,
                _ if c.is_ascii_alphabetic() => {
                    self.part = Part::Name;
                    self.name.push(c);
                }
                _ if c.is_alphanumeric() && !self.is_closing && !self.is_page => {
                    return self.begin_mailbox(c);
                }
                _ => return Step::Text,
            },
            Part::Bang => match c {
                '-' => self.part = Part::CommentStart,
                '[' => self.part = Part::Cdata(1),
                _ if c.is_ascii_alphabetic() => self.part = Part::Declaration,
                _ => return Step::Text,
            },
            Part::CommentStart if c == '-' => (self.part, self.marks) = (Part::Comment, 2),
            Part::CommentStart => return Step::Text,
            Part::Comment if c == '>' && self.marks >= 2 => return Step::Comment,
            Part::Comment => self.count(c, '-'),
            Part::Declaration | Part::Instruction if c == '>' => {
                if self.part == Part::Declaration || self.marks > 0 {
                    return Step::Comment;
                }
            }
            Part::Declaration => {}
            Part::Instruction => self.count(c, '?'),
            Part::Cdata(read) => match "[CDATA[".chars().nth(read) {
                Some(expected) if c == expected => self.part = Part::Cdata(read + 1),
                // `<![if …]>` of old pages.
                Some(_) if self.is_page => {
                    self.part = Part::Declaration;
                    return self.read(c);
                }
                Some(_) => return Step::Text,
                None if c == '>' && self.marks >= 2 => return Step::Cdata,
                None => self.count(c, ']'),
            },
            Part::Name => return self.read_name(c),
            Part::Link => match c {
                '>' => return Step::Link,
                '<' => return Step::Text,
                _ if c.is_whitespace() || c.is_control() => return Step::Text,
                _ => return self.read_unbroken(c),
            },
            Part::Mailbox { has_at } => match c {
                '>' if has_at => return Step::Mailbox,
                '@' if !has_at => self.part = Part::Mailbox { has_at: true },
                '-' | '.' => {}
                _ if c.is_ascii_alphanumeric() => {}
                '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '/' | '=' | '?' | '^' | '_' | '`' | '{'
                | '|' | '}' | '~'
                    if !has_at => {}
                _ => return Step::Text,
            },
            _ => return self.read_attributes(c),
        }
        Step::More
    }

    fn count(&mut self, c: char, mark: char) {
        self.marks = if c == mark { self.marks + 1 } else { 0 };
    }

    fn begin_mailbox(&mut self, c: char) -> Step {
        self.part = Part::Mailbox { has_at: false };
        self.read(c)
    }

    fn read_name(&mut self, c: char) -> Step {
        let is_link = !self.is_page || matches!(self.name().as_str(), "http" | "https" | "ftp" | "mailto");
        if c == ':' && is_link && !self.is_closing && (2..=32).contains(&self.name.len()) {
            self.part = Part::Link;
            return Step::More;
        }
        // "ssh://" of a page
        if c == '/' && self.is_page && !self.is_closing && self.name.len() > 2 && self.name.ends_with(':') {
            self.part = Part::Link;
            return Step::More;
        }
        // Word processors write names such as `o:p`.
        if c.is_ascii_alphanumeric() || c == '-' || c == ':' && self.is_page {
            self.name.push(c);
            return if self.name.len() > 64 { Step::Text } else { Step::More };
        }
        let ends_name = c.is_whitespace() || matches!(c, '>' | '/');
        if !ends_name {
            return if self.is_closing || self.is_page { Step::Text } else { self.begin_mailbox(c) };
        }
        if self.element().is_none() {
            return Step::Text;
        }
        self.part = match self.is_closing && !self.is_page {
            true => Part::ClosingSpace,
            false => Part::Space,
        };
        self.read_attributes(c)
    }

    fn element(&self) -> Option<Element> {
        let is_custom = self.is_page && self.name.contains(['-', ':']);
        element::of(&self.name()).or(is_custom.then_some(Element::Inline))
    }

    fn read_attributes(&mut self, c: char) -> Step {
        let is_space = c.is_whitespace();
        match self.part {
            Part::Quoted(quote) if c == quote => self.part = Part::AfterValue,
            Part::Quoted(_) => return self.read_unbroken(c),
            Part::BeforeValue if is_space => {}
            Part::BeforeValue if matches!(c, '"' | '\'') => {
                (self.part, self.unbroken, self.has_value) = (Part::Quoted(c), 0, true);
            }
            Part::BeforeValue if matches!(c, '=' | '<' | '>' | '`') && !(self.is_page && c == '>') => {
                return Step::Text;
            }
            Part::BeforeValue if c != '>' => {
                (self.part, self.unbroken, self.has_value) = (Part::Unquoted, 1, true);
            }
            Part::Unquoted if !is_space && c != '>' => {
                if matches!(c, '"' | '\'' | '=' | '<' | '`') && !self.is_page {
                    return Step::Text;
                }
                return self.read_unbroken(c);
            }
            Part::AfterValue if !is_space && !matches!(c, '>' | '/') && !self.is_page => return Step::Text,
            Part::ClosingSpace if !is_space && c != '>' => return Step::Text,
            Part::ClosingSpace if is_space => {}
            Part::Attribute | Part::AfterAttribute if c == '=' => self.part = Part::BeforeValue,
            Part::Attribute if is_space => self.part = Part::AfterAttribute,
            Part::Attribute if is_attribute(c, self.is_page) => self.attribute.push(c),
            Part::AfterAttribute if is_space => {}
            _ if c == '>' => return self.end_tag(),
            Part::Slash if !self.is_page => return Step::Text,
            _ => {
                self.end_attribute();
                self.is_self_closing = c == '/';
                match c {
                    '/' => self.part = Part::Slash,
                    _ if is_space => self.part = Part::Space,
                    _ if c.is_ascii_alphabetic() || matches!(c, '_' | ':') || self.is_page && c != '<' => {
                        self.part = Part::Attribute;
                        self.attribute.push(c);
                    }
                    _ => return Step::Text,
                }
            }
        }
        if self.attribute.len() > 200 { Step::Text } else { Step::More }
    }

    /// Reads a character of a value. A long part without white space is no text.
    fn read_unbroken(&mut self, c: char) -> Step {
        self.unbroken = if c.is_whitespace() { 0 } else { self.unbroken + 1 };
        if self.unbroken > MAX_UNBROKEN && c.is_ascii() { Step::Skip } else { Step::More }
    }

    fn end_attribute(&mut self) {
        if matches!(self.part, Part::Attribute | Part::AfterAttribute) && !element::is_flag(&self.attribute) {
            self.has_strange_flag = true;
        }
        self.attribute.clear();
    }

    fn end_tag(&mut self) -> Step {
        self.end_attribute();
        // `<Select>` is a key to press, and "<p reading on>" is no tag either.
        let is_title = self.name.len() > 1
            && self.name.starts_with(|c: char| c.is_ascii_uppercase())
            && self.name.contains(|c: char| c.is_ascii_lowercase());
        let is_doubtful = is_title && !self.is_closing && !self.has_value || self.has_strange_flag;
        match self.element() {
            Some(element) if self.is_page || self.has_value || !is_doubtful => Step::Tag(element),
            _ => Step::Text,
        }
    }
}

fn is_attribute(c: char, is_page: bool) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | ':' | '.' | '-')
        || is_page && !matches!(c, '>' | '/' | '<')
}

/// Returns the value of an attribute in a whole tag, as a range of bytes.
pub(super) fn attribute(tag: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let mut at = tag.find(|c: char| c.is_whitespace() || c == '/')?;
    loop {
        let skip = |at: usize, f: fn(char) -> bool| tag[at..].find(f).map(|found| at + found);
        at = skip(at, |c| !c.is_whitespace() && c != '/')?;
        let end = skip(at, |c| c.is_whitespace() || matches!(c, '=' | '>' | '/'))?.max(at + 1);
        let found = tag.get(at..end)?;
        at = skip(end, |c| !c.is_whitespace())?;
        let mut value = at..at;
        if tag[at..].starts_with('=') {
            at = skip(at + 1, |c| !c.is_whitespace())?;
            let quote = tag[at..].chars().next().filter(|c| matches!(c, '"' | '\''));
            value = match quote {
                Some(quote) => at + 1..tag[at + 1..].find(quote).map(|found| at + 1 + found)?,
                None => at..skip(at, |c| c.is_whitespace() || c == '>')?,
            };
            at = value.end + usize::from(quote.is_some());
        }
        if found.eq_ignore_ascii_case(name) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_page: bool) -> (Step, usize) {
        let mut angle = Angle::new(is_page, true);
        for (at, c) in text.char_indices().skip(1) {
            match angle.read(c) {
                Step::More | Step::Skip => {}
                step => return (step, at),
            }
        }
        (Step::More, text.len())
    }

    #[test]
    fn tags_are_those_of_html() {
        for (text, expected) in [
            ("<b>", Step::Tag(Element::Inline)),
            ("</b>", Step::Tag(Element::Inline)),
            ("<br/>", Step::Tag(Element::Break)),
            ("<BR >", Step::Tag(Element::Break)),
            ("<a href=\"a > b\" title='x'>", Step::Tag(Element::Inline)),
            ("<img src=x alt=y />", Step::Tag(Element::Image)),
            ("<input disabled data-x>", Step::Tag(Element::Phrase)),
            ("<p\n class = \"a\"\n>", Step::Tag(Element::Block)),
            ("<h2 id=a>", Step::Tag(Element::Heading)),
            ("<!-- a > b -- c -->", Step::Comment),
            ("<!-->", Step::Comment),
            ("<!DOCTYPE html>", Step::Comment),
            ("<?php echo '>' ?>", Step::Comment),
            ("<![CDATA[ a ]] > ]]>", Step::Cdata),
            ("<https://example.org/a?b>", Step::Link),
            ("<mailto:a@b.c>", Step::Link),
            ("<a.b+c@d.e>", Step::Mailbox),
            ("<Enter>", Step::Text),
            ("<Ctrl+C>", Step::Text),
            ("<Quest failed: 8 hours left; Accept / Decline>", Step::Text),
            ("<Select>", Step::Text),
            ("<p reading on>", Step::Text),
            ("<b =>", Step::Text),
            ("<a \"b\">", Step::Text),
            ("<a b=\"c\"d>", Step::Text),
            ("</b c>", Step::Text),
            ("<3 you>", Step::Text),
            ("< b>", Step::Text),
            ("<>", Step::Text),
            ("<!>", Step::Text),
            ("<http://a b>", Step::Text),
            ("<a href=", Step::More),
        ] {
            assert_eq!(read(text, false).0, expected, "{text}");
        }
        for (text, expected) in [
            ("<o:p>", Step::Tag(Element::Inline)),
            ("<https://example.org/a?b>", Step::Link),
            ("<![if !IE]>", Step::Comment),
            ("<![endif]>", Step::Comment),
            ("<Div>", Step::Tag(Element::Block)),
            ("<my-widget on>", Step::Tag(Element::Inline)),
            ("<p @click='x' y z>", Step::Tag(Element::Block)),
            ("</div x>", Step::Tag(Element::Block)),
            ("<Enter>", Step::Text),
        ] {
            assert_eq!(read(text, true).0, expected, "{text}");
        }
    }

    #[test]
    fn attribute_is_found_by_its_name() {
        let tag = "<img src=a/b.png data-alt='no' ALT = \"A cat\" hidden/>";
        let value = |name| attribute(tag, name).map(|range| &tag[range]);
        assert_eq!(value("alt"), Some("A cat"));
        assert_eq!(value("src"), Some("a/b.png"));
        assert_eq!(value("hidden"), Some(""));
        assert_eq!(value("title"), None);
        for broken in ["<img", "<img ", "<img alt", "<img alt=", "<img alt=\"", "<img =>", "<img / = / >"] {
            assert_eq!(attribute(broken, "alt"), None, "{broken}");
        }
    }
}
