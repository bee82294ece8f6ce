//! What becomes of an account that nothing uses: what is allotted goes back to the
//! store, and in the end it is forgotten.

use std::time::Duration;

use super::Account;
use crate::money::NanoUsd;

/// Unheld allotment of an account that nothing has settled on for this long
/// goes back to the store.
pub(crate) const IDLE: Duration = Duration::from_secs(2);

impl Account {
    /// [`Account::give_back_all`] where nothing has happened for [`IDLE`].
    pub(crate) fn sweep(&mut self, now: Duration) -> NanoUsd {
        if self.touched.until(now) < IDLE {
            return NanoUsd::ZERO;
        }
        self.give_back_all()
    }

    /// Whether it must be listed now for [`Account::sweep`], which may find something:
    /// true once, until it no longer stays listed.
    pub(crate) fn enlist(&mut self) -> bool {
        let is_new = !self.is_listed && self.free() > NanoUsd::ZERO;
        self.is_listed |= is_new;
        is_new
    }

    /// Whether it has still.
    pub(crate) fn stays_listed(&mut self) -> bool {
        self.is_listed = self.free() > NanoUsd::ZERO;
        self.is_listed
    }

    /// Nothing is allotted, so the account can be forgotten and loaded again.
    pub(crate) fn is_idle_since(&self, idle: Duration, now: Duration) -> bool {
        self.allotted == NanoUsd::ZERO && self.touched.until(now) >= idle
    }
}
