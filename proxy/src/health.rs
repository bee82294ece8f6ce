//! Owns the health routes of both planes: alive while the process runs, ready
//! while the store answers and no stop was asked for. Readiness also says what
//! this gateway is, which is how the engine knows whom it talks to.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::json;

use crate::{admin::fields::IGNORED, app::AppState};

/// A store slower than this is not ready to authenticate anyone.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// What this gateway does beyond LiteLLM, each named once it works: the engine
/// refuses roles that need one which is not here.
const FEATURES: [&str; 6] = [
    "model_max_budget",
    "shared_budgets",
    "shared_budget_windows",
    "allowed_cidrs",
    "scopes",
    "regenerate",
];

/// LiteLLM: a JSON string, 503 while shutting down.
pub(crate) async fn liveliness(State(state): State<AppState>) -> Response {
    if state.tasks.is_stopping() {
        let body = json!({"status": "shutting_down"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    alive().await
}

pub(crate) async fn alive() -> Response {
    Json("I'm alive!").into_response()
}

/// Before the store was reached for the first time.
pub(crate) async fn disconnected() -> Response {
    answer(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "disconnected")
}

pub(crate) async fn readiness(State(state): State<AppState>) -> Response {
    if state.tasks.is_stopping() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "unknown");
    }
    match tokio::time::timeout(STORE_TIMEOUT, state.store.ping()).await {
        Ok(Ok(())) => answer(StatusCode::OK, "healthy", "connected"),
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "store is not ready");
            answer(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "disconnected")
        }
        Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "slow"),
    }
}

fn answer(status: StatusCode, text: &str, db: &str) -> Response {
    let body = json!({
        "status": text,
        "db": db,
        "gateway": "llm-proxy",
        "version": env!("CARGO_PKG_VERSION"),
        "features": FEATURES,
        "ignored": IGNORED.as_slice(),
    });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn readiness_names_what_is_done_and_what_is_ignored() {
        let response = answer(StatusCode::OK, "healthy", "connected");
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await;
        let told: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        let names =
            |field: &str, name: &str| told[field].as_array().unwrap().contains(&Value::from(name));
        assert!(names("features", "allowed_cidrs"), "{told}");
        assert!(names("ignored", "tags"), "{told}");
        for feature in FEATURES {
            assert!(!names("ignored", feature), "{feature}");
        }
    }
}
