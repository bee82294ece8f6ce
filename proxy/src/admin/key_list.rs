//! `GET /key/list`: keys by page, newest first, filtered by what they are.

use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, view};
use crate::{
    app::AppState,
    error::ApiError,
    key::KeyHash,
    store::{Filter, Page, Sort, Status},
};

/// LiteLLM's bounds of `size`.
const SIZE_DEFAULT: i64 = 10;
const SIZE_MAX: i64 = 100;

/// Everything is text, so that a bad value earns LiteLLM's own error.
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
    sort_order: Option<String>,
}

pub(crate) async fn handle(
    State(state): State<AppState>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let page = Page {
        number: number("page", asked.page.as_deref(), 1, i64::from(u32::MAX))?,
        size: number("size", asked.size.as_deref(), SIZE_DEFAULT, SIZE_MAX)?,
    };
    let full = is_true(asked.return_full_object.as_deref()) || asked.expand.is_some();
    let now = state.clock.now();
    let Some(filter) = filter(&asked)? else {
        return Ok(shown(&[], 0, page));
    };
    let listed = state.store.list_keys(&filter, page, now).await?;
    let mut keys = Vec::with_capacity(listed.keys.len());
    for (key, deleted_at) in &listed.keys {
        let hash = json!(key.hash.to_string());
        if !full {
            keys.push(hash);
            continue;
        }
        let mut row = view::stored(key, &view::spend(&state, key).await?, now);
        if let Some(at) = deleted_at {
            view::mark_deleted(&mut row, *at);
        }
        keys.push(Value::Object(row));
    }
    Ok(shown(&keys, listed.total, page))
}

fn shown(keys: &[Value], total: i64, page: Page) -> Response {
    let size = i64::from(page.size);
    let body = json!({
        "keys": keys,
        "total_count": total,
        "current_page": page.number,
        "total_pages": (total + size - 1) / size,
    });
    answer(body, &[])
}

/// None when nothing can match.
fn filter(asked: &Asked) -> Result<Option<Filter>, ApiError> {
    let hash = match asked.key_hash.as_deref().map(KeyHash::from_key_or_hash) {
        None => None,
        Some(Some(hash)) => Some(hash),
        Some(None) => return Ok(None),
    };
    let status = match asked.status.as_deref() {
        None => None,
        Some("active") => Some(Status::Active),
        Some("expired") => Some(Status::Expired),
        Some("revoked") => Some(Status::Revoked),
        Some("deleted") => Some(Status::Deleted),
        Some(_) => {
            return Err(ApiError::bad_request(
                "status",
                "Invalid status value. Supported: 'active', 'expired', 'revoked', 'deleted'.",
            ));
        }
    };
    Ok(Some(Filter {
        status,
        hash,
        alias: asked.key_alias.clone(),
        user_id: asked.user_id.clone(),
        team_id: asked.team_id.clone(),
        sort: match asked.sort_order.as_deref() {
            Some("asc") => Sort::OldestFirst,
            _ => Sort::NewestFirst,
        },
    }))
}

fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "True" | "1"))
}

fn number(name: &str, text: Option<&str>, default: i64, most: i64) -> Result<u32, ApiError> {
    let value = text.map_or(Ok(default), str::parse).map_err(|_| {
        ApiError::validation(
            "int_parsing",
            ["query", name],
            "Input should be a valid integer",
        )
    })?;
    if value < 1 {
        let message = "Input should be greater than or equal to 1";
        return Err(ApiError::validation(
            "greater_than_equal",
            ["query", name],
            message,
        ));
    }
    match u32::try_from(value) {
        Ok(number) if value <= most => Ok(number),
        _ => {
            let message = format!("Input should be less than or equal to {most}");
            Err(ApiError::validation(
                "less_than_equal",
                ["query", name],
                &message,
            ))
        }
    }
}
