//! The part of a connection that keeps its session in the store.
//!
//! A record is the whole session. It is written ahead: a stream is not announced, and no audio of a sentence leaves,
//! before the text that it is made from is in the store, or [`PATIENCE`] has passed. Audio itself is in no record, since
//! an engine that repeats itself speaks it again; so a long text that is only spoken is written down now and then. A
//! server that stops exports the session, with audio if its engine does not repeat itself, before it closes the
//! connection: the client may be at another server a moment later.

use crate::session::message::ServerMessage;
use crate::session::{Output, Session};
use crate::store::{Key, Lost, Pending, Presence, Record, Store, Written};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for the store before audio leaves.
const PATIENCE: Duration = Duration::from_millis(30);

/// The longest wait for the store before a session that is exported may change again.
const EXPORT_PATIENCE: Duration = Duration::from_secs(1);

/// Time after which an export is tried again for which the store had no room.
const EXPORT_RETRY: Duration = Duration::from_millis(250);

/// Time in which changes gather that no audio waits for.
const GATHER: Duration = Duration::from_millis(100);

/// Bytes of records in a second, at most, for changes that no audio waits for.
const BYTES_PER_SEC: u64 = 256 * 1024;

/// Time after which a record is tried again that was lost.
const RETRY: Duration = Duration::from_secs(1);

/// Time after which a record is written again, changed or not. It is also what an engine has to speak again for a
/// client of another server.
const REFRESH: Duration = Duration::from_secs(20);

/// A session in the store.
pub(super) struct Keeping {
    key: Key,
    store: Presence,
    /// Changes of the session at its last record.
    written: Option<u64>,
    /// When changes that no audio waits for are written.
    earliest: Instant,
    /// When the record is written again in any case.
    refresh_at: Instant,
    refresh: Duration,
    pending: Option<Pending<Written>>,
    /// Until then audio waits for the record.
    gate_until: Option<Instant>,
    /// Outputs that wait until the record is there.
    held: Vec<Output>,
    export: Export,
}

/// State of the record that the session is left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Export {
    None,
    /// It will be once no sentence is in flight, and this time has come.
    Wanted(Instant),
    /// The store was asked.
    Asked,
    /// The store has it, or cannot be waited for.
    Done,
}

/// A session in the store, boxed: few servers have one. Without the feature there is none, and nothing to box.
#[cfg(feature = "redis")]
pub(super) type Shelved = Box<Keeping>;
#[cfg(not(feature = "redis"))]
pub(super) type Shelved = Keeping;

impl Keeping {
    /// Keeps a session with this key in this store.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    pub(super) fn new(key: Key, store: &Store, now: Instant) -> Shelved {
        Shelved::from(Keeping {
            key,
            store: store.presence(),
            written: None,
            earliest: now,
            refresh_at: now,
            refresh: REFRESH.min(store.ttl() / 3),
            pending: None,
            gate_until: None,
            held: Vec::new(),
            export: Export::None,
        })
    }

    /// The proof that there is a store.
    pub(super) fn store(&self) -> Presence {
        self.store
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn into_key(self) -> Key {
        self.key
    }

    /// Returns the output if it may be carried out now, and keeps it otherwise: that a stream has begun, or a cancel is
    /// done, is not said before the store has it, and nothing is said before that.
    pub(super) fn pass(&mut self, output: Output, store: &Store) -> Option<Output> {
        let is_said = matches!(output, Output::Send(_) | Output::Close(_));
        let must_be_known =
            matches!(output, Output::Send(ServerMessage::Cancelled(_) | ServerMessage::StreamStart { .. }));
        if !is_said || self.held.is_empty() && !(must_be_known && store.is_up()) {
            return Some(output);
        }
        self.held.push(output);
        None
    }

    /// Writes the session down if it is time. `has_news` is true if it has begun a sentence since the last call,
    /// or has ended one that no engine finds again.
    /// Returns true if audio has to wait.
    pub(super) fn keep(
        &mut self,
        session: &Session,
        has_news: bool,
        store: &Store,
        fingerprint: &str,
        now: Instant,
    ) -> bool {
        if let Export::Wanted(at) = self.export
            && now >= at
            && session.is_settled()
        {
            if store.is_up() && session.is_resumable() {
                self.write(Record::encode_whole(session, fingerprint, now.into_std()), session, store, now);
                self.export = Export::Asked;
                self.gate_until = Some(now + EXPORT_PATIENCE);
            } else {
                self.export = Export::Done;
            }
        }
        if self.is_leaving() {
            return self.gate_until.is_some();
        }
        let is_changed = self.written != Some(session.changes());
        let is_waited_for = is_changed && (has_news || !self.held.is_empty());
        let is_due = is_waited_for || is_changed && now >= self.earliest || now >= self.refresh_at;
        if is_due && !(store.is_up() && session.is_resumable()) {
            self.put_off(now);
        } else if is_due {
            self.write(Record::encode(session, fingerprint, now.into_std()), session, store, now);
            if is_waited_for {
                self.gate_until = Some(now + PATIENCE);
            }
        }
        self.gate_until.is_some()
    }

    fn write(&mut self, record: String, session: &Session, store: &Store, now: Instant) {
        let pause = Duration::from_micros(record.len() as u64 * 1_000_000 / BYTES_PER_SEC);
        self.written = Some(session.changes());
        self.earliest = now + GATHER.max(pause);
        self.refresh_at = now + self.refresh;
        self.pending = Some(store.put(&self.key, record));
    }

    /// True if outputs wait.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Has the session written down for good, as soon as no sentence is in flight.
    pub(super) fn export(&mut self, now: Instant) {
        if self.export == Export::None {
            self.export = Export::Wanted(now);
        }
    }

    /// True if the session is written down for good, and so does not change any more.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.export, Export::Asked | Export::Done)
    }

    /// True if the store has the session for good, or cannot be waited for.
    pub(super) fn is_exported(&self) -> bool {
        self.export == Export::Done
    }

    /// The outputs that have waited, once nothing waits any more.
    pub(super) fn take_held(&mut self) -> Vec<Output> {
        if self.gate_until.is_some() { Vec::new() } else { std::mem::take(&mut self.held) }
    }

    /// Ready with the answer to the last record.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Written, Lost>> {
        let Some(pending) = &mut self.pending else { return Poll::Pending };
        let answer = Pin::new(pending).poll(cx);
        if let Poll::Ready(answer) = &answer {
            self.pending = None;
            self.gate_until = None;
            let now = Instant::now();
            match answer {
                Err(Lost) if self.export == Export::Asked => {
                    self.export = Export::Wanted(now + EXPORT_RETRY);
                }
                Err(Lost) => self.put_off(now),
                Ok(_) if self.export == Export::Asked => self.export = Export::Done,
                Ok(_) => {}
            }
        }
        answer
    }

    /// Tries again in a while, with whatever the session is by then.
    fn put_off(&mut self, now: Instant) {
        self.written = None;
        (self.earliest, self.refresh_at) = (now + RETRY, now + RETRY);
    }

    /// True if an answer is expected.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// When [`keep`](Self::keep) has something to do, or audio has waited long enough.
    pub(super) fn next_time(&self, session: &Session) -> Option<Instant> {
        if self.is_leaving() {
            return self.gate_until;
        }
        let is_changed = self.written != Some(session.changes());
        let write_at = if is_changed { self.earliest.min(self.refresh_at) } else { self.refresh_at };
        let write_at = match self.export {
            Export::Wanted(at) if session.is_settled() => write_at.min(at),
            _ => write_at,
        };
        Some(self.gate_until.map_or(write_at, |until| until.min(write_at)))
    }

    /// Lets audio wait no longer if it has waited long enough. Returns true if it still has to wait.
    pub(super) fn on_time(&mut self, now: Instant) -> bool {
        self.gate_until = self.gate_until.filter(|until| now < *until);
        self.gate_until.is_some()
    }
}
