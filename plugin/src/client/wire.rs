//! The bodies of the gateway's key API. LiteLLM: field names and meanings.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Serialize)]
pub(crate) struct GenerateRequest {
    pub(crate) key_alias: String,
    pub(crate) duration: String,
    /// Empty means every model.
    pub(crate) models: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_budget: Option<f64>,
    pub(crate) metadata: Map<String, Value>,
    /// `llm_api`: the key can call models and manage nothing.
    pub(crate) key_type: &'static str,
}

/// What of the answer we rely on. Not `Debug`: it holds the key.
#[derive(Deserialize)]
pub(crate) struct GenerateAnswer {
    pub(crate) key: String,
    token_id: Option<String>,
    token: Option<String>,
    pub(crate) expires: Option<DateTime<Utc>>,
    pub(crate) created_at: Option<DateTime<Utc>>,
    pub(crate) models: Option<Vec<String>>,
    pub(crate) max_budget: Option<f64>,
}

impl GenerateAnswer {
    /// LiteLLM: the key's hash, as `token_id` or, in some versions, `token`.
    pub(crate) fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref().or(self.token.as_deref())
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct DeleteAnswer {
    #[serde(rename = "deleted_keys")]
    _deleted_keys: Vec<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeyList {
    #[serde(rename = "keys")]
    _keys: Vec<Value>,
}
