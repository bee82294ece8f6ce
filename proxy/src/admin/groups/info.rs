//! `POST /budget/info`, `GET /team/info` and `GET /user/info`: what a group is,
//! what its keys have spent together, and its newest keys. The answer about one has
//! its `ETag`.

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{id_field, not_found, view};
use crate::{
    admin::{
        answer, read_body,
        values::{list, only},
        view as key_view,
    },
    app::AppState,
    error::ApiError,
    key::{Group, GroupKind, Key},
    store::{Filter, Match, Page},
};

/// Budgets that are told about at a time, and keys that are shown with a team or
/// a user; `/key/list` shows all.
const SHOWN_MAX: u32 = 100;

/// LiteLLM: those that are not there are left out.
pub(crate) async fn budget(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    const FIELD: &str = "budgets";
    let (_, body) = read_body(&state, request).await?;
    only(&body, &[FIELD])?;
    let mut ids = list(FIELD, body.get(FIELD).unwrap_or(&Value::Null))?;
    ids.dedup();
    if ids.is_empty() || ids.len() > SHOWN_MAX as usize {
        let message = format!("{FIELD}: name 1 to {SHOWN_MAX} of them by budget_id");
        return Err(ApiError::bad_request(FIELD, message));
    }
    let mut budgets = Vec::new();
    for id in &ids {
        budgets.extend(state.store.group(GroupKind::Budget, id).await?);
    }
    let response = answer(json!(view::rows(&state, &budgets).await?), &[]);
    Ok(match budgets.as_slice() {
        [budget] => view::tagged(response, budget),
        _ => response,
    })
}

pub(crate) async fn team(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let team = named(&state, GroupKind::Team, query.as_deref()).await?;
    let filter = Filter {
        team_id: Some(team.id.clone()),
        ..Filter::default()
    };
    let (row, keys) = shown(&state, &team, &filter).await?;
    let shown = json!({"team_id": team.id, "team_info": row, "keys": keys, "team_memberships": []});
    Ok(view::tagged(answer(shown, &[]), &team))
}

pub(crate) async fn user(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let user = named(&state, GroupKind::User, query.as_deref()).await?;
    let filter = Filter {
        user_id: Some(Match::Whole(user.id.clone())),
        ..Filter::default()
    };
    let (row, keys) = shown(&state, &user, &filter).await?;
    let shown = json!({"user_id": user.id, "user_info": row, "keys": keys, "teams": []});
    Ok(view::tagged(answer(shown, &[]), &user))
}

async fn named(state: &AppState, kind: GroupKind, query: Option<&str>) -> Result<Group, ApiError> {
    let field = id_field(kind);
    let mut asked = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let id = asked.find(|(name, _)| name == field);
    let (_, id) = id.ok_or_else(|| {
        let message = format!("name the {} by {field}", kind.as_str());
        ApiError::bad_request(field, message)
    })?;
    let group = state.store.group(kind, &id).await?;
    group.ok_or_else(|| not_found(kind))
}

async fn shown(
    state: &AppState,
    group: &Group,
    filter: &Filter,
) -> Result<(Value, Vec<Value>), ApiError> {
    let now = state.clock.now();
    let newest = Page {
        number: 1,
        size: SHOWN_MAX,
    };
    let listed = state.store.list_keys(filter, newest, now).await?;
    let keys: Vec<&Key> = listed.keys.iter().map(|(key, _)| key).collect();
    let spends = key_view::spends(state, &keys).await?;
    let row = |(key, spend): (&&Key, _)| Value::Object(key_view::stored(key, spend, now));
    let keys = keys.iter().zip(&spends).map(row).collect();
    Ok((view::one(state, group).await?, keys))
}
