//! The books on disk: what each account may spend, has spent and has allotted.
//!
//! It owns every statement on `account` and the batch that keeps posted totals
//! equal to the sum of their rows. It decides nothing: whether a claim fits is
//! one conditional update, and what to claim is the ledger's business. `admin`
//! calls [`create_account`] and [`set_limit`] inside its own transactions.

pub(crate) mod recover;
pub(crate) mod verify;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::key::KeyHash;
use crate::ledger::account::Standing;
use crate::ledger::entry::{Claim, Entry, Outcome};
use crate::money::NanoUsd;
use crate::store::usage;
use crate::store::{Store, StoreError};

/// The kind of account that every key has: nano-dollars over its lifetime.
const KEY_SCOPE: &str = "key";

/// Why a batch was not confirmed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("applying a batch of the ledger: nothing was written")]
    NotApplied(#[source] StoreError),
    /// The commit itself failed, which can happen before or after the disk has
    /// it: [`applied_batch`] tells. The outcomes are true if it has.
    #[error("committing a batch of the ledger: it may have been written")]
    Unknown {
        outcomes: Vec<Outcome>,
        #[source]
        source: StoreError,
    },
}

/// Opens the account of a key. A key value that is used again keeps the account
/// and what was spent on it.
pub(crate) async fn create_account(
    connection: &mut SqliteConnection,
    key: &KeyHash,
    limit: Option<NanoUsd>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO account (scope, subject, limit_nanousd) VALUES (?, ?, ?)
         ON CONFLICT (scope, subject) DO UPDATE SET limit_nanousd = excluded.limit_nanousd",
    )
    .bind(KEY_SCOPE)
    .bind(key.to_string())
    .bind(limit.map(NanoUsd::nanos))
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::while_doing("opening an account"))
}

/// Changes the limit of a key's account; None lifts it.
pub(crate) async fn set_limit(
    connection: &mut SqliteConnection,
    key: &KeyHash,
    limit: Option<NanoUsd>,
) -> Result<(), StoreError> {
    create_account(connection, key, limit).await
}

/// Where a key's account stands; None where it has none.
pub(crate) async fn standing(store: &Store, key: &KeyHash) -> Result<Option<Standing>, StoreError> {
    let row = sqlx::query(
        "SELECT limit_nanousd, posted_nanousd, allotted_nanousd FROM account
         WHERE scope = ? AND subject = ?",
    )
    .bind(KEY_SCOPE)
    .bind(key.to_string())
    .fetch_optional(store.reader())
    .await;
    row.and_then(|row| row.as_ref().map(read_standing).transpose())
        .map_err(StoreError::while_doing("reading an account"))
}

/// The number of the last batch that is in the store.
pub(crate) async fn applied_batch(store: &Store) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT batch FROM ledger_writer WHERE id = 1")
        .fetch_one(store.reader())
        .await
        .map_err(StoreError::while_doing("reading the ledger's last batch"))
}

/// Applies entries in order, all or none, and marks the store with `batch`.
pub(crate) async fn apply(
    store: &Store,
    batch: i64,
    entries: &[Entry],
) -> Result<Vec<Outcome>, ApplyError> {
    let not_applied =
        |error| ApplyError::NotApplied(StoreError::while_doing("changing the books")(error));
    let mut transaction = store.begin_write().await.map_err(ApplyError::NotApplied)?;
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        let outcome = apply_one(&mut transaction, entry).await;
        outcomes.push(outcome.map_err(not_applied)?);
    }
    sqlx::query("UPDATE ledger_writer SET batch = ? WHERE id = 1")
        .bind(batch)
        .execute(&mut *transaction)
        .await
        .map_err(not_applied)?;
    match transaction.commit().await {
        Ok(()) => Ok(outcomes),
        Err(source) => Err(ApplyError::Unknown {
            outcomes,
            source: StoreError::while_doing("committing the books")(source),
        }),
    }
}

async fn apply_one(
    connection: &mut SqliteConnection,
    entry: &Entry,
) -> Result<Outcome, sqlx::Error> {
    match entry {
        Entry::Claim(claim) => allot(connection, claim).await,
        Entry::Post { row, release } => {
            if !usage::insert(connection, row).await? {
                return Ok(Outcome::AlreadyPosted);
            }
            if let Some(key) = &row.key {
                post(connection, key, row.cost, *release).await?;
            }
            Ok(Outcome::Posted)
        }
        Entry::Return { account, amount } => {
            post(connection, account, NanoUsd::ZERO, *amount).await?;
            Ok(Outcome::Returned)
        }
    }
}

async fn allot(connection: &mut SqliteConnection, claim: &Claim) -> Result<Outcome, sqlx::Error> {
    let key = claim.account;
    let mut amounts = vec![claim.least.saturating_add(claim.ahead), claim.least];
    amounts.dedup();
    for amount in amounts {
        let row = sqlx::query(
            "UPDATE account SET allotted_nanousd = allotted_nanousd + ?3
             WHERE scope = ?1 AND subject = ?2 AND (limit_nanousd IS NULL
                 OR posted_nanousd + allotted_nanousd + ?3 <= limit_nanousd)
             RETURNING limit_nanousd, posted_nanousd, allotted_nanousd",
        )
        .bind(KEY_SCOPE)
        .bind(key.to_string())
        .bind(amount.nanos())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            let standing = read_standing(&row)?;
            return Ok(Outcome::Granted { amount, standing });
        }
    }
    let row = sqlx::query(
        "SELECT limit_nanousd, posted_nanousd, allotted_nanousd FROM account
         WHERE scope = ? AND subject = ?",
    )
    .bind(KEY_SCOPE)
    .bind(key.to_string())
    .fetch_optional(connection)
    .await?;
    let standing = row.as_ref().map(read_standing).transpose()?;
    Ok(Outcome::Refused {
        standing: standing.unwrap_or_default(),
    })
}

/// The two MINs and MAXs keep a total inside its range, where SQLite would turn
/// it into a floating-point number.
async fn post(
    connection: &mut SqliteConnection,
    key: &KeyHash,
    cost: NanoUsd,
    release: NanoUsd,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE account SET posted_nanousd = MIN(posted_nanousd + ?3, ?5),
             allotted_nanousd = MAX(allotted_nanousd - ?4, 0)
         WHERE scope = ?1 AND subject = ?2",
    )
    .bind(KEY_SCOPE)
    .bind(key.to_string())
    .bind(cost.nanos())
    .bind(release.nanos())
    .bind(NanoUsd::MAX.nanos())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn read_standing(row: &SqliteRow) -> Result<Standing, sqlx::Error> {
    let limit = row.try_get::<Option<i64>, _>("limit_nanousd")?;
    Ok(Standing {
        limit: limit.map(NanoUsd::from_nanos),
        posted: NanoUsd::from_nanos(row.try_get("posted_nanousd")?),
        allotted: NanoUsd::from_nanos(row.try_get("allotted_nanousd")?),
    })
}
