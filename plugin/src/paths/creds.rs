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
use crate::wal::Pending;

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
    let pending = Pending::begin(&state, &req, &wanted, &client).await?;
    failpoint::hit("creds.after_wal").await;

    // From here on a failure leaves the entry in place: whether the key exists
    // or not, the rollback deletes its alias.
    let issued = match client.generate(&wanted).await {
        Ok(issued) => issued,
        Err(error) => {
            if error.changed_nothing() {
                pending.done(&req).await?;
            }
            return Err(error.into());
        }
    };
    let (ttl, warnings) = match hand_out(&req, &pending, &issued, &wanted, ttl).await {
        Ok(granted) => granted,
        Err(error) => {
            take_back(&client, &issued).await;
            return Err(error);
        }
    };
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
    response.warnings = warnings;
    Ok(Some(response))
}

/// Deletes a key that is not handed out. Where that fails, the write-ahead
/// entry is still there for the rollback.
pub(crate) async fn take_back(client: &Client, issued: &IssuedKey) {
    if let Err(error) = client.delete_hash(&issued.hash).await {
        tracing::warn!(key.hash = issued.hash, %error, "a key that is not handed out could not be deleted yet");
    }
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
    let metadata = [
        ("vault_mount", req.mount_point.as_str()),
        ("vault_role", name),
        ("vault_entity_id", req.entity_id.as_str()),
        ("vault_request_id", req.id.as_str()),
    ];
    role.grant.request(
        alias::new(&role.grant.key_alias_prefix, name),
        ttl + secret_key::EXPIRY_SLACK,
        metadata
            .into_iter()
            .map(|(field, value)| (field.to_owned(), Value::from(value)))
            .collect(),
    )
}

/// Checks what was granted and forgets the write-ahead entry: the last moment
/// at which the key can still be taken back.
async fn hand_out(
    req: &Request,
    pending: &Pending,
    issued: &IssuedKey,
    wanted: &GenerateRequest,
    ttl: Duration,
) -> Result<(Duration, Vec<String>), Error> {
    let not_held = |why| {
        Error::coded(
            502,
            format!("{why}; the key is not handed out and is being deleted"),
        )
    };
    let granted = secret_key::granted_ttl(issued.life, ttl).map_err(not_held)?;
    let mut warnings = narrowed(issued, wanted).map_err(not_held)?;
    if granted < ttl {
        warnings.push(format!(
            "the gateway shortened the key's life: the lease is {}s instead of {}s",
            granted.as_secs(),
            ttl.as_secs()
        ));
    }
    if !issued.ignored.is_empty() {
        warnings.push(format!(
            "this gateway does not enforce {}",
            issued.ignored.join(", ")
        ));
    }
    if req.caller.is_gone() {
        return Err(Error::internal("the caller did not wait for the key"));
    }
    failpoint::hit("creds.before_wal_delete").await;
    pending.done(req).await?;
    Ok((granted, warnings))
}

/// Warns of what the gateway granted less of than was asked; `Err` where it
/// granted more.
pub(crate) fn narrowed(
    issued: &IssuedKey,
    wanted: &GenerateRequest,
) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    if let Some(models) = &issued.models {
        let is_bounded = !wanted.models.is_empty();
        let is_wider =
            models.is_empty() || models.iter().any(|model| !wanted.models.contains(model));
        if is_bounded && is_wider {
            return Err("the gateway granted models that the role does not name".into());
        }
        if models.len() != wanted.models.len() {
            warnings.push(
                "the gateway granted fewer models than the role names: see models in the answer"
                    .into(),
            );
        }
    }
    match (issued.max_budget, wanted.max_budget) {
        (Some(None), Some(_)) => Err("the gateway did not cap the key's spend".into()),
        (Some(Some(granted)), Some(asked)) if granted > asked => {
            Err("the gateway granted a larger budget than the role's".into())
        }
        (Some(Some(granted)), asked) if asked != Some(granted) => {
            warnings.push(format!(
                "the gateway granted a budget of {granted} USD instead of the role's"
            ));
            Ok(warnings)
        }
        _ => Ok(warnings),
    }
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
        json!(issued.max_budget.flatten().or(wanted.max_budget)),
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
