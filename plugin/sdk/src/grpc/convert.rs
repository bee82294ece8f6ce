//! Messages into plain structs and back.
//!
//! Pure. Vault: JSON text is never empty, only `null` or an object; what is
//! absent on the way in may be `null`, and a lease always carries a time.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub(super) use identity::{entity, group};
pub(super) use request::request;
pub(super) use response::{response, wrap_info};

use std::collections::{BTreeMap, HashMap};

use vault_plugin_proto::pb;

use super::time::{from_nanos, from_timestamp, to_nanos, to_timestamp};
use crate::{LeaseOptions, Map, Secret, Value};

/// Why a message does not convert.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error("the {0} of the request is not a JSON object")]
    NotAnObject(&'static str),
    #[error("the call carries no request")]
    NoRequest,
}

/// JSON text into an object; empty text and `null` are an empty one.
fn object(text: &str, what: &'static str) -> Result<Map<String, Value>, ConvertError> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(ConvertError::NotAnObject(what)),
    }
}

/// An object always encodes: its keys are text and its numbers are finite.
fn json(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).unwrap_or_else(|_| "null".to_owned())
}

fn headers_in(headers: HashMap<String, pb::Header>) -> BTreeMap<String, Vec<String>> {
    headers
        .into_iter()
        .map(|(name, values)| (name, values.header))
        .collect()
}

fn headers_out(headers: BTreeMap<String, Vec<String>>) -> HashMap<String, pb::Header> {
    headers
        .into_iter()
        .map(|(name, header)| (name, pb::Header { header }))
        .collect()
}

fn lease_in(lease: Option<pb::LeaseOptions>) -> LeaseOptions {
    let lease = lease.unwrap_or_default();
    LeaseOptions {
        ttl: from_nanos(lease.ttl),
        max_ttl: from_nanos(lease.max_ttl),
        renewable: lease.renewable,
        increment: from_nanos(lease.increment),
        issue_time: from_timestamp(lease.issue_time),
    }
}

fn lease_out(lease: &LeaseOptions) -> pb::LeaseOptions {
    pb::LeaseOptions {
        ttl: to_nanos(lease.ttl),
        max_ttl: to_nanos(lease.max_ttl),
        renewable: lease.renewable,
        increment: to_nanos(lease.increment),
        issue_time: to_timestamp(lease.issue_time),
    }
}

fn secret_in(secret: pb::Secret) -> Result<Secret, ConvertError> {
    Ok(Secret {
        internal_data: object(&secret.internal_data, "internal data")?,
        lease: lease_in(secret.lease_options),
        lease_id: secret.lease_id,
    })
}

fn secret_out(secret: Secret) -> pb::Secret {
    pb::Secret {
        internal_data: json(&secret.internal_data),
        lease_options: Some(lease_out(&secret.lease)),
        lease_id: secret.lease_id,
    }
}
