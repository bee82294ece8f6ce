//! A claim that is answered at once, in the task of the call that asks: nothing is
//! needed for it but what is in memory. What it was granted outlives this process
//! once [`Journal::write_claims`] has written it, which no call is sent before; one
//! write does for all that has been claimed until then. A power cut may undo what was
//! granted since [`Journal::keep_claims`].

use super::{Books, Journal};
use crate::ledger::entry::{Amounts, Claim, Grant, Outcome};
use crate::store::ledger::grant::grant;
use crate::store::{Store, StoreError};

impl Journal {
    /// None where a batch must answer: while another one is written, after an error,
    /// where an account is not known, and where the claim does not fit, because what
    /// goes back may not be written yet. `posted` is what is known to be posted of
    /// each account, whether it is written yet or not.
    pub(in crate::store) fn claim(&self, claim: &Claim, posted: &Amounts) -> Option<Vec<Grant>> {
        self.books.try_lock().ok()?.claim(claim, posted)
    }

    /// All that was claimed outlives this process from here on, also what another call
    /// has claimed and this one shares. After an error of the file, once the tables
    /// have it.
    pub(in crate::store) async fn write_claims(&self, store: &Store) -> Result<(), StoreError> {
        if self.tail.write_claims() {
            return Ok(());
        }
        // Rare, and large.
        Box::pin(async {
            let _turn = self.take_turn().await?;
            // Whoever had the tables may have folded everything.
            if self.tail.write_claims() {
                return Ok(());
            }
            self.fold_in_turn(&store.writer).await
        })
        .await
    }

    /// Waits for the disk to keep what was written of claims.
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
        if self.files.tail().is_broken() || self.process != Some(claim.process) {
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
        let id = (claim.process, self.batch, self.number + 1);
        self.files.tail().defer(id, totals);
        self.recorded();
        Some(grants)
    }
}
