//! Scripts for shells that complete commands, options and their values.

use super::help::COMMANDS;
use super::options;
use super::parse::{Usage, wrong};
use aloud::guide::TOPICS;
use aloud::setting::{Kind, SERVE, Setting};

/// The script for this shell.
pub(super) fn of(shell: &str) -> Result<String, Usage> {
    match shell {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        other => wrong(format!("completions cannot be for `{other}`; give bash, zsh or fish")),
    }
}

/// Names that the option takes; empty if it takes anything.
fn values(option: &Setting) -> Vec<&'static str> {
    match option.kind {
        Kind::Choice(names) => names.iter().map(|(name, _)| *name).collect(),
        _ => Vec::new(),
    }
}

fn takes_value(option: &Setting) -> bool {
    !matches!(option.kind, Kind::Flag)
}

/// Words that can stand after this command, besides options.
fn words(command: &str) -> Vec<&'static str> {
    match command {
        "completions" => vec!["bash", "zsh", "fish"],
        "help" => {
            let mut names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
            names.extend(TOPICS.iter().map(|topic| topic.name).filter(|name| *name != "options"));
            names
        }
        _ => Vec::new(),
    }
}

fn bash() -> String {
    let names = COMMANDS.map(|command| command.name).join(" ");
    let mut script = format!(
        "# Completes aloud in bash: source <(aloud completions bash)\n\
         _aloud() {{\n    \
             local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command=serve names values\n    \
             if [[ $COMP_CWORD -gt 1 && ${{COMP_WORDS[1]}} != -* ]]; then command=${{COMP_WORDS[1]}}; fi\n    \
             if [[ $COMP_CWORD -eq 1 && $word != -* ]]; then\n        \
                 COMPREPLY=($(compgen -W '{names}' -- \"$word\"))\n        \
                 return\n    \
             fi\n    \
             case $command in\n"
    );
    for command in &COMMANDS {
        let of_command = options::of(command.name);
        let dashed: Vec<String> = of_command.iter().map(|option| format!("--{}", option.name)).collect();
        let names = [words(command.name).join(" "), dashed.join(" ")].join(" ");
        script.push_str(&format!("        {})\n            names='{}'\n", command.name, names.trim()));
        script.push_str("            case $before in\n");
        for option in of_command.iter().filter(|option| takes_value(option)) {
            let short = if option.name == "output" { "-o | " } else { "" };
            let values = match (values(option), options::is_file(option)) {
                (_, true) => "FILE".to_owned(),
                (names, _) if names.is_empty() => "ANY".to_owned(),
                (names, _) => names.join(" "),
            };
            script.push_str(&format!("                {short}--{}) values='{values}' ;;\n", option.name));
        }
        script.push_str("            esac\n            ;;\n");
    }
    script.push_str(
        "    esac\n    \
             case $values in\n        \
                 FILE) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")) ;;\n        \
                 ANY) COMPREPLY=() ;;\n        \
                 ?*) COMPREPLY=($(compgen -W \"$values\" -- \"$word\")) ;;\n        \
                 *) COMPREPLY=($(compgen -W \"$names --help --version\" -- \"$word\")) ;;\n    \
             esac\n\
         }\n\
         complete -F _aloud aloud\n",
    );
    script
}

fn zsh() -> String {
    // Characters with a meaning within a specification of _arguments, which stands in quotes.
    let plain = |text: &str| text.replace('\'', "").replace('[', "(").replace(']', ")").replace(':', ",");
    let mut script = "#compdef aloud\n# Completes aloud in zsh: aloud completions zsh > ~/.zfunc/_aloud\n\
                      _aloud() {\n    local command=serve\n    local -a commands=(\n"
        .to_owned();
    for command in &COMMANDS {
        script.push_str(&format!("        '{}:{}'\n", command.name, plain(command.short)));
    }
    script.push_str(
        "    )\n    \
             if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n        \
                 _describe command commands\n        \
                 return\n    \
             fi\n    \
             if [[ $words[2] != -* ]]; then\n        \
                 command=$words[2]\n        \
                 shift words\n        \
                 (( CURRENT-- ))\n    \
             fi\n    \
             case $command in\n",
    );
    for command in &COMMANDS {
        script.push_str(&format!("        {})\n            _arguments \\\n", command.name));
        for option in options::of(command.name) {
            let (name, short) = (option.name, plain(option.short));
            let value = match (takes_value(option), options::is_file(option)) {
                (false, _) => String::new(),
                (true, true) => format!(":{}:_files", option.value),
                (true, false) => format!(":{}:({})", plain(option.value), values(option).join(" ")),
            };
            if name == "output" {
                script.push_str(&format!("                '-o[{short}]{value}' \\\n"));
            }
            // Repeated, as the last value counts, and lists grow.
            script.push_str(&format!("                '*--{name}[{short}]{value}' \\\n"));
        }
        let words = words(command.name);
        if !words.is_empty() {
            script.push_str(&format!("                '1:name:({})' \\\n", words.join(" ")));
        }
        script.push_str("                '(-h --help)'{-h,--help}'[Show help.]'\n            ;;\n");
    }
    script.push_str(
        "    esac\n}\nif [[ $funcstack[1] == _aloud ]]; then _aloud \"$@\"; else compdef _aloud aloud; fi\n",
    );
    script
}

fn fish() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let names = COMMANDS.map(|command| command.name).join(" ");
    let mut script =
        "# Completes aloud in fish: aloud completions fish > ~/.config/fish/completions/aloud.fish\n\
                      complete -c aloud -f\n"
            .to_owned();
    let no_command = format!("not __fish_seen_subcommand_from {names}");
    for command in &COMMANDS {
        let (name, short) = (command.name, quoted(command.short));
        script.push_str(&format!("complete -c aloud -n '{no_command}' -a {name} -d {short}\n"));
        // serve is also what runs without a command.
        let condition = match name == SERVE {
            true => format!("{no_command}; or __fish_seen_subcommand_from serve"),
            false => format!("__fish_seen_subcommand_from {name}"),
        };
        for option in options::of(name) {
            let short = if option.name == "output" { " -o o" } else { "" };
            let value = match (takes_value(option), options::is_file(option)) {
                (false, _) => String::new(),
                (true, true) => " -r -F".to_owned(),
                (true, false) => match values(option) {
                    names if names.is_empty() => " -x".to_owned(),
                    names => format!(" -x -a '{}'", names.join(" ")),
                },
            };
            script.push_str(&format!(
                "complete -c aloud -n '{condition}'{short} -l {}{value} -d {}\n",
                option.name,
                quoted(option.short)
            ));
        }
        for word in words(name) {
            script.push_str(&format!("complete -c aloud -n '{condition}' -a {word}\n"));
        }
    }
    script.push_str("complete -c aloud -s h -l help -d 'Show help.'\n");
    script.push_str("complete -c aloud -s V -l version -d 'Show the version.'\n");
    script
}
