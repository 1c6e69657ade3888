//! The manual: one page for each subject.
//!
//! Each page is a module here, and `aloud help TOPIC` prints the same text in a terminal. A page
//! refers to another one by its name in square brackets: "see [protocol]".
//!
//! New to aloud? Read [start], then [browser], [terminal] or [rust]. Writing a client? Read
//! [protocol], then [v1]. Running a server? Read [access], [limits] and [operation].

/// A page of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Name of the page, as `aloud help` takes it.
    pub name: &'static str,
    /// Subject of the page, in a few words.
    pub title: &'static str,
    /// Markdown text of the page.
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

/// Makes a module and an entry of [`TOPICS`] from each page, `NAME.md` in this folder.
macro_rules! pages {
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
                text: include_str!(concat!(stringify!($name), ".md")),
            },
        )*];
    };
}

pages! {
    start: "build, first run, first words",
    browser: "speech in a web page",
    terminal: "speech from a shell or a script",
    rust: "aloud as a library",
    proxies: "nginx, HAProxy, Caddy, Apache, HTTP/2",
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
    security: "what holds and what does not",
    performance: "how to measure, and results",
    development: "tests, fuzzing, dependencies",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_heading_and_an_entry_in_the_readme() {
        let readme = include_str!("../../README.md");
        for Topic { name, title, text } in TOPICS {
            assert!(text.starts_with("# "), "{name} begins with its heading");
            assert!(text.ends_with('\n'), "{name} ends with a line");
            let entry = format!("| [`{name}`](src/guide/{name}.md) | {title}");
            assert!(readme.contains(&entry), "the README has no line {entry:?}");
        }
    }

    #[test]
    fn pages_fit_into_a_terminal() {
        for Topic { name, text, .. } in TOPICS {
            let mut is_code = false;
            for line in text.lines() {
                is_code ^= line.starts_with("```");
                let width = line.chars().count();
                assert!(is_code || width <= 100, "{name} has {width} columns: {line}");
            }
        }
    }
}
