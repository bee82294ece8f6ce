//! `GET /key/info`: what a key is and has spent. Who may read keys asks
//! about any, an ordinary key about itself; on the data plane only that. A
//! deleted key is still told about, with the status `deleted`.

use std::collections::HashSet;

use axum::{
    Extension,
    extract::{Query, Request, State, rejection::QueryRejection},
    response::Response,
};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, read_body, values::only, view};
use crate::{
    app::AppState,
    auth::{Admitted, Caller, Peer, authenticate, authorize_data_plane},
    error::ApiError,
    key::{Key, KeyHash},
};

/// Keys that are told about at a time.
const KEYS_MAX: usize = 500;

#[derive(Deserialize)]
pub(crate) struct Asked {
    key: Option<String>,
}

/// The admin plane.
pub(crate) async fn any(
    State(state): State<AppState>,
    asked: Result<Query<Asked>, QueryRejection>,
    Extension(admitted): Extension<Admitted>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let is_ordinary = admitted.caller.is_ordinary();
    match (admitted.caller, asked.key) {
        (Caller::Key(own), key) if is_ordinary || key.is_none() => {
            about_itself(&state, &own, Asked { key }).await
        }
        (_, key) => about_any(&state, key.ok_or_else(not_found)?).await,
    }
}

async fn about_any(state: &AppState, sent: String) -> Result<Response, ApiError> {
    let hash = KeyHash::from_key_or_hash(&sent).ok_or_else(not_found)?;
    if let Some(key) = state.store.key(hash).await? {
        return show(state, &key, json!(sent)).await;
    }
    let (key, at) = state.store.deleted_key(hash).await?.ok_or_else(not_found)?;
    let spend = view::spend(state, &key).await?;
    let mut row = view::row(&key, &spend, state.clock.now());
    view::mark_deleted(&mut row, at);
    Ok(answer(json!({"key": sent, "info": row}), &[]))
}

/// `POST /v2/key/info`: many keys at once. LiteLLM: those that are not there are
/// left out.
pub(crate) async fn many(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (_, body) = read_body(&state, request).await?;
    only(&body, &["keys"])?;
    let sent = body.get("keys").cloned().unwrap_or_default();
    let wrong = || {
        ApiError::validation(
            "list_type",
            ["body", "keys"],
            "Input should be a valid list",
        )
    };
    let items = sent.as_array().ok_or_else(wrong)?;
    if items.len() > KEYS_MAX {
        let message = format!("keys: at most {KEYS_MAX} of them at a time");
        return Err(ApiError::bad_request("keys", message));
    }
    let names = items.iter().map(|item| item.as_str().ok_or_else(wrong));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    // Each is told about once, however often it was named.
    let mut told = HashSet::new();
    let hashes: Vec<KeyHash> = names
        .into_iter()
        .filter_map(KeyHash::from_key_or_hash)
        .filter(|hash| told.insert(*hash))
        .collect();
    let keys = state.store.keys_of(&hashes).await?;
    let keys: Vec<&Key> = hashes.iter().filter_map(|hash| keys.get(hash)).collect();
    let spends = view::spends(&state, &keys).await?;
    let now = state.clock.now();
    let rows = keys.iter().zip(&spends);
    let shown = |(key, spend): (&&Key, &view::Spend)| {
        let mut row = view::row(key, spend, now);
        // LiteLLM: not in this answer.
        row.remove("status");
        row
    };
    let rows: Vec<_> = rows.map(shown).collect();
    Ok(answer(json!({"key": sent, "info": rows}), &[]))
}

/// The data plane: the master key has nothing to ask here.
pub(crate) async fn own(
    State(state): State<AppState>,
    asked: Result<Query<Asked>, QueryRejection>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let caller = authenticate(&state, &headers, peer).await?;
    authorize_data_plane(&caller)?;
    let Query(asked) = asked?;
    match caller {
        Caller::Key(own) => about_itself(&state, &own, asked).await,
        Caller::Master => Err(not_found()),
    }
}

async fn about_itself(state: &AppState, own: &Key, asked: Asked) -> Result<Response, ApiError> {
    let Some(sent) = asked.key else {
        return show(state, own, json!(own.hash.to_string())).await;
    };
    if KeyHash::from_key_or_hash(&sent) != Some(own.hash) {
        return Err(ApiError::forbidden(
            "a key may only ask about itself: leave the parameter key out",
        ));
    }
    show(state, own, json!(sent)).await
}

async fn show(state: &AppState, key: &Key, named: Value) -> Result<Response, ApiError> {
    let spend = view::spend(state, key).await?;
    let now = state.clock.now();
    let mut row = view::row(key, &spend, now);
    if let Some((reason, at)) = state.refusals.last(key.hash) {
        let refusal = json!({"reason": reason.as_str(), "at": view::time(at)});
        row.insert("last_refusal".to_owned(), refusal);
    }
    if let Some(ends_at) = key.value_ends_at {
        view::mark_replaced(&mut row, key, ends_at, now);
    }
    let mut response = answer(json!({"key": named, "info": row}), &[]);
    if let Ok(tag) = HeaderValue::try_from(view::tag(key)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn not_found() -> ApiError {
    ApiError::not_found("key", "Key not found in database")
}
