//! `POST /key/{key}/reset_spend`: sets what a key has spent to less. The rows of
//! its calls stay; the correction is kept apart from them.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    answer, change, key_not_found,
    limits::spend_account,
    named_key, read_body, trail,
    values::{budget, only},
    view,
};
use crate::{
    app::AppState,
    auth::Admitted,
    error::ApiError,
    key::{Key, KeyHash},
    money::NanoUsd,
    store::{self, StoreError},
};

pub(crate) async fn handle(
    State(state): State<AppState>,
    named: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(named) = named?;
    let (admitted, mut body) = read_body(&state, request).await?;
    only(&body, &["reset_to"])?;
    let to = reset_to(&body)?;
    body.insert("key".to_owned(), Value::String(named));
    let hash = named_key(&body)?.ok_or_else(key_not_found)?;
    let changing = state.clone();
    let (key, before) = change(&state, async move {
        write(&changing, &admitted, hash, to).await
    })
    .await?;
    let period = key.budget_period();
    let window = period.and_then(|period| period.window(state.clock.now()));
    let shown = json!({
        "key_hash": key.hash.to_string(),
        "spend": to,
        "previous_spend": before,
        "max_budget": key.max_budget,
        "budget_reset_at": window.map(|window| view::time(window.end)),
    });
    Ok(answer(shown, &[]))
}

fn reset_to(body: &Map<String, Value>) -> Result<NanoUsd, ApiError> {
    const FIELD: &str = "reset_to";
    let wrong = |message| ApiError::validation("value_error", ["body", FIELD], message);
    match body.get(FIELD) {
        None => Err(ApiError::validation(
            "missing",
            ["body", FIELD],
            "Field required",
        )),
        Some(Value::Bool(_)) => Err(wrong(
            "Value error, reset_to must be a number, not a boolean",
        )),
        Some(value) => {
            budget(FIELD, value)?.ok_or_else(|| wrong("Value error, reset_to must be a number"))
        }
    }
}

async fn write(
    state: &AppState,
    admitted: &Admitted,
    hash: KeyHash,
    to: NanoUsd,
) -> Result<(Key, NanoUsd), ApiError> {
    // What has been answered counts as spent, also while its posting waits.
    state.ledger.flush().await;
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let key = store::keys::find(&mut write, hash)
        .await?
        .ok_or_else(key_not_found)?;
    let now = state.clock.now();
    let own = spend_account(&key, now);
    let by = store::ledger::correct::set_posted(&mut write, &own, to).await?;
    if by > 0 {
        return Err(ApiError::bad_request(
            "reset_to",
            "reset_to must be at most what the key has spent, as GET /key/info shows it",
        ));
    }
    let before = NanoUsd::from_nanos(to.nanos().saturating_sub(by));
    trail::spend(&mut write, &caller, &key, (before, to), now).await?;
    let changed = state.ledger.refresh_on_drop(vec![own.clone()]);
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a key's spend"))?;
    state.ledger.corrected(&own, by);
    changed.done().await;
    tracing::info!(
        caller = %caller, key.hash = %hash, spend_nanousd = to.nanos(),
        previous_nanousd = before.nanos(), "spend of a key reset"
    );
    Ok((key, before))
}
