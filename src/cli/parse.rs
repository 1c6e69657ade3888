//! Finds the options of a command among the arguments and in the environment, and reads their values.

use super::{help, options};
use aloud::setting::{Field, Group, Kind, SAY, Setting};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;

/// Wrong usage: one sentence for the person who typed it. Exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage(pub(super) String);

impl Error for Usage {}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns an error with this sentence.
pub(super) fn wrong<T>(sentence: impl Into<String>) -> Result<T, Usage> {
    Err(Usage(sentence.into()))
}

/// Result of reading the arguments of a command.
pub(super) enum Scanned<'a> {
    Source(Source<'a>),
    /// `-h`, or in full `--help`.
    Help {
        in_full: bool,
    },
    Version,
}

/// Arguments of a command, and the environment.
pub(super) struct Source<'a> {
    options: Vec<&'static Setting>,
    given: Vec<(&'static Setting, OsString)>,
    /// Arguments that are no option.
    pub(super) words: Vec<OsString>,
    env: &'a dyn Fn(&str) -> Option<String>,
}

/// Sorts arguments into options with their values, and words.
pub(super) fn scan<'a>(
    command: &str,
    mut args: impl Iterator<Item = OsString>,
    env: &'a dyn Fn(&str) -> Option<String>,
) -> Result<Scanned<'a>, Usage> {
    let mut source = Source { options: options::of(command), given: Vec::new(), words: Vec::new(), env };
    while let Some(arg) = args.next() {
        if arg == "--" {
            source.words.extend(args);
            break;
        }
        // Options are ASCII, and so an argument that is not UTF-8 is a word, or an unknown option.
        let text = arg.to_string_lossy();
        if text == "-" || !text.starts_with('-') {
            source.words.push(arg);
            continue;
        }
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => match text.strip_prefix("-o") {
                Some(file) if !file.is_empty() => ("-o", Some(file)),
                _ => (text.as_ref(), None),
            },
        };
        let no_value = || wrong(format!("{name} takes no value; remove = and what follows"));
        match (name, attached) {
            ("-h" | "--help", None) => return Ok(Scanned::Help { in_full: name == "--help" }),
            ("-V" | "--version", None) => return Ok(Scanned::Version),
            ("-h" | "--help" | "-V" | "--version", Some(_)) => return no_value(),
            _ => {}
        }
        let long = if name == "-o" { Some("output") } else { name.strip_prefix("--") };
        let Some(option) = source.options.iter().copied().find(|option| long == Some(option.name)) else {
            return Err(unknown_option(command, &source.options, name));
        };
        let is_flag = matches!(option.kind, Kind::Flag);
        let value = match attached {
            Some(_) if is_flag => return no_value(),
            None if is_flag => OsString::new(),
            Some(value) => {
                utf8(&arg, name)?;
                value.into()
            }
            None => match args.next() {
                Some(value) if !value.to_string_lossy().starts_with("--") => value,
                Some(other) => {
                    let (other, looks) = (other.to_string_lossy(), option.looks());
                    return wrong(format!(
                        "{name} needs a value, {looks}, and `{other}` looks like another option; write \
                         {name}={other} if it is the value"
                    ));
                }
                None => return wrong(format!("{name} needs a value: {}", option.looks())),
            },
        };
        source.given.push((option, value));
    }
    Ok(Scanned::Source(source))
}

fn unknown_option(command: &str, options: &[&Setting], name: &str) -> Usage {
    let bare = name.trim_start_matches('-');
    let key_file = format!("{bare}-file");
    if matches!(bare, "engine-key" | "llm-key") && options.iter().any(|option| option.name == key_file) {
        let variable = format!("ALOUD_{}", bare.replace('-', "_").to_ascii_uppercase());
        return Usage(format!(
            "{command} takes no key on the command line, where every user of the machine can read it; put it \
             into {variable}, or into a file for --{key_file}"
        ));
    }
    let names = options.iter().map(|option| option.name).chain(["help", "version"]);
    if let Some(near) = nearest(bare, names) {
        return Usage(format!("{command} has no option `{name}`; did you mean `--{near}`?"));
    }
    if command == SAY && !is_like_an_option(bare) {
        return Usage(format!("say has no option `{name}`; if this is the text, put -- before it"));
    }
    match options::all().find(|option| option.name == bare) {
        Some(option) => Usage(format!(
            "{command} has no option `{name}`, which belongs to {}; leave it out",
            option.commands[0]
        )),
        None if command == SAY => Usage(format!(
            "say has no option `{name}`; `aloud say --help` lists its options, and a text that begins with - \
             goes after --"
        )),
        None => {
            Usage(format!("{command} has no option `{name}`; `aloud {command} --help` lists its options"))
        }
    }
}

/// True for words of letters with dashes in between.
fn is_like_an_option(bare: &str) -> bool {
    bare.starts_with(|c: char| c.is_ascii_alphabetic())
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Returns the text of an argument.
pub(super) fn utf8<'a>(value: &'a OsString, what: &str) -> Result<&'a str, Usage> {
    value.to_str().ok_or_else(|| {
        Usage(format!("{what} is not valid UTF-8: `{}`; write it in UTF-8", value.to_string_lossy()))
    })
}

impl Source<'_> {
    /// Returns the declaration of this option, if the command has it.
    pub(super) fn option(&self, name: &str) -> Option<&'static Setting> {
        debug_assert!(options::all().any(|option| option.name == name), "no option is named {name}");
        self.options.iter().copied().find(|option| option.name == name)
    }

    /// Returns the last value of this option on the command line, unread.
    pub(super) fn raw(&self, name: &str) -> Option<&OsString> {
        self.given.iter().rev().find(|(option, _)| option.name == name).map(|(_, value)| value)
    }

    /// True if the option is on the command line.
    pub(super) fn has(&self, name: &str) -> bool {
        debug_assert!(options::all().any(|option| option.name == name), "no option is named {name}");
        self.raw(name).is_some()
    }

    /// Returns the first option on the command line with this property.
    pub(super) fn first(&self, is_meant: impl Fn(&Setting) -> bool) -> Option<&'static Setting> {
        self.options.iter().copied().find(|option| is_meant(option) && self.raw(option.name).is_some())
    }

    /// True if an option of this group is on the command line.
    pub(super) fn has_group(&self, group: Group) -> bool {
        self.first(|option| option.group == group).is_some()
    }

    /// Returns the value of this option and its source: `--listen`, or `ALOUD_LISTEN`. The command line
    /// wins over the environment; an empty variable counts as unset. The result is `None`, too, if
    /// the command does not have this option.
    pub(super) fn text(&self, name: &str) -> Result<Option<(String, String)>, Usage> {
        self.option(name).map_or(Ok(None), |option| self.text_of(option))
    }

    fn text_of(&self, option: &Setting) -> Result<Option<(String, String)>, Usage> {
        let name = format!("--{}", option.name);
        let given = self.given.iter().filter(|(given, _)| given.name == option.name);
        let given: Vec<&str> = given.map(|(_, value)| utf8(value, &name)).collect::<Result<_, _>>()?;
        if let Some(last) = given.last() {
            let is_list = matches!(option.kind, Kind::List(_));
            return Ok(Some((name, if is_list { given.join(",") } else { (*last).to_owned() })));
        }
        let variable = option.variable();
        let value = (self.env)(&variable).filter(|value| option.has_variable && !value.is_empty());
        Ok(value.map(|value| (variable, value)))
    }

    /// Reads and checks the value of this option.
    pub(super) fn value<T: Field>(&self, name: &str) -> Result<Option<T>, Usage> {
        let Some((option, (name, text))) = self.option(name).zip(self.text(name)?) else { return Ok(None) };
        option.read(&text).map(Some).map_err(|why| Usage(format!("{name} {why}")))
    }

    /// Reads one of the names that the option allows.
    pub(super) fn choice<T>(
        &self,
        name: &str,
        from_name: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Usage> {
        Ok(self.value::<String>(name)?.and_then(|name| from_name(&name)))
    }

    /// The same, with the declared default.
    pub(super) fn choice_or_default<T>(
        &self,
        name: &str,
        from_name: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Usage> {
        let chosen = self.choice(name, &from_name)?;
        let default = self.option(name).map_or("", |option| option.default);
        Ok(chosen.or_else(|| from_name(default)).expect("a default that is allowed"))
    }

    /// Reads the value of this option, with the declared default.
    pub(super) fn value_or_default<T: Field>(&self, name: &str) -> Result<T, Usage> {
        let option = self.option(name).expect("an option of this command");
        let default = || option.read(&option.shown_default()).expect("a default that is allowed");
        Ok(self.value(name)?.unwrap_or_else(default))
    }

    /// Returns the library's settings, with the fields of these options set.
    pub(super) fn config(&self, is_meant: impl Fn(&Setting) -> bool) -> Result<aloud::Config, Usage> {
        let mut config = aloud::Config::default();
        for option in self.options.iter().filter(|option| !option.field.is_empty() && is_meant(option)) {
            if let Some((name, text)) = self.text_of(option)? {
                config.set(option, &text).map_err(|why| Usage(format!("{name} {why}")))?;
            }
        }
        Ok(config)
    }

    /// Returns the value of a variable that has no option.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn no_words(&self, command: &str) -> Result<(), Usage> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => wrong(format!(
                "{command} takes options only, and `{}` is no option; to speak a text, write aloud say with \
                 the text in quotes",
                word.to_string_lossy()
            )),
        }
    }
}

pub(super) fn unknown_command(name: &str) -> Usage {
    let names = help::COMMANDS.map(|command| command.name);
    Usage(match nearest(name, names.into_iter()) {
        Some(near) => format!("there is no command `{name}`; did you mean `{near}`?"),
        None => format!(
            "there is no command `{name}`; `aloud help` lists the commands, and a text to speak goes after \
             say, in quotes"
        ),
    })
}

/// Returns a sentence for each variable that begins with `ALOUD_` and is not read.
pub(crate) fn warnings(variables: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let known = || options::all().filter(|option| option.has_variable).map(Setting::variable);
    let known: Vec<String> =
        known().chain(options::SECRETS.iter().map(|secret| secret.variable.to_owned())).collect();
    let mut warnings: Vec<String> = variables
        .into_iter()
        .filter_map(|variable| variable.into_string().ok())
        .filter(|variable| variable.starts_with("ALOUD_") && !variable.starts_with("ALOUD_TEST_"))
        .filter(|variable| !known.contains(variable))
        .map(|variable| {
            if let Some(option) = options::all().find(|option| option.variable() == variable) {
                let name = option.name;
                return format!(
                    "the variable {variable} has no effect: --{name} works only on the command line"
                );
            }
            match nearest(&variable, known.iter().map(String::as_str)) {
                Some(near) => format!("the variable {variable} is unknown; did you mean {near}?"),
                None => {
                    format!("the variable {variable} is unknown; `aloud help options` lists the variables")
                }
            }
        })
        .collect();
    warnings.sort();
    warnings
}

/// Returns the name that `typed` was probably meant to be, if one is close enough.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let typed = plain(typed);
    if typed.is_empty() || typed.len() > 48 {
        return None;
    }
    names
        .filter_map(|name| {
            let plain = plain(name);
            // The beginning of a name counts as one slip.
            let begins = typed.len() >= 3 && plain.starts_with(&typed);
            let distance = if begins { 1 } else { distance(&typed, &plain) };
            let allowed = if name.len() <= 4 { 1 } else { 2 };
            (distance <= allowed).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Counts the edits from one word to the other: insert, remove, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
