//! `POST /budget/new` and `POST /team/new`: make a group, of a chosen id or of
//! one that is made up. Keys that name the id already belong to it from then on.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use sqlx::AnyConnection;

use super::{
    change::{self, Applied},
    fields::GroupFields,
    id_field, view,
};
use crate::{
    admin::{answer, change as run, read_body},
    app::AppState,
    auth::{Admitted, Caller},
    error::ApiError,
    key::{Group, GroupKind},
    store::{self, StoreError},
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

async fn handle(state: &AppState, request: Request, kind: GroupKind) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(state, request).await?;
    let fields = GroupFields::parse(kind, &body)?;
    let group = fields.group(kind, state.clock.now());
    let (changing, stored) = (state.clone(), group.clone());
    run(
        state,
        async move { write(&changing, &admitted, &stored).await },
    )
    .await?;
    let row = view::one(state, &group).await?;
    Ok(answer(row, &fields.ignored))
}

async fn write(state: &AppState, admitted: &Admitted, group: &Group) -> Result<(), ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let applied = add(state, &mut write, &caller, group).await?;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a new group"))?;
    applied.done().await;
    change::log(&caller, "new", group);
    Ok(())
}

/// Within a transaction.
pub(super) async fn add(
    state: &AppState,
    write: &mut AnyConnection,
    caller: &Caller,
    group: &Group,
) -> Result<Applied, ApiError> {
    if store::groups::find(write, group.kind, &group.id)
        .await?
        .is_some()
    {
        return Err(taken(group.kind));
    }
    let action = match group.kind {
        GroupKind::Budget => "budget.new",
        GroupKind::Team => "team.new",
        GroupKind::User => "user.new",
    };
    change::apply(state, write, caller, action, (None, group)).await
}

/// LiteLLM: 409 for a user.
fn taken(kind: GroupKind) -> ApiError {
    let (name, field) = (kind.as_str(), id_field(kind));
    let message =
        format!("a {name} of this {field} exists already: choose another, or use /{name}/update");
    match kind {
        GroupKind::User => {
            ApiError::new(StatusCode::CONFLICT, "invalid_request_error", message).with_param(field)
        }
        GroupKind::Budget | GroupKind::Team => ApiError::bad_request(field, message),
    }
}
