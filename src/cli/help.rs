//! `-h` and `--help`: made from the declarations of the options, in 80 columns.

use super::options;
use aloud::setting::{BENCH, ECHO, Kind, SAY, SERVE, Setting};
use std::fmt::Write;

/// Texts about a command, besides its options.
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    /// One sentence.
    pub(super) short: &'static str,
    /// More sentences. May be empty.
    pub(super) long: &'static str,
    /// Notes after the options: heading and text.
    pub(super) notes: &'static [(&'static str, &'static str)],
    pub(super) examples: &'static [&'static str],
}

pub(super) const COMMANDS: [About; 9] = [
    About {
        name: SERVE,
        usage: "aloud [serve] [OPTIONS]",
        short: "Run the server. This is the default command.",
        long: "When the server is ready it prints one line, the address that it listens on. Log lines go to \
               standard error.",
        notes: &[
            (
                "Signals",
                "The first SIGTERM or SIGINT drains: running streams finish, and new ones are refused. \
                 A second signal ends the program at once.",
            ),
            (
                "Exit codes",
                "0 after a signal and a clean end; 1 if the server could not start, or failed; 2 for wrong \
                 usage; 130 or 143 after a second SIGINT or SIGTERM.",
            ),
            (
                "Environment",
                "An option on the command line wins over its variable. An empty variable counts as unset. \
                 The server warns about variables that begin with `ALOUD_` and that it does not know.",
            ),
        ],
        examples: &[
            "aloud serve --listen 0.0.0.0:8080 --auth token --auth-tokens tokens.txt",
            "ALOUD_LISTEN=unix:/run/aloud.sock aloud serve --encoding mulaw",
            "aloud serve --engine command --command 'espeak-ng --stdout -s {wpm} --stdin'",
        ],
    },
    About {
        name: SAY,
        usage: "aloud say [TEXT|-] [OPTIONS]",
        short: "Speak a text into a file, through a server.",
        long: "`TEXT` is one argument; without it, or with `-`, the text comes from standard input. The audio \
               always comes over a WebSocket: from the server at `--url`, or else from one inside this \
               process. Options marked \"not with --url\" set up that server.",
        notes: &[(
            "Exit codes",
            "0 if all text was spoken; 1 if a sentence or the whole text was not; 2 for wrong usage; 130 or 143 \
             after SIGINT or SIGTERM. In every case the file is a valid WAV of the audio so far. A reader of \
             standard output that leaves early, as `head` does, is no failure.",
        )],
        examples: &[
            "aloud say \"Good evening. The kettle is on.\" -o hello.wav",
            "aloud say \"Good evening.\" --engine neural -o hello.wav",
            "aloud say - -o - --url ws://127.0.0.1:8080 < letter.txt | aplay",
            "aloud say --source llm \"Tell me about tea\" --llm-url http://127.0.0.1:11434 \\\n    \
             --llm-model llama3.2",
        ],
    },
    About {
        name: BENCH,
        usage: "aloud bench [OPTIONS]",
        short: "Put load on a server and measure it.",
        long: "Measures frames, CPU and memory of the server, the time to the first audio, and how late audio \
               arrives. Any server with the base protocol will do; without `--url` it is this program, in a \
               process of its own. The exit code is 1 if a connection failed.",
        notes: &[(
            "Figures",
            "Times of audio are times of arrival. A gap lies between two pieces of audio. Lateness compares \
             with a listener who starts at the first frame, and needs the format, which servers with aloud.v1 \
             announce. The bench runs on one core, and says so if that core was full or shared.",
        )],
        examples: &[
            "aloud bench",
            "aloud bench --mode paced --connections 2000 --seconds 10",
            "aloud bench --mode idle --connections 10000 --json",
            "aloud bench --url ws://127.0.0.1:8080 --server-pid $(pidof aloud)",
        ],
    },
    About {
        name: ECHO,
        usage: "aloud echo [OPTIONS]",
        short: "Run a WebSocket echo, to check clients and proxies.",
        long: "Every message goes back as it came, on every path. Handshake, deadlines and close codes are \
               those of the server.",
        notes: &[],
        examples: &[
            "aloud echo --listen 127.0.0.1:9001",
            "aloud echo --listen unix:/tmp/echo.sock --max-message-bytes 65536",
        ],
    },
    About {
        name: "help",
        usage: "aloud help [COMMAND|TOPIC]",
        short: "Show a page of the manual, or list all pages.",
        long: "",
        notes: &[],
        examples: &["aloud help", "aloud help options", "aloud help serve"],
    },
    About {
        name: "voices",
        usage: "aloud voices",
        short: "List the voices that are there, and how to get more.",
        long: "",
        notes: &[],
        examples: &["aloud voices", "ALOUD_VOICE_FILE=heart.onnx aloud voices"],
    },
    About {
        name: "completions",
        usage: "aloud completions bash|zsh|fish",
        short: "Print a script that completes options in a shell.",
        long: "",
        notes: &[],
        examples: &[
            "source <(aloud completions bash)",
            "aloud completions zsh > ~/.zfunc/_aloud",
            "aloud completions fish > ~/.config/fish/completions/aloud.fish",
        ],
    },
    About {
        name: "man",
        usage: "aloud man",
        short: "Print the manual page, in roff.",
        long: "",
        notes: &[],
        examples: &["aloud man | man -l -", "aloud man > /usr/local/share/man/man1/aloud.1"],
    },
    About {
        name: "options",
        usage: "aloud options",
        short: "Print the list of all options, in Markdown.",
        long: "",
        notes: &[],
        examples: &["aloud options > src/guide/options.md"],
    },
];

/// Introduction of the program.
pub(super) const PROGRAM: &str = "aloud is a small server that speaks: text goes in over a WebSocket, and \
                                  speech comes out while it is still being synthesised. The voice is inside \
                                  the program.";

/// Width of help texts, in columns.
const WIDTH: usize = 80;

/// Column at which `-h` explains an option.
const COLUMN: usize = 29;

pub(super) fn version() -> String {
    concat!("aloud ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

/// `aloud -h` and `aloud --help`.
pub(super) fn main(in_full: bool) -> String {
    let mut text = wrapped(PROGRAM, WIDTH, 0);
    text.push_str("\nUsage: aloud [COMMAND] [OPTIONS]\n");
    text.push_str(&commands());
    text.push_str("\nOptions:\n");
    text.push_str(&line("-h, --help", "Show this text; after a command, its options."));
    text.push_str(&line("-V, --version", "Show the version."));
    if in_full {
        text.push_str("\nWith a command, -h has one line for each option, and --help explains them.\n");
    }
    text.push_str(&examples(&[
        "aloud --listen 127.0.0.1:9000",
        "aloud say \"Good evening. The kettle is on.\" -o hello.wav",
    ]));
    text
}

/// The list of commands.
pub(super) fn commands() -> String {
    let mut text = "\nCommands:\n".to_owned();
    for About { name, short, .. } in &COMMANDS {
        writeln!(text, "  {name:<12} {short}").expect("a string takes all");
    }
    text
}

/// `aloud COMMAND -h`, or in full `--help`.
pub(super) fn of(command: &About, in_full: bool) -> String {
    let mut text = wrapped(&plain(command.short), WIDTH, 0);
    if in_full && !command.long.is_empty() {
        text.push('\n');
        text.push_str(&wrapped(&plain(command.long), WIDTH, 0));
    }
    text.push_str(&format!("\nUsage: {}\n", command.usage));
    let mut group = None;
    for option in options::of(command.name) {
        if group != Some(option.group) {
            group = Some(option.group);
            text.push_str(&format!("\n{}:\n", option.group.title()));
        }
        match in_full {
            true => text.push_str(&entry(command, option)),
            false => text.push_str(&line(&usage(option), &plain(option.short))),
        }
    }
    text.push('\n');
    text.push_str(&line("-h, --help", "Show a line for each option, or explain them."));
    if in_full {
        for (title, note) in command.notes {
            text.push('\n');
            text.push_str(&wrapped(&plain(&format!("{title}: {note}")), WIDTH, 0));
        }
    }
    text.push_str(&examples(command.examples));
    text
}

/// Formats an option as it is written: `--frame-ms MS`.
pub(super) fn usage(option: &Setting) -> String {
    let short = if option.name == "output" { "-o, " } else { "" };
    let value = if option.value.is_empty() { "" } else { " " };
    format!("{short}--{}{value}{}", option.name, option.value)
}

/// Full explanation of an option: sentences, values with their meanings, and facts. Code is marked as
/// in Markdown.
pub(super) struct Explained {
    pub(super) text: String,
    pub(super) values: Vec<(&'static str, &'static str)>,
    pub(super) facts: Vec<String>,
}

pub(super) fn explained(command: &About, option: &Setting) -> Explained {
    let mut text = format!("{} {}", option.short, option.long).trim_end().to_owned();
    let mut values = Vec::new();
    if let Kind::Choice(names) = option.kind {
        match names.iter().all(|(_, meaning)| meaning.is_empty()) {
            true => text.push_str(&format!(" Values: {}.", option.looks())),
            false => values.extend(names),
        }
    }
    let mut facts = Vec::new();
    facts.extend(option.shown_range().map(|range| format!("range: {range}")));
    let default = option.shown_default();
    if !default.is_empty() {
        facts.push(format!("default: {default}"));
    }
    if option.has_variable {
        facts.push(format!("env: {}", option.variable()));
    }
    if command.name == SAY && options::is_for_own_server(option) {
        facts.push("not with --url".to_owned());
    }
    Explained { text, values, facts }
}

fn entry(command: &About, option: &Setting) -> String {
    const INDENT: usize = 10;
    let Explained { text, values, facts } = explained(command, option);
    let mut entry = format!("  {}\n{}", usage(option), wrapped(&plain(&text), WIDTH, INDENT));
    let longest = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, meaning) in values {
        entry.push_str(&hanging(&format!("  {name:<longest$}"), &plain(meaning), INDENT));
    }
    // A fact is not broken in the middle.
    let facts: Vec<String> =
        facts.iter().map(|fact| format!("[{}]", plain(fact)).replace(' ', "\u{a0}")).collect();
    entry.push_str(&wrapped(&facts.join(" "), WIDTH, INDENT).replace('\u{a0}', " "));
    entry
}

/// A line of `-h`.
fn line(usage: &str, short: &str) -> String {
    format!("  {usage:<width$}  {short}\n", width = COLUMN - 4)
}

fn examples(examples: &[&str]) -> String {
    let mut text = "\nExamples:\n".to_owned();
    for example in examples {
        text.push_str(&format!("  {}\n", example.replace('\n', "\n  ")));
    }
    text
}

/// Formats a name and a paragraph beside it.
fn hanging(name: &str, text: &str, indent: usize) -> String {
    let indented = wrapped(text, WIDTH, indent + name.chars().count() + 2);
    let rest = indented.trim_start();
    format!("{}{name}  {rest}", " ".repeat(indent))
}

/// Removes the marks of code, for a terminal.
pub(super) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// Breaks a text into indented lines of this width. An empty text gives no line.
pub(super) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            lines.push('\n');
            column = 0;
        }
        match column {
            0 => {
                lines.push_str(&" ".repeat(indent));
                column = indent + length;
            }
            _ => {
                lines.push(' ');
                column += 1 + length;
            }
        }
        lines.push_str(word);
    }
    if column > 0 {
        lines.push('\n');
    }
    lines
}
