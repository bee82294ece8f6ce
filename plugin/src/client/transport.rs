//! One HTTP call to the gateway and what can go wrong with it. Bounded in time
//! and size; never shows the admin key.

use std::error::Error;
use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode, header, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};
use vault_plugin_sdk as sdk;

use super::resolver::{self, Forbidden, Resolver};
use super::{MasterKey, refusal};
use crate::error::{BAD_CERTIFICATE, FORBIDDEN_ADDRESS, GatewayError, NO_CONNECTION};
use crate::failpoint;
use crate::paths::config::ConfigEntry;

/// The answers we need are a few kilobytes; more is not a key API.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// A page of a hundred keys, each with as much metadata as anyone writes.
const MAX_LIST_BYTES: usize = 16 << 20;

const IGNORED_HEADER: &str = "x-llm-proxy-ignored";
/// More than a role has fields.
const MAX_IGNORED: usize = 32;

/// What the gateway answered to a call that it accepted.
pub(super) struct Answer<T> {
    pub(super) body: T,
    /// The gateway's time, by its `Date` header.
    pub(super) date: Option<DateTime<Utc>>,
    /// Fields of the request that have no effect at this gateway.
    pub(super) ignored: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    base_url: String,
    /// Where the calls go: `base_url`, under the name in its certificate.
    target: Target,
    request_timeout: Duration,
    master_key: MasterKey,
}

impl Transport {
    pub(super) fn new(config: &ConfigEntry) -> Result<Self, sdk::Error> {
        let target = Target::of(config)?;
        Ok(Self {
            http: http_client(config, &target)?,
            target,
            base_url: config.base_url.clone(),
            request_timeout: config.request_timeout(),
            master_key: config.master_key.clone(),
        })
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(super) fn master_key(&self) -> &MasterKey {
        &self.master_key
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Answer<T>, GatewayError> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.target.url))
            .bearer_auth(self.master_key.expose());
        if let Some(host) = &self.target.host_header {
            request = request.header(header::HOST, host);
        }
        if method != Method::GET {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if path == "/key/generate" {
            failpoint::hit("creds.request_sent").await;
        }
        let most = if path.starts_with("/key/list") {
            MAX_LIST_BYTES
        } else {
            MAX_ANSWER_BYTES
        };
        let status = response.status();
        let date = date(&response);
        let ignored = ignored(&response);
        let body = self.read(response, most).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        let body = serde_json::from_slice(&body)
            .map_err(|_| self.unexpected("the body is not the JSON that this call answers"))?;
        Ok(Answer {
            body,
            date,
            ignored,
        })
    }

    async fn read(
        &self,
        mut response: reqwest::Response,
        most: usize,
    ) -> Result<Vec<u8>, GatewayError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unreachable(&error))?
        {
            if body.len() + chunk.len() > most {
                return Err(self.unexpected(&format!("the body is over {} MiB", most >> 20)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> GatewayError {
        GatewayError::Unreachable {
            base_url: self.base_url.clone(),
            reason: reason(error),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> GatewayError {
        let base_url = self.base_url.clone();
        let message = refusal::message(body, &self.master_key);
        let code = status.as_u16();
        match code {
            401 | 403 => GatewayError::AdminKeyRefused {
                base_url,
                status: code,
                message,
            },
            // These tell of the gateway's own state, not of the request.
            408 | 429 => GatewayError::Failed {
                base_url,
                status: code,
                message,
            },
            400..=499 => GatewayError::Refused {
                base_url,
                status: code,
                message,
            },
            _ => GatewayError::Failed {
                base_url,
                status: code,
                message,
            },
        }
    }

    pub(super) fn unexpected(&self, reason: &str) -> GatewayError {
        GatewayError::Unexpected {
            base_url: self.base_url.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn date(response: &reqwest::Response) -> Option<DateTime<Utc>> {
    let text = response.headers().get(header::DATE)?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

/// llm-proxy: names, comma-separated, the fields of a request that it takes for
/// LiteLLM's sake and does not enforce.
fn ignored(response: &reqwest::Response) -> Vec<String> {
    response
        .headers()
        .get(IGNORED_HEADER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| is_field_name(name))
        .take(MAX_IGNORED)
        .map(str::to_owned)
        .collect()
}

/// These names end up in warnings, and a gateway may be confused.
fn is_field_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The address that requests are made of. TLS takes the name to send and to
/// verify from there, so a `tls_server_name` stands in it, while connections go
/// to the host of `base_url` and the gateway sees that in `Host`.
#[derive(Debug)]
struct Target {
    url: String,
    host_header: Option<String>,
    connect_to: Option<Host<String>>,
}

impl Target {
    fn of(config: &ConfigEntry) -> Result<Self, sdk::Error> {
        let unusable = || sdk::Error::user("base_url of config is no address: write it again");
        let mut url = Url::parse(&config.base_url).map_err(|_| unusable())?;
        let host = url.host().ok_or_else(unusable)?.to_owned();
        let is_forbidden = match host {
            Host::Ipv4(ip) => resolver::is_forbidden(ip.into()),
            Host::Ipv6(ip) => resolver::is_forbidden(ip.into()),
            Host::Domain(_) => false,
        };
        if is_forbidden {
            return Err(sdk::Error::user(
                "base_url is a link-local or metadata address, which is no gateway's: write its real address",
            ));
        }
        if config.tls_server_name.is_empty() {
            return Ok(Self {
                url: config.base_url.clone(),
                host_header: None,
                connect_to: None,
            });
        }
        let host_header = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        url.set_host(Some(&config.tls_server_name))
            .map_err(|_| unusable())?;
        Ok(Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            host_header: Some(host_header),
            connect_to: Some(host),
        })
    }
}

/// The engine's one HTTP client: bounded in time, follows no redirect (which
/// would carry the admin key elsewhere), uses no proxy of the environment's.
fn http_client(config: &ConfigEntry, target: &Target) -> Result<reqwest::Client, sdk::Error> {
    let mut builder = reqwest::Client::builder()
        .timeout(config.request_timeout())
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Resolver {
            instead: target.connect_to.clone(),
        })
        .user_agent(concat!(
            "vault-plugin-secrets-litellm/",
            env!("CARGO_PKG_VERSION")
        ))
        .tls_danger_accept_invalid_certs(config.insecure_tls);
    if !config.ca_cert.trim().is_empty() {
        let pinned = reqwest::Certificate::from_pem_bundle(config.ca_cert.as_bytes())
            .map_err(|_| sdk::Error::user("ca_cert is not a list of PEM certificates"))?;
        if pinned.is_empty() {
            return Err(sdk::Error::user("ca_cert holds no PEM certificate"));
        }
        builder = builder.tls_certs_only(pinned);
    } else if config.base_url.starts_with("http://") {
        // A plain-text gateway must work on a machine without a certificate store.
        builder = builder.tls_certs_only([]);
    }
    builder
        .build()
        .map_err(|_| sdk::Error::user("the TLS settings of config are refused: check ca_cert, or install the system's certificates"))
}

/// What a call of the gateway failed of, where it got no answer.
fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer within request_timeout"
    } else if has_cause(error, |cause| cause.is::<Forbidden>()) {
        FORBIDDEN_ADDRESS
    } else if has_cause(error, is_bad_certificate) {
        BAD_CERTIFICATE
    } else if error.is_connect() {
        NO_CONNECTION
    } else {
        "the connection broke"
    }
}

fn has_cause(error: &reqwest::Error, matches: impl Fn(&(dyn Error + 'static)) -> bool) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if matches(cause) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn is_bad_certificate(cause: &(dyn Error + 'static)) -> bool {
    // An `io::Error` names not what it holds as its source, but that one's.
    let mut cause = cause;
    while let Some(held) = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        cause = held;
    }
    matches!(
        cause.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_))
    )
}

#[cfg(test)]
mod tests;
