//! What the static roles of one mount share in memory: the queue, and who works
//! on which role.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::static_queue::Queue;

/// Roles that share a lock wait for each other, which costs time and nothing else.
const LOCKS: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Statics {
    queue: Mutex<Queue>,
    locks: [AsyncMutex<()>; LOCKS],
    hasher: RandomState,
}

impl Statics {
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is rebuilt from storage: a panic can't leave it wrong for long.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while a role's entry or keys change: by the minute's work, a write,
    /// a manual rotation and a rollback alike.
    pub(crate) async fn lock(&self, role: &str) -> AsyncMutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(role);
        let index = usize::try_from(hash % LOCKS as u64).unwrap_or_default();
        self.locks[index].lock().await
    }
}
