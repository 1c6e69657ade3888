//! Memory that live sessions hold, counted for each client.
//!
//! Beyond the limit on all of them a session has to leave: of the client that holds most, the one whose holding
//! has stayed the same for longest. A session that holds little is not counted.

use super::accounts::ClientId;
use super::notice::{Lookout, Notice};
use super::shares::{Key, Shares};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// A session is counted in steps of this many bytes, so that few changes need the lock.
const STEP: usize = 16 * 1024;

/// The memory of all live sessions, for each client.
#[derive(Debug)]
pub(crate) struct Holdings {
    /// Most bytes of all sessions.
    most: usize,
    table: Mutex<Shares<ClientId, Arc<Notice>>>,
}

impl Holdings {
    pub(crate) fn new(most: usize) -> Holdings {
        Holdings { most, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Shares<ClientId, Arc<Notice>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that the live sessions hold.
    pub(crate) fn bytes(&self) -> usize {
        self.table().bytes()
    }

    /// Replaces an entry by one with these bytes, and has sessions leave that are too many then.
    fn change(&self, before: Option<Key>, client: &ClientId, bytes: usize, notice: &Arc<Notice>) -> Key {
        let mut table = self.table();
        if let Some(before) = before
            && table.remove(before).is_none()
        {
            // It has to leave already.
            return before;
        }
        let key = table.insert(client.clone(), bytes, Arc::clone(notice));
        while table.bytes() > self.most
            && let Some(heaviest) = table.oldest_of_heaviest()
            && let Some(notice) = table.remove(heaviest)
        {
            notice.give();
        }
        key
    }
}

/// The holding of one session. Dropping it ends the count.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    counted: Option<Box<Counted>>,
    /// The count, and the need to look for the notice: beside the session, since both are asked often.
    bytes: usize,
    lookout: Lookout,
}

#[derive(Debug)]
struct Counted {
    holdings: Arc<Holdings>,
    notice: Arc<Notice>,
    key: Key,
}

impl Holding {
    /// Counts these bytes for the session from now on.
    pub(crate) fn set(&mut self, holdings: &Arc<Holdings>, client: &ClientId, bytes: usize) {
        let bytes = bytes / STEP * STEP;
        if bytes == self.bytes {
            return;
        }
        self.bytes = bytes;
        match &mut self.counted {
            Some(_) if bytes == 0 => self.counted = None,
            Some(counted) => {
                counted.key = holdings.change(Some(counted.key), client, bytes, &counted.notice);
            }
            None => {
                let notice = Arc::<Notice>::default();
                let key = holdings.change(None, client, bytes, &notice);
                self.counted = Some(Box::new(Counted { holdings: Arc::clone(holdings), notice, key }));
                self.lookout = Lookout::default();
            }
        }
    }

    /// True while the session is counted, so that [`poll`](Holding::poll) has to be asked.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// Ready once the session has to leave, because the sessions hold too much together.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.counted {
            Some(counted) if self.lookout.must_ask(cx) => {
                let poll = counted.notice.poll(cx);
                if poll.is_ready() {
                    // It stays ready.
                    self.lookout = Lookout::default();
                }
                poll
            }
            _ => Poll::Pending,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.holdings.table().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn client(name: &str) -> ClientId {
        ClientId::Named(Arc::from(name))
    }

    fn must_leave(holding: &mut Holding) -> bool {
        holding.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_client_that_holds_most_gives_the_session_that_has_stood_still() {
        let holdings = Arc::new(Holdings::new(10 * STEP));
        let set =
            |holding: &mut Holding, name, steps: usize| holding.set(&holdings, &client(name), steps * STEP);
        let [mut one, mut two, mut other] = [(); 3].map(|()| Holding::default());
        set(&mut one, "a", 2);
        set(&mut two, "a", 3);
        set(&mut other, "b", 4);
        // It moves, so the other one of its client is the one that stands still.
        set(&mut one, "a", 3);
        assert_eq!(holdings.bytes(), 10 * STEP);
        assert!(![&mut one, &mut two, &mut other].into_iter().any(must_leave));
        set(&mut other, "b", 5);
        assert_eq!([&mut one, &mut two, &mut other].map(must_leave), [false, true, false]);
        assert_eq!(holdings.bytes(), 8 * STEP);
        // What it still does is not counted, and its end changes nothing.
        set(&mut two, "a", 9);
        drop(two);
        assert_eq!(holdings.bytes(), 8 * STEP);
        assert_eq!([&mut one, &mut other].map(must_leave), [false, false]);
    }

    #[test]
    fn little_is_not_counted_and_what_goes_is_counted_no_longer() {
        let holdings = Arc::new(Holdings::new(10 * STEP));
        let mut holding = Holding::default();
        holding.set(&holdings, &client("a"), STEP - 1);
        assert!(!holding.is_counted());
        holding.set(&holdings, &client("a"), 2 * STEP + 1);
        assert!(holding.is_counted());
        assert_eq!(holdings.bytes(), 2 * STEP);
        holding.set(&holdings, &client("a"), 100);
        assert!(!holding.is_counted());
        assert_eq!(holdings.bytes(), 0);
        holding.set(&holdings, &client("a"), 11 * STEP);
        assert!(must_leave(&mut holding), "more than all may have");
        drop(holding);
        assert_eq!(holdings.bytes(), 0);
    }
}
