//! What a dead process left behind: allotments that nothing will ever settle.
//!
//! It posts them, flagged as estimated, because the requests in flight may have
//! cost as much and nobody can tell any more. Each account gets a row of its own,
//! because what was allotted of one need not be what was allotted of another. Only the ledger calls it, once,
//! before anything else of this process touches the books; the lock on the
//! store's file makes sure that the dead process is dead.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{Any, Row, Transaction};
use uuid::Uuid;

use super::post;
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::price::Usage;
use crate::store::usage::{self, UsageRow};
use crate::store::{Store, StoreError};

/// An estimated posting that recovery made.
#[derive(Debug, Clone)]
pub(crate) struct Recovered {
    pub(crate) account: AccountId,
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
    mut transaction: Transaction<'static, Any>,
    now: DateTime<Utc>,
) -> Result<Vec<Recovered>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT scope, subject, allotted_nanousd FROM account
         WHERE allotted_nanousd > 0 ORDER BY scope, subject",
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut recovered = Vec::with_capacity(rows.len());
    for row in rows {
        let scope = row.try_get::<String, _>("scope")?;
        let subject = row.try_get::<String, _>("subject")?;
        let Some(account) = AccountId::parse(&scope, &subject) else {
            continue;
        };
        let amount = NanoUsd::from_nanos(row.try_get("allotted_nanousd")?);
        let request_id = Uuid::new_v4();
        let row = estimated(account.clone(), request_id, amount, now);
        usage::insert(&mut transaction, &row).await?;
        post(&mut transaction, &account, amount, amount).await?;
        recovered.push(Recovered {
            account,
            request_id,
            amount,
        });
    }
    transaction.commit().await?;
    Ok(recovered)
}

fn estimated(account: AccountId, request_id: Uuid, cost: NanoUsd, now: DateTime<Utc>) -> UsageRow {
    UsageRow {
        request_id,
        accounts: Arc::from([account]),
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
