//! The registry of sessions that outlive their connection: found by id, opened by token, kept for
//! `resume_ttl`.
//!
//! A connection owns its session. When the connection is lost, the session moves in here by value,
//! with the speech that is in flight for it, and out again when its client reconnects. While the
//! connection lives, a second connection asks for the session through here. The lock is held for a
//! look-up, never for a wait.

use super::metrics::{ClosedBy, Telemetry};
use super::report::Record;
use crate::access::credential::is_same;
use crate::access::{ClientId, SessionSlot, ShareKey, Shares};
use crate::gauge::{Counted, Gauge};
use crate::script::{Script, ScriptError};
use crate::session::Session;
use crate::tts::Speech;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::Level;

/// Number of expired sessions whose ids are remembered, to tell their clients that they have expired.
const MAX_REMEMBERED: usize = 1024;

/// Time for which a suspended session keeps a request to its writer. The text so far is kept longer.
const WRITER_PATIENCE: Duration = Duration::from_secs(10);

/// Entries for which the map of sessions always keeps room.
const MAX_IDLE_ROOM: usize = 64;

/// A session without a connection, the speech in flight for it, and the answer that is being written.
/// Nothing takes speech or text from them, so both stop when their channels are full.
pub(crate) struct Suspended {
    pub(crate) session: Session,
    pub(crate) speeches: VecDeque<Speech>,
    pub(crate) script: Option<Box<Script>>,
    /// The client that had the connection.
    pub(crate) client: ClientId,
    /// Counts the session among those of its client.
    pub(crate) slot: Option<SessionSlot>,
}

impl Suspended {
    /// Audio bytes that are buffered in its speech.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        buffered_bytes(&self.speeches)
    }

    /// Summary of the session up to now.
    pub(crate) fn record(&self) -> Record {
        Record::of(&self.session, &self.client, self.buffered_bytes(), Instant::now().into_std())
    }

    fn memory_bytes(&self) -> usize {
        self.session.memory_bytes() + self.buffered_bytes() as usize
    }
}

/// Audio bytes that are buffered in this speech.
pub(crate) fn buffered_bytes(speeches: &VecDeque<Speech>) -> u64 {
    speeches.iter().map(Speech::buffered_bytes).sum()
}

/// Answer to a connection that asks for a session.
pub(crate) enum Claim {
    /// The session, which had no connection.
    Suspended(Box<Suspended>),
    /// Another connection has the session and was asked to hand it over.
    Live(oneshot::Receiver<Box<Suspended>>),
    /// The session was there and has expired.
    Expired,
    /// There is no such session, or it has another token.
    Unknown,
}

/// Limits on suspended sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) ttl: Duration,
    pub(crate) sessions: usize,
    pub(crate) bytes: usize,
}

/// All sessions that a client can resume.
#[derive(Clone)]
pub(crate) struct Registry {
    bounds: Bounds,
    suspended: Gauge,
    /// Audio that was synthesised and not heard, in ms.
    wasted_ms: Arc<AtomicU64>,
    telemetry: Arc<Telemetry>,
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<Box<str>, Entry>,
    /// Ids of the suspended sessions, and their memory, counted for each client.
    shares: Shares<ClientId, Box<str>>,
    /// Ids of sessions that have expired, counted for each client.
    expired: Shares<ClientId, Box<str>>,
}

struct Entry {
    token: Box<str>,
    state: State,
}

enum State {
    Live(mpsc::Sender<oneshot::Sender<Box<Suspended>>>),
    Suspended { session: Box<Suspended>, key: ShareKey, expiry: AbortHandle, _counted: Counted },
}

impl Registry {
    pub(crate) fn new(bounds: Bounds, telemetry: Arc<Telemetry>) -> Registry {
        Registry {
            bounds,
            suspended: Gauge::default(),
            wasted_ms: Arc::default(),
            telemetry,
            sessions: Arc::default(),
        }
    }

    /// Audio that was synthesised and not heard, in all sessions that have ended.
    pub(crate) fn wasted(&self) -> Duration {
        Duration::from_millis(self.wasted_ms.load(Ordering::Relaxed))
    }

    /// Counts a session that has ended. The caller drops it, which stops its speech.
    pub(crate) fn end(&self, record: &Record) {
        self.wasted_ms.fetch_add(record.wasted.as_millis() as u64, Ordering::Relaxed);
        self.telemetry.session_ended(record.totals.audio);
    }

    /// Counts and logs a suspended session that has ended.
    fn end_suspended(&self, session: &Suspended, why: &str) {
        let record = session.record();
        self.end(&record);
        record.log(Level::INFO, "ended", ClosedBy::Lost, why);
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of suspended sessions.
    pub(crate) fn suspended(&self) -> &Gauge {
        &self.suspended
    }

    /// Memory that the suspended sessions take, in bytes, roughly.
    pub(crate) fn suspended_bytes(&self) -> usize {
        self.sessions().shares.bytes()
    }

    /// Lets other connections find a session that has a connection, until the returned value is dropped.
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
            let is_expired = sessions.expired.iter().any(|known| **known == *id);
            return if is_expired { Claim::Expired } else { Claim::Unknown };
        };
        match &entry.state {
            State::Live(sender) => {
                let (answer, session) = oneshot::channel();
                // One request at a time: a second one is refused because its `answer` is dropped.
                let _ = sender.try_send(answer);
                Claim::Live(session)
            }
            State::Suspended { .. } => match sessions.take(id) {
                Some(session) => Claim::Suspended(session),
                None => Claim::Unknown,
            },
        }
    }

    /// Keeps a session that has lost its connection. Beyond a limit on all sessions, the oldest session of the
    /// client that holds most ends.
    pub(crate) fn suspend(&self, session: Box<Suspended>) {
        let (Some(token), id) = (session.session.token(), session.session.id()) else { return };
        let (token, id): (Box<str>, Box<str>) = (token.into(), id.into());
        let bytes = session.memory_bytes();
        let expiry = {
            let (registry, id, ttl) = (self.clone(), id.clone(), self.bounds.ttl);
            let patience = session.script.as_ref().map(|_| WRITER_PATIENCE.min(ttl));
            tokio::spawn(async move {
                if let Some(patience) = patience {
                    sleep(patience).await;
                    registry.cut_short(&id);
                }
                sleep(ttl - patience.unwrap_or_default()).await;
                registry.expire(&id);
            })
        };
        let mut sessions = self.sessions();
        let key = sessions.shares.insert(session.client.clone(), bytes, id.clone());
        let expiry = expiry.abort_handle();
        let state = State::Suspended { session, key, expiry, _counted: self.suspended.enter() };
        sessions.by_id.insert(id, Entry { token, state });
        let mut excess = Vec::new();
        while let Some(id) = sessions.excess(self.bounds) {
            excess.extend(sessions.expire(&id));
        }
        drop(sessions);
        let why = "the client did not reconnect, and other sessions needed the room";
        excess.iter().for_each(|session| self.end_suspended(session, why));
    }

    /// Ends all suspended sessions: the server shuts down.
    pub(crate) fn end_all(&self) {
        let mut all = Vec::new();
        {
            let mut sessions = self.sessions();
            while let Some(id) = sessions.shares.oldest().map(|(_, id)| id.clone()) {
                all.extend(sessions.expire(&id));
            }
        }
        all.iter().for_each(|session| self.end_suspended(session, "the server is going away"));
    }

    /// Ends the request to the writer of a suspended session.
    fn cut_short(&self, id: &str) {
        let mut sessions = self.sessions();
        if let Some(Entry { state: State::Suspended { session, .. }, .. }) = sessions.by_id.get_mut(id)
            && let Some(script) = &mut session.script
        {
            let seconds = WRITER_PATIENCE.as_secs();
            script.cut_short(ScriptError::timeout(format!(
                "The answer is cut short: the session had no connection for {seconds} s while it was written."
            )));
        }
    }

    fn expire(&self, id: &str) {
        // The lock is released before the session is dropped.
        let session = self.sessions().expire(id);
        if let Some(session) = session {
            self.end_suspended(&session, "the client did not reconnect in time");
        }
    }
}

impl Sessions {
    /// Removes an entry, and shrinks the map if it has far more room than entries.
    fn remove(&mut self, id: &str) -> Option<Entry> {
        let entry = self.by_id.remove(id);
        if self.by_id.capacity() > MAX_IDLE_ROOM.max(self.by_id.len() * 8) {
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
        entry
    }

    /// The session to give up, if there are more than the bounds allow.
    fn excess(&self, bounds: Bounds) -> Option<Box<str>> {
        let key = if self.shares.len() > bounds.sessions {
            self.shares.oldest_of_most()
        } else if self.shares.bytes() > bounds.bytes {
            self.shares.oldest_of_heaviest()
        } else {
            None
        };
        self.shares.get(key?).cloned()
    }

    /// Removes a suspended session.
    fn take(&mut self, id: &str) -> Option<Box<Suspended>> {
        if !matches!(self.by_id.get(id)?.state, State::Suspended { .. }) {
            return None;
        }
        match self.remove(id)?.state {
            State::Suspended { session, key, expiry, .. } => {
                expiry.abort();
                self.shares.remove(key);
                Some(session)
            }
            State::Live(_) => None,
        }
    }

    /// Removes a suspended session, and remembers its id.
    fn expire(&mut self, id: &str) -> Option<Box<Suspended>> {
        let session = self.take(id)?;
        if self.expired.len() == MAX_REMEMBERED
            && let Some(key) = self.expired.oldest_of_most()
        {
            self.expired.remove(key);
        }
        self.expired.insert(session.client.clone(), 0, id.into());
        Some(session)
    }
}

/// The entry of a session that has a connection, owned by that connection.
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
        // A connection that waits for the session has to look for it again.
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
