//! What the processes that share a PostgreSQL have taken of the rates of keys,
//! teams and users. A claim is one conditional change of a row, decided by the database
//! (`claim_rate` in the migrations); what to claim is the ledger's business. An
//! SQLite file has one process, which counts in memory alone.

use std::sync::LazyLock;

use sqlx::Row as _;
use uuid::Uuid;

use crate::key::{AccountId, Rate};
use crate::ledger::{Answer, Ask};
use crate::store::many::filled::{self, SIZES, chunks};
use crate::store::{Store, StoreError};

/// More than anybody can use in a minute; sums of these stay inside their range.
const AMOUNT_MAX: u64 = 1 << 50;
/// Rows of past minutes that one statement deletes.
const FORGET_BATCH: i64 = 1_000;

/// In the order of their rows, as everybody locks them.
static CLAIM: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    filled::texts(
        "WITH asked (place, process, account, model, unit, minute, most, change, at_least, demand, \
         ahead) AS (VALUES ",
        11,
        ")
         SELECT a.place, c.granted, c.stands
         FROM (SELECT * FROM asked WHERE place IS NOT NULL
               ORDER BY account, model, unit, minute) a
         CROSS JOIN LATERAL claim_rate(a.process, a.account, a.model, a.unit, a.minute, a.most,
             a.change, a.at_least, a.demand, a.ahead) c",
    )
});

/// The answers to these, in their order; None for slots of a process that was
/// taken for dead. After an error any of them may have been granted.
pub(crate) async fn claim(
    store: &Store,
    process: Uuid,
    asks: &[Ask],
) -> Result<Vec<Option<Answer>>, StoreError> {
    let claimed = claim_all(store, process, asks).await;
    claimed.map_err(StoreError::while_doing("claiming a part of a rate"))
}

async fn claim_all(
    store: &Store,
    process: Uuid,
    asks: &[Ask],
) -> Result<Vec<Option<Answer>>, sqlx::Error> {
    let process = process.to_string();
    let mut answers = vec![None; asks.len()];
    let placed = asks.iter().zip(0_i64..).collect::<Vec<_>>();
    for (size, asked) in chunks(&placed) {
        let mut query = sqlx::query(CLAIM[size].as_str());
        for one in asked {
            let ask = one.map(|(ask, _)| *ask);
            query = query
                .bind(one.map(|(_, place)| *place))
                .bind(one.map(|_| process.clone()))
                .bind(ask.map(|ask| account(&ask.account)))
                .bind(ask.map(|ask| ask.model.as_deref().unwrap_or_default().to_owned()))
                .bind(ask.map(|ask| ask.rate.as_str()))
                .bind(ask.map(|ask| ask.minute))
                .bind(ask.map(|ask| amount(ask.limit)))
                .bind(ask.map(change))
                .bind(ask.map(|ask| amount(ask.least)))
                .bind(ask.map(|ask| amount(ask.demand)))
                .bind(ask.map(|ask| amount(ask.ahead)));
        }
        for row in query.fetch_all(&store.writer).await? {
            let granted = row.try_get::<Option<i64>, _>("granted")?;
            let stands = row.try_get::<Option<i64>, _>("stands")?;
            let place = usize::try_from(row.try_get::<i64, _>("place")?).ok();
            if let Some(answer) = place.and_then(|place| answers.get_mut(place)) {
                *answer = granted.zip(stands).map(|(granted, stands)| Answer {
                    granted: u64::try_from(granted).unwrap_or_default(),
                    stands: u64::try_from(stands).unwrap_or_default(),
                });
            }
        }
    }
    Ok(answers)
}

/// A key by its hash alone, as from the beginning; a team or a user by a text that
/// is no hash.
fn account(of: &AccountId) -> String {
    match of {
        AccountId::Key(hash) => hash.to_string(),
        AccountId::Shared(_) => of.to_string(),
    }
}

/// As `claim_rate` wants it.
fn change(ask: &Ask) -> i64 {
    match ask.rate {
        Rate::Slots => amount(ask.held),
        _ => amount(ask.debt) - amount(ask.returned),
    }
}

fn amount(units: u64) -> i64 {
    i64::try_from(units.min(AMOUNT_MAX)).unwrap_or(i64::MAX)
}

/// Says that the process lives, so that nobody takes its slots for free; false
/// where somebody has.
pub(crate) async fn prove(store: &Store, process: Uuid) -> Result<bool, StoreError> {
    let proven = sqlx::query(
        "UPDATE process SET seen_us = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)
         WHERE id = $1",
    )
    .bind(process.to_string())
    .execute(&store.writer)
    .await;
    let proven = proven.map_err(StoreError::while_doing("saying that this process lives"))?;
    Ok(proven.rows_affected() == 1)
}

/// Deletes what was counted in minutes before this one. Several processes may do
/// so at once, each with rows of its own.
pub(crate) async fn forget(store: &Store, before: i64) -> Result<(), StoreError> {
    loop {
        let deleted = sqlx::query(
            "DELETE FROM rate WHERE ctid IN (SELECT ctid FROM rate
                 WHERE minute > 0 AND minute < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(before)
        .bind(FORGET_BATCH)
        .execute(&store.writer)
        .await
        .map_err(StoreError::while_doing("deleting rates of past minutes"))?;
        if deleted.rows_affected() < FORGET_BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
