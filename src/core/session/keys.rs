//! By what a session calls those who use its connection.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use slab::Slab;

/// A key of [`Keyed`] values of one kind. It is used again once its value is gone.
pub trait Key: Copy {
    fn new(index: usize) -> Self;

    fn index(self) -> usize;
}

macro_rules! keys {
    ($($(#[$doc:meta])* $Key:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Key(usize);

        impl Key for $Key {
            fn new(index: usize) -> Self {
                Self(index)
            }

            fn index(self) -> usize {
                self.0
            }
        }
    )*};
}

keys! {
    /// A producer.
    ProducerKey;
    /// A consumer.
    ConsumerKey;
    /// A channel that a user drives.
    ChannelKey;
}

/// Which of the calls that users asked for; whoever asks chooses the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallToken(pub u64);

/// Values by keys of their own type, in the order of the keys.
pub(super) struct Keyed<K, V> {
    values: Slab<V>,
    keys: PhantomData<K>,
}

impl<K, V: fmt::Debug> fmt::Debug for Keyed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl<K: Key, V> Keyed<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            values: Slab::new(),
            keys: PhantomData,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn insert(&mut self, value: V) -> K {
        K::new(self.values.insert(value))
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        self.values.try_remove(key.index())
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.values.get(key.index())
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.values.get_mut(key.index())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.values.iter().map(|(key, value)| (K::new(key), value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        (self.values.iter_mut()).map(|(key, value)| (K::new(key), value))
    }

    /// The keys of those that are wanted.
    pub(super) fn keys_of(&self, wanted: impl Fn(&V) -> bool) -> Vec<K> {
        let wanted = self.iter().filter(|(_, value)| wanted(value));
        wanted.map(|(key, _)| key).collect()
    }
}

impl<K: Key, V> Index<K> for Keyed<K, V> {
    type Output = V;

    fn index(&self, key: K) -> &V {
        &self.values[key.index()]
    }
}

impl<K: Key, V> IndexMut<K> for Keyed<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        &mut self.values[key.index()]
    }
}
