//! Where accounts stand, for those who ask and for the warning on each call.
//!
//! It only reads what this process has in memory, and loads what it has not.

use std::sync::Arc;

use super::{HoldError, Ledger};
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store;

/// One account as this process sees it.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    /// The account of the current window, where the budget has windows.
    pub(crate) account: AccountId,
    pub(crate) limit: Option<NanoUsd>,
    pub(crate) posted: NanoUsd,
    /// By calls of this process that are under way.
    pub(crate) held: NanoUsd,
}

/// The account of a call that is nearest to its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fullest {
    pub(crate) scope: &'static str,
    /// Posted and held, of the limit; rounded down.
    pub(crate) percent: u64,
}

impl Ledger {
    /// The accounts that a call of these would be charged to now.
    pub(crate) async fn positions(
        &self,
        given: &Arc<[AccountId]>,
    ) -> Result<Vec<Position>, HoldError> {
        let current = self.current(given).await?;
        let is_shared = self.0.store.is_shared();
        if is_shared {
            self.flush().await;
        }
        let mut positions = Vec::with_capacity(current.len());
        for account in current.iter() {
            let position = loop {
                match self.position(account) {
                    Some(position) => break position,
                    None => self.load(account).await?,
                }
            };
            positions.push(match is_shared {
                true => self.of_all(position).await?,
                false => position,
            });
        }
        Ok(positions)
    }

    /// With what other processes have spent besides.
    async fn of_all(&self, mut position: Position) -> Result<Position, HoldError> {
        let standing = store::ledger::standing(&self.0.store, &position.account).await;
        let standing = standing.map_err(|error| {
            tracing::error!(%error, "reading an account");
            HoldError::StoreUnavailable
        })?;
        position.posted = standing.map_or(position.posted, |standing| standing.posted);
        Ok(position)
    }

    fn position(&self, id: &AccountId) -> Option<Position> {
        self.0.books().get(id).map(|account| Position {
            account: id.clone(),
            limit: account.limit(),
            posted: account.posted(),
            held: account.held(),
        })
    }

    /// Which of a call's accounts is the fullest; none where none has a limit.
    pub(crate) fn fullest(&self, accounts: &[AccountId]) -> Option<Fullest> {
        let books = self.0.books();
        let known = accounts.iter().filter_map(|id| {
            let account = books.get(id)?;
            let used = account.posted().saturating_add(account.held());
            let percent = percent(used, account.limit()?);
            let scope = id.scope();
            Some(Fullest { scope, percent })
        });
        known.max_by_key(|one| one.percent)
    }
}

/// A budget of nothing is always full.
fn percent(used: NanoUsd, limit: NanoUsd) -> u64 {
    let used = u128::from(used.nanos().unsigned_abs()) * 100;
    let limit = u128::from(limit.nanos().unsigned_abs());
    let percent = used.checked_div(limit).unwrap_or(100);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{NanoUsd, percent};

    #[test]
    fn a_percentage_is_rounded_down_and_never_fails() {
        for (used, limit, expected) in [
            (0, 10, 0),
            (7_999, 10_000, 79),
            (8, 10, 80),
            (30, 10, 300),
            (0, 0, 100),
            (i64::MAX, 1, 900_000_000_000_000_000_000),
        ] {
            let found = percent(NanoUsd::from_nanos(used), NanoUsd::from_nanos(limit));
            assert_eq!(
                u128::from(found),
                expected.min(u128::from(u64::MAX)),
                "{used} {limit}"
            );
        }
    }
}
