//! Records that a server awaits from the one that had a session: more than the store has of it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

/// Longest wait for such a record. Beyond it the one of the store has to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Most messages for one that waits: servers that have nothing, and one that has something.
const MOST: usize = 8;

/// A record, and the epoch of the server that it is given to. It is empty if there is nothing to give.
type Gift = (u64, Arc<str>);

/// Those that wait, by session.
type Senders = HashMap<Box<str>, Vec<mpsc::Sender<Gift>>>;

/// The records that are awaited.
#[derive(Clone, Debug, Default)]
pub(super) struct Gifts(Arc<Mutex<Senders>>);

impl Gifts {
    fn waiting(&self) -> MutexGuard<'_, Senders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits a record of this session from now on.
    pub(super) fn expect(&self, id: &str) -> Expected {
        let (sender, gift) = mpsc::channel(MOST);
        self.waiting().entry(id.into()).or_default().push(sender);
        Expected { gift: Some(gift), gifts: self.clone(), id: id.into() }
    }

    /// Passes a record on to those that await it.
    pub(super) fn arrived(&self, id: &str, epoch: u64, record: &str) {
        if let Some(waiting) = self.waiting().get(id) {
            let record: Arc<str> = record.into();
            waiting.iter().for_each(|sender| drop(sender.try_send((epoch, Arc::clone(&record)))));
        }
    }
}

/// A record that may come. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Expected {
    gift: Option<mpsc::Receiver<Gift>>,
    gifts: Gifts,
    id: Box<str>,
}

impl Expected {
    /// Waits for the record, but not for long.
    pub(super) fn wait(mut self) -> Option<Waiting> {
        let gift = self.gift.take()?;
        Some(Waiting { gift, patience: Box::pin(sleep(PATIENCE)), _expected: self })
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

/// The end of a wait for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The record.
    Record(Arc<str>),
    /// There is none.
    Nothing,
    /// It has not come in time.
    Late,
}

/// A wait for a record.
#[derive(Debug)]
pub(super) struct Waiting {
    gift: mpsc::Receiver<Gift>,
    patience: Pin<Box<Sleep>>,
    _expected: Expected,
}

impl Waiting {
    /// Ready with the record that was given for an epoch of at least `before`, or with nothing: another server may have
    /// it unless the one that has nothing `may_decline`.
    pub(super) fn poll(&mut self, before: u64, may_decline: bool, cx: &mut Context<'_>) -> Poll<Given> {
        while let Poll::Ready(Some((epoch, record))) = self.gift.poll_recv(cx) {
            if epoch >= before && !record.is_empty() {
                return Poll::Ready(Given::Record(record));
            }
            if epoch > before && may_decline {
                return Poll::Ready(Given::Nothing);
            }
        }
        self.patience.as_mut().poll(cx).map(|()| Given::Late)
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
        assert_eq!(poll_fn(|cx| first.poll(2, true, cx)).await, Given::Record("record".into()));
        let began = tokio::time::Instant::now();
        gifts.arrived("a", 4, "");
        gifts.arrived("b", 4, "");
        assert_eq!(
            poll_fn(|cx| second.poll(3, true, cx)).await,
            Given::Nothing,
            "there is nothing, and no wait for it"
        );
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(poll_fn(|cx| late.poll(1, false, cx)).await, Given::Late);
        assert_eq!(began.elapsed(), PATIENCE);
        drop((waiting, late));
        assert!(gifts.waiting().is_empty());
    }
}
