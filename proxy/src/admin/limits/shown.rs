//! How a key's own limits are shown, with what has been spent of them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{MODEL_RPM, MODEL_TPM};
use crate::{
    admin::view::{posted, reset_time, time},
    app::AppState,
    key::{AccountId, BudgetLimit, Key, Limits, OwnBudget, Period, SharedScope},
    ledger::account::Standing,
    money::NanoUsd,
};

/// What has been spent of a key's further budgets in their windows of now, in the
/// order of [`Key::own_budgets`].
#[derive(Debug, Default)]
pub(in crate::admin) struct Used(Vec<NanoUsd>);

/// `stored` holds the accounts of [`current`].
pub(in crate::admin) fn used(
    state: &AppState,
    stored: &HashMap<AccountId, Standing>,
    key: &Key,
    now: DateTime<Utc>,
) -> Used {
    let spent = |budget: &OwnBudget| posted(state, stored, &current(budget, now));
    Used(key.own_budgets().iter().map(spent).collect())
}

/// The account that is drawn on now.
pub(in crate::admin) fn current(budget: &OwnBudget, now: DateTime<Utc>) -> AccountId {
    let window = budget.period.and_then(|period| period.window(now));
    AccountId::Shared(match window {
        Some(window) => budget.account.during(window),
        None => budget.account.clone(),
    })
}

/// Where what is shown as the key's spend is posted. LiteLLM: in the current
/// window, where `max_budget` has one.
pub(in crate::admin) fn spend_account(key: &Key, now: DateTime<Utc>) -> AccountId {
    let budgets = key.own_budgets();
    let main = budgets
        .iter()
        .find(|budget| budget.account.scope == SharedScope::KeyBudget);
    main.map_or_else(|| key.own_account(), |budget| current(budget, now))
}

/// Puts the limits into a row. LiteLLM: `spend` is that of the current window
/// where the key's budget has one.
pub(in crate::admin) fn show(
    row: &mut Map<String, Value>,
    key: &Key,
    used: &Used,
    now: DateTime<Utc>,
) {
    let limits = &key.limits;
    show_rates(row, limits);
    let reset = |period: Option<Period>| period.and_then(|period| period.window(now));
    let budgets = key.own_budgets();
    let spent = |scope: SharedScope, what: &str| {
        let mut all = budgets.iter().zip(&used.0);
        let found = all
            .find(|(budget, _)| budget.account.scope == scope && budget.account.of_what() == what);
        found.map_or(NanoUsd::ZERO, |(_, spent)| *spent)
    };
    if let Some(period) = key.budget_period() {
        let spend = spent(SharedScope::KeyBudget, &period.to_string());
        row.insert("spend".to_owned(), json!(spend));
        let at = reset(Some(period)).map(|window| time(window.end));
        row.insert("budget_reset_at".to_owned(), json!(at));
    }
    if let Some(own) = limits.budget_duration {
        row.insert("budget_duration".to_owned(), json!(own.to_string()));
    }
    if !limits.budget_limits.is_empty() {
        let (mut shown, mut usage) = (Vec::new(), Map::new());
        for budget in &limits.budget_limits {
            let text = budget.period.map(|period| period.to_string());
            shown.push(json!({
                "budget_duration": text,
                "max_budget": budget.max_nanousd,
                "reset_at": reset(budget.period).map(|window| reset_time(window.end)),
            }));
            let text = text.unwrap_or_default();
            let spent = json!({"current_spend": spent(SharedScope::KeyLimit, &text)});
            usage.insert(text, spent);
        }
        row.insert("budget_limits".to_owned(), json!(shown));
        row.insert("budget_limits_usage".to_owned(), Value::Object(usage));
    }
    if !limits.model_max_budget.is_empty() {
        let shown = model_budgets_shown(&limits.model_max_budget);
        let mut usage = shown.clone();
        for (model, one) in &mut usage {
            one["current_spend"] = json!(spent(SharedScope::KeyModel, model));
        }
        row.insert("model_max_budget".to_owned(), Value::Object(shown));
        row.insert("model_max_budget_usage".to_owned(), Value::Object(usage));
    }
}

pub(in crate::admin) fn model_budgets_shown(
    budgets: &BTreeMap<String, BudgetLimit>,
) -> Map<String, Value> {
    let one = |budget: &BudgetLimit| {
        json!({
            "budget_limit": budget.max_nanousd,
            "time_period": budget.period.map(|period| period.to_string()),
        })
    };
    let named = budgets.iter();
    named
        .map(|(model, budget)| (model.clone(), one(budget)))
        .collect()
}

/// Puts the rates into the row of a key or of a group.
pub(in crate::admin) fn show_rates(row: &mut Map<String, Value>, limits: &Limits) {
    for (name, limit) in [
        ("rpm_limit", limits.rpm),
        ("tpm_limit", limits.tpm),
        ("max_parallel_requests", limits.parallel),
    ] {
        row.insert(name.to_owned(), json!(limit));
    }
    for (name, by_model) in [
        (MODEL_RPM, &limits.model_rpm),
        (MODEL_TPM, &limits.model_tpm),
    ] {
        if !by_model.is_empty()
            && let Some(Value::Object(metadata)) = row.get_mut("metadata")
        {
            metadata.insert(name.to_owned(), json!(by_model));
        }
    }
}
