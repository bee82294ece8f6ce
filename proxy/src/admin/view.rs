//! Owns how a key is shown: LiteLLM's field names, times and numbers. Never
//! shows the key itself; `/key/generate` adds it once.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::shared_budgets;
use crate::{
    app::AppState,
    error::ApiError,
    key::{AccountId, Key},
    money::NanoUsd,
    store,
};

/// LiteLLM: an ISO time of milliseconds, written with six digits.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3f000+00:00";
/// LiteLLM: what `/key/generate` writes.
pub(super) const TIME_EXACT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format(TIME).to_string()
}

/// What a key has spent, and where the budgets stand that it shares.
#[derive(Debug, Default)]
pub(super) struct Spend {
    own: NanoUsd,
    shared: Vec<Value>,
}

impl Spend {
    /// Of a key that is new.
    pub(super) fn nothing(shared: Vec<Value>) -> Self {
        Self {
            own: NanoUsd::ZERO,
            shared,
        }
    }
}

/// Posted so far: live from the ledger when it knows the key, else the store's.
pub(super) async fn spend(state: &AppState, key: &Key) -> Result<Spend, ApiError> {
    let own = AccountId::Key(key.hash);
    let own = match state.ledger.spend(&own) {
        Some(posted) => posted,
        None => {
            let standing = store::ledger::standing(&state.store, &own).await?;
            standing.map_or(NanoUsd::ZERO, |standing| standing.posted)
        }
    };
    let shared = shared_budgets::standing(state, key).await?;
    Ok(Spend { own, shared })
}

/// The row as `/key/info`, `/key/list` and `/key/update` show it.
pub(super) fn row(key: &Key, spend: &Spend, now: DateTime<Utc>) -> Map<String, Value> {
    let row = json!({
        "key_name": key.key_name,
        "key_alias": key.alias,
        "key_type": key.key_type.as_str(),
        "spend": spend.own,
        "total_spend": spend.own,
        "max_budget": key.max_budget,
        "budget_duration": null,
        "budget_reset_at": null,
        "expires": key.expires_at.map(time),
        "models": key.models,
        "aliases": {},
        "config": {},
        "permissions": {},
        "model_max_budget": {},
        "metadata": key.metadata,
        "allowed_routes": key.allowed_routes,
        "scopes": key.scopes,
        "shared_budgets": spend.shared,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "organization_id": null,
        "project_id": null,
        "budget_id": null,
        "litellm_budget_table": null,
        "max_parallel_requests": null,
        "tpm_limit": null,
        "rpm_limit": null,
        "blocked": key.blocked,
        "status": status(key, now),
        "created_at": time(key.created_at),
        "updated_at": time(key.updated_at),
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// LiteLLM: a blocked key counts as revoked, also when it has expired.
fn status(key: &Key, now: DateTime<Utc>) -> &'static str {
    if key.blocked {
        "revoked"
    } else if key.is_expired(now) {
        "expired"
    } else {
        "active"
    }
}

/// Marks the row of a key that is gone.
pub(super) fn mark_deleted(row: &mut Map<String, Value>, at: DateTime<Utc>) {
    row.insert("status".to_owned(), json!("deleted"));
    row.insert("deleted_at".to_owned(), json!(time(at)));
}
