//! The tick of every minute: periodic work, then what a crash left behind.
//!
//! Owns the walk over the write-ahead log. Vault: a standby gets the tick too;
//! its storage lags, so it must do nothing, or it would undo what is alive.

use std::time::{Duration, Instant};

use chrono::Utc;
use tracing::warn;

use super::{
    backend::{Backend, WalRollback},
    handler::WalOutcome,
    wal::{self, WalEntry, WalId},
};
use crate::{Error, Request, Response, Value, tasks};

/// Vault: a tick's own deadline is 90 s, and the next one comes a minute later.
const WALK_TIMEOUT: Duration = Duration::from_secs(45);

pub(super) async fn run<S: Send + Sync + 'static>(
    backend: &Backend<S>,
    request: Request,
) -> Result<Option<Response>, Error> {
    let state = request.system.replication_state().await?;
    if state.is_standby() || state.is_dr_secondary() {
        return Ok(None);
    }
    // A tick that outlives its call must not meet the next one.
    let Ok(_walking) = backend.walking.try_lock() else {
        return Ok(None);
    };
    // Vault: a failure of the one does not keep the other from running.
    let periodic = match &backend.periodic {
        Some(periodic) => tasks::guarded(periodic(backend.state.clone(), request.clone())).await,
        None => Ok(()),
    };
    let failed = match &backend.wal {
        Some(rollback) => walk(backend, rollback, &request).await,
        None => Ok(0),
    };
    periodic?;
    match failed? {
        0 => Ok(None),
        failed => Ok(Some(Response::error(format!(
            "{failed} write-ahead entries could not be rolled back: see the log"
        )))),
    }
}

/// The number of entries that could not be undone.
async fn walk<S: Send + Sync + 'static>(
    backend: &Backend<S>,
    rollback: &WalRollback<S>,
    request: &Request,
) -> Result<usize, Error> {
    let mut failed = 0_usize;
    let started = Instant::now();
    for id in wal::list(request.storage.as_ref()).await? {
        if started.elapsed() > WALK_TIMEOUT {
            break;
        }
        if let Err(error) = undo(backend, rollback, request, &id).await {
            failed += 1;
            warn!(wal.id = id.as_str(), %error, "a write-ahead entry is kept for the next try");
        }
    }
    Ok(failed)
}

/// Undoes one entry and deletes it. An entry that is too young stays.
async fn undo<S: Send + Sync + 'static>(
    backend: &Backend<S>,
    rollback: &WalRollback<S>,
    request: &Request,
    id: &WalId,
) -> Result<(), Error> {
    let storage = request.storage.as_ref();
    let Some(entry) = wal::get(storage, id).await? else {
        return Ok(());
    };
    if !immediate(request) && !old_enough(rollback, &entry) {
        return Ok(());
    }
    let WalEntry {
        kind,
        data,
        created_at,
    } = entry;
    let undoing = (rollback.handler)(
        backend.state.clone(),
        request.clone(),
        kind,
        data,
        created_at,
    );
    match tasks::guarded(undoing).await? {
        WalOutcome::Done => wal::delete(storage, id).await,
        WalOutcome::Keep => Ok(()),
    }
}

/// Vault: `immediate` in the tick's data overrides the minimum age.
fn immediate(request: &Request) -> bool {
    request
        .data
        .get("immediate")
        .is_some_and(|value| *value != Value::Bool(false))
}

fn old_enough<S>(rollback: &WalRollback<S>, entry: &WalEntry) -> bool {
    let age = Utc::now().signed_duration_since(entry.created_at);
    age.to_std().is_ok_and(|age| age >= rollback.min_age)
}

#[cfg(test)]
mod tests;
