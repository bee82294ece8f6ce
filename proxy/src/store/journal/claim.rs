//! A claim that is answered at once, in the task of the call that asks: nothing is
//! needed for it but what is in memory and one write, for which nobody waits. What
//! it was granted outlives this process; a power cut may undo what was granted since
//! [`Journal::keep_claims`].

use super::{Books, Journal};
use crate::ledger::entry::{Amounts, Claim, Grant, Outcome};
use crate::store::ledger::grant::{grant, take_back};

impl Journal {
    /// None where a batch must answer: while another one is written, after an error,
    /// where an account is not known, and where the claim does not fit, because what
    /// goes back may not be written yet. `posted` is what is known to be posted of
    /// each account, whether it is written yet or not.
    pub(in crate::store) fn claim(&self, claim: &Claim, posted: &Amounts) -> Option<Vec<Grant>> {
        self.books.try_lock().ok()?.claim(claim, posted)
    }

    /// Waits for the disk to keep what was claimed.
    pub(in crate::store) async fn keep_claims(&self) {
        let Some(unsynced) = self.books.lock().await.files.unsynced() else {
            return;
        };
        if let Err(error) = self.keep(unsynced).await {
            tracing::error!(%error, "writing the journal");
        }
    }
}

impl Books {
    fn claim(&mut self, claim: &Claim, posted: &Amounts) -> Option<Vec<Grant>> {
        if self.is_broken || self.process != Some(claim.process) {
            return None;
        }
        let Outcome::Granted(grants) = grant(&mut self.accounts, claim, posted) else {
            return None;
        };
        let totals = grants.iter().filter_map(|grant| {
            let account = &claim.accounts[grant.at];
            let row = self.accounts.get(account)?;
            Some((account.clone(), row.total()))
        });
        let totals = totals.collect::<Vec<_>>();
        if let Err(error) = self.append(&[], &totals) {
            tracing::error!(%error, "writing the journal");
            take_back(&mut self.accounts, claim, &grants);
            return None;
        }
        Some(grants)
    }
}
