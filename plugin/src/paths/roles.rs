//! `roles/` and `roles/<name>`: who may call which models, for how much and
//! how long.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use vault_plugin_sdk::{
    Error, Field, FieldData, FieldType, Operation, Path, Request, Response, generic_name, get_json,
    put_json,
};

use crate::backend::State;
use crate::grant::Grant;

const LIST_SYNOPSIS: &str = "The names of the roles.";
const LIST_DESCRIPTION: &str = "Lists the roles that creds can be read for.";
const SYNOPSIS: &str = "What the keys of a role may do.";
const DESCRIPTION: &str = "A role says which models its keys may call, what each key may spend, \
and how long its lease lives. Leases that exist already keep the terms they were issued with.";

const STORAGE_PREFIX: &str = "roles/";

/// Fields of the contract that this version does not enforce. They are refused,
/// because a limit that is accepted and not enforced is worse than an error.
const NOT_YET_SUPPORTED: [&str; 6] = [
    "entity_budget",
    "entity_budget_duration",
    "role_budget",
    "role_budget_duration",
    "team_id_template",
    "user_id_template",
];

/// A stored role. Fields added later need a default, so that entries written by
/// an older version keep loading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RoleEntry {
    #[serde(flatten)]
    pub(crate) grant: Grant,
    /// Zero means the mount's default.
    pub(crate) ttl_seconds: u64,
    /// Zero means the mount's maximum.
    pub(crate) max_ttl_seconds: u64,
}

impl RoleEntry {
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }

    pub(crate) fn max_ttl(&self) -> Duration {
        Duration::from_secs(self.max_ttl_seconds)
    }
}

pub(crate) fn list_path() -> Path<State> {
    Path::new("roles/?")
        .operation(Operation::List, list)
        .operation(Operation::Update, nameless)
        .help(LIST_SYNOPSIS, LIST_DESCRIPTION)
}

pub(crate) fn path() -> Path<State> {
    Grant::declare(Path::new(format!("roles/{}", generic_name("name"))))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        .field(
            Field::new("ttl", FieldType::DurationSecond)
                .description("Life of a lease; 0 means the mount's default."),
        )
        .field(
            Field::new("max_ttl", FieldType::DurationSecond).description(
                "Longest life of a lease with all renewals; 0 means the mount's maximum.",
            ),
        )
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
    let mut answer = role.grant.answer();
    answer.insert("ttl".into(), json!(role.ttl_seconds));
    answer.insert("max_ttl".into(), json!(role.max_ttl_seconds));
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

    let grant = role.grant.settled();
    let mut response = Response::default();
    if grant.models.is_empty() {
        response =
            response.warn("models is empty: keys of this role may call every model of the gateway");
    }
    if grant.budget().is_none() {
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
    role.grant = role.grant.merged(fields)?;
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
