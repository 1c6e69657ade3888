//! What each client has of the server now, and has had of late.
//!
//! A client's account lives as long as anything of it does, and a little longer where it has to be
//! remembered how much the client was given. How many are remembered is bounded.

use crate::access::forwarded::prefix;
use crate::access::rate::{Bucket, Rate};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bits of an IPv6 address that tell one client from another.
const V6_BITS: u8 = 64;

/// Whoever limits apply to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientId {
    /// Whom a credential names.
    Named(Arc<str>),
    /// An address, of which only the network is kept with IPv6.
    Address(IpAddr),
    /// Whoever comes without an address: over a socket in the file system.
    Local,
}

impl ClientId {
    pub(crate) fn of_address(address: Option<IpAddr>) -> ClientId {
        match address.map(|address| address.to_canonical()) {
            None => ClientId::Local,
            Some(address @ IpAddr::V4(_)) => ClientId::Address(address),
            Some(address) => ClientId::Address(prefix(address, V6_BITS)),
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientId::Named(name) => write!(f, "{name:?}"),
            ClientId::Address(address @ IpAddr::V4(_)) => address.fmt(f),
            ClientId::Address(network) => write!(f, "{network}/{V6_BITS}"),
            ClientId::Local => f.write_str("a local client"),
        }
    }
}

/// How much each client may have. `None` is as much as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) connections: Option<usize>,
    pub(super) sessions: Option<usize>,
    pub(super) handshakes: Option<Rate>,
    pub(super) chars: Option<Rate>,
}

impl Limits {
    fn are_none(&self) -> bool {
        self.connections.is_none()
            && self.sessions.is_none()
            && self.handshakes.is_none()
            && self.chars.is_none()
    }
}

/// All accounts.
pub(super) struct Accounts {
    limits: Limits,
    max_remembered: usize,
    table: Mutex<Table>,
}

struct Table {
    by_client: HashMap<ClientId, Arc<Account>>,
    /// How many there must be before those that need not be remembered are looked for again.
    sweep_at: usize,
}

/// What one client has.
pub(crate) struct Account {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    connections: usize,
    sessions: usize,
    handshakes: Option<Bucket>,
    chars: Option<Bucket>,
    last_seen: Instant,
}

impl Accounts {
    pub(super) fn new(limits: Limits, max_remembered: usize) -> Accounts {
        let table = Table { by_client: HashMap::new(), sweep_at: max_remembered.max(1) };
        Accounts { limits, max_remembered, table: Mutex::new(table) }
    }

    /// The account of this client; none where nothing is limited.
    pub(super) fn of(&self, client: &ClientId, now: Instant) -> Option<Arc<Account>> {
        if self.limits.are_none() {
            return None;
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = table.by_client.get(client) {
            account.state().last_seen = now;
            return Some(Arc::clone(account));
        }
        if table.by_client.len() >= table.sweep_at {
            self.sweep(&mut table, now);
        }
        let account = Arc::new(Account::new(self.limits, now));
        table.by_client.insert(client.clone(), Arc::clone(&account));
        Some(account)
    }

    /// Forgets who need not be remembered and, if that is too little, who was seen least recently.
    fn sweep(&self, table: &mut Table, now: Instant) {
        table.by_client.retain(|_, account| !account.is_forgettable(now));
        // Some at once, so that it is not done for each client that comes.
        let most = self.max_remembered - self.max_remembered / 8;
        let idle = |account: &Arc<Account>| Arc::strong_count(account) == 1;
        let mut ages: Vec<Instant> =
            table.by_client.values().filter(|account| idle(account)).map(|a| a.state().last_seen).collect();
        if ages.len() > most {
            let excess = ages.len() - most;
            let (_, last, _) = ages.select_nth_unstable(excess - 1);
            let last = *last;
            table.by_client.retain(|_, account| !idle(account) || account.state().last_seen > last);
        }
        table.by_client.shrink_to(self.max_remembered);
        // Those who are connected are bounded by the limit on connections.
        table.sweep_at = self.max_remembered.max(table.by_client.len() + self.max_remembered / 8).max(1);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap().by_client.len()
    }
}

impl Account {
    fn new(limits: Limits, now: Instant) -> Account {
        let bucket = |rate: Option<Rate>| rate.map(|rate| Bucket::full(rate, now));
        let state = State {
            connections: 0,
            sessions: 0,
            handshakes: bucket(limits.handshakes),
            chars: bucket(limits.chars),
            last_seen: now,
        };
        Account { limits, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it says nothing that a new account would not.
    fn is_forgettable(self: &Arc<Self>, now: Instant) -> bool {
        let is_full = |rate: Option<Rate>, bucket: Option<Bucket>| {
            rate.zip(bucket).is_none_or(|(rate, bucket)| bucket.is_full(rate, now))
        };
        let state = self.state();
        Arc::strong_count(self) == 1
            && is_full(self.limits.handshakes, state.handshakes)
            && is_full(self.limits.chars, state.chars)
    }

    /// Whether another handshake may be made now.
    ///
    /// # Errors
    /// When one may be made.
    pub(super) fn may_shake_hands(&self, now: Instant) -> Result<(), Duration> {
        match (self.limits.handshakes, self.state().handshakes) {
            (Some(rate), Some(bucket)) => bucket.has(rate, 1, now),
            _ => Ok(()),
        }
    }

    /// Counts a handshake, if it may be made.
    ///
    /// # Errors
    /// When one may be made.
    pub(super) fn shake_hands(&self, now: Instant) -> Result<(), Duration> {
        match (self.limits.handshakes, &mut self.state().handshakes) {
            (Some(rate), Some(bucket)) => bucket.take(rate, 1, now),
            _ => Ok(()),
        }
    }

    /// Counts characters that are spoken; whether there may be more.
    pub(super) fn spend(&self, chars: u64, now: Instant) -> bool {
        match (self.limits.chars, &mut self.state().chars) {
            (Some(rate), Some(bucket)) => bucket.spend(rate, chars, now),
            _ => true,
        }
    }

    /// Whether something may be spoken now.
    pub(super) fn may_speak(&self, now: Instant) -> bool {
        match (self.limits.chars, self.state().chars) {
            (Some(rate), Some(bucket)) => bucket.has(rate, 1, now).is_ok(),
            _ => true,
        }
    }

    /// Counts a connection, if there may be another.
    pub(super) fn connect(self: &Arc<Self>) -> Option<Connected> {
        let mut state = self.state();
        if self.limits.connections.is_some_and(|most| state.connections >= most) {
            return None;
        }
        state.connections += 1;
        Some(Connected(Arc::clone(self)))
    }

    /// Counts a session, if there may be another.
    pub(super) fn begin(self: &Arc<Self>) -> Option<SessionSlot> {
        let mut state = self.state();
        if self.limits.sessions.is_some_and(|most| state.sessions >= most) {
            return None;
        }
        state.sessions += 1;
        Some(SessionSlot(Arc::clone(self)))
    }

    /// Whether what is started has to be asked for.
    pub(super) fn limits_sessions(&self) -> bool {
        self.limits.sessions.is_some() || self.limits.chars.is_some()
    }
}

/// A connection that is counted for as long as this lives.
pub(super) struct Connected(Arc<Account>);

impl Connected {
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.state().connections -= 1;
    }
}

/// A session that is counted for as long as this lives.
pub(crate) struct SessionSlot(Arc<Account>);

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.0.state().sessions -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientId {
        ClientId::of_address(Some(text.parse().unwrap()))
    }

    #[test]
    fn clients_are_told_apart() {
        for (one, other, expected) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(client(one) == client(other), expected, "{one} {other}");
        }
        assert_eq!(client("2001:db8::7").to_string(), "2001:db8::/64");
        assert_eq!(client("192.0.2.1").to_string(), "192.0.2.1");
        assert_ne!(ClientId::Named("192.0.2.1".into()), client("192.0.2.1"));
        // Names come from outside, and log lines are read by people.
        assert_eq!(ClientId::Named("a\nb".into()).to_string(), r#""a\nb""#);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_limited() {
        let accounts = Accounts::new(Limits::default(), 10);
        assert!(accounts.of(&ClientId::Local, Instant::now()).is_none());
        assert_eq!(accounts.len(), 0);
    }

    #[test]
    fn what_a_client_has_is_counted_until_it_is_dropped() {
        let limits = Limits { connections: Some(2), sessions: Some(1), ..Limits::default() };
        let (accounts, now) = (Accounts::new(limits, 10), Instant::now());
        let one = accounts.of(&client("192.0.2.1"), now).unwrap();
        let first = one.connect().unwrap();
        let second = accounts.of(&client("192.0.2.1"), now).unwrap().connect().unwrap();
        assert!(one.connect().is_none());
        assert!(accounts.of(&client("192.0.2.2"), now).unwrap().connect().is_some());
        drop(first);
        assert!(one.connect().is_some());
        let slot = second.account().begin().unwrap();
        assert!(one.begin().is_none());
        drop((second, slot));
        assert!(one.begin().is_some());
    }

    #[test]
    fn memory_is_bounded_and_keeps_who_matters() {
        let rate = Rate::per_sec(1, 1);
        let limits = Limits { handshakes: Some(rate), connections: Some(9), ..Limits::default() };
        let (accounts, start) = (Accounts::new(limits, 80), Instant::now());
        let at = |n: u32| ClientId::of_address(Some(IpAddr::V4(n.into())));
        let held = accounts.of(&at(0), start).unwrap().connect().unwrap();
        for n in 1..10_000 {
            let now = start + Duration::from_micros(n.into());
            let account = accounts.of(&at(n), now).unwrap();
            assert_eq!(account.shake_hands(now), Ok(()));
            assert!(accounts.len() <= 100, "{n}: {}", accounts.len());
        }
        let now = start + Duration::from_millis(10);
        assert!(accounts.of(&at(9_999), now).unwrap().may_shake_hands(now).is_err(), "seen just now");
        assert!(Arc::ptr_eq(held.account(), &accounts.of(&at(0), now).unwrap()), "is connected");
        // Once they may do anything again there is nothing to remember.
        let later = now + Duration::from_secs(2);
        for n in 10_000..10_100 {
            accounts.of(&at(n), later).unwrap().shake_hands(later).unwrap();
        }
        assert!(accounts.len() <= 101, "{}", accounts.len());
    }
}
