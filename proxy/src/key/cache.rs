//! Owns the keys known in memory, so that a call needs no store. Holds only
//! keys that exist: a key that was unknown a moment ago is asked for again, so
//! a new key works at once. Every change bumps its shard's generation; a load
//! that began before the change can no longer put its stale answer in.
//! Where other processes change keys too, what is in memory is only good while
//! this process hears of their changes.
//! Called by authentication (read), by the admin API (invalidate) and by what
//! follows the other processes.

mod shard;

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use self::shard::Shard;
use super::{Key, KeyHash, rules::Lately};

/// More shards than cores, so that callers seldom meet on one lock.
const SHARDS: usize = 64;
/// For how long keys in memory are good after the store has last told of all
/// changes: what bounds a revocation that no notification tells of.
const TRUST: Duration = Duration::from_secs(5);

/// A cheap handle on the shared cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: Vec<Mutex<Shard>>,
    /// One load a shard at a time: callers of one key wait for one load of it,
    /// and a slow store is not overrun.
    loads: Vec<tokio::sync::Mutex<()>>,
    lately: Mutex<Lately>,
    /// None where no other process changes keys.
    confirmed: Option<Confirmed>,
}

/// When the store last told of all changes up to then.
#[derive(Debug)]
struct Confirmed {
    since: Instant,
    at_ms: AtomicU64,
    /// How old that may be while the store does not answer.
    stale_window: Duration,
}

impl Cache {
    /// Of keys that only this process changes.
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// Of keys that other processes change too. While the store does not answer
    /// they are good for `stale_window` after it has last told of all changes.
    pub(crate) fn shared(stale_window: Duration) -> Self {
        Self::with(Some(Confirmed {
            since: Instant::now(),
            at_ms: AtomicU64::new(0),
            stale_window,
        }))
    }

    fn with(confirmed: Option<Confirmed>) -> Self {
        Self(Arc::new(Inner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            loads: (0..SHARDS).map(|_| tokio::sync::Mutex::default()).collect(),
            lately: Mutex::default(),
            confirmed,
        }))
    }

    /// The key from memory, if it is there and good.
    pub(crate) fn get(&self, hash: KeyHash) -> Option<Arc<Key>> {
        self.known(hash, TRUST)
    }

    /// The key from memory, else from `load`; remembered when it exists and
    /// nothing changed in the meantime. Where `load` fails, what is in memory is
    /// good for a little longer.
    ///
    /// # Errors
    /// What `load` fails with; a failure is never remembered.
    pub(crate) async fn find<E>(
        &self,
        hash: KeyHash,
        load: impl Future<Output = Result<Option<Key>, E>>,
    ) -> Result<Option<Arc<Key>>, E> {
        if let Some(key) = self.get(hash) {
            return Ok(Some(key));
        }
        let _turn = self.0.loads[place(hash)].lock().await;
        if let Some(key) = self.get(hash) {
            return Ok(Some(key));
        }
        let generation = self.shard(hash).generation;
        let key = match load.await {
            Ok(Some(mut key)) => {
                lock(&self.0.lately).share(&mut key);
                Arc::new(key)
            }
            Ok(None) => {
                // It may be here still, from before changes were no longer heard of.
                self.shard(hash).remove(hash);
                return Ok(None);
            }
            Err(error) => {
                let stale_window = self.0.confirmed.as_ref().map(|known| known.stale_window);
                let stale = self.known(hash, stale_window.unwrap_or_default());
                return stale.map(Some).ok_or(error);
            }
        };
        let mut shard = self.shard(hash);
        if shard.generation == generation {
            shard.insert(hash, Arc::clone(&key));
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
        shard.remove(hash);
    }

    /// Anything may have changed.
    pub(crate) fn invalidate_all(&self) {
        for shard in &self.0.shards {
            let mut shard = lock(shard);
            shard.generation += 1;
            shard.clear();
        }
    }

    /// Every change that was committed before `at` has been told of, and its keys
    /// invalidated.
    pub(crate) fn confirm(&self, at: Instant) {
        if let Some(confirmed) = &self.0.confirmed {
            let at_ms = millis(at.saturating_duration_since(confirmed.since));
            confirmed.at_ms.fetch_max(at_ms, Ordering::Release);
        }
    }

    /// What is in memory, if the store has told of all changes within `age`.
    fn known(&self, hash: KeyHash, age: Duration) -> Option<Arc<Key>> {
        let is_good = self.0.confirmed.as_ref().is_none_or(|confirmed| {
            let at_ms = confirmed.at_ms.load(Ordering::Acquire);
            let age_ms = millis(confirmed.since.elapsed()).saturating_sub(at_ms);
            age_ms <= millis(age)
        });
        is_good.then(|| self.shard(hash).get(hash).cloned())?
    }

    fn shard(&self, hash: KeyHash) -> MutexGuard<'_, Shard> {
        lock(&self.0.shards[place(hash)])
    }
}

fn place(hash: KeyHash) -> usize {
    usize::from(hash.as_bytes()[0]) % SHARDS
}

/// A panic while a lock was held cannot leave what is in it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
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
    use std::{convert::Infallible, time::Duration};

    use tokio::time::{Instant, advance};

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

    #[tokio::test(start_paused = true)]
    async fn c1_a_shared_key_is_good_for_five_seconds_after_the_store_told_of_all_changes() {
        let (cache, key) = (Cache::shared(Duration::ZERO), fixture("sk-cache"));
        find(&cache, key.hash, Some(key.clone())).await;
        let asked = Instant::now();
        for (seconds, expected) in [(4, Some(false)), (2, None), (0, None)] {
            advance(Duration::from_secs(seconds)).await;
            assert_eq!(find(&cache, key.hash, None).await, expected, "{seconds}");
        }
        find(&cache, key.hash, Some(key.clone())).await;
        // It told late what was asked long ago.
        cache.confirm(asked);
        let changed = Key {
            blocked: true,
            ..key.clone()
        };
        assert_eq!(find(&cache, key.hash, Some(changed)).await, Some(true));
        cache.confirm(Instant::now());
        assert_eq!(find(&cache, key.hash, None).await, Some(true));
        cache.invalidate_all();
        assert_eq!(find(&cache, key.hash, None).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn d1_while_the_store_is_down_known_keys_are_good_for_the_stale_window() {
        let (cache, key) = (Cache::shared(Duration::from_secs(60)), fixture("sk-cache"));
        let down = async |hash| {
            let found = cache.find(hash, async { Err::<Option<Key>, _>("down") });
            found.await.map(|key| key.is_some())
        };
        assert_eq!(down(key.hash).await, Err("down"));
        find(&cache, key.hash, Some(key.clone())).await;
        for (seconds, expected) in [(4, Ok(true)), (55, Ok(true)), (2, Err("down"))] {
            advance(Duration::from_secs(seconds)).await;
            assert_eq!(down(key.hash).await, expected, "{seconds}");
        }
        // What is known to have changed is not good for a moment.
        cache.confirm(Instant::now());
        cache.invalidate(key.hash);
        assert_eq!(down(key.hash).await, Err("down"));
    }

    #[tokio::test]
    async fn many_callers_of_a_key_wait_for_one_load() {
        let (cache, key) = (Cache::new(), fixture("sk-cache"));
        let loads = std::cell::Cell::new(0);
        let one = || {
            cache.find(key.hash, async {
                loads.set(loads.get() + 1);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Some(key.clone()))
            })
        };
        let found = tokio::join!(one(), one(), one());
        assert!(found.0.unwrap().is_some() && found.2.unwrap().is_some());
        assert_eq!(loads.get(), 1);
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
