//! Addresses in the text: `https://example.org/a?b`, `www.example.org`, `mailto:`, and `data:` of any length.
//!
//! A voice would spell an address for half a minute. It says the name of the host instead, without `www.`, since
//! that is what people say of a page, in any language. An unpronounceable host is "link". Data is silent.

use super::entity;
use crate::text::is_ideographic;
use crate::text::sourced::{Sourced, Span};
use serde::{Deserialize, Serialize};

/// Longest name of a host that is spoken, in characters.
const MAX_HOST: usize = 40;
/// Longest type of data before its comma, in characters.
const MAX_TYPE: usize = 150;

const SCHEMES: [&str; 8] = ["https://", "http://", "www.", "ftp://", "ws://", "wss://", "mailto:", "data:"];
/// The number of those that begin another address behind a comma.
const MAX_JOINED: usize = 3;
const TYPES: [&str; 9] =
    ["image/", "text/", "application/", "audio/", "video/", "font/", "model/", "multipart/", "message/"];
/// Shortest line of base64 that another one may follow, in characters.
const MIN_LINE: usize = 40;

/// Reads an address, one character at a time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Address {
    part: Part,
    /// The beginning, while it may still be ordinary text.
    held: Sourced,
    host: String,
    /// The whole of it so far, without `tail`.
    span: Option<Span>,
    /// Punctuation at the end, which belongs to the address only if more of it follows.
    tail: Sourced,
    /// Open parentheses.
    depth: usize,
    /// Length of the line of base64.
    line: usize,
    /// True in what may be a character reference, at the end of `tail`.
    is_in_entity: bool,
    /// True once it was spoken by a flush: the rest is dropped.
    is_spoken: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Part {
    #[default]
    Scheme,
    Mail,
    Host,
    Path,
    Type,
    Data,
    Base64,
}

/// The meaning of the characters so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It may be an address; more text is needed.
    More,
    /// Ordinary text, the last character included or not: it was not taken.
    Text,
    /// The address ended before this character.
    Done,
}

/// True if an address may begin with this character.
pub(super) fn may_begin(c: char) -> bool {
    matches!(c, 'h' | 'H' | 'w' | 'W' | 'f' | 'F' | 'm' | 'M' | 'd' | 'D')
}

impl Address {
    pub(super) fn read(&mut self, c: char, span: Span) -> Step {
        match self.part {
            Part::Scheme => self.read_scheme(c, span),
            Part::Mail if c.is_alphanumeric() => {
                self.held.take();
                Step::Done
            }
            Part::Mail => Step::Text,
            Part::Type => self.read_type(c, span),
            Part::Base64 => self.read_base64(c, span),
            Part::Host if !self.is_known() && !c.is_alphanumeric() => Step::Text,
            Part::Host if !self.is_known() && is_ideographic(c) => Step::Text,
            Part::Host | Part::Path | Part::Data => self.read_rest(c, span),
        }
    }

    fn read_scheme(&mut self, c: char, span: Span) -> Step {
        let at = self.held.text.len();
        let fits = |scheme: &&&str| {
            let (known, next) = scheme.split_at(at);
            self.held.text.eq_ignore_ascii_case(known) && next.starts_with(c.to_ascii_lowercase())
        };
        let Some(scheme) = SCHEMES.iter().filter(|scheme| scheme.len() > at).find(fits) else {
            return Step::Text;
        };
        self.hold(c, span);
        if at + 1 == scheme.len() {
            self.part = match *scheme {
                "mailto:" => Part::Mail,
                "data:" => Part::Type,
                _ => Part::Host,
            };
        }
        Step::More
    }

    fn read_type(&mut self, c: char, span: Span) -> Step {
        let is_type = c.is_ascii_alphanumeric()
            || matches!(c, '/' | '\\' | '+' | '.' | '-' | ';' | '=' | ',' | '_' | '%');
        if !is_type || self.held.text.len() > MAX_TYPE {
            return Step::Text;
        }
        if c == ',' {
            let kind = self.data_type();
            let is_base64 = kind.ends_with(";base64");
            if !is_base64 && !TYPES.iter().any(|known| kind.starts_with(known)) {
                return Step::Text;
            }
            self.part = if is_base64 { Part::Base64 } else { Part::Data };
            self.held.take();
        } else {
            self.hold(c, span);
        }
        Step::More
    }

    /// The type of data, without the backslashes of JSON.
    fn data_type(&self) -> String {
        self.held.text["data:".len()..].replace('\\', "").to_ascii_lowercase()
    }

    /// Reads base64, which may be divided into lines.
    fn read_base64(&mut self, c: char, span: Span) -> Step {
        let is_line = !self.tail.text.is_empty();
        if c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '%' | '\\') {
            self.line += 1;
            if !is_line {
                return Step::More;
            }
            self.tail.push(c, span);
            if self.line >= MIN_LINE {
                // No word is that long.
                self.tail.take();
            }
            return Step::More;
        }
        let is_break = matches!(c, '\n' | '\r');
        if !is_line && is_break && self.line >= MIN_LINE {
            self.line = 0;
            self.tail.push(c, span);
            return Step::More;
        }
        let line = self.tail.text.trim();
        if is_line
            && line.is_empty()
            && matches!(c, ' ' | '\t' | '>' | '\n')
            && self.tail.text.len() < MIN_LINE
        {
            // The indent of the next line, or its mark of a quotation.
            self.tail.push(c, span);
            return Step::More;
        }
        if is_line && (line.ends_with('=') || !line.is_empty() && matches!(c, '"' | '\'' | ')' | '>')) {
            self.tail.take();
        }
        Step::Done
    }

    fn read_rest(&mut self, c: char, span: Span) -> Step {
        if self.is_in_entity {
            let start = self.tail.text.rfind('&').map_or(0, |at| at + 1);
            let name = &self.tail.text[start..];
            if (c.is_ascii_alphanumeric() || c == '#' && name.is_empty()) && name.len() < entity::MAX_CHARS {
                self.tail.push(c, span);
                return Step::More;
            }
            self.is_in_entity = false;
            let decoded = if c == ';' { entity::decode(name, true) } else { None };
            // "&quot;" ends the address, "&amp;" does not.
            let is_inside = |c: char| c.is_alphanumeric() || "&/=#%+-_".contains(c);
            if decoded.as_ref().is_some_and(|text| !text.contains(is_inside)) {
                return Step::Done;
            }
            if !name.is_empty() {
                self.accept_parameter();
            }
            if decoded.is_some() {
                return self.accept(c, span);
            }
        }
        let ends = c.is_whitespace()
            || c.is_control()
            || matches!(c, '<' | '>' | '"' | '`' | ']' | '|')
            || !c.is_ascii() && (!c.is_alphanumeric() || c >= '\u{e00}');
        let comma = self.tail.text.rfind([',', ';']).filter(|_| !ends && self.part != Part::Data);
        if let Some(comma) = comma {
            // Another address may begin: it ends this one.
            let begun = &self.tail.text[comma + 1..];
            let next = SCHEMES[..MAX_JOINED].iter().find(|scheme| {
                scheme.strip_prefix(begun).is_some_and(|rest| rest.starts_with(c.to_ascii_lowercase()))
            });
            match next {
                Some(scheme) if scheme.len() == begun.len() + 1 => return Step::Done,
                Some(_) => {
                    self.tail.push(c, span);
                    return Step::More;
                }
                None => {}
            }
        }
        match c {
            _ if ends => return Step::Done,
            '&' => {
                self.is_in_entity = true;
                self.tail.push(c, span);
                return Step::More;
            }
            '(' => self.depth += 1,
            ')' if self.depth > 0 => self.depth -= 1,
            '/' | '?' | '#' if self.part == Part::Host => self.part = Part::Path,
            '?' | '!' | '.' | ',' | ':' | '*' | '_' | '~' | '\'' | ';' | ')' | '}' => {
                self.tail.push(c, span);
                return Step::More;
            }
            _ => {}
        }
        self.accept(c, span)
    }

    /// Takes what follows the address up to here as a part of it, with a `&`.
    fn accept_parameter(&mut self) {
        let tail = self.tail.take();
        if self.part == Part::Host {
            self.host.push_str(tail.text.split('&').next().unwrap_or_default());
            self.part = Part::Path;
        }
        if let Some((_, last)) = tail.chars().last() {
            self.span = self.span.map(|first| first.to(last)).or(Some(last));
        }
    }

    fn accept(&mut self, c: char, span: Span) -> Step {
        let tail = self.tail.take();
        if self.part == Part::Host && self.host.len() < 300 {
            self.host.push_str(&tail.text);
            self.host.push(c);
        }
        if self.part != Part::Host || self.is_known() {
            self.held.take();
        }
        self.span = self.span.map(|first| first.to(span)).or(Some(span));
        Step::More
    }

    fn hold(&mut self, c: char, span: Span) {
        self.span = self.span.map(|first| first.to(span)).or(Some(span));
        self.held.push(c, span);
    }

    /// True if this is an address, whatever follows.
    pub(super) fn is_known(&self) -> bool {
        match self.part {
            Part::Scheme | Part::Type | Part::Mail => false,
            Part::Host => !self.host.is_empty(),
            Part::Path | Part::Data | Part::Base64 => true,
        }
    }

    /// True within data.
    pub(super) fn is_data(&self) -> bool {
        matches!(self.part, Part::Data | Part::Base64)
    }

    /// True if this can hardly be anything but data, although its comma was not read yet.
    pub(super) fn is_promising(&self) -> bool {
        self.part == Part::Type && TYPES.iter().any(|known| self.data_type().starts_with(known))
    }

    /// The text read so far, which is no address.
    pub(super) fn into_text(self) -> Sourced {
        self.held
    }

    /// The beginning of what may be an address.
    pub(super) fn held(&self) -> &str {
        &self.held.text
    }

    /// Marks at its end that may not belong to it.
    pub(super) fn tail(&self) -> &str {
        &self.tail.text
    }

    /// Takes the punctuation behind the address.
    pub(super) fn take_tail(&mut self) -> Sourced {
        if std::mem::take(&mut self.is_in_entity) && !self.tail.text.ends_with('&') {
            self.accept_parameter();
        }
        self.tail.take()
    }

    /// Returns the words for the address the first time, and its place in the source.
    pub(super) fn speak(&mut self) -> Option<(&str, Span)> {
        let is_silent = self.host.is_empty() || std::mem::replace(&mut self.is_spoken, true);
        let span = self.span.filter(|_| !is_silent)?;
        Some((spoken(&self.host), span))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.held.memory_bytes() + self.host.capacity() + self.tail.memory_bytes()
    }
}

/// Returns the words for a host, which may have a user before it and a port behind it.
fn spoken(host: &str) -> &str {
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = host.split(':').next().unwrap_or(host);
    let host = match host.get(..4) {
        Some(www) if www.eq_ignore_ascii_case("www.") => &host[4..],
        _ => host,
    };
    let is_spoken = host.chars().any(char::is_alphanumeric) && host.chars().count() <= MAX_HOST;
    if is_spoken { host } else { "link" }
}

/// Returns the words for an address in angle brackets: its host, or all of it if it has none.
pub(super) fn spoken_link(address: &str) -> &str {
    let Some((scheme, rest)) = address.split_once(':') else { return address };
    if scheme.eq_ignore_ascii_case("data") {
        return "";
    }
    if scheme.eq_ignore_ascii_case("mailto") {
        return rest.split('?').next().unwrap_or(rest);
    }
    match rest.strip_prefix("//") {
        Some(rest) => match rest.split(['/', '?', '#']).next() {
            Some("") | None => "link",
            Some(host) => spoken(host),
        },
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the words for the address at the beginning of a text, and the rest.
    fn read(text: &str) -> Option<(String, String)> {
        let mut address = Address::default();
        let mut rest = String::new();
        let mut at = text.len();
        for (n, c) in text.char_indices() {
            match address.read(c, Span::of(c, n as u64)) {
                Step::More => {}
                Step::Text => return None,
                Step::Done => {
                    at = n;
                    break;
                }
            }
        }
        let words = address.speak().map(|(words, _)| words.to_owned()).unwrap_or_default();
        rest.push_str(&address.take_tail().text);
        rest.push_str(&text[at..]);
        Some((words, rest))
    }

    #[test]
    fn addresses_are_spoken_as_their_host() {
        for (text, words, rest) in [
            ("https://example.com/a/b?c=1.", "example.com", "."),
            ("http://www.example.org).", "example.org", ")."),
            ("HTTPS://en.wikipedia.org/wiki/Foo_(bar), next", "en.wikipedia.org", ", next"),
            ("www.example.org/a... ", "example.org", "... "),
            ("ftp://me:pw@host.example:21/x\n", "host.example", "\n"),
            ("http://localhost:3000/", "localhost", ""),
            ("http://192.168.1.1/", "192.168.1.1", ""),
            ("https://example.com**", "example.com", "**"),
            ("https://example.com](x)", "example.com", "](x)"),
            ("https://例え.jp/", "link", ""),
            ("https://example.com。", "example.com", "。"),
            ("https://ec2-54-221-100-10.compute-1.us-east-1.amazonaws.com/x y", "link", " y"),
            ("data:image/png;base64,iVBORw0KGgo=. End", "", ". End"),
            ("data:image/svg+xml,%3Csvg%3E end", "", " end"),
        ] {
            let expected =
                if text.contains('例') { None } else { Some((words.to_owned(), rest.to_owned())) };
            assert_eq!(read(text), expected, "{text}");
        }
        for text in ["http", "has", "https:// ", "data: it", "data:foo,bar", "www. ", "mailto: x", "dada"] {
            assert!(read(text).is_none_or(|(words, _)| words.is_empty()), "{text}");
        }
    }

    #[test]
    fn links_in_angle_brackets_are_spoken_as_their_host() {
        for (address, words) in [
            ("https://example.org/a", "example.org"),
            ("mailto:a@b.c?subject=x", "a@b.c"),
            ("made-up:thing", "made-up:thing"),
            ("data:x", ""),
            ("file:///etc/x", "link"),
        ] {
            assert_eq!(spoken_link(address), words, "{address}");
        }
    }
}
