//! What has been queued for the store and is not committed yet. Spend that cannot be
//! recorded must not be made: where the store is slower than the calls, it slows them
//! down, and only where it takes nothing are they refused.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::store::Store;

/// Entries beyond which no call is admitted.
pub(super) const BACKLOG_MAX: usize = 10_000;
/// How long a call waits until there are fewer.
const ROOM_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

#[derive(Debug, Default)]
pub(super) struct Backlog {
    entries: AtomicUsize,
    shrank: Notify,
}

impl Backlog {
    pub(super) fn grow(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shrink(&self, count: usize) {
        self.entries.fetch_sub(count, Ordering::Relaxed);
        self.shrank.notify_waiters();
    }

    /// Whether there is room for another call, once there is; false where none came
    /// about, or the store is not worth waiting for.
    pub(super) async fn has_room(&self, store: &Store) -> bool {
        if !self.is_full() {
            return true;
        }
        // Rare, and else a part of what each call takes in memory.
        Box::pin(self.wait(store)).await
    }

    async fn wait(&self, store: &Store) -> bool {
        let deadline = Instant::now() + ROOM_TIMEOUT;
        loop {
            // Before the look, so that nothing is missed after it.
            let shrank = self.shrank.notified();
            if !self.is_full() {
                return true;
            }
            if !store.is_well() || timeout_at(deadline, shrank).await.is_err() {
                return false;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.entries.load(Ordering::Relaxed) > BACKLOG_MAX
    }
}
