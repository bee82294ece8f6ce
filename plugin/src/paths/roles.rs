//! `roles/` and `roles/<name>`: who may call which models, for how much and
//! how long.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{
    Error, Field, FieldData, FieldType, Operation, Path, Request, Response, generic_name, get_json,
    put_json,
};

use crate::alias;
use crate::backend::State;

const LIST_SYNOPSIS: &str = "The names of the roles.";
const LIST_DESCRIPTION: &str = "Lists the roles that creds can be read for.";
const SYNOPSIS: &str = "What the keys of a role may do.";
const DESCRIPTION: &str = "A role says which models its keys may call, what each key may spend, \
and how long its lease lives. Leases that exist already keep the terms they were issued with.";

const STORAGE_PREFIX: &str = "roles/";
const DEFAULT_ALIAS_PREFIX: &str = "vault";

/// The engine's own metadata fields begin with this; a role cannot set them.
const RESERVED_METADATA_PREFIX: &str = "vault_";

/// Fields of the contract that this version does not enforce. They are refused,
/// because a limit that is accepted and not enforced is worse than an error.
const NOT_YET_SUPPORTED: [&str; 16] = [
    "allowed_cidrs",
    "allowed_routes",
    "budget_duration",
    "entity_budget",
    "entity_budget_duration",
    "key_request",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "role_budget",
    "role_budget_duration",
    "rpm_limit",
    "team_id_template",
    "tpm_limit",
    "user_id_template",
];

/// A stored role. Fields added later need a default, so that entries written by
/// an older version keep loading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RoleEntry {
    /// Empty means every model.
    pub(crate) models: Vec<String>,
    /// US dollars a key; zero means no cap.
    pub(crate) max_budget: f64,
    /// Zero means the mount's default.
    pub(crate) ttl_seconds: u64,
    /// Zero means the mount's maximum.
    pub(crate) max_ttl_seconds: u64,
    pub(crate) key_alias_prefix: String,
    pub(crate) metadata: Map<String, Value>,
}

impl Default for RoleEntry {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            max_budget: 0.0,
            ttl_seconds: 0,
            max_ttl_seconds: 0,
            key_alias_prefix: DEFAULT_ALIAS_PREFIX.into(),
            metadata: Map::new(),
        }
    }
}

impl RoleEntry {
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }

    pub(crate) fn max_ttl(&self) -> Duration {
        Duration::from_secs(self.max_ttl_seconds)
    }

    /// The cap to ask the gateway for. LiteLLM: a budget of 0 blocks the first
    /// call, so "no cap" is said by leaving the field out.
    pub(crate) fn budget(&self) -> Option<f64> {
        (self.max_budget > 0.0).then_some(self.max_budget)
    }
}

pub(crate) fn list_path() -> Path<State> {
    Path::new("roles/?")
        .operation(Operation::List, list)
        .operation(Operation::Update, nameless)
        .help(LIST_SYNOPSIS, LIST_DESCRIPTION)
}

pub(crate) fn path() -> Path<State> {
    Path::new(format!("roles/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        .field(Field::new("models", FieldType::CommaStringSlice).description("Models that a key may call, comma-separated; empty means every model."))
        .field(Field::new("max_budget", FieldType::Float).description("US dollars that one key may spend; 0 means no cap."))
        .field(Field::new("ttl", FieldType::DurationSecond).description("Life of a lease; 0 means the mount's default."))
        .field(Field::new("max_ttl", FieldType::DurationSecond).description("Longest life of a lease with all renewals; 0 means the mount's maximum."))
        .field(Field::new("key_alias_prefix", FieldType::String).description("Beginning of each key's alias at the gateway (default vault)."))
        .field(Field::new("metadata", FieldType::Map).description("Metadata that each key carries at the gateway; names that begin with vault_ are the engine's own."))
        .operation(Operation::Read, read)
        .operation_forwarded(Operation::Create, write)
        .operation_forwarded(Operation::Update, write)
        .operation_forwarded(Operation::Delete, delete)
        .exists(exists)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn list(_state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let names = req.storage.list(STORAGE_PREFIX).await?;
    Ok(Some(Response::list(names)))
}

async fn nameless(_state: Arc<State>, _req: Request) -> Result<Option<Response>, Error> {
    Err(Error::user("name the role: write roles/<name>"))
}

async fn exists(_state: Arc<State>, req: Request) -> Result<bool, Error> {
    Ok(load(&req, &req.fields.string("name")).await?.is_some())
}

async fn read(_state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let Some(role) = load(&req, &req.fields.string("name")).await? else {
        return Ok(None);
    };
    let answer = Map::from_iter([
        ("models".to_owned(), json!(role.models)),
        ("max_budget".to_owned(), json!(role.max_budget)),
        ("ttl".to_owned(), json!(role.ttl_seconds)),
        ("max_ttl".to_owned(), json!(role.max_ttl_seconds)),
        ("key_alias_prefix".to_owned(), json!(role.key_alias_prefix)),
        ("metadata".to_owned(), json!(role.metadata)),
    ]);
    Ok(Some(Response::data(answer)))
}

async fn write(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    if let Some(field) = NOT_YET_SUPPORTED
        .iter()
        .find(|field| req.data.contains_key(**field))
    {
        return Err(Error::user(format!(
            "{field} is not yet supported by this version of the engine: leave it out"
        )));
    }
    let _writing = state.writing.lock().await;
    let stored = load(&req, &name).await?.unwrap_or_default();
    let role = merged(stored, &req.fields)?;
    put_json(req.storage.as_ref(), &storage_key(&name), &role).await?;

    let mut response = Response::default();
    if role.models.is_empty() {
        response =
            response.warn("models is empty: keys of this role may call every model of the gateway");
    }
    if role.budget().is_none() {
        response =
            response.warn("max_budget is not set: keys of this role may spend without a cap");
    }
    Ok((!response.warnings.is_empty()).then_some(response))
}

async fn delete(_state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    req.storage.delete(&storage_key(&name)).await?;
    Ok(None)
}

/// The stored role with the fields of an update laid over it.
fn merged(mut role: RoleEntry, fields: &FieldData) -> Result<RoleEntry, Error> {
    if let Some(models) = fields.strings_opt("models") {
        if models.iter().any(String::is_empty) {
            return Err(Error::user(
                "models holds an empty name: remove the stray comma",
            ));
        }
        role.models = models;
    }
    if let Some(budget) = fields.float_opt("max_budget") {
        if !budget.is_finite() || budget < 0.0 {
            return Err(Error::user(
                "max_budget must be a number of US dollars, 0 (no cap) or more",
            ));
        }
        role.max_budget = budget;
    }
    if let Some(ttl) = fields.duration_opt("ttl") {
        role.ttl_seconds = ttl.as_secs();
    }
    if let Some(max_ttl) = fields.duration_opt("max_ttl") {
        role.max_ttl_seconds = max_ttl.as_secs();
    }
    if role.max_ttl_seconds > 0 && role.ttl_seconds > role.max_ttl_seconds {
        return Err(Error::user(format!(
            "ttl ({}s) must not be longer than max_ttl ({}s)",
            role.ttl_seconds, role.max_ttl_seconds
        )));
    }
    if let Some(prefix) = fields.string_opt("key_alias_prefix") {
        if !alias::is_valid_prefix(&prefix) {
            return Err(Error::user(
                "key_alias_prefix must be 1 to 64 letters, digits, dashes or underscores",
            ));
        }
        role.key_alias_prefix = prefix;
    }
    if let Some(metadata) = fields.map_opt("metadata") {
        if let Some(name) = metadata
            .keys()
            .find(|name| name.starts_with(RESERVED_METADATA_PREFIX))
        {
            return Err(Error::user(format!(
                "metadata must not set {name}: names that begin with vault_ are the engine's own"
            )));
        }
        role.metadata = metadata;
    }
    Ok(role)
}

pub(crate) async fn load(req: &Request, name: &str) -> Result<Option<RoleEntry>, Error> {
    get_json(req.storage.as_ref(), &storage_key(name)).await
}

fn storage_key(name: &str) -> String {
    format!("{STORAGE_PREFIX}{name}")
}

#[cfg(test)]
mod tests;
