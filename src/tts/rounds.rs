//! Order of turns: rounds over clients, then over the sessions of a client, then over the utterances of
//! a session.
//!
//! A client waits for at most one turn of each other client, however many sessions or utterances the
//! others have. This module has no engine and no clock.

use super::Utterance;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Times that a client goes ahead of its turn: the first audio of a sentence takes two or three turns.
const AHEAD: usize = 3;

/// Place of an entry in [`Rounds`].
#[derive(Clone, Debug)]
pub(super) struct Place {
    client: Arc<str>,
    session: Arc<str>,
    /// Number of the sentence, and a number that is different for each entry.
    order: (u64, u64),
}

impl Place {
    /// Client of the entry. A session outside of a connection is a client of its own.
    pub(super) fn client(&self) -> &Arc<str> {
        &self.client
    }

    /// Session of the entry.
    pub(super) fn session(&self) -> &Arc<str> {
        &self.session
    }
}

/// Returns the client that an utterance counts for.
pub(super) fn client(utterance: &Utterance) -> &Arc<str> {
    if utterance.client.is_empty() { &utterance.session } else { &utterance.client }
}

/// Entries that wait for their turn.
#[derive(Debug)]
pub(super) struct Rounds<T> {
    next: u64,
    len: usize,
    clients: HashMap<Arc<str>, Client<T>>,
    /// Clients with entries, in the order of their turns.
    turns: BTreeMap<u64, Arc<str>>,
    /// Clients that went ahead of their turn: the number of the first turn that they took, and how many.
    ahead: HashMap<Arc<str>, (u64, usize)>,
}

#[derive(Debug)]
struct Client<T> {
    turn: u64,
    /// Number of entries.
    len: usize,
    sessions: HashMap<Arc<str>, Session<T>>,
    /// Sessions with entries, in the order of their turns: first those whose next entry is urgent.
    turns: BTreeMap<Turn, Arc<str>>,
}

/// False for an urgent entry, and the number of the turn.
type Turn = (bool, u64);

#[derive(Debug)]
struct Session<T> {
    turn: Turn,
    entries: BTreeMap<(u64, u64), (bool, T)>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Rounds<T> {
        Rounds { next: 0, len: 0, clients: HashMap::new(), turns: BTreeMap::new(), ahead: HashMap::new() }
    }
}

impl<T> Rounds<T> {
    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Clients with entries.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Arc<str>> {
        self.turns.values()
    }

    /// Number of entries of a client.
    pub(super) fn held_by(&self, client: &Arc<str>) -> usize {
        self.clients.get(client).map_or(0, |client| client.len)
    }

    /// The largest number of entries that a client has.
    pub(super) fn most(&self) -> usize {
        self.clients.values().map(|client| client.len).max().unwrap_or_default()
    }

    /// Removes an entry of the client that has most: the last one of the session whose turn comes last.
    pub(super) fn remove_of_most(&mut self) -> Option<T> {
        let (name, client) = self.clients.iter().max_by_key(|(_, client)| client.len)?;
        let (_, session) = client.turns.last_key_value()?;
        let order = *client.sessions.get(session)?.entries.last_key_value()?.0;
        self.remove(&Place { client: Arc::clone(name), session: Arc::clone(session), order })
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Adds an entry for an utterance. Within a client, urgent entries come before others.
    pub(super) fn push(&mut self, utterance: &Utterance, is_urgent: bool, entry: T) -> Place {
        let place = Place {
            client: Arc::clone(client(utterance)),
            session: Arc::clone(&utterance.session),
            order: (utterance.index, self.number()),
        };
        self.put(&place, is_urgent, entry);
        place
    }

    /// Puts an entry into a place that it had before.
    pub(super) fn put(&mut self, place: &Place, is_urgent: bool, entry: T) {
        let number = self.number();
        self.len += 1;
        let client = self.clients.entry(Arc::clone(&place.client)).or_insert_with(|| {
            self.turns.insert(number, Arc::clone(&place.client));
            Client { turn: number, len: 0, sessions: HashMap::new(), turns: BTreeMap::new() }
        });
        client.len += 1;
        let session = client.sessions.entry(Arc::clone(&place.session)).or_insert_with(|| {
            client.turns.insert((!is_urgent, number), Arc::clone(&place.session));
            Session { turn: (!is_urgent, number), entries: BTreeMap::new() }
        });
        session.entries.insert(place.order, (is_urgent, entry));
        let turn = session.turn.1;
        client.sort(&place.session, turn);
    }

    /// Takes the next entry.
    pub(super) fn pop(&mut self) -> Option<(Place, T)> {
        let (_, client) = self.turns.first_key_value()?;
        let client = Arc::clone(client);
        self.pop_of(&client)
    }

    /// Takes the next entry, urgent ones of all clients first.
    ///
    /// A client goes ahead of its turn [`AHEAD`] times, then not again before all clients that waited at
    /// the first time had a turn. So many urgent entries of a client delay the others by few of them.
    pub(super) fn pop_urgent_first(&mut self) -> Option<(Place, T)> {
        let (&oldest, _) = self.turns.first_key_value()?;
        self.ahead.retain(|_, (turn, _)| *turn > oldest);
        let is_urgent = |client: &Client<T>| client.turns.first_key_value().is_some_and(|(turn, _)| !turn.0);
        let urgent = self.turns.values().find(|name| {
            self.ahead.get(*name).is_none_or(|(_, times)| *times < AHEAD)
                && self.clients.get(*name).is_some_and(is_urgent)
        });
        let Some(name) = urgent.cloned() else { return self.pop() };
        if self.clients.get(&name).is_some_and(|client| client.turn != oldest) {
            let number = self.number();
            self.ahead.entry(Arc::clone(&name)).or_insert((number, 0)).1 += 1;
        }
        self.pop_of(&name)
    }

    /// Takes the next entry of the client whose `load` is the lowest, the next one among equals.
    pub(super) fn pop_least(&mut self, load: impl Fn(&Arc<str>) -> usize) -> Option<(Place, T)> {
        let (mut least, mut next) = (usize::MAX, None);
        for client in self.turns.values() {
            let load = load(client);
            if load < least {
                (least, next) = (load, Some(client));
            }
            if least == 0 {
                break;
            }
        }
        let client = Arc::clone(next?);
        self.pop_of(&client)
    }

    fn pop_of(&mut self, name: &Arc<str>) -> Option<(Place, T)> {
        let number = self.number();
        let client = self.clients.get_mut(name)?;
        let (_, session_name) = client.turns.first_key_value()?;
        let session_name = Arc::clone(session_name);
        let session = client.sessions.get_mut(&session_name)?;
        let (order, (_, entry)) = session.entries.pop_first()?;
        self.len -= 1;
        client.len -= 1;
        // Both go to the end of their rounds.
        client.sort(&session_name, number);
        self.turns.remove(&client.turn);
        client.turn = number;
        if client.sessions.is_empty() {
            self.clients.remove(name);
        } else {
            self.turns.insert(number, Arc::clone(name));
        }
        Some((Place { client: Arc::clone(name), session: session_name, order }, entry))
    }

    /// Removes an entry, if its turn has not come yet. The turns of its client and session stay.
    pub(super) fn remove(&mut self, place: &Place) -> Option<T> {
        let client = self.clients.get_mut(&place.client)?;
        let session = client.sessions.get_mut(&place.session)?;
        let (_, entry) = session.entries.remove(&place.order)?;
        let turn = session.turn.1;
        self.len -= 1;
        client.len -= 1;
        client.sort(&place.session, turn);
        if client.sessions.is_empty() {
            self.turns.remove(&client.turn);
            self.clients.remove(&place.client);
        }
        Some(entry)
    }
}

impl<T> Client<T> {
    /// Gives a session this turn, or removes it if it has no entries.
    fn sort(&mut self, name: &Arc<str>, number: u64) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        self.turns.remove(&session.turn);
        match session.entries.first_key_value() {
            Some((_, (is_urgent, _))) => {
                session.turn = (!is_urgent, number);
                self.turns.insert(session.turn, Arc::clone(name));
            }
            None => {
                self.sessions.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Encoding, Format};

    fn of(client: &str, session: &str, index: u64) -> Utterance {
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 8_000 };
        let (client, session) = (Arc::from(client), Arc::from(session));
        Utterance { client, session, index, ..Utterance::new("Hello.", format) }
    }

    fn all(rounds: &mut Rounds<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| rounds.pop().map(|(_, entry)| entry)).collect()
    }

    fn is_empty<T>(rounds: &Rounds<T>) -> bool {
        rounds.len() == 0 && rounds.clients.is_empty() && rounds.turns.is_empty()
    }

    #[test]
    fn turns_go_round_clients_then_sessions_then_sentences() {
        let mut rounds = Rounds::default();
        for (client, session, index, name) in [
            ("a", "a1", 0, "a10"),
            ("a", "a1", 2, "a12"),
            ("a", "a1", 1, "a11"),
            ("a", "a2", 0, "a20"),
            ("a", "a3", 0, "a30"),
            ("b", "b1", 0, "b10"),
            ("b", "b1", 1, "b11"),
            ("c", "c1", 0, "c10"),
        ] {
            rounds.push(&of(client, session, index), false, name);
        }
        assert_eq!(rounds.len(), 8);
        assert_eq!(all(&mut rounds), ["a10", "b10", "c10", "a20", "b11", "a30", "a11", "a12"]);
        assert!(is_empty(&rounds));
    }

    #[test]
    fn a_client_that_asks_again_and_again_gets_one_turn_a_round() {
        let mut rounds = Rounds::default();
        for session in ["1", "2", "3", "4"] {
            rounds.push(&of("many", session, 0), true, "many");
        }
        rounds.push(&of("one", "5", 0), false, "one");
        let mut order = Vec::new();
        for _ in 0..6 {
            let (place, entry) = rounds.pop().expect("entries");
            order.push(entry);
            // It joins again at once.
            rounds.push(&of(place.client(), &place.session, 0), entry == "many", entry);
        }
        assert_eq!(order, ["many", "one", "many", "one", "many", "one"]);
    }

    #[test]
    fn urgent_entries_come_first_within_their_client() {
        let mut rounds = Rounds::default();
        rounds.push(&of("a", "old", 0), false, "old");
        rounds.push(&of("b", "other", 0), false, "other");
        rounds.push(&of("a", "new", 0), true, "new");
        rounds.push(&of("a", "newer", 0), true, "newer");
        assert_eq!(all(&mut rounds), ["new", "other", "newer", "old"]);
    }

    #[test]
    fn urgent_entries_of_all_clients_come_first() {
        let mut rounds = Rounds::default();
        for client in ["a", "b", "c"] {
            rounds.push(&of(client, client, 0), false, "later");
        }
        rounds.push(&of("d", "d", 0), true, "first of d");
        rounds.push(&of("e", "e", 0), true, "first of e");
        let mut order = Vec::new();
        while let Some((_, entry)) = rounds.pop_urgent_first() {
            order.push(entry);
        }
        assert_eq!(order, ["first of d", "first of e", "later", "later", "later"]);
        assert!(is_empty(&rounds));
    }

    #[test]
    fn a_client_with_urgent_entries_alone_delays_others_by_few() {
        let mut rounds = Rounds::default();
        rounds.push(&of("a", "a", 0), false, "a");
        rounds.push(&of("b", "b", 0), false, "b");
        let mut order = Vec::new();
        for _ in 0..12 {
            rounds.push(&of("many", "many", 0), true, "many");
            let (place, entry) = rounds.pop_urgent_first().expect("entries");
            order.push(entry);
            // All three ask again at once.
            if entry != "many" {
                rounds.push(&of(place.client(), &place.session, 0), false, entry);
            }
        }
        let turns = |name| order.iter().filter(|entry| **entry == name).count();
        assert!(turns("a") >= 2 && turns("b") >= 2 && turns("many") >= 6, "{order:?}");
        while rounds.pop_urgent_first().is_some() {}
        assert!(is_empty(&rounds));
        // One entry at a time is not more than many at once.
        rounds.push(&of("a", "a", 0), false, "a");
        assert!(rounds.pop_urgent_first().is_some() && rounds.ahead.is_empty());
    }

    #[test]
    fn a_client_without_a_name_is_its_session() {
        let mut rounds = Rounds::default();
        for (session, name) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
            rounds.push(&of("", session, 0), false, name);
        }
        assert_eq!(all(&mut rounds), ["a1", "b1", "a2"]);
    }

    #[test]
    fn the_client_with_the_least_load_is_next() {
        let mut rounds = Rounds::default();
        for (client, name) in [("a", "a"), ("b", "b"), ("c", "c")] {
            rounds.push(&of(client, "1", 0), false, name);
        }
        let load = |client: &Arc<str>| usize::from(&**client != "c");
        assert_eq!(rounds.pop_least(load).map(|(_, entry)| entry), Some("c"));
        assert_eq!(all(&mut rounds), ["a", "b"]);
    }

    #[test]
    fn an_entry_that_leaves_changes_no_other_turn() {
        let mut rounds = Rounds::default();
        let leaving = rounds.push(&of("a", "1", 0), true, "leaving");
        rounds.push(&of("a", "1", 1), false, "a");
        let only = rounds.push(&of("b", "2", 0), false, "only");
        rounds.push(&of("c", "3", 0), false, "c");
        assert_eq!(rounds.remove(&leaving), Some("leaving"));
        assert_eq!(rounds.remove(&leaving), None);
        assert_eq!(rounds.remove(&only), Some("only"));
        assert_eq!(rounds.len(), 2);
        assert_eq!(all(&mut rounds), ["a", "c"]);
        assert!(is_empty(&rounds));
    }
}
