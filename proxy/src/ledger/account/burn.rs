//! What an account spends in a second, as far as it is worth knowing.

use std::time::Duration;

use crate::money::NanoUsd;

/// Settlements a second from which claiming ahead is worth what a crash would
/// post too much.
const BUSY_SETTLES: u32 = 10;

/// Settlements and their cost in the second under way and in the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Burn {
    since: Moment,
    settles: u32,
    before_settles: u32,
    spent: NanoUsd,
    before_spent: NanoUsd,
}

/// In nanoseconds: half as large as a duration.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment(u64);

impl Burn {
    pub(super) fn add(&mut self, amount: NanoUsd, now: Duration) {
        let age = self.since.until(now);
        if age >= Duration::from_secs(1) {
            let is_recent = age < Duration::from_secs(2);
            let (settles, spent) = if is_recent {
                (self.settles, self.spent)
            } else {
                (0, NanoUsd::ZERO)
            };
            *self = Self {
                since: Moment::from(now),
                settles: 0,
                before_settles: settles,
                spent: NanoUsd::ZERO,
                before_spent: spent,
            };
        }
        self.settles = self.settles.saturating_add(1);
        self.spent = self.spent.saturating_add(amount);
    }

    /// What a busy account spends in a second; nothing for any other.
    pub(super) fn a_second(&self, now: Duration) -> NanoUsd {
        let is_recent = self.since.until(now) < Duration::from_secs(2);
        if is_recent && self.before_settles >= BUSY_SETTLES {
            self.before_spent
        } else {
            NanoUsd::ZERO
        }
    }
}

impl From<Duration> for Moment {
    fn from(now: Duration) -> Self {
        Self(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Moment {
    pub(super) fn until(self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.0))
    }
}
