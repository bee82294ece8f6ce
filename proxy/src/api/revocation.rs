//! The end of a key while one of its streams runs. A stream can last for
//! minutes, and a key that was revoked, blocked or has expired must not be paid
//! for that long.

use std::time::Duration;

use http::StatusCode;

use crate::app::AppState;
use crate::auth::{Caller, Peer, authenticate_again};

/// How often a running stream's key is looked at: in memory, unless the key has
/// changed, and never once a chunk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Resolves once the caller would be refused. A store that does not answer ends
/// nothing: it says nothing about the key.
pub(super) async fn revoked(state: &AppState, caller: Caller, peer: Peer) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Err(error) = authenticate_again(state, caller.clone(), peer).await else {
            continue;
        };
        if matches!(
            error.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
