//! Tables of codes: the kinds of faults, and the close codes of connections.
//!
//! The tables say whether a fault is fatal, whether to retry, and whether the session is kept. The
//! session, [`client`](crate::client), the metrics and the guide read them; a test compares
//! `aloud.js` with them.

use std::fmt;
use std::ops::RangeInclusive;

/// A kind of fault, by a name that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The message is not JSON.
    BadJson,
    /// The message is JSON, but not of its type's form.
    BadMessage,
    /// No message has this type.
    UnknownType,
    /// A stream is running.
    AlreadyStarted,
    /// No stream is running.
    NotStarted,
    /// The text is longer than allowed.
    TextTooLong,
    /// The engine has no such voice.
    UnknownVoice,
    /// The engine cannot produce audio in this format.
    UnsupportedAudio,
    /// No stream is running, so there is nothing to cancel.
    NothingToCancel,
    /// The engine failed.
    EngineFailed,
    /// The engine returned no audio.
    EngineNoAudio,
    /// The engine exceeded its deadline.
    EngineTimeout,
    /// The language model failed.
    LlmFailed,
    /// The language model exceeded its deadline.
    LlmTimeout,
    /// Too much text waits to be spoken.
    BufferFull,
    /// The client exceeded a rate or a quota.
    RateLimited,
    /// The credential is missing, invalid or expired. Fatal.
    Unauthorized,
    /// The credential is valid, but allows nothing that this server offers. Fatal.
    Forbidden,
    /// The client reads too slowly. Fatal.
    SlowClient,
    /// No session has this id and token. Fatal.
    SessionNotFound,
    /// The audio at the requested position is no longer available. Fatal.
    PositionLost,
    /// Another connection took the session over. Fatal.
    SessionTaken,
    /// The client sent nothing, or started nothing, for too long. Fatal.
    IdleTimeout,
    /// The session reached its maximum length. Fatal.
    SessionExpired,
    /// The server has no capacity left. Fatal.
    Overloaded,
}

/// One row of the table of faults.
struct Row {
    code: Code,
    name: &'static str,
    is_retryable: bool,
    /// Close that follows; `None` if the session continues.
    close: Option<Close>,
}

const fn row(code: Code, name: &'static str, is_retryable: bool, close: Option<Close>) -> Row {
    Row { code, name, is_retryable, close }
}

const RETRY: bool = true;
const FINAL: bool = false;

#[rustfmt::skip]
const FAULTS: [Row; 25] = [
    row(Code::BadJson,          "bad_json",          FINAL, None),
    row(Code::BadMessage,       "bad_message",       FINAL, None),
    row(Code::UnknownType,      "unknown_type",      FINAL, None),
    row(Code::AlreadyStarted,   "already_started",   FINAL, None),
    row(Code::NotStarted,       "not_started",       FINAL, None),
    row(Code::TextTooLong,      "text_too_long",     FINAL, None),
    row(Code::UnknownVoice,     "unknown_voice",     FINAL, None),
    row(Code::UnsupportedAudio, "unsupported_audio", FINAL, None),
    row(Code::NothingToCancel,  "nothing_to_cancel", FINAL, None),
    row(Code::EngineFailed,     "engine_failed",     RETRY, None),
    row(Code::EngineNoAudio,    "engine_no_audio",   FINAL, None),
    row(Code::EngineTimeout,    "engine_timeout",    RETRY, None),
    row(Code::LlmFailed,        "llm_failed",        RETRY, None),
    row(Code::LlmTimeout,       "llm_timeout",       RETRY, None),
    row(Code::BufferFull,       "buffer_full",       RETRY, None),
    row(Code::RateLimited,      "rate_limited",      RETRY, None),
    row(Code::Unauthorized,     "unauthorized",      FINAL, Some(Close::Unauthorized)),
    row(Code::Forbidden,        "forbidden",         FINAL, Some(Close::Forbidden)),
    row(Code::SlowClient,       "slow_client",       FINAL, Some(Close::SlowClient)),
    row(Code::SessionNotFound,  "session_not_found", FINAL, Some(Close::SessionNotFound)),
    row(Code::PositionLost,     "position_lost",     FINAL, Some(Close::PositionLost)),
    row(Code::SessionTaken,     "session_taken",     FINAL, Some(Close::SessionTaken)),
    row(Code::IdleTimeout,      "idle_timeout",      RETRY, Some(Close::Idle)),
    row(Code::SessionExpired,   "session_expired",   FINAL, Some(Close::Expired)),
    row(Code::Overloaded,       "overloaded",        RETRY, Some(Close::Overloaded)),
];

impl Code {
    /// Every code, in the order of the table.
    pub fn all() -> impl Iterator<Item = Code> {
        FAULTS.iter().map(|row| row.code)
    }

    /// The code of this name on the wire.
    pub fn from_name(name: &str) -> Option<Code> {
        FAULTS.iter().find(|row| row.name == name).map(|row| row.code)
    }

    const fn row(self) -> &'static Row {
        // The order of the rows is the order of the variants, which a test checks.
        &FAULTS[self as usize]
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// True if the connection is closed after it.
    pub fn is_fatal(self) -> bool {
        self.row().close.is_some()
    }

    /// True if the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        self.row().is_retryable
    }

    /// Close that follows; `None` if the session continues.
    pub fn close(self) -> Option<Close> {
        self.row().close
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Close {
    /// The client ended the session.
    Ended,
    /// The session reached its maximum length.
    Expired,
    /// The server stops, and the connection has no running stream.
    GoingAway,
    /// The server stops, and the drain timeout ended a running stream.
    Restart,
    /// A fault of the server.
    Internal,
    /// The server has no capacity left.
    Overloaded,
    /// The client sent too many invalid messages in a row.
    Malformed,
    /// The credential is missing, invalid or expired.
    Unauthorized,
    /// The credential allows none of this server's voices.
    Forbidden,
    /// `recover` named a session that does not exist.
    SessionNotFound,
    /// Nothing was started for too long.
    Idle,
    /// The client sent no frame for too long.
    Silent,
    /// Another connection took the session over.
    SessionTaken,
    /// `recover` came after the session's resume window.
    WindowPassed,
    /// `recover` named a position whose audio is gone.
    PositionLost,
    /// The session has spoken as much as a limit allows: its characters, or a quota of its client.
    TextLimit,
    /// The client sent messages faster than allowed.
    RateLimited,
    /// The client has too many connections.
    TooManyConnections,
    /// `recover` would send again more audio than allowed.
    TooManyReplays,
    /// The client read nothing for too long.
    SlowClient,
}

/// Action of a client after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Reconnect, and `recover` the session where it is kept.
    Now,
    /// Do not repeat the same request: the answer would be the same.
    Never,
}

/// One row of the table of closes.
struct CloseRow {
    close: Close,
    /// The code for a client of `aloud.v1`.
    v1: u16,
    /// The code for a client of the base protocol (RFC 6455 §7.4.1).
    base: u16,
    /// True if a resumable session is kept for its client.
    keeps_session: bool,
    /// The reason in the Close frame.
    reason: &'static str,
}

const fn close(close: Close, v1: u16, base: u16, keeps_session: bool, reason: &'static str) -> CloseRow {
    CloseRow { close, v1, base, keeps_session, reason }
}

const KEPT: bool = true;
const OVER: bool = false;

#[rustfmt::skip]
const CLOSES: [CloseRow; 20] = [
    close(Close::Ended,              1000, 1000, OVER, "Session ended by client"),
    close(Close::Expired,            1000, 1000, OVER, "The session reached its maximum length"),
    close(Close::GoingAway,          1001, 1001, OVER, "The server is going away"),
    close(Close::Restart,            1012, 1012, OVER, "The server restarts and keeps no session: start another"),
    close(Close::Internal,           1011, 1011, OVER, "Internal error"),
    close(Close::Overloaded,         4503, 1013, KEPT, "Overloaded: try again later"),
    close(Close::Malformed,          4400, 1008, OVER, "Too many invalid messages in a row"),
    close(Close::Unauthorized,       4401, 4401, OVER, "The credential is missing, invalid or expired"),
    close(Close::Forbidden,          4403, 4403, OVER, "This credential allows none of this server's voices"),
    close(Close::SessionNotFound,    4404, 4404, OVER, "No such session"),
    close(Close::Idle,               4408, 1008, KEPT, "Nothing was started for too long"),
    close(Close::Silent,             4408, 1008, KEPT, "No data from the client for too long"),
    close(Close::SessionTaken,       4409, 4409, KEPT, "Another connection took the session over"),
    close(Close::WindowPassed,       4410, 4410, OVER, "The time to recover the session has passed"),
    close(Close::PositionLost,       4411, 4411, KEPT, "The position is lost"),
    close(Close::TextLimit,          4413, 1008, OVER, "No more may be spoken: a limit on text or audio is reached"),
    close(Close::RateLimited,        4429, 1008, KEPT, "Too many messages"),
    close(Close::TooManyConnections, 4429, 4429, KEPT, "Too many connections from this client"),
    close(Close::TooManyReplays,     4429, 1008, KEPT, "Too much audio was sent again"),
    close(Close::SlowClient,         4430, 1008, KEPT, "The client read nothing for too long"),
];

impl Close {
    /// Every close, in the order of the table.
    pub fn all() -> impl Iterator<Item = Close> {
        CLOSES.iter().map(|row| row.close)
    }

    fn row(self) -> &'static CloseRow {
        &CLOSES[self as usize]
    }

    /// The close code: with `aloud.v1`, or for a client of the base protocol.
    pub fn code(self, is_v1: bool) -> u16 {
        if is_v1 { self.row().v1 } else { self.row().base }
    }

    /// The reason in the Close frame: at most 123 bytes (RFC 6455 §5.5).
    pub fn reason(self) -> &'static str {
        self.row().reason
    }

    /// True if a resumable session is kept, so that its client can `recover` it.
    pub fn keeps_session(self) -> bool {
        self.row().keeps_session
    }
}

/// Stands for the code of a Close frame that has none (RFC 6455 §7.4.1).
pub(crate) const NO_CODE: u16 = 1005;

/// Stands for the code of a connection that ended without a Close frame (RFC 6455 §7.4.1).
pub(crate) const NO_CLOSE: u16 = 1006;

/// Codes that a connection can end with: code, action of the client, meaning. The codes below 4000
/// are registered (RFC 6455 §7.4.1). [`NO_CODE`] and [`NO_CLOSE`] are never sent.
#[rustfmt::skip]
pub(crate) const CLOSE_CODES: [(u16, Retry, &str); 27] = [
    (1000, Retry::Never, "The session ended, after its last frame"),
    (1001, Retry::Now,   "The server, or the page, goes away"),
    (1002, Retry::Never, "Protocol violation"),
    (1003, Retry::Never, "A kind of data that is not accepted"),
    (NO_CODE, Retry::Now,   "A Close frame without a code"),
    (NO_CLOSE, Retry::Now,   "The connection was lost without a Close frame"),
    (1007, Retry::Never, "Invalid UTF-8"),
    (1008, Retry::Never, "Policy, for clients without `aloud.v1`"),
    (1009, Retry::Never, "A message over the limit"),
    (1011, Retry::Now,   "A fault of the server"),
    (1012, Retry::Now,   "The server restarts"),
    (1013, Retry::Now,   "The server is overloaded, for clients without `aloud.v1`"),
    (4400, Retry::Never, "Too many invalid messages in a row"),
    (4401, Retry::Never, "The credential is missing, invalid or expired"),
    (4403, Retry::Never, "The credential does not allow this"),
    (4404, Retry::Never, "`recover`: no such session"),
    (4408, Retry::Now,   "No sign of life, or nothing started in time"),
    (4409, Retry::Never, "Another connection took the session over"),
    (4410, Retry::Never, "`recover`: the session's time has passed"),
    (4411, Retry::Never, "`recover`: the position is lost, the session still waits"),
    (4413, Retry::Never, "No more may be spoken: a limit on text or audio is reached"),
    (4429, Retry::Now,   "A rate or the limit on connections"),
    (4430, Retry::Never, "The client reads too slowly"),
    (4500, Retry::Now,   "The engine failed"),
    (4502, Retry::Now,   "An upstream service refused"),
    (4503, Retry::Now,   "No engine has capacity"),
    (4504, Retry::Now,   "An upstream service timed out"),
];

/// Unknown codes in this range are faults of the server, after which a client may reconnect.
pub const RETRYABLE_CODES: RangeInclusive<u16> = 4500..=4599;

/// Action of a client after a close with this code. Unknown codes are final, except those in
/// [`RETRYABLE_CODES`].
pub fn retry(code: u16) -> Retry {
    match CLOSE_CODES.iter().find(|(known, ..)| *known == code) {
        Some((_, retry, _)) => *retry,
        None if RETRYABLE_CODES.contains(&code) => Retry::Now,
        None => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_variants() {
        for (n, row) in FAULTS.iter().enumerate() {
            assert_eq!(row.code as usize, n, "{}", row.name);
        }
        for (n, row) in CLOSES.iter().enumerate() {
            assert_eq!(row.close as usize, n, "{:?}", row.close);
        }
    }

    #[test]
    fn names_are_distinct_and_reasons_fit_a_close_frame() {
        let mut names: Vec<_> = Code::all().map(Code::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAULTS.len());
        for close in Close::all() {
            assert!(close.reason().len() <= 123, "{close:?}");
            for is_v1 in [false, true] {
                assert!(CLOSE_CODES.iter().any(|(code, ..)| *code == close.code(is_v1)), "{close:?}");
            }
        }
    }

    #[test]
    fn codes_stand_in_order_and_their_ranges_say_the_same() {
        assert!(CLOSE_CODES.is_sorted_by_key(|(code, ..)| *code));
        assert_eq!(retry(4599), Retry::Now);
        assert_eq!(retry(4499), Retry::Never);
        assert_eq!(retry(1006), Retry::Now);
        assert_eq!(retry(1013), Retry::Now);
    }

    /// Cells of the guide's rows that begin with this cell, one row each.
    fn guide_rows(first: &str) -> Vec<Vec<&'static str>> {
        let rows = include_str!("../../guide/codes.md").lines().filter(|line| line.starts_with('|'));
        let rows = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
        rows.filter(|cells| cells[0] == first).collect()
    }

    #[test]
    fn guide_has_the_same_tables() {
        let yes_or_no = |yes| if yes { "yes" } else { "no" };
        for code in Code::all() {
            let rows = guide_rows(&format!("`{}`", code.name()));
            let [row] = &rows[..] else { panic!("{code}: {rows:?}") };
            assert_eq!(row[2], yes_or_no(code.is_retryable()), "{code}");
            assert_eq!(row.len() == 4, code.is_fatal(), "{code}");
            if let Some(close) = code.close() {
                let close = close.code(true).to_string();
                assert!(row[3].split(", ").any(|listed| listed == close), "{code}: {}", row[3]);
            }
        }
        for close in Close::all() {
            for code in [close.code(false), close.code(true)] {
                let rows = guide_rows(&code.to_string());
                assert_eq!(rows.len(), 1, "{code}");
            }
            // A base client has no resumable session.
            let row = &guide_rows(&close.code(true).to_string())[0];
            assert_eq!(row[3], yes_or_no(close.keeps_session()), "{close:?}");
        }
        for (code, retry, _) in CLOSE_CODES {
            for row in guide_rows(&code.to_string()) {
                assert_eq!(row[2], yes_or_no(retry == Retry::Now), "{code}");
            }
        }
    }
}
