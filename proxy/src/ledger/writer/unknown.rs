//! A batch whose commit failed: whether it is in the store is found out before
//! the next one is written, so that nothing counts twice.

use super::Writer;
use crate::key::AccountId;
use crate::ledger::claim::Waiting;
use crate::ledger::entry::{Entry, Outcome};
use crate::money::NanoUsd;
use crate::store::ledger::process::applied_batch;

/// A batch of which nobody knows what became.
#[derive(Debug)]
pub(super) struct Unknown {
    /// How many of the entries owed were in it.
    pub(super) owed: usize,
    /// What it allotted to requests that have been told no since.
    pub(super) granted: Vec<(AccountId, NanoUsd)>,
}

/// What these claims were allotted, if the batch is in the store.
pub(super) fn granted(
    claims: &[Waiting],
    outcomes: impl Iterator<Item = Outcome>,
) -> Vec<(AccountId, NanoUsd)> {
    let mut granted = Vec::new();
    for ((claim, _), outcome) in claims.iter().zip(outcomes) {
        if let Outcome::Granted(grants) = outcome {
            let amounts = grants.iter();
            granted.extend(amounts.map(|grant| (claim.accounts[grant.at].clone(), grant.amount)));
        }
    }
    granted
}

impl Writer {
    /// Settles what became of it. False while the store does not say.
    pub(super) async fn resolve_unknown(&mut self) -> bool {
        let Some(unknown) = self.unknown.take() else {
            return true;
        };
        match applied_batch(&self.store, self.process).await {
            Ok(Some(batch)) if batch == self.batch => {
                self.drop_owed(unknown.owed);
                for (account, amount) in unknown.granted {
                    self.owe_return(self.process, account, amount);
                }
                true
            }
            Ok(Some(_)) => true,
            // Whether it was written nobody can tell any more. A posting is written
            // once in any case; a return that was is not in the estimate.
            Ok(None) => {
                let later = self.owed.split_off(unknown.owed);
                let known = std::mem::replace(&mut self.owed, later).into_iter();
                let posts = known.filter(|entry| matches!(entry, Entry::Post(_)));
                let posts = posts.collect::<Vec<_>>();
                self.settle_backlog(unknown.owed - posts.len());
                self.owed.splice(..0, posts);
                true
            }
            Err(error) => {
                tracing::error!(%error, "reading the ledger's last batch");
                self.unknown = Some(unknown);
                false
            }
        }
    }
}
