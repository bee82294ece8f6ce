//! `POST /budget/delete`, `/team/delete` and `/user/delete`. LiteLLM: the keys of
//! a team or a user are deleted with it. A budget that keys name stays, because
//! they would be without its limits. Spend and usage rows stay.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};
use sqlx::AnyConnection;

use super::{KEYS_MAX, change, not_found, update::missing, view};
use crate::{
    admin::{
        answer, change as run, key_delete, read_body, trail,
        values::{list, only, text},
    },
    app::AppState,
    auth::{Admitted, Caller},
    error::ApiError,
    key::{Group, GroupKind, KeyHash},
    store::{self, StoreError},
};

pub(crate) async fn budget(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    const FIELD: &str = "id";
    let (admitted, body) = read_body(&state, request).await?;
    only(&body, &[FIELD])?;
    let id = body.get(FIELD).map_or(Ok(None), |id| text(FIELD, id))?;
    let ids = vec![id.ok_or_else(|| missing(FIELD))?];
    let deleted = delete(&state, admitted, GroupKind::Budget, ids).await?;
    let row = view::rows(&state, &deleted).await?;
    Ok(answer(row.into_iter().next().unwrap_or_default(), &[]))
}

pub(crate) async fn team(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    let ids = named(&body, "team_ids")?;
    let deleted = delete(&state, admitted, GroupKind::Team, ids).await?;
    let ids: Vec<&str> = deleted.iter().map(|team| team.id.as_str()).collect();
    Ok(answer(json!({ "deleted_teams": ids }), &[]))
}

/// LiteLLM: the answer is how many there were.
pub(crate) async fn user(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    let ids = named(&body, "user_ids")?;
    let deleted = delete(&state, admitted, GroupKind::User, ids).await?;
    Ok(answer(json!(deleted.len()), &[]))
}

/// Each once.
fn named(body: &Map<String, Value>, field: &'static str) -> Result<Vec<String>, ApiError> {
    only(body, &[field])?;
    let mut ids = list(field, body.get(field).unwrap_or(&Value::Null))?;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > KEYS_MAX {
        let message = format!("{field}: 1 to {KEYS_MAX} of them at a time");
        return Err(ApiError::bad_request(field, message));
    }
    Ok(ids)
}

async fn delete(
    state: &AppState,
    admitted: Admitted,
    kind: GroupKind,
    ids: Vec<String>,
) -> Result<Vec<Group>, ApiError> {
    let changing = state.clone();
    run(state, async move {
        write(&changing, &admitted, kind, &ids).await
    })
    .await
}

/// All of them, or none.
async fn write(
    state: &AppState,
    admitted: &Admitted,
    kind: GroupKind,
    ids: &[String],
) -> Result<Vec<Group>, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let mut deleted = Vec::with_capacity(ids.len());
    let mut keys = Vec::new();
    for id in ids {
        let (group, its_keys) = end(state, &mut write, &caller, (kind, id)).await?;
        deleted.push(group);
        keys.extend(its_keys);
        if keys.len() > KEYS_MAX {
            return Err(too_many(kind));
        }
    }
    let changed = state.keys.invalidate_on_drop(keys.iter().copied());
    let mut accounts = Vec::new();
    for hash in keys {
        let ended = key_delete::end(&mut write, &caller, hash, None, state.clock.now());
        accounts.extend(ended.await?.flatten());
    }
    let accounts = state.ledger.refresh_on_drop(accounts);
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a group's end"))?;
    drop(changed);
    accounts.done().await;
    for group in &deleted {
        change::log(&caller, "delete", group);
    }
    Ok(deleted)
}

/// Deletes the group and answers the keys that end with it.
async fn end(
    state: &AppState,
    write: &mut AnyConnection,
    caller: &Caller,
    (kind, id): (GroupKind, &str),
) -> Result<(Group, Vec<KeyHash>), ApiError> {
    let group = store::groups::find(write, kind, id).await?;
    let group = group.ok_or_else(|| not_found(kind))?;
    let keys = store::groups::keys_of(write, kind, id, KEYS_MAX + 1).await?;
    let action = match kind {
        GroupKind::Budget if !keys.is_empty() => return Err(still_named()),
        GroupKind::Budget => "budget.delete",
        GroupKind::Team => "team.delete",
        GroupKind::User => "user.delete",
    };
    store::groups::delete(write, kind, id).await?;
    let now = state.clock.now();
    trail::group(write, caller, action, (Some(&group), None), now).await?;
    Ok((group, keys))
}

fn still_named() -> ApiError {
    ApiError::bad_request(
        "id",
        "keys name this budget and would be without its limits: give them others with POST /key/update, or delete them",
    )
}

fn too_many(kind: GroupKind) -> ApiError {
    let kind = kind.as_str();
    let message = format!(
        "more than {KEYS_MAX} keys would end with them: delete keys with POST /key/delete first, or block the {kind}"
    );
    ApiError::bad_request(kind, message)
}
