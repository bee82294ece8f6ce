//! Owns how a key is shown: LiteLLM's field names, times and numbers. Never
//! shows the key itself; `/key/generate` adds it once.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{limits, shared_budgets};
use crate::{
    app::AppState,
    error::ApiError,
    key::{AccountId, Key},
    ledger::account::Standing,
    money::NanoUsd,
    store,
};

/// LiteLLM: times have milliseconds, written with six digits.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3f000+00:00";
/// LiteLLM: where a row is answered as it is stored, the zone is a letter.
const TIME_STORED: &str = "%Y-%m-%dT%H:%M:%S%.3f000Z";
const TIME_RESET: &str = "%Y-%m-%dT%H:%M:%S+00:00";
/// LiteLLM: the expiry in the answer of `/key/generate`.
const TIME_EXACT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";
/// LiteLLM: who acts with the master key.
pub(super) const ADMIN: &str = "default_user_id";

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format(TIME).to_string()
}

/// As [`time`], where a row is answered as it is stored.
pub(super) fn stored_time(at: DateTime<Utc>) -> String {
    at.format(TIME_STORED).to_string()
}

/// LiteLLM: when an entry of `budget_limits` counts from zero again.
pub(super) fn reset_time(at: DateTime<Utc>) -> String {
    at.format(TIME_RESET).to_string()
}

/// Another one after each change of the key's rules: its `ETag`. What a key
/// spends does not change it.
pub(super) fn tag(key: &Key) -> String {
    let hash = key.hash.to_string();
    let start = hash.get(..8).unwrap_or_default();
    format!("\"{start}-{}\"", key.updated_at.timestamp_micros())
}

/// What a key has spent, and where the budgets stand that it shares.
#[derive(Debug, Default)]
pub(super) struct Spend {
    own: NanoUsd,
    shared: Vec<Value>,
    limits: limits::Used,
    last_call: Option<DateTime<Utc>>,
}

impl Spend {
    /// Of a key that is new.
    pub(super) fn nothing(shared: Vec<Value>) -> Self {
        Self {
            shared,
            ..Self::default()
        }
    }
}

/// Posted so far: live from the ledger when it knows the key, else the store's.
pub(super) async fn spend(state: &AppState, key: &Key) -> Result<Spend, ApiError> {
    let spends = spends(state, &[key]).await?;
    Ok(spends.into_iter().next().unwrap_or_default())
}

/// As [`spend`], of many keys with few reads of the store.
pub(super) async fn spends(state: &AppState, keys: &[&Key]) -> Result<Vec<Spend>, ApiError> {
    let now = state.clock.now();
    let of_key = |key: &&Key| {
        let budgets = key.own_budgets().into_iter();
        let budgets = budgets.map(move |budget| limits::current(&budget, now));
        let shared = key.shared().cloned().map(AccountId::Shared);
        shared
            .chain([key.own_account()])
            .chain(budgets)
            .collect::<Vec<_>>()
    };
    if state.store.is_shared() {
        // The store tells what all have spent, and this process what it has not said.
        state.ledger.flush().await;
    }
    let accounts: BTreeSet<AccountId> = keys.iter().flat_map(of_key).collect();
    let mut stored = read(state, accounts).await?;
    let windows = keys.iter().flat_map(|key| key.shared());
    let windows = windows.filter_map(|shared| shared_budgets::current(&stored, shared, now));
    let windows = windows.map(|(account, _)| AccountId::Shared(account));
    let windows = windows.filter(|window| state.ledger.spend(window).is_none());
    let windows = read(state, windows.collect()).await?;
    stored.extend(windows);
    let accounts: Vec<_> = keys.iter().map(|key| key.account()).collect();
    let last_calls = state.store.last_calls(&accounts).await?;
    let spend = |key: &&Key| Spend {
        own: posted(state, &stored, &key.own_account()),
        shared: shared_budgets::standing(state, &stored, key, now),
        limits: limits::used(state, &stored, key, now),
        last_call: last_calls.get(&key.account()).copied(),
    };
    Ok(keys.iter().map(spend).collect())
}

pub(super) async fn read(
    state: &AppState,
    accounts: BTreeSet<AccountId>,
) -> Result<HashMap<AccountId, Standing>, ApiError> {
    let accounts: Vec<AccountId> = accounts.into_iter().collect();
    Ok(store::ledger::standings::standings(&state.store, &accounts).await?)
}

/// Nothing where nobody has called yet.
pub(super) fn posted(
    state: &AppState,
    stored: &HashMap<AccountId, Standing>,
    account: &AccountId,
) -> NanoUsd {
    let live = state.ledger.spend(account);
    let stored = || stored.get(account).map(|standing| standing.posted);
    live.or_else(stored).unwrap_or_default()
}

/// The row as `/key/info` shows it. LiteLLM: every field is there, also those
/// that nothing sets in this gateway.
pub(super) fn row(key: &Key, spend: &Spend, now: DateTime<Utc>) -> Map<String, Value> {
    let changed = key.updated_at > key.created_at;
    let mut row = object(json!({
        "key_name": key.key_name,
        "key_alias": key.alias,
        "key_type": key.key_type.as_str(),
        "spend": spend.own,
        "total_spend": spend.own,
        "max_budget": key.max_budget,
        "expires": key.expires_at.map(time),
        "models": key.models,
        "aliases": key.aliases,
        "last_active": spend.last_call.map(time),
        "metadata": key.metadata.entries(),
        "allowed_routes": key.allowed_routes,
        "scopes": key.scopes,
        "shared_budgets": spend.shared,
        "allowed_cidrs": key.allowed_cidrs,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "budget_id": key.budget_id,
        "litellm_budget_table": budget_table(key),
        "blocked": key.blocked,
        "status": status(key, now),
        "created_at": time(key.created_at),
        "created_by": ADMIN,
        "updated_at": time(key.updated_at),
        "updated_by": ADMIN,
        "settings_updated_at": changed.then(|| time(key.updated_at)),
        "soft_budget_cooldown": false,
        "auto_rotate": false,
        "rotation_count": 0,
    }));
    limits::show(&mut row, key, &spend.limits, now);
    if let Some(soft_budget) = key.soft_budget {
        row.insert("soft_budget".to_owned(), json!(soft_budget));
    }
    fill(&mut row, &ROW_NULLS, &Value::Null);
    fill(&mut row, &ROW_LISTS, &json!([]));
    fill(&mut row, &ROW_OBJECTS, &json!({}));
    row
}

/// LiteLLM: the named budget from which the key takes what it does not set.
fn budget_table(key: &Key) -> Option<Value> {
    let budget = key.groups.budget.as_deref()?;
    let limits = &budget.limits;
    Some(json!({
        "budget_id": key.budget_id,
        "max_budget": budget.max_budget,
        "soft_budget": budget.soft_budget,
        "max_parallel_requests": limits.parallel,
        "tpm_limit": limits.tpm,
        "rpm_limit": limits.rpm,
        "model_max_budget": limits::model_budgets_shown(&limits.model_max_budget),
        "budget_duration": limits.budget_duration.map(|period| period.to_string()),
    }))
}

/// LiteLLM's fields of a row that mean nothing in this gateway.
const ROW_NULLS: [&str; 15] = [
    "agent_id",
    "budget_duration",
    "budget_limits",
    "budget_reset_at",
    "jwt_key_mappings",
    "key_rotation_at",
    "last_rotation_at",
    "litellm_organization_table",
    "litellm_project_table",
    "object_permission",
    "object_permission_id",
    "organization_id",
    "project_id",
    "rotation_interval",
    "tpd_limit",
];
const ROW_LISTS: [&str; 3] = ["access_group_ids", "allowed_cache_controls", "policies"];
const ROW_OBJECTS: [&str; 6] = [
    "budget_fallbacks",
    "config",
    "model_max_budget",
    "model_spend",
    "permissions",
    "router_settings",
];

fn fill(row: &mut Map<String, Value>, names: &[&str], value: &Value) {
    for name in names {
        row.entry(*name).or_insert_with(|| value.clone());
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The row as `/key/list`, `/key/block` and `/key/unblock` show it.
pub(super) fn stored(key: &Key, spend: &Spend, now: DateTime<Utc>) -> Map<String, Value> {
    let mut row = row(key, spend, now);
    row.remove("status");
    let period = key.budget_period();
    let window = period.and_then(|period| period.window(now));
    for (name, at) in [
        ("expires", key.expires_at),
        ("last_active", spend.last_call),
        ("budget_reset_at", window.map(|window| window.end)),
        ("created_at", Some(key.created_at)),
        ("updated_at", Some(key.updated_at)),
        (
            "settings_updated_at",
            Some(key.updated_at).filter(|at| *at > key.created_at),
        ),
    ] {
        row.insert(name.to_owned(), json!(at.map(stored_time)));
    }
    row.insert("token".to_owned(), json!(key.hash.to_string()));
    row.insert("org_id".to_owned(), Value::Null);
    row
}

/// What `/key/generate` answers, but for the key itself.
pub(super) fn generated(key: &Key, spend: &Spend, now: DateTime<Utc>) -> Map<String, Value> {
    let mut row = row(key, spend, now);
    for name in NOT_GENERATED {
        row.remove(name);
    }
    fill(&mut row, &GENERATED_NULLS, &Value::Null);
    // LiteLLM: here the zone is a letter.
    if let Some(Value::Array(budgets)) = row.get_mut("budget_limits") {
        for budget in budgets {
            let at = budget["reset_at"]
                .as_str()
                .map(|at| at.replace("+00:00", "Z"));
            budget["reset_at"] = json!(at);
        }
    }
    let stored = |at: DateTime<Utc>| json!(stored_time(at));
    let exact = |at: DateTime<Utc>| json!(at.format(TIME_EXACT).to_string());
    let hash = json!(key.hash.to_string());
    for (name, value) in [
        ("token", hash.clone()),
        ("token_id", hash),
        ("expires", key.expires_at.map_or(Value::Null, exact)),
        ("created_at", stored(key.created_at)),
        ("updated_at", stored(key.updated_at)),
        ("policies", Value::Null),
    ] {
        row.insert(name.to_owned(), value);
    }
    row
}

/// LiteLLM: a new key has no history yet.
const NOT_GENERATED: [&str; 18] = [
    "auto_rotate",
    "budget_limits_usage",
    "budget_reset_at",
    "jwt_key_mappings",
    "key_rotation_at",
    "last_active",
    "last_rotation_at",
    "litellm_organization_table",
    "litellm_project_table",
    "model_max_budget_usage",
    "model_spend",
    "object_permission_id",
    "rotation_count",
    "rotation_interval",
    "settings_updated_at",
    "soft_budget_cooldown",
    "status",
    "total_spend",
];
/// LiteLLM: the request's fields are repeated; `duration` is null, though the
/// expiry is set.
const GENERATED_NULLS: [&str; 20] = [
    "allowed_passthrough_routes",
    "allowed_vector_store_indexes",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "duration",
    "enable_prompt_caching",
    "end_user_budget_id",
    "enforced_params",
    "guardrails",
    "mcp_rpm_limit",
    "model_rpm_limit",
    "model_tpm_limit",
    "prompts",
    "rpm_limit_type",
    "tag_rpm_limit",
    "tags",
    "throttle_on_budget_exceeded",
    "tpm_limit_type",
];

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

/// Marks the row of a key that was asked for by a value which it had before.
pub(super) fn mark_replaced(
    row: &mut Map<String, Value>,
    key: &Key,
    ends_at: DateTime<Utc>,
    now: DateTime<Utc>,
) {
    row.insert("replaced_by".to_owned(), json!(key.hash.to_string()));
    row.insert("value_ends_at".to_owned(), json!(time(ends_at)));
    if ends_at <= now {
        row.insert("status".to_owned(), json!("expired"));
    }
}

/// Marks the row of a key that is gone.
pub(super) fn mark_deleted(row: &mut Map<String, Value>, at: DateTime<Utc>) {
    for (name, value) in [
        ("status", json!("deleted")),
        ("deleted_at", json!(time(at))),
        ("deleted_by", json!(ADMIN)),
    ] {
        row.insert(name.to_owned(), value);
    }
}
