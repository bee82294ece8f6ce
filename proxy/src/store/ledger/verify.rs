//! Recomputes every account's posted total from the rows it is made of.
//!
//! It only reads. `llm-proxy ledger verify` prints what it finds, and the tests
//! call it after each crash.

use sqlx::{AnyPool, Row};

use crate::store::{Store, StoreError};

/// What a verification looked at, in nano-dollars. The sums are over all
/// accounts, so a call counts in each of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verification {
    pub(crate) accounts: usize,
    pub(crate) posted_nanousd: i128,
    pub(crate) allotted_nanousd: i128,
    pub(crate) differences: Vec<Difference>,
}

/// An account whose total is not the sum of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) scope: String,
    /// A key's hash, or the id of a shared account.
    pub(crate) subject: String,
    pub(crate) posted_nanousd: i64,
    /// With what an operator has corrected.
    pub(crate) rows_nanousd: i64,
}

/// Adds up all rows once, whatever the number of accounts.
const COMPARED: &str = "
    WITH of_key AS (
        SELECT key_hash, SUM(cost_nanousd) AS cost_nanousd FROM usage GROUP BY key_hash
    ), of_shared AS (
        SELECT a.scope, a.subject, SUM(u.cost_nanousd) AS cost_nanousd
        FROM usage_account a JOIN usage u USING (request_id) GROUP BY a.scope, a.subject
    )
    SELECT account.scope, account.subject, account.posted_nanousd, account.allotted_nanousd,
        CAST(COALESCE(of_key.cost_nanousd, of_shared.cost_nanousd, 0) AS BIGINT)
            + account.corrected_nanousd + COALESCE(usage_carried.cost_nanousd, 0) AS rows_nanousd
    FROM account
    LEFT JOIN of_key ON account.scope = 'key' AND of_key.key_hash = account.subject
    LEFT JOIN of_shared
        ON of_shared.scope = account.scope AND of_shared.subject = account.subject
    LEFT JOIN usage_carried
        ON usage_carried.scope = account.scope AND usage_carried.subject = account.subject
    ORDER BY account.scope, account.subject";

/// Compares totals and rows as of one moment.
pub(crate) async fn verify(store: &Store) -> Result<Verification, StoreError> {
    compare(store.settled().await?)
        .await
        .map_err(StoreError::while_doing("verifying the books"))
}

async fn compare(reader: &AnyPool) -> Result<Verification, sqlx::Error> {
    let rows = sqlx::query(COMPARED).fetch_all(reader).await?;
    let mut found = Verification::default();
    for row in rows {
        let posted_nanousd = row.try_get::<i64, _>("posted_nanousd")?;
        let rows_nanousd = row.try_get::<i64, _>("rows_nanousd")?;
        let allotted = row.try_get::<i64, _>("allotted_nanousd")?;
        found.accounts += 1;
        found.posted_nanousd += i128::from(posted_nanousd);
        found.allotted_nanousd += i128::from(allotted);
        if posted_nanousd != rows_nanousd {
            found.differences.push(Difference {
                scope: row.try_get("scope")?,
                subject: row.try_get("subject")?,
                posted_nanousd,
                rows_nanousd,
            });
        }
    }
    Ok(found)
}
