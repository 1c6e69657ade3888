//! The address and title of a link: `(address "title")`, or `address "title"` in a definition.

use serde::{Deserialize, Serialize};

/// Longest address or title that is kept while it may be text, in characters.
const MAX_HELD: usize = 2_000;
/// Most white space of a long address in angle brackets. With more it is prose.
const MAX_SPACES: usize = 20;
/// Longest title of a long address, in characters.
const MAX_TITLE: usize = 300;
/// Most parentheses inside of each other in an address, as in CommonMark.
const MAX_DEPTH: usize = 32;

/// Reads what follows `](` or `]:`, one character at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Destination {
    part: Part,
    /// True for a definition, which ends with its line.
    is_definition: bool,
    is_escaped: bool,
    depth: usize,
    chars: usize,
    /// White space in an address in angle brackets.
    spaces: usize,
    line_breaks: usize,
    /// The first characters of the address.
    beginning: String,
    has_title: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Part {
    #[default]
    Start,
    /// An address in angle brackets.
    Angle,
    Bare,
    After,
    Space,
    Title(char),
    End,
}

/// The meaning of the characters so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    More,
    /// It is too long for text: it is dropped to its end.
    Skip,
    Done,
    /// This is no address.
    Text,
}

impl Destination {
    pub(super) fn of_link() -> Destination {
        Destination::default()
    }

    pub(super) fn of_definition() -> Destination {
        Destination { is_definition: true, ..Destination::default() }
    }

    /// True if the address is data, which is no text.
    pub(super) fn is_data(&self) -> bool {
        self.beginning.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
    }

    /// True for an address that looks like one. In "[Ann]: Yes", there is none.
    pub(super) fn is_plausible(&self) -> bool {
        let text = self.beginning.as_str();
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_scheme = scheme.len() > 1
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && text.len() > scheme.len() + 1;
        let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_name = ending.len() > 1 && ending.chars().all(|c| c.is_ascii_alphanumeric());
        self.has_title || text.starts_with(['<', '#']) || text.contains('/') || is_scheme || is_name
    }

    pub(super) fn read(&mut self, c: char) -> Step {
        self.chars += 1;
        let is_escaped = std::mem::replace(&mut self.is_escaped, false);
        let is_break = c == '\n';
        if is_break {
            self.line_breaks += 1;
            let may_go_on =
                matches!(self.part, Part::Title(_)) || self.part == Part::Start && self.line_breaks == 1;
            if self.is_definition && !may_go_on {
                let is_whole = matches!(self.part, Part::Bare | Part::After | Part::Space | Part::End)
                    && self.depth == 0;
                return if is_whole { Step::Done } else { Step::Text };
            }
        }
        let is_space = c.is_whitespace();
        match self.part {
            Part::Start if is_space && self.line_breaks < 2 => {}
            Part::Start if is_space => return Step::Text,
            Part::Start if c == ')' && !self.is_definition => return Step::Done,
            Part::Start => {
                self.part = if c == '<' { Part::Angle } else { Part::Bare };
                self.beginning.push(c);
                return if c == '<' { Step::More } else { self.read_bare(c, false) };
            }
            Part::Angle if is_escaped => {}
            Part::Angle => match c {
                '\\' => self.is_escaped = true,
                '>' => self.part = Part::After,
                '<' | '\n' => return Step::Text,
                _ => {
                    self.spaces += usize::from(is_space);
                    self.note(c);
                }
            },
            Part::Bare => {
                self.note(c);
                return self.read_bare(c, is_escaped);
            }
            Part::After | Part::Space | Part::End if c == ')' && !self.is_definition => return Step::Done,
            Part::After if is_space => self.part = Part::Space,
            Part::Space if matches!(c, '"' | '\'' | '(') => {
                self.part = Part::Title(if c == '(' { ')' } else { c });
                self.chars = self.chars.min(MAX_HELD - MAX_TITLE);
            }
            Part::Space | Part::End if is_space => {}
            Part::After | Part::Space | Part::End => return Step::Text,
            Part::Title(_) if is_escaped => {}
            Part::Title(_) if c == '\\' => self.is_escaped = true,
            Part::Title(end) if c == end => (self.part, self.has_title) = (Part::End, true),
            Part::Title(')') if c == '(' => return Step::Text,
            Part::Title(_) => {}
        }
        self.step(c)
    }

    fn read_bare(&mut self, c: char, is_escaped: bool) -> Step {
        match c {
            _ if is_escaped && c.is_ascii_punctuation() => {}
            '\\' => self.is_escaped = true,
            _ if c.is_whitespace() && self.depth > 0 => return Step::Text,
            _ if c.is_whitespace() => self.part = Part::Space,
            _ if c.is_control() => return Step::Text,
            '(' => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Step::Text;
                }
            }
            ')' if self.depth == 0 => return if self.is_definition { Step::Text } else { Step::Done },
            ')' => self.depth -= 1,
            _ => {}
        }
        self.step(c)
    }

    fn note(&mut self, c: char) {
        if self.beginning.len() < 200 && !c.is_whitespace() {
            self.beginning.push(c);
        }
    }

    fn step(&self, c: char) -> Step {
        let is_address = matches!(self.part, Part::Angle | Part::Bare) && c.is_ascii();
        match self.chars > MAX_HELD {
            true if self.spaces > MAX_SPACES => Step::Text,
            true if is_address => Step::Skip,
            true if matches!(self.part, Part::Title(_)) => Step::Text,
            _ => Step::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, mut destination: Destination) -> (Step, usize) {
        for (at, c) in text.char_indices() {
            match destination.read(c) {
                Step::More | Step::Skip => {}
                Step::Done if !destination.is_plausible() && destination.is_definition => {
                    return (Step::Text, at);
                }
                step => return (step, at),
            }
        }
        (Step::More, text.len())
    }

    #[test]
    fn links_have_an_address_and_a_title() {
        for (text, expected) in [
            ("u)", Step::Done),
            (")", Step::Done),
            ("<a b>)", Step::Done),
            ("u \"t\")", Step::Done),
            ("u 't' )", Step::Done),
            ("u\n(t)\n)", Step::Done),
            ("a(b(c))d)", Step::Done),
            ("a\\)b)", Step::Done),
            ("u \"a \\\" b)\")", Step::Done),
            ("two words)", Step::Text),
            ("<a\nb>)", Step::Text),
            ("u \"t\" x)", Step::Text),
            ("\n\nu)", Step::Text),
            ("a(b)", Step::More),
        ] {
            assert_eq!(read(text, Destination::of_link()).0, expected, "{text:?}");
        }
        let long = format!("data:image/png;base64,{})", "A".repeat(100_000));
        assert_eq!(read(&long, Destination::of_link()).0, Step::Done);
    }

    #[test]
    fn definitions_end_with_a_line() {
        for (text, expected) in [
            (" https://example.com\n", Step::Done),
            (" <data:image/png;base64,AAAA>\n", Step::Done),
            (" /a/b \"Title (x)\" \n", Step::Done),
            (" #part\n", Step::Done),
            (" page.html 'T'\n", Step::Done),
            (" Yes.\n", Step::Text),
            (" ok\n", Step::Text),
            (" yes I do\n", Step::Text),
            ("\n", Step::More),
            ("\n\n", Step::Text),
            ("\n/a\n", Step::Done),
            (" /a \"open\n", Step::More),
            (" /a \"open\nend\"\n", Step::Done),
            (" /a \"open\n\" x", Step::Text),
        ] {
            assert_eq!(read(text, Destination::of_definition()).0, expected, "{text:?}");
        }
    }
}
