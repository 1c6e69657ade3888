//! Limits for each client that several servers share.
//!
//! Each server tells the store what a client has and has spent, and hears what it has and has left in all. What
//! happens between two reports is known to one server only, so a limit holds in all but for that time.

use super::accounts::{Account, ClientId};
use super::rate::Rate;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which an account is reported again, changed or not.
const REFRESH: Duration = Duration::from_secs(5);

/// Age of what is known of other servers from which on a client that comes is a reason to ask again.
const NEWS: Duration = Duration::from_millis(200);

/// Time for which a report counts: a server that was killed is forgotten after it.
pub(crate) const REPORT_TTL: Duration = Duration::from_secs(15);

/// Use of one client at this server, for the store.
#[derive(Debug)]
pub(crate) struct Report {
    account: Arc<Account>,
    /// Name of the client in the store, from which it cannot be read.
    pub(crate) client: String,
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    /// For each rate what it may save up, what it gains in a millisecond, and what was spent since the last report.
    pub(crate) rates: [(f64, f64, f64); 3],
}

/// Use of one client at the other servers, and what is left of each rate for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shared {
    pub(crate) connections: usize,
    pub(crate) sessions: usize,
    pub(crate) left: [f64; 3],
}

/// The part of a balance that other servers know, or have to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    /// Spent of each rate since the last report.
    pub(super) spent: [f64; 3],
    /// Connections and sessions that were reported last.
    reported: (usize, usize),
    reported_at: Option<Instant>,
    /// True if the client has come, and what it has at other servers is not known or may have changed.
    is_wanted: bool,
    /// Connections and sessions at other servers, and when that was heard.
    others: Option<(usize, usize, Instant)>,
}

impl Exchange {
    /// Connections and sessions at other servers.
    pub(super) fn others(&self, now: Instant) -> (usize, usize) {
        match self.others {
            Some((connections, sessions, at)) if now.saturating_duration_since(at) < REPORT_TTL => {
                (connections, sessions)
            }
            _ => (0, 0),
        }
    }

    /// Asks for news of the other servers, unless they are new.
    pub(super) fn want(&mut self, now: Instant) {
        let is_new = |at: Instant| now.saturating_duration_since(at) < NEWS;
        self.is_wanted |= !self.others.is_some_and(|(.., at)| is_new(at));
    }
}

impl Account {
    /// The report that is due, if one is.
    pub(super) fn report(self: &Arc<Self>, client: &ClientId, now: Instant) -> Option<Report> {
        let mut balance = self.balance();
        let use_now = (balance.connections, balance.sessions);
        let exchange = &mut balance.exchange;
        let is_changed = use_now != exchange.reported || exchange.spent != [0.0; 3];
        let is_old = exchange.reported_at.is_none_or(|at| now.saturating_duration_since(at) >= REFRESH);
        let is_wanted = std::mem::take(&mut exchange.is_wanted);
        let is_due = is_changed || is_wanted || is_old && use_now != (0, 0);
        if !is_due {
            return None;
        }
        exchange.reported = use_now;
        exchange.reported_at = Some(now);
        let spent = std::mem::take(&mut exchange.spent);
        drop(balance);
        let limits = [self.limits.handshakes, self.limits.chars, self.limits.audio];
        let rate = |n: usize| {
            limits[n].map(Rate::parts).map_or((0.0, 0.0, 0.0), |(most, gain)| (most, gain, spent[n]))
        };
        Some(Report {
            account: Arc::clone(self),
            client: name(client),
            connections: use_now.0,
            sessions: use_now.1,
            rates: [rate(0), rate(1), rate(2)],
        })
    }
}

impl Report {
    /// Takes the answer of the store; `None` if it did not come.
    pub(crate) fn answered(self, shared: Option<Shared>, now: Instant) {
        let mut balance = self.account.balance();
        let Some(Shared { connections, sessions, left }) = shared else {
            // It goes into the next one.
            for (spent, (.., again)) in balance.exchange.spent.iter_mut().zip(self.rates) {
                *spent += again;
            }
            balance.exchange.reported_at = None;
            return;
        };
        balance.exchange.others = Some((connections, sessions, now));
        let spent = balance.exchange.spent;
        let balance = &mut *balance;
        for (n, bucket) in
            [&mut balance.handshakes, &mut balance.chars, &mut balance.audio].into_iter().enumerate()
        {
            if let Some(bucket) = bucket {
                bucket.set(left[n] - spent[n], now);
            }
        }
    }
}

/// Name of a client in the store.
fn name(client: &ClientId) -> String {
    Sha256::digest(client.to_string()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::accounts::{Accounts, ClientLimits};
    use super::*;

    #[test]
    fn use_at_other_servers_counts_until_it_is_old() {
        let limits = ClientLimits {
            connections: Some(3),
            sessions: Some(2),
            chars: Some(Rate::per_hour(100)),
            ..ClientLimits::default()
        };
        let (accounts, now) = (Accounts::new(limits, 10), Instant::now());
        let account = accounts.of(&ClientId::Named("anna".into()), now).unwrap();
        let connected = account.connect(now).unwrap();
        assert!(account.spend_chars(30, now));
        let report = accounts.reports(now).pop().unwrap();
        assert_eq!((report.connections, report.sessions), (1, 0));
        assert_eq!(report.rates[1].0, 100.0);
        assert_eq!(report.rates[1].2, 30.0);
        assert!(accounts.reports(now).is_empty(), "nothing has changed");
        // Spent while the report was on its way.
        account.spend_chars(5, now);
        report.answered(Some(Shared { connections: 2, sessions: 1, left: [0.0, 20.0, 0.0] }), now);
        assert!(account.connect(now).is_none());
        let soon = now + NEWS;
        assert!(account.connect(soon).is_none());
        let report = accounts.reports(soon).pop().expect("it may have left the other servers");
        report.answered(Some(Shared { connections: 2, sessions: 1, left: [0.0, 15.0, 0.0] }), soon);
        let slot = account.start_session(now).unwrap();
        assert!(account.start_session(now).is_none());
        assert!(account.has_chars_left(now) && !account.spend_chars(15, now));
        // A report without an answer is made again.
        let report = accounts.reports(now).pop().unwrap();
        assert_eq!((report.sessions, report.rates[1].2), (1, 15.0));
        report.answered(None, now);
        let report = accounts.reports(now).pop().unwrap();
        assert_eq!(report.rates[1].2, 15.0);
        report.answered(Some(Shared { connections: 2, sessions: 1, left: [0.0, 0.0, 0.0] }), now);
        let later = now + REFRESH;
        assert_eq!(accounts.reports(later).len(), 1, "the client is still here");
        let late = now + REPORT_TTL;
        assert!(account.connect(late).is_some() && account.start_session(late).is_some());
        drop((connected, slot));
    }
}
