//! The end of old rows. Balances never depend on it: before rows go, what they
//! add up to is added to a carried sum of each of their accounts, in the same
//! transaction, and verification counts both.
//!
//! It owns the deletion of `usage` and `usage_account`, and of the accounts of
//! windows that are long over. Called by the service that keeps the time.

use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, Row as _};

use super::{Store, StoreError};
use crate::key::AccountId;

/// Rows that one transaction takes, so that nobody waits for it long.
const BATCH: i64 = 1_000;
pub(crate) const BATCH_ROWS: usize = 1_000;

/// In the order in which rows go: those up to and with the `$2`th are a batch.
const LAST: &str = "SELECT started_at_us, request_id FROM usage WHERE started_at_us < $1 \
    ORDER BY started_at_us, request_id LIMIT 1 OFFSET $2";

/// The rows that go: up to the batch's last, `$1` and `$2`.
macro_rules! going {
    () => {
        "(u.started_at_us < $1 OR (u.started_at_us = $1 AND u.request_id <= $2))"
    };
}

macro_rules! carry {
    ($scope:literal, $subject:literal, $from:literal, $also:literal) => {
        concat!(
            "INSERT INTO usage_carried \
             (scope, subject, calls, prompt_tokens, completion_tokens, cost_nanousd) \
             SELECT ",
            $scope,
            ", ",
            $subject,
            ", \
             CAST(SUM(CASE WHEN u.model = '' THEN 0 ELSE 1 END) AS BIGINT), \
             CAST(SUM(u.prompt_tokens) AS BIGINT), CAST(SUM(u.completion_tokens) AS BIGINT), \
             CAST(SUM(u.cost_nanousd) AS BIGINT) FROM usage u ",
            $from,
            " WHERE ",
            going!(),
            $also,
            " GROUP BY 1, 2 \
             ON CONFLICT (scope, subject) DO UPDATE SET \
             calls = usage_carried.calls + excluded.calls, \
             prompt_tokens = usage_carried.prompt_tokens + excluded.prompt_tokens, \
             completion_tokens = usage_carried.completion_tokens + excluded.completion_tokens, \
             cost_nanousd = usage_carried.cost_nanousd + excluded.cost_nanousd"
        )
    };
}

/// SQLite, before the steps.
const OF_KEYS: &str = concat!(
    "DELETE FROM usage_of_key WHERE (part, key_hash, started_at_us, request_id) IN \
     (SELECT u.part, u.key_hash, u.started_at_us, u.request_id FROM usage u WHERE ",
    going!(),
    ")"
);

/// In this order. The last one removes what the others have carried.
const STEPS: [&str; 4] = [
    carry!("'key'", "u.key_hash", "", " AND u.key_hash IS NOT NULL"),
    carry!(
        "a.scope",
        "a.subject",
        "JOIN usage_account a ON a.request_id = u.request_id",
        ""
    ),
    concat!(
        "DELETE FROM usage_account WHERE request_id IN \
         (SELECT u.request_id FROM usage u WHERE ",
        going!(),
        ")"
    ),
    concat!(
        "DELETE FROM usage WHERE request_id IN (SELECT u.request_id FROM usage u WHERE ",
        going!(),
        ")"
    ),
];

/// SQLite: those before the first that has calls of keys. Others are few.
const EMPTY_PARTS: &str = "DELETE FROM usage_part WHERE part > 0 \
    AND part < (SELECT MIN(part) FROM usage_of_key WHERE part > 0)";

/// Accounts of windows, from where the last page ended. No id holds a tab.
const WINDOWS: &str = "SELECT scope, subject FROM account WHERE subject LIKE '%\t%' \
    AND (scope > $1 OR (scope = $1 AND subject > $2)) ORDER BY scope, subject LIMIT $3";

/// Removes the oldest rows of calls that began before `cutoff`, at most
/// [`BATCH`], and answers how many. It runs in one process at a time.
pub(crate) async fn remove_calls(
    store: &Store,
    cutoff: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let failed = || StoreError::while_doing("removing old calls");
    let mut write = store.begin_write().await?;
    let is_shared = store.is_shared();
    let removed = carry_and_delete(&mut write, is_shared, cutoff.timestamp_micros())
        .await
        .map_err(failed())?;
    if !is_shared {
        let gone = sqlx::query(EMPTY_PARTS).execute(&mut *write).await;
        gone.map_err(failed())?;
    }
    write.commit().await.map_err(failed())?;
    Ok(usize::try_from(removed).unwrap_or(BATCH_ROWS))
}

/// Nothing inserts a row that began so long ago, so all steps see the same rows;
/// no other transaction deletes any.
async fn carry_and_delete(
    write: &mut AnyConnection,
    is_shared: bool,
    cutoff_us: i64,
) -> Result<u64, sqlx::Error> {
    let last = sqlx::query(LAST)
        .bind(cutoff_us)
        .bind(BATCH - 1)
        .fetch_optional(&mut *write)
        .await?;
    // Fewer than a batch are all that began before the cutoff.
    let (at_us, id) = match last {
        Some(row) => (row.try_get("started_at_us")?, row.try_get("request_id")?),
        None => (cutoff_us, String::new()),
    };
    let mut removed = 0;
    let of_keys = (!is_shared).then_some(OF_KEYS);
    for step in of_keys.into_iter().chain(STEPS) {
        let step = sqlx::query(step).bind::<i64>(at_us).bind(&id);
        removed = step.execute(&mut *write).await?.rows_affected();
    }
    Ok(removed)
}

/// Removes the accounts of windows that ended before `cutoff`, once their rows
/// are gone, and answers how many.
pub(crate) async fn remove_windows(
    store: &Store,
    cutoff: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let failed = || StoreError::while_doing("removing the accounts of old windows");
    let mut removed = 0;
    let mut last = (String::new(), String::new());
    loop {
        let rows = sqlx::query(WINDOWS)
            .bind(&last.0)
            .bind(&last.1)
            .bind(BATCH)
            .fetch_all(store.reader())
            .await
            .map_err(failed())?;
        let mut write = store.begin_write().await?;
        for row in &rows {
            let scope = row.try_get("scope").map_err(failed())?;
            last = (scope, row.try_get("subject").map_err(failed())?);
            if ended_before(&last, cutoff) {
                let gone = remove_account(&mut write, &last).await;
                removed += gone.map_err(failed())?;
            }
        }
        write.commit().await.map_err(failed())?;
        if rows.len() < BATCH_ROWS {
            return Ok(removed);
        }
    }
}

fn ended_before((scope, subject): &(String, String), cutoff: DateTime<Utc>) -> bool {
    match AccountId::parse(scope, subject) {
        Some(AccountId::Shared(shared)) => shared.window.is_some_and(|it| it.end <= cutoff),
        Some(AccountId::Key(_)) | None => false,
    }
}

/// Not where a call may still settle on it, or rows of it are there.
async fn remove_account(
    write: &mut AnyConnection,
    (scope, subject): &(String, String),
) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query(
        "DELETE FROM account WHERE scope = $1 AND subject = $2 AND allotted_nanousd = 0
             AND NOT EXISTS (SELECT 1 FROM usage_account a WHERE a.scope = $1 AND a.subject = $2)",
    )
    .bind(scope)
    .bind(subject)
    .execute(&mut *write)
    .await?
    .rows_affected();
    if gone > 0 {
        sqlx::query("DELETE FROM usage_carried WHERE scope = $1 AND subject = $2")
            .bind(scope)
            .bind(subject)
            .execute(write)
            .await?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests;
