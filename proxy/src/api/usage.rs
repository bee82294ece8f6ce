//! `GET /v1/usage`: what the calling key has used today, this month and ever,
//! in UTC. A call counts where it began; one that has not settled counts later.

use axum::{Json, extract::State};
use chrono::{DateTime, Datelike as _, NaiveTime, Utc};
use http::HeaderMap;
use serde_json::{Value, json};

use super::itself::itself;
use crate::{app::AppState, auth::Peer, error::ApiError, store::spend::Totals};

pub(crate) async fn handle(
    State(state): State<AppState>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let key = itself(&state, &headers, peer).await?;
    let now = state.clock.now();
    let day = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let today = state.store.totals_since(key.account(), day).await?;
    let this_month = state.store.totals_since(key.account(), month(day)).await?;
    let lifetime = state.store.totals(key.account()).await?;
    Ok(Json(json!({
        "object": "usage",
        "today": shown(today),
        "this_month": shown(this_month),
        "lifetime": shown(lifetime),
    })))
}

/// The first day of a day's month; each month has one.
fn month(day: DateTime<Utc>) -> DateTime<Utc> {
    day.with_day(1).unwrap_or(day)
}

fn shown(totals: Totals) -> Value {
    json!({
        "calls": totals.calls,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "total_tokens": totals.prompt_tokens.saturating_add(totals.completion_tokens),
        "cost": totals.cost,
    })
}
