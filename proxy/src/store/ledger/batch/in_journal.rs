//! A batch where there is one process: decided by what this one knows of the
//! accounts, and committed as one record of the journal.

use uuid::Uuid;

use super::{Changes, rows};
use crate::ledger::entry::{Entry, Outcome};
use crate::store::journal::Journal;
use crate::store::ledger::accounts::Accounts;
use crate::store::ledger::{ApplyError, process};
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
        if !process::is_known(store, process)
            .await
            .map_err(not_applied)?
        {
            return Err(ApplyError::Swept);
        }
        books.begin(process);
    }
    let rows = rows(entries);
    let new = books.new_among(store, &rows).await.map_err(not_applied)?;
    let written = rows.into_iter().filter(|row| new.contains(&row.request_id));
    // Of two rows of one request the first is.
    let mut left = new.clone();
    let written: Vec<_> = written.filter(|row| left.remove(&row.request_id)).collect();
    let (mut changes, mut outcomes) = Changes::of(process, entries, new);
    let known = books.known(store, changes.of.keys()).await;
    let mut accounts: Accounts = known.map_err(not_applied)?;
    changes.settle(entries, &mut outcomes, &mut accounts);
    let committed = books.commit(batch, written.into_iter().cloned().collect(), accounts);
    match committed.await {
        Ok(()) => Ok(outcomes),
        Err(source) => Err(ApplyError::NotApplied(StoreError::Journal(source))),
    }
}
