//! The command line of aloud.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A variable that is not UTF-8 is read with replacement characters, and its error shows them.
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match cli::parse(std::env::args_os().skip(1), &env) {
        Ok(command) => {
            command.run(&cli::warnings(std::env::vars_os().map(|(name, _)| name))).unwrap_or_else(|error| {
                if error.is::<cli::Usage>() {
                    // About options, and with lines to paste.
                    eprintln!("aloud: {error}");
                } else if !error.is::<cli::ReaderLeft>() {
                    // What a peer wrote must not reach a terminal as it is.
                    eprintln!("aloud: {}", cli::printable(&error.to_string()));
                }
                cli::exit_code(&*error)
            })
        }
        Err(usage) => {
            eprintln!("aloud: {usage}");
            ExitCode::from(2)
        }
    }
}
