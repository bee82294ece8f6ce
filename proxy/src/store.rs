//! Owns the database. One writer connection, so that writes queue here and
//! not inside SQLite, and a small pool of readers. Knows keys, money and the
//! ledger's rows; knows nothing of HTTP. Called by the key cache, the admin
//! API and the ledger.

pub(crate) mod keys;
pub(crate) mod ledger;
mod migrate;
mod row;
mod sqlite;
pub(crate) mod usage;

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

pub(crate) use self::keys::{Filter, Page, Sort, Status};
#[cfg(test)]
pub(crate) use self::sqlite::temporary;

/// Readiness writes at most this often: anyone may ask for it, and a write
/// takes the writer's turn and waits for the disk.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A cheap handle on the open database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    reader: SqlitePool,
    writer: SqlitePool,
    /// When readiness last wrote with success.
    probed: Arc<Mutex<Option<Instant>>>,
    /// Held for the life of the process: keeps a second one out.
    _lock: Arc<File>,
}

/// The store could not answer. The text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{doing}: {source}")]
    Database {
        doing: &'static str,
        source: sqlx::Error,
    },
    #[error("the row of key {hash} is damaged: {what}")]
    Damaged { hash: String, what: &'static str },
}

impl StoreError {
    /// For `map_err`: names what was attempted.
    pub(crate) fn while_doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

/// Why the store does not open. The text goes to the operator as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "the store's address must look like sqlite://llm-proxy.db (PostgreSQL is not supported yet)"
    )]
    Address,
    #[error(
        "the store {path} is in use by another llm-proxy process: stop it, or give this one another database"
    )]
    InUse { path: String },
    #[error(
        "the store {path} was written by a newer llm-proxy (schema {found}, this one knows {known}): upgrade this binary"
    )]
    Newer {
        path: String,
        found: i64,
        known: i64,
    },
    #[error("the store {path} does not exist: check the database's address")]
    Missing { path: String },
    #[error("the store {path} cannot be opened: {reason}")]
    Unusable { path: String, reason: String },
}

impl Store {
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// Begins a write transaction; waits for its turn, bounded by the pool.
    pub(crate) async fn begin_write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(StoreError::while_doing("beginning a write"))
    }

    /// Whether the database answers and takes writes; for readiness.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let mut probed = self.probed.lock().await;
        if probed.is_none_or(|at| at.elapsed() >= PROBE_INTERVAL) {
            *probed = None;
            sqlite::probe_write(&self.writer)
                .await
                .map_err(StoreError::while_doing("writing to the store"))?;
            *probed = Some(Instant::now());
        }
        drop(probed);
        sqlx::query("SELECT count(*) FROM keys WHERE hash = ''")
            .execute(&self.reader)
            .await
            .map(drop)
            .map_err(StoreError::while_doing("checking the store"))
    }

    /// Waits for connections to come back and closes them. The writer is the
    /// last: only it may move the write-ahead log into the database's file.
    pub(crate) async fn close(&self) {
        // Waits for the write under way, and holds every later one out.
        let last = self.writer.acquire().await;
        let writer = self.writer.close();
        self.reader.close().await;
        if let Ok(last) = last
            && let Err(error) = last.close().await
        {
            tracing::warn!(error = %error, "the store's writer did not close cleanly");
        }
        writer.await;
    }
}
