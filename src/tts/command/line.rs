//! The command line of a program: splits it into words, fills in placeholders, and finds the program.

use super::{InvalidCommand, Settings, Utterance, code};
use crate::tts::template::{Placeholder, Template, Values};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidCommand> {
    Err(InvalidCommand(why.into()))
}

/// Parses the command of these settings into the program and its arguments.
pub(super) fn parse(settings: &Settings) -> Result<(String, Vec<Template>), InvalidCommand> {
    let words = split(&settings.command)?;
    let [program, arguments @ ..] = words.as_slice() else {
        return invalid("it is empty; name a program");
    };
    let parse = |word: &String| Template::parse(word).map_err(InvalidCommand);
    let parsed = parse(program)?;
    let Some(program) = parsed.literal().filter(|program| !program.is_empty()) else {
        return invalid("the program cannot be a placeholder; name a program");
    };
    let program = program.to_owned();
    let arguments = arguments.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let names_voice =
        arguments.iter().any(|argument| argument.placeholders().any(|one| one == Placeholder::Voice));
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
    arguments: &[Template],
    settings: &Settings,
    utterance: &Utterance,
    line: &str,
) -> Vec<String> {
    let values = Values::new(utterance, line, &settings.voices, &settings.language, settings.sample_rate_hz);
    let argument = |argument: &Template| {
        let filled = argument.fill(&values);
        match argument.begins_with_text() && filled.starts_with('-') {
            true => format!(" {filled}"),
            false => filled,
        }
    };
    arguments.iter().map(argument).collect()
}

/// Returns a sentence as one line, without NUL bytes, which no argument may hold.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c == '\0' { ' ' } else { c }).collect()
}
