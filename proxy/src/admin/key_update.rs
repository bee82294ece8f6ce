//! `POST /key/update`: changes the rules of a key that is named by itself, by
//! its hash, or by its alias. `duration` counts from now. What is left out
//! stays.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::HeaderValue;
use serde_json::{Map, Value, json};
use sqlx::AnyConnection;

use super::{
    answer, change,
    fields::Fields,
    is_expected, key_not_found,
    key_write::{define, rename, set_rules},
    named_key, read_body, shared_budgets, trail, view,
};
use crate::{
    app::AppState,
    auth::Admitted,
    error::ApiError,
    failpoint,
    key::{Key, KeyHash},
    store::{self, StoreError},
};

pub(crate) async fn handle(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let expected = request.headers().get(http::header::IF_MATCH).cloned();
    let (admitted, body) = read_body(&state, request).await?;
    let fields = Fields::parse(&body)?;
    let ignored = fields.ignored.clone();
    let named = named_key(&body)?;
    if named.is_none() && fields.alias.as_ref().is_none_or(Option::is_none) {
        return Err(ApiError::validation(
            "value_error",
            ["body", ""],
            "Value error, either key or key_alias must be provided",
        ));
    }
    let changing = state.clone();
    let key = change(&state, async move {
        write(&changing, &admitted, named, &fields, expected.as_ref()).await
    })
    .await?;
    let spend = view::spend(&state, &key).await?;
    let mut row = view::row(&key, &spend, state.clock.now());
    row.remove("status");
    let hash = key.hash.to_string();
    row.insert(
        "key".to_owned(),
        as_sent(&body).unwrap_or_else(|| json!(hash)),
    );
    row.insert("token".to_owned(), json!(hash));
    Ok(answer(Value::Object(row), &ignored))
}

/// LiteLLM: the answer repeats how the key was named.
fn as_sent(body: &Map<String, Value>) -> Option<Value> {
    body.get("key").filter(|sent| sent.is_string()).cloned()
}

/// `expected` is the key's tag as its caller knows it; none takes any.
pub(super) async fn write(
    state: &AppState,
    admitted: &Admitted,
    named: Option<KeyHash>,
    fields: &Fields,
    expected: Option<&HeaderValue>,
) -> Result<Key, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    // Also when it is not found: an earlier change may have failed half-way.
    let mut changed = state.keys.invalidate_on_drop(named);
    let mut key = find(&mut write, named, fields).await?;
    changed.add(key.hash);
    if !is_expected(expected, &view::tag(&key)) {
        return Err(ApiError::changed_meanwhile("key", "GET /key/info"));
    }
    let before = key.clone();
    // An alias that named the key is no new alias.
    let alias = fields.alias.as_ref().filter(|_| named.is_some());
    rename(&mut write, &mut key, alias).await?;
    let now = state.clock.now();
    set_rules(&mut write, &caller, &mut key, fields, now).await?;
    state.config.seals.seal(&mut key);
    store::keys::put(&mut write, &key).await?;
    let change = (Some(&before), Some(&key));
    trail::key(&mut write, &caller, "key.update", change, key.updated_at).await?;
    let limits = define(state, &mut write, &caller, &key, fields).await?;
    failpoint::pass("key_update.before_commit").await;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a changed key"))?;
    failpoint::pass("key_update.after_commit").await;
    drop(changed);
    limits.done().await;
    shared_budgets::log(&caller, &key, fields.shared_budgets());
    tracing::info!(caller = %caller, key.hash = %key.hash, key.alias = key.alias, "key updated");
    Ok(key)
}

async fn find(
    write: &mut AnyConnection,
    named: Option<KeyHash>,
    fields: &Fields,
) -> Result<Key, ApiError> {
    if let Some(hash) = named {
        return store::keys::find(write, hash)
            .await?
            .ok_or_else(key_not_found);
    }
    let alias = fields.alias.clone().flatten().unwrap_or_default();
    let unknown = || {
        ApiError::not_found(
            "key_alias",
            format!("Key not found. No key with key_alias='{alias}'."),
        )
    };
    let hash = store::keys::find_alias(write, &alias)
        .await?
        .ok_or_else(unknown)?;
    store::keys::find(write, hash).await?.ok_or_else(unknown)
}
