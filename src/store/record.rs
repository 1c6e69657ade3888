//! Records of sessions, as they are in the store. Pure: no I/O.

#[cfg(feature = "redis")]
use crate::access::credential::Token;
use crate::session::{Session, Snapshot};
#[cfg(feature = "redis")]
use serde::{Deserialize, Serialize};
#[cfg(feature = "redis")]
use std::fmt::Write;
#[cfg(feature = "redis")]
use std::sync::Arc;
use std::time::Instant;

/// The form of a record. A server that knows another one takes it for no session.
#[cfg(feature = "redis")]
const VERSION: u32 = 1;

/// A session in the store, and the right to write it.
#[cfg(feature = "redis")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) id: Arc<str>,
    /// SHA-256 of the session's token, in hexadecimal. The store has no token.
    pub(super) lock: Arc<str>,
    pub(super) epoch: u64,
}

/// There is none without a store.
#[cfg(not(feature = "redis"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {}

#[cfg(feature = "redis")]
impl Key {
    pub(super) fn new(id: &str, token: &Token, epoch: u64) -> Key {
        Key { id: id.into(), lock: lock(token).into(), epoch }
    }

    /// The epoch of its owner.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[cfg(not(feature = "redis"))]
impl Key {
    pub(crate) fn epoch(&self) -> u64 {
        match *self {}
    }
}

/// SHA-256 of a token, in hexadecimal.
#[cfg(feature = "redis")]
pub(super) fn lock(token: &Token) -> String {
    token.hash().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A session as another server can continue it.
#[derive(Debug)]
#[cfg_attr(feature = "redis", derive(Serialize, Deserialize))]
pub(crate) struct Record {
    #[cfg(feature = "redis")]
    #[serde(rename = "v")]
    version: u32,
    /// Tells engines apart that may speak a sentence differently.
    #[cfg_attr(feature = "redis", serde(rename = "fp"))]
    pub(crate) fingerprint: String,
    #[cfg_attr(feature = "redis", serde(rename = "s"))]
    pub(crate) snapshot: Snapshot,
}

#[cfg(feature = "redis")]
impl Record {
    /// Writes a session down, as [`Session::snapshot`] says, which is spoken by the engine of this fingerprint.
    pub(crate) fn encode(session: &Session, fingerprint: &str, now: Instant) -> String {
        Record::of(session.snapshot(now), fingerprint)
    }

    /// The same with the audio that its client may still need, if its engine does not repeat itself.
    pub(crate) fn encode_whole(session: &Session, fingerprint: &str, now: Instant) -> String {
        match session.is_repeatable() {
            true => Record::encode(session, fingerprint, now),
            false => Record::of(session.snapshot_with_audio(now), fingerprint),
        }
    }

    fn of(snapshot: Snapshot, fingerprint: &str) -> String {
        let record = Record { version: VERSION, fingerprint: fingerprint.to_owned(), snapshot };
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// True if the server that had the session may have more of it that no other one can do again. If that has not
    /// written it since it claimed it, the record may be one that it was [given](super::Store::give).
    pub(crate) fn lacks_work(&self, is_bare: bool) -> bool {
        self.snapshot.lacks_work() && !(is_bare && self.snapshot.has_audio())
    }

    /// Reads a record; `None` if it has another form.
    pub(crate) fn decode(text: &str) -> Option<Record> {
        #[derive(Deserialize)]
        struct Form {
            v: u32,
        }
        let form: Form = serde_json::from_str(text).ok()?;
        if form.v != VERSION { None } else { serde_json::from_str(text).ok() }
    }
}

/// Without a store there is no record, and the program has no code for them.
#[cfg(not(feature = "redis"))]
impl Record {
    pub(crate) fn encode(_: &Session, _: &str, _: Instant) -> String {
        String::new()
    }

    pub(crate) fn encode_whole(_: &Session, _: &str, _: Instant) -> String {
        String::new()
    }

    pub(crate) fn decode(_: &str) -> Option<Record> {
        None
    }

    pub(crate) fn lacks_work(&self, _: bool) -> bool {
        false
    }
}
