//! Owns the field `shared_budgets` of generate and update: budgets that many
//! keys draw on together, each named by a scope and an id. The definition that
//! was written last holds for every key that shares the account, from the
//! answer on; an account outlives its keys. A budget with a duration counts from
//! zero again in each of its windows.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sqlx::AnyConnection;

use super::{
    trail,
    values::{budget, printable},
    view::{self, time},
};
use crate::{
    app::AppState,
    auth::Caller,
    clock::Clock,
    error::ApiError,
    key::{
        AccountId, GroupKind, Key, Period, SHARED_ACCOUNTS_MAX, SharedAccount, SharedScope, Terms,
        Window,
    },
    ledger::account::Standing,
    money::NanoUsd,
    store::{self, ledger::window},
};
use chrono::{DateTime, Utc};

/// Room for a mount's accessor and a role's name, as the engine makes them.
const ID_CHARACTERS_MAX: usize = 255;
const FIELD: &str = "shared_budgets";

/// One budget as a request defines it.
#[derive(Debug)]
pub(super) struct SharedBudget {
    pub(super) account: SharedAccount,
    max_budget: NanoUsd,
    period: Option<Period>,
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
    let scope = entry.get("scope").and_then(Value::as_str);
    let scope = scope.and_then(SharedScope::parse);
    let scope = scope.filter(|scope| scope.is_shared()).ok_or_else(|| {
        let known = SharedScope::ALL.map(SharedScope::as_str).join(", ");
        refused(format!("scope must be one of {known}"))
    })?;
    Ok(SharedBudget {
        account: SharedAccount {
            scope,
            id: id(entry)?.into(),
            window: None,
        },
        max_budget: max_budget(entry)?,
        period: period(entry)?,
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
    budget("shared_budgets.max_budget", given)?
        .ok_or_else(|| refused("max_budget is missing: say how many USD they may spend"))
}

fn period(entry: &Map<String, Value>) -> Result<Option<Period>, ApiError> {
    let given = entry.get("budget_duration").unwrap_or(&Value::Null);
    if given.is_null() {
        return Ok(None);
    }
    let period = given.as_str().and_then(Period::parse);
    period.map(Some).ok_or_else(|| {
        refused("budget_duration must be a whole number and a unit (s, m, h, d, w or mo), as in 30d, of at most ten years; leave it out for a budget without resets")
    })
}

fn refused(message: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(FIELD, format!("{FIELD}: {message}"))
}

/// Every account that [`define`] writes.
pub(super) fn accounts(budgets: &[SharedBudget], clock: &Clock) -> Vec<AccountId> {
    let now = clock.now();
    let of = |budget: &SharedBudget| -> Vec<AccountId> {
        window::decided(&budget.account, budget.period, now).collect()
    };
    budgets.iter().flat_map(of).collect()
}

/// Writes the definitions. Answers the accounts that may spend another amount
/// than before. `clock` is read inside of the transaction: no window that is
/// opened before its end is later than those that are redefined.
pub(super) async fn define(
    write: &mut AnyConnection,
    caller: &Caller,
    budgets: &[SharedBudget],
    clock: &Clock,
) -> Result<Vec<AccountId>, ApiError> {
    let now = clock.now();
    let mut changed = Vec::new();
    for budget in budgets {
        let (account, limit) = (&budget.account, Some(budget.max_budget));
        must_be_as_its_group(write, budget).await?;
        let before = window::definition(write, account).await?;
        let decided = window::define(write, account, limit, budget.period, now).await?;
        if !decided.is_empty() {
            changed.extend(decided);
            let before = before.map(|standing| definition(standing.limit, standing.period));
            let after = definition(limit, budget.period);
            trail::budget(write, caller, account, (before, after), now).await?;
        }
    }
    Ok(changed)
}

/// The budget of a team or a user that was made is that of its group: a key that
/// shares it must not change it in passing.
async fn must_be_as_its_group(
    write: &mut AnyConnection,
    budget: &SharedBudget,
) -> Result<(), ApiError> {
    let kinds = GroupKind::ALL.into_iter();
    let mut kinds = kinds.filter(|kind| kind.scope() == Some(budget.account.scope));
    let Some(kind) = kinds.next() else {
        return Ok(());
    };
    let group = store::groups::find(write, kind, &budget.account.id).await?;
    let is_other = |terms: Terms| {
        let (limit, period) = (terms.max_budget, terms.limits.budget_duration);
        limit != Some(budget.max_budget) || period != budget.period
    };
    if group.is_some_and(|group| is_other(group.terms)) {
        let name = kind.as_str();
        return Err(refused(format!(
            "this {name} has a budget of its own: change it with POST /{name}/update"
        )));
    }
    Ok(())
}

/// As the audit trail tells of it.
fn definition(limit: Option<NanoUsd>, period: Option<Period>) -> Value {
    json!({
        "max_budget": limit,
        "budget_duration": period.map(|period| period.to_string()),
    })
}

/// The log of a definition, once it is committed.
pub(super) fn log(caller: &Caller, key: &Key, budgets: &[SharedBudget]) {
    for budget in budgets {
        tracing::info!(
            %caller,
            key.hash = %key.hash,
            account.scope = budget.account.scope.as_str(),
            account.id = &*budget.account.id,
            limit_nanousd = budget.max_budget.nanos(),
            duration = budget.period.map(tracing::field::display),
            "shared budget defined"
        );
    }
}

/// As the answer to a definition shows them.
pub(super) fn defined(budgets: &[SharedBudget], now: DateTime<Utc>) -> Vec<Value> {
    let one = |budget: &SharedBudget| {
        let window = budget.period.and_then(|period| period.window(now));
        shown(
            &budget.account,
            Some(budget.max_budget),
            budget.period,
            window,
        )
    };
    budgets.iter().map(one).collect()
}

/// A key's shared budgets as they stand now, whoever defined them last.
pub(super) fn standing(
    state: &AppState,
    stored: &HashMap<AccountId, Standing>,
    key: &Key,
    now: DateTime<Utc>,
) -> Vec<Value> {
    let one = |shared: &SharedAccount| {
        let whole = AccountId::Shared(shared.clone());
        let defined = stored.get(&whole).copied().unwrap_or_default();
        let current = current(stored, shared, now);
        let window = current.as_ref().map(|(_, window)| *window);
        let account = current.map_or(whole, |(account, _)| AccountId::Shared(account));
        let mut shown = shown(shared, defined.limit, defined.period, window);
        shown["spend"] = json!(view::posted(state, stored, &account));
        shown
    };
    key.shared().map(one).collect()
}

/// The account that is drawn on now, where the budget counts from zero again.
pub(super) fn current(
    stored: &HashMap<AccountId, Standing>,
    shared: &SharedAccount,
    now: DateTime<Utc>,
) -> Option<(SharedAccount, Window)> {
    let defined = stored.get(&AccountId::Shared(shared.clone()))?;
    let window = defined.period.and_then(|period| period.window(now))?;
    Some((shared.during(window), window))
}

fn shown(
    account: &SharedAccount,
    limit: Option<NanoUsd>,
    period: Option<Period>,
    window: Option<Window>,
) -> Value {
    json!({
        "scope": account.scope.as_str(),
        "id": &*account.id,
        "max_budget": limit,
        "budget_duration": period.map(|period| period.to_string()),
        "budget_reset_at": window.map(|window| time(window.end)),
    })
}
