//! The record of each call: one row a request, keyed by its id, never changed.
//!
//! It owns the row and its insertion, which runs inside the ledger's batch so
//! that a row and the total it adds to commit together. It keeps no prompt, no
//! answer and no secret.

pub(super) mod of_key;

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use foldhash::HashSet;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, Row as _};
use uuid::Uuid;

use crate::key::{AccountId, SharedAccount, own_key};
use crate::money::NanoUsd;
use crate::price::Usage;
use crate::store::Database;
use crate::store::many::{filled, full};

/// One settled call.
#[derive(Debug, Clone)]
pub(crate) struct UsageRow {
    pub(crate) request_id: Uuid,
    /// Where its cost is posted; none for the master key.
    pub(crate) accounts: Arc<[AccountId]>,
    /// The public model name, as configured.
    pub(crate) model: Arc<str>,
    pub(crate) deployment_id: Arc<str>,
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

#[cfg(test)]
impl UsageRow {
    /// A call of a test that ended at once.
    pub(crate) fn of_test(accounts: Arc<[AccountId]>, cost: NanoUsd) -> Self {
        let now = Utc::now();
        Self {
            request_id: Uuid::now_v7(),
            accounts,
            model: Arc::from("demo"),
            deployment_id: Arc::from("test"),
            usage: Usage::default(),
            cost,
            estimated: false,
            streamed: false,
            status: 200,
            started_at: now,
            finished_at: now,
        }
    }
}

/// In the order in which [`bound`] binds them.
macro_rules! columns {
    () => {
        "request_id, key_hash, model, deployment_id, prompt_tokens, completion_tokens, \
         cached_tokens, cost_nanousd, estimated, streamed, status, started_at_us, finished_at_us"
    };
}
const COLUMNS: usize = 13;

/// In the order in which [`bound_accounts`] binds them.
macro_rules! account_columns {
    () => {
        "scope, subject, request_id"
    };
}
const ACCOUNT_COLUMNS: usize = 3;

/// What stands before and after the rows of an insertion; those that only fill it
/// have no request.
macro_rules! insertion {
    ($table:literal, $columns:expr, $end:literal) => {
        (
            concat!("WITH new (", $columns, ") AS (VALUES "),
            concat!(
                ") INSERT INTO ",
                $table,
                " (",
                $columns,
                ") SELECT ",
                $columns,
                " FROM new WHERE request_id IS NOT NULL ON CONFLICT ",
                $end
            ),
        )
    };
}

static INSERT: LazyLock<[String; filled::SIZES.len()]> = LazyLock::new(|| {
    let (before, after) = insertion!(
        "usage",
        columns!(),
        "(request_id) DO NOTHING RETURNING request_id"
    );
    filled::texts(before, COLUMNS, after)
});

static INSERT_ACCOUNTS: LazyLock<[String; filled::SIZES.len()]> = LazyLock::new(|| {
    let (before, after) = insertion!("usage_account", account_columns!(), "DO NOTHING");
    filled::texts(before, ACCOUNT_COLUMNS, after)
});

/// As [`INSERT`], of rows that were committed before and may be there, on SQLite. A
/// row that breaks a rule of the table fails as it does without `OR FAIL`, but SQLite
/// need not copy each page that the statement changes so as to take back the rows
/// before it alone: who records takes the whole transaction back.
static RECORD: LazyLock<[String; full::SIZES.len()]> = LazyLock::new(|| {
    let before = concat!("INSERT OR FAIL INTO usage (", columns!(), ", part) VALUES ");
    let after = " ON CONFLICT (request_id) DO NOTHING";
    full::texts(before, COLUMNS + 1, after)
});

/// As [`INSERT_ACCOUNTS`], on SQLite.
static RECORD_ACCOUNTS: LazyLock<[String; full::SIZES.len()]> = LazyLock::new(|| {
    let before = concat!(
        "INSERT OR FAIL INTO usage_account (",
        account_columns!(),
        ") VALUES "
    );
    let after = " ON CONFLICT DO NOTHING";
    full::texts(before, ACCOUNT_COLUMNS, after)
});

static PRESENT: LazyLock<[String; filled::SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH asked (request_id) AS (VALUES ",
        1,
        ") SELECT usage.request_id FROM asked CROSS JOIN usage
           WHERE usage.request_id = asked.request_id",
    )
});

/// Writes rows that the ledger has committed before, as belonging to this part; one
/// that is there already stays as it is. SQLite alone.
pub(super) async fn record(
    connection: &mut AnyConnection,
    rows: &[UsageRow],
    part: i64,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query("INSERT INTO usage_part (part) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(part)
        .execute(&mut *connection)
        .await?;
    // In the order of time, in which the table and its index by time only grow at
    // their ends.
    let mut written = 0;
    for (size, rows) in full::chunks(rows) {
        let mut query = sqlx::query(RECORD[size].as_str());
        for row in rows {
            query = bound(query, Some(row)).bind(part);
        }
        written += query.execute(&mut *connection).await?.rows_affected();
    }
    match usize::try_from(written) == Ok(rows.len()) {
        true => of_key::record(connection, rows, part).await?,
        false => of_key::find(connection, &rows.iter().collect::<Vec<_>>()).await?,
    }
    let accounts: Vec<_> = rows.iter().flat_map(shared).collect();
    for (size, accounts) in full::chunks(&accounts) {
        bound_accounts(RECORD_ACCOUNTS[size].as_str(), accounts.iter().map(Some))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// SQLite: the last part that has rows.
pub(super) async fn last_part(reader: &AnyPool) -> Result<i64, sqlx::Error> {
    let last = "SELECT COALESCE(MAX(part), 0) FROM usage_part";
    sqlx::query_scalar(last).fetch_one(reader).await
}

/// Which of these requests have a row.
pub(super) async fn present(reader: &AnyPool, ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    let damaged = |error: uuid::Error| sqlx::Error::Decode(error.into());
    let mut present = Vec::new();
    for (size, ids) in filled::chunks(ids) {
        let mut query = sqlx::query_scalar::<_, String>(PRESENT[size].as_str());
        for id in ids {
            query = query.bind(id.map(Uuid::to_string));
        }
        for id in query.fetch_all(reader).await? {
            present.push(id.parse().map_err(damaged)?);
        }
    }
    Ok(present)
}

/// Writes each row unless its request has one; answers whose was written. Of two
/// rows of one request the first is.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    database: &Database,
    rows: &[&UsageRow],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let damaged = |error: uuid::Error| sqlx::Error::Decode(error.into());
    let mut written = HashSet::default();
    for (size, rows) in filled::chunks(rows) {
        let mut query = sqlx::query(INSERT[size].as_str());
        for row in rows {
            query = bound(query, row.copied());
        }
        let ids = query.fetch_all(&mut *connection).await?;
        for id in ids {
            let id: String = id.try_get("request_id")?;
            written.insert(id.parse().map_err(damaged)?);
        }
    }
    if let Database::Sqlite(_) = database {
        of_key::find(connection, rows).await?;
    }
    let mut left = written.clone();
    let rows = rows.iter().filter(|row| left.remove(&row.request_id));
    let accounts: Vec<_> = rows.flat_map(|row| shared(row)).collect();
    for (size, accounts) in filled::chunks(&accounts) {
        bound_accounts(INSERT_ACCOUNTS[size].as_str(), accounts)
            .execute(&mut *connection)
            .await?;
    }
    Ok(written)
}

/// With one row more; None only fills the statement.
fn bound<'q>(
    query: Query<'q, Any, AnyArguments>,
    row: Option<&'q UsageRow>,
) -> Query<'q, Any, AnyArguments> {
    let key = row.and_then(|row| own_key(&row.accounts));
    query
        .bind(row.map(|row| row.request_id.to_string()))
        .bind(key.map(|hash| hash.to_string()))
        .bind(row.map(|row| &*row.model))
        .bind(row.map(|row| &*row.deployment_id))
        .bind(row.map(|row| count(row.usage.prompt_tokens)))
        .bind(row.map(|row| count(row.usage.completion_tokens)))
        .bind(row.map(|row| count(row.usage.cached_tokens)))
        .bind(row.map(|row| row.cost.nanos()))
        .bind(row.map(|row| i64::from(row.estimated)))
        .bind(row.map(|row| i64::from(row.streamed)))
        .bind(row.map(|row| i64::from(row.status)))
        .bind(row.map(|row| row.started_at.timestamp_micros()))
        .bind(row.map(|row| row.finished_at.timestamp_micros()))
}

/// What a call is charged to besides its key.
fn shared(row: &UsageRow) -> impl Iterator<Item = (Uuid, &SharedAccount)> {
    row.accounts.iter().filter_map(|account| match account {
        AccountId::Shared(shared) => Some((row.request_id, shared)),
        AccountId::Key(_) => None,
    })
}

fn bound_accounts<'q>(
    text: &'static str,
    accounts: impl Iterator<Item = Option<&'q (Uuid, &'q SharedAccount)>>,
) -> Query<'q, Any, AnyArguments> {
    let mut query = sqlx::query(text);
    for account in accounts {
        query = query
            .bind(account.map(|(_, account)| account.scope.as_str()))
            .bind(account.map(|(_, account)| account.subject()))
            .bind(account.map(|(request_id, _)| request_id.to_string()));
    }
    query
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
