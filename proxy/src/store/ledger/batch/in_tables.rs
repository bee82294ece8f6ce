//! A batch as one transaction of the tables, whose rows are locked in the order
//! of their names: whether a claim fits is asked of rows that are locked, and said
//! once more by the condition of the statement that writes them.

use std::sync::LazyLock;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::{Changes, rows};
use crate::key::AccountId;
use crate::ledger::entry::{Entry, Outcome};
use crate::store::ledger::accounts::Accounts;
use crate::store::ledger::{ApplyError, estimate, process};
use crate::store::many::filled::{self, SIZES, chunks};
use crate::store::{Database, Store, StoreError, usage};

pub(super) async fn apply(
    store: &Store,
    process: Uuid,
    batch: i64,
    entries: &[Entry],
) -> Result<Vec<Outcome>, ApplyError> {
    let not_applied =
        |error| ApplyError::NotApplied(StoreError::while_doing("changing the books")(error));
    let mut transaction = store.begin_batch().await.map_err(ApplyError::NotApplied)?;
    let is_alive = process::mark(&mut transaction, &store.database, process, batch);
    if !is_alive.await.map_err(not_applied)? {
        return Err(ApplyError::Swept);
    }
    let outcomes = change_books(&mut transaction, &store.database, process, entries).await;
    let outcomes = outcomes.map_err(not_applied)?;
    match transaction.commit().await {
        Ok(()) => Ok(outcomes),
        Err(source) => Err(ApplyError::Unknown {
            outcomes,
            source: StoreError::while_doing("committing the books")(source),
        }),
    }
}

async fn change_books(
    connection: &mut AnyConnection,
    database: &Database,
    process: Uuid,
    entries: &[Entry],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let written = usage::insert(connection, database, &rows(entries)).await?;
    let (mut changes, mut outcomes) = Changes::of(process, entries, written);
    for late in std::mem::take(&mut changes.late) {
        let taken = estimate::take_off(connection, late.owner, &late.account, late.amount).await?;
        let change = changes.get(&late.account);
        change.posted_nanos = change.posted_nanos.saturating_sub(taken.nanos());
    }
    let mut accounts = Accounts::lock(connection, database, changes.of.keys()).await?;
    changes.settle(entries, &mut outcomes, &mut accounts);
    if let Database::Postgres(_) = database {
        let moved = changes.moved(&mut accounts);
        move_allotments(connection, process, &moved).await?;
    }
    accounts.write(connection).await?;
    Ok(outcomes)
}

impl Changes {
    /// By how much the allotments of this process grow, or shrink below zero. In one
    /// order, as accounts are locked.
    fn moved(&self, rows: &mut Accounts) -> Vec<(&AccountId, i64)> {
        let moved = self
            .of
            .iter()
            .map(|(account, change)| (account, change.allotted.nanos() - change.released.nanos()))
            .filter(|(account, moved)| *moved != 0 && rows.get(account).is_some());
        let mut moved = moved.collect::<Vec<_>>();
        moved.sort_unstable();
        moved
    }
}

static GROW: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH moved (process, scope, subject, amount) AS (VALUES ",
        4,
        ")
         INSERT INTO allotment (process, scope, subject, amount_nanousd)
         SELECT process, scope, subject, amount FROM moved WHERE scope IS NOT NULL
         ON CONFLICT (process, scope, subject) DO UPDATE
             SET amount_nanousd = allotment.amount_nanousd + excluded.amount_nanousd",
    )
});

static SHRINK: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH moved (process, scope, subject, amount) AS (VALUES ",
        4,
        ")
         UPDATE allotment SET amount_nanousd = CASE
             WHEN amount_nanousd < moved.amount THEN 0 ELSE amount_nanousd - moved.amount END
         FROM moved
         WHERE allotment.process = moved.process AND allotment.scope = moved.scope
             AND allotment.subject = moved.subject",
    )
});

async fn move_allotments(
    connection: &mut AnyConnection,
    process: Uuid,
    moved: &[(&AccountId, i64)],
) -> Result<(), sqlx::Error> {
    let process = process.to_string();
    let (grown, shrunk): (Vec<_>, Vec<_>) = moved.iter().partition(|(_, amount)| *amount > 0);
    for (texts, moved) in [(&GROW, grown), (&SHRINK, shrunk)] {
        for (size, moved) in chunks(&moved) {
            let mut query = sqlx::query(texts[size].as_str());
            for one in moved {
                query = query
                    .bind(one.map(|_| process.clone()))
                    .bind(one.map(|(account, _)| account.scope()))
                    .bind(one.map(|(account, _)| account.subject()))
                    .bind(one.map(|(_, amount)| amount.abs()));
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}
