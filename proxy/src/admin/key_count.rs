//! `GET /key/count`: how many keys there are, by status.

use axum::{extract::State, response::Response};
use serde_json::json;

use super::answer;
use crate::{app::AppState, error::ApiError};

pub(crate) async fn handle(State(state): State<AppState>) -> Result<Response, ApiError> {
    let counts = state.store.count_keys(state.clock.now()).await?;
    let body = json!({
        "total": counts.active + counts.expired + counts.blocked,
        "active": counts.active,
        "expired": counts.expired,
        "blocked": counts.blocked,
        "deleted": counts.deleted,
    });
    Ok(answer(body, &[]))
}
