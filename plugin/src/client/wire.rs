//! The bodies of the gateway's key API. LiteLLM: field names and meanings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

#[derive(Debug, Serialize)]
pub(crate) struct GenerateRequest {
    pub(crate) key_alias: String,
    /// The key's own life.
    #[serde(serialize_with = "seconds")]
    pub(crate) duration: Duration,
    /// Empty means every model.
    pub(crate) models: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_budget: Option<f64>,
    pub(crate) metadata: Map<String, Value>,
    /// `llm_api`: the key can call models and manage nothing.
    pub(crate) key_type: &'static str,
    /// All other fields; none of the names above.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// LiteLLM: a duration is a whole number with its unit.
fn seconds<S: Serializer>(duration: &Duration, output: S) -> Result<S::Ok, S::Error> {
    output.collect_str(&format_args!("{}s", duration.as_secs()))
}

/// What of the answer we rely on. Not `Debug`: it holds the key.
#[derive(Deserialize)]
pub(crate) struct GenerateAnswer {
    pub(crate) key: String,
    token_id: Option<String>,
    token: Option<String>,
    #[serde(default, deserialize_with = "told")]
    pub(crate) expires: Told<DateTime<Utc>>,
    pub(crate) created_at: Option<DateTime<Utc>>,
    pub(crate) models: Option<Vec<String>>,
    #[serde(default, deserialize_with = "told")]
    pub(crate) max_budget: Told<f64>,
    rpm_limit: Option<Value>,
    tpm_limit: Option<Value>,
    max_parallel_requests: Option<Value>,
}

/// What an answer tells of a bound: `None` where it does not name it,
/// `Some(None)` where it says that there is none.
pub(crate) type Told<T> = Option<Option<T>>;

pub(super) fn told<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Told<T>, D::Error> {
    Option::deserialize(input).map(Some)
}

impl GenerateAnswer {
    /// LiteLLM: the key's hash, as `token_id` or, in some versions, `token`.
    pub(crate) fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref().or(self.token.as_deref())
    }

    /// The limits that were granted, by name; `None` where none is told.
    pub(crate) fn limits(&self) -> [(&'static str, Option<u64>); 3] {
        let of = |limit: &Option<Value>| limit.as_ref().and_then(Value::as_u64);
        [
            ("rpm_limit", of(&self.rpm_limit)),
            ("tpm_limit", of(&self.tpm_limit)),
            ("max_parallel_requests", of(&self.max_parallel_requests)),
        ]
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct UpdateAnswer {
    #[serde(default, deserialize_with = "told")]
    pub(crate) expires: Told<DateTime<Utc>>,
    pub(crate) updated_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DeleteAnswer {
    /// As they were sent, keys and hashes or aliases.
    pub(crate) deleted_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeyList {
    #[serde(rename = "keys")]
    _keys: Vec<Value>,
}

#[derive(Debug, Serialize)]
pub(crate) struct UpdateRequest<'a> {
    /// The key's hash.
    pub(crate) key: &'a str,
    /// From now on.
    #[serde(serialize_with = "seconds")]
    pub(crate) duration: Duration,
}
