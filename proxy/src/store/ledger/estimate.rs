//! Estimated postings: what a dead process had allotted, and calls without a
//! count. One is made smaller when it turns out what it stood for, and released
//! by an operator who knows that nothing was spent.

use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::accounts::Accounts;
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::store::{Database, Store, StoreError};

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Released {
    /// This much is off each of its accounts.
    Now(NanoUsd),
    /// It had been before, or was worth nothing.
    Before,
    /// There is a call of this id, and its cost was counted.
    Counted,
    Unknown,
}

/// The id of what was posted for a dead process's allotment of an account: the
/// same for whoever asks.
pub(super) fn id_of(process: &str, account: &AccountId) -> Uuid {
    let text = format!("{process}\n{}\n{}", account.scope(), account.subject());
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0; 16];
    for (byte, from) in bytes.iter_mut().zip(digest.iter()) {
        *byte = *from;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Takes up to `amount` off what was posted for a dead process; answers how much,
/// which the caller takes off the account's total too.
pub(super) async fn take_off(
    connection: &mut AnyConnection,
    process: Uuid,
    account: &AccountId,
    amount: NanoUsd,
) -> Result<NanoUsd, sqlx::Error> {
    let id = id_of(&process.to_string(), account).to_string();
    let cost: Option<i64> =
        sqlx::query_scalar("SELECT cost_nanousd FROM usage WHERE request_id = $1")
            .bind(&id)
            .fetch_optional(&mut *connection)
            .await?;
    let cost = NanoUsd::from_nanos(cost.unwrap_or_default());
    let taken = cost.min(amount);
    if taken > NanoUsd::ZERO {
        change(connection, &id, cost, cost.saturating_sub(taken)).await?;
    }
    Ok(taken)
}

/// Releases an estimated posting: its row stays and is worth nothing, and its
/// accounts are freed of it.
///
/// # Errors
/// When the store fails; nothing is changed then.
pub(crate) async fn release(store: &Store, request_id: Uuid) -> Result<Released, StoreError> {
    let mut transaction = store.begin_write().await?;
    let failed = || StoreError::while_doing("releasing an estimated posting");
    let released = release_row(&mut transaction, &store.database, &request_id.to_string()).await;
    let released = released.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    Ok(released)
}

async fn release_row(
    connection: &mut AnyConnection,
    database: &Database,
    id: &str,
) -> Result<Released, sqlx::Error> {
    let row = sqlx::query("SELECT cost_nanousd, estimated FROM usage WHERE request_id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(Released::Unknown);
    };
    if row.try_get::<i64, _>("estimated")? == 0 {
        return Ok(Released::Counted);
    }
    let cost = NanoUsd::from_nanos(row.try_get("cost_nanousd")?);
    if cost == NanoUsd::ZERO {
        return Ok(Released::Before);
    }
    change(connection, id, cost, NanoUsd::ZERO).await?;
    let accounts = sqlx::query(
        "SELECT 'key' AS scope, key_hash AS subject FROM usage
         WHERE request_id = $1 AND key_hash IS NOT NULL
         UNION ALL SELECT scope, subject FROM usage_account WHERE request_id = $1",
    )
    .bind(id)
    .fetch_all(&mut *connection)
    .await?;
    let mut charged = Vec::with_capacity(accounts.len());
    for account in accounts {
        let scope = account.try_get::<String, _>("scope")?;
        let subject = account.try_get::<String, _>("subject")?;
        charged.extend(AccountId::parse(&scope, &subject));
    }
    let mut rows = Accounts::lock(connection, database, charged.iter()).await?;
    for account in &charged {
        if let Some(row) = rows.get(account) {
            row.post(-cost.nanos());
        }
    }
    rows.write(connection).await?;
    Ok(Released::Now(cost))
}

/// Fails where somebody else has changed the row since it was read.
async fn change(
    connection: &mut AnyConnection,
    id: &str,
    from: NanoUsd,
    to: NanoUsd,
) -> Result<(), sqlx::Error> {
    let changed = sqlx::query(
        "UPDATE usage SET cost_nanousd = $3 WHERE request_id = $1 AND cost_nanousd = $2",
    )
    .bind(id)
    .bind(from.nanos())
    .bind(to.nanos())
    .execute(connection)
    .await?;
    match changed.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}
