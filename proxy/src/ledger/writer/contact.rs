//! How long the store has answered this process, which decides whether it may
//! judge that others are dead.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::ledger::process::LAPSE;

/// Since when the store has answered without a break. Others may seem dead only
/// because nobody could reach it: who has not had the time to see them come back
/// buries nobody.
#[derive(Debug)]
pub(super) struct Contact {
    since: Instant,
    last: Instant,
}

impl Contact {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            last: now,
        }
    }

    pub(super) fn made(&mut self, now: Instant) {
        // A break in which others may have been silent because of the store, or
        // in which this process slept.
        if now.duration_since(self.last) > LAPSE / 2 {
            self.since = now;
        }
        self.last = now;
    }

    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        self.last.elapsed() >= age
    }

    /// Others that live have shown up since it was made.
    pub(super) fn is_firm(&self) -> bool {
        self.last.duration_since(self.since) >= LAPSE
    }
}
