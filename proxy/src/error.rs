//! Owns `ApiError`, the one shape in which both planes answer a failure, and
//! the one table of statuses. Domain errors become an `ApiError` here or in
//! the handler that met them. A message never carries a secret and never
//! echoes input beyond names.

use axum::{
    Json,
    extract::rejection::{PathRejection, QueryRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    key::{Denies, GroupKind},
    store::StoreError,
};

/// Seconds after which a caller may try again when the store is unavailable.
const STORE_RETRY_AFTER_S: u32 = 1;

/// A failure as the client sees it.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<String>,
    retry_after_s: Option<u32>,
    /// Besides those of every failure.
    headers: Option<Box<HeaderMap>>,
    /// `FastAPI`'s shape for invalid fields, which LiteLLM's clients expect.
    detail: Option<Value>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
            retry_after_s: None,
            headers: None,
            detail: None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What the client is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Nothing where the value is none of a header.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.get_or_insert_default().insert(name, value);
        }
        self
    }

    // 400

    pub(crate) fn bad_request(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message).with_param(param)
    }

    pub(crate) fn malformed_body() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "the body is not a valid JSON object: send one, with numbers that JSON knows",
        )
    }

    /// LiteLLM: 400 for a key that may call every model.
    pub(crate) fn unknown_model() -> Self {
        Self::bad_request(
            "model",
            "no such model: see GET /v1/models for those this gateway serves",
        )
    }

    // 401

    pub(crate) fn unauthorized(kind: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, kind, message)
    }

    // 403

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// LiteLLM: the type says whose models leave it out.
    pub(crate) fn model_denied(denies: Denies) -> Self {
        let kind = match denies {
            Denies::Group(GroupKind::Team) => "team_model_access_denied",
            Denies::Group(GroupKind::User) => "user_model_access_denied",
            Denies::Group(GroupKind::Budget) | Denies::Key => "key_model_access_denied",
        };
        Self::new(
            StatusCode::FORBIDDEN,
            kind,
            "the requested model is not available for this API key: see GET /v1/models for those it may call",
        )
        .with_param("model")
    }

    pub(crate) fn model_not_priced() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "model_not_priced",
            "this key has a budget and the model has no price: give the model a price or declare it free",
        )
        .with_param("model")
    }

    // 404, 405

    pub(crate) fn not_found(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", message).with_param(param)
    }

    pub(crate) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found_error",
            "this address has no such route: the key API may be on the admin address",
        )
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            "this route does not take this method",
        )
    }

    // 408, 413

    pub(crate) fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout_error",
            "the request body stopped arriving",
        )
    }

    pub(crate) fn body_too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            format!("the request body is larger than {limit_bytes} bytes"),
        )
    }

    // 412

    /// `read_by` is the request that tells of it as it is now.
    pub(crate) fn changed_meanwhile(what: &str, read_by: &str) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            format!(
                "the {what} was changed since If-Match's value was read: read it again with {read_by}"
            ),
        )
        .with_param("If-Match")
    }

    // 422

    /// `FastAPI`: a field of the wrong type or out of its range.
    pub(crate) fn validation(kind: &str, location: [&str; 2], message: &str) -> Self {
        let location: Vec<&str> = location
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request_error",
            message,
        );
        error.detail = Some(json!([{"type": kind, "loc": location, "msg": message}]));
        error
    }

    /// LiteLLM: 422 by default, because SDKs retry 429.
    pub(crate) fn budget_exceeded(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "budget_exceeded", message)
    }

    // 5xx

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_server_error",
            "the gateway failed on this request: its log says why",
        )
    }

    /// Never a 401: a client must not throw away a good key because of us.
    pub(crate) fn store_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_db_connection",
            "the store is unavailable: try again shortly",
        )
        .with_retry_after(STORE_RETRY_AFTER_S)
    }

    pub(crate) fn too_many_questions() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "too many keys ask about themselves: try again shortly",
        )
        .with_retry_after(STORE_RETRY_AFTER_S)
    }

    pub(crate) fn too_many_bodies() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "too many large requests are under way: try again shortly",
        )
        .with_retry_after(STORE_RETRY_AFTER_S)
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "the gateway is shutting down: try again shortly",
        )
        .with_retry_after(STORE_RETRY_AFTER_S)
    }

    pub(crate) fn upstream(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "upstream_error", message)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(_: QueryRejection) -> Self {
        let message = "the query cannot be read: give each parameter once, as text in UTF-8";
        Self::bad_request("query", message)
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::bad_request("path", "the path cannot be read: it must be text in UTF-8")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // Said once, when it began.
            StoreError::Unavailable => {}
            error => tracing::error!(error = %error, "store failed"),
        }
        Self::store_unavailable()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = match self.detail {
            Some(detail) => json!({ "detail": detail }),
            None => json!({"error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.status.as_str(),
            }}),
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(headers) = self.headers {
            response.headers_mut().extend(*headers);
        }
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
