//! The gateway's key API, as llm-proxy and LiteLLM both speak it. Uses only
//! calls that need no licence; answers typed results and never panics on what a
//! confused or hostile gateway sends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vault_plugin_sdk as sdk;

use crate::error::GatewayError;
use crate::failpoint;
use crate::paths::config::ConfigEntry;

mod admin;
mod gateway;
mod list;
mod master_key;
mod refusal;
mod resolver;
mod transport;
pub(crate) mod wire;

pub(crate) use admin::{AdminGrant, OwnKey};
pub(crate) use gateway::GatewayInfo;
pub(crate) use list::{KeyPage, ListedKey};
pub(crate) use master_key::MasterKey;
use transport::{Answer, Transport};
use wire::{GenerateAnswer, GenerateRequest, KeyList, Told, UpdateRequest};

/// A key as the gateway issued it.
#[derive(Debug)]
pub(crate) struct IssuedKey {
    pub(crate) key: KeyText,
    /// SHA-256 of the key in lower-case hex: its name at the gateway.
    pub(crate) hash: String,
    /// From its creation to its expiry, both by the gateway's clock.
    pub(crate) life: Told<Duration>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) max_budget: Told<f64>,
    pub(crate) limits: [(&'static str, Option<u64>); 3],
    /// Fields that were asked for and have no effect at this gateway.
    pub(crate) ignored: Vec<String>,
}

/// The key itself. A leased one leaves the engine once, in the answer of
/// `creds`, and is stored nowhere; a static role's is stored with its role.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
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

/// The name of a key at the gateway. LiteLLM: SHA-256 of the whole key in
/// lower-case hex.
fn key_hash(key: &str) -> String {
    Sha256::digest(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    Now,
    Absent,
}

/// One configured gateway. Connections are kept and shared.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    /// By the path of a role: what the gateway said at the last issue that it
    /// does not enforce.
    ignored: Mutex<BTreeMap<String, Vec<String>>>,
    public_url: String,
    /// What the gateway last said of itself. The client ends with the
    /// configuration, so another address is asked anew.
    info: Mutex<Option<Arc<GatewayInfo>>>,
}

impl Client {
    /// # Errors
    /// A user error when the pinned certificates do not parse.
    pub(crate) fn new(config: &ConfigEntry) -> Result<Self, sdk::Error> {
        Ok(Self {
            transport: Transport::new(config)?,
            ignored: Mutex::default(),
            public_url: config.public_url.clone(),
            info: Mutex::default(),
        })
    }

    pub(crate) fn base_url(&self) -> &str {
        self.transport.base_url()
    }

    pub(crate) fn public_url(&self) -> &str {
        &self.public_url
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.transport.request_timeout()
    }

    /// Proves address and admin key.
    pub(crate) async fn verify(&self) -> Result<(), GatewayError> {
        let _: Answer<KeyList> = self
            .transport
            .call(Method::GET, "/key/list?size=1", &Value::Null)
            .await?;
        Ok(())
    }

    /// Who the gateway is and what it can do. Needs no good admin key.
    pub(crate) async fn gateway(&self) -> Result<GatewayInfo, GatewayError> {
        let info = gateway::ask(&self.transport).await?;
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(info.clone()));
        Ok(info)
    }

    /// As `gateway`, from memory where it has answered before. A failure is not
    /// remembered.
    pub(crate) async fn known_gateway(&self) -> Result<Arc<GatewayInfo>, GatewayError> {
        let known = self
            .info
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match known {
            Some(info) => Ok(info),
            None => self.gateway().await.map(Arc::new),
        }
    }

    /// LiteLLM: tells its version only to an admin key.
    pub(crate) async fn litellm_version(&self) -> Option<String> {
        gateway::litellm_version(&self.transport).await
    }

    pub(crate) async fn generate(
        &self,
        wanted: &GenerateRequest,
    ) -> Result<IssuedKey, GatewayError> {
        let told: Answer<GenerateAnswer> = self
            .transport
            .call(Method::POST, "/key/generate", wanted)
            .await?;
        let answer = told.body;
        failpoint::hit("creds.response_read").await;
        self.note_ignored(&wanted.metadata, &told.ignored);
        if !answer.key.starts_with("sk-") {
            return Err(self.transport.unexpected("the key does not begin with sk-"));
        }
        let hash = key_hash(&answer.key);
        if answer.token_id().is_some_and(|token_id| token_id != hash) {
            return Err(self
                .transport
                .unexpected("token_id is not the key's SHA-256"));
        }
        Ok(IssuedKey {
            life: self.life(answer.created_at.or(told.date), answer.expires)?,
            limits: answer.limits(),
            key: KeyText(answer.key),
            hash,
            models: answer.models,
            max_budget: answer.max_budget,
            ignored: told.ignored,
        })
    }

    /// What this gateway did not enforce of a role when it last issued a key.
    pub(crate) fn ignored(&self, role_path: &str) -> Vec<String> {
        let ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        ignored.get(role_path).cloned().unwrap_or_default()
    }

    fn note_ignored(&self, vault_metadata: &Map<String, Value>, fields: &[String]) {
        let name = vault_metadata.get("vault_role").and_then(Value::as_str);
        let path = match (name, vault_metadata.contains_key("vault_static")) {
            (Some(name), true) => format!("static-roles/{name}"),
            (Some(name), false) => format!("roles/{name}"),
            (None, _) => return,
        };
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        ignored.insert(path, fields.to_vec());
    }

    /// Sets the key's expiry to now plus `duration`, and answers the life that
    /// the gateway granted.
    pub(crate) async fn extend(
        &self,
        hash: &str,
        duration: Duration,
    ) -> Result<Told<Duration>, GatewayError> {
        let body = UpdateRequest {
            key: hash,
            duration,
        };
        let told: Answer<wire::UpdateAnswer> = self
            .transport
            .call(Method::POST, "/key/update", &body)
            .await?;
        self.life(told.body.updated_at.or(told.date), told.body.expires)
    }

    pub(crate) async fn delete_hash(&self, hash: &str) -> Result<Deleted, GatewayError> {
        self.delete(&json!({"keys": [hash]})).await
    }

    /// Deletes what of these still exists; `Absent` where none does.
    pub(crate) async fn delete_hashes(&self, hashes: &[String]) -> Result<Deleted, GatewayError> {
        self.delete(&json!({"keys": hashes})).await
    }

    pub(crate) async fn delete_alias(&self, alias: &str) -> Result<Deleted, GatewayError> {
        self.delete(&json!({"key_aliases": [alias]})).await
    }

    async fn delete(&self, body: &Value) -> Result<Deleted, GatewayError> {
        let answer: Result<Answer<wire::DeleteAnswer>, _> =
            self.transport.call(Method::POST, "/key/delete", body).await;
        match answer {
            Ok(answer) if answer.body.deleted_keys.is_empty() => Err(self
                .transport
                .unexpected("the deletion succeeded and deleted nothing")),
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

    /// From `from` to `expires`, both by the gateway's clock.
    fn life(
        &self,
        from: Option<DateTime<Utc>>,
        expires: Told<DateTime<Utc>>,
    ) -> Result<Told<Duration>, GatewayError> {
        match (from, expires) {
            (_, None) => Ok(None),
            (_, Some(None)) => Ok(Some(None)),
            (Some(from), Some(Some(expires))) => {
                Ok(Some(Some((expires - from).to_std().unwrap_or_default())))
            }
            // Vault's own clock would make the lease depend on the difference.
            (None, Some(Some(_))) => Err(self
                .transport
                .unexpected("neither the body nor a Date header tells the gateway's time")),
        }
    }
}

#[cfg(test)]
mod tests;
