//! What a caller is told when a provider fails.
//!
//! It owns the table from a provider's status to ours. A provider that refuses
//! our credential is our failure, never the caller's: a 401 would make clients
//! throw a good key away. Messages of a provider are passed on for the caller's
//! own mistakes only, cut short and without anything that looks like a key.

use http::StatusCode;
use serde_json::Value;

use crate::error::ApiError;
use crate::secret::Secret;
use crate::upstream::UpstreamError;

/// Enough for any explanation; a provider's page of HTML is none.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// What stands in the place of a key.
const REDACTED: &str = "[redacted]";

/// A provider's answer that is not a success. `api_key` is what it was called
/// with, and what it may quote.
pub(super) fn refused(
    status: StatusCode,
    retry_after: Option<u32>,
    body: &[u8],
    api_key: Option<&Secret>,
) -> ApiError {
    let (status, message) = match status.as_u16() {
        400 | 404 | 409 | 413 | 415 | 422 => {
            let message = message_of(body, api_key)
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

fn message_of(body: &[u8], api_key: Option<&Secret>) -> Option<String> {
    let body = serde_json::from_slice::<Value>(body).ok()?;
    let error = body.get("error").unwrap_or(&body);
    let text = error.get("message").unwrap_or(error).as_str()?;
    let cleaned = without_keys(&visible(text), api_key);
    Some(cleaned.chars().take(MESSAGE_CHARS_MAX).collect())
}

/// On one line and without control characters, which could split a key.
fn visible(text: &str) -> String {
    let one_line = text.chars().map(|one| match one.is_whitespace() {
        true => ' ',
        false => one,
    });
    one_line.filter(|one| !one.is_control()).collect()
}

/// Our own key by its letters, any other by what stands before or in it.
fn without_keys(text: &str, api_key: Option<&Secret>) -> String {
    let own = api_key.map(Secret::expose).filter(|key| !key.is_empty());
    let text = match own {
        Some(key) => text.replace(key, REDACTED),
        None => text.to_owned(),
    };
    let mut follows_bearer = false;
    let clean = |word| {
        let is_key = follows_bearer && !str::is_empty(word);
        // Several spaces may stand between the two.
        follows_bearer = match word {
            "" => follows_bearer,
            _ => word.to_ascii_lowercase().ends_with("bearer"),
        };
        match is_key || word.contains("sk-") {
            true => REDACTED,
            false => word,
        }
    };
    text.split(' ').map(clean).collect::<Vec<_>>().join(" ")
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
            assert_eq!(
                refused(status, None, b"{}", None).status().as_u16(),
                expected
            );
        }
    }

    #[test]
    fn a_message_loses_keys_and_length() {
        let body = br#"{"error":{"message":"bad key: sk-abc123. see\u0000 docs"}}"#;
        let message = message_of(body, None);
        assert_eq!(message.as_deref(), Some("bad key: [redacted] see docs"));
        let long = format!("{{\"error\":\"{}\"}}", "x".repeat(5_000));
        let length = message_of(long.as_bytes(), None).map(|text| text.len());
        assert_eq!(length, Some(MESSAGE_CHARS_MAX));
        assert_eq!(message_of(b"<html>", None), None);
    }

    #[test]
    fn a_message_loses_the_providers_key_however_it_is_quoted() {
        let key = Secret::new("opaque/key=1".to_owned());
        for (text, expected) in [
            ("no such key 'opaque/key=1'", "no such key '[redacted]'"),
            ("opaque/key=1,opaque/key=1", "[redacted],[redacted]"),
            (r"opaque/\u0000key=1", "[redacted]"),
            ("got Bearer abc.def now", "got Bearer [redacted] now"),
            (r"header:bearer  \nabc", "header:bearer   [redacted]"),
            ("the bear ate it", "the bear ate it"),
        ] {
            let body = format!(r#"{{"error":{{"message":"{text}"}}}}"#);
            let message = message_of(body.as_bytes(), Some(&key));
            assert_eq!(message.as_deref(), Some(expected), "{text}");
        }
        let empty = Secret::new(String::new());
        let message = message_of(br#"{"error":"as it is"}"#, Some(&empty));
        assert_eq!(message.as_deref(), Some("as it is"));
    }
}
