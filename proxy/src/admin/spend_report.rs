//! `GET /global/spend/report`: what calls have cost, by day, key, role, entity,
//! team, user or model.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    answer,
    asked::{Asked, SPAN},
};
use crate::{
    app::AppState,
    error::ApiError,
    store::spend::{Group, Groups},
};

pub(crate) async fn handle(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(query.as_deref(), &["group_by", SPAN[0], SPAN[1]])?;
    let (page, span) = (asked.page()?, asked.span()?);
    let group = group(asked.text("group_by"))?;
    let span = (span.from_us, span.until_us);
    let groups = state.store.spend_report(group, span, page).await?;
    let rows = groups.iter().map(|one| shown(group, one)).collect();
    Ok(answer(Value::Array(rows), &[]))
}

fn group(named: Option<&str>) -> Result<Group, ApiError> {
    let named = named.unwrap_or(Group::Day.as_str());
    let group = Group::ALL.into_iter().find(|one| one.as_str() == named);
    group.ok_or_else(|| {
        let known = Group::ALL.map(Group::as_str).join(", ");
        ApiError::bad_request("group_by", format!("group_by must be one of {known}"))
    })
}

fn shown(group: Group, one: &Groups) -> Value {
    let name = match group {
        Group::Day => one.name.as_deref().and_then(day),
        _ => one.name.clone(),
    };
    json!({
        group.as_str(): name,
        "calls": one.calls,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "total_tokens": one.prompt_tokens.saturating_add(one.completion_tokens),
        "spend": one.cost,
    })
}

/// From its number since 1970.
fn day(number: &str) -> Option<String> {
    let seconds = number.parse::<i64>().ok()?.checked_mul(86_400)?;
    let at = DateTime::<Utc>::from_timestamp(seconds, 0)?;
    Some(at.format("%Y-%m-%d").to_string())
}
