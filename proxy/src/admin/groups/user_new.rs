//! `POST /user/new`: makes a user, and with it a first key unless
//! `auto_create_key` is false. Fields that no user has are the key's.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{change, fields::GroupFields, new::add, view};
use crate::{
    admin::{
        answer, change as run,
        fields::{Fields, IGNORED},
        key_generate, read_body, shared_budgets,
        values::{flag, says_nothing},
        view::Spend,
    },
    app::AppState,
    auth::Admitted,
    error::ApiError,
    key::{Group, GroupKind, Key, Token},
    store::StoreError,
};

const KIND: GroupKind = GroupKind::User;
const AUTO_CREATE_KEY: &str = "auto_create_key";
/// LiteLLM's fields that nothing does anything for here.
const WITHOUT_EFFECT: [&str; 5] = [
    "organizations",
    "send_invite_email",
    "sso_user_id",
    "teams",
    "user_role",
];

/// A user, and what its first key is made of.
struct Asked {
    group: Group,
    key: Option<(Token, Key, Fields)>,
    ignored: Vec<&'static str>,
}

pub(crate) async fn handle(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    let Asked {
        group,
        key,
        ignored,
    } = parse(&state, body)?;
    let (changing, stored) = (state.clone(), group.clone());
    let work = async move { write(&changing, &admitted, &stored, key).await };
    let shown = run(&state, Box::pin(work)).await?;
    let row = view::one(&state, &group).await?;
    let mut shown = shown.unwrap_or_else(|| Map::from_iter([("key".to_owned(), json!(""))]));
    // LiteLLM: the user's own over the key's.
    if let Value::Object(user) = row {
        shown.extend(user);
    }
    Ok(answer(Value::Object(shown), &ignored))
}

fn parse(state: &AppState, mut body: Map<String, Value>) -> Result<Asked, ApiError> {
    let makes_key = body.remove(AUTO_CREATE_KEY);
    let makes_key = makes_key.map_or(Ok(None), |value| flag(AUTO_CREATE_KEY, &value))?;
    let makes_key = makes_key.unwrap_or(true);
    let mut of_user = Map::new();
    let mut of_key = Map::new();
    let mut fields = GroupFields::default();
    for (name, value) in body {
        let is_users = fields.take(KIND, &name, &value)? || WITHOUT_EFFECT.contains(&&*name);
        let part = if is_users { &mut of_user } else { &mut of_key };
        part.insert(name, value);
    }
    let fields = GroupFields::parse(KIND, &of_user)?;
    let now = state.clock.now();
    let group = fields.group(KIND, now);
    let mut ignored = fields.ignored;
    let chosen = of_key.get("key").cloned();
    let mut key_fields = Fields::parse(&of_key)?;
    key_fields.user_id = Some(Some(group.id.clone()));
    key_fields.max_budget.get_or_insert(None);
    ignored.append(&mut key_fields.ignored);
    let key = match makes_key {
        true => {
            let token = key_generate::chosen("key", chosen.as_ref())?;
            let key = key_generate::new_key(&token, &key_fields, now)?;
            Some((token, key, key_fields))
        }
        false => {
            is_of_no_key(&of_key)?;
            None
        }
    };
    Ok(Asked {
        group,
        key,
        ignored,
    })
}

/// Where no key is made its rules would be lost in silence.
fn is_of_no_key(of_key: &Map<String, Value>) -> Result<(), ApiError> {
    let mut sent = of_key.iter();
    let sent = sent.find(|(name, value)| !IGNORED.contains(&&***name) && !says_nothing(value));
    sent.map_or(Ok(()), |(name, _)| {
        let message =
            format!("{name} is a key's, and none is made because auto_create_key is false");
        Err(ApiError::bad_request(name, message))
    })
}

/// The user and its key, or neither. Answers the key as it is shown once.
async fn write(
    state: &AppState,
    admitted: &Admitted,
    group: &Group,
    key: Option<(Token, Key, Fields)>,
) -> Result<Option<Map<String, Value>>, ApiError> {
    let mut write = state.store.begin_write().await?;
    let caller = admitted.within(state, &mut write).await?;
    let applied = add(state, &mut write, &caller, group).await?;
    let mut made = None;
    if let Some((token, key, fields)) = key {
        let (key, limits) = key_generate::insert(state, &mut write, &caller, key, &fields).await?;
        let shared = shared_budgets::defined(fields.shared_budgets(), state.clock.now());
        made = Some((token, key, limits, Spend::nothing(shared)));
    }
    write
        .commit()
        .await
        .map_err(StoreError::while_doing("committing a new user"))?;
    applied.done().await;
    change::log(&caller, "new", group);
    let Some((token, key, limits, spend)) = made else {
        return Ok(None);
    };
    state.keys.invalidate(key.hash);
    limits.done().await;
    tracing::info!(caller = %caller, key.hash = %key.hash, key.alias = key.alias, "key generated");
    let shown = key_generate::shown(&token, &key, &spend, state.clock.now());
    Ok(match shown {
        Value::Object(row) => Some(row),
        _ => None,
    })
}
