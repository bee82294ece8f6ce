//! What a dead process left behind: allotments that nothing will ever settle.
//!
//! It posts them, flagged as estimated, because the requests in flight may have
//! cost as much and nobody can tell any more. Each account gets a row of its own,
//! because what was allotted of one need not be what was allotted of another.
//! Only the ledger calls it: on SQLite once, before anything else of this process
//! touches the books; on PostgreSQL again and again, and one of those that notice
//! a dead process does it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::accounts::Accounts;
use super::{estimate, process};
use crate::key::AccountId;
use crate::money::NanoUsd;
use crate::price::Usage;
use crate::store::usage::{self, UsageRow};
use crate::store::{Database, Store, StoreError};

/// An estimated posting that recovery made.
#[derive(Debug, Clone)]
pub(crate) struct Recovered {
    pub(crate) account: AccountId,
    pub(crate) request_id: Uuid,
    pub(crate) amount: NanoUsd,
}

/// Posts the allotments of every dead process, one transaction a process.
pub(crate) async fn recover(
    store: &Store,
    now: DateTime<Utc>,
) -> Result<Vec<Recovered>, StoreError> {
    let failed = || StoreError::while_doing("recovering the books");
    let mut recovered = Vec::new();
    for dead in process::dead(store).await.map_err(failed())? {
        let mut transaction = store.begin_batch().await?;
        if !process::bury(&mut transaction, &store.database, &dead)
            .await
            .map_err(failed())?
        {
            continue;
        }
        let posted = post_all(&mut transaction, &store.database, &dead, now).await;
        let Some(posted) = posted.map_err(failed())? else {
            // It stays allotted, so nothing is spent twice.
            tracing::error!(
                process = dead,
                "what a dead process had allotted is left to a version that knows all its accounts"
            );
            continue;
        };
        transaction.commit().await.map_err(failed())?;
        recovered.extend(posted);
    }
    Ok(recovered)
}

/// None where an account cannot be read, as one of a newer version.
async fn post_all(
    connection: &mut AnyConnection,
    database: &Database,
    process: &str,
    now: DateTime<Utc>,
) -> Result<Option<Vec<Recovered>>, sqlx::Error> {
    let query = match database {
        // Nobody else has any.
        Database::Sqlite(_) => sqlx::query(
            "SELECT scope, subject, allotted_nanousd AS amount_nanousd FROM account
             WHERE allotted_nanousd > 0",
        ),
        Database::Postgres(_) => {
            sqlx::query("SELECT scope, subject, amount_nanousd FROM allotment WHERE process = $1")
                .bind(process)
        }
    };
    let rows = query.fetch_all(&mut *connection).await?;
    let mut recovered = Vec::with_capacity(rows.len());
    for row in rows {
        let scope = row.try_get::<String, _>("scope")?;
        let subject = row.try_get::<String, _>("subject")?;
        let amount = NanoUsd::from_nanos(row.try_get("amount_nanousd")?);
        if amount == NanoUsd::ZERO {
            continue;
        }
        let Some(account) = AccountId::parse(&scope, &subject) else {
            return Ok(None);
        };
        recovered.push(Recovered {
            request_id: estimate::id_of(process, &account),
            account,
            amount,
        });
    }
    let rows: Vec<UsageRow> = recovered.iter().map(|one| estimated(one, now)).collect();
    usage::insert(connection, database, &rows.iter().collect::<Vec<_>>()).await?;
    let accounts = recovered.iter().map(|one| &one.account);
    let mut accounts = Accounts::lock(connection, database, accounts).await?;
    for Recovered {
        account, amount, ..
    } in &recovered
    {
        if let Some(row) = accounts.get(account) {
            row.post(amount.nanos());
            row.release(*amount);
        }
    }
    accounts.write(connection).await?;
    sqlx::query("DELETE FROM allotment WHERE process = $1")
        .bind(process)
        .execute(connection)
        .await?;
    Ok(Some(recovered))
}

fn estimated(recovered: &Recovered, now: DateTime<Utc>) -> UsageRow {
    UsageRow {
        request_id: recovered.request_id,
        accounts: Arc::from([recovered.account.clone()]),
        model: Arc::default(),
        deployment_id: Arc::default(),
        usage: Usage::default(),
        cost: recovered.amount,
        estimated: true,
        streamed: false,
        status: 0,
        started_at: now,
        finished_at: now,
    }
}
