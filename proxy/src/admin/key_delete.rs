//! `POST /key/delete`: ends keys, named by themselves, their hashes, or their
//! aliases. The account and the usage rows stay: spend is never lost. From the
//! answer on, a deleted key is refused.

use axum::{
    extract::{Request, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::AnyConnection;

use super::{answer, change, read_body, trail, values::only};
use crate::{
    app::AppState,
    auth::{Admitted, Caller},
    error::ApiError,
    failpoint,
    key::{AccountId, KeyHash},
    store::{self, StoreError},
};

/// One transaction must not hold the writer for long.
pub(super) const KEYS_MAX: usize = 1_000;

pub(crate) async fn handle(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    only(&body, &["keys", "key_aliases"])?;
    let (keys, aliases) = (names(&body, "keys")?, names(&body, "key_aliases")?);
    if keys.is_empty() && aliases.is_empty() {
        return Err(ApiError::validation(
            "value_error",
            ["body", ""],
            "Value error, At least one of 'keys' or 'key_aliases' must be provided.",
        ));
    }
    if keys.len() + aliases.len() > KEYS_MAX {
        return Err(ApiError::bad_request(
            "keys",
            format!("at most {KEYS_MAX} keys at a time"),
        ));
    }
    // LiteLLM: the answer repeats the whole list, also what was not there.
    let echoed: Vec<String> = keys.iter().chain(&aliases).cloned().collect();
    let hashes = keys.iter().filter_map(|key| KeyHash::from_key_or_hash(key));
    let hashes = hashes.collect();
    let changing = state.clone();
    let work = async move { delete(&changing, &admitted, hashes, &aliases, None).await };
    if change(&state, work).await? == 0 {
        return Err(ApiError::not_found("keys", "No keys found"));
    }
    Ok(answer(json!({ "deleted_keys": echoed }), &[]))
}

fn names(body: &Map<String, Value>, field: &str) -> Result<Vec<String>, ApiError> {
    let wrong =
        || ApiError::validation("list_type", ["body", field], "Input should be a valid list");
    match body.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// Answers how many there were. `expired_before` spares those whose expiry was
/// changed since they were found.
pub(super) async fn delete(
    state: &AppState,
    admitted: &Admitted,
    mut hashes: Vec<KeyHash>,
    aliases: &[String],
    expired_before: Option<DateTime<Utc>>,
) -> Result<usize, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    for alias in aliases {
        hashes.extend(store::keys::find_alias(&mut write, alias).await?);
    }
    // Also what is not found: an earlier deletion may have failed half-way.
    let changed = state.keys.invalidate_on_drop(hashes.iter().copied());
    let (mut deleted, mut accounts) = (Vec::new(), Vec::new());
    for hash in hashes {
        let ended = end(&mut write, &caller, hash, expired_before, state.clock.now());
        if let Some(account) = ended.await? {
            deleted.push(hash);
            accounts.extend(account);
        }
    }
    if deleted.is_empty() {
        return Ok(0);
    }
    let accounts = state.ledger.refresh_on_drop(accounts);
    failpoint::pass("key_delete.before_commit").await;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a deletion"))?;
    failpoint::pass("key_delete.after_commit").await;
    drop(changed);
    accounts.done().await;
    for hash in &deleted {
        tracing::info!(caller = %caller, key.hash = %hash, "key deleted");
    }
    Ok(deleted.len())
}

/// Deletes a key and answers its account. An earlier value of a key that was
/// regenerated ends without its key, and has no account. None for neither.
pub(super) async fn end(
    write: &mut AnyConnection,
    caller: &Caller,
    hash: KeyHash,
    expired_before: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<Option<AccountId>>, ApiError> {
    let found = store::keys::find(write, hash).await?;
    if let Some(before) = expired_before
        && !found.as_ref().is_some_and(|key| key.is_expired(before))
    {
        return Ok(None);
    }
    let Some(key) = found else {
        let ended = store::keys::earlier::end(write, hash, now).await?;
        if ended {
            trail::value_ended(write, caller, hash, now).await?;
        }
        return Ok(ended.then_some(None));
    };
    store::keys::delete(write, hash, now).await?;
    trail::key(write, caller, "key.delete", (Some(&key), None), now).await?;
    Ok(Some(Some(key.own_account())))
}
