//! Owns the fields that a budget, a team or a user may be given, on new and on
//! update alike. As on keys, a field of LiteLLM's without effect is remembered by
//! name and one that nobody knows is refused; so is a limit that is only enforced
//! on keys.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::id_field;
use crate::{
    admin::{
        fields::IGNORED,
        limits::LimitFields,
        values::{budget, flag, list, object, says_nothing, soft_budget, text, unknown},
    },
    error::ApiError,
    key::{Group, GroupKind, Terms},
    money::NanoUsd,
};

/// What a request sets. The outer option: whether the field was sent; the inner
/// one: null takes the rule away.
#[derive(Debug, Default)]
pub(super) struct GroupFields {
    pub(super) id: Option<String>,
    alias: Option<Option<String>>,
    email: Option<Option<String>>,
    models: Option<Vec<String>>,
    metadata: Option<Map<String, Value>>,
    blocked: Option<bool>,
    max_budget: Option<Option<NanoUsd>>,
    soft_budget: Option<Option<NanoUsd>>,
    limits: LimitFields,
    pub(super) ignored: Vec<&'static str>,
}

/// LiteLLM's limits of a team or a user besides its budget and its rates. Their
/// keys may have them; together they are counted by nothing.
const OF_KEYS: [&str; 2] = ["budget_limits", "model_max_budget"];

/// LiteLLM's fields of a team, a user or a budget that nothing enforces, besides
/// those of a key.
const ALSO_IGNORED: [&str; 21] = [
    "admins",
    "allow_team_guardrail_config",
    "budget_reset_at",
    "default_team_member_models",
    "members",
    "members_with_roles",
    "model_aliases",
    "model_id",
    "organizations",
    "secret_manager_settings",
    "soft_budget",
    "sso_user_id",
    "team_member_budget",
    "team_member_budget_duration",
    "team_member_key_duration",
    "team_member_permissions",
    "team_member_rpm_limit",
    "team_member_tpm_limit",
    "teams",
    "user_role",
    "enforced_file_expires_after",
];

impl GroupFields {
    pub(super) fn parse(kind: GroupKind, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        for (name, value) in body {
            if !fields.take(kind, name, value)? {
                fields.without_effect(name, value)?;
            }
        }
        fields.ignored.sort_unstable();
        Ok(fields)
    }

    /// Reads one field; false where it is none that has an effect.
    pub(super) fn take(
        &mut self,
        kind: GroupKind,
        name: &str,
        value: &Value,
    ) -> Result<bool, ApiError> {
        use GroupKind::{Budget, Team, User};
        match (kind, name) {
            (_, id) if id == id_field(kind) => self.id = text(name, value)?,
            (_, "max_budget") => self.max_budget = Some(budget(name, value)?),
            (Budget, "soft_budget") => self.soft_budget = Some(soft_budget(value)?),
            (Team, "team_alias") | (User, "user_alias") => self.alias = Some(text(name, value)?),
            (User, "user_email") => self.email = Some(text(name, value)?),
            (User, "user_role") => return role(value).map(|()| false),
            // LiteLLM: null means not sent; the empty list takes the rule away.
            (Team | User, "models") if value.is_null() => {}
            (Team | User, "models") => self.models = Some(list(name, value)?),
            (Team | User, "metadata") => {
                let mut metadata = metadata(kind, value)?;
                self.limits.take_from(&mut metadata)?;
                self.metadata = Some(metadata);
            }
            (Team, "blocked") => self.blocked = flag(name, value)?,
            (Team | User, limit) if OF_KEYS.contains(&limit) => none_of_keys(kind, name, value)?,
            (Budget, "model_max_budget")
            | (Team | User, "model_rpm_limit" | "model_tpm_limit")
            | (_, "budget_duration" | "rpm_limit" | "tpm_limit" | "max_parallel_requests") => {
                return self.limits.take(name, value);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn without_effect(&mut self, name: &str, value: &Value) -> Result<(), ApiError> {
        let mut all = IGNORED.iter().chain(&ALSO_IGNORED);
        let known = all.find(|known| **known == name);
        let known = known.ok_or_else(|| unknown(name))?;
        if !says_nothing(value) {
            self.ignored.push(known);
        }
        Ok(())
    }

    /// A group of this id, or of one that is made up.
    pub(super) fn group(&self, kind: GroupKind, now: DateTime<Utc>) -> Group {
        let id = self.id.clone();
        let mut group = Group {
            kind,
            id: id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            alias: None,
            email: None,
            metadata: Map::new(),
            terms: Terms::default(),
            created_at: now,
            updated_at: now,
        };
        self.apply(&mut group);
        group
    }

    pub(super) fn apply(&self, group: &mut Group) {
        if let Some(alias) = &self.alias {
            group.alias.clone_from(alias);
        }
        if let Some(email) = &self.email {
            group.email.clone_from(email);
        }
        if let Some(metadata) = &self.metadata {
            group.metadata.clone_from(metadata);
        }
        let terms = &mut group.terms;
        if let Some(models) = &self.models {
            terms.models.clone_from(models);
        }
        terms.blocked = self.blocked.unwrap_or(terms.blocked);
        terms.max_budget = self.max_budget.unwrap_or(terms.max_budget);
        terms.soft_budget = self.soft_budget.unwrap_or(terms.soft_budget);
        self.limits.apply(&mut terms.limits);
    }
}

/// LiteLLM keeps some limits among the metadata.
fn metadata(kind: GroupKind, value: &Value) -> Result<Map<String, Value>, ApiError> {
    let metadata = object("metadata", value)?;
    for (name, value) in &metadata {
        if OF_KEYS.contains(&name.as_str()) {
            none_of_keys(kind, name, value)?;
        }
    }
    Ok(metadata)
}

fn none_of_keys(kind: GroupKind, name: &str, value: &Value) -> Result<(), ApiError> {
    if says_nothing(value) {
        return Ok(());
    }
    let kind = kind.as_str();
    let message = format!(
        "{name} is enforced for each key, not for a {kind} as a whole: leave it out here and set it on the keys, or on a budget that they name by budget_id"
    );
    Err(ApiError::bad_request(name, message))
}

/// LiteLLM's roles mean nothing here but for those that would make an admin: who
/// asks for one must not believe that there is one now.
fn role(value: &Value) -> Result<(), ApiError> {
    const FIELD: &str = "user_role";
    match text(FIELD, value)?.as_deref() {
        None | Some("internal_user" | "internal_user_viewer") => Ok(()),
        Some("proxy_admin" | "proxy_admin_viewer") => Err(ApiError::bad_request(
            FIELD,
            "there are no roles here: make an admin key with POST /key/generate and scopes, as in [\"keys.read\", \"keys.write\"]",
        )),
        Some(_) => Err(ApiError::validation(
            "enum",
            ["body", FIELD],
            "Input should be 'internal_user' or 'internal_user_viewer'",
        )),
    }
}
