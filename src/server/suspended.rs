//! Sessions that outlive their connection: found by id, opened by token, kept for a while.
//!
//! A connection owns its session. When it is lost the session moves in here, by value, with the
//! speech that was being made for it, and out again when its client comes back; while it lives, a
//! second connection asks for it through here. The lock is held for a look-up, never for a wait.

use super::metrics::{ClosedBy, Telemetry};
use super::report::Record;
use crate::access::credential::is_same;
use crate::access::{Client, Slot};
use crate::gauge::{Counted, Gauge};
use crate::script::Script;
use crate::session::Session;
use crate::tts::Speech;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::Level;

/// Ids of sessions that were given up, remembered to tell their clients so.
const MAX_REMEMBERED: usize = 1024;

/// Entries that the map of sessions keeps room for, however few there are.
const MAX_IDLE_ROOM: usize = 64;

/// A session without a connection, the speech that is being made for it, and the text. Neither is
/// taken meanwhile, so that both come to a stand when their channels are full.
pub(crate) struct Suspended {
    pub(crate) session: Session,
    pub(crate) speeches: VecDeque<Speech>,
    pub(crate) script: Option<Box<Script>>,
    /// Who had the connection.
    pub(crate) client: Client,
    /// That it is one of the sessions that its client may have.
    pub(crate) slot: Option<Slot>,
}

impl Suspended {
    /// Audio bytes that were made and not taken.
    pub(crate) fn untaken_bytes(&self) -> u64 {
        untaken_bytes(&self.speeches)
    }

    /// What has become of it by now.
    pub(crate) fn record(&self) -> Record {
        Record::of(&self.session, &self.client, self.untaken_bytes(), Instant::now().into_std())
    }

    fn memory_bytes(&self) -> usize {
        self.session.memory_bytes() + self.untaken_bytes() as usize
    }
}

/// Audio bytes of these that were made and not taken.
pub(crate) fn untaken_bytes(speeches: &VecDeque<Speech>) -> u64 {
    speeches.iter().map(Speech::untaken_bytes).sum()
}

/// What a connection gets that asks for a session.
pub(crate) enum Claim {
    /// The session, which had no connection.
    Suspended(Box<Suspended>),
    /// Another connection has it and was asked to hand it over.
    Live(oneshot::Receiver<Box<Suspended>>),
    /// There was one, and its time is over.
    Expired,
    /// There is none, or not with this token.
    Unknown,
}

/// How much is kept without a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) ttl: Duration,
    pub(crate) sessions: usize,
    pub(crate) bytes: usize,
}

/// All sessions that can be come back to.
#[derive(Clone)]
pub(crate) struct Registry {
    bounds: Bounds,
    frozen: Gauge,
    /// Audio that was made and that nobody heard, in ms.
    wasted_ms: Arc<AtomicU64>,
    telemetry: Arc<Telemetry>,
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<Box<str>, Entry>,
    /// The frozen ones in the order of their age.
    by_age: BTreeMap<u64, Box<str>>,
    next_age: u64,
    frozen_bytes: usize,
    given_up: VecDeque<Box<str>>,
}

struct Entry {
    token: Box<str>,
    state: State,
}

enum State {
    Live(mpsc::Sender<oneshot::Sender<Box<Suspended>>>),
    Suspended { kept: Box<Suspended>, bytes: usize, age: u64, expiry: AbortHandle, _counted: Counted },
}

impl Registry {
    pub(crate) fn new(bounds: Bounds, telemetry: Arc<Telemetry>) -> Registry {
        Registry {
            bounds,
            frozen: Gauge::default(),
            wasted_ms: Arc::default(),
            telemetry,
            sessions: Arc::default(),
        }
    }

    /// Audio that was made and that nobody heard, in all sessions that have ended.
    pub(crate) fn wasted(&self) -> Duration {
        Duration::from_millis(self.wasted_ms.load(Ordering::Relaxed))
    }

    /// Ends a session: counts what was made for it and never heard. Dropping it stops its speech.
    pub(crate) fn end(&self, record: &Record) {
        self.wasted_ms.fetch_add(record.wasted.as_millis() as u64, Ordering::Relaxed);
        self.telemetry.session_ended(record.totals.audio);
    }

    /// Ends a session that nobody has come back to.
    fn end_lost(&self, kept: &Suspended, why: &str) {
        let record = kept.record();
        self.end(&record);
        record.log(Level::INFO, "ended", ClosedBy::Nobody, why);
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions without a connection.
    pub(crate) fn frozen(&self) -> &Gauge {
        &self.frozen
    }

    /// The memory they take, roughly.
    pub(crate) fn frozen_bytes(&self) -> usize {
        self.sessions().frozen_bytes
    }

    /// Makes a session known that lives on a connection, for as long as what is returned does.
    pub(crate) fn register(&self, session: &Session) -> Option<Registration> {
        let token: Box<str> = session.token()?.into();
        let id: Box<str> = session.id().into();
        let (sender, requests) = mpsc::channel(1);
        self.sessions().by_id.insert(id.clone(), Entry { token, state: State::Live(sender) });
        Some(Registration { registry: self.clone(), id, requests })
    }

    /// Asks for a session.
    pub(crate) fn claim(&self, id: &str, token: &str) -> Claim {
        let mut sessions = self.sessions();
        let Some(entry) =
            sessions.by_id.get(id).filter(|entry| is_same(entry.token.as_bytes(), token.as_bytes()))
        else {
            let is_given_up = sessions.given_up.iter().any(|known| **known == *id);
            return if is_given_up { Claim::Expired } else { Claim::Unknown };
        };
        match &entry.state {
            State::Live(sender) => {
                let (answer, kept) = oneshot::channel();
                // One request at a time: a second one is refused by a `kept` that never comes.
                let _ = sender.try_send(answer);
                Claim::Live(kept)
            }
            State::Suspended { .. } => match sessions.take(id) {
                Some(kept) => Claim::Suspended(kept),
                None => Claim::Unknown,
            },
        }
    }

    /// Keeps a session that has lost its connection. Beyond the bounds the oldest is given up.
    pub(crate) fn suspend(&self, kept: Box<Suspended>) {
        let (Some(token), id) = (kept.session.token(), kept.session.id()) else { return };
        let (token, id): (Box<str>, Box<str>) = (token.into(), id.into());
        let bytes = kept.memory_bytes();
        let expiry = {
            let (registry, id, ttl) = (self.clone(), id.clone(), self.bounds.ttl);
            tokio::spawn(async move {
                sleep(ttl).await;
                registry.give_up(&id);
            })
        };
        let mut sessions = self.sessions();
        let age = sessions.next_age;
        sessions.next_age += 1;
        sessions.by_age.insert(age, id.clone());
        sessions.frozen_bytes += bytes;
        let expiry = expiry.abort_handle();
        let state = State::Suspended { kept, bytes, age, expiry, _counted: self.frozen.enter() };
        sessions.by_id.insert(id, Entry { token, state });
        let mut oldest = Vec::new();
        while sessions.by_age.len() > self.bounds.sessions || sessions.frozen_bytes > self.bounds.bytes {
            let Some(id) = sessions.by_age.values().next().cloned() else { break };
            oldest.extend(sessions.give_up(&id));
        }
        drop(sessions);
        let why = "nobody came back, and others needed the room";
        oldest.iter().for_each(|kept| self.end_lost(kept, why));
    }

    /// Ends all that wait for their clients: the server is going away.
    pub(crate) fn end_all(&self) {
        let mut all = Vec::new();
        {
            let mut sessions = self.sessions();
            while let Some(id) = sessions.by_age.values().next().cloned() {
                all.extend(sessions.give_up(&id));
            }
        }
        all.iter().for_each(|kept| self.end_lost(kept, "the server is going away"));
    }

    fn give_up(&self, id: &str) {
        // The lock is let go before anything is dropped.
        let kept = self.sessions().give_up(id);
        if let Some(kept) = kept {
            self.end_lost(&kept, "nobody came back in time");
        }
    }
}

impl Sessions {
    /// Takes an entry out, and gives back the room that many have left behind.
    fn remove(&mut self, id: &str) -> Option<Entry> {
        let entry = self.by_id.remove(id);
        if self.by_id.capacity() > MAX_IDLE_ROOM.max(self.by_id.len() * 8) {
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
        entry
    }

    /// Takes a frozen session out.
    fn take(&mut self, id: &str) -> Option<Box<Suspended>> {
        if !matches!(self.by_id.get(id)?.state, State::Suspended { .. }) {
            return None;
        }
        match self.remove(id)?.state {
            State::Suspended { kept, bytes, age, expiry, .. } => {
                expiry.abort();
                self.by_age.remove(&age);
                self.frozen_bytes -= bytes;
                Some(kept)
            }
            State::Live(_) => None,
        }
    }

    fn give_up(&mut self, id: &str) -> Option<Box<Suspended>> {
        let kept = self.take(id)?;
        if self.given_up.len() == MAX_REMEMBERED {
            self.given_up.pop_front();
        }
        self.given_up.push_back(id.into());
        Some(kept)
    }
}

/// A connection's side of a session that can be come back to.
pub(crate) struct Registration {
    registry: Registry,
    id: Box<str>,
    requests: mpsc::Receiver<oneshot::Sender<Box<Suspended>>>,
}

impl Registration {
    /// The next request to hand the session over.
    pub(crate) fn requests(&mut self) -> &mut mpsc::Receiver<oneshot::Sender<Box<Suspended>>> {
        &mut self.requests
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Whoever waits for the session learns now that it has to look again.
        self.requests.close();
        let mut sessions = self.registry.sessions();
        let is_ours = sessions
            .by_id
            .get(&self.id)
            .is_some_and(|entry| matches!(&entry.state, State::Live(sender) if sender.is_closed()));
        if is_ours {
            sessions.remove(&self.id);
        }
    }
}
