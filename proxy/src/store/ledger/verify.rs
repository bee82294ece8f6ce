//! Recomputes every account's posted total from the rows it is made of.
//!
//! It only reads. `llm-proxy ledger verify` prints what it finds, and the tests
//! call it after each crash.

use sqlx::{AnyPool, Row};

use crate::store::usage::in_parts;
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

macro_rules! compared {
    ($of_key:expr) => {
        concat!(
            "SELECT scope, subject, posted_nanousd, allotted_nanousd,
                 CAST(COALESCE(CASE scope
                     WHEN 'key' THEN (SELECT SUM(u.cost_nanousd) FROM usage u WHERE ",
            $of_key,
            ")
                     ELSE (SELECT SUM(cost_nanousd) FROM usage JOIN usage_account USING (request_id)
                         WHERE usage_account.scope = account.scope
                             AND usage_account.subject = account.subject)
                 END, 0) AS BIGINT) + corrected_nanousd
                 + COALESCE((SELECT cost_nanousd FROM usage_carried
                     WHERE usage_carried.scope = account.scope
                         AND usage_carried.subject = account.subject), 0) AS rows_nanousd
             FROM account ORDER BY scope, subject"
        )
    };
}

/// Compares totals and rows as of one moment.
pub(crate) async fn verify(store: &Store) -> Result<Verification, StoreError> {
    let statement = match store.is_shared() {
        true => compared!("u.key_hash = account.subject"),
        false => compared!(in_parts!("u.key_hash = account.subject")),
    };
    compare(store.settled().await?, statement)
        .await
        .map_err(StoreError::while_doing("verifying the books"))
}

async fn compare(reader: &AnyPool, statement: &'static str) -> Result<Verification, sqlx::Error> {
    let rows = sqlx::query(statement).fetch_all(reader).await?;
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
