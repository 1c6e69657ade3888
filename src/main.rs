//! The command line of aloud.

mod cli;

use cli::Command;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A variable that is not UTF-8 is no valid value either, and its error shows what it held.
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match cli::parse(std::env::args_os().skip(1), &env) {
        Ok(Command::Help(text)) => print(text),
        Ok(Command::Version) => print(concat!("aloud ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Serve(_) | Command::Say(_) | Command::Echo(_)) => {
            eprintln!("aloud: this build has no server yet");
            ExitCode::FAILURE
        }
        Err(usage) => {
            eprintln!("aloud: {usage}");
            ExitCode::from(2)
        }
    }
}

/// Writes to stdout; a reader that has left, as `head` does, is no reason to panic.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
