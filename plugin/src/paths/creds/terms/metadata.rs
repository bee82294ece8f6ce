//! What a caller may note in a key's metadata. LiteLLM reads much of what
//! controls a key out of its metadata, so a caller's note must not be a control.

use serde_json::{Map, Value};
use vault_plugin_sdk::Error;

use crate::grant::check;

/// LiteLLM: families of controls, of which each version has more.
const PREFIXES: [&str; 21] = [
    "_",
    "agent_",
    "allow_",
    "allowed_",
    "budget_",
    "default_",
    "denied_",
    "disable_",
    "enable_",
    "enforced_",
    "litellm",
    "max_",
    "mcp_",
    "model_",
    "object_permission",
    "opted_out_",
    "pillar_",
    "soft_",
    "tag_",
    "team_",
    "temp_",
];

/// LiteLLM: so end its limits, whatever they count.
const SUFFIXES: [&str; 5] = ["_limit", "_limits", "_limit_type", "_budget", "_routes"];

/// LiteLLM: other fields of `/key/generate`, and other names that it reads
/// from metadata.
const NAMES: [&str; 66] = [
    "access_group_ids",
    "aliases",
    "applied_guardrails",
    "applied_policies",
    "auto_rotate",
    "blocked",
    "cache",
    "cache_control",
    "callback_settings",
    "callback_vars",
    "callbacks",
    "client_disconnected",
    "config",
    "created_by",
    "duration",
    "end_user_budget_id",
    "error_information",
    "expires",
    "failure_callback",
    "fallbacks",
    "guardrails",
    "hidden_params",
    "key",
    "key_alias",
    "key_name",
    "key_type",
    "logger_fn",
    "logging",
    "mock_response",
    "mock_tool_calls",
    "models",
    "new_key",
    "no-log",
    "organization_id",
    "passthrough_routes",
    "permissions",
    "policies",
    "policy_sources",
    "priority",
    "project_id",
    "prompts",
    "proxy_server_request",
    "rotation_interval",
    "router_settings",
    "scim_metadata",
    "scopes",
    "secret_fields",
    "secret_manager_settings",
    "send_invite_email",
    "service_account_id",
    "service_callback",
    "shared_budgets",
    "spend",
    "spend_logs_metadata",
    "standard_logging_object",
    "success_callback",
    "tags",
    "throttle_on_budget_exceeded",
    "token",
    "token_id",
    "turn_off_message_logging",
    "updated_by",
    "user_id",
    "user_api_key",
    "user_role",
    "vector_store_ids",
];

/// Lays what the caller notes beside the role's own.
///
/// # Errors
/// A user error for a name that the role sets or that may control the gateway,
/// and for a value that is neither text, a number nor a boolean.
pub(super) fn add(
    metadata: &mut Map<String, Value>,
    asked: Map<String, Value>,
) -> Result<(), Error> {
    check::metadata("metadata", &asked)?;
    if asked.keys().any(|name| metadata.contains_key(name)) {
        return Err(Error::user(
            "metadata must not set a name that the role sets: leave it out, or choose another",
        ));
    }
    if asked.keys().any(|name| is_control(name)) {
        return Err(Error::user(
            "metadata must not set a name that controls the gateway, such as tags or a limit: choose another, for instance with a prefix as in job_tags, or have the role set it",
        ));
    }
    // LiteLLM: most controls are lists or objects, also those of later versions.
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    if !asked.values().all(is_plain) {
        return Err(Error::user(
            "metadata must hold strings, numbers or booleans only: have the role set anything else",
        ));
    }
    metadata.extend(asked);
    Ok(())
}

fn is_control(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    NAMES.contains(&name.as_str())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}
