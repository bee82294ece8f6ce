//! `creds/<name>`: issues a leased key for a role.
//!
//! Configuration and role come from memory. What a warm request waits for:
//! whether this node is active, the mount's two TTLs (and identity, where a
//! template asks for it) at the same time, the write-ahead entry's put, the
//! gateway, the entry's delete. Two of these are storage. A role that needs
//! more than LiteLLM's contract also asks, once per configuration, who the
//! gateway is.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::lease::{TtlInputs, calculate_ttl};
use vault_plugin_sdk::{
    Error, Field, FieldType, LeaseOptions, Operation, Path, Request, Response, generic_name,
};

use crate::backend::State;
use crate::client::wire::GenerateRequest;
use crate::client::{Client, IssuedKey};
use crate::failpoint;
use crate::gating;
use crate::paths::roles::RoleEntry;
use crate::secret_key::{self, LeaseRecord};
use crate::wal::Pending;

pub(crate) mod granted;
mod owner;
mod terms;
mod wanted;

use terms::Terms;

const SYNOPSIS: &str = "A new key for a role.";
const DESCRIPTION: &str = "Each read issues a key of its own at the gateway. The key ends with its \
lease: revoking the lease deletes it, and one that is never revoked expires by itself 60 s after \
the lease. A request can ask for less than the role allows, by any of the fields; more than the \
role allows is an error.";

pub(crate) fn path() -> Path<State> {
    Path::new(format!("creds/{}", generic_name("name")))
        .field(Field::new("name", FieldType::LowerCaseString).description("Name of the role."))
        .field(
            Field::new("ttl", FieldType::DurationSecond)
                .description("Life of this lease, at most the role's or the mount's max_ttl."),
        )
        .field(
            Field::new("models", FieldType::CommaStringSlice)
                .description("Models that this key may call, each one of the role's."),
        )
        .field(
            Field::new("max_budget", FieldType::Float)
                .description("US dollars that this key may spend, at most the role's."),
        )
        .field(
            Field::new("rpm_limit", FieldType::Int64)
                .description("Requests a minute, at most the role's."),
        )
        .field(
            Field::new("tpm_limit", FieldType::Int64)
                .description("Tokens a minute, at most the role's."),
        )
        .field(
            Field::new("max_parallel_requests", FieldType::Int64)
                .description("Requests at the same time, at most the role's."),
        )
        .field(
            Field::new("metadata", FieldType::Map)
                .description("Texts, numbers and booleans beside the role's metadata, under names that neither the role sets nor the gateway reads."),
        )
        .operation_forwarded(Operation::Read, issue)
        .operation_forwarded(Operation::Update, issue)
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

async fn issue(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let client = state.client(&req).await?;
    let name = req.fields.string("name");
    let role =
        state.roles.load(&req, &name).await?.ok_or_else(|| {
            Error::user(format!("unknown role {name:?}: write roles/{name} first"))
        })?;
    let terms = Terms::of(&role, &req.fields)?;
    let needs = role.needs();
    let (ttl, owner, ()) = tokio::try_join!(
        lease_ttl(&req, &role, terms.ttl),
        owner::resolved(&req, &role),
        gating::still(&client, &needs)
    )?;
    let wanted = wanted::request(&req, &role, &name, &terms, &owner, ttl)?;

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
        ttl_seconds: Some(terms.ttl.unwrap_or_else(|| role.ttl()).as_secs()),
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
/// so that the key's expiry fits the lease. Vault warns of a cut of the role's
/// by itself; more than the maximum that a caller asks for is an error.
async fn lease_ttl(
    req: &Request,
    role: &RoleEntry,
    asked: Option<Duration>,
) -> Result<Duration, Error> {
    let backend_ttl = asked.unwrap_or_else(|| role.ttl());
    // Each question costs a round trip; the mount's default matters only where
    // nothing else says how long.
    let system_default = async {
        if backend_ttl.is_zero() {
            req.system.default_lease_ttl().await
        } else {
            Ok(Duration::ZERO)
        }
    };
    let (system_default, system_max) =
        tokio::try_join!(system_default, req.system.max_lease_ttl())?;
    let (ttl, _) = calculate_ttl(TtlInputs {
        system_default,
        system_max,
        backend_ttl,
        backend_max_ttl: role.max_ttl(),
        now: Utc::now(),
        ..TtlInputs::default()
    })?;
    if asked.is_some_and(|asked| asked > ttl) {
        return Err(Error::user(format!(
            "ttl must be at most {}s, the maximum of the role or of the mount",
            ttl.as_secs()
        )));
    }
    Ok(ttl)
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
    let mut warnings = granted::warnings(issued, wanted).map_err(not_held)?;
    if granted < ttl {
        warnings.push(format!(
            "the gateway shortened the key's life: the lease is {}s instead of {}s",
            granted.as_secs(),
            ttl.as_secs()
        ));
    }
    if req.caller.is_gone() {
        return Err(Error::internal("the caller did not wait for the key"));
    }
    failpoint::hit("creds.before_wal_delete").await;
    pending.done(req).await?;
    Ok((granted, warnings))
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
