//! The books on disk: what each account may spend, has spent and has allotted.
//!
//! It owns every statement on `account` and the batch that keeps posted totals
//! equal to the sum of their rows. It decides nothing: whether a claim fits is
//! one conditional update, and what to claim is the ledger's business. `admin`
//! calls [`set_limit`] inside its own transactions.

pub(in crate::store) mod accounts;
mod batch;
pub(crate) mod correct;
pub(crate) mod estimate;
pub(crate) mod give_back;
pub(in crate::store) mod grant;
pub(crate) mod process;
pub(crate) mod rates;
pub(crate) mod recover;
pub(crate) mod standings;
pub(crate) mod verify;
pub(crate) mod window;
pub(crate) mod zone;

pub(crate) use self::batch::apply;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::key::{AccountId, Period};
use crate::ledger::account::Standing;
use crate::ledger::entry::{Amounts, Claim, Grant, Outcome};
use crate::money::NanoUsd;
use crate::store::{Database, Store, StoreError};

/// What all processes together may have claimed of one account, capped or not:
/// the sums that a claim is compared by then stay inside their range.
const ALLOTTED_MAX_NANOS: i64 = NanoUsd::MAX.nanos() / 4;

/// Why a batch was not confirmed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("applying a batch of the ledger: nothing was written")]
    NotApplied(#[source] StoreError),
    /// This process was taken for dead: nothing was written, and what it had
    /// allotted has been posted.
    #[error("applying a batch of the ledger: this process was taken for dead")]
    Swept,
    /// The commit itself failed, which can happen before or after the disk has
    /// it: [`process::applied_batch`] tells. The outcomes are true if it has.
    #[error("committing a batch of the ledger: it may have been written")]
    Unknown {
        outcomes: Vec<Outcome>,
        #[source]
        source: StoreError,
    },
}

/// Locks those of the accounts that are there until the transaction ends, in the
/// order of the ledger's batches: who is about to change several of them, each by
/// a statement of its own, locks them first, and waits for no batch in a circle.
pub(crate) async fn lock(
    store: &Store,
    connection: &mut AnyConnection,
    accounts: &[AccountId],
) -> Result<(), StoreError> {
    accounts::Accounts::lock(connection, &store.database, accounts.iter())
        .await
        .map(drop)
        .map_err(StoreError::while_doing("locking accounts"))
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

/// Answers a claim without waiting for anything. None where only a batch can.
/// `posted` is what this process has posted of each account, whether it is in the
/// store yet or not.
pub(crate) fn claim_at_once(store: &Store, claim: &Claim, posted: &Amounts) -> Option<Vec<Grant>> {
    match &store.database {
        Database::Sqlite(local) => local.journal.claim(claim, posted),
        Database::Postgres(_) => None,
    }
}

/// Where an account stands; None where there is none.
pub(crate) async fn standing(
    store: &Store,
    account: &AccountId,
) -> Result<Option<Standing>, StoreError> {
    if let Database::Sqlite(local) = &store.database
        && let Some(standing) = local.journal.standing(account).await?
    {
        return Ok(Some(standing));
    }
    select_standing(store.reader(), account)
        .await
        .map_err(StoreError::while_doing("reading an account"))
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
