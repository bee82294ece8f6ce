//! `POST /key/delete_expired`: deletes keys that expired long ago, some at a
//! time. Beyond LiteLLM. Each goes to the archive and into the audit trail as
//! if it had been named to `/key/delete`.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    answer, change,
    duration::Span,
    key_delete::{self, KEYS_MAX},
    read_body,
    values::only,
};
use crate::{app::AppState, error::ApiError};

const FIELD: &str = "expired_for";
/// One call ends within some seconds; the answer says whether keys are left.
const TURNS_MAX: usize = 10;

pub(crate) async fn handle(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let (admitted, body) = read_body(&state, request).await?;
    only(&body, &[FIELD])?;
    let before = expired_for(&body)?.before(state.clock.now());
    let before = before.ok_or_else(wrong)?;
    let mut deleted = 0;
    for _ in 0..TURNS_MAX {
        let hashes = state.store.expired_keys(before, KEYS_MAX).await?;
        let count = hashes.len();
        let (changing, admitted) = (state.clone(), admitted.clone());
        deleted += change(&state, async move {
            key_delete::delete(&changing, &admitted, hashes, &[], Some(before)).await
        })
        .await?;
        if count < KEYS_MAX {
            return Ok(answer(json!({"deleted": deleted, "more": false}), &[]));
        }
    }
    Ok(answer(json!({"deleted": deleted, "more": true}), &[]))
}

fn expired_for(body: &Map<String, Value>) -> Result<Span, ApiError> {
    let text = body.get(FIELD).and_then(Value::as_str);
    text.and_then(Span::parse).ok_or_else(wrong)
}

fn wrong() -> ApiError {
    ApiError::bad_request(
        FIELD,
        "expired_for must be a whole number and a unit (s, m, h, d, w or mo), as in 30d: how long ago a key has expired that is deleted",
    )
}
