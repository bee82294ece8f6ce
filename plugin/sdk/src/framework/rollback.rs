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
use crate::{Error, Request, Response, Value};

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
    if let Some(periodic) = &backend.periodic {
        periodic(backend.state.clone(), request.clone()).await?;
    }
    let Some(rollback) = &backend.wal else {
        return Ok(None);
    };
    let mut failed = 0_usize;
    let started = Instant::now();
    for id in wal::list(request.storage.as_ref()).await? {
        if started.elapsed() > WALK_TIMEOUT {
            break;
        }
        if let Err(error) = undo(backend, rollback, &request, &id).await {
            failed += 1;
            warn!(wal.id = id.as_str(), %error, "a write-ahead entry is kept for the next try");
        }
    }
    if failed > 0 {
        let text = format!("{failed} write-ahead entries could not be rolled back: see the log");
        return Ok(Some(Response::error(text)));
    }
    Ok(None)
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
    let outcome = (rollback.handler)(
        backend.state.clone(),
        request.clone(),
        kind,
        data,
        created_at,
    )
    .await?;
    match outcome {
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
