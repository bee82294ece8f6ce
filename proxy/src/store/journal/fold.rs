//! What has come together goes into the tables, in one transaction: the rows, and
//! where each account stands, once however often it was changed. The transaction
//! also says up to which batch that is, so that no record counts again.
//!
//! Where rows come in faster than accounts are worth writing, they go ahead of them.
//! A crash after that finds the rows in the tables and their records in the files,
//! which bring the accounts, and rows that are there already are not written again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashSet;
use sqlx::{AnyPool, Row as _};
use uuid::Uuid;

use super::file::Unsynced;
use super::record::{self, Record};
use super::{Books, Journal, OpenError};
use crate::key::AccountId;
use crate::store::ledger::accounts::{self, Total};
use crate::store::ledger::process;
use crate::store::usage::{self, UsageRow};
use crate::store::{Store, StoreError};

/// Rows that are folded at once, at the latest.
const FOLD_ROWS: usize = 20_000;
/// How old the oldest record may become before its accounts are folded too, and how
/// many rows may go ahead of theirs: who reads the tables waits for that fold.
const FOLD_AGE: Duration = Duration::from_secs(10);
const AHEAD_MAX: usize = 80_000;
/// Rows of a part of the tables, after which a new one begins. A busy gateway's fold is
/// a part of its own, so that what finds its rows is written from one end to the other,
/// and a quiet one's folds share a part, because who asks for a key's rows looks into
/// each. Tests have many.
const PART_ROWS: usize = if cfg!(test) { 2 } else { FOLD_ROWS };
/// Accounts that are remembered though nothing of them is to be folded.
const KNOWN_MAX: usize = 250_000;

/// What one fold takes along.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) rows: Vec<UsageRow>,
    pub(super) ids: HashSet<Uuid>,
    /// Of the rows, in the tables.
    part: i64,
    upto: Upto,
}

/// How much a fold leaves behind it.
#[derive(Debug)]
enum Upto {
    /// Nothing: what the files have is not needed any longer.
    All {
        process: Uuid,
        /// The last batch that is in it.
        batch: i64,
        /// The last record that is in it.
        number: i64,
        totals: Vec<(AccountId, Total)>,
    },
    /// The accounts, of which a later fold writes each once more. The disk has the
    /// rows' records before the tables have the rows: else a power cut could leave
    /// rows that no account counts.
    Rows(Unsynced),
}

/// What is to be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    All,
    /// So that they do not wait in memory, though there are more accounts behind
    /// them than it is worth to write each time.
    Rows,
}

impl Journal {
    /// Everything that was committed until now goes into the tables.
    pub(in crate::store) async fn fold(&self, store: &Store) -> Result<(), StoreError> {
        if self.take_books().await?.is_folded() {
            return Ok(());
        }
        let _turn = self.take_turn().await?;
        self.fold_in_turn(&store.writer).await
    }

    /// As [`Journal::fold`], as far as it is worth it.
    pub(in crate::store) async fn fold_if_due(&self, store: &Store) -> Result<(), StoreError> {
        let due = self.take_books().await?.due();
        match due {
            Some(What::All) => self.fold(store).await,
            Some(What::Rows) => {
                let _turn = self.take_turn().await?;
                let part = self.take_books().await?.begin_fold(What::Rows)?;
                match part {
                    Some(part) => self.put(&store.writer, part).await,
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    /// Batches go on meanwhile.
    pub(super) async fn fold_in_turn(&self, writer: &AnyPool) -> Result<(), StoreError> {
        loop {
            let (part, was_given_up) = {
                let mut books = self.take_books().await?;
                let was_given_up = books.was_given_up();
                (books.begin_fold(What::All)?, was_given_up)
            };
            let Some(part) = part else {
                return Ok(());
            };
            self.put(writer, part).await?;
            if !was_given_up {
                return Ok(());
            }
        }
    }

    pub(super) async fn put(&self, writer: &AnyPool, part: Arc<Part>) -> Result<(), StoreError> {
        if let Upto::Rows(unsynced) = &part.upto {
            let kept = self.keep(unsynced.clone()).await;
            kept.map_err(StoreError::Journal)?;
        }
        write(writer, &part).await?;
        self.take_books().await?.end_fold();
        Ok(())
    }
}

impl Books {
    fn is_folded(&self) -> bool {
        let tail = self.files.tail();
        self.folding.is_none() && tail.is_empty() && !tail.is_broken()
    }

    fn due(&self) -> Option<What> {
        let is_old = |since: Instant| since.elapsed() >= FOLD_AGE;
        let is_long = self.ahead >= AHEAD_MAX;
        match self.since.is_some_and(is_old) || is_long || self.files.tail().is_broken() {
            true => Some(What::All),
            false => (self.rows.len() >= FOLD_ROWS).then_some(What::Rows),
        }
    }

    /// Whether the part that goes next was begun before.
    fn was_given_up(&self) -> bool {
        self.folding.as_ref().is_some_and(|part| !part.is_rows())
    }

    /// The part that goes next; none where there is nothing to fold. One whose fold
    /// was given up goes again, in which nothing counts twice.
    pub(super) fn begin_fold(&mut self, what: What) -> Result<Option<Arc<Part>>, StoreError> {
        let is_again = |part: &&Arc<Part>| what == What::Rows || !part.is_rows();
        if let Some(part) = self.folding.as_ref().filter(is_again) {
            return Ok(Some(Arc::clone(part)));
        }
        let upto = match what {
            What::Rows if self.rows.is_empty() || self.files.tail().is_broken() => return Ok(None),
            What::Rows => Upto::Rows(self.files.all()),
            What::All if self.is_folded() => return Ok(None),
            What::All => match self.begin_all()? {
                Some(upto) => upto,
                None => return Ok(None),
            },
        };
        let mut rows = std::mem::take(&mut self.rows);
        let mut ids = std::mem::take(&mut self.ids);
        if let Some(before) = self.folding.take() {
            rows.extend_from_slice(&before.rows);
            ids.extend(&before.ids);
        }
        let part = Arc::new(Part {
            part: self.part_of(rows.len()),
            rows,
            ids,
            upto,
        });
        self.folding = Some(Arc::clone(&part));
        Ok(Some(part))
    }

    fn begin_all(&mut self) -> Result<Option<Upto>, StoreError> {
        // What this file does not take the other one does, and is folded once more.
        self.files.tail().write_claims();
        // Before its first batch, and after somebody else's change, a process has
        // nothing; a file that has failed meanwhile is not the one that it begins with.
        let has_nothing = self.process.is_none() && self.accounts.is_empty();
        if self.process.is_some() || has_nothing {
            self.files.switch().map_err(StoreError::Journal)?;
        }
        let Some(process) = self.process else {
            return Ok(None);
        };
        self.since = None;
        self.ahead = 0;
        let mut totals = Vec::new();
        for (id, row) in self.accounts.iter_mut().filter(|(_, row)| row.is_changed()) {
            totals.push((id.clone(), row.total()));
            *row = row.marked(false);
        }
        Ok(Some(Upto::All {
            process,
            batch: self.batch,
            number: self.number,
            totals,
        }))
    }

    /// The part of the tables that the next rows belong to.
    fn part_of(&mut self, rows: usize) -> i64 {
        if self.in_part >= PART_ROWS {
            self.part += 1;
            self.in_part = 0;
        }
        self.in_part += rows;
        self.part
    }

    /// The part that was begun is in the tables.
    pub(super) fn end_fold(&mut self) {
        let Some(part) = self.folding.take() else {
            return;
        };
        if part.is_rows() {
            self.ahead += part.rows.len();
            return;
        }
        self.files.forget_before();
        if self.accounts.len() > KNOWN_MAX {
            self.accounts.retain(|_, row| row.is_changed());
        }
    }
}

impl Part {
    fn is_rows(&self) -> bool {
        matches!(self.upto, Upto::Rows(_))
    }
}

pub(super) async fn write(writer: &AnyPool, part: &Part) -> Result<(), StoreError> {
    let failed = || StoreError::while_doing("folding the journal");
    put(writer, part).await.map_err(failed())
}

async fn put(writer: &AnyPool, part: &Part) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    usage::record(&mut transaction, &part.rows, part.part).await?;
    if let Upto::All {
        process,
        batch,
        number,
        totals,
    } = &part.upto
    {
        accounts::record(&mut transaction, totals).await?;
        process::folded(&mut transaction, *process, (*batch, *number)).await?;
    }
    transaction.commit().await
}

/// Folds what an ended process has left. Records of a process that the tables do
/// not know belong to another database, which stood here before.
pub(super) async fn replay(
    writer: &AnyPool,
    records: Vec<Vec<u8>>,
    part: i64,
) -> Result<(), OpenError> {
    let records = records.iter().map(|bytes| record::decode(bytes));
    let mut records = records.collect::<Result<Vec<_>, _>>()?;
    records.sort_unstable_by_key(|record| record.number.unwrap_or(record.batch));
    let known = sqlx::query("SELECT id, batch, record FROM process").fetch_all(writer);
    let mut left = Vec::new();
    for row in known.await? {
        let id: String = row.try_get("id")?;
        let (batch, number): (i64, i64) = (row.try_get("batch")?, row.try_get("record")?);
        let is_open = |record: &mut Record| {
            let is_later = match record.number {
                Some(found) => found > number,
                None => record.batch > batch,
            };
            record.process.to_string() == id && is_later
        };
        left.extend(joined(records.extract_if(.., is_open).collect(), part));
    }
    for part in left {
        tracing::info!(calls = part.rows.len(), "folding the journal");
        put(writer, &part).await?;
    }
    Ok(())
}

/// Records of one process in their order: what the last says of an account counts.
fn joined(records: Vec<Record>, part: i64) -> Option<Part> {
    let last = records.last()?;
    let (process, batch) = (last.process, last.batch);
    let number = last.number.unwrap_or_default();
    let mut rows = Vec::new();
    let mut totals = BTreeMap::new();
    for record in records {
        rows.extend(record.rows);
        totals.extend(record.totals);
    }
    Some(Part {
        rows,
        ids: HashSet::default(),
        part,
        upto: Upto::All {
            process,
            batch,
            number,
            totals: totals.into_iter().collect(),
        },
    })
}
