//! Walks the chain from its first row to its last. It only reads.

use super::{AuditRow, FIRST};
use crate::store::{Store, StoreError};

/// Rows in memory at a time.
const ROWS_MAX: i64 = 1_000;

/// What a walk along the chain found. Rows that were cut off at its end leave no
/// trace here: who fears that compares `head` with one that was noted earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// How many rows are as they were written.
    pub(crate) rows: i64,
    /// The hash of the last of them.
    pub(crate) head: String,
    /// The first row that is not as it was written, or does not follow the one
    /// before it.
    pub(crate) broken: Option<i64>,
}

pub(crate) async fn verify(store: &Store) -> Result<Chain, StoreError> {
    walk(store)
        .await
        .map_err(StoreError::while_doing("verifying the audit trail"))
}

async fn walk(store: &Store) -> Result<Chain, sqlx::Error> {
    let mut chain = Chain {
        rows: 0,
        head: FIRST.to_owned(),
        broken: None,
    };
    loop {
        let rows = sqlx::query("SELECT * FROM audit WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(chain.rows)
            .bind(ROWS_MAX)
            .fetch_all(store.reader())
            .await?;
        if rows.is_empty() {
            return Ok(chain);
        }
        for row in &rows {
            let row = AuditRow::read(row)?;
            let follows = row.id == chain.rows + 1 && row.previous_hash == chain.head;
            if !follows || row.digest() != row.hash {
                chain.broken = Some(row.id);
                return Ok(chain);
            }
            chain.rows = row.id;
            chain.head = row.hash;
        }
    }
}
