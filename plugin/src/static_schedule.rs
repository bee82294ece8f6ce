//! When a static key is rotated. Pure: the time comes from the caller.
//!
//! HashiCorp: the rules of the database engine's static roles. A period counts
//! from the last rotation. A schedule is a cron expression, read in UTC; with a
//! window, a rotation that could not be done within it waits for the next time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

mod cron;

pub(crate) use cron::Cron;

/// HashiCorp: the interval of its queue.
pub(crate) const MIN_PERIOD: Duration = Duration::from_secs(5);
/// HashiCorp: a shorter window could pass between two looks at the queue.
pub(crate) const MIN_WINDOW: Duration = Duration::from_secs(3600);
/// Keeps every date far from the end of what dates can say.
pub(crate) const MAX_PERIOD: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Vault: the server lets a mount work once a minute.
pub(crate) const TICK_SECONDS: u64 = 60;

/// How long a key outlives the due time after its next one.
const EXPIRY_SLACK_SECONDS: u64 = 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Schedule {
    Period {
        seconds: u64,
    },
    Cron {
        expression: Cron,
        /// From each time on; zero means until the next time.
        window_seconds: u64,
    },
}

impl Schedule {
    /// The first time to rotate a key that was made at `made`.
    pub(crate) fn next_after(&self, made: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Period { seconds } => later(made, *seconds),
            Self::Cron { expression, .. } => expression
                .next_after(made)
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }

    /// The time between the next rotation and the one after it.
    pub(crate) fn spacing(&self, now: DateTime<Utc>) -> TimeDelta {
        let next = self.next_after(now);
        self.next_after(next) - next
    }

    /// Whether a rotation that was due at `due` may still be done.
    pub(crate) fn is_open(&self, due: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        match self {
            Self::Cron { window_seconds, .. } if *window_seconds > 0 => {
                now < later(due, *window_seconds)
            }
            Self::Period { .. } | Self::Cron { .. } => true,
        }
    }

    /// When a key dies by itself whose rotation is due at `due`: at the due time
    /// that would follow, so that one that nobody rotates any more does not
    /// live on, and one that is rotated late does.
    pub(crate) fn expiry(&self, due: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let due = due.max(now);
        let following = self.next_after(due).max(later(due, TICK_SECONDS));
        later(following, EXPIRY_SLACK_SECONDS)
    }
}

fn later(from: DateTime<Utc>, seconds: u64) -> DateTime<Utc> {
    i64::try_from(seconds)
        .ok()
        .and_then(TimeDelta::try_seconds)
        .and_then(|delta| from.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests;
