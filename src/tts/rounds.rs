//! Order of turns: rounds over clients, then over the sessions of a client, then over the utterances of
//! a session.
//!
//! A client waits for at most one turn of each other client, however many sessions or utterances the
//! others have. This module has no engine and no clock.

use super::Utterance;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Times that a client goes ahead of its turn, for each of two reasons: the first audio of a sentence takes two or
/// three turns, and so many windows may follow it before all others had a turn.
const AHEAD: usize = 3;

/// Time between the end of work and the arrival of its audio, on a busy machine.
const DELIVERY: Duration = Duration::from_millis(30);

/// Time after which a listener without audio counts as much as those whose audio runs out.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Time by which the work of an entry is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It has time.
    Usual,
    /// A listener without audio waits for it since then.
    AtOnce { since: Instant },
    /// A listener has audio until then. The audio that follows it takes so many units of work.
    Due { by: Instant, units: u32 },
}

impl From<bool> for Urgency {
    /// Urgent work is needed at once, from now on.
    fn from(is_urgent: bool) -> Urgency {
        if is_urgent { Urgency::AtOnce { since: Instant::now() } } else { Urgency::Usual }
    }
}

impl Urgency {
    /// Place of a session within its client: those without audio first, in the order in which they came.
    fn turn(self, number: u64) -> Turn {
        match self {
            Urgency::AtOnce { since } => (false, Some(since), number),
            Urgency::Usual | Urgency::Due { .. } => (true, None, number),
        }
    }
}

/// Speed of the work, which decides what would be late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) now: Instant,
    /// Time that one unit of work takes.
    pub(super) unit: Duration,
    pub(super) threads: u32,
}

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
    /// Clients that went ahead of their turn: the number of the first turn that they took, and how many because they
    /// had no audio, and because it would have run out.
    ahead: HashMap<Arc<str>, (u64, [usize; 2])>,
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

/// False for an entry that is needed at once, since when, and the number of the turn.
type Turn = (bool, Option<Instant>, u64);

#[derive(Debug)]
struct Session<T> {
    turn: Turn,
    entries: BTreeMap<(u64, u64), (Urgency, T)>,
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

    /// Adds an entry for an utterance. Within a client, entries that are needed at once come before others.
    pub(super) fn push(&mut self, utterance: &Utterance, urgency: Urgency, entry: T) -> Place {
        let place = Place {
            client: Arc::clone(client(utterance)),
            session: Arc::clone(&utterance.session),
            order: (utterance.index, self.number()),
        };
        self.put(&place, urgency, entry);
        place
    }

    /// Puts an entry into a place that it had before.
    pub(super) fn put(&mut self, place: &Place, urgency: Urgency, entry: T) {
        let number = self.number();
        self.len += 1;
        let client = self.clients.entry(Arc::clone(&place.client)).or_insert_with(|| {
            self.turns.insert(number, Arc::clone(&place.client));
            Client { turn: number, len: 0, sessions: HashMap::new(), turns: BTreeMap::new() }
        });
        client.len += 1;
        let session = client.sessions.entry(Arc::clone(&place.session)).or_insert_with(|| {
            let turn = urgency.turn(number);
            client.turns.insert(turn, Arc::clone(&place.session));
            Session { turn, entries: BTreeMap::new() }
        });
        session.entries.insert(place.order, (urgency, entry));
        let turn = session.turn.2;
        client.sort(&place.session, turn);
    }

    /// Takes the next entry.
    pub(super) fn pop(&mut self) -> Option<(Place, T)> {
        let (_, client) = self.turns.first_key_value()?;
        let client = Arc::clone(client);
        self.pop_of(&client)
    }

    /// Takes the next entry. First comes the one that is due first, if any would be late behind other work. Entries
    /// that are needed at once follow, then the others.
    ///
    /// A client goes ahead of its turn [`AHEAD`] times for each of these two reasons, then not again before all
    /// clients that waited at the first time had a turn. So many urgent entries of a client delay the others by few of
    /// them.
    pub(super) fn pop_urgent_first(&mut self, pace: Pace) -> Option<(Place, T)> {
        let (&oldest, _) = self.turns.first_key_value()?;
        self.ahead.retain(|_, (turn, _)| *turn > oldest);
        if let Some((client, session)) = self.pressing(pace) {
            self.go_ahead(&client, oldest, 1);
            return self.pop_in(&client, &session);
        }
        let is_urgent = |client: &Client<T>| client.turns.first_key_value().is_some_and(|(turn, _)| !turn.0);
        let mut clients = self.turns.values();
        let urgent =
            clients.find(|name| self.may_go_ahead(name, 0) && self.clients.get(*name).is_some_and(is_urgent));
        let Some(name) = urgent.cloned() else { return self.pop() };
        self.go_ahead(&name, oldest, 0);
        self.pop_of(&name)
    }

    fn may_go_ahead(&self, client: &Arc<str>, reason: usize) -> bool {
        self.ahead.get(client).is_none_or(|(_, times)| times[reason] < AHEAD)
    }

    /// Notes that a client is served before the one whose turn is the oldest.
    fn go_ahead(&mut self, client: &Arc<str>, oldest: u64, reason: usize) {
        if self.clients.get(client).is_some_and(|client| client.turn != oldest) {
            let number = self.number();
            self.ahead.entry(Arc::clone(client)).or_insert((number, [0; 2])).1[reason] += 1;
        }
    }

    /// Client and session of the entry that is due first, if it or a later one would be late behind one unit of other
    /// work.
    fn pressing(&self, pace: Pace) -> Option<(Arc<str>, Arc<str>)> {
        let sessions = self
            .clients
            .iter()
            .flat_map(|(client, of)| of.sessions.iter().map(move |(session, of)| (client, session, of)));
        let mut is_due = false;
        let entries = sessions.filter_map(|(client, session, of)| {
            let (by, units) = match of.entries.first_key_value()?.1.0 {
                Urgency::Due { by, units } => {
                    is_due = true;
                    (by, units)
                }
                // Counted with those that are due, so that it does not wait for ever.
                Urgency::AtOnce { since } => (since + LONGEST_WAIT, 0),
                Urgency::Usual => return None,
            };
            Some((by, of.turn.2, units, client, session))
        });
        let mut entries: Vec<_> = entries.collect();
        if !is_due {
            return None;
        }
        entries.sort_unstable_by_key(|(by, turn, ..)| (*by, *turn));
        let mut begins = pace.now + DELIVERY + pace.unit;
        let would_be_late = entries.iter().any(|(by, _, units, ..)| {
            let takes = pace.unit * *units;
            let ends = begins + takes;
            begins += takes / pace.threads.max(1);
            ends > *by
        });
        let mut entries = entries.into_iter().filter(|_| would_be_late);
        let (.., client, session) = entries.find(|(.., client, _)| self.may_go_ahead(client, 1))?;
        Some((Arc::clone(client), Arc::clone(session)))
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
        let (_, session) = self.clients.get(name)?.turns.first_key_value()?;
        let session = Arc::clone(session);
        self.pop_in(name, &session)
    }

    fn pop_in(&mut self, name: &Arc<str>, session_name: &Arc<str>) -> Option<(Place, T)> {
        let number = self.number();
        let client = self.clients.get_mut(name)?;
        let session = client.sessions.get_mut(session_name)?;
        let (order, (_, entry)) = session.entries.pop_first()?;
        self.len -= 1;
        client.len -= 1;
        // Both go to the end of their rounds.
        client.sort(session_name, number);
        self.turns.remove(&client.turn);
        client.turn = number;
        if client.sessions.is_empty() {
            self.clients.remove(name);
        } else {
            self.turns.insert(number, Arc::clone(name));
        }
        Some((Place { client: Arc::clone(name), session: Arc::clone(session_name), order }, entry))
    }

    /// Removes an entry, if its turn has not come yet. The turns of its client and session stay.
    pub(super) fn remove(&mut self, place: &Place) -> Option<T> {
        let client = self.clients.get_mut(&place.client)?;
        let session = client.sessions.get_mut(&place.session)?;
        let (_, entry) = session.entries.remove(&place.order)?;
        let turn = session.turn.2;
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
            Some((_, (urgency, _))) => {
                session.turn = urgency.turn(number);
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

    fn pace(now: Instant) -> Pace {
        Pace { now, unit: Duration::from_millis(20), threads: 1 }
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
            rounds.push(&of(client, session, index), false.into(), name);
        }
        assert_eq!(rounds.len(), 8);
        assert_eq!(all(&mut rounds), ["a10", "b10", "c10", "a20", "b11", "a30", "a11", "a12"]);
        assert!(is_empty(&rounds));
    }

    #[test]
    fn a_client_that_asks_again_and_again_gets_one_turn_a_round() {
        let mut rounds = Rounds::default();
        for session in ["1", "2", "3", "4"] {
            rounds.push(&of("many", session, 0), true.into(), "many");
        }
        rounds.push(&of("one", "5", 0), false.into(), "one");
        let mut order = Vec::new();
        for _ in 0..6 {
            let (place, entry) = rounds.pop().expect("entries");
            order.push(entry);
            // It joins again at once.
            rounds.push(&of(place.client(), &place.session, 0), (entry == "many").into(), entry);
        }
        assert_eq!(order, ["many", "one", "many", "one", "many", "one"]);
    }

    #[test]
    fn urgent_entries_come_first_within_their_client() {
        let mut rounds = Rounds::default();
        rounds.push(&of("a", "old", 0), false.into(), "old");
        rounds.push(&of("b", "other", 0), false.into(), "other");
        rounds.push(&of("a", "new", 0), true.into(), "new");
        rounds.push(&of("a", "newer", 0), true.into(), "newer");
        assert_eq!(all(&mut rounds), ["new", "other", "newer", "old"]);
    }

    #[test]
    fn urgent_entries_of_all_clients_come_first() {
        let mut rounds = Rounds::default();
        for client in ["a", "b", "c"] {
            rounds.push(&of(client, client, 0), false.into(), "later");
        }
        rounds.push(&of("d", "d", 0), true.into(), "first of d");
        rounds.push(&of("e", "e", 0), true.into(), "first of e");
        let mut order = Vec::new();
        while let Some((_, entry)) = rounds.pop_urgent_first(pace(Instant::now())) {
            order.push(entry);
        }
        assert_eq!(order, ["first of d", "first of e", "later", "later", "later"]);
        assert!(is_empty(&rounds));
    }

    #[test]
    fn a_client_with_urgent_entries_alone_delays_others_by_few() {
        let mut rounds = Rounds::default();
        rounds.push(&of("a", "a", 0), false.into(), "a");
        rounds.push(&of("b", "b", 0), false.into(), "b");
        let mut order = Vec::new();
        for _ in 0..12 {
            rounds.push(&of("many", "many", 0), true.into(), "many");
            let (place, entry) = rounds.pop_urgent_first(pace(Instant::now())).expect("entries");
            order.push(entry);
            // All three ask again at once.
            if entry != "many" {
                rounds.push(&of(place.client(), &place.session, 0), false.into(), entry);
            }
        }
        let turns = |name| order.iter().filter(|entry| **entry == name).count();
        assert!(turns("a") >= 2 && turns("b") >= 2 && turns("many") >= 6, "{order:?}");
        while rounds.pop_urgent_first(pace(Instant::now())).is_some() {}
        assert!(is_empty(&rounds));
        // One entry at a time is not more than many at once.
        rounds.push(&of("a", "a", 0), false.into(), "a");
        assert!(rounds.pop_urgent_first(pace(Instant::now())).is_some() && rounds.ahead.is_empty());
    }

    /// A listener of [`play`].
    struct Player {
        client: String,
        starts: Duration,
        /// Units of work that are done.
        done: usize,
        first_audio: Option<Duration>,
        /// Time at which its audio runs out, and the longest time that it had none.
        until: Duration,
        dry: Duration,
    }

    /// Plays sentences of ten windows with one thread for listeners that start at these times. Returns the time that
    /// each waits for its first audio, and the longest time without audio behind it.
    fn play(listeners: &[(&str, u64)]) -> Vec<(Duration, Duration)> {
        let ms = Duration::from_millis;
        // The plan, and windows that double.
        let costs = [8, 9, 12, 18, 18, 18, 18, 18, 18, 18, 18].map(ms);
        let audio = [0, 250, 600, 1_200, 1_200, 1_200, 1_200, 1_200, 1_200, 1_200, 1_200].map(ms);
        // What a listener may have in advance.
        let ahead = ms(2_000);
        let mut players: Vec<Player> = listeners
            .iter()
            .map(|(client, starts)| Player {
                client: (*client).to_owned(),
                starts: ms(*starts),
                done: 0,
                first_audio: None,
                until: Duration::ZERO,
                dry: Duration::ZERO,
            })
            .collect();
        let (epoch, mut now) = (Instant::now(), Duration::ZERO);
        let mut rounds = Rounds::default();
        let mut is_waiting = vec![false; players.len()];
        while players.iter().any(|player| player.done < costs.len()) {
            for (n, player) in players.iter().enumerate() {
                let is_ready =
                    player.done < costs.len() && player.starts <= now && player.until <= now + ahead;
                if is_ready && !std::mem::replace(&mut is_waiting[n], true) {
                    let urgency = match player.first_audio {
                        None => Urgency::AtOnce { since: epoch + player.starts },
                        Some(_) => Urgency::Due { by: epoch + player.until, units: 1 },
                    };
                    rounds.push(&of(&player.client, &n.to_string(), 0), urgency, n);
                }
            }
            let pace = Pace { now: epoch + now, unit: ms(18), threads: 1 };
            let Some((_, n)) = rounds.pop_urgent_first(pace) else {
                now += ms(1);
                continue;
            };
            is_waiting[n] = false;
            let player = &mut players[n];
            now += costs[player.done];
            if !audio[player.done].is_zero() {
                match player.first_audio {
                    None => player.first_audio = Some(now - player.starts),
                    Some(_) => player.dry = player.dry.max(now.saturating_sub(player.until)),
                }
                player.until = player.until.max(now) + audio[player.done];
            }
            player.done += 1;
        }
        players.iter().map(|player| (player.first_audio.unwrap_or_default(), player.dry)).collect()
    }

    #[test]
    fn listeners_that_start_together_do_not_run_dry() {
        let names: Vec<String> = (0..30).map(|n| format!("client {n}")).collect();
        for count in [5, 15, 30] {
            for step in [0, 1, 10, 100] {
                let one: Vec<(&str, u64)> = (0..count).map(|n| ("one", n * step)).collect();
                let many: Vec<(&str, u64)> =
                    one.iter().zip(&names).map(|((_, at), name)| (&**name, *at)).collect();
                for listeners in [one, many] {
                    let played = play(&listeners);
                    let first = played.iter().map(|(first, _)| *first).max();
                    assert!(first < Some(Duration::from_millis(1_050)), "{first:?} of {count} after {step}");
                    let dry = played.iter().map(|(_, dry)| *dry).max();
                    assert_eq!(dry, Some(Duration::ZERO), "{count} listeners, {step} ms between them");
                }
            }
        }
    }

    #[test]
    fn listeners_of_an_overload_wait_about_the_same_time() {
        let listeners: Vec<(&str, u64)> = (0..100).map(|_| ("one", 0)).chain([("one", 3_000)]).collect();
        let played = play(&listeners);
        let (first, _) = played[100];
        assert!(first < Duration::from_millis(2_500), "{first:?}");
    }

    #[test]
    fn a_client_with_many_sessions_that_are_due_delays_others_by_few() {
        let many = (0..200).map(|_| ("many", 0));
        let played = play(&many.chain([("a", 500), ("b", 1_000)]).collect::<Vec<_>>());
        for (first, dry) in &played[200..] {
            assert!(*first < Duration::from_millis(400), "{first:?}");
            assert!(*dry < Duration::from_millis(150), "{dry:?}");
        }
    }

    #[test]
    fn an_entry_that_would_be_late_comes_first_and_the_one_due_first_of_several() {
        let now = Instant::now();
        let due = |ms| Urgency::Due { by: now + Duration::from_millis(ms), units: 1 };
        let mut rounds = Rounds::default();
        for (urgency, name) in [
            (due(1_000), "has time"),
            (Urgency::AtOnce { since: now }, "new"),
            (due(85), "second"),
            // With 20 ms of its own, 20 of the new one, and the delivery.
            (due(80), "first"),
            (Urgency::Usual, "usual"),
        ] {
            rounds.push(&of("a", name, 0), urgency, name);
        }
        let mut order = Vec::new();
        while let Some((_, entry)) = rounds.pop_urgent_first(pace(now)) {
            order.push(entry);
        }
        assert_eq!(order, ["first", "new", "has time", "second", "usual"]);
    }

    #[test]
    fn a_client_without_a_name_is_its_session() {
        let mut rounds = Rounds::default();
        for (session, name) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
            rounds.push(&of("", session, 0), false.into(), name);
        }
        assert_eq!(all(&mut rounds), ["a1", "b1", "a2"]);
    }

    #[test]
    fn the_client_with_the_least_load_is_next() {
        let mut rounds = Rounds::default();
        for (client, name) in [("a", "a"), ("b", "b"), ("c", "c")] {
            rounds.push(&of(client, "1", 0), false.into(), name);
        }
        let load = |client: &Arc<str>| usize::from(&**client != "c");
        assert_eq!(rounds.pop_least(load).map(|(_, entry)| entry), Some("c"));
        assert_eq!(all(&mut rounds), ["a", "b"]);
    }

    #[test]
    fn an_entry_that_leaves_changes_no_other_turn() {
        let mut rounds = Rounds::default();
        let leaving = rounds.push(&of("a", "1", 0), true.into(), "leaving");
        rounds.push(&of("a", "1", 1), false.into(), "a");
        let only = rounds.push(&of("b", "2", 0), false.into(), "only");
        rounds.push(&of("c", "3", 0), false.into(), "c");
        assert_eq!(rounds.remove(&leaving), Some("leaving"));
        assert_eq!(rounds.remove(&leaving), None);
        assert_eq!(rounds.remove(&only), Some("only"));
        assert_eq!(rounds.len(), 2);
        assert_eq!(all(&mut rounds), ["a", "c"]);
        assert!(is_empty(&rounds));
    }
}
