//! A part of the keys in memory.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use foldhash::{HashMap, HashSet};

use crate::key::{Key, KeyHash};

/// At a few hundred bytes a key, all shards together stay well under 100 MB.
const KEYS_MAX: usize = 2_048;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) generation: u64,
    /// By the value that they have.
    keys: HashSet<Known>,
    /// By a value that they had before.
    earlier: HashMap<KeyHash, Arc<Key>>,
}

/// Found by its hash, which stands in the key and need not stand here once more.
#[derive(Debug)]
struct Known(Arc<Key>);

impl Shard {
    pub(super) fn get(&self, hash: KeyHash) -> Option<&Arc<Key>> {
        let known = self.keys.get(&hash).map(|Known(key)| key);
        known.or_else(|| self.earlier.get(&hash))
    }

    pub(super) fn insert(&mut self, hash: KeyHash, key: Arc<Key>) {
        if self.keys.len() + self.earlier.len() >= KEYS_MAX {
            // Starting afresh is cheaper than keeping an order of use.
            self.clear();
        }
        if key.hash == hash {
            self.keys.replace(Known(key));
        } else {
            self.earlier.insert(hash, key);
        }
    }

    pub(super) fn remove(&mut self, hash: KeyHash) {
        self.keys.remove(&hash);
        self.earlier.remove(&hash);
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.earlier.clear();
    }
}

impl Borrow<KeyHash> for Known {
    fn borrow(&self) -> &KeyHash {
        &self.0.hash
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for Known {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixture;

    #[test]
    fn a_key_is_found_by_the_value_that_it_was_looked_up_by() {
        let mut shard = Shard::default();
        let [now, before] = ["sk-now", "sk-before"].map(KeyHash::of);
        for (hash, blocked) in [(now, true), (before, true), (now, false), (before, false)] {
            let mut key = fixture("sk-now");
            key.blocked = blocked;
            shard.insert(hash, Arc::new(key));
            assert_eq!(shard.get(hash).unwrap().blocked, blocked);
        }
        shard.remove(now);
        assert!(shard.get(now).is_none() && shard.get(before).is_some());
        shard.remove(before);
        assert!(shard.get(before).is_none());
    }
}
