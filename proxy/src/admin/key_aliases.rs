//! `GET /key/aliases`: the aliases of live keys by page, in their order.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    answer,
    paging::{self, pages, part},
};
use crate::{app::AppState, error::ApiError};

#[derive(Deserialize)]
pub(crate) struct Asked {
    page: Option<String>,
    size: Option<String>,
    search: Option<String>,
    team_id: Option<String>,
}

pub(crate) async fn handle(
    State(state): State<AppState>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let page = paging::page(asked.page.as_deref(), asked.size.as_deref(), 50)?;
    let search = part("search", asked.search.as_deref())?;
    let (aliases, total) = state
        .store
        .list_aliases(search, asked.team_id.as_deref(), page)
        .await?;
    let body = json!({
        "aliases": aliases,
        "total_count": total,
        "current_page": page.number,
        "total_pages": pages(total, page),
        "size": page.size,
    });
    Ok(answer(body, &[]))
}
