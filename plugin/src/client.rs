//! The gateway's key API, as llm-proxy and LiteLLM both speak it. Uses only
//! calls that need no licence; answers typed results and never panics on what a
//! confused or hostile gateway sends.

use std::fmt;
use std::time::Duration;

use chrono::Utc;
use reqwest::{Method, StatusCode, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use vault_plugin_sdk as sdk;

use crate::error::GatewayError;
use crate::failpoint;
use crate::paths::config::ConfigEntry;

mod master_key;
mod refusal;
pub(crate) mod wire;

pub(crate) use master_key::MasterKey;
use wire::{GenerateAnswer, GenerateRequest, KeyList};

/// The answers we need are a few kilobytes; more is not a key API.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A key as the gateway issued it.
#[derive(Debug)]
pub(crate) struct IssuedKey {
    pub(crate) key: KeyText,
    /// SHA-256 of the key in lower-case hex: its name at the gateway.
    pub(crate) hash: String,
    /// From its creation to its expiry, both by the gateway's clock.
    pub(crate) life: Option<Duration>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) max_budget: Option<f64>,
}

/// The key itself, which leaves the engine once, in the answer of `creds`.
pub(crate) struct KeyText(String);

impl KeyText {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    Now,
    Absent,
}

/// One configured gateway. Connections are kept and shared.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base_url: String,
    public_url: String,
    request_timeout: Duration,
    master_key: MasterKey,
}

impl Client {
    /// # Errors
    /// A user error when the pinned certificates do not parse.
    pub(crate) fn new(config: &ConfigEntry) -> Result<Self, sdk::Error> {
        Ok(Self {
            http: http_client(config)?,
            base_url: config.base_url.clone(),
            public_url: config.public_url.clone(),
            request_timeout: config.request_timeout(),
            master_key: config.master_key.clone(),
        })
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(crate) fn public_url(&self) -> &str {
        &self.public_url
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Proves address and admin key.
    pub(crate) async fn verify(&self) -> Result<(), GatewayError> {
        let _: KeyList = self.call(Method::GET, "/key/list?size=1", &()).await?;
        Ok(())
    }

    pub(crate) async fn generate(
        &self,
        wanted: &GenerateRequest,
    ) -> Result<IssuedKey, GatewayError> {
        let answer: GenerateAnswer = self.call(Method::POST, "/key/generate", wanted).await?;
        failpoint::hit("creds.response_read").await;
        if !answer.key.starts_with("sk-") {
            return Err(self.unexpected("the key does not begin with sk-"));
        }
        let hash: String = Sha256::digest(answer.key.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if answer.token_id().is_some_and(|token_id| token_id != hash) {
            return Err(self.unexpected("token_id is not the key's SHA-256"));
        }
        let created_at = answer.created_at.unwrap_or_else(Utc::now);
        Ok(IssuedKey {
            life: answer
                .expires
                .map(|expires| (expires - created_at).to_std().unwrap_or_default()),
            key: KeyText(answer.key),
            hash,
            models: answer.models,
            max_budget: answer.max_budget,
        })
    }

    /// Sets the key's expiry to now plus `duration`.
    pub(crate) async fn extend(&self, hash: &str, duration: &str) -> Result<(), GatewayError> {
        let body = json!({"key": hash, "duration": duration});
        let _: serde_json::Value = self.call(Method::POST, "/key/update", &body).await?;
        Ok(())
    }

    pub(crate) async fn delete_hash(&self, hash: &str) -> Result<Deleted, GatewayError> {
        self.delete(&json!({"keys": [hash]})).await
    }

    pub(crate) async fn delete_alias(&self, alias: &str) -> Result<Deleted, GatewayError> {
        self.delete(&json!({"key_aliases": [alias]})).await
    }

    async fn delete(&self, body: &serde_json::Value) -> Result<Deleted, GatewayError> {
        match self
            .call::<wire::DeleteAnswer>(Method::POST, "/key/delete", body)
            .await
        {
            Ok(_) => Ok(Deleted::Now),
            // LiteLLM: 404 "No keys found" when none of them exists. Any other
            // 404 is an address that serves no key API, where nothing is proved.
            Err(GatewayError::Refused {
                status: 404,
                message,
                ..
            }) if message.contains("No keys found") => Ok(Deleted::Absent),
            Err(error) => Err(error),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, GatewayError> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base_url))
            .bearer_auth(self.master_key.expose());
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
        let status = response.status();
        let body = self.read(response).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|_| self.unexpected("the body is not the JSON that this call answers"))
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, GatewayError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unreachable(&error))?
        {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.unexpected("the body is over 1 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> GatewayError {
        GatewayError::Unreachable {
            base_url: self.base_url.clone(),
            reason: if error.is_timeout() {
                "no answer within request_timeout"
            } else if error.is_connect() {
                "no connection"
            } else {
                "the connection broke"
            },
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

    fn unexpected(&self, reason: &str) -> GatewayError {
        GatewayError::Unexpected {
            base_url: self.base_url.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// The engine's one HTTP client: bounded in time, follows no redirect (which
/// would carry the admin key elsewhere), uses no proxy of the environment's.
fn http_client(config: &ConfigEntry) -> Result<reqwest::Client, sdk::Error> {
    let mut builder = reqwest::Client::builder()
        .timeout(config.request_timeout())
        .redirect(redirect::Policy::none())
        .no_proxy()
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
