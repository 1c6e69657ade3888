//! The manual: one page for each subject.
//!
//! Each page is a module here, and `aloud help TOPIC` prints the same text in a terminal. A page
//! refers to another one by its name in square brackets: "see [protocol]".
//!
//! New to aloud? Read [start], then [browser], [terminal], [programs] or [rust]. Writing a client? Read
//! [protocol], then [v1]. Running a server? Read [access], [limits] and [operation].

/// A page of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Name of the page, as `aloud help` takes it.
    pub name: &'static str,
    /// Subject of the page, in a few words.
    pub title: &'static str,
    /// Markdown text of the page. That of `options` says how to get it, since the program makes that page.
    pub text: &'static str,
}

/// Returns the page with this name.
///
/// ```
/// assert!(aloud::guide::topic("protocol").is_some_and(|page| page.text.starts_with("# ")));
/// assert_eq!(aloud::guide::topic("no such page"), None);
/// ```
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The page `options`: a program has it already, as the settings from which it is made.
const OPTIONS: &str = "# Options\n\n`aloud options` prints this page.\n";

/// Makes a module and an entry of [`TOPICS`] from each page, `NAME.md` in this folder.
macro_rules! pages {
    (@text options) => { OPTIONS };
    (@text $name:ident) => { include_str!(concat!(stringify!($name), ".md")) };
    ($($name:ident: $title:literal,)*) => {
        $(
            #[doc = include_str!(concat!(stringify!($name), ".md"))]
            pub mod $name {}
        )*

        /// All pages, in reading order.
        pub const TOPICS: &[Topic] = &[$(
            Topic {
                name: stringify!($name),
                title: $title,
                text: pages!(@text $name),
            },
        )*];
    };
}

pages! {
    start: "build, first run, first words",
    browser: "speech in a web page",
    terminal: "speech from a shell or a script",
    programs: "programs that know OpenAI's API for speech",
    rust: "aloud as a library",
    proxies: "nginx, HAProxy, Caddy, Apache, HTTP/2",
    voices: "natural voices, and what each engine costs",
    engines: "voices: built in, programs, services",
    writer: "a language model answers the prompt",
    access: "credentials, origins, clients behind proxies",
    options: "all options, with defaults and units",
    protocol: "the base protocol",
    v1: "the subprotocol aloud.v1",
    recovery: "reconnect and resume at the same byte",
    codes: "HTTP statuses, error codes, close codes",
    limits: "limits, deadlines and what follows",
    operation: "signals, health, metrics, logs, systemd",
    replicas: "more than one machine: sessions that any server continues",
    security: "what holds and what does not",
    performance: "how to measure, and results",
    development: "tests, fuzzing, dependencies",
}

/// Compiles the Rust of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::UNSENT_BYTES;
    use crate::session::REPLAYS;
    use crate::session::log::UNCONFIRMED_BYTES;
    use crate::session::message::{CLOSE_CODES, Close, Code, Retry};
    use crate::setting::Kind;
    use crate::settings::Config;

    const README: &str = include_str!("../../README.md");

    #[test]
    fn readme_is_short() {
        assert!(README.lines().count() <= 300, "{} lines", README.lines().count());
        assert!(README.len() <= 16 * 1024, "{} bytes", README.len());
    }

    #[test]
    fn pages_have_a_heading_and_an_entry_in_the_readme() {
        for Topic { name, title, text } in TOPICS {
            assert!(text.starts_with("# "), "{name} begins with its heading");
            assert!(text.ends_with('\n'), "{name} ends with a line");
            let entry = format!("| [`{name}`](src/guide/{name}.md) | {title} |");
            assert!(README.contains(&entry), "the README has no line {entry:?}");
        }
    }

    #[test]
    fn pages_fit_into_a_terminal() {
        // The tables of the options are made from the settings.
        for Topic { name, text, .. } in TOPICS.iter().filter(|topic| topic.name != "options") {
            let mut is_code = false;
            for line in text.lines() {
                is_code ^= line.starts_with("```");
                let width = line.chars().count();
                assert!(is_code || width <= 100, "{name} has {width} columns: {line}");
            }
        }
    }

    /// The row of the page `codes` that begins with this cell, as its cells.
    fn row(first: &str) -> Vec<&'static str> {
        let begins_so = |line: &&str| line.strip_prefix("| ").is_some_and(|rest| cell(rest) == first);
        let page = topic("codes").unwrap().text;
        let line = page.lines().find(begins_so).unwrap_or_else(|| panic!("no row {first}"));
        line.trim_matches('|').split('|').map(str::trim).collect()
    }

    fn cell(text: &str) -> &str {
        text.split('|').next().unwrap_or_default().trim()
    }

    #[test]
    fn error_codes_are_in_the_guide_as_in_their_table() {
        for code in Code::all() {
            let row = row(&format!("`{}`", code.name()));
            assert_eq!(row[2] == "yes", code.is_retryable(), "{row:?}");
            match code.close() {
                Some(close) => assert!(row[3].contains(&close.code(true).to_string()), "{row:?}"),
                None => assert_eq!(row.len(), 3, "{row:?}"),
            }
        }
    }

    #[test]
    fn close_codes_are_in_the_guide_as_in_their_table() {
        for (code, retry, _) in CLOSE_CODES {
            let is_sent = Close::all().any(|close| [close.code(true), close.code(false)].contains(&code));
            if is_sent || code == 1005 || code == 1006 {
                let row = row(&code.to_string());
                assert_eq!(row[2] == "yes", retry == Retry::Now, "{row:?}");
            }
        }
    }

    /// The items of the page `limits`, each on one line.
    fn limits() -> Vec<String> {
        let page = topic("limits").unwrap().text;
        let items = page.split("\n- ").skip(1).map(|item| item.split("\n\n").next().unwrap_or_default());
        items.map(|item| item.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// The ways in which the page may write this amount.
    fn amounts(amount: &str, unit: &str) -> Vec<String> {
        let Ok(number) = amount.parse::<u64>() else { return vec!["no limit".to_owned()] };
        let digits = number.to_string();
        let grouped = digits.as_bytes().rchunks(3).rev().map(|three| str::from_utf8(three).unwrap());
        let grouped = grouped.collect::<Vec<_>>().join(",");
        let scales: &[(u64, &str)] = match unit {
            "milliseconds" => &[(1, "ms"), (1_000, "s"), (60_000, "min"), (3_600_000, "h")],
            "bytes" => &[(1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")],
            _ => &[],
        };
        let scaled = scales.iter().filter(|(scale, _)| number % scale == 0 && number > 0);
        scaled.map(|(scale, name)| format!("{} {name}", number / scale)).chain([grouped]).collect()
    }

    #[test]
    fn limits_are_in_the_guide_as_in_the_settings() {
        let mut checked = 0;
        for setting in Config::settings().filter(|setting| !matches!(setting.kind, Kind::Flag)) {
            let field = setting.field.rsplit('.').next().unwrap_or_default();
            // In brackets stands what sets the limit; elsewhere a name is only mentioned.
            let names = [format!("(`--{}`", setting.name), format!("(`{field}`"), format!(", `{field}`)")];
            let is_meant = |item: &&String| names.iter().any(|name| item.contains(name));
            for item in limits().iter().filter(is_meant) {
                let amounts =
                    amounts(&(setting.field_default)(), setting.range.map_or("", |range| range.unit));
                assert!(
                    amounts.iter().any(|amount| item.contains(amount)),
                    "{names:?} is {amounts:?}: {item}"
                );
                checked += 1;
            }
        }
        assert!(checked >= 24, "{checked} items");
    }

    #[test]
    fn constants_are_in_the_guide_as_in_the_code() {
        let all = limits();
        for (begins, bytes) in [
            ("**Bytes in the kernel", u64::from(UNSENT_BYTES)),
            ("**Sent audio that the client has not confirmed**", UNCONFIRMED_BYTES),
            ("**Audio that a session sends again", REPLAYS.burst()),
            ("**Audio that a session sends again", 256 * 1024),
        ] {
            let item = all.iter().find(|item| item.starts_with(begins)).unwrap_or_else(|| panic!("{begins}"));
            let amounts = amounts(&bytes.to_string(), "bytes");
            assert!(amounts.iter().any(|amount| item.contains(amount)), "{amounts:?}: {item}");
        }
    }
}
