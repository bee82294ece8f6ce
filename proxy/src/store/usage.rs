//! The record of each call: one row a request, keyed by its id, never changed.
//!
//! It owns the row and its insertion, which runs inside the ledger's batch so
//! that a row and the total it adds to commit together. It keeps no prompt, no
//! answer and no secret.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, Row as _};
use uuid::Uuid;

use crate::key::{AccountId, own_key};
use crate::money::NanoUsd;
use crate::price::Usage;
use crate::store::many::{Parameters, filled, texts};

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

/// Rows a statement: a text for each of these sizes, because a connection
/// prepares each text once.
const SIZES: [usize; 3] = [64, 8, 1];
const COLUMNS: usize = 13;
const ACCOUNT_COLUMNS: usize = 3;

const INTO_USAGE: &str = "INSERT INTO usage (request_id, key_hash, model, deployment_id, \
    prompt_tokens, completion_tokens, cached_tokens, cost_nanousd, estimated, streamed, status, \
    started_at_us, finished_at_us) VALUES ";

static INSERT: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    let after = " ON CONFLICT (request_id) DO NOTHING RETURNING request_id";
    texts(SIZES, Parameters::Numbered, (INTO_USAGE, COLUMNS, after))
});

/// As [`INSERT`], of rows that were committed before and may be there, on SQLite.
static RECORD: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    let after = " ON CONFLICT (request_id) DO NOTHING";
    texts(SIZES, Parameters::Plain, (INTO_USAGE, COLUMNS, after))
});

const INTO_ACCOUNTS: &str = "INSERT INTO usage_account (scope, subject, request_id) VALUES ";
const ONCE: &str = " ON CONFLICT DO NOTHING";

static INSERT_ACCOUNTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    let text = (INTO_ACCOUNTS, ACCOUNT_COLUMNS, ONCE);
    texts(SIZES, Parameters::Numbered, text)
});

/// As [`INSERT_ACCOUNTS`], on SQLite.
static RECORD_ACCOUNTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    let text = (INTO_ACCOUNTS, ACCOUNT_COLUMNS, ONCE);
    texts(SIZES, Parameters::Plain, text)
});

static PRESENT: LazyLock<[String; filled::SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH asked (request_id) AS (VALUES ",
        1,
        ") SELECT usage.request_id FROM asked CROSS JOIN usage
           WHERE usage.request_id = asked.request_id",
    )
});

/// Writes rows that the ledger has committed before; one that is there already
/// stays as it is.
pub(super) async fn record(
    connection: &mut AnyConnection,
    rows: &[UsageRow],
) -> Result<(), sqlx::Error> {
    let rows: Vec<&UsageRow> = rows.iter().collect();
    for (size, rows) in in_sizes(&rows) {
        bound(RECORD[size].as_str(), rows)
            .execute(&mut *connection)
            .await?;
    }
    let ids = rows.iter().map(|row| row.request_id).collect();
    insert_accounts(connection, &RECORD_ACCOUNTS, &rows, &ids).await
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
    rows: &[&UsageRow],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut written = HashSet::with_capacity(rows.len());
    for (size, rows) in in_sizes(rows) {
        let ids = bound(INSERT[size].as_str(), rows)
            .fetch_all(&mut *connection)
            .await?;
        let damaged = |error: uuid::Error| sqlx::Error::Decode(error.into());
        for id in ids {
            let id: String = id.try_get("request_id")?;
            written.insert(id.parse().map_err(damaged)?);
        }
    }
    insert_accounts(connection, &INSERT_ACCOUNTS, rows, &written).await?;
    Ok(written)
}

/// One of [`INSERT`], with its rows.
fn bound<'q>(text: &'static str, rows: &[&'q UsageRow]) -> Query<'q, Any, AnyArguments> {
    let mut query = sqlx::query(text);
    for row in rows {
        query = query
            .bind(row.request_id.to_string())
            .bind(own_key(&row.accounts).map(|hash| hash.to_string()))
            .bind(row.model.as_str())
            .bind(row.deployment_id.as_str())
            .bind(count(row.usage.prompt_tokens))
            .bind(count(row.usage.completion_tokens))
            .bind(count(row.usage.cached_tokens))
            .bind(row.cost.nanos())
            .bind(i64::from(row.estimated))
            .bind(i64::from(row.streamed))
            .bind(i64::from(row.status))
            .bind(row.started_at.timestamp_micros())
            .bind(row.finished_at.timestamp_micros());
    }
    query
}

async fn insert_accounts(
    connection: &mut AnyConnection,
    statements: &'static [String; SIZES.len()],
    rows: &[&UsageRow],
    written: &HashSet<Uuid>,
) -> Result<(), sqlx::Error> {
    let mut left = written.clone();
    let mut accounts = Vec::new();
    for row in rows.iter().filter(|row| left.remove(&row.request_id)) {
        let shared = row.accounts.iter().filter_map(|account| match account {
            AccountId::Shared(shared) => Some((row.request_id, shared)),
            AccountId::Key(_) => None,
        });
        accounts.extend(shared);
    }
    for (size, accounts) in in_sizes(&accounts) {
        let mut query = sqlx::query(statements[size].as_str());
        for (request_id, account) in accounts {
            query = query
                .bind(account.scope.as_str())
                .bind(account.subject())
                .bind(request_id.to_string());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// All of them, each time as many as the largest statement takes that they fill,
/// with the place of its size.
fn in_sizes<T>(all: &[T]) -> impl Iterator<Item = (usize, &[T])> {
    let mut left = all;
    std::iter::from_fn(move || {
        let size = SIZES.iter().position(|size| *size <= left.len())?;
        let (now, later) = left.split_at(SIZES[size]);
        left = later;
        Some((size, now))
    })
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
