//! The part of a connection that keeps its session in the store.
//!
//! A record is the whole session. It is written ahead: no audio of a sentence leaves before the text that it was
//! made from is in the store, or [`PATIENCE`] has passed. Audio itself is in no record, since an engine that
//! repeats itself speaks it again; so a long text that is only spoken is written down now and then.

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

    /// Returns the output if it may be carried out now, and keeps it otherwise: that a cancel is done is not said
    /// before the store has it, and nothing is said before that.
    pub(super) fn pass(&mut self, output: Output, store: &Store) -> Option<Output> {
        let is_said = matches!(output, Output::Send(_) | Output::Close(_));
        let is_cancel = matches!(output, Output::Send(ServerMessage::Cancelled(_))) && store.is_up();
        if !is_said || self.held.is_empty() && !is_cancel {
            return Some(output);
        }
        self.held.push(output);
        None
    }

    /// Writes the session down if it is time. `has_begun` is true if it has begun a sentence since the last call.
    /// Returns true if audio has to wait.
    pub(super) fn keep(
        &mut self,
        session: &Session,
        has_begun: bool,
        store: &Store,
        fingerprint: &str,
        now: Instant,
    ) -> bool {
        let is_changed = self.written != Some(session.changes());
        let is_waited_for = is_changed && (has_begun || !self.held.is_empty());
        let is_due = is_waited_for || is_changed && now >= self.earliest || now >= self.refresh_at;
        if is_due && !(store.is_up() && session.is_resumable()) {
            self.put_off(now);
        } else if is_due {
            self.write(session, store, fingerprint, now);
            if is_waited_for {
                self.gate_until = Some(now + PATIENCE);
            }
        }
        self.gate_until.is_some()
    }

    /// Writes the session down now.
    pub(super) fn write(&mut self, session: &Session, store: &Store, fingerprint: &str, now: Instant) {
        let record = Record::encode(session, fingerprint, now.into_std());
        let pause = Duration::from_micros(record.len() as u64 * 1_000_000 / BYTES_PER_SEC);
        self.written = Some(session.changes());
        self.earliest = now + GATHER.max(pause);
        self.refresh_at = now + self.refresh;
        self.pending = Some(store.put(&self.key, record));
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
            if *answer == Err(Lost) {
                self.put_off(Instant::now());
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
    pub(super) fn next_time(&self, session: &Session) -> Instant {
        let is_changed = self.written != Some(session.changes());
        let write_at = if is_changed { self.earliest.min(self.refresh_at) } else { self.refresh_at };
        self.gate_until.map_or(write_at, |until| until.min(write_at))
    }

    /// Lets audio wait no longer if it has waited long enough. Returns true if it still has to wait.
    pub(super) fn on_time(&mut self, now: Instant) -> bool {
        self.gate_until = self.gate_until.filter(|until| now < *until);
        self.gate_until.is_some()
    }
}
