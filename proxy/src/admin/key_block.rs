//! `POST /key/block` and `POST /key/unblock`: take a key out of service and
//! back, without ending it. Both may be repeated.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::Value;

use super::{answer, change, key_not_found, named_key, read_body, trail, values::only, view};
use crate::{
    app::AppState,
    auth::Admitted,
    error::ApiError,
    key::{Key, KeyHash},
    store::{self, StoreError},
};

pub(crate) async fn block(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, Turn::Off).await
}

pub(crate) async fn unblock(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    handle(&state, request, Turn::On).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    On,
    Off,
}

async fn handle(state: &AppState, request: Request, turn: Turn) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(state, request).await?;
    only(&body, &["key"])?;
    let hash = named_key(&body)?
        .ok_or_else(|| ApiError::validation("missing", ["body", "key"], "Field required"))?;
    let changing = state.clone();
    let key = change(state, async move {
        write(&changing, &admitted, hash, turn).await
    })
    .await?;
    let spend = view::spend(state, &key).await?;
    let row = view::stored(&key, &spend, state.clock.now());
    Ok(answer(Value::Object(row), &[]))
}

async fn write(
    state: &AppState,
    admitted: &Admitted,
    hash: KeyHash,
    turn: Turn,
) -> Result<Key, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    // Also when it is not found: an earlier change may have failed half-way.
    let changed = state.keys.invalidate_on_drop([hash]);
    let mut key = store::keys::find(&mut write, hash)
        .await?
        .ok_or_else(key_not_found)?;
    if turn == Turn::On {
        caller.must_have(key.scopes)?;
        caller.must_bind(&key)?;
    }
    let before = key.clone();
    key.blocked = turn == Turn::Off;
    key.touch(state.clock.now());
    state.config.seals.seal(&mut key);
    store::keys::put(&mut write, &key).await?;
    let action = match turn {
        Turn::Off => "key.block",
        Turn::On => "key.unblock",
    };
    let change = (Some(&before), Some(&key));
    trail::key(&mut write, &caller, action, change, key.updated_at).await?;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a blocked key"))?;
    drop(changed);
    tracing::info!(caller = %caller, key.hash = %hash, key.blocked = key.blocked, "key blocked or unblocked");
    Ok(key)
}
