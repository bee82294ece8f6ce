//! The dialect that OpenAI, OpenRouter, DashScope, Ark and most others speak:
//! `POST <base>/chat/completions` with a bearer key.
//!
//! It owns the request line, the provider's credential and the wait for the
//! answer's headers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use tokio::time::Instant;

use super::headers::returned;
use super::pool::{Pool, Target};
use super::{Answer, AnswerBody, HEADERS_TIMEOUT, Outgoing, UpstreamError};
use crate::config::{Deployment, ProviderKey};

const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("llm-proxy/", env!("CARGO_PKG_VERSION")));

pub(super) async fn send(
    pool: &Pool,
    deployment: &Deployment,
    outgoing: Outgoing,
    deadline: Instant,
) -> Result<Answer, UpstreamError> {
    let wait = headers_timeout(deployment, outgoing.streamed);
    let until = wait.map_or(deadline, |wait| deadline.min(Instant::now() + wait));
    let target = pool.target(&deployment.api_base);
    let target = target.map_err(UpstreamError::Unreachable)?;
    let request = request(&target, deployment, outgoing);
    let answer = pool.send(&target, request, until).await;
    let answer = answer.map_err(|failure| failure.while_doing("waiting for its answer"))?;
    let (head, body) = answer.into_parts();
    Ok(Answer {
        status: head.status,
        headers: returned(&head.headers),
        body: AnswerBody::Http(body),
        deadline,
    })
}

fn request(target: &Target, deployment: &Deployment, outgoing: Outgoing) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(outgoing.body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri.clone();
    let headers = request.headers_mut();
    *headers = outgoing.headers;
    headers.insert(header::HOST, target.host.clone());
    headers.insert(header::ACCEPT, ACCEPT);
    headers.insert(header::USER_AGENT, USER_AGENT);
    let of_key = deployment.api_key.as_ref().map(ProviderKey::bearer);
    if let Some(credentials) = of_key.or_else(|| target.credentials.clone()) {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    if let Some(credentials) = &target.proxy_credentials {
        headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
    }
    request
}

/// How long to wait for the headers; None where the call's deadline alone
/// counts. A whole answer has no headers before it is complete, and who
/// configures a timeout has chosen how long to wait.
fn headers_timeout(deployment: &Deployment, streamed: bool) -> Option<Duration> {
    (streamed && deployment.timeout.is_none()).then_some(HEADERS_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Provider;

    #[test]
    fn only_streams_without_a_configured_timeout_hurry_their_headers() {
        let mut deployment = Deployment {
            public_name: "m".into(),
            provider: Provider::OpenAiCompatible,
            upstream_model: "m".to_owned(),
            api_base: "http://a:1".parse().expect("URL"),
            api_key: None,
            price: None,
            free: false,
            max_output_tokens: None,
            id: "test".into(),
            timeout: None,
        };
        for (streamed, expected) in [(true, Some(HEADERS_TIMEOUT)), (false, None)] {
            deployment.timeout = None;
            assert_eq!(headers_timeout(&deployment, streamed), expected);
            deployment.timeout = Some(Duration::from_secs(600));
            assert_eq!(headers_timeout(&deployment, streamed), None);
        }
    }
}
