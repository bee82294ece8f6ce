//! Owns what the key API writes into the audit trail, inside the transaction
//! of the change itself: a change that is committed has its row.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::AnyConnection;

use crate::{
    auth::Caller,
    key::{Group, Key, KeyHash, SharedAccount, Terms},
    money::NanoUsd,
    store::{
        StoreError,
        audit::{Entry, append},
    },
};

/// A change of a key, from what it was to what it is.
pub(super) async fn key(
    write: &mut AnyConnection,
    caller: &Caller,
    action: &'static str,
    change: (Option<&Key>, Option<&Key>),
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    match Entry::of_key(caller.to_string(), action, change, at) {
        Some(entry) => append(write, &entry).await,
        None => Ok(()),
    }
}

/// A change of a named budget, a team or a user. Nothing is told where neither
/// is given.
pub(super) async fn group(
    write: &mut AnyConnection,
    caller: &Caller,
    action: &'static str,
    (before, after): (Option<&Group>, Option<&Group>),
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(group) = after.or(before) else {
        return Ok(());
    };
    let entry = Entry {
        at,
        actor: caller.to_string(),
        action,
        subject: format!("{} {}", group.kind.as_str(), group.id),
        before: before.map(described),
        after: after.map(described),
        vault_request_id: None,
    };
    append(write, &entry).await
}

fn described(group: &Group) -> Value {
    let Terms {
        models,
        blocked,
        max_budget,
        soft_budget,
        limits,
    } = &group.terms;
    json!({
        "alias": group.alias,
        "email": group.email,
        "metadata": group.metadata,
        "models": models,
        "blocked": blocked,
        "max_budget": max_budget,
        "soft_budget": soft_budget,
        "limits": limits,
    })
}

/// The end of a value that a regenerated key had before, while the key stays.
pub(super) async fn value_ended(
    write: &mut AnyConnection,
    caller: &Caller,
    value: KeyHash,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let entry = Entry {
        at,
        actor: caller.to_string(),
        action: "key.end_value",
        subject: format!("key {value}"),
        before: None,
        after: None,
        vault_request_id: None,
    };
    append(write, &entry).await
}

/// What a key has spent, where it was set to less.
pub(super) async fn spend(
    write: &mut AnyConnection,
    caller: &Caller,
    key: &Key,
    (before, after): (NanoUsd, NanoUsd),
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let entry = Entry {
        at,
        actor: caller.to_string(),
        action: "key.reset_spend",
        subject: format!("key {}", key.account()),
        before: Some(json!({ "spend": before })),
        after: Some(json!({ "spend": after })),
        vault_request_id: None,
    };
    append(write, &entry).await
}

/// A shared budget's definition, from what it was to what it is.
pub(super) async fn budget(
    write: &mut AnyConnection,
    caller: &Caller,
    account: &SharedAccount,
    (before, after): (Option<Value>, Value),
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let entry = Entry {
        at,
        actor: caller.to_string(),
        action: "shared_budget.define",
        subject: format!("{} {}", account.scope.as_str(), account.id),
        before,
        after: Some(after),
        vault_request_id: None,
    };
    append(write, &entry).await
}
