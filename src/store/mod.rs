//! The store that several servers share, so that any of them continues any session.
//!
//! A session is in it as one record, which its owner writes. A claim makes another server the owner: it
//! raises the session's *epoch*, and no record of a lower epoch is written any more. The owner before learns
//! of it from its next write, or from a message of the store, whichever comes first.
//!
//! Nothing waits for the store for long. A caller of [`Store::put`] or [`Store::claim`] waits as long as it
//! likes; while the store cannot be reached, each answer is [`Lost`] at once.
//!
//! Without the feature `redis` there is no [`Store`].

mod record;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "redis")]
pub(crate) use self::redis::Store;
pub(crate) use record::{Key, Record};

#[cfg(not(feature = "redis"))]
use crate::access::credential::Token;
use std::sync::Arc;
use std::time::Duration;

/// The answer did not come: the store cannot be reached, or is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// Answer to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
pub(crate) enum Written {
    /// It is in the store.
    Kept,
    /// Another server has claimed the session.
    Stale,
}

/// Answer to a question for a session, or to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
pub(crate) enum Claimed {
    /// The store has no such session.
    Unknown,
    /// The token is another one.
    Forbidden,
    /// The server that asks has the session, with the epoch that it named.
    Owned,
    /// Another server has the session.
    Elsewhere {
        /// Its epoch.
        epoch: u64,
        /// The record, for [`Record::decode`].
        record: String,
    },
    /// From now on the server that asks has the session.
    Moved {
        /// The new epoch.
        epoch: u64,
        /// The epoch of the record.
        before: u64,
        /// The record, for [`Record::decode`].
        record: String,
        /// True if the server that had the session is there, and may [give](Store::give) more of it.
        is_alive: bool,
        /// Time since it was claimed from the server that last wrote it; `None` if that is the one that had it.
        bare_for: Option<Duration>,
    },
}

/// Settings of a store.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
pub(crate) struct Settings {
    /// Time for which a record is kept after it was written.
    pub(crate) ttl: Duration,
    /// Name of this server among the others.
    pub(crate) owner: String,
}

/// A message that the store passes on.
#[derive(Debug)]
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
pub(crate) enum News<'a> {
    /// The session with this id, which this server had, was claimed, and has this epoch since.
    Moved(&'a str, u64),
    /// It is time to [share](Store::share) what clients have.
    Tick,
    /// A server that had the session with this id gives this record of it to the one with this epoch; without text it
    /// has nothing to give.
    Given(&'a str, u64, &'a str),
}

/// Takes a message of the store.
pub(crate) type OnNews = Arc<dyn Fn(News<'_>) + Send + Sync>;

/// There is none without the feature `redis`.
#[cfg(not(feature = "redis"))]
#[derive(Debug)]
pub(crate) enum Store {}

#[cfg(not(feature = "redis"))]
#[allow(clippy::needless_pass_by_value, clippy::unused_async)] // They stand for those of the feature.
impl Store {
    pub(crate) fn open(_: &str, _: Settings, _: OnNews) -> Result<Store, String> {
        Err("this program was built without a store; build it with --features redis".to_owned())
    }

    pub(crate) fn is_up(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_expected(&self) -> bool {
        match *self {}
    }

    pub(crate) fn key(&self, _: &str, _: &Token, _: u64) -> Key {
        match *self {}
    }

    pub(crate) fn presence(&self) -> Presence {
        match *self {}
    }

    pub(crate) fn ttl(&self) -> Duration {
        match *self {}
    }

    pub(crate) fn put(&self, _: &Key, _: String) -> Pending<Written> {
        match *self {}
    }

    pub(crate) fn remove(&self, _: &Key) {
        match *self {}
    }

    pub(crate) fn claim(&self, _: &str, _: &Token, _: Option<u64>, _: Option<u64>) -> Pending<Claimed> {
        match *self {}
    }

    pub(crate) fn find(&self, _: &str, _: &Token, _: Option<u64>) -> Pending<Claimed> {
        match *self {}
    }

    pub(crate) fn give(&self, _: &str, _: String) -> Pending<()> {
        match *self {}
    }

    pub(crate) fn spend(&self, _: &Token, _: Duration) -> Pending<bool> {
        match *self {}
    }

    pub(crate) async fn flush(&self, _: Duration) {
        match *self {}
    }

    pub(crate) fn metrics(&self) -> String {
        match *self {}
    }
}

/// Shows that there is a store, to the compiler as well: without the feature no value with one exists, and the program
/// has no code for it.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence;
#[cfg(not(feature = "redis"))]
pub(crate) type Presence = std::convert::Infallible;

/// An answer that comes.
#[cfg(not(feature = "redis"))]
pub(crate) type Pending<T> = std::future::Ready<Result<T, Lost>>;
#[cfg(feature = "redis")]
pub(crate) use self::redis::Pending;
