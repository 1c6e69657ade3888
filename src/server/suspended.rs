//! The registry of sessions that outlive their connection: found by id, opened by token, kept for
//! `resume_ttl`.
//!
//! A connection owns its session. When the connection is lost, the session moves in here by value,
//! with the speech that is in flight for it, and out again when its client reconnects. While the
//! connection lives, a second connection asks for the session through here. The lock is held for a
//! look-up, never for a wait.

use super::metrics::{ClosedBy, Telemetry};
use super::report::Record;
use super::service::Shared;
use crate::access::credential::is_same;
use crate::access::{ClientId, SessionSlot, ShareKey, Shares};
use crate::gauge::{Counted, Gauge};
use crate::script::{Script, ScriptError};
use crate::session::{Misplaced, Place, Session};
use crate::store::{self, Key};
use crate::tts::{Listener, Speech};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::Level;

/// Number of expired sessions whose ids are remembered, to tell their clients that they have expired.
const MAX_REMEMBERED: usize = 1024;

/// Entries for which the map of sessions always keeps room.
const MAX_IDLE_ROOM: usize = 64;

/// Time for which a suspended session keeps a request to its writer. The text so far is kept longer.
const WRITER_PATIENCE: Duration = Duration::from_secs(10);

/// A session without a connection, the speech in flight for it, and the answer that is being written.
/// Nothing takes speech or text from them, so both stop when their channels are full.
pub(crate) struct Suspended {
    pub(crate) session: Session,
    pub(crate) speeches: VecDeque<Speech>,
    /// Tells the engine that the client cannot hear the speech.
    pub(crate) listener: Listener,
    pub(crate) script: Option<Box<Script>>,
    /// The client that had the connection.
    pub(crate) client: ClientId,
    /// Counts the session among those of its client.
    pub(crate) slot: Option<SessionSlot>,
    /// The right to write it to the store, if it is there.
    pub(crate) key: Option<Key>,
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

    /// Writes the session to the store.
    pub(super) fn keep(&self, shared: &Shared) {
        if let (Some(key), Some(store)) = (&self.key, &shared.store) {
            let encode = match *shared.stop.borrow() {
                true => store::Record::encode_whole,
                false => store::Record::encode,
            };
            drop(store.put(key, encode(&self.session, &shared.fingerprint, Instant::now().into_std())));
        }
    }

    fn epoch(&self) -> u64 {
        self.key.as_ref().map_or(0, Key::epoch)
    }

    fn memory_bytes(&self) -> usize {
        self.session.memory_bytes() + self.buffered_bytes() as usize
    }
}

/// Audio bytes that are buffered in this speech.
pub(crate) fn buffered_bytes(speeches: &VecDeque<Speech>) -> u64 {
    speeches.iter().map(Speech::buffered_bytes).sum()
}

/// A session on its way to the connection that asked for it.
pub(crate) struct Granted {
    pub(crate) suspended: Box<Suspended>,
    pub(crate) registration: Registration,
}

/// Answer to a connection that waits for a session.
pub(crate) type Turn = Result<Box<Granted>, Misplaced>;

/// Answer to a connection that asks for a session.
pub(crate) enum Claim {
    /// The session had no connection.
    Granted(Box<Granted>),
    /// Another connection has the session, and hands it over once it is this one's turn and its ticket was
    /// confirmed. Without an answer there is no session any more.
    Waiting(oneshot::Receiver<Turn>, Ticket),
    /// The session cannot continue at this place. It still waits.
    Misplaced(Misplaced),
    /// The session was there and has expired.
    Expired,
    /// There is no such session, or it has another token.
    Unknown,
}

/// A session that another server has claimed.
pub(crate) enum Released {
    /// It was suspended here.
    Suspended(Box<Suspended>, Leaving),
    /// A connection has it, or it is on its way, or here anew.
    Busy,
    /// This server does not have it.
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
    next_ticket: u64,
    /// Ids of the suspended sessions, and their memory, counted for each client.
    shares: Shares<ClientId, Box<str>>,
    /// Ids of sessions that have expired, counted for each client.
    expired: Shares<ClientId, Box<str>>,
    /// Sessions that are on their way to the store.
    leaving: HashSet<Box<str>>,
}

/// A session, from its first resumable stream to its end, wherever it is.
struct Entry {
    token: Box<str>,
    /// Epoch in the store; 0 if it is not there.
    epoch: u64,
    state: State,
    /// Connections that ask for the session, in the order of their `recover`. Each gets it in its turn, so
    /// that the last one keeps it. A connection waits in one queue at most.
    waiting: VecDeque<Waiter>,
}

/// A place in the queue of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

struct Waiter {
    ticket: Ticket,
    /// True if its client was there after it had its place in the queue: it is no socket that died before a
    /// connection ahead of it asked.
    is_confirmed: bool,
    place: Place,
    answer: oneshot::Sender<Turn>,
}

enum State {
    /// A connection has the session, or is about to get it. This wakes it when another one asks.
    Live(mpsc::Sender<()>),
    Suspended {
        session: Box<Suspended>,
        key: ShareKey,
        expiry: AbortHandle,
        _counted: Counted,
    },
}

impl Waiter {
    /// True if it leaves the queue now: it gets its answer, or has gone.
    fn is_next(&self) -> bool {
        self.is_confirmed || self.answer.is_closed()
    }
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

    /// Counts the end of an answer over HTTP: its audio, and the audio that was wasted.
    pub(crate) fn end_answer(&self, audio: Duration, wasted: Duration) {
        self.wasted_ms.fetch_add(wasted.as_millis() as u64, Ordering::Relaxed);
        self.telemetry.session_ended(audio);
    }

    /// Counts and logs a suspended session that has ended.
    pub(super) fn end_suspended(&self, session: &Suspended, why: &str) {
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

    /// Lets other connections find a session that has a connection, until the returned value is dropped. It has
    /// this epoch in the store, or 0.
    /// `None` without a token, and if it is there with a higher one.
    pub(crate) fn register(&self, session: &Session, epoch: u64) -> Option<Registration> {
        let token: Box<str> = session.token()?.into();
        let id: Box<str> = session.id().into();
        let (wake, requests) = mpsc::channel(1);
        let entry = Entry { token, epoch, state: State::Live(wake), waiting: VecDeque::new() };
        let mut sessions = self.sessions();
        if sessions.by_id.get(&id).is_some_and(|known| known.epoch > epoch) {
            return None;
        }
        let before = sessions.by_id.insert(id.clone(), entry);
        drop(sessions);
        // The lock is released before a session is dropped.
        drop(before);
        Some(Registration { registry: self.clone(), id, requests })
    }

    /// The epoch of a session in the store, as far as this server knows.
    pub(crate) fn epoch(&self, id: &str) -> Option<u64> {
        self.sessions().by_id.get(id).map(|entry| entry.epoch).filter(|epoch| *epoch > 0)
    }

    /// Lets go of a session that another server has, with an epoch above the one here. A connection learns of it by
    /// the end of its requests.
    pub(crate) fn release(&self, id: &str, epoch: u64) -> Released {
        let (suspended, entry) = {
            let mut sessions = self.sessions();
            match sessions.by_id.get(id) {
                None if !sessions.leaving.contains(id) => return Released::Unknown,
                Some(entry) if entry.epoch < epoch => {}
                _ => return Released::Busy,
            }
            let suspended = sessions.take(id);
            if suspended.is_some() {
                sessions.leaving.insert(id.into());
            }
            (suspended, sessions.remove(id))
        };
        // The lock is released before anything is dropped.
        drop(entry);
        match suspended {
            Some(suspended) => {
                Released::Suspended(suspended, Leaving { registry: self.clone(), id: id.into() })
            }
            None => Released::Busy,
        }
    }

    /// Asks for a session, to continue it at this place.
    pub(crate) fn claim(&self, id: &str, token: &str, place: Place) -> Claim {
        let mut sessions = self.sessions();
        sessions.next_ticket += 1;
        let number = sessions.next_ticket;
        let Some(entry) =
            sessions.by_id.get_mut(id).filter(|entry| is_same(entry.token.as_bytes(), token.as_bytes()))
        else {
            let is_expired = sessions.expired.iter().any(|known| **known == *id);
            return if is_expired { Claim::Expired } else { Claim::Unknown };
        };
        match &entry.state {
            // Others may wait even for a suspended session, until they are confirmed.
            State::Suspended { session, .. }
                if entry.waiting.iter().all(|waiter| waiter.answer.is_closed()) =>
            {
                if let Err(why) = session.session.check_place(&place) {
                    return Claim::Misplaced(why);
                }
                let (wake, requests) = mpsc::channel(1);
                match sessions.wake(id, wake) {
                    Some(suspended) => {
                        let registration = Registration { registry: self.clone(), id: id.into(), requests };
                        Claim::Granted(Box::new(Granted { suspended, registration }))
                    }
                    None => Claim::Unknown,
                }
            }
            _ => {
                let (answer, turn) = oneshot::channel();
                entry.waiting.retain(|waiter| !waiter.answer.is_closed());
                let ticket = Ticket(number);
                entry.waiting.push_back(Waiter { ticket, is_confirmed: false, place, answer });
                Claim::Waiting(turn, ticket)
            }
        }
    }

    /// Lets a connection get the session when it is its turn.
    pub(crate) fn confirm(&self, id: &str, ticket: Ticket) {
        if let Some(entry) = self.sessions().by_id.get_mut(id)
            && let Some(waiter) = entry.waiting.iter_mut().find(|waiter| waiter.ticket == ticket)
        {
            waiter.is_confirmed = true;
        }
        self.wake(id);
    }

    /// Has the queue of a session looked at: a connection in it was confirmed, or has gone.
    pub(crate) fn wake(&self, id: &str) {
        let mut sessions = self.sessions();
        let Some(entry) = sessions.by_id.get(id) else { return };
        if let State::Live(wake) = &entry.state {
            // If the connection is awake already it sees the whole queue.
            let _ = wake.try_send(());
            return;
        }
        if !entry.waiting.front().is_some_and(Waiter::is_next) {
            return;
        }
        let (wake, requests) = mpsc::channel(1);
        let suspended = sessions.wake(id, wake);
        drop(sessions);
        if let Some(suspended) = suspended {
            let registration = Registration { registry: self.clone(), id: id.into(), requests };
            self.suspend(suspended, Some(registration));
        }
    }

    /// Keeps a session that has lost its connection, unless another one waits for it. Beyond a limit on all
    /// sessions, the oldest session of the client that holds most ends.
    pub(crate) fn suspend(&self, session: Box<Suspended>, registration: Option<Registration>) {
        let Some(mut registration) =
            registration.or_else(|| self.register(&session.session, session.epoch()))
        else {
            return;
        };
        let mut session = session;
        let bytes = session.memory_bytes();
        loop {
            while let Some(answer) = registration.next_waiter(&session.session) {
                match registration.hand_over(session, answer) {
                    Ok(()) => return,
                    Err(granted) => Granted { suspended: session, registration } = *granted,
                }
            }
            match self.keep(session, bytes, &registration) {
                Ok(()) => return,
                Err(back) => session = back,
            }
        }
    }

    /// Keeps a session for which no connection waits.
    ///
    /// # Errors
    /// One waits by now.
    fn keep(
        &self,
        session: Box<Suspended>,
        bytes: usize,
        registration: &Registration,
    ) -> Result<(), Box<Suspended>> {
        let id = &registration.id;
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
        let expiry = expiry.abort_handle();
        let mut sessions = self.sessions();
        let token = session.session.token().unwrap_or_default().into();
        let waiting = sessions.by_id.get_mut(id).map(|entry| std::mem::take(&mut entry.waiting));
        let waiting = waiting.unwrap_or_default();
        if waiting.front().is_some_and(Waiter::is_next) {
            expiry.abort();
            if let Some(entry) = sessions.by_id.get_mut(id) {
                entry.waiting = waiting;
            }
            return Err(session);
        }
        let key = sessions.shares.insert(session.client.clone(), bytes, id.clone());
        let epoch = session.epoch();
        let state = State::Suspended { session, key, expiry, _counted: self.suspended.enter() };
        sessions.by_id.insert(id.clone(), Entry { token, epoch, state, waiting });
        let mut excess = Vec::new();
        while let Some(id) = sessions.excess(self.bounds) {
            excess.extend(sessions.expire(&id));
        }
        drop(sessions);
        let why = "the client did not reconnect, and other sessions needed the room";
        excess.iter().for_each(|session| self.end_suspended(session, why));
        Ok(())
    }

    /// Notes that a session is on its way to the store, until the returned value is dropped: this server does not say
    /// meanwhile that it has nothing of it.
    pub(super) fn leaving(&self, id: &str) -> Leaving {
        self.sessions().leaving.insert(id.into());
        Leaving { registry: self.clone(), id: id.into() }
    }

    /// Takes the suspended sessions that have work which another server cannot do again: the server shuts down.
    pub(crate) fn take_unfinished(&self) -> impl Iterator<Item = (Box<Suspended>, Leaving)> {
        let mut sessions = self.sessions();
        let unfinished = sessions.by_id.iter().filter(|(_, entry)| match &entry.state {
            State::Suspended { session, .. } => session.key.is_some() && session.has_work(),
            State::Live(_) => false,
        });
        let ids: Vec<Box<str>> = unfinished.map(|(id, _)| id.clone()).collect();
        sessions.leaving.extend(ids.iter().cloned());
        let leave = |id: Box<str>| Some((sessions.take(&id)?, Leaving { registry: self.clone(), id }));
        let taken: VecDeque<_> = ids.into_iter().filter_map(leave).collect();
        taken.into_iter()
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

    /// Takes a suspended session, whose next connection is woken by `wake`. Its entry stays, so that others
    /// find it.
    fn wake(&mut self, id: &str, wake: mpsc::Sender<()>) -> Option<Box<Suspended>> {
        let entry = self.by_id.get_mut(id)?;
        match std::mem::replace(&mut entry.state, State::Live(wake)) {
            State::Suspended { session, key, expiry, .. } => {
                expiry.abort();
                self.shares.remove(key);
                Some(session)
            }
            live @ State::Live(_) => {
                entry.state = live;
                None
            }
        }
    }

    /// Removes a suspended session.
    fn take(&mut self, id: &str) -> Option<Box<Suspended>> {
        let (wake, _) = mpsc::channel(1);
        let session = self.wake(id, wake)?;
        self.remove(id);
        Some(session)
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

/// A session that is on its way to the store.
pub(crate) struct Leaving {
    registry: Registry,
    id: Box<str>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.registry.sessions().leaving.remove(&self.id);
    }
}

/// The entry of a session that has a connection, owned by that connection.
pub(crate) struct Registration {
    registry: Registry,
    id: Box<str>,
    requests: mpsc::Receiver<()>,
}

impl Registration {
    /// Wakes the connection when another one asks for the session.
    pub(crate) fn requests(&mut self) -> &mut mpsc::Receiver<()> {
        &mut self.requests
    }

    /// The connection whose turn it is to get this session. Those that ask for a wrong place are refused.
    pub(crate) fn next_waiter(&mut self, session: &Session) -> Option<oneshot::Sender<Turn>> {
        loop {
            let Waiter { place, answer, .. } = {
                let mut sessions = self.registry.sessions();
                let waiting = &mut sessions.by_id.get_mut(&self.id)?.waiting;
                if !waiting.front()?.is_next() {
                    return None;
                }
                waiting.pop_front()?
            };
            match session.check_place(&place) {
                _ if answer.is_closed() => {}
                Ok(()) => return Some(answer),
                Err(why) => drop(answer.send(Err(why))),
            }
        }
    }

    /// Hands the session over, with its entry.
    ///
    /// # Errors
    /// The other connection has gone: this one still has the session.
    pub(crate) fn hand_over(
        self,
        suspended: Box<Suspended>,
        answer: oneshot::Sender<Turn>,
    ) -> Result<(), Box<Granted>> {
        let (wake, requests) = mpsc::channel(1);
        let mut sessions = self.registry.sessions();
        if let Some(entry) = sessions.by_id.get_mut(&self.id) {
            if !entry.waiting.is_empty() {
                let _ = wake.try_send(());
            }
            entry.state = State::Live(wake);
        }
        drop(sessions);
        let registration = Registration { registry: self.registry.clone(), id: self.id.clone(), requests };
        match answer.send(Ok(Box::new(Granted { suspended, registration }))) {
            Err(Ok(granted)) => Err(granted),
            Ok(()) | Err(Err(_)) => Ok(()),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Connections that wait for the session learn that there is none.
        self.requests.close();
        let mut sessions = self.registry.sessions();
        let is_ours = sessions
            .by_id
            .get(&self.id)
            .is_some_and(|entry| matches!(&entry.state, State::Live(wake) if wake.is_closed()));
        if is_ours {
            sessions.remove(&self.id);
        }
    }
}
