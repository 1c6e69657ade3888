//! Sockets without a session: accepted, and in front of their handshake or behind a refusal.
//!
//! They count from accept. Beyond a limit the socket that has waited longest gives its place, of the client
//! that has most. A socket of a trusted proxy, and one of a Unix socket, stands for a client of its own: many
//! clients share these.

use super::accounts::ClientId;
use super::notice::Notice;
use super::shares::{Key, Shares};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Sockets without a session that are allowed whatever the limits on connections: a browser opens several for
/// the page and what belongs to it.
pub(crate) const FEWEST: usize = 8;

/// Most bytes of requests that have begun and are not complete, of all sockets together.
pub(crate) const HEAD_BYTES: usize = 64 * 1024 * 1024;

/// They are counted in steps of this many, begun ones as whole, so that few reads need the lock.
const HEAD_STEP: usize = 4 * 1024;

/// The owner of a socket, as far as it is known before a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// All sockets of this address.
    Client(ClientId),
    /// This socket alone.
    Alone(u64),
}

/// The sockets without a session.
pub(super) struct Sockets {
    /// Most of all clients.
    most: usize,
    /// Most of one client; `None` is no limit.
    most_of_client: Option<usize>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    waiting: Shares<Owner, Arc<Notice>>,
    /// Number of the next socket that stands for a client of its own.
    next: u64,
}

impl Table {
    fn dismiss(&mut self, key: Option<Key>) -> bool {
        let notice = key.and_then(|key| self.waiting.remove(key));
        notice.iter().for_each(|notice| notice.give());
        notice.is_some()
    }
}

impl Sockets {
    pub(super) fn new(max_connections: usize, max_client_connections: Option<usize>) -> Sockets {
        Sockets {
            most: max_connections.max(FEWEST),
            most_of_client: max_client_connections.map(|most| most.max(FEWEST)),
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a socket. `client` is `None` if it stands for a client of its own.
    pub(super) fn enter(self: &Arc<Self>, client: Option<ClientId>) -> Waiting {
        let owner = client.map_or_else(
            || {
                let mut table = self.table();
                table.next += 1;
                Owner::Alone(table.next)
            },
            Owner::Client,
        );
        let mut waiting = Waiting {
            sockets: Arc::clone(self),
            owner,
            notice: Arc::default(),
            key: None,
            has_displaced: false,
            held: AtomicUsize::new(0),
        };
        waiting.set(true);
        waiting
    }

    /// Has this many sockets closed, if there are as many. Returns false if there is none.
    pub(super) fn dismiss(&self, count: usize) -> bool {
        let mut table = self.table();
        (0..count).fold(false, |any, _| {
            let key = table.waiting.oldest_of_most();
            table.dismiss(key) | any
        })
    }
}

/// A counted socket. Dropping it ends the count.
pub(crate) struct Waiting {
    sockets: Arc<Sockets>,
    owner: Owner,
    notice: Arc<Notice>,
    /// Set while the socket counts.
    key: Option<Key>,
    has_displaced: bool,
    /// Bytes of its request that are counted.
    held: AtomicUsize,
}

impl Waiting {
    /// Counts the socket from now on, or no longer: it has a session.
    pub(crate) fn set(&mut self, is_waiting: bool) {
        if is_waiting == self.key.is_some() {
            return;
        }
        let mut table = self.sockets.table();
        if !is_waiting {
            if let Some(key) = self.key.take() {
                table.waiting.remove(key);
            }
            return;
        }
        let is_over = |most: usize| table.waiting.held_by(&self.owner) >= most;
        let gives = match self.sockets.most_of_client {
            Some(most) if matches!(self.owner, Owner::Client(_)) && is_over(most) => {
                table.waiting.oldest_of(&self.owner)
            }
            _ if table.waiting.len() >= self.sockets.most => table.waiting.oldest_of_most(),
            _ => None,
        };
        self.has_displaced = table.dismiss(gives);
        self.held.store(0, Ordering::Relaxed);
        self.key = Some(table.waiting.insert(self.owner.clone(), 0, Arc::clone(&self.notice)));
    }

    /// Counts these bytes of a request that is not complete, in place of those before. Beyond [`HEAD_BYTES`] of
    /// all sockets the oldest one of the client that holds most has to leave.
    pub(crate) fn hold(&self, bytes: usize) {
        let bytes = bytes.next_multiple_of(HEAD_STEP);
        if self.held.swap(bytes, Ordering::Relaxed) == bytes {
            return;
        }
        let mut table = self.sockets.table();
        if !self.key.is_some_and(|key| table.waiting.weigh(key, bytes)) {
            return;
        }
        while table.waiting.bytes() > HEAD_BYTES {
            let heaviest = table.waiting.oldest_of_heaviest();
            table.dismiss(heaviest);
        }
    }

    /// True if another socket had to leave for this one.
    pub(crate) fn has_displaced(&self) -> bool {
        self.has_displaced
    }

    /// Ready once the socket has to leave for another one.
    pub(crate) fn poll_dismissed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.notice.poll(cx)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn is_dismissed(socket: &Waiting) -> bool {
        socket.poll_dismissed(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn client(n: u8) -> Option<ClientId> {
        Some(ClientId::of_address(Some([192, 0, 2, n].into())))
    }

    #[test]
    fn the_client_with_most_sockets_gives_its_oldest() {
        let sockets = Arc::new(Sockets::new(10, None));
        let victim = sockets.enter(client(1));
        let hoard: Vec<_> = (0..30).map(|_| sockets.enter(client(2))).collect();
        assert_eq!(sockets.table().waiting.len(), 10);
        assert!(!is_dismissed(&victim));
        assert!(hoard[..21].iter().all(is_dismissed) && !hoard[21..].iter().any(is_dismissed));
        assert!(!hoard[8].has_displaced() && hoard[9].has_displaced());
        let late = sockets.enter(client(3));
        assert!(is_dismissed(&hoard[21]) && !is_dismissed(&late) && !is_dismissed(&victim));
        drop((victim, hoard, late));
        assert_eq!(sockets.table().waiting.len(), 0);
        assert!(!sockets.dismiss(1));
    }

    #[test]
    fn the_client_whose_requests_are_largest_gives_its_oldest() {
        let sockets = Arc::new(Sockets::new(10_000, None));
        let victim = sockets.enter(client(1));
        victim.hold(204_799);
        let hoard: Vec<_> = (0..100).map(|_| sockets.enter(client(2))).collect();
        hoard.iter().for_each(|socket| socket.hold(HEAD_BYTES / 50));
        assert!(sockets.table().waiting.bytes() <= HEAD_BYTES);
        assert!(hoard[..51].iter().all(is_dismissed) && !hoard[51..].iter().any(is_dismissed));
        assert!(!is_dismissed(&victim));
        // One that has to leave counts no more, and one whose request is complete holds nothing.
        hoard[0].hold(HEAD_BYTES);
        hoard[51..].iter().for_each(|socket| socket.hold(0));
        assert_eq!(sockets.table().waiting.bytes(), 204_800);
        victim.hold(204_801);
        hoard[99].hold(1);
        assert_eq!(sockets.table().waiting.bytes(), 208_896 + 4_096, "a step that was begun counts");
        assert!(!hoard[51..].iter().any(is_dismissed));
    }

    #[test]
    fn sockets_of_a_proxy_are_no_single_client() {
        let sockets = Arc::new(Sockets::new(10, Some(8)));
        let proxied: Vec<_> = (0..9).map(|_| sockets.enter(None)).collect();
        let two = [sockets.enter(client(1)), sockets.enter(client(1))];
        assert!(is_dismissed(&proxied[0]), "each had one, and it was the oldest");
        let another = sockets.enter(None);
        assert!(is_dismissed(&two[0]) && !is_dismissed(&two[1]) && !is_dismissed(&another));
        assert!(!proxied[1..].iter().any(is_dismissed));
    }

    #[test]
    fn sockets_of_one_client_are_limited() {
        let sockets = Arc::new(Sockets::new(100, Some(1)));
        let held: Vec<_> = (0..12).map(|_| sockets.enter(client(1))).collect();
        assert!(held[..4].iter().all(is_dismissed) && !held[4..].iter().any(is_dismissed));
        let local: Vec<_> = (0..12).map(|_| sockets.enter(None)).collect();
        assert!(!local.iter().any(is_dismissed));
    }

    #[test]
    fn a_socket_with_a_session_does_not_count() {
        let sockets = Arc::new(Sockets::new(1, None));
        let mut one = sockets.enter(client(1));
        one.set(false);
        one.set(false);
        assert_eq!(sockets.table().waiting.len(), 0);
        assert!(!sockets.dismiss(8) && !is_dismissed(&one));
        one.set(true);
        one.set(true);
        assert_eq!(sockets.table().waiting.len(), 1);
        assert!(sockets.dismiss(8) && is_dismissed(&one));
    }
}
