//! Owns the field `shared_budgets` of generate and update: budgets that many
//! keys draw on together, each named by a scope and an id. The definition that
//! was written last holds for every key that shares the account, from the
//! answer on; an account outlives its keys.

use serde_json::{Map, Value, json};
use sqlx::SqliteConnection;

use super::fields::{budget, printable};
use crate::{
    app::AppState,
    error::ApiError,
    key::{AccountId, Key, SHARED_ACCOUNTS_MAX, SharedAccount, SharedScope},
    money::NanoUsd,
    store,
};

/// Room for a mount's accessor and a role's name, as the engine makes them.
const ID_CHARACTERS_MAX: usize = 255;
const FIELD: &str = "shared_budgets";

/// One budget as a request defines it.
#[derive(Debug)]
pub(super) struct SharedBudget {
    pub(super) account: SharedAccount,
    max_budget: NanoUsd,
}

pub(super) fn parse(value: &Value) -> Result<Vec<SharedBudget>, ApiError> {
    let wrong = || ApiError::validation("list_type", ["body", FIELD], "Input should be a list");
    let entries = value.as_array().ok_or_else(wrong)?;
    if entries.len() > SHARED_ACCOUNTS_MAX {
        return Err(refused(format!(
            "at most {SHARED_ACCOUNTS_MAX} of them a key"
        )));
    }
    let mut budgets: Vec<SharedBudget> = Vec::with_capacity(entries.len());
    for entry in entries {
        let one = parse_one(entry)?;
        if budgets.iter().any(|other| other.account == one.account) {
            return Err(refused("each scope and id may stand there once"));
        }
        budgets.push(one);
    }
    Ok(budgets)
}

fn parse_one(entry: &Value) -> Result<SharedBudget, ApiError> {
    const KNOWN: [&str; 4] = ["scope", "id", "max_budget", "budget_duration"];
    let entry = entry
        .as_object()
        .ok_or_else(|| refused("each must be an object with scope, id and max_budget"))?;
    if let Some(unknown) = entry.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let name = printable(unknown);
        return Err(refused(format!(
            "the field {name} is not supported in them"
        )));
    }
    if entry
        .get("budget_duration")
        .is_some_and(|one| !one.is_null())
    {
        return Err(refused(
            "budget_duration is not supported yet: leave it out, for a budget without resets",
        ));
    }
    let scope = entry.get("scope").and_then(Value::as_str);
    let scope = scope.and_then(SharedScope::parse).ok_or_else(|| {
        let known = SharedScope::ALL.map(SharedScope::as_str).join(", ");
        refused(format!("scope must be one of {known}"))
    })?;
    Ok(SharedBudget {
        account: SharedAccount {
            scope,
            id: id(entry)?.into(),
        },
        max_budget: max_budget(entry)?,
    })
}

fn id(entry: &Map<String, Value>) -> Result<&str, ApiError> {
    let is_usable = |id: &&str| {
        (1..=ID_CHARACTERS_MAX).contains(&id.chars().count()) && !id.chars().any(char::is_control)
    };
    let id = entry.get("id").and_then(Value::as_str).filter(is_usable);
    id.ok_or_else(|| {
        refused(format!(
            "id must be a text of 1 to {ID_CHARACTERS_MAX} characters, none of them a control character"
        ))
    })
}

fn max_budget(entry: &Map<String, Value>) -> Result<NanoUsd, ApiError> {
    let given = entry.get("max_budget").unwrap_or(&Value::Null);
    budget(given)?.ok_or_else(|| refused("max_budget is missing: say how many USD they may spend"))
}

fn refused(message: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(FIELD, format!("{FIELD}: {message}"))
}

/// Writes the definitions. Answers the accounts that may spend another amount
/// than before.
pub(super) async fn define(
    write: &mut SqliteConnection,
    budgets: &[SharedBudget],
) -> Result<Vec<AccountId>, ApiError> {
    let mut changed = Vec::new();
    for budget in budgets {
        let account = AccountId::Shared(budget.account.clone());
        if store::ledger::set_limit(write, &account, Some(budget.max_budget)).await? {
            changed.push(account);
        }
    }
    Ok(changed)
}

/// The audit of a definition, once it is committed.
pub(super) fn log(key: &Key, budgets: &[SharedBudget]) {
    for budget in budgets {
        tracing::info!(
            key.hash = %key.hash,
            account.scope = budget.account.scope.as_str(),
            account.id = &*budget.account.id,
            limit_nanousd = budget.max_budget.nanos(),
            "shared budget defined"
        );
    }
}

/// As the answer to a definition shows them.
pub(super) fn defined(budgets: &[SharedBudget]) -> Vec<Value> {
    let one = |budget: &SharedBudget| shown(&budget.account, Some(budget.max_budget), None);
    budgets.iter().map(one).collect()
}

/// A key's shared budgets as they stand now, whoever defined them last.
pub(super) async fn standing(state: &AppState, key: &Key) -> Result<Vec<Value>, ApiError> {
    let mut budgets = Vec::new();
    for shared in key.shared() {
        let account = AccountId::Shared(shared.clone());
        let stored = store::ledger::standing(&state.store, &account).await?;
        let stored = stored.unwrap_or_default();
        let spend = state.ledger.spend(&account).unwrap_or(stored.posted);
        budgets.push(shown(shared, stored.limit, Some(spend)));
    }
    Ok(budgets)
}

fn shown(account: &SharedAccount, limit: Option<NanoUsd>, spend: Option<NanoUsd>) -> Value {
    let mut shown = json!({
        "scope": account.scope.as_str(),
        "id": &*account.id,
        "max_budget": limit,
        "budget_duration": null,
    });
    if let Some(spend) = spend {
        shown["spend"] = json!(spend);
    }
    shown
}
