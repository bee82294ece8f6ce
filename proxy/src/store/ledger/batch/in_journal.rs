//! A batch where there is one process: decided by what this one knows of the
//! accounts, and committed as one record of the journal.

use uuid::Uuid;

use super::{Changes, rows};
use crate::ledger::entry::{Entry, Outcome};
use crate::store::journal::{CommitError, Journal};
use crate::store::ledger::accounts::Accounts;
use crate::store::ledger::{ApplyError, process};
use crate::store::usage::UsageRow;
use crate::store::{Store, StoreError};

pub(super) async fn apply(
    store: &Store,
    journal: &Journal,
    (process, batch): (Uuid, i64),
    entries: &[Entry],
) -> Result<Vec<Outcome>, ApplyError> {
    let not_applied =
        |error| ApplyError::NotApplied(StoreError::while_doing("changing the books")(error));
    let mut books = journal
        .writable(store)
        .await
        .map_err(ApplyError::NotApplied)?;
    if books.process() != Some(process) {
        let last = process::last_record(store, process).await;
        let last = last.map_err(not_applied)?.ok_or(ApplyError::Swept)?;
        books.begin(process, last);
    }
    let new = books.new_among(store, &rows(entries)).await;
    let (mut changes, mut outcomes) = Changes::of(process, entries, new.map_err(not_applied)?);
    let written = entries.iter().zip(&outcomes).filter_map(posted).cloned();
    let written = written.collect();
    let known = books.known(store, changes.of.keys()).await;
    let mut accounts: Accounts = known.map_err(not_applied)?;
    changes.settle(entries, &mut outcomes, &mut accounts);
    let committed = books.commit(batch, written, accounts);
    match committed.await {
        Ok(()) => Ok(outcomes),
        Err(CommitError::NotWritten(source)) => {
            Err(ApplyError::NotApplied(StoreError::Journal(source)))
        }
        Err(CommitError::NotSynced(source)) => Err(ApplyError::Unknown {
            outcomes,
            source: StoreError::Journal(source),
        }),
    }
}

/// The row of a posting that counts.
fn posted<'a>((entry, outcome): (&'a Entry, &Outcome)) -> Option<&'a UsageRow> {
    match (entry, outcome) {
        (Entry::Post(posting), Outcome::Posted) => Some(&posting.row),
        _ => None,
    }
}
