//! What is told of a session at its end: one line for the operator, and what is counted.

use super::metrics::ClosedBy;
use crate::access::ClientId;
use crate::session::{Session, Totals};
use std::time::{Duration, Instant};
use tracing::Level;

/// A session that has come to its end, or has lost its connection.
#[derive(Debug)]
pub(crate) struct Record {
    id: Box<str>,
    client: ClientId,
    pub(crate) totals: Totals,
    pub(crate) wasted: Duration,
}

impl Record {
    /// `buffered_bytes` of its speech were made and never taken.
    pub(crate) fn of(session: &Session, client: &ClientId, buffered_bytes: u64, now: Instant) -> Record {
        let (totals, wasted) = (session.totals(now), session.wasted(now, buffered_bytes));
        Record { id: session.id().into(), client: client.clone(), totals, wasted }
    }

    /// Logs it.
    pub(crate) fn log(&self, level: Level, what: &str, by: ClosedBy, reason: &str) {
        let Record { id, totals, wasted, .. } = self;
        let (by, code) = by.told();
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

/// As much of a text as a log line should hold.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
