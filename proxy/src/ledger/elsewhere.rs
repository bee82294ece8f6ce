//! Changes of definitions that another process has made, as this one hears of
//! them: after their commit, and only where it knows the account.

use std::sync::atomic::Ordering;

use super::Ledger;
use crate::key::AccountId;

impl Ledger {
    /// Reads the limits of these accounts again, and adds to what was spent what
    /// an operator has corrected there, in nano-dollars.
    pub(crate) fn changed_elsewhere(&self, changed: Vec<(AccountId, Option<i64>)>) {
        if changed.is_empty() {
            return;
        }
        let mut books = self.0.books();
        // What is being loaded at this moment is loaded again.
        self.0.refreshed.fetch_add(1, Ordering::Release);
        let mut known = Vec::new();
        for (id, corrected) in changed {
            if let AccountId::Shared(_) = id {
                books.forget_windows();
            }
            if let Some(account) = books.get_mut(&id) {
                account.corrected(corrected.unwrap_or_default());
                known.push(id);
            }
        }
        drop(books);
        drop(self.refresh_on_drop(known));
    }

    /// Reads all limits again. Corrections that were missed show once an account
    /// has left memory.
    pub(crate) fn changed_anywhere(&self) {
        let known = self.0.books().ids();
        let unknown_corrections = known.into_iter().map(|id| (id, None));
        self.changed_elsewhere(unknown_corrections.collect());
    }
}
