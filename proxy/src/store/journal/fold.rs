//! What has come together goes into the tables, in one transaction: the rows, and
//! where each account stands, once however often it was changed. The transaction
//! also says up to which batch that is, so that no record counts again.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashSet;
use sqlx::{AnyPool, Row as _};
use uuid::Uuid;

use super::record::{self, Record};
use super::{Books, Journal, KNOWN_MAX, OpenError};
use crate::key::AccountId;
use crate::store::ledger::accounts::{self, Total};
use crate::store::ledger::process;
use crate::store::usage::{self, UsageRow};
use crate::store::{Store, StoreError};

/// What one fold takes along.
#[derive(Debug)]
pub(super) struct Part {
    process: Uuid,
    /// The last batch that is in it.
    batch: i64,
    /// The last record that is in it.
    number: i64,
    pub(super) rows: Vec<UsageRow>,
    pub(super) ids: HashSet<Uuid>,
    totals: Vec<(AccountId, Total)>,
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

    /// As [`Journal::fold`], where it is worth it.
    pub(in crate::store) async fn fold_if_due(&self, store: &Store) -> Result<(), StoreError> {
        if self.take_books().await?.is_due() {
            self.fold(store).await?;
        }
        Ok(())
    }

    /// Batches go on meanwhile.
    pub(super) async fn fold_in_turn(&self, writer: &AnyPool) -> Result<(), StoreError> {
        loop {
            let (part, was_given_up) = {
                let mut books = self.take_books().await?;
                let was_given_up = books.folding.is_some();
                (books.begin_fold()?, was_given_up)
            };
            let Some(part) = part else {
                return Ok(());
            };
            write(writer, &part).await?;
            self.take_books().await?.end_fold();
            if !was_given_up {
                return Ok(());
            }
        }
    }
}

impl Books {
    fn is_folded(&self) -> bool {
        self.folding.is_none() && self.files.is_empty() && !self.is_broken
    }

    /// The part that goes next; none where everything is in the tables. One whose
    /// fold was given up goes again, in which nothing counts twice.
    pub(super) fn begin_fold(&mut self) -> Result<Option<Arc<Part>>, StoreError> {
        if let Some(part) = &self.folding {
            return Ok(Some(Arc::clone(part)));
        }
        let Some(process) = self.process.filter(|_| !self.is_folded()) else {
            return Ok(None);
        };
        self.files.switch().map_err(StoreError::Journal)?;
        self.is_broken = false;
        self.since = None;
        let mut totals = Vec::new();
        for (id, row) in self.accounts.iter_mut().filter(|(_, row)| row.is_changed()) {
            totals.push((id.clone(), row.total()));
            *row = row.marked(false);
        }
        let part = Arc::new(Part {
            process,
            batch: self.batch,
            number: self.number,
            rows: std::mem::take(&mut self.rows),
            ids: std::mem::take(&mut self.ids),
            totals,
        });
        self.folding = Some(Arc::clone(&part));
        Ok(Some(part))
    }

    /// The part that was begun is in the tables.
    pub(super) fn end_fold(&mut self) {
        self.folding = None;
        self.files.forget_before();
        if self.accounts.len() > KNOWN_MAX {
            self.accounts.retain(|_, row| row.is_changed());
        }
    }
}

pub(super) async fn write(writer: &AnyPool, part: &Part) -> Result<(), StoreError> {
    let failed = || StoreError::while_doing("folding the journal");
    put(writer, part).await.map_err(failed())
}

async fn put(writer: &AnyPool, part: &Part) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    usage::record(&mut transaction, &part.rows).await?;
    accounts::record(&mut transaction, &part.totals).await?;
    process::folded(&mut transaction, part.process, (part.batch, part.number)).await?;
    transaction.commit().await
}

/// Folds what an ended process has left. Records of a process that the tables do
/// not know belong to another database, which stood here before.
pub(super) async fn replay(writer: &AnyPool, texts: Vec<Vec<u8>>) -> Result<(), OpenError> {
    let records = texts.iter().map(|text| record::decode(text));
    let mut records = records.collect::<Result<Vec<_>, _>>()?;
    records.sort_unstable_by_key(|record| record.number.unwrap_or(record.batch));
    let known = sqlx::query("SELECT id, batch, record FROM process").fetch_all(writer);
    let mut parts = Vec::new();
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
        parts.extend(joined(records.extract_if(.., is_open).collect()));
    }
    for part in parts {
        tracing::info!(
            calls = part.rows.len(),
            accounts = part.totals.len(),
            "folding the journal"
        );
        put(writer, &part).await?;
    }
    Ok(())
}

/// Records of one process in their order: what the last says of an account counts.
fn joined(records: Vec<Record>) -> Option<Part> {
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
        process,
        batch,
        number,
        rows,
        ids: HashSet::default(),
        totals: totals.into_iter().collect(),
    })
}
