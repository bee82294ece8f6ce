//! `check`: what works between this mount and its gateway, and what does not.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{Error, Field, FieldType, Operation, Path, Request, Response};

use crate::backend::State;
use crate::client::{Client, GatewayInfo, OwnKey};
use crate::error::GatewayError;
use crate::gating::{self, Need};
use crate::grant::Grant;
use crate::paths::{config, roles, static_roles};

const SYNOPSIS: &str = "Whether the gateway and its admin key work, and what it does not enforce.";
const DESCRIPTION: &str = "Calls the gateway and says whether it can be reached, which gateway and \
version it is, whether the admin key is good and of which kind, how far the clocks differ, and which \
fields of which role the gateway does not enforce. A gateway that is down is part of the answer, not \
an error.";

/// Lengths are compared, never clocks, so this is for people who read two logs.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(60);

pub(crate) fn path() -> Path<State> {
    Path::new("check")
        .operation_forwarded(Operation::Read, read)
        .response(
            Operation::Read,
            200,
            "What works and what does not.",
            answer_fields(),
        )
        .help(SYNOPSIS, DESCRIPTION)
}

fn answer_fields() -> Vec<Field> {
    [
        (
            "base_url",
            FieldType::String,
            "Address of the gateway's admin API.",
        ),
        (
            "reachable",
            FieldType::Bool,
            "Whether the gateway answers and is ready.",
        ),
        (
            "gateway_error",
            FieldType::String,
            "Why it does not, where it does not.",
        ),
        ("gateway", FieldType::String, "llm-proxy or LiteLLM."),
        (
            "version",
            FieldType::String,
            "The gateway's version, where it tells.",
        ),
        (
            "features",
            FieldType::StringSlice,
            "What the gateway offers beyond LiteLLM's contract.",
        ),
        (
            "clock_difference",
            FieldType::SignedDurationSecond,
            "By how many seconds the gateway's clock is ahead.",
        ),
        (
            "admin_key_works",
            FieldType::Bool,
            "Whether the gateway accepts the configured admin key.",
        ),
        (
            "admin_key_error",
            FieldType::String,
            "Why it does not, where it does not.",
        ),
        (
            "admin_key_kind",
            FieldType::String,
            "master key (static), or admin key (one that rotate-root can end).",
        ),
        (
            "admin_key_alias",
            FieldType::String,
            "The admin key's alias at the gateway.",
        ),
        (
            "admin_key_scopes",
            FieldType::StringSlice,
            "What the admin key may do, at a gateway with scopes.",
        ),
        (
            "unenforced",
            FieldType::Map,
            "By role: the fields that this gateway does not enforce, and why.",
        ),
    ]
    .into_iter()
    .map(|(name, kind, text)| Field::new(name, kind).description(text))
    .collect()
}

async fn read(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let client = state.client(&req).await?;
    let (gateway, verified, own_key) =
        tokio::join!(client.gateway(), client.verify(), client.own_key());
    let mut answer = Map::from_iter([("base_url".to_owned(), json!(client.base_url()))]);
    let mut warnings = match config::load(&req).await? {
        Some(entry) => config::warnings(&entry),
        None => Vec::new(),
    };
    answer.insert("reachable".into(), json!(gateway.is_ok()));
    match gateway {
        Ok(info) => {
            tell_gateway(&mut answer, &mut warnings, &client, &info).await;
            let unenforced = unenforced(&client, &req, &info).await?;
            answer.insert("unenforced".into(), json!(unenforced));
        }
        Err(error) => {
            answer.insert("gateway_error".into(), json!(error.to_string()));
        }
    }
    answer.insert("admin_key_works".into(), json!(verified.is_ok()));
    match verified {
        Ok(()) => tell_admin_key(&mut answer, &mut warnings, own_key),
        Err(error) => {
            answer.insert("admin_key_error".into(), json!(error.to_string()));
        }
    }
    let mut response = Response::data(answer);
    response.warnings = warnings;
    Ok(Some(response))
}

async fn tell_gateway(
    answer: &mut Map<String, Value>,
    warnings: &mut Vec<String>,
    client: &Client,
    info: &GatewayInfo,
) {
    let (name, version) = if info.is_llm_proxy {
        ("llm-proxy", info.version.clone())
    } else {
        ("LiteLLM", client.litellm_version().await)
    };
    answer.insert("gateway".into(), json!(name));
    answer.insert("version".into(), json!(version));
    answer.insert("features".into(), json!(info.features));
    let seconds = info.clock_difference.map(|ahead| ahead.num_seconds());
    answer.insert("clock_difference".into(), json!(seconds));
    if let Some(ahead) = info.clock_difference
        && ahead.abs() > MAX_CLOCK_DIFFERENCE
    {
        warnings.push(format!(
            "the gateway's clock differs by {} s: leases and keys are not affected, but times in its answers and logs are",
            ahead.num_seconds()
        ));
    }
}

fn tell_admin_key(
    answer: &mut Map<String, Value>,
    warnings: &mut Vec<String>,
    own_key: Result<Option<OwnKey>, GatewayError>,
) {
    let key = match own_key {
        Ok(Some(key)) => key,
        Ok(None) => {
            answer.insert("admin_key_kind".into(), json!("master key"));
            warnings.push(
                "config holds the gateway's static master key: write config/rotate-root to replace it by one that only this mount knows".into(),
            );
            return;
        }
        // It works, and that it can't be asked about is no fault.
        Err(_) => return,
    };
    answer.insert("admin_key_kind".into(), json!("admin key"));
    answer.insert("admin_key_alias".into(), json!(key.alias));
    if let Some(scopes) = key.scopes {
        answer.insert("admin_key_scopes".into(), json!(scopes));
    }
    if let Some(expires) = key.expires {
        warnings.push(format!(
            "the admin key expires at {expires}: after that nothing can be issued, renewed or revoked, so write config/rotate-root before"
        ));
    }
}

/// By role: what it asks for in vain at this gateway.
async fn unenforced(
    client: &Client,
    req: &Request,
    info: &GatewayInfo,
) -> Result<Map<String, Value>, Error> {
    let mut told = Map::new();
    for name in roles::names(req).await? {
        if let Some(role) = roles::load(req, &name).await? {
            let path = format!("roles/{name}");
            tell_role(&mut told, client, info, path, &role.grant, &role.needs());
        }
    }
    for name in static_roles::names(req).await? {
        if let Some(role) = static_roles::load(req, &name).await? {
            let path = format!("static-roles/{name}");
            tell_role(
                &mut told,
                client,
                info,
                path,
                &role.grant,
                &role.grant.needs(),
            );
        }
    }
    Ok(told)
}

fn tell_role(
    told: &mut Map<String, Value>,
    client: &Client,
    info: &GatewayInfo,
    path: String,
    grant: &Grant,
    needs: &[Need],
) {
    let lacking = gating::lacking(info, needs)
        .map(|(field, feature)| format!("{field}: needs a gateway with the feature {feature}"));
    let is_needed = |field: &str| needs.iter().any(|(needed, _)| *needed == field);
    let mut without_effect = grant.sets();
    without_effect.retain(|field| info.ignored.contains(field) && !is_needed(field));
    let ignored = client
        .ignored(&path)
        .into_iter()
        .filter(|field| !without_effect.contains(field))
        .map(|field| format!("{field}: the gateway said at the last issue that it has no effect"));
    let known = without_effect
        .iter()
        .map(|field| format!("{field}: has no effect at this gateway"));
    let reasons: Vec<String> = lacking.chain(known).chain(ignored).collect();
    if !reasons.is_empty() {
        told.insert(path, json!(reasons));
    }
}

#[cfg(test)]
mod tests;
