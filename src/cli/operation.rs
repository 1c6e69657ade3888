//! Options for the operator of a server: health and metrics, and log lines.

use super::Source;
use super::parse::Usage;
use aloud::settings::Listen;
use tracing::Level;

/// Options for the operator of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Operation {
    /// Address of health, readiness and metrics, if there is one.
    pub(crate) admin: Option<Listen>,
    pub(crate) logging: Logging,
    /// A line about the engine, logged at start.
    pub(crate) note: Option<&'static str>,
}

/// Log lines: which, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    pub(crate) format: LogFormat,
    /// Least important level that is logged.
    pub(crate) level: Level,
    /// True if spoken text is logged.
    pub(crate) text: bool,
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { format: LogFormat::Text, level: Level::INFO, text: false }
    }
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For a person.
    Text,
    /// One object in each line.
    Json,
}

impl LogFormat {
    fn from_name(name: &str) -> Option<LogFormat> {
        match name {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }
}

impl Source<'_> {
    pub(super) fn operation(&self) -> Result<Operation, Usage> {
        Ok(Operation {
            admin: self.value("admin")?,
            logging: Logging {
                format: self.choice_or_default("log-format", LogFormat::from_name)?,
                level: self.choice_or_default("log-level", |name| name.parse().ok())?,
                text: self.has("log-text"),
            },
            note: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, serve_with};
    use super::*;
    use aloud::Config;
    use std::time::Duration;

    #[test]
    fn what_an_operator_asks_for() {
        let plain = serve_with(&[], &[]);
        assert_eq!((&plain.operation, &plain.settings.config), (&Operation::default(), &Config::default()));
        let args = [
            "--admin=127.0.0.1:9090",
            "--drain-timeout=500ms",
            "--log-format=json",
            "--log-level=debug",
            "--log-text",
        ];
        let expected = Operation {
            admin: Some(Listen::Tcp("127.0.0.1:9090".to_owned())),
            logging: Logging { format: LogFormat::Json, level: Level::DEBUG, text: true },
            note: None,
        };
        let serve = serve_with(&args, &[]);
        assert_eq!(serve.operation, expected);
        assert_eq!(serve.settings.config.drain_timeout, Duration::from_millis(500));
        assert!(serve.settings.config.log_text);
        let env = &[("ALOUD_ADMIN", "unix:/run/aloud.admin"), ("ALOUD_LOG_TEXT", "1")];
        let serve = serve_with(&[], env);
        assert_eq!(serve.operation.admin, Some(Listen::Unix("/run/aloud.admin".into())));
        assert!(!serve.operation.logging.text, "a forgotten variable must not log what people say");
        assert!(!serve.settings.config.log_text);
        for (arg, expected) in [
            ("--admin=9090", "--admin cannot be `9090`"),
            ("--drain-timeout=soon", "give a time such as 30s, 1500ms or 2m up to 24 hours"),
            ("--drain-timeout=25000m", "up to 24 hours"),
            ("--log-format=xml", "--log-format cannot be `xml`; give text or json"),
            ("--log-level=loud", "--log-level cannot be `loud`; give error, warn, info, debug or trace"),
        ] {
            let error = error(&["serve", arg], &[]);
            assert!(error.contains(expected), "{arg}: {error}");
        }
    }
}
