//! `creds/<name>`: issues a leased key for a role.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::lease::{TtlInputs, calculate_ttl};
use vault_plugin_sdk::{
    Error, Field, FieldType, LeaseOptions, Operation, Path, Request, Response, generic_name,
};

use crate::alias;
use crate::backend::State;
use crate::client::wire::GenerateRequest;
use crate::client::{Client, IssuedKey};
use crate::failpoint;
use crate::paths::roles::{self, RoleEntry};
use crate::secret_key::{self, LeaseRecord};
use crate::wal;

const SYNOPSIS: &str = "A new key for a role.";
const DESCRIPTION: &str = "Each read issues a key of its own at the gateway. The key ends with its \
lease: revoking the lease deletes it, and one that is never revoked expires by itself 60 s after \
the lease.";

pub(crate) fn path() -> Path<State> {
    Path::new(format!("creds/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        .operation_forwarded(Operation::Read, read)
        .help(SYNOPSIS, DESCRIPTION)
}

/// `creds/` without a name.
pub(crate) fn nameless_path() -> Path<State> {
    Path::new("creds/?")
        .operation(Operation::Read, nameless)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn nameless(_state: Arc<State>, _req: Request) -> Result<Option<Response>, Error> {
    Err(Error::user("name the role: read creds/<role>"))
}

async fn read(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let client = state.client(&req).await?;
    let name = req.fields.string("name");
    let role = roles::load(&req, &name)
        .await?
        .ok_or_else(|| Error::user(format!("unknown role {name:?}: write roles/{name} first")))?;
    let ttl = lease_ttl(&req, &role).await?;
    let wanted = request(&req, &role, &name, ttl);

    failpoint::hit("creds.before_wal").await;
    let entry = wal::put(&req, &wanted.key_alias, &client).await?;
    failpoint::hit("creds.after_wal").await;

    // From here to the removal of the entry every failure leaves it in place:
    // whether the key exists or not, the rollback deletes its alias.
    let issued = client.generate(&wanted).await?;
    let (ttl, mut clamped) = granted_ttl(&issued, ttl)?;
    clamped.extend(clamped_limits(&issued, &wanted));

    failpoint::hit("creds.before_wal_delete").await;
    if let Err(error) = wal::delete(&req, &entry).await {
        // The entry may still be there, and would end the key later.
        if let Err(error) = client.delete_hash(&issued.hash).await {
            tracing::warn!(key.alias = wanted.key_alias, %error, "deleting a key that could not be handed out");
        }
        return Err(error);
    }
    failpoint::hit("creds.before_reply").await;

    let lease = LeaseOptions {
        ttl,
        max_ttl: role.max_ttl(),
        renewable: true,
        ..LeaseOptions::default()
    };
    let record = LeaseRecord {
        key_hash: issued.hash.clone(),
        key_alias: wanted.key_alias.clone(),
        base_url: client.base_url().to_owned(),
    };
    let mut response = Response::leased(
        secret_key::SECRET_TYPE,
        answer(&client, &issued, &wanted, ttl),
        record.into_internal_data(),
        lease,
    );
    response.warnings = clamped;
    Ok(Some(response))
}

/// The life that Vault is going to grant, by the rule that Vault itself uses,
/// so that the key's expiry fits the lease. Vault warns of a cut by itself.
async fn lease_ttl(req: &Request, role: &RoleEntry) -> Result<Duration, Error> {
    let (ttl, _) = calculate_ttl(TtlInputs {
        system_default: req.system.default_lease_ttl().await?,
        system_max: req.system.max_lease_ttl().await?,
        backend_ttl: role.ttl(),
        backend_max_ttl: role.max_ttl(),
        now: Utc::now(),
        ..TtlInputs::default()
    })?;
    Ok(ttl)
}

fn request(req: &Request, role: &RoleEntry, name: &str, ttl: Duration) -> GenerateRequest {
    let mut metadata = role.metadata.clone();
    for (field, value) in [
        ("vault_mount", req.mount_point.as_str()),
        ("vault_role", name),
        ("vault_entity_id", req.entity_id.as_str()),
        ("vault_request_id", req.id.as_str()),
    ] {
        metadata.insert(field.into(), Value::from(value));
    }
    GenerateRequest {
        key_alias: alias::new(&role.key_alias_prefix, name),
        duration: secret_key::key_duration(ttl),
        models: role.models.clone(),
        max_budget: role.budget(),
        metadata,
        key_type: "llm_api",
    }
}

/// The lease's TTL under the expiry that the gateway granted, which an operator
/// may have bounded. Lengths are compared, never clocks.
fn granted_ttl(issued: &IssuedKey, ttl: Duration) -> Result<(Duration, Vec<String>), Error> {
    let granted = issued.life.ok_or_else(|| {
        Error::coded(502, "the gateway issued a key that never expires: such a key is not handed out; it is going to be deleted")
    })?;
    let asked = ttl + secret_key::EXPIRY_SLACK;
    // Gateways round to their own clock's resolution.
    let tolerance = Duration::from_secs(2);
    if granted > asked + tolerance {
        return Err(Error::coded(
            502,
            format!(
                "the gateway issued a key for {}s where {}s were asked: it is not handed out and is going to be deleted",
                granted.as_secs(),
                asked.as_secs()
            ),
        ));
    }
    if granted + tolerance >= asked {
        return Ok((ttl, Vec::new()));
    }
    let rest = granted.saturating_sub(secret_key::EXPIRY_SLACK).as_secs();
    if rest == 0 {
        return Err(Error::coded(
            502,
            format!(
                "the gateway lets a key live {}s only, which is less than the 60s that a key must outlive its lease by: raise its upper bound for key durations",
                granted.as_secs()
            ),
        ));
    }
    Ok((
        Duration::from_secs(rest),
        vec![format!(
            "the gateway shortened the key's life: the lease is {rest}s instead of {}s",
            ttl.as_secs()
        )],
    ))
}

/// What the gateway granted less of than was asked.
fn clamped_limits(issued: &IssuedKey, wanted: &GenerateRequest) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(models) = &issued.models
        && *models != wanted.models
    {
        warnings.push(
            "the gateway granted other models than the role names: see models in the answer".into(),
        );
    }
    if let Some(granted) = issued.max_budget
        && issued.max_budget != wanted.max_budget
    {
        warnings.push(format!(
            "the gateway granted a budget of {granted} USD instead of the role's"
        ));
    }
    warnings
}

fn answer(
    client: &Client,
    issued: &IssuedKey,
    wanted: &GenerateRequest,
    ttl: Duration,
) -> Map<String, Value> {
    let expires_at = Utc::now() + ttl;
    let mut data = Map::new();
    data.insert("key".into(), json!(issued.key.expose()));
    data.insert("key_alias".into(), json!(wanted.key_alias));
    data.insert("key_hash".into(), json!(issued.hash));
    data.insert(
        "models".into(),
        json!(issued.models.as_ref().unwrap_or(&wanted.models)),
    );
    data.insert(
        "max_budget".into(),
        json!(issued.max_budget.or(wanted.max_budget)),
    );
    data.insert(
        "expires_at".into(),
        json!(expires_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    );
    if !client.public_url().is_empty() {
        data.insert("base_url".into(), json!(client.public_url()));
    }
    data
}

#[cfg(test)]
mod tests;
