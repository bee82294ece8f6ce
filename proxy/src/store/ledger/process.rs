//! The processes that write the ledger: each has an identity, by which its
//! allotments are told from those of others, and says at each batch that it
//! lives. Who was silent for too long is taken for dead ([`super::recover`]);
//! one that only slept finds its row gone at its next batch.

use std::time::Duration;

use sqlx::{Any, AnyConnection, Row};
use uuid::Uuid;

use crate::store::{Database, Store, StoreError};

/// A process that was silent for this long is dead. One that lives says so every
/// two seconds.
pub(crate) const LAPSE: Duration = Duration::from_secs(10);

/// Makes a process known, before its first batch. On SQLite it is the only one:
/// those before it have been recovered.
pub(crate) async fn register(store: &Store, process: Uuid) -> Result<(), StoreError> {
    let failed = || StoreError::while_doing("registering with the ledger");
    let mut write = store.begin_batch().await?;
    let statement = match store.database {
        Database::Sqlite(_) => {
            let others = sqlx::query("DELETE FROM process").execute(&mut *write);
            others.await.map_err(failed())?;
            "INSERT INTO process (id, batch, seen_us) VALUES ($1, 0, 0)"
        }
        Database::Postgres(_) => {
            "INSERT INTO process (id, batch, seen_us)
             VALUES ($1, 0, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))"
        }
    };
    sqlx::query(statement)
        .bind(process.to_string())
        .execute(&mut *write)
        .await
        .map_err(failed())?;
    write.commit().await.map_err(failed())
}

/// The process stops: what it still has allotted is left to recovery.
pub(crate) async fn leave(store: &Store, process: Uuid) -> Result<(), StoreError> {
    let failed = || StoreError::while_doing("leaving the ledger");
    let mut transaction = store.begin_batch().await?;
    let statements: &[&'static str] = match store.database {
        Database::Sqlite(_) => &["DELETE FROM process WHERE id = $1
             AND NOT EXISTS (SELECT 1 FROM account WHERE allotted_nanousd > 0)"],
        Database::Postgres(_) => &[
            "DELETE FROM allotment WHERE process = $1 AND amount_nanousd = 0",
            "DELETE FROM process WHERE id = $1
                 AND NOT EXISTS (SELECT 1 FROM allotment WHERE process = $1)",
        ],
    };
    for statement in statements {
        sqlx::query(*statement)
            .bind(process.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
    }
    transaction.commit().await.map_err(failed())
}

/// The number of the last record of the process that is in SQLite's tables; None
/// where it is not registered. It is asked once, because nobody else is there to
/// take it for dead.
pub(super) async fn last_record(store: &Store, process: Uuid) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT record FROM process WHERE id = $1")
        .bind(process.to_string())
        .fetch_optional(store.reader())
        .await
}

/// All batches and records of the process up to these are in SQLite's tables.
pub(in crate::store) async fn folded(
    connection: &mut AnyConnection,
    process: Uuid,
    (batch, record): (i64, i64),
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE process SET batch = $2, record = $3 WHERE id = $1")
        .bind(process.to_string())
        .bind(batch)
        .bind(record)
        .execute(connection)
        .await
        .map(drop)
}

/// The number of the last batch of this process that is in the store. None where
/// the process was taken for dead. A batch whose commit is under way holds the
/// row, and is waited for: it counts once it is visible.
pub(crate) async fn applied_batch(store: &Store, process: Uuid) -> Result<Option<i64>, StoreError> {
    let text = match store.database {
        Database::Sqlite(_) => "SELECT batch FROM process WHERE id = $1",
        Database::Postgres(_) => "SELECT batch FROM process WHERE id = $1 FOR UPDATE",
    };
    sqlx::query_scalar(text)
        .bind(process.to_string())
        .fetch_optional(store.settled().await?)
        .await
        .map_err(StoreError::while_doing("reading the ledger's last batch"))
}

/// Says that the process lives and begins this batch; false where it was taken
/// for dead. Until the transaction ends nobody else can take it for dead.
pub(super) async fn mark(
    connection: &mut AnyConnection,
    database: &Database,
    process: Uuid,
    batch: i64,
) -> Result<bool, sqlx::Error> {
    let text = match database {
        Database::Sqlite(_) => "UPDATE process SET batch = $2 WHERE id = $1",
        Database::Postgres(_) => {
            "UPDATE process SET batch = $2,
                 seen_us = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)
             WHERE id = $1"
        }
    };
    let set = sqlx::query(text)
        .bind(process.to_string())
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(set.rows_affected() == 1)
}

/// Those that are dead. On SQLite that is everyone who is registered: the lock
/// on the file keeps them from running beside the caller, which is not yet.
pub(super) async fn dead(store: &Store) -> Result<Vec<String>, sqlx::Error> {
    let query = match store.database {
        Database::Sqlite(_) => sqlx::query::<Any>("SELECT id FROM process ORDER BY id"),
        Database::Postgres(_) => sqlx::query(
            "SELECT id FROM process
             WHERE seen_us < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $1
             ORDER BY id",
        )
        .bind(lapse_micros()),
    };
    let rows = query.fetch_all(store.reader()).await?;
    rows.iter().map(|row| row.try_get("id")).collect()
}

/// Takes a dead process off the list; false where another has done so already,
/// or where it has shown up again.
pub(super) async fn bury(
    connection: &mut AnyConnection,
    database: &Database,
    process: &str,
) -> Result<bool, sqlx::Error> {
    let query = match database {
        Database::Sqlite(_) => sqlx::query::<Any>("DELETE FROM process WHERE id = $1"),
        Database::Postgres(_) => sqlx::query(
            "DELETE FROM process WHERE id = $1
                 AND seen_us < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $2",
        ),
    };
    let query = query.bind(process.to_owned());
    let query = match database {
        Database::Sqlite(_) => query,
        Database::Postgres(_) => query.bind(lapse_micros()),
    };
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

fn lapse_micros() -> i64 {
    i64::try_from(LAPSE.as_micros()).unwrap_or(i64::MAX)
}
