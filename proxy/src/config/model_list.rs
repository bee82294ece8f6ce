//! Owns `model_list`: public names, providers with their default addresses,
//! and prices. Called by the file's parser, and for the model of `--dev`.

use std::{fmt::Write as _, time::Duration};

use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    Deployment, OUTPUT_TOKENS_DEFAULT, Provider, ProviderKey,
    file::Reader,
    tree::{Entry, Node, Problem},
};
use crate::{
    money::{MoneyError, PicoUsd},
    price::Price,
};

/// Prefix of `litellm_params.model`, default address, variable of the key.
const PROVIDERS: [(&str, &str, &str); 4] = [
    ("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    (
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
    ),
    (
        "dashscope",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
    ),
    (
        "ark",
        "https://ark.cn-beijing.volces.com/api/v3",
        "ARK_API_KEY",
    ),
];
/// Never connected to: the built-in provider has no address.
const ECHO_BASE: &str = "http://echo.invalid/";

/// The fields of one entry as they are met, in any order.
#[derive(Default)]
struct Draft<'a> {
    public_name: Option<String>,
    model: Option<(&'a Node, String)>,
    api_base: Option<(&'a Node, String)>,
    api_key: Option<ProviderKey>,
    input: Option<PicoUsd>,
    output: Option<PicoUsd>,
    cache_read: Option<PicoUsd>,
    max_output_tokens: Option<u64>,
    id: Option<String>,
    timeout: Option<Duration>,
}

pub(super) fn parse(reader: &mut Reader<'_>, list: &Node) -> Result<Vec<Deployment>, Problem> {
    list.items("model_list")?
        .iter()
        .map(|item| deployment(reader, item))
        .collect()
}

/// The model of `--dev`: `demo`, served by `echo`, one micro-dollar an input
/// token and two an output token.
pub(super) fn demo() -> Result<Deployment, MoneyError> {
    let base = Url::parse(ECHO_BASE).map_err(|_| MoneyError::Malformed)?;
    Ok(Deployment {
        id: identity(&["demo", "echo", "demo", ECHO_BASE]).into(),
        public_name: "demo".into(),
        provider: Provider::Echo,
        upstream_model: "demo".to_owned(),
        api_base: base,
        api_key: None,
        price: Some(Price {
            input: PicoUsd::from_decimal("0.000001")?,
            output: PicoUsd::from_decimal("0.000002")?,
            cache_read: None,
        }),
        free: false,
        max_output_tokens: None,
        timeout: None,
    })
}

fn deployment(reader: &mut Reader<'_>, item: &Node) -> Result<Deployment, Problem> {
    let mut draft = Draft::default();
    for entry in item.entries("an entry of model_list")? {
        match entry.name.as_str() {
            "model_name" => draft.public_name = reader.text(&entry.node, &entry.name)?,
            "litellm_params" => {
                for entry in entry.node.entries("litellm_params")? {
                    litellm_param(reader, &mut draft, entry)?;
                }
            }
            "model_info" => {
                for entry in entry.node.entries("model_info")? {
                    model_info(reader, &mut draft, entry)?;
                }
            }
            _ => reader.unsupported("model_list", entry)?,
        }
    }
    let deployment = finish(reader, draft, item)?;
    for text in doubts(&deployment) {
        reader.warn(item.place, text);
    }
    Ok(deployment)
}

/// What an operator may believe of the model, and is not so.
fn doubts(deployment: &Deployment) -> Vec<String> {
    let name = &deployment.public_name;
    let mut doubts = Vec::new();
    if name.contains('*') {
        doubts.push(format!(
            "the model_name {name} is no pattern here: it is the name of one model, which callers give as it stands"
        ));
    }
    let is_paid = deployment.price.is_some() && !deployment.free;
    let is_bounded = deployment.max_output_tokens.is_some();
    if is_paid && !is_bounded && deployment.provider != Provider::Echo {
        doubts.push(format!(
            "{name} has a price and no model_info.max_output_tokens: a call that names no max_tokens is held for {OUTPUT_TOKENS_DEFAULT} tokens of answer, and a longer answer may pass a budget"
        ));
    }
    doubts
}

fn litellm_param<'a>(
    reader: &mut Reader<'_>,
    draft: &mut Draft<'a>,
    entry: &'a Entry,
) -> Result<(), Problem> {
    let (name, node) = (entry.name.as_str(), &entry.node);
    match name {
        "model" => draft.model = reader.text(node, name)?.map(|text| (node, text)),
        "api_base" | "base_url" => {
            draft.api_base = reader.text(node, name)?.map(|text| (node, text))
        }
        "api_key" => {
            let text = reader.text(node, name)?;
            draft.api_key = text
                .map(|text| provider_key(node, name, text))
                .transpose()?;
        }
        "timeout" => draft.timeout = seconds(node, name)?,
        // LiteLLM: prices may stand here as well as under model_info.
        "input_cost_per_token" | "output_cost_per_token" => {
            return model_info(reader, draft, entry);
        }
        _ => reader.unsupported("litellm_params", entry)?,
    }
    Ok(())
}

fn model_info(
    reader: &mut Reader<'_>,
    draft: &mut Draft<'_>,
    entry: &Entry,
) -> Result<(), Problem> {
    let (name, node) = (entry.name.as_str(), &entry.node);
    match name {
        "input_cost_per_token" => draft.input = Some(price(node, name)?),
        "output_cost_per_token" => draft.output = Some(price(node, name)?),
        "cache_read_input_token_cost" => draft.cache_read = Some(price(node, name)?),
        "max_output_tokens" | "max_tokens" => draft.max_output_tokens = Some(node.integer(name)?),
        "id" => draft.id = reader.text(node, name)?,
        _ => reader.unsupported("model_info", entry)?,
    }
    Ok(())
}

fn finish(reader: &Reader<'_>, draft: Draft<'_>, item: &Node) -> Result<Deployment, Problem> {
    let public_name = draft
        .public_name
        .ok_or_else(|| item.problem("model_name is missing"))?;
    let (model_node, model) = draft
        .model
        .ok_or_else(|| item.problem("litellm_params.model is missing"))?;
    // LiteLLM: a name without a provider is one of OpenAI's.
    let (prefix, upstream_model) = model.split_once('/').unwrap_or(("openai", &model));
    let (provider, default_base, variable) = if prefix == "echo" {
        (Provider::Echo, ECHO_BASE, "")
    } else {
        let known = PROVIDERS.iter().find(|known| known.0 == prefix).ok_or_else(|| {
            model_node.problem(format!("the provider {prefix} is not supported: use openai/, openrouter/, dashscope/, ark/ or echo/"))
        })?;
        (Provider::OpenAiCompatible, known.1, known.2)
    };
    let base_text = draft
        .api_base
        .as_ref()
        .map_or(default_base, |(_, text)| text);
    let api_base = base(base_text).ok_or_else(|| {
        draft
            .api_base
            .as_ref()
            .map_or(item, |(node, _)| node)
            .problem("api_base must be an http or https address")
    })?;
    let price = match (draft.input, draft.output) {
        (Some(input), Some(output)) => Some(Price {
            input,
            output,
            cache_read: draft.cache_read,
        }),
        (None, None) => None,
        _ => {
            return Err(
                item.problem("a price needs both input_cost_per_token and output_cost_per_token")
            );
        }
    };
    let from_environment = || {
        let found = reader.environment.text(variable)?.to_owned();
        Some(provider_key(item, variable, found))
    };
    let api_key = match draft.api_key {
        Some(key) => Some(key),
        None => from_environment().transpose()?,
    };
    let id = draft
        .id
        .unwrap_or_else(|| identity(&[&public_name, prefix, upstream_model, api_base.as_str()]));
    Ok(Deployment {
        id: id.into(),
        free: matches!((draft.input, draft.output), (Some(input), Some(output)) if input.picos() == 0 && output.picos() == 0),
        public_name: public_name.into(),
        provider,
        upstream_model: upstream_model.to_owned(),
        api_base,
        api_key,
        price,
        max_output_tokens: draft.max_output_tokens,
        timeout: draft.timeout,
    })
}

fn provider_key(node: &Node, name: &str, text: String) -> Result<ProviderKey, Problem> {
    ProviderKey::new(text).ok_or_else(|| {
        node.problem(format!(
            "{name} holds a character that no header can carry, such as a line end: remove it"
        ))
    })
}

fn base(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim_end_matches('/')).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn price(node: &Node, name: &str) -> Result<PicoUsd, Problem> {
    PicoUsd::from_decimal(node.decimal(name)?)
        .map_err(|error| node.problem(format!("{name} must be a price in USD: {error}")))
}

fn seconds(node: &Node, name: &str) -> Result<Option<Duration>, Problem> {
    if node.is_null() {
        return Ok(None);
    }
    node.decimal(name)?
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero())
        .map(Some)
        .ok_or_else(|| node.problem(format!("{name} must be a number of seconds above zero")))
}

/// The same over restarts, different for different deployments.
fn identity(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    digest
        .iter()
        .take(16)
        .fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
