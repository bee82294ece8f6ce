//! The record of each call: one row a request, keyed by its id, never changed.
//!
//! It owns the row and its insertion, which runs inside the ledger's batch so
//! that a row and the total it adds to commit together. It keeps no prompt, no
//! answer and no secret.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::key::{AccountId, SharedAccount, own_key};
use crate::money::NanoUsd;
use crate::price::Usage;

/// One settled call.
#[derive(Debug, Clone)]
pub(crate) struct UsageRow {
    pub(crate) request_id: Uuid,
    /// Where its cost is posted; none for the master key.
    pub(crate) accounts: Arc<[AccountId]>,
    /// The public model name, as configured.
    pub(crate) model: String,
    pub(crate) deployment_id: String,
    pub(crate) usage: Usage,
    pub(crate) cost: NanoUsd,
    /// The cost is a bound, because the provider gave no count.
    pub(crate) estimated: bool,
    pub(crate) streamed: bool,
    /// The provider's HTTP status; 0 where it gave none.
    pub(crate) status: u16,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) finished_at: DateTime<Utc>,
}

/// Writes a row unless the request has one. True where it was written.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    row: &UsageRow,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "INSERT INTO usage (request_id, key_hash, model, deployment_id, prompt_tokens,
             completion_tokens, cached_tokens, cost_nanousd, estimated, streamed, status,
             started_at_us, finished_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (request_id) DO NOTHING",
    )
    .bind(row.request_id.to_string())
    .bind(own_key(&row.accounts).map(|hash| hash.to_string()))
    .bind(&row.model)
    .bind(&row.deployment_id)
    .bind(count(row.usage.prompt_tokens))
    .bind(count(row.usage.completion_tokens))
    .bind(count(row.usage.cached_tokens))
    .bind(row.cost.nanos())
    .bind(i64::from(row.estimated))
    .bind(i64::from(row.streamed))
    .bind(i64::from(row.status))
    .bind(row.started_at.timestamp_micros())
    .bind(row.finished_at.timestamp_micros())
    .execute(&mut *connection)
    .await?;
    if result.rows_affected() != 1 {
        return Ok(false);
    }
    for account in row.accounts.iter() {
        if let AccountId::Shared(shared) = account {
            insert_account(connection, row.request_id, shared).await?;
        }
    }
    Ok(true)
}

async fn insert_account(
    connection: &mut AnyConnection,
    request_id: Uuid,
    account: &SharedAccount,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO usage_account (scope, subject, request_id) VALUES ($1, $2, $3)")
        .bind(account.scope.as_str())
        .bind(account.subject())
        .bind(request_id.to_string())
        .execute(connection)
        .await
        .map(drop)
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
