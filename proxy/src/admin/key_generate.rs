//! `POST /key/generate`: makes a key and shows it once. The key and its
//! account begin in one transaction.

use axum::{
    extract::{Request, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};
use sqlx::AnyConnection;

use super::{
    answer, change,
    fields::{Fields, bad_duration},
    key_write::{define, take_budget},
    limits, read_body, shared_budgets, trail,
    view::{self, Spend},
};
use crate::{
    app::AppState,
    auth::{Admitted, Caller},
    error::ApiError,
    failpoint,
    key::{AccountId, Key, KeyHash, Token, TokenError},
    ledger::Refresh,
    money::NanoUsd,
    store::{self, StoreError},
};

pub(crate) async fn handle(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    let mut fields = Fields::parse(&body)?;
    // A new key opens its account, also where it has no cap.
    fields.max_budget.get_or_insert(None);
    let token = chosen("key", body.get("key"))?;
    let is_chosen = body.get("key").is_some_and(|value| !value.is_null());
    let now = state.clock.now();
    let key = new_key(&token, &fields, now)?;
    if is_chosen {
        // What a deleted key of this value has spent counts, also while its posting waits.
        state.ledger.flush().await;
    }
    let changing = state.clone();
    let spend = Spend::nothing(shared_budgets::defined(fields.shared_budgets(), now));
    let ignored = fields.ignored.clone();
    let work = async move { write(&changing, &admitted, key, &fields, is_chosen).await };
    let key = change(&state, work).await?;
    let shown = shown(&token, &key, &spend, state.clock.now());
    Ok(answer(shown, &ignored))
}

/// The key that `field` chooses, when it is hard enough to guess, else a
/// generated one.
pub(super) fn chosen(field: &'static str, value: Option<&Value>) -> Result<Token, ApiError> {
    let chosen = match value {
        None | Some(Value::Null) => {
            return Token::generate().map_err(|error| {
                tracing::error!(error = %error, "generating a key failed");
                ApiError::internal()
            });
        }
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(ApiError::validation(
                "string_type",
                ["body", field],
                "Input should be a valid string",
            ));
        }
    };
    let refused = |message: &str| ApiError::bad_request(field, message);
    let token = Token::parse(chosen).map_err(|error| match error {
        TokenError::Prefix => {
            refused("Invalid key format. LiteLLM Virtual Key must start with 'sk-'.")
        }
        TokenError::Checksum => {
            refused("the prefix sk-llp_ is for keys that this gateway generates: choose another")
        }
        TokenError::Shape | TokenError::Random => {
            refused("a key has at most 512 printable ASCII characters")
        }
    })?;
    if !token.is_strong() {
        return Err(refused(
            "Invalid key format: a chosen key needs at least 22 random characters after 'sk-'. Leave it out to have one generated.",
        ));
    }
    Ok(token)
}

pub(super) fn new_key(token: &Token, fields: &Fields, now: DateTime<Utc>) -> Result<Key, ApiError> {
    let mut key = Key::new(token.hash(), token.masked(), now);
    key.alias = fields.alias.clone().flatten();
    if let Some(span) = fields.duration.flatten() {
        key.expires_at = Some(span.after(now).ok_or_else(bad_duration)?);
    }
    fields.apply(&mut key);
    Ok(key)
}

async fn write(
    state: &AppState,
    admitted: &Admitted,
    key: Key,
    fields: &Fields,
    is_chosen: bool,
) -> Result<Key, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let (key, limits) = insert(state, &mut write, &caller, key, fields).await?;
    let anew = begin_anew(state, &mut write, &caller, Some(&key).filter(|_| is_chosen)).await?;
    failpoint::pass("key_generate.before_commit").await;
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a new key"))?;
    failpoint::pass("key_generate.after_commit").await;
    state.keys.invalidate(key.hash);
    anew.done(state).await;
    limits.done().await;
    shared_budgets::log(&caller, &key, fields.shared_budgets());
    tracing::info!(caller = %caller, key.hash = %key.hash, key.alias = key.alias, "key generated");
    Ok(key)
}

/// By how much accounts were corrected. It must be done, or dropped, after the commit.
struct Anew {
    corrected: Vec<(AccountId, i64)>,
    refresh: Refresh,
}

impl Anew {
    async fn done(self, state: &AppState) {
        for (account, by) in &self.corrected {
            state.ledger.corrected(account, *by);
        }
        self.refresh.done().await;
    }
}

/// LiteLLM: a key with the value of a deleted one has spent nothing yet. None where
/// the value is a new one.
async fn begin_anew(
    state: &AppState,
    write: &mut AnyConnection,
    caller: &Caller,
    key: Option<&Key>,
) -> Result<Anew, StoreError> {
    let mut corrected = Vec::new();
    if let Some(key) = key {
        for account in limits::accounts(key, &state.clock) {
            let by = store::ledger::correct::set_posted(write, &account, NanoUsd::ZERO).await?;
            if by != 0 {
                corrected.push((account, by));
            }
        }
        if let Some((_, by)) = corrected.first() {
            let change = (NanoUsd::from_nanos(-by), NanoUsd::ZERO);
            trail::spend(write, caller, key, change, key.created_at).await?;
        }
    }
    let accounts = corrected.iter().map(|(account, _)| account.clone());
    let refresh = state.ledger.refresh_on_drop(accounts.collect());
    Ok(Anew { corrected, refresh })
}

/// Within a transaction. What it answers besides the key must be done, or
/// dropped, after the commit.
pub(super) async fn insert(
    state: &AppState,
    write: &mut AnyConnection,
    caller: &Caller,
    mut key: Key,
    fields: &Fields,
) -> Result<(Key, Refresh), ApiError> {
    caller.must_have(key.scopes)?;
    caller.must_bind(&key)?;
    if let Some(alias) = &key.alias
        && store::keys::find_alias(write, alias).await?.is_some()
    {
        return Err(alias_taken(alias));
    }
    if is_taken(state, write, key.hash).await? {
        return Err(ApiError::bad_request(
            "key",
            "this key exists already: choose another, or use /key/update",
        ));
    }
    take_budget(write, &mut key).await?;
    state.config.seals.seal(&mut key);
    store::keys::put(write, &key).await?;
    let change = (None, Some(&key));
    trail::key(write, caller, "key.generate", change, key.created_at).await?;
    let limits = define(state, write, caller, &key, fields).await?;
    Ok((key, limits))
}

/// Whether a key has or had this value. The master key's is no other key's: a call
/// with it would be the master's, and none of that key's limits would hold.
pub(super) async fn is_taken(
    state: &AppState,
    write: &mut AnyConnection,
    hash: KeyHash,
) -> Result<bool, StoreError> {
    Ok(hash == state.master || store::keys::earlier::is_taken(write, hash).await?)
}

/// LiteLLM's words; the alias is a name, not a secret.
pub(super) fn alias_taken(alias: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "bad_request_error",
        format!(
            "Key with alias '{alias}' already exists. Unique key aliases across all keys are required."
        ),
    )
    .with_param("key_alias")
}

pub(super) fn shown(token: &Token, key: &Key, spend: &Spend, now: DateTime<Utc>) -> Value {
    let mut row = view::generated(key, spend, now);
    row.insert("key".to_owned(), json!(token.expose()));
    Value::Object(row)
}
