//! Telling the ledger that limits or keys are being changed.

use super::Ledger;
use super::writer::Command;
use crate::key::AccountId;

/// Accounts whose limits or keys are being changed. Whatever becomes of the
/// change, what no call holds of them goes back to the store when this is
/// dropped, and their limits are read again: a commit that failed or was never
/// answered may still have happened.
#[derive(Debug)]
#[must_use = "it refreshes when it is dropped, which must follow the commit"]
pub(crate) struct Refresh {
    pub(super) ledger: Ledger,
    pub(super) accounts: Vec<AccountId>,
}

impl Refresh {
    /// Resolves once the next call sees the change.
    pub(crate) async fn done(self) {
        let ledger = self.ledger.clone();
        drop(self);
        ledger.flush().await;
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        for account in &self.accounts {
            self.ledger.return_all(account);
        }
        let accounts = std::mem::take(&mut self.accounts);
        self.ledger.0.send(Command::Refresh(accounts));
    }
}
