//! Longer texts on standard output: the pages of the manual, the man page, the guide's list of
//! options, and completions.

use super::help::{self, About, COMMANDS, Explained};
use super::options::Secret;
use super::parse::{Source, Usage, nearest, utf8, wrong};
use super::{completions, options};
use aloud::guide::{self, TOPICS};
use aloud::setting::{SERVE, Setting};

/// Text of a command that only prints.
pub(super) fn print(command: &str, given: &Source<'_>) -> Result<String, Usage> {
    let words: Vec<&str> =
        given.words.iter().map(|word| utf8(word, "the argument")).collect::<Result<_, _>>()?;
    match (command, words.as_slice()) {
        ("man", []) => Ok(man()),
        ("options", []) => Ok(list()),
        ("completions", [shell]) => completions::of(shell),
        ("completions", []) => wrong("completions needs a shell: bash, zsh or fish"),
        ("help", []) => Ok(overview()),
        ("help", [topic]) => page(topic),
        (_, [.., second]) => wrong(format!("{command} has no use for `{second}`; leave it out")),
        (_, []) => wrong(format!("{command} cannot be run")),
    }
}

/// `aloud help`.
fn overview() -> String {
    let mut text = help::wrapped(help::PROGRAM, 80, 0);
    text.push_str(&help::commands());
    text.push_str("\nPages of the manual:\n");
    for topic in TOPICS {
        text.push_str(&format!("  {:<12} {}\n", topic.name, topic.title));
    }
    text.push_str("\n`aloud help NAME` shows a page, or the options of a command.\n");
    text
}

fn page(name: &str) -> Result<String, Usage> {
    if name == "options" {
        return Ok(list());
    }
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        // A page with the name of a command says more than the command's help.
        return Ok(guide::topic(name).map_or_else(|| help::of(command, true), |topic| topic.text.to_owned()));
    }
    if let Some(topic) = guide::topic(name) {
        return Ok(topic.text.to_owned());
    }
    let names = COMMANDS.iter().map(|command| command.name).chain(TOPICS.iter().map(|topic| topic.name));
    match nearest(name, names) {
        Some(near) => wrong(format!("there is no help about `{name}`; did you mean `{near}`?")),
        None => wrong(format!("there is no help about `{name}`; `aloud help` lists the pages")),
    }
}

/// Options of this command with a declaration of its own, and the names of those that it shares with
/// an earlier command.
fn own_and_shared(command: &About) -> (Vec<&'static Setting>, Vec<&'static str>) {
    let earlier = |option: &Setting| {
        COMMANDS
            .iter()
            .take_while(|other| other.name != command.name)
            .any(|other| option.commands.contains(&other.name))
    };
    let (shared, own): (Vec<_>, Vec<_>) =
        options::of(command.name).into_iter().partition(|option| earlier(option));
    (own, shared.into_iter().map(|option| option.name).collect())
}

/// `aloud options`: the page `options` of the guide.
pub(super) fn list() -> String {
    const WIDTH: usize = 100;
    let mut page = "# Options\n\n".to_owned();
    let mut paragraph = |text: &str| {
        page.push_str(&help::wrapped(text, WIDTH, 0));
        page.push('\n');
    };
    paragraph(
        "This page is made by `aloud options`. `aloud COMMAND -h` lists the options of a command in one line \
         each, and `aloud COMMAND --help` explains them.",
    );
    paragraph(
        "An option can also be set by its environment variable. The command line wins over the variable, and \
         an empty variable counts as unset. aloud warns about variables that begin with `ALOUD_` and that it \
         does not know. These have no option, because every user of the machine can read a command line:",
    );
    for Secret { variable, meaning, .. } in options::SECRETS {
        page.push_str(&bullet(&format!("`{variable}`: {meaning}"), WIDTH));
    }
    for command in COMMANDS.iter().filter(|command| !options::of(command.name).is_empty()) {
        page.push_str(&format!("\n## aloud {}\n\n", command.name));
        page.push_str(&help::wrapped(&format!("{} {}", command.short, command.long), WIDTH, 0));
        let (own, shared) = own_and_shared(command);
        let mut group = None;
        for option in own {
            if group != Some(option.group) {
                group = Some(option.group);
                page.push_str(&format!("\n### {}\n\n", option.group.title()));
            }
            let Explained { text, values, facts } = help::explained(command, option);
            let facts = facts.iter().map(|fact| match fact.split_once("env: ") {
                Some((_, variable)) => format!("`{variable}`"),
                None => fact.clone(),
            });
            let facts = match facts.collect::<Vec<_>>().join("; ") {
                facts if facts.is_empty() => facts,
                facts => format!(" ({facts})"),
            };
            page.push_str(&bullet(&format!("`{}`: {text}{facts}", help::usage(option)), WIDTH));
            for (name, meaning) in values {
                page.push_str(&help::wrapped(&format!("- `{name}`: {meaning}"), WIDTH, 2));
            }
        }
        if !shared.is_empty() {
            let names: Vec<String> = shared.iter().map(|name| format!("`--{name}`")).collect();
            page.push_str(&format!("\n### As with aloud {SERVE}\n\n"));
            page.push_str(&help::wrapped(&format!("{}.", names.join(", ")), WIDTH, 0));
        }
    }
    page
}

fn bullet(text: &str, width: usize) -> String {
    let wrapped = help::wrapped(text, width, 2);
    format!("- {}", wrapped.trim_start())
}

/// `aloud man`.
pub(super) fn man() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH ALOUD 1 \"\" \"aloud {version}\" \"User Commands\"\n");
    page.push_str(".SH NAME\naloud \\- a small server that speaks\n.SH SYNOPSIS\n");
    let usages: Vec<String> =
        COMMANDS.iter().map(|command| format!(".B {}\n", roff(command.usage))).collect();
    page.push_str(&usages.join(".br\n"));
    page.push_str(&format!(".SH DESCRIPTION\n{}\n", roff(help::PROGRAM)));
    for command in &COMMANDS {
        page.push_str(&format!(".SH {}\n", roff(&format!("aloud {}", command.name)).to_uppercase()));
        page.push_str(&format!("{}\n", roff(&format!("{} {}", command.short, command.long))));
        let (own, shared) = own_and_shared(command);
        let mut group = None;
        for option in own {
            if group != Some(option.group) {
                group = Some(option.group);
                page.push_str(&format!(".SS {}\n", roff(option.group.title())));
            }
            let Explained { text, values, facts } = help::explained(command, option);
            page.push_str(&format!(".TP\n.B {}\n{}\n", roff(&help::usage(option)), roff(&text)));
            for (name, meaning) in values {
                page.push_str(&format!(".br\n{}: {}\n", roff(name), roff(meaning)));
            }
            let facts: Vec<String> = facts.iter().map(|fact| format!("[{fact}]")).collect();
            if !facts.is_empty() {
                page.push_str(&format!(".br\n{}\n", roff(&facts.join(" "))));
            }
        }
        if !shared.is_empty() {
            let names: Vec<String> = shared.iter().map(|name| format!("--{name}")).collect();
            let sentence = format!("As with aloud serve: {}.", names.join(", "));
            page.push_str(&format!(".PP\n{}\n", roff(&sentence)));
        }
        for (title, note) in command.notes {
            page.push_str(&format!(".SS {}\n{}\n", roff(title), roff(note)));
        }
        if !command.examples.is_empty() {
            page.push_str(&format!(".PP\n.nf\n{}\n.fi\n", roff(&command.examples.join("\n"))));
        }
    }
    page.push_str(".SH ENVIRONMENT\nEach option names its variable. These have no option:\n");
    for Secret { variable, meaning, .. } in options::SECRETS {
        page.push_str(&format!(".TP\n.B {variable}\n{}\n", roff(meaning)));
    }
    page
}

/// Escapes what has a meaning in roff.
fn roff(text: &str) -> String {
    let escaped = help::plain(text.trim_end()).replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped.lines().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
