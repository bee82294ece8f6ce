//! `GET /spend/logs` and `GET /spend/logs/v2`: the calls that were settled,
//! newest first, by page. LiteLLM's field names; the first answers the rows
//! alone, the second with how many there are.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{
    answer,
    asked::{Asked, SPAN},
};
use crate::{
    app::AppState,
    error::ApiError,
    money::NanoUsd,
    store::{
        Page,
        spend::{Call, Filter},
    },
};

const FILTERS: [&str; 8] = [
    "api_key",
    "user_id",
    "team_id",
    "request_id",
    "model",
    "summarize",
    SPAN[0],
    SPAN[1],
];

pub(crate) async fn rows(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (filter, page) = asked(&state, query.as_deref()).await?;
    let calls = state.store.calls(&filter, page).await?;
    Ok(answer(Value::Array(calls.iter().map(shown).collect()), &[]))
}

pub(crate) async fn counted(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (filter, page) = asked(&state, query.as_deref()).await?;
    let total = state.store.calls_count(&filter).await?;
    let calls = state.store.calls(&filter, page).await?;
    let size = i64::from(page.size);
    let body = json!({
        "data": calls.iter().map(shown).collect::<Vec<_>>(),
        "total": total,
        "page": page.number,
        "page_size": page.size,
        "total_pages": (total + size - 1) / size,
    });
    Ok(answer(body, &[]))
}

async fn asked(state: &AppState, query: Option<&str>) -> Result<(Filter, Page), ApiError> {
    let asked = Asked::parse(query, &FILTERS)?;
    if asked.text("summarize").is_some_and(|text| text != "false") {
        return Err(ApiError::bad_request(
            "summarize",
            "rows are not summarized here: leave summarize out, or ask GET /global/spend/report",
        ));
    }
    let span = asked.span()?;
    let text = |name| asked.text(name).map(str::to_owned);
    let key = asked.account(state, "api_key").await?;
    let filter = Filter {
        key_hash: key.map(|account| account.to_string()),
        request_id: text("request_id"),
        user_id: text("user_id"),
        team_id: text("team_id"),
        model: text("model"),
        from_us: span.from_us,
        until_us: span.until_us,
    };
    Ok((filter, asked.page()?))
}

/// LiteLLM's row. `api_key` is the hash under which the key's account stands,
/// null for the master key.
fn shown(call: &Call) -> Value {
    let time = |micros| {
        let at = DateTime::<Utc>::from_timestamp_micros(micros);
        at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
    };
    // Recovery's postings stand for calls that nobody can tell of any more.
    let call_type = match call.model.as_str() {
        "" => "recovery",
        _ => "acompletion",
    };
    let status = match call.status {
        200..300 => "success",
        _ => "failure",
    };
    json!({
        "request_id": call.request_id,
        "litellm_call_id": call.request_id,
        "call_type": call_type,
        "api_key": call.key_hash,
        "spend": NanoUsd::from_nanos(call.cost_nanousd),
        "total_tokens": call.prompt_tokens.saturating_add(call.completion_tokens),
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "cached_tokens": call.cached_tokens,
        "startTime": time(call.started_at_us),
        "endTime": time(call.finished_at_us),
        "model": call.model,
        "model_group": call.model,
        "model_id": call.deployment_id,
        "user": call.user_id,
        "team_id": call.team_id,
        "status": status,
        "http_status": call.status,
        "stream": call.streamed,
        "estimated": call.estimated,
    })
}
