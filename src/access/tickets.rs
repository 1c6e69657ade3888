//! Tickets: credentials that are valid once and for a short time, so that a page needs no longer-lived one.
//!
//! Without a key they are random, and this process alone knows them. With a key they are signed, and every
//! process with the same key accepts them, each of them once.

use super::accounts::ClientId;
use super::shares::{Key, Shares};
use super::signature::TicketKey;
use crate::access::credential::{Grant, Hash, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The most by which the clock of another process may be ahead.
const MAX_SKEW: Duration = Duration::from_secs(30);

/// Random bytes in a ticket.
pub(super) const BYTES: usize = 24;

/// The tickets that were issued and not used. A used ticket takes no room.
pub(super) struct Tickets {
    ttl: Duration,
    most: usize,
    key: Option<TicketKey>,
    outstanding: Mutex<Outstanding>,
}

#[derive(Default)]
struct Outstanding {
    /// Keyed by hash, so that the time of a look-up reveals nothing about a ticket.
    by_hash: HashMap<Hash, Ticket>,
    /// In the order of expiry, counted for the client that asked.
    by_owner: Shares<ClientId, (Instant, Hash)>,
    /// Signed tickets that were used here, until they have expired for every process.
    spent: HashSet<Hash>,
    /// The same in the order of use.
    spent_until: VecDeque<(Instant, Hash)>,
}

/// A moment, by the clock that never goes back and by the one that other processes share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    /// Time since 1970.
    pub(super) wall: Duration,
}

impl Moment {
    /// This instant, which is now.
    pub(super) fn now(instant: Instant) -> Moment {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment { instant, wall: wall.unwrap_or_default() }
    }
}

struct Ticket {
    grant: Grant,
    expires: Instant,
    key: Key,
}

impl Tickets {
    /// Tickets that are valid for `ttl`, `most` of them at a time. With a key they are signed.
    pub(super) fn new(ttl: Duration, most: usize, key: Option<TicketKey>) -> Tickets {
        Tickets { ttl, most, key, outstanding: Mutex::default() }
    }

    /// Issues a ticket with this grant to this client, made of these random bytes; `None` if the client, or
    /// every client, has as many unused ones as it may.
    ///
    /// A client has at most a tenth of all, and at least one. If there is no room, the oldest ticket of the
    /// client with most tickets gives way, unless the asking client has as many. A signed ticket stays valid,
    /// and is no longer counted.
    pub(super) fn issue(
        &self,
        client: &ClientId,
        grant: Grant,
        random: [u8; BYTES],
        now: Moment,
    ) -> Option<Token> {
        let mut outstanding = self.outstanding();
        outstanding.forget(now.instant);
        let held = outstanding.by_owner.held_by(client);
        if held >= (self.most / 10).max(1) {
            return None;
        }
        if outstanding.by_owner.len() >= self.most {
            if outstanding.by_owner.most() <= held + 1 {
                return None;
            }
            let key = outstanding.by_owner.oldest_of_most()?;
            outstanding.remove(key);
        }
        let ticket = match &self.key {
            Some(key) => key.issue(&grant, now.wall + self.ttl, &random),
            None => Token::new(&URL_SAFE_NO_PAD.encode(random))?,
        };
        let expires = now.instant + self.ttl;
        let key = outstanding.by_owner.insert(client.clone(), 0, (expires, ticket.hash()));
        outstanding.by_hash.insert(ticket.hash(), Ticket { grant, expires, key });
        Some(ticket)
    }

    /// Returns the grant of a ticket that is valid now. The ticket stays valid until it is
    /// [spent](Tickets::spend).
    pub(super) fn find(&self, ticket: &Token, now: Moment) -> Option<Grant> {
        if let Some(key) = &self.key {
            let (grant, end) = key.verify(ticket)?;
            // A later end than any process gives would outlive the memory of its use.
            let is_valid = now.wall < end && end <= now.wall + self.ttl + MAX_SKEW;
            return (is_valid && !self.outstanding().spent.contains(&ticket.hash())).then_some(grant);
        }
        let outstanding = self.outstanding();
        let found = outstanding.by_hash.get(&ticket.hash()).filter(|ticket| now.instant < ticket.expires);
        found.map(|ticket| ticket.grant.clone())
    }

    /// Uses a ticket up; false if it is not valid, or no longer.
    pub(super) fn spend(&self, ticket: &Token, now: Moment) -> bool {
        let is_valid = self.key.is_none() || self.find(ticket, now).is_some();
        let mut outstanding = self.outstanding();
        outstanding.forget(now.instant);
        let key = outstanding.by_hash.get(&ticket.hash()).map(|ticket| ticket.key);
        let was_outstanding = key.is_some_and(|key| outstanding.remove(key));
        if self.key.is_none() {
            return was_outstanding;
        }
        // Without room to remember its use, a ticket could be used twice.
        let is_first =
            is_valid && outstanding.spent.len() < self.most && outstanding.spent.insert(ticket.hash());
        if is_first {
            outstanding.spent_until.push_back((now.instant + self.ttl + MAX_SKEW, ticket.hash()));
        }
        is_first
    }

    fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outstanding {
    fn remove(&mut self, key: Key) -> bool {
        let removed = self.by_owner.remove(key);
        removed.is_some_and(|(_, hash)| self.by_hash.remove(&hash).is_some())
    }

    fn forget(&mut self, now: Instant) {
        while let Some((key, (expires, _))) = self.by_owner.oldest()
            && *expires <= now
        {
            self.remove(key);
        }
        while let Some((until, hash)) = self.spent_until.front()
            && *until <= now
        {
            self.spent.remove(hash);
            self.spent_until.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn named(name: &str) -> ClientId {
        ClientId::Named(name.into())
    }

    fn owner(name: &str) -> Grant {
        Grant { client: Some(name.into()), restrictions: None }
    }

    fn at(instant: Instant, ms: u64) -> Moment {
        Moment { instant: instant + Duration::from_millis(ms), wall: Duration::from_millis(1 << 40 | ms) }
    }

    /// Issues tickets of different bytes.
    struct Issuer(Tickets, u64);

    impl Issuer {
        fn issue(&mut self, name: &str, now: Instant) -> Option<Token> {
            self.1 += 1;
            let mut random = [0; BYTES];
            random[..8].copy_from_slice(&self.1.to_be_bytes());
            self.0.issue(&named(name), owner(name), random, Moment { instant: now, wall: Duration::ZERO })
        }
    }

    #[test]
    fn ticket_is_valid_once_until_it_expires() {
        let (mut issuer, now) = (Issuer(Tickets::new(TTL, 100, None), 0), Instant::now());
        let first = issuer.issue("a", now).unwrap();
        let second = issuer.issue("b", now).unwrap();
        let third = issuer.issue("c", now).unwrap();
        assert_ne!(first, second);
        let tickets = issuer.0;
        let find = |ticket: &Token, instant| tickets.find(ticket, Moment { instant, wall: Duration::ZERO });
        let spend = |ticket: &Token, instant| tickets.spend(ticket, Moment { instant, wall: Duration::ZERO });
        for _ in 0..2 {
            assert_eq!(find(&first, now).unwrap().client.as_deref(), Some("a"), "not spent");
        }
        assert!(spend(&first, now));
        assert!(!spend(&first, now) && find(&first, now).is_none(), "used");
        assert!(find(&third, now + TTL - Duration::from_nanos(1)).is_some());
        assert!(find(&second, now + TTL).is_none(), "expired");
        assert!(!spend(&second, now + TTL), "expired");
        assert!(find(&Token::new("AQEB").unwrap(), now).is_none());
    }

    #[test]
    fn tickets_are_bounded_in_total_and_for_each_client() {
        let (mut issuer, now) = (Issuer(Tickets::new(TTL, 20, None), 0), Instant::now());
        assert!(issuer.issue("a", now).is_some() && issuer.issue("a", now).is_some());
        assert!(issuer.issue("a", now).is_none(), "a tenth");
        for n in 0..9 {
            assert!(issuer.issue(&format!("b{n}"), now).is_some());
            assert!(issuer.issue(&format!("b{n}"), now).is_some());
        }
        assert!(issuer.issue("c", now).is_some(), "the oldest of a client with two gives way");
        assert!(issuer.issue("a", now).is_none(), "it has one, and the others have no more than two");
        assert!(issuer.issue("c", now + TTL).is_some(), "and again later");
        assert_eq!(issuer.0.outstanding.lock().unwrap().by_hash.len(), 1);
    }

    #[test]
    fn used_tickets_take_no_room() {
        let (mut issuer, now) = (Issuer(Tickets::new(TTL, 100, None), 0), Instant::now());
        for _ in 0..10_000 {
            let ticket = issuer.issue("a", now).expect("the ones before are used");
            assert!(issuer.0.spend(&ticket, Moment { instant: now, wall: Duration::ZERO }));
        }
        assert!(issuer.issue("b", now).is_some());
        let outstanding = issuer.0.outstanding.lock().unwrap();
        assert_eq!((outstanding.by_hash.len(), outstanding.by_owner.len()), (1, 1));
    }

    #[test]
    fn signed_ticket_is_valid_once_in_each_process_with_the_key() {
        let processes =
            [[7; 32], [7; 32], [8; 32]].map(|key| Tickets::new(TTL, 20, Some(TicketKey::new(&key))));
        let [here, there, stranger] = &processes;
        let (start, end) = (Instant::now(), TTL.as_millis() as u64);
        let issue =
            |tickets: &Tickets, n: u8, ms| tickets.issue(&named("a"), owner("a"), [n; BYTES], at(start, ms));
        let ticket = issue(here, 1, 0).unwrap();
        for tickets in [here, there] {
            for _ in 0..2 {
                assert_eq!(tickets.find(&ticket, at(start, 0)), Some(owner("a")), "not spent");
            }
            assert!(tickets.spend(&ticket, at(start, 0)));
            assert!(
                tickets.find(&ticket, at(start, 0)).is_none() && !tickets.spend(&ticket, at(start, end - 1))
            );
        }
        assert!(stranger.find(&ticket, at(start, 0)).is_none() && !stranger.spend(&ticket, at(start, 0)));
        let late = issue(here, 2, 0).unwrap();
        assert!(there.find(&late, at(start, end - 1)).is_some());
        assert!(there.find(&late, at(start, end)).is_none() && !there.spend(&late, at(start, end)));
        assert!(issue(here, 3, 0).is_some() && issue(here, 4, 0).is_none(), "a tenth");
        // Clocks differ. A ticket from too far ahead could be used again once its use is forgotten.
        let ahead = MAX_SKEW.as_millis() as u64;
        let ticket = issue(here, 5, end + ahead).unwrap();
        assert!(
            there.find(&ticket, at(start, end)).is_some()
                && there.find(&ticket, at(start, end - 1)).is_none()
        );
    }

    #[test]
    fn signed_tickets_are_refused_where_their_use_cannot_be_remembered() {
        let tickets = Tickets::new(TTL, 20, Some(TicketKey::new(&[7; 32])));
        let other = Tickets::new(TTL, 1_000, Some(TicketKey::new(&[7; 32])));
        let start = Instant::now();
        let tried = |n: u8, ms| {
            let ticket = other.issue(&named("a"), owner("a"), [n; BYTES], at(start, ms)).unwrap();
            tickets.spend(&ticket, at(start, ms))
        };
        assert!((0..20).all(|n| tried(n, 0)) && !tried(20, 0));
        assert!(tried(21, (TTL + MAX_SKEW).as_millis() as u64), "those before are forgotten");
        assert_eq!(tickets.outstanding().spent.len(), 1);
    }
}
