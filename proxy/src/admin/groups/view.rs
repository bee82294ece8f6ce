//! Owns how a budget, a team and a user are shown: LiteLLM's field names, as far
//! as they mean something here.

use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use crate::{
    admin::{
        limits::{model_budgets_shown, show_rates},
        view::{ADMIN, posted, read, stored_time},
    },
    app::AppState,
    error::ApiError,
    key::{AccountId, Group, GroupKind, Window},
    money::NanoUsd,
};

/// Another one after each change of the group: its `ETag`. What its keys spend
/// does not change it.
pub(super) fn tag(group: &Group) -> String {
    let (kind, at) = (group.kind.as_str(), group.updated_at.timestamp_micros());
    format!("\"{kind}-{at}\"")
}

/// An answer that tells of this group as it is now.
pub(super) fn tagged(mut response: Response, group: &Group) -> Response {
    if let Ok(tag) = HeaderValue::try_from(tag(group)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Each with what its keys have spent together in the current window.
pub(super) async fn rows(state: &AppState, groups: &[Group]) -> Result<Vec<Value>, ApiError> {
    let now = state.clock.now();
    let window = |group: &Group| group.terms.limits.budget_duration?.window(now);
    let account = |group: &Group| {
        let whole = group.kind.account(&group.id)?;
        Some(AccountId::Shared(match window(group) {
            Some(window) => whole.during(window),
            None => whole,
        }))
    };
    if state.store.is_shared() {
        // The store tells what all have spent, and this process what it has not said.
        state.ledger.flush().await;
    }
    let stored = read(state, groups.iter().filter_map(account).collect()).await?;
    let row = |group: &Group| {
        let spend = account(group).map(|account| posted(state, &stored, &account));
        Value::Object(row(group, spend.unwrap_or_default(), window(group)))
    };
    Ok(groups.iter().map(row).collect())
}

/// As [`rows`], of one.
pub(super) async fn one(state: &AppState, group: &Group) -> Result<Value, ApiError> {
    let rows = rows(state, std::slice::from_ref(group)).await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

fn row(group: &Group, spend: NanoUsd, window: Option<Window>) -> Map<String, Value> {
    let mut row = match group.kind {
        GroupKind::Budget => budget(group),
        GroupKind::Team => team(group, spend),
        GroupKind::User => user(group, spend),
    };
    let terms = &group.terms;
    let duration = terms.limits.budget_duration;
    for (name, value) in [
        ("max_budget", json!(terms.max_budget)),
        (
            "budget_duration",
            json!(duration.map(|one| one.to_string())),
        ),
        (
            "budget_reset_at",
            json!(window.map(|one| stored_time(one.end))),
        ),
        ("created_at", json!(stored_time(group.created_at))),
        ("updated_at", json!(stored_time(group.updated_at))),
    ] {
        row.insert(name.to_owned(), value);
    }
    show_rates(&mut row, &terms.limits);
    row
}

fn budget(group: &Group) -> Map<String, Value> {
    let models = &group.terms.limits.model_max_budget;
    let models = (!models.is_empty()).then(|| model_budgets_shown(models));
    fields([
        ("budget_id", json!(group.id)),
        ("soft_budget", json!(group.terms.soft_budget)),
        ("model_max_budget", json!(models)),
        ("created_by", json!(ADMIN)),
        ("updated_by", json!(ADMIN)),
    ])
}

fn team(group: &Group, spend: NanoUsd) -> Map<String, Value> {
    fields([
        ("team_id", json!(group.id)),
        ("team_alias", json!(group.alias)),
        ("models", json!(group.terms.models)),
        ("blocked", json!(group.terms.blocked)),
        ("metadata", json!(group.metadata)),
        ("members_with_roles", json!([])),
        ("spend", json!(spend)),
    ])
}

fn user(group: &Group, spend: NanoUsd) -> Map<String, Value> {
    fields([
        ("user_id", json!(group.id)),
        ("user_alias", json!(group.alias)),
        ("user_email", json!(group.email)),
        ("user_role", Value::Null),
        ("models", json!(group.terms.models)),
        ("metadata", json!(group.metadata)),
        ("teams", json!([])),
        ("spend", json!(spend)),
    ])
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let owned = |(name, value): (&str, Value)| (name.to_owned(), value);
    fields.into_iter().map(owned).collect()
}
