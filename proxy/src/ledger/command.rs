//! `llm-proxy ledger verify`: opens the store of a stopped gateway and
//! recomputes its books and the chain of its audit trail.
//!
//! It owns what the operator reads and the exit code. It changes nothing; only
//! the command line calls it.

use std::io::Write as _;

use uuid::Uuid;

use crate::store::ledger::estimate::{Released, release as take_back};
use crate::store::ledger::verify::verify as compare;
use crate::store::{OpenError, Store, StoreError, audit};

/// Why the books are not known to be right: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{0} of the accounts differ from the sum of their rows: restore a backup or report it, they are listed above"
    )]
    Differs(usize),
    #[error(
        "the audit trail was changed after it was written: row {0} is the first that is not as it was, or does not follow the one before it"
    )]
    Tampered(i64),
    #[error("the store's file is damaged, restore a backup: {0}")]
    Damaged(String),
    #[error("there is no posting {0}: a warning names each that was estimated, when it is made")]
    NotFound(Uuid),
    #[error("the posting {0} was counted, not estimated: there is nothing to release")]
    Counted(Uuid),
    #[error("writing the answer: {0}")]
    Output(#[from] std::io::Error),
}

/// # Errors
/// When the store does not open (a gateway that runs holds its lock), or when
/// an account's total is not the sum of its rows.
pub(crate) async fn verify(database_url: &str) -> Result<(), CommandError> {
    let store = Store::open(database_url).await?;
    if let Some(damage) = store.damage().await? {
        return Err(CommandError::Damaged(damage));
    }
    let found = compare(&store).await;
    let trail = audit::verify(&store).await;
    store.close().await;
    let (found, trail) = (found?, trail?);
    let mut out = std::io::stdout();
    for one in &found.differences {
        writeln!(
            out,
            "differs: {} {} posted_nanousd {} rows_nanousd {}",
            one.scope, one.subject, one.posted_nanousd, one.rows_nanousd
        )?;
    }
    writeln!(
        out,
        "accounts {} posted_nanousd {} allotted_nanousd {} differences {}",
        found.accounts,
        found.posted_nanousd,
        found.allotted_nanousd,
        found.differences.len()
    )?;
    writeln!(out, "audit_rows {} audit_head {}", trail.rows, trail.head)?;
    match (found.differences.len(), trail.broken) {
        (0, None) => Ok(()),
        (0, Some(row)) => Err(CommandError::Tampered(row)),
        (count, _) => Err(CommandError::Differs(count)),
    }
}

/// Releases an estimated posting: its accounts are freed of it. Doing so again
/// changes nothing.
///
/// # Errors
/// When the store does not open, or has no estimated posting of this id.
pub(crate) async fn release(database_url: &str, request_id: Uuid) -> Result<(), CommandError> {
    let store = Store::open(database_url).await?;
    let released = take_back(&store, request_id).await;
    store.close().await;
    let mut out = std::io::stdout();
    match released? {
        Released::Now(amount) => {
            tracing::warn!(%request_id, cost_nanousd = amount.nanos(), "estimated posting released");
            writeln!(out, "released {request_id} cost_nanousd {}", amount.nanos())?;
        }
        Released::Before => writeln!(out, "released before {request_id} cost_nanousd 0")?,
        Released::Counted => return Err(CommandError::Counted(request_id)),
        Released::Unknown => return Err(CommandError::NotFound(request_id)),
    }
    Ok(())
}
