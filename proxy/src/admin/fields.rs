//! Owns the fields that a key may be given, on generate and on update alike:
//! parsed once into types. A field of LiteLLM's that has no effect here is
//! remembered by name; a field nobody knows is refused, because its sender
//! believes that it restricts the key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    duration::Span,
    limits::LimitFields,
    shared_budgets::{self, SharedBudget},
    values::{
        NAME_CHARACTERS_MAX, budget, flag, invalid, list, object, says_nothing, soft_budget, text,
        unknown,
    },
};
use crate::{
    error::ApiError,
    key::{Cidr, Key, KeyType, Metadata, Scope, Scopes},
    money::NanoUsd,
};

/// Names of models that a key may have of its own.
const ALIASES_MAX: usize = 64;

/// Each call of the key is compared with all of them.
const CIDRS_MAX: usize = 64;

/// What a request sets. The outer option: whether the field was sent; the
/// inner one: null takes the rule away.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) alias: Option<Option<String>>,
    pub(super) models: Option<Vec<String>>,
    pub(super) aliases: Option<BTreeMap<String, String>>,
    pub(super) soft_budget: Option<Option<NanoUsd>>,
    pub(super) max_budget: Option<Option<NanoUsd>>,
    pub(super) duration: Option<Option<Span>>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) blocked: Option<bool>,
    pub(super) key_type: Option<KeyType>,
    pub(super) allowed_routes: Option<Vec<String>>,
    pub(super) scopes: Option<Scopes>,
    pub(super) shared_budgets: Option<Vec<SharedBudget>>,
    pub(super) allowed_cidrs: Option<Vec<Cidr>>,
    pub(super) limits: LimitFields,
    pub(super) user_id: Option<Option<String>>,
    pub(super) team_id: Option<Option<String>>,
    pub(super) budget_id: Option<Option<String>>,
    pub(super) ignored: Vec<&'static str>,
}

/// LiteLLM's fields that are accepted, stored nowhere, and enforced by nothing.
pub(crate) const IGNORED: [&str; 42] = [
    "access_group_ids",
    "agent_id",
    "allowed_cache_controls",
    "allowed_passthrough_routes",
    "allowed_vector_store_indexes",
    "auto_rotate",
    "budget_fallbacks",
    "config",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "enable_prompt_caching",
    "enforced_params",
    "guardrails",
    "key_name",
    "mcp_rpm_limit",
    "object_permission",
    "organization_id",
    "permissions",
    "policies",
    "project_id",
    "prompts",
    "rotation_interval",
    "router_settings",
    "rpm_limit_type",
    "send_invite_email",
    "soft_budget_cooldown",
    "spend",
    "tag_rpm_limit",
    "tags",
    "temp_budget_expiry",
    "temp_budget_increase",
    "throttle_on_budget_exceeded",
    "token",
    "token_id",
    "tpd_limit",
    "tpm_limit_type",
    "expires",
    "created_by",
    "updated_by",
    "end_user_budget_id",
];

impl Fields {
    /// `key` is left to the operation: it means another thing in each.
    pub(super) fn parse(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        for (name, value) in body {
            match name.as_str() {
                "key" => {}
                "key_alias" => fields.alias = Some(text(name, value)?),
                // LiteLLM: null means not sent; the empty list takes the rule away.
                "models" if value.is_null() => {}
                "models" => fields.models = Some(list(name, value)?),
                "aliases" => fields.aliases = Some(aliases(value)?),
                "max_budget" => fields.max_budget = Some(budget(name, value)?),
                "soft_budget" => fields.soft_budget = Some(soft_budget(value)?),
                "duration" => fields.duration = Some(duration(value)?),
                "metadata" => fields.metadata = Some(object(name, value)?),
                "blocked" => fields.blocked = flag(name, value)?,
                "key_type" => fields.key_type = key_type(value)?,
                "allowed_routes" if value.is_null() => {}
                "allowed_routes" => fields.allowed_routes = Some(list(name, value)?),
                "scopes" | "shared_budgets" | "allowed_cidrs" if value.is_null() => {}
                "allowed_cidrs" => fields.allowed_cidrs = Some(cidrs(value)?),
                "shared_budgets" => fields.shared_budgets = Some(shared_budgets::parse(value)?),
                "scopes" => fields.scopes = Some(scopes(value)?),
                "user_id" => fields.user_id = Some(text(name, value)?),
                "team_id" => fields.team_id = Some(text(name, value)?),
                "budget_id" => fields.budget_id = Some(text(name, value)?),
                name if fields.limits.take(name, value)? => {}
                name => fields.without_effect(name, value)?,
            }
        }
        if let Some(metadata) = &mut fields.metadata {
            fields.limits.take_from(metadata)?;
        }
        fields.ignored.sort_unstable();
        Ok(fields)
    }

    fn without_effect(&mut self, name: &str, value: &Value) -> Result<(), ApiError> {
        let known = IGNORED
            .iter()
            .find(|known| **known == name)
            .ok_or_else(|| unknown(name))?;
        if !says_nothing(value) {
            self.ignored.push(known);
        }
        Ok(())
    }

    /// Whether they may change what the key's own budgets are.
    pub(super) fn touch_budgets(&self) -> bool {
        self.max_budget.is_some() || self.budget_id.is_some() || self.limits.touch_budgets()
    }

    /// None that were sent is none that are defined.
    pub(super) fn shared_budgets(&self) -> &[SharedBudget] {
        self.shared_budgets.as_deref().unwrap_or_default()
    }

    /// Puts what was sent into `key`; alias and expiry need more than the
    /// fields and are left to the operation.
    pub(super) fn apply(&self, key: &mut Key) {
        if let Some(models) = &self.models {
            key.models.clone_from(models);
        }
        if let Some(aliases) = &self.aliases {
            key.aliases.clone_from(aliases);
        }
        if let Some(budget) = self.soft_budget {
            key.soft_budget = budget;
        }
        if let Some(budget) = self.max_budget {
            key.max_budget = budget;
        }
        if let Some(metadata) = &self.metadata {
            key.metadata = Metadata::from(metadata);
        }
        if let Some(blocked) = self.blocked {
            key.blocked = blocked;
        }
        if let Some(key_type) = self.key_type {
            key.key_type = key_type;
            key.allowed_routes = key_type.routes();
        }
        // LiteLLM: its clients send an empty list beside the type that names them.
        if let Some(routes) = &self.allowed_routes
            && (self.key_type.is_none() || !routes.is_empty())
        {
            key.allowed_routes.clone_from(routes);
        }
        if let Some(scopes) = self.scopes {
            key.scopes = scopes;
        }
        if let Some(blocks) = &self.allowed_cidrs {
            key.allowed_cidrs.clone_from(blocks);
        }
        self.limits.apply(&mut key.limits);
        let shared = match &self.shared_budgets {
            Some(budgets) => budgets
                .iter()
                .map(|budget| budget.account.clone())
                .collect(),
            None => key.shared().cloned().collect(),
        };
        key.charge_to(shared);
        if let Some(user_id) = &self.user_id {
            key.user_id.clone_from(user_id);
        }
        if let Some(team_id) = &self.team_id {
            key.team_id.clone_from(team_id);
        }
        if let Some(budget_id) = &self.budget_id {
            key.budget_id.clone_from(budget_id);
        }
    }
}

fn aliases(value: &Value) -> Result<BTreeMap<String, String>, ApiError> {
    const FIELD: &str = "aliases";
    let entries = object(FIELD, value)?;
    let is_name = |name: &str| {
        (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count())
            && !name.chars().any(char::is_control)
    };
    if entries.len() > ALIASES_MAX {
        let message = format!("{FIELD}: at most {ALIASES_MAX} of them a key");
        return Err(ApiError::bad_request(FIELD, message));
    }
    let read = |(name, model): (&String, &Value)| {
        let model = model.as_str().filter(|model| is_name(model));
        let pair = model.filter(|_| is_name(name));
        pair.map(|model| (name.clone(), model.to_owned()))
            .ok_or_else(|| {
                let message = format!(
                    "{FIELD} must give names of models for names, each of 1 to {NAME_CHARACTERS_MAX} characters, none of them a control character"
                );
                ApiError::bad_request(FIELD, message)
            })
    };
    entries.iter().map(read).collect()
}

fn scopes(value: &Value) -> Result<Scopes, ApiError> {
    let names = list("scopes", value)?;
    let parse = |(at, name): (usize, &String)| {
        Scope::parse(name).ok_or_else(|| {
            let known = Scope::ALL.map(Scope::as_str).join(", ");
            let message = format!("number {} of scopes is none: choose of {known}", at + 1);
            ApiError::bad_request("scopes", message)
        })
    };
    names.iter().enumerate().map(parse).collect()
}

fn cidrs(value: &Value) -> Result<Vec<Cidr>, ApiError> {
    const FIELD: &str = "allowed_cidrs";
    let blocks = list(FIELD, value)?;
    if blocks.len() > CIDRS_MAX {
        let message = format!("{FIELD}: at most {CIDRS_MAX} of them a key");
        return Err(ApiError::bad_request(FIELD, message));
    }
    let parse = |(at, block): (usize, &String)| {
        Cidr::parse(block).ok_or_else(|| {
            let message = format!(
                "{FIELD}: number {} is no block of addresses, as in 10.0.0.0/8 or 2001:db8::/32",
                at + 1
            );
            ApiError::bad_request(FIELD, message)
        })
    };
    blocks.iter().enumerate().map(parse).collect()
}

fn key_type(value: &Value) -> Result<Option<KeyType>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => KeyType::parse(text).map(Some).ok_or_else(|| {
            invalid(
                "enum",
                "key_type",
                "Input should be 'llm_api', 'management', 'read_only' or 'default'",
            )
        }),
        _ => Err(invalid(
            "string_type",
            "key_type",
            "Input should be a valid string",
        )),
    }
}

/// LiteLLM: null and `"-1"` mean that the key never expires.
fn duration(value: &Value) -> Result<Option<Span>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text == "-1" => Ok(None),
        Value::String(text) => Span::parse(text).map(Some).ok_or_else(bad_duration),
        _ => Err(invalid(
            "string_type",
            "duration",
            "Input should be a valid string",
        )),
    }
}

pub(super) fn bad_duration() -> ApiError {
    ApiError::bad_request(
        "duration",
        "duration must be a whole number and a unit (s, m, h, d, w or mo), as in 30d, ending before the year 10000",
    )
}
