//! Owns the rows of `keys` and `deleted_keys`. Writes take the caller's
//! transaction, so that a key and its account change together; reads use the
//! pool. Called by the key cache and the admin API.

mod count;
pub(crate) mod earlier;
pub(crate) mod import;
mod last_calls;
mod list;
mod many;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

pub(crate) use self::list::{Filter, Listed, Match, Page, SortBy, Status, like};
use super::{
    Store, StoreError,
    row::{
        KeyRow, deleted_at, deleted_key_columns, key_columns, shared_to_json, to_json,
        value_ends_at, value_seal,
    },
};
use crate::key::{Key, KeyHash};

/// `hash_version`: the SHA-256 alone, and with a seal besides.
const PLAIN: i64 = 1;
const SEALED: i64 = 2;

/// A caller waits for PostgreSQL to know its key no longer than this.
const KEY_DEADLINE: Duration = Duration::from_millis(250);

impl Store {
    /// The live key of this value, or the one that had it before; in time, or
    /// not at all.
    pub(crate) async fn key(&self, hash: KeyHash) -> Result<Option<Key>, StoreError> {
        self.within(KEY_DEADLINE, self.read_key(hash)).await
    }

    async fn read_key(&self, hash: KeyHash) -> Result<Option<Key>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            key_columns!(),
            ", CAST(NULL AS BIGINT) AS ends_at_us, keys.seal AS value_seal \
                 FROM keys WHERE hash = $1 UNION ALL SELECT ",
            key_columns!(),
            ", earlier_keys.ends_at_us, earlier_keys.seal FROM earlier_keys \
                 JOIN keys ON keys.account_hash = earlier_keys.account_hash \
                 WHERE earlier_keys.hash = $1",
        ))
        .bind(hash.to_string())
        .fetch_optional(&self.reader)
        .await
        .map_err(StoreError::while_doing("reading a key"))?;
        let Some(row) = row else { return Ok(None) };
        let mut key = KeyRow::read(&row)?;
        key.value_ends_at = value_ends_at(&row)?;
        key.seal = value_seal(&row)?;
        Ok(Some(key))
    }

    /// The latest key of this hash that was deleted, and when.
    pub(crate) async fn deleted_key(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(Key, DateTime<Utc>)>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            deleted_key_columns!(),
            " FROM deleted_keys WHERE hash = $1 ORDER BY id DESC LIMIT 1",
        ))
        .bind(hash.to_string())
        .fetch_optional(&self.reader)
        .await
        .map_err(StoreError::while_doing("reading a deleted key"))?;
        let Some(row) = row else { return Ok(None) };
        let key = KeyRow::read(&row)?;
        Ok(deleted_at(&row).map(|at| (key, at)))
    }
}

/// The key as this transaction sees it.
pub(crate) async fn find(
    write: &mut AnyConnection,
    hash: KeyHash,
) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        key_columns!(),
        " FROM keys WHERE hash = $1",
    ))
    .bind(hash.to_string())
    .fetch_optional(write)
    .await
    .map_err(StoreError::while_doing("reading a key to change it"))?;
    row.as_ref().map(KeyRow::read).transpose()
}

/// The key of this alias, if there is one.
pub(crate) async fn find_alias(
    write: &mut AnyConnection,
    alias: &str,
) -> Result<Option<KeyHash>, StoreError> {
    // No key has such an alias, and PostgreSQL takes no such text.
    if alias.contains('\0') {
        return Ok(None);
    }
    let hash: Option<String> = sqlx::query_scalar("SELECT hash FROM keys WHERE alias = $1")
        .bind(alias)
        .fetch_optional(write)
        .await
        .map_err(StoreError::while_doing("looking up an alias"))?;
    Ok(hash.as_deref().and_then(KeyHash::from_hex))
}

/// Adds a key, or rewrites all its columns.
pub(crate) async fn put(write: &mut AnyConnection, key: &Key) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO keys (hash, key_name, alias, models, max_budget_nanousd, expires_at_us, \
         blocked, metadata, key_type, allowed_routes, scopes, shared_accounts, allowed_cidrs, \
         user_id, team_id, \
         created_at_us, updated_at_us, account_hash, limits, aliases, soft_budget_nanousd, \
         budget_id, seal, hash_version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22, $23, $24) \
         ON CONFLICT (hash) DO UPDATE SET key_name = excluded.key_name, alias = excluded.alias, \
         models = excluded.models, max_budget_nanousd = excluded.max_budget_nanousd, \
         expires_at_us = excluded.expires_at_us, blocked = excluded.blocked, \
         metadata = excluded.metadata, key_type = excluded.key_type, \
         allowed_routes = excluded.allowed_routes, scopes = excluded.scopes, \
         shared_accounts = excluded.shared_accounts, \
         allowed_cidrs = excluded.allowed_cidrs, user_id = excluded.user_id, \
         team_id = excluded.team_id, limits = excluded.limits, aliases = excluded.aliases, \
         soft_budget_nanousd = excluded.soft_budget_nanousd, budget_id = excluded.budget_id, \
         seal = excluded.seal, hash_version = excluded.hash_version, \
         updated_at_us = excluded.updated_at_us",
    )
    .bind(key.hash.to_string())
    .bind(&*key.key_name)
    .bind(&key.alias)
    .bind(to_json(&key.models))
    .bind(key.max_budget.map(crate::money::NanoUsd::nanos))
    .bind(key.expires_at.map(|at| at.timestamp_micros()))
    .bind(i64::from(key.blocked))
    .bind(key.metadata.as_str())
    .bind(key.key_type.as_str())
    .bind(to_json(&key.allowed_routes))
    .bind(to_json(&key.scopes))
    .bind(shared_to_json(key))
    .bind(to_json(&key.allowed_cidrs))
    .bind(&key.user_id)
    .bind(&key.team_id)
    .bind(key.created_at.timestamp_micros())
    .bind(key.updated_at.timestamp_micros())
    .bind(key.account().to_string())
    .bind(to_json(&key.limits))
    .bind(to_json(&key.aliases))
    .bind(key.soft_budget.map(crate::money::NanoUsd::nanos))
    .bind(&key.budget_id)
    .bind(key.seal.map(|seal| seal.to_string()))
    .bind(if key.seal.is_some() { SEALED } else { PLAIN })
    .execute(write)
    .await
    .map(drop)
    .map_err(StoreError::while_doing("writing a key"))
}

/// Moves a key to the archive; false when it was not there.
pub(crate) async fn delete(
    write: &mut AnyConnection,
    hash: KeyHash,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let archived = sqlx::query(
        "INSERT INTO deleted_keys (hash, hash_version, key_name, alias, models, \
         max_budget_nanousd, expires_at_us, blocked, metadata, key_type, allowed_routes, scopes, \
         shared_accounts, allowed_cidrs, user_id, team_id, created_at_us, updated_at_us, \
         account_hash, limits, aliases, soft_budget_nanousd, budget_id, deleted_at_us) \
         SELECT hash, hash_version, key_name, alias, models, max_budget_nanousd, expires_at_us, \
         blocked, metadata, key_type, allowed_routes, scopes, shared_accounts, allowed_cidrs, \
         user_id, team_id, \
         created_at_us, updated_at_us, account_hash, limits, aliases, soft_budget_nanousd, budget_id, $1 \
         FROM keys WHERE hash = $2",
    )
    .bind(now.timestamp_micros())
    .bind(hash.to_string())
    .execute(&mut *write)
    .await
    .map_err(StoreError::while_doing("archiving a key"))?;
    earlier::end_all(write, hash).await?;
    sqlx::query("DELETE FROM keys WHERE hash = $1")
        .bind(hash.to_string())
        .execute(write)
        .await
        .map_err(StoreError::while_doing("deleting a key"))?;
    Ok(archived.rows_affected() > 0)
}
