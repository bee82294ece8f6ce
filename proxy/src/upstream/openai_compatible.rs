//! The dialect that OpenAI, OpenRouter, DashScope, Ark and most others speak:
//! `POST <base>/chat/completions` with a bearer key.
//!
//! It owns the request line, the provider's credential and the wait for the
//! answer's headers.

use std::time::Duration;

use http::{HeaderValue, header};
use reqwest::Url;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::headers::returned;
use super::{Answer, AnswerBody, HEADERS_TIMEOUT, Outgoing, UpstreamError};
use crate::config::Deployment;

pub(super) async fn send(
    client: &reqwest::Client,
    deployment: &Deployment,
    outgoing: Outgoing,
    deadline: Instant,
) -> Result<Answer, UpstreamError> {
    let patience = headers_timeout(deployment, &outgoing.body);
    let mut request = client
        .post(endpoint(&deployment.api_base))
        .headers(outgoing.headers)
        .header(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        )
        .body(outgoing.body);
    if let Some(key) = &deployment.api_key {
        request = request.bearer_auth(key.expose());
    }
    let until = patience.map_or(deadline, |wait| deadline.min(Instant::now() + wait));
    let sent = timeout_at(until, request.send()).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if error.is_connect() || error.is_builder() => {
            return Err(UpstreamError::Unreachable(error.without_url()));
        }
        Ok(Err(error)) => return Err(UpstreamError::Broken(error.without_url())),
        Err(_) => return Err(UpstreamError::Timeout("waiting for its answer")),
    };
    Ok(Answer {
        status: response.status(),
        headers: returned(response.headers()),
        body: AnswerBody::Http(Box::new(response)),
        deadline,
    })
}

#[derive(Deserialize)]
struct Streamed {
    #[serde(default)]
    stream: Option<bool>,
}

/// How long to wait for the headers; None where the call's deadline alone
/// counts. A whole answer has no headers before it is complete, and who
/// configures a timeout has chosen how long to wait.
fn headers_timeout(deployment: &Deployment, body: &[u8]) -> Option<Duration> {
    if deployment.timeout.is_some() {
        return None;
    }
    let streamed = serde_json::from_slice::<Streamed>(body).ok()?.stream?;
    streamed.then_some(HEADERS_TIMEOUT)
}

/// Appends to the base's path, whether or not it ends in a slash.
fn endpoint(base: &Url) -> Url {
    let mut url = base.clone();
    let path = format!("{}/chat/completions", base.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Provider;

    #[test]
    fn only_streams_without_a_configured_timeout_hurry_their_headers() {
        let mut deployment = Deployment {
            public_name: "m".to_owned(),
            provider: Provider::OpenAiCompatible,
            upstream_model: "m".to_owned(),
            api_base: "http://a:1".parse().expect("URL"),
            api_key: None,
            price: None,
            free: false,
            max_output_tokens: None,
            id: "test".to_owned(),
            timeout: None,
        };
        for (body, expected) in [
            (r#"{"stream":true,"messages":[]}"#, Some(HEADERS_TIMEOUT)),
            (r#"{"stream":false}"#, None),
            (r#"{"stream":null}"#, None),
            ("{}", None),
        ] {
            deployment.timeout = None;
            let found = headers_timeout(&deployment, body.as_bytes());
            assert_eq!(found, expected, "{body}");
            deployment.timeout = Some(Duration::from_secs(600));
            let found = headers_timeout(&deployment, body.as_bytes());
            assert_eq!(found, None, "{body}");
        }
    }

    #[test]
    fn the_base_keeps_its_path_and_query() {
        for (base, expected) in [
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            ("http://a:1/v1/", "http://a:1/v1/chat/completions"),
            ("http://a:1", "http://a:1/chat/completions"),
            ("http://a/b?c=d", "http://a/b/chat/completions?c=d"),
        ] {
            let base = Url::parse(base).expect(base);
            assert_eq!(endpoint(&base).as_str(), expected);
        }
    }
}
