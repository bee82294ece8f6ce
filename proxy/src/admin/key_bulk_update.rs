//! `POST /key/bulk_update`: changes many keys, each in a transaction of its own,
//! and says of each what became of it.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{answer, change, fields::Fields, key_update, named_key, read_body, values::only, view};
use crate::{app::AppState, auth::Admitted, error::ApiError};

/// LiteLLM's bound.
const KEYS_MAX: usize = 500;

pub(crate) async fn handle(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    only(&body, &["keys"])?;
    let wrong = || {
        ApiError::validation(
            "list_type",
            ["body", "keys"],
            "Input should be a valid list",
        )
    };
    let items = body
        .get("keys")
        .and_then(Value::as_array)
        .ok_or_else(wrong)?;
    if items.is_empty() || items.len() > KEYS_MAX {
        return Err(ApiError::bad_request(
            "keys",
            format!("keys: 1 to {KEYS_MAX} of them at a time"),
        ));
    }
    let items = items
        .iter()
        .map(|item| item.as_object().cloned().ok_or_else(wrong))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut updated, mut failed, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    for item in &items {
        let named = item.get("key").cloned().unwrap_or_default();
        match update(&state, &admitted, item, &mut ignored).await {
            Ok(row) => updated.push(json!({"key": named, "key_info": row})),
            Err(error) => failed.push(json!({
                "key": named,
                "key_info": null,
                "failed_reason": error.message(),
            })),
        }
    }
    ignored.sort_unstable();
    ignored.dedup();
    let told = json!({
        "total_requested": items.len(),
        "successful_updates": updated,
        "failed_updates": failed,
    });
    Ok(answer(told, &ignored))
}

async fn update(
    state: &AppState,
    admitted: &Admitted,
    item: &Map<String, Value>,
    ignored: &mut Vec<&'static str>,
) -> Result<Value, ApiError> {
    let hash = named_key(item)?.ok_or_else(not_named)?;
    let fields = Fields::parse(item)?;
    ignored.extend(fields.ignored.iter().copied());
    let (changing, admitted) = (state.clone(), admitted.clone());
    let key = change(state, async move {
        key_update::write(&changing, &admitted, Some(hash), &fields, None).await
    })
    .await?;
    let spend = view::spend(state, &key).await?;
    let mut row = view::stored(&key, &spend, state.clock.now());
    // LiteLLM: not in this answer.
    row.remove("token");
    row.remove("org_id");
    Ok(Value::Object(row))
}

fn not_named() -> ApiError {
    ApiError::bad_request("key", "each of keys needs key: a key or its SHA-256")
}
