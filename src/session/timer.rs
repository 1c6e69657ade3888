//! The timers of a session: one table, from which both the next deadline and what is due come.

use std::time::Instant;

/// Something that time alone brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Buffered text that looks finished is spoken (`idleMs`).
    Commit,
    /// A credential must have arrived (`auth_timeout`).
    Credential,
    /// The session has done nothing for too long (`idle_timeout`).
    Idle,
    /// The session ends (`max_session`).
    Expiry,
    /// The client is warned of that.
    Notice,
    /// The client reads nothing (`stall_timeout`).
    Stall,
}

impl Timer {
    /// All timers, in the order in which those that are due together take effect.
    pub(super) const ALL: [Timer; 6] =
        [Timer::Commit, Timer::Credential, Timer::Idle, Timer::Expiry, Timer::Notice, Timer::Stall];
}

/// The earliest deadline of all timers.
pub(super) fn next(deadline: impl Fn(Timer) -> Option<Instant>) -> Option<Instant> {
    Timer::ALL.into_iter().filter_map(deadline).min()
}

/// The first timer that is due.
pub(super) fn due(now: Instant, deadline: impl Fn(Timer) -> Option<Instant>) -> Option<Timer> {
    Timer::ALL.into_iter().find(|timer| deadline(*timer).is_some_and(|deadline| deadline <= now))
}
