//! What concerns who operates the server: where it tells how it is, what it logs, how it stops.

use super::{Opt, Source, Usage, opt};
use aloud::Config;
use aloud::settings::Listen;
use std::time::Duration;
use tracing::Level;

pub(super) const ADMIN: Opt = opt("admin", "HOST:PORT or unix:PATH");
pub(super) const DRAIN_TIMEOUT: Opt = opt("drain-timeout", "a time such as 30s, 1500ms or 2m");
pub(super) const LOG_FORMAT: Opt = opt("log-format", "text or json");
pub(super) const LOG_LEVEL: Opt = opt("log-level", "error, warn, info, debug or trace");
// Not from the environment: a forgotten variable would write down what people say.
pub(super) const LOG_TEXT: Opt = Opt { env: false, is_flag: true, ..opt("log-text", "nothing") };

/// The longest time that running streams can be given to finish.
const MAX_DRAIN: Duration = Duration::from_secs(24 * 3_600);

/// What concerns who operates the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Operation {
    /// Where health, readiness and metrics are, if anywhere.
    pub(crate) admin: Option<Listen>,
    /// How long running streams may go on once it is told to stop; `None` leaves it to the library.
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) logging: Logging,
}

impl Operation {
    /// These settings with what was asked for put in.
    pub(super) fn config(&self, config: Config) -> Config {
        Config {
            drain_timeout: self.drain_timeout.unwrap_or(config.drain_timeout),
            log_text: self.logging.text,
            ..config
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    pub(crate) format: LogFormat,
    /// The least important that is still logged.
    pub(crate) level: Level,
    /// Whether what is spoken is logged.
    pub(crate) text: bool,
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { format: LogFormat::Text, level: Level::INFO, text: false }
    }
}

/// What a log line looks like.
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

fn level(name: &str) -> Option<Level> {
    Some(match name {
        "error" => Level::ERROR,
        "warn" => Level::WARN,
        "info" => Level::INFO,
        "debug" => Level::DEBUG,
        "trace" => Level::TRACE,
        _ => return None,
    })
}

impl Source<'_> {
    pub(super) fn operation(&self) -> Result<Operation, Usage> {
        Ok(Operation {
            admin: match self.text(&ADMIN)? {
                None => None,
                Some((name, text)) => match text.parse() {
                    Ok(listen) => Some(listen),
                    Err(why) => return Err(Usage(format!("{name} cannot be `{text}`: {why}"))),
                },
            },
            drain_timeout: match self.text(&DRAIN_TIMEOUT)? {
                None => None,
                Some((name, text)) => match time(&text).filter(|time| *time <= MAX_DRAIN) {
                    Some(time) => Some(time),
                    None => {
                        let hours = MAX_DRAIN.as_secs() / 3_600;
                        return Err(Usage(format!(
                            "{name} cannot be `{text}`; give {} up to {hours} hours, where a number alone is \
                             in seconds",
                            DRAIN_TIMEOUT.value
                        )));
                    }
                },
            },
            logging: self.logging()?,
        })
    }

    pub(super) fn logging(&self) -> Result<Logging, Usage> {
        let default = Logging::default();
        Ok(Logging {
            format: self.choice(&LOG_FORMAT, LogFormat::from_name)?.unwrap_or(default.format),
            level: self.choice(&LOG_LEVEL, level)?.unwrap_or(default.level),
            text: self.given.last(&LOG_TEXT).is_some(),
        })
    }
}

/// A whole number, of seconds where no unit stands behind it.
fn time(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" | "" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, serve_with};
    use super::*;

    #[test]
    fn times_are_in_seconds_or_in_what_they_say() {
        for (text, ms) in [
            ("0", Some(0)),
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("1500ms", Some(1_500)),
            ("2m", Some(120_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5", None),
            ("1h", None),
            ("99999999999999999999", None),
            ("18446744073709551615m", None),
        ] {
            assert_eq!(time(text), ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn what_an_operator_asks_for() {
        assert_eq!(serve_with(&[], &[]).operation, Operation::default());
        let args = [
            "--admin=127.0.0.1:9090",
            "--drain-timeout=500ms",
            "--log-format=json",
            "--log-level=debug",
            "--log-text",
        ];
        let expected = Operation {
            admin: Some(Listen::Tcp("127.0.0.1:9090".to_owned())),
            drain_timeout: Some(Duration::from_millis(500)),
            logging: Logging { format: LogFormat::Json, level: Level::DEBUG, text: true },
        };
        assert_eq!(serve_with(&args, &[]).operation, expected);
        let operation =
            serve_with(&[], &[("ALOUD_ADMIN", "unix:/run/aloud.admin"), ("ALOUD_LOG_TEXT", "1")]).operation;
        assert_eq!(operation.admin, Some(Listen::Unix("/run/aloud.admin".into())));
        assert!(!operation.logging.text, "what people say is not written down by a forgotten variable");
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
