//! `GET /audit`: who changed what of keys and budgets, newest first, by page,
//! filtered by subject, action, actor and time.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{
    answer,
    asked::{Asked, SPAN},
    view::time,
};
use crate::{
    app::AppState,
    error::ApiError,
    store::audit::{AuditRow, Filter},
};

const FILTERS: [&str; 6] = ["subject", "action", "actor", "key", SPAN[0], SPAN[1]];

pub(crate) async fn handle(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = Asked::parse(query.as_deref(), &FILTERS)?;
    let (page, span) = (asked.page()?, asked.span()?);
    let filter = Filter {
        subject: subject(&state, &asked).await?,
        action: asked.text("action").map(str::to_owned),
        actor: asked.text("actor").map(str::to_owned),
        from_us: span.from_us,
        until_us: span.until_us,
    };
    let listed = state.store.audit(&filter, page).await?;
    let size = i64::from(page.size);
    let body = json!({
        "data": listed.rows.iter().map(shown).collect::<Vec<_>>(),
        "total": listed.total,
        "page": page.number,
        "page_size": page.size,
        "total_pages": (listed.total + size - 1) / size,
    });
    Ok(answer(body, &[]))
}

/// `key` names the subject that a key is.
async fn subject(state: &AppState, asked: &Asked) -> Result<Option<String>, ApiError> {
    match (asked.account(state, "key").await?, asked.text("subject")) {
        (None, subject) => Ok(subject.map(str::to_owned)),
        (Some(account), None) => Ok(Some(format!("key {account}"))),
        (Some(_), Some(_)) => Err(ApiError::bad_request(
            "key",
            "give key or subject, not both",
        )),
    }
}

fn shown(row: &AuditRow) -> Value {
    json!({
        "id": row.id,
        "at": DateTime::from_timestamp_micros(row.at_us).map(time),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "before": json_of(row.before.as_deref()),
        "after": json_of(row.after.as_deref()),
        "vault_request_id": row.vault_request_id,
        "previous_hash": row.previous_hash,
        "hash": row.hash,
    })
}

/// What is no JSON was tampered with: it is shown as it stands.
fn json_of(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| {
        serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
    })
}
