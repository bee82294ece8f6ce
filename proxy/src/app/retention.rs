//! Removes the rows of old calls, as `llm_proxy.store.usage_retention` says: now
//! and then, in small batches with a pause between them, so that calls do not
//! notice.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::AppState;
use crate::store::{
    StoreError,
    retention::{BATCH_ROWS, remove_calls, remove_windows},
};

const INTERVAL: Duration = Duration::from_secs(3_600);
const PAUSE: Duration = Duration::from_millis(200);

/// Ends when the gateway stops.
pub(super) async fn run(state: AppState, kept: TimeDelta) {
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = state.tasks.stopped() => return,
            _ = interval.tick() => {}
        }
        report(remove(&state, state.clock.now() - kept).await);
    }
}

fn report(removed: Result<(usize, u64), StoreError>) {
    match removed {
        Ok((0, 0)) => {}
        Ok((calls, windows)) => {
            tracing::info!(calls, windows, "removed what is older than usage_retention");
        }
        Err(error) => tracing::error!(%error, "old calls were not removed: tried again later"),
    }
}

async fn remove(state: &AppState, cutoff: DateTime<Utc>) -> Result<(usize, u64), StoreError> {
    let mut calls = 0;
    loop {
        let batch = remove_calls(&state.store, cutoff).await?;
        calls += batch;
        if batch < BATCH_ROWS || state.tasks.is_stopping() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok((calls, remove_windows(&state.store, cutoff).await?))
}
