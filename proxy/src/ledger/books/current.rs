//! Which accounts a call is charged to at a moment: in place of a budget that counts
//! from zero again, that of its window.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Books;
use crate::key::{AccountId, LIMITED_MODELS_MAX, Window, own_key};
use crate::ledger::account::Standing;

/// At a few hundred bytes a key, what is remembered stays under 100 MB.
const CURRENT_MAX: usize = 100_000;
/// A key's models with a budget of their own, and the others together.
const CURRENT_OF_KEY_MAX: usize = LIMITED_MODELS_MAX + 1;

/// Where the calls of a key are charged until a window ends.
#[derive(Debug, Clone)]
pub(super) struct Current {
    given: Arc<[AccountId]>,
    accounts: Arc<[AccountId]>,
    /// The time in which all windows of these accounts are the right ones.
    valid: Window,
}

impl Books {
    /// Whether a budget that is known here counts from zero again. Where none does,
    /// a call whose accounts are all known is charged to them as they are.
    pub(in crate::ledger) fn has_windows(&self) -> bool {
        self.windowed > 0
    }

    /// The accounts that a call of these is charged to now: in place of a budget
    /// that counts from zero again, its window's. The place of one that has not
    /// been loaded is the error. It allocates once a key and window.
    pub(in crate::ledger) fn current(
        &mut self,
        given: &Arc<[AccountId]>,
        now: DateTime<Utc>,
    ) -> Result<Arc<[AccountId]>, usize> {
        let Some(key) = own_key(given) else {
            return Ok(Arc::clone(given));
        };
        let is_right = |known: &&Current| known.given[..] == given[..] && known.valid.contains(now);
        let known = self.current.get(&key).map_or(&[][..], Vec::as_slice);
        if let Some(known) = known.iter().find(is_right) {
            return Ok(Arc::clone(&known.accounts));
        }
        let mut windows = Vec::new();
        for (at, id) in given.iter().enumerate() {
            let AccountId::Shared(shared) = id else {
                continue;
            };
            let period = self.accounts.get(id).ok_or(at)?.period();
            // Outside of the calendar the budget is one without resets.
            if let Some(window) = period.and_then(|period| period.window(now)) {
                windows.push((at, shared.during(window), window));
            }
        }
        let Some(valid) = Window::common(windows.iter().map(|(_, _, window)| *window)) else {
            return Ok(Arc::clone(given));
        };
        let mut accounts = given.to_vec();
        for (at, account, _) in windows {
            accounts[at] = AccountId::Shared(account);
        }
        let accounts = Arc::<[AccountId]>::from(accounts);
        if self.current.len() >= CURRENT_MAX {
            // Starting afresh is cheaper than keeping an order of use.
            self.current.clear();
        }
        let current = Current {
            given: Arc::clone(given),
            accounts: Arc::clone(&accounts),
            valid,
        };
        let known = self.current.entry(key).or_default();
        // What it replaces: a window that has ended, or the key before a change.
        known.retain(|other| other.given[..] != given[..] && other.valid.contains(now));
        if known.len() >= CURRENT_OF_KEY_MAX {
            known.clear();
        }
        known.push(current);
        Ok(accounts)
    }

    /// Some window may begin or end at another time now.
    pub(in crate::ledger) fn forget_windows(&mut self) {
        self.current.clear();
    }

    /// What the store says of an account's definition now.
    pub(in crate::ledger) fn redefined(&mut self, id: &AccountId, standing: Standing) {
        if let AccountId::Shared(_) = id {
            self.forget_windows();
        }
        if let Some(account) = self.accounts.get_mut(id) {
            account.limit_changed(standing.limit);
            self.windowed -= usize::from(account.period().is_some());
            account.period_changed(standing.period);
            self.windowed += usize::from(account.period().is_some());
        }
    }
}
