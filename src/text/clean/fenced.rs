//! Fenced code whose end has not come: it is silent, but the lines in it that look like prose are kept.
//!
//! If the fence is closed, they are dropped. If it never is, because its author forgot it or the text was broken
//! off, they are spoken.

use super::inline::{MAX_ANGLE, MAX_SILENT};
use super::prose::{MIN_SENTENCES, MIN_WORDS};
use crate::text::is_ideographic;
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Fewest words of a line without a mark at its end that are prose by themselves.
const MIN_LINE_WORDS: usize = 6;

/// Lines of an open fence.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Fenced {
    /// Lines of prose, as they were written.
    kept: Sourced,
    /// The line so far, and the bytes of it that belong to its containers.
    line: Sourced,
    prefix: usize,
    /// The kind of the line's beginning, if that was taken already.
    begun: Option<Kind>,
    /// The kind of the line before.
    previous: Kind,
    /// A heading, or a comment of code: the next line decides.
    title: Sourced,
    /// True if the fence names no language, or none of code.
    is_text: bool,
    /// Words and sentences of prose since the last line of code.
    words: usize,
    sentences: usize,
}

/// Kind of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[default]
    Blank,
    Prose,
    Code,
    Title,
}

impl Fenced {
    /// Takes the language of the fence, with the marks before it.
    pub(super) fn name(&mut self, info: &str) {
        let language = info.trim_matches(['`', '~', ' ', '\t']).to_ascii_lowercase();
        self.is_text = matches!(language.as_str(), "" | "text" | "txt" | "plaintext" | "markdown" | "md");
    }

    /// Begins a line with these characters. The first `prefix` ones belong to its containers.
    pub(super) fn begin_line(&mut self, chars: &[(char, Span)], prefix: usize) {
        self.prefix = chars[..prefix].iter().map(|(c, _)| c.len_utf8()).sum();
        chars.iter().for_each(|(c, span)| self.line.push(*c, *span));
    }

    /// Takes the next character of the line. Returns true if the text so far is prose for certain.
    pub(super) fn read(&mut self, c: char, span: Span) -> bool {
        self.line.push(c, span);
        if self.line.text.len() > MAX_ANGLE {
            self.begun = Some(self.take_line());
        }
        self.is_certain()
    }

    /// Ends the line. Returns true if the text so far is prose for certain.
    pub(super) fn end_line(&mut self, c: char, span: Span) -> bool {
        let kind = self.take_line();
        match kind {
            Kind::Title => self.title.push(c, span),
            Kind::Code => self.separate(span),
            Kind::Prose | Kind::Blank if self.kept.text.is_empty() => {}
            Kind::Prose | Kind::Blank => self.kept.push(c, span),
        }
        (self.previous, self.begun) = (kind, None);
        self.is_certain()
    }

    fn is_certain(&self) -> bool {
        self.words >= MIN_WORDS && self.sentences >= MIN_SENTENCES || self.kept.text.len() > MAX_SILENT
    }

    /// True if the text so far ends with a sentence of prose.
    pub(super) fn has_sentence(&self) -> bool {
        let line = self.line.text.as_str();
        match line.trim().is_empty() {
            true => !self.kept.text.is_empty(),
            false => ends(line) && self.kind() == Kind::Prose,
        }
    }

    /// Returns the lines of prose so far. A line that may still become prose stays, unless the text `is_over`.
    pub(super) fn take(&mut self, is_over: bool) -> Sourced {
        if is_over || self.kind() == Kind::Prose {
            let kind = self.take_line();
            (self.previous, self.begun) = (kind, Some(kind));
        }
        if self.line.text.is_empty() {
            // A title at the end belongs to no code.
            self.accept_title();
        }
        self.kept.take()
    }

    /// Takes the line so far, and keeps it if it is prose.
    fn take_line(&mut self) -> Kind {
        let kind = self.kind();
        let line = self.line.take();
        self.prefix = 0;
        match kind {
            Kind::Prose | Kind::Blank => self.accept_title(),
            Kind::Code => {
                self.title.take();
                (self.words, self.sentences) = (0, 0);
            }
            Kind::Title => self.title = line.clone(),
        }
        if kind == Kind::Prose {
            let words = || line.text.split_whitespace();
            self.words += words().filter(|word| word.contains(char::is_alphabetic)).count();
            self.sentences += words().filter(|word| ends(word)).count();
            line.chars().for_each(|(c, span)| self.kept.push(c, span));
        }
        kind
    }

    fn accept_title(&mut self) {
        for (c, span) in self.title.take().chars() {
            self.kept.push(c, span);
        }
    }

    /// Keeps the lines before some code apart from those behind it.
    fn separate(&mut self, span: Span) {
        if !self.kept.text.is_empty() && !self.kept.text.ends_with("\n\n") {
            self.kept.push('\n', span);
        }
    }

    /// The kind of the line so far.
    fn kind(&self) -> Kind {
        let line = &self.line.text[self.prefix..];
        let text = line.trim();
        match self.begun {
            Some(kind) => return kind,
            None if text.is_empty() => return Kind::Blank,
            None => {}
        }
        let is_indented = line.starts_with("    ") || line.starts_with('\t') || line.starts_with(" * ");
        let follows = self.previous == Kind::Prose;
        let rest = text.trim_start_matches('#');
        if rest.len() < text.len() {
            let is_title = matches!(self.previous, Kind::Blank | Kind::Prose)
                && rest.starts_with(' ')
                && rest.len() + 6 >= text.len();
            return if is_title && is_prose(rest.trim(), true, true) { Kind::Title } else { Kind::Code };
        }
        let item = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let item =
            item.strip_prefix(['-', '*', '+', '>', '•', '.', ')']).and_then(|rest| rest.strip_prefix(' '));
        let is_lasting = self.is_text || item.is_some();
        match is_prose(item.unwrap_or(text), is_lasting, follows) && (!is_indented || follows) {
            true => Kind::Prose,
            false => Kind::Code,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.kept.memory_bytes() + self.line.memory_bytes() + self.title.memory_bytes()
    }
}

/// True if the text ends like a sentence, or like a line that introduces the next one.
fn ends(text: &str) -> bool {
    text.trim_end_matches(|c: char| c.is_whitespace() || "*_\"'”’»)".contains(c))
        .ends_with(['.', '!', '?', ':', '…', '。', '！', '？', '：'])
}

/// True if a line of code can hardly be code. It needs less evidence if it `follows` another such line, or if it is
/// a phrase by its place.
fn is_prose(text: &str, is_phrase: bool, follows: bool) -> bool {
    let is_comment =
        ["//", "--", "/*", "*/", "<!", "%", "@", "\"\"\"", "'''"].iter().any(|mark| text.starts_with(mark));
    if is_comment || text.ends_with([';', '{', '}', '\\', '|', '=']) {
        return false;
    }
    let (mut plain, mut strange, mut is_span) = (0, 0, false);
    for word in text.split_whitespace() {
        let ticks = word.matches('`').count();
        if is_span || ticks > 0 {
            is_span ^= ticks % 2 == 1;
            continue;
        }
        let core = word
            .trim_matches(|c: char| ".,;:!?()\"'*_[]~-".contains(c) || !c.is_ascii() && !c.is_alphanumeric());
        let is_word =
            core.chars().all(|c| c.is_alphabetic() || !c.is_ascii() || matches!(c, '\'' | '-' | '/'));
        let is_figure = core.chars().all(|c| c.is_ascii_digit() || ".,:%/-$€£°".contains(c));
        let is_call = word.contains("()") || word.contains("\":");
        match () {
            () if core.is_empty() && !word.contains(['(', ')', '"', '[', ']']) || core.contains("://") => {}
            () if is_call || !is_word && !is_figure => strange += 1,
            () if is_word && !core.is_empty() => plain += 1,
            () => {}
        }
    }
    let mut letters = text.chars().skip_while(|c| !c.is_alphanumeric());
    let first = letters.next().filter(|c| !c.is_lowercase());
    // Commands are in capitals, too.
    let begins = first.is_some_and(char::is_alphabetic) && letters.next().is_none_or(|c| !c.is_uppercase());
    let is_wide = text.chars().filter(|c| is_ideographic(*c)).count() >= 4;
    let is_enough = match () {
        () if begins && (ends(text) || is_wide) || follows => true,
        () if first.is_some() && ends(text) && plain >= 3 => true,
        () if is_phrase && begins => plain >= 2,
        () => begins && plain >= MIN_LINE_WORDS,
    };
    plain > 0 && strange * 5 <= plain && is_enough
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_in_code_is_known_by_its_words() {
        for text in [
            "Done.",
            "Then run the program and look at its output.",
            "Let me know if you have questions!",
            "It prints `x = 1;` to the screen.",
            "See https://example.com/a?b=c for more.",
            "**Note:** This is new.",
            "This will open the file and read all of its lines into memory",
            "然后运行它。",
            "Überprüfe das Ergebnis.",
            "Here’s what it does:",
            "NASA says so itself.",
            "3 of them are new.",
        ] {
            assert!(is_prose(text, false, false), "{text}");
        }
        for text in [
            "x",
            "pip install lumen",
            "let x = 1;",
            "print(\"Hello.\")",
            "return self.name",
            "// This is a comment.",
            "\"name\": \"Ann Lee.\",",
            "SELECT name, age FROM users WHERE age",
            "from os import path",
            "FROM node",
            "def greet(name):",
            "    Foo(bar).",
            "<p>Hello there.</p>",
            "Foo::bar(baz).",
            "1, 2, 3.",
            "self.close()",
            "if (a < b) { return; }",
            "Array<String> names",
            "git commit -m \"Fix it\"",
            "name: Ann",
        ] {
            assert!(!is_prose(text, false, false), "{text}");
        }
        assert!(is_prose("Dear Anna,", true, false) && !is_prose("Dear Anna,", false, false));
        assert!(is_prose("and the rest of it", false, true) && !is_prose("x = 1", false, true));
    }
}
