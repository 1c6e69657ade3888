//! The command line of a program: splits it into words, fills in placeholders, and finds the program.

use super::{InvalidCommand, Settings, Utterance, code};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Speech rate of a voice at its natural speed, in words per minute.
const WORDS_PER_MINUTE: f32 = 175.0;

/// One argument, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Text,
    Voice,
    Language,
    Speed,
    WordsPerMinute,
    LengthScale,
    SampleRate,
}

impl Argument {
    /// True if the argument holds the text.
    pub(super) fn has_text(&self) -> bool {
        self.0.contains(&Part::Text)
    }

    /// Returns the literal text at the beginning, and true if a placeholder stands anywhere.
    pub(super) fn beginning(&self) -> (&str, bool) {
        let has_placeholder = self.0.iter().any(|part| !matches!(part, Part::Literal(_)));
        match self.0.first() {
            Some(Part::Literal(text)) => (text, has_placeholder),
            _ => ("", has_placeholder),
        }
    }

    /// Returns the first placeholder as it is written.
    pub(super) fn first_placeholder(&self) -> &'static str {
        let names = self.0.iter().find_map(|part| match part {
            Part::Literal(_) => None,
            Part::Text => Some("{text}"),
            Part::Voice => Some("{voice}"),
            Part::Language => Some("{language}"),
            Part::Speed => Some("{speed}"),
            Part::WordsPerMinute => Some("{wpm}"),
            Part::LengthScale => Some("{length_scale}"),
            Part::SampleRate => Some("{sample_rate}"),
        });
        names.unwrap_or_default()
    }

    fn parse(word: &str) -> Result<Argument, InvalidCommand> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), word);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, behind) = rest[at..].split_at(1);
            if let Some(behind) = behind.strip_prefix(brace) {
                literal.push_str(brace);
                rest = behind;
                continue;
            }
            let name = behind.split_once('}').filter(|_| brace == "{");
            let Some((name, behind)) = name else {
                return invalid(format!(
                    "`{word}` has an unmatched brace; write {{{{ or }}}} for a literal brace"
                ));
            };
            let part = match name {
                "text" => Part::Text,
                "voice" => Part::Voice,
                "language" => Part::Language,
                "speed" => Part::Speed,
                "wpm" => Part::WordsPerMinute,
                "length_scale" => Part::LengthScale,
                "sample_rate" => Part::SampleRate,
                _ => {
                    return invalid(format!(
                        "there is no placeholder {{{name}}}; use {{text}}, {{voice}}, {{language}}, {{speed}}, \
                         {{wpm}}, {{length_scale}} or {{sample_rate}}, and {{{{ or }}}} for a literal brace"
                    ));
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Argument(parts))
    }
}

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidCommand> {
    Err(InvalidCommand(why.into()))
}

/// Parses the command of these settings into the program and its arguments.
pub(super) fn parse(settings: &Settings) -> Result<(String, Vec<Argument>), InvalidCommand> {
    let words = split(&settings.command)?;
    let [program, arguments @ ..] = words.as_slice() else {
        return invalid("it is empty; name a program");
    };
    let program = match Argument::parse(program)?.0.as_slice() {
        [Part::Literal(program)] => program.clone(),
        _ => return invalid("the program cannot be a placeholder; name a program"),
    };
    let arguments = arguments.iter().map(|word| Argument::parse(word)).collect::<Result<Vec<_>, _>>()?;
    let names_voice = arguments.iter().any(|argument| argument.0.contains(&Part::Voice));
    match (names_voice, settings.voices.as_slice()) {
        (true, []) => invalid("it has {voice}, but there are no voices; name at least one"),
        (false, [_, _, ..]) => invalid("it has several voices but no {voice}; add {voice} to the command"),
        (_, voices) if voices.iter().any(String::is_empty) => {
            invalid("a voice has an empty name; give it one")
        }
        _ => {
            code::check(&program, &arguments)?;
            Ok((program, arguments))
        }
    }
}

/// Splits a command into words as a POSIX shell does (XCU §2.2), without any expansion.
fn split(command: &str) -> Result<Vec<String>, InvalidCommand> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut end = |word: Option<String>, quoted: bool| {
        let Some(word) = word else { return Ok(()) };
        let shell_operators = ["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"];
        if !quoted && shell_operators.contains(&word.as_str()) {
            return invalid(format!(
                "`{word}` needs a shell, but the command runs without one; write sh -c '…', or quote it"
            ));
        }
        words.push(word);
        Ok(())
    };
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {
                end(word.take(), quoted)?;
                quoted = false;
            }
            '\'' | '"' => {
                quoted = true;
                let word = word.get_or_insert_default();
                loop {
                    match (chars.next(), c) {
                        (None, _) => return invalid(format!("a quote {c} is not closed; close it")),
                        (Some(next), _) if next == c => break,
                        (Some('\\'), '"') => match chars.next() {
                            Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                            Some(next) => word.extend(['\\', next]),
                            None => {}
                        },
                        (Some(next), _) => word.push(next),
                    }
                }
            }
            '\\' => {
                quoted = true;
                match chars.next() {
                    Some(next) => word.get_or_insert_default().push(next),
                    None => return invalid("it ends with a backslash; remove it, or double it"),
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    end(word, quoted)?;
    Ok(words)
}

/// Finds a program, in these directories unless its name has a slash.
pub(super) fn find(program: &str, path: Option<&OsStr>) -> Result<PathBuf, InvalidCommand> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return match PathBuf::from(program) {
            path if is_program(&path) => Ok(path),
            _ => invalid(format!("`{program}` is not an executable file; check its path and permissions")),
        };
    }
    let mut directories = path.into_iter().flat_map(std::env::split_paths);
    let found = directories.find_map(|directory| {
        let path = directory.join(program);
        is_program(&path).then_some(path)
    });
    found.ok_or_else(|| {
        InvalidCommand(format!("there is no program `{program}` in PATH; install it, or give its path"))
    })
}

/// Returns the arguments for one utterance, whose text is `line`.
pub(super) fn fill(
    arguments: &[Argument],
    settings: &Settings,
    utterance: &Utterance,
    line: &str,
) -> Vec<String> {
    let voice = match utterance.voice.as_str() {
        "" => settings.voices.first().map_or("", String::as_str),
        voice => voice,
    };
    let language = match utterance.language.as_str() {
        language if is_language(language) => language,
        _ => &settings.language,
    };
    let speed = utterance.speed;
    let fill = |part: &Part| match part {
        Part::Literal(text) => text.clone(),
        Part::Text => line.to_owned(),
        Part::Voice => voice.to_owned(),
        Part::Language => language.to_owned(),
        Part::Speed => rounded(speed),
        Part::LengthScale => rounded(1.0 / speed),
        Part::WordsPerMinute => format!("{:.0}", WORDS_PER_MINUTE * speed),
        Part::SampleRate => settings.sample_rate_hz.to_string(),
    };
    let argument = |Argument(parts): &Argument| {
        let filled: String = parts.iter().map(fill).collect();
        match parts.first() {
            Some(Part::Text) if filled.starts_with('-') => format!(" {filled}"),
            _ => filled,
        }
    };
    arguments.iter().map(argument).collect()
}

/// Returns a sentence as one line, without NUL bytes, which no argument may hold.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c == '\0' { ' ' } else { c }).collect()
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
