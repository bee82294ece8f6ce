//! `roles/` and `roles/<name>`: who may call which models, for how much and
//! how long.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vault_plugin_sdk::{
    Error, Field, FieldData, FieldType, Operation, Path, Request, Response, generic_name, get_json,
    put_json,
};

use crate::backend::State;
use crate::gating::{self, Need};
use crate::grant::{Grant, check};
use crate::template::Template;

mod cache;

pub(crate) use cache::RoleCache;

const LIST_SYNOPSIS: &str = "The names of the roles.";
const LIST_DESCRIPTION: &str = "Lists the roles that creds can be read for.";
const SYNOPSIS: &str = "What the keys of a role may do.";
const DESCRIPTION: &str = "A role says which models its keys may call, what each key and all keys \
together may spend, and how long a lease lives. Leases that exist already keep the terms they were \
issued with. A field that a write leaves out stays as it is; an empty value or 0 takes its rule \
away. A patch does the same with null, and changes objects name by name.";

pub(crate) const STORAGE_PREFIX: &str = "roles/";

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
    /// Empty means none; so do the other texts here.
    pub(crate) user_id_template: String,
    pub(crate) team_id_template: String,
    /// US dollars that all keys of this role spend together; zero means no cap.
    pub(crate) role_budget: f64,
    pub(crate) role_budget_duration: String,
    /// US dollars that all keys of one identity entity spend together at this
    /// mount; zero means no cap.
    pub(crate) entity_budget: f64,
    pub(crate) entity_budget_duration: String,
}

impl RoleEntry {
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }

    pub(crate) fn max_ttl(&self) -> Duration {
        Duration::from_secs(self.max_ttl_seconds)
    }

    pub(crate) fn needs(&self) -> Vec<Need> {
        let mut needs = self.grant.needs();
        if self.role_budget > 0.0 {
            needs.push(("role_budget", "shared_budgets"));
            if !self.role_budget_duration.is_empty() {
                needs.push(("role_budget_duration", "shared_budget_windows"));
            }
        }
        if self.entity_budget > 0.0 {
            needs.push(("entity_budget", "shared_budgets"));
            if !self.entity_budget_duration.is_empty() {
                needs.push(("entity_budget_duration", "shared_budget_windows"));
            }
        }
        needs
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
        .field(Field::new("ttl", FieldType::DurationSecond).description("Life of a lease; 0 means the mount's default."))
        .field(Field::new("max_ttl", FieldType::DurationSecond).description("Longest life of a lease with all renewals; 0 means the mount's maximum."))
        .field(Field::new("user_id_template", FieldType::String).description("User that each key belongs to at the gateway, as text or with the caller's identity in it: {{identity.entity.name}}. Who can't be told gets no key. Empty means none."))
        .field(Field::new("team_id_template", FieldType::String).description("Team that each key belongs to at the gateway, as user_id_template: {{identity.groups.names.research.metadata.team}}. Empty means none."))
        .field(Field::new("role_budget", FieldType::Float).description("US dollars that all keys of this role spend together, whatever is issued anew; 0 means no cap. Needs a gateway with shared budgets."))
        .field(Field::new("role_budget_duration", FieldType::String).description("After how long the role's spend counts from zero again, as in 30d; empty means never."))
        .field(Field::new("entity_budget", FieldType::Float).description("US dollars that all keys of one identity entity spend together, over all roles of this mount; 0 means no cap. A token without an entity gets no key. Needs a gateway with shared budgets."))
        .field(Field::new("entity_budget_duration", FieldType::String).description("After how long an entity's spend counts from zero again, as in 30d; empty means never."))
        .operation(Operation::Read, read)
        .operation_forwarded(Operation::Create, write)
        .operation_forwarded(Operation::Update, write)
        .operation_forwarded(Operation::Patch, patch)
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
    for (name, value) in [
        ("ttl", json!(role.ttl_seconds)),
        ("max_ttl", json!(role.max_ttl_seconds)),
        ("user_id_template", json!(role.user_id_template)),
        ("team_id_template", json!(role.team_id_template)),
        ("role_budget", json!(role.role_budget)),
        ("role_budget_duration", json!(role.role_budget_duration)),
        ("entity_budget", json!(role.entity_budget)),
        ("entity_budget_duration", json!(role.entity_budget_duration)),
    ] {
        answer.insert(name.to_owned(), value);
    }
    Ok(Some(Response::data(answer)))
}

async fn write(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    save(&state, &req, |stored, fields| {
        let stored = stored.unwrap_or_default();
        let grant = stored.grant.merged(fields)?;
        merged(RoleEntry { grant, ..stored }, fields)
    })
    .await
}

async fn patch(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    save(&state, &req, |stored, fields| {
        let stored = stored.ok_or_else(|| Error::coded(404, "there is no such role to patch"))?;
        let stored = without_nulls(stored, fields)?;
        let grant = stored.grant.patched(fields)?;
        merged(RoleEntry { grant, ..stored }, fields)
    })
    .await
}

async fn delete(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    let _writing = state.writing.lock().await;
    let deleted = req.storage.delete(&storage_key(&name)).await;
    state.roles.forget(&name);
    deleted?;
    Ok(None)
}

/// Saves what `change` makes of the stored role.
async fn save(
    state: &State,
    req: &Request,
    change: fn(Option<RoleEntry>, &FieldData) -> Result<RoleEntry, Error>,
) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    check::role_name(&name)?;
    // The gateway is asked before the lock is taken, because it may be slow,
    // and only about what this write itself says.
    let wanted = change(load(req, &name).await?, &req.fields)?;
    let said = |field| req.fields.is_set(field) || req.fields.is_set("key_request");
    let mut needs = wanted.needs();
    needs.retain(|(field, _)| said(field));
    gating::require(state, req, &needs).await?;
    let without_effect = without_effect(state, req, &name, &wanted).await;

    let _writing = state.writing.lock().await;
    let role = change(load(req, &name).await?, &req.fields)?;
    let saved = put_json(req.storage.as_ref(), &storage_key(&name), &role).await;
    // Also after a failure: nobody knows whether storage took it.
    state.roles.forget(&name);
    saved?;
    let mut warnings = warnings(&role);
    warnings.extend(without_effect);
    if role.entity_budget > 0.0 && req.fields.is_set("entity_budget") {
        warnings.extend(other_bound(req, &name, &role).await?);
    }
    Ok((!warnings.is_empty()).then(|| Response {
        warnings,
        ..Response::default()
    }))
}

fn warnings(role: &RoleEntry) -> Vec<String> {
    let grant = role.grant.settled();
    let mut warnings = Vec::new();
    if grant.models.is_empty() {
        warnings.push("models is empty: keys of this role may call every model of the gateway");
    }
    if grant.budget().is_none() && role.role_budget == 0.0 && role.entity_budget == 0.0 {
        warnings.push("max_budget is not set: keys of this role may spend without a cap");
    }
    for (budget, duration, text) in [
        (
            grant.max_budget,
            &grant.budget_duration,
            "budget_duration has no effect without max_budget",
        ),
        (
            role.role_budget,
            &role.role_budget_duration,
            "role_budget_duration has no effect without role_budget",
        ),
        (
            role.entity_budget,
            &role.entity_budget_duration,
            "entity_budget_duration has no effect without entity_budget",
        ),
    ] {
        if budget == 0.0 && !duration.is_empty() {
            warnings.push(text);
        }
    }
    warnings.into_iter().map(str::to_owned).collect()
}

/// What the gateway says that it does not enforce, of what the role asks for:
/// of itself, and where it does not tell, at the role's last issue. A gateway
/// that can't be asked keeps no role from being written.
async fn without_effect(state: &State, req: &Request, name: &str, role: &RoleEntry) -> Vec<String> {
    let mut sets = role.grant.sets();
    if sets.is_empty() {
        return Vec::new();
    }
    let Ok(client) = state.client(req).await else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if let Ok(gateway) = client.known_gateway().await {
        let ignored: Vec<String> = sets.intersection(&gateway.ignored).cloned().collect();
        sets.retain(|field| !ignored.contains(field));
        if !ignored.is_empty() {
            let ignored = ignored.join(", ");
            warnings.push(format!("the gateway does not enforce {ignored}"));
        }
    }
    let mut ignored = client.ignored(&format!("{STORAGE_PREFIX}{name}"));
    ignored.retain(|field| sets.contains(field));
    if !ignored.is_empty() {
        let ignored = ignored.join(", ");
        warnings.push(format!(
            "the gateway did not enforce {ignored} when it last issued a key of this role"
        ));
    }
    warnings
}

/// An entity has one account at a mount, and the gateway keeps the definition
/// that came last: two roles that define it differently take turns.
async fn other_bound(req: &Request, name: &str, role: &RoleEntry) -> Result<Option<String>, Error> {
    for other in req.storage.list(STORAGE_PREFIX).await? {
        if other == name {
            continue;
        }
        let Some(entry) = load(req, &other).await? else {
            continue;
        };
        let is_same = (entry.entity_budget, &entry.entity_budget_duration)
            == (role.entity_budget, &role.entity_budget_duration);
        if entry.entity_budget > 0.0 && !is_same {
            return Ok(Some(format!(
                "the role {other} defines another entity_budget: an entity has one account at this mount, and the key issued last defines it. Write the same entity_budget and entity_budget_duration to both"
            )));
        }
    }
    Ok(None)
}

/// The role with the fields of a write laid over it; its grant is merged
/// already.
fn merged(mut role: RoleEntry, fields: &FieldData) -> Result<RoleEntry, Error> {
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
    for (name, text) in [
        ("user_id_template", &mut role.user_id_template),
        ("team_id_template", &mut role.team_id_template),
    ] {
        if let Some(given) = fields.string_opt(name) {
            Template::parse(&given).map_err(|why| Error::user(format!("{name} {why}")))?;
            *text = given;
        }
    }
    for (name, budget) in [
        ("role_budget", &mut role.role_budget),
        ("entity_budget", &mut role.entity_budget),
    ] {
        if let Some(given) = fields.float_opt(name) {
            check::budget(name, given)?;
            *budget = given;
        }
    }
    for (name, duration) in [
        ("role_budget_duration", &mut role.role_budget_duration),
        ("entity_budget_duration", &mut role.entity_budget_duration),
    ] {
        if let Some(given) = fields.string_opt(name) {
            check::duration(name, given.trim())?;
            given.trim().clone_into(duration);
        }
    }
    Ok(role)
}

/// RFC 7396: null takes a field away. All fields have a default.
fn without_nulls(role: RoleEntry, fields: &FieldData) -> Result<RoleEntry, Error> {
    let unreadable = |_| Error::internal("the stored role does not encode");
    let mut entry = serde_json::to_value(role).map_err(unreadable)?;
    if let Some(entry) = entry.as_object_mut() {
        entry.retain(|stored, _| {
            let name = stored.strip_suffix("_seconds").unwrap_or(stored);
            fields.raw(name) != Some(&Value::Null)
        });
    }
    serde_json::from_value(entry).map_err(unreadable)
}

pub(crate) async fn names(req: &Request) -> Result<Vec<String>, Error> {
    Ok(req.storage.list(STORAGE_PREFIX).await?)
}

/// From storage, never from memory.
pub(crate) async fn load(req: &Request, name: &str) -> Result<Option<RoleEntry>, Error> {
    get_json(req.storage.as_ref(), &storage_key(name)).await
}

fn storage_key(name: &str) -> String {
    format!("{STORAGE_PREFIX}{name}")
}

#[cfg(test)]
mod tests;
