//! What a key asks about itself costs nothing and no limit counts it, but it reads
//! the store. A few of these are answered at a time, so that one key's questions
//! keep neither the ledger nor other keys from the store.

use std::time::Duration;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::{sync::Semaphore, time::timeout};

use crate::error::ApiError;

/// Fewer than a store has connections.
static TURNS: Semaphore = Semaphore::const_new(3);
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn wait(request: Request, next: Next) -> Response {
    match timeout(PATIENCE, TURNS.acquire()).await {
        Ok(_turn) => next.run(request).await,
        Err(_) => ApiError::too_many_questions().into_response(),
    }
}
