//! One batch of the ledger as one transaction: rows first, then each account
//! once, however many calls were charged to it, so that a batch costs the store a
//! few statements however many calls and accounts there are.
//!
//! Whether a claim fits is asked of rows that are locked, and said once more by
//! the condition of the statement that writes them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::accounts::Accounts;
use super::{ApplyError, estimate, process};
use crate::key::AccountId;
use crate::ledger::account::{AHEAD_DIVISOR, Standing};
use crate::ledger::entry::{Claim, Entry, Grant, Outcome, Posting};
use crate::money::NanoUsd;
use crate::store::many::filled::{self, SIZES, chunks};
use crate::store::{Database, Store, StoreError, usage};

/// What a batch does to its accounts.
#[derive(Default)]
struct Changes(BTreeMap<AccountId, Change>);

#[derive(Default)]
struct Change {
    posted_nanos: i64,
    released: NanoUsd,
    allotted: NanoUsd,
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
    let outcomes = change_books(&mut transaction, &store.database, process, entries).await;
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
    database: &Database,
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
    let mut rows = Accounts::lock(connection, database, changes.0.keys()).await?;
    for (account, change) in &changes.0 {
        if let Some(row) = rows.get(account) {
            row.post(change.posted_nanos);
            row.release(change.released);
        }
    }
    for (entry, outcome) in entries.iter().zip(&mut outcomes) {
        if let Entry::Claim(claim) = entry {
            *outcome = changes.claim(&mut rows, claim);
        }
    }
    let moved = changes.moved(&mut rows);
    rows.write(connection).await?;
    move_allotments(connection, process, &moved).await?;
    Ok(outcomes)
}

impl Changes {
    fn of(&mut self, account: &AccountId) -> &mut Change {
        self.0.entry(account.clone()).or_default()
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
    fn claim(&mut self, rows: &mut Accounts, claim: &Claim) -> Outcome {
        let mut grants: Vec<Grant> = Vec::new();
        for (at, account) in claim.asked() {
            let least = claim.least[at];
            let Some(row) = rows.get(account).filter(|row| row.fits(least)) else {
                let standing = rows.get(account).map(|row| row.standing());
                for grant in grants {
                    let account = &claim.accounts[grant.at];
                    rows.get(account)
                        .into_iter()
                        .for_each(|row| row.release(grant.amount));
                }
                let standing = standing.unwrap_or_default();
                return Outcome::Refused { at, standing };
            };
            let most = least.saturating_add(ahead(row.standing(), least, claim.ahead[at]));
            let amount = if row.fits(most) { most } else { least };
            row.allot(amount);
            grants.push(Grant {
                at,
                amount,
                standing: row.standing(),
            });
        }
        for grant in &grants {
            let change = self.of(&claim.accounts[grant.at]);
            change.allotted = change.allotted.saturating_add(grant.amount);
        }
        Outcome::Granted(grants)
    }

    /// By how much the allotments of this process grow, or shrink below zero.
    fn moved(&self, rows: &mut Accounts) -> Vec<(&AccountId, i64)> {
        self.0
            .iter()
            .map(|(account, change)| (account, change.allotted.nanos() - change.released.nanos()))
            .filter(|(account, moved)| *moved != 0 && rows.get(account).is_some())
            .collect()
    }
}

/// How much of `asked` goes with a claim: a part of what is left then, by what
/// all processes have taken, so that it shrinks as the limit comes near.
fn ahead(standing: Standing, least: NanoUsd, asked: NanoUsd) -> NanoUsd {
    let Some(limit) = standing.limit else {
        return asked;
    };
    let used = standing.posted.saturating_add(standing.allotted);
    let left = limit.saturating_sub(used.saturating_add(least));
    asked.min(NanoUsd::from_nanos(left.nanos() / AHEAD_DIVISOR))
}

static GROW: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH moved (process, scope, subject, amount) AS (VALUES ",
        4,
        ")
         INSERT INTO allotment (process, scope, subject, amount_nanousd)
         SELECT process, scope, subject, amount FROM moved WHERE scope IS NOT NULL
         ON CONFLICT (process, scope, subject) DO UPDATE
             SET amount_nanousd = allotment.amount_nanousd + excluded.amount_nanousd",
    )
});

static SHRINK: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH moved (process, scope, subject, amount) AS (VALUES ",
        4,
        ")
         UPDATE allotment SET amount_nanousd = CASE
             WHEN amount_nanousd < moved.amount THEN 0 ELSE amount_nanousd - moved.amount END
         FROM moved
         WHERE allotment.process = moved.process AND allotment.scope = moved.scope
             AND allotment.subject = moved.subject",
    )
});

async fn move_allotments(
    connection: &mut AnyConnection,
    process: Uuid,
    moved: &[(&AccountId, i64)],
) -> Result<(), sqlx::Error> {
    let process = process.to_string();
    let (grown, shrunk): (Vec<_>, Vec<_>) = moved.iter().partition(|(_, amount)| *amount > 0);
    for (texts, moved) in [(&GROW, grown), (&SHRINK, shrunk)] {
        for (size, moved) in chunks(&moved) {
            let mut query = sqlx::query(texts[size].as_str());
            for one in moved {
                query = query
                    .bind(one.map(|_| process.clone()))
                    .bind(one.map(|(account, _)| account.scope()))
                    .bind(one.map(|(account, _)| account.subject()))
                    .bind(one.map(|(_, amount)| amount.abs()));
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}
