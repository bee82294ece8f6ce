//! `GET /v1/budget`: where each account of the calling key stands, and the
//! warning that a call's answer carries when one of them is nearly spent.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{exchange::spend, itself::itself};
use crate::{
    app::AppState,
    auth::Peer,
    error::ApiError,
    key::{AccountId, Key, Window},
    ledger::Position,
    money::NanoUsd,
    store,
};

/// From here on an answer warns.
const WARNING_PERCENT: u64 = 80;
const WARNING: &str = "x-llm-proxy-budget-warning";
/// A window younger than this tells nothing about a day.
const YOUNGEST_S: i64 = 60;
const DAY_S: i64 = 86_400;

pub(crate) async fn handle(
    State(state): State<AppState>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let key = itself(&state, &headers, peer).await?;
    let now = state.clock.now();
    let mut positions = positions(&state, &key.accounts()).await?;
    for of_model in key.accounts_of_models() {
        // The others are those of every call.
        positions.extend(self::positions(&state, of_model).await?.pop());
    }
    let mut accounts = Vec::with_capacity(positions.len());
    for position in &positions {
        accounts.push(account(&state, &key, position, now).await?);
    }
    Ok(Json(json!({"object": "list", "data": accounts})))
}

async fn positions(
    state: &AppState,
    accounts: &Arc<[AccountId]>,
) -> Result<Vec<Position>, ApiError> {
    let positions = state.ledger.positions(accounts).await;
    // Asking where an account stands exceeds nothing.
    positions.map_err(|_unavailable| ApiError::store_unavailable())
}

async fn account(
    state: &AppState,
    key: &Key,
    position: &Position,
    now: DateTime<Utc>,
) -> Result<Value, ApiError> {
    let stored = store::ledger::standing(&state.store, &position.account).await?;
    // Other processes post too, and this one's postings may be under way.
    let posted = stored.map_or(position.posted, |stored| stored.posted.max(position.posted));
    let (id, window) = match &position.account {
        AccountId::Key(_) => (key.hash.to_string(), None),
        AccountId::Shared(shared) => (shared.id.to_string(), shared.window),
    };
    let burn = match window {
        Some(window) => a_day(posted, window, now),
        None => {
            let yesterday = now - TimeDelta::days(1);
            state.store.cost_since(&position.account, yesterday).await?
        }
    };
    let used = posted.saturating_add(position.held);
    Ok(json!({
        "scope": position.account.scope(),
        "id": id,
        "limit": position.limit,
        "posted": posted,
        "held": position.held,
        "remaining": position.limit.map(|limit| limit.saturating_sub(used)),
        "resets_at": window.map(|window| window.end.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "burn_per_day": burn,
    }))
}

/// What a day costs at the pace of this window so far.
fn a_day(posted: NanoUsd, window: Window, now: DateTime<Utc>) -> NanoUsd {
    let elapsed = (now - window.start).num_seconds().max(YOUNGEST_S);
    let picos =
        u128::from(posted.nanos().unsigned_abs()) * u128::from(DAY_S.unsigned_abs()) * 1_000
            / u128::from(elapsed.unsigned_abs());
    NanoUsd::from_picos(picos)
}

/// Names the fullest account of a call from 80 % on, else the key's soft budget
/// where its spend has come to it. It asks memory alone.
pub(super) fn warn(
    state: &AppState,
    accounts: &[AccountId],
    soft_budget: Option<NanoUsd>,
    headers: &mut HeaderMap,
) {
    let fullest = state.ledger.fullest(accounts);
    let fullest = fullest.filter(|one| one.percent >= WARNING_PERCENT);
    let reached =
        || soft_budget.filter(|soft| spend(state, accounts).is_some_and(|all| all >= *soft));
    let text = match fullest {
        Some(fullest) => format!("scope={}, percent={}", fullest.scope, fullest.percent),
        None => match reached() {
            Some(soft_budget) => format!("scope=key, soft_budget={soft_budget}"),
            None => return,
        },
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(WARNING, value);
    }
}

#[cfg(test)]
mod tests;
