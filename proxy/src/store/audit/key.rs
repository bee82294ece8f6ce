//! What the trail says of a key.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Entry;
use crate::key::{Key, Own, Rules, SharedAccount};

/// Names the engine's request in a key's metadata; it joins with Vault's audit log.
const VAULT_REQUEST_ID: &str = "vault_request_id";

impl Entry {
    /// A change of a key: `before` is none for a new one, `after` for one that
    /// is gone. Where both are none there is nothing to tell of.
    pub(crate) fn of_key(
        actor: String,
        action: &'static str,
        (before, after): (Option<&Key>, Option<&Key>),
        at: DateTime<Utc>,
    ) -> Option<Self> {
        let key = after.or(before)?;
        Some(Self {
            at,
            actor,
            action,
            // The account's, which stays when the key is regenerated.
            subject: format!("key {}", key.account()),
            before: before.map(described),
            after: after.map(described),
            vault_request_id: key
                .metadata
                .entries()
                .get(VAULT_REQUEST_ID)
                .and_then(Value::as_str)
                // PostgreSQL takes no such text.
                .filter(|id| !id.contains('\0'))
                .map(str::to_owned),
        })
    }
}

/// Each field is named, so that a new one cannot be forgotten here.
fn described(key: &Key) -> Value {
    let Key {
        hash,
        key_name,
        expires_at,
        created_at,
        updated_at,
        blocked,
        own,
    } = key;
    let Own {
        account: _,
        // Of a value that is looked up, not of the key.
        value_ends_at: _,
        seal: _,
        alias,
        metadata,
        user_id,
        // They follow from the rest.
        user_rates: _,
        budgets: _,
        rules,
    } = &**own;
    let Rules {
        models,
        aliases,
        soft_budget,
        max_budget,
        limits,
        // [`Key::shared`] tells of them.
        charged: _,
        shared_count: _,
        // They follow from the rest.
        rates: _,
        key_type,
        allowed_routes,
        scopes,
        allowed_cidrs,
        team_id,
        budget_id,
        // Of others, which have rows of their own.
        groups: _,
    } = &**rules;
    let pair = |account: &SharedAccount| json!([account.scope.as_str(), &*account.id]);
    json!({
        "hash": hash.to_string(),
        "key_name": key_name,
        "key_alias": alias,
        "models": models,
        "aliases": aliases,
        "soft_budget": soft_budget,
        "max_budget": max_budget,
        "limits": limits,
        "expires": expires_at,
        "blocked": blocked,
        "metadata": metadata.entries(),
        "key_type": key_type.as_str(),
        "allowed_routes": allowed_routes,
        "scopes": scopes,
        "shared_budgets": key.shared().map(pair).collect::<Vec<_>>(),
        "allowed_cidrs": allowed_cidrs,
        "user_id": user_id,
        "team_id": team_id,
        "budget_id": budget_id,
        "created_at": created_at,
        "updated_at": updated_at,
    })
}
