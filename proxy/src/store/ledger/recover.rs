//! What a dead process left behind: allotments that nothing will ever settle.
//!
//! It posts them, flagged as estimated, because the requests in flight may have
//! cost as much and nobody can tell any more. Only the ledger calls it, once,
//! before anything else of this process touches the books; the lock on the
//! store's file makes sure that the dead process is dead.

use chrono::{DateTime, Utc};
use sqlx::{Row, Sqlite, Transaction};
use uuid::Uuid;

use super::{KEY_SCOPE, post};
use crate::key::KeyHash;
use crate::money::NanoUsd;
use crate::price::Usage;
use crate::store::usage::{self, UsageRow};
use crate::store::{Store, StoreError};

/// An estimated posting that recovery made.
#[derive(Debug, Clone)]
pub(crate) struct Recovered {
    pub(crate) key: KeyHash,
    pub(crate) request_id: Uuid,
    pub(crate) amount: NanoUsd,
}

/// Posts every outstanding allotment in one transaction.
pub(crate) async fn recover(
    store: &Store,
    now: DateTime<Utc>,
) -> Result<Vec<Recovered>, StoreError> {
    let transaction = store.begin_write().await?;
    post_all(transaction, now)
        .await
        .map_err(StoreError::while_doing("recovering the books"))
}

async fn post_all(
    mut transaction: Transaction<'static, Sqlite>,
    now: DateTime<Utc>,
) -> Result<Vec<Recovered>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT subject, allotted_nanousd FROM account
         WHERE scope = ? AND allotted_nanousd > 0 ORDER BY subject",
    )
    .bind(KEY_SCOPE)
    .fetch_all(&mut *transaction)
    .await?;
    let mut recovered = Vec::with_capacity(rows.len());
    for row in rows {
        let subject = row.try_get::<String, _>("subject")?;
        let Some(key) = KeyHash::from_hex(&subject) else {
            continue;
        };
        let amount = NanoUsd::from_nanos(row.try_get("allotted_nanousd")?);
        let request_id = Uuid::new_v4();
        usage::insert(&mut transaction, &estimated(key, request_id, amount, now)).await?;
        post(&mut transaction, &key, amount, amount).await?;
        recovered.push(Recovered {
            key,
            request_id,
            amount,
        });
    }
    transaction.commit().await?;
    Ok(recovered)
}

fn estimated(key: KeyHash, request_id: Uuid, cost: NanoUsd, now: DateTime<Utc>) -> UsageRow {
    UsageRow {
        request_id,
        key: Some(key),
        model: String::new(),
        deployment_id: String::new(),
        usage: Usage::default(),
        cost,
        estimated: true,
        streamed: false,
        status: 0,
        started_at: now,
        finished_at: now,
    }
}
