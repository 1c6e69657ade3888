//! The summary of a session at its end: one line for the operator, and figures for the metrics.

use super::application::Departure;
use super::connection::{Ended, Outcome};
use super::metrics::{ClosedBy, Telemetry};
use crate::access::ClientId;
use crate::session::message::Code;
use crate::session::{Session, Totals};
use crate::tts::SynthesisErrorKind;
use crate::ws::endpoint::CloseCode;
use std::time::{Duration, Instant};
use tracing::Level;

/// Summary of a session that has ended or lost its connection.
#[derive(Debug)]
pub(crate) struct Record {
    id: Box<str>,
    client: ClientId,
    pub(crate) totals: Totals,
    pub(crate) wasted: Duration,
}

impl Record {
    /// The summary of a session in whose speech `buffered_bytes` are buffered.
    pub(crate) fn of(session: &Session, client: &ClientId, buffered_bytes: u64, now: Instant) -> Record {
        let (totals, wasted) = (session.totals(now), session.wasted(now, buffered_bytes));
        Record { id: session.id().into(), client: client.clone(), totals, wasted }
    }

    /// Logs the summary.
    pub(crate) fn log(&self, level: Level, what: &str, by: ClosedBy, reason: &str) {
        let Record { id, totals, wasted, .. } = self;
        let (by, code) = by.labels();
        let client = self.client.to_string();
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "aloud::session",
                    $level,
                    id = &**id,
                    client = client.as_str(),
                    by,
                    code,
                    reason,
                    duration_ms = totals.lasted.as_millis() as u64,
                    streams = totals.streams,
                    chars = totals.chars,
                    audio_ms = totals.audio.as_millis() as u64,
                    wasted_ms = wasted.as_millis() as u64,
                    "session {what}"
                )
            };
        }
        match level {
            Level::ERROR => line!(Level::ERROR),
            Level::WARN => line!(Level::WARN),
            _ => line!(Level::INFO),
        }
    }
}

/// Counts the end of a connection, and logs one line for the operator. A peer that leaves is an
/// outcome, not an error.
pub(super) fn log_end(ended: &Ended, telemetry: &Telemetry) {
    let Ended { departure, outcome } = ended;
    let by = match outcome {
        Outcome::Closed(closed) | Outcome::Unfinished(closed) => {
            let code = closed.code.map(|code| code.0);
            match (closed.by_peer, code) {
                (true, code) => ClosedBy::Client(code),
                (false, code) => ClosedBy::Server(code.unwrap_or(CloseCode::NORMAL.0)),
            }
        }
        Outcome::Gone(_) | Outcome::Stalled => ClosedBy::Lost,
        Outcome::Panicked => ClosedBy::Server(CloseCode::INTERNAL.0),
    };
    telemetry.closed(by);
    let (record, what) = match departure {
        Departure::Empty => return,
        Departure::Ended(record) => (record, "ended"),
        Departure::Suspended(record) => (record, "suspended, its client may reconnect"),
    };
    let (level, reason) = match outcome {
        Outcome::Closed(closed) => (Level::INFO, closed.reason.clone()),
        Outcome::Unfinished(closed) => {
            (Level::INFO, format!("{} (the closing handshake was not finished)", closed.reason))
        }
        Outcome::Gone(error) => (Level::INFO, error.to_string()),
        Outcome::Stalled => (Level::WARN, "the client took nothing for too long".to_owned()),
        Outcome::Panicked => (Level::ERROR, "a fault of the server".to_owned()),
    };
    record.log(level, what, by, &reason);
}

/// The code by which a client learns that the engine has failed.
pub(super) fn failure_code(kind: SynthesisErrorKind) -> Code {
    match kind {
        SynthesisErrorKind::Failed => Code::EngineFailed,
        SynthesisErrorKind::NoAudio => Code::EngineNoAudio,
        SynthesisErrorKind::Timeout => Code::EngineTimeout,
        SynthesisErrorKind::Overloaded => Code::Overloaded,
    }
}

/// The beginning of a text that is too long for a log line.
pub(super) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
