//! One batch of the ledger as one transaction: rows first, then each account
//! once, however many calls were charged to it, so that a busy account costs the
//! store a few statements a batch.
//!
//! Accounts are locked in the order of their names, by every process: none waits
//! for another in a circle. Whether a claim fits is asked of rows that are
//! locked, and said once more by the condition of the update that allots it.

use std::collections::BTreeMap;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::{ALLOTTED_MAX_NANOS, ApplyError, estimate, process, read_standing};
use crate::key::AccountId;
use crate::ledger::account::{AHEAD_DIVISOR, Standing};
use crate::ledger::entry::{Claim, Entry, Grant, Outcome, Posting};
use crate::money::NanoUsd;
use crate::store::{Store, StoreError, usage};

/// What a batch does to its accounts, in the order in which they are locked.
#[derive(Default)]
struct Changes(BTreeMap<(&'static str, String), Change>);

struct Change {
    account: AccountId,
    posted_nanos: i64,
    released: NanoUsd,
    allotted: NanoUsd,
    /// None where there is no such account.
    standing: Option<Standing>,
}

/// Applies entries, all or none, and marks the process with `batch`. Postings and
/// returns go first, whatever their place, and make room for the claims.
pub(crate) async fn apply(
    store: &Store,
    process: Uuid,
    batch: i64,
    entries: &[Entry],
) -> Result<Vec<Outcome>, ApplyError> {
    let not_applied =
        |error| ApplyError::NotApplied(StoreError::while_doing("changing the books")(error));
    let mut transaction = store.begin_batch().await.map_err(ApplyError::NotApplied)?;
    let is_alive = process::mark(&mut transaction, &store.database, process, batch);
    if !is_alive.await.map_err(not_applied)? {
        return Err(ApplyError::Swept);
    }
    let outcomes = change_books(&mut transaction, process, entries).await;
    let outcomes = outcomes.map_err(not_applied)?;
    match transaction.commit().await {
        Ok(()) => Ok(outcomes),
        Err(source) => Err(ApplyError::Unknown {
            outcomes,
            source: StoreError::while_doing("committing the books")(source),
        }),
    }
}

async fn change_books(
    connection: &mut AnyConnection,
    process: Uuid,
    entries: &[Entry],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let mut changes = Changes::default();
    let mut outcomes = Vec::with_capacity(entries.len());
    let rows = entries.iter().filter_map(|entry| match entry {
        Entry::Post(posting) => Some(&posting.row),
        Entry::Return { .. } | Entry::Claim(_) => None,
    });
    let mut written = usage::insert(connection, &rows.collect::<Vec<_>>()).await?;
    for entry in entries {
        outcomes.push(match entry {
            Entry::Post(posting) if written.remove(&posting.row.request_id) => {
                changes.post(connection, process, posting).await?;
                Outcome::Posted
            }
            Entry::Post(_) => Outcome::AlreadyPosted,
            Entry::Return {
                process: owner,
                account,
                amount,
            } => {
                changes
                    .release(connection, (process, *owner), account, *amount)
                    .await?;
                Outcome::Returned
            }
            Entry::Claim(claim) => {
                for (_, account) in claim.asked() {
                    changes.of(account);
                }
                // Answered below.
                Outcome::Returned
            }
        });
    }
    for change in changes.0.values_mut() {
        let (posted, released) = (change.posted_nanos, change.released);
        change.standing = post(connection, &change.account, posted, released).await?;
    }
    for (entry, outcome) in entries.iter().zip(&mut outcomes) {
        if let Entry::Claim(claim) = entry {
            *outcome = changes.claim(claim);
        }
    }
    for change in changes.0.values() {
        allot(connection, change).await?;
        move_allotment(connection, process, change).await?;
    }
    Ok(outcomes)
}

impl Changes {
    fn of(&mut self, account: &AccountId) -> &mut Change {
        let name = (account.scope(), account.subject());
        self.0.entry(name).or_insert_with(|| Change {
            account: account.clone(),
            posted_nanos: 0,
            released: NanoUsd::ZERO,
            allotted: NanoUsd::ZERO,
            standing: None,
        })
    }

    async fn post(
        &mut self,
        connection: &mut AnyConnection,
        process: Uuid,
        posting: &Posting,
    ) -> Result<(), sqlx::Error> {
        let row = &posting.row;
        for (account, release) in row.accounts.iter().zip(posting.releases) {
            let change = self.of(account);
            change.posted_nanos = change.posted_nanos.saturating_add(row.cost.nanos());
            self.release(connection, (process, posting.process), account, release)
                .await?;
        }
        Ok(())
    }

    /// Takes an amount off the allotment of `owner`. Where that process was taken
    /// for dead, its allotment has become an estimate, and it goes off that.
    async fn release(
        &mut self,
        connection: &mut AnyConnection,
        (process, owner): (Uuid, Uuid),
        account: &AccountId,
        amount: NanoUsd,
    ) -> Result<(), sqlx::Error> {
        if owner == process {
            let change = self.of(account);
            change.released = change.released.saturating_add(amount);
            return Ok(());
        }
        let taken = estimate::take_off(connection, owner, account, amount).await?;
        let change = self.of(account);
        change.posted_nanos = change.posted_nanos.saturating_sub(taken.nanos());
        Ok(())
    }

    /// All or none, of what is left after the claims before it.
    fn claim(&mut self, claim: &Claim) -> Outcome {
        let mut grants = Vec::new();
        for (at, account) in claim.asked() {
            let change = self.of(account);
            let least = claim.least[at];
            if !change.fits(least) {
                let standing = change.standing.unwrap_or_default();
                self.take_back(claim, &grants);
                return Outcome::Refused { at, standing };
            }
            let most = least.saturating_add(change.ahead(least, claim.ahead[at]));
            let amount = if change.fits(most) { most } else { least };
            grants.push(Grant {
                at,
                amount,
                standing: change.grant(amount),
            });
        }
        Outcome::Granted(grants)
    }

    fn take_back(&mut self, claim: &Claim, grants: &[Grant]) {
        for grant in grants {
            let change = self.of(&claim.accounts[grant.at]);
            change.allotted = change.allotted.saturating_sub(grant.amount);
            if let Some(standing) = &mut change.standing {
                standing.allotted = standing.allotted.saturating_sub(grant.amount);
            }
        }
    }
}

impl Change {
    fn fits(&self, amount: NanoUsd) -> bool {
        let Some(standing) = self.standing else {
            return false;
        };
        let allotted = standing.allotted.nanos().saturating_add(amount.nanos());
        let used = standing.posted.nanos().saturating_add(allotted);
        allotted <= ALLOTTED_MAX_NANOS && standing.limit.is_none_or(|limit| used <= limit.nanos())
    }

    /// How much of `asked` goes with a claim: a part of what is left then, by what
    /// all processes have taken, so that it shrinks as the limit comes near.
    fn ahead(&self, least: NanoUsd, asked: NanoUsd) -> NanoUsd {
        let standing = self.standing.unwrap_or_default();
        let Some(limit) = standing.limit else {
            return asked;
        };
        let used = standing.posted.saturating_add(standing.allotted);
        let left = limit.saturating_sub(used.saturating_add(least));
        asked.min(NanoUsd::from_nanos(left.nanos() / AHEAD_DIVISOR))
    }

    fn grant(&mut self, amount: NanoUsd) -> Standing {
        self.allotted = self.allotted.saturating_add(amount);
        let standing = self.standing.get_or_insert_default();
        standing.allotted = standing.allotted.saturating_add(amount);
        *standing
    }
}

/// Locks an account and changes its totals; answers where it stands then. The
/// conditions keep a total inside its range, where SQLite would turn it into a
/// floating-point number and PostgreSQL would refuse it. What an operator has reset
/// is not taken off once more: the correction shrinks in its place.
pub(super) async fn post(
    connection: &mut AnyConnection,
    account: &AccountId,
    posted_nanos: i64,
    released: NanoUsd,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query(
        "UPDATE account SET
             posted_nanousd = CASE
                 WHEN posted_nanousd > $5 THEN $6
                 WHEN posted_nanousd + $3 < 0 THEN 0
                 ELSE posted_nanousd + $3 END,
             corrected_nanousd = corrected_nanousd - CASE
                 WHEN $3 >= 0 THEN 0
                 WHEN posted_nanousd + $3 < 0 THEN posted_nanousd + $3
                 ELSE 0 END,
             allotted_nanousd = CASE WHEN allotted_nanousd < $4 THEN 0 ELSE allotted_nanousd - $4 END
         WHERE scope = $1 AND subject = $2
         RETURNING limit_nanousd, posted_nanousd, allotted_nanousd, budget_duration",
    )
    .bind(account.scope())
    .bind(account.subject())
    .bind(posted_nanos)
    .bind(released.nanos())
    .bind(NanoUsd::MAX.nanos() - posted_nanos.max(0))
    .bind(NanoUsd::MAX.nanos())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read_standing).transpose()
}

async fn allot(connection: &mut AnyConnection, change: &Change) -> Result<(), sqlx::Error> {
    if change.allotted == NanoUsd::ZERO {
        return Ok(());
    }
    let allotted = sqlx::query(
        "UPDATE account SET allotted_nanousd = allotted_nanousd + $3
         WHERE scope = $1 AND subject = $2 AND allotted_nanousd <= $4 - $3
             AND (limit_nanousd IS NULL
                 OR posted_nanousd + allotted_nanousd + $3 <= limit_nanousd)",
    )
    .bind(change.account.scope())
    .bind(change.account.subject())
    .bind(change.allotted.nanos())
    .bind(ALLOTTED_MAX_NANOS)
    .execute(connection)
    .await?;
    match allotted.rows_affected() {
        1 => Ok(()),
        // Nobody can have changed a row that is locked; a batch that would
        // break the limit all the same is not written.
        _ => Err(sqlx::Error::RowNotFound),
    }
}

async fn move_allotment(
    connection: &mut AnyConnection,
    process: Uuid,
    change: &Change,
) -> Result<(), sqlx::Error> {
    let moved = change.allotted.nanos() - change.released.nanos();
    if moved == 0 || change.standing.is_none() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO allotment (process, scope, subject, amount_nanousd) VALUES ($1, $2, $3, $4)
         ON CONFLICT (process, scope, subject) DO UPDATE SET amount_nanousd = CASE
             WHEN allotment.amount_nanousd + $5 < 0 THEN 0
             ELSE allotment.amount_nanousd + $5 END",
    )
    .bind(process.to_string())
    .bind(change.account.scope())
    .bind(change.account.subject())
    .bind(moved.max(0))
    .bind(moved)
    .execute(connection)
    .await
    .map(drop)
}
