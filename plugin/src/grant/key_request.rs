//! `key_request`: fields for the gateway that no path names. A named field that
//! it holds counts where the named field itself is not set.

use serde_json::{Map, Value};
use vault_plugin_sdk::Error;

use super::{Grant, check};

/// Names that the engine keeps to itself, each with what to do instead.
const REFUSED: [(&str, &str); 16] = [
    (
        "allowed_cidrs",
        "write the field allowed_cidrs of this path",
    ),
    ("auto_rotate", "use a static role for a key that rotates"),
    ("duration", "the key's life follows its lease: write ttl"),
    ("key", "the gateway chooses the key"),
    ("key_alias", "write key_alias_prefix"),
    (
        "key_alias_prefix",
        "write the field key_alias_prefix of this path",
    ),
    ("key_request", "it can't hold itself"),
    (
        "key_type",
        "keys of this engine call models and manage nothing",
    ),
    ("new_key", "the gateway chooses the key"),
    (
        "rotation_interval",
        "use a static role for a key that rotates",
    ),
    (
        "scopes",
        "keys of this engine call models and manage nothing",
    ),
    ("shared_budgets", "write role_budget or entity_budget"),
    ("spend", "what a key has spent is the gateway's to say"),
    (
        "team_id",
        "write team_id_template, which may be a fixed text",
    ),
    ("token", "the gateway chooses the key"),
    (
        "user_id",
        "write user_id_template, which may be a fixed text",
    ),
];

/// LiteLLM's fields that a path names too.
const NAMED: [&str; 11] = [
    "models",
    "max_budget",
    "budget_duration",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "allowed_routes",
    "metadata",
];

pub(super) fn check(request: &Map<String, Value>) -> Result<(), Error> {
    check::json("key_request", request)?;
    if let Some((name, instead)) = REFUSED.iter().find(|(name, _)| request.contains_key(*name)) {
        return Err(Error::user(format!(
            "key_request must not set {name}: {instead}"
        )));
    }
    for name in NAMED {
        let Some(value) = request.get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        if decoded(Map::from_iter([(name.to_owned(), value.clone())])).is_none() {
            return Err(Error::user(format!(
                "key_request.{name} is not of the type that LiteLLM's {name} has"
            )));
        }
    }
    let (named, _) = split(request);
    // LiteLLM: 0 blocks the first call; on our paths it means no cap.
    if named.get("max_budget").and_then(Value::as_f64) == Some(0.0) {
        return Err(Error::user(
            "key_request.max_budget must be more than 0: leave it out for no cap",
        ));
    }
    match decoded(named) {
        Some(grant) => grant.check("key_request."),
        None => Err(Error::user("key_request can't be read")),
    }
}

pub(super) fn settled(grant: &Grant) -> Grant {
    let (named, rest) = split(&grant.key_request);
    // What can't be decoded was refused at the write, so this is an entry that
    // another version wrote: then the gateway judges it as it stands.
    let Some(below) = decoded(named) else {
        return grant.clone();
    };
    let list = |named: &Vec<String>, below: Vec<String>| {
        if named.is_empty() {
            below
        } else {
            named.clone()
        }
    };
    let map = |named: &Map<String, Value>, below: Map<String, Value>| {
        if named.is_empty() {
            below
        } else {
            named.clone()
        }
    };
    let mut metadata = below.metadata;
    metadata.extend(grant.metadata.clone());
    Grant {
        models: list(&grant.models, below.models),
        max_budget: grant.budget().unwrap_or(below.max_budget),
        budget_duration: if grant.budget_duration.is_empty() {
            below.budget_duration
        } else {
            grant.budget_duration.clone()
        },
        rpm_limit: grant.rpm_limit.or(below.rpm_limit),
        tpm_limit: grant.tpm_limit.or(below.tpm_limit),
        max_parallel_requests: grant.max_parallel_requests.or(below.max_parallel_requests),
        model_max_budget: map(&grant.model_max_budget, below.model_max_budget),
        model_rpm_limit: map(&grant.model_rpm_limit, below.model_rpm_limit),
        model_tpm_limit: map(&grant.model_tpm_limit, below.model_tpm_limit),
        allowed_routes: list(&grant.allowed_routes, below.allowed_routes),
        allowed_cidrs: grant.allowed_cidrs.clone(),
        key_alias_prefix: grant.key_alias_prefix.clone(),
        metadata,
        key_request: rest,
    }
}

/// The named fields that are set, and all else.
fn split(request: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let mut rest = request.clone();
    let named = NAMED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), rest.remove(*name)?)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    (named, rest)
}

fn decoded(named: Map<String, Value>) -> Option<Grant> {
    serde_json::from_value(Value::Object(named)).ok()
}
