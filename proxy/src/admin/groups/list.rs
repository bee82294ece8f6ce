//! `GET /budget/list`, `/team/list` and `/user/list`: groups with what their keys
//! have spent together, the newest first, by page.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde_json::{Value, json};

use super::view;
use crate::{
    admin::{answer, asked::Asked, paging::pages},
    app::AppState,
    error::ApiError,
    key::GroupKind,
    store::Page,
};

/// LiteLLM: `page` and `page_size` where users are listed; the other lists know
/// no pages there, and have them here.
pub(crate) async fn user(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (users, total, page) = listed(&state, GroupKind::User, query.as_deref()).await?;
    let shown = json!({
        "users": users,
        "total": total,
        "page": page.number,
        "page_size": page.size,
        "total_pages": pages(total, page),
    });
    Ok(answer(shown, &[]))
}

pub(crate) async fn team(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (teams, ..) = listed(&state, GroupKind::Team, query.as_deref()).await?;
    Ok(answer(json!(teams), &[]))
}

pub(crate) async fn budget(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (budgets, ..) = listed(&state, GroupKind::Budget, query.as_deref()).await?;
    Ok(answer(json!(budgets), &[]))
}

async fn listed(
    state: &AppState,
    kind: GroupKind,
    query: Option<&str>,
) -> Result<(Vec<Value>, i64, Page), ApiError> {
    let page = Asked::parse(query, &[])?.page()?;
    let listed = state.store.list_groups(kind, page).await?;
    let rows = view::rows(state, &listed.groups).await?;
    Ok((rows, listed.total, page))
}
