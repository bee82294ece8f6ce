//! What the values of a grant must be. Each refusal names the field and says
//! what is right; none quotes the input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};
use vault_plugin_sdk::Error;

/// Bytes of one name: a model, an alias, a name in metadata.
pub(crate) const MAX_NAME: usize = 255;
const MAX_NAMES: usize = 1_000;
/// llm-proxy: as many as it compares a call's address with.
const MAX_CIDRS: usize = 64;
/// A role's name is part of alias, metadata and account at the gateway, each
/// of which is bounded.
const MAX_ROLE_NAME: usize = 100;
/// Above any budget that makes sense; LiteLLM and llm-proxy both take it.
const MAX_BUDGET: f64 = 1e9;
/// llm-proxy counts in nano-dollars: less would be nothing.
const MIN_BUDGET: f64 = 1e-9;
const MAX_JSON_BYTES: usize = 16 * 1024;
const MAX_JSON_DEPTH: usize = 16;
/// As long as Vault's own durations can be.
const MAX_DURATION_SECONDS: u64 = 292 * 365 * 86_400;

/// The engine's own metadata begins with this.
const RESERVED_METADATA_PREFIX: &str = "vault_";

/// The first part of the paths, after `/v1`, that call models. LiteLLM has
/// many more routes, and most of those manage it.
const MODEL_ROUTES: [&str; 32] = [
    "anthropic",
    "assistants",
    "audio",
    "azure",
    "batches",
    "bedrock",
    "chat",
    "cohere",
    "completions",
    "containers",
    "embeddings",
    "engines",
    "files",
    "fine_tuning",
    "gemini",
    "images",
    "messages",
    "mistral",
    "models",
    "moderations",
    "ocr",
    "openai",
    "realtime",
    "rerank",
    "responses",
    "search",
    "threads",
    "vector_stores",
    "vertex-ai",
    "vertex_ai",
    "videos",
    "vllm",
];
const ROUTE_GROUPS: [&str; 3] = ["llm_api_routes", "openai_routes", "anthropic_routes"];

pub(crate) fn names(field: &str, names: &[String]) -> Result<(), Error> {
    if names.len() > MAX_NAMES {
        return Err(Error::user(format!(
            "{field} must hold at most {MAX_NAMES} names"
        )));
    }
    if names.iter().any(String::is_empty) {
        return Err(Error::user(format!(
            "{field} holds an empty name: remove the stray comma"
        )));
    }
    names.iter().try_for_each(|text| name(field, text))
}

fn name(field: &str, text: &str) -> Result<(), Error> {
    if text.len() > MAX_NAME {
        return Err(Error::user(format!(
            "{field} holds a name of more than {MAX_NAME} bytes"
        )));
    }
    no_control(field, text)
}

fn no_control(field: &str, text: &str) -> Result<(), Error> {
    if text.chars().any(char::is_control) {
        return Err(Error::user(format!(
            "{field} must not hold control characters such as line breaks"
        )));
    }
    Ok(())
}

/// US dollars; zero means no cap.
pub(crate) fn budget(field: &str, budget: f64) -> Result<(), Error> {
    if budget == 0.0 || (MIN_BUDGET..=MAX_BUDGET).contains(&budget) {
        return Ok(());
    }
    Err(Error::user(format!(
        "{field} must be a number of US dollars from 0.000000001 to a billion, or 0 for no cap"
    )))
}

/// LiteLLM: a whole number and its unit. Empty means not set.
pub(crate) fn duration(field: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() || seconds(text).is_some_and(|s| (1..=MAX_DURATION_SECONDS).contains(&s)) {
        return Ok(());
    }
    Err(Error::user(format!(
        "{field} must be a whole number and a unit, as in 30s, 5m, 24h, 7d, 2w or 1mo"
    )))
}

fn seconds(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "mo" => 31 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

pub(crate) fn model_limits(field: &str, limits: &Map<String, Value>) -> Result<(), Error> {
    json(field, limits)?;
    if limits
        .values()
        .any(|limit| limit.as_u64().is_none_or(|limit| limit == 0))
    {
        return Err(Error::user(format!(
            "{field} must map each model to a whole number of 1 or more, as in {{\"gpt-5\": 10}}; leave a model out for no limit"
        )));
    }
    Ok(())
}

pub(crate) fn model_budgets(field: &str, budgets: &Map<String, Value>) -> Result<(), Error> {
    json(field, budgets)?;
    if budgets
        .values()
        .any(|budget| !is_model_budget(field, budget))
    {
        return Err(Error::user(format!(
            "{field} must map each model to an object, as in {{\"gpt-5\": {{\"budget_limit\": 5, \"time_period\": \"1d\"}}}}, with a budget above 0"
        )));
    }
    Ok(())
}

/// LiteLLM: each of the two fields has two names, and the limit may be a text.
fn is_model_budget(field: &str, entry: &Value) -> bool {
    let get = |a: &str, b: &str| entry.get(a).or_else(|| entry.get(b));
    let limit = match get("budget_limit", "max_budget") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let period_is_good = match get("time_period", "budget_duration") {
        None => true,
        Some(Value::String(text)) => !text.is_empty() && duration(field, text).is_ok(),
        Some(_) => false,
    };
    period_is_good && limit.is_some_and(|limit| limit > 0.0 && budget(field, limit).is_ok())
}

/// Keys of this engine call models and manage nothing.
pub(crate) fn routes(field: &str, routes: &[String]) -> Result<(), Error> {
    names(field, routes)?;
    if routes.iter().all(|route| calls_models(route)) {
        return Ok(());
    }
    Err(Error::user(format!(
        "{field} must hold paths that call models, as in /v1/chat/completions or /v1/images/*, or the group llm_api_routes: a key of this engine manages nothing"
    )))
}

fn calls_models(route: &str) -> bool {
    if ROUTE_GROUPS.contains(&route) {
        return true;
    }
    let path = route.strip_prefix("/v1").unwrap_or(route);
    let Some(path) = path.strip_prefix('/') else {
        return false;
    };
    let first = path.split('/').next().unwrap_or_default();
    // A pattern such as `/chat*` is a path of its own name and those below it.
    let first = first.strip_suffix('*').unwrap_or(first);
    MODEL_ROUTES.contains(&first) && !path.split('/').any(|part| part == ".." || part == ".")
}

/// The networks in normal form: a bare address is a network of its own, bits
/// behind the prefix are zero, an IPv4 network in IPv6 clothes is IPv4.
pub(crate) fn cidrs(field: &str, texts: &[String]) -> Result<Vec<String>, Error> {
    names(field, texts)?;
    if texts.len() > MAX_CIDRS {
        return Err(Error::user(format!(
            "{field} must hold at most {MAX_CIDRS} networks: give larger ones that hold several"
        )));
    }
    texts
        .iter()
        .map(|text| {
            cidr(text).ok_or_else(|| {
                Error::user(format!(
                    "{field} must hold networks or addresses, as in 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
                ))
            })
        })
        .collect()
}

fn cidr(text: &str) -> Option<String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => {
            let is_plain = length.bytes().all(|byte| byte.is_ascii_digit());
            let length: u32 = Some(length).filter(|_| is_plain)?.parse().ok()?;
            (address, Some(length))
        }
        None => (text, None),
    };
    let (v4, length) = match address.parse().ok()? {
        IpAddr::V4(v4) => (v4, length.unwrap_or(32)),
        IpAddr::V6(v6) => {
            let length = length.unwrap_or(128);
            match v6.to_ipv4_mapped() {
                Some(v4) if (96..=128).contains(&length) => (v4, length - 96),
                _ => return network_v6(v6, length),
            }
        }
    };
    let mask = u32::MAX
        .checked_shl(32_u32.checked_sub(length)?)
        .unwrap_or(0);
    Some(format!("{}/{length}", Ipv4Addr::from(u32::from(v4) & mask)))
}

fn network_v6(address: Ipv6Addr, length: u32) -> Option<String> {
    let mask = u128::MAX
        .checked_shl(128_u32.checked_sub(length)?)
        .unwrap_or(0);
    Some(format!(
        "{}/{length}",
        Ipv6Addr::from(u128::from(address) & mask)
    ))
}

/// Names that begin with `vault_` are the engine's own.
pub(crate) fn metadata(field: &str, metadata: &Map<String, Value>) -> Result<(), Error> {
    json(field, metadata)?;
    if metadata
        .keys()
        .any(|name| name.starts_with(RESERVED_METADATA_PREFIX))
    {
        return Err(Error::user(format!(
            "{field} must not set a name that begins with vault_: those are the engine's own"
        )));
    }
    Ok(())
}

/// # Errors
/// A user error that says how long a role's name may be.
pub(crate) fn role_name(name: &str) -> Result<(), Error> {
    if name.chars().count() > MAX_ROLE_NAME {
        return Err(Error::user(format!(
            "the name of a role must be at most {MAX_ROLE_NAME} characters"
        )));
    }
    Ok(())
}

/// Bounded in size and depth, and fit for a database and a log line.
pub(crate) fn json(field: &str, map: &Map<String, Value>) -> Result<(), Error> {
    map.iter()
        .try_for_each(|(name, value)| entry(field, name, value, 1))?;
    let size = serde_json::to_vec(map).map_or(usize::MAX, |bytes| bytes.len());
    if size > MAX_JSON_BYTES {
        return Err(Error::user(format!(
            "{field} must be at most {MAX_JSON_BYTES} bytes of JSON"
        )));
    }
    Ok(())
}

fn entry(field: &str, key: &str, value: &Value, depth: usize) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::user(format!("{field} holds an empty name")));
    }
    name(field, key)?;
    nested(field, value, depth)
}

fn nested(field: &str, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > MAX_JSON_DEPTH {
        return Err(Error::user(format!(
            "{field} must be at most {MAX_JSON_DEPTH} levels deep"
        )));
    }
    match value {
        Value::String(text) => no_control(field, text),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| nested(field, item, depth + 1)),
        Value::Object(entries) => entries
            .iter()
            .try_for_each(|(key, value)| entry(field, key, value, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
