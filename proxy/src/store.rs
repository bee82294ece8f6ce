//! Owns the database: SQLite in a file, or PostgreSQL. Both are spoken to with
//! the same statements, numbered parameters and 64-bit integers; only opening,
//! migrating and probing differ. Knows keys, money and the ledger's rows; knows
//! nothing of HTTP. Called by the key cache, the admin API and the ledger.

pub(crate) mod audit;
mod breaker;
pub(crate) mod changes;
#[cfg(test)]
mod faults;
pub(crate) mod groups;
mod journal;
pub(crate) mod keys;
pub(crate) mod ledger;
mod many;
mod migrate;
mod postgres;
pub(crate) mod retention;
mod row;
pub(crate) mod spend;
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod usage;

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use tokio::sync::Mutex;

pub(crate) use self::keys::{Filter, Listed, Match, Page, SortBy, Status, like};

/// Readiness writes at most this often: anyone may ask for it, and a write
/// takes the writer's turn and waits for the disk.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A cheap handle on the open database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    reader: AnyPool,
    /// SQLite: one connection, so that writes queue here and not inside SQLite.
    /// PostgreSQL: the same pool as `reader`.
    writer: AnyPool,
    database: Database,
    /// When readiness last probed a write with success.
    probed: Arc<Mutex<Option<Instant>>>,
    breaker: Arc<breaker::Breaker>,
}

/// Which of the two it is, with what only that one needs.
#[derive(Clone, Debug)]
enum Database {
    Sqlite(Arc<sqlite::Local>),
    Postgres(Arc<postgres::Shared>),
}

/// The store could not answer. The text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{doing}: {source}")]
    Database {
        doing: &'static str,
        source: sqlx::Error,
    },
    #[error("the store took too long")]
    Slow,
    /// Said at once, because it has not answered others in time.
    #[error("the store does not answer")]
    Unavailable,
    #[error("writing the journal beside the database: {0}")]
    Journal(#[source] io::Error),
    #[error("the row of key {hash} is damaged: {what}")]
    Damaged { hash: String, what: &'static str },
    #[error("the row of a {kind} is damaged: {what}")]
    DamagedGroup {
        kind: &'static str,
        what: &'static str,
    },
}

impl StoreError {
    /// Nothing is wrong but that the database does not answer now.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Database { source, .. } => postgres::is_outage(source),
            Self::Slow | Self::Unavailable => true,
            Self::Journal(_) | Self::Damaged { .. } | Self::DamagedGroup { .. } => false,
        }
    }

    /// For `map_err`: names what was attempted.
    pub(crate) fn while_doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

/// Why the store does not open. The text goes to the operator as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "the store's address must look like sqlite://llm-proxy.db or postgres://user@host/database"
    )]
    Address,
    #[error(
        "the store {path} is in use by another llm-proxy process: stop it, or give this one another database"
    )]
    InUse { path: String },
    #[error(
        "the store {place} was written by a newer llm-proxy (schema {found}, this one knows {known}): upgrade this binary"
    )]
    Newer {
        place: String,
        found: i64,
        known: i64,
    },
    #[error("the store {path} does not exist: check the database's address")]
    Missing { path: String },
    /// It may be there later.
    #[error("the store {place} cannot be reached: {reason}")]
    Unreachable { place: String, reason: String },
    #[error("the store {place} cannot be opened: {reason}")]
    Unusable { place: String, reason: String },
}

impl Store {
    /// Opens and migrates the database at `sqlite://<path>` or `postgres://…`.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        if postgres::is_address(url) {
            postgres::open(url).await
        } else {
            sqlite::open(url).await
        }
    }

    /// For commands that look at a database and must not make one.
    ///
    /// # Errors
    /// When the address is none, or leads to no file.
    pub(crate) fn require_existing(url: &str) -> Result<(), OpenError> {
        if postgres::is_address(url) {
            return Ok(());
        }
        sqlite::require_file(url)
    }

    /// Whether several processes may use it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// The time of a database that several gateways share; none on SQLite, whose
    /// clock is this machine's.
    pub(crate) async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let asked = postgres::now(&self.reader).await;
        let now = asked.map_err(StoreError::while_doing("asking for the database's time"))?;
        Ok(DateTime::from_timestamp_micros(now))
    }

    pub(crate) fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Begins a change of keys and definitions; waits for its turn, bounded by
    /// the pool. No two of them run at the same time, whichever process they
    /// belong to, so what one has read stays true until it commits.
    pub(crate) async fn begin_write(&self) -> Result<Write, StoreError> {
        let failed = || StoreError::while_doing("beginning a write");
        match &self.database {
            Database::Sqlite(local) => {
                let turn = local.journal.turn(self).await?;
                let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
                Ok(Write {
                    transaction: begun.map_err(failed())?,
                    _turn: Some(turn),
                })
            }
            Database::Postgres(shared) => {
                let begun = postgres::begin_alone(shared, &self.writer).await;
                begun.map(Write::from).map_err(failed())
            }
        }
    }

    /// Begins a batch of the ledger, which relies on nothing that it has read.
    pub(crate) async fn begin_batch(&self) -> Result<Write, StoreError> {
        match self.database {
            Database::Sqlite(_) => self.begin_write().await,
            Database::Postgres(_) => {
                let begun = self.writer.begin().await.map(Write::from);
                begun.map_err(StoreError::while_doing("beginning a batch"))
            }
        }
    }

    /// For readers of what the ledger writes: all that it has committed is in the
    /// tables.
    pub(crate) async fn settled(&self) -> Result<&AnyPool, StoreError> {
        if let Database::Sqlite(local) = &self.database {
            local.journal.fold(self).await?;
        }
        Ok(&self.reader)
    }

    /// As [`Store::settled`], where so much has come together that it is worth it.
    pub(crate) async fn settle_if_due(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(local) => local.journal.fold_if_due(self).await,
            Database::Postgres(_) => Ok(()),
        }
    }

    /// What the ledger was granted at once outlives this process from here on.
    pub(crate) async fn write_claims(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(local) => local.journal.write_claims(self).await,
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Waits until the disk has what the ledger was granted at once.
    pub(crate) async fn keep_claims(&self) {
        if let Database::Sqlite(local) = &self.database {
            local.journal.keep_claims().await;
        }
    }

    /// Whatever the ledger writes next, the disk does not keep it. The answer has it.
    #[cfg(test)]
    pub(crate) async fn lose_journal(&self) -> Option<io::PipeReader> {
        match &self.database {
            Database::Sqlite(local) => Some(local.journal.lose().await),
            Database::Postgres(_) => None,
        }
    }

    /// Whether the ledger's next batch goes by way of the tables.
    #[cfg(test)]
    pub(crate) fn has_lost_its_journal(&self) -> bool {
        match &self.database {
            Database::Sqlite(local) => local.journal.is_broken(),
            Database::Postgres(_) => false,
        }
    }

    /// As if the process had been killed: nothing of it reaches the disk any more. The
    /// tables take nothing first, because a batch of late postings would go into them
    /// without what the journal has, and would be lost when that is folded.
    #[cfg(test)]
    pub(crate) async fn abandon(&self) {
        self.reader.close().await;
        self.writer.close().await;
        if let Database::Sqlite(local) = &self.database {
            local.journal.abandon().await;
        }
    }

    /// Whether the database answers and takes writes; for readiness.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let mut probed = self.probed.lock().await;
        if probed.is_none_or(|at| at.elapsed() >= PROBE_INTERVAL) {
            *probed = None;
            let written = match self.database {
                Database::Sqlite(_) => sqlite::probe_write(&self.writer).await,
                Database::Postgres(_) => postgres::probe_write(&self.writer).await,
            };
            written.map_err(StoreError::while_doing("writing to the store"))?;
            *probed = Some(Instant::now());
        }
        drop(probed);
        sqlx::query("SELECT count(*) FROM keys WHERE hash = ''")
            .execute(&self.reader)
            .await
            .map(drop)
            .map_err(StoreError::while_doing("checking the store"))
    }

    /// What is wrong with the file, in SQLite's words. PostgreSQL looks after its
    /// own.
    pub(crate) async fn damage(&self) -> Result<Option<String>, StoreError> {
        match self.database {
            Database::Sqlite(_) => sqlite::damage(&self.reader)
                .await
                .map_err(StoreError::while_doing("checking the store's file")),
            Database::Postgres(_) => Ok(None),
        }
    }

    /// Waits for connections to come back and closes them. SQLite: the writer is
    /// the last, because only it may move the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        match &self.database {
            Database::Sqlite(local) => local.journal.close(self).await,
            Database::Postgres(_) => return self.writer.close().await,
        }
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

/// A transaction, and on SQLite the sole use of the tables. Dropped without a
/// commit it changes nothing.
#[derive(Debug)]
pub(crate) struct Write {
    transaction: Transaction<'static, Any>,
    _turn: Option<journal::Turn>,
}

impl Write {
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl From<Transaction<'static, Any>> for Write {
    fn from(transaction: Transaction<'static, Any>) -> Self {
        Self {
            transaction,
            _turn: None,
        }
    }
}

impl Deref for Write {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}
