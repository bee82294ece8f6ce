//! `POST /budget/update`, `/team/update` and `/user/update`: change a group. What
//! is left out stays. Its keys are bound by the change from the answer on. With
//! `If-Match`, only as it was when it was read.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Value, json};

use super::{change, fields::GroupFields, id_field, view};
use crate::{
    admin::{answer, change as run, read_body},
    app::AppState,
    error::ApiError,
    key::GroupKind,
};

pub(crate) async fn budget(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, GroupKind::Budget).await
}

pub(crate) async fn team(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, GroupKind::Team).await
}

pub(crate) async fn user(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, GroupKind::User).await
}

async fn handle(state: &AppState, request: Request, kind: GroupKind) -> Result<Response, ApiError> {
    let expected = request.headers().get(http::header::IF_MATCH).cloned();
    let (admitted, body) = read_body(state, request).await?;
    let fields = GroupFields::parse(kind, &body)?;
    let ignored = fields.ignored.clone();
    let id = fields.id.clone().ok_or_else(|| missing(id_field(kind)))?;
    let action = match kind {
        GroupKind::Budget => "budget.update",
        GroupKind::Team => "team.update",
        GroupKind::User => "user.update",
    };
    let changing = state.clone();
    let group = run(state, async move {
        let apply = |group: &mut _| fields.apply(group);
        let (named, expected) = ((kind, id.as_str()), expected.as_ref());
        change::edit(&changing, &admitted, named, expected, action, apply).await
    })
    .await?;
    let row = view::one(state, &group).await?;
    Ok(answer(shown(&group.id, kind, row), &ignored))
}

pub(super) fn missing(field: &str) -> ApiError {
    ApiError::validation("missing", ["body", field], "Field required")
}

/// LiteLLM: the row of a team or a user comes with its name.
fn shown(id: &str, kind: GroupKind, row: Value) -> Value {
    match kind {
        GroupKind::Budget => row,
        GroupKind::Team | GroupKind::User => json!({id_field(kind): id, "data": row}),
    }
}
