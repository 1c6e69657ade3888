//! Arguments that a program runs as code, such as the script of `sh -c`. A placeholder inside of one would run
//! what a client wrote, and no quotes in the script prevent this.

use super::InvalidCommand;
use crate::tts::template::{Placeholder, Template};

/// Programs that run an argument as code.
struct Interpreter {
    /// Their names, without a version.
    names: &'static [&'static str],
    /// Letters of options that announce code.
    letters: &'static str,
    /// Long options that announce code.
    long: &'static [&'static str],
    /// Letters of options that take a value, and long options that do.
    valued: (&'static str, &'static [&'static str]),
    code: Code,
}

/// The argument that is code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    /// After the option, the first argument that is no option. Otherwise the first one names a script.
    Operand,
    /// The argument of the option, which stands before the first argument that is no option. That one names a script,
    /// or a program.
    Option,
    /// The argument of the option, wherever it stands.
    OptionAnywhere,
    /// The argument of the option, or else the first one that is no option.
    OptionOrOperand,
    /// All arguments together, as `ssh` gives them to the shell at the other end.
    Everything,
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &[
            "sh", "ash", "bash", "csh", "dash", "elvish", "fish", "hush", "ksh", "lksh", "loksh", "mksh",
            "nu", "oksh", "pdksh", "posh", "pwsh", "rbash", "rksh", "rzsh", "tcsh", "xonsh", "yash", "zsh",
        ],
        letters: "cC",
        long: &["command", "commands", "execute", "init-command"],
        valued: ("oO", &["init-file", "rcfile", "emulate"]),
        code: Code::Operand,
    },
    Interpreter {
        names: &["flock", "runuser", "script", "sg", "su"],
        letters: "c",
        long: &["command", "session-command"],
        valued: ("", &[]),
        code: Code::OptionAnywhere,
    },
    Interpreter {
        names: &["guile", "ipython", "pypy", "python"],
        letters: "c",
        long: &[],
        valued: ("WX", &[]),
        code: Code::Option,
    },
    Interpreter {
        names: &[
            "R", "Rscript", "bun", "deno", "groovy", "julia", "lua", "luajit", "node", "nodejs", "octave",
            "perl", "php", "raku", "ruby", "scala", "tclsh",
        ],
        letters: "eEpr",
        long: &["eval", "print", "run"],
        valued: ("IC", &["import", "loader", "require"]),
        code: Code::Option,
    },
    Interpreter {
        names: &["awk", "gawk", "jq", "mawk", "nawk", "sed"],
        letters: "e",
        long: &["expression", "source"],
        valued: ("vF", &["arg", "argjson"]),
        code: Code::OptionOrOperand,
    },
    Interpreter {
        names: &["expect", "osascript", "swift"],
        letters: "ce",
        long: &[],
        valued: ("l", &[]),
        code: Code::Option,
    },
    Interpreter {
        names: &["env"],
        letters: "S",
        long: &["split-string"],
        valued: ("uC", &["unset", "chdir"]),
        code: Code::Option,
    },
    Interpreter {
        names: &[
            "busybox",
            "catchsegv",
            "chroot",
            "chrt",
            "cpulimit",
            "dbus-run-session",
            "doas",
            "faketime",
            "firejail",
            "gosu",
            "ionice",
            "ltrace",
            "nice",
            "nohup",
            "nsenter",
            "numactl",
            "pkexec",
            "prlimit",
            "setarch",
            "setpriv",
            "setsid",
            "start-stop-daemon",
            "stdbuf",
            "strace",
            "su-exec",
            "sudo",
            "systemd-run",
            "taskset",
            "tini",
            "timeout",
            "toybox",
            "unbuffer",
            "unshare",
            "valgrind",
        ],
        letters: "",
        long: &[],
        valued: ("cnpugkseioS", &["adjustment", "class", "classdata", "group", "signal", "user"]),
        code: Code::Option,
    },
    Interpreter {
        names: &[
            "emacs",
            "emacsclient",
            "eval",
            "ex",
            "festival",
            "find",
            "gdb",
            "git",
            "lldb",
            "m4",
            "make",
            "mariadb",
            "mosh",
            "mysql",
            "nvim",
            "parallel",
            "psql",
            "rsh",
            "screen",
            "sqlite",
            "ssh",
            "tar",
            "tmux",
            "vi",
            "vim",
            "watch",
            "xargs",
        ],
        letters: "",
        long: &[],
        valued: ("", &[]),
        code: Code::Everything,
    },
];

/// The program that this word names, if it runs an argument as code. A version at the end does not count.
fn interpreter(word: &str) -> Option<&'static Interpreter> {
    let name = word.rsplit('/').next().unwrap_or(word);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.iter().find(|interpreter| interpreter.names.contains(&name))
}

/// Checks that no placeholder stands inside of code. Looks behind every word that names an interpreter: `env`,
/// `nice`, `timeout`, `busybox` and others start one, too.
///
/// # Errors
/// A sentence that names the argument, and shows how to pass the value.
pub(super) fn check(program: &str, arguments: &[Template]) -> Result<(), InvalidCommand> {
    // The word behind the script of a shell is the name for its messages, `$0`.
    let mut names = Vec::new();
    if let Some(found) = interpreter(program) {
        names.extend(behind(found, program, arguments)?);
    }
    for (at, argument) in arguments.iter().enumerate() {
        let (word, has_placeholder) = argument.beginning();
        let found = interpreter(word).filter(|_| !has_placeholder && !names.contains(&at));
        if let Some(found) = found {
            names.extend(behind(found, word, &arguments[at + 1..])?.map(|name| at + 1 + name));
        }
    }
    Ok(())
}

/// Checks the words behind the name of an interpreter. Returns the index of `$0`, if there is a script of a shell.
fn behind(
    interpreter: &Interpreter,
    name: &str,
    words: &[Template],
) -> Result<Option<usize>, InvalidCommand> {
    let Interpreter { letters, long, valued, code, .. } = interpreter;
    let reads_text = !words.iter().any(Template::has_text);
    // The next word that is no option is code; the next word of any kind is.
    let (mut awaits_operand, mut awaits_word) = (*code == Code::OptionOrOperand, false);
    let (mut are_options_over, mut is_value, mut has_code) = (false, false, false);
    for (at, argument) in words.iter().enumerate() {
        let (word, has_placeholder) = argument.beginning();
        let is_code = |is_code: bool| match is_code && has_placeholder {
            true => Err(refused(name, argument, *code)),
            false => Ok(()),
        };
        if *code == Code::Everything {
            is_code(true)?;
            continue;
        }
        if std::mem::take(&mut awaits_word) {
            is_code(true)?;
            awaits_operand = false;
            continue;
        }
        if std::mem::take(&mut is_value) {
            is_code(*code == Code::Operand)?;
            continue;
        }
        let is_option = !are_options_over && word.len() > 1 && word.starts_with(['-', '+']);
        if !is_option {
            is_code(awaits_operand)?;
            match code {
                Code::Operand if !awaits_operand && argument.has_text() => {
                    return Err(refused(name, argument, *code));
                }
                // What follows are the arguments of the code.
                Code::Operand => return Ok(awaits_operand.then_some(at + 1)),
                Code::OptionOrOperand => return Ok(None),
                // `env NAME=VALUE PROGRAM`, `timeout 5 PROGRAM`.
                Code::Option if word.contains('=') || word.starts_with(|c: char| c.is_ascii_digit()) => {
                    continue;
                }
                Code::Option if argument.has_text() && !has_code => {
                    return Err(refused(name, argument, *code));
                }
                Code::Option => return Ok(None),
                Code::OptionAnywhere | Code::Everything => continue,
            }
        }
        if let Some(option) = word.strip_prefix("--") {
            are_options_over = option.is_empty();
            let (option, has_value) =
                option.split_once('=').map_or((option, false), |(name, _)| (name, true));
            if long.contains(&option) {
                is_code(true)?;
                has_code = true;
                awaits_word = !has_value;
            }
            is_value = !has_value && valued.1.contains(&option);
            continue;
        }
        let cluster = &word[1..];
        // fish and pwsh write words behind one dash, too.
        let is_long = long.contains(&cluster.to_ascii_lowercase().as_str());
        let has_letter = cluster.contains(|c| letters.contains(c));
        if has_letter || is_long {
            is_code(true)?;
            has_code = true;
            match code {
                Code::Operand => awaits_operand = true,
                // Otherwise the code follows in the same word.
                _ => awaits_word = is_long || cluster.ends_with(|c| letters.contains(c)),
            }
        }
        if *code == Code::Operand && cluster.contains('s') && reads_text && !awaits_operand {
            return Err(InvalidCommand(format!(
                "`{name} {word}` runs its standard input, which is the sentence; name a script, or write \
                 {name} -c '… \"$1\"' {name} {{text}}"
            )));
        }
        is_value = cluster.ends_with(|c| valued.0.contains(c));
    }
    Ok(None)
}

fn refused(name: &str, argument: &Template, code: Code) -> InvalidCommand {
    let placeholder = argument.placeholders().next().map_or("", Placeholder::written);
    let advice = match code {
        Code::Operand => {
            format!("pass it as an argument of its own: {name} -c '… \"$1\"' {name} {placeholder}")
        }
        Code::Everything => {
            "leave it out, and let the program read the sentence from its standard input".to_owned()
        }
        Code::Option | Code::OptionAnywhere | Code::OptionOrOperand => {
            format!("pass it behind the code as an argument of its own: sh -c '… \"$1\"' sh {placeholder}")
        }
    };
    InvalidCommand(format!(
        "{placeholder} stands inside of code that {name} runs, where a client's text would run, too; {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    fn check(command: &str) -> Result<(), String> {
        let voices = vec!["a".to_owned()];
        Settings { voices, ..Settings::new(command) }.check().map_err(|why| why.to_string())
    }

    #[test]
    fn placeholder_inside_of_code_is_refused() {
        for command in [
            r#"festival --batch '(SayText "{text}")'"#,
            "festival -b {text}",
            "osascript -e 'say \"{text}\"'",
            "expect -c 'puts {text}'",
            "swift -e {text}",
            "git -c 'alias.x=!{text}' x",
            "tar --to-command {text} -xf -",
            "tmux new-session {text}",
            "sqlite3 :memory: {text}",
            "sh -c 'echo {text}'",
            "sh -c {text}",
            "/bin/sh -c '{text}'",
            "bash -c 'espeak \"{text}\"'",
            "bash -ec 'x {text}'",
            "bash -lxc \"'{text}'\"",
            "bash -e -c 'x {text}'",
            "bash -c -e 'x {text}'",
            "bash -c -- 'x {text}'",
            "bash --norc -c 'x {text}'",
            "bash -o pipefail -c 'x {text}'",
            "bash -c -o pipefail 'x {text}'",
            "bash -co pipefail 'x {text}'",
            "bash -O extglob -c 'x {text}'",
            "bash --rcfile f -c 'x {text}'",
            "sh +x -c '{text}'",
            "bash-5.2 -c '{text}'",
            "/opt/bash5/bin/bash5 -c '{text}'",
            "ksh93 -c '{text}'",
            "zsh -c '{text}'",
            "dash -c '{text}'",
            "ash -c '{text}'",
            "mksh -c '{text}'",
            "tcsh -c '{text}'",
            "fish -c '{text}'",
            "fish --command='{text}'",
            "fish --command '{text}'",
            "fish --init-command={text} x",
            "pwsh -Command '{text}'",
            "busybox sh -c '{text}'",
            "/bin/busybox ash -ec '{text}'",
            "env sh -c '{text}'",
            "/usr/bin/env -i A=b bash -c '{text}'",
            "env -S 'sh -c {text}'",
            "env --split-string='x {text}'",
            "nice -n 5 sh -c '{text}'",
            "timeout 10 bash -c '{text}'",
            "sudo -u speak sh -c '{text}'",
            "setsid sh -c '{text}'",
            "stdbuf -oL bash -c '{text}'",
            "sh -c 'exec \"$@\"' sh bash -c '{text}'",
            "sh -c 'x {voice}'",
            "sh -c 'x -s {wpm} \"$1\"' sh {text}",
            "sh -c 'x {language}' sh {text}",
            "sh -c 'x {speed}' sh",
            "sh -c 'x {length_scale}' sh",
            "sh -c 'x {sample_rate}' sh",
            "sh -c '$(x {text})'",
            "sh {text}",
            "bash -x {text}",
            "sh ./{text}.sh",
            "sh -s",
            "bash -s x",
            "su speak -c 'x {text}'",
            "su -c '{text}' speak",
            "runuser -u x -c {text}",
            "script -qc '{text}' /dev/null",
            "flock /tmp/x -c '{text}'",
            "python3 -c 'print(\"{text}\")'",
            "python3.12 -c '{text}'",
            "python -Xdev -c {text}",
            "perl -e 'print \"{text}\"'",
            "perl -pe '{text}'",
            "perl -e'{text}'",
            "ruby -r json -e '{text}'",
            "node -e '{text}'",
            "node --eval '{text}'",
            "node --print={text}",
            "php -r '{text}'",
            "lua -e '{text}'",
            "awk '{{ print \"{text}\" }}'",
            "gawk -v a=b '{text}'",
            "sed 's/x/{text}/'",
            "sed -e 's/x/{text}/' f",
            "sed -n --expression='{text}' f",
            "ssh host espeak {text}",
            "ssh host 'espeak \"{text}\"'",
            "watch x {text}",
            "env {text}",
            "env A=b {text}",
            "env -i -u C /opt/{text}",
            "nice {text}",
            "nice -n 5 {text}",
            "timeout 5 {text}",
            "timeout -s KILL 1.5s {text}",
            "nohup {text}",
            "sudo -u speak {text}",
            "setsid nice {text}",
            "busybox {text}",
            "taskset 0x3 {text}",
            "stdbuf -o L {text}",
            "python3 {text}",
            "python3 -X dev {text}",
            "perl {text}",
            "node --require x {text}",
        ] {
            let error = check(command).expect_err(command);
            assert!(error.contains("code") || error.contains("standard input"), "{command}: {error}");
        }
        let error = check("/bin/bash -ec 'espeak \"{text}\" | sox'").unwrap_err();
        assert!(error.contains("/bin/bash -c '… \"$1\"' /bin/bash {text}"), "{error}");
        let error = check("sh -c 'espeak -v {voice}'").unwrap_err();
        assert!(
            error.contains("{voice} stands inside") && error.contains("sh -c '… \"$1\"' sh {voice}"),
            "{error}"
        );
    }

    #[test]
    fn placeholder_that_is_an_argument_is_allowed() {
        for command in [
            "sh -c 'espeak \"$1\" | tail' sh {text}",
            "sh -c 'espeak \"$1\" | tail' {text}",
            "sh -ec 'x' sh -v {voice} {text}",
            "bash -c 'x \"$2\"' bash {wpm} --text={text}",
            "bash -o pipefail -c 'x' bash {text}",
            "sh -c 'espeak --stdin | tail -c +45'",
            "sh -c 'echo ${{x}} {{text}}' sh {text}",
            "sh",
            "sh speak.sh {text}",
            "sh speak.sh -c {text}",
            "bash -x speak.sh -v {voice} {text}",
            "sh speak-{voice}.sh",
            "bash -s x {text}",
            "env A=b espeak-ng {text}",
            "env -i espeak-ng -S {text}",
            "nice espeak-ng {text}",
            "timeout 5 espeak-ng {text}",
            "timeout -k 1 5s nice -n 3 espeak-ng -- {text}",
            "env LANG={language} espeak-ng {text}",
            "sudo -u speak espeak-ng {text}",
            "busybox cat {text}",
            "perl -e 'x' -- {text}",
            "perl -e'x' {text}",
            "python3 -m speak {text}",
            "python3 speak.py {text}",
            "python3 speak.py -c {voice} {text}",
            "python3 -m speak -c {voice}",
            "perl speak.pl -e {text}",
            "node speak.js --eval {text}",
            "python3 -c 'import sys' {text}",
            "perl -e 'print $ARGV[0]' -- {text}",
            "awk -f x.awk y {text}",
            "espeak-ng --stdout -v {voice} -s {wpm} {text}",
            "piper -c {voice}",
            "say -e {text}",
            "bashful -c {text}",
            "./sh-speak -c {text}",
        ] {
            assert_eq!(check(command), Ok(()), "{command}");
        }
    }
}
