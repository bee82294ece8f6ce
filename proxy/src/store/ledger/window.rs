//! Budgets that count from zero again and again, in the store: the row of a
//! budget holds its definition, and each of its windows is an account in a row
//! of its own, which the first call of the window opens. Rows of old windows
//! stay: calls may settle on them later, and verification adds them up.

use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use super::{select_standing, standing};
use crate::key::{AccountId, Period, SharedAccount};
use crate::ledger::account::Standing;
use crate::money::NanoUsd;
use crate::store::{Store, StoreError};

/// Every account that a definition of now decides: the budget as a whole, its
/// window, and the one that follows, which a process whose clock is ahead may have
/// opened already.
pub(crate) fn decided(
    budget: &SharedAccount,
    period: Option<Period>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = AccountId> {
    windows(budget, period, now)
        .chain([budget.clone()])
        .map(AccountId::Shared)
}

fn windows(
    budget: &SharedAccount,
    period: Option<Period>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = SharedAccount> {
    period
        .into_iter()
        .flat_map(move |period| period.windows(now))
        .map(move |window| budget.during(window))
}

/// Defines a budget, or defines it anew. Answers what [`decided`] says where
/// anything is other than before, else nothing.
pub(crate) async fn define(
    connection: &mut AnyConnection,
    budget: &SharedAccount,
    limit: Option<NanoUsd>,
    period: Option<Period>,
    now: DateTime<Utc>,
) -> Result<Vec<AccountId>, StoreError> {
    let failed = || StoreError::while_doing("writing a shared budget");
    let changed = sqlx::query(
        "INSERT INTO account (scope, subject, limit_nanousd, budget_duration)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (scope, subject) DO UPDATE SET limit_nanousd = excluded.limit_nanousd,
                 budget_duration = excluded.budget_duration
             WHERE account.limit_nanousd IS DISTINCT FROM excluded.limit_nanousd
                 OR account.budget_duration IS DISTINCT FROM excluded.budget_duration",
    )
    .bind(budget.scope.as_str())
    .bind(budget.subject())
    .bind(limit.map(NanoUsd::nanos))
    .bind(period.map(|period| period.to_string()))
    .execute(&mut *connection)
    .await
    .map_err(failed())?;
    for window in windows(budget, period, now) {
        sqlx::query("UPDATE account SET limit_nanousd = $3 WHERE scope = $1 AND subject = $2")
            .bind(window.scope.as_str())
            .bind(window.subject())
            .bind(limit.map(NanoUsd::nanos))
            .execute(&mut *connection)
            .await
            .map_err(failed())?;
    }
    Ok(match changed.rows_affected() {
        0 => Vec::new(),
        _ => decided(budget, period, now).collect(),
    })
}

/// How a shared budget is defined, as this transaction sees it.
pub(crate) async fn definition(
    connection: &mut AnyConnection,
    budget: &SharedAccount,
) -> Result<Option<Standing>, StoreError> {
    let id = AccountId::Shared(budget.clone());
    select_standing(connection, &id)
        .await
        .map_err(StoreError::while_doing("reading a shared budget"))
}

/// Where an account stands; that of a window is opened if it is not there yet.
/// It waits for its turn to write then, so that it does not miss a definition
/// which is being written.
pub(crate) async fn opened(
    store: &Store,
    account: &AccountId,
) -> Result<Option<Standing>, StoreError> {
    let found = standing(store, account).await?;
    match account {
        AccountId::Shared(shared) if found.is_none() && shared.window.is_some() => {
            open(store, shared).await
        }
        _ => Ok(found),
    }
}

async fn open(store: &Store, account: &SharedAccount) -> Result<Option<Standing>, StoreError> {
    let failed = || StoreError::while_doing("opening a budget's window");
    let mut write = store.begin_write().await?;
    sqlx::query(
        "INSERT INTO account (scope, subject, limit_nanousd)
         SELECT scope, $3, limit_nanousd FROM account WHERE scope = $1 AND subject = $2
         ON CONFLICT (scope, subject) DO NOTHING",
    )
    .bind(account.scope.as_str())
    .bind(&*account.id)
    .bind(account.subject())
    .execute(&mut *write)
    .await
    .map_err(failed())?;
    let id = AccountId::Shared(account.clone());
    let standing = select_standing(&mut *write, &id).await.map_err(failed())?;
    write.commit().await.map_err(failed())?;
    Ok(standing)
}
