//! `GET /key/aliases`: the aliases of live keys by page, in their order.

use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    answer,
    paging::{self, pages},
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
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let page = paging::page(asked.page.as_deref(), asked.size.as_deref(), 50)?;
    let (aliases, total) = state
        .store
        .list_aliases(asked.search.as_deref(), asked.team_id.as_deref(), page)
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
