//! The record of each call: one row a request, keyed by its id, never changed.
//!
//! It owns the row and its insertion, which runs inside the ledger's batch so
//! that a row and the total it adds to commit together. It keeps no prompt, no
//! answer and no secret.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::key::KeyHash;
use crate::money::NanoUsd;
use crate::price::Usage;

/// One settled call.
#[derive(Debug, Clone)]
pub(crate) struct UsageRow {
    pub(crate) request_id: Uuid,
    /// None for the master key, which has no account.
    pub(crate) key: Option<KeyHash>,
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
    connection: &mut SqliteConnection,
    row: &UsageRow,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "INSERT INTO usage (request_id, key_hash, model, deployment_id, prompt_tokens,
             completion_tokens, cached_tokens, cost_nanousd, estimated, streamed, status,
             started_at_us, finished_at_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (request_id) DO NOTHING",
    )
    .bind(row.request_id.to_string())
    .bind(row.key.as_ref().map(ToString::to_string))
    .bind(&row.model)
    .bind(&row.deployment_id)
    .bind(count(row.usage.prompt_tokens))
    .bind(count(row.usage.completion_tokens))
    .bind(count(row.usage.cached_tokens))
    .bind(row.cost.nanos())
    .bind(row.estimated)
    .bind(row.streamed)
    .bind(i64::from(row.status))
    .bind(row.started_at.timestamp_micros())
    .bind(row.finished_at.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(result.rows_affected() == 1)
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
