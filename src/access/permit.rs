//! The right to a connection, counted while it exists.

use super::accounts::{ClientId, Connected, SessionSlot};
use super::doorkeeper::Doorkeeper;
use std::sync::Arc;
use std::time::Instant;

/// Quota of a client that is used up, so that it may start nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaReached {
    /// The client has the largest number of sessions.
    Sessions,
    /// The client has spent its characters for this hour.
    Characters,
}

/// The right to one connection. Dropping it frees its place.
pub(crate) struct Permit {
    doorkeeper: Arc<Doorkeeper>,
    client: ClientId,
    /// Account of the client; `None` if the server has no limits for each client.
    connected: Option<Connected>,
}

impl Permit {
    /// Wraps a place that the doorkeeper has counted.
    pub(super) fn new(doorkeeper: Arc<Doorkeeper>, client: ClientId) -> Permit {
        Permit { doorkeeper, client, connected: None }
    }

    /// Returns the client: its name once a credential has shown one, else its address.
    pub(crate) fn client(&self) -> &ClientId {
        &self.client
    }

    /// Counts the connection for `client` from now on; false if that client has too many.
    pub(super) fn assign(&mut self, client: &ClientId, now: Instant) -> bool {
        self.client = client.clone();
        let Some(account) = self.doorkeeper.account(client, now) else { return true };
        match account.connect() {
            Some(connected) => self.connected = Some(connected),
            None => return false,
        }
        true
    }

    /// Counts characters handed to the engine; false if the client has spent its quota.
    pub(crate) fn spend_chars(&self, chars: u64, now: Instant) -> bool {
        self.connected.as_ref().is_none_or(|connected| connected.account().spend_chars(chars, now))
    }

    /// True if sessions or characters are limited, so that [`reserve_session`](Permit::reserve_session) and
    /// [`spend_chars`](Permit::spend_chars) have to be called.
    pub(crate) fn has_session_limits(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.account().has_session_limits())
    }

    /// Reserves a place for a session that starts a stream, unless `slot` has one.
    ///
    /// # Errors
    /// The quota that is used up.
    pub(crate) fn reserve_session(
        &self,
        slot: &mut Option<SessionSlot>,
        now: Instant,
    ) -> Result<(), QuotaReached> {
        let Some(account) = self.connected.as_ref().map(Connected::account) else { return Ok(()) };
        if !account.has_chars_left(now) {
            return Err(QuotaReached::Characters);
        }
        if slot.is_none() {
            *slot = account.start_session();
        }
        slot.as_ref().map(|_| ()).ok_or(QuotaReached::Sessions)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.doorkeeper.count_out();
    }
}
