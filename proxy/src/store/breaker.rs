//! Keeps callers from waiting for a PostgreSQL that is down or too slow: after
//! some failures in a row nobody waits any more, until whoever follows the
//! changes of other processes finds the store well again. An SQLite file is
//! never given up: there is nothing else to wait for.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use super::{Store, StoreError};

/// One lost connection is no outage.
const FAILURES_MAX: u32 = 3;
/// A store that takes longer for a small read is too slow to wait for.
const SLOW: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
    is_open: AtomicBool,
}

impl Store {
    /// Whether it is worth waiting for.
    pub(crate) fn is_well(&self) -> bool {
        !self.breaker.is_open.load(Ordering::Relaxed)
    }

    /// A read of PostgreSQL that a caller waits for, and not for long.
    pub(crate) async fn within<T>(
        &self,
        deadline: Duration,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.is_shared() {
            return read.await;
        }
        if !self.is_well() {
            return Err(StoreError::Unavailable);
        }
        let read = tokio::time::timeout(deadline, read).await;
        let read = read.unwrap_or(Err(StoreError::Slow));
        match &read {
            // What is damaged was read all the same.
            Ok(_) | Err(StoreError::Damaged { .. }) => {
                self.breaker.failures.store(0, Ordering::Relaxed);
            }
            Err(_) => self.missed(),
        }
        read
    }

    /// It did not answer somebody in time.
    pub(crate) fn missed(&self) {
        let failures = self.breaker.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES_MAX {
            self.open_breaker();
        }
    }

    /// It was looked at, and answered after so long; or not.
    pub(crate) fn looked_at(&self, answered: Option<Duration>) {
        if answered.is_none_or(|after| after > SLOW) {
            self.open_breaker();
            return;
        }
        self.breaker.failures.store(0, Ordering::Relaxed);
        if self.breaker.is_open.swap(false, Ordering::Relaxed) {
            tracing::info!("the store answers again");
        }
    }

    fn open_breaker(&self) {
        if self.is_shared() && !self.breaker.is_open.swap(true, Ordering::Relaxed) {
            tracing::warn!("the store does not answer in time: nobody waits for it until it does");
        }
    }
}
