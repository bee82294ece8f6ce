//! `POST /team/block` and `POST /team/unblock`: take all keys of a team out of
//! service and back. Both may be repeated.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{change, id_field, update::missing, view};
use crate::{
    admin::{
        answer, change as run, read_body,
        values::{only, text},
    },
    app::AppState,
    error::ApiError,
    key::{Group, GroupKind},
};

const KIND: GroupKind = GroupKind::Team;

pub(crate) async fn block(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, "team.block", |team| {
        team.terms.blocked = true
    })
    .await
}

pub(crate) async fn unblock(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, "team.unblock", |team| {
        team.terms.blocked = false
    })
    .await
}

async fn handle(
    state: &AppState,
    request: Request,
    action: &'static str,
    edit: fn(&mut Group),
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(state, request).await?;
    let field = id_field(KIND);
    only(&body, &[field])?;
    let id = body.get(field).map_or(Ok(None), |id| text(field, id))?;
    let id = id.ok_or_else(|| missing(field))?;
    let changing = state.clone();
    let team = run(state, async move {
        change::edit(&changing, &admitted, (KIND, &id), None, action, edit).await
    })
    .await?;
    Ok(answer(view::one(state, &team).await?, &[]))
}
