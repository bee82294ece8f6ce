//! `POST /key/regenerate` and `POST /key/{key}/regenerate`: gives a key another
//! value. Alias, rules, spend and accounts stay; fields that are sent change as
//! in an update. With a `grace_period` the old value works that long still, and
//! the values before it no longer than that; else they end at once.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::AnyConnection;

use super::{
    answer, change,
    duration::Span,
    fields::Fields,
    key_generate::{chosen, is_taken, shown},
    key_not_found,
    key_write::{define, rename, set_rules},
    named_key, read_body, shared_budgets, trail, view,
};
use crate::{
    app::AppState,
    auth::Admitted,
    error::ApiError,
    failpoint,
    key::{Key, KeyHash, Token},
    store::{self, StoreError},
};

/// What is asked for besides the fields of an update.
struct Asked {
    named: KeyHash,
    token: Token,
    grace: Option<Span>,
    fields: Fields,
}

pub(crate) async fn named_in_body(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    regenerate(&state, admitted, body).await
}

pub(crate) async fn named_in_path(
    State(state): State<AppState>,
    named: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(named) = named?;
    let (admitted, mut body) = read_body(&state, request).await?;
    body.insert("key".to_owned(), Value::String(named));
    regenerate(&state, admitted, body).await
}

async fn regenerate(
    state: &AppState,
    admitted: Admitted,
    mut body: Map<String, Value>,
) -> Result<Response, ApiError> {
    let new_key = body.remove("new_key");
    let grace = grace(body.remove("grace_period").as_ref())?;
    let asked = Asked {
        named: named_key(&body)?
            .ok_or_else(|| ApiError::validation("missing", ["body", "key"], "Field required"))?,
        token: chosen("new_key", new_key.as_ref())?,
        grace,
        fields: Fields::parse(&body)?,
    };
    let (token, ignored) = (asked.token.clone(), asked.fields.ignored.clone());
    let changing = state.clone();
    let key = change(
        state,
        async move { write(&changing, &admitted, &asked).await },
    )
    .await?;
    let spend = view::spend(state, &key).await?;
    let body = shown(&token, &key, &spend, state.clock.now());
    Ok(answer(body, &ignored))
}

fn grace(value: Option<&Value>) -> Result<Option<Span>, ApiError> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str(),
    };
    let span = text.and_then(Span::parse);
    span.map(Some).ok_or_else(bad_grace)
}

fn bad_grace() -> ApiError {
    ApiError::bad_request(
        "grace_period",
        "grace_period must be a whole number and a unit (s, m, h, d, w or mo), as in 24h, ending before the year 10000",
    )
}

async fn write(state: &AppState, admitted: &Admitted, asked: &Asked) -> Result<Key, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let (old, new) = (asked.named, asked.token.hash());
    let changed = state.keys.invalidate_on_drop([old, new]);
    let mut key = find(state, &mut write, old, new).await?;
    let (now, before) = (state.clock.now(), key.clone());
    let ends_at = ends_at(asked.grace, now)?;
    rename(&mut write, &mut key, asked.fields.alias.as_ref()).await?;
    set_rules(&mut write, &caller, &mut key, &asked.fields, now).await?;
    key.take_value(new, asked.token.masked());
    // Its new value has no seal but its own.
    key.seal = None;
    state.config.seals.seal(&mut key);
    store::keys::earlier::replace(&mut write, &before, &key, ends_at).await?;
    let change = (Some(&before), Some(&key));
    trail::key(&mut write, &caller, "key.regenerate", change, now).await?;
    let limits = define(state, &mut write, &caller, &key, &asked.fields).await?;
    failpoint::pass("key_regenerate.before_commit").await;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a regenerated key"))?;
    failpoint::pass("key_regenerate.after_commit").await;
    drop(changed);
    limits.done().await;
    shared_budgets::log(&caller, &key, asked.fields.shared_budgets());
    tracing::info!(
        caller = %caller, key.hash = %new, key.alias = key.alias, replaced.hash = %old,
        replaced.ends_at = %ends_at, "key regenerated"
    );
    Ok(key)
}

/// The key of the value `old`, if nobody has or had `new`.
async fn find(
    state: &AppState,
    write: &mut AnyConnection,
    old: KeyHash,
    new: KeyHash,
) -> Result<Key, ApiError> {
    let key = store::keys::find(write, old).await?;
    let key = key.ok_or_else(key_not_found)?;
    if is_taken(state, write, new).await? {
        return Err(ApiError::bad_request(
            "new_key",
            "this key exists already: choose another, or leave new_key out",
        ));
    }
    Ok(key)
}

fn ends_at(grace: Option<Span>, now: DateTime<Utc>) -> Result<DateTime<Utc>, ApiError> {
    match grace {
        Some(span) => span.after(now).ok_or_else(bad_grace),
        None => Ok(now),
    }
}
