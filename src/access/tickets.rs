//! Tickets: credentials that are good once, for a moment, so that a page need not be given one that
//! is good for longer.

use crate::access::credential::{Grant, Hash, Token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Random bytes in a ticket.
pub(super) const BYTES: usize = 24;

/// The tickets that were given out and not used.
pub(super) struct Tickets {
    ttl: Duration,
    most: usize,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    /// By their hashes: how long a look-up takes tells nothing of a ticket.
    by_hash: HashMap<Hash, Ticket>,
    /// In the order in which they end, with used ones among them.
    by_age: VecDeque<(Instant, Hash)>,
}

struct Ticket {
    owner: Grant,
    ends: Instant,
}

impl Tickets {
    pub(super) fn new(ttl: Duration, most: usize) -> Tickets {
        Tickets { ttl, most, given: Mutex::default() }
    }

    /// A ticket for whoever has this grant, made of these random bytes; `None` if too many wait to
    /// be used.
    pub(super) fn give(&self, owner: Grant, random: [u8; BYTES], now: Instant) -> Option<Token> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.forget(now);
        let share = (self.most / 10).max(1);
        let has_its_share = given.by_age.len() >= share
            && given.by_hash.values().filter(|ticket| ticket.owner.client == owner.client).count() >= share;
        // Used ones stay in the order until their time is over, and count: memory is bounded.
        if given.by_age.len() >= self.most || has_its_share {
            return None;
        }
        let ticket = Token::new(&URL_SAFE_NO_PAD.encode(random))?;
        let ends = now + self.ttl;
        given.by_age.push_back((ends, ticket.hash()));
        given.by_hash.insert(ticket.hash(), Ticket { owner, ends });
        Some(ticket)
    }

    /// Takes a ticket, if it is one and its time is not over.
    pub(super) fn take(&self, ticket: &Token, now: Instant) -> Option<Grant> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.forget(now);
        given.by_hash.remove(&ticket.hash()).filter(|ticket| now < ticket.ends).map(|ticket| ticket.owner)
    }
}

impl Given {
    fn forget(&mut self, now: Instant) {
        while let Some((ends, hash)) = self.by_age.front()
            && *ends <= now
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
    fn a_ticket_is_good_once_and_for_a_while() {
        let (tickets, now) = (Tickets::new(TTL, 100), Instant::now());
        let first = tickets.give(owner("a"), [1; BYTES], now).unwrap();
        let second = tickets.give(owner("b"), [2; BYTES], now).unwrap();
        assert_ne!(first, second);
        assert_eq!(tickets.take(&first, now).unwrap().client.as_deref(), Some("a"));
        assert!(tickets.take(&first, now).is_none(), "used");
        assert!(tickets.take(&second, now + TTL).is_none(), "over");
        let third = tickets.give(owner("c"), [3; BYTES], now).unwrap();
        assert!(tickets.take(&third, now + TTL - Duration::from_nanos(1)).is_some());
        assert!(tickets.take(&Token::new("AQEB").unwrap(), now).is_none());
    }

    #[test]
    fn there_are_only_so_many_and_each_client_has_its_share() {
        let (tickets, now) = (Tickets::new(TTL, 20), Instant::now());
        let mut random = 0u8..;
        let mut give = |name: &str, now| tickets.give(owner(name), [random.next().unwrap(); BYTES], now);
        assert!(give("a", now).is_some() && give("a", now).is_some());
        assert!(give("a", now).is_none(), "a tenth");
        for n in 0..9 {
            assert!(give(&format!("b{n}"), now).is_some() && give(&format!("b{n}"), now).is_some());
        }
        assert!(give("c", now).is_none(), "all");
        assert!(give("c", now + TTL).is_some(), "and again later");
    }
}
