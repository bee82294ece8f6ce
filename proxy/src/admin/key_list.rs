//! `GET /key/list`: keys by page, newest first unless asked otherwise, filtered
//! by what they are.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer,
    paging::{self, pages, part},
    view,
};
use crate::{
    app::AppState,
    error::ApiError,
    key::{Key, KeyHash},
    store::{Filter, Listed, Match, Page, SortBy, Status, like},
};

/// LiteLLM: keys a page.
const SIZE_DEFAULT: i64 = 10;

/// Everything is text, so that a bad value earns LiteLLM's own error. LiteLLM's
/// `include_…` widen what an ordinary user sees; who may list sees all keys.
#[derive(Deserialize)]
pub(crate) struct Asked {
    page: Option<String>,
    size: Option<String>,
    key_hash: Option<String>,
    key_alias: Option<String>,
    user_id: Option<String>,
    team_id: Option<String>,
    status: Option<String>,
    return_full_object: Option<String>,
    expand: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    search: Option<String>,
    substring_matching: Option<String>,
    organization_id: Option<String>,
}

pub(crate) async fn handle(
    State(state): State<AppState>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let page = paging::page(asked.page.as_deref(), asked.size.as_deref(), SIZE_DEFAULT)?;
    let full = is_true(asked.return_full_object.as_deref()) || asked.expand.is_some();
    let now = state.clock.now();
    let Some(filter) = filter(&asked)? else {
        return Ok(shown(&[], 0, page));
    };
    if filter.sort_by == SortBy::Spend {
        // What has been answered counts as spent, also while its posting waits.
        state.ledger.flush().await;
    }
    let listed = state.store.list_keys(&filter, page, now).await?;
    let keys: Vec<Value> = if full {
        full_objects(&state, &listed, now).await?
    } else {
        let hash = |(key, _): &(Key, _)| json!(key.hash.to_string());
        listed.keys.iter().map(hash).collect()
    };
    Ok(shown(&keys, listed.total, page))
}

async fn full_objects(
    state: &AppState,
    listed: &Listed,
    now: DateTime<Utc>,
) -> Result<Vec<Value>, ApiError> {
    let keys: Vec<&Key> = listed.keys.iter().map(|(key, _)| key).collect();
    let spends = view::spends(state, &keys).await?;
    let shown = |((key, deleted_at), spend): (&(Key, Option<DateTime<Utc>>), &view::Spend)| {
        let mut row = view::stored(key, spend, now);
        if let Some(at) = deleted_at {
            view::mark_deleted(&mut row, *at);
        }
        Value::Object(row)
    };
    Ok(listed.keys.iter().zip(&spends).map(shown).collect())
}

fn shown(keys: &[Value], total: i64, page: Page) -> Response {
    let body = json!({
        "keys": keys,
        "total_count": total,
        "current_page": page.number,
        "total_pages": pages(total, page),
    });
    answer(body, &[])
}

/// None when nothing can match.
fn filter(asked: &Asked) -> Result<Option<Filter>, ApiError> {
    // No key here belongs to an organization.
    if asked.organization_id.is_some() {
        return Ok(None);
    }
    let hash = match asked.key_hash.as_deref().map(KeyHash::from_key_or_hash) {
        None => None,
        Some(Some(hash)) => Some(hash),
        Some(None) => return Ok(None),
    };
    let status = match asked.status.as_deref() {
        None => None,
        Some("active") => Some(Status::Active),
        Some("expired") => Some(Status::Expired),
        Some("revoked" | "blocked") => Some(Status::Revoked),
        Some("deleted") => Some(Status::Deleted),
        Some(_) => {
            return Err(ApiError::bad_request(
                "status",
                "Invalid status value. Supported: 'active', 'expired', 'revoked', 'deleted'.",
            ));
        }
    };
    let is_part = is_true(asked.substring_matching.as_deref());
    let text = |name, text: &Option<String>| match is_part {
        true => part(name, text.as_deref()).map(|text| text.map(Match::part)),
        false => Ok(text.clone().map(Match::Whole)),
    };
    Ok(Some(Filter {
        status,
        hash,
        alias: text("key_alias", &asked.key_alias)?,
        user_id: text("user_id", &asked.user_id)?,
        team_id: asked.team_id.clone(),
        search: part("search", asked.search.as_deref())?.map(like),
        sort_by: sort_by(asked.sort_by.as_deref())?,
        is_ascending: is_ascending(asked.sort_order.as_deref())?,
    }))
}

fn sort_by(text: Option<&str>) -> Result<SortBy, ApiError> {
    text.map_or(Ok(SortBy::CreatedAt), |text| {
        SortBy::parse(text).ok_or_else(|| {
            let known = SortBy::ALL.map(SortBy::as_str).join(", ");
            ApiError::bad_request(
                "sort_by",
                format!("Invalid sort column. Must be one of: {known}"),
            )
        })
    })
}

/// LiteLLM: newest first where nothing is said.
fn is_ascending(text: Option<&str>) -> Result<bool, ApiError> {
    match text {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("desc") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("asc") => Ok(true),
        Some(_) => Err(ApiError::bad_request(
            "sort_order",
            "Invalid sort order. Must be 'asc' or 'desc'",
        )),
    }
}

fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "True" | "1"))
}
