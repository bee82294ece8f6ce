//! Owns the key API: one operation a file. The router lets callers in; each
//! handler reads its body into typed fields, changes the store in one transaction, and then
//! the caches, before it answers. Called by the router.

mod asked;
pub(crate) mod audit;
mod duration;
pub(crate) mod fields;
pub(crate) mod groups;
pub(crate) mod import;
pub(crate) mod key_aliases;
pub(crate) mod key_block;
pub(crate) mod key_bulk_update;
pub(crate) mod key_count;
pub(crate) mod key_delete;
pub(crate) mod key_delete_expired;
pub(crate) mod key_generate;
pub(crate) mod key_info;
pub(crate) mod key_list;
pub(crate) mod key_regenerate;
pub(crate) mod key_reset_spend;
pub(crate) mod key_update;
mod key_write;
mod limits;
mod paging;
mod shared_budgets;
pub(crate) mod spend_logs;
pub(crate) mod spend_report;
mod trail;
mod values;
mod view;

use std::future::Future;

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::HeaderValue;
use serde_json::{Map, Value};

use crate::{app::AppState, auth::Admitted, body, error::ApiError, key::KeyHash};

/// No change to a key needs more; the data plane's limit is for prompts.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Names the fields of a request that are LiteLLM's and have no effect here.
const IGNORED_HEADER: &str = "x-llm-proxy-ignored";

/// The body, and who was let in, as it stands once the body is there.
async fn read_body(
    state: &AppState,
    request: Request,
) -> Result<(Admitted, Map<String, Value>), ApiError> {
    let admitted = Admitted::of(&request)?;
    let body = body::read_object(request, BODY_BYTES_MAX).await?;
    let admitted = admitted.again(state).await?;
    Ok((admitted, body))
}

/// Runs a change to its end, whatever becomes of the client.
async fn change<T: Send + 'static>(
    state: &AppState,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    state
        .tasks
        .run(work)
        .await
        .map_err(|_| ApiError::internal())?
}

/// The key that a request names, by itself or by its hash.
fn named_key(body: &Map<String, Value>) -> Result<Option<KeyHash>, ApiError> {
    match body.get("key") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => KeyHash::from_key_or_hash(text).map(Some).ok_or_else(|| {
            ApiError::bad_request(
                "key",
                "key must be a key or its SHA-256 in hexadecimal digits",
            )
        }),
        Some(_) => Err(ApiError::validation(
            "string_type",
            ["body", "key"],
            "Input should be a valid string",
        )),
    }
}

fn key_not_found() -> ApiError {
    ApiError::not_found("key", "Key not found.")
}

/// Whether what has this tag is what `If-Match` asks for. RFC 9110: any, or one of a
/// list.
fn is_expected(asked: Option<&HeaderValue>, tag: &str) -> bool {
    asked.is_none_or(|asked| {
        let mut tags = asked.to_str().unwrap_or_default().split(',');
        tags.any(|one| matches!(one.trim(), one if one == "*" || one == tag))
    })
}

fn answer(body: Value, ignored: &[&'static str]) -> Response {
    let mut response = Json(body).into_response();
    if !ignored.is_empty()
        && let Ok(names) = HeaderValue::try_from(ignored.join(","))
    {
        response.headers_mut().insert(IGNORED_HEADER, names);
    }
    response
}

#[cfg(test)]
mod tests;
