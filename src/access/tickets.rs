//! Tickets: credentials that are valid once and for a short time, so that a page needs no longer-lived one.

use crate::access::credential::{Grant, Hash, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Random bytes in a ticket.
pub(super) const BYTES: usize = 24;

/// The tickets that were issued and not used.
pub(super) struct Tickets {
    ttl: Duration,
    most: usize,
    outstanding: Mutex<Outstanding>,
}

#[derive(Default)]
struct Outstanding {
    /// Keyed by hash, so that the time of a look-up reveals nothing about a ticket.
    by_hash: HashMap<Hash, Ticket>,
    /// In the order of expiry, used ones included.
    by_age: VecDeque<(Instant, Hash)>,
}

struct Ticket {
    owner: Grant,
    expires: Instant,
}

impl Tickets {
    pub(super) fn new(ttl: Duration, most: usize) -> Tickets {
        Tickets { ttl, most, outstanding: Mutex::default() }
    }

    /// Issues a ticket for a grant, made of these random bytes; `None` if too many are unused.
    pub(super) fn issue(&self, owner: Grant, random: [u8; BYTES], now: Instant) -> Option<Token> {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.forget(now);
        let share = (self.most / 10).max(1);
        let has_its_share = outstanding.by_age.len() >= share
            && outstanding.by_hash.values().filter(|ticket| ticket.owner.client == owner.client).count()
                >= share;
        // Used ones stay in `by_age` until they expire and count here, which bounds memory.
        if outstanding.by_age.len() >= self.most || has_its_share {
            return None;
        }
        let ticket = Token::new(&URL_SAFE_NO_PAD.encode(random))?;
        let expires = now + self.ttl;
        outstanding.by_age.push_back((expires, ticket.hash()));
        outstanding.by_hash.insert(ticket.hash(), Ticket { owner, expires });
        Some(ticket)
    }

    /// Redeems a ticket if it is valid now.
    pub(super) fn redeem(&self, ticket: &Token, now: Instant) -> Option<Grant> {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.forget(now);
        outstanding
            .by_hash
            .remove(&ticket.hash())
            .filter(|ticket| now < ticket.expires)
            .map(|ticket| ticket.owner)
    }
}

impl Outstanding {
    fn forget(&mut self, now: Instant) {
        while let Some((expires, hash)) = self.by_age.front()
            && *expires <= now
        {
            self.by_hash.remove(hash);
            self.by_age.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn owner(name: &str) -> Grant {
        Grant { client: Some(name.into()), restrictions: None }
    }

    #[test]
    fn ticket_is_valid_once_until_it_expires() {
        let (tickets, now) = (Tickets::new(TTL, 100), Instant::now());
        let first = tickets.issue(owner("a"), [1; BYTES], now).unwrap();
        let second = tickets.issue(owner("b"), [2; BYTES], now).unwrap();
        assert_ne!(first, second);
        assert_eq!(tickets.redeem(&first, now).unwrap().client.as_deref(), Some("a"));
        assert!(tickets.redeem(&first, now).is_none(), "used");
        assert!(tickets.redeem(&second, now + TTL).is_none(), "expired");
        let third = tickets.issue(owner("c"), [3; BYTES], now).unwrap();
        assert!(tickets.redeem(&third, now + TTL - Duration::from_nanos(1)).is_some());
        assert!(tickets.redeem(&Token::new("AQEB").unwrap(), now).is_none());
    }

    #[test]
    fn tickets_are_bounded_in_total_and_for_each_client() {
        let (tickets, now) = (Tickets::new(TTL, 20), Instant::now());
        let mut random = 0u8..;
        let mut issue = |name: &str, now| tickets.issue(owner(name), [random.next().unwrap(); BYTES], now);
        assert!(issue("a", now).is_some() && issue("a", now).is_some());
        assert!(issue("a", now).is_none(), "a tenth");
        for n in 0..9 {
            assert!(issue(&format!("b{n}"), now).is_some() && issue(&format!("b{n}"), now).is_some());
        }
        assert!(issue("c", now).is_none(), "all");
        assert!(issue("c", now + TTL).is_some(), "and again later");
    }
}
