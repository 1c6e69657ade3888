//! One account for each client: its connections and sessions now, its handshakes and characters lately.
//!
//! An account exists while its client has a connection or a session, and until its rates are full again. The
//! number of remembered accounts is bounded.

use crate::access::forwarded::prefix;
use crate::access::rate::{Bucket, Rate};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(feature = "redis")]
use super::shared::{Exchange, Report};

/// Bits of an IPv6 address that identify a client.
const V6_BITS: u8 = 64;

/// Identity of a client, for limits and logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ClientId {
    /// The name in a credential.
    Named(Arc<str>),
    /// An IPv4 address, or the network of an IPv6 address.
    Address(IpAddr),
    /// A client without an address: it uses a Unix socket.
    Local,
}

impl ClientId {
    /// Returns the identity that an address stands for.
    pub(crate) fn of_address(address: Option<IpAddr>) -> ClientId {
        match address.map(|address| address.to_canonical()) {
            None => ClientId::Local,
            Some(address @ IpAddr::V4(_)) => ClientId::Address(address),
            Some(address) => ClientId::Address(prefix(address, V6_BITS)),
        }
    }

    /// Returns a name by which engines treat clients fairly. Empty for clients that are not known.
    pub(crate) fn key(&self) -> Arc<str> {
        match self {
            ClientId::Local => Arc::from(""),
            client => Arc::from(client.to_string()),
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

/// Limits for each client. `None` means no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientLimits {
    pub(super) connections: Option<usize>,
    pub(super) sessions: Option<usize>,
    pub(super) handshakes: Option<Rate>,
    pub(super) chars: Option<Rate>,
    /// Of audio that is sent, in milliseconds.
    pub(super) audio: Option<Rate>,
}

impl ClientLimits {
    fn are_none(&self) -> bool {
        self.connections.is_none()
            && self.sessions.is_none()
            && self.handshakes.is_none()
            && self.chars.is_none()
            && self.audio.is_none()
    }
}

/// The accounts of all clients.
pub(super) struct Accounts {
    limits: ClientLimits,
    max_remembered: usize,
    table: Mutex<AccountTable>,
}

struct AccountTable {
    by_client: HashMap<ClientId, Arc<Account>>,
    /// Number of accounts at which the next sweep starts.
    sweep_at: usize,
}

/// Account of one client.
pub(crate) struct Account {
    pub(super) limits: ClientLimits,
    balance: Mutex<Balance>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

/// Connections and sessions in use, and what is left of each rate.
pub(super) struct Balance {
    pub(super) connections: usize,
    pub(super) sessions: usize,
    pub(super) handshakes: Option<Bucket>,
    pub(super) chars: Option<Bucket>,
    pub(super) audio: Option<Bucket>,
    last_seen: Instant,
    #[cfg(feature = "redis")]
    pub(super) exchange: Exchange,
}

impl Balance {
    /// Connections and sessions of the client at other servers.
    #[cfg(feature = "redis")]
    fn others(&self, now: Instant) -> (usize, usize) {
        self.exchange.others(now)
    }

    #[cfg(not(feature = "redis"))]
    fn others(&self, _: Instant) -> (usize, usize) {
        (0, 0)
    }

    /// Asks for news of the client's connections and sessions at other servers.
    #[cfg(feature = "redis")]
    fn want(&mut self, now: Instant) {
        self.exchange.want(now);
    }

    #[cfg(not(feature = "redis"))]
    fn want(&mut self, _: Instant) {}

    /// Counts what was spent of a rate: handshakes, characters or audio.
    #[cfg_attr(not(feature = "redis"), allow(clippy::unused_self))]
    fn note(&mut self, _rate: usize, _amount: u64) {
        #[cfg(feature = "redis")]
        {
            self.exchange.spent[_rate] += _amount as f64;
        }
    }
}

impl Accounts {
    pub(super) fn new(limits: ClientLimits, max_remembered: usize) -> Accounts {
        let table = AccountTable { by_client: HashMap::new(), sweep_at: max_remembered.max(1) };
        Accounts { limits, max_remembered, table: Mutex::new(table) }
    }

    /// Returns the account of a client; `None` if there are no limits for each client.
    pub(super) fn of(&self, client: &ClientId, now: Instant) -> Option<Arc<Account>> {
        if self.limits.are_none() {
            return None;
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = table.by_client.get(client) {
            account.balance().last_seen = now;
            return Some(Arc::clone(account));
        }
        if table.by_client.len() >= table.sweep_at {
            self.sweep(&mut table, now);
        }
        let account = Arc::new(Account::new(self.limits, now));
        table.by_client.insert(client.clone(), Arc::clone(&account));
        Some(account)
    }

    /// The reports on clients that are due for the servers that share the limits. A client of a Unix socket is one of
    /// this machine only.
    #[cfg(feature = "redis")]
    pub(super) fn reports(&self, now: Instant) -> Vec<Report> {
        if self.limits.are_none() {
            return Vec::new();
        }
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = table.by_client.iter().filter(|(client, _)| **client != ClientId::Local);
        shared.filter_map(|(client, account)| account.report(client, now)).collect()
    }

    /// Removes accounts equal to new ones and, if too many remain, those seen least recently.
    fn sweep(&self, table: &mut AccountTable, now: Instant) {
        table.by_client.retain(|_, account| !account.is_forgettable(now));
        // Removes an eighth at once, so that the next client does not start another sweep.
        let most = self.max_remembered - self.max_remembered / 8;
        let idle = |account: &Arc<Account>| Arc::strong_count(account) == 1;
        let mut ages: Vec<Instant> =
            table.by_client.values().filter(|account| idle(account)).map(|a| a.balance().last_seen).collect();
        if ages.len() > most {
            let excess = ages.len() - most;
            let (_, last, _) = ages.select_nth_unstable(excess - 1);
            let last = *last;
            table.by_client.retain(|_, account| !idle(account) || account.balance().last_seen > last);
        }
        table.by_client.shrink_to(self.max_remembered);
        // Accounts in use remain; the limit on connections bounds them.
        table.sweep_at = self.max_remembered.max(table.by_client.len() + self.max_remembered / 8).max(1);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap().by_client.len()
    }
}

impl Account {
    fn new(limits: ClientLimits, now: Instant) -> Account {
        let bucket = |rate: Option<Rate>| rate.map(|rate| Bucket::full(rate, now));
        let balance = Balance {
            connections: 0,
            sessions: 0,
            handshakes: bucket(limits.handshakes),
            chars: bucket(limits.chars),
            audio: bucket(limits.audio),
            last_seen: now,
            #[cfg(feature = "redis")]
            exchange: Exchange::default(),
        };
        Account { limits, balance: Mutex::new(balance) }
    }

    pub(super) fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the account is unused and equal to a new one.
    fn is_forgettable(self: &Arc<Self>, now: Instant) -> bool {
        let is_full = |rate: Option<Rate>, bucket: Option<Bucket>| {
            rate.zip(bucket).is_none_or(|(rate, bucket)| bucket.is_full(rate, now))
        };
        let balance = self.balance();
        Arc::strong_count(self) == 1
            && is_full(self.limits.handshakes, balance.handshakes)
            && is_full(self.limits.chars, balance.chars)
            && is_full(self.limits.audio, balance.audio)
    }

    /// Checks that another handshake is allowed now.
    ///
    /// # Errors
    /// The time until one is allowed.
    pub(super) fn check_handshake(&self, now: Instant) -> Result<(), Duration> {
        match (self.limits.handshakes, self.balance().handshakes) {
            (Some(rate), Some(bucket)) => bucket.check(rate, 1, now),
            _ => Ok(()),
        }
    }

    /// Counts a handshake if it is allowed now.
    ///
    /// # Errors
    /// The time until one is allowed.
    pub(super) fn count_handshake(&self, now: Instant) -> Result<(), Duration> {
        let mut balance = self.balance();
        let (Some(rate), Some(bucket)) = (self.limits.handshakes, &mut balance.handshakes) else {
            return Ok(());
        };
        bucket.take(rate, 1, now)?;
        balance.note(0, 1);
        Ok(())
    }

    /// Counts characters handed to the engine; false if none are left.
    pub(super) fn spend_chars(&self, chars: u64, now: Instant) -> bool {
        let mut balance = self.balance();
        let (Some(rate), Some(bucket)) = (self.limits.chars, &mut balance.chars) else { return true };
        let is_left = bucket.spend(rate, chars, now);
        balance.note(1, chars);
        is_left
    }

    /// True if at least one character is left.
    pub(super) fn has_chars_left(&self, now: Instant) -> bool {
        match (self.limits.chars, self.balance().chars) {
            (Some(rate), Some(bucket)) => bucket.check(rate, 1, now).is_ok(),
            _ => true,
        }
    }

    /// Counts audio that was sent; false if none is left.
    pub(super) fn spend_audio(&self, audio: Duration, now: Instant) -> bool {
        let (mut balance, ms) = (self.balance(), audio.as_millis() as u64);
        let (Some(rate), Some(bucket)) = (self.limits.audio, &mut balance.audio) else { return true };
        let is_left = bucket.spend(rate, ms, now);
        balance.note(2, ms);
        is_left
    }

    /// True if audio is left.
    pub(super) fn has_audio_left(&self, now: Instant) -> bool {
        match (self.limits.audio, self.balance().audio) {
            (Some(rate), Some(bucket)) => bucket.check(rate, 1, now).is_ok(),
            _ => true,
        }
    }

    /// The time until characters and audio are left; `None` if they are.
    pub(super) fn quota_wait(&self, now: Instant) -> Option<Duration> {
        let balance = self.balance();
        let quotas = [(self.limits.chars, balance.chars), (self.limits.audio, balance.audio)];
        let waits = quotas.map(|(rate, bucket)| rate.zip(bucket)?.1.check(rate?, 1, now).err());
        waits.into_iter().flatten().max()
    }

    /// True if audio is limited.
    pub(super) fn has_audio_limit(&self) -> bool {
        self.limits.audio.is_some()
    }

    /// Counts a connection; `None` if the client has too many.
    pub(super) fn connect(self: &Arc<Self>, now: Instant) -> Option<Connected> {
        let mut balance = self.balance();
        let (others, _) = balance.others(now);
        balance.want(now);
        if self.limits.connections.is_some_and(|most| balance.connections + others >= most) {
            return None;
        }
        balance.connections += 1;
        Some(Connected(Arc::clone(self)))
    }

    /// Counts a session; `None` if the client has too many.
    pub(super) fn start_session(self: &Arc<Self>, now: Instant) -> Option<SessionSlot> {
        let mut balance = self.balance();
        let (_, others) = balance.others(now);
        balance.want(now);
        if self.limits.sessions.is_some_and(|most| balance.sessions + others >= most) {
            return None;
        }
        balance.sessions += 1;
        Some(SessionSlot(Arc::clone(self)))
    }

    /// True if sessions, characters or audio are limited.
    pub(super) fn has_session_limits(&self) -> bool {
        self.limits.sessions.is_some() || self.limits.chars.is_some() || self.limits.audio.is_some()
    }
}

/// A counted connection. Dropping it frees its place.
pub(super) struct Connected(Arc<Account>);

impl Connected {
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.balance().connections -= 1;
    }
}

/// A counted session. Dropping it frees its place.
pub(crate) struct SessionSlot(Arc<Account>);

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.0.balance().sessions -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientId {
        ClientId::of_address(Some(text.parse().unwrap()))
    }

    #[test]
    fn clients_differ_by_address_network_or_name() {
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
        // Names come from outside; a log line must stay one line.
        assert_eq!(ClientId::Named("a\nb".into()).to_string(), r#""a\nb""#);
    }

    #[test]
    fn accounts_exist_only_with_limits() {
        let accounts = Accounts::new(ClientLimits::default(), 10);
        assert!(accounts.of(&ClientId::Local, Instant::now()).is_none());
        assert_eq!(accounts.len(), 0);
    }

    #[test]
    fn connections_and_sessions_count_until_dropped() {
        let limits = ClientLimits { connections: Some(2), sessions: Some(1), ..ClientLimits::default() };
        let (accounts, now) = (Accounts::new(limits, 10), Instant::now());
        let one = accounts.of(&client("192.0.2.1"), now).unwrap();
        let first = one.connect(now).unwrap();
        let second = accounts.of(&client("192.0.2.1"), now).unwrap().connect(now).unwrap();
        assert!(one.connect(now).is_none());
        assert!(accounts.of(&client("192.0.2.2"), now).unwrap().connect(now).is_some());
        drop(first);
        assert!(one.connect(now).is_some());
        let slot = second.account().start_session(now).unwrap();
        assert!(one.start_session(now).is_none());
        drop((second, slot));
        assert!(one.start_session(now).is_some());
    }

    #[test]
    fn sweep_bounds_memory_and_keeps_clients_in_use() {
        let rate = Rate::per_sec(1, 1);
        let limits = ClientLimits { handshakes: Some(rate), connections: Some(9), ..ClientLimits::default() };
        let (accounts, start) = (Accounts::new(limits, 80), Instant::now());
        let at = |n: u32| ClientId::of_address(Some(IpAddr::V4(n.into())));
        let held = accounts.of(&at(0), start).unwrap().connect(start).unwrap();
        for n in 1..10_000 {
            let now = start + Duration::from_micros(n.into());
            let account = accounts.of(&at(n), now).unwrap();
            assert_eq!(account.count_handshake(now), Ok(()));
            assert!(accounts.len() <= 100, "{n}: {}", accounts.len());
        }
        let now = start + Duration::from_millis(10);
        assert!(accounts.of(&at(9_999), now).unwrap().check_handshake(now).is_err(), "seen just now");
        assert!(Arc::ptr_eq(held.account(), &accounts.of(&at(0), now).unwrap()), "is connected");
        // Once their rates are full, no account has to be remembered.
        let later = now + Duration::from_secs(2);
        for n in 10_000..10_100 {
            accounts.of(&at(n), later).unwrap().count_handshake(later).unwrap();
        }
        assert!(accounts.len() <= 101, "{}", accounts.len());
    }
}
