//! The right to a connection, counted while it exists.

use super::accounts::{ClientId, Connected, SessionSlot};
use super::doorkeeper::Doorkeeper;
use super::notice::Notice;
use super::shares::Key;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Quota of a client that is used up, so that it may start nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaReached {
    /// The client has the largest number of sessions.
    Sessions,
    /// The client has spent its characters for this hour.
    Characters,
    /// The client has been sent all its audio for this hour.
    Audio,
}

/// The right to one connection. Dropping it frees its place.
pub(crate) struct Permit {
    doorkeeper: Arc<Doorkeeper>,
    client: ClientId,
    /// Account of the client; `None` if the server has no limits for each client.
    connected: Option<Connected>,
    /// Set until the connection has shown its credential.
    provisional: Option<Provisional>,
}

/// The place of a connection that has yet to show a credential.
pub(super) struct Provisional {
    pub(super) key: Key,
    pub(super) notice: Arc<Notice>,
}

impl Permit {
    /// Wraps a place that the doorkeeper has counted.
    pub(super) fn new(
        doorkeeper: Arc<Doorkeeper>,
        client: ClientId,
        provisional: Option<Provisional>,
    ) -> Permit {
        Permit { doorkeeper, client, connected: None, provisional }
    }

    /// Keeps the place from now on; false if another connection has it already.
    pub(super) fn confirm(&mut self) -> bool {
        match &self.provisional {
            Some(Provisional { key, .. }) if !self.doorkeeper.confirm(*key) => return false,
            _ => self.provisional = None,
        }
        true
    }

    /// True until the connection has shown its credential. [`poll_displaced`](Permit::poll_displaced) has to be
    /// asked meanwhile.
    pub(crate) fn is_provisional(&self) -> bool {
        self.provisional.is_some()
    }

    /// Ready once the connection has to leave, because another one has its place.
    pub(crate) fn poll_displaced(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.provisional.as_ref().map_or(Poll::Pending, |provisional| provisional.notice.poll(cx))
    }

    /// Returns the client: its name once a credential has shown one, else its address.
    pub(crate) fn client(&self) -> &ClientId {
        &self.client
    }

    /// Counts the connection for `client` from now on; false if that client has too many.
    pub(super) fn assign(&mut self, client: &ClientId, now: Instant) -> bool {
        self.client = client.clone();
        let Some(account) = self.doorkeeper.account(client, now) else { return true };
        match account.connect(now) {
            Some(connected) => self.connected = Some(connected),
            None => return false,
        }
        true
    }

    /// Counts characters handed to the engine; false if the client has spent its quota.
    pub(crate) fn spend_chars(&self, chars: u64, now: Instant) -> bool {
        self.connected.as_ref().is_none_or(|connected| connected.account().spend_chars(chars, now))
    }

    /// True if audio is limited, so that [`spend_audio`](Permit::spend_audio) has to be called.
    pub(crate) fn has_audio_limit(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.account().has_audio_limit())
    }

    /// Counts audio that was sent; false if the client has spent its quota.
    pub(crate) fn spend_audio(&self, audio: Duration, now: Instant) -> bool {
        self.connected.as_ref().is_none_or(|connected| connected.account().spend_audio(audio, now))
    }

    /// True if the client may be sent audio.
    pub(crate) fn has_audio_left(&self, now: Instant) -> bool {
        self.connected.as_ref().is_none_or(|connected| connected.account().has_audio_left(now))
    }

    /// True if sessions, characters or audio are limited, so that [`reserve_session`](Permit::reserve_session) and
    /// [`spend_chars`](Permit::spend_chars) have to be called.
    pub(crate) fn has_session_limits(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.account().has_session_limits())
    }

    /// The time until the client has characters and audio left; `None` if it has them.
    pub(crate) fn quota_wait(&self, now: Instant) -> Option<Duration> {
        self.connected.as_ref().and_then(|connected| connected.account().quota_wait(now))
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
        if !account.has_audio_left(now) {
            return Err(QuotaReached::Audio);
        }
        if slot.is_none() {
            *slot = account.start_session(now);
        }
        slot.as_ref().map(|_| ()).ok_or(QuotaReached::Sessions)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A place that was given away is counted by the connection that has it.
        if self.confirm() {
            self.doorkeeper.count_out();
        }
    }
}
