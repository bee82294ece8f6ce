//! Owns the values that live keys had before they were regenerated. Called by
//! the admin API, inside its transactions.

use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use crate::{
    key::{Key, KeyHash},
    store::StoreError,
};

/// Puts `key` in the place of its row as it was, `replaced`, whose value works until
/// `ends_at`; the values before it until then at the latest.
pub(crate) async fn replace(
    write: &mut AnyConnection,
    replaced: &Key,
    key: &Key,
    ends_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    execute(
        write,
        "DELETE FROM keys WHERE hash = $1",
        &replaced.hash.to_string(),
    )
    .await?;
    super::put(write, key).await?;
    let failed = || StoreError::while_doing("writing a key's earlier values");
    let ends_at_us = ends_at.timestamp_micros();
    sqlx::query(
        "UPDATE earlier_keys SET ends_at_us = $2 WHERE account_hash = $1 AND ends_at_us > $2",
    )
    .bind(key.account().to_string())
    .bind(ends_at_us)
    .execute(&mut *write)
    .await
    .map_err(failed())?;
    sqlx::query(
        "INSERT INTO earlier_keys (hash, account_hash, ends_at_us, seal) VALUES ($1, $2, $3, $4)",
    )
    .bind(replaced.hash.to_string())
    .bind(key.account().to_string())
    .bind(ends_at_us)
    .bind(replaced.seal.map(|seal| seal.to_string()))
    .execute(write)
    .await
    .map(drop)
    .map_err(failed())
}

/// Ends an earlier value at once; false where it is none that works.
pub(crate) async fn end(
    write: &mut AnyConnection,
    hash: KeyHash,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    sqlx::query("UPDATE earlier_keys SET ends_at_us = $2 WHERE hash = $1 AND ends_at_us > $2")
        .bind(hash.to_string())
        .bind(now.timestamp_micros())
        .execute(write)
        .await
        .map(|result| result.rows_affected() > 0)
        .map_err(StoreError::while_doing("ending a key's earlier value"))
}

/// Whether a live key has or had this value, or has its account under it.
pub(crate) async fn is_taken(write: &mut AnyConnection, hash: KeyHash) -> Result<bool, StoreError> {
    let taken: i64 = sqlx::query_scalar(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM keys WHERE hash = $1)
             OR EXISTS (SELECT 1 FROM keys WHERE account_hash = $1)
             OR EXISTS (SELECT 1 FROM earlier_keys WHERE hash = $1) THEN 1 ELSE 0 END",
    )
    .bind(hash.to_string())
    .fetch_one(write)
    .await
    .map_err(StoreError::while_doing("looking for a key's value"))?;
    Ok(taken != 0)
}

/// Before a key is deleted: no value that it had works any more, and each is
/// remembered as one that has ended.
pub(super) async fn end_all(write: &mut AnyConnection, deleted: KeyHash) -> Result<(), StoreError> {
    for statement in [
        "INSERT INTO ended_values (hash, account_hash)
             SELECT hash, account_hash FROM earlier_keys WHERE account_hash =
                 (SELECT COALESCE(account_hash, hash) FROM keys WHERE hash = $1)
             ON CONFLICT (hash) DO UPDATE SET account_hash = excluded.account_hash",
        "DELETE FROM earlier_keys WHERE account_hash =
             (SELECT COALESCE(account_hash, hash) FROM keys WHERE hash = $1)",
    ] {
        execute(write, statement, &deleted.to_string()).await?;
    }
    Ok(())
}

async fn execute(
    write: &mut AnyConnection,
    statement: &'static str,
    hash: &str,
) -> Result<(), StoreError> {
    sqlx::query(statement)
        .bind(hash)
        .execute(write)
        .await
        .map(drop)
        .map_err(StoreError::while_doing("replacing a key"))
}
