//! The request for one key: the terms, whose it is, what it shares with other
//! keys, and where it comes from.

use std::time::Duration;

use serde_json::{Map, Value, json};
use vault_plugin_sdk::{Error, Request};

use super::owner::Owner;
use super::terms::Terms;
use crate::alias;
use crate::client::wire::GenerateRequest;
use crate::paths::roles::RoleEntry;
use crate::secret_key;

pub(super) fn request(
    req: &Request,
    role: &RoleEntry,
    name: &str,
    terms: &Terms,
    owner: &Owner,
    ttl: Duration,
) -> Result<GenerateRequest, Error> {
    let metadata = [
        ("vault_mount", req.mount_point.as_str()),
        ("vault_role", name),
        ("vault_entity_id", req.entity_id.as_str()),
        ("vault_request_id", req.id.as_str()),
    ];
    let mut wanted = terms.grant.request(
        alias::new(&terms.grant.key_alias_prefix, name),
        ttl + secret_key::EXPIRY_SLACK,
        metadata
            .into_iter()
            .map(|(field, value)| (field.to_owned(), Value::from(value)))
            .collect(),
    );
    for (field, id) in [("user_id", &owner.user_id), ("team_id", &owner.team_id)] {
        if let Some(id) = id {
            wanted.more.insert(field.to_owned(), json!(id));
        }
    }
    let budgets = shared_budgets(req, role, name)?;
    if !budgets.is_empty() {
        wanted
            .more
            .insert("shared_budgets".to_owned(), json!(budgets));
    }
    Ok(wanted)
}

/// Accounts that the key draws on together with others. Their ids begin with
/// the mount, so that two mounts never share one.
fn shared_budgets(req: &Request, role: &RoleEntry, name: &str) -> Result<Vec<Value>, Error> {
    let mount = match req.mount_accessor.as_str() {
        "" => req.mount_point.trim_end_matches('/'),
        accessor => accessor,
    };
    let mut budgets = Vec::new();
    if role.role_budget > 0.0 {
        let id = format!("{mount}/{name}");
        budgets.push(account(
            "role",
            &id,
            role.role_budget,
            &role.role_budget_duration,
        ));
    }
    if role.entity_budget > 0.0 {
        if req.entity_id.is_empty() {
            return Err(Error::user(format!(
                "no key is issued, because the role {name} has an entity_budget and the token has no identity entity to count it for: use a token that comes from a login"
            )));
        }
        let id = format!("{mount}/{}", req.entity_id);
        budgets.push(account(
            "entity",
            &id,
            role.entity_budget,
            &role.entity_budget_duration,
        ));
    }
    Ok(budgets)
}

fn account(scope: &str, id: &str, max_budget: f64, duration: &str) -> Value {
    let mut account = Map::from_iter([
        ("scope".to_owned(), json!(scope)),
        ("id".to_owned(), json!(id)),
        ("max_budget".to_owned(), json!(max_budget)),
    ]);
    if !duration.is_empty() {
        account.insert("budget_duration".to_owned(), json!(duration));
    }
    Value::Object(account)
}

#[cfg(test)]
mod tests;
