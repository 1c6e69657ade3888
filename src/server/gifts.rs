//! Records that a server awaits from the one that had a session: more than the store has of it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Timeout, timeout};

/// Longest wait for such a record. Beyond it the one of the store has to do.
const PATIENCE: Duration = Duration::from_secs(3);

/// A record, and the epoch of the server that it is given to.
type Gift = (u64, Arc<str>);

/// Those that wait, by session.
type Senders = HashMap<Box<str>, Vec<oneshot::Sender<Gift>>>;

/// The records that are awaited.
#[derive(Clone, Debug, Default)]
pub(super) struct Gifts(Arc<Mutex<Senders>>);

impl Gifts {
    fn waiting(&self) -> MutexGuard<'_, Senders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits a record of this session from now on.
    pub(super) fn expect(&self, id: &str) -> Expected {
        let (sender, gift) = oneshot::channel();
        self.waiting().entry(id.into()).or_default().push(sender);
        Expected { gift: Some(gift), gifts: self.clone(), id: id.into() }
    }

    /// Passes a record on to those that await it.
    pub(super) fn arrived(&self, id: &str, epoch: u64, record: &str) {
        let waiting = self.waiting().remove(id).unwrap_or_default();
        if !waiting.is_empty() {
            let record: Arc<str> = record.into();
            waiting.into_iter().for_each(|sender| drop(sender.send((epoch, Arc::clone(&record)))));
        }
    }
}

/// A record that may come. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Expected {
    gift: Option<oneshot::Receiver<Gift>>,
    gifts: Gifts,
    id: Box<str>,
}

impl Expected {
    /// Waits for the record, but not for long.
    pub(super) fn wait(mut self) -> Option<Waiting> {
        let gift = self.gift.take()?;
        Some(Waiting { gift: Box::pin(timeout(PATIENCE, gift)), _expected: self })
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.gift = None;
        let mut waiting = self.gifts.waiting();
        if let Some(senders) = waiting.get_mut(&self.id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

/// A wait for a record.
#[derive(Debug)]
pub(super) struct Waiting {
    gift: Pin<Box<Timeout<oneshot::Receiver<Gift>>>>,
    _expected: Expected,
}

impl Waiting {
    /// Ready with the record that was given for an epoch of at least `before`, or with nothing.
    pub(super) fn poll(&mut self, before: u64, cx: &mut Context<'_>) -> Poll<Option<Arc<str>>> {
        let gift = ready!(self.gift.as_mut().poll(cx));
        let gift = gift.ok().and_then(Result::ok).filter(|(epoch, _)| *epoch >= before);
        Poll::Ready(gift.map(|(_, record)| record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn record_reaches_those_that_await_it_and_leaves_nothing_behind() {
        let gifts = Gifts::default();
        let mut waiting = [gifts.expect("a").wait().unwrap(), gifts.expect("a").wait().unwrap()];
        let mut late = gifts.expect("b").wait().unwrap();
        drop(gifts.expect("c"));
        gifts.arrived("a", 2, "record");
        gifts.arrived("d", 2, "of no use");
        let [first, second] = &mut waiting;
        assert_eq!(poll_fn(|cx| first.poll(2, cx)).await.as_deref(), Some("record"));
        assert_eq!(poll_fn(|cx| second.poll(3, cx)).await, None, "it was given for an epoch before");
        let began = tokio::time::Instant::now();
        assert_eq!(poll_fn(|cx| late.poll(1, cx)).await, None);
        assert_eq!(began.elapsed(), PATIENCE);
        drop((waiting, late));
        assert!(gifts.waiting().is_empty());
    }
}
