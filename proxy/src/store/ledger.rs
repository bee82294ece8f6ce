//! The books on disk: what each account may spend, has spent and has allotted.
//!
//! It owns every statement on `account` and the batch that keeps posted totals
//! equal to the sum of their rows. It decides nothing: whether a claim fits is
//! one conditional update, and what to claim is the ledger's business. `admin`
//! calls [`set_limit`] inside its own transactions.

pub(crate) mod correct;
pub(crate) mod recover;
pub(crate) mod standings;
pub(crate) mod verify;
pub(crate) mod window;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::key::{AccountId, Period};
use crate::ledger::account::Standing;
use crate::ledger::entry::{Claim, Entry, Grant, Outcome};
use crate::money::NanoUsd;
use crate::store::usage;
use crate::store::{Store, StoreError};

/// What all processes together may have claimed of one account, capped or not:
/// the sums that a claim is compared by then stay inside their range.
const ALLOTTED_MAX_NANOS: i64 = NanoUsd::MAX.nanos() / 4;

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

/// Opens an account, or changes the limit of one that is there; None lifts it.
/// What was spent on it stays, also where a key's value is used again. True
/// where the limit is another one than before.
pub(crate) async fn set_limit(
    connection: &mut AnyConnection,
    account: &AccountId,
    limit: Option<NanoUsd>,
) -> Result<bool, StoreError> {
    sqlx::query(
        "INSERT INTO account (scope, subject, limit_nanousd) VALUES ($1, $2, $3)
         ON CONFLICT (scope, subject) DO UPDATE SET limit_nanousd = excluded.limit_nanousd
             WHERE account.limit_nanousd IS DISTINCT FROM excluded.limit_nanousd",
    )
    .bind(account.scope())
    .bind(account.subject())
    .bind(limit.map(NanoUsd::nanos))
    .execute(connection)
    .await
    .map(|result| result.rows_affected() > 0)
    .map_err(StoreError::while_doing("writing an account's limit"))
}

/// Where an account stands; None where there is none.
pub(crate) async fn standing(
    store: &Store,
    account: &AccountId,
) -> Result<Option<Standing>, StoreError> {
    select_standing(store.reader(), account)
        .await
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
    let mut transaction = store.begin_batch().await.map_err(ApplyError::NotApplied)?;
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        let outcome = apply_one(&mut transaction, entry).await;
        outcomes.push(outcome.map_err(not_applied)?);
    }
    sqlx::query("UPDATE ledger_writer SET batch = $1 WHERE id = 1")
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

async fn apply_one(connection: &mut AnyConnection, entry: &Entry) -> Result<Outcome, sqlx::Error> {
    match entry {
        Entry::Claim(claim) => allot_all(connection, claim).await,
        Entry::Post(posting) => {
            let row = &posting.row;
            if !usage::insert(connection, row).await? {
                return Ok(Outcome::AlreadyPosted);
            }
            for (account, release) in row.accounts.iter().zip(posting.releases) {
                post(connection, account, row.cost, release).await?;
            }
            Ok(Outcome::Posted)
        }
        Entry::Return { account, amount } => {
            post(connection, account, NanoUsd::ZERO, *amount).await?;
            Ok(Outcome::Returned)
        }
    }
}

/// All or none: what was allotted before the first account without room is
/// taken back inside the same transaction.
async fn allot_all(connection: &mut AnyConnection, claim: &Claim) -> Result<Outcome, sqlx::Error> {
    let mut grants = Vec::new();
    for (at, account) in claim.asked() {
        let (least, ahead) = (claim.least[at], claim.ahead[at]);
        if let Some((amount, standing)) = allot(connection, account, least, ahead).await? {
            grants.push(Grant {
                at,
                amount,
                standing,
            });
            continue;
        }
        for grant in grants {
            let account = &claim.accounts[grant.at];
            post(connection, account, NanoUsd::ZERO, grant.amount).await?;
        }
        let standing = select_standing(connection, account).await?;
        return Ok(Outcome::Refused {
            at,
            standing: standing.unwrap_or_default(),
        });
    }
    Ok(Outcome::Granted(grants))
}

/// None where not even `least` fits.
async fn allot(
    connection: &mut AnyConnection,
    account: &AccountId,
    least: NanoUsd,
    ahead: NanoUsd,
) -> Result<Option<(NanoUsd, Standing)>, sqlx::Error> {
    let mut amounts = vec![least.saturating_add(ahead), least];
    amounts.dedup();
    for amount in amounts {
        let row = sqlx::query(
            "UPDATE account SET allotted_nanousd = allotted_nanousd + $3
             WHERE scope = $1 AND subject = $2 AND allotted_nanousd <= $4 - $3
                 AND (limit_nanousd IS NULL
                     OR posted_nanousd + allotted_nanousd + $3 <= limit_nanousd)
             RETURNING limit_nanousd, posted_nanousd, allotted_nanousd, budget_duration",
        )
        .bind(account.scope())
        .bind(account.subject())
        .bind(amount.nanos())
        .bind(ALLOTTED_MAX_NANOS)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            return Ok(Some((amount, read_standing(&row)?)));
        }
    }
    Ok(None)
}

async fn select_standing(
    executor: impl Executor<'_, Database = Any>,
    account: &AccountId,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT limit_nanousd, posted_nanousd, allotted_nanousd, budget_duration FROM account
         WHERE scope = $1 AND subject = $2",
    )
    .bind(account.scope())
    .bind(account.subject())
    .fetch_optional(executor)
    .await?;
    row.as_ref().map(read_standing).transpose()
}

/// The two conditions keep a total inside its range, where SQLite would turn it
/// into a floating-point number and PostgreSQL would refuse it.
async fn post(
    connection: &mut AnyConnection,
    account: &AccountId,
    cost: NanoUsd,
    release: NanoUsd,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE account SET
             posted_nanousd = CASE WHEN posted_nanousd > $5 - $3 THEN $5 ELSE posted_nanousd + $3 END,
             allotted_nanousd = CASE WHEN allotted_nanousd < $4 THEN 0 ELSE allotted_nanousd - $4 END
         WHERE scope = $1 AND subject = $2",
    )
    .bind(account.scope())
    .bind(account.subject())
    .bind(cost.nanos())
    .bind(release.nanos())
    .bind(NanoUsd::MAX.nanos())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn read_standing(row: &AnyRow) -> Result<Standing, sqlx::Error> {
    let limit = row.try_get::<Option<i64>, _>("limit_nanousd")?;
    Ok(Standing {
        limit: limit.map(NanoUsd::from_nanos),
        posted: NanoUsd::from_nanos(row.try_get("posted_nanousd")?),
        allotted: NanoUsd::from_nanos(row.try_get("allotted_nanousd")?),
        period: period(row)?,
    })
}

/// What cannot be read is an error, never a budget without resets.
fn period(row: &AnyRow) -> Result<Option<Period>, sqlx::Error> {
    const COLUMN: &str = "budget_duration";
    let Some(text) = row.try_get::<Option<String>, _>(COLUMN)? else {
        return Ok(None);
    };
    let damaged = || sqlx::Error::ColumnDecode {
        index: COLUMN.to_owned(),
        source: "no duration".into(),
    };
    Period::parse(&text).map(Some).ok_or_else(damaged)
}
