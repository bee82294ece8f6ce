//! Owns the keys known in memory, so that a call needs no store. Holds only
//! keys that exist: a key that was unknown a moment ago is asked for again, so
//! a new key works at once. Every change bumps its shard's generation; a load
//! that began before the change can no longer put its stale answer in.
//! Called by authentication (read) and by the admin API (invalidate).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Key, KeyHash};

/// More shards than cores, so that callers seldom meet on one lock.
const SHARDS: usize = 64;
/// At a few hundred bytes a key, all shards together stay well under 100 MB.
const KEYS_PER_SHARD_MAX: usize = 2_048;

/// A cheap handle on the shared cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache(Arc<Vec<Mutex<Shard>>>);

#[derive(Debug, Default)]
struct Shard {
    generation: u64,
    keys: HashMap<KeyHash, Arc<Key>>,
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self(Arc::new(
            (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
        ))
    }

    /// The key from memory, else from `load`; remembered when it exists and
    /// nothing changed in the meantime.
    ///
    /// # Errors
    /// What `load` fails with; a failure is never remembered.
    pub(crate) async fn find<E>(
        &self,
        hash: KeyHash,
        load: impl Future<Output = Result<Option<Key>, E>>,
    ) -> Result<Option<Arc<Key>>, E> {
        let generation = {
            let shard = self.shard(hash);
            if let Some(key) = shard.keys.get(&hash) {
                return Ok(Some(Arc::clone(key)));
            }
            shard.generation
        };
        let Some(key) = load.await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut shard = self.shard(hash);
        if shard.generation == generation {
            if shard.keys.len() >= KEYS_PER_SHARD_MAX {
                // Starting the shard afresh is cheaper than keeping an order of use.
                shard.keys.clear();
            }
            shard.keys.insert(hash, Arc::clone(&key));
        }
        Ok(Some(key))
    }

    /// Taken before a change is committed and dropped before its answer: the
    /// hashes are invalidated whatever becomes of the change in between, since
    /// a commit that failed or was never answered may still have happened.
    pub(crate) fn invalidate_on_drop(
        &self,
        hashes: impl IntoIterator<Item = KeyHash>,
    ) -> Invalidation {
        Invalidation {
            cache: self.clone(),
            hashes: hashes.into_iter().collect(),
        }
    }

    /// Called after the commit of a change that only adds, and before its answer.
    pub(crate) fn invalidate(&self, hash: KeyHash) {
        let mut shard = self.shard(hash);
        shard.generation += 1;
        shard.keys.remove(&hash);
    }

    fn shard(&self, hash: KeyHash) -> MutexGuard<'_, Shard> {
        let at = usize::from(hash.as_bytes()[0]) % SHARDS;
        // A panic while the lock was held cannot leave a shard half-changed.
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Invalidates its hashes when it is dropped.
#[derive(Debug)]
#[must_use = "it invalidates when it is dropped, which must follow the commit"]
pub(crate) struct Invalidation {
    cache: Cache,
    hashes: Vec<KeyHash>,
}

impl Invalidation {
    /// Also invalidates `hash` in the end.
    pub(crate) fn add(&mut self, hash: KeyHash) {
        self.hashes.push(hash);
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        for hash in &self.hashes {
            self.cache.invalidate(*hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::Cache;
    use crate::key::{Key, KeyHash, fixture};

    async fn find(cache: &Cache, hash: KeyHash, stored: Option<Key>) -> Option<bool> {
        let found = cache
            .find(hash, async { Ok::<_, Infallible>(stored) })
            .await
            .unwrap();
        found.map(|key| key.blocked)
    }

    #[tokio::test]
    async fn known_keys_are_remembered_and_unknown_ones_are_not() {
        let (cache, key) = (Cache::new(), fixture("sk-cache"));
        assert_eq!(find(&cache, key.hash, None).await, None);
        assert_eq!(find(&cache, key.hash, Some(key.clone())).await, Some(false));
        assert_eq!(find(&cache, key.hash, None).await, Some(false));
        cache.invalidate(key.hash);
        assert_eq!(find(&cache, key.hash, None).await, None);
    }

    #[tokio::test]
    async fn c2_a_load_under_way_cannot_resurrect_a_stale_entry() {
        let (cache, key) = (Cache::new(), fixture("sk-cache"));
        let stale = key.clone();
        let changing = cache.clone();
        let seen = cache
            .find(key.hash, async move {
                // The change commits after this load read the old row.
                changing.invalidate(stale.hash);
                Ok::<_, Infallible>(Some(stale))
            })
            .await
            .unwrap();
        assert!(seen.is_some());
        let fresh = Key {
            blocked: true,
            ..key.clone()
        };
        assert_eq!(find(&cache, key.hash, Some(fresh)).await, Some(true));
    }

    #[tokio::test]
    async fn a_change_that_panics_still_invalidates_every_key_it_named() {
        let (cache, first, second) = (Cache::new(), fixture("sk-one"), fixture("sk-two"));
        for key in [&first, &second] {
            find(&cache, key.hash, Some(key.clone())).await;
        }
        let (changing, hashes) = (cache.clone(), [first.hash, second.hash]);
        let died = std::thread::spawn(move || {
            let mut changed = changing.invalidate_on_drop([hashes[0]]);
            changed.add(hashes[1]);
            panic!("between the commit and the answer");
        });
        assert!(died.join().is_err());
        for hash in hashes {
            assert_eq!(find(&cache, hash, None).await, None);
        }
    }

    #[tokio::test]
    async fn a_failed_load_is_not_remembered() {
        let (cache, key) = (Cache::new(), fixture("sk-cache"));
        let failed = cache
            .find(key.hash, async { Err::<Option<Key>, _>("down") })
            .await;
        assert_eq!(failed.unwrap_err(), "down");
        assert_eq!(find(&cache, key.hash, Some(key.clone())).await, Some(false));
    }
}
