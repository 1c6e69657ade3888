//! Things that all clients share, counted for each client: the client that holds most gives first.
//!
//! A limit on all clients together is fair only if it does not matter who came last. [`Shares`] finds the
//! client to take from in logarithmic time, by number or by bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Key of an item: it rises with each item, so a smaller key is an older item.
pub(crate) type Key = u64;

/// An owner's amount, and its oldest item. Of two owners with the same amount the one with the older item
/// ranks higher.
type Rank = (usize, Reverse<Key>);

/// Items of all owners, each with its weight in bytes.
#[derive(Debug)]
pub(crate) struct Shares<K, T> {
    items: BTreeMap<Key, Item<K, T>>,
    by_owner: BTreeMap<K, Share>,
    by_count: BTreeSet<Rank>,
    by_bytes: BTreeSet<Rank>,
    bytes: usize,
    next: Key,
}

#[derive(Debug)]
struct Item<K, T> {
    owner: K,
    bytes: usize,
    value: T,
}

#[derive(Debug, Default)]
struct Share {
    keys: BTreeSet<Key>,
    bytes: usize,
}

impl Share {
    /// The ranks by count and by bytes; `None` for an owner without items.
    fn ranks(&self) -> Option<(Rank, Rank)> {
        let oldest = Reverse(*self.keys.first()?);
        Some(((self.keys.len(), oldest), (self.bytes, oldest)))
    }
}

impl<K, T> Default for Shares<K, T> {
    fn default() -> Shares<K, T> {
        Shares {
            items: BTreeMap::new(),
            by_owner: BTreeMap::new(),
            by_count: BTreeSet::new(),
            by_bytes: BTreeSet::new(),
            bytes: 0,
            next: 0,
        }
    }
}

impl<K: Clone + Ord, T> Shares<K, T> {
    /// Adds an item of this owner.
    pub(crate) fn insert(&mut self, owner: K, bytes: usize, value: T) -> Key {
        let key = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.change(&owner, |share| {
            share.keys.insert(key);
            share.bytes += bytes;
        });
        self.items.insert(key, Item { owner, bytes, value });
        key
    }

    /// Removes an item; `None` if it was removed before.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let Item { owner, bytes, value } = self.items.remove(&key)?;
        self.bytes -= bytes;
        self.change(&owner, |share| {
            share.keys.remove(&key);
            share.bytes -= bytes;
        });
        Some(value)
    }

    /// Changes the weight of an item. Returns false if it was removed before.
    pub(crate) fn weigh(&mut self, key: Key, bytes: usize) -> bool {
        let Some(item) = self.items.get_mut(&key) else { return false };
        let before = std::mem::replace(&mut item.bytes, bytes);
        let owner = item.owner.clone();
        self.bytes = self.bytes - before + bytes;
        self.change(&owner, |share| share.bytes = share.bytes - before + bytes);
        true
    }

    /// Changes an owner's share, and its ranks with it.
    fn change(&mut self, owner: &K, change: impl FnOnce(&mut Share)) {
        if !self.by_owner.contains_key(owner) {
            self.by_owner.insert(owner.clone(), Share::default());
        }
        let Some(share) = self.by_owner.get_mut(owner) else { return };
        if let Some((by_count, by_bytes)) = share.ranks() {
            self.by_count.remove(&by_count);
            self.by_bytes.remove(&by_bytes);
        }
        change(share);
        match share.ranks() {
            Some((by_count, by_bytes)) => {
                self.by_count.insert(by_count);
                self.by_bytes.insert(by_bytes);
            }
            None => _ = self.by_owner.remove(owner),
        }
    }

    /// An item.
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.items.get(&key).map(|item| &item.value)
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of all items.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of items of this owner.
    pub(crate) fn held_by(&self, owner: &K) -> usize {
        self.by_owner.get(owner).map_or(0, |share| share.keys.len())
    }

    /// The oldest item of all.
    pub(crate) fn oldest(&self) -> Option<(Key, &T)> {
        self.items.first_key_value().map(|(key, item)| (*key, &item.value))
    }

    /// The oldest item of this owner.
    pub(crate) fn oldest_of(&self, owner: &K) -> Option<Key> {
        self.by_owner.get(owner)?.keys.first().copied()
    }

    /// The oldest item of the owner with the most items.
    pub(crate) fn oldest_of_most(&self) -> Option<Key> {
        self.by_count.last().map(|(_, Reverse(oldest))| *oldest)
    }

    /// The oldest item of the owner with the most bytes.
    pub(crate) fn oldest_of_heaviest(&self) -> Option<Key> {
        self.by_bytes.last().map(|(_, Reverse(oldest))| *oldest)
    }

    /// Number of items of the owner that has most.
    pub(crate) fn most(&self) -> usize {
        self.by_count.last().map_or(0, |(count, _)| *count)
    }

    /// All items, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values().map(|item| &item.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_that_holds_most_gives_its_oldest_first() {
        let mut shares = Shares::default();
        for (owner, bytes) in [("a", 1), ("b", 5), ("a", 1), ("b", 5), ("a", 1), ("c", 100)] {
            let next = shares.next;
            assert_eq!(shares.insert(owner, bytes, (owner, next)), next);
        }
        assert_eq!((shares.len(), shares.bytes(), shares.most()), (6, 113, 3));
        assert_eq!((shares.held_by(&"a"), shares.held_by(&"c"), shares.held_by(&"d")), (3, 1, 0));
        assert_eq!(shares.oldest(), Some((0, &("a", 0))));
        assert_eq!(shares.oldest_of(&"b"), Some(1));
        assert!(shares.weigh(0, 200) && !shares.weigh(6, 1));
        assert_eq!((shares.oldest_of_heaviest(), shares.bytes()), (Some(0), 312));
        assert!(shares.weigh(0, 1));
        assert_eq!(shares.oldest_of_heaviest().and_then(|key| shares.remove(key)), Some(("c", 5)));
        let mut order = Vec::new();
        while let Some(key) = shares.oldest_of_most() {
            order.push(shares.remove(key).unwrap());
            assert_eq!(shares.remove(key), None, "twice");
        }
        // a has most, then a and b have two each, and b's oldest is older than a's.
        assert_eq!(order, [("a", 0), ("b", 1), ("a", 2), ("b", 3), ("a", 4)]);
        assert_eq!((shares.len(), shares.bytes(), shares.most()), (0, 0, 0));
        assert!(shares.by_owner.is_empty() && shares.by_count.is_empty() && shares.by_bytes.is_empty());
    }

    #[test]
    fn a_flood_of_one_owner_takes_nothing_from_the_others() {
        let mut shares = Shares::default();
        for owner in 0..100 {
            shares.insert(owner, 10, owner);
        }
        for _ in 0..10_000 {
            shares.insert(1_000, 10, 1_000);
            while shares.len() > 200 {
                let key = shares.oldest_of_most().unwrap();
                assert_eq!(shares.remove(key), Some(1_000));
            }
        }
        assert!((0..100).all(|owner| shares.held_by(&owner) == 1));
        assert_eq!(shares.held_by(&1_000), 100);
    }
}
