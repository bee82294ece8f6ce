//! The secret type `litellm_key`: what a lease remembers of its key, and how
//! the key is renewed and ended. Needs neither the role nor the key itself.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vault_plugin_sdk::lease::{TtlInputs, calculate_ttl};
use vault_plugin_sdk::{Error, LeaseOptions, Request, Response, Secret, SecretType};

use crate::backend::State;
use crate::client::Deleted;
use crate::client::wire::Told;
use crate::error::GatewayError;

pub(crate) const SECRET_TYPE: &str = "litellm_key";

/// How long a key outlives its lease: Vault revokes when the lease ends, and a
/// revocation that is late or lost must not be cut short by the key's expiry,
/// nor may the key live on for long when Vault is gone.
pub(crate) const EXPIRY_SLACK: Duration = Duration::from_secs(60);

/// The lease's TTL under the life that the gateway granted its key when `ttl`
/// and the slack were asked for. Lengths are compared, never clocks. A shorter
/// life shortens the lease; `Err` says why a key must not be held at all.
pub(crate) fn granted_ttl(life: Told<Duration>, ttl: Duration) -> Result<Duration, String> {
    let Some(life) = life else {
        return Ok(ttl);
    };
    let Some(life) = life else {
        return Err("the gateway gave the key no expiry".into());
    };
    let asked = ttl + EXPIRY_SLACK;
    // Gateways round to their own clock's resolution.
    let tolerance = Duration::from_secs(2);
    if life > asked + tolerance {
        return Err(format!(
            "the gateway gave the key a life of {}s where {}s were asked",
            life.as_secs(),
            asked.as_secs()
        ));
    }
    if life + tolerance >= asked {
        return Ok(ttl);
    }
    match life.saturating_sub(EXPIRY_SLACK).as_secs() {
        0 => Err(format!(
            "the gateway lets a key live {}s only, and a key must outlive its lease by 60s: raise the gateway's upper bound for durations",
            life.as_secs()
        )),
        rest => Ok(Duration::from_secs(rest)),
    }
}

/// A lease's internal data: enough to find the key again, nothing secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    /// SHA-256 of the key, as the gateway files it.
    pub(crate) key_hash: String,
    pub(crate) key_alias: String,
    /// The gateway that issued the key.
    pub(crate) base_url: String,
    /// The TTL that a renewal without an increment asks for; 0 means the
    /// mount's default. Leases of older versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_seconds: Option<u64>,
}

impl LeaseRecord {
    pub(crate) fn into_internal_data(self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(record)) => record,
            _ => Map::new(),
        }
    }

    fn of(secret: &Secret) -> Result<Self, Error> {
        serde_json::from_value(Value::Object(secret.internal_data.clone())).map_err(|_| {
            Error::internal("the lease's internal data is not a record of this engine")
        })
    }
}

pub(crate) fn secret_type() -> SecretType<State> {
    SecretType::new(SECRET_TYPE).renew(renew).revoke(revoke)
}

async fn renew(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let secret = lease_of(&req)?;
    let record = LeaseRecord::of(secret)?;
    // Vault reckons the same again and warns of a cut by itself.
    let (ttl, _) = calculate_ttl(TtlInputs {
        system_default: req.system.default_lease_ttl().await?,
        system_max: req.system.max_lease_ttl().await?,
        increment: secret.lease.increment,
        // Not the lease's, which is what the last renewal was granted: a short
        // one would make all later ones short.
        backend_ttl: record
            .ttl_seconds
            .map_or(secret.lease.ttl, Duration::from_secs),
        backend_max_ttl: secret.lease.max_ttl,
        issue_time: secret.lease.issue_time,
        now: Utc::now(),
        ..TtlInputs::default()
    })?;
    let client = state.client(&req).await?;
    // The key first: were Vault told first, a crash in between would leave a
    // lease that outlives its key.
    let life = match client.extend(&record.key_hash, ttl + EXPIRY_SLACK).await {
        Err(GatewayError::Refused { status: 404, .. }) if record.base_url != client.base_url() => {
            return Err(elsewhere(&record, client.base_url(), "renewed"));
        }
        // The same words in capitals come from an address without a key API.
        Err(GatewayError::Refused {
            status: 404,
            message,
            ..
        }) if message.contains("not found") => {
            return Err(Error::user(format!(
                "the key is gone from the gateway at {}, so its lease can't be renewed: read creds again for a new one",
                record.base_url
            )));
        }
        extended => extended?,
    };
    let granted = granted_ttl(life, ttl).map_err(|why| Error::coded(502, why))?;
    if granted < ttl && !secret.lease.increment.is_zero() {
        // Vault grants what the caller asked for, whatever is answered here.
        return Err(Error::user(format!(
            "the gateway lets the key live no longer than that: renew with an increment of at most {}s",
            granted.as_secs()
        )));
    }
    Ok(Some(Response {
        // No data: Vault then drops its own copy of the key from the lease.
        data: None,
        secret: Some(Secret {
            internal_data: secret.internal_data.clone(),
            lease: LeaseOptions {
                ttl: granted,
                ..secret.lease.clone()
            },
            ..Secret::default()
        }),
        ..Response::default()
    }))
}

async fn revoke(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let record = LeaseRecord::of(lease_of(&req)?)?;
    let client = state.client(&req).await?;
    let mut deleted = client.delete_hash(&record.key_hash).await?;
    if deleted == Deleted::Absent {
        deleted = client.delete_alias(&record.key_alias).await?;
    }
    // Absence proves the key's end only where the key was issued.
    if deleted == Deleted::Absent && record.base_url != client.base_url() {
        return Err(elsewhere(&record, client.base_url(), "revoked"));
    }
    Ok(None)
}

fn lease_of(req: &Request) -> Result<&Secret, Error> {
    req.secret
        .as_ref()
        .ok_or_else(|| Error::internal("the request carries no lease"))
}

fn elsewhere(record: &LeaseRecord, configured: &str, done: &str) -> Error {
    Error::user(format!(
        "the key was issued at {}, but config names {configured}: it can be {done} only where it was issued. Write that address to config until its leases have ended",
        record.base_url
    ))
}
