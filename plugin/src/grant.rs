//! What a key may do: the fields that roles and static roles share, from their
//! declaration to the request that asks the gateway for such a key.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{Error, Field, FieldData, FieldType, Path};

use crate::alias;
use crate::client::wire::GenerateRequest;
use crate::gating::Need;

pub(crate) mod check;
mod key_request;

const DEFAULT_ALIAS_PREFIX: &str = "vault";

/// The stored form. Fields added later need a default, so that entries written
/// by an older version keep loading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Grant {
    /// Empty means every model.
    pub(crate) models: Vec<String>,
    /// US dollars a key; zero means no cap.
    pub(crate) max_budget: f64,
    /// LiteLLM: when what was spent counts from zero again, as in `30d`; empty
    /// means never.
    pub(crate) budget_duration: String,
    /// Requests a minute.
    pub(crate) rpm_limit: Option<u64>,
    /// Tokens a minute.
    pub(crate) tpm_limit: Option<u64>,
    /// Requests at the same time.
    pub(crate) max_parallel_requests: Option<u64>,
    /// LiteLLM: `{model: {budget_limit, time_period}}`, US dollars.
    pub(crate) model_max_budget: Map<String, Value>,
    /// `{model: requests a minute}`.
    pub(crate) model_rpm_limit: Map<String, Value>,
    /// `{model: tokens a minute}`.
    pub(crate) model_tpm_limit: Map<String, Value>,
    /// Empty means every route that calls models, and none other.
    pub(crate) allowed_routes: Vec<String>,
    /// Addresses that a key may be used from, in normal form; empty means any.
    pub(crate) allowed_cidrs: Vec<String>,
    pub(crate) key_alias_prefix: String,
    /// Never holds a name that begins with `vault_`.
    pub(crate) metadata: Map<String, Value>,
    /// More fields of LiteLLM's `/key/generate`, below the named ones.
    pub(crate) key_request: Map<String, Value>,
}

impl Default for Grant {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            max_budget: 0.0,
            budget_duration: String::new(),
            rpm_limit: None,
            tpm_limit: None,
            max_parallel_requests: None,
            model_max_budget: Map::new(),
            model_rpm_limit: Map::new(),
            model_tpm_limit: Map::new(),
            allowed_routes: Vec::new(),
            allowed_cidrs: Vec::new(),
            key_alias_prefix: DEFAULT_ALIAS_PREFIX.into(),
            metadata: Map::new(),
            key_request: Map::new(),
        }
    }
}

impl Grant {
    /// Adds the fields to a path.
    pub(crate) fn declare<S: Send + Sync + 'static>(path: Path<S>) -> Path<S> {
        path
            .field(Field::new("models", FieldType::CommaStringSlice).description("Models that a key may call, comma-separated; empty means every model."))
            .field(Field::new("max_budget", FieldType::Float).description("US dollars that one key may spend; 0 means no cap."))
            .field(Field::new("budget_duration", FieldType::String).description("After how long the spend of a key counts from zero again, as in 30d (s, m, h, d, w, mo); empty means never."))
            .field(Field::new("rpm_limit", FieldType::Int64).description("Requests a minute; 0 means no limit."))
            .field(Field::new("tpm_limit", FieldType::Int64).description("Tokens a minute; 0 means no limit."))
            .field(Field::new("max_parallel_requests", FieldType::Int64).description("Requests at the same time; 0 means no limit."))
            .field(Field::new("model_max_budget", FieldType::Map).description("Budget by model: {\"gpt-5\": {\"budget_limit\": 5, \"time_period\": \"1d\"}}. LiteLLM enforces it with a licence only. Empty means none."))
            .field(Field::new("model_rpm_limit", FieldType::Map).description("Requests a minute by model: {\"gpt-5\": 10}. Empty means no limit."))
            .field(Field::new("model_tpm_limit", FieldType::Map).description("Tokens a minute by model: {\"gpt-5\": 1000}. Empty means no limit."))
            .field(Field::new("allowed_routes", FieldType::CommaStringSlice).description("Routes that a key may call, as in /v1/chat/completions; empty means all that call models. Routes that manage the gateway are refused."))
            .field(Field::new("allowed_cidrs", FieldType::CommaStringSlice).description("Addresses that a key may be used from, as in 10.0.0.0/8; empty means any. Needs a gateway that enforces it."))
            .field(Field::new("key_alias_prefix", FieldType::String).description("Beginning of each key's alias at the gateway; empty means vault."))
            .field(Field::new("metadata", FieldType::Map).description("Metadata that each key carries at the gateway; names that begin with vault_ are the engine's own. Empty means none."))
            .field(Field::new("key_request", FieldType::Map).description("More fields for the gateway's /key/generate, as JSON; a field of this path wins over the same name in here. Empty means none."))
    }

    /// This grant with the fields of a write laid over it. A field that the
    /// write leaves out stays; an empty value or zero takes its rule away.
    ///
    /// # Errors
    /// A user error that names the field and says what it must be.
    pub(crate) fn merged(&self, fields: &FieldData) -> Result<Self, Error> {
        self.laid_under(fields, |_, _, given| given)
    }

    /// As `merged`, but an object is laid over the stored one, name by name, and
    /// null takes a name away (RFC 7396).
    ///
    /// # Errors
    /// As `merged`.
    pub(crate) fn patched(&self, fields: &FieldData) -> Result<Self, Error> {
        self.laid_under(fields, |name, stored, _| {
            let stored = Map::from_iter([(name.to_owned(), Value::Object(stored.clone()))]);
            match fields.merge_patch(stored).remove(name) {
                Some(Value::Object(patched)) => patched,
                _ => Map::new(),
            }
        })
    }

    fn laid_under(
        &self,
        fields: &FieldData,
        object: impl Fn(&str, &Map<String, Value>, Map<String, Value>) -> Map<String, Value>,
    ) -> Result<Self, Error> {
        let mut grant = self.clone();
        if let Some(models) = fields.strings_opt("models") {
            grant.models = models;
        }
        if let Some(budget) = fields.float_opt("max_budget") {
            grant.max_budget = budget;
        }
        if let Some(duration) = fields.string_opt("budget_duration") {
            duration.trim().clone_into(&mut grant.budget_duration);
        }
        grant.rpm_limit = limit(fields, "rpm_limit", grant.rpm_limit)?;
        grant.tpm_limit = limit(fields, "tpm_limit", grant.tpm_limit)?;
        grant.max_parallel_requests =
            limit(fields, "max_parallel_requests", grant.max_parallel_requests)?;
        for (name, map) in [
            ("model_max_budget", &mut grant.model_max_budget),
            ("model_rpm_limit", &mut grant.model_rpm_limit),
            ("model_tpm_limit", &mut grant.model_tpm_limit),
            ("metadata", &mut grant.metadata),
            ("key_request", &mut grant.key_request),
        ] {
            if let Some(given) = fields.map_opt(name) {
                *map = object(name, map, given);
            }
        }
        if let Some(routes) = fields.strings_opt("allowed_routes") {
            grant.allowed_routes = routes;
        }
        if let Some(cidrs) = fields.strings_opt("allowed_cidrs") {
            grant.allowed_cidrs = check::cidrs("allowed_cidrs", &cidrs)?;
        }
        if let Some(prefix) = fields.string_opt("key_alias_prefix") {
            grant.key_alias_prefix = checked_prefix(prefix)?;
        }
        grant.check("")?;
        key_request::check(&grant.key_request)?;
        Ok(grant)
    }

    /// Checks the values, each named with `prefix` before it.
    fn check(&self, prefix: &str) -> Result<(), Error> {
        let name = |field: &str| format!("{prefix}{field}");
        check::names(&name("models"), &self.models)?;
        check::budget(&name("max_budget"), self.max_budget)?;
        check::duration(&name("budget_duration"), &self.budget_duration)?;
        check::model_budgets(&name("model_max_budget"), &self.model_max_budget)?;
        check::model_limits(&name("model_rpm_limit"), &self.model_rpm_limit)?;
        check::model_limits(&name("model_tpm_limit"), &self.model_tpm_limit)?;
        check::routes(&name("allowed_routes"), &self.allowed_routes)?;
        check::metadata(&name("metadata"), &self.metadata)
    }

    /// The cap to ask the gateway for. LiteLLM: a budget of 0 blocks the first
    /// call, so "no cap" is said by leaving the field out.
    pub(crate) fn budget(&self) -> Option<f64> {
        (self.max_budget > 0.0).then_some(self.max_budget)
    }

    /// What a read answers: everything that was written.
    pub(crate) fn answer(&self) -> Map<String, Value> {
        let fields = json!({
            "models": self.models,
            "max_budget": self.max_budget,
            "budget_duration": self.budget_duration,
            "rpm_limit": self.rpm_limit.unwrap_or_default(),
            "tpm_limit": self.tpm_limit.unwrap_or_default(),
            "max_parallel_requests": self.max_parallel_requests.unwrap_or_default(),
            "model_max_budget": self.model_max_budget,
            "model_rpm_limit": self.model_rpm_limit,
            "model_tpm_limit": self.model_tpm_limit,
            "allowed_routes": self.allowed_routes,
            "allowed_cidrs": self.allowed_cidrs,
            "key_alias_prefix": self.key_alias_prefix,
            "metadata": self.metadata,
            "key_request": self.key_request,
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The fields that need something beyond LiteLLM's contract, each with the
    /// feature that a gateway must name in its readiness answer.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let grant = self.settled();
        let mut needs = Vec::new();
        if !grant.allowed_cidrs.is_empty() {
            needs.push(("allowed_cidrs", "allowed_cidrs"));
        }
        if !grant.model_max_budget.is_empty() {
            needs.push(("model_max_budget", "model_max_budget"));
        }
        needs
    }

    /// The fields that a request of this grant sets beyond those that every
    /// request has.
    pub(crate) fn sets(&self) -> BTreeSet<String> {
        let request = self.request(String::new(), Duration::ZERO, Map::new());
        request.more.into_iter().map(|(field, _)| field).collect()
    }

    /// This grant with the named fields that only `key_request` sets.
    pub(crate) fn settled(&self) -> Self {
        key_request::settled(self)
    }

    /// The body that asks the gateway for a key of this grant, which lives for
    /// `duration`. Named fields win over `key_request`, and the engine's own
    /// `vault_*` metadata over all.
    pub(crate) fn request(
        &self,
        key_alias: String,
        duration: Duration,
        vault_metadata: Map<String, Value>,
    ) -> GenerateRequest {
        let grant = self.settled();
        let max_budget = grant.budget();
        let mut more = grant.key_request;
        for (name, value) in [
            ("budget_duration", json!(grant.budget_duration)),
            ("rpm_limit", json!(grant.rpm_limit)),
            ("tpm_limit", json!(grant.tpm_limit)),
            ("max_parallel_requests", json!(grant.max_parallel_requests)),
            ("model_max_budget", Value::Object(grant.model_max_budget)),
            ("model_rpm_limit", Value::Object(grant.model_rpm_limit)),
            ("model_tpm_limit", Value::Object(grant.model_tpm_limit)),
            ("allowed_routes", json!(grant.allowed_routes)),
            ("allowed_cidrs", json!(grant.allowed_cidrs)),
        ] {
            if says_something(&value) {
                more.insert(name.to_owned(), value);
            }
        }
        let mut metadata = grant.metadata;
        metadata.extend(vault_metadata);
        GenerateRequest {
            key_alias,
            duration,
            // LiteLLM: the type llm_api replaces allowed_routes, so a key with
            // routes of its own, all of which call models, goes without it.
            key_type: if more.contains_key("allowed_routes") {
                "default"
            } else {
                "llm_api"
            },
            models: grant.models,
            max_budget,
            metadata,
            more,
        }
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn limit(fields: &FieldData, name: &str, stored: Option<u64>) -> Result<Option<u64>, Error> {
    let Some(given) = fields.int_opt(name) else {
        return Ok(stored);
    };
    match u64::try_from(given) {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => Err(Error::user(format!(
            "{name} must be a whole number, 0 (no limit) or more"
        ))),
    }
}

fn checked_prefix(prefix: String) -> Result<String, Error> {
    if prefix.is_empty() {
        return Ok(DEFAULT_ALIAS_PREFIX.into());
    }
    if !alias::is_valid_prefix(&prefix) {
        return Err(Error::user(
            "key_alias_prefix must be 1 to 64 letters, digits, dashes or underscores",
        ));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests;
