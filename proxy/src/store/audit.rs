//! The trail of changes: one row a change of a key or a budget, written in the
//! change's own transaction, never changed, and chained by hashes so that a row
//! which is altered or taken out is found.
//!
//! It owns the rows of `audit` and the chain. The key API appends; `GET /audit`
//! lists; `ledger verify` checks. It keeps no secret: a key is told of by its
//! hash.

mod key;
mod list;
mod verify;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Row as _, any::AnyRow};

pub(crate) use self::list::Filter;
pub(crate) use self::verify::verify;
use super::StoreError;

/// What the first row has in place of a previous row's hash.
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One change, before it has its place in the chain.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: DateTime<Utc>,
    /// `master`, the hash of an admin key, or `command` for the command line.
    pub(crate) actor: String,
    /// What was done, as in `key.update`.
    pub(crate) action: &'static str,
    /// Scope and id, as in `key <hash>` and `team <id>`.
    pub(crate) subject: String,
    /// None where there was nothing.
    pub(crate) before: Option<Value>,
    /// None where nothing is left.
    pub(crate) after: Option<Value>,
    /// Of the request to Vault that the change comes from.
    pub(crate) vault_request_id: Option<String>,
}

/// One row of the trail.
#[derive(Debug, Clone)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) at_us: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) vault_request_id: Option<String>,
    pub(crate) previous_hash: String,
    pub(crate) hash: String,
}

/// Writes one change down, as [`append_all`].
pub(crate) async fn append(write: &mut AnyConnection, entry: &Entry) -> Result<(), StoreError> {
    append_all(write, std::slice::from_ref(entry)).await
}

/// Writes changes down in their order. `write` comes from `begin_write`: those
/// transactions run one at a time over all processes, so the chain has no
/// branches.
pub(crate) async fn append_all(
    write: &mut AnyConnection,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let failed = || StoreError::while_doing("writing the audit trail");
    let last = sqlx::query("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")
        .fetch_optional(&mut *write)
        .await
        .map_err(failed())?;
    let (mut id, mut previous_hash) = match last {
        Some(row) => (
            row.try_get::<i64, _>("id").map_err(failed())? + 1,
            row.try_get("hash").map_err(failed())?,
        ),
        None => (1, FIRST.to_owned()),
    };
    for entry in entries {
        let mut row = AuditRow {
            id,
            at_us: entry.at.timestamp_micros(),
            actor: entry.actor.clone(),
            action: entry.action.to_owned(),
            subject: entry.subject.clone(),
            before: entry.before.as_ref().map(Value::to_string),
            after: entry.after.as_ref().map(Value::to_string),
            vault_request_id: entry.vault_request_id.clone(),
            previous_hash,
            hash: String::new(),
        };
        row.hash = row.digest();
        (id, previous_hash) = (id + 1, row.hash.clone());
        insert(write, row).await.map_err(failed())?;
    }
    Ok(())
}

async fn insert(write: &mut AnyConnection, row: AuditRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (id, at_us, actor, action, subject, before_json, after_json,
             vault_request_id, previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(row.id)
    .bind(row.at_us)
    .bind(row.actor)
    .bind(row.action)
    .bind(row.subject)
    .bind(row.before)
    .bind(row.after)
    .bind(row.vault_request_id)
    .bind(row.previous_hash)
    .bind(row.hash)
    .execute(write)
    .await
    .map(drop)
}

impl AuditRow {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            at_us: row.try_get("at_us")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            before: row.try_get("before_json")?,
            after: row.try_get("after_json")?,
            vault_request_id: row.try_get("vault_request_id")?,
            previous_hash: row.try_get("previous_hash")?,
            hash: row.try_get("hash")?,
        })
    }

    /// SHA-256 over everything but itself, as a JSON list: no two rows have the
    /// same text. A text always has a JSON form.
    fn digest(&self) -> String {
        let content = serde_json::to_vec(&(
            self.id,
            &self.previous_hash,
            self.at_us,
            &self.actor,
            &self.action,
            &self.subject,
            &self.before,
            &self.after,
            &self.vault_request_id,
        ));
        let digest = Sha256::digest(content.unwrap_or_default());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests;
