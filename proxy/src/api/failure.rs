//! What a caller is told when a provider fails.
//!
//! It owns the table from a provider's status to ours. A provider that refuses
//! our credential is our failure, never the caller's: a 401 would make clients
//! throw a good key away. Messages of a provider are passed on for the caller's
//! own mistakes only, cut short and without anything that looks like a key.

use http::StatusCode;
use serde_json::Value;

use crate::error::ApiError;
use crate::upstream::UpstreamError;

/// Enough for any explanation; a provider's page of HTML is none.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// A provider's answer that is not a success.
pub(super) fn refused(status: StatusCode, retry_after: Option<u32>, body: &[u8]) -> ApiError {
    let (status, message) = match status.as_u16() {
        400 | 404 | 409 | 413 | 415 | 422 => {
            let message = message_of(body)
                .unwrap_or_else(|| "the provider refused the request and said nothing".to_owned());
            return ApiError::new(status, "invalid_request_error", message);
        }
        429 => (
            StatusCode::TOO_MANY_REQUESTS,
            "the provider's rate limit is reached: try again later",
        ),
        401 | 403 => (
            StatusCode::BAD_GATEWAY,
            "the provider refused the gateway's own credential: the operator must renew it",
        ),
        300..=399 => (
            StatusCode::BAD_GATEWAY,
            "the provider answered with a redirect, which is not followed: check its api_base",
        ),
        408 | 504 => (
            StatusCode::GATEWAY_TIMEOUT,
            "the provider took too long: try again",
        ),
        503 | 529 => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the provider is overloaded: try again later",
        ),
        _ => (
            StatusCode::BAD_GATEWAY,
            "the provider failed on this request: try again",
        ),
    };
    let error = ApiError::upstream(status, message);
    match retry_after {
        Some(seconds) => error.with_retry_after(seconds),
        None => error,
    }
}

/// No answer at all, or one that cannot be used.
pub(super) fn failed(error: &UpstreamError) -> ApiError {
    let status = match error {
        UpstreamError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        UpstreamError::Unreachable(_) | UpstreamError::Broken(_) | UpstreamError::TooLarge => {
            StatusCode::BAD_GATEWAY
        }
    };
    ApiError::upstream(status, error.to_string())
}

/// A success that holds no JSON object.
pub(super) fn unusable() -> ApiError {
    ApiError::upstream(
        StatusCode::BAD_GATEWAY,
        "the provider's answer is not JSON: check its api_base",
    )
}

fn message_of(body: &[u8]) -> Option<String> {
    let body = serde_json::from_slice::<Value>(body).ok()?;
    let error = body.get("error").unwrap_or(&body);
    let text = error.get("message").unwrap_or(error).as_str()?;
    let cleaned = text
        .split(' ')
        .map(|word| match word.contains("sk-") {
            true => "[redacted]",
            false => word,
        })
        .collect::<Vec<_>>()
        .join(" ");
    let visible = cleaned.chars().filter(|one| !one.is_control());
    Some(visible.take(MESSAGE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_status_becomes_ours() {
        for (given, expected) in [
            (400, 400),
            (404, 404),
            (422, 422),
            (401, 502),
            (403, 502),
            (307, 502),
            (429, 429),
            (500, 502),
            (503, 503),
            (529, 503),
            (504, 504),
        ] {
            let status = StatusCode::from_u16(given).expect("status");
            assert_eq!(refused(status, None, b"{}").status().as_u16(), expected);
        }
    }

    #[test]
    fn a_message_loses_keys_and_length() {
        let body = br#"{"error":{"message":"bad key: sk-abc123. see\u0000 docs"}}"#;
        let message = message_of(body);
        assert_eq!(message.as_deref(), Some("bad key: [redacted] see docs"));
        let long = format!("{{\"error\":\"{}\"}}", "x".repeat(5_000));
        let length = message_of(long.as_bytes()).map(|text| text.len());
        assert_eq!(length, Some(MESSAGE_CHARS_MAX));
        assert_eq!(message_of(b"<html>"), None);
    }
}
