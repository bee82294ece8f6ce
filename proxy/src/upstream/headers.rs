//! Which headers pass the gateway, in either direction: a short list, so that
//! nothing passes because nobody thought of it.
//!
//! It owns the two lists. A caller's credentials are on neither, and the
//! provider's key is set by the dialect.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// From the caller to the provider. `content-type` and `accept` are set anew;
/// whatever names an account, a project or a credential is the operator's to
/// choose.
static REQUEST: [HeaderName; 3] = [
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("http-referer"),
    HeaderName::from_static("x-title"),
];

/// From the provider to the caller, under their own names or told apart from the
/// gateway's own. LiteLLM: prefix `llm_provider-`.
static ANSWER: [(HeaderName, HeaderName); 10] = [
    (header::CONTENT_TYPE, header::CONTENT_TYPE),
    (header::RETRY_AFTER, header::RETRY_AFTER),
    (
        HeaderName::from_static("openai-processing-ms"),
        HeaderName::from_static("llm_provider-openai-processing-ms"),
    ),
    (
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("llm_provider-x-ratelimit-limit-requests"),
    ),
    (
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("llm_provider-x-ratelimit-limit-tokens"),
    ),
    (
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("llm_provider-x-ratelimit-remaining-requests"),
    ),
    (
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("llm_provider-x-ratelimit-remaining-tokens"),
    ),
    (
        HeaderName::from_static("x-ratelimit-reset-requests"),
        HeaderName::from_static("llm_provider-x-ratelimit-reset-requests"),
    ),
    (
        HeaderName::from_static("x-ratelimit-reset-tokens"),
        HeaderName::from_static("llm_provider-x-ratelimit-reset-tokens"),
    ),
    (
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("llm_provider-x-request-id"),
    ),
];

/// What of a caller's headers goes to the provider.
pub(crate) fn forwarded(caller: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in &REQUEST {
        if let Some(value) = caller.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers
}

/// With those that the gateway adds, the limits of a key among them, so that the
/// map seldom grows.
const HEADERS_USUAL: usize = 24;

/// What of a provider's headers goes to the caller.
pub(super) fn returned(provider: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS_USUAL);
    for (name, value) in provider {
        if let Some((_, shown)) = ANSWER.iter().find(|(passed, _)| passed == name) {
            // The first of several counts.
            headers.entry(shown).or_insert_with(|| value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn no_credential_and_no_account_of_the_caller_goes_out() {
        let caller = headers(&[
            ("authorization", "Bearer sk-canary"),
            ("x-api-key", "sk-canary"),
            ("api-key", "sk-canary"),
            ("x-goog-api-key", "sk-canary"),
            ("x-litellm-api-key", "sk-canary"),
            ("ocp-apim-subscription-key", "sk-canary"),
            ("cookie", "sk-canary"),
            ("proxy-authorization", "Basic sk-canary"),
            ("openai-organization", "org-theirs"),
            ("openai-project", "theirs"),
            ("host", "elsewhere.example"),
            ("x-forwarded-host", "elsewhere.example"),
            ("transfer-encoding", "chunked"),
            ("connection", "upgrade"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("accept-encoding", "gzip"),
            ("openai-beta", "assistants=v2"),
            ("content-type", "text/plain"),
        ]);
        let expected = headers(&[
            ("openai-beta", "assistants=v2"),
            ("content-type", "application/json"),
        ]);
        assert_eq!(forwarded(&caller), expected);
    }

    #[test]
    fn what_comes_back_cannot_be_taken_for_the_gateway() {
        let provider = headers(&[
            ("content-type", "application/json"),
            ("x-request-id", "theirs"),
            ("x-request-id", "another"),
            ("set-cookie", "a=b"),
            ("content-length", "7"),
            ("x-litellm-key-spend", "0"),
            ("openai-organization", "org-ours"),
        ]);
        let expected = headers(&[
            ("content-type", "application/json"),
            ("llm_provider-x-request-id", "theirs"),
        ]);
        assert_eq!(returned(&provider), expected);
    }
}
