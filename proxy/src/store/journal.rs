//! What the ledger has committed on SQLite and the tables do not say yet.
//!
//! A batch is one record in a file beside the database, on the disk before it is
//! answered: it costs what its bytes cost, however far apart its accounts and rows
//! stand in the tables. A claim that fits into what is known is a record too, written
//! before its call is sent, with those of other calls; the disk has it a moment later.
//! Every few seconds, and before anybody else reads or changes them, what has come
//! together is folded into the tables as one transaction, each account once. What a
//! crash left in the files is folded at the next start.
//!
//! There is one process, so what it knows of an account is right while nobody else
//! changes the tables; before anybody does, all is folded and forgotten, and batches
//! wait until that change has ended.

mod claim;
mod file;
mod fold;
mod record;
mod tail;

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use foldhash::HashSet;
use sqlx::AnyPool;
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use self::file::{Files, Unsynced};
use self::fold::{Part, What};
use self::record::RecordError;
use self::tail::Tail;
use super::ledger::accounts::{Accounts, Row, Rows, Total};
use super::usage::{self, UsageRow};
use super::{Store, StoreError};
use crate::key::AccountId;
use crate::ledger::account::Standing;

/// How long somebody waits for a change of the tables to end.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);
/// Rows that wait for tables which do not take them; no batch is taken beyond.
const ROWS_MAX: usize = 200_000;

/// Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    /// Of whoever changes the tables. Taken before the books.
    turn: Arc<Mutex<()>>,
    books: Arc<Mutex<Books>>,
    /// That of the books' files: who has the books may wait for more than a write.
    tail: Arc<Tail>,
}

/// The tables are nobody else's while this lives.
#[derive(Debug)]
pub(super) struct Turn {
    books: OwnedMutexGuard<Books>,
    _turn: OwnedMutexGuard<()>,
}

/// Why the journal does not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("its journal: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("folding its journal: {0}")]
    Fold(#[from] sqlx::Error),
}

#[derive(Debug)]
struct Books {
    files: Files,
    /// The one process that writes, once its registration has been seen.
    process: Option<Uuid>,
    /// The number of the last batch that was begun.
    batch: i64,
    /// The number of the last record that was begun.
    number: i64,
    accounts: Rows,
    rows: Vec<UsageRow>,
    /// When the oldest record was written whose accounts have not been folded.
    since: Option<Instant>,
    /// The requests of `rows`.
    ids: HashSet<Uuid>,
    opened: DateTime<Utc>,
    /// Rows that have gone into the tables ahead of their accounts.
    ahead: usize,
    /// Of the tables, which rows go to, and how many of this process have gone there.
    part: i64,
    in_part: usize,
    /// What is being folded, or was when its fold was given up.
    folding: Option<Arc<Part>>,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// Nothing has happened.
    #[error("writing a record: {0}")]
    NotWritten(#[source] io::Error),
    /// It counts in memory, and is committed when the tables have it.
    #[error("waiting for the disk to keep a record: {0}")]
    NotSynced(#[source] io::Error),
}

/// The books, to commit one batch.
#[derive(Debug)]
pub(super) struct Writable(OwnedMutexGuard<Books>);

impl Journal {
    /// Opens the journal beside a database whose schema is up to date, and folds
    /// what a crash has left in it.
    pub(super) async fn open(database: &Path, writer: &AnyPool) -> Result<Self, OpenError> {
        let (files, records) = Files::open(database)?;
        let part = usage::last_part(writer).await? + 1;
        fold::replay(writer, records, part).await?;
        files.clear()?;
        let tail = Arc::clone(files.tail());
        let books = Books {
            files,
            process: None,
            batch: 0,
            number: 0,
            accounts: Rows::default(),
            rows: Vec::new(),
            ids: HashSet::default(),
            since: None,
            opened: Utc::now(),
            ahead: 0,
            part,
            in_part: 0,
            folding: None,
        };
        Ok(Self {
            turn: Arc::default(),
            books: Arc::new(Mutex::new(books)),
            tail,
        })
    }

    /// The tables as they would be without a journal, and nobody else's until the
    /// answer is dropped.
    pub(super) async fn turn(&self, store: &Store) -> Result<Turn, StoreError> {
        let turn = self.take_turn().await?;
        // Most of it while batches go on.
        self.fold_in_turn(&store.writer).await?;
        let mut books = self.take_books().await?;
        while let Some(part) = books.begin_fold(What::All)? {
            fold::write(&store.writer, &part).await?;
            books.end_fold();
        }
        books.forget();
        Ok(Turn { books, _turn: turn })
    }

    async fn take_turn(&self) -> Result<OwnedMutexGuard<()>, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned();
        tokio::time::timeout(TURN_TIMEOUT, turn)
            .await
            .map_err(|_| StoreError::Slow)
    }

    /// Waits for a batch, or for a change of the tables.
    async fn take_books(&self) -> Result<OwnedMutexGuard<Books>, StoreError> {
        let books = Arc::clone(&self.books).lock_owned();
        tokio::time::timeout(TURN_TIMEOUT, books)
            .await
            .map_err(|_| StoreError::Slow)
    }

    /// Waits for the disk, on a thread that may wait.
    async fn keep(&self, unsynced: Unsynced) -> io::Result<()> {
        let tail = Arc::clone(&self.tail);
        let kept = tokio::task::spawn_blocking(move || unsynced.sync(&tail)).await;
        kept.map_err(io::Error::other).flatten()
    }

    /// For a batch; after an error of the file, once all that was committed before
    /// is in the tables.
    pub(super) async fn writable(&self, store: &Store) -> Result<Writable, StoreError> {
        for _ in 0..2 {
            let books = self.take_books().await?;
            if !self.tail.is_broken() && books.waiting() < ROWS_MAX {
                return Ok(Writable(books));
            }
            drop(books);
            self.fold(store).await?;
        }
        Err(StoreError::Unavailable)
    }

    /// Where an account stands, if that is remembered: the tables may not say it.
    pub(super) async fn standing(
        &self,
        account: &AccountId,
    ) -> Result<Option<Standing>, StoreError> {
        let books = self.take_books().await?;
        Ok(books.accounts.get(account).map(Row::standing))
    }

    #[cfg(test)]
    pub(super) async fn lose(&self) -> io::PipeReader {
        self.books.lock().await.files.lose_for_a_test()
    }

    #[cfg(test)]
    pub(super) fn is_broken(&self) -> bool {
        self.tail.is_broken()
    }

    #[cfg(test)]
    pub(super) async fn abandon(&self) {
        let mut books = self.books.lock().await;
        self.tail.break_for_a_test();
        books.process = None;
    }

    /// Everything is in the tables: the files are not needed any longer.
    pub(super) async fn close(&self, store: &Store) {
        match self.turn(store).await {
            Ok(turn) => turn.books.files.remove(),
            Err(error) => tracing::warn!(%error, "the journal stays for the next start"),
        }
    }
}

impl Books {
    /// Rows that are not in the tables.
    fn waiting(&self) -> usize {
        let folding = self.folding.as_ref().map_or(0, |part| part.rows.len());
        self.rows.len() + folding
    }

    /// Writes a record of rows and totals. When that fails, nothing has happened.
    fn record(&mut self, rows: &[UsageRow], totals: &[(AccountId, Total)]) -> io::Result<()> {
        let process = self.process.ok_or_else(|| {
            // It takes no batch before it has begun with one.
            io::Error::other("no process is registered")
        })?;
        let record = record::encode((process, self.batch, self.number + 1), rows, totals);
        let tail = self.files.tail();
        tail.append(&record.map_err(io::Error::other)?)?;
        self.recorded();
        Ok(())
    }

    fn recorded(&mut self) {
        self.number += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    /// Somebody else changes the tables, in which everything is.
    fn forget(&mut self) {
        self.accounts.clear();
        self.process = None;
    }

    /// Whether the id was made since the opening. One that this process has posted
    /// is posted again only while its batch is not known to be committed.
    fn is_young(&self, id: Uuid) -> bool {
        let made = id.get_timestamp().map(|time| time.to_unix());
        let made = made.and_then(|(seconds, nanos)| {
            DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
        });
        made.is_some_and(|made| made > self.opened)
    }
}

impl Writable {
    pub(super) fn process(&self) -> Option<Uuid> {
        self.0.process
    }

    /// The process is registered, and its records up to this one are in the tables.
    pub(super) fn begin(&mut self, process: Uuid, last: i64) {
        self.0.process = Some(process);
        self.0.number = last;
    }

    /// The requests of these rows that have none yet.
    pub(super) async fn new_among(
        &self,
        store: &Store,
        rows: &[&UsageRow],
    ) -> Result<HashSet<Uuid>, sqlx::Error> {
        let books = &self.0;
        let folding = books.folding.as_ref().map(|part| &part.ids);
        let is_waiting = |id: &Uuid| {
            books.ids.contains(id) || folding.is_some_and(|folding| folding.contains(id))
        };
        let ids = rows.iter().map(|row| row.request_id);
        let mut new: HashSet<Uuid> = ids.filter(|id| !is_waiting(id)).collect();
        let old: Vec<Uuid> = new
            .iter()
            .filter(|id| !books.is_young(**id))
            .copied()
            .collect();
        for posted in usage::present(store.reader(), &old).await? {
            new.remove(&posted);
        }
        Ok(new)
    }

    /// Where the accounts stand, as far as they are there.
    pub(super) async fn known(
        &mut self,
        store: &Store,
        asked: impl Iterator<Item = &AccountId> + Clone,
    ) -> Result<Accounts, sqlx::Error> {
        let books = &mut *self.0;
        let unknown = asked.clone().filter(|id| !books.accounts.contains_key(id));
        let unknown = unknown.collect::<Vec<_>>();
        if !unknown.is_empty() {
            let mut reader = store.reader().acquire().await?;
            let read = Accounts::lock(&mut reader, &store.database, unknown.into_iter()).await?;
            books.accounts.extend(read.into_rows());
        }
        let mut accounts = Accounts::default();
        for id in asked {
            if let Some(row) = books.accounts.get(id) {
                accounts.insert(id.clone(), row.marked(false));
            }
        }
        Ok(accounts)
    }

    /// Commits the rows, and the accounts that have been changed. It goes on when
    /// the caller does not.
    pub(super) async fn commit(
        mut self,
        batch: i64,
        rows: Vec<UsageRow>,
        accounts: Accounts,
    ) -> Result<(), CommitError> {
        let totals = accounts.changed();
        if rows.is_empty() && totals.is_empty() {
            return Ok(());
        }
        let work = move || {
            let books = &mut *self.0;
            books.batch = batch;
            books
                .record(&rows, &totals)
                .map_err(CommitError::NotWritten)?;
            books.ids.extend(rows.iter().map(|row| row.request_id));
            books.rows.extend(rows);
            for (id, row) in accounts.into_rows().filter(|(_, row)| row.is_changed()) {
                books.accounts.insert(id, row);
            }
            let unsynced = books.files.unsynced();
            let tail = Arc::clone(books.files.tail());
            // Claims go on while the disk works.
            drop(self);
            unsynced.map_or(Ok(()), |unsynced| {
                unsynced.sync(&tail).map_err(CommitError::NotSynced)
            })
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| CommitError::NotWritten(io::Error::other(error)))?
    }
}

#[cfg(test)]
mod tests;
