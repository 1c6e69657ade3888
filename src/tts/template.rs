//! Text with placeholders for the parts of an utterance, as `{text}`: arguments of programs and requests to services.

use super::Utterance;
use std::fmt::Write;

/// Speech rate of a voice at its natural speed, in words per minute.
const WORDS_PER_MINUTE: f32 = 175.0;

/// A part of an utterance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    Text,
    Voice,
    Language,
    Speed,
    WordsPerMinute,
    LengthScale,
    SampleRate,
}

impl Placeholder {
    const ALL: [(&'static str, Placeholder); 7] = [
        ("{text}", Placeholder::Text),
        ("{voice}", Placeholder::Voice),
        ("{language}", Placeholder::Language),
        ("{speed}", Placeholder::Speed),
        ("{wpm}", Placeholder::WordsPerMinute),
        ("{length_scale}", Placeholder::LengthScale),
        ("{sample_rate}", Placeholder::SampleRate),
    ];

    /// The placeholder as it is written.
    pub(super) fn written(self) -> &'static str {
        Placeholder::ALL.iter().find(|(_, one)| *one == self).map_or("", |(written, _)| written)
    }

    /// True if a number takes its place.
    pub(super) fn is_number(self) -> bool {
        !matches!(self, Placeholder::Text | Placeholder::Voice | Placeholder::Language)
    }
}

/// The values that take the place of placeholders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub(super) text: &'a str,
    pub(super) voice: &'a str,
    pub(super) language: &'a str,
    pub(super) speed: f32,
    pub(super) sample_rate_hz: u32,
}

impl<'a> Values<'a> {
    /// The values of an utterance that is spoken as `text`, by the first of these voices unless it names one, and in
    /// `language` unless it names one.
    pub(super) fn new(
        utterance: &'a Utterance,
        text: &'a str,
        voices: &'a [String],
        language: &'a str,
        sample_rate_hz: u32,
    ) -> Values<'a> {
        let voice = utterance.voice_of(voices);
        let language = if is_language(&utterance.language) { &utterance.language } else { language };
        Values { text, voice, language, speed: utterance.speed, sample_rate_hz }
    }

    pub(super) fn of(&self, placeholder: Placeholder) -> String {
        match placeholder {
            Placeholder::Text => self.text.to_owned(),
            Placeholder::Voice => self.voice.to_owned(),
            Placeholder::Language => self.language.to_owned(),
            Placeholder::Speed => rounded(self.speed),
            Placeholder::LengthScale => rounded(1.0 / self.speed),
            Placeholder::WordsPerMinute => format!("{:.0}", WORDS_PER_MINUTE * self.speed),
            Placeholder::SampleRate => self.sample_rate_hz.to_string(),
        }
    }
}

/// Formats a number with at most three places.
fn rounded(number: f32) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// True if the characters are those of a language tag (RFC 5646 §2.1). A program cannot take such a tag
/// for an option or a path.
fn is_language(tag: &str) -> bool {
    tag.len() <= 35
        && tag.starts_with(|c: char| c.is_ascii_alphabetic())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a text with placeholders, where `{{` and `}}` are braces.
    ///
    /// # Errors
    /// A part of a sentence about the first brace that is neither.
    pub(super) fn parse(word: &str) -> Result<Template, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), word);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, behind) = rest[at..].split_at(1);
            if let Some(behind) = behind.strip_prefix(brace) {
                literal.push_str(brace);
                rest = behind;
                continue;
            }
            let Some((name, behind)) = behind.split_once('}').filter(|_| brace == "{") else {
                return Err(format!(
                    "`{word}` has an unmatched brace; write {{{{ or }}}} for a literal brace"
                ));
            };
            let written = &rest[at..at + name.len() + 2];
            let Some((_, placeholder)) = Placeholder::ALL.iter().find(|(known, _)| *known == written) else {
                let mut known = String::new();
                for (at, (placeholder, _)) in Placeholder::ALL.iter().enumerate() {
                    let before = match at {
                        0 => "",
                        _ if at + 1 == Placeholder::ALL.len() => " or ",
                        _ => ", ",
                    };
                    let _ = write!(known, "{before}{placeholder}");
                }
                return Err(format!(
                    "there is no placeholder {written}; use {known}, and {{{{ or }}}} for a literal brace"
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Placeholder(*placeholder));
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template(parts))
    }

    /// Placeholders, in order.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Placeholder(placeholder) => Some(*placeholder),
        })
    }

    /// True if the text of the utterance stands in it.
    pub(super) fn has_text(&self) -> bool {
        self.placeholders().any(|placeholder| placeholder == Placeholder::Text)
    }

    /// The text, if it has no placeholder.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The placeholder, if there is nothing else.
    pub(super) fn only_placeholder(&self) -> Option<Placeholder> {
        match self.0.as_slice() {
            [Part::Placeholder(placeholder)] => Some(*placeholder),
            _ => None,
        }
    }

    /// Returns the literal text at the beginning, and true if a placeholder stands anywhere.
    pub(super) fn beginning(&self) -> (&str, bool) {
        let has_placeholder = self.placeholders().next().is_some();
        match self.0.first() {
            Some(Part::Literal(text)) => (text, has_placeholder),
            _ => ("", has_placeholder),
        }
    }

    /// True if it begins with the text of the utterance.
    pub(super) fn begins_with_text(&self) -> bool {
        self.0.first() == Some(&Part::Placeholder(Placeholder::Text))
    }

    pub(super) fn fill(&self, values: &Values<'_>) -> String {
        let fill = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Placeholder(placeholder) => values.of(*placeholder),
        };
        self.0.iter().map(fill).collect()
    }
}
