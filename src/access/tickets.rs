//! Tickets: credentials that are valid once and for a short time, so that a page needs no longer-lived one.

use super::accounts::ClientId;
use super::shares::{Key, Shares};
use crate::access::credential::{Grant, Hash, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Random bytes in a ticket.
pub(super) const BYTES: usize = 24;

/// The tickets that were issued and not used. A used ticket takes no room.
pub(super) struct Tickets {
    ttl: Duration,
    most: usize,
    outstanding: Mutex<Outstanding>,
}

#[derive(Default)]
struct Outstanding {
    /// Keyed by hash, so that the time of a look-up reveals nothing about a ticket.
    by_hash: HashMap<Hash, Ticket>,
    /// In the order of expiry, counted for the client that asked.
    by_owner: Shares<ClientId, (Instant, Hash)>,
}

struct Ticket {
    grant: Grant,
    expires: Instant,
    key: Key,
}

impl Tickets {
    pub(super) fn new(ttl: Duration, most: usize) -> Tickets {
        Tickets { ttl, most, outstanding: Mutex::default() }
    }

    /// Issues a ticket with this grant to this client, made of these random bytes; `None` if the client, or
    /// every client, has as many unused ones as it may.
    ///
    /// A client has at most a tenth of all, and at least one. If there is no room, the oldest ticket of the
    /// client with most tickets gives way, unless the asking client has as many.
    pub(super) fn issue(
        &self,
        client: &ClientId,
        grant: Grant,
        random: [u8; BYTES],
        now: Instant,
    ) -> Option<Token> {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.forget(now);
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
        let ticket = Token::new(&URL_SAFE_NO_PAD.encode(random))?;
        let expires = now + self.ttl;
        let key = outstanding.by_owner.insert(client.clone(), 0, (expires, ticket.hash()));
        outstanding.by_hash.insert(ticket.hash(), Ticket { grant, expires, key });
        Some(ticket)
    }

    /// Returns the grant of a ticket that is valid now. The ticket stays valid until it is
    /// [spent](Tickets::spend).
    pub(super) fn find(&self, ticket: &Token, now: Instant) -> Option<Grant> {
        let outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        let found = outstanding.by_hash.get(&ticket.hash()).filter(|ticket| now < ticket.expires);
        found.map(|ticket| ticket.grant.clone())
    }

    /// Uses a ticket up; false if it is not valid, or no longer.
    pub(super) fn spend(&self, ticket: &Token, now: Instant) -> bool {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.forget(now);
        let key = outstanding.by_hash.get(&ticket.hash()).map(|ticket| ticket.key);
        key.is_some_and(|key| outstanding.remove(key))
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

    /// Issues tickets of different bytes.
    struct Issuer(Tickets, u64);

    impl Issuer {
        fn issue(&mut self, name: &str, now: Instant) -> Option<Token> {
            self.1 += 1;
            let mut random = [0; BYTES];
            random[..8].copy_from_slice(&self.1.to_be_bytes());
            self.0.issue(&named(name), owner(name), random, now)
        }
    }

    #[test]
    fn ticket_is_valid_once_until_it_expires() {
        let (mut issuer, now) = (Issuer(Tickets::new(TTL, 100), 0), Instant::now());
        let first = issuer.issue("a", now).unwrap();
        let second = issuer.issue("b", now).unwrap();
        let third = issuer.issue("c", now).unwrap();
        assert_ne!(first, second);
        let tickets = issuer.0;
        for _ in 0..2 {
            assert_eq!(tickets.find(&first, now).unwrap().client.as_deref(), Some("a"), "not spent");
        }
        assert!(tickets.spend(&first, now));
        assert!(!tickets.spend(&first, now) && tickets.find(&first, now).is_none(), "used");
        assert!(tickets.find(&third, now + TTL - Duration::from_nanos(1)).is_some());
        assert!(tickets.find(&second, now + TTL).is_none(), "expired");
        assert!(!tickets.spend(&second, now + TTL), "expired");
        assert!(tickets.find(&Token::new("AQEB").unwrap(), now).is_none());
    }

    #[test]
    fn tickets_are_bounded_in_total_and_for_each_client() {
        let (mut issuer, now) = (Issuer(Tickets::new(TTL, 20), 0), Instant::now());
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
        let (mut issuer, now) = (Issuer(Tickets::new(TTL, 100), 0), Instant::now());
        for _ in 0..10_000 {
            let ticket = issuer.issue("a", now).expect("the ones before are used");
            assert!(issuer.0.spend(&ticket, now));
        }
        assert!(issuer.issue("b", now).is_some());
        let outstanding = issuer.0.outstanding.lock().unwrap();
        assert_eq!((outstanding.by_hash.len(), outstanding.by_owner.len()), (1, 1));
    }
}
